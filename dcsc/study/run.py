"""Run the workflow and show a line per stage, not the twenty lines per job of Snakemake, which go to a file."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from dcsc.errors import UserError, printable
from dcsc.store import provenance
from dcsc.study import workflow_plan
from dcsc.study.progress import LONGEST_LIST, Progress, clock, in_words, stage_of

OUTPUTS = Path("logs/runs")
"""Where Snakemake's own output is kept, a file per run."""
TICK = 0.5
"""Seconds between two looks at what happens."""
QUIET_FOR = 30.0
"""Seconds without a line after which one is printed where lines cannot be rewritten; more in a long run."""
LAST_LINES = 30
"""Lines of Snakemake's output that are shown when nothing else tells why it ended."""


class StudyCosts:
    """
    The cost model, on the sizes of a study, corrected by what this run measures.

    Parameters
    ----------
    configuration : str or Path
        A YAML file.
    """

    def __init__(self, configuration: str | Path) -> None:
        from dcsc.kernels import folder
        from dcsc.study import config
        from dcsc.study.estimate.model import Correction
        from dcsc.study.estimate.sizes import StudySizes

        self.results = config.load(configuration).results
        self.kernels = folder.cache_folder()
        self._sizes = StudySizes(config.load(configuration))
        self._correction = Correction()
        self._mean: dict[str, float] = {}

    def add(self, rule: str, wildcards: Mapping[str, str], seconds: float) -> None:
        """
        Learn from a job that ended.

        Parameters
        ----------
        rule : str
            Name of its rule.
        wildcards : mapping of str to str
            Of the job.
        seconds : float, in seconds
            From its start to its end.
        """
        with contextlib.suppress(KeyError, UserError):
            self._correction.add(rule, self._sizes.features(rule, wildcards), {"seconds": seconds})

    def seconds(self, rule: str, wildcards: Mapping[str, str]) -> float:
        """
        Predict one job.

        Parameters
        ----------
        rule : str
            Name of its rule.
        wildcards : mapping of str to str
            Of the job.

        Returns
        -------
        float
            In seconds; 0 of what the study does not know.
        """
        try:
            return self._correction.cost(rule, self._sizes.features(rule, wildcards)).seconds
        except (KeyError, UserError):
            return 0.0

    def all_seconds(self, rule: str, count: int) -> float:
        """
        Predict so many jobs of a rule.

        Parameters
        ----------
        rule : str
            Its name.
        count : int
            How many.

        Returns
        -------
        float
            In seconds; as many times the mean over those whose output is missing, or over all.
        """
        from dcsc.study.estimate import model

        if rule not in self._mean:
            jobs = list(_jobs(self._sizes, rule))
            missing = [wildcards for wildcards, output in jobs if not output.is_file()] or [job for job, _ in jobs]
            each = [model.predicted(rule, self._sizes.features(rule, wildcards)).seconds for wildcards in missing]
            self._mean[rule] = sum(each) / len(each) if each else 0.0
        return count * self._mean[rule] * self._correction.factor(rule, "seconds")

    def compiles(self) -> bool:
        """
        Tell whether a job compiles kernels.

        Returns
        -------
        bool
            True when a kernel is claimed by a process that compiles it.
        """
        from dcsc.kernels import locks

        return self.kernels is not None and locks.is_claimed(self.kernels)


def _jobs(sizes: Any, rule: str) -> Iterator[tuple[dict[str, str], Path]]:
    """List the jobs of a rule, and an output of each."""
    from dcsc.study.plan import FILES, RULES, wildcards_of

    plan = sizes.plan
    stages = {name: stage for stage, name in RULES.items()}
    if rule not in stages:
        for experiment, options in plan.study.experiments.items():
            panels = [panel for panel in options.figures if rule == f"render_{panel.replace('-', '_')}"]
            for panel in panels:
                yield {"experiment": experiment}, Path(plan.figure_files(experiment, panel)[0])
        if stage_of(rule) == "claims":
            yield {}, Path(plan.results, "claims.json")
        return
    path = FILES[stages[rule]]
    names = wildcards_of(path)
    having = [name for name in plan.study.experiments if plan.files(stages[rule], name)]
    for experiment in having if "experiment" in names else [""]:
        members = plan.members_of(experiment) if experiment else plan.members
        for member in members if "cascade" in names else [""]:
            for chunk in plan.chunks_of(experiment) if "chunk" in names else [""]:
                values = {"experiment": experiment, "cascade": member, "chunk": chunk}
                wildcards = {name: values[name] for name in names}
                yield wildcards, Path(plan.results, path.format(**wildcards))


class Screen:
    """
    Lines that stay, and on a terminal one below them that is written anew.

    Parameters
    ----------
    stream : text file
        Where to.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = False

    def line(self, text: str) -> None:
        """
        Write a line that stays.

        Parameters
        ----------
        text : str
            The line.
        """
        self.clear()
        print(printable(text), file=self._stream, flush=True)

    def status(self, text: str) -> None:
        """
        Write the line that changes; nothing where lines cannot be rewritten.

        Parameters
        ----------
        text : str
            The line, cut to the width of the terminal.
        """
        if self.is_terminal:
            width = max(shutil.get_terminal_size().columns - 1, 20)
            cut = text if len(text) <= width else text[: width - 3] + "..."
            self._stream.write(f"\r{cut}\x1b[K")
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        """Take the line that changes away."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._shown = False


