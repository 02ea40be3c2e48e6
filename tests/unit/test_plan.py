"""The plan of a study: files, cells and settings that the rules and the estimate ask for."""

import json
from pathlib import Path

import pytest

from dcsc.errors import UserError
from dcsc.seeds import BLOCK
from dcsc.stages.settings import Draw, PursuitRun
from dcsc.study import config
from dcsc.study.options.study import Study
from dcsc.study.plan import FILES, RULES, Plan, wildcards_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=["smoke", "iterative", "config"])
def plan(request):
    return Plan(config.load(ROOT / f"config/{request.param}.yaml"))


def test_every_dataset_has_a_rule_and_a_script():
    assert RULES.keys() == FILES.keys()
    assert all((ROOT / "scripts" / f"{rule}.py").is_file() for rule in RULES.values())
    assert [wildcards_of(FILES[stage]) for stage in ("dictionaries", "metrics", "summary")] == [
        ["cascade"],
        ["experiment", "cascade", "chunk"],
        ["experiment"],
    ]


def test_chunks_cover_every_trial_once(plan):
    for experiment in plan.measured:
        cascade = plan.members_of(experiment)[0]
        settings = [plan.signal_settings(experiment, cascade, chunk) for chunk in plan.chunks_of(experiment)]
        blocks = [block for entry in settings for block in range(*entry["blocks"])]
        assert blocks == list(range(-(-settings[-1]["trials"] // BLOCK)))


def changed(plan, experiment, **options):
    """The same plan with other options of an experiment."""
    content = plan.study.model_dump(mode="json", exclude_none=True)
    for key, value in options.items():
        part = content["experiments"][experiment][key]
        content["experiments"][experiment][key] = {**part, **value} if key == "signals" else value
    return Plan(Study.model_validate(content))


def drawn_by(plan, experiment):
    """What the draws of every chunk depend on, by its file."""
    settings = {}
    for cascade in plan.members_of(experiment):
        if plan.sweep_of(experiment, cascade):
            settings[cascade] = plan.sweep_settings(experiment, cascade)
        for chunk in plan.chunks_of(experiment):
            settings[cascade, chunk] = plan.signal_settings(experiment, cascade, chunk)
    return settings


def test_more_trials_keep_the_chunks_that_exist(plan):
    for experiment in plan.measured:
        before, signals = drawn_by(plan, experiment), plan.signals_of(experiment)
        after = drawn_by(changed(plan, experiment, signals={"trials": signals.trials + 4 * BLOCK}), experiment)
        for key, of in before.items():
            if isinstance(key, str) or of["trials"] == (of["blocks"][0] + signals.chunk_blocks) * BLOCK:
                assert after[key] == of
        blocks = [block for key, of in after.items() if isinstance(key, tuple) for block in range(*of["blocks"])]
        assert len(blocks) == len(plan.members_of(experiment)) * (signals.blocks + 4)


def test_a_renamed_pursuit_or_another_order_draws_the_same(plan):
    for experiment in plan.measured:
        pursuits = plan.study.experiments[experiment].model_dump(mode="json", exclude_none=True)["pursuits"]
        renamed = {f"x-{name}"[:40]: of for name, of in reversed(pursuits.items())}
        assert drawn_by(changed(plan, experiment, pursuits=renamed), experiment) == drawn_by(plan, experiment)


def test_a_further_pursuit_draws_nothing_anew_where_the_cells_are_not_its_own(plan):
    for experiment in plan.measured:
        options = plan.study.experiments[experiment].model_dump(mode="json", exclude_none=True)
        further = {**options["pursuits"], "further": {"rule": "soft", "threshold": 0.123}}
        chosen = {"refine_for": list(options["pursuits"])} if options["signals"]["refine"] else {}
        after = changed(plan, experiment, pursuits=further, signals=chosen)
        assert drawn_by(after, experiment) == drawn_by(plan, experiment)
        if chosen:
            assert drawn_by(changed(plan, experiment, pursuits=further), experiment) != drawn_by(plan, experiment)


def test_files_and_their_cascades_go_together(plan):
    for experiment in plan.study.experiments:
        files, cascades = plan.files("metrics", experiment), plan.cascade_of_chunks(experiment)
        assert [Path(path).parent.name for path in files] == cascades
        assert len(set(files)) == len(files)
        assert bool(files) == bool(plan.files("summary", experiment)) == (experiment in plan.measured)
        assert set(plan.series_of(experiment)) == set(plan.members_of(experiment)) <= set(plan.members)


def test_settings_are_what_json_holds(plan):
    every = [plan.claim_settings(), plan.page_settings(), *map(plan.dictionary_settings, plan.members)]
    for experiment in plan.measured:
        cascade = plan.members_of(experiment)[0]
        every += [plan.metrics_settings(experiment), plan.figure_settings(experiment)]
        every += [plan.sweep_settings(experiment, cascade), plan.certificate_settings(experiment, cascade)]
    for settings in every:
        assert json.loads(json.dumps(settings)) == settings


def test_stages_read_the_settings_back(plan):
    for experiment in plan.measured:
        settings, signals = plan.metrics_settings(experiment), plan.signals_of(experiment)
        assert Draw.by_name(settings["variants"]) == signals.draws()
        runs = PursuitRun.by_name(settings["pursuits"])
        assert runs == {name: options.as_run() for name, options in plan.study.experiments[experiment].pursuits.items()}


def test_an_experiment_on_dictionaries_has_no_signals(plan):
    for experiment in set(plan.study.experiments) - set(plan.measured):
        assert plan.chunks_of(experiment) == []
        with pytest.raises(UserError, match="draws no signals"):
            plan.signals_of(experiment)


DRAW = {
    "support": "uniform",
    "magnitudes": "constant",
    "signs": "rademacher",
    "layer_signs": False,
    "constraint": "none",
    "floor": 0.0,
    "noise_db": None,
    "windows_of": None,
    "residual": False,
}


@pytest.mark.parametrize(
    ("changed", "noisy", "adversarial"),
    [
        ({}, False, False),
        ({"noise_db": 0.0}, True, False),
        ({"residual": True}, True, False),
        ({"signs": "worst-case"}, False, True),
        ({"signs": {"name": "worst-case", "threshold": "uniform"}}, False, True),
        ({"layer_signs": "worst-case"}, False, True),
        ({"layer_signs": True}, False, False),
    ],
)
def test_what_a_draw_is(changed, noisy, adversarial):
    draw = Draw(**{**DRAW, **changed})
    assert (draw.is_noisy, draw.is_adversarial) == (noisy, adversarial)


@pytest.mark.parametrize(
    ("changed", "on_lists", "bounded"),
    [
        ({}, True, True),
        ({"debias": True}, True, True),
        ({"rule": "top-k", "threshold": None}, True, True),
        ({"threshold": "oracle"}, False, False),
        ({"method": "layered-basis-pursuit"}, False, False),
    ],
)
def test_what_a_pursuit_is(changed, on_lists, bounded):
    options = {"method": "layered-thresholding", "parameters": {}, "rule": "hard", "threshold": 0.5}
    run = PursuitRun(**{**options, "debias": False, "variants": ["a"], **changed})
    assert (run.is_on_lists, run.is_bounded) == (on_lists, bounded)
    assert (run.runs_on("a"), run.runs_on("b")) == (True, False)
