from types import SimpleNamespace

import numpy as np
import pytest

import arml.attacks.run as module
from arml.attacks import AttackResult, run_attack, sandwich
from arml.neighbors import MahalanobisKNN
from arml.radii import RadiusBounds, SandwichError, Status


def certified(lower, wrong=()):
    lower = np.array(lower, dtype=float)
    status = np.full(len(lower), Status.BOUNDED.value, dtype="<U13")
    status[list(wrong)] = Status.MISCLASSIFIED.value
    return RadiusBounds(lower, np.where(status == Status.BOUNDED.value, np.inf, 0.0), status)


def attack_result(radius, majority_radius=None, **fields):
    radius = np.array(radius, dtype=float)
    perturbation = np.stack([np.where(np.isinf(radius), 0, radius), np.zeros(len(radius))], axis=1)
    majority = None if majority_radius is None else np.array(majority_radius, dtype=float)
    return AttackResult(perturbation, radius, np.full(len(radius), 7), majority_radius=majority, **fields)


def test_the_two_sides_are_put_together():
    bounds = sandwich(
        certified([0.5, 0.0, 0.2, np.inf], wrong=[1]),
        np.array([0, 2, 3]),
        attack_result([0.75, np.inf, np.inf], [0.6, 0.3, np.inf], notes=("a remark",)),
    )
    np.testing.assert_array_equal(bounds.lower, [0.5, 0, 0.2, np.inf])
    np.testing.assert_array_equal(bounds.majority, [0.6, 0, 0.3, np.inf])
    np.testing.assert_array_equal(bounds.upper, [0.75, 0, np.inf, np.inf])
    np.testing.assert_array_equal(bounds.queries, [7, 0, 7, 7])
    np.testing.assert_array_equal(bounds.perturbation, [[0.75, 0], [0, 0], [0, 0], [0, 0]])
    assert bounds.notes == ("a remark",)


def test_an_attack_that_did_not_look_for_the_majority_found_it_lost_with_the_vote():
    bounds = sandwich(certified([0.5]), np.array([0]), attack_result([0.75]))
    assert bounds.majority[0] == 0.75


@pytest.mark.parametrize(
    ("radius", "majority", "number"),
    [([0.9, 0.4999], None, "0.4999"), ([0.9, 0.8], [0.9, 0.25], "0.25"), ([0.9, 0.0], None, "0.0")],
)
def test_a_perturbation_below_what_is_proven_is_reported_with_its_numbers(radius, majority, number):
    with pytest.raises(SandwichError, match=rf"point 2: .*norm .*{number}\)?, .*proven\s+bound .*0\.5\)?;"):
        sandwich(certified([0.0, 0.7, 0.5], wrong=[0]), np.array([1, 2]), attack_result(radius, majority))


def test_rounding_between_the_two_sides_is_forgiven_and_the_proven_side_gives_way():
    bounds = sandwich(certified([0.5 * (1 + 1e-12)]), np.array([0]), attack_result([0.5]))
    assert bounds.lower[0] == bounds.upper[0] == 0.5


