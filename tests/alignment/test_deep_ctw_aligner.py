"""Deep canonical time warping: limits, invariances, and what the alternation keeps."""

import pickle
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from mmfusion import Modalities, Trainer
from mmfusion.alignment import CTWAligner, DeepCTWAligner
from mmfusion.alignment._deep_ctw_training import unit_weights
from mmfusion.alignment.ctw._coordinates import invariant_directions
from mmfusion.alignment.ctw._warping import warp_error
from mmfusion.datasets import make_multimodal_sequences
from mmfusion.nn._checkpoint import Checkpoint

X, _, PATHS = make_multimodal_sequences(
    9, {"audio": 3, "video": 4}, n_frames=40, nonlinear=True, random_state=0
)
SHORT = Trainer(max_epochs=2, dtype="float64")
SMALL = {"encoders": (8,), "steps_per_epoch": 6, "random_state": 0}


def aligner(**options):
    return DeepCTWAligner(2, **({"trainer": SHORT} | SMALL | options))


@cache
def fitted(held_out=True):
    # without held-out samples, the last epoch is kept
    return aligner(validation_fraction=0.2 if held_out else 0.0).fit(X)


def paths(found, data=None):
    aligned = found.paths_ if data is None else found.align(data)
    if data is not None:
        aligned = [{n: a.path for n, a in sample.items()} for sample in aligned]
    return [sample["video"] for sample in aligned]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


# Limits


