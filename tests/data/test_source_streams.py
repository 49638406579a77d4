"""Live streams: RTSP, MJPEG, TCP, RTMP and HLS from servers on the loopback interface, and webcams."""

from __future__ import annotations

import itertools
import logging
import re
import socket
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from ffmpeg_media import RtmpMedia, TcpMedia, encoded, playlist
from media_server import MediaServer
from rtsp_server import RtspServer

from yolocore.data.remote import PORTS, Web, why_closed, without_secrets
from yolocore.data.source_base import Retry
from yolocore.data.sources import load_source
from yolocore.data.streams import Feed
from yolocore.errors import ConfigError, DataError, MissingFileError

LOCAL = Web(private=True, read_seconds=5)
QUICK = Retry(attempts=2, first=0.05, longest=0.1, timeout=5)
HASTY = Retry(attempts=2, first=0.05, longest=0.1, timeout=1)


def gray(value, h=48, w=64):
    return np.full((h, w, 3), value, np.uint8)


def opened(source, retry=QUICK, **options):
    return load_source(source, web=LOCAL, retry=retry, **options)


def shades(source, most=None):
    """Return (number, gray value) of the frames of one stream, at most so many."""
    return [(source.frame, round(images[0].mean())) for _, images, _ in itertools.islice(iter(source), most)]


@pytest.fixture
def server():
    media = MediaServer()
    yield media
    media.close()


@pytest.fixture
def rtsp():
    media = RtspServer()
    yield media
    media.close()


class TestRtsp:
    def test_every_frame_of_one_camera(self, rtsp):
        rtsp.limits["live/50/20"] = 1
        source = opened(f"{rtsp.base}/live/50/20", stream_buffer=True)
        assert source.sources == [f"{rtsp.base}/live/50/20"]
        assert (source.shape, source.fps, source.frames) == ([(48, 64, 3)], [50.0], [0])
        assert shades(source) == [(i, 50) for i in range(1, 21)]
        assert rtsp.methods[:2] == ["OPTIONS", "DESCRIBE"]
        assert {"SETUP", "PLAY"} <= set(rtsp.methods)

    def test_stride_and_the_newest_frame(self, rtsp):
        source = opened(f"{rtsp.base}/live/50/400", stream_buffer=True, vid_stride=4)
        assert [n for n, _ in shades(source, 4)] == [1, 5, 9, 13]
        numbers = []
        source = opened(f"{rtsp.base}/live/50/400")
        for _ in itertools.islice(iter(source), 4):
            numbers.append(source.frame)
            time.sleep(0.1)  # five frames long
        assert numbers[-1] > 8

    def test_two_cameras_in_one_file(self, rtsp, tmp_path):
        names = [f"{rtsp.base}/live/{v}/200" for v in (50, 150)]
        (tmp_path / "two.streams").write_text("\n".join(names))
        source = opened(tmp_path / "two.streams")
        assert (source.sources, source.bs, len(source)) == (names, 2, 1)
        batches = [(paths, [round(im.mean()) for im in images]) for paths, images, _ in itertools.islice(source, 5)]
        assert (names, [50, 150]) in batches

    def test_a_lost_camera_is_called_again_with_more_and_more_patience(self, rtsp, caplog):
        rtsp.limits["live/50/5"] = 2
        retry = Retry(attempts=3, first=0.05, longest=1, timeout=5)
        with caplog.at_level(logging.WARNING):
            source = opened(f"{rtsp.base}/live/50/5", retry, stream_buffer=True)
            assert [n for n, _ in shades(source)] == list(range(1, 11))  # numbers go on
        pauses = re.findall(r"connecting again in (\S+) s", caplog.text)
        assert pauses == ["0.05", "0.05", "0.1", "0.2"]
        assert "404 Not Found" in caplog.text
        assert "the stream has ended, 3 connections in a row gave no frame" in caplog.text
        assert rtsp.served["live/50/5"] == 2

    def test_a_password_opens_and_is_told_to_nobody(self, caplog, capfd):
        media = RtspServer("admin", "s3cret")
        try:
            with caplog.at_level(logging.DEBUG):
                source = opened(f"{media.base}/live/50/3", stream_buffer=True)
                media.limits["live/50/3"] = 1
                paths, _, logs = next(batches := iter(source))
                assert paths == [f"rtsp://127.0.0.1:{media.port}/live/50/3"]
                names = [t.name for t in threading.enumerate()]
                list(batches)
                wrong = f"rtsp://admin:wr0ng@127.0.0.1:{media.port}/live/50/3"
                with pytest.raises(DataError, match=r"127\.0\.0\.1.*401 Unauthorized: give the right name and") as e:
                    opened(wrong)
        finally:
            media.close()
        told = " ".join([caplog.text, *capfd.readouterr(), *logs, *names, *source.sources, str(e.value)])
        assert not re.search("s3cret|wr0ng|admin", told)

    @pytest.mark.parametrize("how", ["open", "play"])
    def test_a_silent_server_is_given_up_within_the_limit(self, rtsp, how, capfd):
        started = time.monotonic()
        with pytest.raises(DataError, match="does not answer within 1 s|no picture came within 1 s"):
            opened(f"{rtsp.base}/silent/{how}", HASTY)
        assert time.monotonic() - started < 6
        assert "Stream timeout" in capfd.readouterr().err  # OpenCV's own word

    def test_a_camera_that_falls_silent_ends(self, rtsp, caplog, capfd):
        rtsp.limits["stalls/50/10"] = 1
        started = time.monotonic()
        with caplog.at_level(logging.WARNING):
            source = opened(f"{rtsp.base}/stalls/50/10", HASTY, stream_buffer=True)
            assert len(shades(source)) == 10
        assert "the stream has ended" in caplog.text
        assert time.monotonic() - started < 12
        capfd.readouterr()


