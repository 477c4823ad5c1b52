"""Properties of generated sequences with different clocks and a known alignment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmfusion.datasets import make_multimodal_sequences


def warped(X, paths, v, i):
    return X.blocks[v][i][paths[i, :, v]]


def unexplained(target, predictor):
    """Return the share of variance that no linear map of the predictor explains."""
    predictor = np.column_stack([predictor, np.ones(len(predictor))])
    residual = target - predictor @ np.linalg.lstsq(predictor, target, rcond=None)[0]
    return (residual**2).sum() / ((target - target.mean(axis=0)) ** 2).sum()


def test_the_same_seed_gives_the_same_data():
    first, second = (
        make_multimodal_sequences(missing_rate=0.2, random_state=3) for _ in range(2)
    )
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(first[2], second[2])
    assert make_multimodal_sequences(random_state=4)[0] != first[0]


@given(
    n_frames=st.integers(2, 40),
    rates=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
    missing_rate=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 100),
)
def test_every_path_runs_from_the_first_frame_to_the_last_by_steps_of_one_at_most(
    n_frames, rates, missing_rate, seed
):
    X, _, paths = make_multimodal_sequences(
        4,
        (1, 2, 1),
        n_frames=n_frames,
        frame_rates=(min(rates), max(rates)),
        missing_rate=missing_rate,
        random_state=seed,
    )
    assert paths.shape == (4, n_frames, 3)
    assert paths.dtype == np.int64
    for i, v in np.ndindex(X.shape):
        path, sequence = paths[i, :, v], X.blocks[v][i]
        if sequence is None:
            assert (path == -1).all()
        else:
            assert path[0] == 0
            assert path[-1] == len(sequence) - 1
            assert np.isin(np.diff(path), [0, 1]).all()


def test_missing_shares_are_exact_and_no_sample_lacks_all_modalities():
    X, _, _ = make_multimodal_sequences(
        20, {"a": 1, "b": 1}, missing_rate={"a": 0.75, "b": 0.25}, random_state=0
    )
    np.testing.assert_array_equal((~X.observed).sum(axis=0), [15, 5])
    assert X.observed.any(axis=1).all()


def test_names_widths_and_class_sizes_are_those_of_the_options():
    X, y, _ = make_multimodal_sequences(
        7, {"audio": 3, "video": 5}, n_classes=3, n_noise_features=[2, 0]
    )
    assert X.names == ("audio", "video")
    assert {e.shape[1] for e in X["audio"]} == {5}
    assert {e.shape[1] for e in X["video"]} == {5}
    assert sorted(np.bincount(y)) == [2, 2, 3]


def test_with_all_frames_recorded_the_alignment_is_the_diagonal():
    X, _, paths = make_multimodal_sequences(3, n_frames=30, frame_rates=(1, 1))
    assert {e.shape[0] for block in X.blocks for e in block} == {30}
    np.testing.assert_array_equal(paths - np.arange(30)[:, None], 0)


@pytest.mark.parametrize("nonlinear", [False, True])
def test_modalities_depend_on_the_same_latent_trajectory(nonlinear):
    X, _, _ = make_multimodal_sequences(
        6,
        (4, 7),
        n_components=2,
        noise_std=0,
        frame_rates=(1, 1),
        nonlinear=nonlinear,
        random_state=0,
    )
    features = np.hstack([np.vstack(list(block)) for block in X.blocks])
    np.testing.assert_allclose(features.std(axis=0), 1)
    # a linear map of two latent coordinates has rank 2, a nonlinear one more
    rank = np.linalg.matrix_rank(features, tol=1e-8 * len(features))
    assert (rank > 2) if nonlinear else (rank == 2)


def test_along_the_true_path_one_modality_explains_the_other():
    X, _, paths = make_multimodal_sequences(
        20, (2, 2), n_frames=300, noise_std=0, random_state=0
    )
    true, uniform = [], []
    for i in range(20):
        a, b = (warped(X, paths, v, i) for v in (0, 1))
        true.append(unexplained(a, b))
        a, b = (
            s[np.linspace(0, len(s) - 1, 300).round().astype(int)]
            for s in (X.blocks[0][i], X.blocks[1][i])
        )
        uniform.append(unexplained(a, b))
    assert max(true) < 0.01  # not 0: the two record different points of time
    assert np.mean(uniform) > 10 * np.mean(true)


def test_samples_of_a_class_differ_by_their_own_deviation_and_noise_only():
    options = dict(frame_rates=(1, 1), random_state=0, n_frames=200)
    X, y, _ = make_multimodal_sequences(8, sample_std=0, noise_std=0, **options)
    stacked = np.stack(list(X.blocks[0]))
    for c in (0, 1):
        np.testing.assert_array_equal(stacked[y == c], stacked[y == c][:1].repeat(4, 0))
    assert np.abs(stacked[y == 0][0] - stacked[y == 1][0]).max() > 0.5

    X, y, _ = make_multimodal_sequences(8, sample_std=0, noise_std=(0.5, 2), **options)
    for block, noise_std in zip(X.blocks, (0.5, 2), strict=True):
        of_class = np.stack(list(block))[y == 0]
        assert of_class.std(axis=0, ddof=1).mean() == pytest.approx(
            noise_std * 0.92,
            rel=0.05,  # the mean of the deviation of 4 Gaussian numbers
        )

    X, y, _ = make_multimodal_sequences(8, sample_std=0.5, noise_std=0, **options)
    of_class = np.stack(list(X.blocks[0]))[y == 0]
    assert of_class.std(axis=0).mean() > 0.1
    assert np.abs(np.diff(of_class, axis=1)).max() < 0.5  # smooth


def test_noise_features_are_independent_of_the_trajectory():
    X, _, _ = make_multimodal_sequences(
        10, (2, 2), n_noise_features=2, n_frames=500, frame_rates=(1, 1), random_state=0
    )
    features = np.hstack([np.vstack(list(block)) for block in X.blocks])
    noise = features[:, [2, 3, 6, 7]]
    np.testing.assert_allclose(noise.std(axis=0), 1, rtol=0.05)
    assert unexplained(noise, features[:, [0, 1, 4, 5]]) > 0.99


def test_frame_rates_are_the_shares_of_recorded_frames():
    X, _, _ = make_multimodal_sequences(
        50, (1,), n_frames=500, frame_rates=(0.4, 0.6), random_state=0
    )
    lengths = np.array([len(e) for e in X.blocks[0]])
    assert (lengths >= 0.4 * 500).all()
    assert (lengths <= 0.6 * 500 + 2).all()
    assert len(set(lengths)) > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(n_frames=1), "n_frames=1"),
        (dict(n_samples=0), "n_samples=0"),
        (dict(n_classes=0), "n_classes=0"),
        (dict(n_components=0), "n_components=0"),
        (dict(frame_rates=(0, 0.5)), r"within \(0, 1\]"),
        (dict(frame_rates=(0.9, 0.3)), r"within \(0, 1\]"),
        (dict(noise_std={"audio": 1}), "the modalities are"),
        (dict(missing_rate=0.6), "add up to at most 1"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_multimodal_sequences(**options)
