"""Files of tensors that are whole: written atomically, checked before they are read."""

from __future__ import annotations

import io
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from mmfusion._atomic import write_atomically

_MARK = b"mmfusion sealed 1"
_SEAL_BYTES = len(_MARK) + blake2b().digest_size


def _seal(payload: Any) -> bytes:
    """Return what ends a file; torch ignores it there."""
    return _MARK + blake2b(payload).digest()


def write_sealed(path: str | PathLike[str], content: dict[str, Any]) -> None:
    """Write plain values and tensors, and a hash of them.

    Parameters
    ----------
    path : str or path-like
        The file; it is replaced as a whole or not at all.
    content : dict
        Dicts, lists, tuples, numbers, str, None and tensors.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getbuffer()
    with write_atomically(path) as file:
        file.write(payload)
        file.write(_seal(payload))


def read_sealed(path: str | PathLike[str]) -> dict[str, Any]:
    """Read what `write_sealed` wrote, without running code.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    dict
        The content, on the CPU.

    Raises
    ------
    ValueError
        If a byte of the file has changed, or something else wrote it.
    """
    whole = Path(path).read_bytes()
    payload, seal = memoryview(whole)[:-_SEAL_BYTES], whole[-_SEAL_BYTES:]
    if seal != _seal(payload):
        raise ValueError("it is damaged, or was not written by this version")
    try:
        return torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    except Exception:  # torch's own message recommends to load it unsafely
        raise ValueError("it holds other things than tensors and numbers") from None
