"""Modalities in a MATLAB file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Literal, overload

import numpy as np
from sklearn.utils import Bunch

from mmfusion._atomic import as_path
from mmfusion._options import check_flags
from mmfusion.datasets._formats import check_regular
from mmfusion.datasets._mat_files import read_variables
from mmfusion.datasets._mat_layout import (
    encode_classes,
    find_blocks,
    find_labels,
    flatten,
    summary,
    with_samples_first,
)
from mmfusion.datasets._npz import valid_names
from mmfusion.modalities import Modalities


@overload
def load_mat(
    path: str | PathLike[str],
    modalities: str | Sequence[str] | Mapping[str, str] | None = ...,
    *,
    target: str | None = ...,
    samples: str | None = ...,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def load_mat(
    path: str | PathLike[str],
    modalities: str | Sequence[str] | Mapping[str, str] | None = ...,
    *,
    target: str | None = ...,
    samples: str | None = ...,
    return_X_y: Literal[True],
) -> tuple[Modalities, np.ndarray | None]: ...


def load_mat(
    path: str | PathLike[str],
    modalities: str | Sequence[str] | Mapping[str, str] | None = None,
    *,
    target: str | None = None,
    samples: str | None = None,
    return_X_y: bool = False,
) -> Bunch | tuple[Modalities, np.ndarray | None]:
    """Load modalities and labels from a MATLAB file, as those of many papers.

    Parameters
    ----------
    path : str or path-like
        File of any version; 7.3 needs h5py.
    modalities : str, list of str, or dict of str to str, default=None
        Variables of the modalities: the name of a cell array with one matrix per
        modality, a list of variables, or a dict of variables by name of the modality.
        Elements of cells and fields of structs are named as in MATLAB, ``X{1}`` and
        ``data.X``. By default the one cell array of matrices, or else all matrices.
    target : str, default=None
        Variable of the labels: a row, a column, one-hot rows or columns, or a cell of
        text or with the labels of each modality. By default the variable called
        ``Y``, ``gt``, ``gnd``, ``truth``, ``label``, ``labels`` or the like, if there
        is one.
    samples : {'rows', 'columns'}, default=None
        Axis of the samples: the first, or the last. By default the one that has as
        many entries as there are labels, in all modalities.
    return_X_y : bool, default=False
        Whether to return only the data and the target, as a tuple.

    Returns
    -------
    Bunch
        Dictionary-like object with the fields

        data : Modalities
            The data, with samples as rows. Sparse matrices are CSR.
        target : ndarray of shape (n_samples,) or None
            Labels of the samples. Integers 1 to k, and text, are classes, which count
            from 0 here; other numbers are as in the file.
        target_names : ndarray of str of shape (n_classes,) or None
            Classes as they are in the file, unless they are other numbers.
        DESCR : str
            Summary of the file and its variables.

        or, with ``return_X_y=True``, the tuple (data, target).

    Raises
    ------
    OSError
        If the file does not exist or cannot be opened.
    ValueError
        If the file is no MATLAB file or is damaged, or variables or samples cannot be
        found or fit several ways; the message names the parameter that decides.
    ImportError
        If the file is of version 7.3 and h5py is not installed.

    See Also
    --------
    load_file : Loads files of all formats.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from scipy.io import savemat
    >>> from mmfusion.datasets import load_mat
    >>> X1, X2 = np.ones((5, 3)), np.zeros((5, 4))
    >>> views = np.empty(2, dtype=object)
    >>> views[:] = [X1.T, X2.T]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "paper.mat"
    ...     savemat(path, {"X": views, "gt": [[1], [2], [2], [1], [1]]})
    ...     data = load_mat(path)
    ...     X, y = load_mat(path, {"pixels": "X{2}"}, return_X_y=True)
    >>> data.data
    Modalities of 5 samples x 2 modalities
      modality_0  dense (5, 3) float64
      modality_1  dense (5, 4) float64
    >>> X.names, y
    (('pixels',), array([0, 1, 1, 0, 0]))
    """
    path = as_path(path)
    check_flags(return_X_y=return_X_y)
    check_regular(path)
    variables = flatten(read_variables(path))
    y = target_names = None
    try:
        labels, label_paths = find_labels(variables, target)
        blocks = find_blocks(variables, modalities, labels, label_paths)
        n_samples = None if labels is None else len(labels)
        blocks = with_samples_first(blocks, n_samples, samples)
        if labels is not None:
            y, target_names = encode_classes(labels)
        if modalities is None:
            blocks = dict(zip(valid_names(blocks), blocks.values(), strict=True))
        X = Modalities(blocks)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
    if return_X_y:
        return X, y
    return Bunch(
        data=X,
        target=y,
        target_names=target_names,
        DESCR=f"{path.stem}\n{X!r}\nVariables of the file: {summary(variables)}",
    )
