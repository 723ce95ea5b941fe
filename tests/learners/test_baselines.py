"""The metric-learn adapters: what they return is what the library returns, and failures name their cause."""

import json
import warnings

import metric_learn
import numpy as np
import pytest
import scipy.linalg
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from arml.learners.baselines import ALGORITHMS, MetricLearnBaseline, baseline_parameters
from arml.learners.singular_lfda import scatter_matrices, singular_lfda, within_class_rank

FEW_STEPS = {
    "nca": {"max_iter": 15},
    "lmnn": {"max_iter": 30, "learn_rate": 1e-5},
    "itml": {"max_iter": 20, "n_constraints": 60},
    "lfda": {},
}
LIBRARY = {
    "nca": metric_learn.NCA,
    "lmnn": metric_learn.LMNN,
    "itml": metric_learn.ITML_Supervised,
    "lfda": metric_learn.LFDA,
}
CONSTANT_COLUMNS = (0, 3)


def blobs(n_per_class=25, n_features=6, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = np.concatenate([rng.normal(c, 0.8, (n_per_class, n_features)) for c in range(n_classes)])
    return X, np.repeat(np.arange(n_classes), n_per_class)


def blobs_with_constant_columns(**options):
    X, y = blobs(**options)
    X[:, CONSTANT_COLUMNS[0]] = 0.0
    X[:, CONSTANT_COLUMNS[1]] = 0.7
    return X, y


def library_fit(name, X, y, **params):
    if name != "lfda":
        params["random_state"] = 42
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LIBRARY[name](**params).fit(X, y)


def relative_difference(A, B):
    return np.abs(A - B).max() / np.abs(B).max()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_components_are_the_librarys_own(name):
    X, y = blobs()
    ours = MetricLearnBaseline(name, FEW_STEPS[name], random_state=42).fit(X, y)
    np.testing.assert_allclose(ours.components_, library_fit(name, X, y, **FEW_STEPS[name]).components_, rtol=1e-9)


@pytest.mark.parametrize("name", ["nca", "lmnn", "itml"])
def test_leaving_out_constant_features_changes_nothing(name):
    X, y = blobs_with_constant_columns()
    ours = MetricLearnBaseline(name, FEW_STEPS[name], random_state=42).fit(X, y)
    M = library_fit(name, X, y, **FEW_STEPS[name]).get_mahalanobis_matrix()
    assert np.abs(M - np.eye(6)).max() > 1e-3, "the library must have learned something for this to mean anything"
    assert relative_difference(ours.get_mahalanobis_matrix(), M) < 1e-6
    np.testing.assert_array_equal(ours.components_[:4, CONSTANT_COLUMNS], 0.0)
    np.testing.assert_array_equal(ours.components_[4:], np.eye(6)[list(CONSTANT_COLUMNS)])
    assert ours.fit_report_["n_varying_features"] == 4


@pytest.mark.parametrize("name", ["nca", "lmnn"])
def test_few_varying_features_do_not_change_the_start(name):
    # On the one feature that varies alone, "auto" would choose "lda"; on all three it is the identity.
    X, y = blobs(n_features=3)
    X[:, 1:] = 0.5
    ours = MetricLearnBaseline(name, FEW_STEPS[name], random_state=42).fit(X, y)
    M = library_fit(name, X, y, **FEW_STEPS[name]).get_mahalanobis_matrix()
    assert relative_difference(ours.get_mahalanobis_matrix(), M) < 1e-6


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("nca", {"n_components": 2}),
        ("nca", {"init": "random"}),
        ("lmnn", {"init": "pca"}),
        ("itml", {"prior": "covariance"}),
        ("lfda", {"n_components": 2}),
        ("lfda", {"n_components": 2, "embedding_type": "orthonormalized"}),
    ],
)
def test_another_start_or_fewer_components_is_passed_on(name, params):
    X, y = blobs()
    ours = MetricLearnBaseline(name, FEW_STEPS[name] | params, random_state=42).fit(X, y)
    library = library_fit(name, X, y, **FEW_STEPS[name], **params)
    assert ours.components_.shape == library.components_.shape
    assert relative_difference(ours.get_mahalanobis_matrix(), library.get_mahalanobis_matrix()) < 1e-8


@pytest.mark.parametrize("columns", [(), CONSTANT_COLUMNS])
def test_lfda_with_fewer_components_is_deterministic(columns):
    X, y = blobs()
    X[:, list(columns)] = 0.0
    full = MetricLearnBaseline("lfda", {}, random_state=42).fit(X, y).components_
    cut = MetricLearnBaseline("lfda", {"n_components": 3}, random_state=42).fit(X, y).components_
    np.testing.assert_array_equal(cut, full[:3])


@pytest.mark.parametrize("n_components", [0, 7])
def test_lfda_refuses_an_impossible_number_of_components(n_components):
    X, y = blobs()
    with pytest.raises(ValueError, match=r"n_components must be None or in 1\.\.6"):
        MetricLearnBaseline("lfda", {"n_components": n_components}, random_state=42).fit(X, y)


