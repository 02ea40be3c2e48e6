"""What the rules share: the validated study, the slice of it that each stage needs, and names of files."""

import json
import math
import os

ROOT = Path(str(workflow.current_basedir)).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dcsc.study import config as configuration
from dcsc import families
from dcsc.store import provenance
from dcsc.errors import UserError
from dcsc.study.estimate import model
from dcsc.study.estimate.sizes import StudySizes
from dcsc.stages import dictionaries as dictionaries_stage
from dcsc.study.options.experiments import PANELS
from dcsc.study.options.study import members

try:
    STUDY = configuration.validate(config)
except UserError as error:
    sys.exit(f"error in the configuration: {error}")

RESULTS = STUDY.results
SIZES = StudySizes(STUDY, look=False)
BLOCK = 32
MEMBERS = {
    name: member
    for cascade in STUDY.cascades
    for name, member in members(STUDY, cascade).items()
}
MEASURED = [name for name, options in STUDY.experiments.items() if options.signals]
PAGES = os.path.relpath(
    ROOT / "workflow/report"
)  # relative, as provenance must not name a machine
FORMATS = ("pdf", "svg", "png", "csv", "csv-metadata.json")


def check_writable(folder):
    """End with one sentence, before any job, when the results cannot be written."""
    existing = next(
        path for path in (Path(folder), *Path(folder).parents) if path.exists()
    )
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        sys.exit(
            f"error: the folder {existing} of the results cannot be written: make it writable, "
            "or name another one under results: in the configuration."
        )


def modules(script, *drawings, plugins=()):
    """The source that a script, figures that it loads by name and plugins use."""
    names = [script, "job.py"]
    paths = [
        *[ROOT / "scripts" / name for name in names],
        *[ROOT / "dcsc/figures" / f"{drawing}.py" for drawing in drawings],
    ]
    return provenance.modules(*paths, *plugins)


def library(script, *drawings, plugins=()):
    """Digest of that source."""
    return provenance.library(modules(script, *drawings, plugins=plugins))["sha256"]


def results_folder(wildcards):
    """Folder that the paths in provenance records are relative to."""
    return RESULTS


def results_stand_in(wildcards):
    """A folder as deep, for what studies share: paths relative to it are the same, but not its name."""
    return str(Path(*("results" for _ in Path(RESULTS).parts)))


def members_of(experiment):
    """Names of the cascades of an experiment, series spelt out."""
    names = STUDY.experiments[experiment].cascades
    return [member for name in names for member in members(STUDY, name)]


def cells_of(experiment, member):
    """Numbers of active atoms of an experiment on one cascade."""
    deepest = dictionaries_stage.deepest_layer(MEMBERS[member].model_dump(mode="json"))
    return STUDY.experiments[experiment].signals.cells(deepest)


def refined(experiment):
    """Whether a coarse sweep chooses further cells."""
    return STUDY.experiments[experiment].signals.refine > 0


def sweep_file(wildcards):
    """The coarse sweep of a cascade, where there is one."""
    if not refined(wildcards.experiment):
        return []
    return [f"{RESULTS}/{wildcards.experiment}/sweeps/{wildcards.cascade}.nc"]


def sweep_files():
    """Coarse sweeps of all experiments that have them."""
    return [
        f"{RESULTS}/{experiment}/sweeps/{member}.nc"
        for experiment in MEASURED
        if refined(experiment)
        for member in members_of(experiment)
    ]


def chunks_of(experiment):
    """Names of the chunks of an experiment: the first block of each."""
    signals = STUDY.experiments[experiment].signals
    blocks = math.ceil(signals.trials / BLOCK)
    return [f"{first:06d}" for first in range(0, blocks, signals.chunk_blocks)]


def draw_settings(wildcards):
    """What the draws of a cascade depend on, whatever the chunk."""
    return {
        "seed": STUDY.seed,
        "experiment": wildcards.experiment,
        "cascade": MEMBERS[wildcards.cascade].cascade,
        "active": cells_of(wildcards.experiment, wildcards.cascade),
        "variants": variant_settings(wildcards.experiment),
    }


def sweep_settings(wildcards):
    """What the choice of further cells depends on."""
    draws = variants_of(wildcards.experiment)
    return {
        **draw_settings(wildcards),
        "refine": STUDY.experiments[wildcards.experiment].signals.refine,
        "pursuits": pursuit_settings(wildcards)["pursuits"],
        "adversarial": [label for label, draw in draws if draw.is_adversarial],
    }


def signal_settings(wildcards):
    """What the draws of a chunk depend on."""
    signals = STUDY.experiments[wildcards.experiment].signals
    first = int(wildcards.chunk)
    last = min(first + signals.chunk_blocks, math.ceil(signals.trials / BLOCK))
    return {
        **draw_settings(wildcards),
        "trials": signals.trials,
        "blocks": [first, last],
    }


