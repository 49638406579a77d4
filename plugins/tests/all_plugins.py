"""One training recorded by every plugin at once, each where it works without an account."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("clearml", "comet", "dvc", "hub", "mlflow", "neptune", "platform", "raytune", "tensorboard", "wandb")


def offline_environment(home: Path) -> dict[str, str]:
    """Return variables that keep every tool inside ``home`` and off the network."""
    folders = {
        **{f"WANDB_{kind}_DIR": f"wandb-{kind.lower()}" for kind in ("CACHE", "CONFIG", "DATA")},
        **{f"YOLOCORE_{kind}_DIR": f"yolocore-{kind.lower()}" for kind in ("CONFIG", "CACHE")},
        "CLEARML_CACHE_DIR": "clearml",
        "CLEARML_CONFIG_FILE": "clearml/none.conf",
        "NETRC": "netrc",
        "HOME": "home",
    }
    (home / "home").mkdir(parents=True, exist_ok=True)
    switches = {
        "WANDB_MODE": "offline",
        "CLEARML_OFFLINE_MODE": "1",
        "COMET_MODE": "offline",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    return {**switches, **{name: str(home / place) for name, place in folders.items()}}


@contextmanager
def hub_server(home: Path) -> Iterator[dict[str, str]]:
    """Run ``yolo hub serve``, which also takes what the platform plugin sends; give the variables for both."""
    cli, data = [sys.executable, "-m", "yolocore.cli", "hub"], ["--data-dir", str(home / "hub-data")]
    key = subprocess.run([*cli, "token", "create", "tests", *data], check=True, capture_output=True, text=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with (home / "hub.log").open("wb") as log:
        server = subprocess.Popen([*cli, "serve", "--port", str(port), *data], stdout=log, stderr=log)
    try:
        _wait_for(port, server, home / "hub.log")
        address, token = f"http://127.0.0.1:{port}", key.stdout.strip()
        yield {
            "YOLOCORE_HUB_ADDRESS": address,
            "YOLOCORE_API_KEY": token,
            "YOLOCORE_PLATFORM_ADDRESS": address,
            "YOLOCORE_PLATFORM_KEY": token,
        }
    finally:
        server.kill()
        server.wait(20)


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if server.poll() is not None:
            raise RuntimeError(log.read_text())
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(log.read_text())
