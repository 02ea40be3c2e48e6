"""Plug-ins: the documented ones run from a configuration as printed, and what goes wrong in one names its function."""

import inspect
import re
import textwrap

import numpy as np
import pytest

import dcsc
from dcsc import families, sampling, seeds, stages
from dcsc.errors import UserError
from dcsc.pursuit import protocol
from dcsc.registry import Registry
from dcsc.sampling import registry as samplers
from dcsc.stages import dictionaries, metrics, pursuits, signals, windows
from dcsc.store import schemas
from dcsc.study import config
from dcsc.study.plan import Plan
from tests.unit.test_documentation import blocks
from tests.unit.test_stages import saved

LINE = families.create("lapped", grid=(64,), n_filters=4)
REGISTRIES = {
    "family": (families.registry.FAMILIES, "dcsc.families"),
    "pursuit": (protocol.PURSUITS, "dcsc.pursuit"),
    "support": (samplers.SUPPORTS, "dcsc.sampling"),
    "magnitude": (samplers.MAGNITUDES, "dcsc.sampling"),
    "sign rule": (samplers.SIGNS, "dcsc.sampling"),
    "real signal": (windows.SIGNALS, "dcsc.stages.windows"),
}
REGISTER = {
    "family": "from dcsc.families import register",
    "pursuit": "from dcsc.pursuit import register",
    "support": "from dcsc.sampling import register_support as register",
    "magnitude": "from dcsc.sampling import register_magnitudes as register",
    "sign rule": "from dcsc.sampling import register_signs as register",
    "real signal": "from dcsc.stages.windows import register",
}
TAKES = {"family": "grid, rng", "pursuit": "*_, reference=None, noise=None, **__", "magnitude": "rng, count"}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """What a plug-in registers must not be seen by other tests."""
    for registry in list(Registry.every):
        monkeypatch.setattr(registry, "entries", dict(registry.entries))


def written(folder, text, name="mine.py"):
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def study_of(plugins, layers, pursuit, **drawn):
    """The smallest study that uses what plug-ins bring."""
    return config.validate(
        {
            "seed": 3,
            "plugins": [str(path) for path in plugins],
            "cascades": {"it": {"grid": [64], "layers": layers}},
            "experiments": {
                "own": {
                    "title": "Do plug-ins run?",
                    "cascades": ["it"],
                    "signals": {"active": [1], "trials": 4, **drawn},
                    "pursuits": {"it": pursuit},
                    "figures": ["recovery"],
                }
            },
        }
    )


def run(study, folder):
    """Every stage of the first chunk, as the workflow runs them."""
    plan = Plan(study)
    made = saved(dictionaries.draw_dictionaries(**{"member": plan.dictionary_settings("it")["cascade"], "seed": 3}),
                 folder / "d.nc", schemas.DICTIONARIES)  # fmt: skip
    drawn = saved(
        signals.sample_signals(plan.signal_settings("own", "it", "000000"), made), folder / "s.nc", schemas.SIGNALS
    )
    found = saved(pursuits.run_pursuits(plan.pursuit_settings("own"), drawn, made), folder / "p.nc", schemas.PURSUITS)
    return made, metrics.measure_recovery(plan.metrics_settings("own"), found, drawn, made)


def documented(folder):
    paths = {}
    for block in blocks("CONTRIBUTING.md"):
        name = re.match(r"# (\w+\.py)\n", block).group(1)
        paths[name] = written(folder, block, name)
    return paths


EXPONENTIAL = {"family": "exponential", "parameters": {"rates": [0.5, 1.0], "taps": 8}}
TWICE = {"method": "twice-thresholded", "parameters": {"rule": "hard", "threshold": 0.98}}


def test_the_documented_plug_ins_run_from_a_configuration_as_printed(tmp_path):
    paths = documented(tmp_path)
    study = study_of([paths["my_families.py"], paths["my_pursuits.py"]], [EXPONENTIAL], TWICE)
    _, measured = run(study, tmp_path)
    assert measured["path_recovered"].to_numpy().any()


