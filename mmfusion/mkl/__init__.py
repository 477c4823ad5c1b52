"""Multiple kernel learning: kernels of modalities, and learned weights of their sum."""

from mmfusion.mkl._classifier import MKLClassifier
from mmfusion.mkl._clusterer import MKLClusterer
from mmfusion.mkl._modality_kernels import ModalityKernels
from mmfusion.mkl._regressor import MKLRegressor

__all__ = ["MKLClassifier", "MKLClusterer", "MKLRegressor", "ModalityKernels"]
