"""Compiled code: an edit is always used, machine code is kept and found, compiling is announced once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import arml
from arml import code_version

# A package named like ours, with `arml.compiled` itself, two kernels in two modules, and a constant in a third.
MODULES = {
    "__init__.py": "",
    "constants.py": "SHIFT = 1.0\n",
    "inner.py": """
        from arml.compiled import compiled
        from arml.constants import SHIFT

        @compiled
        def shifted(x: float) -> float:
            return x + SHIFT
        """,
    "outer.py": """
        from arml.compiled import compiled
        from arml.inner import shifted

        @compiled
        def twice(x: float) -> float:
            return 2.0 * shifted(x)

        @compiled
        def inverse(x: float) -> float:
            return 1.0 / shifted(x)
        """,
    "unrelated.py": "",
}
ASK = "from arml.outer import twice; print(twice(1.0))"
COUNTED = """
from numba.core import event
class Count(event.Listener):
    n = 0
    def on_start(self, e): self.n += 1
    def on_end(self, e): pass
count = Count(); event.register("numba:compile", count)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The small package's folder, in a folder of its own."""
    folder = tmp_path / "src" / "arml"
    folder.mkdir(parents=True)
    for name, text in MODULES.items():
        (folder / name).write_text(textwrap.dedent(text))
    for name in ("compiled.py", "code_version.py"):
        shutil.copy(Path(arml.__file__).parent / name, folder / name)
    return folder


def started(package: Path, code: str, **settings: str) -> subprocess.Popen[str]:
    """A Python process that runs ``code`` with the small package, and keeps nothing outside of the test's folder."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "ARML_", "XDG_"))}
    env |= {"PYTHONPATH": str(package.parent), "HOME": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"} | settings
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command, cwd=package.parent, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ask(package: Path, code: str = ASK, **settings: str) -> tuple[str, list[str]]:
    """What ``code`` prints, and the lines on stderr."""
    process = started(package, code, **settings)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.strip(), err.splitlines()


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text of a module, without any sign of it in the file's times or size."""
    times, text = file.stat(), file.read_text()
    assert old in text
    assert len(old) == len(new)
    file.write_text(text.replace(old, new))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def folders(place: Path) -> list[Path]:
    """Folders of machine code."""
    return sorted(place.glob("arml-compiled-*"))


@pytest.mark.parametrize(
    ("module", "old", "new", "answer"),
    [
        ("outer.py", "2.0 *", "3.0 *", "6.0"),
        ("inner.py", "x + SHIFT", "x - SHIFT", "0.0"),
        ("constants.py", "1.0", "5.0", "12.0"),
    ],
)
def test_what_was_edited_is_used(package: Path, module: str, old: str, new: str, answer: str) -> None:
    assert ask(package)[0] == "4.0"
    edit(package / module, old, new)
    assert ask(package)[0] == answer
    edit(package / module, new, old)
    # The first version's machine code is still there.
    assert ask(package) == ("4.0", [])


def test_a_module_without_compiled_code_does_not_matter(package: Path) -> None:
    ask(package)
    (package / "unrelated.py").write_text("CHANGED = True\n")
    assert ask(package) == ("4.0", [])


def test_a_second_process_compiles_nothing(package: Path) -> None:
    code = COUNTED + ASK + "; print(count.n)"
    first, second = ask(package, code)[0].split(), ask(package, code)[0].split()
    assert first[0] == second[0] == "4.0"
    assert int(first[1]) >= 2
    assert second[1] == "0"


def test_compiling_is_announced_in_one_line_and_only_when_it_happens(package: Path) -> None:
    code = "from arml.outer import twice, inverse; print(twice(1.0), inverse(1.0), twice(2))"
    out, lines = ask(package, code)
    assert out == "4.0 0.5 6.0"
    assert len(lines) == 1
    assert lines[0].startswith("arml: compiling ")
    assert "once for this version of the code" in lines[0]
    assert ask(package, code)[1] == []


def test_the_line_can_be_turned_off(package: Path) -> None:
    assert ask(package, ARML_QUIET="1") == ("4.0", [])