def variants_of(experiment):
    """Names of the variants of an experiment, and how each is drawn."""
    signals = STUDY.experiments[experiment].signals
    return signals.draws().items() if signals else ()


def variant_settings(experiment):
    """The same as JSON holds it."""
    return {
        label: draw.model_dump(mode="json") for label, draw in variants_of(experiment)
    }


def pursuit_settings(wildcards):
    """What the pursuits of an experiment depend on."""
    experiment = STUDY.experiments[wildcards.experiment]
    return {
        "pursuits": {
            name: options.model_dump(mode="json")
            for name, options in experiment.pursuits.items()
        },
        "errors": experiment.errors,
    }


def metrics_settings(wildcards):
    """What the measures of an experiment depend on."""
    return {
        **pursuit_settings(wildcards),
        "bounds": STUDY.experiments[wildcards.experiment].bounds.model_dump(
            mode="json"
        ),
        "variants": variant_settings(wildcards.experiment),
    }


def certificate_settings(wildcards):
    """What is certified for the pursuits of an experiment depends on."""
    bounds = STUDY.experiments[wildcards.experiment].bounds
    return {
        "seed": STUDY.seed,
        "experiment": wildcards.experiment,
        "cascade": MEMBERS[wildcards.cascade].cascade,
        "variants": variant_settings(wildcards.experiment),
        "pursuits": pursuit_settings(wildcards)["pursuits"],
        "delta": bounds.delta,
        "draws": bounds.draws,
        "basis_pursuit": bounds.basis_pursuit,
        "confidence": STUDY.confidence,
    }


def certificate_files(experiment):
    """What is certified on every cascade of an experiment, where a figure shows it."""
    if not STUDY.experiments[experiment].is_certified:
        return []
    return [
        f"{RESULTS}/{experiment}/certificates/{member}.nc"
        for member in members_of(experiment)
    ]


def certificates_files(wildcards):
    """The same for the experiment of a figure."""
    return certificate_files(wildcards.experiment)


def summary_settings(wildcards):
    """What the counts of an experiment depend on."""
    return {"cascades": members_of(wildcards.experiment)}


def figure_settings(wildcards):
    """What a figure depends on beside its data."""
    return {
        "experiment": wildcards.experiment,
        "cascades": members_of(wildcards.experiment),
        "series": {
            member: name
            for name in STUDY.experiments[wildcards.experiment].cascades
            for member in members(STUDY, name)
        },
        "variants": variant_settings(wildcards.experiment),
        "pursuits": pursuit_settings(wildcards)["pursuits"],
        "delta": STUDY.experiments[wildcards.experiment].bounds.delta,
        "seed": STUDY.seed,
        "confidence": STUDY.confidence,
        "style": STUDY.style.model_dump(mode="json"),
    }


def chunk_files(experiment, stage):
    """Datasets of one stage of an experiment, cascade by cascade, chunk by chunk."""
    return [
        f"{RESULTS}/{experiment}/{stage}/{member}/{chunk}.nc"
        for member in members_of(experiment)
        for chunk in chunks_of(experiment)
    ]


def metrics_files(wildcards):
    """Metrics of all chunks of an experiment."""
    return chunk_files(wildcards.experiment, "metrics")


def signals_files(wildcards):
    """Signals of all chunks of an experiment."""
    return chunk_files(wildcards.experiment, "signals")


def pursuits_files(wildcards):
    """What the pursuits found in all chunks of an experiment."""
    return chunk_files(wildcards.experiment, "pursuits")


def summary_files(wildcards):
    """Counts of the cells of an experiment."""
    return [f"{RESULTS}/{wildcards.experiment}/metrics/summary.nc"]


def beside_files(wildcards):
    """Numbers of other experiments' figures that a figure shows too."""
    return [
        f"{RESULTS}/figures/{figure}.csv"
        for figure in STUDY.experiments[wildcards.experiment].beside
    ]


def digests(*paths):
    """Digests beside datasets: what a job reads of them, and hence must not lose before it runs."""
    return [f"{RESULTS}/{path}.sha256" for path in paths]


def drawing_digests(wildcards):
    """Digests of the datasets that the signals of a cascade are drawn from."""
    files = [f"{RESULTS}/dictionaries/{wildcards.cascade}.nc", *sweep_file(wildcards)]
    return [f"{path}.sha256" for path in files]


def summarized_digests(wildcards):
    """Digests of the datasets that the summary of an experiment is made from."""
    files = [*metrics_files(wildcards), *dictionary_files(wildcards)]
    return [f"{path}.sha256" for path in files]


def drawn_digests(panel):
    """Digests of the datasets that a panel is made from."""

    def files(wildcards):
        stages = [
            stage
            for stage in ("metrics", "signals", "pursuits")
            if stage in panel.needs or (stage == "metrics" and panel.is_measured)
        ]
        return [
            f"{path}.sha256"
            for path in [
                *dictionary_files(wildcards),
                *(summary_files(wildcards) if "metrics" in stages else []),
                *(
                    certificates_files(wildcards)
                    if "certificates" in panel.needs
                    else []
                ),
                *(
                    file
                    for stage in stages
                    for file in chunk_files(wildcards.experiment, stage)
                ),
            ]
        ]

    return files


