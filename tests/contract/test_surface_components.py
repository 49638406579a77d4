"""Validator, predictor and exporter used directly, and what a subclass may replace (surface, section 5)."""

from __future__ import annotations

import argparse
import inspect
import json
import shutil
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from yolocore import YOLO
from yolocore.config import make_config
from yolocore.engine.exporter import Exporter, export_formats
from yolocore.engine.results import Results
from yolocore.models.yolo.detect import DetectionPredictor, DetectionValidator
from yolocore.nn.backends import load_backend

pytest_plugins = ["yolocore.testing"]

TASKS = ["detect", "segment", "pose", "obb", "classify"]
KEYS = [f"metrics/{kind}(B)" for kind in ("precision", "recall", "mAP50", "mAP50-95")]
VALIDATOR = (
    "build_dataset get_dataloader preprocess postprocess init_metrics update_metrics finalize_metrics get_stats "
    "print_results get_desc"
)
OF_BOXES = "pred_to_json eval_json match_predictions"
OF_FIGURES = "plot_val_samples plot_predictions on_plot"
PREDICTOR = (
    "setup_model setup_source preprocess inference postprocess construct_results write_results save_predicted_images "
    "show"
)
METADATA = "description author date version license stride task head batch imgsz names args channels"
WHILE_RUNNING = (
    "args save_dir model imgsz device dataset source_type batch results seen speed vid_writer plotted_img txt_path "
    "transforms callbacks data_path trackers"
)


def counting(base: type[Any], names: list[str], calls: Counter[str]) -> type[Any]:
    """Return a subclass that overrides every one of ``names`` and notes that its version was called."""

    def override(name: str) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return getattr(super(mine, self), name)(*args, **kwargs)

        return method

    mine: type[Any] = type(f"My{base.__name__}", (base,), {name: override(name) for name in names})
    return mine


@pytest.fixture
def place(tmp_path: Path) -> dict[str, Any]:
    return {"imgsz": 32, "device": "cpu", "project": str(tmp_path), "name": "run"}


@pytest.fixture
def evaluation(tiny_detect_dataset: Path, place: dict) -> dict[str, Any]:
    return {"data": str(tiny_detect_dataset), "workers": 0, "plots": False, "batch": 2, **place}


@pytest.fixture
def model(tiny_detect_model: Path) -> YOLO:
    return YOLO(tiny_detect_model)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)


