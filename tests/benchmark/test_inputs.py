"""Methods and data sets in every form: names, paths, lists, dicts, functions."""

from pathlib import Path

import numpy as np
import pytest
from doubles import ByPosition, Counting, Double
from sklearn.utils import Bunch

from mmfusion import EarlyFusionClusterer
from mmfusion.benchmark import baselines, compare
from mmfusion.datasets import (
    load_breast_cancer_modalities,
    load_diabetes_modalities,
    load_wine_modalities,
    save_npz,
)


def names(methods, datasets, **options):
    frame = compare(methods, datasets, n_repeats=1, **options).frame
    assert (frame["status"] == "ok").all()
    return list(frame["method"].unique()), list(frame["dataset"].unique())


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("early", ["early"]),
        (Double(), ["Double"]),
        (["early", "late", Double()], ["early", "late", "Double"]),
        (("early", ByPosition()), ["early", "ByPosition"]),
        ({"mine": Double(), "early": "early"}, ["mine", "early"]),
        (
            [EarlyFusionClusterer(), EarlyFusionClusterer(scaling=None)],
            ["EarlyFusionClusterer()", "EarlyFusionClusterer(scaling=None)"],
        ),
        (lambda X: {name: Double() for name in X.names}, ["clear", "noise"]),
        ([lambda X: {"a": Double()}, "early"], ["a", "early"]),
        (["baselines", Double()], [*baselines(["clear", "noise"]), "Double"]),
    ],
)
def test_methods_in_every_form(methods, expected, halves):
    assert names(methods, halves) == (expected, ["data"])


def test_data_sets_in_every_form(halves, tmp_path):
    X, y = halves
    save_npz(tmp_path / "mine.npz", X, y)
    path = tmp_path / "mine.npz"
    bunch = Bunch(data=X, target=y)
    for given, expected in [
        (halves, ["data"]),
        (bunch, ["data"]),
        (str(path), ["mine"]),
        (path, ["mine"]),
        ([str(path), "wine"], ["mine", "wine"]),
        ((path, "wine"), ["mine", "wine"]),
        ({"a": path, "b": "wine", "c": halves, "d": bunch}, ["a", "b", "c", "d"]),
    ]:
        assert names(Double(), given) == (["Double"], expected)


def test_names_alone_take_the_task(halves):
    assert names(["early", "dummy"], halves, task="classification")[0] == [
        "early",
        "dummy",
    ]


def test_names_beside_an_estimator_have_its_task(halves):
    from sklearn.dummy import DummyClassifier

    assert names(["early", DummyClassifier()], halves)[0] == [
        "early",
        "DummyClassifier",
    ]


def test_wrong_names_are_refused_before_a_data_set_is_loaded(tmp_path):
    with pytest.raises(ValueError, match="no method 'magic' for clustering"):
        compare("magic", tmp_path / "nowhere.npz")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz' is neither a file"):
        compare("early", tmp_path / "nowhere.npz")


def test_there_is_one_fit_for_each_cell(halves, tmp_path):
    log = tmp_path / "log.txt"
    frame = compare(Counting(str(log)), halves, n_repeats=3).frame
    assert len(log.read_text().splitlines()) == 3
    assert frame["peak_memory_mb"].notna().all()


def test_memory_that_linux_does_not_report_is_sampled(halves, monkeypatch):
    from mmfusion.benchmark import _peak_memory

    pytest.importorskip("psutil")
    monkeypatch.setattr(_peak_memory, "CLEAR_REFS", Path("/nowhere/clear_refs"))
    with _peak_memory.PeakMemory() as memory:
        held = np.ones(32 * 2**20, dtype=np.uint8)
    assert held.nbytes / 2**20 - 1 < memory.mib < 40


@pytest.mark.parametrize(
    ("load", "shapes"),
    [
        (load_breast_cancer_modalities, [10, 10, 10]),
        (load_wine_modalities, [6, 4, 3]),
        (load_diabetes_modalities, [4, 6]),
    ],
)
def test_measurements_are_split_by_the_names_of_features(load, shapes):
    loaded = load()
    assert [block.shape[1] for block in loaded.data.blocks] == shapes
    assert [len(n) for n in loaded.feature_names.values()] == shapes
    X, y = load(return_X_y=True)
    np.testing.assert_array_equal(y, loaded.target)
    np.testing.assert_array_equal(X.to_array(), loaded.data.to_array())
