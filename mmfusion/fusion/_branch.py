"""Branches: predictors of one modality, or of several concatenated ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier
from sklearn.utils import check_random_state

from mmfusion._blocks import is_sequences, of_samples
from mmfusion._frame_scaling import fit_frame_scaling, scale_frames
from mmfusion._options import by_modality
from mmfusion._progress import Job, Progress, with_callbacks_of
from mmfusion._scaling import SCALINGS, Scaling
from mmfusion._scaling_choice import (
    choose_predictor_scaling,
    choose_scaling,
    resolve_scalings,
)
from mmfusion._typing import (
    ByModality,
    EstimatorLike,
    NumericBlock,
    RandomStateLike,
)
from mmfusion.fusion._dropout import fill_copies, with_dropout
from mmfusion.fusion._early_transformer import EarlyFusion
from mmfusion.fusion._folds import Folds
from mmfusion.fusion._multilabel import LabelsTarget
from mmfusion.fusion._nested_estimators import seeded
from mmfusion.fusion._targets import ClassificationTarget, RegressionTarget
from mmfusion.modalities import Modalities
from mmfusion.preprocessing import ModalityImputer
from mmfusion.preprocessing._pooling import pool_modalities
from mmfusion.preprocessing._sequence_layouts import as_read_by

Target = ClassificationTarget | LabelsTarget | RegressionTarget

EARLY_BRANCH = "early"  # name of the branch of all modalities
LARGEST_VARIANCE_ALONE = 10  # of a standardised modality, summed over its features

# remedies for errors of networks, by what the errors contain
TORCH_REMEDIES = {
    "Double and Float": "networks take float32: give float32, or the network in a "
    "Pipeline after FunctionTransformer(np.float32)",
    "is out of bounds": "networks take classes counted from 0, and have an output for "
    "each",
    "numpy.str_": "networks take classes counted from 0: encode y by LabelEncoder()",
}


@dataclass(frozen=True)
class Branch:
    """A predictor, and the transformations of its modalities into one matrix.

    Parameters
    ----------
    name : str
        Name of its modality, or of its set of modalities.
    modalities : list of int
        Positions of its modalities.
    estimator : estimator or None
        The predictor; None if only the matrix is wanted.
    scaling : {'block', 'standard', 'l2'} or None or dict, default=None
        Scaling of its modalities, chosen where the parameter of the estimator is
        'auto'.
    reducer : transformer or dict, default=None
        Transformer of each scaled modality.
    weights : {'uniform'}, array-like of shape (n_modalities,) or dict, \