def command(
    configuration: str | Path,
    cores: str | None,
    targets: Sequence[str],
    further: Sequence[str] = (),
    descriptor: int = -1,
) -> list[str]:
    """
    Write the command line of Snakemake, in an order in which no option takes what belongs to another.

    Parameters
    ----------
    configuration : str or Path
        A YAML file.
    cores : str or None
        A number, or "all"; None leaves it to a profile that the further options name, and else is all.
    targets : sequence of str
        What to make; everything by default.
    further : sequence of str
        Other options of Snakemake.
    descriptor : int
        Where the logger plugin writes; none if negative.

    Returns
    -------
    list of str
        The command.
    """
    shown = ["--logger", "dcsc", "--logger-dcsc-descriptor", str(descriptor)] if descriptor >= 0 else []
    has_profile = any(option.startswith(("--profile", "--workflow-profile")) for option in further)
    given = [] if has_profile and cores is None else ["--cores", cores or "all"]
    options = ["--snakefile", str(workflow_plan.snakefile()), *given, *shown, *further]
    return [sys.executable, "-m", "snakemake", *options, "--configfile", str(configuration), "--", *targets]


def run(
    configuration: str | Path,
    targets: Sequence[str] = (),
    *,
    cores: str | None = None,
    further: Sequence[str] = (),
    verbose: bool = False,
) -> int:
    """
    Run the workflow, and show how far it is.

    Parameters
    ----------
    configuration : str or Path
        A YAML file.
    targets : sequence of str
        What to make; everything by default.
    cores : str, optional
        A number, or "all", which is the default unless the further options name a profile.
    further : sequence of str
        Other options of Snakemake.
    verbose : bool
        Become Snakemake, which prints what it always does.

    Returns
    -------
    int
        The exit status of Snakemake.

    Raises
    ------
    UserError
        When there is no workflow here, or no folder of logs can be written.
    """
    if verbose:
        line = command(configuration, cores, targets, further)
        os.execv(line[0], line)  # nothing stands between the user and Snakemake
    output = _output_file()
    receiving, sending = os.pipe()
    line = command(configuration, cores, targets, further, sending)
    shown = _Display(Screen(sys.stdout), configuration, cores)
    with output.open("wb") as file, open(receiving, "rb", buffering=0) as events, _passed_on(shown) as started:
        child = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, pass_fds=(sending,),
            env=_environment(), process_group=0,  # an interrupt reaches it once, through us
        )  # fmt: skip
        os.close(sending)
        started(child)
        try:
            shown.follow(events, child)
        except Exception as error:  # what only shows a run must not end it
            shown.give_up(error, output)
            while events.read(1 << 16):
                pass
        code = child.wait()
    return shown.end(code if code >= 0 else 128 - code, output)


def _output_file() -> Path:
    path = OUTPUTS / time.strftime("%Y-%m-%dT%H-%M-%S.txt")
    try:
        OUTPUTS.mkdir(parents=True, exist_ok=True)
        while path.exists():
            path = path.with_name(f"{path.stem}-again.txt")
        path.touch()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): make room, or make it writable.") from None
    return path


def _environment() -> dict[str, str]:
    """Where Snakemake looks for the logger plugin; what the user has there stays."""
    folder = str(provenance.PACKAGE.parent / "workflow" / "logger")
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))}


