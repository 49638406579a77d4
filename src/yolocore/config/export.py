"""Arguments of export."""

from __future__ import annotations

from yolocore.config.fields import Arguments, Precision, arg


class ExportArguments(Arguments):
    """Export."""

    format: str = arg(
        "torchscript",
        "Kind of file to write, such as torchscript or onnx; plugins bring more.",
        modes="EB",
        example="onnx",
    )
    keras: bool = arg(False, "SavedModel: write a Keras model beside it.", modes="E")
    optimize: bool = arg(False, "TorchScript: optimise for mobile processors (CPU only).", modes="E")
    int8: bool = arg(False, "Quantise to 8-bit integers, calibrated on images of data.", modes="E")
    quantize: Precision = arg(
        None,
        "Precision in one argument: 8, 16 or 32 bits, or 'int8', 'fp16', 'fp32'; sets half and int8.",
        modes="EVP",
        bounds="8, 16, 32, 'int8', 'fp16' or 'fp32'",
        example=16,
    )
    dynamic: bool = arg(False, "Let batch, height and width of the exported model vary.", modes="E")
    simplify: bool = arg(True, "ONNX: simplify the graph.", modes="E")
    opset: int | None = arg(
        None,
        "ONNX operator set; None takes the newest that exporter and runtime support.",
        modes="E",
        ge=1,
        example=17,
    )
    workspace: float | None = arg(4.0, "TensorRT: workspace in GiB; None leaves it to the library.", modes="E", gt=0)
    nms: bool = arg(False, "Put non-maximum suppression into the exported model.", modes="E")
