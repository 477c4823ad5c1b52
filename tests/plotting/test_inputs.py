"""What displays refuse, by name."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import sparse

from mmfusion.plotting import (
    AlignmentDisplay,
    AttentionWeightsDisplay,
    ClusterConfusionDisplay,
    ClusterMapDisplay,
    ClusterProfileDisplay,
    KernelMatrixDisplay,
    KernelWeightsDisplay,
    LabelTracksDisplay,
    LagDisplay,
    LatentMapDisplay,
    LossCurveDisplay,
    MissingModalitiesDisplay,
    ModalityAgreementDisplay,
    ModalitySilhouetteDisplay,
    ObjectivePathDisplay,
    ReliabilityDisplay,
    StatePosteriorDisplay,
)

K = np.eye(6)
LABELS = [0, 0, 1, 1, 2, 2]
LATENTS = {"a": np.arange(12.0).reshape(6, 2) ** 2}
CALLS = {
    "alignment": lambda **changed: AlignmentDisplay.from_predictions(
        **{"x": [1.0, 2, 3], "y": [1.0, 3], "path": [[0, 0], [2, 1]], **changed}
    ),
    "attention": lambda **changed: AttentionWeightsDisplay.from_predictions(
        **{"weights": [1, 2], "names": ["a", "b"], "labels": [0, 1], **changed}
    ),
    "matrices": lambda **changed: KernelMatrixDisplay.from_predictions(
        **{"kernels": [K, K], "labels": LABELS, **changed}
    ),
    "weights": lambda **changed: KernelWeightsDisplay.from_predictions(
        **{"weights": [1, 2], "names": ["a", "b"], **changed}
    ),
    "tracks": lambda **changed: LabelTracksDisplay.from_predictions(
        **{"tracks": {"known": ["a", "b"], "predicted": ["a", "a"]}, **changed}
    ),
    "lag": lambda **changed: LagDisplay.from_predictions(
        **{"lag": [0.0, -0.5, 1.0], "names": ["a", "b"], **changed}
    ),
    "map": lambda **changed: LatentMapDisplay.from_predictions(
        **{"fused": LATENTS["a"], "latents": LATENTS, "labels": LABELS, **changed}
    ),
    "clusters": lambda **changed: ClusterMapDisplay.from_predictions(
        **{"X": LATENTS, "labels": LABELS, **changed}
    ),
    "silhouettes": lambda **changed: ModalitySilhouetteDisplay.from_predictions(
        **{"X": LATENTS, "labels": LABELS, **changed}
    ),
    "profiles": lambda **changed: ClusterProfileDisplay.from_predictions(
        **{"X": LATENTS, "labels": LABELS, **changed}
    ),
    "agreement": lambda **changed: ModalityAgreementDisplay.from_predictions(
        **{"labels": {"a": LABELS, "b": LABELS[::-1]}, **changed}
    ),
    "neighbors": lambda **changed: ModalityAgreementDisplay.from_modalities(
        **{"X": LATENTS, **changed}
    ),
    "confusion": lambda **changed: ClusterConfusionDisplay.from_predictions(
        **{"labels": LABELS, "other_labels": LABELS[::-1], **changed}
    ),
    "missing": lambda **changed: MissingModalitiesDisplay.from_modalities(
        **{"X": LATENTS, **changed}
    ),
    "curves": lambda **changed: LossCurveDisplay.from_predictions(
        **{"history": [{"train_loss": 1.0}, {"train_loss": 0.5}], **changed}
    ),
    "path": lambda **changed: ObjectivePathDisplay.from_predictions(
        **{"path": [3.0, 2.0], **changed}
    ),
    "reliability": lambda **changed: ReliabilityDisplay.from_predictions(
        **{"reliability": {"a": [0.0, np.nan, 1.0], "b": [0.5]}, **changed}
    ),
    "states": lambda **changed: StatePosteriorDisplay.from_predictions(
        **{"posteriors": [[0.7, 0.3], [0.0, 1.0]], "states": [0, 1], **changed}
    ),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_inputs_that_are_right_are_drawn(call):
    assert call().figure_ is not None


@pytest.mark.parametrize("ax", [3, "ax", [], np.ones(3), [1, "a", None], K, plt])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_no_axes_is_refused(call, ax):
    with pytest.raises((TypeError, ValueError), match=r"^ax "):
        call(ax=ax)


WRONG = [
    ("lag", "lag", [[0.0, 1.0]]),
    ("lag", "lag", [0.0, np.nan]),
    ("lag", "names", ["a"]),
    ("alignment", "names", ["x"]),
    ("alignment", "names", {}),
    ("alignment", "names", 3),
    ("alignment", "path", [[0, 0.5], [2, 1]]),
    ("alignment", "path", [["a", "b"]]),
    ("attention", "names", 3),
    ("attention", "names", []),
    ("attention", "labels", [0, np.nan]),
    ("attention", "labels", 3),
    ("attention", "observed", [[1, 2], [1, 1]]),
    ("attention", "observed", [["a", "b"], ["a", "b"]]),
    ("matrices", "kernels", "K"),
    ("matrices", "kernels", 3),
    ("matrices", "kernels", {}),
    ("matrices", "labels", [0, 0, 1, 1, 2, None]),
    ("matrices", "labels", sparse.csr_array(np.eye(6))),
    ("matrices", "names", 3),
    ("matrices", "weights", ["a", "b"]),
    ("matrices", "weights", [np.nan, 1]),
    ("matrices", "max_samples", 0.5),
    ("matrices", "max_samples", True),
    ("matrices", "max_samples", 0),
    ("weights", "weights", ["a", "b"]),
    ("weights", "weights", [[1], [2, 3]]),
    ("weights", "weights", [10**400, 1]),
    ("weights", "names", 3),
    ("weights", "names", "ab"),
    ("weights", "kernel_modalities", 3),
    ("map", "fused", [["a", "b"]] * 6),
    ("map", "latents", LATENTS["a"]),
    ("map", "labels", [0, 0, 1, 1, 2, np.inf]),
    ("map", "reducer", ()),
    ("map", "legend_title", K),
    ("clusters", "labels", LABELS[:5]),
    ("clusters", "fused", [[1.0, 2.0]]),
    ("clusters", "fused", [["a", "b"]] * 6),
    ("clusters", "reducer", ()),
    ("clusters", "max_samples", 0),
    ("clusters", "random_state", "a"),
    ("clusters", "legend_title", K),
    ("silhouettes", "labels", LABELS[:5]),
    ("silhouettes", "labels", None),
    ("silhouettes", "max_samples", 0.5),
    ("silhouettes", "random_state", "a"),
    ("profiles", "labels", [0] * 6),
    ("profiles", "labels", LABELS[:5]),
    ("profiles", "n_features", 0),
    ("profiles", "n_features", 0.5),
    ("agreement", "labels", {}),
    ("agreement", "labels", LABELS),
    ("agreement", "labels", {"a": LABELS, "b": LABELS[:5]}),
    ("neighbors", "n_neighbors", 0),
    ("neighbors", "max_samples", True),
    ("neighbors", "random_state", "a"),
    ("confusion", "labels", [0, 0, 1, 1, 2, None]),
    ("confusion", "other_labels", LABELS[:5]),
    ("confusion", "names", ["a"]),
    ("confusion", "names", 3),
    ("missing", "grouped", "yes"),
    ("curves", "history", 3),
    ("curves", "history", [1, 2]),
    ("curves", "terms", 3),
    ("curves", "terms", "loss"),
    ("path", "path", ["a", "b"]),
    ("path", "path", 3),
    ("reliability", "reliability", {}),
    ("reliability", "reliability", [0.5, 0.5]),
    ("reliability", "reliability", {"a": [0.5, 1.5]}),
    ("reliability", "reliability", {"a": [[0.5, 0.5]]}),
    ("reliability", "reliability", {"a": ["x"]}),
    ("reliability", "reliability", {"a": []}),
    ("states", "posteriors", {}),
    ("states", "posteriors", [0.5, 0.5]),
    ("states", "posteriors", [[0.5, -0.5], [0.5, 0.5]]),
    ("states", "posteriors", [[np.nan, 0.5], [0.5, 0.5]]),
    ("states", "posteriors", [["a", "b"], ["a", "b"]]),
    ("states", "states", [0]),
    ("states", "states", [0, 2]),
    ("states", "states", [0, 0.5]),
    ("states", "states", {"audio": [0, 1]}),
]


@pytest.mark.parametrize(("display", "parameter", "value"), WRONG)
def test_what_cannot_be_drawn_is_refused_by_name(display, parameter, value):
    with pytest.raises((TypeError, ValueError), match=parameter):
        CALLS[display](**{parameter: value})


@pytest.mark.parametrize("kernel", [np.ones(6), np.ones((6, 6, 2, 2)), "a", K[:5]])
def test_a_kernel_that_is_no_matrix_is_refused_by_name(kernel):
    with pytest.raises((TypeError, ValueError), match="kernel 'b'"):
        CALLS["matrices"](kernels={"a": K, "b": kernel})


def test_numbers_of_samples_may_be_of_numpy():
    display = CALLS["matrices"](max_samples=np.int64(3))
    assert len(display.labels) == 3


@pytest.mark.parametrize("offset", [0.0, 1e9])
@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e200])
def test_curves_of_an_alignment_depend_on_no_unit_or_offset(unit, offset):
    curve = np.array([0.0, 1.0, 4.0, 2.0])
    plain = AlignmentDisplay.from_predictions(curve, curve, [[0, 0], [3, 3]])
    moved = unit * (curve + offset)
    other = AlignmentDisplay.from_predictions(moved, moved, [[0, 0], [3, 3]])
    for one, two in zip(plain.axes_[2].lines, other.axes_[2].lines, strict=True):
        np.testing.assert_allclose(one.get_ydata(), two.get_ydata(), atol=1e-6)


@pytest.mark.parametrize("value", [0.1, 1.7e9, 1e300])
def test_a_constant_sequence_is_a_line(value):
    constant = np.full(7, value)
    display = AlignmentDisplay.from_predictions(constant, constant, [[0, 0], [6, 6]])
    np.testing.assert_array_equal(display.axes_[2].lines[0].get_ydata(), 0)


def test_a_damaged_sparse_matrix_is_refused():
    damaged = sparse.csr_array(np.eye(3))
    damaged.indices = damaged.indices + 10**6
    with pytest.raises(ValueError, match="weights is a damaged sparse matrix"):
        KernelWeightsDisplay.from_predictions(damaged, ["a", "b", "c"])
