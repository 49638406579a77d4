"""The backends' common interface, and the PyTorch one."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from yolocore.errors import ConfigError, MissingFileError, UnsupportedError
from yolocore.nn.backends import EXPORT_SUFFIXES, Backend, load_backend
from yolocore.nn.backends.metadata import ArtefactInfo, decode, encode
from yolocore.nn.tasks import DetectionModel


@pytest.fixture(scope="module")
def network() -> DetectionModel:
    torch.manual_seed(0)
    model = DetectionModel("yolo11n.yaml", nc=3, verbose=False)
    model.names = {0: "a", 1: "b", 2: "c"}
    return model.eval()


@pytest.mark.parametrize("channels_last", [None, True, False])
def test_torch_backend_matches_the_network_and_leaves_it_alone(network, channels_last):
    before = {k: v.clone() for k, v in network.state_dict().items()}
    backend = load_backend(network, channels_last=channels_last)
    image = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        expected = network(image)[0]
    torch.testing.assert_close(backend(image), expected, rtol=1e-4, atol=0.01)
    assert backend.model.is_fused()
    assert not network.is_fused()
    assert not backend.model.training
    assert backend.channels_last is (channels_last is not False)
    assert (backend.kind, backend.task, backend.stride, backend.names) == (
        "pytorch",
        "detect",
        32,
        network.names,
    )
    assert (backend.imgsz, backend.dynamic, backend.fixed_batch, backend.fp16) == (None, True, None, False)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_inputs_of_any_layout_and_type(network):
    backend = load_backend(network)
    image = torch.rand(1, 3, 64, 64)
    expected = backend(image)
    for variant in (
        image.double(),
        image.to(memory_format=torch.channels_last),
        image.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2),
        torch.cat([image, image], 1)[:, :3],
    ):
        torch.testing.assert_close(backend(variant), expected, rtol=1e-4, atol=1e-3)
    with pytest.raises(ConfigError, match=r"shape \(3, 64, 64\), expected \(batch"):
        backend(image[0])


def test_warmup_half_and_no_gradients(network):
    backend = load_backend(network, half=True)
    assert backend.fp16 is False  # float16 is for CUDA
    backend.warmup((1, 3, 32, 32))
    assert not backend(torch.rand(1, 3, 32, 32)).requires_grad
    assert not any(p.requires_grad for p in backend.model.parameters())


def test_the_loss_is_not_copied(network):
    network.criterion = network.init_criterion()
    backend = load_backend(network)
    assert backend.model.criterion is None
    assert network.criterion is not None


def test_training_goes_on_after_a_backend_was_made(network):
    """Nothing the backend leaves behind may be an inference tensor."""
    load_backend(network)(torch.rand(1, 3, 32, 32))
    network.train()
    sum(o.sum() for o in network(torch.rand(2, 3, 32, 32)).values() if isinstance(o, torch.Tensor)).backward()
    network.zero_grad()
    network.eval()


def test_any_module_will_do():
    class Bare(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, int]]:
            return x.mean((2, 3)), x.amax((2, 3)), {}

    backend = load_backend(Bare())
    means, peaks = backend(torch.ones(2, 3, 4, 4))
    assert means.shape == peaks.shape == (2, 3)
    assert backend.stride == 32


class Doubling(Backend):
    """Runs on batches of two only."""

    kind = "doubling"

    def __init__(self, outputs: int) -> None:
        super().__init__(torch.device("cpu"), ArtefactInfo())
        self.fixed_batch, self.outputs = 2, outputs

    def forward(self, im: torch.Tensor):
        assert len(im) == 2
        return im * 2 if self.outputs == 1 else (im * 2, im * 3)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_fixed_batch_is_split_and_padded(count):
    image = torch.rand(count, 3, 4, 4)
    assert torch.equal(Doubling(1)(image), image * 2)
    twice, thrice = Doubling(2)(image)
    assert torch.equal(twice, image * 2)
    assert torch.equal(thrice, image * 3)


def test_files_that_are_no_artefacts(tmp_path):
    for suffix in (".onnx", ".torchscript", ".engine"):
        with pytest.raises(MissingFileError, match=f"none{suffix}"):
            load_backend(tmp_path / f"none{suffix}")
    (tmp_path / "x.engine").write_text("")
    with pytest.raises(ConfigError, match=r"x\.engine: no backend.*\.torchscript, \.onnx"):
        load_backend(tmp_path / "x.engine")
    (tmp_path / "x.pt").write_text("")
    with pytest.raises(UnsupportedError, match="checkpoint"):
        load_backend(tmp_path / "x.pt")
    assert EXPORT_SUFFIXES == (".torchscript", ".onnx")


def test_metadata_round_trip_and_foreign_spellings():
    written = {
        "task": "pose",
        "names": {0: "a", 1: "b"},
        "stride": 32,
        "imgsz": [64, 96],
        "batch": 2,
        "kpt_shape": [17, 3],
    }
    for texts in (
        encode(written),
        {k: str(v) for k, v in written.items()},  # Python literals, as other writers put them
        json.loads(json.dumps(written)),
    ):
        info = decode(texts)
        assert (info.task, info.names, info.stride, info.imgsz) == ("pose", {0: "a", 1: "b"}, 32, (64, 96))
        assert (info.batch, info.kpt_shape, info.channels) == (2, (17, 3), 3)
    odd = decode({"names": "__import__('os')", "stride": "-1", "imgsz": "640", "task": "", "batch": "many"})
    assert (odd.task, odd.names, odd.stride, odd.imgsz, odd.batch) == ("detect", {}, 32, (640, 640), 1)