class TestOthers:
    @pytest.mark.parametrize("form", ["mpegts", "mjpeg"])
    def test_tcp(self, form):
        picture = cv2.imencode(".jpg", gray(50))[1].tobytes()
        media = TcpMedia(picture * 20 if form == "mjpeg" else encoded(50, 20, form), most=2)
        try:
            source = opened(media.address, stream_buffer=True)
            assert source.sources == [media.address]
            assert shades(source) == [(i, 50) for i in range(1, 41)]  # of two connections
        finally:
            media.close()

    @pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="how the test learns that ffmpeg listens")
    def test_rtmp(self):
        media = RtmpMedia(150, 20)
        try:
            source = opened(media.address, stream_buffer=True)
            assert (source.shape, source.fps) == ([(48, 64, 3)], [25.0])
            assert shades(source) == [(i, 150) for i in range(1, 21)]
        finally:
            media.close()

    def test_a_recording_is_read_once_and_whole(self, server, tmp_path, caplog):
        server.files |= playlist(tmp_path, 50, 20, ended=True)
        source = opened(f"{server.base}/list.m3u8")
        assert source.frames == [20]
        with caplog.at_level(logging.WARNING):
            for _ in source:  # slower than it comes, and yet no frame is left out
                time.sleep(0.002)
        assert (source.frame, caplog.text) == (20, "")
        server.files["part1.ts"] = b""
        with caplog.at_level(logging.WARNING):
            assert 0 < len(shades(opened(f"{server.base}/list.m3u8"))) < 20
        assert "of 20" in caplog.text

    def test_a_playlist_that_goes_on(self, server, tmp_path):
        server.files |= playlist(tmp_path, 50, 20, ended=False)
        source = opened(f"{server.base}/list.m3u8", HASTY, stream_buffer=True)
        assert source.frames == [0]
        assert shades(source, 20) == [(i, 50) for i in range(1, 21)]

    @pytest.mark.parametrize(
        "playlist",
        [
            "#EXTINF:1,\n{other}/part0.ts\n",
            '#EXT-X-KEY:METHOD=AES-128,URI="{other}/part0.ts"\n#EXTINF:1,\npart0.ts\n',
            "#EXT-X-MAP:URI={other}/part0.ts\n#EXTINF:1,\npart0.ts\n",
            "#EXT-X-STREAM-INF:BANDWIDTH=1\ngone.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=1\nnested.m3u8\n",
            "#EXTINF:1,\nfile:///etc/hostname\n",
            "#EXTINF:1,\nhttp://[::1/x.ts\n",
        ],
    )
    def test_what_a_playlist_may_not_name(self, server, playlist):
        other = MediaServer()
        elsewhere = other.base.replace("127.0.0.1", "localhost")  # private, and not the host that was allowed
        head, end = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n", "#EXT-X-ENDLIST\n"
        server.files["list.m3u8"] = server.files["typed"] = f"{head}{playlist}{end}".format(other=elsewhere).encode()
        server.files["nested.m3u8"] = f"{head}#EXTINF:1,\n{elsewhere}/part0.ts\n{end}".encode()
        server.files["part0.ts"] = other.files["part0.ts"] = encoded(50, 20, "mpegts")
        server.types["typed"] = "application/vnd.apple.mpegurl"
        server.redirects["on"] = "typed"
        try:
            for name in ("list.m3u8", "on"):
                with pytest.raises(ConfigError, match="refused, as its playlist leads on"):
                    opened(f"{server.base}/{name}")
            assert other.served == {}
        finally:
            other.close()

    def test_a_playlist_of_playlists(self, server, tmp_path):
        server.files |= playlist(tmp_path, 50, 20, ended=True)
        server.files["main.m3u8"] = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlist.m3u8\n"
        assert shades(opened(f"{server.base}/main.m3u8"))[-1] == (20, 50)
        many = "".join(f"#EXT-X-STREAM-INF:BANDWIDTH=1\n{i}.m3u8\n" for i in range(100))
        server.files["main.m3u8"] = f"#EXTM3U\n{many}".encode()
        with pytest.raises(ConfigError, match="more than 64 playlists"):
            opened(f"{server.base}/main.m3u8")

    def test_a_web_camera_with_a_password(self, server):
        server.credentials = "admin:p@ss/1"
        address = f"http://admin:p%40ss%2F1@{server.base[7:]}/live/50/200"
        source = opened(address)
        assert source.sources == [f"{server.base}/live/50/200"]
        assert shades(source, 2)[-1][1] == 50
        for wrong in (f"{server.base}/live/50/200", address.replace("p%40ss", "no")):
            with pytest.raises(DataError, match="401") as error:
                opened(wrong)
            assert "no%2F1" not in str(error.value)


