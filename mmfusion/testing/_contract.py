"""The multimodal contract: what every estimator owes those who have modalities."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted

from mmfusion.datasets import make_multimodal_blobs
from mmfusion.modalities import Modalities
from mmfusion.persistence import trusted_types

N_CLUSTERS = 3
NAMES = ("audio", "text", "video")


def check_multimodal_estimator(estimator: Any) -> None:
    """Check that an estimator keeps the multimodal contract.

    All forms of input give the same result; the order of samples only permutes it;
    float32, memmaps and, where claimed, sparse and missing modalities work; a second
    fit forgets the first; `fit` touches neither parameters nor data; it pickles;
    nested parameters can be set; bad input is refused with an error that names the
    modality.

    Use it beside scikit-learn's ``check_estimator``, which knows one table only.

    Parameters
    ----------
    estimator : estimator
        An unfitted clusterer, classifier, regressor or transformer that takes
        modalities. If it has a parameter ``n_clusters``, it is set to that of the
        data of the checks, and ``random_state`` to 0.

    Raises
    ------
    AssertionError
        If the contract is broken; the message tells how.
    TypeError
        If it is no estimator.

    See Also
    --------
    multimodal_checks : The checks one by one, for a parametrised test.

    Examples
    --------
    >>> from mmfusion import EarlyFusion
    >>> from mmfusion.testing import check_multimodal_estimator
    >>> check_multimodal_estimator(EarlyFusion())
    """
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise TypeError(
            f"estimator={estimator!r:.60} is no estimator; give an instance of one"
        )
    for check in multimodal_checks():
        check(estimator)


def multimodal_checks() -> list[Callable[[Any], None]]:
    """List the checks of the multimodal contract.

    Returns
    -------
    list of callable
        Each takes an unfitted estimator and raises AssertionError if it fails.

    See Also
    --------
    check_multimodal_estimator : Runs them all.

    Examples
    --------
    >>> from mmfusion.testing import multimodal_checks
    >>> len(multimodal_checks()) > 15
    True
    """
    return [
        check_input_forms_agree,
        check_layout_attributes,
        check_modalities_are_matched_by_name,
        check_sample_order_only_permutes,
        check_one_sample_does_not_depend_on_others,
        check_float32,
        check_sparse,
        check_sparse_of_int64_indices,
        check_memmap,
        check_same_seed_same_result,
        check_global_seed,
        check_numpy_scalars,
        check_refit_forgets,
        check_fit_touches_nothing,
        check_pickle,
        check_skops,
        check_nested_parameters,
        check_missing_modalities,
        check_feature_names_out,
        check_row_labels,
        check_refuses_unlike_sample_counts,
        check_refuses_other_modalities,
        check_refuses_other_widths,
        check_refuses_non_finite,
        check_refuses_empty,
        check_refuses_strings_and_complex,
        check_refuses_columns_of_no_numbers,
        check_refuses_invalid_sparse,
    ]


def _data(missing_rate: float = 0.0) -> Any:
    return make_multimodal_blobs(
        60,
        dict(zip(NAMES, (3, 4, 2), strict=True)),
        centers=N_CLUSTERS,
        cluster_std=0.5,
        missing_rate=missing_rate,
        random_state=0,
    )


def _prepared(estimator: Any, **params: Any) -> Any:
    known = estimator.get_params(deep=False)
    defaults = {"n_clusters": N_CLUSTERS, "random_state": 0}
    given = {k: v for k, v in defaults.items() if k in known} | params
    return clone(estimator).set_params(**given)


def _result(estimator: Any, X: Any) -> np.ndarray:
    """What a fitted estimator says of X, as an array."""
    check_is_fitted(estimator)
    if hasattr(estimator, "predict"):
        return np.asarray(estimator.predict(X))
    if hasattr(estimator, "transform"):
        out = estimator.transform(X)
        out = out.to_array() if isinstance(out, Modalities) else out
        return out.toarray() if sparse.issparse(out) else np.asarray(out)
    return estimator.labels_


def _assert_same(a: np.ndarray, b: np.ndarray, message: str) -> None:
    if a.dtype.kind in "iu":
        assert a.shape == b.shape, message
        assert adjusted_rand_score(a, b) == 1, message
    else:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=message)


def _refusal(call: Callable[..., Any], *args: Any) -> str:
    """The message of the ValueError or TypeError that a call must raise."""
    try:
        call(*args)
    except (ValueError, TypeError) as error:
        return str(error)
    raise AssertionError("bad input was taken without an error")


def check_input_forms_agree(estimator: Any) -> None:
    """A list, tuple, dict, frame and split table are the same data."""
    X, y = _data()
    blocks = list(X.blocks)
    unnamed = Modalities(blocks)
    expected = _result(_prepared(estimator).fit(X, y), X)
    for form in (blocks, tuple(blocks), unnamed, X.to_dict()):
        found = _result(_prepared(estimator).fit(form, y), form)
        np.testing.assert_array_equal(found, expected, err_msg=type(form).__name__)
    table = X.to_array()
    for spec in (X.column_spec(), [block.shape[1] for block in blocks]):
        fitted = _prepared(estimator, modalities=spec).fit(table, y)
        np.testing.assert_array_equal(_result(fitted, table), expected, str(spec))


def check_layout_attributes(estimator: Any) -> None:
    """`fit` tells what it saw."""
    X, y = _data()
    fitted = _prepared(estimator).fit(X, y)
    assert fitted.n_modalities_in_ == 3
    assert fitted.modality_names_in_.tolist() == list(NAMES)
    assert fitted.n_features_per_modality_in_.tolist() == [3, 4, 2]
    assert fitted.n_features_in_ == 9
    assert not hasattr(fitted, "feature_names_in_")


def check_modalities_are_matched_by_name(estimator: Any) -> None:
    """A dict in another order is the same data."""
    X, y = _data()
    fitted = _prepared(estimator).fit(X, y)
    turned = X[list(reversed(NAMES))]
    np.testing.assert_array_equal(_result(fitted, X), _result(fitted, turned))


def check_sample_order_only_permutes(estimator: Any) -> None:
    """Fitting shuffled samples gives the shuffled result."""
    X, y = _data()
    order = np.random.default_rng(0).permutation(len(X))
    expected = _result(_prepared(estimator).fit(X, y), X)[order]
    if estimator.__modality_tags__().column_per_sample:
        by_sample = expected.reshape(len(order), -1, len(order))
        expected = by_sample[..., order].reshape(expected.shape)
    found = _result(_prepared(estimator).fit(X[order], y[order]), X[order])
    _assert_same(found, expected, "the result depends on the order of samples")


def check_one_sample_does_not_depend_on_others(estimator: Any) -> None:
    """What is said of a sample is the same alone and in a batch."""
    if not (hasattr(estimator, "predict") or hasattr(estimator, "transform")):
        return
    X, y = _data()
    fitted = _prepared(estimator).fit(X, y)
    together = _result(fitted, X)[7:8]
    alone = _result(fitted, X[7:8])
    np.testing.assert_allclose(alone, together, rtol=1e-6, atol=1e-9)


def check_float32(estimator: Any) -> None:
    """float32 gives the result of float64, in float32 where that is claimed."""
    X, y = _data()
    single = Modalities({n: b.astype(np.float32) for n, b in X.to_dict().items()})
    expected = _result(_prepared(estimator).fit(X, y), X)
    found = _result(_prepared(estimator).fit(single, y), single)
    _assert_same(found, expected, "float32 gives another result")
    tags = get_tags(estimator).transformer_tags
    if tags is not None and "float32" in tags.preserves_dtype:
        out = _prepared(estimator).fit(single, y).transform(single)
        out = out.to_array() if isinstance(out, Modalities) else out
        assert out.dtype == np.float32, f"float32 became {out.dtype}"


def check_sparse(estimator: Any) -> None:
    """Sparse modalities work beside dense ones, or are refused."""
    X, y = _data()
    mixed = Modalities(X.to_dict() | {"text": sparse.csr_array(np.abs(X["text"]))})
    if not get_tags(estimator).input_tags.sparse:
        message = _refusal(_prepared(estimator).fit, mixed, y)
        assert "text" in message, f"the error does not name the modality: {message}"
        return
    result = _result(_prepared(estimator).fit(mixed, y), mixed)
    assert len(result) == len(X)


def check_sparse_of_int64_indices(estimator: Any) -> None:
    """Sparse matrices with large indices are the same data."""
    if not get_tags(estimator).input_tags.sparse:
        return
    X, y = _data()
    text = sparse.csr_array(np.abs(X["text"]))
    found = []
    for dtype in (np.int32, np.int64):
        indexed = sparse.csr_array(text)
        indexed.indices, indexed.indptr = (
            text.indices.astype(dtype),
            text.indptr.astype(dtype),
        )
        mixed = Modalities(X.to_dict() | {"text": indexed})
        found.append(_result(_prepared(estimator).fit(mixed, y), mixed))
    np.testing.assert_array_equal(found[0], found[1])


def check_memmap(estimator: Any) -> None:
    """Read-only memmaps give the same result."""
    X, y = _data()
    expected = _result(_prepared(estimator).fit(X, y), X)
    with TemporaryDirectory() as folder:
        paths = {name: Path(folder, f"{name}.npy") for name in NAMES}
        for name, path in paths.items():
            np.save(path, X[name])
        mapped = Modalities({n: np.load(p, mmap_mode="r") for n, p in paths.items()})
        found = _result(_prepared(estimator).fit(mapped, y), mapped)
        del mapped  # Windows does not remove files in use
    np.testing.assert_array_equal(found, expected)


def check_same_seed_same_result(estimator: Any) -> None:
    """Two fits with one seed agree, and `fit` returns the estimator."""
    X, y = _data()
    first, second = _prepared(estimator), _prepared(estimator)
    assert first.fit(X, y) is first, "fit does not return self"
    np.testing.assert_array_equal(_result(first, X), _result(second.fit(X, y), X))


def check_global_seed(estimator: Any) -> None:
    """With a seed of its own, an estimator neither uses nor changes NumPy's."""
    X, y = _data()
    of_numpy = check_random_state(None)
    before = of_numpy.get_state()
    found = []
    try:
        for seed in (0, 1):
            of_numpy.seed(seed)
            state = joblib.hash(of_numpy.get_state())
            found.append(_result(_prepared(estimator).fit(X, y), X))
            after = joblib.hash(of_numpy.get_state())
            assert after == state, "the global random state of NumPy was changed"
    finally:
        of_numpy.set_state(before)
    np.testing.assert_array_equal(found[0], found[1])


