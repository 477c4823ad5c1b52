"""The baselines: which there are, and that none sees classes."""

import inspect

import numpy as np

from mmfusion.benchmark import baselines
from mmfusion.datasets import make_multimodal_blobs


def test_the_baselines_that_papers_forget_are_all_there():
    X, _ = make_multimodal_blobs(
        80, {"audio": 4, "text": 6, "video": 3}, cluster_std=6.0, random_state=0
    )
    found = baselines(X)
    assert list(found) == [
        "modality audio",
        "modality text",
        "modality video",
        "best modality",
        "concatenation",
        "standardised concatenation",
        "spectral concatenation",
    ]
    assert list(found) == list(baselines(["audio", "text", "video"]))
    assert found["concatenation"].scaling is None
    assert found["standardised concatenation"].scaling == "standard"
    for clusterer in found.values():
        assert inspect.signature(clusterer.fit).parameters["y"].default is None
        labels = clusterer.set_params(n_clusters=3).fit_predict(X)
        assert len(np.unique(labels)) == 3
