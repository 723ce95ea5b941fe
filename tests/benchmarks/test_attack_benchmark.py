import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import arml
from arml.records.reader import read_radii_records
from arml.subset import evaluation_indices
from benchmarks import attacks
from benchmarks.output import Measured
from tests.records.synthetic import write_radii

METRIC = "1"


def write_attack(runs: Path, kind: str, upper: np.ndarray, seconds: float, status: list[str]) -> None:
    """A record of all test points, of which upper (n,) and status give the values."""
    box = [0.0, 1.0] if kind != "local_search" else None
    index = evaluation_indices(len(upper), None, 42)
    upper, status = upper[index], [status[i] for i in index]
    lower = np.where(np.array(status) == "misclassified", 0.0, 0.5 * np.minimum(upper, 1.0))
    folder = write_radii(
        runs, "pendigits", "euclidean", lower, upper=upper, majority=upper, status=status, evaluation=kind, kind=kind,
        k=11, n_eval=len(upper), n_test=len(upper), metric=METRIC, box=box,
    )  # fmt: skip
    record = json.loads((folder / "record.json").read_text())
    record["provenance"] |= {"wall_seconds": seconds, "threads": 2, "device": "cpu", "cpu": "a processor"}
    (folder / "record.json").write_text(json.dumps(record))


def test_records_are_compared_point_by_point(tmp_path: Path) -> None:
    status = ["misclassified"] * 40 + ["bounded"] * 160
    local = np.r_[np.zeros(40), np.full(160, 0.2)]
    other = np.r_[np.zeros(40), np.full(8, 0.1), np.full(151, 0.3), np.inf]
    write_attack(tmp_path, "local_search", local, 2.0, status)
    write_attack(tmp_path, "boundary", other, 100.0, status)
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


def test_points_belong_together_by_their_index(tmp_path: Path) -> None:
    status = ["misclassified"] * 40 + ["bounded"] * 160
    upper = np.where(np.arange(200) < 40, 0.0, np.linspace(0.0, 1.0, 200))
    write_attack(tmp_path, "local_search", upper, 2.0, status)
    write_attack(tmp_path, "boundary", upper * np.arange(200) / 100, 100.0, status)
    records = {record.kind: record for record in read_radii_records(tmp_path, warn=pytest.fail)}
    local, boundary = records["local_search"], records["boundary"]
    turned = dataclasses.replace(boundary, points=boundary.points[::-1].reset_index(drop=True))
    assert attacks.compare_records(local, turned) == attacks.compare_records(local, boundary)
    assert attacks.compare_records(local, boundary)["share"] == pytest.approx(100 / 160)


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
