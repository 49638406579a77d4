"""The diagnosis of a label file, row by row: what is wrong, where, and what would be right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yolocore.data.rows import Schema

COLUMNS = "wrong number of columns"
NOT_A_NUMBER = "not a number"
BAD_CLASS = "class out of range"
NOT_FINITE = "coordinate not finite"
OUTSIDE = "coordinate out of range"
ZERO_SIZE = "zero width or height"
VISIBILITY = "visibility is not 0, 1 or 2"
DUPLICATE = "duplicate row"


class RowFault(NamedTuple):
    """Why a row was skipped: its line (one-based), the reason it is counted under, and the message."""

    line: int
    reason: str
    message: str


def diagnose(data: bytes, schema: Schema) -> tuple[list[float], list[int], list[RowFault]]:
    """Read a label file row by row; return numbers and column counts of the good rows, and the faults."""
    values: list[float] = []
    columns: list[int] = []
    faults: list[RowFault] = []
    seen: dict[tuple[float, ...], int] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        tokens = line.decode("utf-8").split()
        if not tokens:
            continue
        row = _numbers(tokens)
        fault = _text_fault(tokens, row) or _row_fault(row, schema)
        if fault is None and (key := tuple(row)) in seen:
            fault = (DUPLICATE, f"the same row as line {seen[key]}; 1 duplicate removed")
        if fault is not None:
            faults.append(RowFault(number, *fault))
            continue
        seen[tuple(row)] = number
        values += row
        columns.append(len(row))
    return values, columns, faults


def good_lines(data: bytes, schema: Schema) -> list[int]:
    """Return the line, counted from one, of each row that ``diagnose`` calls good."""
    bad = {fault.line for fault in diagnose(data, schema)[2]}
    return [n for n, line in enumerate(data.splitlines(), start=1) if n not in bad and line.split()]


def _numbers(tokens: Sequence[str]) -> list[float]:
    """Return the tokens as numbers up to the first that is none."""
    row: list[float] = []
    for token in tokens:
        try:
            if "_" in token or not token.isascii():
                break
            row.append(float(token))
        except ValueError:
            break
    return row


def _text_fault(tokens: Sequence[str], row: Sequence[float]) -> tuple[str, str] | None:
    if len(row) == len(tokens):
        return None
    bad = tokens[len(row)]
    if "," in bad or ";" in bad:
        return (
            NOT_A_NUMBER,
            f"{bad[:40]!r} is not a number; columns are separated by spaces, decimals use a point",
        )
    if not row:
        return NOT_A_NUMBER, f"the class {bad[:40]!r} is not a number; write the index of the class"
    return NOT_A_NUMBER, f"column {len(row) + 1}, {bad[:40]!r}, is not a number"


def _row_fault(row: Sequence[float], schema: Schema) -> tuple[str, str] | None:
    return (
        _columns_fault(row, schema)
        or _class_fault(row[0], schema.nc)
        or _coordinate_fault(row, schema)
        or _size_fault(row, schema)
    )


def _columns_fault(row: Sequence[float], schema: Schema) -> tuple[str, str] | None:
    found = len(row)
    if schema.fits(np.array([found]))[0]:
        return None
    if schema.task == "segment" or (schema.task == "detect" and found > 6):
        return COLUMNS, _polygon_text(found, schema.task)
    expected, layout = 5, "class x y w h"
    if schema.task == "obb":
        expected, layout = 9, "class x1 y1 x2 y2 x3 y3 x4 y4"
    elif schema.task == "pose":
        points, values = schema.kpt_shape
        expected, layout = 5 + points * values, f"class x y w h and {points} points of {values} values"
    likely = found == expected + 1 and 0.0 <= row[-1] <= 1.0
    hint = "; is the last column a confidence? remove it" if likely else ""
    return COLUMNS, f"expected {expected} columns ({layout}), found {found}{hint}"


def _polygon_text(found: int, task: str) -> str:
    if found > 6:
        box = "expected 5 columns (class x y w h) or a polygon; " if task == "detect" else ""
        return f"{box}an odd number of polygon coordinates ({found - 1}); expected pairs x y"
    if found == 5:
        return "a box row (5 columns) in a segment dataset; expected class x1 y1 x2 y2 x3 y3 ..."
    return f"expected at least 7 columns (class and 3 points), found {found}"


def _class_fault(value: float, nc: int) -> tuple[str, str] | None:
    if not math.isfinite(value):
        return BAD_CLASS, f"the class is {value}; expected an integer in 0 ... {nc - 1}"
    if value != int(value):
        return BAD_CLASS, f"class {value:g} is not an integer; expected one in 0 ... {nc - 1}"
    if not 0 <= value < nc:
        return BAD_CLASS, f"class {int(value)} is out of range 0 ... {nc - 1}"
    return None


def _coordinate_fault(row: Sequence[float], schema: Schema) -> tuple[str, str] | None:
    for column, value in enumerate(row[1:], start=2):
        if not math.isfinite(value):
            return NOT_FINITE, f"column {column} is {value}; expected a number in 0 ... 1"
    if schema.task != "pose":
        return _range_fault(row[1:], 2, schema)
    fault = _range_fault(row[1:5], 2, schema)
    step = schema.kpt_shape[1]
    for at in range(5, len(row), step):
        if fault is not None:
            break
        point = row[at : at + step]
        visible = point[2] if step == 3 else float(min(point) >= 0)
        if visible not in (0, 1, 2):
            return VISIBILITY, f"column {at + 3} is {visible:g}; visibility is 0 (not labelled), 1 or 2"
        if visible:
            fault = _range_fault(point[:2], at + 1, schema)
    return fault


def _range_fault(values: Sequence[float], first_column: int, schema: Schema) -> tuple[str, str] | None:
    for column, value in enumerate(values, start=first_column):
        if not schema.low <= value <= schema.high:
            hint = "; are these pixels? divide by the image size" if value > 2 else ""
            return OUTSIDE, f"column {column} is {value:g}; coordinates are normalised to 0 ... 1{hint}"
    return None


def _size_fault(row: Sequence[float], schema: Schema) -> tuple[str, str] | None:
    if schema.task == "pose" or len(row) == 5:
        width, height = (min(value, 1.0) for value in row[3:5])
    else:
        xs, ys = ([min(max(v, 0.0), 1.0) for v in row[first::2]] for first in (1, 2))
        width, height = max(xs) - min(xs), max(ys) - min(ys)
    if np.float32(width) > 0 and np.float32(height) > 0:
        return None
    return ZERO_SIZE, f"the object is {max(width, 0):g} x {max(height, 0):g}; both must be more than 0"
