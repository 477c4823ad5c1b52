"""Outputs have the row labels of their input."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from mmfusion import EarlyFusion, EarlyFusionClassifier, MKLClusterer, Modalities
from mmfusion.alignment import DTWAligner, DTWKernel
from mmfusion.benchmark import compare
from mmfusion.datasets import save_npz
from mmfusion.fusion import SingleModalityClusterer
from mmfusion.metrics import modality_silhouette_score
from mmfusion.mkl import ModalityKernels
from mmfusion.preprocessing import (
    ModalityImputer,
    ModalitySplitter,
    PerModality,
    SequenceGradients,
    SequencePooling,
    SequenceResampler,
)
from mmfusion.robustness import add_noise, degradation_curve, drop_modalities

LABELS = pd.Index(list("dacfeb"), name="who")
Y = pd.Series([0, 1, 0, 1, 1, 0], index=LABELS)


def tables():
    rng = np.random.default_rng(0)
    return {
        name: pd.DataFrame(rng.normal(size=(6, width)), LABELS).rename(columns=str)
        for name, width in (("audio", 2), ("video", 3))
    }


def sequences():
    rng = np.random.default_rng(0)
    lengths = {"audio": range(5, 11), "video": range(8, 2, -1)}
    return {
        name: pd.Series([rng.normal(size=(n, 2)) for n in own], LABELS)
        for name, own in lengths.items()
    } | {"survey": tables()["audio"]}


TRANSFORMERS = [
    (EarlyFusion(), tables),
    (EarlyFusion(reducer=PCA(1)), tables),
    (PerModality(), tables),
    (PerModality("passthrough"), tables),
    (PerModality(PCA(1).set_output(transform="pandas")), tables),
    (ModalityImputer(add_indicator=True), tables),
    (ModalitySplitter(), tables),
    (ModalityKernels(), tables),
    (MKLClusterer(2, random_state=0), tables),
    (SequencePooling(), sequences),
    (SequenceResampler(3), sequences),
    (SequenceGradients(), sequences),
    (DTWAligner(), sequences),
    (make_pipeline(SequencePooling(), PerModality(), EarlyFusion()), sequences),
]


def blocks_of(out):
    return out.blocks if isinstance(out, Modalities) else (out,)


@pytest.mark.parametrize(
    ("transformer", "make"), TRANSFORMERS, ids=lambda v: getattr(v, "__name__", str(v))
)
@pytest.mark.parametrize("form", ["Modalities", "dict", "list", "rows"])
def test_frames_of_the_output_have_the_labels_of_the_input(transformer, make, form):
    data = make()
    X = {
        "Modalities": lambda: Modalities(data),
        "dict": lambda: data,
        "list": lambda: list(data.values()),
        "rows": lambda: Modalities(data)[::-1][1:],
    }[form]()
    labels = LABELS[::-1][1:] if form == "rows" else LABELS
    transformer = clone(transformer).fit(Modalities(data) if form == "rows" else X)
    plain = transformer.transform(X)
    if isinstance(plain, Modalities):
        assert plain.index.equals(labels)
    with config_context(transform_output="pandas"):
        outs = [clone(transformer).fit_transform(X)]
    transformer = clone(transformer).set_output(transform="pandas")
    outs += [transformer.fit_transform(X), transformer.transform(X)]
    for out in outs:
        found = [block for block in blocks_of(out) if isinstance(block, pd.DataFrame)]
        assert found
        for frame in found:
            assert frame.index.equals(labels)
            assert frame.index.name == "who"
        if isinstance(out, Modalities):
            assert out.index.equals(labels)


@pytest.mark.parametrize("transformer", [EarlyFusion(), ModalityKernels()], ids=str)
def test_polars_has_no_labels(transformer):
    polars = pytest.importorskip("polars")
    out = transformer.set_output(transform="polars").fit_transform(tables())
    assert all(isinstance(block, polars.DataFrame) for block in blocks_of(out))


def test_a_kernel_of_sequences_is_labelled():
    data = sequences()
    del data["survey"]
    for combine in ("mean", None):
        kernel = DTWKernel(combine=combine).set_output(transform="pandas")
        for out in (kernel.fit_transform(data), kernel.fit(data).transform(data)):
            assert all(block.index.equals(LABELS) for block in blocks_of(out))


def test_tables_are_split_with_their_labels():
    table = pd.concat(tables(), axis=1)
    table.columns = ["__".join(column) for column in table.columns]
    for output in ("default", "pandas"):
        splitter = ModalitySplitter("__").set_output(transform=output)
        assert splitter.fit_transform(table).index.equals(LABELS)
    union = make_union(EarlyFusion(modalities="__"), StandardScaler())
    union.set_output(transform="pandas")
    assert union.fit_transform(table).index.equals(LABELS)


def test_output_without_labels_has_positions_and_can_be_split():
    X = Modalities([frame.to_numpy() for frame in tables().values()])
    out = PerModality().set_output(transform="pandas").fit_transform(X)
    taken = out[[4, 2]]
    assert_array_equal(taken.index, [4, 2])
    assert_array_equal(taken.blocks[0].index, [4, 2])
    assert_array_equal(out.loc[[4, 2]].blocks[0], taken.blocks[0])


class Backwards(TransformerMixin, BaseEstimator):
    """Returns rows in another order, with their labels."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[::-1]


