"""requirements.lock, pyproject.toml and environment.yml agree."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import arml

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK_LINES = [
    line
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PINS = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in LOCK_LINES)}
DIRECT = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]


@pytest.mark.parametrize("dependency", DIRECT)
def test_direct_dependency_is_pinned_within_its_range(dependency: str) -> None:
    requirement = Requirement(dependency)
    version = PINS.get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement.name} is not in requirements.lock; run `make lock`"
    assert requirement.specifier.contains(version), f"the lock has {requirement.name} {version}; run `make lock`"


def test_lock_holds_exact_public_pins_only() -> None:
    """A local version label (``+cpu``) would name one machine's wheel."""
    assert LOCK_LINES
    assert not [line for line in LOCK_LINES if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)]


def test_lock_names_each_package_once_and_sorted() -> None:
    names = [Requirement(line).name for line in LOCK_LINES]
    assert len(PINS) == len(names)
    assert sorted(LOCK_LINES) == LOCK_LINES


def test_lock_pins_no_cuda_package() -> None:
    assert not [name for name in PINS if name.startswith(("nvidia-", "cuda-", "triton"))]


def test_conda_environment_takes_its_packages_from_the_lock() -> None:
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text(encoding="utf-8").splitlines()]
    assert "name: arml" in lines
    assert "- -r requirements.lock" in lines
    assert "- -e ." in lines


def test_citation_names_this_version() -> None:
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {arml.__version__}" in lines
