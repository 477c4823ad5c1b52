__version__: str

from .alignment import CTWAligner as CTWAligner
from .alignment import DTWAligner as DTWAligner
from .clustering import CoMVCClusterer as CoMVCClusterer
from .clustering import EAMCClusterer as EAMCClusterer
from .clustering import SiMVCClusterer as SiMVCClusterer
from .fusion import EarlyFusion as EarlyFusion
from .fusion import EarlyFusionClassifier as EarlyFusionClassifier
from .fusion import EarlyFusionClusterer as EarlyFusionClusterer
from .fusion import EarlyFusionRegressor as EarlyFusionRegressor
from .fusion import HybridFusionClassifier as HybridFusionClassifier
from .fusion import HybridFusionClusterer as HybridFusionClusterer
from .fusion import HybridFusionRegressor as HybridFusionRegressor
from .fusion import LateFusionClassifier as LateFusionClassifier
from .fusion import LateFusionClusterer as LateFusionClusterer
from .fusion import LateFusionRegressor as LateFusionRegressor
from .fusion import SingleModalityClusterer as SingleModalityClusterer
from .mkl import MKLClassifier as MKLClassifier
from .mkl import MKLClusterer as MKLClusterer
from .mkl import MKLRegressor as MKLRegressor
from .modalities import Modalities as Modalities
from .modalities import modality_selector as modality_selector
from .nn import Trainer as Trainer
from .persistence import trusted_types as trusted_types
from .preprocessing import ModalityImputer as ModalityImputer
from .preprocessing import ModalitySplitter as ModalitySplitter
from .preprocessing import PerModality as PerModality
