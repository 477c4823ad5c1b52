"""Sequences as matrices of distances and kernels, and what takes them."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.base import clone
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from mmfusion import Modalities
from mmfusion.alignment import DTWKernel, _sequence_function, cdist_dtw, cdist_soft_dtw
from mmfusion.datasets import load_npz

KERNELS = ["distance", "divergence", "global_alignment", "rbf", "soft_dtw"]
DISTANCES = ["distance", "divergence"]


def sequences(n, d, seed, longest=12):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest, size=n)
    return [rng.normal(size=(length, d)).cumsum(axis=0) for length in lengths]


def two_modalities(n=8, seed=0):
    return Modalities(
        {"audio": sequences(n, 2, seed), "video": sequences(n, 6, seed + 100)}
    )


def classes(n=24, seed=0):
    """Slow and fast waves of unequal lengths, in two modalities."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    blocks = {}
    for name, d in (("left", 1), ("right", 3)):
        blocks[name] = []
        for fast in y:
            t = np.linspace(0, 1, rng.integers(20, 30))
            wave = np.sin((4 + 8 * fast) * t + rng.uniform(0, 0.5))
            blocks[name].append(wave[:, None] + rng.normal(size=(len(t), d)) * 0.2)
    return Modalities(blocks), y


def slow_global_alignment(x, y, gamma):
    """Sum over alignments by the recurrence of the paper, unnormalised."""
    total = np.zeros((len(x) + 1, len(y) + 1))
    total[0, 0] = 1
    for i in range(len(x)):
        for j in range(len(y)):
            k = np.exp(-gamma * ((x[i] - y[j]) ** 2).sum())
            before = total[i, j + 1] + total[i + 1, j] + total[i, j]
            total[i + 1, j + 1] = k / (2 - k) * before
    return total[-1, -1]


def test_distances_are_those_of_cdist_dtw():
    X, later = sequences(6, 3, 0), sequences(4, 3, 1)
    kernel = DTWKernel("distance", metric="manhattan", penalty=0.5)
    options = {"metric": "manhattan", "penalty": 0.5}
    np.testing.assert_allclose(kernel.fit_transform([X]), cdist_dtw(X, **options))
    np.testing.assert_allclose(
        kernel.transform([later]), cdist_dtw(later, X, **options)
    )


def test_rbf_falls_with_the_distance_by_the_median_of_pairs():
    X, later = sequences(7, 2, 0), sequences(3, 2, 1)
    costs = cdist_dtw(X)
    median = np.median(costs[np.triu_indices(7, 1)])
    kernel = DTWKernel().fit([X])
    assert kernel.gamma_ == pytest.approx(1 / median)
    expected = np.exp(-cdist_dtw(later, X) / median)
    np.testing.assert_allclose(kernel.transform([later]), expected)
    given = DTWKernel(gamma=0.01).fit([X]).transform([later])
    np.testing.assert_allclose(given, np.exp(-0.01 * cdist_dtw(later, X)))


def test_global_alignment_is_the_sum_over_all_alignments():
    X, later = sequences(5, 2, 0), sequences(3, 2, 1)
    gamma = 0.05
    kernel = DTWKernel("global_alignment", gamma=gamma).fit([X])

    def expected(some):
        def slow(a, b):
            return slow_global_alignment(a, b, gamma)

        return [
            [slow(a, b) / np.sqrt(slow(a, a) * slow(b, b)) for b in X] for a in some
        ]

    np.testing.assert_allclose(kernel.transform([later]), expected(later), rtol=1e-10)
    np.testing.assert_allclose(kernel.fit_transform([X]), expected(X), rtol=1e-10)


def test_global_alignment_agrees_with_tslearn():
    metrics = pytest.importorskip("tslearn.metrics")
    X = sequences(5, 2, 0, longest=30)
    sigma = 3.0
    found = DTWKernel("global_alignment", gamma=1 / (2 * sigma**2)).fit_transform([X])
    expected = [[metrics.gak(a, b, sigma=sigma) for b in X] for a in X]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_global_alignment_chooses_gamma_by_the_rule_of_cuturi():
    X = sequences(6, 3, 0)
    spread = np.median(pdist(np.concatenate(X))) * np.sqrt(np.median([*map(len, X)]))
    kernel = DTWKernel("global_alignment").fit([X])
    assert kernel.gamma_ == pytest.approx(1 / (2 * spread**2))


