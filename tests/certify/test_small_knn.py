"""K-NN on a handful of points, in fractions wherever the margins for rounding matter; quick without compiled code."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import torch

import arml
from arml.certify.knn import leaves, lookahead, lost, tree
from arml.certify.knn.norms import norms_between, norms_to_all
from arml.certify.knn.point_search import Budget, Question, TreeSearch
from arml.certify.knn.search import _relevant_own
from arml.certify.knn.theorem1 import PointRows, certified_radii, row_bounds
from arml.classifier.fitted import FittedKNN
from arml.classifier.homes import sights
from arml.classifier.rounding import gamma
from arml.geometry import Mahalanobis
from arml.least_distance import inner_products
from arml.least_distance.active_set import Workspace, activate, most_pairs, outside, pair_row, resume
from arml.least_distance.cell import HIGH, LOW, UNDECIDED, solve_cell
from arml.least_distance.inner_products import ABOVE, BELOW, InnerProducts, cover, move_all, move_some
from arml.least_distance.smallest import smallest
from arml.neighbors import MahalanobisKNN
from tests.certify.in_fractions import at_most_root, closed_form, fractions, ill_conditioned, sq_norm
from tests.fuzz.least_sq_norm import least_sq_norm
from tests.fuzz.truth import View, integers, sq_radius

FREE_ROOM = np.full((2, 2), np.inf)


def prepared(G, X, y, K):
    return FittedKNN.prepare(Mahalanobis.from_components(G), X, y, K, torch.device("cpu"))


def problem(seed, n=9, d=2, classes=2, low=-3):
    rng = np.random.default_rng(seed)
    return ill_conditioned(rng, d, low, 1), rng.normal(size=(n, d)), np.arange(n) % classes, rng.normal(size=(3, d))


# -- radii against the rational truth ----------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["majority", "plurality", "predict"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("box", [None, (-1.1, 1.2)])
def test_radii_are_those_in_fractions_and_confirmed(event, seed, box):
    G, X, y, points = problem(seed, classes=2 + seed % 2)
    knn = MahalanobisKNN(3, metric=Mahalanobis.from_components(G)).fit(X, y)
    labels = knn.predict(points)
    found = knn.exact_radius(points, labels, event=event, box=box, proofs=True)
    for i, (x, label) in enumerate(zip(points, labels.tolist(), strict=True)):
        sq = sq_radius(View.of(X, G, x, box), y.tolist(), label, 3, event)
        if sq is None:
            assert found.status[i] == "unreachable"
            continue
        assert at_most_root(float(found.lower[i]), sq)
        assert Fraction(float(found.upper[i])) ** 2 >= sq
        assert found.status[i] == "exact"
        assert found.upper[i] == pytest.approx(float(sq) ** 0.5, rel=1e-6)
    report = arml.recheck(knn, points, labels, found, event=event, box=box)
    assert report.ok.all(), report.problems


def test_a_search_that_is_stopped_keeps_sound_bounds():
    G, X, y, points = problem(5, n=14, d=3, low=-1)
    knn = MahalanobisKNN(5, metric=Mahalanobis.from_components(G)).fit(X, y)
    labels = knn.predict(points)
    stopped = knn.exact_radius(points, labels, max_nodes=3)
    done = knn.exact_radius(points, labels)
    assert (stopped.lower <= done.upper).all()
    assert (stopped.upper >= done.lower).all()
    assert (stopped.nodes <= 3).all()
    assert set(stopped.status.tolist()) <= {"exact", "time_limit"}
    assert (stopped.lower < done.lower * (1 - 1e-6)).any()
    assert (stopped.lower >= knn.certified_radius(points, labels).lower * (1 - 1e-8)).all()


def test_where_there_is_no_attack_the_search_says_how_far_it_looked():
    # On a line: the label at -1, -0.01, 0.01 and 1, others at -0.5 and 0.5; two others are never before three of four.
    X = np.array([[-1.0], [-0.01], [0.01], [1.0], [-0.5], [0.5]])
    y = np.array([0, 0, 0, 0, 1, 1])
    x, label = np.array([[0.2]]), np.array([0])
    assert sq_radius(View.of(X, np.eye(1), x[0], None), y.tolist(), 0, 3, "majority") is None
    found = MahalanobisKNN(3).fit(X, y).exact_radius(x, label)
    assert found.status.tolist() == ["bounded"]
    assert 1e3 < found.lower[0] < 1e5
    assert np.isinf(found.upper[0])
    found = MahalanobisKNN(3).fit(X, y).exact_radius(x, label, box=(-2.0, 2.0), proofs=True)
    assert found.status.tolist() == ["unreachable"]
    assert np.isinf(found.lower[0])


def test_proofs_hold_the_evidence_of_leaves_and_nothing_for_points_that_are_lost(monkeypatch):
    G, X, y, points = problem(5, n=14, d=3, low=-1)
    knn = MahalanobisKNN(3, metric=Mahalanobis.from_components(G)).fit(X, y)
    labels = knn.predict(points)
    labels[1] = 1 - labels[1]
    asked = []
    real = TreeSearch.run
    monkeypatch.setattr(
        TreeSearch, "run", lambda self, reach, ancestors: (asked.append(ancestors), real(self, reach, ancestors))[1]
    )
    found = knn.exact_radius(points, labels, proofs=True)
    assert set(asked) == {0}
    assert found.upper[1] == 0.0
    assert len(found.certificate) == 3
    assert np.diff(found.certificate.node_ptr)[1] == 0
    assert arml.recheck(knn, points, labels, found).ok.all()
    # Without a proof what holds for a leaf's ancestors may be used as well.
    knn.exact_radius(points, labels)
    assert set(asked) == {0, 4}


# -- Theorem 1 ---------------------------------------------------------------------------------------------------------


def row_value_sq(G, X, x, j, same, k):
    """Square of the k-th largest positive part of eq. (8) of row j over the points ``same``, in fractions."""
    squares = []
    for i in same:
        gain, sq = closed_form(G, x, X[i], X[j])
        squares.append(Fraction(0) if gain <= 0 or not sq else gain * gain / sq)
    return sorted(squares, reverse=True)[k - 1]


@pytest.mark.parametrize("K", [1, 3, 5])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_theorem_1_is_the_kth_smallest_row_in_fractions(K, offset):
    k = (K + 1) // 2
    for seed in range(3):
        G, X, y, points = problem(seed, n=16, d=3, low=-2)
        X, points = X + offset, points + offset
        knn = prepared(G, X, y, K)
        labels = MahalanobisKNN(K, metric=knn.metric).fit(X, y).predict(points)
        found = certified_radii(knn, points, labels)
        for i, (x, label) in enumerate(zip(points, labels.tolist(), strict=True)):
            same = np.flatnonzero(y == label)
            rows = {int(j): row_value_sq(G, X, x, j, same, k) for j in np.flatnonzero(y != label)}
            sq = sorted(rows.values())[k - 1]
            assert at_most_root(float(found.lower[i]), sq)
            assert found.lower[i] == pytest.approx(float(sq) ** 0.5, rel=1e-9)
            best = sorted(rows, key=rows.__getitem__)
            named = found.rows[i]
            assert [rows[j] for j in named[:k].tolist()] == [rows[j] for j in best[:k]]


def test_theorem_1_where_one_side_has_too_few_points():
    X = np.array([[0.0], [0.1], [1.0], [1.1], [1.2]])
    points = np.array([[0.05], [1.1]])
    for y, expected in (([0, 1, 1, 1, 1], [0.0, np.inf]), ([0, 0, 1, 2, 2], [pytest.approx(0.5), 0.0])):
        knn = prepared(np.eye(1), X, np.array(y), 3)
        found = certified_radii(knn, points, np.array([0, 1]))
        assert found.lower[0] == expected[0]
        assert found.lower[1] == expected[1]
    assert certified_radii(knn, points, np.array([-1, -1])).lower.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("norm", [1, 2, np.inf])
@pytest.mark.parametrize("plain", [False, True])
def test_bounds_of_rows_never_exceed_the_rows(norm, plain):
    k, close = 2, 0
    for seed in range(4):
        G, X, y, points = problem(seed, n=20, d=3, low=-1)
        G = np.eye(3) if plain else G
        knn = prepared(G, X, y, 3)
        own = knn.train.classes[1]
        sight = next(sights(knn, points, own))
        bounds, anchors = row_bounds(sight, own, k, norm)
        assert torch.isinf(bounds[:, own]).all()
        assert anchors.shape == (len(sight.positions), 2 * k)
        metric, order = knn.train.metric, knn.train.order
        for t, x in enumerate(points[sight.positions]):
            scaled = knn.frame.points(x[None])[0]
            c = metric.sq_dist(knn.train.X, scaled)
            assert sorted(anchors[t].tolist()) == sorted((np.argsort(c[own])[: 2 * k] + own.start).tolist())
            dual = {1: np.inf, 2: 2, np.inf: 1}[norm]
            for j in range(own.start):
                lengths = np.linalg.norm((knn.train.X[own] - knn.train.X[j]) @ metric.matrix, dual, axis=1)
                value = np.sort(np.maximum((c[j] - c[own]) / (2 * lengths), 0))[-k]
                e_own = np.sort(np.linalg.norm((knn.train.X[own] - scaled) @ metric.matrix, dual, axis=1)[
                    np.argsort(c[own])[:k]
                ])[-1]  # fmt: skip
                e_j = np.linalg.norm((knn.train.X[j] - scaled) @ metric.matrix, dual)
                by_hand = max(0.0, (c[j] - np.sort(c[own])[k - 1]) / (2 * (e_own + e_j)))
                assert bounds[t, j] <= value * (1 + 1e-12)
                assert float(bounds[t, j]) == pytest.approx(by_hand, rel=1e-6, abs=1e-9)
                close += by_hand > 0
            assert (y[order[own]] == 1).all()
    assert close > 20


@pytest.mark.parametrize("norm", [1, 2, np.inf])
def test_denominators_are_rounded_up(norm):
    G, X, y, _points = problem(2, n=8, d=3)
    train = prepared(G, X, y, 1).train
    dual = {1: np.inf, 2: 2, np.inf: 1}[norm]
    rows, others = np.array([0, 3]), np.array([1, 2, 5])
    between = norms_between(train, rows, others, norm)
    mapped = torch.from_numpy(train.P[rows].copy())
    to_all = norms_to_all(train, mapped, norm).numpy()
    P, G_ = fractions(train.X), fractions(train.metric.components)
    M = G_.T @ G_
    for a, i in enumerate(rows):
        for b, j in enumerate(others):
            exact = [abs(value) for value in M @ (P[i] - P[j])]
            if dual == 2:
                assert not at_most_root(float(between[a, b]) * (1 - 1e-16), sq_norm(exact))
            else:
                length = max(exact) if dual == np.inf else sum(exact)
                assert Fraction(float(between[a, b])) >= length
            expected = np.linalg.norm(train.P[i] - train.P[j], dual)
            assert between[a, b] == pytest.approx(expected, rel=1e-7)
            assert to_all[a, j] == pytest.approx(expected, rel=1e-7)
            assert to_all[a, j] >= expected
    # Never 0, also of a point from itself.
    assert (norms_between(train, rows, rows, norm) > 0).all()


def test_rows_are_evaluated_until_none_can_be_smaller():
    G, X, y, points = problem(8, n=40, d=2, low=0)
    knn = prepared(G, X, y, 3)
    own = knn.train.classes[0]
    sight = next(sights(knn, points[:1], own))
    bounds, anchors = row_bounds(sight, own, 2, 2)
    rows = PointRows(knn.train, own, sight.C.numpy()[0], float(sight.share[0]), 2, 2)
    everything = rows._values(np.arange(own.stop, 40), own)
    # From bounds that say nothing, and from the real ones: the same value.
    value, best = rows.solve(np.where(np.isinf(bounds[0]), np.inf, 0.0), np.array([25]), anchors[0].numpy())
    assert value == np.sort(everything)[1]
    assert best[:2].tolist() == (np.argsort(everything)[:2] + own.stop).tolist()
    again = PointRows(knn.train, own, sight.C.numpy()[0], float(sight.share[0]), 2, 2)
    assert again.solve(bounds.numpy()[0], np.array([39, 38]), anchors[0].numpy())[0] == value
    below, values = rows.below(bounds.numpy()[0], anchors[0].numpy(), float(np.sort(everything)[5]))
    assert below.tolist() == (np.argsort(everything)[:5] + own.stop).tolist()
    assert values.tolist() == np.sort(everything)[:5].tolist()
    few = PointRows(knn.train, slice(0, 1), rows.c, 0.0, 2, 2)
    assert few._values(np.array([5]), np.array([0])).tolist() == [0.0]
    assert few._kth() == np.inf


def test_same_class_points_that_stay_behind_are_left_out_and_no_others():
    left_out = 0
    for seed in range(10):
        G, X, y, points = problem(seed, n=40, d=2, low=0)
        knn = prepared(G, X, y, 3)
        train, own, k = knn.train, knn.train.classes[0], 2
        x = train.frame.points(points[:1])[0]
        T = train.X - x
        c, P = train.metric.sq_dist(train.X, x), T @ train.metric.matrix
        reach = 0.2
        kept = _relevant_own(train, own, c, train.metric.matrix @ x, reach, k)
        assert (np.diff(c[kept]) >= 0).all()
        for i in range(own.start, own.stop):
            ahead = sum(
                c[i] - c[q] > 2 * reach * np.linalg.norm(P[i] - P[q]) for q in range(own.start, own.stop) if q != i
            )
            if i not in kept:
                assert ahead >= k
                left_out += 1
        assert len(_relevant_own(train, own, c, train.metric.matrix @ x, np.inf, k)) == own.stop - own.start
    assert left_out > 50


# -- what has been lost ------------------------------------------------------------------------------------------------


def test_majority_votes_and_fronts():
    # Others at 1, 2, 3 of the classes 0, 1, 0; the label's own at 1.5 and 2.5.
    f, votes = np.array([1.0, 2.0, 3.0, 1.5, 2.5]), np.array([0, 1, 0])
    none, one = np.zeros(2, np.int64), np.ones(2, np.int64)
    assert lost.majority_lost(f, 3, 1, 0.0)
    assert lost.majority_lost(f, 3, 2, 0.0)
    later = np.array([1.6, 2.6, 3.0, 1.5, 2.5])
    assert not lost.majority_lost(later, 3, 1, 0.0)
    assert not lost.majority_lost(later, 3, 2, 0.0)
    assert lost.majority_lost(later, 3, 2, 0.1 + 1e-12)
    assert lost.majority_lost(np.array([1.5, 1.5]), 1, 1, 0.0)
    # K = 3 of f: 0, label, 1: each has one vote, a tie.
    assert sorted(lost.winning_front(f, votes, none, 3, 3, 0.0).tolist()) == [0, 1, 3]
    assert len(lost.winning_front(f, votes, one, 3, 3, 0.0)) == 0
    # K = 5: two of class 0, two of the label.
    assert len(lost.winning_front(f, votes, none, 3, 5, 0.0)) == 5
    assert len(lost.winning_front(f, np.array([0, 1, 2]), np.zeros(3, np.int64), 3, 5, 0.0)) == 0
    # Ties go to the rival: at 1 label and rival, K = 1.
    assert lost.winning_front(np.array([1.0, 1.0]), np.array([0]), none[:1], 1, 1, 0.0).tolist() == [0]
    assert lost.winning_front(np.array([1.0, 0.99]), np.array([0]), none[:1], 1, 1, 0.0).tolist() == []
    assert lost.winning_front(np.array([1.0, 0.99]), np.array([0]), none[:1], 1, 1, 0.1).tolist() == [0]


def test_votes_that_are_possible_are_those_that_some_completion_wins():
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(400):
        n_other, n_classes, K = int(rng.integers(1, 6)), int(rng.integers(1, 4)), int(rng.choice([1, 3, 5]))
        votes = rng.integers(n_classes, size=n_other)
        handicaps = rng.integers(2, size=n_classes)
        status = rng.choice([UNDECIDED, LOW, HIGH], size=n_other).astype(np.int8)
        low_own = int(rng.integers(0, 3))
        places = K - low_own - int((status == LOW).sum())
        undecided = np.flatnonzero(status == UNDECIDED)
        expected = False
        for count in range(max(places, 0) + 1):
            for chosen in combinations(undecided, count):
                low = np.concatenate([np.flatnonzero(status == LOW), np.array(chosen, dtype=int)])
                tally = np.bincount(votes[low], minlength=n_classes)
                own = low_own + places - count
                # Any number of places may go to the label; it takes what the others leave.
                expected |= places >= 0 and bool((tally >= np.maximum(own + handicaps, 1)).any())
        found = lost.vote_possible(votes, handicaps, status, n_other, low_own, places)
        outcomes.add((expected, found))
    assert outcomes == {(True, True), (False, False)}


def test_the_point_of_the_front_to_decide():
    f, status = np.array([3.0, 1.0, 2.0, 4.0]), np.array([UNDECIDED, LOW, UNDECIDED, UNDECIDED], np.int8)
    assert lost.undecided_in_front(f, status, 3) == 0
    assert lost.undecided_in_front(f, status, 2) == 2
    assert lost.undecided_in_front(f, status, 1) == 2
    assert lost.undecided_in_front(f, np.full(4, LOW, np.int8), 3) == -1


# -- look-ahead --------------------------------------------------------------------------------------------------------


def by_definition(f, D, status, spare, missing, value):
    """The bound of section 3 of docs/exact_knn.md, term by term."""
    n_other, n_own = D.shape
    margin = np.maximum((f[:n_other, None] - f[n_other:]) / (2 * D), 0.0)
    own = status[n_other:]
    steps = []
    for j in np.flatnonzero(status[:n_other] == UNDECIDED):
        must = max((margin[j, i] for i in range(n_own) if own[i] == HIGH), default=0.0)
        may = sorted((margin[j, i] for i in range(n_own) if own[i] == UNDECIDED), reverse=True)
        steps.append(max(must, may[spare] if len(may) > spare else 0.0))
    step = 0.0 if missing <= 0 else sorted(steps)[missing - 1] if len(steps) >= missing else np.inf
    passed = sorted(
        (max((margin[j, i] for j in np.flatnonzero(status[:n_other] == LOW)), default=0.0)
         for i in range(n_own) if own[i] == UNDECIDED), reverse=True,
    )  # fmt: skip
    behind = passed[spare] if spare > 0 and len(passed) > spare else 0.0
    return float(np.sqrt(value**2 + max(step, behind) ** 2))


def test_looking_ahead_is_its_definition():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(300):
        n_other, n_own = int(rng.integers(1, 5)), int(rng.integers(1, 5))
        f, D = rng.normal(size=n_other + n_own), 0.5 + rng.random((n_other, n_own))
        status = rng.choice([UNDECIDED, LOW, HIGH], size=n_other + n_own, p=[0.6, 0.2, 0.2]).astype(np.int8)
        spare, missing, value = int(rng.integers(0, 3)), int(rng.integers(0, 3)), float(rng.random())
        expected = by_definition(f, D, status, spare, missing, value)
        bound, split = lookahead.look_ahead(f, D, status, spare, missing, value, 1e9, 0.0, np.empty(n_own))
        assert bound == pytest.approx(expected, rel=1e-12)
        if np.isfinite(bound) and split >= 0:
            assert status[split] == UNDECIDED
            seen.add(split < n_other)
        elif np.isinf(bound):
            assert split == -1
        # What is subtracted for rounding lowers the bound; values from "closing" on may come out smaller, not below it.
        blurred, _ = lookahead.look_ahead(f, D, status, spare, missing, value, 1e9, 0.3, np.empty(n_own))
        assert blurred <= bound
        closing = value + 0.1
        early, _ = lookahead.look_ahead(f, D, status, spare, missing, value, closing, 0.0, np.empty(n_own))
        assert early == pytest.approx(bound) if bound < closing else early >= closing * (1 - 1e-12)
    assert seen == {True, False}


def test_the_point_to_decide_is_the_last_that_is_needed_or_the_farthest_from_being_passed():
    D = np.ones((3, 2))
    f = np.array([2.0, 4.0, 3.0, 0.0, 1.0])
    status = np.zeros(5, np.int8)
    assert lookahead.look_ahead(f, D, status, 0, 1, 0.0, 1e9, 0.0, np.empty(2)) == (1.0, 0)
    assert lookahead.look_ahead(f, D, status, 0, 2, 0.0, 1e9, 0.0, np.empty(2)) == (1.5, 2)
    assert lookahead.look_ahead(f, D, status, 1, 2, 0.0, 1e9, 0.0, np.empty(2)) == (1.0, 2)
    status[1] = LOW
    # The low point is behind both same-class points, of which one may be low: the farthest is decided.
    assert lookahead.look_ahead(f, D, status, 1, 0, 0.0, 1e9, 0.0, np.empty(2)) == (1.5, 3)
    # Where others are missing, too, it still comes first.
    assert lookahead.look_ahead(f, D, status, 1, 1, 0.0, 1e9, 0.0, np.empty(2)) == (1.5, 3)
    largest = np.zeros(2)
    for value in (1.0, 3.0, 2.0):
        lookahead.insert(largest, value)
    assert largest.tolist() == [3.0, 2.0]


# -- the tree and what it proves ---------------------------------------------------------------------------------------


def test_the_heap_gives_the_smallest_bound_first():
    rng = np.random.default_rng(2)
    bounds, heap = rng.random(30), np.zeros(30, np.int64)
    for size in range(30):
        tree._push(heap, size, bounds, size)
    assert [tree._pop(heap, 30 - taken, bounds) for taken in range(30)] == np.argsort(bounds).tolist()


def test_row_values_of_low_and_missing_points():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    for status, missing, bound in (
        ([0, 0, 0, 0], 1, 1.0), ([0, 0, 0, 0], 3, 3.0), ([2, 0, 2, 0], 2, 4.0), ([0, 1, 0, 0], 1, 2.0),
        ([0, 0, 0, 1], 1, 4.0), ([2, 2, 2, 0], 2, np.inf), ([1, 0, 0, 0], 0, 1.0),
    ):  # fmt: skip
        assert tree.rows_bound(values, np.array(status, np.int8), missing) == bound
    assert tree.low_counts(np.array([1, 0, 1, 1, 2], np.int8), 2) == (1, 2)


def test_what_a_node_has_decided():
    parent, point, side = np.array([0, 0, 0, 1]), np.array([0, 4, 4, 2]), np.array([0, LOW, HIGH, HIGH], np.int8)
    status = np.full(5, LOW, np.int8)
    tree.path_status(3, parent, point, side, status)
    assert status.tolist() == [0, 0, HIGH, 0, LOW]
    tree.path_status(2, parent, point, side, status)
    assert status.tolist() == [0, 0, 0, 0, HIGH]
    f = np.array([5.0, 1.0, 3.0, 0.0, 2.0, 9.0])
    assert sorted(tree._majority_front(f, 3, 2).tolist()) == [1, 2, 3]


@pytest.mark.parametrize("errors", [0.0, 1e-3])
@pytest.mark.parametrize("box", [False, True])
def test_half_spaces_hold_with_every_error_at_its_worst(errors, box):
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(200):
        P, c = rng.normal(size=(5, 3)), rng.random(5)
        p_error, c_error = errors * rng.random(5), errors * rng.random(5)
        pairs = np.array([[0, 1], [2, 3], [4, 1], *([[BELOW, 1], [ABOVE, 2]] if box else [])])
        lam, room, reach = rng.random(len(pairs)), 0.05 * rng.random((2, 3)), 3.0
        delta = np.empty(3)
        beta = leaves._halfspace(P, c, room, pairs, lam, p_error, c_error, reach, delta)
        exact_P, exact_c = fractions(P), fractions(c)
        a, gain, blur = fractions(np.zeros(3)), Fraction(0), Fraction(0)
        for (low, high), weight in zip(pairs.tolist(), lam.tolist(), strict=True):
            if low < 0:
                a[high] += Fraction(weight) * (-1 if low == BELOW else 1)
                gain -= Fraction(weight) * Fraction(float(room[0 if low == BELOW else 1, high]))
                continue
            row = exact_P[high] - exact_P[low]
            w = Fraction(weight) / Fraction(float(sq_norm(row)) ** 0.5)
            a = a + w * row
            gain -= w * (exact_c[high] - exact_c[low] + Fraction(c_error[high]) + Fraction(c_error[low])) / 2
            blur += w * (Fraction(p_error[high]) + Fraction(p_error[low]))
        gain -= blur * Fraction(reach)
        length = float(sq_norm(a)) ** 0.5
        if gain <= 0 or length < 1e-2:
            assert beta <= 1e-9 or gain > 0
            continue
        if float(gain) / length > reach:
            assert beta == reach
            continue
        found += 1
        assert beta == pytest.approx(float(gain) / length, rel=1e-9, abs=1e-12)
        assert Fraction(beta) ** 2 * sq_norm(a) <= gain * gain
        if beta > 0:
            np.testing.assert_allclose(delta, -beta * a.astype(float) / length, rtol=1e-9, atol=1e-12)
    assert found > 15


@pytest.mark.parametrize(("d", "pairs"), [(1, 1), (40, 1), (1, 40)])
def test_half_spaces_of_one_pair_are_never_beyond_the_closed_form(d, pairs):
    rng = np.random.default_rng(5)
    none, room = np.zeros(2), np.full((2, d), np.inf)
    lam = np.eye(1, pairs)[0]
    named = np.tile(np.array([[0, 1]]), (pairs, 1))
    for _ in range(200):
        P, c = rng.normal(size=(2, d)), np.array([1.0, 0.0]) + 1e-3 * rng.random(2)
        beta = leaves._halfspace(P, c, room, named, lam, none, none, 9.0, np.empty(d))
        gain, sq = Fraction(float(c[0])) - Fraction(float(c[1])), 4 * sq_norm(fractions(P[1]) - fractions(P[0]))
        assert Fraction(beta) ** 2 * sq < gain * gain
        assert Fraction(beta * (1 + 1e-9)) ** 2 * sq >= gain * gain or beta == 9.0


def test_nodes_are_bounded_with_every_moved_distance_at_its_worst():
    rng = np.random.default_rng(8)
    larger = 0
    for _ in range(300):
        n_other, n_own, d, k = 3, 3, 2, 2
        P, c = rng.normal(size=(6, d)), 1 + rng.random(6)
        p_error, c_error, slopes = (scale * rng.random(6) for scale in (0.0, 0.02, 0.03))
        D = 0.3 + rng.random((n_other, n_own))
        parent, point, side = np.array([0, 0, 1]), np.array([0, 1, 4]), np.array([0, LOW, HIGH], np.int8)
        pairs, lam = np.array([[1, 4]]), np.ones(1)
        first = np.array([0, 0, 0, 1])
        delta, status, values = np.empty(d), np.zeros(6, np.int8), np.zeros(n_other)
        found = leaves._node_bound(
            2, P, c, D, FREE_ROOM, values, k, p_error, c_error, slopes, 50.0, parent, point, side, first, pairs, lam,
            status, delta, np.empty(n_own),
        )  # fmt: skip
        beta = leaves._halfspace(P, c, FREE_ROOM, pairs, lam, p_error, c_error, 50.0, delta)
        worst = c - 2 * P @ delta
        error = c_error + 2 * slopes * beta
        worst += np.where(np.arange(6) < n_other, -error, error)
        status = np.array([UNDECIDED, LOW, UNDECIDED, UNDECIDED, HIGH, UNDECIDED], np.int8)
        expected = min(by_definition(worst, D, status, k - 1, k - 1, beta), 50.0)
        assert found == pytest.approx(max(expected, beta), rel=1e-6)
        assert found <= max(expected, beta)
        larger += expected > beta > 0
    assert larger > 50


def test_half_spaces_beyond_the_reach_or_without_gain():
    P, c, none = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([1.0, 0.0]), np.zeros(2)
    delta = np.ones(2)
    one = np.array([[0, 1]])
    assert leaves._halfspace(P, c, FREE_ROOM, one, np.ones(1), none, none, 9.0, delta) == pytest.approx(0.5)
    np.testing.assert_allclose(delta, [-0.5, 0.0])
    assert leaves._halfspace(P, c, FREE_ROOM, one, np.ones(1), none, none, 0.25, delta) == 0.25
    assert delta.tolist() == [0.0, 0.0]
    assert leaves._halfspace(P, -c, FREE_ROOM, one, np.ones(1), none, none, 9.0, delta) == 0.0
    assert leaves._halfspace(P, c, FREE_ROOM, one, np.zeros(1), none, none, 9.0, delta) == 0.0
    assert leaves._halfspace(0 * P, c, FREE_ROOM, one, np.ones(1), none, none, 9.0, delta) == 0.0


def search(seed, event, K=3, n=12, d=2, errors=0.0):
    """A finished search at one point, all of its points in it, and what it is about."""
    G, X, y, points = problem(seed, n=n, d=d, classes=3, low=-2)
    fitted = prepared(G, X, y, K)
    x = points[0]
    label = int(np.bincount(y[np.argsort(fitted.metric.sq_dist(X, x))[:K]], minlength=3).argmax())
    own = fitted.train.classes[label]
    order = fitted.train.order
    same = np.flatnonzero(y == label)
    k = fitted.k
    roots = {}
    for j in np.flatnonzero(y != label):
        value = float(row_value_sq(G, X, x, j, same, k)) ** 0.5 / fitted.frame.unit if len(same) >= k else 0.0
        roots[int(j)] = value * (1 - 1e-12)
    place = {int(i): row for row, i in enumerate(order)}
    others = np.array([place[j] for j in sorted(roots, key=roots.__getitem__)])
    values = np.array(sorted(roots.values()))
    near = np.arange(own.start, own.stop)
    question = Question(fitted, event, Budget())
    made = TreeSearch(question, x, label, others, values, near, np.full((2, d), np.inf))
    truth = sq_radius(View.of(X, G, x, None), y.tolist(), label, K, event)
    return made, truth / Fraction(fitted.frame.unit) ** 2


@pytest.mark.parametrize("event", ["majority", "plurality", "predict"])
@pytest.mark.parametrize("seed", range(5))
def test_a_tree_proves_the_radius_and_no_more(event, seed):
    made, sq = search(seed, event)
    reach = 1.5 * float(sq) ** 0.5 + 0.01
    made.run(reach, 4)
    assert made.finished
    assert at_most_root(made.lower, sq)
    assert made.lower == pytest.approx(float(sq) ** 0.5, rel=1e-6, abs=1e-9)
    # An incumbent's norm is not below the truth by more than rounding.
    assert made.best[0] >= float(sq) ** 0.5 * (1 - 1e-10)
    assert made.best[0] <= float(sq) ** 0.5 * (1 + 1e-6) + 1e-9
    assert np.linalg.norm(made.best_delta) == pytest.approx(made.best[0], rel=1e-12)


@pytest.mark.parametrize("event", ["majority", "plurality"])
def test_rounding_of_the_points_lowers_what_a_tree_proves(event):
    """With points that may be off by 1e-4 the bound holds for points that are moved by as much."""
    rng = np.random.default_rng(0)
    for seed in range(3):
        made, sq = search(seed, event)
        root = float(sq) ** 0.5
        object.__setattr__(made.seen, "c_error", np.full(len(made.c), 1e-4))
        object.__setattr__(made.seen, "p_error", np.full(len(made.c), 1e-4))
        # Row values of moved points may be anything, distances of their rows longer.
        made.D, made.values = made._distances(), np.zeros_like(made.values)
        reach = 1.5 * root + 0.01
        made.run(reach, 4)
        assert made.lower <= root
        for _ in range(10):
            # The same decisions at moved points: their radius, by enumeration of the pairs of a majority.
            turn = rng.normal(size=made.P.shape)
            P = made.P + 1e-4 * turn / np.linalg.norm(turn, axis=1)[:, None]
            c = made.c + 1e-4 * rng.choice([-1.0, 1.0], size=len(made.c))
            assert Fraction(made.lower) ** 2 <= least_majority(P, c, made.n_other, 2)


def least_majority(P, c, n_other, k):
    """Square of the majority's radius for rows P and distances c, in fractions."""
    others, same = range(n_other), range(n_other, len(c))
    best = None
    for low in combinations(others, k):
        for spared in combinations(same, k - 1):
            rows = []
            for i in low:
                for j in same:
                    if j not in spared:
                        values = [*(2 * (fractions(P[j]) - fractions(P[i]))), Fraction(c[j]) - Fraction(c[i])]
                        numbers, _unit = integers_of(values)
                        rows.append((tuple(numbers[:-1]), numbers[-1]))
            found = least_sq_norm(rows, best)
            best = best if found is None else found
    return best


