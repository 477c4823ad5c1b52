"""One modality held by every kind of block that can be fused."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse


def _polars(table):
    polars = pytest.importorskip("polars")
    return polars.DataFrame(table, schema=[f"f{j}" for j in range(table.shape[1])])


FUSED_KINDS = {
    "float64": np.array,
    "float32": lambda table: table.astype(np.float32),
    "integers": lambda table: np.rint(4 * table).astype(int),
    "images": lambda table: np.repeat(table[:, :, None], 2, axis=2),
    "sparse matrix": sparse.csr_matrix,
    "sparse array": lambda table: sparse.coo_array(table * (table > 0)),
    "pandas": lambda table: pd.DataFrame(table).add_prefix("f"),
    "polars": _polars,
    "tensor": lambda table: pytest.importorskip("torch").tensor(table),
}