def cascade_of_metrics(wildcards):
    """The cascade of the metrics, and of the signals and pursuits; none for an experiment on dictionaries alone."""
    if wildcards.experiment not in MEASURED:
        return []
    chunks = chunks_of(wildcards.experiment)
    return [member for member in members_of(wildcards.experiment) for _ in chunks]


def dictionary_files(wildcards):
    """Dictionaries of an experiment, cascade by cascade."""
    return expand(
        f"{RESULTS}/dictionaries/{{cascade}}.nc",
        cascade=members_of(wildcards.experiment),
    )


def brought_files(wildcards):
    """Files of the user's that a cascade reads."""
    layers = MEMBERS[wildcards.cascade].layers
    return [
        path
        for layer in layers
        for path in families.files(layer.family, **layer.parameters)
    ]


def kept(stage, path):
    """Mark a bulky output for deletion unless the configuration keeps it."""
    return path if getattr(STUDY.keep, stage) else temp(path)


def memory(rule):
    """Memory of a job by its size, half as much again as predicted, and more when it is tried again."""

    def megabytes(wildcards, attempt):
        cost = model.predicted(rule, SIZES.features(rule, dict(wildcards.items())))
        return attempt * (300 + math.ceil(1.5 * cost.memory_mb))

    return megabytes


def minutes(rule):
    """Time of a job by its size, generous, and more when it is tried again."""

    def runtime(wildcards, attempt):
        cost = model.predicted(rule, SIZES.features(rule, dict(wildcards.items())))
        return attempt * (5 + math.ceil(cost.seconds / 12))

    return runtime


def stage_files(stage):
    """Datasets of one stage, of every experiment."""
    return [file for experiment in MEASURED for file in chunk_files(experiment, stage)]


def claim_files():
    """What the run says of its claims, where there are any."""
    names = ("claims.json", "claims.md", "reproduction.md") if STUDY.claims else ()
    return [
        f"{RESULTS}/{name}{suffix}"
        for name in names
        for suffix in ("", "-metadata.json")
    ]


def claim_tables():
    """Tables that the claims are put to."""
    figures = dict.fromkeys(
        figure for claim in STUDY.claims.values() for figure in claim.figures
    )
    return {figure: f"{RESULTS}/figures/{figure}.csv" for figure in figures}


def shown_panels():
    """Panels of all figures of the study, by the figure's name."""
    return {
        f"{name}-{panel}": panel
        for name, options in STUDY.experiments.items()
        for panel in options.figures
    }


def page_settings(wildcards):
    """What the page about the run shows."""
    return {
        "results": RESULTS,
        "title": STUDY.title,
        "introduction": STUDY.introduction,
        "sentences": [sentence.model_dump(mode="json") for sentence in STUDY.sentences],
        "experiments": {
            name: {
                "title": options.title,
                "panels": [f"{name}-{panel}" for panel in options.figures],
            }
            for name, options in STUDY.experiments.items()
        },
        "captions": {
            f"{name}-{panel}": name
            for name, options in STUDY.experiments.items()
            for panel in options.figures
        },
    }


def experiment_title(wildcards):
    """Section of the report."""
    return STUDY.experiments[wildcards.experiment].title


def verdicts():
    """What the last run said of its claims, by figure and all together, for the captions of the report."""
    path = Path(RESULTS, "claims.json")
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    lines = {}
    for claim in found:
        verdict = "holds" if claim["holds"] else "DOES NOT HOLD"
        measured = "none" if claim["measured"] is None else f"{claim['measured']:.4g}"
        if claim["interval"]:
            measured += " [{:.4g}, {:.4g}]".format(*claim["interval"])
        text = (
            f"- **{claim['id']} {verdict}**: {claim['statement']} "
            f"Measured {measured} over {claim['sample']}; criterion: {claim['criterion']}."
        )
        for figure in ("", *(Path(table).stem for table in claim["evidence"])):
            lines.setdefault(figure, []).append(text)
    return {figure: "\n\n" + "\n".join(text) for figure, text in lines.items()}


def claim_settings(wildcards):
    """What the verdicts depend on beside the tables."""
    return {
        "claims": {
            name: claim.model_dump(mode="json") for name, claim in STUDY.claims.items()
        },
        "figures": list(claim_tables()),
        "confidence": STUDY.confidence,
    }


def figure_files(experiment):
    """Figures of an experiment, and the numbers that they show."""
    return [
        f"{RESULTS}/figures/{experiment}-{panel}.{suffix}"
        for panel in STUDY.experiments[experiment].figures
        for suffix in FORMATS
    ]
