"""Precomputed affinities and kernels of samples that lack modalities."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, cross_val_score

from mmfusion import MKLClusterer, Modalities, SNFClusterer, SpectralClusterer
from mmfusion.datasets import make_multimodal_blobs

X, Y = make_multimodal_blobs(90, {"audio": 4, "text": 3}, centers=3, random_state=0)
KERNELS = {name: rbf_kernel(X[name], gamma=0.05) for name in X.names}
OBSERVED = np.column_stack([np.ones(90, dtype=bool), np.arange(90) % 3 != 0])
CLUSTERERS = [
    SpectralClusterer(3, affinity="precomputed", random_state=0),
    SNFClusterer(3, affinity="precomputed", random_state=0),
    MKLClusterer(3, kernel="precomputed", random_state=0),
]


def blanked(value):
    """Kernels with a value in rows and columns of samples that lack the modality."""
    return {
        name: np.where(np.outer(own, own), K, value)
        for (name, K), own in zip(KERNELS.items(), OBSERVED.T, strict=True)
    }


@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=lambda c: type(c).__name__)
def test_what_missing_rows_and_columns_hold_changes_nothing(clusterer):
    plain = clusterer.fit(Modalities(KERNELS, observed=OBSERVED)).labels_
    nan = blanked(np.nan)
    for form in (nan, Modalities(blanked(7.0), observed=OBSERVED)):
        found = clusterer.fit(form)
        np.testing.assert_array_equal(found.labels_, plain)
        np.testing.assert_array_equal(found.predict(form), plain)
    new = {name: K[:9] for name, K in nan.items()}
    np.testing.assert_array_equal(clusterer.predict(new), plain[:9])
    if isinstance(clusterer, SpectralClusterer):
        stored = {name: sparse.csr_array(K[:9]) for name, K in nan.items()}
        stored = Modalities(stored, observed=OBSERVED[:9])
        np.testing.assert_array_equal(clusterer.predict(stored), plain[:9])


@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=lambda c: type(c).__name__)
def test_kernels_with_missing_samples_are_cross_validated(clusterer):
    stacked = np.dstack(list(blanked(np.nan).values()))
    scores = cross_val_score(
        clusterer, stacked, Y, scoring="adjusted_rand_score", error_score="raise"
    )
    assert scores.min() > 0.8
    search = GridSearchCV(
        clusterer, {"n_clusters": [2, 3]}, scoring="adjusted_rand_score", cv=3
    )
    assert search.fit(stacked, Y).best_params_ == {"n_clusters": 3}


def test_a_cell_of_observed_samples_that_is_nan_is_still_refused():
    found = CLUSTERERS[0].fit(blanked(np.nan))
    hole = blanked(np.nan)
    hole["text"][4, 5] = np.nan
    with pytest.raises(
        ValueError, match=r"'text': the kernel is nan for samples 4 and"
    ):
        found.predict(hole)


def test_the_remedy_for_kernels_in_modalities_keeps_what_is_missing():
    frame = Modalities(KERNELS, observed=OBSERVED)
    clusterer = CLUSTERERS[0]
    with pytest.raises(ValueError, match="cannot be split") as error:
        cross_val_score(clusterer, frame, Y, error_score="raise")
    remedy = str(error.value).rpartition("n_kernels), ")[2]
    stacked = eval(remedy, {"np": np, "X": frame})
    assert np.isnan(stacked[~OBSERVED[:, 1], :, 1]).all()
    scores = cross_val_score(
        clusterer, stacked, Y, scoring="adjusted_rand_score", error_score="raise"
    )
    assert adjusted_rand_score(Y, clusterer.fit(stacked).labels_) > 0.8
    assert scores.min() > 0.8
