"""What `dcsc list` prints is what the registries hold."""

import json

import pytest

from dcsc import __main__ as command
from dcsc import families, pursuit
from dcsc.errors import UserError
from dcsc.families.registry import FAMILIES
from dcsc.figures.panels import built_in
from dcsc.sampling.registry import MAGNITUDES, SIGNS, SUPPORTS
from dcsc.study import catalogue as catalogues
from dcsc.study.catalogue import as_text, catalogue, documented, option_table

REGISTERED = {
    "families": families.names(),
    "supports": SUPPORTS.names(),
    "magnitudes": MAGNITUDES.names(),
    "signs": SIGNS.names(),
    "pursuits": pursuit.names(),
    "figures": list(built_in()),
}
OURS = [
    (kind, choice) for kind, choices in catalogue().items() for choice in choices if choice.module.startswith("dcsc.")
]


@pytest.mark.parametrize("kind", REGISTERED)
def test_everything_that_is_registered_is_listed(kind):
    assert [choice.name for choice in catalogue([kind])[kind]] == REGISTERED[kind]


def test_all_kinds_are_listed_in_order():
    assert list(catalogue()) == list(catalogues.KINDS)
    assert set(REGISTERED) <= set(catalogues.KINDS)


@pytest.mark.parametrize(("kind", "choice"), OURS, ids=[f"{kind}-{choice.name}" for kind, choice in OURS])
def test_everything_that_ships_is_explained(kind, choice):
    assert choice.meaning.endswith(".")
    assert choice.when, f"the documentation of {choice.name} does not say when to take it"
    for option in choice.options:
        assert option.type, f"the documentation of {choice.name} tells no type of {option.name}"
        assert option.meaning, f"the documentation of {choice.name} tells nothing of {option.name}"
        assert not option.meaning.startswith("As for"), f"{choice.name} sends the reader of {option.name} on"


def test_defaults_are_those_of_the_function():
    (gabor,) = (choice for choice in catalogue(["families"])["families"] if choice.name == "gabor")
    defaults = {option.name: option.default for option in gabor.options}
    assert defaults["n_filters"] is None
    assert defaults["stride"] == "1"
    assert defaults["width"] == "0.1667"
    assert "`width`" in option_table(gabor)
    (perturbed,) = (choice for choice in catalogue(["families"])["families"] if choice.name == "perturbed")
    assert perturbed.options[-1].name == "**base_parameters"


def test_documentation_that_points_elsewhere_is_followed():
    told = documented(FAMILIES.get("rademacher"))
    assert told["n_filters"] == documented(FAMILIES.get("gaussian"))["n_filters"]


def test_a_plugin_is_listed_beside_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(FAMILIES, "entries", dict(FAMILIES.entries))
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from dcsc.families import register\n\n\n"
        "@register('mine')\ndef mine(grid, rng, *, rates: tuple[float, ...], taps: int = 4):\n    '''Of my own.'''\n"
    )
    assert command.main(["list", "families", "--plugin", str(plugin), "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["families"]}
    assert listed["mine"]["meaning"] == "Of my own."
    assert [(option["name"], option["type"], option["default"]) for option in listed["mine"]["options"]] == [
        ("rates", "tuple[float, ...]", None),
        ("taps", "int", "4"),
    ]


@pytest.mark.parametrize("width", [40, 100, 300])
def test_the_text_names_everything_within_its_width(width):
    text = as_text(catalogue(), width)
    assert all(f"\n  {choice.name}" in text for _, choice in OURS)
    longest = max(len(word) for word in text.split()) + 30
    assert max(map(len, text.splitlines())) <= max(width, longest)


def test_an_unknown_kind_is_refused_with_the_nearest(capsys):
    with pytest.raises(UserError, match="did you mean 'families'"):
        catalogue(["familys"])
    assert command.main(["list", "familys"]) == 1
    assert "did you mean 'families'?" in capsys.readouterr().err