def integers_of(values):
    scale = 1
    for value in values:
        scale = max(scale, value.denominator)
    return [int(value * scale) for value in values], scale


def test_distances_of_pairs_are_rounded_up_by_more_than_their_rounding():
    made, _ = search(0, "majority")
    m = len(made.P) - made.n_other
    made.n_other, made.P = 1, np.zeros((1 + m, 2))
    object.__setattr__(made.seen, "p_error", np.zeros(1 + m))
    # From the origin to (3, 4), an exact 5, and the sums of squares may be off by d + 6 roundings of either.
    made.P[1:] = [3.0, 4.0]
    expected = Fraction(25) * (1 + Fraction(2 * gamma(8)))
    assert_rounded_up(made._distances(), expected)
    # Of points that coincide, which their squares hide, the rounding is all there is.
    made.P[0] = [3.0, 4.0]
    assert_rounded_up(made._distances(), Fraction(100) * Fraction(gamma(8)))
    # Far from the origin, near each other.
    rng = np.random.default_rng(0)
    for _ in range(20):
        made.P[:] = 1e6 + rng.normal(size=made.P.shape)
        exact = [sq_norm(fractions(row) - fractions(made.P[0])) for row in made.P[1:]]
        assert all(Fraction(float(D)) ** 2 >= sq for D, sq in zip(made._distances()[0], exact, strict=True))
    # What the points may be off by is added for both ends.
    made.P[0], made.P[1:] = 0.0, [3.0, 4.0]
    object.__setattr__(made.seen, "p_error", np.append(0.5, np.full(m, 0.25)))
    np.testing.assert_allclose(made._distances(), np.full((1, m), 5.75), rtol=1e-13)


