"""The plain torch kernels: worked numbers, and slow versions in plain Python."""

from __future__ import annotations

import math

import pytest
import torch

from yolocore.kernels import reference as K

FIRST, SECOND = (10.0, 10.0, 50.0, 60.0), (20.0, 15.0, 70.0, 55.0)
FAMILY = {"iou": 0.428571, "giou": 0.361905, "diou": 0.391686, "ciou": 0.391020}


def slow_iou(a: list[float], b: list[float], kind: str) -> float:
    """The four overlaps of two xyxy boxes with plain numbers."""
    e = 1e-7
    w, h, s, t = a[2] - a[0], a[3] - a[1] + e, b[2] - b[0], b[3] - b[1] + e
    inter = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = w * h + s * t - inter + e
    iou = inter / union
    cw, ch = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    if kind == "giou":
        return iou - (cw * ch + e - union) / (cw * ch + e)
    rho = math.dist(((a[0] + a[2]) / 2, (a[1] + a[3]) / 2), ((b[0] + b[2]) / 2, (b[1] + b[3]) / 2)) ** 2
    diou = iou - rho / (cw**2 + ch**2 + e)
    v = 4 / math.pi**2 * (math.atan(s / t) - math.atan(w / h)) ** 2
    return {"iou": iou, "diou": diou, "ciou": diou - v * v / (v - iou + 1 + e)}[kind]


def random_boxes(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    g = torch.Generator().manual_seed(len(shape) + sum(shape))
    low = torch.rand(*shape, 2, generator=g, dtype=torch.float64) * 80
    return torch.cat((low, low + 1 + torch.rand(*shape, 2, generator=g, dtype=torch.float64) * 60), -1).to(dtype)


@pytest.mark.parametrize(("kind", "expected"), FAMILY.items())
def test_overlap_of_the_worked_example(kind, expected):
    value = K.bbox_iou(torch.tensor(FIRST), torch.tensor(SECOND), kind)
    assert value.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", FAMILY)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("count", [0, 1, 33])
def test_overlap_equals_plain_arithmetic(kind, dtype, tolerance, count):
    a, b = random_boxes(count, dtype=dtype), random_boxes(count, 1, dtype=dtype)[:, 0]
    expected = [slow_iou(x, y, kind) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    got = K.bbox_iou(a, b, kind)
    assert got.dtype == dtype
    assert got.shape == (count,)
    assert got.tolist() == pytest.approx(expected, abs=tolerance)


def test_overlap_of_a_view_equals_that_of_a_copy():
    columns = random_boxes(20).T.contiguous()
    assert not columns.T.is_contiguous()
    assert torch.equal(K.bbox_ciou(columns.T, random_boxes(20)), K.bbox_ciou(columns.T.clone(), random_boxes(20)))


@pytest.mark.parametrize("kind", FAMILY)
def test_empty_and_equal_boxes_have_finite_overlap_and_gradient(kind):
    boxes = torch.tensor([[5.0, 5, 5, 5], [1, 2, 3, 4], [0, 0, 0, 8]], requires_grad=True)
    value = K.bbox_iou(boxes, torch.tensor([[5.0, 5, 5, 5], [1, 2, 3, 4], [3, 3, 9, 3]]), kind)
    value.sum().backward()
    assert value.isfinite().all()
    assert boxes.grad is not None
    assert boxes.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["iou", "giou", "diou"])
def test_gradient_of_overlap(kind):
    a, b = random_boxes(6).requires_grad_(), random_boxes(6, 1)[:, 0].requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: K.bbox_iou(x, y, kind), (a, b), atol=1e-4)


def test_gradient_of_ciou_treats_alpha_as_a_constant():
    a, b = random_boxes(6).requires_grad_(), random_boxes(6, 1)[:, 0]

    def aspect(x):
        w, h = x[:, 2] - x[:, 0], x[:, 3] - x[:, 1] + K.EPS
        s, t = b[:, 2] - b[:, 0], b[:, 3] - b[:, 1] + K.EPS
        return 4 / math.pi**2 * ((s / t).atan() - (w / h).atan()) ** 2

    alpha = (aspect(a) / (aspect(a) - K.bbox_iou(a, b) + 1 + K.EPS)).detach()
    (expected,) = torch.autograd.grad((K.bbox_iou(a, b, "diou") - alpha * aspect(a)).sum(), a)
    (got,) = torch.autograd.grad(K.bbox_ciou(a, b).sum(), a)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (1, 1), (7, 4)])
