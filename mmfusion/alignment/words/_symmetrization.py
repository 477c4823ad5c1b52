"""Symmetrization: the links of a sample, from the posteriors of both directions."""

from __future__ import annotations

import numpy as np

from mmfusion._compilation import jit

# in the order in which compiled functions number them
SYMMETRIZATIONS = (
    "agreement",
    "forward",
    "reverse",
    "intersection",
    "union",
    "grow-diag",
    "grow-diag-final",
    "grow-diag-final-and",
)
AGREEMENT, FORWARD, REVERSE, INTERSECTION, UNION = range(5)
GROW_DIAG, GROW_DIAG_FINAL, GROW_DIAG_FINAL_AND = range(5, 8)
# of the places beside a link; the order decides which of several links are added
NEIGHBORS = np.array(
    [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)]
)


@jit
def symmetrize(forward, reverse, null_forward, null_reverse, method, threshold, links):
    """Find the links of a sample.

    Parameters
    ----------
    forward : ndarray of shape (n_target, n_source)
        Posterior of the source position of each target token.
    reverse : ndarray of shape (n_source, n_target)
        Posterior of the target position of each source token.
    null_forward : ndarray of shape (n_target,)
        Posterior of NULL of each target token.
    null_reverse : ndarray of shape (n_source,)
        Posterior of NULL of each source token.
    method : int
        Position in SYMMETRIZATIONS.
    threshold : float
        For AGREEMENT, the geometric mean of the posteriors above which there is a link.
    links : ndarray of bool of shape (n_source, n_target)
        The output.
    """
    n_source, n_target = links.shape
    if method == AGREEMENT:
        for i in range(n_source):
            for j in range(n_target):
                links[i, j] = forward[j, i] * reverse[i, j] > threshold**2
        return
    ahead = np.zeros((n_source, n_target), dtype=np.bool_)
    back = np.zeros((n_source, n_target), dtype=np.bool_)
    _likeliest(forward, null_forward, ahead.T)
    _likeliest(reverse, null_reverse, back)
    if method == FORWARD:
        links[:] = ahead
    elif method == REVERSE:
        links[:] = back
    elif method == UNION:
        links[:] = ahead | back
    else:
        links[:] = ahead & back
    if method >= GROW_DIAG:
        _grow(ahead, back, method, links)


@jit
def _likeliest(posterior, null_posterior, links):
    """Link each generated token with its likeliest position, if NULL is not."""
    for j in range(len(posterior)):
        best = int(np.argmax(posterior[j]))
        if posterior[j, best] > null_posterior[j]:
            links[j, best] = True


@jit
def _grow(ahead, back, method, links):
    """Grow the intersection by links of either direction.

    Neighbours of links, those of added ones as well, are added while their source or
    their target token has no link; links are visited in ascending order until a whole
    pass adds none. Then 'final' adds links of either direction of whose tokens one has
    no link, 'final-and' those of whose tokens neither has: forward, then reverse.
    """
    n_source, n_target = links.shape
    of_source = np.zeros(n_source, dtype=np.bool_)
    of_target = np.zeros(n_target, dtype=np.bool_)
    for i in range(n_source):
        for j in range(n_target):
            if links[i, j]:
                of_source[i] = of_target[j] = True
    while _add_adjacent_links(ahead, back, links, of_source, of_target):
        pass
    if method == GROW_DIAG:
        return
    for final in (ahead, back):
        for i in range(n_source):
            for j in range(n_target):
                if not final[i, j]:
                    continue
                if method == GROW_DIAG_FINAL_AND:
                    is_added = not (of_source[i] or of_target[j])
                else:
                    is_added = not (of_source[i] and of_target[j])
                if is_added:
                    links[i, j] = of_source[i] = of_target[j] = True


@jit
def _add_adjacent_links(ahead, back, links, of_source, of_target):
    """Visit all links once, add neighbours, and return whether there were any."""
    n_source, n_target = links.shape
    found = False
    for i in range(n_source):
        for j in range(n_target):
            if not links[i, j]:
                continue
            for k in range(len(NEIGHBORS)):
                a, b = i + NEIGHBORS[k, 0], j + NEIGHBORS[k, 1]
                if not (0 <= a < n_source and 0 <= b < n_target) or links[a, b]:
                    continue
                if (ahead[a, b] or back[a, b]) and not (of_source[a] and of_target[b]):
                    links[a, b] = of_source[a] = of_target[b] = True
                    found = True
    return found
