"""Check the proof tree of one test point: that it covers everything, and that each leaf shows the claimed bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.proofs.claim import Integers
from arml.proofs.events import Booleans, rivals
from arml.proofs.formats import TreeProof
from arml.proofs.precision import TINY, Array, norms
from arml.proofs.verdict import require
from arml.proofs.view import View, row_values

_LEAVES_AT_ONCE = 256
_MARGINS_AT_ONCE = 1_000_000
# Same-class points looked at first.
_NEAR = 16


class TreeCheck:
    """The proof tree of one test point.

    ``view`` are the points it speaks of, ``room`` (2, d) its features' and ``lower`` what is to be shown, in the view's
    unit.
    """

    def __init__(self, view: View, room: Array, label: int, proof: TreeProof, i: int, lower: float) -> None:
        self.view, self.lower, u = view, lower, view.precision.u
        # Rounded up: with more room less is shown.
        self.room = room * (1 + 4 * u) + TINY
        self.K, event = proof.claim.n_neighbors, proof.claim.event
        self.k, self.full_cells = (self.K + 1) // 2, event != "majority"
        self.own = view.y == label
        self.rivals = rivals(event, view.y, label)
        nodes = slice(int(proof.node_ptr[i]), int(proof.node_ptr[i + 1]))
        self.parent, self.point = proof.parent[nodes], proof.point[nodes]
        self.low = proof.low[nodes]
        self.evidence = proof.pair_ptr[nodes.start : nodes.stop + 1]
        self.pairs, self.weight = proof.pairs, proof.weight
        others, same = np.flatnonzero(~self.own), np.flatnonzero(self.own)
        self.others, self.same = others, same
        self.D = view.distances(others, same)
        order = same[np.argsort(view.c[same], kind="stable")]
        self.norms = norms(view.P)
        # What a moved distance may be off by, for steps shorter than lower.
        rounding = view.precision.gamma(view.P.shape[1] + 8) * self.norms
        self.blur = 1.01 * (view.c_error + 4 * u * view.c + 2.01 * lower * (view.P_error + rounding)) + TINY
        self.rows = np.zeros(len(view.y), dtype=view.precision.dtype)
        self.rows[others] = row_values(view, others, order, self.k)

    def run(self) -> None:
        """Check the tree's shape, then its leaves; raises `CheckFailedError`."""
        if not len(self.parent):
            able = int((self.rows[self.others] < self.lower).sum())
            require(able < self.k, "the proof has no tree although it mentions enough points")
            return
        is_leaf = self._shape()
        leaves = np.flatnonzero(is_leaf)
        for start in range(0, len(leaves), _LEAVES_AT_ONCE):
            block = leaves[start : start + _LEAVES_AT_ONCE]
            states = self._states(block)
            open_ = ~self._hopeless(states)
            self._check_leaves(block[open_], states[open_])

    def _shape(self) -> Booleans:
        """Which nodes are leaves; refuses trees that leave a gap."""
        n, m = len(self.parent), len(self.own)
        ordered = self.parent[0] == -1 and bool((self.parent[1:] < np.arange(1, n)).all())
        require(ordered and bool((self.parent[1:] >= 0).all()), "the tree's nodes are not in order")
        require(bool(((self.point[1:] >= 0) & (self.point[1:] < m)).all()), "a node decides an unknown point")
        # Children stand side by side: (pairs, 2), in the order of their parents.
        children = 1 + np.argsort(self.parent[1:], kind="stable")
        counts = np.bincount(self.parent[1:], minlength=n)
        require(bool(((counts == 0) | (counts == 2)).all()), "a node's children leave out a case")
        pairs = children.reshape(-1, 2)
        same_point = self.point[pairs[:, 0]] == self.point[pairs[:, 1]]
        covers = same_point & (self.low[pairs[:, 0]] != self.low[pairs[:, 1]])
        require(bool(covers.all()), "a node's children leave out a case")
        return np.asarray(counts == 0)

    def _states(self, leaves: Integers) -> NDArray[np.int8]:
        """What each of the leaves has decided: 1 low, -1 high, 0 undecided (leaves, m)."""
        states = np.zeros((len(leaves), len(self.own)), dtype=np.int8)
        which, node = np.arange(len(leaves)), leaves
        while True:
            inner = node > 0
            which, node = which[inner], node[inner]
            if not node.size:
                return states
            point = self.point[node]
            require(not states[which, point].any(), "a node decides a point twice")
            states[which, point] = np.where(self.low[node], 1, -1)
            node = self.parent[node]

    def _hopeless(self, states: NDArray[np.int8]) -> Booleans:
        """Which of the nodes (l, m) hold no attack of norm below ``lower``, whatever the distances are: too few points.

        Other-class points that cost at least ``lower`` by themselves cannot be low in such an attack.
        """
        low, undecided, own = states == 1, states == 0, self.own
        able = ~own & ~(self.rows >= self.lower)
        n_own, n_other = (low & own).sum(axis=1), (low & ~own).sum(axis=1)
        n_able = (undecided & able).sum(axis=1)
        hopeless = (n_own > self.k - 1) | (n_other + n_able < self.k) | (low & ~own & ~able).any(axis=1)
        if not self.full_cells:
            return np.asarray(hopeless | (n_other > self.k))
        places = self.K - n_own - n_other
        # Places that other classes cannot fill are filled by the label.
        n_own = n_own + np.maximum(places - n_able, 0)
        wins = np.zeros(len(states), dtype=bool)
        for mine, handicap in self.rivals:
            more = np.clip((undecided & able & mine).sum(axis=1), 0, np.maximum(places, 0))
            wins |= (low & mine).sum(axis=1) + more >= np.maximum(n_own + handicap, 1)
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
        weight = weight / np.maximum(largest, 2.0**-1000)[leaf]
        limits = low < 0
        pushed, held, pushes = self._of_box(leaf[limits], low[limits], high[limits], weight[limits], n)
        leaf, low, high, weight = leaf[~limits], low[~limits], high[~limits], weight[~limits]
        self._check_pairs(states, leaf, low, high)
        beta, directions, sizes = self._halfspaces(leaf, low, high, weight, counts, (pushed, held, pushes))
        open_ = np.flatnonzero(~(beta >= self.lower))
        steps = -(beta / np.maximum(sizes, TINY))[open_, None] * directions[open_]
        F = view.c - 2 * (steps @ view.P.T)
        require(bool(np.isfinite(F).all()), "the evidence of a leaf leaves the range of numbers")
        # The step is rounded, so the attacks beyond it lie a little nearer to it than (3) has it.
        slip = view.precision.gamma(3 * view.P.shape[1] + 32)
        sq_beta = np.maximum(beta * beta - 2 * slip * beta * self.lower, 0.0)
        # First seen beside the nearest of the label's points alone, which is less work and shows nearly as much.
        for n_same in (_NEAR, len(self.same)):
            shown = np.zeros(len(open_), dtype=view.precision.dtype)
            at_once = max(1, _MARGINS_AT_ONCE // max(len(self.others) * min(n_same, len(self.same)), 1))
            for start in range(0, len(open_), at_once):
                some = slice(start, start + at_once)
                shown[some] = self._ahead(F[some], states[open_[some]], sq_beta[open_[some]], n_same)
            short = ~(shown >= self.lower)
            open_, F, shown = open_[short], F[short], shown[short]
        if open_.size:
            require(False, f"a leaf shows {float(shown[0] * view.unit)!r}, not {float(self.lower * view.unit)!r}")

    def _halfspaces(
        self, leaf: Integers, low: Integers, high: Integers, weight: Array, counts: Integers, box: tuple[Array, ...]
    ) -> tuple[Array, Array, Array]:
        """For each leaf (n,) a halfspace that holds its attacks: its distance, a normal (n, d), and the norm of that.

        Weights are those of ``counts`` (n,) unit rows in all; ``box``: see `_of_box`.
        """
        view, n, (pushed, held, pushes) = self.view, len(counts), box
        lengths, dtype = norms(view.P[high] - view.P[low]), view.precision.dtype
        weight = np.where(lengths > 0, weight / np.maximum(lengths, 2.0**-500), 0.0)
        combined, size = np.zeros((n, len(view.c)), dtype=dtype), np.zeros((n, len(view.c)), dtype=dtype)
        for ends, sign in ((high, 1.0), (low, -1.0)):
            np.add.at(combined, (leaf, ends), sign * weight)
            np.add.at(size, (leaf, ends), weight)
        directions, gains = combined @ view.P + pushed, -0.5 * (combined @ view.c) - held
        # Rounding counts against the proof: that of distances and rows, and that of the sums over them.
        terms = 4 * (counts + view.P.shape[1] + 8) * view.precision.u
        gains -= size @ view.c_error + terms * (size @ view.c + held)
        gains -= (size @ view.P_error + terms * (size @ self.norms + pushes)) * self.lower
        gains *= 1 - 4 * view.precision.u
        sizes = norms(directions) * (1 + view.precision.gamma(directions.shape[1] + 8))
        beta = np.where((gains > 0) & (sizes > 0), gains / np.maximum(sizes, TINY), 0.0)
        return np.where((gains > 0) & (gains >= self.lower * sizes), np.inf, beta), directions, sizes

    def _of_box(self, leaf: Integers, side: Integers, feature: Integers, w: Array, n: int) -> tuple[Array, ...]:
        """What weights on bounds of the box add to the leaves' directions (n, d) and take from their gains (n,).

        And the sums of the weights (n,).
        """
        known = (side >= -2) & (feature >= 0) & (feature < self.room.shape[1])
        require(bool(known.all()), "evidence on an unknown bound of the box")
        room = self.room[-1 - side, feature]
        require(bool(np.isfinite(room).all()), "evidence on the bound of a box where there is none")
        pushed, held, total = np.zeros((n, self.room.shape[1]), dtype=w.dtype), np.zeros(n, dtype=w.dtype), np.zeros(n)
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
        full = (n_low >= self.K) & self.full_cells
        own_full = (n_own >= self.k - 1) | full
        other_full = full if self.full_cells else n_low - n_own >= self.k
        implied = np.where(self.own[high], own_full[leaf], other_full[leaf])
        is_high = (states[leaf, high] == -1) | ((states[leaf, high] == 0) & implied)
        decided_low = bool((states[leaf, low] == 1).all())
        require(decided_low and bool(is_high.all()), "evidence on a pair that is undecided")

    def _ahead(self, F: Array, states: NDArray[np.int8], sq_beta: Array, n_same: int) -> Array:
        """Norm that every attack of each leaf (l,) has, seen from moved points with distances F (l, m), beta away.

        Only the nearest ``n_same`` of the label's points that are not low are looked at: the more, the longer the norm.
        """
        low, undecided, own = states == 1, states == 0, self.own
        spare, missing = self.k - 1 - (low & own).sum(axis=1), self.k - (low & ~own).sum(axis=1)
        others, near = self.others, self._nearest_own(F, low, n_same)
        same = self.same[near]
        # How far each of the others must go at least from the moved point before it passes each of the same.
        behind_same = np.take_along_axis(F, same, axis=1) + self.blur[same]
        gaps = (F - self.blur)[:, others, None] - behind_same[:, None, :]
        margins = gaps / (2 * self.D[np.arange(len(others))[:, None], near[:, None, :]])
        same_states = np.take_along_axis(states, same, axis=1)[:, None, :]
        behind = np.where(same_states == -1, margins, 0.0).max(axis=2, initial=0.0)
        margins = np.where(same_states == 0, margins, 0.0)
        steps, best = np.zeros((len(F), len(others)), dtype=F.dtype), np.zeros(len(F), dtype=F.dtype)
        for rank in np.unique(spare[spare < same.shape[1]]):
            of = np.flatnonzero(spare == rank)
            steps[of] = _largest(margins[of], rank)
            if rank > 0:
                passed = np.where(low[of][:, others, None], margins[of], 0.0).max(axis=1, initial=0.0)
                best[of] = _largest(passed, rank)
        steps = np.maximum(np.maximum(steps, behind), 0.0)
        needed = np.maximum(np.sqrt(sq_beta[:, None] + steps**2) * self._down, self.rows[others])
        needed = np.sort(np.where(undecided[:, others], needed, np.inf), axis=1)
        # Of the others that are missing the last one decides; where there are not enough no attack is left.
        zeros, rest = np.zeros((len(F), 1), dtype=F.dtype), np.full((len(F), self.k), np.inf, dtype=F.dtype)
        needed = np.concatenate([zeros, needed, rest], axis=1)
        last = needed[np.arange(len(F)), np.maximum(missing, 0)]
        return np.asarray(np.maximum(np.sqrt(sq_beta + best**2) * self._down, last))

    @property
    def _down(self) -> float:
        """Factor that rounds a computed norm down, whatever the few operations that led to it lost."""
        return 1 - 32 * self.view.precision.u

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
