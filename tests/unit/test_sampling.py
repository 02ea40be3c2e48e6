"""Random supports, values, noise and deep codes: their distributions, their constraints, their streams."""

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsc import Cascade, ConvolutionalDictionary, RaggedCodes, guarantees, phase_diagram, sampling
from dcsc.convolution import sparse_path
from dcsc.errors import UserError
from dcsc.model import sparsity
from dcsc.sampling import adversary
from dcsc.sampling import deep as deep_sampling
from dcsc.sampling.registry import MAGNITUDES, SUPPORTS
from dcsc.sampling.supports import spread_size
from dcsc.seeds import stream
from tests.strategies import cascades
from tests.support.sampling import adversarial_noise, bounded_noise, deep_blocks

FAMILY_ERROR = 1e-6
"""Chance that any one test of frequencies fails by bad luck, all its comparisons together."""

LINE = ConvolutionalDictionary(np.random.default_rng(0).standard_normal((3, 1, 6)), 2, (40,), normalize=True)
PLANE = ConvolutionalDictionary(np.random.default_rng(1).standard_normal((2, 2, 2, 4)), (1, 2), (5, 16), normalize=True)
CHOICES = {
    "uniform": [("uniform", {"size": 7})],
    "bernoulli": [("bernoulli", {"density": 0.1})],
    "clustered": [("clustered", {"size": 5, "clusters": 2}), ("clustered", {"size": 6, "clusters": 1, "width": 4})],
    "minimum-distance": [("minimum-distance", {"size": 4}), ("minimum-distance", {"size": 5, "distance": 2})],
    "stripe": [
        ("stripe", {"norm": 3, "size": 5}),
        ("stripe", {"norm": 2}),
        ("stripe", {"norm": 3, "size": 6, "exact": False}),
    ],
    "spread": [("spread", {"size": 6}), ("spread", {"size": 25})],
}
ALL = [
    (dictionary, name, parameters)
    for dictionary in (LINE, PLANE)
    for choices in CHOICES.values()
    for name, parameters in choices
]


def in_blocks(draw, trials=640, seed=3):
    return sampling.draw_blocks(seed, trials, draw, experiment="test")


def test_every_support_is_tested():
    assert set(SUPPORTS.names()) >= set(CHOICES)
    assert all(any(choice[0] == name for choice in CHOICES[name]) for name in CHOICES)


@pytest.mark.parametrize(("dictionary", "name", "parameters"), ALL)
def test_all_atoms_are_equally_likely(dictionary, name, parameters):
    trials = 6400
    drawn = in_blocks(lambda rng, n: sampling.draw_supports(name, rng, dictionary, n, **parameters), trials)
    counts = np.bincount(drawn.atom, minlength=dictionary.n_atoms)
    share = drawn.row_size.mean() / dictionary.n_atoms
    low, high = scipy.stats.binom.interval(1 - FAMILY_ERROR / dictionary.n_atoms / len(ALL), trials, share)
    assert low <= counts.min()
    assert counts.max() <= high
    assert (np.diff(drawn.atom)[np.setdiff1d(np.arange(len(drawn.atom) - 1), drawn.starts[1:-1] - 1)] > 0).all()


def test_all_subsets_of_a_size_are_equally_likely():
    dictionary = ConvolutionalDictionary(np.eye(2)[:, None], 2, (6,))
    trials = 6400
    drawn = in_blocks(lambda rng, n: sampling.draw_supports("uniform", rng, dictionary, n, size=3), trials)
    counts = np.bincount((2 ** drawn.atom.reshape(trials, 3)).sum(axis=1))
    counts = counts[counts > 0]
    assert len(counts) == 20
    assert scipy.stats.chisquare(counts).pvalue > FAMILY_ERROR


def test_bernoulli_sizes_are_binomial():
    drawn = in_blocks(lambda rng, n: sampling.draw_supports("bernoulli", rng, LINE, n, density=0.3), 3200)
    counts = np.bincount(drawn.row_size, minlength=61)
    expected = scipy.stats.binom.pmf(np.arange(61), 60, 0.3) * 3200
    common = expected > 5
    observed = [*counts[common], counts[~common].sum()]
    assert scipy.stats.chisquare(observed, [*expected[common], expected[~common].sum()]).pvalue > FAMILY_ERROR


@pytest.mark.parametrize(("dictionary", "name", "parameters"), ALL)
def test_draws_differ_and_repeat_with_their_stream(dictionary, name, parameters):
    def draw(rng, trials):
        return sampling.draw_supports(name, rng, dictionary, trials, **parameters)

    many, fewer, threads = in_blocks(draw, 100), in_blocks(draw, 40), sampling.draw_blocks(3, 100, draw, experiment="x")
    dense = many.to_dense().reshape(100, -1)
    assert len(np.unique(dense, axis=0)) > 30
    np.testing.assert_array_equal(dense[:40], fewer.to_dense().reshape(40, -1))
    assert not np.array_equal(dense, threads.to_dense().reshape(100, -1))
    again = sampling.draw_blocks(3, 100, draw, experiment="test", threads=1)
    np.testing.assert_array_equal(many.atom, again.atom)


