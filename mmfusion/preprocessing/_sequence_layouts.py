"""The layout in which an estimator reads sequences: the rule, and the conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import get_tags

from mmfusion._accepted_cells import first_step, receivers
from mmfusion._blocks import Block, is_sequences
from mmfusion._columns import default_names
from mmfusion._sequences import float_sequences, holds_sequences
from mmfusion.preprocessing._sequence_formats import (
    channels_first_from_sequences,
    padded_from_sequences,
    sequences_from_channels_first,
)

PADDED, ARRAYS, CHANNELS_FIRST, UNCHECKED = (
    "padded",
    "arrays",
    "channels_first",
    "unchecked",
)
SEQUENCE_LAYOUTS = (PADDED, ARRAYS, CHANNELS_FIRST, UNCHECKED)


def sequence_layout(estimator: Any) -> str | None:
    """Return the layout in which an estimator reads a modality of sequences.

    It decides what `PerModality`, late and hybrid fusion and `SingleModalityClusterer`
    pass to an estimator given for a modality. Of a Pipeline its first step counts, of
    a search or another meta-estimator the inner estimator. The first of these that
    applies:

    1. an attribute ``sequence_layout`` of the estimator, one of the layouts below;
    2. 'arrays' for estimators of this package that take sequences;
    3. 'channels_first' for estimators with the tag ``X_inner_type`` of aeon;
    4. 'padded' for estimators with scikit-learn's tag ``input_tags.three_d_array``,
       which those of tslearn have;
    5. 'unchecked' for nets of skorch, and for estimators with scikit-learn's tag
       ``no_validation``, such as FunctionTransformer;
    6. None.

    Parameters
    ----------
    estimator : estimator
        Any estimator, fitted or not.

    Returns
    -------
    {'padded', 'arrays', 'channels_first', 'unchecked'} or None
        - 'padded': one array of shape (n_samples, n_frames, n_features), with NaN
          after the last frame of shorter sequences;
        - 'arrays': an object array of shape (n_samples,) with an array of shape
          (n_frames, n_features) for each sample;
        - 'channels_first': a list of arrays of shape (n_features, n_frames);
        - 'unchecked': as 'arrays', but an array of three dimensions stays a table,
          as images are;
        - None: tables only.

    Raises
    ------
    TypeError
        If it is a class.
    ValueError
        If the attribute ``sequence_layout`` is another value.

    See Also
    --------
    SequencePooling : Makes a table of sequences, before estimators of tables.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import FunctionTransformer
    >>> from mmfusion.preprocessing import (
    ...     SequencePooling, padded_from_sequences, sequence_layout
    ... )
    >>> sequence_layout(LogisticRegression()) is None
    True
    >>> sequence_layout(make_pipeline(SequencePooling(), LogisticRegression()))
    'arrays'
    >>> sequence_layout(FunctionTransformer(padded_from_sequences))
    'unchecked'
    """
    if isinstance(estimator, type):
        raise TypeError(
            f"estimator is the class {estimator.__name__}; give an instance of it, "
            f"{estimator.__name__}()"
        )
    # from outside in: what is nested in one of sequences may read features of them
    for candidate in receivers(estimator):
        layout = _own_layout(candidate)
        if layout is not None or hasattr(candidate, "__modality_tags__"):
            return layout
    return None


def _own_layout(estimator: Any) -> str | None:
    """Return the layout that an estimator declares, whatever is nested in it."""
    declared = getattr(estimator, "sequence_layout", None)
    if declared is not None:
        if declared not in SEQUENCE_LAYOUTS:
            raise ValueError(
                f"{type(estimator).__name__}.sequence_layout is {declared!r}; it must "
                f"be one of {list(SEQUENCE_LAYOUTS)}"
            )
        return str(declared)
    if hasattr(estimator, "__modality_tags__"):
        own = estimator.__modality_tags__()
        reads = own.sequences != "refuse"
        if not reads and own.sequence_layout is not None:
            # by modality, of which there is one alone
            reads = own.sequence_layout(default_names(1)[0]) is not None
        return ARRAYS if reads else None
    # the tags of aeon, which describe estimators of collections of series only
    if "X_inner_type" in getattr(type(estimator), "get_class_tags", dict)():
        return CHANNELS_FIRST
    if _is_net(estimator):
        return UNCHECKED
    if not hasattr(estimator, "__sklearn_tags__"):
        return None
    tags = get_tags(estimator)
    if tags.input_tags.three_d_array:
        return PADDED
    return UNCHECKED if tags.no_validation else None


def _is_net(estimator: object) -> bool:
    """Return whether an estimator is a net of skorch, without importing skorch."""
    modules = (cls.__module__ for cls in type(estimator).__mro__)
    return any(module.partition(".")[0] == "skorch" for module in modules)


def as_read_by(estimator: Any, block: Block) -> Any:
    """Convert checked sequences to the layout that an estimator reads.

    Parameters
    ----------
    estimator : estimator
        Estimator that is given the block.
    block : block
        Sequences of shape (n_samples,), one float array of shape (n_frames,
        n_features) each; other blocks are returned as they are.

    Returns
    -------
    ndarray, list of ndarray or block
        The sequences in the layout of `sequence_layout`.

    Raises
    ------
    ValueError
        If lengths differ, and the estimator reads sequences of one length only.
    """
    if not is_sequences(block):
        return block
    layout = sequence_layout(estimator)
    if layout == CHANNELS_FIRST:
        return channels_first_from_sequences(block)
    if layout != PADDED:
        return block
    _refuse_unequal_lengths(estimator, block)
    return padded_from_sequences(block)


def _refuse_unequal_lengths(estimator: Any, block: np.ndarray) -> None:
    """Raise an error for padding that an estimator would take for values."""
    first = first_step(estimator)
    # a tag of tslearn; old transformers lack it, others read what they declare
    tags = get_tags(first) if hasattr(first, "__sklearn_tags__") else None
    if tags is None or tags.estimator_type is None:
        return
    if getattr(tags, "allow_variable_length", True):
        return
    lengths = [len(sequence) for sequence in block]
    if min(lengths) < max(lengths):
        raise ValueError(
            f"{type(first).__name__} reads sequences of one length, but these have "
            f"{min(lengths)} to {max(lengths)} frames; put SequenceResampler() before "
            "it in a Pipeline, or give it a metric that compares sequences of "
            "different lengths, such as 'dtw'"
        )


def given_as_read_by(transformer: Any, block: Block, name: str) -> Any:
    """Convert sequences in either form, unchecked, to the layout of a transformer.

    Parameters
    ----------
    transformer : transformer
        Transformer that is given the block.
    block : block
        The samples that have the modality. Padded arrays, and sequences for
        transformers that read 'arrays', are returned as they are.
    name : str
        Name of the modality, for errors.

    Returns
    -------
    ndarray, list of ndarray or block
        The block in the layout that the transformer reads.
    """
    if not holds_sequences(block):
        return block
    layout = sequence_layout(transformer)
    if layout == CHANNELS_FIRST or (layout == PADDED and is_sequences(block)):
        return as_read_by(transformer, float_sequences(block, name))
    return block


def frames_first(transformer: Any, given: object, out: Any) -> Any:
    """Return the output of a transformer with frames before features.

    Parameters
    ----------
    transformer : transformer
        The transformer.
    given : object
        Its input.
    out : object
        Its output.

    Returns
    -------
    object
        The sequences of a list or array whose channels come first; other output as
        it is.
    """
    # it was given sequences, in a list, and has returned sequences, not rows
    if not isinstance(given, list) or sequence_layout(transformer) != CHANNELS_FIRST:
        return out
    if isinstance(out, np.ndarray) and out.ndim == 3:
        return out.transpose(0, 2, 1)
    is_collection = isinstance(out, list) and all(np.ndim(x) == 2 for x in out)
    return sequences_from_channels_first(out) if is_collection else out
