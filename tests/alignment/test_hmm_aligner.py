"""HMMAligner: planted warps and changes, restrictions, limits, missing modalities."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from mmfusion import Modalities
from mmfusion.alignment import HMMAligner, ProductHMMAligner
from mmfusion.datasets import make_audio_visual_sequences

N_STATES = 5
ALIGNERS = [HMMAligner, ProductHMMAligner]


def planted(n_samples=8, *, seed=0, n_modalities=1, durations=(2, 6), noise=0.1):
    """Samples that pass the same states, each modality at its own pace."""
    rng = np.random.default_rng(seed)
    data, edges = {}, {}
    for name in ["audio", "video"][:n_modalities]:
        means = 2 * rng.normal(size=(N_STATES, 3))
        frames = rng.integers(durations[0], durations[1] + 1, (n_samples, N_STATES))
        data[name] = [
            np.repeat(means, d, axis=0) + noise * rng.normal(size=(d.sum(), 3))
            for d in frames
        ]
        edges[name] = [np.concatenate([[0], np.cumsum(d)]) for d in frames]
    return Modalities(data), edges


@pytest.mark.parametrize("decoding", ["posterior", "viterbi"])
@pytest.mark.parametrize("n_modalities", [1, 2])
def test_planted_changes_are_found_also_of_later_samples(decoding, n_modalities):
    X, edges = planted(14, n_modalities=n_modalities)
    aligner = HMMAligner(N_STATES, decoding=decoding).fit(X[:10])
    later = aligner.align(X[10:])
    for name in X.names:
        found = [e[name] for e in aligner.edges_] + [a[name].edges for a in later]
        np.testing.assert_allclose(found, edges[name], atol=0.5)


def test_a_planted_warp_is_undone():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(8, 3)).cumsum(axis=0)
    warps = [np.repeat(np.arange(8), rng.integers(1, 5, 8)) for _ in range(6)]
    aligner = HMMAligner(8).fit([[steps[w] for w in warps]])
    first, other = aligner.edges_[0]["modality_0"], aligner.edges_[1]["modality_0"]
    middles = np.arange(len(warps[0])) + 0.5
    partners = np.interp(middles, first, other).astype(int)
    np.testing.assert_array_equal(warps[1][partners], warps[0])


def test_all_samples_have_one_axis_of_mean_pace():
    X, edges = planted(n_modalities=2)
    aligner = HMMAligner(N_STATES)
    out = aligner.fit_transform(X)
    lengths = {len(x) for block in out.blocks for x in block}
    longest = [max(len(a), len(v)) for a, v in zip(*X.blocks, strict=True)]
    assert lengths == {round(np.mean(longest))}
    assert aligner.axis_edges_[-1] == round(np.mean(longest))
    shares = [e / e[-1] for own in edges.values() for e in own]
    np.testing.assert_allclose(
        aligner.axis_edges_, aligner.axis_edges_[-1] * np.mean(shares, axis=0), atol=0.2
    )
    # what was at one place of a state is at one frame of the axis
    means = [np.mean([x[2] for x in block], axis=0) for block in out.blocks]
    for block, mean in zip(out.blocks, means, strict=True):
        assert max(np.abs(x[2] - mean).max() for x in block) < 0.5


def test_confidence_is_the_posterior_of_the_state_and_low_where_states_are_alike():
    X, _ = planted()
    aligner = HMMAligner(N_STATES).fit(X)
    posteriors = aligner.state_posteriors(X)["audio"]
    states = aligner.decode(X)["audio"]
    for i, sample in enumerate(aligner.confidence_):
        rows = np.arange(len(states[i]))
        np.testing.assert_allclose(sample["audio"], posteriors[i][rows, states[i]])
        np.testing.assert_allclose(posteriors[i].sum(axis=1), 1)
        assert (np.diff(states[i]) >= 0).all()
    clear = np.mean([s["audio"].mean() for s in aligner.confidence_])
    noisy, _ = planted(noise=3.0)
    unclear = HMMAligner(N_STATES).fit(noisy)
    assert np.mean([s["audio"].mean() for s in unclear.confidence_]) < clear - 0.05


# Restrictions


def test_durations_and_skips_are_respected():
    X, _ = planted(noise=1.0, durations=(3, 5))
    options = dict(decoding="viterbi", max_iter=3, tol=10)
    for lowest, highest in ((3, None), (1, 5), (3, 5)):
        aligner = HMMAligner(
            N_STATES, min_duration=lowest, max_duration=highest, **options
        ).fit(X)
        frames = np.diff([e["audio"] for e in aligner.edges_], axis=1)
        assert frames.min() >= lowest
        assert frames.max() <= (highest or 99)
    with_skips = HMMAligner(N_STATES, max_skip=1, **options)
    shorter = [np.delete(x, np.arange(4, 8), axis=0) for x in X["audio"]]
    for e in with_skips.fit([shorter]).edges_:
        left_out = np.diff(e["modality_0"]) == 0
        assert not (left_out[1:] & left_out[:-1]).any()
        assert not left_out[[0, -1]].any()


def test_a_minimum_duration_of_one_frame_is_none():
    X, _ = planted(noise=1.0)
    none = HMMAligner(N_STATES).fit(X)
    for one in (1, [1] * N_STATES, 0.01, {"video": 5}):
        if isinstance(one, dict):
            with pytest.raises(ValueError, match=r"names \['video'\]"):
                HMMAligner(N_STATES, min_duration=one).fit(X)
            continue
        other = HMMAligner(N_STATES, min_duration=one).fit(X)
        assert other.score(X) == none.score(X)
    assert HMMAligner(N_STATES, min_duration=2).fit(X).score(X) != none.score(X)


def test_as_many_states_as_frames_without_skips_is_the_identity():
    rng = np.random.default_rng(0)
    X = Modalities({"audio": list(rng.normal(size=(3, 7, 2)))})
    for decoding in ("posterior", "viterbi"):
        aligner = HMMAligner(7, decoding=decoding).fit(X)
        for path in aligner.paths_:
            np.testing.assert_array_equal(path["audio"], [[t, t] for t in range(7)])
        for before, after in zip(
            X["audio"], aligner.transform(X)["audio"], strict=True
        ):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("options", "length", "message"),
    [
        ({}, 4, "'audio': the sequence of sample 2 has 4 frames, .*need at least 5"),
        (dict(min_duration=2), 9, "sample 2 has 9 frames, .* at least 10"),
        (dict(max_duration=6), 31, "sample 2 has 31 frames, .* at most 30"),
        (dict(max_skip=3), 1, "sample 2 has 1 frames, .* at least 2"),
        (dict(joint=True), 4, "sample 2 has 4 frames, .* at least 5"),
        (
            dict(max_skip=1, min_duration=4, max_duration=4),
            13,
            "'audio': no path through the 5 states explains sample 2 of 13 frames",
        ),
    ],
)
def test_sequences_of_other_lengths_than_states_allow_are_refused(
    options, length, message
):
    rng = np.random.default_rng(0)
    good = [rng.normal(size=(20, 3)) for _ in range(3)]
    wrong = [*good[:2], rng.normal(size=(length, 3))]
    aligner = HMMAligner(N_STATES, max_iter=2, tol=10, **options)
    with pytest.raises(ValueError, match=message):
        aligner.fit({"audio": good}).transform({"audio": wrong})
    with pytest.raises(ValueError, match="sample 2"):
        aligner.fit({"audio": wrong})


def test_options_by_modality_are_used_and_checked():
    X, _ = planted(n_modalities=2)
    aligner = HMMAligner(
        N_STATES, min_duration={"audio": 2}, outlier_share={"audio": 0, "video": 0.1}
    ).fit(X)
    assert aligner.transitions_["audio"].shape == (2 * N_STATES, 2 * N_STATES)
    assert aligner.transitions_["video"].shape == (N_STATES, N_STATES)
    reliability = aligner.reliability(X)
    assert (reliability["audio"][0] == 1).all()
    assert 0 < reliability["video"][0].min() < 1
    with pytest.raises(ValueError, match="joint=True has one clock"):
        HMMAligner(N_STATES, joint=True, min_duration={"audio": 2}).fit(X)
    with pytest.raises(ValueError, match="min_duration names"):
        HMMAligner(N_STATES, min_duration={"smell": 2}).fit(X)
    with pytest.raises(ValueError, match="reference='barycenter'"):
        HMMAligner(N_STATES, reference="barycenter").fit(X)


# Several modalities


def test_joint_modalities_share_one_path():
    X, _ = planted(n_modalities=2)
    aligner = HMMAligner(N_STATES, joint=True).fit(X)
    for sample, audio, video in zip(aligner.edges_, *X.blocks, strict=True):
        np.testing.assert_allclose(
            sample["audio"] / len(audio), sample["video"] / len(video)
        )


@pytest.mark.parametrize("cls", ALIGNERS)
def test_missing_modalities_are_marginalised(cls):
    X, _, _ = make_audio_visual_sequences(12, missing_rate=0.3, random_state=0)
    aligner = cls(8).fit(X)
    out = aligner.transform(X)
    np.testing.assert_array_equal(out.observed, X.observed)
    np.testing.assert_array_equal(np.isnan(aligner.distances_), ~X.observed)
    for name in X.names:
        lacking = [x is None for x in aligner.decode(X)[name]]
        np.testing.assert_array_equal(lacking, ~X.observed[:, X.names.index(name)])
    assert np.isfinite(aligner.score(X))
    alone = X[["audio"]].to_dict()["audio"]
    present = [x for x in alone if x is not None]
    if cls is HMMAligner:  # each modality is learned alone after the joint iterations
        one = HMMAligner(8, n_joint_iter=0).fit(X)
        np.testing.assert_allclose(
            [e["audio"] for e in one.edges_ if "audio" in e],
            [
                e["audio"]
                for e in HMMAligner(8, init="equal").fit({"audio": present}).edges_
            ],
            atol=1e-6,
        )


@pytest.mark.parametrize("cls", ALIGNERS)
def test_the_unit_of_a_modality_only_shifts_the_score(cls):
    X, _, _ = make_audio_visual_sequences(10, random_state=0)
    one = cls(8).fit(X)
    for unit in (1e-6, 1e6):
        scaled = X.to_dict() | {"video": [unit * x for x in X["video"]]}
        other = cls(8).fit(scaled)
        for a, b in zip(one.edges_, other.edges_, strict=True):
            np.testing.assert_allclose(a["video"], b["video"], atol=1e-6)
        n_frames = sum(map(len, X["video"]))
        n_steps = n_frames if cls is ProductHMMAligner else 2 * n_frames
        shift = n_frames * 3 * np.log(unit) / n_steps
        assert other.score(scaled) == pytest.approx(one.score(X) - shift)


@pytest.mark.parametrize("cls", ALIGNERS)
def test_float32_and_read_only_input_is_computed_in_float64(cls):
    X, _, _ = make_audio_visual_sequences(6, random_state=0)
    single = {n: [x.astype(np.float32) for x in X[n]] for n in X.names}
    double = {n: [x.astype(np.float64) for x in block] for n, block in single.items()}
    for block in single.values():
        for x in block:
            x.flags.writeable = False
    one, other = cls(8).fit(single), cls(8).fit(double)
    assert one.score(single) == pytest.approx(other.score(double), rel=1e-12)
    assert one.transform(single)["audio"][0].dtype == np.float32


@pytest.mark.parametrize("cls", ALIGNERS)
def test_robust_to_single_frames_constants_and_many_features(cls):
    rng = np.random.default_rng(0)
    one_frame = {n: [rng.normal(size=(1, 2)) for _ in range(3)] for n in "ab"}
    aligner = cls(1).fit(one_frame)
    assert aligner.paths_[0]["a"].tolist() == [[0, 0]]
    constant = {n: [np.ones((6, 2)) for _ in range(3)] for n in "ab"}
    assert np.isfinite(cls(2).fit(constant).score(constant))
    wide = {n: [rng.normal(size=(8, 500)) for _ in range(3)] for n in "ab"}
    aligner = cls(3).fit(wide)
    assert np.isfinite(aligner.distances_).all()
    assert all(np.isfinite(s["a"]).all() for s in aligner.confidence_)


@pytest.mark.parametrize("cls", ALIGNERS)
def test_a_fit_that_ends_too_early_is_warned_of(cls):
    X, _, _ = make_audio_visual_sequences(6, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_iter=1 iterations"):
        aligner = cls(8, max_iter=1).fit(X)
    assert not aligner.converged_
    assert aligner.n_iter_ == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        aligner = cls(8).fit(X)
    assert aligner.converged_
    for objective in aligner.objective_history_.values():
        assert (np.diff(objective) >= -1e-9 * np.abs(objective[1:])).all()


@pytest.mark.parametrize("cls", ALIGNERS)
def test_aligned_samples_return_to_their_own_time(cls):
    X, _, _ = make_audio_visual_sequences(6, noise_std=0.1, random_state=0)
    aligner = cls(8).fit(X)
    back = aligner.inverse_transform(aligner.transform(X))
    for name in X.names:
        for before, after in zip(X[name], back[name], strict=True):
            assert before.shape == after.shape
            assert np.abs(before - after).mean() < 0.2
