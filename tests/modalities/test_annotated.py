"""AnnData and MuData, given to `Modalities` and to estimators, and written back."""

import pickle

import anndata
import joblib
import mudata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from mudata import MuData
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import MaxAbsScaler

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    LateFusionClusterer,
    Modalities,
    PerModality,
)
from mmfusion.datasets import load_file, load_mat, load_npz
from mmfusion.testing import all_estimators
from mmfusion.testing._contract_data import clone_for_contract, output_of

N = 20
rng = np.random.default_rng(0)
NAMES = [f"cell{i}" for i in range(N)]
COUNTS = sparse.random_array((N, 5), density=0.5, rng=0, format="csr", dtype="f4")
PROTEINS = rng.normal(size=(N, 3))
KINDS = np.arange(N) % 2
PROTEINS[KINDS == 1] += 5


# pandas 4 cannot be set so any more; by then anndata writes its text
pytestmark = pytest.mark.filterwarnings("ignore:The 'future.infer_string'")


@pytest.fixture(autouse=True)
def settings():
    """The new behaviour of mudata, and text as objects: anndata writes no other."""
    with (
        mudata.set_options(pull_on_update=False),
        pd.option_context("future.infer_string", False),
    ):
        yield


def annotated(matrix, names=NAMES, prefix="g", **more):
    var = [f"{prefix}{j}" for j in range(matrix.shape[1])]
    # objects, which all versions of anndata write to files
    obs, var = (pd.DataFrame(index=pd.Index(own, dtype=object)) for own in (names, var))
    return AnnData(matrix, obs=obs, var=var, **more)


def cells():
    """Both modalities observed in all cells, in the same order."""
    mdata = MuData({"rna": annotated(COUNTS), "prot": annotated(PROTEINS, prefix="p")})
    mdata.obs["kind"] = pd.Categorical(np.where(KINDS, "T", "B").astype(object))
    return mdata


def unmatched_cells():
    """Cells 0 to 14 have RNA, and cells 19 down to 5 proteins."""
    order = np.arange(N - 1, 4, -1)
    rna = annotated(COUNTS[:15], NAMES[:15])
    prot = annotated(PROTEINS[order], [NAMES[i] for i in order], "p")
    return MuData({"rna": rna, "prot": prot})


# deep estimators and those of sequences validate their input in the same place
FITTED_QUICKLY = [
    "AnchorGraphClusterer",
    "EarlyFusion",
    "EarlyFusionClassifier",
    "EarlyFusionClusterer",
    "EarlyFusionRegressor",
    "GMCClusterer",
    "HybridFusionClassifier",
    "HybridFusionClusterer",
    "LateFusionClassifier",
    "LateFusionClusterer",
    "LateFusionRegressor",
    "MKLClassifier",
    "MKLClusterer",
    "ModalityKernels",
    "MultimodalMixture",
    "SNFClusterer",
    "SpectralClusterer",
]

# Modalities


def test_an_anndata_is_one_modality():
    X = Modalities(annotated(PROTEINS))
    assert X.names == ("modality_0",)
    assert list(X.index) == NAMES
    assert list(X["modality_0"].columns) == ["g0", "g1", "g2"]
    assert np.shares_memory(X["modality_0"].to_numpy(), PROTEINS)
    assert Modalities(annotated(PROTEINS), names=["prot"]).names == ("prot",)


def test_sparse_matrices_stay_sparse_with_the_names_of_their_features():
    X = Modalities(annotated(COUNTS), names=["rna"])
    assert sparse.issparse(X["rna"])
    assert X["rna"].dtype == np.float32
    for part in (X, X[:5], X[["rna"]], X[:3].concat(X[3:]), X.copy(), Modalities(X)):
        assert part._feature_names("rna") == [f"g{j}" for j in range(5)]
        assert part.index[0] == "cell0"
    assert pickle.loads(pickle.dumps(X)) == X
    assert joblib.hash(X) == joblib.hash(Modalities(X))


