"""Kernels: values, bandwidths, centring, normalisation, checks, missing modalities."""

import shutil
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics.pairwise import linear_kernel, rbf_kernel
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline

from mmfusion import Modalities
from mmfusion.alignment import DTWKernel
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.mkl import MKLClusterer, ModalityKernels

RNG = np.random.default_rng(0)
X, Y = make_multimodal_blobs(
    40, {"audio": 3, "video": 5}, centers=3, cluster_std=0.5, random_state=0
)
OTHER, _ = make_multimodal_blobs(
    7, {"audio": 3, "video": 5}, centers=3, cluster_std=0.5, random_state=1
)


def slow_kernel(kernel, A, B, gamma):
    """One pair of rows after another."""
    rules = {
        "rbf": lambda a, b: np.exp(-gamma * ((a - b) ** 2).sum()),
        "linear": lambda a, b: a @ b,
        "poly": lambda a, b: (gamma * (a @ b) + 1.0) ** 3,
        "cosine": lambda a, b: a @ b / np.sqrt((a @ a) * (b @ b)),
        "laplacian": lambda a, b: np.exp(-gamma * np.abs(a - b).sum()),
        "chi2": lambda a, b: np.exp(-gamma * ((a - b) ** 2 / (a + b)).sum()),
    }
    return np.array([[rules[kernel](a, b) for b in B] for a in A])


@pytest.mark.parametrize(
    "kernel", ["rbf", "linear", "poly", "cosine", "laplacian", "chi2"]
)
@pytest.mark.parametrize("normalize", ["trace", "cosine", None])
def test_centring_and_normalising_are_those_of_the_feature_space(kernel, normalize):
    A, B = RNG.uniform(0.1, 1, (15, 4)), RNG.uniform(0.1, 1, (6, 4))
    made = ModalityKernels(kernel, scaling=None, normalize=normalize).fit(A)
    gamma = made.gamma_[0]
    everything = np.vstack([A, B])
    K = slow_kernel(kernel, everything, everything, gamma)
    own = np.full((1, 21), 1 / 15)
    own[0, 15:] = 0
    centre = np.eye(21) - np.ones((21, 1)) @ own
    K = centre @ K @ centre.T
    if normalize == "trace":
        K /= np.diag(K)[:15].mean()
    if normalize == "cosine":
        K /= np.sqrt(np.outer(np.diag(K), np.diag(K)))
    np.testing.assert_allclose(made.transform(A), K[:15, :15], atol=1e-9)
    np.testing.assert_allclose(made.transform(B), K[15:, :15], atol=1e-9)
    again = ModalityKernels(kernel, scaling=None, normalize=normalize).fit_transform(A)
    np.testing.assert_allclose(again, K[:15, :15], atol=1e-9)


def test_gamma_follows_the_median_distance():
    A = RNG.normal(size=(30, 4))
    distances = [np.linalg.norm(A[i] - A[j]) for i in range(30) for j in range(i)]
    made = ModalityKernels(scaling=None).fit(A)
    assert made.gamma_[0] == pytest.approx(1 / (2 * np.median(distances) ** 2))
    made = ModalityKernels("laplacian", scaling=None).fit(A)
    distances = [np.abs(A[i] - A[j]).sum() for i in range(30) for j in range(i)]
    assert made.gamma_[0] == pytest.approx(1 / np.median(distances))


def test_units_of_a_modality_do_not_matter():
    scaled = Modalities({"audio": 1000 * X["audio"], "video": X["video"]})
    for kernel in ("rbf", "linear", "poly", "cosine", "laplacian"):
        made = ModalityKernels(kernel, scaling=None).fit_transform(X)
        other = ModalityKernels(kernel, scaling=None).fit_transform(scaled)
        np.testing.assert_allclose(made["audio"], other["audio"], atol=1e-9)


def test_gamma_is_finite_if_most_samples_are_equal():
    A = np.zeros((20, 2))
    A[:3] = RNG.normal(size=(3, 2))
    assert np.isfinite(ModalityKernels().fit(A).transform(A)).all()
    constant = ModalityKernels().fit_transform(np.ones((5, 2)))
    np.testing.assert_allclose(constant, 0, atol=1e-9)


