"""CTCRecognizer: planted strings, missing modalities, decoding and its errors."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from mmfusion import CTCRecognizer, Modalities, Trainer
from mmfusion.alignment import CTCAligner
from mmfusion.datasets import make_digit_strings
from mmfusion.fusion import _ctc_training
from mmfusion.nn import _attention
from mmfusion.nn._attention import TimedFrames
from mmfusion.nn._isolation import isolated

RNG = np.random.default_rng(0)
CLASSES = np.arange(40) % 4
AUDIO = np.eye(4)[CLASSES][:, None] * np.ones((1, 6, 1))
AUDIO[:, 0] *= 3  # an onset, by which equal digits are two
AUDIO = AUDIO + 0.2 * RNG.normal(size=AUDIO.shape)
IMAGES = np.eye(4)[CLASSES] + 0.1 * RNG.normal(size=(40, 4))
TRAINER = Trainer(max_epochs=40)


def strings(n_samples=24, seed=0, **options):
    return make_digit_strings(
        AUDIO, IMAGES, CLASSES, n_samples, n_digits=(1, 3), random_state=seed, **options
    )


@pytest.fixture(scope="module")
def fitted():
    X, y, _ = strings(48)
    model = CTCRecognizer((16,), times=-1, trainer=TRAINER, random_state=0)
    return model.fit(X, y)


def test_planted_strings_are_recognised(fitted):
    X, y, spans = strings(seed=1)
    assert fitted.score(X, y) > 0.9
    greedy = CTCRecognizer.score(fitted.set_params(decoding="greedy"), X, y)
    fitted.set_params(decoding="beam")
    assert greedy > 0.85
    inside = [
        (at[:, 0] <= found.moments) & (found.moments < at[:, 1])
        for found, at in zip(fitted.align(X, y), spans, strict=True)
    ]
    assert np.concatenate(inside).mean() > 0.9


def test_alignment_is_that_of_the_log_probabilities(fitted):
    X, y, _ = strings(4, seed=2)
    tables = fitted.frame_log_probabilities(X)
    for table in tables:
        np.testing.assert_allclose(np.exp(table).sum(axis=1), 1)
    vocabulary = ["", *fitted.classes_.tolist()]
    aligner = CTCAligner(vocabulary=vocabulary)
    frames = Modalities({"network": list(tables)})
    labels = [own.tolist() for own in y]
    expected = aligner.fit(frames, labels).align(frames, labels)
    for one, other in zip(fitted.align(X, y), expected, strict=True):
        assert (one.moments == other.moments).all()
        assert one.log_likelihood == pytest.approx(other.log_likelihood)


def test_one_sample_alone_is_the_same_and_order_permutes(fitted):
    X, _, _ = strings(6, seed=3)
    whole = fitted.frame_log_probabilities(X)
    for i in range(len(X)):
        alone = fitted.frame_log_probabilities(X[[i]])[0]
        np.testing.assert_allclose(alone, whole[i], rtol=0, atol=1e-12)


def test_either_modality_may_be_missing():
    X, y, _ = strings()
    audio, images = list(X["audio"]), list(X["images"])
    for i in range(0, 12, 2):
        audio[i], images[i + 1] = None, None
    data = Modalities({"audio": audio, "images": images})
    few = [own[:1] if x is None else own for own, x in zip(y, audio, strict=True)]
    model = CTCRecognizer((16,), times=-1, trainer=TRAINER, random_state=0)
    model.fit(data, few)
    tables = model.frame_log_probabilities(data)
    assert len(tables[0]) == len(images[0])
    assert len(tables[1]) == len(audio[1])
    later, truth, _ = strings(seed=4)
    alone = Modalities({"audio": list(later["audio"]), "images": [None] * len(later)})
    assert model.score(alone, truth) > 0.7


def test_images_are_relied_on_where_the_audio_is_of_another_speaker(fitted):
    X, y, _ = strings(seed=6)
    rng = np.random.default_rng(0)
    audio = [
        np.c_[x[:, :-1] + rng.normal(size=4), x[:, -1]] for x in X["audio"]
    ]  # an offset of as much as the values vary
    other = Modalities({"audio": audio, "images": list(X["images"])})
    alone = CTCRecognizer((16,), times=-1, trainer=TRAINER, random_state=0)
    data, labels, _ = strings(48)
    alone.fit(data[["audio"]], labels)
    errors = 1 - fitted.score(other, y), 1 - alone.score(other[["audio"]], y)
    assert errors[0] < 0.5 * errors[1]


def test_each_modality_is_dropped_and_gets_noise_but_one_is_kept():
    options = _ctc_training.ModalityOptions(1.0, 0.5, 0.5)
    observed = torch.ones(4000, 5, dtype=torch.bool)
    observed[:, 4] = False  # padding
    frames = TimedFrames(torch.zeros(4000, 5, 2), torch.zeros(4000, 5), observed)
    missing = frames._replace(observed=observed & (torch.arange(4000) > 999)[:, None])
    with isolated(0):
        found = _ctc_training._corrupted([frames, missing], options)
    kept = torch.stack([own.observed[:, 0] for own in found], dim=1)
    assert kept.any(dim=1).all()
    assert kept[:1000, 0].all()
    assert not kept[:1000, 1].any()
    # both would be dropped with a probability of a quarter, and one of them is kept
    np.testing.assert_allclose(kept[1000:].float().mean(0), 0.625, atol=0.03)
    for own in found:
        assert not own.observed[:, 4].any()
        noise = own.values
        has_noise = noise.flatten(1).any(dim=1)
        assert abs(float(has_noise.float().mean()) - 0.5) < 0.03
        # uniform standard deviations have a mean square of a third
        offsets, single = noise.mean(1)[has_noise], noise[has_noise]
        assert float(single.var()) == pytest.approx(2 / 3, rel=0.1)
        assert float(offsets.var()) == pytest.approx((1 + 1 / 5) / 3, rel=0.1)


def test_options_of_several_modalities_do_not_change_a_single_one():
    X, y, _ = strings(8)
    histories = [
        CTCRecognizer(
            (4,), times=-1, trainer=Trainer(max_epochs=2), random_state=0, **options
        )
        .fit(X[["audio"]], y)
        .history_
        for options in (
            {},
            {"modality_loss_weight": 0, "modality_dropout": 0, "modality_noise": 0},
        )
    ]
    assert histories[0] == histories[1]


def test_a_window_bounds_the_memory_of_attention(monkeypatch):
    rng = np.random.default_rng(0)
    X = Modalities(
        {
            name: [np.c_[rng.normal(size=(60, 2)), np.arange(60)] for _ in range(2)]
            for name in ("audio", "video")
        }
    )
    y = [["a", "b"], ["b"]]
    model = CTCRecognizer((4,), times=-1, trainer=Trainer(max_epochs=1), random_state=0)
    wide = model.set_params(window=1000.0).fit(X, y).frame_log_probabilities(X)
    model.set_params(window=None)
    every = model.fit(X, y).frame_log_probabilities(X)
    np.testing.assert_allclose(wide[0], every[0], atol=1e-5)
    monkeypatch.setattr(_attention, "LARGEST_CELLS", 3000)
    monkeypatch.setattr(_attention, "BLOCK_FRAMES", 8)
    with pytest.raises(ValueError, match=r"60 frames to 60 .* give window"):
        model.fit(X, y)
    model.set_params(window=4.0).fit(X, y).predict(X)


def test_samples_that_lack_the_first_modality_keep_the_others_in_training():
    X, y, _ = strings(8)
    heard = [None] * 7 + [X["audio"][7]]
    shown = [*X["images"][:7], None]
    data = Modalities({"audio": heard, "images": shown})
    labels = [*(own[:1] for own in y[:7]), y[7]]
    histories = [
        CTCRecognizer(
            (4,),
            times=-1,
            modality_dropout=modality_dropout,
            trainer=Trainer(max_epochs=2),
            random_state=0,
        )
        .fit(data, labels)
        .history_
        for modality_dropout in (0.0, 0.99)
    ]
    assert histories[0] == histories[1]


def test_shifted_clocks_change_nothing(fitted):
    X, _, _ = strings(3, seed=5)
    shifted = Modalities(
        {
            n: [x + 100 * (np.arange(x.shape[1]) == x.shape[1] - 1) for x in X[n]]
            for n in X.names
        }
    )
    one, other = (fitted.frame_log_probabilities(data) for data in (X, shifted))
    np.testing.assert_allclose(
        np.concatenate(list(one)), np.concatenate(list(other)), atol=1e-10
    )


def test_clocks_have_names_in_frames():
    X, y, _ = strings(8)
    frames = {
        name: [
            pd.DataFrame(x, columns=[*map(str, range(x.shape[1] - 1)), "time"])
            for x in X[name]
        ]
        for name in X.names
    }
    named = Modalities(frames)
    found = [
        CTCRecognizer((4,), times=times, trainer=Trainer(max_epochs=1), random_state=0)
        .fit(named, y)
        .frame_log_probabilities(named)
        for times in (-1, "time", {"audio": "time", "images": -1})
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(np.concatenate(other), np.concatenate(found[0]))
    with pytest.raises(ValueError, match="'clock' is no feature of modality 'audio'"):
        CTCRecognizer(times="clock").fit(named, y)
    with pytest.raises(ValueError, match=r"times=0.5 is no position.*'audio'"):
        CTCRecognizer(times={"audio": 0.5, "images": -1}).fit(X, y)


def test_sequences_of_one_frame():
    y = ["a", "b"] * 10
    X = Modalities({"audio": [np.array([[float(label == "a")]]) for label in y]})
    model = CTCRecognizer((4,), trainer=Trainer(max_epochs=60, lr=0.02), random_state=0)
    found = model.fit(X, y).predict(X)
    assert [own.tolist() for own in found] == [[label] for label in y]


@pytest.mark.parametrize("labels", [[1, 1, 2], [1, 2, 1, 2]])
def test_too_few_frames_are_refused_by_sample(labels):
    X = Modalities({"audio": [np.zeros((4, 1)), np.ones((3, 1))]})
    message = rf"sample 1 has 3 frames, and its {len(labels)} labels need 4"
    with pytest.raises(ValueError, match=message):
        CTCRecognizer().fit(X, [[1], labels])


def test_unfit_arguments_are_refused(fitted):
    X, y, _ = strings(4)
    with pytest.raises(ValueError, match="y of sample 0 has the label 9"):
        fitted.align(X, [[9]] * 4)
    with pytest.raises(ValueError, match="no position of a feature beside others"):
        CTCRecognizer(times=7).fit(X, y)
    with pytest.raises(ValueError, match="times has no clock of modality 'audio'"):
        CTCRecognizer(times={"images": -1}).fit(X, y)
    with pytest.raises(ValueError, match=r"encoders=.*at least one"):
        CTCRecognizer(()).fit(X, y)
    with pytest.raises(ValueError, match=r"of at most 2147483647"):
        CTCRecognizer((2**63,)).fit(X, y)
    with pytest.raises(ValueError, match="has no effect on a CTCRecognizer"):
        CTCRecognizer(trainer=Trainer(checkpoint_dir="x")).fit(X, y)
    reversed_times = Modalities({n: [x[::-1] for x in X[n]] for n in X.names})
    with pytest.raises(ValueError, match="the times of sample 0 go back, from"):
        fitted.predict(reversed_times)


def test_automatic_training_ends_or_warns_on_the_plateau(monkeypatch):
    X, y, _ = strings(8)
    monkeypatch.setattr(_ctc_training, "FEWEST_STEPS", 20)
    monkeypatch.setattr(_ctc_training, "MOST_STEPS", 200)
    model = CTCRecognizer((16,), times=-1, random_state=0).fit(X, y)
    errors = [epoch["train_error"] for epoch in model.history_]
    left = next(i for i, error in enumerate(errors, start=1) if error < 0.5)
    assert model.n_iter_ == min(200, max(20, 2 * left))
    monkeypatch.setattr(_ctc_training, "MOST_STEPS", 3)
    with pytest.warns(ConvergenceWarning, match="not converged after 3 epochs"):
        CTCRecognizer((16,), times=-1, random_state=0).fit(X, y)
