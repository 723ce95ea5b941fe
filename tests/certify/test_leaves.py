"""What the nodes of a tree prove is never above the truth, in rational arithmetic, on data where each margin counts.

Errors that are declared are made, in the direction that does most harm; where none is declared, what is left is the
rounding of the proof itself.
"""

from fractions import Fraction

import numpy as np
import pytest

from arml.certify.knn.leaves import _halfspace, proven_bound
from arml.certify.knn.point_search import Budget, Question, TreeSearch
from arml.certify.knn.tree import CELL
from arml.least_distance.inner_products import ABOVE, BELOW
from tests.certify.fitted import fit
from tests.certify.rationals import at_most, dot, fractions, hostile, minus
from tests.classifier.test_rounding import in_units


def dual_of(P, c, pairs, weights, room):
    """Gain and squared length of weights on pairs (low, high) of exact points and distances."""
    gain, direction = Fraction(0), [Fraction(0)] * len(P[0])
    for (low, high), w in zip(pairs, weights, strict=True):
        if low in (BELOW, ABOVE):
            direction[high] += -w if low == BELOW else w
            gain -= w * room[0 if low == BELOW else 1][high]
        else:
            direction = [a + w * r for a, r in zip(direction, minus(P[high], P[low]), strict=True)]
            gain -= w * (c[high] - c[low]) / 2
    return gain, dot(direction, direction)


def weights_of(P, pairs, lam):
    """Weights of the rows as they are, from multipliers of unit rows: ``lam / length`` of the computed rows."""
    sizes = [float(np.sqrt(np.dot(P[h] - P[low], P[h] - P[low]))) if low >= 0 else 1.0 for low, h in pairs]
    return [Fraction(v) / Fraction(size) if size else Fraction(0) for v, size in zip(lam.tolist(), sizes, strict=True)]


def half_space(P, c, room, pairs, lam, p_error, c_error, reach):
    return _halfspace(P, c, room, np.array(pairs), lam, p_error, c_error, reach, np.empty(P.shape[1]))


def pairs_of(rng, m, d, boxed):
    """Two low points and some high ones, and at times bounds of a box; with multipliers."""
    pairs = [(low, high) for low in (0, 1) for high in range(2, m)]
    if boxed:
        pairs += [(side, int(rng.integers(d))) for side in (BELOW, ABOVE)]
    some = rng.choice(len(pairs), size=int(rng.integers(1, 5)), replace=False)
    return [pairs[q] for q in some], rng.exponential(size=len(some))


def half_spaces(seed, scale):
    """A half-space with a bound above 0, of points (m, d) some of which nearly coincide."""
    rng = np.random.default_rng([seed, 5])
    m, d = 6, int(rng.integers(1, 6))
    P, c = scale * (1 + rng.normal(size=(m, d)) * 10.0 ** -rng.uniform(0, 4)), rng.normal(size=m)
    c[:2] += 6  # low points are far as yet
    c = (c - c.min()) * 10.0 ** rng.uniform(0, 3)
    room = 0.1 * rng.random((2, d))
    pairs, lam = pairs_of(rng, m, d, seed % 2)
    return rng, P, c, room, pairs, lam


@pytest.mark.parametrize("seed", range(200))
def test_a_half_space_is_as_far_as_its_multipliers_say_and_no_farther(seed):
    _, P, c, room, pairs, lam = half_spaces(seed, 1.0 if seed % 3 else 1e5)
    none = np.zeros(6)
    gain, square = dual_of(fractions(P), fractions(c), pairs, weights_of(P, pairs, lam), fractions(room))
    truth = float(gain) / float(square) ** 0.5
    for reach in (2 * truth, 1e3 * truth):
        if gain > 0:
            beta = half_space(P, c, room, pairs, lam, none, none, reach)
            assert at_most(beta, gain, square)
            assert beta >= truth * (1 - 1e-7)


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("seed", range(80))
def test_what_is_left_of_large_terms_is_not_above_the_truth(seed, boxed):
    """One row pushes by hardly more than others hold back, so that what the sum rounds off is a part of the bound."""
    rng = np.random.default_rng([seed, 6])
    P, none = rng.normal(size=(6, 4)), np.zeros(6)
    c = np.array([8.0, 0.0, *(8 + rng.random(4))])
    c[1] = 9 + rng.random()
    room = 1 + rng.random((2, 4))
    pairs = [(0, 2), (0, 3), (0, 4)] if not boxed else [(BELOW, 0), (ABOVE, 1), (BELOW, 2)]
    c[5] = 0.0
    lam = np.append(rng.exponential(size=3), 1.0)
    pairs = [*pairs, (1, 5)]
    held = dual_of(fractions(P), fractions(c), pairs[:3], weights_of(P, pairs[:3], lam[:3]), fractions(room))[0]
    push = dual_of(fractions(P), fractions(c), pairs[3:], weights_of(P, pairs[3:], lam[3:]), fractions(room))[0]
    lam[3] = float(-held / push) * (1 + 1e-11)
    gain, square = dual_of(fractions(P), fractions(c), pairs, weights_of(P, pairs, lam), fractions(room))
    beta = half_space(P, c, room, pairs, lam, none, none, 1e-10)
    assert beta > 0
    assert at_most(beta, gain, square)


