"""EAMC learns from chunks: first pretraining, then adversarial training."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from skorch.callbacks import Callback, EarlyStopping

from mmfusion import AutoencoderClusterer, CoMVCClusterer, SiMVCClusterer
from mmfusion.datasets import make_multimodal_blobs

from .small import X, nested, small

CLUSTERERS = {
    "EAMC": small(pretrain_epochs=3, n_clustering_heads=2),
    "SiMVC": SiMVCClusterer(3, encoders=[16, 8], random_state=0),
    "AE": AutoencoderClusterer(3, encoders=[16, 8], random_state=0),
    "DEC": AutoencoderClusterer(
        3, readout="dec", encoders=[16, 8], random_state=0
    ).set_params(trainer__pretrain_epochs=2),
    "CoMVC": CoMVCClusterer(3, encoders=[16, 8], random_state=0),
}
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


def test_fitting_goes_on_in_the_last_phase_though_phases_were_stopped():
    stop = EarlyStopping("train_loss", patience=1, threshold=1.0)
    model = small(pretrain_epochs=20, max_epochs=20, callbacks=[stop]).fit(X)
    assert sum(model.phase_epochs_.values()) == model.n_iter_ < 20
    model.partial_fit(X)
    assert model.history_[-1]["phase"] == "adversarial training"


def test_pretraining_alone_is_followed_by_adversarial_training():
    model = small(max_epochs=0).fit(X)
    assert model.phase_epochs_ == {"pretraining": 4, "adversarial training": 0}
    assert "separation" in model.partial_fit(X).history_[-1]


@pytest.mark.parametrize("name", CLUSTERERS)
def test_a_chunk_of_one_sample_is_refused(name):
    model = clone(CLUSTERERS[name]).partial_fit(X)
    with pytest.raises(ValueError, match=r"n_samples=1 .* two samples or more"):
        model.partial_fit(X[:1])
    assert model.n_iter_ == 1


def test_the_same_seed_learns_the_same():
    first, second = (learn(small(pretrain_epochs=2), 4) for _ in range(2))
    assert first.history_ == second.history_
    np.testing.assert_array_equal(first.transform(DATA), second.transform(DATA))


@pytest.mark.filterwarnings("ignore:EAMCClusterer is not healthy")
@pytest.mark.parametrize(
    "change",
    [{"adversarial_weight": 0.2}, {"n_clusters": 5}, {"attention_temperature": 1.0}],
)
def test_a_clusterer_whose_parameters_changed_between_calls_is_stored(change):
    model = small(adversarial_weight=0.0, attention_temperature=None)
    model = learn(model, 1).set_params(**change).partial_fit(DATA[80:160])
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(DATA), model.predict(DATA))
    assert copied.get_params()["n_clusters"] == model.n_clusters
    refitted = pickle.loads(pickle.dumps(model.fit(X)))
    np.testing.assert_array_equal(refitted.predict(X), model.labels_)


def test_a_modality_that_a_chunk_lacks_keeps_its_weight():
    model = learn(small(pretrain_epochs=1), 2)
    names = DATA.names
    chunk = DATA[:80].to_dict() | {names[1]: [None] * 80}
    before = model.attention_weights_
    model.partial_fit(chunk)
    np.testing.assert_allclose(
        model.attention_weights_, [1, before[1]] / (1 + before[1])
    )
    alone = DATA[:80].to_dict() | {names[0]: [None] * 80}
    assert np.isfinite(model.transform(alone)).all()


def test_fit_forgets_what_was_learned_from_chunks():
    model = learn(small(), 3)
    np.testing.assert_array_equal(model.fit(X).transform(X), small().fit_transform(X))


def test_other_modalities_are_refused_after_the_first_chunk():
    model = small().partial_fit(X)
    with pytest.raises(ValueError, match=r"'video'.* 5 .* 6 "):
        model.partial_fit({"audio": X["audio"], "video": X["video"][:, :5]})


# Phases


def test_the_number_of_calls_of_each_phase_is_known_from_the_first_call():
    model = small(pretrain_epochs=3).partial_fit(DATA)
    assert model.phase_epochs_ == {"pretraining": 3, "adversarial training": 2}


def test_a_verbose_training_reports_when_a_phase_begins(capsys):
    learn(small(pretrain_epochs=3, verbose=1), 5)
    name = "[EAMCClusterer] call"
    assert capsys.readouterr().out.splitlines() == [
        f"{name} 1 of partial_fit begins pretraining",
        f"{name} 4 of partial_fit begins adversarial training",
    ]
    learn(small(pretrain_epochs=3), 5)
    assert not capsys.readouterr().out


# Checkpoints


@pytest.fixture(params=CLUSTERERS)
def make(request, tmp_path):
    """Make clusterers that write a checkpoint after every second call."""

    def make(**params):
        params = {"checkpoint_dir": tmp_path, "checkpoint_every": 2} | params
        params |= {"batch_size": 20}
        return clone(CLUSTERERS[request.param]).set_params(**nested(params))

    return make


class Count(Callback):
    """Counts epochs."""

    n_epochs = 0

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs += 1


@pytest.mark.parametrize(("n_done", "n_trained"), [(1, 7), (2, 5), (3, 5), (6, 1)])
def test_calls_that_a_checkpoint_holds_are_not_repeated(make, n_done, n_trained):
    learn(make(), n_done)  # of a process that was killed then
    count = Count()
    resumed = make(callbacks=[count])
    for call in range(7):
        resumed.partial_fit(DATA[80 * (call % 3) : 80 * (call % 3) + 80])
        assert len(resumed.labels_) == 80
    whole = learn(make(checkpoint_dir=None), 7)
    assert count.n_epochs == n_trained
    assert resumed.history_ == whole.history_
    np.testing.assert_array_equal(resumed.transform(DATA), whole.transform(DATA))
    np.testing.assert_array_equal(resumed.labels_, whole.labels_)


def test_other_calls_than_those_of_the_checkpoint_are_refused(make, tmp_path):
    learn(make(), 4)
    model = make().partial_fit(DATA[:80])
    with pytest.raises(ValueError, match=r"call 2 of partial_fit has other data"):
        model.partial_fit(DATA[:80])
    learn(make(checkpoint_dir=tmp_path / "new"), 4)
    for path in tmp_path.glob("chunks*.pt"):
        path.unlink()
    model = make().partial_fit(DATA[:80])
    assert model.partial_fit(DATA[:80]).n_iter_ == 2


@pytest.mark.parametrize("change", [{"lr": 1e-4}, {"random_state": 1}])
def test_checkpoints_of_other_options_do_not_count(make, change):
    learn(make(), 4)
    other, alone = (
        learn(make(**change), 4),
        learn(make(checkpoint_dir=None, **change), 4),
    )
    assert other.history_ == alone.history_


def test_calls_after_a_fit_are_resumed_too(make):
    def fitted():
        return make(max_epochs=2).fit(X)

    whole = learned_after(fitted(), 3)
    again = learned_after(fitted(), 3)
    assert whole.history_ == again.history_
    np.testing.assert_array_equal(whole.transform(X), again.transform(X))
    # pickles know nothing of the calls: they begin a stream of their own
    copied = pickle.loads(pickle.dumps(fitted()))
    np.testing.assert_array_equal(
        learned_after(copied, 3).transform(X), whole.transform(X)
    )


def learned_after(model, n_calls):
    for call in range(n_calls):
        model.partial_fit(X[40 * call : 40 * call + 40])
    return model
