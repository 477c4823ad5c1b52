"""What couplings of hidden Markov chains find, and what their posteriors are worth.

    OMP_NUM_THREADS=1 python benchmarks/hmm_couplings.py FOLDER

Four tables. Planted chains: adjusted Rand index of the true states with those of each
coupling, and the number of data sets on which BIC prefers the coupling that made them
(labels are used to score only). Real sequences of FOLDER: accuracy of logistic
regression on means of posteriors over quarters of the time, beside the mean and the
standard deviation of each feature over the same quarters; numbers of states are fixed
before. Classes that differ in which event goes with which burst of a signal, at any
times: accuracy on unseen samples by the couplings of HMMClassifier. Microseconds per
frame of an E-step and of decoding independent chains, by mode
products and by the matrix of all transitions, in one run.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from mixture_clustering import load_sequences
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmfusion import HMMClassifier, HMMTransformer, Modalities
from mmfusion.graphical._factorial import factorial_graph, joint_graph
from mmfusion.graphical._inference import expected_counts, viterbi

SETS = ("ts_basicmotions", "ts_japanesevowels", "ts_articularyword")
N_QUARTERS = 4
STAY = 0.95 * np.eye(2) + 0.05 * np.eye(2)[::-1]


def chain(rng, transitions, n_steps):
    states = [rng.integers(len(transitions))]
    for _ in range(n_steps - 1):
        states.append(rng.choice(len(transitions), p=transitions[states[-1]]))
    return np.array(states)


def planted_factorial(rng):
    """A chain that both modalities share, under louder private ones."""
    private = 0.9 * np.eye(2) + 0.1 * np.eye(2)[::-1]
    shared, X = [chain(rng, STAY, 100) for _ in range(20)], {}
    for name in ("audio", "video"):
        own, louder = rng.normal(size=(2, 3)), 2 * rng.normal(size=(2, 3))
        X[name] = [
            own[s] + louder[chain(rng, private, 100)] + 0.7 * rng.normal(size=(100, 3))
            for s in shared
        ]
    return X, shared, "shared", {"n_states": 2, "coupling": "factorial"}


def planted_units(rng):
    """Three units, each of two states that change at every frame."""
    rest = 0.97 * np.eye(3) + 0.03 * np.roll(np.eye(3), 1, axis=1)
    units = [chain(rng, rest, 200) for _ in range(10)]
    means = 2 * rng.normal(size=(3, 2, 2))
    X = {
        "motion": [
            means[u, rng.integers(2, size=200)] + 0.5 * rng.normal(size=(200, 2))
            for u in units
        ]
    }
    options = {"n_states": 2, "coupling": "hierarchical", "n_units": 3}
    return X, units, "unit", options


def planted_follower(rng):
    """A modality whose state is that of another one before, most of the time."""
    leads, follows = [chain(rng, STAY, 150) for _ in range(20)], []
    for own in leads:
        states = [0]
        for t in range(1, 150):
            states.append(own[t - 1] if rng.random() < 0.8 else states[-1])
        follows.append(np.array(states))
    X = {
        "audio": [3.0 * s[:, None] + rng.normal(size=(150, 1)) for s in leads],
        "video": [2.0 * s[:, None] + rng.normal(size=(150, 1)) for s in follows],
    }
    return X, follows, "video", {"n_states": 2, "coupling": "coupled"}


PLANTED = {
    "factorial: shared chain": planted_factorial,
    "hierarchical: units": planted_units,
    "coupled: follower": planted_follower,
}


def planted_table(n_seeds):
    rows = []
    for name, make in PLANTED.items():
        for seed in range(n_seeds):
            X, true, of_chain, options = make(np.random.default_rng(seed))
            n_values = len(np.unique(np.concatenate(true)))
            own = HMMTransformer(random_state=seed, **options).fit(X)
            models = {
                "its coupling": own,
                "one chain": HMMTransformer(n_values, random_state=seed).fit(X),
                "one chain, as many joint states": HMMTransformer(
                    len(own.joint_states_), random_state=seed
                ).fit(X),
            }
            bics = {label: model.bic(X) for label, model in models.items()}
            for label, model in models.items():
                decoded = model.decode(X)
                found = decoded.get(of_chain, decoded.get("state"))
                score = adjusted_rand_score(np.concatenate(true), np.concatenate(found))
                rows.append({"planted": name, "model": label, "ARI": score})
            rows[-len(models)]["BIC"] = min(bics, key=bics.get) == "its coupling"
    frame = pd.DataFrame(rows)
    table = frame.groupby(["planted", "model"]).ARI.agg(["mean", "std"]).unstack()
    print(f"\nARI, mean and standard deviation over {n_seeds} seeds\n")
    print(table.round(3).to_markdown())
    chosen = frame.dropna().groupby("planted").BIC.sum()
    print(f"\nits coupling has the least BIC in so many of {n_seeds}: {dict(chosen)}")


def bursts_and_events(rng, n_samples):
    """A signal with bursts of two kinds, and an event for each burst, without times.

    Bursts are close to each other, before or after a long rest. Neither modality alone
    has the class, which is what kind of event goes with what kind of burst.
    """
    y = np.arange(n_samples) % 2
    signals, events = [], []
    for label in y:
        kinds = rng.integers(2, size=rng.integers(3, 7))
        rests = rng.integers(1, 5, size=len(kinds) + 1)
        rests[rng.choice([0, -1])] += rng.integers(20, 50)
        x = [0.0] * rests[0]
        for kind, rest in zip(kinds, rests[1:], strict=True):
            x += [4.0 * kind - 2] * 2 + [0.0] * rest
        marks = np.where(kinds == label, 2.0, -2.0)
        signals.append(np.array(x)[:, None] + 0.5 * rng.normal(size=(len(x), 1)))
        events.append(marks[:, None] + 0.5 * rng.normal(size=(len(marks), 1)))
    return Modalities({"signal": signals, "events": events}), y


def asynchronous_table(n_seeds):
    rows = []
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        X, y = bursts_and_events(rng, 60)
        test, truth = bursts_and_events(rng, 200)
        for coupling in ("synchronous", "product", "coupled", "asynchronous"):
            for n_states in (3, 5):
                started = time.process_time()
                model = HMMClassifier(
                    n_states, coupling=coupling, topology="ergodic", random_state=seed
                ).fit(X, y)
                seconds = time.process_time() - started
                score = model.score(test, truth)
                rows.append((coupling, n_states, score, seconds))
    names = ["coupling", "states", "accuracy", "CPU s"]
    table = pd.DataFrame(rows, columns=names).groupby(names[:2]).agg(["mean", "std"])
    print(f"\nClasses of bursts and events, over {n_seeds} seeds\n")
    print(table.round(3).to_markdown())


def over_quarters(sequences, *functions):
    return np.array(
        [
            np.concatenate(
                [
                    f(part, axis=0)
                    for part in np.array_split(x, N_QUARTERS)
                    for f in functions
                ]
            )
            for x in sequences
        ]
    )


def real_table(folder, n_seeds):
    rows = []
    for name in SETS:
        X, y = load_sequences(folder, name)
        with np.load(folder / f"{name}.npz") as file:
            is_test = file["split"] != file["split"].min()
        train, test = X[~is_test], X[is_test]

        def score(features, y=y, is_test=is_test):
            """Accuracy of features of the training and the test samples."""
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
            return model.fit(features[0], y[~is_test]).score(features[1], y[is_test])

        pooled = [
            np.hstack([over_quarters(x[n], np.mean, np.std) for n in X.names])
            for x in (train, test)
        ]
        rows.append({"set": name, "features": "mean, std", "accuracy": score(pooled)})
        for n_states in (6, 12, 24):
            for seed in range(n_seeds):
                model = HMMTransformer(n_states, random_state=seed).fit(train)
                features = [
                    over_quarters(model.state_posteriors(x)["state"], np.mean)
                    for x in (train, test)
                ]
                for label, given in (
                    (f"posteriors of {n_states}", features),
                    (
                        f"mean, std and posteriors of {n_states}",
                        [
                            np.hstack(pair)
                            for pair in zip(pooled, features, strict=True)
                        ],
                    ),
                ):
                    own = {"set": name, "features": label, "accuracy": score(given)}
                    rows.append(own)
    table = pd.DataFrame(rows).pivot_table("accuracy", "features", "set", sort=False)
    print("\nAccuracy, features over quarters of the time\n")
    print(table.round(3).to_markdown())


def speed_table():
    rows = []
    rng = np.random.default_rng(0)
    for shape in ((4, 4, 4), (4,) * 4, (4,) * 5, (32, 32)):
        chains = factorial_graph(
            [rng.dirichlet(np.ones(k), size=k) for k in shape],
            [rng.dirichlet(np.ones(k)) for k in shape],
        )
        n_states = int(np.prod(shape))
        n_frames = 200_000 // n_states
        table = rng.normal(size=(n_frames, n_states))
        row = {"chains": str(shape)}
        for label, graph in (("modes", chains), ("matrix", joint_graph(chains))):
            for what, function in (("E-step", e_step), ("decode", viterbi)):
                function(graph, table, [0, n_frames])
                seconds = []
                for _ in range(3):
                    started = time.process_time()
                    function(graph, table, [0, n_frames])
                    seconds.append(time.process_time() - started)
                row[f"{what}, {label}"] = 1e6 * min(seconds) / n_frames
        rows.append(row)
    print("\nMicroseconds per frame\n")
    print(pd.DataFrame(rows).round(1).to_markdown(index=False))


def e_step(graph, table, offsets):
    """Compute counts, and use no posteriors."""
    expected_counts(graph, table, offsets, lambda start, stop, posteriors: None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    planted_table(args.seeds)
    asynchronous_table(args.seeds)
    speed_table()
    real_table(args.folder, min(args.seeds, 3))


if __name__ == "__main__":
    main()
