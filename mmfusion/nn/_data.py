"""Data of a network, read in whole batches by index instead of sample by sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from mmfusion import _pieces
from mmfusion._scaling import Scaling
from mmfusion._scaling_choice import fit_scalings
from mmfusion._typing import DeviceLike
from mmfusion.nn._isolation import drawing
from mmfusion.nn._sequence_data import N_MARKS, all_frames, typical_span

# data up to this size are prepared once and stay on the device
RESIDENT_BYTES = 2**28
# scalings are fitted on at most this many samples, so that data need not fit memory
SCALING_FIT_ROWS = 10_000
# pages of memory-mapped files are released after this much was read
RELEASE_INTERVAL_BYTES = 2**24
# pages that reading one row of a memory-mapped file may load, with read-ahead
MAPPED_BYTES_PER_ROW = 2**18
# resident data are prepared in chunks of this size
PREPARE_CHUNK_ROWS = 10_000
# data are hashed in chunks of this size
DIGEST_CHUNK_CELLS = 2**21


class Targets(NamedTuple):
    """Targets of some samples, which a predictor learns.

    Parameters
    ----------
    values : tensor of int of shape (m,), or of shape (m, n_outputs)
        Positions of classes, or values.
    weights : tensor of shape (m,)
        Weights of the samples.
    """

    values: Tensor
    weights: Tensor


class Batch(NamedTuple):
    """The same samples of every modality.

    Parameters
    ----------
    inputs : list of tensor of shape (m, ...)
        Samples of each modality; zeros where a modality is missing.
    observed : tensor of bool of shape (m, V) or None
        Whether each sample has each modality; None for complete samples.
    targets : Targets or None, default=None
        Targets of the samples, in the training of a predictor.
    """

    inputs: list[Tensor]
    observed: Tensor | None
    targets: Targets | None = None


def refuse_loader(X: object) -> None:
    """Raise an error for data that cannot be read by index.

    Parameters
    ----------
    X : object
        The data of a deep estimator.

    Raises
    ------
    TypeError
        If it is a DataLoader, or a Dataset without a length.
    """
    if isinstance(X, DataLoader):
        raise TypeError(
            "X is a DataLoader, and batches are made in the training: give its "
            "dataset, X.dataset, and the size of batches as trainer__batch_size"
        )
    if isinstance(X, IterableDataset):
        raise TypeError(
            f"X is a {type(X).__name__}, an IterableDataset, whose samples cannot be "
            "read in another order: give a Dataset with __getitem__ and __len__, or "
            "arrays"
        )


class Rows:
    """Access by index to blocks in memory or in files, or to a torch Dataset.

    Parameters
    ----------
    blocks : sequence of ndarray or CSR matrix, or Dataset
        Block of each modality; or a map-style dataset whose items are tuples with one
        array per modality, or dicts of arrays by name.
    observed : ndarray of bool of shape (n_samples, n_modalities), default=None
        Whether each sample has each modality; None for complete samples.
    """

    def __init__(
        self, blocks: Sequence[Any] | Dataset, observed: np.ndarray | None = None
    ) -> None:
        self.blocks = blocks
        self.observed = None if observed is None or observed.all() else observed
        self.names: Sequence[str] = ()
        self._unreleased_bytes = 0

    def __len__(self) -> int:
        if isinstance(self.blocks, Dataset):
            return len(self.blocks)  # type: ignore[arg-type]
        return int(self.blocks[0].shape[0])

    @property
    def dtype(self) -> np.dtype:
        """Common type of the blocks; float32 for a Dataset, whose type is unknown."""
        if isinstance(self.blocks, Dataset):
            return np.dtype(np.float32)
        return np.result_type(*(block.dtype for block in self.blocks))

    def first(self) -> list[np.ndarray] | dict[str, np.ndarray]:
        """Return the first sample of a Dataset as blocks of one row; store names."""
        if len(self) == 0:
            raise ValueError("the Dataset has 0 samples")
        with drawing():
            item = self.blocks[0]
        is_named = isinstance(item, Mapping)
        by_key = dict(item) if is_named else dict(enumerate(item))
        for key, value in by_key.items():
            _refuse_target(key, value)
        if is_named:
            self.names = list(item)
            return {name: _stacked([own], [0], name) for name, own in item.items()}
        return [_stacked([own], [0], v) for v, own in enumerate(item)]

    def subset(self, positions: np.ndarray) -> Rows:
        """Return some of the samples, by their positions."""
        if isinstance(self.blocks, Dataset):
            rows = Rows(Subset(self.blocks, positions.tolist()))
            rows.names = self.names
            return rows
        observed = None if self.observed is None else self.observed[positions]
        return Rows(self.take(positions), observed)

    def reorder(self, names: Sequence[str]) -> None:
        """Set the order of the modalities of a Dataset whose items are dicts."""
        if set(names) == set(self.names):
            self.names = names

    def take(self, rows: slice | np.ndarray) -> list[Any]:
        """Read samples.

        Parameters
        ----------
        rows : slice or ndarray of int
            Positions of the samples.

        Returns
        -------
        list of ndarray or CSR matrix
            The samples in each modality; a slice of an array is a view.
        """
        if isinstance(self.blocks, Dataset):
            return _stacked_items(self.blocks, rows, self.names)
        mapped = [_pieces.is_mapped(block) for block in self.blocks]
        if not isinstance(rows, slice):
            return [
                _take_mapped(block, rows) if m else block[rows]
                for block, m in zip(self.blocks, mapped, strict=True)
            ]
        taken = [block[rows] for block in self.blocks]
        self._unreleased_bytes += sum(
            t.nbytes for t, m in zip(taken, mapped, strict=True) if m
        )
        if self._unreleased_bytes > RELEASE_INTERVAL_BYTES:
            self._unreleased_bytes = 0
            for block in self.blocks:
                _pieces.release_pages(block)
        return taken


def _refuse_target(key: object, value: object) -> None:
    """Raise an error for an entry of an item that is no array, such as a label."""
    if isinstance(value, Mapping | tuple | list) or np.ndim(_as_array(value)) == 0:
        raise ValueError(
            f"entry {key!r} of the first item of the Dataset is a "
            f"{type(value).__name__} without features: an item is a tuple or dict "
            "with one array for each modality, and has no labels"
        )


def _take_mapped(block: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Read rows of a memory-mapped file, releasing its pages at intervals."""
    taken = np.empty((len(rows), *block.shape[1:]), block.dtype)
    size = max(1, RELEASE_INTERVAL_BYTES // MAPPED_BYTES_PER_ROW)
    for start in range(0, len(rows), size):
        taken[start : start + size] = block[rows[start : start + size]]
        _pieces.release_pages(block)
    return taken


def _stacked_items(
    dataset: Any, rows: slice | np.ndarray, names: Sequence[str]
) -> list[np.ndarray]:
    """Read items of a Dataset, and stack them by modality."""
    if isinstance(rows, slice):
        rows = np.arange(len(dataset))[rows]
    indices = np.asarray(rows).tolist()
    with drawing():
        if hasattr(dataset, "__getitems__"):  # torch's protocol for whole batches
            items = dataset.__getitems__(indices)
        else:
            items = [dataset[i] for i in indices]
    keys: list[str | int] = [*names] or [*range(len(items[0]))]
    for index, item in zip(indices, items, strict=True):
        own = list(item) if names else [*range(len(item))]
        if not set(keys) <= set(own) or (not names and len(own) > len(keys)):
            raise ValueError(
                f"sample {index} of the Dataset has the modalities {own}, and not "
                f"{keys}: every item needs all of them; for samples that lack "
                "modalities give arrays"
            )
    return [_stacked([item[key] for item in items], indices, key) for key in keys]


def _stacked(values: list[Any], indices: list[int], modality: str | int) -> np.ndarray:
    """Stack the values of one modality; refuse unlike shapes and what is not finite."""
    arrays = [_as_array(value) for value in values]
    for index, array in zip(indices, arrays, strict=True):
        if array.shape != arrays[0].shape:
            raise ValueError(
                f"modality {modality!r}: sample {index} of the Dataset has shape "
                f"{array.shape}, and sample {indices[0]} {arrays[0].shape}; all need "
                "one shape"
            )
    block = np.stack(arrays)
    if block.dtype.kind == "f" and not np.isfinite(block).all():
        finite = np.isfinite(block.reshape(len(block), -1)).all(axis=1)
        raise ValueError(
            f"modality {modality!r}: sample {indices[int(finite.argmin())]} of the "
            "Dataset holds NaN or infinite values; leave it out, or give arrays, where "
            "a row of NaN is a missing modality"
        )
    return block


def _as_array(value: Any) -> np.ndarray:
    """Return one value of an item as an array, tensors too, wherever they are."""
    return np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)


