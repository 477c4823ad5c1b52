"""Sequences of several modalities on one time axis: what the aligner promises."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn import config_context
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mmfusion import EarlyFusionClusterer, Modalities
from mmfusion.alignment import DTWAligner, StepPattern, dtw_path
from mmfusion.alignment import _dtw_aligner as warping
from mmfusion.alignment.ctw._warping import uniform_warp, warp_error
from mmfusion.alignment.dtw._barycenter import dtw_barycenter
from mmfusion.alignment.dtw._soft import soft_dtw_alignment
from mmfusion.datasets import load_npz, make_multimodal_sequences
from mmfusion.preprocessing import (
    SequencePooling,
    SequenceResampler,
    padded_from_sequences,
)

NAMES = ("audio", "touch", "video")


def walk(rng, n_frames, d=2):
    return rng.normal(size=(n_frames, d)).cumsum(axis=0)


def make_walks(n_samples=6, seed=0, missing=(), dtype=np.float64):
    """Random walks of unequal lengths; `missing` has pairs (sample, modality)."""
    rng = np.random.default_rng(seed)
    blocks = {name: [] for name in NAMES}
    for i in range(n_samples):
        for name, block in blocks.items():
            x = walk(rng, rng.integers(5, 25)).astype(dtype)
            block.append(None if (i, name) in missing else x)
    return Modalities(blocks)


def slow_warp(x, path, n_frames):
    """The mean of what a path aligns with each frame, frame by frame."""
    out = np.full((n_frames, x.shape[1]), np.nan)
    for t in range(n_frames):
        frames = [x[s] for a, s in path if a == t]
        if frames:
            out[t] = np.mean(frames, axis=0)
    return out


def assert_same_sequences(a, b, rtol=0.0):
    assert a.names == b.names
    for name in a.names:
        for one, other in zip(a[name], b[name], strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)


# Warping


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 30),
    m=st.integers(1, 30),
    metric=st.sampled_from(["sqeuclidean", "manhattan", "cosine"]),
    step_pattern=st.sampled_from(["symmetric1", "symmetric2"]),
)
def test_frames_are_means_of_those_that_the_path_aligns(
    seed, n, m, metric, step_pattern
):
    rng = np.random.default_rng(seed)
    x, y = walk(rng, n), walk(rng, m)
    aligner = DTWAligner(metric=metric, step_pattern=step_pattern)
    out = aligner.fit_transform([[x], [y]])
    found = dtw_path(x, y, metric=metric, step_pattern=step_pattern)
    np.testing.assert_array_equal(aligner.paths_[0]["modality_1"], found.path)
    assert aligner.distances_.tolist() == [[0.0, found.normalized_cost]]
    np.testing.assert_array_equal(out["modality_0"][0], x)
    expected = slow_warp(y, found.path, n)
    np.testing.assert_allclose(out["modality_1"][0], expected, atol=1e-12)


@pytest.mark.parametrize("step_pattern", ["typeIIIc", "asymmetric", "symmetricP1"])
def test_frames_that_the_path_leaps_over_lie_between_their_neighbours(step_pattern):
    rng = np.random.default_rng(0)
    x, y = walk(rng, 21), walk(rng, 17)
    aligner = DTWAligner(step_pattern=step_pattern)
    out = aligner.fit_transform([[x], [y]])["modality_1"][0]
    expected = pd.DataFrame(slow_warp(y, aligner.paths_[0]["modality_1"], 21))
    np.testing.assert_allclose(out, expected.interpolate(), atol=1e-12)


def test_leaping_happens():
    leaps = StepPattern("leaps", (((1, 1, 1.0),), ((2, 1, 1.0),)), "rows")
    x, y = np.arange(5.0)[:, None], np.array([[0.0], [2.0], [4.0]])
    aligner = DTWAligner(step_pattern=leaps)
    out = aligner.fit_transform([[x], [y]])
    assert aligner.paths_[0]["modality_1"].tolist() == [[0, 0], [2, 1], [4, 2]]
    np.testing.assert_array_equal(out["modality_1"][0], x)
    back = aligner.inverse_transform(out)
    np.testing.assert_array_equal(back["modality_1"][0], y)


def test_identical_sequences_stay_what_they_are():
    x = walk(np.random.default_rng(0), 30, d=7)
    for reference in (0, "longest", "barycenter"):
        aligner = DTWAligner(reference)
        out = aligner.fit_transform([[x], [x], [x]])
        for block in out.blocks:
            np.testing.assert_allclose(block[0], x, atol=1e-12)
        assert aligner.cost_ == pytest.approx(0, abs=1e-12)


def test_frames_that_were_repeated_are_put_together_again():
    rng = np.random.default_rng(0)
    x = walk(rng, 40)
    slow = np.repeat(x, rng.integers(1, 4, size=40), axis=0)
    aligner = DTWAligner()
    out = aligner.fit_transform([[x], [slow]])
    np.testing.assert_allclose(out["modality_1"][0], x, atol=1e-12)
    assert aligner.cost_ == 0


def test_a_known_warp_is_found():
    X, _, truth = make_multimodal_sequences(5, (4, 4), noise_std=0, random_state=0)
    aligned, other = (
        np.concatenate([X.blocks[v][i][truth[i, :, v]] for i in range(5)])
        for v in (0, 1)
    )
    # both see one movement through maps of their own; this leads from one to the other
    bridge = np.linalg.lstsq(other, aligned, rcond=None)[0]
    aligner = DTWAligner(projections={"modality_1": bridge}).fit(X)
    for i in range(5):
        error = warp_error(aligner.paths_[i]["modality_1"], truth[i])
        uniform = uniform_warp([len(block[i]) for block in X.blocks])
        assert error < 1 < warp_error(uniform, truth[i])
    assert aligner.cost_ < DTWAligner().fit(X).cost_ / 10


@pytest.mark.parametrize("gamma", [1e-6, 0.5])
def test_soft_alignment_weighs_frames_by_what_is_expected(gamma):
    rng = np.random.default_rng(0)
    x, y = walk(rng, 12), walk(rng, 9)
    aligner = DTWAligner(gamma=gamma)
    out = aligner.fit_transform([[x], [y]])["modality_1"][0]
    expected = soft_dtw_alignment(x, y, gamma=gamma).expected
    slow = [np.average(y, axis=0, weights=row) for row in expected]
    np.testing.assert_allclose(out, slow, atol=1e-12)
    costs = ((x[:, None] - y) ** 2).sum(axis=2)
    assert aligner.cost_ * 2 == pytest.approx(np.average(costs, weights=expected))
    path = dtw_path(x, y).path
    np.testing.assert_array_equal(aligner.paths_[0]["modality_1"], path)


def test_soft_alignment_stays_within_a_window():
    rng = np.random.default_rng(0)
    x, y = walk(rng, 12), walk(rng, 9)
    band = {"window": "sakoe_chiba", "radius": 2}
    aligner = DTWAligner(gamma=0.5, **band)
    out = aligner.fit_transform([[x], [y]])["modality_1"][0]
    expected = soft_dtw_alignment(x, y, gamma=0.5, **band).expected
    slow = [np.average(y, axis=0, weights=row) for row in expected]
    np.testing.assert_allclose(out, slow, atol=1e-12)
    whole = DTWAligner(gamma=0.5).fit([[x], [y]])
    assert aligner.cost_ != whole.cost_


def test_soft_alignment_becomes_hard():
    X = make_walks()
    soft, hard = DTWAligner(gamma=1e-6), DTWAligner()
    assert_same_sequences(soft.fit_transform(X), hard.fit_transform(X), 1e-9)
    np.testing.assert_allclose(soft.distances_, hard.distances_, rtol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"window": "sakoe_chiba", "radius": 6},
        {"window": "itakura", "max_slope": 4.0},
        {"penalty": 3.0},
        {"max_jump": 5, "step_pattern": "symmetric2"},
        {"max_length": 33},
        {"max_length": 1.1, "step_pattern": "symmetric2"},
        {"metric": "euclidean"},
    ],
    ids=str,
)
def test_options_of_the_path_reach_it(options):
    rng = np.random.default_rng(0)
    x, y = walk(rng, 30), walk(rng, 25)
    found = dtw_path(x, y, **options)
    path = DTWAligner(**options).fit([[x], [y]]).paths_[0]["modality_1"]
    np.testing.assert_array_equal(path, found.path)
    plain = dtw_path(x, y).path
    assert path.shape != plain.shape or (path != plain).any()


# The axis


def test_the_reference_is_by_position_or_by_name():
    X = make_walks()
    expected = DTWAligner("video").fit_transform(X)
    assert_same_sequences(DTWAligner(2).fit_transform(X), expected)
    assert_same_sequences(DTWAligner(-1).fit_transform(X), expected)
    for i in range(len(X)):
        np.testing.assert_array_equal(expected["video"][i], X["video"][i])


@pytest.mark.parametrize("reference", [0, "video", "longest", "barycenter"])
@pytest.mark.parametrize("n_frames", [None, 15])
def test_all_modalities_of_a_sample_have_one_length(reference, n_frames):
    X = make_walks(missing={(1, "audio"), (2, "video"), (3, "audio"), (3, "video")})
    out = DTWAligner(reference, n_frames=n_frames).fit_transform(X)
    np.testing.assert_array_equal(out.observed, X.observed)
    for i in range(len(X)):
        lengths = {len(b[i]) for b in out.blocks if b[i] is not None}
        assert len(lengths) == 1
        assert n_frames is None or lengths == {n_frames}


def test_the_longest_sequence_is_the_axis_where_asked_or_where_the_reference_lacks():
    X = make_walks(missing={(2, "audio")})
    longest = DTWAligner("longest").fit_transform(X)
    first = DTWAligner("audio").fit_transform(X)
    for i in range(len(X)):
        lengths = [len(b[i]) if b[i] is not None else 0 for b in X.blocks]
        assert len(longest["video"][i]) == max(lengths)
    np.testing.assert_array_equal(first["video"][2], longest["video"][2])
    assert len(first["video"][0]) == len(X["audio"][0])


def test_the_barycenter_is_the_axis():
    X = make_walks(missing={(1, "audio")})
    aligner = DTWAligner("barycenter")
    out = aligner.fit_transform(X)
    for i in range(len(X)):
        own = {n: X[n][i] for n in NAMES if X[n][i] is not None}
        center = dtw_barycenter(list(own.values())).sequence
        for name, x in own.items():
            found = dtw_path(center, x)
            np.testing.assert_array_equal(aligner.paths_[i][name], found.path)
            expected = slow_warp(x, found.path, len(center))
            np.testing.assert_allclose(out[name][i], expected, atol=1e-12)
            v = NAMES.index(name)
            assert aligner.distances_[i, v] == pytest.approx(found.normalized_cost)


def test_n_frames_resamples_what_is_aligned():
    X = make_walks(missing={(0, "audio"), (0, "touch")})
    free = DTWAligner().fit_transform(X)
    fixed = DTWAligner(n_frames=11).fit_transform(X)
    for name in NAMES:
        for before, after in zip(free[name], fixed[name], strict=True):
            if before is None:
                assert after is None
                continue
            times = np.linspace(0, len(before) - 1, 11)
            expected = [np.interp(times, np.arange(len(before)), f) for f in before.T]
            np.testing.assert_allclose(after.T, expected, atol=1e-12)


# Missing modalities, and what is kept of fit


def test_a_lone_sequence_is_left_as_it_is_and_what_is_missing_stays_missing():
    X = make_walks(missing={(0, "audio"), (0, "video"), (1, "touch")})
    aligner = DTWAligner()
    out = aligner.fit_transform(X)
    np.testing.assert_array_equal(out["touch"][0], X["touch"][0])
    assert out["audio"][0] is None
    assert [set(paths) for paths in aligner.paths_[:3]] == [
        {"touch"},
        {"audio", "video"},
        set(NAMES),
    ]
    np.testing.assert_array_equal(np.isnan(aligner.distances_), ~X.observed)
    assert aligner.distances_[0, 1] == 0
    assert aligner.cost_ == pytest.approx(np.nanmean(aligner.distances_))


def test_a_sample_may_lack_everything():
    X = make_walks(3, missing={(1, name) for name in NAMES})
    aligner = DTWAligner()
    assert not aligner.fit_transform(X).observed[1].any()
    assert aligner.paths_[1] == {}


def test_a_modality_may_be_absent_later():
    X = make_walks()
    later = Modalities(X.to_dict() | {"audio": None})
    out = DTWAligner().fit(X).transform(later)
    assert not out.observed[:, 0].any()
    assert_same_sequences(
        out[["touch", "video"]],
        DTWAligner("longest").fit_transform(X[["touch", "video"]]),
    )


def test_transform_aligns_samples_it_has_never_seen():
    X = make_walks(8)
    aligner = DTWAligner("longest").fit(X[:3])
    expected = DTWAligner("longest").fit_transform(X)
    assert_same_sequences(aligner.transform(X), expected)
    assert len(aligner.paths_) == 3


def test_fit_transform_aligns_once_and_gives_what_transform_gives(monkeypatch):
    X, calls = make_walks(), []
    align = warping.find_path
    monkeypatch.setattr(
        warping, "find_path", lambda *a, **kw: calls.append(1) or align(*a, **kw)
    )
    aligner = DTWAligner()
    out = aligner.fit_transform(X)
    assert len(calls) == 2 * len(X)
    assert_same_sequences(aligner.transform(X), out)


def test_the_score_is_minus_the_mean_cost():
    X = make_walks(missing={(1, "video")})
    aligner = DTWAligner("longest").fit(X[:4])
    assert aligner.score(X[:4]) == pytest.approx(-aligner.cost_)
    assert aligner.score(X) == pytest.approx(-DTWAligner("longest").fit(X).cost_)
    assert aligner.cost_ > 0


@pytest.mark.parametrize("reference", ["audio", "barycenter"])
def test_inverse_transform_gives_each_own_frame_the_mean_of_what_is_aligned_with_it(
    reference,
):
    X = make_walks(missing={(1, "video")})
    aligner = DTWAligner(reference)
    out = aligner.fit_transform(X)
    back = aligner.inverse_transform(out)
    np.testing.assert_array_equal(back.observed, X.observed)
    for i, paths in enumerate(aligner.paths_):
        for name, path in paths.items():
            expected = slow_warp(out[name][i], path[:, ::-1], len(X[name][i]))
            np.testing.assert_allclose(back[name][i], expected, atol=1e-12)


def test_inverse_transform_undoes_a_warp_without_cost():
    rng = np.random.default_rng(0)
    x = walk(rng, 20)
    slow = np.repeat(x, rng.integers(1, 4, size=20), axis=0)
    aligner = DTWAligner()
    out = aligner.fit_transform([[x], [slow]])
    back = aligner.inverse_transform(out)
    np.testing.assert_allclose(back["modality_1"][0], slow, atol=1e-12)
    # 39 frames have the 20 among them
    longer = DTWAligner(n_frames=39)
    out = longer.fit_transform([[x], [slow]])
    back = longer.inverse_transform(out)
    np.testing.assert_allclose(back["modality_1"][0], slow, atol=1e-12)
    np.testing.assert_allclose(back["modality_0"][0], x, atol=1e-12)


def test_inverse_transform_refuses_what_fit_did_not_align():
    X = make_walks(4, missing={(1, "video")})
    aligner = DTWAligner().fit(X)
    out = aligner.transform(X)
    with pytest.raises(ValueError, match="X has 3 samples, and fit had 4"):
        aligner.inverse_transform(out[:3])
    with pytest.raises(ValueError, match="X has 4 samples, and alignments had 3"):
        aligner.inverse_transform(out, alignments=aligner.align(X[:3]))
    with pytest.raises(
        TypeError, match=r"alignments\[0\]\['audio'\] is of type ndarray"
    ):
        aligner.inverse_transform(out, alignments=aligner.paths_)
    with pytest.raises(TypeError, match=r"alignments\[0\] is of type int; expected"):
        aligner.inverse_transform(out, alignments=[1, 2, 3, 4])
    video = list(out["video"])
    video[1] = out["audio"][1]
    with pytest.raises(ValueError, match=r"'video'.*sample 1 was missing when"):
        aligner.inverse_transform(Modalities(out.to_dict() | {"video": video}))
    video = [out["video"][0][:-1], *out["video"][1:]]
    with pytest.raises(ValueError, match=r"'video'.*sample 0 has .* frames"):
        aligner.inverse_transform(Modalities(out.to_dict() | {"video": video}))


@pytest.mark.parametrize("options", [{}, {"gamma": 1.0}, {"n_frames": 12}], ids=str)
def test_samples_never_seen_are_aligned_and_returned_to_their_own_time(options):
    X = make_walks(8, missing={(6, "video")})
    aligner = DTWAligner("longest", **options).fit(X[:3])
    later = X[3:]
    own = DTWAligner("longest", **options)
    out = own.fit_transform(later)
    alignments = aligner.align(later)
    for sample, paths in zip(alignments, own.paths_, strict=True):
        assert sample.keys() == paths.keys()
        for name, path in paths.items():
            np.testing.assert_array_equal(sample[name].path, path)
    costs = [[sample[n].cost for n in NAMES if n in sample] for sample in alignments]
    assert [c for row in costs for c in row] == own.distances_[later.observed].tolist()
    back = aligner.inverse_transform(out, alignments=alignments)
    assert_same_sequences(back, own.inverse_transform(out))
    last = aligner.inverse_transform(out[-2:], alignments=alignments[-2:])
    assert_same_sequences(last, back[-2:])


# Open ends


@pytest.mark.parametrize("step_pattern", ["symmetric1", "asymmetric"])
@pytest.mark.parametrize("open_begin", [False, True])
@pytest.mark.parametrize("open_end", [False, True])
def test_open_ends_leave_frames_out(step_pattern, open_begin, open_end):
    rng = np.random.default_rng(3)
    x, y = walk(rng, 20), walk(rng, 30)
    options = {
        "step_pattern": step_pattern,
        "open_begin": open_begin,
        "open_end": open_end,
    }
    aligner = DTWAligner(**options)
    out = aligner.fit_transform([[x], [y]])
    found = dtw_path(x, y, **options)
    path = aligner.paths_[0]["modality_1"]
    np.testing.assert_array_equal(path, found.path)
    assert (path[0, 1] > 0, path[-1, 1] < 29) == (open_begin, open_end)
    warped = pd.DataFrame(slow_warp(y, path, 20)).interpolate()
    np.testing.assert_allclose(out["modality_1"][0], warped, atol=1e-12)
    back = aligner.inverse_transform(out)["modality_1"][0]
    own = pd.DataFrame(slow_warp(warped.to_numpy(), path[:, ::-1], 30))
    held = own.interpolate(limit_area="inside").ffill().bfill()
    np.testing.assert_allclose(back, held, atol=1e-12)


def test_a_part_is_found_in_a_longer_recording():
    rng = np.random.default_rng(0)
    recording = walk(rng, 90)
    part = recording[30:50]
    X = [[part, part], [recording, recording]]
    aligner = DTWAligner(open_begin=True, open_end=True)
    out = aligner.fit_transform(X)
    np.testing.assert_array_equal(out["modality_1"][1], part)
    assert aligner.paths_[0]["modality_1"][[0, -1]].tolist() == [[0, 30], [19, 49]]
    assert aligner.cost_ == 0


def test_open_ends_are_limited_on_both_sequences():
    rng = np.random.default_rng(3)
    x, y = walk(rng, 20), walk(rng, 30)
    options = {"open_begin": (2, 5), "open_end": (0, 0.2)}
    aligner = DTWAligner(**options)
    out = aligner.fit_transform([[x], [y]])
    path = aligner.paths_[0]["modality_1"]
    np.testing.assert_array_equal(path, dtw_path(x, y, **options).path)
    assert (path[0] > 0).any()
    warped = pd.DataFrame(slow_warp(y, path, 20)).ffill().bfill()
    np.testing.assert_allclose(out["modality_1"][0], warped, atol=1e-12)
    back = aligner.inverse_transform(out)["modality_1"][0]
    assert len(back) == 30


# Given costs


def given_costs(X, reference="audio"):
    return [
        {
            name: cdist(sample[reference], x)
            for name, x in sample.items()
            if name != reference
        }
        for sample in ({n: X[n][i] for n in NAMES} for i in range(len(X)))
    ]


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_given_costs_replace_a_metric(gamma):
    X = make_walks()
    costs = given_costs(X)
    aligner = DTWAligner(metric="precomputed", gamma=gamma)
    expected = DTWAligner(metric="euclidean", gamma=gamma)
    out = aligner.fit_transform(X, costs=costs)
    assert_same_sequences(out, expected.fit_transform(X), 1e-9)
    np.testing.assert_allclose(aligner.distances_, expected.distances_)
    score = aligner.fit(X, costs=costs).score(X[2:], costs=costs[2:])
    assert score == pytest.approx(expected.score(X[2:]))
    assert_same_sequences(aligner.transform(X[2:], costs=costs[2:]), out[2:])
    path = aligner.align(X[2:3], costs=costs[2:3])[0]["video"].path
    np.testing.assert_array_equal(path, expected.paths_[2]["video"])


def test_given_costs_that_do_not_fit_are_refused():
    X = make_walks()
    costs = given_costs(X)
    aligner = DTWAligner(metric="precomputed")
    with pytest.raises(ValueError, match=r"needs costs=.*set_fit_request"):
        aligner.fit(X)
    with pytest.raises(ValueError, match="costs has 5 samples, and X has 6"):
        aligner.fit(X, costs=costs[1:])
    with pytest.raises(ValueError, match=r"costs\[0\] has \['vidoe'\]"):
        aligner.fit(X, costs=[costs[0] | {"vidoe": 1}, *costs[1:]])
    lacking = {"touch": costs[1]["touch"]}
    with pytest.raises(ValueError, match=r"'video'.*sample 1.*\['touch'\] only"):
        aligner.fit(X, costs=[costs[0], lacking, *costs[2:]])
    turned = costs[0] | {"video": costs[0]["video"].T}
    with pytest.raises(ValueError, match=r"'video'.*sample 0.*a row for each frame"):
        aligner.fit(X, costs=[turned, *costs[1:]])
    spoilt = costs[0] | {"video": np.full_like(costs[0]["video"], np.nan)}
    with pytest.raises(ValueError, match=r"'video'.*sample 0.*costs.*nan"):
        aligner.fit(X, costs=[spoilt, *costs[1:]])
    with pytest.raises(ValueError, match="leave costs out"):
        DTWAligner().fit(X, costs=costs)
    with pytest.raises(ValueError, match="let reference be a modality"):
        DTWAligner("barycenter", metric="precomputed").fit(X, costs=costs)


def test_given_costs_are_routed_in_a_pipeline():
    X = make_walks()
    costs = given_costs(X)
    with config_context(enable_metadata_routing=True):
        aligner = DTWAligner(metric="precomputed", n_frames=9)
        aligner.set_fit_request(costs=True).set_transform_request(costs=True)
        out = make_pipeline(aligner, SequencePooling()).fit_transform(X, costs=costs)
    expected = DTWAligner(metric="euclidean", n_frames=9)
    pooled = make_pipeline(expected, SequencePooling()).fit_transform(X)
    for one, other in zip(out.blocks, pooled.blocks, strict=True):
        np.testing.assert_allclose(one, other)


# Forms of input and output


def test_forms_of_input_agree():
    X = make_walks(missing={(2, "video")})
    expected = DTWAligner().fit_transform(X)
    forms = [
        X.to_dict(),
        [list(block) for block in X.blocks],
        {name: padded_from_sequences(X[name]) for name in NAMES},
    ]
    for form in forms:
        found = DTWAligner().fit_transform(form)
        for one, other in zip(found.blocks, expected.blocks, strict=True):
            assert_same_sequences(Modalities([one]), Modalities([other]))


def test_one_long_recording_per_modality():
    rng = np.random.default_rng(0)
    x = walk(rng, 3000, d=3)
    kept = np.sort(rng.choice(3000, 2000, replace=False))
    X = Modalities({"audio": [x[kept]], "video": [x]})
    aligner = DTWAligner(window="sakoe_chiba")
    out = aligner.fit_transform(X)
    assert out["audio"][0].shape == out["video"][0].shape == (2000, 3)
    path = aligner.paths_[0]["video"]
    assert np.abs(kept[path[:, 0]] - path[:, 1]).mean() < 1


def test_tables_pass_through_as_they_are():
    X = make_walks()
    notes = pd.DataFrame({"note": list("abcdef")})
    words = sparse.csr_array(np.eye(6, 7))
    mixed = Modalities(X.to_dict() | {"notes": notes, "words": words})
    aligner = DTWAligner()
    out = aligner.fit_transform(mixed)
    assert out["notes"] is notes
    assert (out["words"] != words).nnz == 0
    assert_same_sequences(out[list(NAMES)], DTWAligner().fit_transform(X))
    assert np.isnan(aligner.distances_[:, 3:]).all()


def test_a_plain_table_comes_out_as_it_came_in():
    table = np.random.default_rng(0).normal(size=(10, 4))
    aligner = DTWAligner(modalities=2)
    np.testing.assert_array_equal(aligner.fit_transform(table), table)
    assert aligner.paths_ == [{}] * 10
    assert np.isnan(aligner.cost_)


def test_sequences_of_one_modality_keep_their_form():
    block = make_walks()["audio"]
    out = DTWAligner(n_frames=5).set_output(transform="pandas").fit_transform(block)
    assert out.shape == (6,)
    assert {x.shape for x in out} == {(5, 2)}


def test_set_output_turns_tables_into_frames_and_leaves_sequences():
    X = make_walks()
    survey = np.random.default_rng(0).normal(size=(6, 2))
    mixed = Modalities(X.to_dict() | {"survey": survey})
    aligner = DTWAligner().set_output(transform="pandas")
    out = aligner.fit_transform(mixed)
    assert list(out["survey"].columns) == ["survey__x0", "survey__x1"]
    assert_same_sequences(out[list(NAMES)], DTWAligner().fit_transform(X))
    names = [f"{n}__x{j}" for n in (*NAMES, "survey") for j in (0, 1)]
    assert aligner.get_feature_names_out().tolist() == names


@pytest.mark.parametrize("options", [{}, {"gamma": 1.0}, {"n_frames": 9}], ids=str)
@pytest.mark.parametrize("reference", [0, "barycenter"])
def test_float32_stays_float32(options, reference):
    single, double = make_walks(dtype=np.float32), make_walks()
    out = DTWAligner(reference, **options).fit_transform(single)
    assert {x.dtype for block in out.blocks for x in block} == {np.dtype(np.float32)}
    expected = DTWAligner(reference, **options).fit_transform(double)
    assert_same_sequences(out, expected, 1e-3)


@pytest.mark.parametrize("options", [{}, {"gamma": 1.0}, {"reference": "barycenter"}])
def test_threads_and_repetition_change_nothing(options):
    X = make_walks(12)
    first = DTWAligner(**options)
    expected = first.fit_transform(X)
    for n_jobs in (None, 2):
        again = DTWAligner(n_jobs=n_jobs, **options)
        assert_same_sequences(again.fit_transform(X), expected)
        np.testing.assert_array_equal(again.distances_, first.distances_)


def test_it_pickles_and_clones():
    X = make_walks()
    matrix = np.array([[1.0], [-1.0]])
    aligner = DTWAligner("longest", projections=dict.fromkeys(NAMES, matrix)).fit(X)
    copied = pickle.loads(pickle.dumps(aligner))
    assert_same_sequences(copied.transform(X), aligner.transform(X))
    out = aligner.transform(X)
    assert_same_sequences(copied.inverse_transform(out), aligner.inverse_transform(out))
    fresh = clone(aligner)
    assert not hasattr(fresh, "paths_")
    assert_same_sequences(fresh.fit_transform(X), aligner.transform(X))


def test_a_clone_keeps_frozen_projections_and_says_so_of_others():
    X = make_walks()
    pca = PCA(1).fit(np.concatenate(X["audio"]))
    aligner = DTWAligner(projections=dict.fromkeys(NAMES, pca))
    expected = aligner.fit_transform(X)
    with pytest.raises(ValueError, match=r"not fitted.*FrozenEstimator"):
        clone(aligner).fit(X)
    frozen = DTWAligner(projections=dict.fromkeys(NAMES, FrozenEstimator(pca)))
    assert_same_sequences(clone(frozen).fit_transform(X), expected)


# Modalities of unlike features


@pytest.fixture
def unlike():
    X, _, _ = make_multimodal_sequences(
        4, {"audio": 3, "video": 5}, n_frames=30, random_state=0
    )
    return X


def test_projections_measure_costs_and_leave_features(unlike):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(3, 2))
    pca = PCA(2).fit(np.concatenate(unlike["video"]))
    aligner = DTWAligner(projections={"audio": matrix, "video": pca})
    out = aligner.fit_transform(unlike)
    for i in range(len(unlike)):
        audio, video = unlike["audio"][i], unlike["video"][i]
        found = dtw_path(audio @ matrix, pca.transform(video))
        np.testing.assert_array_equal(aligner.paths_[i]["video"], found.path)
        expected = slow_warp(video, found.path, len(audio))
        np.testing.assert_allclose(out["video"][i], expected, atol=1e-12)


def test_a_callable_may_compare_unlike_features(unlike):
    def energies(a, b):
        return np.abs((a**2).sum(axis=1)[:, None] - (b**2).sum(axis=1))

    aligner = DTWAligner(metric=energies).fit(unlike)
    found = dtw_path(unlike["audio"][0], unlike["video"][0], metric=energies)
    np.testing.assert_array_equal(aligner.paths_[0]["video"], found.path)


@pytest.mark.parametrize("reference", [0, "barycenter"])
def test_unlike_features_are_refused_with_their_remedies(unlike, reference):
    with pytest.raises(ValueError, match="CTWAligner") as refusal:
        DTWAligner(reference).fit(unlike)
    for part in ("'audio' has 3", "'video' has 5", "projections="):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("projections", "message"),
    [
        ({"speech": np.eye(3)}, r"projections names \['speech'\]"),
        ({"audio": np.eye(4)}, r"'audio'.*sample 0, of shape .* cannot be projected"),
        ({"audio": np.ones(3)}, r"'audio'.*sample 0.*expected finite numbers"),
    ],
)
def test_projections_that_do_not_fit_are_refused(unlike, projections, message):
    with pytest.raises(ValueError, match=message):
        DTWAligner(projections=projections).fit(unlike)


# What is refused


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x[:0], r"modality 'video': the sequence of sample 2 is empty"),
        (
            lambda x: np.where(np.arange(len(x))[:, None] == 3, np.nan, x),
            r"'video'.*sample 2 is NaN in frame 3, feature 0.*SequenceResampler",
        ),
        (
            lambda x: np.where(np.arange(len(x))[:, None] == 3, np.inf, x),
            r"'video'.*sample 2 is infinite in frame 3",
        ),
    ],
)
def test_bad_sequences_are_refused_by_modality_and_sample(spoil, message):
    X = make_walks()
    fitted = DTWAligner().fit(X)
    video = list(X["video"])
    video[2] = spoil(video[2])
    bad = X.to_dict() | {"video": video}
    for method in (DTWAligner().fit, fitted.transform, fitted.score):
        with pytest.raises(ValueError, match=message):
            method(bad)


def test_constraints_without_a_path_are_refused_by_modality_and_sample():
    x = walk(np.random.default_rng(0), 30)
    X = {"audio": [x, x], "video": [x, x[:3]]}
    with pytest.raises(ValueError, match=r"'video'.*sample 1 .*'audio'.*radius is"):
        DTWAligner(window="sakoe_chiba", radius=2).fit(X)
    with pytest.raises(ValueError, match=r"'video'.*sample 1 .*'audio'.*loosen"):
        DTWAligner(max_jump=2).fit(X)
    X["video"][1] = walk(np.random.default_rng(1), 50)
    with pytest.raises(
        ValueError, match=r"'video'.*sample 1 .*max_length=40.*50 cells"
    ):
        DTWAligner(max_length=40).fit(X)


def test_a_multiple_limits_the_length_of_the_paths_of_all_samples():
    X = make_walks()
    free, limited = DTWAligner().fit(X), DTWAligner(max_length=1.2).fit(X)
    n_shorter = 0
    for i, paths in enumerate(limited.paths_):
        for name, path in paths.items():
            n_frames = len(X["audio"][i]), len(X[name][i])
            assert len(path) <= 1.2 * max(n_frames)
            n_shorter += len(path) < len(free.paths_[i][name])
    assert n_shorter > 0
    assert (limited.distances_ >= 0).all()
    later = limited.align(X[:1])[0]
    np.testing.assert_array_equal(later["video"].path, limited.paths_[0]["video"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "precomputed"}, "needs costs="),
        ({"gamma": 1.0, "open_end": True}, "gamma=1.0 is a mean"),
        ({"metric": "taxi"}, "metric='taxi' is not one of"),
        (
            {"reference": 3},
            r"reference=3 is no modality.* \['audio', 'touch', 'video'\]",
        ),
        ({"reference": "speech"}, "reference='speech' is no modality"),
        ({"step_pattern": "waltz"}, "waltz"),
        ({"step_pattern": "asymmetric", "penalty": 1.0}, "penalty"),
        ({"gamma": 1.0, "window": "multiscale"}, "gamma=1.0 is a mean over all"),
        ({"gamma": 1.0, "step_pattern": "symmetric2"}, "gamma=1.0 is a mean"),
        ({"gamma": 1.0, "max_length": 2.0}, "gamma=1.0 is a mean"),
        ({"n_frames": 1}, "n_frames"),
        ({"gamma": -1.0}, "gamma"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DTWAligner(**options).fit(make_walks())


def test_a_table_cannot_be_the_reference():
    X = make_walks()
    mixed = Modalities({"survey": np.ones((6, 2))} | X.to_dict())
    with pytest.raises(ValueError, match=r"'survey' is a table.*\['audio', 'touch'"):
        DTWAligner().fit(mixed)


def test_a_table_cannot_take_the_place_of_sequences_nor_they_its():
    X = make_walks()
    mixed = Modalities(X.to_dict() | {"survey": np.ones((6, 2))})
    fitted = DTWAligner().fit(mixed)
    table = Modalities(mixed.to_dict() | {"video": np.ones((6, 2))})
    with pytest.raises(ValueError, match="'video' of X is a table, but was sequences"):
        fitted.transform(table)
    sequences = Modalities(mixed.to_dict() | {"survey": X["video"]})
    with pytest.raises(ValueError, match="'survey' of X is sequences, but was a table"):
        fitted.transform(sequences)


# On real data, in scikit-learn's tools


@pytest.mark.parametrize(
    ("file", "fixed_width"),
    [
        ("ts_basicmotions.npz", SequencePooling(["mean", "std"])),
        ("ts_articularyword.npz", SequenceResampler(20, flatten=True)),
    ],
)
def test_a_search_over_a_pipeline_runs_on_real_data(shared_data, file, fixed_width):
    loaded = load_npz(shared_data / file)
    few = np.flatnonzero(loaded.target < 4)[::2]
    X, y = loaded.data[few], loaded.target[few]
    search = GridSearchCV(
        make_pipeline(
            DTWAligner(window="sakoe_chiba"),
            fixed_width,
            EarlyFusionClusterer(KMeans(4, n_init=2, random_state=0)),
        ),
        {"dtwaligner__radius": [0.05, 0.2], "dtwaligner__reference": [0, 1]},
        scoring="adjusted_rand_score",
        cv=3,
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.2  # by chance it is 0
    assert set(search.predict(X)) == set(range(4))