def test_layers_and_obsm_by_choice():
    adata = annotated(PROTEINS, layers={"counts": COUNTS[:, :3]})
    adata.obsm["X_pca"] = PROTEINS[:, :2]
    adata.obsm["table"] = pd.DataFrame({"a": KINDS, "b": KINDS}, index=NAMES)
    X = Modalities.from_anndata(
        adata, {"prot": "X", "rna": "counts"}, obsm=["X_pca", "table"]
    )
    assert X.names == ("prot", "rna", "X_pca", "table")
    assert_array_equal(X["rna"].toarray(), COUNTS[:, :3].toarray())
    assert_array_equal(X["X_pca"], PROTEINS[:, :2])
    assert list(X["table"].columns) == ["a", "b"]
    assert Modalities.from_anndata(adata, obsm="X_pca").names == ("X_pca",)
    mdata = MuData({"one": adata, "two": annotated(PROTEINS, prefix="p")})
    X = Modalities.from_mudata(mdata, layers={"one": "counts"})
    assert sparse.issparse(X["one"])
    assert_array_equal(X["two"], PROTEINS)
    X = Modalities.from_mudata(mdata, obsm={"one": "X_pca"})
    assert_array_equal(X["one"], PROTEINS[:, :2])
    with pytest.raises(ValueError, match=r"no 'raw' in layers; choose .*'X', 'counts'"):
        Modalities.from_anndata(adata, "raw")
    with pytest.raises(ValueError, match=r"modality 'two' has no 'counts'"):
        Modalities.from_mudata(mdata, layers="counts")
    with pytest.raises(ValueError, match="'one' is in both layers and obsm"):
        Modalities.from_mudata(mdata, {"one": "counts"}, {"one": "X_pca"})
    with pytest.raises(ValueError, match=r"layers names \['three'\]"):
        Modalities.from_mudata(mdata, {"three": "counts"})
    with pytest.raises(TypeError, match="give an AnnData"):
        Modalities.from_anndata(mdata)
    with pytest.raises(TypeError, match="give a MuData"):
        Modalities.from_mudata(adata)


def test_an_anndata_without_a_matrix_names_its_others():
    adata = AnnData(obs=pd.DataFrame(index=NAMES), obsm={"X_pca": PROTEINS})
    with pytest.raises(ValueError, match=r"obsm= of \['X_pca'\]"):
        Modalities(adata)


def test_observations_are_matched_by_name():
    mdata = unmatched_cells()
    X = Modalities(mdata)
    assert list(X.index) == list(mdata.obs_names)
    by_name = X.loc[NAMES]
    assert_array_equal(by_name.observed[:, 0], np.arange(N) < 15)
    assert_array_equal(by_name.observed[:, 1], np.arange(N) >= 5)
    assert_array_equal(by_name["rna"][:15].toarray(), COUNTS[:15].toarray())
    assert_array_equal(by_name["prot"][5:], PROTEINS[5:])
    assert X["rna"].dtype == np.float32


def test_views_are_read_as_they_look():
    mdata = cells()
    chosen = ["cell7", "cell2", "cell11"]
    X = Modalities(mdata[chosen])
    assert list(X.index) == chosen
    assert_array_equal(X["prot"], PROTEINS[[7, 2, 11]])
    assert_array_equal(X["rna"].toarray(), COUNTS[[7, 2, 11]].toarray())
    view = mdata["prot"][chosen, ["p2", "p0"]]
    assert_array_equal(Modalities(view)["modality_0"], PROTEINS[[7, 2, 11]][:, [2, 0]])


def test_repeated_names_of_observations_are_an_error():
    names = [*NAMES[:-1], "cell0"]
    with pytest.warns(UserWarning, match="not unique"):
        rna = annotated(COUNTS, names)
    mdata = cells()
    mdata.mod["rna"] = rna
    with pytest.raises(ValueError, match=r"'rna': .* 'cell0' repeats.*_make_unique"):
        Modalities(mdata)
    X = Modalities(rna)  # nothing is matched
    assert len(X) == N


