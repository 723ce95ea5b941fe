"""What the classifier's room says of distances and ties, against fractions."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from arml.classifier import event, frame, nearest
from arml.classifier.chunks import class_chunks
from arml.classifier.differences import Differences, sq_distances
from arml.classifier.event import EVENTS, Outcome, handicaps, outcomes
from arml.classifier.exactly import Dyadic, Factor, nearest_floats
from arml.classifier.exactly import sq_distances as exact_sq_distances
from arml.classifier.fitted import Compute, FittedKNN
from arml.classifier.frame import Frame, power_of_two
from arml.classifier.homes import sights
from arml.classifier.perturbation import addable, confirmed, holds, norm
from arml.classifier.rounding import balance, distance_share, embedding_error, gamma, is_identity, magnitudes, row_share
from arml.geometry import InvalidMetricError, Mahalanobis
from arml.inputs import InvalidInputError
from arml.neighbors import MahalanobisKNN
from tests.certify.in_fractions import fractions, ill_conditioned, sq_norm
from tests.fuzz.truth import View, standing


def prepared(G, X, y, K=1):
    return FittedKNN.prepare(Mahalanobis.from_components(G), X, y, K, torch.device("cpu"))


def factors(rng, d=4):
    return (np.eye(d), ill_conditioned(rng, d, -6, 2), rng.normal(size=(2, d)))


def test_differences_are_off_by_no_more_than_they_say_and_that_is_little():
    rng = np.random.default_rng(0)
    for G in factors(rng) * 5:
        metric, x, X = Mahalanobis.from_components(G), rng.normal(size=4), rng.normal(size=(6, 4))
        seen = Differences.of(metric, X - x)
        c, error = sq_distances(metric, X - x)
        exact_G, T = fractions(G), fractions(X) - fractions(x)
        largest = float(np.abs(G).sum()) ** 2 * 100
        for i in range(6):
            z = exact_G @ T[i]
            assert abs(Fraction(float(seen.c[i])) - sq_norm(z)) <= Fraction(float(seen.c_error[i]))
            assert abs(Fraction(float(c[i])) - sq_norm(z)) <= Fraction(float(error[i]))
            off = sq_norm(exact_G.T @ z - fractions(seen.P[i]))
            assert off <= Fraction(float(seen.p_error[i])) ** 2
        assert (seen.c_error < 1e-12 * largest).all()
        assert (seen.p_error < 1e-12 * largest).all()
        # Never less than one rounding per feature: sums in another order would be off by that.
        assert (seen.c_error >= 4 * 2.0**-53 * seen.c).all()
        assert (error >= 4 * 2.0**-53 * c).all()


def test_errors_of_differences_are_those_of_the_worst_order_of_summation():
    """To all digits, by hand: one rounding less would not be noticed otherwise."""
    metric, T = Mahalanobis.from_components(np.full((2, 3), 1.0)), np.array([[1.0, 1.0, 1.0]])
    seen = Differences.of(metric, T)
    c, error = sq_distances(metric, T)
    # By hand: |z| errs by (d + 6) u 3 in both places, c = 18, P = 6 in each of three.
    z = math.sqrt(2) * 3 * gamma(9)
    assert seen.c_error[0] == pytest.approx(gamma(8) * 18 + 2 * math.sqrt(18) * z, rel=1e-5, abs=0)
    assert error[0] == pytest.approx(gamma(8) * 18 + 2 * math.sqrt(18) * z, rel=1e-5, abs=0)
    assert seen.p_error[0] == pytest.approx(math.sqrt(3) * (2 * 3 * gamma(9) + 6 * gamma(6)), rel=1e-5, abs=0)
    plain = Differences.of(Mahalanobis.from_components(np.eye(3)), T)
    assert plain.c_error[0] == pytest.approx(3 * gamma(11), rel=1e-9, abs=0)
    assert plain.p_error[0] == pytest.approx(math.sqrt(3) * gamma(4), rel=1e-9, abs=0)
    assert c[0] == 18.0
    blurred = sq_distances(metric, T, np.array([1e-3, 0.0, 2e-3]))[1]
    assert blurred[0] == pytest.approx(2 * math.sqrt(18) * 3e-3 * math.sqrt(2) + 18e-6, rel=1e-5, abs=0)
    blurred = sq_distances(Mahalanobis.from_components(np.eye(3)), T, np.array([1e-3, 0.0, 0.0]))[1]
    assert blurred[0] == pytest.approx(2 * math.sqrt(3) * 1e-3 + 1e-6, rel=1e-5, abs=0)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_distances_to_the_training_set_err_to_the_safe_side(offset):
    rng = np.random.default_rng(1)
    for G in factors(rng):
        X, y, points = rng.normal(size=(9, 4)) + offset, np.arange(9) % 3, rng.normal(size=(3, 4)) + offset
        X[-1] += 1e3
        knn = prepared(G, X, y)
        train, own = knn.train, knn.train.classes[1]
        seen = train.see(points)
        C = train.sq_distances(seen, train.pessimistic(own)).numpy()
        plain = train.sq_distances(seen).numpy()
        least = train.sq_distances(seen, train.z_sq_norm - train.share).numpy()
        exact_G = fractions(train.metric.components)
        unit = Fraction(knn.frame.unit)
        for t, x in enumerate(points):
            share = Fraction(float(seen.share[t]))
            for i, row in enumerate(train.order):
                exact = sq_norm(exact_G @ (fractions(X[row]) - fractions(x))) / unit**2
                both = share + Fraction(float(train.share[i]))
                assert abs(Fraction(float(plain[t, i])) - exact) <= both
                assert Fraction(float(least[t, i])) <= exact + share
                if own.start <= i < own.stop:
                    assert Fraction(float(C[t, i])) >= exact - share
                    assert C[t, i] >= plain[t, i]
                else:
                    assert Fraction(float(C[t, i])) <= exact + share
                    assert C[t, i] <= plain[t, i]
                off = exact_G.T @ (exact_G @ (fractions(X[row]) - fractions(knn.frame.origin))) / unit
                assert sq_norm(off - fractions(train.P[i])) <= Fraction(float(train.p_error[i])) ** 2
        assert train.order.tolist() == np.argsort(y, kind="stable").tolist()
        assert (train.sq_norm == (train.P * train.P).sum(axis=1)).all()
        moved = train.seen_from(points[0], X)
        np.testing.assert_allclose(moved.X, (X[train.order] - points[0]) / knn.frame.unit)


def test_shares_are_the_bounds_of_the_books():
    G = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]], dtype=torch.float64)
    X = torch.tensor([[1.0, -1.0, 2.0]], dtype=torch.float64)
    h = math.sqrt((1 + 2 + 1) ** 2 + (3 + 2) ** 2)
    assert float(magnitudes(X, G)[0]) == pytest.approx(h)
    # G x = (4, -1): of length sqrt(17), off by gamma_5 h; the product of two lengths is split by a t of 0.25.
    embedded, length = gamma(3 + 2) * h, 17.0
    squares = torch.tensor([length], dtype=torch.float64)
    assert float(embedding_error(magnitudes(X, G), G)[0]) == pytest.approx(embedded, rel=1e-5, abs=0)
    expected = 2 * ((gamma(2 + 8) + 0.25) * length + 5 * embedded**2)
    assert float(distance_share(squares, magnitudes(X, G), G, 0.25)[0]) == pytest.approx(expected, rel=1e-5, abs=0)
    expected = 2 * ((gamma(2 + 8) + 1e-15) * length + (1 + 1e15) * embedded**2)
    assert float(distance_share(squares, magnitudes(X, G), G, 1e-15)[0]) == pytest.approx(expected, rel=1e-5, abs=0)
    # Of a point that the metric maps to 0 nothing but the error of its image is left.
    found = float(distance_share(0 * squares, magnitudes(X, G), G, 0.25)[0])
    assert found == pytest.approx(2 * 5 * embedded**2, rel=1e-5, abs=0)
    assert balance(squares, magnitudes(X, G), G) == pytest.approx(embedded / math.sqrt(length), rel=1e-5, abs=0)
    assert balance(0 * squares, magnitudes(X, G), G) == 1.0
    eye = torch.eye(3, dtype=torch.float64)
    assert float(magnitudes(X, eye)[0]) == pytest.approx(math.sqrt(6))
    assert float(embedding_error(magnitudes(X, eye), eye)[0]) == pytest.approx(gamma(2) * math.sqrt(6), rel=1e-5, abs=0)
    # Column sums 1, 5, 1.5 and row sums 3.5, 4.
    g = math.sqrt(5 * 4)
    expected = g * (gamma(2 + 6) * math.sqrt(length) + embedded)
    assert float(row_share(squares, magnitudes(X, G), G)[0]) == pytest.approx(expected, rel=1e-5, abs=0)
    expected = 4 * 2.0**-53 * math.sqrt(6)
    assert float(row_share(squares, magnitudes(X, eye), eye)[0]) == pytest.approx(expected, rel=1e-9, abs=0)
    assert gamma(10) == pytest.approx(10 * 2.0**-53, rel=1e-12, abs=0)
    assert gamma(10) > 10 * 2.0**-53
    assert is_identity(eye)
    assert not is_identity(eye[:2])
    assert not is_identity(2 * eye)


@pytest.mark.parametrize("K", [1, 3, 5])
@pytest.mark.parametrize("name", EVENTS)
def test_outcomes_are_those_of_exact_distances_with_every_choice_among_ties(K, name):
    rng = np.random.default_rng(K)
    seen = set()
    for _ in range(60):
        n, d = int(rng.integers(K + 1, 10)), int(rng.integers(1, 3))
        X = rng.integers(-2, 3, size=(n, d)).astype(float)
        y = rng.integers(0, 3, size=n)
        x, delta = rng.integers(-2, 3, size=d) / 2.0, rng.choice([0.0, 0.5, 2.0**-60, -(2.0**-55)], size=d)
        knn = prepared(np.eye(d), X, y, K)
        label = int(rng.choice(knn.votes))
        found = outcomes(knn, x[None], delta[None], np.array([label]), name, Compute())[0]
        # x + delta as a fraction: points and x shrink to integers by a common power of two.
        exact = View.of(np.vstack([X, x + 0 * x]) * 1.0, np.eye(d), x, None)
        there = fractions(x) + fractions(delta)
        C = [sq_norm(fractions(row) - there) for row in X]
        scale = max(value.denominator for value in C)
        stands = standing(
            replace(exact, C=tuple(int(value * scale) for value in C)), knn.votes.tolist(), label, K, name
        )
        expected = Outcome.LOST if stands.lost else Outcome.TIED if stands.tied else Outcome.KEPT
        assert found == expected
        seen.add(expected)
    assert len(seen) == 3 if K > 1 or name != "predict" else len(seen) >= 2


def test_outcomes_tell_apart_what_floats_do_not():
    X, y = np.array([[0.0], [2.0]]), np.array([0, 1])
    knn = prepared(np.eye(1), X, y)
    x = np.array([[1.0]])
    for step, expected in ((0.0, Outcome.TIED), (2.0**-80, Outcome.LOST), (-(2.0**-80), Outcome.KEPT)):
        assert outcomes(knn, x, np.array([[step]]), np.array([0]), "majority", Compute())[0] == expected
    assert event.is_exact_sum(x, np.array([[2.0**-80]]), x + 2.0**-80).tolist() == [[False]]
    assert event.is_exact_sum(x, np.array([[0.5]]), x + 0.5).tolist() == [[True]]


def test_classes_behind_the_label_need_a_vote_more():
    assert handicaps(4, 1, "predict").tolist() == [0, 0, 1, 1]
    assert handicaps(4, 1, "plurality").tolist() == [0, 0, 0, 0]


def test_dyadic_numbers_are_the_floats():
    values = np.array([[1.5, -0.1], [0.0, 2.0**-300], [1e200, 3.0]])
    made = Dyadic.of(values)
    total = made.plus(Dyadic.of(np.array([0.1, 7.0])))
    apart = made.minus(Dyadic.of(np.array([0.1, 7.0])))
    for place in np.ndindex(values.shape):
        exact = Fraction(float(values[place]))
        other = Fraction([0.1, 7.0][place[1]])
        assert int(made.values[place]) * Fraction(2) ** made.exponent == exact
        assert int(total.values[place]) * Fraction(2) ** total.exponent == exact + other
        assert int(apart.values[place]) * Fraction(2) ** apart.exponent == exact - other
    back = nearest_floats(made.values, made.exponent)
    assert back.tolist() == values.tolist()
    big = np.array([3**200 + 1, -(3**200)], dtype=object)
    for value, whole in zip(nearest_floats(big, -50), big, strict=True):
        assert abs(Fraction(float(value)) - whole * Fraction(2) ** -50) <= abs(whole) * Fraction(2) ** -50 * Fraction(
            2.0**-52
        )
    G, X, x, delta = np.array([[1.0, 0.1], [0.0, 3.0]]), np.array([[1.0, 2.0], [0.1, 0.2]]), np.ones(2), np.full(2, 0.3)
    found = exact_sq_distances(Factor.of(G), X, x, delta)
    exact = [sq_norm(fractions(G) @ (fractions(row) - fractions(x) - fractions(delta))) for row in X]
    assert Fraction(found[0], found[1]) == exact[0] / exact[1]


def test_the_frame_is_where_most_points_are():
    X = np.array([[0.0, 10.0], [1.0, 11.0], [3.0, 12.0], [4.0, 14.0], [1e8, 13.0]])
    made = Frame.of(Mahalanobis.from_components(np.diag([3.0, 48.0])), X)
    assert made.origin.tolist() == [3.0, 12.0]
    assert made.unit == 2.0
    assert made.divisor == 32.0
    np.testing.assert_array_equal(made.points(X[:2]), [[-1.5, -1.0], [-1.0, -0.5]])
    assert made.at(np.ones(2)).origin.tolist() == [1.0, 1.0]
    assert (made.at(np.ones(2)).unit, made.at(np.ones(2)).divisor) == (2.0, 32.0)
    assert [power_of_two(value) for value in (0.0, 1.0, 1.9, 2.0, 0.3, 5e-324)] == [1.0, 1.0, 1.0, 2.0, 0.25, 5e-324]
    single = Frame.of(Mahalanobis.from_components(np.eye(1)), np.array([[5.0], [5.0]]))
    assert single.unit == 1.0
    mostly = np.array([[0.0]] * 5 + [[24.0]])
    assert Frame.of(Mahalanobis.from_components(np.eye(1)), mostly).unit == 16.0


def test_what_leaves_the_range_of_numbers_is_refused():
    eye = Mahalanobis.from_components(np.eye(1))
    with pytest.raises(InvalidInputError, match=r"X_train holds .*1e\+301.* at row 1, column 0; beyond 1e\+300"):
        Frame.of(eye, np.array([[0.0], [1e301]]))
    with pytest.raises(InvalidInputError, match=r"differ by 1e-295 only, and below 1.03e-289 nothing can be proven"):
        Frame.of(eye, np.array([[0.0], [1e-295], [2e-295]]))
    with pytest.raises(
        InvalidInputError, match=r"X_train holds .*1e\+130.* at row 3, column 0, more than 2.6e\+120 times"
    ):
        Frame.of(eye, np.array([[0.0], [1.0], [2.0], [1e130]]))
    Frame.of(eye, np.array([[0.0], [1.0], [2.0], [1e119]]))
    made = Frame.of(eye, np.array([[0.0], [1.0], [2.0]]))
    with pytest.raises(InvalidInputError, match=r"X holds .*-1e\+130.* at row 1"):
        made.require_reach(np.array([[0.0], [-1e130]]), "X")
    with pytest.raises(InvalidMetricError, match=r"entries from 4.94e-324 to 4; sizes so different"):
        replace(made, divisor=4.0).metric(Mahalanobis.from_components(np.array([[4.0, 5e-324]])))


def test_points_at_a_time_and_progress():
    assert Compute(memory_budget=8 * 100 * 3 * 7).rows(100, 3) == 7
    assert Compute(memory_budget=1).rows(100, 3) == 1
    assert Compute().rows(1, 1) == 256
    told = []
    Compute(progress=told.append).advance(3)
    Compute(progress=told.append).advance(0)
    Compute().advance(3)
    assert told == [3]
    chunks = [(label, chunk.tolist()) for label, chunk in class_chunks(np.array([1, 0, 1, 1, -1]), 2)]
    assert sorted(chunks) == [(-1, [4]), (0, [1]), (1, [0, 2]), (1, [3])]


def test_labels_and_classes():
    knn = prepared(np.eye(1), np.array([[0.0], [1.0], [2.0]]), np.array([7, 3, 7]), 3)
    assert knn.class_numbers(np.array([3, 7, 5, 9, 0])).tolist() == [0, 1, -1, -1, -1]
    assert knn.votes.tolist() == [1, 0, 1]
    assert knn.k == 2
    assert knn.differences(np.array([0.5]), np.array([2, 0])).ravel().tolist() == [1.5, -0.5]
    assert knn.differences_from(np.array([[0.5], [1.5]]), np.array([2, 0])).ravel().tolist() == [1.5, -1.5]


def test_the_nearest_are_told_apart_by_differences():
    far = 1e8
    X = np.array([[far], [far + 1.0], [far + 3.0], [0.0], [0.5], [1.0], [-1.0], [0.25]])
    knn = prepared(np.eye(1), X, np.arange(8) % 2, 1)
    points = np.array([[far + 0.5 - 2.0**-20], [far + 0.5 + 2.0**-20], [far + 2.5], [0.4]])
    found = nearest.nearest(knn, points, Compute())
    assert found[:, 0].tolist() == [0, 1, 2, 4]
    # Ties go to the smaller index.
    assert nearest.nearest(knn, np.array([[far + 0.5]]), Compute())[0, 0] == 0
    three = prepared(np.eye(1), X, np.arange(8) % 2, 3)
    assert sorted(nearest.nearest(three, np.array([[far + 0.6]]), Compute())[0].tolist()) == [0, 1, 2]
    seen = nearest.near(knn, np.array([[far + 0.5], [0.4]]), Compute())
    assert {i: sorted(some.tolist()) for i, some in seen.doubtful.items()} == {0: [0, 1]}
    assert seen.indices[1].tolist() == [4]
    # A blur of 0.05 leaves both neighbours of 0.4 possible, one of 0.01 does not.
    for blur, expected in ((0.05, {0: [4, 7]}), (0.01, {})):
        seen = nearest.near(knn, np.array([[0.4]]), Compute(), np.array([[blur]]))
        assert {i: sorted(some.tolist()) for i, some in seen.doubtful.items()} == expected
        assert seen.indices[0, 0] in (4, 7)


def test_many_points_are_looked_at_a_few_at_a_time():
    rng = np.random.default_rng(3)
    X, points = rng.normal(size=(12, 2)), rng.normal(size=(9, 2))
    knn = prepared(np.eye(2), X, np.arange(12) % 2, 3)
    few = Compute(memory_budget=8 * 12 * 3 * 2)
    assert few.rows(12, 3) == 2
    expected = [sorted(np.argsort(((X - x) ** 2).sum(axis=1))[:3].tolist()) for x in points]
    for blur in (None, np.full(points.shape, 1e-12)):
        seen = nearest.near(knn, points, few, blur)
        assert [sorted(some) for some in seen.indices.tolist()] == expected
        assert not seen.doubtful
    assert [sorted(some) for some in nearest.nearest(knn, points, few).tolist()] == expected
    # One of all training points: nothing is farther than the K nearest.
    small = prepared(np.eye(2), X[:3], np.arange(3) % 2, 3)
    assert sorted(nearest.near(small, points[:1], few).indices[0].tolist()) == [0, 1, 2]


def test_points_of_a_tight_group_are_seen_from_it():
    """What counts is the rounding beside the K-th nearest distance, not by itself."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(30, 2))
    X[20:] = 1e3 + 1e-3 * rng.normal(size=(10, 2))
    knn = prepared(np.eye(2), X, np.arange(30) % 2, 3)
    seen = list(sights(knn, X[20:21] + 1e-4, knn.train.classes[0]))
    assert len(seen) == 1
    assert seen[0].train is not knn.train
    seen = list(sights(knn, X[:1] + 0.1, knn.train.classes[0]))
    assert seen[0].train is knn.train


