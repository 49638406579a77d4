"""Task-aligned assignment: the worked example, and a slow version with plain numbers."""

from __future__ import annotations

import math

import pytest
import torch

from yolocore.nn.assigner import Targets, TaskAlignedAssigner


def slow_ciou(a, b):
    e = 1e-7
    w, h, s, t = a[2] - a[0], a[3] - a[1] + e, b[2] - b[0], b[3] - b[1] + e
    inter = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    iou = inter / (w * h + s * t - inter + e)
    c2 = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2 + e
    rho2 = ((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4
    v = 4 / math.pi**2 * (math.atan(s / t) - math.atan(w / h)) ** 2
    return iou - rho2 / c2 - v * v / (v - iou + 1 + e)


def slow_assign(scores, boxes, points, targets, topk):
    """Follow the rules one image, one object, one location at a time.

    ``scores`` [B][nc][A] in [0, 1], ``boxes`` [B][A][4], ``points`` [A][2], ``targets`` a list of (box, class, image).
    Returns {(image, location): (object, target score)}.
    """
    claims: dict[tuple[int, int], list[int]] = {}
    u, t = {}, {}
    for g, (box, cls, image) in enumerate(targets):
        inside = [a for a, (x, y) in enumerate(points) if min(x - box[0], y - box[1], box[2] - x, box[3] - y) > 1e-9]
        for a in inside:
            u[g, a] = max(slow_ciou(box, boxes[image][a]), 0)
            t[g, a] = scores[image][cls][a] ** 0.5 * u[g, a] ** 6
        for a in sorted(inside, key=lambda a: -t[g, a])[:topk]:
            claims.setdefault((image, a), []).append(g)
    owner = {place: max(objects, key=lambda g: u[g, place[1]]) for place, objects in claims.items()}
    result = {}
    for (image, a), g in owner.items():
        mine = [place[1] for place, o in owner.items() if o == g]
        best_t, best_u = max(t[g, k] for k in mine), max(u[g, k] for k in mine)
        result[image, a] = (g, t[g, a] * best_u / (best_t + 1e-9))
    return result


def make(batch=3, nc=4, count=7, seed=0):
    """Random predictions near the locations of a 2-level pyramid of a 64 x 64 image, and random targets."""
    g = torch.Generator().manual_seed(seed)
    rand = lambda *s: torch.rand(*s, generator=g, dtype=torch.float64)  # noqa: E731
    grid = [(s * (x + 0.5), s * (y + 0.5)) for s in (8, 16) for y in range(64 // s) for x in range(64 // s)]
    points = torch.tensor(grid, dtype=torch.float64)
    boxes = torch.cat((points - 4 - 20 * rand(batch, len(grid), 2), points + 4 + 20 * rand(batch, len(grid), 2)), 2)
    logits = torch.randn(batch, nc, len(grid), generator=g, dtype=torch.float64)
    low = rand(count, 2) * 40
    targets = Targets(
        torch.cat((low, low + 2 + rand(count, 2) * 30), 1),
        torch.randint(0, nc, (count,), generator=g),
        torch.randint(0, batch, (count,), generator=g),
    )
    return logits, boxes, points, targets


def as_dict(assignment, targets):
    """Return {(image, location): (object, score)}."""
    return {
        (int(targets.image[g]), int(assignment.location[g, k])): (int(g), assignment.score[g, k].item())
        for g, k in assignment.assigned.nonzero().tolist()
    }


def test_worked_example():
    scores = torch.tensor([(0.8, 0.1), (0.4, 0.2), (0.9, 0.1), (0.2, 0.7)]).T[None]
    boxes = torch.tensor([[(0, 0, 16, 16), (0, 0, 20, 18), (2, 2, 18, 18), (16, 0, 32, 16)]]).float()
    points = torch.tensor([(4, 4), (12, 4), (12, 12), (20, 8)]).float()
    targets = Targets(
        torch.tensor([(0, 0, 18, 18), (14, 0, 30, 16)]).float(), torch.tensor([0, 1]), torch.tensor([0, 0])
    )
    assignment = TaskAlignedAssigner(topk=2)(scores.logit(), boxes, points, targets)
    assert assignment.dense(targets, (1, 4)).tolist() == [[-1, 0, 0, 1]]
    got = as_dict(assignment, targets)
    expected = {(0, 1): (0, 0.898606), (0, 2): (0, 0.608436), (0, 3): (1, 0.770881)}
    assert {place: g for place, (g, _) in got.items()} == {place: g for place, (g, _) in expected.items()}
    assert [got[place][1] for place in expected] == pytest.approx([v for _, v in expected.values()], abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("count", "topk"), [(1, 10), (7, 3), (25, 10), (40, 1)])
def test_equals_the_slow_version(seed, count, topk):
    logits, boxes, points, targets = make(count=count, seed=seed)
    expected = slow_assign(
        logits.sigmoid().tolist(),
        boxes.tolist(),
        points.tolist(),
        list(zip(targets.boxes.tolist(), targets.cls.tolist(), targets.image.tolist(), strict=True)),
        topk,
    )
    got = as_dict(TaskAlignedAssigner(topk)(logits, boxes, points, targets), targets)
    # a candidate without any overlap has score 0 whether it is listed or not
    expected = {k: v for k, v in expected.items() if v[1] > 0}
    got = {k: v for k, v in got.items() if v[1] > 0}
    assert {k: v[0] for k, v in got.items()} == {k: v[0] for k, v in expected.items()}
    assert [got[k][1] for k in expected] == pytest.approx([v[1] for v in expected.values()], rel=1e-9)


def test_empty_slots_have_no_score():
    logits, boxes, points, targets = make(count=12)
    assignment = TaskAlignedAssigner()(logits, boxes, points, targets)
    assert not assignment.score[~assignment.assigned].any()
    owner = assignment.dense(targets, boxes.shape[:2])
    assert int((owner >= 0).sum()) == int(assignment.assigned.sum())


def test_no_targets():
    logits, boxes, points, _ = make()
    none = Targets(
        torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
    )
    assignment = TaskAlignedAssigner()(logits, boxes, points, none)
    assert assignment.score.shape == (0, 10)
    assert (assignment.dense(none, boxes.shape[:2]) == -1).all()


def test_an_object_between_the_locations_and_one_without_area_get_nothing():
    logits, boxes, points, _ = make(batch=1)
    targets = Targets(
        torch.tensor([[5.0, 5, 7, 7], [10, 10, 10, 10], [1, 1, 60, 60]], dtype=torch.float64),
        torch.tensor([0, 1, 2]),
        torch.tensor([0, 0, 0]),
    )
    assignment = TaskAlignedAssigner()(logits, boxes, points, targets)
    assert assignment.assigned.any(1).tolist() == [False, False, True]


def test_of_two_equal_objects_the_first_gets_the_location():
    logits, boxes, points, targets = make(batch=1, count=1)
    twice = Targets(targets.boxes.repeat(2, 1), targets.cls.repeat(2), targets.image.repeat(2))
    once = TaskAlignedAssigner()(logits, boxes, points, targets)
    assignment = TaskAlignedAssigner()(logits, boxes, points, twice)
    assert torch.equal(assignment.assigned[0], once.assigned[0])
    assert not assignment.assigned[1].any()


def test_the_order_of_the_objects_does_not_matter():
    logits, boxes, points, targets = make(count=20, seed=5)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    mixed = Targets(*(part[order] for part in targets))
    first = TaskAlignedAssigner()(logits, boxes, points, targets)
    second = TaskAlignedAssigner()(logits, boxes, points, mixed)
    torch.testing.assert_close(second.score.sum(1), first.score.sum(1)[order])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_accepted(dtype):
    logits, boxes, points, targets = make(count=9)
    single = [t.float() for t in (boxes, points)]
    assignment = TaskAlignedAssigner()(logits.to(dtype), *single, targets._replace(boxes=targets.boxes.float()))
    assert assignment.score.dtype == torch.float32
    assert assignment.score.isfinite().all()
