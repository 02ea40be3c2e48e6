"""
One process that has imported what jobs import, and that jobs are forked from, since imports take most of a start.

The workflow starts it beside a run on this machine, and it ends with the run. Snakemake starts the script of every
job as ever. The script asks here before it imports what takes long (`hand_over`), and waits while a fork runs the same
script with the same folder, environment and open files; it ends as the fork ends. Where no such process answers (on a
cluster, in a conda environment of its own, within another workflow, with DCSC_FORK=0) the script goes on by itself.

A fork lives no longer than the script that waits for it, and the process forks for nobody but its own user.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

CHOICE = "DCSC_FORK"
"""Set to 0, every job is a process of its own."""
PLACE = "DCSC_FORK_FROM"
"""Tells scripts the process of the run, and the name under which the process that forks listens."""
PATIENCE = 120
"""Seconds after which a script that got no answer goes on by itself; a loaded machine imports within some."""
GRACE = 15
"""Seconds that a fork has to tidy up when its script is gone."""
BEGUN = b"begun"
KERNELS, FOLDER, CODE = "dcsc.kernels.machine_code", "dcsc.kernels.folder", ".nbc"
"""The modules that load machine code and that know where it is, and how its files end."""
PIPE_ROOM = 32_768
"""Bytes that a pipe takes before it is read."""
KEPT_ROOTS = {"dcsc", "matplotlib", "numba", "numpy", "pandas", "scipy", "seaborn", "statsmodels", "xarray"}
"""Of these packages jobs find loaded what an earlier one loaded in the middle of its work; of plug-ins nothing."""

_started: list[subprocess.Popen[bytes]] = []
"""Kept, since what is forked from ends when its standard input is closed."""


def start() -> None:
    """Start the process, where scripts of this run find it; it ends when this process does."""
    if sys.platform != "linux" or os.environ.get(CHOICE) == "0":
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # the system chooses a name that no file stands for
        listener.listen(128)
        number = listener.fileno()
        process = subprocess.Popen(
            [sys.executable, __file__, str(number)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=(number,), start_new_session=True,
        )  # fmt: skip
        _started.append(process)
        os.environ[PLACE] = f"{os.getpid()}:{listener.getsockname()[1:].decode()}"


def hand_over() -> None:
    """Have a fork run the script that this process was started with, and end as it does; return where none can."""
    owner, _, name = os.environ.pop(PLACE, "").partition(":")
    if not name or owner not in map(str, _ancestors()):  # a job of a cluster is told too
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(f"\0{name}")
        if not _is_ours(connection):
            return
        request = {
            "executable": sys.executable,
            "arguments": sys.argv,
            "folder": str(Path.cwd()),
            "environment": dict(os.environ),
        }
        text = json.dumps(request).encode()
        socket.send_fds(connection, [struct.pack("!Q", len(text))], [0, 1, 2])
        connection.sendall(text)
        if _received(connection, len(BEGUN)) == BEGUN:
            _end_as(_status(connection))


def _ancestors() -> Iterator[int]:
    """The processes that this one was started by, from its parent on."""
    process = os.getppid()
    while process > 1:
        yield process
        with contextlib.suppress(OSError, ValueError):
            process = int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            continue
        return


def _is_ours(connection: socket.socket) -> bool:
    """Whether who is at the other end is the same user."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", credentials)[1] == os.getuid()


def _received(connection: socket.socket, size: int) -> bytes:
    """Receive so many bytes, fewer where the other end closes."""
    parts = b""
    while len(parts) < size and (part := connection.recv(size - len(parts))):
        parts += part
    return parts


def _status(connection: socket.socket) -> int | None:
    """Wait for the fork to end; when interrupted, have it interrupted and wait on."""
    connection.settimeout(None)
    told = b""
    with contextlib.suppress(OSError):
        try:
            told = _received(connection, 4)
        except KeyboardInterrupt:
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(GRACE + 5)
            told = _received(connection, 4)
    return struct.unpack("!i", told)[0] if len(told) == 4 else None