def test_the_samplers_and_signals_of_the_docstrings_run_from_a_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("my_signal.npy", np.random.default_rng(0).normal(size=200))
    examples = [
        textwrap.dedent(re.search(r"::\n\n(.*?)\nand name the file", inspect.getdoc(of), re.DOTALL).group(1))
        for of in (sampling, windows)
    ]
    paths = [written(tmp_path, text, f"example_{number}.py") for number, text in enumerate(examples)]
    layers = [{"family": "lapped", "parameters": {"n_filters": 4}}]
    variants = {"first": {"support": "first-filter"}, "windows": {"windows_of": "my-signal"}}
    _, measured = run(study_of(paths, layers, {"rule": "top-k"}, variants=variants), tmp_path)
    assert measured


INNER = """
    import dcsc, numpy as np
    from dcsc.families import register

    @register("inner")
    def inner(grid, rng, *, taps: int):
        filters = np.random.default_rng(1).normal(size=(3, 4, taps))
        return dcsc.ConvolutionalDictionary(filters, 2, grid, normalize=True)
"""


def test_plug_ins_and_files_bring_the_channels_of_an_inner_layer(tmp_path):
    np.save(tmp_path / "filters.npy", np.random.default_rng(0).normal(size=(3, 4, 4)))
    outer = {"family": "lapped", "parameters": {"n_filters": 4}}
    from_file = {
        "family": "file",
        "parameters": {"path": str(tmp_path / "filters.npy"), "stride": 2, "normalize": True},
    }
    moved = {"family": "perturbed", "parameters": {"base": "file", "perturbation": 0.1, **from_file["parameters"]}}
    own = {"family": "inner", "parameters": {"taps": 4}}
    plugin = written(tmp_path, INNER)
    for layer in (from_file, moved, own):
        study = study_of([plugin], [outer, layer], {"rule": "top-k"})
        made = dictionaries.draw_dictionaries(Plan(study).dictionary_settings("it")["cascade"], 1)
        assert made["/layer_2"].sizes["channel"] == 4
    told = {"family": "gaussian", "parameters": {"n_filters": 3, "taps": 4, "stride": 2}}
    assert study_of([plugin], [outer, told], {"rule": "top-k"})  # its number of channels is filled in, as before
    with pytest.raises(UserError, match=r"cascades.it: .* make its channels and grid agree"):
        study_of([plugin], [{"family": "lapped", "parameters": {"n_filters": 8}}, own], {"rule": "top-k"})


@pytest.mark.parametrize("kind", REGISTRIES)
def test_nothing_built_in_can_be_replaced(tmp_path, kind):
    registry, _ = REGISTRIES[kind]
    name = registry.names()[0]
    built_in = registry.get(name)
    takes = TAKES.get(kind, "*_")
    simple = f"{REGISTER[kind]}\n\n@register({name!r})\ndef mine({takes}):\n    return None\n"
    with pytest.raises(UserError, match=f"mine.py: the {kind} name {name!r} is registered already"):
        stages.load_plugins([written(tmp_path, simple)])
    disguised = (
        f"{REGISTER[kind]}\n\ndef mine({takes}):\n    return None\n\n"
        f"mine.__module__, mine.__qualname__ = {built_in.__module__!r}, {built_in.__qualname__!r}\n"
        f"register({name!r})(mine)\n"
    )
    with pytest.raises(UserError, match="registered already"):
        stages.load_plugins([written(tmp_path, disguised)])
    forced = f"from dcsc.registry import Registry\nfor of in Registry.every:\n    of.entries[{name!r}] = print\n"
    with pytest.raises(UserError, match=r"mine.py: .* is taken by .*: choose another name"):
        stages.load_plugins([written(tmp_path, forced)])
    assert registry.get(name) is built_in


def test_plug_ins_of_one_file_name_do_not_replace_one_another(tmp_path):
    text = (
        "from dcsc.sampling import register_magnitudes\n\n@register_magnitudes('own')\ndef own(rng, count):\n    pass\n"
    )
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths.append(written(tmp_path / name, text))
    with pytest.raises(UserError, match="'own' is registered already"):
        stages.load_plugins(paths)
    stages.load_plugins(paths[:1])  # again, as every stage does


def test_a_pursuit_must_take_what_a_study_gives_it():
    with pytest.raises(UserError, match=r"'mine' \(mine of test_plugins.py\) takes no 'noise', which it is given"):

        @dcsc.pursuit.register("mine")
        def mine(model, signals, *, reference=None):
            return None


def test_a_plug_in_that_leaves_is_named(tmp_path):
    with pytest.raises(UserError, match=r"mine.py fails"):
        stages.load_plugins([written(tmp_path, "import sys\nsys.exit(3)\n")])


