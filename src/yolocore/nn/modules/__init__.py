"""Layers. Each states itself, by ``from_yaml``, how it is built from a row of a model file."""

from yolocore.nn.modules.area import A2C2f, AAttn, ABlock
from yolocore.nn.modules.base import Row, ScaledLayer
from yolocore.nn.modules.block import C2PSA, C3, DFL, SPPF, Attention, Bottleneck, C2f, C3k, C3k2, Proto, PSABlock
from yolocore.nn.modules.compact import CIB, PSA, C2fCIB, RepVGGDW, SCDown
from yolocore.nn.modules.conv import Concat, Conv, DWConv, Identity, MaxPool2d, Upsample
from yolocore.nn.modules.head import Detect, V10Detect
from yolocore.nn.modules.task_heads import OBB, Classify, Pose, Segment

__all__ = [
    "C2PSA",
    "C3",
    "CIB",
    "DFL",
    "OBB",
    "PSA",
    "SPPF",
    "A2C2f",
    "AAttn",
    "ABlock",
    "Attention",
    "Bottleneck",
    "C2f",
    "C2fCIB",
    "C3k",
    "C3k2",
    "Classify",
    "Concat",
    "Conv",
    "DWConv",
    "Detect",
    "Identity",
    "MaxPool2d",
    "PSABlock",
    "Pose",
    "Proto",
    "RepVGGDW",
    "Row",
    "SCDown",
    "ScaledLayer",
    "Segment",
    "Upsample",
    "V10Detect",
]
