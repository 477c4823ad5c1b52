"""EAMC learns from chunks: first pretraining, then adversarial training."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from mmfusion.datasets import make_multimodal_blobs

from .small import X, small

DATA, Y = make_multimodal_blobs(240, (6, 5), cluster_std=1.0, random_state=0)


def learn(model, n_calls):
    for call in range(n_calls):
        chunk = slice(80 * (call % 3), 80 * (call % 3) + 80)
        model.partial_fit(DATA[chunk])
        assert len(model.labels_) == 80
        assert model.n_iter_ == len(model.history_) == call + 1
    return model


def test_chunks_reach_the_planted_clusters():
    model = learn(small(pretrain_epochs=30, max_epochs=6, encoders=[32, 16]), 36)
    assert adjusted_rand_score(Y, model.predict(DATA)) > 0.9
    assert model.attention_weights_.sum() == pytest.approx(1)


def test_adversarial_training_begins_after_pretraining():
    model = learn(small(pretrain_epochs=3), 5)
    is_adversarial = ["separation" in epoch for epoch in model.history_]
    assert is_adversarial == [False, False, False, True, True]


def test_without_pretraining_adversarial_training_begins_at_once():
    model = learn(small(pretrain_epochs=0), 2)
    assert all("separation" in epoch for epoch in model.history_)


def test_more_calls_than_epochs_are_taken():
    model = learn(small(pretrain_epochs=1, max_epochs=1), 4)
    assert model.n_iter_ == 4


def test_chunks_of_unlike_sizes_keep_to_the_phases_of_the_first():
    model = small(pretrain_epochs="auto", max_epochs="auto", batch_size=5)
    sizes = [40, 240, 40]
    for size in sizes:
        model.partial_fit(DATA[:size])
    assert not any("separation" in epoch for epoch in model.history_)


def test_fitting_can_go_on_with_more_data():
    model = small(random_state=1).fit(X)
    model.partial_fit(X[:60])
    assert model.n_iter_ == 7
    assert "separation" in model.history_[-1]
    assert len(model.predict(X)) == 120


def test_the_same_seed_learns_the_same():
    first, second = (learn(small(pretrain_epochs=2), 4) for _ in range(2))
    assert first.history_ == second.history_
    np.testing.assert_array_equal(first.transform(DATA), second.transform(DATA))


def test_fit_forgets_what_was_learned_from_chunks():
    model = learn(small(), 3)
    np.testing.assert_array_equal(model.fit(X).transform(X), small().fit_transform(X))


def test_other_modalities_are_refused_after_the_first_chunk():
    model = small().partial_fit(X)
    with pytest.raises(ValueError, match=r"'video'.* 5 .* 6 "):
        model.partial_fit({"audio": X["audio"], "video": X["video"][:, :5]})
