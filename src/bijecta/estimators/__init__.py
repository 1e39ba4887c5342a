"""Flows as scikit-learn estimators. The only package that imports scikit-learn."""

from bijecta.errors import require

for _package in ("sklearn", "narwhals"):
    require(_package, extra="sklearn", purpose="An estimator for scikit-learn")

# The check above comes first: without it the imports below would fail with a message that names no remedy.
from bijecta.estimators.anomaly import FlowAnomalyDetector  # noqa: E402
from bijecta.estimators.classifier import FlowClassifier  # noqa: E402
from bijecta.estimators.density import FlowDensity  # noqa: E402
from bijecta.estimators.regressor import FlowRegressor  # noqa: E402

__all__ = ["FlowAnomalyDetector", "FlowClassifier", "FlowDensity", "FlowRegressor"]
