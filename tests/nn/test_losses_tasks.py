"""The losses of segment, pose, obb, classify and end-to-end heads against slow versions, their gradients, the edges."""

from __future__ import annotations

import math

import pytest
import slow_losses as slow
import torch

from yolocore.kernels.keypoints import COCO_SIGMAS
from yolocore.nn.losses import (
    ClassificationLoss,
    DetectionLoss,
    EndToEndLoss,
    LossArguments,
    OBBLoss,
    PoseLoss,
    SegmentationLoss,
)

GAINS = LossArguments()
INPUTS = {
    "segment": ("boxes", "scores", "coefficients", "proto"),
    "pose": ("boxes", "scores", "keypoints"),
    "obb": ("boxes", "scores", "angle"),
}
LOSSES = {"segment": SegmentationLoss, "pose": PoseLoss, "obb": OBBLoss}


def of_task(task, labels):
    """Return the batch of a task from labels of every kind."""
    if task != "obb":
        return labels
    return {**labels, "bboxes": torch.cat((labels["bboxes"], labels["angles"]), 1)}


def slow_items(task, raw, batch):
    if task == "obb":
        box, cls, dfl = slow.rotated(raw, batch)[1]
        return [box * GAINS.box, cls * GAINS.cls, dfl * GAINS.dfl]
    owned, corners, (box, cls, dfl) = slow.upright(raw, batch)
    detect = [cls * GAINS.cls, dfl * GAINS.dfl]
    if task == "segment":
        return [box * GAINS.box, slow.mask_term(raw, batch, owned, corners) * GAINS.box, *detect]
    pose, kobj = slow.keypoint_terms(raw, batch, owned, corners)
    return [box * GAINS.box, pose * GAINS.pose, kobj * GAINS.kobj, *detect]


def values_and_gradients(task, raw, compute):
    leaves = {key: raw[key].clone().requires_grad_() for key in INPUTS[task]}
    items = compute({**raw, **leaves})
    sum(items).backward()
    return [item.item() for item in items], [leaf.grad for leaf in leaves.values()]


