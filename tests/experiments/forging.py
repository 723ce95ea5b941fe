"""Edits of a finished record on disk, each with what a recheck must say of it."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def read(folder: Path, name: str = "record.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


def write(folder: Path, record: dict[str, Any], name: str = "record.json") -> None:
    (folder / name).write_text(json.dumps(record, indent=2))


def rehash(folder: Path, name: str = "record.json") -> None:
    """List the files that are there, with their digests, as an honest record does."""
    record = read(folder, name)
    present = [file for file in record["files"] if (folder / file).exists()]
    record["files"] = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in present}
    write(folder, record, name)


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "points.csv").read_text())))


def put_rows(folder: Path, points: list[dict[str, str]]) -> None:
    with (folder / "points.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, points[0].keys())
        writer.writeheader()
        writer.writerows(points)
    rehash(folder)


def set_in(section: str, name: str, value: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        record = read(folder)
        record[section][name] = value
        write(folder, record)

    return edit


def set_point(point: int, **changes: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        points = rows(folder)
        points[point].update(changes)
        put_rows(folder, points)

    return edit


def doubled(folder: Path) -> None:
    points = rows(folder)
    for point in points:
        point["lower"], point["upper"] = repr(2 * float(point["lower"])), repr(2 * float(point["upper"]))
    put_rows(folder, points)


def doubled_with_perturbations(folder: Path) -> None:
    """What only the proof can tell: the perturbations have the norms that are claimed, and reach the other class."""
    doubled(folder)
    change_witness(lambda arrays: arrays.update(perturbation=2 * arrays["perturbation"]))(folder)


def doubled_without_proof(folder: Path) -> None:
    doubled(folder)
    (folder / "witness.npz").unlink()
    rehash(folder)


def weak_points_dropped(folder: Path) -> None:
    points = rows(folder)
    weakest = min(float(point["lower"]) for point in points)
    put_rows(folder, [point for point in points if float(point["lower"]) > weakest])


def cut(folder: Path) -> None:
    data = (folder / "witness.npz").read_bytes()
    (folder / "witness.npz").write_bytes(data[: len(data) // 2])


def cut_and_rehashed(folder: Path) -> None:
    cut(folder)
    rehash(folder)


def change_witness(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        with np.load(folder / "witness.npz", allow_pickle=False) as stored:
            arrays = dict(stored)
        change(arrays)
        np.savez_compressed(folder / "witness.npz", **arrays)
        rehash(folder)

    return edit


def huge_header(folder: Path) -> None:
    """A proof whose array says that it has 10^13 elements."""
    header = b"\x93NUMPY\x01\x00"
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }"
    text += b" " * (117 - len(text)) + b"\n"
    with zipfile.ZipFile(folder / "witness.npz", "w") as archive:
        archive.writestr("index.npy", header + len(text).to_bytes(2, "little") + text)
    rehash(folder)


#: What `forged_records` are made by, and what a recheck says of them; the first is no forgery.
FORGERIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "unchanged": (lambda folder: None, "confirmed ("),
    "k": (set_in("evaluation", "k", 7), "damaged: evaluation.k is 7 in its section, "),
    "event": (set_in("evaluation", "event", "majority"), 'damaged: evaluation.event is "majority" in its section, '),
    "norm": (
        set_in("evaluation", "norm", "inf"),
        'damaged: evaluation.norm is "inf" in its section, ',
    ),
    "column that counts": (set_in("holds", "counts", "upper"), 'damaged: holds.counts is "upper" in its section, '),
    "proof disowned": (set_in("holds", "proof", None), "damaged: holds.proof is null in its section, "),
    "method": (
        set_in("method", "name", "arml"),
        'damaged: method.name is "arml" in its section, "euclidean" in ',
    ),
    "radii doubled": (doubled, "damaged: points.csv gives test point "),
    "radii and perturbations doubled": (doubled_with_perturbations, "radii are refused: point "),
    "radii doubled, no proof": (doubled_without_proof, "damaged: a proof belongs to it, but witness.npz is not among"),
    "weak points dropped": (
        weak_points_dropped,
        "damaged: points.csv does not hold the evaluation subset that the ",
    ),
    "proof cut": (cut, "damaged: witness.npz was changed: its SHA-256 is not the one in record.json"),
    "proof cut and rehashed": (cut_and_rehashed, "damaged: witness.npz is no whole .npz of plain arrays"),
    "pickle": (
        change_witness(lambda arrays: arrays.update(perturbation=np.array([object()] * 3))),
        "damaged: witness.npz is no whole .npz of plain arrays (Object arrays cannot be loaded",
    ),
    "huge header": (huge_header, "damaged: witness.npz is no whole .npz of plain arrays"),
}