@pytest.mark.parametrize("dictionary", [LINE, PLANE])
def test_stripe_supports_have_the_stripe_norm(dictionary):
    rng = np.random.default_rng(0)
    for norm in (1, 2, 5):
        exact = sampling.draw_supports("stripe", rng, dictionary, 50, norm=norm, size=norm)
        assert (sparsity.stripe_norm(exact.to_dense(), dictionary) == norm).all()
        most = sampling.draw_supports("stripe", rng, dictionary, 50, norm=norm, size=max(1, norm - 1), exact=False)
        assert (sparsity.stripe_norm(most.to_dense(), dictionary) <= norm).all()
        full = sampling.draw_supports("stripe", rng, dictionary, 20, norm=norm).to_dense()
        assert (sparsity.stripe_norm(full, dictionary) == norm).all()
        for code in full[:3]:
            for atom in np.flatnonzero(code == 0):
                more = code.copy()
                more.ravel()[atom] = 1
                assert sparsity.stripe_norm(more, dictionary) == norm + 1
    assert sampling.draw_supports("stripe", rng, dictionary, 3, norm=0).row_size.tolist() == [0, 0, 0]


def periodic_distance(a, b, positions):
    apart = np.abs(np.array(a) - np.array(b))
    return np.minimum(apart, np.array(positions) - apart)


@pytest.mark.parametrize("dictionary", [LINE, PLANE])
def test_distant_supports_keep_their_distance(dictionary):
    rng = np.random.default_rng(0)
    for distance in (2, dictionary.overlap):
        drawn = sampling.draw_supports("minimum-distance", rng, dictionary, 50, size=4, distance=distance).to_dense()
        assert (drawn.reshape(50, -1).sum(axis=1) == 4).all()
        for code in drawn:
            for a, b in itertools.combinations(np.argwhere(code)[:, 1:], 2):
                assert (periodic_distance(a, b, dictionary.positions) >= np.array(distance)).any()


def test_clusters_stay_in_their_windows():
    rng = np.random.default_rng(0)
    drawn = sampling.draw_supports("clustered", rng, LINE, 100, size=8, clusters=1, width=4).to_dense()
    for code in drawn:
        occupied = np.flatnonzero(code.any(axis=0))
        assert any(set(occupied) <= {(start + t) % 20 for t in range(4)} for start in range(20))


@pytest.mark.parametrize("dictionary", [LINE, PLANE])
def test_spread_supports_are_balanced(dictionary):
    rng = np.random.default_rng(0)
    n_positions = dictionary.n_atoms // dictionary.n_filters
    for size in (0, 1, 5, n_positions, n_positions + 7):
        drawn = sampling.draw_supports("spread", rng, dictionary, 30, size=size).to_dense()
        per_position = drawn.reshape(30, dictionary.n_filters, -1).sum(axis=1)
        assert (per_position.sum(axis=1) == size).all()
        assert per_position.max() - per_position.min() <= 1
    gaps = [
        np.diff(np.flatnonzero(code.any(axis=0)))
        for code in sampling.draw_supports("spread", rng, LINE, 30, size=4).to_dense()
    ]
    assert {int(gap) for row in gaps for gap in row} == {5}


@pytest.mark.parametrize(("positions", "overlap"), [(16, 2), (64, 2), (40, 3), (23, 4), (9, 5), (100, 1), (1024, 2)])
def test_evenly_spread_supports_fill_every_stripe_to_the_same_sparsity(positions, overlap):
    filters = np.random.default_rng(0).standard_normal((5, 1, 2 * overlap))
    dictionary = ConvolutionalDictionary(filters, 2, (2 * positions,), normalize=True)
    assert dictionary.overlap == (overlap,)
    for limit in (*range(1, dictionary.stripe_size), 7, 11):
        size = spread_size(dictionary, limit)
        if size == dictionary.n_atoms:
            continue
        drawn = sampling.draw_supports("spread", np.random.default_rng(limit), dictionary, 40, size=size)
        counts = np.round(sparsity.stripe_counts(drawn, dictionary))
        assert counts.max() == limit, (limit, size)
        assert counts.min() >= limit - 1
        fuller = sampling.draw_supports("spread", np.random.default_rng(limit), dictionary, 40, size=size + 1)
        assert sparsity.stripe_norm(fuller, dictionary).min() > limit  # none further


def test_evenly_spread_supports_of_the_study_are_as_many_as_its_theory_says():
    sizes = []
    for grid in (1024, 4096, 16384, 65536):
        dictionary = ConvolutionalDictionary(np.ones((64, 1, 128)), 64, (grid,), normalize=True)
        sizes.append(spread_size(dictionary, 4))
    assert sizes == [21, 85, 341, 1365]


def test_sizes_may_differ_between_trials():
    sizes = np.arange(8)
    for name in ("uniform", "spread"):
        assert sampling.draw_supports(name, np.random.default_rng(0), LINE, 8, size=sizes).row_size.tolist() == [*sizes]


