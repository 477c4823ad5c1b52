"""Sequences in neural fusion: padding, clocks, attention, missing sequences."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import Dataset

from mmfusion import (
    Modalities,
    NeuralFusionClassifier,
    NeuralFusionRegressor,
    Trainer,
)
from mmfusion.datasets import make_dense_and_sparse
from mmfusion.fusion._neural_sequences import monotone_path, monotonicity
from mmfusion.nn import _attention

RNG = np.random.default_rng(0)
N = 30
LENGTHS = RNG.integers(1, 9, size=(N, 2))
AUDIO = [RNG.normal(size=(n, 3)) for n in LENGTHS[:, 0]]
VIDEO = [RNG.normal(size=(n, 2)) for n in LENGTHS[:, 1]]
TABLE = RNG.normal(size=(N, 4))
Y = np.arange(N) % 2
FUSIONS = ["cross_attention", "gated", "late"]
ENCODERS = [(6,), "conv", ("conv", 6, 4), ("gru", 5), ("lstm", 5)]


def sequences(**options):
    return Modalities({"audio": AUDIO, "video": VIDEO}, **options)


def with_times(X, scale=1.0, shift=0.0):
    blocks = {
        name: [np.column_stack([x, shift + scale * np.arange(len(x))]) for x in X[name]]
        for name in X.names
    }
    return Modalities(blocks)


def small(cls=NeuralFusionClassifier, epochs=3, **params):
    trainer = Trainer(
        max_epochs=epochs, batch_size=10, lr=1e-2, device="cpu", dtype="float64"
    )
    defaults = {"encoders": (6, 4), "n_members": 2, "random_state": 0}
    return cls(**defaults | params, trainer=trainer)


def outputs(fitted, X):
    return getattr(fitted, "predict_proba", fitted.predict)(X)


@pytest.mark.parametrize("encoders", ENCODERS, ids=str)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_sample_alone_is_predicted_as_among_longer_ones(fusion, encoders):
    X = sequences()
    fitted = small(fusion=fusion, encoders=encoders, epochs=1).fit(X, Y)
    whole = fitted.predict_proba(X)
    alone = np.concatenate([fitted.predict_proba(X[[i]]) for i in range(6)])
    assert_allclose(alone, whole[:6], rtol=1e-10)
    order = RNG.permutation(N)
    assert_allclose(fitted.predict_proba(X[order]), whole[order], rtol=1e-10)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_padded_arrays_are_lists_of_sequences(fusion):
    padded = np.full((N, 12, 3), np.nan)
    for i, x in enumerate(AUDIO):
        padded[i, : len(x)] = x
    X = sequences()
    other = Modalities({"audio": padded, "video": VIDEO})
    fitted = small(fusion=fusion).fit(X, Y)
    again = small(fusion=fusion).fit(other, Y)
    assert_array_equal(again.predict_proba(other), fitted.predict_proba(X))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_a_missing_sequence_holds_changes_nothing(fusion):
    observed = np.ones((N, 3), dtype=bool)
    observed[:8, 0] = observed[5:12, 1] = observed[20:25, 2] = False
    results = []
    for value in (0.0, 1e30):
        audio = [
            x if o else x + value for x, o in zip(AUDIO, observed[:, 0], strict=True)
        ]
        video = [x if o else None for x, o in zip(VIDEO, observed[:, 1], strict=True)]
        X = Modalities(
            {"audio": audio, "video": video, "table": TABLE}, observed=observed
        )
        fitted = small(fusion=fusion).fit(X, Y)
        results.append(fitted.predict_proba(X))
        latents = fitted.modality_latents(X)
        assert latents["audio"].shape == (N, 8)
        assert_array_equal(np.isnan(latents["video"]).all(1), ~observed[:, 1])
    assert_array_equal(*results)
    lacking = X[:5].copy()
    lacking = Modalities({**{n: X[n][:5] for n in X.names}, "audio": [None] * 5})
    assert fitted.predict_proba(lacking).shape == (5, 2)


def test_the_head_of_a_modality_reads_no_other():
    X = sequences()
    fitted = small(fusion="cross_attention").fit(X, Y)
    other = Modalities({"audio": AUDIO, "video": [x + 1 for x in VIDEO]})
    found, changed = (fitted.modality_probabilities(x) for x in (X, other))
    assert_array_equal(found["audio"], changed["audio"])
    assert np.abs(fitted.predict_proba(X) - fitted.predict_proba(other)).max() > 1e-6


def test_only_differences_of_times_count():
    X = with_times(sequences())
    fitted = small(fusion="cross_attention", times=-1).fit(X, Y)
    expected = fitted.predict_proba(X)
    later = with_times(sequences(), shift=1e9)
    assert_allclose(fitted.predict_proba(later), expected, rtol=1e-8)
    slower = with_times(sequences(), scale=0.01)
    again = small(fusion="cross_attention", times={"audio": 3, "video": 2})
    # the unit, in float32, is that of the data
    assert_allclose(again.fit(slower, Y).predict_proba(slower), expected, rtol=1e-4)


def test_clocks_have_names_in_frames():
    X = with_times(sequences())
    frames = {
        name: [
            pd.DataFrame(x, columns=["time", *map(str, range(x.shape[1] - 1))])
            for x in map(partial(np.roll, shift=1, axis=1), X[name])
        ]
        for name in X.names
    }
    named = Modalities(frames)
    by_position = small(fusion="cross_attention", times=0).fit(named, Y)
    by_name = small(fusion="cross_attention", times="time").fit(named, Y)
    expected = by_position.predict_proba(named)
    assert_array_equal(by_name.predict_proba(named), expected)


def test_without_a_penalty_the_order_of_the_other_frames_does_not_count():
    fitted = small(fusion="cross_attention", time_penalty=False).fit(sequences(), Y)
    backwards = Modalities({"audio": AUDIO, "video": [x[::-1] for x in VIDEO]})
    maps = [
        fitted.attention_maps(x)["audio", "video"] for x in (sequences(), backwards)
    ]
    for one, other in zip(*maps, strict=True):
        assert_allclose(one, other[:, ::-1], rtol=1e-8)


def test_maps_and_paths_belong_to_the_frames_of_each_sample():
    X = sequences()
    X = Modalities({"audio": [None, *X["audio"][1:]], "video": X["video"]})
    fitted = small(fusion="cross_attention").fit(X, Y)
    maps = fitted.attention_maps(X)
    assert set(maps) == {("audio", "video"), ("video", "audio")}
    paths, shares = fitted.alignment(X, return_monotonicity=True)
    for (a, b), own in maps.items():
        assert own[0] is None
        assert paths[a, b][0] is None
        assert np.isnan(shares[a, b][0])
        for i in range(1, N):
            assert own[i].shape == (len(X[a][i]), len(X[b][i]))
            assert_allclose(own[i].sum(1), 1.0)
            assert paths[a, b][i][-1].tolist() == [n - 1 for n in own[i].shape]
            assert 0 < shares[a, b][i] <= 1 + 1e-12


def test_paths_are_read_out_of_weights():
    blocks = np.kron(np.eye(4), np.ones((5, 3)))
    path = monotone_path(blocks / blocks.sum(1, keepdims=True))
    assert blocks[path[:, 0], path[:, 1]].all()
    assert monotonicity(np.eye(40), monotone_path(np.eye(40))) == 1.0
    unread = np.zeros((3, 2))
    assert np.isnan(monotonicity(unread, monotone_path(unread)))
    uniform = np.full((100, 100), 0.01)
    # five of a hundred frames are within two of a diagonal
    assert monotonicity(uniform, monotone_path(uniform)) == pytest.approx(
        0.05, abs=0.01
    )


def test_signs_at_the_times_of_events_are_read_with_times_only():
    X, y = make_dense_and_sparse(
        800, 60, n_events=(2, 4), noise_std=0.1, clock_offset=5, random_state=0
    )
    trainer = Trainer(max_epochs=16, lr=8e-3, batch_size=32)
    options = {
        "encoders": (16, 16),
        "times": -1,
        "dropout": 0.1,
        "modality_dropout": 0.0,
        "modality_noise": 0.0,
        "n_members": 1,
        "random_state": 0,
        "trainer": trainer,
    }
    fitted = NeuralFusionClassifier("cross_attention", **options).fit(X[:600], y[:600])
    assert fitted.score(X[600:], y[600:]) > 0.85
    assert fitted.clock_offsets_["events", "signal"] == pytest.approx(5, abs=1)
    blind = NeuralFusionClassifier("cross_attention", time_penalty=False, **options)
    assert blind.fit(X[:600], y[:600]).score(X[600:], y[600:]) < 0.65


@pytest.mark.parametrize("cls", [NeuralFusionClassifier, NeuralFusionRegressor])
def test_networks_of_sequences_are_stored(cls, tmp_path):
    X = with_times(sequences())
    fitted = small(cls, fusion="cross_attention", times=-1, window=3.0).fit(X, Y)
    expected = outputs(fitted, X)
    assert_array_equal(outputs(pickle.loads(pickle.dumps(fitted)), X), expected)
    fitted.save_params(tmp_path / "params")
    loaded = small(cls, fusion="cross_attention", times=-1, window=3.0)
    loaded.load_params(tmp_path / "params")
    assert_array_equal(outputs(loaded, X), expected)


def test_a_resumed_training_of_attention_ends_where_a_whole_one_ends(tmp_path):
    X = with_times(sequences())

    class Ends(Callback):
        def on_epoch_end(self, net, **kwargs):
            n_epochs.append(len(net.history))
            if len(net.history) == stop:
                raise RuntimeError("stopped")

    def fitted(folder):
        model = small(fusion="cross_attention", times=-1, encoders=("conv", 4))
        model.set_params(trainer__max_epochs=4, trainer__callbacks=[Ends()])
        return model.set_params(
            trainer__checkpoint_dir=folder, trainer__checkpoint_every=1
        ).fit(X, Y)

    n_epochs, stop = [], None
    whole = fitted(None)
    stop = 3
    with pytest.raises(RuntimeError, match="stopped"):
        fitted(tmp_path)
    n_epochs, stop = [], None
    resumed = fitted(tmp_path)
    assert n_epochs[-1] == 4
    assert len(n_epochs) < 4
    assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))
    assert resumed.clock_offsets_ == whole.clock_offsets_


def test_searches_and_partial_fits_take_sequences():
    X = sequences()
    grid = {"fusion": ["gated", "cross_attention"], "modality_dropout": [0, 0.3]}
    search = GridSearchCV(small(epochs=1), grid, cv=2).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    partial = small(fusion="cross_attention").partial_fit(X[:20], Y[:20])
    partial.partial_fit(sequences()[20:], Y[20:])
    assert partial.predict_proba(X).shape == (N, 2)


class Halves(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 4)

    def forward(self, frames, observed):
        return self.layer(frames) * observed[..., None] / 2


def test_modules_of_frames_encode_sequences():
    encoders = {"audio": Halves(3), "video": lambda shape: Halves(*shape)}
    fitted = small(fusion="cross_attention", encoders=encoders).fit(sequences(), Y)
    assert fitted.transform(sequences()).shape == (N, 8)


class Squares(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return [np.zeros((5, 5)), np.zeros(3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoders": "rnn"}, r"'audio'.*'rnn'.*\['conv', 'gru', 'lstm'\]"),
        ({"encoders": ("gru", 8, 8)}, r"'audio'.*2 widths.*\('gru', 8\)"),
        ({"encoders": {"table": "gru"}}, "'table' is no sequence"),
        ({"encoders": {"audio": nn.Linear(3, 4)}}, "'audio'.*tensor of bool"),
        ({"times": 3}, "times=3 is no position.*'audio'.*3 features"),
        ({"times": "clock"}, "'clock' is no feature of modality 'audio'"),
        ({"times": {"audio": 0}}, "no clock of modality 'video'"),
        ({"times": {"audio": 1.5, "video": -1}}, "times=1.5 is no position.*'audio'"),
        ({"times": {"audio": 0, "video": True}}, "times=True is no position.*'video'"),
        ({"times": 0}, "modality 'audio': the times of sample .* go back"),
    ],
)
def test_options_of_sequences_are_checked(options, message):
    X = Modalities({"audio": AUDIO, "video": VIDEO, "table": TABLE})
    with pytest.raises(ValueError, match=message):
        small(fusion="cross_attention", **options).fit(X, Y)


def test_other_data_are_refused_with_a_remedy():
    with pytest.raises(ValueError, match=r"two modalities of sequences.*gated"):
        small(fusion="cross_attention").fit([AUDIO, TABLE], Y)
    with pytest.raises(ValueError, match="lists of arrays"):
        small().fit(Squares(), Y[:4])
    fitted = small().fit([AUDIO, TABLE], Y)
    with pytest.raises(AttributeError, match="attention_maps"):
        fitted.attention_maps([AUDIO, TABLE])


def test_long_sequences_need_a_window(monkeypatch):
    monkeypatch.setattr(_attention, "LARGEST_CELLS", 10 * 64 * 20)
    long = [RNG.normal(size=(200, 3)) for _ in range(20)]
    X = with_times(Modalities({"a": long, "b": long}))
    with pytest.raises(ValueError, match="give window"):
        small(fusion="cross_attention", times=-1, epochs=1).fit(X, Y[:20])
    torch.manual_seed(0)
    fitted = small(fusion="cross_attention", times=-1, window=2.0, epochs=1)
    monkeypatch.setattr(_attention, "LARGEST_CELLS", 20 * 200 * 80)
    assert fitted.fit(X, Y[:20]).predict_proba(X).shape == (20, 2)
