"""Alignment learned from known matches: what the aligner promises."""

import pickle
from functools import cache

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mmfusion import EarlyFusionClassifier, Modalities, Trainer
from mmfusion.alignment import CTWAligner, DTWAligner, SiameseAligner
from mmfusion.alignment._frame_targets import MatchTargets, SegmentTargets, true_frames
from mmfusion.alignment._path_targets import PathTargets
from mmfusion.datasets import make_multimodal_sequences
from mmfusion.metrics import alignment_error
from mmfusion.preprocessing import SequencePooling

X, CLASSES, PATHS = make_multimodal_sequences(
    10, {"audio": 3, "video": 5}, n_frames=50, random_state=0
)
MATCHES = PATHS[:, ::5]
SHORT = Trainer(max_epochs=30)


@cache
def fitted(**options):
    aligner = SiameseAligner(trainer=SHORT, random_state=0, **options)
    return aligner.fit(X[:7], MATCHES[:7])


def errors(aligner, data, matches):
    return [
        alignment_error(found["video"].path, known)
        for found, known in zip(aligner.align(data), matches, strict=True)
    ]


def test_later_samples_are_aligned_within_two_frames():
    linear = [
        np.abs(np.linspace(0, m[-1, 1], m[-1, 0] + 1)[m[:, 0]] - m[:, 1]).mean()
        for m in MATCHES[7:]
    ]
    found = errors(fitted(), X[7:], MATCHES[7:])
    assert np.mean(found) < min(2, np.mean(linear))
    assert fitted().score(X[7:], MATCHES[7:]) == pytest.approx(-np.mean(found))


def test_the_loss_falls():
    losses = [epoch["train_loss"] for epoch in fitted().history_]
    assert fitted().n_iter_ == len(losses) == 30
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("encoders", [(64, 64), (), (8,)])
def test_a_shared_encoder_starts_as_dtw(encoders):
    x = Modalities({"audio": X["audio"], "video": [a[::2] for a in X["audio"]]})
    known = [
        np.column_stack([np.arange(0, 5), np.arange(0, 5) / 2]) for _ in range(len(x))
    ]
    start = SiameseAligner(
        encoders, shared=True, scaling=None, trainer=Trainer(max_epochs=0)
    )
    for found, expected in zip(
        start.fit(x, known).paths_, DTWAligner().fit(x).paths_, strict=True
    ):
        np.testing.assert_array_equal(found["video"], expected["video"])


def test_copies_are_aligned_on_the_diagonal():
    frames = [np.arange(len(x)) for x in X["audio"]]
    data = Modalities({"audio": X["audio"], "video": X["audio"]})
    aligner = SiameseAligner(trainer=SHORT, random_state=0)
    aligner.fit(data[:7], [np.column_stack([f, f]) for f in frames[:7]])
    assert aligner.score(data[7:], [np.column_stack([f, f]) for f in frames[7:]]) > -0.2


def test_the_order_of_samples_permutes():
    order = [6, 2, 0, 1, 5, 4, 3]
    own = fitted().align(X[:7])
    other = fitted().align(X[:7][order])
    for k, i in enumerate(order):
        np.testing.assert_array_equal(own[i]["video"].path, other[k]["video"].path)


def test_the_same_seed_learns_the_same_and_leaves_torch_as_it_was():
    state = torch.get_rng_state()
    again = clone(fitted()).fit(X[:7], MATCHES[:7])
    assert again.history_ == fitted().history_
    assert torch.equal(state, torch.get_rng_state())
    assert again.set_params(random_state=1).fit(X[:7], MATCHES[:7]).history_ != (
        fitted().history_
    )


def test_an_aligner_is_stored_without_torch():
    stored = pickle.dumps(fitted())
    assert b"torch" not in stored.replace(b"torch_", b"")
    loaded = pickle.loads(stored)
    assert loaded.score(X[7:], MATCHES[7:]) == fitted().score(X[7:], MATCHES[7:])