class TestMjpeg:
    def test_what_the_source_says(self, server):
        source = opened(f"{server.base}/live/50/200")
        batches = iter(source)
        paths, images, logs = next(batches)
        assert paths == source.sources == [f"{server.base}/live/50/200"]
        assert images[0].shape == source.shape[0] == (48, 64, 3)
        assert (source.mode, source.kind, source.bs, source.frames) == ("stream", "stream", 1, [0])
        assert source.source_type.stream
        assert source.fps[0] > 0
        assert "stream 1/1 (frame" in logs[0]
        batches.close()
        assert not [t for t in threading.enumerate() if t.name.startswith("yolocore stream")]

    def test_several_streams_share_a_batch(self, server, tmp_path):
        (tmp_path / "two.streams").write_text(
            f"# cameras\n{server.base}/live/50/150\n\n{server.base}/live/150/150\n{server.base}/live/50/150\n"
        )
        source = opened(tmp_path / "two.streams")
        names = [f"{server.base}/live/50/150", f"{server.base}/live/150/150", f"{server.base}/live/50/150#2"]
        assert (source.sources, source.bs) == (names, 3)
        batches = list(itertools.islice(iter(source), 5))
        whole = [(paths, [round(im.mean() / 10) * 10 for im in images]) for paths, images, _ in batches]
        assert (names, [50, 150, 50]) in whole

    def test_all_are_told_to_stop_before_one_is_waited_for(self, server, monkeypatch):
        source = opened([f"{server.base}/live/50/500", f"{server.base}/live/150/500"])
        told = []
        close = Feed.close
        monkeypatch.setattr(Feed, "close", lambda feed: (told.append([f.closed for f in source._feeds]), close(feed)))
        next(batches := iter(source))
        batches.close()  # a camera that hangs takes its time, and in it no other may be called again
        assert told == [[True, True]] * 2

    def test_a_stream_that_ends_leaves_the_other_running(self, server):
        server.limits["live/50/5"] = 3
        source = opened([f"{server.base}/live/50/5", f"{server.base}/live/150/120"])
        counts = {50: 0, 150: 0}
        for paths, _, _ in itertools.islice(iter(source), 30):
            for path in paths:
                counts[int(path.split("/")[-2])] += 1
        assert counts[150] > counts[50] > 0

    def test_a_lost_stream_is_called_again(self, server, caplog):
        address = f"{server.base}/live/50/10"
        with caplog.at_level(logging.WARNING):
            source = opened(address, stream_buffer=True)
            assert len(list(itertools.islice(iter(source), 25))) == 25
        assert "connecting again in 0.05 s" in caplog.text
        assert server.served["live/50/10"] >= 4

    def test_after_the_last_attempt_it_ends(self, server, caplog):
        server.limits["live/50/10"] = 3  # the kind, the address, and ffmpeg itself
        started = time.monotonic()
        with caplog.at_level(logging.WARNING):
            found = shades(opened(f"{server.base}/live/50/10", stream_buffer=True))
        assert 0 < len(found) <= 10
        assert "the stream has ended, 2 connections in a row gave no frame" in caplog.text
        assert time.monotonic() - started < 20

    def test_without_a_buffer_only_the_newest_frame_counts(self, server):
        def frames(**options):
            source = opened(f"{server.base}/live/50/400", **options)
            found = []
            for _ in itertools.islice(iter(source), 5):
                found.append(source.frame)
                time.sleep(0.1)
            return found

        assert frames(stream_buffer=True) == [1, 2, 3, 4, 5]
        newest = frames()
        assert newest[-1] > 8
        assert newest == sorted(set(newest))

    def test_a_stream_goes_on_when_a_full_buffer_has_room_again(self, server):
        stream = iter(opened(f"{server.base}/live/50/400", stream_buffer=True))
        found = [next(stream)]

        def read():
            time.sleep(2)  # until 30 frames wait and no more are taken from the network
            found.extend(itertools.islice(stream, 59))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(30)
        assert len(found) == 60
        stream.close()


