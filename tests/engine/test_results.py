"""Results and their containers: the documented layouts, words, lines, records and files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from yolocore.engine.results import OBB, Boxes, Keypoints, Masks, Probs, Results
from yolocore.errors import ConfigError, DataError, UnsupportedError
from yolocore.utils.plotting import Annotator, colors

NAMES = {0: "person", 1: "bus", 2: "čaj"}
SHAPE = (100, 200)  # h, w
BOXES = [[10, 20, 60, 80, 0.9, 1], [50, 30, 90, 60, 0.8, 0], [0, 0, 20, 20, 0.5, 0]]


def image(shape=SHAPE):
    return np.full((*shape, 3), 120, np.uint8)


def make(boxes=BOXES, kind=torch.tensor, **kwargs):
    kwargs.setdefault("boxes", kind(boxes) if boxes is not None else None)
    return Results(image(), "folder/im.jpg", NAMES, **kwargs)


@pytest.fixture
def tracked():
    return make([[10, 20, 60, 80, 7, 0.9, 1]])


@pytest.fixture
def segmented():
    masks = np.zeros((1, *SHAPE), np.uint8)
    masks[0, 20:81, 10:61] = 1
    return make([BOXES[0]], masks=torch.from_numpy(masks))


@pytest.fixture
def posed():
    return make([BOXES[0]], keypoints=torch.tensor([[[20.0, 30, 0.5], [100, 50, 0.25]]]))


@pytest.fixture
def rotated():
    return make(None, obb=torch.tensor([[50.0, 40, 20, 10, 0, 0.75, 1]]))


@pytest.fixture
def classified():
    return Results(
        image(), "im.jpg", dict(enumerate("abcdefg")), probs=torch.tensor([0.1, 0.3, 0, 0.2, 0.25, 0.1, 0.05])
    )


class TestContainers:
    @pytest.mark.parametrize("kind", [torch.tensor, np.array])
    def test_boxes_in_every_form(self, kind):
        boxes = Boxes(kind(BOXES), SHAPE)
        assert type(boxes.xywhn) is type(boxes.data)
        np.testing.assert_allclose(boxes.xywh[0], [35, 50, 50, 60])
        np.testing.assert_allclose(boxes.xyxyn[0], [0.05, 0.2, 0.3, 0.8], rtol=1e-6)
        np.testing.assert_allclose(boxes.xywhn[0], [0.175, 0.5, 0.25, 0.6], rtol=1e-6)
        np.testing.assert_allclose(boxes.conf, [0.9, 0.8, 0.5])
        assert boxes.cls.tolist() == [1, 0, 0]
        assert boxes.id is None
        assert not boxes.is_track
        assert boxes.shape == (3, 6)
        assert len(boxes) == 3

    def test_the_track_id_stands_before_the_confidence(self, tracked):
        boxes = tracked.boxes
        assert boxes.is_track
        assert (boxes.id.tolist(), boxes.cls.tolist()) == ([7], [1])
        assert boxes.conf.item() == pytest.approx(0.9)

    def test_one_row_may_be_given_flat_and_other_widths_are_refused(self):
        assert Boxes(torch.tensor(BOXES[0]), SHAPE).shape == (1, 6)
        with pytest.raises(DataError, match=r"6 columns, or 7 with a track id, got shape \(1, 5\)"):
            Boxes(torch.zeros(1, 5), SHAPE)
        with pytest.raises(DataError, match="Keypoints: expected 2 or 3 numbers"):
            Keypoints(torch.zeros(1, 17, 4), SHAPE)
        with pytest.raises(DataError, match="Masks: expected an array of 3 dimensions"):
            Masks(torch.zeros(1, 1, 4, 4), SHAPE)

    def test_indexing_keeps_the_class_and_moving_returns_copies(self):
        boxes = Boxes(torch.tensor(BOXES), SHAPE)
        assert boxes[1].shape == (1, 6)
        assert boxes[boxes.conf > 0.6].shape == (2, 6)
        array = boxes.numpy()
        assert isinstance(array.data, np.ndarray)
        assert array[torch.tensor([True, False, True])].shape == (2, 6)
        assert boxes.to(torch.float64).data.dtype == torch.float64
        assert array.cpu() is array

    def test_rotated_boxes(self, rotated):
        obb = rotated.obb
        assert obb.xyxyxyxy[0].tolist() == [[60, 45], [60, 35], [40, 35], [40, 45]]
        np.testing.assert_allclose(obb.xyxyxyxyn[0, 0], [0.3, 0.45], rtol=1e-6)
        assert obb.xyxy.tolist() == obb.numpy().xyxy.tolist() == [[40, 35, 60, 45]]
        turned = OBB(np.array([[50, 40, 20, 10, math.pi / 2, 3, 0.5, 0]]), SHAPE)
        np.testing.assert_allclose(turned.xyxy, [[45, 30, 55, 50]])
        assert turned.is_track
        assert turned.id.tolist() == [3]
        assert turned.xywhr.shape == (1, 5)

    def test_masks_have_outlines_in_the_image(self, segmented):
        outline = segmented.masks.xy[0]
        assert outline.min(0).tolist() == [10, 20]
        assert outline.max(0).tolist() == [60, 80]
        np.testing.assert_allclose(segmented.masks.xyn[0].max(0), [0.3, 0.8], rtol=1e-6)

    def test_letterboxed_masks_are_mapped_back(self):
        masks = np.zeros((2, 64, 64), np.float32)
        masks[0, 16 + 8 : 16 + 16, 8:32] = 1  # the 100x200 image fills rows 16..47 of a 64x64 input
        mask = Masks(masks, SHAPE)
        full = mask.on_image()
        assert full.shape == (2, *SHAPE)
        rows, columns = np.nonzero(full[0])
        np.testing.assert_allclose(
            [rows.min(), rows.max() + 1, columns.min(), columns.max() + 1], [25, 50, 25, 100], atol=1
        )
        assert mask.xy[1].shape == (0, 2)
        assert Masks(masks[:0], SHAPE).on_image().shape == (0, *SHAPE)

    def test_keypoints_and_probabilities(self, posed, classified):
        points = posed.keypoints
        assert points.has_visible
        assert points.conf.tolist() == [[0.5, 0.25]]
        np.testing.assert_allclose(points.xyn[0], [[0.1, 0.3], [0.5, 0.5]], rtol=1e-6)
        assert Keypoints(points.xy, SHAPE).conf is None
        probs = classified.probs
        assert (probs.top1, probs.top5) == (1, [1, 4, 3, 0, 5])
        assert probs.top1conf.item() == pytest.approx(0.3)
        np.testing.assert_allclose(probs.top5conf, [0.3, 0.25, 0.2, 0.1, 0.1])
        assert Probs(np.array([0.4, 0.6])).top5 == [1, 0]
        assert len(classified) == 7


class TestResults:
    def test_indexing_and_iteration(self, segmented):
        r = make()
        assert len(r) == 3
        assert [len(one) for one in r] == [1, 1, 1]
        assert r[1].boxes.conf.tolist() == pytest.approx([0.8])
        assert len(r[0:2]) == 2
        assert len(r[r.boxes.conf > 0.7]) == 2
        assert r[0].path == r.path
        assert segmented[0].masks.shape == (1, *SHAPE)

    def test_new_and_update(self):
        r = make(speed={"preprocess": 1.0, "inference": 2.0, "postprocess": 3.0})
        empty = r.new()
        assert len(empty) == 0
        assert empty.boxes is None
        assert empty.speed == r.speed
        empty.update(boxes=torch.tensor([[-5.0, -5, 300, 300, 0.5, 0]]))
        assert empty.boxes.xyxy.tolist() == [[0, 0, 200, 100]]
        empty.update(probs=torch.tensor([1.0]))
        assert empty.probs.top1 == 0
        assert r.orig_shape == SHAPE
        assert make(None).speed == {"preprocess": None, "inference": None, "postprocess": None}

    def test_moving_returns_new_results(self):
        r = make()
        array = r.numpy()
        assert isinstance(array.boxes.data, np.ndarray)
        assert isinstance(r.boxes.data, torch.Tensor)
        assert r.to("cpu").boxes.data.equal(r.cpu().boxes.data)

    def test_words(self, classified):
        assert make().verbose() == "2 persons, 1 bus, "
        assert make(np.zeros((0, 6), np.float32)).verbose() == "(no detections), "
        assert make(None).verbose() == "(no detections), "
        assert classified.verbose() == "b 0.30, e 0.25, d 0.20, a 0.10, f 0.10, "


class TestText:
    def line(self, r, tmp_path, **kwargs):
        file = tmp_path / "labels" / "im.txt"
        assert r.save_txt(file, **kwargs) == str(file)
        return file.read_text().splitlines()[-1]

    def test_detections(self, tracked, tmp_path):
        assert self.line(make(BOXES[:1]), tmp_path) == "1 0.175 0.5 0.25 0.6"
        assert self.line(make(BOXES[:1]), tmp_path, save_conf=True) == "1 0.175 0.5 0.25 0.6 0.9"
        assert self.line(tracked, tmp_path, save_conf=True) == "1 0.175 0.5 0.25 0.6 0.9 7"
        assert self.line(tracked, tmp_path) == "1 0.175 0.5 0.25 0.6 7"
        assert len((tmp_path / "labels" / "im.txt").read_text().splitlines()) == 4

    def test_other_tasks(self, segmented, posed, rotated, classified, tmp_path):
        numbers = self.line(segmented, tmp_path, save_conf=True).split()
        assert numbers[0] == "1"
        assert len(numbers) % 2 == 0
        assert numbers[-1] == "0.9"
        assert self.line(posed, tmp_path) == "1 0.175 0.5 0.25 0.6 0.1 0.3 0.5 0.5 0.5 0.25"
        posed.update(keypoints=posed.keypoints.xy)
        assert self.line(posed, tmp_path) == "1 0.175 0.5 0.25 0.6 0.1 0.3 0.5 0.5"
        assert self.line(rotated, tmp_path, save_conf=True) == "1 0.3 0.45 0.3 0.35 0.2 0.35 0.2 0.45 0.75"
        classified.save_txt(tmp_path / "c.txt")
        assert (tmp_path / "c.txt").read_text().splitlines() == [
            "0.30 b",
            "0.25 e",
            "0.20 d",
            "0.10 a",
            "0.10 f",
        ]

    def test_folders_are_made(self, tmp_path):
        file = tmp_path / "deep" / "er" / "im.txt"
        assert make(BOXES[:1]).save_txt(file) == str(file)
        assert file.is_file()
        assert Path(make(BOXES[:1]).to_sql(db_path=tmp_path / "very" / "deep" / "results.db")).is_file()

    def test_no_instances_no_file(self, tmp_path):
        make(np.zeros((0, 6))).save_txt(tmp_path / "none.txt")
        make(None).save_txt(tmp_path / "none.txt")
        assert not any(tmp_path.iterdir())


class TestRecords:
    def test_detection(self, tracked):
        record = tracked.summary()[0]
        assert list(record) == ["name", "class", "confidence", "box", "track_id"]
        assert record["confidence"] == 0.9
        assert record["box"] == {"x1": 10, "y1": 20, "x2": 60, "y2": 80}
        assert (record["name"], record["class"], record["track_id"]) == ("bus", 1, 7)
        assert tracked.summary(normalize=True)[0]["box"] == {"x1": 0.05, "y1": 0.2, "x2": 0.3, "y2": 0.8}
        assert make([[10.123456, 20, 60, 80, 0.9, 1]]).summary(decimals=1)[0]["box"]["x1"] == 10.1

    def test_other_tasks(self, segmented, posed, rotated, classified):
        assert set(segmented.summary()[0]["segments"]) == {"x", "y"}
        assert posed.summary()[0]["keypoints"] == {"x": [20, 100], "y": [30, 50], "visible": [0.5, 0.25]}
        assert posed.summary(normalize=True)[0]["keypoints"] == {
            "x": [0.1, 0.5],
            "y": [0.3, 0.5],
            "visible": [0.5, 0.25],
        }
        assert list(rotated.summary()[0]["box"]) == ["x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4"]
        assert classified.summary()[0] == {"name": "b", "class": 1, "confidence": 0.3}
        assert len(classified.summary()) == 5

    def test_csv_and_json_need_no_pandas(self, tracked):
        assert json.loads(make().to_json()) == make().summary()
        header, row, *_ = tracked.to_csv().splitlines()
        assert header == "name,class,confidence,box,track_id"
        assert row.startswith("bus,1,0.9,")
        empty = make(np.zeros((0, 6)))
        assert (empty.to_csv(), empty.to_json()) == ("", "[]")

    def test_a_frame_without_pandas_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pandas", None)
        with pytest.raises(ImportError, match=r"yolocore\[tables\]"):
            make().to_df()


class TestFiles:
    def test_crops_are_named_by_class_and_counted(self, tmp_path):
        make([[50, 30, 90, 60, 0.8, 0]] * 2).save_crop(tmp_path, "some/im.png")
        assert sorted(p.name for p in (tmp_path / "person").iterdir()) == ["im.jpg", "im2.jpg"]
        assert cv2.imread(str(tmp_path / "person" / "im.jpg")).shape == (41, 51, 3)

    def test_a_class_name_cannot_leave_the_folder(self, tmp_path):
        r = Results(image(), "im.jpg", {0: "../../x"}, boxes=torch.tensor([[1.0, 1, 30, 30, 0.5, 0]]))
        r.save_crop(tmp_path / "crops")
        assert [p.name for p in tmp_path.iterdir()] == ["crops"]

    def test_nothing_to_crop_warns(self, classified, rotated, tmp_path, caplog):
        classified.save_crop(tmp_path)
        rotated.save_crop(tmp_path)
        assert caplog.text.count("nothing to crop") == 2
        assert not any(tmp_path.iterdir())

    def test_save_draws_and_returns_the_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert make().save() == "results_im.jpg"
        target = tmp_path / "sub" / "žluť.png"
        assert make().save(target, conf=False) == str(target)
        assert cv2.imdecode(np.fromfile(target, np.uint8), 1).shape == (*SHAPE, 3)
        assert Results(image(), "clip.mp4", NAMES).save() == "results_clip.jpg"


class TestPlot:
    def test_the_image_is_copied_and_boxes_have_the_class_colour(self):
        r = make()
        before = r.orig_img.copy()
        drawn = r.plot(line_width=2, labels=False)
        assert (r.orig_img == before).all()
        assert drawn.shape == before.shape
        assert tuple(drawn[50, 10]) == colors(1, bgr=True)
        by_instance = r.plot(line_width=2, labels=False, color_mode="instance")
        assert tuple(by_instance[50, 10]) == colors(0, bgr=True)

    def test_what_is_off_is_not_drawn(self, segmented, posed, rotated, classified):
        for r in (segmented, posed, rotated, classified):
            assert (r.plot() != r.orig_img).any()
            plain = r.plot(boxes=False, masks=False, probs=False, kpt_line=False)
            assert (plain == r.orig_img).all() == (r is not posed)
        assert (segmented.plot(boxes=False) != segmented.orig_img).any()
        assert (make().plot(labels=False) != make().plot()).any()
        assert (make().plot(conf=False) != make().plot()).any()

    def test_another_canvas_and_file(self, tmp_path):
        canvas = np.zeros((*SHAPE, 3), np.uint8)
        drawn = make().plot(img=canvas, save=True, filename=tmp_path / "p.png")
        assert canvas.sum() == 0
        assert (cv2.imread(str(tmp_path / "p.png")) == drawn).all()

    @pytest.mark.parametrize(("conf", "words"), [(True, "id:7 bus 0.90"), (False, "id:7 bus")])
    def test_the_words_of_a_box(self, tracked, conf, words):
        by_hand = Annotator(image(), example=NAMES)
        by_hand.box_labels([[10, 20, 60, 80]], [words], [colors(1, bgr=True)])
        assert (tracked.plot(conf=conf) == by_hand.result()).all()

    def test_masks_and_keypoints_without_boxes(self):
        masks = torch.zeros(2, *SHAPE)
        masks[0, 10:30, 10:30] = masks[1, 10:30, 50:70] = 1
        drawn = make(None, masks=masks).plot()
        for k, x in ((0, 20), (1, 60)):
            np.testing.assert_allclose(drawn[20, x], np.add(colors(k, bgr=True), 120) / 2, atol=1)
        widths = []
        for scale in (1, 2):  # shapes of 40 x 10 and 80 x 20 px have points of a radius of 4 and 8 px
            points = torch.tensor([[[20.0, 20, 1], [20.0 + 40 * scale, 20 + 10 * scale, 1]]])
            drawn = make(None, keypoints=points).plot(kpt_radius=20)
            widths.append(int((np.abs(drawn[20, :45].astype(int) - 120).max(-1) > 60).sum()))
        assert widths == pytest.approx([9, 17], abs=1)

    def test_names_outside_ascii(self):
        r = make([[10, 40, 60, 80, 0.9, 2]])
        assert (r.plot() != r.plot(labels=False)).any()

    def test_wrong_mode_and_missing_display(self, monkeypatch):
        with pytest.raises(ConfigError, match="'class' or 'instance'"):
            make().plot(color_mode="rainbow")
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        monkeypatch.setattr("sys.platform", "linux")
        with pytest.raises(UnsupportedError, match="cannot show"):
            make().show()
