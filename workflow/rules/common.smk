"""What the rules share: the plan of the validated study, and what every rule says around its work."""

import inspect
import logging
import math
import os

ROOT = Path(str(workflow.current_basedir)).resolve().parents[1]
if not (ROOT / "dcsc" / "__init__.py").is_file():
    sys.exit(
        f"error: the library is not beside these rules, in {ROOT}: name a whole copy of the repository as snakefile:, "
        "such as path/to/dcsc/workflow/Snakefile."
    )
sys.path.insert(0, str(ROOT))
sys.path.append(str(ROOT / "scripts"))
# As a module of another workflow the configuration is a part of theirs, and their prefix may stand before every path.
IS_MODULE = Path(str(workflow.basedir)).resolve() not in (ROOT, ROOT / "workflow")

import forking
from dcsc.errors import UserError
from dcsc.store import provenance
from dcsc.study import claims as verdicts
from dcsc.study import config as configuration
from dcsc.study import surroundings
from dcsc.study.estimate import model
from dcsc.study.estimate.chains import Chains
from dcsc.study.estimate.sizes import StudySizes
from dcsc.figures.panels import panels
from dcsc.study.plan import FILES, RULES, wildcards_of
from dcsc.study.products import source_of
from dcsc.study.workflow_plan import PLANNING

try:
    surroundings.check_checkout(ROOT, Path.cwd())
    if not IS_MODULE:
        configuration.check_files(workflow.configfiles)
    STUDY = configuration.validate(config)
    surroundings.check_results(STUDY.results)
except UserError as error:
    sys.exit(f"error in the configuration: {error}")

RESULTS = STUDY.results
SIZES = StudySizes(STUDY, look=False)
PLAN = SIZES.plan
CHAINS = Chains(SIZES)
logging.getLogger("snakemake.logging").addFilter(
    surroundings.unwritable_in_one_sentence(RESULTS)
)
LONGEST_CHAIN = 1e9  # seconds: no chain is as long
PAGES = os.path.relpath(
    ROOT / "workflow/report"
)  # relative, as provenance must not name a machine


def lift_limit_of_starts():
    """
    On this machine, start jobs without Snakemake's limit of 100 a second, unless another one was asked for.

    Under a limit every job that ended makes Snakemake look for ready jobs once more in each second, for as long as the
    run takes. It reads the limit from its settings before a run begins: only its scheduler can be told afterwards.
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if (
        workflow.local_exec
        and limit is not None
        and (limit.max_jobs, limit.timespan) == (100, 1)
    ):
        workflow.scheduler.job_rate_limiter = None


def stop_unless(check, *arguments):
    """End with one sentence when something around the study is not as it should be."""
    try:
        check(*arguments)
    except UserError as error:
        sys.exit(f"error: {error}")


if workflow.is_main_process:
    stop_unless(surroundings.check_records)


def check_results():
    """End with one sentence, before any job, when files of another study or code would be used for this one."""
    if not workflow.is_main_process or PLANNING in os.environ or IS_MODULE:
        return
    from dcsc.study import fullness, verify

    for note in fullness.notes(STUDY):
        print(f"note: {note}", file=sys.stderr)
    files = workflow.configfiles or ["config/config.yaml"]
    stop_unless(verify.check_start, PLAN, config, os.path.relpath(files[-1]))


def of_job(function):
    """A function of names such as an experiment's, as one of the wildcards that it asks for."""
    names = inspect.signature(function).parameters
    return lambda wildcards: function(*(wildcards[name] for name in names))


def brought(paths):
    """Files of the user's, which lie where the configuration says, whatever prefix stands before results."""
    return [local(path) for path in paths]


def of_experiment(stage):
    """All datasets of one stage of the experiment."""
    return lambda wildcards: PLAN.files(stage, wildcards.experiment)


def of_all(stage):
    """All datasets of one stage, of every experiment."""
    return [file for name in STUDY.experiments for file in PLAN.files(stage, name)]


