"""Kernels of sequences beside kernels of tables, in all estimators of mkl."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skops.io import dumps, loads

from mmfusion import Modalities, trusted_types
from mmfusion.alignment import DTWKernel
from mmfusion.mkl import MKLClassifier, MKLClusterer, MKLRegressor, ModalityKernels
from mmfusion.preprocessing import PerModality

BY_NAME = {"dtw": "rbf", "global_alignment": "global_alignment", "soft_dtw": "soft_dtw"}
NAMES = sorted(BY_NAME)

# of warping, as the documentation of DTWKernel says
pytestmark = pytest.mark.filterwarnings("ignore:.*not positive semi-definite")


def mixed(n=24, seed=0):
    """Slow and fast waves, and a table of which one feature has the class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    waves = []
    for fast in y:
        t = np.linspace(0, 1, rng.integers(12, 20))
        wave = np.sin((4 + 8 * fast) * t + rng.uniform(0, 0.5))
        waves.append(
            wave[:, None] * [1, 100] + rng.normal(size=(len(t), 2)) * [0.2, 20]
        )
    survey = rng.normal(size=(n, 3))
    survey[:, 0] += y
    return Modalities({"audio": waves, "survey": survey}), y


def standardised(X):
    frames = np.concatenate(list(X["audio"]))
    return [(x - frames.mean(axis=0)) / frames.std(axis=0) for x in X["audio"]]


@pytest.mark.parametrize("name", NAMES)
def test_raw_kernels_are_those_of_dtwkernel_on_frames_of_unit_variance(name):
    X, _ = mixed()
    sequences = standardised(X)
    kernels = ModalityKernels({"audio": name}, center=False, normalize=None).fit(X[:16])
    assert kernels.scaling_["audio"] == "standard"
    # scaled by the samples of fit
    sequences = standardised(X[:16])
    expected = DTWKernel(BY_NAME[name]).fit([sequences])
    np.testing.assert_allclose(kernels.gamma_[0], expected.gamma_[0])
    found = kernels.transform(X[:16])["audio"]
    np.testing.assert_allclose(found, expected.transform([sequences]), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_unscaled_kernels_are_those_of_a_pipeline_with_dtwkernel(name):
    X, y = mixed()
    audio = X[["audio"]]
    inside = MKLClassifier(name, scaling=None).fit(audio[:16], y[:16])
    outside = make_pipeline(
        DTWKernel(BY_NAME[name], combine=None), MKLClassifier("precomputed")
    ).fit(audio[:16], y[:16])
    np.testing.assert_allclose(
        inside.decision_function(audio), outside.decision_function(audio), atol=1e-8
    )


def test_the_kernels_of_fit_are_those_of_transform():
    X, _ = mixed()
    for kernel in NAMES:
        kernels = ModalityKernels({"audio": kernel})
        found, again = kernels.fit_transform(X), kernels.transform(X)
        for name in X.names:
            np.testing.assert_allclose(found[name], again[name], atol=1e-10)


@pytest.mark.parametrize("kernel", [*NAMES, DTWKernel("soft_dtw", softness=2.0)])
def test_sequences_and_tables_meet_in_every_estimator(kernel):
    X, y = mixed(36)
    by_name = {"audio": kernel, "survey": "rbf"}
    classifier = MKLClassifier(by_name, probability=True).fit(X[:24], y[:24])
    assert classifier.score(X[24:], y[24:]) == 1
    assert classifier.modality_weights_[0] > classifier.modality_weights_[1]
    assert classifier.predict_proba(X[:3]).shape == (3, 2)
    target = 2.0 * y + X["survey"][:, 1]
    regressor = MKLRegressor({"audio": kernel, "survey": "linear"}, C=10)
    assert regressor.fit(X[:24], target[:24]).score(X[24:], target[24:]) > 0.9
    clusterer = MKLClusterer(2, kernel={"audio": kernel}, random_state=0)
    labels = clusterer.fit(X[["audio"]]).labels_
    assert adjusted_rand_score(y, labels) == 1
    np.testing.assert_array_equal(clusterer.predict(X[["audio"]]), labels)
    assert -1 <= clusterer.score(X[["audio"]]) <= 1


def test_rows_of_a_table_are_sequences_where_the_kernel_is():
    rng = np.random.default_rng(0)
    series = rng.normal(size=(20, 15)).cumsum(axis=1)
    as_sequences = [row[:, None] for row in series]
    found = ModalityKernels("dtw").fit(series).transform(series)
    expected = ModalityKernels("dtw").fit([as_sequences]).transform([as_sequences])
    np.testing.assert_allclose(found, expected.to_array())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["mixed", "tables"])
