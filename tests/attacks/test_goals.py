"""Goals against their literal definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arml.attacks.goals import ANY, Goal, Vote, front_of, possible, vote_lost


def points(seed):
    """Class numbers, of which the first ``n_other`` are not the label 1, and distances with ties among them."""
    rng = np.random.default_rng(seed)
    n_other, n_own = rng.integers(3, 12), rng.integers(1, 6)
    votes = np.concatenate([rng.choice([0, 2, 3], n_other), np.ones(n_own, dtype=np.int64)])
    return votes, int(n_other), rng.integers(0, 8, len(votes)).astype(float)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), needed=st.integers(0, 3), more=st.integers(0, 4), left_out=st.booleans())
def test_front_is_the_nearest_of_the_rival_and_then_the_nearest_of_all(seed, needed, more, left_out):
    votes, n_other, moved = points(seed)
    goal = Goal(2 if needed else ANY, needed, needed + more, 0, False)
    enough = goal.size <= n_other and needed <= (votes == 2).sum()
    assert possible(goal, votes, n_other) == enough
    without = seed % n_other if left_out else -1
    order = [i for i in np.argsort(moved[:n_other], kind="stable").tolist() if i != without]
    rivals = [i for i in order if needed and votes[i] == 2][:needed]
    if len(rivals) < needed or goal.size > len(order):
        return
    rest = [i for i in order if i not in rivals][:more]
    assert front_of(goal, votes, n_other, moved, without).tolist() == rivals + rest


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), K=st.sampled_from([1, 3, 5, 11]))
def test_vote_goes_to_the_first_of_the_classes_with_most_votes(seed, K):
    votes, _, moved = points(seed)
    nearest = votes[np.argsort(moved, kind="stable")[:K]]
    winner = int(np.bincount(nearest, minlength=4).argmax())
    assert vote_lost(Vote(K, 4, 1), votes, moved) == (winner != 1)


@pytest.mark.parametrize(("label", "lost"), [(0, False), (1, True)])
def test_of_equal_votes_the_first_class_wins(label, lost):
    votes, moved = np.array([0, 1]), np.array([1.0, 1.0])
    assert vote_lost(Vote(2, 2, label), votes, moved) == lost
