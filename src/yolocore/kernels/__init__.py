"""The arithmetic that deserves a GPU kernel: ``reference`` is the truth, ``dispatch`` picks an implementation."""
