"""What every reader of a record checks before it believes a word of it.

A record's id is the hash of its *key*. The key holds everything the numbers depend on; what the record says in its
readable sections (dataset, method, metric, evaluation) must be what the key says, or it is refused. What no hash covers
is only where and when it was made (``provenance``), the grid of radii that was to be reported, and what a learner
said about its fit beyond `FIT_FIELDS`.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arml.versions import STAGES, record_versions

SCHEMA = 1

#: What the reports believe of a fit.
FIT_FIELDS = ("n_fit_samples", "n_iter", "converged")
#: Fields of the evaluation section that are no settings: thresholds to report, which change no radius.
_PRESENTATION = ("radii",)
#: Fields that older records of grids have, where no test points are evaluated.
_NOT_OF_GRIDS = ("n_eval", "seed")
#: Evaluations that leave a proof wherever their key does not say otherwise.
_PROVES = "exact_1nn"
_MAY_PROVE = "exact_knn"

PROOF_FILE = "witness.npz"

# Digits of a record's id in the name of its folder.
_DIGITS = 12


class DamagedRecordError(ValueError):
    """A record does not hold what its id promises; the message says what is wrong with it."""


def canonical_json(value: object) -> str:
    """The one JSON text of a value: keys sorted, no spaces, ASCII, floats by repr; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_description(path: Path, expected_id: str) -> dict[str, Any]:
    """The description in ``path`` (record.json or metric.json) with its id and every file it lists checked.

    ``expected_id`` is the id, or its first 12 digits.

    Raises
    ------
    DamagedRecordError
        If it is missing or not JSON, is another record's, or lists a file that is not of its folder, is missing or was
        changed.
    """
    content = _parse(path)
    if content["schema"] != SCHEMA:
        raise DamagedRecordError(f"{path.name} has schema {content['schema']!r}, this version reads {SCHEMA}")
    try:
        key_id = hashlib.sha256(canonical_json(content["key"]).encode()).hexdigest()
    except ValueError as error:
        raise DamagedRecordError(f"the key in {path.name} holds a number that is not finite") from error
    if content["id"] != key_id or len(expected_id) < _DIGITS or not key_id.startswith(expected_id):
        raise DamagedRecordError(f"the id in {path.name}, the hash of its key, and the folder's id are not the same")
    for name, digest in content["files"].items():
        if Path(name).name != name:
            raise DamagedRecordError(f"{path.name} lists {name!r}, which is not a file of its folder")
        file = path.parent / name
        if not file.is_file():
            raise DamagedRecordError(f"{name} is missing")
        if sha256(file) != digest:
            raise DamagedRecordError(f"{name} was changed: its SHA-256 is not the one in {path.name}")
    return content


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DamagedRecordError(f"{path.name} is missing") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DamagedRecordError(f"{path.name} is not JSON ({error})") from error
    if not isinstance(content, dict) or not {"schema", "id", "key", "files", "provenance"} <= content.keys():
        raise DamagedRecordError(f"{path.name} lacks parts of a record")
    if not all(isinstance(content[name], dict) for name in ("key", "files", "provenance")):
        raise DamagedRecordError(f"{path.name}: key, files and provenance must be objects")
    return content


def read_arrays(path: Path, names: Collection[str] | None = None) -> dict[str, NDArray[np.generic]]:
    """The arrays of an ``.npz``, or those of ``names`` that it has; nothing is ever unpickled.

    Raises
    ------
    DamagedRecordError
        If it is no whole ``.npz``, or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files if names is None or name in names}
    except (ValueError, OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedRecordError(f"{path.name} is no whole .npz of plain arrays ({error})") from error


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
