"""Rotated boxes: worked numbers, numerical integration, slow versions in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from yolocore.kernels import dispatch
from yolocore.kernels import rotated as R

FIRST, SECOND = (50.0, 40.0, 30.0, 10.0, 0.2), (55.0, 42.0, 24.0, 12.0, 0.5)


def random_boxes(count: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    low = torch.tensor([20.0, 20, 4, 4, -math.pi])
    span = torch.tensor([40.0, 40, 40, 40, 2 * math.pi])
    return (low + span * torch.rand(count, 5, generator=g)).to(dtype)


def integrated(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """One minus the Hellinger distance of two Gaussians, by summing the root of the product of their densities."""
    side = np.linspace(-200, 300, 1251)
    x, y = np.meshgrid(side, side)

    def density(box):
        cx, cy, w, h, r = box
        u = (x - cx) * math.cos(r) + (y - cy) * math.sin(r)
        v = (y - cy) * math.cos(r) - (x - cx) * math.sin(r)
        variance = w**2 / 12, h**2 / 12
        return np.exp(-(u**2 / variance[0] + v**2 / variance[1]) / 2) / (2 * math.pi * math.sqrt(math.prod(variance)))

    coefficient = np.sqrt(density(a) * density(b)).sum() * (side[1] - side[0]) ** 2
    return 1 - math.sqrt(1 - coefficient)


def test_probiou_of_the_worked_examples():
    for dtype in (torch.float64, torch.float32):
        a, b = torch.tensor(FIRST, dtype=dtype), torch.tensor(SECOND, dtype=dtype)
        assert R.probiou(a, b).item() == pytest.approx(0.660644, abs=1e-6)
        # the printed 0.999532 comes from float32 with cancellation; the formula gives 1 - sqrt(2e-7)
        assert R.probiou(a, a).item() == pytest.approx(0.999532, abs=3e-5)
        assert R.probiou(a, a).item() == pytest.approx(1 - math.sqrt(2e-7), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_probiou_equals_the_integral(seed):
    a, b = random_boxes(2, seed).tolist()
    value = R.probiou(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64))
    assert value.item() == pytest.approx(integrated(a, b), abs=1e-5)


def test_probiou_broadcasts_and_is_symmetric():
    a, b = random_boxes(7), random_boxes(5, 1)
    pairs = R.probiou(a[:, None], b)
    assert pairs.shape == (7, 5)
    torch.testing.assert_close(pairs, R.probiou(b[:, None], a).T)
    torch.testing.assert_close(pairs.diagonal(), R.probiou(a[:5], b))
    assert R.probiou(a[:0, None], b).shape == (0, 5)
    turned = a[:, [0, 1, 3, 2, 4]] + torch.tensor([0, 0, 0, 0, math.pi / 2])
    torch.testing.assert_close(R.probiou(turned[:, None], b), pairs)


def test_single_precision_suffices_for_long_thin_boxes():
    g = torch.Generator().manual_seed(2)
    thin = torch.tensor([900.0, 900, 1200, 3, 0]) + torch.randn(200, 5, generator=g) * torch.tensor(
        [4, 4, 9, 0.5, 0.02]
    )
    thin[:, 4] += torch.rand(200, generator=g) * 3
    near = thin + torch.randn(200, 5, generator=g) * torch.tensor([1, 1, 3, 0.1, 0.002])
    torch.testing.assert_close(
        R.probiou(thin, near).double(), R.probiou(thin.double(), near.double()), atol=2e-4, rtol=0
    )


def test_gradient_of_probiou():
    a, b = random_boxes(6).requires_grad_(), random_boxes(6, 1).requires_grad_()
    assert torch.autograd.gradcheck(R.probiou, (a, b))


def test_flat_and_equal_boxes_have_finite_overlap_and_gradient():
    boxes = torch.tensor([[5.0, 5, 0, 0, 0], [1, 2, 3, 0, 1], [5, 5, 8, 8, 2], [0, 0, 1, 1, 0]], requires_grad=True)
    value = R.probiou(boxes, torch.tensor([[5.0, 5, 0, 0, 0], [9, 9, 3, 4, 1], [5, 5, 8, 8, 2], [1e4, 1e4, 1, 1, 0]]))
    value.sum().backward()
    assert value.isfinite().all()
    assert boxes.grad is not None
    assert boxes.grad.isfinite().all()
    assert value[3].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distances_and_rotated_boxes_are_inverse(dtype):
    boxes = random_boxes(12, dtype=dtype)
    points = boxes[:, :2] + 0.3
    distance = R.rbox2dist(boxes, points)
    torch.testing.assert_close(R.dist2rbox(distance, boxes[:, 4:], points), boxes[:, :4])
    assert R.rbox2dist(boxes, points + 90, 2.5).max() == 2.5
    assert R.rbox2dist(boxes, points + 90, 2.5).min() == 0
    across = R.dist2rbox(distance.T[None], boxes[:, 4:].T, points.T, dim=1)
    torch.testing.assert_close(across[0].T, boxes[:, :4])


def test_decoding_in_plain_numbers():
    left, top, right, bottom, angle = 1.0, 2.0, 4.0, 3.0, 0.5
    got = R.dist2rbox(torch.tensor([left, top, right, bottom]), torch.tensor([angle]), torch.tensor([10.0, 20]))
    fx, fy = 1.5, 0.5
    x, y = fx * math.cos(angle) - fy * math.sin(angle) + 10, fx * math.sin(angle) + fy * math.cos(angle) + 20
    assert got.tolist() == pytest.approx([x, y, 5, 5])
    assert R.in_rboxes(torch.tensor([[10.0, 20]]), torch.tensor([[*got.tolist(), angle]])).tolist() == [[True]]
    # seen from the location, the left side is 1 away in the direction opposite to the width
    outside = torch.tensor([[10 - 1.01 * math.cos(angle), 20 - 1.01 * math.sin(angle)]])
    assert R.in_rboxes(outside, torch.tensor([[*got.tolist(), angle]])).tolist() == [[False]]


# suppression ------------------------------------------------------------------------------------------------


def slow_probiou(a, b):
    """ProbIoU of two rows of numbers."""

    def covariance(box):
        along, across, c, s = box[2] ** 2 / 12, box[3] ** 2 / 12, math.cos(box[4]), math.sin(box[4])
        return along * c**2 + across * s**2, along * s**2 + across * c**2, (along - across) * c * s

    p, q = covariance(a), covariance(b)
    A, B, C = (x + y for x, y in zip(p, q, strict=True))
    dx, dy, det = a[0] - b[0], a[1] - b[1], A * B - C**2
    distance = (A * dy**2 + B * dx**2 - 2 * C * dx * dy) / det / 4
    distance += math.log(det / 4 / math.sqrt((p[0] * p[1] - p[2] ** 2) * (q[0] * q[1] - q[2] ** 2))) / 2
    return 1 - math.sqrt(1 - math.exp(-min(max(distance, 1e-7), 100)) + 1e-7)


def slow_suppression(prediction, nc, conf, iou, *, agnostic=False, multi_label=False, max_det=300):
    results = []
    for image in prediction.double():
        found = []
        for a in range(image.shape[1]):
            scores = image[4 : 4 + nc, a].tolist()
            for c in range(nc) if multi_label and nc > 1 else [max(range(nc), key=scores.__getitem__)]:
                if scores[c] > conf:
                    found.append([*image[:4, a].tolist(), scores[c], c, *image[4 + nc :, a].tolist()])
        found.sort(key=lambda row: -row[4])
        kept = []
        for row in found:
            rivals = [k for k in kept if agnostic or k[5] == row[5]]
            if all(slow_probiou([*row[:4], row[6]], [*k[:4], k[6]]) <= iou for k in rivals):
                kept.append(row)
        results.append(torch.tensor(kept[:max_det], dtype=torch.float64).view(-1, 6 + image.shape[0] - 4 - nc))
    return results


def crowd(batch: int, count: int, nc: int, extras: int = 0) -> torch.Tensor:
    """Return decoded rows: xywh, scores, angle, extras."""
    boxes = torch.stack([random_boxes(count, seed, torch.float32) for seed in range(batch)]).transpose(1, 2)
    g = torch.Generator().manual_seed(9)
    scores, rest = torch.rand(batch, nc, count, generator=g), torch.rand(batch, extras, count, generator=g)
    return torch.cat((boxes[:, :4], scores, boxes[:, 4:], rest), 1)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize(("nc", "extras"), [(1, 0), (4, 0), (3, 2)])
def test_suppression_equals_the_slow_version(multi_label, agnostic, nc, extras):
    prediction = crowd(2, 70, nc, extras)
    options = {"agnostic": agnostic, "multi_label": multi_label}
    got = dispatch.non_max_suppression(prediction, 0.2, 0.4, nc=nc if extras else 0, rotated=True, **options)
    expected = slow_suppression(prediction, nc, 0.2, 0.4, **options)
    for rows, wanted in zip(got, expected, strict=True):
        assert 5 < len(wanted) < 70 * nc
        torch.testing.assert_close(rows.double(), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("block", [3, 17, 4096])
def test_blocks_do_not_matter(monkeypatch, block):
    prediction = crowd(1, 150, 2)
    expected = slow_suppression(prediction, 2, 0.05, 0.3, multi_label=True, max_det=20)
    monkeypatch.setattr(R, "BLOCK", block)
    monkeypatch.setattr(dispatch, "FIRST_BLOCK", 50)
    (rows,) = dispatch.non_max_suppression(prediction, 0.05, 0.3, multi_label=True, max_det=20, rotated=True)
    assert len(rows) == 20
    torch.testing.assert_close(rows.double(), expected[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 2, 60])
def test_greedy_suppression_of_a_chain(count):
    # each box overlaps only its neighbours: every second one stays
    boxes = torch.tensor([(9.0 * i, 0, 20, 10, 0.1) for i in range(count)], dtype=torch.float64).view(-1, 5)
    scores = torch.linspace(1, 0.1, count, dtype=torch.float64)
    near, far = (
        slow_probiou((0, 0, 20, 10, 0.1), (9, 0, 20, 10, 0.1)),
        slow_probiou((0, 0, 20, 10, 0.1), (18, 0, 20, 10, 0.1)),
    )
    kept = R.nms_rotated(boxes, scores, (near + far) / 2)
    assert kept.tolist() == list(range(0, count, 2))


@pytest.mark.parametrize("threshold", [0.0, 0.02, 0.5, 0.9, 1.0])
def test_no_pair_is_overlooked_at_any_threshold(threshold):
    boxes = torch.cat((random_boxes(150), random_boxes(150) + torch.tensor([0.5, 0, 0.5, 0, 0.05]), random_boxes(3)))
    boxes[::7, 2:4] /= 20
    overlap = R.probiou(boxes[:, None], boxes) > threshold
    kept: list[int] = []
    for i in range(len(boxes)):
        if not overlap[i, kept].any():
            kept.append(i)
    assert R.nms_rotated(boxes, torch.linspace(1, 0, len(boxes)), threshold).tolist() == kept


def test_nothing_found_gives_empty_rows():
    got = dispatch.non_max_suppression(torch.zeros(2, 8, 10), 0.25, 0.7, rotated=True)
    assert [tuple(rows.shape) for rows in got] == [(0, 7), (0, 7)]


def test_equal_scores_keep_their_order():
    prediction = crowd(1, 50, 1)
    prediction[:, 4] = 1.0
    (rows,) = dispatch.non_max_suppression(prediction, 0.5, 1.0, rotated=True)
    assert torch.equal(rows[:, [0, 1, 2, 3, 6]], prediction[0, [0, 1, 2, 3, 5]].T)
