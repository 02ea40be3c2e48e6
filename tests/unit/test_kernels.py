"""The sparse path against the dense one, its determinism, and the folder of the compiled kernels."""

import fcntl
import gc
import importlib
import os
import pkgutil
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import CodeType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.dispatcher import Dispatcher

import dcsc
from benchmarks.warm import compile_kernels
from dcsc import ConvolutionalDictionary, RaggedCodes, kernels, sampling
from dcsc.convolution import dense_path, one_step, sparse_path
from dcsc.convolution.arguments import RULES
from dcsc.errors import UserError
from dcsc.kernels import compile as compile_module
from dcsc.kernels import folder as folder_module
from dcsc.kernels import linked
from dcsc.sampling import adversary
from tests.strategies import dense_matrix, dictionaries, sparse_codes

seeds = st.integers(0, 2**32 - 1)
batches = st.sampled_from([(), (3,), (2, 2)])
any_dictionary = dictionaries(dtypes=(np.float32, np.float64))


def problem(dictionary, seed, batch, density=0.25):
    codes = sparse_codes(np.random.default_rng(seed), dictionary.code_shape, density, batch).astype(dictionary.dtype)
    correlations = dictionary.correlate(dictionary.synthesize(codes))
    return codes, RaggedCodes.from_dense(codes, dictionary.code_shape), correlations


def tolerance(dictionary):
    return 1e-10 if dictionary.dtype == np.float64 else 1e-4


@given(any_dictionary, seeds, batches)
@settings(max_examples=150)
def test_correlations_agree_with_the_dense_path(dictionary, seed, batch):
    _, ragged, expected = problem(dictionary, seed, batch)
    found = sparse_path.correlate_codes(dictionary, ragged)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, atol=tolerance(dictionary))
    out = np.full_like(expected, np.nan)
    assert sparse_path.correlate_codes(dictionary, ragged, out) is out
    np.testing.assert_array_equal(out, found)


@given(any_dictionary, seeds, batches)
@settings(max_examples=100)
def test_signals_agree_with_the_dense_path(dictionary, seed, batch):
    codes, ragged, _ = problem(dictionary, seed, batch)
    expected = dictionary.synthesize(codes)
    found = sparse_path.synthesize_codes(dictionary, ragged)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, atol=tolerance(dictionary))


@given(dictionaries(), seeds)
@settings(max_examples=100)
def test_interference_agrees_with_the_dense_gram_matrix(dictionary, seed):
    codes, ragged, _ = problem(dictionary, seed, (2,))
    matrix = dense_matrix(dictionary)
    gram = matrix.T @ matrix
    np.fill_diagonal(gram, 0)
    flat = codes.reshape(2, -1)
    bound, variance = np.abs(flat) @ np.abs(gram), flat**2 @ gram**2
    np.testing.assert_allclose(
        sparse_path.interference_bound(dictionary, ragged), bound.reshape(codes.shape), atol=1e-10
    )
    np.testing.assert_allclose(
        sparse_path.interference_variance(dictionary, ragged), variance.reshape(codes.shape), atol=1e-10
    )


@given(any_dictionary, seeds, batches, st.booleans(), st.booleans())
@settings(max_examples=150)
def test_margins_are_the_extremes_of_the_dense_correlations(dictionary, seed, batch, noisy, one_sided):
    codes, ragged, correlations = problem(dictionary, seed, batch)
    addition = None
    if noisy:
        addition = np.random.default_rng(seed + 1).standard_normal(correlations.shape).astype(dictionary.dtype)
        correlations = correlations + addition
    found = sparse_path.margins(dictionary, ragged, addition, one_sided=one_sided)
    axes = tuple(range(len(batch), correlations.ndim))
    active, off = codes != 0, correlations if one_sided else np.abs(correlations)
    expected = [
        np.where(active, np.abs(correlations), np.inf).min(axis=axes),
        np.where(active, -np.inf if one_sided else 0, off).max(axis=axes),
        np.where(active, np.sign(codes) * correlations, np.inf).min(axis=axes),
    ]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == batch
        np.testing.assert_allclose(mine, theirs, atol=tolerance(dictionary))


