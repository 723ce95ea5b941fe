"""Provenance: the commit of a checkout and whether it was changed, none outside one, and a JSON-able whole."""

import json
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from arml.experiments.provenance import CodeState, git_state, provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_checkout_has_a_commit_and_is_dirty_once_a_tracked_file_changes(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("x = 1\n")
    assert git_state(tmp_path) == CodeState(None, None)  # nothing tracked, nothing committed
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "results.csv").write_text("untracked\n")
    assert git_state(tmp_path) == CodeState(commit, False)
    (tmp_path / "code.py").write_text("x = 2\n")
    assert git_state(tmp_path) == CodeState(commit, True)


@pytest.mark.parametrize(
    ("name", "dirty"),
    [("arml/new.py", True), ("arml/ignored.py", True), ("arml/sub/new.py", True), ("arml/fast.so", True),
     ("arml/notes.txt", False), ("elsewhere.py", False)],
)  # fmt: skip
def test_an_untracked_module_in_the_package_is_a_change_of_the_code(tmp_path: Path, name: str, dirty: bool) -> None:
    git(tmp_path, "init")
    (tmp_path / "arml").mkdir()
    (tmp_path / "arml" / "code.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_state(tmp_path / "arml") == CodeState(commit, False)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("x = 2\n")
    assert git_state(tmp_path / "arml") == CodeState(commit, dirty)


def test_a_change_outside_of_the_package_counts_where_git_tracks_it(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "arml").mkdir()
    for name in ("arml/code.py", "config.yaml"):
        (tmp_path / name).write_text("x: 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "config.yaml").write_text("x: 2\n")
    assert git_state(tmp_path / "arml").dirty


def test_a_folder_that_git_does_not_track_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "first")
    installed = tmp_path / "site-packages" / "arml"
    installed.mkdir(parents=True)
    assert git_state(installed) == CodeState(None, None)


def test_it_is_json_and_complete() -> None:
    code = CodeState("c" * 40, True)
    described = provenance(code=code, device="cpu", threads=2, wall_seconds=1.23456)
    assert (described["git_commit"], described["git_dirty"]) == ("c" * 40, True)
    assert "warmup_seconds" not in described
    warmed = provenance(code=code, device="cpu", threads=2, wall_seconds=1.0, warmup_seconds=20.00049)
    assert warmed["warmup_seconds"] == 20.0
    assert json.loads(json.dumps(described)) == described
    assert described["wall_seconds"] == 1.235
    assert described["cpu"]
    peak, versions = described["peak_memory_mib"], described["versions"]
    assert isinstance(peak, float)
    assert 5 < peak < 1e6
    assert isinstance(versions, dict)
    assert versions["numpy"]
    created = datetime.fromisoformat(str(described["created"]))
    assert created.utcoffset() is not None