def assert_rounded_up(D, sq):
    """D is beyond the root of sq by at least 2**-48 of it, its own rounding allowed for, and by hardly more."""
    for value in D.ravel().tolist():
        assert Fraction(value) ** 2 >= sq * (1 + Fraction(2 * 0.9 * 2.0**-48))
        assert Fraction(value) ** 2 <= sq * (1 + Fraction(2 * 1.1 * 2.0**-48))


def test_incumbents_keep_a_distance_that_the_rounding_of_their_sum_does_not_undo():
    made, _ = search(0, "majority")
    K, unit = made.question.fitted.n_neighbors, made.question.fitted.frame.unit
    made.D = np.outer(np.arange(1.0, made.n_other + 1), np.arange(1.0, len(made.P) - made.n_other + 1))
    assert min(made.D.shape) > K
    # Some spacings of floats at the test point times the longest row of the points that are near; farther ones do not
    # count. Where squared distances themselves are larger, their part.
    made.x = np.array([2.0**30, 0.0])
    spacing = 2.0**-22 / unit
    assert made._strict(0.0) == pytest.approx(8 * spacing * K * K, rel=1e-12)
    assert made._strict(1e9) == pytest.approx(1e-2, rel=1e-12)


# -- least-distance problems -------------------------------------------------------------------------------------------


