"""Remedies in errors about X: the steps to put before an estimator in a Pipeline."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remedies:
    """Steps that repair X, in the form in which it was given.

    Parameters
    ----------
    estimator : str
        Name of the estimator that was given X.
    from_table : bool
        Whether X was one table instead of several modalities.
    spec : int, str, list, dict or None
        The column spec of the estimator, which splits a table.
    """

    estimator: str
    from_table: bool
    spec: object

    def transformer_before(self, modality: str, transformer: str) -> str:
        """Return how to put the transformer of a modality before the estimator."""
        if not self.from_table:
            return (
                f"PerModality({{{modality!r}: {transformer}}}) before {self.estimator}"
            )
        if self.spec is None:
            return f"{transformer} before {self.estimator}"
        return (
            "ModalitySplitter with the same modalities=, and then "
            f"PerModality({{{modality!r}: {transformer}}}), before {self.estimator}, "
            "whose own modalities= is None"
        )

    def imputer_before(self) -> str:
        """Return how to put an imputer of modalities before the estimator."""
        if not self.from_table or self.spec is None:
            return f"ModalityImputer() before {self.estimator}"
        return (
            "ModalitySplitter with the same modalities=, and then ModalityImputer(), "
            f"before {self.estimator}, whose own modalities= is None"
        )

    def encoder_before(self, modality: str) -> str:
        """Return how to encode the text and categories of a modality."""
        encoder = "OneHotEncoder(sparse_output=False)"
        step = self.transformer_before(modality, encoder)
        return f"encode it first, for example in a Pipeline by {step}"