def test_several_kernels_of_a_modality_are_named_and_numbered():
    made = ModalityKernels(
        {"audio": ["rbf", "linear"], "video": "rbf"}, gamma={"audio": [0.1, 1.0]}
    )
    out = made.fit_transform(X)
    assert out.names == ("audio-0", "audio-1", "audio-2", "video")
    assert made.kernel_modalities_.tolist() == [0, 0, 0, 1]
    assert made.gamma_[:2].tolist() == [0.1, 1.0]
    assert np.isnan(made.gamma_[2])
    alone = ModalityKernels(gamma=1.0).fit_transform(X["audio"])
    single = ModalityKernels(gamma=1.0).fit(X)
    np.testing.assert_allclose(out["audio-1"], single.transform(X)["audio"])
    assert alone.shape == (40, 40)


def test_a_callable_is_a_kernel():
    def wide(A, B):
        return rbf_kernel(A, B, gamma=0.01)

    made = ModalityKernels(wide).fit(X)
    named = ModalityKernels(gamma=0.01).fit(X)
    for name in X.names:
        np.testing.assert_allclose(
            made.transform(OTHER)[name], named.transform(OTHER)[name]
        )
    unit = ModalityKernels(wide, normalize="cosine").fit(X).transform(OTHER)
    expected = ModalityKernels(gamma=0.01, normalize="cosine").fit(X).transform(OTHER)
    np.testing.assert_allclose(unit["audio"], expected["audio"])
    with pytest.raises(ValueError, match=r"'audio'.*all pairs"):
        ModalityKernels(lambda a, b: np.ones(3)).fit(X)


def test_sparse_and_dense_are_the_same():
    counts = RNG.poisson(0.5, (30, 12)).astype(float)
    dense = ModalityKernels().fit(counts)
    thin = ModalityKernels().fit(sparse.csr_array(counts))
    np.testing.assert_allclose(
        dense.transform(counts), thin.transform(sparse.csr_array(counts)), atol=1e-9
    )


def test_a_precomputed_kernel_is_the_kernel():
    K = rbf_kernel(X["audio"], gamma=0.3)
    later = rbf_kernel(OTHER["audio"], X["audio"], gamma=0.3)
    for normalize in ("trace", "cosine"):
        given = ModalityKernels("precomputed", normalize=normalize).fit(K)
        made = ModalityKernels(gamma=0.3, scaling=None, normalize=normalize)
        made.fit(X["audio"])
        np.testing.assert_allclose(
            given.transform(later), made.transform(OTHER["audio"])
        )
    mixed = Modalities({"sound": K, "video": X["video"]})
    out = ModalityKernels({"sound": "precomputed"}).fit_transform(mixed)
    np.testing.assert_allclose(
        out["sound"], ModalityKernels("precomputed").fit_transform(K)
    )


def test_invalid_kernels_are_refused_by_name():
    K = rbf_kernel(X["audio"])
    frame = {"sound": K[:, :30], "video": K}
    with pytest.raises(ValueError, match=r"'sound'.*40 rows and 30 columns.*n_kernels"):
        ModalityKernels("precomputed").fit(frame)
    asymmetric = K.copy()
    asymmetric[3, 5] += 1
    with pytest.raises(ValueError, match=r"'sound'.*not symmetric.*samples 3 and 5"):
        ModalityKernels("precomputed").fit({"sound": asymmetric, "video": K})
    with pytest.warns(UserWarning, match=r"'sound'.*semi-definite.*eigenvalue is -2"):
        ModalityKernels("precomputed").fit({"sound": K - 2 * np.eye(40), "video": K})
    with pytest.raises(ValueError, match=r"'audio'.*'rfb' is neither one of"):
        ModalityKernels({"audio": "rfb"}).fit(X)
    with pytest.raises(ValueError, match="kernel names"):
        ModalityKernels({"smell": "rbf"}).fit(X)
    with pytest.raises(ValueError, match=r"'audio'.*gamma"):
        ModalityKernels(gamma={"audio": -1.0}).fit(X)
    with pytest.raises(ValueError, match=r"'audio'.*only kernel"):
        ModalityKernels({"audio": ["precomputed", "rbf"]}).fit(X)
    with pytest.raises(ValueError, match="'audio'"):
        ModalityKernels("chi2").fit(X)
    uneven = ModalityKernels("precomputed", normalize="cosine")
    uneven.fit(X["audio"] @ X["audio"].T)
    with pytest.raises(ValueError, match="diagonal of 1"):
        uneven.transform(OTHER["audio"] @ X["audio"].T)


