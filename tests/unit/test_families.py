"""The families of filters: valid, reproducible, of the coherence that theory gives them, and clear when refused."""

import doctest
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg

import dcsc
from dcsc import families
from dcsc.errors import UserError
from dcsc.families.low_coherence import _Search
from dcsc.families.optimised import EXPONENTS, coherence_norm, minimise_coherence

CASES = {
    "aligned": [((1,), {}), ((2, 3), {"size": 4, "columns": (0, 1, 2), "target": 3, "n_channels": 8})],
    "daubechies": [
        ((64,), {"order": 3, "levels": 2}),
        ((64,), {"order": 3, "levels": 2, "stride": 2, "n_channels": 2}),
        ((32, 32), {}),
    ],
    "dct": [
        ((32,), {"taps": 8}),
        ((32,), {"taps": 8, "n_filters": 16, "stride": 2}),
        ((24, 32), {"taps": [6, 8], "n_channels": 2}),
        ((16, 16), {"taps": 4, "n_filters": 9}),
    ],
    "gabor": [
        ((64,), {"n_filters": 8, "taps": 15}),
        ((32, 32), {"n_filters": 24, "taps": 9, "stride": 2, "n_orientations": 3, "n_channels": 2}),
    ],
    "gaussian": [
        ((64,), {"n_filters": 4, "taps": 16}),
        ((64,), {"n_filters": 4, "taps": 16, "stride": 8, "n_channels": 3}),
        ((16, 24), {"n_filters": 2, "taps": (4, 6), "stride": [2, 3]}),
    ],
    "hadamard-dirac": [
        ((64,), {"taps": 8}),
        ((64,), {"taps": 16}),
        ((12, 16), {"taps": (4, 8)}),
        ((32,), {"taps": 4, "n_channels": 4}),
        ((4,), {"taps": 1}),
    ],
    "integer": [((120,), {}), ((120,), {"search": True}), ((192,), {"search": True, "taps": 24, "squared_norm": 200})],
    "lapped": [
        ((40,), {"n_filters": 8}),
        ((6,), {"n_filters": 1}),
        ((40,), {"n_filters": 12, "n_channels": 3}),
        ((12, 16), {"n_filters": 16}),
        ((9, 12), {"n_filters": 18, "n_channels": 2}),
        ((12, 6, 8), {"n_filters": 8}),
    ],
    "low-coherence-sparse": [
        ((256,), {"n_filters": 2, "taps": 64, "n_nonzeros": 6}),
        ((256,), {"n_filters": 8, "taps": 64, "n_nonzeros": 6, "stride": 4}),
        ((64,), {"n_filters": 4, "taps": 12, "n_nonzeros": 7, "stride": 2, "n_channels": 3}),
        ((32, 48), {"n_filters": 3, "taps": (8, 12), "n_nonzeros": 6, "stride": (1, 2)}),
        ((16,), {"n_filters": 2, "taps": 4, "n_nonzeros": 1}),
    ],
    "meyer": [((120,), {}), ((120,), {"taps": 61, "stride": 8})],
    "optimised": [
        ((64,), {"n_filters": 2, "taps": 16, "iterations": 200}),
        ((64,), {"n_filters": 6, "taps": 10, "stride": 4, "n_channels": 1, "iterations": 200}),
        ((12, 16), {"n_filters": 3, "taps": (3, 5), "stride": (1, 2), "n_channels": 2, "iterations": 200}),
    ],
    "perturbed": [
        ((64,), {"base": "lapped", "perturbation": 0.2, "n_filters": 8}),
        ((12, 16), {"base": "gaussian", "perturbation": 1, "n_filters": 2, "taps": 3}),
    ],
    "rademacher": [
        ((64,), {"n_filters": 4, "taps": 16}),
        ((24, 24), {"n_filters": 4, "taps": 5, "stride": 3, "n_channels": 2}),
    ],
    "sparse-random": [
        ((64,), {"n_filters": 4, "taps": 16, "n_nonzeros": 5}),
        ((24, 24), {"n_filters": 4, "taps": 5, "n_nonzeros": 7, "n_channels": 2, "values": "gaussian"}),
    ],
}
ALL_CASES = [
    pytest.param(name, *case, id=f"{name}-{i}") for name, cases in CASES.items() for i, case in enumerate(cases)
]
RANDOM = {"gaussian", "low-coherence-sparse", "optimised", "perturbed", "rademacher", "sparse-random"}