def test_the_few_smallest_in_order():
    f = np.array([3.0, 1.0, 2.0, 1.0, 5.0])
    assert smallest(f, 3).tolist() == [1, 3, 2]
    assert smallest(f, 9).tolist() == [1, 3, 2, 0, 4]
    assert smallest(f, 0).tolist() == []


def test_the_bound_of_the_box_that_is_violated_most():
    room = np.array([[1.0, 2.0], [3.0, 0.5]])
    assert outside(np.array([-1.5, 0.0]), room, 0.0) == (BELOW, 0)
    assert outside(np.array([-1.5, 1.25]), room, 0.0) == (ABOVE, 1)
    assert outside(np.array([3.25, -2.5]), room, 0.0) == (BELOW, 1)
    assert outside(np.array([3.5, -2.25]), room, 0.0) == (ABOVE, 0)
    assert outside(np.array([-1.0, 0.5]), room, 0.0) == (0, -1)
    assert outside(np.array([-1.5, 0.0]), room, 0.6) == (0, -1)


def test_rows_of_pairs_and_of_the_box():
    P, c = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([1.0, 11.0])
    room, row = np.array([[1.0, 2.0], [3.0, 0.5]]), np.empty(2)
    assert pair_row(P, c, 0, 1, 0.0, room, row) == (1.0, 5.0)
    np.testing.assert_allclose(row, [0.6, 0.8])
    assert pair_row(P, c, 0, 1, 4.0, room, row) == (pytest.approx(0.6), 5.0)
    assert pair_row(P, c, 1, 0, 0.0, room, row)[0] == -1.0
    np.testing.assert_allclose(row, [-0.6, -0.8])
    assert pair_row(P, c, BELOW, 1, 0.0, room, row) == (2.0, 1.0)
    assert row.tolist() == [0.0, -1.0]
    assert pair_row(P, c, ABOVE, 0, 0.0, room, row) == (3.0, 1.0)
    assert row.tolist() == [1.0, 0.0]
    # Rows that differ by rounding alone say nothing.
    P[1] = P[0] = [1.0, 1.0]
    P[1, 0] += 2.0**-52
    assert pair_row(P, c, 0, 1, 0.0, room, row) == (np.inf, 0.0)
    assert most_pairs(9, np.full((2, 4), np.inf)) == 5
    assert most_pairs(3, np.full((2, 4), np.inf)) == 4
    room = np.full((2, 4), np.inf)
    room[1, 2] = 1.0
    assert most_pairs(3, room) == 5