def test_a_parameter_is_compared_with_its_annotation_before_any_job(tmp_path):
    text = """
        from __future__ import annotations

        from dcsc.pursuit import layered_thresholding, register

        @register("mine")
        def mine(model, signals, *, reference=None, noise=0.0, rate: float, steps: int = 3):
            return layered_thresholding(model, signals, rule="top-k", reference=reference)
    """
    layers = [{"family": "lapped", "parameters": {"n_filters": 4}}]
    plugin = written(tmp_path, text)
    for parameters, words in (
        ({"rate": "fast"}, "'rate' of the pursuit 'mine' is 'fast', .* give a finite number"),
        ({"rate": 1, "steps": 2.5}, "'steps' of the pursuit 'mine' is 2.5, .* give an integer"),
        ({"steps": 2}, "needs the parameter 'rate'"),
    ):
        with pytest.raises(UserError, match=f"experiments.own.pursuits.it: .*{words}"):
            study_of([plugin], layers, {"method": "mine", "parameters": parameters})
    assert study_of([plugin], layers, {"method": "mine", "parameters": {"rate": "1e-1"}})


def found(depth=1, batch=3, **changed):
    shape = (batch, *LINE.code_shape)
    fields = {
        "codes": [np.zeros(shape)] * depth,
        "thresholds": [np.full(batch, np.nan)] * depth,
        "iterations": np.ones((batch, depth), int),
        "optimality": np.zeros((batch, depth)),
        "stopped": "at once",
    }
    return dcsc.pursuit.PursuitResult(**{**fields, **changed})


