"""Faults with a name: those that were once made by hand, and that the tests of that time did not notice.

Each is a piece of a module's text and what stands there instead. A piece that is not found exactly once is an error:
the fault would not be tried, and nobody would know.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutants.mutation import Mutation


@dataclass(frozen=True)
class Named:
    """One fault: in the module ``path`` the text ``before``, found once, becomes ``after``."""

    name: str
    path: str
    before: str
    after: str

    def mutation(self, root: Path) -> Mutation:
        """The fault in the module's text as it is now.

        Raises
        ------
        ValueError
            where the text is not found, or more than once
        """
        source = (root / self.path).read_text()
        found = source.count(self.before)
        if found != 1:
            raise ValueError(
                f"{self.path} has {found} times what the fault {self.name!r} replaces, not once; bring "
                f"benchmarks/mutants/named.py in line with it"
            )
        start = len(source.partition(self.before)[0].encode())
        end = start + len(self.before.encode())
        line = 1 + source.partition(self.before)[0].count("\n")
        return Mutation(self.path, "named", self.name, "", start, end, self.before, self.after, line)


_CHECK, _ENTRY, _TREE = "arml/proofs/check.py", "arml/proofs/entry_check.py", "arml/proofs/tree_check.py"
_KERNELS, _LEAVES = "arml/certify/one_nn/kernels.py", "arml/certify/knn/leaves.py"
_REFINE, _SCREENING = "arml/certify/one_nn/refine.py", "arml/certify/one_nn/screening.py"

NAMED = (
    Named(
        "points left out of a proof are not looked at (K > 1)",
        _CHECK,
        "if left.size:\n            require(",
        "if False:\n            require(",
    ),
    Named(
        "points left out of a proof are not looked at (K = 1)",
        _ENTRY,
        "if left.size:\n            require(",
        "if False:\n            require(",
    ),
    Named(
        "limits of rows without their rounding",
        _KERNELS,
        "slack += w * 0.5 * (c_error[i] + c_error[j] + accumulated * (abs(c[i]) + abs(c[j])))",
        "slack += 0.0",
    ),
    Named(
        "rows without their rounding",
        _KERNELS,
        "blur += w * (p_error[i] + p_error[j] + accumulated * length)",
        "blur += 0.0",
    ),
    Named(
        "refined bounds without errors of rows",
        _REFINE,
        "seen.P, seen.c, seen.p_error, seen.c_error, place",
        "seen.P, seen.c, 0.0 * seen.p_error, seen.c_error, place",
    ),
    Named(
        "refined bounds without errors of distances",
        _REFINE,
        "seen.P, seen.c, seen.p_error, seen.c_error, place",
        "seen.P, seen.c, seen.p_error, 0.0 * seen.c_error, place",
    ),
    Named(
        "screening without the rounding of rows",
        _SCREENING,
        "+ (2 + 2 / _GIVEN) * train.p_error_device**2",
        "+ 0.0 * train.p_error_device",
    ),
    Named(
        "screening without the test points' shares",
        _SCREENING,
        "nearest.values[:, q] + 2 * shares",
        "nearest.values[:, q] - 2 * shares",
    ),
    Named(
        "leaves without slack",
        _LEAVES,
        "slack += w * (0.5 * (c_error[high] + c_error[low]) + accumulated * (c[high] + c[low]))",
        "slack += 0.0",
    ),
    Named(
        "leaves without blur",
        _LEAVES,
        "gain -= (slack + blur * reach) * (1.0 + accumulated)",
        "gain -= slack * (1.0 + accumulated)",
    ),
    Named(
        "moved distances of leaves without their rounding",
        _LEAVES,
        "f[i] += -error if i < n_other else error",
        "f[i] += 0.0 * error",
    ),
    Named(
        "a row of another class than the label's",
        _ENTRY,
        "*_refused(of_row, in_box | ~named | own,",
        "*_refused(of_row, in_box | ~named | own | True,",
    ),
    Named("a tolerance of 1e-3 in the weak duality of entries", _ENTRY, "(sure >= needed)", "(sure >= needed * 0.999)"),
    Named(
        "a tolerance of 1e-3 in row values",
        "arml/proofs/rest_check.py",
        "have >= 2 * lower[i] * length",
        "have >= 1.998 * lower[i] * length",
    ),
    Named("evidence on undecided pairs", _TREE, "require(decided_low and bool(is_high.all()),", "require(True,"),
    Named(
        "a point decided twice",
        _TREE,
        'require(not states[which, point].any(), "a node decides a point twice")',
        "pass",
    ),
    Named(
        "the room of a box not in the frame's unit (1-NN)",
        "arml/certify/one_nn/radii.py",
        "np.stack(room_within(self.box, raw), axis=1) / train.frame.unit",
        "np.stack(room_within(self.box, raw), axis=1)",
    ),
    Named("the room of a box not in the view's unit", _CHECK, "self.room[:, i] / view.unit", "self.room[:, i]"),
    Named("a gap of 1e-2 called exact by the check", "arml/proofs/validity.py", "EXACT_GAP = 1e-6", "EXACT_GAP = 1e-2"),
    Named(
        "a gap of 1e-2 called exact by the search",
        "arml/certify/one_nn/radii.py",
        "EXACT_GAP = 1e-6",
        "EXACT_GAP = 1e-2",
    ),
    Named("a PSD tolerance of 1e-3", "arml/geometry.py", "PSD_TOLERANCE = 1e-9", "PSD_TOLERANCE = 1e-3"),
    Named(
        "Theorem 1's rows with the nearest own point for the k-th",
        "arml/certify/knn/theorem1.py",
        "farthest = nearest.values[:, k - 1]",
        "farthest = nearest.values[:, 0]",
    ),
)