def check_numpy_scalars(estimator: Any) -> None:
    """Parameters given as NumPy's scalars mean what Python's do."""
    kinds = {int: np.int64, float: np.float64, bool: np.bool_}
    X, y = _data()
    prepared = _prepared(estimator)
    given = {
        name: kinds[type(value)](value)
        for name, value in prepared.get_params(deep=False).items()
        if type(value) in kinds
    }
    expected = _result(_prepared(estimator).fit(X, y), X)
    found = _result(prepared.set_params(**given).fit(X, y), X)
    np.testing.assert_array_equal(found, expected, err_msg=f"{given}")


def check_refit_forgets(estimator: Any) -> None:
    """A second fit on other modalities is like a first one."""
    X, y = _data()
    other = Modalities({"touch": X["video"][:40], "heat": X["audio"][:40]})
    fresh = _prepared(estimator).fit(other, y[:40])
    again = _prepared(estimator).fit(X, y).fit(other, y[:40])
    np.testing.assert_array_equal(_result(again, other), _result(fresh, other))
    assert set(vars(again)) == set(vars(fresh)), "attributes of the first fit are left"


def check_fit_touches_nothing(estimator: Any) -> None:
    """`fit` changes neither parameters nor data."""
    X, y = _data()
    prepared = _prepared(estimator)
    before = joblib.hash([prepared.get_params(deep=True), X, y])
    prepared.fit(X, y)
    _result(prepared, X)
    after = joblib.hash([prepared.get_params(deep=True), X, y])
    assert before == after, "fit changed a parameter or the data"