def slow_soft_dtw(x, y, softness):
    """Sum over paths by the recurrence of the paper."""
    total = np.zeros((len(x) + 1, len(y) + 1))
    total[0, 0] = 1
    for i in range(len(x)):
        for j in range(len(y)):
            before = total[i, j + 1] + total[i + 1, j] + total[i, j]
            total[i + 1, j + 1] = before * np.exp(
                -((x[i] - y[j]) ** 2).sum() / softness
            )
    return -softness * np.log(total[-1, -1])


def test_soft_kernels_are_functions_of_the_divergence():
    X, later = sequences(5, 2, 0), sequences(3, 2, 1)

    def divergence(a, b):
        own = slow_soft_dtw(a, a, 3.0) + slow_soft_dtw(b, b, 3.0)
        return slow_soft_dtw(a, b, 3.0) - own / 2

    expected = np.array([[divergence(a, b) for b in X] for a in later])
    found = DTWKernel("divergence", softness=3.0).fit([X]).transform([later])
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    kernel = DTWKernel("soft_dtw", softness=3.0, gamma=0.02).fit([X])
    np.testing.assert_allclose(kernel.transform([later]), np.exp(-0.02 * expected))
    of_fit = np.array([[divergence(a, b) for b in X] for a in X])
    median = np.median(of_fit[np.triu_indices(5, 1)])
    assert DTWKernel("soft_dtw", softness=3.0).fit([X]).gamma_ == pytest.approx(
        1 / median
    )


def test_the_softness_is_a_tenth_of_the_median_cost_of_two_frames():
    X = sequences(6, 3, 0)
    for metric, of_pairs in (("sqeuclidean",) * 2, ("manhattan", "cityblock")):
        kernel = DTWKernel("soft_dtw", metric=metric).fit([X])
        median = np.median(pdist(np.concatenate(X), of_pairs))
        assert kernel.softness_ == pytest.approx(0.1 * median)
    by_name = DTWKernel("divergence", softness={"video": 2.0}).fit(two_modalities())
    assert by_name.softness_[1] == 2.0
    assert np.isnan(by_name.gamma_).all()


@pytest.mark.parametrize("name", ["divergence", "soft_dtw"])
def test_soft_kernels_have_windows(name):
    X, later = sequences(5, 2, 0), sequences(3, 2, 1)
    options = {"window": "sakoe_chiba", "radius": 1.0, "metric": "euclidean"}
    kernel = DTWKernel(name, softness=2.0, gamma=0.1, **options).fit([X])
    expected = cdist_soft_dtw(later, X, gamma=2.0, divergence=True, **options)
    expected = expected if name == "divergence" else np.exp(-0.1 * expected)
    np.testing.assert_allclose(kernel.transform([later]), expected)
    narrow = DTWKernel(name, window="itakura", softness=2.0).fit([X[:1] * 2])
    assert np.isfinite(narrow.transform([X[:1]])).all()
    with pytest.raises(ValueError, match="'multiscale' is not one of"):
        DTWKernel(name, window="multiscale").fit([X])


def test_little_softness_is_the_hard_kernel():
    X = two_modalities()
    soft = DTWKernel("soft_dtw", softness=1e-6).fit_transform(X)
    np.testing.assert_allclose(soft, DTWKernel("rbf").fit_transform(X), rtol=1e-3)


def test_the_softer_the_kernel_the_less_indefinite():
    X = [sequences(40, 2, 0, longest=30)]
    hardest = np.linalg.eigvalsh(DTWKernel("rbf").fit_transform(X))[0]
    default = np.linalg.eigvalsh(DTWKernel("soft_dtw").fit_transform(X))[0]
    gamma = DTWKernel("global_alignment").fit(X).gamma_[0]
    soft = DTWKernel("soft_dtw", softness=1 / gamma).fit_transform(X)
    softest = np.linalg.eigvalsh(soft)[0]
    assert hardest < default < softest
    assert softest > 0.01 * hardest


