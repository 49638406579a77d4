"""Live streams and pages through the predictor, test-time augmentation, embeddings, feature maps, threads, memory."""

from __future__ import annotations

import itertools
import logging
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from media_server import MediaServer
from PIL import Image
from rtsp_server import RtspServer
from threads import at_once
from tiny_network import Tiny

from yolocore import YOLO
from yolocore.engine.layers import draw_maps
from yolocore.engine.tta import VIEWS, augmented
from yolocore.errors import ConfigError, ModelError, UnsupportedError
from yolocore.models.yolo.detect.predict import DetectionPredictor
from yolocore.nn.backends import load_backend

TASKS = {"detect": "yolo11n", "segment": "yolo11n-seg", "pose": "yolo11n-pose", "obb": "yolo11n-obb"}


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    names = {**TASKS, "classify": "yolo11n-cls"}
    return {task: YOLO(f"{name}.yaml") for task, name in names.items()}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def noise(h, w, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (h, w, 3), np.uint8)


class TestAugment:
    def test_boxes_of_every_view_come_back_to_the_same_place(self):
        """A detector that reports the bounding box of what is white; its truth in the batch is known."""

        def detector(im):
            boxes = []
            for picture in im:
                ys, xs = torch.where(picture[0] > 0.9)
                x1, y1, x2, y2 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
                boxes.append(torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, torch.tensor(0.9)]))
            assert im.shape[2] % 32 == im.shape[3] % 32 == 0
            return torch.stack(boxes)[..., None].float()  # (B, 5, 1)

        im = torch.zeros(2, 3, 320, 480)
        im[0, :, 100:160, 40:140] = 1
        im[1, :, 10:300, 300:470] = 1
        for free in (True, False):
            found = augmented(detector, im, 32, free=free)
            assert found.shape == (2, 5, len(VIEWS))
            for picture, expected in zip(found, ([90, 130, 100, 60], [385, 155, 170, 290]), strict=True):
                for column in picture.T:
                    np.testing.assert_allclose(column[:4], expected, atol=2.5)

    def test_the_scales_and_what_is_mirrored(self):
        shapes = []

        def detector(im):
            shapes.append((tuple(im.shape[2:]), bool(im[0, 0, 0, 0] > im[0, 0, 0, 1])))
            return torch.zeros(1, 5, 1)

        im = torch.linspace(0, 1, 640).expand(1, 3, 640, 640)
        augmented(detector, im, 32, free=True)
        assert shapes == [((640, 640), False), ((544, 544), True), ((448, 448), False)]
        shapes.clear()
        augmented(detector, im, 32, free=False)
        assert {shape for shape, _ in shapes} == {(640, 640)}

    def test_only_detection_has_it(self, models, caplog):
        plain, more = (
            models["detect"].predict(noise(64, 96), conf=0.0001, imgsz=96, augment=a)[0] for a in (False, True)
        )
        assert len(more) > 0
        assert not torch.equal(plain.boxes.data, more.boxes.data)
        for task in ("segment", "pose", "obb", "classify"):
            caplog.clear()
            (a,) = models[task].predict(noise(64, 96), imgsz=64, conf=0.0001, augment=True)
            assert f"no test-time augmentation for the task {task}; it is ignored" in caplog.text
            (b,) = models[task].predict(noise(64, 96), imgsz=64, conf=0.0001)
            assert len(a) == len(b)


