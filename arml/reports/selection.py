"""Which record fills which cell of a table: the settings of each table, and the choice among several records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from arml.records.contents import BOUNDS
from arml.records.reader import RadiiRecord
from arml.reports.names import is_from_file, methods_in_order, with_names
from arml.reports.published import METHOD_LABELS

#: Parameters that may have any value, because a footnote of the table states it.
DECLARED = frozenset({"fit_subset"})

#: Columns of the points that tell how a radius was found, not how large it is.
_EFFORT = frozenset({"queries", "nodes"})


class DisagreementError(ValueError):
    """Two sound records of the same cell have different numbers: one of them is wrong, and nothing may be reported."""


#: The record of each (dataset, method, kind).
Chosen = dict[tuple[str, str, str], RadiiRecord]


@dataclass(frozen=True)
class Kind:
    """One kind of error in a table, and what a record must be to carry it.

    Attributes
    ----------
    name, title : as records and files call it, and as readers see it
    evaluation : name of the evaluation
    column : which column of the points a record must say that counts: "lower" where the error counts the points that
        are not proven robust (eq. 3 of the paper), "upper" where it counts those that an attack broke (eq. 4)
    paper : the kind of the paper's numbers that these are compared with, or None where it prints none
    box : bounds that perturbed points had to keep, or None
    min_points : test points that suffice where the table's own number was too many, or None where nothing less does
    steps : steps of the attack by default, which a footnote need not mention; None where there are none to count
    seeks_majority : whether the attack also looks for where the own class loses its majority of the neighbours; one
        that does not records the norm at which the answer changes for both
    event : what must have counted as an attack, where the evaluation leaves a choice
    """

    name: str
    title: str
    evaluation: str
    column: str
    paper: str | None = None
    box: tuple[float, ...] | None = None
    min_points: int | None = None
    steps: int | None = None
    seeks_majority: bool = False
    event: str | None = None

    @property
    def is_exact(self) -> bool:
        """Whether the radii are the classifier's own, each closed or known to lie between two bounds."""
        return self.name == "exact"

    @property
    def is_proof(self) -> bool:
        """Whether the radii are lower bounds that nothing stands beside."""
        return not (self.is_attack or self.is_exact)

    @property
    def is_attack(self) -> bool:
        """Whether the radii are norms of perturbations that an attack found."""
        return self.column == "upper"


@dataclass(frozen=True)
class TableSpec:
    """What a record must be to enter a table.

    Attributes
    ----------
    name : the table's name, also of its files
    caption : what its numbers are
    kinds : the kinds of error, in the order of the table; kinds without any record are left out
    k : number of neighbours
    datasets, methods : names, in the order of the table
    n_eval : test points (all of them where the test part is smaller), or None for any number
    seed : seed of the evaluation subset and of the learner
    params : per method the parameters a record may state, with their values; a parameter that is null or not stated
        has its default. None allows any parameters
    """

    name: str
    caption: str
    kinds: tuple[Kind, ...]
    k: int
    datasets: tuple[str, ...]
    methods: tuple[str, ...] = tuple(METHOD_LABELS)
    n_eval: int | None = 1000
    seed: int = 42
    params: Mapping[str, Mapping[str, object]] | None = None

    def mismatch(self, record: RadiiRecord, kind: Kind) -> str | None:
        """Why ``record`` does not belong into this table's cells of ``kind``, or None where it does."""
        expected: dict[str, object] = {
            "evaluation": kind.evaluation, "kind": kind.name, "k": self.k, "seed": self.seed, "box": kind.box,
            "norm": 2.0,
            "start": None, "event": kind.event,
        }  # fmt: skip
        found: dict[str, object] = {name: getattr(record, name) for name in expected}
        expected |= {"counts": kind.column, "claim": "attacked" if kind.is_attack else "proven"}
        found |= {"counts": record.holds.counts, "claim": record.holds.claim}
        if record.random_state is not None:
            expected["random_state"], found["random_state"] = self.seed, record.random_state
        if self.n_eval is not None:
            n, enough, full = len(record.points), self.points_needed(record, kind), self.points_wanted(record)
            # A wish that is fulfilled equals what was found; only an unfulfilled one is spelt out.
            wish = full if enough == full else f"{enough} to {full}"
            expected["n_eval"], found["n_eval"] = n if enough <= n <= full else wish, n
        if self.params is not None:
            allowed = self.params.get(record.method, {})
            for name, value in record.params.items():
                if value is not None and name not in DECLARED:
                    expected[f"params.{name}"], found[f"params.{name}"] = allowed.get(name, "its default"), value
        wrong = [f"{name}={found[name]} (not {expected[name]})" for name in expected if found[name] != expected[name]]
        wrong += [f"no column {name}" for name in BOUNDS if name not in record.holds.columns]
        return ", ".join(wrong) or None

    def points_wanted(self, record: RadiiRecord) -> int:
        """Test points that a record of this table's dataset should have."""
        return record.n_test if self.n_eval is None else min(self.n_eval, record.n_test)

    def points_needed(self, record: RadiiRecord, kind: Kind) -> int:
        """Test points that are just enough for ``kind``."""
        wanted = self.points_wanted(record)
        return wanted if kind.min_points is None else min(kind.min_points, wanted)

    def kind(self, name: str) -> Kind:
        """The kind of that name."""
        return next(kind for kind in self.kinds if kind.name == name)


