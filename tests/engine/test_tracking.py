"""Track mode: ids in results, one tracker per stream, persistence, the files it writes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rtsp_server import RtspServer
from torch import nn

import yolocore.testing
from yolocore import YOLO, hookimpl
from yolocore.data.sources import LiveSource
from yolocore.engine.results import Results
from yolocore.errors import ConfigError, MissingFileError, PluginError, UnsupportedError
from yolocore.hooks.records import TrackerRecord
from yolocore.models.yolo.detect import DetectionPredictor
from yolocore.trackers import BotSortTracker, ByteTracker

HEIGHT, WIDTH = 64, 96
TINY = Path(yolocore.testing.__file__).parent / "models" / "tiny-detect.yaml"
NAMES = {0: "ship", 1: "buoy"}


class Blank(nn.Module):
    """A network that finds nothing; the predictor below knows what is there."""

    task = "detect"
    nc = 2
    names = NAMES
    stride = torch.tensor([32])

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return torch.zeros(len(x), 6, 1) + self.weight


class Scripted(DetectionPredictor):
    """Reads what an image shows from the image: every bright object of 16 x 12 pixels, the brighter the surer."""

    extras = False

    def postprocess(self, preds, img, orig_imgs):
        return [self.look(image, path) for image, path in zip(orig_imgs, self.batch[0], strict=True)]

    def look(self, image, path):
        bright = (image.max(2) > 60).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        rows = [
            [x, y, x + w, y + h, image[y + h // 2, x + w // 2].max() / 255, 0] for x, y, w, h, _ in stats[1:].tolist()
        ]
        boxes = torch.tensor(rows).reshape(-1, 6)
        more = {}
        if self.extras:
            more["masks"] = torch.stack([mask_of(b) for b in boxes]) if len(boxes) else torch.zeros(0, HEIGHT, WIDTH)
            more["keypoints"] = boxes[:, :4].reshape(-1, 2, 2)
        return Results(image, path, NAMES, boxes=boxes, **more)


def mask_of(box):
    mask = torch.zeros(HEIGHT, WIDTH)
    x1, y1, x2, y2 = box[:4].int().tolist()
    mask[y1:y2, x1:x2] = 1
    return mask


def frame(*places, bright=230):
    """Return an image with objects at (x, y), or (x, y, brightness)."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for x, y, *own in places:
        image[y : y + 12, x : x + 16] = own[0] if own else bright
    return image


def path_of(k):
    return frame((4 + 2 * k, 8), (70 - 2 * k, 40))


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = YOLO(TINY)
    made.model = Blank()
    monkeypatch.setattr(made, "backend", lambda *_, **__: backend())
    return made


def backend():
    from yolocore.nn.backends import load_backend

    return load_backend(Blank(), device=torch.device("cpu"))


@pytest.fixture
def track(model, tmp_path):
    def track(source, **kwargs):
        given = {"imgsz": 96, "project": str(tmp_path / "runs"), "predictor": Scripted, **kwargs}
        return model.track(source, **given)

    return track


@pytest.fixture
def video(tmp_path):
    def write(name, frames, fps=12.0):
        file = tmp_path / name
        codec = cv2.VideoWriter.fourcc(*("mp4v" if file.suffix == ".mp4" else "MJPG"))
        writer = cv2.VideoWriter(str(file), codec, fps, (WIDTH, HEIGHT))
        for image in frames:
            writer.write(image)
        writer.release()
        return file

    return write


def ids(results):
    return [sorted(r.boxes.id.int().tolist()) for r in results]


@pytest.mark.parametrize("tracker", ["bytetrack.yaml", "botsort.yaml", "bytetrack"])
def test_ids_follow_objects(track, model, tracker):
    results = track([path_of(k) for k in range(10)], tracker=tracker)
    assert ids(results) == [[1, 2]] * 10
    for k, result in enumerate(results):
        assert result.boxes.is_track
        assert result.boxes.data.shape == (2, 7)
        at = {int(i): box.tolist() for i, box in zip(result.boxes.id, result.boxes.xywh, strict=True)}
        np.testing.assert_allclose(at[1], [12 + 2 * k, 14, 16, 12], atol=2)
        np.testing.assert_allclose(at[2], [78 - 2 * k, 46, 16, 12], atol=2)
        assert sorted(row["track_id"] for row in result.summary()) == [1, 2]
    assert model.predictor.context.phase == "track"
    assert isinstance(model.predictor.trackers[0], ByteTracker)


def test_handlers_of_the_event_see_the_ids(track, model):
    seen = []
    model.add_callback("on_predict_postprocess_end", lambda p: seen.append(p.results[0].boxes.id.tolist()))
    track([path_of(0), path_of(1)])
    assert seen == [[1, 2], [1, 2]]