class TestLayers:
    @pytest.mark.parametrize("task", [*TASKS, "classify"])
    def test_vectors(self, models, task):
        model = models[task]
        images = [noise(64, 64, i) for i in range(3)]
        found = model.predict(images, imgsz=64, embed=[2, 4], batch=2, save_txt=True)
        assert [v.shape for v in found] == [(found[0].numel(),)] * 3
        predictor = model.predictor
        batch = predictor.preprocess(images[2:])
        outputs, x = [], batch
        with torch.inference_mode():
            for layer in predictor.model.model.model[:5]:  # these follow each other
                x = layer(x)
                outputs.append(x)
        expected = torch.cat([outputs[i].mean((2, 3)) for i in (2, 4)], 1)[0]
        torch.testing.assert_close(found[2], expected)
        assert not Path("runs").exists()

    def test_sizes_and_wrong_layers(self, models):
        (vector,) = models["detect"].predict(noise(64, 64), imgsz=64, embed=[2, 4])
        assert vector.shape == (192,)
        assert vector.dtype == torch.float32
        assert next(iter(models["detect"].predict(noise(64, 64), imgsz=64, embed=[22], stream=True))).shape == (256,)
        with pytest.raises(ModelError, match="from 0 to"):
            models["detect"].predict(noise(64, 64), imgsz=64, embed=[99])

    def test_the_default_is_the_layer_before_the_head(self, models):
        model, image = models["detect"], noise(64, 64)
        (vector,) = model.embed(image, imgsz=64)
        assert vector.shape == (256,)
        torch.testing.assert_close(vector, model.predict(image, imgsz=64, embed=[22])[0])
        assert [v.shape for v in model.embed([image] * 2, imgsz=64, embed=[2, 4])] == [(192,)] * 2

    @pytest.mark.parametrize("task", [*TASKS, "classify"])
    def test_feature_maps(self, models, task, tmp_path):
        cv2.imwrite("a.png", noise(64, 96))
        cv2.imwrite("b.png", noise(64, 96))
        results = models[task].predict(["a.png", "b.png"], imgsz=96, batch=2, visualize=True)
        assert len(results) == 2
        run = models[task].predictor.save_dir
        for stem in "ab":
            files = sorted(p.name for p in (run / stem).iterdir())
            assert files[0] == "00_Conv.png"
            assert len(files) == len(models[task].model.model) - 1
        picture = cv2.imread(str(run / "a" / "00_Conv.png"))
        assert picture.shape[1] > 4 * 32
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20

    def test_drawing(self):
        maps = torch.zeros(5, 8, 16)
        maps[1] = torch.linspace(-3, 7, 16)
        drawn = draw_maps(maps)
        assert drawn.shape == (2 * (64 + 2), 3 * (128 + 2), 3)  # five channels in three columns, eight times larger
        tile = drawn[1:65, 131:259]
        assert (tile[:, :8] == cv2.applyColorMap(np.zeros((1, 1), np.uint8), cv2.COLORMAP_VIRIDIS)[0, 0]).all()
        assert (tile[:, -8:] == cv2.applyColorMap(np.full((1, 1), 255, np.uint8), cv2.COLORMAP_VIRIDIS)[0, 0]).all()

    def test_networks_without_layers_say_so(self):
        class Plain(torch.nn.Module):
            task, nc, names = "detect", 1, {0: "a"}
            stride = torch.tensor([32])

            def __init__(self):
                super().__init__()
                self.weight = torch.nn.Parameter(torch.ones(()))

            def forward(self, x):
                return torch.zeros(len(x), 5, 1) * self.weight

        for name, value in (("embed", [1]), ("visualize", True)):
            predictor = DetectionPredictor(overrides={name: value, "imgsz": 64})
            with pytest.raises(UnsupportedError, match=f"{name}: the layers of this model cannot be seen"):
                predictor(noise(64, 64), model=Plain())


