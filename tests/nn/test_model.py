"""What a network does beside its numbers: modes, loading, fusing, loss replacement, memory format, export."""

from __future__ import annotations

import copy
import io
import logging

import pytest
import torch
from torch import nn

from yolocore.errors import ModelError
from yolocore.nn.losses import DetectionLoss
from yolocore.nn.modules import Conv
from yolocore.nn.tasks import BaseModel, DetectionModel


@pytest.fixture(scope="module")
def built() -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel("yolo11n.yaml", nc=4, verbose=False)


@pytest.fixture
def model(built) -> DetectionModel:
    return copy.deepcopy(built)


def locations(height: int, width: int) -> int:
    return sum((height // s) * (width // s) for s in (8, 16, 32))


def batch_of(image: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "img": image,
        "cls": torch.tensor([[1.0], [3.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.6, 0.6], [0.4, 0.6, 0.5, 0.3]]),
        "batch_idx": torch.tensor([0.0, 1.0]),
    }


@pytest.fixture
def square() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_training_gives_raw_outputs_and_evaluation_both(model, square):
    count = locations(64, 64)
    raw = model.train()(square)
    assert raw["boxes"].shape == (2, 64, count)
    assert raw["scores"].shape == (2, 4, count)
    assert [tuple(f.shape) for f in raw["feats"]] == [(2, 64, 8, 8), (2, 128, 4, 4), (2, 256, 2, 2)]
    decoded, raw = model.eval()(square)
    assert decoded.shape == (2, 8, count)
    assert ((decoded[:, 4:] >= 0) & (decoded[:, 4:] <= 1)).all()
    model.head.export = True
    assert torch.equal(model(square), decoded)


def test_names_and_number_of_classes(model, caplog):
    assert model.names == {0: "0", 1: "1", 2: "2", 3: "3"}
    assert model.nc == model.head.nc == model.yaml["nc"] == 4
    with caplog.at_level(logging.INFO):
        DetectionModel("yolo11n.yaml", nc=7)
    assert "7 instead of the model file's 80" in caplog.text
    assert "GFLOPs" in caplog.text


def test_a_batch_gives_the_loss(model, square):
    loss, items = model.train()(batch_of(square))
    assert loss.shape == items.shape == (3,)
    torch.testing.assert_close(loss.detach(), items * 2)
    loss.sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == ["model.23.dfl.conv.weight"]


def test_loss_of_predictions_that_are_there_already(model, square):
    model.eval()
    preds = model(square)
    batch = batch_of(square)
    torch.testing.assert_close(model.loss(batch, preds)[1], model.loss(batch)[1])


def test_a_loss_of_ones_own(square):
    class OwnLoss(DetectionLoss):
        def __call__(self, preds, batch):
            total = preds["boxes"].square().mean()
            return total[None], total.detach()[None]

    class OwnModel(DetectionModel):
        made = 0

        def init_criterion(self):
            self.made += 1
            return OwnLoss(self)

    model = OwnModel("yolo11n.yaml", nc=4, verbose=False)
    for _ in range(2):
        loss, _ = model(batch_of(square))
        loss.sum().backward()
    assert model.made == 1
    assert isinstance(model.criterion, OwnLoss)


def test_a_model_that_cannot_be_trained_says_so():
    model = BaseModel("yolo11n.yaml", verbose=False)
    with pytest.raises(NotImplementedError, match="init_criterion"):
        model.loss({"img": torch.zeros(1, 3, 32, 32)})


# ----------------------------------------------------------------------------------------------------------------- weights


def test_fusing_changes_nothing_but_the_number_of_tensors(model, square):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    with torch.no_grad():
        before = model.eval()(square)[0]
        after = model.fuse()(square)[0]
        torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
        state = copy.deepcopy(model.state_dict())
        model.fuse()
    assert state.keys() == model.state_dict().keys()
    torch.testing.assert_close(copy.deepcopy(model)(square)[0], after)


def test_fusing_keeps_the_memory_format(model, square):
    model = model.to(memory_format=torch.channels_last).eval().fuse()
    assert model.model[1].conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_layer_that_fuses_itself(square):
    class Pair(nn.Module):
        def __init__(self, c):
            super().__init__()
            self.a, self.b = nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 1)

        @classmethod
        def from_yaml(cls, channels_in, args, row):
            return cls(channels_in[0]), channels_in[0]

        def forward(self, x):
            return self.a(x) + (self.b(x) if self.b is not None else 0)

        def fuse(self):
            if self.b is not None:
                self.a.weight.data += self.b.weight.data
                self.a.bias.data += self.b.bias.data
                self.b = None

    from yolocore.nn.parse import LAYERS

    rows = [[-1, 1, "Conv", [16, 3, 8]], [-1, 1, "Pair", []]]
    description = {"nc": 2, "backbone": rows, "head": [[[1], 1, "Detect", ["nc"]]]}
    model = DetectionModel(description, verbose=False, registry={**LAYERS, "Pair": Pair}).eval()
    with torch.no_grad():
        before = model(square)[0]
        torch.testing.assert_close(model.fuse()(square)[0], before, rtol=1e-4, atol=1e-4)
    assert model.model[1].b is None


def test_loading_copies_what_fits(model, caplog):
    other = DetectionModel("yolo11n.yaml", nc=9, verbose=False)
    with caplog.at_level(logging.INFO):
        matched, total = model.load(other)
    assert total == 499
    assert matched == 499 - 6  # the last class convolutions
    assert "493 of 499" in caplog.text
    assert torch.equal(model.model[5].conv.weight, other.model[5].conv.weight)
    assert model.load(other.state_dict())[0] == matched
    assert model.load({"nothing": torch.zeros(1)})[0] == 0


@pytest.mark.parametrize("nc", [4, 9])
def test_loading_maps_classes_by_their_names(model, nc):
    other = DetectionModel("yolo11n.yaml", nc=nc, verbose=False)
    with torch.no_grad():
        for branch in other.head.cv3:
            branch[-1].weight.normal_()
            branch[-1].bias.normal_()
    model.names = {0: "cat", 1: "dog", 2: "emu", 3: "fox"}
    names = {i: f"other{i}" for i in range(nc)} | {2: "dog", 3: "cat"}
    own = model.head.cv3[0][-1].weight.clone()
    matched, _ = model.load(other, names)
    assert matched == 499
    weight, theirs = model.head.cv3[0][-1].weight, other.head.cv3[0][-1].weight
    assert torch.equal(weight[0], theirs[3])
    assert torch.equal(weight[1], theirs[2])
    assert torch.equal(weight[2:], own[2:])
    assert torch.equal(model.head.cv3[2][-1].bias[0], other.head.cv3[2][-1].bias[3])


def test_equal_names_are_copied_row_by_row(model):
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.head.cv3[0][-1].weight.normal_()
    model.load(other, dict(model.names))
    assert torch.equal(model.head.cv3[0][-1].weight, other.head.cv3[0][-1].weight)


# ------------------------------------------------------------------------------------------------------------------- facts


def test_info(model, caplog):
    with caplog.at_level(logging.INFO):
        layers, parameters, gradients, gflops = model.info(detailed=True, imgsz=(64, 128))
    assert layers > 100
    assert parameters == gradients + 16
    assert gflops == pytest.approx(model.info(verbose=False, imgsz=64)[3] * 2, rel=0.01)
    assert len(caplog.records) == 25
    assert "C2PSA" in caplog.text


def test_embedding(model, square):
    model.eval()
    assert model.embed(square).shape == (2, 256)
    both = model.embed(square, [2, 4])
    assert both.shape == (2, 64 + 128)
    torch.testing.assert_close(both[:, :64], model.model[2](model.model[1](model.model[0](square))).mean((2, 3)))
    torch.testing.assert_close(model.embed(square, [-2]), model.embed(square))
    for wrong in ([23], [99], []):
        with pytest.raises(ModelError, match="0 to 22"):
            model.embed(square, wrong)


# -------------------------------------------------------------------------------------------------- formats and environments


@pytest.mark.parametrize("training", [True, False])
def test_channels_last_is_kept_by_every_layer(model, square, training):
    strides = []

    def note(module, args, out):
        if isinstance(out, torch.Tensor) and out.ndim == 4 and not out.is_contiguous(memory_format=torch.channels_last):
            strides.append((module, out.stride()))

    model = model.to(memory_format=torch.channels_last).train(training)
    for module in model.modules():
        module.register_forward_hook(note)
    model(square.to(memory_format=torch.channels_last))
    assert not strides


@pytest.mark.parametrize("training", [True, False])
def test_memory_format_does_not_change_the_loss(model, square, training):
    model.train(training)
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)
    plain = model(batch_of(square))[1]
    torch.testing.assert_close(
        other(batch_of(square.to(memory_format=torch.channels_last)))[1], plain, rtol=1e-3, atol=1e-4
    )


