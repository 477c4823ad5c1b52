"""Warnings point at the line of the user."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import mmfusion
from mmfusion import (
    CRFLabeler,
    EAMCClusterer,
    GMCClusterer,
    HMMAligner,
    HMMTransformer,
    PairHMMAligner,
)
from mmfusion.datasets import make_multimodal_blobs, make_multimodal_sequences
from mmfusion.nn import Trainer

TABLES = make_multimodal_blobs(40, random_state=0)[0]
SEQUENCES = make_multimodal_sequences(4, random_state=0)[0]
SIGNAL = {"modality_0": SEQUENCES["modality_0"]}
LABELS = [["a", "b"] + ["a"] * (len(own) - 2) for own in SIGNAL["modality_0"]]
CALLS: dict[str, Callable[[], object]] = {
    "fit": lambda: HMMAligner(3, max_iter=1).fit(SEQUENCES),
    "fit_transform": lambda: PairHMMAligner(max_iter=1).fit_transform(SEQUENCES),
    "fit of a transformer": lambda: HMMTransformer(3, max_iter=1).fit(SEQUENCES),
    "fit of a labeler": lambda: CRFLabeler(max_iter=1).fit(SIGNAL, LABELS),
    "fit_predict": lambda: GMCClusterer(3, max_iter=1).fit_predict(TABLES),
    "fit of a network": lambda: EAMCClusterer(
        20, n_init=2, trainer=Trainer(max_epochs=1, pretrain_epochs=0)
    ).fit(TABLES),
    "search": lambda: GridSearchCV(
        HMMTransformer(max_iter=1), {"n_states": [2]}, cv=2, scoring=lambda *_: 0.0
    ).fit(SEQUENCES),
    "pipeline": lambda: make_pipeline(HMMTransformer(2, max_iter=1)).fit(SEQUENCES),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_warning_points_at_the_line_of_the_user(name: str) -> None:
    with pytest.warns(ConvergenceWarning) as caught:
        CALLS[name]()
    assert {warning.filename for warning in caught} == {__file__}


def test_one_function_warns() -> None:
    package = Path(mmfusion.__file__).parent
    others = [p for p in package.rglob("*.py") if "warnings.warn(" in p.read_text()]
    assert others == [package / "_warnings.py"]
