"""What every learner promises, whatever it learns."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from arml.geometry import Mahalanobis, as_mahalanobis
from arml.learners import ARML, LEARNERS, StoredMetric, load_metric, make_learner, save_metric

# Enough steps to learn something, few enough to be quick.
PARAMS = {
    "euclidean": {},
    "nca": {"max_iter": 5},
    "lmnn": {"max_iter": 10, "learn_rate": 1e-5},
    "itml": {"max_iter": 5, "n_constraints": 100},
    "lfda": {},
    "arml": {"max_iter": 5},
}


@pytest.fixture(scope="module")
def digits():
    """Digits of 200 points: some pixels never vary."""
    X, y = load_digits(return_X_y=True)
    return X[:200] / 16, y[:200].astype(np.int64)


def learner(name, seed=42, **params):
    return make_learner(name, PARAMS[name] | params, random_state=seed, device="cpu")


@pytest.fixture(scope="module")
def fitted(digits):
    return {name: learner(name).fit(*digits) for name in LEARNERS}


def test_the_learners_are_the_six_of_the_paper():
    assert sorted(PARAMS) == sorted(LEARNERS)


@pytest.mark.parametrize("name", LEARNERS)
def test_components_are_a_finite_factor(name, digits, fitted):
    G = fitted[name].components_
    d = digits[0].shape[1]
    assert G.dtype == np.float64
    assert G.ndim == 2
    assert G.shape[1] == d
    assert 0 < G.shape[0] <= d
    assert np.isfinite(G).all()
    assert np.abs(G).max() > 0


@pytest.mark.parametrize("name", LEARNERS)
def test_the_matrix_is_the_factors_square_and_psd(name, fitted):
    G, M = fitted[name].components_, fitted[name].get_mahalanobis_matrix()
    np.testing.assert_allclose(M, G.T @ G, rtol=1e-12, atol=1e-12 * np.abs(M).max())
    np.testing.assert_allclose(Mahalanobis.from_matrix(M).matrix, M, atol=1e-12 * np.abs(M).max())


@pytest.mark.parametrize("name", LEARNERS)
def test_it_is_a_metric_for_the_geometry(name, digits, fitted):
    X, _ = digits
    metric = as_mahalanobis(fitted[name], X.shape[1])
    by_hand = np.sum(((X[0] - X[1:]) @ fitted[name].components_.T) ** 2, axis=1)
    np.testing.assert_allclose(metric.sq_dist(X[0], X[1:]), by_hand, rtol=1e-9)
    from_components = Mahalanobis.from_components(fitted[name].components_)
    np.testing.assert_array_equal(from_components.matrix, metric.matrix)


@pytest.mark.parametrize("name", [name for name in LEARNERS if name != "euclidean"])
def test_it_learns_something(name, fitted):
    M = fitted[name].get_mahalanobis_matrix()
    assert np.abs(M - np.eye(len(M))).max() > 1e-6


@pytest.mark.parametrize("name", LEARNERS)
def test_one_seed_gives_one_metric(name, digits, fitted):
    np.testing.assert_array_equal(learner(name).fit(*digits).components_, fitted[name].components_)


@pytest.mark.parametrize("name", ["itml", "arml"])
def test_random_learners_depend_on_the_seed(name, digits, fitted):
    assert np.abs(learner(name, seed=43).fit(*digits).components_ - fitted[name].components_).max() > 1e-9


@pytest.mark.parametrize("name", LEARNERS)
def test_global_random_state_is_left_alone(name, digits, fitted):
    np.random.seed(5)  # noqa: NPY002 - the global state is what must have no influence
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - and must not change
    again = learner(name).fit(*digits).components_
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002 - same
    np.testing.assert_array_equal(again, fitted[name].components_)


@pytest.mark.parametrize("name", LEARNERS)
def test_the_training_set_is_left_alone(name, digits):
    X, y = digits[0].copy(), digits[1].copy()
    X.setflags(write=False)
    y.setflags(write=False)
    learner(name).fit(X, y)
    np.testing.assert_array_equal(X, digits[0])


@pytest.mark.parametrize("name", LEARNERS)
def test_fit_returns_the_learner(name, digits):
    unfitted = learner(name)
    assert unfitted.fit(*digits) is unfitted


@pytest.mark.parametrize("name", LEARNERS)
def test_the_report_is_json(name, fitted):
    report = fitted[name].fit_report_
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert {"n_iter", "n_fit_samples", "converged", "seconds"} <= set(report)
    assert report["n_fit_samples"] == 200


@pytest.mark.parametrize("name", LEARNERS)
def test_a_fitted_metric_survives_the_disk(name, fitted, tmp_path):
    save_metric(tmp_path / "m.npz", fitted[name].components_, {"fit_report": fitted[name].fit_report_})
    stored = load_metric(tmp_path / "m.npz")
    np.testing.assert_array_equal(stored.components_, fitted[name].components_)
    assert stored.digest == StoredMetric(fitted[name].components_).digest
    assert stored.provenance["fit_report"] == fitted[name].fit_report_


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", LEARNERS)
def test_points_that_are_not_finite_are_refused(name, bad, digits):
    X, y = digits[0].copy(), digits[1]
    X[7, 3] = bad
    with pytest.raises(ValueError, match=r"NaN|nan|inf"):
        learner(name).fit(X, y)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_single_class_is_refused(name, digits):
    X, _ = digits
    with pytest.raises(ValueError, match="two classes"):
        learner(name).fit(X, np.zeros(len(X), dtype=np.int64))


@pytest.mark.parametrize("name", LEARNERS)
def test_labels_of_another_length_are_refused(name, digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"200.*199"):
        learner(name).fit(X, y[:-1])


@pytest.mark.parametrize("shape", [(200,), (200, 4, 4), (0, 5)])
@pytest.mark.parametrize("name", LEARNERS)
def test_points_of_another_shape_are_refused(name, shape, digits):
    with pytest.raises(ValueError, match=r"shape|2D|dim"):
        learner(name).fit(np.zeros(shape), digits[1][: shape[0]])


@pytest.mark.parametrize("name", LEARNERS)
def test_an_unknown_parameter_is_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"{name} has no parameter 'n_neighbours'"):
        learner(name, n_neighbours=3)


@pytest.mark.parametrize("name", ["Euclidean", "mmc", ""])
def test_an_unknown_learner_is_refused_by_name(name):
    with pytest.raises(ValueError, match="euclidean, nca, lmnn, itml, lfda, arml"):
        make_learner(name, {}, random_state=42, device="cpu")


def test_arml_gets_its_seed_and_device():
    arml = make_learner("arml", {"loss": "hinge"}, random_state=7, device="cpu")
    assert isinstance(arml, ARML)
    assert (arml.random_state, arml.device, arml.loss) == (7, "cpu", "hinge")


@pytest.mark.parametrize("name", LEARNERS)
def test_toy_sized_data_can_be_learned(name):
    # Four points of one class and three of the other in the plane.
    X = np.array([[0.0, 0.0], [0.1, 0.9], [0.3, 0.4], [0.2, 0.1], [1.0, 0.2], [0.9, 0.8], [0.7, 0.5]])
    y = np.array([0, 0, 0, 0, 1, 1, 1])
    params = {"lmnn": {"n_neighbors": 2}, "itml": {"n_constraints": 6}, "arml": {"n_neighbors": 2}}.get(name, {})
    components = learner(name, **params).fit(X, y).components_
    assert components.shape == (2, 2)
    assert np.isfinite(components).all()
