"""From a dataset description to batches."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from yolocore.data.augment.format import formatter_for
from yolocore.data.classify import ClassificationDataset
from yolocore.data.dataset import YOLODataset
from yolocore.data.images import MAX_PIXELS
from yolocore.data.loader import EpochLoader
from yolocore.data.scan import scan
from yolocore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yolocore.data.augment.format import Formatter
    from yolocore.data.augment.pipeline import Transform
    from yolocore.data.base import BaseDataset
    from yolocore.data.labels import LabelStore

VAL_PAD = 0.5
SPLITS = ("train", "val", "test")


def build_dataset(
    info: Mapping[str, Any],
    split: str,
    args: Any,
    *,
    mode: Literal["train", "val"] = "train",
    batch: int = 16,
    stride: int = 32,
    rect: bool | None = None,
    imgsz: int | None = None,
    seed: int | None = None,
    formatter: Formatter | None = None,
    transforms: Sequence[Transform] = (),
    max_pixels: int = MAX_PIXELS,
) -> YOLODataset:
    """Scan one split and make its dataset.

    Args:
        info: the parsed description (`DatasetInfo`).
        split: ``train``, ``val`` or ``test``.
        args: the configuration; imgsz, task, seed, cache, classes, single_cls, fraction, strict, rect and,
            for training, the augmentations are read from it.
        mode: ``train`` augments and honours ``fraction``; ``val`` letterboxes.
        batch: images a rectangular batch.
        stride: largest stride of the network.
        rect: rectangular batches; None: ``args.rect`` for training, True for validation.
        imgsz: overrides ``args.imgsz``.
        seed: overrides ``args.seed``.
        formatter: last step; None: that of ``args.task``, with its ``mask_ratio`` and ``overlap_mask``.
        transforms: transforms of plugins.
        max_pixels: limit of the decoder, a setting.

    Raises:
        DataError: no usable image or label.
    """
    train = mode == "train"
    return YOLODataset(
        _usable_labels(info, split, args, max_pixels, train=train),
        imgsz=args.imgsz if imgsz is None else imgsz,
        args=args,
        augment=train,
        rect=(args.rect if train else True) if rect is None else rect,
        batch_size=batch,
        stride=stride,
        pad=0.0 if train else VAL_PAD,
        task=args.task,
        data=info,
        seed=args.seed if seed is None else seed,
        cache=args.cache,
        formatter=formatter or _formatter(args),
        transforms=transforms,
        strict=args.strict,
        max_pixels=max_pixels,
    )


def _usable_labels(info: Mapping[str, Any], split: str, args: Any, max_pixels: int, *, train: bool) -> LabelStore:
    """Return the labels of a split: of the share of its images and the classes that are asked for."""
    part = _part(args.fraction, split, train=train)
    share = part if isinstance(part, float) else 1.0
    store, _ = scan(info, split, task=args.task, strict=args.strict, fraction=share, max_pixels=max_pixels)
    if isinstance(part, int) and part > 1:
        store = store.select(range(min(part, len(store))))
    if args.classes:
        store = store.keep_classes(args.classes)
    return store.merge_classes() if args.single_cls else store


def build_classification_dataset(
    info: Mapping[str, Any],
    split: str,
    args: Any,
    *,
    mode: Literal["train", "val"] = "train",
    imgsz: int | None = None,
    seed: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> ClassificationDataset:
    """Check one split of a classification set and make its dataset.

    Args:
        info: the parsed description (`DatasetInfo`).
        split: ``train``, ``val`` or ``test``.
        args: the configuration; imgsz, seed, cache, classes, single_cls, fraction, strict, crop_fraction and, for
            training, the augmentations are read from it. ``fraction`` takes as much of every class.
        mode: ``train`` augments and honours ``fraction``; ``val`` takes the centre of each image.
        imgsz: overrides ``args.imgsz``.
        seed: overrides ``args.seed``.
        max_pixels: limit of the decoder, a setting.

    Raises:
        DataError: no usable image; with ``strict`` any image that is damaged.
    """
    train = mode == "train"
    store, _ = scan(info, split, task="classify", strict=args.strict, max_pixels=max_pixels)
    if args.classes:
        store = store.select(np.flatnonzero(np.isin(store.cls, args.classes)))
        if not len(store):
            raise DataError(f"{split}: no image of the classes {args.classes} in {', '.join(info[split][:3])}")
    part = _part(args.fraction, split, train=train)
    if part != 1.0:  # the images are sorted by class: take them at equal distances
        count = min(max(round(part * len(store)) if isinstance(part, float) else part, 1), len(store))
        store = store.select(np.arange(count) * len(store) // max(count, 1))
    if args.single_cls:
        store = store.merge_classes()
    return ClassificationDataset(
        store,
        imgsz=args.imgsz if imgsz is None else imgsz,
        args=args,
        augment=train,
        crop_fraction=args.crop_fraction,
        data=info,
        seed=args.seed if seed is None else seed,
        cache=args.cache,
        strict=args.strict,
        max_pixels=max_pixels,
    )


def _formatter(args: Any) -> Formatter:
    return formatter_for(args.task, mask_ratio=args.mask_ratio, overlap_mask=args.overlap_mask)


def _part(fraction: float | list[float], split: str, *, train: bool) -> float:
    """Return what ``fraction`` says about a split: a share (float) or a number of images (int above 1).

    A list has one value a split, in the order train, val, test; a single value is for training.
    """
    if isinstance(fraction, list):
        place = SPLITS.index(split)
        return fraction[place] if place < len(fraction) else 1.0
    return fraction if train else 1.0


def effective_workers(workers: int, batches: int, world_size: int = 1, device: str | torch.device | None = None) -> int:
    """Return the number of worker processes that make sense.

    Args:
        workers: asked for.
        batches: batches an epoch on this rank.
        world_size: processes on this machine that load data.
        device: where the network computes. On the CPU the network uses every core and takes about fifty times as
            long as the loading (benchmarks/loader.py), so workers gain nothing there; data is prepared in a
            background thread instead.
    """
    if device is not None and torch.device(device).type == "cpu":
        return 0
    cores = os.cpu_count() or 1
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores  # what a job was given of them
    return max(min(workers, cores // max(world_size, 1), own, batches), 0)


def build_loader(
    dataset: BaseDataset,
    batch: int,
    workers: int = 0,
    *,
    shuffle: bool = False,
    seed: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    drop_last: bool = False,
    device: str | torch.device | None = None,
) -> EpochLoader:
    """Make the loader of one rank.

    Args:
        dataset: gives the samples; one that augments is dealt evenly to the ranks.
        batch: images a batch on this rank; a rectangular dataset must have been built with the same number.
        workers: processes, see `effective_workers`.
        shuffle: draw the order anew in every epoch; a rectangular dataset keeps its order.
        seed: of the order; None takes that of the dataset.
        rank: number of this process.
        world_size: number of processes that share the samples.
        drop_last: leave out an incomplete last batch.
        device: where the batches go; page-locked memory is used for CUDA only.
    """
    loader = EpochLoader(
        dataset,
        batch,
        0,
        shuffle=shuffle and not dataset.rect,
        seed=dataset.seed if seed is None else seed,
        rank=rank,
        world_size=world_size,
        even=dataset.augment,
        drop_last=drop_last,
        pin_memory=device is not None and torch.device(device).type == "cuda",
    )
    loader.num_workers = effective_workers(workers, len(loader), world_size, device)
    return loader