@pytest.mark.parametrize(
    ("name", "parameters", "distribution"),
    [
        ("uniform", {"contrast": 0.25}, scipy.stats.uniform(0.25, 0.75)),
        ("log-uniform", {"contrast": 0.01}, scipy.stats.loguniform(0.01, 1)),
        ("half-normal", {"scale": 2.0}, scipy.stats.halfnorm(scale=2)),
    ],
)
def test_magnitudes_have_their_distribution(name, parameters, distribution):
    drawn = sampling.draw_magnitudes(name, np.random.default_rng(7), 4000, **parameters)
    assert scipy.stats.kstest(drawn, distribution.cdf).pvalue > FAMILY_ERROR
    assert len(np.unique(drawn)) == 4000


@pytest.mark.parametrize("n_filters", [1, 2, 5])
def test_magnitudes_by_filter_fall_geometrically_from_filter_to_filter(n_filters):
    rng = np.random.default_rng(8)
    dictionary = ConvolutionalDictionary(rng.standard_normal((n_filters, 1, 3)), 1, (12,), normalize=True)
    codes = sampling.sample_codes(
        rng,
        dictionary,
        6,
        support={"name": "bernoulli", "density": 0.5},
        magnitudes={"name": "by-filter", "contrast": 0.2},
    ).to_dense()
    expected = np.geomspace(1, 0.2, n_filters) if n_filters > 1 else np.ones(1)
    for f, magnitude in enumerate(expected):
        np.testing.assert_allclose(np.abs(codes[:, f][codes[:, f] != 0]), magnitude)
        assert codes[:, f].any()
    with pytest.raises(UserError, match="depends on the supports"):
        sampling.draw_magnitudes("by-filter", rng, 3)
    with pytest.raises(UserError, match="contrast = 2 is not allowed"):
        sampling.sample_codes(
            rng, dictionary, 1, support={"name": "uniform", "size": 1}, magnitudes={"name": "by-filter", "contrast": 2}
        )


def test_worst_signs_for_the_uniform_threshold_are_those_of_its_theorem():
    codes = sampling.sample_codes(
        np.random.default_rng(3),
        LINE,
        20,
        support={"name": "bernoulli", "density": 0.04},
        magnitudes={"name": "uniform", "contrast": 0.4},
        signs="positive",
    )
    assert 0 in codes.row_size
    thresholds = guarantees.uniform(Cascade([LINE]), [codes]).thresholds[0]
    thresholds[codes.row_size == 0] = 0  # without atoms any will do
    drawn = sampling.draw_signs("worst-case", None, LINE, codes, threshold="uniform")
    np.testing.assert_array_equal(drawn, adversary.worst_signs_for_threshold(LINE, codes, thresholds).signs)
    other = sampling.draw_signs("worst-case", None, LINE, codes, threshold="statistical")
    assert np.any(drawn != other)
    with pytest.raises(UserError, match="give a number, 'statistical' or 'uniform'"):
        sampling.draw_signs("worst-case", None, LINE, codes, threshold="oracle")


def test_rademacher_signs_are_balanced_and_independent():
    supports = sampling.draw_supports("uniform", np.random.default_rng(0), LINE, 1000, size=10)
    signs = sampling.draw_signs("rademacher", np.random.default_rng(1), LINE, supports).reshape(1000, 10).astype(int)
    low, high = scipy.stats.binom.interval(1 - FAMILY_ERROR / 55, 1000, 0.5)
    positives = [(signs[:, i] > 0).sum() for i in range(10)]
    agreements = [(signs[:, i] == signs[:, j]).sum() for i, j in itertools.combinations(range(10), 2)]
    assert low <= min(positives + agreements)
    assert max(positives + agreements) <= high


def test_sign_rules():
    rng = np.random.default_rng(0)
    magnitudes = sampling.sample_codes(rng, LINE, 5, support={"name": "uniform", "size": 6}, signs="positive")
    assert (magnitudes.value == 1).all()
    wanted = rng.choice([-1, 1], size=LINE.code_shape)
    given_signs = sampling.draw_signs("given", rng, LINE, magnitudes, signs=wanted)
    np.testing.assert_array_equal(
        given_signs, np.tile(wanted.ravel(), (5, 1))[np.repeat(np.arange(5), 6), magnitudes.atom]
    )
    np.testing.assert_array_equal(sampling.draw_signs("given", rng, LINE, magnitudes, signs=given_signs), given_signs)
    np.testing.assert_array_equal(
        sampling.draw_signs("worst-case", rng, LINE, magnitudes),
        adversary.worst_signs_for_top_k(LINE, magnitudes).signs,
    )
    np.testing.assert_array_equal(
        sampling.draw_signs("worst-case", rng, LINE, magnitudes, threshold=0.5),
        adversary.worst_signs_for_threshold(LINE, magnitudes, 0.5).signs,
    )
    np.testing.assert_array_equal(
        sampling.draw_signs("worst-case", rng, LINE, magnitudes, pursuit="basis-pursuit"),
        adversary.worst_signs_for_basis_pursuit(LINE, magnitudes).signs,
    )
    for wrong in ({"pursuit": "basis-pursuit", "threshold": 0.5}, {"pursuit": "ista"}):
        with pytest.raises(UserError, match=wrong["pursuit"]):
            sampling.draw_signs("worst-case", rng, LINE, magnitudes, **wrong)
    np.testing.assert_array_equal(
        sampling.draw_signs("worst-case-of-atom", rng, LINE, magnitudes, atom=3),
        adversary.worst_signs_of_atom(LINE, magnitudes, 3),
    )