OPTIONS = [
    {},
    {"ridge": "auto"},
    {"window": "itakura"},
    {"metric": "sqeuclidean"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_no_epochs_are_canonical_time_warping(options):
    options = {"ridge": 0.0, "reference": "longest"} | options
    plain = CTWAligner(2, **options).fit(X)
    start = aligner(trainer=Trainer(max_epochs=0), **options).fit(X)
    assert_same(paths(start), paths(plain))
    np.testing.assert_array_equal(start.distances_, plain.distances_)
    assert start.n_iter_ == plain.n_iter_
    assert (start.best_epoch_, start.history_) == (0, [])


def test_the_networks_start_as_the_projections():
    start = fitted(held_out=False)
    frames = X["video"][0]
    maps = dict(zip(X.names, start._initial_maps(list(X.names)), strict=True))
    found = start._coordinates_of(frames, "video") @ maps["video"]
    expected = (frames - start.means_["video"]) @ start.projections_["video"]
    found, expected = (z - z.mean(axis=0) for z in (found, expected))
    ratio = (found * expected).sum(axis=0) / (expected**2).sum(axis=0)
    np.testing.assert_allclose(found, ratio * expected, atol=1e-10)


def test_linear_maps_of_one_epoch_are_near_canonical_time_warping():
    plain = CTWAligner(2, ridge=0.0).fit(X)
    linear = aligner(encoders=(), trainer=Trainer(max_epochs=1)).fit(X)
    moved = [
        warp_error(*pair) for pair in zip(paths(linear), paths(plain), strict=True)
    ]
    assert np.mean(moved) < 1


def test_identical_modalities_are_on_the_diagonal():
    data = Modalities({"audio": X["video"], "video": X["video"]})
    found = aligner(validation_fraction=0.0).fit(data)
    assert found.best_epoch_ == 2
    np.testing.assert_allclose(found.distances_, 0, atol=1e-12)
    for path in paths(found):
        np.testing.assert_array_equal(path[:, 0], path[:, 1])


def test_sequences_of_one_frame_are_aligned():
    data = Modalities({n: [x[:1] for x in X[n]] for n in X.names})
    found = aligner().fit(data)
    assert_same(paths(found), [[[0, 0]]] * len(X))


# Invariances


def test_linear_mixing_of_features_changes_nothing():
    rng = np.random.default_rng(1)
    mixing = {n: rng.normal(size=(x[0].shape[1],) * 2) for n, x in X.to_dict().items()}
    mixed = Modalities({n: [1e3 * x @ mixing[n] + 5 for x in X[n]] for n in X.names})
    found, expected = aligner().fit(mixed), fitted()
    assert_same(paths(found), paths(expected))
    np.testing.assert_allclose(found.distances_, expected.distances_, rtol=1e-3)


def test_invariant_directions_do_not_depend_on_mixing():
    rng = np.random.default_rng(0)
    frames = rng.gamma([0.5, 1, 2], size=(500, 3))
    frames -= frames.mean(axis=0)
    mixed = frames @ rng.normal(size=(3, 3))
    found, expected = (x @ invariant_directions([x], 0.0, 0) for x in (mixed, frames))
    np.testing.assert_allclose(found, expected, atol=1e-8)
    np.testing.assert_allclose(found.T @ found / 500, np.eye(3), atol=1e-10)


def test_directions_that_are_lacking_are_zero():
    frames = np.random.default_rng(0).gamma(1, size=(50, 2)) - 1
    frames = np.column_stack([frames, frames.sum(axis=1), np.zeros(50)])
    directions = invariant_directions([frames], 0.0, 0)
    assert directions.shape == (4, 4)
    np.testing.assert_array_equal(directions.any(axis=0), [True, True, False, False])


def test_exchanged_modalities_exchange_the_paths():
    found = aligner().fit(X[["video", "audio"]])
    exchanged = [sample["audio"][:, ::-1] for sample in found.paths_]
    moved = [warp_error(*pair) for pair in zip(exchanged, paths(fitted()), strict=True)]
    assert max(moved) == 0


def test_the_same_seed_learns_the_same_and_leaves_torch_as_it_was():
    state = torch.get_rng_state()
    again = clone(fitted()).fit(X)
    assert again.history_ == fitted().history_
    assert torch.equal(state, torch.get_rng_state())
    other = clone(again).set_params(random_state=1).fit(X)
    assert other.history_ != again.history_


# The alternation


def test_the_epoch_that_correlates_held_out_samples_most_is_kept():
    found = fitted()
    scores = [epoch["held_out_correlation"] for epoch in found.history_]
    assert found.best_epoch_ == int(np.argmax(scores))
    assert [e["phase"] for e in found.history_] == ["projections", *["training"] * 2]


def test_few_samples_are_all_learned_from():
    found = aligner().fit(X[:4])
    assert found.best_epoch_ == len(found.history_) - 1 == 2
    assert all("held_out_correlation" not in epoch for epoch in found.history_)


def test_networks_align_curves_better_than_projections():
    data, _, truth = make_multimodal_sequences(
        18,
        (10, 6),
        n_classes=18,
        n_frames=200,
        nonlinear=True,
        sample_std=0.0,
        noise_std=0.0,
        n_noise_features=3,
        random_state=20,
    )
    plain = CTWAligner(ridge=0.0).fit(data[:12])
    found = DeepCTWAligner(trainer=Trainer(max_epochs=4), random_state=0)
    name = data.names[1]

    def mean_error(fitted_aligner):
        aligned = fitted_aligner.align(data[12:])
        return np.mean(
            [
                warp_error(a[name].path, t)
                for a, t in zip(aligned, truth[12:], strict=True)
            ]
        )

    assert mean_error(found.fit(data[:12])) < 0.9 * mean_error(plain)
    assert (found.network_correlations_ > 0.9).any()


def test_three_modalities_with_missing_ones():
    data, _, _ = make_multimodal_sequences(
        7, {"a": 3, "b": 4, "c": 3}, n_frames=30, random_state=0
    )
    lacking = data.to_dict() | {"b": [None, *data["b"][1:]]}
    found = aligner(validation_fraction=0.0).fit(lacking)
    assert found.best_epoch_ == 2
    assert found.paths_[0].keys() == {"a", "c"}
    assert np.isnan(found.distances_).sum() == 1
    embedded = found.embed(lacking)
    assert {x.shape[1] for x in embedded["c"]} == {4}  # two of each kind
    assert embedded["b"][0] is None


def test_weights_of_directions_sum_to_one():
    assert unit_weights(np.array([0.9, 0.5])).sum() == pytest.approx(1)
    np.testing.assert_array_equal(unit_weights(np.array([-0.1, 0.0])), 0)


def test_an_interrupted_fit_is_resumed(tmp_path, monkeypatch):
    trainer = Trainer(
        max_epochs=3, checkpoint_dir=tmp_path, checkpoint_every=1, dtype="float64"
    )
    with_dropout = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Dropout(0.3))
    options = {"trainer": trainer, "encoders": {"video": with_dropout}}
    write, written = Checkpoint.write, []

    def interrupted(checkpoint, state):
        write(checkpoint, state)
        written.append(state)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        aligner(**options).fit(X)
    resumed = aligner(**options).fit(X)
    assert len(written) == 3  # the third epoch alone
    whole = aligner(**options | {"trainer": clone(trainer)})
    whole = whole.set_params(trainer__checkpoint_dir=None).fit(X)
    assert resumed.history_ == whole.history_
    np.testing.assert_array_equal(resumed.distances_, whole.distances_)
    aligner(**options).set_params(random_state=1).fit(X)  # another fit starts anew
    assert len(written) == 6


# Storage, options and errors


def test_an_aligner_is_stored_without_torch():
    stored = pickle.dumps(clone(fitted(held_out=False)).set_params(trainer=None))
    found = fitted(held_out=False)
    assert b"torch" not in pickle.dumps(found._arrays)
    assert b"torch" not in stored.replace(b"torch_", b"")
    loaded = pickle.loads(pickle.dumps(found))
    assert_same(paths(loaded, X), paths(found))


def test_parameters_that_are_set_later_do_not_change_a_fitted_aligner():
    found = pickle.loads(pickle.dumps(fitted(held_out=False)))
    before = found.embed(X)
    after = found.set_params(n_components=1, encoders=(2,), random_state=5).embed(X)
    np.testing.assert_array_equal(before["audio"][0], after["audio"][0])


def test_encoders_are_factories_too():
    def factory(shape):
        return nn.Sequential(nn.Linear(*shape, 5), nn.Tanh())

    found = aligner(encoders=factory, validation_fraction=0.0).fit(X)
    assert found.best_epoch_ == 2
    assert found.network_correlations_.shape == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoders": nn.Linear(2, 3)}, "modality 'audio'.*does not accept"),
        ({"encoders": (0,)}, "modality 'audio'.*positive integers"),
        ({"encoders": {"sound": (4,)}}, "sound"),
        ({"trainer": Trainer(selection_every=2)}, "no effect on a DeepCTWAligner"),
        ({"trainer": Trainer(pretrain_epochs=2)}, "no pretraining"),
        ({"trainer": Trainer(dtype="bfloat16")}, "too coarse"),
        ({"trainer": Trainer(lr=1e30, max_epochs=2)}, "lower trainer__lr"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
    ],
)
def test_errors_name_the_option(options, message):
    with pytest.raises(ValueError, match=message):
        aligner(**options).fit(X)


def test_tables_pass_through():
    table = np.arange(6.0).reshape(3, 2)
    found = DeepCTWAligner().fit(table)
    np.testing.assert_array_equal(found.transform(table), table)
    assert found.history_ == []
    assert found.projections_ == {}