def test_parameters_that_are_set_later_do_not_change_a_fitted_aligner():
    aligner = pickle.loads(pickle.dumps(fitted()))
    before = aligner.embed(X[7:])
    after = aligner.set_params(n_components=3, encoders=(2,)).embed(X[7:])
    np.testing.assert_array_equal(before["audio"][0], after["audio"][0])


def test_costs_are_those_of_embedded_frames():
    embedded = fitted().embed(X[7:])
    assert {x.shape[1] for x in embedded["audio"]} == {32}
    paths = DTWAligner().fit(embedded).paths_
    for found, expected in zip(fitted().align(X[7:]), paths, strict=True):
        np.testing.assert_array_equal(found["video"].path, expected["video"])


def test_another_unit_changes_nothing():
    units = Modalities({"audio": X["audio"], "video": [8 * x + 3 for x in X["video"]]})
    other = clone(fitted()).fit(units[:7], MATCHES[:7])
    losses = [[e["train_loss"] for e in a.history_] for a in (other, fitted())]
    np.testing.assert_allclose(*losses, rtol=1e-3)


# What is known


def test_segments_are_enough():
    labels = [
        [
            np.searchsorted(path[:, v], np.arange(len(x))) // 13
            for v, x in enumerate(own)
        ]
        for path, *own in zip(PATHS, X["audio"], X["video"], strict=True)
    ]
    aligner = SiameseAligner(supervision="segments", trainer=SHORT, random_state=0)
    aligner.fit(X[:7], labels[:7])
    assert 0.7 < aligner.score(X[7:], labels[7:]) <= 1
    assert np.mean(errors(aligner, X[7:], MATCHES[7:])) < 3


def test_samples_may_lack_matches_or_modalities():
    lacking = Modalities({"audio": X["audio"][:7], "video": [None, *X["video"][1:7]]})
    known = [MATCHES[0], None, np.full((2, 2), np.nan), *MATCHES[3:7]]
    aligner = SiameseAligner(trainer=SHORT, random_state=0).fit(lacking, known)
    assert [set(path) for path in aligner.paths_[:2]] == [{"audio"}, {"audio", "video"}]
    assert np.isfinite(aligner.score(lacking, known))
    assert np.isnan(aligner.score(lacking[:2], known[:2]))


def test_frames_are_interpolated_between_near_matches_only():
    own = np.array([2.0, 6.0, 40.0, 2.0])
    found = true_frames(own, np.array([1.0, 5.0, 70.0, 1.0]), 45)
    np.testing.assert_allclose(found[2:7], [1, 2, 3, 4, 5])
    assert found[40] == 70
    assert np.flatnonzero(~np.isnan(found)).tolist() == [2, 3, 4, 5, 6, 40]
    assert np.isnan(true_frames(np.empty(0), np.empty(0), 3)).all()
    assert true_frames(np.array([1.4]), np.array([2.0]), 3)[1] == 2


def test_targets_are_distributions_about_the_true_frame():
    at = np.array([np.nan, 2.0, 3.5, np.nan])
    targets = MatchTargets(at, np.array([np.nan] * 2 + [1.0, 2.0, 2.0, np.nan]))
    window = slice(0, 4)
    rows, columns = targets.targets(window, targets.span(window))
    np.testing.assert_allclose(rows.sum(axis=1), [0, 1, 1, 0])
    np.testing.assert_allclose(columns.sum(axis=0), [0, 0, 1, 1, 1, 0])
    assert rows[1].argmax() == 2
    assert rows[2, 3] == pytest.approx(rows[2, 4])


def test_frames_of_a_segment_are_equally_likely():
    targets = SegmentTargets(np.array([0, 0, -1, 1]), np.array([0, 1, 1]))
    rows, columns = targets.targets(slice(0, 4), slice(0, 3))
    np.testing.assert_allclose(rows, [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0.5, 0.5]])
    np.testing.assert_allclose(columns.sum(axis=0), 1)


# Pairs


