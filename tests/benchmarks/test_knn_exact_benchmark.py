"""The benchmark of exact K-NN radii measures what it says."""

from benchmarks import knn_exact


def test_a_small_measurement_is_complete_and_confirmed():
    result = knn_exact.measure("digits", n_points=4, repetitions=1)
    assert result["confirmed"]
    assert result["gap_after"] <= result["gap_before"]
    assert set(result["seconds_per_point"]) == {"attack", "find", "check"}
    assert len(knn_exact.rows_of(result)) == 3


def test_what_is_not_confirmed_is_not_met():
    seconds = {"attack": 1.0, "find": 2.0, "check": 1.0}
    result = {
        "dataset": "d", "n_correct": 9, "exact": 0.5, "gap_before": 0.1, "gap_after": 0.0, "confirmed": False,
        "seconds_per_point": seconds,
    }  # fmt: skip
    assert [row.met for row in knn_exact.rows_of(result)] == [False, True, False]
    met = result | {"exact": 0.99, "confirmed": True}
    assert [row.met for row in knn_exact.rows_of(met)] == [True, True, True]
    slow = met | {"seconds_per_point": seconds | {"check": 3.0, "find": 2.5}}
    assert [row.met for row in knn_exact.rows_of(slow)] == [True, True, False]
