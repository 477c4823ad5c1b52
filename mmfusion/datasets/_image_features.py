"""Features of small greyscale images: gradients, profiles, Zernike moments."""

from __future__ import annotations

from math import factorial, pi

import numpy as np


def gradient_histograms(
    images: np.ndarray, *, cell: int, n_orientations: int
) -> np.ndarray:
    """Compute histograms of the directions of brightness gradients in cells.

    A pixel adds the magnitude of its gradient to the two nearest of `n_orientations`
    directions, weighted linearly by its angles to them (N. Dalal & B. Triggs, 2005).

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width)
        Greyscale images.
    cell : int
        Side of a cell in pixels, which divides height and width.
    n_orientations : int
        Number of directions.

    Returns
    -------
    ndarray of shape (n_images, n_cells * n_orientations)
        Histograms, of unit length for each image.
    """
    n_images, height, width = images.shape
    down, right = np.gradient(images, axis=(1, 2))
    position = np.arctan2(down, right) % (2 * pi) * n_orientations / (2 * pi)
    lower = np.floor(position)
    share = position - lower
    votes = np.zeros((n_images, height, width, n_orientations))
    # the two nearest directions; the last is a neighbour of the first
    for bins, weight in ((lower, 1 - share), (lower + 1, share)):
        index = bins.astype(np.intp)[..., None] % n_orientations
        vote = np.take_along_axis(votes, index, axis=-1)
        vote += (np.hypot(down, right) * weight)[..., None]
        np.put_along_axis(votes, index, vote, axis=-1)
    cells = votes.reshape(
        n_images, height // cell, cell, width // cell, cell, n_orientations
    ).sum(axis=(2, 4))
    histograms = cells.reshape(n_images, -1)
    length = np.linalg.norm(histograms, axis=1, keepdims=True)
    return histograms / np.where(length > 0, length, 1)


def profiles(images: np.ndarray, *, threshold: float) -> np.ndarray:
    """Compute projections on rows and columns, and distances to the outline.

    Parameters
    ----------
    images : ndarray of shape (n_images, height, width)
        Greyscale images.
    threshold : float
        Brightness above which a pixel belongs to the object.

    Returns
    -------
    ndarray of shape (n_images, 3 * (height + width))
        Sums of rows and columns; then, from the left, right, top and bottom, the number
        of pixels before the first one of the object, or the whole side if there is
        none.
    """
    dark = images <= threshold
    outline = [
        np.logical_and.accumulate(side, axis=axis).sum(axis=axis)
        for side, axis in (
            (dark, 2),
            (dark[:, :, ::-1], 2),
            (dark, 1),
            (dark[:, ::-1], 1),
        )
    ]
    return np.hstack([images.sum(axis=2), images.sum(axis=1), *outline])


def zernike_magnitudes(images: np.ndarray, *, max_order: int) -> np.ndarray:
    """Compute the magnitudes of Zernike moments, which are invariant to rotation.

    Parameters
    ----------
    images : ndarray of shape (n_images, side, side)
        Square greyscale images.
    max_order : int
        Largest order n of the moments Z_nm.

    Returns
    -------
    ndarray of shape (n_images, n_moments)
        Magnitudes ``|Z_nm|`` for m = n mod 2, ..., n in steps of 2.
    """
    # A. Khotanzad & Y. H. Hong (1990), eq. 1 to 5: with n - m even and 0 <= m <= n,
    #   Z_nm = (n + 1)/pi sum_xy f(x, y) R_nm(rho) exp(-i m theta) dx dy
    #   R_nm = sum_s (-1)^s (n-s)! / (s! ((n+m)/2-s)! ((n-m)/2-s)!) rho^(n-2s)
    # over the unit disc, which here encloses the whole image, corners included.
    side = images.shape[1]
    centres = (2 * np.arange(side) + 1 - side) / (side * np.sqrt(2))
    x, y = np.meshgrid(centres, centres)
    radius, angle = np.hypot(x, y).ravel(), np.arctan2(y, x).ravel()
    orders = [(n, m) for n in range(max_order + 1) for m in range(n % 2, n + 1, 2)]
    basis = np.column_stack(
        [
            (n + 1) / pi * _zernike_radial(n, m, radius) * np.exp(-1j * m * angle)
            for n, m in orders
        ]
    )
    area = 2 / side**2
    return np.abs(images.reshape(len(images), -1) @ basis) * area


def _zernike_radial(n: int, m: int, radius: np.ndarray) -> np.ndarray:
    """Compute the radial polynomial R_nm."""
    total = np.zeros_like(radius)
    for s in range((n - m) // 2 + 1):
        coefficient = factorial(n - s) // (
            factorial(s) * factorial((n + m) // 2 - s) * factorial((n - m) // 2 - s)
        )
        total += (-1) ** s * coefficient * radius ** (n - 2 * s)
    return total
