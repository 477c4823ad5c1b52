"""Parallel corpora: translations made from a planted lexicon, or read from files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from os import PathLike

import numpy as np

from mmfusion._blocks import token_arrays
from mmfusion._typing import RandomStateLike
from mmfusion.datasets._simulation import (
    check_at_least,
    check_number,
    check_numbers_fit,
    check_seed,
)
from mmfusion.modalities import Modalities

CORPUS_NAMES = ("source", "target")
# sure links as 3-5, possible ones as 3?5 or 3p5
LINK = re.compile(r"(\d+)([-?p])(\d+)")


def make_parallel_corpus(
    n_samples: int = 300,
    *,
    n_types: int = 50,
    n_tokens: tuple[int, int] = (3, 12),
    swap_rate: float = 0.2,
    null_rate: float = 0.05,
    random_state: RandomStateLike = None,
) -> tuple[Modalities, np.ndarray, dict[str, str]]:
    """Make sequences of tokens and their translations, and the true links.

    The source has the types s0, s1, ..., the k-th with a probability proportional to
    1 / (k + 1), as words have in texts, but at most once in a sample, so that the links
    are unique. Each has one translation, by a random permutation, among the types t0,
    t1, ... of the target. Neighbours in the target are swapped at random, and some
    tokens of either side have no counterpart.

    Parameters
    ----------
    n_samples : int, default=300
        Number of samples.
    n_types : int, default=50
        Number of types of each modality.
    n_tokens : tuple of (int, int), default=(3, 12)
        Range of the tokens of a source sequence, from 1 to `n_types`, both ends
        included.
    swap_rate : float, default=0.2
        Probability that a target token changes places with the next one.
    null_rate : float, default=0.05
        Probability that a source token has no translation; a translation is followed by
        a token without counterpart, the type 'null', at the same rate.
    random_state : int, RandomState instance or None, default=None
        Seed of the random numbers. An integer gives the same data at every call.

    Returns
    -------
    X : Modalities of shape (n_samples, 2)
        The tokens of 'source' and 'target', arrays of object of shape (n_tokens, 1).
    links : ndarray of object of shape (n_samples,)
        True links of each sample, an ndarray of int64 of shape (n_links, 2): source and
        target positions, in ascending order.
    lexicon : dict of str to str
        Translation of each source type.

    Raises
    ------
    TypeError
        If an option has the wrong type.
    ValueError
        If an option is out of range, or the data do not fit in memory.

    See Also
    --------
    load_parallel_corpus : Reads texts and links from files.
    mmfusion.alignment.WordAligner : Finds the links.

    Examples
    --------
    >>> from mmfusion.datasets import make_parallel_corpus
    >>> X, links, lexicon = make_parallel_corpus(4, random_state=0)
    >>> X.names
    ('source', 'target')
    >>> i, j = links[0][0]
    >>> lexicon[X["source"][0][i, 0]] == X["target"][0][j, 0]
    True
    """
    rng = check_seed(random_state)
    check_at_least(1, n_samples=n_samples, n_types=n_types)
    if not isinstance(n_tokens, tuple | list) or len(n_tokens) != 2:
        raise ValueError(
            f"n_tokens is {n_tokens!r}; give the least and the largest number of tokens"
        )
    fewest, most = n_tokens
    check_at_least(1, n_tokens=fewest)
    check_at_least(fewest, n_tokens=most)
    check_at_least(most, n_types=n_types)
    swap_rate = check_number(swap_rate, "swap_rate", 1)
    null_rate = check_number(null_rate, "null_rate", 1)
    check_numbers_fit(2 * int(n_samples) * most, n_samples=n_samples, n_tokens=n_tokens)
    translation = rng.permutation(n_types)
    shares = 1 / np.arange(1, n_types + 1)
    source, target = [], []
    links = np.full(n_samples, None, dtype=object)
    for i in range(n_samples):
        n_own = rng.randint(fewest, most + 1)
        types = rng.choice(n_types, n_own, replace=False, p=shares / shares.sum())
        of_target = _draw_order(len(types), swap_rate, null_rate, rng)
        source.append([f"s{k}" for k in types])
        target.append(
            ["null" if k < 0 else f"t{translation[types[k]]}" for k in of_target]
        )
        linked = np.flatnonzero(of_target >= 0)
        pairs = np.column_stack([of_target[linked], linked]).astype(np.int64)
        links[i] = pairs[np.lexsort(pairs.T[::-1])]
    X = Modalities({"source": token_arrays(source), "target": token_arrays(target)})
    lexicon = {f"s{k}": f"t{own}" for k, own in enumerate(translation)}
    return X, links, lexicon


def _draw_order(
    n_tokens: int, swap_rate: float, null_rate: float, rng: np.random.RandomState
) -> np.ndarray:
    """Draw the source position of each target token; -1 for one without."""
    order = np.flatnonzero(rng.uniform(size=n_tokens) >= null_rate)
    if len(order) == 0:  # a sample has a token on both sides
        order = rng.randint(n_tokens, size=1)
    for j in np.flatnonzero(rng.uniform(size=len(order) - 1) < swap_rate):
        order[[j, j + 1]] = order[[j + 1, j]]
    places = np.flatnonzero(rng.uniform(size=len(order)) < null_rate) + 1
    return np.insert(order, places, -1)


def load_parallel_corpus(
    source: str | PathLike[str],
    target: str | PathLike[str],
    links: str | PathLike[str] | None = None,
    *,
    lowercase: bool = False,
) -> tuple[Modalities, np.ndarray | None]:
    """Load two texts whose lines correspond, and known links of their tokens.

    Parameters
    ----------
    source, target : str or path-like
        Files of text in UTF-8, a sample per line, tokens separated by spaces. A sample
        lacks a modality where its line is empty.
    links : str or path-like, default=None
        File with the links of a sample per line, source and target position from 0:
        ``3-5`` for sure links, ``3?5`` or ``3p5`` for possible ones.
    lowercase : bool, default=False
        Whether to convert the tokens to lower case.

    Returns
    -------
    X : Modalities of shape (n_samples, 2)
        The tokens of 'source' and 'target', arrays of object of shape (n_tokens, 1).
    y : ndarray of object of shape (n_samples,) or None
        For each sample, an ndarray of int64 of shape (n_links, 3): source and target
        positions, and 1 for sure links, 0 for possible ones. None without `links`.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If the files have different numbers of lines, or a link has another form or
        refers to a token that does not exist.

    See Also
    --------
    make_parallel_corpus : Makes such data.
    mmfusion.metrics.alignment_error_rate : Compares links with known ones.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from mmfusion.datasets import load_parallel_corpus
    >>> with TemporaryDirectory() as folder:
    ...     paths = [Path(folder, name) for name in ("de", "en", "links")]
    ...     for path, text in zip(paths, ["das haus", "the house", "0-0 1-1"]):
    ...         _ = path.write_text(text)
    ...     X, y = load_parallel_corpus(*paths)
    >>> y[0].tolist()
    [[0, 0, 1], [1, 1, 1]]
    """
    for name, path in (("source", source), ("target", target), ("links", links)):
        if not (isinstance(path, str | PathLike) or (name == "links" and path is None)):
            raise TypeError(f"{name} is {path!r}; give the path of a text file")
    if not isinstance(lowercase, bool | np.bool_):
        raise TypeError(f"lowercase is {lowercase!r}; give True or False")
    texts = [list(_read_tokens(path, lowercase)) for path in (source, target)]
    if len(texts[0]) != len(texts[1]):
        raise ValueError(
            f"{source} has {len(texts[0])} lines, and {target} has {len(texts[1])}; "
            "each line is a sample, and an empty one stands for no translation"
        )
    X = Modalities(dict(zip(CORPUS_NAMES, map(token_arrays, texts), strict=True)))
    if links is None:
        return X, None
    y = np.full(len(texts[0]), None, dtype=object)
    with open(links, encoding="utf-8") as file:
        lines = file.read().splitlines()
    if len(lines) != len(y):
        raise ValueError(
            f"{links} has {len(lines)} lines, and the texts have {len(y)}; each line "
            "has the links of a sample, and is empty where there are none"
        )
    for i, line in enumerate(lines):
        y[i] = _read_links(line, len(texts[0][i]), len(texts[1][i]), f"{links}:{i + 1}")
    return X, y


def _read_tokens(path: str | PathLike[str], lowercase: bool) -> Iterator[list[str]]:
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            yield (line.lower() if lowercase else line).split()


def _read_links(line: str, n_source: int, n_target: int, what: str) -> np.ndarray:
    links = []
    for word in line.split():
        found = LINK.fullmatch(word)
        if found is None:
            raise ValueError(
                f"{what}: {word!r} is no link; write 3-5 for a sure link of source "
                "token 3 with target token 5, counted from 0, 3?5 for a possible one"
            )
        i, j = int(found[1]), int(found[3])
        if i >= n_source or j >= n_target:
            raise ValueError(
                f"{what}: the link {word} refers to a token beyond the {n_source} of "
                f"the source and {n_target} of the target; positions count from 0"
            )
        links.append((i, j, int(found[2] == "-")))
    return np.array(links, dtype=np.int64).reshape(-1, 3)
