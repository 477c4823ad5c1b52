"""Checks of the multimodal contract: results do not depend on the form of input."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import joblib
import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state, get_tags

from mmfusion.modalities import Modalities
from mmfusion.persistence import trusted_types
from mmfusion.testing._contract_data import (
    CONTRACT_MODALITIES,
    assert_same_output,
    clone_for_contract,
    later_method,
    make_contract_data,
    output_of,
    refusal_of,
)


def check_input_forms_agree(estimator: BaseEstimator) -> None:
    """Check that list, tuple, dict, Modalities and split table give one result."""
    X, y = make_contract_data(estimator)
    blocks = list(X.blocks)
    unnamed = Modalities(blocks)
    expected = output_of(clone_for_contract(estimator).fit(X, y), X)
    for form in (blocks, tuple(blocks), unnamed, X.to_dict()):
        found = output_of(clone_for_contract(estimator).fit(form, y), form)
        np.testing.assert_array_equal(found, expected, err_msg=type(form).__name__)
    table = X.to_array()
    # columns by name, and widths only
    for spec in (X.column_spec(), [block.shape[1] for block in blocks]):
        fitted = clone_for_contract(estimator, modalities=spec).fit(table, y)
        np.testing.assert_array_equal(output_of(fitted, table), expected, str(spec))


def check_layout_attributes(estimator: BaseEstimator) -> None:
    """Check the attributes that describe the modalities of `fit`."""
    X, y = make_contract_data(estimator)
    fitted = clone_for_contract(estimator).fit(X, y)
    assert fitted.n_modalities_in_ == 3
    assert fitted.modality_names_in_.tolist() == list(CONTRACT_MODALITIES)
    assert fitted.n_features_per_modality_in_.tolist() == [3, 4, 2]
    assert fitted.n_features_in_ == 9
    assert not hasattr(fitted, "feature_names_in_")


def check_modalities_are_matched_by_name(estimator: BaseEstimator) -> None:
    """Check that the order of modalities with names does not matter."""
    X, y = make_contract_data(estimator)
    fitted = clone_for_contract(estimator).fit(X, y)
    turned = X[list(reversed(CONTRACT_MODALITIES))]
    np.testing.assert_array_equal(output_of(fitted, X), output_of(fitted, turned))


def check_sample_order_only_permutes(estimator: BaseEstimator) -> None:
    """Check that fitting permuted samples gives the permuted result."""
    X, y = make_contract_data(estimator)
    order = np.random.default_rng(0).permutation(len(X))
    expected = output_of(clone_for_contract(estimator).fit(X, y), X)[order]
    if estimator.__modality_tags__().column_per_sample:
        # columns of the output follow the samples of fit
        by_sample = expected.reshape(len(order), -1, len(order))
        expected = by_sample[..., order].reshape(expected.shape)
    found = output_of(clone_for_contract(estimator).fit(X[order], y[order]), X[order])
    assert_same_output(found, expected, "the result depends on the order of samples")


def check_one_sample_does_not_depend_on_others(estimator: BaseEstimator) -> None:
    """Check that the result for a sample is the same alone and in a batch."""
    if not (hasattr(estimator, "predict") or hasattr(estimator, "transform")):
        return
    X, y = make_contract_data(estimator)
    fitted = clone_for_contract(estimator).fit(X, y)
    together = output_of(fitted, X)[7:8]
    alone = output_of(fitted, X[7:8])
    np.testing.assert_allclose(alone, together, rtol=1e-6, atol=1e-9)


def check_float32(estimator: BaseEstimator) -> None:
    """Check that float32 gives the result of float64, in float32 by the tag."""
    X, y = make_contract_data(estimator)
    single = Modalities({n: b.astype(np.float32) for n, b in X.to_dict().items()})
    expected = output_of(clone_for_contract(estimator).fit(X, y), X)
    found = output_of(clone_for_contract(estimator).fit(single, y), single)
    assert_same_output(found, expected, "float32 gives another result")
    tags = get_tags(estimator).transformer_tags
    if tags is not None and "float32" in tags.preserves_dtype:
        out = clone_for_contract(estimator).fit(single, y).transform(single)
        out = out.to_array() if isinstance(out, Modalities) else out
        assert out.dtype == np.float32, f"float32 became {out.dtype}"


def check_sparse(estimator: BaseEstimator) -> None:
    """Check that sparse modalities are accepted by the tag, else refused."""
    X, y = make_contract_data(estimator)
    mixed = Modalities(X.to_dict() | {"text": sparse.csr_array(np.abs(X["text"]))})
    if not get_tags(estimator).input_tags.sparse:
        message = refusal_of(clone_for_contract(estimator).fit, mixed, y)
        assert "text" in message, f"the error does not name the modality: {message}"
        return
    result = output_of(clone_for_contract(estimator).fit(mixed, y), mixed)
    assert len(result) == len(X)


def check_sparse_of_int64_indices(estimator: BaseEstimator) -> None:
    """Check that sparse matrices may have indices of 64 bits."""
    if not get_tags(estimator).input_tags.sparse:
        return
    X, y = make_contract_data(estimator)
    text = sparse.csr_array(np.abs(X["text"]))
    found = []
    for dtype in (np.int32, np.int64):
        indexed = sparse.csr_array(text)
        indexed.indices, indexed.indptr = (
            text.indices.astype(dtype),
            text.indptr.astype(dtype),
        )
        mixed = Modalities(X.to_dict() | {"text": indexed})
        found.append(output_of(clone_for_contract(estimator).fit(mixed, y), mixed))
    np.testing.assert_array_equal(found[0], found[1])


def check_memmap(estimator: BaseEstimator) -> None:
    """Check that read-only memmaps give the same result."""
    X, y = make_contract_data(estimator)
    expected = output_of(clone_for_contract(estimator).fit(X, y), X)
    with TemporaryDirectory() as folder:
        paths = {name: Path(folder, f"{name}.npy") for name in CONTRACT_MODALITIES}
        for name, path in paths.items():
            np.save(path, X[name])
        mapped = Modalities({n: np.load(p, mmap_mode="r") for n, p in paths.items()})
        found = output_of(clone_for_contract(estimator).fit(mapped, y), mapped)
        del mapped  # Windows does not remove files in use
    np.testing.assert_array_equal(found, expected)


def check_same_seed_same_result(estimator: BaseEstimator) -> None:
    """Check that two fits with one seed agree, and that `fit` returns self."""
    X, y = make_contract_data(estimator)
    first, second = clone_for_contract(estimator), clone_for_contract(estimator)
    assert first.fit(X, y) is first, "fit does not return self"
    np.testing.assert_array_equal(output_of(first, X), output_of(second.fit(X, y), X))


def check_global_seed(estimator: BaseEstimator) -> None:
    """Check that an estimator with a seed neither uses nor changes NumPy's."""
    X, y = make_contract_data(estimator)
    global_state = check_random_state(None)
    before = global_state.get_state()
    found = []
    try:
        for seed in (0, 1):
            global_state.seed(seed)
            state = joblib.hash(global_state.get_state())
            found.append(output_of(clone_for_contract(estimator).fit(X, y), X))
            after = joblib.hash(global_state.get_state())
            assert after == state, "the global random state of NumPy was changed"
    finally:  # other tests may draw from it
        global_state.set_state(before)
    np.testing.assert_array_equal(found[0], found[1])


