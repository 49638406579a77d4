"""What prediction can look at, and what it says about the rest."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from ffmpeg_media import encoded
from PIL import Image

from yolocore.data.sources import as_bgr, load_source
from yolocore.errors import ConfigError, ConfigTypeError, DataError, MissingFileError


def picture(value=0, h=8, w=12):
    return np.full((h, w, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        Image.fromarray(picture(10 * i)).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.md").write_text("no image")
    return tmp_path


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for i in range(5):
        writer.write(picture(40 * i, 48, 64))
    writer.release()
    return path


def names(source, **options):
    return [[Path(p).name for p in paths] for paths, _, _ in load_source(source, **options)]


class TestPaths:
    def test_a_folder_is_sorted_and_comes_in_bounded_batches(self, folder):
        source = load_source(folder, batch=3)
        assert names(folder, batch=3) == [["0.png", "1.png", "2.png"], ["3.png"]]
        assert (len(source), source.nf, source.ni, source.bs) == (2, 4, 4, 3)
        paths, images, logs = next(iter(source))
        assert [im.max() for im in images] == [0, 10, 20]
        assert logs[1] == f"image 2/4 {paths[1]}: "
        assert (source.mode, source.kind, source.frames_of_batch) == ("image", None, [0, 0, 0])

    def test_files_patterns_and_lists_of_them(self, folder):
        assert names(str(folder / "2.png")) == [["2.png"]]
        assert names(f"{folder}/[12].png", batch=9) == [["1.png", "2.png"]]
        assert names(f"{folder}/**/3.png", batch=9) == [["3.png"]]
        assert names([folder / "3.png", str(folder / "0.png")], batch=9) == [["3.png", "0.png"]]
        assert names((folder / "3.png", folder), batch=9) == [["3.png", "0.png", "1.png", "2.png", "3.png"]]

    def test_a_list_honours_the_batch(self, folder):
        assert [len(b) for b in names([str(folder / "0.png")] * 7, batch=2)] == [2, 2, 2, 1]

    def test_list_files_are_relative_to_themselves(self, folder, tmp_path, monkeypatch):
        (folder / "list.txt").write_text("\ufeff2.png\n\n./0.png\n", encoding="utf-8")
        (folder / "list.csv").write_text('path,label\n"1.png",a\n3.png,b\n')
        monkeypatch.chdir("/")
        assert names(folder / "list.txt", batch=9) == [["2.png", "0.png"]]
        assert names(folder / "list.csv", batch=9) == [["1.png", "3.png"]]
        (folder / "empty.txt").write_text("\n")
        with pytest.raises(DataError, match="names no image"):
            load_source(folder / "empty.txt")

    @pytest.mark.parametrize("name", ["two words.png", "žluťoučký.png", "a[1]*.png", "日本.png", "x" * 200 + ".PNG"])
    def test_odd_names(self, tmp_path, name):
        Image.fromarray(picture(7)).save(tmp_path / name, format="png")
        (_, images, _), *_ = load_source(tmp_path / name)
        assert images[0].max() == 7
        assert names(tmp_path) == [[name]]

    def test_a_pattern_goes_into_each_folder_once(self, folder, tmp_path):
        deep = folder / "deep" / "er"
        deep.mkdir(parents=True)
        (folder / "0.png").rename(deep / "d.png")
        (folder / ".hidden").mkdir()
        (folder / "1.png").rename(folder / ".hidden" / "h.png")
        for name in ("one", "two"):  # without care these two make 2^40 paths
            (deep / name).symlink_to(folder)
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked" / "l.png").write_bytes((folder / "2.png").read_bytes())
        (folder / "link").symlink_to(tmp_path / "linked")
        assert names(f"{folder}/**/*.png") == [["2.png"], ["3.png"], ["d.png"], ["l.png"]]
        assert names(f"{folder}/**/deep/**/*.png") == [["d.png"], ["2.png"], ["3.png"], ["l.png"]]  # through a link
        assert [p for p in load_source(f"{folder}/**").files if not p.endswith(".md")] == [
            f"{folder}/{name}" for name in ("2.png", "3.png", "deep/er/d.png", "link/l.png")
        ]

    def test_a_home_is_expanded(self, folder, monkeypatch):
        monkeypatch.setenv("HOME", str(folder))
        assert names("~/1.png") == [["1.png"]]

    def test_iterating_twice_starts_over(self, folder):
        source = load_source(folder, batch=3)
        assert len(list(source)) == len(list(source)) == 2


class TestFaults:
    def test_missing_things_are_named(self, folder):
        with pytest.raises(MissingFileError, match="nothing_here"):
            load_source("nothing_here.jpg")
        with pytest.raises(MissingFileError, match="no file matches"):
            load_source(f"{folder}/*.webp")
        (folder / "list.txt").write_text("gone.png")
        with pytest.raises(MissingFileError, match=r"gone\.png"):
            load_source(folder / "list.txt")

    def test_what_is_no_image_is_refused_with_the_suffixes(self, folder, tmp_path):
        with pytest.raises(DataError, match=r"'\.md' is not read; these are: .*jpg.*png"):
            load_source(folder / "notes.md")
        empty = tmp_path / "empty"
        empty.mkdir()
        with pytest.raises(DataError, match="no image or video in the folder"):
            load_source(empty)
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(DataError, match="neither a regular file"):
            load_source(tmp_path / "pipe.jpg")

    def test_lists_name_the_line_of_a_fault(self, folder):
        def listed(name, content):
            (folder / name).write_bytes(content)
            return load_source(folder / name)

        with pytest.raises(MissingFileError, match=r"l\.txt:3: source=.*gone\.png"):
            listed("l.txt", b"0.png\r\n\r\ngone.png\r\n")
        with pytest.raises(MissingFileError, match=r"l\.csv:2: source=.*gone\.png"):
            listed("l.csv", b"Image_Path,label\ngone.png,1\n")
        with pytest.raises(DataError, match=r"l\.txt:1: 'l\.txt' is a list itself"):
            listed("l.txt", b"l.txt\n")
        with pytest.raises(MissingFileError, match=r"l\.txt:1: source=.*/7'"):
            listed("l.txt", b"7\n")  # no webcam
        for name in ("l.txt", "l.csv", "l.streams"):
            with pytest.raises(DataError, match=rf"{name}: byte 0 is not UTF-8"):
                listed(name, "0.png".encode("utf-16"))

    def test_links_that_lead_nowhere_are_told(self, folder, caplog):
        (folder / "gone.png").symlink_to("nothing")
        (folder / "self.avi").symlink_to("self.avi")
        os.mkfifo(folder / "pipe.avi")
        (folder / "dir.png").mkdir()
        source = load_source(folder)
        with caplog.at_level(logging.WARNING):
            assert len(list(source)) == 4
        assert source.skipped == 3
        for told in ("gone.png: cannot be opened", "self.avi: cannot be opened", "pipe.avi: not a regular file"):
            assert told in caplog.text
        for path in folder.glob("[0-9].png"):
            path.unlink()
        with pytest.raises(DataError, match="nothing could be read"):
            list(load_source(f"{folder}/gone.*"))
        with pytest.raises(DataError, match="no image or video in the pattern"):
            load_source(f"{folder}/dir.*")

    @pytest.mark.parametrize(
        ("source", "kind", "why"),
        [
            ("", ConfigError, "text is empty"),
            ([" "], ConfigError, "text is empty"),
            ("~nobody.jpg", MissingFileError, "no such file"),
            ("a" * 300 + ".jpg", DataError, "File name too long"),
        ],
    )
    def test_texts_that_name_nothing(self, source, kind, why):
        with pytest.raises(kind, match=why):
            load_source(source)

    def test_bad_images_are_skipped_counted_and_named(self, folder, caplog):
        (folder / "1.png").write_bytes(b"not an image")
        (folder / "2.png").write_bytes(b"")
        source = load_source(folder, batch=3)
        with caplog.at_level(logging.WARNING):
            batches = list(source)
        assert [len(paths) for paths, _, _ in batches] == [2]
        assert source.skipped == 2
        assert "1.png" in caplog.text
        assert "2 of 4 sources were skipped" in caplog.text

    def test_nothing_readable_is_an_error_and_strict_makes_every_fault_one(self, folder):
        (folder / "1.png").write_bytes(b"")
        with pytest.raises(DataError, match=r"nothing could be read\n.*1\.png"):
            list(load_source(folder / "1.png"))
        with pytest.raises(DataError, match=r"1\.png"):
            list(load_source(folder, strict=True))

    def test_too_many_pixels(self, folder):
        with pytest.raises(DataError, match="max_pixels"):
            list(load_source(folder / "0.png", max_pixels=10))

    def test_wrong_types_name_what_is_accepted(self):
        with pytest.raises(ConfigTypeError, match=r"got a dict; it is a path .* PIL images"):
            load_source({})
        with pytest.raises(ConfigTypeError, match=r"the list holds a Tensor; .* stack tensors"):
            load_source([torch.zeros(3, 32, 32)])
        with pytest.raises(DataError, match="empty"):
            load_source([])


class TestMemory:
    def test_arrays_are_bgr_and_named_by_position(self):
        source = load_source([picture(1), picture(2), picture(3)], batch=2)
        batches = list(source)
        assert [paths for paths, _, _ in batches] == [["image0.jpg", "image1.jpg"], ["image2.jpg"]]
        assert source.source_type.from_img
        (paths, images, _), *_ = load_source(picture(9))
        assert paths == ["image0.jpg"]
        assert images[0].max() == 9
        assert len(names(np.stack([picture()] * 3))) == 3

    def test_pictures_are_turned_upright_and_become_bgr(self):
        im = Image.new("RGB", (4, 2), (255, 0, 0))
        im.getexif()[0x0112] = 6  # to be shown rotated by a quarter
        (_, images, _), *_ = load_source(im)
        assert images[0].shape == (4, 2, 3)
        assert images[0][0, 0].tolist() == [0, 0, 255]

    def test_mixtures_keep_their_order(self, folder):
        mixed = [folder / "3.png", picture(99), Image.new("L", (5, 6), 50), str(folder / "1.png")]
        batches = list(load_source(mixed, batch=4))
        assert [Path(p).name for p in batches[0][0]] == ["3.png", "image1.jpg", "image2.jpg", "1.png"]
        assert [int(im.max()) for im in batches[0][1]] == [30, 99, 50, 10]

    def test_files_among_arrays_that_cannot_be_read_are_counted(self, folder, caplog):
        (folder / "bad.png").write_bytes(b"nothing")
        source = load_source([picture(1), folder / "bad.png", picture(2)])
        assert [paths for paths, _, _ in source] == [["image0.jpg"], ["image2.jpg"]]
        assert source.skipped == 1
        assert "bad.png" in source.reasons[0]
        assert "1 of 3 sources were skipped" in caplog.text

    def test_logs_tell_the_place_among_all(self):
        logs = [log for _, _, batch in load_source([picture(), picture()]) for log in batch]
        assert logs == ["image 1/2 image0.jpg: ", "image 2/2 image1.jpg: "]
        ((_, _, logs),) = load_source(torch.zeros(2, 3, 32, 32))
        assert logs == ["image 1/2: ", "image 2/2: "]

    @pytest.mark.parametrize("given", [torch.zeros(2, 3, 32, 32), [np.zeros((8, 12, 3), np.uint8)] * 2])
    def test_what_a_source_says_before_it_is_read(self, given):
        source = load_source(given)
        assert (source.mode, source.kind, source.frame, source.frames, source.fps) == ("image", None, 0, 0, 0)
        assert (source.skipped, source.reasons, source.frames_of_batch) == (0, [], [])

    def test_every_layout_becomes_three_channels_of_uint8(self):
        gray = np.arange(6, dtype=np.uint8).reshape(2, 3)
        for image in (gray, gray[..., None], np.dstack([gray] * 4), gray.astype(np.uint16) << 8):
            out = as_bgr(image)
            assert out.shape == (2, 3, 3)
            assert out.dtype == np.uint8
            assert (out == gray[..., None]).all()
        assert as_bgr(Image.fromarray(gray.astype(np.uint16) << 8)).max() == 5
        assert as_bgr(Image.new("RGBA", (3, 2), (1, 2, 3, 0)))[0, 0].tolist() == [3, 2, 1]
        assert as_bgr(picture()[:, ::-1]).flags.c_contiguous

    def test_pictures_that_cannot_be_read(self, folder):
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(folder / "cut.jpg")
        (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:2000])
        with Image.open(folder / "cut.jpg") as cut, pytest.raises(DataError, match=r"image0\.jpg: .*truncated"):
            list(load_source(cut))
        closed = Image.new("RGB", (4, 4))
        closed.close()
        for im in (closed, Image.new("La", (4, 4))):
            with pytest.raises(DataError, match=r"image0\.jpg: the image of mode .* cannot be read"):
                list(load_source(im))
        assert as_bgr(Image.new("I", (2, 2), 70_000)).max() == 255

    @pytest.mark.parametrize(
        "image",
        [
            np.zeros((3, 8, 8), np.uint8),
            np.zeros((0, 8, 3), np.uint8),
            np.zeros((0, 8, 8, 3), np.uint8),
            np.zeros((8, 8, 3)),
        ],
    )
    def test_what_is_no_image_array(self, image):
        with pytest.raises(DataError, match=r"image0\.jpg: got"):
            list(load_source(image))

    def test_tensors_are_one_batch(self):
        x = torch.rand(3, 3, 32, 64)
        source = load_source(x, batch=1)
        ((paths, images, logs),) = source
        assert images is x
        assert paths == ["image0.jpg", "image1.jpg", "image2.jpg"]
        assert (len(source), len(logs), source.source_type.tensor) == (1, 3, True)
        ((_, images, _),) = load_source(x.clone().requires_grad_())
        assert torch.equal(images, x)
        ((_, images, _),) = load_source((x[0] * 255).to(torch.uint8))
        assert images.shape == (1, 3, 32, 64)
        assert images.max() <= 1

    @pytest.mark.parametrize(
        ("tensor", "why"),
        [
            (torch.zeros(2, 32, 32, 3), r"\(B, 3, H, W\)"),
            (torch.zeros(0, 3, 32, 32), r"\(B, 3, H, W\)"),
            (torch.full((1, 3, 32, 32), 200.0), "divide by 255"),
            (torch.full((1, 3, 32, 32), -1.0), "not normalised"),
            (torch.full((1, 3, 32, 32), torch.nan), "from nan to nan"),
            (torch.zeros(1, 3, 32, 32, dtype=torch.int64), "or uint8"),
        ],
    )
    def test_tensors_of_another_kind(self, tensor, why):
        with pytest.raises(DataError, match=why):
            load_source(tensor)

    def test_nothing_means_the_bundled_samples_with_one_warning(self, caplog):
        with caplog.at_level(logging.WARNING):
            batches = list(load_source(None))
        assert len(batches) >= 1
        assert sum("sample images" in r.message for r in caplog.records) == 1


class TestVideos:
    def test_every_frame_is_an_image(self, clip):
        source = load_source(clip, batch=2)
        seen = []
        for _, images, logs in source:
            seen.append((len(images), source.frame, source.frames_of_batch, source.mode, source.kind))
            assert "(frame" in logs[0]
        assert seen == [
            (2, 2, [1, 2], "video", "video"),
            (2, 4, [3, 4], "video", "video"),
            (1, 5, [5], "video", "video"),
        ]
        assert source.video_flag == [True]
        assert (source.ni, source.frames) == (0, 5)
        assert source.fps == pytest.approx(10)
        assert source.cap is None

    def test_stride(self, clip):
        source = load_source(clip, batch=9, vid_stride=2)
        ((_, images, _),) = source
        assert source.frames_of_batch == [1, 3, 5]
        assert [round(im.mean() / 40) for im in images] == [0, 2, 4]

    def test_stills_and_videos_never_share_a_batch(self, clip):
        for stem in ("a", "z"):
            Image.fromarray(picture()).save(clip.parent / f"{stem}.png")
        source = load_source(clip.parent, batch=9)
        kinds = [(source.kind, len(paths)) for paths, _, _ in source]
        assert kinds == [(None, 1), ("video", 5), (None, 1)]

    @pytest.mark.parametrize("name", ["12:30:05.mp4", "file:x.mp4", "a%03d #1.mp4", "~draft.mp4", "[ü].mp4"])
    def test_odd_names(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        Path(name).write_bytes(encoded(100, 20, "mpegts"))  # only FFmpeg reads it
        assert [round(im.mean(), -1) for _, (im,), _ in load_source(name, vid_stride=10)] == [100, 100]

    @pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
    def test_a_name_that_is_no_text_does_not_end_the_process(self, clip):
        odd = clip.with_name(os.fsdecode(b"\xff.avi"))
        clip.rename(odd)
        with pytest.raises(DataError, match="the name of a video has to be UTF-8"):
            list(load_source(odd, strict=True))

    def test_cut_and_broken_videos_end(self, clip, caplog):
        rng = np.random.default_rng(0)
        writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
        for _ in range(20):
            writer.write(rng.integers(0, 255, (240, 320, 3), np.uint8))
        writer.release()
        data = clip.read_bytes()
        clip.write_bytes(data[: len(data) * 2 // 3])
        assert 1 <= sum(len(paths) for paths, _, _ in load_source(clip)) < 20
        assert re.search(r"ended after frame \d+ of 20", caplog.text)
        clip.write_bytes(b"nothing")
        with pytest.raises(DataError, match="not a video"):
            list(load_source(clip))

    @pytest.mark.parametrize(("stride", "whole", "rest"), [(1, [1, 2, 3, 4], [1, 2, 3]), (3, [1, 4], [1])])
    def test_the_last_frame_is_missed(self, clip, caplog, stride, whole, rest):
        writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
        for value in (50, 100, 150, 200):
            writer.write(np.full((48, 64, 3), value, np.uint8))
        writer.release()
        data = clip.read_bytes()
        source = load_source(clip, vid_stride=stride)
        assert [source.frame for _ in source] == whole
        assert not caplog.text
        clip.write_bytes(data[: data.rindex(b"00dc", 0, data.rindex(b"idx1"))])  # AVI: chunks of frames, then an index
        assert [source.frame for _ in source] == rest
        assert f"ended after frame {rest[-1]} of 4" in caplog.text