def test_importing_compiles_nothing(package: Path) -> None:
    code = COUNTED + "import arml.outer; print(count.n)"
    assert ask(package, code) == ("0", [])


def test_without_compiler_the_functions_are_python(package: Path) -> None:
    code = "import types; from arml.outer import twice; print(twice(1.0), isinstance(twice, types.FunctionType))"
    assert ask(package, code, NUMBA_DISABLE_JIT="1") == ("4.0 True", [])


def test_an_error_in_an_inner_function_is_an_error_outside_also_from_kept_code(package: Path) -> None:
    code = """
from arml.outer import inverse
try:
    inverse(-1.0)
except ZeroDivisionError as error:
    print(error)
"""
    first = ask(package, code)[0]
    assert first == "division by zero"
    assert ask(package, code) == (first, [])


def test_where_the_package_cannot_be_written_to_the_users_folder_serves(package: Path, tmp_path: Path) -> None:
    (package / "__pycache__").write_text("a file, so nobody can write into it")
    cache = tmp_path / "cache"
    assert len(ask(package, XDG_CACHE_HOME=str(cache))[1]) == 1
    assert len(folders(cache / "arml")) == 1
    assert ask(package, XDG_CACHE_HOME=str(cache)) == ("4.0", [])


def test_with_nowhere_to_write_it_compiles_in_memory_and_says_so_once(package: Path) -> None:
    (package / "__pycache__").write_text("")
    (package.parent / ".cache").write_text("")
    code = "from arml.outer import twice, inverse; print(twice(1.0), inverse(1.0))"
    out, lines = ask(package, code)
    assert out == "4.0 0.5"
    assert len(lines) == 1
    assert "nowhere to keep compiled code" in lines[0]
    assert "NUMBA_CACHE_DIR" in lines[0]


def test_the_folder_asked_for_is_used_alone(package: Path, tmp_path: Path) -> None:
    ask(package, NUMBA_CACHE_DIR=str(tmp_path / "chosen"))
    assert len(folders(tmp_path / "chosen")) == 1
    assert not (package / "__pycache__").exists()


def test_two_processes_at_once(package: Path) -> None:
    both = [started(package, ASK) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=300)
        assert (process.returncode, out.strip()) == (0, "4.0"), err
    assert ask(package) == ("4.0", [])
    assert not list(folders(package / "__pycache__")[0].glob("*.tmp"))


def test_two_processes_at_once_with_different_types(package: Path) -> None:
    # Both write for the same function; neither may be given the other's code.
    codes = [f"from arml.outer import twice; print(twice({x}))" for x in ("1.0", "1")]
    both = [started(package, code) for code in codes]
    for process in both:
        assert process.communicate(timeout=300)[0].strip() == "4.0"
    assert [ask(package, code) for code in codes] == [("4.0", []), ("4.0", [])]


def test_damaged_machine_code_is_compiled_again(package: Path) -> None:
    ask(package)
    (file,) = folders(package / "__pycache__")[0].glob("*.bin")
    file.write_bytes(file.read_bytes()[:-100])
    out, lines = ask(package)
    assert (out, len(lines)) == ("4.0", 1)
    assert ask(package) == ("4.0", [])


def test_folders_of_old_versions_are_removed_but_for_the_last_few(package: Path) -> None:
    place = package / "__pycache__"
    place.mkdir()
    for age in range(6):
        old = place / f"arml-compiled-{age}"
        old.mkdir()
        os.utime(old, (1000 - age, 1000 - age))
    ask(package)
    left = [folder.name.removeprefix("arml-compiled-") for folder in folders(place)]
    assert left[:3] == ["0", "1", "2"]
    assert len(left) == 4
    assert not list(place.glob("removed-*"))


def test_the_version_depends_on_all_modules_that_are_compiled_and_what_they_import() -> None:
    root = Path(arml.__file__).parent
    names = {file.relative_to(root).as_posix() for file in code_version.sources()}
    decorated = {f.relative_to(root).as_posix() for f in root.rglob("*.py") if "\n@compiled\n" in f.read_text()}
    assert decorated <= names
    assert {"compiled.py", "code_version.py", "least_distance/smallest.py", "certify/knn/tree.py"} <= names
    assert "neighbors.py" not in names
