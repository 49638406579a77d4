"""The arithmetic that deserves a GPU kernel.

``reference`` (boxes), ``rotated``, ``masks`` and ``keypoints`` are the truth, ``dispatch`` picks an implementation.
"""
