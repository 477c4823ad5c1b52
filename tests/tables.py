"""Tables of what must hold for the estimators, one row for each statement."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from mmfusion.testing import all_estimators


@dataclass
class Table:
    """Statements about estimators, each with the check that holds it.

    A row says of some estimators: in this `case` there is this `result`. Its check is
    a function of the class of an estimator.
    """

    without: dict[str, str]  # reasons of the estimators without a row, by name
    rows: list[tuple[str, str, str, Callable]] = field(default_factory=list)

    def row(self, estimators: str, case: str, result: str) -> Callable:
        """Add the row that the decorated function checks; names are split at spaces."""

        def add(check: Callable) -> Callable:
            self.rows.append((estimators, case, result, check))
            return check

        return add

    def params(self) -> list:
        """Return one pytest parameter for each row and estimator of it."""
        return [
            pytest.param(check, name, id=f"{name}-{case}")
            for estimators, case, _, check in self.rows
            for name in estimators.split()
        ]

    def missing(self, name: str) -> str:
        """Return an error if an estimator has neither a row nor a reason."""
        if name in self.without or any(name in row[0].split() for row in self.rows):
            return ""
        return f"{name} has no row in this table: add one, or a reason in `without`"

    def unknown(self) -> set[str]:
        """Return the names in the table that are no public estimator."""
        named = {name for row in self.rows for name in row[0].split()}
        return (named | self.without.keys()) - all_estimators().keys()
