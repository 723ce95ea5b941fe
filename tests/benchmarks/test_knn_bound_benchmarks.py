import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import arml
from benchmarks import knn_bound, knn_bound_growth, knn_bound_mnist
from benchmarks.output import Measured, write_part
from benchmarks.run import PARTS
from benchmarks.summary import section


def small_dataset() -> arml.Dataset:
    digits = arml.load_dataset("digits")
    return dataclasses.replace(digits, X_train=digits.X_train[:400], y_train=digits.y_train[:400])


def test_contest_on_a_small_dataset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = small_dataset()
    monkeypatch.setattr(arml, "load_dataset", lambda name: data)
    result = knn_bound.measure("pendigits", "euclidean", n_points=30, n_plain=2, n_literal=20, repetitions=1)
    assert result["n_points"] == 30
    assert result["certified_points"] > 15
    assert result["differences_from_float64"]["largest_relative"] < 1e-9
    assert all(values["largest_absolute"] < 1e-4 for values in result["differences_from_float32"].values())
    rows = knn_bound.rows_of(result, "Euclidean")
    # Fewer than 1,000 points say nothing about what is required of 1,000.
    assert [row.met for row in rows] == [None, None, True, None]
    write_part(tmp_path, "knn_bound", {}, rows, [result])
    assert json.loads((tmp_path / "knn_bound.json").read_text())["measurements"] == [result]


def test_what_rounding_leaves_of_a_tie_is_compared_absolutely() -> None:
    literal = np.array([0.5, 0.25, 1e-17, 0.0])
    found = knn_bound.agreement(np.array([0.5, 0.25 * (1 - 1e-8), 0.0, 0.0]), literal)
    assert found["largest_relative"] == pytest.approx(1e-8, rel=1e-6)
    assert found["largest_absolute_at_ties"] == 1e-17
    assert found["points_at_ties_or_uncertified"] == 2
    missed = knn_bound.agreement(np.array([0.5, 0.25, 0.1, 0.0]), literal)
    assert missed["largest_absolute_at_ties"] == pytest.approx(0.1)
    assert knn_bound.agreement(np.zeros(2), np.zeros(2))["largest_relative"] == 0.0


def test_mnist_part_measures_time_in_products(monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_dataset()
    monkeypatch.setattr(arml, "load_dataset", lambda name: data)
    result = knn_bound_mnist.measure("digits", "euclidean", n_points=30, repetitions=2)
    assert len(result["seconds"]) == len(result["product_seconds"]) == 2
    assert result["peak_memory_mib"] >= result["peak_memory_with_data_loaded_mib"]
    assert [row.met for row in knn_bound_mnist.rows_of(result, "Euclidean")] == [None, None]


@pytest.mark.parametrize(("products", "peak", "met"), [(9.0, 4000.0, [True, True]), (11.0, 4200.0, [False, False])])
def test_mnist_part_judges_the_run_that_is_required(products: float, peak: float, met: list[bool]) -> None:
    result: Measured = {
        "dataset": "mnist", "metric": "euclidean", "n_points": 1000, "median_seconds": 20.0,
        "median_product_seconds": 2.0, "products": products, "peak_memory_mib": peak,
    }  # fmt: skip
    assert [row.met for row in knn_bound_mnist.rows_of(result, "Euclidean")] == met


def test_slope_is_the_exponent() -> None:
    sizes = (1_000, 10_000, 30_000)
    assert knn_bound_growth.slope(sizes, [3e-6 * n**1.2 for n in sizes]) == pytest.approx(1.2)


def test_mixture_is_seeded_and_nested() -> None:
    X, y = knn_bound_growth.mixture(50, seed=1)
    smaller, labels = knn_bound_growth.mixture(30, seed=1)
    np.testing.assert_array_equal(smaller, X[:30])
    np.testing.assert_array_equal(labels, y[:30])
    assert not np.array_equal(knn_bound_growth.mixture(50, seed=2)[0], X)


def test_growth_on_small_sizes() -> None:
    result = knn_bound_growth.measure((200, 400, 800), n_points=10, repetitions=1)
    assert result["certified_points"]["800"] > 0
    assert knn_bound_growth.rows_of(result)[0].met is None  # not the range that is required
    whole = {**result, "n_train": [1_000, 30_000, 1_000_000], "slope": 1.06}
    assert knn_bound_growth.rows_of(whole)[0].met is False


def test_every_part_is_a_module_with_a_section() -> None:
    root = Path(knn_bound.__file__).parent
    assert all((root / f"{part}.py").exists() for part in PARTS)
    row = {"what": "w", "ours": "1", "reference": "", "ratio": "", "required": "", "met": False}
    machine = {
        "date": "d", "cpu": "c", "cores": 2, "torch_threads": 2, "memory_gib": 1.0, "platform": "p", "python": "3",
        "versions": {}, "git_commit": None, "git_dirty": None, "load_average": [0.0, 0.0, 0.0],
    }  # fmt: skip
    assert "| w | 1 |  |  |  | NOT MET |" in section({"part": "knn_bound", "machine": machine, "rows": [row]})
