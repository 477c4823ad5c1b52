"""Word alignment of the Hansards beside other packages: error rates and CPU time.

    OMP_NUM_THREADS=1 python benchmarks/word_alignment.py FOLDER --peers PYTHON

FOLDER has hansards_{test,trial}.{en,fr,gold} and hansards_train30k.{en,fr}; PYTHON is
that of an environment with the peers (`word_alignment_peers.py`), which is not needed.
All models are fitted to the test and trial sentences and the training text without
known links, in lower case, with five iterations of each model. Printed are alignment
error rates on the test set, by symmetrization, and CPU seconds of both directions with
reading and indexing of the tokens; those of mmfusion without compilation.

    python benchmarks/word_alignment.py FOLDER --select

prints the error rates of the trial set alone for a grid of options of the hidden Markov
model, from which the defaults were chosen.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mmfusion.alignment import WordAligner
from mmfusion.alignment.words._index import Vocabulary, encode, index_corpus
from mmfusion.alignment.words._symmetrization import SYMMETRIZATIONS, symmetrize
from mmfusion.datasets import load_parallel_corpus
from mmfusion.metrics import alignment_error_rate
from mmfusion.modalities import Modalities

RULES = [rule for rule in SYMMETRIZATIONS if rule != "agreement"] + ["agreement"]
PLAIN = {"concentration": 0.0}
OURS = {
    "IBM-1, maximum likelihood": {"method": "ibm1", **PLAIN},
    "IBM-1, variational": {"method": "ibm1", "null_probability": 0.08},
    "diagonal, maximum likelihood": {"method": "diagonal", **PLAIN},
    "diagonal, variational, a = .01": {"method": "diagonal", "concentration": 0.01},
    "diagonal, variational": {"method": "diagonal"},
    "HMM, each direction alone": {"agree": False},
    "HMM": {},
}
PEERS = ("thot-ibm1", "thot-fast-align", "eflomal", "nltk")
NLTK_PAIRS = 1000  # of which nltk is given the first ones
GRID = {
    "concentration": [0.01, 0.03, 0.1, 0.2],
    "null_probability": [0.1, 0.2, 0.3, 0.4],
    "threshold": [0.3, 0.35, 0.4, 0.45, 0.5],
}


def read(folder: Path, name: str) -> tuple[Modalities, np.ndarray | None]:
    paths = [folder / f"hansards_{name}.{end}" for end in ("en", "fr", "gold")]
    return load_parallel_corpus(
        *paths[:2], paths[2] if paths[2].exists() else None, lowercase=True
    )


def of_lists(X: Modalities) -> dict[str, list[list[str]]]:
    return {
        n: [own[:, 0].tolist() for own in block] for n, block in X.to_dict().items()
    }


def print_row(name: str, rates: list[float], seconds: float) -> None:
    cells = [f"{rate:.3f}".lstrip("0") for rate in rates]
    cells += [""] * (len(RULES) - len(cells))
    print(f"| {name} | {' | '.join(cells)} | {seconds:.3g} |", flush=True)


def rates_of(aligner: WordAligner, X: Modalities, y: np.ndarray) -> list[float]:
    return [1 - aligner.set_params(symmetrize=rule).score(X, y) for rule in RULES]


def rates_of_links(forward: Path, reverse: Path, X: Modalities, y: np.ndarray) -> list:
    """Return the error rates of the links of a peer, symmetrized as ours are."""
    links = [path.read_text().splitlines()[: len(y)] for path in (forward, reverse)]
    found: dict[str, list] = {rule: [] for rule in RULES[:-1]}
    for i in range(len(y)):
        shape = len(X["source"][i]), len(X["target"][i])
        sides = []
        for lines in links:
            matrix = np.zeros(shape)
            for link in lines[i].split():
                matrix[tuple(map(int, link.split("-")))] = 1
            sides.append(matrix)
        for rule in found:
            chosen = np.zeros(shape, dtype=bool)
            symmetrize(
                np.ascontiguousarray(sides[0].T), sides[1],
                np.full(shape[1], 0.5), np.full(shape[0], 0.5),
                SYMMETRIZATIONS.index(rule), 0.4, chosen,
            )  # fmt: skip
            found[rule].append(np.argwhere(chosen))
    return [alignment_error_rate(y, own) for own in found.values()]


def run_peers(python: str, lists: dict, X: Modalities, y: np.ndarray) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        paths = [folder / side for side in ("source", "target")]
        out = [folder / side for side in ("forward", "reverse")]
        program = Path(__file__).with_name("word_alignment_peers.py")
        for peer in PEERS:
            n = NLTK_PAIRS if peer == "nltk" else None
            for path, texts in zip(paths, lists.values(), strict=True):
                path.write_text("\n".join(map(" ".join, texts[:n])) + "\n")
            printed = subprocess.run(
                [python, str(program), peer, *map(str, paths + out)],
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            what = peer if n is None else f"{peer}, {n} pairs"
            print_row(what, rates_of_links(*out, X, y), float(printed.split()[-1]))


def print_indexing(lists: dict) -> None:
    words = Vocabulary(), Vocabulary()
    tokens = [encode(own, w) for own, w in zip(lists.values(), words, strict=True)]
    seconds = []
    for _ in range(3):
        start = time.process_time()
        index, types = index_corpus(*tokens, *map(len, words))
        seconds.append(time.process_time() - start)
    print(
        f"\nIndex of {len(index.cells):,} pairs of tokens, {types.n_pairs:,} of types: "
        f"{min(seconds):.2f} s"
    )


def select(lists: dict, X: Modalities, y: np.ndarray) -> None:
    results = {}
    for a, p in product(GRID["concentration"], GRID["null_probability"]):
        aligner = WordAligner(concentration=a, null_probability=p).fit(lists)
        for t in GRID["threshold"]:
            rate = 1 - aligner.set_params(threshold=t).score(X, y)
            results[a, p, t] = rate
        own = " ".join(f"{results[a, p, t]:.3f}" for t in GRID["threshold"])
        print(f"concentration={a} null_probability={p}: {own}", flush=True)
    best = min(results, key=lambda key: results[key])
    print("least:", dict(zip(GRID, best, strict=True)), f"{results[best]:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peers", metavar="PYTHON")
    parser.add_argument("--select", action="store_true")
    options = parser.parse_args()
    (test, y), (trial, y_trial), (training, _) = (
        read(options.folder, name) for name in ("test", "trial", "train30k")
    )
    lists = of_lists(test.concat(trial).concat(training))
    if options.select:
        select(lists, trial, y_trial)
        return
    print(f"| model | {' | '.join(RULES)} | CPU s |")
    print("|---" * (len(RULES) + 2) + "|")
    few = {name: own[:20] for name, own in lists.items()}
    for name, params in OURS.items():
        WordAligner(**params).fit(few).align(few)  # compiles
        start = time.process_time()
        aligner = WordAligner(**params).fit(lists)
        seconds = time.process_time() - start
        print_row(name, rates_of(aligner, test, y), seconds)
    few = {name: own[:NLTK_PAIRS] for name, own in lists.items()}
    start = time.process_time()
    aligner = WordAligner(**OURS["IBM-1, maximum likelihood"]).fit(few)
    seconds = time.process_time() - start
    print_row(f"IBM-1, {NLTK_PAIRS} pairs", rates_of(aligner, test, y), seconds)
    if options.peers:
        run_peers(options.peers, lists, test, y)
    print_indexing(lists)


if __name__ == "__main__":
    main()
