"""Pictures of the explorer: found images side by side, and how many neighbours the images of a set have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from PIL import Image

from yolocore.data.images import ImageFault, read_image
from yolocore.utils.figures.style import PALETTE, dress, new_figure, whole_numbers
from yolocore.utils.lettering import FontPen
from yolocore.utils.plotting import Annotator, colors, highest_first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MOST: Final = 100  # images in one picture
WIDTH: Final = 1600  # pixels of the whole picture, about
SIDES: Final = (150, 320)  # pixels of a tile, at least and at most
GAP, MARGIN = 12, 20
PAPER, TILE, INK, FAINT = (255, 255, 255), (242, 242, 242), (34, 34, 34), (120, 120, 120)  # BGR
TEXT, TITLE = 13, 19  # pixels, heights of a line
TINT: Final = 0.4  # share of the colour where a mask lies
CROWD, SMALL = 12, 30  # in an image of more objects, those of fewer pixels have no name
SINGLE_BARS: Final = 200  # more images are drawn as one outline


@dataclass(frozen=True, slots=True)
class Tile:
    """One image of a grid.

    Attributes:
        file: path of the image.
        caption: text below it, on the left.
        note: text below it, on the right.
        objects: ``labels``, ``cls``, ``bboxes``, ``masks`` and ``keypoints`` of the image, normalised; empty: nothing
            is drawn.
        whole: the label is that of the whole image.
    """

    file: str
    caption: str
    note: str = ""
    objects: Mapping[str, Any] | None = None
    whole: bool = False


def draw_grid(tiles: Sequence[Tile], title: str, max_pixels: int) -> Image.Image:
    """Return at most 100 images with their captions as one picture.

    Args:
        tiles: what is shown, at least one.
        title: first line of the picture.
        max_pixels: of an image; larger ones are not shown.
    """
    shown = tiles[:MOST]
    across = _across(len(shown))
    side = min(max((WIDTH - 2 * MARGIN + GAP) // across - GAP, SIDES[0]), SIDES[1])
    text, head = FontPen(TEXT), FontPen(TITLE)
    foot, top = text.measure("A")[1] + 8, head.measure("A")[1] + 14
    down = -(-len(shown) // across)
    width = max(2 * MARGIN + across * (side + GAP) - GAP, 2 * MARGIN + head.measure(title)[0])
    canvas = np.full((2 * MARGIN + top + down * (side + foot + GAP) - GAP, width, 3), PAPER, np.uint8)
    head.write(canvas, title, MARGIN, MARGIN - 4, INK)
    for i, tile in enumerate(shown):
        row, column = divmod(i, across)
        x, y = MARGIN + column * (side + GAP), MARGIN + top + row * (side + foot + GAP)
        canvas[y : y + side, x : x + side] = _picture(tile, side, max_pixels)
        note = text.measure(tile.note)[0]
        text.write(canvas, _cut(tile.caption, text, side - note - 8), x, y + side + 4, INK)
        text.write(canvas, tile.note, x + side - note, y + side + 4, FAINT)
    return Image.fromarray(canvas[..., ::-1])


def _across(count: int) -> int:
    """Return the number of columns: about as many as rows, or some more where that fills the last row."""
    least = math.ceil(math.sqrt(count))
    return min(range(least, math.ceil(least * 1.5) + 1), key=lambda n: (-count % n > n // 3, n))


def _cut(caption: str, pen: FontPen, room: int) -> str:
    """Return a caption that fits, its middle left out."""
    if pen.measure(caption)[0] <= room:
        return caption
    for kept in range(len(caption) - 1, 1, -1):
        short = f"{caption[: kept // 2]}…{caption[len(caption) - (kept - kept // 2) :]}"
        if pen.measure(short)[0] <= room:
            return short
    return "…"


def _picture(tile: Tile, side: int, max_pixels: int) -> NDArray[np.uint8]:
    """Return the image of a tile with its objects, centred on a square of ``side`` pixels."""
    square = np.full((side, side, 3), TILE, np.uint8)
    try:
        image = read_image(tile.file, max_pixels)
    except ImageFault:
        FontPen(TEXT).write(square, "cannot be read", 10, side // 2 - TEXT, FAINT)
        return square
    h, w = image.shape[:2]
    scale = side / max(h, w)
    size = max(round(w * scale), 1), max(round(h * scale), 1)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC if min(h, w) > SMALL else cv2.INTER_NEAREST
    small = np.ascontiguousarray(cv2.resize(image, size, interpolation=how), np.uint8)
    if tile.objects:
        _draw(small, tile.objects, whole=tile.whole)
    x, y = (side - size[0]) // 2, (side - size[1]) // 2
    square[y : y + size[1], x : x + size[0]] = small
    return square


def _draw(image: NDArray[np.uint8], objects: Mapping[str, Any], *, whole: bool) -> None:
    """Draw the objects of an image into it: masks, boxes with names, keypoints on top."""
    h, w = image.shape[:2]
    names = [str(name) for name in objects["labels"]]
    inks = [colors(int(c), bgr=True) for c in objects["cls"]]
    annotator = Annotator(image, line_width=2, font_size=12, pil=True)
    if whole:
        for name, ink in zip(names, inks, strict=True):
            annotator.text((4, 3), name, box_color=ink)
        return
    outlines = [np.array(points, np.float64) * (w, h) for points in objects["masks"]]
    centre, half = np.split(np.array(objects["bboxes"], np.float64).reshape(-1, 4) * (w, h, w, h), 2, axis=1)
    boxes: list[Any] = list(np.concatenate([centre - half / 2, centre + half / 2], axis=1))
    if len(outlines) == len(boxes) and all(len(points) == 4 for points in outlines):  # oriented boxes
        boxes = [highest_first(points) for points in outlines]
    elif len(outlines) == len(boxes):
        annotator.masks([_filled(points, h, w) for points in outlines], inks, TINT)
    large = [np.ptp(np.reshape(box, (-1, 2)), axis=0).max() >= SMALL for box in boxes]
    words = [name if wide or len(names) <= CROWD else "" for name, wide in zip(names, large, strict=True)]
    annotator.box_labels(boxes, words, inks)
    for points in objects["keypoints"]:
        annotator.kpts(np.array(points) * (w, h, 1), (h, w), radius=3)


def _filled(points: NDArray[np.float64], h: int, w: int) -> NDArray[np.uint8]:
    mask = np.zeros((h, w), np.uint8)
    cv2.fillPoly(mask, [points.round().astype(np.int32)], [1])
    return mask


def tiles_of(
    table: Mapping[str, Sequence[Any]], numbers: Mapping[str, int], *, labels: bool, whole: bool
) -> list[Tile]:
    """Return the tiles of the first 100 rows of a table that has at least ``im_file``.

    Args:
        table: column name to values.
        numbers: path of an image to the number of its row, for the captions.
        labels: draw the objects, as far as the table holds them.
        whole: the labels are those of whole images.
    """
    drawn = ("labels", "cls", "bboxes", "masks", "keypoints")
    has_objects = labels and all(name in table for name in drawn)
    notes = [f"{d:.3g}" for d in table["_distance"]] if "_distance" in table else [""] * len(table["im_file"])
    return [
        Tile(
            str(file),
            f"{numbers.get(str(file), '')}  {Path(str(file)).name}".strip(),
            notes[i],
            {name: table[name][i] for name in drawn} if has_objects else None,
            whole,
        )
        for i, file in enumerate(table["im_file"][:MOST])
    ]


def draw_counts(counts: Sequence[int], order: Sequence[int], max_dist: float) -> Image.Image:
    """Return a bar chart of the numbers of neighbours, the most first.

    Args:
        counts: N numbers of images within the distance, in descending order.
        order: N row numbers they belong to.
        max_dist: the distance.
    """
    figure = new_figure(10, 4.5)
    axes = figure.subplots()
    n, alone = len(counts), sum(count <= 1 for count in counts)
    title = f"Images within a distance of {max_dist:.4g}, itself included; {n - alone} of {n} images have a neighbour"
    dress(axes, title, "images, by number of neighbours" if n > SINGLE_BARS // 4 else "idx of the image", "images")
    if n <= SINGLE_BARS:
        axes.bar(range(n), counts, color=PALETTE[0], width=0.8 if n <= SINGLE_BARS // 4 else 0.9)
    else:
        axes.stairs(counts, np.arange(n + 1) - 0.5, fill=True, color=PALETTE[0])
    if n <= SINGLE_BARS // 4:
        axes.set_xticks(range(n), [str(i) for i in order], fontsize=8)
    else:
        whole_numbers(axes.xaxis)
    axes.set_xlim(-0.75, n - 0.25)
    axes.set_ylim(0, max(counts, default=1) * 1.05)
    axes.grid(visible=False, axis="x")
    whole_numbers(axes.yaxis)
    figure.set_dpi(130)
    canvas: Any = figure.canvas
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
