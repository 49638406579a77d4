"""The prediction loop with a network whose detections are known: one box per bright 32 x 32 cell."""

from __future__ import annotations

import logging
import statistics
import time

import cv2
import numpy as np
import pytest
import torch
from threads import at_once
from torch import nn

from yolocore.engine.predictor import BasePredictor
from yolocore.engine.results import Boxes, Results
from yolocore.errors import ConfigError, DataError, MissingFileError
from yolocore.models.yolo.detect.predict import DetectionPredictor
from yolocore.nn.backends import load_backend

EVENTS = (
    "on_predict_start",
    "on_predict_batch_start",
    "on_predict_postprocess_end",
    "on_predict_batch_end",
    "on_predict_end",
)
BATCH = list(EVENTS[1:4])


class CellNet(nn.Module):
    """Detects bright cells: class 0 where a cell is red, 1 where it is green; the score is the brightness."""

    task = "detect"
    nc = 2

    def __init__(self):
        super().__init__()
        self.names = {0: "red", 1: "green"}
        self.stride = torch.tensor([32])
        self.weight = nn.Parameter(torch.ones(()))
        self.seen = []

    def forward(self, x):
        self.seen.append((tuple(x.shape), x.is_contiguous(memory_format=torch.channels_last)))
        bright = nn.functional.avg_pool2d(x, 32) * self.weight  # (B, 3, h, w)
        b, _, h, w = bright.shape
        ys, xs = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        centres = torch.stack([xs, ys]).reshape(2, -1) * 32.0 + 16  # (2, A)
        boxes = torch.cat([centres, torch.full_like(centres, 32)]).expand(b, 4, -1)
        return torch.cat([boxes, bright[:, :2].reshape(b, 2, -1)], 1)  # (B, 6, A)


def scene(h=64, w=96, red=((1, 2),), green=()):
    """Return a dark BGR image with bright cells (row, column)."""
    im = np.zeros((h, w, 3), np.uint8)
    for cells, channel in ((red, 2), (green, 1)):
        for row, column in cells:
            im[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32, channel] = 200
    return im


@pytest.fixture
def network():
    return CellNet()


@pytest.fixture
def make(network, tmp_path, monkeypatch):
    """Return a function that makes a predictor whose run directories lie below the test's folder."""
    monkeypatch.chdir(tmp_path)

    def make(**overrides):
        overrides = {"imgsz": 96, "project": str(tmp_path / "runs"), **overrides}
        predictor = DetectionPredictor(overrides=overrides)
        predictor.setup_model(network)
        return predictor

    return make


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "in"
    path.mkdir()
    for i in range(4):
        cv2.imwrite(str(path / f"{i}.png"), scene(red=[(0, i % 3)], green=[(1, 1)]))
    return path


def trace(predictor):
    seen = []
    for event in EVENTS:
        predictor.add_callback(event, lambda p, event=event: seen.append((event, p.seen, p.context.event)))
    return seen


