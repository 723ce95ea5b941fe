import numpy as np
import pytest
import torch

from arml.attacks import decision_based as module
from arml.attacks.decision_based import decision_based
from arml.geometry import as_mahalanobis
from arml.neighbors import MahalanobisKNN

NAMES = ["boundary", "hopskipjump"]
STEPS = {"boundary": 150, "hopskipjump": 4}


def problem(K=3, seed=0, d=4, classes=3):
    """A classifier of noisy stripes in the unit cube, and test points with its own labels."""
    rng = np.random.default_rng(seed)
    X = rng.random((250, d))
    y = np.minimum((X[:, 0] + rng.normal(scale=0.03, size=250)).clip(0) * classes, classes - 1).astype(int)
    G = np.diag(rng.uniform(0.5, 2, size=d))
    knn = MahalanobisKNN(K, metric=G.T @ G).fit(X, y)
    points = rng.random((12, d))
    return knn, points, knn.predict(points)


def attack(name, knn, X, y, **options):
    options = {"steps": STEPS.get(name)} | options
    options.setdefault("predict", knn.predict)
    return decision_based(name, knn.metric_, knn.X_train_, knn.y_train_, knn.n_neighbors, X, y, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("K", [1, 5])
def test_every_perturbation_changes_the_answer_and_stays_in_the_box(name, K):
    knn, X, y = problem(K)
    result = attack(name, knn, X, y)
    moved = X + result.perturbation
    assert np.isfinite(result.radius).all()
    assert (knn.predict(moved) != y).all()
    assert moved.min() >= -1e-12
    assert moved.max() <= 1 + 1e-12
    np.testing.assert_allclose(result.radius, np.linalg.norm(result.perturbation, axis=1))
    assert result.notes == ()


@pytest.mark.parametrize("name", NAMES)
def test_attacks_come_close_to_the_exact_radius_and_never_below(name):
    knn, X, y = (part[:6] if isinstance(part, np.ndarray) else part for part in problem(K=1))
    exact = knn.exact_radius(X, y, box=(0.0, 1.0))
    radius = attack(name, knn, X, y, steps={"boundary": 1000, "hopskipjump": 12}[name]).radius
    assert (radius >= exact.lower * (1 - 1e-9)).all()
    assert np.median(radius / exact.upper) < 1.25


@pytest.mark.parametrize("name", NAMES)
def test_attacks_are_deterministic_under_a_seed_and_leave_the_global_generators_alone(name):
    knn, X, y = problem()
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002  (the global generator is what must not be touched)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  (as above)
    first, again = attack(name, knn, X, y, seed=7), attack(name, knn, X, y, seed=7)
    other = attack(name, knn, X, y, seed=8)
    assert torch.equal(before[0], torch.random.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002  (as above)
    np.testing.assert_array_equal(first.perturbation, again.perturbation)
    assert (first.radius != other.radius).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_point_fares_alone_as_in_company(name, monkeypatch):
    """Up to rounding, which a short attack does not yet amplify."""
    knn, X, y = problem()
    steps = {"boundary": 40, "hopskipjump": 2}[name]
    together = attack(name, knn, X, y, steps=steps)
    alone = [attack(name, knn, X[i : i + 1], y[i : i + 1], steps=steps) for i in range(len(X))]
    np.testing.assert_allclose([r.radius[0] for r in alone], together.radius, rtol=1e-4)
    monkeypatch.setattr(module, "BATCH", 5)
    np.testing.assert_allclose(attack(name, knn, X, y, steps=steps).radius, together.radius, rtol=1e-4)


def test_queries_are_counted_per_point():
    knn, X, y = problem()
    assert set(attack("boundary", knn, X, y, steps=100).queries) == {1 + 100 + 10}
    gradients = 100 + 141
    queries = attack("hopskipjump", knn, X, y, steps=2).queries
    assert ((queries > gradients) & (queries < gradients + 100)).all()


@pytest.mark.parametrize("name", NAMES)
def test_misclassified_points_have_radius_zero_and_harm_nobody(name):
    knn, X, y = problem()
    labels = y.copy()
    labels[[2, 5]] = (labels[[2, 5]] + 1) % 3
    result = attack(name, knn, X, labels)
    np.testing.assert_array_equal(result.radius[[2, 5]], 0.0)
    np.testing.assert_array_equal(result.perturbation[[2, 5]], 0.0)
    np.testing.assert_array_equal(result.queries == 0, labels != y)
    np.testing.assert_allclose(np.delete(result.radius, [2, 5]), np.delete(attack(name, knn, X, y).radius, [2, 5]), 0.2)


@pytest.mark.parametrize("name", NAMES)
def test_points_outside_the_box_are_measured_from_where_they_are(name):
    knn, X, _ = problem()
    X[:, 1] += np.where(X[:, 0] > 0.5, 1.5, -1.5)
    y = knn.predict(X)
    result = attack(name, knn, X, y)
    moved = X + result.perturbation
    assert moved.min() >= -1e-12
    assert moved.max() <= 1 + 1e-12
    assert (knn.predict(moved) != y).all()
    outside = np.linalg.norm(X - X.clip(0, 1), axis=1)
    assert (result.radius >= outside).all()


def test_a_point_that_the_box_alone_changes_needs_no_attack():
    X_train = np.array([[0.0], [0.5], [0.9], [3.0]])
    knn = MahalanobisKNN(1).fit(X_train, np.array([0, 0, 1, 2]))
    result = attack("boundary", knn, np.array([[2.5]]), np.array([2]))
    np.testing.assert_allclose(result.perturbation, [[-1.5]])
    np.testing.assert_allclose(result.radius, [1.5])
    np.testing.assert_array_equal(result.queries, [0])


def test_a_point_without_a_starting_point_fails_alone():
    """The only point of class 1 lies outside the box, so class 0 has nowhere to start from."""
    X_train = np.array([[0.2, 0.5], [0.3, 0.5], [0.4, 0.5], [1.5, 0.5]])
    knn = MahalanobisKNN(1).fit(X_train, np.array([0, 0, 0, 1]))
    X, y = np.array([[0.25, 0.5], [0.97, 0.5]]), np.array([0, 1])
    result = attack("boundary", knn, X, y, steps=600)
    assert knn.predict(X).tolist() == [0, 1]
    assert np.isinf(result.radius[0])
    np.testing.assert_array_equal(result.perturbation[0], 0.0)
    assert 0.02 < result.radius[1] < 0.1
    assert result.notes == ("1 points without a starting point",)


def test_starting_points_may_carry_the_label_that_the_classifier_denies_them():
    """Nothing but a mislabelled point of class 0 is answered 1 inside the box."""
    X_train = np.array([[0.1], [0.2], [0.3], [0.9], [1.1], [1.12]])
    knn = MahalanobisKNN(3).fit(X_train, np.array([0, 0, 0, 0, 1, 1]))
    assert knn.predict(X_train[3:4]) == 1
    result = attack("boundary", knn, np.array([[0.2]]), np.array([0]))
    assert 0 < result.radius[0] <= 0.7


@pytest.mark.parametrize("name", NAMES)
def test_results_that_the_classifier_does_not_confirm_do_not_count(name):
    knn, X, y = problem()
    inside = {row.tobytes() for row in knn.X_train_.astype(np.float32).astype(np.float64)}

    def predict(points):
        """Confirms starting points, but nothing that an attack finds between them."""
        known = np.array([row.tobytes() in inside for row in points], dtype=bool)
        stubborn = np.where(known, -1, y[0])
        return np.where(known & (knn.predict(points) != y[0]), stubborn, y[0])

    result = attack(name, knn, X[:1], y[:1], predict=predict)
    assert np.isinf(result.radius).all()
    np.testing.assert_array_equal(result.perturbation, 0.0)
    assert result.notes == ("1 points whose result the classifier did not confirm",)


def test_a_result_lost_to_rounding_is_pushed_over_the_boundary():
    def predict(points):
        return (points[:, 0] > 0.5).astype(np.int64)

    origins, y = np.array([[0.1, 0.0], [0.1, 0.0]]), np.zeros(2, dtype=np.int64)
    ends = np.array([[0.5 - 1e-7, 0.0], [0.4, 0.0]])
    points, holds = module._verified(ends, origins, y, predict, (0.0, 1.0))
    np.testing.assert_array_equal(holds, [True, False])
    assert 0.5 < points[0, 0] < 0.5 + 1e-6


def test_duplicates_with_two_labels_and_grids_full_of_ties_are_survived():
    rng = np.random.default_rng(3)
    X = rng.integers(0, 3, size=(200, 5)) / 2.0
    y = (X.sum(1) > 2.5).astype(int) ^ (rng.random(200) < 0.05)
    knn = MahalanobisKNN(5).fit(X, y)
    points = rng.integers(0, 3, size=(30, 5)) / 2.0
    for name in NAMES:
        labels = knn.predict(points)
        result = attack(name, knn, points, labels)
        done = np.isfinite(result.radius)
        assert done.mean() > 0.9
        assert (knn.predict((points + result.perturbation)[done]) != labels[done]).all()


@pytest.mark.parametrize("name", NAMES)
def test_progress_adds_up_to_the_number_of_points(name):
    knn, X, y = problem()
    y[0] = (y[0] + 1) % 3
    reported = []
    attack(name, knn, X, y, progress=reported.append)
    assert sum(reported) == len(X)
    assert len(reported) > 3
    assert min(reported) > 0


def test_no_points_at_all_are_no_trouble():
    knn, X, y = problem()
    result = attack("boundary", knn, X[:0], y[:0])
    assert result.radius.shape == (0,)
    assert result.perturbation.shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pointwise", {"steps": 3}, "unknown attack 'pointwise'; known are boundary, hopskipjump"),
        ("boundary", {"steps": 0}, "steps=0 must be at least 1"),
        ("boundary", {"box": (1.0, 0.0)}, "empty"),
        ("hopskipjump", {"box": (0.0, 2.0)}, "cannot work in the box"),
        ("boundary", {"start": "zero"}, "unknown start 'zero'; known are training, noise"),
    ],
)
def test_what_cannot_be_done_is_refused(name, options, message):
    knn, X, y = problem()
    with pytest.raises(ValueError, match=message):
        attack(name, knn, X, y, **options)


