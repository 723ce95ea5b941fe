"""The nearest training points against distances in rational arithmetic, wherever the points lie."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from arml.classifier.event import Outcome, outcomes
from arml.classifier.fitted import Compute
from arml.classifier.homes import sights
from arml.classifier.nearest import near, nearest
from arml.classifier.training_set import TrainingSet
from tests.certify.fitted import fit
from tests.certify.rationals import hostile, seen
from tests.classifier.test_rounding import fractions_of, in_units


def candidates(fitted, points, blur=None):
    """For each of the points all training points that may be among its K nearest."""
    found = near(fitted, points, Compute(), blur)
    assert all(len(some) > fitted.n_neighbors for some in found.doubtful.values())
    return [found.doubtful.get(t, found.indices[t]) for t in range(len(points))]


def layouts(seed):
    """Points with rows and groups far away: (G, X, test points)."""
    rng = np.random.default_rng(seed)
    G, X, x = hostile(seed, n=24)
    if seed % 2:
        X[-3:] += 10.0 ** rng.integers(4, 13)  # a group that is far from all others
    if seed % 3 == 0:
        X[0] = 10.0 ** rng.integers(5, 13)  # a sentinel
    if seed % 5 == 0:
        X[5:8] = X[4]
    points = np.stack([x, X[3] + 1e-9 * (X[4] - X[5]), X[-1] + (X[-2] - X[-1]) / 3, X[2]])
    return G, X, points


@pytest.mark.parametrize("K", [1, 3, 7])
@pytest.mark.parametrize("seed", range(30))
def test_candidates_hold_all_that_are_among_the_nearest_and_few_others(seed, K):
    G, X, points = layouts(seed)
    fitted = fit(G, X, np.arange(24) % 3, K)
    found = candidates(fitted, points)
    chosen = nearest(fitted, points, Compute())
    for t, x in enumerate(points):
        c = seen(G, X, x)[0]
        last = sorted(c)[K - 1]
        among = {i for i in range(24) if c[i] <= last}
        assert among <= set(found[t].tolist())
        # What is there besides is as far as the K-th nearest, up to the rounding of differences.
        room = float(last) * 1e-9 + 1e-300
        assert all(float(c[i] - last) <= room for i in found[t])
        assert len(set(chosen[t].tolist())) == K
        assert all(float(c[i] - last) <= room for i in chosen[t])
        if len(among) == K and len(found[t]) == K:
            assert set(chosen[t].tolist()) == among


@pytest.mark.parametrize("seed", range(20))
def test_candidates_of_a_blurred_point_hold_those_of_all_points_that_it_may_be(seed):
    G, X, points = layouts(seed)
    fitted = fit(G, X, np.arange(24) % 3, 3)
    rng = np.random.default_rng(seed)
    blur = np.abs(rng.normal(size=points.shape)) * 10.0 ** rng.uniform(-8, 0)
    found = candidates(fitted, points, blur)
    for t in range(len(points)):
        for _ in range(6):
            there = points[t] + blur[t] * rng.choice([-1, 0, 1], size=points.shape[1]) * (1 - 1e-6)
            if (np.abs(there - points[t]) > blur[t]).any():
                continue  # the sum's own rounding
            c = seen(G, X, there)[0]
            last = sorted(c)[2]
            assert {i for i in range(24) if c[i] <= last} <= set(found[t].tolist())


def test_of_points_at_the_same_distance_the_first_is_nearest():
    X = np.array([[2.0], [1.0], [-1.0], [1.0], [-2.0]])
    for K, expected in ((1, {1}), (3, {1, 2, 3})):
        fitted = fit(np.eye(1), X, np.arange(5) % 2, K)
        assert set(nearest(fitted, np.zeros((1, 1)), Compute())[0].tolist()) == expected


def test_chunks_change_nothing():
    G, X, points = layouts(4)
    fitted = fit(G, X, np.arange(24) % 3, 5)
    single = Compute(memory_budget=1)
    assert single.rows(24, 3) == 1
    found, again = (np.sort(nearest(fitted, points, compute), axis=1) for compute in (Compute(), single))
    np.testing.assert_array_equal(found, again)


# -- frames of their own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [1e3, 1e6, 1e8])
@pytest.mark.parametrize("K", [1, 5])
def test_test_points_are_seen_once_and_clearly_wherever_they_lie(apart, K):
    rng = np.random.default_rng(0)
    X, G = rng.normal(size=(60, 3)), rng.normal(size=(3, 3))
    X[40:] += apart
    points = np.concatenate([rng.normal(size=(5, 3)), rng.normal(size=(5, 3)) + apart])
    y = np.arange(60) % 2
    fitted = fit(G, X, y, K)
    own = fitted.train.classes[1]
    places, frames = [], 0
    for sight in sights(fitted, points, own):
        frames += 1
        places.extend(sight.positions.tolist())
        near = sight.C.topk(K, dim=1, largest=False).values[:, -1]
        assert (sight.share <= 1e-7 * near).all()
        for q, position in enumerate(sight.positions):
            exact = in_units(fitted, X[fitted.train.order], points[position])[0]
            share = fractions_of(sight.share)[q]
            for i, computed in enumerate(fractions_of(sight.C[q])):
                if own.start <= i < own.stop:
                    assert computed >= exact[i] - share
                else:
                    assert computed <= exact[i] + share
    assert sorted(places) == list(range(10))
    assert frames <= 3
    assert frames > 1 or apart < 1e6


def test_a_point_on_its_neighbours_is_seen_once_all_the_same():
    X, y = np.array([[0.0], [1.0], [1e6], [1e6]]), np.array([0, 1, 0, 1])
    fitted = fit(np.eye(1), X, y)
    found = list(sights(fitted, np.array([[1e6], [1e6]]), fitted.train.classes[0]))
    assert sorted(place for sight in found for place in sight.positions.tolist()) == [0, 1]


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("seed", range(20))
def test_a_test_points_share_at_its_worst_hides_no_candidate(seed, K, monkeypatch):
    """Distances are seen too far or too near by all of a share that is declared."""
    rng = np.random.default_rng(seed)
    X, share = rng.normal(size=(12, 2)), 10.0 ** -rng.uniform(1, 4)
    # The K nearest are as far as each other but for less than the share, and one more is.
    way = rng.normal(size=(K + 1, 2))
    X[: K + 1] = way / np.linalg.norm(way, axis=1, keepdims=True) * (0.1 + 0.4 * share * rng.random((K + 1, 1)))
    fitted = fit(np.eye(2), X, np.arange(12) % 2, K)
    x, unit = np.zeros((1, 2)), fitted.frame.unit
    exact, see, distances = np.linalg.norm(X, axis=1), TrainingSet.see, TrainingSet.sq_distances
    # Who is nearest is seen too far, all others too near.
    sign = torch.from_numpy(np.where(exact[fitted.train.order] <= exact.min(), 1.0, -1.0))
    off = share / unit**2
    full = {"dtype": torch.float64}
    monkeypatch.setattr(
        TrainingSet, "see", lambda self, X: replace(see(self, X), share=torch.full((len(X),), off, **full))
    )
    monkeypatch.setattr(TrainingSet, "sq_distances", lambda *given: distances(*given) + sign * off * (1 - 1e-9))
    found = candidates(fitted, x)[0]
    assert int(exact.argmin()) in found


@pytest.mark.parametrize("K", [1, 3, 5])
def test_the_nearest_are_those_of_the_stored_numbers_where_floats_cannot_tell(K):
    """Thirds of whole numbers: many pairs are as far apart up to the rounding of 1/3, and hardly any exactly."""
    doubts = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, points = (rng.integers(0, 4, size=(n, 6)) / 3 for n in (40, 8))
        fitted = fit(np.eye(6), X, rng.integers(0, 3, 40), K)
        found = nearest(fitted, points, Compute())
        doubts += len(near(fitted, points, Compute()).doubtful)
        for x, indices in zip(points, found, strict=True):
            distances = seen(np.eye(6), X, x)[0]
            order = sorted(range(40), key=lambda i: (distances[i], i))
            assert sorted(indices.tolist()) == sorted(order[:K])
    assert doubts > 20


@pytest.mark.parametrize("K", [1, 3])
def test_copies_fill_the_places_in_the_order_of_their_indices(K):
    X = np.array([[5.0, 0.0], *[[1 / 3, 0.0]] * 6, [1 / 3 + 2.0**-54, 0.0]])
    fitted = fit(np.eye(2), X, np.arange(8) % 2, K)
    assert sorted(nearest(fitted, np.zeros((1, 2)), Compute())[0].tolist()) == list(range(1, K + 1))


@pytest.mark.parametrize("event", ["majority", "plurality", "predict"])
def test_whoever_asks_for_the_answer_and_whether_the_label_is_lost_sees_the_same_classifier(event):
    """A label that is kept is the answer; without ties the other way round, too."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, points = (rng.integers(0, 4, size=(n, 6)) / 3 for n in (40, 8))
        fitted = fit(np.eye(6), X, rng.integers(0, 2, 40), 3)
        votes = fitted.votes[nearest(fitted, points, Compute())]
        answer = (votes.sum(axis=1) >= 2).astype(np.int64)
        for label in (0, 1):
            labels = np.full(8, label)
            found = outcomes(fitted, points, np.zeros(points.shape), labels, event, Compute())
            assert (answer[found == Outcome.KEPT] == label).all()
            assert (answer[found == Outcome.LOST] != label).all()
