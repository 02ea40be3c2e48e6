"""The ladder and the sparsity that each rung certifies."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import dcsc
import dcsc.families
from dcsc import Cascade, RaggedCodes, guarantees
from dcsc.errors import UserError
from tests.theory import support

CLOSED = tuple(rung for rung in guarantees.RUNGS if not rung.endswith("instance"))


def test_ladder_gives_every_rung_of_a_layer_and_of_a_path():
    rng = np.random.default_rng(3000)
    for cascade in (
        Cascade([support.DICTIONARIES["2-D, stride 2 of 4 x 3 taps"]()]),
        support.CASCADES["1-D, groups, two layers"](),
    ):
        last = cascade.dictionaries[-1]
        deepest = support.random_codes(rng, last.code_shape, rng.integers(0, 9, 200), np.ones(200))
        found = guarantees.ladder(cascade, cascade.synthesize(deepest)[1:], delta=0.1)
        assert tuple(found.rungs) == guarantees.RUNGS
        holds = [found.holds[rung] for rung in guarantees.RUNGS]
        for weak, strong in ((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9)):
            assert not (holds[weak] & ~holds[strong]).any()
        if cascade.depth == 1:
            assert not (holds[2] & ~holds[5]).any()
        assert all(found.reasons[rung] == "" or not found.holds[rung].all() for rung in guarantees.RUNGS)
        assert found["uniform-babel"].form == "babel"
        with pytest.raises(UserError, match="did you mean 'uniform-babel'"):
            found["uniform-bable"]
    gaussian = guarantees.ladder(cascade, cascade.synthesize(deepest)[1:], noise_deviation=0.01)
    assert tuple(gaussian.rungs) == guarantees.THRESHOLDING_RUNGS[3:]


@pytest.mark.parametrize("rung", CLOSED)
@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_certified_stripe_sparsity_is_the_last_that_the_guarantee_covers(name, rung):
    dictionary = support.DICTIONARIES[name]()
    if rung == "statistical-coherence" or rung == "statistical-babel2":
        # At these sizes a single non-zero is seldom certified: ask of a dictionary of lower coherence.
        identity = np.eye(8)[:, None]
        filters = identity + 0.01 * np.random.default_rng(4).standard_normal((8, 1, 8))
        dictionary = dcsc.ConvolutionalDictionary(filters, 4, (48,), normalize=True)
    for contrast, noise_ratio in ((1.0, 0.0), (0.7, 0.0), (0.8, 0.05), (0.5, 0.25)):
        found = guarantees.certified_stripe_sparsity(dictionary, contrast, 0.05, rung=rung, noise_ratio=noise_ratio)
        k = found.stripe_sparsity
        assert 0 <= k <= dictionary.stripe_size
        for size, certain in ((k, True), (k + 1, False)):
            if not 1 <= size <= dictionary.stripe_size or (size == 1 and contrast < 1):
                continue
            code = np.zeros((dictionary.n_filters, *dictionary.positions))
            slots = [(i, *p) for p in np.ndindex(*dictionary.positions) for i in range(dictionary.n_filters)]
            window = [slot for slot in slots if all(q < 2 * n - 1 for q, n in zip(slot[1:], dictionary.overlap))]
            for slot in window[:size]:
                code[slot] = contrast
            code[window[0]] = 1.0
            if dcsc.stripe_norm(code, dictionary) != size:
                continue
            step = guarantees.ladder(Cascade([dictionary]), [code], noise_ratio, delta=0.05)[rung]
            assert bool(step.holds) == certain


def test_certified_sparsity_orders_and_saturates():
    dictionary = support.DICTIONARIES["1-D, stride 8, low coherence"]()
    sparsity = {rung: guarantees.certified_stripe_sparsity(dictionary, rung=rung) for rung in CLOSED}
    assert sparsity["uniform-coherence"].stripe_sparsity <= sparsity["uniform-babel"].stripe_sparsity
    assert sparsity["statistical-coherence"].stripe_sparsity <= sparsity["statistical-babel2"].stripe_sparsity
    mu = dcsc.mutual_coherence(dictionary)
    assert sparsity["uniform-coherence"].limit == pytest.approx((1 + 1 / mu) / 2)
    source = guarantees.certified_stripe_sparsity(dictionary, rung="statistical-coherence", tail="hoeffding")
    assert source.limit == pytest.approx(1 / (8 * mu**2 * math.log(2 * dictionary.n_atoms / 0.01)))
    quantile = scipy.stats.norm.isf(4 * scipy.stats.norm.sf(math.sqrt(2)) * 0.01 / (2 * dictionary.n_atoms))
    assert sparsity["statistical-coherence"].limit == pytest.approx(1 / (4 * mu**2 * quantile**2))
    assert sparsity["statistical-coherence"].limit > source.limit
    assert sparsity["basis-pursuit-uniform-coherence"].limit == sparsity["uniform-coherence"].limit
    assert sparsity["basis-pursuit-uniform-babel"].stripe_sparsity == sparsity["uniform-babel"].stripe_sparsity
    tighter = guarantees.certified_stripe_sparsity(dictionary, delta=1e-6, rung="statistical-babel2")
    assert tighter.stripe_sparsity <= sparsity["statistical-babel2"].stripe_sparsity
    larger = guarantees.certified_stripe_sparsity(dictionary, n_atoms=10**9, rung="statistical-coherence")
    assert larger.limit < sparsity["statistical-coherence"].limit
    orthonormal = support.DICTIONARIES["2-D, orthonormal"]()
    for rung in CLOSED:
        assert guarantees.certified_stripe_sparsity(orthonormal, 0.5, rung=rung).stripe_sparsity == 4
        assert guarantees.certified_stripe_sparsity(orthonormal, 0.5, rung=rung, noise_ratio=0.3).stripe_sparsity == 0
    with pytest.raises(UserError, match="without noise"):
        guarantees.certified_stripe_sparsity(
            orthonormal,
            rung="basis-pursuit-uniform-instance",
            noise_ratio=0.1,
            draws={
                1: support.random_codes(np.random.default_rng(1), orthonormal.code_shape, np.ones(3, int), np.ones(3))
            },
        )


def test_instance_rungs_search_draws_or_a_sampler():
    dictionary = support.nearly_orthogonal(41, 8, 1, (12,), (8,), (192,), 0.2)
    calls = []

    def sampler(size):
        calls.append(size)
        rng = np.random.default_rng(size)
        return support.random_codes(rng, dictionary.code_shape, np.full(400, size), np.ones(400))

    found = {
        rung: guarantees.certified_stripe_sparsity(dictionary, rung=rung, draws=sampler, sizes=range(1, 60))
        for rung in ("uniform-instance", "statistical-instance")
    }
    # Upwards, size after size, until the first that fails.
    for rung, certified in found.items():
        assert certified.next_size == certified.size + 1, rung
    assert calls == [
        size for rung in ("uniform-instance", "statistical-instance") for size in range(1, found[rung].next_size + 1)
    ]
    assert 1 < found["uniform-instance"].size <= found["statistical-instance"].size
    babel = guarantees.certified_stripe_sparsity(dictionary, rung="uniform-babel")
    assert babel.stripe_sparsity <= found["uniform-instance"].stripe_sparsity
    assert "by its limit at 95% over 400 draws" in found["uniform-instance"].obtained
    few = guarantees.certified_stripe_sparsity(
        dictionary, rung="uniform-instance", draws=lambda size: sampler(size)[:200], sizes=[1, 2]
    )
    assert few.size == 0
    assert "that takes 299 draws or more" in few.obtained
    half = guarantees.certified_stripe_sparsity(
        dictionary, rung="statistical-instance", draws=sampler, sizes=range(1, 60), threshold=0.3
    )
    assert half.size < found["statistical-instance"].size
    stored = {size: RaggedCodes.from_dense(sampler(size), dictionary.code_shape) for size in (2, 4, 96)}
    again = guarantees.certified_stripe_sparsity(dictionary, rung="statistical-instance", draws=stored)
    assert again.size in stored
    in_parts = guarantees.certified_stripe_sparsity(
        dictionary,
        rung="statistical-instance",
        draws=lambda size: iter([stored[size].rows(slice(0, 250)), stored[size].rows(slice(250, 400))]),
        sizes=stored,
    )
    assert in_parts == again
    with pytest.raises(UserError, match="pass draws"):
        guarantees.certified_stripe_sparsity(dictionary, rung="uniform-instance")
    with pytest.raises(UserError, match="give a contrast"):
        guarantees.certified_stripe_sparsity(dictionary, 0.0, rung="uniform-babel")


def test_every_statement_that_the_code_cites_is_in_the_documentation():
    root = Path(__file__).parents[2]
    theory = (root / "docs" / "theory.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^#+ (.*)$", theory, re.MULTILINE))
    cited = set()
    for path in (root / "dcsc").rglob("*.py"):
        text = re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
        for passage in re.findall(r"docs/theory\.md[,:]((?: ?(?:and|,)? ?\"[^\"]+\"(?: \([^)]*\))?,?)+)", text):
            cited.update(re.findall(r'"([^"]+)"', passage))
    assert len(cited) > 10
    assert cited <= headings
    assert "MT18 Theorem" not in theory


@pytest.mark.slow
def test_statistical_coherence_certifies_more_than_the_uniform_limit_on_long_optimised_filters():
    dictionary = dcsc.families.create("optimised", grid=(16384,), n_filters=2, taps=4096, seed=0)
    uniform, statistical = (
        guarantees.certified_stripe_sparsity(dictionary, rung=rung).stripe_sparsity
        for rung in ("uniform-coherence", "statistical-coherence")
    )
    assert uniform + 20 < statistical
    rng = np.random.default_rng(3100)
    codes = np.zeros((3, 2, 16384))
    for code in codes:
        code.reshape(2, -1)[:, :8191].flat[rng.choice(2 * 8191, statistical, replace=False)] = 1.0
    codes *= rng.choice([-1.0, 1.0], codes.shape)
    assert (dcsc.stripe_norm(codes, dictionary) == statistical).all()
    found = guarantees.ladder(Cascade([dictionary]), [codes], delta=0.01)
    assert not found.holds["uniform-coherence"].any()
    assert found.holds["statistical-coherence"].all()
    pursued = support.pursue(Cascade([dictionary]), dictionary.synthesize(codes), "hard", [np.full(3, 0.5)])
    assert ((pursued.codes[0] != 0) == (codes != 0)).all()