def check_numpy_scalars(estimator: BaseEstimator) -> None:
    """Check that parameters may be scalars of NumPy."""
    # as searches over arrays set them; a bool of NumPy is not a bool of Python
    kinds = {int: np.int64, float: np.float64, bool: np.bool_}
    X, y = make_contract_data(estimator)
    prepared = clone_for_contract(estimator)
    given = {
        name: kinds[type(value)](value)
        for name, value in prepared.get_params(deep=False).items()
        if type(value) in kinds
    }
    expected = output_of(clone_for_contract(estimator).fit(X, y), X)
    found = output_of(prepared.set_params(**given).fit(X, y), X)
    np.testing.assert_array_equal(found, expected, err_msg=f"{given}")


def check_refit_equals_fit(estimator: BaseEstimator) -> None:
    """Check that a second fit on other modalities equals a first one."""
    X, y = make_contract_data(estimator)
    # other names, widths and numbers of samples
    other = Modalities({"touch": X["video"][:40], "heat": X["audio"][:40]})
    fresh = clone_for_contract(estimator).fit(other, y[:40])
    again = clone_for_contract(estimator).fit(X, y).fit(other, y[:40])
    np.testing.assert_array_equal(output_of(again, other), output_of(fresh, other))
    assert set(vars(again)) == set(vars(fresh)), "attributes of the first fit remain"


def check_fit_changes_no_input(estimator: BaseEstimator) -> None:
    """Check that `fit` changes neither parameters nor data."""
    X, y = make_contract_data(estimator)
    prepared = clone_for_contract(estimator)
    before = joblib.hash([prepared.get_params(deep=True), X, y])
    prepared.fit(X, y)
    output_of(prepared, X)
    after = joblib.hash([prepared.get_params(deep=True), X, y])
    assert before == after, "fit changed a parameter or the data"


def check_pickle(estimator: BaseEstimator) -> None:
    """Check that a fitted estimator can be pickled."""
    X, y = make_contract_data(estimator)
    fitted = clone_for_contract(estimator).fit(X, y)
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(output_of(fitted, X), output_of(copied, X))


