"""Create, complete or refresh the environment in .venv from requirements.lock. `make` calls it; it needs no package.

It runs under whatever ``python3`` the machine has, so it keeps to the standard library and to old syntax up to the
version check. What it guarantees:

* An environment is finished only when its stamp is there, and the stamp is written last. Without the stamp, or
  after a change of requirements.lock, an environment made here is emptied and built anew.
* A .venv that someone else made is completed in place, never emptied.
* Of two set-ups at once one waits for the other, and then finds its work done.
* pip comes with the venv where Python has ensurepip (Debian: package python3-venv), else from the system's pip.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

MINIMUM = (3, 11)
if tuple(sys.version_info[:2]) < MINIMUM:
    sys.exit(
        "arml needs Python {}.{} or newer, but {} is Python {}.{}.{}.\n"
        "Name a newer one: make PYTHON=python3.12 ...".format(*MINIMUM, sys.executable, *sys.version_info[:3])
    )

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PROJECT = ROOT / "pyproject.toml"
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
MADE_HERE = VENV / ".made-by-setup-env"
STAMP = VENV / ".stamp"


class SetupError(Exception):
    """The environment cannot be built; the message says what to do."""


def main() -> int:
    """Bring .venv in line with requirements.lock and pyproject.toml; returns the exit code."""
    try:
        # Opened for writing because network file systems refuse an exclusive lock on a file open for reading only.
        with LOCK.open("r+") as lock_file:
            wait_for(lock_file.fileno())
            refresh()
    except SetupError as error:
        print(f"\nThe environment could not be built: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next call starts the environment over.", file=sys.stderr)
        return 130
    return 0


def wait_for(descriptor: int) -> None:
    """Take the exclusive lock that keeps two set-ups apart."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another set-up is at work in this folder; waiting for it to finish.", flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def refresh() -> None:
    """Do what is missing: all of it, the project's own installation only, or nothing."""
    wanted = [digest(LOCK), digest(PROJECT)]
    built = STAMP.read_text().split() if STAMP.exists() else []
    if built != wanted:
        STAMP.unlink(missing_ok=True)
        if built[:1] != wanted[:1]:
            print("Setting up the environment in .venv from requirements.lock; this takes some minutes.", flush=True)
            create_venv()
            pip("install", "--use-pep517", "-r", str(LOCK))
        # The lock pins setuptools, so the build needs nothing more from the network.
        pip("install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
        STAMP.write_text("\n".join(wanted) + "\n")
    STAMP.touch()


def create_venv() -> None:
    """An empty environment made here, or the one that someone else made, as it is."""
    if VENV.exists() and not MADE_HERE.exists():
        found = python_version(VENV_PYTHON)
        if found < MINIMUM:
            raise SetupError(f"{VENV} holds no Python {MINIMUM[0]}.{MINIMUM[1]} or newer; move it away and try again.")
        print(f"{VENV} was made by other means; installing into it.", flush=True)
        return
    has_ensurepip = importlib.util.find_spec("ensurepip") is not None
    if not has_ensurepip and system_pip_version() < (22, 3):
        raise SetupError(
            f"{sys.executable} has neither the module ensurepip nor pip 22.3 or newer, so nothing can be installed.\n"
            f"On Debian and Ubuntu: sudo apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        )
    VENV.mkdir(exist_ok=True)
    # The mark comes first and goes never, so that a set-up killed at any moment is known for one of ours.
    MADE_HERE.touch()
    for entry in VENV.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != MADE_HERE:
            entry.unlink()
    run([sys.executable, "-m", "venv", *([] if has_ensurepip else ["--without-pip"]), str(VENV)])
    if not has_ensurepip:
        pip("install", "pip")


def pip(*arguments: str) -> None:
    """Run pip for the environment: its own where it has one, else the system's from outside."""
    own = subprocess.run([VENV_PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0
    program = [str(VENV_PYTHON), "-m", "pip"] if own else [sys.executable, "-m", "pip", "--python", str(VENV_PYTHON)]
    run([*program, "--disable-pip-version-check", "--no-input", *arguments])


def run(command: list[str]) -> None:
    """Run a command whose failure ends the set-up."""
    # A user's own `user = true` would make pip refuse to install into an environment.
    code = subprocess.run(command, env={**os.environ, "PIP_USER": "0"}).returncode
    if code != 0:
        raise SetupError(
            f"exit code {code} from\n    {' '.join(command)}\n"
            "The lines above say why. The next call starts the environment over."
        )


def python_version(python: Path) -> tuple[int, ...]:
    """Major and minor version of an interpreter; (0, 0) if it does not run."""
    script = "import sys; print(*sys.version_info[:2])"
    try:
        output = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return (0, 0)
    return tuple(int(part) for part in output.split())


def system_pip_version() -> tuple[int, ...]:
    """Major and minor version of the pip of the running Python; (0, 0) if it has none."""
    shown = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, text=True)
    if shown.returncode != 0:
        return (0, 0)
    return tuple(int(part) for part in shown.stdout.split()[1].split(".")[:2])  # "pip 23.0.1 from ..."


def digest(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
