"""Records trainings on a HUB-compatible server at an address of yours.

``plugin`` is what yolocore loads. ``session`` keeps what has to be sent and sends it in the background, ``client``
knows the calls, ``transport`` the errors and the back-off. ``commands`` adds ``yolo hub``; ``server`` is the server.
"""

__version__ = "0.1.0"