RESULTS = {
    "no result": (None, "returned a NoneType: it must return a PursuitResult"),
    "codes of two layers": (found(depth=2), "returned no 1 codes: it must return a list of one array a layer"),
    "no list": (found(codes=np.zeros((1, 3, *LINE.code_shape))), "returned no 1 codes"),
    "codes of another shape": (found(codes=[np.zeros((3, 4, 5))]), r"codes of layer 1, returned an array of shape"),
    "complex codes": (found(codes=[np.zeros((3, *LINE.code_shape), complex)]), "an array of complex128"),
    "NaN in a code": (found(codes=[np.full((3, *LINE.code_shape), np.nan)]), "numbers that are not finite"),
    "codes of text": (found(codes=[np.full((3, *LINE.code_shape), "a")]), "an array of <U1"),
    "a threshold of the batch": (found(thresholds=[0.5]), r"thresholds of layer 1, returned an array of shape \(\)"),
    "thresholds of others": (found(thresholds=[np.zeros((3, 7))]), r"real numbers of shape \(3,\) or \(3, 4\)"),
    "iterations that are no numbers": (found(iterations=np.zeros((3, 1))), "iterations, returned an array of float64"),
    "iterations of no layer": (found(iterations=np.zeros(3, int)), r"whole numbers of shape \(3, 1\)"),
    "optimality of no layer": (found(optimality=np.zeros(3)), r"optimality, returned an array of shape \(3,\)"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_what_a_pursuit_gives_is_checked_where_it_enters(name):
    given, words = RESULTS[name]

    @dcsc.pursuit.register("mine")
    def mine(model, signals, *, reference=None, noise=None):
        return given

    model, observed = dcsc.Cascade([LINE]), np.zeros((3, *LINE.signal_shape))
    with pytest.raises(UserError, match=words) as refusal:
        protocol.run("mine", model, observed)
    assert "the pursuit 'mine' (" in str(refusal.value)
    assert "mine of test_plugins.py" in str(refusal.value)


def test_a_pursuit_that_is_right_passes_unchanged():
    given = found(thresholds=[np.full((3, 4), np.inf)], codes=[np.ones((3, *LINE.code_shape), np.float32)])
    dcsc.pursuit.register("mine")(lambda model, signals, *, reference=None, noise=None: given)
    assert protocol.run("mine", dcsc.Cascade([LINE]), np.zeros((3, *LINE.signal_shape))) is given


SHAPE = LINE.code_shape
CODES = dcsc.RaggedCodes
DRAWS = {
    "support": {
        "nothing": (None, "a NoneType"),
        "another batch": (CODES.from_dense(np.ones((2, *SHAPE), np.int8), SHAPE), r"batch shape \(2,\)"),
        "another code": (CODES.from_dense(np.ones((3, 5), np.int8), (5,)), r"code shape \(5,\)"),
        "an atom twice": (CODES(np.array([2, 0, 0]), np.array([4, 4]), np.ones(2), SHAPE), "do not ascend"),
        "atoms downwards": (CODES(np.array([0, 2, 0]), np.array([4, 3]), np.ones(2), SHAPE), "do not ascend"),
        "negative sizes": (CODES(np.array([-1, 1, 0]), np.zeros(0, int), np.ones(0), SHAPE), "no whole numbers"),
        "values": (CODES(np.array([1, 0, 0]), np.array([4]), np.full(1, 0.5), SHAPE), "other values than 1"),
    },
    "magnitude": {
        "nothing": (None, "a NoneType"),
        "too few": (np.ones(2), r"an array of shape \(2,\)"),
        "negative": (np.array([1, -1, 1.0]), "not positive"),
        "zero": (np.zeros(3), "not positive"),
        "NaN": (np.array([1, np.nan, 1]), "not finite"),
        "complex": (np.ones(3, complex), "an array of complex128"),
        "text": (["a", "b", "c"], "an array of <U1"),
    },
    "sign rule": {
        "halves": (np.full(3, 0.5), "other values"),
        "too many": (np.ones(4, int), r"an array of shape \(4,\)"),
        "logical": (np.ones(3, bool), "an array of bool"),
    },
    "real signal": {
        "text": ("abc", "an array of <U3"),
        "NaN": (np.full((1, 100), np.nan), "not finite"),
        "complex": (np.zeros((1, 100), complex), "an array of complex128"),
        "objects": ([{}], "a list"),
    },
    "family": {"nothing": (None, "a NoneType"), "another grid": (LINE, r"grid \(64,\): .* that it is given, \(128,\)")},
}


def drawn_by(kind):
    rng = seeds.stream(1)
    three = CODES(np.array([3]), np.arange(3), np.ones(3), SHAPE)
    return {
        "support": lambda: sampling.draw_supports("mine", rng, LINE, 3),
        "magnitude": lambda: sampling.draw_magnitudes("mine", rng, 3),
        "sign rule": lambda: sampling.draw_signs("mine", rng, LINE, three),
        "real signal": lambda: windows.check("mine", [LINE]),
        "family": lambda: families.create("mine", grid=(128,)),
    }[kind]()


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in DRAWS.items() for name in names])
def test_what_a_sampler_a_signal_or_a_family_gives_is_checked_where_it_enters(kind, name):
    given, words = DRAWS[kind][name]
    registry, _ = REGISTRIES[kind]

    def mine(*_):
        return given

    registry.register("mine")(mine)
    with pytest.raises(UserError, match=words) as refusal:
        drawn_by(kind)
    assert f"the {kind} 'mine' (" in str(refusal.value)
    assert "mine of test_plugins.py" in str(refusal.value)


@pytest.mark.parametrize("kind", DRAWS)
def test_a_plug_in_that_fails_in_a_job_is_named_with_its_line(kind):
    registry, _ = REGISTRIES[kind]

    def mine(*_):
        return 1 / 0

    registry.register("mine")(mine)
    line = inspect.getsourcelines(mine)[1] + 1
    words = rf"the {kind} 'mine' \(.*mine of test_plugins.py\) fails at line {line} with ZeroDivisionError"
    with pytest.raises(UserError, match=words) as refusal:
        drawn_by(kind)
    assert isinstance(refusal.value.__cause__, ZeroDivisionError)


def test_a_fault_of_the_library_keeps_its_traceback():
    with pytest.raises(TypeError):
        families.registry.FAMILIES.call("lapped")


def test_replicates_of_different_shapes_are_refused(tmp_path):
    text = """
        import dcsc, numpy as np
        from dcsc.families import register

        @register("growing")
        def growing(grid, rng):
            filters = np.ones((1 + int(rng.integers(1, 100)), 1, 4))
            return dcsc.ConvolutionalDictionary(filters, 2, grid, normalize=True)
    """
    stages.load_plugins([written(tmp_path, text)])
    member = {"grid": [64], "replicates": 4, "layers": [{"family": "growing", "parameters": {}}]}
    with pytest.raises(UserError, match="'growing' of layer 1 gave replicates of different shapes"):
        dictionaries.draw_dictionaries(member, 1)