def test_every_point_is_seen_from_where_it_is_seen_clearly():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 2))
    X[14:] += 1e7
    points = np.array([X[0] + 0.1, X[15] + 0.1, X[1] + 0.1, X[16] - 0.1])
    knn = prepared(np.eye(2), X, np.arange(20) % 2, 3)
    own = knn.train.classes[0]
    positions = []
    for sight in sights(knn, points, own):
        positions.extend(sight.positions.tolist())
        assert (sight.train is knn.train) == bool((sight.positions % 2 == 0).all())
        for q, t in enumerate(sight.positions):
            exact = ((X[knn.train.order] - points[t]) ** 2).sum(axis=1) / knn.frame.unit**2
            near = exact < 1e3
            np.testing.assert_allclose(sight.C[q].numpy()[near], exact[near], rtol=1e-5)
            assert float(sight.share[q]) <= 1e-7 * np.sort(exact)[2]
    assert sorted(positions) == [0, 1, 2, 3]


def test_norms_are_rounded_up_at_any_scale():
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-200, 1e200):
        for _ in range(50):
            delta = scale * rng.normal(size=5)
            assert Fraction(norm(delta)) ** 2 >= sq_norm(fractions(delta))
            assert norm(delta) == pytest.approx(scale * float(np.linalg.norm(delta / scale)), rel=1e-14)
    assert norm(np.zeros(3)) == 0.0


