"""The model facade as it is documented: constructor, methods, attributes, precedence (surface, section 2)."""

from __future__ import annotations

import inspect
import logging
import shutil
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from yolocore import YOLO
from yolocore.errors import ConfigError, ModelError
from yolocore.hooks import EVENTS
from yolocore.models.yolo.detect import DetectionPredictor, DetectionTrainer, DetectionValidator
from yolocore.testing import alone
from yolocore.utils.metrics import DetMetrics

if TYPE_CHECKING:
    from yolocore.engine.predictor import BasePredictor

pytest_plugins = ["yolocore.testing"]

SIGNATURES = {
    "__init__": "model='yolo11n.pt', task=None, verbose=False",
    "train": "trainer=None, **kwargs",
    "val": "validator=None, **kwargs",
    "predict": "source=None, stream=False, predictor=None, **kwargs",
    "__call__": "source=None, stream=False, **kwargs",
    "track": "source=None, stream=False, persist=False, **kwargs",
    "export": "**kwargs",
    "tune": "use_ray=False, iterations=10, **kwargs",
    "embed": "source=None, stream=False, **kwargs",
    "info": "detailed=False, verbose=True, imgsz=640",
    "fuse": "",
    "load": "weights",
    "save": "filename='saved_model.pt'",
    "reset_weights": "",
    "add_callback": "event, func",
    "clear_callback": "event",
    "reset_callbacks": "",
}
HEADS = {
    "detect": "[[-1], 1, Detect, [nc]]",
    "segment": "[[-1], 1, Segment, [nc, 8, 8]]",
    "pose": "[[-1], 1, Pose, [nc, [4, 3]]]",
    "obb": "[[-1], 1, OBB, [nc, 1]]",
    "classify": "[-1, 1, Classify, [nc]]",
}
BACKBONE = "nc: 2\nbackbone:\n  - [-1, 1, Conv, [8, 3, 8]]\nhead:\n  - "


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)


@pytest.fixture
def model(tiny_detect_model: Path) -> YOLO:
    return YOLO(tiny_detect_model)


@pytest.fixture
def exported(tiny_detect_model: Path, tmp_path: Path) -> YOLO:
    network = YOLO(shutil.copy(tiny_detect_model, tmp_path))
    network.model.names = {0: "ant", 1: "bee", 2: "cow", 3: "dog"}
    return YOLO(network.export(format="torchscript", imgsz=32, device="cpu"))


@pytest.fixture
def training(tiny_detect_dataset: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "data": str(tiny_detect_dataset), "imgsz": 32, "epochs": 1, "batch": 4, "nbs": 4, "warmup_epochs": 0,
        "workers": 0, "device": "cpu", "plots": False, "project": str(tmp_path), "name": "run",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "wanted"), SIGNATURES.items())
def test_documented_signatures(name: str, wanted: str) -> None:
    """The documented parameters in their order; more may follow, by name only in effect."""
    parameters = list(inspect.signature(getattr(YOLO, name)).parameters.values())[1:]
    listed = [p for p in wanted.split(", ") if p]
    named = [p for p in listed if not p.startswith("**")]
    found = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
    assert found[: len(named)] == named
    assert all(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in parameters[len(named) :])
    assert (parameters[-1].kind is inspect.Parameter.VAR_KEYWORD if parameters else False) == ("**kwargs" in wanted)


