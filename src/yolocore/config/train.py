"""Arguments of training: length, optimisation, loss gains."""

from __future__ import annotations

from typing import Literal

from yolocore.config.fields import Arguments, Fraction, Freeze, PathText, Period, Share, arg


class TrainArguments(Arguments):
    """Training."""

    epochs: int = arg(100, "Passes over the training images.", modes="T", ge=1)
    time: float | None = arg(
        None,
        "Wall-clock budget in hours; it replaces epochs, and the schedule is fitted to it.",
        modes="T",
        gt=0,
        example=1.5,
    )
    patience: int = arg(
        100, "Stop after this many epochs without a better fitness; 0 never stops early.", modes="T", ge=0
    )
    save_period: Period = arg(
        -1,
        "Keep an extra checkpoint every so many epochs; -1 keeps only the last and the best.",
        modes="T",
        bounds="-1 or >= 1",
    )
    cache: bool | Literal["ram", "disk"] = arg(
        False,
        "Keep decoded, resized images in memory (True or 'ram') or in the user cache directory ('disk').",
        modes="TV",
    )
    pretrained: bool | PathText = arg(
        True,
        "True keeps the model's weights, False starts from random ones, a path loads what fits from there.",
        modes="T",
    )
    optimizer: str = arg(
        "auto",
        "Optimizer by name, in any case; 'auto' chooses by the length of the run. Plugins may add some.",
        modes="T",
        bounds="auto, SGD, Adam, Adamax, AdamW, NAdam, RAdam, RMSProp, or a plugin's optimizer",
    )
    seed: int = arg(0, "Seed of every random generator.", modes="T", ge=0)
    deterministic: bool = arg(True, "Use deterministic kernels where there are any.", modes="T")
    single_cls: bool = arg(False, "Treat all classes as one.", modes="TV")
    rect: bool = arg(
        False,
        "Group images of similar shape into batches with little padding; in training, no shuffling and no mosaic then.",
        modes="TV",
    )
    cos_lr: bool = arg(False, "Let the learning rate follow a cosine instead of a straight line.", modes="T")
    close_mosaic: int = arg(
        10,
        "Train the last so many epochs without mosaic, mixup and copy-paste; 0 keeps them to the end.",
        modes="T",
        ge=0,
    )
    resume: bool | PathText = arg(
        False, "Continue an interrupted run: the path of its last.pt, or True for the newest one.", modes="T"
    )
    amp: bool | Literal["bf16"] = arg(
        True,
        "Mixed precision on CUDA: True for float16, 'bf16' for bfloat16; checked once before use.",
        modes="T",
    )
    fraction: Fraction = arg(
        1.0,
        "Share of the training images to use, or their number as an integer above 1, or one such value "
        "per split. For INT8 export: share of the calibration images.",
        modes="TE",
        bounds="above 0 and at most 1, or an integer above 1, or a list of these",
        example=0.5,
    )
    profile: bool = arg(False, "Measure ONNX and TensorRT speed once, for the experiment trackers.", modes="T")
    freeze: Freeze = arg(
        None,
        "Layers that do not learn: a number freezes the first N, a list these indices or name prefixes.",
        modes="T",
        bounds=">= 0, or a list of indices and name prefixes",
        example=10,
    )
    lr0: float = arg(0.01, "Learning rate at the start; typically 0.01 for SGD and 0.001 for Adam.", modes="T", gt=0)
    lrf: float = arg(0.01, "Learning rate at the end, as a share of lr0.", modes="T", gt=0, le=1)
    momentum: float = arg(0.937, "Momentum of SGD; first beta of the Adam family.", modes="T", ge=0, lt=1)
    weight_decay: float = arg(0.0005, "L2 penalty on the weights of convolutions and linear layers.", modes="T", ge=0)
    warmup_epochs: float = arg(3.0, "Length of the warm-up in epochs; fractions count.", modes="T", ge=0)
    warmup_momentum: float = arg(0.8, "Momentum at the first step of the warm-up.", modes="T", ge=0, le=1)
    warmup_bias_lr: float = arg(0.1, "Learning rate of the biases at the first step of the warm-up.", modes="T", ge=0)
    box: float = arg(7.5, "Weight of the box loss.", modes="T", ge=0)
    cls: float = arg(0.5, "Weight of the classification loss.", modes="T", ge=0)
    dfl: float = arg(1.5, "Weight of the distribution focal loss, which places box edges.", modes="T", ge=0)
    pose: float = arg(12.0, "Weight of the keypoint position loss.", modes="T", ge=0)
    kobj: float = arg(2.0, "Weight of the keypoint visibility loss.", modes="T", ge=0)
    angle: float = arg(0.0, "Weight of an extra angle loss for rotated boxes.", modes="T", ge=0)
    label_smoothing: float = arg(
        0.0, "How far class targets are moved from one-hot towards uniform.", modes="T", ge=0, lt=1
    )
    cls_pw: float = arg(
        0.0, "Exponent of inverse-frequency class weights; 0 weighs every class alike.", modes="T", ge=0, le=1
    )
    cls_remap: bool = arg(
        True, "When fine-tuning on other classes, copy the class weights whose names agree.", modes="T"
    )
    nbs: int = arg(
        64,
        "Nominal batch: gradients of smaller batches accumulate until about this many images.",
        modes="T",
        ge=1,
    )
    overlap_mask: bool = arg(
        True,
        "Segmentation: store the masks of an image as one index map instead of one map per object.",
        modes="TV",
    )
    mask_ratio: int = arg(4, "Segmentation: how much smaller than the input the training masks are.", modes="TV", ge=1)
    dropout: float = arg(0.0, "Classification: dropout before the last layer.", modes="T", ge=0, lt=1)
    val: bool = arg(True, "Validate after every epoch; False validates only after the last.", modes="T")
    multi_scale: Share = arg(
        0.0,
        "Vary the input size of every batch by up to this share of imgsz; True means 0.5.",
        modes="T",
        bounds="0 to 1",
    )
    compile: bool | Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = arg(
        False, "Compile the network with torch.compile; a string selects its mode.", modes="TVP"
    )
