"""The package of evaluations: each module's are found, and each says what there is to say of it."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from arml import versions
from arml.experiments import families
from arml.experiments.families import EVALUATIONS, collect
from arml.records.contents import Contents

from .composing import compose_run

TWIN = """
from arml.experiments.families.exact_1nn import EVALUATIONS
"""
CONTENTS = {
    "exact_1nn": ("proven", "lower", "witness.npz", ()),
    "exact_knn": ("proven", "lower", None, ("nodes",)),
    "certified_knn": ("proven", "lower", None, ()),
    "local_search": ("attacked", "upper", None, ("majority", "queries")),
    "boundary": ("attacked", "upper", None, ("majority", "queries")),
    "hopskipjump": ("attacked", "upper", None, ("majority", "queries")),
}


def test_every_module_is_found_and_the_evaluations_are_sorted_by_name() -> None:
    assert collect(families.__path__) == EVALUATIONS
    assert list(EVALUATIONS) == sorted([*CONTENTS, "boundary_grid"])
    assert all(evaluation.name == name for name, evaluation in EVALUATIONS.items())


def test_two_of_one_name_are_an_error_that_names_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twin.py").write_text(TWIN)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    try:
        with pytest.raises(ValueError, match=r"two evaluations are called 'exact_1nn'.*exact_1nn, .*families\.twin$"):
            collect(families.__path__)
    finally:
        sys.modules.pop("arml.experiments.families.twin", None)


@pytest.mark.parametrize("name", CONTENTS)
def test_what_the_record_of_an_evaluation_of_points_holds(name: str) -> None:
    holds = EVALUATIONS[name].contents(compose_run(f"evaluation={name}", "k=1" if name == "exact_1nn" else "k=3"))
    common = ("index", "label", "prediction", "lower", "upper", "status")
    claim, counts, proof, more = CONTENTS[name]
    assert (holds.unit, holds.claim, holds.counts, holds.proof) == ("point", claim, counts, proof)
    assert tuple(holds.columns) == (*common, *more)
    assert Contents.read(json.loads(json.dumps(holds.described()))) == holds


def test_a_proof_that_is_asked_for_is_held_and_a_grid_has_no_points() -> None:
    proven = compose_run("evaluation=exact_knn", "k=3", "evaluation.proofs=true")
    assert EVALUATIONS["exact_knn"].contents(proven).proof == "witness.npz"
    grid = EVALUATIONS["boundary_grid"].contents(compose_run("evaluation=boundary_grid", "dataset=toy"))
    assert (grid.unit, grid.claim, dict(grid.columns), grid.counts) == ("grid", "measured", {}, None)


def test_every_version_is_that_of_a_stage_that_is_used() -> None:
    used: set[str] = {name for method in ("arml", "lfda") for name in versions.metric_versions(method)}
    own: Mapping[str, tuple[str, ...]] = {name: evaluation.versions for name, evaluation in EVALUATIONS.items()}
    assert all(own.values())
    assert used | {name for names in own.values() for name in names} == set(versions.VERSIONS)
    assert versions.metric_versions("from_file") == {"datasets.protocol": versions.VERSIONS["datasets.protocol"]}