def read_by(panel, stage):
    """All datasets of one stage of the figure's experiment, if a panel reads them."""
    return of_experiment(stage) if PLAN.needed(stage, panel) else lambda wildcards: []


def dataset(stage):
    """The dataset that a rule makes or reads."""
    return f"{RESULTS}/{FILES[stage]}"


def made(stage):
    """The outputs of a rule, bulky ones deleted after use unless the configuration keeps them."""
    mark = (lambda path: path) if getattr(STUDY.keep, stage, True) else temp
    path = dataset(stage)
    return {stage: mark(path), "digest": mark(f"{path}.sha256")}


def digests(*stages):
    """Digests beside datasets: what a job reads of them, and hence must not lose before it runs."""
    return [f"{dataset(stage)}.sha256" for stage in stages]


def digests_beside(*files):
    """Digests beside the datasets that functions of the wildcards list."""
    return lambda wildcards: [
        f"{path}.sha256" for listed in files for path in listed(wildcards)
    ]


def logged(stage, suffix="log", places=None):
    """The log of a stage's rule, or its timings: in a folder of the rule, a file per job."""
    if places is None:
        places = wildcards_of(FILES.get(stage, ""))
    parts = [RULES.get(stage, stage), *(f"{{{place}}}" for place in places)]
    return Path("logs", RESULTS, *parts).as_posix() + f".{suffix}"


def timed(stage, places=None):
    """Where Snakemake writes what a job took."""
    return logged(stage, "tsv", places)


def resources_of(stage):
    """Memory and time of a job by its size, generous, and more when it is tried again."""
    name = RULES.get(stage, stage)

    def cost(wildcards):
        return model.predicted(name, SIZES.features(name, dict(wildcards.items())))

    return {
        "mem_mb": lambda wildcards, attempt: attempt
        * (300 + math.ceil(1.5 * cost(wildcards).memory_mb)),
        "runtime": lambda wildcards, attempt: attempt
        * (5 + math.ceil(cost(wildcards).seconds / 12)),
    }


def priority_of(stage):
    """
    The longest chain of jobs is started first, so that no core is left waiting for it in the end.

    Where signals or what is found is deleted after use, a chunk is finished first, so that little waits on disk.
    """
    is_deleted = not (STUDY.keep.signals and STUDY.keep.pursuits)
    finishing = {"pursuits": 1, "metrics": 2}.get(stage, 0) if is_deleted else 0

    def priority(wildcards):
        return LONGEST_CHAIN * finishing + CHAINS.seconds(
            stage, **dict(wildcards.items())
        )

    return priority


def script_of(stage):
    """The script of a stage's rule, which has its name."""
    return f"../../scripts/{RULES.get(stage, stage)}.py"


def params_of(stage, settings, drawing="", plugins=(), shared=False):
    """
    What a script is given: the settings of the job, and what its provenance records.

    That is the source that it, figures that it loads by name and plugins use; the digest of that source; and the
    folder that recorded paths are relative to. What studies share has a folder as deep, but not the study's name.
    """
    modules = source_of(RULES.get(stage, stage), drawing, tuple(plugins))

    def folder(output):
        real = Path(RESULTS)
        if IS_MODULE:  # what was put before it
            below = (
                FILES.get(stage, "figure/name" if drawing else "name").count("/") + 1
            )
            real = Path(*Path(output[0]).parts[:-below])
        return str(Path(*("results" for _ in real.parts)) if shared else real)

    return {
        "settings": of_job(settings),
        "library": provenance.library(modules)["sha256"],
        "modules": modules,
        # What depends on the output is no part of the key of a cache, hence only where it must.
        "results": (
            (lambda wildcards, output: folder(output))
            if IS_MODULE
            else (lambda wildcards: folder(()))
        ),
        # Only where the configuration is strict does another version of what computes make a job run again.
        "versions": provenance.versions(*plugins) if STUDY.strict_versions else {},
    }


def experiment_title(experiment):
    """Section of the report."""
    return STUDY.experiments[experiment].title
