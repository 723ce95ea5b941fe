"""What an attack hands back, before the classifier's certificate is put beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AttackResult:
    """Perturbations found for t test points.

    Attributes
    ----------
    perturbation : (t, d) float64, 0 where the attack failed
    radius : (t,) float64, its l2 norm, ``inf`` where the attack failed
    queries : (t,) int64, how often the classifier's answer was asked for
    notes : remarks on the whole run
    majority : (t, d) float64, perturbations after which y has lost its majority, 0 where there is none; None where the
        attack did not look for that event by itself
    majority_radius : (t,) float64, their norms; ``inf`` where there is none. None before the result is verified
    """

    perturbation: NDArray[np.float64]
    radius: NDArray[np.float64]
    queries: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    majority: NDArray[np.float64] | None = None
    majority_radius: NDArray[np.float64] | None = None
