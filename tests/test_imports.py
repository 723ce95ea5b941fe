"""The public names of `arml`, and what importing does not do."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import arml

PACKAGE = Path(arml.__file__).parent
PUBLIC = [
    "ARML",
    "Dataset",
    "Mahalanobis",
    "MahalanobisKNN",
    "RadiusBounds",
    "Status",
    "load_dataset",
    "load_metric",
    "recheck",
    "save_metric",
]


def modules_after(statement: str) -> set[str]:
    """Names of the top-level packages loaded in a fresh interpreter after ``statement``."""
    script = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return set(shown.stdout.split())


def test_public_names_are_these() -> None:
    assert sorted(arml.__all__) == sorted([*PUBLIC, "__version__"])


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_what_its_home_defines(name: str) -> None:
    value = getattr(arml, name)
    assert value.__name__ == name
    assert value.__module__.startswith("arml.")
    assert getattr(arml, name) is value


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_listed_by_dir(name: str) -> None:
    assert name in dir(arml)


def test_unknown_name_is_an_attribute_error_that_names_the_public_ones() -> None:
    with pytest.raises(AttributeError, match=r"'load_data'; it offers ARML, .*load_dataset"):
        arml.load_data  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize("statement", ["import arml", "import arml.geometry, arml.radii"])
def test_import_alone_loads_no_heavy_package(statement: str) -> None:
    assert not modules_after(statement) & {"torch", "sklearn", "scipy", "pandas", "matplotlib", "hydra", "numba"}


def test_no_module_of_reports_loads_torch_or_a_stage() -> None:
    modules = [f"arml.reports.{path.stem}" for path in sorted((PACKAGE / "reports").glob("[!_]*.py"))]
    assert modules
    assert not modules_after("import " + ", ".join(modules)) & {"torch", "sklearn", "numba", "hydra", "omegaconf"}


def test_a_request_is_read_without_loading_what_computes() -> None:
    """A wrong one is turned down at once; the families are read with every request."""
    statement = "import arml.experiments.app, arml.experiments.families"
    assert not modules_after(statement) & {"torch", "sklearn", "numba", "pandas", "foolbox"}


def test_no_module_imports_through_the_public_face() -> None:
    """`from arml import load_dataset` inside the package would slip past the import rules, which see only `arml`."""
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{node.lineno} imports {alias.name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "arml" and node.level == 0
        for alias in node.names
        if alias.name in PUBLIC
    ]
    assert not found
