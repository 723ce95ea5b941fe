"""Classifiers prepared from plain arrays, for tests that ask the rooms below the public face."""

import numpy as np
import torch

from arml.classifier.fitted import FittedKNN
from arml.classifier.frame import Frame
from arml.geometry import Mahalanobis


def fit(G, X, y, K=1):
    """A `FittedKNN` on the CPU for the factor G (r, d) and training points X (n, d) with labels y (n,)."""
    return FittedKNN.prepare(Mahalanobis.from_components(G), X, np.asarray(y), K, torch.device("cpu"))


def fit_at(G, X, y, K=1, origin=None):
    """The same in a frame of unit 1 that leaves G as it is, centred on ``origin`` (d,), by default 0."""
    metric = Mahalanobis.from_components(G)
    y = np.asarray(y)
    classes, votes = np.unique(y, return_inverse=True)
    frame = Frame(np.zeros(X.shape[1]) if origin is None else origin, 1.0, 1.0)
    return FittedKNN(K, metric, X, y, classes, votes.astype(np.int64), frame, torch.device("cpu"))