def test_tables_are_read_as_by_dtwkernel(name, kind):
    """Beside sequences a row is one frame; without any, it is a series."""
    X, _ = mixed()
    if kind == "tables":
        X = X[["survey"]]
    options = dict(scaling=None, center=False, normalize=None)
    inside = ModalityKernels(name, **options).fit(X[:16])
    outside = DTWKernel(BY_NAME[name], combine=None).fit(X[:16])
    np.testing.assert_allclose(inside.gamma_, outside.gamma_)
    alone = {n: X[n] if n == "survey" else None for n in X.names}
    # the factor of samples that lack the other modality
    for samples, factor in ((X, 1.0), (alone, np.sqrt(len(X.names)))):
        found, expected = inside.transform(samples), outside.transform(samples)
        np.testing.assert_allclose(found["survey"], factor * expected["survey"])


@pytest.mark.parametrize("approximation", [None, "nystroem"])
def test_a_dtwkernel_has_parameters_by_modality(approximation):
    X, _ = mixed()
    kernel = DTWKernel("soft_dtw", gamma={"audio": 0.25}, softness={"audio": 0.5})
    options = dict(gamma=[0.1, 0.2], approximation=approximation, random_state=0)
    made = ModalityKernels({"audio": [kernel, "dtw"]}, **options).fit(X)
    assert made.gamma_[:3].tolist() == [0.25, 0.1, 0.2]
    single = DTWKernel("soft_dtw", gamma=0.25, softness=0.5)
    other = ModalityKernels({"audio": [single, "dtw"]}, **options).fit(X)
    for name in other.kernel_names_:
        np.testing.assert_allclose(made.transform(X)[name], other.transform(X)[name])
    with pytest.raises(ValueError, match=r"gamma names \['eyes'\], but .*'audio'"):
        ModalityKernels({"audio": DTWKernel(gamma={"eyes": 1.0})}).fit(X)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gamma", [0.3, None])
def test_sequences_are_compared_for_the_median_rule_only_where_it_decides(
    monkeypatch, name, gamma
):
    from mmfusion.alignment._sequence_function import SequenceFunction

    X, _ = mixed()
    shapes = []
    costs = SequenceFunction.costs

    def counting(function, own, other):
        shapes.append((len(own.sequences), len((other or own).sequences)))
        return costs(function, own, other)

    monkeypatch.setattr(SequenceFunction, "costs", counting)
    options = dict(approximation="nystroem", n_components=3, random_state=0)
    ModalityKernels(name, gamma=gamma, **options).fit(X[["audio"]])
    compares_all = gamma is None and name != "global_alignment"
    assert ((24, 24) in shapes) == compares_all
    assert {n for n, m in shapes if m == 3} == {3, 24}


def test_images_beside_sequences_stay_rows():
    X, _ = mixed()
    images = np.random.default_rng(0).normal(size=(24, 4, 5))
    both = Modalities({"audio": X["audio"], "image": images})
    flat = Modalities({"audio": X["audio"], "image": images.reshape(24, 20)})
    found, expected = (
        ModalityKernels({"audio": "dtw"}).fit_transform(some) for some in (both, flat)
    )
    np.testing.assert_allclose(found["image"], expected["image"])


@pytest.mark.parametrize("name", NAMES)
def test_several_gammas_make_several_kernels(name):
    X, _ = mixed()
    kernels = ModalityKernels({"audio": [name, "dtw"]}, gamma={"audio": [0.1, 0.01]})
    kernels.fit(X)
    assert kernels.kernel_names_.tolist() == [
        *(f"audio-{k}" for k in range(4)),
        "survey",
    ]
    np.testing.assert_allclose(kernels.gamma_[:4], [0.1, 0.01] * 2)


def test_a_search_sets_kernels_and_their_parameters_by_modality():
    X, y = mixed(40)
    search = GridSearchCV(
        MKLClassifier({"audio": DTWKernel("soft_dtw"), "survey": "rbf"}),
        {"audio__softness": [0.1, 10.0], "survey": ["linear", "rbf"]},
        cv=2,
        error_score="raise",
    )
    search.fit(X, y)
    assert search.best_score_ == 1
    assert len(search.cv_results_["params"]) == 4
    classifier = MKLClassifier({"audio": "dtw"}).set_params(audio="global_alignment")
    assert clone(classifier).get_params()["audio"] == "global_alignment"
    one = GridSearchCV(MKLClassifier(DTWKernel()), {"kernel__penalty": [0, 1]}, cv=2)
    assert one.fit(X[["audio"]], y).best_score_ == 1


