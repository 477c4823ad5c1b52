"""Multiple kernel learning: a kernel per modality, their combination learned."""

from mmfusion.mkl._clusterer import MKLClusterer
from mmfusion.mkl._modality_kernels import ModalityKernels
from mmfusion.mkl._svm import MKLClassifier, MKLRegressor

__all__ = ["MKLClassifier", "MKLClusterer", "MKLRegressor", "ModalityKernels"]
