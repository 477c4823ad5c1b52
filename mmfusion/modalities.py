"""`Modalities`: a frame whose rows are samples and whose columns are modalities."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse

from mmfusion import _blocks, _row_labels
from mmfusion._blocks import Block
from mmfusion._columns import (
    SEPARATOR,
    ColumnSpec,
    default_names,
    multi_index_spec,
    resolve_columns,
)
from mmfusion._numbers import is_integer
from mmfusion._row_labels import JOINS, Labels, labels_of

__all__ = ["Modalities", "modality_selector"]


class Modalities:
    """Multimodal data as a frame: rows are samples, columns are modalities.

    scikit-learn's splitters, searches, pipelines and meta-estimators run on it
    unmodified, since its ``shape`` is (n_samples, n_modalities) and indexing it
    takes the same rows of every modality.

    It is immutable by convention: no method changes it, and estimators never do.
    (Assigning a column is possible because `permutation_importance` permutes the
    columns of its own copy.)

    Parameters
    ----------
    data : list, dict, DataFrame or Modalities
        One block per modality, all with one row per sample. A dict gives the names;
        a pandas DataFrame must have a MultiIndex whose first level is the modality
        (see :meth:`from_table` for other tables). A block is a dense array of any
        dtype with at least 2 dimensions (memmaps stay memmaps), a scipy sparse matrix
        (kept as CSR), a pandas or polars DataFrame, a torch tensor (taken as an
        array), a list with one sequence of shape (n_frames, n_features) or None per
        sample, or None if every sample lacks the modality.
    names : list of str, default=None
        Names of the modalities, for data given as a list. Default is
        ``modality_0``, ``modality_1``, ... Names contain no ``__``.
    observed : array-like of bool of shape (n_samples, n_modalities), default=None
        False where a sample lacks a modality, in addition to what the data say: a
        sample lacks a modality where its row is all NaN or its sequence is None.

    Attributes
    ----------
    names : tuple of str
        Names of the modalities.
    blocks : tuple
        The block of each modality.
    shape : tuple of int
        (n_samples, n_modalities).
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Which sample has which modality.
    index : pandas Index or ndarray of int of shape (n_samples,)
        Row labels of the samples, where a modality was given as a pandas object;
        otherwise their positions.

    Raises
    ------
    ValueError
        If modalities disagree on the number of samples or on the row labels, or names
        are invalid.
    TypeError
        If `data` is one 2-D array or a table without column groups.

    See Also
    --------
    Modalities.from_frames : Aligns DataFrames by their row labels.
    modality_selector : Selects a modality by name in a ColumnTransformer.

    Notes
    -----
    Rows taken by a slice are views; other rows are copied, and only those asked for.
    A mask given as `observed` tells which cells not to look at; it does not change
    the blocks.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import Modalities
    >>> X = Modalities({"audio": np.ones((4, 2)), "video": np.zeros((4, 3))})
    >>> X.shape
    (4, 2)
    >>> X[1:3]["audio"].shape
    (2, 2)
    >>> Modalities([[[1.0, 2.0], None], np.eye(2)], names=["audio", "video"])
    Modalities of 2 samples x 2 modalities
      audio  dense (2, 2) float64, 1 missing
      video  dense (2, 2) float64
    """

    def __init__(
        self,
        data: Any,
        names: Sequence[str] | None = None,
        *,
        observed: Any = None,
    ) -> None:
        given, given_names = _read(data)
        if names is not None and given_names is not None:
            raise ValueError("names are those of the dict, frame or Modalities given")
        if not given:
            raise ValueError("there is no modality: data is empty")
        if names is None:
            names = given_names or default_names(len(given))
        self._names = _checked_names(names, len(given))
        self._blocks = _checked_blocks(given, self._names)
        self._index = _shared_labels(given, self._names)
        if isinstance(data, Modalities):
            self._index = data._index
        self._mask = _checked_mask(observed, self)
        if isinstance(data, Modalities) and data._mask is not None:
            mask = data._mask
            self._mask = mask if self._mask is None else mask & self._mask
        self._observed: np.ndarray | None = None

    @classmethod
    def _of(
        cls,
        names: tuple[str, ...],
        blocks: tuple[Block, ...],
        mask: np.ndarray | None,
        index: Labels | None = None,
    ) -> Modalities:
        """Build from parts that are known to be consistent."""
        new = cls.__new__(cls)
        new._names, new._blocks, new._mask, new._observed = names, blocks, mask, None
        new._index = index
        return new

    @classmethod
    def from_table(cls, table: Any, modalities: ColumnSpec = None) -> Modalities:
        """Split one table into modalities.

        Parameters
        ----------
        table : array, sparse matrix or DataFrame of shape (n_samples, n_features)
            The table.
        modalities : int, list of int, str or dict, default=None
            The column spec: a number of modalities of equal width, a list of widths,
            the separator in the columns' names (``"__"`` reads ``audio__f0`` as
            feature f0 of audio), or a dict of columns by modality.

        Returns
        -------
        Modalities
            The same data by modality.

        Raises
        ------
        ValueError
            If the spec does not fit the table.

        Examples
        --------
        >>> import numpy as np
        >>> from mmfusion import Modalities
        >>> Modalities.from_table(np.ones((5, 6)), {"audio": [0, 1], "video": [5]})
        Modalities of 5 samples x 2 modalities
          audio  dense (5, 2) float64
          video  dense (5, 1) float64
        """
        table = _blocks.as_plain(table, "the table")
        if not hasattr(table, "shape") or isinstance(table, type):
            table = _as_array(table, "the table")
        if len(table.shape) < 2:
            raise ValueError(
                f"a table has shape (n_samples, n_features); got {tuple(table.shape)}"
            )
        columns = resolve_columns(modalities, table)
        blocks = tuple(_blocks.take_columns(table, c) for c in columns.values())
        return cls(dict(zip(columns, blocks, strict=True)))

    @classmethod
    def from_frames(cls, frames: Any, join: str = "exact") -> Modalities:
        """Align pandas DataFrames by their row labels.

        The samples are in the order in which their labels first appear: those of the
        first frame, then those that only later frames have.

        Parameters
        ----------
        frames : dict or list of pandas DataFrame
            One frame for each modality, or a Series of sequences, one array of shape
            (n_frames, n_features) for each sample. Each row label is that of one
            sample; labels may be of any kind, also of several levels.
        join : {'exact', 'inner', 'outer'}, default='exact'
            'exact': all frames have the same labels, in any order. 'inner': the
            samples that all frames have. 'outer': all samples; a sample without a row
            in a frame lacks that modality.

        Returns
        -------
        Modalities
            The aligned data, whose `index` are the labels. Columns keep their dtype,
            unless rows are missing and the dtype has no missing value.

        Raises
        ------
        ValueError
            If labels repeat or are missing, a frame has no label in common with
            another one, or, for 'exact', a frame lacks a label.
        TypeError
            If something is not a pandas DataFrame.

        Examples
        --------
        >>> import pandas as pd
        >>> from mmfusion import Modalities
        >>> audio = pd.DataFrame({"pitch": [1.0, 2.0]}, index=["ann", "bob"])
        >>> video = pd.DataFrame({"smile": [3.0, 4.0]}, index=["cem", "ann"])
        >>> X = Modalities.from_frames({"audio": audio, "video": video}, join="outer")
        >>> X
        Modalities of 3 samples x 2 modalities, labelled 'ann' to 'cem'
          audio  frame (3, 1) float64, 1 missing
          video  frame (3, 1) float64, 1 missing
        >>> X.loc["cem"]["video"]
             smile
        cem    3.0
        """
        if not (isinstance(join, str) and join in JOINS):
            raise ValueError(f"join={join!r}; it is one of {list(JOINS)}")
        if isinstance(frames, list | tuple):
            frames = dict(zip(default_names(len(frames)), frames, strict=True))
        if not isinstance(frames, Mapping) or sparse.issparse(frames):
            raise TypeError(
                f"frames is a {type(frames).__name__}; give a dict or list of pandas "
                "DataFrames"
            )
        if not frames:
            raise ValueError("there is no modality: frames is empty")
        for name, frame in frames.items():
            _check_labelled(frame, name)
        labelled: dict[str, Labels] = {n: labels_of(f) for n, f in frames.items()}
        labels = _row_labels.align_labels(labelled, join)
        rows = {name: own.get_indexer(labels) for name, own in labelled.items()}
        aligned = {
            name: _row_labels.relabelled(_aligned_rows(frame, rows[name]), labels)
            for name, frame in frames.items()
        }
        return cls(aligned, observed=np.column_stack(list(rows.values())) >= 0)

    # What the frame holds

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities, as a tuple of str."""
        return self._names

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The block of each modality, in the order of `names`."""
        return self._blocks

    @property
    def shape(self) -> tuple[int, int]:
        """The pair (n_samples, n_modalities)."""
        return self._blocks[0].shape[0], len(self._blocks)

    @property
    def ndim(self) -> int:
        """Always 2: samples and modalities."""
        return 2

    @property
    def observed(self) -> np.ndarray:
        """Which sample has which modality, bool of shape (n_samples, n_modalities)."""
        if self._observed is None:
            observed = np.column_stack([_blocks.observed_rows(b) for b in self._blocks])
            if self._mask is not None:
                observed &= self._mask
            observed.flags.writeable = False
            self._observed = observed
        return self._observed

    def to_dict(self) -> dict[str, Block]:
        """Return the blocks by name.

        Returns
        -------
        dict of str to block
            The blocks themselves, not copies.
        """
        return dict(zip(self._names, self._blocks, strict=True))

    def to_array(self) -> Any:
        """Put the modalities side by side, for tools that insist on one array.

        Give the estimator ``modalities=X.column_spec()`` so that it takes them apart
        again.

        Returns
        -------
        ndarray or CSR matrix of shape (n_samples, n_features)
            Dense, or sparse if a modality is sparse. Missing cells are NaN.

        Raises
        ------
        ValueError
            If a modality holds sequences.
        """
        tables = map(_blocks.as_table, self._blocks, self._names)
        blocks = list(map(_with_nan, tables, self.observed.T))
        if any(map(sparse.issparse, blocks)):
            return sparse.hstack(blocks, format="csr")
        return np.hstack(blocks)

    def column_spec(self) -> dict[str, slice]:
        """Tell where each modality lies in `to_array`.

        Returns
        -------
        dict of str to slice
            Columns by modality: a value for the estimators' ``modalities=``.

        Raises
        ------
        ValueError
            If a modality holds sequences.
        """
        tables = map(_blocks.as_table, self._blocks, self._names)
        slices = _blocks.column_slices([table.shape[1] for table in tables])
        return dict(zip(self._names, slices, strict=True))

    # Indexing

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            "iterating over Modalities is ambiguous: use X.to_dict().items() or "
            "X.blocks for the modalities, X[i:i+1] for one sample"
        )

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._blocks[self._position(key)]
        if isinstance(key, list) and key and all(isinstance(k, str) for k in key):
            return self._take_modalities(key)
        if not isinstance(key, tuple):
            return self._take_samples(key)
        if len(key) != 2:
            raise IndexError(f"Modalities have 2 axes; the index has {len(key)}")
        rows, columns = key
        taken = self if _is_everything(rows) else self._take_samples(rows)
        if _is_everything(columns):
            return taken
        if isinstance(columns, str | Integral):
            return taken._blocks[taken._position(columns)]
        return taken._take_modalities(columns)

    def _position(self, modality: Any) -> int:
        if isinstance(modality, str):
            if modality not in self._names:
                raise KeyError(
                    f"there is no modality {modality!r}; there are {list(self._names)}"
                )
            return self._names.index(modality)
        n_modalities = len(self._names)
        if not is_integer(modality) or int(modality) not in range(
            -n_modalities, n_modalities
        ):
            raise IndexError(
                f"{modality!r} is not the position of a modality; there are "
                f"{n_modalities}: {list(self._names)}"
            )
        return int(modality) % n_modalities

    def _take_samples(self, rows: Any) -> Modalities:
        if getattr(getattr(rows, "dtype", None), "kind", None) == "b":
            _row_labels.check_row_labels(self._index, rows, "mask")
        rows = _normalised_rows(rows, self.shape[0])
        taken = self._of(
            self._names,
            tuple(_blocks.take_rows(b, rows) for b in self._blocks),
            None if self._mask is None else self._mask[rows],
            None if self._index is None else self._index[rows],
        )
        if self._observed is not None:
            taken._observed = self._observed[rows]
        return taken

    def _take_modalities(self, columns: Any) -> Modalities:
        if isinstance(columns, slice):
            columns = _normalised_slice(columns, len(self._names))
            positions = list(range(len(self._names))[columns])
        else:
            is_list = isinstance(columns, list | tuple | range) or (
                getattr(columns, "ndim", 0) == 1
            )
            columns = list(columns) if is_list else [columns]
            if columns and all(map(_is_flag, columns)):
                if len(columns) != len(self._names):
                    raise IndexError(
                        f"the mask has {len(columns)} entries for {len(self._names)} "
                        "modalities"
                    )
                columns = np.flatnonzero(columns)
            positions = [self._position(c) for c in columns]
        if not positions:
            raise IndexError("the index takes no modality")
        return self._of(
            _checked_names([self._names[p] for p in positions], len(positions)),
            tuple(self._blocks[p] for p in positions),
            None if self._mask is None else self._mask[:, positions],
            self._index,
        )

    def _with_blocks(
        self, blocks: Iterable[Block], observed: np.ndarray | None = None
    ) -> Modalities:
        """Replace the blocks, and the mask, of the same samples and modalities."""
        return self._of(self._names, tuple(blocks), observed, self._index)

    def _with_labels(self, labels: Labels | None) -> Modalities:
        """Return the same data with other row labels; None leaves them as they are."""
        if labels is None:
            return self
        blocks = tuple(_row_labels.with_labels(b, labels) for b in self._blocks)
        return self._of(self._names, blocks, self._mask, labels)

    def concat(self, *others: Modalities) -> Modalities:
        """Append the samples of others that have the same modalities.

        Parameters
        ----------
        *others : Modalities
            Frames with the same names, in any order.

        Returns
        -------
        Modalities
            All samples, those of this frame first. Row labels are appended too, unless
            one of the frames has none.

        Raises
        ------
        ValueError
            If the names differ.
        TypeError
            If a modality is of another kind (dense, sparse, frame, sequences), or
            something is not Modalities.

        Examples
        --------
        >>> import numpy as np
        >>> from mmfusion import Modalities
        >>> X = Modalities({"audio": np.ones((4, 2)), "video": np.zeros((4, 3))})
        >>> X[:1].concat(X[2:]).shape
        (3, 2)
        """
        for other in others:
            if not isinstance(other, Modalities):
                raise TypeError(
                    f"others: a {type(other).__name__} cannot be concatenated to "
                    "Modalities; give Modalities(other)"
                )
            if set(other.names) != set(self.names):
                raise ValueError(
                    f"cannot concatenate modalities {list(other.names)} to "
                    f"{list(self.names)}"
                )
        parts = [self, *(other[list(self.names)] for other in others)]
        blocks = tuple(
            _blocks.concat_rows([p._blocks[v] for p in parts], name)
            for v, name in enumerate(self._names)
        )
        masks = None
        if any(p._mask is not None for p in parts):
            masks = np.concatenate([p.observed for p in parts])
        labels = _row_labels.append_labels([p._index for p in parts])
        return self._of(self._names, blocks, masks)._with_labels(labels)

    # Ways of a DataFrame that scikit-learn's tools take

    @property
    def columns(self) -> tuple[str, ...]:
        """The same as `names`."""
        return self._names

    @property
    def index(self) -> Any:
        """Row labels of the samples, a pandas Index; positions where there are none."""
        return np.arange(len(self)) if self._index is None else self._index

    @index.setter
    def index(self, labels: Any) -> None:
        """Label the rows, as permutation_importance does with a frame of its own."""
        if np.shape(labels) != (len(self),):
            raise ValueError(
                f"row labels have shape {np.shape(labels)}; there are {len(self)} "
                "samples"
            )
        if self._index is None and np.array_equal(labels, np.arange(len(self))):
            return
        relabelled = self._with_labels(_row_labels.as_labels(labels))
        self._blocks, self._index = relabelled._blocks, relabelled._index

    @property
    def iloc(self) -> _Indexer:
        """Index by position, as a DataFrame's."""
        return _Indexer(self)

    @property
    def loc(self) -> _LabelIndexer:
        """Index by row label, mask and name, as a DataFrame's.

        A slice of labels includes its end. A 2-tuple is rows and modalities: of rows
        with labels of several levels, one is ``X.loc[("ann", 1), :]``. Rows without
        labels are indexed by position.
        """
        return _LabelIndexer(self)

    def take(self, indices: Any, axis: int = 0) -> Modalities:
        """Take samples (axis 0) or modalities (axis 1) by position.

        Parameters
        ----------
        indices : array-like of int
            Positions.
        axis : {0, 1}, default=0
            0 for samples, 1 for modalities.

        Returns
        -------
        Modalities
            The samples, or modalities, at these positions.

        Raises
        ------
        IndexError
            If a position is out of range.
        ValueError
            If `axis` is neither 0 nor 1.
        """
        if not (is_integer(axis) and axis in (0, 1)):
            raise ValueError(f"axis={axis!r}; it is 0 for samples, 1 for modalities")
        return self._take_modalities(indices) if axis else self._take_samples(indices)

    def copy(self) -> Modalities:
        """Return a frame with the same blocks, whose columns can be assigned.

        Returns
        -------
        Modalities
            A shallow copy.
        """
        return self._of(self._names, self._blocks, self._mask, self._index)

    def __setitem__(self, name: str, column: Any) -> None:
        v = self._position(name)
        if not (isinstance(column, Modalities) and column.shape == (len(self), 1)):
            raise TypeError(
                "a modality can only be replaced by one taken from another frame, "
                "such as X[['audio']]; build a new Modalities for anything else"
            )
        own, new = self._index, column._index
        if own is not None and new is not None and not own.equals(new):
            differ = _row_labels.first_difference(own, new, ("X", "the column"))
            raise ValueError(
                f"the column's row labels differ from those of X: {differ}; give "
                "column.loc[X.index], or set column.index = X.index if its rows go by "
                "position"
            )
        self._index = new if own is None else own
        if self._mask is not None or column._mask is not None:
            mask = self.observed.copy()
            mask[:, v] = column.observed[:, 0]
            self._mask = mask
        blocks = list(self._blocks)
        blocks[v] = column._blocks[0]
        self._blocks, self._observed = tuple(blocks), None

    # Comparing, pickling, printing

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Modalities):
            return NotImplemented
        return (
            self._names == other._names
            and self.shape == other.shape
            and _row_labels.same_labels(self._index, other._index)
            and np.array_equal(self.observed, other.observed)
            and all(map(_blocks.equal, self._blocks, other._blocks))
        )

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> dict[str, Any]:
        # derived caches would change joblib.hash, and Pipeline(memory=) would miss
        bare = self._with_labels(_row_labels.without_caches(self._index))
        blocks = tuple(map(_blocks.without_caches, bare._blocks))
        return bare.__dict__ | {"_observed": None, "_blocks": blocks}

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Modalities do not turn into one array by themselves, since the modalities "
            "would be lost. For a tool that needs one array give X.to_array() with "
            "the estimator's modalities=X.column_spec(); for one modality X['name']; "
            "to fuse them put EarlyFusion() before the tool in a Pipeline."
        )

    def _title(self) -> str:
        n_samples, n_modalities = self.shape
        return (
            f"Modalities of {n_samples} samples x {n_modalities} modalities"
            f"{_row_labels.describe(self._index)}"
        )

    def _summary(self) -> list[tuple[str, str, str, str, int]]:
        missing = (~self.observed).sum(axis=0)
        return [
            (n, _blocks.kind(b), _blocks.shape_name(b), _blocks.dtype_name(b), int(m))
            for n, b, m in zip(self._names, self._blocks, missing, strict=True)
        ]

    def __repr__(self) -> str:
        width = max(map(len, self._names))
        lines = [self._title()]
        for name, kind, shape, dtype, missing in self._summary():
            line = f"  {name:<{width}}  {kind} {shape} {dtype}"
            lines.append(f"{line}, {missing} missing" if missing else line)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th>{h}</th>" for h in ("modality", "kind", "shape", "dtype", "missing")
        )
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>"
            for row in self._summary()
        )
        return (
            f"<table><caption>{html.escape(self._title())}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )


class _Indexer:
    """`iloc`: a column is a block only when all of its rows are asked for.

    permutation_importance reads ``iloc[rows, j]``, sets its ``index`` and assigns it
    back, which an array could not take part in; ColumnTransformer reads
    ``iloc[:, j]`` and hands it to a transformer, which needs the block.
    """

    def __init__(self, frame: Modalities) -> None:
        self._frame = frame

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) and len(key) == 2 and not _is_everything(key[0]):
            rows, columns = key
            if isinstance(columns, str | Integral):
                columns = [columns]
            return self._frame[rows, columns]
        return self._frame[key]