@pytest.mark.parametrize("limit", [{"max_jump": 1}, {"max_length": 1.1}], ids=str)
def test_paths_are_limited_as_in_cdist_dtw(limit):
    X, later = sequences(6, 2, 0), sequences(3, 2, 1)
    X, later = [[np.resize(x, (12, 2)) for x in some] for some in (X, later)]
    kernel = DTWKernel("distance", **limit)
    limited = cdist_dtw(X, **limit)
    assert (limited > cdist_dtw(X)).any()
    np.testing.assert_allclose(kernel.fit_transform([X]), limited)
    np.testing.assert_allclose(kernel.transform([later]), cdist_dtw(later, X, **limit))


@pytest.mark.parametrize("name", ["global_alignment", "soft_dtw"])
def test_float32_changes_little(name):
    X = two_modalities()
    single = Modalities(
        {n: [x.astype(np.float32) for x in b] for n, b in X.to_dict().items()}
    )
    expected = DTWKernel(name).fit(X[:5]).transform(X[5:])
    found = DTWKernel(name).fit(single[:5]).transform(single[5:])
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def with_table(n=8, missing=()):
    table = np.random.default_rng(1).normal(size=(n, 4))
    table[list(missing)] = np.nan
    return Modalities({"audio": sequences(n, 2, 0), "survey": table})


@pytest.mark.parametrize("name", KERNELS)
def test_a_table_beside_sequences_has_a_row_as_its_one_frame(name):
    X = with_table()
    frames = Modalities(
        {"audio": list(X["audio"]), "survey": [row[None] for row in X["survey"]]}
    )
    found, expected = (DTWKernel(name).fit_transform(some) for some in (X, frames))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    apart = DTWKernel(name, combine=None)
    found, expected = (apart.fit_transform(some) for some in (X, frames))
    for block, own in zip(found.blocks, expected.blocks, strict=True):
        np.testing.assert_allclose(block, own, atol=1e-12)


def test_a_table_beside_sequences_has_ordinary_distances_and_kernels():
    X = with_table()
    squares = squareform(pdist(X["survey"], "sqeuclidean"))
    median = np.median(pdist(X["survey"], "sqeuclidean"))
    for name in DISTANCES:
        apart = DTWKernel(name, combine=None).fit_transform(X)
        assert apart.names == ("audio", "survey")
        np.testing.assert_allclose(apart["survey"], squares, atol=1e-12)
    for name in ("rbf", "soft_dtw"):
        apart = DTWKernel(name, combine=None).fit_transform(X)
        np.testing.assert_allclose(apart["survey"], np.exp(-squares / median))
    g = np.exp(-squares / (2 * median))
    kernel = DTWKernel("global_alignment", combine=None).fit(X)
    np.testing.assert_allclose(kernel.transform(X)["survey"], g / (2 - g))
    manhattan = DTWKernel("distance", metric="manhattan", combine=None)
    found = manhattan.fit(X[:5]).transform(X[5:])["survey"]
    np.testing.assert_allclose(
        found, cdist(X["survey"][5:], X["survey"][:5], "cityblock")
    )


@pytest.mark.parametrize("name", KERNELS)
def test_a_table_beside_sequences_may_be_missing(name):
    X = with_table(missing=[0, 3])
    apart = DTWKernel(name, combine=None).fit(X[:6]).transform(X)
    assert apart.observed.tolist() == X.observed.tolist()
    found = DTWKernel(name).fit(X[:6]).transform(X)
    assert np.isfinite(found).all()
    without = (
        DTWKernel(name).fit(X[:6]).transform({"audio": X["audio"], "survey": None})
    )
    assert np.isfinite(without).all()


