"""Runs an ``.onnx`` file with ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from yolocore.errors import CheckpointError
from yolocore.nn.backends.base import Output, as_output, missing_runtime
from yolocore.nn.backends.onnx_file import OnnxFileBackend

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class OnnxBackend(OnnxFileBackend):
    """A network in ONNX Runtime.

    Args:
        path: The file.
        device: ``cuda`` takes the CUDA provider when this runtime has it, else the CPU computes.
        half: Ignored: the file itself fixes the precision.
        providers: Execution providers by name, overriding the choice.
        threads: Threads inside an operator; None leaves it to the runtime.

    Raises:
        MissingFileError: There is no such file.
        UnsupportedError: ONNX Runtime is not installed.
        CheckpointError: It is not an ONNX file, or one this runtime cannot execute.
    """

    kind: ClassVar[str] = "onnx"

    def __init__(
        self,
        path: str | Path,
        device: torch.device,
        *,
        half: bool = False,  # noqa: ARG002  (same signature as the other backends)
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__(path, device)
        self.session = _session(self.path, device, providers, threads)
        source = self.session.get_inputs()[0]
        self._input = source.name
        self.fp16 = source.type == "tensor(float16)"

    def forward(self, im: torch.Tensor) -> Output:
        """Run the network on (B, C, H, W)."""
        image = im.detach().to("cpu", torch.float16 if self.fp16 else torch.float32).contiguous().numpy()
        arrays = self.session.run(self.outputs, {self._input: image})
        return as_output(tuple(torch.from_numpy(array).to(self.device) for array in arrays))


def _session(path: Path, device: torch.device, providers: Sequence[str] | None, threads: int | None) -> Any:
    try:
        import onnxruntime  # optional, brings a runtime of 50 MB
    except ImportError as error:
        raise missing_runtime("onnxruntime", path, ", or run it with OpenCV: dnn=True") from error
    if providers is None:
        wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
        available = onnxruntime.get_available_providers()
        providers = [p for p in (*wanted, "CPUExecutionProvider") if p in available]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only; they arrive as exceptions too
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # its exceptions share no base class of their own
        raise CheckpointError(f"{path}: ONNX Runtime cannot open it ({str(error)[:300]})") from error
