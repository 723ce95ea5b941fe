import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("download_script", Path(__file__).parents[2] / "scripts/download.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_line_per_dataset(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["digits", "toy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["digits", "toy"]
    assert "1297 train    500 test   64 features  10 classes  digest 15454bf7ee3a0b8c" in lines[0]


def test_a_failure_is_told_and_the_others_go_on(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["usps", "nonsense", "toy", "--root", str(tmp_path), "--check"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("toy ")
    assert "libsvm/usps.bz2" in captured.err
    assert "unknown dataset 'nonsense'" in captured.err
    assert list(tmp_path.iterdir()) == []
