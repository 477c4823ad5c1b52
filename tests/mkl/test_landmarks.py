"""Landmarks that the user gives: all samples of fit give the exact kernel."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import SVC

from mmfusion import Modalities
from mmfusion.datasets import make_multimodal_blobs, make_multimodal_sequences
from mmfusion.mkl import MKLClassifier, MKLClusterer, MKLRegressor, ModalityKernels

WIDTHS = {"audio": 4, "text": 150}
X, Y = make_multimodal_blobs(
    90, WIDTHS, centers=2, cluster_std=3.0, missing_rate=0.1, random_state=0
)
TRAIN, TEST = slice(60), slice(60, 90)
VALUES = np.sin(np.nan_to_num(X["audio"]).sum(axis=1)) + Y
MACHINES = [MKLClassifier, MKLRegressor, MKLClusterer]


def weighted_gram(model, samples):
    """Exact kernel of samples with those of fit, weighted as in a model."""
    kernels = ModalityKernels(model.kernel, approximation=None).fit(X[TRAIN])
    grams = kernels.transform(samples).blocks
    return sum(w * K for w, K in zip(model.kernel_weights_, grams, strict=True))


@pytest.mark.parametrize("normalize", ["trace", "cosine", None])
@pytest.mark.parametrize("kernel", ["rbf", "linear", "poly", "laplacian", "cosine"])
def test_all_samples_as_landmarks_give_the_exact_kernel(kernel, normalize):
    options = dict(normalize=normalize)
    exact = ModalityKernels(kernel, approximation=None, **options).fit(X[TRAIN])
    made = ModalityKernels(kernel, landmarks=X[TRAIN], n_components=2, **options)
    features = made.fit(X[TRAIN]).transform(X)
    assert made.approximation_ == "nystroem"
    expected = exact.transform(X)
    # of new samples features have the norm of what is in the span of the landmarks
    rows = TRAIN if normalize == "cosine" else slice(None)
    for name, Z in features.to_dict().items():
        size = np.abs(expected[name]).max()
        found = Z[rows] @ Z[TRAIN].T
        np.testing.assert_allclose(found, expected[name][rows], atol=1e-8 * size)


def test_sequences_are_landmarks():
    kernel = "global_alignment"
    walks, _, _ = make_multimodal_sequences(20, {"gait": 2}, n_frames=12)
    exact = ModalityKernels(kernel, approximation=None).fit_transform(walks)
    given = {"gait": [np.asarray(own, np.float32) for own in walks["gait"]]}
    Z = ModalityKernels(kernel, landmarks=walks).fit_transform(walks)["gait"]
    np.testing.assert_allclose(Z @ Z.T, exact["gait"], atol=1e-6)
    single = ModalityKernels(kernel, landmarks=given).fit_transform(walks)["gait"]
    np.testing.assert_allclose(single @ single.T, exact["gait"], atol=1e-2)


def test_the_regressor_is_exact_kernel_ridge_regression():
    model = MKLRegressor(C=2, epsilon=0, landmarks=X[TRAIN], algorithm="average")
    model.fit(X[TRAIN], VALUES[TRAIN])
    center = VALUES[TRAIN].mean()
    # squared errors with the cost C have a penalty of 1 / 2C; features have an
    # intercept, which centres what samples that lack modalities leave
    K, new = (weighted_gram(model, X[part]) for part in (TRAIN, TEST))
    new = new - K.mean(axis=0)
    K = K - K.mean(axis=0)
    new, K = (own - own.mean(axis=1)[:, None] for own in (new, K))
    ridge = KernelRidge(alpha=1 / 4, kernel="precomputed")
    expected = ridge.fit(K, VALUES[TRAIN] - center).predict(new) + center
    np.testing.assert_allclose(model.predict(X[TEST]), expected, atol=2e-3)


@pytest.mark.parametrize("algorithm", ["alignment", "average"])
def test_the_classifier_is_the_exact_machine_of_squared_errors(algorithm):
    options = dict(algorithm=algorithm, C=0.5)
    model = MKLClassifier(landmarks=X[TRAIN], **options).fit(X[TRAIN], Y[TRAIN])
    exact = MKLClassifier(approximation=None, **options).fit(X[TRAIN], Y[TRAIN])
    np.testing.assert_allclose(model.kernel_weights_, exact.kernel_weights_, atol=1e-6)
    # its dual is that of a machine without errors and 1 / 2C more on the diagonal
    K = weighted_gram(model, X[TRAIN])
    svc = SVC(kernel="precomputed", C=1e10, tol=1e-8).fit(K + np.eye(60), Y[TRAIN])
    expected = svc.decision_function(weighted_gram(model, X[TEST]))
    np.testing.assert_allclose(model.decision_function(X[TEST]), expected, atol=2e-3)


def test_the_clusterer_is_that_of_exact_kernels():
    options = dict(n_clusters=2, random_state=0, algorithm="simple_mkkm")
    model = MKLClusterer(landmarks=X[TRAIN], **options).fit(X[TRAIN])
    exact = MKLClusterer(approximation=None, **options).fit(X[TRAIN])
    np.testing.assert_allclose(model.kernel_weights_, exact.kernel_weights_, atol=1e-5)
    assert adjusted_rand_score(model.labels_, exact.labels_) == 1
    one, other = model.transform(X), exact.transform(X)
    np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-3)


@pytest.mark.parametrize("machine", MACHINES)
def test_landmarks_come_in_any_form_of_the_samples(machine):
    complete, y = make_multimodal_blobs(60, WIDTHS, centers=2, random_state=0)
    model = machine(random_state=0)
    some = complete[:10]
    forms = [
        some,
        some.to_dict(),
        list(some.blocks),
        some[["text", "audio"]],
        Modalities(
            {n: block.astype(np.float32) for n, block in some.to_dict().items()}
        ),
        {"audio": some["audio"], "text": sparse.csr_array(some["text"])},
    ]
    found = [
        model.set_params(landmarks=form).fit(complete, y).predict(complete)
        for form in forms
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-4)
    table = complete.to_array()
    model.set_params(modalities=[4, 150])
    of_table = model.set_params(landmarks=table[:10]).fit(table, y).predict(table)
    np.testing.assert_allclose(of_table, found[0], atol=1e-4)
    names = [f"f{j}" for j in range(154)]
    frame = pd.DataFrame(table, columns=names)
    spec = {"audio": names[:4], "text": names[4:]}
    model.set_params(modalities=spec, landmarks=frame[names[::-1]][:10])
    np.testing.assert_allclose(model.fit(frame, y).predict(frame), found[0], atol=1e-4)


def test_landmarks_that_lack_a_modality_are_those_of_the_others():
    given = {"audio": X["audio"][:8].copy(), "text": X["text"][:8]}
    given["audio"][:3] = np.nan
    model = ModalityKernels(landmarks=given).fit(X)
    counts = [np.isfinite(block).all(axis=1).sum() for block in given.values()]
    assert [block.shape[1] for block in model.transform(X).blocks] == counts


def test_searches_split_samples_but_not_landmarks():
    model = MKLClassifier(landmarks=X[:20])
    assert cross_val_score(model, X, Y, cv=2).shape == (2,)
    search = GridSearchCV(
        model, {"landmarks": [X[:5].to_dict(), X[:40].to_dict(), None]}, cv=2
    )
    best = search.fit(X, Y).best_estimator_
    assert best.approximation_ in ("nystroem", None)
    loaded = pickle.loads(pickle.dumps(model.fit(X, Y)))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_an_integer_is_still_the_number_of_samples_of_exact_kernels():
    model = MKLClassifier(landmarks=X[:20], approximation=80)
    assert model.fit(X[:80], Y[:80]).approximation_ is None
    assert model.fit(X, Y).approximation_ == "nystroem"


def test_kernels_of_the_clusterer_take_the_same_table():
    table = np.random.default_rng(0).normal(size=(30, 6))
    model = MKLClusterer(2, modalities=[2, 4], landmarks=table[:9]).fit(table)
    assert model.kernels_.transform(table).shape == (30, 2 * 9)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (X[["audio"]], r"landmarks: X has 1 modalities, \['audio'\], but .* 2"),
        (
            {"audio": X["audio"], "text": X["text"][:, :3]},
            r"landmarks: modality 'text' of X has 3 features, but .* expecting 150",
        ),
        ({"audio": X["audio"], "eyes": X["text"]}, r"landmarks: .*\['eyes'\] unseen"),
        (
            {"audio": [None] * 5, "text": np.ones((5, 150))},
            "modality 'audio': no sample of landmarks has it",
        ),
        ({"audio": [None], "text": [None]}, "landmarks: "),
        (3, "'landmarks' parameter"),
    ],
)
def test_landmarks_that_do_not_fit_are_refused(machine, given, message):
    with pytest.raises(ValueError, match=message):
        machine(landmarks=given).fit(X, Y)


@pytest.mark.parametrize("machine", MACHINES)
def test_landmarks_that_would_not_be_used_are_refused(machine):
    for approximation in (None, "fourier"):
        with pytest.raises(ValueError, match="set approximation='nystroem', or land"):
            machine(landmarks=X, approximation=approximation).fit(X, Y)
    K = np.eye(len(Y))
    for kernel in ("precomputed", {"b": "precomputed"}):
        model = machine(kernel, landmarks=X) if machine is not MKLClusterer else None
        model = model or machine(2, kernel=kernel, landmarks=X)
        with pytest.raises(ValueError, match=r"'[ab]': .*precomputed.* landmarks=None"):
            model.fit(Modalities({"a": K, "b": K}), Y)