class TestStreams:
    @pytest.fixture
    def server(self):
        media = MediaServer()
        yield media
        media.close()

    def test_addresses_need_the_users_permission(self, models, server, monkeypatch):
        server.files["a.png"] = cv2.imencode(".png", noise(64, 64))[1].tobytes()
        address = f"{server.base}/a.png"
        Path("settings.json").write_text('{"private_sources": true}')  # a project's file has no say
        with pytest.raises(ConfigError, match="private_sources"):
            models["detect"].predict(address, imgsz=64)
        monkeypatch.setenv("YOLOCORE_PRIVATE_SOURCES", "True")
        (result,) = models["detect"].predict(address, imgsz=64, save=True, conf=0.9)
        assert result.path == address
        assert (models["detect"].predictor.save_dir / "a.png").is_file()

    def test_several_at_once_are_saved_each_to_its_video(self, models, monkeypatch, caplog):
        monkeypatch.setenv("YOLOCORE_PRIVATE_SOURCES", "True")
        cameras = RtspServer("admin", "s3cret")
        cameras.rates["live/150/200"] = 20
        model, kinds = models["detect"], []
        try:
            names = [f"{cameras.base}/live/{v}/200" for v in (50, 150)]
            with caplog.at_level(logging.DEBUG):
                options = {"save": True, "save_txt": True, "save_crop": True, "save_frames": True, "conf": 0.0001}
                stream = model.predict(names, imgsz=64, stream=True, stream_buffer=True, max_det=1, **options)
                for result in itertools.islice(stream, 12):
                    kinds.append((result.path, model.predictor.batch[2]))
                run = model.predictor.save_dir
                stream.close()
        finally:
            cameras.close()
        address = f"rtsp://127.0.0.1:{cameras.port}/live"
        assert set(kinds) == {(f"{address}/{v}/200", "stream") for v in (50, 150)}
        assert model.predictor.source_type.stream
        rates = {}
        for file in run.glob("200*.*"):
            capture = cv2.VideoCapture(str(file))
            assert capture.get(cv2.CAP_PROP_FRAME_COUNT) >= 5
            rates[file.stem] = capture.get(cv2.CAP_PROP_FPS)
            capture.release()
        assert rates == {"200": 50, "2002": 20}
        assert {p.name for p in (run / "labels").iterdir()} >= {f"{stem}_{i}.txt" for stem in rates for i in (1, 2, 3)}
        assert {p.name for p in run.iterdir() if p.is_dir()} == {"labels", "crops", "200_frames", "2002_frames"}
        written = b"".join(p.read_bytes() + str(p).encode() for p in run.rglob("*") if p.is_file())
        assert "s3cret" not in caplog.text
        assert b"s3cret" not in written


def test_the_pages_of_a_file_are_results_with_numbers(models):
    pages = [Image.fromarray(noise(64, 64, i)) for i in range(3)]
    pages[0].save("p.tif", save_all=True, append_images=pages[1:])
    results = models["detect"].predict("p.tif", imgsz=64, conf=0.0001, save_txt=True)
    assert [(r.orig_img[..., ::-1] == np.asarray(p)).all() for r, p in zip(results, pages, strict=True)] == [True] * 3
    assert {p.name for p in (models["detect"].predictor.save_dir / "labels").iterdir()} == {
        f"p_{i}.txt" for i in (1, 2, 3)
    }


@pytest.mark.parametrize("task", [*TASKS, "classify"])
def test_eight_threads_share_one_model(models, task):
    """Images of several sizes, so that whatever a network remembers of the last input is put to the test."""
    model = models[task]
    images = [noise(64 + 32 * (i % 4), 96, i) for i in range(8)]

    def numbers(image):
        (r,) = model.predict(image, imgsz=96, conf=0.0001, max_det=20)
        found = r.probs if task == "classify" else r.obb if task == "obb" else r.boxes
        more = [x.data for x in (r.masks, r.keypoints) if x is not None]
        return [x.tolist() for x in (found.data, *more)]

    expected = [numbers(image) for image in images]
    found = at_once(lambda i: [numbers(images[i]) for _ in range(3)], range(8))
    assert found == {i: [expected[i]] * 3 for i in range(8)}


def resident():
    """Return the bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_stays_flat_over_a_long_video():
    writer = cv2.VideoWriter("long.avi", cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 64))
    for i in range(900):
        writer.write(noise(64, 64, i % 16))
    writer.release()
    predictor = DetectionPredictor(overrides={"imgsz": 64})
    stream = predictor("long.avi", model=load_backend(Tiny()), stream=True)
    sizes = [resident() for _ in stream]
    assert len(sizes) == 900
    assert (sizes[-1] - sizes[300]) / 600 < 1000
