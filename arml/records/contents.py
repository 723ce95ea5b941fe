"""What a record says that it holds: of what unit a row is, what is claimed of it, its columns, and which one counts.

It is part of the record's key, so that nobody has to guess it from a name or a column, and a reader needs to know
nothing of the evaluation that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from arml.records.format import DamagedRecordError

#: What one row is about.
UNITS = ("point", "pair", "triplet", "grid", "run")
#: What is claimed of the column that counts: proven for certain; attained by an attack; proven but for a probability
#: alpha of error; or measured, without any claim beyond the measurement.
CLAIMS = ("proven", "attacked", "probabilistic", "measured")
#: Types of columns, as `arml.records.files.parse_csv` reads them.
TYPES: Mapping[str, type] = MappingProxyType({"int": int, "float": float, "text": str})


@dataclass(frozen=True)
class Contents:
    """What a record holds.

    Attributes
    ----------
    unit : one of `UNITS`
    claim : one of `CLAIMS`
    columns : of ``points.csv``, in their order, each with its type, a key of `TYPES`; empty where there is none. Where
        a row is a point it has those of `POINT`, and one that counts
    counts : the column of radii: a point is lost at every radius from its own on; None where there is none
    proof : name of the file with the proof of what is claimed, or None
    alpha : probability of error of a probabilistic claim, else None
    """

    unit: str
    claim: str
    columns: Mapping[str, str]
    counts: str | None = None
    proof: str | None = None
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.unit not in UNITS or self.claim not in CLAIMS:
            raise ValueError(f"a record holds one of {UNITS} with one of {CLAIMS}, not {self.unit!r}, {self.claim!r}")
        if not set(self.columns.values()) <= TYPES.keys():
            raise ValueError(f"columns are of the types {', '.join(TYPES)}, not {dict(self.columns)}")
        if self.counts is not None and self.columns.get(self.counts) != "float":
            raise ValueError(f"the column that counts, {self.counts!r}, must be one of floats")
        if (self.alpha is not None) != (self.claim == "probabilistic"):
            raise ValueError("a probabilistic claim, and no other, has an alpha")
        if self.unit == "point" and not (POINT.items() <= dict(self.columns).items() and self.counts):
            raise ValueError(f"a point has the columns {', '.join(POINT)}, and one that counts")

    @property
    def counted(self) -> str:
        """The column that counts.

        Raises
        ------
        ValueError
            If there is none.
        """
        if self.counts is None:
            raise ValueError(f"of a record of a {self.unit}, no column counts")
        return self.counts

    def described(self) -> dict[str, object]:
        """As it stands in a record's key and its section ``holds``."""
        return {
            "unit": self.unit,
            "claim": self.claim,
            "columns": [[name, kind] for name, kind in self.columns.items()],
            "counts": self.counts,
            "proof": self.proof,
            "alpha": self.alpha,
        }

    @classmethod
    def read(cls, section: Any) -> Contents:
        """From a record's key.

        Raises
        ------
        DamagedRecordError
            If it is not what `described` gives.
        """
        try:
            columns = {str(name): str(kind) for name, kind in section["columns"]}
            made = cls(
                section["unit"], section["claim"], columns, section["counts"], section["proof"], section["alpha"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedRecordError(f"record.json does not say what it holds: {error}") from error
        if made.described() != section:
            raise DamagedRecordError("record.json says of what it holds more than there is to say")
        return made


#: Columns of whatever is about test points: a row of the test part, its label, the predicted one, and the status.
POINT: Mapping[str, str] = MappingProxyType({"index": "int", "label": "int", "prediction": "int", "status": "text"})
#: Columns of radii: a test point's row, label, predicted label, bounds and status.
BOUNDS: Mapping[str, str] = MappingProxyType(
    {"index": "int", "label": "int", "prediction": "int", "lower": "float", "upper": "float", "status": "text"}
)
#: What a search adds: the size of its tree.
SEARCH: Mapping[str, str] = MappingProxyType({"nodes": "int"})
#: What an attack adds: the norm at which the own class lost its majority of the neighbours, and the queries spent.
ATTACK: Mapping[str, str] = MappingProxyType({"majority": "float", "queries": "int"})
