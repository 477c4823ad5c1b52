"""Valid calls of everything public, whose arguments the fuzz replaces one by one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.io import savemat
from sklearn.base import is_classifier, is_regressor
from sklearn.decomposition import PCA
from sklearn.utils import get_tags

from mmfusion import (
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    Modalities,
    Trainer,
)
from mmfusion.alignment import dtw_path
from mmfusion.benchmark import compare
from mmfusion.datasets import save_npz
from mmfusion.graphical import ChainGraph, ergodic_graph
from mmfusion.inspection import (
    modality_importance,
    modality_interactions,
    modality_shapley,
)
from mmfusion.mkl import MKLClassifier, MKLClusterer
from mmfusion.robustness import degradation_curve
from mmfusion.testing import all_estimators
from tests.fuzz.pool import N_SAMPLES, rows
from tests.test_public_api import CALLABLES, ESTIMATORS

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A call that is valid, until arguments are replaced."""

    name: str
    call: Callable[..., Any]
    arguments: Callable[[], Arguments]  # made anew for each call
    refuses_nan: bool = True


# Data

LABELS = np.arange(N_SAMPLES) % 2


def tables() -> dict[str, np.ndarray]:
    centers = 3.0 * LABELS[:, None]
    return {
        "audio": rows(N_SAMPLES, 3) + centers,
        "text": rows(N_SAMPLES, 2) - centers,
    }


def frames() -> dict[str, pd.DataFrame]:
    labels = [f"s{i}" for i in range(N_SAMPLES)]
    return {name: pd.DataFrame(block, labels) for name, block in tables().items()}


def sequences(n_samples: int = 3) -> dict[str, list[np.ndarray]]:
    return {
        "audio": [rows(6 + i, 2) + i for i in range(n_samples)],
        "text": [rows(5 + i, 2) - i for i in range(n_samples)],
    }


def x() -> np.ndarray:
    return rows(5, 2)


def y() -> np.ndarray:
    return rows(6, 2) + 1


def tokens() -> list[list[str]]:
    return [["a", "b"], ["c", "a"], ["b", "c", "a"]]


def labelled() -> dict[str, list[Any]]:
    frames = [np.log(np.full((6 + i, 4), 0.25)) - rows(6 + i, 4) / 9 for i in range(3)]
    return {"frames": frames, "labels": [[1, 2], [3], [2, 3, 1]]}


def links() -> list[np.ndarray]:
    one = np.array([[0, 0], [1, 1]])
    return [one, one.copy(), np.empty((0, 2), int)]


def collection() -> list[np.ndarray]:
    return [rows(4 + i, 2) + i for i in range(3)]


# Estimators

