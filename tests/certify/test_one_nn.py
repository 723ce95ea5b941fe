import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arml import MahalanobisKNN, recheck
from arml.radii import Status
from tests.certify.problems import BY_HAND, brute_force_radius, random_problem


def radii(M, X, y, points, labels, **options):
    knn = MahalanobisKNN(1, metric=M).fit(X, y)
    bounds = knn.exact_radius(points, labels, **options)
    report = recheck(knn, points, labels, bounds, box=options.get("box"))
    assert report, report.problems
    attacked = np.isfinite(bounds.upper) & (bounds.upper > 0)
    assert (knn.predict(points + bounds.perturbation)[attacked] != labels[attacked]).all()
    return bounds


@pytest.mark.parametrize("name", BY_HAND)
def test_radius_known_by_hand(name):
    X, y, x, label, expected = BY_HAND[name]
    bounds = radii("euclidean", np.array(X), np.array(y), np.array([x]), np.array([label]))
    assert bounds.lower[0] == pytest.approx(expected, rel=1e-9)
    assert bounds.lower[0] <= bounds.upper[0] <= bounds.lower[0] * (1 + 1e-6)
    assert (bounds.lower[0] == 0) == (expected == 0)


@pytest.mark.parametrize("seed", range(200))
def test_brute_force(seed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 6))
    rank = int(rng.integers(1, d + 1)) if seed % 2 else None  # every other metric may be singular
    M, X, y, x = random_problem(rng, n=int(rng.integers(4, 13)), d=d, classes=int(rng.integers(2, 5)), rank=rank)
    if seed % 5 == 0:
        X[-1] = X[0]  # a duplicate, often of another class
    box = (-0.8, 0.9) if seed % 4 == 0 else None
    label = int(y[0])
    bounds = radii(M, X, y, x[None], np.array([label]), box=box)
    if bounds.status[0] in (Status.MISCLASSIFIED, Status.TIED):
        distances = np.einsum("nd,de,ne->n", X - x, M, X - x)
        assert distances[y != label].min() <= distances[y == label].min() + 1e-12
        assert bounds.upper[0] == 0
        return
    expected = brute_force_radius(M, X, y, x, label, box)
    if np.isinf(expected):
        assert bounds.status[0] == Status.UNREACHABLE
        return
    # A double of a point of the class is as near as it, and never nearer: that is an attack which `predict` may hide.
    double = np.array([(point == X[y == label]).all(axis=1).any() for point in X]) & (y != label)
    seen = brute_force_radius(M, X[~double], y[~double], x, label, box) if double.any() else expected
    if seen > expected * (1 + 1e-6):
        assert bounds.status[0] == Status.BOUNDED
        assert bounds.lower[0] == pytest.approx(expected, rel=2e-6, abs=1e-8)
        assert bounds.upper[0] >= seen * (1 - 1e-6)
        return
    assert bounds.status[0] == Status.EXACT
    assert bounds.lower[0] == pytest.approx(expected, rel=2e-6, abs=1e-8)
    assert bounds.upper[0] == pytest.approx(expected, rel=2e-6, abs=1e-8)


def test_many_same_class_points_need_several_rounds_of_cuts():
    # 400 own points around a circle shield the other class far outside: the first rows cannot describe the cell.
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    own = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    X = np.concatenate([own, [[3.0, 0.1]]])
    y = np.array([0] * 400 + [1])
    x = np.array([-0.9, 0.0])
    bounds = radii("euclidean", X, y, x[None], np.array([0]))
    assert bounds.upper[0] == pytest.approx(brute_force_radius(np.eye(2), X, y, x, 0), rel=1e-6)


def test_single_training_point_of_the_class_and_box_without_solution():
    X, y = np.array([[0.2, 0.5], [3.0, 3.0]]), np.array([0, 1])
    assert radii("euclidean", X, y, X[:1], np.array([0])).status[0] == Status.EXACT
    boxed = radii("euclidean", X, y, X[:1], np.array([0]), box=(0.0, 1.0))
    assert boxed.status[0] == Status.UNREACHABLE
    assert np.isinf(boxed.lower[0])
    assert not boxed.perturbation[0].any()


