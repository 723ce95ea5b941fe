"""What every reader of a record checks before it believes a word of it.

A record's id is the hash of its *key*. The key holds everything the numbers depend on, and says what the record holds
(`arml.records.contents`); what the record says in its readable sections (dataset, method, metric, evaluation, holds)
must be what the key says, or it is refused. Nothing here depends on which evaluation it was. What no hash covers is
only where and when it was made (``provenance``), the grid of radii that was to be reported, and what a learner said
about its fit beyond `FIT_FIELDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arml import versions
from arml.records.contents import Contents
from arml.records.format import DamagedRecordError, canonical_json

#: What the reports believe of a fit.
FIT_FIELDS = ("n_fit_samples", "n_iter", "converged")
#: Fields of the evaluation section that are no settings: thresholds to report, which change no radius.
_PRESENTATION = ("radii",)


def check_sections(content: Mapping[str, Any]) -> None:
    """Every section of a record's description must say what its key says, and the files that belong to it be listed.

    Raises
    ------
    DamagedRecordError
        Naming the field, what the section says of it, and what the key says; or the file that is not listed.
    """
    key = content["key"]
    if content.get("stage") != key.get("stage"):
        raise DamagedRecordError(f"its stage is {content.get('stage')!r}, the stage in its key {key.get('stage')!r}")
    learned = content["stage"] == "metrics"
    # The size of the dataset, from which the evaluation subset follows, is in the key of an evaluation alone.
    _agree("dataset", _object(content, "dataset"), _object(key, "dataset"), exhaustive=not learned)
    method = dict(_object(content, "method"))
    _agree("method", method, {**_object(key, "method"), "random_state": key.get("seed")})
    if learned:
        return
    metric, named = _object(content, "metric"), _object(key, "metric")
    believed = {"digest": key.get("metric_digest"), "id": named.get("id")}
    report = metric.get("fit_report") or {}
    _agree("metric.fit_report", {name: report.get(name) for name in FIT_FIELDS}, _object(named, "fit"))
    _agree("metric", {name: metric.get(name) for name in believed}, believed)
    evaluation = _object(content, "evaluation")
    asked = {name: value for name, value in evaluation.items() if name not in _PRESENTATION}
    _agree("evaluation", asked, _object(key, "evaluation"), exhaustive=True)
    _agree("holds", _object(content, "holds"), _object(key, "holds"), exhaustive=True)
    _check_files(content)


def _agree(section: str, found: Mapping[str, Any], expected: Mapping[str, Any], *, exhaustive: bool = False) -> None:
    names = sorted({*expected, *found}) if exhaustive else sorted(expected)
    for name in names:
        ours, theirs = _shown(found, name), _shown(expected, name)
        if ours != theirs:
            raise DamagedRecordError(f"{section}.{name} is {ours} in its section, {theirs} in the key of its id")


def _shown(values: Mapping[str, Any], name: str) -> str:
    # As JSON, because True == 1 and 1 == 1.0 in Python.
    return canonical_json(values[name]) if name in values else "nothing"


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    if not isinstance(value, dict):
        raise DamagedRecordError(f"record.json has no section {name!r}, or its key has none")
    return value


def needs_proof(key: Mapping[str, Any]) -> bool:
    """Whether a proof belongs to a record with this key.

    Raises
    ------
    DamagedRecordError
        If the key does not say what the record holds.
    """
    return Contents.read(key.get("holds")).proof is not None


def _check_files(content: Mapping[str, Any]) -> None:
    holds = Contents.read(content["key"]["holds"])
    if holds.columns and "points.csv" not in content["files"]:
        raise DamagedRecordError("points.csv is not among the files it lists")
    if holds.proof is not None and holds.proof not in content["files"]:
        raise DamagedRecordError(f"a proof belongs to it, but {holds.proof} is not among the files it lists")


def outdated(key: Mapping[str, Any]) -> str:
    """Which versions of the code in a record's key are not those at hand, in words; empty where all are.

    Which stages an evaluation comes from is its own affair; but none comes from less than its metric does.

    Raises
    ------
    DamagedRecordError
        If the key names no versions.
    """
    made = key.get("versions")
    if not isinstance(made, dict) or not made:
        raise DamagedRecordError("its key names no versions")
    due = versions.metric_versions(str(key["method"].get("name")))
    now = due | {name: versions.VERSIONS[name] for name in made if name in versions.VERSIONS}
    return "; ".join(
        f"{name} {made.get(name, 'none')}, now {now.get(name, 'none')}"
        for name in sorted({*made, *due})
        if made.get(name) != now.get(name) or type(made.get(name)) is not int
    )
