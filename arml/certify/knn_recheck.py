"""Check exact K-NN radii without the search that made them.

`recheck_knn` takes the classifier, the points, a result and its `KNNCertificate`, and uses nothing but distances, inner
products and the arguments in `arml.certify.knn_certificate`. It shares no code with the search. For each point:

* ``upper``: the perturbation has that norm, and with it the label has lost its majority (or the vote), up to a tie;
* the proof's tree covers everything: a node is split into the two sides of one point, which was undecided there;
* ``lower`` holds at every leaf, and for every other-class training point the proof does not mention.

Written for numpy and for reading; what is claimed may exceed it by ``1e-9`` of itself, the rounding of the check.
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

# Relative rounding of a bound computed here, and of a difference of squared distances that counts as a tie.
_ROUNDING = 1e-9
_TIE = 1e-10
_LEAVES_AT_ONCE = 256


class _RefusedError(Exception):
    """A check failed; the message says which."""


def _require(condition: bool | np.bool_, message: str) -> None:
    if not condition:
        raise _RefusedError(message)


def recheck_knn(
    knn: FittedNeighbors, X: ArrayLike, y: ArrayLike, bounds: RadiusBounds, *, gap: float = 1e-6
) -> RecheckReport:
    """Verify the exact K-NN radii ``bounds`` of the points X (t, d) with labels y (t,) under the classifier ``knn``.

    ``gap`` is the largest relative gap between upper and lower that may be called exact.

    Raises
    ------
    ValueError
        If the result carries no proof, does not have one row per point, or is for another K.
    """
    points, labels = np.asarray(X, dtype=np.float64), np.asarray(y)
    certificate = bounds.certificate
    if not isinstance(certificate, KNNCertificate) or bounds.perturbation is None:
        raise ValueError("this result carries no proof; ask for one with exact_radius(..., proofs=True)")
    if not len(points) == len(labels) == len(bounds) == len(certificate):
        raise ValueError(f"{len(points)} points, {len(labels)} labels and {len(bounds)} results do not belong together")
    certificate.check_pointers()
    K = int(getattr(knn, "n_neighbors", -1))
    if int(certificate.setting[0]) != K:
        raise ValueError(f"the proof is for K = {int(certificate.setting[0])}, the classifier has K = {K}")
    ok, problems = np.ones(len(points), dtype=bool), []
    for i in range(len(points)):
        try:
            _check(knn, points[i], int(labels[i]), bounds, certificate, i, gap)
        except _RefusedError as refusal:
            ok[i] = False
            problems.append((i, str(refusal)))
    return RecheckReport(ok, tuple(problems))


@dataclass(frozen=True)
class _View:
    """Training points seen from a test point: squared distances c (m,), rows P (m, d) ``M (x_i - x)``, labels (m,)."""

    c: Array
    P: Array
    y: Integers

    @classmethod
    def of(cls, knn: FittedNeighbors, x: Array, rows: Integers | slice) -> _View:
        G = knn.metric_.components
        Z = (knn.X_train_[rows] - x) @ G.T
        return cls(np.einsum("mr,mr->m", Z, Z), Z @ G, knn.y_train_[rows])


def _check(
    knn: FittedNeighbors, x: Array, label: int, bounds: RadiusBounds, certificate: KNNCertificate, i: int, gap: float
) -> None:
    assert bounds.perturbation is not None
    K, plurality = certificate.setting.tolist()
    k = (K + 1) // 2
    lower, upper, status = float(bounds.lower[i]), float(bounds.upper[i]), str(bounds.status[i])
    delta = bounds.perturbation[i]
    _require(status in set(Status), f"unknown status {status!r}")
    _require(0.0 <= lower <= upper, f"bounds {lower} and {upper} are not ordered")
    _require(status != Status.EXACT or upper - lower <= gap * upper, "the gap is too large to be called exact")
    everywhere = _View.of(knn, x, slice(None))
    own = everywhere.y == label
    if np.isfinite(upper):
        _require(abs(np.linalg.norm(delta) - upper) <= _ROUNDING * upper, "the perturbation has another norm")
        there = _View.of(knn, x + delta, slice(None))
        _require(_lost(there.c, there.y, label, K, plurality), "the perturbation does not change the answer")
    if lower == 0.0:
        return
    if np.isinf(lower):
        _require(int((~own).sum()) < k, "the radius is not infinite: there are enough points of other classes")
        return
    mentioned = certificate.points[certificate.point_ptr[i] : certificate.point_ptr[i + 1]]
    in_range = bool(((mentioned >= 0) & (mentioned < len(own))).all())
    _require(in_range and len(np.unique(mentioned)) == len(mentioned), "the proof names points that do not exist")
    _check_rest(everywhere, own, mentioned, k, lower)
    view = _View(everywhere.c[mentioned], everywhere.P[mentioned], everywhere.y[mentioned])
    _TreeCheck(view, label, certificate, i, K, bool(plurality), lower).run()


def _lost(c: Array, y: Integers, label: int, K: int, plurality: int) -> bool:
    """Whether the label has lost its majority, or the vote, at squared distances c (n,), ties against it."""
    blur = _TIE * float(np.partition(c, min(K, len(c) - 1))[: K + 1].max())
    rivals = np.setdiff1d(y, [label]) if plurality else [None]
    for rival in rivals:
        favoured = y == rival if plurality else y != label
        shifted = np.where(y == label, c + blur, np.where(favoured, c - blur, c))
        nearest = y[np.argsort(shifted, kind="stable")[:K]]
        own = int((nearest == label).sum())
        if (int((nearest == rival).sum()) >= own) if plurality else own < (K + 1) // 2:
            return True
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
        rows = rows[_row_values(view, rows, same[:count], k) < lower * (1 - _ROUNDING)]
    _require(not rows.size, f"nothing shows that training point {rows[:1].tolist()} cannot be among the nearest")


def _row_values(view: _View, rows: Integers, same: Integers, k: int) -> Array:
    """k-th largest margin of each row over the points ``same`` (Theorem 1); 0 where there are fewer."""
    if len(same) < k:
        return np.zeros(len(rows))
    values = []
    for block in np.array_split(rows, max(1, len(rows) * len(same) // 2_000_000)):
        D = _distances(view.P[block], view.P[same])
        margins = (view.c[block][:, None] - view.c[same]) / (2 * D)
        values.append(np.partition(margins, len(same) - k, axis=1)[:, len(same) - k])
    return np.concatenate(values)


def _distances(A: Array, B: Array) -> Array:
    sq_A, sq_B = np.einsum("ad,ad->a", A, A)[:, None], np.einsum("bd,bd->b", B, B)
    return np.sqrt(np.maximum(sq_A + sq_B - 2 * (A @ B.T), 0) + 1e-13 * (sq_A + sq_B) + 1e-300)


class _TreeCheck:
    """The proof tree of one test point; ``view`` are the points it speaks of."""

    def __init__(
        self, view: _View, label: int, certificate: KNNCertificate, i: int, K: int, plurality: bool, lower: float
    ) -> None:
        self.view, self.label, self.K, self.k, self.lower = view, label, K, (K + 1) // 2, lower
        self.plurality = plurality
        self.own = view.y == label
        nodes = slice(int(certificate.node_ptr[i]), int(certificate.node_ptr[i + 1]))
        self.parent, self.point = certificate.parent[nodes], certificate.point[nodes]
        self.low = certificate.low[nodes]
        self.evidence = certificate.pair_ptr[nodes.start : nodes.stop + 1]
        self.pairs, self.weight = certificate.pairs, certificate.weight
        others, same = np.flatnonzero(~self.own), np.flatnonzero(self.own)
        self.others, self.same = others, same
        self.D = _distances(view.P[others], view.P[same])
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
        lengths = np.sqrt(np.maximum(((view.P[high] - view.P[low]) ** 2).sum(axis=1), 1e-300))
        weight = weight / lengths
        combined = np.zeros((n, len(view.c)))
        np.add.at(combined, (leaf, high), weight)
        np.add.at(combined, (leaf, low), -weight)
        directions, gains = combined @ view.P, -0.5 * (combined @ view.c)
        # What the sums may have lost by rounding counts against them: rows that cancel prove nothing.
        lost = 2.0**-45 * np.bincount(leaf, weight * lengths, minlength=n)
        gains -= 2.0**-48 * (np.abs(combined) @ view.c)
        sizes = np.linalg.norm(directions, axis=1) + lost + 1e-300
        beta = np.where(gains > 0, gains / sizes, 0.0)
        open_ = np.flatnonzero(beta < self.lower * (1 - _ROUNDING))
        F = view.c - 2 * ((-(beta / sizes)[open_, None] * directions[open_]) @ view.P.T)
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
        margins = (f[self.others][:, None] - f[same]) / (2 * self.D)
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