@pytest.mark.parametrize("kernel", [*NAMES, DTWKernel(max_jump=3)])
@pytest.mark.parametrize("approximation", [None, "nystroem"])
def test_models_are_stored(kernel, approximation):
    X, y = mixed()
    classifier = MKLClassifier(
        {"audio": kernel}, approximation=approximation, random_state=0
    )
    expected = classifier.fit(X, y).decision_function(X)
    for loaded in (
        pickle.loads(pickle.dumps(classifier)),
        loads(dumps(classifier), trusted=trusted_types()),
    ):
        np.testing.assert_array_equal(loaded.decision_function(X), expected)


def test_threads_change_nothing():
    X, _ = mixed()
    kernel = {"audio": ["dtw", "global_alignment"]}
    found = ModalityKernels(kernel, n_jobs=2).fit_transform(X)
    expected = ModalityKernels(kernel).fit_transform(X)
    np.testing.assert_array_equal(found.to_array(), expected.to_array())


def single(X):
    audio = [x.astype(np.float32) for x in X["audio"]]
    return Modalities({"audio": audio, "survey": X["survey"].astype(np.float32)})


@pytest.mark.parametrize("name", NAMES)
def test_kernels_of_float32_are_float32(name):
    X, _ = mixed()
    kernels = ModalityKernels({"audio": name})
    found = kernels.fit_transform(single(X))
    assert {block.dtype for block in found.blocks} == {np.dtype(np.float32)}
    assert kernels.transform(single(X))["audio"].dtype == np.float32
    expected = ModalityKernels({"audio": name}).fit_transform(X)
    np.testing.assert_allclose(found["audio"], expected["audio"], atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("approximation", [None, "nystroem"])
def test_a_sample_of_weight_two_is_two_samples(name, approximation):
    X, y = mixed(20)
    weight = np.ones(20)
    weight[[1, 4, 9]] = 2
    weight[[0, 2]] = 0
    rows = np.repeat(np.arange(20), weight.astype(int))
    weighted, repeated = (
        MKLClassifier({"audio": name}, approximation=approximation, random_state=0)
        for _ in range(2)
    )
    weighted.fit(X, y, sample_weight=weight)
    repeated.fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.gamma_, repeated.gamma_)
    np.testing.assert_allclose(
        weighted.decision_function(X), repeated.decision_function(X), atol=1e-3
    )


@pytest.mark.parametrize("approximation", [None, "nystroem"])
def test_missing_sequences_lie_at_the_mean(approximation):
    X, y = mixed(36)
    audio = list(X["audio"])
    for i in (0, 1, 30):
        audio[i] = None
    survey = X["survey"].copy()
    survey[2] = np.nan
    gappy = Modalities({"audio": audio, "survey": survey})
    kernels = ModalityKernels(
        {"audio": "global_alignment"}, approximation=approximation, random_state=0
    )
    found = kernels.fit_transform(gappy)
    np.testing.assert_array_equal(found["audio"][[0, 1, 30]], 0)
    np.testing.assert_array_equal(found["survey"][2], 0)
    assert np.isfinite(found.to_array()).all()
    classifier = MKLClassifier(
        {"audio": "global_alignment"}, approximation=approximation, random_state=0
    ).fit(gappy[:24], y[:24])
    known = [i for i in range(24, 36) if i != 30]
    assert classifier.score(gappy[known], y[known]) == 1
    alone = Modalities({"audio": None, "survey": X["survey"]})
    assert classifier.predict(alone).shape == (36,)


def test_as_many_landmarks_as_samples_are_exact():
    X, _ = mixed()
    for name in ("global_alignment", "soft_dtw"):
        exact = ModalityKernels({"audio": name}).fit_transform(X)["audio"]
        features = ModalityKernels({"audio": name}, approximation="nystroem")
        Z = features.fit_transform(X)["audio"]
        # directions of negative eigenvalues are left out
        np.testing.assert_allclose(Z @ Z.T, exact, atol=1e-4)


def test_landmarks_are_distinct_and_features_few():
    X, y = mixed(40)
    repeated = X[np.repeat(np.arange(10), 4)]
    kernels = ModalityKernels(
        {"audio": "global_alignment"},
        approximation="nystroem",
        n_components=20,
        random_state=0,
    )
    assert kernels.fit(repeated).transform(repeated)["audio"].shape == (40, 10)
    classifier = MKLClassifier(
        {"audio": "global_alignment"}, approximation=20, n_components=8, random_state=0
    ).fit(X[:30], y[:30])
    assert classifier.approximation_ == "nystroem"
    assert classifier.score(X[30:], y[30:]) == 1


