"""Sharper tails: never below what enumeration of all signs gives, each at most the one before it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsc import RaggedCodes
from dcsc.errors import UserError
from dcsc.guarantees import sharp_tails
from dcsc.guarantees.interference import layer_failure, rademacher_interference
from dcsc.guarantees.plain_model import Propagation
from dcsc.guarantees.sharp_tails import TAILS, DrawnAtoms, best_failure, failure_at, tail_probability
from tests.theory import support


def enumerated(a, margin, two_sided, sigma=0.0):
    """Probability over all signs that a sum, or its magnitude, reaches a margin."""
    from scipy.stats import norm

    sums = support.all_signs(len(a)) @ a if len(a) else np.zeros(1)
    if sigma:
        reached = norm.sf((margin - sums) / sigma)
        return (reached + (norm.sf((margin + sums) / sigma) if two_sided else 0)).mean()
    return np.mean((np.abs(sums) if two_sided else sums) >= margin)


@st.composite
def sums(draw):
    """Coefficients of several kinds, and margins that are often sums themselves."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k = draw(st.integers(0, 10))
    kind = draw(st.sampled_from(["uniform", "heavy", "lattice", "equal", "one large"]))
    a = {
        "uniform": lambda: rng.random(k),
        "heavy": lambda: rng.standard_normal(k) ** 3,
        "lattice": lambda: rng.integers(-8, 9, k) / 16,
        "equal": lambda: np.full(k, rng.random()),
        "one large": lambda: np.r_[rng.random(k) * 0.01, 1.0],
    }[kind]()
    margin = np.abs(a).sum() * rng.uniform(0, 1.2)
    if draw(st.booleans()):
        margin = abs((support.all_signs(len(a)) @ a)[rng.integers(2 ** len(a))]) if len(a) else 0.0
    return a, margin, draw(st.booleans()), draw(st.sampled_from([0.0, 0.0, 0.05, 0.6])), kind


@settings(max_examples=2000, deadline=None)
@given(sums())
def test_tails_are_a_chain_above_the_enumerated_probability(case):
    a, margin, two_sided, sigma, kind = case
    exact = enumerated(a, margin, two_sided, sigma)
    found = [
        tail_probability(a, [len(a)], margin, tail=tail, two_sided=two_sided, noise_variance=sigma**2)[0]
        for tail in TAILS
    ]
    assert (np.diff(found) <= 0).all()
    assert found[-1] >= exact * (1 - 1e-12)
    if kind == "lattice" and not sigma and margin > 0:
        on_lattice = tail_probability(a, [len(a)], margin, two_sided=two_sided, step=1 / 16)[0]
        assert on_lattice == pytest.approx(min(1.0, exact), rel=1e-12, abs=0)
    if kind == "equal" and not sigma and margin > 0:  # the lattice is chosen so that they lie on it
        exact = enumerated(a, margin * (1 - 1e-12), two_sided)  # their sums are rounded
        assert found[-1] == pytest.approx(min(1.0, exact), rel=1e-12, abs=0)


def test_closed_tails_are_what_their_formulas_say():
    from scipy.optimize import minimize_scalar
    from scipy.stats import norm

    rng = np.random.default_rng(1)
    for k in (3, 12, 40, 300):
        a = rng.standard_normal(k)
        deviation = np.linalg.norm(a)
        for margin in np.array([0.5, 1.5, 3.0, 4.5]) * deviation:
            if margin > np.abs(a).sum():
                continue
            hoeffding = math.exp(-(margin**2) / (2 * deviation**2))
            gaussian = min(hoeffding, norm.sf(margin / deviation) / (4 * norm.sf(math.sqrt(2))))
            most = minimize_scalar(
                lambda x, a=a, margin=margin: np.log(np.cosh(x * a)).sum() - x * margin, (0, margin / deviation**2)
            )
            expected = {"hoeffding": hoeffding, "gaussian": gaussian}
            for tail, value in expected.items():
                assert value <= tail_probability(a, [k], margin, tail=tail)[0] * (1 + 1e-9)
                assert tail_probability(a, [k], margin, tail=tail)[0] <= 1.005 * value
            chernoff = tail_probability(a, [k], margin, tail="chernoff")[0]
            assert chernoff <= min(gaussian * (1 + 1e-9), 1.005 * math.exp(most.fun))
            assert chernoff <= min(
                gaussian * (1 + 1e-9), 1.1 * math.exp(most.fun) * left_of_chernoff(np.abs(a), most.x, margin)
            )
            if k == 300 and margin > 4 * deviation:
                exact = tail_probability(a, [k], margin)[0]
                assert chernoff < 0.25 * math.exp(most.fun)
                assert exact < chernoff < 4 * exact


