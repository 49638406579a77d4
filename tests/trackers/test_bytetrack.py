"""What ByteTrack and BoT-SORT do with a stream of boxes."""

from __future__ import annotations

import numpy as np
import pytest

from yolocore.errors import ConfigError, DataError
from yolocore.trackers import BotSortConfig, BotSortTracker, ByteTrackConfig, ByteTracker
from yolocore.trackers.bytetrack import turned_like

KINDS = [ByteTracker, lambda **k: BotSortTracker(BotSortConfig(gmc_method="none", **k.pop("settings", {})), **k)]


@pytest.fixture(params=KINDS, ids=["bytetrack", "botsort"])
def make(request):
    return request.param


def boxes_at(*centres, size=20):
    at = np.array(centres, float).reshape(-1, 2)
    return np.c_[at - size / 2, at + size / 2]


def feed(tracker, boxes, scores=None, classes=None):
    scores = np.full(len(boxes), 0.9) if scores is None else np.array(scores, float)
    return tracker.update(boxes, scores, np.zeros(len(boxes)) if classes is None else np.array(classes))


def test_rows_tell_box_id_score_class_and_detection(make):
    rows = feed(make(), boxes_at((30, 40), (90, 50)), [0.9, 0.8], [3, 1])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[20, 30, 40, 50, 1, 0.9, 3, 0], [80, 40, 100, 60, 2, 0.8, 1, 1]], rtol=1e-6)


def test_ids_follow_crossing_order_and_class_changes(make):
    tracker = make()
    for k in range(15):
        boxes = boxes_at((30 + 4 * k, 40), (200 - 4 * k, 120))
        order = [0, 1] if k % 2 else [1, 0]
        rows = feed(tracker, boxes[order], classes=[k % 3, 0])
        by_detection = dict(zip(rows[:, -1].astype(int).tolist(), rows[:, 4].astype(int).tolist(), strict=True))
        now = {order[d]: i for d, i in by_detection.items()}
        first = now if k == 0 else first  # noqa: F821
        assert now == first


def test_a_new_track_is_shown_from_its_second_frame_on(make):
    tracker = make()
    feed(tracker, boxes_at((30, 40)))
    assert feed(tracker, boxes_at((30, 40), (200, 40)))[:, 4].tolist() == [1]
    assert feed(tracker, boxes_at((30, 40), (200, 40)))[:, 4].tolist() == [1, 2]
    feed(tracker, boxes_at((30, 40), (300, 40)))  # 2 goes, something is there for one frame only
    assert feed(tracker, boxes_at((30, 40)))[:, 4].tolist() == [1]
    assert tracker.tracks["id"].tolist() == [1, 2]


def test_weak_detections_continue_but_do_not_begin(make):
    tracker = make()
    feed(tracker, boxes_at((30, 40)))
    rows = feed(tracker, boxes_at((31, 40), (200, 40)), [0.15, 0.2])
    assert rows[:, 4].tolist() == [1]
    assert rows[0, 5] == pytest.approx(0.15)
    assert len(tracker.tracks) == 1
    assert len(feed(tracker, boxes_at((31, 40)), [0.05])) == 0


def test_weak_detections_bring_nothing_back(make):
    tracker = make()
    feed(tracker, boxes_at((30, 40)))
    feed(tracker, boxes_at())
    assert len(feed(tracker, boxes_at((30, 40)), [0.15])) == 0
    assert feed(tracker, boxes_at((30, 40)))[:, 4].tolist() == [1]


@pytest.mark.parametrize(
    ("rate", "gap", "expected"), [(30, 30, 1), (30, 31, 2), (15, 15, 1), (15, 16, 2), (None, 30, 1)]
)
def test_how_long_a_lost_track_is_kept(make, rate, gap, expected):
    tracker = make(frame_rate=rate)
    for _ in range(3):
        feed(tracker, boxes_at((30, 40)))
    for _ in range(gap):
        assert len(feed(tracker, boxes_at())) == 0
    feed(tracker, boxes_at((30, 40)))
    assert feed(tracker, boxes_at((30, 40)))[:, 4].tolist() == [expected]


def test_a_moving_object_is_found_behind_an_obstacle(make):
    tracker = make()
    for k in range(20):
        feed(tracker, boxes_at((30 + 5 * k, 40)))
    for _ in range(8):
        feed(tracker, boxes_at())
    assert feed(tracker, boxes_at((30 + 5 * 28, 40)))[:, 4].tolist() == [1]  # twice its width away


