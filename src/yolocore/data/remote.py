"""Images and videos behind web addresses: fetched within limits, never from where they should not come."""

from __future__ import annotations

import base64
import re
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from yolocore.data.images import IMG_FORMATS, VID_FORMATS, ImageFault
from yolocore.errors import ConfigError
from yolocore.utils.transfer import NoRedirects, is_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK: Final = 1 << 18
REDIRECTS: Final = 5
ENCODED: Final = "%/:?#[]@!$&'()*+,;=~"  # what stands in an address as it is: RFC 3986, section 2.2, and "%"
SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
PORTS: Final = {"http": 80, "https": 443, "rtsp": 554, "rtmp": 1935}
STREAM_SUFFIXES: Final = frozenset({"m3u8", "mjpg", "mjpeg"})
PLAYLIST_SUFFIXES: Final = frozenset({"m3u8", "m3u", "hls"})
PLAYLIST_BYTES: Final = 4 << 20
PLAYLISTS: Final = 64  # of one stream, with all its variants
URI: Final = re.compile(r'URI=("[^"]*"|[^,\s]*)')
USER: Final = re.compile(r"(?<=://)[^/?#]*@")
SECRET: Final = re.compile(
    r"(?<=[?&;/_])([\w-]*(?:pass|password|passwd|pwd|token|secret|sig|signature|auth|key)=)[^?&;/#]*", re.IGNORECASE
)


@dataclass(frozen=True)
class Web:
    """How far web addresses may be followed.

    Attributes:
        private: whether they may lie in a loopback, link-local or private network; a redirection from a public
            address into one never may.
        max_image_bytes: of an image.
        max_video_bytes: of a video.
        read_seconds: wait at most so long for the next bytes.
        total_seconds: give a file up after so long.
    """

    private: bool = False
    max_image_bytes: int = 256 << 20
    max_video_bytes: int = 4 << 30
    read_seconds: float = 30.0
    total_seconds: float = 3600.0


@dataclass(frozen=True)
class Remote:
    """Something behind an address, or a webcam.

    Attributes:
        address: of it, or the number of the webcam.
        kind: ``image``, ``video`` or ``stream``.
    """

    address: str | int
    kind: str

    def __str__(self) -> str:
        """Return the address without what should stay secret."""
        return without_secrets(str(self.address))


def is_address(source: Any) -> bool:
    """Tell whether a source is a text such as ``https://...`` or ``rtsp://...``."""
    return isinstance(source, str) and SCHEME.match(source) is not None


def without_secrets(address: str) -> str:
    """Return an address without name and password, and without the values of keys and tokens: for logs and results."""
    return SECRET.sub(r"\1***", USER.sub("", address))


def credentials(address: str) -> dict[str, str]:
    """Return the header that hands over the name and password in an address (RFC 7617); empty without them."""
    parts = urlsplit(address)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def may_be_told(url: str, address: str) -> bool:
    """Return whether ``url``, where ``address`` leads, may be given its password: the same host, not without TLS now."""
    there, given = urlsplit(url), urlsplit(address)
    return there.hostname == given.hostname and there.scheme.lower() in {given.scheme.lower(), "https"}


def check_address(address: str, private: bool) -> None:
    """Refuse an address in a private network, unless ``private``.

    Raises:
        ConfigError: the address has no host, or one that is not on the public internet.
    """
    try:
        parts = urlsplit(address)
        port = parts.port or PORTS.get(parts.scheme.lower(), 443)
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise ConfigError(f"source={without_secrets(address)!r}: {error}") from error
    if not parts.hostname:
        raise ConfigError(f"source={without_secrets(address)!r}: the address names no host")
    if not private and is_private(parts.hostname, port):
        raise ConfigError(
            f"source={without_secrets(address)!r} lies in a private network; that is off unless you allow it: "
            "'yolo settings private_sources=True' or YOLOCORE_PRIVATE_SOURCES=True"
        )


