"""Metric learners: robust metric learning (`ARML`), the baselines, and metrics on disk."""

from arml.learners.arml import ARML
from arml.learners.base import MetricLearner
from arml.learners.factory import LEARNERS, make_learner
from arml.learners.storage import MetricFileError, StoredMetric, load_metric, save_metric

__all__ = [
    "ARML",
    "LEARNERS",
    "MetricFileError",
    "MetricLearner",
    "StoredMetric",
    "load_metric",
    "make_learner",
    "save_metric",
]
