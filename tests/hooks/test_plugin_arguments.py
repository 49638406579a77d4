"""How ``yolo plugins info`` words the arguments of a plugin."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from yolocore.hooks.plugin_arguments import describe_arguments


class Bell:
    class Arguments(BaseModel):
        mode: Literal["soft", "loud"] | None = Field(default=None, description="How it rings.")
        tones: list[str] = Field(default=["c", "e"], description="What it rings.")
        volume: float = Field(description="0 to 1.")
        names: dict[str, int] | str = Field(default_factory=dict, description="Who hears it.")


def test_types_and_defaults_are_written_as_a_person_would():
    assert describe_arguments("bell", Bell()) == [
        ("bell.mode", "'soft' | 'loud' | None", "None", "How it rings."),
        ("bell.tones", "list[str]", "['c', 'e']", "What it rings."),
        ("bell.volume", "float", "required", "0 to 1."),
        ("bell.names", "dict[str, int] | str", "{}", "Who hears it."),
    ]