@contextlib.contextmanager
def _passed_on(shown: _Display) -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Pass signals on to what is started within: Snakemake decides what they mean, and tidies up."""
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def pass_on(number: int, frame: FrameType | None = None) -> None:
        shown.interrupted = True
        if not children:
            early.append(number)
        elif number == signal.SIGTERM:
            children[0].send_signal(number)  # it lets the jobs that run come to their end
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(children[0].pid, number)

    def started(child: subprocess.Popen[bytes]) -> None:
        children.append(child)
        for number in early:
            pass_on(number)

    signals = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    before = {number: signal.signal(number, pass_on) for number in signals}
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Display:
    """Shows a run while it goes on, and how it ended."""

    def __init__(self, screen: Screen, configuration: str | Path, cores: str | None) -> None:
        self.interrupted = False
        self._screen, self._configuration = screen, configuration
        self._begun = self._told = self._written = time.monotonic()
        self._progress = Progress(int(cores) if cores and cores.isdigit() else os.cpu_count() or 1)
        self._costs: StudyCosts | None = None
        self._told_of_kernels = self._told_of_plan = False
        self._loading = threading.Thread(target=self._load, daemon=True)
        self._loading.start()
        screen.line(f"{printable(str(configuration))}: Snakemake plans what is to be done ...")

    def _load(self) -> None:
        """Build the cost model while Snakemake plans; what is wrong with the study Snakemake will say."""
        with contextlib.suppress(Exception):
            self._costs = StudyCosts(self._configuration)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._begun

    def follow(self, events: IO[bytes], child: subprocess.Popen[bytes]) -> None:
        """Show events until there are no more, or the run has ended."""
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(events, selectors.EVENT_READ)
            while True:
                if selector.select(TICK):
                    read = events.read(1 << 16)
                    if not read:
                        return
                    *lines, rest = (rest + read).split(b"\n")
                    for line in lines:
                        with contextlib.suppress(ValueError):
                            self._take(json.loads(line))
                elif child.poll() is not None:
                    return
                self._tick()

    def _take(self, event: Mapping[str, Any]) -> None:
        news = self._progress.take(event, self._seconds, self._costs)
        if news.stage:
            self._say(self._of_stage(news.stage))
        if news.failure and not self.interrupted:  # what an interrupt ends is no failure
            for line in news.failure.lines():
                self._say(line)

    def _say(self, line: str) -> None:
        self._screen.line(line)
        self._told = time.monotonic()

    def _tick(self) -> None:
        """Say what changed since the last look, or how far it is when nothing was said for long."""
        progress, costs = self._progress, self._costs
        if progress.wanted and costs and not self._told_of_plan:
            self._told_of_plan = True
            jobs, cores = sum(progress.wanted.values()), progress.cores
            time_left = in_words(progress.seconds_left(self._seconds, costs))
            where = f"on {_counted(cores, 'core')}, about {time_left}"
            if progress.on_cluster:
                where = f"on a cluster, at most {cores} at a time, about {time_left} beside waiting and starts"
            self._say(f"{_counted(jobs, 'job')} {where}")
        compiles = bool(costs and progress.running and costs.compiles())
        if compiles and not self._told_of_kernels:
            from dcsc.kernels.folder import COMPILING_TAKES

            self._told_of_kernels = True
            self._say(f"compiling kernels for this machine, once: {COMPILING_TAKES} beside the first jobs ...")
        if time.monotonic() - self._written > TICK / 2:
            self._screen.status(self._status(compiles))
            self._written = time.monotonic()
        pause = max(QUIET_FOR, self._seconds / 15)
        if not self._screen.is_terminal and time.monotonic() - self._told > pause:
            self._say(self._status(compiles))

    def _of_stage(self, stage: str) -> str:
        _, wanted = self._progress.of_stage(stage)
        return f"{stage:<12}  {_counted(wanted, 'job'):>10}  done after {clock(self._seconds)}{self._left()}"

    def _left(self) -> str:
        """Share that is done, and time left."""
        progress = self._progress
        done, wanted = sum(progress.done.values()), sum(progress.wanted.values())
        if not wanted or done == wanted:
            return ""
        left = f", about {in_words(progress.seconds_left(self._seconds, self._costs))} left" if self._costs else ""
        return f"; {done} of {wanted} jobs ({100 * done // wanted} %){left}"

    def _status(self, compiles: bool) -> str:
        progress = self._progress
        if self.interrupted:
            return f"stopping: waiting for {progress.waiting_for()} to end"
        if not progress.wanted:
            return f"{clock(self._seconds)}; waiting for Snakemake's plan"
        kernels = " (compiling kernels)" if compiles else ""
        return f"{clock(self._seconds)}{self._left()}; waiting for {progress.waiting_for()}{kernels}"

    def give_up(self, error: Exception, output: Path) -> None:
        """Say that the run goes on, of which no more is shown."""
        told = f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # there is nobody any more to say it to
            self._screen.clear()
            self._say(f"How far the run is can't be shown ({told}); it goes on, see {output}. Please report this.")

    def end(self, code: int, output: Path) -> int:
        """Say how the run ended, and where Snakemake's own words are."""
        progress = self._progress
        self._loading.join(timeout=10)  # an interpreter that ends in the middle of an import can crash
        self._screen.clear()
        if code == 0 and progress.nothing_to_do:
            self._screen.line("Nothing to be done: everything is there and up to date.")
        elif code == 0 and not progress.wanted:  # such as --unlock and -n, which run no job
            for line in _why(output, ()):
                self._screen.line(line)
        elif code == 0:
            self._screen.line(f"done: {_counted(sum(progress.done.values()), 'job')} in {clock(self._seconds)}.")
        elif progress.failures and not self.interrupted:
            more = len(progress.failures) - LONGEST_LIST
            also = f", {more} of them told in the file below alone" if more > 0 else ""
            self._screen.line(
                f"{_counted(len(progress.failures), 'job')} failed{also}. What is finished is kept: run again to go on."
            )
        elif not self.interrupted:
            for line in _why(output, progress.messages):
                self._screen.line(line)
        if self.interrupted and code:
            self._screen.line("Stopped. What is finished is kept: run again to go on.")
        self._screen.line(f"Snakemake's own output: {output}")
        return code


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _why(output: Path, messages: Sequence[str]) -> list[str]:
    """What was said before the end: our sentence, or else Snakemake's error, or else its last lines."""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    ours = list(dict.fromkeys(line for line in lines if line.startswith("error")))
    theirs = [line for message in messages for line in message.splitlines()] or lines[-LAST_LINES:]
    return ours or [f"    {line}" for line in theirs if line.strip()]
