"""The configuration: defaults, every refusal as one sentence, and the files generated from the model."""

import copy
import re
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dcsc import families
from dcsc.__main__ import main
from dcsc.errors import UserError
from dcsc.guarantees import TAILS
from dcsc.pursuit.thresholding import THRESHOLDS
from dcsc.study import config, reference
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
            ["has 2 entries", "one a layer"],
        ),
        ((*HARD, "threshold"), [[0.1, 0.2]], ["2 numbers for layer 1", "16 filters: give one a filter"]),
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
    ],
)
def test_a_wrong_key_is_named_with_its_value_and_what_is_allowed(path, value, words):
    with pytest.raises(UserError) as refusal:
        config.validate(changed(path, value))
    sentence = str(refusal.value)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


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
    assert config.validate(densities).experiments["transition"].signals.cells(layer) == [6, 32]


def test_cells_by_stripe_sparsity_ask_for_an_even_spread_on_one_axis():
    signals = {"stripe_sparsity": [2, 5], "trials": 1, "support": "spread"}
    layer = families.create("lapped", (64,), n_filters=4)  # 16 positions, 3 of them in a stripe
    assert SignalOptions(**signals).cells(layer) == [10, 26]
    assert SignalOptions(**{**signals, "stripe_sparsity": [500]}).cells(layer) == [layer.n_atoms]
    content = changed((*SIGNALS, "active"), None)
    content["experiments"]["transition"]["signals"] |= {"stripe_sparsity": [2]}
    with pytest.raises(UserError, match="stripe_sparsity is for evenly spread atoms"):
        config.validate(content)
    plane = families.create("lapped", (12, 12), n_filters=4)
    with pytest.raises(UserError, match="one axis alone, not of 2"):
        SignalOptions(**signals).cells(plane)


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


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
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