def test_zero_metric_ties_everything():
    X, y = np.array([[0.0], [1.0]]), np.array([0, 1])
    bounds = radii(np.zeros((1, 1)), X, y, np.array([[0.3]]), np.array([0]))
    assert bounds.status[0] == Status.TIED
    assert bounds.upper[0] == 0


def test_order_and_batch_do_not_matter():
    rng = np.random.default_rng(3)
    M, X, y, _ = random_problem(rng, n=120, d=6, classes=3)
    points, labels = rng.normal(size=(40, 6)), rng.integers(3, size=40)
    knn = MahalanobisKNN(1, metric=M).fit(X, y)
    together = knn.exact_radius(points, labels)
    small = MahalanobisKNN(1, metric=M, memory_budget=8 * 120 * 20).fit(X, y).exact_radius(points[::-1], labels[::-1])
    np.testing.assert_allclose(together.lower, small.lower[::-1], rtol=1e-9)
    assert (together.status == small.status[::-1]).all()


problems = st.builds(
    lambda seed, n, d, classes, rank: (
        np.random.default_rng(seed),
        random_problem(np.random.default_rng(seed), n, d, classes, rank),
    ),
    st.integers(0, 2**32 - 1),
    st.integers(6, 40),
    st.integers(1, 8),
    st.integers(2, 5),
    st.one_of(st.none(), st.integers(1, 8)),
)


@settings(max_examples=60, deadline=None)
@given(problems)
def test_no_random_attack_is_shorter_than_the_exact_radius(problem):
    rng, (M, X, y, x) = problem
    label = int(MahalanobisKNN(1, metric=M).fit(X, y).predict(x[None])[0])
    bounds = radii(M, X, y, x[None], np.array([label]))
    knn = MahalanobisKNN(1, metric=M).fit(X, y)
    goals = np.concatenate([X[y != label], x + rng.normal(size=(50, len(x))) * 3])
    for goal in goals[knn.predict(goals) != label]:
        low, high = 0.0, 1.0  # bisect the way to an adversarial point: the best attack along this line
        for _ in range(40):
            middle = (low + high) / 2
            if knn.predict((x + middle * (goal - x))[None])[0] != label:
                high = middle
            else:
                low = middle
        assert bounds.lower[0] <= high * np.linalg.norm(goal - x) * (1 + 1e-9) + 1e-9