class TestConstructor:
    def test_a_scale_letter_in_the_name_finds_the_unscaled_file(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        scales = "scales:\n  n: [1.0, 1.0, 64]\n  s: [1.0, 2.0, 64]\n"
        (tmp_path / "yolo11.yaml").write_text(scales + BACKBONE + HEADS["detect"])
        small, large = YOLO("yolo11n.yaml"), YOLO("yolo11s.yaml")
        assert small.model.model[0].conv.out_channels * 2 == large.model.model[0].conv.out_channels
        assert (small.cfg, small.model_name, small.ckpt, small.ckpt_path) == ("yolo11n.yaml", "yolo11n.yaml", {}, None)

    def test_yml_and_paths_are_taken_too(self, tiny_detect_model: Path, tmp_path: Path) -> None:
        file = Path(shutil.copy(tiny_detect_model, tmp_path / "mine.yml"))
        assert YOLO(file).info(verbose=False) == YOLO(str(file)).info(verbose=False)

    def test_new_weights_are_random(self, tiny_detect_model: Path) -> None:
        a, b = (YOLO(tiny_detect_model).state_dict()["model.0.conv.weight"] for _ in range(2))
        assert not torch.equal(a, b)

    def test_a_checkpoint_brings_weights_and_architecture(self, model: YOLO, tmp_path: Path) -> None:
        model.save(tmp_path / "m.pt")
        again = YOLO(tmp_path / "m.pt")
        assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
        assert again.ckpt_path == str(tmp_path / "m.pt")
        assert again.ckpt
        assert again.cfg is None

    def test_pt_is_appended_to_a_name_without_suffix(self, model: YOLO, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        model.save("mine.pt")
        assert YOLO("mine").ckpt_path == "mine.pt"

    def test_another_model_is_opened_anew_and_shares_nothing(self, model: YOLO, tmp_path: Path) -> None:
        model.save(tmp_path / "m.pt")
        first = YOLO(tmp_path / "m.pt")
        second = YOLO(first)
        assert second.ckpt_path == first.ckpt_path
        with torch.no_grad():
            next(first.parameters()).zero_()
        first.add_callback("on_train_end", print)
        assert next(second.parameters()).any()
        assert print not in second.callbacks["on_train_end"]

    def test_the_search_goes_from_the_path_to_the_working_directory_to_weights_dir(
        self, model: YOLO, tmp_path: Path, monkeypatch
    ) -> None:
        work, store = tmp_path / "work", tmp_path / "store"
        work.mkdir()
        store.mkdir()
        monkeypatch.chdir(work)
        monkeypatch.setenv("YOLOCORE_WEIGHTS_DIR", str(store))
        with pytest.raises(FileNotFoundError) as caught:
            YOLO("m.pt")
        assert all(text in str(caught.value) for text in ("m.pt", str(work), str(store)))
        model.save(store / "m.pt")
        assert YOLO("m.pt").ckpt_path == str(store / "m.pt")
        model.save(work / "m.pt")
        assert YOLO("m.pt").ckpt_path == "m.pt"

    @pytest.mark.parametrize(("task", "head"), HEADS.items())
    def test_the_task_is_read_from_the_head(self, task: str, head: str, tmp_path: Path) -> None:
        (tmp_path / "plain.yaml").write_text(BACKBONE + head)
        assert YOLO(tmp_path / "plain.yaml").task == task

    def test_the_task_of_a_checkpoint(self, tiny_pose_model: Path, tmp_path: Path) -> None:
        YOLO(tiny_pose_model).save(tmp_path / "anything-seg.pt")
        assert YOLO(tmp_path / "anything-seg.pt").task == "pose"

    @pytest.mark.parametrize(("name", "task"), [("a-seg", "segment"), ("a-cls", "classify"), ("a-obb", "obb")])
    def test_a_head_that_tells_no_task_leaves_it_to_the_name(self, name: str, task: str, tmp_path: Path) -> None:
        (tmp_path / f"{name}.yaml").write_text(BACKBONE + "[-1, 1, Conv, [8, 3]]")
        assert YOLO(tmp_path / f"{name}.yaml").task == task

    def test_a_pose_model_needs_a_head_for_keypoints(self, tmp_path: Path) -> None:
        (tmp_path / "a-pose.yaml").write_text(BACKBONE + "[-1, 1, Conv, [8, 3]]")
        with pytest.raises(ModelError, match="Conv finds no keypoints"):
            YOLO(tmp_path / "a-pose.yaml")

    def test_where_nothing_tells_the_task_it_is_detect_with_a_warning(self, tmp_path: Path, caplog) -> None:
        (tmp_path / "plain.yaml").write_text(BACKBONE + "[-1, 1, Conv, [8, 3]]")
        with caplog.at_level(logging.WARNING, "yolocore"):
            assert YOLO(tmp_path / "plain.yaml").task == "detect"
        assert "'detect'" in caplog.text

    def test_an_unknown_task_is_a_value_error(self, tiny_detect_model: Path) -> None:
        with pytest.raises(ValueError, match=r"'detct' is unknown.*Did you mean 'detect'"):
            YOLO(tiny_detect_model, task="detct")

    def test_a_task_that_the_network_does_not_do_is_told_before_anything_runs(
        self, tiny_detect_model: Path, model: YOLO, tmp_path: Path
    ) -> None:
        model.save(tmp_path / "m.pt")
        for file in (tiny_detect_model, tmp_path / "m.pt"):
            for task in set(HEADS) - {"detect"}:
                with pytest.raises(ConfigError, match=rf"task='{task}': .*{file.name} is a network for task='detect'"):
                    YOLO(file, task=task)
            assert YOLO(file, task="detect").task == "detect"


class TestExported:
    @pytest.mark.parametrize(
        ("action", "arguments"),
        [
            ("train", {}), ("fuse", {}), ("info", {}), ("load", {"weights": "m.pt"}), ("save", {}),
            ("reset_weights", {}), ("export", {}), ("embed", {"source": np.zeros((32, 32, 3), np.uint8)}),
            ("to", {"device": "cpu"}), ("half", {}), ("float", {}), ("cpu", {}), ("tune", {}),
        ],
    )  # fmt: skip
    def test_what_needs_a_trainable_model_says_so(self, exported: YOLO, action: str, arguments: dict) -> None:
        with pytest.raises(TypeError, match=r"\.torchscript.*trainable"):
            getattr(exported, action)(**arguments)

    def test_it_knows_names_and_task_and_predicts(self, exported: YOLO, image: np.ndarray) -> None:
        assert exported.names == {0: "ant", 1: "bee", 2: "cow", 3: "dog"}
        assert exported.task == "detect"
        assert exported.device is None
        assert isinstance(exported.model, str)
        (result,) = exported(image, conf=0.0)
        assert result.names == exported.names
        assert len(result)

    def test_a_missing_one_is_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
            YOLO(tmp_path / "none.onnx")


class TestMethods:
    def test_train_returns_the_metrics_of_the_best_weights(self, model: YOLO, training: dict) -> None:
        metrics = model.train(**training)
        assert isinstance(metrics, DetMetrics)
        assert metrics is model.metrics
        assert isinstance(model.trainer, DetectionTrainer)
        assert isinstance(model.model, nn.Module)
        assert model.overrides["data"] == training["data"]
        assert metrics.results_dict["metrics/mAP50(B)"] == model.trainer.final_metrics["metrics/mAP50(B)"]
        assert model.ckpt_path == str(model.trainer.best)
        again = model.val(workers=0, device="cpu", plots=False, project=training["project"])  # data: last trained on
        assert isinstance(again, DetMetrics)
        assert again.results_dict.keys() == metrics.results_dict.keys()

    def test_without_data_the_recorded_dataset_is_used(self, model: YOLO, training: dict) -> None:
        model.train(**training, val=False)
        again = YOLO(model.trainer.last)
        again.train(**{k: v for k, v in training.items() if k != "data"}, val=False)
        assert str(again.trainer.data.yaml_file) == training["data"]

    def test_other_ranks_return_nothing(self, model: YOLO, training: dict, fake_ranks) -> None:
        class Second(alone(DetectionTrainer)):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, ranks=fake_ranks(1, 2), **kwargs)

        assert model.train(trainer=Second, **training) is None
        assert model.trainer.rank == 1

    def test_train_takes_another_trainer(self, model: YOLO, training: dict) -> None:
        class Mine(DetectionTrainer):
            pass

        model.train(trainer=Mine, val=False, **training)
        assert type(model.trainer) is Mine

    def test_val_and_predict_take_other_classes(self, model: YOLO, training: dict, image: np.ndarray) -> None:
        class MyValidator(DetectionValidator):
            def get_stats(self) -> dict[str, float]:
                return {**super().get_stats(), "mine": 1.0}

        class MyPredictor(DetectionPredictor):
            pass

        seen = []
        model.add_callback("on_val_end", lambda validator: seen.append(validator.stats["mine"]))
        place = {k: training[k] for k in ("data", "imgsz", "workers", "device", "project")}
        model.val(validator=MyValidator, plots=False, **place)
        assert seen == [1.0]
        model.predict(image, predictor=MyPredictor)
        assert type(model.predictor) is MyPredictor

    def test_predict_gives_a_list_or_a_generator_and_calling_is_the_same(self, model: YOLO, image: np.ndarray) -> None:
        found = model.predict(image, conf=0.0)
        assert isinstance(found, list)
        stream = model.predict([image, image], stream=True, conf=0.0)
        assert inspect.isgenerator(stream)
        assert len(list(stream)) == 2
        called, streamed = model(image, conf=0.0), model(image, stream=True, conf=0.0)
        assert inspect.isgenerator(streamed)
        for other in (called[0], next(streamed)):
            torch.testing.assert_close(other.boxes.data, found[0].boxes.data)

    def test_without_a_source_the_bundled_samples_with_one_warning(self, model: YOLO, caplog) -> None:
        with caplog.at_level(logging.WARNING, "yolocore"):
            assert model.predict(imgsz=32)
        assert [r.message for r in caplog.records].count(
            "no source given: predicting on the bundled sample images"
        ) == 1

    def test_track_gives_boxes_with_ids(self, model: YOLO, image: np.ndarray, tmp_path: Path) -> None:
        keys = ("track_high_thresh", "track_low_thresh", "new_track_thresh")  # random weights score next to nothing
        lines = ["tracker_type: bytetrack", "fuse_score: false", *(f"{key}: 0.0" for key in keys)]
        (tmp_path / "any.yaml").write_text("\n".join(lines))
        given = {"conf": 0.0, "imgsz": 32, "max_det": 3, "tracker": str(tmp_path / "any.yaml")}
        results = model.track([image] * 3, **given)
        assert isinstance(results, list)
        assert [sorted(result.boxes.id.tolist()) for result in results] == [[1, 2, 3]] * 3
        assert model.predictor.args.mode == "track"
        assert inspect.isgenerator(model.track(image, stream=True))

    def test_defaults_of_the_modes(self, model: YOLO, image: np.ndarray) -> None:
        model.track(image)
        args = model.predictor.args
        assert (args.conf, args.batch, args.tracker) == (0.1, 1, "botsort.yaml")
        model.predict(image)
        assert (model.predictor.args.conf, model.predictor.args.mode) == (0.25, "predict")

    def test_defaults_of_val(self, model: YOLO, training: dict) -> None:
        seen = []
        model.add_callback("on_val_start", lambda v: seen.append((*v.thresholds(), v.args.rect)))
        model.val(**{k: training[k] for k in ("data", "imgsz", "workers", "device", "project")}, plots=False)
        assert seen == [(0.001, 0.6, True)]

    def test_export_returns_the_path_as_text(self, tiny_detect_model: Path, tmp_path: Path) -> None:
        network = YOLO(shutil.copy(tiny_detect_model, tmp_path))
        path = network.export(format="torchscript", imgsz=32, device="cpu")
        assert path == str(tmp_path / "tiny-detect.torchscript")
        assert Path(path).is_file()
        with pytest.raises(ValueError, match="unknown"):
            network.export(format="nothing")

    def test_export_takes_the_size_that_was_trained_at(self, model: YOLO, training: dict) -> None:
        model.train(**{**training, "imgsz": 64}, val=False)
        seen = []
        model.add_callback("on_export_end", lambda e: seen.append((e.imgsz, tuple(e.im.shape), e.args.data)))
        model.export(format="torchscript", device="cpu")
        assert seen == [((64, 64), (1, 3, 64, 64), None)]

    def test_embed(self) -> None:
        image = np.zeros((64, 64, 3), np.uint8)
        network = YOLO("yolo11n.yaml")
        (vector,) = network.embed(image, imgsz=64)
        assert vector.shape == (256,)
        both = network.embed([image, image], imgsz=64, embed=[2, 4])
        assert [tuple(v.shape) for v in both] == [(192,), (192,)]
        assert inspect.isgenerator(network.embed(image, stream=True))

    @pytest.mark.parametrize("verbose", [True, False])
    def test_info_always_returns_its_four_numbers(self, model: YOLO, verbose: bool) -> None:
        layers, parameters, gradients, gflops = model.info(verbose=verbose, imgsz=64)
        assert parameters == sum(p.numel() for p in model.parameters())
        assert gradients == sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert layers > 4
        assert isinstance(gflops, float)

    def test_fuse_is_idempotent_in_place_and_returns_the_model(self, model: YOLO) -> None:
        network = model.model
        assert model.fuse() is model
        once = {k: v.clone() for k, v in model.state_dict().items()}
        assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
        model.fuse()
        assert model.model is network
        assert all(torch.equal(v, once[k]) for k, v in model.state_dict().items())

    def test_load_copies_what_fits_and_says_how_much(
        self, model: YOLO, tiny_detect_model: Path, tmp_path: Path, caplog
    ) -> None:
        model.save(tmp_path / "m.pt")
        other = YOLO(tiny_detect_model)
        count = len(other.state_dict())
        with caplog.at_level(logging.INFO, "yolocore"):
            assert other.load(tmp_path / "m.pt") is other
        assert f"{count} of {count} tensors transferred" in caplog.text
        assert all(torch.equal(v, model.state_dict()[k]) for k, v in other.state_dict().items())

    def test_save_has_a_documented_default_name(self, model: YOLO, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert model.save() is None
        assert YOLO("saved_model.pt").task == "detect"

    def test_reset_weights_draws_new_ones_and_frees_every_parameter(self, model: YOLO) -> None:
        before = model.state_dict()["model.0.conv.weight"].clone()
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        assert model.reset_weights() is model
        assert not torch.equal(model.state_dict()["model.0.conv.weight"], before)
        frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
        assert all(".dfl" in name for name in frozen)  # constants, not weights

    def test_torch_semantics(self, model: YOLO) -> None:
        assert model.half() is model
        assert next(model.parameters()).dtype == torch.float16
        assert model.float() is model
        assert next(model.parameters()).dtype == torch.float32
        assert model.to("cpu") is model.cpu() is model.eval() is model
        assert not model.model.training
        assert dict(model.named_parameters()).keys() <= model.state_dict().keys()
        assert model.device == torch.device("cpu")


class TestCallbacks:
    def test_a_function_added_twice_runs_twice(self, model: YOLO, image: np.ndarray) -> None:
        seen: list[BasePredictor] = []
        assert model.add_callback("on_predict_start", seen.append) is None
        model.add_callback("on_predict_start", seen.append)
        model.predict(image)
        assert seen == [model.predictor] * 2

    def test_an_unknown_event_names_the_closest(self, model: YOLO) -> None:
        with pytest.raises(ValueError, match="on_train_epoch_end"):
            model.add_callback("on_train_epoch_ended", print)

    def test_clearing_empties_the_list_and_resetting_brings_one_no_op_back(self, model: YOLO) -> None:
        model.add_callback("on_val_end", print)
        assert len(model.callbacks["on_val_end"]) == 2
        assert model.clear_callback("on_val_end") is None
        assert model.callbacks["on_val_end"] == []
        assert model.reset_callbacks() is None
        assert set(model.callbacks) == set(EVENTS)
        assert all(len(functions) == 1 for functions in model.callbacks.values())


class TestAttributes:
    def test_of_a_new_model(self, model: YOLO, tiny_detect_model: Path) -> None:
        assert model.names == {0: "0", 1: "1", 2: "2", 3: "3"}
        assert model.overrides == {"model": str(tiny_detect_model), "task": "detect"}
        assert (model.trainer, model.predictor, model.metrics, model.transforms) == (None, None, None, None)
        assert (model.ckpt, model.ckpt_path, model.cfg) == ({}, None, str(tiny_detect_model))
        assert model.model_name == tiny_detect_model.name
        assert isinstance(model.callbacks, defaultdict)
        assert model.callbacks["on_no_event"] == []

    def test_nothing_but_the_documented_arguments_leaks_from_a_checkpoint(self, model: YOLO, training: dict) -> None:
        model.train(**training, val=False, lr0=0.5, conf=0.9, seed=7, max_det=3)
        again = YOLO(model.trainer.last)
        assert again.overrides == {
            "model": str(model.trainer.last), "task": "detect", "imgsz": 32, "data": training["data"],
            "single_cls": False,
        }  # fmt: skip

    def test_the_task_map_has_four_classes_a_task(self, model: YOLO) -> None:
        assert set(model.task_map) >= set(HEADS)
        for record in model.task_map.values():
            for kind in ("model", "trainer", "validator", "predictor"):
                assert inspect.isclass(record[kind])
                assert record[kind] is getattr(record, kind)

    def test_a_classifier_shows_its_transforms(self, tiny_classify_model: Path, image: np.ndarray) -> None:
        model = YOLO(tiny_classify_model)
        model.predict(image, imgsz=32)
        assert model.transforms is model.predictor.transforms
        assert model.transforms(image).shape == (3, 32, 32)


class TestPrecedence:
    def test_packaged_then_remembered_then_mode_then_keyword(self, model: YOLO, image: np.ndarray) -> None:
        model.overrides["max_det"] = 7
        model.predict(image)
        assert (model.predictor.args.max_det, model.predictor.args.iou) == (7, 0.7)
        model.predict(image, max_det=9)
        assert model.predictor.args.max_det == 9
        assert model.overrides["max_det"] == 7  # a keyword holds for one call

    def test_defaults_of_a_method_win_over_what_is_remembered(
        self, model: YOLO, image: np.ndarray, training: dict
    ) -> None:
        model.overrides.update(conf=0.9, batch=7, rect=False, data="remembered.yaml", imgsz=32)
        model.track(image)
        assert (model.predictor.args.conf, model.predictor.args.batch) == (0.1, 1)
        model.track(image, conf=0.3, batch=2)
        assert (model.predictor.args.conf, model.predictor.args.batch) == (0.3, 2)
        seen = []
        model.add_callback("on_val_start", lambda v: seen.append((v.args.conf, v.args.rect, v.args.batch)))
        place = {k: training[k] for k in ("data", "workers", "device", "project")}
        model.val(**place)
        model.val(conf=0.5, rect=False, **place)
        assert seen == [(0.001, True, 7), (0.5, False, 7)]
        model.predict(image)  # has no defaults of its own for these
        assert (model.predictor.args.conf, model.predictor.args.batch) == (0.9, 7)

    def test_the_mode_comes_last(self, model: YOLO, image: np.ndarray) -> None:
        model.overrides["mode"] = "track"
        model.predict(image)
        assert model.predictor.args.mode == "predict"

    def test_an_unknown_keyword_names_the_closest(self, model: YOLO, image: np.ndarray) -> None:
        with pytest.raises(ValueError, match=r"max_dets.*Did you mean 'max_det'"):
            model.predict(image, max_dets=3)
