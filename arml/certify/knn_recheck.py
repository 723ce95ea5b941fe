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

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arml.certify.knn_certificate import KNNCertificate
from arml.certify.verdict import FittedNeighbors, RecheckReport
from arml.radii import RadiusBounds, Status

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

# Relative rounding of a bound computed here, and of squared distances when points are ordered.
_ROUNDING = 1e-9
_TIE = 1e-11
_U = 2.0**-53
_LEAVES_AT_ONCE = 256


class _RefusedError(Exception):
    """A check failed; the message says which."""


def _require(condition: bool | np.bool_, message: str) -> None:
    if not condition:
        raise _RefusedError(message)


def recheck_knn(
    knn: FittedNeighbors,
    X: ArrayLike,
    y: ArrayLike,
    bounds: RadiusBounds,
    *,
    gap: float = 1e-6,
    event: str | None = None,
) -> RecheckReport:
    """Verify the exact K-NN radii ``bounds`` of the points X (t, d) with labels y (t,) under the classifier ``knn``.

    Parameters
    ----------
    gap : largest relative gap between upper and lower that may be called exact
    event : the event the radii shall be for, "majority" or "plurality"; None takes the one the result names

    Raises
    ------
    ValueError
        If the result carries no proof, does not have one row per point, or is for another K or event.
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
    ok, problems = np.ones(len(points), dtype=bool), []
    for i in range(len(points)):
        claim = _Claim(
            float(bounds.lower[i]), float(bounds.upper[i]), str(bounds.status[i]), perturbation[i], K, bool(flag)
        )
        try:
            with np.errstate(all="ignore"):
                _check(knn, points[i], int(labels[i]), claim, certificate, i, gap)
        except _RefusedError as refusal:
            ok[i] = False
            problems.append((i, str(refusal)))
    return RecheckReport(ok, tuple(problems))


@dataclass(frozen=True)
class _Claim:
    """What is claimed of one test point."""

    lower: float
    upper: float
    status: str
    delta: Array
    K: int
    plurality: bool


@dataclass(frozen=True)
class _View:
    """Training points seen from a test point, in units of ``unit``: a power of two near the size of what is seen.

    c (m,) squared distances, P (m, d) rows ``M (x_i - x)``, y (m,) labels; c_error (m,) and P_error (m,), in norm, are
    bounds of their rounding.
    """

    c: Array
    P: Array
    y: Integers
    c_error: Array
    P_error: Array
    unit: float

    @classmethod
    def of(cls, knn: FittedNeighbors, x: Array) -> _View:
        T = knn.X_train_ - x
        unit, divisor = _power_of_two(np.abs(T).max()), _power_of_two(np.abs(knn.metric_.components).max())
        T, G = T / unit, knn.metric_.components / divisor
        absolute, growth = np.abs(G), 2 * (sum(G.shape) + 8) * _U
        Z = T @ G.T
        Z_error = growth * (np.abs(T) @ absolute.T)
        P = Z @ G
        P_error = np.linalg.norm(Z_error @ absolute + growth * (np.abs(Z) @ absolute), axis=1)
        c, z_error = np.einsum("mr,mr->m", Z, Z), np.linalg.norm(Z_error, axis=1)
        c_error = growth * c + (2 * np.sqrt(c) + z_error) * z_error
        return cls(c, P, knn.y_train_, c_error, P_error, unit)

    def part(self, rows: Integers) -> _View:
        """The points ``rows`` only."""
        return _View(self.c[rows], self.P[rows], self.y[rows], self.c_error[rows], self.P_error[rows], self.unit)

    def distances(self, rows: Integers, others: Integers) -> Array:
        """``||p_j - p_i||``, rounded up, never 0."""
        A, B = self.P[rows], self.P[others]
        sq_A, sq_B = np.einsum("ad,ad->a", A, A)[:, None], np.einsum("bd,bd->b", B, B)
        sq = np.maximum(sq_A + sq_B - 2 * (A @ B.T), 0) + 4 * (A.shape[1] + 6) * _U * (sq_A + sq_B)
        return np.sqrt(sq) * (1 + 1e-15) + self.P_error[rows][:, None] + self.P_error[others] + 1e-300


def _power_of_two(value: float) -> float:
    return float(2.0 ** np.floor(np.log2(value))) if value > 0 else 1.0


def _check(
    knn: FittedNeighbors, x: Array, label: int, claim: _Claim, certificate: KNNCertificate, i: int, gap: float
) -> None:
    lower, upper = claim.lower, claim.upper
    _check_status(claim, gap)
    own = knn.y_train_ == label
    if np.isfinite(upper):
        _require(abs(np.linalg.norm(claim.delta) - upper) <= _ROUNDING * upper, "the perturbation has another norm")
        _require(_lost(knn, x, claim.delta, label, claim), "the perturbation does not change the answer")
    if lower == 0.0:
        return
    k = (claim.K + 1) // 2
    if np.isinf(lower):
        _require(int((~own).sum()) < k, "the radius is not infinite: there are enough points of other classes")
        return
    everywhere = _View.of(knn, x)
    _require(bool(np.isfinite(everywhere.P).all() and np.isfinite(everywhere.c).all()), "distances are not finite")
    mentioned = certificate.points[certificate.point_ptr[i] : certificate.point_ptr[i + 1]]
    in_range = bool(((mentioned >= 0) & (mentioned < len(own))).all())
    _require(in_range and len(np.unique(mentioned)) == len(mentioned), "the proof names points that do not exist")
    scaled = lower / everywhere.unit
    _check_rest(everywhere, own, mentioned, k, scaled)
    _TreeCheck(everywhere.part(mentioned), label, certificate, i, claim, scaled).run()


def _check_status(claim: _Claim, gap: float) -> None:
    """The status is one there is, and fits the bounds."""
    lower, upper, status = claim.lower, claim.upper, claim.status
    _require(status in set(Status), f"unknown status {status!r}")
    _require(0.0 <= lower <= upper, f"bounds {lower} and {upper} are not ordered")
    if status == Status.EXACT:
        _require(np.isfinite(upper) and upper - lower <= gap * upper, "the gap is too large to be called exact")
    if status in (Status.MISCLASSIFIED, Status.TIED):
        _require(upper == 0.0, f"status {status}, but the radius is not 0")
    _require((status == Status.UNREACHABLE) == bool(np.isinf(lower)), f"status {status} does not fit the bounds")


def _lost(knn: FittedNeighbors, x: Array, delta: Array, label: int, claim: _Claim) -> bool:
    """Whether the label has lost at ``x + delta``, where a step of a billionth of delta may decide a tie against it."""
    T = knn.X_train_ - (x + delta)
    unit, divisor = _power_of_two(np.abs(T).max()), _power_of_two(np.abs(knn.metric_.components).max())
    G = knn.metric_.components / divisor
    c = (((T / unit) @ G.T) ** 2).sum(axis=1)
    K, k, y = claim.K, (claim.K + 1) // 2, knn.y_train_
    order = np.argsort(c, kind="stable")
    step = _ROUNDING * max(np.linalg.norm(delta), 1e-3 * np.linalg.norm(knn.X_train_[order[0]] - x)) / unit

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
    for rival in np.setdiff1d(y, [label]):
        shifted = np.where(y == label, c + blur, np.where(y == rival, c - blur, c))
        ranked = np.argsort(shifted, kind="stable")
        near = y[ranked[:K]]
        if int((near == rival).sum()) >= int((near == label).sum()):
            return before(ranked[:K], ranked[K:])
    return False


def _check_rest(view: _View, own: Booleans, mentioned: Integers, k: int, lower: float) -> None:
    """Every other-class point that is not mentioned needs at least ``lower`` to pass all but k - 1 of the label's."""
    rest = ~own
    rest[mentioned] = False
    same = np.flatnonzero(own)
    same = same[np.argsort(view.c[same], kind="stable")]
    rows = np.flatnonzero(rest)
    for count in (4 * k, len(same)):
        if not rows.size:
            return
        rows = rows[~(_row_values(view, rows, same[:count], k) >= lower * (1 - _ROUNDING))]
    _require(not rows.size, f"nothing shows that training point {rows[:1].tolist()} cannot be among the nearest")


