"""Claims: what is selected, measured and decided."""

import numpy as np
import pandas as pd
import pytest

from dcsc.errors import UserError
from dcsc.store import dataset, provenance
from dcsc.study import claims
from dcsc.study.options.claims import ClaimOptions, CriterionOptions

TABLES = {
    "a-x": pd.DataFrame(
        {
            "kind": ["slope", "slope", "point"],
            "cascade": ["one", "two", "one"],
            "value": [-1.0, -2.0, 5.0],
            "low": [-1.1, -2.1, np.nan],
            "high": [-0.9, -1.9, np.nan],
            "hits": [0, 2, 1],
            "draws": [100, 100, 50],
            "replicates": [8, 8, np.nan],
        }
    ),
    "b-y": pd.DataFrame({"kind": ["point"], "cascade": ["two"], "value": [4.0], "hits": [3], "draws": [50]}),
    "c-z": pd.DataFrame({"kind": ["difference"], "value": [0.5], "trials": [128]}),
}


def judged(**options):
    figures = options.pop("figures", ["a-x"])
    criterion = {key: options.pop(key) for key in claims.CRITERIA if key in options}
    measure = {"value": "value", **options}
    claim = ClaimOptions(statement="It is so.", figures=figures, measure=measure, criterion=criterion)
    return claims.evaluate("it", claim, TABLES, 0.95)


def test_one_row_is_measured_with_its_interval():
    found = judged(select={"kind": "slope", "cascade": "one"}, interval=["low", "high"], within=[-1.2, -0.8])
    assert (found.measured, found.interval, found.holds) == (-1.0, [-1.1, -0.9], True)
    assert found.criterion == "measured between -1.2 and -0.8"
    assert found.evidence == ["figures/a-x.csv"]
    assert found.sample == "8 dictionaries"
    assert judged(figures=["b-y"], select={"kind": "point"}, at_least=0).sample == "one value"
    assert judged(figures=["c-z"], at_least=0).sample == "128 trials"
    assert judged(figures=["c-z"], at_least=0, counted="paired differences").sample == "128 paired differences"


@pytest.mark.parametrize(
    ("criterion", "holds"),
    [
        ({"within": [-0.99, 0]}, False),
        ({"within": [-1, 0]}, True),
        ({"at_least": -1}, True),
        ({"at_least": -0.9}, False),
        ({"at_most": -1}, True),
        ({"at_most": -1.1}, False),
        ({"above": -1.1}, False),
        ({"above": -1.2}, True),
        ({"contains": -0.9}, True),
        ({"contains": -0.8}, False),
        ({"at_least": -1, "enough": 2}, False),
        ({"at_least": -0.9, "at_most": 1}, False),
    ],
)
def test_every_part_of_a_criterion_decides(criterion, holds):
    assert judged(select={"kind": "slope", "cascade": "one"}, interval=["low", "high"], **criterion).holds is holds


def test_a_proportion_pools_figures_and_has_a_clopper_pearson_interval():
    found = judged(figures=["a-x", "b-y"], select={"kind": "point"}, value="hits", out_of="draws", at_most=0.05)
    assert found.measured == 4 / 100
    np.testing.assert_allclose(found.interval, [0.011004, 0.099257], atol=1e-6)
    assert found.holds
    assert found.sample == "100 rows"


def test_rows_are_divided_by_those_that_agree():
    found = judged(select={"kind": "point"}, over={"kind": "slope"}, at_most=-5)
    assert (found.measured, found.holds) == (-5.0, True)


@pytest.mark.parametrize(("aggregate", "measured"), [("sum", -3.0), ("min", -2.0), ("max", -1.0), ("only", None)])
def test_several_rows_become_one_number_or_none(aggregate, measured):
    found = judged(select={"kind": "slope"}, aggregate=aggregate, at_most=0)
    assert found.measured == measured
    assert found.holds is (measured is not None)


def test_what_cannot_be_measured_does_not_hold():
    assert not judged(select={"kind": "nothing"}, at_least=-100).holds
    assert not judged(select={"kind": "point"}, value="low", at_least=-100).holds
    assert not judged(select={"kind": "point"}, interval=["low", "high"], at_least=0, above=-9).holds


@pytest.mark.parametrize("options", [{"value": "valeu"}, {"select": {"knid": 1}}, {"out_of": "drwas"}])
def test_an_unknown_column_is_named(options):
    with pytest.raises(UserError, match=r"claims\.it asks for column '(valeu|knid|drwas)'.*did you mean"):
        judged(**{"at_least": 0, **options})


def test_a_claim_without_criterion_or_interval_is_refused():
    with pytest.raises(ValueError, match="needs a criterion"):
        judged()
    with pytest.raises(ValueError, match="ask for an interval"):
        judged(above=0)


def test_failing_claims_are_reported_as_failing():
    findings = [judged(select={"kind": "slope"}, aggregate="min", at_least=bound) for bound in (-5, 0)]
    page = claims.as_markdown(findings)
    assert "1 of 2 claims hold" in page
    assert page.count("**DOES NOT HOLD**") == 1
    first, second = claims.as_records(findings)
    assert set(first) >= {"id", "statement", "measured", "interval", "criterion", "holds", "evidence"}
    assert (first["holds"], second["holds"]) == (True, False)


def test_a_table_that_was_edited_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    dataset.write_text("a,b\n1,2\n", path, provenance.record("figure", 1, {}, {"sha256": "", "modules": {}}, {}))
    assert dataset.read_table(path)["b"].tolist() == [2]
    path.write_text("a,b\n1,3\n")
    with pytest.raises(UserError, match="not as the workflow wrote it"):
        dataset.read_table(path)


def test_exceptions_of_a_theorem_are_counted_without_an_interval():
    found = judged(value="hits", among="draws", at_most=0)
    assert (found.measured, found.interval, found.sample, found.holds) == (3.0, None, "250 rows", False)
    alone = judged(select={"cascade": "one", "kind": "slope"}, value="hits", among="draws", at_most=0, enough=100)
    assert alone.holds
    assert not judged(select={"kind": "nothing"}, value="hits", among="draws", at_most=0).holds  # nothing was counted
    with pytest.raises(ValueError, match="without an interval"):
        judged(value="hits", among="draws", out_of="draws", at_most=0)


def test_every_part_of_a_criterion_has_a_phrase_and_a_test():
    assert set(claims.CRITERIA) == set(CriterionOptions.model_fields)