class _LabelIndexer(_Indexer):
    """`loc`: the rows of a frame that has row labels are found by them."""

    def __getitem__(self, key: Any) -> Any:
        rows, columns = key if isinstance(key, tuple) and len(key) == 2 else (key, ...)
        labels = self._frame._index
        if labels is not None and not (_is_everything(rows) or _is_mask(rows)):
            rows = _row_labels.label_positions(labels, rows)
        return super().__getitem__((rows, columns))


def modality_selector(*names: str) -> Callable[[Modalities], Any]:
    """Select modalities by name in a ColumnTransformer.

    scikit-learn looks names up in real DataFrames only; a callable is asked for
    positions, which work.

    Parameters
    ----------
    *names : str
        Names of modalities. With one name the transformer gets that modality's block,
        with several it gets Modalities.

    Returns
    -------
    callable
        Takes Modalities, returns the position or list of positions.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.compose import ColumnTransformer
    >>> from sklearn.decomposition import PCA
    >>> from mmfusion import Modalities, modality_selector
    >>> X = Modalities({"audio": np.eye(4), "video": np.eye(4, 3)})
    >>> reduce = ColumnTransformer([("a", PCA(2), modality_selector("audio"))])
    >>> reduce.fit_transform(X).shape
    (4, 2)
    """
    if not names:
        raise ValueError("name at least one modality")
    return _Selector(names)