EXACT = Kind("exact", "Exact", "exact_1nn", "lower", paper="exact")
_EXACT_CAPTION = (
    "Exact robust errors of Mahalanobis 1-NN over the radius of the perturbation; "
    "at radius 0 they are clean errors in which a tie is an error."
)
#: ARML as the paper's section 4 trains it.
_PAPER_PARAMS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"arml": {"loss": "negative", "max_iter": 1000, "learning_rate": 1e-3, "n_neighbors": 10}}
)
_PAPER_DATASETS = ("mnist", "fashion_mnist", "splice", "pendigits", "satimage", "usps")

#: Table 1 of the paper: exact errors of Mahalanobis 1-NN.
TABLE1 = TableSpec(
    name="table1", caption=_EXACT_CAPTION, kinds=(EXACT,), k=1, datasets=_PAPER_DATASETS, params=_PAPER_PARAMS
)

#: Table 2 of the paper: certified and empirical errors of Mahalanobis 11-NN. What the paper calls empirical comes from
#: the Boundary Attack; the other attacks have no printed numbers.
TABLE2 = TableSpec(
    name="table2",
    caption=(
        "Certified and empirical robust errors of Mahalanobis 11-NN over the radius of the perturbation. A certified "
        "error counts the points that Theorem 1 leaves unproven, an empirical one those that an attack broke; on the "
        "same points the robust error is at most the certified one and at least the empirical one. The exact error, "
        "which the paper has not, is the truth between them. What was run on fewer points, which a footnote then says, "
        "is not comparable with the other kinds point by point. At radius 0 the empirical errors are clean errors."
    ),
    kinds=(
        Kind("certified", "Certified (Theorem 1)", "certified_knn", "lower", paper="certified"),
        Kind("exact", "Exact", "exact_knn", "lower", event="plurality", min_points=100),
        Kind(
            "boundary", "Boundary Attack", "boundary", "upper", paper="empirical", box=(0.0, 1.0), min_points=100,
            steps=25_000,
        ),
        Kind("local_search", "Local search", "local_search", "upper", seeks_majority=True, min_points=100),
        Kind("hopskipjump", "HopSkipJump", "hopskipjump", "upper", box=(0.0, 1.0), min_points=100, steps=64),
    ),
    k=11,
    datasets=_PAPER_DATASETS,
    params=_PAPER_PARAMS,
)  # fmt: skip

