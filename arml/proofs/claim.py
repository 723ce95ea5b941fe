"""What a result claims: of which classifier, which points, which event, in which box; and the words it may use.

A claim names its data by digests, so that a proof cannot be passed off as one about other data.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: What counts as an attack; see docs/proofs.md. For K = 1 all three are the same.
EVENTS = ("majority", "plurality", "predict")

#: What may be said of a point; the same words as in `arml.radii.Status`.
STATUSES = ("exact", "misclassified", "tied", "bounded", "unreachable", "time_limit")


@dataclass(frozen=True)
class Subject:
    """The data a result is about: factor G (r, d) of the metric, training points and labels, test points and labels."""

    components: Array
    X_train: Array
    y_train: Integers
    X: Array
    y: Integers


@dataclass(frozen=True)
class Claim:
    """What radii are claimed for.

    Attributes
    ----------
    n_neighbors : K, odd
    event : one of `EVENTS`
    norm : order of the norm of perturbations; 2.0 is the only one there are proofs for
    box : (low, high), the range of every coordinate of the perturbed point, infinite without a box. A coordinate of a
        test point that is outside keeps its own value as limit
    components, X_train, y_train, X, y : SHA-256 (hex) of the arrays of the `Subject`, see `digest`
    """

    n_neighbors: int
    event: str
    norm: float
    box: tuple[float, float]
    components: str
    X_train: str
    y_train: str
    X: str
    y: str

    @classmethod
    def about(
        cls, subject: Subject, n_neighbors: int, event: str, box: tuple[float, float] | None, known: Mapping[str, str]
    ) -> Claim:
        """Claim about ``subject``; ``known`` are digests that need not be computed again, by the name of the array."""
        digests = {
            name: known.get(name) or digest(getattr(subject, name))
            for name in ("components", "X_train", "y_train", "X", "y")
        }
        low, high = (-np.inf, np.inf) if box is None else (float(box[0]), float(box[1]))
        return cls(int(n_neighbors), event, 2.0, (low, high), **digests)

    def text(self) -> str:
        """The claim as JSON (an infinite bound of the box as null), as files keep it; `from_text` is the inverse."""
        values = asdict(self) | {"box": [bound if np.isfinite(bound) else None for bound in self.box]}
        return json.dumps(values, sort_keys=True, allow_nan=False)

    @classmethod
    def from_text(cls, text: str) -> Claim:
        """Claim from JSON.

        Raises
        ------
        ValueError
            If the text is no JSON, lacks a field, has one too many, or one of the wrong type.
        """
        values = json.loads(text)
        names = [field.name for field in fields(cls)]
        if not isinstance(values, dict) or sorted(values) != sorted(names):
            raise ValueError(f"a claim consists of {', '.join(names)}")
        K, box = values["n_neighbors"], values["box"]
        numbers = isinstance(box, list) and len(box) == 2 and all(b is None or type(b) in (int, float) for b in box)
        words = all(isinstance(values[name], str) for name in ("event", "components", "X_train", "y_train", "X", "y"))
        if type(K) is not int or type(values["norm"]) not in (int, float) or not numbers or not words:
            raise ValueError("a claim's field is of the wrong type")
        low, high = -math.inf if box[0] is None else float(box[0]), math.inf if box[1] is None else float(box[1])
        return cls(**values | {"norm": float(values["norm"]), "box": (low, high)})


def digest(array: NDArray[np.generic]) -> str:
    """SHA-256 (hex) of an array: its shape in decimal digits, a newline, its values in C order, little-endian.

    Floats are taken as float64 and all others as int64.
    """
    kind = "<f8" if array.dtype.kind == "f" else "<i8"
    values = np.ascontiguousarray(array, dtype=kind)
    sha = hashlib.sha256(f"{'x'.join(map(str, array.shape))}\n".encode())
    sha.update(values.data)
    return sha.hexdigest()
