"""Check the proof tree of one test point: that it covers everything, and that each leaf shows the claimed bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.certify.knn_certificate import KNNCertificate
from arml.certify.knn_view import ROUNDING, View, row_values
from arml.certify.verdict import require

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

_U = 2.0**-53
_LEAVES_AT_ONCE = 256
_MARGINS_AT_ONCE = 1_000_000
# Same-class points looked at first.
_NEAR = 16


class TreeCheck:
    """The proof tree of one test point; ``view`` are the points it speaks of, ``room`` (2, d) its features'."""

    def __init__(self, view: View, room: Array, label: int, certificate: KNNCertificate, i: int, lower: float) -> None:
        self.view, self.room, self.lower = view, room, lower
        self.K = int(certificate.setting[0])
        self.k, self.plurality = (self.K + 1) // 2, bool(certificate.setting[1])
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
        self.norms = np.linalg.norm(view.P, axis=1)
        # What a difference of moved distances may be off by, for steps shorter than lower.
        self.blur = 2 * float(view.c_error.max(initial=0.0)) + 4 * lower * (
            float(view.P_error.max(initial=0.0)) + 2 * (view.P.shape[1] + 8) * _U * float(self.norms.max(initial=0.0))
        )
        self.rows = np.zeros(len(view.y))
        self.rows[others] = np.maximum(row_values(view, others, order[1], self.k), 0)

    def run(self) -> None:
        """Check the tree's shape, then its leaves."""
        if not len(self.parent):
            require(len(self.others) < self.k, "the proof has no tree although it mentions enough points")
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
        require(ordered and bool((self.parent[1:] >= 0).all()), "the tree's nodes are not in order")
        require(bool(((self.point[1:] >= 0) & (self.point[1:] < m)).all()), "a node decides an unknown point")
        # Children stand side by side: (pairs, 2), in the order of their parents.
        children = 1 + np.argsort(self.parent[1:], kind="stable")
        counts = np.bincount(self.parent[1:], minlength=n)
        require(bool(((counts == 0) | (counts == 2)).all()), "a node's children leave out a case")
        pairs, first_pair = children.reshape(-1, 2), (np.cumsum(counts) - counts) // 2
        same_point = self.point[pairs[:, 0]] == self.point[pairs[:, 1]]
        covers = same_point & (self.low[pairs[:, 0]] != self.low[pairs[:, 1]])
        require(bool(covers.all()), "a node's children leave out a case")
        states = np.zeros((n, m), dtype=np.int8)
        level = np.flatnonzero(counts[:1])
        while level.size:
            below = pairs[first_pair[level]].ravel()
            above, point = self.parent[below], self.point[below]
            require(not states[above, point].any(), "a node decides a point twice")
            states[below] = states[above]
            states[below, point] = np.where(self.low[below], 1, -1)
            level = below[counts[below] > 0]
        return states

    def _hopeless(self, states: NDArray[np.int8]) -> Booleans:
        """Which of the nodes (l, m) hold no attack of norm below ``lower``, whatever the distances are: too few points.

        Other-class points that cost at least ``lower`` by themselves cannot be low in such an attack.
        """
        low, undecided, own = states == 1, states == 0, self.own
        able = ~own & (self.rows < self.lower * (1 - ROUNDING))
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
        require(bool((weight >= 0).all()) and bool(np.isfinite(weight).all()), "a weight is negative or not finite")
        # Only ratios count: a leaf's weights are brought to a size at which nothing underflows.
        largest = np.zeros(n)
        np.maximum.at(largest, leaf, weight)
        weight = weight / np.maximum(largest, 1e-300)[leaf]
        limits = low < 0
        pushed, held, pushes = self._of_box(leaf[limits], low[limits], high[limits], weight[limits], n)
        leaf, low, high, weight = leaf[~limits], low[~limits], high[~limits], weight[~limits]
        self._check_pairs(states[leaves], leaf, low, high)
        lengths = np.sqrt(((view.P[high] - view.P[low]) ** 2).sum(axis=1))
        weight = np.where(lengths > 0, weight / np.maximum(lengths, 1e-150), 0.0)
        combined, size = np.zeros((n, len(view.c))), np.zeros((n, len(view.c)))
        for ends, sign in ((high, 1.0), (low, -1.0)):
            np.add.at(combined, (leaf, ends), sign * weight)
            np.add.at(size, (leaf, ends), weight)
        directions, gains = combined @ view.P + pushed, -0.5 * (combined @ view.c) - held
        # Rounding counts against the proof: that of distances and rows, and that of the sums over them.
        terms = 4 * (counts + view.P.shape[1] + 8) * _U
        gains -= size @ view.c_error + terms * (size @ view.c + held)
        gains -= (size @ view.P_error + terms * (size @ self.norms + pushes)) * self.lower
        sizes = np.linalg.norm(directions, axis=1)
        beta = np.where((gains > 0) & (sizes > 0), gains / np.maximum(sizes, 1e-300), 0.0)
        beta = np.where((gains > 0) & (gains >= self.lower * sizes), np.inf, beta)
        open_ = np.flatnonzero(~(beta >= self.lower * (1 - ROUNDING)))
        steps = -(beta / np.maximum(sizes, 1e-300))[open_, None] * directions[open_]
        F = view.c - 2 * (steps @ view.P.T)
        require(bool(np.isfinite(F).all()), "the evidence of a leaf leaves the range of numbers")
        # First seen beside the nearest of the label's points alone, which is less work and shows nearly as much.
        for n_same in (_NEAR, len(self.same)):
            shown = np.zeros(len(open_))
            at_once = max(1, _MARGINS_AT_ONCE // max(len(self.others) * min(n_same, len(self.same)), 1))
            for start in range(0, len(open_), at_once):
                some = slice(start, start + at_once)
                shown[some] = self._ahead(F[some], states[leaves[open_[some]]], beta[open_[some]], n_same)
            short = ~(shown >= self.lower * (1 - ROUNDING))
            open_, F, shown = open_[short], F[short], shown[short]
        require(not open_.size, f"a leaf shows {shown[:1].tolist()}, not {self.lower!r}")

    def _of_box(self, leaf: Integers, side: Integers, feature: Integers, w: Array, n: int) -> tuple[Array, ...]:
        """What weights on bounds of the box add to the leaves' directions (n, d) and take from their gains (n,).

        And the sums of the weights (n,).
        """
        known = (side >= -2) & (feature >= 0) & (feature < self.room.shape[1])
        require(bool(known.all()), "evidence on an unknown bound of the box")
        room = self.room[-1 - side, feature]
        require(bool(np.isfinite(room).all()), "evidence on the bound of a box where there is none")
        pushed, held, total = np.zeros((n, self.room.shape[1])), np.zeros(n), np.zeros(n)
        np.add.at(pushed, (leaf, feature), np.where(side == -1, -w, w))
        np.add.at(held, leaf, w * room)
        np.add.at(total, leaf, w)
        return pushed, held, total

    def _check_pairs(self, states: NDArray[np.int8], leaf: Integers, low: Integers, high: Integers) -> None:
        """The pairs are of a low and a high point of the leaf (row of ``states``)."""
        m = states.shape[1]
        require(bool(((low >= 0) & (low < m) & (high >= 0) & (high < m)).all()), "evidence on an unknown point")
        decided = states == 1
        n_own, n_low = (decided & self.own).sum(axis=1), decided.sum(axis=1)
        full = (n_low >= self.K) & self.plurality
        own_full = (n_own >= self.k - 1) | full
        other_full = full if self.plurality else n_low - n_own >= self.k
        implied = np.where(self.own[high], own_full[leaf], other_full[leaf])
        is_high = (states[leaf, high] == -1) | ((states[leaf, high] == 0) & implied)
        decided_low = bool((states[leaf, low] == 1).all())
        require(decided_low and bool(is_high.all()), "evidence on a pair that is undecided")

    def _ahead(self, F: Array, states: NDArray[np.int8], beta: Array, n_same: int) -> Array:
        """Norm that every attack of each leaf (l,) has, seen from moved points with distances F (l, m), beta away.

        Only the nearest ``n_same`` of the label's points that are not low are looked at: the more, the longer the norm.
        """
        low, undecided, own = states == 1, states == 0, self.own
        spare, missing = self.k - 1 - (low & own).sum(axis=1), self.k - (low & ~own).sum(axis=1)
        others, near = self.others, self._nearest_own(F, low, n_same)
        same = self.same[near]
        # How far each of the others must go at least from the moved point before it passes each of the same.
        gaps = F[:, others, None] - np.take_along_axis(F, same, axis=1)[:, None, :] - self.blur
        margins = gaps / (2 * self.D[np.arange(len(others))[:, None], near[:, None, :]])
        same_states = np.take_along_axis(states, same, axis=1)[:, None, :]
        behind = np.where(same_states == -1, margins, 0.0).max(axis=2, initial=0.0)
        margins = np.where(same_states == 0, margins, 0.0)
        steps, best = np.zeros((len(F), len(others))), np.zeros(len(F))
        for rank in np.unique(spare[spare < same.shape[1]]):
            of = np.flatnonzero(spare == rank)
            steps[of] = _largest(margins[of], rank)
            if rank > 0:
                passed = np.where(low[of][:, others, None], margins[of], 0.0).max(axis=1, initial=0.0)
                best[of] = _largest(passed, rank)
        steps = np.maximum(np.maximum(steps, behind), 0.0)
        needed = np.maximum(np.sqrt(beta[:, None] ** 2 + steps**2), self.rows[others])
        needed = np.sort(np.where(undecided[:, others], needed, np.inf), axis=1)
        # Of the others that are missing the last one decides; where there are not enough no attack is left.
        needed = np.concatenate([np.zeros((len(F), 1)), needed, np.full((len(F), self.k), np.inf)], axis=1)
        last = needed[np.arange(len(F)), np.maximum(missing, 0)]
        return np.asarray(np.maximum(np.sqrt(beta**2 + best**2), last))

    def _nearest_own(self, F: Array, low: Booleans, count: int) -> Integers:
        """Positions (l, s) among ``same`` of the ``count`` nearest by F (l, m) that are not low."""
        distance = np.where(low[:, self.same], np.inf, F[:, self.same])
        if count >= len(self.same):
            return np.broadcast_to(np.arange(len(self.same)), distance.shape)
        return np.argpartition(distance, count, axis=1)[:, :count]


def _largest(values: Array, rank: int) -> Array:
    """The value along the last axis that ``rank`` others reach or exceed."""
    last = values.shape[-1] - 1 - rank
    return np.asarray(np.partition(values, last, axis=-1)[..., last])