#: The errors of Table 1 on scikit-learn's embedded digits; any number of points and any training budget.
DEMO = TableSpec(name="demo", caption=_EXACT_CAPTION, kinds=(EXACT,), k=1, datasets=("digits",), n_eval=None)

TABLES: Mapping[str, TableSpec] = MappingProxyType({spec.name: spec for spec in (TABLE1, TABLE2)})


def choose_records(records: Sequence[RadiiRecord], spec: TableSpec) -> tuple[Chosen, list[str]]:
    """One record per (dataset, method, kind) of the table, and what a reader should know about the choice.

    The kinds of one dataset and method are only put beside each other where they were measured under one metric: of
    several metrics that with the most kinds is taken. Of several fitting records those of the code at hand come first,
    of these those that evaluated the most points, then those whose attack took the most steps or whose search was
    allowed the most nodes, those with proofs, those fitted on the most points, and the user's own before the ledger's.
    When they were made decides nothing: where several are left their numbers must be the same. After the table's
    methods come the user's own metrics, by the names of their files (`arml.reports.names`). Returns the chosen records
    in the table's order and one note for each ambiguous cell, for each of the user's own that is not what the ledger
    has, and for each that has records but none with the table's settings.

    Raises
    ------
    DisagreementError
        If records that are equally good for a cell have different numbers; it names two of them.
    """
    chosen: Chosen = {}
    notes: list[str] = []
    records = with_names(records)
    own = {record.method for record in records if record.local and is_from_file(record.method)}
    for dataset in spec.datasets:
        for method in methods_in_order(spec.methods, own):
            mine = [record for record in records if (record.dataset, record.method) == (dataset, method)]
            choices = [_choice([r for r in mine if _measured_on(r) == group], spec) for group in _groups(mine)]
            if not choices:
                continue
            best = _best_choice(choices, spec)
            chosen |= {(dataset, method, kind): record for kind, record in best.taken.items()}
            notes += _notes(f"{dataset}/{method}", best, choices, mine, spec)
    return chosen, notes


@dataclass(frozen=True)
class _Choice:
    """The records taken for one row of a table, by kind, all measured with one metric on the same data.

    ``fitting`` are all that would do, by kind.
    """

    taken: Mapping[str, RadiiRecord]
    fitting: Mapping[str, Sequence[RadiiRecord]]

    def worth(self, spec: TableSpec) -> tuple[object, ...]:
        """More kinds first, and the table's first ones; then newer code, more points, and the user's own records."""
        records = self.taken.values()
        return (
            len(records),
            [kind.name in self.taken for kind in spec.kinds],
            sum(not record.outdated for record in records),
            sum(len(record.points) for record in records),
            sum(points_fitted(record) for record in records),
            sum(record.local for record in records),
        )


def _best_choice(choices: Sequence[_Choice], spec: TableSpec) -> _Choice:
    """The choice of most worth; two of the same are records of one cell that disagree, for their metrics do."""
    most = max(choice.worth(spec) for choice in choices)
    best = [choice for choice in choices if choice.worth(spec) == most]
    for kind in best[0].taken if len(best) > 1 else ():
        best_record([choice.taken[kind] for choice in best], lambda _: ())
    return best[0]


def _measured_on(record: RadiiRecord) -> tuple[str, str]:
    return record.metric_digest, record.dataset_digest


def _groups(records: Sequence[RadiiRecord]) -> list[tuple[str, str]]:
    return sorted({_measured_on(record) for record in records})


def _choice(records: Sequence[RadiiRecord], spec: TableSpec) -> _Choice:
    fitting = {
        kind.name: [r for r in records if r.evaluation == kind.evaluation and spec.mismatch(r, kind) is None]
        for kind in spec.kinds
    }
    taken = {name: _taken(found, spec.kind(name)) for name, found in fitting.items() if found}
    return _Choice(taken, fitting)


