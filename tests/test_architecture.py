"""`docs/architecture.md` names every module of the package: who adds one says what it is for."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MODULES = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "arml").rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py") and "__pycache__" not in path.parts
)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_is_named_in_its_room(module):
    """By its path where it stands alone, by its name in the line of its room otherwise."""
    room = module.parent
    if str(room) == "arml":
        assert re.search(rf"`(arml/)?{module.stem}(\.py)?`", TEXT), f"{module} is not named"
        return
    while f"`{room}/`" not in TEXT and room != Path("arml"):
        room = room.parent
    lines = [line for line in TEXT.splitlines() if line.startswith("|") and f"`{room}/`" in line]
    assert lines, f"docs/architecture.md has no line for {room}"
    assert any(re.search(rf"`{module.stem}`", line) for line in lines), f"{module} is not named in the line of {room}"