def test_a_semi_definite_kernel_raises_no_warning():
    Z = RNG.normal(size=(40, 3))
    for dtype in (np.float64, np.float32):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ModalityKernels("precomputed").fit((Z @ Z.T).astype(dtype))


def test_kernels_are_cross_validated_by_rows_and_columns():
    kernels = np.dstack([rbf_kernel(b, gamma=0.2) for b in X.blocks])
    features = MKLClusterer(3, gamma=0.2, scaling=None, random_state=0)
    given = MKLClusterer(3, kernel="precomputed", random_state=0)
    np.testing.assert_array_equal(
        cross_val_predict(given, kernels, cv=4), cross_val_predict(features, X, cv=4)
    )
    grid = {"algorithm": ["average", "agreement"]}
    search = GridSearchCV(given, grid, cv=3, scoring="adjusted_rand_score")
    search.fit(kernels, Y)
    same = GridSearchCV(features, grid, cv=3, scoring="adjusted_rand_score").fit(X, Y)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], same.cv_results_["mean_test_score"]
    )
    assert search.predict(kernels[:5]).shape == (5,)


def test_kernels_of_sequences_work_in_a_pipeline_under_a_search():
    sequences = [
        RNG.normal(size=(RNG.integers(4, 8), 1)) + 3 * (i % 2) for i in range(24)
    ]
    frame = Modalities({"audio": sequences, "video": sequences})
    model = make_pipeline(
        DTWKernel("global_alignment", combine=None),
        MKLClusterer(2, kernel="precomputed", random_state=0),
    )
    truth = np.arange(24) % 2
    search = GridSearchCV(
        model,
        {"mklclusterer__algorithm": ["average", "agreement"]},
        cv=3,
        scoring="adjusted_rand_score",
    )
    assert search.fit(frame, truth).best_score_ == 1


def test_a_sample_without_a_modality_lies_at_its_mean():
    observed = np.ones((40, 2), bool)
    observed[[4, 9], 0] = False
    observed[7, 1] = False
    lacking = Modalities(X, observed=observed)
    made = ModalityKernels("linear", scaling=None).fit(lacking)
    out = made.transform(lacking)
    stretch = np.where(observed.all(axis=1), 1, np.sqrt(2))
    for v, name in enumerate(X.names):
        Z = X[name] - X[name][observed[:, v]].mean(axis=0)
        Z[~observed[:, v]] = 0
        Z /= np.sqrt((Z**2).sum() / observed[:, v].sum())
        Z *= stretch[:, None]
        np.testing.assert_allclose(out[name], Z @ Z.T, atol=1e-9)
        np.testing.assert_allclose(made.fit_transform(lacking)[name], out[name])
        assert np.linalg.eigvalsh(out[name])[0] > -1e-9


@pytest.mark.parametrize("kernel", ["linear", "cosine"])
def test_explicit_features_are_exact_where_they_can_be(kernel):
    observed = np.ones((40, 2), bool)
    observed[[4, 9], 0] = False
    lacking = Modalities(X, observed=observed)
    exact = ModalityKernels(kernel).fit(lacking)
    features = ModalityKernels(kernel, approximation="nystroem").fit(lacking)
    known, new = features.transform(lacking), features.transform(OTHER)
    for name in X.names:
        expected = exact.transform(OTHER)[name]
        np.testing.assert_allclose(new[name] @ known[name].T, expected, atol=1e-9)


@pytest.mark.parametrize("normalize", ["trace", "cosine", None])
@pytest.mark.parametrize("kernel", ["rbf", "poly", "laplacian"])
def test_all_samples_as_landmarks_give_the_kernel(kernel, normalize):
    exact = ModalityKernels(kernel, normalize=normalize).fit(X)
    features = ModalityKernels(
        kernel, normalize=normalize, approximation="nystroem", random_state=0
    ).fit(X)
    known = features.transform(X)
    for name in X.names:
        expected = exact.transform(X)[name]
        np.testing.assert_allclose(known[name] @ known[name].T, expected, atol=1e-5)
    precomputed = exact.transform(X)["audio"]
    columns = ModalityKernels("precomputed", approximation="nystroem", random_state=0)
    Z = columns.fit_transform(precomputed)
    expected = ModalityKernels("precomputed").fit_transform(precomputed)
    np.testing.assert_allclose(Z @ Z.T, expected, atol=1e-5)