def test_changed_modalities_need_an_update():
    mdata = cells()
    mdata.mod["rna"].obs_names = [f"new{i}" for i in range(N)]
    with pytest.raises(ValueError, match=r"'new0', which the MuData lacks.*update\(\)"):
        Modalities(mdata)


def test_shared_variables_are_refused():
    mdata = MuData({"a": annotated(PROTEINS[:5], NAMES[:5])}, axis=1)
    with pytest.raises(ValueError, match="share variables"):
        Modalities(mdata)


def test_files_on_the_disk_are_refused_with_a_remedy(tmp_path):
    annotated(PROTEINS).write_h5ad(tmp_path / "cells.h5ad")
    adata = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    with pytest.raises(ValueError, match=r"on the disk.*cells.h5ad.*to_memory\(\)"):
        Modalities(adata)
    assert_array_equal(Modalities(adata.to_memory())["modality_0"], PROTEINS)
    assert_array_equal(Modalities(adata[3:7])["modality_0"], PROTEINS[3:7])
    mdata = MuData({"rna": annotated(COUNTS), "prot": annotated(PROTEINS, prefix="p")})
    mdata.write(tmp_path / "cells.h5mu")
    with pytest.raises(ValueError, match=r"'rna' is on the disk.*read_h5mu\(path\)"):
        Modalities(mudata.read_h5mu(tmp_path / "cells.h5mu", backed="r"))


def test_matrices_of_files_on_the_disk_that_are_in_memory_are_read(tmp_path):
    more = {"layers": {"log": PROTEINS + 1}, "obsm": {"map": PROTEINS[:, :2]}}
    annotated(PROTEINS, **more).write_h5ad(tmp_path / "cells.h5ad")
    adata = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    X = Modalities.from_anndata(adata, layers="log", obsm="map")
    assert_array_equal(X["log"], PROTEINS + 1)
    assert_array_equal(X["map"], PROTEINS[:, :2])


def test_folders_of_zarr_are_refused_with_a_remedy(tmp_path):
    folder = tmp_path / "cells.zarr"
    folder.mkdir()
    (folder / ".zgroup").write_text("{}")
    with pytest.raises(ValueError, match=r"cells.zarr.*anndata.read_zarr\(path\)"):
        load_file(folder)


# An AnnData for every modality


def test_a_dict_of_anndata_is_matched_by_the_names_of_observations():
    order = np.random.default_rng(1).permutation(N)
    shuffled = annotated(PROTEINS[order], np.array(NAMES)[order], "p")
    X = Modalities({"rna": annotated(COUNTS), "prot": shuffled})
    assert X.names == ("rna", "prot")
    assert list(X.index) == NAMES
    assert_array_equal(X["prot"], PROTEINS)
    assert sparse.issparse(X["rna"])
    estimator = EarlyFusion().fit({"rna": annotated(COUNTS), "prot": shuffled})
    expected = EarlyFusion().fit(X)
    assert_array_equal(estimator.feature_names_in_, expected.feature_names_in_)


def test_observations_that_an_anndata_lacks_are_missing():
    first, last = annotated(PROTEINS[:15], NAMES[:15]), annotated(COUNTS[5:], NAMES[5:])
    X = Modalities({"prot": first, "rna": last})
    assert list(X.index) == NAMES
    assert_array_equal(X.observed[:, 0], np.arange(N) < 15)
    assert_array_equal(X.observed[:, 1], np.arange(N) >= 5)
    listed = Modalities([first, last], names=["a", "b"])
    assert listed.names == ("a", "b")
    assert_array_equal(listed.observed, X.observed)


def test_anndata_that_cannot_be_matched_are_refused():
    with pytest.warns(UserWarning, match="not unique"):
        twice = annotated(PROTEINS, [NAMES[0], *NAMES[:-1]])
    with pytest.raises(ValueError, match=r"'b'.*'cell0' repeats.*duplicated\(\)"):
        Modalities({"a": annotated(COUNTS), "b": twice})
    others = annotated(PROTEINS, [f"other{i}" for i in range(N)])
    with pytest.raises(ValueError, match=r"'a' has no row label in common.*obs_names"):
        Modalities({"a": annotated(COUNTS), "b": others})
    with pytest.raises(TypeError, match=r"'a' is a AnnData.*for every modality"):
        Modalities({"a": annotated(COUNTS), "b": PROTEINS})