class TestValidator:
    def test_signatures(self) -> None:
        names = list(inspect.signature(DetectionValidator(args={}).__call__).parameters)
        assert names == ["trainer", "model"]
        given = list(inspect.signature(super(DetectionValidator, DetectionValidator).__init__).parameters)
        assert given[1:5] == ["dataloader", "save_dir", "args", "_callbacks"]

    def test_alone_it_returns_a_dict_for_a_path_a_yolo_and_a_module(
        self, model: YOLO, evaluation: dict, tmp_path: Path
    ) -> None:
        model.save(tmp_path / "m.pt")
        args, found = {**evaluation, "conf": 1e-6, "max_det": 5, "save_json": True}, []
        for given in (tmp_path / "m.pt", str(tmp_path / "m.pt"), model, model.model):
            validator = DetectionValidator(args=args)
            stats = validator(model=given)
            assert type(stats) is dict
            assert list(stats) == [*KEYS, "fitness"]
            found.append((stats, validator.jdict))  # what random weights find is worth nothing, but the same
        assert len(found[0][1]) == 4 * 5
        assert found[0] == found[1] == found[2] == found[3]

    def test_arguments_may_be_a_dict_a_namespace_or_a_config(self, model: YOLO, evaluation: dict) -> None:
        config = make_config("val", {"task": "detect", **evaluation})
        for args in (evaluation, argparse.Namespace(**evaluation), config):
            validator = DetectionValidator(args=args)
            assert (validator.args.imgsz, validator.args.batch) == (32, 2)
            assert validator(model=model)["fitness"] >= 0

    def test_attributes(self, model: YOLO, evaluation: dict) -> None:
        validator, seen = DetectionValidator(args=evaluation), []
        validator.add_callback("on_val_batch_end", lambda v: seen.append((v.batch_i, v.seen)))
        validator(model=model)
        assert seen == [(0, 2), (1, 4)]
        assert np.allclose(validator.iouv, np.linspace(0.5, 0.95, 10))
        assert (validator.niou, validator.nc, validator.training) == (10, 4, False)
        assert len(validator.dataloader) == 2
        assert validator.data["nc"] == 4
        assert validator.device == torch.device("cpu")
        assert validator.stride == 16
        assert validator.names == dict(validator.data["names"])
        assert list(validator.speed) == ["preprocess", "inference", "loss", "postprocess"]
        assert validator.stats["fitness"] == validator.metrics.fitness
        assert (validator.jdict, validator.plots, validator.is_coco) == ([], {}, False)
        assert validator.class_map == [1, 2, 3, 4]
        assert validator.loss is None
        assert validator.confusion_matrix is validator.metrics.confusion_matrix
        assert validator.save_dir.is_relative_to(evaluation["project"])
        assert validator.context.phase == "standalone"
        assert validator.callbacks["on_val_start"]

    def test_a_loader_and_a_folder_of_ones_own_are_used(self, model: YOLO, evaluation: dict, tmp_path: Path) -> None:
        first = DetectionValidator(args=evaluation)
        first(model=model)
        again = DetectionValidator(dataloader=first.dataloader, save_dir=tmp_path / "mine", args=evaluation)
        assert again(model=model) == first.stats
        assert again.dataloader is first.dataloader
        assert again.save_dir == tmp_path / "mine"

    def test_what_a_handler_logs_is_returned(self, model: YOLO, evaluation: dict) -> None:
        validator = DetectionValidator(args=evaluation)
        validator.add_callback("on_val_end", lambda v: v.log({"mine": torch.tensor(2.5)}))
        assert validator(model=model)["mine"] == 2.5

    @pytest.mark.parametrize("task", TASKS)
    def test_every_overridable_method_is_called(self, task: str, request, place: dict) -> None:
        calls: Counter[str] = Counter()
        model = YOLO(request.getfixturevalue(f"tiny_{task}_model"))
        plots = task == "detect"  # the figures of other tasks have tests of their own
        names = f"{VALIDATOR} {OF_FIGURES if plots else ''} {OF_BOXES if task != 'classify' else ''}".split()
        data = str(request.getfixturevalue(f"tiny_{task}_dataset"))
        kind = counting(model.task_map[task].validator, names, calls)
        model.val(validator=kind, data=data, workers=0, plots=plots, save_json=True, conf=1e-6, max_det=20, **place)
        assert not set(names) - set(calls)

    def test_figures_are_registered(self, model: YOLO, evaluation: dict) -> None:
        validator = DetectionValidator(args={**evaluation, "plots": True})
        validator(model=model)
        assert {p.name for p in validator.plots} >= {"confusion_matrix.png", "val_batch0_labels.jpg"}
        for path, entry in validator.plots.items():
            assert path.exists()
            assert set(entry) == {"data", "timestamp"}


