"""Rechecking finished records: confirmed as they are, refused when anything in them is changed."""

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arml.experiments.pipeline import run
from arml.experiments.verify import UnverifiableRecordError, recheck_record, records_with_proofs

from .composing import compose_run

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "recheck.py"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    run(compose_run("dataset=digits", "n_eval=40", "device=cpu", f"output.runs={root}"))
    return root


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """The record, copied so that a test may spoil it."""
    shutil.copytree(runs, tmp_path / "runs")
    (found,) = records_with_proofs(tmp_path / "runs")
    return found


def rewrite_points(folder: Path, point: int, **changes: str) -> None:
    rows = list(csv.DictReader(io.StringIO((folder / "points.csv").read_text())))
    rows[point].update(changes)
    with (folder / "points.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def test_a_record_is_confirmed(folder: Path) -> None:
    report = recheck_record(folder)
    assert len(report.ok) == 40
    assert report, report.problems


def test_a_radius_that_was_raised_is_noticed(folder: Path) -> None:
    rewrite_points(folder, 3, lower="9.0", upper="9.0")
    report = recheck_record(folder)
    assert [point for point, _ in report.problems] == [3]


def test_a_perturbation_that_was_shortened_is_noticed(folder: Path) -> None:
    with np.load(folder / "witness.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    arrays["perturbation"] *= 0.9
    np.savez_compressed(folder / "witness.npz", **arrays)
    assert not recheck_record(folder)


@pytest.mark.parametrize(
    ("changes", "message"), [({"label": "99"}, "other labels"), ({"index": "0"}, "different points")]
)
def test_points_of_another_test_set_are_refused(folder: Path, changes: dict[str, str], message: str) -> None:
    rewrite_points(folder, 0, **changes)
    with pytest.raises(UnverifiableRecordError, match=message):
        recheck_record(folder)


def test_a_missing_or_changed_metric_is_refused(folder: Path) -> None:
    (metric,) = (folder.parent.parent / "metrics").glob("*/metric.npz")
    np.savez(metric, M=2 * np.eye(64))
    with pytest.raises(UnverifiableRecordError, match="not the metric"):
        recheck_record(folder)
    metric.unlink()
    with pytest.raises(UnverifiableRecordError, match="is not under"):
        recheck_record(folder)


@pytest.mark.slow
def test_the_script_says_what_it_confirmed(folder: Path, tmp_path: Path) -> None:
    def script(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)

    done = script("--runs", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr
    assert "40 of 40 radii confirmed" in done.stdout
    rewrite_points(folder, 0, lower="9.0", upper="9.0")
    assert script(str(folder)).returncode == 1
    assert "make reproduce-table1" in script("--runs", str(tmp_path / "none")).stderr
