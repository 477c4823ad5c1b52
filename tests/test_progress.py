"""Progress of long fits: lines, bars and scikit-learn's callbacks, in one form."""

import sys
import warnings

import joblib
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from mmfusion import (
    CRFLabeler,
    HMMAligner,
    HMMClassifier,
    HMMClusterer,
    HMMLabeler,
    HMMTransformer,
    HybridFusionClassifier,
    HybridFusionClusterer,
    LateFusionClassifier,
    LateFusionClusterer,
    LateFusionRegressor,
    MKLClassifier,
    MKLClusterer,
    MKLRegressor,
    MultimodalClusterer,
    MultimodalMixture,
    SNFClusterer,
    SpectralClusterer,
    show_progress,
)
from mmfusion import _progress as progress_module
from mmfusion._progress import Job, Progress
from mmfusion._sklearn_compat import CallbackSupportMixin
from mmfusion.datasets import make_multimodal_blobs, make_multimodal_sequences
from mmfusion.robustness import degradation_curve

X, Y = make_multimodal_blobs(60, {"audio": 3, "video": 4}, random_state=0)

needs_callbacks = pytest.mark.skipif(
    not hasattr(CallbackSupportMixin, "set_callbacks"),
    reason="scikit-learn < 1.9 has no callbacks",
)


def add_one(number, task=None):
    return number + 1


def run(n_steps, n_jobs=None, **options):
    jobs = [Job(f"number {i}", add_one, (i,)) for i in range(n_steps)]
    with Progress("count", n_steps, "number", **options) as progress:
        return progress.run(jobs, n_jobs)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_results_are_in_order_with_any_backend(backend, n_jobs, capsys):
    with joblib.parallel_config(backend=backend):
        assert run(5, n_jobs, verbose=True) == [1, 2, 3, 4, 5]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"[count] number {i} ({i + 1} of 5)" for i in range(5)
    ]


