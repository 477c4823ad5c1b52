"""MKLClusterer: recovery, new samples, noise, missing modalities, large n."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import normalize

from mmfusion import Modalities
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.metrics import clustering_accuracy_score
from mmfusion.mkl import MKLClusterer, ModalityKernels
from mmfusion.mkl._solvers import CLUSTERER_ALGORITHMS

WIDTHS = {"audio": 4, "text": 6, "video": 5}
X, Y = make_multimodal_blobs(120, WIDTHS, centers=3, cluster_std=0.7, random_state=3)


def noisy(n_noise, seed=0):
    rng = np.random.default_rng(seed)
    noise = {f"noise{v}": rng.normal(size=(len(X), 20)) for v in range(n_noise)}
    return Modalities(X.to_dict() | noise)


@pytest.mark.parametrize("algorithm", CLUSTERER_ALGORITHMS)
@pytest.mark.parametrize("approximation", [None, "nystroem"])
def test_clusters_are_found_and_training_samples_keep_their_labels(
    algorithm, approximation
):
    model = MKLClusterer(
        3, algorithm=algorithm, approximation=approximation, random_state=0
    ).fit(X)
    assert adjusted_rand_score(Y, model.labels_) > 0.9
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    half = MKLClusterer(
        3, algorithm=algorithm, approximation=approximation, random_state=0
    ).fit(X[::2])
    assert adjusted_rand_score(Y[1::2], half.predict(X[1::2])) > 0.9
    assert model.kernel_weights_.sum() == pytest.approx(1)
    assert len(model.objective_path_) == model.n_iter_


def test_the_embedding_is_that_of_the_weighted_kernel():
    model = MKLClusterer(3, random_state=0).fit(X)
    embedding = model.transform(X)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1)
    kernels = model.kernels_.transform(X)
    total = sum(
        w * kernels[n] for w, n in zip(model.kernel_weights_, X.names, strict=True)
    )
    values, vectors = np.linalg.eigh(total)
    expected = normalize(vectors[:, -3:] * np.sqrt(values[-3:]))
    np.testing.assert_allclose(
        embedding @ embedding.T, expected @ expected.T, atol=1e-6
    )
    assert model.get_feature_names_out().tolist() == [
        "mklclusterer0",
        "mklclusterer1",
        "mklclusterer2",
    ]


@pytest.mark.parametrize("n_noise", [1, 3])
def test_the_default_is_robust_to_noise_unlike_simple_mkkm(n_noise):
    frame = noisy(n_noise)
    robust = MKLClusterer(3, random_state=0).fit(frame)
    assert robust.modality_weights_[3:].sum() < 0.01
    plain = MKLClusterer(3, random_state=0).fit(X)
    loss = clustering_accuracy_score(Y, plain.labels_) - clustering_accuracy_score(
        Y, robust.labels_
    )
    assert loss < 0.01
    attracted = MKLClusterer(3, algorithm="simple_mkkm", random_state=0).fit(frame)
    assert attracted.modality_weights_[3:].sum() > 0.2


@pytest.mark.parametrize("algorithm", CLUSTERER_ALGORITHMS)
def test_weights_follow_the_modalities(algorithm):
    model = MKLClusterer(3, algorithm=algorithm, random_state=0).fit(X)
    turned = X[["video", "text", "audio"]]
    other = MKLClusterer(3, algorithm=algorithm, random_state=0).fit(turned)
    np.testing.assert_allclose(
        model.modality_weights_, other.modality_weights_[::-1], atol=1e-4
    )
    assert adjusted_rand_score(model.labels_, other.labels_) == 1


def test_the_size_of_kernels_does_not_matter_once_they_are_normalised():
    kernels = np.dstack([rbf_kernel(b, gamma=0.2) for b in X.blocks])
    sizes = np.array([1.0, 100.0, 0.01])
    one = MKLClusterer(3, kernel="precomputed", random_state=0).fit(kernels)
    other = MKLClusterer(3, kernel="precomputed", random_state=0).fit(kernels * sizes)
    np.testing.assert_allclose(one.kernel_weights_, other.kernel_weights_, atol=1e-6)
    np.testing.assert_array_equal(one.labels_, other.labels_)


def test_copies_of_all_modalities_do_not_change_the_average():
    doubled = Modalities(X.to_dict() | {f"{n}-copy": b for n, b in X.to_dict().items()})
    one = MKLClusterer(3, algorithm="average", random_state=0).fit(X)
    two = MKLClusterer(3, algorithm="average", random_state=0).fit(doubled)
    assert adjusted_rand_score(one.labels_, two.labels_) == 1


def test_weights_of_several_kernels_add_up_by_modality():
    model = MKLClusterer(
        3, kernel={"audio": ["rbf", "linear"]}, algorithm="average", random_state=0
    ).fit(X)
    np.testing.assert_allclose(model.kernel_weights_, 0.25)
    np.testing.assert_allclose(model.modality_weights_, [0.5, 0.25, 0.25])


def test_neighborhoods_of_all_samples_change_nothing():
    plain = MKLClusterer(3, algorithm="average", random_state=0).fit(X)
    local = MKLClusterer(3, algorithm="average", neighborhood=1.0, random_state=0)
    assert adjusted_rand_score(plain.labels_, local.fit(X).labels_) == 1
    near = MKLClusterer(3, algorithm="average", neighborhood=0.3, random_state=0)
    near.fit(X)
    assert adjusted_rand_score(Y, near.labels_) > 0.9
    np.testing.assert_array_equal(near.predict(X), near.labels_)
    with pytest.raises(ValueError, match="approximation=None"):
        near.set_params(approximation="nystroem").fit(X)


def test_neighborhoods_are_those_of_the_mean_kernel():
    from mmfusion.mkl._neighborhoods import fit_neighborhoods

    kernels = [rbf_kernel(b, gamma=0.2) for b in X.blocks]
    mean = np.mean(kernels, axis=0)
    near = np.argsort(-mean, axis=1)[:, :12]
    slow = np.zeros(mean.shape)
    for inside in near:
        slow[np.ix_(inside, inside)] += 1 / len(X)
    mask = fit_neighborhoods(kernels, 0.1).mask(kernels)
    np.testing.assert_allclose(mask, slow, atol=1e-6)


def test_samples_that_lack_modalities_are_clustered_with_what_they_have():
    lacking, y = make_multimodal_blobs(
        150, WIDTHS, centers=3, cluster_std=0.5, missing_rate=0.3, random_state=0
    )
    for approximation in (None, "nystroem"):
        model = MKLClusterer(3, approximation=approximation, random_state=0)
        model.fit(lacking)
        assert adjusted_rand_score(y, model.labels_) > 0.9
        np.testing.assert_array_equal(model.predict(lacking), model.labels_)
    empty = Modalities(X, observed=np.arange(360).reshape(120, 3) > 2)
    with pytest.raises(ValueError, match="sample 0 lacks every modality"):
        MKLClusterer(3).fit(empty)


def test_many_samples_are_clustered_by_explicit_features():
    many, y = make_multimodal_blobs(
        20_000, WIDTHS, centers=4, cluster_std=0.7, random_state=0
    )
    model = MKLClusterer(4, n_components=20, n_init=2, random_state=0).fit(many)
    assert model.kernels_.approximation_ == "nystroem"
    assert adjusted_rand_score(y, model.labels_) > 0.9
    few = MKLClusterer(4, random_state=0).fit(many[:1000])
    np.testing.assert_allclose(
        clustering_accuracy_score(y, few.predict(many)),
        clustering_accuracy_score(y, model.labels_),
        atol=0.02,
    )


def test_weights_that_have_not_converged_raise_a_warning():
    with pytest.warns(ConvergenceWarning, match="increase max_iter"):
        MKLClusterer(3, algorithm="mkkm", max_iter=1, tol=1e-12, random_state=0).fit(
            noisy(1)
        )


def test_more_clusters_than_samples_are_refused():
    with pytest.raises(ValueError, match="n_samples=4 should be >= n_clusters=5"):
        MKLClusterer(5).fit(X[:4])


def test_a_constant_modality_has_no_weight():
    frame = Modalities(X.to_dict() | {"still": np.ones((120, 3))})
    for algorithm in CLUSTERER_ALGORITHMS:
        model = MKLClusterer(3, algorithm=algorithm, random_state=0).fit(frame)
        assert model.modality_weights_[3] == 0
        assert adjusted_rand_score(Y, model.labels_) > 0.9


def test_score_selects_the_number_of_clusters():
    scores = [MKLClusterer(k, random_state=0).fit(X).score(X) for k in (2, 3, 8)]
    assert np.argmax(scores) == 1


def test_kernels_are_those_of_the_transformer():
    model = MKLClusterer(3, gamma={"audio": 0.1}, random_state=0).fit(X)
    made = ModalityKernels(gamma={"audio": 0.1}).fit(X)
    np.testing.assert_allclose(model.kernels_.gamma_, made.gamma_)


@pytest.mark.parametrize("unit", [1e-20, 1e20])
def test_units_beyond_single_precision_are_clustered(unit):
    rng = np.random.default_rng(0)
    rows = np.vstack([rng.normal(size=(130, 2)), rng.normal(size=(130, 2)) + 9])
    clusterer = MKLClusterer(
        2, kernel="linear", scaling=None, normalize=None, random_state=0
    ).fit([unit * rows])
    assert sorted(np.bincount(clusterer.labels_).tolist()) == [130, 130]