# Round trips


@pytest.mark.parametrize("make", [cells, unmatched_cells])
def test_a_round_trip_keeps_everything(make, tmp_path):
    X = Modalities(make())
    mdata = X.to_mudata()
    assert Modalities(mdata) == X
    assert list(mdata.obs_names) == list(X.index)
    assert mdata["rna"].X.dtype == np.float32
    mdata.write_h5mu(tmp_path / "again.h5mu")
    assert load_file(tmp_path / "again.h5mu")[0] == X
    assert list(mdata["prot"].var_names) == ["p0", "p1", "p2"]


def test_the_order_of_samples_survives_missing_modalities():
    X = Modalities(
        {"a": PROTEINS, "b": PROTEINS}, observed=np.eye(2, dtype=bool)[KINDS]
    )
    X = X[::-1]
    mdata = X.to_mudata()
    assert list(mdata.obs_names) == [str(i) for i in X.index]
    assert mdata["a"].n_obs == mdata["b"].n_obs == N // 2
    assert list(mdata["a"].var_names) == ["a_0", "a_1", "a_2"]


def test_to_anndata_is_of_one_modality():
    adata = annotated(COUNTS)
    again = Modalities(adata).to_anndata()
    assert_array_equal(again.X.toarray(), COUNTS.toarray())
    assert list(again.var_names) == list(adata.var_names)
    assert list(again.obs_names) == list(adata.obs_names)
    X = Modalities(cells())
    with pytest.raises(ValueError, match=r"X\[\['rna'\]\].to_anndata\(\)"):
        X.to_anndata()
    assert X[["rna"]].to_anndata().shape == (N, 5)


def test_what_a_mudata_cannot_hold_is_refused():
    sequences = Modalities([[PROTEINS, PROTEINS]])
    with pytest.raises(ValueError, match="holds sequences"):
        sequences.to_mudata()
    with pytest.raises(ValueError, match="sample 0 lacks every modality"):
        Modalities([PROTEINS], observed=np.arange(N)[:, None] > 0).to_mudata()
    text = Modalities([pd.DataFrame({"a": ["x", "y"]})])
    with pytest.raises(TypeError, match="not numbers"):
        text.to_mudata()
    X = Modalities([pd.DataFrame({"a": [1, 2]}, index=["x", "x"])])
    with pytest.raises(ValueError, match="row label 'x' repeats"):
        X.to_mudata()


# Estimators


@pytest.mark.parametrize("name", sorted(FITTED_QUICKLY))
def test_estimators_read_a_mudata_as_its_modalities(name):
    mdata, y = cells(), KINDS
    estimator = clone_for_contract(all_estimators()[name]())
    X = Modalities(mdata)
    expected = output_of(clone(estimator).fit(X, y), X)
    fitted = clone(estimator).fit(mdata, y)
    assert_array_equal(output_of(fitted, mdata), expected)
    assert list(fitted.modality_names_in_) == ["rna", "prot"]
    names = [*(f"rna__g{j}" for j in range(5)), *(f"prot__p{j}" for j in range(3))]
    assert list(fitted.feature_names_in_) == names


def test_an_anndata_is_a_lone_unnamed_modality():
    adata = annotated(PROTEINS)
    fitted = EarlyFusionClusterer(KMeans(2, random_state=0)).fit(adata)
    assert list(fitted.feature_names_in_) == ["g0", "g1", "g2"]
    assert_array_equal(fitted.predict(adata), fitted.labels_)
    with pytest.raises(ValueError, match=r"adata.to_df\(\)"):
        EarlyFusionClusterer(modalities=[1, 2]).fit(adata)
    split = EarlyFusionClusterer(KMeans(2, random_state=0), modalities=[1, 2])
    assert len(split.fit(adata.to_df()).modality_names_in_) == 2