FAST: dict[str, Arguments] = {
    "CTCRecognizer": {
        "encoders": [4],
        "trainer": Trainer(max_epochs=1, batch_size=N_SAMPLES),
    },
    "DeepCTWAligner": {
        "encoders": (4,),
        "steps_per_epoch": 2,
        "trainer": Trainer(max_epochs=1),
    },
    "ForcedAligner": {"n_states": 1},
    "SiameseAligner": {"encoders": (4,), "trainer": Trainer(max_epochs=1)},
    "ProductHMMAligner": {"n_states": 2},
    **{
        name: {
            "encoders": [4, 3],
            "hidden_width": 4,
            "trainer": Trainer(max_epochs=1, batch_size=N_SAMPLES),
        }
        for name in ("CoMVCClusterer", "SiMVCClusterer")
    },
    "DMSCClusterer": {
        "encoders": [4, 3],
        "trainer": Trainer(pretrain_epochs=1, max_epochs=1, batch_size=N_SAMPLES),
    },
    "MFLVCClusterer": {
        "encoders": [4, 3],
        "feature_width": 4,
        "matching_epochs": 1,
        "trainer": Trainer(pretrain_epochs=1, max_epochs=1, batch_size=N_SAMPLES),
    },
    "DCCA": {
        "encoders": [4, 3],
        "trainer": Trainer(max_epochs=1, batch_size=N_SAMPLES),
    },
    **{
        name: {
            "encoders": [4, 3],
            "n_members": 1,
            "trainer": Trainer(max_epochs=1, batch_size=N_SAMPLES),
        }
        for name in ("NeuralFusionClassifier", "NeuralFusionRegressor")
    },
    "AutoencoderClusterer": {
        "encoders": [4, 3],
        "trainer": Trainer(pretrain_epochs=1, max_epochs=1, batch_size=N_SAMPLES),
    },
    "EAMCClusterer": {
        "encoders": [4, 3],
        "hidden_width": 4,
        "n_clustering_heads": 2,
        "n_neighbors": 3,
        "trainer": Trainer(pretrain_epochs=1, max_epochs=1, batch_size=N_SAMPLES),
    },
}
FAST_ANYWHERE = {"n_clusters": 2, "n_init": 1, "n_runs": 2, "cv": 2, "random_state": 0}
OF_SEQUENCES = {
    "AsynchronousHMMAligner",
    "CTCRecognizer",
    "CTWAligner",
    "DTWAligner",
    "DTWKernel",
    "DeepCTWAligner",
    "HMMAligner",
    "HMMClassifier",
    "HMMClusterer",
    "HMMTransformer",
    "PairHMMAligner",
    "ProductHMMAligner",
    "SequenceGradients",
    "SequencePooling",
    "SequenceResampler",
    "SiameseAligner",
}
OF_TABLES = {"ModalitySplitter"}
OF_TOKENS = {"WordAligner"}
OF_LABELS = {"CTCAligner", "ForcedAligner"}
NAN_IF_MISSING = {"modality_latents", "modality_predictions", "modality_probabilities"}
OUTPUTS = ("predict", "predict_proba", "decision_function", "transform")
# What scikit-learn defines, or what is the same as `fit` and another method.
NOT_FUZZED = {
    "fit",
    "fit_predict",
    "fit_transform",
    "get_metadata_routing",
    "get_params",
    "set_output",
    "set_params",
}


def estimator_arguments(name: str) -> Arguments:
    """Constructor and fit parameters of an estimator, the former with defaults."""
    cls = all_estimators()[name]
    own = {p.name: p.default for p in inspect.signature(cls).parameters.values()}
    fast = FAST_ANYWHERE | FAST.get(name, {})
    arguments = own | {key: value for key, value in fast.items() if key in own}
    arguments["X"] = sequences() if name in OF_SEQUENCES else tables()
    if get_tags(cls()).input_tags.positive_only:
        arguments["X"] = {n: np.abs(block) for n, block in tables().items()}
    if name in OF_TOKENS:
        arguments["X"] = {"source": tokens(), "target": tokens()}
    if name in OF_TABLES:
        arguments["X"] = np.hstack(list(tables().values()))
        arguments["modalities"] = {"audio": [0, 1, 2], "text": [3, 4]}
    if name in OF_LABELS:
        arguments["X"] = labelled()
    n_samples = 3 if name in OF_SEQUENCES | OF_TOKENS | OF_LABELS else N_SAMPLES
    arguments["y"] = LABELS[:n_samples].copy()
    if not is_classifier(cls()):
        arguments["y"] = rows(n_samples)
    if name in OF_TOKENS:
        arguments["y"] = links()
    if name == "CTCRecognizer":
        arguments["y"] = LABELS[:n_samples].copy()
    if name == "SiameseAligner":
        arguments["y"] = links()[:1] * n_samples
    if "sample_weight" in inspect.signature(cls.fit).parameters:
        arguments["sample_weight"] = np.ones(n_samples)
    return arguments


def fitted(name: str, arguments: Arguments) -> Any:
    cls = all_estimators()[name]
    of_fit = {k: arguments.pop(k) for k in ("y", "sample_weight") if k in arguments}
    X = arguments.pop("X")
    return cls(**arguments).fit(X, **of_fit)