def test_random_fourier_features_approximate_the_kernel():
    exact = ModalityKernels().fit_transform(X["audio"])
    errors = []
    for n_components in (50, 5000):
        features = ModalityKernels(
            approximation="fourier", n_components=n_components, random_state=0
        )
        Z = features.fit_transform(X["audio"])
        errors.append(np.abs(Z @ Z.T - exact).mean())
    assert errors[1] < errors[0] / 3
    assert errors[1] < 0.05
    with pytest.raises(ValueError, match="'fourier' is for kernel='rbf'"):
        ModalityKernels("poly", approximation="fourier").fit(X)


def test_beyond_the_threshold_features_are_explicit():
    made = ModalityKernels(approximation=39, n_components=10, random_state=0).fit(X)
    assert made.approximation_ == "nystroem"
    assert made.transform(OTHER)["audio"].shape == (7, 10)
    assert ModalityKernels(approximation=40).fit(X).approximation_ is None


def test_float32_stays_float32():
    single = Modalities({n: b.astype(np.float32) for n, b in X.to_dict().items()})
    for approximation in (None, "nystroem"):
        made = ModalityKernels(approximation=approximation, random_state=0).fit(single)
        assert made.transform(single)["audio"].dtype == np.float32


def test_sparse_kernels_are_kernels():
    rows = np.random.default_rng(0).normal(size=(12, 3))
    K = linear_kernel(rows)
    expected = ModalityKernels("precomputed").fit(K[:8, :8]).transform(K[8:, :8])
    S = sparse.csr_array(K)
    alone = ModalityKernels("precomputed").fit(S[:8, :8]).transform(S[8:, :8])
    np.testing.assert_array_equal(alone, expected)
    frame = Modalities({"text": S[:8, :8], "links": S[:8, :8]})
    kernels = ModalityKernels("precomputed").fit(frame)
    new = Modalities({"text": S[8:, :8], "links": S[8:, :8]})
    np.testing.assert_array_equal(kernels.transform(new)["links"], expected)


def test_an_asymmetric_pair_is_found_at_any_position():
    K = np.eye(700)
    K[650, 3] = 1e-3
    with pytest.raises(ValueError, match=r"0\.001 for samples 650 and 3, but 0 for 3"):
        ModalityKernels("precomputed").fit(K)


@pytest.mark.parametrize("kernel", ["rbf", "precomputed"])
def test_kernels_in_files_are_the_same(tmp_path, monkeypatch, kernel):
    monkeypatch.setattr(
        "mmfusion.mkl._kernels.FILE_BATCH_CELLS", 100
    )  # three rows at once
    blocks = {name: block.astype(np.float32) for name, block in X.to_dict().items()}
    if kernel == "precomputed":
        blocks = {name: rbf_kernel(block) for name, block in blocks.items()}
    blocks["video"][3] = np.nan
    frame = Modalities(blocks)
    plain = ModalityKernels(kernel).fit_transform(frame)
    filed = ModalityKernels(kernel, temp_folder=tmp_path).fit_transform(frame)
    for one, other in zip(plain.blocks, filed.blocks, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, atol=2e-6)
        assert isinstance(other.base, np.memmap)
    one = MKLClusterer(3, kernel=kernel, random_state=0).fit(frame)
    other = MKLClusterer(3, kernel=kernel, temp_folder=str(tmp_path), random_state=0)
    np.testing.assert_array_equal(one.labels_, other.fit(frame).labels_)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_space_is_refused(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("mmfusion.mkl._kernel_files.disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"2 exact kernel.s. of 40 samples takes 25 KiB"):
        ModalityKernels(temp_folder=tmp_path).fit(X)


def test_landmarks_are_better_than_rows_at_random(monkeypatch):
    data, _ = make_multimodal_blobs(
        400, (12,), centers=6, cluster_std=3, random_state=0
    )
    exact = ModalityKernels(center=False, normalize=None).fit_transform(data).blocks[0]

    def error(steps, seed):
        monkeypatch.setattr("mmfusion.mkl._feature_maps.LANDMARK_STEPS", steps)
        kernels = ModalityKernels(
            approximation="nystroem",
            n_components=20,
            center=False,
            normalize=None,
            random_state=seed,
        )
        Z = kernels.fit_transform(data).blocks[0]
        return np.linalg.norm(Z @ Z.T - exact)

    found, at_random = ([error(steps, s) for s in range(5)] for steps in (5, 0))
    assert max(found) < 0.9 * min(at_random)
