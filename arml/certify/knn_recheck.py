"""Check exact K-NN radii without the search that made them.

`recheck_knn` takes the classifier, the points, a result and its `KNNCertificate`, and uses nothing but distances, inner
products and the arguments in `arml.certify.knn_certificate`. It shares no code with the search, and trusts none of the
arrays it is given. For each point:

* ``upper``: the perturbation has that norm, and with it the label has lost its majority (or the vote), up to a tie;
* the proof's tree covers everything: a node is split into the two sides of one point, which was undecided there;
* ``lower`` holds at every leaf, and for every other-class training point the proof does not mention.

Written for numpy and for reading. Distances and rows are computed from differences of points, at a scale of 1, with
bounds of their rounding errors, which count against the proof; beyond that a claim may exceed what is shown by ``1e-9``
of itself. Comparisons are written so that a NaN refuses.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arml.certify.knn_certificate import KNNCertificate
from arml.certify.knn_tree_check import TreeCheck
from arml.certify.knn_view import ROUNDING, View, power_of_two, row_values
from arml.certify.verdict import CheckFailedError, FittedNeighbors, RecheckReport, require
from arml.radii import RadiusBounds, Status
from arml.threads import blas_on_one_thread

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

# Relative rounding of squared distances when points are ordered.
_TIE = 1e-11
_U = 2.0**-53
# A bound this much above the longest perturbation there is, beyond what `ROUNDING` forgives, says that there is none.
_ABOVE = 1 + 1e-8


def recheck_knn(
    knn: FittedNeighbors,
    X: ArrayLike,
    y: ArrayLike,
    bounds: RadiusBounds,
    *,
    box: tuple[float, float] | None = None,
    gap: float = 1e-6,
    event: str | None = None,
) -> RecheckReport:
    """Verify the exact K-NN radii ``bounds`` of the points X (t, d) with labels y (t,) under the classifier ``knn``.

    Parameters
    ----------
    box : the box the radii are claimed for, as it was given to ``exact_radius``
    gap : largest relative gap between upper and lower that may be called exact
    event : the event the radii shall be for, "majority" or "plurality"; None takes the one the result names

    Raises
    ------
    ValueError
        If the result carries no proof, does not have one row per point, or is for another K, event or box.
    """
    points, labels = np.asarray(X, dtype=np.float64), np.asarray(y)
    if not isinstance(bounds.certificate, KNNCertificate) or bounds.perturbation is None:
        raise ValueError("this result carries no proof; ask for one with exact_radius(..., proofs=True)")
    # Through the arrays, because what was put together by hand need not have their types.
    certificate = KNNCertificate.from_arrays(bounds.certificate.arrays())
    if not len(points) == len(labels) == len(bounds) == len(certificate):
        raise ValueError(f"{len(points)} points, {len(labels)} labels and {len(bounds)} results do not belong together")
    perturbation = np.asarray(bounds.perturbation, dtype=np.float64)
    if perturbation.shape != points.shape:
        raise ValueError(f"perturbation has shape {perturbation.shape} for points of shape {points.shape}")
    K, flag = certificate.setting.tolist()
    if int(getattr(knn, "n_neighbors", -1)) != K:
        raise ValueError(f"the proof is for K = {K}, the classifier has K = {getattr(knn, 'n_neighbors', None)}")
    wanted = event or getattr(bounds, "event", None)
    if flag not in (0, 1) or (wanted is not None and (wanted == "plurality") != bool(flag)):
        raise ValueError(f"the proof is not for the event {wanted!r}")
    if not np.array_equal(certificate.box, (-np.inf, np.inf) if box is None else box):
        raise ValueError(f"the result is for the box {certificate.box.tolist()}, not for {box}; pass the same box")

    def refusal(i: int) -> str | None:
        """Why the claim for point i is refused, or None where it is confirmed."""
        x, (low, high) = points[i], certificate.box
        room = np.stack([x - np.minimum(low, x), np.maximum(high, x) - x])
        claim = _Claim(
            float(bounds.lower[i]), float(bounds.upper[i]), str(bounds.status[i]), perturbation[i], room, K, bool(flag)
        )
        try:
            with np.errstate(all="ignore"):
                _check(knn, points[i], int(labels[i]), claim, certificate, i, gap)
        except CheckFailedError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool, blas_on_one_thread():
        refusals = list(pool.map(refusal, range(len(points))))
    problems = tuple((i, reason) for i, reason in enumerate(refusals) if reason is not None)
    return RecheckReport(np.array([reason is None for reason in refusals], dtype=bool), problems)


@dataclass(frozen=True)
class _Claim:
    """What is claimed of one test point; its features may go down and up by ``room`` (2, d)."""

    lower: float
    upper: float
    status: str
    delta: Array
    room: Array
    K: int
    plurality: bool


def _check(
    knn: FittedNeighbors, x: Array, label: int, claim: _Claim, certificate: KNNCertificate, i: int, gap: float
) -> None:
    lower, upper = claim.lower, claim.upper
    _check_status(claim, gap)
    own = knn.y_train_ == label
    if np.isfinite(upper):
        require(abs(np.linalg.norm(claim.delta) - upper) <= ROUNDING * upper, "the perturbation has another norm")
        slip = ROUNDING * upper
        inside = (claim.delta >= -claim.room[0] - slip).all() and (claim.delta <= claim.room[1] + slip).all()
        require(inside, "the perturbation leaves the box")
        require(_lost(knn, x, claim.delta, label, claim), "the perturbation does not change the answer")
    if lower == 0.0:
        return
    k = (claim.K + 1) // 2
    if np.isinf(lower):
        if int((~own).sum()) < k:
            return
        # Within a box nothing is longer than its diagonal, so a bound just above that proves that there is no attack.
        lower = float(np.linalg.norm(claim.room.max(axis=0))) * _ABOVE
        require(bool(np.isfinite(lower)), "the radius is not infinite: there are enough points of other classes")
    everywhere = View.of(knn, x)
    require(bool(np.isfinite(everywhere.P).all() and np.isfinite(everywhere.c).all()), "distances are not finite")
    mentioned = certificate.points[certificate.point_ptr[i] : certificate.point_ptr[i + 1]]
    in_range = bool(((mentioned >= 0) & (mentioned < len(own))).all())
    require(in_range and len(np.unique(mentioned)) == len(mentioned), "the proof names points that do not exist")
    scaled = lower / everywhere.unit
    _check_rest(everywhere, own, mentioned, k, scaled)
    TreeCheck(everywhere.part(mentioned), claim.room / everywhere.unit, label, certificate, i, scaled).run()


def _check_status(claim: _Claim, gap: float) -> None:
    """The status is one there is, and fits the bounds."""
    lower, upper, status = claim.lower, claim.upper, claim.status
    require(status in set(Status), f"unknown status {status!r}")
    require(0.0 <= lower <= upper, f"bounds {lower} and {upper} are not ordered")
    if status == Status.EXACT:
        require(np.isfinite(upper) and upper - lower <= gap * upper, "the gap is too large to be called exact")
    if status in (Status.MISCLASSIFIED, Status.TIED):
        require(upper == 0.0, f"status {status}, but the radius is not 0")
    require((status == Status.UNREACHABLE) == bool(np.isinf(lower)), f"status {status} does not fit the bounds")


def _lost(knn: FittedNeighbors, x: Array, delta: Array, label: int, claim: _Claim) -> bool:
    """Whether the label has lost at ``x + delta``, where a step of a billionth of delta may decide a tie against it."""
    T = knn.X_train_ - (x + delta)
    unit, divisor = power_of_two(np.abs(T).max()), power_of_two(np.abs(knn.metric_.components).max())
    G = knn.metric_.components / divisor
    c = (((T / unit) @ G.T) ** 2).sum(axis=1)
    K, k, y = claim.K, (claim.K + 1) // 2, knn.y_train_
    order = np.argsort(c, kind="stable")
    step = ROUNDING * max(np.linalg.norm(delta), 1e-3 * np.linalg.norm(knn.X_train_[order[0]] - x)) / unit

    def before(front: Integers, behind: Integers) -> bool:
        if not len(front) or not len(behind):
            return True
        front, behind = front[c[front] >= c[behind].min()], behind[c[behind] <= c[front].max()]
        rows = ((knn.X_train_[front][:, None] - knn.X_train_[behind]) / unit) @ G.T @ G
        allowed = 2 * step * np.linalg.norm(rows, axis=2) + 8 * _U * np.abs(c[front]).max(initial=0.0)
        return bool((c[front][:, None] - c[behind] <= allowed).all())

    if not claim.plurality:
        others, same = order[y[order] != label], order[y[order] == label]
        return len(same) < k or (len(others) >= k and before(others[:k], same[k - 1 :]))
    blur = _TIE * float(c[order[K - 1]])
    # Farther points are neither among the K nearest nor before one of them, for any rival.
    close = np.sort(order[: np.searchsorted(c[order], c[order[K - 1]] + 4 * blur, side="right")])
    for rival in np.setdiff1d(y[close], [label]):
        shifted = np.where(y[close] == label, c[close] + blur, np.where(y[close] == rival, c[close] - blur, c[close]))
        ranked = close[np.argsort(shifted, kind="stable")]
        near = y[ranked[:K]]
        enough = int((near == rival).sum()) >= int((near == label).sum())
        if enough and before(ranked[:K], ranked[K:]):
            return True
    return False


def _check_rest(view: View, own: Booleans, mentioned: Integers, k: int, lower: float) -> None:
    """Every other-class point that is not mentioned needs at least ``lower`` to pass all but k - 1 of the label's."""
    rest = ~own
    rest[mentioned] = False
    same = np.flatnonzero(own)
    same = same[np.argsort(view.c[same], kind="stable")]
    rows = np.flatnonzero(rest)
    for count in (4 * k, len(same)):
        if not rows.size:
            return
        rows = rows[~(row_values(view, rows, same[:count], k) >= lower * (1 - ROUNDING))]
    require(not rows.size, f"nothing shows that training point {rows[:1].tolist()} cannot be among the nearest")
