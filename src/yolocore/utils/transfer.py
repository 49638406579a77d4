"""One file from a web server: in parts if need be, within limits, never from where it should not come."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from yolocore.errors import CheckpointError, ConfigError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOGGER = logging.getLogger(__name__)
CHUNK: Final = 1 << 18
READ_SECONDS: Final = 30.0
TOTAL_SECONDS: Final = 3600.0
MAX_BYTES: Final = 4 << 30
MAX_LIST_BYTES: Final = 1 << 20
ATTEMPTS: Final = 3
REDIRECTS: Final = 5
SHOWN_SHARE: Final = 10  # per cent between two lines of progress
_SUM_LINE: Final = re.compile(r"([0-9a-fA-F]{64})[ \t]+\*?(?:\./)?(\S+)")
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+)")


@dataclass(frozen=True, slots=True)
class Download:
    """How files are fetched; the defaults are right outside tests.

    Attributes:
        attempts: connections in all; each goes on where the one before was cut off.
        pause: seconds before the second connection, twice as many before the third, and so on.
        read_seconds: wait at most so long for the next bytes.
        total_seconds: give up after so long.
        max_bytes: of a file.
        progress: called as ``progress(bytes here, bytes in all or None)``.
    """

    attempts: int = ATTEMPTS
    pause: float = 1.0
    read_seconds: float = READ_SECONDS
    total_seconds: float = TOTAL_SECONDS
    max_bytes: int = MAX_BYTES
    progress: Callable[[int, int | None], None] | None = None


def note_of(part: Path) -> Path:
    """Return where the server's marks of a partial file are kept."""
    return part.with_name(f"{part.name}.json")