class TestDetections:
    def test_boxes_lie_where_the_image_is_bright(self, make):
        (r,) = make()(scene(red=[(1, 2)], green=[(0, 0)]))
        assert r.boxes.xyxy.tolist() == [[0, 0, 32, 32], [64, 32, 96, 64]]  # equal scores: by location
        assert r.boxes.cls.tolist() == [1, 0]
        assert r.boxes.conf.tolist() == pytest.approx([200 / 255] * 2, rel=1e-4)
        assert r.verbose() == "1 red, 1 green, "
        assert r.path == "image0.jpg"
        assert set(r.speed) == {"preprocess", "inference", "postprocess"}
        assert all(ms > 0 for ms in r.speed.values())

    def test_boxes_are_mapped_back_to_the_original_size(self, make):
        im = cv2.resize(scene(), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
        (r,) = make()(im)
        np.testing.assert_allclose(r.boxes.xyxy, [[128, 64, 192, 128]], atol=1e-3)

    def test_thresholds_classes_and_limits(self, make):
        im = scene(red=[(0, 0), (1, 2)], green=[(0, 1)])
        assert len(make(conf=0.9)(im)[0]) == 0
        assert make(classes=[1])(im)[0].boxes.cls.tolist() == [1]
        assert len(make(classes=0)(im)[0]) == 2
        assert len(make(max_det=1)(im)[0]) == 1
        with pytest.raises(ConfigError, match="the classes 0 to 1"):
            make(classes=[5])

    def test_agnostic_suppression(self, network, make):
        network.weight.data.fill_(1.2)
        im = scene(red=[(0, 0)])
        im[:32, :32, 1] = 180
        assert len(make()(im)[0]) == 1  # one class for each location
        assert len(make(agnostic_nms=True, iou=0.5)(im)[0]) == 1

    def test_results_are_ordinary_tensors(self, make):
        (r,) = make()(scene())
        r.boxes.data[:, 4] += 1  # an inference tensor would refuse
        assert not r.boxes.data.is_inference()

    def test_a_network_without_names_gets_numbers(self, make):
        predictor = make()
        predictor.model.names = {}
        assert predictor(scene())[0].verbose() == "1 0, "

    def test_the_network_gets_what_was_drawn(self, make, network):
        """Compare with a letterbox done step by step."""
        im = np.random.default_rng(0).integers(0, 255, (50, 130, 3), np.uint8)
        predictor = make(imgsz=(96, 64))
        predictor.setup_source(im)
        got = predictor.preprocess([im])
        gain = 64 / 130
        small = cv2.resize(im, (64, round(50 * gain)), interpolation=cv2.INTER_LINEAR)
        rows = 32 - small.shape[0]  # padded to the next multiple of the stride
        top = round(rows / 2 - 0.1)
        boxed = cv2.copyMakeBorder(small, top, rows - top, 0, 0, cv2.BORDER_CONSTANT, value=(114,) * 3)
        expected = torch.from_numpy(boxed[..., ::-1].transpose(2, 0, 1).copy()).float() / 255
        assert torch.equal(got[0], expected)
        assert got.is_contiguous(memory_format=torch.channels_last)

    def test_equal_shapes_are_padded_to_the_stride_others_to_the_square(self, make, network):
        make(batch=2)([scene(), scene()])
        assert network.seen == []  # the backend runs a copy
        sizes = []
        for images, options in (
            ([scene(), scene()], {}),
            ([scene(), scene(96, 64)], {}),
            ([scene()], {"rect": False}),
        ):
            predictor = make(batch=2, **options)
            predictor(images)
            sizes.append(predictor.model.model.seen[-1])
        assert sizes == [((2, 3, 64, 96), True), ((2, 3, 96, 96), True), ((1, 3, 96, 96), True)]

    def test_the_size_is_rounded_up_with_a_warning(self, make, caplog):
        with caplog.at_level(logging.WARNING):
            predictor = make(imgsz=(70, 100))
        assert predictor.imgsz == (96, 128)
        assert "stride 32" in caplog.text

    def test_tensors_are_taken_as_they_are(self, make):
        image = torch.from_numpy(scene()[..., ::-1].transpose(2, 0, 1).copy()) / 255
        results = make()(torch.stack([image, image]))
        assert [r.path for r in results] == ["image0.jpg", "image1.jpg"]
        assert results[1].boxes.xyxy.tolist() == [[64, 32, 96, 64]]
        assert (results[0].orig_img == scene()).all()
        with pytest.raises(ConfigError, match="multiples of 32"):
            make()(torch.zeros(1, 3, 40, 64))


class TestLoop:
    def test_events_in_order_with_the_images_seen(self, make, folder):
        predictor = make(batch=3)
        seen = trace(predictor)
        assert len(predictor(folder)) == 4
        assert [e for e, _, _ in seen] == ["on_predict_start", *BATCH, *BATCH, "on_predict_end"]
        assert [n for _, n, _ in seen] == [0, 0, 0, 3, 3, 3, 4, 4]
        assert all(event == current for event, _, current in seen)
        assert predictor.context.phase == "predict"

    def test_one_array_fires_five_events(self, make):
        predictor = make()
        seen = trace(predictor)
        predictor(scene())
        assert [e for e, _, _ in seen] == ["on_predict_start", *BATCH, "on_predict_end"]

    def test_the_batch_is_a_tuple_of_four(self, make, folder):
        predictor = make(batch=3)
        batches = []
        predictor.add_callback("on_predict_batch_start", lambda p: batches.append(p.batch))
        predictor(folder)
        paths, images, kind, logs = batches[0]
        assert paths == [str(folder / f"{i}.png") for i in range(3)]
        assert isinstance(images, list)
        assert images[0].shape == (64, 96, 3)
        assert kind is None
        assert logs[2].startswith("image 3/4")

    def test_a_stream_does_nothing_before_it_is_asked(self, make, folder):
        predictor = make()
        seen = trace(predictor)
        stream = predictor(folder, stream=True)
        assert seen == []
        assert isinstance(next(stream), Results)
        assert [e for e, _, _ in seen] == ["on_predict_start", *BATCH]
        stream.close()
        assert seen[-1][0] == "on_predict_end"
        assert len(list(predictor(folder, stream=True))) == 4
        assert len(predictor.results) == 1

    def test_the_end_sees_every_result_of_a_list_call(self, make, folder):
        predictor = make(batch=3)
        at_end = []
        predictor.add_callback("on_predict_end", lambda p: at_end.extend(p.results))
        returned = predictor(folder)
        assert at_end == returned == predictor.results

    def test_replaced_results_are_what_is_returned(self, make, folder):
        predictor = make(batch=3)

        def pair(p):
            _, images, _, _ = p.batch
            p.results = zip(p.results, images, strict=True)

        predictor.add_callback("on_predict_batch_end", pair)
        pairs = predictor(folder)
        assert len(pairs) == 4
        assert all(r.orig_img is image for r, image in pairs)
        assert len(list(predictor(folder, stream=True))) == 4

    def test_edits_after_postprocessing_are_what_is_saved(self, make, folder, tmp_path):
        predictor = make(save_txt=True)
        predictor.add_callback(
            "on_predict_postprocess_end", lambda p: setattr(p, "results", [r[:1] for r in p.results])
        )
        assert [len(r) for r in predictor(folder)] == [1] * 4
        assert len((tmp_path / "runs/predict/labels/0.txt").read_text().splitlines()) == 1

    def test_faults_come_before_the_first_event(self, make, folder, tmp_path):
        (tmp_path / "empty").mkdir()
        predictor = make()
        seen = trace(predictor)
        with pytest.raises(DataError):
            predictor(tmp_path / "empty")
        with pytest.raises(MissingFileError):
            predictor("gone.jpg")
        assert seen == []

    def test_an_exception_passes_and_ends_without_the_end_event(self, make, folder):
        predictor = make()
        seen = trace(predictor)

        def fail(_):
            raise RuntimeError("mine")

        predictor.add_callback("on_predict_batch_end", fail)
        with pytest.raises(RuntimeError, match="mine"):
            predictor(folder)
        assert seen[-1][0] == "on_predict_batch_end"

    def test_bad_images_are_skipped(self, make, folder):
        (folder / "1.png").write_bytes(b"bad")
        assert len(make()(folder)) == 3

    def test_calls_repeat_without_preparing_the_model_again(self, make, network):
        predictor = make()
        backend = predictor.model
        first = predictor(scene(), model=backend)
        second = predictor([scene(), scene()])
        assert predictor.model is backend
        assert (len(first), len(second), predictor.seen) == (1, 2, 2)
        assert set(predictor.speed) == {"preprocess", "inference", "postprocess"}

    def test_a_network_given_again_is_prepared_again(self, make, network):
        predictor = make()
        assert len(predictor(scene(), model=network)[0]) == 1
        network.weight.data.zero_()  # trained meanwhile
        assert len(predictor(scene(), model=network)[0]) == 0

    def test_one_model_serves_several_threads(self, network, tmp_path):
        backend = load_backend(network)
        cells = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]

        def work(cell):
            predictor = DetectionPredictor(overrides={"imgsz": 96})
            return [r.boxes.xyxy.tolist() for r in predictor([scene(red=[cell])] * 5, model=backend)]

        assert at_once(work, cells) == {(y, x): [[[x * 32, y * 32, x * 32 + 32, y * 32 + 32]]] * 5 for y, x in cells}

    def test_no_model(self):
        with pytest.raises(ConfigError, match="pass model="):
            DetectionPredictor()(scene())
        with pytest.raises(NotImplementedError, match="PlainPredictor"):
            type("PlainPredictor", (BasePredictor,), {"task": "detect", "model_class": CellNet})()(
                scene(), model=CellNet()
            )

    def test_verbose_logs_a_line_for_each_image(self, make, folder, caplog):
        with caplog.at_level(logging.INFO):
            predictor = make(verbose=True)
            predictor(folder / "0.png")
        assert "64x96 1 red, 1 green, " in caplog.text
        assert predictor.batch[3][0].endswith("ms")
        assert "ms inference" in caplog.text


