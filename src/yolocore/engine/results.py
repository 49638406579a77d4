"""The predictions for one image, and everything one can do with them."""

from __future__ import annotations

import copy
import csv
import io
import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from torch import Tensor

from yolocore.engine import bridges
from yolocore.engine.containers import OBB, Boxes, Container, Keypoints, Masks, Probs
from yolocore.engine.drawing import draw_boxes, draw_keypoints, draw_masks, draw_probs
from yolocore.engine.records import summarise, text_lines
from yolocore.errors import ConfigError
from yolocore.utils.image_files import save_one_box, show_image, write_image
from yolocore.utils.ops import as_numpy, clip_boxes
from yolocore.utils.plotting import Annotator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from yolocore.utils.palette import Colour

__all__ = ["OBB", "Boxes", "Keypoints", "Masks", "Probs", "Results"]

LOGGER = logging.getLogger(__name__)
KINDS: dict[str, type[Container]] = {
    "boxes": Boxes,
    "masks": Masks,
    "probs": Probs,
    "keypoints": Keypoints,
    "obb": OBB,
}
WRITABLE = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


class Results:
    """The predictions for one image.

    ``len(r)`` is the number of instances (of classes for a classification); ``r[i]``, ``r[a:b]``, ``r[mask]``
    give a new ``Results`` with only those, and iterating gives them one by one. The classes that are left of a
    classification are counted, and named, anew from 0.

    Args:
        orig_img: (H, W, 3) uint8 BGR image.
        path: where it came from.
        names: class index to class name.
        boxes: (N, 6 or 7), see :class:`Boxes`.
        masks: (N, h, w), see :class:`Masks`.
        probs: (C,), see :class:`Probs`.
        keypoints: (N, K, 2 or 3), see :class:`Keypoints`.
        obb: (N, 7 or 8), see :class:`OBB`.
        speed: milliseconds of the stages ``preprocess``, ``inference`` and ``postprocess``.

    Attributes:
        orig_img, path, names, speed: as given.
        orig_shape: (height, width) of the image.
        boxes, masks, probs, keypoints, obb: containers, or ``None``.
        save_dir: folder of the run that wrote files for this image, or ``None``.
    """

    boxes: Boxes | None
    masks: Masks | None
    probs: Probs | None
    keypoints: Keypoints | None
    obb: OBB | None

    def __init__(
        self,
        orig_img: NDArray[np.uint8],
        path: str | Path,
        names: Mapping[int, str],
        boxes: Any = None,
        masks: Any = None,
        probs: Any = None,
        keypoints: Any = None,
        obb: Any = None,
        speed: Mapping[str, float | None] | None = None,
    ) -> None:
        self.orig_img = orig_img
        self.orig_shape: tuple[int, int] = (int(orig_img.shape[0]), int(orig_img.shape[1]))
        self.path = str(path)
        self.names = names
        self.speed = dict(speed or dict.fromkeys(("preprocess", "inference", "postprocess")))
        self.save_dir: str | None = None
        given = {"boxes": boxes, "masks": masks, "probs": probs, "keypoints": keypoints, "obb": obb}
        for kind, data in given.items():
            setattr(self, kind, self._contain(kind, data))

    def _contain(self, kind: str, data: Any) -> Container | None:
        if data is None or isinstance(data, Container):
            return data
        return KINDS[kind](data, self.orig_shape)

    def _present(self) -> dict[str, Container]:
        return {kind: value for kind in KINDS if (value := getattr(self, kind)) is not None}

    def _map(self, change: Any) -> Self:
        """Return a copy in which ``change`` was applied to every container."""
        out = copy.copy(self)
        out.speed = dict(self.speed)
        for kind, value in self._present().items():
            setattr(out, kind, change(value))
        return out

    def __len__(self) -> int:
        return next((len(value) for value in self._present().values()), 0)

    def __getitem__(self, index: Any) -> Self:
        out = self._map(lambda value: value[index])
        if self.probs is not None:
            kept = np.atleast_1d(np.arange(len(self.probs))[as_numpy(index) if isinstance(index, Tensor) else index])
            out.names = {i: self.names[c] for i, c in enumerate(kept.tolist())}
        return out

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        found = ", ".join(f"{kind}={value.shape}" for kind, value in self._present().items())
        return f"Results({self.path!r}, orig_shape={self.orig_shape}, {found or 'no predictions'})"

    # ------------------------------------------------------------------ copies and changes

    def new(self) -> Self:
        """Return the same image, path, names and speed without predictions."""
        return self._map(lambda _: None)

    def update(
        self, boxes: Any = None, masks: Any = None, probs: Any = None, obb: Any = None, keypoints: Any = None
    ) -> None:
        """Replace containers by new data; boxes are clipped to the image."""
        given = {"boxes": boxes, "masks": masks, "probs": probs, "keypoints": keypoints, "obb": obb}
        if boxes is not None:
            given["boxes"] = clip_boxes(boxes.data if isinstance(boxes, Boxes) else boxes, self.orig_shape)
        for kind, data in given.items():
            if data is not None:
                setattr(self, kind, self._contain(kind, data))

    def cpu(self) -> Self:
        """Return a copy with the tensors in main memory."""
        return self._map(lambda value: value.cpu())

    def cuda(self) -> Self:
        """Return a copy with the tensors on the current CUDA device."""
        return self._map(lambda value: value.cuda())

    def numpy(self) -> Self:
        """Return a copy with numpy arrays."""
        return self._map(lambda value: value.numpy())

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Return a copy moved or converted as ``torch.Tensor.to`` does it."""
        return self._map(lambda value: value.to(*args, **kwargs))

    # ------------------------------------------------------------------ words and tables

    def verbose(self) -> str:
        """Return what was found in words: ``"2 persons, 1 bus, "``, in the order of the class indices."""
        if self.probs is not None:
            chosen = zip(self.probs.top5, self.probs.top5conf, strict=True)
            return "".join(f"{self.names[i]} {float(p):.2f}, " for i, p in chosen)
        scored = self.obb if self.obb is not None else self.boxes
        if scored is None or len(scored) == 0:
            return "(no detections), "
        classes, counts = np.unique(scored.numpy().cls.astype(int), return_counts=True)
        pairs = zip(classes.tolist(), counts.tolist(), strict=True)
        return "".join(f"{n} {self.names[c]}{'s' * (n > 1)}, " for c, n in pairs)

    def summary(self, normalize: bool = False, decimals: int = 5) -> list[dict[str, Any]]:
        """Return one plain record per instance (per class, up to five, for a classification).

        Args:
            normalize: divide coordinates by image width and height.
            decimals: to round numbers to.
        """
        return summarise(self, normalize, decimals)

    def to_df(self, normalize: bool = False, decimals: int = 5) -> Any:
        """Return :meth:`summary` as a pandas DataFrame.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as e:
            raise ImportError(
                "to_df needs pandas: pip install 'yolocore[tables]'; summary, to_csv and to_json do not"
            ) from e
        return pd.DataFrame(self.summary(normalize, decimals))

    def to_csv(self, normalize: bool = False, decimals: int = 5) -> str:
        """Return :meth:`summary` as CSV with a header, nested values as JSON; empty without predictions."""
        rows = self.summary(normalize, decimals)
        if not rows:
            return ""
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()})
        return out.getvalue()

    def to_json(self, normalize: bool = False, decimals: int = 5) -> str:
        """Return :meth:`summary` as a JSON list."""
        return json.dumps(self.summary(normalize, decimals), indent=2)

    def to_sql(
        self,
        table_name: str = "results",
        db_path: str | Path = "results.db",
        normalize: bool = False,
        decimals: int = 5,
    ) -> str:
        """Append :meth:`summary` to a table of an SQLite file and return the path of the file.

        A row is one instance: ``path, name, class, confidence, box, track_id, segments, keypoints``; nested values
        are JSON, absent ones NULL. File and table are made where they are missing.

        Args:
            table_name: the table.
            db_path: the file.
            normalize: divide coordinates by image width and height.
            decimals: to round numbers to.
        """
        bridges.to_sql(self.summary(normalize, decimals), self.path, table_name, db_path)
        return str(db_path)

    # ------------------------------------------------------------------ other libraries

    def to_supervision(self) -> Any:
        """Return the predictions as objects of the package ``supervision``.

        Boxes, masks and rotated boxes (corners in ``data["xyxyxyxy"]``) become ``Detections``, with track ids as
        ``tracker_id`` and class names in ``data["class_name"]``; keypoints ``KeyPoints``; a classification
        ``Classifications`` with the probability of every class.

        Raises:
            ImportError: supervision is not installed.
        """
        return bridges.to_supervision(self)

    def to_coco(
        self, image_id: int | str | None = None, categories: Mapping[int, int] | None = None
    ) -> list[dict[str, Any]]:
        """Return the predictions as records of a COCO result file; a classification has none.

        A record holds ``image_id, category_id, bbox`` (left, top, width, height in pixels) and ``score``; masks add
        ``segmentation`` as compressed run lengths at image size, rotated boxes as a polygon; keypoints add
        ``keypoints`` ``[x, y, score, ...]``, with score 1 where there is none.

        Args:
            image_id: number of the image in the annotations; the one that names the file (else its stem) when ``None``.
            categories: class index to ``category_id``; the class index itself when ``None``.
        """
        if image_id is None:
            stem = Path(self.path).stem
            image_id = int(stem) if stem.isdecimal() else stem
        return bridges.to_coco(self, image_id, categories)

    # ------------------------------------------------------------------ files

    def save_txt(self, txt_file: str | Path, save_conf: bool = False) -> str:
        """Append one line per instance to ``txt_file``; without instances no file is made.

        Args:
            txt_file: the file.
            save_conf: add the confidence. A track id is always added, last.

        Returns:
            The path of the file.
        """
        lines = text_lines(self, save_conf)
        if lines:
            Path(txt_file).parent.mkdir(parents=True, exist_ok=True)
            with Path(txt_file).open("a", encoding="utf-8") as f:
                f.writelines(f"{line}\n" for line in lines)
        return str(txt_file)

    def save_crop(self, save_dir: str | Path, file_name: str | Path = "im.jpg") -> None:
        """Write every box as a JPEG ``save_dir/<class>/<stem>.jpg``; a taken name gets a number.

        A box grows by 2 % and 10 pixels before it is cut; one that holds no pixel of the image has no crop.
        Classifications and rotated boxes have none either.
        """
        if self.boxes is None:
            kind = "a classification" if self.probs is not None else "a result without upright boxes"
            LOGGER.warning("save_crop: %s has nothing to crop", kind)
            return
        boxes = self.boxes.numpy()
        outside = 0
        for xyxy, cls in zip(boxes.xyxy, boxes.cls.astype(int).tolist(), strict=True):
            folder = Path(save_dir) / folder_name(self.names[cls])
            crop = save_one_box(xyxy, self.orig_img, file=folder / Path(file_name).name, BGR=True)
            outside += crop.size == 0
        if outside:
            LOGGER.warning("save_crop: %s: %d of %d boxes hold no pixel of the image", self.path, outside, len(boxes))

    def save(self, filename: str | Path | None = None, *args: Any, **kwargs: Any) -> str:
        """Write the annotated image and return its path.

        Args:
            filename: ``results_<name of the source>`` in the working directory when ``None``.
            *args: passed to :meth:`plot`.
            **kwargs: passed to :meth:`plot`.
        """
        return str(write_image(filename or self._default_name(), self.plot(*args, **kwargs)))

    def _default_name(self) -> str:
        name = Path(self.path).name
        return f"results_{name}" if Path(name).suffix.lower() in WRITABLE else f"results_{Path(name).stem}.jpg"

    def show(self, *args: Any, **kwargs: Any) -> None:
        """Show the annotated image in a window; arguments as for :meth:`plot`.

        Raises:
            UnsupportedError: there is no display, or OpenCV was built without windows.
        """
        show_image(self.path, self.plot(*args, **kwargs))

    # ------------------------------------------------------------------ drawing

    def plot(
        self,
        conf: bool = True,
        line_width: float | None = None,
        font_size: float | None = None,
        font: str = "Arial.ttf",
        pil: bool = False,
        img: NDArray[np.uint8] | None = None,
        kpt_radius: int = 5,
        kpt_line: bool = True,
        labels: bool = True,
        boxes: bool = True,
        masks: bool = True,
        probs: bool = True,
        show: bool = False,
        save: bool = False,
        filename: str | Path | None = None,
        color_mode: str = "class",
        txt_color: Colour = (255, 255, 255),
    ) -> NDArray[np.uint8]:
        """Draw the predictions: masks, boxes (the best one last, on top), probabilities, keypoints.

        Args:
            conf: write confidences.
            line_width: in pixels; follows the size of the image when ``None``.
            font_size: height of a line of text in pixels; follows the line width when ``None``.
            font: TrueType font, used for names outside ASCII.
            pil: use that font for all names.
            img: draw on a copy of this BGR image instead of the original one.
            kpt_radius: of a keypoint, in pixels; smaller on objects of less than 200 pixels.
            kpt_line: join the keypoints of persons.
            labels: write class names.
            boxes: draw boxes.
            masks: tint masks.
            probs: write the best classes of a classification.
            show: show the image in a window as well.
            save: write it to ``filename`` as well.
            filename: as for :meth:`save`.
            color_mode: ``class``, or ``instance`` for a colour per instance (per track where there are ids).
            txt_color: BGR of the names.

        Returns:
            (H, W, 3) uint8 BGR copy of the image with the drawing.
        """
        if color_mode not in {"class", "instance"}:
            raise ConfigError(f"color_mode={color_mode!r} is not allowed; it is 'class' or 'instance'")
        canvas = np.array(self.orig_img if img is None else img, order="C")
        pen = Annotator(canvas, line_width, font_size, font, pil, example=self.names)
        if masks:
            draw_masks(pen, self, color_mode)
        if boxes:
            draw_boxes(pen, self, conf=conf, labels=labels, color_mode=color_mode, txt_color=txt_color)
        if probs:
            draw_probs(pen, self, txt_color)
        draw_keypoints(pen, self, kpt_radius, kpt_line)
        if show:
            show_image(self.path, pen.result())
        if save:
            write_image(filename or self._default_name(), pen.result())
        return pen.result()


def folder_name(name: str) -> str:
    """Return a class name as the name of one folder: no separators, no dots that leave it."""
    return re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", name).strip(". ") or "_"
