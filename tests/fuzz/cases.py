"""Replace arguments of valid calls, and judge what comes of it."""

from __future__ import annotations

import contextlib
import io
import random
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from mmfusion import Modalities
from tests.fuzz.calls import Arguments, Target
from tests.fuzz.pool import OF_SCALARS, POOL

Place = tuple[Any, ...]  # an argument; or within it a modality, a sequence, a cell
CELL = "a cell"
FAULTS = ("other", "unnamed", "non-finite", "hang", "died")
# Counts of repetitions, of which any number is valid.
REPETITIONS = re.compile("n_init|n_runs|n_repeats|max_iter|(pretrain|max)_epochs")
WAYS_OUT = {
    "path",
    "data_home",
    "out",
    "folder",
    "checkpoint_dir",
    "temp_folder",
    "base_url",
    "download_if_missing",
}
INDEXING = {"Modalities.take"}
ALSO_NAMED = {
    "X": "modalit|sample|sequence|feature|the table|[Aa]rray with|[0-9]D array",
    "y": "target|class|label|output|Input should have",
    "estimator": "is a class, not an instance",
    "indices": "index",
    "labels": "class|cluster",
    "random_state": "cannot be used to seed",
    "sample_weight": "Sample weights",
    "sequences": "sample",
}

# of the container, whose errors name the modality or the sample
ALSO_NAMED |= dict.fromkeys(("data", "frames", "indices", "others"), "modalit|sample")


@dataclass(frozen=True)
class Case:
    """Arguments to be replaced, by the place and the name of a value of the pool."""

    target: Target
    replaced: tuple[tuple[Place, str], ...]

    def __str__(self) -> str:
        places = ", ".join(
            f"{'/'.join(map(str, place))} = {value}" for place, value in self.replaced
        )
        return f"{self.target.name}({places})"


class Outcome(NamedTuple):
    status: str
    detail: str = ""


# Cases


def places(arguments: Arguments) -> list[Place]:
    """Every argument, and within data every modality, a sequence and a cell."""
    found: list[Place] = []
    for key, value in arguments.items():
        if key == "self":
            continue
        found.append((key,))
        if key == "others":  # nothing but Modalities, which do not change
            continue
        if isinstance(value, Modalities):
            value = value.to_dict()
        inner = {}
        if isinstance(value, Mapping):
            inner = dict(value)
        elif isinstance(value, list | tuple) and len(value):
            inner = {1 if len(value) > 1 else 0: value[-1]}
        found += [(key, name) for name in inner]
        for name, element in inner.items():
            if isinstance(element, list) and isinstance(element[0], np.ndarray):
                found += [(key, name, 1), (key, name, 1, CELL)]
            elif isinstance(element, np.ndarray):
                found.append((key, name, CELL))
        if isinstance(value, np.ndarray):
            found.append((key, CELL))
    return found


def replace(container: Any, place: Place, value: Any) -> Any:
    """Return the container with something else in a place."""
    if not place:
        return value
    first, *rest = place
    if first == CELL:
        cells = container.astype(object)
        cells[(1,) * cells.ndim] = value
        return cells
    if isinstance(container, Modalities):
        container = container.to_dict()
    if isinstance(container, Mapping):
        inner = replace(container[first], tuple(rest), value)
        return {**container, first: inner}
    elements = list(container)
    elements[first] = replace(elements[first], tuple(rest), value)
    return elements


def is_left_out(place: Place, value: Any) -> bool:
    """Whether a value is valid but takes long, or is no concern of ours."""
    name = str(place[0])
    if name in ("n_jobs", "random_state") and isinstance(value, np.timedelta64):
        return True  # which joblib and scikit-learn take for an integer
    if name == "n_jobs":
        return isinstance(value, Integral) and value not in (0, 1)
    if name == "compile":
        return isinstance(value, bool | np.bool_) and bool(value)
    huge = isinstance(value, Integral | float) and value >= 2**31
    return bool(huge and REPETITIONS.fullmatch(name))


@cache
def _pool_once() -> dict[str, Any]:
    return {name: make() for name, make in POOL.items()}


