"""Inverse transforms of early fusion, split tables and transformers of modalities."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.preprocessing import (
    FunctionTransformer,
    Normalizer,
    OneHotEncoder,
    StandardScaler,
)

from mmfusion import EarlyFusion, Modalities, ModalitySplitter, PerModality


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    blocks = {n: 3 * rng.normal(size=(60, w)) + 5 for n, w in {"p": 3, "q": 2}.items()}
    return Modalities({**blocks, "constant": np.full((60, 1), 7.0)})


def lacking(X):
    """The same samples, of which some lack p and some q."""
    observed = np.ones(X.shape, bool)
    observed[:5, 0] = observed[5:9, 1] = False
    return Modalities(X.to_dict(), observed=observed)


# Early fusion


@pytest.mark.parametrize("scaling", ["auto", "block", "standard", None])
@pytest.mark.parametrize("reducer", [None, {"p": PCA(whiten=True), "q": PCA(2)}])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fused_matrices_are_split_into_their_modalities(data, scaling, reducer, dtype):
    X = Modalities(
        {name: block.astype(dtype) for name, block in data.to_dict().items()}
    )
    weights = {"p": 2.0, "q": 0.5}
    fusion = EarlyFusion(scaling, reducer=reducer, weights=weights).fit(X)
    back = fusion.inverse_transform(fusion.transform(X))
    assert back.names == X.names
    for name in X.names:
        assert back[name].dtype == dtype
        tolerance = 1e-7 if dtype == np.float64 else 1e-4
        np.testing.assert_allclose(back[name], X[name], rtol=tolerance)


@pytest.mark.parametrize("scaling", ["standard", None])
def test_reduced_modalities_come_back_as_far_as_they_were_kept(data, scaling):
    X = data[["p", "q"]]
    fusion = EarlyFusion(scaling, reducer=PCA(2), weights=[2, 0.5]).fit(X)
    back = fusion.inverse_transform(fusion.transform(X))
    np.testing.assert_allclose(back["q"], X["q"])
    scaler = StandardScaler(with_mean=scaling is not None, with_std=scaling is not None)
    scaled = scaler.fit_transform(X["p"])
    pca = PCA(2).fit(scaled)
    expected = scaler.inverse_transform(pca.inverse_transform(pca.transform(scaled)))
    np.testing.assert_allclose(back["p"], expected)


def test_the_inverse_of_a_sparse_fused_matrix():
    rng = np.random.default_rng(0)
    words = sparse.random_array((20, 5), density=0.3, format="csr", rng=rng)
    X = Modalities({"p": rng.normal(size=(20, 3)) + 1, "words": words})
    fusion = EarlyFusion("standard").fit(X)
    back = fusion.inverse_transform(fusion.transform(X))
    np.testing.assert_allclose(back["p"], X["p"])
    assert sparse.issparse(back["words"])
    np.testing.assert_allclose(back["words"].toarray(), words.toarray())


class WithoutInverse(FunctionTransformer):
    inverse_transform = property()


def test_fused_matrices_without_an_inverse_are_refused(data):
    fusion = EarlyFusion("l2").fit(data)
    with pytest.raises(ValueError, match=r"modality 'p': scaling='l2' .*not kept"):
        fusion.inverse_transform(fusion.transform(data))
    fusion = EarlyFusion("standard").fit(data)
    with pytest.raises(ValueError, match="X has 4 columns, but the fused matrix has 6"):
        fusion.inverse_transform(fusion.transform(data)[:, :4])
    assert hasattr(EarlyFusion(reducer=OneHotEncoder()), "inverse_transform")
    assert not hasattr(EarlyFusion(reducer={"p": Normalizer()}), "inverse_transform")
    with pytest.raises(AttributeError) as refusal:
        EarlyFusion(reducer={"p": WithoutInverse()}).inverse_transform  # noqa: B018
    assert "WithoutInverse has no inverse" in str(refusal.value.__cause__)


# Tables


@pytest.mark.parametrize(
    "form", [np.asarray, lambda t: pd.DataFrame(t, columns=list("abcde"))]
)
@pytest.mark.parametrize("spec", [[3, 2], {"x": [4, 0], "y": [2, 1, 3]}])
def test_a_split_table_is_put_together(form, spec):
    table = form(np.arange(15.0).reshape(3, 5))
    splitter = ModalitySplitter(spec)
    back = splitter.inverse_transform(splitter.fit_transform(table))
    assert type(back) is type(table)
    np.testing.assert_array_equal(np.asarray(back), np.asarray(table))
    if isinstance(back, pd.DataFrame):
        assert back.columns.tolist() == list("abcde")


def test_a_table_by_names_is_put_together_and_parts_of_it_not():
    table = pd.DataFrame(np.arange(12.0).reshape(3, 4), columns=list("abcd"))
    splitter = ModalitySplitter({"x": ["d", "a"], "y": ["b", "c"]})
    back = splitter.inverse_transform(splitter.fit_transform(table))
    pd.testing.assert_frame_equal(back, table)
    for own in (["d", "a"], [3, 0]):
        part = ModalitySplitter({"x": own})
        message = r"do not hold each of the 4 columns.*name every column in modalities="
        with pytest.raises(ValueError, match=message):
            part.inverse_transform(part.fit_transform(table))


# Transformers of modalities


def test_every_modality_is_transformed_back(data):
    X = lacking(data[["p", "q"]])
    transformer = PerModality({"p": StandardScaler(), "q": PCA(2)}).fit(X)
    out = transformer.transform(X)
    for form in (out, list(out.blocks), out.to_dict()):
        back = transformer.inverse_transform(form)
        for v, name in enumerate(X.names):
            own = X.observed[:, v]
            np.testing.assert_allclose(back[name][own], X[name][own])
    np.testing.assert_array_equal(
        transformer.inverse_transform(out).observed, X.observed
    )
    table = data["p"]
    alone = PerModality().fit(table)
    np.testing.assert_allclose(alone.inverse_transform(alone.transform(table)), table)
    with pytest.raises(ValueError, match=r"modalities \['p'\], but transform returns"):
        transformer.inverse_transform(out[["p"]])
    with pytest.raises(AttributeError) as refusal:
        PerModality({"q": "drop"}).inverse_transform  # noqa: B018
    assert "of q, 'drop', has no inverse" in str(refusal.value.__cause__)


def test_transformers_that_select_or_lack_an_inverse(data):
    chosen = PerModality(VarianceThreshold(9)).fit(data[["p", "q"]])
    back = chosen.inverse_transform(chosen.transform(data[["p", "q"]]))
    for name in ("p", "q"):
        kept = data[name].var(axis=0) > 9
        np.testing.assert_allclose(back[name][:, kept], data[name][:, kept])
        assert not back[name][:, ~kept].any()
    assert not hasattr(PerModality({"p": Normalizer()}), "inverse_transform")


def test_a_damaged_sparse_matrix_is_refused(data):
    fusion = EarlyFusion("block").fit(data)
    fused = sparse.csc_array(fusion.transform(data))
    fused.indices[0] = 10_000  # compiled code would read foreign memory
    with pytest.raises(ValueError, match="X is a damaged sparse matrix"):
        fusion.inverse_transform(fused)