def test_a_plug_in_adds_a_support_and_a_magnitude():
    @sampling.register_support("first-filter")
    def first_filter(rng, dictionary, trials, *, density):
        active = rng.random((trials, *dictionary.code_shape)) < density
        active[:, 1:] = False
        return RaggedCodes.from_dense(active.astype("int8"), dictionary.code_shape)

    @sampling.register_magnitudes("two-levels")
    def two_levels(rng, count, *, low):
        return np.where(rng.random(count) < 0.5, low, 1.0)

    try:
        codes = sampling.sample_codes(
            np.random.default_rng(0),
            LINE,
            4,
            support={"name": "first-filter", "density": 0.5},
            magnitudes={"name": "two-levels", "low": 0.1},
        )
        assert set(np.abs(codes.value)) == {0.1, 1.0}
        assert not codes.to_dense()[:, 1:].any()
    finally:
        SUPPORTS.entries.pop("first-filter")
        MAGNITUDES.entries.pop("two-levels")


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"support": "unifrom"}, "did you mean 'uniform'?"),
        ({"support": {"name": "uniform"}}, "needs the parameter 'size'"),
        ({"support": {"name": "uniform", "sise": 3}}, "did you mean 'size'?"),
        ({"support": {"size": 3}}, "add a `name`"),
        ({"support": {"name": "uniform", "size": 61}}, "takes 0 to 60 atoms"),
        ({"support": {"name": "uniform", "size": 1.5}}, "whole number"),
        ({"support": {"name": "bernoulli", "density": 2}}, "from 0 to 1"),
        ({"support": {"name": "clustered", "size": 60}}, "a window of (3,) positions takes 0 to 9"),
        ({"support": {"name": "minimum-distance", "size": 7}}, "takes 0 to 6"),
        ({"support": {"name": "stripe", "norm": 1, "size": 5}}, "takes 0 to 4"),
        ({"support": {"name": "stripe", "norm": 3, "size": 2}}, "exactly 3 needs as many"),
        ({"support": {"name": "stripe", "norm": 99}}, "takes 0 to 15"),
        ({"magnitudes": "half-norml"}, "did you mean 'half-normal'?"),
        ({"magnitudes": {"name": "constant", "value": -1}}, "positive numbers"),
        ({"magnitudes": {"name": "uniform", "contrast": 0}}, "above 0"),
        ({"signs": "radmacher"}, "did you mean 'rademacher'?"),
        ({"signs": {"name": "given", "signs": [2.0]}}, "must return one -1 or +1"),
    ],
)
def test_misuse_is_refused_with_a_sentence(choice, words):
    with pytest.raises(UserError) as refusal:
        sampling.sample_codes(
            np.random.default_rng(0), LINE, 3, **{"support": {"name": "uniform", "size": 4}, **choice}
        )
    assert words in str(refusal.value)


def test_a_draw_that_finds_no_room_is_refused():
    dictionary = ConvolutionalDictionary(np.eye(3)[:1, None], 1, (300,))
    for name, parameters in (("stripe", {"norm": 1}), ("minimum-distance", {"distance": 5})):
        with pytest.raises(UserError, match="found no room for 60 atoms"):
            sampling.draw_supports(name, np.random.default_rng(0), dictionary, 2, size=60, **parameters)


def test_a_taken_name_is_refused():
    with pytest.raises(UserError, match="registered already"):
        sampling.register_support("uniform")(lambda rng, dictionary, trials: None)


def test_gaussian_noise_has_its_power():
    noise = sampling.gaussian_noise(np.random.default_rng(0), PLANE, 20, sigma=0.1)
    assert noise.shape == (20, *PLANE.signal_shape)
    low, high = scipy.stats.chi2.interval(1 - FAMILY_ERROR, noise.size)
    assert low <= (noise**2).sum() / 0.01 <= high
    assert len(np.unique(noise)) == noise.size


@pytest.mark.parametrize("dictionary", [LINE, PLANE])
def test_bounded_noise_meets_its_bound(dictionary):
    noise = bounded_noise(np.random.default_rng(0), dictionary, 10, bound=0.3)
    np.testing.assert_allclose(sparsity.patch_l2(noise, dictionary), 0.3, rtol=1e-12)


@pytest.mark.parametrize("dictionary", [LINE, PLANE])
def test_adversarial_noise_is_the_worst_of_its_bound(dictionary):
    rng = np.random.default_rng(4)
    codes = sampling.sample_codes(rng, dictionary, 60, support={"name": "minimum-distance", "size": 2})
    beta = 0.7
    clean = sparse_path.margins(dictionary, codes)
    left = np.minimum(clean.smallest_signed - beta, beta - clean.largest_off)
    for bound in (0.05, 0.2):
        noise = adversarial_noise(dictionary, codes, beta, bound=bound)
        np.testing.assert_allclose(sparsity.patch_l2(noise, dictionary), bound, rtol=1e-12)
        hurt = sparse_path.margins(dictionary, codes, dictionary.correlate(noise))
        worst = np.minimum(hurt.smallest_signed - beta, beta - hurt.largest_off)
        np.testing.assert_allclose(worst, left - bound, atol=1e-12)
        other = bounded_noise(rng, dictionary, 60, bound=bound)
        luck = sparse_path.margins(dictionary, codes, dictionary.correlate(other))
        assert (np.minimum(luck.smallest_signed - beta, beta - luck.largest_off) >= worst - 1e-12).all()