class Preparation:
    """Preparation of the inputs of a network: scaling, and division by the deviation.

    Each modality that is scaled has variances of mean 1 over its features afterwards,
    so that one learning rate suits all of them.

    Parameters
    ----------
    scalings : list of Scaling
        Fitted scaling of each modality.
    factors : list of float
        Factor that multiplies each scaled modality.
    shapes : list of tuple of int
        Shape of one sample in each modality.
    names : sequence of str, default=()
        Names of the modalities, for errors.
    sequences : sequence of int, default=()
        Positions of the modalities of packed sequences, whose features are scaled frame
        by frame, and whose numbers of frames may differ from those of `shapes`.
    span : float, default=1.0
        Typical time from the first to the last frame of a sample.
    """

    names: Sequence[str] = ()

    def __init__(
        self,
        scalings: list[Scaling],
        factors: list[float],
        shapes: list[tuple[int, ...]],
        names: Sequence[str] = (),
        sequences: Sequence[int] = (),
        span: float = 1.0,
    ) -> None:
        self.scalings, self.factors, self.shapes = scalings, factors, shapes
        self.names, self.sequences, self.span = names, tuple(sequences), span

    @classmethod
    def fit(
        cls,
        rows: Rows,
        scaling: Sequence[str | None],
        shapes: list[tuple[int, ...]],
        names: Sequence[str] = (),
        sample_weight: np.ndarray | None = None,
        sequences: Sequence[int] = (),
    ) -> Preparation:
        """Fit the scalings and factors on at most SCALING_FIT_ROWS samples.

        Parameters
        ----------
        rows : Rows
            Samples to fit on; of more, equally spaced ones are used.
        scaling : sequence of {'auto', 'block', 'standard', 'l2'} or None
            Scaling of each modality.
        shapes : list of tuple of int
            Shape of one sample in each modality.
        names : sequence of str, default=()
            Names of the modalities, for errors.
        sample_weight : ndarray of shape (n_samples,), default=None
            Weights of the samples.
        sequences : sequence of int, default=()
            Positions of the modalities of packed sequences.

        Returns
        -------
        Preparation
            The fitted preparation.
        """
        positions = spaced_rows(len(rows), SCALING_FIT_ROWS)
        n_fitted = len(positions)
        blocks = rows.take(positions)
        span = typical_span([blocks[v] for v in sequences])
        observed = np.ones((n_fitted, len(shapes)), bool)
        if rows.observed is not None:
            observed = rows.observed[positions]
        blocks = [block[o] for block, o in zip(blocks, observed.T, strict=True)]
        weights = None
        if sample_weight is not None:
            weights = [sample_weight[positions][own] for own in observed.T]
        for v in sequences:
            blocks[v], n_frames = all_frames(blocks[v])
            if weights is not None:
                weights[v] = np.repeat(weights[v], n_frames)
        blocks = [_as_matrix(block) for block in blocks]
        scalings = fit_scalings(blocks, scaling, block_weights=weights)
        factors = []
        for v, (fitted, block) in enumerate(zip(scalings, blocks, strict=True)):
            weight = None if weights is None else weights[v]
            scaled = fitted.apply(block)
            factors.append(
                1.0 if fitted.name is None else _unit_variance_factor(scaled, weight)
            )
        return cls(scalings, factors, shapes, names, sequences, span)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Preparation:
        """Restore a preparation from its `get_state`."""
        scalings = [Scaling(**scaling) for scaling in state["scalings"]]
        given = {key: value for key, value in state.items() if key != "scalings"}
        return cls(scalings, **given)

    def get_state(self) -> dict[str, Any]:
        """Return the state as dicts and lists of arrays, numbers and str."""
        return {
            "scalings": [dict(vars(scaling)) for scaling in self.scalings],
            "factors": list(self.factors),
            "shapes": list(self.shapes),
            "names": list(self.names),
            "sequences": list(self.sequences),
            "span": self.span,
        }

    def name(self, modality: int) -> str:
        """Return the name of a modality in errors."""
        return f"modality {self.names[modality] if self.names else modality!r}"

    def __call__(self, blocks: Sequence[Any], observed: np.ndarray | None) -> list[Any]:
        """Scale blocks to dense arrays; rows that are not observed become zeros."""
        prepared = []
        for v, block in enumerate(blocks):
            if v in self.sequences:
                own = None if observed is None else observed[:, v]
                prepared.append(self._scale_frames(v, block, own))
                continue
            scaled = self.scalings[v].apply(_as_matrix(block), self.factors[v])
            scaled = scaled.toarray() if sparse.issparse(scaled) else scaled
            if observed is not None:
                scaled[~observed[:, v]] = 0
            prepared.append(scaled.reshape(len(scaled), *self.shapes[v]))
        return prepared

    def _scale_frames(
        self, v: int, packed: np.ndarray, observed: np.ndarray | None
    ) -> np.ndarray:
        """Scale the frames of packed sequences; those not observed become zeros."""
        scaled = packed.copy()
        if observed is not None:
            scaled[~observed] = 0
        frames, _ = all_frames(scaled)
        is_frame = scaled[..., -1] > 0
        scaled[is_frame, :-N_MARKS] = self.scalings[v].apply(frames, self.factors[v])
        return scaled

    def sample_shapes(self, rows: Rows) -> list[tuple[int, ...]]:
        """Return the shape of a sample of some rows in each modality."""
        shapes = list(self.shapes)
        for v in self.sequences:
            shapes[v] = cast(Sequence[Any], rows.blocks)[v].shape[1:]
        return shapes