def test_pairs_are_enough_for_alignments_like_those_of_ctw():
    aligner = fitted(supervision="pairs")
    ctw = CTWAligner().fit(X[:7])
    found, expected = (errors(a, X[7:], MATCHES[7:]) for a in (aligner, ctw))
    assert np.mean(found) < 1.5 * np.mean(expected)
    assert aligner.score(X[7:], MATCHES[7:]) == pytest.approx(-np.mean(found))


def test_pairs_have_no_use_for_y():
    aligner = SiameseAligner(supervision="pairs", trainer=Trainer(max_epochs=2))
    aligner.set_params(random_state=0).fit(X[:7])
    assert clone(aligner).fit(X[:7], CLASSES[:7]).history_ == aligner.history_
    pipeline = make_pipeline(aligner, SequencePooling(), EarlyFusionClassifier())
    assert pipeline.fit(X, CLASSES).predict(X).shape == (10,)


def test_warps_start_from_ctw_and_are_improved_by_embedded_frames():
    samples = [{name: X[name][i] for name in X.names} for i in range(7)]
    targets = PathTargets([*samples[:6], {"audio": samples[6]["audio"]}], X.names)
    ctw = CTWAligner(warp="basis").fit(X[:6])
    first = targets.pairs()
    assert [pair.sample for pair in first] == list(range(6))
    for pair, path in zip(first, ctw.paths_, strict=True):
        at = pair.targets.forward
        matches = np.column_stack([np.arange(len(at)), at])
        assert alignment_error(path["video"], matches) < 2

    true = PATHS[:6].astype(float)

    def embed(i, name):  # by the true time
        own = true[i][:, X.names.index(name)]
        frames = np.arange(len(samples[i][name]))
        return np.interp(frames, own, np.linspace(0, 1, len(own)))[:, None]

    errors_before, errors_after = (
        [
            np.abs(np.interp(m[:, 0], np.arange(len(t)), t) - m[:, 1]).mean()
            for m, t in zip(true, [p.targets.forward for p in pairs], strict=True)
        ]
        for pairs in (first, targets.renew(embed))
    )
    assert np.mean(errors_after) < np.mean(errors_before)


def test_warps_are_renewed_in_the_training(monkeypatch):
    renewed = []
    renew = PathTargets.renew
    monkeypatch.setattr(
        PathTargets, "renew", lambda *given: (renewed.append(1), renew(*given))[1]
    )
    clone(fitted(supervision="pairs")).fit(X[:7])  # 30 epochs of 2 batches
    assert len(renewed) == 1


def test_matches_beside_pairs_are_refused():
    with pytest.raises(ValueError, match=r"supervision='pairs' learns without"):
        SiameseAligner(supervision="pairs").fit(X, matches=MATCHES)


def test_pairs_need_a_complete_sample():
    lacking = Modalities({"audio": [X["audio"][0], None], "video": [None, np.eye(5)]})
    with pytest.raises(ValueError, match="no sample of fit has a sequence of every"):
        SiameseAligner(supervision="pairs").fit(lacking)


# In a Pipeline


def test_classes_are_refused_as_matches():
    pipeline = make_pipeline(
        SiameseAligner(trainer=SHORT), SequencePooling(), EarlyFusionClassifier()
    )
    with pytest.raises(ValueError, match=r"y is a ndarray .* FrozenEstimator"):
        pipeline.fit(X, CLASSES)


def test_matches_are_routed_through_a_pipeline():
    with sklearn.config_context(enable_metadata_routing=True):
        aligner = SiameseAligner(n_frames=20, trainer=SHORT, random_state=0)
        aligner.set_fit_request(matches=True)
        pipeline = make_pipeline(aligner, SequencePooling(), EarlyFusionClassifier())
        pipeline.fit(X, CLASSES, matches=MATCHES)
    assert pipeline[0].score(X, MATCHES) > -2


def test_a_fitted_aligner_is_frozen_in_a_pipeline():
    frozen = FrozenEstimator(fitted())
    pipeline = make_pipeline(frozen, SequencePooling(), EarlyFusionClassifier())
    assert pipeline.fit(X, CLASSES).predict(X).shape == (10,)


