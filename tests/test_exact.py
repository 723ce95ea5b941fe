"""Exact radii for K > 1 through the public face."""

import numpy as np
import pytest

from arml import MahalanobisKNN, recheck
from arml.classifier.event import EVENTS
from arml.inputs import InvalidInputError
from arml.radii import SandwichError, SearchedBounds, Status


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(11)
    y = rng.integers(0, 4, 300)
    X = rng.normal(size=(300, 3)) + np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 2]])[y]
    G = rng.normal(size=(3, 3))
    points = rng.normal(size=(40, 3)) + 0.7
    labels = MahalanobisKNN(n_neighbors=7, metric=G.T @ G).fit(X, y).predict(points)
    labels[:6] = (labels[:6] + 1) % 4
    return X, y, G.T @ G, points, labels


@pytest.fixture(scope="module")
def knn(problem):
    X, y, M, _, _ = problem
    return MahalanobisKNN(n_neighbors=7, metric=M).fit(X, y)


@pytest.fixture(scope="module")
def results(knn, problem):
    return {event: knn.exact_radius(problem[3], problem[4], event=event) for event in EVENTS}


def test_radii_are_exact_between_theorem_1_and_the_attack(knn, problem, results):
    points, labels = problem[3:]
    certified, attacked = knn.certified_radius(points, labels), knn.attacked_radius(points, labels)
    for event, found in results.items():
        assert isinstance(found, SearchedBounds)
        assert set(found.status) <= {Status.EXACT.value, Status.MISCLASSIFIED.value, Status.TIED.value}
        assert (found.upper[found.status == Status.TIED.value] == 0).all()
        assert (found.gap <= 1e-6).all()
        # A billionth is left to whoever checks the result.
        assert (found.lower >= certified.lower * (1 - 1e-9)).all()
        assert (found.upper <= (attacked.majority if event == "majority" else attacked.upper)).all()
        np.testing.assert_allclose(np.linalg.norm(found.perturbation, axis=1), found.upper, rtol=1e-12)
        right = knn.predict(points) == labels
        assert (found.upper[~right] == 0).all()
        assert (found.nodes[right & (found.upper > 0)] > 0).all()
        assert (found.status == Status.EXACT.value).sum() > 10


def test_perturbations_do_what_their_event_says(knn, problem, results):
    points, labels = problem[3:]
    votes = knn.votes(points + results["majority"].perturbation)[np.arange(40), labels]
    assert (votes[results["majority"].upper > 0] < 4).all()
    votes = knn.votes(points + results["plurality"].perturbation)
    of_label = votes[np.arange(40), labels]
    votes[np.arange(40), labels] = -1
    assert (votes.max(axis=1) >= of_label).all()
    assert (knn.predict(points + results["predict"].perturbation) != labels).all()


def test_the_majority_is_lost_no_later_than_the_vote_and_the_vote_no_later_than_the_answer(knn, problem, results):
    majority, vote, answer = (results[event] for event in EVENTS)
    for before, after in ((majority, vote), (vote, answer)):
        assert (before.lower <= after.upper * (1 + 1e-9)).all()
        assert (before.upper < after.lower * (1 - 1e-6)).any(), "four classes, yet no point tells the events apart"
    without = (knn.votes(problem[3])[np.arange(40), problem[4]] < 4) & (vote.upper > 0)
    assert (majority.upper[without] == 0).all()
    assert set(majority.status[without]) <= {Status.EXACT.value}


def test_two_classes_make_no_difference_between_the_events(problem):
    X, y, M, points, _ = problem
    knn = MahalanobisKNN(n_neighbors=5, metric=M).fit(X, y % 2)
    labels = knn.predict(points)
    majority, vote, answer = (knn.exact_radius(points, labels, event=event) for event in EVENTS)
    np.testing.assert_allclose(majority.upper, vote.upper, rtol=1e-6)
    np.testing.assert_allclose(majority.upper, answer.upper, rtol=1e-6)


def test_results_do_not_depend_on_company_or_repetition(knn, problem, results):
    points, labels = problem[3:]
    alone = knn.exact_radius(points[5:9], labels[5:9])
    np.testing.assert_allclose(alone.lower, results["plurality"].lower[5:9], rtol=1e-9)
    again = knn.exact_radius(points, labels)
    np.testing.assert_array_equal(again.lower, results["plurality"].lower)
    np.testing.assert_array_equal(again.perturbation, results["plurality"].perturbation)


@pytest.mark.parametrize("event", EVENTS)
def test_scale_and_place_of_the_data_do_not_matter(problem, results, event):
    X, y, M, points, labels = problem
    moved = MahalanobisKNN(n_neighbors=7, metric=1e5 * M).fit(1e-3 * X + 50.0, y)
    found = moved.exact_radius(1e-3 * points + 50.0, labels, event=event)
    np.testing.assert_allclose(1e3 * found.upper, results[event].upper, rtol=1e-5)
    np.testing.assert_allclose(1e3 * found.lower, results[event].lower, rtol=1e-5)


def test_a_stopped_search_keeps_its_bounds(knn, problem, results):
    points, labels = problem[3:]
    for options in ({"max_nodes": 2}, {"time_limit": 1e-9}):
        found = knn.exact_radius(points, labels, **options)
        exact = results["plurality"]
        assert (found.lower <= exact.upper).all()
        assert (found.upper >= exact.lower).all()
        assert (found.lower >= knn.certified_radius(points, labels).lower * (1 - 1e-9)).all()
    stopped = knn.exact_radius(points, labels, max_nodes=2)
    assert (stopped.status == Status.TIME_LIMIT.value).any()


