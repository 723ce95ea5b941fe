import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_records import write_boundary, write_paper_like, write_radii

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name):
    spec = importlib.util.spec_from_file_location(f"script_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def report(runs):
    main = script("report")
    return lambda *more: main(["--runs", str(runs), "--out", str(runs.parent), *more])


@pytest.fixture
def check(runs):
    main = script("check_claims")
    return lambda: main(["--runs", str(runs), "--out", str(runs.parent)])


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def commit(folder):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "results"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def test_without_records_one_message_names_the_command(report, runs, capsys):
    assert report() == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "make reproduce-table1" in message
    assert report("--demo") == 1
    assert "make demo" in capsys.readouterr().err
    assert not runs.parent.exists()


def test_report_writes_everything_and_the_same_bytes_again(report, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("euclidean", "arml"))
    write_boundary(runs, "euclidean", np.eye(2), resolution=20)
    damaged = write_radii(runs, "usps", "nca", np.ones(5))
    (damaged / "points.csv").write_text("index\n")
    assert report() == 0
    captured = capsys.readouterr()
    assert damaged.name in captured.err
    assert "USPS, l2 radius" in captured.out
    assert "  ARML                       0.043   0.204   0.565" in captured.out
    first = contents(runs.parent)
    written = {str(path) for path in first if path.parts[0] != "runs"}
    pictures = {f"figures/{name}.{end}" for name in ("robust_error_usps", "figure1") for end in ("pdf", "png")}
    tables = {f"tables/table1.{end}" for end in ("csv", "md", "tex")} | {
        f"claims/table1.{end}" for end in ("csv", "md")
    }
    assert written == pictures | tables
    assert report() == 0
    assert contents(runs.parent) == first


@pytest.mark.parametrize("part", ["tables", "figures", "claims"])
def test_only_one_part_and_one_dataset(report, runs, part):
    write_paper_like(runs, ["usps", "splice"], methods=("arml",))
    assert report("--only", part, "--datasets", "splice") == 0
    written = [path for path in runs.parent.rglob("*") if path.is_file() and runs not in path.parents]
    assert {path.parent.name for path in written} == {part}
    if part != "figures":
        assert "usps" not in (runs.parent / part / "table1.csv").read_text()


def test_demo_is_one_table_and_one_figure_of_the_digits(report, runs):
    write_radii(runs, "digits", "arml", np.linspace(0, 2, 50), n_test=360, grid=[0.0, 1.0], params={"max_iter": 50})
    assert report("--demo") == 0
    names = sorted(path.name for path in (runs.parent / "demo").iterdir())
    assert names == ["robust_error.pdf", "robust_error.png", "table.csv", "table.md", "table.tex"]


def test_check_passes_on_what_was_just_reported_and_fails_when_a_verdict_gets_worse(report, check, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("euclidean", "arml"))
    report("--only", "tables", "claims")
    assert check() == 0
    assert "12 cells compared: 0 worse" in capsys.readouterr().out
    write_radii(runs, "usps", "arml", np.linspace(0, 5, 1000), created="2026-02-01T00:00:00+00:00")
    assert check() == 1
    assert (
        "WORSE  usps/arml at radius 0.5: reproduced (error 0.204) -> differs (error 0.100)" in capsys.readouterr().out
    )


def test_a_new_report_does_not_hide_a_change_from_git(report, check, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("arml",))
    report("--only", "tables", "claims")
    commit(runs.parent)
    write_radii(runs, "usps", "arml", np.linspace(0, 5, 1000), created="2026-02-01T00:00:00+00:00")
    report("--only", "tables", "claims")
    assert check() == 1
    assert "WORSE  usps/arml at radius 0.5" in capsys.readouterr().out


def test_check_fails_when_a_cell_vanishes(report, check, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("euclidean", "arml"))
    report("--only", "tables", "claims")
    [folder] = (runs / "radii").glob("usps-arml-*")
    (folder / "points.csv").unlink()
    assert check() == 1
    assert capsys.readouterr().out.count("VANISHED  usps/arml") == 6


def test_without_records_the_committed_table_and_claims_are_held_against_each_other(report, check, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("euclidean", "arml"))
    report("--only", "tables", "claims")
    runs.rename(runs.with_name("elsewhere"))
    assert check() == 0
    assert "usps under" in capsys.readouterr().out
    table = runs.parent / "tables" / "table1.csv"
    table.write_text(table.read_text().replace("0.204,", "0.404,", 1))
    assert check() == 1
    assert "WORSE  usps/arml at radius 0.5" in capsys.readouterr().out


def test_check_without_claims_says_how_to_make_them(check, capsys):
    assert check() == 1
    assert "scripts/report.py" in capsys.readouterr().err


def test_reports_need_no_torch_and_no_stage():
    modules = ["torch", "sklearn", "arml.datasets", "arml.learners", "arml.certify", "arml.experiments"]
    reports = sorted(path.stem for path in (SCRIPTS.parent / "arml" / "reports").glob("[a-z]*.py"))
    code = (
        f"import sys; from arml.reports import {', '.join(reports)}; print([m for m in {modules} if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=SCRIPTS.parent, capture_output=True, text=True, check=True
    ).stdout
    assert shown.strip() == "[]"
