from .fusion import EarlyFusion as EarlyFusion
from .fusion import EarlyFusionClusterer as EarlyFusionClusterer
from .modalities import Modalities as Modalities
from .modalities import modality_selector as modality_selector