def test_the_boundary_attack_takes_another_box():
    knn, X, y = problem()
    wide = MahalanobisKNN(3, metric=knn.metric_).fit(6 * knn.X_train_ - 3, knn.y_train_)
    result = attack("boundary", wide, 6 * X - 3, y, box=(-3.0, 3.0))
    assert (wide.predict(6 * X - 3 + result.perturbation) != y).all()


def test_the_default_number_of_steps_is_foolboxs(monkeypatch):
    seen = []
    monkeypatch.setattr(
        module, "_attack", lambda name, steps, model, origins, begin, *rest: (seen.append((name, steps)), (begin, 1))[1]
    )
    knn, X, y = problem()
    for name in NAMES:
        decision_based(name, as_mahalanobis(knn.metric_, 4), knn.X_train_, knn.y_train_, 3, X, y, predict=knn.predict)
    assert seen == [("boundary", 25_000), ("hopskipjump", 64)]


@pytest.mark.parametrize("name", NAMES)
def test_starting_from_noise_repeats_and_is_verified_too(name):
    knn, X, y = problem()
    first, again = attack(name, knn, X, y, start="noise"), attack(name, knn, X, y, start="noise")
    np.testing.assert_array_equal(first.perturbation, again.perturbation)
    assert (knn.predict(X + first.perturbation) != y).all()
    assert not np.array_equal(first.radius, attack(name, knn, X, y).radius)


def test_a_point_that_no_noise_takes_away_starts_from_training():
    # All but a corner of the cube is answered 0, and 1,000 draws do not hit that corner.
    X = np.concatenate([np.full((3, 8), 0.5), np.full((3, 8), 0.999)])
    knn = MahalanobisKNN(1).fit(X + np.arange(6)[:, None] * 1e-5, np.repeat([0, 1], 3))
    point = np.full((1, 8), 0.5)
    result = attack("boundary", knn, point, np.array([0]), start="noise")
    assert knn.predict(point + result.perturbation)[0] == 1