def _end_as(status: int | None) -> NoReturn:
    if status is None:
        print("error: the process that this job was forked from has ended: run again.", file=sys.stderr, flush=True)
        os._exit(1)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with contextlib.suppress(OSError):  # none can be given to SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def main() -> None:
    """Fork for every script that asks, until the run is over."""
    number = int(sys.argv[1])
    sys.path[:] = map(os.path.abspath, sys.path)
    os.chdir("/")  # no folder is held on to
    os.environ.pop(PLACE, None)
    waking, woken = socket.socketpair()
    for end in (waking, woken):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken.fileno())
    forks: dict[int, tuple[socket.socket, int]] = {}
    with socket.socket(fileno=number) as listener, selectors.DefaultSelector() as selector:
        for source in (sys.stdin, listener, waking):
            selector.register(source, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if sys.stdin in ready:
                return
            if waking in ready:
                waking.recv(4096)
                _reap(forks)
            if listener in ready:
                with contextlib.suppress(Exception):  # who gets no answer goes on by itself
                    _answer(listener, forks)


def _answer(listener: socket.socket, forks: dict[int, tuple[socket.socket, int]]) -> None:
    """Take a script's request, and fork."""
    connection = listener.accept()[0]
    connection.settimeout(5)
    head, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    try:
        if not _is_ours(connection) or len(head) != 8:
            return
        request = json.loads(_received(connection, struct.unpack("!Q", head)[0]))
        if request["executable"] != sys.executable or len(descriptors) != 3:
            return
        _import_for(request["arguments"][0])
        _load_compiler()
        connection.settimeout(None)
        learning, learned = os.pipe()
        gc.collect()
        gc.freeze()  # a collection in a fork would copy all that is shared
        process = os.fork()
        if process == 0:
            os.close(learning)
            for parts in forks.values():
                parts[0].close()
                os.close(parts[1])
            listener.close()
            _be(request, descriptors, connection, learned)
        os.close(learned)
        forks[process] = (connection, learning)
        connection.sendall(BEGUN)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _import_for(script: str) -> None:
    """Import what a script imports; Snakemake puts some letters and a dot before its name."""
    with contextlib.suppress(Exception):  # what is wrong the script says by itself
        importlib.import_module(Path(script).stem.rpartition(".")[2])


@cache
def _is_first_run() -> bool:
    """Whether no kernel was compiled before this run."""
    return importlib.import_module(FOLDER).may_have_to_compile()


def _load_compiler() -> None:
    """On a first run load what each fork that compiles a kernel would load, a quarter of a second, once for all."""
    with contextlib.suppress(Exception):  # whoever compiles says what is wrong
        if _is_first_run() and KERNELS in sys.modules:
            sys.modules[KERNELS].load_compiler()


def _reap(forks: dict[int, tuple[socket.socket, int]]) -> None:
    """Tell scripts how their forks ended, and load what those loaded in the middle of their work."""
    for process in list(forks):
        ended, status = os.waitpid(process, os.WNOHANG)
        if not ended:
            continue
        connection, learning = forks.pop(process)
        with contextlib.suppress(OSError), connection:
            connection.sendall(struct.pack("!i", status))
        with open(learning, "rb") as file:
            _learn(file.read().decode().split("\n"))


def _learn(names: list[str]) -> None:
    """Import modules, and load machine code of kernels."""
    for name in filter(None, names):
        with contextlib.suppress(Exception):
            if name.endswith(CODE):
                sys.modules[KERNELS].load(name)
            else:
                importlib.import_module(name)


def _machine_code() -> list[str]:
    """The files of what this process loaded of kernels."""
    return sys.modules[KERNELS].loaded() if KERNELS in sys.modules else []


def _be(request: Mapping[str, Any], descriptors: list[int], connection: socket.socket, learned: int) -> NoReturn:
    """Be the script: what a process of its own would have and do."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell began in the background
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(request["environment"])
    code = 1
    try:
        os.chdir(request["folder"])
        sys.argv[:] = request["arguments"]
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        before = {*sys.modules, *_machine_code()}
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
        modules = [name for name in sys.modules if name.partition(".")[0] in KEPT_ROOTS]
        loaded = [f"{name}\n" for name in (*modules, *_machine_code()) if name not in before]
        os.write(learned, "".join(loaded).encode()[:PIPE_ROOM].rpartition(b"\n")[0])
    except SystemExit as end:
        code = _code_of(end)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        if code < 0:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)


def _code_of(end: SystemExit) -> int:
    """The status that an interpreter ends with."""
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def _end_with(connection: socket.socket) -> None:
    """Interrupt this process when the script that waits for it is gone, and end it if it does not end."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
