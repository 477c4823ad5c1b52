"""Progress of all fits in a context, with or without a parameter of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral

from mmfusion._progress import requested_verbose

__all__ = ["show_progress"]


@contextmanager
def show_progress(verbose: bool | int = True) -> Iterator[None]:
    """Show the progress of all fits in a context, as their `verbose` does.

    It is for estimators without this parameter, such as `MKLClusterer`, and for those
    inside of others. What other threads and processes compute is not shown.

    Parameters
    ----------
    verbose : bool or int, default=True
        How to show progress: True or 1 by a bar where tqdm is installed and stderr is a
        terminal or a notebook, else by a line for each step; larger integers by lines
        in any case. False shows nothing but what the estimators' own `verbose`
        requests.

    Yields
    ------
    None
        Nothing; the block is executed.

    Raises
    ------
    TypeError
        If `verbose` is neither a bool nor an integer of at least 0.

    Examples
    --------
    >>> from mmfusion import MKLClusterer, show_progress
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> with show_progress():
    ...     clusterer = MKLClusterer(n_clusters=3, random_state=0).fit(X)
    [MKLClusterer] k-means (2 of 102): ... s
    """
    if not isinstance(verbose, bool | Integral) or verbose < 0:
        raise TypeError(
            f"verbose={verbose!r}; give True, False, or 2 for lines in any case"
        )
    token = requested_verbose.set(verbose)
    try:
        yield
    finally:
        requested_verbose.reset(token)