def test_a_forged_bound_stops_the_whole_attack(monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 2
    knn = MahalanobisKNN(3).fit(X, y)
    labels = knn.predict(X)
    true = knn.certified_radius(X, labels)
    forged = true.lower.copy()
    victim = int(np.argmax(forged))
    forged[victim] *= 100
    monkeypatch.setattr(
        MahalanobisKNN,
        "_certified",
        lambda *_: (RadiusBounds(forged, true.upper, true.status), np.full((60, 1), -1)),
    )
    with pytest.raises(SandwichError, match=f"point {victim}: "):
        knn.attacked_radius(X, labels)


@pytest.fixture
def line():
    """One point of each class at 0 and 1: the answer changes at 0.5."""
    return MahalanobisKNN(1).fit(np.array([[0.0], [1.0]]), [0, 1])


def run_forged(monkeypatch, knn, X, perturbation, majority=None, box=None):
    """What is believed of an attack that claims these perturbations."""
    perturbation = np.array(perturbation, dtype=float)
    majority = None if majority is None else np.array(majority, dtype=float)
    claimed = AttackResult(
        perturbation, np.linalg.norm(perturbation, axis=1), np.zeros(len(X), dtype=np.int64), majority=majority
    )
    monkeypatch.setattr(module, "local_search", lambda *_, **__: claimed)
    X = np.array(X, dtype=float)
    rows = np.full((len(X), 1), -1)
    return run_attack(knn, "local_search", X, knn.predict(X), rows, box, 0, None, "training", None)


def test_only_what_the_classifier_confirms_is_believed(monkeypatch, line):
    result = run_forged(monkeypatch, line, [[0.1], [0.1], [0.9], [0.1]], [[0.5], [0.3], [-0.41], [0.0]])
    np.testing.assert_allclose(result.radius, [0.5, np.inf, 0.41, np.inf])
    np.testing.assert_array_equal(result.perturbation, [[0.5], [0.0], [-0.41], [0.0]])
    assert result.notes == ("1 perturbations were not confirmed by the classifier",)


def test_a_perturbation_short_by_rounding_is_lengthened_until_it_works(monkeypatch, line):
    result = run_forged(monkeypatch, line, [[0.25], [0.25]], [[0.25 * (1 - 1e-8)], [0.25 * (1 - 1e-3)]])
    assert 0.25 < result.radius[0] <= 0.25 * (1 + 1e-6)
    assert line.predict([[0.25] + result.perturbation[0]])[0] == 1
    assert np.isinf(result.radius[1])


def test_lengthening_does_not_leave_the_box(monkeypatch, line):
    # At 0.5, the edge of the first box, there is a tie that the label wins; just outside it would lose.
    for high, found in ((0.5, False), (0.5 + 1e-8, True)):
        result = run_forged(monkeypatch, line, [[0.25]], [[0.25]], box=(0.0, high))
        assert np.isfinite(result.radius[0]) == found
        assert 0.25 + result.perturbation[0, 0] <= high
    # A coordinate outside of the box may stay where it is.
    result = run_forged(monkeypatch, line, [[-0.25]], [[0.8]], box=(0.0, 0.6))
    assert result.radius[0] == pytest.approx(0.8)


def test_the_majority_is_counted_in_votes_and_never_lost_later_than_the_vote(monkeypatch):
    # At 0 the votes are 3, 0, 0. Past the midpoint 1.5 of -1 and 4, and 2 of 0 and 4, they are 2, 1, 0 and 1, 1, 1.
    knn = MahalanobisKNN(3).fit(np.array([[-1.0], [0.0], [1.0], [4.0], [5.0], [6.0]]), [0, 0, 0, 1, 2, 1])
    x = np.zeros((4, 1))
    np.testing.assert_array_equal(knn.votes([[2.6]]), [[1, 1, 1]])
    np.testing.assert_array_equal(knn.votes([[3.6]]), [[0, 2, 1]])
    claimed = run_forged(monkeypatch, knn, x, [[3.6], [3.6], [3.6], [0.0]], majority=[[2.6], [2.0], [4.5], [2.6]])
    # Where nothing was claimed the way to a training point changes the answer at the midpoint of 1 and 6.
    np.testing.assert_allclose(claimed.radius, [3.6, 3.6, 3.6, 3.5], rtol=1e-6)
    # Norms are rounded up.
    expected = np.array([2.6, 3.6, 3.6, 2.6])
    assert (claimed.majority_radius >= expected).all()
    np.testing.assert_allclose(claimed.majority_radius, expected, rtol=2.0**-49)


def test_the_last_resort_is_the_way_to_a_training_point_within_the_box():
    knn = MahalanobisKNN(1).fit(np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]]), [0, 1, 1])
    delta = module.toward_training_points(knn, np.zeros(2), 0, None)
    np.testing.assert_allclose(delta, [1.0, 0.0], atol=1e-6)
    assert knn.predict(delta[None])[0] == 1
    assert not module.toward_training_points(knn, np.zeros(2), 0, (0.0, 1.0)).any()


def test_a_duplicate_of_another_class_is_left_behind():
    knn = MahalanobisKNN(1).fit(np.array([[0, 0], [0, 0], [1, 0], [1, 0], [2, 0]]), [0, 1, 0, 1, 1])
    bounds = knn.attacked_radius([[0.0, 0.0]], [0])
    assert np.isfinite(bounds.upper[0])
    assert knn.predict(bounds.perturbation)[0] == 1


def test_labels_of_any_values_reach_the_attack():
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(80, 2)), np.array([-5, 3, 100])[np.arange(80) % 3]
    plain, named = MahalanobisKNN(3).fit(X, np.arange(80) % 3), MahalanobisKNN(3).fit(X, y)
    points = rng.normal(size=(10, 2))
    first = plain.attacked_radius(points, plain.predict(points))
    second = named.attacked_radius(points, named.predict(points))
    np.testing.assert_array_equal(first.upper, second.upper)
    np.testing.assert_array_equal(first.majority, second.majority)


def test_a_decision_based_attack_gets_the_unit_box_unless_another_is_given(monkeypatch, line):
    asked = []

    def decision_based(attack, *_, **options):
        asked.append((attack, options["box"], options["steps"], options["seed"]))
        return AttackResult(np.array([[0.5]]), np.array([0.5]), np.array([9]))

    monkeypatch.setitem(
        __import__("sys").modules, "arml.attacks.decision_based", SimpleNamespace(decision_based=decision_based)
    )
    bounds = line.attacked_radius([[0.1]], [0], attack="boundary", seed=3, steps=17)
    line.attacked_radius([[0.1]], [0], attack="boundary", box=(-1, 2))
    assert asked == [("boundary", (0.0, 1.0), 17, 3), ("boundary", (-1.0, 2.0), None, 0)]
    assert bounds.upper[0] == bounds.majority[0]
    assert 0.5 <= bounds.upper[0] <= 0.5 * (1 + 2.0**-49)  # norms are rounded up
    assert bounds.queries[0] == 9


def test_where_a_tie_already_makes_the_answer_wrong_nothing_is_added():
    """Of two training points that are equally far `predict` takes the first; the label is not lost in any case."""
    knn = MahalanobisKNN(3).fit(np.array([[1.0], [-1.0], [2.0], [-2.0]]), np.array([1, 0, 1, 0]))
    point = np.zeros((1, 1))
    assert knn.predict(point).tolist() == [1]
    wrong, right = (knn.attacked_radius(point, [label]) for label in (0, 1))
    assert (wrong.upper[0], wrong.majority[0], right.upper[0] > 0) == (0.0, 0.0, True)
    assert not wrong.perturbation.any()
    assert knn.predict(point + right.perturbation).tolist() == [0]
