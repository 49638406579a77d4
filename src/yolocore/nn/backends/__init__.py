"""Runtimes that execute a trained network, each behind the same small interface."""

from yolocore.nn.backends.base import Backend
from yolocore.nn.backends.dnn import dnn_devices
from yolocore.nn.backends.loading import EXPORT_SUFFIXES, load_backend, not_for_dnn
from yolocore.nn.backends.onnx_file import read_header

__all__ = ["EXPORT_SUFFIXES", "Backend", "dnn_devices", "load_backend", "not_for_dnn", "read_header"]
