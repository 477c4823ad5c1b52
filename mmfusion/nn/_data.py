"""Data of a network: whole batches, taken by index, never sample by sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.utils.data import Dataset

from mmfusion import _blocks
from mmfusion._scaling import Scaling, fit_scalings
from mmfusion.nn._isolation import drawing

RESIDENT_BYTES = 2**28  # data up to this size are scaled once and stay on the device
FITTING_ROWS = 10_000  # of data that stream, as many tell the scaling
RELEASED_BYTES = 2**24  # memory that maps files is given back after so much was read
MAPPED_BYTES = 2**18  # of a file, some of what a system maps to read one row of it
READING_ROWS = 10_000  # of data that stay, read at a time
HASHED_CELLS = 2**21  # of data, read at a time


class Batch(NamedTuple):
    """The same samples of every modality.

    Parameters
    ----------
    inputs : list of tensor of shape (m, ...)
        One per modality; zeros where a sample lacks it.
    observed : tensor of bool of shape (m, V) or None
        Which sample has which modality; None is all.
    """

    inputs: list[Tensor]
    observed: Tensor | None


class Rows:
    """Samples by index: the blocks of Modalities, or the items of a torch Dataset.

    Parameters
    ----------
    blocks : sequence of ndarray or CSR matrix, or Dataset
        One block per modality; or a map-style dataset whose items are tuples with
        one array per modality, or dicts of them by name.
    observed : ndarray of bool of shape (n_samples, n_modalities), default=None
        Which sample has which modality; None is all.
    """

    def __init__(self, blocks: Any, observed: np.ndarray | None = None) -> None:
        self.blocks = blocks
        self.observed = None if observed is None or observed.all() else observed
        self.names: Sequence[str] = ()
        self._read = 0

    def __len__(self) -> int:
        if isinstance(self.blocks, Dataset):
            return len(self.blocks)  # type: ignore[arg-type]
        return int(self.blocks[0].shape[0])

    @property
    def dtype(self) -> np.dtype:
        """The type that holds the blocks; float32 for a Dataset."""
        if isinstance(self.blocks, Dataset):
            return np.dtype(np.float32)
        return np.result_type(*(block.dtype for block in self.blocks))

    def first(self) -> list[np.ndarray] | dict[str, np.ndarray]:
        """The first sample of a Dataset, as data of one sample."""
        if len(self) == 0:
            raise ValueError("the Dataset has 0 samples")
        with drawing():
            item = self.blocks[0]
        if isinstance(item, Mapping):
            self.names = list(item)
            return {name: np.asarray(part)[None] for name, part in item.items()}
        return [np.asarray(part)[None] for part in item]

    def follow(self, names: Sequence[str]) -> None:
        """Take modalities of a Dataset in this order, if it has them by name."""
        if set(names) == set(self.names):
            self.names = names

    def take(self, rows: Any) -> list[Any]:
        """Take samples.

        Parameters
        ----------
        rows : slice or ndarray of int
            Which.

        Returns
        -------
        list of ndarray or CSR matrix
            One per modality.
        """
        if isinstance(self.blocks, Dataset):
            return _items(self.blocks, rows, self.names)
        mapped = [_blocks.is_mapped(block) for block in self.blocks]
        if not isinstance(rows, slice):
            return [
                _of_mapped(block, rows) if m else block[rows]
                for block, m in zip(self.blocks, mapped, strict=True)
            ]
        taken = [block[rows] for block in self.blocks]
        self._read += sum(t.nbytes for t, m in zip(taken, mapped, strict=True) if m)
        if self._read > RELEASED_BYTES:
            self._read = 0
            for block in self.blocks:
                _blocks.release_pages(block)
        return taken


def _of_mapped(block: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Take rows of a mapped file, giving memory back on the way."""
    taken = np.empty((len(rows), *block.shape[1:]), block.dtype)
    size = max(1, RELEASED_BYTES // MAPPED_BYTES)
    for start in range(0, len(rows), size):
        taken[start : start + size] = block[rows[start : start + size]]
        _blocks.release_pages(block)
    return taken


def _items(dataset: Any, rows: Any, names: Sequence[str]) -> list[np.ndarray]:
    if isinstance(rows, slice):
        rows = np.arange(len(dataset))[rows]
    indices = np.asarray(rows).tolist()
    with drawing():
        if hasattr(dataset, "__getitems__"):
            items = dataset.__getitems__(indices)
        else:
            items = [dataset[i] for i in indices]
    items = [[i[name] for name in names] if names else i for i in items]
    return [
        np.stack([np.asarray(part) for part in parts])
        for parts in zip(*items, strict=True)
    ]


class Preparation:
    """What is done to samples before they enter the network: scaling, mean loudness.

    Every modality comes out with a mean square of 1 per feature about its mean, so
    that the same learning rate suits them all.

    Parameters
    ----------
    scalings : list of Scaling
        One per modality.
    loudness : list of float
        Factor of each scaled modality.
    shapes : list of tuple of int
        Shape of one sample by modality.
    names : sequence of str, default=()
        Names of the modalities, for errors.
    """

    names: Sequence[str] = ()

    def __init__(
        self,
        scalings: list[Scaling],
        loudness: list[float],
        shapes: list[tuple[int, ...]],
        names: Sequence[str] = (),
    ) -> None:
        self.scalings, self.loudness, self.shapes = scalings, loudness, shapes
        self.names = names

    @classmethod
    def fit(
        cls,
        rows: Rows,
        hows: Sequence[str | None],
        shapes: list[tuple[int, ...]],
        names: Sequence[str] = (),
    ) -> Preparation:
        """Fit scalings, of very many samples on some."""
        n_samples = len(rows)
        some = np.linspace(0, n_samples - 1, min(n_samples, FITTING_ROWS)).astype(int)
        sample = [_flat(block) for block in rows.take(some)]
        present = np.ones((len(some), len(shapes)), bool)
        if rows.observed is not None:
            present = rows.observed[some]
        sample = [b[p] for b, p in zip(sample, present.T, strict=True)]
        scalings = fit_scalings(sample, hows)
        loudness = []
        for scaling, block in zip(scalings, sample, strict=True):
            scaled = scaling.apply(block)
            loudness.append(1.0 if scaling.how is None else _loudness(scaled))
        return cls(scalings, loudness, shapes, names)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Preparation:
        """Make what `get_state` was called on."""
        scalings = [Scaling(**scaling) for scaling in state["scalings"]]
        return cls(scalings, *(state[key] for key in ("loudness", "shapes", "names")))

    def get_state(self) -> dict[str, Any]:
        """Return everything as dicts and lists of arrays, numbers and str."""
        return {
            "scalings": [dict(vars(scaling)) for scaling in self.scalings],
            "loudness": list(self.loudness),
            "shapes": list(self.shapes),
            "names": list(self.names),
        }

    def name(self, modality: int) -> str:
        """Return how errors call a modality."""
        return f"modality {self.names[modality] if self.names else modality!r}"

    def __call__(self, blocks: Sequence[Any], observed: np.ndarray | None) -> list[Any]:
        """Scale blocks; rows that are not observed become zeros."""
        prepared = []
        for v, block in enumerate(blocks):
            scaled = self.scalings[v].apply(_flat(block), self.loudness[v])
            scaled = scaled.toarray() if sparse.issparse(scaled) else scaled
            if observed is not None:
                scaled[~observed[:, v]] = 0
            prepared.append(scaled.reshape(len(scaled), *self.shapes[v]))
        return prepared


def _flat(block: Any) -> Any:
    if sparse.issparse(block):
        return block
    floats = block if block.dtype.kind == "f" else block.astype(np.float32)
    return floats.reshape(len(block), -1)


def _loudness(scaled: Any) -> float:
    """Factor that brings the mean square about the mean to 1 per feature."""
    square = scaled.multiply(scaled) if sparse.issparse(scaled) else scaled**2
    mean = np.asarray(scaled.mean(axis=0)).ravel()
    total = square.sum() / scaled.shape[0] - (mean**2).sum()
    # rows of unit length that differ by rounding only, as a network would see them
    least = 10 * np.finfo(np.float32).eps ** 2
    return float(np.sqrt(scaled.shape[1] / total)) if total > least else 1.0


class Batches(Dataset):
    """Prepared samples as tensors on a device, a batch at a time.

    Data that are small are prepared once and stay on the device; others are read,
    scaled and sent batch by batch, so that memory does not grow with their number.

    Parameters
    ----------
    rows : Rows
        The samples.
    prepare : Preparation
        What is done to them.
    device : torch.device or str, default='cpu'
        Where batches go.
    dtype : torch.dtype, default=torch.float32
        Type of the inputs.
    once : bool, default=False
        Whether the data are walked through but once, so that nothing need stay.
    """

    def __init__(
        self,
        rows: Rows,
        prepare: Preparation,
        device: Any = "cpu",
        dtype: torch.dtype = torch.float32,
        once: bool = False,
    ) -> None:
        self.rows, self.prepare = rows, prepare
        self.device, self.dtype = device, dtype
        cells = sum(int(np.prod(shape)) for shape in prepare.shapes)
        self._resident: Batch | None = None
        if not once and cells * len(rows) * dtype.itemsize <= RESIDENT_BYTES:
            self._resident = self._read_all()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> list[Tensor]:
        return [block[0] for block in self.batch(slice(index, index + 1)).inputs]

    def batch(self, rows: slice | np.ndarray | Tensor) -> Batch:
        """Take samples.

        Parameters
        ----------
        rows : slice, ndarray or tensor of int
            Which.

        Returns
        -------
        Batch
            Those samples.
        """
        if self._resident is None:
            return self._read(rows.numpy() if isinstance(rows, Tensor) else rows)
        inputs, observed = self._resident
        return Batch(
            [block[rows] for block in inputs],
            None if observed is None else observed[rows],
        )

    def _read(self, rows: Any) -> Batch:
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
            self._flags(observed),
        )

    def _read_all(self) -> Batch:
        """Read bit by bit: what is made on the way is small beside the data."""
        inputs = [
            torch.empty((len(self), *shape), dtype=self.dtype, device=self.device)
            for shape in self.prepare.shapes
        ]
        for rows, batch in self.chunks(READING_ROWS):
            for whole, part in zip(inputs, batch.inputs, strict=True):
                whole[rows] = part
        return Batch(inputs, self._flags(self.rows.observed))

    def digest(self) -> str:
        """Return a hash of all samples as given, and of which have which modality.

        Returns
        -------
        str
            128 bits in hexadecimal.
        """
        found = blake2b(digest_size=16)
        cells = sum(int(np.prod(shape)) for shape in self.prepare.shapes)
        size = max(1, HASHED_CELLS // cells)
        for start in range(0, len(self), size):
            for block in self.rows.take(slice(start, start + size)):
                for array in _arrays_of(block):
                    found.update(f"{array.dtype.str}{array.shape}".encode())
                    found.update(np.ascontiguousarray(array).tobytes())
        if self.rows.observed is not None:
            found.update(np.packbits(self.rows.observed).tobytes())
        return found.hexdigest()

    def _flags(self, observed: np.ndarray | None) -> Tensor | None:
        return None if observed is None else torch.tensor(observed, device=self.device)

    def chunks(self, size: int) -> Iterator[tuple[slice, Batch]]:
        """Walk through all samples in order.

        Parameters
        ----------
        size : int
            Samples at a time.

        Yields
        ------
        rows : slice
            Where they are.
        batch : Batch
            The samples.
        """
        for start in range(0, len(self), size):
            rows = slice(start, min(start + size, len(self)))
            yield rows, self.batch(rows)


def _arrays_of(block: Any) -> list[np.ndarray]:
    if sparse.issparse(block):
        return [block.indptr, block.indices, block.data]
    return [block]


class ShuffledBatches:
    """An epoch of shuffled samples, batch after batch.

    The last, incomplete batch of an epoch is dropped, as in the paper, unless it is
    the only one.

    Parameters
    ----------
    data : Batches
        All samples.
    batch_size : int
        Samples of a batch.
    generator : torch.Generator
        Where the order comes from.
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