def test_options_are_searched_by_the_error():
    search = GridSearchCV(
        SiameseAligner(trainer=Trainer(max_epochs=10), random_state=0),
        {"trainer__lr": [1e-6, 5e-3]},
        cv=2,
    )
    assert search.fit(X, MATCHES).best_params_ == {"trainer__lr": 5e-3}


# Encoders


def test_modules_and_factories_are_encoders():
    def factory(shape):
        return torch.nn.Linear(*shape, 4)

    aligner = SiameseAligner(
        {"audio": torch.nn.Linear(3, 4), "video": factory}, trainer=SHORT
    ).fit(X[:7], MATCHES[:7])
    assert aligner.embed(X[7:])["video"][0].shape[1] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoders": {"audio": torch.nn.Linear(3, 4)}}, "different numbers"),
        ({"encoders": torch.nn.Linear(2, 4)}, "'audio': the module in encoders fails"),
        ({"encoders": torch.nn.Flatten()}, "'audio': .* returns shape"),
        ({"encoders": (0,)}, r"'audio': encoders=\(0,\)"),
        ({"shared": True}, "shared=True .* set shared=False"),
        ({"window": "sakoe_chiba", "radius": 0}, "cannot be aligned"),
        ({"reference": "touch"}, "reference='touch'"),
        ({"trainer": Trainer(pretrain_epochs=3)}, "pretrain_epochs=3"),
        ({"trainer": Trainer(callbacks=[])}, "callbacks"),
        ({"trainer": Trainer(selection_every=2)}, "selection_every=2"),
        ({"trainer": Trainer(dtype="bfloat16")}, "trainer__dtype"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SiameseAligner(**options).fit(X[:7], MATCHES[:7])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "needs the matches"),
        (MATCHES[:3], "y has 3 samples, and X has 7"),
        (MATCHES[:7, :, :1], r"y\[0\] is of shape"),
        ([1 + 100 * m for m in MATCHES[:7]], r"y\[0\] has frame \d+ of .*'audio'"),
        ([np.full((1, 2), np.nan)] * 7, "nothing can be learned"),
        ([["a", "b"]] * 7, r"y\[0\] is no array of numbers"),
        ("matches", "y is a str"),
    ],
)
def test_matches_that_do_not_fit_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        SiameseAligner(trainer=SHORT).fit(X[:7], y)


def test_segments_that_do_not_fit_are_refused():
    aligner = SiameseAligner(supervision="segments", trainer=SHORT)
    lengths = [[len(x), len(y)] for x, y in zip(X["audio"], X["video"], strict=True)]
    right = [[np.zeros(n, int) for n in own] for own in lengths]
    for wrong, message in [
        ([[np.zeros(3, int)] * 2, *right[1:]], "labels of modality 'audio' of shape"),
        ([right[0][:1], *right[1:]], "has 1 entries"),
        ([[right[0][0], right[0][1] + 1], *right[1:]], "in different orders"),
    ]:
        with pytest.raises(ValueError, match=message):
            aligner.fit(X, wrong)


def test_one_modality_has_nothing_to_match():
    with pytest.raises(ValueError, match="only modality 'audio'"):
        SiameseAligner().fit({"audio": X["audio"]}, MATCHES[..., :1])


def test_tables_pass_through():
    table = {"audio": np.eye(3), "video": np.ones((3, 2))}
    aligner = SiameseAligner().fit(table)
    np.testing.assert_array_equal(aligner.transform(table)["audio"], np.eye(3))
    with pytest.raises(ValueError, match="no frames to embed"):
        aligner.embed(table)


def test_sequences_of_one_frame():
    data = Modalities({"audio": [np.ones((1, 2))] * 3, "video": [np.ones((2, 2))] * 3})
    aligner = SiameseAligner(trainer=Trainer(max_epochs=2)).fit(data, [[[0, 0]]] * 3)
    assert aligner.paths_[0]["video"].tolist() == [[0, 0], [0, 1]]