class TestFiles:
    def test_nothing_is_written_unasked(self, make, folder, tmp_path):
        make()(folder)
        make(save_txt=True, conf=0.99)(folder)  # finds nothing
        assert not (tmp_path / "runs").exists()

    def test_annotated_images_labels_and_crops(self, make, folder, tmp_path):
        predictor = make(save=True, save_txt=True, save_conf=True, save_crop=True)
        results = predictor(folder)
        run = tmp_path / "runs" / "predict"
        assert predictor.save_dir == run
        assert results[0].save_dir == str(run)
        assert sorted(p.name for p in run.iterdir()) == [
            "0.png",
            "1.png",
            "2.png",
            "3.png",
            "crops",
            "labels",
        ]
        drawn = cv2.imread(str(run / "0.png"))
        assert (drawn == results[0].plot()).all()
        lines = (run / "labels" / "1.txt").read_text().splitlines()
        assert sorted(line.split()[0] for line in lines) == ["0", "1"]
        assert len(lines[0].split()) == 6
        assert sorted(p.name for p in (run / "crops" / "red").iterdir()) == [f"{i}.jpg" for i in range(4)]
        assert make(save=True)(folder / "0.png")[0].save_dir == f"{run}2"

    def test_other_suffixes_become_jpg_and_equal_names_get_numbers(self, make, folder, tmp_path):
        for sub in "ab":
            (tmp_path / sub).mkdir()
            cv2.imwrite(str(tmp_path / sub / "x.bmp"), scene())
        make(save=True, save_txt=True)([tmp_path / "a/x.bmp", tmp_path / "b/x.bmp", scene()])
        run = tmp_path / "runs" / "predict"
        assert sorted(p.name for p in run.glob("*.*")) == ["image2.jpg", "x.jpg", "x2.jpg"]
        assert sorted(p.name for p in (run / "labels").iterdir()) == ["image2.txt", "x.txt", "x2.txt"]

    def test_labels_of_an_earlier_run_are_replaced(self, make, folder, tmp_path):
        for _ in range(2):
            make(save_txt=True, exist_ok=True)(folder / "0.png")
        assert len((tmp_path / "runs/predict/labels/0.txt").read_text().splitlines()) == 2

    def test_what_to_draw(self, make, folder):
        plain = make(save=True, show_labels=False, show_conf=False, show_boxes=False)
        (r,) = plain(folder / "0.png")
        assert (plain.plotted_img == r.orig_img).all()
        wide = make(save=True, line_width=9)
        wide(folder / "0.png")
        assert (wide.plotted_img != make()(folder / "0.png")[0].plot()).any()

    def test_videos(self, make, tmp_path):
        path = tmp_path / "clip.avi"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
        for i in range(3):
            writer.write(scene(red=[(0, i)]))
        writer.release()
        predictor = make(save=True, save_txt=True, save_frames=True, batch=2)
        kinds = []
        predictor.add_callback("on_predict_batch_end", lambda p: kinds.append((p.batch[2], p.dataset.frame)))
        results = predictor(path)
        assert kinds == [("video", 2), ("video", 3)]
        assert [r.boxes.xyxy[0, 0].item() for r in results] == pytest.approx([0, 32, 64], abs=1e-3)
        run = predictor.save_dir
        assert sorted(p.name for p in (run / "labels").iterdir()) == [f"clip_{i}.txt" for i in (1, 2, 3)]
        assert sorted(p.name for p in (run / "clip_frames").iterdir()) == [f"{i}.jpg" for i in (1, 2, 3)]
        (video,) = run.glob("clip.*")
        capture = cv2.VideoCapture(str(video))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
        capture.release()

    def test_showing_without_a_display_is_one_error(self, make, folder, monkeypatch, caplog):
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        monkeypatch.setattr("sys.platform", "linux")
        assert len(make(show=True)(folder)) == 4
        assert sum("cannot show" in r.message for r in caplog.records) == 1


