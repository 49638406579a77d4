"""What a split holds: objects by class, sizes and shapes of boxes, and what follows for a training."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from yolocore.data.duplicates import NEAR, SAME, shared_images

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yolocore.data.duplicates import Twin
    from yolocore.data.labels import LabelStore
    from yolocore.data.report import ScanReport

SIZE_EDGES = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)  # side of a square as large as the box, % of the image's
ASPECT_EDGES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, np.inf)  # width / height in pixels
USUAL_SIZE = 640
TINY = 8  # pixels at the usual size: one cell of the finest level
TINY_SHARE = 0.3
BACKGROUND_SHARE = 0.3
IMBALANCE = 50
NAMED = 5  # classes that a suggestion names


@dataclass(frozen=True, slots=True)
class SplitStatistics:
    """Figures of one split.

    Attributes:
        split: Name of the split.
        images: Number of images.
        objects: Number of objects by class name, classes without objects included.
        class_images: Number of images with at least one object, by class name.
        box_sizes: Number of boxes by size: the side of a square of equal area, in % of that of the image.
        box_aspects: Number of boxes by width / height, in pixels.
        objects_per_image: Smallest, median and largest number.
        tiny: Share of the boxes with a side below 8 pixels where the longer side of the image is 640.
        backgrounds: Images without an object.
        repeated: Number of images that are listed before already.
    """

    split: str
    images: int
    objects: dict[str, int]
    class_images: dict[str, int]
    box_sizes: dict[str, int]
    box_aspects: dict[str, int]
    objects_per_image: tuple[int, float, int]
    tiny: float
    backgrounds: list[str]
    repeated: int


def measure(store: LabelStore, split: str, names: Mapping[int, str]) -> SplitStatistics:
    """Return the figures of a split; ``names`` are the class names by index, those given twice are told apart by it."""
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    unique = {index: f"{name} ({index})" if name in shared else name for index, name in names.items()}
    counts = store.counts
    owners = np.repeat(np.arange(len(store)), counts)
    cls = store.cls.astype(np.int64)
    pairs = np.unique(np.stack([cls, owners]), axis=1)[0] if len(cls) else cls
    by_class = np.bincount(cls, minlength=len(names))
    by_image = np.bincount(pairs, minlength=len(names))
    whole = store.shapes[owners, ::-1].astype(np.float64)  # (M, 2) width, height of the image
    sides = store.bboxes[:, 2:].astype(np.float64)  # (M, 2) normalised
    sizes = np.sqrt(sides.prod(1)) * 100
    pixels = sides * whole
    at_usual = pixels * (USUAL_SIZE / np.maximum(whole.max(1, initial=1, keepdims=True), 1))
    aspects = pixels[:, 0] / np.maximum(pixels[:, 1], 1e-9)
    per_image = (int(counts.min()), float(np.median(counts)), int(counts.max())) if len(counts) else (0, 0.0, 0)
    return SplitStatistics(
        split=split,
        images=len(store),
        objects={name: int(by_class[index]) for index, name in unique.items()},
        class_images={name: int(by_image[index]) for index, name in unique.items()},
        box_sizes=_histogram(sizes, SIZE_EDGES, "%"),
        box_aspects=_histogram(aspects, ASPECT_EDGES, ""),
        objects_per_image=per_image,
        tiny=float((at_usual.min(1) < TINY).mean()) if len(cls) else 0.0,
        backgrounds=[store.im_files[i] for i in np.flatnonzero(counts == 0)],
        repeated=len(store) - len(set(store.im_files)),
    )


def _histogram(values: NDArray[np.float64], edges: Sequence[float], unit: str) -> dict[str, int]:
    counts, _ = np.histogram(values.clip(edges[0], min(edges[-1], 1e9)), [*edges[:-1], min(edges[-1], 1e9)])
    texts = [f"{low:g}-{high:g}{unit}" if np.isfinite(high) else f"over {low:g}" for low, high in pairwise(edges)]
    return dict(zip(texts, counts.tolist(), strict=True))


def suggest(
    statistics: Sequence[SplitStatistics], reports: Sequence[ScanReport], twins: Sequence[Twin] = ()
) -> list[str]:
    """Return what could be done about a dataset, the most urgent first.

    Args:
        statistics: Figures of the splits.
        reports: What their scans found.
        twins: Images that occur twice.
    """
    advice = _about_twins(twins)
    if any(report.findings for report in reports) or any(twin.kind == SAME for twin in twins):
        advice.append(
            "`yolo check ... --fix DIR` writes a copy without faulty rows, broken images and files that occur twice"
        )
    for item in statistics:
        if item.repeated:
            word = "entry names" if item.repeated == 1 else "entries name"
            advice.append(f"{item.repeated} {word} an image that {item.split} holds already: it counts more than once")
    by_split = {item.split: item for item in statistics}
    if train := by_split.get("train"):
        advice += _about_training(train)
        if val := by_split.get("val"):
            unseen = [n for n, count in val.objects.items() if count and not train.objects.get(n)]
            untested = [n for n, count in train.objects.items() if count and not val.objects.get(n)]
            advice += _about(unseen, "in val but not in train: they cannot be learnt")
            advice += _about(untested, "in train but not in val: their accuracy is not measured")
    return advice


def _about_twins(twins: Sequence[Twin]) -> list[str]:
    """Return a line for each pair of splits that share images."""
    near = shared_images([twin for twin in twins if twin.kind == NEAR])
    advice = []
    for (first, second), count in shared_images(twins).items():
        alike = near.get((first, second), 0)
        how = "" if not alike else ", nearly the same" if alike == count else f", {alike} of them nearly the same"
        what = "test" if second == "test" else "validation"
        word = "image is" if count == 1 else "images are"
        advice.append(f"{count} {word} in both {first} and {second}{how}: {what} figures will be too good")
    return advice


def _about_training(train: SplitStatistics) -> list[str]:
    advice = _about([n for n, count in train.objects.items() if not count], "without an object in train")
    counted = sorted((count, name) for name, count in train.objects.items() if count)
    if counted and counted[-1][0] > IMBALANCE * counted[0][0]:
        (few, rare), (many, common) = counted[0], counted[-1]
        advice.append(f"{common!r} has {many} objects, {rare!r} {few}: collect more of the rare classes")
    if train.tiny > TINY_SHARE:
        text = f"{train.tiny:.0%} of the boxes in train are narrower than {TINY} pixels at imgsz={USUAL_SIZE}"
        advice.append(f"{text}: train at a larger imgsz, or on tiles")
    if len(train.backgrounds) > BACKGROUND_SHARE * train.images:
        share = len(train.backgrounds) / train.images
        advice.append(f"{share:.0%} of the images in train have no object: is their labelling complete?")
    return advice


def _about(classes: Sequence[str], what: str) -> list[str]:
    if not classes:
        return []
    more = f" and {len(classes) - NAMED} more" if len(classes) > NAMED else ""
    word = "class is" if len(classes) == 1 else "classes are"
    return [f"{len(classes)} {word} {what}: {', '.join(classes[:NAMED])}{more}"]
