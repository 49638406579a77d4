"""Records yolocore trainings in ClearML, on its server or, without one, into a session to import later."""

__version__ = "0.1.0"
