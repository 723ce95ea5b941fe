"""The tool that puts faults into the code: which it finds, and what it makes of tests that notice them or not."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutants import report, run
from benchmarks.mutants.mutation import Mutation, makes_a_difference, mutations
from benchmarks.mutants.named import NAMED, Named
from benchmarks.mutants.table import GROUPS, Group
from scripts.mutants import drawn

ROOT = Path(__file__).resolve().parents[2]

TOY = '''"""A toy."""
MARGIN = 1e-6


def clipped(x: float, most: float) -> float:
    """Ünïcode before the code: places are counted in bytes."""
    if not x <= most and (x > 0 or most < 0):
        return min(x, most) * (1 - MARGIN)
    values = [-x, 2.0 * x][0:1]
    values[0] += 1.0
    if values[0] < 0:
        raise ValueError(f"{x} is {1 + 1} too small")
    return values[0]
'''


def after(operator, source=TOY):
    return [(one.before, one.after) for one in mutations("toy.py", source) if one.operator == operator]


def test_every_kind_of_fault_is_found():
    assert after("comparison") == [
        ("<=", "<"), ("<=", ">="), (">", "<"), (">", ">="), ("<", "<="), ("<", ">"), ("<", "<="), ("<", ">"),
    ]  # fmt: skip
    assert after("and/or") == [("and", "or"), ("or", "and")]
    assert after("not removed") == [("not x <= most", "(x <= most)")]
    assert after("function swapped") == [("min", "max")]
    assert after("operator") == [("*", "/"), ("-", "+"), ("*", "/")]
    assert after("sign dropped") == [("-x", "(x)")]
    assert after("slice off by one") == [("0", "0 + 1"), ("1", "1 + 1")]
    assert after("statement deleted")[0] == ("values[0] += 1.0", "pass")
    assert [before[:16] for before, _ in after("statement deleted")] == ["values[0] += 1.0", "raise ValueError"]
    assert ("1e-6", "0.0") in after("constant")
    assert ("1e-6", "0.01") in after("constant")
    assert [before for before, _ in after("condition never")] == [before for before, _ in after("condition always")]


def test_texts_of_messages_and_annotations_are_left_alone():
    assert not [one for one in mutations("toy.py", TOY) if one.operator != "statement deleted" and one.line == 12]
    assert not mutations("toy.py", "def f(x: 'int' = 1) -> 'list[int]': ...")


def test_each_fault_changes_the_module_at_one_place_and_can_be_read():
    found = mutations("toy.py", TOY)
    for one in found:
        text = one.applied(TOY)
        ast.parse(text)
        assert text != TOY
        assert makes_a_difference(TOY, one) == (ast.dump(ast.parse(text)) != ast.dump(ast.parse(TOY)))
    assert len({one.id for one in found}) == len(found)


def test_names_of_faults_outlive_edits_elsewhere():
    moved = mutations("toy.py", TOY.replace("MARGIN = 1e-6\n", "MARGIN = 1e-6\n\nOTHER = []\n"))
    assert [one.id for one in moved] == [one.id for one in mutations("toy.py", TOY)]


def test_a_fault_of_another_text_is_refused():
    with pytest.raises(ValueError, match="does not say '<='; make the mutations anew"):
        next(one for one in mutations("toy.py", TOY) if one.before == "<=").applied("#" + TOY)


def test_a_named_fault_that_no_longer_applies_is_an_error(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    assert "x >= most" in Named("flipped", "toy.py", "x <= most", "x >= most").mutation(tmp_path).applied(TOY)
    with pytest.raises(ValueError, match=r"toy\.py has 0 times what the fault 'gone' replaces"):
        Named("gone", "toy.py", "x == most", "").mutation(tmp_path)
    with pytest.raises(ValueError, match=r"toy\.py has 2 times"):
        Named("twice", "toy.py", "return ", "").mutation(tmp_path)


def test_the_named_faults_apply_and_belong_to_a_group():
    paths = {path for group in GROUPS.values() for path in group.paths(ROOT)}
    for one in NAMED:
        found = one.mutation(ROOT)
        assert found.path in paths
        assert makes_a_difference((ROOT / found.path).read_text(), found)


def test_the_table_names_tests_that_are_there_and_draws_at_least_200():
    total = 0
    for group in GROUPS.values():
        assert all((ROOT / name).exists() for name in group.tests)
        assert all((ROOT / path).exists() for path in group.paths(ROOT))
        total += len(group.paths(ROOT)) * group.draw
    assert total >= 200


def test_what_is_drawn_depends_on_the_seed_alone(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    group = Group(("toy.py",), (), 8)
    first = [one.id for one in drawn(tmp_path, group, 0)]
    assert first == [one.id for one in drawn(tmp_path, group, 0)]
    assert len(first) == 8
    assert first != [one.id for one in drawn(tmp_path, group, 1)]
    # One of each kind comes first.
    kinds = [one.operator for one in drawn(tmp_path, group, 0)]
    assert len(set(kinds)) == 8


RUNNER = """
import json, sys
from pathlib import Path
from benchmarks.mutants import run
toy = Path(sys.argv[1])
source = (toy / "toy.py").read_text()
tests = ("test_toy.py",)
tasks = [
    run.Task("none", "", "", tests, 60.0),
    run.Task("seen", "toy.py", source.replace("x <= most", "x < most"), tests, 60.0),
    run.Task("unseen", "toy.py", source.replace("1e-6", "0.0"), tests, 60.0),
    run.Task("endless", "toy.py", source + "\\nwhile True: pass\\n", tests, 3.0),
    run.Task("unreadable", "toy.py", "def", tests, 60.0),
]
outcomes = {}
copies = [run.copy_tree(toy, toy.parent / name) for name in ("a", "b")]
run.run(tasks, copies, lambda one: outcomes.update({one.id: one}))
print(json.dumps({id: (one.verdict, one.said) for id, one in outcomes.items()}))
print(all((toy.parent / name / "toy.py").read_text() == source for name in ("a", "b")))
"""


def test_each_fault_is_tried_by_itself_and_undone(tmp_path):
    toy = tmp_path / "toy"
    toy.mkdir()
    (toy / "toy.py").write_text(TOY)
    (toy / "test_toy.py").write_text(
        "from toy import clipped\n\n\ndef test_clipped():\n    assert clipped(-2.0, -2.0) == 3.0\n"
    )
    (toy / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['slow', 'full_data']\n")
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(toy)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    verdicts, restored = done.stdout.splitlines()
    found = json.loads(verdicts)
    assert {id: verdict for id, (verdict, _) in found.items()} == {
        "none": "survived", "seen": "killed", "unseen": "survived", "endless": "time limit", "unreadable": "killed",
    }  # fmt: skip
    assert found["seen"][1].startswith("FAILED test_toy.py::test_clipped")
    assert found["endless"][1] == "3 s were not enough"
    assert restored == "True"


def test_outcomes_are_kept_and_looked_at_again_where_something_changed(tmp_path):
    path = tmp_path / "results.jsonl"
    results = run.Results(path)
    results.add(run.Outcome("seen", "killed", 1.0, "FAILED"), "module", "tests")
    results.add(run.Outcome("unseen", "survived", 1.0, ""), "module", "tests")
    with path.open("a") as file:
        file.write('{"id": "cut')
    results = run.Results(path)
    results.add(run.Outcome("late", "error", 1.0, "no memory"), "module", "tests")
    results = run.Results(path)
    assert results.settled("seen", "module", "other tests")
    assert results.settled("unseen", "module", "tests")
    assert not results.settled("unseen", "module", "other tests")
    assert not results.settled("seen", "other module", "tests")
    assert not results.settled("late", "module", "tests")
    assert not results.settled("cut", "module", "tests")


def test_the_package_may_not_be_loaded_before_its_faults(monkeypatch):
    monkeypatch.setitem(sys.modules, "arml.toy", object())
    monkeypatch.setattr(run, "_PRELOADED", ())
    with pytest.raises(RuntimeError, match="is loaded already, so no fault in it would be seen"):
        run.preload()


def test_the_report_counts_and_asks_for_reasons(tmp_path):
    one, two, three = mutations("toy.py", TOY)[:3]
    judged = [
        report.Judged(one, "toys", "killed"),
        report.Judged(two, "toys", "survived"),
        report.Judged(three, "toys", "survived"),
    ]  # fmt: skip
    table = tmp_path / "equivalent.csv"
    table.write_text(f"id,fault,reason\n{two.id},a toy,only a toy\n")
    harmless = report.reasons(table)
    text = report.table(judged, harmless)
    assert "| toys | 3 | 1 | 1 | 1 | 50.0% |" in text
    assert f"| {two.id} | {report.described(two)} | only a toy |" in text
    assert report.unreasoned(judged, harmless) == [judged[2]]
    table.write_text(f"id,fault,reason\n{two.id},a toy,\n")
    with pytest.raises(ValueError, match=r"gives no reason for .* \(a toy\); add one or write its test"):
        report.reasons(table)


def test_a_fault_is_described_in_one_line():
    one = Mutation("toy.py", "comparison", "f", "if a < b:\n", 0, 1, "a\n<  b", "|", 3)
    assert report.described(one) == "toy.py:3 f: comparison, `a < b` to `\\|` in `if a < b:`"
