"""Which tests mirror which module, and how many faults of it are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Group:
    """Modules (a file, or the files of a folder), the tests that mirror them, and faults drawn of each module.

    ``only`` is pytest's ``-k``: it leaves out tests that are slow without compiled code and cases of others.
    A name of a test file that is not there is an error: a table that points nowhere would let every fault survive.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    draw: int = 8
    without: tuple[str, ...] = ()
    only: str = ""

    def paths(self, root: Path) -> list[str]:
        """The modules' paths below ``root``, sorted."""
        found: list[str] = []
        for name in self.modules:
            place = root / name
            files = sorted(place.glob("*.py")) if place.is_dir() else [place]
            found.extend(
                str(path.relative_to(root)) for path in files if path.name not in ("__init__.py", *self.without)
            )
        return found


_PROOFS, _PROOF_TESTS = "arml/proofs", "tests/proofs/test"

GROUPS: Mapping[str, Group] = {
    "geometry": Group(("arml/geometry.py",), ("tests/test_geometry.py",), 16),
    "classifier": Group(
        ("arml/classifier",),
        ("tests/certify/test_small_classifier.py", "tests/classifier", "tests/certify/test_small_one_nn.py"),
        3,
    ),
    "least_distance": Group(("arml/least_distance",), ("tests/least_distance", "tests/certify/test_small_knn.py"), 6),
    "certify/one_nn": Group(
        ("arml/certify/one_nn",), ("tests/certify/test_small_one_nn.py", "tests/certify/test_kernels.py"), 6
    ),
    "certify/knn": Group(("arml/certify/knn",), ("tests/certify/test_small_knn.py",), 5),
    "proofs/entries": Group(
        tuple(f"{_PROOFS}/{name}.py" for name in ("entry_check", "rest_check", "products", "attained", "precision")),
        tuple(
            f"{_PROOF_TESTS}_{name}.py" for name in ("small_checks", "rounding", "asked", "entry_check", "forgeries")
        ),
        4,
    ),
    "proofs/trees": Group(
        tuple(f"{_PROOFS}/{name}.py" for name in ("tree_check", "view", "check", "events")),
        tuple(
            f"{_PROOF_TESTS}_{name}.py" for name in ("small_checks", "events", "rounding", "tree_check", "entry_check")
        ),
        7,
        only="not 11-majority and not 11-plurality",
    ),
    "proofs/rational": Group(
        tuple(
            f"{_PROOFS}/rational{name}.py"
            for name in (
                "",
                "_ahead",
                "_entries",
                "_evidence",
                "_geometry",
                "_numbers",
                "_rows",
                "_screen",
                "_tree",
                "_votes",
            )
        ),
        tuple(f"{_PROOF_TESTS}_rational{name}.py" for name in ("_votes", "_parts", "")),
        3,
    ),
    "proofs/claims": Group(
        tuple(
            f"{_PROOFS}/{name}.py" for name in ("asked", "claim", "files", "formats", "validity", "result", "verdict")
        ),
        tuple(f"{_PROOF_TESTS}_{name}.py" for name in ("small_claims", "asked", "files", "main", "entry_check")),
        4,
    ),
    "records": Group(
        ("arml/records", "arml/subset.py"),
        (
            "tests/reports/test_small_reports.py",
            "tests/records",
        ),
        6,
    ),
    "verify": Group(("arml/experiments/verify.py",), ("tests/experiments/test_verify.py",), 8),
    "reports": Group(
        ("arml/reports",),
        tuple(
            f"tests/reports/test_{name}.py"
            for name in ("small_reports", "robust_errors", "claims", "tables", "table2", "tightness")
        ),
        4,
        without=("style.py", "figures.py", "bands.py", "boundaries.py"),
    ),
}
