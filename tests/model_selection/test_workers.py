"""What reaches joblib's worker processes, and how."""

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.model_selection import GridSearchCV, cross_val_predict

from mmfusion import Modalities

from .planted import classifier, plant

X, Y = plant()


def look(frame):
    """Tell the kinds of the blocks and whether they can be written to."""
    arrays = [frame["dense"], frame["sparse"].data]
    return (
        [isinstance(array, np.memmap) for array in arrays],
        [array.flags.writeable for array in arrays],
        frame.observed.sum(axis=0).tolist(),
        [type(block).__name__ for block in frame.blocks],
    )


def test_big_blocks_reach_workers_as_memmaps():
    frame = Modalities(
        {
            "dense": np.ones((600, 300)),  # 1.4 MB
            "small": np.ones((600, 1)),
            "sparse": sparse.csr_array(np.ones((600, 300))),
            "sequences": [np.ones((2, 1)), None] * 300,
            "table": pd.DataFrame({"a": np.arange(600.0)}),
        }
    )
    seen = joblib.Parallel(n_jobs=2, max_nbytes="1M")(
        joblib.delayed(look)(frame) for _ in range(3)
    )
    for memmapped, writeable, observed, kinds in seen:
        assert memmapped == [True, True]
        assert writeable == [False, False]
        assert observed == [600, 600, 600, 300, 600]
        assert kinds[3:] == ["ndarray", "DataFrame"]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_search_gets_the_same_from_memmaps(backend):
    grid = {"logisticregression__C": [0.1, 1], "earlyfusion__scaling": ["auto", "l2"]}
    expected = GridSearchCV(classifier(), grid, cv=3).fit(X, Y)
    with joblib.parallel_config(backend, max_nbytes=100):
        search = GridSearchCV(classifier(), grid, cv=3, n_jobs=2).fit(X, Y)
    assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    assert_array_equal(search.predict(X), expected.predict(X))


def test_data_on_disk_are_cross_validated_from_there(tmp_path):
    on_disk = {}
    for name, block in X.to_dict().items():
        np.save(tmp_path / f"{name}.npy", block)
        on_disk[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    frame = Modalities(on_disk)
    assert frame == X
    for n_jobs in (1, 2):
        found = cross_val_predict(classifier(), frame, Y, cv=3, n_jobs=n_jobs)
        assert_array_equal(found, cross_val_predict(classifier(), X, Y, cv=3))