def left_of_chernoff(a, tilt, margin):
    """What is left of Chernoff's bound, for a normal law and what Berry and Esseen add, by quadrature."""
    from scipy.integrate import quad
    from scipy.stats import norm

    tangent = np.tanh(tilt * a)
    mean, deviation = (a * tangent).sum() - margin, math.sqrt((a**2 * (1 - tangent**2)).sum())
    third = (a**3 * ((1 + tangent) / 2 * (1 - tangent) ** 3 + (1 - tangent) / 2 * (1 + tangent) ** 3)).sum()
    normal = quad(lambda y: math.exp(-tilt * y) * norm.pdf(y, mean, deviation), 0, mean + 12 * deviation)[0]
    return min(1.0, normal + 2 * 0.56 * third / deviation**3)


@pytest.mark.parametrize("k", [40, 150, 400, 900])
def test_the_lattice_costs_less_than_two_percent_of_a_sparsity(k):
    """With 2 % less variance, or sparsity, the true tail is never met: seen against a lattice a hundred times finer."""
    rng = np.random.default_rng(k)
    a = np.abs(rng.standard_normal(k))
    a /= np.linalg.norm(a)
    for margin in (3.5, 4.5, 5.5):
        multiples = np.rint(a / (a.max() / 4000)).astype(int)  # no margin is lowered for it: it stands for the truth
        counts, reach = np.ones(1), multiples.sum()
        for n in multiples:
            wider = np.zeros(len(counts) + n)
            wider[: len(counts)] += counts / 2
            wider[n:] += counts / 2
            counts = wider
        level = margin * math.sqrt(0.98) / (a.max() / 4000)  # 2 % more variance at the same margin
        truth = counts[: max(0, math.floor((reach - level) / 2) + 1)].sum()
        assert tail_probability(a, [k], margin)[0] <= truth


def test_sums_of_a_batch_are_those_of_each():
    rng = np.random.default_rng(3)
    sizes = rng.integers(0, 30, 50)
    values, margins = rng.standard_normal(sizes.sum()), rng.uniform(0, 12, 50)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    for tail in TAILS:
        together = tail_probability(values, sizes, margins, tail=tail, two_sided=True)
        for row in range(50):
            own = values[starts[row] : starts[row + 1]]
            assert together[row] == tail_probability(own, [len(own)], margins[row], tail=tail, two_sided=True)[0]


