"""`Modalities`: a frame with samples as rows and modalities as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from scipy import sparse

from mmfusion import _blocks, _row_labels
from mmfusion._annotated import (
    AnnotatedBlocks,
    are_anndata,
    is_anndata,
    is_mudata,
    read_anndata,
    read_anndatas,
    read_mudata,
    to_anndata,
    to_mudata,
)
from mmfusion._blocks import Block
from mmfusion._columns import default_names
from mmfusion._construction import (
    align_frames,
    check_blocks,
    check_mask,
    check_names,
    joined_names,
    names_of_frames,
    read_blocks,
    shared_row_labels,
    split_table,
)
from mmfusion._dask_arrays import is_dask_array
from mmfusion._indexing import (
    LabelIndexer,
    PositionIndexer,
    modality_position,
    modality_positions,
    row_positions,
    selects_all,
)
from mmfusion._modalities_summary import describe_blocks, summary_html
from mmfusion._numbers import is_integer
from mmfusion._row_labels import JOINS, Labels
from mmfusion._typing import BlockLike, ColumnSpecLike, ModalitiesLike

__all__ = ["Modalities", "modality_selector"]


class Modalities:
    """Multimodal data as a frame: rows are samples, columns are modalities.

    scikit-learn's splitters, searches, pipelines and meta-estimators work with it
    unmodified: its ``shape`` is (n_samples, n_modalities), and indexing selects the
    same rows of every modality.

    It is immutable by convention: neither its methods nor estimators change it.
    (A column can be assigned only because `permutation_importance` permutes the
    columns of its own copy.)

    Parameters
    ----------
    data : list, dict, DataFrame, Modalities, AnnData or MuData
        One block per modality, each with one row per sample. The keys of a dict are the
        names; a pandas DataFrame needs a MultiIndex of columns whose first level is the
        modality (see :meth:`from_table` for other tables). An AnnData is one modality,
        its ``X`` (see :meth:`from_anndata`); the modalities of a MuData (see
        :meth:`from_mudata`), or the AnnData of every modality, are matched by the names
        of observations. Another block is a dense array of any dtype with at least 2
        dimensions (memmaps are not read into memory), a dask array of numbers (not
        computed), a scipy sparse matrix (converted to CSR), a pandas or polars
        DataFrame, a torch tensor (converted to an array), a list with one sequence of
        shape (n_frames, n_features) or None per sample (DataFrames with the same
        columns in all of them name the features), or None if every sample lacks the
        modality.
    names : list of str, default=None
        Names of the modalities of a list, or of the one of an AnnData;
        ``modality_0``, ``modality_1``, ... by default. Names contain no ``__``.
    observed : array-like of bool of shape (n_samples, n_modalities), default=None
        Mask that is False where a sample lacks a modality. A sample also lacks a
        modality if its row is all NaN or its sequence is None.

    Attributes
    ----------
    names : tuple of str
        Names of the modalities.
    blocks : tuple
        The block of each modality.
    shape : tuple of int
        (n_samples, n_modalities).
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality.
    index : pandas Index or ndarray of int of shape (n_samples,)
        Row labels of the samples if a modality was given as a pandas object, or names
        of observations; their positions otherwise.

    Raises
    ------
    ValueError
        If modalities have different numbers of samples or row labels, names are
        invalid, or sequences of a modality have different columns.
    TypeError
        If `data` is one 2-D array or a table without column groups.

    See Also
    --------
    Modalities.from_frames : Aligns DataFrames by their row labels.
    modality_selector : Selects a modality by name in a ColumnTransformer.

    Notes
    -----
    Slices of samples are views; other indices copy the selected rows only. The mask
    `observed` does not change the blocks. Dask arrays are computed when `observed` is
    read, and by `to_array`; displaying a frame counts the missing samples of its mask.

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

    # names of the features of modalities that are not DataFrames, by modality
    _features: Mapping[str, list[str]] = MappingProxyType({})

    def __init__(
        self,
        data: ModalitiesLike,
        names: Sequence[str] | None = None,
        *,
        observed: ArrayLike | None = None,
    ) -> None:
        if is_unnamed := is_anndata(data):
            data = self.from_anndata(data)
        elif is_mudata(data):
            data = self.from_mudata(data)
        elif are_anndata(data):
            is_unnamed = not isinstance(data, Mapping)
            data = self._of_annotated(read_anndatas(data))
        blocks, own_names = (
            (list(data.blocks), list(data.names))
            if isinstance(data, Modalities)
            else read_blocks(data)
        )
        if names is not None and own_names is not None and not is_unnamed:
            raise ValueError("names are those of the dict, frame or Modalities given")
        if not blocks:
            raise ValueError("there is no modality: data is empty")
        if names is None:
            names = own_names or default_names(len(blocks))
        self._names = check_names(names, len(blocks))
        self._blocks = check_blocks(blocks, self._names)
        self._features = names_of_frames(blocks, self._names)
        self._index = shared_row_labels(blocks, self._names)
        if isinstance(data, Modalities):
            self._index = data._index
            renamed = dict(zip(data.names, self._names, strict=True))
            self._features = {renamed[n]: own for n, own in data._features.items()}
        self._mask = check_mask(observed, self._names, len(self), self._index)
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
        features: Mapping[str, list[str]] | None = None,
    ) -> Modalities:
        """Build an instance from consistent attributes, without checks."""
        new = cls.__new__(cls)
        new._names, new._blocks, new._mask, new._observed = names, blocks, mask, None
        new._index = index
        if features:
            new._features = {n: own for n, own in features.items() if n in names}
        return new

    @classmethod
    def from_table(
        cls, table: BlockLike, modalities: ColumnSpecLike = None
    ) -> Modalities:
        """Split one table into modalities.

        Parameters
        ----------
        table : array, sparse matrix or DataFrame of shape (n_samples, n_features)
            The table.
        modalities : int, list of int, str or dict, default=None
            Column spec: the number of modalities of equal width, a list of widths,
            the separator of modality and feature in column names (with ``"__"``,
            ``audio__f0`` is feature f0 of audio), or a dict of columns by modality.
            By default all columns are one modality.

        Returns
        -------
        Modalities
            The data by modality.

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
        return cls(split_table(table, modalities))

    @classmethod
    def from_frames(
        cls,
        frames: Mapping[str, Any] | Sequence[Any],
        join: str = "exact",
    ) -> Modalities:
        """Align pandas DataFrames by their row labels.

        Samples are in the order in which their labels first occur: those of the first
        frame, then those that occur only in later frames.

        Parameters
        ----------
        frames : dict or list of pandas DataFrame
            DataFrame of each modality, or a Series of sequences with one array of
            shape (n_frames, n_features) per sample. Row labels identify samples; they
            may be of any type and have several levels.
        join : {'exact', 'inner', 'outer'}, default='exact'
            'exact' requires the same labels, in any order, in all frames. 'inner'
            selects the samples of all frames. 'outer' selects the samples of any
            frame; a sample without a row in a frame lacks that modality.

        Returns
        -------
        Modalities
            The aligned data, with the labels as `index`. Dtypes of columns change only
            where rows are missing and the dtype has no missing value.

        Raises
        ------
        ValueError
            If labels repeat or are missing, a frame shares no label with another one,
            or, for 'exact', a frame lacks a label.
        TypeError
            If an entry is not a pandas DataFrame.

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
            raise ValueError(f"join={join!r}; it must be one of {list(JOINS)}")
        if isinstance(frames, list | tuple):
            frames = dict(zip(default_names(len(frames)), frames, strict=True))
        if not isinstance(frames, Mapping) or sparse.issparse(frames):
            raise TypeError(
                f"frames is a {type(frames).__name__}; give a dict or list of pandas "
                "DataFrames"
            )
        if not frames:
            raise ValueError("there is no modality: frames is empty")
        aligned, observed = align_frames(frames, join)
        return cls(aligned, observed=observed)

    @classmethod
    def from_anndata(
        cls,
        adata: Any,
        layers: str | Sequence[str] | Mapping[str, str] | None = None,
        obsm: str | Sequence[str] | Mapping[str, str] | None = None,
    ) -> Modalities:
        """Select matrices of an AnnData as modalities.

        Parameters
        ----------
        adata : AnnData
            The data. ``adata.obs_names`` are the row labels, and ``adata.var_names``
            the names of features.
        layers : str, list of str, or dict of str to str, default=None
            Layers: keys, or keys by name of the modality. 'X' is ``adata.X``, unless a
            layer has that name. None selects 'X' alone if `obsm` is None, too.
        obsm : str, list of str, or dict of str to str, default=None
            Keys of ``adata.obsm``, or keys by name of the modality.

        Returns
        -------
        Modalities
            The modalities: dense arrays as DataFrames, sparse ones as CSR.

        Raises
        ------
        TypeError
            If `adata` is not an AnnData, or a key is not text.
        ValueError
            If there is no such matrix, or it is not in memory.

        Examples
        --------
        >>> import numpy as np
        >>> from anndata import AnnData
        >>> from mmfusion import Modalities
        >>> cells = AnnData(np.eye(4), obsm={"protein": np.ones((4, 2))})
        >>> Modalities.from_anndata(cells, {"rna": "X"}, obsm=["protein"])
        Modalities of 4 samples x 2 modalities, labelled '0' to '3'
          rna      frame (4, 4) float64
          protein  dense (4, 2) float64
        """
        return cls._of_annotated(read_anndata(adata, layers, obsm))

    @classmethod
    def from_mudata(
        cls,
        mdata: Any,
        layers: str | Mapping[str, str] | None = None,
        obsm: str | Mapping[str, str] | None = None,
    ) -> Modalities:
        """Match the modalities of a MuData by the names of observations.

        The samples are the observations of the MuData in the order of
        ``mdata.obs_names``, which are the row labels. An observation that is not in a
        modality lacks it.

        Parameters
        ----------
        mdata : MuData
            The data.
        layers : str, or dict of str to str, default=None
            Layer of all modalities, or layers by modality. Modalities without one are
            their ``X``.
        obsm : str, or dict of str to str, default=None
            Key of ``obsm`` of all modalities, or keys by modality.

        Returns
        -------
        Modalities
            The modalities: dense arrays as DataFrames, sparse ones as CSR.

        Raises
        ------
        TypeError
            If `mdata` is not a MuData, or a key is not text.
        ValueError
            If names of observations repeat or were changed without ``mdata.update()``,
            there is no such matrix, or it is not in memory.

        Examples
        --------
        >>> from anndata import AnnData
        >>> from mmfusion import Modalities
        >>> from mudata import MuData, set_options
        >>> import pandas as pd
        >>> rna = AnnData(pd.DataFrame({"g1": [0.0, 1, 2]}, index=["a", "b", "c"]))
        >>> atac = AnnData(pd.DataFrame({"p1": [3.0, 4], "p2": 5.0}, index=["c", "a"]))
        >>> with set_options(pull_on_update=False):
        ...     mdata = MuData({"rna": rna, "atac": atac})
        >>> Modalities.from_mudata(mdata)
        Modalities of 3 samples x 2 modalities, labelled 'a' to 'c'
          rna   frame (3, 1) float64
          atac  frame (3, 2) float64, 1 missing
        """
        return cls._of_annotated(read_mudata(mdata, layers, obsm))

    @classmethod
    def _of_annotated(cls, read: AnnotatedBlocks) -> Modalities:
        frame = cls(read.blocks, observed=read.observed)
        frame._features = read.features or frame._features
        return frame._with_labels(read.labels)

    # Attributes and conversions

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities, as a tuple of str."""
        return self._names

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks of the modalities, in the order of `names`."""
        return self._blocks

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of samples and modalities, as a tuple of int."""
        return self._blocks[0].shape[0], len(self._blocks)

    @property
    def ndim(self) -> int:
        """Number of axes, which is 2: samples and modalities."""
        return 2

    @property
    def observed(self) -> np.ndarray:
        """Mask of shape (n_samples, n_modalities), True for observed modalities."""
        if self._observed is None:
            observed = np.column_stack([_blocks.observed_rows(b) for b in self._blocks])
            if self._mask is not None:
                observed &= self._mask
            observed.flags.writeable = False  # all callers get the same array
            self._observed = observed
        return self._observed

    def _observed_without_computing(self) -> np.ndarray:
        """Return the mask; what is missing from arrays of dask may not be known."""
        if not any(map(is_dask_array, self._blocks)) or self._observed is not None:
            return self.observed
        return np.ones(self.shape, dtype=bool) if self._mask is None else self._mask

    def to_dict(self) -> dict[str, Block]:
        """Return the blocks by name.

        Returns
        -------
        dict of str to block
            The blocks themselves, not copies.
        """
        return dict(zip(self._names, self._blocks, strict=True))

    def to_anndata(self) -> Any:
        """Write the one modality to an AnnData.

        Returns
        -------
        AnnData
            The samples that have the modality, with their labels, as text, as
            ``obs_names``, and the names of features as ``var_names``.

        Raises
        ------
        TypeError
            If the modality holds anything but numbers.
        ValueError
            If there are several modalities, the modality holds sequences, or row
            labels repeat.
        ImportError
            If anndata is not installed.
        """
        if len(self._names) > 1:
            raise ValueError(
                f"an AnnData holds one modality, not {list(self._names)}; select one, "
                f"X[[{self._names[0]!r}]].to_anndata(), or give X.to_mudata()"
            )
        return to_anndata(self, self._names[0])

    def to_mudata(self) -> Any:
        """Write the modalities to a MuData.

        Returns
        -------
        MuData
            The modalities, each with the samples that have it. Row labels, as text,
            are ``obs_names``, and names of features ``var_names``.

        Raises
        ------
        TypeError
            If a modality holds anything but numbers.
        ValueError
            If a modality holds sequences, row labels repeat, or a sample lacks every
            modality.
        ImportError
            If mudata is not installed.
        """
        return to_mudata(self)

    def _feature_names(self, name: str) -> list[str] | None:
        """Return the names of the features of a modality; None if it has none."""
        return _blocks.column_names(self[name]) or self._features.get(name)

    def to_array(self) -> Any:
        """Concatenate the features of all modalities, for tools that need one array.

        An estimator given ``modalities=X.column_spec()`` splits the array again.

        Returns
        -------
        ndarray or CSR matrix of shape (n_samples, n_features)
            Dense array, or sparse matrix if a modality is sparse. Rows of missing
            modalities are NaN.

        Raises
        ------
        ValueError
            If a modality holds sequences.
        """
        tables = map(_blocks.as_table, self._blocks, self._names)
        blocks = list(map(_blocks.with_nan, tables, self.observed.T))
        if any(map(sparse.issparse, blocks)):
            return sparse.hstack(blocks, format="csr")
        return np.hstack(blocks)

    def column_spec(self) -> dict[str, slice]:
        """Return the columns of each modality in the result of `to_array`.

        Returns
        -------
        dict of str to slice
            Columns by modality, a value for the parameter ``modalities`` of
            estimators.

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
        # without this method, Python would iterate by X[0], X[1], ...
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
        selected = self if selects_all(rows) else self._take_samples(rows)
        if selects_all(columns):
            return selected
        if isinstance(columns, str | Integral):
            return selected._blocks[selected._position(columns)]
        return selected._take_modalities(columns)

    def _position(self, modality: Any) -> int:
        """Return the position of a modality, given by name or position."""
        return modality_position(modality, self._names)

    def _take_samples(self, rows: Any) -> Modalities:
        # a mask with labels, such as y == 1, may be in another order
        if getattr(getattr(rows, "dtype", None), "kind", None) == "b":
            _row_labels.check_row_labels(self._index, rows, "mask")
        rows = row_positions(rows, self.shape[0])
        selected = self._of(
            self._names,
            tuple(_blocks.take_rows(b, rows) for b in self._blocks),
            None if self._mask is None else self._mask[rows],
            None if self._index is None else self._index[rows],
            self._features,
        )
        if self._observed is not None:  # spares another search of the blocks for NaN
            selected._observed = self._observed[rows]
        return selected

    def _take_modalities(self, columns: Any) -> Modalities:
        positions = modality_positions(columns, self._names)
        return self._of(
            tuple(self._names[p] for p in positions),
            tuple(self._blocks[p] for p in positions),
            None if self._mask is None else self._mask[:, positions],
            self._index,
            self._features,
        )

    def _with_blocks(
        self, blocks: Iterable[Block], observed: np.ndarray | None = None
    ) -> Modalities:
        """Return the same samples and modalities with other blocks and mask."""
        return self._of(self._names, tuple(blocks), observed, self._index)

    def _with_labels(self, labels: Labels | None) -> Modalities:
        """Return the same data with other row labels, unless they are None."""
        if labels is None:
            return self
        blocks = tuple(_row_labels.with_labels(b, labels) for b in self._blocks)
        return self._of(self._names, blocks, self._mask, labels, self._features)

    def concat(self, *others: Modalities) -> Modalities:
        """Append the samples of other frames with the same modalities.

        Parameters
        ----------
        *others : Modalities
            Data with the same names, in any order.

        Returns
        -------
        Modalities
            All samples, those of this frame first, with their row labels unless a
            frame has none.

        Raises
        ------
        ValueError
            If the names differ, of modalities or of features.
        TypeError
            If a modality differs in kind (dense, sparse, frame, sequences), or
            another frame is not `Modalities`.

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
        frames = [self, *(other[list(self.names)] for other in others)]
        blocks = tuple(
            _blocks.concat_rows([frame._blocks[v] for frame in frames], name)
            for v, name in enumerate(self._names)
        )
        mask = None
        if any(frame._mask is not None for frame in frames):
            mask = np.concatenate([frame.observed for frame in frames])
        labels = _row_labels.append_labels([frame._index for frame in frames])
        features = joined_names([frame._features for frame in frames])
        joined = self._of(self._names, blocks, mask, features=features)
        return joined._with_labels(labels)

    # The interface of a DataFrame that scikit-learn's tools use

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the modalities, as `names`."""
        return self._names

    @property
    def index(self) -> Any:
        """Row labels of the samples as a pandas Index, or else their positions."""
        return np.arange(len(self)) if self._index is None else self._index

    @index.setter
    def index(self, labels: ArrayLike) -> None:
        """Set the row labels, as permutation_importance does in its own copy."""
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
    def iloc(self) -> PositionIndexer:
        """Index by position, as ``iloc`` of a DataFrame."""
        return PositionIndexer(self)

    @property
    def loc(self) -> LabelIndexer:
        """Index by row label, mask and name, as ``loc`` of a DataFrame.

        A slice of labels includes its end. A 2-tuple is rows and modalities: a row
        whose label has two levels is ``X.loc[("ann", 1), :]``. Rows without labels are
        indexed by position.
        """
        return LabelIndexer(self)

    def take(self, indices: ArrayLike, axis: int = 0) -> Modalities:
        """Select samples (axis 0) or modalities (axis 1) by position.

        Parameters
        ----------
        indices : array-like of int
            Positions to select.
        axis : {0, 1}, default=0
            Axis of the positions: 0 for samples, 1 for modalities.

        Returns
        -------
        Modalities
            The selected samples or modalities.

        Raises
        ------
        IndexError
            If a position is out of range.
        ValueError
            If `axis` is neither 0 nor 1.
        """
        if not (is_integer(axis) and axis in (0, 1)):
            raise ValueError(f"axis={axis!r}; give 0 for samples, 1 for modalities")
        return self._take_modalities(indices) if axis else self._take_samples(indices)

    def head(self, n: int = 5) -> Modalities:
        """Select the first samples.

        Parameters
        ----------
        n : int, default=5
            Number of samples; of a negative number, all but the last ones.

        Returns
        -------
        Modalities
            The selected samples.

        Raises
        ------
        TypeError
            If `n` is not an integer.

        Examples
        --------
        >>> import numpy as np
        >>> from mmfusion import Modalities
        >>> Modalities({"audio": np.ones((40, 2))}).head(3).shape
        (3, 1)
        """
        if not is_integer(n):
            raise TypeError(f"n is {n!r}; give a number of samples")
        return self._take_samples(slice(int(n)))

    def describe(self) -> Any:
        """Describe the modalities by numbers.

        All values are read, by pieces where they are in a file or of dask.

        Returns
        -------
        pandas DataFrame
            A row for each modality with the columns ``kind``, ``n_features`` (of a
            sample, or of a frame of a sequence), ``dtype``, ``n_missing`` and
            ``missing_share`` (samples that lack the modality), ``nan_share`` (NaN among
            the values of the other samples), ``min`` and ``max`` (NaN for text),
            ``min_length``, ``median_length`` and ``max_length`` (of sequences), and
            ``memory_mb`` (of the values, in memory or in a file).

        Raises
        ------
        ImportError
            If pandas is not installed.

        See Also
        --------
        mmfusion.plotting.MissingModalitiesDisplay : Draws what is missing.

        Examples
        --------
        >>> import numpy as np
        >>> from mmfusion import Modalities
        >>> video = [np.zeros((3, 4)), None, np.ones((7, 4))]
        >>> X = Modalities({"audio": np.eye(3), "video": video})
        >>> X.describe()[["kind", "n_features", "n_missing", "max", "max_length"]]
                       kind  n_features  n_missing  max  max_length
        modality
        audio         dense           3          0  1.0         NaN
        video     sequences           4          1  1.0         7.0
        """
        return describe_blocks(self._names, self._blocks, self.observed)

    def copy(self) -> Modalities:
        """Return a shallow copy, whose columns can be assigned.

        Returns
        -------
        Modalities
            A frame with the same blocks.
        """
        return self._of(
            self._names, self._blocks, self._mask, self._index, self._features
        )

    def __setitem__(self, name: str, column: object) -> None:
        v = self._position(name)
        if not (isinstance(column, Modalities) and column.shape == (len(self), 1)):
            raise TypeError(
                "a modality can only be replaced by one selected from another frame, "
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
        # blocks are replaced, not changed: copies of the frame share them
        blocks = list(self._blocks)
        blocks[v] = column._blocks[0]
        self._blocks, self._observed = tuple(blocks), None

    # Comparison, pickling and display

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Modalities):
            return NotImplemented
        return (
            self._names == other._names
            and self.shape == other.shape
            and _row_labels.same_labels(self._index, other._index)
            and dict(self._features) == dict(other._features)
            and np.array_equal(self.observed, other.observed)
            and all(map(_blocks.equal, self._blocks, other._blocks))
        )

    # equality compares values, so that a hash would have to read all of them
    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> dict[str, Any]:
        # derived caches would change joblib.hash, and Pipeline(memory=) would miss
        bare = self._with_labels(_row_labels.labels_without_caches(self._index))
        blocks = tuple(map(_blocks.without_caches, bare._blocks))
        return bare.__dict__ | {"_observed": None, "_blocks": blocks}

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> np.ndarray:
        # NumPy would otherwise create an array of one object
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
            f"{_row_labels.label_range(self._index)}"
        )

    def _summary(self) -> list[tuple[str, str, str, str, int]]:
        missing = (~self._observed_without_computing()).sum(axis=0)
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
        observed = self._observed_without_computing()
        return summary_html(self._title(), self._summary(), self._blocks, observed)


def modality_selector(*names: str) -> Callable[[Modalities], Any]:
    """Select modalities by name in a ColumnTransformer.

    ColumnTransformer accepts names for DataFrames only, but also a callable that
    returns positions.

    Parameters
    ----------
    *names : str
        Names of modalities. With one name the transformer receives the block of that
        modality, with several names `Modalities`.

    Returns
    -------
    callable
        Function of `Modalities` that returns a position or a list of positions.

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
    """Select modalities by name; unlike a closure it can be pickled."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def __repr__(self) -> str:
        return f"modality_selector({', '.join(map(repr, self.names))})"

    def __call__(self, X: Modalities) -> int | list[int]:
        positions = [X._position(name) for name in self.names]
        return positions[0] if len(positions) == 1 else positions