def thresholded(correlations, rule, threshold, k):
    """One-step thresholding by its definition, atom by atom in the order of magnitude."""
    if rule == "hard":
        return np.where(np.abs(correlations) > threshold, correlations, 0)
    if rule == "soft":
        return np.sign(correlations) * np.maximum(np.abs(correlations) - threshold, 0)
    if rule == "relu":
        return np.maximum(correlations - threshold, 0)
    order = np.lexsort((np.arange(correlations.size), -np.abs(correlations.ravel())))
    kept = np.zeros(correlations.size)
    kept[order[:k]] = correlations.ravel()[order[:k]]
    return kept.reshape(correlations.shape)


@given(any_dictionary, seeds, st.sampled_from(sorted(RULES)), st.booleans())
@settings(max_examples=200)
def test_recovered_supports_agree_with_the_dense_path(dictionary, seed, rule, noisy):
    rng = np.random.default_rng(seed)
    _, ragged, correlations = problem(dictionary, seed, (3,))
    addition = rng.standard_normal(correlations.shape).astype(dictionary.dtype) / 4 if noisy else None
    if noisy:
        correlations = correlations + addition
    elif rule == "top-k":  # without noise, atoms that coincide tie up to rounding
        return
    threshold, k = rng.random(3) + 0.01, rng.integers(0, dictionary.n_atoms + 1, 3)
    parameters = {"k": k} if rule == "top-k" else {"threshold": threshold}
    found = sparse_path.recovered_supports(dictionary, ragged, rule=rule, addition=addition, **parameters)
    dense = found.to_dense()
    for trial in range(3):
        expected = thresholded(correlations[trial], rule, threshold[trial], k[trial])
        near = np.isclose(np.abs(correlations[trial]), threshold[trial], atol=tolerance(dictionary))
        if rule == "top-k":
            near[:] = False
        np.testing.assert_array_equal((dense[trial] != 0)[~near], (expected != 0)[~near])
        np.testing.assert_allclose(dense[trial], expected, atol=tolerance(dictionary))
    rebuilt = RaggedCodes.from_dense(dense, dictionary.code_shape)
    np.testing.assert_array_equal(found.atom, rebuilt.atom)
    np.testing.assert_array_equal(found.row_size, rebuilt.row_size)


@pytest.mark.parametrize("rank", [1, 2])
def test_ties_go_to_the_lower_atom(rank):
    filters = np.eye(4).reshape(4, 1, *((4,) if rank == 1 else (2, 2)))
    dictionary = ConvolutionalDictionary(filters, 4 if rank == 1 else 2, (400,) if rank == 1 else (20, 20))
    rng = np.random.default_rng(5)
    codes = rng.choice([-2.0, -1.0, 1.0, 2.0], size=(6, *dictionary.code_shape))
    ragged = RaggedCodes.from_dense(codes, dictionary.code_shape)
    for k in (0, 1, 3, 10, 150, dictionary.n_atoms):
        found = sparse_path.recovered_supports(dictionary, ragged, rule="top-k", k=k).to_dense()
        for trial in range(6):
            np.testing.assert_array_equal(found[trial], thresholded(codes[trial], "top-k", None, k))


def realistic():
    rng = np.random.default_rng(3)
    dictionary = ConvolutionalDictionary(rng.standard_normal((5, 2, 16)), 2, (128,), normalize=True)
    codes = sparse_codes(rng, dictionary.code_shape, 0.05, (100,))
    return dictionary, RaggedCodes.from_dense(codes, dictionary.code_shape)


def test_bits_depend_neither_on_threads_nor_on_the_batch():
    dictionary, ragged = realistic()
    starts = ragged.starts
    alone = RaggedCodes(
        ragged.row_size[40:41],
        ragged.atom[starts[40] : starts[41]],
        ragged.value[starts[40] : starts[41]],
        ragged.code_shape,
    )
    for function in (
        sparse_path.synthesize_codes,
        sparse_path.correlate_codes,
        sparse_path.interference_bound,
        sparse_path.interference_variance,
    ):
        one, many = function(dictionary, ragged, threads=1), function(dictionary, ragged, threads=5)
        np.testing.assert_array_equal(one, many)
        np.testing.assert_array_equal(one[40], function(dictionary, alone)[0])
    one, many = (sparse_path.margins(dictionary, ragged, threads=threads) for threads in (1, 5))
    np.testing.assert_array_equal(one, many)
    one, many = (
        sparse_path.recovered_supports(dictionary, ragged, rule="top-k", k=ragged.row_size, threads=threads)
        for threads in (1, 5)
    )
    for name in ("row_size", "atom", "value"):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name))