def _row_values(view: _View, rows: Integers, same: Integers, k: int) -> Array:
    """k-th largest margin of each row over the points ``same`` (Theorem 1), rounded down; 0 where there are fewer."""
    if len(same) < k:
        return np.zeros(len(rows))
    values = []
    for block in np.array_split(rows, max(1, len(rows) * len(same) // 2_000_000)):
        ahead = (view.c[block] - view.c_error[block])[:, None] - (view.c[same] + view.c_error[same])
        margins = ahead / (2 * view.distances(block, same))
        values.append(np.partition(margins, len(same) - k, axis=1)[:, len(same) - k])
    return np.concatenate(values)


class _TreeCheck:
    """The proof tree of one test point; ``view`` are the points it speaks of."""

    def __init__(
        self, view: _View, label: int, certificate: KNNCertificate, i: int, claim: _Claim, lower: float
    ) -> None:
        self.view, self.K, self.k, self.lower = view, claim.K, (claim.K + 1) // 2, lower
        self.plurality = claim.plurality
        self.own = view.y == label
        nodes = slice(int(certificate.node_ptr[i]), int(certificate.node_ptr[i + 1]))
        self.parent, self.point = certificate.parent[nodes], certificate.point[nodes]
        self.low = certificate.low[nodes]
        self.evidence = certificate.pair_ptr[nodes.start : nodes.stop + 1]
        self.pairs, self.weight = certificate.pairs, certificate.weight
        others, same = np.flatnonzero(~self.own), np.flatnonzero(self.own)
        self.others, self.same = others, same
        self.D = view.distances(others, same)
        order = others, same[np.argsort(view.c[same], kind="stable")]
        self.rows = np.zeros(len(view.y))
        self.rows[others] = np.maximum(_row_values(view, others, order[1], self.k), 0)

    def run(self) -> None:
        """Check the tree's shape, then its leaves."""
        if not len(self.parent):
            _require(len(self.others) < self.k, "the proof has no tree although it mentions enough points")
            return
        states = self._states()
        is_leaf = np.ones(len(self.parent), dtype=bool)
        is_leaf[self.parent[1:]] = False
        leaves = np.flatnonzero(is_leaf)
        for start in range(0, len(leaves), _LEAVES_AT_ONCE):
            block = leaves[start : start + _LEAVES_AT_ONCE]
            self._check_leaves(block[~self._hopeless(states[block])], states)

    def _states(self) -> NDArray[np.int8]:
        """What each node has decided: 1 low, -1 high, 0 undecided (nodes, m); refuses trees that leave a gap."""
        n, m = len(self.parent), len(self.own)
        ordered = self.parent[0] == -1 and bool((self.parent[1:] < np.arange(1, n)).all())
        _require(ordered and bool((self.parent[1:] >= 0).all()), "the tree's nodes are not in order")
        _require(bool(((self.point[1:] >= 0) & (self.point[1:] < m)).all()), "a node decides an unknown point")
        states = np.zeros((n, m), dtype=np.int8)
        children: dict[int, list[int]] = {}
        for node in range(1, n):
            above = int(self.parent[node])
            children.setdefault(above, []).append(node)
            _require(states[above, self.point[node]] == 0, "a node decides a point twice")
            states[node] = states[above]
            states[node, self.point[node]] = 1 if self.low[node] else -1
        for pair in children.values():
            covers = len(pair) == 2 and self.point[pair[0]] == self.point[pair[1]]
            _require(covers and self.low[pair[0]] != self.low[pair[1]], "a node's children leave out a case")
        return states

    def _hopeless(self, states: NDArray[np.int8]) -> Booleans:
        """Which of the nodes (l, m) hold no attack of norm below ``lower``, whatever the distances are: too few points.

        Other-class points that cost at least ``lower`` by themselves cannot be low in such an attack.
        """
        low, undecided, own = states == 1, states == 0, self.own
        able = ~own & (self.rows < self.lower * (1 - _ROUNDING))
        n_own, n_other = (low & own).sum(axis=1), (low & ~own).sum(axis=1)
        n_able = (undecided & able).sum(axis=1)
        hopeless = (n_own > self.k - 1) | (n_other + n_able < self.k) | (low & ~own & ~able).any(axis=1)
        if not self.plurality:
            return np.asarray(hopeless | (n_other > self.k))
        places = self.K - n_own - n_other
        # Places that other classes cannot fill are filled by the label.
        n_own = np.maximum(n_own + np.maximum(places - n_able, 0), 1)
        wins = np.zeros(len(states), dtype=bool)
        for rival in np.unique(self.view.y[self.others]).tolist():
            mine = self.view.y == rival
            more = np.minimum(places, (undecided & able & mine).sum(axis=1))
            wins |= (low & mine).sum(axis=1) + more >= n_own
        return np.asarray(hopeless | (places < 0) | ~wins)

    def _check_leaves(self, leaves: Integers, states: NDArray[np.int8]) -> None:
        """Every attack in one of the leaves has a norm of at least ``lower``."""
        view, n = self.view, len(leaves)
        counts = self.evidence[leaves + 1] - self.evidence[leaves]
        leaf = np.repeat(np.arange(n), counts)
        used = np.arange(int(counts.sum())) + np.repeat(self.evidence[leaves] - np.cumsum(counts) + counts, counts)
        low, high, weight = self.pairs[used, 0], self.pairs[used, 1], self.weight[used]
        self._check_pairs(states[leaves], leaf, low, high, weight)
        # Only ratios count: a leaf's weights are brought to a size at which nothing underflows.
        largest = np.zeros(n)
        np.maximum.at(largest, leaf, weight)
        weight = weight / np.maximum(largest, 1e-300)[leaf]
        lengths = np.sqrt(((view.P[high] - view.P[low]) ** 2).sum(axis=1))
        weight = np.where(lengths > 0, weight / np.maximum(lengths, 1e-150), 0.0)
        combined, size = np.zeros((n, len(view.c))), np.zeros((n, len(view.c)))
        for ends, sign in ((high, 1.0), (low, -1.0)):
            np.add.at(combined, (leaf, ends), sign * weight)
            np.add.at(size, (leaf, ends), weight)
        directions, gains = combined @ view.P, -0.5 * (combined @ view.c)
        # Rounding counts against the proof: that of distances and rows, and that of the sums over them.
        terms = 4 * (counts + view.P.shape[1] + 8) * _U
        norms = np.linalg.norm(view.P, axis=1)
        gains -= size @ view.c_error + terms * (size @ view.c)
        gains -= (size @ view.P_error + terms * (size @ norms)) * self.lower
        sizes = np.linalg.norm(directions, axis=1)
        beta = np.where((gains > 0) & (sizes > 0), gains / np.maximum(sizes, 1e-300), 0.0)
        beta = np.where((gains > 0) & (gains >= self.lower * sizes), np.inf, beta)
        open_ = np.flatnonzero(~(beta >= self.lower * (1 - _ROUNDING)))
        self.blur = 2 * float(view.c_error.max(initial=0.0)) + 4 * self.lower * (
            float(view.P_error.max(initial=0.0)) + 2 * (view.P.shape[1] + 8) * _U * float(norms.max(initial=0.0))
        )
        steps = -(beta / np.maximum(sizes, 1e-300))[open_, None] * directions[open_]
        F = view.c - 2 * (steps @ view.P.T)
        for q, f in zip(open_, F, strict=True):
            shown = self._ahead(f, states[leaves[q]], float(beta[q]))
            _require(shown >= self.lower * (1 - _ROUNDING), f"a leaf shows {shown!r}, not {self.lower!r}")

    def _check_pairs(self, states: NDArray[np.int8], leaf: Integers, low: Integers, high: Integers, w: Array) -> None:
        """The weights w are nonnegative, and on pairs of a low and a high point of the leaf (row of ``states``)."""
        m = states.shape[1]
        _require(bool(((low >= 0) & (low < m) & (high >= 0) & (high < m)).all()), "evidence on an unknown point")
        _require(bool((w >= 0).all()) and bool(np.isfinite(w).all()), "a weight is negative or not finite")
        decided = states == 1
        n_own, n_low = (decided & self.own).sum(axis=1), decided.sum(axis=1)
        full = (n_low >= self.K) & self.plurality
        own_full = (n_own >= self.k - 1) | full
        other_full = full if self.plurality else n_low - n_own >= self.k
        implied = np.where(self.own[high], own_full[leaf], other_full[leaf])
        is_high = (states[leaf, high] == -1) | ((states[leaf, high] == 0) & implied)
        decided_low = bool((states[leaf, low] == 1).all())
        _require(decided_low and bool(is_high.all()), "evidence on a pair that is undecided")

    def _ahead(self, f: Array, state: NDArray[np.int8], beta: float) -> float:
        """Norm that every attack of a leaf has, seen from the moved point with distances f (m,), beta away."""
        low, undecided = state == 1, state == 0
        spare = self.k - 1 - int((low & self.own).sum())
        missing = self.k - int((low & ~self.own).sum())
        same = self.same
        margins = (f[self.others][:, None] - f[same] - self.blur) / (2 * self.D)
        best = 0.0
        passed = low[self.others]
        if spare > 0 and passed.any():
            still = np.maximum(margins[passed][:, undecided[same]].max(axis=0, initial=0.0), 0.0)
            if len(still) > spare:
                best = float(np.sort(still)[::-1][spare])
        if missing > 0:
            open_ = undecided[self.others]
            some = np.sort(np.maximum(margins[open_][:, undecided[same]], 0.0), axis=1)[:, ::-1]
            steps = some[:, spare] if some.shape[1] > spare else np.zeros(int(open_.sum()))
            steps = np.maximum(steps, margins[open_][:, state[same] == -1].max(axis=1, initial=0.0))
            needed = np.maximum(np.sqrt(beta**2 + steps**2), self.rows[self.others][open_])
            if len(needed) < missing:
                return np.inf
            return max(float(np.sqrt(beta**2 + best**2)), float(np.sort(needed)[missing - 1]))
        return float(np.sqrt(beta**2 + best**2))
