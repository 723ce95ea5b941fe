"""What is known about the robustness of each test point: `RadiusBounds`, and the conventions behind it.

Conventions (cited everywhere else)
-----------------------------------
* The *radius* of (x, y) is the smallest l2 norm of a perturbation, in the units of the preprocessed input, after
  which the classifier may answer something other than y.
* A misclassified point has radius 0.
* A tie is an attack: the constraints of the papers are ``<=``.
* The robust error at threshold epsilon is ``error(epsilon) = mean(radius <= epsilon)``.
* K is odd.
* ``lower`` is proven: the true radius is never below it. ``upper`` is witnessed by a perturbation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Status(StrEnum):
    """How much is known about a point's radius; `advice` says what to do about each."""

    EXACT = "exact"
    MISCLASSIFIED = "misclassified"
    TIED = "tied"
    BOUNDED = "bounded"
    UNREACHABLE = "unreachable"
    TIME_LIMIT = "time_limit"

    @property
    def advice(self) -> str:
        """One sentence: what the status means and what, if anything, to do."""
        return _ADVICE[self]


_ADVICE = {
    Status.EXACT: "lower and upper agree to the solver's tolerance; nothing to do.",
    Status.MISCLASSIFIED: "the unperturbed point is already misclassified, so its radius is 0; nothing to do.",
    Status.TIED: "another class is exactly as near as the label's own, and a tie is an attack, so its radius is 0 "
    "up to rounding; look for duplicate points with different labels.",
    Status.BOUNDED: "only bounds are known; tighten them with an exact method or a stronger attack.",
    Status.UNREACHABLE: "no allowed perturbation changes the answer, so both bounds are infinite; "
    "check the box if this surprises.",
    Status.TIME_LIMIT: "the time ran out with a gap left between the bounds; allow more time.",
}


class SandwichError(RuntimeError):
    """A perturbation shorter than a proven bound: one of the two is wrong, and nothing may be reported."""


@dataclass(frozen=True)
class RadiusBounds:
    """Lower and upper bounds of the radius of n test points, in their order.

    Attributes
    ----------
    lower : (n,) float64, proven lower bound of the radius
    upper : (n,) float64, norm of the best perturbation found, or ``inf`` where none was looked for
    status : (n,) array of `Status` values (strings)
    perturbation : (n, d) float64 or None; row i added to point i makes another class at least as near
    certificate : proof of ``lower`` that `arml.recheck` can check without the solver, or None. It names what is
        claimed: K, event, norm, box, and digests of the data (`arml.proofs.Claim`)
    subject : the data the result is about (`arml.proofs.Subject`), which `save` writes along; not part of ``==``
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    status: NDArray[np.str_]
    perturbation: NDArray[np.float64] | None = None
    certificate: Any = field(default=None, repr=False)
    subject: Any = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        n = len(self.lower)
        if len(self.upper) != n or len(self.status) != n:
            raise ValueError(
                f"lower, upper and status must have one length, got {n}, {len(self.upper)}, {len(self.status)}"
            )
        if self.perturbation is not None and len(self.perturbation) != n:
            raise ValueError(f"perturbation has {len(self.perturbation)} rows for {n} points")
        if np.isnan(self.lower).any() or np.isnan(self.upper).any():
            raise ValueError("a bound is NaN; a status must say what happened instead")
        crossed = np.flatnonzero(self.lower > self.upper)
        if crossed.size:
            i = int(crossed[0])
            raise ValueError(f"point {i}: lower bound {self.lower[i]!r} exceeds upper bound {self.upper[i]!r}")

    def __len__(self) -> int:
        return len(self.lower)

    def __iter__(self) -> Iterator[tuple[float, float, str]]:
        return ((float(lo), float(up), str(st)) for lo, up, st in zip(self.lower, self.upper, self.status, strict=True))

    @property
    def gap(self) -> NDArray[np.float64]:
        """(n,) relative gap ``(upper - lower) / upper``; 0 where both are 0 or both are infinite."""
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = (self.upper - self.lower) / self.upper
        return np.where(self.upper == self.lower, 0.0, np.where(np.isinf(self.upper), 1.0, gap))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the radii with their proof and the data they are about, for ``python -m arml.proofs`` (docs/proofs.md).

        Raises
        ------
        ValueError
            If there is no proof.
        """
        from arml.proofs.files import save  # only here, so that who has no proofs loads no checker
        from arml.proofs.result import ProvenResult

        if self.certificate is None or self.subject is None or self.perturbation is None:
            raise ValueError(
                "these radii carry no proof that could be saved; ask for one: exact_radius(..., proofs=True)"
            )
        save(ProvenResult(self.subject, self.lower, self.upper, self.status, self.perturbation, self.certificate), path)

    def certified_error(self, epsilon: float) -> float:
        """Fraction of points whose robustness at ``epsilon`` is not proven: mean(lower <= epsilon), eq. (3)."""
        return float(np.mean(self.lower <= epsilon))

    def empirical_error(self, epsilon: float) -> float:
        """Fraction of points broken by a perturbation of norm at most ``epsilon``: mean(upper <= epsilon), eq. (4)."""
        return float(np.mean(self.upper <= epsilon))


@dataclass(frozen=True)
class AttackedBounds(RadiusBounds):
    """Bounds whose ``upper`` comes from an attack that was verified by the classifier itself.

    ``upper`` belongs to a changed answer, ``perturbation`` to the same. With more than two classes the label can lose
    its majority before it loses the vote; ``lower`` bounds that earlier event too.

    Attributes
    ----------
    majority : (n,) float64, norm of a perturbation after which fewer than (K + 1) / 2 of the K nearest neighbours have
        the label; at most ``upper``. Only local_search looks for this event by itself; the other attacks have ``upper``
        here, or 0 where the label has no majority from the start
    majority_perturbation : (n, d) float64, the perturbations of ``majority``, or None where they are ``perturbation``
    queries : (n,) int64, how often the attack asked for the classifier's answer; 0 for an attack that sees inside
    notes : remarks of the attack on its run
    """

    majority: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    queries: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    notes: tuple[str, ...] = ()
    majority_perturbation: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, values in (("majority", self.majority), ("queries", self.queries)):
            if len(values) != len(self.lower):
                raise ValueError(f"{name} has {len(values)} entries for {len(self.lower)} points")
        outside = np.flatnonzero(~((self.lower <= self.majority) & (self.majority <= self.upper)))
        if outside.size:
            i = int(outside[0])
            raise ValueError(
                f"point {i}: the majority is lost at {self.majority[i]!r}, outside of "
                f"[{self.lower[i]!r}, {self.upper[i]!r}]"
            )


@dataclass(frozen=True)
class SearchedBounds(RadiusBounds):
    """Bounds that a search has brought together.

    Attributes
    ----------
    nodes : (n,) int64, size of each point's search tree; 0 where there was nothing to search
    event : what counts as an attack: "majority" or "plurality"
    """

    nodes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    event: str = "plurality"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.nodes) != len(self.lower):
            raise ValueError(f"nodes has {len(self.nodes)} entries for {len(self.lower)} points")