def test_a_long_stream_keeps_memory_flat(make):
    predictor = make()
    alive = []
    predictor.add_callback("on_predict_batch_end", lambda p: alive.append(len(p.results)))
    for _ in predictor([scene()] * 50, stream=True):
        pass
    assert set(alive) == {1}
    assert isinstance(predictor.results[0].boxes, Boxes)


@pytest.fixture(scope="module")
def reference_backend(request):
    shared = request.getfixturevalue("shared_dir")
    from yolocore.nn.tasks import DetectionModel

    state = np.load(shared / "bench/reference/yolo11n_state.npz")
    model = DetectionModel("yolo11n.yaml", verbose=False)
    model.load_state_dict({k: torch.from_numpy(state[k]) for k in state.files}, strict=False)
    return load_backend(model)


@pytest.mark.shared
def test_reference_detections(reference_backend, shared_dir):
    """The pictures of val2017; the large ones beside them were encoded differently for the reference."""
    import json

    reference = json.loads((shared_dir / "bench/reference/final_boxes.json").read_text())["images"]
    files = [f for f in sorted((shared_dir / "data/coco128").rglob("*.jpg")) if f.name in reference]
    assert len(files) == 20
    predictor = DetectionPredictor(overrides={"imgsz": 640})
    for r, file in zip(predictor(files, model=reference_backend), files, strict=True):
        expected = reference[file.name]
        assert r.boxes.cls.tolist() == expected["cls"], file.name
        np.testing.assert_allclose(r.boxes.conf, expected["conf"], rtol=1e-4)
        np.testing.assert_allclose(r.boxes.xyxy, expected["xyxy"], atol=0.05)


@pytest.mark.shared
def test_large_pictures_agree_with_the_reference_up_to_their_encoding(reference_backend, shared_dir):
    import json

    from yolocore.utils.metrics import box_iou

    reference = json.loads((shared_dir / "bench/reference/final_boxes.json").read_text())["images"]
    predictor = DetectionPredictor(overrides={"imgsz": 640})
    for name in ("bus.jpg", "zidane.jpg"):
        (r,) = predictor(shared_dir / "data/images" / name, model=reference_backend)
        sure = np.array(reference[name]["conf"]) > 0.5
        overlap = box_iou(np.array(reference[name]["xyxy"])[sure], r.boxes.xyxy.numpy())
        assert (overlap.max(1) > 0.95).all()


def test_repeated_calls_cost_little(make):
    """A call on a ready predictor takes milliseconds on top of the (here trivial) network."""
    predictor = make()
    image = scene()
    predictor(image)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        predictor(image)
        seconds.append(time.perf_counter() - start)
    assert statistics.median(seconds) < 0.05  # others may have had the processor in between