def test_kernels_are_kept_in_files(tmp_path):
    X, _ = mixed()
    kernels = ModalityKernels({"audio": "dtw"}, temp_folder=tmp_path)
    found = kernels.fit_transform(X)
    expected = ModalityKernels({"audio": "dtw"}).fit_transform(X)
    np.testing.assert_allclose(found["audio"], expected["audio"])
    assert isinstance(found["audio"].base, np.memmap)


def test_unit_and_offset_of_a_feature_change_nothing():
    X, _ = mixed()
    other = [x * [1e3, 1e-3] + [50, -7] for x in X["audio"]]
    for name in NAMES:
        kernels = ModalityKernels({"audio": name})
        found = kernels.fit_transform({"audio": other, "survey": X["survey"]})
        np.testing.assert_allclose(
            found["audio"], kernels.fit_transform(X)["audio"], atol=1e-8
        )


def test_outputs_are_named():
    X, _ = mixed(4)
    kernels = ModalityKernels({"audio": ["dtw", "soft_dtw"]}).fit(X)
    names = kernels.get_feature_names_out()
    assert names[:2].tolist() == [
        "audio-0__modalitykernels0",
        "audio-0__modalitykernels1",
    ]
    assert len(names) == 12
    assert kernels.n_features_per_modality_in_.tolist() == [2, 3]


def test_sequences_may_be_changed_before():
    X, y = mixed()
    pipeline = make_pipeline(
        PerModality({"audio": "passthrough"}), MKLClassifier({"audio": "dtw"})
    )
    assert pipeline.fit(X[:16], y[:16]).score(X[16:], y[16:]) == 1


def test_only_the_definite_kernel_is_silent():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 30, size=40)
    walks = [rng.normal(size=(length, 2)).cumsum(axis=0) for length in lengths]
    for name in ("dtw", "soft_dtw"):
        with pytest.warns(UserWarning, match="modality 'audio': the kernel is not pos"):
            ModalityKernels(name).fit({"audio": walks})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ModalityKernels("global_alignment").fit({"audio": walks})


def test_bad_input_is_refused():
    X, y = mixed()

    def refuses(kernel, message, X=X, error=ValueError, **options):
        with pytest.raises(error, match=message):
            MKLClassifier(kernel, **options).fit(X, y)

    refuses("rbf", "modality 'audio' holds sequences; .* a kernel of sequences")
    refuses({"audio": ["dtw", "rbf"]}, r"its kernels \['dtw', 'rbf'\] compare rows and")
    refuses({"audio": "dtw", "survey": "wave"}, "'survey': kernel 'wave' is neither")
    refuses({"audio": DTWKernel("distance")}, r"is a distance; .* DTWKernel\('rbf'\)")
    refuses({"audio": DTWKernel("divergence")}, r"DTWKernel\('soft_dtw'\)")
    refuses({"audio": DTWKernel("cosine")}, "parameter of DTWKernel", error=TypeError)
    refuses({"audio": DTWKernel(softness=1.0)}, "leave softness at the default")
    refuses({"audio": MKLClassifier()}, "are no kernels", error=TypeError)
    refuses({"audio": "dtw"}, "'fourier' is for kernel='rbf'", approximation="fourier")
    refuses({"audio": "dtw", "noise": "dtw"}, r"kernel names \['noise'\]")
    counts = {"audio": X["audio"], "words": sparse.eye_array(24, format="csr")}
    refuses("dtw", "'words' is a sparse matrix, whose rows", counts, TypeError)
    spoilt = [x.copy() for x in X["audio"]]
    spoilt[3][1, 0] = np.nan
    refuses("dtw", "the sequence of sample 3 is NaN in frame 1", [spoilt])
    named = {"C": X["audio"], "survey": X["survey"]}
    refuses({"C": "dtw"}, r"modalities \['C'\] are called like parameters", named)
    fitted = MKLClassifier({"audio": "dtw"}).fit(X, y)
    with pytest.raises(ValueError, match="modality 'audio' of X is a table, but was"):
        fitted.predict({"audio": np.eye(24, 2), "survey": X["survey"]})


def test_frames_that_cost_something_beside_themselves_are_normalised():
    rng = np.random.default_rng(0)
    X = [[rng.normal(size=(6, 2)) for _ in range(12)]]
    for sequence in X[0][:5]:
        sequence[1] = 0  # without direction, of cost 1 in 'cosine'
    kernels = ModalityKernels(
        DTWKernel("rbf", metric="cosine"), normalize="cosine", scaling=None
    )
    K = kernels.fit_transform(X).blocks[0]
    np.testing.assert_allclose(kernels.transform(X).blocks[0], K, atol=1e-12)
    np.testing.assert_allclose(K.diagonal(), 1)
