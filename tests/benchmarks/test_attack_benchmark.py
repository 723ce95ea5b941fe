import json
from pathlib import Path

import numpy as np
import pytest

import arml
from benchmarks import attacks
from benchmarks.output import Measured
from tests.reports.synthetic_records import write_radii

METRIC = "1"


def write_attack(
    runs: Path, kind: str, upper: np.ndarray, seconds: float, status: list[str], index: np.ndarray | None = None
) -> None:
    box = [0.0, 1.0] if kind != "local_search" else None
    lower = np.where(np.array(status) == "misclassified", 0.0, 0.5 * np.minimum(upper, 1.0))
    folder = write_radii(
        runs, "pendigits", "euclidean", lower, upper=upper, majority=upper, status=status, evaluation=kind, kind=kind,
        k=11, n_eval=len(upper), n_test=len(upper), metric=METRIC, box=box, index=index,
    )  # fmt: skip
    record = json.loads((folder / "record.json").read_text())
    record["provenance"] |= {"wall_seconds": seconds, "threads": 2, "device": "cpu", "cpu": "a processor"}
    (folder / "record.json").write_text(json.dumps(record))


def test_records_are_compared_point_by_point(tmp_path: Path) -> None:
    n = 200
    status = ["misclassified"] * 40 + ["bounded"] * 160
    local = np.r_[np.zeros(40), np.full(160, 0.2)]
    other = np.r_[np.zeros(40), np.full(8, 0.1), np.full(151, 0.3), np.inf]
    write_attack(tmp_path, "local_search", local, 2.0, status)
    # The other way round in its file: points belong together by their index.
    write_attack(tmp_path, "boundary", other[::-1], 100.0, status[::-1], index=np.arange(n)[::-1])
    (result,) = attacks.from_records(tmp_path)
    assert (result["dataset"], result["method"], result["other"]) == ("pendigits", "euclidean", "boundary")
    assert result["n_points"] == 160  # without the misclassified
    assert result["share"] == pytest.approx(152 / 160)
    assert result["other_failed"] == 1
    assert result["median_excess"] == pytest.approx(0.5)
    assert result["largest_deficit"] == pytest.approx(1.0)
    assert result["time_ratio"] == pytest.approx(0.02)
    assert result["steps"] == attacks.STEPS
    assert [row.met for row in attacks.rows_of(result, "from the records")] == [True, True]


def test_without_records_there_is_nothing_to_compare(tmp_path: Path) -> None:
    assert attacks.from_records(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "met"),
    [
        ({}, [True, True]),
        ({"share": 0.94, "time_ratio": 0.11}, [False, False]),
        ({"steps": 100}, [None, None]),
        ({"other": "hopskipjump"}, [None, None]),
    ],
)
def test_only_the_boundary_attack_of_full_length_is_judged(changes: Measured, met: list[bool | None]) -> None:
    result: Measured = {
        "dataset": "pendigits", "method": "euclidean", "other": "boundary", "steps": attacks.STEPS, "n_points": 9,
        "share": 0.95, "median_excess": None, "time_ratio": 0.1,
        "seconds_per_point": {"local_search": 0.1, "other": 1.0},
    }  # fmt: skip
    assert [row.met for row in attacks.rows_of(result | changes, "afresh")] == met


def test_fresh_comparison_on_a_few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    data = arml.load_dataset("digits")
    monkeypatch.setattr(arml, "load_dataset", lambda name: data)
    result = attacks.afresh("digits", n_points=4, steps=20, repetitions=1)
    assert result["n_points"] == 4
    assert result["share"] == 1.0  # twenty steps get the Boundary Attack nowhere near
    assert len(result["all_seconds_per_point"]["local_search"]) == 2
    assert result["largest_radius_over_certified"] >= 1.0
    assert attacks.rows_of(result, "afresh")[0].met is None