@pytest.mark.parametrize("gamma", [None, 0.001, 1.0])
def test_global_alignment_is_positive_semidefinite(gamma):
    X = two_modalities(30)
    kernel = DTWKernel("global_alignment", gamma=gamma).fit_transform(X)
    assert np.linalg.eigvalsh(kernel).min() > -1e-12


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("combine", ["mean", None])
def test_the_matrix_of_fit_is_symmetric_and_that_of_transform(name, combine):
    X = two_modalities()
    kernel = DTWKernel(name, combine=combine)
    found, again = kernel.fit_transform(X), kernel.transform(X)
    if combine is None:
        assert found.names == ("audio", "video")
        found, again = found.to_array(), again.to_array()
    np.testing.assert_allclose(found, again, rtol=1e-9, atol=1e-9)
    for table in np.hsplit(found, 1 if combine else 2):
        np.testing.assert_array_equal(table, table.T)
        np.testing.assert_allclose(np.diag(table), 0 if name in DISTANCES else 1)


@pytest.mark.parametrize("name", ["global_alignment", "soft_dtw"])
def test_fit_transform_compares_each_pair_once(monkeypatch, name):
    compared = []

    def counted(X, Y, pairs, *parameters):
        compared.extend(map(frozenset, pairs.tolist()))
        return np.ones(len(pairs))

    for function in ("alignment_values", "soft_values"):
        monkeypatch.setattr(_sequence_function, function, counted)
    DTWKernel(name).fit_transform([sequences(6, 1, 0)])
    assert len(compared) == len(set(compared)) == 6 * 7 / 2


def test_a_kernel_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr(_sequence_function, "DIVERGENCE_BYTES_PER_PAIR", 1e18)
    message = "modality 'audio': the kernel of 8 x 8 sequences needs"
    with pytest.raises(ValueError, match=message):
        DTWKernel("soft_dtw").fit(two_modalities())


@pytest.mark.parametrize("name", KERNELS)
def test_modalities_are_averaged(name):
    X = two_modalities()
    apart = DTWKernel(name, combine=None).fit_transform(X)
    together = DTWKernel(name).fit_transform(X)
    tables = [apart["audio"], apart["video"]]
    if name in DISTANCES:  # each over its median
        tables = [table / np.median(table[np.triu_indices(8, 1)]) for table in tables]
    np.testing.assert_allclose(together, np.mean(tables, axis=0))


def test_gamma_is_given_by_modality():
    X = two_modalities()
    kernel = DTWKernel(gamma={"video": 0.5}).fit(X)
    default = DTWKernel().fit(X)
    assert kernel.gamma_.tolist() == [default.gamma_[0], 0.5]
    with pytest.raises(ValueError, match="gamma names"):
        DTWKernel(gamma={"odour": 0.5}).fit(X)


@pytest.mark.parametrize("name", KERNELS)
def test_missing_sequences_leave_the_other_modality(name):
    X = two_modalities()
    blocks = X.to_dict()
    audio, video = list(blocks["audio"]), list(blocks["video"])
    audio[0] = audio[1] = video[2] = None
    gappy = Modalities({"audio": audio, "video": video})
    kernel = DTWKernel(name, combine=None)
    apart = kernel.fit_transform(gappy)
    combined = DTWKernel(name)
    found = combined.fit_transform(gappy)
    scale = combined.scales_
    tables = [table / s for table, s in zip(apart.blocks, scale, strict=True)]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[3:, 3:], np.mean(tables, axis=0)[3:, 3:])
    np.testing.assert_allclose(found[0, 3:], tables[1][0, 3:])
    np.testing.assert_allclose(found[2, 3:], tables[0][2, 3:])
    # samples 0 and 2 share nothing: they get the mean of all other pairs
    others = ~np.eye(8, dtype=bool)
    others[[0, 1, 2, 2], [2, 2, 0, 1]] = False
    assert found[0, 2] == found[2, 1] == pytest.approx(found[others].mean())
    np.testing.assert_allclose(combined.transform(gappy), found, rtol=1e-9, atol=1e-9)


