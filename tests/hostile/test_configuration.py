"""The reader of configurations: thousands of damaged files, and values made to do harm."""

import copy
import datetime
import os
import typing
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcsc import families, sampling  # noqa: F401 - loaded here, so that no test counts their imports
from dcsc.__main__ import main
from dcsc.errors import UserError
from dcsc.stages import dictionaries  # noqa: F401
from dcsc.study import config
from tests.hostile.support import little_memory, mutations, refused, within

ROOT = Path(__file__).parents[2]
STUDIES = sorted(set((ROOT / "config").glob("*.yaml")) - set((ROOT / "config").glob("networks*.yaml")))
TEXTS = {path.name: path.read_bytes() for path in STUDIES}
SMOKE = yaml.safe_load(TEXTS["smoke.yaml"])
UNCHECKED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
FUZZ = {"suppress_health_check": UNCHECKED}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def examine(read):
    """Read a configuration; what is accepted writes nowhere but below where it runs."""
    with within(60):
        study = refused(read)
    if study is not None:
        parts = Path(study.results).parts
        assert parts
        assert not Path(study.results).is_absolute()
        assert ".." not in parts
        for name in [
            *study.experiments,
            *(member for cascade in study.cascades for member in study.members_of(cascade)),
        ]:
            assert "/" not in name
            assert name not in ("", ".", "..")
            assert name.isprintable()


def test_reading_is_quick():
    with within(60):
        for text in TEXTS.values():
            config.validate(yaml.safe_load(text))


def damaged_files(folder, name, examples):
    @given(mutations(TEXTS[name]))
    @settings(max_examples=examples, **FUZZ)
    def damaged(content):
        (folder / "study.yaml").write_bytes(content)
        examine(lambda: config.load("study.yaml"))

    damaged()
    assert os.listdir(folder) == ["study.yaml"]


@pytest.mark.parametrize("name", TEXTS)
def test_a_damaged_configuration_is_read_or_refused(folder, name):
    damaged_files(folder, name, 100)


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTS)
def test_thousands_of_damaged_configurations_are_read_or_refused(folder, name):
    damaged_files(folder, name, 2000)


def places(content, path=()):
    """Every place of a configuration, containers too."""
    yield path
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in entries:
        yield from places(value, (*path, key))


