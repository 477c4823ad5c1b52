"""Deep canonical correlation: correlations of other samples, and k-means behind it.

    OMP_NUM_THREADS=1 python benchmarks/deep_canonical_correlation.py FOLDER --out OUT

trains on 70 % of the samples of each set, the first two modalities, and appends one
line per set, method and seed to OUT: mean of the ten largest correlations of the
other samples and of the training samples, and CPU seconds. Where cca-zoo and its extra
`deep` are installed, its methods train the same networks on the same standardised
samples, in batches of one size, for as many steps; the scores of all are those of one
linear canonical correlation of the latents. ``--clusters`` measures the accuracy of
k-means on the scores instead, of all modalities with default options, beside linear
canonical correlation; classes are used to score, and for the number of clusters.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from graph_clustering import load
from sklearn.cluster import KMeans
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

from mmfusion import DCCA, Modalities, MultimodalCCA, Trainer
from mmfusion.metrics import clustering_accuracy_score

WIDTH, BATCH_SIZE, N_STEPS, RATE = 10, 400, 400, 1e-3


def network(shape: tuple[int, ...]) -> nn.Module:
    """Make an encoder of two hidden layers."""
    layers = [nn.Linear(shape[0], 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, WIDTH))


def n_epochs(n_samples: int) -> int:
    return max(1, N_STEPS // max(1, n_samples // BATCH_SIZE))


def own_latents(
    loss: str, train: Modalities, test: Modalities, seed: int
) -> list[Modalities]:
    """Train our network; return the latents of both sets."""
    trainer = Trainer(
        max_epochs=n_epochs(len(train)), batch_size=BATCH_SIZE, lr=RATE, device="cpu"
    )
    dcca = DCCA(
        encoders=network, loss=loss, scaling=None, trainer=trainer, random_state=seed
    ).fit(train)
    return [Modalities(dcca.modality_latents(X)) for X in (train, test)]


def peer_latents(
    name: str, train: Modalities, test: Modalities, seed: int
) -> list[Modalities]:
    """Train the network of a method of cca-zoo; return the latents of both sets."""
    import cca_zoo.deep
    import lightning.pytorch as pl
    from torch.utils.data import DataLoader

    torch.manual_seed(seed)
    encoders = [network(block.shape[1:]) for block in train.blocks]
    model = getattr(cca_zoo.deep, name)(
        n_components=WIDTH, encoders=encoders, learning_rate=RATE
    )
    rows = cca_zoo.deep.MultiviewDataset(train.blocks)
    size = min(BATCH_SIZE, len(train))
    loader = DataLoader(rows, batch_size=size, shuffle=True, drop_last=True)
    trainer = pl.Trainer(
        max_epochs=n_epochs(len(train)),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader)
    model.eval()
    with torch.no_grad():
        return [
            Modalities(
                [
                    encoder(torch.as_tensor(block)).double().numpy()
                    for encoder, block in zip(model.encoders, X.blocks, strict=True)
                ]
            )
            for X in (train, test)
        ]


def no_latents(train: Modalities, test: Modalities, seed: int) -> list[Modalities]:
    return [train, test]


METHODS: dict[str, Callable[[Modalities, Modalities, int], list[Modalities]]] = {
    "linear": no_latents,
    "DCCA": partial(own_latents, "canonical"),
    "DCCA, eckart_young": partial(own_latents, "eckart_young"),
    "cca-zoo DCCA": partial(peer_latents, "DCCA"),
    "cca-zoo DCCAEY": partial(peer_latents, "DCCAEY"),
}
CLUSTERED = {
    "linear": lambda k, seed: MultimodalCCA(10),
    "linear, n_clusters components": lambda k, seed: MultimodalCCA(k),
    "DCCA": lambda k, seed: DCCA(random_state=seed),
    "DCCAE": lambda k, seed: DCCA(reconstruction_weight=1.0, random_state=seed),
    "DCCA, eckart_young": lambda k, seed: DCCA(loss="eckart_young", random_state=seed),
}


def split(X: Modalities, seed: int) -> list[Modalities]:
    """Return standardised training and other samples of the first two modalities."""
    parts = train_test_split(np.arange(len(X)), test_size=0.3, random_state=seed)
    names = list(X.names)[:2]
    scalers = {name: StandardScaler().fit(X[name][parts[0]]) for name in names}
    return [
        Modalities(
            {n: s.transform(X[n][rows]).astype(np.float32) for n, s in scalers.items()}
        )
        for rows in parts
    ]


def correlations(X: Modalities, y: np.ndarray, seed: int) -> Iterator[tuple]:
    """Compute method, correlations of other and of training samples, CPU seconds."""
    train, test = split(X, seed)
    for name, latents_of in METHODS.items():
        start = time.process_time()
        try:
            train_latents, test_latents = latents_of(train, test, seed)
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        seconds = time.process_time() - start
        shrinkage = "auto" if name == "linear" else 1e-3
        linear = MultimodalCCA(WIDTH, scaling=None, shrinkage=shrinkage)
        linear.fit(train_latents)
        found = linear.score(test_latents), linear.correlations_.mean()
        yield name, *(f"{value:.4f}" for value in found), f"{seconds:.2f}"


def accuracies(X: Modalities, y: np.ndarray, seed: int) -> Iterator[tuple]:
    """Compute method, accuracy of k-means on its scores, CPU seconds."""
    k = len(np.unique(y))
    for name, make in CLUSTERED.items():
        start = time.process_time()
        scores = make(k, seed).fit_transform(X)
        labels = KMeans(k, n_init=10, random_state=seed).fit_predict(scores)
        seconds = time.process_time() - start
        yield name, f"{clustering_accuracy_score(y, labels):.4f}", f"{seconds:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clusters", action="store_true")
    parser.add_argument("--sets", nargs="+", default=["digits"])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    measure = accuracies if options.clusters else correlations
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in options.sets:
        X, y = load(options.folder, name)
        for seed in range(options.seeds):
            for line in measure(X, y, seed):
                print(name, seed, *line, flush=True)
                with options.out.open("a", newline="") as file:
                    csv.writer(file).writerow([name, seed, *line])


if __name__ == "__main__":
    main()
