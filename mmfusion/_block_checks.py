"""Checks of the blocks of X by the tags of an estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, Protocol

import numpy as np
from scipy import sparse
from sklearn.utils import check_array

from mmfusion._blocks import (
    Block,
    is_all_finite,
    is_sequences,
    n_features,
    observed_rows,
)
from mmfusion._dask_arrays import is_dask_array
from mmfusion._infinite_cells import first_infinite_cell
from mmfusion._numbers import (
    as_numbers,
    cell_name,
    holds_other_than_numbers,
    with_nan_for_na,
)
from mmfusion._pieces import is_mapped
from mmfusion._remedies import Remedies
from mmfusion._sequences import float_sequences, holds_sequences, token_sequences
from mmfusion.modalities import Modalities

FLOATS = (np.float64, np.float32)


@dataclass(frozen=True)
class ModalityTags:
    """The kinds of input of an estimator, in addition to scikit-learn's own tags.

    Parameters
    ----------
    missing : bool, default=False
        Whether samples may lack modalities.
    sparse : bool, default=False
        Whether a modality may be a sparse matrix.
    images : bool, default=False
        Whether modalities keep further dimensions, as images have; otherwise a
        sample becomes a row.
    sequences : {'refuse', 'require', 'allow', 'series', 'frames', 'tokens', \
'labels', 'beside_images'}, default='refuse'
        Whether modalities may be sequences. 'allow' reads sequences into float arrays
        and accepts modalities that are tables. The others read tables as sequences,
        too. 'require': the rows are series of one feature, and all modalities have one
        of the two forms. 'series': the same, but beside sequences the columns of a
        table are features without time, and a row is one frame. 'frames': a row is one
        frame. 'tokens' is 'allow' for sequences of one feature of any type, which are
        not read into floats. 'labels' is 'tokens' for sequences of other types than
        float, and 'allow' for those of floats. 'beside_images' is 'allow', but arrays
        of four dimensions are images.
    column_per_sample : bool, default=False
        Whether the output of a transformer has a column for each sample of `fit`.
    same_dtype : bool, default=False
        Whether later floats are cast to the dtype of `fit`, as compiled functions of
        nested estimators require.
    infinite_frames : bool, default=False
        Whether frames of sequences may hold infinite values.
    takes_nan, takes_text : callable, default=None
        Given the name of a modality, return whether its cells may be NaN, or its
        cells or columns may be text and categories, as in `accepted_cells`. Frames of
        sequences may be NaN by the same rule. None allows neither in any modality.
    holds_kernel : callable, default=None
        Given the name of a modality, return whether it is a precomputed kernel, which
        is not imputed, and which the estimator checks to be finite in `fit`. None means
        that no modality is.
    tokens : bool, default=False
        Whether sequences of one feature whose frames are text or dicts are read as
        tokens, beside those of numbers.
    chunked : bool, default=False
        Whether modalities may be arrays of dask, which are then read chunk by chunk.
    sequence_layout : callable, default=None
        Where `sequences` is 'refuse': given the name of a modality, return the layout
        in which the estimator nested for it reads sequences, as the function of
        `mmfusion.preprocessing`, or None. Such modalities are read as by 'allow'.
    """

    missing: bool = False
    sparse: bool = False
    images: bool = False
    sequences: str = "refuse"
    column_per_sample: bool = False
    same_dtype: bool = False
    tokens: bool = False
    chunked: bool = False
    infinite_frames: bool = False
    takes_nan: Callable[[str], bool] | None = None
    takes_text: Callable[[str], bool] | None = None
    holds_kernel: Callable[[str], bool] | None = None
    sequence_layout: Callable[[str], str | None] | None = None

    @property
    def refuses_sequences(self) -> bool:
        """Whether no modality may be sequences."""
        return self.sequences == "refuse" and self.sequence_layout is None

    def reads_tokens(self, block: Block) -> bool:
        """Return whether sequences are read as tokens.

        Parameters
        ----------
        block : block
            The block in one of the forms of sequences.

        Returns
        -------
        bool
            False where frames are read into floats.
        """
        if self.tokens:
            return is_sequences(block) and _holds_text_or_dicts(block)
        if self.sequences == "labels":
            return is_sequences(block) and not any(
                sample.dtype.kind == "f" for sample in block if sample is not None
            )
        return self.sequences == "tokens"

    def reads_sequences(self, name: str, block: Block) -> bool:
        """Return whether a block of a modality is read as sequences, if it may be.

        Parameters
        ----------
        name : str
            Name of the modality in `fit`.
        block : block
            The block in one of the forms of sequences.

        Returns
        -------
        bool
            False where an array of three dimensions may as well be images.
        """
        if self.sequences == "beside_images":
            return is_sequences(block) or block.ndim == 3
        if self.sequences != "refuse":
            return True
        layout = None if self.sequence_layout is None else self.sequence_layout(name)
        return layout is not None and (layout != "unchecked" or is_sequences(block))


def _holds_text_or_dicts(block: Block) -> bool:
    """Return whether the first frame of sequences is text or a dict."""
    first = next((x for x in block if x is not None and x.size), None)
    return first is not None and isinstance(first.flat[0], str | Mapping)


class FittedBlocks(Protocol):
    """The part of a `Layout` that later blocks are checked against."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities."""
        ...

    @property
    def widths(self) -> tuple[int, ...]:
        """Their numbers of features."""
        ...

    @property
    def as_given(self) -> tuple[str, ...]:
        """Modalities that hold text or categories."""
        ...

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Dtype of the floats of each modality."""
        ...

    @property
    def sequences(self) -> tuple[str, ...]:
        """Modalities of sequences."""
        ...

    @property
    def unobserved(self) -> Mapping[str, np.ndarray] | None:
        """Samples of `fit` that lack a modality which is a precomputed kernel."""
        ...


class CheckedBlocks(NamedTuple):
    """Blocks after their checks.

    Parameters
    ----------
    blocks : list of block
        The blocks, in the form that estimators use.
    widths : tuple of int
        Their numbers of features.
    as_given : tuple of str
        Modalities, by their names in `fit`, that hold text or categories.
    sequences : tuple of str
        Modalities, by their names in `fit`, of sequences.
    """

    blocks: list[Block]
    widths: tuple[int, ...]
    as_given: tuple[str, ...]
    sequences: tuple[str, ...]


@dataclass(frozen=True)
class BlockChecks:
    """The checks of every block of one X.

    Parameters
    ----------
    estimator : estimator
        The estimator that was given X.
    tags : ModalityTags
        Its tags.
    remedies : Remedies
        The remedies that its errors name.
    fitted : Layout or None
        The layout of `fit`; None in `fit`.
    raw : bool
        Whether tables are passed on unchecked.
    """

    estimator: object
    tags: ModalityTags
    remedies: Remedies
    fitted: FittedBlocks | None
    raw: bool

    def refuse_dask_arrays(self, frame: Modalities) -> None:
        """Raise an error for arrays of dask, unless they are read chunk by chunk.

        Parameters
        ----------
        frame : Modalities
            The modalities.

        Raises
        ------
        TypeError
            If a modality is a dask array, and the tags do not allow it.
        """
        for name, block in zip(frame.names, frame.blocks, strict=True):
            if is_dask_array(block) and not self.tags.chunked:
                raise TypeError(
                    f"modality {name!r} is a dask array, which "
                    f"{self.remedies.estimator} does not read chunk by chunk here; "
                    "give it in memory, by compute(), or a part of its rows, as by "
                    "X[:100_000].compute(). AnchorGraphClusterer clusters dask arrays"
                )

    def read_sequences(self, frame: Modalities) -> tuple[list[Block], np.ndarray]:
        """Read sequences into float arrays if the estimator takes them.

        Parameters
        ----------
        frame : Modalities
            The modalities, in the order of `fit`.

        Returns
        -------
        blocks : list of block
            The blocks, with sequences as 2-D float arrays or None.
        observed : ndarray of bool of shape (n_samples, n_modalities)
            Which sample has which modality.
        """
        if self.tags.refuses_sequences or not any(map(holds_sequences, frame.blocks)):
            return list(frame.blocks), frame.observed
        # masked sequences are not read, since their values may be invalid
        mask = np.ones(frame.shape, dtype=bool) if frame._mask is None else frame._mask
        blocks = list(frame.blocks)
        for v, (name, name_in_fit) in enumerate(self._both_names(frame.names)):
            if holds_sequences(blocks[v]) and self.tags.reads_sequences(
                name_in_fit, blocks[v]
            ):
                if self.tags.reads_tokens(blocks[v]):
                    blocks[v] = token_sequences(blocks[v], name, mask[:, v])
                    continue
                allow_gaps = _allows(self.tags.takes_nan, name_in_fit)
                blocks[v] = float_sequences(
                    blocks[v],
                    name,
                    mask[:, v],
                    allow_gaps=allow_gaps,
                    allow_infinity=self.tags.infinite_frames,
                )
        observed = mask & np.column_stack(list(map(self._observed_samples, blocks)))
        return blocks, observed

    def _observed_samples(self, block: Block) -> np.ndarray:
        """Return which samples have a modality; of tokens, which are not None."""
        if is_sequences(block) and self.tags.reads_tokens(block):
            return np.array([sample is not None for sample in block], dtype=bool)
        return observed_rows(block)

    def check_blocks(
        self,
        names: tuple[str, ...],
        blocks: list[Block],
        observed: np.ndarray,
        columns: Mapping[str, list[str] | None],
    ) -> CheckedBlocks:
        """Check the block of every modality.

        Parameters
        ----------
        names : tuple of str
            Names of the modalities, for errors.
        blocks : list of block
            The blocks of `read_sequences`.
        observed : ndarray of bool of shape (n_samples, n_modalities)
            Which sample has which modality.
        columns : dict of list of str or None
            Names of the features of each modality, for errors.

        Returns
        -------
        CheckedBlocks
            The blocks, and their kinds.
        """
        checked, widths = [], []
        as_given, sequences = [], []
        for v, (name, name_in_fit) in enumerate(self._both_names(names)):
            block, own = blocks[v], observed[:, v]
            if not own.all():
                self._check_missing(name, own)
            # a modality that all later samples lack may have come in any form
            if self.fitted is not None and not own.any():
                checked.append(_missing_block(self.fitted, v, len(own)))
                widths.append(self.fitted.widths[v])
                continue
            if is_sequences(block) and self.tags.reads_sequences(name_in_fit, block):
                sequences.append(name_in_fit)
            elif self._keeps_as_given(name_in_fit, block):
                as_given.append(name_in_fit)
                block = with_nan_for_na(block)
            elif self.raw:
                block = with_nan_for_na(block)
            else:
                block = self._check_table(name, name_in_fit, block, own, columns[name])
            self._check_form_of_fit(name, name_in_fit, name_in_fit in sequences)
            checked.append(block)
            widths.append(n_features(block))
        if self.fitted is None and self.tags.sequences == "require" and sequences:
            self._refuse_tables([name for name in names if name not in sequences])
        return CheckedBlocks(checked, tuple(widths), tuple(as_given), tuple(sequences))

    def _both_names(self, names: tuple[str, ...]) -> Iterable[tuple[str, str]]:
        """Pair the names of the modalities of X with those of `fit`."""
        return zip(names, self.fitted.names if self.fitted else names, strict=True)

    def _keeps_as_given(self, name_in_fit: str, block: Block) -> bool:
        """Return whether a block stays as it was given, with text or categories."""
        # estimators inside were fitted to one of the forms, numbers or as given
        if self.fitted is not None:
            return name_in_fit in self.fitted.as_given
        # the tag is read last: it may have to search nested estimators
        if self.raw or is_of_numbers(block):
            return False
        takes_text = _allows(self.tags.takes_text, name_in_fit)
        return takes_text and holds_other_than_numbers(block)

    def _refuse_tables(self, tables: list[str]) -> None:
        """Raise an error for tables beside sequences."""
        if tables:
            raise ValueError(
                f"modalities {tables} are tables, while others are sequences; "
                f"{self.remedies.estimator} compares sequences: leave them out, or "
                "give each row as an array of shape (n_frames, n_features)"
            )

    def _check_form_of_fit(
        self, name: str, name_in_fit: str, has_sequences: bool
    ) -> None:
        """Raise an error for a table where `fit` had sequences, and vice versa."""
        if self.fitted is None or self.tags.refuses_sequences:
            return
        had_sequences = name_in_fit in self.fitted.sequences
        if has_sequences != had_sequences:
            forms = ("sequences", "a table")
            now, then = forms[::-1] if had_sequences else forms
            raise ValueError(
                f"modality {name!r} of X is {now}, but was {then} in fit; give it in "
                "the form of fit"
            )

    def _check_missing(self, name: str, own: np.ndarray) -> None:
        n_missing = int((~own).sum())
        found = (
            f"modality {name!r} is missing (None or NaN) for {n_missing} of {len(own)} "
            f"samples, first for sample {int(np.argmin(own))}"
        )
        if self.fitted is None and n_missing == len(own):
            raise ValueError(f"{found}: nothing can be fitted on it, leave it out")
        if not self.tags.missing:
            raise ValueError(
                f"{found}; {self.remedies.estimator} needs every modality of every "
                f"sample. Fill them in a Pipeline by {self.remedies.imputer_before()}, "
                "or use an estimator that works with the observed modalities, such as "
                "LateFusionClusterer"
            )

    def _check_table(
        self,
        name: str,
        name_in_fit: str,
        block: Block,
        own: np.ndarray,
        columns: list[str] | None,
    ) -> Block:
        """Check a block with a row for each sample, and return it as floats."""
        what = f"modality {name!r}"
        self._check_shape(what, block)
        if not is_of_numbers(block):
            block = as_numbers(block, what, self.remedies.encoder_before(name), columns)
        if _is_plain_table(block):
            checked = block
        elif is_dask_array(block):
            checked = block if block.dtype in FLOATS else block.astype(np.float64)
        else:
            checked = self._as_floats(what, block)
        dimensions = checked.ndim
        if dimensions > 2 and not self.tags.images:
            checked = checked.reshape(len(checked), -1)
        if self._is_kernel_of_fit(name, checked):
            return checked
        checked = self._without_unobserved(name_in_fit, checked)
        # a pass without the tag, which is needed only where there is NaN
        if is_all_finite(checked):
            return checked
        takes_nan = _allows(self.tags.takes_nan, name_in_fit)
        place = first_infinite_cell(checked, own, nan_too=not takes_nan)
        if place is not None:
            columns = columns if dimensions == 2 else None
            self._raise_not_finite(name, place, dimensions, columns)
        return checked

    def _is_kernel_of_fit(self, name: str, block: Block) -> bool:
        """Return whether the estimator checks that a block is a finite kernel."""
        if self.fitted is not None or sparse.issparse(block):
            return False
        return self.tags.holds_kernel is not None and self.tags.holds_kernel(name)

    def _without_unobserved(self, name_in_fit: str, block: Block) -> Block:
        """Set the kernel with samples of `fit` that lack the modality to 0."""
        unobserved = None if self.fitted is None else self.fitted.unobserved
        lacking = (unobserved or {}).get(name_in_fit)
        # another number of columns is refused when the layout is checked
        if lacking is None or block.shape[1] != len(lacking):
            return block
        if not sparse.issparse(block):
            return np.where(lacking, block.dtype.type(0), block)
        block = block.copy()
        block.data[lacking[block.indices]] = 0
        return block

    def _as_floats(self, what: str, block: Block) -> Block:
        """Convert a block of numbers to an array or CSR matrix of floats."""
        try:
            return check_array(
                block,
                accept_sparse="csr" if self.tags.sparse else False,
                dtype=FLOATS,
                allow_nd=True,
                ensure_all_finite=False,  # the check below also finds the cell
                estimator=self.estimator,
                input_name=what,
            )
        except (ValueError, TypeError) as error:  # add the modality to the message
            raise type(error)(f"{what}: {error}") from error

    def _check_shape(self, what: str, block: Block) -> None:
        if is_sequences(block):
            raise ValueError(
                f"{what} holds sequences; {self.remedies.estimator} needs rows of one "
                "width: pool or resample them first, by SequencePooling or "
                f"SequenceResampler{self._estimator_of_sequences()}"
            )
        if 0 in block.shape[1:]:
            raise ValueError(
                f"{what}: Found array with 0 feature(s) (shape={tuple(block.shape)}) "
                f"while a minimum of 1 is required by {self.remedies.estimator}; leave "
                "it out"
            )

    def _estimator_of_sequences(self) -> str:
        """Return a further remedy for sequences: an estimator or a kernel of them."""
        if self.tags.sequence_layout is None:
            return ""
        if self.tags.holds_kernel is not None:
            return ", or give the modality a kernel of sequences, 'global_alignment'"
        return (
            ", or give the modality, by name, an estimator that reads sequences, such "
            "as one of tslearn or a Pipeline that starts with SequencePooling()"
        )

    def _raise_not_finite(
        self,
        name: str,
        place: tuple[int, int, float],
        dimensions: int,
        columns: list[str] | None,
    ) -> NoReturn:
        sample, feature, value = place
        if self.tags.holds_kernel is not None and self.tags.holds_kernel(name):
            raise ValueError(
                f"modality {name!r}: the kernel is {value} for samples {sample} and "
                f"{feature}; compute it again so that it is finite. A sample that "
                "lacks the modality has NaN in its whole row"
            )
        found = f"modality {name!r}: {cell_name(sample, feature, columns)} is"
        if np.isinf(value):
            raise ValueError(
                f"{found} infinity; replace it, for example by NaN, which an imputer "
                "then fills in, or by the largest finite value"
            )
        if dimensions == 2:
            step = self.remedies.transformer_before(name, "SimpleImputer()")
            imputer = f"in a Pipeline by {step}"
        else:
            imputer = "by numpy.nan_to_num"
        raise ValueError(
            f"{found} NaN. A row that is all NaN means a missing modality; single "
            f"cells that are NaN can be filled in {imputer}"
        )


def _allows(rule: Callable[[str], bool] | None, name_in_fit: str) -> bool:
    """Return whether a tag allows cells of a kind in a modality."""
    return rule is not None and rule(name_in_fit)


def _missing_block(fitted: FittedBlocks, v: int, n_samples: int) -> Block:
    """Return the block of a modality that all samples of later input lack."""
    if fitted.names[v] in fitted.sequences:
        return np.full(n_samples, None, dtype=object)
    return np.full((n_samples, fitted.widths[v]), np.nan)


def is_of_numbers(block: Block) -> bool:
    """Return whether a block is an array or a sparse matrix of a numerical dtype."""
    dtype = getattr(block, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind in "fiub"


def _is_plain_table(block: Block) -> bool:
    """Return whether check_array would return a block as it is, after some 50 us."""
    return type(block) is np.ndarray and block.ndim == 2 and block.dtype in FLOATS


def float_dtype(block: Block) -> str:
    """Return the name of the dtype of a block of floats, and '' for other blocks."""
    dtype = getattr(block, "dtype", None)
    return dtype.name if isinstance(dtype, np.dtype) and dtype in FLOATS else ""


def cast_to_fitted(
    blocks: list[Block], observed: np.ndarray, fitted: FittedBlocks
) -> list[Block]:
    """Cast floats to the dtype of `fit`.

    A block in a mapped file is left as it is: a cast would read all of it into memory.

    Parameters
    ----------
    blocks : list of block
        The blocks.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Which sample has which modality.
    fitted : Layout
        The layout of `fit`.

    Returns
    -------
    list of block
        The blocks in the dtypes of `fit`.

    Raises
    ------
    ValueError
        If a value does not fit the dtype.
    """
    cast = list(blocks)
    for v, then in enumerate(fitted.dtypes):
        dtype = float_dtype(blocks[v])
        if not (dtype and then) or dtype == then or is_mapped(blocks[v]):
            continue
        with np.errstate(over="ignore"):
            cast[v] = blocks[v].astype(then)
        place = None
        if not is_all_finite(cast[v]):
            place = first_infinite_cell(cast[v], observed[:, v], nan_too=False)
        if place is not None:
            raise ValueError(
                f"modality {fitted.names[v]!r}: sample {place[0]}, feature {place[1]} "
                f"does not fit {then}, the dtype of fit; fit on {dtype}"
            )
    return cast
