"""What experiment trackers for yolocore share.

``facts``: what a trainer says about itself, under the documented names and steps. ``figures``: which picture is new.
``interpolate``: curves at a fixed number of points. ``network``: probes, time limits and a queue, so that no service
can hold up a training. There is no SDK and no entry point here.
"""

__version__ = "0.1.0"
