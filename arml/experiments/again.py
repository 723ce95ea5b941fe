"""A record made again, to see whether its numbers are the same: ``python scripts/run.py from_record=<folder or id>``.

Everything is taken from the record's key. Its metric is used where it is kept beside the record, and learned again
where it is not; everything after the fit is then the same to the last bit on any machine of the same kind.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arml.experiments.errors import UsageError
from arml.experiments.overrides import FROM_RECORD, jobs
from arml.records.contents import Contents
from arml.records.format import DamagedRecordError, canonical_json
from arml.records.integrity import outdated
from arml.records.ledger import describe
from arml.records.points import read_points

#: Where a record is looked for by its id.
ROOTS = ("results/runs", "results/records")

# Settings of an evaluation that have another name on the command line, or none.
_OF_THE_RUN = ("k", "n_eval", "seed")
_NOT_SETTINGS = ("name", "kind", *_OF_THE_RUN)
_SHORTEST_ID = 6


@dataclass(frozen=True)
class Again:
    """What came of it: ``differences`` names each column that is not the same, and how far off it is."""

    folder: Path
    n_points: int
    metric: str
    differences: tuple[str, ...]

    def __str__(self) -> str:
        if not self.differences:
            return f"{self.folder.name}: {self.n_points} points, every number the same to the last bit ({self.metric})"
        return f"{self.folder.name}: {self.n_points} points; {'; '.join(self.differences)} ({self.metric})"


def make_again(arguments: Sequence[str], config_dir: Path) -> Again:
    """Make the record that ``arguments`` name again and compare the two; further arguments are settings like threads.

    Raises
    ------
    UsageError
        If there is no such record, it is none of radii, or it is damaged.
    """
    [name] = [argument.removeprefix(FROM_RECORD) for argument in arguments if argument.startswith(FROM_RECORD)]
    folder = find(name, [Path(root) for root in ROOTS])
    try:
        content = describe(folder)
        holds = Contents.read(content["key"].get("holds"))
        old = read_points(folder / "points.csv", holds)
        made_by = outdated(content["key"])
    except DamagedRecordError as error:
        raise UsageError(f"from_record={name}: {folder} cannot be made again: {error}") from error
    with tempfile.TemporaryDirectory(prefix="arml-again-") as temporary:
        more = [argument for argument in arguments if not argument.startswith(FROM_RECORD)]
        overrides = [*overrides_of(content["key"]), *more, f"output.runs={temporary}"]
        [job] = jobs(overrides, config_dir, multirun=False)
        kept = _take_metric(folder, content, Path(temporary))
        from arml.experiments.pipeline import run  # takes seconds, and wrong requests are turned down before

        outcome = run(job.config)
        new = read_points(outcome.record.folder / "points.csv", holds)
    digest = outcome.record.content["metric"]["digest"]
    same_metric = digest == content["metric"]["digest"]
    how = "with its metric" if kept else f"metric learned again, {'the same' if same_metric else 'another'}"
    how += f"; made by an older version of the code, {made_by}" if made_by else ""
    return Again(folder, len(old), how, tuple(differences(old, new)))


def find(name: str, roots: Sequence[Path]) -> Path:
    """The folder of a record of radii, by its path, or by its id's first digits below ``roots``.

    Raises
    ------
    UsageError
        If there is none, or more than one.
    """
    path = Path(name).expanduser()
    if (path / "record.json").is_file():
        return path
    found = sorted({
        folder.name: folder for root in reversed(roots) for folder in (root / "radii").glob(f"*-{name}*/")
    }.values()) if len(name) >= _SHORTEST_ID and name.isalnum() else []  # fmt: skip
    if len(found) == 1:
        return found[0]
    places = " and ".join(str(root) for root in roots)
    if found:
        raise UsageError(f"from_record={name}: {len(found)} records have an id like that: {found[0].name}, ...")
    raise UsageError(
        f"from_record={name}: no folder of a record, and no id (at least {_SHORTEST_ID} digits) of one of radii "
        f"in {places}"
    )


def overrides_of(key: Mapping[str, Any]) -> list[str]:
    """The command line that a record's key stands for."""
    evaluation, method = key["evaluation"], key["method"]
    if method["name"] == "from_file":
        raise UsageError("a record of a metric of your own is made again by giving its method.path, not by from_record")
    asked = [f"dataset={key['dataset']['name']}", f"method={method['name']}", f"evaluation={evaluation['name']}"]
    asked += [f"method.{name}={canonical_json(value)}" for name, value in method["params"].items()]
    settings = {name: value for name, value in evaluation.items() if name not in _NOT_SETTINGS}
    asked += [f"evaluation.{name}={canonical_json(value)}" for name, value in settings.items()]
    run = {"seed": key["seed"], **{name: evaluation[name] for name in _OF_THE_RUN if name in evaluation}}
    return asked + [f"{name}={canonical_json(value)}" for name, value in run.items()]


def differences(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """In which columns two frames of points differ, and by how much."""
    if len(old) != len(new):
        return [f"{len(new)} points now"]
    found = []
    for name in old.columns:
        mine, theirs = old[name].to_numpy(), new[name].to_numpy()
        rows = np.flatnonzero(mine != theirs)
        if not rows.size:
            continue
        words = f"{name} differs on {rows.size}"
        if mine.dtype.kind == "f":
            with np.errstate(invalid="ignore"):  # of two infinite ones
                apart = np.abs(mine[rows] - theirs[rows]) / np.maximum(np.abs(mine[rows]), np.abs(theirs[rows]))
            worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
            words += f", by at most {apart[worst]:.1e} relative (test point {old['index'].iloc[rows[worst]]})"
        found.append(words)
    return found


def _take_metric(folder: Path, content: Mapping[str, Any], root: Path) -> bool:
    """Copy the record's metric, where it is kept beside it, to where the run looks for it."""
    named = content["metric"]["id"][:12]
    found = sorted((folder.parent.parent / "metrics").glob(f"*-{named}/"))
    if not found:
        return False
    kept = json.loads((found[0] / "metric.json").read_text(encoding="utf-8"))
    if kept["metric"]["digest"] != content["metric"]["digest"]:
        return False
    shutil.copytree(found[0], root / "metrics" / found[0].name)
    return True
