"""
No bound lies below an exact failure rate: small cascades, enumerated over the signs of all their layers.

Each cascade is asked a few questions, with options at random, of every public guarantee. What was asked of which
option, how often the answer was not vacuous (a bound below 1) and how often something did fail all the same is
counted, shown at the end of the run, and must not be nothing.
"""

import itertools

import numpy as np
import pytest
import threadpoolctl

from dcsc import guarantees, parallel
from tests.theory import enumeration
from tests.theory.enumeration import Pursuit, failure_rate

SLACK = 1e-9


class Tally:
    """How often each option was asked for, had a bound below 1, and failed nevertheless."""

    def __init__(self):
        self.counts = {}
        self.wrong = []

    def check(self, name, options, bound, exact, where):
        """Compare one bound with one exact failure rate."""
        if exact > bound + SLACK:
            self.wrong.append((name, options, bound, exact, where))
        for option in (f"depth {where[1]}", *(f"{key} {value}" for key, value in options.items())):
            asked = self.counts.setdefault((name, option), np.zeros(3, dtype=int))
            asked += (1, bound < 1 - SLACK, bound < 1 - SLACK and exact > SLACK)

    def lines(self):
        """The table for the test's output."""
        head = f"{'guarantee':15} {'option':24} {'asked':>7} {'bound < 1':>10} {'and some fail':>14}"
        counts = sorted(self.counts.items())
        return [head, *(f"{name:15} {option:24} {a:7} {b:10} {c:14}" for (name, option), (a, b, c) in counts)]


def choose(rng, **options):
    return {name: values[rng.integers(len(values))] for name, values in options.items()}


def floors(codes):
    """X_min of each code, 1 without non-zeros."""
    smallest = np.where(codes != 0, np.abs(codes), np.inf).min(axis=1)
    return np.where(np.isfinite(smallest), smallest, 1.0)


