"""Series of the UCR and UEA archives, downloaded and read by tslearn."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from sklearn.utils import Bunch

from mmfusion._atomic import make_folder
from mmfusion._extras import import_extra
from mmfusion._options import check_flags
from mmfusion._sequences import cut_padding
from mmfusion.datasets._fetch import as_bunch, data_folder
from mmfusion.modalities import Modalities

ARCHIVE = "timeseriesclassification.com"
SPLITS = ("all", "train", "test")
SERIES = "series"  # name of the modality unless channels are divided among several

UCR_UEA_DESCRIPTION = """\
{name} of the UCR and UEA archives of time series

{n_samples} series of {n_channels} channels, {n_classes} classes. Split: {split}.

From https://www.{archive}. A. Bagnall, J. Lines, W. Vickers & E. Keogh, The UEA & UCR
Time Series Classification Repository.
"""


@overload
def fetch_ucr_uea(
    name: str,
    *,
    split: str = ...,
    modalities: Mapping[str, Sequence[int]] | None = ...,
    data_home: str | PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def fetch_ucr_uea(
    name: str,
    *,
    split: str = ...,
    modalities: Mapping[str, Sequence[int]] | None = ...,
    data_home: str | PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[True],
) -> tuple[Modalities, np.ndarray]: ...


def fetch_ucr_uea(
    name: str,
    *,
    split: str = "all",
    modalities: Mapping[str, Sequence[int]] | None = None,
    data_home: str | PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
) -> Bunch | tuple[Modalities, np.ndarray]:
    """Fetch a data set of the UCR and UEA archives of time series, by tslearn.

    It is downloaded from timeseriesclassification.com at the first call, and cached.
    The archive has no hashes, so that its content is not verified.

    Parameters
    ----------
    name : str
        Name of the data set, such as 'GunPoint' or 'BasicMotions'.
    split : {'all', 'train', 'test'}, default='all'
        Samples of the archive's own split; 'all' has those of training first.
    modalities : dict of str to list of int, default=None
        Channels of each modality, by their positions. None makes one modality,
        'series', of all channels.
    data_home : str or path-like, default=None
        Folder of downloaded data. By default that of the environment variable
        ``MMFUSION_DATA``, or else the cache folder of pooch for ``mmfusion``.
    download_if_missing : bool, default=True
        Whether to download missing files; otherwise they raise an OSError.
    return_X_y : bool, default=False
        Whether to return only the data and the target, as a tuple.

    Returns
    -------
    Bunch
        Dictionary-like object with the fields

        data : Modalities of shape (n_samples, n_modalities)
            Sequences: for each sample an array of shape (n_frames, n_channels).
        target : ndarray of int64 of shape (n_samples,)
            Class of each sample, from 0.
        target_names : ndarray of str of shape (n_classes,)
            Labels of the classes in the archive.
        DESCR : str
            Description of the data set.

        or, with ``return_X_y=True``, the tuple (data, target).

    Raises
    ------
    OSError
        If the data set is missing and not to be downloaded, or the download fails.
    ValueError
        If the name is none of the archive or no name of a folder, or channels are not
        those of the data set.
    ImportError
        If tslearn is not installed.

    See Also
    --------
    make_multimodal_sequences : Makes sequences, without a download.

    Examples
    --------
    ``fetch_ucr_uea("BasicMotions")`` downloads missing files; to prevent that:

    >>> from mmfusion.datasets import fetch_ucr_uea
    >>> motions = {"accelerometer": [0, 1, 2], "gyroscope": [3, 4, 5]}
    >>> fetch_ucr_uea(
    ...     "BasicMotions",
    ...     modalities=motions,
    ...     data_home="no_such_folder",
    ...     download_if_missing=False,
    ... )
    Traceback (most recent call last):
    ...
    OSError: BasicMotions is not in no_such_folder...
    """
    check_flags(download_if_missing=download_if_missing, return_X_y=return_X_y)
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(
            f"name={name!r}; give the name of a data set of {ARCHIVE}, such as "
            "'GunPoint', of letters, digits, '_' and '-'"
        )
    if not isinstance(split, str) or split not in SPLITS:
        raise ValueError(f"split={split!r}; give one of {list(SPLITS)}")
    home = data_folder(data_home) / "ucr_uea"
    if not download_if_missing and not _is_stored(home / name):
        raise OSError(
            f"{name} is not in {home}, and download_if_missing=False; allow the "
            f"download, or put {name}_TRAIN.txt and {name}_TEST.txt of {ARCHIVE} into "
            f"{home / name}"
        )
    parts = _load(name, home)
    chosen = parts if split == "all" else [parts[SPLITS.index(split) - 1]]
    sequences = np.concatenate([cut_padding(padded) for padded, _ in chosen])
    labels = np.concatenate([own for _, own in chosen])
    n_channels = parts[0][0].shape[2]
    description = UCR_UEA_DESCRIPTION.format(
        name=name,
        n_samples=len(labels),
        n_channels=n_channels,
        n_classes=len(np.unique(labels)),
        split=split,
        archive=ARCHIVE,
    )
    data = _divide_channels(sequences, modalities, n_channels)
    return as_bunch(data, labels, description, return_X_y)


def _is_stored(folder: Path) -> bool:
    """Return whether both parts of a data set lie in its folder."""
    return any(
        all(
            (folder / f"{folder.name}_{part}.{kind}").is_file()
            for part in ("TRAIN", "TEST")
        )
        for kind in ("txt", "arff")
    )


def _load(name: str, home: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the padded series and the labels of training and of test samples."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # tslearn warns of failures
        cls = import_extra("tslearn.datasets", extra="align").UCR_UEA_datasets
        # not by its constructor, which downloads lists of all data sets
        archive = cls.__new__(cls)
        archive.use_cache, archive._data_dir, archive._filenames = True, home, {}
        make_folder(home)
        caught.clear()
        try:
            loaded: Any = archive.load_dataset(name)
            reasons = [str(warning.message) for warning in caught]
        except OSError as error:
            loaded, reasons = [None], [str(error)]
    if loaded[0] is None:
        raise OSError(
            f"cannot load {name} from {ARCHIVE}: {'; '.join(reasons)}. Check the name "
            f"and the connection, or put {name}_TRAIN.txt and {name}_TEST.txt into "
            f"{home / name}"
        )
    return [(loaded[0], loaded[1]), (loaded[2], loaded[3])]


def _divide_channels(
    sequences: np.ndarray,
    modalities: Mapping[str, Sequence[int]] | None,
    n_channels: int,
) -> Modalities:
    """Make a modality of the given channels of every sequence."""
    if modalities is None:
        modalities = {SERIES: range(n_channels)}
    if not isinstance(modalities, Mapping) or not modalities:
        raise ValueError(
            f"modalities={modalities!r}; give a dict of lists of channels by name"
        )
    blocks = {}
    for name, channels in modalities.items():
        own = np.asarray(channels)
        in_range = own.dtype.kind in "iu" and own.ndim == 1 and own.size > 0
        if not in_range or own.min() < 0 or own.max() >= n_channels:
            raise ValueError(
                f"modalities[{name!r}] is {channels!r}; give positions of the "
                f"{n_channels} channels, from 0"
            )
        blocks[name] = [
            None if sequence is None else sequence[:, own] for sequence in sequences
        ]
    return Modalities(blocks)
