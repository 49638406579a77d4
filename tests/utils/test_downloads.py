"""Fetching weights from a server of our own: cut off, resumed, forged, missing, offline."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest
from weights_server import WeightsServer, serving

from yolocore.errors import CheckpointError, ConfigError, MissingFileError
from yolocore.utils.downloads import advice, fetch_asset, known_assets
from yolocore.utils.transfer import Download

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "yolo11n.pt"
CONTENT = bytes(range(256)) * 3000
FAST = Download(pause=0, read_seconds=10)


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    for state in serving():
        state.files[NAME] = CONTENT
        yield state


def fetch(server: WeightsServer, folder: Path, options: Download = FAST, **more) -> Path:
    return fetch_asset(NAME, folder, server.url, private=True, options=options, **more)


def left_over(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


def test_the_names_are_those_of_the_published_files() -> None:
    names = set(known_assets())
    assert {"yolo11n.pt", "yolov8x-seg.pt", "yolo11s-obb.pt", "yolo12l.pt", "yolov10b.pt", "yolo26m.pt"} <= names
    assert len([n for n in names if n.startswith(("yolo11", "yolov8"))]) == 50
    assert {asset.license for asset in known_assets().values()} == {"AGPL-3.0"}


def test_a_listed_hash_proves_the_file(server, tmp_path, caplog) -> None:
    server.list_hashes()
    seen: list[tuple[int, int | None]] = []
    with caplog.at_level(logging.INFO, "yolocore"):
        path = fetch(server, tmp_path / "weights", Download(progress=lambda *n: seen.append(n)))
    assert path.read_bytes() == CONTENT
    assert left_over(tmp_path / "weights") == [NAME]
    text = caplog.text
    assert text.index("licence of these weights is AGPL-3.0") < text.index("100 %")  # before, not after
    assert "unverified" not in text
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [n for n, _ in seen] == sorted(n for n, _ in seen)


def test_without_a_known_hash_it_says_so_and_checks_the_format(server, tmp_path, caplog) -> None:
    checked: list[bytes] = []
    fetch(server, tmp_path, verify=lambda path: checked.append(path.read_bytes()))
    assert checked == [CONTENT]
    assert "unverified" in caplog.text

    def damaged(path: Path) -> None:
        raise CheckpointError(f"{path}: not a weights file")

    (tmp_path / NAME).unlink()
    with pytest.raises(CheckpointError, match="not a weights file"):
        fetch(server, tmp_path, verify=damaged)
    assert left_over(tmp_path) == []


def test_a_wrong_hash_leaves_nothing(server, tmp_path) -> None:
    server.list_hashes(**{NAME: "0" * 64})
    with pytest.raises(CheckpointError, match=r"SHA-256 [0-9a-f]{64}, expected 0{64}; it was deleted"):
        fetch(server, tmp_path)
    assert left_over(tmp_path) == []


def test_a_cut_connection_goes_on_where_it_was(server, tmp_path) -> None:
    server.list_hashes()
    server.cut = [100_000, 200_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked_for(NAME) == [None, "bytes=100000-", "bytes=300000-"]


def test_a_later_call_continues_the_partial_file(server, tmp_path) -> None:
    server.cut = [250_000]
    with pytest.raises(MissingFileError, match=r"250000 of \d+ bytes.*250000 bytes are kept"):
        fetch(server, tmp_path, Download(attempts=1))
    assert f".{NAME}.part" in left_over(tmp_path)
    assert not (tmp_path / NAME).exists()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked_for(NAME)[-1] == "bytes=250000-"
    assert left_over(tmp_path) == [NAME]


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(server, tmp_path) -> None:
    server.cut = [250_000]
    with pytest.raises(MissingFileError):
        fetch(server, tmp_path, Download(attempts=1))
    server.files[NAME], server.tag = CONTENT[::-1], '"two"'
    assert fetch(server, tmp_path).read_bytes() == CONTENT[::-1]


def test_without_ranges_or_marks_it_starts_again(server, tmp_path) -> None:
    server.list_hashes()
    server.ranges, server.cut = False, [250_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    (tmp_path / NAME).unlink()
    del server.files["SHA256SUMS"]
    server.ranges, server.tag, server.cut = True, "", [250_000]
    server.requests.clear()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked_for(NAME) == [None, None]  # nothing would tell whether two parts belong together


def test_a_complete_partial_file_is_only_proven(server, tmp_path) -> None:
    server.list_hashes()

    def crash(path: Path) -> None:
        raise RuntimeError("the process dies here")

    with pytest.raises(RuntimeError):
        fetch(server, tmp_path, verify=crash)
    server.requests.clear()
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked_for(NAME) == []


def test_missing_on_the_server_and_offline(server, tmp_path) -> None:
    del server.files[NAME]
    with pytest.raises(MissingFileError, match="answers 404"):
        fetch(server, tmp_path)
    with pytest.raises(MissingFileError, match=r"could not be fetched \(.*refused.*put the file into weights_dir"):
        fetch_asset(NAME, tmp_path, "http://127.0.0.1:9", private=True, options=Download(attempts=1))
    assert left_over(tmp_path) == []


def test_too_large_is_refused(server, tmp_path) -> None:
    with pytest.raises(CheckpointError, match="larger than 1000 bytes"):
        fetch(server, tmp_path, Download(max_bytes=1000))
    assert left_over(tmp_path) == []


def test_private_addresses_need_a_person(server, tmp_path) -> None:
    with pytest.raises(ConfigError, match="private network; refused"):
        fetch_asset(NAME, tmp_path, server.url)
    with pytest.raises(ConfigError, match="private network; refused"):
        fetch_asset(NAME, tmp_path, "http://169.254.169.254/latest")
    assert server.requests == []
    server.onward = "http://169.254.169.254/latest"
    with pytest.raises(ConfigError, match=r"leads to 169\.254\.169\.254"):
        fetch(server, tmp_path)
    server.onward = "file:///etc/passwd"
    with pytest.raises(ConfigError, match="not encrypted"):
        fetch(server, tmp_path)
    server.onward = f"{server.url}/again"
    with pytest.raises(MissingFileError, match="redirects more than"):
        fetch(server, tmp_path)
    with pytest.raises(ConfigError, match="expected an address"):
        fetch_asset(NAME, tmp_path, "ftp://example.org")


def test_two_at_once_fetch_it_once(server, tmp_path) -> None:
    server.list_hashes()
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(server, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / NAME] * 4
    assert server.asked_for(NAME) == [None]


def test_the_advice_says_what_to_do(tmp_path) -> None:
    text = advice(NAME, tmp_path, "")
    assert str(tmp_path / NAME) in text
    assert "yolo settings assets_url=" in text
    assert "AGPL-3.0" in text
    assert "assets_url" not in advice("mine.pt", tmp_path, "")
