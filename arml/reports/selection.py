"""Which record fills which cell of a table: the settings of each table, and the choice among several records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from arml.reports.published import METHOD_LABELS
from arml.reports.records import RadiiRecord

#: Parameters that may have any value, because a footnote of the table states it.
DECLARED = frozenset({"fit_subset"})

Chosen = dict[tuple[str, str], RadiiRecord]


@dataclass(frozen=True)
class TableSpec:
    """What a record must be to enter a table.

    Attributes
    ----------
    name : the table's name, also of its files
    evaluation, kind, k : the evaluation's name, kind of error and number of neighbours
    datasets, methods : names, in the order of the table
    n_eval : test points (all of them where the test part is smaller), or None for any number
    seed : seed of the evaluation subset and of the learner
    params : per method the parameters a record may state, with their values; a parameter that is null or not stated
        has its default. None allows any parameters
    """

    name: str
    evaluation: str
    kind: str
    k: int
    datasets: tuple[str, ...]
    methods: tuple[str, ...] = tuple(METHOD_LABELS)
    n_eval: int | None = 1000
    seed: int = 42
    params: Mapping[str, Mapping[str, object]] | None = None

    def mismatch(self, record: RadiiRecord) -> str | None:
        """Why ``record`` does not belong into this table, or None where it does."""
        expected: dict[str, object] = {
            "evaluation": self.evaluation, "kind": self.kind, "k": self.k, "seed": self.seed, "box": None,
        }  # fmt: skip
        found: dict[str, object] = {name: getattr(record, name) for name in expected}
        if record.random_state is not None:
            expected["random_state"], found["random_state"] = self.seed, record.random_state
        if self.n_eval is not None:
            expected["n_eval"], found["n_eval"] = min(self.n_eval, record.n_test), len(record.points)
        if self.params is not None:
            allowed = self.params.get(record.method, {})
            for name, value in record.params.items():
                if value is not None and name not in DECLARED:
                    expected[f"params.{name}"], found[f"params.{name}"] = allowed.get(name, "its default"), value
        wrong = [f"{name}={found[name]} (not {expected[name]})" for name in expected if found[name] != expected[name]]
        return ", ".join(wrong) or None


#: Table 1 of the paper: exact errors of Mahalanobis 1-NN, with the training settings of its section 4.
TABLE1 = TableSpec(
    name="table1",
    evaluation="exact_1nn",
    kind="exact",
    k=1,
    datasets=("mnist", "fashion_mnist", "splice", "pendigits", "satimage", "usps"),
    params={"arml": {"loss": "negative", "max_iter": 1000, "learning_rate": 1e-3, "n_neighbors": 10}},
)

#: The same errors on scikit-learn's embedded digits; any number of points and any training budget.
DEMO = TableSpec(name="demo", evaluation="exact_1nn", kind="exact", k=1, datasets=("digits",), n_eval=None)

TABLES: Mapping[str, TableSpec] = MappingProxyType({"table1": TABLE1})


def choose_records(records: Sequence[RadiiRecord], spec: TableSpec) -> tuple[Chosen, list[str]]:
    """One record per (dataset, method) of the table, and what a reader should know about the choice.

    Of several fitting records those fitted on the most points come first, and of these the newest. Returns the chosen
    records in the table's order and one note for each ambiguous cell, and for each that has records but none with the
    table's settings.
    """
    chosen: Chosen = {}
    notes = []
    for dataset in spec.datasets:
        for method in spec.methods:
            mine = [record for record in records if (record.dataset, record.method) == (dataset, method)]
            fitting = sorted(
                (record for record in mine if spec.mismatch(record) is None),
                key=lambda record: (points_fitted(record), record.created, record.folder.name),
            )
            if fitting:
                chosen[dataset, method] = fitting[-1]
            if len(fitting) > 1:
                taken = fitting[-1]
                notes.append(
                    f"{dataset}/{method}: {len(fitting)} records fit {spec.name}; took {taken.folder.name}, "
                    f"made {taken.created:%Y-%m-%d %H:%M}"
                )
            elif mine and not fitting:
                reasons = "; ".join(f"{record.folder.name} has {spec.mismatch(record)}" for record in mine)
                notes.append(f"{dataset}/{method}: no record with the settings of {spec.name}: {reasons}")
    return chosen, notes


def points_fitted(record: RadiiRecord) -> int:
    """Number of training points the record's metric was fitted on; all of them where the learner did not say."""
    used = record.fit_report.get("n_fit_samples")
    return used if isinstance(used, int) else record.n_train
