"""Layers. Each states itself, by ``from_yaml``, how it is built from a row of a model file."""

from yolocore.nn.modules.base import Row, ScaledLayer
from yolocore.nn.modules.block import C2PSA, C3, DFL, SPPF, Attention, Bottleneck, C2f, C3k, C3k2, PSABlock
from yolocore.nn.modules.conv import Concat, Conv, DWConv, Identity, MaxPool2d, Upsample
from yolocore.nn.modules.head import Detect

__all__ = [
    "C2PSA",
    "C3",
    "DFL",
    "SPPF",
    "Attention",
    "Bottleneck",
    "C2f",
    "C3k",
    "C3k2",
    "Concat",
    "Conv",
    "DWConv",
    "Detect",
    "Identity",
    "MaxPool2d",
    "PSABlock",
    "Row",
    "ScaledLayer",
    "Upsample",
]
