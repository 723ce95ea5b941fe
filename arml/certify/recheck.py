"""Check exact radii without the solver that made them.

`recheck` takes the classifier, the points and a result, and uses nothing but distances, inner products and the closed
form (eq. 8). It shares no code with the search: a wrong radius, perturbation or certificate cannot pass because the
same mistake was made twice. For each point it confirms

* ``upper``: the perturbation has that norm, stays in the box, and with it another class is at least as near;
* ``lower``: every other-class training point needs at least that much, by eq. (8) with one of the point's anchors or by
  the dual bound ``-b'w / ||A'w||`` of the certificate's nonnegative weights;
* the Karush-Kuhn-Tucker conditions of an exact radius: the perturbation is the weighted sum of the constraints in use,
  and these hold with equality;
* that a shorter step in the same direction does not yet change the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arml.certify.certificate import OneNNCertificate
from arml.certify.knn_certificate import KNNCertificate
from arml.certify.knn_recheck import recheck_knn
from arml.certify.verdict import CheckFailedError, FittedNeighbors, RecheckReport, require
from arml.radii import RadiusBounds, Status

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# The witness may have been pushed past the optimum by this fraction of its length, and as much again for rounding.
_KKT_TOLERANCE = 1e-5
# Relative rounding the check itself may add to a bound it recomputes.
_CHECK_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Training:
    origin: Array
    X: Array
    y: Integers
    G: Array
    Z: Array
    P: Array
    z_sq_norm: Array
    sq_norm: Array
    magnitude: float


def recheck(
    knn: FittedNeighbors,
    X: ArrayLike,
    y: ArrayLike,
    bounds: RadiusBounds,
    *,
    box: tuple[float, float] | None = None,
    gap: float = 1e-6,
    event: str | None = None,
) -> RecheckReport:
    """Verify exact radii ``bounds`` of the points X (t, d) with labels y (t,) under the classifier ``knn``.

    Radii for K > 1 are handed to `arml.certify.knn_recheck`.

    Parameters
    ----------
    knn : fitted `MahalanobisKNN` (its training set and metric are what the result is checked against)
    bounds : result of ``exact_radius``, with perturbation and certificate
    box : the box the radii are claimed for, as it was given to ``exact_radius``
    gap : largest relative gap between upper and lower that may be called exact
    event : for K > 1 the event the radii shall be for, "majority" or "plurality"; None takes the one the result names

    Raises
    ------
    ValueError
        If the result has no perturbation or certificate, does not have one row per point, or is for another box.
    """
    points, labels = np.asarray(X, dtype=np.float64), np.asarray(y)
    certificate = bounds.certificate
    if isinstance(certificate, KNNCertificate):
        return recheck_knn(knn, X, y, bounds, box=box, gap=gap, event=event)
    if not isinstance(certificate, OneNNCertificate) or bounds.perturbation is None:
        raise ValueError("this result carries no certificate; only results of exact_radius can be rechecked")
    if not len(points) == len(labels) == len(bounds) == len(certificate.winner):
        raise ValueError(f"{len(points)} points, {len(labels)} labels and {len(bounds)} results do not belong together")
    certificate.check_pointers()
    if not np.array_equal(certificate.box, (-np.inf, np.inf) if box is None else box):
        raise ValueError(f"the result is for the box {certificate.box.tolist()}, not for {box}; pass the same box")
    train = _mapped(knn)
    ok = np.ones(len(points), dtype=bool)
    problems = []
    for i in range(len(points)):
        try:
            _check_point(train, points[i], int(labels[i]), bounds, i, gap)
        except CheckFailedError as failure:
            ok[i] = False
            problems.append((i, str(failure)))
    return RecheckReport(ok, tuple(problems))


def _mapped(knn: FittedNeighbors) -> _Training:
    """The training set, centred and mapped by the metric."""
    G = knn.metric_.components
    # Distances depend on differences only; about the training points' mean their expansion keeps its digits.
    origin = knn.X_train_.mean(axis=0)
    centred = knn.X_train_ - origin
    Z = centred @ G.T
    P = Z @ G
    return _Training(
        origin,
        centred,
        knn.y_train_,
        G,
        Z,
        P,
        np.einsum("nr,nr->n", Z, Z),
        np.einsum("nd,nd->n", P, P),
        float(np.linalg.norm(np.abs(centred) @ np.abs(G).T, axis=1).max()),
    )


def _check_point(train: _Training, raw: Array, label: int, bounds: RadiusBounds, i: int, gap: float) -> None:
    assert bounds.perturbation is not None
    x = raw - train.origin
    lower, upper, status = float(bounds.lower[i]), float(bounds.upper[i]), str(bounds.status[i])
    delta = bounds.perturbation[i]
    own = train.y == label
    c = _sq_dist(train, x)
    blur = _blur(train, x)
    if status in (Status.MISCLASSIFIED, Status.TIED):
        require(lower == upper == 0.0 and not delta.any(), f"status {status}, but the radius is not 0")
        require(_lead(c, own) <= blur, f"status {status}, but the point is classified correctly")
        return
    require(status in set(Status), f"unknown status {status!r}")
    require(0.0 <= lower <= upper, f"bounds {lower} and {upper} are not ordered")
    require(_lead(c, own) > -blur, "a misclassified point has a positive radius")
    certificate: OneNNCertificate = bounds.certificate
    room = raw - np.minimum(certificate.box[0], raw), np.maximum(certificate.box[1], raw) - raw
    proof = _PointProof(train, c, own, room, certificate, i)
    if status == Status.UNREACHABLE:
        require(np.isinf(lower) and np.isinf(upper), "status unreachable, but a bound is finite")
        # Within the box no perturbation is longer than its diagonal, so a longer bound proves that there is none.
        proof.check_lower(float(np.linalg.norm(np.maximum(*room))))
        return
    proof.check_lower(lower)
    _check_witness(train, x, own, delta, room, lower, upper)
    if status == Status.EXACT:
        require(upper - lower <= gap * upper, f"gap {(upper - lower) / upper:.2g} is too large to be called exact")
        proof.check_kkt(delta)


def _check_witness(
    train: _Training,
    x: Array,
    own: NDArray[np.bool_],
    delta: Array,
    room: tuple[Array, Array],
    lower: float,
    upper: float,
) -> None:
    """The perturbation has norm ``upper``, works, and a step just below ``lower`` does not."""
    norm = float(np.linalg.norm(delta))
    require(abs(norm - upper) <= 1e-12 * upper, f"the perturbation has norm {norm!r}, not {upper!r}")
    slip = 1e-9 * upper
    require((delta >= -room[0] - slip).all() and (delta <= room[1] + slip).all(), "the perturbation leaves the box")
    outside = _sq_dist(train, x + delta)
    blur = _blur(train, x + delta)
    require(_lead(outside, own) <= blur, "at the perturbed point the label's own class is still nearer")
    inside = _sq_dist(train, x + delta * (lower / upper * (1 - 1e-6)))
    require(_lead(inside, own) > -blur, "a perturbation shorter than the lower bound changes the answer")


def _sq_dist(train: _Training, x: Array) -> Array:
    u = train.G @ x
    return train.z_sq_norm - 2 * (train.Z @ u) + u @ u


def _blur(train: _Training, x: Array) -> float:
    """Rounding of a difference of two computed squared distances from x, on the safe side."""
    size = np.linalg.norm(np.abs(train.G) @ np.abs(x)) + train.magnitude
    length = np.linalg.norm(train.G @ x) + np.sqrt(train.z_sq_norm.max())
    return float(8 * sum(train.G.shape) * 2.0**-53 * (length + size) * length)


def _lead(c: Array, own: NDArray[np.bool_]) -> float:
    """By how much the nearest own-class point is nearer than the nearest other-class point; negative if it is not."""
    if not own.any():
        return -np.inf
    return float(c[~own].min(initial=np.inf) - c[own].min())


class _PointProof:
    """The part of a certificate that is about one test point."""

    def __init__(
        self,
        train: _Training,
        c: Array,
        own: NDArray[np.bool_],
        room: tuple[Array, Array],
        certificate: OneNNCertificate,
        i: int,
    ) -> None:
        self.train, self.c, self.own, self.room = train, c, own, room
        self.certificate = certificate
        self.winner = int(certificate.winner[i])
        self.anchors = certificate.anchors[certificate.anchor_ptr[i] : certificate.anchor_ptr[i + 1]]
        self.entries = range(int(certificate.entry_ptr[i]), int(certificate.entry_ptr[i + 1]))
        self._require_own(self.anchors, "anchor")
        valid = -1 <= self.winner < len(own) and not (self.winner >= 0 and own[self.winner])
        require(valid, f"the winner {self.winner} is not an other-class training point")

    def check_lower(self, lower: float) -> None:
        """Every other-class point needs a perturbation of norm at least ``lower``."""
        proven = np.where(self.own, np.inf, 0.0)
        for anchor in self.anchors:
            np.maximum(proven, self._closed_form(int(anchor)), out=proven, where=~self.own)
        for entry in self.entries:
            other = int(self.certificate.entry_other[entry])
            require(
                0 <= other < len(proven) and not self.own[other], f"an entry names {other}, not an other-class point"
            )
            A, b, weight = self._constraints(entry, other)
            gain = -float(weight @ b)
            # What the sum of the rows may have lost by rounding counts as length: rows that cancel prove nothing.
            lost = 2.0**-50 * len(weight) * float(weight @ np.linalg.norm(A, axis=1))
            length = float(np.linalg.norm(weight @ A)) + lost
            if gain > 0 and length > 0:
                proven[other] = max(proven[other], gain / length)
        weakest = int(proven.argmin())
        require(
            proven[weakest] >= lower * (1 - _CHECK_ROUNDING),
            f"nothing proves that training point {weakest} needs {lower!r}; shown: {proven[weakest]!r}",
        )

    def check_kkt(self, delta: Array) -> None:
        """Stationarity and complementary slackness of the perturbation in the winner's problem."""
        entries = [entry for entry in self.entries if self.certificate.entry_other[entry] == self.winner]
        if not entries:
            # The closed form alone proves the bound, so the bisecting hyperplane of one anchor is the only constraint.
            slack = [float(self._closed_form(int(anchor))[self.winner]) for anchor in self.anchors]
            require(
                max(slack, default=0.0) >= np.linalg.norm(delta) * (1 - _KKT_TOLERANCE), "no multipliers for the winner"
            )
            return
        A, b, weight = self._constraints(entries[0], self.winner)
        direction = weight @ A
        optimum = (float(weight @ b) / float(direction @ direction)) * direction
        size = float(np.linalg.norm(delta))
        require(np.linalg.norm(delta - optimum) <= _KKT_TOLERANCE * size, "the perturbation is not stationary")
        residual = np.abs(A @ delta - b) / np.linalg.norm(A, axis=1)
        require((residual <= _KKT_TOLERANCE * size).all(), "a constraint with positive weight is not active")

    def _closed_form(self, anchor: int) -> Array:
        """Eq. (8) of one anchor against all training points (n,)."""
        train = self.train
        sq_norm = train.sq_norm + train.sq_norm[anchor] - 2 * (train.P @ train.P[anchor])
        norm = np.sqrt(np.maximum(sq_norm, 0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(norm > 0, (self.c - self.c[anchor]) / (2 * norm), 0.0)

    def _constraints(self, entry: int, other: int) -> tuple[Array, Array, Array]:
        """Rows A (m, d), limits b (m,) and weights (m,) of one entry."""
        certificate, train = self.certificate, self.train
        used = slice(int(certificate.row_ptr[entry]), int(certificate.row_ptr[entry + 1]))
        rows, weight = certificate.row[used], certificate.weight[used]
        require(bool((weight >= 0).all()) and bool(np.isfinite(weight).all()), "a weight is negative or not finite")
        d = train.X.shape[1]
        points, box = rows[rows >= 0], -1 - rows[rows < 0]
        self._require_own(points, "constraint")
        require(bool((box < 2 * d).all()), "a box constraint names a feature that does not exist")
        A = np.zeros((len(rows), d))
        b = np.empty(len(rows))
        A[rows >= 0] = (train.Z[points] - train.Z[other]) @ train.G
        b[rows >= 0] = (self.c[points] - self.c[other]) / 2
        A[np.flatnonzero(rows < 0), box % d] = np.where(box < d, -1.0, 1.0)
        b[rows < 0] = np.where(box < d, self.room[0][box % d], self.room[1][box % d])
        # Only the ratios of the weights matter; their own scale must neither underflow nor overflow.
        return A, b, weight / max(float(weight.max(initial=0.0)), 2.0**-1000)

    def _require_own(self, rows: Integers, what: str) -> None:
        valid = bool(((rows >= 0) & (rows < len(self.own))).all()) and bool(self.own[rows].all())
        require(valid, f"an {what} is not a training point of the label's class")