def test_many_steps_print_few_lines(capsys):
    run(1001, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert 15 < len(lines) <= 21
    assert "(1001 of 1001)" in lines[-1]


def test_nothing_is_shown_unless_requested(capsys):
    run(3)
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


def test_a_terminal_has_a_bar_unless_lines_are_requested(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(progress_module, "_is_interactive", lambda: True)
    run(3, verbose=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "count: 100%" in shown.err
    assert "3/3" in shown.err
    run(3, verbose=2)
    shown = capsys.readouterr()
    assert shown.err == ""
    assert len(shown.out.splitlines()) == 3


def test_a_terminal_without_tqdm_has_lines(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "_is_interactive", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    run(3, verbose=True)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_bar_is_closed_after_an_error(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    monkeypatch.setattr(progress_module, "_is_interactive", lambda: True)
    with pytest.raises(ZeroDivisionError), Progress("count", 2, verbose=1) as progress:
        progress.run([Job("one", divmod, (1, 0))])
    assert progress._bar is None


def test_degradation_curves_report_folds(capsys):
    estimators = {"a": LateFusionClassifier(), "b": LateFusionClassifier()}
    degradation_curve(estimators, X, Y, levels=[0], cv=2, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("[degradation_curve] a, fold 0 (1 of 4): ")


class Follow:
    """Notes the tasks of a fit; may ask to stop after some."""

    def __init__(self, n_tasks=np.inf):
        self.n_tasks = n_tasks
        self.began, self.ended = [], []

    def setup(self, estimator, context):
        self.n_expected = context.max_subtasks

    def teardown(self, estimator, context):
        self.is_over = True

    def on_fit_task_begin(self, estimator, context):
        self.began.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.ended.append(context.task_name)
        if context.task_name == "fit":
            self.predicted = fitted_estimator.predict(X)
        return len(self.ended) >= self.n_tasks


class FollowAll(Follow):
    """Follows the fits of nested estimators, too."""

    max_propagation_depth = None

    def on_fit_task_end(self, estimator, context):
        self.ended.append((type(estimator).__name__, context.task_name))


ESTIMATORS = [
    (LateFusionClassifier(combine="stacking", cv=3), 8),
    (LateFusionRegressor(), 2),
    (HybridFusionClassifier(), 3),
    (LateFusionClusterer(KMeans(3, n_init=1), n_runs=4, random_state=0), 8),
    (HybridFusionClusterer(KMeans(3), n_runs=2, random_state=0), 6),
    (MultimodalClusterer(3, random_state=0), 6),
    (SpectralClusterer(3, random_state=0), 3),
    (SNFClusterer(3, random_state=0), 3),
]


@needs_callbacks
@pytest.mark.parametrize(
    ("estimator", "n_steps"), ESTIMATORS, ids=lambda e: type(e).__name__
)
def test_callbacks_of_scikit_learn_follow_the_steps(estimator, n_steps):
    follow = Follow()
    fitted = estimator.set_callbacks(follow).fit(X, Y)
    estimator.set_callbacks()
    assert follow.began[0] == follow.ended[-1] == "fit"
    assert sorted(follow.began) == sorted(follow.ended)
    assert len(follow.ended) == n_steps + 1
    assert follow.n_expected == n_steps
    assert follow.is_over
    np.testing.assert_array_equal(follow.predicted, fitted.predict(X))
    alone = estimator.fit(X, Y)  # callbacks change nothing
    np.testing.assert_array_equal(alone.predict(X), follow.predicted)


@needs_callbacks
@pytest.mark.parametrize(
    "estimator",
    [
        MKLClassifier(algorithm="l1", tol=1e-6),
        MKLRegressor(algorithm="lp", tol=1e-6),
        MKLClusterer(3, algorithm="mkkm", random_state=0),
        MKLClusterer(3, algorithm="simple_mkkm", random_state=0),
        MKLClusterer(3, algorithm="late_fusion", random_state=0),
    ],
    ids=lambda e: f"{type(e).__name__}-{e.algorithm}",
)
def test_callbacks_follow_and_may_end_the_steps_of_kernel_weights(estimator):
    follow, stop = Follow(), Follow(n_tasks=2)
    X, _ = make_multimodal_blobs(60, {"a": 3, "b": 4}, cluster_std=4, random_state=0)
    y = (Y > 0).astype(int)
    n_steps = estimator.set_callbacks(follow).fit(X, y).n_iter_
    assert follow.ended[0] == "kernels"
    assert follow.ended[-2] in ("machine", "k-means")
    assert len(follow.ended) - 3 in (n_steps, n_steps - 1)
    assert len(follow.ended) - 1 <= follow.n_expected
    with warnings.catch_warnings():  # to be stopped is no failure to converge
        warnings.simplefilter("error")
        estimator.set_callbacks(stop).fit(X, y)  # kernels, and a step of the weights
    assert estimator.n_iter_ == 1 < n_steps


SEQUENCES, CLASSES, _ = make_multimodal_sequences(12, random_state=0)
N_STEPS = [
    max(map(len, sample)) for sample in zip(*SEQUENCES.to_dict().values(), strict=True)
]
FRAME_LABELS = [np.arange(n) // 5 % 2 for n in N_STEPS]
BY_ITERATIONS = [
    HMMTransformer(2, n_init=2, tol=0, max_iter=60, random_state=0),
    HMMTransformer(2, "factorial", n_init=2, tol=0, max_iter=60, random_state=0),
    HMMClusterer(2, n_states=2, n_init=2, tol=0, max_iter=60, random_state=0),
    MultimodalMixture(3, n_init=2, tol=0, max_iter=60, random_state=0),
]


@needs_callbacks
@pytest.mark.parametrize("estimator", BY_ITERATIONS, ids=lambda e: type(e).__name__)
def test_callbacks_follow_and_may_end_the_iterations_of_all_starts(estimator):
    data = X if isinstance(estimator, MultimodalMixture) else SEQUENCES
    follow, stop = Follow(), Follow(n_tasks=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tol=0
        estimator.set_callbacks(follow).fit(data)
    assert follow.ended[-1] == "fit"
    assert {task[:7] for task in follow.ended[:-1]} == {"start 0", "start 1"}
    assert len(follow.ended) - 1 <= follow.n_expected == 120
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.set_callbacks(stop).fit(data)
    assert estimator.n_iter_ == len(stop.ended) - 1 == 3
    estimator.set_callbacks()


@needs_callbacks
def test_callbacks_follow_the_classes_of_hidden_markov_models():
    follow = Follow()
    y = np.where(CLASSES[0] == CLASSES, "walk", "run")
    classifier = HMMClassifier(2, modality_weights="discriminative", cv=2)
    classifier.set_callbacks(follow).fit(SEQUENCES, y)
    of_classes = ["class run", "class walk"]
    assert follow.ended == [*of_classes, *of_classes, "temperatures", "fit"]
    assert follow.n_expected == 5


@needs_callbacks
@pytest.mark.parametrize(
    "labeler",
    [HMMLabeler(2, tol=0, random_state=0), CRFLabeler(tol=0)],
    ids=lambda labeler: type(labeler).__name__,
)
def test_callbacks_may_end_the_iterations_of_a_labeler(labeler):
    stop = Follow(n_tasks=2)
    labeler.set_callbacks(stop)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labeler.fit(SEQUENCES, FRAME_LABELS)
    assert labeler.n_iter_ == 2


def test_a_context_shows_the_progress_of_all_fits(capsys):
    with show_progress():
        MKLClassifier(algorithm="l1").fit(X, Y)
        HMMClassifier(2, cv=2).fit(SEQUENCES, CLASSES)
        GridSearchCV(MKLRegressor(), {"C": [1, 2]}, cv=2, refit=False).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    names = [line.split("]")[0].strip("[") for line in lines]
    assert names.count("MKLRegressor") == 4  # one line of each fit, as short it is
    assert set(names) == {"MKLClassifier", "HMMClassifier", "MKLRegressor"}
    MKLClassifier().fit(X, Y)
    assert capsys.readouterr().out == ""


def test_a_context_ends_after_errors_and_refuses_other_values():
    with show_progress(2):
        assert Progress("count", 1).verbose == 2
    with pytest.raises(ZeroDivisionError), show_progress():
        divmod(1, 0)
    assert not Progress("count", 1).verbose
    with pytest.raises(TypeError, match="verbose='yes'"), show_progress("yes"):
        pass


def test_the_learning_of_aligners_is_shown(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # max_iter
        HMMAligner(3, max_iter=3, verbose=True).fit(SEQUENCES)
    shown = capsys.readouterr().out
    assert "[HMMAligner, chain " in shown
    assert "objective" in shown
    assert "[HMMAligner] learning" in shown


@needs_callbacks
def test_callbacks_follow_nested_estimators():
    follow = FollowAll()
    nested = LateFusionClassifier(LogisticRegression(max_iter=5, tol=1))
    nested.set_callbacks(follow).fit(X, Y)
    assert [name for name, _ in follow.ended].count("LogisticRegression") >= 2
    assert follow.ended[-1] == ("LateFusionClassifier", "fit")
    ensemble = MultimodalClusterer(
        clusterers={"late": LateFusionClusterer(KMeans(3, n_init=1), n_runs=2)}
    )
    follow = FollowAll()
    ensemble.set_callbacks(follow).fit(X)
    names = [name for name, _ in follow.ended]
    assert names == ["LateFusionClusterer"] * 5 + ["MultimodalClusterer"]


@needs_callbacks
def test_bars_and_scores_of_scikit_learn_follow_searches(capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar, ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    model = LateFusionClassifier().set_callbacks(monitor)
    GridSearchCV(model, {"estimator__C": [0.1, 1]}, cv=2).fit(X, Y)
    assert len(monitor.get_logs().data_as_pandas) == 5
    for n_jobs in (1, 2):
        model = LateFusionClassifier(n_jobs=n_jobs).set_callbacks(ProgressBar())
        model.fit(X, Y)
        assert "LateFusionClassifier - fit" in capsys.readouterr().out
