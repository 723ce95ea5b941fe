"""Provenance: the commit of a checkout and whether it was changed, none outside one, and a JSON-able whole."""

import json
import subprocess
from datetime import datetime
from pathlib import Path

from arml.experiments.provenance import git_state, provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_checkout_has_a_commit_and_is_dirty_once_a_tracked_file_changes(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("x = 1\n")
    assert git_state(tmp_path) == (None, None)  # nothing tracked, nothing committed
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "results.csv").write_text("untracked\n")
    assert git_state(tmp_path) == (commit, False)
    (tmp_path / "code.py").write_text("x = 2\n")
    assert git_state(tmp_path) == (commit, True)


def test_a_folder_that_git_does_not_track_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "first")
    installed = tmp_path / "site-packages" / "arml"
    installed.mkdir(parents=True)
    assert git_state(installed) == (None, None)


def test_it_is_json_and_complete() -> None:
    described = provenance(device="cpu", threads=2, wall_seconds=1.23456)
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
