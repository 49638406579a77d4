"""MOTA, IDF1 and HOTA: cases worked out by hand, brute force, and figures that others publish."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from yolocore.cli import main
from yolocore.errors import DataError, MissingFileError
from yolocore.trackers.evaluation import evaluate
from yolocore.trackers.mot import TrackRows, frame_size, read_tracks, read_truth

HOME = {1: (50.0, 50.0), 2: (200.0, 50.0), 3: (350.0, 50.0)}


def rows(*seen):
    """Return rows from (frame, id, place[, shift]): boxes of 40 x 40 at a place, moved to the right by ``shift``."""
    at = [(*HOME[place], 40.0, 40.0) for _, _, place, *_ in seen]
    boxes = np.array(at).reshape(-1, 4) + [[*(s[3:] or [0.0]), 0, 0, 0] for s in seen] if seen else np.zeros((0, 4))
    return TrackRows.tracks([s[0] for s in seen], [s[1] for s in seen], boxes)


TRUTH = rows(*((k, place, place) for k in range(1, 11) for place in (1, 2)))


def test_perfect_tracks():
    scores = evaluate(TRUTH, rows(*((k, 10 * place, place) for k in range(1, 11) for place in (1, 2))))
    assert scores.as_dict() == {
        **dict.fromkeys(("mota", "idf1", "hota", "deta", "assa", "precision", "recall"), 1.0),
        **dict.fromkeys(("switches", "misses", "false_boxes"), 0),
        **dict.fromkeys(("truth_ids", "track_ids"), 2),
    }


def test_a_switch_in_the_middle():
    """Object 1 is called 5 for 6 frames, then 6 for 4; object 2 is right. All boxes are exact."""
    found = rows(*((k, 5 if k <= 6 else 6, 1) for k in range(1, 11)), *((k, 7, 2) for k in range(1, 11)))
    scores = evaluate(TRUTH, found)
    assert (scores.switches, scores.misses, scores.false_boxes) == (1, 0, 0)
    assert scores.mota == pytest.approx(1 - 1 / 20)
    assert scores.idf1 == pytest.approx(2 * 16 / 40)
    assert scores.deta == 1
    assert scores.assa == pytest.approx((6 * 0.6 + 4 * 0.4 + 10) / 20)
    assert scores.hota == pytest.approx(np.sqrt(scores.assa))


def test_misses_and_false_boxes():
    found = rows(*((k, 1, 1) for k in range(1, 6)), *((k, 2, 3) for k in range(1, 5)))
    scores = evaluate(TRUTH, found)
    assert (scores.switches, scores.misses, scores.false_boxes) == (0, 15, 4)
    assert scores.mota == pytest.approx((5 - 4) / 20)
    assert (scores.precision, scores.recall) == pytest.approx((5 / 9, 5 / 20))
    assert scores.idf1 == pytest.approx(2 * 5 / 29)
    assert scores.deta == pytest.approx(5 / (20 + 9 - 5))


def test_overlaps_count_by_degree():
    """A shift of 10 of 40 pixels is an overlap of 30 / 50 = 0.6: found at 12 of the 19 limits of HOTA."""
    scores = evaluate(TRUTH, rows(*((k, place, place, 10.0) for k in range(1, 11) for place in (1, 2))))
    assert scores.mota == 1
    assert scores.deta == scores.assa == scores.hota == pytest.approx(12 / 19)
    far = evaluate(TRUTH, rows(*((k, place, place, 20.0) for k in range(1, 11) for place in (1, 2))))
    assert far.mota == -1  # an overlap of a third: everything missed, everything false
    assert far.hota == pytest.approx(6 / 19)


def test_identities_are_mapped_in_the_best_way():
    """IDF1 by brute force over every one-to-one map of identities, for random names."""
    rng = np.random.default_rng(0)
    seen = [(k, int(rng.integers(1, 5)), place) for k in range(1, 13) for place in (1, 2, 3) if rng.random() < 0.8]
    truth = rows(*((k, place, place) for k in range(1, 13) for place in (1, 2, 3)))
    found = rows(*seen)
    right = max(
        sum(chosen[place - 1] == name for _, name, place in seen) for chosen in itertools.permutations(range(1, 5), 3)
    )
    assert evaluate(truth, found).idf1 == pytest.approx(2 * right / (len(truth) + len(found)))


def test_nothing_found_and_nothing_there():
    assert evaluate(TRUTH, rows()).mota == 0
    assert evaluate(rows(), TRUTH).as_dict()["hota"] == 0
    assert evaluate(rows(), rows()).mota == 0


def test_distractors_are_left_out(tmp_path):
    truth = tmp_path / "gt.txt"
    lines = [f"{k},1,30,30,40,40,1,1,1\n{k},2,180,30,40,40,0,8,1\n{k},3,330,30,40,40,0,3,1\n" for k in (1, 2)]
    truth.write_text("".join(lines))
    read = read_truth(truth)
    assert read.counts.tolist() == [True, False, False] * 2
    scores = evaluate(read, rows((1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 2, 2), (1, 3, 3)))
    assert (scores.misses, scores.false_boxes) == (0, 1)  # a reflection is nothing, a car is wrong
    scores = evaluate(read, rows((1, 1, 1), (2, 1, 1), (1, 2, 2, 80.0), (2, 2, 2, 30.0)))
    assert (scores.misses, scores.false_boxes) == (0, 2)  # nor is what only lies near a reflection right


class TestFiles:
    def test_label_files_are_tracks(self, tmp_path):
        (tmp_path / "street_1.txt").write_text("0 0.5 0.25 0.1 0.2 7\n")
        (tmp_path / "street_12.txt").write_text("0 0.5 0.25 0.1 0.2 0.9 7\n1 0 0 0.1 0.1 0.8 9\n")
        read = read_tracks(tmp_path, (200, 100))
        assert read.frame.tolist() == [1, 12, 12]
        assert read.id.tolist() == [7, 7, 9]
        np.testing.assert_allclose(read.xywh[0], [100, 25, 20, 20])

    def test_label_files_of_a_folder_of_pictures_are_named_by_the_frame(self, tmp_path):
        for name in ("000002", "000010"):
            (tmp_path / f"{name}.txt").write_text("0 0.5 0.25 0.1 0.2 7\n")
        assert read_tracks(tmp_path, (200, 100)).frame.tolist() == [2, 10]

    def test_label_files_of_two_videos_are_not_mixed(self, tmp_path):
        for name in ("a_1", "a_2", "b_1"):
            (tmp_path / f"{name}.txt").write_text("0 0.5 0.25 0.1 0.2 7\n")
        with pytest.raises(DataError, match=r"several videos \(a, b\)"):
            read_tracks(tmp_path, (200, 100))

    def test_what_is_no_text_says_so(self, tmp_path):
        (tmp_path / "gt.jpg").write_bytes(b"\xff\xd8\xff")
        with pytest.raises(DataError, match=r"gt\.jpg: not a text file"):
            read_truth(tmp_path / "gt.jpg")

    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ("1,2,3\n", ":1: 3 numbers"),
            ("1,1,0,0,5,5,1\n\n1,1,0,0,5,x,1\n", ":3: 'x' is not"),
            ("1,1,nan,0,5,5\n", ":1: 'nan' is not a number"),
            ("1,inf,0,0,5,5\n", ":1: 'inf' is not a number"),
            ("1,1.0,0,0,5,5\n1,1.5,0,0,5,5\n", ":2: '1.5' is not a whole number"),
            ("1,-1,0,0,5,5\n3,-1,0,0,5,5\n3,-1,9,9,5,5\n", ": identity -1 is more than once in frame 3"),
        ],
    )
    def test_wrong_lines_are_named(self, tmp_path, text, where):
        (tmp_path / "t.txt").write_text(text)
        with pytest.raises(DataError, match=f"t.txt{where}"):
            read_tracks(tmp_path / "t.txt")

    def test_an_identity_counts_once_a_frame(self, tmp_path):
        """More would make IDF1 greater than 1; regions to be ignored may share a number."""
        file = tmp_path / "gt.txt"
        file.write_text("1,-1,0,0,5,5,0,1,1\n1,-1,9,9,5,5,0,1,1\n1,2,9,9,5,5,1,1,1\n")
        assert read_truth(file).counts.tolist() == [False, False, True]
        file.write_text("1,2,0,0,5,5,1,1,1\n1,2,9,9,5,5,1,1,1\n")
        with pytest.raises(DataError, match="identity 2 is more than once in frame 1"):
            read_truth(file)

    def test_label_files_of_another_system(self, tmp_path):
        (tmp_path / "street_1.txt").write_bytes(b"\xef\xbb\xbf0 0.5 0.25 0.1 0.2 7\r\n\r\n1 0 0 0.1 0.1 9\r\n")
        assert read_tracks(tmp_path, (200, 100)).id.tolist() == [7, 9]
        for text, message in (
            (b"\xff\xfe\x00", "not a text file"),
            (b"0 nan 0 1 1 2", ":1: 'nan' is not"),
            (b"0 0 0 1 1 2\n0 0 0 1 1 2\n", "identity 2 is more than once in frame 1"),
        ):
            (tmp_path / "street_1.txt").write_bytes(text)
            with pytest.raises(DataError, match=message):
                read_tracks(tmp_path, (200, 100))

    def test_descriptions_of_a_sequence(self, tmp_path):
        file, truth = tmp_path / "seqinfo.ini", tmp_path / "gt.txt"
        assert frame_size(truth) is None
        text = "[Sequence]\r\nname=Gare \xe0 20%\r\nimWidth=200\r\nimHeight=100\r\n"
        for data in (text.encode("latin-1"), text.encode("utf-8-sig")):
            file.write_bytes(data)
            assert frame_size(truth) == (200, 100)
        for wrong in ("imWidth=200\n", "[Sequence]\nimWidth=200px\n", "[Sequence]\nimWidth=2\nimWidth=2\n"):
            file.write_text(wrong)
            with pytest.raises(DataError, match=r"seqinfo\.ini.*size=WIDTHxHEIGHT"):
                frame_size(truth)

    def test_missing_things(self, tmp_path):
        with pytest.raises(MissingFileError, match="a folder; give a file"):
            read_truth(tmp_path)
        with pytest.raises(MissingFileError):
            read_truth(tmp_path / "gt.txt")
        with pytest.raises(DataError, match="size=WIDTHxHEIGHT"):
            read_tracks(tmp_path)
        with pytest.raises(DataError, match="save_txt=True"):
            read_tracks(tmp_path, (10, 10))
        (tmp_path / "v_1.txt").write_text("0 0.5 0.5 0.1 0.1\n")
        with pytest.raises(DataError, match=r"v_1\.txt:1: 5 numbers"):
            read_tracks(tmp_path, (10, 10))


class TestCommand:
    @pytest.fixture
    def sequence(self, tmp_path):
        (tmp_path / "gt").mkdir()
        (tmp_path / "labels").mkdir()
        (tmp_path / "seqinfo.ini").write_text("[Sequence]\nimWidth=200\nimHeight=100\n")
        (tmp_path / "gt/gt.txt").write_text("".join(f"{k},1,20,20,40,40,1,-1,-1,-1\n" for k in range(1, 5)))
        for k in range(1, 4):
            (tmp_path / f"labels/street_{k}.txt").write_text("0 0.2 0.4 0.2 0.4 3\n")
        return tmp_path

    def test_scores_are_printed(self, sequence, capsys):
        words = [f"gt={sequence}/gt/gt.txt", f"tracks={sequence}/labels"]
        assert main(["track", "eval", *words, "--json"]) == 0
        scores = json.loads(capsys.readouterr().out)
        assert (scores["mota"], scores["misses"]) == (0.75, 1)
        assert main(["track-eval", *words]) == 0
        assert "75.00 %" in capsys.readouterr().out
        assert frame_size(sequence / "gt/gt.txt") == (200, 100)
        assert main(["track", "eval", *words, "size=400x200"]) == 0
        assert main(["track", "eval", *words, "size", "=", "400x200"]) == 0
        assert "-75.00 %" in capsys.readouterr().out

    def test_the_size_is_only_asked_for_where_it_is_needed(self, sequence, capsys):
        (sequence / "seqinfo.ini").write_text("not an ini file\n")
        truth = f"gt={sequence}/gt/gt.txt"
        assert main(["track", "eval", truth, f"tracks={sequence}/gt/gt.txt"]) == 0
        assert main(["track", "eval", truth, f"tracks={sequence}/labels"]) == 2
        assert "seqinfo.ini" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "gt and tracks missing"),
            (["gt=a", "trakcs=b"], "Did you mean 'tracks'"),
            (["gt=a", "tracks=b", "size=big"], "WIDTHxHEIGHT"),
            (["gt=a.txt", "tracks=b.txt"], "no such file"),
        ],
    )
    def test_mistakes(self, capsys, words, message):
        assert main(["track", "eval", *words]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.shared
def test_the_figures_that_motmetrics_publishes(shared_dir):
    """Its test data TUD-Stadtmitte: 56.4 % MOTA, 64.5 % IDF1, 60.9 % recall, 94.0 % precision, 45, 452, 7."""
    folder = shared_dir / "data/mot/MOT15/TUD-Stadtmitte"
    scores = evaluate(read_truth(folder / "gt/gt.txt"), read_tracks(folder / "result_motmetrics_test.txt"))
    shares = [round(100 * x, 1) for x in (scores.mota, scores.idf1, scores.recall, scores.precision)]
    assert shares == [56.4, 64.5, 60.9, 94.0]
    assert (scores.false_boxes, scores.misses, scores.switches) == (45, 452, 7)
