"""Modalities of unlike features on one time axis: what the aligner promises."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mmfusion import EarlyFusionClusterer, Modalities
from mmfusion.alignment import CTWAligner, DTWAligner
from mmfusion.alignment.ctw._alternation import fit_combined_ctw
from mmfusion.alignment.ctw._warping import uniform_warp, warp_error
from mmfusion.datasets import make_multimodal_sequences
from mmfusion.preprocessing import SequencePooling


def movements(n_samples=6, widths=None, seed=0, **options):
    """Sequences of unlike features that see one movement, and their true warps."""
    widths = widths or {"audio": 3, "video": 5}
    options = {"n_frames": 50, "n_classes": n_samples, **options}
    X, _, truth = make_multimodal_sequences(
        n_samples, widths, random_state=seed, **options
    )
    return X, truth


def without(X, *missing):
    """The same data without some sequences, told by sample and modality."""
    blocks = {
        name: [None if (i, name) in missing else x for i, x in enumerate(block)]
        for name, block in X.to_dict().items()
    }
    return Modalities(blocks)


def with_sequences(X, name, change):
    blocks = X.to_dict()
    return Modalities(blocks | {name: [change(x) for x in blocks[name]]})


def assert_same_paths(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert one.keys() == other.keys()
        for name, path in one.items():
            np.testing.assert_array_equal(path, other[name])


def assert_same_sequences(a, b, atol=1e-12):
    assert set(a.names) == set(b.names)
    for name in a.names:
        for one, other in zip(a[name], b[name], strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, atol=atol)


def errors(paths, truth, name="video"):
    return [warp_error(p[name], t) for p, t in zip(paths, truth, strict=True)]


def paths_of_unseen(aligner, X):
    """Paths by projections that are learned already, seen through DTWAligner."""
    scores = {
        name: [(x - aligner.means_[name]) @ aligner.projections_[name] for x in X[name]]
        for name in X.names
    }
    return DTWAligner(aligner.reference, metric=aligner.metric).fit(scores).paths_


# What it is for


def test_held_out_samples_are_aligned_better_than_by_themselves():
    X, truth = movements(
        16, (8, 5), nonlinear=True, sample_std=0, noise_std=0, n_noise_features=3,
        n_frames=100, seed=5000,
    )  # fmt: skip
    train, test, true = X[:10], X[10:], truth[10:]
    aligner = CTWAligner().fit(train)
    pooled = errors(paths_of_unseen(aligner, test), true, "modality_1")
    alone = [
        errors(CTWAligner().fit(test[[i]]).paths_, true[[i]], "modality_1")[0]
        for i in range(len(test))
    ]
    uniform = [
        warp_error(uniform_warp([len(block[i]) for block in test.blocks]), true[i])
        for i in range(len(test))
    ]
    assert np.mean(pooled) < np.mean(alone) / 2
    assert np.mean(pooled) < np.mean(uniform) / 2


def test_transform_warps_unseen_samples_along_the_paths_of_projected_frames():
    X, _ = movements(8)
    aligner = CTWAligner().fit(X[:5])
    out = aligner.transform(X[5:])
    for i, paths in enumerate(paths_of_unseen(aligner, X[5:])):
        x, path = X["video"][5 + i], paths["video"]
        expected = [
            x[path[path[:, 0] == t, 1]].mean(axis=0)
            for t in range(len(out["audio"][i]))
        ]
        np.testing.assert_allclose(out["video"][i], expected, atol=1e-12)
        np.testing.assert_array_equal(out["audio"][i], X["audio"][5 + i])
    assert len(aligner.paths_) == 5


@pytest.mark.parametrize("warp", ["basis", "free", "combined"])
def test_linear_movements_are_found_by_all_warps(warp):
    X, truth = movements(5, sample_std=0, noise_std=0.01, n_noise_features=2)
    aligner = CTWAligner(2, warp=warp).fit(X)
    assert np.mean(errors(aligner.paths_, truth)) < 0.6
    assert aligner.correlations_.min() > 0.9
    assert aligner.score(X) > 0.95


def test_a_start_from_equal_features_finds_what_uniform_warps_miss():
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=(200, 6)), axis=0)
    shift = np.concatenate([np.repeat(np.arange(60), 3), np.arange(60, 200)])
    X = [[x], [x[shift]]]
    found = CTWAligner(warp="dtw", ridge=0).fit(X).paths_[0]["modality_1"]
    assert np.abs(found[:, 0] - shift[found[:, 1]]).mean() < 0.5
    far = CTWAligner(warp="free", ridge=0).fit(X).paths_[0]["modality_1"]
    assert np.abs(far[:, 0] - shift[far[:, 1]]).mean() > 5


def test_a_start_from_equal_features_needs_them():
    X, _ = movements(2)
    with pytest.raises(ValueError, match=r"have \[3, 5\]; take another warp"):
        CTWAligner(warp="dtw").fit(X)


def test_one_recording_is_aligned_as_by_canonical_time_warping_alone():
    X, _ = movements(1, n_frames=120)
    aligner = CTWAligner(ridge=0, metric="sqeuclidean")
    out = aligner.fit_transform(X)
    expected = fit_combined_ctw([[block[0] for block in X.blocks]])
    np.testing.assert_array_equal(aligner.paths_[0]["video"], expected.warps[0])
    assert out["audio"][0].shape == (len(X["audio"][0]), 3)
    assert out["video"][0].shape == (len(X["audio"][0]), 5)


def test_more_than_two_modalities_are_aligned():
    X, truth = movements(
        6, {"audio": 3, "touch": 4, "video": 5}, sample_std=0, noise_std=0.05
    )
    aligner = CTWAligner(2).fit(X)
    for v, name in enumerate(X.names):
        found = errors(aligner.paths_, truth[:, :, [0, v]], name)
        assert np.mean(found) < 1
    assert set(aligner.projections_) == {"audio", "touch", "video"}


def test_equal_modalities_stay_what_they_are_as_under_dtw():
    X, _ = movements(4, {"audio": 3})
    X = Modalities({"audio": X["audio"], "video": X["audio"]})
    aligner = CTWAligner()
    out = aligner.fit_transform(X)
    assert_same_paths(aligner.paths_, DTWAligner().fit(X).paths_)
    assert_same_sequences(out, X)
    assert aligner.cost_ == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(aligner.correlations_, 1)
    assert aligner.score(X) == pytest.approx(1)


# What must not matter


def test_an_invertible_mixing_of_a_modality_changes_nothing():
    X, _ = movements()
    rng = np.random.default_rng(0)
    mixing, shift = rng.normal(size=(5, 5)), rng.normal(size=5)
    mixed = with_sequences(X, "video", lambda x: x @ mixing + shift)
    one, other = CTWAligner(ridge=0).fit(X), CTWAligner(ridge=0).fit(mixed)
    assert_same_paths(one.paths_, other.paths_)
    np.testing.assert_allclose(one.correlations_, other.correlations_)
    np.testing.assert_allclose(one.distances_, other.distances_, atol=1e-8)
    assert one.score(X) == pytest.approx(other.score(mixed))


def test_threads_change_nothing():
    X, _ = movements()
    one, other = CTWAligner(), CTWAligner(n_jobs=2)
    assert_same_sequences(one.fit_transform(X), other.fit_transform(X), 0)
    assert one.cost_ == other.cost_


# Fitted attributes, score, and the way back


def least_cost(costs):
    """Cost of the best path of steps (1, 0), (0, 1) and (1, 1), by loops."""
    total = np.full((len(costs) + 1, costs.shape[1] + 1), np.inf)
    total[0, 0] = 0
    for i, row in enumerate(costs):
        for j, cost in enumerate(row):
            before = min(total[i, j], total[i, j + 1], total[i + 1, j])
            total[i + 1, j + 1] = cost + before
    return total[-1, -1]


@pytest.mark.parametrize(("metric", "power"), [("euclidean", 1), ("sqeuclidean", 2)])
def test_the_last_alignment_has_the_least_cost_of_its_metric(metric, power):
    X, _ = movements(4)
    aligner = CTWAligner(metric=metric).fit(X)
    for i in range(len(X)):
        a, v = (
            (X[name][i] - aligner.means_[name]) @ aligner.projections_[name]
            for name in ("audio", "video")
        )
        costs = np.array([[np.linalg.norm(x - y) ** power for y in v] for x in a])
        path = aligner.paths_[i]["video"]
        along = costs[path[:, 0], path[:, 1]]
        assert along.sum() == pytest.approx(least_cost(costs))
        assert aligner.distances_[i] == pytest.approx([0, along.mean()])


def test_what_is_learned_does_not_depend_on_the_metric():
    X, _ = movements(4)
    one, other = (CTWAligner(metric=m).fit(X) for m in ("euclidean", "sqeuclidean"))
    for name in X.names:
        np.testing.assert_array_equal(one.projections_[name], other.projections_[name])
    np.testing.assert_array_equal(one.correlations_, other.correlations_)
    assert one.n_iter_ == other.n_iter_
    assert not np.allclose(one.distances_, other.distances_)


def test_a_frame_far_off_moves_the_path_by_distances_less_than_by_squares():
    X, truth = movements(10, sample_std=0.0)
    rng = np.random.default_rng(0)

    def disturbed(x):
        far = np.where(rng.random((len(x), 1)) < 0.1, 8.0, 0.0)
        return x + far * x.std(axis=0) * rng.choice([-1, 1], (len(x), x.shape[1]))

    later = with_sequences(X, "video", disturbed)
    found = {}
    for metric in ("euclidean", "sqeuclidean"):
        aligned = CTWAligner(metric=metric).fit(X).align(later)
        paths = [{name: own.path for name, own in s.items()} for s in aligned]
        found[metric] = np.mean(errors(paths, truth[:, :, [0, 1]], "video"))
    assert found["euclidean"] < 0.9 * found["sqeuclidean"]


def test_an_aligner_stored_without_a_metric_has_squares():
    X, _ = movements(4)
    expected = CTWAligner(metric="sqeuclidean").fit(X)
    state = CTWAligner().fit(X).__getstate__()
    del state["metric"]
    stored = CTWAligner.__new__(CTWAligner)
    stored.__setstate__(state)
    assert_same_sequences(stored.transform(X), expected.transform(X), 0)


def test_costs_are_measured_between_projected_frames():
    X, _ = movements()
    aligner = CTWAligner(metric="sqeuclidean").fit(X)
    for i in range(len(X)):
        z = {
            name: (X[name][i] - aligner.means_[name]) @ aligner.projections_[name]
            for name in X.names
        }
        path = aligner.paths_[i]["video"]
        costs = ((z["audio"][path[:, 0]] - z["video"][path[:, 1]]) ** 2).sum(axis=1)
        assert aligner.distances_[i] == pytest.approx([0, costs.mean()])
    assert aligner.cost_ == pytest.approx(aligner.distances_.mean())


def test_n_components_counts_the_directions_and_energy_decides_them():
    X, _ = movements(n_noise_features=2)
    for k in (1, 3):
        aligner = CTWAligner(k).fit(X)
        assert aligner.projections_["audio"].shape == (5, k)
        assert aligner.projections_["video"].shape == (7, k)
        assert aligner.correlations_.shape == (k,)
    few, all_ = CTWAligner(energy=0.1).fit(X), CTWAligner(energy=1.0).fit(X)
    assert len(few.correlations_) == 1
    assert len(all_.correlations_) == 5


def test_the_score_is_the_correlation_along_the_warps():
    X, _ = movements(5)
    aligner = CTWAligner(2).fit(X[:3])
    x, y = [], []
    for i, paths in enumerate(paths_of_unseen(aligner, X)):
        path = paths["video"]
        for t in range(len(X["audio"][i])):
            x.append(X["audio"][i][t])
            y.append(X["video"][i][path[path[:, 0] == t, 1]].mean(axis=0))
    x, y = x @ aligner.projections_["audio"], y @ aligner.projections_["video"]
    expected = np.mean([np.corrcoef(x[:, k], y[:, k])[0, 1] for k in (0, 1)])
    assert aligner.score(X) == pytest.approx(expected)


def test_the_score_falls_where_modalities_have_nothing_in_common():
    X, _ = movements(8)
    aligner = CTWAligner(2).fit(X)
    strangers = Modalities({"audio": X["audio"], "video": np.roll(X["video"], 1)})
    assert aligner.score(strangers) < aligner.score(X)


@pytest.mark.parametrize("n_frames", [None, 200])
def test_inverse_transform_gives_each_modality_its_own_time(n_frames):
    X, _ = movements()
    aligner = CTWAligner(n_frames=n_frames)
    out = aligner.fit_transform(X)
    back = aligner.inverse_transform(out)
    for name in X.names:
        for own, found in zip(X[name], back[name], strict=True):
            assert own.shape == found.shape
    for x, found in zip(X["audio"], back["audio"], strict=True):
        if n_frames is None:
            np.testing.assert_allclose(found, x, atol=1e-12)
        assert np.abs(found - x).max() < np.ptp(x, axis=0).max()


@pytest.mark.parametrize("reference", ["longest", "barycenter", "video"])
@pytest.mark.parametrize("n_frames", [None, 15])
def test_all_modalities_of_a_sample_have_one_length(reference, n_frames):
    X, _ = movements()
    out = CTWAligner(reference=reference, n_frames=n_frames).fit_transform(X)
    for a, v in zip(out["audio"], out["video"], strict=True):
        assert len(a) == len(v) == (n_frames or len(v))


def test_a_window_bounds_the_paths():
    X, _ = movements()
    for warp in ("basis", "free"):
        narrow = CTWAligner(warp=warp, window="sakoe_chiba", radius=0.05).fit(X)
        for paths in narrow.paths_:
            n, m = paths["video"][-1] + 1
            line = paths["video"] * (max(n, m) - 1) / (np.array([n, m]) - 1)
            assert np.abs(np.diff(line, axis=1)).max() <= 0.05 * max(n, m) + 2


def test_an_alternation_that_is_cut_short_warns():
    X, _ = movements()
    with pytest.warns(ConvergenceWarning, match=r"max_iter=1 .*Raise max_iter or tol"):
        aligner = CTWAligner(max_iter=1, tol=0, ridge=0).fit(X)
    assert aligner.n_iter_ == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CTWAligner().fit(X).n_iter_ > 1


# Missing modalities and tables


def test_incomplete_samples_are_aligned_by_what_they_have_and_teach_nothing():
    X, _ = movements(7, {"audio": 3, "touch": 4, "video": 5})
    gaps = without(X, (4, "video"), (5, "audio"), (6, "audio"), (6, "touch"))
    aligner, complete = CTWAligner(), CTWAligner().fit(X[:4])
    out = aligner.fit_transform(gaps)
    for name, projection in complete.projections_.items():
        np.testing.assert_array_equal(aligner.projections_[name], projection)
    np.testing.assert_array_equal(out.observed, gaps.observed)
    assert len(out["audio"][4]) == len(out["touch"][4])
    assert len(out["touch"][5]) == len(out["video"][5])
    np.testing.assert_array_equal(out["video"][6], X["video"][6])
    np.testing.assert_array_equal(np.isnan(aligner.distances_), ~gaps.observed)
    assert aligner.distances_[6, 2] == 0
    expected = complete.transform(without(X, (4, "video")))
    np.testing.assert_array_equal(out["touch"][4], expected["touch"][4])
    assert np.isfinite(aligner.score(gaps))


def test_a_lone_sequence_has_no_score():
    X, _ = movements()
    aligner = CTWAligner().fit(X)
    lone = without(X, *((i, "video") for i in range(6)))
    assert np.isnan(aligner.score(lone))
    assert_same_sequences(aligner.transform(lone), lone)


def test_tables_pass_through():
    X, _ = movements()
    table = np.random.default_rng(0).normal(size=(6, 3))
    aligner = CTWAligner()
    out = aligner.fit_transform(Modalities(X.to_dict() | {"survey": table}))
    np.testing.assert_array_equal(out["survey"], table)
    assert_same_sequences(out[["audio", "video"]], CTWAligner().fit_transform(X))
    assert set(aligner.projections_) == {"audio", "video"}
    assert np.isnan(aligner.distances_[:, 2]).all()
    alone = CTWAligner(modalities=[1, 2])
    np.testing.assert_array_equal(alone.fit_transform(table), table)
    assert alone.projections_ == {}
    assert np.isnan(alone.score(table))


def test_float32_stays_float32():
    X, _ = movements()
    single = Modalities({n: [x.astype(np.float32) for x in X[n]] for n in X.names})
    out = CTWAligner(n_frames=20).fit_transform(single)
    assert {x.dtype for block in out.blocks for x in block} == {np.dtype(np.float32)}
    assert_same_sequences(out, CTWAligner(n_frames=20).fit_transform(X), 1e-4)


# What is refused


def test_what_cannot_be_learned_is_refused_with_the_remedy():
    X, _ = movements()
    with pytest.raises(ValueError, match=r"only modality 'audio' holds sequences"):
        CTWAligner().fit(X[["audio"]])
    gaps = without(X, *((i, ("audio", "video")[i % 2]) for i in range(6)))
    with pytest.raises(ValueError, match=r"no sample .*\['audio', 'video'\].*leave"):
        CTWAligner().fit(gaps)
    with pytest.raises(ValueError, match=r"n_components=4, but .*'audio' have 3"):
        CTWAligner(4).fit(X)
    still = with_sequences(X, "video", np.ones_like)
    with pytest.raises(ValueError, match=r"modality 'video' are all the same.*leave"):
        CTWAligner().fit(still)
    flat = with_sequences(X, "audio", lambda x: x[:, [0, 0, 0]])
    with pytest.raises(ValueError, match=r"\['audio', 'video'\].*0 vary in only 1"):
        CTWAligner(2).fit(flat)
    with pytest.raises(ValueError, match="reference='speech' is no modality"):
        CTWAligner(reference="speech").fit(X)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x[:0], r"modality 'video': the sequence of sample 2 is empty"),
        (
            lambda x: np.where(np.arange(len(x))[:, None] == 3, np.nan, x),
            r"'video'.*sample 2 is NaN in frame 3, feature 0",
        ),
    ],
)
def test_bad_sequences_are_refused_by_modality_and_sample(spoil, message):
    X, _ = movements()
    fitted = CTWAligner().fit(X)
    video = list(X["video"])
    video[2] = spoil(video[2])
    bad = X.to_dict() | {"video": video}
    for method in (CTWAligner().fit, fitted.transform, fitted.score):
        with pytest.raises(ValueError, match=message):
            method(bad)


@pytest.mark.parametrize("warp", ["basis", "free", "combined"])
def test_a_window_without_a_path_is_refused_by_modality_and_sample(warp):
    X, _ = movements()
    video = [*X["video"][:2], X["video"][2][:3], *X["video"][3:]]
    bad = X.to_dict() | {"video": video}
    aligner = CTWAligner(warp=warp, window="sakoe_chiba", radius=2)
    with pytest.raises(ValueError, match=r"'video'.*sample 2 .*'audio'.*radius is"):
        aligner.fit(bad)


# In scikit-learn's tools


def test_it_pickles_and_clones():
    X, _ = movements()
    aligner = CTWAligner(2, reference="longest").fit(X[:4])
    copied = pickle.loads(pickle.dumps(aligner))
    assert_same_sequences(copied.transform(X), aligner.transform(X), 0)
    fresh = clone(aligner)
    assert not hasattr(fresh, "projections_")
    assert_same_sequences(fresh.fit(X[:4]).transform(X), aligner.transform(X), 0)


def test_a_search_over_a_pipeline_finds_classes():
    X, y, _ = make_multimodal_sequences(24, (3, 5), n_frames=40, random_state=0)
    search = GridSearchCV(
        make_pipeline(
            CTWAligner(),
            SequencePooling(["min", "max"]),
            EarlyFusionClusterer(KMeans(2, n_init=2, random_state=0)),
        ),
        {"ctwaligner__n_components": [1, 2]},
        scoring="adjusted_rand_score",
        cv=2,
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.8
    own = GridSearchCV(CTWAligner(), {"ridge": [0.0, 0.5]}, cv=2).fit(X)
    assert own.best_score_ > 0.8
