"""Models that earlier versions stored are loaded and predict what they did."""

import pickle
import re
import warnings

import numpy as np
import pytest
from sklearn.exceptions import InconsistentVersionWarning
from skops.io import dumps, get_untrusted_types, loads

import mmfusion
from mmfusion import EarlyFusion, LateFusionClassifier, trusted_types
from mmfusion.testing import all_estimators
from tests.persistence.make_models import FOLDER, data_of, predicted

MODELS = sorted(FOLDER.glob("*/*.skops"))
MAX_BYTES = 800_000  # of the models of one version


@pytest.mark.parametrize("path", MODELS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_stored_model_predicts_what_it_did(path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = loads(path.read_bytes(), trusted=trusted_types())
    own = [str(w.message) for w in caught if "mmfusion" in str(w.message)]
    assert bool(own) == (path.parent.name != mmfusion.__version__)
    assert all(path.parent.name in message for message in own)
    others = {w.category for w in caught if "mmfusion" not in str(w.message)}
    assert others <= {InconsistentVersionWarning}  # of a later scikit-learn
    with np.load(path.with_name("inputs.npz")) as arrays:
        X = data_of(path.stem, arrays)
    with np.load(path.with_name("expected.npz")) as results:
        expected = results[path.stem]
    np.testing.assert_allclose(predicted(model, X), expected, rtol=1e-5, atol=1e-7)


def test_every_estimator_is_stored_and_small():
    of_version = [p for p in MODELS if p.parent.name == mmfusion.__version__]
    assert {p.stem for p in of_version} == set(all_estimators())
    assert sum(p.stat().st_size for p in of_version) < MAX_BYTES


@pytest.mark.parametrize(
    ("store", "load"),
    [
        (pickle.dumps, pickle.loads),
        (dumps, lambda stored: loads(stored, trusted=trusted_types())),
    ],
)
def test_a_model_of_another_version_is_loaded_with_a_warning(monkeypatch, store, load):
    fitted = EarlyFusion().fit([np.eye(4), np.ones((4, 2))])
    monkeypatch.setattr("mmfusion.base.__version__", "0.0.9")
    stored = store(fitted)
    monkeypatch.undo()
    message = f"EarlyFusion was stored by mmfusion 0.0.9.*{mmfusion.__version__}"
    with pytest.warns(UserWarning, match=re.compile(message, re.DOTALL)) as caught:
        loaded = load(stored)
    assert len(caught) == 1
    assert vars(loaded).keys() == vars(fitted).keys()


def test_functions_of_the_user_are_not_trusted():
    X, y = np.eye(6, 3), np.arange(6) % 2
    by_name = {"modality_0": mmfusion.testing.check_multimodal_estimator}
    model = LateFusionClassifier().fit([X, X], y)
    model.note_ = by_name
    stored = dumps(model)
    unknown = set(get_untrusted_types(data=stored)) - set(trusted_types())
    assert unknown == {"mmfusion.testing._contract.check_multimodal_estimator"}
    with pytest.raises(TypeError, match="check_multimodal_estimator"):
        loads(stored, trusted=trusted_types())


def test_trusted_types_are_types_by_full_name():
    names = trusted_types()
    assert names == sorted(set(names))
    for name in ("mmfusion.modalities.Modalities", "mmfusion._validation.Layout"):
        assert name in names
    others = {name for name in names if not name.startswith("mmfusion.")}
    assert {name.partition(".")[0] for name in others} == {
        "builtins",
        "scipy",
        "sklearn",
    }
    assert len(others) == 4  # frozenset, KDTree and its distance, sparse arrays