def filled(thresholds, small=None):
    """One threshold a draw, or with the cascade, from one a draw and filter, one a draw and atom."""
    if small is None:
        return [np.asarray(beta, dtype=float).ravel() for beta in thresholds]
    counts = [len(filters) for filters in small.filters]
    atoms = [matrix.shape[1] for matrix in small.matrices]
    return [np.repeat(beta, n // count, axis=1) for beta, n, count in zip(thresholds, atoms, counts, strict=True)]


def noise_of(rng, kind):
    eps = float(rng.choice([0.01, 0.05, 0.15])) if kind in ("bounded", "unbounded") else 0.0
    return {
        "noise": eps,
        "noise_deviation": float(rng.choice([0.02, 0.06])) if kind == "Gaussian" else 0.0,
        "noise_failure": 0.1 if kind == "unbounded" else 0.0,
    }


def rate(paths, pursuit, noise):
    """Exact failure rate where the noise exceeds its bound, and then spoils everything, as often as it may."""
    exact = failure_rate(paths, pursuit, noise["noise"], noise["noise_deviation"])
    return noise["noise_failure"] + (1 - noise["noise_failure"]) * exact


def ask_uniform(rng, paths, tally, where):
    options = choose(
        rng, rule=["hard", "soft", "relu"], form=["coherence", "babel", "instance"],
        threshold=["midpoint", "lower", "given"], noise=["none", "bounded"],
    )  # fmt: skip
    noise = noise_of(rng, options["noise"])
    given = [0.5 * floors(code) for code in paths.codes]
    asked = {"rule": options["rule"], "form": options["form"]}
    asked["threshold"] = given if options["threshold"] == "given" else options["threshold"]
    found = guarantees.uniform(paths.small.cascade, paths.small.shaped(paths.codes), noise["noise"], **asked)
    bound = 1 - found.holds.mean()
    exact = rate(paths, Pursuit(options["rule"], filled(found.thresholds)), noise)
    tally.check("uniform", options, bound, exact, where)
    if options["rule"] == "hard":
        tally.check("uniform", {"rule": "top-k"}, bound, rate(paths, Pursuit("top-k"), noise), where)


def ask_statistical(rng, paths, tally, where, signs):
    depth = paths.small.depth
    options = choose(
        rng, form=["coherence", "babel2", "instance", "instance"], rule=["hard", "soft", "relu"],
        method=["split", "optimised"], debias=[False, True], threshold=["midpoint", "lower"],
        noise=["none", "none", "bounded", "Gaussian", "unbounded"], split=["equal", "unequal"], delta=[0.15, 0.6],
        tail=guarantees.TAILS, by_filter=[False, False, True],
    )  # fmt: skip
    if signs == "deepest":
        options |= {"form": "instance", "rule": str(rng.choice(["hard", "soft"]))}
    if options["debias"] and options["noise"] == "Gaussian" and depth > 1:
        options["noise"] = "none"
    if options["method"] == "optimised":
        del options["threshold"], options["split"]
        if depth > 1 and not options["debias"]:
            options["form"] = "instance"
    if options["by_filter"]:
        options["form"] = options["form"].replace("babel2", "coherence")
        options["by_filter"] = options["method"] == "split" or options["debias"] or depth == 1
    noise = noise_of(rng, options["noise"])
    shares = rng.dirichlet(np.ones(depth)) * 0.9 + 0.1 / depth
    asked = {name: value for name, value in options.items() if name not in ("noise", "split")} | noise
    if options.get("split") == "unequal":
        asked["split"] = shares / shares.sum()
    found = guarantees.statistical(paths.small.cascade, paths.small.shaped(paths.codes), signs=signs, **asked)
    bound = found.failure_rate_bound
    thresholds = filled(found.thresholds, paths.small if options["by_filter"] else None)
    pursuit = Pursuit(options["rule"], thresholds, options["debias"])
    exact = rate(paths, pursuit, noise)
    tally.check("statistical", {"signs": signs, **options}, bound, exact, where)
    is_exact = options["debias"] or depth == 1
    if is_exact and options["rule"] == "hard" and not noise["noise_deviation"] and not options["by_filter"]:
        exact = rate(paths, Pursuit("top-k", debias=options["debias"]), noise)
        tally.check("statistical", {"rule": "top-k"}, bound, exact, where)
    if found.determined.all():  # all draws have one deepest code, so that a bound for one of them is one for all
        exact = rate(paths, pursuit, noise)
        tally.check("statistical", {"bound": "of a draw"}, float(found.probability.min()), exact, where)


def ask_as_run(rng, paths, tally, where, signs):
    options = choose(
        rng, rule=["hard", "soft", "relu", "top-k"], debias=[False, True],
        thresholds=["half", "near", "best"], delta=[0.15, 0.6], tail=guarantees.TAILS,
    )  # fmt: skip
    if signs == "deepest" and options["rule"] == "relu":
        options["rule"] = "hard"
    if options["rule"] == "top-k":
        options["thresholds"] = "best"
    if options["thresholds"] == "best" and options["rule"] != "top-k":
        options["thresholds"] = "half"
    factor = 0.5 if options["thresholds"] == "half" else rng.uniform(0.4, 1.0)
    betas = [factor * floors(code) for code in paths.codes]
    rule = "hard" if options["rule"] == "top-k" else options["rule"]
    interference = guarantees.path_interference(paths.small.cascade, paths.small.shaped(paths.codes), signs)
    found = guarantees.as_run(
        interference, None if options["rule"] == "top-k" else betas, rule=rule, debias=options["debias"],
        delta=options["delta"], tail=options["tail"],
    )  # fmt: skip
    exact = failure_rate(paths, Pursuit(options["rule"], betas, options["debias"]))
    tally.check("as_run", {"signs": signs, **options}, found.failure_rate_bound, exact, where)
    if found.determined.all():
        tally.check("as_run", {"bound": "of a draw"}, float(found.failure_bound.min()), exact, where)


def ask_ladder(rng, paths, tally, where):
    options = choose(
        rng, rule=["hard", "soft", "relu"], threshold=["midpoint", "lower"], method=["split", "optimised"],
        debias=[False, True], noise=["none", "bounded", "Gaussian", "unbounded"], tail=guarantees.TAILS,
    )  # fmt: skip
    if options["debias"] and paths.small.depth > 1 and options["noise"] == "Gaussian":
        options["noise"] = "none"
    noise = noise_of(rng, options["noise"])
    asked = {name: options[name] for name in ("rule", "threshold", "method", "debias", "tail")}
    found = guarantees.ladder(paths.small.cascade, paths.small.shaped(paths.codes), **noise, **asked, delta=0.6)
    for name in guarantees.THRESHOLDING_RUNGS:
        if name not in found.rungs:
            continue
        rung, uniform = found[name], name.startswith("uniform")
        bound = 1 - rung.holds.mean() if uniform else rung.failure_rate_bound
        pursuit = Pursuit(options["rule"], filled(rung.thresholds), options["debias"] and not uniform)
        exact = rate(paths, pursuit, noise if not uniform else {**noise, "noise_failure": 0.0})
        tally.check("ladder", {"rung": name, **options}, bound, exact, where)


def ask_basis_pursuit(rng, paths, tally, where):
    """Each code that is promised, with all signs, by linear programs, or by many steps of proximal gradients."""
    from scipy.optimize import linprog

    options = choose(rng, form=["coherence", "babel"], noise=["none", "bounded"])
    eps = 1e-3 if options["noise"] == "bounded" else 0.0
    found = guarantees.basis_pursuit(paths.small.cascade, paths.small.shaped(paths.codes), eps, form=options["form"])
    matrix, failed = paths.small.matrices[0], 0.0
    solved = {}
    for draw in np.flatnonzero(found.layers[0].holds):
        size = np.abs(paths.codes[0][draw])
        active = np.flatnonzero(size)
        if size.tobytes() in solved or len(active) > 4 or len(solved) > 3:
            continue
        wrong = []
        for choice in itertools.product([1.0, -1.0], repeat=max(len(active) - 1, 0)):
            code = size.copy()
            code[active[1:]] *= choice if len(active) else 1.0
            if eps:
                noise = eps * matrix[:, rng.integers(matrix.shape[1])] * rng.choice([-1, 1])
                fitted = proximal_gradients(matrix, matrix @ code + noise, float(found.layers[0].penalty[draw]))
                wrong.append(((np.abs(fitted) > 1e-9) != (code != 0)).any())
                continue
            both = np.hstack([matrix, -matrix])
            fitted = linprog(np.ones(both.shape[1]), A_eq=both, b_eq=matrix @ code, method="highs").x
            wrong.append(np.abs(fitted[: len(code)] - fitted[len(code) :] - code).max() > 1e-6)
        solved[size.tobytes()] = np.mean(wrong)
    failed = max(solved.values(), default=0.0)
    tally.check("basis_pursuit", options, 1 - bool(solved), failed if solved else 1.0, where)


def proximal_gradients(matrix, signal, penalty):
    step, code = 1 / np.linalg.norm(matrix, 2) ** 2, np.zeros(matrix.shape[1])
    for _ in range(3000):
        moved = code + step * (matrix.T @ (signal - matrix @ code))
        code = np.sign(moved) * np.maximum(np.abs(moved) - step * penalty, 0)
    return code


def ask_uniqueness(rng, paths, tally, where):
    """No other code with as few non-zeros in a stripe makes the same signal; tried for up to three atoms."""
    form = str(rng.choice(["coherence", "babel"]))
    found = guarantees.uniqueness(paths.small.cascade, paths.small.shaped(paths.codes), form=form)
    matrix = paths.small.matrices[0]
    rows = [row for row in np.flatnonzero(found) if 0 < np.count_nonzero(paths.codes[0][row]) <= 3][:2]
    other = False
    for row in rows:
        code = paths.codes[0][row]
        signal, k = matrix @ code, np.count_nonzero(code)
        for support in itertools.combinations(range(matrix.shape[1]), k):
            atoms = matrix[:, support]
            fitted = np.linalg.pinv(atoms) @ signal
            if np.abs(atoms @ fitted - signal).max() < 1e-9:
                moved = code.copy()
                moved[list(support)] -= fitted
                other |= bool(np.abs(moved).max() > 1e-6) or np.linalg.matrix_rank(atoms) < k
    tally.check("uniqueness", {"form": form}, 1 - bool(rows), float(other) if rows else 1.0, where)


def ask_certified_stripe_sparsity(rng, paths, tally, where):
    """Supports as full as a closed form certifies, by top-k (for all signs) or thresholded at X_min/2."""
    options = choose(rng, rung=["uniform-coherence", "uniform-babel", "statistical-coherence", "statistical-babel2"])
    small = enumeration.Small(paths.small.filters[:1], paths.small.strides[:1], paths.small.grids[:1])
    (dictionary,) = small.cascade.dictionaries
    delta = 0.0 if options["rung"].startswith("uniform") else 0.9
    found = guarantees.certified_stripe_sparsity(dictionary, delta=delta or 0.5, rung=options["rung"])
    size = min(found.stripe_sparsity, 8, dictionary.n_atoms)
    exact, trials = 0.0, 3 if size else 0
    for _ in range(trials):
        code = np.zeros(dictionary.n_atoms)
        code[rng.choice(len(code), size, replace=False)] = 1.0
        alone = enumeration.random_sign_paths(small, code)
        pursuit = Pursuit("hard", [np.array([0.5])]) if delta else Pursuit("top-k")
        exact = max(exact, failure_rate(alone, pursuit))
    tally.check("certified", options, delta if trials else 1.0, exact if trials else 1.0, where)


def enumerate_cascades(seed, count):
    """Ask every guarantee a few questions about some cascades."""
    rng, tally = np.random.default_rng(seed), Tally()
    for number in range(count):
        small = enumeration.random_small(rng)
        deepest = enumeration.random_deepest(rng, small)
        paths, where = enumeration.random_sign_paths(small, deepest), (number, small.depth)
        if paths is None:
            continue
        ask_statistical(rng, paths, tally, where, "rademacher")
        ask_as_run(rng, paths, tally, where, "rademacher")
        plain = enumeration.plain_paths(small, deepest)
        if number % 2 == 0:
            ask_statistical(rng, plain, tally, where, "deepest")
            ask_as_run(rng, plain, tally, where, "deepest")
        ask_uniform(rng, paths, tally, where)
        others = (ask_ladder, ask_basis_pursuit, ask_uniqueness, ask_certified_stripe_sparsity)
        others[number % len(others)](rng, paths, tally, where)
    return tally


@pytest.mark.parametrize(("seed", "count"), [(1, 500), pytest.param(2, 3000, marks=pytest.mark.slow)])
def test_no_bound_lies_below_an_exact_failure_rate(seed, count, record_property, monkeypatch):
    monkeypatch.setenv(parallel.ENVIRONMENT_VARIABLE, "1")  # the calls are too small for threads
    with threadpoolctl.threadpool_limits(1):
        tally = enumerate_cascades(seed, count)
    record_property("enumeration", tally.lines())
    assert not tally.wrong, tally.wrong[:5]
    vacuous = [f"{name}: {option}" for (name, option), (_, useful, _) in tally.counts.items() if not useful]
    assert not vacuous, f"never a bound below 1 for {vacuous}"


def test_noiseless_debiasing_is_capped_layer_by_layer():
    """Capped for each draw before the mean, the sum of the layers' bounds is 0.93, and every choice of signs fails."""
    small, deepest = enumeration.aligned_sum(3, 0.2, 0.345, 0.3)
    paths = enumeration.random_sign_paths(small, deepest)
    found = guarantees.statistical(small.cascade, small.shaped(paths.codes), method="optimised", debias=True)
    assert failure_rate(paths, Pursuit("hard", filled(found.thresholds), debias=True)) == 1
    assert failure_rate(paths, Pursuit("top-k", debias=True)) == 1
    assert found.failure_rate_bound == 1
    of_layers = np.sum([layer.probability for layer in found.layers], axis=0)
    assert np.minimum(1, of_layers).mean() < 0.95
    assert np.isnan(found.probability).all()
    assert not found.certified.any()
    codes = small.shaped(paths.codes)
    closed = guarantees.statistical(small.cascade, codes, method="optimised", debias=True, tail="hoeffding")
    sums = np.sum([layer.probability for layer in closed.layers], axis=0)
    assert (round(sums.mean(), 2), round(np.minimum(1, sums).mean(), 2)) == (1.46, 0.93)  # as docs/theory.md says
    interference = guarantees.path_interference(small.cascade, small.shaped(paths.codes))
    as_run = guarantees.as_run(interference, found.thresholds, debias=True)
    assert as_run.failure_rate_bound == 1
    assert np.minimum(1, as_run.failure_bound).mean() < 0.95
    assert not as_run.determined.any()


def test_what_is_admitted_counts_for_draws_that_are_not_certified_too():
    """The few draws that are certified are those that fail: delta of them is less than their share."""
    small, deepest = enumeration.aligned_sum(9, 0.02, 0.112, 0.0)
    paths = enumeration.random_sign_paths(small, deepest)
    betas = [np.full(len(code), beta) for code, beta in zip(paths.codes, (0.16, 0.97), strict=True)]
    interference = guarantees.path_interference(small.cascade, small.shaped(paths.codes))
    found = guarantees.as_run(interference, betas, delta=0.9)
    certified = found.failure_bound < 1
    assert certified.mean() == 2 / 512
    assert failure_rate(paths, Pursuit("hard", betas)) == 1
    assert np.where(certified, 0.9, 1.0).mean() < 1
    assert found.failure_rate_bound == 1


def test_exactly_dependent_supports_are_refused():
    """Integer columns, one of them a combination of others, and the simplex: least squares has no answer there."""
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(400):
        channels = int(rng.integers(3, 20))
        columns = rng.integers(-3, 4, (channels, int(rng.integers(2, channels + 1))))
        columns[:, -1] = columns[:, :-1] @ rng.integers(-3, 4, columns.shape[1] - 1)
        if not np.abs(columns).sum(axis=0).all():
            continue
        _refused(columns.T / np.linalg.norm(columns, axis=0)[:, None])
        refused += 1
    assert refused > 300
    simplex = np.eye(301) - 1 / 301
    basis = np.linalg.svd(simplex)[0][:, :300]
    _refused(basis / np.linalg.norm(basis, axis=1)[:, None])


def _refused(atoms):
    """No certificate of least squares on all atoms, for one layer or above another one."""
    filters = np.pad(atoms, ((0, 1), (0, 1)))
    filters[-1, -1] = 1
    small = enumeration.Small([filters[..., None], np.append(np.ones(len(atoms)), 0.0)[None, :, None]], [1, 1], [1, 1])
    small.filters[1] /= np.linalg.norm(small.filters[1])
    model = small.cascade
    codes = [code[None, :, None] for code in (small.filters[1][0, :, 0], np.ones(1))]
    gain, smallest = guarantees.least_squares_gain(model.dictionaries[0], codes[0])
    assert gain[0] == np.inf
    assert smallest[0] == 0
    for method in ("split", "optimised"):
        found = guarantees.statistical(model, codes, method=method, debias=True, delta=0.9)
        assert not found.certified[0]
        assert found.failure_rate_bound == 1
        assert "linearly dependent" in found.reason
    interference = guarantees.path_interference(model, codes)
    for thresholds in ([0.0, 0.5], None):
        as_run = guarantees.as_run(interference, thresholds, debias=True)
        assert as_run.failure_rate_bound == 1
        assert not as_run.covered[0]