def test_prediction_in_inference_mode_leaves_training_possible(model, square):
    model.eval()
    with torch.inference_mode():
        model(square)
        model.loss(batch_of(square))
    decoded, _ = model(square.requires_grad_())
    decoded[:, :4].sum().backward()
    model(batch_of(square))[0].sum().backward()


def test_another_image_size_gets_other_locations(model, square):
    model.eval()
    with torch.no_grad():
        first = model(square)[0]
        assert model(square[..., :32])[0].shape[-1] == locations(64, 32)
        assert torch.equal(model(square)[0], first)


def test_half_precision_boxes_are_decoded_in_float32(model, square):
    model = model.to(torch.bfloat16).eval()
    decoded, raw = model(square.bfloat16())
    assert raw["boxes"].dtype == torch.bfloat16
    assert decoded.dtype == torch.float32


def test_copy_and_saving_of_a_model_in_use(model, square):
    model(batch_of(square))
    model.eval()(square)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(square)[0], model(square)[0])
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file, weights_only=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_tracing(model, square):
    model.eval().fuse()
    model.head.export = True
    with torch.no_grad():
        traced = torch.jit.trace(model, square)
        torch.testing.assert_close(traced(square), model(square))


def test_export_program_has_no_data_dependence(model, square):
    model.eval().fuse()
    model.head.export = True
    with torch.no_grad():
        program = torch.export.export(model, (square,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
        torch.testing.assert_close(program.module()(square), model(square))


def test_activation_of_a_given_module_is_used():
    assert isinstance(Conv(3, 4, act=nn.ReLU()).act, nn.ReLU)
    assert isinstance(Conv(3, 4, act=False).act, nn.Identity)
    assert Conv(3, 4, 3, d=2)(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 8, 8)