def cell(P, c, status, n_other, *, own_full=False, other_full=False, strict=0.0, room=None, cutoff=np.inf, start=0):
    room = np.full((2, P.shape[1]), np.inf) if room is None else room
    work = Workspace.make(len(c), room, 1 << 20)
    size = work.b.shape[0]
    pairs, lam = np.zeros((size, 2), np.int64), np.zeros(size)
    k, value = solve_cell(
        P, c, n_other, np.array(status, np.int8), own_full, other_full, strict, pairs, lam, 0, work, cutoff, 1e-12
    )
    return k, value, work, pairs, lam


def cell_truth(P, c, lows, highs, room=None, strict=0.0):
    rows = []
    for low in lows:
        for high in highs:
            values = [
                *(2 * (fractions(P[high]) - fractions(P[low]))),
                Fraction(c[high]) - Fraction(c[low]) - Fraction(strict),
            ]
            numbers, _ = integers_of(values)
            rows.append((tuple(numbers[:-1]), numbers[-1]))
    for feature in range(P.shape[1]) if room is not None else ():
        for side, sign in ((0, -1), (1, 1)):
            axis = [Fraction(sign if a == feature else 0) for a in range(P.shape[1])]
            numbers, _ = integers_of([*axis, Fraction(float(room[side, feature]))])
            rows.append((tuple(numbers[:-1]), numbers[-1]))
    return least_sq_norm(rows)