def identity_gram(dictionary):
    expected = np.zeros(dictionary.gram().shape)
    zero_lag = tuple(overlap - 1 for overlap in dictionary.overlap)
    expected[(slice(None), slice(None), *zero_lag)] = np.eye(dictionary.n_filters)
    return expected


def test_every_family_but_the_file_one_is_tested_here():
    assert set(families.names()) == {*CASES, "file"}


@pytest.mark.parametrize(("name", "grid", "parameters"), ALL_CASES)
def test_every_family_makes_a_valid_dictionary_reproducibly(name, grid, parameters):
    dictionary = families.create(name, grid, seed=5, **parameters)
    assert dictionary.grid == grid
    assert dictionary.filters.dtype == np.float64
    norms = np.linalg.norm(dictionary.filters.reshape(dictionary.n_filters, -1), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-12)
    assert dcsc.welch_bound(dictionary) <= dcsc.mutual_coherence(dictionary) + 1e-12
    for key, size in (("n_filters", dictionary.n_filters), ("n_channels", dictionary.n_channels)):
        assert parameters.get(key, size) == size
    again = families.create(name, grid, np.random.SeedSequence(5), **parameters)
    np.testing.assert_array_equal(again.filters, dictionary.filters)
    other = families.create(name, grid, np.random.default_rng(6), **parameters)
    random = name in RANDOM or parameters.get("search", False)
    assert np.array_equal(other.filters, dictionary.filters) != random
    if dictionary.integer_filters is not None:
        exact = dictionary.integer_filters * dictionary.integer_scale
        np.testing.assert_allclose(exact, dictionary.filters, atol=1e-15)


def test_no_seed_draws_afresh():
    one, two = (families.create("gaussian", 32, n_filters=1, taps=4) for _ in range(2))
    assert not np.array_equal(one.filters, two.filters)


# What theory says of each family


@pytest.mark.parametrize(("grid", "parameters"), CASES["lapped"])
def test_lapped_filters_are_an_orthonormal_basis(grid, parameters):
    dictionary = families.create("lapped", grid, **parameters)
    np.testing.assert_allclose(dictionary.gram(), identity_gram(dictionary), atol=1e-12)
    assert dictionary.n_atoms == np.prod(dictionary.signal_shape)


@pytest.mark.parametrize(
    ("name", "grid", "parameters"),
    [
        ("dct", (24,), {"taps": 8}),
        ("dct", (12, 24), {"taps": (3, 4), "n_channels": 3}),
        ("daubechies", (64,), {"order": 1, "levels": 3}),
        ("daubechies", (128,), {"order": 4, "levels": 3, "n_channels": 2}),
        ("daubechies", (24, 24), {"order": 3}),
    ],
)
def test_full_transforms_are_orthonormal_bases(name, grid, parameters):
    dictionary = families.create(name, grid, **parameters)
    np.testing.assert_allclose(dictionary.gram(), identity_gram(dictionary), atol=1e-9)
    assert dictionary.n_atoms == np.prod(dictionary.signal_shape)


def test_undecimated_wavelets_are_a_tight_frame():
    dictionary = families.create("daubechies", (64,), order=3, levels=2, stride=1)
    signal = np.random.default_rng(0).standard_normal(dictionary.signal_shape)
    np.testing.assert_allclose(dictionary.synthesize(dictionary.correlate(signal)), 4 * signal, atol=1e-9)


def test_overcomplete_cosines_sample_frequencies_more_finely():
    filters = families.create("dct", (32,), taps=8, n_filters=16).filters[:, 0]
    expected = np.cos(np.pi * 5 / 16 * (np.arange(8) + 0.5))
    np.testing.assert_allclose(filters[5], expected / np.linalg.norm(expected), atol=1e-12)


