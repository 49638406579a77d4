"""The largest batch that fits a share of the GPU memory."""

from __future__ import annotations

import copy
import logging

import torch
from torch import nn

LOGGER = logging.getLogger(__name__)
TRIED = (1, 2, 4, 8, 16)
FALLBACK = 16
LIMIT = 1024


def largest_batch(model: nn.Module, imgsz: int, share: float, amp: bool, device: torch.device) -> int:
    """Return the batch whose forward and backward pass use ``share`` of the memory not taken by others.

    The peak memory of batches 1 to 16 is measured and extrapolated by a straight line.
    """
    free, total = torch.cuda.mem_get_info(device)
    others = total - free - torch.cuda.memory_reserved(device)
    budget = total * share - others
    batches, peaks = _measure(copy.deepcopy(model).train(), imgsz, amp, device)
    if len(batches) < 2:
        LOGGER.warning("automatic batch: not even 2 images fit; taking %d", FALLBACK)
        return FALLBACK
    slope, intercept = _fit_line(batches, peaks)
    batch = int((budget - intercept) / slope)
    if len(batches) < len(TRIED):
        batch = min(batch, batches[-1])
    if not 1 <= batch <= LIMIT:
        LOGGER.warning("automatic batch: the estimate %d is outside 1..%d; taking %d", batch, LIMIT, FALLBACK)
        return FALLBACK
    LOGGER.info("automatic batch: %d images use about %.0f %% of %s", batch, 100 * share, device)
    return batch


def _measure(model: nn.Module, imgsz: int, amp: bool, device: torch.device) -> tuple[list[int], list[float]]:
    """Return the batches that fit and their peak memory in bytes."""
    batches: list[int] = []
    peaks: list[float] = []
    for batch in TRIED:
        torch.cuda.reset_peak_memory_stats(device)
        try:
            with torch.autocast("cuda", enabled=amp):
                outputs = model(torch.rand(batch, 3, imgsz, imgsz, device=device))
                parts = [outputs] if isinstance(outputs, torch.Tensor) else outputs.values()
                total = sum(part.float().sum() for part in parts if isinstance(part, torch.Tensor))
            assert isinstance(total, torch.Tensor)
            total.backward()
        except torch.cuda.OutOfMemoryError:
            break
        finally:
            model.zero_grad(set_to_none=True)
        batches.append(batch)
        peaks.append(float(torch.cuda.max_memory_allocated(device)))
    torch.cuda.empty_cache()
    return batches, peaks


def _fit_line(x: list[int], y: list[float]) -> tuple[float, float]:
    """Return slope and intercept of the least-squares line through the points."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    return slope, mean_y - slope * mean_x
