"""Late fusion of samples that lack modalities, and soft votes."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from mmfusion import EarlyFusion, EarlyFusionClusterer, LateFusionClusterer, Modalities
from mmfusion.datasets import make_multimodal_blobs

COMBINES = ["hbgf", "vote", "soft_vote", "coassociation"]
NAMES = ["audio", "text", "video"]


@pytest.fixture(scope="module")
def complete():
    return make_multimodal_blobs(
        90, dict.fromkeys(NAMES, 3), cluster_std=0.5, random_state=0
    )


@pytest.fixture(scope="module")
def partial(complete):
    X, _ = complete
    rng = np.random.default_rng(0)
    observed = rng.random(X.shape) < 0.6
    observed[np.arange(90), rng.integers(0, 3, 90)] = True
    return Modalities(X, observed=observed)


@pytest.mark.parametrize("combine", COMBINES)
def test_samples_are_clustered_by_what_they_have(complete, partial, combine):
    _, y = complete
    late = LateFusionClusterer(
        n_clusters=3, combine=combine, n_runs=3, random_state=0
    ).fit(partial)
    assert adjusted_rand_score(late.labels_, y) == 1
    np.testing.assert_array_equal(late.modality_labels_ >= 0, partial.observed)
    np.testing.assert_array_equal(late.agreement_, 1)


@pytest.mark.parametrize("combine", COMBINES)
def test_modalities_are_fitted_on_the_samples_that_have_them(partial, combine):
    late = LateFusionClusterer(
        n_clusters=3, combine=combine, n_runs=1, random_state=0
    ).fit(partial)
    for name, present in zip(NAMES, partial.observed.T, strict=True):
        (inner,) = late.clusterers_[name]
        own = partial[name][present]
        scaled = (own - own.mean(axis=0)) / own.std(axis=0) / 3**0.5
        alone = KMeans(3, n_init=1, random_state=inner.random_state).fit(scaled)
        np.testing.assert_array_equal(inner.labels_, alone.labels_)


@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize("inner", [KMeans(3, n_init=2), GaussianMixture(3)])
def test_new_samples_may_lack_any_modality(complete, combine, inner):
    X, y = complete
    late = LateFusionClusterer(inner, combine=combine, n_runs=2, random_state=0)
    labels = late.fit(X).labels_
    for name in NAMES:
        alone = Modalities({n: X[n] if n == name else None for n in NAMES})
        np.testing.assert_array_equal(late.predict(alone), labels)
        but = Modalities(X.to_dict() | {name: None})
        np.testing.assert_array_equal(late.predict(but), labels)
        assert -1 <= late.score(but) <= 1
    assert adjusted_rand_score(y, labels) == 1


def test_samples_that_lack_every_modality_are_refused_by_position(complete):
    X, _ = complete
    observed = np.ones(X.shape, dtype=bool)
    observed[[7, 12]] = False
    nothing = Modalities(X, observed=observed)
    late = LateFusionClusterer(KMeans(3, n_init=1), n_runs=1)
    for call in (late.fit, late.fit(X).predict):
        with pytest.raises(
            ValueError, match=r"sample 7 lacks every modality .* 2 of 90"
        ):
            call(nothing)


def test_a_modality_that_every_sample_lacks_is_refused_in_fit(complete):
    X, _ = complete
    with pytest.raises(ValueError, match="modality 'text' is missing"):
        LateFusionClusterer().fit(Modalities(X.to_dict() | {"text": None}))


def test_a_modality_that_too_few_samples_have_is_named(complete):
    X, _ = complete
    observed = np.ones(X.shape, dtype=bool)
    observed[2:, 1] = False
    with pytest.raises(ValueError, match="modality 'text': n_samples=2"):
        LateFusionClusterer(n_clusters=3).fit(Modalities(X, observed=observed))


@pytest.mark.parametrize("estimator", [EarlyFusion(), EarlyFusionClusterer()])
def test_early_fusion_refuses_missing_modalities_with_a_remedy(partial, estimator):
    with pytest.raises(ValueError, match="ModalityImputer"):
        estimator.fit(partial)


@pytest.mark.parametrize("combine", ["hbgf", "coassociation"])
def test_modalities_without_a_common_sample_still_have_a_consensus(complete, combine):
    X, y = complete
    observed = np.zeros(X.shape, dtype=bool)
    observed[:45, 0] = observed[45:, 1] = observed[:, 2] = True
    apart = Modalities(X, observed=observed)
    late = LateFusionClusterer(
        n_clusters=3, combine=combine, n_runs=3, random_state=0
    ).fit(apart)
    assert adjusted_rand_score(late.labels_, y) == 1


def test_sparse_modalities_may_be_missing_too(complete):
    X, y = complete
    rows = sparse.csr_array(np.exp(X["text"] / 3))
    lacking = np.arange(90) % 4 == 0
    observed = np.ones(X.shape, dtype=bool)
    observed[lacking, 1] = False
    mixed = Modalities(X.to_dict() | {"text": rows}, observed=observed)
    late = LateFusionClusterer(n_clusters=3, n_runs=3, random_state=0).fit(mixed)
    assert adjusted_rand_score(late.labels_, y) > 0.9
    np.testing.assert_array_equal(late.modality_labels_[lacking, 1], -1)
    np.testing.assert_array_equal(late.predict(mixed), late.labels_)


@pytest.mark.parametrize("inner", [KMeans(3, n_init=1), GaussianMixture(3)])
@pytest.mark.parametrize("combine", COMBINES)
def test_modality_labels_are_the_consensus_of_its_runs(partial, combine, inner):
    noisy = Modalities(
        {
            name: block + 4 * np.random.default_rng(v).normal(size=block.shape)
            for v, (name, block) in enumerate(partial.to_dict().items())
        },
        observed=partial.observed,
    )
    late = LateFusionClusterer(
        inner, combine=combine, n_runs=3, scaling=None, random_state=0
    ).fit(noisy)
    for v, name in enumerate(NAMES):
        present = np.flatnonzero(partial.observed[:, v])
        runs = [run.predict(noisy[name][present]) for run in late.clusterers_[name]]
        for position, sample in enumerate(present):
            shares = np.zeros(3)
            for own in runs:
                fellows = present[own == own[position]]
                counts = np.bincount(late.labels_[fellows], minlength=3)
                shares += counts / counts.sum()
            found = late.modality_labels_[sample, v]
            assert shares[found] == pytest.approx(shares.max())
        np.testing.assert_allclose(
            late.agreement_[v],
            adjusted_rand_score(
                late.labels_[present], late.modality_labels_[present, v]
            ),
        )


@pytest.mark.parametrize("combine", COMBINES)
def test_landmarks_give_the_partition_of_all_samples(complete, combine):
    X, y = complete
    late = LateFusionClusterer(
        n_clusters=3, combine=combine, n_landmarks=20, n_runs=3, random_state=0
    ).fit(X)
    assert adjusted_rand_score(late.labels_, y) == 1
    np.testing.assert_array_equal(late.predict(X), late.labels_)


# Soft votes


def two_sides(last):
    """Clusters around -1 and 1, mirrored, so that 0 is in the middle; then one more."""
    noise = 0.5 * np.random.default_rng(0).normal(size=40)
    return np.concatenate([noise - 1, 1 - noise, [last]])[:, None]


def test_one_that_is_sure_outvotes_two_that_are_not_if_votes_are_soft():
    X = {"a": two_sides(0.02), "b": two_sides(0.02), "c": two_sides(-1.0)}
    found = {}
    for combine in ("vote", "soft_vote"):
        late = LateFusionClusterer(
            GaussianMixture(2, random_state=0),
            combine=combine,
            n_runs=1,
            random_state=0,
        ).fit(X)
        assert adjusted_rand_score(late.labels_[:80], np.repeat([0, 1], 40)) > 0.9
        found[combine] = "left" if late.labels_[80] == late.labels_[0] else "right"
        np.testing.assert_array_equal(late.predict(X), late.labels_)
    assert found == {"vote": "right", "soft_vote": "left"}


def test_a_soft_vote_is_the_mean_of_memberships(complete):
    X, _ = complete
    rng = np.random.default_rng(0)
    noisy = Modalities(
        {n: b + 3 * rng.normal(size=b.shape) for n, b in X.to_dict().items()}
    )
    late = LateFusionClusterer(
        GaussianMixture(3), combine="soft_vote", n_runs=2, scaling=None, random_state=0
    ).fit(noisy)
    scores = np.zeros((90, 3))
    for name in NAMES:
        for run in late.clusterers_[name]:
            hard = run.predict(noisy[name])
            together = np.array(
                [np.bincount(late.labels_[hard == c], minlength=3) for c in range(3)]
            )
            # components are named by the vote, one to one
            names = [together[c].argmax() for c in range(3)]
            if len(set(names)) < 3:
                pytest.fail("the data do not match components to clusters")
            scores[:, names] += run.predict_proba(noisy[name])
    np.testing.assert_array_equal(scores.argmax(axis=1), late.labels_)


def test_without_probabilities_a_soft_vote_is_a_vote(complete):
    X, _ = complete
    rng = np.random.default_rng(0)
    noisy = {n: b + 3 * rng.normal(size=b.shape) for n, b in X.to_dict().items()}
    hard, soft = (
        LateFusionClusterer(AgglomerativeClustering(3), combine=combine).fit(noisy)
        for combine in ("vote", "soft_vote")
    )
    np.testing.assert_array_equal(hard.labels_, soft.labels_)