@pytest.mark.parametrize("seed", range(40))
def test_rows_that_nearly_cancel_leave_their_rounding_in_what_is_left(seed):
    """Two rows of opposite directions: the length of their sum is what they round off, many times over."""
    rng = np.random.default_rng([seed, 13])
    row, turn = rng.integers(-(10**6), 10**6, size=3), rng.integers(-50, 50, size=3)
    # The points are integers, so that their differences are right to the last digit.
    P, none = np.vstack([np.zeros((2, 3)), row, turn - row]).astype(float), np.zeros(4)
    c, room = np.array([4.0, 4.0, *rng.random(2)]), np.full((2, 3), 1.0)
    pairs, lam = [(0, 2), (1, 3)], np.ones(2)
    gain, square = dual_of(fractions(P), fractions(c), pairs, weights_of(P, pairs, lam), fractions(room))
    beta = half_space(P, c, room, pairs, lam, none, none, 2 * float(gain) / float(square) ** 0.5)
    assert beta > 0
    assert at_most(beta, gain, square)


@pytest.mark.parametrize("seed", range(40))
def test_bounds_of_a_box_that_hold_each_other_leave_the_row_rounded(seed):
    """A feature that cannot move, with far larger multipliers on both of its bounds than on the row."""
    rng = np.random.default_rng([seed, 12])
    P, c, none = np.vstack([np.zeros(3), rng.normal(size=3)]), np.array([4.0, 1.0]), np.zeros(2)
    room = np.ones((2, 3))
    room[:, 0] = 0.0
    pairs, lam = [(0, 1), (BELOW, 0), (ABOVE, 0)], np.array([1.0, *2 * [10.0 ** rng.uniform(3, 9)]])
    gain, square = dual_of(fractions(P), fractions(c), pairs, weights_of(P, pairs, lam), fractions(room))
    beta = half_space(P, c, room, pairs, lam, none, none, 2 * float(gain) / float(square) ** 0.5)
    assert beta > 0
    assert at_most(beta, gain, square)


@pytest.mark.parametrize("which", ["distances", "rows", "both"])
@pytest.mark.parametrize("seed", range(60))
def test_declared_errors_at_their_worst_raise_no_half_space_above_the_truth(seed, which):
    rng, P, c, room, pairs, lam = half_spaces(seed, 1.0)
    pairs, lam = [pair for pair in pairs if pair[0] >= 0], lam
    lam = lam[: len(pairs)]
    if not pairs:
        return
    size = 10.0 ** -rng.uniform(2, 6)
    p_error = size * rng.random(6) if which != "distances" else np.zeros(6)
    c_error = size * rng.random(6) if which != "rows" else np.zeros(6)
    # The worst there is: low points are seen too far and high ones too near, rows too short.
    lows, highs = {low for low, _ in pairs}, {high for _, high in pairs}
    sign = np.array([1 if i in lows else -1 if i in highs else 0 for i in range(6)])
    a = sum(
        w * (P[high] - P[low]) / np.linalg.norm(P[high] - P[low]) for (low, high), w in zip(pairs, lam, strict=True)
    )
    toward = a / np.linalg.norm(a) if np.linalg.norm(a) > 0 else np.zeros_like(a)
    seen_P = P + (1 - 1e-9) * (sign * p_error)[:, None] * toward
    seen_c = c + (1 - 1e-9) * sign * c_error
    gain, square = dual_of(fractions(P), fractions(c), pairs, weights_of(seen_P, pairs, lam), fractions(room))
    reach = max(2 * float(gain) / float(square) ** 0.5, 1e-3) if square else 1.0
    beta = half_space(seen_P, seen_c, room, pairs, lam, p_error, c_error, reach)
    assert at_most(beta, gain, square)


