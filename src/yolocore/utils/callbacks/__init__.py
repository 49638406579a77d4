"""Documented path of the default callbacks; they live in ``yolocore.hooks``."""

from yolocore.utils.callbacks.base import add_integration_callbacks, get_default_callbacks

__all__ = ["add_integration_callbacks", "get_default_callbacks"]