@pytest.mark.parametrize("boxed", [False, True])
def test_cells_are_solved_as_in_fractions(boxed):
    rng = np.random.default_rng(3)
    kinds = set()
    for number in range(60):
        P, c, n_other = rng.normal(size=(7, 3)), rng.random(7), 4
        room = 0.4 + 0.6 * rng.random((2, 3)) if boxed else None
        status = rng.choice([UNDECIDED, LOW, HIGH], size=7, p=[0.4, 0.3, 0.3])
        own_full, other_full = bool(number % 2), bool(number % 3 == 0)
        strict = 0.01 if number % 5 == 0 else 0.0
        high = [
            i for i in range(7)
            if status[i] == HIGH or (status[i] == UNDECIDED and (other_full if i < n_other else own_full))
        ]  # fmt: skip
        low = np.flatnonzero(status == LOW).tolist()
        k, value, work, pairs, lam = cell(
            P, c, status, n_other, own_full=own_full, other_full=other_full, strict=strict, room=room
        )
        truth = cell_truth(P, c, low, high, room, strict) if low and high else Fraction(0)
        if truth is None:
            kinds.add("empty")
            assert value == np.inf
            continue
        kinds.add("solved" if truth else "free")
        assert value == pytest.approx(float(truth) ** 0.5, rel=1e-8, abs=1e-9)
        np.testing.assert_allclose(work.f, c - 2 * P @ work.delta, rtol=1e-9, atol=1e-10)
        # delta is what the multipliers say, and these are of decided pairs.
        made = np.zeros(3)
        for q in range(k):
            row = np.empty(3)
            pair_row(P, c, pairs[q, 0], pairs[q, 1], strict, np.full((2, 3), 9.0), row)
            made -= lam[q] * row
            assert lam[q] >= 0
            assert pairs[q, 0] < 0 or (pairs[q, 0] in low and pairs[q, 1] in high)
        np.testing.assert_allclose(made, work.delta, atol=1e-10)
        # Stopped early it says no more than is true; started from the solution it is done.
        early = cell(P, c, status, n_other, own_full=own_full, other_full=other_full, strict=strict, room=room,
                     cutoff=0.5 * value)[1]  # fmt: skip
        assert 0.5 * value <= early <= value * (1 + 1e-9)
        again = solve_cell(
            P, c, n_other, status.astype(np.int8), own_full, other_full, strict, pairs, lam, k, work, np.inf, 1e-12
        )
        assert again[1] == pytest.approx(value, rel=1e-8, abs=1e-9)
    assert kinds >= {"solved", "free"}