def test_another_start_keeps_the_constant_features_in():
    X, y = blobs_with_constant_columns()
    ours = MetricLearnBaseline("nca", {"max_iter": 5, "init": "random"}, random_state=42).fit(X, y)
    library = library_fit("nca", X, y, max_iter=5, init="random")
    assert relative_difference(ours.get_mahalanobis_matrix(), library.get_mahalanobis_matrix()) < 1e-8


@pytest.mark.parametrize("name", ["nca", "lmnn"])
def test_subset_is_the_stratified_training_side(name):
    X, y = blobs_with_constant_columns(n_per_class=40)
    ours = MetricLearnBaseline(name, FEW_STEPS[name] | {"fit_subset": 60}, random_state=7).fit(X, y)
    X_fit, _, y_fit, _ = train_test_split(X, y, train_size=60, stratify=y, random_state=7)
    on_subset = MetricLearnBaseline(name, FEW_STEPS[name], random_state=7).fit(X_fit, y_fit)
    np.testing.assert_array_equal(ours.components_, on_subset.components_)
    assert (ours.fit_report_["n_train"], ours.fit_report_["n_fit_samples"]) == (120, 60)


def test_small_training_set_is_used_whole():
    X, y = blobs()
    ours = MetricLearnBaseline("nca", FEW_STEPS["nca"] | {"fit_subset": len(X)}, random_state=42).fit(X, y)
    assert ours.fit_report_["n_fit_samples"] == len(X)


def test_subset_smaller_than_the_number_of_classes_is_refused():
    X, y = blobs()
    with pytest.raises(ValueError, match="stratified subset of 2 from 75 points"):
        MetricLearnBaseline("nca", {"fit_subset": 2}, random_state=42).fit(X, y)


@pytest.mark.parametrize("value", [0, 1, -5, 2.5, True, "all"])
def test_senseless_subset_sizes_are_refused(value):
    with pytest.raises(ValueError, match="fit_subset"):
        MetricLearnBaseline("lmnn", {"fit_subset": value}, random_state=42)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_unknown_parameter_names_the_valid_ones(name):
    with pytest.raises(ValueError, match=f"'max_iters'.*{baseline_parameters(name)[0]}"):
        MetricLearnBaseline(name, {"max_iters": 3}, random_state=42)


@pytest.mark.parametrize("name", ["itml", "lfda"])
def test_only_quadratic_learners_take_a_subset(name):
    with pytest.raises(ValueError, match="no parameter 'fit_subset'"):
        MetricLearnBaseline(name, {"fit_subset": 10}, random_state=42)


def test_unknown_algorithm_names_the_valid_ones():
    with pytest.raises(ValueError, match="nca, lmnn, itml, lfda"):
        MetricLearnBaseline("mmc", {}, random_state=42)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_labels_may_be_any_names(name):
    X, y = blobs()
    named = np.array(["b", "c", "d"])[y]
    negative = y - 5
    expected = MetricLearnBaseline(name, FEW_STEPS[name], random_state=42).fit(X, y).components_
    for labels in (named, negative):
        ours = MetricLearnBaseline(name, FEW_STEPS[name], random_state=42).fit(X, labels)
        np.testing.assert_array_equal(ours.components_, expected)


@pytest.mark.parametrize("name", ["nca", "lmnn", "itml"])
def test_report_says_when_the_iterations_ran_out(name):
    X, y = blobs()
    cut = MetricLearnBaseline(name, FEW_STEPS[name] | {"max_iter": 3}, random_state=42).fit(X, y).fit_report_
    assert cut["converged"] is False
    assert cut["n_iter"] in (2, 3)


def test_report_says_when_the_stopping_rule_ended_the_fit():
    X, y = blobs()
    report = MetricLearnBaseline("itml", {"tol": 0.5}, random_state=42).fit(X, y).fit_report_
    assert report["converged"] is True


@pytest.mark.parametrize("name", ALGORITHMS)
def test_report_is_json_and_complete(name):
    X, y = blobs()
    report = MetricLearnBaseline(name, FEW_STEPS[name], random_state=42).fit(X, y).fit_report_
    assert json.loads(json.dumps(report)) == report
    assert report["library"] == "metric-learn"
    assert report["version"] == metric_learn.__version__
    assert report["seconds"] > 0