def test_snr_is_a_ratio_of_powers():
    signals, noise = np.full((2, 1, 8), 3.0), np.full((2, 1, 8), 0.3)
    np.testing.assert_allclose(sampling.snr(signals, noise, 1), [20, 20])
    rng = np.random.default_rng(0)
    signals, noise = rng.standard_normal((3, 2, 4, 5)), rng.standard_normal((3, 2, 4, 5))
    scaled = sampling.scale_to_snr(signals, noise, [0, 10, 68.53], 2)
    np.testing.assert_allclose(sampling.snr(signals, scaled, 2), [0, 10, 68.53], atol=1e-10)
    ten_more = sampling.scale_to_snr(signals, noise, 20, 2) / sampling.scale_to_snr(signals, noise, 0, 2)
    np.testing.assert_allclose(ten_more, 10 ** (-20 / 20))
    assert sampling.snr(np.ones((1, 4)), np.zeros((1, 4)), 1) == np.inf
    with pytest.raises(UserError, match="is zero"):
        sampling.scale_to_snr(signals, 0 * noise, 10, 2)


def draw_deep(model, seed=0, trials=8, **options):
    size = max(1, min(5, model.dictionaries[-1].n_atoms // 2))
    parameters = {"support": {"name": "uniform", "size": size}, "magnitudes": "uniform", **options}
    if parameters.pop("random_layers", False):
        parameters["layer_signs"] = stream(seed, what="layer signs")
    return sampling.deep_codes(stream(seed, what="codes"), model.dictionaries, trials, **parameters)


@given(cascades(), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=60)
def test_deep_codes_are_those_of_the_cascade(model, seed, random_layers):
    draw = draw_deep(model, seed, random_layers=random_layers)
    cascade = draw.cascade(model.dictionaries)
    expected = cascade.synthesize(draw.codes[-1].to_dense())
    for layer, code in enumerate(draw.codes, start=1):
        np.testing.assert_allclose(code.to_dense(), expected[layer], atol=1e-12)
        support = np.abs(expected[layer]) > 1e-13
        np.testing.assert_array_equal(code.to_dense() != 0, support)
        np.testing.assert_allclose(draw.contrast[:, layer - 1], sparsity.contrast(code.to_dense(), model.rank))
        seen = draw.signed_codes(layer).to_dense()
        signs = 1 if draw.signs is None else draw.signs[layer - 1]
        np.testing.assert_array_equal(seen, signs * code.to_dense())
    assert (draw.signs is not None) == random_layers


SPARSE_FILTER = np.zeros(20, dtype=np.int64)
SPARSE_FILTER[[2, 3, 6, 7, 14, 17, 18]] = [3, -8, -8, 7, 5, 4, 2]


def integer_cascade(positions=20):
    inner = ConvolutionalDictionary.from_integers([[SPARSE_FILTER]], 6, (6 * positions,))
    first = ConvolutionalDictionary.from_integers([[SPARSE_FILTER]], 6, (36 * positions,))
    top = ConvolutionalDictionary.from_integers([[SPARSE_FILTER]], 6, (216 * positions,))
    return Cascade([top, first, inner])


def test_integer_draws_have_exact_supports():
    model = integer_cascade()
    draw = draw_deep(model, support={"name": "uniform", "size": 12}, magnitudes="constant", trials=32)
    expected = model.synthesize(draw.codes[-1].to_dense().astype(np.int64))
    for layer, code in enumerate(draw.codes, start=1):
        np.testing.assert_array_equal(code.to_dense(), expected[layer])
    cancelling = ConvolutionalDictionary.from_integers([[[1, 1, 1, 1]], [[1, 1, -1, -1]]], 2, (16,))
    above = ConvolutionalDictionary(np.eye(1)[:, None], 1, (16,))
    draw = draw_deep(Cascade([above, cancelling]), support={"name": "uniform", "size": 8}, magnitudes="constant")
    assert draw.cancelled[:, 0].sum() > 0
    np.testing.assert_array_equal(draw.cancelled[:, 1], 0)


def test_what_rounding_leaves_of_a_cancellation_is_in_no_support():
    rng = np.random.default_rng(0)
    half = rng.random((1, 1, 7))
    filters = np.concatenate([half, -half + 0 * half], axis=0) / np.linalg.norm(half)
    dictionary = ConvolutionalDictionary(np.repeat(filters, 3, axis=0), 7, (21,))
    code = np.zeros((1, *dictionary.code_shape))
    code[0, :, 1] = [0.1, 0.2, -0.3, 0.7, 0.2, -0.9]
    sparse, cancelled = sampling.synthesize_sparse(dictionary, RaggedCodes.from_dense(code, dictionary.code_shape))
    assert sparse.row_size.tolist() == [0]
    assert cancelled.tolist() == [7]
    assert dictionary.synthesize(code).any()


def reference_insertion(rng, dictionaries, proposals, signs, constraint, floor, keep):
    """Sequential insertion with dense layers, proposal by proposal in the kernel's random order."""
    accepted, refused = [], []
    for trial in range(len(proposals.row_size)):
        atoms = proposals.atom[proposals.starts[trial] : proposals.starts[trial + 1]]
        values = proposals.value[proposals.starts[trial] : proposals.starts[trial + 1]]
        order, code, skipped = list(range(len(atoms))), np.zeros(dictionaries[-1].n_atoms), 0
        for k in range(len(atoms)):
            if keep is not None and np.count_nonzero(code) == keep:
                break
            other = k + int(rng.random() * (len(atoms) - k))
            order[k], order[other] = order[other], order[k]
            trying = code.copy()
            trying[atoms[order[k]]] = values[order[k]]
            current = trying.reshape(dictionaries[-1].code_shape)
            fits = True
            for layer in range(len(dictionaries), 0, -1):
                if constraint == "contrast-floor":
                    magnitudes = np.abs(current[np.abs(current) > 1e-12])
                    fits &= magnitudes.min() >= floor * magnitudes.max()
                if layer > 1:
                    dictionary = dictionaries[layer - 1]
                    ones = (abs(dictionary.to_sparse()) > 0).astype(int)
                    if constraint == "no-overlap":
                        fits &= (ones @ (np.abs(current.ravel()) > 0)).max() <= 1
                    signed = current if signs is None else signs[layer - 1][trial] * current
                    current = dictionary.synthesize(signed)
            if fits:
                code = trying
            else:
                skipped += 1
        accepted.append(code)
        refused.append(skipped)
    return np.array(accepted), refused


@given(cascades(max_taps=3), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0.02, 0.1, 0.3]), st.booleans())
@settings(max_examples=60)
def test_insertion_agrees_with_a_dense_reference(model, seed, random_layers, floor, stop_early):
    # Sparse filters, or no insertion would avoid an overlap.
    rng = np.random.default_rng(seed)
    sparse = [
        ConvolutionalDictionary(
            np.where((rng.random(d.filters.shape) < 0.4) | (np.arange(d.filters.shape[-1]) == 0), d.filters, 0),
            d.stride,
            d.grid,
            normalize=True,
        )
        for d in model.dictionaries
    ]
    deepest = sparse[-1]
    proposals = sampling.sample_codes(
        rng, deepest, 4, support={"name": "uniform", "size": min(8, deepest.n_atoms)}, magnitudes="uniform"
    )
    signs = [rng.choice([-1, 1], size=(4, *d.code_shape)).astype(np.int8) for d in sparse] if random_layers else None
    keep = 2 if stop_early else None
    for constraint in ("contrast-floor", "no-overlap"):
        kept, refused = deep_sampling._inserted(
            np.random.default_rng(seed), sparse, proposals, signs, constraint, floor, keep
        )
        expected, skipped = reference_insertion(
            np.random.default_rng(seed), sparse, proposals, signs, constraint, floor, keep
        )
        np.testing.assert_array_equal(kept.to_dense().reshape(4, -1), expected)
        np.testing.assert_array_equal(refused, skipped)