class _Selector:
    """A callable that pickles, unlike a closure."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def __repr__(self) -> str:
        return f"modality_selector({', '.join(map(repr, self.names))})"

    def __call__(self, X: Modalities) -> int | list[int]:
        positions = [X._position(name) for name in self.names]
        return positions[0] if len(positions) == 1 else positions


def _read(data: Any) -> tuple[list[Any], list[str] | None]:
    """Take apart what the user gave: blocks, and names if the data have them."""
    if isinstance(data, Modalities):
        return list(data.blocks), list(data.names)
    if isinstance(data, Mapping) and not sparse.issparse(data):  # dok_array is a dict
        return list(data.values()), list(data)
    if _blocks.is_frame(data):
        spec = multi_index_spec(data)
        if spec is not None:
            return [
                _blocks.take_columns(data, c).droplevel(0, axis=1)
                for c in spec.values()
            ], list(spec)
    if isinstance(data, list | tuple):
        return list(data), None
    raise TypeError(
        f"a {type(data).__name__} is not data by modality; give a list or dict of "
        "arrays, Modalities([X]) for one modality, or "
        "Modalities.from_table(X, modalities=...) to split a table by columns"
    )


def _checked_names(names: Iterable[Any], n_modalities: int) -> tuple[str, ...]:
    has_order = isinstance(names, Iterable) and getattr(names, "ndim", 1) == 1
    if not has_order or isinstance(names, str | bytes | Set | Mapping):
        raise TypeError(
            f"names is a {type(names).__name__}; give a list of str, one per modality"
        )
    names = tuple(names)
    if len(names) != n_modalities:
        raise ValueError(f"{len(names)} names for {n_modalities} modalities")
    for name in names:
        if not isinstance(name, str) or not name or SEPARATOR in name:
            raise ValueError(
                f"{name!r} cannot name a modality: names of modalities are non-empty "
                f"strings without {SEPARATOR!r}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"names of modalities repeat: {list(names)}")
    return tuple(map(str.__str__, names))  # joblib hashes numpy's strings differently


def _checked_blocks(given: list[Any], names: tuple[str, ...]) -> tuple[Block, ...]:
    blocks = [
        None if data is None else _blocks.as_block(data, name)
        for data, name in zip(given, names, strict=True)
    ]
    counts = {
        n: b.shape[0] for n, b in zip(names, blocks, strict=True) if b is not None
    }
    if not counts:
        raise ValueError("every modality is None; give the data of at least one")
    if len(set(counts.values())) > 1:
        has_labels = any(labels_of(data) is not None for data in given)
        hint = (
            ", or align DataFrames by label with Modalities.from_frames(frames, "
            "join='outer')"
            if has_labels
            else ""
        )
        listed = ", ".join(f"{name!r} has {count}" for name, count in counts.items())
        raise ValueError(
            f"modalities disagree on the number of samples: {listed}. Every modality "
            "needs one row per sample; put None or a row of NaN where one is missing"
            f"{hint}"
        )
    absent = np.full(next(iter(counts.values())), None, dtype=object)
    return tuple(absent if b is None else b for b in blocks)


def _shared_labels(given: list[Any], names: tuple[str, ...]) -> Labels | None:
    """Return the row labels of what was given by pandas; refuse labels that differ."""
    labels = dict(zip(names, map(labels_of, given), strict=True))
    return _row_labels.common_labels(
        {name: own for name, own in labels.items() if own is not None}
    )


def _check_labelled(frame: Any, name: str) -> None:
    if labels_of(frame) is None:
        library = type(frame).__module__.partition(".")[0]
        raise TypeError(
            f"modality {name!r} is a {library} {type(frame).__name__}, which has no "
            "row labels to align by; give a pandas DataFrame whose index identifies "
            "the samples"
        )
    if frame.ndim == 1 and frame.dtype != object:
        raise TypeError(
            f"modality {name!r} is a Series of {frame.dtype}; give a DataFrame, such "
            "as series.to_frame()"
        )


def _aligned_rows(frame: Any, rows: np.ndarray) -> Any:
    """Take rows of a DataFrame, or of a Series of sequences; missing ones are -1."""
    found = rows >= 0
    if found.all():
        return frame.iloc[rows]  # keeps the dtypes
    numbered = frame.reset_index(drop=True)
    aligned = numbered.reindex(rows)
    return aligned if frame.ndim == 2 else aligned.where(found, None)


def _checked_mask(observed: Any, frame: Modalities) -> np.ndarray | None:
    if observed is None:
        return None
    _row_labels.check_row_labels(frame._index, observed, "observed")
    columns = getattr(observed, "columns", None)
    if columns is not None and tuple(columns) != frame.names:
        raise ValueError(
            f"observed has the columns {list(columns)}; the modalities are "
            f"{list(frame.names)}, in that order"
        )
    if isinstance(observed, np.ma.MaskedArray):
        raise ValueError("observed is a masked array; give observed.filled(False)")
    mask = _as_array(observed, "observed")
    if mask.shape != frame.shape or mask.dtype != bool:
        raise ValueError(
            f"observed is bool of shape (n_samples, n_modalities) = {frame.shape}; got "
            f"{mask.dtype} of shape {mask.shape}"
        )
    return mask


def _with_nan(table: Any, present: np.ndarray) -> Any:
    if present.all():
        return table
    nan = np.float32(np.nan)
    if sparse.issparse(table):
        lacking = sparse.csr_array(np.where(present, np.float32(0), nan)[:, None])
        return table + lacking @ sparse.csr_array(np.ones((1, table.shape[1]), "f4"))
    return np.where(present[:, None], table, np.array(nan))


def _is_mask(key: Any) -> bool:
    """Whether a key is a mask by position, not a pandas Series with labels."""
    if isinstance(key, np.ndarray):
        return key.dtype == bool
    return isinstance(key, list) and len(key) > 0 and all(map(_is_flag, key))


def _is_everything(key: Any) -> bool:
    return key is Ellipsis or (isinstance(key, slice) and key == slice(None))


def _normalised_rows(rows: Any, n_samples: int) -> slice | np.ndarray:
    """Turn any row index into a slice or non-negative positions."""
    if isinstance(rows, slice):
        return _normalised_slice(rows, n_samples)
    if is_integer(rows):
        rows = [int(rows)]
    if isinstance(rows, range):
        rows = list(rows)
    if isinstance(rows, list) and len({_is_flag(row) for row in rows}) > 1:
        raise IndexError("the index of samples mixes positions with True and False")
    if isinstance(rows, np.ma.MaskedArray) and np.ma.is_masked(rows):
        raise IndexError("the index of samples is a masked array with masked rows")
    try:
        positions = _as_array(rows, "the index of samples")
    except (TypeError, ValueError) as error:
        raise IndexError(str(error)) from error
    if positions.size == 0 and positions.ndim == 1 and positions.dtype != bool:
        return np.empty(0, dtype=np.intp)
    if positions.dtype == object and all(is_integer(r) for r in positions.flat):
        outside = np.array([max(positions.flat, key=abs)])  # beyond 64 bits
    elif positions.ndim != 1 or positions.dtype.kind not in "bui":
        raise IndexError(
            "index samples by integers, a boolean mask or a slice, modalities by "
            "name, and row labels by X.loc"
        )
    elif positions.dtype == bool:
        if len(positions) != n_samples:
            raise IndexError(
                f"the mask has {len(positions)} entries for {n_samples} samples"
            )
        return np.flatnonzero(positions)
    else:
        outside = positions[(positions < -n_samples) | (positions >= n_samples)]
    if outside.size:
        raise IndexError(f"sample {outside[0]} is out of range for {n_samples} samples")
    positions = positions.astype(np.intp)  # small dtypes could not hold what is added
    return np.where(positions < 0, positions + n_samples, positions)


def _as_array(data: Any, what: str) -> np.ndarray:
    plain = _blocks.as_plain(data, what)
    try:
        return np.asarray(plain)
    except (TypeError, ValueError, RuntimeError) as error:  # of tensors in lists
        raise ValueError(f"{what} is no array: {error}") from error


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _normalised_slice(rows: slice, size: int) -> slice:
    """Bring a slice of positions into the bounds of an axis."""
    try:
        start, stop, step = rows.indices(size)
    except (TypeError, ValueError) as error:
        raise IndexError(
            f"{rows} is no slice of positions ({error}); X.loc takes row labels"
        ) from error
    if start < 0:  # a step back from before the first
        return slice(0, 0)
    step = min(max(step, -size - 1), size + 1)  # pandas overflows beyond 64 bits
    return slice(start, None if stop < 0 else stop, step)
