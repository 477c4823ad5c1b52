"""Comparisons of papers: their methods, metrics and published results by one name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sklearn.base import BaseEstimator

from mmfusion._extras import import_extra
from mmfusion._options import check_flags
from mmfusion._row_labels import short_repr
from mmfusion.benchmark._published import add_published, published_results
from mmfusion.benchmark._registry import CLUSTERERS
from mmfusion.clustering import SpectralClusterer
from mmfusion.fusion import SingleModalityClusterer
from mmfusion.modalities import Modalities

if TYPE_CHECKING:
    import pandas as pd

    from mmfusion.benchmark._comparison import Comparison

PAPER = "Zhou & Shen 2020"
CHOSEN_BY_CLASSES = "chosen by classes"
METRICS = ("clustering_accuracy", "normalized_mutual_info", "adjusted_rand", "purity")

SINGLE, CLASSICAL, GRAPHS, KERNELS, DEEP = (
    "single modality",
    "classical",
    "graphs",
    "kernels",
    "deep",
)


class Row(NamedTuple):
    """A row of a table: its title, the method by its name, and its group."""

    title: str
    method: str
    group: str
    fast: bool = True  # whether it is in the fast form of the preset


EAMC_ROWS = (
    Row("k-means (best modality)", "best-modality", SINGLE),
    Row("spectral (best modality)", "spectral-best-modality", SINGLE),
    Row("k-means (concatenation)", "concatenation", CLASSICAL),
    Row("k-means (block-scaled concatenation)", "early-block", CLASSICAL),
    Row("CCA + k-means", "cca-kmeans", CLASSICAL),
    Row("NMF + k-means", "nmf-kmeans", CLASSICAL),
    Row("late consensus", "late", CLASSICAL),
    Row("spectral (concatenation)", "spectral-concatenated", GRAPHS),
    Row("spectral (average of graphs)", "spectral-average", GRAPHS),
    Row("spectral (co-regularised)", "spectral-co-regularized", GRAPHS),
    Row("spectral (blend)", "spectral", GRAPHS),
    Row("SNF", "snf", GRAPHS),
    Row("GMC", "gmc", GRAPHS),
    Row("LMVSC", "anchor-reconstruction", GRAPHS),
    Row("kernel k-means (average)", "mkl-average", KERNELS),
    Row("kernel k-means (agreement)", "mkl", KERNELS),
    Row("MKKM", "mkl-mkkm", KERNELS),
    Row("MKKM-MR", "mkl-mkkm-mr", KERNELS),
    Row("SimpleMKKM", "mkl-simple-mkkm", KERNELS),
    Row("kernel k-means (late fusion)", "mkl-late-fusion", KERNELS),
    Row("AE + k-means", "autoencoder", DEEP, False),
    Row("DEC", "dec", DEEP, False),
    Row("DAMC", "damc", DEEP, False),
    Row("DCCA + k-means", "dcca-kmeans", DEEP, False),
    Row("DCCAE + k-means", "dccae-kmeans", DEEP, False),
    Row("DMSC", "dmsc", DEEP, False),
    Row("SiMVC", "simvc", DEEP, False),
    Row("CoMVC", "comvc", DEEP, False),
    Row("AE-DDC", "ae-ddc", DEEP, False),
    Row("AECoDDC", "aecoddc", DEEP, False),
    Row("MFLVC", "mflvc", DEEP, False),
    Row("EAMC", "eamc", DEEP),
    Row("EAMC (as in the paper)", "eamc-paper", DEEP, False),
)

# what each row of an ablation of the paper changes, from EAMC with attention
MODULES: dict[str, dict[str, Any]] = {
    "EAMC": {},
    "EAMC without attention": {"attention_temperature": None},
    "EAMC without adversary": {"adversarial_weight": 0.0},
    "EAMC without both": {"attention_temperature": None, "adversarial_weight": 0.0},
}
LOSSES: dict[str, dict[str, Any]] = {
    "D_sc": {"simplex_weight": 0.0, "confidence_weight": 0.0},
    "D_sim": {"separation_weight": 0.0, "confidence_weight": 0.0},
    "D_sc + D_sim": {"confidence_weight": 0.0},
    "D_sc + D_reg": {"simplex_weight": 0.0},
    "D_sim + D_reg": {"separation_weight": 0.0},
    "D_sc + D_sim + D_reg": {},
}
ATTENTION_TEMPERATURE = 0.25

PRESETS = {
    "eamc": "the comparison of the EAMC paper and its literature; has a fast form",
    "eamc-modules": "EAMC without attention, without adversary, without both",
    "eamc-losses": "EAMC with some of its clustering losses",
}
ABLATIONS = {"eamc-modules": (MODULES, "4"), "eamc-losses": (LOSSES, "5")}


@dataclass(frozen=True, eq=False)
class Preset:
    """Methods, metrics and published results of a comparison, for `compare`.

    It is recommended to use `preset`, which makes one by name.

    Parameters
    ----------
    name : str
        Name of the preset.
    methods : dict of str to str or estimator
        Methods by the titles of their rows: names that `compare` takes, or estimators.
    groups : dict of str to str
        Heading above each row.
    metrics : tuple of str
        Names of the scores.
    published : DataFrame
        Published results: ``source``, ``table``, ``dataset``, ``method``, scores by
        their short names, and ``note``.
    notes : tuple of str, default=()
        Remarks that are printed below the tables.
    single : dict of str to clusterer, default=None
        Clusterers, by the titles of rows, that are also fitted to every modality alone,
        so that the modality of the best score can be shown for reference; None as a
        clusterer is k-means.

    See Also
    --------
    preset : Make a preset by name.
    compare : Run its methods on data sets.

    Examples
    --------
    >>> from mmfusion.benchmark import preset
    >>> preset("eamc", fast=True).groups["SNF"]
    'graphs'
    """

    name: str
    methods: Mapping[str, str | BaseEstimator]
    groups: Mapping[str, str]
    metrics: tuple[str, ...]
    published: pd.DataFrame
    notes: tuple[str, ...] = ()
    single: Mapping[str, BaseEstimator | None] | None = None

    def __repr__(self) -> str:
        return (
            f"Preset {self.name!r}: {len(self.methods)} methods, {len(self.metrics)} "
            f"metrics, {len(self.published)} published results"
        )

    def _items(self) -> list[tuple[str, Any]]:
        """Return names and methods, and functions of X that make some."""
        return [*self.methods.items(), ("single modalities", self._single_modalities)]

    def _single_modalities(self, X: Modalities) -> dict[str, BaseEstimator]:
        return {
            _single_name(title, modality): SingleModalityClusterer(
                modality, clusterer=clusterer
            )
            for title, clusterer in (self.single or {}).items()
            for modality in X.names
        }

    def _complete(self, comparison: Comparison) -> Comparison:
        """Add headings, reference rows, published results and notes."""
        comparison.groups = dict(self.groups)
        comparison.notes += self.notes
        for title in self.single or ():
            _choose_by_classes(comparison, title)
        add_published(comparison, self.published)
        return comparison


def preset(name: str, *, fast: bool = False) -> Preset:
    """Make a preset: the methods, metrics and published results of a comparison.

    Parameters
    ----------
    name : {'eamc', 'eamc-modules', 'eamc-losses'}
        'eamc' is what EAMC is compared with in its paper [1]_ and since: k-means and
        spectral clustering of the best modality (chosen by its silhouette; beside it,
        for reference, the one that the classes would choose) and of the concatenation,
        and methods of canonical correlation, factorisation, graphs, kernels, and deep
        learning. 'eamc-modules' and 'eamc-losses' are the ablations of the paper's
        tables 4 and 5.
    fast : bool, default=False
        Whether to leave out all deep methods but EAMC; for 'eamc' only.

    Returns
    -------
    Preset
        What `compare` takes as `methods`. Rows whose packages are not installed are
        left out, and named in its ``notes``.

    Raises
    ------
    ImportError
        If pandas is not installed, or for an ablation torch or skorch.
    TypeError
        If `fast` is neither True nor False.
    ValueError
        If there is no such preset, or it has no fast form.

    See Also
    --------
    compare : Run the methods on data sets.
    methods : The methods of this package by name.

    Notes
    -----
    Ablations start from EAMC as it is here, pretrained, with the attention that is off
    by default (``attention_temperature=0.25``), and leave out what the rows of the
    paper leave out.

    Published results are on the data of their papers. Those on a data set of the
    comparison are rows of its tables, without ranks and tests; the others are listed
    below, with what would be needed to compare with them.

    References
    ----------
    .. [1] R. Zhou and Y.-D. Shen (2020), End-to-end adversarial-attention network for
       multi-modal clustering. Proceedings of the IEEE/CVF Conference on Computer Vision
       and Pattern Recognition, 14619-14628.

    Examples
    --------
    >>> from mmfusion.benchmark import preset
    >>> chosen = preset("eamc", fast=True)
    >>> chosen.metrics
    ('clustering_accuracy', 'normalized_mutual_info', 'adjusted_rand', 'purity')
    >>> chosen.methods["spectral (blend)"]
    'spectral'
    """
    check_flags(fast=fast)
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(
            f"name={short_repr(name)} is no preset; give one of {list(PRESETS)}"
        )
    if name == "eamc":
        return _eamc(fast)
    if fast:
        raise ValueError(
            f"name={name!r} has no fast form; leave out fast, or give fewer repeats"
        )
    return _ablation(name, *ABLATIONS[name])


def _eamc(fast: bool) -> Preset:
    rows = [row for row in EAMC_ROWS if row.fast or not fast]
    methods: dict[str, str | BaseEstimator] = {}
    missing = []
    for row in rows:
        try:
            CLUSTERERS[row.method].make()
        except ImportError as error:
            missing.append(f"{row.title} was not run: {error}")
        else:
            methods[row.title] = row.method
    return Preset(
        "eamc",
        methods,
        {row.title: row.group for row in rows},
        METRICS,
        published_results(_tables_besides_ablations()),
        tuple(missing),
        {
            "k-means (best modality)": None,
            "spectral (best modality)": SpectralClusterer(),
        },
    )


def _tables_besides_ablations() -> list[tuple[str, str]]:
    results = published_results()
    of_ablations = [(PAPER, table) for _, table in ABLATIONS.values()]
    tables = dict.fromkeys(zip(results["source"], results["table"], strict=True))
    return [table for table in tables if table not in of_ablations]


def _ablation(name: str, rows: Mapping[str, dict[str, Any]], table: str) -> Preset:
    from mmfusion.clustering import EAMCClusterer  # torch loads with it

    estimators = {
        title: EAMCClusterer(
            **{"attention_temperature": ATTENTION_TEMPERATURE, **options}
        )
        for title, options in rows.items()
    }
    note = (
        "Rows start from EAMC as it is here, pretrained, with attention of temperature "
        f"{ATTENTION_TEMPERATURE}; the published ones from EAMC as in the paper."
    )
    results = published_results([(PAPER, table)])
    groups = dict.fromkeys(rows, DEEP)
    return Preset(name, estimators, groups, METRICS, results, (note,))


def _single_name(title: str, modality: str) -> str:
    return f"{title}: {modality}"


def _choose_by_classes(comparison: Comparison, title: str) -> None:
    """Replace the rows of single modalities by those of the best one, for reference."""
    pd = import_extra("pandas")
    metric = comparison.metrics[0]
    frame = comparison.frame.assign(source="")
    frame = comparison.frame if "source" in comparison.frame else frame
    prefix = _single_name(title, "")
    single = frame["method"].str.startswith(prefix)
    chosen, names = [], []
    for dataset, rows in frame[single].groupby("dataset", sort=False):
        means = rows.groupby("method")[metric].mean()
        if means.notna().any():
            best = str(means.idxmax())
            chosen.append(rows[rows["method"] == best])
            names.append(f"{best.removeprefix(prefix)} on {dataset}")
    reference = f"{title} [{CHOSEN_BY_CLASSES}]"
    added = [
        rows.assign(method=reference, source=CHOSEN_BY_CLASSES, repeat=pd.NA)
        for rows in chosen
    ]
    counts = {"repeat": "Int64", "seed": "Int64"}
    parts = [part.astype(counts) for part in [frame[~single], *added]]
    comparison.frame = pd.concat(parts, ignore_index=True)
    comparison.notes.append(
        f"{reference}, for reference only: the modality of the best {metric}: "
        f"{', '.join(names)}."
    )