def test_gabor_filters_oscillate_at_their_frequency_along_their_orientation():
    dictionary = families.create("gabor", (96, 96), n_filters=4 * 2 * 3, taps=31, n_orientations=4)
    spectra = np.abs(np.fft.fft2(dictionary.filters[:, 0], (128, 128)))
    for i, spectrum in enumerate(spectra):
        frequency, angle = (i // 8 + 0.5) / 6, np.pi * (i // 2 % 4) / 4
        peak = np.array(np.unravel_index(spectrum.argmax(), spectrum.shape)) / 128
        peak = (peak + 0.5) % 1 - 0.5
        expected = frequency * np.array([np.cos(angle), np.sin(angle)])
        assert min(np.abs(peak - expected).max(), np.abs(peak + expected).max()) < 0.02


@pytest.mark.parametrize(("grid", "parameters"), CASES["hadamard-dirac"])
def test_hadamard_dirac_has_coherence_one_over_the_root_of_its_block(grid, parameters):
    dictionary = families.create("hadamard-dirac", grid, **parameters)
    n = dictionary.n_filters // 2
    blocks = dictionary.filters.reshape(2 * n, n)
    assert dcsc.mutual_coherence(dictionary) == pytest.approx(1 / math.sqrt(n), rel=1e-12)
    np.testing.assert_allclose(blocks[:n], np.eye(n), atol=1e-15)
    np.testing.assert_allclose(blocks[n:], scipy.linalg.hadamard(n) / math.sqrt(n), atol=1e-15)
    assert (dictionary.integer_filters is not None) == (math.isqrt(n) ** 2 == n)


@pytest.mark.parametrize(("grid", "parameters"), CASES["low-coherence-sparse"])
@pytest.mark.parametrize("seed", range(3))
def test_low_coherence_sparse_filters_meet_once_at_most(grid, parameters, seed):
    dictionary = families.create("low-coherence-sparse", grid, seed, **parameters)
    k = parameters["n_nonzeros"]
    assert dcsc.mutual_coherence(dictionary) == pytest.approx(1 / k, rel=1e-12)
    assert (np.count_nonzero(dictionary.filters.reshape(dictionary.n_filters, -1), axis=1) == k).all()
    supports = dcsc.ConvolutionalDictionary(np.abs(dictionary.filters), dictionary.stride, grid, normalize=True)
    assert round(dcsc.mutual_coherence(supports) * k) == 1


def test_keys_of_entries_tell_differences_channels_and_phases_apart():
    entries = np.array([(c, t) for c in range(2) for t in range(6)])
    search, keys = _Search(np.random.default_rng(0), (2, 6), (3,), 1), {}
    for a in entries:
        for b in entries:
            key = int(search.keys(a, b))
            keys.setdefault(key, set()).add((a[0], b[0], a[1] % 3, a[1] - b[1]))
    assert all(len(meanings) == 1 for meanings in keys.values())


def test_meyer_has_the_coherence_of_the_replicated_study():
    dictionary = families.create("meyer", (600,))
    assert dcsc.mutual_coherence(dictionary) == pytest.approx(2.435e-4, abs=1e-6)
    assert dictionary.taps == (29,)
    assert dictionary.stride == (6,)


@pytest.mark.parametrize(("grid", "parameters"), CASES["integer"])
def test_integer_filters_have_coherence_one_over_their_squared_norm(grid, parameters):
    dictionary = families.create("integer", grid, seed=3, **parameters)
    squared_norm = parameters.get("squared_norm", 231)
    assert dcsc.mutual_coherence(dictionary) == pytest.approx(1 / squared_norm, rel=1e-12)
    assert (dictionary.integer_filters**2).sum() == squared_norm
    assert np.count_nonzero(dictionary.integer_filters) == 7
    assert np.abs(dictionary.integer_filters).max() <= 8


def test_integer_filter_is_by_default_the_known_example():
    values = families.create("integer", (600,)).integer_filters[0, 0]
    assert {int(i): int(values[i]) for i in np.flatnonzero(values)} == {2: 3, 3: -8, 6: -8, 7: 7, 14: 5, 17: 4, 18: 2}


def test_sparse_random_filters_have_their_number_of_nonzeros():
    dictionary = families.create("sparse-random", (64,), 0, n_filters=50, taps=16, n_nonzeros=5)
    assert (np.count_nonzero(dictionary.integer_filters[:, 0], axis=1) == 5).all()
    assert len({tuple(np.flatnonzero(row)) for row in dictionary.integer_filters[:, 0]}) > 40


@pytest.mark.parametrize("perturbation", [1e-6, 0.3, 2])
def test_perturbation_adds_the_same_direction_at_every_size(perturbation):
    base = families.create("lapped", (256,), n_filters=32)
    perturbed = families.create("perturbed", (256,), 1, base="lapped", perturbation=perturbation, n_filters=32)
    (rng,) = np.random.default_rng(1).spawn(1)
    direction = rng.standard_normal(base.filters.shape) / np.sqrt(base.filters[0].size)
    np.testing.assert_allclose(np.linalg.norm(direction, axis=(1, 2)), 1, rtol=0.4)
    expected = base.filters + perturbation * direction
    expected /= np.linalg.norm(expected, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(perturbed.filters, expected, atol=1e-14)
    assert perturbed.stride == base.stride == (32,)


def test_no_perturbation_gives_the_base_itself():
    sizes = {"n_filters": 2, "taps": 9}
    base = families.create("rademacher", (32,), 4, **sizes)
    same = families.create("perturbed", (32,), 4, base="rademacher", perturbation=0, **sizes)
    np.testing.assert_array_equal(same.integer_filters, base.integer_filters)


# The optimised family

SHAPES = [
    ((2, 1, 16), (1,)),
    ((3, 2, 7), (2,)),
    ((1, 1, 9), (2,)),
    ((4, 1, 5), (5,)),
    ((2, 2, 4, 5), (1, 2)),
    ((3, 1, 3, 3), (2, 2)),
]


@pytest.mark.parametrize(("shape", "stride"), SHAPES)
@pytest.mark.parametrize("exponent", [4, 32])
def test_coherence_norm_agrees_with_the_gram_kernel_and_finite_differences(shape, stride, exponent):
    rng = np.random.default_rng(1)
    filters = rng.standard_normal(shape)
    grid = [2 * (-(-taps // step)) * step for taps, step in zip(shape[2:], stride, strict=True)]
    dictionary = dcsc.ConvolutionalDictionary(filters, stride, grid, normalize=True)
    magnitudes = dcsc.coherence.off_diagonal(dictionary)
    value, gradient, coherence = coherence_norm(filters, stride, exponent)
    assert coherence == pytest.approx(dcsc.mutual_coherence(dictionary), rel=1e-12)
    assert value == pytest.approx(np.log((magnitudes**exponent).sum()) / exponent, abs=1e-12)
    numerical = np.empty(shape)
    for index in np.ndindex(*shape):
        moved = np.zeros(shape)
        moved[index] = 1e-6
        ahead, behind = (coherence_norm(filters + sign * moved, stride, exponent)[0] for sign in (1, -1))
        numerical[index] = (ahead - behind) / 2e-6
    np.testing.assert_allclose(gradient, numerical, atol=1e-7)


@pytest.mark.parametrize(("taps", "ratio"), [(256, 1.25), (1024, 1.25), (4096, 1.25)])
def test_optimised_filters_come_close_to_the_welch_bound(taps, ratio):
    dictionary = families.create("optimised", (4 * taps,), seed=0, n_filters=2, taps=taps)
    assert dcsc.mutual_coherence(dictionary) < ratio * dcsc.welch_bound(dictionary)


def test_optimised_filters_come_close_to_the_welch_bound_in_two_dimensions():
    dictionary = families.create("optimised", (48, 48), seed=0, n_filters=2, taps=12)
    assert dcsc.mutual_coherence(dictionary) < 1.5 * dcsc.welch_bound(dictionary)


@pytest.mark.parametrize(("shape", "stride"), SHAPES)
def test_optimisation_never_raises_the_coherence(shape, stride):
    filters = np.random.default_rng(2).standard_normal(shape)
    before, after = (
        coherence_norm(minimise_coherence(filters, stride, iterations=steps), stride, 4)[2] for steps in (0, 100)
    )
    assert after < before


def test_orthogonal_filters_are_left_alone():
    filters = np.eye(4)[:, None]
    np.testing.assert_array_equal(minimise_coherence(filters, 4), filters)
    assert minimise_coherence([[[2.0]]]) == [[[1.0]]]


def test_optimisation_reports_every_step_within_its_budget(capfd):
    seen = []
    filters = np.random.default_rng(0).standard_normal((2, 1, 8))
    best = minimise_coherence(
        filters, iterations=60, progress=True, callback=lambda step, exponent, mu: seen.append((step, exponent, mu))
    )
    assert [step for step, _, _ in seen] == list(range(1, len(seen) + 1))
    assert 0 < len(seen) <= 60
    exponents = [exponent for _, exponent, _ in seen]
    assert exponents == sorted(exponents)
    assert set(exponents) <= set(EXPONENTS)
    assert coherence_norm(best, (1,), 4)[2] == pytest.approx(min(mu for _, _, mu in seen), rel=1e-12)
    assert "minimising coherence" in capfd.readouterr().err
    minimise_coherence(filters, iterations=5)
    assert capfd.readouterr().err == ""


def test_optimised_bits_do_not_depend_on_the_number_of_threads():
    program = (
        "import dcsc.families, hashlib;"
        "d = dcsc.families.create('optimised', 32768, 0, n_filters=2, taps=8192, iterations=30);"
        "print(hashlib.sha256(d.filters.tobytes()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", f"import os; os.environ['OPENBLAS_NUM_THREADS'] = '{threads}'; {program}"],
            check=True,
            capture_output=True,
        ).stdout
        for threads in (1, 2)
    }
    assert len(digests) == 1


# Filters that the user brings


def test_filters_are_read_from_a_file(tmp_path):
    filters = families.create("gaussian", (32,), 0, n_filters=3, taps=5, stride=2).filters
    np.save(tmp_path / "filters.npy", filters)
    np.savez(tmp_path / "filters.npz", filters=filters, stride=2)
    np.savez(tmp_path / "loud.npz", filters=3 * filters, stride=[2])
    plain = families.create("file", (32,), path=tmp_path / "filters.npy")
    assert plain.stride == (1,)
    np.testing.assert_array_equal(plain.filters, filters)
    stored = families.create("file", (32,), path=str(tmp_path / "filters.npz"))
    assert stored.stride == (2,)
    loud = families.create("file", (32,), path=tmp_path / "loud.npz", normalize=True, stride=2)
    np.testing.assert_allclose(loud.filters, filters, atol=1e-15)


def test_integer_filters_of_a_file_stay_exact(tmp_path):
    np.save(tmp_path / "filters.npy", [[[1, -2, 2]], [[2, 1, 2]]])
    dictionary = families.create("file", (8,), path=tmp_path / "filters.npy", normalize=True)
    np.testing.assert_array_equal(dictionary.integer_filters[0, 0], [1, -2, 2])
    np.testing.assert_array_equal(dictionary.filters[0, 0], np.array([1, -2, 2]) / 3)
    np.save(tmp_path / "diracs.npy", np.eye(2, dtype=int)[:, None])
    assert families.create("file", (8,), path=tmp_path / "diracs.npy").integer_filters is not None


def broken_files(folder):
    unit = np.ones((1, 1, 4)) / 2
    np.save(folder / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    np.save(folder / "text.npy", np.array([[["a"]]]))
    np.save(folder / "complex.npy", 1j * unit)
    np.save(folder / "flat.npy", unit[0])
    np.save(folder / "loud.npy", 2 * unit)
    np.save(folder / "holes.npy", np.full((1, 1, 4), np.nan))
    np.save(folder / "empty-array.npy", np.zeros((0, 1, 4)))
    np.save(folder / "long.npy", np.ones((1, 1, 64)) / 8)
    np.savez(folder / "other.npz", weights=unit)
    np.savez(folder / "stride.npz", filters=unit, stride=0.5)
    np.savez(folder / "both.npz", filters=unit, stride=2)
    np.savez(folder / "damaged.npz", filters=unit)
    whole = (folder / "damaged.npz").read_bytes()
    (folder / "damaged.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.npy").write_bytes(b"")
    (folder / "short.npy").write_bytes((folder / "flat.npy").read_bytes()[:-8])
    (folder / "filters.csv").write_text("1,2\n")
    (folder / "folder.npy").mkdir()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npy", "does not exist"),
        ("objects.npy", "Python objects"),
        ("text.npy", "real numbers"),
        ("complex.npy", "real numbers"),
        ("flat.npy", "one tap axis"),
        ("loud.npy", "norm 2"),
        ("holes.npy", "finite"),
        ("empty-array.npy", "empty"),
        ("long.npy", "too short"),
        ("other.npz", "no array 'filters'"),
        ("stride.npz", "positive integer"),
        ("both.npz", "states stride 2"),
        ("damaged.npz", "can't be read"),
        ("empty.npy", "can't be read"),
        ("short.npy", "can't be read"),
        ("filters.csv", "give a .npy, .npz or .safetensors file"),
        ("folder.npy", "is no file"),
    ],
)
def test_a_file_that_can_not_be_used_is_named_in_one_sentence(tmp_path, name, message):
    broken_files(tmp_path)
    with pytest.raises(UserError, match=message) as refusal:
        families.create("file", (32,), path=tmp_path / name, stride=1)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


# The registry


@pytest.fixture
def own_family():
    @families.register("own")
    def own(grid, rng, *, taps: int, rate: float = 0.5):
        return dcsc.ConvolutionalDictionary(rate ** np.arange(taps)[None, None], 1, grid, normalize=True)

    yield own
    del families.registry.FAMILIES.entries["own"]


def test_a_user_adds_a_family(own_family):
    assert "own" in families.names()
    assert families.create("own", 16, taps=3).taps == (3,)
    allowed = families.parameters("own")
    assert list(allowed) == ["taps", "rate"]
    assert allowed["taps"] == families.Parameter("taps", int, None, True)
    assert allowed["rate"] == families.Parameter("rate", float, 0.5, False)
    perturbed = families.create("perturbed", 16, 0, base="own", perturbation=0.1, taps=3, rate=0.25)
    assert perturbed.taps == (3,)


def test_the_documented_example_works():
    try:
        assert doctest.testmod(families).failed == 0
        assert doctest.testmod(families).attempted > 4
    finally:
        families.registry.FAMILIES.entries.pop("exponential", None)


def test_registering_refuses_taken_names_and_foreign_signatures(own_family):
    families.register("own")(own_family)
    with pytest.raises(UserError, match="taken by"):
        families.register("lapped")(own_family)
    with pytest.raises(UserError, match="signature"):
        families.register("wrong")(lambda grid, taps: None)
    with pytest.raises(UserError, match="'base'"):
        families.register("wrong")(lambda grid, rng, **rest: None)
    with pytest.raises(UserError, match="'seed'"):
        families.register("wrong")(lambda grid, rng, *, seed: None)
    assert "wrong" not in families.names()


def test_annotations_that_can_not_be_read_are_refused():
    def family(grid, rng, *, taps: "Missing"):  # noqa: F821
        raise AssertionError("a refused family is never called")

    families.register("unreadable")(family)
    try:
        with pytest.raises(UserError, match="'Missing' is not defined"):
            families.check("unreadable", taps=3)
    finally:
        del families.registry.FAMILIES.entries["unreadable"]


def test_a_family_that_returns_something_else_is_refused():
    families.register("nothing")(lambda grid, rng: None)
    try:
        with pytest.raises(UserError, match="returned a NoneType"):
            families.create("nothing", 8)
    finally:
        del families.registry.FAMILIES.entries["nothing"]


def test_importing_the_families_is_cheap():
    program = "import sys, dcsc.families; print([m for m in ('scipy', 'pywt', 'tqdm', 'numba') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_checking_builds_nothing_and_reads_yaml_lists():
    sizes = {"n_filters": 10**15, "taps": [10**9]}
    assert families.check("gaussian", **sizes) == {"n_filters": 10**15, "taps": (10**9,)}
    assert families.check("perturbed", base="gaussian", perturbation=1, n_filters=2, taps=3)["n_filters"] == 2
    # YAML reads 1e-3 as a text.
    assert families.check("perturbed", base="lapped", perturbation="1e-3", n_filters=2)["perturbation"] == 1e-3


GAUSSIAN = {"n_filters": 2, "taps": 4}
REFUSALS = [
    ("gausian", 16, {}, "did you mean 'gaussian'"),
    (3, 16, {}, "unknown"),
    ("gaussian", 16, {"n_filters": 2}, "needs the parameter 'taps': give an integer or an integer for each axis"),
    ("gaussian", 16, {**GAUSSIAN, "strid": 2}, "did you mean 'stride'"),
    ("gaussian", 16, {**GAUSSIAN, "n_filters": 2.5}, "'n_filters' .* is 2.5"),
    ("gaussian", 16, {**GAUSSIAN, "n_filters": True}, "is True"),
    ("gaussian", 16, {**GAUSSIAN, "taps": "4"}, "is '4'"),
    ("gaussian", 16, {**GAUSSIAN, "taps": None}, "is None"),
    ("gaussian", 16, {**GAUSSIAN, "n_filters": 0}, "n_filters 0"),
    ("gaussian", 16, {**GAUSSIAN, "n_channels": 0}, "n_channels 0"),
    ("gaussian", 16, {**GAUSSIAN, "taps": 0}, "taps"),
    ("gaussian", 16, {**GAUSSIAN, "taps": (2, 2)}, "2 axes"),
    ("gaussian", 16, {**GAUSSIAN, "taps": 10**12}, "more than grid"),
    ("gaussian", 16, {**GAUSSIAN, "n_filters": 10**14}, "they hold .* numbers, give at most"),
    ("gaussian", 16, {**GAUSSIAN, "stride": 3}, "not a multiple"),
    ("gaussian", 16, {**GAUSSIAN, "taps": 12}, "too short"),
    ("gaussian", 0, GAUSSIAN, "grid 0"),
    ("gaussian", (), GAUSSIAN, "grid"),
    ("gaussian", "16", GAUSSIAN, "grid '16'"),
    ("gaussian", (16, 2.5), GAUSSIAN, "grid"),
    ("sparse-random", 16, {**GAUSSIAN, "n_nonzeros": 5}, "at most 4"),
    ("sparse-random", 16, {**GAUSSIAN, "n_nonzeros": 0}, "n_nonzeros 0"),
    ("sparse-random", 16, {**GAUSSIAN, "n_nonzeros": 2, "values": "uniform"}, "one of 'rademacher', 'gaussian'"),
    ("low-coherence-sparse", 16, {**GAUSSIAN, "n_nonzeros": 4}, "meet once"),
    ("low-coherence-sparse", 99, {"n_filters": 1, "taps": 32, "n_nonzeros": 8}, "lower n_nonzeros"),
    ("lapped", 16, {"n_filters": 0}, "n_filters 0"),
    ("lapped", 16, {"n_filters": 3, "n_channels": 2}, "2 times a whole number"),
    ("lapped", (16, 16), {"n_filters": 3}, "the power 2"),
    ("lapped", 16, {"n_filters": 10**9}, "more than grid"),
    ("dct", (16, 16), {"taps": 4, "n_filters": 5}, "the power 2"),
    ("lapped", (16, 16), {"n_filters": 10**400}, "the power 2"),
    ("gabor", (8, 8, 8), {"n_filters": 2, "taps": 3}, "one or two axes"),
    ("gabor", 16, {"n_filters": 3, "taps": 3}, "multiple of 2"),
    ("gabor", 16, {"n_filters": 2, "taps": 3, "width": 0.0}, "width 0.0"),
    ("gabor", 16, {"n_filters": 2, "taps": 3, "width": math.nan}, "finite number"),
    ("hadamard-dirac", 18, {"taps": 6}, "power of 2"),
    ("daubechies", 64, {"order": 39}, "1 to 38"),
    ("daubechies", 64, {"levels": 10}, "more than grid"),
    ("meyer", (60, 60), {}, "one axis"),
    ("meyer", 600, {"taps": 63}, "at most 61"),
    ("integer", (60, 60), {}, "one axis"),
    ("integer", 600, {"taps": 30}, "search=True"),
    ("integer", 600, {"search": True, "n_nonzeros": 21}, "at most 20"),
    ("integer", 600, {"search": True, "largest": 2}, "change these sizes"),
    ("perturbed", 64, {"base": "lapped", "perturbation": -0.1, "n_filters": 4}, "perturbation -0.1"),
    ("perturbed", 64, {"base": "lapped", "perturbation": "little", "n_filters": 4}, "is 'little'"),
    ("perturbed", 64, {"base": "laped", "perturbation": 0.1}, "did you mean 'lapped'"),
    ("perturbed", 64, {"base": "lapped", "perturbation": 0.1, "n_filter": 4}, "did you mean 'n_filters'"),
    ("perturbed", 64, {"base": "perturbed", "perturbation": 0.1}, "needs a base itself"),
    ("optimised", 16, {**GAUSSIAN, "iterations": -1}, "iterations -1"),
    ("optimised", 16, {**GAUSSIAN, "tolerance": -1.0}, "tolerance -1.0"),
]


@pytest.mark.parametrize(("name", "grid", "parameters", "message"), REFUSALS)
def test_refusals_say_what_to_do_in_one_sentence(name, grid, parameters, message):
    with pytest.raises(UserError, match=message) as refusal:
        families.create(name, grid, 0, **parameters)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("seed", [-1, 1.5, "seed", True, [1]])
def test_seeds_that_are_not_allowed_are_refused(seed):
    with pytest.raises(UserError, match="seed"):
        families.create("gaussian", 16, seed, **GAUSSIAN)


def test_a_zero_filter_has_no_coherence_to_minimise():
    with pytest.raises(UserError, match="filter 1 is zero"):
        minimise_coherence([[[1.0, 0.0]], [[0.0, 0.0]]])
