"""``yolo hub``: run a server, make its tokens, fetch a checkpoint from one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from yolocore.errors import ConfigError, MissingFileError, PluginError

if TYPE_CHECKING:
    from yolocore_hub.server.tokens import Tokens

DATA_DIR: Final = "YOLOCORE_HUB_DATA"
KINDS: Final = ("last", "best", "final")

DataDir = Annotated[
    Path, typer.Option(envvar=DATA_DIR, help="Folder of database and files; made when it does not exist.")
]
Address = Annotated[str, typer.Option(envvar="YOLOCORE_HUB_ADDRESS", help="Base address of the server.")]

app = typer.Typer(name="hub", help="Serve a hub, make its tokens, fetch checkpoints.", no_args_is_help=True)
token = typer.Typer(name="token", help="Make, list and revoke the tokens of a server.", no_args_is_help=True)
app.add_typer(token)


def _needs_server() -> None:
    """Raise ``PluginError`` when what the server needs is not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn", "python_multipart") if find_spec(name) is None]
    if missing:
        raise PluginError(f"the server needs {', '.join(missing)}: pip install 'yolocore-hub[server]'")


def _tokens(data_dir: Path) -> Tokens:
    from yolocore_hub.server.database import Database
    from yolocore_hub.server.tokens import Tokens

    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Tokens(Database(data_dir / "hub.sqlite"))


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for every one.")] = "127.0.0.1",
    data_dir: DataDir = Path("hub-data"),
    max_upload: Annotated[int, typer.Option(min=1, help="Most megabytes of an uploaded checkpoint.")] = 1024,
    requests: Annotated[int, typer.Option(min=1, help="Most requests of a token in a minute.")] = 1200,
    public: Annotated[bool, typer.Option("--public", help="Let anybody look without a token.")] = False,
) -> None:
    """Run a server until Ctrl-C: the HUB API under /v1, and a page that shows what was recorded."""
    _needs_server()
    from yolocore_hub.server.run import run_server

    if not _tokens(data_dir).all():
        Console(stderr=True).print(
            f"there is no token yet: yolo hub token create NAME --data-dir {data_dir}", highlight=False
        )
    run_server(host, port, data_dir, megabytes=max_upload, requests=requests, is_public=public)


@token.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Whose it is, such as 'laptop'.")], data_dir: DataDir = Path("hub-data")
) -> None:
    """Make a token and print it; the server keeps only its hash, so it is shown this once."""
    typer.echo(_tokens(data_dir).create(name))


@token.command("list")
def list_tokens(data_dir: DataDir = Path("hub-data")) -> None:
    """List the tokens, without their secret part."""
    from datetime import UTC, datetime

    table = Table("id", "name", "made", "state", box=None, header_style="bold", pad_edge=False)
    for one in _tokens(data_dir).all():
        made = datetime.fromtimestamp(one.created, UTC)
        table.add_row(one.id, one.name, f"{made:%Y-%m-%d %H:%M}", "revoked" if one.revoked else "in use")
    Console().print(table)


@token.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Argument(help="Id of the token, as in the list.")],
    data_dir: DataDir = Path("hub-data"),
) -> None:
    """Refuse a token from now on."""
    _tokens(data_dir).revoke(token_id)


@app.command()
def fetch(
    model: Annotated[str, typer.Argument(help="Id of the model: the last part of its page's address.")],
    to: Annotated[Path, typer.Option(help="Folder for the file; weights/ is made in it.")],
    address: Address,
    kind: Annotated[str, typer.Option(help="last (to resume), best or final.")] = "last",
) -> None:
    """Fetch a checkpoint; ``yolo train resume=…/weights/last.pt`` then goes on in the same record."""
    from yolocore.config.settings import get_settings
    from yolocore_hub.client import HubClient
    from yolocore_hub.transport import RefusedError, UnavailableError, checked_address

    if kind not in KINDS:
        raise ConfigError(f"kind={kind!r}: one of {', '.join(KINDS)}")
    key = str(get_settings()["api_key"]).strip()
    if not key:
        raise ConfigError("no key is set: yolo settings api_key=…")
    try:
        client = HubClient(checked_address(address), key)
    except ValueError as error:
        raise ConfigError(f"address={address!r}: {error}") from None
    target = to / "weights" / f"{kind}.pt"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    try:
        with part.open("wb") as file:
            client.fetch(model, kind, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except (RefusedError, UnavailableError) as error:
        raise MissingFileError(f"{kind}.pt of model {model} from {address}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
        client.close()
    typer.echo(target)
