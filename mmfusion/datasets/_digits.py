"""The digits bundled with scikit-learn, with four sets of features."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from mmfusion._options import check_flags
from mmfusion.datasets._image_features import (
    gradient_histograms,
    profiles,
    zernike_magnitudes,
)
from mmfusion.modalities import Modalities

DESCRIPTION = """\
Handwritten digits in four modalities

1,797 images of 8 x 8 pixels of the digits 0 to 9 (the test part of "Optical
Recognition of Handwritten Digits" of the UCI repository, E. Alpaydin & C. Kaynak,
1998, bundled with scikit-learn), each with four sets of features:

pixels     64 brightnesses, 0 (paper) to 16 (ink)
gradients  32 values: histograms of 8 gradient directions in 4 cells of 4 x 4 pixels
profiles   48 values: ink per row and per column, in full pixels, and the distance to
           the outline from four sides, in pixels
zernike    25 magnitudes of Zernike moments up to order 8, invariant to rotation, so
           that a 6 is similar to a 9
"""


@overload
def load_digits_modalities(
    *,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def load_digits_modalities(
    *,
    return_X_y: Literal[True],
) -> tuple[Modalities, np.ndarray]: ...


def load_digits_modalities(
    *, return_X_y: bool = False
) -> Bunch | tuple[Modalities, np.ndarray]:
    """Load scikit-learn's handwritten digits with four sets of features.

    The modalities are computed from the 1,797 bundled images of 8 x 8 pixels; nothing
    is downloaded.

    Parameters
    ----------
    return_X_y : bool, default=False
        Whether to return only the data and the target, as a tuple.

    Returns
    -------
    Bunch
        Dictionary-like object with the fields

        data : Modalities of shape (1797, 4)
            ``pixels`` (64 brightnesses, 0 to 16), ``gradients`` (32; histograms of 8
            gradient directions in 4 cells, of unit length), ``profiles`` (48; ink per
            row and column and the distances to the outline from four sides, in
            pixels) and ``zernike`` (25 magnitudes of Zernike moments), all float64.
        target : ndarray of int64 of shape (1797,)
            Digit of each image.
        target_names : ndarray of int of shape (10,)
            The digits 0 to 9.
        images : ndarray of float64 of shape (1797, 8, 8)
            The images.
        DESCR : str
            Description of the data set.

        or, with ``return_X_y=True``, the tuple (data, target).

    See Also
    --------
    fetch_handwritten : Downloads 2,000 other digits in six modalities.

    Notes
    -----
    The modalities are complementary: pixels depend on the position of strokes,
    gradients on their direction but not on the brightness of the ink, and profiles on
    the outline. Zernike magnitudes are invariant to rotation, so that a 6 is similar
    to a 9.

    References
    ----------
    E. Alpaydin & C. Kaynak (1998). Cascading classifiers. Kybernetika 34(4).

    N. Dalal & B. Triggs (2005). Histograms of oriented gradients for human detection.
    CVPR. doi:10.1109/CVPR.2005.177

    A. Khotanzad & Y. H. Hong (1990). Invariant image recognition by Zernike moments.
    IEEE TPAMI 12(5). doi:10.1109/34.55109

    Examples
    --------
    >>> from mmfusion.datasets import load_digits_modalities
    >>> digits = load_digits_modalities()
    >>> digits.data
    Modalities of 1797 samples x 4 modalities
      pixels     dense (1797, 64) float64
      gradients  dense (1797, 32) float64
      profiles   dense (1797, 48) float64
      zernike    dense (1797, 25) float64
    >>> digits.target[:5]
    array([0, 1, 2, 3, 4])
    """
    check_flags(return_X_y=return_X_y)
    digits = load_digits()
    ink = digits.images / 16  # 1 is the darkest of 17 levels
    X = Modalities(
        {
            "pixels": digits.data,
            "gradients": gradient_histograms(ink, cell=4, n_orientations=8),
            "profiles": profiles(ink, threshold=0.5),
            "zernike": zernike_magnitudes(ink, max_order=8),
        }
    )
    target = digits.target.astype(np.int64)
    if return_X_y:
        return X, target
    return Bunch(
        data=X,
        target=target,
        target_names=digits.target_names,
        images=digits.images,
        DESCR=DESCRIPTION,
    )
