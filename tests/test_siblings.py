"""Docstrings of siblings describe the same parameter or attribute in the same words.

Where a description is long, siblings may refer to the one that has it: 'see
`EarlyFusion`'. Words may differ for the kind of estimator, a classifier or a regressor,
and for what hybrid fusion has in place of modalities: branches.
"""

import inspect
import re
from collections import defaultdict

import pytest

import mmfusion.plotting
from mmfusion.testing import all_estimators

ESTIMATORS = all_estimators()
DISPLAYS = {
    name: getattr(mmfusion.plotting, name) for name in mmfusion.plotting.__all__
}
FROM_ESTIMATOR = {
    f"{name}.from_estimator": display.from_estimator
    for name, display in DISPLAYS.items()
    if hasattr(display, "from_estimator")
}
OBJECTS = ESTIMATORS | FROM_ESTIMATOR
LAYOUT = {  # what every estimator has
    "feature_names_in_",
    "modalities",
    "modality_names_in_",
    "n_features_in_",
    "n_features_per_modality_in_",
    "n_modalities_in_",
}
FAMILIES = {
    "all": list(ESTIMATORS),
    "early fusion": [name for name in ESTIMATORS if name.startswith("EarlyFusion")],
    "clusterers by late fusion": ["LateFusionClusterer", "HybridFusionClusterer"],
    "classifiers by late fusion": ["LateFusionClassifier", "HybridFusionClassifier"],
    "regressors by late fusion": ["LateFusionRegressor", "HybridFusionRegressor"],
    "late fusion": ["LateFusionClassifier", "LateFusionRegressor"],
    "hybrid fusion": ["HybridFusionClassifier", "HybridFusionRegressor"],
    "kernel learning": ["MKLClassifier", "MKLRegressor"],
    "aligners": ["DTWAligner", "CTWAligner", "DeepCTWAligner", "SiameseAligner"],
    "aligners by states": ["HMMAligner", "ProductHMMAligner"],
    "likelihood": ["HMMClusterer", "MultimodalMixture"],
    "sequences": ["SequenceGradients", "SequencePooling", "SequenceResampler"],
    "deep clusterers": [
        "AutoencoderClusterer",
        "CoMVCClusterer",
        "DMSCClusterer",
        "EAMCClusterer",
        "MFLVCClusterer",
        "SiMVCClusterer",
    ],
    "deep fusion": ["DCCA", "SiMVCClusterer"],
    "neural fusion": ["NeuralFusionClassifier", "NeuralFusionRegressor"],
    "chains": ["HMMClassifier", "HMMLabeler"],
    "displays": list(FROM_ESTIMATOR),
}
# names that siblings describe in words of their own, by the reason
REASONS = {
    "the splitter reads one table": [
        "all modalities",
        "all feature_names_in_",
        "all n_features_in_",
        "all n_modalities_in_",
    ],
    "sequences have features of frames": ["all n_features_per_modality_in_"],
    "classes and values have other defaults": [
        "early fusion estimator",
        "early fusion on_empty",
        "late fusion on_empty",
        "hybrid fusion on_empty",
        "neural fusion on_empty",
        "late fusion estimator",
        "hybrid fusion estimator",
        "late fusion cv",
        "hybrid fusion cv",
        "late fusion final_estimator",
        "hybrid fusion final_estimator",
    ],
    "classes and values have other options": [
        "late fusion combine",
        "hybrid fusion combine",
        "late fusion weights",
        "hybrid fusion weights",
        "late fusion sample_weighting",
        "hybrid fusion sample_weighting",
        "kernel learning algorithm",
        "kernel learning objective_path_",
    ],
    "classes may be absent from a modality": [
        "late fusion estimators_",
        "classifiers by late fusion estimators_",
    ],
    "values have a unit": ["kernel learning C", "kernel learning tol"],
    "a clusterer has no dropout": ["early fusion random_state"],
    "branches are named, modalities have names": [
        "clusterers by late fusion clusterer",
        "classifiers by late fusion estimator",
        "regressors by late fusion estimator",
        "clusterers by late fusion clusterers_",
        "regressors by late fusion estimators_",
        "clusterers by late fusion modality_weights_",
        "classifiers by late fusion modality_weights_",
        "regressors by late fusion modality_weights_",
    ],
    "modalities are scaled alone and beside others": [
        "clusterers by late fusion scaling"
    ],
    "warping is in the space of the features or of projections": [
        "aligners reference",
        "aligners paths_",
        "aligners distances_",
        "aligners n_jobs",
    ],
    "encoders see single frames or a context": [
        "aligners encoders",
        "aligners trainer",
    ],
    "encoders are trained in epochs": [
        "aligners history_",
        "aligners n_components",
        "aligners n_iter_",
    ],
    "networks see frames of the same ridge": ["aligners ridge"],
    "one chain has both modalities": [
        "aligners by states n_states",
        "aligners by states init",
        "aligners by states distances_",
        "aligners by states transitions_",
    ],
    "samples are vectors or sequences": [
        "likelihood emission",
        "likelihood covariance_type",
        "likelihood n_init",
        "likelihood tol",
        "likelihood n_features_per_modality_in_",
    ],
    "networks and their training differ": [
        "deep clusterers adversarial_weight",
        "deep clusterers balance_weight",
        "deep clusterers encoders",
        "deep clusterers module_",
        "deep clusterers n_init",
        "deep clusterers phase_epochs_",
        "deep clusterers reconstruction_weight",
        "deep clusterers trainer",
        "deep fusion encoders",
        "deep fusion module_",
        "deep fusion n_init",
        "deep fusion trainer",
    ],
    "a chain for each class, or one of all labels": [
        "chains clock",
        "chains n_iter_",
        "chains objective_history_",
        "chains modality_weights",
        "chains n_jobs",
        "chains random_state",
    ],
    "frames are compared as they are, projected or embedded": ["aligners metric"],
    "displays need other attributes": ["displays estimator"],
    "displays draw other samples": ["displays X", "displays max_samples"],
    "displays have one or several Axes": ["displays ax"],
    "displays draw other things": [
        "displays **kwargs",
        "displays names",
        "displays y",
    ],
}
EXCEPTIONS = {
    tuple(pair.rsplit(" ", 1)) for pairs in REASONS.values() for pair in pairs
}
ALIKE = [
    (r"\b(?:an? )?(?:classifier|regressor|clusterer|estimator)(s?)\b", r"estimator\1"),
    (r"\b(?:modality|part|branch)\b", "branch"),
    (r"\b(?:n_)?(?:modalities|parts|branches)\b", "branches"),
    (r" \[\d+\]_", ""),  # numbers of references
]