def test_a_contrast_floor_holds_at_every_layer_and_counts_what_it_skips():
    model = integer_cascade()
    options = {"support": {"name": "uniform", "size": 15}, "magnitudes": "constant", "trials": 32}
    free = draw_deep(model, **options)
    floored = draw_deep(model, **options, constraint="contrast-floor", floor=1 / 64)
    assert free.contrast.min() < 1 / 64 <= floored.contrast.min()
    assert floored.refused.sum() > 0
    np.testing.assert_array_equal(floored.refused + floored.codes[-1].row_size, 15)
    untouched = draw_deep(model, **options, constraint="contrast-floor", floor=0.0)
    np.testing.assert_array_equal(untouched.codes[-1].atom, free.codes[-1].atom)
    assert not untouched.refused.any()
    enough = draw_deep(model, **options, constraint="contrast-floor", floor=1 / 64, keep=4)
    np.testing.assert_array_equal(enough.codes[-1].row_size, 4)


def test_no_overlap_leaves_every_entry_to_one_atom():
    model = integer_cascade()
    draw = draw_deep(model, support={"name": "uniform", "size": 15}, constraint="no-overlap", trials=32)
    assert draw.codes[-1].row_size.min() >= 1
    for above, below, dictionary in zip(draw.codes, draw.codes[1:], model.dictionaries[1:], strict=False):
        np.testing.assert_array_equal(above.row_size, 7 * below.row_size)
        assert dictionary.n_filters == 1
    assert not draw.cancelled.any()


def test_a_constraint_that_leaves_nothing_is_refused():
    """Empty codes would count as recovered."""
    rng = np.random.default_rng(0)
    dense = [ConvolutionalDictionary(rng.standard_normal((2, c, 3)), 1, (12,), normalize=True) for c in (1, 2, 2)]
    for options in ({"constraint": "no-overlap"}, {"constraint": "contrast-floor", "floor": 0.99}):
        with pytest.raises(UserError, match="refused every atom of 8 trials"):
            draw_deep(Cascade(dense), **options)