def test_moved_distances_from_inner_products_and_from_points():
    rng = np.random.default_rng(4)
    P, c = rng.normal(size=(6, 3)), rng.random(6)
    pairs = np.array([[0, 3], [1, 4], [BELOW, 2], [ABOVE, 0]])
    weights = np.array([0.5, 0.25, 0.125, 0.75])
    delta = -0.5 * (P[3] - P[0]) - 0.25 * (P[4] - P[1]) + np.array([-0.75, 0.0, 0.125])
    inner = InnerProducts.empty(6, 1 << 20)
    lengths = np.array([np.linalg.norm(P[3] - P[0]), np.linalg.norm(P[4] - P[1]), 1.0, 1.0])
    assert cover(P, inner, pairs, lengths)
    assert inner.made[0] == 4
    f = np.empty(6)
    move_all(P, c, inner, pairs, weights, f)
    np.testing.assert_allclose(f, c - 2 * P @ delta, rtol=1e-12)
    some = np.zeros(6)
    move_some(P, c, inner, pairs, weights, np.array([1, 5]), some)
    np.testing.assert_allclose(some, np.where(np.isin(np.arange(6), [1, 5]), f, 0.0), rtol=1e-12)
    # No room for a row; points that nearly coincide.
    assert not cover(P, InnerProducts.empty(6, 8 * 6 * 3), pairs, lengths)
    assert cover(P, InnerProducts.empty(6, 8 * 6 * 4), pairs, lengths)
    P[3] = P[0] + 1e-3
    lengths[0] = np.linalg.norm(P[3] - P[0])
    assert not cover(P, InnerProducts.empty(6, 1 << 20), pairs, lengths)
    assert inner_products._CLOSE < 1


