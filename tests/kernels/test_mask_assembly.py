"""Masks from prototypes and coefficients, pixel by pixel."""

from __future__ import annotations

import pytest
import torch

from yolocore.kernels import masks as K
from yolocore.kernels.keypoints import COCO_SIGMAS, decode_keypoints, keypoint_error, keypoint_sigmas

H, W, NM = 6, 8, 3


def example(count: int = 5, seed: int = 0):
    """Return prototypes, coefficients, and boxes in an input of 4 times the size."""
    g = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=g) * torch.tensor([W * 2.0, H * 2.0])
    boxes = torch.cat((low, low + 3 + torch.rand(count, 2, generator=g) * torch.tensor([W * 2.0, H * 2.0])), 1)
    return torch.randn(NM, H, W, generator=g), torch.randn(count, NM, generator=g), boxes


def bilinear(grid: list[list[float]], height: int, width: int) -> list[list[float]]:
    """Enlarge a grid; pixel centres lie at half numbers, the border goes on outside."""
    h, w = len(grid), len(grid[0])
    rows = []
    for i in range(height):
        y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
        row = []
        for j in range(width):
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            top = grid[y0][x0] * (1 - (x - x0)) + grid[y0][x1] * (x - x0)
            low = grid[y1][x0] * (1 - (x - x0)) + grid[y1][x1] * (x - x0)
            row.append(top * (1 - (y - y0)) + low * (y - y0))
        rows.append(row)
    return rows


def logits_of(proto, row):
    return [
        [sum(c * proto[k, y, x].item() for k, c in enumerate(row)) for x in range(proto.shape[2])]
        for y in range(proto.shape[1])
    ]


def same(got: torch.Tensor, wanted: list[list[list[float]]], doubt: float = 1e-5) -> bool:
    """Tell whether masks are where numbers are positive; those near 0, but not 0, may fall on either side."""
    numbers = torch.tensor(wanted, dtype=torch.float64)
    return bool(((got == (numbers > 0)) | ((numbers.abs() < doubt) & (numbers != 0))).all())


def test_masks_at_the_size_of_the_input():
    proto, coefficients, boxes = example()
    expected = []
    for row, (x1, y1, x2, y2) in zip(coefficients.tolist(), (boxes / 4).tolist(), strict=True):
        cut = [
            [v if x1 <= x < x2 and y1 <= y < y2 else 0.0 for x, v in enumerate(line)]
            for y, line in enumerate(logits_of(proto, row))
        ]
        expected.append(bilinear(cut, 4 * H, 4 * W))
    got = K.assemble_masks(proto, coefficients, boxes, (4 * H, 4 * W))
    assert got.dtype == torch.bool
    assert got.shape == (5, 4 * H, 4 * W)
    assert got.any()
    assert same(got, expected)


def test_masks_at_the_size_of_the_original():
    # an original of 30 x 20 (w x h) in an input of 32 x 24: gain 16/15, borders of 1.3 rows above and below
    proto, coefficients, boxes = example(4, seed=1)
    border = (24 - 20 * 32 / 30) / 2
    inner = proto[:, round(border / 4) : H - round(border / 4)]
    got = K.assemble_native_masks(proto, coefficients, boxes, (24, 32), (20, 30), (0, border))
    expected = []
    for row, (x1, y1, x2, y2) in zip(coefficients.tolist(), boxes.tolist(), strict=True):
        large = bilinear(logits_of(inner, row), 20, 30)
        expected.append(
            [[v if x1 <= x < x2 and y1 <= y < y2 else -1.0 for x, v in enumerate(line)] for y, line in enumerate(large)]
        )
    assert got.shape == (4, 20, 30)
    assert same(got, expected)


def test_the_border_of_the_letterbox_is_removed():
    # an object that fills the picture between borders of 8 rows must fill the original
    proto = torch.full((1, H, W), -1.0)
    proto[:, 2:4] = 1.0
    whole = torch.tensor([[0.0, 0, 64, 16]])
    assert K.assemble_native_masks(proto, torch.ones(1, 1), whole, (24, 32), (16, 64), (0, 8)).all()
    assert not K.assemble_native_masks(proto, torch.ones(1, 1), whole, (24, 32), (16, 64)).all()


@pytest.mark.parametrize("chunk", [1, 2000, 1 << 25])
def test_chunks_do_not_matter(monkeypatch, chunk):
    proto, coefficients, boxes = example(9)
    expected = K.assemble_masks(proto, coefficients, boxes, (24, 32))
    native = K.assemble_native_masks(proto, coefficients, boxes, (24, 32), (48, 64))
    monkeypatch.setattr(K, "CHUNK", chunk)
    assert torch.equal(K.assemble_masks(proto, coefficients, boxes, (24, 32)), expected)
    assert torch.equal(K.assemble_native_masks(proto, coefficients, boxes, (24, 32), (48, 64)), native)


def test_no_objects():
    proto, coefficients, boxes = example(0)
    assert K.assemble_masks(proto, coefficients, boxes, (24, 32)).shape == (0, 24, 32)
    assert K.assemble_native_masks(proto, coefficients, boxes, (24, 32), (48, 64)).shape == (0, 48, 64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtypes(dtype):
    proto, coefficients, boxes = example()
    got = K.assemble_masks(proto.to(dtype), coefficients.to(dtype), boxes.to(dtype), (24, 32))
    agree = (got == K.assemble_masks(proto, coefficients, boxes, (24, 32))).float().mean()
    assert agree > (0.97 if dtype == torch.bfloat16 else 0.9999)


def test_a_pixel_belongs_to_the_box_by_its_index():
    inside = K.inside_boxes(torch.tensor([[1.0, 0.5, 3, 2]]), (3, 4))
    assert inside.int().tolist() == [[[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]]


# keypoints --------------------------------------------------------------------------------------------------


def test_similarity_of_the_worked_example():
    wanted = torch.tensor([[10.0, 10], [20, 20]], dtype=torch.float64)
    found = wanted + torch.tensor([[1.0, 0], [2, 1]])
    error = keypoint_error(found, wanted, torch.tensor([400.0]), torch.tensor(keypoint_sigmas(3)[:2]).double())
    assert (-error).exp().mean().item() == pytest.approx(0.991614, abs=1e-6)


def test_tolerances():
    assert keypoint_sigmas(17) == COCO_SIGMAS
    assert keypoint_sigmas(4) == (0.25,) * 4
    assert [round(1000 * s) for s in COCO_SIGMAS[::4]] == [26, 35, 72, 107, 89]


def test_a_raw_value_of_a_half_leads_one_cell_away_from_the_corner():
    points = torch.tensor([[3.5, 7.5]])
    assert decode_keypoints(torch.tensor([[0.5, -1.0]]), points).tolist() == [[4, 5]]
