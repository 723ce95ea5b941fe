"""The proof that comes with exact 1-NN radii, as plain arrays that can be saved, sent and checked.

For a test point with claimed lower bound l, every other-class point x_j must be shown to need a perturbation of norm at
least l. Two kinds of evidence do that: for most j the closed form (eq. 8) with one of the point's *anchors*, a few
same-class training points, which the checker evaluates itself; for the rest an *entry*, nonnegative weights on
constraints of j whose dual bound is at least l. `arml.certify.recheck` verifies both.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class OneNNCertificate:
    """Evidence for n test points, in compressed rows: item i owns the slice ``ptr[i]:ptr[i + 1]``.

    Attributes
    ----------
    winner : (n,) training index of the other-class point the perturbation reaches, -1 where the radius is 0 or infinite
    anchor_ptr (n + 1,), anchors : training indices of each point's anchors
    entry_ptr (n + 1,), entry_other : training index of the other-class point each entry is about
    row_ptr (entries + 1,), row, weight : the constraints of each entry and their weights. ``row >= 0`` is the training
        index of a same-class point, ``-1 - k`` the lower and ``-1 - d - k`` the upper box bound of feature k
    box : (2,) the allowed range of every feature of the perturbed point; (-inf, inf) without a box
    """

    winner: Integers
    anchor_ptr: Integers
    anchors: Integers
    entry_ptr: Integers
    entry_other: Integers
    row_ptr: Integers
    row: Integers
    weight: NDArray[np.float64]
    box: NDArray[np.float64]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Name to array, as they are stored in an ``.npz``; `from_arrays` is the inverse."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> OneNNCertificate:
        """Certificate from stored arrays.

        Raises
        ------
        ValueError
            If an array is missing, has the wrong type or shape, or the pointers do not fit together.
        """
        values = {}
        for name in (field.name for field in fields(cls)):
            if name not in arrays:
                raise ValueError(f"damaged certificate: array {name!r} is missing")
            kind = "f" if name in ("weight", "box") else "i"
            array = np.asarray(arrays[name])
            if array.ndim != 1 or array.dtype.kind != kind:
                raise ValueError(
                    f"damaged certificate: {name!r} has shape {array.shape} and type {array.dtype}, "
                    f"expected one dimension of {'floats' if kind == 'f' else 'integers'}"
                )
            values[name] = array.astype(np.float64 if kind == "f" else np.int64)
        certificate = cls(**values)  # type: ignore[arg-type]  # the loop above has made every array of its field's type
        certificate.check_pointers()
        return certificate

    def check_pointers(self) -> None:
        """Raise ValueError unless the compressed rows are consistent."""
        n = len(self.winner)
        expected = (
            ("anchor_ptr", self.anchor_ptr, n, len(self.anchors)),
            ("entry_ptr", self.entry_ptr, n, len(self.entry_other)),
            ("row_ptr", self.row_ptr, len(self.entry_other), len(self.row)),
        )
        for name, pointer, items, total in expected:
            ordered = len(pointer) == items + 1 and pointer[0] == 0 and bool((np.diff(pointer) >= 0).all())
            if not ordered or pointer[-1] != total:
                raise ValueError(f"damaged certificate: {name!r} does not describe {items} items with {total} values")
        if len(self.weight) != len(self.row) or len(self.box) != 2:
            raise ValueError("damaged certificate: 'weight' and 'row' differ in length, or 'box' is not a pair")