default='uniform'
        Factor of each scaled modality.
    missing : {'mean', 'knn', 'zero', 'skip'}, default='skip'
        Imputation of the modalities that a sample lacks, if it has others. 'skip'
        restricts the branch to samples that have all of its modalities.
    dropout : float, default=0.0
        Probability with which a modality is dropped in the copies of samples that
        training data are augmented with.
    seed : int, default=None
        Seed of the predictor and of the dropout. None leaves the predictor its own.
    method : str, default='predict'
        Method of the predictor that gives the predictions.
    as_given : bool, default=False
        Whether the predictor takes its one modality without scaling, such as text.
    fusion : EarlyFusion, default=None
        Fitted scalings and reducers of a fitted branch, unless it is `as_given`.
    imputer : ModalityImputer, default=None
        Fitted imputer of a fitted branch, unless it skips samples.
    frame_widths : dict of str to int, default=None
        Number of features of a frame, of every modality of sequences. A branch of
        several modalities takes statistics of their sequences over time.
    frame_scaling : Scaling, default=None
        Fitted scaling of the sequences of a fitted branch of one modality.
    """

    name: str
    modalities: list[int]
    estimator: BaseEstimator | None
    scaling: ByModality[str | None] = None
    reducer: EstimatorLike = None
    weights: str | ArrayLike | dict[str, float] = "uniform"
    missing: str = "skip"
    dropout: float = 0.0
    seed: int | None = None
    method: str = "predict"
    as_given: bool = False
    fusion: EarlyFusion | None = None
    imputer: ModalityImputer | None = None
    frame_widths: Mapping[str, int] | None = None
    frame_scaling: Scaling | None = None

    def observed(self, frame: Modalities) -> np.ndarray:
        """Return which samples the branch can be used for.

        Parameters
        ----------
        frame : Modalities
            All modalities.

        Returns
        -------
        ndarray of bool of shape (n_samples,)
            True for samples with any modality of the branch; with all of them if
            others are skipped.
        """
        if len(self.modalities) == 1:
            return frame.observed[:, self.modalities[0]]
        observed = frame.observed[:, self.modalities]
        needed = np.all if self.missing == "skip" else np.any
        return np.asarray(needed(observed, axis=1))

    def _select(self, frame: Modalities, rows: np.ndarray) -> Modalities:
        own = frame[:, self.modalities]
        own = own if rows.all() else own[np.flatnonzero(rows)]
        if len(self.modalities) == 1 or not self.frame_widths:
            return own
        return pool_modalities(own, self.frame_widths)

    def _fuse(self, filled: Modalities) -> Any:
        """Return what the predictor takes: one matrix, or scaled sequences."""
        if self.frame_scaling is not None:
            return scale_frames(self.frame_scaling, filled.blocks[0])
        if self.fusion is None:
            return filled.blocks[0]
        return self.fusion._fuse(filled, copy=False)

    def scaling_name(self) -> str | None:
        """Return the name of the scaling of a fitted branch of one modality."""
        if self.frame_scaling is not None:
            return self.frame_scaling.name
        return None if self.fusion is None else self.fusion.scaling_[self.name]

    def fit(
        self,
        frame: Modalities,
        y: np.ndarray,
        target: Target,
        params: Mapping[str, Any],
        task: Any = None,
    ) -> Self:
        """Fit a copy of the branch to the samples that it can be used for.

        Parameters
        ----------
        frame : Modalities
            All modalities, checked.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Classes or values.
        target : ClassificationTarget, LabelsTarget or RegressionTarget
            Description of y.
        params : dict
            Metadata for the predictor's `fit`.
        task : CallbackContext, default=None
            The step that the fit is, whose callbacks the predictor has.

        Returns
        -------
        Branch
            The fitted copy.
        """
        observed = self.observed(frame)
        own = self._select(frame, observed)
        params = {key: of_samples(value, observed) for key, value in params.items()}
        y = of_samples(y, observed)
        fitted, filled = self._fit_transformers(own, y, params.get("sample_weight"))
        if fitted.imputer is not None and self.dropout > 0:
            filled, rows = self._augmented(
                own, filled, fitted.imputer, params.get("sample_weight")
            )
            params = {k: _take_rows(v, rows, len(own)) for k, v in params.items()}
            y = y[rows]
        matrix = fitted._fuse(filled)
        estimator = target.adapt(clone(self.estimator))
        if self.seed is not None:
            seeded(estimator, self.seed)
        if target.is_constant(y):  # most classifiers refuse a single class
            estimator, params = DummyClassifier(strategy="prior"), {}
        try:
            with with_callbacks_of(task, estimator):
                estimator.fit(as_read_by(estimator, matrix), y, **params)
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            weighed = params.get("sample_weight") is not None
            hint = " (samples whose sample_weight is 0 are left out)" * weighed
            raise self._with_title(error, hint) from error
        return replace(fitted, estimator=estimator)

    def fit_transformers(
        self, frame: Modalities, sample_weight: np.ndarray | None = None
    ) -> Self:
        """Fit a copy of the branch without its predictor: imputer and scaling only.

        Parameters
        ----------
        frame : Modalities
            All modalities, checked.
        sample_weight : ndarray of shape (n_samples,), default=None
            Weights of the samples in means and variances.

        Returns
        -------
        Branch
            The fitted copy.
        """
        observed = self.observed(frame)
        if sample_weight is not None:
            sample_weight = of_samples(sample_weight, observed)
        own = self._select(frame, observed)
        return self._fit_transformers(own, None, sample_weight)[0]

    def _fit_transformers(
        self, own: Modalities, y: np.ndarray | None, sample_weight: np.ndarray | None
    ) -> tuple[Self, Modalities]:
        if len(own) == 0 or (sample_weight is not None and not sample_weight.any()):
            raise ValueError(
                f"{self._title()}: no sample has all of its modalities, so there is "
                "nothing to fit on; give missing='mean' or 'knn'"
            )
        imputer = None
        if self.missing != "skip":
            imputer = ModalityImputer(self.missing)._fit_checked(own, sample_weight)
        filled = own if imputer is None else imputer._fill(own)
        if self.as_given:
            return self, filled
        if is_sequences(filled.blocks[0]):
            scaling = by_modality(self.scaling, own.names, "scaling")[0]
            fitted = fit_frame_scaling(filled.blocks[0], scaling, sample_weight)
            return replace(self, frame_scaling=fitted), filled
        fusion = EarlyFusion(self.scaling, reducer=self.reducer, weights=self.weights)
        # arrays, whatever the output that sklearn.set_config sets for transformers
        fusion.set_output(transform="default")
        fusion._fit_checked(filled, y, sample_weight)
        return replace(self, imputer=imputer, fusion=fusion), filled

    def _augmented(
        self,
        own: Modalities,
        filled: Modalities,
        imputer: ModalityImputer,
        sample_weight: np.ndarray | None,
    ) -> tuple[Modalities, np.ndarray]:
        """Append copies of samples with dropped modalities, filled in.

        Returns the samples with their copies, and the position of each one's original.
        """
        rng = np.random.default_rng(self.seed or 0)
        copies, rows = with_dropout(own, self.dropout, rng)
        pieces, rows = fill_copies(copies, rows, own, imputer, rng, sample_weight)
        return filled.concat(*pieces), np.concatenate([np.arange(len(own)), rows])

    def predict(
        self, target: Target, matrix: NumericBlock, method: str | None = None
    ) -> np.ndarray:
        """Predict by a method of the predictor.

        Parameters
        ----------
        target : ClassificationTarget, LabelsTarget or RegressionTarget
            Description of y.
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples transformed by `transform`.
        method : str, default=None
            The method; None is that of the branch.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            Checked predictions, with a column for every class or output.
        """
        try:
            return target.predictions(self.estimator, matrix, method or self.method)
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            raise self._with_title(error) from error

    def _with_title(self, error: Exception, hint: str = "") -> Exception:
        """Return an error of a predictor with the modality and a remedy."""
        if isinstance(error, RuntimeError) and type(error) is not RuntimeError:
            return error  # a kind of its own, such as of memory, is caught by it
        kinds = (TypeError, ValueError, IndexError, RuntimeError)
        kind = next(kind for kind in kinds if isinstance(error, kind))
        for sign, remedy in TORCH_REMEDIES.items():
            hint += f"; {remedy}" * (sign in str(error))
        return kind(f"{self._title()}: {error}{hint}")

    def _title(self) -> str:
        kind = "modality" if len(self.modalities) == 1 else "branch"
        return f"{kind} {self.name!r}"

    def transform(self, frame: Modalities, rows: np.ndarray) -> NumericBlock:
        """Transform samples into the matrix that the predictor takes.

        Parameters
        ----------
        frame : Modalities
            All modalities, checked.
        rows : ndarray of bool of shape (n_samples,)
            Samples to transform, of those that the branch can be used for.

        Returns
        -------
        ndarray or CSR matrix of shape (n_rows, n_features)
            The scaled modalities, concatenated; of one modality of sequences an
            object array of the scaled ones.
        """
        filled = self._select(frame, rows)
        if self.imputer is not None:
            filled = self.imputer._fill(filled)
        return self._fuse(filled)


def _take_rows(value: Any, rows: np.ndarray, n_samples: int) -> Any:
    return np.asarray(value)[rows] if np.shape(value)[:1] == (n_samples,) else value


def resolve_scaling(
    frame: Modalities,
    scaling: ByModality[str | None],
    as_given: Sequence[str] = (),
    sample_weight: np.ndarray | None = None,
    choose: Callable[[NumericBlock, np.ndarray], str] = choose_scaling,
) -> dict[str, str | None]:
    """Choose the scaling of every modality that is 'auto'.

    Parameters
    ----------
    frame : Modalities
        All modalities, checked.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict
        The parameter of the estimator.
    as_given : sequence of str, default=()
        Modalities that are not scaled, since they hold other than numbers. Of
        sequences 'auto' is 'block'.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples in the choice.
    choose : callable, default=choose_scaling
        Function of a block and the weights of its samples that chooses the scaling of
        a table; predictors have one of their own.

    Returns
    -------
    dict of str to {'block', 'standard', 'l2'} or None
        Scaling by modality.
    """
    names = frame.names
    requested = by_modality(scaling, names, "scaling", "auto", SCALINGS)
    for v, (name, block) in enumerate(zip(names, frame.blocks, strict=True)):
        if name in as_given:
            requested[v] = None
        elif is_sequences(block) and requested[v] == "auto":
            requested[v] = "block"
    chosen = resolve_scalings(frame, requested, sample_weight, choose)
    return dict(zip(names, chosen, strict=True))


def draw_seed(random_state: RandomStateLike) -> int | None:
    """Draw one seed for all branches, so that their order does not matter.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        An integer is the seed itself.

    Returns
    -------
    int or None
        The seed; None leaves estimators their own.
    """
    if random_state is None:
        return None
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def with_scaling_and_seed(
    branches: Sequence[Branch],
    frame: Modalities,
    scaling: ByModality[str | None],
    sample_weight: np.ndarray | None,
    random_state: RandomStateLike,
) -> list[Branch]:
    """Return unfitted branches with the scaling of their modalities, and one seed.

    Parameters
    ----------
    branches : list of Branch
        Branches without them; those of single modalities first.
    frame : Modalities
        All modalities, checked.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict
        The parameter of the estimator. For a modality alone 'auto' takes 'standard'
        where it takes 'block' for several, and a total variance of at most 10.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples in the choice of the scaling.
    random_state : int, RandomState instance or None
        The parameter of the estimator.

    Returns
    -------
    list of Branch
        The completed branches.
    """
    seed = draw_seed(random_state)
    as_given = [branch.name for branch in branches if branch.as_given]
    chosen = resolve_scaling(
        frame, scaling, as_given, sample_weight, choose_predictor_scaling
    )
    given = by_modality(scaling, frame.names, "scaling", "auto")
    completed = []
    for branch in branches:
        own = {frame.names[v]: chosen[frame.names[v]] for v in branch.modalities}
        is_auto = given[branch.modalities[0]] == "auto"
        # a modality alone has no others to be brought into proportion with
        if is_auto and own == {branch.name: "block"}:
            own = {branch.name: "standard"}
            branch = replace(branch, weights=_weight_alone(frame[branch.name]))
        completed.append(replace(branch, scaling=own, seed=seed))
    return completed


def _weight_alone(block: Any) -> list[float] | str:
    """Return the weight that limits the total variance of standardised features.

    The penalties of linear models and networks then bound what wide modalities can
    fit. Estimators of sequences are given them without it.
    """
    if is_sequences(block) or block.shape[1] <= LARGEST_VARIANCE_ALONE:
        return "uniform"
    return [float(np.sqrt(LARGEST_VARIANCE_ALONE / block.shape[1]))]


@dataclass(frozen=True)
class BranchPredictions:
    """Predictions of one branch for some samples.

    Parameters
    ----------
    branch : int
        Number of the branch.
    rows : ndarray of int of shape (n_rows,)
        Positions of the samples.
    values : ndarray of shape (n_rows, n_outputs)
        The predictions.
    unseen : ndarray of bool of shape (n_rows,), default=None
        Samples of a class that the branch was not trained on. None where the classes
        of samples are not known.
    """

    branch: int
    rows: np.ndarray
    values: np.ndarray
    unseen: np.ndarray | None = None


@dataclass(frozen=True)
class Predictions:
    """Predictions of all branches.

    Parameters
    ----------
    values : ndarray of shape (n_branches, n_samples, n_outputs)
        The predictions; the prior where a branch has none.
    observed : ndarray of bool of shape (n_samples, n_branches)
        Where a branch has a prediction.
    """

    values: np.ndarray
    observed: np.ndarray


def gather_predictions(
    predicted: Sequence[BranchPredictions],
    shape: tuple[int, int],
    prior: np.ndarray,
) -> Predictions:
    """Gather the predictions of single branches.

    Parameters
    ----------
    predicted : list of BranchPredictions
        Predictions by branch and fold.
    shape : tuple of int
        (n_samples, n_branches).
    prior : ndarray of shape (n_outputs,)
        Values where a branch has no prediction. It is repeated where predictions have
        more columns, such as standard deviations.

    Returns
    -------
    Predictions
        All of them.
    """
    width = predicted[0].values.shape[1] if predicted else len(prior)
    default = np.resize(prior, width)
    observed = np.zeros(shape, dtype=bool)
    values = np.empty((shape[1], shape[0], width))
    for some in predicted:
        observed[some.rows, some.branch] = True
        values[some.branch, some.rows] = some.values
    for branch in range(shape[1]):
        if not observed[:, branch].all():
            values[branch, ~observed[:, branch]] = default
    return Predictions(values, observed)


@dataclass(frozen=True)
class HeldOut:
    """Predictions for samples that were held out from training.

    Parameters
    ----------
    predictions : Predictions
        Predictions of all branches, without those for unseen classes.
    fold : ndarray of int of shape (n_samples,)
        Number of the fold that each sample was held out in; -1 for none.
    unseen : ndarray of bool of shape (n_samples, n_branches)
        Where a branch was not trained on the class of the sample, so that its
        prediction is without meaning.
    """

    predictions: Predictions
    fold: np.ndarray
    unseen: np.ndarray


def gather_held_out(
    predicted: Sequence[BranchPredictions],
    folds: Folds,
    shape: tuple[int, int],
    prior: np.ndarray,
) -> HeldOut:
    """Gather held-out predictions.

    Parameters
    ----------
    predicted : list of BranchPredictions
        Predictions by branch and fold.
    folds : list of tuple of ndarray
        Training and test samples.
    shape : tuple of int
        (n_samples, n_branches).
    prior : ndarray of shape (n_outputs,)
        Values where a branch has no prediction.

    Returns
    -------
    HeldOut
        All of them.
    """
    predictions = gather_predictions(predicted, shape, prior)
    unseen = np.zeros(shape, dtype=bool)
    for some in predicted:
        unseen[some.rows, some.branch] = some.unseen
    fold = np.full(shape[0], -1)
    for number, (_, test) in enumerate(folds):
        fold[test] = number
    predictions = replace(predictions, observed=predictions.observed & ~unseen)
    return HeldOut(predictions, fold, unseen)


def fit_branches(
    branches: Sequence[Branch],
    frame: Modalities,
    y: np.ndarray,
    target: Target,
    params: Mapping[str, Mapping[str, Any]],
    folds: Folds,
    n_jobs: int | None,
    progress: Progress,
) -> tuple[list[Branch], list[BranchPredictions]]:
    """Fit every branch to all samples, and to the training samples of every fold.

    Parameters
    ----------
    branches : list of Branch
        Unfitted branches.
    frame : Modalities
        All modalities, checked.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Classes or values.
    target : ClassificationTarget, LabelsTarget or RegressionTarget
        Description of y.
    params : dict of str to dict
        Metadata for `fit` by name of the branch.
    folds : list of tuple of ndarray
        Training and test samples; may be empty.
    n_jobs : int or None
        Number of fits at a time.
    progress : Progress
        Progress of the fits, whose number is that of `branches` times one more than
        that of `folds`.

    Returns
    -------
    fitted : list of Branch
        Branches fitted to all samples.
    held_out : list of BranchPredictions
        Predictions for the test samples of every fold.
    """
    # one parallel call for all fits, so that few branches occupy all processors too
    everything = np.arange(len(frame))
    tasks = [
        (b, f"{branches[b]._title()}{part}", train, test)
        for b in range(len(branches))
        for part, train, test in [
            ("", everything, None),
            *((f", fold {k}", *fold) for k, fold in enumerate(folds)),
        ]
    ]
    jobs = [
        Job(
            what,
            _fit_branch,
            (branches[b], frame, y, target, params[branches[b].name], train, test),
        )
        for b, what, train, test in tasks
    ]
    results = progress.run(jobs, n_jobs)
    fitted, held_out = [], []
    for (b, _, _, test), result in zip(tasks, results, strict=True):
        if test is None:
            fitted.append(result)
        elif result is not None:
            held_out.append(BranchPredictions(b, *result))
    return fitted, held_out


def _fit_branch(
    branch: Branch,
    frame: Modalities,
    y: np.ndarray,
    target: Target,
    params: Mapping[str, Any],
    train: np.ndarray,
    test: np.ndarray | None,
    task: Any = None,
) -> Any:
    """Fit a branch, or fit it to training samples and predict the test samples."""
    if test is None:
        return branch.fit(frame, y, target, params, task)
    # a modality may be missing in a whole fold
    observed = branch.observed(frame)
    if not observed[train].any() or not observed[test].any():
        return None
    own = {key: _take_rows(value, train, len(frame)) for key, value in params.items()}
    fitted = branch.fit(frame[train], y[train], target, own, task)
    rows = test[observed[test]]
    matrix = fitted.transform(frame[rows], np.ones(len(rows), dtype=bool))
    values = fitted.predict(target, matrix)
    return rows, values, target.unseen(fitted.estimator, y[rows])