def _percent_encoded(url: str) -> str:
    """Return an address with spaces and letters outside ASCII as browsers send them."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=quote(parts.path, ENCODED), query=quote(parts.query, ENCODED)))


def _onward(url: str, location: str, name: str) -> str:
    try:
        onward = urljoin(url, location)
        urlsplit(onward)
    except ValueError as error:
        raise ImageFault(name, "the server cannot be reached", f"it leads to {location!r}: {error}") from error
    return onward


def open_address(address: str, web: Web, start: str = "") -> Any:
    """Ask a web server and return its answer, a file whose ``url`` is where the redirections ended.

    Args:
        address: what a person gave; its host is the only one that may lie in a private network, and is told its password.
        web: how far addresses may be followed.
        start: what to ask for, if the address led to something else.

    Raises:
        ConfigError: it lies, or leads, where it should not.
        ImageFault: the server cannot be reached or refuses.
    """
    opener = urllib.request.build_opener(NoRedirects())
    name, url = without_secrets(address), start or address
    for _ in range(REDIRECTS + 1):
        own = urlsplit(url).hostname == urlsplit(address).hostname
        check_address(url, web.private and own)
        url = _percent_encoded(url)
        if urlsplit(url).scheme.lower() not in {"http", "https"}:
            raise ConfigError(f"source={name!r} leads to {without_secrets(url)!r}, which is no web address; refused")
        headers = {"User-Agent": "yolocore", **(credentials(address) if may_be_told(url, address) else {})}
        request = urllib.request.Request(USER.sub("", url), headers=headers)  # noqa: S310 (checked above)
        try:
            return opener.open(request, timeout=web.read_seconds)
        except urllib.error.HTTPError as error:
            onward = error.headers.get("Location")
            error.close()
            if error.code not in {301, 302, 303, 307, 308} or not onward:
                raise ImageFault(name, "the server refuses", f"{error.code} {error.reason}") from error
            url = _onward(url, onward, name)
        except (OSError, HTTPException) as error:
            raise ImageFault(name, "the server cannot be reached", str(getattr(error, "reason", error))) from error
    raise ImageFault(name, "the server cannot be reached", f"more than {REDIRECTS} redirections")


def fetch_bytes(address: str, web: Web) -> bytes:
    """Return the bytes of an image behind an address.

    Raises:
        ConfigError, ImageFault: see :func:`open_address`; or it is too large, too slow or cut.
    """
    with open_address(address, web) as answer:
        return b"".join(_chunks(answer, without_secrets(address), web, web.max_image_bytes))


def fetch_file(address: str, file: Path, web: Web, most: int) -> None:
    """Write what is behind an address to ``file``, at most ``most`` bytes; errors as for :func:`fetch_bytes`."""
    with open_address(address, web) as answer, file.open("wb") as target:
        for chunk in _chunks(answer, without_secrets(address), web, most):
            target.write(chunk)


def _chunks(answer: Any, name: str, web: Web, most: int) -> Iterator[bytes]:
    size, deadline = 0, time.monotonic() + web.total_seconds
    announced = answer.headers.get("Content-Length") or ""
    if announced.isdigit() and int(announced) > most:
        raise ImageFault(name, "the file is too large", f"{announced} bytes, more than {most}")
    while True:
        try:
            chunk = answer.read1(CHUNK)  # what is there: to wait for all of it could take longer than the deadline
        except (OSError, HTTPException) as error:
            raise ImageFault(name, "the connection ended early", str(error)) from error
        size += len(chunk)
        if size > most:
            raise ImageFault(name, "the file is too large", f"more than {most} bytes")
        if time.monotonic() > deadline:
            raise ImageFault(name, "the server is too slow", f"not complete after {web.total_seconds:.0f} s")
        if not chunk:
            break
        yield chunk
    if announced.isdigit() and size < int(announced):
        raise ImageFault(name, "the connection ended early", f"{size} of {announced} bytes")


def suffix_of(address: str) -> str:
    """Return the suffix of the file an address names: lower case, without a dot."""
    return PurePosixPath(urlsplit(address).path).suffix[1:].lower()


def look_up(address: str, web: Web) -> Remote:
    """Find out what is behind an address: from the suffix, else from what the server says it sends.

    Raises:
        ConfigError: it lies, or leads, where it should not; or it is a page, which has no frames.
        ImageFault: the server cannot be reached or refuses.
    """
    check_address(address, web.private)
    parts = urlsplit(address)
    if parts.scheme.lower() not in {"http", "https"}:
        return Remote(address, "stream")
    suffix = suffix_of(address)
    if suffix in IMG_FORMATS | VID_FORMATS:
        return Remote(address, "image" if suffix in IMG_FORMATS else "video")
    if suffix in STREAM_SUFFIXES:
        return Remote(address, "stream")
    with open_address(address, web) as answer:
        content = answer.headers.get_content_type()
        sized = answer.headers.get("Content-Length") is not None
    if content in {"text/html", "application/xhtml+xml"}:
        raise ConfigError(
            f"source={without_secrets(address)!r} is a web page; give the address of the image, video or stream itself"
        )
    if content.startswith("image/") and content != "image/gif":
        return Remote(address, "image")
    return Remote(address, "video" if sized and not content.endswith("mpegurl") else "stream")


def stream_address(address: str, web: Web) -> str:
    """Return where to connect for a live stream: checked, and for web servers behind all redirections.

    Raises:
        ConfigError, ImageFault: see :func:`open_address`.
    """
    check_address(address, web.private)
    if urlsplit(address).scheme.lower() not in {"http", "https"}:
        return address
    with open_address(address, web) as answer:
        url = str(answer.url)
        playlist = is_playlist(answer)
    if playlist:
        check_playlist(address, url, web)
    user = USER.search(address)
    return url.replace("://", f"://{user[0]}", 1) if user and may_be_told(url, address) else url


def is_playlist(answer: Any) -> bool:
    """Tell whether FFmpeg may take what a server sends for an HLS playlist."""
    kind = str(answer.headers.get_content_type())
    return suffix_of(str(answer.url)) in PLAYLIST_SUFFIXES or kind.endswith("mpegurl")


def check_playlist(address: str, url: str, web: Web) -> None:
    """Refuse an HLS playlist (RFC 8216), with the playlists in it, that names what may not be asked for.

    FFmpeg asks for it again, follows redirections of its parts and reads a live one over and over: a server that gives
    another answer then is not found out.

    Args:
        address: of the stream.
        url: where its redirections ended.
        web: how far addresses may be followed.

    Raises:
        ConfigError: it names an address that lies where it should not, or too many playlists.
        ImageFault: it cannot be had, or is too large.
    """
    waiting, hosts, secretless = [url], set[str](), without_secrets(address)
    for count, playlist in enumerate(waiting):  # it grows
        if count == PLAYLISTS:
            raise ConfigError(f"source={secretless!r} names more than {PLAYLISTS} playlists; refused")
        try:
            answer = open_address(address, web, playlist)
        except ImageFault:
            if not count:
                raise
            continue  # FFmpeg leaves a variant out that is not there
        with answer:
            text = b"".join(_chunks(answer, secretless, web, PLAYLIST_BYTES)).decode(errors="replace")
        try:
            named = playlist_names(text, str(answer.url))
            new = {"/".join(name.split("/")[:3]): name for name in named}
            for name in (name for host, name in new.items() if host not in hosts):
                _check_named(address, name, web)
        except ValueError as error:
            raise ConfigError(f"source={secretless!r}: refused, as its playlist leads on: {error}") from error
        hosts |= new.keys()
        if "#EXT-X-STREAM-INF" in text:
            waiting += [name for name in dict.fromkeys(named) if name not in waiting]


def _check_named(address: str, name: str, web: Web) -> None:
    if urlsplit(name).scheme.lower() not in {"http", "https"}:
        raise ConfigError(f"{without_secrets(name)!r} is no web address")
    check_address(name, web.private and urlsplit(name).hostname == urlsplit(address).hostname)


def playlist_names(text: str, base: str) -> list[str]:
    """Return the addresses in an HLS playlist: its lines, and the values of URI in its tags; relative to ``base``."""
    found: list[str] = []
    for line in (line.strip() for line in text.splitlines()):
        found += [m.strip('"') for m in URI.findall(line)] if line.startswith("#") else [line]
    return [urljoin(base, name) for name in found if name and not name.startswith("data:")]


def why_closed(address: str, seconds: float) -> str:
    """Return why a live stream cannot be opened, as far as a connection tells; empty where it tells nothing.

    Args:
        address: of the stream; an RTSP server is asked to describe it (RFC 2326, section 10.2).
        seconds: how long connecting, and the answer, may take.
    """
    parts = urlsplit(address)
    scheme = parts.scheme.lower()
    port = parts.port or PORTS.get(scheme)
    if parts.hostname is None or port is None:
        return ""
    more = "".join(f"{name}: {value}\r\n" for name, value in credentials(address).items())
    question = f"DESCRIBE {USER.sub('', address)} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n{more}\r\n"
    try:
        with socket.create_connection((parts.hostname, port), timeout=seconds) as connection:
            if scheme != "rtsp":
                return ""
            connection.sendall(question.encode())
            _, _, status = connection.makefile("rb").readline(256).decode(errors="replace").strip().partition(" ")
    except TimeoutError:
        return f"the server does not answer within {seconds:g} s"
    except OSError as error:
        return error.strerror or str(error)
    if status.startswith("401"):
        return f"the server answers {status}: give the right name and password, as in rtsp://name:password@host/..."
    return "" if status.startswith("200") else f"the server answers {status or 'nothing'}"