def test_pairwise_iou_equals_plain_arithmetic(n, m):
    a, b = random_boxes(n), random_boxes(m, 1)[:, 0]
    expected = [[slow_iou(x, y, "iou") for y in b.tolist()] for x in a.tolist()]
    torch.testing.assert_close(K.box_iou(a, b), torch.tensor(expected, dtype=a.dtype).view(n, m), atol=1e-8, rtol=0)


def test_anchors_lie_in_the_middle_of_cells_level_by_level_rows_first():
    points, stride = K.make_anchors([(1, 3), (2, 1)], [8, 16])
    assert points.tolist() == [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [0.5, 0.5], [0.5, 1.5]]
    assert stride.flatten().tolist() == [8, 8, 8, 16, 16]


def test_anchors_of_feature_maps_have_their_dtype():
    feats = [torch.zeros(2, 7, 4, 6, dtype=torch.float64), torch.zeros(2, 9, 2, 3, dtype=torch.float64)]
    points, stride = K.make_anchors(feats, torch.tensor([8.0, 16.0]), 0.0)
    assert points.dtype == stride.dtype == torch.float64
    assert points.shape == (30, 2)
    assert points[0].tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_distances_and_boxes_are_inverse(dtype):
    points = torch.tensor([[4.0, 4], [12, 4]], dtype=dtype)
    distance = torch.tensor([[1.0, 2, 3, 4], [0, 0, 1, 1]], dtype=dtype)
    corners = K.dist2bbox(distance, points, xywh=False)
    assert corners.tolist() == [[3, 2, 7, 8], [12, 4, 13, 5]]
    assert K.dist2bbox(distance, points).tolist() == [[5, 5, 4, 6], [12.5, 4.5, 1, 1]]
    assert torch.equal(K.bbox2dist(corners, points), distance)
    assert K.bbox2dist(corners, points, 2.5).max() == 2.5
    across = K.dist2bbox(distance.T[None], points.T, xywh=True, dim=1)
    assert torch.equal(across[0].T, K.dist2bbox(distance, points))


def test_expectation_of_the_worked_example():
    logits = torch.zeros(16, dtype=torch.float64)
    logits[3], logits[4] = 2, 1
    bins = torch.arange(16, dtype=torch.float64)
    assert K.dfl_decode(logits, bins).item() == pytest.approx(6.057919, abs=1e-6)
    stacked = torch.stack((logits, logits.flip(0)), 1)  # (16, 2): along another axis, not contiguous
    assert K.dfl_decode(stacked, bins, 0).tolist() == pytest.approx([6.057919, 15 - 6.057919], abs=1e-6)
    assert K.dfl_loss(logits, torch.tensor(3.3, dtype=torch.float64)).item() == pytest.approx(1.482516, abs=1e-6)


def test_focal_loss_equals_two_cross_entropies_and_has_the_right_gradient():
    g = torch.Generator().manual_seed(3)
    logits = torch.randn(5, 4, 16, generator=g, dtype=torch.float64, requires_grad=True)
    target = torch.rand(5, 4, generator=g, dtype=torch.float64) * 14.99
    got = K.dfl_loss(logits, target)
    for i in range(5):
        for j in range(4):
            p = logits[i, j].softmax(0)
            k, f = int(target[i, j]), target[i, j] % 1
            assert got[i, j].item() == pytest.approx((-(1 - f) * p[k].log() - f * p[k + 1].log()).item())
    assert torch.autograd.gradcheck(lambda x: K.dfl_loss(x, target), (logits,))
    assert K.dfl_loss(torch.zeros(0, 4, 16), torch.zeros(0, 4)).shape == (0, 4)
