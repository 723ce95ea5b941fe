"""The application as users meet it: exit codes, messages, sweeps that fail in part or are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arml.experiments.app import main

from .composing import CONFIGS

ROOT = CONFIGS.parent
COMMAND = [sys.executable, str(ROOT / "scripts" / "run.py")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def records(runs: Path) -> dict[str, int]:
    """Finished records below ``runs`` and the time each was written."""
    return {str(path.parent.relative_to(runs)): path.stat().st_mtime_ns for path in runs.glob("[!.]*/*/*.json")}


def test_a_wrong_request_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    with start("dataset=ups", f"output.runs={tmp_path / 'runs'}") as process:
        out, error = process.communicate()
    assert process.returncode == 2
    assert out == ""
    assert error.startswith("error: dataset=ups: unknown dataset 'ups'; did you mean 'usps'? Valid: digits")
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_one_run_says_what_it_did_and_leaves_only_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    request = ["dataset=toy", "n_eval=10", "device=auto", "output.runs=runs"]
    assert main(request, CONFIGS) == 0
    assert main(request, CONFIGS) == 0
    out, error = capsys.readouterr()
    chosen, made, _, found = out.splitlines()
    assert chosen in ("device=auto chose cpu", "device=auto chose cuda")
    assert made.startswith("toy euclidean exact_1nn: clean error ")
    assert "made runs/radii/toy-euclidean-exact_1nn-" in made
    assert "found runs/radii/toy-euclidean-exact_1nn-" in found
    assert error == ""
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert {path.name for path in (tmp_path / "runs").iterdir()} <= {"metrics", "radii", ".locks", ".tmp"}


def test_help_lists_groups_and_keys(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"], CONFIGS)
    assert not stop.value.code
    out = capsys.readouterr().out
    assert "method: arml, euclidean, from_file" in out
    assert "n_eval: 1000" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dataset=toy", "--experimental-rerun", "x.pickle"], "pickle"),
        (["dataset=toy", "--config-name", "other"], "not supported"),
        (["-m", "dataset=toy", "hydra/launcher=joblib"], "joblib"),
    ],
)
def test_what_hydra_offers_and_this_does_not_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments, CONFIGS) == 2
    assert message in capsys.readouterr().err


def test_a_sweep_goes_on_after_a_failure_and_names_it_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, empty = tmp_path / "runs", tmp_path / "empty"
    empty.mkdir()
    request = ["-m", "dataset=usps,toy", "n_eval=10", "device=cpu", f"data.root={empty}", "data.download=false"]
    assert main([*request, f"output.runs={runs}"], CONFIGS) == 1
    out, error = capsys.readouterr()
    assert out.startswith("[2/2] toy euclidean exact_1nn: clean error")
    assert error.startswith("[1/2] failed: usps euclidean exact_1nn: DatasetError: ")
    assert "1 of 2 runs failed:" in error
    assert "Traceback" not in error
    assert sorted(name.split("-")[0] for name in records(runs)) == ["metrics/toy", "radii/toy"]


def test_an_absent_gpu_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert main(["dataset=toy", "device=cuda"], CONFIGS) == 2
    assert "device=cuda" in capsys.readouterr().err


SWEEP = ["-m", "dataset=toy", "method=arml", "method.max_iter=150", "seed=1,2,3,4", "n_eval=5", "device=cpu"]


@pytest.mark.slow
def test_a_killed_sweep_resumes_and_neither_loses_nor_repeats(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with start(*SWEEP, f"output.runs={runs}") as process:
        while not list(runs.glob("radii/[!.]*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.kill()
        process.communicate()
    before = records(runs)
    assert process.returncode == -signal.SIGKILL
    assert 2 <= len(before) < 8, "the sweep was not killed in its middle"
    for name in before:
        assert json.loads(next((runs / name).glob("*.json")).read_text())["files"]

    with start(*SWEEP, f"output.runs={runs}") as process:
        out, error = process.communicate()
    assert (process.returncode, error) == (0, "")
    after = records(runs)
    assert len(after) == 8
    assert {name: after[name] for name in before} == before
    finished = sum(name.startswith("radii/") for name in before)
    assert (out.count(" found "), out.count(" made ")) == (finished, 4 - finished)
    assert list(runs.glob("*/.tmp/*")) == []


@pytest.mark.slow
def test_a_terminated_run_says_so_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with start("dataset=toy", "method=arml", "method.max_iter=100000", f"output.runs={runs}") as process:
        while not list(runs.glob("*/.tmp/*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.terminate()
        _, error = process.communicate()
    assert process.returncode == 143
    assert error == "terminated; what is finished is kept, and the same command goes on\n"
    assert records(runs) == {}
    assert list(runs.glob("*/.tmp/*")) == []
