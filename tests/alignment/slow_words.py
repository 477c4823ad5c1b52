"""Word alignment by enumeration, and by loops over sets of links."""

from itertools import product

import numpy as np


def positions_by_enumeration(scores, null, share, start, transition):
    """Return the posteriors of one direction, and the log-likelihood.

    A state is a position and whether its twin, NULL, generates the token. `scores` has
    shape (m, n); transition[i, k] is that from position i to k, without NULL.
    """
    m, n = scores.shape
    total, posterior, null_posterior = 0.0, np.zeros((m, n)), np.zeros(m)
    for states in product(range(n), [False, True], repeat=m):
        places, twins = states[::2], states[1::2]
        weight = 1.0
        for j in range(m):
            if twins[j]:
                # a twin keeps the position, in the first step one that start draws
                stays = j == 0 or places[j] == places[j - 1]
                place = start[places[0]] if j == 0 else float(stays)
                weight *= share * place * null[j]
            else:
                place = start[places[0]]
                if j > 0:
                    place = transition[places[j - 1], places[j]]
                weight *= (1 - share) * place * scores[j, places[j]]
        total += weight
        for j in range(m):
            if twins[j]:
                null_posterior[j] += weight
            else:
                posterior[j, places[j]] += weight
    return posterior / total, null_posterior / total, np.log(total)


def grown(forward, reverse, final=""):
    """Grow the intersection of two sets of links by the rules of grow-diag."""
    links, union = forward & reverse, forward | reverse
    sources, targets = {i for i, _ in links}, {j for _, j in links}
    steps = [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]
    before = None
    while before != links:
        before = set(links)
        place = (-1, -1)
        # in ascending order, also of links that this pass adds further on
        while later := sorted(link for link in links if link > place):
            place = later[0]
            for a, b in steps:
                link = place[0] + a, place[1] + b
                is_free = link[0] not in sources or link[1] not in targets
                if link in union - links and is_free:
                    links = links | {link}
                    sources.add(link[0])
                    targets.add(link[1])
    for own in (forward, reverse) if final else ():
        for i, j in sorted(own):
            free = [i not in sources, j not in targets]
            if all(free) if final == "and" else any(free):
                links = links | {(i, j)}
                sources.add(i)
                targets.add(j)
    return links
