"""Outputs and losses with deterministic weights, float64; and those of published-size weights beside the checkout."""

from __future__ import annotations

import json

import golden_weights
import numpy as np
import pytest
import torch

from yolocore.nn.tasks import DetectionModel

# sum, mean absolute value, first element, last element
GOLDEN = {
    ("n", "decoded"): (55343.560268, 5.228983, 2.194602, 0.589836),
    ("n", "boxes"): (-18.111010, 0.249882, -0.438033, 0.395424),
    ("n", "scores"): (-25.911297, 0.218987, -0.343277, 0.363287),
    ("m", "decoded"): (55901.703619, 5.283353, 2.019189, 0.830646),
    ("m", "boxes"): (-42.309768, 0.476075, -0.543706, 0.135145),
    ("m", "scores"): (-82.567017, 0.798381, -1.639026, 1.590216),
    ("l", "decoded"): (50984.719413, 4.865694, -16.590020, 0.479798),
    ("l", "boxes"): (556.135320, 2.168268, -4.397189, 0.298278),
    ("l", "scores"): (185.161691, 1.323173, -2.036295, -0.080854),
}
SHAPES = {"decoded": (1, 84, 126), "boxes": (1, 64, 126), "scores": (1, 80, 126)}


def golden_model(scale: str) -> DetectionModel:
    model = DetectionModel(f"yolo11{scale}.yaml", verbose=False).double().eval()
    golden_weights.fill(model)
    return model


@pytest.fixture(scope="module")
def nano() -> DetectionModel:
    return golden_model("n")


