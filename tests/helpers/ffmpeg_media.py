"""Moving pictures made, and one kind served, by the ffmpeg of the package imageio-ffmpeg."""

from __future__ import annotations

import socket
import socketserver
import subprocess
import threading
import time
from pathlib import Path

import pytest

SIZE, FPS = "64x48", 25


def ffmpeg() -> str:
    """Return the path of the program; without the package the test is skipped, visibly."""
    return pytest.importorskip("imageio_ffmpeg", reason="needs the package imageio-ffmpeg").get_ffmpeg_exe()


def command(gray: int, frames: int, *output: str) -> list[str]:
    """Return a command line that encodes so many H.264 pictures of one gray value."""
    color = f"color=c=0x{gray:02x}{gray:02x}{gray:02x}:s={SIZE}:r={FPS}"
    codec = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "5", "-pix_fmt", "yuv420p"]
    quiet = ["-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-threads", "1"]
    return [ffmpeg(), *quiet, "-f", "lavfi", "-i", color, "-frames:v", str(frames), *codec, *output]


def encoded(gray: int, frames: int, form: str) -> bytes:
    """Return such a video as bytes, for example in the form ``mpegts``."""
    return subprocess.run(
        command(gray, frames, "-f", form, "pipe:1"), check=True, capture_output=True, timeout=60
    ).stdout


def playlist(folder: Path, gray: int, frames: int, *, ended: bool) -> dict[str, bytes]:
    """Return the files of an HLS playlist (RFC 8216), by name; one that is not ``ended`` may grow."""
    more = [] if ended else ["-hls_flags", "omit_endlist"]
    files = ["-hls_segment_filename", str(folder / "part%d.ts"), str(folder / "list.m3u8")]
    subprocess.run(
        command(gray, frames, "-f", "hls", "-hls_time", "0.4", "-hls_list_size", "0", *more, *files),
        check=True,
        timeout=60,
    )
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in {".m3u8", ".ts"}}


class TcpMedia:
    """Sends the same bytes over every connection and hangs up; ``served`` counts the connections."""

    def __init__(self, data: bytes, most: int = 1 << 30) -> None:
        media = self
        self.served = 0

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                media.served += 1
                if media.served <= most:
                    self.request.sendall(data)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        self.address = f"tcp://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class RtmpMedia:
    """One RTMP publisher that waits for one client, sends so many pictures at their own pace, and ends."""

    def __init__(self, gray: int, frames: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"rtmp://127.0.0.1:{port}/live/cam"
        arguments = command(gray, frames, "-f", "flv", "-listen", "1", self.address)
        arguments.insert(arguments.index("-f"), "-re")
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.wait_until_it_listens(port)

    def wait_until_it_listens(self, port: int, seconds: float = 20) -> None:
        """Look for the port among those that listen; to try it would be the one connection it takes."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.process.poll() is None:
            rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            if any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows):
                return
            time.sleep(0.02)
        self.close()
        raise AssertionError("ffmpeg does not listen")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