class TestCameras:
    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cameras are files there")
    def test_a_number_without_a_camera_is_one_line(self, capfd):
        there = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none at all"
        for number in (97, "97"):
            with pytest.raises(DataError) as error:
                load_source(number)
            expected = f"webcam 97: the stream cannot be opened: there is no /dev/video97, only {there}"
            assert str(error.value) == expected
        assert "".join(capfd.readouterr()) == ""  # OpenCV was not even asked

    def test_other_numbers(self):
        for bad in (True, -1):
            with pytest.raises(ConfigError, match="webcam"):
                load_source(bad)


class TestFaults:
    def test_nobody_there(self, capfd):
        with pytest.raises(DataError, match="tcp://127.0.0.1:9: the stream cannot be opened: Connection refused"):
            opened("tcp://127.0.0.1:9")
        with pytest.raises(DataError, match="cannot be reached.*Connection refused"):
            opened("http://127.0.0.1:9/a.mjpg")
        capfd.readouterr()  # what FFmpeg prints

    def test_without_a_port_the_usual_one_of_the_protocol_is_asked(self, monkeypatch):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        monkeypatch.setitem(PORTS, "rtsp", port)  # nobody listens there any more
        assert why_closed("rtsp://127.0.0.1/x", 5) == "Connection refused"
        assert why_closed("udp://127.0.0.1/x", 5) == ""

    def test_lists_and_mixtures(self, tmp_path):
        (tmp_path / "bad.streams").write_text("# none\nhere.jpg\n")
        with pytest.raises(DataError, match=r"bad\.streams:2: 'here\.jpg' is no stream"):
            load_source(tmp_path / "bad.streams")
        with pytest.raises(MissingFileError):
            load_source("cameras.streams")
        cv2.imwrite(str(tmp_path / "a.png"), gray(1))
        (tmp_path / "both.txt").write_text("a.png\nrtsp://8.8.8.8/1\n")
        for mixed in ([tmp_path / "a.png", 97], [gray(1), "rtsp://8.8.8.8/1"], [gray(1), tmp_path / "both.txt"]):
            with pytest.raises(ConfigError, match="cannot be mixed"):
                load_source(mixed)

    @pytest.mark.parametrize("address", ["rtsp://127.0.0.1:99999/x", "rtsp://[::1/x", "rtsp:///x"])
    def test_addresses_that_are_none(self, address):
        with pytest.raises(ConfigError, match="source='rtsp"):
            load_source(address)

    @pytest.mark.parametrize(
        ("address", "shown"),
        [
            ("rtsp://u:p@ss@h/1", "rtsp://h/1"),
            ("http://h/v?user=u&password=p#x", "http://h/v?user=u&password=***#x"),
            ("http://h/v?X-Amz-Signature=abc&v=1&monkey=2", "http://h/v?X-Amz-Signature=***&v=1&monkey=***"),
            ("rtsp://h/user=u_password=p_channel=1", "rtsp://h/user=u_password=***"),
            ("http://h/a@b/c?q=d@e", "http://h/a@b/c?q=d@e"),
        ],
    )
    def test_what_stays_secret(self, address, shown):
        assert without_secrets(address) == shown