def test_active_sets_drop_what_no_longer_binds_and_prove_what_is_empty():
    P = np.array([[0.0, 0.0], [-1.0, 0.0], [-1.0, -3.0], [1.0, 0.0]])
    c = np.array([2.0, 0.0, -1.0, -2.0])
    work = Workspace.make(4, FREE_ROOM, 0)
    pairs, lam = np.zeros((3, 2), np.int64), np.zeros(3)

    def add(k, high):
        pairs[k] = 0, high
        work.b[k], work.lengths[k] = pair_row(P, c, 0, high, 0.0, FREE_ROOM, work.A[k])
        return activate(work, pairs, lam, k)

    assert add(0, 1) == (1, True)
    np.testing.assert_allclose(work.delta, [1.0, 0.0])
    k, feasible = add(1, 2)
    assert feasible
    truth = cell_truth(P, c, [0], [1, 2])
    assert np.linalg.norm(work.delta) == pytest.approx(float(truth) ** 0.5)
    # -x <= -1 and x <= -2 contradict each other: the multipliers cancel the rows and leave a gain.
    k, feasible = add(k, 3)
    assert not feasible
    rows = work.A[:k]
    np.testing.assert_allclose(lam[:k] @ rows, 0.0, atol=1e-12)
    assert -(lam[:k] @ work.b[:k]) > 0
    # Resumed from nothing but pairs and multipliers: dependent rows are left out.
    pairs[:3] = [[0, 1], [0, 1], [0, 2]]
    lam[:3] = [0.5, 0.25, 0.125]
    kept = resume(P, c, 0.0, pairs, lam, 3, work)
    assert kept == 2
    assert pairs[:2].tolist() == [[0, 1], [0, 2]]
    assert lam[:2].tolist() == [0.5, 0.125]
    expected = 0.5 * np.array([1.0, 0.0]) + 0.125 * np.array([1.0, 3.0]) / np.sqrt(10)
    np.testing.assert_allclose(work.delta, expected)


def test_integers_keep_fractions():
    assert integers([0.5, 0.75])[0] == [2, 3]
