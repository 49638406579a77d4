"""Task-aligned assignment of rotated boxes: the edges, and what it shares with that of upright boxes."""

from __future__ import annotations

import math

import pytest
import torch

from yolocore.nn.assigner import RotatedAssigner, Targets, TaskAlignedAssigner

POINTS = torch.tensor([(8 * x + 4.0, 8 * y + 4.0) for y in range(8) for x in range(8)])


def targets_of(*boxes: tuple[float, ...]) -> Targets:
    count = len(boxes)
    index = torch.zeros(count, dtype=torch.long)
    return Targets(torch.tensor(boxes).view(count, 5), index, index)


def predictions(spread: float = 0.0):
    """Return logits (1, 1, 64) and a square of 16 px at every location."""
    size = torch.full((64, 2), 16.0 + spread)
    return torch.zeros(1, 1, 64), torch.cat((POINTS, size, torch.zeros(64, 1)), 1)[None]


def test_only_locations_inside_the_turned_rectangle_are_candidates():
    # a bar of 40 x 6 along the diagonal: the locations on the diagonal, and no others
    bar = targets_of((32.0, 32, 40, 6, math.pi / 4))
    found = RotatedAssigner().candidates(POINTS, bar)[0].view(8, 8)
    assert found.nonzero().tolist() == [[2, 2], [3, 3], [4, 4], [5, 5]]  # rows grow downwards, and so does the angle
    mirrored = RotatedAssigner().candidates(POINTS, targets_of((32.0, 32, 40, 6, -math.pi / 4)))[0].view(8, 8)
    assert mirrored.nonzero().tolist() == [[2, 5], [3, 4], [4, 3], [5, 2]]


@pytest.mark.parametrize(("side", "kept"), [(1.99, False), (2.0, True)])
def test_thin_objects_get_nothing(side, kept):
    targets = targets_of((28.0, 28, 30, side, 0.0), (28.0, 28, side, 30, 0.0))
    assert RotatedAssigner().candidates(POINTS, targets).any(1).tolist() == [kept, kept]
    assignment = RotatedAssigner()(*predictions(), POINTS, targets)
    assert assignment.assigned.any(1).tolist()[0] == kept
    assert assignment.score.isfinite().all()


def test_unturned_boxes_have_the_candidates_of_upright_ones():
    g = torch.Generator().manual_seed(0)
    boxes = torch.cat((torch.rand(30, 2, generator=g) * 64, torch.rand(30, 2, generator=g) * 40 + 3), 1)
    rotated = torch.cat((boxes, torch.zeros(30, 1)), 1)
    upright = torch.cat((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1)
    index = torch.zeros(30, dtype=torch.long)
    expected = TaskAlignedAssigner().candidates(POINTS, Targets(upright, index, index))
    assert torch.equal(RotatedAssigner().candidates(POINTS, Targets(rotated, index, index)), expected)
    quarter = torch.cat((boxes[:, :2], boxes[:, [3, 2]], torch.full((30, 1), math.pi / 2)), 1)
    assert torch.equal(RotatedAssigner().candidates(POINTS, Targets(quarter, index, index)), expected)


def test_the_best_fitting_locations_win():
    assignment = RotatedAssigner(topk=3)(*predictions(), POINTS, targets_of((28.0, 28, 17, 17, 0.2)))
    assert assignment.location[0, 0] == 27  # the cell in the middle
    assert assignment.score[0].argmax() == 0
    best = RotatedAssigner().overlap(torch.tensor([28.0, 28, 17, 17, 0.2]), torch.tensor([28.0, 28, 16, 16, 0]))
    assert assignment.score[0, 0].item() == pytest.approx(best.item(), rel=1e-5)


def test_no_targets():
    assignment = RotatedAssigner()(*predictions(), POINTS, targets_of())
    assert assignment.score.shape == (0, 10)


def test_candidates_that_overlap_nothing_are_taken_in_order():
    upright = Targets(torch.tensor([[0.0, 0, 64, 64]]), torch.tensor([0]), torch.tensor([0]))
    boxes = torch.tensor([200.0, 200, 210, 210]).expand(1, 64, 4)
    assignment = TaskAlignedAssigner(topk=5)(torch.zeros(1, 1, 64), boxes, POINTS, upright)
    assert assignment.location.tolist() == [[0, 1, 2, 3, 4]]
    assert assignment.assigned.all()
    assert not assignment.score.any()
