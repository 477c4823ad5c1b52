"""Invariances: what must not change, or change along, when the data are described anew.

The rows are shown by docs/development/limits.rst. That the order of samples only
permutes results is a check of the multimodal contract for every estimator; here it
stands for sequences, which the contract does not have.
"""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from mmfusion import Modalities, Trainer
from mmfusion.datasets import (
    make_event_sequences,
    make_multimodal_blobs,
    make_parallel_corpus,
)
from mmfusion.testing import all_estimators

from .tables import Table

INVARIANCES = Table(without={"ModalitySplitter": "it moves columns as they are"})
NAMES = ["audio", "text", "video"]
CLUSTERERS = "EarlyFusionClusterer HybridFusionClusterer LateFusionClusterer"
FUSION_PREDICTORS = (
    "EarlyFusionClassifier EarlyFusionRegressor HybridFusionClassifier "
    "HybridFusionRegressor LateFusionClassifier LateFusionRegressor"
)
COMBINES = ["hbgf", "vote", "soft_vote", "coassociation"]
FUSIONS = ["blend", "average", "auto_weight", "co_regularized", "concatenated"]
ALIGNERS = "CTWAligner DTWAligner PairHMMAligner"
# clear enough that no tie is broken by the order of modalities or by rounding
X, CLASSES = make_multimodal_blobs(
    80, dict.fromkeys(NAMES, 4), cluster_std=[1.5, 2.0, 2.5], random_state=0
)
VALUES = X["audio"].sum(axis=1) + np.sin(X["video"][:, 0])
UNITS = [1e4, 1e-4]
WEIGHTS = {"audio": 1.0, "text": 0.7, "video": 1.1}


def in_unit(unit, offset=0.0):
    """The data with another unit and zero of one modality."""
    return Modalities(X.to_dict() | {"text": unit * X["text"] + offset})


def target(cls):
    return VALUES if "Regressor" in cls.__name__ else CLASSES


def recordings(missing=()):
    """Sensors of one movement, at different pace; samples that lack audio."""
    rng = np.random.default_rng(0)
    audio = [np.cumsum(rng.normal(size=(n, 2)), axis=0) for n in (15, 18, 21, 16)]
    video = [np.repeat(a, 2, axis=0)[::3] for a in audio]
    touch = [a[::2] @ [[1.0, -1.0], [0.5, 2.0]] for a in audio]
    audio = [None if i in missing else a for i, a in enumerate(audio)]
    return Modalities({"audio": audio, "video": video, "touch": touch})


