"""A web server on the loopback interface that serves files and live MJPEG streams."""

from __future__ import annotations

import base64
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import cv2
import numpy as np

TYPES = {"jpg": "image/jpeg", "png": "image/png", "mp4": "video/mp4", "avi": "video/x-msvideo", "html": "text/html"}


class MediaServer:
    """Serves ``files`` (name to bytes), ``redirects`` (name to address) and endless streams below ``/live/``.

    ``/live/<gray>/<frames>`` sends pictures of one gray value and hangs up after so many; ``/drip/<tenths>`` sends a
    byte every tenth of a second; ``served`` counts the connections to each. ``credentials`` is the ``name:password`` a
    client has to know, if any.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.served: dict[str, int] = {}
        self.limits: dict[str, int] = {}
        self.credentials = ""
        handler = type("Handler", (_Handler,), {"media": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        self.base = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    media: ClassVar[MediaServer]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        media = self.media
        media.served[name] = media.served.get(name, 0) + 1
        known = f"Basic {base64.b64encode(media.credentials.encode()).decode()}"
        if media.credentials and self.headers.get("Authorization") != known:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="cameras"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif name in media.limits and media.served[name] > media.limits[name]:
            self.send_error(503)
        elif name in media.redirects:
            self.send_response(302)
            self.send_header("Location", media.redirects[name])
            self.end_headers()
        elif name.startswith("live/"):
            _, gray, frames = name.split("/")
            self._stream(int(gray), int(frames))
        elif name.startswith("drip/"):
            self._drip(int(name.split("/")[1]))
        elif name in media.files:
            self.send_response(200)
            kind = media.types.get(name) or TYPES.get(name.rsplit(".", 1)[-1], "application/octet-stream")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(media.files[name])))
            self.end_headers()
            self.wfile.write(media.files[name])
        else:
            self.send_error(404)

    def _drip(self, count: int) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(count):
                self.wfile.write(b"x")
                time.sleep(0.1)
        except OSError:
            self.close_connection = True

    def _stream(self, gray: int, frames: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        data = cv2.imencode(".jpg", np.full((48, 64, 3), gray, np.uint8))[1].tobytes()
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        try:
            for _ in range(frames):
                self.wfile.write(head + data + b"\r\n")
                time.sleep(0.01)
        except OSError:
            self.close_connection = True
