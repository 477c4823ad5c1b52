"""Two bits and a class of them, with known partial information, and noisy copies."""

import numpy as np

# rows (x1, x2, y) of equal probability; redundancy, unique 1, unique 2, synergy
AND_REDUNDANCY = 3 / 4 * np.log2(4 / 3)
DISTRIBUTIONS = {
    "xor": ([(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)], (0, 0, 0, 1)),
    "and": (
        [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 1)],
        # Williams and Beer (2010): .311 and .5
        (AND_REDUNDANCY, 0, 0, 0.5),
    ),
    "copy": ([(0, 0, 0), (1, 1, 1)], (1, 0, 0, 0)),
    "unique": ([(0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 1)], (0, 1, 0, 0)),
    # the criticised case of this redundancy: two independent bits, both of them in y
    "two bits": ([(0, 0, 0), (0, 1, 1), (1, 0, 2), (1, 1, 3)], (1, 0, 0, 1)),
    "none": ([(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)], (0, 0, 0, 0)),
}


def noisy_modalities(name, n_samples=400, noise=0.1, seed=0):
    """Draw the bits of a distribution, and add noise to make modalities of them."""
    rng = np.random.default_rng(seed)
    rows = np.array(DISTRIBUTIONS[name][0])
    bits = rows[rng.integers(len(rows), size=n_samples)]
    blocks = bits[:, :2] + noise * rng.normal(size=(n_samples, 2))
    return {"first": blocks[:, :1], "second": blocks[:, 1:]}, bits[:, 2]
