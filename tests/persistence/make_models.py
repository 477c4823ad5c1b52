"""Store a small fitted model of every estimator, with what it predicts.

Run once for a version, with the oldest scikit-learn that it allows, since models load
in the scikit-learn that stored them and in later ones: ``python -m
tests.persistence.make_models``, for some estimators followed by their names. The files
are test data of all later versions.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from skops.io import dump

import mmfusion
from mmfusion import (
    EarlyFusionClusterer,
    LateFusionClusterer,
    Modalities,
    Trainer,
)
from mmfusion.datasets import make_multimodal_blobs, make_multimodal_sequences
from mmfusion.preprocessing import padded_from_sequences
from mmfusion.testing import all_estimators

FOLDER = Path(__file__).with_name("models")
# Inner estimators consist of plain arrays, which no version of scikit-learn changes.
PARAMS: dict[str, dict[str, Any]] = {
    **{
        name: {
            "encoders": [4, 3],
            "hidden_width": 4,
            "n_init": 1,
            "trainer": Trainer(max_epochs=2),
        }
        for name in ("CoMVCClusterer", "SiMVCClusterer")
    },
    "AutoencoderClusterer": {
        "readout": "dec",
        "encoders": [4, 3],
        "trainer": Trainer(pretrain_epochs=2, max_epochs=2),
        "adversarial_weight": 0.01,
    },
    "DCCA": {
        "encoders": [4, 2],
        "reconstruction_weight": 0.1,
        "trainer": Trainer(max_epochs=2),
    },
    "EAMCClusterer": {
        "encoders": [4, 3],
        "hidden_width": 4,
        "n_clustering_heads": 2,
        "n_init": 1,
        "trainer": Trainer(pretrain_epochs=2, max_epochs=2),
        "adversarial_weight": 0,  # discriminators are a megabyte
    },
    "DMSCClusterer": {
        "encoders": [4, 3],
        "trainer": Trainer(pretrain_epochs=2, max_epochs=50, lr=1e-2),
    },
    "MFLVCClusterer": {
        "encoders": [4, 3],
        "feature_width": 4,
        "matching_epochs": 2,
        "trainer": Trainer(pretrain_epochs=2, max_epochs=2),
    },
    "MultimodalCCA": {"n_components": 2},
    "MultimodalNMF": {"n_components": 2},
    **{
        name: {"encoders": [4, 3], "n_members": 2, "trainer": Trainer(max_epochs=2)}
        for name in ("NeuralFusionClassifier", "NeuralFusionRegressor")
    },
    "EarlyFusion": {"reducer": PCA(2)},
    "EarlyFusionClassifier": {"estimator": LogisticRegression()},
    "EarlyFusionClusterer": {"clusterer": KMeans(n_init=1)},
    "EarlyFusionRegressor": {"estimator": Ridge()},
    "HMMAligner": {"n_states": 2, "max_iter": 20, "tol": 0.1},
    "HybridFusionClassifier": {"estimator": LogisticRegression()},
    "HybridFusionClusterer": {"clusterer": KMeans(n_init=1), "n_runs": 2},
    "HMMClusterer": {"n_states": 2, "n_init": 1},
    "HybridFusionRegressor": {"estimator": Ridge()},
    "LateFusionClassifier": {"estimator": LogisticRegression()},
    "LateFusionClusterer": {"clusterer": KMeans(n_init=1), "n_runs": 2},
    "LateFusionRegressor": {"estimator": Ridge()},
    "ModalityImputer": {"strategy": "knn"},
    "MultimodalClusterer": {
        "clusterers": {
            "early": EarlyFusionClusterer(KMeans(n_init=1)),
            "late": LateFusionClusterer(KMeans(n_init=1), n_runs=2),
        }
    },
    "CTCRecognizer": {"encoders": (4,), "trainer": Trainer(max_epochs=2)},
    "DeepCTWAligner": {
        "encoders": (4,),
        "steps_per_epoch": 5,
        "validation_fraction": 0.0,
        "trainer": Trainer(max_epochs=2),
    },
    "ForcedAligner": {"n_states": 2},
    "ProductHMMAligner": {"n_states": 2, "max_iter": 20, "tol": 0.1},
    "PerModality": {"transformer": PCA(2)},
    "SiameseAligner": {
        "encoders": (4,),
        "n_components": 3,
        "trainer": Trainer(max_epochs=2),
    },
    "SingleModalityClusterer": {"clusterer": KMeans(n_init=1)},
}
OF_SEQUENCES = {"CTWAligner", "DTWAligner", "DTWKernel", "SequencePooling"}
OF_SEQUENCES |= {"HMMAligner", "HMMClassifier", "HMMClusterer", "HMMTransformer"}
OF_LABELS = {"CTCAligner", "ForcedAligner"}
OF_SEQUENCES |= OF_LABELS
OF_SEQUENCES |= {"SequenceGradients", "SequenceResampler"}
OF_SEQUENCES |= {"CTCRecognizer", "HiddenCRFClassifier"}
OF_SEQUENCES |= {"DeepCTWAligner", "SiameseAligner"}
OF_SEQUENCES |= {"AsynchronousHMMAligner", "PairHMMAligner", "ProductHMMAligner"}


def inputs() -> dict[str, np.ndarray]:
    """Return tables and padded sequences, named by kind and modality."""
    X, _ = make_multimodal_blobs(24, {"audio": 3, "text": 2}, random_state=0)
    frames, _, _ = make_multimodal_sequences(
        6, {"audio": 2, "text": 2}, n_frames=10, random_state=0
    )
    padded = {n: padded_from_sequences(block) for n, block in frames.to_dict().items()}
    return {f"table_{n}": block for n, block in X.to_dict().items()} | {
        f"sequence_{n}": block for n, block in padded.items()
    }


def data_of(name: str, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the data to fit an estimator to."""
    kind = "sequence" if name in OF_SEQUENCES else "table"
    X = Modalities({n: arrays[f"{kind}_{n}"] for n in ("audio", "text")})
    if name == "WordAligner":
        tokens = {n: (own[:, :, None] * 2) // 1 for n, own in X.to_dict().items()}
        X = Modalities({n: list(own) for n, own in tokens.items()})
    if name in OF_LABELS:  # log-probabilities, or features; and labels in lists
        padded = -np.abs(arrays["sequence_audio"]) - 0.1
        frames = [own[~np.isnan(own[:, 0])] for own in padded]
        labels = [np.array([[1], [i % 2]])[: 1 + i % 2] for i in range(len(frames))]
        X = Modalities({"audio": frames, "text": labels})
    if name == "AsynchronousHMMAligner":  # fewer events than frames
        X = Modalities({"audio": X["audio"], "text": [own[:3] for own in X["text"]]})
    if name == "MultimodalNMF":
        X = Modalities({n: np.abs(block) for n, block in X.to_dict().items()})
    return X.to_array() if name == "ModalitySplitter" else X


def predicted(model: Any, X: Any) -> np.ndarray:
    """Return the predictions or the transformed data of a model in one array."""
    if hasattr(model, "link_posteriors"):  # of tokens, whose output has any type
        return np.concatenate([own.ravel() for own in model.link_posteriors(X)])
    if type(model).__name__ in OF_LABELS:  # likewise
        return np.concatenate([own.posteriors for own in model.align(X)])
    if hasattr(model, "frame_log_probabilities"):
        return np.concatenate([np.ravel(x) for x in model.frame_log_probabilities(X)])
    names = ("predict", "transform")
    method = next((name for name in names if hasattr(model, name)), None)
    found = getattr(model, method)(X) if method else model.labels_
    if isinstance(found, Modalities):
        found = found.to_dict()
    if isinstance(found, Mapping):
        arrays = [a for block in found.values() for a in block if a is not None]
        found = np.concatenate([np.ravel(array) for array in arrays])
    if getattr(getattr(found, "dtype", None), "kind", "") == "O":  # sequences
        found = np.concatenate([np.ravel(array) for array in found])
    return np.asarray(found)


def fitted(name: str, X: Any) -> Any:
    """Fit an estimator with few and fixed parameters."""
    estimator = all_estimators()[name](**PARAMS.get(name, {}))
    fixed = {"n_clusters": 3, "random_state": 0}
    parameters = estimator.get_params(deep=False)
    estimator.set_params(**{k: v for k, v in fixed.items() if k in parameters})
    if name == "SiameseAligner":  # frames that match
        return estimator.fit(X, [[[0, 0], [3, 3]]] * len(X))
    return estimator.fit(X, np.arange(len(X)) % 2)


def main(names: list[str]) -> None:
    folder = FOLDER / mmfusion.__version__
    folder.mkdir(parents=True, exist_ok=True)
    arrays = inputs()
    expected = {}
    if names and (folder / "expected.npz").exists():
        with np.load(folder / "expected.npz") as stored:
            expected = dict(stored)
    for name in names or all_estimators():
        X = data_of(name, arrays)
        model = fitted(name, X)
        path = folder / f"{name}.skops"
        dump(model, path, compression=zipfile.ZIP_DEFLATED, compresslevel=9)
        expected[name] = predicted(model, X)
    np.savez_compressed(folder / "inputs.npz", **arrays)
    np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main(sys.argv[1:])
