"""The configuration: defaults, every refusal as one sentence, and the files generated from the model."""

import copy
import math
import re
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dcsc import families, sampling
from dcsc.__main__ import main
from dcsc.errors import UserError
from dcsc.figures.panels import Panel, built_in
from dcsc.guarantees import TAILS
from dcsc.pursuit.thresholding import THRESHOLDS
from dcsc.stages import dictionaries
from dcsc.study import config, fullness, reference
from dcsc.study.options.pursuits import PursuitOptions, Tail
from dcsc.study.options.signals import SignalOptions

ROOT = Path(__file__).parents[2]
SMOKE = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())


def changed(path, value):
    """The smoke configuration with one key set (or removed)."""
    content = copy.deepcopy(SMOKE)
    place = content
    *parents, last = path
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return content


SIGNALS = ("experiments", "transition", "signals")
HARD = ("experiments", "transition", "pursuits", "hard")
LAYER = ("cascades", "lapped", "layers", 0)
PURSUITS = ("experiments", "transition", "pursuits")
DEEP = ("experiments", "meyer-cascade")
CLAIM = ("claims", "uniform-guarantee")
RELU = {"rule": "relu", "threshold": 0.1}


def basis_pursuit(**parameters):
    return {"method": "layered-basis-pursuit", "parameters": parameters}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("sed",), 1, ["sed", "did you mean 'seed'?"]),
        (("seed",), None, ["missing key seed"]),
        (("confidence",), 1.5, ["confidence = 1.5", "less than 1"]),
        (("results",), "../elsewhere", ["results = '../elsewhere'", "relative path"]),
        (("results",), "/tmp", ["results = '/tmp'", "relative path"]),
        (("plugins",), ["nowhere.py"], ["nowhere.py", "not a Python file"]),
        (("experiments",), 3, ["experiments = 3"]),
        (("experiments", "figures"), SMOKE["experiments"]["transition"], ["name of a stage"]),
        (("experiments", "A b"), SMOKE["experiments"]["transition"], ["A b", "small letters"]),
        (("experiments", "transition", "cascades"), ["laped"], ["'laped'", "did you mean 'lapped'?"]),
        (("experiments", "transition", "figures"), ["recvery"], ["'recvery'", "'recovery'"]),
        (("experiments", "meyer-cascade", "errors"), False, ["set errors: true"]),
        ((*SIGNALS, "residual"), True, ["residual is what codes miss of windows_of"]),
        ((*SIGNALS, "windows_of"), "electrocardiograph", ["'electrocardiograph'", "did you mean 'electrocardiogram'?"]),
        ((*SIGNALS, "windows_of"), "photograph", ["has no windows of shape (1, 64)"]),
        (
            (*HARD, "threshold"),
            [0.1, 0.2],
            ["has 2 entries", "one per layer"],
        ),
        ((*HARD, "threshold"), [[0.1, 0.2]], ["2 numbers for layer 1", "16 filters: give one per filter"]),
        ((*HARD, "threshold"), "statistical-by-fliter", ["threshold"]),
        ((*SIGNALS, "trails"), 3, ["trails", "did you mean 'trials'?"]),
        ((*SIGNALS, "trials"), -3, ["trials = -3", "greater than or equal to 1"]),
        ((*SIGNALS, "trials"), 2.5, ["trials = 2.5", "valid integer"]),
        ((*SIGNALS, "trials"), True, ["trials = True", "truth value"]),
        ((*SIGNALS, "trials"), "many", ["trials = 'many'", "valid integer"]),
        ((*SIGNALS, "active"), [5000], ["active = 5000", "64 atoms"]),
        ((*SIGNALS, "active"), [3, 3], ["active", "twice"]),
        ((*SIGNALS, "signs"), "rademaher", ["'rademaher'", "'rademacher'"]),
        ((*SIGNALS, "variants"), {"a": {"sings": "given"}}, ["variants.a.sings", "did you mean 'signs'?"]),
        ((*SIGNALS, "variants"), {"a/../b;": {}}, ["a/../b;"]),
        ((*SIGNALS, "support"), "unifrm", ["'unifrm'", "did you mean 'uniform'?"]),
        ((*SIGNALS, "support"), {"name": "clustered", "filtres": 2}, ["no parameter 'filtres'"]),
        ((*SIGNALS, "magnitudes"), "halfnormal", ["did you mean 'half-normal'?"]),
        ((*PURSUITS, "hard", "method"), "layered", ["'layered'", "did you mean 'layered-thresholding'?"]),
        (("experiments", "meyer-cascade", "signals", "signs"), "worst-case", ["3 layers", "defined for one"]),
        (("cascades", "lapped", "grid"), [40], ["grid 40", "stride 16"]),
        (("cascades", "lapped", "grid"), [32], ["grid 32", "at least 48"]),
        (("cascades", "lapped", "vary", "layer"), 3, ["vary.layer = 3", "1 layers"]),
        ((*LAYER, "family"), "gausian", ["'gausian'", "did you mean 'gaussian'?"]),
        ((*LAYER, "parameters", "bse"), 1, ["'bse'"]),
        ((*LAYER, "parameters", "n_filters"), "x", ["'n_filters'", "'x'", "integer"]),
        ((*PURSUITS, "hard", "threshold"), "unifrm", ["'unifrm'", "'uniform'"]),
        ((*PURSUITS, "hard", "threshold"), -1, ["threshold = -1", "greater than or equal to 0"]),
        ((*PURSUITS, "hard", "threshold"), [0.1, 0.2], ["2 entries", "1 layers"]),
        ((*PURSUITS, "hard", "threshold"), None, ["needs a threshold"]),
        ((*PURSUITS, "top-k", "threshold"), 1, ["no use for a threshold"]),
        ((*PURSUITS, "top-k", "parameters"), {"k": 1}, ["top-k", "parameters are not for 'layered-thresholding'"]),
        ((*PURSUITS, "top-k", "variants"), ["random"], ["top-k.variants", "'random'", "'random signs'"]),
        ((*PURSUITS, "bp"), basis_pursuit(), ["pursuits.bp", "needs the parameter 'penalty'"]),
        ((*PURSUITS, "bp"), basis_pursuit(penalti=1), ["'penalti'", "did you mean 'penalty'?"]),
        ((*PURSUITS, "bp"), basis_pursuit(penalty=1, reference=1), ["'reference'", "unknown"]),
        ((*PURSUITS, "bp"), basis_pursuit(penalty={"a": 1}), ["pursuits.bp.parameters.penalty"]),
        ((*PURSUITS, "bp"), {**basis_pursuit(penalty=1), "rule": "hard"}, ["not for 'layered-basis-pursuit'"]),
        ((*PURSUITS, "bp"), {**basis_pursuit(penalty=1), "debias": True}, ["not for 'layered-basis-pursuit'"]),
        ((*SIGNALS, "density"), [0.1], ["either active or density"]),
        ((*SIGNALS, "active"), None, ["either active or density"]),
        ((*SIGNALS, "refine"), -1, ["refine = -1", "greater than or equal to 0"]),
        (("cascades", "lapped", "vary"), {"parameter": "grid", "values": [64, 64.5]}, ["64.5", "whole numbers"]),
        (("cascades", "lapped", "vary"), {"parameter": "grid", "values": [64, 64]}, ["twice"]),
        (("results",), "x" * 300, ["results", "too long", "100 characters a folder"]),
        (("results",), "/".join(["x" * 50] * 5), ["results", "too long"]),
        *((("results",), name, ["a folder of the workflow"]) for name in ("dcsc", "logs/a", "Workflow", "tests")),
        *(
            (("experiments", name), SMOKE["experiments"]["transition"], [f"experiments.{name}", "choose another name"])
            for name in ("default", "all", "claims", "figures", "sweeps", "logs", "report", "claims.json", "claims.md")
        ),
        (("experiments", "reproduction.md"), SMOKE["experiments"]["transition"], ["a file of the results"]),
        (("experiments", "report.html"), SMOKE["experiments"]["transition"], ["a file of the results"]),
        (("experiments", "claims.json-metadata.json"), SMOKE["experiments"]["transition"], ["a file of the results"]),
        (("experiments", "transition-recovery"), SMOKE["experiments"]["transition"], ["'transition-recovery'", "too"]),
        (("cascades", "summary.nc"), SMOKE["cascades"]["meyer"], ["cascades.summary.nc", "a file of the results"]),
        (("cascades", "summary.nc.sha256"), SMOKE["cascades"]["meyer"], ["a file of the results"]),
        (("experiments", "transition", "figures"), ["recovery", "recovery"], ["'recovery' stands twice"]),
        (("experiments", "transition", "cascades"), ["lapped", "lapped"], ["'lapped' stands twice"]),
        (("plugins",), ["a.py", "a.py"], ["'a.py' stands twice"]),
        ((*HARD, "variants"), ["random signs", "random signs"], ["'random signs' stands twice"]),
        ((*CLAIM, "figures"), ["transition-recovery"] * 2, ["'transition-recovery' stands twice"]),
        ((*CLAIM, "measure", "value"), "violatoins", ["measure.value", "'violatoins'", "did you mean 'violations'?"]),
        ((*CLAIM, "measure", "out_of"), "cover", ["measure.out_of", "did you mean 'covered'?"]),
        ((*CLAIM, "measure", "select"), {"pursiut": "hard"}, ["measure.select", "did you mean 'pursuit'?"]),
        ((*CLAIM, "criterion"), {"within": [2, 1]}, ["within = [2, 1] holds no number"]),
        ((*CLAIM, "criterion"), {"at_least": 2, "at_most": 1}, ["no number is at least 2 and at most 1"]),
        ((*CLAIM, "criterion"), {"within": [0, 1], "at_least": 3}, ["no number is at least 3 and at most 1"]),
        ((*CLAIM, "criterion"), {"contains": 1, "above": 1}, ["no interval contains 1 and lies above 1"]),
        (("style",), {"palette": "colorblnd"}, ["style.palette = 'colorblnd'", "did you mean 'colorblind'?"]),
        (("style",), {"palette": "viridiss"}, ["did you mean 'viridis'?"]),
        (("style",), {"palette": ""}, ["style.palette = ''", "give a name"]),
        ((*PURSUITS, "bp"), basis_pursuit(penalty=math.nan), ["parameters.penalty = nan", "finite number"]),
        ((*PURSUITS, "bp"), basis_pursuit(penalty="nan"), ["parameters.penalty = nan", "finite number"]),
        ((*PURSUITS, "bp"), basis_pursuit(penalty=[math.inf]), ["parameters.penalty.0 = inf", "finite number"]),
        ((*PURSUITS, "bp"), basis_pursuit(penalty=0, solver="x"), ["'solver'", "'x'", "one of 'working-set'"]),
        ((*PURSUITS, "bp"), basis_pursuit(penalty=0, max_iterations=2.5), ["'max_iterations'", "2.5", "an integer"]),
        ((*HARD, "threshold"), math.nan, ["threshold = nan", "finite number"]),
        ((*SIGNALS, "active"), [math.nan], ["active.0 = nan", "finite number"]),
        ((*SIGNALS, "support"), {"name": "clustered", "clusters": math.nan}, ["support.clusters = nan", "finite"]),
        ((*SIGNALS, "support"), {"name": "clustered", "clusters": "two"}, ["'clusters'", "'two'", "an integer"]),
        ((*SIGNALS, "magnitudes"), {"name": "uniform", "contrast": math.nan}, ["magnitudes.contrast = nan"]),
        ((*SIGNALS, "magnitudes"), {"name": "uniform", "contrast": 7}, ["contrast = 7", "above 0, at most 1"]),
        ((*LAYER, "parameters", "n_filters"), math.nan, ["n_filters = nan", "finite number"]),
        (("cascades", "lapped", "vary", "values"), [math.nan], ["values.0 = nan", "finite number"]),
        (("confidence",), math.nan, ["confidence = nan"]),
        ((*SIGNALS, "refine_for"), ["hrad"], ["signals.refine_for names 'hrad'", "did you mean 'hard'?"]),
        ((*DEEP, "pursuits", "relu"), RELU, ["pursuits.relu", "'relu' cannot recover", "signs 'rademacher' are"]),
    ],
)
def test_a_wrong_key_is_named_with_its_value_and_what_is_allowed(path, value, words):
    with pytest.raises(UserError) as refusal:
        config.validate(changed(path, value))
    sentence = str(refusal.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_names_that_meet_once_a_panel_is_added_are_refused():
    uniform = {**SMOKE["experiments"]["transition"], "figures": ["density"]}
    content = changed(("experiments", "transition-uniform"), uniform)
    content["experiments"]["transition"]["figures"] = ["uniform-density"]
    with pytest.raises(UserError, match="a figure 'transition-uniform-density', which is the name of figure 'uniform-"):
        config.validate(content)


def test_relu_is_refused_where_codes_are_known_to_have_negative_entries(tmp_path):
    content = changed((*DEEP, "pursuits", "relu"), RELU)
    drawn = content["experiments"]["meyer-cascade"]["signals"]
    drawn["signs"] = "positive"
    with pytest.raises(UserError, match=r"relu.*negative entries because all filters of layer 2 have"):
        config.validate(content)
    drawn["layer_signs"] = True
    with pytest.raises(UserError, match=r"relu.*because signs T of every layer are drawn"):
        config.validate(content)
    one_layer = changed((*PURSUITS, "relu"), RELU)
    assert config.validate(one_layer)
    np.save(tmp_path / "filters.npy", np.abs(np.random.default_rng(0).normal(size=(3, 2, 4))))
    inner = {"family": "file", "parameters": {"path": str(tmp_path / "filters.npy"), "stride": 2, "normalize": True}}
    outer = {"family": "lapped", "parameters": {"n_filters": 2}}
    drawn |= {"layer_signs": False, "active": [1]}
    content["cascades"]["meyer"] = {"grid": [64], "layers": [outer, inner]}
    assert config.validate(content)  # nothing is negative


def test_a_palette_of_either_library_is_accepted():
    for name in ("colorblind", "viridis", "Set2", "ch:s=.25"):
        assert config.validate({**SMOKE, "style": {"palette": name}}).style.palette == name


def test_a_claim_on_a_panel_that_tells_no_columns_waits_for_its_table(monkeypatch):
    monkeypatch.setitem(built_in(), "recovery", Panel())
    assert config.validate(changed((*CLAIM, "measure", "value"), "whatever"))


def test_columns_of_figures_beside_are_columns_too():
    study = config.load(ROOT / "config/config.yaml")
    figures = {f"{name}-{panel}" for name, of in study.experiments.items() for panel in of.figures if of.beside}
    assert figures
    content = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    name = next(name for name, claim in content["claims"].items() if set(claim["figures"]) & figures)
    assert config.validate(content).claims[name]


TWICE = {
    "at the top": ("seed: 1\nresults: a\nseed: 2\n", "'seed' stands twice, at lines 1 and 3"),
    "deep inside": ("a:\n  - b:\n      c: 1\n      d: 2\n      c: 3\n", "'c' stands twice, at lines 3 and 5"),
    "in flow style": ("a: {b: 1, c: 2, b: 3}\n", "'b' stands twice, at lines 1 and 1"),
    "in quotes": ('a: 1\n"a": 2\n', "'a' stands twice, at lines 1 and 2"),
    "numbers": ("1: a\n0x1: b\n", "1 stands twice, at lines 1 and 2"),
    "merges": ("x: &x {a: 1}\ny:\n  <<: *x\n  <<: *x\n", "'<<' stands twice, at lines 3 and 4"),
    "in JSON": ('{"a": 1,\n "a": 2}', "'a' stands twice, at lines 1 and 2"),
}


@pytest.mark.parametrize("name", TWICE)
def test_a_key_that_stands_twice_is_refused_with_its_lines(tmp_path, name):
    text, words = TWICE[name]
    path = tmp_path / "twice.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as refusal:
        config.load(path)
    assert "twice.yaml" in str(refusal.value)


def test_a_key_may_stand_again_where_it_replaces_what_is_merged(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  a: 3\nz: *x\n")
    assert config.read(path) == {"x": {"a": 1, "b": 2}, "y": {"a": 3, "b": 2}, "z": {"a": 1, "b": 2}}


JOBS = ("experiments", "transition", "signals")


@pytest.mark.parametrize("trials", [10**6, 10**8, 2**31])
def test_more_jobs_than_can_be_planned_are_refused_with_what_to_set(trials):
    with pytest.raises(
        UserError, match=r"experiments.transition.signals: .* set chunk_blocks to \d+ or more"
    ) as refusal:
        config.validate(changed((*JOBS, "trials"), trials))
    enough = int(re.search(r"chunk_blocks to (\d+)", str(refusal.value)).group(1))
    content = changed((*JOBS, "trials"), trials)
    content["experiments"]["transition"]["signals"]["chunk_blocks"] = enough
    assert config.validate(content)
    content["experiments"]["transition"]["signals"]["chunk_blocks"] = enough // 3
    with pytest.raises(UserError, match="more than the 5,000"):
        config.validate(content)


def test_defaults_are_filled_in_and_numbers_read_from_text():
    study = config.validate(changed((*LAYER, "parameters", "n_filters"), "16"))
    assert study.experiments["transition"].pursuits["hard"].debias is False
    assert study.style.palette == "colorblind"
    text = yaml.safe_load("confidence: 9.9e-1")  # YAML reads this as text in some spellings
    assert config.validate({**SMOKE, **text}).confidence == 0.99
    assert config.validate({**SMOKE, "confidence": "99e-2"}).confidence == 0.99


def test_densities_are_refused_twice_and_out_of_range():
    densities = changed((*SIGNALS, "active"), None)
    place = densities["experiments"]["transition"]["signals"]
    for value, words in (([0.1, 0.1], "density holds a value twice"), ([0.0], "greater than 0"), ([1.5], "equal to 1")):
        place["density"] = value
        with pytest.raises(UserError, match=words):
            config.validate(densities)
    place["density"] = [0.1, 0.5]
    layer = families.create("lapped", (64,), n_filters=16)
    assert config.validate(densities).experiments["transition"].signals.cells([layer]) == [6, 32]


def test_cells_by_stripe_sparsity_ask_for_an_even_spread_on_one_axis():
    signals = {"stripe_sparsity": [2, 5], "trials": 1, "support": "spread"}
    layer = families.create("lapped", (64,), n_filters=4)  # 16 positions, 3 of them in a stripe
    assert SignalOptions(**signals).cells([layer]) == [10, 26]
    assert SignalOptions(**{**signals, "stripe_sparsity": [500]}).cells([layer]) == [layer.n_atoms]
    content = changed((*SIGNALS, "active"), None)
    content["experiments"]["transition"]["signals"] |= {"stripe_sparsity": [2]}
    with pytest.raises(UserError, match="stripe_sparsity is for evenly spread atoms"):
        config.validate(content)
    plane = families.create("lapped", (12, 12), n_filters=4)
    with pytest.raises(UserError, match="one axis alone, not of 2"):
        SignalOptions(**signals).cells([plane])


def test_parameters_of_a_pursuit_are_read_from_text():
    study = config.validate(changed((*PURSUITS, "bp"), basis_pursuit(penalty="1e-3", solver="proximal-gradient")))
    options = study.experiments["transition"].pursuits["bp"]
    assert options.parameters == {"penalty": 1e-3, "solver": "proximal-gradient"}
    assert options.variants is None


def test_series_are_spelt_out():
    study = config.validate(SMOKE)
    members = study.members_of("lapped")
    assert list(members) == ["lapped-perturbation-0.1", "lapped-perturbation-0.4"]
    assert members["lapped-perturbation-0.4"].layers[0].parameters["perturbation"] == 0.4
    assert list(study.members_of("meyer")) == ["meyer"]


STUDIES = sorted(set((ROOT / "config").glob("*.yaml")) - set((ROOT / "config").glob("networks*.yaml")))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_shipped_configuration_is_valid(path):
    config.load(path)


def test_files_that_cannot_be_read_are_named(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1\nb: 2\n")
    for path, words in ((broken, "not valid YAML at line 2"), (tmp_path / "missing.yaml", "cannot be read")):
        with pytest.raises(UserError, match=words) as refusal:
            config.load(path)
        assert path.name in str(refusal.value)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
trees = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=5)
places = [(key,) for key in SMOKE] + [("experiments", "transition", key) for key in SMOKE["experiments"]["transition"]]
places += [(*SIGNALS, key) for key in SMOKE["experiments"]["transition"]["signals"]]
places += [("cascades", "lapped", key) for key in SMOKE["cascades"]["lapped"]] + [(*LAYER, "parameters")]


@given(st.sampled_from(places), trees)
def test_whatever_stands_at_a_key_is_accepted_or_refused_as_the_users_mistake(path, value):
    content = copy.deepcopy(SMOKE)
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with suppress(UserError):  # any other exception fails the test
        config.validate(content)


def test_generated_files_are_up_to_date():
    assert (ROOT / "workflow/schemas/config.schema.yaml").read_text() == reference.json_schema(), "run make schema"
    readme = (ROOT / "config/README.md").read_text()
    table = re.search(r"<!-- keys -->\n(.*)<!-- /keys -->", readme, re.DOTALL)
    assert table, "config/README.md lost its table of keys"
    assert table.group(1) == reference.key_table(), "run make schema"


def test_the_command_line_writes_the_key_table_between_its_marks(tmp_path, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- keys -->\nold\n<!-- /keys -->\nafter\n")
    assert main(["keys", "--into", str(readme)]) == 0
    assert readme.read_text() == f"before\n<!-- keys -->\n{reference.key_table()}<!-- /keys -->\nafter\n"
    readme.write_text("no marks\n")
    assert main(["keys", "--into", str(readme)]) == 1
    assert "has no marks" in capsys.readouterr().err
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == reference.json_schema()


def test_a_configuration_offers_the_tails_and_thresholds_that_there_are():
    """The options name them again, since they are read without the numerical library."""
    assert get_args(Tail) == TAILS
    named = next(
        of for of in get_args(PursuitOptions.model_fields["threshold"].annotation) if get_origin(of) is Literal
    )
    assert set(get_args(named)) == set(THRESHOLDS)


def deep(**signals):
    """A study of a cascade of two layers, the inner one dense."""
    layers = [
        {"family": "lapped", "parameters": {"n_filters": 8}},
        {"family": "gaussian", "parameters": {"n_filters": 4, "taps": 4, "stride": 2}},
    ]
    experiment = {
        "title": "How dense?",
        "cascades": ["two"],
        "signals": {"trials": 4, **signals},
        "pursuits": {"it": {"rule": "top-k"}},
        "figures": ["recovery"],
    }
    return {"seed": 1, "cascades": {"two": {"grid": [1024], "layers": layers}}, "experiments": {"e": experiment}}


def test_tables_beside_a_figure_are_of_the_same_layer():
    content = deep(active=[1])
    own = content["experiments"]["e"]
    content["experiments"]["other"] = {**own, "axis": "count", "axis_layer": 1}
    own |= {
        "figures": ["basis-pursuit"],
        "pursuits": {"bp": {"method": "layered-basis-pursuit", "parameters": {"penalty": 0}}},
    }
    own |= {"beside": ["other-recovery"], "axis": "density", "axis_layer": 1}
    config.validate(content)
    own |= {"axis_layer": None}
    with pytest.raises(UserError, match="of layer 1, but axis_layer asks for the deepest layer"):
        config.validate(content)


def test_densities_may_be_those_of_any_layer():
    shares = [0.1, 0.3]
    study = config.validate(deep(density=shares, density_layer=1))
    member = study.members_of("two")["two"]
    layers = dictionaries.trial_layers(member.model_dump(mode="json"))
    cells = study.experiments["e"].signals.cells(layers)
    rng, reached = np.random.default_rng(5), []
    for cell in cells:
        codes = sampling.deep_codes(rng, layers, 200, support={"name": "uniform", "size": cell}, magnitudes="uniform")
        reached.append(codes.codes[0].row_size.mean() / layers[0].n_atoms)
    np.testing.assert_allclose(reached, shares, rtol=0.15)
    assert config.validate(deep(density=shares, density_layer=2)).experiments["e"].signals.cells(layers) == [
        round(share * layers[1].n_atoms) for share in shares
    ]


@pytest.mark.parametrize(
    ("signals", "words"),
    [
        ({"density": [0.001], "density_layer": 1}, "0.001 of layer 1 is not reached: a single deepest atom activates"),
        (
            {"density": [1.0], "density_layer": 1, "support": {"name": "clustered", "width": 1}},
            "that this support takes",
        ),
        ({"density": [0.1], "density_layer": 3}, "density_layer = 3 is not allowed: cascade 'two' has 2 layers"),
        ({"active": [1], "density_layer": 1}, "density_layer is the layer that density is of"),
    ],
)
def test_densities_of_a_layer_that_are_not_reached_are_refused(signals, words):
    with pytest.raises(UserError, match=words):
        config.validate(deep(**signals))


def test_a_study_at_densities_where_a_layer_is_full_says_so_in_one_line():
    (note,) = fullness.notes(config.validate(deep(active=[160, 200, 256])))
    words = "experiments.e: layer 1 of cascade 'two' is full at every number of active atoms, 90% of its atoms or more"
    assert note.startswith(words)
    assert "\n" not in note
    (note,) = fullness.notes(config.validate(deep(active=[1, 160, 200])))
    assert "is full from 160 active atoms on" in note
    assert fullness.notes(config.validate(deep(active=[1, 2, 200]))) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"axis": "depth"}, "axis = 'depth' is not allowed"),
        ({"axis_layer": 1}, "axis_layer is for axis 'count' or 'density'"),
        ({"axis": "count", "axis_layer": 3}, "axis_layer = 3 is not allowed: cascade 'two' has 2 layers"),
        ({"axis": "count", "figures": ["comparison"]}, "axis is for figures 'basis-pursuit', 'contrast', 'depth'"),
    ],
)
def test_axes_that_do_not_fit_are_refused(changes, words):
    content = deep(active=[1])
    content["experiments"]["e"] |= changes
    with pytest.raises(UserError, match=words):
        config.validate(content)