def test_the_younger_of_two_in_one_place_goes(make):
    """A lost object, moved on by its speed, passes over one that stands still."""
    tracker, still = make(), (180, 40)
    feed(tracker, boxes_at(still))
    for k in range(12):
        feed(tracker, boxes_at(still, (30 + 5 * k, 40)))
    assert tracker.tracks["id"].tolist() == [1, 2]
    distance = []
    for _ in range(25):
        feed(tracker, boxes_at(still))
        if len(tracker.tracks) == 1:
            break
        distance.append(abs(tracker.tracks["mean"][1, 0, 0] - still[0]))
    assert tracker.tracks["id"].tolist() == [1]
    assert 1.5 < distance[-1] < 9  # 15 % of a box of 20 before the place itself
    assert len(distance) < 25


def test_reset_and_separate_objects(make):
    one, other = make(), make()
    feed(one, boxes_at((30, 40), (90, 40)))
    assert feed(other, boxes_at((300, 300)))[:, 4].tolist() == [1]
    one.reset()
    assert feed(one, boxes_at((90, 40)))[:, 4].tolist() == [1]


def test_score_fusion_can_be_off():
    plain, fused = ByteTracker(ByteTrackConfig(fuse_score=False)), ByteTracker()
    for tracker in (plain, fused):
        feed(tracker, boxes_at((30, 40)))
    moved = boxes_at((41, 40))  # overlap 9/31: cost 0.71, with a score of 0.3 0.91
    assert len(feed(plain, moved, [0.3])) == 1
    assert len(feed(fused, moved, [0.3])) == 0


class TestRotated:
    def test_rows_have_an_angle(self, make):
        rows = feed(make(), np.array([[50, 60, 40, 10, 0.3]]))
        np.testing.assert_allclose(rows, [[50, 60, 40, 10, 0.3, 1, 0.9, 0, 0]], rtol=1e-6)

    def test_thin_boxes_side_by_side_keep_their_ids_while_they_turn(self, make):
        """Upright boxes around them overlap by more than half; descriptions flip at a quarter turn."""
        tracker = make()
        for k in range(40):
            angle = 0.6 + 0.05 * k
            across = np.array([-np.sin(angle), np.cos(angle)])
            rows = []
            for side in (0, 16):
                w, h, r = (60, 8, angle) if angle < np.pi / 2 else (8, 60, angle - np.pi / 2)
                rows.append([*(100 + k + side * across), w, h, r])
            out = feed(tracker, np.array(rows))
            assert out[:, 5].tolist() == [1, 2]
            assert (out[:, 2] > 50).all()  # the long side stays the width

    def test_angles_stay_those_of_a_detector_however_often_a_box_turns(self, make):
        tracker = make()
        for k in range(80):
            true = 0.12 * k
            row = feed(tracker, np.array([[100, 100, 60, 10, true % np.pi]]))[0]
            assert row[5] == 1
            assert row[2:4].tolist() == pytest.approx([60, 10])
            assert -np.pi / 4 <= row[4] < 3 * np.pi / 4
            assert np.sin(row[4] - true) == pytest.approx(0, abs=1e-5)

    @pytest.mark.parametrize("size", [(0, 0), (10, 0), (0, 10)])
    def test_boxes_without_area_stay_numbers(self, make, size):
        tracker = make()
        for _ in range(6):
            rows = feed(tracker, np.array([[50, 50, *size, 0.3], [200, 200, 20, 10, 0.1]]))
            assert np.isfinite(rows).all()
            assert np.isfinite(tracker.tracks["mean"]).all()
            assert 2 in rows[:, 5]
        assert len(tracker.tracks) <= 8

    def test_quarter_turns(self):
        xywh, angle = turned_like(
            np.array([[0, 0, 8, 60.0], [0, 0, 60, 8]]), np.array([0.1, 0.1]), np.array([np.pi / 2, np.pi])
        )
        np.testing.assert_allclose(xywh[:, 2:], [[60, 8], [60, 8]])
        np.testing.assert_allclose(angle, [0.1 + np.pi / 2, 0.1 + np.pi])


