"""scikit-learn's own checks over every public estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from mmfusion import EarlyFusion, EarlyFusionClusterer, LateFusionClusterer


@parametrize_with_checks(
    [
        EarlyFusion(),
        EarlyFusion(modalities=2),
        EarlyFusionClusterer(),
        EarlyFusionClusterer(modalities=2),
        LateFusionClusterer(),
        LateFusionClusterer(modalities=2),
    ]
)
def test_sklearn(estimator, check):
    check(estimator)