def test_what_is_not_followed_is_left_out(track):
    images = [frame((4, 8)), frame((4, 8), (60, 40)), frame((4, 8), (60, 40)), frame()]
    assert ids(track(images)) == [[1], [1], [1, 2], []]
    assert track([frame()])[0].boxes.is_track  # nothing found is no exception


def test_masks_and_keypoints_stay_with_their_boxes(track):
    class Rich(Scripted):
        extras = True

    results = track(
        [frame((4, 8, 90), (60, 40)), frame((60, 40), (6, 8, 90)), frame((30, 50), (60, 40), (8, 8, 90))],
        predictor=Rich,
    )
    for result in results:
        assert sorted(result.boxes.id.tolist()) == [1, 2]
        for box, mask, points in zip(result.boxes.xyxy, result.masks.data, result.keypoints.xy, strict=True):
            ys, xs = np.nonzero(mask.numpy())
            assert abs(xs.mean() - float(box[[0, 2]].mean())) < 3
            assert abs(ys.mean() - float(box[[1, 3]].mean())) < 3
            assert abs(float(points[:, 0].mean() - box[[0, 2]].mean())) < 3


def test_rotated_boxes(track):
    class Turned(Scripted):
        def look(self, image, path):
            found = super().look(image, path).boxes
            angle = torch.full((len(found), 1), 0.4)
            return Results(image, path, NAMES, obb=torch.cat([found.xywh, angle, found.data[:, 4:]], 1))

    results = track([path_of(k) for k in range(4)], predictor=Turned)
    assert [r.obb.id.tolist() for r in results] == [[1, 2]] * 4
    assert results[-1].obb.data.shape == (2, 8)
    np.testing.assert_allclose(results[-1].obb.xywhr[:, 4], 0.4, atol=1e-5)


def test_persist_keeps_identities_between_calls(track, model):
    assert ids(track(path_of(0))) == [[1, 2]]
    assert ids(track(frame((30, 30)))) == [[1]]  # forgotten
    tracker = model.predictor.trackers[0]
    assert ids(track(frame((32, 30)), persist=True)) == [[1]]
    model.predict(frame(), imgsz=96)  # something else in between
    assert ids(track(frame((34, 30), (4, 4)), persist=True)) == [[1]]
    assert ids(track(frame((36, 30), (4, 4)), persist=True)) == [[1, 2]]
    assert model.predictor.trackers[0] is tracker
    tracker.reset()
    assert ids(track(frame((4, 4)), persist=True)) == [[1]]
    track(frame((4, 4)), persist=True, tracker="bytetrack.yaml")
    assert type(model.predictor.trackers[0]) is ByteTracker  # another tracker knows nothing of the old one


def test_trackers_of_a_user_are_used_and_never_reset(track):
    mine = ByteTracker(frame_rate=10)
    assert ids(track([path_of(0), path_of(1)], tracker=mine)) == [[1, 2]] * 2
    assert ids(track([path_of(2)], tracker=mine)) == [[1, 2]]
    assert mine.frame == 3
    assert ids(track([frame((4, 4))], tracker=[BotSortTracker()])) == [[1]]


def test_every_video_begins_anew_at_its_own_rate(track, model, video):
    first = video("a.avi", [path_of(k) for k in range(5)], 12)
    other = video("b.avi", [frame((40, 20))] * 5, 60)
    results = list(track([first, other], stream=True, batch=2))
    assert ids(results) == [[1, 2]] * 5 + [[1]] * 5
    assert model.predictor.trackers[0].patience == 60
    track([first], vid_stride=2)
    assert model.predictor.trackers[0].patience == 6
    results = track([first, other], persist=True)
    assert ids(results)[5:] == [[], *[[3]] * 4]


def test_a_tracker_of_ones_own_is_not_gone_on_with_by_a_file(track, model):
    mine = ByteTracker(frame_rate=10)
    track([path_of(0), path_of(1)], tracker=mine)
    track([path_of(2)], persist=True)
    assert model.predictor.trackers[0] is not mine
    for wrong in (3, [mine, None]):
        with pytest.raises(ConfigError, match="tracker=.*expected a tracker file, a tracker, or a list of trackers"):
            track([path_of(0)], tracker=wrong)


def test_a_video_given_twice_begins_anew_the_second_time(track, video):
    """Something appears in its last frames; known from the first time, it would be there from its first frame on."""
    clip = video("a.avi", [frame((40, 20)), *[frame((40, 20), (4, 40))] * 2])
    other = video("b.avi", [frame((4, 8))] * 2)
    seen = [[1], [1], [1, 2]]
    for batch in (1, 2):
        assert ids(track([clip, clip, other, other, clip], batch=batch)) == [*seen * 2, *[[1]] * 4, *seen]
    assert ids(track([clip, clip], persist=True))[3:] == [[1], [1, 2], [1, 2]]


