"""Counting, against every choice of neighbours and every way to complete a cell."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest

from arml.proofs.claim import EVENTS
from arml.proofs.rational_votes import Votes


def lost(votes, labels):
    """The event by its definition, for the labels of K neighbours."""
    counts = Counter(labels)
    own = counts[votes.label]
    if votes.event == "majority":
        return own < votes.k
    if votes.event == "plurality":
        return any(count >= own for label, count in counts.items() if label != votes.label)
    return min(counts, key=lambda label: (-counts[label], label)) != votes.label


@pytest.mark.parametrize("event", EVENTS)
def test_ties_are_decided_as_any_choice_could(event):
    rng = np.random.default_rng(0)
    seen = Counter()
    for _ in range(600):
        n, K = int(rng.integers(5, 9)), int(rng.choice([1, 3, 5]))
        distances, labels = rng.integers(0, 4, size=n).tolist(), rng.integers(0, 4, size=n).tolist()
        votes = Votes(int(rng.integers(0, 4)), K, event)
        limit = sorted(distances)[K - 1]
        choices = [
            lost(votes, [labels[i] for i in chosen])
            for chosen in combinations(range(n), K)
            if all(distances[i] <= limit for i in chosen) and all(i in chosen for i in range(n) if distances[i] < limit)
        ]
        assert votes.can_be_lost(distances, labels) == any(choices)
        assert votes.can_be_kept(distances, labels) == (not all(choices))
        seen[any(choices), all(choices)] += 1
    assert len(seen) == 3
    assert min(seen.values()) > 20


@pytest.mark.parametrize("event", EVENTS)
def test_a_cell_that_is_called_empty_has_no_way_to_be_completed(event):
    rng = np.random.default_rng(1)
    empty = 0
    for _ in range(500):
        n, K = int(rng.integers(4, 8)), int(rng.choice([1, 3, 5]))
        votes = Votes(1, K, event)
        labels = rng.integers(0, 4, size=n).tolist()
        states = rng.choice(["low", "high", "able", "dear"], size=n).tolist()
        others = Counter(zip(labels, states, strict=True))
        low = {label: others[label, "low"] for label in (0, 2, 3) if others[label, "low"]}
        able = {label: others[label, "able"] for label in (0, 2, 3) if others[label, "able"]}
        if not votes.too_few(others[1, "low"], low, able):
            continue
        empty += 1
        # Sames that are undecided may be low, and as many more as the proof does not mention.
        free = [i for i, state in enumerate(states) if state == "able" or (state == "dear" and labels[i] == 1)]
        unmentioned = K
        for picks in product([False, True], repeat=len(free)):
            chosen = [labels[i] for i, state in enumerate(states) if state == "low"]
            chosen += [labels[i] for i, pick in zip(free, picks, strict=True) if pick]
            for more in range(unmentioned + 1):
                assert not is_cell(votes, chosen + [1] * more)
    assert empty > 50


def is_cell(votes, low):
    """Whether these may be the labels of an attack's low points (docs/proofs.md, lemma)."""
    own = low.count(votes.label)
    if votes.event == "majority":
        return own <= votes.k - 1 and len(low) - own == votes.k
    return len(low) == votes.K and own <= votes.k - 1 and lost(votes, low)
