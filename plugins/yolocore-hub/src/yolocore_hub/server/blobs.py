"""Files by content: stored under their SHA-256, so that no name of a client ever becomes a path."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

PIECE: Final = 1 << 20
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
PICTURES: Final = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
HEAD: Final = 16


@dataclass(frozen=True, slots=True)
class Blob:
    """A file that was received.

    Attributes:
        sha256: its hash in hexadecimal.
        size: bytes.
        picture: media type of the picture it begins like, or an empty string.
        part: where it lies until it is kept.
    """

    sha256: str
    size: int
    picture: str
    part: Path


class Blobs:
    """A folder of files by content.

    Args:
        folder: created when it does not exist; half-written files of an earlier process are removed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.part"):
            stale.unlink(missing_ok=True)

    def path(self, sha256: str) -> Path:
        """Return where the file with this hash lies.

        Raises:
            ValueError: it is no hash.
        """
        if not DIGEST.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no SHA-256")
        return self.folder / sha256[:2] / sha256

    def stage(self, stream: IO[bytes]) -> Blob:
        """Write what ``stream`` holds to disk, beside the stored files; follow up with ``keep`` or ``discard``."""
        part = self.folder / f"{secrets.token_hex(8)}.part"
        digest, size, head = hashlib.sha256(), 0, b""
        try:
            with part.open("xb") as file:
                while piece := stream.read(PIECE):
                    head = head or piece[:HEAD]
                    digest.update(piece)
                    size += file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        picture = next((kind for magic, kind in PICTURES if head.startswith(magic)), "")
        return Blob(digest.hexdigest(), size, picture, part)

    def keep(self, blob: Blob) -> None:
        """Make a staged file a stored one."""
        target = self.path(blob.sha256)
        target.parent.mkdir(exist_ok=True)
        blob.part.replace(target)

    @staticmethod
    def discard(blob: Blob) -> None:
        """Throw a staged file away, if it was not kept."""
        blob.part.unlink(missing_ok=True)

    def remove(self, sha256: str) -> None:
        """Remove a file, if it is there."""
        self.path(sha256).unlink(missing_ok=True)