@pytest.mark.parametrize("declared", [None, "distance", "row"])
@pytest.mark.parametrize("seed", range(120))
def test_a_look_ahead_that_is_tight_is_not_above_the_truth(seed, declared):
    """One other-class point and two of the class, whose rows are at a right angle: (3) is then the truth itself."""
    rng = np.random.default_rng([seed, 9])
    base = rng.integers(-(10**5), 10**5, size=3).astype(float)
    a, b = rng.integers(1, 50, size=2)
    rows = np.array([[a, b, 0.0], [-b, a, 0.0]]) * rng.integers(1, 9, size=(2, 1))
    P = base + np.vstack([np.zeros(3), rows])
    far = float(rng.integers(10**6, 10**7))
    c = far - np.array([0.0, *rng.integers(1, 10**4, size=2)])
    D = np.nextafter(np.linalg.norm(rows, axis=1), np.inf)[None]
    # The rows do not know of each other: the squares of what either demands add up.
    square = sum(Fraction(int(c[0] - c[i])) ** 2 / (4 * Fraction(int(rows[i - 1] @ rows[i - 1]))) for i in (1, 2))
    p_error, c_error = np.zeros(3), np.zeros(3)
    if declared:
        # The second of the class is seen too near, and its row too far on the way to the first one's foot.
        c_error[2], p_error[2] = {"distance": (10.0, 0.0), "row": (0.0, 1e-3)}[declared]
        c[2] -= (1 - 1e-9) * c_error[2]
        P[2] -= (1 - 1e-9) * p_error[2] * rows[0] / np.linalg.norm(rows[0])
    bound = leaf_bound(P, c, D, p_error, c_error, [(0, 1)], np.ones(1), 100 * float(square) ** 0.5)
    assert at_most(bound, square, square)
    if not declared:
        assert bound >= float(square) ** 0.5 * (1 - 1e-6)


@pytest.mark.parametrize("large", ["distances", "rows"])
@pytest.mark.parametrize("seed", range(60))
def test_what_moved_distances_round_off_raises_no_look_ahead_above_the_truth(seed, large):
    """The same where the distances are large and nearly cancel, and where the rows are: no error is declared."""
    rng = np.random.default_rng([seed, 14])
    rows = rng.integers(1, 9, size=(2, 1)) * np.array([[3.0, 5.0, 0.0], [-5.0, 3.0, 0.0]])
    if large == "distances":
        # Either side of a power of two, where one of them has a digit more, and a first step that is short.
        far, gaps, base = 2.0**30 + rng.integers(1, 500), np.array([1.0, rng.integers(500, 5000)]), 50
    else:
        far, gaps, base = 2e4, rng.integers(1000, 10**4, size=2).astype(float), 10**9
    P = rng.integers(-base, base, size=3) + np.vstack([np.zeros(3), rows])
    c = far - np.array([0.0, *gaps])
    D = np.nextafter(np.linalg.norm(rows, axis=1), np.inf)[None]
    square = sum(Fraction(gap) ** 2 / (4 * dot(row, row)) for gap, row in zip(gaps, fractions(rows), strict=True))
    reach = 100 * float(square) ** 0.5
    bound = leaf_bound(P, c, D, np.zeros(3), np.zeros(3), [(0, 1)], np.ones(1), reach)
    assert at_most(bound, square, square)
    assert bound >= float(square) ** 0.5 * (1 - 1e-4)


def leaf_bound(P, c, D, p_error, c_error, pairs, lam, reach, values=None, k=1):
    """What a root alone proves, nothing decided: with multipliers of unit rows on pairs, without a box."""
    n_other, d = len(D), P.shape[1]
    nothing, none = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int8)
    return proven_bound(
        P, c, D, np.full((2, d), np.inf), np.zeros(n_other) if values is None else values, k, p_error, c_error, reach,
        reach, 0, nothing, nothing, none, np.full(1, CELL, dtype=np.int8), np.array([0, len(lam)]), np.array(pairs),
        lam, 0, 1,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(80))
def test_distances_between_rows_are_rounded_up(seed):
    G, X, x = hostile(seed, n=10)
    fitted = fit(G, X, np.arange(10) % 2, 3)
    room = np.full((2, len(x)), np.inf)
    search = TreeSearch(Question(fitted, "majority", Budget()), x, 0, np.arange(5, 10), np.zeros(5), np.arange(5), room)
    exact = in_units(fitted, X[search.index], x)[1]
    for j in range(5):
        for i in range(5):
            row = minus(exact[j], exact[5 + i])
            assert dot(row, row) <= Fraction(search.D[j, i].item()) ** 2
    assert (search.D > 0).all()
