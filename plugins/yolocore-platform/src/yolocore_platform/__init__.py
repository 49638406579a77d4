"""Sends trainings to a platform-compatible address of yours; experimental.

``plugin`` is what yolocore loads, ``client`` knows the two calls, ``facts`` turns a trainer into what is sent.
"""

__version__ = "0.1.0"
