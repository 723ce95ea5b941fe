"""Norms of perturbations in rational arithmetic: never below the truth, and hardly above it."""

from fractions import Fraction

import numpy as np
import pytest

from arml.classifier.perturbation import norm


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("d", [1, 3, 784, 10_304])
def test_norms_are_never_too_small_however_many_features_there_are(d, scale):
    rng = np.random.default_rng(d)
    for kind in ("normal", "uniform", "equal"):
        draws = {"normal": rng.normal(size=d), "uniform": rng.uniform(size=d), "equal": np.full(d, 1 / 3)}
        delta = draws[kind] * scale
        exact = sum((Fraction(value) ** 2 for value in delta.tolist()), Fraction(0))
        found = Fraction(norm(delta)) ** 2
        assert exact <= found <= exact * (1 + Fraction(1, 10**14)) ** 2


def test_nothing_has_norm_zero():
    assert norm(np.zeros(4)) == 0.0