def broken(gram, code, beta, eps):
    """Share of all signs for which some noise of at most eps in each correlation breaks the support."""
    flat = np.abs(code).ravel()
    active = np.flatnonzero(flat)
    signed = support.all_signs(len(active)) * flat[active]
    correlations = signed @ (gram + np.eye(len(gram)))[active]
    reached = np.abs(correlations) + eps > beta
    reached[:, active] = np.sign(signed) * correlations[:, active] - eps <= beta[active]
    return reached.any(axis=1).mean()


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_exact_failure_of_one_layer_stays_below_every_bound(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(20)
    count, positions = 80, math.prod(dictionary.positions)
    contrasts = rng.choice([1.0, 0.8, 0.5], 40)
    dense = support.random_codes(rng, dictionary.code_shape, rng.integers(4, 10, 40), contrasts, dictionary.overlap)
    near = support.near_limit_codes(rng, dictionary, rng.integers(6, 10, 40))  # a low coherence fails there, too
    dense = np.concatenate([dense, near])
    codes = RaggedCodes.from_dense(dense, dictionary.code_shape)
    x_min = np.where(dense != 0, np.abs(dense), np.inf).reshape(count, -1).min(axis=1)
    eps, guard = x_min * rng.choice([0.0, 0.0, 0.05], count), np.full(count, 1e-14)
    gram = support.dense_gram(dictionary)
    by_filter = x_min[:, None] * rng.uniform(0.35, 0.65, (count, dictionary.n_filters))
    loose = support.instance_failure(rademacher_interference(dictionary, codes), x_min / 2, eps, guard)
    _, _, closed = layer_failure(dictionary, codes, eps, guard)
    before, informative = {"common": loose, "best": closed, "filter": np.ones(count)}, 0
    for tail in TAILS:
        found = {
            "common": failure_at(dictionary, codes, x_min / 2, eps, guard, tail=tail),
            "filter": failure_at(dictionary, codes, by_filter, eps, guard, tail=tail),
        }
        beta, found["best"] = best_failure(dictionary, codes, eps, guard, tail=tail)
        betas, best = best_failure(dictionary, codes, eps, guard, tail=tail, by_filter=True)
        assert (best <= found["best"]).all()
        for kind, value in found.items():
            assert (value <= before[kind] * (1 + 1e-11)).all()
        before = found
        if tail in ("gaussian", "exact"):
            thresholds = ((x_min / 2)[:, None], by_filter, beta[:, None], betas)
            for values, threshold in zip((*found.values(), best), (*thresholds[:3], betas), strict=True):
                spread = np.broadcast_to(threshold, (count, dictionary.n_filters))
                for row in range(count):
                    exact = broken(gram, dense[row], np.repeat(spread[row], positions), eps[row])
                    assert exact <= values[row] * (1 + 1e-11)
                    informative += 0 < values[row] < 1
    if "orthonormal" not in name:
        assert informative > 5


@pytest.mark.parametrize("rank", [1, 2])
def test_atoms_beside_places_whose_atoms_are_all_active_keep_their_own_tails(rank):
    """A run of atoms that are all active is as long as what a kernel keeps at once, at any place and of any code."""
    channels, taps, stride, grid = [(8, (12,), (8,), (64,)), (8, (4, 6), (2, 4), (16, 16))][rank - 1]
    dictionary = support.nearly_orthogonal(7, 64, channels, taps, stride, grid, 0.06)
    rng = np.random.default_rng(70)
    codes = np.zeros((12, *dictionary.code_shape))
    for code in codes:
        places = np.moveaxis(code, 0, -1).reshape(-1, dictionary.n_filters)
        places[rng.choice(len(places), 2, replace=False)] = rng.uniform(0.9, 1, dictionary.n_filters)
        np.moveaxis(code, 0, -1)[...] = places.reshape(*dictionary.positions, -1)
    listed = RaggedCodes.from_dense(codes, dictionary.code_shape)
    eps = np.zeros(len(codes))
    for beta in (0.3, 0.4):
        expected = layer_failure(dictionary, listed, eps, eps, threshold=np.full(len(codes), beta))[2]
        assert ((expected > 0) & (expected < 1)).any()
        found = failure_at(dictionary, listed, beta, eps, eps, tail="hoeffding")
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("name", [name for name in support.DICTIONARIES if "orthonormal" not in name])
def test_sharp_tails_of_drawn_atoms_have_the_bound_as_their_mean(name):
    dictionary, rng, repeats = support.DICTIONARIES[name](), np.random.default_rng(90), 400
    dense = support.near_limit_codes(rng, dictionary, rng.integers(6, 10, 48))
    codes, gram = RaggedCodes.from_dense(dense, dictionary.code_shape), support.dense_gram(dictionary)
    smallest = np.where(dense != 0, np.abs(dense), np.inf).reshape(48, -1).min(axis=1)
    nothing, positions, compared = np.zeros(48), math.prod(dictionary.positions), 0
    guard = np.full(48, 1e-14)

    def at(tail, drawn=None):
        return failure_at(dictionary, codes, smallest / 2, nothing, guard, tail=tail, drawn=drawn)

    def best(tail, drawn=None):
        return best_failure(dictionary, codes, nothing, guard, tail=tail, drawn=drawn)

    closed, bound = at("gaussian"), at("exact")
    drawn = np.array([at("exact", DrawnAtoms.of(rng, 48)) for _ in range(repeats)])
    error = 5 * drawn.std(axis=0) / math.sqrt(repeats)
    mean = drawn.mean(axis=0)
    assert (drawn <= np.minimum(closed, 1) * (1 + 1e-12)).all()
    assert (mean <= bound + error + 1e-12).all()  # some atoms of the bound itself keep looser tails
    with_room = [best("exact", DrawnAtoms.of(rng, 48, room=0.5)) for _ in range(repeats)]
    of_best = np.array([probability for _, probability in with_room])
    for row in range(48):
        exact = broken(gram, dense[row], np.full(positions * dictionary.n_filters, smallest[row] / 2), 0.0)
        assert exact <= mean[row] + error[row] + 1e-12
        beta = with_room[0][0][row]  # another one for each draw: each bounds what happens at its own
        chosen = of_best[[thresholds[row] == beta for thresholds, _ in with_room], row]
        exact = broken(gram, dense[row], np.full(positions * dictionary.n_filters, beta), 0.0)
        assert exact <= chosen.mean() + 5 * chosen.std() / math.sqrt(len(chosen)) + 1e-12
        compared += mean[row] > 0 and closed[row] < 1
    assert (of_best <= np.maximum(0.5, best("gaussian")[1]) * (1 + 1e-12) + (best("gaussian")[1] > 1)).all()
    assert compared > 2


def test_a_draw_is_the_bound_where_closed_tails_add_up_to_more_than_one():
    dictionary = support.nearly_orthogonal(1, 8, 1, (16,), (8,), (48,), 0.25)
    rng = np.random.default_rng(8)
    codes = RaggedCodes.from_dense(
        support.random_codes(rng, dictionary.code_shape, np.full(24, 14), np.ones(24)), dictionary.code_shape
    )
    nothing, guard = np.zeros(24), np.full(24, 1e-14)
    arguments = (dictionary, codes, 0.5, nothing, guard)
    closed = failure_at(*arguments, tail="gaussian") == 1
    drawn = failure_at(*arguments, drawn=DrawnAtoms.of(rng, 24))
    assert closed.any()
    np.testing.assert_array_equal(drawn[closed], failure_at(*arguments)[closed])
    with pytest.raises(UserError, match="leave `drawn` out"):
        best_failure(dictionary, codes, nothing, guard, by_filter=True, drawn=DrawnAtoms.of(rng, 24))


def test_the_bound_is_the_sum_of_exact_tails_at_a_threshold():
    dictionary = support.nearly_orthogonal(1, 8, 1, (16,), (8,), (48,), 0.25)
    rng = np.random.default_rng(8)
    dense = support.random_codes(rng, dictionary.code_shape, np.full(24, 8), np.ones(24))
    codes, gram = RaggedCodes.from_dense(dense, dictionary.code_shape), support.dense_gram(dictionary)
    found, compared = failure_at(dictionary, codes, 0.55, np.zeros(24), np.full(24, 1e-14)), 0
    for row in range(24):
        x = dense[row].ravel()
        totals = []
        for slack in (0.0, 0.01):  # what the lattice may cost of a margin
            margins = np.where(x != 0, 1 - 0.55, 0.55) * (1 - slack)
            own = [enumerated((x * g)[x != 0], t, a == 0) for a, g, t in zip(x, gram, margins, strict=True)]
            totals.append(sum(own))
        if totals[1] < 1:
            assert totals[0] * (1 - 1e-12) <= found[row]
            # A few of the atoms, the least important ones, keep a looser tail.
            assert found[row] <= 1.1 * totals[1] + 1e-12 or totals[0] == 0
            compared += totals[0] > 0
    assert compared > 5


@pytest.mark.parametrize("name", support.DENSE)
def test_exact_failure_of_the_first_layer_in_the_plain_model_stays_below_its_bound(name):
    rng = np.random.default_rng(30)
    failing = sharper = 0
    for size in (0.12, 0.15, 0.18, 0.21, 0.24, 0.36, 0.48):
        cascade = support.DENSE[name](size)
        above, below = cascade.dictionaries
        dense = support.one_per_group(rng, below, 4, np.full(24, 9))
        deepest, guard = RaggedCodes.from_dense(dense, below.code_shape), np.full(24, 1e-14)
        before = np.ones(24)
        for tail in TAILS:
            betas, found = sharp_tails.plain_best_failure(cascade, deepest, 1, 0 * guard, guard, tail=tail)
            assert (found <= before).all()
            at = sharp_tails.plain_failure_at(cascade, deepest, 1, betas, 0 * guard, guard, tail=tail)
            np.testing.assert_allclose(at[found < 1], found[found < 1], rtol=0.2)
            before = found
        loose = support.instance_failure(Propagation.of(cascade).interference(deepest, 1), betas, 0 * guard, guard)
        for row in np.flatnonzero((found > 0) & (found < 1)):
            trials = np.zeros((512, below.n_atoms))
            trials[:, np.flatnonzero(dense[row])] = support.all_signs(9)
            codes = below.synthesize(trials.reshape(-1, *below.code_shape))
            correlations = above.correlate(above.synthesize(codes))
            wrong = ((np.abs(correlations) > betas[row]) != (codes != 0)).reshape(512, -1).any(axis=1)
            assert wrong.mean() <= found[row] * (1 + 1e-11)
            failing += wrong.any()
            sharper += found[row] < 0.7 * loose[row]
    assert failing > 3
    assert sharper > 5


def test_gaussian_noise_is_counted_in():
    """Monte Carlo over signs and noise, at a family-wise error of 0.1 %."""
    dictionary = support.DICTIONARIES["1-D, stride 8 of 16 taps"]()
    rng = np.random.default_rng(40)
    dense = support.random_codes(rng, dictionary.code_shape, np.full(6, 10), np.ones(6), dictionary.overlap)
    codes, guard, sigma = RaggedCodes.from_dense(dense, dictionary.code_shape), np.full(6, 1e-14), 0.1
    before, informative = np.ones(6), 0
    for tail in TAILS:
        beta, found = best_failure(dictionary, codes, np.zeros(6), guard, tail=tail, noise_variance=sigma**2)
        assert (found <= before).all()
        before = found
    trials = 4000
    for row in range(6):
        signed = dense[row] * rng.choice([-1.0, 1.0], (trials, *dense[row].shape))
        signals = dictionary.synthesize(signed)
        correlations = dictionary.correlate(signals + sigma * rng.standard_normal(signals.shape))
        wrong = ((np.abs(correlations) > beta[row]) != (signed != 0)).reshape(trials, -1).any(axis=1).sum()
        assert support.clopper_pearson_lower(wrong, trials, 1 - 0.001 / 6) <= found[row]
        informative += 0.001 < found[row] < 1
    assert informative > 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0], [1], 1.0, "exat"), "exact"),
        (([1.0], [2], 1.0, "exact"), "row sizes"),
        (([np.nan], [1], 1.0, "exact"), "not finite"),
    ],
)
def test_wrong_questions_are_refused_with_a_sentence(arguments, words):
    *sums_asked, tail = arguments
    with pytest.raises(UserError, match=words):
        tail_probability(*sums_asked, tail=tail)
