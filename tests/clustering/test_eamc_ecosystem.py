"""EAMC beside scikit-learn, joblib, skorch and torch, without disturbing any."""

import pickle

import joblib
import numpy as np
import pytest
import torch
from pandas.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping
from torch.utils.data import Dataset

from mmfusion.preprocessing import PerModality

from .small import X, Y, small


class Count(Callback):
    """Counts epochs."""

    def initialize(self):
        self.n_epochs = getattr(self, "n_epochs", 0)
        return self

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs += 1


# Search, pipelines, copies


def test_a_grid_search_in_two_processes_finds_what_one_finds():
    grid = {"attention_temperature": [0.5, 10.0], "trainer__lr": [1e-5, 5e-3]}
    alone = GridSearchCV(small(), grid, cv=2).fit(X)
    search = GridSearchCV(small(), grid, cv=2, n_jobs=2).fit(X)
    scores = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores, alone.cv_results_["mean_test_score"])
    assert search.best_params_["trainer__lr"] == 5e-3  # the other one learns nothing
    labels = search.predict(X)
    np.testing.assert_array_equal(labels, search.best_estimator_.labels_)


def test_a_pipeline_clusters_and_passes_parameters_on():
    pipeline = make_pipeline(PerModality(StandardScaler()), small())
    pipeline.set_params(eamcclusterer__trainer__pretrain_epochs=10)
    labels = pipeline.fit_predict(X)
    assert adjusted_rand_score(Y, labels) > 0.8
    np.testing.assert_array_equal(pipeline.predict(X), labels)
    assert pipeline.transform(X).shape == (120, 8)


def test_a_clone_of_a_fitted_clusterer_is_not_fitted_but_alike():
    fitted = small().fit(X)
    copied = clone(fitted)
    assert not hasattr(copied, "labels_")
    np.testing.assert_array_equal(copied.fit_predict(X), fitted.labels_)


@pytest.mark.parametrize(
    "callbacks", [None, [Count(), EarlyStopping("train_loss")]], ids=["none", "some"]
)
def test_a_fitted_clusterer_survives_pickling(callbacks):
    fitted = small(callbacks=callbacks).fit(X)
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copied.transform(X), fitted.transform(X))
    assert copied.history_ == fitted.history_
    np.testing.assert_array_equal(copied.partial_fit(X).labels_, copied.predict(X))


def test_a_fitted_clusterer_does_not_keep_the_training_data():
    rng = np.random.default_rng(0)
    big = [rng.normal(size=(2000, 50)), rng.normal(size=(2000, 50))]
    fitted = small(adversarial_weight=0, batch_size=1000).fit(big)
    assert len(pickle.dumps(fitted)) < sum(b.nbytes for b in big) / 2


def test_fused_latents_may_be_a_data_frame():
    frame = small().set_output(transform="pandas").fit_transform(X)
    assert list(frame.columns) == [f"eamcclusterer{j}" for j in range(8)]


# Random states and threads


def test_global_random_states_and_threads_are_left_as_they_were():
    def states():
        _, keys, *rest = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), keys.tolist(), rest

    model = small(encoders=8, n_init=2)
    before, n_threads = states(), torch.get_num_threads()
    model.fit(X).predict(X)
    model.partial_fit(X).score(X)
    assert states() == before
    assert torch.get_num_threads() == n_threads
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_the_seed_decides_whatever_torch_drew_before():
    torch.manual_seed(1)
    first = small().fit(X)
    torch.manual_seed(2)
    second = small().fit(X)
    other = small(random_state=1).fit(X)
    assert first.history_ == second.history_ != other.history_
    np.testing.assert_array_equal(first.transform(X), second.transform(X))


# Restarts


@pytest.mark.parametrize(
    "params", [{}, {"pretrain_epochs": 0}], ids=["pretrained", "not"]
)
def test_restarts_in_two_processes_find_what_one_finds(params):
    alone = small(n_init=3, **params).fit(X)
    spread = small(n_init=3, n_jobs=2, **params).fit(X)
    assert len(alone.init_scores_) == 3
    assert len(set(alone.init_scores_)) == 3
    assert spread.init_scores_ == alone.init_scores_
    np.testing.assert_array_equal(spread.transform(X), alone.transform(X))
    assert spread.loss_ == alone.loss_


def test_restarts_do_not_share_a_random_state_where_joblib_has_threads():
    alone = small(n_init=3).fit(X)
    with joblib.parallel_config(backend="threading", n_jobs=3):
        spread = small(n_init=3).fit(X)
    assert spread.init_scores_ == alone.init_scores_


def test_a_dask_cluster_finds_what_one_process_finds():
    import dask.distributed as distributed

    alone = small(n_init=2).fit(X)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        spread = small(n_init=2).fit(X)
    np.testing.assert_allclose(spread.init_scores_, alone.init_scores_, rtol=1e-5)
    np.testing.assert_array_equal(spread.labels_, alone.labels_)


def test_without_pretraining_the_restart_of_the_lowest_loss_is_kept():
    fitted = small(n_init=4, pretrain_epochs=0).fit(X)
    assert fitted.loss_ == min(fitted.init_scores_)


def test_more_restarts_are_never_worse_by_their_own_score():
    few = small(n_init=1, pretrain_epochs=0).fit(X)
    many = small(n_init=4, pretrain_epochs=0).fit(X)
    assert many.init_scores_[0] == few.init_scores_[0]
    assert many.loss_ <= few.loss_


# skorch


def test_callbacks_are_called_every_epoch_of_every_phase():
    count = Count()
    assert small(callbacks=[count]).fit(X).n_iter_ == count.n_epochs == 6
    fitted = small(callbacks=[("mine", Count())], n_init=2).fit(X)
    assert fitted.n_iter_ == 6  # of the restart that was kept