def fit_and_predict(name: str, **arguments: Any) -> Any:
    X = arguments["X"]
    estimator = fitted(name, arguments)
    found = {m: getattr(estimator, m)(X) for m in OUTPUTS if hasattr(estimator, m)}
    return found | {"labels_": getattr(estimator, "labels_", None)}


@cache
def _fitted_once(name: str) -> Any:
    return fitted(name, estimator_arguments(name))


def call_method(name: str, method: str, **arguments: Any) -> Any:
    return getattr(deepcopy(_fitted_once(name)), method)(**arguments)


def method_arguments(name: str, method: str) -> Arguments:
    known = estimator_arguments(name)
    if method == "inverse_transform":
        known["X"] = _fitted_once(name).transform(known["X"])
    known["path"] = Path("parameters")
    known["batches"] = [known["X"]]
    if method == "load_params":
        _fitted_once(name).save_params(known["path"])
    function = getattr(all_estimators()[name], method)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return {
        p.name: known.get(p.name, p.default)
        for p in parameters
        if p.kind is not p.VAR_KEYWORD
    }


def estimator_targets(name: str) -> list[Target]:
    """The constructor with `fit`, and each method after a valid fit."""
    cls = all_estimators()[name]
    refuses_nan = not get_tags(cls()).input_tags.allow_nan
    found = [
        Target(
            name,
            partial(fit_and_predict, name),
            partial(estimator_arguments, name),
            refuses_nan,
        )
    ]
    inherited = {"predict", "transform", "score"}
    own = {n.partition(".")[2] for n in CALLABLES if n.startswith(f"{name}.")}
    for method in sorted((inherited | own) - NOT_FUZZED):
        is_constructor = inspect.ismethod(getattr(cls, method, None))
        if is_constructor or not hasattr(_fitted_once(name), method):
            continue
        found.append(
            Target(
                f"{name}.{method}",
                partial(call_method, name, method),
                partial(method_arguments, name, method),
                refuses_nan
                and method not in NAN_IF_MISSING
                and not (method == "score" and is_regressor(cls())),  # squares overflow
            )
        )
    return found


# Functions

DTW_OPTIONS: Arguments = {
    "metric": "sqeuclidean",
    "step_pattern": "symmetric2",
    "window": None,
    "radius": 0.5,
    "max_slope": 2.0,
    "penalty": 0.0,
    "open_begin": False,
    "open_end": False,
}


@cache
def _comparison() -> Any:
    methods = {
        "one": EarlyFusionClusterer(n_clusters=2),
        "two": EarlyFusionClusterer(n_clusters=3),
    }
    data = {"first": (tables(), LABELS), "second": (tables(), LABELS)}
    return compare(methods, data, n_repeats=2)


@cache
def _inspected(function: Callable[..., Any]) -> Any:
    return function(**CALLS[function.__name__]())


@cache
def _curve() -> Any:
    return degradation_curve(**CALLS["degradation_curve"]())


def _stored() -> Path:
    path = Path("stored.npz")
    save_npz(path, tables(), LABELS)
    return path


def _text() -> Path:
    path = Path("text.txt")
    path.write_text("a b\nc\n")
    return path


def _stored_table() -> Path:
    path = Path("stored.csv")
    path.write_text("pitch,smile,label\n1,2,a\n3,4,b\n")
    return path


def _stored_mat() -> Path:
    path = Path("stored.mat")
    cell = np.empty(2, dtype=object)
    cell[:] = list(tables().values())
    savemat(path, {"X": cell, "gt": LABELS + 1})
    return path


def _annotated() -> Any:
    return Modalities(tables())[["audio"]].to_anndata()


def _annotated_modalities() -> Any:
    return Modalities(tables()).to_mudata()


def _on_tables(**more: Any) -> Callable[[], Arguments]:
    return lambda: {"X": Modalities(tables()), **more}


