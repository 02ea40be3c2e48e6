"""A panel is told once, in its own module; who asks for its needs loads no plotting library."""

import importlib
import re
import subprocess
import sys
from dataclasses import asdict

import pytest
import xarray as xr
import yaml

from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel, built_in
from dcsc.store import provenance
from dcsc.study.options.signals import SignalOptions
from dcsc.study.options.study import StyleOptions
from tests.workflow.support import ROOT

PANELS = built_in()
GROUPS = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))["groups"]


@pytest.mark.parametrize("name", PANELS)
def test_what_is_read_of_a_panel_is_what_its_module_tells(name):
    module = importlib.import_module(f"dcsc.figures.{name.replace('-', '_')}")
    assert PANELS[name] == module.PANEL
    assert callable(module.tidy)
    assert callable(module.draw)
    assert GROUPS[f"render_{name.replace('-', '_')}"] == PANELS[name].group


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_tells_its_columns_once(name):
    columns = PANELS[name].columns.split()
    assert columns
    assert len(set(columns)) == len(columns)


def test_every_panel_has_a_caption_and_no_caption_is_left_over():
    captions = {path.stem for path in (ROOT / "workflow/report").glob("*.rst")} - {"workflow", "own-figure"}
    assert captions == set(built_in())


def test_asking_for_the_panels_loads_no_plotting_library_and_no_figure():
    code = "import sys, dcsc.study.options.study; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert not {"matplotlib", "seaborn", "pandas", "dcsc.figures.style", "dcsc.figures.recovery"} & set(loaded.split())


def test_the_digest_of_a_figure_is_of_its_own_module_and_what_that_imports():
    drawings = {f"dcsc/figures/{name.replace('-', '_')}.py" for name in built_in()}
    for name in built_in():
        own = f"dcsc/figures/{name.replace('-', '_')}.py"
        others = drawings & set(provenance.modules(ROOT / "scripts/render_figure.py", ROOT / own)) - {own}
        shown = {"depth": {"dcsc/figures/exact.py"}, "basis-pursuit": {"dcsc/figures/recovery.py"}}  # their tables
        assert others == shown.get(name, set())


def test_a_panel_of_dictionaries_alone_shows_nothing_measured():
    assert not Panel(needs=("dictionaries",)).is_measured
    assert Panel(needs=("certificates",)).is_measured
    with pytest.raises(ValueError, match="dictionaries alone"):
        _ = Results({}).summary


@pytest.mark.parametrize(
    ("options", "adversarial", "contrast"),
    [
        ({}, False, 1.0),
        ({"signs": "worst-case"}, True, 1.0),
        ({"signs": {"name": "worst-case", "threshold": "uniform"}}, True, 1.0),
        ({"layer_signs": "worst-case"}, True, 1.0),
        ({"layer_signs": True, "magnitudes": {"name": "uniform", "contrast": 0.25}}, False, 0.25),
    ],
)
def test_settings_of_a_figure_tell_what_is_drawn(options, adversarial, contrast):
    draw = SignalOptions(active=[3], trials=1, variants={"it": options}).draws()["it"]
    settings = settings_of({"it": draw})
    variant = settings.variants["it"]
    assert variant.is_adversarial == draw.is_adversarial == adversarial
    assert settings.adversarial == ["it"] * adversarial
    assert (variant.contrast, settings.delta, settings.style.dpi) == (contrast, 0.1, 200)


def settings_of(variants):
    drawn = {name: asdict(draw) for name, draw in variants.items()}
    given = {"variants": drawn, "style": StyleOptions().model_dump(mode="json"), "experiment": "e"}
    return FigureSettings.from_json(
        {**given, "series": {"a": "a"}, "pursuits": {}, "delta": 0.1, "seed": 3, "confidence": 0.9}
    )


def test_the_documented_figure_is_drawn():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = {}
    exec(compile(re.search(r"```python\n(# sizes.py\n.*?)```", text, re.DOTALL).group(1), "sizes.py", "exec"), names)
    first = xr.Dataset({"grid": ("axis", [8, 6])})
    results = Results({"a": xr.DataTree.from_dict({"layer_1": first})})
    table = names["tidy"](results, settings_of({}))
    assert table["ambient_dimension"].tolist() == [48]
    assert names["PANEL"] == Panel(needs=("dictionaries",), columns=" ".join(table))
    (panel,) = names["draw"](table, settings_of({})).axes
    assert [patch.get_height() for patch in panel.patches] == [48]


def test_captions_of_figures_that_take_an_axis_say_which_one_is_shown():
    assert {name for name, panel in built_in().items() if panel.takes_axis} == {
        path.stem
        for path in (ROOT / "workflow/report").glob("*.rst")
        if 'params.settings.get("axis")' in path.read_text(encoding="utf-8")
    }