def test_without_combining_missing_samples_stay_missing():
    X = two_modalities()
    audio = list(X["audio"])
    audio[0] = None
    gappy = Modalities({"audio": audio, "video": list(X["video"])})
    found = DTWKernel(combine=None).fit_transform(gappy)
    assert found.observed.tolist() == gappy.observed.tolist()
    assert np.isnan(found["audio"][0]).all()
    known = found["audio"][1:, 1:]
    np.testing.assert_allclose(
        found["audio"][1:, 0], known[~np.eye(7, dtype=bool)].mean()
    )
    nobody = Modalities({"audio": None, "video": list(X["video"])})
    kernel = DTWKernel().fit(X)
    video = DTWKernel(combine=None).fit(X).transform(X)["video"]
    np.testing.assert_allclose(kernel.transform(nobody), video)


def test_rows_of_a_table_are_sequences_of_one_feature():
    table = np.random.default_rng(0).normal(size=(6, 10))
    found = DTWKernel("distance").fit_transform(table)
    np.testing.assert_allclose(found, cdist_dtw([row[:, None] for row in table]))
    padded = DTWKernel("distance").fit_transform(table[:, :, None])
    np.testing.assert_allclose(found, padded)


def test_identical_samples_have_a_kernel_of_ones():
    X = [np.ones((4, 2))] * 3
    for name in KERNELS:
        expected = 0 if name in DISTANCES else 1
        np.testing.assert_allclose(DTWKernel(name).fit_transform([X]), expected)
        np.testing.assert_allclose(DTWKernel(name).fit_transform([X[:1]]), expected)


@pytest.mark.parametrize("name", KERNELS)
def test_columns_are_named_and_go_into_frames(name):
    X = two_modalities(3)
    kernel = DTWKernel(name).set_output(transform="pandas")
    found = kernel.fit_transform(X)
    assert isinstance(found, pd.DataFrame)
    assert list(found.columns) == ["dtwkernel0", "dtwkernel1", "dtwkernel2"]
    kernel = DTWKernel(name, combine=None).set_output(transform="pandas").fit(X)
    found = kernel.transform(X[:2])["video"]
    assert isinstance(found, pd.DataFrame)
    assert found.shape == (2, 3)
    assert kernel.get_feature_names_out()[3:].tolist() == [
        f"video__dtwkernel{j}" for j in range(3)
    ]


@pytest.mark.parametrize("name", KERNELS)
def test_threads_change_nothing(name):
    X = two_modalities()
    found = DTWKernel(name, n_jobs=3).fit_transform(X)
    np.testing.assert_array_equal(found, DTWKernel(name).fit_transform(X))


@pytest.mark.parametrize(
    "pipeline",
    [
        make_pipeline(
            DTWKernel("distance"), KNeighborsClassifier(1, metric="precomputed")
        ),
        make_pipeline(DTWKernel(), SVC(kernel="precomputed")),
        make_pipeline(DTWKernel("global_alignment"), SVC(kernel="precomputed")),
        make_pipeline(DTWKernel("soft_dtw"), SVC(kernel="precomputed")),
        make_pipeline(
            DTWKernel("divergence"), KNeighborsClassifier(1, metric="precomputed")
        ),
    ],
    ids=["neighbors", "rbf", "global_alignment", "soft_dtw", "divergence"],
)
def test_classifiers_take_the_matrix(pipeline):
    X, y = classes()
    assert clone(pipeline).fit(X[:12], y[:12]).score(X[12:], y[12:]) == 1


def test_spectral_clustering_takes_the_kernel():
    X, y = classes()
    clusterer = SpectralClustering(2, affinity="precomputed", random_state=0)
    found = make_pipeline(DTWKernel("global_alignment"), clusterer).fit_predict(X)
    assert adjusted_rand_score(y, found) == 1


@pytest.mark.parametrize("data", ["ts_japanesevowels", "ts_basicmotions"])
def test_a_search_over_kernels_runs_on_real_sequences(shared_data, data):
    path = shared_data / f"{data}.npz"
    if not path.is_file():
        pytest.skip(f"{path.name} is not there")
    X, y = load_npz(path, return_X_y=True)
    some = [np.flatnonzero(y == label)[:10] for label in np.unique(y)[:3]]
    X, y = X[np.concatenate(some)], y[np.concatenate(some)]
    search = GridSearchCV(
        make_pipeline(DTWKernel(), SVC(kernel="precomputed")),
        {"dtwkernel__kernel": ["global_alignment", "rbf"], "svc__C": [1, 100]},
        cv=2,
        error_score="raise",
    ).fit(X, y)
    assert search.best_score_ > 0.8
    nearest = make_pipeline(
        DTWKernel("distance"), KNeighborsClassifier(1, metric="precomputed")
    )
    assert nearest.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.8