def test_features_of_other_names_are_refused():
    fitted = EarlyFusionClusterer(KMeans(2)).fit(cells())
    other = MuData({"rna": annotated(COUNTS, prefix="h"), "prot": annotated(PROTEINS)})
    with pytest.raises(ValueError, match="modality 'rna': The feature names should"):
        fitted.predict(other)


def test_observations_without_a_modality_are_clustered():
    mdata = unmatched_cells()
    clusterer = LateFusionClusterer(n_clusters=2, random_state=0)
    mdata.obs["cluster"] = clusterer.fit_predict(mdata)
    expected = clusterer.fit_predict(Modalities(mdata))
    assert_array_equal(mdata.obs["cluster"], expected)
    with pytest.raises(ValueError, match="modality 'rna'"):
        EarlyFusionClusterer(KMeans(2)).fit(mdata)


def test_a_target_of_obs_has_the_order_of_the_data():
    mdata = cells()
    classifier = EarlyFusionClassifier().fit(mdata, mdata.obs["kind"])
    assert classifier.score(mdata, mdata.obs["kind"]) == 1
    with pytest.raises(ValueError, match="row labels of y differ"):
        classifier.fit(mdata, mdata.obs["kind"][::-1])


def test_pandas_output_is_labelled_by_observations():
    mdata = cells()
    fusion = EarlyFusion().set_output(transform="pandas")
    out = fusion.fit_transform(Modalities(mdata)[["prot"]].to_mudata())
    assert list(out.index) == NAMES
    assert list(out.columns) == ["prot__p0", "prot__p1", "prot__p2"]
    scaled = PerModality(MaxAbsScaler()).fit_transform(mdata)
    assert list(scaled.index) == NAMES
    assert sparse.issparse(scaled["rna"])


@pytest.mark.parametrize("form", [cells, lambda: Modalities(cells())])
def test_model_selection_takes_it(form):
    X = form()
    scores = cross_val_score(EarlyFusionClassifier(), X, KINDS, cv=3)
    assert_array_equal(scores, 1)
    search = GridSearchCV(
        EarlyFusion(), {"scaling": ["block", None]}, scoring=lambda *_: 0
    )
    assert search.fit(X).best_params_


# Files


def test_h5mu_and_h5ad_files(tmp_path):
    mdata = cells()
    mdata.write_h5mu(tmp_path / "cells.h5mu")
    X, y = load_file(tmp_path / "cells.h5mu", target="kind")
    assert Modalities(mdata) == X
    assert_array_equal(y, mdata.obs["kind"])
    adata = annotated(PROTEINS, layers={"twice": 2 * PROTEINS})
    adata.obs["kind"] = np.where(KINDS, "T", "B").astype(object)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    X, y = load_file(tmp_path / "cells.h5ad", target="kind", layers="twice")
    assert_array_equal(X["twice"], 2 * PROTEINS)
    assert_array_equal(y, np.where(KINDS, "T", "B"))
    assert load_file(tmp_path / "cells.h5ad")[1] is None
    with pytest.raises(ValueError, match=r"target='kid' is not one of .*\['kind'\]"):
        load_file(tmp_path / "cells.h5ad", target="kid")
    for loader, name in ((load_npz, "cells.h5ad"), (load_mat, "cells.h5mu")):
        with pytest.raises(ValueError, match=r"with mmfusion.datasets.load_file"):
            loader(tmp_path / name)


def test_a_target_of_one_modality(tmp_path):
    mdata = cells()
    mdata.mod["rna"].obs["type"] = KINDS
    mdata.write_h5mu(tmp_path / "cells.h5mu")
    _, y = load_file(tmp_path / "cells.h5mu", target="rna:type")
    assert_array_equal(y, KINDS)


def test_damaged_files_are_errors(tmp_path):
    mdata = cells()
    mdata.write_h5mu(tmp_path / "cells.h5mu")
    content = (tmp_path / "cells.h5mu").read_bytes()
    (tmp_path / "half.h5mu").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"half\.h5mu"):
        load_file(tmp_path / "half.h5mu")