def test_a_frame_rate_that_cannot_be_true_is_not_believed(track, model, video):
    track([video("fast.mp4", [path_of(0)] * 2, 12000)])
    assert model.predictor.trackers[0].patience == 30


def test_streams_have_a_tracker_each_whichever_comes_first(track, model, monkeypatch):
    class Late(LiveSource):
        def _rounds(self):
            rounds = super()._rounds()
            yield [item for item in next(rounds) if item.path == self.sources[1]]
            yield from rounds

    monkeypatch.setenv("YOLOCORE_PRIVATE_SOURCES", "True")
    monkeypatch.setattr("yolocore.data.sources.LiveSource", Late)
    server = RtspServer()
    try:
        server.rates["live/250/300"] = 20
        names = [f"{server.base}/live/{gray}/300" for gray in (250, 200)]
        stream = track(names, stream=True, stream_buffer=True)
        seen = [(r.path, r.boxes.id.int().tolist()) for r, _ in zip(stream, range(9), strict=False)]
        stream.close()
    finally:
        server.close()
    assert seen[0][0] == names[1]
    assert {name for name, _ in seen} == set(names)  # in which order they go on is a matter of time
    assert [found for _, found in seen] == [[1]] * 9
    assert [t.patience for t in model.predictor.trackers] == [20, 50]  # as long as a second


def test_the_annotated_video_and_labels(track, video, tmp_path):
    source = video("street.avi", [path_of(k) for k in range(6)], 12)
    track(str(source), save=True, save_txt=True, name="t")
    (written,) = (tmp_path / "runs/t").glob("street.*")
    clip = cv2.VideoCapture(str(written))
    assert (clip.get(cv2.CAP_PROP_FPS), clip.get(cv2.CAP_PROP_FRAME_COUNT)) == (12, 6)
    lines = (tmp_path / "runs/t/labels/street_6.txt").read_text().splitlines()
    assert sorted(line.split()[-1] for line in lines) == ["1", "2"]
    assert all(len(line.split()) == 6 for line in lines)


def test_a_tracker_file_of_ones_own(track, tmp_path, model):
    file = tmp_path / "mine.yaml"
    file.write_text("tracker_type: bytetrack\ntrack_buffer: 7\n")
    track(frame(), tracker=file)
    assert model.predictor.trackers[0].patience == 7
    for text, error, words in (
        (
            "tracker_type: bytetrack\ntrack_bufer: 7\n",
            ConfigError,
            "mine.yaml: unknown key 'track_bufer'.*track_buffer",
        ),
        ("tracker_type: sort\n", PluginError, r"mine\.yaml: unknown tracker 'sort'.*botsort, bytetrack"),
        ("tracker_type: 3\n", PluginError, r"mine\.yaml: unknown tracker '3'"),
        ("track_buffer: 7\n", ConfigError, "tracker_type is missing"),
        ("tracker_type: botsort\nwith_reid: maybe\n", ConfigError, "with_reid='maybe'"),
    ):
        file.write_text(text)
        with pytest.raises(error, match=words):
            track(frame(), tracker=file)
    with pytest.raises(MissingFileError, match=r"bytetrak\.yaml.*Did you mean 'bytetrack.yaml'"):
        track(frame(), tracker="bytetrak.yaml")


def test_a_tracker_of_a_plugin(track, tmp_path, model, monkeypatch):
    class Everything:
        """Calls everything number 7."""

        def __init__(self, values, frame_rate):
            self.values = values

        def update(self, boxes, scores, classes, image=None):
            n = len(scores)
            return np.c_[boxes, np.full(n, 7), scores, classes, np.arange(n)].astype(np.float32)

        def reset(self):
            """Nothing is kept."""

    file = tmp_path / "sevens.yaml"
    file.write_text("tracker_type: sevens\n")

    class Plugin:
        @hookimpl
        def register_trackers(self, register):
            register.register("sevens", TrackerRecord("sevens", Everything, file))

    class Hosted(Scripted):
        def make_host(self):
            host = super().make_host()
            host.register(Plugin(), "sevens")
            return host

    assert ids(track(path_of(0), predictor=Hosted, tracker="sevens.yaml")) == [[7, 7]]


REID = "tracker_type: botsort\nwith_reid: true\ngmc_method: none\n"