PLACES = [path for path in places(SMOKE) if path]
NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**63, 2**64, 10**30, 10**4000, 0.1, -0.0, 1e308, 5e-324, float("inf"), float("nan")]
)
TEXT = st.sampled_from(
    ["", " ", ".", "..", "../../x", "/etc/passwd", "a\0b", "a\nb", "\x1b[2J", "\ud800", "x" * 10**5, "$(touch pwned)",
     "`touch pwned`", "; touch pwned", "{wildcards.x}", "__import__('os').system('touch pwned')", "!!python/object:os",
     "1e400", "0x10", "1_000", "true", "~", "%s%n", "results\n", "con", "-rf", "gaussian", "file", "Ⅷ"]
) | st.text(max_size=20)  # fmt: skip
OTHERS = st.sampled_from(
    [None, True, False, b"bytes", datetime.date(2000, 1, 1), {1, 2}, {}, [], {"a": 1}, {1: 2}, {None: []}, [[[[[]]]]]]
)
VALUES = st.recursive(
    NUMBERS | TEXT | OTHERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def replaced(content, path, value, action):
    content = copy.deepcopy(content)
    place = content
    for key in path[:-1]:
        place = place[key]
    if action == "add" and isinstance(place, dict):
        place[str(value)[:50]] = value
    elif action == "rename" and isinstance(place, dict):
        place[str(value)[:50]] = place.pop(path[-1])
    else:
        place[path[-1]] = value
    return content


def changed_values(examples):
    @given(st.sampled_from(PLACES), VALUES, st.sampled_from(["replace", "replace", "add", "rename"]))
    @settings(max_examples=examples, **FUZZ)
    def changed(path, value, action):
        examine(lambda: config.validate(replaced(SMOKE, path, value, action)))

    changed()


def test_a_value_of_any_kind_is_read_or_refused(folder):
    changed_values(400)
    assert os.listdir(folder) == []


@pytest.mark.slow
def test_thousands_of_values_of_any_kind_are_read_or_refused(folder):
    changed_values(10_000)
    assert os.listdir(folder) == []


LARGE = [2**16, 2**20, 2**31, 2**40, 2**63, 10**30]
LEAVES = [path for path in PLACES if isinstance(path[-1], int) or path[-1] in ("trials", "replicates", "seed", "layer")]
FAMILIES = {name: families.parameters(name) for name in families.names() if name != "file"}


def sized(name, size):
    """Parameters of a family, all of one size."""
    values = {int: size, float: 0.5, str: "gaussian"}
    given = {}
    for key, parameter in FAMILIES[name].items():
        kinds = typing.get_args(parameter.annotation) or (parameter.annotation,)
        kind = next((kind for kind in kinds if kind in values), None)
        if kind is int or (kind is not None and parameter.required):
            given[key] = values[kind]
    return given


@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_huge_dictionary_is_refused_before_memory_is_taken(name, size):
    for grid in (4096, size):
        layer = {"family": name, "parameters": sized(name, size)}
        content = {**SMOKE, "cascades": {**SMOKE["cascades"], "huge": {"grid": [grid], "layers": [layer]}}}
        with within(30), little_memory(1000):
            refused(lambda content=content: config.validate(content))


@pytest.mark.parametrize("size", LARGE)
def test_a_huge_number_anywhere_takes_no_memory(size):
    for path in LEAVES:
        with within(30), little_memory(1000):
            refused(lambda path=path: config.validate(replaced(SMOKE, path, size, "replace")))


TEXT_OF_SMOKE = TEXTS["smoke.yaml"].decode()
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
HOSTILE = {
    "code in a tag": ("results: !!python/object/apply:os.system ['touch pwned']\n", "not valid YAML at line 1"),
    "a name in a tag": ("results: !!python/name:os.system\n", "not valid YAML at line 1"),
    "a billion laughs": (LAUGHS + TEXT_OF_SMOKE, "nested too deeply or too large"),
    "a list that holds itself": ("plugins: &a [*a]\n" + TEXT_OF_SMOKE, "nested too deeply or too large"),
    "a mapping that holds itself": ("style: &a {context: *a}\n" + TEXT_OF_SMOKE, "nested too deeply or too large"),
    "lists in lists": ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    "mappings in mappings": ("a: " + "{a: " * 3000 + "1" + "}" * 3000, "nested too deeply"),
    "nothing but brackets": ("[" * 200_000, "nested too deeply"),
    "nothing but dashes": ("- " * 100_000, "nested too deeply"),
    "nothing but question marks": ("? " * 100_000, "nested too deeply"),
    "nothing but anchors": ("&a " * 80_000, "not valid YAML"),
    "nothing but quotes": ("'" * 200_001, "not valid YAML"),
    "a date that is none": ("seed: 2001-99-99\n", "not valid YAML"),
    "a number of too many digits": ("seed: " + "9" * 10_000, "not valid YAML"),
    "a number in base 60": ("seed: " + "1:" * 5000 + "0", "."),
    "text that is no UTF-8": (b"seed: \xff\xfe\xfd", "not valid YAML"),
    "a null character": (b"seed: 1\0", "not valid YAML"),
    "a key that is a list": ("? [a]\n: 1\n", "not valid YAML"),
    "another document": ("a: 1\n---\nb: 2\n", "not valid YAML"),
    "no mapping": ("- 1\n", "not a mapping"),
    "nothing": ("", "not a mapping"),
    "a megabyte": ("# " + "x" * 2**20, "longer than"),
    "a key of control characters": ('"\\e[2J\\n": 1\n' + TEXT_OF_SMOKE, "unknown key"),
    "a key that is half a character": ('"\\uD800": 1\n' + TEXT_OF_SMOKE, "ud800' is not allowed"),
    "a key of a megabyte's worth": ("? " + "k" * 100_000 + "\n: 1\n" + TEXT_OF_SMOKE, "unknown key"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_configuration_made_to_do_harm_is_refused_on_the_command_line(folder, capsys, name):
    content, words = HOSTILE[name]
    Path("study.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with within(60), little_memory(200):
        assert main(["orphans", "--configfile", "study.yaml", "--results", "nowhere"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert printed[:-1].isprintable()
    assert words in printed
    assert os.listdir(folder) == ["study.yaml"]


OUTSIDE = [
    "..",
    "../x",
    "a/../../x",
    "/tmp/x",
    "~/x",
    "a//b",
    "./a",
    "a/./b",
    "a\0b",
    "a\nb",
    "a b",
    "$HOME",
    "-a",
    ".git",
    "",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_results_lie_below_where_the_workflow_runs(path):
    with pytest.raises(UserError, match=r"results = .* is not allowed: use a relative path"):
        config.validate({**SMOKE, "results": path})


@pytest.mark.parametrize("name", [*OUTSIDE, "a/b", "A", "a" * 41, "figures"])
def test_names_that_become_files_hold_no_path(name):
    experiment = SMOKE["experiments"]["transition"]
    with pytest.raises(UserError):
        config.validate({**SMOKE, "experiments": {name: experiment}})
    if name != "figures":
        with pytest.raises(UserError):
            config.validate({**SMOKE, "cascades": {**SMOKE["cascades"], name: SMOKE["cascades"]["meyer"]}})


@pytest.mark.parametrize("name", ["../../x", "n_filters/../../x", "a/b"])
def test_the_parameter_of_a_series_becomes_part_of_a_name_only_if_a_family_has_it(name):
    series = replaced(SMOKE, ("cascades", "lapped", "vary", "parameter"), name, "replace")
    with pytest.raises(UserError, match=r"has no parameter|needs the parameter"):
        config.validate(series)
    series["cascades"]["lapped"]["layers"][0]["parameters"]["perturbation"] = 0.1
    with pytest.raises(UserError, match="has no parameter"):
        config.validate(series)


def test_as_many_trials_as_no_workflow_can_plan_are_refused():
    with pytest.raises(UserError, match=r"more than the 5,000 .*: set chunk_blocks to \d+ or more"):
        config.validate(replaced(SMOKE, ("experiments", "transition", "signals", "trials"), 2**31, "replace"))


def test_anchors_are_welcome(folder):
    text = TEXT_OF_SMOKE.replace("seed: ", "seed: &seed ", 1) + "\nconfidence: 0.9\n"
    Path("study.yaml").write_text(text.replace("confidence: 0.9\n", "") if "confidence" in TEXT_OF_SMOKE else text)
    assert config.load("study.yaml").results == SMOKE["results"]