def forget(part: Path) -> None:
    """Delete a partial file."""
    part.unlink(missing_ok=True)
    note_of(part).unlink(missing_ok=True)


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Hands a redirection back as an error, unread, so that each address is checked before it is asked."""

    def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> None:
        """Follow nothing."""
        del req, fp, code, msg, headers

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _Cut(Exception):  # noqa: N818 - a signal between two methods
    """The connection ended early."""


@dataclass
class Client:
    """Asks one server, and whom it redirects to."""

    base: str
    private: bool
    options: Download
    deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self.deadline = time.monotonic() + self.options.total_seconds
        parts = urlsplit(self.base)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"assets_url={self.base!r}: expected an address such as https://example.org/weights")

    # --- the list of hashes --------------------------------------------------------------------------------------

    def listed_hash(self, url: str, name: str) -> str | None:
        """Return the SHA-256 that the server lists for ``name``; None when it has no list or does not name it."""
        try:
            with self._open(url, {}) as answer:
                text = answer.read(MAX_LIST_BYTES).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            error.close()
            return None
        except (OSError, HTTPException) as error:
            raise self._unreachable(url, error) from error
        sums = {match[2]: match[1].lower() for match in _SUM_LINE.finditer(text)}
        return sums.get(name)

    # --- the file ------------------------------------------------------------------------------------------------

    def fetch(self, url: str, part: Path, *, trusted: bool) -> Path:
        """Complete ``part`` and return it.

        Args:
            url: of the file.
            part: holds what an earlier call got; the server is asked for the rest if it is still the same file.
            trusted: a hash will tell whether the parts belong together, even when the server gives no mark.
        """
        reason: BaseException | None = None
        for attempt in range(self.options.attempts):
            time.sleep(attempt * self.options.pause)
            try:
                self._fetch_once(url, part, trusted=trusted)
            except CheckpointError:
                forget(part)
                raise
            except urllib.error.HTTPError as error:
                error.close()
                if error.code < 500:
                    raise self._missing(url, f"answers {error.code} {error.reason}") from error
                reason = error
            except (_Cut, OSError, HTTPException) as error:
                reason = error
            else:
                return part
            if time.monotonic() > self.deadline:
                break
        raise self._unreachable(url, reason, part) from reason

    def _fetch_once(self, url: str, part: Path, *, trusted: bool) -> None:
        start, headers = self._resume(url, part, trusted=trusted)
        if start and not headers:
            return
        try:
            answer = self._open(url, headers)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing is left to send, or the file has become shorter
                error.close()
                forget(part)
                raise _Cut("the server has a shorter file") from error
            raise
        with answer:
            begin, total = _extent(answer, start)
            self._check_size(url, total or 0)
            mark = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            note_of(part).write_text(json.dumps({"url": url, "mark": mark, "total": total}), encoding="utf-8")
            with part.open("r+b" if begin else "wb") as file:
                file.seek(begin)
                file.truncate()
                size = self._copy(answer, file, begin, total, url)
                file.flush()
                os.fsync(file.fileno())
        if total is not None and size != total:
            raise _Cut(f"the connection ended after {size} of {total} bytes")

    def _resume(self, url: str, part: Path, *, trusted: bool) -> tuple[int, dict[str, str]]:
        """Return from which byte to go on, and the request headers for it; no headers when nothing is missing."""
        try:
            start = part.stat().st_size
            note = json.loads(note_of(part).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return 0, {}
        mark = str(note.get("mark") or "")
        weak = not mark or mark.startswith("W/")
        total = note.get("total") or 0
        same = note.get("url") == url and 0 < start <= total
        if not same or (weak and not trusted):
            return 0, {}
        if start == total:
            return start, {}
        return start, {"Range": f"bytes={start}-", **({} if weak else {"If-Range": mark})}

    def _copy(self, answer: Any, file: Any, size: int, total: int | None, url: str) -> int:
        """Write the body behind the ``size`` bytes that are here; return how many there are then."""
        shown = 0
        while chunk := answer.read1(CHUNK):  # to wait for all of it could take longer than the deadline
            size += len(chunk)
            self._check_size(url, size)
            file.write(chunk)
            if time.monotonic() > self.deadline:
                raise _Cut(f"not complete after {self.options.total_seconds:.0f} s")
            if self.options.progress is not None:
                self.options.progress(size, total)
            percent = 100 * size // total if total else 0
            if percent // SHOWN_SHARE > shown:
                shown = percent // SHOWN_SHARE
                LOGGER.info("%s: %d %% of %.1f MB", Path(urlsplit(url).path).name, percent, (total or 0) / 1e6)
        return size

    def _check_size(self, url: str, size: int) -> None:
        if size > self.options.max_bytes:
            raise CheckpointError(f"{url}: larger than {self.options.max_bytes} bytes; this is no weights file")

    # --- one request ---------------------------------------------------------------------------------------------

    def _open(self, url: str, headers: Mapping[str, str]) -> Any:
        """Ask for ``url``, following redirections that are allowed."""
        opener = urllib.request.build_opener(NoRedirects())
        for _ in range(REDIRECTS + 1):
            self._check_address(url)
            request = urllib.request.Request(  # noqa: S310 (the scheme is checked above)
                url, headers={"User-Agent": "yolocore", "Accept-Encoding": "identity", **headers}
            )
            try:
                return opener.open(request, timeout=self.options.read_seconds)
            except urllib.error.HTTPError as error:
                onward = error.headers.get("Location")
                if error.code not in {301, 302, 303, 307, 308} or not onward:
                    raise
                error.close()
                url = urljoin(url, onward)
        raise self._missing(url, f"redirects more than {REDIRECTS} times")

    def _check_address(self, url: str) -> None:
        own, parts = urlsplit(self.base), urlsplit(url)
        if parts.scheme not in ("https", own.scheme):
            raise ConfigError(f"assets_url={self.base!r} leads to {url!r}, which is not encrypted; refused")
        if parts.hostname == own.hostname and self.private:
            return
        if is_private(parts.hostname or "", parts.port or 443):
            raise ConfigError(
                f"assets_url={self.base!r} leads to {parts.hostname}, in a private network; refused. A server of your "
                "own is allowed by 'yolo settings assets_url=...' or YOLOCORE_ASSETS_URL, not by a project's file"
            )

    # --- errors --------------------------------------------------------------------------------------------------

    @staticmethod
    def _missing(url: str, what: str) -> MissingFileError:
        return MissingFileError(f"{url}: the server {what}; check the setting assets_url, or fetch the file yourself")

    @staticmethod
    def _unreachable(url: str, reason: BaseException | None, part: Path | None = None) -> MissingFileError:
        cause = getattr(reason, "reason", reason)
        kept = part.stat().st_size if part is not None and part.exists() else 0
        rest = f" {kept} bytes are kept, the next call goes on from there." if kept else ""
        return MissingFileError(
            f"{url}: could not be fetched ({cause}).{rest} Check the network and the setting assets_url, or put the "
            "file into weights_dir yourself"
        )


def _extent(answer: Any, start: int) -> tuple[int, int | None]:
    """Return at which byte the answer's body begins, and how large the whole file is (None when not said)."""
    length = answer.headers.get("Content-Length")
    if answer.status == 206:
        match = _RANGE.fullmatch(answer.headers.get("Content-Range") or "")
        if match is None or int(match[1]) != start:
            raise _Cut("the server sent another part than it was asked for")
        return start, int(match[2])
    return 0, int(length) if length and length.isdigit() else None


def is_private(host: str, port: int) -> bool:
    """Tell whether a host name stands for an address that is not on the public internet."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except OSError:
        return False  # asking for it will fail, with a better message
    return any(not ipaddress.ip_address(address.partition("%")[0]).is_global for address in found)