def test_perturbations_can_be_added_and_stay_inside():
    rng = np.random.default_rng(1)
    for _ in range(50):
        x, delta, unit = 100 * rng.normal(size=4), rng.normal(size=4), 4.0
        room = rng.random((2, 4))
        found = addable(x, delta, room, unit)
        assert ((-room[0] <= found) & (found <= room[1])).all()
        np.testing.assert_allclose(found, np.clip(delta, -room[0], room[1]), atol=1e-13)
        free = addable(x, delta, np.full((2, 4), np.inf), unit)
        there = x + free * unit
        assert (there - x == free * unit).all()
    assert frame.REACH == 2.0**400


def test_attacks_are_confirmed_within_their_own_room():
    X, y = np.array([[0.0, 0.0], [2.0, 0.0]]), np.array([4, 7])
    knn = MahalanobisKNN(1).fit(X, y)
    points = np.array([[0.25, 0.0], [0.25, 0.5], [0.25, 0.0], [1.5, 0.0], [0.25, 0.0]])
    labels = np.array([0, 0, 0, 1, 0])
    deltas = np.array([[0.75, 0.0], [0.8, -0.1], [0.7, 0.1], [-0.5, 0.0], [0.0, 0.0]])

    def tried(box, event="majority"):
        return confirmed(knn, knn.fitted_, event, points, labels, deltas, box)

    found, norms = tried(None)
    assert norms[[0, 1, 3]] == pytest.approx([0.75, np.hypot(0.8, 0.1), 0.5], rel=1e-14)
    assert np.isinf(norms[[2, 4]]).all()
    assert not found[[2, 4]].any()
    assert (points + found)[[0, 1, 3], 0] == pytest.approx([1.0, 1.05, 1.0])
    # In a box up to 0.99 the first two do not get there; the fourth comes from outside and may.
    found, norms = tried((-1.0, 0.99))
    assert np.isinf(norms[[0, 1, 2, 4]]).all()
    assert norms[3] == pytest.approx(0.5, rel=1e-14)
    found, norms = tried((-0.05, 2.0))
    assert norms[1] == pytest.approx(np.hypot(0.8, 0.1), rel=1e-14)
    found, norms = tried((0.0, 1.01))
    assert (points + found <= np.maximum(1.01, points)).all()
    assert norms[0] == pytest.approx(0.75, rel=1e-14)
    # At the tie itself the classifier still says 4, so there the first is kept and the fourth lost.
    assert holds(knn, knn.fitted_, "majority", points, labels, deltas).tolist() == [False, True, False, True, False]
