"""Samples that lack modalities are trained on and predicted."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from mmfusion import Modalities
from mmfusion.datasets import make_multimodal_blobs

from .small import X, small

GAPS, Y = make_multimodal_blobs(
    150,
    {"audio": 6, "video": 5, "text": 4},
    cluster_std=1.0,
    missing_rate=0.3,
    random_state=0,
)


@pytest.fixture(scope="module")
def fitted():
    return small(pretrain_epochs=20, max_epochs=4, n_init=2).fit(GAPS)


def test_clusters_are_found_though_modalities_are_missing(fitted):
    assert adjusted_rand_score(Y, fitted.labels_) > 0.9
    np.testing.assert_array_equal(fitted.predict(GAPS), fitted.labels_)
    assert fitted.attention_weights_.sum() == pytest.approx(1)


def test_values_where_a_modality_is_missing_are_ignored(fitted):
    absent = ~GAPS.observed
    filled = {}
    for v, (name, block) in enumerate(GAPS.to_dict().items()):
        filled[name] = block.copy()
        filled[name][absent[:, v]] = 1e6
    other = Modalities(filled, observed=GAPS.observed)
    np.testing.assert_array_equal(fitted.transform(other), fitted.transform(GAPS))
    np.testing.assert_array_equal(small().fit(other).labels_, small().fit(GAPS).labels_)


def test_the_other_modalities_are_fused_in_proportion_to_their_weights(fitted):
    whole = GAPS[GAPS.observed.all(axis=1)]
    alone = {
        name: fitted.transform(
            whole.to_dict() | {other: None for other in whole.names if other != name}
        )
        for name in whole.names
    }
    weights = dict(zip(GAPS.names, fitted.attention_weights_, strict=True))
    pair = sum(weights[n] * alone[n] for n in ("audio", "text"))
    pair = pair / (weights["audio"] + weights["text"])
    found = fitted.transform(whole.to_dict() | {"video": None})
    np.testing.assert_allclose(found, pair, rtol=1e-5, atol=1e-7)
    everything = sum(weights[n] * alone[n] for n in whole.names)
    np.testing.assert_allclose(
        fitted.transform(whole), everything, rtol=1e-5, atol=1e-7
    )


def test_a_whole_modality_may_be_absent_later(fitted):
    rows = GAPS.observed[:, :2].all(axis=1)
    found = fitted.predict(GAPS[rows].to_dict() | {"text": None})
    assert adjusted_rand_score(found, Y[rows]) > 0.9


def test_a_sample_that_lacks_every_modality_is_refused(fitted):
    blocks = {name: block.copy() for name, block in GAPS.to_dict().items()}
    for block in blocks.values():
        block[7] = np.nan
    for refuses in (fitted.predict, small().fit, small().partial_fit):
        with pytest.raises(ValueError, match="sample 7 lacks every modality"):
            refuses(blocks)


def test_a_mask_of_nothing_missing_changes_nothing():
    masked = Modalities(X.to_dict(), observed=np.ones((len(X), 2), bool))
    assert small().fit(masked).history_ == small().fit(X).history_


def test_images_may_be_missing_too():
    rng = np.random.default_rng(0)
    photos = rng.normal(size=(120, 1, 5, 5))
    photos[::4] = np.nan
    mixed = Modalities({"photo": photos, "audio": X["audio"]})
    fitted = small(encoders=8).fit(mixed)
    np.testing.assert_array_equal(fitted.predict(mixed), fitted.labels_)
    later = fitted.predict({"photo": None, "audio": X["audio"]})
    assert later.shape == (120,)
