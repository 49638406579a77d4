"""Checks of ``names``, ``nc``, ``kpt_shape`` and ``flip_idx`` in a dataset description."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from yolocore.errors import DataError, DataKeyError

if TYPE_CHECKING:
    from yolocore.config.yaml_reader import YamlDocument

logger = logging.getLogger(__name__)


def check_names(document: YamlDocument) -> tuple[dict[int, str], int]:
    """Return ``(names, nc)``; ``nc`` alone gives ``class_0 ...``; both given must agree.

    Raises:
        DataKeyError: neither key is there.
        DataError: a wrong type, a gap in the indices, or numbers that disagree.
    """
    nc = document.values.get("nc")
    if nc is not None and (type(nc) is not int or nc < 1):
        raise DataError(f"{document.where('nc')}: nc is {nc!r}; expected an integer of at least 1")
    given = document.values.get("names")
    if given is None:
        if nc is None:
            raise DataKeyError(f"{document.path}: neither 'names' nor 'nc' is given; add e.g. 'names: [cat, dog]'")
        return {index: f"class_{index}" for index in range(nc)}, nc
    names = _names_dict(document, given)
    if nc is not None and nc != len(names):
        raise DataError(f"{document.where('nc')}: nc is {nc} but names lists {len(names)} classes; correct or drop one")
    repeated = [name for name, count in Counter(names.values()).items() if count > 1]
    if repeated:
        places = [", ".join(str(i) for i, name in names.items() if name == twice) for twice in repeated]
        text = "; ".join(f"{name!r} ({place})" for name, place in zip(repeated, places, strict=True))
        logger.warning("%s: class names given twice: %s; merge them or rename one", document.where("names"), text)
    return names, len(names)


def _names_dict(document: YamlDocument, given: Any) -> dict[int, str]:
    where = document.where("names")
    if isinstance(given, list):
        items: list[tuple[int, Any]] = list(enumerate(given))
    elif isinstance(given, dict):
        items = [(_index(where, key), name) for key, name in given.items()]
    else:
        raise DataError(
            f"{where}: names is {given!r}, of type {type(given).__name__}; "
            "expected a list such as [cat, dog] or a mapping such as {0: cat, 1: dog}"
        )
    if not items:
        raise DataError(f"{where}: names is empty; expected at least one class, e.g. [cat]")
    indices = [index for index, _ in items]
    gaps = sorted(set(range(len(indices))) - set(indices))
    if gaps:
        raise DataError(
            f"{where}: the indices of names must run from 0 to {len(indices) - 1} without gaps; "
            f"missing {', '.join(map(str, gaps[:10]))}, found {', '.join(map(str, sorted(indices)[:10]))}"
        )
    return {index: _name(where, index, name) for index, name in sorted(items)}


def _index(where: str, key: Any) -> int:
    if type(key) is int:
        return key
    if isinstance(key, str) and key.isascii() and key.isdigit():
        return int(key)
    raise DataError(f"{where}: names has the key {key!r}; the keys are class indices: 0, 1, 2, ...")


def _name(where: str, index: int, name: Any) -> str:
    if isinstance(name, str) and name.strip():
        return name
    if type(name) is int:
        return str(name)
    hint = " (YAML reads yes, no, on, off, true, false, null and 1.0 as values: put the name in quotes)"
    raise DataError(f"{where}: the name of class {index} is {name!r}; expected a text{hint}")


def check_keypoints(document: YamlDocument, *, required: bool) -> None:
    """Check ``kpt_shape`` and ``flip_idx``.

    Raises:
        DataKeyError: ``kpt_shape`` is missing and ``required``.
        DataError: ``kpt_shape`` is not [K, 2] or [K, 3], or ``flip_idx`` is not a permutation of 0 ... K-1.
    """
    shape: Any = document.values.get("kpt_shape")
    if shape is None and required:
        raise DataKeyError(
            f"{document.path}: the key 'kpt_shape' is missing; task pose needs [points, 2 or 3], "
            "e.g. kpt_shape: [17, 3]"
        )
    if not _is_int_list(shape) or len(shape) != 2 or shape[0] < 1 or shape[1] not in (2, 3):
        raise DataError(
            f"{document.where('kpt_shape')}: kpt_shape is {shape!r}; expected [number of points, 2 or 3], e.g. [17, 3]"
        )
    flip: Any = document.values.get("flip_idx")
    if flip is None or flip == []:
        return
    if not _is_int_list(flip) or sorted(flip) != list(range(shape[0])):
        raise DataError(
            f"{document.where('flip_idx')}: flip_idx is {flip!r}; "
            f"expected each of 0 ... {shape[0] - 1} exactly once: the index of each mirrored point"
        )


def _is_int_list(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)
