"""Bad input gets an error that names it, whatever is given to whatever is public."""

import os

import matplotlib
import numpy as np
import pytest

from tests.fuzz.apart import run_apart
from tests.fuzz.calls import OWNERS, Target, targets, uncovered
from tests.fuzz.cases import (
    FAULTS,
    Case,
    all_cases,
    is_finite,
    places,
    run,
    sample_cases,
)

N_CASES = 100  # of each public name
SECONDS = 30.0  # of one input in the slow run


@pytest.fixture(autouse=True)
def _folder_and_figures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")


def report(cases, outcomes):
    return [
        f"{status}: {case}: {detail[:300]}"
        for case, (status, detail) in zip(cases, outcomes, strict=True)
        if status in FAULTS
    ]


@pytest.mark.parametrize("owner", OWNERS)
def test_bad_arguments_are_refused_by_name(owner):
    cases = [case for target in targets(owner) for case in all_cases(target)]
    drawn = sample_cases(cases, N_CASES, seed=0)
    assert not report(drawn, map(run, drawn))


@pytest.mark.slow
@pytest.mark.parametrize("owner", OWNERS)
def test_every_bad_argument_is_refused_by_name(owner):
    """The whole pool in every place, in processes that may hang or die."""
    cases = [case for target in targets(owner) for case in all_cases(target)]
    cases += sample_cases(cases, 500, seed=1)
    assert not report(cases, run_apart(cases, SECONDS))


def test_the_calls_are_valid_until_an_argument_is_replaced():
    for owner in OWNERS:
        for target in targets(owner):
            if not target.name.startswith("fetch_"):  # nothing is there
                result = target.call(**target.arguments())
                assert is_finite(result) or not target.refuses_nan, target.name


def test_nothing_public_goes_without_fuzz():
    assert not uncovered()


# The fuzz itself


def divide(X, share=1.0):
    """Refuse text by name, and a dict without; end the process of None."""
    if isinstance(X, dict):
        raise ValueError("a dict was given")
    if isinstance(share, str):
        raise ValueError(f"share={share!r} is no number")
    if share is None:
        os._exit(3)
    return 1 / share if share else np.nan


TARGET = Target("divide", divide, lambda: {"X": {"audio": np.ones((2, 2))}, "share": 1})


@pytest.mark.parametrize(
    ("place", "value", "status"),
    [
        (("share",), "int 2", "accepted"),
        (("share",), "str nonsense", "refused"),
        (("share",), "int 0", "non-finite"),
        (("share",), "slice slice(None, None, No", "unnamed"),
        (("X",), "{}", "unnamed"),
        (("share",), "object()", "unnamed"),
    ],
)
def test_outcomes(place, value, status):
    case = Case(TARGET, ((("X",), "range"), (place, value)))
    assert run(case).status == status


def test_places_are_arguments_and_what_is_in_them():
    assert places(TARGET.arguments()) == [
        ("X",),
        ("X", "audio"),
        ("X", "audio", "a cell"),
        ("share",),
    ]


def test_a_process_that_ends_is_found_and_followed_by_another():
    values = ["int 2", "NoneType None", "int 2"]
    cases = [Case(TARGET, ((("X",), "range"), (("share",), v))) for v in values]
    found = [outcome.status for outcome in run_apart(cases, SECONDS)]
    assert found == ["accepted", "died", "accepted"]
