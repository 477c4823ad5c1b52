"""Measurements bundled with scikit-learn, split into modalities by their meaning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, overload

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.utils import Bunch

from mmfusion._options import check_flags
from mmfusion.modalities import Modalities

CANCER_STATISTICS = {"mean": "mean ", "error": " error", "worst": "worst "}

WINE_GROUPS = {
    "acids and minerals": (
        "alcohol",
        "malic_acid",
        "ash",
        "alcalinity_of_ash",
        "magnesium",
        "proline",
    ),
    "phenols": (
        "total_phenols",
        "flavanoids",
        "nonflavanoid_phenols",
        "proanthocyanins",
    ),
    "colour": ("color_intensity", "hue", "od280/od315_of_diluted_wines"),
}

DIABETES_GROUPS = {
    "patient": ("age", "sex", "bmi", "bp"),
    "serum": ("s1", "s2", "s3", "s4", "s5", "s6"),
}


@overload
def load_breast_cancer_modalities(
    *,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def load_breast_cancer_modalities(
    *,
    return_X_y: Literal[True],
) -> tuple[Modalities, np.ndarray]: ...


def load_breast_cancer_modalities(
    *, return_X_y: bool = False
) -> Bunch | tuple[Modalities, np.ndarray]:
    """Load scikit-learn's breast cancer data as three statistics of ten measurements.

    Ten properties of the nuclei in an image, such as radius and texture, each in three
    modalities: its mean over the nuclei, the standard error of the mean, and the mean
    of its three largest values. Nothing is downloaded.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return only the data and the target, as a tuple.

    Returns
    -------
    Bunch
        Dictionary-like object with the fields

        data : Modalities of shape (569, 3)
            ``mean``, ``error`` and ``worst``, 10 features each, float64.
        target : ndarray of int of shape (569,)
            0 for malignant, 1 for benign.
        target_names : ndarray of str of shape (2,)
            Names of the classes.
        feature_names : dict of str to list of str
            Names of the features of each modality.
        DESCR : str
            Description of the data set, of scikit-learn.

        or, with ``return_X_y=True``, the tuple (data, target).

    See Also
    --------
    load_wine_modalities : Wines, in three modalities.
    load_digits_modalities : Digits, in four modalities.

    References
    ----------
    W. N. Street, W. H. Wolberg & O. L. Mangasarian (1993). Nuclear feature extraction
    for breast tumor diagnosis. SPIE 1905. doi:10.1117/12.148698

    Examples
    --------
    >>> from mmfusion.datasets import load_breast_cancer_modalities
    >>> load_breast_cancer_modalities().data
    Modalities of 569 samples x 3 modalities
      mean   dense (569, 10) float64
      error  dense (569, 10) float64
      worst  dense (569, 10) float64
    """
    names = load_breast_cancer().feature_names
    groups = {
        modality: [str(name) for name in names if mark in str(name)]
        for modality, mark in CANCER_STATISTICS.items()
    }
    return _in_modalities(load_breast_cancer, groups, return_X_y)


@overload
def load_wine_modalities(
    *,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def load_wine_modalities(
    *,
    return_X_y: Literal[True],
) -> tuple[Modalities, np.ndarray]: ...


def load_wine_modalities(
    *, return_X_y: bool = False
) -> Bunch | tuple[Modalities, np.ndarray]:
    """Load scikit-learn's wine data in three groups of chemical measurements.

    The 13 measurements of 178 wines are grouped by what they measure. Nothing is
    downloaded.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return only the data and the target, as a tuple.

    Returns
    -------
    Bunch
        Dictionary-like object with the fields

        data : Modalities of shape (178, 3)
            ``acids and minerals`` (6 features: alcohol, acid, ash, its alcalinity,
            magnesium, proline), ``phenols`` (4) and ``colour`` (3: intensity, hue,
            absorbance of the diluted wine), float64.
        target : ndarray of int of shape (178,)
            Cultivar of each wine.
        target_names : ndarray of str of shape (3,)
            Names of the classes.
        feature_names : dict of str to list of str
            Names of the features of each modality.
        DESCR : str
            Description of the data set, of scikit-learn.

        or, with ``return_X_y=True``, the tuple (data, target).

    See Also
    --------
    load_breast_cancer_modalities : Tumours, in three modalities.
    load_digits_modalities : Digits, in four modalities.

    Notes
    -----
    All measurements are of one kind of analysis: the groups are a choice, made by
    their names, and not different instruments.

    References
    ----------
    M. Forina et al. (1988). PARVUS: an extendible package for data exploration,
    classification and correlation. Institute of Pharmaceutical and Food Analysis and
    Technologies, Genoa.

    Examples
    --------
    >>> from mmfusion.datasets import load_wine_modalities
    >>> load_wine_modalities().data
    Modalities of 178 samples x 3 modalities
      acids and minerals  dense (178, 6) float64
      phenols             dense (178, 4) float64
      colour              dense (178, 3) float64
    """
    return _in_modalities(load_wine, WINE_GROUPS, return_X_y)


@overload
def load_diabetes_modalities(
    *,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def load_diabetes_modalities(
    *,
    return_X_y: Literal[True],
) -> tuple[Modalities, np.ndarray]: ...


def load_diabetes_modalities(
    *, return_X_y: bool = False
) -> Bunch | tuple[Modalities, np.ndarray]:
    """Load scikit-learn's diabetes data, for regression: the patient and the serum.

    Nothing is downloaded.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return only the data and the target, as a tuple.

    Returns
    -------
    Bunch
        Dictionary-like object with the fields

        data : Modalities of shape (442, 2)
            ``patient`` (age, sex, body mass index, blood pressure) and ``serum`` (6
            measurements of blood serum), float64, scaled as by scikit-learn.
        target : ndarray of float64 of shape (442,)
            Progression of the disease one year later.
        feature_names : dict of str to list of str
            Names of the features of each modality.
        DESCR : str
            Description of the data set, of scikit-learn.

        or, with ``return_X_y=True``, the tuple (data, target).

    See Also
    --------
    load_breast_cancer_modalities : Tumours, for classification.

    References
    ----------
    B. Efron, T. Hastie, I. Johnstone & R. Tibshirani (2004). Least angle regression.
    Annals of Statistics 32(2). doi:10.1214/009053604000000067

    Examples
    --------
    >>> from mmfusion.datasets import load_diabetes_modalities
    >>> load_diabetes_modalities().data
    Modalities of 442 samples x 2 modalities
      patient  dense (442, 4) float64
      serum    dense (442, 6) float64
    """
    return _in_modalities(load_diabetes, DIABETES_GROUPS, return_X_y)


def _in_modalities(
    load: Callable[[], Bunch], groups: Mapping[str, Sequence[str]], return_X_y: bool
) -> Bunch | tuple[Modalities, np.ndarray]:
    """Split the features of a data set into the groups of these names."""
    check_flags(return_X_y=return_X_y)
    loaded = load()
    position = {str(name): i for i, name in enumerate(loaded.feature_names)}
    X = Modalities(
        {
            modality: loaded.data[:, [position[name] for name in names]]
            for modality, names in groups.items()
        }
    )
    if return_X_y:
        return X, loaded.target
    has_classes = "target_names" in loaded
    return Bunch(
        data=X,
        target=loaded.target,
        feature_names={modality: list(names) for modality, names in groups.items()},
        DESCR=loaded.DESCR,
        **({"target_names": loaded.target_names} if has_classes else {}),
    )
