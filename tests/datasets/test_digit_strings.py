"""Strings of digits: their parts, times and noise."""

import numpy as np
import pytest

from mmfusion.datasets import make_digit_strings

CLASSES = np.repeat(["one", "two", "six"], 4)
# every recording and image holds its own row
AUDIO = np.repeat(np.arange(12.0), 10 * 2).reshape(12, 10, 2)
IMAGES = np.repeat(np.arange(12.0), 3).reshape(12, 3)


def test_parts_are_of_the_classes_and_at_their_times():
    X, labels, spans = make_digit_strings(AUDIO, IMAGES, CLASSES, 20, random_state=0)
    for audio, images, own, at in zip(
        X["audio"], X["images"], labels, spans, strict=True
    ):
        assert 3 <= len(own) == len(images) == len(at) <= 6
        assert (audio[:, -1] == np.arange(at[-1, 1])).all()
        for label, image, (start, end) in zip(own, images, at, strict=True):
            assert 6 <= end - start <= 14
            assert start <= image[-1] < end
            assert CLASSES[int(image[0])] == label
            assert set(CLASSES[audio[start:end, 0].astype(int)]) == {label}


def test_noise_is_in_units_of_features_and_leaves_the_strings():
    clean, labels, _ = make_digit_strings(AUDIO, IMAGES, CLASSES, 40, random_state=1)
    noisy, same, _ = make_digit_strings(
        AUDIO, IMAGES, CLASSES, 40, noise_std=2.0, random_state=1
    )
    assert all((a == b).all() for a, b in zip(labels, same, strict=True))
    assert all(
        (a == b).all() for a, b in zip(clean["images"], noisy["images"], strict=True)
    )
    noise = np.concatenate(list(noisy["audio"])) - np.concatenate(list(clean["audio"]))
    assert (noise[:, -1] == 0).all()
    np.testing.assert_allclose(
        noise[:, :-1].std(axis=0), 2 * AUDIO.reshape(-1, 2).std(axis=0), rtol=0.1
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"audio": IMAGES}, r"audio has shape \(12, 3\); give \(n_recordings, n_fr"),
        ({"images": IMAGES[:3]}, "images has 3 rows, and audio has 12"),
        ({"audio": np.full((12, 2, 1), np.nan)}, "audio holds NaN"),
        ({"stretches": (0, 1)}, r"stretches=.*above 0"),
        ({"n_digits": (3, 2)}, "n_digits"),
        ({"noise_std": -1.0}, "noise_std"),
    ],
)
def test_unfit_arguments_are_refused(options, message):
    arguments = {"audio": AUDIO, "images": IMAGES, "y": CLASSES} | options
    with pytest.raises(ValueError, match=message):
        make_digit_strings(**arguments)
