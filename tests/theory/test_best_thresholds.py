"""The compiled search for thresholds: its bound is exact at the threshold, and nearly the smallest of any threshold."""

import numpy as np
import pytest

import dcsc
from dcsc import RaggedCodes, families
from dcsc.guarantees import tails
from dcsc.guarantees.interference import (
    Interference,
    layer_failure,
    layer_interference,
    rademacher_interference,
)
from tests.theory import support


def made(seed, grid, **parameters):
    family = "perturbed" if "base" in parameters else "gaussian"
    return families.create(family, grid, np.random.default_rng(seed), **parameters)


DICTIONARIES = {
    "lapped": lambda: made(1, (512,), base="lapped", n_filters=64, perturbation=0.3),
    "1-D, stride 1": lambda: made(2, (96,), n_filters=16, taps=16, n_channels=12),
    "1-D, many atoms": lambda: made(3, (400,), n_filters=24, taps=16, n_channels=48),
    "2-D": lambda: made(4, (16, 24), n_filters=16, n_channels=8, taps=(4, 4), stride=(2, 2)),
}


SIZES = {"lapped": (5, 60), "1-D, stride 1": (4, 18), "1-D, many atoms": (15, 120), "2-D": (8, 30)}


def draws(name, dictionary, count, seed=5):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(*SIZES[name], count)
    atoms = np.concatenate([np.sort(rng.choice(dictionary.n_atoms, size, replace=False)) for size in sizes])
    values = np.where(rng.random(len(atoms)) < 0.7, 1.0, rng.uniform(0.5, 1, len(atoms)))
    values *= rng.choice([-1.0, 1.0], len(atoms))
    codes = RaggedCodes(sizes, atoms.astype(np.int32), values, dictionary.code_shape)
    eps = rng.choice([0.0, 0.0, 0.05], count) * (rng.random(count) < 0.9)
    return codes, eps, np.full(count, 1e-14)


def over_a_fine_grid(interference, row, eps, guard, noise):
    """The smallest bound on a fine grid, and just beyond each of the tails' steps."""
    one = {name: getattr(interference, name)[row] for name in ("active", "magnitude", "locked", "variance", "bound")}
    active, floor, bound = one["active"], one["magnitude"] + one["locked"], one["bound"]
    low, high = eps, max(eps, floor[active].min() - eps)
    steps = np.concatenate([bound[~active] + eps + 1e-9, (floor - bound)[active] - eps - 1e-9])
    betas = np.concatenate([np.linspace(low, high, 300), steps[(steps > low) & (steps < high)][:400]])
    best = 1.0
    for part in np.array_split(betas, max(1, len(betas) * len(active) // 2**20)):
        many = Interference(*(np.broadcast_to(values, (len(part), len(values))) for values in one.values()))
        ones = np.ones(len(part))
        best = min(best, support.instance_failure(many, part, eps * ones, guard * ones, noise).min())
    return best


@pytest.mark.parametrize("noise", [0.0, 0.02**2])
@pytest.mark.parametrize("name", DICTIONARIES)
def test_bound_is_exact_at_a_threshold_that_is_nearly_the_best(name, noise):
    dictionary = DICTIONARIES[name]()
    codes, eps, guard = draws(name, dictionary, 24)
    everywhere = rademacher_interference(dictionary, codes)
    _, threshold, probability = layer_failure(dictionary, codes, eps, guard, noise_variance=noise)
    listed = tails.best_threshold(everywhere, eps, guard, noise)
    informative = 0
    for beta, found in ((threshold, probability), listed):
        np.testing.assert_allclose(
            found, support.instance_failure(everywhere, beta, eps, guard, noise), rtol=1e-11, atol=1e-290
        )
        for row in range(len(eps)):
            best = over_a_fine_grid(everywhere, row, eps[row], guard[row], noise)
            informative += 1e-250 < best < 1
            assert found[row] <= max(best**0.9, 1.3 * best, 1e-250)  # below, it is as good as 0
    assert informative > 3


@pytest.mark.parametrize("name", DICTIONARIES)
@pytest.mark.parametrize("noise", [0.0, 0.02**2])
def test_what_concerns_the_supports_agrees_with_the_interference_everywhere(name, noise):
    dictionary = DICTIONARIES[name]()
    codes, _, _ = draws(name, dictionary, 40, seed=6)
    growth = 2 * np.log(2 * dictionary.n_atoms / 0.01)
    found = layer_interference(dictionary, codes, growth=growth, noise_variance=noise)
    expected = rademacher_interference(dictionary, codes).of_layer(codes, growth, noise)
    for part in ("variance", "bound", "off_bound", "off_level", "largest_variance", "locked"):
        np.testing.assert_allclose(getattr(found, part), getattr(expected, part), rtol=1e-12, atol=1e-14)


def test_codes_at_the_edges_have_thresholds():
    dictionary = dcsc.ConvolutionalDictionary(np.eye(4)[:, None], 4, (64,))
    sizes = np.array([0, 1, dictionary.n_atoms])
    atoms = np.concatenate([np.arange(size) for size in sizes]).astype(np.int32)
    codes = RaggedCodes(sizes, atoms, np.ones(len(atoms)), dictionary.code_shape)
    for eps in (0.0, 0.1):
        for noise in (0.0, 1e-4):
            _, threshold, probability = layer_failure(
                dictionary, codes, np.full(3, eps), np.full(3, 1e-14), noise_variance=noise
            )
            exact = support.instance_failure(
                rademacher_interference(dictionary, codes), threshold, np.full(3, eps), np.full(3, 1e-14), noise
            )
            np.testing.assert_allclose(probability, exact, rtol=1e-12, atol=1e-290)
            assert (probability < 1e-10).all()