@pytest.mark.parametrize(
    ("boxes", "scores", "classes"),
    [
        (np.zeros((2, 3)), [1, 1], [0, 0]),
        (np.zeros((2, 4)), [1], [0, 0]),
        (np.full((1, 4), np.nan), [1], [0]),
        (np.zeros((1, 4)), [np.inf], [0]),
    ],
)
def test_arrays_that_do_not_fit(boxes, scores, classes):
    with pytest.raises(DataError):
        ByteTracker().update(boxes, scores, classes)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match=r"track_bufer.*track_buffer"):
        ByteTracker.build({"tracker_type": "bytetrack", "track_bufer": 3})
    with pytest.raises(ConfigError, match="match_thresh=2"):
        ByteTracker.build({"match_thresh": 2})
    with pytest.raises(ConfigError, match="gmc_method='fast'"):
        BotSortTracker.build({"gmc_method": "fast"})
    with pytest.raises(ConfigError, match="gmc_method"):
        ByteTracker.build({"gmc_method": "orb"})
    assert BotSortTracker.build({"gmc_method": None}).config.gmc_method == "none"


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["byte", "botsort_gmc_none"])
def test_the_reference_sequence_gets_the_reference_identities(shared_dir, kind):
    with np.load(shared_dir / "bench/reference/tracks_synthetic.npz") as stored:
        frame, found, expected = stored["detections_frame"], stored["detections_xyxy_conf_cls"], stored[kind]
    tracker = ByteTracker() if kind == "byte" else BotSortTracker(BotSortConfig(gmc_method="none"))
    rows = []
    for k in range(300):
        now = found[frame == k]
        out = tracker.update(now[:, :4], now[:, 4], now[:, 5])
        rows.append(np.c_[np.full(len(out), k), out])
    got = np.concatenate(rows)
    theirs = {(int(r[0]), int(r[8])): int(r[5]) for r in expected}
    ours = {(int(r[0]), int(r[8])): int(r[5]) for r in got}
    assert len(set(ours.values())) == 32
    same = sum(ours.get(key) == identity for key, identity in theirs.items())
    assert same == len(theirs) == len(ours)
    if kind != "byte":  # ByteTrack here reports the ratio as measured
        np.testing.assert_allclose(
            got[:, 1:5], expected[np.lexsort((expected[:, 8], expected[:, 0]))][:, 1:5], atol=1e-3
        )


class TestAppearance:
    def settings(self, **more):
        return BotSortConfig(gmc_method="none", with_reid=True, **more)

    def test_looks_decide_between_places_that_are_equally_near(self):
        """Two objects in one spot jump a little to both sides; only their looks tell who went where."""

        def after(tracker, swap, **more):
            at = [(100, 50), (104, 50)]
            looks = np.eye(2)
            for _ in range(3):
                feed_looks(tracker, at, looks, **more)
            order = [1, 0] if swap else [0, 1]
            rows = feed_looks(tracker, at, looks[order], **more)
            return dict(zip(rows[:, -1].astype(int).tolist(), rows[:, 4].astype(int).tolist(), strict=True))

        def feed_looks(tracker, at, looks, use=True):
            extra = {"features": looks * 3} if use else {}
            return tracker.update(boxes_at(*at), np.full(2, 0.5), np.zeros(2), **extra)

        assert after(BotSortTracker(self.settings()), swap=False) == {0: 1, 1: 2}
        assert after(BotSortTracker(self.settings()), swap=True) == {0: 2, 1: 1}
        assert after(BotSortTracker(BotSortConfig(gmc_method="none")), swap=True, use=False) == {0: 1, 1: 2}
        far = BotSortTracker(self.settings(proximity_thresh=0.99))
        assert after(far, swap=True) == {0: 1, 1: 2}  # too far apart for looks to count

    def test_a_look_changes_slowly(self):
        """Of a track seen as A, A and B, nine tenths are still A: it is known again as A elsewhere."""
        tracker = BotSortTracker(self.settings(match_thresh=0.3, fuse_score=False))
        for at, look in ((30, (1, 0)), (30, (1, 0)), (30, (0, 1)), (35, (1, 0))):  # an overlap of 0.6 is not enough
            rows = tracker.update(boxes_at((at, 40)), [0.9], [0], features=np.array([look], float))
        assert rows[:, 4].tolist() == [1]

    def test_features_are_asked_for(self):
        tracker = BotSortTracker(self.settings())
        with pytest.raises(DataError, match="with_reid"):
            feed(tracker, boxes_at((30, 40)))
        with pytest.raises(DataError, match="a row for each"):
            tracker.update(boxes_at((30, 40)), [0.9], [0], features=np.ones((2, 3)))
        with pytest.raises(ConfigError, match="model: auto"):
            BotSortTracker.build({"model": "yolo11n-cls.pt"})

    def test_forgotten_tracks_leave_no_looks(self):
        tracker = BotSortTracker(self.settings(track_buffer=2))
        for k in range(6):
            boxes = boxes_at((30 + 100 * k, 40))
            tracker.update(boxes, [0.9], [0], features=np.ones((1, 4)))
        assert len(tracker._looks) == len(tracker.tracks) <= 4