@settings(max_examples=30, deadline=None)
@given(problems, st.floats(1e-3, 1e3))
def test_scaling_the_metric_changes_nothing(problem, scale):
    _, (M, X, y, x) = problem
    first = radii(M, X, y, x[None], y[:1])
    second = radii(scale * M, X, y, x[None], y[:1])
    np.testing.assert_allclose(first.upper, second.upper, rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("offset", [1e4, 1e6, 1e8])
@pytest.mark.parametrize("seed", range(5))
def test_far_from_the_origin_no_digit_is_lost(offset, seed):
    # On a binary grid, so that the shift itself is exact.
    rng = np.random.default_rng(seed)
    X, points = np.round(rng.normal(size=(2, 30, 3)) * 2**20) / 2**20
    y = np.arange(30) % 3
    here = radii("euclidean", X, y, points, y)
    there = radii("euclidean", X + offset, y, points + offset, y)
    np.testing.assert_allclose(there.lower, here.lower, rtol=1e-9)
    assert (there.lower <= here.upper).all()
    # What is handed out leads from float to float, which are farther apart there.
    apart = np.sqrt(3) * np.spacing(2 * offset)
    assert (there.upper <= here.upper * (1 + 1e-9) + apart).all()
    exact = np.where(apart < 1e-7 * here.upper, here.status, there.status)
    assert (there.status == exact).all()
    assert set(there.status[there.status != here.status]) <= {Status.BOUNDED.value}


@pytest.mark.parametrize("metric_scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
@pytest.mark.parametrize("data_scale", [1e-140, 1.0, 1e140])
def test_neither_tiny_nor_huge_numbers_change_a_radius(metric_scale, data_scale):
    rng = np.random.default_rng(6)
    X, points = rng.normal(size=(2, 30, 3))
    y = np.arange(30) % 3
    expected = radii("euclidean", X, y, points, y)
    knn = MahalanobisKNN(1, metric=metric_scale * np.eye(3)).fit(data_scale * X, y)
    scaled = knn.exact_radius(data_scale * points, y)
    assert (scaled.status == expected.status).all()
    np.testing.assert_allclose(scaled.upper / data_scale, expected.upper, rtol=1e-9)
    np.testing.assert_allclose(scaled.lower / data_scale, expected.lower, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(problems)
def test_orthogonal_change_of_basis_changes_nothing(problem):
    rng, (M, X, y, x) = problem
    Q, _ = np.linalg.qr(rng.normal(size=(len(x), len(x))))
    first = radii(M, X, y, x[None], y[:1])
    second = radii(Q @ M @ Q.T, X @ Q.T, y, (Q @ x)[None], y[:1])
    np.testing.assert_allclose(first.upper, second.upper, rtol=2e-6, atol=1e-8)
    if first.status[0] == second.status[0] == Status.EXACT:
        np.testing.assert_allclose(np.linalg.norm(second.perturbation), first.upper[0], rtol=2e-6, atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(problems)
def test_another_point_of_another_class_never_increases_a_radius(problem):
    rng, (M, X, y, x) = problem
    label = int(y[0])
    other = (label + 1) % (int(y.max()) + 1)
    before = radii(M, X, y, x[None], np.array([label]))
    after = radii(M, np.vstack([X, rng.normal(size=len(x))]), np.append(y, other), x[None], np.array([label]))
    assert after.lower[0] <= before.upper[0] * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(problems)
def test_a_box_never_decreases_a_radius_and_is_respected(problem):
    _, (M, X, y, x) = problem
    free = radii(M, X, y, x[None], y[:1])
    boxed = radii(M, X, y, x[None], y[:1], box=(-0.5, 0.5))
    assert boxed.upper[0] >= free.lower[0] * (1 - 1e-9)
    moved = x + boxed.perturbation[0]
    assert (moved >= np.minimum(-0.5, x) - 1e-9).all()
    assert (moved <= np.maximum(0.5, x) + 1e-9).all()


@pytest.mark.parametrize("box", [None, (0.0, 7.0)])
def test_where_a_copy_of_an_own_point_shields_the_nearest_enemy_the_attack_goes_to_another(box):
    """At a tie `predict` prefers the point with the smaller index, so in the copies' cell it never answers wrongly."""
    statuses = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X, y = rng.integers(0, 6, (14, 2)).astype(float), rng.integers(0, 2, 14)
        X[10], y[3], y[10] = X[3], 0, 1
        points = rng.integers(0, 6, (6, 2)) + rng.random((6, 2))
        labels = MahalanobisKNN(1).fit(X, y).predict(points)
        bounds = radii(np.eye(2), X, y, points, labels, box=box)
        alone = [{label for other, label in zip(X, y, strict=True) if (other == point).all()} for point in X]
        reachable = np.array([any(kinds == {1 - label} for kinds in alone) for label in labels])
        assert np.isfinite(bounds.upper[reachable]).all()
        statuses.extend(bounds.status[reachable].tolist())
    assert statuses.count("bounded") >= 5


def test_a_shield_is_met():
    X, y = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 0.0], [9.0, 0.0]]), np.array([0, 0, 1, 1])
    knn = MahalanobisKNN(n_neighbors=1).fit(X, y)
    bounds = knn.exact_radius(np.array([[1.0, 0.0]]), np.array([0]))
    # The tie with the copies at 2, where the attacker may choose; `predict` changes beyond the middle of 4 and 9.
    assert bounds.status.tolist() == ["bounded"]
    assert bounds.lower[0] == pytest.approx(1.0, rel=1e-9)
    assert bounds.upper[0] == pytest.approx(5.5, rel=2e-3)
    assert knn.predict(np.array([[1.0, 0.0]]) + bounds.perturbation).tolist() == [1]
