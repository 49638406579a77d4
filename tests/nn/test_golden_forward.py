"""Outputs and losses with deterministic weights, float64; and those of published-size weights beside the checkout."""

from __future__ import annotations

import json
from typing import Any

import golden_weights
import numpy as np
import pytest
import torch

from yolocore.nn.tasks import (
    BaseModel,
    ClassificationModel,
    DetectionModel,
    OBBModel,
    PoseModel,
    SegmentationModel,
)

# network, output, shape, sum, mean absolute value, first element, last element
GOLDEN = """
yolo11n decoded 1,84,126 55343.560268 5.228983 2.194602 0.589836
yolo11n boxes 1,64,126 -18.111010 0.249882 -0.438033 0.395424
yolo11n scores 1,80,126 -25.911297 0.218987 -0.343277 0.363287
yolo11n-seg decoded 1,116,126 55460.415155 3.837071 2.313683 0.470507
yolo11n-seg proto 1,32,16,24 291.024528 0.119014 -0.020631 0.064691
yolo11n-seg boxes 1,64,126 -19.273368 0.256156 -0.438538 0.564533
yolo11n-seg scores 1,80,126 -23.062022 0.233142 -0.377504 0.363619
yolo11n-seg coefficients 1,32,126 10.300088 0.156873 -0.276301 0.470507
yolo11n-cls logits 1,1000 -81.590203 2.757491 -4.620304 -4.962763
yolo11n-pose decoded 1,135,126 202467.683823 12.300001 2.238818 0.492059
yolo11n-pose boxes 1,64,126 -16.916475 0.255836 -0.451798 0.678055
yolo11n-pose scores 1,80,126 -27.663101 0.226372 -0.364116 0.291212
yolo11n-pose keypoints 1,51,126 -57.931063 0.245494 -0.371493 -0.031768
yolo11n-obb decoded 1,85,126 55285.556714 5.162931 2.756848 0.603273
yolo11n-obb boxes 1,64,126 -16.916475 0.255836 -0.451798 0.678055
yolo11n-obb scores 1,80,126 -27.663101 0.226372 -0.364116 0.291212
yolo11n-obb angle 1,1,126 74.386316 0.590368 0.709409 0.603273
yolov8n decoded 1,84,126 55118.381940 5.207708 1.751201 0.535862
yolov8n boxes 1,64,126 20.658270 0.246919 -0.353121 0.188742
yolov8n scores 1,80,126 -81.541497 0.277954 -0.492223 0.143695
yolov8n-seg decoded 1,116,126 55126.921053 3.806951 1.783232 0.145154
yolov8n-seg proto 1,32,16,24 386.065753 0.114302 -0.008217 0.065998
yolov8n-seg boxes 1,64,126 19.230742 0.244348 -0.344013 0.182582
yolov8n-seg scores 1,80,126 -82.581339 0.277196 -0.503522 0.155748
yolov8n-seg coefficients 1,32,126 3.417093 0.128693 -0.249695 0.145154
yolov8n-cls logits 1,1000 -12.318312 1.497287 -2.262850 -1.909583
yolov8n-pose decoded 1,56,126 198155.156208 28.631162 1.784352 0.545874
yolov8n-pose boxes 1,64,126 18.881406 0.243401 -0.343118 0.247224
yolov8n-pose scores 1,1,126 -55.540817 0.440800 -0.443458 -0.409142
yolov8n-pose keypoints 1,51,126 -30.358630 0.211533 -0.276266 0.184014
yolov8n-obb decoded 1,85,126 55066.915770 5.141635 2.132671 0.647951
yolov8n-obb boxes 1,64,126 18.881406 0.243401 -0.343118 0.247224
yolov8n-obb scores 1,80,126 -83.042777 0.277653 -0.501365 0.091574
yolov8n-obb angle 1,1,126 73.448069 0.582921 0.652245 0.647951
yolo11m decoded 1,84,126 55901.703619 5.283353 2.019189 0.830646
yolo11m boxes 1,64,126 -42.309768 0.476075 -0.543706 0.135145
yolo11m scores 1,80,126 -82.567017 0.798381 -1.639026 1.590216
yolo11l decoded 1,84,126 50984.719413 4.865694 -16.590020 0.479798
yolo11l boxes 1,64,126 556.135320 2.168268 -4.397189 0.298278
yolo11l scores 1,80,126 185.161691 1.323173 -2.036295 -0.080854
yolov8m decoded 1,84,126 55157.987954 5.211450 2.109767 0.324279
yolov8m boxes 1,64,126 -24.721997 0.240657 -0.369492 0.201671
yolov8m scores 1,80,126 -118.928700 0.390419 -0.738266 -0.734177
yolo12n decoded 1,84,126 54061.748147 5.378640 -5.848790 0.089360
yolo12n boxes 1,64,126 -4763.622391 53.011998 -11.169761 712.221620
yolo12n scores 1,80,126 -5436.073451 79.541223 -113.813899 -2.321470
yolo12l decoded 1,84,126 63220.210145 6.142499 -16.000000 0.000000
yolo12l boxes 1,64,126 -2485532.310462 8390.881495 2186.403440 -71.636312
yolo12l scores 1,80,126 -2717387.852029 19497.791944 -15569.275886 -10935.290519
yolov10n one2many.boxes 1,64,126 -11.091686 0.248329 -0.426455 0.571909
yolov10n one2many.scores 1,80,126 -36.375936 0.213643 -0.302029 0.728244
yolov10n one2one.boxes 1,64,126 -23.509200 0.240897 -0.444887 -0.108321
yolov10n one2one.scores 1,80,126 -73.195976 0.339771 -0.698820 0.044354
yolov10s one2many.boxes 1,64,126 -21.647559 0.372781 -0.436117 0.967130
yolov10s one2many.scores 1,80,126 -52.987420 0.476312 -0.912236 1.843238
yolov10s one2one.boxes 1,64,126 -23.198561 0.477106 -0.250779 1.083016
yolov10s one2one.scores 1,80,126 -57.815104 0.525931 -0.555992 0.176407
yolo26n one2many.boxes 1,4,126 18.003661 0.608371 0.086978 -6.172532
yolo26n one2many.scores 1,80,126 -185.407657 0.458459 -0.628439 0.026636
yolo26n one2one.boxes 1,4,126 14.553616 0.832193 -0.487321 0.345770
yolo26n one2one.scores 1,80,126 -56.350821 0.256546 -0.230883 0.508729
"""
MODELS = {
    "seg": SegmentationModel,
    "cls": ClassificationModel,
    "pose": PoseModel,
    "obb": OBBModel,
}