def _comparison_of(**more: Any) -> Callable[[], Arguments]:
    return lambda: {"self": _comparison(), **more}


def _two(**more: Any) -> Callable[[], Arguments]:
    return lambda: {"x": x(), "y": y(), **more}


def _collection(**more: Any) -> Callable[[], Arguments]:
    return lambda: {"X": collection(), "Y": collection()[:2], **DTW_OPTIONS, **more}


def _labels() -> Arguments:
    return {"labels_true": LABELS.copy(), "labels_pred": LABELS[::-1].copy()}


def _stepwise() -> Arguments:
    return {
        "name": "skip",
        "moves": (((1, 1, 1.0),), ((1, 2, 1.0),)),
        "divisor": "rows",
    }


def _fetch() -> Arguments:
    return {
        "data_home": "data",
        "download_if_missing": False,
        "base_url": "file:///nonexistent",
    }


def _chain() -> ChainGraph:
    return ergodic_graph([[0.5, 0.5], [0.2, 0.8]], [0.5, 0.5])


def _frames_of_chain() -> Arguments:
    return {"graph": _chain(), "log_emissions": -(x() ** 2), "offsets": [0, 3, 5]}


CALLS: dict[str, Callable[[], Arguments]] = {
    "ergodic_graph": lambda: {
        "transitions": [[0.5, 0.5], [0.2, 0.8]],
        "start": [0.5, 0.5],
    },
    "forward_backward": _frames_of_chain,
    "graph_from_edges": lambda: {
        "n_states": 2,
        "edges": [(0, 0), (0, 1), (1, 1)],
        "log_weights": [-1.0, -1.0, 0.0],
    },
    "left_to_right_graph": lambda: {"n_states": 3, "max_duration": 2},
    "transition_matrix": lambda: {"graph": _chain()},
    "viterbi": _frames_of_chain,
    "with_transitions": lambda: {"graph": _chain(), "parameters": [0.5, 0.5, 0.2, 0.8]},
    "StepPattern": _stepwise,
    "cdist_dtw": _collection(),
    "cdist_soft_dtw": lambda: {"X": collection(), "Y": collection()[:2]},
    "dtw_barycenter": lambda: {"sequences": collection(), "max_iter": 2},
    "dtw_distance": _two(**DTW_OPTIONS),
    "dtw_neighbors": _collection(),
    "dtw_path": _two(step_pattern="symmetric2"),
    "dtw_subsequences": lambda: {"query": x(), "series": y(), "max_overlap": 1},
    "lb_improved": _two(radius=0.5),
    "lb_keogh": _two(radius=0.5),
    "rabiner_juang": lambda: {"kind": "III", "weighting": "c"},
    "soft_dtw": _two(),
    "soft_dtw_alignment": _two(),
    "similarity_network_fusion": lambda: {"X": tables(), "n_neighbors": 3},
    "soft_dtw_gamma": lambda: {"X": collection()},
    "soft_dtw_gradient": _two(),
    "Comparison": lambda: {
        "frame": _comparison().frame.copy(),
        "metrics": list(_comparison().metrics),
    },
    "Comparison.add_results": lambda: {
        "self": deepcopy(_comparison()),
        "results": pd.DataFrame(
            {"dataset": ["first"], "method": ["other"], "acc": [0.5]}
        ),
        "source": "a paper",
    },
    "Comparison.conclusion": _comparison_of(),
    "Comparison.ranks": _comparison_of(),
    "Comparison.save": _comparison_of(folder="folder"),
    "Comparison.significance": _comparison_of(),
    "Comparison.summary": _comparison_of(),
    "Comparison.table": _comparison_of(),
    "Comparison.to_csv": _comparison_of(path="table.csv"),
    "Comparison.to_html": _comparison_of(path="table.html"),
    "Comparison.to_latex": _comparison_of(),
    "Comparison.to_markdown": _comparison_of(),
    "ComparisonDisplay.from_comparison": lambda: {"comparison": _comparison()},
    "baselines": _on_tables(),
    "compare": lambda: {
        "methods": {"early": EarlyFusionClusterer(n_clusters=2)},
        "datasets": {"blobs": (tables(), LABELS.copy())},
        "n_repeats": 1,
    },
    "methods": lambda: {"task": "classification"},
    "preset": lambda: {"name": "eamc", "fast": True},
    "fetch_100leaves": _fetch,
    "fetch_handwritten": _fetch,
    "fetch_msrcv1": _fetch,
    "fetch_ucr_uea": lambda: {
        "name": "GunPoint",
        "data_home": "data",
        "download_if_missing": False,
    },
    "load_breast_cancer_modalities": dict,
    "load_diabetes_modalities": dict,
    "load_digits_modalities": dict,
    "load_file": lambda: {"path": _stored()},
    "load_mat": lambda: {"path": _stored_mat(), "modalities": "X", "target": "gt"},
    "load_wine_modalities": dict,
    "load_npz": lambda: {"path": _stored()},
    "load_parallel_corpus": lambda: {"source": _text(), "target": _text()},
    "load_table": lambda: {"path": _stored_table(), "target": "label"},
    "make_audio_visual_sequences": lambda: {"n_samples": 4, "n_states": 3},
    "make_dense_and_sparse": lambda: {"n_samples": 4},
    "make_digit_strings": lambda: {
        "audio": np.stack([rows(5, 2), rows(5, 2) + 1]),
        "images": rows(2, 3),
        "y": LABELS[:2].copy(),
        "n_samples": 2,
    },
    "make_event_sequences": lambda: {"n_samples": 4},
    "make_multimodal_blobs": lambda: {"n_samples": 10, "n_features": {"audio": 3}},
    "make_multimodal_sequences": lambda: {"n_samples": 4, "n_frames": 10},
    "make_parallel_corpus": lambda: {"n_samples": 4},
    "save_npz": _on_tables(path="saved.npz", y=LABELS.copy()),
    "WholeDataSplit.split": lambda: {
        "self": CALLABLES["WholeDataSplit"](),
        "X": Modalities(tables()),
    },
    "alignment_error": lambda: {
        "path": [[0, 0], [1, 2], [2, 2]],
        "matches": [[0.0, 0.0], [2.0, 1.0]],
    },
    "alignment_error_rate": lambda: {"y_true": links(), "y_pred": links()},
    "clustering_accuracy_score": _labels,
    "get_scorer": lambda: {"scoring": "adjusted_rand_score"},
    "labels_scorer": lambda: {"score": "adjusted_rand_score"},
    "modality_silhouette_score": _on_tables(labels=LABELS.copy()),
    "pairwise_f_score": _labels,
    "purity_score": _labels,
    **{
        name: lambda: {
            "y_true": [[0, 0, 1], [1, 0]],
            "y_pred": [[0, 1, 1], [1, 0]],
        }
        for name in ("edit_score", "segment_f1", "sequence_accuracy", "sequence_f1")
    },
    "Modalities": lambda: {"data": tables()},
    "Modalities.concat": lambda: {
        "self": Modalities(tables()),
        "others": Modalities(tables()),
    },
    "Modalities.from_anndata": lambda: {"adata": _annotated(), "layers": ["X"]},
    "Modalities.from_mudata": lambda: {"mdata": _annotated_modalities()},
    "Modalities.to_anndata": lambda: {"self": Modalities(tables())[["audio"]]},
    "Modalities.to_mudata": lambda: {"self": Modalities(tables())},
    "Modalities.from_frames": lambda: {"frames": frames(), "join": "outer"},
    "Modalities.from_table": lambda: {"table": rows(N_SAMPLES, 3), "modalities": 2},
    "Modalities.take": lambda: {"self": Modalities(tables()), "indices": [0, 1]},
    "modality_selector": lambda: {"names": "audio"},
    "AlignmentDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("DTWAligner"),
        "X": sequences(),
    },
    "AlignmentDisplay.from_predictions": lambda: {
        "x": x(),
        "y": y(),
        "path": dtw_path(x(), y()).path,
    },
    "AlignmentDisplay.from_sequences": _two(),
    "AttentionWeightsDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("EAMCClusterer"),
        "X": tables(),
    },
    "AttentionWeightsDisplay.from_predictions": lambda: {
        "weights": [0.25, 0.75],
        "names": ["audio", "text"],
        "labels": LABELS.copy(),
    },
    "KernelMatrixDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("MKLClusterer"),
        "X": tables(),
    },
    "KernelMatrixDisplay.from_predictions": lambda: {
        "kernels": [np.eye(N_SAMPLES), np.ones((N_SAMPLES, N_SAMPLES))],
        "labels": LABELS.copy(),
    },
    "KernelWeightsDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("MKLClusterer")
    },
    "KernelWeightsDisplay.from_predictions": lambda: {
        "weights": [0.25, 0.75],
        "names": ["audio", "text"],
    },
    "LatentMapDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("EAMCClusterer"),
        "X": tables(),
        "reducer": PCA(2),
    },
    "LatentMapDisplay.from_predictions": lambda: {
        "fused": rows(N_SAMPLES, 2),
        "latents": {"audio": rows(N_SAMPLES, 2)},
        "labels": LABELS.copy(),
    },
    "ClusterConfusionDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("MKLClusterer"),
        "X": tables(),
        "y": LABELS.copy(),
    },
    "ClusterConfusionDisplay.from_predictions": lambda: {
        "labels": LABELS.copy(),
        "other_labels": 1 - LABELS,
    },
    "ClusterMapDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("MKLClusterer"),
        "X": tables(),
        "reducer": PCA(2),
    },
    "ClusterMapDisplay.from_predictions": lambda: {
        "X": tables(),
        "labels": LABELS.copy(),
        "fused": rows(N_SAMPLES, 2),
    },
    "ClusterProfileDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("MKLClusterer"),
        "X": tables(),
    },
    "ClusterProfileDisplay.from_predictions": lambda: {
        "X": tables(),
        "labels": LABELS.copy(),
    },
    "MissingModalitiesDisplay.from_modalities": lambda: {"X": tables()},
    "Modalities.describe": lambda: {"self": Modalities(tables())},
    "Modalities.head": lambda: {"self": Modalities(tables()), "n": 2},
    "ModalityAgreementDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("MKLClusterer"),
        "X": tables(),
    },
    "ModalityAgreementDisplay.from_modalities": lambda: {"X": tables()},
    "ModalityAgreementDisplay.from_predictions": lambda: {
        "labels": {"audio": LABELS.copy(), "text": 1 - LABELS}
    },
    "ModalitySilhouetteDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("MKLClusterer"),
        "X": tables(),
    },
    "ModalitySilhouetteDisplay.from_predictions": lambda: {
        "X": tables(),
        "labels": LABELS.copy(),
    },
    "cluster_profiles": lambda: {"X": tables(), "labels": LABELS.copy()},
    "show_progress": lambda: {"verbose": True},
    "show_versions": lambda: {},
    "LagDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("ProductHMMAligner"),
        "X": sequences(),
    },
    "LagDisplay.from_predictions": lambda: {"lag": [0.0, -0.5, 1.0]},
    "WordAlignmentDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("WordAligner"),
        "X": {"source": tokens(), "target": tokens()},
        "y": links(),
    },
    "WordAlignmentDisplay.from_predictions": lambda: {
        "posteriors": [[0.9, 0.1], [0.2, 0.3]],
        "links": links()[1],
        "source": ["a", "d"],
        "target": ["b", "c"],
        "known": links()[1],
    },
    "SpanDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("CTCAligner"),
        "X": labelled(),
        "known": [[0, 1], [2, 3]],
    },
    "SpanDisplay.from_predictions": lambda: {
        "spans": [[0, 1], [2, 3]],
        "labels": ["a", "b"],
        "posteriors": [0.5, 0.9],
        "known": [[0, 1], [2, 3]],
    },
    "LabelTracksDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("CRFLabeler"),
        "X": tables(),
    },
    "LabelTracksDisplay.from_predictions": lambda: {
        "tracks": {"known": ["a", "a", "b"], "predicted": ["a", "b", "b"]}
    },
    "LossCurveDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("EAMCClusterer")
    },
    "LossCurveDisplay.from_predictions": lambda: {
        "history": _fitted_once("EAMCClusterer").history_
    },
    "ObjectivePathDisplay.from_estimator": lambda: {
        "estimator": MKLClusterer(2, algorithm="simple_mkkm", random_state=0).fit(
            tables()
        )
    },
    "ObjectivePathDisplay.from_predictions": lambda: {"path": [3.0, 2.0, 1.5]},
    "ReliabilityDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("HMMTransformer"),
        "X": sequences(),
    },
    "ReliabilityDisplay.from_predictions": lambda: {
        "reliability": {"audio": [0.5, 1.0], "text": [0.25]}
    },
    "StatePosteriorDisplay.from_estimator": lambda: {
        "estimator": _fitted_once("HMMTransformer"),
        "X": sequences(),
    },
    "StatePosteriorDisplay.from_predictions": lambda: {
        "posteriors": [[0.25, 0.75], [1.0, 0.0]],
        "states": [1, 0],
    },
    "channels_first_from_sequences": lambda: {"sequences": collection()},
    "frames_from_sequences": lambda: {"sequences": collection()},
    "padded_from_sequences": lambda: {"sequences": collection()},
    "sequence_layout": lambda: {"estimator": PCA()},
    "sequences_from_channels_first": lambda: {
        "collection": [c.T for c in collection()]
    },
    "sequences_from_frames": lambda: {"frames": rows(7, 2), "lengths": [3, 4]},
    "sequences_from_padded": lambda: {"padded": rows(2, 4, 3)},
    "InteractionDisplay.from_estimator": lambda: CALLS["modality_interactions"](),
    "InteractionDisplay.from_results": lambda: {
        "results": _inspected(modality_interactions)
    },
    "ModalityImportanceDisplay.from_estimator": lambda: CALLS["modality_importance"](),
    "ModalityImportanceDisplay.from_results": lambda: {
        "results": _inspected(modality_importance)
    },
    "ShapleyDisplay.from_estimator": lambda: CALLS["modality_shapley"](),
    "ShapleyDisplay.from_results": lambda: {"results": _inspected(modality_shapley)},
    "modality_importance": _on_tables(
        estimator=EarlyFusionClassifier(), y=LABELS.copy(), method="drop", cv=2
    ),
    "modality_interactions": _on_tables(
        estimator=EarlyFusionClassifier(), y=LABELS.copy(), cv=2
    ),
    "modality_shapley": _on_tables(
        estimator=EarlyFusionClassifier(), y=LABELS.copy(), cv=2
    ),
    "partial_information": lambda: {
        "x1": LABELS.copy(),
        "x2": LABELS[::-1].copy(),
        "y": LABELS.copy(),
    },
    "DegradationDisplay.from_estimators": lambda: {
        **CALLS["degradation_curve"](),
    },
    "DegradationDisplay.from_results": lambda: {"results": _curve()},
    "DegradationResults": lambda: {
        "results": [
            {"estimator": "e", "modalities": "audio", "level": 0.0, "accuracy": 0.5}
        ]
    },
    "DegradationResults.summary": lambda: {"self": _curve()},
    "add_noise": _on_tables(level=0.5, modalities="audio"),
    "degradation_curve": _on_tables(
        estimators=MKLClassifier("linear"), y=LABELS.copy(), levels=[0, 1], cv=2
    ),
    "drop_modalities": _on_tables(share=0.5, modalities="audio"),
    "drop_stretches": lambda: {"X": sequences(), "share": 0.5, "modalities": "audio"},
    "noise_bursts": lambda: {"X": sequences(), "share": 0.5, "modalities": "audio"},
    "shift_modality": lambda: {"X": sequences(), "shift": 2, "modalities": "audio"},
    "swap_rows": _on_tables(share=0.5, modalities="audio"),
}
# Sequences and tables lack samples, and images pad them, by NaN.
MAY_RETURN_NAN = {
    "left_to_right_graph",  # log weights of -inf
    "with_transitions",
    "Modalities",
    "Modalities.concat",
    "Modalities.from_anndata",
    "Modalities.from_frames",
    "Modalities.from_mudata",
    "Modalities.from_table",
    "Modalities.take",
    "add_noise",
    "drop_modalities",
    "drop_stretches",
    "load_file",
    "load_mat",
    "load_npz",
    "load_table",
    "noise_bursts",
    "shift_modality",
    "swap_rows",
    "channels_first_from_sequences",
    "frames_from_sequences",
    "padded_from_sequences",
    "sequences_from_channels_first",
    "sequences_from_frames",
    "sequences_from_padded",
}
# What is made by mmfusion only, and reads what it has made.
RECORDS = {
    "Alignment",
    *(name for name in CALLABLES if name.startswith("Alignment.")),
    "ChainGraph",
    "ChainPosteriors",
    "DTWPath",
    "ImportanceResults",
    "InteractionResults",
    "LabelSpans",
    "PartialInformation",
    "Preset",
    "ShapleyResults",
    "Significance",
    "Significance.nemenyi_of",
    "Significance.p_values",
    "check_multimodal_estimator",  # raises what the estimator raises
    "StepPattern.size",  # arithmetic of what the recurrence counts
    "WholeDataSplit",
    "WholeDataSplit.get_n_splits",  # of a splitter that looks at nothing but len(X)
    *(name for name in CALLABLES if name.endswith("Display")),
    *(name for name in CALLABLES if name.endswith("Display.plot")),
}
NO_ARGUMENTS = {
    name
    for name, public in CALLABLES.items()
    if not set(inspect.signature(public).parameters) - {"self"}
}


