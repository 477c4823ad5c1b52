"""The algorithms of consensus as printed: loops, dense matrices, every permutation."""

from itertools import combinations, permutations

import numpy as np
from sklearn.metrics import normalized_mutual_info_score

from mmfusion.fusion.combination._clusterings import BaseClusterings


def noisy_base(n_samples=60, sizes=(3, 3, 3, 3), noise=0.25, missing=0.0, seed=0):
    """Runs that agree on three planted clusters but for some noise.

    A run of another size splits the last cluster, or merges the last ones.
    """
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n_samples) % 3)
    runs = []
    for size in sizes:
        run = np.minimum(truth, size - 1)
        splits = (run == 2) & (size > 3)
        run[splits] = rng.integers(2, size, splits.sum())
        wrong = rng.random(n_samples) < noise
        run[wrong] = rng.integers(0, size, wrong.sum())
        run = rng.permutation(size)[run]
        run[rng.random(n_samples) < missing] = -1
        runs.append(run)
    labels = np.column_stack(runs)
    weights = rng.uniform(0.5, 1.5, len(sizes))
    return BaseClusterings(labels, np.array(sizes), weights), truth


def indicator(base):
    """Weighted membership of each sample in each base cluster."""
    rows = []
    for sample, own in enumerate(base.labels):
        row = []
        for r, label in enumerate(own):
            for cluster in range(base.n_clusters[r]):
                member = float(label == cluster)
                if base.memberships and label >= 0:
                    member = base.memberships[r][sample, cluster]
                row.append(base.weights[r] * member)
        rows.append(row)
    return np.array(rows)


def information(base):
    """Normalised mutual information of runs, over the samples that both have."""
    n_runs = base.labels.shape[1]
    table = np.eye(n_runs)
    for r, s in combinations(range(n_runs), 2):
        both = (base.labels[:, r] >= 0) & (base.labels[:, s] >= 0)
        if both.any():
            table[r, s] = table[s, r] = normalized_mutual_info_score(
                base.labels[both, r], base.labels[both, s]
            )
        else:
            table[r, s] = table[s, r] = 0
    return table


def best_matching(run, labels, size, n_clusters):
    """Label of every cluster of a run, by trying every one-to-one matching."""
    together = np.zeros((size, n_clusters))
    for a, b in zip(run, labels, strict=True):
        if a >= 0 and b >= 0:
            together[a, b] += 1
    best, most = {}, -1.0
    if size <= n_clusters:
        matchings = [dict(enumerate(p)) for p in permutations(range(n_clusters), size)]
    else:
        matchings = [
            {cluster: label for label, cluster in enumerate(p)}
            for p in permutations(range(size), n_clusters)
        ]
    for matching in matchings:
        matched = sum(together[c, label] for c, label in matching.items())
        if matched > most:
            best, most = matching, matched
    left_over = {c: int(together[c].argmax()) for c in range(size) if c not in best}
    return best | left_over, together


def vote(base, n_clusters):
    """Relabel to the run nearest the others, vote, and do so once more."""
    n_samples, n_runs = base.labels.shape
    near = information(base)
    merit = [
        sum(near[r, s] for s in range(n_runs) if s != r and base.weights[s] > 0)
        if base.n_clusters[r] == n_clusters and base.weights[r] > 0
        else -1
        for r in range(n_runs)
    ]
    labels = base.labels[:, int(np.argmax(merit))]
    for _ in range(2):
        votes = np.zeros((n_samples, n_clusters))
        tie_breaks = np.zeros((n_samples, n_clusters))
        voted = np.zeros(n_samples, dtype=bool)
        for r in range(n_runs):
            size = int(base.n_clusters[r])
            matching, together = best_matching(
                base.labels[:, r], labels, size, n_clusters
            )
            for sample, own in enumerate(base.labels[:, r]):
                if own < 0 or base.weights[r] == 0:
                    continue
                voted[sample] = True
                memberships = np.eye(size)[own]
                if base.memberships:
                    memberships = base.memberships[r][sample]
                for cluster, member in enumerate(memberships):
                    share = together[cluster] / max(1, together[cluster].sum())
                    votes[sample, matching[cluster]] += base.weights[r] * member
                    tie_breaks[sample] += base.weights[r] * member * share
        labels = np.full(n_samples, -1)
        for sample in np.flatnonzero(voted):
            most = votes[sample].max()
            tied = [c for c in range(n_clusters) if votes[sample, c] > most - 1e-9]
            labels[sample] = max(tied, key=lambda c: tie_breaks[sample, c])
    return labels


def bipartite_embedding(base, n_clusters):
    """Leading left singular vectors of D1^-1/2 A D2^-1/2, with rows of unit length."""
    adjacency = indicator(base)
    of_samples, of_clusters = adjacency.sum(axis=1), adjacency.sum(axis=0)
    normalised = np.zeros_like(adjacency)
    for i, j in np.argwhere(adjacency > 0):
        normalised[i, j] = adjacency[i, j] / np.sqrt(of_samples[i] * of_clusters[j])
    left, _, _ = np.linalg.svd(normalised, full_matrices=False)
    rows = left[:, :n_clusters]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def coassociation_distance(base):
    """One minus the weighted share of the runs that put two samples together."""
    n_samples, n_runs = base.labels.shape
    distance = np.zeros((n_samples, n_samples))
    for i, j in combinations(range(n_samples), 2):
        together = possible = 0.0
        for r in range(n_runs):
            a, b = base.labels[i, r], base.labels[j, r]
            if a >= 0 and b >= 0:
                possible += base.weights[r]
                together += base.weights[r] * (a == b)
        share = together / possible if possible else 0.0
        distance[i, j] = distance[j, i] = 1 - share
    return distance


def joins(base, landmarks, linked, n_clusters):
    """The cluster with whose landmarks each sample is together most often."""
    labels = []
    for own in base.labels:
        scores = np.zeros(n_clusters)
        for c in range(n_clusters):
            for r, label in enumerate(own):
                of_cluster = landmarks.labels[linked == c, r]
                of_cluster = of_cluster[of_cluster >= 0]
                if label >= 0 and len(of_cluster):
                    scores[c] += base.weights[r] * np.mean(of_cluster == label)
        labels.append(int(scores.argmax()))
    return np.array(labels)