@pytest.mark.parametrize("batch", [1, 2])
def test_features_of_the_detector(tmp_path, monkeypatch, batch):
    """The same patch looks the same to the network wherever it is, in this batch or the next; another one differs."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "reid.yaml"
    file.write_text(REID)
    patches = np.zeros((2, 12, 16, 3), np.uint8)
    patches[0, :, :, 0] = patches[1, :, :, 2] = 230  # a blue and a red one, which differ to any network
    images = []
    for at in ((8, 40), (40, 8)):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for x, patch in zip(at, patches, strict=True):
            image[24:36, x : x + 16] = patch
        images.append(image)
    looks = []

    class Watching(Scripted):
        def postprocess(self, preds, img, orig_imgs):
            found = super().postprocess(preds, img, orig_imgs)
            for i, result in enumerate(found):
                order = result.boxes.xyxy[:, 0].argsort().numpy()
                tap = self.tracking._tap
                looks.append(tap.vectors(i, result.boxes.xyxy.numpy()[order], img.shape[2:], result.orig_shape))
            return found

    torch.manual_seed(0)
    model = YOLO(TINY)
    results = model.track(images, tracker=file, imgsz=96, batch=batch, predictor=Watching, conf=0.1)
    assert all(r.boxes.is_track for r in results)
    first, second = looks
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-5)
    likeness = first @ second[::-1].T  # the patches changed places
    assert likeness[0, 0] > likeness[0, 1]
    assert likeness[1, 1] > likeness[1, 0]
    head = model.predictor.model.model.model[-1]
    assert not head._forward_pre_hooks


def test_features_with_test_time_augmentation_are_those_of_the_batch_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reid.yaml").write_text(REID)
    model, seen = YOLO(TINY), {}

    class Watching(Scripted):
        def postprocess(self, preds, img, orig_imgs):
            found = super().postprocess(preds, img, orig_imgs)
            boxes = found[0].boxes.xyxy.numpy()
            look = self.tracking._tap.vectors(0, boxes, img.shape[2:], found[0].orig_shape)
            seen.setdefault(self.args.augment, []).append(look)
            return found

    for augment in (False, True):
        model.track([path_of(0), path_of(9)], tracker="reid.yaml", imgsz=96, predictor=Watching, augment=augment)
    for plain, augmented in zip(seen[False], seen[True], strict=True):
        np.testing.assert_allclose(augmented, plain, atol=1e-5)
    assert np.abs(seen[True][0] - seen[True][1]).max() > 1e-3  # each batch anew


def test_an_exported_network_gives_no_features(track, tmp_path):
    (tmp_path / "reid.yaml").write_text(REID)
    with pytest.raises(UnsupportedError, match="with_reid: false"):
        track(frame(), tracker=tmp_path / "reid.yaml")


def test_what_cannot_be_tracked(track, tmp_path):
    from yolocore.models.yolo.classify import ClassificationPredictor

    class Sorted(ClassificationPredictor):
        def postprocess(self, preds, img, orig_imgs):
            raise AssertionError("not reached")

    with pytest.raises(UnsupportedError, match="no boxes to follow"):
        track(frame(), predictor=Sorted)


def test_a_predictor_on_its_own(tmp_path):
    predictor = Scripted(overrides={"mode": "track", "tracker": "bytetrack.yaml", "imgsz": 96})
    assert predictor.args.conf == 0.1
    assert ids(predictor([path_of(0), path_of(1)], Blank())) == [[1, 2]] * 2
    assert ids(predictor([frame((30, 30))])) == [[1]]


@pytest.mark.shared
def test_people_in_a_street_keep_their_ids(shared_dir, tmp_path, monkeypatch):
    """A real video and a real network, every third frame of the first ninety."""
    monkeypatch.chdir(tmp_path)
    model = YOLO("yolo11n.yaml")
    with np.load(shared_dir / "bench/reference/yolo11n_state.npz") as stored:
        model.model.load_state_dict({key: torch.from_numpy(stored[key]) for key in stored.files})
    model.model.names = {i: "person" if i == 0 else str(i) for i in range(80)}
    stream = model.track(
        str(shared_dir / "data/video/people_360p.mp4"), stream=True, imgsz=320, vid_stride=3, classes=0, conf=0.1
    )
    shown = [result.boxes for result, _ in zip(stream, range(30), strict=False)]
    counts = {}
    for boxes in shown:
        numbers = boxes.id.int().tolist()
        assert len(set(numbers)) == len(numbers)
        for number in numbers:
            counts[number] = counts.get(number, 0) + 1
    assert sum(n >= 20 for n in counts.values()) >= 3
    for number in (k for k, n in counts.items() if n >= 20):
        at = np.concatenate([b[b.id == number].xywh.numpy() for b in shown])
        steps = np.linalg.norm(np.diff(at[:, :2], axis=0), axis=1)
        assert np.median(steps) < 8  # walking people, 10 frames a second, 640 pixels wide
