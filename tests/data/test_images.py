"""The decoder and the check of image files."""

from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from yolocore.data.images import IMG_FORMATS, VID_FORMATS, ImageFault, decode_image, is_image, read_image
from yolocore.data.verify import DAMAGED, verify_image
from yolocore.errors import DataError

rng = np.random.default_rng(0)
RGB = cv2.GaussianBlur(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8), (9, 9), 0)


def save(path: Path, array: np.ndarray = RGB, orientation: int | None = None, **options) -> Path:
    image = Image.fromarray(array)
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    "name", ["a.jpg", "a.png", "a.bmp", "a.webp", "a.tif", "a.JPG", "größe 1 [x]*.jpg", "日本.png"]
)
def test_formats_suffixes_and_names(tmp_path, name):
    path = save(tmp_path / name)
    assert is_image(path)
    assert verify_image(str(path)) == ((40, 60), "")
    im = read_image(path)
    assert im.shape == (40, 60, 3)
    assert im.dtype == np.uint8
    assert im.flags.c_contiguous
    assert np.abs(im[..., ::-1].astype(int) - RGB).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_the_exif_orientation_is_applied_as_pillow_does(tmp_path, suffix, orientation):
    path = save(tmp_path / f"a.{suffix}", orientation=orientation)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    im = read_image(path)
    assert verify_image(str(path)).shape == im.shape[:2] == expected.shape[:2]
    assert np.abs(im[..., ::-1].astype(int) - expected).mean() < 3


@pytest.mark.parametrize(
    ("array", "suffix"),
    [
        (RGB[..., 0], "jpg"),
        (RGB[..., 0], "png"),
        (np.dstack([RGB, RGB[..., 0]]), "png"),
        (RGB[..., 0].astype(np.uint16) * 257, "png"),
        (RGB[..., 0].astype(np.uint16) * 257, "tif"),
        (RGB[..., 0] > 127, "png"),
    ],
)
def test_grey_alpha_sixteen_and_one_bit_become_three_channels(tmp_path, array, suffix):
    path = save(tmp_path / f"a.{suffix}", array)
    im = read_image(path)
    assert verify_image(str(path)).shape == (40, 60)
    assert im.shape == (40, 60, 3)
    if array.ndim == 2 and array.dtype != bool:
        assert np.abs(im[..., 0].astype(int) - RGB[..., 0]).mean() < 3


def test_cmyk_and_palette(tmp_path):
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "c.jpg")
    Image.fromarray(RGB).convert("P").save(tmp_path / "p.png")
    for name in ("c.jpg", "p.png"):
        assert read_image(tmp_path / name).shape == (40, 60, 3)
        assert verify_image(str(tmp_path / name)).shape == (40, 60)


def test_extreme_sides(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((10, 5000, 3), np.uint8))
    assert verify_image(str(path)) == ((10, 5000), "")
    path = save(tmp_path / "b.png", np.zeros((9, 100, 3), np.uint8))
    with pytest.raises(ImageFault, match="a side is shorter than 10 pixels: 100x9"):
        verify_image(str(path))


def encoded(suffix: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (80, 80, 3), dtype=np.uint8)).save(buffer, suffix)
    return buffer.getvalue()


@pytest.mark.parametrize("check", [verify_image, lambda path: read_image(path)])
@pytest.mark.parametrize("suffix", ["jpeg", "png", "bmp", "webp", "tiff"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_found(tmp_path, suffix, share, check):
    data = encoded(suffix)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageFault, match=r"trunc|damaged|decoded"):
        check(str(path))


@pytest.mark.parametrize("check", [verify_image, lambda path: read_image(path)])
@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"<html>not found</html>", "decoded"), (b"\xff\xd8\xff", "decoded")],
)
def test_what_is_no_image(tmp_path, content, reason, check):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageFault, match=reason) as error:
        check(str(path))
    assert str(path) in str(error.value)
    assert isinstance(error.value, DataError)


@pytest.mark.parametrize("check", [verify_image, lambda path: read_image(path)])
def test_only_regular_files_are_opened(tmp_path, check):
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").mkdir()
    (tmp_path / "c.jpg").symlink_to(tmp_path / "nowhere.jpg")
    for name, reason in (
        ("a", "not a regular"),
        ("b", "not a regular"),
        ("c", "cannot be"),
        ("d", "cannot be"),
    ):
        with pytest.raises(ImageFault, match=reason):
            check(str(tmp_path / f"{name}.jpg"))


def test_bytes_after_the_end_are_damaged_but_readable(tmp_path):
    data = encoded("jpeg")
    path = tmp_path / "a.jpg"
    path.write_bytes(data + b"trailing text")
    assert verify_image(str(path)) == ((80, 80), DAMAGED)
    assert read_image(path).shape == (80, 80, 3)
    path.write_bytes(data + b"\0" * 20 + b"\n")
    assert verify_image(str(path)) == ((80, 80), "")


def test_a_large_exif_block_does_not_hide_the_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "x" * 30_000
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, exif=exif, comment=b"y" * 20_000)
    assert verify_image(str(path)).shape == read_image(path).shape[:2] == (60, 40)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_max_pixels_names_the_setting(tmp_path, suffix):
    path = save(tmp_path / f"a.{suffix}")
    for check in (verify_image, read_image):
        with pytest.raises(ImageFault, match=r"'max_pixels': 60x40 = 2400 pixels; the setting allows 2399"):
            check(str(path), max_pixels=2399)
        check(str(path), max_pixels=2400)


def test_a_pixel_bomb_is_refused_from_its_header():
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(ImageFault, match="max_pixels"):
        decode_image(data)


def test_the_documented_suffixes():
    assert {"bmp", "dng", "jpeg", "jpg", "mpo", "pfm", "png", "tif", "tiff", "webp"} <= IMG_FORMATS
    assert len(VID_FORMATS) == 12
    assert not IMG_FORMATS & VID_FORMATS
    assert not is_image("a.txt")
    assert not is_image("jpg")