def _spelled(name: str) -> Callable[..., Any]:
    """Take `*names` as one argument, which stands for the first of them."""
    public = CALLABLES[name]
    for p in inspect.signature(public).parameters.values():
        if p.kind is p.VAR_POSITIONAL:
            return lambda self=None, **one: public(
                *([] if self is None else [self]), *one.values()
            )
    return public


def _drawn(name: str) -> Callable[..., Any]:
    """Close the figures."""

    def call(**arguments: Any) -> None:
        try:
            _spelled(name)(**arguments)
        finally:
            plt.close("all")

    return call


def function_arguments(name: str) -> Arguments:
    """The valid arguments, and the defaults of the rest."""
    given = CALLS[name]()
    parameters = inspect.signature(CALLABLES[name]).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    return {**defaults, **given}


def function_target(name: str) -> Target:
    return Target(
        name,
        (_drawn if "Display" in name else _spelled)(name),
        partial(function_arguments, name),
        name not in MAY_RETURN_NAN,
    )


def uncovered() -> set[str]:
    """Public functions and methods that no call is known for."""
    of_estimators = {n for n in CALLABLES if n.partition(".")[0] in ESTIMATORS}
    return set(CALLABLES) - of_estimators - set(CALLS) - RECORDS - NO_ARGUMENTS


@cache
def targets(owner: str) -> tuple[Target, ...]:
    """The calls of one public name: a function, or a class with its methods."""
    if owner in all_estimators():
        return tuple(estimator_targets(owner))
    return tuple(function_target(n) for n in CALLS if n.partition(".")[0] == owner)


OWNERS = sorted({*all_estimators(), *(name.partition(".")[0] for name in CALLS)})
