"""Whoever checks a proof need not trust, or wait for, what made it."""

import ast
import subprocess
import sys
from pathlib import Path

import arml.proofs

ROOM = Path(arml.proofs.__file__).parent
ALLOWED = {"numpy", "arml"} | set(sys.stdlib_module_names)


def test_importing_loads_no_solver() -> None:
    script = "import sys, arml.proofs\nprint(*sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    loaded = set(shown.stdout.split())
    assert "arml.proofs.check" in loaded
    assert not {name.partition(".")[0] for name in loaded} & {"torch", "numba", "scipy", "sklearn", "threadpoolctl"}
    ours = {name for name in loaded if name.startswith("arml.")}
    assert all(name == "arml.proofs" or name.startswith("arml.proofs.") for name in ours), ours


def test_no_module_imports_anything_else() -> None:
    """Not on import and not later: every import statement of the room, wherever it stands."""
    for path in sorted(ROOM.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, path
                names = [node.module or ""]
            for name in names:
                assert name.partition(".")[0] in ALLOWED, (path.name, name)
                assert not name.startswith("arml") or name.startswith("arml.proofs"), (path.name, name)