def spaced_rows(n_samples: int, n_most: int) -> np.ndarray:
    """Return the positions of all samples, or of so many that are equally spaced."""
    return np.linspace(0, n_samples - 1, min(n_samples, n_most)).astype(int)


def _as_matrix(block: Any) -> Any:
    """Reshape a block of any shape to a matrix of floats; sparse ones are as given."""
    if sparse.issparse(block):
        return block
    floats = block if block.dtype.kind == "f" else block.astype(np.float32)
    return floats.reshape(len(block), -1)


def _unit_variance_factor(scaled: Any, weight: np.ndarray | None = None) -> float:
    """Compute the factor that makes the mean variance of the features 1."""
    square = scaled.multiply(scaled) if sparse.issparse(scaled) else scaled**2
    if weight is None:
        mean, total = scaled.mean(axis=0), square.sum() / scaled.shape[0]
    else:
        shares = (weight / weight.sum()).astype(scaled.dtype)
        mean, total = shares @ scaled, (shares @ square).sum()
    total -= (np.asarray(mean).ravel() ** 2).sum()
    # rows of unit length that differ by the rounding of float32 only, the type of the
    # network, are constant: their noise is not amplified
    rounding = 10 * np.finfo(np.float32).eps ** 2
    return float(np.sqrt(scaled.shape[1] / total)) if total > rounding else 1.0


