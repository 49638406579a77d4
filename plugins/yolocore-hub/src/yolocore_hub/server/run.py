"""Runs the server in this process."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import typer
import uvicorn

from yolocore.errors import ConfigError
from yolocore_hub.server.app import create_app
from yolocore_hub.server.limits import MEGABYTE, Limits

if TYPE_CHECKING:
    from pathlib import Path


def run_server(host: str, port: int, data_dir: Path, *, megabytes: int, requests: int, is_public: bool) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        host: address to listen at.
        port: port, 0 for a free one; the address is printed.
        data_dir: folder of database and files.
        megabytes: most megabytes of a checkpoint.
        requests: most requests of a token in a minute.
        is_public: whether anybody may look without a token.

    Raises:
        ConfigError: nothing can listen at that address.
    """
    limits = Limits(upload=megabytes * MEGABYTE, requests=requests)
    app = create_app(data_dir, limits=limits, is_public=is_public)
    listener = _listen(host, port)
    taken = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    typer.echo(f"yolocore hub: http://{shown}:{taken}  (data in {data_dir})")
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=5, lifespan="on"
    )
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise ConfigError(f"cannot listen at {host}:{port}: {error}; choose another --host or --port") from error