def test_a_callback_may_stop_training_early():
    stop = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0)
    fitted = small(callbacks=[stop], pretrain_epochs=10, max_epochs=10).fit(X)
    n_pretrained = sum("disagreement" in epoch for epoch in fitted.history_)
    assert n_pretrained < 10
    assert fitted.n_iter_ - n_pretrained < 10


def test_a_callback_sees_the_losses_of_the_epoch():
    seen = []

    class Look(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(net.history[-1, "train_loss"])

    fitted = small(callbacks=[Look()]).fit(X)
    assert seen == [epoch["train_loss"] for epoch in fitted.history_]


def test_a_callback_may_end_an_epoch_at_any_batch():
    class Stop(Callback):
        def on_batch_end(self, net, **kwargs):
            if net.step_ == 2:
                raise KeyboardInterrupt

    fitted = small(callbacks=[Stop()]).fit(X)
    assert [epoch["phase"] for epoch in fitted.history_] == list(fitted.phase_epochs_)
    assert fitted.phase_epochs_ == {"pretraining": 1, "adversarial training": 1}
    assert set(fitted.predict(X)) <= {0, 1, 2}


def test_callbacks_change_gradients_before_a_step():
    slow = GradientNormClipping(1e-12)  # Adam moves by the rate whatever the norm
    names = []

    class Look(Callback):
        def on_grad_computed(self, net, named_parameters, training=None, **kwargs):
            names.extend(name for name, _ in named_parameters)
            given = [p.grad for _, p in named_parameters if p.grad is not None]
            assert all(float(gradient.norm()) < 1e-11 for gradient in given)

    small(callbacks=[slow, Look()]).fit(X)
    assert {"encoders.0.0.weight", "heads.hidden"} <= set(names)


# Progress


def test_progress_is_shown_if_verbose(capfd):
    small(verbose=1, n_init=2).fit(X)
    out, err = capfd.readouterr()
    assert out == ""
    for part in (
        "restart 1 of 2",
        "restart 2 of 2",
        "pretraining",
        "adversarial training",
        "loss=",
    ):
        assert part in err


def test_nothing_is_shown_by_default(capfd):
    small(n_init=2).fit(X)
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_ends_the_fit():
    class Data(Dataset):
        """Interrupts once training reads batches."""

        reads = 0

        def __len__(self):
            return len(X)

        def __getitem__(self, i):
            self.reads += 1
            if self.reads > len(X) + 1:  # the first pass fits the scaling
                raise KeyboardInterrupt
            return tuple(block[i] for block in X.blocks)

    with pytest.raises(KeyboardInterrupt):
        small().fit(Data())


# scikit-learn's callbacks


class Follow:
    """Notes the tasks of a fit; may end trainings after some epochs."""

    max_propagation_depth = None

    def __init__(self, n_epochs=np.inf):
        self.n_epochs = n_epochs
        self.began, self.ended, self.scores = [], [], []

    def setup(self, estimator, context):
        self.is_set_up = True

    def teardown(self, estimator, context):
        self.is_set_up = False

    def on_fit_task_begin(self, estimator, context):
        self.began.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.ended.append(context.task_name)
        if context.task_name != "epoch":
            return False
        self.scores.append(adjusted_rand_score(y, fitted_estimator.predict(X)))
        return context.task_id + 1 >= self.n_epochs


needs_callbacks = pytest.mark.skipif(
    not hasattr(small(), "set_callbacks"), reason="scikit-learn < 1.9 has no callbacks"
)


@needs_callbacks
@pytest.mark.parametrize(
    "params", [{}, {"pretrain_epochs": 0}], ids=["pretrained", "not"]
)
def test_callbacks_of_scikit_learn_follow_every_epoch(params):
    follow = Follow()
    fitted = small(n_init=2, **params).set_callbacks(follow).fit(X, Y)
    first, last = "pretraining", "adversarial training"
    trainings = [name for name in follow.began if name in (first, last)]
    # two restarts up to their comparison, then one
    assert trainings == ([last] * 2 if params else [first] * 3 + [last])
    assert follow.began[0] == follow.ended[-1] == "fit"
    assert sorted(follow.began) == sorted(follow.ended)
    score = adjusted_rand_score(Y, fitted.labels_)  # at the end of one restart
    assert np.abs(np.array(follow.scores) - score).min() < 1e-9
    assert not follow.is_set_up
    alone = small(n_init=2, **params).fit(X)  # looking on changes nothing
    np.testing.assert_array_equal(fitted.transform(X), alone.transform(X))


@needs_callbacks
def test_callbacks_of_scikit_learn_may_end_a_training():
    fitted = small().set_callbacks(Follow(n_epochs=2)).fit(X, Y)
    assert fitted.n_iter_ == 4  # two epochs of each phase


@needs_callbacks
def test_callbacks_of_scikit_learn_follow_searches_and_of_other_processes():
    from sklearn.callback import ScoringMonitor

    logs = []
    for n_jobs in (1, 2):
        monitor = ScoringMonitor(scoring="adjusted_rand_score")
        model = small(n_init=2, n_jobs=n_jobs).set_callbacks(monitor)
        GridSearchCV(model, {"trainer__lr": [1e-4, 1e-3]}, cv=2, n_jobs=n_jobs).fit(
            X, Y
        )
        logs.append(monitor.get_logs().data_as_pandas)
    # one epoch of two pretrainings, three of the better one, two epochs of adversarial
    # training, and the fit itself, five times
    assert len(logs[0]) == 5 * (2 * 1 + 3 + 2 + 1)
    assert_frame_equal(
        *(log.sort_values("task_id_path", ignore_index=True) for log in logs)
    )
