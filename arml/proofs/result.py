"""A result with everything that is needed to check it, and what a check answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arml.proofs.claim import Claim, Subject
from arml.proofs.formats import Proof

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ProvenResult:
    """Radii of the n test points of a subject, with their proof.

    Attributes
    ----------
    subject : the data the result is about
    lower, upper (n,) : bounds of the radii; status (n,) : one of `arml.proofs.claim.STATUSES` each
    perturbation (n, d) : row i added to test point i is an attack of norm ``upper[i]``; 0 where upper is 0 or infinite
    proof : shows ``lower``, and names what is claimed
    """

    subject: Subject
    lower: Array
    upper: Array
    status: NDArray[np.str_]
    perturbation: Array
    proof: Proof

    @property
    def claim(self) -> Claim:
        """What is claimed of the subject."""
        return self.proof.claim


@dataclass(frozen=True)
class RecheckReport:
    """Outcome of a check: ``ok`` (n,) per test point, and a sentence for every one that was refused."""

    ok: NDArray[np.bool_]
    problems: tuple[tuple[int, str], ...]

    def __bool__(self) -> bool:
        return bool(self.ok.all())
