"""Runs an ``.onnx`` file with OpenCV's DNN module, which every installation has."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import torch

from yolocore.errors import ConfigError, UnsupportedError
from yolocore.nn.backends.base import Output, as_output
from yolocore.nn.backends.onnx_file import OnnxFileBackend

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class DnnBackend(OnnxFileBackend):
    """A network in OpenCV.

    One batch is computed at a time, as the network keeps its input: threads that share it wait for each other, while
    OpenCV uses the cores itself.

    Args:
        path: The file.
        device: ``cpu``; ``cuda`` where OpenCV was built with CUDA, which then computes on the first GPU.
        half: Ignored: the file itself fixes the precision.

    Raises:
        MissingFileError: There is no such file.
        CheckpointError: It is not an ONNX file.
        ConfigError: This OpenCV cannot compute on the device.
        UnsupportedError: This OpenCV cannot execute the network.
    """

    kind: ClassVar[str] = "dnn"

    def __init__(
        self,
        path: str | Path,
        device: torch.device,
        *,
        half: bool = False,  # noqa: ARG002  (same signature as the other backends)
    ) -> None:
        super().__init__(path, device)
        self._lock = threading.Lock()
        self.net = self._read()

    def forward(self, im: torch.Tensor) -> Output:
        """Run the network on (B, C, H, W)."""
        image = im.detach().to("cpu", torch.float32).contiguous().numpy()
        with self._lock:
            try:
                self.net.setInput(image)
                arrays = [array.copy() for array in self.net.forward(self.outputs)]  # the net may reuse its own
            except cv2.error as error:
                raise self._refused(error) from error
        return as_output(tuple(torch.from_numpy(array).to(self.device) for array in arrays))

    def _read(self) -> Any:
        """Return the network, on the device.

        OpenCV 5 has two engines: the newer one reads more networks, only the classic one computes on a GPU.
        """
        gpu = self.device.type == "cuda"
        if self.device.type not in dnn_devices():
            raise ConfigError(
                f"dnn=True, device={str(self.device)!r}: OpenCV {cv2.__version__} computes on"
                f" {', '.join(dnn_devices())} here; pass device='cpu', or leave dnn out"
            )
        engine = {"engine": cv2.dnn.ENGINE_CLASSIC} if gpu and hasattr(cv2.dnn, "ENGINE_CLASSIC") else {}
        try:
            net = cv2.dnn.readNetFromONNX(str(self.path), **engine)
        except cv2.error as error:
            raise self._refused(error) from error
        if gpu:
            net.setPreferableBackend(cv2.dnn.DNN_BACKEND_CUDA)
            net.setPreferableTarget(cv2.dnn.DNN_TARGET_CUDA)
        return net

    def _refused(self, error: cv2.error) -> UnsupportedError:
        reason = " ".join(str(error.err if hasattr(error, "err") else error).split())
        return UnsupportedError(
            f"{self.path}: OpenCV {cv2.__version__} cannot run this network ({reason[:300]}); export it with"
            " format='onnx', dynamic=False and simplify=True, take a newer OpenCV, or leave dnn out (ONNX Runtime)"
        )


def dnn_devices() -> tuple[str, ...]:
    """Return the kinds of devices that OpenCV's DNN module computes on: ``cpu``, and ``cuda`` in some builds."""
    gpu: Iterable[int] = cv2.dnn.getAvailableTargets(cv2.dnn.DNN_BACKEND_CUDA)
    return ("cpu", "cuda") if cv2.dnn.DNN_TARGET_CUDA in gpu else ("cpu",)
