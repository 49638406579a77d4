"""The detection loss against a slow version, its gradient, and the edges."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from slow_losses import ciou

from yolocore.nn.losses import DetectionLoss, LossArguments, class_weights

NC, REG_MAX, STRIDES, SIZE = 4, 16, (8, 16), 64


def fake_model(**arguments):
    """What the loss reads of a model: the head's sizes and the gains."""
    head = SimpleNamespace(nc=NC, reg_max=REG_MAX, stride=torch.tensor(STRIDES, dtype=torch.float64))
    return SimpleNamespace(head=head, args=LossArguments(**arguments))


def make(batch=2, count=5, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    locations = sum((SIZE // s) ** 2 for s in STRIDES)
    raw = {
        "boxes": torch.randn(batch, 4 * REG_MAX, locations, generator=g, dtype=torch.float64).to(dtype),
        "scores": (torch.randn(batch, NC, locations, generator=g, dtype=torch.float64) - 1).to(dtype),
        "feats": [torch.zeros(batch, 1, SIZE // s, SIZE // s, dtype=dtype) for s in STRIDES],
    }
    centre = torch.rand(count, 2, generator=g) * 0.6 + 0.2
    targets = {
        "bboxes": torch.cat((centre, torch.rand(count, 2, generator=g) * 0.5 + 0.1), 1).double(),
        "cls": torch.randint(0, NC, (count, 1), generator=g).float(),
        "batch_idx": torch.randint(0, batch, (count,), generator=g).sort().values.float(),
    }
    return raw, targets


def slow_loss(raw, batch, gains, smoothing=0.0, weights=None, topk=10):
    """Return (box, cls, dfl) by loops over images, objects and locations, with scalar tensors."""
    cells = [(x + 0.5, y + 0.5, s) for s in STRIDES for y in range(SIZE // s) for x in range(SIZE // s)]
    boxes, scores = raw["boxes"].double(), raw["scores"].double()
    images = boxes.shape[0]
    decoded = {}
    for b in range(images):
        for a, (x, y, _) in enumerate(cells):
            d = [sum(k * p for k, p in enumerate(boxes[b, 16 * i : 16 * i + 16, a].softmax(0))) for i in range(4)]
            decoded[b, a] = [x - d[0], y - d[1], x + d[2], y + d[3]]
    objects = []
    for (cx, cy, w, h), cls, b in zip(batch["bboxes"], batch["cls"].flatten(), batch["batch_idx"], strict=True):
        corners = [v * SIZE for v in (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)]
        objects.append((corners, int(cls), int(b)))
    u, t, claims = {}, {}, {}
    for g, (corners, cls, b) in enumerate(objects):
        inside = []
        for a, (x, y, s) in enumerate(cells):
            if corners[0] < x * s < corners[2] and corners[1] < y * s < corners[3]:
                inside.append(a)
                u[g, a] = max(ciou(corners, [c * s for c in decoded[b, a]]).item(), 0)
                t[g, a] = scores[b, cls, a].sigmoid().item() ** 0.5 * u[g, a] ** 6
        for a in sorted(inside, key=lambda a: -t[g, a])[:topk]:
            claims.setdefault((b, a), []).append(g)
    owner = {p: max(c, key=lambda g: u[g, p[1]]) for p, c in claims.items()}
    wanted = torch.zeros(images, NC, len(cells), dtype=torch.float64)
    box = dfl = torch.zeros((), dtype=torch.float64)
    total = 0.0
    for (b, a), g in owner.items():
        mine = [p[1] for p, o in owner.items() if o == g]
        score = t[g, a] * max(u[g, k] for k in mine) / (max(t[g, k] for k in mine) + 1e-9)
        total += score
        wanted[b, objects[g][1], a] += (1 - smoothing) * score
        wanted[b, :, a] += smoothing / NC * score
        x, y, s = cells[a]
        target = [v / s for v in objects[g][0]]
        box = box + (1 - ciou(decoded[b, a], target)) * score
        for i, distance in enumerate((x - target[0], y - target[1], target[2] - x, target[3] - y)):
            distance = min(max(float(distance), 0), 14.99)
            log_p = boxes[b, 16 * i : 16 * i + 16, a].log_softmax(0)
            k = int(distance)
            dfl = dfl - (log_p[k] * (k + 1 - distance) + log_p[k + 1] * (distance - k)) * score / 4
    p = scores.sigmoid()
    bce = -(wanted * p.log() + (1 - wanted) * (1 - p).log())
    if weights is not None:
        bce = bce * weights.double()[None, :, None]
    z = max(total, 1)
    return gains.box * box / z, gains.cls * bce.sum() / z, gains.dfl * dfl / z


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_the_slow_version_in_value_and_gradient(seed, smoothing):
    raw, batch = make(seed=seed)
    weights = class_weights(torch.tensor([5, 0, 1, 2]), 0.5) if seed else None
    gains = LossArguments(label_smoothing=smoothing)
    grads = []
    values = []
    criterion = DetectionLoss(fake_model(label_smoothing=smoothing))
    criterion.class_weights = weights
    for compute in (
        lambda r: list(slow_loss(r, batch, gains, smoothing, weights)),
        lambda r: list(criterion(r, batch)[0] / 2),
    ):
        leaves = {k: raw[k].clone().requires_grad_() for k in ("boxes", "scores")}
        items = compute({**raw, **leaves})
        sum(items).backward()
        values.append([i.item() for i in items])
        grads.append([leaf.grad for leaf in leaves.values()])
    assert values[1] == pytest.approx(values[0], rel=1e-9)
    for got, expected in zip(grads[1], grads[0], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-10)


def test_gradient_with_a_fixed_assignment():
    raw, batch = make(batch=1, count=2)
    criterion = DetectionLoss(fake_model(box=0.0))  # CIoU's alpha is a constant on purpose: see test_box_arithmetic
    raw = {k: v[..., :20] if k != "feats" else v for k, v in raw.items()}
    raw["feats"] = [torch.zeros(1, 1, 4, 4, dtype=torch.float64), torch.zeros(1, 1, 2, 2, dtype=torch.float64)]
    points, stride = criterion.anchors(raw["feats"], criterion.stride)
    targets = criterion.targets(batch, raw["feats"][0])
    fixed = criterion.assign(raw["scores"], raw["boxes"], points, stride, targets)
    assert fixed.assigned.any()
    criterion.assigner.forward = lambda *args: fixed
    inputs = raw["boxes"].clone().requires_grad_(), raw["scores"].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda b, s: criterion({**raw, "boxes": b, "scores": s}, batch)[0], inputs)


def test_items_are_detached_and_the_loss_is_multiplied_by_the_batch_size():
    raw, batch = make(batch=3)
    raw["scores"].requires_grad_()
    loss, items = DetectionLoss(fake_model())((torch.zeros(1), raw), batch)  # evaluation gives a pair
    torch.testing.assert_close(loss.detach(), items * 3)
    assert loss.requires_grad
    assert not items.requires_grad
    assert DetectionLoss.names == ("box_loss", "cls_loss", "dfl_loss")


def test_no_objects_at_all():
    raw, batch = make(count=0)
    leaves = {k: raw[k].requires_grad_() for k in ("boxes", "scores")}
    loss, items = DetectionLoss(fake_model())(raw, batch)
    expected = torch.nn.functional.softplus(raw["scores"]).sum().item() * 0.5
    assert items.tolist() == pytest.approx([0, expected, 0])
    loss.sum().backward()
    assert not leaves["boxes"].grad.any()
    assert leaves["scores"].grad.all()


def test_an_image_without_objects_and_objects_out_of_order():
    raw, batch = make(batch=3, count=6)
    batch["batch_idx"] = torch.tensor([2.0, 0, 2, 0, 2, 2])
    _, items = DetectionLoss(fake_model())(raw, batch)
    expected = [i.item() for i in slow_loss(raw, batch, LossArguments())]
    assert items.tolist() == pytest.approx(expected, rel=1e-9)


def test_gains_are_read_at_every_call():
    raw, batch = make()
    model = fake_model()
    criterion = DetectionLoss(model)
    before = criterion(raw, batch)[1]
    model.args.box, model.args.cls, model.args.dfl = 15.0, 1.0, 0.0
    torch.testing.assert_close(criterion(raw, batch)[1], before * torch.tensor([2.0, 2.0, 0.0], dtype=torch.float64))


def test_a_configuration_without_smoothing_will_do():
    raw, batch = make()
    model = fake_model()
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    torch.testing.assert_close(DetectionLoss(model)(raw, batch)[1], DetectionLoss(fake_model())(raw, batch)[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_computed_in_float32(dtype):
    raw, batch = make(dtype=dtype)
    _, items = DetectionLoss(fake_model())(raw, batch)
    assert items.dtype == torch.float32
    expected = [i.item() for i in slow_loss(raw, batch, LossArguments())]
    assert items.tolist() == pytest.approx(expected, rel=1e-4)


def test_memory_format_does_not_matter():
    raw, batch = make()
    expected = DetectionLoss(fake_model())(raw, batch)[1]
    for key in ("boxes", "scores"):
        raw[key] = raw[key].transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(DetectionLoss(fake_model())(raw, batch)[1], expected)


def test_class_weights():
    counts = torch.tensor([100, 25, 0, 1])
    assert class_weights(counts, 0.0).tolist() == [1, 1, 1, 1]
    weights = class_weights(counts, 0.5)
    assert (weights[1] / weights[0]).item() == pytest.approx(2)
    assert (weights[3] / weights[0]).item() == pytest.approx(10)
    assert weights[counts > 0].mean().item() == pytest.approx(1)
    assert weights[2] == 1
    assert class_weights(torch.zeros(2), 1.0).tolist() == [1, 1]
