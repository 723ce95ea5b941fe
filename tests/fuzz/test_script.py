"""`scripts/fuzz.py` keeps what is done, goes on from there, and loses no block without saying so."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import worker

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT))
    return module


def _run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_a_run_goes_on_where_it_was_stopped_and_refuses_what_does_not_belong_together(tmp_path):
    out = tmp_path / "fuzz.json"
    first = _run("--kinds", "class_of_one", "--problems", 5, "--out", out)
    kept = json.loads(out.read_text())["kinds"]["class_of_one"]
    assert first.returncode in (0, 1), first.stderr
    assert kept["done"] == [0]
    number = sum(kept["counts"].values())
    assert number >= 60
    assert f"{'class_of_one':24}  {number:8d}" in first.stdout
    # Nothing is missing for as many problems; a block is for one more.
    assert _run("--kinds", "class_of_one", "--problems", number, "--out", out).stdout == first.stdout
    assert json.loads(out.read_text())["kinds"]["class_of_one"] == kept
    _run("--kinds", "class_of_one", "--problems", number + 1, "--out", out)
    more = json.loads(out.read_text())["kinds"]["class_of_one"]
    assert more["done"] == [0, 20]
    assert sum(more["counts"].values()) > number
    other = _run("--kinds", "class_of_one", "--seed", 1, "--out", out)
    assert other.returncode == 2
    assert "other settings (seed)" in other.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["fuzz.json"]


def test_violations_are_printed_and_fail_the_run(fuzz, capsys):
    example = {"name": "lower above truth", "kind": "offset", "seed": 0, "index": 7, "point": 1, "detail": "1.0 > 0.5"}
    state = {"kinds": {}}
    fuzz._add(state, ("offset", 0), {"counts": {"exact": 99, "violation": 1}, "names": {}, "examples": []})
    assert fuzz._report(state, ["offset"]) == 0
    summary = {"counts": {"violation": 1}, "names": {"lower above truth": 1}, "examples": [example]}
    fuzz._add(state, ("offset", 20), summary)
    assert state["kinds"]["offset"]["done"] == [0, 20]
    assert state["kinds"]["offset"]["counts"] == {"exact": 99, "violation": 2}
    capsys.readouterr()
    assert fuzz._report(state, ["offset"]) == 1
    assert "offset: lower above truth, 1 times" in capsys.readouterr().out


def test_a_process_that_dies_or_hangs_is_a_violation(monkeypatch):
    process = worker.Worker(ROOT, 0, False)
    process.give(("offset", 40))
    process.process.terminate()
    process.process.join()
    summary = process.result()
    assert summary["names"] == {"the process died": 1}
    assert "cases 40 to 59" in summary["examples"][0]["detail"]
    assert not process.alive
    monkeypatch.setattr(worker, "PATIENCE", 0.0)
    process = worker.Worker(ROOT, 0, False)
    process.give(("offset", 40))
    assert process.result()["names"] == {"no answer within 0 s": 1}
    assert not process.process.is_alive()


def test_blocks_come_in_rounds_and_none_twice(fuzz):
    blocks = fuzz._missing({"kinds": {"a": {"done": [0, 40]}}}, ["a", "b"])
    assert [next(blocks) for _ in range(5)] == [("b", 0), ("a", 20), ("b", 20), ("b", 40), ("a", 60)]


def test_what_is_no_result_is_refused(fuzz, tmp_path, capsys):
    path = tmp_path / "fuzz.json"
    for text in ("", "[]", "{}", '{"settings": 3', "null"):
        path.write_text(text)
        assert fuzz._read(path, {"seed": 0}) is None
        assert "delete it or name another --out" in capsys.readouterr().err