def test_a_threshold_of_zero_keeps_everything_however_little_room_was_made():
    dictionary, ragged = realistic()
    kept = sparse_path.recovered_supports(dictionary, ragged, threshold=0.0)
    correlations = sparse_path.correlate_codes(dictionary, ragged)
    np.testing.assert_array_equal(kept.to_dense(), correlations)


def test_empty_and_full_supports_have_margins():
    dictionary = ConvolutionalDictionary(np.eye(2)[:, None], 2, (8,))
    empty = RaggedCodes.from_dense(np.zeros(dictionary.code_shape), dictionary.code_shape)
    assert [float(m) for m in sparse_path.margins(dictionary, empty)] == [np.inf, 0.0, np.inf]
    full = RaggedCodes.from_dense(np.ones(dictionary.code_shape), dictionary.code_shape)
    assert [float(m) for m in sparse_path.margins(dictionary, full)] == [1.0, 0.0, 1.0]
    none = RaggedCodes.from_dense(np.zeros((0, *dictionary.code_shape)), dictionary.code_shape)
    assert sparse_path.correlate_codes(dictionary, none).shape == (0, *dictionary.code_shape)
    assert sparse_path.recovered_supports(dictionary, none, threshold=1.0).row_size.shape == (0,)


def test_integer_codes_are_taken_as_numbers():
    dictionary, ragged = realistic()
    signs = np.where(ragged.value > 0, 1, -1).astype(np.int8)
    np.testing.assert_array_equal(
        sparse_path.correlate_codes(dictionary, ragged.with_values(signs)),
        sparse_path.correlate_codes(dictionary, ragged.with_values(signs.astype(np.float64))),
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda d, c: sparse_path.recovered_supports(d, c, rule="hrad", threshold=1), "did you mean 'hard'"),
        (lambda d, c: sparse_path.recovered_supports(d, c), "needs threshold"),
        (lambda d, c: sparse_path.recovered_supports(d, c, rule="top-k"), "needs k"),
        (lambda d, c: sparse_path.recovered_supports(d, c, rule="top-k", k=1.5), "whole numbers from 0 to 320"),
        (lambda d, c: sparse_path.recovered_supports(d, c, threshold=-1.0), "give numbers from 0"),
        (lambda d, c: sparse_path.recovered_supports(d, c, threshold=np.ones(7)), "does not fit batch axes"),
        (lambda d, c: sparse_path.margins(d, c, np.zeros(3)), "does not fit the codes"),
        (lambda d, c: sparse_path.correlate_codes(d, c, np.zeros(3)), "not a writable contiguous array of shape"),
        (lambda d, c: sparse_path.correlate_codes(d, c.with_values(c.value * 1j)), "give real numbers"),
        (lambda d, c: sparse_path.correlate_codes(dcsc.ConvolutionalDictionary(np.eye(2)[:, None], 2, (8,)), c), "fit"),
    ],
)
def test_misuse_is_refused_with_a_sentence(call, words):
    with pytest.raises(UserError) as refusal:
        call(*realistic())
    assert words in str(refusal.value)


SCRIPT = """
import sys; sys.path.insert(0, sys.argv[1])
import numpy as np
from dcsc.kernels import folder, selection
print(folder.cache_folder())
print(selection.largest(np.array([1.0, -3.0]), False))
"""


