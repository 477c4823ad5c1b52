"""The four modalities of the bundled digits, compared with their definitions."""

import numpy as np
import pytest
from scipy.special import eval_jacobi
from sklearn.datasets import load_digits

from mmfusion.datasets import load_digits_modalities

SOME = slice(0, 1797, 60)


@pytest.fixture(scope="module")
def digits():
    return load_digits_modalities()


def test_the_target_and_pixels_are_those_of_scikit_learn(digits):
    original = load_digits()
    assert digits.data.names == ("pixels", "gradients", "profiles", "zernike")
    assert digits.target.dtype == np.int64
    np.testing.assert_array_equal(digits.target, original.target)
    np.testing.assert_array_equal(digits.data["pixels"], original.data)
    np.testing.assert_array_equal(digits.images, original.images)
    np.testing.assert_array_equal(digits.target_names, np.arange(10))
    assert "Zernike" in digits.DESCR


def test_the_tuple_is_the_same_data(digits):
    X, y = load_digits_modalities(return_X_y=True)
    assert digits.data == X
    np.testing.assert_array_equal(digits.target, y)


def histogram_by_loops(image):
    cells = np.zeros((2, 2, 8))
    for i in range(8):
        for j in range(8):
            up, below = max(i - 1, 0), min(i + 1, 7)
            left, right = max(j - 1, 0), min(j + 1, 7)
            gi = (image[below, j] - image[up, j]) / (below - up)
            gj = (image[i, right] - image[i, left]) / (right - left)
            for k in range(8):
                away = abs(np.angle(complex(gj, gi) * np.exp(-2j * np.pi * k / 8)))
                share = max(0, 1 - away / (2 * np.pi / 8))
                cells[i // 4, j // 4, k] += share * np.hypot(gi, gj)
    return cells.ravel() / np.linalg.norm(cells)


def test_gradients_are_histograms_of_directions_by_cell(digits):
    expected = [histogram_by_loops(image) for image in digits.images[SOME]]
    np.testing.assert_allclose(digits.data["gradients"][SOME], expected, atol=1e-12)


def profiles_by_loops(image):
    def before_ink(line):
        for position, ink in enumerate(line):
            if ink > 8:
                return position
        return len(line)

    rows, columns = list(image), list(image.T)
    return [
        *(sum(line) / 16 for line in rows + columns),
        *(before_ink(line) for line in rows),
        *(before_ink(line[::-1]) for line in rows),
        *(before_ink(line) for line in columns),
        *(before_ink(line[::-1]) for line in columns),
    ]


def test_profiles_are_projections_and_distances_to_the_outline(digits):
    expected = [profiles_by_loops(image) for image in digits.images[SOME]]
    np.testing.assert_allclose(digits.data["profiles"][SOME], expected)


def zernike_by_jacobi(image):
    """Use R_nm(r) = (-1)^k r^m P_k^(m, 0)(1 - 2 r^2) with k = (n - m)/2."""
    magnitudes = []
    for n in range(9):
        for m in range(n % 2, n + 1, 2):
            total = 0
            for i in range(8):
                for j in range(8):
                    z = complex(j - 3.5, i - 3.5) / (4 * np.sqrt(2))
                    r, k = abs(z), (n - m) // 2
                    radial = (-1) ** k * r**m * eval_jacobi(k, m, 0, 1 - 2 * r**2)
                    value = radial * np.exp(-1j * m * np.angle(z))
                    total += image[i, j] / 16 * value / 32  # the area of a pixel
            magnitudes.append(abs((n + 1) / np.pi * total))
    return magnitudes


def test_zernike_magnitudes_follow_the_jacobi_polynomials(digits):
    expected = [zernike_by_jacobi(image) for image in digits.images[SOME]]
    np.testing.assert_allclose(digits.data["zernike"][SOME], expected, atol=1e-12)


def error_of_6_against_9(digits, modality):
    """Return the share of images that are nearer to the mean of the other digit."""
    X = {d: digits.data[modality][digits.target == d] for d in (6, 9)}
    wrong = [
        np.linalg.norm(X[own] - X[own].mean(axis=0), axis=1)
        > np.linalg.norm(X[own] - X[other].mean(axis=0), axis=1)
        for own, other in ((6, 9), (9, 6))
    ]
    return np.concatenate(wrong).mean()


def test_zernike_magnitudes_confuse_6_with_9_where_pixels_do_not(digits):
    assert error_of_6_against_9(digits, "pixels") < 0.01
    assert error_of_6_against_9(digits, "zernike") > 0.1
