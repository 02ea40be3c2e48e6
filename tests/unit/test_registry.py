import typing

import pytest

from dcsc import UserError
from dcsc.registry import Registry


@pytest.fixture
def tools():
    tools = Registry("tool", filled_in=("bench",))

    @tools.register("plane")
    def plane(wood, *, width, depth=1, bench=None):
        return wood

    @tools.register("pass")
    def hand_on(wood, *, base, bench=None, **others):
        return wood

    return tools


def test_functions_are_found_by_name(tools):
    assert tools.names() == ["pass", "plane"]
    assert tools.get("plane")("oak", width=1) == "oak"
    assert list(tools.parameters("plane")) == ["width", "depth"]
    assert tools.check("plane", ["width"]) is tools.get("plane")


def test_a_function_that_passes_parameters_on_takes_any_name(tools):
    assert tools.passes_on("pass")
    assert not tools.passes_on("plane")
    tools.check("pass", ["base", "width"])


def test_a_name_is_taken_by_another_function_alone(tools):
    same = tools.get("plane")
    assert tools.register("plane")(same) is same
    with pytest.raises(UserError, match=f"registered already, taken by {__name__}"):
        tools.register("plane")(lambda wood: wood)
    assert tools.get("plane") is same


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("plain", [], "the tool 'plain' is unknown: did you mean 'plane'?"),
        (["plane"], [], "is unknown"),
        ("plane", ["widht"], "has no parameter 'widht', the name is unknown: did you mean 'width'?"),
        ("plane", ["width", "bench"], "has no parameter 'bench'"),
        ("pass", ["base", "bench"], "has no parameter 'bench'"),
        ("plane", [], "needs the parameter 'width': give a whole number."),
        ("pass", [], "needs the parameter 'base': give it."),
        ("saw", ["teeth"], "has no parameter 'teeth', the name is unknown: it takes none."),
    ],
)
def test_a_mistake_names_what_is_allowed(tools, name, given, words):
    tools.register("saw")(lambda wood: wood)
    with pytest.raises(UserError) as refusal:
        tools.check(name, given, {"width": "a whole number"})
    assert words in str(refusal.value)


def test_the_annotations_of_a_function_are_read_once_however_often_it_is_called(monkeypatch):
    registry, reads = Registry("thing"), []
    hints = typing.get_type_hints
    monkeypatch.setattr(typing, "get_type_hints", lambda function: reads.append(function) or hints(function))

    @registry.register("one")
    def one(*, size: int = 1):
        return size

    for _ in range(3):
        registry.check("one", {"size": 2})
    assert reads == [one]
