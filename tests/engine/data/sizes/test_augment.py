"""Pictures that are changed a little each time."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engine.data.sizes.augment import METHODS, augmented, check_augmentations
from engine.errors import JobError
from engine.jobs.data import Augmentation

PICTURE = Image.fromarray(np.random.default_rng(0).integers(40, 200, (24, 32, 3), np.uint8)).resize((64, 48))


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and one.mode == other.mode and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_each_changes_the_picture_and_follows_from_what_it_is_drawn_for(method):
    steps = [Augmentation(method=method)]
    check_augmentations(steps)
    shown = [augmented(PICTURE, steps, 42, micro, 0) for micro in range(3)]
    assert all(one.size == PICTURE.size and one.mode == "RGB" and not same(one, PICTURE) for one in shown)
    assert same(shown[0], augmented(PICTURE, steps, 42, 0, 0))


@pytest.mark.parametrize("method", ["RandomBrightnessContrast", "HueSaturationValue", "ColorJitter", "Rotate", "GaussianBlur", "Sharpen"])
def test_what_is_drawn_is_another_each_time(method):
    shown = [augmented(PICTURE, [Augmentation(method=method)], 42, micro, 0) for micro in range(4)]
    assert not any(same(shown[i], shown[j]) for i in range(4) for j in range(i))


def test_p_is_the_share_of_times_and_the_order_is_kept():
    mirror = [Augmentation(method="HorizontalFlip", p=0.3)]
    changed = sum(not same(augmented(PICTURE, mirror, seed), PICTURE) for seed in range(1000))
    assert 250 < changed < 350
    both = [Augmentation(method="HorizontalFlip"), Augmentation(method="VerticalFlip")]
    assert same(augmented(PICTURE, both, 0), PICTURE.rotate(180))


def test_limits_mean_what_they_say():
    brighter = augmented(
        PICTURE, [Augmentation(method="RandomBrightnessContrast", params={"brightness_limit": [0.5, 0.5], "contrast_limit": 0})], 0
    )
    assert np.array_equal(np.asarray(brighter), np.asarray(PICTURE).astype(float).__mul__(1.5).clip(0, 255).astype(np.uint8))
    still = {"hue_shift_limit": 0, "sat_shift_limit": 0, "val_shift_limit": [40, 40]}
    lighter = augmented(Image.new("RGB", (4, 4), (100, 100, 100)), [Augmentation(method="HueSaturationValue", params=still)], 0)
    assert lighter.getpixel((0, 0)) == (140, 140, 140)
    turned = augmented(
        Image.new("RGB", (4, 4), "red"),
        [Augmentation(method="HueSaturationValue", params={**still, "hue_shift_limit": [60, 60], "val_shift_limit": 0})],
        0,
    )
    assert turned.getpixel((0, 0)) == (0, 255, 0)


@pytest.mark.parametrize(
    ("method", "params", "told"),
    [("Rotat", {}, "Did you mean Rotate"), ("Rotate", {"angle": 3}, "Rotate"), ("ColorJitter", {"hue": "much"}, "ColorJitter")],
)
def test_a_wrong_name_or_parameter_is_told_before_training(method, params, told):
    with pytest.raises(JobError, match=told):
        check_augmentations([Augmentation(method=method, params=params)])
