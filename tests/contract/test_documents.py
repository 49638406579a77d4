"""The examples of the documents run as they stand, and sessions print what they say."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from yolocore import YOLO

pytest_plugins = ["yolocore.testing"]

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = re.compile(r"^```(python|pycon)\n(.*?)^```$", re.M | re.S)
LEFT_TO_THE_READER = {  # names that a page does not define, because they are the reader's
    "tracking": {
        "boxes_xyxy": np.array([[10.0, 10, 30, 30]]),
        "scores": np.array([0.9]),
        "classes": np.array([0]),
        "build_mine": lambda options, frame_rate: None,
        "__file__": "plugin.py",
    },
}


@pytest.fixture(scope="module")
def readers_folder(tmp_path_factory: pytest.TempPathFactory, tiny_detect_model: Path) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("reader")
    model = YOLO(tiny_detect_model)
    with torch.no_grad():
        for branch in model.model.model[-1].cv3:
            branch[-1].bias += 8  # an untrained network sees nothing; this one sees something everywhere
    for name in ("best.pt", "yolo11n.pt"):
        model.save(folder / name)
    (folder / "pictures").mkdir()
    frames = np.random.default_rng(0).integers(0, 256, (6, 96, 128, 3), np.uint8)
    for name, frame in zip(("picture.jpg", "pictures/a.jpg", "pictures/b.jpg"), frames, strict=False):
        cv2.imwrite(str(folder / name), frame)
    for name in ("street.mp4", "morning.mp4"):
        video = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*"mp4v"), 10, (128, 96))
        for frame in frames:
            video.write(frame)
        video.release()
    return folder


@pytest.mark.parametrize("page", ["explorer", "results", "tracking", "utilities"])
def test_the_examples_of_a_page_run_in_order(page: str, readers_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(readers_folder)
    examples = EXAMPLE.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    assert examples
    names: dict[str, Any] = {"model": YOLO("best.pt"), **LEFT_TO_THE_READER.get(page, {})}
    for language, text in examples:
        if language == "python":
            exec(compile(text, f"docs/{page}.md", "exec"), names)
        else:
            run_session(text, names, page)


def run_session(text: str, names: dict[str, Any], page: str) -> None:
    """Run a session of the interpreter; every output must be the one that is printed there."""
    session = doctest.DocTestParser().get_doctest(text, names, page, f"{page}.md", 0)
    assert session.examples
    session.globs = names
    wrong: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(session, out=wrong.append, clear_globs=False)
    assert not wrong, "".join(wrong)
