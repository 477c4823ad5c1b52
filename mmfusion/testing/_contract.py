"""The multimodal contract: checks that every estimator of modalities must pass."""

from __future__ import annotations

from collections.abc import Callable

from sklearn.base import BaseEstimator

from mmfusion.testing import _refusal_checks, _result_checks


def check_multimodal_estimator(estimator: BaseEstimator) -> None:
    """Check that an estimator keeps the multimodal contract.

    All forms of input give the same result; the order of samples only permutes it;
    float32, memmaps and, where the tags declare it, sparse and missing modalities are
    accepted; a second fit does not depend on the first; `fit` changes neither
    parameters nor data; the fitted estimator can be pickled; nested parameters can be
    set; invalid input is refused with an error that names the modality.

    Use it in addition to scikit-learn's ``check_estimator``, which tests one table
    only.

    Parameters
    ----------
    estimator : estimator
        An unfitted clusterer, classifier, regressor or transformer that takes
        modalities. The checks set its ``n_clusters``, if it has this parameter, to
        that of their data, and ``random_state`` to 0.

    Raises
    ------
    AssertionError
        If the estimator breaks the contract.
    TypeError
        If it is not an estimator.

    See Also
    --------
    multimodal_checks : List the checks, for a parametrised test.

    Examples
    --------
    >>> from mmfusion import EarlyFusion
    >>> from mmfusion.testing import check_multimodal_estimator
    >>> check_multimodal_estimator(EarlyFusion())
    """
    if isinstance(estimator, type) or not hasattr(estimator, "get_params"):
        raise TypeError(
            f"estimator={estimator!r:.60} is not an estimator; give an instance of one"
        )
    for check in multimodal_checks():
        check(estimator)


def multimodal_checks() -> list[Callable[[BaseEstimator], None]]:
    """List the checks of the multimodal contract.

    Returns
    -------
    list of callable
        Each takes an unfitted estimator and raises AssertionError if it fails.

    See Also
    --------
    check_multimodal_estimator : Run all checks.

    Examples
    --------
    >>> from mmfusion.testing import multimodal_checks
    >>> len(multimodal_checks()) > 15
    True
    """
    return [
        _result_checks.check_input_forms_agree,
        _result_checks.check_layout_attributes,
        _result_checks.check_modalities_are_matched_by_name,
        _result_checks.check_sample_order_only_permutes,
        _result_checks.check_one_sample_does_not_depend_on_others,
        _result_checks.check_float32,
        _result_checks.check_sparse,
        _result_checks.check_sparse_of_int64_indices,
        _result_checks.check_memmap,
        _result_checks.check_same_seed_same_result,
        _result_checks.check_global_seed,
        _result_checks.check_numpy_scalars,
        _result_checks.check_refit_equals_fit,
        _result_checks.check_fit_changes_no_input,
        _result_checks.check_pickle,
        _result_checks.check_skops,
        _result_checks.check_nested_parameters,
        _result_checks.check_missing_modalities,
        _result_checks.check_feature_names_out,
        _result_checks.check_row_labels_are_kept,
        _refusal_checks.check_refuses_unlike_sample_counts,
        _refusal_checks.check_refuses_other_modalities,
        _refusal_checks.check_refuses_other_widths,
        _refusal_checks.check_refuses_non_finite,
        _refusal_checks.check_refuses_empty,
        _refusal_checks.check_refuses_strings_and_complex,
        _refusal_checks.check_refuses_columns_of_no_numbers,
        _refusal_checks.check_refuses_invalid_sparse,
    ]
