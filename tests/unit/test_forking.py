"""Jobs are forked from one process, and neither they nor who waits for them can tell."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dcsc.kernels.folder import kernel_digest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

RUN = f"""
import os, subprocess, sys
sys.path.append({str(SCRIPTS)!r})
import forking
forking.start()
sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)
"""
"""Stands for the workflow: starts a script, and ends as it does."""

SCRIPT = f"""
import os, signal, sys, time
sys.path.append({str(SCRIPTS)!r})
import forking
forking.hand_over()
{{work}}
"""


@pytest.fixture
def begin(tmp_path):
    """Start a run of a script that does some work."""
    (tmp_path / "run.py").write_text(RUN)

    def started(work, *arguments, interrupt=signal.SIG_DFL, name="work", **variables):
        script = tmp_path / f"tmpabc.{name}.py"
        script.write_text(SCRIPT.replace("{work}", work))
        command = [sys.executable, "run.py", str(script), *arguments]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DCSC", "PYTHON"))}
        return subprocess.Popen(
            command, cwd=tmp_path, env=kept | variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, interrupt),
        )  # fmt: skip

    return started


PARENT = "print(open(f'/proc/{os.getppid()}/cmdline').read().split(chr(0))[1])"


def test_a_fork_does_the_work_with_arguments_folder_and_environment(begin, tmp_path):
    run = begin(f"{PARENT}; print(sys.argv[1:], os.getcwd(), os.environ['SAID'], __name__)", "one", SAID="this")
    output, errors = run.communicate(timeout=60)
    assert output.splitlines() == [str(SCRIPTS / "forking.py"), f"['one'] {tmp_path} this __main__"]
    assert (run.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("work", "code", "error"),
    [
        ("sys.exit(3)", 3, ""),
        ("sys.exit('error: no')", 1, "error: no\n"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("os._exit(7)", 7, ""),
    ],
)
def test_a_script_ends_as_its_fork(begin, work, code, error):
    run = begin(work)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == code
    assert error in errors
    assert bool(errors) == bool(error)


def test_a_script_is_killed_as_its_fork(begin):
    run = begin("os.kill(os.getpid(), signal.SIGKILL)")
    run.communicate(timeout=60)
    assert run.returncode == -signal.SIGKILL % 256  # what sys.exit makes of it


def test_a_script_goes_on_by_itself_where_that_is_chosen(begin):
    output, errors = begin(PARENT, DCSC_FORK="0").communicate(timeout=60)
    assert (output, errors) == ("run.py\n", "")


def test_a_script_of_another_run_goes_on_by_itself(begin):
    """A job on a node of a cluster is told the place too, and must not run where its run was started."""
    work = "os.environ['DCSC_FORK_FROM'] = '999999999:0'; forking.hand_over(); print('alone')"
    output, errors = begin(work).communicate(timeout=60)
    assert (output, errors) == ("alone\n", "")


def test_a_script_goes_on_by_itself_where_nobody_answers(begin):
    work = "os.environ['DCSC_FORK_FROM'] = f'{os.getppid()}:nobody'; forking.hand_over(); print('alone')"
    output, errors = begin(work).communicate(timeout=60)
    assert (output, errors) == ("alone\n", "")


def waited_for(what):
    limit = time.monotonic() + 30
    while not (found := what()):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return found


def is_gone(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def children_of(process):
    return [int(name) for name in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


TIDY = """
from pathlib import Path
try:
    Path("fork").write_text(f"{os.getpid()} {os.getppid()}")
    os.rename("fork", "running")
    time.sleep(60)
finally:
    Path("tidied").touch()
"""


IN_BACKGROUND = signal.SIG_IGN
"""A shell makes what it runs in the background ignore an interrupt."""


@pytest.mark.parametrize(
    ("number", "interrupt"),
    [
        (signal.SIGKILL, signal.SIG_DFL),
        (signal.SIGINT, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGTERM, IN_BACKGROUND),
    ],
)
def test_a_fork_tidies_up_and_ends_with_the_script_that_waits_for_it(begin, tmp_path, number, interrupt):
    run = begin(TIDY, interrupt=interrupt)
    waited_for((tmp_path / "running").exists)
    fork, parent = map(int, (tmp_path / "running").read_text().split())
    script = next(process for process in children_of(run.pid) if process != parent)
    os.kill(script, number)
    run.communicate(timeout=60)
    assert run.returncode == -number % 256
    waited_for(lambda: is_gone(fork))
    assert (tmp_path / "tidied").exists()
    waited_for(lambda: is_gone(parent))  # with the run


def test_forks_number_what_they_compile_apart(begin):
    """See `dcsc.kernels.machine_code`: numbers that meet mix machine code up."""
    work = """
sys.path.insert(0, os.path.dirname(sys.path[-1]))
import dcsc.kernels.machine_code
numbers = []
for _ in range(2):
    if not (process := os.fork()):
        print(next(dcsc.kernels.machine_code.FunctionIdentity._unique_ids), flush=True)
        os._exit(0)
    os.waitpid(process, 0)
"""
    output, errors = begin(work).communicate(timeout=60)
    assert errors == ""
    first, second = map(int, output.split())
    assert abs(first - second) > 1000


@pytest.mark.parametrize("is_first", [True, False])
def test_forks_of_a_first_run_find_the_compiler_loaded_and_others_do_without(begin, tmp_path, is_first):
    kernels = tmp_path / f"kernels-{kernel_digest()}"
    kernels.mkdir()
    if not is_first:
        (kernels / "some.nbc").touch()
    work = """
import dcsc.kernels.lists
from numba.core.registry import cpu_target
print(len(cpu_target.target_context._registries) > 2)
"""
    output, errors = begin(work, name="sample_signals", DCSC_CACHE_DIR=str(tmp_path)).communicate(timeout=60)
    assert (output, errors) == (f"{is_first}\n", "")