class Batches(Dataset):
    """Prepared samples as tensors on a device, batch by batch.

    Data of at most RESIDENT_BYTES are prepared once and stay on the device. Larger data
    are read, scaled and transferred batch by batch, so that memory is bounded.

    Parameters
    ----------
    rows : Rows
        Samples to read.
    prepare : Preparation
        Preparation of the samples.
    device : torch.device or str, default='cpu'
        Device of the batches.
    dtype : torch.dtype, default=torch.float32
        Type of the inputs.
    once : bool, default=False
        Whether the samples are read once only, so that none stay on the device.
    targets : Targets, default=None
        Targets of all samples, of a predictor.
    """

    def __init__(
        self,
        rows: Rows,
        prepare: Preparation,
        device: DeviceLike = "cpu",
        dtype: torch.dtype = torch.float32,
        once: bool = False,
        targets: Targets | None = None,
    ) -> None:
        self.rows, self.prepare = rows, prepare
        self.device, self.dtype = device, dtype
        self.targets = targets
        if targets is not None:
            self.targets = Targets(*(target.to(device) for target in targets))
        self._shapes = prepare.sample_shapes(rows)
        cells = sum(int(np.prod(shape)) for shape in self._shapes)
        self._resident: Batch | None = None
        self._digest: str | None = None
        if not once and cells * len(rows) * dtype.itemsize <= RESIDENT_BYTES:
            self._resident = self._read_all()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> list[Tensor]:
        return [block[0] for block in self.batch(slice(index, index + 1)).inputs]

    def batch(self, rows: slice | np.ndarray | Tensor) -> Batch:
        """Read and prepare samples.

        Parameters
        ----------
        rows : slice, ndarray or tensor of int
            Positions of the samples.

        Returns
        -------
        Batch
            The samples.
        """
        targets = self.targets
        if targets is not None:
            targets = Targets(targets.values[rows], targets.weights[rows])
        if self._resident is None:
            read = self._read(rows.numpy() if isinstance(rows, Tensor) else rows)
            return read._replace(targets=targets)
        inputs, observed = self._resident.inputs, self._resident.observed
        return Batch(
            [block[rows] for block in inputs],
            None if observed is None else observed[rows],
            targets,
        )

    def _read(self, rows: slice | np.ndarray) -> Batch:
        observed = self.rows.observed
        observed = None if observed is None else observed[rows]
        prepared = self.prepare(self.rows.take(rows), observed)
        inputs = [torch.as_tensor(block).to(self.dtype) for block in prepared]
        for v, block in enumerate(inputs):
            if not torch.isfinite(block).all():
                raise ValueError(
                    f"{self.prepare.name(v)}: some values do not fit "
                    f"{str(self.dtype).removeprefix('torch.')} after scaling; look for "
                    "extreme values, or choose another scaling or dtype"
                )
        return Batch(
            [block.to(self.device, non_blocking=True) for block in inputs],
            self._to_device(observed),
        )

    def _read_all(self) -> Batch:
        """Prepare all samples chunk by chunk, so that temporary arrays stay small."""
        inputs = [
            torch.empty((len(self), *shape), dtype=self.dtype, device=self.device)
            for shape in self._shapes
        ]
        for rows, batch in self.chunks(PREPARE_CHUNK_ROWS):
            for resident, chunk in zip(inputs, batch.inputs, strict=True):
                resident[rows] = chunk
        return Batch(inputs, self._to_device(self.rows.observed))

    def digest(self) -> str:
        """Hash all samples as given, what is observed, and the targets.

        Returns
        -------
        str
            Hash of 128 bits in hexadecimal.
        """
        if self._digest is None:
            self._digest = self._compute_digest()
        return self._digest

    def _compute_digest(self) -> str:
        checksum = blake2b(digest_size=16)
        cells = sum(int(np.prod(shape)) for shape in self._shapes)
        size = max(1, DIGEST_CHUNK_CELLS // cells)
        for start in range(0, len(self), size):
            for block in self.rows.take(slice(start, start + size)):
                for array in _arrays_of(block):
                    checksum.update(f"{array.dtype.str}{array.shape}".encode())
                    checksum.update(np.ascontiguousarray(array).tobytes())
        if self.rows.observed is not None:
            checksum.update(np.packbits(self.rows.observed).tobytes())
        for target in self.targets or ():
            checksum.update(target.cpu().numpy().tobytes())
        return checksum.hexdigest()

    def _to_device(self, observed: np.ndarray | None) -> Tensor | None:
        return None if observed is None else torch.tensor(observed, device=self.device)

    def chunks(self, size: int) -> Iterator[tuple[slice, Batch]]:
        """Iterate over all samples in order.

        Parameters
        ----------
        size : int
            Number of samples of a chunk.

        Yields
        ------
        rows : slice
            Positions of the samples of the chunk.
        batch : Batch
            The samples.
        """
        for start in range(0, len(self), size):
            rows = slice(start, min(start + size, len(self)))
            yield rows, self.batch(rows)


def _arrays_of(block: Any) -> list[np.ndarray]:
    """List the arrays that make up a dense or sparse block."""
    if sparse.issparse(block):
        return [block.indptr, block.indices, block.data]
    return [block]


class ShuffledBatches:
    """Batches of one epoch, in an order that is drawn anew with each iteration.

    The last batch is dropped if it is incomplete, as in the published codes: its kernel
    terms would be those of few samples. Data smaller than a batch make one batch.

    Parameters
    ----------
    data : Batches
        All samples.
    batch_size : int
        Number of samples of a batch.
    generator : torch.Generator
        Source of the random order.
    """

    def __init__(
        self, data: Batches, batch_size: int, generator: torch.Generator
    ) -> None:
        self.data, self.n_samples = data, len(data)
        self.batch_size = min(batch_size, self.n_samples)
        self.generator = generator

    def __len__(self) -> int:
        return self.n_samples // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(self.n_samples, generator=self.generator)
        for step in range(len(self)):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield self.data.batch(rows)


@dataclass(frozen=True)
class ShuffledSampler:
    """Batches of samples in random order."""

    def fit(
        self, data: Batches, random_state: np.random.RandomState
    ) -> ShuffledSampler:
        """Return self: nothing is shared."""
        return self

    def epoch(
        self, data: Batches, batch_size: int, generator: torch.Generator
    ) -> ShuffledBatches:
        """Return an epoch of shuffled batches."""
        return ShuffledBatches(data, batch_size, generator)


class WholeBatch:
    """Epochs of one batch, of all samples in their order or of equally spaced ones.

    Parameters
    ----------
    data : Batches
        All samples.
    n_most : int or None
        Largest number of samples; None is all.
    """

    def __init__(self, data: Batches, n_most: int | None) -> None:
        self.data, self.n_most = data, n_most

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batch]:
        n_samples = len(self.data)
        if self.n_most is None or n_samples <= self.n_most:
            yield self.data.batch(slice(0, n_samples))
        else:
            yield self.data.batch(spaced_rows(n_samples, self.n_most))


@dataclass(frozen=True)
class WholeSampler:
    """One batch of all samples, for losses that are not sums over small batches.

    Parameters
    ----------
    n_most : int, default=None
        Largest number of samples, those of `spaced_rows`; None is all.
    """

    n_most: int | None = None

    def fit(self, data: Batches, random_state: np.random.RandomState) -> WholeSampler:
        """Return self: nothing is shared."""
        return self

    def epoch(
        self, data: Batches, batch_size: int, generator: torch.Generator
    ) -> WholeBatch:
        """Return an epoch of one batch."""
        return WholeBatch(data, self.n_most)
