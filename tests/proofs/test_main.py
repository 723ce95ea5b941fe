"""``python -m arml.proofs FILE`` says what is claimed and whether it holds, and ends in no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arml.proofs.__main__ import main
from arml.proofs.files import save
from tests.proofs.results import claiming, random_result

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def result():
    return random_result(1, K=3)


def test_a_sound_file_is_described_and_confirmed(result, tmp_path, capsys):
    save(result, tmp_path / "radii.npz")
    assert main([str(tmp_path / "radii.npz")]) == 0
    printed = capsys.readouterr().out
    assert f"K = 3, event {result.claim.event}, norm 2, box [" in printed
    assert f"X_train    {result.claim.X_train}" in printed
    assert "3 of 3 points confirmed, 0 refused, in exact arithmetic" in printed


def test_a_refused_point_is_named_with_its_reason(result, tmp_path, capsys):
    save(claiming(result, 1, status="sure"), tmp_path / "radii.npz")
    assert main([str(tmp_path / "radii.npz")]) == 1
    assert "point 1 refused: unknown status 'sure'" in capsys.readouterr().out
    assert main([str(tmp_path / "radii.npz"), "--points", "0:1"]) == 0
    assert "1 of 1 points confirmed" in capsys.readouterr().out
    assert main([str(tmp_path / "radii.npz"), "--points", "1:9"]) == 2
    assert "is no range of the 3 test points" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N.", bytes(np.arange(256, dtype=np.uint8)) * 9])
def test_what_is_no_file_of_ours_is_said_to_be_none(content, tmp_path, capsys):
    (tmp_path / "radii.npz").write_bytes(content)
    assert main([str(tmp_path / "radii.npz")]) == 2
    assert "cannot be checked: damaged proof: the file cannot be read as .npz" in capsys.readouterr().err
    assert main([str(tmp_path / "none.npz")]) == 2
    assert main([str(tmp_path)]) == 2


@pytest.mark.parametrize("command", [["-m", "arml.proofs"], ["scripts/check_proof.py"]])
def test_the_commands_load_neither_torch_nor_numba(command, result, tmp_path):
    save(result, tmp_path / "radii.npz")
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['check', {str(tmp_path / 'radii.npz')!r}]\n"
        "try:\n"
        f"    {'runpy.run_module' if command[0] == '-m' else 'runpy.run_path'}({command[-1]!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    loaded = {'torch', 'numba', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "    sys.exit(9 if loaded else end.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 points confirmed" in done.stdout
