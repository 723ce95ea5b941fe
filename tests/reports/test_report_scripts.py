import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arml.subset import evaluation_indices
from tests.records.synthetic import write_boundary, write_kind, write_paper_like, write_radii, write_table2

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name):
    spec = importlib.util.spec_from_file_location(f"script_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture
def report(runs):
    main = script("report")

    def report(*more):
        return main(["--runs", str(runs), "--out", str(runs.parent), *more])

    report.module = main.__globals__
    return report


@pytest.fixture
def check(runs):
    main = script("check_claims")
    return lambda *more: main(["--runs", str(runs), "--out", str(runs.parent), *more])


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def replace_radii(runs, radii):
    [old] = (runs / "radii").glob("usps-arml-exact_1nn-*")
    shutil.rmtree(old)
    return write_radii(runs, "usps", "arml", radii)


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
        f"claims/table1.{end}" for end in ("csv", "json", "md")
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
    replace_radii(runs, np.linspace(0, 5, 1000))
    assert check() == 1
    assert (
        "WORSE  usps/arml exact at radius 0.5: reproduced (error 0.204) -> differs (error 0.100)"
        in capsys.readouterr().out
    )


def test_a_new_report_does_not_hide_a_change_from_git(report, check, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("arml",))
    report("--only", "tables", "claims")
    commit(runs.parent)
    replace_radii(runs, np.linspace(0, 5, 1000))
    report("--only", "tables", "claims")
    assert check() == 1
    assert "WORSE  usps/arml exact at radius 0.5" in capsys.readouterr().out


def test_check_fails_when_a_cell_vanishes(report, check, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("euclidean", "arml"))
    report("--only", "tables", "claims")
    [folder] = (runs / "radii").glob("usps-arml-*")
    (folder / "points.csv").unlink()
    assert check() == 1
    assert capsys.readouterr().out.count("VANISHED  usps/arml exact") == 6


def test_without_records_the_committed_table_and_claims_are_held_against_each_other(report, check, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("euclidean", "arml"))
    report("--only", "tables", "claims")
    runs.rename(runs.with_name("elsewhere"))
    assert check() == 0
    assert "no records for usps exact under" in capsys.readouterr().out
    table = runs.parent / "tables" / "table1.csv"
    table.write_text(table.read_text().replace("0.204,", "0.404,", 1))
    assert check() == 1
    assert "WORSE  usps/arml exact at radius 0.5" in capsys.readouterr().out


def test_check_without_claims_says_how_to_make_them(check, capsys):
    assert check() == 1
    assert "scripts/report.py" in capsys.readouterr().err


def test_without_a_table_named_all_are_made_and_one_alone_on_request(report, runs):
    write_paper_like(runs, ["usps"], methods=("arml",))
    write_table2(runs, ["usps"], methods=("arml",))
    assert report("--table", "table2") == 0
    written = {str(path) for path in contents(runs.parent) if path.parts[0] != "runs"}
    table2 = {f"tables/table2.{end}" for end in ("csv", "md", "tex")}
    table2 |= {f"figures/bands_usps.{end}" for end in ("pdf", "png")} | {
        f"claims/table2.{end}" for end in ("csv", "json", "md")
    }
    assert written == table2
    before = contents(runs.parent)
    assert report() == 0
    after = contents(runs.parent)
    assert {str(path) for path in after if "table1" in path.name or "robust_error" in path.name} == {
        str(path) for path in after.keys() - before.keys()
    }
    assert before.items() <= after.items()


def test_with_many_records_each_table_is_made_by_a_process_of_its_own(report, runs, monkeypatch, capfd):
    write_paper_like(runs, ["usps"], methods=("arml",))
    write_table2(runs, ["usps"], methods=("arml",))
    assert report() == 0
    together, printed = contents(runs.parent), capfd.readouterr().out
    for path in together:
        if path.parts[0] != "runs":
            (runs.parent / path).unlink()
    monkeypatch.setitem(report.module, "_MANY", 1)
    assert report() == 0
    assert contents(runs.parent) == together
    assert sorted(capfd.readouterr().out.splitlines()) == sorted(printed.splitlines())


def test_a_table_without_records_is_not_complained_about_unless_named(report, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("arml",))
    assert report("--only", "tables") == 0
    assert capsys.readouterr().err == ""
    assert report("--only", "tables", "--table", "table2") == 1
    assert "make reproduce-table2" in capsys.readouterr().err


def test_a_table_whose_records_contradict_each_other_is_not_written_and_the_others_are(report, check, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("arml",))
    proven = write_kind(runs, "usps", "arml", "certified", np.ones(1000))
    attacked = write_kind(runs, "usps", "arml", "local_search", np.append(np.ones(999), 0.5))
    assert report() == 1
    error = capsys.readouterr().err
    last = evaluation_indices(2000, 1000, 42)[-1]
    assert f"test point {last} is proven robust up to 1.0" in error
    assert "but without its majority at 0.5 by" in error
    assert proven.name in error
    assert attacked.name in error
    names = {path.name for path in contents(runs.parent) if path.parts[0] != "runs"}
    assert {"table1.csv", "robust_error_usps.pdf"} <= names
    assert not any("table2" in name or "bands" in name for name in names)
    (runs.parent / "claims" / "table2.csv").write_text((runs.parent / "claims" / "table1.csv").read_text())
    assert check() == 1
    captured = capsys.readouterr()
    assert "table1: 6 cells compared: 0 worse" in captured.out
    assert f"table2: usps/arml: test point {last}" in captured.err


def test_a_table_whose_records_disagree_is_not_written_and_both_are_named(report, check, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("arml",))
    write_table2(runs, ["usps"], methods=("arml",))
    report()
    table = (runs.parent / "tables" / "table1.csv").read_bytes()
    report_of_fit = {"n_fit_samples": 6000, "converged": True, "n_iter": 20}
    both = [next((runs / "radii").glob("usps-arml-exact_1nn-*"))]
    both.append(write_radii(runs, "usps", "arml", np.ones(1000), fit_report=report_of_fit, variant="second"))
    capsys.readouterr()
    for main in (report, check):
        assert main() == 1
        error = capsys.readouterr().err
        assert "records of the same cell" in error
        assert all(folder.name in error for folder in both)
    assert (runs.parent / "tables" / "table1.csv").read_bytes() == table


def test_records_of_an_older_version_are_shown_only_on_request_and_with_a_mark(report, runs, capsys, monkeypatch):
    write_radii(runs, "usps", "arml", np.ones(1000), versions={"datasets.protocol": 0})
    write_boundary(runs, "euclidean", np.eye(2), resolution=20)
    assert report("--only", "tables") == 1
    shown = capsys.readouterr().err
    assert "older version of the code (datasets.protocol 0, now 1)" in shown
    assert report("--only", "tables", "--allow-old") == 0
    text = (runs.parent / "tables" / "table1.md").read_text()
    assert "made by an older version of the code (datasets.protocol 0, now 1)" in text
    (runs.parent / "tables" / "table1.md").unlink()
    write_kind(runs, "usps", "arml", "certified", np.ones(1000))
    monkeypatch.setitem(report.module, "_MANY", 1)  # each table by a process of its own, which is told, too
    assert report("--only", "tables", "--allow-old") == 0
    assert (runs.parent / "tables" / "table1.md").read_text() == text


def test_check_covers_both_tables_and_takes_missing_kinds_from_the_committed_table(report, check, runs, capsys):
    write_paper_like(runs, ["usps"], methods=("arml",))
    write_table2(runs, ["usps"], methods=("arml",))
    report("--only", "tables", "claims")
    assert check() == 0
    shown = capsys.readouterr().out
    assert "table1: 6 cells compared: 0 worse" in shown
    assert "table2: 12 cells compared: 0 worse" in shown
    [boundary] = (runs / "radii").glob("usps-arml-boundary-*")
    boundary.rename(runs / "elsewhere")
    assert check("--table", "table2") == 0
    assert "no records for usps boundary under" in capsys.readouterr().out
    write_kind(runs, "usps", "arml", "boundary", np.linspace(4, 5, 1000))
    assert check() == 1
    shown = capsys.readouterr().out
    assert "WORSE  usps/arml boundary at radius 0.5: reproduced (error 0.118) -> differs (error 0.000)" in shown


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