class TestPredictor:
    def test_signatures(self) -> None:
        assert list(inspect.signature(DetectionPredictor).parameters)[:3] == ["cfg", "overrides", "_callbacks"]
        parameters = inspect.signature(DetectionPredictor.__call__).parameters
        assert [(p.name, p.default) for p in list(parameters.values())[1:]] == [
            ("source", None), ("model", None), ("stream", False),
        ]  # fmt: skip

    def test_it_returns_a_list_or_a_generator(self, model: YOLO, image: np.ndarray, place: dict) -> None:
        predictor = DetectionPredictor(overrides=place)
        assert [type(r) for r in predictor(image, model=model.model)] == [Results]
        assert inspect.isgenerator(predictor(image, stream=True))

    def test_arguments_come_from_cfg_below_overrides(self, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text("conf: 0.5\nmax_det: 9\n")
        args = DetectionPredictor(cfg=tmp_path / "mine.yaml", overrides={"max_det": 3}).args
        assert (args.conf, args.max_det) == (0.5, 3)

    def test_attributes_while_it_runs(self, model: YOLO, image: np.ndarray, place: dict, tmp_path: Path) -> None:
        cv2.imwrite(str(tmp_path / "a.png"), image)
        seen: list[dict[str, Any]] = []
        predictor = DetectionPredictor(overrides={**place, "save": True, "save_txt": True, "conf": 0.0, "max_det": 2})

        def note(p: Any) -> None:
            seen.append({name: getattr(p, name) for name in WHILE_RUNNING.split()})

        predictor.add_callback("on_predict_batch_end", note)
        predictor(tmp_path / "a.png", model=model.model)
        (state,) = seen
        assert state["imgsz"] == (32, 32)
        assert state["device"] == torch.device("cpu")
        assert state["seen"] == 1
        assert state["plotted_img"].shape == image.shape
        assert Path(state["txt_path"]) == state["save_dir"] / "labels" / "a.txt"
        assert Path(state["data_path"]) == tmp_path / "a.png"
        assert (dict(state["vid_writer"]), state["transforms"], state["trackers"]) == ({}, None, [])
        source = state["source_type"]
        assert (source.stream, source.screenshot, source.from_img, source.tensor) == (False, False, False, False)

    @pytest.mark.parametrize(
        ("source", "kind"),
        [(np.zeros((40, 48, 3), np.uint8), "from_img"), (torch.zeros(1, 3, 32, 32), "tensor")],
        ids=["array", "tensor"],
    )
    def test_the_kind_of_the_source(self, model: YOLO, place: dict, source: Any, kind: str) -> None:
        predictor = DetectionPredictor(overrides=place)
        predictor(source, model=model.model)
        assert getattr(predictor.source_type, kind)
        assert predictor.dataset.source_type is predictor.source_type
        assert predictor.batch[2] is None

    def test_the_dataset_of_files(self, model: YOLO, image: np.ndarray, place: dict, tmp_path: Path) -> None:
        folder = tmp_path / "in"
        folder.mkdir()
        for i in range(4):
            cv2.imwrite(str(folder / f"ä {i}.png"), image)
        predictor, sizes = DetectionPredictor(overrides={**place, "batch": 3}), []
        predictor.add_callback("on_predict_batch_start", lambda p: sizes.append((len(p.batch[1]), p.dataset.mode)))
        predictor(folder, model=model.model)
        data = predictor.dataset
        assert sizes == [(3, "image"), (1, "image")]
        assert (data.mode, data.bs, len(data), data.nf, data.ni) == ("image", 3, 2, 4, 4)
        assert data.files == [str(folder / f"ä {i}.png") for i in range(4)]
        assert (data.video_flag, data.vid_stride, data.cap) == ([False] * 4, 1, None)

    def test_the_dataset_while_a_video_is_read(self, model: YOLO, place: dict, tmp_path: Path) -> None:
        writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 20, (48, 40))
        for value in range(5):
            writer.write(np.full((40, 48, 3), 50 * value, np.uint8))
        writer.release()
        seen = []
        predictor = DetectionPredictor(overrides={**place, "save": True, "vid_stride": 2})

        def note(p: Any) -> None:
            data, (paths, images, kind, logs) = p.dataset, p.batch
            seen.append((data.mode, data.frame, data.frames, data.fps, data.cap.isOpened(), kind, len(images)))
            assert len(paths) == len(images) == len(logs)
            assert list(p.vid_writer) == [str(tmp_path / "a.avi")]

        predictor.add_callback("on_predict_batch_end", note)
        assert len(predictor(str(tmp_path / "a.avi"), model=model.model)) == 3
        assert seen == [("video", n, 5, 20, True, "video", 1) for n in (1, 3, 5)]

    def test_the_batch_is_always_four_lists_or_words(self, model: YOLO, image: np.ndarray, place: dict) -> None:
        batches = []
        predictor = DetectionPredictor(overrides={**place, "verbose": True, "batch": 2})
        predictor.add_callback("on_predict_batch_end", lambda p: batches.append(p.batch))
        predictor([image, image], model=model.model)
        predictor(torch.zeros(2, 3, 32, 32))
        assert [len(paths) for paths, *_ in batches] == [2, 2]
        for paths, images, kind, logs in batches:
            assert kind is None
            assert [type(part) for part in (paths, images, logs)] == [list] * 3
            assert paths == [f"image{i}.jpg" for i in range(len(paths))]
            assert all(x.dtype == np.uint8 and x.ndim == 3 for x in images)
            assert all("ms" in text for text in logs)

    def test_the_documented_zip_of_results_and_frames(self, model: YOLO, image: np.ndarray) -> None:
        def pair(predictor: Any) -> None:
            _, images, _, _ = predictor.batch
            images = images if isinstance(images, list) else [images]
            predictor.results = zip(predictor.results, images, strict=True)

        ended = []
        model.add_callback("on_predict_batch_end", pair)
        model.add_callback("on_predict_end", lambda p: ended.append([type(pair_) for pair_ in p.results]))
        for result, frame in model.predict([image, image], imgsz=32, batch=1):
            assert isinstance(result, Results)
            assert (frame == image).all()
        assert list(model.predict([image] * 3, imgsz=32, batch=1, stream=True))[2][0].path == "image2.jpg"
        assert ended == [[tuple, tuple], [tuple]]  # all of the call; the last batch of a stream

    def test_files_are_written_from_what_postprocessing_left(self, model: YOLO, image: np.ndarray, place: dict) -> None:
        model.add_callback("on_predict_postprocess_end", lambda p: setattr(p, "results", [r[:1] for r in p.results]))
        model.add_callback("on_predict_batch_end", lambda p: setattr(p, "results", ["mine"] * 3))
        assert model.predict(image, conf=0.0, max_det=4, save_txt=True, **place) == ["mine"] * 3
        text = (model.predictor.save_dir / "labels" / "image0.txt").read_text()
        assert len(text.splitlines()) == 1

    @pytest.mark.parametrize("task", TASKS)
    def test_every_overridable_method_is_called(self, task: str, request, image: np.ndarray, place: dict) -> None:
        calls: Counter[str] = Counter()
        names = f"{PREDICTOR} {'pre_transform' if task != 'classify' else ''}".split()
        model = YOLO(request.getfixturevalue(f"tiny_{task}_model"))
        model.predict(image, predictor=counting(model.task_map[task].predictor, names, calls), save=True, **place)
        assert calls == dict.fromkeys(names, 1)

    def test_gray_four_channel_and_turned_pictures(self, model: YOLO, place: dict) -> None:
        from PIL import Image

        turned = Image.new("RGB", (48, 40))
        turned.getexif()[0x0112] = 6  # to be turned by a quarter
        sources = [np.zeros((40, 48), np.uint8), np.zeros((40, 48, 4), np.uint8), turned]
        shapes = [r.orig_img.shape for r in DetectionPredictor(overrides=place)(sources, model=model.model)]
        assert shapes == [(40, 48, 3), (40, 48, 3), (48, 40, 3)]

    def test_bytes_and_shares_of_a_tensor_are_the_same(self, model: YOLO, image: np.ndarray, place: dict) -> None:
        pixels = torch.from_numpy(image[:32, :32, ::-1].copy()).permute(2, 0, 1)[None]
        predictor = DetectionPredictor(overrides={**place, "conf": 0.0})
        found = [predictor(x, model=model.model)[0].boxes.data for x in (pixels, pixels.float() / 255)]
        torch.testing.assert_close(*found)


