"""The ledger: finished records that are committed, in compact form, so that nobody has to compute them again.

It has the layout of a store (`arml.records.store`). A record in it is its description, byte for byte, and its files,
text compressed (``points.csv.gz``); what is large and can be made again (perturbations, proofs) is left out, and named
in ``left_out.json``. The digests in the description are those of the files as they were made, so that a reader can
still tell that they are the same.

A record replaces those that answer the same question with the same code less well, or with older code; nothing else
ever leaves the ledger.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arml.records.files import write_bytes, write_text
from arml.records.format import LARGE, LEFT_OUT, canonical_json, file_bytes, read_description
from arml.records.integrity import check_sections, outdated

#: Settings of an evaluation that say how much was spent on its question, and not what it is.
EFFORT = ("n_eval", "max_nodes", "steps", "proofs")

_COMPRESSED = (".csv",)


class RefusedError(ValueError):
    """A record that may not enter the ledger; the message says why, and what would let it in."""


@dataclass(frozen=True)
class Published:
    """A record of the ledger: its folder, its description, and the folders of those that it replaced."""

    folder: Path
    content: Mapping[str, Any]
    replaced: tuple[Path, ...] = ()
    new: bool = True


def question(content: Mapping[str, Any]) -> str:
    """What a record answers, as text: records of one question differ in code, luck or effort only."""
    key = content["key"]
    asked = {name: value for name, value in key.get("evaluation", {}).items() if name not in EFFORT}
    parts = {"stage": content["stage"], "evaluation": asked}
    parts |= {name: key[name] for name in ("dataset", "method", "seed", "file_digest") if name in key}
    return canonical_json(parts)


def effort(content: Mapping[str, Any]) -> tuple[float, float, float]:
    """Points, steps and nodes that went into a record; None, which is all or the default, counts as most."""
    asked = content["key"].get("evaluation", {})
    points, size = asked.get("n_eval"), content["key"]["dataset"].get("n_test")
    limits = [n for n in (points, size) if isinstance(n, int)]
    steps, nodes = (asked.get(name) for name in ("steps", "max_nodes"))
    most = float("inf")
    return float(min(limits, default=most)), most if steps is None else steps, most if nodes is None else nodes


def folders(root: Path) -> Iterator[Path]:
    """Folders of all records under ``root``, a store or a ledger, in order of their names."""
    for path in sorted(root.glob("*/*/")):
        if not path.parent.name.startswith(".") and any((path / name).is_file() for name in DESCRIPTIONS):
            yield path


DESCRIPTIONS = ("record.json", "metric.json")


def describe(folder: Path) -> dict[str, Any]:
    """The checked description of the record in ``folder``.

    Raises
    ------
    DamagedRecordError
        If it is damaged in any way.
    """
    name = next((name for name in DESCRIPTIONS if (folder / name).is_file()), DESCRIPTIONS[0])
    content = read_description(folder / name, folder.name.rpartition("-")[2])
    check_sections(content)
    return content


def publish(
    folder: Path,
    ledger: Path,
    *,
    keep: Collection[str] = (),
    allow: Collection[str] = (),
    check: Callable[[Path], object] = describe,
) -> Published:
    """Put the finished record in ``folder`` into the ledger.

    Parameters
    ----------
    folder : a record of a store
    ledger : root of the ledger
    keep : names of large files (`LARGE`) to take along all the same
    allow : what else would be refused: "dirty", "old", "smaller"
    check : reads the record in full and raises what is wrong with it

    Raises
    ------
    DamagedRecordError
        If the record, or one of the ledger that it would replace, is damaged.
    RefusedError
        If it was made by code that differs from its commit, by another version of the code than that at hand, or if the
        ledger has a better answer to the same question.
    """
    check(folder)
    content = describe(folder)
    if "dirty" not in allow:
        _require_clean(content)
    old = outdated(content["key"])
    if old and "old" not in allow:
        raise RefusedError(
            f"{folder.name} was made by an older version of the code ({old}); run it again, or allow old"
        )
    target = ledger / content["stage"] / folder.name
    rivals = [other for other in _same_question(content, ledger) if other != target]
    if "smaller" not in allow:
        _require_best(folder, content, rivals)
    if target.is_dir():
        there = describe(target)
        if there["files"] != content["files"]:
            raise RefusedError(f"{target} and {folder} are the same record with other numbers; find out which is wrong")
        return Published(target, there, new=False)
    _copy(folder, target, content, keep)
    for rival in rivals:
        shutil.rmtree(rival)
    return Published(target, content, tuple(rivals))


def _require_clean(content: Mapping[str, Any]) -> None:
    dirty = content["provenance"].get("git_dirty")
    if dirty is not False:
        why = "differs from its commit" if dirty else "nobody knows, outside of a git checkout"
        raise RefusedError(
            f"record {content['id'][:12]} was made by code that {why}; commit, run it again, or allow dirty"
        )


def _same_question(content: Mapping[str, Any], ledger: Path) -> list[Path]:
    mine = question(content)
    # The folder's name starts with dataset, method and evaluation, which spares reading the others.
    label = _label(content)
    alike = sorted((ledger / content["stage"]).glob(f"{label}-*/"))
    return [folder for folder in alike if question(json.loads(_description(folder))) == mine]


def _label(content: Mapping[str, Any]) -> str:
    key = content["key"]
    parts = [key["dataset"]["name"], key["method"]["name"]]
    return "-".join([*parts, key["evaluation"]["name"]] if content["stage"] == "radii" else parts)


def _description(folder: Path) -> str:
    name = next(name for name in DESCRIPTIONS if (folder / name).is_file())
    return (folder / name).read_text(encoding="utf-8")


def _require_best(folder: Path, content: Mapping[str, Any], rivals: Collection[Path]) -> None:
    for rival in rivals:
        other = json.loads(_description(rival))
        if outdated(other["key"]):
            continue
        if effort(other) > effort(content):
            raise RefusedError(
                f"{folder.name} answers the question of {rival.name}, which is in the ledger, with less effort "
                f"(points, steps, nodes: {effort(content)} against {effort(other)}); allow smaller to replace it"
            )


def _copy(folder: Path, target: Path, content: Mapping[str, Any], keep: Collection[str]) -> None:
    """Write beside the target and rename, so that a record is there in whole or not at all."""
    beside = target.with_name(f".{target.name}.new")
    if beside.exists():
        shutil.rmtree(beside)
    left_out = [name for name in content["files"] if name in LARGE and name not in keep]
    try:
        for name in content["files"]:
            if name in left_out:
                continue
            raw = file_bytes(folder / name)
            if Path(name).suffix in _COMPRESSED:
                # No name and no time in the header: the same content is the same file.
                write_bytes(beside / f"{name}.gz", gzip.compress(raw, 9, mtime=0))
            else:
                write_bytes(beside / name, raw)
        if left_out:
            write_text(beside / LEFT_OUT, json.dumps(left_out) + "\n")
        name = next(name for name in DESCRIPTIONS if (folder / name).is_file())
        write_bytes(beside / name, (folder / name).read_bytes())
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.replace(target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    describe(target)
