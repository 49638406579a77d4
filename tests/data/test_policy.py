"""The policies of classification: operations against an independent calculation, chance from the generator alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torchvision.transforms as reference
from PIL import Image
from torchvision.transforms import functional as F

from yolocore.data.augment import policy
from yolocore.data.augment.policy import AUTO, MIX, RAND, ColorJitter, auto_pairs, make_policy
from yolocore.errors import ConfigError


@pytest.fixture
def image() -> Image.Image:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (6, 8, 3), np.uint8)
    return Image.fromarray(small).resize((64, 48), Image.Resampling.BICUBIC)


def same(a: Image.Image, b: Image.Image) -> bool:
    return bool((np.asarray(a) == np.asarray(b)).all())


def test_the_pairs_of_autoaugment_are_those_of_torchvision() -> None:
    theirs = reference.AutoAugment(reference.AutoAugmentPolicy.IMAGENET).policies
    names = {"ShearX": "shear_x", "AutoContrast": "autocontrast"}
    want = [[(names.get(n, n.lower()), p, step or 0) for n, p, step in pair] for pair in theirs]
    assert auto_pairs() == want


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("brightness", 0.4, lambda im: F.adjust_brightness(im, 1.4)),
        ("color", -0.3, lambda im: F.adjust_saturation(im, 0.7)),
        ("contrast", 0.5, lambda im: F.adjust_contrast(im, 1.5)),
        ("sharpness", 0.9, lambda im: F.adjust_sharpness(im, 1.9)),
        ("posterize", 3, lambda im: F.posterize(im, 3)),
        ("solarize", 100, lambda im: F.solarize(im, 100)),
        ("hue", 0.2, lambda im: F.adjust_hue(im, 0.2)),
        ("rotate", 20.0, lambda im: F.rotate(im, 20.0)),
    ],
)
def test_operations(image: Image.Image, name: str, ours: float, theirs: Callable) -> None:
    assert same(getattr(policy, name)(image, ours), theirs(image))


def test_shears_and_shifts_move_coordinates() -> None:
    ys, xs = np.mgrid[0:48, 0:64].astype(np.uint8)
    ramp = Image.fromarray(np.dstack([xs, ys, xs]))
    moved = np.asarray(policy.shear_x(ramp, 0.25)).astype(int)
    assert abs(moved[20, 10, 0] - 15) <= 1
    assert moved[20, 10, 1] == 20
    moved = np.asarray(policy.shear_y(ramp, -0.25)).astype(int)
    assert abs(moved[20, 40, 1] - 10) <= 1
    assert np.asarray(policy.translate_x(ramp, 0.25))[5, 20].tolist() == [4, 5, 4]
    assert np.asarray(policy.translate_y(ramp, -0.25))[5, 20].tolist() == [20, 17, 20]


@pytest.mark.parametrize(("space", "step"), [(RAND, 0.3), (AUTO, 1.0), (MIX, 0.3)])
def test_every_operation_of_a_policy_works_at_every_strength(image: Image.Image, space: dict, step: float) -> None:
    rng = np.random.default_rng(0)
    for name, operation in space.items():
        for strength in (0.0, step / 2, step):
            out = operation(image, strength, rng)
            assert (out.size, out.mode) == (image.size, "RGB"), name
        if name not in ("identity", "autocontrast", "equalize", "posterize"):
            assert not same(operation(image, step, rng), image), name


def test_strength_nothing_changes_nothing(image: Image.Image) -> None:
    rng = np.random.default_rng(0)
    for name in set(RAND) - {"autocontrast", "equalize", "solarize"}:
        assert same(RAND[name](image, 0.0, rng), image), name


@pytest.mark.parametrize("name", ["randaugment", "autoaugment", "augmix"])
def test_policies_depend_on_the_generator_only(image: Image.Image, name: str) -> None:
    first, again = (make_policy(name)(image, np.random.default_rng(4)) for _ in range(2))
    assert same(first, again)
    assert first.size == image.size
    outcomes = {make_policy(name)(image, np.random.default_rng(s)).tobytes() for s in range(20)}
    assert len(outcomes) > 10


def test_augmix_stays_between_dark_and_light() -> None:
    white = Image.fromarray(np.full((32, 32, 3), 250, np.uint8))
    for seed in range(20):
        mixed = np.asarray(make_policy("augmix")(white, np.random.default_rng(seed)))
        assert mixed.shape == (32, 32, 3)
        assert mixed.max() <= 255
        assert mixed.mean() > 60, "the weights sum to one"


def test_jitter(image: Image.Image) -> None:
    assert same(ColorJitter(0, 0, 0)(image, np.random.default_rng(0)), image)
    changed = np.asarray(ColorJitter(0, 0, 0.4)(image, np.random.default_rng(0)))
    assert not (changed == np.asarray(image)).all()
    means = [np.asarray(ColorJitter(0, 0, 0.4)(image, np.random.default_rng(s))).mean() for s in range(200)]
    assert np.mean(means) == pytest.approx(np.asarray(image).mean(), rel=0.06)
    assert max(means) > 1.25 * min(means)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'augmix'"):
        make_policy("augmx")