class TestExporter:
    def run(self, task: str, request, tmp_path: Path, **more: Any) -> tuple[str, YOLO, Exporter]:
        model = YOLO(shutil.copy(request.getfixturevalue(f"tiny_{task}_model"), tmp_path))
        overrides = {"format": "torchscript", "imgsz": 32, "device": "cpu", "model": model.source, "task": task, **more}
        exporter = Exporter(overrides=overrides)
        return exporter(model=model.model), model, exporter

    def test_it_returns_the_path_beside_the_weights(self, request, tmp_path: Path) -> None:
        path, _, exporter = self.run("detect", request, tmp_path)
        assert path == str(tmp_path / "tiny-detect.torchscript")
        assert exporter.f == [path]
        assert list(inspect.signature(Exporter).parameters) == ["cfg", "overrides", "_callbacks"]

    def test_attributes_at_both_events(self, tiny_detect_model: Path, tmp_path: Path) -> None:
        model = YOLO(shutil.copy(tiny_detect_model, tmp_path))
        seen: dict[str, set[str]] = {}
        names = "args callbacks run_callbacks model im file output_shape metadata device imgsz f"

        def note(exporter: Exporter) -> None:
            seen[exporter.context.event] = {n for n in names.split() if hasattr(exporter, n)}
            assert callable(exporter.run_callbacks)

        model.add_callback("on_export_start", note)
        model.add_callback("on_export_end", note)
        model.export(format="torchscript", imgsz=32, device="cpu")
        assert seen["on_export_start"] >= {"args", "callbacks", "run_callbacks"}
        assert seen["on_export_end"] == set(names.split())

    @pytest.mark.parametrize("task", TASKS)
    def test_what_an_artefact_says_comes_back(self, task: str, request, tmp_path: Path) -> None:
        path, model, exporter = self.run(task, request, tmp_path)
        assert set(exporter.metadata) >= {*METADATA.split(), *(["kpt_shape"] if task == "pose" else [])}
        assert json.loads(json.dumps(exporter.metadata))["head"] == type(model.model.head).__name__
        backend = load_backend(path)
        assert (backend.task, backend.names, backend.imgsz) == (task, model.names, (32, 32))
        assert backend.stride == int(model.model.stride.max())
        assert backend.kpt_shape == ((4, 3) if task == "pose" else None)
        again = YOLO(path)
        assert (again.task, again.names) == (task, model.names)

    @pytest.mark.parametrize(
        ("name", "format", "suffix"),
        [
            ("tensorflow", "saved_model", "_saved_model"), ("tf", "saved_model", "_saved_model"),
            ("tensorrt", "engine", ".engine"), ("trt", "engine", ".engine"),
        ],
    )  # fmt: skip
    def test_documented_other_names_of_formats(
        self, name: str, format: str, suffix: str, request, tmp_path: Path, fake_installation
    ) -> None:
        source = f"""
            from yolocore.hooks import ExportFormat, hookimpl

            def export(model, im, path, args, metadata):
                path.write_text(metadata["task"])
                return path

            class Plugin:
                @hookimpl
                def register_export_formats(self, register):
                    register.register("{format}", ExportFormat("X", "{format}", "{suffix}", True, True, export=export))
        """
        fake_installation("converter", textwrap.dedent(source))
        assert self.run("detect", request, tmp_path, format=name)[0] == str(tmp_path / f"tiny-detect{suffix}")

    def test_the_table_of_formats(self) -> None:
        table = export_formats()
        assert table.columns == ["Format", "Argument", "Suffix", "CPU", "GPU", "Arguments"]
        rows = {row["Argument"]: (row["Format"], row["Suffix"]) for row in table.rows}
        assert rows["-"] == ("PyTorch", ".pt")
        assert rows["torchscript"] == ("TorchScript", ".torchscript")
        assert rows["onnx"] == ("ONNX", ".onnx")
