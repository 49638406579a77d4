"""The annotator, its palette, and crops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from yolocore.errors import DataError, UnsupportedError
from yolocore.utils import lettering
from yolocore.utils.image_files import write_image
from yolocore.utils.ops import xywhr2xyxyxyxy
from yolocore.utils.palette import luminance, readable
from yolocore.utils.placement import shortened
from yolocore.utils.plotting import LIMBS, Annotator, colors, highest_first, save_one_box


def blank(h=100, w=200, value=0):
    return np.full((h, w, 3), value, np.uint8)


def touched(a):
    """Return (x1, y1, x2, y2) of the changed pixels of a black image."""
    ys, xs = np.nonzero(a.im.any(-1))
    return xs.min(), ys.min(), xs.max(), ys.max()


class TestColors:
    def test_twenty_periodic_colours_for_anything_like_an_integer(self):
        assert colors.n == 20
        assert len({colors(i) for i in range(20)}) == 20
        assert colors(23) == colors(3) == colors(np.float32(3)) == colors(torch.tensor(3.0))
        assert colors(3, bgr=True) == colors(3)[::-1]
        assert all(type(c) is int and 0 <= c <= 255 for i in range(20) for c in colors(i))

    def test_the_palette_survives_colour_blindness(self):
        # what a dichromat sees, in linear RGB (Viénot, Brettel, Mollon 1999), not the model of the search
        protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
        deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
        srgb = np.array([colors(i) for i in range(20)]) / 255
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        for seen in (linear, linear @ protan.T, linear @ deutan.T):
            coded = np.clip(seen, 0, 1) ** (1 / 2.2) * 255
            closest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(coded, 2))
            assert closest > 15

    def test_text_stays_readable(self):
        white = (255, 255, 255)
        assert readable(white, (128, 0, 0)) == white
        assert readable(white, (250, 250, 210)) == (0, 0, 0)
        assert readable((9, 9, 9), (0, 0, 0)) == white
        assert luminance((0, 0, 0)) == 0
        assert luminance(white) == pytest.approx(1)  # the scale of WCAG
        assert luminance((0, 255, 0)) == pytest.approx(0.7152)
        for i in range(20):
            assert readable(white, colors(i)) in {white, (0, 0, 0)}
            ink, patch = luminance(readable(white, colors(i))), luminance(colors(i))
            assert (max(ink, patch) + 0.05) / (min(ink, patch) + 0.05) >= 4.5


class TestAnnotator:
    @pytest.mark.parametrize(("h", "w", "width"), [(100, 100, 2), (640, 640, 2), (1080, 1920, 5), (3000, 4000, 11)])
    def test_line_width_follows_the_image(self, h, w, width):
        assert Annotator(np.zeros((h, w, 3), np.uint8)).lw == width
        assert Annotator(np.zeros((h, w, 3), np.uint8), line_width=1).lw == 1

    def test_arrays_are_drawn_on_in_place_other_images_are_copied(self):
        im = blank()
        Annotator(im).box_label([10, 40, 60, 80], "a", (0, 0, 255))
        assert im.any()
        view = blank()[:, ::-1]
        Annotator(view).box_label([10, 40, 60, 80])
        assert not view.any()
        photo = Image.new("L", (200, 100))
        assert Annotator(photo).result().shape == Annotator(np.zeros((100, 200), np.uint8)).result().shape
        one_channel = np.arange(200, dtype=np.uint8)[None, :, None].repeat(100, 0)  # (100, 200, 1)
        assert (Annotator(one_channel).result() == one_channel).all()
        assert Annotator(one_channel).result().shape == (100, 200, 3)
        with pytest.raises(DataError, match=r"\(100, 200, 4\)"):
            Annotator(np.zeros((100, 200, 4), np.uint8))

    @pytest.mark.parametrize(
        "box", [[10, 40, 60, 80], np.array([10.2, 39.8, 60, 80]), torch.tensor([10.0, 40, 60, 80])]
    )
    def test_boxes_of_any_kind(self, box):
        a = Annotator(blank(), line_width=1)
        a.box_label(box, color=(1, 2, 3))
        assert touched(a) == (10, 40, 60, 80)
        assert tuple(a.im[40, 30]) == (1, 2, 3)
        assert not a.im[60, 30].any()

    def test_rotated_boxes_by_flag_or_shape(self):
        corners = torch.tensor([[60.0, 45], [60, 35], [40, 35], [40, 45]])
        a, b = Annotator(blank(), line_width=1), Annotator(blank(), line_width=1)
        a.box_label(corners, rotated=True)
        b.box_label(corners)
        assert (a.im == b.im).all()
        assert touched(a) == pytest.approx((40, 35, 60, 45), abs=1)

    @pytest.mark.parametrize(
        "box", [(0, 0, 50, 40), (150, 0, 199, 20), (150, 60, 199, 99), (-20, -20, 5, 5), (190, 95, 199, 99)]
    )
    @pytest.mark.parametrize("label", ["person 0.94", "člověk 0.94"])
    def test_a_label_stays_inside_the_image(self, box, label):
        a = Annotator(blank(value=255))
        w, h = a._pen_for(label).measure(label)
        a.box_label(box, label, (200, 0, 0))
        patch = (a.im == (200, 0, 0)).all(-1) | (
            (a.im[..., 0] > 190) & (a.im[..., 1] == a.im[..., 2]) & (a.im[..., 1] < 255)
        )
        ys, xs = np.nonzero(patch)
        assert xs.max() - xs.min() + 1 >= w
        assert ys.max() - ys.min() + 1 >= h

    def test_a_label_lies_above_its_box_where_there_is_room(self):
        a = Annotator(blank(), line_width=2)
        a.box_label((50, 60, 120, 90), "bus", (200, 0, 0))
        assert touched(a)[1] < 55
        b = Annotator(blank(), line_width=2)
        b.box_label((50, 3, 120, 90), "bus", (200, 0, 0))
        assert touched(b)[1] <= 3
        assert (b.im[8:14, 50] == (200, 0, 0)).all()

    @pytest.mark.parametrize("label", ["bus", "person 0.94"])
    def test_the_patch_of_a_label_is_a_little_larger_than_its_text(self, label):
        a = Annotator(blank(200, 300), line_width=1)
        w, h = a.pen.measure(label)
        a.box_label((100, 100, 104, 104), label, (200, 0, 0))
        ys, xs = np.nonzero(a.im[:99].any(-1))
        assert w < np.ptp(xs) + 1 < w + h
        assert h < np.ptp(ys) + 1 < 1.5 * h

    @pytest.mark.parametrize("pil", [False, True], ids=["strokes", "font"])
    @pytest.mark.parametrize("method", ["box_label", "circle_label", "text_label"])
    def test_the_letters_of_a_label_are_on_its_patch(self, method, pil):
        colour = (128, 0, 0)
        drawn = []
        for label in ("bus", "dog"):
            a = Annotator(blank(200, 300), line_width=1, pil=pil)
            getattr(a, method)((100, 100, 180, 150), label, colour, txt_color=(255, 255, 255))
            bright = a.im.min(-1) > 200
            ys, xs = np.nonzero(bright)
            w, h = a.pen.measure(label)
            assert 0.5 * w < np.ptp(xs) < 1.1 * w
            assert 0.4 * h < np.ptp(ys) < 1.1 * h
            around = a.im[ys.min() - 1 : ys.max() + 2, xs.min() - 1 : xs.max() + 2]
            assert (around[..., 0] >= 128).all()  # between the colour of the patch and white, nothing black
            drawn.append(bright)
        assert (drawn[0] != drawn[1]).any()

    def test_lines_of_text_lie_on_their_patches(self):
        for anchor, first in (("top", (50, 50)), ("bottom", (50, 80))):
            a = Annotator(blank(200, 300))
            w, h = a.pen.measure("abc")
            a.text(first, "abc\nabc", (255, 255, 255), anchor=anchor, box_color=(128, 0, 0))
            x1, y1, x2, y2 = touched(a)
            top = first[1] - (h if anchor == "bottom" else 0)
            assert (x1, y1, x2, y2) == pytest.approx((48, top, 50 + w + 2, top + 2 * h), abs=1)
            assert (a.im[y1 : y2 + 1, x1 : x2 + 1, 0] >= 128).all()
            assert (a.im.min(-1) > 200).any(1)[top : top + 2 * h].sum() > h * 0.8

    def test_without_a_screen_a_window_is_an_error(self, monkeypatch):
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        monkeypatch.setattr("sys.platform", "linux")
        with pytest.raises(UnsupportedError, match="cannot show"):
            Annotator(blank()).show()

    @staticmethod
    def labelled(shape, boxes, labels):
        a = Annotator(np.zeros((*shape, 3), np.uint8))
        a.box_labels(boxes, labels, [(200, 0, 0), (0, 200, 0)][: len(boxes)])
        return a.im

    @pytest.mark.parametrize(
        "box", [(60, 60, 140, 120), (60, 2, 140, 199), ((60, 60), (140, 60), (140, 120), (60, 120))]
    )
    def test_labels_of_several_boxes_lie_beside_one_another(self, box):
        alone = Annotator(np.zeros((200, 200, 3), np.uint8))
        alone.box_label(np.array(box), "bus 0.9", (200, 0, 0))
        bare, one, both = (
            self.labelled((200, 200), [np.array(box)] * 2, labels)
            for labels in (["", ""], ["bus 0.9", ""], ["bus 0.9", "tram 0.5"])
        )
        first, second = (one != bare).any(-1), (both != one).any(-1)
        assert (one[first] == alone.im[first]).all()  # where it would lie alone
        assert second.sum() > first.sum() / 2
        assert not (first & second).any()

    def test_where_there_is_no_room_the_first_label_lies_on_top(self):
        shape, box = (22, 60), (5, 5, 50, 20)
        bare, one, both = (
            self.labelled(shape, [box] * 2, labels) for labels in (["", ""], ["aaaaaa", ""], ["aaaaaa", "bbbbbb"])
        )
        first = (one != bare).any(-1)
        assert first.any()
        assert (both[first] == one[first]).all()

    def test_a_label_that_others_would_hide_is_left_out(self):
        def drawn(*labels):
            a = Annotator(np.zeros((40, 60, 3), np.uint8))
            a.box_labels([(5, 12, 50, 38)] * 8, labels, [(200, 0, 0)] * 8)
            return a.im

        text = "aaaa 0.9"
        assert (drawn(*[""] * 8) != drawn(text, *[""] * 7)).any()
        assert (drawn(*[text] * 7, "") == drawn(*[text] * 7, "bbbb 0.8")).all()

    def test_small_boxes_have_smaller_labels_and_thinner_lines(self):
        def drawn(box, **arguments):
            a = Annotator(np.zeros((1080, 1920, 3), np.uint8), **arguments)
            a.box_labels([box], ["bus 0.9"], [(200, 0, 0)])
            return a.im.any(-1)

        large, small = (300, 300, 900, 900), (300, 300, 330, 330)
        assert drawn(small)[:297].sum() < 0.6 * drawn(large)[:297].sum()
        lines = [drawn(box)[(box[1] + box[3]) // 2, 290:310].sum() for box in (large, small)]
        assert lines[0] > lines[1] >= 2
        for asked in ({"line_width": 5}, {"font_size": 35}):
            assert drawn(small, **asked)[:297].sum() == pytest.approx(drawn(large, **asked)[:297].sum(), rel=0.1)

    @pytest.mark.parametrize("pen", [{}, {"pil": True}])
    @pytest.mark.parametrize("width", [60, 120, 300])
    def test_a_long_name_is_cut_and_its_score_kept(self, width, pen):
        name = "a class with an exceptionally long name 0.70"
        a = Annotator(np.zeros((200, width, 3), np.uint8), **pen)
        short = shortened(name, a.pen, width - 8)
        assert a.pen.measure(short)[0] <= width - 8
        assert short.startswith("a")
        assert short.endswith(" 0.70") or short == name
        if short != name:  # no more letters than needed are cut: two more, as one may be a space, do not fit
            ending = ".. 0.70" if ".." in short else " 0.70"
            longer = name[: len(short.removesuffix(ending)) + 2]
            assert a.pen.measure(longer + ending)[0] > width - 8
        a.box_label((0, 50, 30, 90), name, (200, 0, 0))
        b = Annotator(np.zeros((200, width, 3), np.uint8), **pen)
        b.box_label((0, 50, 30, 90), short, (200, 0, 0))
        assert (a.im == b.im).all()

    def test_a_name_without_score_and_one_that_cannot_fit(self):
        pen = Annotator(blank()).pen
        assert shortened("unbelievable", pen, 60).endswith("..")
        assert shortened("bus 0.9", pen, 500) == "bus 0.9"
        assert shortened("bus 0.9", pen, 1) == "bus 0.9"

    def test_text_on_a_tiny_picture_leaves_some_of_it(self):
        assert Annotator(np.zeros((64, 48, 3), np.uint8)).line_height < 10
        assert Annotator(np.zeros((640, 480, 3), np.uint8)).line_height == 14

    def test_another_font_helps_out_where_letters_are_missing(self, monkeypatch, caplog):
        latin = str(lettering.bundled_font().with_name("cmr10.ttf"))  # comes with matplotlib, has no Cyrillic
        lettering.covering_font.cache_clear()
        monkeypatch.setattr(lettering, "WIDE_FONTS", (str(lettering.bundled_font()),))
        assert lettering.covering_font(latin, "яж") == str(lettering.bundled_font())
        assert lettering.covering_font(latin, "é") in {latin, str(lettering.bundled_font())}
        helped, alone = Annotator(blank(), font=latin), Annotator(blank())
        helped.text((10, 10), "яж")
        alone.text((10, 10), "яж")
        assert (helped.im.any(-1).sum(0) == alone.im.any(-1).sum(0)).all()
        assert not caplog.text
        monkeypatch.setattr(lettering, "WIDE_FONTS", ())
        lettering.covering_font.cache_clear()
        assert lettering.covering_font(latin, "яж") == latin
        assert "no font at hand has the letters яж" in caplog.text
        lettering.covering_font.cache_clear()

    def test_text_outside_ascii_is_written_letter_by_letter(self):
        plain, accented = Annotator(blank()), Annotator(blank())
        plain.text((10, 10), "??")
        accented.text((10, 10), "žř")
        assert (plain.im != accented.im).any()
        for kwargs in ({"pil": True}, {"example": {0: "čaj"}}):
            a, b = Annotator(blank(), **kwargs), Annotator(blank())
            a.text((10, 10), "abc")
            b.text((10, 10), "abc")
            assert (a.im != b.im).any()
        off_image = Annotator(blank())
        off_image.text((-500, -500), "ž")
        off_image.text((10, 10), "\u200b")
        assert not off_image.im[:5].any()

    def test_circle_label_is_short_and_centred(self):
        long, short = Annotator(blank()), Annotator(blank())
        long.circle_label((60, 30, 140, 70), "person", (0, 200, 0))
        short.circle_label((60, 30, 140, 70), "per", (0, 200, 0))
        assert (long.im == short.im).all()
        w, h = short.pen.measure("per")
        x1, y1, x2, y2 = touched(short)
        assert (x2 - x1) / 2 == pytest.approx(np.hypot(w, h) / 2 + 2, abs=1.5)
        assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((100, 50), abs=1)

    def test_text_label_is_centred_with_a_margin(self):
        a = Annotator(blank())
        a.text_label((60, 30, 140, 70), "person", (0, 200, 0), margin=5)
        w, h = a.pen.measure("person")
        x1, y1, x2, y2 = touched(a)
        assert (x2 - x1, y2 - y1) == (w + 10, h + 10)
        assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((100, 50), abs=1)

    def test_box_dimensions_on_class_and_instance(self):
        assert Annotator.get_bbox_dimension([10, 20, 70, 100]) == (60, 80, 4800)
        width, _, area = Annotator(blank()).get_bbox_dimension(torch.tensor([10.0, 20, 70, 100]))
        assert (width.item(), area.item()) == (60, 4800)

    def test_masks_tint_by_their_share(self):
        masks = torch.zeros(1, 100, 200)
        masks[0, 10:20, 30:40] = 1
        a = Annotator(blank(value=100))
        a.masks(masks, [(200, 0, 0)], alpha=0.5)
        assert a.im[15, 35].tolist() == [150, 50, 50]
        assert (a.im[50] == 100).all()
        small = Annotator(blank())
        small.masks(masks[:, ::2, ::2], [(200, 0, 0)])
        assert touched(small) == (30, 10, 39, 19)

    def test_keypoints_outside_or_doubtful_are_skipped(self):
        a = Annotator(blank())
        a.kpts(torch.tensor([[0.0, 0, 1], [500, 50, 1], [100, 50, 0.1]]), shape=(100, 200), radius=3)
        assert not a.im.any()
        a.kpts(np.array([[100, 50, 0.9], [0, 0, 0.9]]), shape=(100, 200), radius=3, kpt_color=(9, 8, 7))
        assert touched(a) == pytest.approx((97, 47, 103, 53), abs=1)
        assert a.im[50, 100].tolist() == [9, 8, 7]

    def test_limbs_join_persons_only(self):
        points = np.column_stack([np.linspace(10, 190, 17), np.full(17, 50.0)])
        joined, apart = Annotator(blank()), Annotator(blank())
        joined.kpts(points, (100, 200), radius=1)
        apart.kpts(points, (100, 200), radius=1, kpt_line=False)
        assert joined.im.any(-1).sum() > apart.im.any(-1).sum()
        other = Annotator(blank())
        other.kpts(points[:5], (100, 200), radius=1)
        assert not other.im[50, 14:18].any()

    def test_keypoints_of_other_objects_have_a_colour_each(self):
        a = Annotator(blank())
        a.kpts(np.array([[20.0, 50], [60, 50], [100, 50], [140, 50]]), (100, 200), radius=3)
        assert [tuple(a.im[50, x]) for x in (20, 60, 100, 140)] == [colors(k, bgr=True) for k in range(4)]

    def test_a_keypoint_on_the_border_of_the_image_is_seen(self):
        a = Annotator(blank())
        a.kpts(np.array([[0.0, 50], [100, 0]]), (100, 200), radius=1, kpt_color=(9, 8, 7))
        assert a.im[50, 0].tolist() == a.im[0, 100].tolist() == [9, 8, 7]

    def test_the_sides_of_a_person_have_a_colour_each(self):
        """Of the COCO keypoints after the nose the odd ones are on the left."""
        found = {"left": set(), "right": set(), "across": set()}
        for one, other in LIMBS:
            points = np.zeros((17, 2))
            points[one], points[other] = (40, 50), (160, 50)
            a = Annotator(blank(), line_width=3)
            a.kpts(points, (100, 200))
            side = "across" if one % 2 != other % 2 else "left" if one % 2 else "right"
            found[side].add(tuple(a.im[50, 100].tolist()))
            for k, x in ((one, 40), (other, 160)):
                if k:
                    found["left" if k % 2 else "right"].add(tuple(a.im[50, x].tolist()))
        assert [len(colours) for colours in found.values()] == [1, 1, 1]
        assert len(set.union(*found.values())) == 3

    def test_save_writes_what_was_drawn(self, tmp_path):
        a = Annotator(blank())
        a.rectangle((5, 6, 20, 30), fill=(10, 20, 30), outline=(255, 0, 0))
        a.save(tmp_path / "ž" / "a.png")
        with Image.open(tmp_path / "ž" / "a.png") as im:
            assert (np.asarray(im)[..., ::-1] == a.result()).all()


class TestCrops:
    def test_size_content_and_numbering(self, tmp_path):
        im = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
        box = torch.tensor([50.0, 30, 90, 60])
        crop = save_one_box(box, im, tmp_path / "im.jpg")
        assert crop.shape == (41, 51, 3)
        assert (crop[..., ::-1] == im[24:65, 44:95]).all()
        again = save_one_box(box, im, tmp_path / "im.jpg", BGR=True)
        assert (again == im[24:65, 44:95]).all()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["im.jpg", "im2.jpg"]

    def test_square_and_clipping(self, tmp_path):
        square = save_one_box([80, 40, 100, 50], blank(), gain=1, pad=0, square=True, save=False)
        assert square.shape == (20, 20, 3)
        assert save_one_box([-10, -10, 500, 500], blank(), save=False).shape == (100, 200, 3)

    def test_what_cannot_be_encoded_is_named(self, tmp_path):
        with pytest.raises(DataError, match=r"x\.nothing"):
            write_image(tmp_path / "x.nothing", blank())
        with pytest.raises(DataError, match=r"x\.jpg"):
            write_image(tmp_path / "x.jpg", blank()[:0])


@pytest.mark.parametrize("angle", np.arange(0, 6.3, 0.3))
def test_the_name_of_a_rotated_box_goes_to_its_highest_corner(angle):
    corners = xywhr2xyxyxyxy(np.array([[100.0, 50.0, 60.0, 20.0, angle]]))[0]
    turned = highest_first(corners)
    assert turned[0, 1] == pytest.approx(corners[:, 1].min(), abs=0.5)
    start = int(np.flatnonzero((corners == turned[0]).all(1))[0])
    np.testing.assert_array_equal(turned, corners[[(start + i) % 4 for i in range(4)]])
    if angle == 0:
        assert turned[0].tolist() == [70, 40]
