"""Drawing predictions on an image: :class:`Annotator`, with the palette and the crop helper at hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from yolocore.errors import DataError
from yolocore.utils.image_files import save_one_box, show_image, write_image
from yolocore.utils.lettering import DOCUMENTED_FONT, FontPen, StrokePen, needs_font
from yolocore.utils.ops import as_numpy
from yolocore.utils.palette import Colors, colors, readable
from yolocore.utils.placement import HIDDEN, label_places, least_hidden, share_of_size, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from yolocore.utils.lettering import Pen
    from yolocore.utils.palette import Colour

__all__ = ["LIMBS", "Annotator", "Colors", "colors", "highest_first", "save_one_box"]

# The 19 limbs of the COCO person: pairs of indices into its 17 keypoints.
LIMBS = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
    (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
REACH = 1e6  # pixels; farther corners are too much for OpenCV
LEGIBLE = 11.0  # pixels; labels of small boxes are not written smaller
LEFT, RIGHT, MIDDLE = (180, 165, 0), (0, 120, 240), (255, 90, 195)  # BGR of the sides of a body


def limb_colour(a: int, b: int) -> Colour:
    """Return the BGR colour of the limb between two COCO keypoints; odd indices are on the left side."""
    if a % 2 != b % 2:
        return MIDDLE
    return LEFT if a % 2 else RIGHT


def highest_first(corners: NDArray[Any]) -> NDArray[Any]:
    """Return the corners (4, 2) of a rotated box in the same order, but begun at the highest one, where its name goes."""
    first = np.lexsort((corners[:, 0], corners[:, 1].round()))[0]  # of two equally high ones the left
    return np.roll(corners, -first, axis=0)


def upright(corners: NDArray[Any]) -> NDArray[Any]:
    """Return the upright box (4,) around a box given as (4,) xyxy or as (4, 2) corners."""
    return np.concatenate([corners.min(0), corners.max(0)]) if corners.ndim == 2 else corners


def _colour(colour: Sequence[float]) -> Colour:
    c = [int(v) for v in colour]
    return (c[0], c[1], c[2])


class Annotator:
    """Draws on one image.

    A contiguous, writeable array of three channels is drawn on in place; anything else is copied. Colours are
    in the channel order of the image.

    Args:
        im: (H, W, 3) uint8 array, (H, W) gray array, or a PIL image.
        line_width: of boxes, in pixels; scales with the image when ``None``.
        font_size: height of a line of text in pixels; follows the line width when ``None``.
        font: TrueType font for text outside ASCII; a bundled free font where it is not installed.
        pil: write all text with that font.
        example: text, or anything that holds the texts to come: whether the font is needed from the start.

    Attributes:
        im: the array drawn on.
        lw: line width in pixels.
    """

    def __init__(
        self,
        im: Any,
        line_width: float | None = None,
        font_size: float | None = None,
        font: str = DOCUMENTED_FONT,
        pil: bool = False,
        example: Any = "abc",
    ) -> None:
        self.fromarray(im)
        h, w = self.im.shape[:2]
        self.lw = max(round(line_width), 1) if line_width else max(math.floor((h + w) * 0.0015 + 0.5), 2)
        fitting = min(max(self.lw * 7.0, 13.0), max(min(h, w) / 5, 8.0))
        self.line_height = float(font_size) if font_size else fitting
        self.font = font
        self._adapts = not (line_width or font_size)
        self._pens: dict[tuple[bool, float], Pen] = {}
        self._writes_font = pil or needs_font(example)
        self.pen = self._pen_for("")

    def _pen_for(self, text: str, share: float = 1.0) -> Pen:
        """Return what writes ``text`` at a share of the usual size."""
        height = max(self.line_height * share, min(self.line_height, LEGIBLE))
        key = self._writes_font or needs_font(text), height
        if key not in self._pens:
            self._pens[key] = FontPen(height, self.font) if key[0] else StrokePen(height)
        return self._pens[key]

    def fromarray(self, im: Any) -> None:
        """Go on with another image."""
        array = np.asarray(im.convert("RGB") if isinstance(im, Image.Image) else im)
        if array.ndim == 2 or array.shape[-1] == 1:
            array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            got = f"got an array of shape {array.shape} and type {array.dtype}"
            raise DataError(f"Annotator: {got}; it draws on uint8 images of shape (H, W, 3)")
        drawable = array.flags.c_contiguous and array.flags.writeable
        self.im: NDArray[np.uint8] = array if drawable else array.copy()

    # ------------------------------------------------------------------ boxes and labels

    def box_label(
        self,
        box: Any,
        label: str = "",
        color: Sequence[float] = (128, 128, 128),
        txt_color: Sequence[float] = (255, 255, 255),
        rotated: bool = False,
    ) -> None:
        """Draw a box and its label.

        Args:
            box: xyxy pixels, or with ``rotated`` (4, 2) corners (recognised by their shape too).
            label: text on a patch of ``color`` above the first corner; moved where it would leave the image, cut where
                it is wider than the image.
            color: of box and patch.
            txt_color: of the text, unless it could not be read on ``color``.
            rotated: the box is given by its corners.
        """
        corners = self._corners(box, rotated=rotated)
        self._outline(corners, _colour(color), self.lw)
        if label:
            pen = self._pen_for(label)
            label = shortened(label, pen, self.im.shape[1] - 2 * self._padding(pen.measure(label)[1]))
            self._tag(label, self._places(label, pen, corners, self.lw)[0], pen, _colour(color), _colour(txt_color))

    def box_labels(
        self,
        boxes: Sequence[Any],
        labels: Sequence[str],
        colors: Sequence[Sequence[float]],
        txt_color: Sequence[float] = (255, 255, 255),
    ) -> None:
        """Draw boxes, then their labels beside one another where there is room; of two, the first lies on top.

        Small boxes get thinner lines and smaller labels, unless the line width or font size was given. A label that
        others would hide by more than a quarter is left out.

        Args:
            boxes: N boxes as for :meth:`box_label`.
            labels: N texts, empty ones for boxes without.
            colors: N colours of boxes and patches.
            txt_color: as for :meth:`box_label`.
        """
        inks = [_colour(c) for c in colors]
        corners = [self._corners(box) for box in boxes]
        shares = [share_of_size(upright(c), self.line_height) if self._adapts else 1.0 for c in corners]
        widths = [math.ceil(self.lw * share) for share in shares]
        tags: list[tuple[str, NDArray[np.int64], Pen, Colour]] = []
        for i, label in enumerate(labels):
            if label:
                pen = self._pen_for(label, shares[i])
                text = shortened(label, pen, self.im.shape[1] - 2 * self._padding(pen.measure(label)[1]))
                taken = np.array([tag[1] for tag in tags], np.int64).reshape(-1, 4)
                patch, hidden = least_hidden(self._places(text, pen, corners[i], widths[i]), taken)
                if hidden <= HIDDEN:
                    tags.append((text, patch, pen, inks[i]))
        for i in range(len(inks) - 1, -1, -1):
            self._outline(corners[i], inks[i], widths[i])
        for text, patch, pen, ink in reversed(tags):
            self._tag(text, patch, pen, ink, _colour(txt_color))

    @staticmethod
    def _corners(box: Any, *, rotated: bool = False) -> NDArray[np.int64]:
        """Return a box as whole pixels, 0 for NaN: (4,) xyxy, or (4, 2) corners."""
        points = np.nan_to_num(as_numpy(box).astype(np.float64)).clip(-REACH, REACH)
        is_rotated = rotated or points.shape == (4, 2)
        return (points.reshape(4, 2) if is_rotated else points.reshape(-1)[:4]).round().astype(np.int64)

    def _outline(self, corners: NDArray[np.int64], colour: Colour, width: int) -> None:
        if corners.ndim == 2:
            cv2.polylines(self.im, [corners.astype(np.int32)], True, colour, width, cv2.LINE_AA)
        else:
            x, y, right, bottom = corners.tolist()
            cv2.rectangle(self.im, (x, y), (right, bottom), colour, width, cv2.LINE_AA)

    def _places(self, label: str, pen: Pen, corners: NDArray[np.int64], line_width: int) -> NDArray[np.int64]:
        """Return where a label may lie, see :func:`label_places`."""
        w, h = pen.measure(label)
        size = w + 2 * self._padding(h), h + self._padding(h)
        first = corners[0] if corners.ndim == 2 else corners[:2]
        place = np.concatenate([first, upright(corners)])
        return label_places(place, size, line_width, (self.im.shape[0], self.im.shape[1]))

    @staticmethod
    def _padding(height: int) -> int:
        return max(round(height * 0.22), 2)

    def _tag(self, label: str, patch: NDArray[np.int64], pen: Pen, colour: Colour, txt: Colour) -> None:
        """Write ``label`` on a patch (xyxy)."""
        pad = self._padding(pen.measure(label)[1])
        self.rectangle(patch, fill=colour)
        pen.write(self.im, label, int(patch[0]) + pad, int(patch[1]) + pad // 2, readable(txt, colour))

    def circle_label(
        self,
        box: Any,
        label: str = "",
        color: Sequence[float] = (128, 128, 128),
        txt_color: Sequence[float] = (255, 255, 255),
        margin: int = 2,
    ) -> None:
        """Draw up to three characters of ``label`` in a filled circle at the centre of ``box`` (xyxy pixels).

        The radius is half the diagonal of the text plus ``margin`` pixels.
        """
        text = str(label)[:3]
        cx, cy = self._centre(box)
        pen = self._pen_for(text)
        w, h = pen.measure(text)
        cv2.circle(self.im, (cx, cy), round(math.hypot(w, h) / 2) + margin, _colour(color), -1, cv2.LINE_AA)
        pen.write(self.im, text, cx - w // 2, cy - h // 2, readable(_colour(txt_color), _colour(color)))

    def text_label(
        self,
        box: Any,
        label: str = "",
        color: Sequence[float] = (128, 128, 128),
        txt_color: Sequence[float] = (255, 255, 255),
        margin: int = 5,
    ) -> None:
        """Write ``label`` on a filled patch, ``margin`` pixels wider, at the centre of ``box`` (xyxy)."""
        text = str(label)
        cx, cy = self._centre(box)
        pen = self._pen_for(text)
        w, h = pen.measure(text)
        left, top = cx - w // 2, cy - h // 2
        self.rectangle((left - margin, top - margin, left + w + margin, top + h + margin), fill=color)
        pen.write(self.im, text, left, top, readable(_colour(txt_color), _colour(color)))

    @staticmethod
    def _centre(box: Any) -> tuple[int, int]:
        x1, y1, x2, y2 = as_numpy(box).reshape(-1)[:4].tolist()
        return int((x1 + x2) / 2), int((y1 + y2) / 2)

    @staticmethod
    def get_bbox_dimension(bbox: Any) -> tuple[Any, Any, Any]:
        """Return (width, height, area) of an xyxy box; elements of a tensor stay tensors."""
        x1, y1, x2, y2 = bbox
        width, height = x2 - x1, y2 - y1
        return width, height, width * height

    # ------------------------------------------------------------------ masks, keypoints, primitives

    def masks(self, masks: Any, colors: Sequence[Sequence[float]], alpha: float = 0.5) -> None:
        """Tint the image where a mask covers it, and draw the outline.

        Args:
            masks: (N, h, w), non-zero on the object; resized to the image when of another size.
            colors: one triple per mask.
            alpha: share of the tint in [0, 1].
        """
        height, width = self.im.shape[:2]
        for mask, color in zip(as_numpy(masks), colors, strict=True):
            on = mask > 0
            if on.shape != (height, width):  # smooth edges instead of steps
                on = cv2.resize(on.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
            self.im[on] = (self.im[on] * (1 - alpha) + np.array(color, np.float32) * alpha).astype(np.uint8)
            contours, _ = cv2.findContours(on.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(self.im, contours, -1, _colour(color), 1)

    def kpts(
        self,
        kpts: Any,
        shape: Sequence[int] = (640, 640),
        radius: int | None = None,
        kpt_line: bool = True,
        conf_thres: float = 0.25,
        kpt_color: Sequence[float] | None = None,
    ) -> None:
        """Draw the keypoints of one object.

        Args:
            kpts: (K, 2) x, y in pixels, or (K, 3) with a visibility score. (0, 0) marks a missing point.
            shape: (h, w) of the image; points outside are skipped.
            radius: of a point in pixels; the line width when ``None``. Limbs are no wider.
            kpt_line: join the points of a COCO person (K = 17) by limbs.
            conf_thres: points with a lower score are skipped.
            kpt_color: one colour for everything instead of one per side of the body.
        """
        points = as_numpy(kpts).astype(np.float64)
        x, y = points[:, 0], points[:, 1]
        seen = (x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0]) & ((x > 0) | (y > 0))
        if points.shape[1] == 3:
            seen &= points[:, 2] >= conf_thres
        at = np.where(seen[:, None], points[:, :2], 0).round().astype(int)
        person = len(points) == 17
        one = _colour(kpt_color) if kpt_color is not None else None
        for a, b in LIMBS if person and kpt_line else ():
            if seen[a] and seen[b]:
                line = tuple(at[a]), tuple(at[b])
                cv2.line(self.im, *line, one or limb_colour(a, b), min(self.lw, radius or self.lw), cv2.LINE_AA)
        for k in np.flatnonzero(seen).tolist():
            colour = one or (limb_colour(k, k) if person else colors(k, bgr=True))
            cv2.circle(self.im, tuple(at[k]), radius or self.lw, colour, -1, cv2.LINE_AA)

    def rectangle(
        self,
        xy: Any,
        fill: Sequence[float] | None = None,
        outline: Sequence[float] | None = None,
        width: int = 1,
    ) -> None:
        """Draw an upright rectangle (xyxy pixels, both corners included), filled, outlined or both."""
        x1, y1, x2, y2 = (round(float(v)) for v in as_numpy(xy).reshape(-1)[:4])
        if fill is not None:
            cv2.rectangle(self.im, (x1, y1), (x2, y2), _colour(fill), -1)
        if outline is not None:
            cv2.rectangle(self.im, (x1, y1), (x2, y2), _colour(outline), width, cv2.LINE_AA)

    def text(
        self,
        xy: Sequence[float],
        text: str,
        txt_color: Sequence[float] = (255, 255, 255),
        anchor: str = "top",
        box_color: Sequence[float] | None = None,
    ) -> None:
        """Write lines of text from the point ``xy``.

        Args:
            xy: left end, and the upper (``anchor="top"``) or lower (``"bottom"``) edge of the first line.
            text: may hold line breaks.
            txt_color: of the letters, unless it could not be read on ``box_color``.
            anchor: ``top`` or ``bottom``.
            box_color: of a patch behind each line, or ``None``.
        """
        left, top = int(xy[0]), int(xy[1])
        for line in text.split("\n"):
            pen = self._pen_for(line)
            w, h = pen.measure(line)
            upper = top - h if anchor == "bottom" else top
            colour = _colour(txt_color)
            if box_color is not None:
                self.rectangle((left - 2, upper, left + w + 2, upper + h), fill=box_color)
                colour = readable(colour, _colour(box_color))
            pen.write(self.im, line, left, upper, colour)
            top += h

    # ------------------------------------------------------------------ what becomes of it

    def result(self) -> NDArray[np.uint8]:
        """Return the annotated array (H, W, 3)."""
        return self.im

    def show(self, title: str = "yolocore") -> None:
        """Show the image in a window; see :func:`show_image`."""
        show_image(title, self.im)

    def save(self, filename: str | Path = "image.jpg") -> None:
        """Write the image, taken as BGR, to ``filename``."""
        write_image(filename, self.im)
