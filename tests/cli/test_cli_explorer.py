"""``yolo explorer``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from yolocore import YOLO
from yolocore.cli import main
from yolocore.testing.datasets import make_tiny_dataset, tiny_model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("explored")
    make_tiny_dataset(root, train=6)
    torch.manual_seed(1)
    YOLO(tiny_model()).save(root / "tiny.pt")
    return root


def run(place: Path, *words: str) -> int:
    return main(["explorer", f"data={place / 'data.yaml'}", f"model={place / 'tiny.pt'}", *words])


def test_similar_images_are_listed_and_drawn(place, tmp_path, capsys):
    target = tmp_path / "new" / "similar.png"
    assert run(place, "similar=2", "limit=3", f"save={target}") == 0
    out = capsys.readouterr().out
    assert out.split()[:3] == ["_distance", "labels", "im_file"]
    first, *others = out.splitlines()[1:4]
    assert first.split()[0] == "0"
    assert first.endswith(str(place / "images" / "train" / "0002.jpg"))
    assert all("/images/train/" in line for line in others)
    with Image.open(target) as picture:
        assert picture.width > 3 * 320
    assert run(place, "similar", "=", "0", "limit=", "1") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    image = sorted((place / "images" / "val").iterdir())[0]
    assert run(place, f"similar={image}", "split=val", "limit=1") == 0
    assert capsys.readouterr().out.splitlines()[1].endswith(str(image))


def test_a_question_in_sql(place, tmp_path, capsys):
    query = "SELECT value AS name, count(*) AS n FROM 'table', json_each(labels) GROUP BY value"
    assert run(place, f"sql={query}", "limit=2") == 0
    out = capsys.readouterr().out
    assert out.split()[:3] == ["name", "n", "circle"]
    assert "... and 2 more" in out
    assert run(place, "sql=WHERE rowid = 1", f"save={tmp_path / 'sql.png'}") == 0
    assert (tmp_path / "sql.png").stat().st_size > 1000
    assert run(place, "sql=WHERE labels LIKE '%unicorn%'", f"save={tmp_path / 'none.png'}") == 0
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "similar= or sql="),
        (["similar=1", "sql=WHERE 1"], "similar= or sql="),
        (["similar=1", "limit=0"], "limit"),
        (["similr=1"], "Did you mean 'similar'"),
        (["similar"], "'similar': expected one of"),
        (["similar=1", "save=grid.xyz"], "save='grid.xyz'"),
        (["similar=77"], "rows 0 to 5"),
        (["sql=DROP TABLE 'table'"], "refused"),
        (["similar=1", "split=trian"], "Did you mean 'train'"),
    ],
)
def test_mistakes_end_with_status_2(place, words, message, capsys):
    assert run(place, *words) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert main(["explorer", "similar=1"]) == 2