def check_pickle(estimator: Any) -> None:
    """A fitted estimator pickles."""
    X, y = _data()
    fitted = _prepared(estimator).fit(X, y)
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(_result(fitted, X), _result(copied, X))


def check_skops(estimator: Any) -> None:
    """A fitted estimator is stored and loaded by skops, without pickle.

    Its package is trusted, and `trusted_types`. Left out where skops is not installed.
    """
    if find_spec("skops") is None:
        return
    from skops.io import dumps, get_untrusted_types, loads

    X, y = _data()
    fitted = _prepared(estimator).fit(X, y)
    stored, trusted = dumps(fitted), trusted_types()
    package = type(estimator).__module__.partition(".")[0]
    if package != "mmfusion":
        found = get_untrusted_types(data=stored)
        trusted += [name for name in found if name.partition(".")[0] == package]
    loaded = loads(stored, trusted=trusted)
    np.testing.assert_array_equal(_result(fitted, X), _result(loaded, X))


def check_nested_parameters(estimator: Any) -> None:
    """Every parameter can be set to what it is, and a clone has them all."""
    prepared = _prepared(estimator)
    params = prepared.get_params(deep=True)
    prepared.set_params(**params)
    assert set(clone(prepared).get_params(deep=True)) == set(params)


def check_missing_modalities(estimator: Any) -> None:
    """Samples that lack modalities work where that is claimed, else are refused."""
    X, y = _data(missing_rate=0.2)
    prepared = _prepared(estimator)
    if not estimator.__modality_tags__().missing:
        message = _refusal(prepared.fit, X, y)
        for part in ("missing", "sample", "ModalityImputer"):
            assert part in message, f"the error lacks {part!r}: {message}"
        return
    assert len(_result(prepared.fit(X, y), X)) == len(X)
    if _method(estimator) is not None:
        later = Modalities(X.to_dict() | {"text": None})
        seen = later[later.observed.any(axis=1)]
        assert len(_result(prepared, seen)) == len(seen)
    nobody = Modalities(X.to_dict() | {"text": None})
    message = _refusal(prepared.fit, nobody, y)
    assert "'text'" in message, f"the error does not name the modality: {message}"


