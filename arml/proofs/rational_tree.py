"""Lower bounds for any K: the proof tree of one test point covers everything, and every leaf shows the goal."""

from __future__ import annotations

from collections import Counter

import numpy as np

from arml.proofs.formats import TreeProof
from arml.proofs.rational_ahead import LookAhead
from arml.proofs.rational_evidence import Halfspace, Room, weighed
from arml.proofs.rational_geometry import Goal
from arml.proofs.rational_numbers import Integers
from arml.proofs.rational_rows import TestPoint
from arml.proofs.rational_votes import Votes
from arml.proofs.verdict import require

_UNDECIDED, _LOW, _HIGH = 0, 1, -1


def check_tree(point: TestPoint, votes: Votes, room: Room, proof: TreeProof, i: int, goal: Goal) -> None:
    """No attack is shorter than ``goal``; raises `CheckFailedError`."""
    y = point.exact.train.y
    mentioned = proof.points[proof.point_ptr[i] : proof.point_ptr[i + 1]]
    known = bool(((mentioned >= 0) & (mentioned < len(y))).all())
    require(known and len(np.unique(mentioned)) == len(mentioned), "the proof names points that do not exist, or twice")
    same = np.flatnonzero(y == votes.label)
    rest = np.setdiff1d(np.flatnonzero(y != votes.label), mentioned)
    left = point.unshown(rest, same, votes.k, goal)
    require(not left.size, f"nothing shows that training point {left[:1].tolist()} cannot be among the nearest")
    _Tree(point, votes, room, proof, i, goal, mentioned).run()


class _Tree:
    """The tree of one test point. Positions are those among the points ``mentioned`` (m,)."""

    def __init__(
        self, point: TestPoint, votes: Votes, room: Room, proof: TreeProof, i: int, goal: Goal, mentioned: Integers
    ) -> None:
        self.point, self.votes, self.room, self.goal, self.mentioned = point, votes, room, goal, mentioned
        self.labels = point.exact.train.y[mentioned].tolist()
        nodes = slice(int(proof.node_ptr[i]), int(proof.node_ptr[i + 1]))
        self.parent, self.decided, self.low = proof.parent[nodes], proof.point[nodes], proof.low[nodes]
        self.pair_ptr = proof.pair_ptr[nodes.start : nodes.stop + 1]
        self.pairs, self.weight = proof.pairs, proof.weight
        own = point.exact.train.y[mentioned] == votes.label
        # Others that cost at least the goal by themselves are low in no shorter attack.
        dear = ~np.isin(mentioned, point.unshown(mentioned[~own], mentioned[own], votes.k, goal))
        self.able = [not mine and not costly for mine, costly in zip(own.tolist(), dear.tolist(), strict=True)]
        self.able_labels = Counter(label for label, able in zip(self.labels, self.able, strict=True) if able)
        # The decisions on the way to the node that is looked at, by point and in their order.
        self.state = [_UNDECIDED] * len(mentioned)
        self.decided_places: list[int] = []
        self.ahead = LookAhead(point, votes, mentioned, own)

    def run(self) -> None:
        """Check the shape of the tree and all of its leaves; raises `CheckFailedError`."""
        if not len(self.parent):
            require(self._too_few(), "the proof has no tree although it mentions enough points")
            return
        children = self._children()
        # What is still to be done: enter a node, or leave it again.
        stack = [(0, True)]
        while stack:
            node, entering = stack.pop()
            place = int(self.decided[node])
            if not entering:
                self.state[self.decided_places.pop()] = _UNDECIDED
                continue
            if node:
                require(self.state[place] == _UNDECIDED, "a node decides a point twice")
                self.state[place] = _LOW if self.low[node] else _HIGH
                self.decided_places.append(place)
                stack.append((node, False))
            if children[node]:
                stack.extend((child, True) for child in children[node])
            else:
                self._check_leaf(node)

    def _children(self) -> list[list[int]]:
        """The two children of each node, none of a leaf; refuses trees that leave a case out."""
        n, m = len(self.parent), len(self.labels)
        ordered = self.parent[0] == -1 and bool((self.parent[1:] < np.arange(1, n)).all())
        require(ordered and bool((self.parent[1:] >= 0).all()), "the tree's nodes are not in order")
        require(bool(((self.decided[1:] >= 0) & (self.decided[1:] < m)).all()), "a node decides an unknown point")
        children: list[list[int]] = [[] for _ in range(n)]
        for node, parent in enumerate(self.parent[1:].tolist(), start=1):
            children[parent].append(node)
        for pair in children:
            covers = len(pair) == 2 and self.decided[pair[0]] == self.decided[pair[1]]
            whole = not pair or (covers and bool(self.low[pair[0]]) != bool(self.low[pair[1]]))
            require(whole, "a node's children leave out a case")
        return children

    def _too_few(self, blocked: frozenset[int] = frozenset()) -> bool:
        """Whether points are missing for an attack, where the undecided others in ``blocked`` cannot become low."""
        own, low, able = 0, Counter[int](), Counter(self.able_labels)
        for place in self.decided_places:
            label, is_low = self.labels[place], self.state[place] == _LOW
            if is_low and label == self.votes.label:
                own += 1
            elif is_low:
                if not self.able[place]:
                    return True
                low[label] += 1
            if self.able[place]:
                able[label] -= 1
        # What is blocked is undecided and able.
        able.subtract(self.labels[place] for place in blocked)
        return self.votes.too_few(own, low, +able)

    def _check_leaf(self, node: int) -> None:
        if self._too_few():
            return
        space = self._halfspace(node)
        if space.reaches(self.goal):
            return
        open_ = [p for p, state in enumerate(self.state) if self.able[p] and state == _UNDECIDED]
        for blocked in self.ahead.blocked(space, self.goal, self.state, open_):
            if blocked is None or self._too_few(blocked):
                return
        require(False, "a leaf of the tree does not show the lower bound")

    def _halfspace(self, node: int) -> Halfspace:
        used = slice(int(self.pair_ptr[node]), int(self.pair_ptr[node + 1]))
        pairs, weight = self.pairs[used], self.weight[used]
        require(bool((weight >= 0).all()), "a weight is negative")
        walls = pairs[:, 0] < 0
        points = pairs[~walls]
        require(bool(((points >= 0) & (points < len(self.labels))).all()), "evidence on an unknown point")
        low_labels = [self.labels[place] for place in self.decided_places if self.state[place] == _LOW]
        own_low = low_labels.count(self.votes.label)
        implied = self.votes.implied(own_low, len(low_labels) - own_low)
        for low, high in points.tolist():
            state = self.state[high]
            is_high = state == _HIGH or (state == _UNDECIDED and implied[self.labels[high] != self.votes.label])
            require(self.state[low] == _LOW and is_high, "evidence on a pair that is undecided")
        ordered = np.concatenate([weight[~walls], weight[walls]])
        named = [(int(self.mentioned[low]), int(self.mentioned[high])) for low, high in points.tolist()]
        return weighed(self.point.exact, named, [(a, b) for a, b in pairs[walls].tolist()], ordered, self.room)