def test_a_tie_at_the_point_itself_is_a_radius_of_zero():
    # Label 0 is at distances 1, 1, 2 and label 1 at 1, 2, 3: with K = 3 the second of either may be as near.
    X = np.array([[1.0, 0.0], [-2.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, -2.0], [0.0, 9.0]])
    y = np.array([0, 0, 0, 1, 1, 1])
    knn = MahalanobisKNN(n_neighbors=3).fit(X, y)
    label = knn.predict(np.zeros((1, 2)))
    for event in EVENTS:
        found = knn.exact_radius(np.zeros((1, 2)), label, event=event, proofs=True)
        assert (found.lower[0], found.upper[0], found.status[0]) == (0.0, 0.0, Status.TIED.value)
        assert recheck(knn, np.zeros((1, 2)), label, found)


def test_names_of_many_classes_do_not_matter():
    rng = np.random.default_rng(10)
    n_classes = 300
    y = np.repeat(np.arange(n_classes), 2)
    X = rng.normal(size=(len(y), 2))
    points = rng.normal(size=(6, 2))
    results = []
    for names in (np.arange(n_classes), rng.permutation(n_classes)):
        knn = MahalanobisKNN(n_neighbors=5).fit(X, names[y])
        own = y[np.argmin(((points[:, None] - X) ** 2).sum(axis=2), axis=1)]
        right = knn.predict(points) == names[own]
        found = knn.exact_radius(points, names[own])
        results.append(np.where(right, found.upper, np.nan))
    same = np.isfinite(results[0]) & np.isfinite(results[1])
    np.testing.assert_allclose(results[0][same], results[1][same], rtol=1e-6)


@pytest.mark.parametrize("K", [3, 5])
def test_where_no_attack_exists_the_bound_is_far_out_and_nothing_is_called_exact(K):
    # On a line every point of label 1 has two of label 0 beside it: the majority is never lost.
    X = np.arange(60.0)[:, None]
    y = (np.arange(60) % 3 == 2).astype(int) if K == 3 else (np.arange(60) % 4 == 3).astype(int)
    knn = MahalanobisKNN(n_neighbors=K).fit(X, y)
    found = knn.exact_radius(X[20:24] + 0.1, knn.predict(X[20:24] + 0.1), proofs=True)
    never = np.isinf(found.upper)
    assert never.any()
    assert set(found.status[never]) == {Status.BOUNDED.value}
    assert (found.lower[never] > 1e4).all()
    assert recheck(knn, X[20:24] + 0.1, knn.predict(X[20:24] + 0.1), found)


@pytest.mark.parametrize("seed", range(6))
def test_a_near_duplicate_is_not_taken_for_a_tie(seed):
    """Points of two classes a hair apart: a reported perturbation must change the votes, or be off by a hair itself."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(10, 2))
    X[5:] = X[:5] + 1e-13 * rng.normal(size=(5, 2))
    y = np.r_[np.zeros(5, dtype=int), np.ones(5, dtype=int)]
    knn = MahalanobisKNN(n_neighbors=3).fit(X, y)
    points = rng.normal(size=(8, 2))
    labels = knn.predict(points)
    found = knn.exact_radius(points, labels)
    shown = np.isfinite(found.upper) & (found.upper > 0)
    stretched = points + (1 + 1e-6) * found.perturbation
    votes = np.minimum(
        knn.votes(stretched)[np.arange(8), labels], knn.votes(points + found.perturbation)[np.arange(8), labels]
    )
    assert (votes[shown] < 2).all()


def test_a_wide_gap_is_closed_sooner(knn, problem, results):
    found = knn.exact_radius(problem[3], problem[4], gap=0.2)
    assert found.nodes.sum() < results["plurality"].nodes.sum()
    assert (found.gap <= 0.2).all()


def test_progress_counts_every_point_once(knn, problem):
    seen = []
    knn.exact_radius(problem[3], problem[4], progress=seen.append)
    assert sum(seen) == 40


def test_classes_without_enough_points(problem):
    X, _, _, points, _ = problem
    y = np.zeros(300, dtype=np.int64)
    y[:2] = 1
    knn = MahalanobisKNN(n_neighbors=5).fit(X, y)
    found = knn.exact_radius(points[:3], np.zeros(3, dtype=np.int64), event="majority")
    assert np.isinf(found.lower).all()
    assert set(found.status) == {Status.UNREACHABLE.value}
    few = knn.exact_radius(X[:2] + 1e-3, np.ones(2, dtype=np.int64), event="majority")
    assert (few.upper == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event": "unanimity"}, "unknown event 'unanimity'; there are: majority, plurality, predict"),
        ({"gap": 1.0}, "gap must be at least 0 and below 1"),
        ({"gap": float("nan")}, "gap must be"),
        ({"time_limit": 0}, "time_limit must be a positive number"),
        ({"max_nodes": 0}, "max_nodes must be a positive integer"),
        ({"max_nodes": 2.5}, "max_nodes must be a positive integer"),
    ],
)
def test_impossible_options_are_refused(knn, problem, options, message):
    with pytest.raises(InvalidInputError, match=message):
        knn.exact_radius(problem[3], problem[4], **options)


def test_a_proof_above_an_attack_stops_everything(knn, problem, monkeypatch):
    from arml import exact

    search = exact.search_radii

    def boasting(*given, **options):
        found = search(*given, **options)
        found.lower[:] *= 1.5
        return found

    monkeypatch.setattr(exact, "search_radii", boasting)
    with pytest.raises(SandwichError, match="shorter than the proven bound"):
        knn.exact_radius(problem[3], problem[4])
