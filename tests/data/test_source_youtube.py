"""Videos of YouTube, found by the real yt-dlp, whose generic reader looks at pages of a server on this machine."""

from __future__ import annotations

import gc
import logging
import sys

import pytest
from ffmpeg_media import encoded, playlist
from media_server import MediaServer

from yolocore.data.remote import Web
from yolocore.data.sources import load_source
from yolocore.data.youtube import is_video_page, video_address
from yolocore.errors import ConfigError, DataError, UnsupportedError

LOCAL = Web(private=True, read_seconds=5)
MASTER = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=9000000,RESOLUTION=3840x2160,CODECS="avc1.640033"
large.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=5000000,RESOLUTION=1920x1080,CODECS="av01.0.08M.08"
unreadable.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2000000,RESOLUTION=1280x720,CODECS="avc1.4d401f"
right.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=640x360,CODECS="avc1.4d401e"
small.m3u8
"""


@pytest.fixture
def server():
    media = MediaServer()
    yield media
    media.close()


@pytest.mark.parametrize(
    ("address", "is_page"),
    [
        ("https://www.youtube.com/watch?v=x", True),
        ("http://m.youtube.com/live/x", True),
        ("https://youtu.be/x?t=1", True),
        ("https://www.youtube-nocookie.com/embed/x", True),
        ("https://example.com/youtube.com/x", False),
        ("https://notyoutube.com/x", False),
        ("https://youtube.com.example.com/x", False),
        ("https://youtube.com@example.com/x", False),
        ("rtsp://youtu.be/x", False),
    ],
)
def test_which_addresses_are_pages(address, is_page):
    assert is_video_page(address) == is_page


def test_without_its_package_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "yt_dlp", None)  # to Python: not installed
    page = "https://youtu.be/x"
    (tmp_path / "a.streams").write_text(page)
    (tmp_path / "a.txt").write_text(page)
    for source in (page, [page], tmp_path / "a.streams", tmp_path / "a.txt"):
        with pytest.raises(UnsupportedError, match=r'youtu\.be/x.*pip install "yolocore\[youtube\]"'):
            load_source(source)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # yt-dlp leaves answers to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestResolving:
    @pytest.fixture(autouse=True)
    def package(self):
        yield pytest.importorskip("yt_dlp", reason="needs the package yt-dlp")
        gc.collect()  # here, not in another test

    @pytest.fixture(autouse=True)
    def quiet(self, tmp_path, monkeypatch, capfd, caplog):
        """A home with a configuration that would break everything; nothing is printed or written."""
        home = tmp_path / "home"
        (home / ".config" / "yt-dlp").mkdir(parents=True)
        (home / ".config" / "yt-dlp" / "config").write_text("--format nonsense\n--verbose\n--exec 'touch there'\n")
        (home / "yt-dlp.conf").write_text("--format nonsense\n--write-info-json\n")
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
        monkeypatch.chdir(home)
        before = sorted(home.rglob("*"))
        with caplog.at_level(logging.INFO):
            yield
        assert sorted(home.rglob("*")) == before
        assert "".join(capfd.readouterr()) == caplog.text == ""

    def test_a_page_with_a_video(self, server):
        server.files["clip.mp4"] = encoded(50, 5, "mpegts")
        video = f"{server.base}/clip.mp4"
        server.files["page.html"] = f"<html><title>a</title><video src='{video}'></video></html>".encode()
        assert video_address(f"{server.base}/page.html", LOCAL) == video
        assert video_address(video, LOCAL) == video

    def test_the_best_picture_that_can_be_read(self, server, tmp_path):
        server.files["master.m3u8"] = MASTER.encode()
        found = video_address(f"{server.base}/master.m3u8", LOCAL)
        assert found == f"{server.base}/right.m3u8"
        files = playlist(tmp_path, 50, 10, ended=True)
        server.files |= {**files, "right.m3u8": files["list.m3u8"]}
        source = load_source(found, web=LOCAL)
        assert sum(len(paths) for paths, _, _ in source) == source.frames[0] == 10

    def test_what_is_no_video(self, server):
        video = f"<video src='{server.base}/clip.mp4'></video>"
        server.files["two.html"] = f"<html><title>a</title>{video}{video.replace('clip', 'other')}</html>".encode()
        server.files["none.html"] = b"<html><p>nothing</html>"
        with pytest.raises(ConfigError, match="is a list of videos"):
            video_address(f"{server.base}/two.html", LOCAL)
        with pytest.raises(DataError, match="none.html: the video cannot be opened: Unsupported URL"):
            video_address(f"{server.base}/none.html", LOCAL)
        with pytest.raises(DataError, match="gone.html: the video cannot be opened: .*404") as error:
            video_address(f"{server.base}/gone.html", LOCAL)
        assert "\n" not in str(error.value)
        assert "report" not in str(error.value)

    def test_private_networks_are_off_unless_allowed(self, server):
        with pytest.raises(ConfigError, match="private network"):
            video_address(f"{server.base}/page.html", Web())
        assert server.served == {}


def test_it_is_opened_as_a_stream(server, monkeypatch):
    """The page is looked up when the stream is opened; only where pages are is changed here, as there is no network."""
    pytest.importorskip("yt_dlp", reason="needs the package yt-dlp")
    name = "watch?v=1"
    server.files[name], server.types[name] = encoded(50, 8, "mpegts"), "video/mp2t"
    page = f"{server.base}/{name}"
    for module in ("streams", "source_paths"):
        monkeypatch.setattr(f"yolocore.data.{module}.is_video_page", lambda address: address == page)
    source = load_source(page, web=LOCAL, stream_buffer=True)
    assert source.sources == [page]
    assert (source.mode, source.kind) == ("stream", "stream")
    paths, images, _ = next(iter(source))
    assert paths == [page]
    assert round(images[0].mean()) == 50
