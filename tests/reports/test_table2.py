"""Table 2: several kinds of error side by side, their footnotes, and the check that proof and attack agree."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from arml.radii import SandwichError
from arml.records.contents import POINT
from arml.records.reader import read_radii_records, tidy
from arml.reports.claims import Verdict, claims_markdown, judge, load_reasons, make_claims
from arml.reports.footnotes import duration_text, footnotes
from arml.reports.latex import latex
from arml.reports.layout import markdown
from arml.reports.sandwich import check_sandwich
from arml.reports.selection import TABLE1, TABLE2, DisagreementError, choose_records
from arml.reports.tables import build_table, summary
from arml.subset import evaluation_indices
from tests.records.synthetic import METHODS, damage_points, write_kind, write_radii, write_table2


def read(runs):
    return choose_records(read_radii_records(runs, pytest.fail), TABLE2)


def ones(n=1000):
    return np.ones(n)


def test_every_kind_stands_beside_its_own_numbers_of_the_paper(runs):
    write_table2(runs, ["usps", "splice"])
    chosen, notes = read(runs)
    table = build_table(chosen, TABLE2)
    assert notes == []
    assert table["dataset"].tolist() == ["splice"] * 108 + ["usps"] * 108
    assert table["method"].unique().tolist() == list(METHODS)
    assert table["kind"].tolist()[:18] == ["certified"] * 6 + ["boundary"] * 6 + ["local_search"] * 6
    printed = table["kind"] != "local_search"
    assert np.allclose(table.loc[printed, "error"], table.loc[printed, "paper_error"], atol=1e-12)
    assert table.loc[~printed, "paper_error"].isna().all()
    euclidean = table[(table["dataset"] == "usps") & (table["method"] == "euclidean") & (table["radius"] == 0.5)]
    assert euclidean["paper_error"].tolist()[:2] == [0.239, 0.125]
    assert "USPS, boundary, l2 radius" in summary(table, TABLE2)


def test_certified_counts_what_is_not_proven_and_an_attack_what_it_broke(runs):
    write_kind(runs, "usps", "arml", "certified", np.repeat([0.0, 0.5, 1.0, 3.0], 250))
    write_kind(runs, "usps", "arml", "local_search", np.repeat([0.0, 1.0, 2.0, np.inf], 250))
    table = build_table(read(runs)[0], TABLE2)
    assert table["error"].tolist() == [0.25, 0.5, 0.75, 0.75, 0.75, 0.75, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]


def test_markdown_has_a_part_for_each_kind_that_was_run(runs):
    write_table2(runs, ["usps"], methods=("euclidean", "arml"), kinds=("certified", "boundary"))
    chosen, _ = read(runs)
    text = markdown(build_table(chosen, TABLE2), TABLE2, footnotes(chosen, TABLE2))
    parts = ["### USPS", "**Certified (Theorem 1)**, 1,000 test points", "**Boundary Attack**, 1,000 test points"]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert "| ARML | **0.057** (0.057) | **0.203** (0.203) |" in text
    assert "| ARML | **0.053** (0.053) | **0.118** (0.118) |" in text
    assert "calls empirical is the Boundary Attack" in text
    assert "Local search" not in text
    assert "HopSkipJump" not in text


def test_a_kind_that_one_dataset_lacks_is_left_out_there_only(runs):
    write_table2(runs, ["usps"], methods=("arml",), kinds=("certified", "local_search"))
    write_table2(runs, ["splice"], methods=("arml",), kinds=("certified",))
    chosen, _ = read(runs)
    table, notes = build_table(chosen, TABLE2), footnotes(chosen, TABLE2)
    assert markdown(table, TABLE2, notes).count("**Local search**") == 1
    assert latex(table, TABLE2, notes).count(r"\emph{Local search, 1,000 test points}") == 1


def test_latex_has_a_table_for_each_dataset_with_the_kinds_below_each_other(runs):
    write_table2(runs, ["usps", "fashion_mnist"], methods=("euclidean", "arml"))
    write_kind(runs, "usps", "nca", "local_search", np.append(ones(999), np.inf), majority=ones())
    chosen, _ = read(runs)
    text = latex(build_table(chosen, TABLE2), TABLE2, footnotes(chosen, TABLE2))
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2 * (1 + 3 * (1 + 6))
    assert sorted({row.count(" & ") for row in rows}) == [0, 6]
    assert text.count(r"\multicolumn{7}{l}{\emph{Boundary Attack, 1,000 test points}}") == 2
    assert text.count("{") == text.count("}")
    body = text.split("\n", 1)[1]
    assert [body.count(rf"\begin{{{name}}}") for name in ("table", "tabular")] == [2, 2]
    assert [body.count(rf"\end{{{name}}}") for name in ("table", "tabular")] == [2, 2]
    assert body.count(r"\label{tab:table2:usps}") == 1
    assert r"\caption{USPS. As Table~\ref{tab:table2:fashion_mnist}.}" in body
    # Letters begin anew, for each table stands alone.
    assert r"NCA\textsuperscript{a,b} & " in body.split("USPS")[1]
    assert r"\textsuperscript{b}~Local search" in body.split("USPS")[1]
    assert body.isascii()


def test_footnotes_of_attacks(runs):
    lost = np.append(np.full(3, 0.4), ones(997))
    write_kind(runs, "usps", "nca", "boundary", ones(100), majority=lost[:100], settings={"steps": 25000})
    write_kind(runs, "usps", "lmnn", "boundary", ones(), settings={"steps": 500})
    write_kind(runs, "usps", "itml", "local_search", np.append(ones(998), [np.inf, np.inf]))
    write_kind(runs, "usps", "lfda", "local_search", ones(), majority=lost)
    write_kind(runs, "usps", "arml", "local_search", ones(), majority=np.append(0.9, lost[1:]))
    chosen, _ = read(runs)
    notes = {cell[1:]: texts for cell, texts in footnotes(chosen, TABLE2).items()}
    # Only local search looks for the loss of the majority, so nothing can be said of it here.
    assert notes["nca", "boundary"] == ["Boundary Attack: only 100 of the 1,000 test points were attacked"]
    timed = {cell: replace(record, wall_seconds=1000.0) for cell, record in chosen.items()}
    assert footnotes(timed, TABLE2)["usps", "nca", "boundary"] == [
        "Boundary Attack: only 100 of the 1,000 test points were attacked; the rest of this row would take 2.5 hours "
        "at the pace of the runs"
    ]
    assert notes["lmnn", "boundary"] == ["Boundary Attack: 500 steps instead of the default 25,000"]
    assert notes["itml", "local_search"] == [
        "Local search: the attack failed on 2 of 1,000 points, which count as robust at every radius"
    ]
    assert notes["lfda", "local_search"] == [
        "Local search: on 6 of 3,000 points in all, the own class loses its majority of the neighbours at a smaller "
        "norm than the answer changes; if that counted as success, an error would be at most 0.003 larger "
        "(LFDA on USPS at 0.5)"
    ]
    assert notes["arml", "local_search"] == notes["lfda", "local_search"]
    text = markdown(build_table(chosen, TABLE2), TABLE2, footnotes(chosen, TABLE2))
    assert "**Boundary Attack**, 100 to 1,000 test points" in text
    assert "| NCA <sup>a</sup> |" in text


def test_nothing_is_bold_where_methods_of_a_kind_were_evaluated_on_different_numbers_of_points(runs):
    for n_euclidean, dataset in ((100, "usps"), (1000, "splice")):
        write_kind(runs, dataset, "euclidean", "boundary", ones(n_euclidean) / 20)
        write_kind(runs, dataset, "arml", "boundary", ones())
        write_kind(runs, dataset, "euclidean", "local_search", ones())
    chosen, _ = read(runs)
    table = build_table(chosen, TABLE2)
    splice, usps = markdown(table, TABLE2, {}).split("### USPS")
    assert "**Boundary Attack**, 100 to 1,000 test points" in usps
    boundary, local_search = usps.split("**Local search**")
    assert "**0." not in boundary
    assert "| Euclidean | **0.000** | **0.000** |" in local_search
    assert "| ARML | **0.000** (" in splice
    assert r"ARML & 0.000 & 0.000 & 1.000 & " in latex(table, TABLE2, {}).split("USPS")[1]


def test_the_caption_does_not_compare_kinds_on_different_points(runs):
    write_kind(runs, "usps", "arml", "certified", ones())
    table = build_table(read(runs)[0], TABLE2)
    for text in (markdown(table, TABLE2, {}), latex(table, TABLE2, {})):
        assert "on the same points the robust error is at most the certified one and at least the empirical one" in text
        assert "fewer points, which a footnote then says, is not comparable with the other kinds point by point" in text
        assert "in bold where all methods were evaluated on equally many points." in text


def test_a_point_that_nothing_can_break_is_no_failure(runs):
    radii = np.append(ones(999), np.inf)
    settings = {"kind": "boundary", "evaluation": "boundary", "k": 11, "box": [0.0, 1.0]}
    write_radii(runs, "usps", "nca", radii, status=["bounded"] * 999 + ["unreachable"], majority=radii, **settings)
    chosen, _ = read(runs)
    assert list(chosen) == [("usps", "nca", "boundary")]
    assert footnotes(chosen, TABLE2) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "less than a second"), (1.2, "1 second"), (59, "59 seconds"), (61, "1 minute"), (1740, "29 minutes"),
        (3599, "60 minutes"), (3600, "1.0 hours"), (9000, "2.5 hours"), (90000, "25.0 hours"),
    ],
)  # fmt: skip
def test_what_the_rest_would_take_is_said_in_a_fitting_unit(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("kind", "n", "more", "reason"),
    [
        ("certified", 999, {}, "n_eval=999 (not 1000)"),
        ("local_search", 99, {}, "n_eval=99 (not 100 to 1000)"),
        ("boundary", 99, {}, "n_eval=99 (not 100 to 1000)"),
        ("boundary", 1000, {"box": None}, "box=None (not (0.0, 1.0))"),
        ("certified", 1000, {"settings": {"norm": 1}}, "norm=1.0 (not 2.0)"),
        ("certified", 1000, {"settings": {"norm": "inf"}}, "norm=inf (not 2.0)"),
        ("boundary", 1000, {"settings": {"start": "noise"}}, "start=noise (not None)"),
        ("certified", 1000, {"params": {"max_iter": 9}}, "params.max_iter=9 (not 1000)"),
    ],
)
def test_records_with_other_settings_stay_out_and_are_named(runs, kind, n, more, reason):
    folder = write_kind(runs, "usps", "arml", kind, ones(n), **more)
    chosen, notes = read(runs)
    assert chosen == {}
    assert notes[0].startswith(f"usps/arml, {kind}: no record")
    assert folder.name in notes[0]
    assert reason in notes[0]


@pytest.mark.parametrize("kind", ["boundary", "hopskipjump"])
def test_a_hundred_points_are_enough_for_slow_attacks_and_a_small_test_part_for_all(runs, kind):
    write_kind(runs, "mnist", "arml", kind, ones(100))
    write_kind(runs, "usps", "arml", "certified", ones(80), n_test=80)
    write_kind(runs, "usps", "arml", kind, ones(80), n_test=80)
    assert set(read(runs)[0]) == {("mnist", "arml", kind), ("usps", "arml", "certified"), ("usps", "arml", kind)}


def test_most_points_win_then_most_steps_and_the_clock_decides_nothing(runs):
    write_kind(runs, "usps", "arml", "boundary", ones(100), created="2026-05-01T00:00:00+00:00")
    write_kind(runs, "usps", "arml", "boundary", ones(500), settings={"steps": 10}, created="2026-04-01T00:00:00+00:00")
    full = [
        write_kind(runs, "usps", "arml", "boundary", ones(500), settings={"steps": steps}, created=f"2026-0{month}-01")
        for month, steps in ((1, 25000), (2, None))  # None is the default
    ]
    chosen, notes = read(runs)
    assert chosen["usps", "arml", "boundary"].folder == min(full)
    assert "4 records fit" in notes[0]


def test_most_nodes_win_and_then_the_record_with_proofs(runs):
    few, many = {"event": "plurality", "max_nodes": 10}, {"event": "plurality", "max_nodes": 20}
    write_kind(runs, "usps", "arml", "exact", ones() / 2, settings=few | {"proofs": True}, witness=True)
    longest = write_kind(runs, "usps", "arml", "exact", ones(), settings=many | {"proofs": False})
    assert read(runs)[0]["usps", "arml", "exact"].folder == longest
    proven = write_kind(runs, "usps", "arml", "exact", ones() - 1e-9, settings=many | {"proofs": True}, witness=True)
    assert read(runs)[0]["usps", "arml", "exact"].folder == proven


@pytest.mark.parametrize(
    ("column", "row"),
    [
        ("upper", "1,1,0.0,1.5,bounded,1.0"),
        ("majority", "1,1,0.0,1.0,bounded,0.5"),
        ("status", "1,1,0.0,1.0,time_limit,1.0"),
        ("label", "2,2,0.0,1.0,bounded,1.0"),
        ("prediction", "1,2,0.0,0.0,misclassified,0.0"),
    ],
)
def test_equally_good_records_that_disagree_are_an_error_that_names_both(runs, column, row):
    first = write_kind(runs, "usps", "arml", "local_search", ones())
    second = write_kind(runs, "usps", "arml", "local_search", ones(), variant="second")
    assert read(runs)[0]["usps", "arml", "local_search"].folder == min(first, second)
    damage_points(second, "1,1,0.0,1.0,bounded,1.0", row)
    with pytest.raises(DisagreementError, match=f"disagree: {column} of test point 1860 is ") as caught:
        read(runs)
    assert {str(first), str(second)} <= set(str(caught.value).split())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"counts": "upper"}, "counts=upper (not lower)"),
        ({"claim": "measured"}, "claim=measured (not proven)"),
        ({"claim": "probabilistic", "alpha": 0.01}, "claim=probabilistic (not proven)"),
        ({"columns": {**POINT, "lower": "float"}}, "no column upper"),
    ],
)
def test_what_a_record_holds_must_be_what_the_table_shows(runs, changes, told):
    folder = write_kind(runs, "usps", "arml", "certified", ones())
    [record] = read_radii_records(runs, pytest.fail)
    other = replace(record, holds=replace(record.holds, **changes))
    assert TABLE2.mismatch(record, TABLE2.kind("certified")) is None
    assert TABLE2.mismatch(other, TABLE2.kind("certified")) == told
    chosen, notes = choose_records([other], TABLE2)
    assert not chosen
    assert notes == [f"usps/arml, certified: no record with the settings of table2: {folder.name} has {told}"]


def test_records_of_another_evaluation_are_no_candidates(runs):
    write_kind(runs, "usps", "arml", "certified", ones())
    assert choose_records(read_radii_records(runs, pytest.fail), TABLE1) == ({}, [])


def test_kinds_measured_under_different_metrics_do_not_mix(runs):
    proven = write_kind(runs, "usps", "arml", "certified", ones())
    write_kind(runs, "usps", "arml", "boundary", ones() / 2, metric="2")
    chosen, notes = read(runs)
    assert list(chosen) == [("usps", "arml", "certified")]
    assert f"with another metric or on other data than {proven.name}" in notes[0]
    write_kind(runs, "usps", "arml", "local_search", ones())
    assert len(read(runs)[0]) == 2


def test_a_proof_above_an_attack_is_named_with_both_records(runs):
    lower, upper = np.linspace(0, 2, 1000), np.linspace(0.001, 2.5, 100)
    upper[[7, 30]] = 0.001
    proven = write_kind(runs, "usps", "arml", "certified", lower)
    attacked = write_kind(runs, "usps", "arml", "boundary", upper)
    with pytest.raises(SandwichError) as caught:
        check_sandwich(read(runs)[0], TABLE2)
    message = str(caught.value)
    assert message.count("\n") == 0
    assert str(proven) in message
    assert str(attacked) in message
    contradictions = int((lower[:100] > upper).sum())
    assert f"({contradictions} of 100 common points contradict)" in message
    worst = int((lower[:100] - upper).argmax())
    point = evaluation_indices(2000, 1000, 42)[worst]
    assert f"test point {point} is proven robust up to {lower[worst]!s} by" in message
    assert "but without its majority at " in message


def test_the_norm_at_which_the_majority_is_lost_must_not_lie_below_the_proof(runs):
    write_kind(runs, "usps", "arml", "certified", ones() / 2)
    attacked = {"upper": ones(), "evaluation": "local_search", "kind": "local_search", "k": 11}
    write_radii(runs, "usps", "arml", ones() * 0, majority=np.append(0.25, ones(999)), **attacked)
    with pytest.raises(SandwichError, match=r"test point 1860 .* up to 0\.5 by .* majority at 0\.25 by .*\(1 of 1000 "):
        check_sandwich(read(runs)[0], TABLE2)


def test_without_a_majority_column_the_change_of_the_answer_is_compared(runs):
    write_kind(runs, "usps", "arml", "certified", ones())
    write_kind(runs, "usps", "arml", "local_search", np.append(0.5, ones(999)), majority=None)
    with pytest.raises(SandwichError, match=r"test point 1860 .* but broken at 0\.5 by"):
        check_sandwich(read(runs)[0], TABLE2)


@pytest.mark.parametrize(("excess", "raises"), [(5e-10, False), (2e-9, True)])
def test_rounding_is_no_contradiction(runs, excess, raises):
    write_kind(runs, "usps", "arml", "certified", ones() * 8 * (1 + excess))
    write_kind(runs, "usps", "arml", "local_search", ones() * 8)
    with pytest.raises(SandwichError) if raises else nullcontext():
        check_sandwich(read(runs)[0], TABLE2)


def test_equal_bounds_and_infinite_ones_do_not_contradict(runs):
    everywhere = np.append(ones(999), np.inf)
    write_kind(runs, "usps", "arml", "certified", everywhere, status=["bounded"] * 999 + ["unreachable"])
    write_kind(runs, "usps", "arml", "local_search", everywhere)
    check_sandwich(read(runs)[0], TABLE2)


def test_points_of_attacks_stay_whole_in_the_tidy_frame(runs):
    write_kind(runs, "usps", "arml", "certified", ones(3))
    write_kind(runs, "usps", "arml", "boundary", ones(3), majority=np.array([0.5, 1, 1]))
    frame = tidy(read_radii_records(runs, pytest.fail)).set_index("kind")
    assert frame.loc["boundary", ["majority", "queries"]].to_numpy().tolist() == [[0.5, 0], [1, 1], [1, 2]]
    assert frame.loc["certified", "majority"].isna().all()


@pytest.mark.parametrize(
    ("method", "kind", "error", "verdict"),
    [
        ("euclidean", "certified", 0.240, Verdict.REPRODUCED),
        ("euclidean", "certified", 0.241, Verdict.DIFFERS),
        ("arml", "certified", 0.241, Verdict.WITHIN),
        # An attack is random, whatever the metric.
        ("euclidean", "boundary", 0.241, Verdict.WITHIN),
        ("euclidean", "boundary", 0.300, Verdict.DIFFERS),
    ],
)
def test_verdicts_on_certified_and_attacked_errors(method, kind, error, verdict):
    assert judge("usps", method, kind, error, 0.239, 1000) is verdict


def test_claims_are_made_of_cells_with_a_paper_number_only(runs):
    write_table2(runs, ["usps"], methods=("euclidean", "arml"))
    chosen, _ = read(runs)
    claims = make_claims(build_table(chosen, TABLE2), load_reasons("table2"))
    assert claims["kind"].value_counts().to_dict() == {"certified": 12, "boundary": 12}
    assert set(claims["verdict"]) == {"reproduced"}
    text = claims_markdown(claims, TABLE2)
    assert "| USPS | Euclidean | boundary | 1,000 | 6 | 0 | 0 |  |  | 0 | 0 |" in text
    assert "| ARML | certified | 0.500 | 0.203 | 0.203 |" in text
    assert "Kind **boundary**, the Boundary Attack, is what the paper calls empirical." in text


def test_attacks_are_counted_apart_from_what_is_proven(runs):
    write_kind(runs, "usps", "arml", "certified", ones())
    write_kind(runs, "usps", "arml", "boundary", ones(100))
    claims = make_claims(build_table(read(runs)[0], TABLE2), load_reasons("table2"))
    assert claims["direction"].tolist() == ["better"] * 2 + ["worse"] * 4 + ["smaller"] * 2 + ["larger"] * 4
    text = claims_markdown(claims, TABLE2)
    assert "In 2 of 6 certified cells our error is smaller than the paper's (better)." in text
    head = "| Dataset | Method | Kind | n | reproduced | within sampling error | differs | better | worse | smaller |"
    assert f"{head} larger |" in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| USPS | ARML | ")]
    assert [row[2:4] + row[-4:] for row in rows] == [
        ["certified", "1,000", "2", "4", "", " |"],
        ["boundary", "100", "", "", "2", "4 |"],
    ]
    preamble = text.split("\nIn 2 of 6")[0]
    assert "compares different runs of an attack with random steps, ours on n" in preamble
    assert "on the same metric a larger empirical error\n  means a stronger attack" in preamble


@pytest.mark.parametrize("table", ["table1", "table2"])
def test_reasons_are_readable(table):
    assert list(load_reasons(table).columns) == ["dataset", "method", "kind", "radius", "reason"]


def test_a_tie_of_more_neighbours_is_one_of_votes(runs):
    status = ["tied"] * 20 + ["exact"] * 980
    write_kind(runs, "usps", "arml", "exact", np.concatenate([np.zeros(20), ones()[20:]]), status=status)
    chosen, _ = read(runs)
    [text] = [text for texts in footnotes(chosen, TABLE2).values() for text in texts if "tie" in text]
    assert text.startswith("on 2.0 % of the points another class has as many votes as the point's own")
