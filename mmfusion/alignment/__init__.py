"""Alignment of modalities in time; numba and torch load with the first of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmfusion._extras import load_export

if TYPE_CHECKING:
    from mmfusion.alignment._alignments import Alignment
    from mmfusion.alignment._asynchronous_hmm_aligner import AsynchronousHMMAligner
    from mmfusion.alignment._ctc_aligner import CTCAligner
    from mmfusion.alignment._ctw_aligner import CTWAligner
    from mmfusion.alignment._deep_ctw_aligner import DeepCTWAligner
    from mmfusion.alignment._dtw_aligner import DTWAligner
    from mmfusion.alignment._forced_aligner import ForcedAligner
    from mmfusion.alignment._hmm_aligner import HMMAligner
    from mmfusion.alignment._label_spans import LabelSpans
    from mmfusion.alignment._pair_hmm_aligner import PairHMMAligner
    from mmfusion.alignment._product_hmm_aligner import ProductHMMAligner
    from mmfusion.alignment._sequence_kernel import DTWKernel
    from mmfusion.alignment._siamese_aligner import SiameseAligner
    from mmfusion.alignment._word_aligner import WordAligner
    from mmfusion.alignment.dtw._barycenter import dtw_barycenter
    from mmfusion.alignment.dtw._lower_bounds import (
        lb_improved,
        lb_keogh,
    )
    from mmfusion.alignment.dtw._neighbors import dtw_neighbors
    from mmfusion.alignment.dtw._pairwise import cdist_dtw
    from mmfusion.alignment.dtw._path import (
        DTWPath,
        dtw_distance,
        dtw_path,
    )
    from mmfusion.alignment.dtw._soft import (
        soft_dtw,
        soft_dtw_alignment,
        soft_dtw_gradient,
    )
    from mmfusion.alignment.dtw._soft_pairwise import (
        cdist_soft_dtw,
        soft_dtw_gamma,
    )
    from mmfusion.alignment.dtw._step_patterns import (
        StepPattern,
        rabiner_juang,
    )
    from mmfusion.alignment.dtw._subsequences import dtw_subsequences

__all__ = [
    "Alignment",
    "AsynchronousHMMAligner",
    "CTCAligner",
    "CTWAligner",
    "DTWAligner",
    "DTWKernel",
    "DTWPath",
    "DeepCTWAligner",
    "ForcedAligner",
    "HMMAligner",
    "LabelSpans",
    "PairHMMAligner",
    "ProductHMMAligner",
    "SiameseAligner",
    "StepPattern",
    "WordAligner",
    "cdist_dtw",
    "cdist_soft_dtw",
    "dtw_barycenter",
    "dtw_distance",
    "dtw_neighbors",
    "dtw_path",
    "dtw_subsequences",
    "lb_improved",
    "lb_keogh",
    "rabiner_juang",
    "soft_dtw",
    "soft_dtw_alignment",
    "soft_dtw_gamma",
    "soft_dtw_gradient",
]

_MODULES = {
    "Alignment": "_alignments",
    "AsynchronousHMMAligner": "_asynchronous_hmm_aligner",
    "CTCAligner": "_ctc_aligner",
    "CTWAligner": "_ctw_aligner",
    "DTWAligner": "_dtw_aligner",
    "DTWKernel": "_sequence_kernel",
    "DTWPath": "dtw._path",
    "ForcedAligner": "_forced_aligner",
    "HMMAligner": "_hmm_aligner",
    "LabelSpans": "_label_spans",
    "PairHMMAligner": "_pair_hmm_aligner",
    "ProductHMMAligner": "_product_hmm_aligner",
    "StepPattern": "dtw._step_patterns",
    "WordAligner": "_word_aligner",
    "cdist_dtw": "dtw._pairwise",
    "cdist_soft_dtw": "dtw._soft_pairwise",
    "dtw_barycenter": "dtw._barycenter",
    "dtw_distance": "dtw._path",
    "dtw_neighbors": "dtw._neighbors",
    "dtw_path": "dtw._path",
    "dtw_subsequences": "dtw._subsequences",
    "lb_improved": "dtw._lower_bounds",
    "lb_keogh": "dtw._lower_bounds",
    "rabiner_juang": "dtw._step_patterns",
    "soft_dtw": "dtw._soft",
    "soft_dtw_alignment": "dtw._soft",
    "soft_dtw_gamma": "dtw._soft_pairwise",
    "soft_dtw_gradient": "dtw._soft",
}

_DEEP = {
    "DeepCTWAligner": "_deep_ctw_aligner",
    "SiameseAligner": "_siamese_aligner",
}


def __getattr__(name: str) -> Any:
    if name in _DEEP:
        return load_export(__name__, _DEEP, name, "deep", "torch and skorch")
    return load_export(__name__, _MODULES, name, "align", "numba")


def __dir__() -> list[str]:
    return __all__