def entries(documented):
    """Type and text by name of the parameter or attribute."""
    text = inspect.cleandoc(documented.__doc__) + "\n"
    parts = re.split(r"^(.+)\n-{3,}$", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    body = sections.get("Parameters", "") + sections.get("Attributes", "")
    found = re.findall(r"^(\S.*?) : (.+)\n((?:(?: {4}.*)?\n)*)", body, re.MULTILINE)
    return {
        name: (kind, " ".join(text.split()))
        for names, kind, text in found
        for name in names.split(", ")
    }


def plain(text):
    """The text in words that siblings share."""
    for pattern, word in ALIKE:
        text = re.sub(pattern, word, text, flags=re.IGNORECASE)
    return text


def refers(text, names):
    return any(re.search(rf"\b(?:see|as|in) `{name}`", text) for name in names)


def described(family):
    """Descriptions by name, those of at least two siblings."""
    found = defaultdict(dict)
    for sibling in FAMILIES[family]:
        for name, entry in entries(OBJECTS[sibling]).items():
            if family != "all" or name in LAYOUT:
                found[name][sibling] = entry
    return {name: texts for name, texts in found.items() if len(texts) > 1}


def disagreements(family):
    wrong = {}
    for name, texts in described(family).items():
        types = {plain(kind) for kind, _ in texts.values()}
        own = {
            plain(text)
            for _, text in texts.values()
            if not refers(text, FAMILIES[family])
        }
        if len(types) > 1 or len(own) > 1:
            wrong[name] = texts
    return wrong


@pytest.mark.parametrize("family", FAMILIES)
def test_siblings_describe_the_same_name_in_the_same_words(family):
    wrong = disagreements(family)
    assert not {n: t for n, t in wrong.items() if (family, n) not in EXCEPTIONS}


@pytest.mark.parametrize(("family", "name"), sorted(EXCEPTIONS))
def test_exceptions_are_needed(family, name):
    assert name in disagreements(family)