@pytest.mark.parametrize("task", LOSSES)
@pytest.mark.parametrize(("seed", "batch", "count"), [(0, 2, 5), (1, 3, 6), (2, 1, 1)])
def test_equals_the_slow_version_in_value_and_gradient(task, seed, batch, count):
    raw, labels = slow.make(batch, count, seed)
    labels = of_task(task, labels)
    criterion = LOSSES[task](slow.fake_model())
    expected, slopes = values_and_gradients(task, raw, lambda r: slow_items(task, r, labels))
    got, gradients = values_and_gradients(task, raw, lambda r: list(criterion(r, labels)[0] / batch))
    assert len(got) == len(criterion.names)
    assert all(value > 0 for value in expected)
    assert got == pytest.approx(expected, rel=1e-9)
    for gradient, slope in zip(gradients, slopes, strict=True):
        torch.testing.assert_close(gradient, slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("task", LOSSES)
def test_targets_in_one_image_only_and_in_any_order(task):
    raw, labels = slow.make(3, 5)
    for images in ([1, 1, 1, 1, 1], [2, 0, 2, 0, 2]):
        labels["batch_idx"] = torch.tensor(images, dtype=torch.float32)
        for b in range(3):  # masks are numbered within their image
            raw_numbers = torch.arange(slow.PROTO**2).view(slow.PROTO, slow.PROTO) % (images.count(b) + 1)
            labels["masks"][b] = raw_numbers.to(torch.uint8)
        batch = of_task(task, labels)
        expected = [item.item() for item in slow_items(task, raw, batch)]
        assert LOSSES[task](slow.fake_model())(raw, batch)[1].tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("task", LOSSES)
def test_no_targets_leave_the_class_term_and_a_graph(task):
    raw, labels = slow.make(2, 0)
    leaves = {key: raw[key].requires_grad_() for key in INPUTS[task]}
    criterion = LOSSES[task](slow.fake_model())
    loss, items = criterion(raw, of_task(task, labels))
    expected = torch.nn.functional.softplus(raw["scores"]).sum().item() * GAINS.cls
    wanted = [expected if name == "cls_loss" else 0 for name in criterion.names]
    assert items.tolist() == pytest.approx(wanted)
    loss.sum().backward()
    for key, leaf in leaves.items():
        assert leaf.grad is not None, key
        assert bool(leaf.grad.any()) == (key == "scores"), key


@pytest.mark.parametrize("task", LOSSES)
def test_targets_that_no_location_lies_in(task):
    raw, labels = slow.make(2, 1)
    labels["bboxes"] = torch.tensor([[0.5, 0.5, 0.04, 0.04]], dtype=torch.float64)  # 2.6 px between the cells
    _, items = LOSSES[task](slow.fake_model())(raw, of_task(task, labels))
    names = LOSSES[task].names
    assert [i for i, name in zip(items.tolist(), names, strict=True) if name != "cls_loss"] == [0] * (len(names) - 1)
    assert items[names.index("cls_loss")] > 0


@pytest.mark.parametrize("task", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_are_computed_in_float32(task, dtype):
    raw, labels = slow.make(2, 4)
    half = {k: [f.to(dtype) for f in v] if k == "feats" else v.to(dtype) for k, v in raw.items()}
    batch = of_task(task, labels)
    items = LOSSES[task](slow.fake_model())(half, batch)[1]
    assert items.dtype == torch.float32
    double = {k: [f.double() for f in v] if k == "feats" else v.double() for k, v in half.items()}
    expected = [item.item() for item in slow_items(task, double, batch)]
    assert items.tolist() == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("task", LOSSES)
def test_gradient_with_a_fixed_assignment(task):
    raw, labels = slow.make(1, 2, seed=4)
    batch = of_task(task, labels)
    # CIoU's alpha is a constant on purpose: see test_box_arithmetic
    criterion = LOSSES[task](slow.fake_model(box=7.5 if task == "obb" else 0.0))
    fixed = criterion.match(raw, batch)
    assert fixed.assignment.assigned.any()
    criterion.assigner.forward = lambda *args: fixed.assignment
    extra = [key for key in INPUTS[task] if key != "boxes"]
    used = fixed.assignment.location[fixed.assignment.assigned].unique()[:3]

    def compute(boxes, *rest):
        changed = {"boxes": raw["boxes"].index_copy(2, used, boxes)}
        for key, value in zip(extra, rest, strict=True):
            changed[key] = value if key == "proto" else raw[key].index_copy(2, used, value)
        if task == "segment":
            match = criterion.match({**raw, **changed}, batch)
            return criterion.mask_term(match, {**raw, **changed}, batch), criterion({**raw, **changed}, batch)[0]
        return criterion({**raw, **changed}, batch)[0]

    inputs = [raw[key] if key == "proto" else raw[key][..., used] for key in ("boxes", *extra)]
    assert torch.autograd.gradcheck(compute, [x.clone().requires_grad_() for x in inputs], fast_mode=True)


# segment ---------------------------------------------------------------------------------------------------


def test_separate_masks_equal_index_masks_where_objects_do_not_overlap():
    raw, labels = slow.make(2, 2)
    labels["bboxes"] = torch.tensor([[0.3, 0.3, 0.4, 0.4], [0.6, 0.5, 0.6, 0.8]], dtype=torch.float64)
    labels["batch_idx"] = torch.tensor([0.0, 1.0])
    labels["masks"] = (labels["masks"] > 0).to(torch.uint8)
    expected = SegmentationLoss(slow.fake_model())(raw, labels)[1]
    got = SegmentationLoss(slow.fake_model(overlap_mask=False))(raw, labels)[1]
    torch.testing.assert_close(got, expected)


def test_separate_masks_equal_the_slow_version():
    raw, labels = slow.make(2, 5, seed=7)
    g = torch.Generator().manual_seed(1)
    labels["masks"] = torch.randint(0, 2, (5, slow.PROTO, slow.PROTO), generator=g).to(torch.uint8)
    owned, corners, _ = slow.upright(raw, labels)
    expected = slow.mask_term(raw, labels, owned, corners, overlapping=False).item() * GAINS.box
    got = SegmentationLoss(slow.fake_model(overlap_mask=False))(raw, labels)[1][1].item()
    assert got == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("overlap", [True, False])
def test_larger_masks_are_reduced_to_the_nearest_pixel(overlap):
    raw, labels = slow.make(2, 4)
    if not overlap:
        labels["masks"] = (torch.arange(4 * slow.PROTO**2).view(4, slow.PROTO, slow.PROTO) % 3 == 0).to(torch.uint8)
    criterion = SegmentationLoss(slow.fake_model(overlap_mask=overlap))
    expected = criterion(raw, labels)[1]
    labels["masks"] = labels["masks"].repeat_interleave(4, 1).repeat_interleave(4, 2)
    torch.testing.assert_close(criterion(raw, labels)[1], expected)


def test_more_than_255_objects_in_an_image():
    raw, labels = slow.make(1, 300)
    labels["masks"] = torch.arange(slow.PROTO**2).view(1, slow.PROTO, slow.PROTO).int() + 40  # objects 40 to 295
    criterion = SegmentationLoss(slow.fake_model())
    assert criterion.match(raw, labels).assignment.assigned[256:].any()
    got = criterion(raw, labels)[1]
    labels["masks"] = (labels["masks"] == torch.arange(1, 301)[:, None, None]).to(torch.uint8)
    torch.testing.assert_close(got, SegmentationLoss(slow.fake_model(overlap_mask=False))(raw, labels)[1])


# pose ------------------------------------------------------------------------------------------------------


def test_keypoint_error_of_the_worked_example():
    raw, labels = slow.make(1, 1)
    labels["bboxes"] = torch.tensor([[0.5, 0.5, 5 * 8 / 64, 10 * 8 / 64]], dtype=torch.float64)  # area 50 cells
    criterion = PoseLoss(slow.fake_model(pose=1.0))
    match = criterion.match(raw, labels)
    fine = [
        k for k in range(10) if match.assignment.assigned[0, k] and match.stride[match.assignment.location[0, k]] == 8
    ]
    assigned = torch.zeros_like(match.assignment.assigned)
    assigned[0, fine[0]] = True
    match = match._replace(assignment=match.assignment._replace(assigned=assigned))
    location = match.assignment.location[0, fine[0]]
    wanted = torch.tensor([[3.0, 4.0], [5.0, 2.0], [1.0, 1.0]], dtype=torch.float64)  # cells of 8 px
    offset = torch.tensor([[0.5, 0], [0, 0.5], [9, 9]], dtype=torch.float64)
    visible = torch.tensor([[2.0], [1.0], [0.0]], dtype=torch.float64)
    labels["keypoints"] = torch.cat((wanted * 8 / 64, visible), 1)[None]
    raw["keypoints"].view(1, 3, 3, -1)[0, :, :2, location] = (wanted + offset - match.points[location] + 0.5) / 2
    pose, kobj = criterion.keypoint_terms(match, raw, labels)
    assert pose.item() == pytest.approx(0.00560921, abs=1e-8)
    logits = raw["keypoints"].view(3, 3, -1)[:, 2, location]
    signs = torch.tensor([1.0, 1, -1], dtype=torch.float64)
    assert kobj.item() == pytest.approx(-torch.nn.functional.logsigmoid(logits * signs).mean().item())


def test_keypoints_without_visibility():
    raw, labels = slow.make(2, 4)
    raw["keypoints"] = raw["keypoints"][:, : 2 * slow.POINTS]
    criterion = PoseLoss(slow.fake_model(kpt_shape=(slow.POINTS, 2)))
    owned, corners, _ = slow.upright(raw, labels)
    for keypoints in (labels["keypoints"], labels["keypoints"][..., :2]):
        truth = keypoints if keypoints.shape[-1] == 3 else torch.nn.functional.pad(keypoints, (0, 1), value=1.0)
        expected = slow.keypoint_terms(raw, {**labels, "keypoints": truth}, owned, corners, values=2)[0]
        items = criterion(raw, {**labels, "keypoints": keypoints})[1]
        assert items[1].item() == pytest.approx(expected.item() * GAINS.pose, rel=1e-9)
        assert items[2] == 0


def test_seventeen_points_have_the_tolerances_of_people():
    assert PoseLoss(slow.fake_model(kpt_shape=(17, 3))).sigmas.tolist() == pytest.approx(COCO_SIGMAS)
    assert PoseLoss(slow.fake_model()).sigmas.tolist() == pytest.approx([1 / 3] * 3)


# obb -------------------------------------------------------------------------------------------------------


def test_thin_rotated_targets_are_left_out():
    raw, labels = slow.make(2, 3)
    batch = of_task("obb", labels)
    batch["bboxes"][0, 2:] = torch.tensor([0.9, 1.9 / slow.SIZE, 0.7], dtype=torch.float64)
    rest = {key: batch[key][1:] for key in ("bboxes", "cls", "batch_idx")}
    criterion = OBBLoss(slow.fake_model())
    torch.testing.assert_close(criterion(raw, batch)[1], criterion(raw, rest)[1])


def test_a_quarter_turn_with_swapped_sides_is_the_same_target():
    raw, labels = slow.make(2, 4)
    batch = of_task("obb", labels)
    turned = batch["bboxes"][:, [0, 1, 3, 2, 4]] + torch.tensor([0, 0, 0, 0, math.pi / 2])
    criterion = OBBLoss(slow.fake_model(dfl=0.0))  # left of the one is top of the other
    expected = criterion(raw, batch)[1]
    torch.testing.assert_close(criterion(raw, {**batch, "bboxes": turned})[1], expected, rtol=1e-9, atol=1e-12)


def test_the_angle_term_judges_long_objects_only():
    raw, labels = slow.make(2, 5)
    batch = of_task("obb", labels)
    batch["bboxes"][0, 3] = batch["bboxes"][0, 2]  # a square, whose angle means nothing
    batch["bboxes"][1, 2:4] = 0  # and an object without any
    before = OBBLoss(slow.fake_model())(raw, batch)[1]
    after = OBBLoss(slow.fake_model(angle=3.0))(raw, batch)[1]
    owned, _ = slow.rotated(raw, batch)
    expected = 0.0
    for (b, a), (g, score) in owned.items():
        w, h, angle = batch["bboxes"][g, 2:].tolist()
        turn = raw["angle"][b, 0, a].item() - angle
        expected += 3 * score * (1 - math.cos(2 * turn)) / 2 * abs(w * w - h * h) / (w * w + h * h)
    expected /= max(sum(score for _, score in owned.values()), 1)
    assert expected > 0.1
    assert (after - before).tolist() == pytest.approx([expected, 0, 0], rel=1e-9)


# classify --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_classification_equals_the_slow_version(smoothing):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=g, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        norm = math.log(sum(math.exp(v) for v in row))
        for c, v in enumerate(row):
            total += ((1 - smoothing) * (c == label) + smoothing / 5) * (norm - v) / 6
    criterion = ClassificationLoss(slow.fake_model(label_smoothing=smoothing))
    loss, items = criterion((logits.softmax(1), logits), {"cls": labels})
    assert items.tolist() == pytest.approx([total])
    assert loss.tolist() == pytest.approx([6 * total])
    assert not items.requires_grad
    assert torch.autograd.gradcheck(lambda x: criterion(x, {"cls": labels})[0], (logits,))
    assert criterion.names == ("loss",)


def test_classification_of_half_precision_is_computed_in_float32():
    logits = torch.tensor([[4.0, -60000, 2], [1, 2, 3]], dtype=torch.float16)
    items = ClassificationLoss(slow.fake_model())(logits, {"cls": torch.tensor([2, 0])})[1]
    assert items.dtype == torch.float32
    expected = torch.nn.functional.cross_entropy(logits.double(), torch.tensor([2, 0])).item()
    assert items.item() == pytest.approx(expected, rel=1e-6)


def test_classes_may_be_weighed():
    logits = torch.tensor([[1.0, 0], [1, 0]])
    criterion = ClassificationLoss(slow.fake_model())
    criterion.class_weights = torch.tensor([3.0, 1.0])
    near, far = math.log(1 + math.exp(-1)), math.log(1 + math.e)
    got = criterion(logits, {"cls": torch.tensor([0, 1])})[1].item()
    assert got == pytest.approx((3 * near + far) / 4)


# end to end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reg_max", [1, 16])
def test_end_to_end_is_the_sum_of_both_branches(reg_max):
    many, labels = slow.make(2, 5, reg_max=reg_max)
    one, _ = slow.make(2, 5, seed=1, reg_max=reg_max)
    expected = []
    for raw, topk in ((many, 10), (one, 1)):
        _, _, (box, cls, dfl) = slow.upright(raw, labels, reg_max, topk)
        expected.append([box.item() * GAINS.box, cls.item() * GAINS.cls, dfl.item() * GAINS.dfl])
    criterion = EndToEndLoss(slow.fake_model(reg_max=reg_max))
    loss, items = criterion({"one2many": many, "one2one": one}, labels)
    assert items.tolist() == pytest.approx([a + b for a, b in zip(*expected, strict=True)], rel=1e-9)
    assert loss.tolist() == pytest.approx([2 * i for i in items.tolist()])
    assert criterion((torch.zeros(1), {"one2one": one}), labels)[1].tolist() == pytest.approx(expected[1], rel=1e-9)
    assert criterion.names == DetectionLoss.names


def test_class_weights_reach_both_branches():
    criterion = EndToEndLoss(slow.fake_model())
    criterion.class_weights = torch.ones(slow.NC)
    assert criterion.one2many.class_weights is criterion.one2one.class_weights is criterion.class_weights


def test_distances_without_a_distribution_have_the_gradient_of_the_slow_version():
    raw, labels = slow.make(2, 4, reg_max=1)
    criterion = DetectionLoss(slow.fake_model(reg_max=1))
    results = []
    for compute in (
        lambda r: sum(x * gain for x, gain in zip(slow.upright(r, labels, 1)[2], (7.5, 0.5, 1.5), strict=True)),
        lambda r: criterion(r, labels)[0].sum() / 2,
    ):
        boxes = raw["boxes"].clone().requires_grad_()
        compute({**raw, "boxes": boxes}).backward()
        results.append(boxes.grad)
    torch.testing.assert_close(results[1], results[0], rtol=1e-7, atol=1e-10)