class Unlabelled(Backwards):
    def transform(self, X):
        return X.reset_index(drop=True)


def test_rows_that_a_transformer_has_reordered_are_refused():
    with pytest.raises(
        ValueError, match=r"'audio'.*row 0 is 'b' in the output and 'd'"
    ):
        PerModality({"audio": Backwards()}).fit_transform(tables())


def test_labels_that_a_transformer_has_lost_are_restored():
    out = PerModality({"audio": Unlabelled()}).fit_transform(tables())
    assert out["audio"].index.equals(LABELS)
    assert out[["audio"]].loc["f"]["audio"].equals(tables()["audio"].loc[["f"]])


@pytest.mark.parametrize(
    "transformer",
    [EarlyFusion(reducer=SelectKBest(k=1)), PerModality(SelectKBest(k=1))],
    ids=str,
)
def test_a_target_of_transformers_has_the_labels_of_the_data(transformer):
    transformer.fit(tables(), Y)
    with pytest.raises(ValueError, match="row labels of y differ"):
        transformer.fit(tables(), Y[::-1])
    with pytest.raises(ValueError, match="row labels of y differ"):
        transformer.fit_transform(tables(), Y.sort_index())


def test_a_pipeline_keeps_labels_up_to_its_classifier():
    for last in (
        EarlyFusionClassifier(),
        make_pipeline(EarlyFusion(), LogisticRegression()),
    ):
        pipeline = make_pipeline(PerModality(), ModalityImputer(), last)
        pipeline.fit(tables(), Y)
        assert pipeline.predict(tables()).shape == (6,)
    with pytest.raises(ValueError, match="row labels of y differ"):
        make_pipeline(PerModality(), EarlyFusionClassifier()).fit(tables(), Y[::-1])


def test_degraded_data_keep_their_labels():
    X = PerModality().fit_transform(tables())
    assert add_noise(X, 0.5, random_state=0).index.equals(LABELS)
    assert drop_modalities(X, 0.5, random_state=0).index.equals(LABELS)


def test_functions_refuse_labels_of_other_samples(tmp_path):
    X = PerModality().fit_transform(tables())
    turned = Y[::-1]
    estimators = {"early": EarlyFusionClassifier()}
    for call in (
        lambda y: modality_silhouette_score(X, y),
        lambda y: save_npz(tmp_path / "X.npz", X, y),
        lambda y: degradation_curve(estimators, X, y, levels=[0], cv=2),
        lambda y: compare({"k": SingleModalityClusterer()}, {"d": (X, y)}, n_repeats=1),
    ):
        call(Y)
        call(Y.to_numpy())
        with pytest.raises(ValueError, match=r"row labels of (y|labels) differ"):
            call(turned)