def test_rejection_repeats_whole_draws():
    model = integer_cascade()
    options = {"support": {"name": "uniform", "size": 4}, "magnitudes": "constant", "trials": 32}
    draw = draw_deep(model, **options, constraint="rejection", floor=1 / 64, random_layers=True)
    assert draw.contrast.min() >= 1 / 64
    assert draw.refused.sum() > 0
    assert draw.acceptance == 32 / (32 + draw.refused.sum())
    np.testing.assert_array_equal(draw.codes[-1].row_size, 4)
    expected = draw.cascade(model.dictionaries).synthesize(draw.codes[-1].to_dense())
    np.testing.assert_allclose(draw.codes[0].to_dense(), expected[1], atol=1e-14)
    with pytest.raises(UserError, match="lower the floor"):
        draw_deep(model, **options, constraint="rejection", floor=1.0, attempts=3)


def test_layer_signs_are_drawn_afresh_and_from_their_own_stream():
    model = integer_cascade()
    plain, random = draw_deep(model), draw_deep(model, random_layers=True)
    np.testing.assert_array_equal(plain.codes[-1].value, random.codes[-1].value)
    for sign in random.signs:
        assert len(np.unique(sign.reshape(len(sign), -1), axis=0)) == len(sign)
    total = np.concatenate([sign.ravel() for sign in random.signs])
    low, high = scipy.stats.binom.interval(1 - FAMILY_ERROR, len(total), 0.5)
    assert low <= (total > 0).sum() <= high


@pytest.mark.parametrize(
    ("constraint", "depth", "rademacher", "random_layers", "expected"),
    [
        ("none", 1, True, False, {"statistical", "statistical-optimised"}),
        ("contrast-floor", 1, True, False, {"statistical", "statistical-optimised"}),
        ("none", 1, False, True, {"statistical", "statistical-optimised"}),
        ("none", 2, True, False, {"statistical-plain"}),
        ("none", 2, True, True, {"statistical"}),
        ("none", 2, False, False, set()),
        ("no-overlap", 3, False, True, {"statistical", "statistical-optimised"}),
        ("contrast-floor", 2, True, True, set()),
        ("rejection", 1, True, False, {"statistical", "statistical-optimised"}),
        ("rejection", 2, True, True, {"statistical", "given-acceptance"}),
        ("rejection", 2, True, False, {"statistical-plain", "given-acceptance"}),
    ],
)
def test_certificates(constraint, depth, rademacher, random_layers, expected):
    held = deep_sampling.certificates(constraint, depth, rademacher, random_layers)
    assert set(held) == {"uniform", "instance-uniform"} | expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"constraint": "no-overlaps"}, "did you mean 'no-overlap'?"),
        ({"constraint": "none", "floor": 0.5}, "has no floor"),
        ({"constraint": "rejection", "floor": 2}, "from 0 to 1"),
        ({"constraint": "rejection", "keep": 3}, "keep = 3"),
    ],
)
def test_misused_constraints_are_refused_with_a_sentence(options, words):
    with pytest.raises(UserError) as refusal:
        draw_deep(integer_cascade(), **options)
    assert words in str(refusal.value)


def aligned_cascade(blocks=1):
    """Diracs and Hadamard columns, under one atom whose plain signs add up at a Dirac (docs/theory.md)."""
    n = 128
    hadamard = np.array([[(-1.0) ** (a & b).bit_count() for b in range(n)] for a in range(n)]) / np.sqrt(n)
    first = np.concatenate([np.eye(n), hadamard])[:, None, :]
    second = np.zeros((1, 2 * n, 1))
    columns = [0, 1, 2, 4, 8, 16, 32, 64, 3, 12, 48, 127]
    second[0, [n + b for b in columns], 0] = hadamard[5, columns] * np.sqrt(n / 12)
    return Cascade(
        [
            ConvolutionalDictionary(first, n, (n * blocks,), normalize=True),
            ConvolutionalDictionary(second, 1, (blocks,), normalize=True),
        ]
    )


def test_the_aligned_cascade_fails_always_and_with_random_layers_at_its_exact_rate():
    model = aligned_cascade()
    options = {"support": {"name": "uniform", "size": 1}, "magnitudes": "constant", "trials": 4096}
    for random_layers, rate in ((False, 1.0), (True, 1 / 16)):
        draw = draw_deep(model, **options, random_layers=random_layers)
        margins = sparse_path.margins(model.dictionaries[0], draw.signed_codes(1))
        failed = int((margins.largest_off >= margins.smallest_on - 1e-12).sum())
        assert scipy.stats.binomtest(failed, 4096, rate).pvalue > FAMILY_ERROR


def test_worst_layer_signs_are_the_worst_of_every_layer():
    rng = np.random.default_rng(0)
    model = Cascade(
        [
            ConvolutionalDictionary(rng.standard_normal((4, 1, 6)), 2, (48,), normalize=True),
            ConvolutionalDictionary(rng.standard_normal((4, 4, 3)), 1, (24,), normalize=True),
        ]
    )
    draw = draw_deep(model, layer_signs="worst-case", trials=5)
    assert draw.certificates == ("uniform", "instance-uniform")
    expected = draw.cascade(model.dictionaries).synthesize(draw.codes[-1].to_dense())
    for layer, (code, dictionary) in enumerate(zip(draw.codes, model.dictionaries, strict=True), start=1):
        np.testing.assert_allclose(code.to_dense(), expected[layer], atol=1e-14)
        margins = sparse_path.margins(dictionary, draw.signed_codes(layer))
        attack = adversary.worst_signs_for_top_k(dictionary, code)
        np.testing.assert_allclose(margins.smallest_signed - margins.largest_off, attack.margin, atol=1e-12)
    with pytest.raises(UserError, match="without a contrast floor"):
        draw_deep(model, layer_signs="worst-case", constraint="contrast-floor", floor=0.1)
    with pytest.raises(UserError, match="give a generator"):
        draw_deep(model, layer_signs="worst")