@pytest.mark.parametrize("scale", ["n", "m", "l"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_golden_forward(scale, channels_last):
    model, image = golden_model(scale), golden_weights.image()
    if channels_last:
        model, image = model.to(memory_format=torch.channels_last), image.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        decoded, raw = model(image)
    for name, tensor in {"decoded": decoded, **raw}.items():
        if name == "feats":
            continue
        assert tuple(tensor.shape) == SHAPES[name]
        flat = tensor.flatten()
        got = (flat.sum().item(), flat.abs().mean().item(), flat[0].item(), flat[-1].item())
        assert got == pytest.approx(GOLDEN[scale, name], rel=1e-6, abs=6e-7)


def test_golden_forward_of_the_fused_network():
    with torch.inference_mode():
        model = golden_model("n")
        plain = model(golden_weights.image())[0]
        torch.testing.assert_close(model.fuse()(golden_weights.image())[0], plain, rtol=1e-9, atol=1e-9)


def golden_batch() -> dict[str, torch.Tensor]:
    image = golden_weights.image()
    boxes = [(0.30, 0.40, 0.40, 0.50), (0.65, 0.55, 0.50, 0.60), (0.50, 0.50, 0.60, 0.70)]
    return {
        "img": torch.cat((image, 1 - image)),
        "bboxes": torch.tensor(boxes, dtype=torch.float64),
        "cls": torch.tensor([[3.0], [17.0], [3.0]]),
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
    }


def test_golden_losses(nano, monkeypatch):
    monkeypatch.setattr(nano.head, "training", True)
    batch = golden_batch()
    loss, items = nano.loss(batch)
    assert items.tolist() == pytest.approx([6.452430, 2075.137951, 4.214321], rel=1e-6)
    assert loss.tolist() == pytest.approx([2 * i for i in items.tolist()])
    assert loss.requires_grad
    assert not items.requires_grad


def test_golden_assignment(nano):
    batch = golden_batch()
    criterion = nano.init_criterion()
    with torch.no_grad():
        raw = nano(batch["img"])[1]
    points, stride = criterion.anchors(raw["feats"], criterion.stride)
    targets = criterion.targets(batch, raw["feats"][0])
    assignment = criterion.assign(raw["scores"], raw["boxes"], points, stride, targets)
    assert int(assignment.assigned.sum()) == 30
    assert assignment.score.sum().item() == pytest.approx(3.409499, rel=1e-6)
    assert int((assignment.dense(targets, (2, 126)) >= 0).sum()) == 30


# ---------------------------------------------------------------------------------- against the folder beside the checkout


@pytest.fixture(scope="module")
def reference(shared_dir):
    return shared_dir / "bench" / "reference"


@pytest.fixture(scope="module")
def trained(reference) -> DetectionModel:
    state = np.load(reference / "yolo11n_state.npz")
    model = DetectionModel("yolo11n.yaml", verbose=False)
    model.load_state_dict({key: torch.from_numpy(state[key]) for key in state.files}, strict=True)
    return model


@pytest.mark.shared
def test_decoded_output_of_trained_weights(reference, trained, record_property):
    image = torch.from_numpy(np.random.default_rng(0).random((1, 3, 640, 640), np.float32))
    with torch.inference_mode():
        decoded = trained.eval()(image)[0]
    expected = torch.from_numpy(np.load(reference / "forward_random640.npz")["decoded"])
    boxes = ((decoded - expected)[:, :4].abs() / expected[:, :4].abs().clamp(min=1)).max().item()
    scores = (decoded - expected)[:, 4:].abs().max().item()
    record_property("max difference of boxes, scores", (boxes, scores))
    assert boxes < 1e-4
    assert scores < 1e-4


@pytest.mark.shared
def test_layer_outputs_of_trained_weights(reference, trained):
    stats = json.loads((reference / "forward_layer_stats.json").read_text())
    image = torch.from_numpy(np.random.default_rng(0).random((1, 3, 640, 640), np.float32))
    seen = {}
    handles = [
        layer.register_forward_hook(lambda module, args, out: seen.__setitem__(str(module.i), out.clone()))
        for layer in trained.model[:-1]
    ]
    with torch.inference_mode():
        trained.eval()(image)
    for handle in handles:
        handle.remove()
    for index, out in seen.items():
        assert list(out.shape) == stats[index]["shape"]
        assert out.double().mean().item() == pytest.approx(stats[index]["mean"], rel=1e-3, abs=1e-5)
        assert out.double().std().item() == pytest.approx(stats[index]["std"], rel=1e-3)


@pytest.mark.shared
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_loss_of_trained_weights(reference, trained, mode):
    arrays = np.load(reference / "loss_fixed_batch.npz")
    expected = json.loads((reference / "loss_fixed_batch.json").read_text())[mode]
    batch = {key: torch.from_numpy(arrays[key]) for key in ("cls", "bboxes", "batch_idx")}
    batch["img"] = torch.from_numpy(arrays["img_uint8_rgb"]).float() / 255
    state = {key: value.clone() for key, value in trained.state_dict().items()}
    criterion = trained.init_criterion()
    seen = []
    assign = criterion.assigner.forward
    criterion.assigner.forward = lambda *args: seen.append((args[-1], assign(*args))) or seen[-1][1]
    trained.train(mode == "train").zero_grad()
    loss, items = criterion(trained(batch["img"]), batch)
    loss.sum().backward()
    trained.load_state_dict(state)

    assert items.tolist() == pytest.approx(expected["loss_items_box_cls_dfl"], rel=1e-4)
    norm = torch.stack([p.grad.norm() for p in trained.parameters() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(expected["grad_norm_total"], rel=1e-4)
    targets, assignment = seen[0]
    owner = assignment.dense(targets, (4, 8400)).numpy()
    shape = arrays[f"{mode}_fg_mask_shape"]
    foreground = np.unpackbits(arrays[f"{mode}_fg_mask_packed"])[: shape.prod()].reshape(shape).astype(bool)
    assert ((owner >= 0) == foreground).all()
    first = np.searchsorted(arrays["batch_idx"], np.arange(4))[:, None]  # targets of an image are numbered from 0
    assert ((owner - first)[foreground] == arrays[f"{mode}_target_gt_idx_of_fg"]).all()
