"""Losses of every task with deterministic weights, float64; those of detect are in test_golden_forward."""

from __future__ import annotations

import golden_weights
import pytest
import torch

from yolocore.nn.losses import ClassificationLoss, OBBLoss, PoseLoss, SegmentationLoss
from yolocore.nn.tasks import ClassificationModel, OBBModel, PoseModel, SegmentationModel

BOXES = ((0.30, 0.40, 0.40, 0.50), (0.65, 0.55, 0.50, 0.60), (0.50, 0.50, 0.60, 0.70))


def golden_model(kind, cfg):
    model = kind(cfg, verbose=False).double().eval()
    golden_weights.fill(model)
    model.head.training = True  # raw outputs, batch norm as in evaluation
    return model


def golden_batch():
    image = golden_weights.image()
    return {
        "img": torch.cat((image, 1 - image)),
        "bboxes": torch.tensor(BOXES, dtype=torch.float64),
        "cls": torch.tensor([[3.0], [17.0], [3.0]]),
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
    }


def check(kind, model, batch, expected):
    model.args.kobj = 1.0
    loss, items = model.loss(batch)
    criterion = model.criterion
    assert type(criterion) is kind
    assert dict(zip(criterion.names, items.tolist(), strict=True)) == pytest.approx(expected, rel=2e-7, abs=6e-7)
    torch.testing.assert_close(loss.detach(), 2 * items)
    loss.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_segment():
    model = golden_model(SegmentationModel, "yolo11n-seg.yaml")
    masks = torch.zeros(2, 16, 24, dtype=torch.uint8)
    for image, value, (x, y, w, h) in zip((0, 0, 1), (1, 2, 1), BOXES, strict=True):
        rows = slice(round((y - h / 2) * 16), round((y + h / 2) * 16))
        masks[image, rows, round((x - w / 2) * 24) : round((x + w / 2) * 24)] = value
    expected = {"box_loss": 6.465199, "seg_loss": 5.625068, "cls_loss": 2139.401617, "dfl_loss": 4.211426}
    check(SegmentationLoss, model, {**golden_batch(), "masks": masks}, expected)


def test_pose():
    model = golden_model(PoseModel, "yolo11n-pose.yaml")
    keypoints = torch.tensor(
        [
            [(x + (j / 16 - 0.5) * w * 0.8, y + (5 * j % 17 / 16 - 0.5) * h * 0.8, (i + j) % 3) for j in range(17)]
            for i, (x, y, w, h) in enumerate(BOXES)
        ],
        dtype=torch.float64,
    )
    expected = {
        "box_loss": 6.460860,
        "pose_loss": 10.317712,
        "kobj_loss": 0.694349,
        "cls_loss": 2087.850270,
        "dfl_loss": 4.206247,
    }
    check(PoseLoss, model, {**golden_batch(), "keypoints": keypoints}, expected)


def test_obb():
    model = golden_model(OBBModel, "yolo11n-obb.yaml")
    batch = golden_batch()
    angles = torch.tensor([[0.3], [-0.5], [1.0]], dtype=torch.float64)
    batch["bboxes"] = torch.cat((batch["bboxes"], angles), 1)
    criterion = model.init_criterion()
    with torch.no_grad():
        match = criterion.match(model(batch["img"]), batch)
    assert match.assignment.score.sum().item() == pytest.approx(10.454541, rel=1e-7)
    check(OBBLoss, model, batch, {"box_loss": 4.568628, "cls_loss": 677.120124, "dfl_loss": 4.193791})


def test_classify():
    model = golden_model(ClassificationModel, "yolo11n-cls.yaml")
    image = golden_batch()["img"][..., :64]  # the left square of both pictures
    check(ClassificationLoss, model, {"img": image, "cls": torch.tensor([3, 17])}, {"loss": 8.243550})
