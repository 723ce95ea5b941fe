"""What every reader of a record checks before it believes a word of it.

A record's id is the hash of its *key*. The key holds everything the numbers depend on; what the record says in its
readable sections (dataset, method, metric, evaluation) must be what the key says, or it is refused. What no hash covers
is only where and when it was made (``provenance``), the grid of radii that was to be reported, and what a learner
said about its fit beyond `FIT_FIELDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arml.records.format import PROOF_FILE, DamagedRecordError, canonical_json
from arml.versions import STAGES, record_versions

#: What the reports believe of a fit.
FIT_FIELDS = ("n_fit_samples", "n_iter", "converged")
#: Fields of the evaluation section that are no settings: thresholds to report, which change no radius.
_PRESENTATION = ("radii",)
#: Fields that older records of grids have, where no test points are evaluated.
_NOT_OF_GRIDS = ("n_eval", "seed")
#: Evaluations that leave a proof wherever their key does not say otherwise.
_PROVES = "exact_1nn"
_MAY_PROVE = "exact_knn"


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
    _agree("dataset", _object(content, "dataset"), _object(key, "dataset"))
    method = dict(_object(content, "method"))
    _agree("method", method, {**_object(key, "method"), "random_state": key.get("seed")})
    if content["stage"] == "metrics":
        return
    metric = _object(content, "metric")
    believed = {"digest": key.get("metric_digest")}
    if "metric" in key:  # records from before this lack it; they are older ones, and marked where they are shown
        believed |= {name: value for name, value in _object(key, "metric").items() if name != "fit"}
        report = metric.get("fit_report") or {}
        _agree("metric.fit_report", {name: report.get(name) for name in FIT_FIELDS}, _object(key["metric"], "fit"))
    _agree("metric", {name: metric.get(name) for name in believed}, believed)
    evaluation = _object(content, "evaluation")
    unhashed = _PRESENTATION if content["stage"] == "radii" else (*_PRESENTATION, *_NOT_OF_GRIDS)
    asked = {name: value for name, value in evaluation.items() if name not in unhashed}
    _agree("evaluation", asked, _object(key, "evaluation"), exhaustive=True)
    if content["stage"] == "radii":
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
    """Whether a proof belongs to a record with this key."""
    evaluation = key["evaluation"]
    return evaluation["name"] == _PROVES or (evaluation["name"] == _MAY_PROVE and evaluation.get("proofs") is True)


def _check_files(content: Mapping[str, Any]) -> None:
    due = ["points.csv", *([PROOF_FILE] if needs_proof(content["key"]) else [])]
    for name in due:
        if name not in content["files"]:
            what = "a proof belongs to it, but " if name == PROOF_FILE else ""
            raise DamagedRecordError(f"{what}{name} is not among the files it lists")


def outdated(key: Mapping[str, Any]) -> str:
    """Which versions of the code in a record's key are not those at hand, in words; empty where all are.

    Raises
    ------
    DamagedRecordError
        If the key names no versions, or an evaluation that does not exist.
    """
    made, method, evaluation = key.get("versions"), key["method"].get("name"), key["evaluation"].get("name")
    if not isinstance(made, dict) or evaluation not in STAGES:
        raise DamagedRecordError(f"its key names no versions, or the unknown evaluation {evaluation!r}")
    now = record_versions(str(method), evaluation)
    wrong = [
        f"{name} {made.get(name, 'none')}, now {now.get(name, 'none')}"
        for name in sorted({*made, *now})
        if made.get(name) != now.get(name) or type(made.get(name)) is not int
    ]
    if not wrong and ("metric" not in key or "n_test" not in key["dataset"]):
        wrong = ["its key does not name the metric's record and the size of the dataset, as keys do now"]
    return "; ".join(wrong)