def test_deep_blocks_are_the_same_in_any_chunks():
    model = integer_cascade()

    def draw(trials, **options):
        return deep_blocks(
            5,
            model.dictionaries,
            trials,
            random_layers=True,
            key={"experiment": "test"},
            support={"name": "uniform", "size": 6},
            **options,
        )

    whole, start, end = draw(100), draw(40, threads=1), draw(36, first=64)
    for layer in range(3):
        dense = whole.codes[layer].to_dense()
        np.testing.assert_array_equal(dense[:40], start.codes[layer].to_dense())
        np.testing.assert_array_equal(dense[64:], end.codes[layer].to_dense())
        np.testing.assert_array_equal(whole.signs[layer][64:], end.signs[layer])
    np.testing.assert_array_equal(whole.contrast[:40], start.contrast)
    plain = deep_blocks(5, model.dictionaries, 100, key={"experiment": "test"}, support={"name": "uniform", "size": 6})
    np.testing.assert_array_equal(plain.codes[-1].atom, whole.codes[-1].atom)
    with pytest.raises(UserError, match="multiple of 32"):
        draw(10, first=5)
    with pytest.raises(UserError, match="at least one"):
        draw(0)


def test_supports_magnitudes_and_signs_of_ones_own_are_taken_as_they_are():
    rng, (n_filters, positions) = np.random.default_rng(0), LINE.code_shape
    by_place = [[0, 5], [n_filters - 1, 0], [1, 2]]
    flat = [filter_ * positions + position for filter_, position in by_place]
    signs = [[1], [-1], *[[1]] * (n_filters - 2)]
    values = [[0.5], [2.0], *[[1.0]] * (n_filters - 2)]
    for atoms in (by_place, flat):
        codes = sampling.sample_codes(
            rng,
            LINE,
            2,
            support={"name": "given", "atoms": atoms},
            magnitudes={"name": "given", "values": values},
            signs={"name": "given", "signs": signs},
        ).to_dense()
        expected = np.zeros(LINE.code_shape)
        expected[tuple(np.transpose(by_place))] = [0.5, 1.0, -2.0]
        np.testing.assert_array_equal(codes, [expected, expected])
    fewer = sampling.draw_supports("given", rng, LINE, 1, atoms=by_place, size=2).to_dense()
    assert np.argwhere(fewer[0]).tolist() == sorted(by_place[:2])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"support": {"name": "given", "atoms": [0, 0]}}, "atom 0 stands twice"),
        ({"support": {"name": "given", "atoms": [10**6]}}, r"atom 1000000 is not in this layer: it has \d+ atoms"),
        ({"support": {"name": "given", "atoms": [[0, -1]]}}, r"atom \[0, -1\] is not in this layer"),
        ({"support": {"name": "given", "atoms": [[0, 1, 2]]}}, "2 numbers an atom"),
        ({"support": {"name": "given", "atoms": [1, 2], "size": 3}}, "the list of atoms takes 0 to 2"),
        ({"magnitudes": {"name": "given", "values": [1.0]}}, "do not fit 2 non-zeros"),
        ({"magnitudes": {"name": "given", "values": [[0.0]]}}, "values hold 0.0: give positive numbers"),
        ({"magnitudes": {"name": "given", "values": [[1.0, 2.0]]}}, "values of shape .* do not fit"),
        ({"signs": {"name": "given", "signs": [[3]]}}, "one -1 or \\+1"),
    ],
)
def test_what_is_given_and_does_not_fit_is_said(wrong, words):
    parameters = {"support": {"name": "given", "atoms": [1, 2]}, **wrong}
    with pytest.raises(UserError, match=words):
        sampling.sample_codes(np.random.default_rng(0), LINE, 1, **parameters)


def test_the_former_name_of_magnitudes_is_refused_with_the_present_one():
    rng, chosen = np.random.default_rng(0), {"support": {"name": "uniform", "size": 1}, "magnitude": "constant"}
    words = "has no parameter 'magnitude', it is called 'magnitudes' everywhere: rename it"
    with pytest.raises(UserError, match=f"sample_codes {words}"):
        sampling.sample_codes(rng, LINE, 1, **chosen)
    with pytest.raises(UserError, match=f"deep_codes {words}"):
        sampling.deep_codes(rng, [LINE], 1, **chosen)
    with pytest.raises(UserError, match=f"phase_diagram {words}"):
        phase_diagram({"a": [1], "b": [1]}, LINE, **chosen)
    with pytest.raises(UserError, match="it is called register_magnitudes"):
        _ = sampling.register_magnitude
