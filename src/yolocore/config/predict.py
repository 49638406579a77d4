"""Arguments of prediction and tracking."""

from __future__ import annotations

from typing import Any

from yolocore.config.fields import Arguments, ClassIndices, Indices, arg


class PredictArguments(Arguments):
    """Prediction and tracking."""

    source: Any = arg(
        None,
        "What to look at: a file, folder, glob, list file, URL, stream, webcam number, 'screen', or array.",
        modes="PK",
        bounds="a path, glob, URL, stream, number or image",
        example="images/",
    )
    conf: float | None = arg(
        None,
        "Lowest confidence that is kept; None means 0.25 for predict, 0.1 for track, 0.001 for val.",
        modes="VPKB",
        ge=0,
        le=1,
        example=0.25,
    )
    iou: float | None = arg(
        None,
        "Overlap above which the weaker of two boxes is dropped; None means 0.7, and 0.6 for val.",
        modes="VPKB",
        ge=0,
        le=1,
        example=0.7,
    )
    max_det: int = arg(300, "Most detections kept per image.", modes="VPKE", ge=1)
    classes: ClassIndices | None = arg(
        None,
        "Keep only these class numbers; in training, labels of other classes are dropped.",
        modes="TVPK",
        bounds="numbers from 0 to the number of classes - 1",
        example=[0, 2],
    )
    agnostic_nms: bool = arg(False, "Let boxes of different classes suppress each other.", modes="VPKE")
    augment: bool = arg(
        False, "Look at scaled and mirrored copies too and merge what is found (detect only).", modes="PV"
    )
    retina_masks: bool = arg(False, "Compute masks at the resolution of the image.", modes="PKV")
    embed: Indices | None = arg(
        None, "Return the pooled output of these layers instead of detections.", modes="P", example=[2, 4]
    )
    visualize: bool = arg(False, "Save the feature maps of every stage as images.", modes="P")
    vid_stride: int = arg(1, "Use every n-th frame of a video.", modes="PK", ge=1)
    stream_buffer: bool = arg(
        False, "Live streams: True queues every frame, False looks only at the newest one.", modes="PK"
    )
    stream: bool = arg(False, "Return results one by one from a generator, with constant memory.", modes="PK")
    tracker: str = arg(
        "botsort.yaml",
        "Track: the YAML that chooses and tunes the tracker.",
        modes="K",
        example="bytetrack.yaml",
    )
    persist: bool = arg(False, "Track: keep the identities of the previous call on the same model.", modes="K")
    dnn: bool = arg(False, "Run ONNX files through OpenCV instead of ONNX Runtime.", modes="VPK")
