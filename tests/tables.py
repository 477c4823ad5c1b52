"""Tables of what must hold for the estimators, one row for each statement."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import pytest

from mmfusion.testing import all_estimators


class Row(NamedTuple):
    """A statement: in this case, these estimators have this result."""

    estimators: str
    case: str
    result: str
    check: Callable[..., None]
    options: dict[str, list[Any]]


@dataclass
class Table:
    """Statements about estimators, each with the check that holds it."""

    without: dict[str, str]  # reasons of the estimators without a row, by name
    rows: list[Row] = field(default_factory=list)

    def row(
        self, estimators: str, case: str, result: str, **options: list[Any]
    ) -> Callable:
        """Add a row, whose check is the decorated function.

        Names of estimators are split at spaces. The check takes the class of one, and
        a value of each option.
        """

        def add(check: Callable[..., None]) -> Callable[..., None]:
            self.rows.append(Row(estimators, case, result, check, options))
            return check

        return add

    def params(self) -> list:
        """Return one pytest parameter for each row, estimator and choice of options."""
        return [
            pytest.param(
                row.check,
                name,
                dict(zip(row.options, chosen, strict=True)),
                id="-".join([name, row.case, *map(str, chosen)]),
            )
            for row in self.rows
            for name in row.estimators.split()
            for chosen in product(*row.options.values())
        ]

    def missing(self, name: str) -> str:
        """Return an error if an estimator has neither a row nor a reason."""
        named = {name for row in self.rows for name in row.estimators.split()}
        if name in named | self.without.keys():
            return ""
        return f"{name} has no row in this table: add one, or a reason in `without`"

    def unknown(self) -> set[str]:
        """Return the names in the table that are no public estimator."""
        named = {name for row in self.rows for name in row.estimators.split()}
        return (named | self.without.keys()) - all_estimators().keys()