def check_skops(estimator: BaseEstimator) -> None:
    """Check that skops stores and loads a fitted estimator, without pickle.

    Types of its package and `trusted_types` are trusted. Nothing is checked where
    skops is not installed.
    """
    if find_spec("skops") is None:
        return
    from skops.io import dumps, get_untrusted_types, loads

    X, y = make_contract_data(estimator)
    fitted = clone_for_contract(estimator).fit(X, y)
    stored, trusted = dumps(fitted), trusted_types()
    package = type(estimator).__module__.partition(".")[0]
    # the user who tests an estimator trusts its package
    if package != "mmfusion":
        found = get_untrusted_types(data=stored)
        trusted += [name for name in found if name.partition(".")[0] == package]
    loaded = loads(stored, trusted=trusted)
    np.testing.assert_array_equal(output_of(fitted, X), output_of(loaded, X))


def check_nested_parameters(estimator: BaseEstimator) -> None:
    """Check that nested parameters can be set, and that a clone has all of them."""
    prepared = clone_for_contract(estimator)
    params = prepared.get_params(deep=True)
    prepared.set_params(**params)
    assert set(clone(prepared).get_params(deep=True)) == set(params)


def check_missing_modalities(estimator: BaseEstimator) -> None:
    """Check that missing modalities are accepted by the tag, else refused."""
    X, y = make_contract_data(estimator, missing_rate=0.2)
    prepared = clone_for_contract(estimator)
    if not estimator.__modality_tags__().missing:
        message = refusal_of(prepared.fit, X, y)
        for part in ("missing", "sample", "ModalityImputer"):
            assert part in message, f"the error lacks {part!r}: {message}"
        return
    assert len(output_of(prepared.fit(X, y), X)) == len(X)
    if later_method(estimator) is not None:
        later = Modalities(X.to_dict() | {"text": None})
        partial = later[later.observed.any(axis=1)]
        assert len(output_of(prepared, partial)) == len(partial)
    unobserved = Modalities(X.to_dict() | {"text": None})
    message = refusal_of(prepared.fit, unobserved, y)
    assert "'text'" in message, f"the error does not name the modality: {message}"


def check_feature_names_out(estimator: BaseEstimator) -> None:
    """Check that there is a name for every feature, with the modality as prefix.

    Names of features of several modalities have the estimator as prefix, or the branch
    of hybrid fusion.
    """
    if not hasattr(estimator, "get_feature_names_out"):
        return
    X, y = make_contract_data(estimator)
    fitted = clone_for_contract(estimator).fit(X, y)
    names = fitted.get_feature_names_out()
    out = fitted.transform(X)
    out = out.to_array() if isinstance(out, Modalities) else out
    assert len(names) == out.shape[1]
    mixed = type(estimator).__name__.lower()
    branches = getattr(fitted, "estimators_", getattr(fitted, "clusterers_", {}))
    for name in names:
        origin = name.partition("__")[0]
        known = origin in CONTRACT_MODALITIES or origin in branches
        assert known or name.startswith(mixed), name


def check_row_labels_are_kept(estimator: BaseEstimator) -> None:
    """Check that rows match by label, and that output of every form keeps labels.

    Nothing is checked where pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        return
    X, y = make_contract_data(estimator)
    labels = pd.Index([f"s{i}" for i in range(len(X))])[::-1]
    frames = {
        name: pd.DataFrame(block, labels, [f"f{j}" for j in range(block.shape[1])])
        for name, block in X.to_dict().items()
    }
    fitted = clone_for_contract(estimator).fit(frames, pd.Series(y, labels))
    assert b"pandas" not in pickle.dumps(fitted), (
        "the estimator stores the row labels of fit"
    )
    if hasattr(fitted, "set_output"):
        table = pd.concat([f.add_prefix(name) for name, f in frames.items()], axis=1)
        of_table = clone_for_contract(estimator, modalities=X.column_spec()).fit(
            table, y
        )
        for transformer, form in (
            (fitted, Modalities(frames)),
            (fitted, frames),
            (fitted, list(frames.values())),
            (of_table, table),
        ):
            out = transformer.set_output(transform="pandas").transform(form)
            for block in out.blocks if isinstance(out, Modalities) else [out]:
                kept = block.index.equals(labels)
                assert kept, f"row labels of a {type(form).__name__} are lost"
    # rows of one modality in another order
    unlike = frames | {"text": frames["text"][::-1]}
    later = [getattr(fitted, method) for method in [later_method(estimator)] if method]
    fit = clone_for_contract(estimator).fit
    for call in (lambda data: fit(data, y), *later):
        message = refusal_of(call, unlike)
        for part in ("audio", "text", "labels"):
            assert part in message, f"the error lacks {part!r}: {message}"
    if get_tags(estimator).target_tags.required:
        message = refusal_of(fit, frames, pd.Series(y, labels)[::-1])
        assert "labels of y" in message, f"the error does not name y: {message}"
