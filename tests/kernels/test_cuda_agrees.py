"""The same numbers on a GPU as on the CPU."""

from __future__ import annotations

import pytest
import slow_losses
import torch

from yolocore.kernels.dispatch import non_max_suppression
from yolocore.kernels.masks import assemble_masks, assemble_native_masks
from yolocore.nn.losses import OBBLoss, PoseLoss, SegmentationLoss
from yolocore.nn.tasks import DetectionModel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_suppression():
    g = torch.Generator().manual_seed(0)
    boxes = torch.rand(2, 4, 3000, generator=g) * torch.tensor([600, 600, 90, 90.0]).view(1, 4, 1) + 4
    prediction = torch.cat((boxes, torch.rand(2, 5, 3000, generator=g)), 1)
    for multi_label in (False, True):
        expected = non_max_suppression(prediction, 0.3, 0.5, multi_label=multi_label)
        got = non_max_suppression(prediction.cuda(), 0.3, 0.5, multi_label=multi_label)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a.cpu(), b)


def test_loss_and_gradient():
    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=4, verbose=False).double()
    batch = {
        "img": torch.rand(2, 3, 64, 64, dtype=torch.float64),
        "cls": torch.tensor([[1.0], [3.0], [0.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.6, 0.6], [0.4, 0.6, 0.5, 0.3], [0.3, 0.3, 0.4, 0.4]]),
        "batch_idx": torch.tensor([0.0, 1.0, 1.0]),
    }
    results = []
    for device in ("cpu", "cuda"):
        model.to(device).zero_grad()
        model.criterion = None
        loss, items = model.loss({k: v.to(device) for k, v in batch.items()})
        loss.sum().backward()
        results.append((items.cpu(), model.model[0].conv.weight.grad.cpu()))
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-9)


def test_suppression_of_rotated_boxes():
    g = torch.Generator().manual_seed(0)
    scale = torch.tensor([600, 600, 90, 90.0]).view(1, 4, 1)
    boxes = torch.rand(2, 4, 3000, generator=g) * scale + 4
    prediction = torch.cat((boxes, torch.rand(2, 5, 3000, generator=g), torch.rand(2, 1, 3000, generator=g) * 3), 1)
    for multi_label in (False, True):
        expected = non_max_suppression(prediction, 0.3, 0.5, multi_label=multi_label, rotated=True)
        got = non_max_suppression(prediction.cuda(), 0.3, 0.5, multi_label=multi_label, rotated=True)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a.cpu(), b)


def test_masks():
    g = torch.Generator().manual_seed(0)
    proto, coefficients = torch.randn(32, 40, 40, generator=g).double(), torch.randn(50, 32, generator=g).double()
    low = torch.rand(50, 2, generator=g) * 100
    boxes = torch.cat((low, low + torch.rand(50, 2, generator=g) * 60), 1).double()
    inputs = proto.cuda(), coefficients.cuda(), boxes.cuda()
    expected = assemble_masks(proto, coefficients, boxes, (160, 160))
    assert torch.equal(assemble_masks(*inputs, (160, 160)).cpu(), expected)
    expected = assemble_native_masks(proto, coefficients, boxes, (160, 160), (240, 320), (0, 20))
    assert torch.equal(assemble_native_masks(*inputs, (160, 160), (240, 320), (0, 20)).cpu(), expected)


@pytest.mark.parametrize("kind", [SegmentationLoss, PoseLoss, OBBLoss])
def test_losses_of_the_tasks(kind):
    raw, batch = slow_losses.make(2, 6)
    if kind is OBBLoss:
        batch["bboxes"] = torch.cat((batch["bboxes"], batch["angles"]), 1)
    results = []
    for device in ("cpu", "cuda"):
        moved = {k: [f.to(device) for f in v] if k == "feats" else v.to(device) for k, v in raw.items()}
        boxes = moved["boxes"].requires_grad_()
        model = slow_losses.fake_model()
        model.head.stride = model.head.stride.to(device)
        loss, items = kind(model)(moved, batch)
        loss.sum().backward()
        results.append((items.cpu(), boxes.grad.cpu()))
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-9)
