"""A small RTSP server on the loopback interface (RFC 2326, interleaved TCP) that sends RTP/JPEG (RFC 2435)."""

from __future__ import annotations

import base64
import select
import socket
import socketserver
import struct
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

FPS = 50
FRAGMENT = 600  # bytes of picture a packet: small, so that every picture takes several
JPEG_PAYLOAD, IN_BAND_TABLES = 26, 255
YUV420 = 1  # the type of RFC 2435 for what OpenCV encodes
SDP = f"""v=0
o=- 1 1 IN IP4 127.0.0.1
s=test
c=IN IP4 127.0.0.1
t=0 0
m=video 0 RTP/AVP {JPEG_PAYLOAD}
a=framerate:%d
a=control:track1
""".replace("\n", "\r\n")


class RtspServer:
    """Streams below ``/live/<gray>/<frames>``: pictures of one gray value, and it hangs up after so many.

    ``/silent/play`` answers everything and sends no picture, ``/silent/open`` never answers. ``/stalls/<gray>/<frames>``
    sends so many pictures and then nothing more, with the connection open.

    Args:
        user, password: what a client has to know (basic authentication).

    Attributes:
        base: address without a path, with user and password.
        served: how often each stream was asked to play.
        limits: streams that are gone (404) after so many plays.
        rates: pictures a second, where they are not 50.
        methods: every method clients sent, in order.
    """

    def __init__(self, user: str = "", password: str = "") -> None:
        self.credentials = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self.served: dict[str, int] = {}
        self.limits: dict[str, int] = {}
        self.rates: dict[str, int] = {}
        self.methods: list[str] = []
        self.closing = threading.Event()
        handler = type("Handler", (_Client,), {"media": self})
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        self.port = self.server.server_address[1]
        self.base = f"rtsp://{f'{user}:{password}@' if user else ''}127.0.0.1:{self.port}"

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _Client(socketserver.BaseRequestHandler):
    """One connection."""

    media: RtspServer
    request: socket.socket

    def handle(self) -> None:
        self.received = b""
        try:
            while (message := self.next_request()) is not None and self.answer(*message):
                pass
        except OSError:
            pass  # the client has gone

    def next_request(self, wait: float = 20.0) -> tuple[str, str, dict[str, str]] | None:
        """Return method, path and headers; ``None`` when nothing came in time or the client has gone."""
        until = time.monotonic() + wait
        while not self.media.closing.is_set():
            while self.received.startswith(b"$") and len(self.received) >= 4:  # RTCP between the requests
                size = 4 + struct.unpack(">H", self.received[2:4])[0]
                if len(self.received) < size:
                    break
                self.received = self.received[size:]
            if b"\r\n\r\n" in self.received and not self.received.startswith(b"$"):
                text, self.received = self.received.split(b"\r\n\r\n", 1)
                first, *rest = text.decode().split("\r\n")
                method, address, _ = first.split(" ")
                self.media.methods.append(method)
                return method, urlsplit(address).path.strip("/"), dict(line.split(": ", 1) for line in rest)
            left = until - time.monotonic()
            if left < 0:
                return None
            if select.select([self.request], [], [], min(left, 0.05))[0]:
                data = self.request.recv(65536)
                if not data:
                    return None
                self.received += data
        return None

    def reply(self, headers: dict[str, str], status: str = "200 OK", body: str = "", **more: str) -> None:
        lines = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('CSeq', '0')}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.request.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def answer(self, method: str, path: str, headers: dict[str, str]) -> bool:
        """Answer one request; return whether to go on."""
        media = self.media
        path = path.removesuffix("/track1")
        if path == "silent/open":
            return media.closing.wait(20)
        if method == "OPTIONS":
            self.reply(headers, Public="OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif media.credentials and headers.get("Authorization") != f"Basic {media.credentials}":
            self.reply(headers, "401 Unauthorized", WWW_Authenticate='Basic realm="cameras"')
        elif method == "DESCRIBE":
            if media.served.get(path, 0) >= media.limits.get(path, 1 << 30):
                self.reply(headers, "404 Not Found")
            else:
                self.reply(headers, body=SDP % media.rates.get(path, FPS), Content_Type="application/sdp")
        elif method == "SETUP":
            tcp = "TCP" in headers["Transport"]
            status = "200 OK" if tcp else "461 Unsupported Transport"
            self.reply(headers, status, Transport="RTP/AVP/TCP;unicast;interleaved=0-1", Session="1;timeout=60")
        elif method == "PLAY":
            media.served[path] = media.served.get(path, 0) + 1
            self.reply(headers, Session="1")
            return self.play(path)
        elif method == "TEARDOWN":
            self.reply(headers, Session="1")
            return False
        else:
            self.reply(headers, "405 Method Not Allowed")
        return True

    def play(self, path: str) -> bool:
        """Send the pictures of ``path`` while answering the client; return whether it may ask for more."""
        kind, *numbers = path.split("/")
        if kind == "silent":
            return True
        gray, frames = (int(n) for n in numbers)
        rate = self.media.rates.get(path, FPS)
        pictures = packets(cv2.imencode(".jpg", np.full((48, 64, 3), gray, np.uint8))[1].tobytes(), frames, rate)
        for packet_group in pictures:
            for packet in packet_group:
                self.request.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
            message = self.next_request(1 / rate)
            if message is not None and not self.answer(*message):
                return False
        return kind == "stalls"


def packets(jpeg: bytes, frames: int, rate: int) -> Iterator[list[bytes]]:
    """Yield the RTP packets of each of so many equal pictures; RFC 3550 section 5.1, RFC 2435 section 3.1."""
    tables, height, width, scan = parse_jpeg(jpeg)
    sequence = 0
    for frame in range(frames):
        group = []
        for offset in range(0, len(scan), FRAGMENT):
            part = scan[offset : offset + FRAGMENT]
            last = offset + FRAGMENT >= len(scan)
            marker = JPEG_PAYLOAD | (0x80 if last else 0)
            rtp = struct.pack(">BBHII", 0x80, marker, sequence & 0xFFFF, frame * 90000 // rate, 0x1234)
            head = struct.pack(">I", offset) + bytes([YUV420, IN_BAND_TABLES, width // 8, height // 8])
            if offset == 0:
                head += struct.pack(">BBH", 0, 0, len(tables)) + tables
            group.append(rtp + head + part)
            sequence += 1
        yield group


def parse_jpeg(jpeg: bytes) -> tuple[bytes, int, int, bytes]:
    """Return the quantisation tables, height, width and entropy-coded scan of a baseline JPEG (ITU T.81, annex B)."""
    tables, height, width, at = b"", 0, 0, 2
    while True:
        marker, size = jpeg[at + 1], struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
        body = jpeg[at + 4 : at + 2 + size]
        if marker == 0xDB:
            for start in range(0, len(body), 65):
                tables += body[start + 1 : start + 65]
        elif marker == 0xC0:
            height, width = struct.unpack(">HH", body[1:5])
        at += 2 + size
        if marker == 0xDA:
            return tables, height, width, jpeg[at:-2]  # without the end-of-image marker
