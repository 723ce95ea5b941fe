"""What `make demo` runs, as a user runs it: the sweep, then the report, from files alone."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent


def script(name: str, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "ARML_DATA"}
    command = [sys.executable, str(ROOT / "scripts" / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_demo_makes_its_table_and_figure_and_finds_them_again(tmp_path):
    runs, out = tmp_path / "runs", tmp_path / "results"
    first = script("run.py", "-m", "experiment=demo", f"output.runs={runs}")
    assert first.count("; made ") == 6
    report = script("report.py", "--demo", "--runs", str(runs), "--out", str(out))
    table = pd.read_csv(out / "demo" / "table.csv")
    assert set(table["method"]) == {"euclidean", "nca", "lmnn", "itml", "lfda", "arml"}
    assert (table.groupby("method").size() == 6).all()
    assert table["error"].between(0, 1).all()
    for _, errors in table.groupby("method")["error"]:
        assert errors.is_monotonic_increasing
    # The point of the paper: at every radius ARML is at least as robust as the Euclidean metric.
    by_method = table.pivot(index="radius", columns="method", values="error")
    assert (by_method["arml"] <= by_method["euclidean"] + 0.01).all()
    for name in ("robust_error.png", "robust_error.pdf", "table.md"):
        assert (out / "demo" / name).stat().st_size > 500
    assert "ARML" in report
    again = script("run.py", "-m", "experiment=demo", f"output.runs={runs}")
    assert again.count("; found ") == 6
    confirmed = script("recheck.py", "--runs", str(runs))
    assert confirmed.count(": confirmed (500 radii)") == 6
    assert confirmed.endswith("6 records: 6 confirmed, 0 without a proof, 0 refused\n")
