"""Rechecking finished records: confirmed as they are, refused in words when anything in them is changed."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from arml.experiments.pipeline import run
from arml.experiments.verify import Checked, Checker, Verdict, radii_records
from arml.learners import save_metric
from arml.records.reader import read_radii_records
from arml.records.store import Address

from .composing import compose_run
from .forging import FORGERIES, change_witness, read, rehash, rows, set_in, set_point, write

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "recheck.py"
FORGED = ("exact_1nn", "exact_knn")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records with proofs for K = 1 and K = 3, and one without."""
    root = tmp_path_factory.mktemp("runs")
    common = ("dataset=digits", "method=euclidean", "device=cpu", f"output.runs={root}")
    run(compose_run(*common, "n_eval=12"))
    run(compose_run(*common, "evaluation=exact_knn", "k=3", "n_eval=5", "evaluation.proofs=true"))
    run(compose_run(*common, "evaluation=certified_knn", "k=3", "n_eval=5"))
    return root


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """The records, copied so that a test may spoil them."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


def record_of(runs: Path, evaluation: str) -> Path:
    (folder,) = (runs / "radii").glob(f"*-{evaluation}-*")
    return folder


@pytest.fixture
def folder(runs: Path) -> Path:
    return record_of(runs, "exact_1nn")


@pytest.fixture
def recheck(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """The script in this process: exit code and lines."""
    spec = importlib.util.spec_from_file_location("script_recheck", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def recheck(*arguments: str) -> tuple[int, list[str]]:
        code = module.main(arguments)
        return code, capsys.readouterr().out.splitlines()

    return recheck


def check(folder: Path) -> Checked:
    return Checker().check(folder)


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("evaluation", FORGED)
def test_every_edit_of_a_record_is_refused_in_words_and_the_others_are_checked(
    runs: Path, recheck: Callable[..., tuple[int, list[str]]], evaluation: str, name: str
) -> None:
    edit, told = FORGERIES[name]
    forged = record_of(runs, evaluation)
    edit(forged)
    code, lines = recheck("--runs", str(runs))
    (line,) = [line for line in lines if line.startswith(f"{forged.name}: ")]
    assert told in line
    honest = record_of(runs, FORGED[1 - FORGED.index(evaluation)])
    assert f"{honest.name}: confirmed ({len(rows(honest))} radii)" in lines
    assert f"{record_of(runs, 'certified_knn').name}: cannot be checked: made without a proof" in lines
    if name == "unchanged":
        assert code == 0
        assert lines[-1] == "3 records: 2 confirmed, 1 without a proof, 0 refused"
    else:
        assert code == 1
        assert lines[-1] == f"3 records: 1 confirmed, 1 without a proof, 1 refused or damaged: {forged.name}"


@pytest.mark.parametrize(
    "name",
    [name for name in FORGERIES if name not in ("unchanged", "radii and perturbations doubled")],
)
def test_no_table_is_made_of_what_contradicts_its_key(runs: Path, folder: Path, name: str) -> None:
    FORGERIES[name][0](folder)
    left_out: list[str] = []
    assert folder not in [record.folder for record in read_radii_records(runs, left_out.append)]
    assert len(left_out) == 1
    assert f"skipped the damaged record {folder}" in left_out[0]


def test_a_record_without_a_proof_is_counted_with_the_command_that_makes_one(
    runs: Path, recheck: Callable[..., tuple[int, list[str]]]
) -> None:
    certified = record_of(runs, "certified_knn")
    code, lines = recheck(str(certified))
    assert code == 0
    assert lines[0] == f"{certified.name}: cannot be checked: made without a proof"
    command = "dataset=digits method=euclidean evaluation=exact_knn evaluation.proofs=true k=3 n_eval=5 seed=42"
    assert lines[2].strip() == f"python scripts/run.py {command}"
    asked = compose_run(*command.split())
    assert (asked.k, asked.n_eval, asked.evaluation.proofs) == (3, 5, True)  # type: ignore[attr-defined]  # by its schema


def test_a_record_whose_proof_the_ledger_left_out_cannot_be_checked(folder: Path) -> None:
    (folder / "witness.npz").unlink()
    assert "damaged: " in str(check(folder))
    (folder / "left_out.json").write_text('["witness.npz"]')
    checked = check(folder)
    assert (checked.verdict, checked.passed) == (Verdict.UNCHECKABLE, False)
    command = "python scripts/run.py dataset=digits method=euclidean evaluation=exact_1nn"
    assert checked.details.startswith(f"the ledger does without its proof; run it again: {command}")


def test_a_record_within_a_box_is_held_against_its_box(tmp_path: Path) -> None:
    common = ("dataset=digits", "method=euclidean", "device=cpu", f"output.runs={tmp_path}", "n_eval=6")
    run(compose_run(*common, "evaluation.box=[0.0,1.0]"))
    checked = check(record_of(tmp_path, "exact_1nn"))
    assert (checked.verdict, checked.details) == (Verdict.CONFIRMED, "6 radii")


def raised_with_its_perturbation(folder: Path) -> None:
    set_point(3, lower="9.0", upper="9.0")(folder)

    def lengthen(arrays: dict[str, np.ndarray]) -> None:
        arrays["perturbation"][3] *= 9.0 / np.linalg.norm(arrays["perturbation"][3])

    change_witness(lengthen)(folder)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (set_point(0, label="99", prediction="99"), "points.csv has other labels than the test part of digits"),
        (change_witness(lambda arrays: arrays.update(index=arrays["index"][::-1])), "are about different points"),
        (change_witness(lambda arrays: arrays.pop("index")), "are about different points"),
        (change_witness(lambda arrays: arrays.pop("claim")), "damaged: witness.npz names no claim"),
        (change_witness(lambda arrays: arrays.update(claim=np.zeros(2))), "the claim in witness.npz is not one string"),
        (change_witness(lambda arrays: arrays.update(claim=np.array("{}"))), "witness.npz holds no proof: a claim "),
        (
            change_witness(lambda arrays: arrays.pop("weight")),
            "no proof: damaged proof: array 'weight' is missing",
        ),
        (change_witness(lambda arrays: arrays.pop("perturbation")), "witness.npz holds no perturbations"),
        (change_witness(lambda arrays: arrays.update(perturbation=0.9 * arrays["perturbation"])), "has the norm"),
        (
            change_witness(lambda arrays: arrays.update(perturbation=np.nan * arrays["perturbation"])),
            "has the norm nan",
        ),
        (
            change_witness(lambda arrays: arrays.update(perturbation=arrays["perturbation"][1:])),
            "11 perturbations for 12",
        ),
        (
            set_point(3, lower="9.0", upper="9.0"),
            "the upper bound 9.0, but its perturbation in witness.npz has the norm ",
        ),
        (raised_with_its_perturbation, "1 of 12 radii are refused: point 3: "),
        (set_in("dataset", "n_test", 7), "dataset.n_test is 7 in its section, 500 in the key"),
    ],
)
def test_whatever_does_not_fit_is_refused(folder: Path, edit: Callable[[Path], object], told: str) -> None:
    edit(folder)
    checked = check(folder)
    assert checked.verdict is Verdict.DAMAGED
    assert told in str(checked)


def rekeyed(folder: Path, change: Callable[[dict[str, object]], object]) -> Path:
    """The record with its key changed and moved to the address that this gives it."""
    record = read(folder)
    change(record)
    address = Address("radii", folder.name.rpartition("-")[0], record["key"])
    record["id"] = address.id
    write(folder, record)
    return folder.rename(folder.parent / Path(address.folder_name).name)


def test_a_key_that_was_changed_along_with_the_sections_is_held_against_the_dataset(folder: Path) -> None:
    def shrink(record: dict[str, dict[str, dict[str, object]]]) -> None:
        for section in (record["dataset"], record["key"]["dataset"]):
            section["n_classes"] = 3

    assert "damaged: dataset.n_classes is 3, the dataset's is 10" in str(check(rekeyed(folder, shrink)))


def test_other_files_of_the_dataset_are_named(folder: Path) -> None:
    def other(record: dict[str, dict[str, dict[str, object]]]) -> None:
        for section in (record["dataset"], record["key"]["dataset"]):
            section["digest"] = "f" * 64

    checked = check(rekeyed(folder, other))
    assert (checked.verdict, checked.passed) == (Verdict.UNCHECKABLE, False)
    assert "made from other files of digits than those here" in checked.details
    assert "ffffffffffff" in checked.details


def test_a_dataset_that_cannot_be_had_is_no_reason_to_stop(
    runs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, recheck: Callable[..., tuple[int, list[str]]]
) -> None:
    def rename(record: dict[str, dict[str, dict[str, object]]]) -> None:
        for section in (record["dataset"], record["key"]["dataset"]):
            section["name"] = "letters"

    moved = rekeyed(folder, rename)
    code, lines = recheck("--runs", str(runs))
    assert code == 1
    assert any(line.startswith(f"{moved.name}: cannot be checked: its dataset cannot be had: ") for line in lines)
    assert lines[-1].startswith("3 records: 1 confirmed, 1 without a proof, 1 refused or damaged")


def test_a_changed_damaged_or_missing_metric_is_refused(runs: Path, folder: Path) -> None:
    (own,) = (runs / "metrics").iterdir()
    whole = (own / "metric.json").read_text(), (own / "metric.npz").read_bytes()
    save_metric(own / "metric.npz", 2 * np.eye(64), {})
    assert "is damaged: metric.npz was changed: its SHA-256 is not the one in metric.json" in str(check(folder))
    rehash(own, "metric.json")
    assert "metric.npz is not the metric the record was made with" in str(check(folder))
    (own / "metric.npz").write_bytes(whole[1])
    content = json.loads(whole[0])
    content["method"]["name"] = "arml"
    (own / "metric.json").write_text(json.dumps(content))
    assert 'is damaged: method.name is "arml" in its section, "euclidean" in the key' in str(check(folder))
    content = json.loads(whole[0])
    content["metric"]["digest"] = "0" * 64
    (own / "metric.json").write_text(json.dumps(content))
    assert "metric.json is not the metric the record was made with" in str(check(folder))
    shutil.rmtree(own)
    checked = check(folder)
    assert (checked.verdict, checked.passed) == (Verdict.UNCHECKABLE, False)
    assert "is not under" in checked.details


def test_another_metrics_record_cannot_be_named(runs: Path, folder: Path) -> None:
    path = runs / "other.npz"
    save_metric(path, np.eye(64), {})
    mine = ("dataset=digits", "method=from_file", f"method.path={path}", "device=cpu", f"output.runs={runs}")
    other = run(compose_run(*mine, "evaluation=certified_knn", "k=3", "n_eval=5"))
    named = other.record.content["metric"]["id"]

    def rename(record: dict[str, dict[str, dict[str, object]]]) -> None:
        record["metric"]["id"] = record["key"]["metric"]["id"] = named

    assert "was learned from another method than the record's" in str(check(rekeyed(folder, rename)))


@pytest.mark.parametrize(
    ("evaluation", "change", "told"),
    [
        ("exact_1nn", {"norm": "inf"}, "its proof is for norm 2.0, the record for inf"),
        ("exact_1nn", {"k": 3}, "its proof is for n_neighbors 1, the record for 3"),
        ("exact_1nn", {"box": [0.0, 1.0]}, "its proof is for box (-inf, inf), the record for (0.0, 1.0)"),
        ("exact_knn", {"event": "majority"}, "its proof is for event plurality, the record for majority"),
    ],
)
def test_a_key_that_asks_another_question_than_the_proof_answers_is_refused(
    runs: Path, evaluation: str, change: dict[str, object], told: str
) -> None:
    def ask(record: dict[str, dict[str, dict[str, object]]]) -> None:
        for section in (record["evaluation"], record["key"]["evaluation"]):
            section.update(change)

    checked = check(rekeyed(record_of(runs, evaluation), ask))
    assert checked.verdict is Verdict.DAMAGED
    assert told in checked.details


def older(record: dict[str, dict[str, dict[str, object]]]) -> None:
    record["key"]["versions"]["certify.one_nn"] = 2


def test_a_proof_counts_whatever_version_made_it_and_an_older_format_is_named(folder: Path) -> None:
    change_witness(lambda arrays: arrays.pop("claim"))(folder)
    checked = check(rekeyed(folder, older))
    assert checked.verdict is Verdict.UNCHECKABLE
    assert "made by an older version of the code (certify.one_nn 2, now " in checked.details
    assert "run it again: python scripts/run.py dataset=digits method=euclidean evaluation=exact_1nn" in checked.details


def test_an_older_records_perturbations_are_looked_at_like_any_others(folder: Path) -> None:
    change_witness(lambda arrays: arrays.pop("perturbation"))(folder)
    assert "damaged: witness.npz holds no perturbations" in str(check(rekeyed(folder, older)))


def test_an_older_record_with_a_proof_that_holds_is_confirmed_and_said_to_be_older(folder: Path) -> None:
    checked = check(rekeyed(folder, older))
    assert checked.verdict is Verdict.CONFIRMED
    assert "12 radii; made by an older version of the code (certify.one_nn 2, now " in checked.details


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', "\x00", "[" * 100_000])
def test_a_record_that_is_no_record_does_not_stop_the_others(
    runs: Path, folder: Path, recheck: Callable[..., tuple[int, list[str]]], text: str
) -> None:
    (folder / "record.json").write_text(text)
    code, lines = recheck("--runs", str(runs))
    assert code == 1
    assert any(line.startswith(f"{folder.name}: damaged: record.json") for line in lines)
    assert lines[-1].startswith("3 records: 1 confirmed, 1 without a proof, 1 refused or damaged")


def test_a_record_whose_description_is_gone_is_damaged_and_hidden_folders_are_none(runs: Path, folder: Path) -> None:
    (folder / "record.json").unlink()
    (runs / "radii" / ".tmp").mkdir()
    assert folder in radii_records(runs)
    assert len(list(radii_records(runs))) == 3
    assert "damaged: record.json is missing" in str(check(folder))


def test_a_checker_that_fails_is_a_refusal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise KeyError("weights")

    monkeypatch.setattr("arml.proofs.recheck", fail)
    checked = check(folder)
    assert (checked.verdict, checked.passed) == (Verdict.DAMAGED, False)
    assert "its check ended in KeyError: 'weights'" in checked.details


def test_without_records_a_command_is_named(tmp_path: Path) -> None:
    arguments = [sys.executable, str(SCRIPT), "--runs", str(tmp_path / "none")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "make reproduce-table1" in done.stderr