def test_the_known_warning_is_hidden_and_no_other():
    X, y = blobs(n_per_class=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MetricLearnBaseline("itml", {"max_iter": 2, "n_constraints": 500}, random_state=42).fit(X, y)
    messages = [str(warning.message) for warning in caught]
    assert not [message for message in messages if "force_all_finite" in message]
    assert [message for message in messages if "Only generated" in message]


def test_own_scatter_and_eigenproblem_agree_with_the_library_where_it_is_regular():
    X, y = blobs(n_classes=4)
    for embedding in ("weighted", "plain", "orthonormalized"):
        ours = singular_lfda(X, y, k=None, embedding_type=embedding)
        theirs = library_fit("lfda", X, y, embedding_type=embedding).components_
        # Eigenvectors have no sign.
        signs = np.sign(np.sum(ours * theirs, axis=1))
        np.testing.assert_allclose(ours * signs[:, None], theirs, rtol=1e-7, atol=1e-9)


def test_lfda_with_classes_of_falling_size_shrinks_k_like_the_library():
    X, y = blobs(n_features=9)
    few = np.concatenate([np.arange(25), 25 + np.arange(4), 50 + np.arange(25)])
    ours = singular_lfda(X[few], y[few], k=None, embedding_type="weighted")
    library = library_fit("lfda", X[few], y[few]).get_mahalanobis_matrix()
    assert relative_difference(ours.T @ ours, library) < 1e-7


def test_the_library_fails_on_a_singular_scatter_and_the_adapter_does_not():
    X, y = blobs_with_constant_columns()
    library = library_fit("lfda", X, y).components_
    assert np.iscomplexobj(library) or not np.isfinite(library).all()
    ours = MetricLearnBaseline("lfda", {}, random_state=42).fit(X, y)
    assert ours.components_.dtype == np.float64
    assert "singular" in ours.fit_report_["notes"][0]


def test_lfda_gives_constant_features_no_weight_and_leaves_the_others_as_they_are():
    X, y = blobs_with_constant_columns()
    M = MetricLearnBaseline("lfda", {"k": 3}, random_state=42).fit(X, y).get_mahalanobis_matrix()
    varying = np.setdiff1d(np.arange(6), CONSTANT_COLUMNS)
    expected = np.zeros((6, 6))
    expected[np.ix_(varying, varying)] = library_fit("lfda", X[:, varying], y, k=3).get_mahalanobis_matrix()
    assert relative_difference(M, expected) < 1e-9


def test_singular_lfda_is_the_pseudo_inverse_formula():
    X, y = load_digits(return_X_y=True)
    X, y = X[:400] / 16, y[:400].astype(np.int64)
    G = MetricLearnBaseline("lfda", {}, random_state=42).fit(X, y).components_
    between, within = scatter_matrices(X, y, 7)
    inverse = scipy.linalg.pinvh(within)
    assert relative_difference(G.T @ G, inverse @ between @ inverse) < 1e-6


def test_lfda_of_points_that_never_differ_within_their_class_is_refused():
    X = np.repeat(np.eye(3)[:2], 4, axis=0)
    with pytest.raises(
        ValueError, match=r"the points of each of the 2 classes are all the same, .* or take method=euclidean"
    ):
        MetricLearnBaseline("lfda", {}, random_state=42).fit(X, np.repeat([0, 1], 4))


@pytest.mark.parametrize("name", ["nca", "lmnn", "itml"])
def test_points_that_are_all_the_same_are_refused(name):
    with pytest.raises(ValueError, match="no feature varies"):
        MetricLearnBaseline(name, {}, random_state=42).fit(np.ones((8, 3)), np.repeat([0, 1], 4))


def test_a_failure_of_the_library_names_the_algorithm_and_the_likely_cause():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    with (
        pytest.warns(RuntimeWarning, match=r"divide|invalid|overflow"),
        pytest.warns(UserWarning, match="Only generated"),
        pytest.raises(ValueError, match=r"itml.*duplicate points with different labels"),
    ):
        MetricLearnBaseline("itml", {}, random_state=42).fit(X, np.array([0, 0, 1, 1]))


def test_lmnn_names_the_class_that_is_too_small():
    X, y = blobs(n_per_class=2)
    with pytest.raises(ValueError, match=r"lmnn.*not enough class labels.*smallest class has 2"):
        MetricLearnBaseline("lmnn", {}, random_state=42).fit(X, y)


@pytest.mark.parametrize("scale", [1e-150, 1e-5, 1.0, 1e5, 1e150])
@pytest.mark.parametrize("seed", range(5))
def test_spread_within_classes_is_counted_at_the_scale_of_the_features(scale, seed):
    rng = np.random.default_rng(seed)
    centres, y = rng.normal(size=(3, 5)), np.repeat([0, 1, 2], 20)
    units = scale * 10.0 ** rng.uniform(-4, 4, 5)
    assert within_class_rank(centres[y] * units, y) == 0
    spread = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 5))
    assert within_class_rank((centres[y] + 1e-6 * spread) * units, y) == 2
    assert within_class_rank((centres[y] + 1e-6 * rng.normal(size=(60, 5))) * units, y) == 5


def test_lfda_with_a_direction_without_spread_within_classes_weighs_only_the_others():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 20)
    X = rng.normal(size=(40, 3)) + y[:, None]
    X[:, 2] = 7.3 * y + 0.1
    learner = MetricLearnBaseline("lfda", {}, random_state=0).fit(X, y)
    assert len(learner.components_) == 2
    assert np.abs(learner.get_mahalanobis_matrix()).max() < 1e3
    assert "singular (rank 2)" in learner.fit_report_["notes"][0]