def all_cases(target: Target) -> list[Case]:
    """Every value of the pool in every place; in a cell, every scalar."""
    return [
        Case(target, ((place, name),))
        for place in places(target.arguments())
        for name, value in _pool_once().items()
        if (place[-1] != CELL or name in OF_SCALARS) and not is_left_out(place, value)
    ]


def sample_cases(cases: list[Case], n_cases: int, seed: int) -> list[Case]:
    """Draw from cases of one replaced argument, a fifth of them combined in pairs."""
    rng = random.Random(seed)
    n_pairs = n_cases // 5
    drawn = rng.sample(cases, min(len(cases), n_cases - n_pairs))
    pairs = [rng.sample(cases, 2) for _ in range(n_pairs)] if len(cases) > 1 else []
    return drawn + [
        Case(one.target, one.replaced + other.replaced)
        for one, other in pairs
        if one.target is other.target
        and one.replaced[0][0][0] != other.replaced[0][0][0]
    ]


# Judgement


def run(case: Case) -> Outcome:
    """Make the call, and tell what came of it."""
    target = case.target
    arguments = target.arguments()
    for place, value in case.replaced:
        top, *rest = place
        arguments[top] = replace(arguments[top], tuple(rest), POOL[value]())
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            result = target.call(**arguments)
        except Exception as error:
            return _judged(case, error)
    if target.refuses_nan and not is_finite(result):
        return Outcome("non-finite", "NaN or infinity was returned")
    return Outcome("accepted")


def _judged(case: Case, error: Exception) -> Outcome:
    message = f"{type(error).__name__}: {error}"
    if not isinstance(error, _allowed(case)) or type(error) is np.linalg.LinAlgError:
        return Outcome("other", message)
    if is_named(str(error), case):
        return Outcome("refused", message)
    return Outcome("unnamed", message)


def _allowed(case: Case) -> tuple[type[Exception], ...]:
    allowed: tuple[type[Exception], ...] = (ValueError, TypeError)
    if case.target.name.startswith("fetch_") or any(
        place[0] in WAYS_OUT for place, _ in case.replaced
    ):
        allowed += (OSError,)
    if case.target.name in INDEXING:
        allowed += (KeyError, IndexError)
    return allowed


def is_named(message: str, case: Case) -> bool:
    """Tell whether a message names the modality, the sequence or a parameter."""
    arguments = case.target.arguments()
    return any(_names(message, place, arguments) for place, _ in case.replaced)


def _names(message: str, place: Place, arguments: Arguments) -> bool:
    if place[0] in WAYS_OUT or "is missing, and download_if" in message:
        return True  # the path
    if message.startswith("Modalities do not turn into one array"):
        return True  # what was given is named, and the remedy
    words = [re.escape(key.removesuffix("s") or key) for key in arguments]
    words += [ALSO_NAMED[key] for key in arguments if key in ALSO_NAMED]
    if len(place) > 1 and isinstance(arguments[place[0]], Mapping | Modalities):
        words = [str(place[1]), "modality_[01]", "every modality"]
        words += [] if place[0] == "X" else [place[0].removesuffix("s")]
    return re.search(rf"(?<![a-zA-Z])({'|'.join(words)})", message) is not None


def is_finite(result: Any) -> bool:
    """Tell whether no number in a result is NaN or infinite."""
    return all(np.isfinite(values).all() for values in _numbers(result))


def _numbers(result: Any) -> Iterator[np.ndarray]:
    if isinstance(result, Modalities):
        for v, block in enumerate(result.blocks):
            if hasattr(block, "iloc") or hasattr(block, "to_numpy"):
                block = block.to_numpy()
            yield from _numbers(block[result.observed[:, v]])
    elif sparse.issparse(result):
        yield from _numbers(result.data)
    elif isinstance(result, Mapping):
        for value in result.values():
            yield from _numbers(value)
    elif isinstance(result, list | tuple):
        for value in result:
            yield from _numbers(value)
    elif isinstance(result, np.ndarray) and result.dtype.kind == "O":
        for value in result.ravel():
            yield from _numbers(value)
    elif (
        isinstance(result, float | np.ndarray) and np.asarray(result).dtype.kind in "fc"
    ):
        yield np.asarray(result)
