"""Figures that plug-ins register: asked for by a configuration, and held to what they must return."""

import textwrap

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

from dcsc import stages
from dcsc.errors import UserError
from dcsc.figures import own, panels, register
from dcsc.figures.inputs import Results
from dcsc.registry import Registry
from dcsc.study import catalogue, config, reference
from dcsc.study.estimate import model
from dcsc.study.plan import Plan
from dcsc.study.products import Products
from tests.unit.test_panels import settings_of
from tests.unit.test_plugins import documented

RESULTS = Results({"a": xr.DataTree.from_dict({"layer_1": xr.Dataset({"grid": ("axis", [8, 6])})})})
TABLE = pd.DataFrame({"a": [1.0], "b": ["x"]})


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """What a plug-in registers must not be seen by other tests."""
    for registry in list(Registry.every):
        monkeypatch.setattr(registry, "entries", dict(registry.entries))


def configured(plugin, *figures, claims=None):
    return {
        "results": "results-own",
        "seed": 1,
        "plugins": [str(plugin)],
        "cascades": {"it": {"grid": [64], "layers": [{"family": "lapped", "parameters": {"n_filters": 4}}]}},
        "experiments": {"own": {"title": "How large?", "cascades": ["it"], "figures": list(figures)}},
        **({"claims": claims} if claims else {}),
    }


def claim_on(column):
    measure = {"value": column, "take": "largest"}
    return {"size": {"statement": "It is small.", "figures": ["own-sizes"], "measure": measure, "at_most": 100}}


def test_the_documented_figure_of_a_plug_in_is_asked_for_by_a_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    documented(tmp_path)
    study = config.validate(configured("my_figures.py", "sizes"))
    drawing = own.Drawing("sizes")
    table = drawing.tidy(RESULTS, settings_of({}))
    assert table.to_dict("list") == {"cascade": ["a"], "ambient_dimension": [48]}
    (panel,) = drawing.draw(table, settings_of({})).axes
    assert [patch.get_height() for patch in panel.patches] == [48]
    (choice,) = (one for one in catalogue.catalogue(["figures"])["figures"] if one.name == "sizes")
    assert choice.meaning == "Grid points of every cascade."
    plan = Plan(study)
    assert plan.page_settings()["own_captions"] == {"own-sizes": "Grid points of every cascade."}
    products = [product for path, product in Products(plan).all.items() if path.startswith("figures/")]
    assert [product.path for product in products] == [
        f"figures/own-sizes.{kind}" for kind in ("pdf", "svg", "png", "csv")
    ]
    assert all(product.inputs == ("../my_figures.py", "dictionaries/it.nc") for product in products)
    assert "dcsc/figures/own.py" in products[0].library["modules"]
    assert model.predicted("render_sizes", {"job": 1.0}).seconds > 0
    reference.json_schema()


def test_an_unknown_figure_is_named_with_the_nearest_one_and_claims_are_put_to_its_columns(tmp_path):
    documented(tmp_path)
    plugin = tmp_path / "my_figures.py"
    with pytest.raises(
        UserError, match=r"experiments.own.figures.0: the figure 'sises' is unknown: did you mean 'sizes'\?"
    ):
        config.validate(configured(plugin, "sises"))
    with pytest.raises(UserError, match="size"):
        config.validate(configured(plugin, "sizes", claims=claim_on("ambient")))


def test_what_is_built_in_depends_on_no_plug_in(tmp_path):
    documented(tmp_path)
    plan = Plan(config.validate(configured(tmp_path / "my_figures.py", "sizes", "families")))
    of_library = [p for path, p in Products(plan).all.items() if path.startswith("figures/own-families")]
    assert of_library
    assert all(product.inputs == ("dictionaries/it.nc",) for product in of_library)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("recovery", {}, "'recovery' is registered already, it is built in"),
        ("My Figure", {}, "'My Figure' is not allowed: use small letters"),
        ("a/b", {}, "'a/b' is not allowed"),
        (3, {}, "3 is not allowed"),
        ("mine", {"needs": ["signal"]}, "'mine' needs 'signal', which is unknown: did you mean 'signals'"),
    ],
)
def test_names_and_needs_are_checked(name, options, words):
    with pytest.raises(UserError, match=words):
        register(name, tidy=lambda results, settings: TABLE, **options)(lambda table, settings: Figure())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "a NoneType"),
        (TABLE.iloc[:0], "a table without numbers"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "columns"),
        (pd.DataFrame([[1]]), "columns"),
        (TABLE.assign(c=1), "a column 'c', which its `columns` do not tell"),
        (pd.DataFrame({"a": [[1, 2]]}), "a list in column 'a'"),
    ],
)
def test_the_numbers_of_a_figure_are_checked(given, words):
    def tidy(results, settings):
        return given

    register("mine", tidy=tidy, columns="a b")(lambda table, settings: Figure())
    with pytest.raises(UserError, match=words) as refusal:
        own.Drawing("mine").tidy(RESULTS, settings_of({}))
    assert "the table of the figure 'mine' (tidy of test_own_figures.py) returned" in str(refusal.value)


def unreadable():
    figure = Figure()
    figure.text(0, 0, r"$\nothing$")
    return figure


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda table, settings: None, "returned a NoneType: it must return a matplotlib Figure"),
        (lambda table, settings: unreadable(), "returned a figure that cannot be drawn"),
        (lambda table, settings: table["z"], "fails at line .* with KeyError"),
    ],
)
def test_the_picture_of_a_figure_is_checked(draw, words):
    register("mine", tidy=lambda results, settings: TABLE)(draw)
    with pytest.raises(UserError, match=f"the figure 'mine' .*{words}"):
        own.Drawing("mine").draw(TABLE, settings_of({}))


def test_a_table_may_hold_numbers_texts_and_truth_values():
    table = pd.DataFrame(
        {"a": [1, 2], "b": ["x", None], "c": [True, False], "d": np.float32([1, np.nan])}, index=[3, 4]
    )
    register("mine", tidy=lambda results, settings: table)(lambda table, settings: Figure())
    assert own.Drawing("mine").tidy(RESULTS, settings_of({})).equals(table.reset_index(drop=True))


def test_a_plug_in_is_loaded_again_as_every_job_does(tmp_path):
    documented(tmp_path)
    for _ in range(2):
        stages.load_plugins([tmp_path / "my_figures.py"])
    assert "sizes" in panels.panels()
    again = textwrap.dedent("""
        from dcsc.figures import register
        @register("sizes", tidy=print)
        def sizes(table, settings): pass
    """)
    (tmp_path / "other.py").write_text(again)
    with pytest.raises(UserError, match=r"other\.py: the figure name 'sizes' is registered already"):
        stages.load_plugins([tmp_path / "other.py"])
