"""Images on their way out: files, crops and windows."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from yolocore.errors import DataError, UnsupportedError
from yolocore.utils.ops import as_numpy, xywh2xyxy, xyxy2xywh

if TYPE_CHECKING:
    from numpy.typing import NDArray

POLL_MS = 50  # how often it is looked whether a window was closed
CONNECT_SECONDS = 3.0


def show_image(title: str, im_bgr: NDArray[np.uint8], wait_ms: int = 0) -> int:
    """Show a BGR image in a window; the windows of other titles stay.

    Args:
        title: of the window.
        im_bgr: (H, W, 3) uint8.
        wait_ms: milliseconds to wait for a key; 0: until a key is pressed or the window is closed.

    Returns:
        The code of the key, -1 without one.

    Raises:
        UnsupportedError: there is no display, or OpenCV was built without windows.
    """
    reason = no_display()
    if reason:
        raise UnsupportedError(f"cannot show an image: {reason}; save it instead, e.g. result.save('out.jpg')")
    cv2.imshow(title, im_bgr)
    key = cv2.waitKey(wait_ms or POLL_MS)
    while not wait_ms and key < 0 and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) > 0:
        key = cv2.waitKey(POLL_MS)
    return key


def no_display() -> str:
    """Return why windows cannot be opened here, or an empty string. Qt ends the process where this is not asked."""
    built = re.search(r"GUI:\s+(\w+)", cv2.getBuildInformation())
    if built is None or built[1] == "NONE":
        return "this build of OpenCV has no windows (GUI: NONE)"
    if not sys.platform.startswith("linux"):
        return ""
    if built[1].startswith("GTK") and os.environ.get("WAYLAND_DISPLAY"):
        return ""
    display = os.environ.get("DISPLAY", "")
    if not display:
        return "the environment variable DISPLAY is not set"
    return "" if _answers(display) else f"no X server answers at DISPLAY={display!r}"


def _answers(display: str) -> bool:
    """Return whether an X server listens at ``host:number.screen``; see X(7), section "display names"."""
    named = re.fullmatch(r"(.*):(\d+)(\.\d+)?", display)
    if named is None:
        return False
    host, number = named[1], int(named[2])
    if host not in {"", "unix"}:
        try:
            socket.create_connection((host.strip("[]"), 6000 + number), timeout=CONNECT_SECONDS).close()
        except OSError:
            return False
        return True
    return any(_listens(path) for path in (f"\0/tmp/.X11-unix/X{number}", f"/tmp/.X11-unix/X{number}"))  # noqa: S108


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        return connection.connect_ex(path) == 0


def write_image(path: str | Path, im_bgr: NDArray[np.uint8], quality: int = 95) -> Path:
    """Encode a BGR image by the suffix of ``path`` and write it, making missing folders.

    Args:
        path: any name the file system takes, also outside ASCII.
        im_bgr: (H, W, 3) uint8.
        quality: of a JPEG, 1-100.

    Raises:
        DataError: OpenCV cannot write that suffix or that image.
        OSError: the file cannot be written; none is left then.
    """
    path = Path(path)
    suffix = path.suffix.lower() or ".jpg"
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix in {".jpg", ".jpeg"} else []
    try:
        done, data = cv2.imencode(suffix, im_bgr, options)
    except cv2.error as e:
        raise DataError(f"{path}: cannot encode an image of shape {np.shape(im_bgr)}: {e.err}") from e
    if not done:
        raise DataError(f"{path}: cannot encode an image of shape {np.shape(im_bgr)}; try .jpg or .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        path.unlink(missing_ok=True)  # half a picture is none
        raise type(error)(error.errno, error.strerror, str(path)) from error
    return path


def free_path(path: Path) -> Path:
    """Return ``path``, or with the first free number from 2 behind its stem: im.jpg, im2.jpg."""
    n = 2
    candidate = path
    while candidate.exists():
        candidate = path.with_name(f"{path.stem}{n}{path.suffix}")
        n += 1
    return candidate


def save_one_box(
    xyxy: Any,
    im: NDArray[np.uint8],
    file: str | Path = "im.jpg",
    gain: float = 1.02,
    pad: int = 10,
    square: bool = False,
    BGR: bool = False,
    save: bool = True,
) -> NDArray[np.uint8]:
    """Cut one box out of an image.

    Args:
        xyxy: the box in pixels.
        im: (H, W, 3) uint8 BGR image.
        file: a JPEG of this stem is written, unless the crop is empty; a taken name gets a number.
        gain: factor by which width and height grow.
        pad: pixels by which they grow besides.
        square: make the crop as wide as it is high before it grows.
        BGR: return the crop as BGR instead of RGB.
        save: write the file.

    Returns:
        (h, w, 3) uint8 copy, clipped to the image; empty for a box beside the image or of NaN.
    """
    box = xyxy2xywh(as_numpy(xyxy).reshape(-1)[:4].astype(np.float64))
    if square:
        box[2:] = box[2:].max()
    box[2:] = box[2:] * gain + pad
    h, w = im.shape[:2]
    left, top, right, bottom = np.nan_to_num(xywh2xyxy(box)).clip(0, (w, h, w, h)).astype(int).tolist()
    crop = im[top:bottom, left:right].copy()
    if save and crop.size:
        file = Path(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(free_path(file.with_suffix(".jpg")), crop)
    return crop if BGR else crop[..., ::-1].copy()