def golden_model(name: str) -> BaseModel:
    model = MODELS.get(name.rpartition("-")[2], DetectionModel)(f"{name}.yaml", verbose=False).double().eval()
    golden_weights.fill(model)
    return model


def golden_rows(name: str) -> dict[str, tuple[tuple[int, ...], list[float]]]:
    """Return shape and numbers of each output."""
    rows = (row.split() for row in GOLDEN.strip().splitlines())
    return {row[1]: (tuple(map(int, row[2].split(","))), list(map(float, row[3:]))) for row in rows if row[0] == name}


def outputs(name: str, result: Any) -> dict[str, torch.Tensor]:
    """Return what a network gave, by the names of the table."""
    if name.endswith("-cls"):
        return {"logits": result[1]}
    decoded, raw = result
    found = {"decoded": decoded, **{key: value for key, value in raw.items() if isinstance(value, torch.Tensor)}}
    for branch in ("one2many", "one2one"):
        found |= {f"{branch}.{key}": value for key, value in raw.get(branch, {}).items() if key != "feats"}
    return found


@pytest.fixture(scope="module")
def nano() -> BaseModel:
    return golden_model("yolo11n")


@pytest.mark.parametrize("name", dict.fromkeys(row.split()[0] for row in GOLDEN.strip().splitlines()))
@pytest.mark.parametrize("channels_last", [False, True])
def test_golden_forward(name, channels_last):
    model, image = golden_model(name), golden_weights.image(64, 64 if name.endswith("-cls") else 96)
    if channels_last:
        model, image = model.to(memory_format=torch.channels_last), image.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        found = outputs(name, model(image))
    for output, (shape, numbers) in golden_rows(name).items():
        flat = found[output].flatten()
        got = (flat.sum().item(), flat.abs().mean().item(), flat[0].item(), flat[-1].item())
        assert tuple(found[output].shape) == shape, output
        assert got == pytest.approx(numbers, rel=1e-6, abs=6e-7), output


@pytest.mark.parametrize(
    "name",
    ["yolo11n", "yolo11n-seg", "yolov8n-pose", "yolo11n-obb", "yolov8n-cls", "yolo12l", "yolov10s", "yolo26n"],
)
def test_fusing_changes_no_output(name):
    image = golden_weights.image()
    with torch.inference_mode():
        model = golden_model(name)
        plain = outputs(name, model(image))
        fused = outputs(name, model.fuse()(image))
    assert {key for key in plain if not key.startswith("one2many")} == set(fused)
    for key, value in fused.items():
        scale = max(value.abs().max().item(), 1)
        torch.testing.assert_close(value, plain[key], rtol=1e-9, atol=1e-9 * scale, msg=key)


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
