import numpy as np
import pytest
from sklearn.utils import shuffle

from arml.datasets import DatasetError
from arml.datasets.protocol import encode_labels, evaluation_indices, scale
from arml.datasets.registry import Scaling


def test_images_are_divided_by_255_and_flattened() -> None:
    train = np.array([[[0, 51], [102, 255]]], dtype=np.uint8)
    scaled, test = scale(train, train[:, ::-1], Scaling.DIVIDE_BY_255)
    np.testing.assert_allclose(scaled, [[0, 0.2, 0.4, 1]], rtol=1e-15)
    np.testing.assert_allclose(test, [[0.4, 1, 0, 0.2]], rtol=1e-15)
    assert scaled.dtype == test.dtype == np.float64


def test_min_max_is_fitted_on_the_training_part_and_does_not_clip() -> None:
    train, test = np.array([[2.0, -1.0], [4.0, 3.0]]), np.array([[5.0, -3.0], [3.0, 1.0]])
    scaled_train, scaled_test = scale(train, test, Scaling.MIN_MAX)
    np.testing.assert_array_equal(scaled_train, [[0, 0], [1, 1]])
    np.testing.assert_array_equal(scaled_test, [[1.5, -0.5], [0.5, 0.5]])


def test_a_feature_constant_in_training_is_0_in_both_parts() -> None:
    scaled_train, scaled_test = scale(np.array([[7.0], [7.0]]), np.array([[7.0], [9.0]]), Scaling.MIN_MAX)
    np.testing.assert_array_equal(scaled_train, [[0], [0]])
    np.testing.assert_array_equal(scaled_test, [[0], [0]])


@pytest.mark.parametrize("scaling", list(Scaling))
def test_scaling_leaves_its_input_alone(scaling: Scaling) -> None:
    train, test = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[4.0, 4.0]])
    before = train.copy(), test.copy()
    scaled_train, scaled_test = scale(train, test, scaling)
    scaled_train += 1
    scaled_test += 1
    np.testing.assert_array_equal(train, before[0])
    np.testing.assert_array_equal(test, before[1])


def test_labels_are_encoded_in_sorted_order_of_the_training_labels() -> None:
    train, test = encode_labels(np.array([5, -1, 3, 5]), np.array([3, 3, -1]))
    np.testing.assert_array_equal(train, [2, 0, 1, 2])
    np.testing.assert_array_equal(test, [1, 1, 0])
    assert train.dtype == test.dtype == np.int64


@pytest.mark.parametrize("unknown", [-2, 4, 9])
def test_an_unknown_test_label_is_an_error(unknown: int) -> None:
    with pytest.raises(DatasetError, match=rf"\[{unknown}\] do not occur"):
        encode_labels(np.array([-1, 3, 5]), np.array([3, unknown]))


@pytest.mark.parametrize("seed", [0, 42])
def test_evaluation_indices_are_those_of_shuffling_the_arrays(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(300, 5)), rng.integers(0, 3, 300)
    X_shuffled, y_shuffled = shuffle(X, y, random_state=seed)
    chosen = evaluation_indices(300, 120, seed)
    np.testing.assert_array_equal(X[chosen], X_shuffled[:120])
    np.testing.assert_array_equal(y[chosen], y_shuffled[:120])


def test_evaluation_indices_by_default_are_1000_with_seed_42() -> None:
    np.testing.assert_array_equal(evaluation_indices(1500), shuffle(np.arange(1500), random_state=42)[:1000])


@pytest.mark.parametrize("n", [None, 50, 51, 10_000])
def test_none_or_too_many_means_the_whole_test_part_shuffled(n: int | None) -> None:
    chosen = evaluation_indices(50, n)
    assert sorted(chosen.tolist()) == list(range(50))
    assert chosen.tolist() != list(range(50))


@pytest.mark.parametrize("n", [0, -5])
def test_fewer_than_one_point_is_an_error(n: int) -> None:
    with pytest.raises(DatasetError, match=f"at least 1.*got {n}"):
        evaluation_indices(50, n)
