"""Which of scikit-learn's own tests do not hold for a pool, and why. Names that no test has make the run fail.

They are written for ``n_jobs=1``, and here everything runs in workers: all but the last two fail in the block of
``parallel_config("loky", n_jobs=2)``, too.
"""

from __future__ import annotations

__all__ = ["LONG", "OTHERS", "SKIPS", "WRITTEN_FOR"]

WRITTEN_FOR = (1, 9)
"""The version of scikit-learn that has all of these tests; older ones have some."""

LONG = (
    "test_class_weights_forest",
    "test_cross_val_predict_class_subset",
    "test_cross_val_predict_with_method",
    "test_cross_val_score",
    "test_gridsearchcv_cross_val_predict_with_method",
    "test_memory_layout",
)
"""Tests that are left out for their length; others do the same with fewer fits."""

OTHERS = ("ExtraTrees", "RandomTreesEmbedding", "_matrix", "array_api", "permutation_score", "permutation_test_score")
"""Parts of names that are left out: other forests and sparse forms, which run by the same code; devices that are not
here; and fits by the hundred."""

SKIPS = {
    "expects to be warned by what runs in a worker; there the warning is a line of the slot's output": (
        "test_cross_val_predict[coo_array]",
        "test_cross_val_predict[coo_matrix]",
        "test_cross_val_score_failing_scorer",
        "test_cross_validate_failing_scorer[False-False-0]",
        "test_cross_validate_failing_scorer[False-False-nan]",
        "test_cross_validate_failing_scorer[False-True-0]",
        "test_cross_validate_failing_scorer[False-True-nan]",
        "test_cross_validate_failing_scorer[True-False-0]",
        "test_cross_validate_failing_scorer[True-False-nan]",
        "test_cross_validate_failing_scorer[True-True-0]",
        "test_cross_validate_failing_scorer[True-True-nan]",
        "test_cross_validate_invalid_scoring_param",
        "test_searchcv_raise_warning_with_non_finite_score",
    ),
    "reads from this process's output what workers print, which comes a moment after the results": (
        "test_search_cv_verbose_3",
    ),
    "looks in a list of this process for the estimators that workers have copies of": (
        "test_learning_curve_exploit_incremental_learning_routing",
        "test_metadata_routing_with_dynamic_method_selection",
        "test_multi_metric_search_forwards_metadata",
        "test_validation_functions_routing[cross_val_predict-extra_args2]",
        "test_validation_functions_routing[cross_val_score-extra_args1]",
        "test_validation_functions_routing[cross_validate-extra_args0]",
        "test_validation_functions_routing[learning_curve-extra_args3]",
        "test_validation_functions_routing[validation_curve-extra_args5]",
    ),
    "counts in a list of this process how often workers call a function": ("test_cross_val_score_score_func",),
    "compares estimators that workers have copies of by their identity": (
        "test_search_callbacks_receive_search_instance",
        "test_search_callbacks_with_partial_fit_failures",
    ),
    "gives a search a generator of its splits, which it hands on to the workers, and which no pickle takes": (
        "test_grid_search_cv_splits_consistency",
    ),
    "several calls fail, and the error of the first is expected; raised is that of the call that fails first": (
        "test_learning_curve_params",
        "test_cross_val_predict_decision_function_shape",
    ),
    "makes another backend of the class of the one in force, without a pool to run on": ("test_backend_respected",),
}