def test_bad_input_is_refused():
    X = two_modalities(4)
    mixed = Modalities({"audio": list(X["audio"]), "survey": np.eye(4)})
    with pytest.raises(ValueError, match="modality 'survey' of X is sequences"):
        DTWKernel().fit(mixed).transform({"audio": X["audio"], "survey": X["audio"]})
    with pytest.raises(ValueError, match="modality 'audio' of X is a table"):
        DTWKernel().fit(X).transform({"audio": np.eye(4, 2), "video": np.eye(4, 6)})
    spoilt = [x.copy() for x in X["video"]]
    spoilt[2][0, 3] = np.nan
    with pytest.raises(ValueError, match="modality 'video': the sequence of sample 2"):
        DTWKernel().fit({"audio": list(X["audio"]), "video": spoilt})
    with pytest.raises(
        ValueError, match="modality 'audio': no path fits into radius=0"
    ):
        DTWKernel(window="sakoe_chiba", radius=0).fit(X)
    with pytest.raises(ValueError, match="leave window, penalty at the default"):
        DTWKernel("global_alignment", window="sakoe_chiba", penalty=1.0).fit(X)
    for name, option in (
        ("soft_dtw", {"penalty": 1.0}),
        ("divergence", {"max_jump": 2}),
        ("soft_dtw", {"max_length": 2.0}),
        ("rbf", {"softness": 1.0}),
        ("global_alignment", {"softness": 1.0}),
    ):
        with pytest.raises(ValueError, match=f"leave {next(iter(option))} at the"):
            DTWKernel(name, **option).fit(X)
    with pytest.raises(ValueError, match="modality 'audio': softness=0; it must be"):
        DTWKernel("soft_dtw", softness={"audio": 0}).fit(X)
    with pytest.raises(ValueError, match="sample 1 lacks every modality"):
        DTWKernel().fit([[np.ones((2, 1)), None]])


def asymmetric(A, B):
    """A local cost that depends on the order."""
    return np.maximum(A[:, :1] - B[:, 0], 0) + 0.1 * (A[:, 1:] - B[:, 1]) ** 2


@pytest.mark.parametrize("kernel", ["distance", "rbf", "divergence", "soft_dtw"])
def test_costs_that_depend_on_the_order_are_computed_in_both(kernel):
    rng = np.random.default_rng(0)
    X = [[rng.normal(size=(n, 2)) for n in (5, 7, 6)]]
    fitted = DTWKernel(kernel, metric=asymmetric).fit(X)
    K = DTWKernel(kernel, metric=asymmetric).fit_transform(X)
    np.testing.assert_allclose(K, fitted.transform(X), atol=1e-12)
    assert not np.allclose(K, K.T)


def test_softness_does_not_come_from_rounding_nor_from_forbidden_pairs():
    rng = np.random.default_rng(0)
    parallel = [np.outer(rng.random(6) + 0.1, [1.0, 1.0]) for _ in range(30)]
    others = [rng.normal(size=(6, 2)) for _ in range(10)]
    fitted = DTWKernel("soft_dtw", metric="cosine").fit([parallel + others])
    assert fitted.softness_[0] > 1e-3

    def forbids(A, B):
        return np.where(np.abs(A - B[:, 0]) < 0.5, (A - B[:, 0]) ** 2, np.inf)

    # most pairs of frames are too far apart, but the straight path is free
    ramps = [np.arange(8.0)[:, None] + shift for shift in (0.0, 0.1, 0.2)]
    assert 0 < DTWKernel("soft_dtw", metric=forbids).fit([ramps]).softness_[0] < 1
