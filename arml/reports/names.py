"""Names and labels of methods: the papers' six, and after them the user's own metrics by the name of their file.

Every record of ``method=from_file`` calls its method ``from_file``, whatever the file. In reports it is
``from_file:<stem>``, so that two metrics are two rows, and that a file called ``arml.npz`` is not taken for ARML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePath

from arml.records.reader import RadiiRecord
from arml.reports.published import METHOD_LABELS

FROM_FILE = "from_file"
_PREFIX = f"{FROM_FILE}:"
_DIGITS = 8
#: Longest label in a figure; longer ones end in an ellipsis.
_LONGEST = 20


def with_names(records: Sequence[RadiiRecord]) -> list[RadiiRecord]:
    """The records, those of ``from_file`` with the name of their file; all others, and named ones, as they are.

    Two metrics on one dataset whose files have the same stem are told apart by the beginning of their digests.
    """
    digests: dict[tuple[str, str], set[str]] = {}
    for record in records:
        if record.method == FROM_FILE:
            digests.setdefault((record.dataset, _stem(record)), set()).add(record.metric_digest)
    return [_named(record, digests) if record.method == FROM_FILE else record for record in records]


def methods_in_order(first: Sequence[str], methods: Iterable[str]) -> list[str]:
    """``first`` as it is, then whatever else ``methods`` has, each once, by its name."""
    return [*first, *sorted(set(methods) - set(first))]


def is_from_file(method: str) -> bool:
    """Whether a method's name is that of the user's own metric."""
    return method == FROM_FILE or method.startswith(_PREFIX)


def method_label(method: str) -> str:
    """What readers call a method; a metric's file named like one of the six is marked as a file."""
    if not method.startswith(_PREFIX):
        return METHOD_LABELS.get(method, method)
    stem = method.removeprefix(_PREFIX)
    return f"{stem} (file)" if stem.lower() in METHOD_LABELS else stem


def figure_label(method: str) -> str:
    """The label as a figure has room for it; a dollar sign is no formula."""
    label = method_label(method)
    label = label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"
    return label.replace("$", r"\$")


def _named(record: RadiiRecord, digests: dict[tuple[str, str], set[str]]) -> RadiiRecord:
    stem = _stem(record)
    several = len(digests[record.dataset, stem]) > 1
    return replace(record, method=_PREFIX + stem + (f" ({record.metric_digest[:_DIGITS]})" if several else ""))


def _stem(record: RadiiRecord) -> str:
    source = record.fit_report.get("source")
    # A name may hold line breaks; a row of a table may not.
    stem = " ".join(PurePath(source).stem.split()) if isinstance(source, str) else ""
    return stem or FROM_FILE
