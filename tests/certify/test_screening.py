import numpy as np
import torch

from arml.certify.rounding import magnitudes
from arml.certify.screening import ANCHORS, screen
from arml.certify.training_set import TrainingSet
from arml.geometry import Mahalanobis, sq_dist_matrix, triplet_margin


def test_screening_is_the_best_closed_form_over_the_anchors():
    rng = np.random.default_rng(2)
    metric = Mahalanobis.from_components(rng.normal(size=(4, 6)))
    X, y = rng.normal(size=(80, 6)), rng.integers(3, size=80)
    points = rng.normal(size=(9, 6))
    train = TrainingSet.build(metric, X, y, torch.device("cpu"))
    own = train.classes[1]
    C = sq_dist_matrix(torch.from_numpy(metric.embed(points)), train.Z_device)
    G = torch.from_numpy(metric.components)
    norms, sizes = np.linalg.norm(metric.embed(points), axis=1), magnitudes(torch.from_numpy(points), G).numpy()
    errors = torch.from_numpy(train.rounding.sq_dist(norms, sizes))
    lower, anchors = screen(train, own, C, errors)
    nearest = np.argsort(C[:, own].numpy(), axis=1)[:, :ANCHORS] + own.start
    np.testing.assert_array_equal(anchors, nearest)
    assert torch.isinf(lower[:, own]).all()
    for t, x in enumerate(points):
        for j in np.flatnonzero(y[train.order] != 1):
            best = max(triplet_margin(train.X[i], train.X[j], x, metric.matrix) for i in anchors[t])
            # Proven bounds are rounded down, but only by rounding.
            assert lower[t, j] <= max(best, 0.0) + 1e-15
            assert lower[t, j] >= max(best, 0.0) - 1e-9
