"""The array-backed store against a plain list of lists."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolocore.data.labels import LabelStore, ranges, to_offsets

COUNTS = [2, 0, 3, 1]
POINTS = [3, 4, 0, 5, 3, 6]


def build(keypoints: bool = True) -> LabelStore:
    m, p = sum(COUNTS), sum(POINTS)
    rng = np.random.default_rng(0)
    return LabelStore(
        im_files=[f"/d/{i}.jpg" for i in range(len(COUNTS))],
        shapes=np.arange(8, dtype=np.int32).reshape(4, 2) + 10,
        offsets=to_offsets(COUNTS),
        cls=np.array([0, 1, 2, 0, 1, 2], dtype=np.float32),
        bboxes=rng.random((m, 4), dtype=np.float32),
        seg_points=rng.random((p, 2), dtype=np.float32),
        seg_offsets=to_offsets(POINTS),
        keypoints=rng.random((m, 2, 3), dtype=np.float32) if keypoints else None,
    )


def plain(store: LabelStore) -> list[tuple]:
    """Return the store as nested lists, one tuple an image."""
    return [
        (
            item.im_file,
            item.shape,
            [
                (c, b, s.tolist(), None if item.keypoints is None else item.keypoints[j].tolist())
                for j, (c, b, s) in enumerate(zip(item.cls.tolist(), item.bboxes.tolist(), item.segments, strict=True))
            ],
        )
        for item in store
    ]


def test_items():
    store = build()
    assert len(store) == 4
    assert [len(item.cls) for item in store] == COUNTS == store.counts.tolist()
    assert [len(s) for item in store for s in item.segments] == POINTS
    assert store[-1].im_file == "/d/3.jpg"
    assert store[1].shape == (12, 13)
    assert store[1].segments == []
    assert np.shares_memory(store[2].bboxes, store.bboxes)
    with pytest.raises(IndexError):
        store[4]


@settings(deadline=None)
@given(st.lists(st.integers(-4, 3), max_size=9), st.booleans())
def test_select_is_a_plain_selection(indices, keypoints):
    store = build(keypoints)
    assert plain(store.select(indices)) == [plain(store)[i] for i in indices]


@settings(deadline=None)
@given(st.sets(st.integers(0, 4)))
def test_keep_classes_filters_objects_not_images(ids):
    store = build()
    expected = [(f, s, [o for o in objects if o[0] in ids]) for f, s, objects in plain(store)]
    assert plain(store.keep_classes(ids)) == expected


def test_merge_classes():
    store = build()
    merged = store.merge_classes()
    assert merged.cls.tolist() == [0] * 6
    assert store.cls.tolist() == [0, 1, 2, 0, 1, 2]
    assert merged.bboxes is store.bboxes


def test_the_size_is_near_the_raw_numbers():
    store = build(keypoints=False)
    m, p, n = sum(COUNTS), sum(POINTS), len(COUNTS)
    assert store.nbytes == m * 20 + p * 8 + (m + 1) * 8 + (n + 1) * 8 + n * 8 + n * len("/d/0.jpg")


def test_the_store_travels_to_worker_processes():
    store = build()
    assert plain(pickle.loads(pickle.dumps(store))) == plain(store)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6)), max_size=8))
def test_ranges(pairs):
    starts = np.array([a for a, _ in pairs], dtype=np.int64)
    stops = np.array([a + n for a, n in pairs], dtype=np.int64)
    expected = [i for a, b in zip(starts, stops, strict=True) for i in range(a, b)]
    assert ranges(starts, stops).tolist() == expected
