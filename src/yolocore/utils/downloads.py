"""Fetching one published weights file: announced, resumed, checked, moved into place in one step.

Nothing here runs unless the setting ``assets_url`` names a server; see :func:`fetch_asset`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from filelock import FileLock, Timeout

from yolocore.errors import CheckpointError, MissingFileError
from yolocore.utils.transfer import Client, Download, forget, note_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOGGER = logging.getLogger(__name__)
HASH_LIST: Final = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class Asset:
    """A published weights file.

    Attributes:
        name: of the file, such as ``yolo11n.pt``.
        license: of the weights.
        sha256: hexadecimal, or None when this package does not know it.
    """

    name: str
    license: str
    sha256: str | None


@lru_cache(maxsize=1)
def known_assets() -> Mapping[str, Asset]:
    """Return the published files by name."""
    listed = json.loads(files("yolocore.utils").joinpath("assets.json").read_text(encoding="utf-8"))
    return MappingProxyType({name: Asset(name, listed["license"], sha) for name, sha in listed["sha256"].items()})


def advice(name: str, folder: str | Path, base: str) -> str:
    """Return what to do about the missing weights ``name``, as the end of an error message."""
    place = Path(folder).expanduser().absolute() / Path(name).name
    if Path(name).name not in known_assets() or Path(name).parent != Path():
        return f"Put the file there, or at {place}"
    if base:
        return f"It could be fetched from assets_url={base}, or put it at {place}"
    return (
        f"Nothing is downloaded, as the setting assets_url is empty: put the file at {place}, or name a server that "
        f"has it, 'yolo settings assets_url=https://...' (its licence: {known_assets()[Path(name).name].license})"
    )


def fetch_asset(
    name: str,
    folder: str | Path,
    base: str,
    *,
    private: bool = False,
    verify: Callable[[Path], object] | None = None,
    options: Download = Download(),  # noqa: B008 (frozen)
) -> Path:
    """Fetch a published weights file into ``folder`` and return its path.

    The bytes go to a hidden ``.<name>.part``, which a later call continues, and are renamed once they are proven:
    by the hash of the packaged list, else by that in ``SHA256SUMS`` beside the file on the server, else, with a
    warning, by their number and by ``verify``. A second process waits and takes the first one's file.

    Args:
        name: one of :func:`known_assets`.
        folder: where to; made if need be.
        base: address of the folder on the server, http or https.
        private: whether ``base`` may lie in a private network; redirections into one never may, but to its own host.
        verify: called with the complete file before it is renamed; raises when it is no weights file.
        options: limits and progress.

    Raises:
        ConfigError: ``base`` is no address, or one in a private network without ``private``.
        MissingFileError: the server cannot be reached, or does not have the file; what is here is kept.
        CheckpointError: the file is another than the hash says, too large, or damaged; it is deleted.
    """
    asset = known_assets()[name]
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    url = f"{base.rstrip('/')}/{quote(name)}"
    client = Client(base, private=private, options=options)
    with _locked(target, options.total_seconds):
        if target.is_file():
            return target
        LOGGER.info("fetching %s into %s; the licence of these weights is %s", url, folder, asset.license)
        digest = asset.sha256 or client.listed_hash(f"{base.rstrip('/')}/{HASH_LIST}", name)
        part = client.fetch(url, folder / f".{name}.part", trusted=digest is not None)
        _prove(part, digest, url, verify)
        _rename(part, target)
    LOGGER.info("%s is here, %.1f MB", target, target.stat().st_size / 1e6)
    return target


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _locked(target: Path, seconds: float) -> Any:
    """Keep other processes from fetching ``target`` at the same time."""
    lock = FileLock(target.with_name(f".{target.name}.lock"), timeout=seconds)
    try:
        lock.acquire()
    except Timeout as error:
        raise MissingFileError(f"{target}: another process has been fetching it for {seconds:.0f} s") from error
    try:
        yield
    finally:
        lock.release()


def _prove(part: Path, digest: str | None, url: str, verify: Callable[[Path], object] | None) -> None:
    """Check a complete file; delete it when it is another than expected."""
    try:
        if digest is not None and (found := sha256_of(part)) != digest.lower():
            raise CheckpointError(
                f"{url}: the file has the SHA-256 {found}, expected {digest}; it was deleted. Try again, and if that "
                "does not help, the server has another file than it should"
            )
        if digest is None:
            LOGGER.warning("%s: unverified, as no SHA-256 of it is known here; its size and format are right", url)
        if verify is not None:
            verify(part)
    except CheckpointError:
        forget(part)
        raise


def _rename(part: Path, target: Path) -> None:
    os.replace(part, target)  # noqa: PTH105 (os.replace names the guarantee relied on)
    note_of(part).unlink(missing_ok=True)