def assert_same_paths(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


def assert_same_partition(a, b):
    assert adjusted_rand_score(a, b) == pytest.approx(1)


# Order


@INVARIANCES.row(CLUSTERERS, "order of modalities", "same partition")
def clusters_of_modalities_in_another_order(cls):
    clusterer = cls(AgglomerativeClustering(3), weights=WEIGHTS)
    expected = clusterer.fit(X).labels_
    assert_same_partition(clusterer.fit(X[NAMES[::-1]]).labels_, expected)


@INVARIANCES.row(
    "AnchorGraphClusterer",
    "order of modalities",
    "same partition",
    weights=["adaptive", "reconstruction"],
)
def anchor_cuts_of_modalities_in_another_order(cls, weights):
    clusterer = cls(3, weights=weights, random_state=0)
    expected = clusterer.fit(X).labels_
    assert_same_partition(clusterer.fit(X[NAMES[::-1]]).labels_, expected)


@INVARIANCES.row(
    "AnchorGraphClusterer", "unit and offset of a modality", "same partition"
)
def anchor_cuts_in_another_unit(cls):
    clusterer = cls(3, scaling="block", random_state=0)
    expected = clusterer.fit(X).labels_
    for unit in UNITS:
        found = clusterer.fit(in_unit(unit, offset=3 * unit)).labels_
        assert_same_partition(found, expected)


@INVARIANCES.row(
    "SpectralClusterer", "order of modalities", "same partition", fusion=FUSIONS
)
def cuts_of_modalities_in_another_order(cls, fusion):
    clusterer = cls(3, fusion=fusion, random_state=0)
    expected = clusterer.fit(X).labels_
    assert_same_partition(clusterer.fit(X[NAMES[::-1]]).labels_, expected)


@INVARIANCES.row(
    "MultimodalClusterer SNFClusterer GMCClusterer",
    "order of modalities",
    "same partition",
)
def networks_of_modalities_in_another_order(cls):
    clusterer = cls(3, random_state=0)
    expected = clusterer.fit(X).labels_
    assert_same_partition(clusterer.fit(X[NAMES[::-1]]).labels_, expected)


@INVARIANCES.row(
    "SNFClusterer GMCClusterer", "unit and offset of a modality", "same partition"
)
def networks_in_another_unit(cls):
    clusterer = cls(3, scaling="block", random_state=0)
    expected = clusterer.fit(X).labels_
    for unit in UNITS:
        found = clusterer.fit(in_unit(unit, offset=3 * unit)).labels_
        assert_same_partition(found, expected)


@INVARIANCES.row(
    "SpectralClusterer",
    "unit and offset of a modality",
    "same partition",
    fusion=FUSIONS,
)
def cuts_in_another_unit(cls, fusion):
    clusterer = cls(3, fusion=fusion, scaling="block", random_state=0)
    expected = clusterer.fit(X).labels_
    for unit in UNITS:
        found = clusterer.fit(in_unit(unit, offset=3 * unit)).labels_
        assert_same_partition(found, expected)


@INVARIANCES.row(
    "LateFusionClusterer",
    "order of modalities, every combination",
    "same partition",
    combine=COMBINES,
    order=[[2, 0, 1], [1, 0, 2]],
)
def consensus_of_modalities_in_another_order(cls, combine, order):
    clusterer = cls(AgglomerativeClustering(3), combine=combine, weights=WEIGHTS)
    expected, agreement = clusterer.fit(X).labels_, clusterer.agreement_
    clusterer.fit(X[[NAMES[v] for v in order]])
    assert_same_partition(clusterer.labels_, expected)
    np.testing.assert_allclose(clusterer.agreement_, agreement[order], atol=0.05)


@INVARIANCES.row(
    "LateFusionClusterer",
    "order of samples, every combination",
    "same partition, permuted",
    combine=COMBINES,
    seed=[0, 1, 2],
)
def consensus_of_samples_in_another_order(cls, combine, seed):
    data, _ = make_multimodal_blobs(
        80, dict.fromkeys(NAMES, 4), cluster_std=[1.5, 2.0, 2.5], random_state=seed
    )
    order = np.random.default_rng(seed).permutation(len(data))
    clusterer = cls(AgglomerativeClustering(3), combine=combine, weights=WEIGHTS)
    expected = clusterer.fit(data).labels_[order]
    assert_same_partition(clusterer.fit(data[order]).labels_, expected)


@INVARIANCES.row(
    FUSION_PREDICTORS,
    "order of modalities, some missing",
    "same predictions and probabilities",
)
def predictions_of_modalities_in_another_order(cls):
    observed = np.random.default_rng(0).random(X.shape) < 0.8
    observed[~observed.any(axis=1)] = True
    data = Modalities(X, observed=observed)
    turned = data[NAMES[::-1]]
    method = "predict" if "Regressor" in cls.__name__ else "predict_proba"
    expected = getattr(cls().fit(data, target(cls)), method)(data)
    found = getattr(cls().fit(turned, target(cls)), method)(turned)
    np.testing.assert_allclose(found, expected, atol=2e-4)


@INVARIANCES.row(
    "LateFusionClassifier",
    "order of modalities, some missing, weights and calibration learned",
    "same weights, same decision function",
    combine=["soft_vote", "hard_vote", "log_pool", "stacking"],
)
def learned_weights_of_modalities_in_another_order(cls, combine):
    data, y = make_multimodal_blobs(
        120,
        dict(zip(NAMES, (3, 4, 2), strict=True)),
        cluster_std=3.0,
        missing_rate=0.2,
        random_state=0,
    )
    late = cls(
        RandomForestClassifier(5),
        combine=combine,
        weights="log_loss",
        calibration="sigmoid",
        sample_weighting="conformal",
        random_state=0,
    )
    turned = data[NAMES[::-1]]
    expected, found = clone(late).fit(data, y), clone(late).fit(turned, y)
    np.testing.assert_allclose(
        found.modality_weights_[::-1], expected.modality_weights_
    )
    np.testing.assert_allclose(
        found.decision_function(turned), expected.decision_function(data), atol=1e-3
    )


@INVARIANCES.row(
    "MKLClassifier",
    "order of modalities, every algorithm",
    "same weights, same predictions",
    algorithm=["alignment", "average", "easymkl", "l1", "lp"],
)
def kernel_machine_of_modalities_in_another_order(cls, algorithm):
    noise = np.random.default_rng(0).normal(size=(len(X), 20))
    data = Modalities(X.to_dict() | {"noise": noise})
    order = [3, 2, 0, 1]
    turned = data[[data.names[v] for v in order]]
    one = cls(algorithm=algorithm, tol=1e-6).fit(data, CLASSES)
    other = cls(algorithm=algorithm, tol=1e-6).fit(turned, CLASSES)
    np.testing.assert_allclose(
        other.modality_weights_, one.modality_weights_[order], atol=1e-3
    )
    np.testing.assert_array_equal(other.predict(turned), one.predict(data))


@INVARIANCES.row("MKLRegressor", "order of modalities", "same predictions")
def values_of_modalities_in_another_order(cls):
    turned = X[NAMES[::-1]]
    expected = cls().fit(X, VALUES).predict(X)
    np.testing.assert_allclose(cls().fit(turned, VALUES).predict(turned), expected)


@INVARIANCES.row("MKLClusterer", "order of modalities", "same partition, same weights")
def kernel_weights_of_modalities_in_another_order(cls):
    one = cls(3, random_state=0).fit(X)
    other = cls(3, random_state=0).fit(X[NAMES[::-1]])
    assert_same_partition(other.labels_, one.labels_)
    np.testing.assert_allclose(other.modality_weights_[::-1], one.modality_weights_)


@INVARIANCES.row(
    "EarlyFusion ModalityImputer ModalityKernels PerModality SequencePooling",
    "order of modalities",
    "same features, in the order of the modalities",
)
def features_of_modalities_in_another_order(cls):
    turned = X[NAMES[::-1]]
    one, other = cls().fit(X), cls().fit(turned)
    found, expected = other.transform(turned), one.transform(X)
    if isinstance(expected, Modalities):
        assert found[NAMES] == expected
    else:
        names = other.get_feature_names_out().tolist()
        columns = [names.index(name) for name in one.get_feature_names_out()]
        np.testing.assert_allclose(found[:, columns], expected)


@INVARIANCES.row("MultimodalCCA", "order of modalities", "same common scores")
def canonical_scores_of_modalities_in_another_order(cls):
    turned = X[NAMES[::-1]]
    one, other = cls(2).fit(X), cls(2).fit(turned)
    np.testing.assert_allclose(other.transform(turned), one.transform(X), atol=1e-9)


@INVARIANCES.row(
    "MultimodalCCA", "any linear map of a modality", "same scores, not shrunk"
)
def canonical_scores_of_a_modality_in_other_axes(cls):
    mapped = X["text"] @ np.random.default_rng(0).normal(size=(4, 4)) + 3
    one = cls(2, shrinkage=0.0).fit_transform(X)
    other = cls(2, shrinkage=0.0).fit_transform(X.to_dict() | {"text": mapped})
    np.testing.assert_allclose(other, one, atol=1e-8)


@INVARIANCES.row("MultimodalNMF", "order of modalities", "same consensus")
def factorisation_of_modalities_in_another_order(cls):
    counts = {n: np.exp(block / 4) for n, block in X.to_dict().items()}
    turned = dict(reversed(counts.items()))
    one, other = cls(3).fit_transform(counts), cls(3).fit_transform(turned)
    np.testing.assert_allclose(other, one, atol=1e-3)


@INVARIANCES.row("MultimodalNMF", "unit of a modality", "same consensus")
def factorisation_of_modalities_in_other_units(cls):
    counts = {n: np.exp(block / 4) for n, block in X.to_dict().items()}
    other = cls(3).fit_transform(counts | {"text": 1000 * counts["text"]})
    np.testing.assert_allclose(other, cls(3).fit_transform(counts), atol=1e-3)


@INVARIANCES.row(ALIGNERS, "order of modalities", "same warping paths")
def paths_of_modalities_in_another_order(cls):
    data = recordings()
    one = cls(reference="audio").fit(data)
    other = cls(reference="audio").fit(data[["video", "touch", "audio"]])
    assert_same_paths(other.paths_, one.paths_)


@INVARIANCES.row(
    "CTWAligner",
    "order of modalities",
    "same correlations of projections, same score",
)
def correlations_of_modalities_in_another_order(cls):
    data = recordings()
    turned = data[["video", "touch", "audio"]]
    one = cls(reference="audio").fit(data)
    other = cls(reference="audio").fit(turned)
    np.testing.assert_allclose(one.correlations_, other.correlations_)
    assert one.score(data) == pytest.approx(other.score(turned))


@INVARIANCES.row(
    ALIGNERS,
    "order of samples, some without the reference",
    "same warping paths and distances, permuted",
)
def paths_of_samples_in_another_order(cls):
    data, order = recordings(missing={2}), [3, 1, 0, 2]
    one, other = cls().fit(data), cls().fit(data[order])
    assert_same_paths(other.paths_, [one.paths_[i] for i in order])
    np.testing.assert_allclose(other.distances_, one.distances_[order])


@INVARIANCES.row("CTWAligner", "order of samples", "same projections")
def projections_of_samples_in_another_order(cls):
    data, order = recordings(), [3, 1, 0, 2]
    one, other = cls().fit(data), cls().fit(data[order])
    for name, projection in one.projections_.items():
        np.testing.assert_allclose(projection, other.projections_[name], atol=1e-6)


@INVARIANCES.row("DTWKernel", "order of samples", "same kernel, permuted")
def kernel_of_samples_in_another_order(cls):
    data, order = recordings(), [3, 1, 0, 2]
    expected = cls().fit_transform(data)[np.ix_(order, order)]
    np.testing.assert_allclose(cls().fit_transform(data[order]), expected)


@INVARIANCES.row("DTWKernel", "order of modalities", "same kernel")
def kernel_of_modalities_in_another_order(cls):
    data = recordings()
    found = cls().fit_transform(data[["video", "touch", "audio"]])
    np.testing.assert_allclose(found, cls().fit_transform(data))


# Units and offsets


@INVARIANCES.row(CLUSTERERS, "unit and offset of a modality", "same partition")
def clusters_in_another_unit(cls):
    clusterer = cls(AgglomerativeClustering(3), scaling="block", weights=WEIGHTS)
    expected = clusterer.fit(X).labels_
    for unit in UNITS:
        found = clusterer.fit(in_unit(unit, offset=3 * unit)).labels_
        assert_same_partition(found, expected)


@INVARIANCES.row(
    "MKLClusterer SingleModalityClusterer",
    "unit and offset of a modality",
    "same partition",
)
def clusters_of_other_clusterers_in_another_unit(cls):
    clusterer = cls(n_clusters=3, scaling="block", random_state=0)
    expected = clusterer.fit(X).labels_
    for unit in UNITS:
        assert_same_partition(clusterer.fit(in_unit(unit, unit)).labels_, expected)


@INVARIANCES.row(
    "LateFusionClusterer",
    "unit of a modality, every combination",
    "same partition",
    combine=COMBINES,
    scaling=["block", "standard", "l2"],
    unit=UNITS,
)
def consensus_in_another_unit(cls, combine, scaling, unit):
    clusterer = cls(
        AgglomerativeClustering(3), combine=combine, scaling=scaling, weights=WEIGHTS
    )
    expected = clusterer.fit(X).labels_
    assert_same_partition(clusterer.fit(in_unit(unit)).labels_, expected)


@INVARIANCES.row(
    "LateFusionClusterer",
    "unit of a modality, weights by quality",
    "same weights",
    weights=["agreement", "inverse_variance", "silhouette"],
)
def qualities_in_another_unit(cls, weights):
    late = cls(AgglomerativeClustering(3), weights=weights, scaling="block")
    expected = late.fit(X).modality_weights_
    np.testing.assert_allclose(late.fit(in_unit(1000)).modality_weights_, expected)


@INVARIANCES.row(
    "MKLClassifier MKLRegressor", "unit and offset of a modality", "same predictions"
)
@INVARIANCES.row(FUSION_PREDICTORS, "unit and offset of a modality", "same predictions")
def predictions_in_another_unit(cls):
    predictor = cls(scaling="block")
    expected = predictor.fit(X, target(cls)).predict(X)
    for unit in UNITS:
        other = in_unit(unit, unit)
        found = predictor.fit(other, target(cls)).predict(other)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@INVARIANCES.row(
    "AutoencoderClusterer CoMVCClusterer DMSCClusterer EAMCClusterer MFLVCClusterer "
    "SiMVCClusterer",
    "unit and offset of a modality",
    "same prepared data, same labels",
)
def clusters_of_a_network_in_another_unit(cls):
    trainer = Trainer(max_epochs=4, batch_size=40)
    if "pretrain_epochs" in cls()._trainer_defaults:
        trainer.set_params(pretrain_epochs=2)
    network = cls(3, encoders=[8, 4], n_init=1, trainer=trainer, random_state=0)
    expected = network.fit_predict(X)
    found = network.fit_predict(in_unit(1024.0))  # a power of 2 changes no digit
    np.testing.assert_array_equal(found, expected)


@INVARIANCES.row(
    "NeuralFusionClassifier NeuralFusionRegressor",
    "unit and offset of a modality",
    "same predictions",
)
def predictions_of_a_network_in_another_unit(cls):
    trainer = Trainer(max_epochs=4, dtype="float64")
    network = cls(encoders=[8, 4], trainer=trainer, random_state=0)
    expected = network.fit(X, target(cls)).predict(X)
    other = in_unit(1024.0, 5.0)
    found = network.fit(other, target(cls)).predict(other)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@INVARIANCES.row("DCCA", "unit of a modality", "same prepared data, same scores")
def deep_scores_in_another_unit(cls):
    dcca = cls(encoders=[8, 4], trainer=Trainer(max_epochs=4), random_state=0)
    expected = dcca.fit_transform(X)
    found = dcca.fit_transform(in_unit(1024.0))  # a power of 2 changes no digit
    np.testing.assert_allclose(found, expected, atol=1e-9)


@INVARIANCES.row("DCCA", "order of samples, all in one batch", "same scores")
def deep_scores_of_samples_in_another_order(cls):
    trainer = Trainer(max_epochs=4, dtype="float64")
    dcca = cls(encoders=[8, 4], trainer=trainer, random_state=0)
    order = np.random.default_rng(0).permutation(len(X))
    expected = dcca.fit_transform(X)[order]
    np.testing.assert_allclose(dcca.fit_transform(X[order]), expected, atol=1e-6)


@INVARIANCES.row("EarlyFusion", "unit and offset of a modality", "same features")
def features_in_another_unit(cls):
    for scaling in ("block", "standard"):
        expected = cls(scaling).fit_transform(X)
        for unit in UNITS:
            found = cls(scaling).fit_transform(in_unit(unit, unit))
            np.testing.assert_allclose(found, expected, atol=1e-9)


@INVARIANCES.row("ModalityKernels", "unit and offset of a modality", "same kernels")
def kernels_in_another_unit(cls):
    for kernel in ("rbf", "linear", "laplacian"):
        expected = cls(kernel, scaling="block").fit_transform(X)
        for unit in UNITS:
            found = cls(kernel, scaling="block").fit_transform(in_unit(unit, unit))
            np.testing.assert_allclose(found["text"], expected["text"], atol=1e-9)


@INVARIANCES.row(
    "ModalityImputer",
    "unit of a modality",
    "same neighbours: this modality is filled in in its unit, others as they were",
)
def imputations_in_another_unit(cls):
    observed = np.random.default_rng(0).random(X.shape) < 0.8
    observed[~observed.any(axis=1)] = True
    for unit in UNITS:
        one = cls("knn").fit_transform(Modalities(X, observed=observed))
        scaled = Modalities(in_unit(unit), observed=observed)
        other = cls("knn").fit_transform(scaled)
        np.testing.assert_allclose(other["audio"], one["audio"])
        np.testing.assert_allclose(other["text"], unit * one["text"])


@INVARIANCES.row(
    "SequencePooling SequenceResampler",
    "unit of a modality",
    "same features in this unit",
)
def sequences_in_another_unit(cls):
    for unit in UNITS:
        one = cls().fit_transform([recordings()["audio"]]).blocks[0]
        other = cls().fit_transform([[unit * x for x in recordings()["audio"]]])
        np.testing.assert_allclose(other.blocks[0], unit * one, atol=1e-9 * unit)


@INVARIANCES.row(
    "GaussianBayesClassifier",
    "order of modalities; unit and offset of one",
    "same probabilities",
    covariance_type=["tied", "diag", "full", "mixture"],
)
def densities_in_another_order_and_unit(cls, covariance_type):
    classifier = cls(covariance_type, random_state=0)
    expected = classifier.fit(X, CLASSES).predict_proba(X)
    if covariance_type != "mixture":  # first centres are drawn one after another
        turned = X[NAMES[::-1]]
        found = classifier.fit(turned, CLASSES).predict_proba(turned)
        np.testing.assert_allclose(found, expected, atol=1e-8)
    for unit in UNITS:
        scaled = in_unit(unit, offset=3 * unit)
        found = classifier.fit(scaled, CLASSES).predict_proba(scaled)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@INVARIANCES.row(
    "MultimodalMixture", "order of modalities; unit and offset of one", "same partition"
)
def mixtures_in_another_order_and_unit(cls):
    mixture = cls(3, scaling="standard", random_state=0)
    expected = mixture.fit(X).labels_
    assert_same_partition(mixture.fit(X[NAMES[::-1]]).labels_, expected)
    for unit in UNITS:
        found = mixture.fit(in_unit(unit, offset=3 * unit)).labels_
        assert_same_partition(found, expected)


@INVARIANCES.row(
    "HMMClusterer", "order of modalities; unit and offset of one", "same partition"
)
def mixtures_of_chains_in_another_order_and_unit(cls):
    data = recordings()
    model = cls(2, n_states=2, n_init=1, random_state=0)
    expected = model.fit(data).labels_
    other = data[list(data.names[::-1])]
    assert_same_partition(model.fit(other).labels_, expected)
    for unit in UNITS:
        audio = [unit * (x + 3) for x in data["audio"]]
        found = model.fit(data.to_dict() | {"audio": audio}).labels_
        assert_same_partition(found, expected)


@INVARIANCES.row("HMMClassifier", "order of modalities", "same probabilities")
def chains_of_modalities_in_another_order(cls):
    data, y = recordings(missing=(1,)), [0, 1, 1, 0]
    other = data[list(data.names[::-1])]
    np.testing.assert_allclose(
        cls(3).fit(data, y).predict_proba(data),
        cls(3).fit(other, y).predict_proba(other),
    )


@INVARIANCES.row("HiddenCRFClassifier", "order of modalities", "same probabilities")
@INVARIANCES.row(
    "HiddenCRFClassifier", "unit and offset of a modality", "same probabilities"
)
def hidden_states_of_modalities_in_another_form(cls):
    data, y = recordings(), [0, 1, 1, 0]
    # of one state, whose objective is convex: noise on the weights has an order
    model = cls(1, tol=1e-9, max_iter=1000)
    expected = model.fit(data, y).predict_proba(data)
    audio = [100 * (x + 3) for x in data["audio"]]
    for other in (
        data[list(data.names[::-1])],
        Modalities(data.to_dict() | {"audio": audio}),
    ):
        found = model.fit(other, y).predict_proba(other)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@INVARIANCES.row("HMMClassifier", "unit and offset of a modality", "same probabilities")
def chains_in_another_unit(cls):
    data, y = recordings(), [0, 1, 1, 0]
    expected = cls(3).fit(data, y).predict_proba(data)
    for unit in UNITS:
        audio = [unit * (x + 3) for x in data["audio"]]
        scaled = Modalities(data.to_dict() | {"audio": audio})
        found = cls(3).fit(scaled, y).predict_proba(scaled)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@INVARIANCES.row(
    "HMMClassifier", "two copies of a modality at half its weight", "same probabilities"
)
def chains_of_copies(cls):
    audio, y = recordings()["audio"], [0, 1, 1, 0]
    one, two = Modalities({"a": audio}), Modalities({"a": audio, "b": audio})
    np.testing.assert_allclose(
        cls(3).fit(one, y).predict_proba(one),
        cls(3, modality_weights=0.5).fit(two, y).predict_proba(two),
        rtol=1e-6,
    )


@INVARIANCES.row("CRFLabeler HMMLabeler", "order of modalities", "same labels")
def labels_of_modalities_in_another_order(cls):
    audio, y = (
        recordings()["audio"],
        [np.arange(len(x)) // 8 for x in recordings()["audio"]],
    )
    data = Modalities(
        {"audio": audio, "touch": [x[::2] @ [[1.0], [2.0]] for x in audio]}
    )
    other = data[["touch", "audio"]]
    one, two = (cls().fit(d, y).predict_marginals(d) for d in (data, other))
    one, two = (np.concatenate(list(found)) for found in (one, two))
    np.testing.assert_allclose(one, two, atol=1e-7)


@INVARIANCES.row(
    "CRFLabeler HMMLabeler", "unit and offset of a modality", "same labels"
)
def labels_in_another_unit(cls):
    audio = recordings()["audio"]
    y = [np.arange(len(x)) // 8 for x in audio]
    expected = np.concatenate(list(cls().fit([audio], y).predict_marginals([audio])))
    for unit in UNITS:
        scaled = [[unit * (x + 3) for x in audio]]
        found = cls().fit(scaled, y).predict_marginals(scaled)
        np.testing.assert_allclose(np.concatenate(list(found)), expected, atol=1e-8)


@INVARIANCES.row(
    "CTCRecognizer", "unit and offset of a modality", "same log-probabilities"
)
def transcripts_in_another_unit(cls):
    audio = recordings()["audio"]
    y = [np.arange(1 + i % 3) for i in range(len(audio))]
    options = {"encoders": (4,), "trainer": Trainer(max_epochs=2), "random_state": 0}

    def tables(X):
        found = cls(**options).fit(X, y).frame_log_probabilities(X)
        return np.concatenate(list(found))

    expected = tables([audio])
    for unit in UNITS:
        # networks are trained in float32
        scaled = [[unit * (x + 3) for x in audio]]
        np.testing.assert_allclose(tables(scaled), expected, atol=1e-3)


@INVARIANCES.row("SequenceGradients", "unit of a modality", "same frames in this unit")
def gradients_in_another_unit(cls):
    audio = recordings()["audio"]
    for unit in UNITS:
        found = cls().fit_transform([[unit * x for x in audio]]).blocks[0]
        for one, other in zip(
            cls().fit_transform([audio]).blocks[0], found, strict=True
        ):
            np.testing.assert_allclose(other, unit * one, rtol=1e-9, atol=1e-9 * unit)


@INVARIANCES.row(
    "HMMTransformer",
    "unit and offset of a modality",
    "same posteriors of states",
    coupling=["synchronous", "product", "coupled", "factorial", "hierarchical"],
)
def states_in_another_unit(cls, coupling):
    model = cls(2, coupling, n_init=1, random_state=0)
    data = recordings()
    data = data[["audio", "video"]] if coupling == "product" else data
    expected = model.fit(data).state_posteriors(data)
    for unit in UNITS:
        scaled = data.to_dict() | {"audio": [unit * (x + 3) for x in data["audio"]]}
        found = model.fit(scaled).state_posteriors(scaled)
        for name, own in expected.items():
            for one, other in zip(own, found[name], strict=True):
                np.testing.assert_allclose(other, one, atol=1e-6)


@INVARIANCES.row(
    "HMMAligner ProductHMMAligner",
    "unit and offset of a modality",
    "same warping paths",
)
def paths_of_states_in_another_unit(cls):
    data = recordings()[["audio", "video"]]
    video = [1e3 * x - 7 for x in data["video"]]
    one, other = cls(4).fit(data), cls(4).fit(data.to_dict() | {"video": video})
    assert_same_paths(other.paths_, one.paths_)


@INVARIANCES.row(
    "HMMAligner ProductHMMAligner",
    "order of samples, some without a modality",
    "same edges of states, permuted",
)
def edges_of_samples_in_another_order(cls):
    data, order = recordings(missing={2})[["audio", "video"]], [3, 1, 0, 2]
    one, other = cls(4).fit(data), cls(4).fit(data[order])
    for found, i in zip(other.edges_, order, strict=True):
        for name, edges in one.edges_[i].items():
            np.testing.assert_allclose(found[name], edges, atol=1e-6)


@INVARIANCES.row(
    "HMMAligner ProductHMMAligner", "order of modalities", "same edges of states"
)
def edges_of_modalities_in_another_order(cls):
    data = recordings()[["audio", "video"]]
    one, other = cls(4).fit(data), cls(4).fit(data[["video", "audio"]])
    for found, expected in zip(other.edges_, one.edges_, strict=True):
        for name, edges in expected.items():
            np.testing.assert_allclose(found[name], edges, atol=1e-6)


@INVARIANCES.row("WordAligner", "order of samples", "same links, permuted")
def links_of_samples_in_another_order(cls):
    data, _, _ = make_parallel_corpus(40, random_state=0)
    order = np.random.default_rng(0).permutation(40)
    found, expected = cls().fit(data[order]), cls().fit(data)
    for own, links in zip(
        found.align(data[order]), expected.align(data)[order], strict=True
    ):
        np.testing.assert_array_equal(own, links)


@INVARIANCES.row("WordAligner", "other names of the tokens", "same posteriors")
def posteriors_of_renamed_tokens(cls):
    data, _, _ = make_parallel_corpus(40, random_state=0)
    renamed = Modalities(
        {name: [own + "_" for own in block] for name, block in data.to_dict().items()}
    )
    found, expected = (cls().fit(X).link_posteriors(X) for X in (renamed, data))
    for own, posteriors in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, posteriors)


@INVARIANCES.row("WordAligner", "source and target exchanged", "same links, exchanged")
def links_of_exchanged_modalities(cls):
    data, _, _ = make_parallel_corpus(40, random_state=0)
    turned = data[["target", "source"]]
    found, expected = cls().fit(turned), cls().fit(data)
    for own, posteriors in zip(
        found.link_posteriors(turned), expected.link_posteriors(data), strict=True
    ):
        np.testing.assert_allclose(own.T, posteriors, atol=1e-8)


@INVARIANCES.row("CTWAligner", "unit and offset of a modality", "same warping paths")
def paths_in_another_unit(cls):
    data = recordings()
    video = [1e3 * x - 7 for x in data["video"]]
    one, other = cls().fit(data), cls().fit(data.to_dict() | {"video": video})
    for found, expected in zip(other.paths_, one.paths_, strict=True):
        np.testing.assert_array_equal(found["video"], expected["video"])


@INVARIANCES.row(
    "SiameseAligner", "unit and offset of a modality", "same warping paths"
)
def learned_paths_in_another_unit(cls):
    data = recordings()
    video = [1024 * x - 7 for x in data["video"]]
    aligner = cls(trainer=Trainer(max_epochs=3, dtype="float64"), random_state=0)
    known = [[[0, 0, 0], [5, 5, 5]]] * len(data)
    one = clone(aligner).fit(data, known)
    other = clone(aligner).fit(data.to_dict() | {"video": video}, known)
    assert_same_paths(other.paths_, one.paths_)


@INVARIANCES.row(
    "SiameseAligner", "order of later samples", "same warping paths, permuted"
)
def learned_paths_of_samples_in_another_order(cls):
    data, order = recordings(), [3, 1, 0, 2]
    aligner = cls(trainer=Trainer(max_epochs=3), random_state=0)
    aligner.fit(data, [[[0, 0, 0], [5, 5, 5]]] * len(data))
    one, other = (
        [{n: a.path for n, a in sample.items()} for sample in aligner.align(own)]
        for own in (data, data[order])
    )
    assert_same_paths(other, [one[i] for i in order])


@INVARIANCES.row(
    "DeepCTWAligner", "unit and offset of a modality", "same warping paths"
)
def paths_of_networks_in_another_unit(cls):
    data = recordings()
    video = [1024 * x - 7 for x in data["video"]]
    trainer = Trainer(max_epochs=2, dtype="float64")
    aligner = cls(steps_per_epoch=3, trainer=trainer, random_state=0)
    one = clone(aligner).fit(data)
    other = clone(aligner).fit(data.to_dict() | {"video": video})
    assert one.best_epoch_ == 2
    assert_same_paths(other.paths_, one.paths_)


@INVARIANCES.row(
    "DTWAligner PairHMMAligner", "unit of all modalities", "same warping paths"
)
def paths_in_another_unit_of_all(cls):
    data = recordings()
    scaled = {name: [1024 * x for x in data[name]] for name in data.names}
    one, other = cls().fit(data), cls().fit(scaled)
    for found, expected in zip(other.paths_, one.paths_, strict=True):
        np.testing.assert_array_equal(found["video"], expected["video"])


@INVARIANCES.row(
    "AsynchronousHMMAligner", "unit and offset of a modality", "same frames of events"
)
def frames_of_events_in_another_unit(cls):
    data, _, _ = make_event_sequences(6, random_state=0)
    events = [1e3 * x - 7 for x in data["events"]]
    options = {"n_states": 5, "n_init": 1, "random_state": 0, "tol": 0.01}
    one, other = (
        cls(**options).fit(data.to_dict() | {"events": own})
        for own in (data["events"], events)
    )
    assert_same_paths(other.paths_, one.paths_)


@INVARIANCES.row(
    "AsynchronousHMMAligner", "two modalities with the same events", "same frames"
)
def frames_of_events_twice(cls):
    data, _, _ = make_event_sequences(6, random_state=0)
    options = {"n_states": 5, "n_init": 1, "tol": 0.01}
    data = data.to_dict() | {"copy": data["events"]}
    aligner = cls(random_state=0, **options).fit(data)
    agrees = [path["copy"][:, 0] == path["events"][:, 0] for path in aligner.paths_]
    assert np.concatenate(agrees).mean() > 0.9  # another clustering starts it


# Targets and weights


@INVARIANCES.row(
    "EarlyFusionRegressor HybridFusionRegressor LateFusionRegressor",
    "unit and offset of y",
    "same predictions in this unit",
)
def values_in_another_unit(cls):
    expected = cls().fit(X, VALUES).predict(X)
    found = cls().fit(X, 1e3 * VALUES + 50).predict(X)
    np.testing.assert_allclose((found - 50) / 1e3, expected, atol=1e-5)


@INVARIANCES.row(
    "MKLRegressor",
    "unit and offset of y, `C` and `epsilon` in this unit",
    "same predictions in this unit",
)
def values_and_their_tolerance_in_another_unit(cls):
    expected = cls(C=2.0, epsilon=0.1).fit(X, VALUES).predict(X)
    found = cls(C=2e3, epsilon=1e2).fit(X, 1e3 * VALUES + 50).predict(X)
    np.testing.assert_allclose((found - 50) / 1e3, expected, atol=1e-4)


@INVARIANCES.row(
    "EarlyFusionClassifier HybridFusionClassifier LateFusionClassifier MKLClassifier",
    "names of the classes",
    "same predictions under the other names",
)
def classes_of_other_names(cls):
    names = np.array(["a", "b", "c"])
    expected = names[cls().fit(X, CLASSES).predict(X)]
    np.testing.assert_array_equal(cls().fit(X, names[CLASSES]).predict(X), expected)


@INVARIANCES.row(
    "LateFusionClusterer",
    "unit of the weights, every combination",
    "same partition",
    params=[{"combine": combine} for combine in COMBINES],
)
@INVARIANCES.row(
    "EarlyFusionClusterer", "unit of the weights", "same partition", params=[{}]
)
def weights_in_another_unit(cls, params):
    clusterer = cls(AgglomerativeClustering(3), weights=[1, 2, 0.5], **params)
    expected = clusterer.fit(X).labels_
    found = clusterer.set_params(weights=[4, 8, 2]).fit(X).labels_
    assert_same_partition(found, expected)


# Values that are not used


@INVARIANCES.row(
    "LateFusionClusterer",
    "values of missing modalities, by the mask",
    "same labels, for later samples too",
    combine=COMBINES,
)
def values_of_missing_modalities(cls, combine):
    observed = np.random.default_rng(0).random(X.shape) < 0.8
    observed[~observed.any(axis=1)] = True
    absent, garbage = {}, {}
    for name, mask in zip(NAMES, observed.T, strict=True):
        absent[name] = np.where(mask[:, None], X[name], np.nan)
        garbage[name] = np.where(mask[:, None], X[name], 1e300)
    late = cls(n_clusters=3, combine=combine, n_runs=2, random_state=0)
    expected = late.fit(absent).labels_
    masked = Modalities(garbage, observed=observed)
    np.testing.assert_array_equal(late.fit(masked).labels_, expected)
    np.testing.assert_array_equal(late.predict(masked), late.predict(absent))


@INVARIANCES.row(
    "LateFusionClusterer",
    "values of a modality of weight 0",
    "same labels, for later samples too",
    combine=COMBINES,
    inner=[AgglomerativeClustering(3), GaussianMixture(3, random_state=0)],
)
def values_of_a_modality_of_weight_zero(cls, combine, inner):
    late = cls(inner, weights=[1, 0, 2], combine=combine, n_runs=1, random_state=0)
    one, other = (
        Modalities(X.to_dict() | {"text": X[name][::-1]}) for name in ("text", "audio")
    )
    expected, found = clone(late).fit(one), clone(late).fit(other)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    if hasattr(found, "predict"):
        np.testing.assert_array_equal(found.predict(other), expected.predict(one))


@pytest.mark.parametrize(("check", "name", "options"), INVARIANCES.params())
def test_estimator_is_invariant(check, name, options):
    check(all_estimators()[name], **options)


@pytest.mark.parametrize("name", all_estimators())
def test_every_estimator_has_an_invariance(name):
    assert not INVARIANCES.missing(name)


def test_invariances_are_of_public_estimators():
    assert not INVARIANCES.unknown()


def labelled_frames():
    """Return frames of two labels, whose order differs between samples."""
    rng = np.random.default_rng(0)
    labels = [rng.permutation(["a", "b", "c"]).tolist() for _ in range(10)]
    levels = {"a": 0.0, "b": 2.0, "c": 5.0}
    frames = [
        np.repeat([[levels[x], -levels[x]] for x in own], 6, axis=0)
        + 0.2 * rng.normal(size=(18, 2))
        for own in labels
    ]
    return frames, labels


@INVARIANCES.row("CTCAligner", "another order of the columns", "same spans")
def spans_of_columns_in_another_order(cls):
    table = np.random.default_rng(0).normal(size=(30, 4))
    table -= np.log(np.exp(table).sum(axis=1, keepdims=True))
    order, names = [2, 0, 3, 1], np.array(["", "a", "b", "c"])
    data = {"network": [table], "text": [["a", "c", "c"]]}
    turned = data | {"network": [table[:, order]]}
    expected = cls(vocabulary=names).fit(data).align(data)[0]
    other = cls(blank=1, vocabulary=names[order])
    found = other.fit(turned).align(turned)[0]
    np.testing.assert_array_equal(found.spans, expected.spans)
    np.testing.assert_allclose(found.posteriors, expected.posteriors)


@INVARIANCES.row("ForcedAligner", "units and offsets of features", "same spans")
def spans_in_other_units(cls):
    frames, labels = labelled_frames()
    scaled = [own * [1e4, 1e-3] + [5.0, -2.0] for own in frames]
    found, expected = (
        cls(n_states=2).fit(data).align(data)
        for data in (
            {"sensor": scaled, "labels": labels},
            {"sensor": frames, "labels": labels},
        )
    )
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own.spans, other.spans)


@INVARIANCES.row("ForcedAligner", "order of samples", "same spans, permuted")
def spans_of_samples_in_another_order(cls):
    frames, labels = labelled_frames()
    data = {"sensor": frames, "labels": labels}
    turned = {name: own[::-1] for name, own in data.items()}
    found = cls(n_states=2).fit(turned).align(turned)
    expected = cls(n_states=2).fit(data).align(data)
    for own, other in zip(found[::-1], expected, strict=True):
        np.testing.assert_array_equal(own.spans, other.spans)
