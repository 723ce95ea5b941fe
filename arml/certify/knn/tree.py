"""Branch and bound over who is nearer than whom: the search behind exact K-NN radii at one test point.

Points, moved distances f and cells are those of `arml.least_distance.cell`; k = (K + 1) / 2. What counts as an attack,
and which points are then *low* and *high*, is said in `arml.certify.knn.lost`.

The tree
--------
A node has decided for some points whether they are low or high, so it stands for all attacks for which that is so; its
two children decide one point more. Its bound is the value of its cell, raised by what is still to come
(`arml.certify.knn.lookahead`), and by the *row values* v_j: no attack shorter than v_j has the other-class point j
low. The node with the smallest bound is split first, so that the bound of the whole tree rises as fast as it can.
Where a cell's solution is an attack already its norm is the node's value, and the node is closed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arml.certify.knn.lookahead import look_ahead
from arml.certify.knn.lost import majority_lost, undecided_in_front, vote_possible, winning_front
from arml.compiled import compiled
from arml.least_distance.active_set import Workspace, outside
from arml.least_distance.arrays import assign
from arml.least_distance.cell import FREE, HIGH, LOW, UNDECIDED, solve_cell
from arml.least_distance.smallest import smallest

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Bytes = NDArray[np.int8]

#: What has become of a node: still open; split; or closed by the value of its cell, by what would still have to become
#: low or high, or because no choice that is left loses the vote.
OPEN, SPLIT, CELL, AHEAD, VOTE = 0, 1, 2, 3, 4
#: Why `grow` returned.
FINISHED, FULL, BUDGET = 0, 1, 2

# By how much of its length an incumbent may leave the box; what is handed out is put back into it.
_OUTSIDE = 1e-9


@compiled
def rows_bound(values: Array, status: Bytes, missing: int) -> float:
    """What ascending row values (n_other,) say of a node: at least ``missing`` undecided points must still become low.

    That is at least the largest value of a low point and the ``missing``-th smallest of an undecided one, infinite if
    there are fewer.
    """
    bound = 0.0
    for j in range(values.shape[0]):
        if status[j] == LOW:
            bound = max(bound, values[j])
        elif status[j] == UNDECIDED:
            missing -= 1
            if missing == 0:
                bound = max(bound, values[j])
    return np.inf if missing > 0 else bound


@compiled
def _push(heap: Integers, size: int, bounds: Array, node: int) -> None:
    position = size
    heap[position] = node
    while position > 0:
        above = (position - 1) // 2
        if bounds[heap[above]] <= bounds[heap[position]]:
            return
        heap[above], heap[position] = heap[position], heap[above]
        position = above


@compiled
def _pop(heap: Integers, size: int, bounds: Array) -> int:
    """Remove the node with the smallest bound from a heap of ``size`` nodes."""
    top = heap[0]
    heap[0] = heap[size - 1]
    position, size = 0, size - 1
    while True:
        child = 2 * position + 1
        if child >= size:
            return top
        if child + 1 < size and bounds[heap[child + 1]] < bounds[heap[child]]:
            child += 1
        if bounds[heap[position]] <= bounds[heap[child]]:
            return top
        heap[child], heap[position] = heap[position], heap[child]
        position = child


@compiled
def low_counts(status: Bytes, n_other: int) -> tuple[int, int]:
    """How many other-class and how many same-class points are low."""
    low_other, low_own = 0, 0
    for i in range(status.shape[0]):
        if status[i] == LOW:
            if i < n_other:
                low_other += 1
            else:
                low_own += 1
    return low_other, low_own


@compiled
def _copy_pairs(
    pairs: Integers, lam: Array, start: int, to_pairs: Integers, to_lam: Array, to_start: int, count: int
) -> None:
    """Copy ``count`` active pairs with their multipliers, from ``start`` on to ``to_start``."""
    for q in range(count):
        to_pairs[to_start + q, 0], to_pairs[to_start + q, 1] = pairs[start + q, 0], pairs[start + q, 1]
        to_lam[to_start + q] = lam[start + q]


@compiled
def _majority_front(f: Array, n_other: int, k: int) -> Integers:
    """The k nearest other-class points and the k - 1 nearest same-class points, by moved distance."""
    other, own = smallest(f[:n_other], k), smallest(f[n_other:], k - 1)
    front = np.empty(len(other) + len(own), np.int64)
    for q in range(len(other)):
        front[q] = other[q]
    for q in range(len(own)):
        front[len(other) + q] = n_other + own[q]
    return front


@compiled
def path_status(node: int, parent: Integers, point: Integers, side: Bytes, status: Bytes) -> None:
    """What a node and those above it have decided, written to status (m,)."""
    status[:] = UNDECIDED
    while node > 0:
        status[point[node]] = side[node]
        node = parent[node]


@compiled
def grow(
    P: Array,
    c: Array,
    D: Array,
    values: Array,
    votes: Integers,
    handicaps: Integers,
    n_neighbors: int,
    plurality: bool,
    tolerance: float,
    strict: float,
    gap: float,
    max_nodes: int,
    parent: Integers,
    point: Integers,
    side: Bytes,
    kind: Bytes,
    split: Integers,
    bounds: Array,
    first_pair: Integers,
    all_pairs: Integers,
    all_lam: Array,
    heap: Integers,
    counts: Integers,
    best: Array,
    best_delta: Array,
    work: Workspace,
) -> int:
    """Split nodes until none is below the incumbent, the arrays are full, or the tree has ``max_nodes`` nodes.

    Parameters
    ----------
    P (m, d), c (m,) : the points, those of other classes first, in ascending order of their row values (n_other,)
    D (n_other, n_own) : distances ``||p_i - p_j||``; votes (n_other,) : their classes, from 0;
        handicaps (C,) : see `arml.certify.knn.lost`
    plurality : whether the event is the lost vote, or the lost majority
    tolerance : difference of moved distances that counts as zero; strict : by how much an incumbent's must differ
    gap : a node is closed when its bound is at least ``(1 - gap)`` times the incumbent
    parent, point, side, kind, split, bounds, first_pair : the nodes; ``split`` is the point that splits the node
    all_pairs (s, 2), all_lam (s,) : active pairs and multipliers of node q, from first_pair[q] to first_pair[q + 1]
    heap : the open nodes; counts (2,) : number of nodes and of open nodes
    best (1,), best_delta (d,) : norm of the incumbent and, once one was found here, the incumbent
    work : memory of `arml.least_distance.cell.solve_cell`, made for these points

    Returns
    -------
    FINISHED, FULL or BUDGET. All arrays are changed in place, the root must be there.
    """
    m, f = P.shape[0], work.f
    n_other, n_own = D.shape
    k = (n_neighbors + 1) // 2
    size = work.b.shape[0]
    pairs, lam = np.zeros((size, 2), np.int64), np.zeros(size)
    margins = np.empty(n_own)
    status = np.zeros(m, np.int8)
    n_nodes, n_open = counts[0], counts[1]
    while n_open > 0 and bounds[heap[0]] < best[0] * (1.0 - gap):
        counts[0], counts[1] = n_nodes, n_open
        if n_nodes >= max_nodes:
            return BUDGET
        if n_nodes + 2 > parent.shape[0] or first_pair[n_nodes] + 2 * size > all_lam.shape[0]:
            return FULL
        node = _pop(heap, n_open, bounds)
        n_open -= 1
        kind[node] = SPLIT
        path_status(node, parent, point, side, status)
        decided = split[node]
        for choice in (LOW, HIGH):
            status[decided] = choice
            low_other, low_own = low_counts(status, n_other)
            child = n_nodes
            n_nodes += 1
            parent[child], point[child], side[child], split[child] = node, decided, choice, -1
            start, n_pairs = first_pair[child], first_pair[node + 1] - first_pair[node]
            first_pair[child + 1] = start
            closing = best[0] * (1.0 - gap)
            spare, missing = k - 1 - low_own, k - low_other
            places = n_neighbors - low_own - low_other
            if plurality and not vote_possible(votes, handicaps, status, n_other, low_own, places):
                kind[child], bounds[child] = VOTE, np.inf
                continue
            rows = rows_bound(values, status, missing)
            if rows >= closing:
                kind[child], bounds[child] = AHEAD, rows
                continue
            _copy_pairs(all_pairs, all_lam, first_pair[node], pairs, lam, 0, n_pairs)
            other_full = places <= 0 if plurality else missing <= 0
            own_full = spare <= 0 or (plurality and places <= 0)
            n_pairs, value = solve_cell(
                P, c, n_other, status, own_full, other_full, 0.0, pairs, lam, n_pairs, work, closing, tolerance
            )
            _copy_pairs(pairs, lam, 0, all_pairs, all_lam, start, n_pairs)
            first_pair[child + 1] = start + n_pairs
            bounds[child] = max(bounds[node], value, rows)
            kind[child] = CELL
            if value >= closing:
                continue
            lost = majority_lost(f, n_other, k, tolerance)
            front = np.empty(0, np.int64)
            if lost and plurality:
                front = winning_front(f, votes, handicaps, n_other, n_neighbors, tolerance)
            elif lost:
                front = _majority_front(f, n_other, k)
            if front.shape[0] > 0:
                bounds[child] = max(bounds[node], value)
                _improve(P, c, n_other, front, plurality, strict, pairs, lam, work, value, tolerance, best, best_delta)
                continue
            if lost and plurality:
                split[child] = undecided_in_front(f, status, n_neighbors)
                if split[child] < 0:
                    # Nothing is left to decide: what the cell's value says is all that is claimed.
                    continue
            else:
                bound, split[child] = look_ahead(f, D, status, spare, missing, value, closing, 0.0, margins)
                bounds[child] = max(bounds[child], bound)
                if bounds[child] >= closing or split[child] < 0:
                    kind[child] = AHEAD
                    continue
            kind[child] = OPEN
            _push(heap, n_open, bounds, child)
            n_open += 1
    counts[0], counts[1] = n_nodes, n_open
    return FINISHED


@compiled
def _improve(
    P: Array,
    c: Array,
    n_other: int,
    front: Integers,
    plurality: bool,
    strict: float,
    pairs: Integers,
    lam: Array,
    work: Workspace,
    value: float,
    tolerance: float,
    best: Array,
    best_delta: Array,
) -> None:
    """Make the best incumbent of a front: its other-class points before all points that are not in it.

    For the majority only those of the label count. The incumbent wins by ``strict``, so that rounding does not undo it;
    where that is impossible, because only a tie can be reached, it is the tied solution delta, of norm ``value``.
    """
    f, tied = work.f, work.delta.copy()
    tied_inside = outside(tied, work.room, _OUTSIDE * value)[1] < 0
    status = np.zeros(c.shape[0], np.int8)
    for i in front:
        status[i] = LOW if i < n_other else FREE
    _, strict_value = solve_cell(
        P, c, n_other, status, True, plurality, strict, pairs, lam, 0, work, best[0], tolerance
    )
    top, bottom = -np.inf, np.inf
    for i in range(c.shape[0]):
        if status[i] == LOW:
            top = max(top, f[i])
        elif status[i] == UNDECIDED and (plurality or i >= n_other):
            bottom = min(bottom, f[i])
    inside = outside(work.delta, work.room, _OUTSIDE * strict_value)[1] < 0
    if strict_value < best[0] and top < bottom and inside:
        best[0] = strict_value
        assign(best_delta, work.delta)
    elif value < best[0] * (1.0 - 1e-9) and tied_inside:
        best[0] = value
        assign(best_delta, tied)
