"""The files of compiled kernels: damaged, full, missing, or written by several processes at once."""

import os
import pickle
import select
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import dcsc
from dcsc.kernels import folder as folder_module
from dcsc.kernels import locks, machine_code
from dcsc.kernels.checked_files import DamagedFileError, read_checked, write_checked
from dcsc.study import surroundings
from dcsc.study.run import StudyCosts

ROOT = Path(dcsc.__file__).parents[1]


def doubled(values):
    return values * 2


def run(folder):
    """What the kernel gives, from a new dispatcher that takes its code from the folder."""
    kernel = numba.njit(doubled)
    machine_code.keep_code(kernel, folder, "sources")
    assert kernel(3.5) == 7.0
    return kernel


@pytest.fixture(name="folder")
def _folder(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(folder_module, "_said", set())
    run(tmp_path / "kernels")
    assert capfd.readouterr().err == ""
    return tmp_path / "kernels"


def files_of(folder):
    return [path for path in folder.iterdir() if path.name != "lock"]


def only_file(folder):
    (file,) = files_of(folder)
    return file


def is_loaded(kernel):
    return sum(kernel.stats.cache_hits.values()) == 1


def flipped(place):
    def damage(written):
        altered = bytearray(written)
        altered[place if place < 0 else place % len(written)] ^= 4
        return bytes(altered)

    return damage


DAMAGES = {
    "empty": lambda written: b"",
    "cut in its digest": lambda written: written[:60],
    "cut in its code": lambda written: written[: len(written) // 2],
    "longer": lambda written: written + b"\0",
    "something else": lambda written: b"not machine code at all" * 40,
    "zeros": lambda written: bytes(len(written)),
    "another bit in its head": flipped(3),
    "another bit in its digest": flipped(50),
    "another bit in its pickle": flipped(90),
    "another bit in its code": flipped(3000),
    "another bit at its end": flipped(-1),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_neither_read_nor_kept(folder, capfd, monkeypatch, damage):
    file = only_file(folder)
    written = file.read_bytes()
    file.write_bytes(damage(written))
    monkeypatch.setattr(machine_code.CompileResult, "_rebuild", None)  # would run what was read
    assert not is_loaded(run(folder))
    line = capfd.readouterr().err
    assert line.startswith("dcsc: ")
    assert line.count("\n") == 1
    assert f"{file} was damaged" in line
    monkeypatch.undo()
    assert is_loaded(run(folder))
    assert capfd.readouterr().err == ""
    assert only_file(folder) == file


def test_every_bit_counts(tmp_path):
    file = tmp_path / "file"
    write_checked(file, b"some content")
    written = file.read_bytes()
    for place in range(8 * len(written)):
        altered = bytearray(written)
        altered[place // 8] ^= 1 << place % 8
        file.write_bytes(altered)
        with pytest.raises(DamagedFileError):
            read_checked(file)
    file.write_bytes(written)
    assert read_checked(file) == b"some content"
    assert read_checked(tmp_path / "other") is None


def test_a_folder_in_the_place_of_a_file_is_one_line(folder, capfd):
    file = only_file(folder)
    file.unlink()
    file.mkdir()
    assert not is_loaded(run(folder))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2  # that it is damaged, and that it cannot be made anew
    assert "used from memory" in lines[1]
    assert only_file(folder) == file


def test_a_deleted_folder_is_made_again(folder, capfd):
    shutil.rmtree(folder)
    assert not is_loaded(run(folder))
    assert is_loaded(run(folder))
    assert capfd.readouterr().err == ""


def test_code_of_another_signature_version_or_source_is_not_taken(folder, monkeypatch, capfd):
    file = only_file(folder)
    key, reduced = pickle.loads(read_checked(file))
    write_checked(file, machine_code.dumps(((*key[:-1], "other sources"), reduced)))
    assert not is_loaded(run(folder))
    assert is_loaded(run(folder))
    monkeypatch.setattr(machine_code, "VERSIONS", ("another",))
    assert not is_loaded(run(folder))
    assert capfd.readouterr().err == ""
    assert len(files_of(folder)) == 2


def test_a_numba_that_lacks_what_is_used_of_it_compiles_in_memory(folder, monkeypatch, capfd):
    monkeypatch.delattr(machine_code.CompileResult, "_reduce")
    monkeypatch.delattr(machine_code.CompileResult, "_rebuild")
    file = only_file(folder)
    assert not is_loaded(run(folder))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert numba.__version__ in lines[1]
    assert only_file(folder) == file


def test_what_is_used_of_the_inside_of_numba_was_seen_with_this_version():
    """Where this fails numba is newer: run this file and test_kernels.py with it, then write its number there."""
    assert numba.__version__.startswith(machine_code.SEEN_WITH + ".")


LIBRARY = """
import numpy as np
from dcsc.kernels import selection
print(selection.largest(np.array([1.0, -3.0]), False), sum(selection.largest.stats.cache_hits.values()))
"""


def run_library(cache=None, prefix=(), without=(), **more):
    """Run one kernel of the library in a process of its own: its number, whether it was loaded, and what was said."""
    environment = {k: v for k, v in os.environ.items() if k not in {"DCSC_CACHE_DIR", *without}}
    environment |= {"PYTHONPATH": str(ROOT), **({} if cache is None else {"DCSC_CACHE_DIR": str(cache)}), **more}
    command = [*prefix, sys.executable, "-c", LIBRARY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=more.get("TMPDIR", ROOT))
    assert done.returncode == 0, done.stderr
    number, loaded = done.stdout.split()
    assert float(number) == 3.0
    return loaded == "1", done.stderr.splitlines()


def test_a_cache_of_damaged_files_heals_in_one_process_with_one_line(tmp_path):
    assert run_library(tmp_path) == (False, [])
    files = list(tmp_path.rglob("*.nbc"))
    for file, damage in zip(files, DAMAGES.values(), strict=False):
        file.write_bytes(damage(file.read_bytes()))
    loaded, (line,) = run_library(tmp_path)
    assert not loaded
    assert "damaged" in line
    assert run_library(tmp_path) == (True, [])


def test_several_processes_that_fill_the_cache_at_once_leave_whole_files(tmp_path):
    command = [sys.executable, "-c", LIBRARY]
    environment = os.environ | {"DCSC_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    begun = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(3)]
    assert [process.communicate()[0].split()[0] for process in begun] == [b"3.0"] * 3
    written = list(tmp_path.rglob("*.nbc"))
    assert written
    assert all(read_checked(file) for file in written)
    assert not list(tmp_path.rglob("*.tmp"))
    assert run_library(tmp_path) == (True, [])


CLAIM = """
import sys
from pathlib import Path
from dcsc.kernels import locks
for name in sys.argv[2:]:
    locks.claim(Path(sys.argv[1]), name)
    print(name, flush=True)
sys.stdin.read()
"""


def claiming(folder, *names):
    command = [sys.executable, "-c", CLAIM, str(folder), *names]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_claim_is_waited_for_and_another_one_is_not(tmp_path):
    with claiming(tmp_path, "one") as first:
        assert first.stdout.readline() == "one\n"
        with claiming(tmp_path, "two", "one") as second:
            assert second.stdout.readline() == "two\n"
            assert not select.select([second.stdout], [], [], 0.5)[0]
            first.kill()  # the system releases what a killed process held
            assert second.stdout.readline() == "one\n"
            second.stdin.close()


def test_a_run_sees_that_another_process_compiles(tmp_path):
    costs = StudyCosts(ROOT / "config/smoke.yaml")
    costs.kernels = tmp_path / "none yet"
    assert not costs.compiles()
    costs.kernels = tmp_path
    assert not costs.compiles()
    with claiming(tmp_path, "one") as other:
        assert other.stdout.readline() == "one\n"
        assert costs.compiles()
        other.stdin.close()
        other.wait()
    assert not costs.compiles()
    locks.claim(tmp_path, "mine")
    assert costs.compiles()
    locks.release(tmp_path, "mine")
    assert not costs.compiles()


def test_what_fails_to_compile_is_not_claimed_any_more(tmp_path):
    kernel = numba.njit(lambda values: values.no_such_attribute)
    machine_code.keep_code(kernel, tmp_path, "sources")
    with pytest.raises(numba.TypingError):
        kernel(3.5)
    assert not locks._claims


def test_compiling_is_told_of_before_a_run_and_not_after_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folder_module, "cache_folder", lambda: tmp_path)
    surroundings.tell_of_compiling()
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert str(tmp_path) in line
    (tmp_path / "drawing.uniform_subsets-1.x.nbc").write_text("")
    surroundings.tell_of_compiling()
    assert capsys.readouterr().err == line
    (tmp_path / "kernel.nbc").write_text("")
    surroundings.tell_of_compiling()
    assert capsys.readouterr().err == ""


PLAN = """
import yaml
from dcsc.kernels import folder
from dcsc.study import config, fullness
fullness.notes(config.validate(yaml.safe_load(open("config/smoke.yaml"))))
print(len(list(folder.cache_folder().glob("*.nbc"))) > 0, folder.may_have_to_compile())
print(folder.has_machine_code("deep.synthesize_supports"), folder.has_machine_code("deep.synthesize"))
"""


def test_what_a_plan_compiles_itself_does_not_hide_that_its_jobs_will(tmp_path):
    environment = os.environ | {"DCSC_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PLAN]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=True)
    assert done.stdout.split() == ["True", "True", "True", "False"]


def test_to_look_at_the_folder_loads_no_compiler():
    program = "import sys; from dcsc.kernels import folder; folder.may_have_to_compile(); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "False\n"


def can_unshare():
    tool = shutil.which("unshare")
    return bool(tool) and subprocess.run([tool, "-m", "true"], capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not can_unshare(), reason="unshare -m is not permitted here")


@needs_mounts
def test_a_full_disk_is_said_once_and_kernels_are_used_from_memory(tmp_path):
    mount = f'mount -t tmpfs -o size=8k tmpfs {tmp_path} && exec "$@"'
    loaded, (line,) = run_library(tmp_path, ("unshare", "-m", "bash", "-c", mount, "bash"))
    assert not loaded
    assert "No space left on device" in line
    assert "DCSC_CACHE_DIR" in line


@needs_mounts
def test_a_home_that_cannot_be_written_is_said_once(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    mount = f'mount --bind {home} {home} && mount -o remount,ro,bind {home} && exec "$@"'
    places = {"HOME": str(home), "TMPDIR": str(tmp_path)}
    prefix = ("unshare", "-m", "bash", "-c", mount, "bash")
    loaded, (line,) = run_library(None, prefix, without=("XDG_CACHE_HOME",), **places)
    assert not loaded
    assert str(home) in line
    assert run_library(None, prefix, without=("XDG_CACHE_HOME",), **places) == (True, [line])


def test_without_any_folder_kernels_are_compiled_in_memory_with_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    nowhere = "import tempfile; tempfile.gettempdir = lambda: (_ for _ in ()).throw(FileNotFoundError())\n"
    program = nowhere + LIBRARY
    environment = os.environ | {"DCSC_CACHE_DIR": str(tmp_path / "file" / "below"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["3.0", "0"]
    (line,) = done.stderr.splitlines()
    assert "compiles its own" in line


def test_a_user_without_a_home_gets_no_folder_named_tilde(tmp_path, monkeypatch):
    monkeypatch.delenv("DCSC_CACHE_DIR", raising=False)
    monkeypatch.setattr(folder_module.platformdirs, "user_cache_dir", lambda name: f"~/.cache/{name}")
    monkeypatch.setattr(folder_module.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(folder_module, "_said", set())
    monkeypatch.chdir(tmp_path)
    found = folder_module.cache_folder.__wrapped__()
    assert found.parent.parent == tmp_path
    assert not Path("~").exists()


def test_code_is_loaded_before_it_is_needed(folder):
    name = only_file(folder).name
    run(folder)
    assert name in machine_code.loaded()
    machine_code._loaded.clear()
    kernel = numba.njit(doubled)
    machine_code.keep_code(kernel, folder, "sources")
    machine_code.load(name)
    assert machine_code.loaded() == [name]
    shutil.rmtree(folder)  # it needs no file any more
    assert kernel(3.5) == 7.0
    assert is_loaded(kernel)
    assert not folder.exists()


def test_code_that_is_not_sound_or_of_other_sources_is_not_loaded_before_it_is_needed(folder):
    name = only_file(folder).name
    for sources, damage in (("others", None), ("sources", b"nothing")):
        kernel = numba.njit(doubled)
        machine_code.keep_code(kernel, folder, sources)
        if damage:
            only_file(folder).write_bytes(damage)
        machine_code._loaded.clear()
        machine_code.load(name)
        machine_code.load("unknown.1.nbc")
        assert (machine_code.loaded(), list(kernel.overloads)) == ([], [])
