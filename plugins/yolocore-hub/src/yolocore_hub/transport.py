"""Requests to one server: an answer, or an error that says whether another attempt makes sense."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO

CONNECT_TIMEOUT: Final = 3.0
READ_TIMEOUT: Final = 15.0
TRY_LATER: Final = frozenset({408, 425, 429})
NEVER: Final = frozenset({501, 505})  # not implemented: another attempt would end the same
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class ServerError(Exception):
    """A request did not succeed."""


class RefusedError(ServerError):
    """The server understood and said no; the same request would be refused again.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class UnavailableError(ServerError):
    """The server could not be reached, is overloaded, or failed; the request may be sent again.

    Attributes:
        retry_after: seconds that the server asked to wait, or ``None``.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def checked_address(address: str) -> str:
    """Return the base address of a server without a slash at its end.

    Raises:
        ValueError: it is no ``http`` or ``https`` address, or holds a password, a query or a fragment.
    """
    text = address.strip().rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not the address of a server; it looks like https://hub.example.org or http://127.0.0.1:8765")
    if parts.username or parts.password:
        raise ValueError("holds a user or password; the key has its own place, see the documentation")
    if parts.query or parts.fragment:
        raise ValueError("has a query or fragment; give the base address only")
    return text


def sends_key_in_clear(address: str) -> bool:
    """Say whether a key sent to ``address`` could be read on its way: no TLS, and not to this machine."""
    parts = urlsplit(address)
    return parts.scheme == "http" and parts.hostname not in LOOPBACK


class Transport:
    """Sends requests to one address with one set of headers.

    Redirects are not followed: the key goes to the configured address and nowhere else.

    Args:
        address: base address.
        headers: sent with every request, the key among them.
        read_timeout: seconds to wait for a piece of an answer.
    """

    def __init__(self, address: str, headers: Mapping[str, str], *, read_timeout: float = READ_TIMEOUT) -> None:
        timeout = httpx.Timeout(read_timeout, connect=min(CONNECT_TIMEOUT, read_timeout))
        self._http = httpx.Client(base_url=address, headers=dict(headers), timeout=timeout, follow_redirects=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Send ``body`` as JSON and return the answer.

        Raises:
            RefusedError: the server said no.
            UnavailableError: it did not answer, or asked to come back later.
        """
        return _object(self._send(method, path, json=body))

    def form(self, path: str, fields: Mapping[str, str], name: str, file: IO[bytes]) -> dict[str, Any]:
        """Post ``fields`` and a file, which is read piece by piece; raises as :meth:`json` does."""
        files = {"file": (name, file, "application/octet-stream")}
        return _object(self._send("POST", path, data=dict(fields), files=files))

    def put(self, url: str, file: IO[bytes], size: int) -> None:
        """Put a file to an address that the server handed out; raises as :meth:`json` does.

        The headers of this transport, and with them the key, are not sent there.
        """
        headers = {"content-length": str(size), "content-type": "application/octet-stream"}
        with httpx.Client(timeout=self._http.timeout, follow_redirects=False) as http:
            _answer(lambda: http.put(url, content=_pieces(file), headers=headers))

    def download(self, path: str, target: IO[bytes]) -> int:
        """Write what ``path`` answers into ``target`` and return the number of bytes; raises as :meth:`json` does."""
        size = 0
        try:
            with self._http.stream("GET", path) as response:
                if response.status_code >= 300:
                    response.read()
                    raise _error(response)
                for piece in response.iter_bytes():
                    size += target.write(piece)
        except httpx.HTTPError as error:
            raise UnavailableError(f"{type(error).__name__}: {error}") from error
        return size

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        return _answer(lambda: self._http.request(method, path, **content))


def _pieces(file: IO[bytes]) -> Any:
    return iter(lambda: file.read(1 << 16), b"")


def _answer(request: Callable[[], httpx.Response]) -> httpx.Response:
    try:
        response = request()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnavailableError(f"{type(error).__name__}: {error}") from error
    if response.status_code >= 300:
        raise _error(response)
    return response


def _error(response: httpx.Response) -> ServerError:
    message = f"{response.status_code} {response.reason_phrase}: {_message(response)}".removesuffix(": ")
    if response.status_code in TRY_LATER or (response.status_code >= 500 and response.status_code not in NEVER):
        return UnavailableError(message, _retry_after(response.headers.get("retry-after", "")))
    return RefusedError(response.status_code, message)


def _message(response: httpx.Response) -> str:
    try:
        answer = response.json()
    except ValueError:
        return ""
    found = answer.get("message") or answer.get("detail") or "" if isinstance(answer, dict) else ""
    return str(found)[:200]


def _retry_after(text: str) -> float | None:
    """Return the seconds of a ``Retry-After`` header, which holds seconds or a date."""
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError as error:
        raise UnavailableError(f"{response.url.path} answered no JSON; is this the right server?") from error
    if not isinstance(answer, dict):
        raise UnavailableError(f"{response.url.path} answered {type(answer).__name__}; is this the right server?")
    return answer


@dataclass
class Backoff:
    """How long to leave a server alone after failures: doubling, with some chance in it, at most ``limit``.

    Attributes:
        first: seconds after the first failure.
        limit: most seconds, unless the server asks for more.
        longest: most seconds that a server may ask for.
        failures: in a row, so far.
        until: ``time.monotonic()`` before which nothing should be sent.
    """

    first: float = 1.0
    limit: float = 60.0
    longest: float = 900.0
    failures: int = 0
    until: float = 0.0

    def __post_init__(self) -> None:
        self._random = random.Random()  # its own: the global generator belongs to the training

    def fail(self, retry_after: float | None = None) -> float:
        """Count a failure and return the seconds to wait."""
        delay = min(self.limit, self.first * 2.0**self.failures) * self._random.uniform(0.8, 1.2)
        if retry_after is not None:
            delay = max(delay, min(retry_after, self.longest))
        self.failures = min(self.failures + 1, 30)
        self.until = time.monotonic() + delay
        return delay

    def succeed(self) -> None:
        """Forget the failures."""
        self.failures, self.until = 0, 0.0
