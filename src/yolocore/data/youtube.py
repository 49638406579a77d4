"""Videos on YouTube: from the address of the page to that of the video, with the optional package yt-dlp."""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import TYPE_CHECKING, Any, Final

from yolocore.data.images import ImageFault
from yolocore.data.remote import check_address, without_secrets
from yolocore.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from yolocore.data.remote import Web

PAGE: Final = re.compile(r"https?://(?:[\w-]+\.)*(?:youtube(?:-nocookie)?\.com|youtu\.be)(?::\d+)?/", re.IGNORECASE)
READABLE: Final = "[height<=?1080][vcodec!=?none][vcodec!^=?av01]"  # AV1: OpenCV's FFmpeg has no decoder in software
FORMAT: Final = "/".join(f"bestvideo*{READABLE}[protocol{p}]" for p in ("^=http][protocol!*=dash", "^=m3u8"))
"""The best picture up to 1080 lines, with or without sound: a file, else (what is live) an HLS playlist."""


class _Silent:
    """A logger that keeps what yt-dlp says to itself; what goes wrong comes as an exception."""

    def debug(self, message: str) -> None:
        del message

    info = warning = error = debug


def is_video_page(address: str) -> bool:
    """Tell whether an address is one of YouTube's pages."""
    return PAGE.match(address) is not None


def need_package(address: str) -> None:
    """Check that yt-dlp is there.

    Raises:
        UnsupportedError: it is not.
    """
    if importlib.util.find_spec("yt_dlp") is None:
        raise UnsupportedError(
            f"source={address!r}: videos of YouTube need the package yt-dlp, which is not installed: "
            'pip install "yolocore[youtube]"; or give the address of a video file'
        )


def video_address(page: str, web: Web) -> str:
    """Return the address of the video that a page shows; nothing is downloaded or written.

    Neither the configuration nor the cookies of the user are read. The address is good for some hours.

    Args:
        page: address of the page.
        web: how far addresses may be followed; the answer still has to be checked against it.

    Raises:
        ConfigError: the address lies in a private network, or stands for a list of videos.
        ImageFault: there is no such video, or none in a form that can be read.
        UnsupportedError: yt-dlp is missing.
    """
    need_package(page)
    check_address(page, web.private)
    yt_dlp: Any = importlib.import_module("yt_dlp")
    name = without_secrets(page)
    options = {
        "format": FORMAT,
        "logger": _Silent(),
        "quiet": True,
        "noprogress": True,
        "noplaylist": True,
        "extract_flat": "in_playlist",
        "skip_download": True,
        "cachedir": False,
        "socket_timeout": web.read_seconds,
        "retries": 1,
        "extractor_retries": 1,
    }
    try:
        with yt_dlp.YoutubeDL(options) as reader:
            info = reader.extract_info(page, download=False)
    except yt_dlp.utils.YoutubeDLError as error:
        _let_go(error)
        raise ImageFault(name, "the video cannot be opened", _told(error)) from error
    if info.get("entries") is not None:
        raise ConfigError(f"source={name!r} is a list of videos; give the address of one of them")
    return str(info["url"])


def _let_go(error: Any) -> None:
    """Close the answer of the web server that an error of yt-dlp still holds open."""
    inner = (getattr(error, "exc_info", None) or (None, None))[1]
    response = getattr(getattr(inner, "cause", None), "response", None)
    if response is not None:
        response.close()


def _told(error: Exception) -> str:
    """Return what yt-dlp says, without its mark and its advice how to report faults."""
    return str(error).splitlines()[0].removeprefix("ERROR: ").split("; please report")[0]