def run_kernels(package_parent, cache=None, **more):
    environment = {k: v for k, v in os.environ.items() if k not in ("DCSC_CACHE_DIR", "NUMBA_CACHE_DIR")}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", **({} if cache is None else {"DCSC_CACHE_DIR": str(cache)}), **more}
    command = [sys.executable, "-c", SCRIPT, str(package_parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=package_parent)
    return done.stdout.split()


def test_an_edit_of_an_inner_kernel_changes_the_cache_folder_and_the_result(tmp_path):
    shutil.copytree(Path(dcsc.__file__).parent, tmp_path / "dcsc", ignore=shutil.ignore_patterns("__pycache__"))
    cache = tmp_path / "cache"
    before, value = run_kernels(tmp_path, cache)
    assert Path(before).parent == cache
    assert float(value) == 3.0
    assert list(Path(before).glob("*.nbc"))
    inner = tmp_path / "dcsc" / "kernels" / "scatter.py"
    inner.write_text(inner.read_text().replace("value * source[t2]", "2 * value * source[t2]"))
    after, _ = run_kernels(tmp_path, cache)
    assert after != before
    again, _ = run_kernels(tmp_path, cache)
    assert again == after


def test_copies_of_the_sources_share_their_machine_code(tmp_path):
    cache = tmp_path / "cache"
    for copy in ("one", "other"):
        package = tmp_path / copy / "dcsc"
        shutil.copytree(Path(dcsc.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
        os.utime(package / "kernels" / "selection.py")
        folder, value = run_kernels(tmp_path / copy, cache)
        assert float(value) == 3.0
        assert len(list(Path(folder).rglob("*largest-*.nbc"))) == 1


def test_an_unwritable_cache_folder_falls_back_to_a_temporary_one(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "tmp").mkdir()
    folder, value = run_kernels(Path(dcsc.__file__).parents[1], tmp_path / "file" / "x", TMPDIR=str(tmp_path / "tmp"))
    assert Path(folder).is_relative_to(tmp_path / "tmp")
    assert float(value) == 3.0


def test_a_process_waits_while_another_one_compiles(tmp_path):
    """A kernel that several jobs need is compiled by one of them."""
    root = Path(dcsc.__file__).parents[1]
    folder = Path(run_kernels(root, tmp_path)[0])
    assert len(list(folder.rglob("*largest-*.nbc"))) == 1
    script = SCRIPT.replace("np.array([1.0, -3.0])", "np.array([1.0, -3.0], np.float32)")
    command = [sys.executable, "-c", script, str(root)]
    with (folder / "lock").open("r+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        waiting = subprocess.Popen(command, env=os.environ | {"DCSC_CACHE_DIR": str(tmp_path)}, stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=5)
        assert len(list(folder.rglob("*largest-*.nbc"))) == 1
    assert waiting.communicate()[0].split()[-1] == b"3.0"
    assert len(list(folder.rglob("*largest-*.nbc"))) == 2


def test_warmed_kernels_are_not_compiled_again():
    compile_kernels()
    before = set(folder_module.cache_folder().rglob("*.nb*"))
    for dtype in (np.float64, np.float32):
        dictionary, ragged = realistic()
        dictionary, ragged = dictionary.astype(dtype), ragged.with_values(ragged.value.astype(dtype))
        noise = dictionary.correlate(np.ones((100, *dictionary.signal_shape), dtype))
        noise.flags.writeable = ragged.atom.flags.writeable = False
        sparse_path.correlate_codes(dictionary, ragged)
        signals = sparse_path.synthesize_codes(dictionary, ragged)
        signals.flags.writeable = False
        for codes in (ragged.to_dense(), noise):
            dictionary.synthesize(codes)
        dense_path.correlate(dictionary, signals, rule="soft", threshold=0.1)
        for path in one_step.PATHS:
            one_step.margins(dictionary, ragged, signals, path=path)
            one_step.recovered_supports(dictionary, ragged, rule="top-k", k=3, path=path)
        sparse_path.margins(dictionary, ragged, noise, one_sided=True)
        sparse_path.recovered_supports(dictionary, ragged, rule="top-k", k=3)
        sparse_path.recovered_supports(dictionary, ragged, rule="soft", threshold=np.ones(100), addition=noise)
        adversary.worst_signs_for_top_k(dictionary, ragged)
        adversary.worst_signs_for_threshold(dictionary, ragged, 0.1)
    plane = ConvolutionalDictionary(np.eye(4).reshape(4, 1, 2, 2), 2, (8, 8))
    rng = np.random.default_rng(0)
    for constraint in ("none", "no-overlap", "rejection"):
        sampling.deep_codes(rng, [plane], 3, support={"name": "bernoulli", "density": 0.1}, constraint=constraint)
    assert set(folder_module.cache_folder().rglob("*.nb*")) == before


def called_by(kernel):
    """The kernels that one names, and those that they name."""
    codes, found = [kernel.py_func.__code__], {kernel}
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        named = [kernel.py_func.__globals__.get(name) for name in code.co_names]
        found = found.union(*(called_by(other) for other in named if isinstance(other, Dispatcher)))
    return found


def test_every_kernel_is_compiled_by_warming():
    compile_kernels()
    kept = {path.name.split("-")[0] for path in folder_module.cache_folder().rglob("*.nbc")}
    modules = [importlib.import_module(f"dcsc.kernels.{info.name}") for info in pkgutil.iter_modules(kernels.__path__)]
    here = {kernel for module in modules for kernel in vars(module).values() if isinstance(kernel, Dispatcher)}
    whole = {kernel for kernel in here if f"{kernel.__module__.rpartition('.')[2]}.{kernel.__name__}" in kept}
    assert len(here) > 100
    assert len(whole) < len(here) / 2  # machine code is made of what Python calls
    assert here <= set().union(*map(called_by, whole))


@compile_module.compiled
def rooted(value):
    if value < 0:
        raise ValueError("negative")
    return np.sqrt(value)


@compile_module.compiled_by_itself
def doubled(values):
    for i in range(values.size):
        values[i] *= 2
    return values


@compile_module.compiled
def both(values):
    return rooted(doubled(values)[0])


def test_a_kernel_that_another_one_calls_gets_no_machine_code_until_python_calls_it():
    assert both(np.array([8.0])) == 4
    assert not rooted.overloads
    assert not doubled.overloads
    with pytest.raises(ValueError, match="negative"):
        both(np.array([-1.0]))
    with pytest.raises(ValueError, match="negative"):
        rooted(-1.0)
    assert rooted(9.0) == 3
    assert doubled(np.array([3.0]))[0] == 6
    assert both(np.array([8], np.int64)) == 4
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def leaf():
    return 0


leaf.__code__ = leaf.__code__.replace(co_stacksize=256)  # larger than what calls it, so that some depth meets a border


def faults_at(depth):
    """Count the pages that a thousand calls of a function take from the system, so deep within others."""
    if depth:
        return faults_at(depth - 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(1000):
        leaf()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_functions_with_room_take_no_memory_from_the_system_at_each_call():
    """Without it a call at every 16 KiB of variables takes some and gives it back, a page fault each (Python 3.11)."""
    assert max(linked._with_room(faults_at, depth) for depth in range(300)) < 500


def test_a_numba_that_lacks_what_is_used_of_it_compiles_all_kernels_whole(monkeypatch):
    monkeypatch.setattr(linked, "USED", ("no_such_method",))
    inner = compile_module.compiled(rooted.py_func)
    assert linked.compile_whole(lambda value: inner(value), False, lambda *_: None)(4.0) == 2
    assert inner.overloads


SORTS = {
    "sorting": "    values.sort()\n    return values",
    "ordering": "    return values[np.argsort(values)]",
}
LOAD = """
import importlib, sys
import numpy as np
import dcsc.kernels.compile
values = np.random.default_rng(0).integers(0, 1000, 60)
for name in sys.argv[1:]:
    found = importlib.import_module(name).apply(values.copy())
    assert (found == np.sort(values)).all(), name
"""


def test_what_two_processes_compiled_does_not_meet_in_a_third(tmp_path):
    """Numba names the inner functions of a sort and of an argsort alike in processes that number them alike."""
    for name, body in SORTS.items():
        text = f"import numba\nimport numpy as np\n\n\n@numba.njit(cache=True)\ndef apply(values):\n{body}\n"
        (tmp_path / f"{name}.py").write_text(text)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(dcsc.__file__).parents[1]), str(tmp_path)])}
    for names in (["sorting"], ["ordering"], ["ordering", "sorting"], ["sorting", "ordering"]):
        done = subprocess.run([sys.executable, "-c", LOAD, *names], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
