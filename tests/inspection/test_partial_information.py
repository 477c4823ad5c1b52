"""Parts of information: known distributions, a slow reference, and errors."""

from itertools import product
from math import log2

import numpy as np
import pytest

from mmfusion.inspection import partial_information
from tests.inspection.toys import DISTRIBUTIONS


def parts_of(result):
    return [result.redundancy, result.unique_1, result.unique_2, result.synergy]


def reference(x1, x2, y, weights):
    """The definition, by loops over values."""
    total = sum(weights)

    def p(**fixed):
        columns = {"a": x1, "b": x2, "y": y}
        return (
            sum(
                w
                for i, w in enumerate(weights)
                if all(columns[k][i] == value for k, value in fixed.items())
            )
            / total
        )

    def specific(key, target):
        information = 0.0
        for value in set({"a": x1, "b": x2}[key]):
            joint = p(**{key: value, "y": target})
            if joint:
                ratio = joint / (p(**{key: value}) * p(y=target))
                information += joint / p(y=target) * log2(ratio)
        return information

    targets = [target for target in set(y) if p(y=target)]
    redundancy = sum(p(y=t) * min(specific("a", t), specific("b", t)) for t in targets)
    single = [sum(p(y=t) * specific(k, t) for t in targets) for k in "ab"]
    joint = 0.0
    for a, b, t in product(set(x1), set(x2), targets):
        mass = p(a=a, b=b, y=t)
        if mass:
            joint += mass * log2(mass / (p(a=a, b=b) * p(y=t)))
    first, second = (one - redundancy for one in single)
    return [redundancy, first, second, joint - redundancy - first - second]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_known_distributions_have_their_parts(name):
    rows, expected = DISTRIBUTIONS[name]
    result = partial_information(*np.array(rows).T)
    assert parts_of(result) == pytest.approx(expected, abs=1e-12)


def test_the_conjunction_has_the_published_values():
    result = partial_information(*np.array(DISTRIBUTIONS["and"][0]).T)
    assert result.redundancy == pytest.approx(0.311, abs=5e-4)
    assert result.joint_information == pytest.approx(0.811, abs=5e-4)


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_those_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    x1, x2, y = (rng.integers(0, k, size=40) for k in (3, 2, 3))
    weights = rng.integers(0, 4, size=40) / 4
    result = partial_information(x1, x2, y, sample_weight=weights)
    expected = reference(x1.tolist(), x2.tolist(), y.tolist(), weights.tolist())
    assert parts_of(result) == pytest.approx(expected, abs=1e-12)
    assert min(parts_of(result)) >= 0


def test_exchanged_variables_exchange_their_unique_parts():
    rng = np.random.default_rng(0)
    x1, x2, y = rng.integers(0, 3, size=(3, 60))
    one, other = partial_information(x1, x2, y), partial_information(x2, x1, y)
    assert one.redundancy == pytest.approx(other.redundancy)
    assert one.unique_1 == pytest.approx(other.unique_2)
    assert one.synergy == pytest.approx(other.synergy)


def test_labels_of_any_kind_and_weights_are_the_same_as_repeated_numbers():
    plain = partial_information([0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1])
    named = partial_information(
        ["a", "a", "b"], ["u", "v", "v"], ["n", "y", "y"], sample_weight=[2, 1, 1]
    )
    assert parts_of(plain) == pytest.approx(parts_of(named))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0, 1], [0]), "inconsistent numbers of samples"),
        (([0, np.nan], [0, 1], [0, 1]), "x1"),
        (([0, 1], None, [0, 1]), "x2"),
        (([0, 1], [0, 1], [[0, 1], [1, 0]]), "y has shape"),
    ],
)
def test_invalid_variables_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        partial_information(*arguments)


@pytest.mark.parametrize("weights", [[-1, 1], [0, 0], [1], "ab"])
def test_invalid_weights_are_refused(weights):
    with pytest.raises((ValueError, TypeError), match="weight"):
        partial_information([0, 1], [0, 1], [0, 1], sample_weight=weights)
