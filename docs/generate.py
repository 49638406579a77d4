"""Write the reference pages: ``python docs/generate.py``; with ``--check``, fail when one is stale."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import _arguments
import _hooks

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Write or check the pages and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    pages = {ROOT / path: text for module in (_arguments, _hooks) for path, text in module.render().items()}
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path], encoding="utf-8")
    if check and stale:
        print("run: python docs/generate.py")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
