from .fusion import EarlyFusion as EarlyFusion
from .fusion import EarlyFusionClusterer as EarlyFusionClusterer
from .fusion import LateFusionClusterer as LateFusionClusterer
from .modalities import Modalities as Modalities
from .modalities import modality_selector as modality_selector
from .preprocessing import ModalityImputer as ModalityImputer
from .preprocessing import ModalitySplitter as ModalitySplitter
from .preprocessing import PerModality as PerModality
