"""The page in a real browser: it draws, it follows a training, it complains about nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import pytest
from hub_kit import HubServer, Proxy

from yolocore_hub.client import HubClient

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A server that anybody may look at, with one run that goes on and pictures from the tiny dataset."""
    server = HubServer(tmp_path_factory.mktemp("page") / "data", "--public").start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def model(public, tiny_detect_dataset):
    hub = HubClient(public.address, public.key)
    found = hub.create({"name": "a <b>bold</b> name", "project": "pages & <i>more</i>"}, {"epochs": 9})
    hub.metrics(found, {epoch: numbers(epoch) for epoch in range(4)})
    picture = next((tiny_detect_dataset.parent / "images" / "val").iterdir())
    with picture.open("rb") as file:
        hub.image(found, "val_batch0_pred.png", file, epoch=0)
    with tiny_detect_dataset.open("rb") as file:
        hub.checkpoint(found, file, epoch=3, is_best=True)
    hub.close()
    return found


def numbers(epoch: int) -> str:
    shape = 1 - 0.7**epoch
    return json.dumps(
        {
            "metrics/mAP50-95(B)": 0.4 * shape,
            "metrics/mAP50(B)": 0.6 * shape,
            "lr/pg0": 0.01,
            "metrics/precision(B)": 0.7 * shape,
            "metrics/recall(B)": 0.5 * shape,
            "train/box_loss": 3 - 2 * shape,
            "val/box_loss": 3.2 - 2 * shape,
        }
    )


def browse(url: str, folder: Path, *options: str) -> str:
    """Open a page in headless Chromium; return its DOM and check that the console is empty."""
    line = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
        "--disable-background-networking", f"--user-data-dir={folder / 'profile'}", "--window-size=1280,1400", *options, url,
    ]  # fmt: skip
    ended = subprocess.run(line, capture_output=True, text=True, timeout=120, check=True)
    said = [text for text in ended.stderr.splitlines() if "CONSOLE" in text]
    assert said == []
    return ended.stdout


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_run_is_drawn(public, model, tmp_path, scheme):
    shot = tmp_path / f"{scheme}.png"
    browse(
        f"{public.address}/models/{model}",
        tmp_path,
        f"--screenshot={shot}",
        f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}",
        "--virtual-time-budget=1500",
    )
    image = cv2.imread(str(shot))
    assert image.shape == (1400, 1280, 3)
    ground = image[5, 5].mean()
    assert ground < 40 if scheme == "dark" else ground > 230
    blue, orange = ((141, 162, 251), (255, 162, 101)) if scheme == "dark" else ((59, 91, 219), (232, 89, 12))
    for colour in (blue, orange):
        near = (abs(image[:, :, ::-1].astype(int) - colour).max(2) < 12).sum()
        assert near > 300, f"{colour}: {near} pixels"


def test_the_script_shows_times_and_the_text_of_names(public, model, tmp_path):
    dom = browse(f"{public.address}/models/{model}", tmp_path, "--dump-dom", "--virtual-time-budget=1500")
    assert "just now" in dom or "ago" in dom
    assert "a &lt;b&gt;bold&lt;/b&gt; name" in dom
    assert dom.count('<figure class="chart"') == 4
    assert "4 of 9" in dom
    assert f'<img src="/v1/models/{model}/images/val_batch0_pred.png' in dom
    assert re.search(rf'<a href="/v1/models/{model}/checkpoints/(best|last)" class="button" download', dom)
    assert 'id="theme"' in dom
    assert '<button type="button" id="theme" class="plain" hidden' not in dom


def test_an_open_page_follows_the_training(public, model, tmp_path):
    asked = []

    def fault(method, path):
        if path == f"/models/{model}":
            asked.append(path)
            if len(asked) == 2:  # the script asks for the first time: meanwhile, another epoch has ended
                hub = HubClient(public.address, public.key)
                hub.metrics(model, {4: numbers(4)})
                hub.close()

    proxy = Proxy(public.port, fault)
    try:
        dom = browse(f"{proxy.url}/models/{model}", tmp_path, "--dump-dom", "--virtual-time-budget=8000")
    finally:
        proxy.close()
    assert len(asked) >= 2
    assert "5 of 9" in dom


def test_every_page_is_quiet(public, model, tmp_path):
    for path in ("/", "/projects/pages%20%26%20%3Ci%3Emore%3C%2Fi%3E", "/sign-in", "/nothing"):
        dom = browse(f"{public.address}{path}", tmp_path, "--dump-dom", "--virtual-time-budget=1000")
        assert "yolocore" in dom