def _taken(fitting: Sequence[RadiiRecord], kind: Kind) -> RadiiRecord:
    def preference(record: RadiiRecord) -> tuple[object, ...]:
        steps = kind.steps if record.steps is None else record.steps
        return not record.outdated, len(record.points), steps or 0, *effort(record), record.local

    return best_record(fitting, preference)


def _notes(
    row: str, best: _Choice, choices: Sequence[_Choice], mine: Sequence[RadiiRecord], spec: TableSpec
) -> list[str]:
    """What a reader should know about the choice for one row of the table."""
    notes = []
    for kind in spec.kinds:
        name = row if len(spec.kinds) == 1 else f"{row}, {kind.name}"
        fitting = [record for choice in choices for record in choice.fitting[kind.name]]
        taken = best.taken.get(kind.name)
        if taken is not None and len({record.folder.name for record in fitting}) > 1:
            notes.append(f"{name}: {len(fitting)} records fit {spec.name}; took {taken.folder.name}")
        if taken is not None and taken.local:
            for other in fitting:
                difference = "" if other.local or effort(other) != effort(taken) else _difference(taken, other)
                if difference:
                    notes.append(f"{name}: {taken.folder.name} is not what the ledger has: {difference}")
        if taken is None and fitting:
            other = next(iter(best.taken.values()))
            notes.append(
                f"{name}: left out {fitting[0].folder.name}: measured with another metric or on other data than "
                f"{other.folder.name}, whose numbers it would stand beside"
            )
        wrong = [record for record in mine if record.evaluation == kind.evaluation]
        if not fitting and wrong:
            reasons = "; ".join(f"{record.folder.name} has {spec.mismatch(record, kind)}" for record in wrong)
            notes.append(f"{name}: no record with the settings of {spec.name}: {reasons}")
    return notes


def best_record(records: Sequence[RadiiRecord], preference: Callable[[RadiiRecord], tuple[object, ...]]) -> RadiiRecord:
    """The record that ``preference`` puts last; of several equally good ones, which must agree, the first by its id.

    Raises
    ------
    DisagreementError
        If they do not.
    """
    highest = max(preference(record) for record in records)
    best = sorted((r for r in records if preference(r) == highest), key=lambda record: record.folder.name)
    for other in best[1:]:
        difference = _difference(best[0], other)
        if difference:
            raise DisagreementError(
                f"{best[0].folder} and {other.folder} are records of the same cell, made with equally good "
                f"settings, and disagree: {difference}; find out which is wrong, and remove its folder"
            )
    return best[0]


def effort(record: RadiiRecord) -> tuple[int, bool, int]:
    """How much went into a record besides its points and steps: more is better."""
    return record.max_nodes or 0, record.proofs, points_fitted(record)


def _difference(one: RadiiRecord, other: RadiiRecord) -> str:
    """The first difference between two records in what a table shows; empty where there is none."""
    for name in ("dataset_digest", "metric_digest"):
        if getattr(one, name) != getattr(other, name):
            return f"{name} is {getattr(one, name)[:12]} in the first, {getattr(other, name)[:12]} in the second"
    columns = [name for name in one.points.columns.tolist() if name not in _EFFORT]
    if columns != [name for name in other.points.columns.tolist() if name not in _EFFORT]:
        return "their points have different columns"
    # Equally good records have equally many points, each the subset that its seed gives, in that order.
    for name in columns:
        mine, theirs = one.points[name].to_numpy(), other.points[name].to_numpy()
        rows = np.flatnonzero(mine != theirs)
        if rows.size:
            i, point = rows[0], one.points["index"].iloc[rows[0]]
            return f"{name} of test point {point} is {mine[i]} in the first, {theirs[i]} in the second"
    return ""


def points_fitted(record: RadiiRecord) -> int:
    """Number of training points the record's metric was fitted on; all of them where the learner did not say."""
    used = record.fit_report.get("n_fit_samples")
    return used if isinstance(used, int) else record.n_train
