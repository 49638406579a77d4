"""Heads of every task and family: what they give, how it is decoded, that each n-size network trains."""

from __future__ import annotations

import copy
import logging
import math

import pytest
import torch
from torch import nn

from yolocore.errors import ModelError
from yolocore.nn.backends.torch_backend import TorchBackend
from yolocore.nn.modules import OBB, Classify, Detect, Pose, Segment
from yolocore.nn.tasks import (
    BaseModel,
    ClassificationModel,
    DetectionModel,
    OBBModel,
    PoseModel,
    SegmentationModel,
)

NC, CHANNELS, STRIDES, SIDE = 3, (16, 32), (8.0, 16.0), 32
CELLS = [(x, y, s) for s in (8, 16) for y in range(SIDE // s) for x in range(SIDE // s)]
NANO = {
    "yolo11n": DetectionModel,
    "yolo11n-seg": SegmentationModel,
    "yolo11n-pose": PoseModel,
    "yolo11n-obb": OBBModel,
    "yolo11n-cls": ClassificationModel,
    "yolov8n": DetectionModel,
    "yolov8n-seg": SegmentationModel,
    "yolov8n-pose": PoseModel,
    "yolov8n-obb": OBBModel,
    "yolov8n-cls": ClassificationModel,
    "yolo12n": DetectionModel,
    "yolov10n": DetectionModel,
    "yolo26n": DetectionModel,
    "yolo26n-cls": ClassificationModel,
}


def ready(head: Detect) -> Detect:
    """Return the head in float64, with strides and without the usual first biases, which hide the scores."""
    head.stride.copy_(torch.tensor(STRIDES))
    return head.double()


def features(seed: int = 0, batch: int = 2, **options) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    sizes = [SIDE // int(s) for s in STRIDES]
    shapes = [(batch, c, n, n) for c, n in zip(CHANNELS, sizes, strict=True)]
    return [torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_(**options) for shape in shapes]


def slow_sides(raw: dict[str, torch.Tensor], b: int, a: int) -> list[float]:
    """Return left, top, right, bottom in cells, bin by bin."""
    logits = raw["boxes"][b, :, a].tolist()
    sides = []
    for i in range(4):
        weights = [math.exp(v) for v in logits[16 * i : 16 * i + 16]]
        sides.append(sum(k * w for k, w in enumerate(weights)) / sum(weights))
    return sides


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# ----------------------------------------------------------------------------------------------------------- one by one


@torch.no_grad()
def test_segment():
    torch.manual_seed(0)
    head = ready(Segment(NC, CHANNELS, nm=5, npr=7))
    raw = head.train()(features())
    assert set(raw) == {"boxes", "scores", "feats", "coefficients", "proto"}
    head.eval()
    decoded, raw = head(features())
    assert decoded.shape == (2, 4 + NC + 5, len(CELLS))
    assert raw["proto"].shape == (2, 5, 2 * SIDE // 8, 2 * SIDE // 8)
    assert torch.equal(decoded[:, -5:], raw["coefficients"])
    head.export = True
    exported = head(features())
    assert torch.equal(exported[0], decoded)
    assert torch.equal(exported[1], raw["proto"])


@torch.no_grad()
@pytest.mark.parametrize("shape", [(4, 3), (5, 2)])
def test_pose_is_decoded_point_by_point(shape):
    torch.manual_seed(0)
    head = ready(Pose(NC, CHANNELS, shape)).eval()
    decoded, raw = head(features())
    points, values = shape
    assert decoded.shape == (2, 4 + NC + points * values, len(CELLS))
    for a, (x, y, s) in enumerate(CELLS):
        for k in range(points):
            rows = raw["keypoints"][1, k * values : (k + 1) * values, a].tolist()
            wanted = [(2 * rows[0] + x) * s, (2 * rows[1] + y) * s, *(sigmoid(v) for v in rows[2:])]
            found = decoded[1, 4 + NC + k * values :, a][:values].tolist()
            assert found == pytest.approx(wanted)


@torch.no_grad()
def test_rotated_boxes_are_decoded_corner_by_corner():
    torch.manual_seed(0)
    head = ready(OBB(NC, CHANNELS)).eval()
    decoded, raw = head(features())
    assert decoded.shape == (2, 4 + NC + 1, len(CELLS))
    assert ((raw["angle"] > -math.pi / 4) & (raw["angle"] < 3 * math.pi / 4)).all()
    for a, (x, y, s) in enumerate(CELLS):
        left, top, right, bottom = slow_sides(raw, 0, a)
        angle = raw["angle"][0, 0, a].item()
        along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
        corners = [  # from the location, so far along the box's own axes
            (x + 0.5 + i * along[0] + j * across[0], y + 0.5 + i * along[1] + j * across[1])
            for i in (-left, right)
            for j in (-top, bottom)
        ]
        centre = [sum(c[axis] for c in corners) / 4 * s for axis in (0, 1)]
        wanted = [*centre, (left + right) * s, (top + bottom) * s]
        assert decoded[0, :4, a].tolist() == pytest.approx(wanted)
        assert decoded[0, -1, a].item() == angle


@torch.no_grad()
def test_classify():
    torch.manual_seed(0)
    head = Classify(8, NC)
    maps = [torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)]
    head.train().conv.eval()
    logits = head(maps)
    head.eval()
    probabilities, same = head(torch.cat(maps, 1))
    torch.testing.assert_close(same, logits)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    torch.testing.assert_close(probabilities[0, 1] / probabilities[0, 0], (logits[0, 1] - logits[0, 0]).exp())
    head.export = True
    assert torch.equal(head(maps), probabilities)


def test_dropout_of_the_classifier_works_in_training():
    head = Classify(8, NC).train()
    head.drop.p = 1.0
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(head(x), head.linear.bias.expand(2, NC))
    head.eval()
    assert not torch.equal(head(x)[1], head.linear.bias.expand(2, NC))


# ------------------------------------------------------------------------------------------------------ without suppression


@torch.no_grad()
@pytest.mark.parametrize(("nc", "limit"), [(NC, 7), (NC, 20), (NC, 300), (1, 300), (1, 6)])
def test_end_to_end_detections_are_the_best_scores(nc, limit):
    torch.manual_seed(0)
    head = ready(Detect(nc, CHANNELS, reg_max=1, end2end=True)).eval()
    head.max_det = limit
    for branch in head.one2one_cv3:
        nn.init.normal_(branch[-1].weight, std=3)
    found, raw = head(features())
    boxes = raw["one2one"]["boxes"]
    for b in range(2):
        everything = []
        for a, (x, y, s) in enumerate(CELLS):
            left, top, right, bottom = boxes[b, :, a].tolist()
            corners = [(x + 0.5 - left) * s, (y + 0.5 - top) * s, (x + 0.5 + right) * s, (y + 0.5 + bottom) * s]
            everything += [[*corners, sigmoid(raw["one2one"]["scores"][b, c, a].item()), float(c)] for c in range(nc)]
        everything.sort(key=lambda row: -row[4])
        wanted = torch.tensor(everything[:limit], dtype=torch.float64)
        torch.testing.assert_close(found[b], wanted)
    head.export = True
    assert torch.equal(head(features()), found)


def test_the_predicting_branch_does_not_train_the_layers_before_it():
    head = ready(Detect(NC, CHANNELS, end2end=True)).train()
    maps = features(requires_grad=True)
    raw = head(maps)
    (raw["one2one"]["boxes"].sum() + raw["one2one"]["scores"].sum()).backward()
    assert all(f.grad is None for f in maps)
    assert head.one2one_cv2[0][0].conv.weight.grad.abs().sum() > 0
    assert head.cv2[0][0].conv.weight.grad is None
    raw["one2many"]["scores"].sum().backward()
    assert all(f.grad.abs().sum() > 0 for f in maps)


def test_a_fused_end_to_end_head_keeps_the_predicting_branch():
    torch.manual_seed(0)
    head = ready(Detect(NC, CHANNELS, end2end=True)).eval()
    before = head(features())[0]
    head.fuse()
    head.fuse()
    after, raw = head(features())
    assert torch.equal(after, before)
    assert set(raw) == {"one2one", "feats"}
    assert not any(key.startswith(("cv2", "cv3")) for key in head.state_dict())
    with pytest.raises(ModelError, match="no one-to-many branch"):
        head.raw(features())


# ------------------------------------------------------------------------------------------------------------- networks


def batch_for(task: str, side: int = 64) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, side, side, generator=g)
    if task == "classify":
        return {"img": image, "cls": torch.tensor([1, 3])}
    boxes = torch.tensor([[0.5, 0.5, 0.6, 0.6], [0.4, 0.6, 0.5, 0.3]])
    batch = {"img": image, "cls": torch.tensor([[1.0], [3.0]]), "bboxes": boxes, "batch_idx": torch.tensor([0.0, 1.0])}
    if task == "segment":
        masks = torch.zeros(2, side // 4, side // 4, dtype=torch.uint8)
        masks[:, 4:12, 4:12] = 1
        return {**batch, "masks": masks}
    if task == "pose":
        keypoints = torch.rand(2, 17, 3, generator=g)
        keypoints[..., 2] = (keypoints[..., 2] * 3).floor()
        return {**batch, "keypoints": keypoints}
    if task == "obb":
        return {**batch, "bboxes": torch.cat((boxes, torch.tensor([[0.3], [-0.5]])), 1)}
    return batch


@pytest.mark.parametrize("name", NANO)
def test_forward_train_step_and_fuse_of_every_nano_network(name):
    torch.manual_seed(0)
    model: BaseModel = NANO[name](f"{name}.yaml", nc=5, verbose=False)
    batch = batch_for(model.task)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    before = copy.deepcopy(model.state_dict())
    loss, items = model.train()(batch)
    assert len(items) == len(model.criterion.names)
    assert torch.isfinite(items).all()
    loss.sum().backward()
    unmoved = {key for key, p in model.named_parameters() if p.grad is None}
    assert all(key.endswith("dfl.conv.weight") for key in unmoved)
    optimizer.step()
    changed = [key for key, p in model.named_parameters() if not torch.equal(p, before[key])]
    assert len(changed) > 0.8 * (len(before) - len(unmoved)) / 3

    model.eval()
    with torch.inference_mode():
        plain, _ = model(batch["img"])
        assert torch.isfinite(model.loss(batch)[1]).all()
        fused, _ = model.fuse()(batch["img"])
    assert plain.shape == fused.shape == expected_shape(model)
    if not model.end2end:  # equal scores may change places there
        torch.testing.assert_close(fused, plain, rtol=1e-3, atol=2e-3)


def expected_shape(model: BaseModel) -> tuple[int, ...]:
    extras = {"detect": 0, "segment": 32, "pose": 51, "obb": 1}
    if model.task == "classify":
        return 2, 5
    return (2, 300, 6) if model.end2end else (2, 4 + 5 + extras[model.task], 64 + 16 + 4)


@pytest.mark.parametrize("name", ["yolo11n-seg", "yolo11n-pose", "yolov8n-obb", "yolov8n-cls", "yolo26n"])
def test_loading_maps_classes_by_their_names_for_every_head(name):
    model, other = (NANO[name](f"{name}.yaml", nc=nc, verbose=False) for nc in (3, 4))
    with torch.no_grad():
        for key in other.head.class_tensors():
            nn.init.normal_(other.head.get_parameter(key))
    model.names = {0: "cat", 1: "dog", 2: "emu"}
    own = {key: model.head.get_parameter(key).clone() for key in model.head.class_tensors()}
    matched, total = model.load(other, {0: "dog", 1: "owl", 2: "fox", 3: "cat"})
    assert matched == total
    assert own
    for key, mine in own.items():
        now, theirs = model.head.get_parameter(key), other.head.get_parameter(key)
        assert torch.equal(now, torch.stack((theirs[3], theirs[0], mine[2])))


def test_keypoints_of_the_data_replace_those_of_the_file(caplog):
    with caplog.at_level(logging.INFO):
        model = PoseModel("yolov8n-pose.yaml", verbose=False, kpt_shape=(6, 2))
    assert "(6, 2) instead of the model file's [17, 3]" in caplog.text
    assert model.kpt_shape == model.head.kpt_shape == (6, 2)
    assert model.yaml["kpt_shape"] == [6, 2]
    assert model.head.cv4[0][-1].out_channels == 12


def test_every_class_has_a_network_of_its_own():
    for kind in (SegmentationModel, PoseModel, OBBModel, ClassificationModel):
        with torch.device("meta"):
            model = kind(verbose=False)
        assert model.task == model.head.task == kind.task
        assert not model.end2end


# -------------------------------------------------------------------------------------------------------------- exports


def exportable(name: str) -> tuple[BaseModel, torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return a network as it is exported, an image, and what it gives."""
    torch.manual_seed(0)
    model = NANO[name](f"{name}.yaml", nc=4, verbose=False).eval().fuse()
    model.head.export = True
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        return model, image, as_tuple(model(image))


def as_tuple(value: object) -> tuple[torch.Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


EXPORTED = ["yolo11n-seg", "yolo11n-pose", "yolov8n-obb", "yolo11n-cls", "yolo12n", "yolov10n", "yolo26n"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", EXPORTED)
def test_tracing_of_every_head(name):
    model, image, wanted = exportable(name)
    assert len(wanted) == (2 if name.endswith("-seg") else 1)
    with torch.no_grad():
        traced = torch.jit.trace(model, image)
        torch.testing.assert_close(as_tuple(traced(image)), wanted)


@pytest.mark.parametrize("name", EXPORTED)
def test_export_programs_of_every_head(name):
    model, image, wanted = exportable(name)
    with torch.no_grad():
        program = torch.export.export(model, (image,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)).module()
        found = as_tuple(program(torch.cat((image, image))))
    for output, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(output[:2], expected)


@pytest.mark.parametrize("name", ["yolo11n-seg", "yolo11n-cls", "yolo26n"])
def test_the_torch_backend_gives_what_an_export_gives(name):
    torch.manual_seed(0)
    model = NANO[name](f"{name}.yaml", nc=4, verbose=False)
    image = torch.rand(1, 3, 64, 64)
    found = as_tuple(TorchBackend(model, torch.device("cpu"), channels_last=False)(image))
    assert not model.head.export
    model.eval().fuse()
    model.head.export = True
    with torch.no_grad():
        torch.testing.assert_close(found, as_tuple(model(image)))