def check_feature_names_out(estimator: Any) -> None:
    """Names of features are as many as features, and tell the modality.

    Those of features that mix modalities tell the estimator.
    """
    if not hasattr(estimator, "get_feature_names_out"):
        return
    X, y = _data()
    fitted = _prepared(estimator).fit(X, y)
    names = fitted.get_feature_names_out()
    out = fitted.transform(X)
    out = out.to_array() if isinstance(out, Modalities) else out
    assert len(names) == out.shape[1]
    mixed = type(estimator).__name__.lower()
    for name in names:
        assert name.partition("__")[0] in NAMES or name.startswith(mixed), name


def check_row_labels(estimator: Any) -> None:
    """Labelled rows are not mixed up, and label the output of every input form.

    Not checked where pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        return
    X, y = _data()
    labels = pd.Index([f"s{i}" for i in range(len(X))])[::-1]
    frames = {
        name: pd.DataFrame(block, labels, [f"f{j}" for j in range(block.shape[1])])
        for name, block in X.to_dict().items()
    }
    fitted = _prepared(estimator).fit(frames, pd.Series(y, labels))
    assert b"pandas" not in pickle.dumps(fitted), "the estimator holds labels of fit"
    if hasattr(fitted, "set_output"):
        table = pd.concat([f.add_prefix(name) for name, f in frames.items()], axis=1)
        of_table = _prepared(estimator, modalities=X.column_spec()).fit(table, y)
        for transformer, form in (
            (fitted, Modalities(frames)),
            (fitted, frames),
            (fitted, list(frames.values())),
            (of_table, table),
        ):
            out = transformer.set_output(transform="pandas").transform(form)
            for block in out.blocks if isinstance(out, Modalities) else [out]:
                kept = block.index.equals(labels)
                assert kept, f"labels are lost, given by {type(form).__name__}"
    unlike = frames | {"text": frames["text"][::-1]}
    later = [getattr(fitted, method) for method in [_method(estimator)] if method]
    fit = _prepared(estimator).fit
    for call in (lambda data: fit(data, y), *later):
        message = _refusal(call, unlike)
        for part in ("audio", "text", "labels"):
            assert part in message, f"the error lacks {part!r}: {message}"
    if get_tags(estimator).target_tags.required:
        message = _refusal(fit, frames, pd.Series(y, labels)[::-1])
        assert "labels of y" in message, f"the error does not name y: {message}"


def check_refuses_unlike_sample_counts(estimator: Any) -> None:
    """Modalities that disagree on the number of samples are refused."""
    X, y = _data()
    uneven = [X["audio"], X["video"][:-1]]
    message = _refusal(_prepared(estimator).fit, uneven, y)
    for part in ("modality_1", "60", "59"):
        assert part in message, f"the error lacks {part!r}: {message}"


def check_refuses_other_modalities(estimator: Any) -> None:
    """Modalities that are fewer or called otherwise than in fit are refused."""
    method = _method(estimator)
    if method is None:
        return
    X, y = _data()
    fitted = _prepared(estimator).fit(X, y)
    _refusal(getattr(fitted, method), X[["audio", "video"]])
    renamed = Modalities(dict(zip(("audio", "text", "heat"), X.blocks, strict=True)))
    message = _refusal(getattr(fitted, method), renamed)
    for part in ("heat", "video"):
        assert part in message, f"the error lacks {part!r}: {message}"


def check_refuses_other_widths(estimator: Any) -> None:
    """A modality with another number of features than in fit is refused."""
    method = _method(estimator)
    if method is None:
        return
    X, y = _data()
    fitted = _prepared(estimator).fit(X, y)
    narrow = Modalities(X.to_dict() | {"text": X["text"][:, :2]})
    message = _refusal(getattr(fitted, method), narrow)
    for part in ("text", "2", "4"):
        assert part in message, f"the error lacks {part!r}: {message}"


def _method(estimator: Any) -> str | None:
    methods = ("predict", "transform")
    return next((m for m in methods if hasattr(estimator, m)), None)


def check_refuses_non_finite(estimator: Any) -> None:
    """NaN or infinity in a modality that a sample has is refused."""
    if get_tags(estimator).input_tags.allow_nan:
        return
    X, y = _data()
    for bad in (np.nan, np.inf):
        text = X["text"].copy()
        text[5, 1] = bad
        spoilt = Modalities(X.to_dict() | {"text": text})
        message = _refusal(_prepared(estimator).fit, spoilt, y)
        assert "text" in message, f"the error does not name the modality: {message}"


def check_refuses_empty(estimator: Any) -> None:
    """No modality, and no sample, are refused."""
    X, y = _data()
    _refusal(_prepared(estimator).fit, [], y[:0])
    _refusal(_prepared(estimator).fit, {}, y[:0])
    assert "0 sample" in _refusal(_prepared(estimator).fit, X[:0], y[:0])


def check_refuses_strings_and_complex(estimator: Any) -> None:
    """Strings and complex numbers are refused, unless strings are claimed."""
    if get_tags(estimator).input_tags.string:
        return
    X, y = _data()
    for bad in (X["text"].astype(str).astype("<U3"), X["text"] + 1j):
        bad[0, 0] = "no" if bad.dtype.kind == "U" else bad[0, 0]
        message = _refusal(
            _prepared(estimator).fit, Modalities(X.to_dict() | {"text": bad}), y
        )
        assert "text" in message, f"the error does not name the modality: {message}"


def check_refuses_columns_of_no_numbers(estimator: Any) -> None:
    """Text and integers beyond floats are refused, by modality and column."""
    if get_tags(estimator).input_tags.string:
        return
    X, y = _data()
    for bad in ("word", 10**400):
        text = X["text"].astype(object)
        text[:, 2] = bad
        message = _refusal(
            _prepared(estimator).fit, Modalities(X.to_dict() | {"text": text}), y
        )
        for part in ("text", "2"):
            assert part in message, f"the error lacks {part!r}: {message}"


def check_refuses_invalid_sparse(estimator: Any) -> None:
    """A sparse matrix whose indices are out of range is refused."""
    X, y = _data()
    text = sparse.csr_array(np.abs(X["text"]))
    text.indices = np.full_like(text.indices, 10**6)
    blocks = X.to_dict() | {"text": text}
    message = _refusal(lambda: _prepared(estimator).fit(blocks, y))
    assert "text" in message, f"the error does not name the modality: {message}"
    method = _method(estimator)
    if method is not None:
        fitted = _prepared(estimator).fit(X, y)
        message = _refusal(lambda: getattr(fitted, method)(blocks))
        assert "text" in message, f"the error does not name the modality: {message}"
