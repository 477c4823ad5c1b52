"""Pair hidden Markov models on data sets: what the aligner promises."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from mmfusion import Modalities
from mmfusion.alignment import (
    DTWAligner,
    PairHMMAligner,
    dtw_path,
    soft_dtw_alignment,
)
from mmfusion.alignment.ctw._warping import warp_error
from mmfusion.datasets import make_multimodal_sequences


def walks(n_samples=4, seed=0, noise=0.3, n_features=3):
    """Random walks, and the same at another pace under noise, with the true frames."""
    rng = np.random.default_rng(seed)
    audio, video, truth = [], [], []
    for _ in range(n_samples):
        x = np.cumsum(rng.standard_normal((60, n_features)), axis=0)
        at = np.sort(rng.integers(0, 60, 70))
        audio.append(x)
        video.append(x[at] + noise * rng.standard_normal((70, n_features)))
        truth.append(at)
    return Modalities({"audio": audio, "video": video}), truth


def mean_frames(path, n_frames):
    t, s = path.T
    return np.bincount(s, t, n_frames) / np.bincount(s, minlength=n_frames)


def test_without_gaps_it_is_soft_dtw_and_its_likeliest_path_dtw():
    X, _ = walks()
    aligner = PairHMMAligner(decode="viterbi").fit(X)
    softness = aligner.softness_["video"]
    total = 0.0
    for i in range(len(X)):
        x, y = X["audio"][i], X["video"][i]
        soft = soft_dtw_alignment(x, y, gamma=softness)
        np.testing.assert_allclose(
            aligner.match_posteriors(X)[i]["video"], soft.expected, atol=1e-9
        )
        costs = ((x[:, None] - y) ** 2).sum(axis=2)
        path = aligner.paths_[i]["video"]
        assert costs[tuple(path.T)].sum() == pytest.approx(dtw_path(x, y).cost)
        total -= soft.value / softness
    n_frames = sum(len(x) for block in X.blocks for x in block)
    assert aligner.score(X) == pytest.approx(total / n_frames)


def test_the_softness_is_a_multiple_of_the_cost_along_the_best_paths():
    X, _ = walks()
    costs = [
        ((x[i] - y[j]) ** 2).sum()
        for x, y in zip(X["audio"], X["video"], strict=True)
        for i, j in dtw_path(x, y).path
    ]
    aligner = PairHMMAligner(scale=2.5).fit(X)
    assert aligner.softness_["video"] == pytest.approx(2.5 * np.median(costs))


def test_units_do_not_matter():
    X, _ = walks()
    other = Modalities(
        {name: [1e-3 * x for x in block] for name, block in X.to_dict().items()}
    )
    one, two = (PairHMMAligner(gap_weight=0.05).fit(Z) for Z in (X, other))
    for i in range(len(X)):
        np.testing.assert_allclose(
            two.match_posteriors(other)[i]["video"],
            one.match_posteriors(X)[i]["video"],
            atol=1e-9,
        )


def test_frames_are_found_and_errors_are_where_it_is_unsure():
    X, truth = walks(8, noise=1.0)
    aligner = PairHMMAligner().fit(X)
    errors, spreads = [], []
    for i, at in enumerate(truth):
        found = mean_frames(aligner.paths_[i]["video"], 70)
        errors.append(np.abs(found - at))
        spreads.append(aligner.spread_[i]["video"])
    errors, spreads = np.concatenate(errors), np.concatenate(spreads)
    assert errors.mean() < 2
    order = np.argsort(spreads)
    half = len(order) // 2
    assert errors[order[:half]].mean() < 0.7 * errors[order[half:]].mean()
    by_dtw = DTWAligner().fit(X)
    of_dtw = [
        np.abs(mean_frames(by_dtw.paths_[i]["video"], 70) - at).mean()
        for i, at in enumerate(truth)
    ]
    assert errors.mean() < 1.1 * np.mean(of_dtw)


def test_an_inserted_part_has_no_counterpart():
    X, truth = walks(6)
    rng = np.random.default_rng(1)
    blocks = X.to_dict()
    video = [
        np.vstack([y[:30], 30 + 5 * rng.standard_normal((15, 3)), y[30:]])
        for y in blocks["video"]
    ]
    aligner = PairHMMAligner(gap_weight=0.05).fit(blocks | {"video": video})
    for i, at in enumerate(truth):
        path = aligner.paths_[i]["video"]
        inside = (path[:, 1] >= 30) & (path[:, 1] < 45)
        assert inside.sum() <= 1
        found = np.searchsorted(path[:, 1], [10, 60])
        expected = at[[10, 45]]
        assert np.abs(path[found, 0] - expected).max() <= 4
        assert aligner.match_posterior_[i]["video"][:, [33]].sum() < 0.1
        # of frames that are left out, the confidence is that of having no counterpart
        assert aligner.confidence_[i]["video"][33] > 0.9


@pytest.mark.parametrize("gap_weight", [0.0, 0.05])
def test_the_objective_never_decreases(gap_weight):
    X, _ = walks()
    aligner = PairHMMAligner(
        transitions="learned",
        noise="diagonal",
        gap_weight=gap_weight,
        tol=0,
        max_iter=8,
    )
    with pytest.warns(ConvergenceWarning):
        aligner.fit(X)
    objective = aligner.objective_history_["video"]
    assert (np.diff(objective) >= -1e-9 * np.abs(objective[:-1])).all()
    assert objective[-1] > objective[0]
    np.testing.assert_allclose(aligner.transitions_["video"].sum(axis=1), 1)


def test_features_of_more_noise_weigh_less():
    X, _ = walks(6)
    rng = np.random.default_rng(0)
    noisy = [y + [0, 0, 4] * rng.standard_normal(y.shape) for y in X["video"]]
    aligner = PairHMMAligner(noise="diagonal").fit(
        {"audio": X["audio"], "video": noisy}
    )
    weights = aligner.feature_weights_["video"]
    assert weights[2] < 0.5 * weights[:2].min()
    assert np.prod(weights) == pytest.approx(1)


def test_modalities_of_different_features_are_brought_to_common_ones():
    X, _, truth = make_multimodal_sequences(
        8, {"audio": 3, "video": 5}, n_frames=50, n_classes=8, random_state=0
    )
    aligner = PairHMMAligner(max_iter=5, tol=1e-2).fit(X[:6])
    assert aligner.projections_["video"].shape[0] == 6
    unseen = aligner.align(X[6:])
    for i, sample in enumerate(unseen):
        error = warp_error(sample["video"].path, truth[6 + i])
        assert error < 1.5


def test_samples_without_the_reference_have_their_longest_sequence_as_axis():
    X, _ = walks(5)
    blocks = X.to_dict() | {"touch": [x[::2] for x in X["audio"]]}
    blocks["audio"] = [None, *blocks["audio"][1:]]
    aligner = PairHMMAligner().fit(blocks)
    assert (np.diff(aligner.paths_[0]["video"], axis=1) == 0).all()
    assert aligner.distances_[0, 1] == 0
    assert np.isnan(aligner.distances_[0, 0])
    assert aligner.distances_[0, 2] > 0
    assert aligner.spread_[0]["touch"].shape == (30,)


def test_results_of_fit_are_those_of_align_and_of_the_matrix():
    X, _ = walks(3)
    aligner = PairHMMAligner(gap_weight=0.01)
    warped = aligner.fit_transform(X)
    again = aligner.transform(X)
    for i, sample in enumerate(aligner.align(X)):
        np.testing.assert_array_equal(sample["video"].path, aligner.paths_[i]["video"])
        np.testing.assert_allclose(warped["video"][i], again["video"][i])
        stored = aligner.match_posterior_[i]["video"]
        assert sparse.issparse(stored)
        dense = aligner.match_posteriors(X)[i]["video"]
        np.testing.assert_allclose(stored.toarray(), dense, atol=1e-6)
        confidence = aligner.confidence_[i]["video"]
        assert (confidence >= 0).all()
        assert (confidence <= 1).all()
        assert sample["video"].confidence == pytest.approx(confidence.mean())


def test_a_window_limits_the_posterior():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 40, 2))
    X = {"audio": [x], "video": [y]}
    aligner = PairHMMAligner(window="sakoe_chiba", radius=3).fit(X)
    i, j = aligner.match_posterior_[0]["video"].nonzero()
    assert np.abs(i - j).max() <= 3


def test_identical_sequences_of_constant_frames_are_aligned():
    X = {"audio": [np.ones((5, 2))], "video": [np.ones((5, 2))]}
    aligner = PairHMMAligner(noise="diagonal", transitions="learned", tol=0.1).fit(X)
    assert np.isfinite(aligner.score(X))
    path = aligner.paths_[0]["video"]
    assert path[0].tolist() == [0, 0]
    assert path[-1].tolist() == [4, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "longest"}, "is no modality, by position or name"),
        ({"metric": "hamming"}, "metric='hamming' is not one of"),
        ({"noise": "diagonal", "metric": "cosine"}, "weighs squared differences"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    X, _ = walks(2)
    with pytest.raises(ValueError, match=message):
        PairHMMAligner(**options).fit(X)


def test_data_without_pairs_and_costs_without_a_path_are_refused():
    X, _ = walks(2)
    blocks = X.to_dict()
    alone = {"audio": [blocks["audio"][0], None], "video": [None, blocks["video"][1]]}
    with pytest.raises(ValueError, match="no sample of fit has sequences of both"):
        PairHMMAligner().fit(alone)

    def forbid(x, y):
        costs = np.ones((len(x), len(y)))
        costs[len(x) // 2] = np.inf if len(x) == 10 else 1
        return costs

    aligner = PairHMMAligner(metric=forbid).fit(X)
    short = {"audio": [blocks["audio"][0][:10]], "video": [blocks["video"][0]]}
    with pytest.raises(ValueError, match="sample 0 has no path to 'audio'"):
        aligner.transform(short)
