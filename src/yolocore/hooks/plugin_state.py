"""Plugin states that a checkpoint can hold: plain values and tensors."""

from __future__ import annotations

from typing import Any

PLAIN = (type(None), bool, int, float, str, bytes)


def checked_state(state: Any) -> dict[str, Any]:
    """Return ``state`` when a checkpoint can hold it.

    Raises:
        TypeError: it is no dict, or holds something else than plain values, containers of them and tensors.
    """
    if type(state) is not dict:
        raise TypeError(f"state_dict() returned {type(state).__name__}; it has to be a dict")
    _check(state, "state")
    return state


def _check(value: Any, where: str) -> None:
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) not in (str, int):
                raise TypeError(f"{where} has the key {key!r}; keys are str or int")
            _check(item, f"{where}[{key!r}]")
    elif kind in (list, tuple):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
    elif kind not in PLAIN and (kind.__module__, kind.__name__) != ("torch", "Tensor"):
        raise TypeError(f"{where} is a {kind.__module__}.{kind.__name__}; a checkpoint holds plain values and tensors")
