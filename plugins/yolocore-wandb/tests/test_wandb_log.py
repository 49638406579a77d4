"""The reader of wandb's log: whole, torn, and larger than a block."""

from __future__ import annotations

import zlib

import pytest

from yolocore_wandb.record import BLOCK, HEAD, MAGIC, is_complete, messages


def encode(contents: list[bytes]) -> bytes:
    """Write messages as LevelDB's log does."""
    out = bytearray(MAGIC)
    for content in contents:
        rest, first = content, True
        while True:
            left = BLOCK - len(out) % BLOCK
            if left < HEAD:
                out += bytes(left)
                continue
            piece, rest = rest[: left - HEAD], rest[left - HEAD :]
            kind = {(True, True): 1, (True, False): 2, (False, False): 3, (False, True): 4}[first, not rest]
            checksum = zlib.crc32(piece, zlib.crc32(bytes([kind])))
            out += checksum.to_bytes(4, "little") + len(piece).to_bytes(2, "little") + bytes([kind]) + piece
            first = False
            if not rest:
                break
    return bytes(out)


CONTENTS = [b"a" * n for n in (0, 1, 100, BLOCK, 3 * BLOCK, 7, BLOCK - 50, 11, 2 * BLOCK - 4, 5)]


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "run-x.wandb"
    path.write_bytes(encode(CONTENTS))
    return path


def test_messages_of_all_lengths(log):
    assert list(messages(log)) == CONTENTS


def test_the_tail_holds_the_last_messages(log):
    tail = list(messages(log, tail=True))
    assert tail
    assert CONTENTS[-len(tail) :] == tail


def test_a_torn_log_gives_what_was_written_whole(log):
    data = log.read_bytes()
    for cut in range(HEAD, len(data), 997):
        log.write_bytes(data[:cut])
        read = list(messages(log))
        assert read == CONTENTS[: len(read)]
    log.write_bytes(data[:-1])
    assert list(messages(log)) == CONTENTS[:-1]


def test_a_flipped_byte_ends_the_reading(log):
    data = bytearray(log.read_bytes())
    data[-3] ^= 1
    log.write_bytes(data)
    assert list(messages(log)) == CONTENTS[:-1]


def test_another_file_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"something else")
    with pytest.raises(ValueError, match="is no log of wandb"):
        list(messages(tmp_path / "x"))
    assert not is_complete(tmp_path / "x")
    assert not is_complete(tmp_path / "missing")
