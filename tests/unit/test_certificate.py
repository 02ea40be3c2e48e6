"""Certificates: the same numbers as the functions they are made of, of layers and of measured codes."""

import html
import itertools
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc import guarantees
from dcsc.__main__ import main
from dcsc.certification import costs, page, report
from dcsc.convolution import gram
from dcsc.errors import UserError
from dcsc.guarantees import RUNGS
from dcsc.model import coherence, sparsity
from dcsc.model.grouped import GroupedDictionary
from dcsc.store import schemas
from tests.strategies import cascades, dense_matrix, dictionaries

CLOSED = [rung for rung in RUNGS if not rung.endswith("instance")]


@given(dictionaries(), st.floats(0.2, 1.0))
@settings(max_examples=20)
def test_a_certificate_has_the_numbers_of_the_functions(dictionary, contrast):
    (layer,) = dcsc.certify(dictionary, contrast=contrast, draws=0).layers
    assert layer.dictionary.grid == dictionary.grid
    np.testing.assert_allclose(layer.mutual_coherence, coherence.mutual_coherence(dictionary), atol=1e-12)
    assert layer.welch_bound == coherence.welch_bound(dictionary)
    counts = np.arange(dictionary.stripe_size)
    np.testing.assert_allclose(layer.babel, coherence.babel(dictionary, counts), atol=1e-9)
    np.testing.assert_allclose(layer.babel2, coherence.babel2(dictionary, counts), atol=1e-9)
    assert list(layer.certified) == CLOSED
    for rung in CLOSED:
        expected = guarantees.certified_stripe_sparsity(layer.dictionary, contrast, 0.01, rung=rung)
        assert layer.certified[rung] == expected


def test_the_rungs_that_need_supports_are_drawn_and_stand_above_the_others():
    dictionary = dcsc.families.create("perturbed", (128,), 0, base="lapped", n_filters=16, perturbation=0.1)
    first, second = (dcsc.certify(dictionary, draws=400, seed=seed).layers[0] for seed in (1, 1))
    found = {rung: certified.stripe_sparsity for rung, certified in first.certified.items()}
    assert list(found) == list(RUNGS)
    assert found["uniform-coherence"] <= found["uniform-babel"] <= found["uniform-instance"]
    assert found["uniform-instance"] <= found["statistical-instance"]
    assert found == {rung: certified.stripe_sparsity for rung, certified in second.certified.items()}


@given(cascades(max_depth=3, ranks=(1,)))
@settings(max_examples=10)
def test_every_layer_of_a_cascade_is_certified(cascade):
    found = dcsc.certify(cascade, draws=0)
    assert found.is_cascade
    for layer, dictionary in zip(found.layers, cascade.dictionaries, strict=True):
        assert layer.dictionary.grid == dictionary.grid
        np.testing.assert_allclose(layer.mutual_coherence, coherence.mutual_coherence(dictionary), atol=1e-9)


def test_signals_are_measured_through_the_layers(tmp_path):
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((4, 1, 6))
    np.savez(tmp_path / "net.npz", **{"a.weight": weight, "a.bias": np.full(4, -2.5), "a.stride": 2})
    network = dcsc.read_network(tmp_path / "net.npz")
    signals = rng.standard_normal((5, 1, 30))
    (layer,) = dcsc.certify(network, draws=0, signals=signals).measured
    dictionary = network.dictionaries((30,))[0]
    norms = network.layers[0].norms
    codes = np.maximum(dictionary.correlate(signals) - (2.5 / norms)[:, None], 0)
    np.testing.assert_array_equal(layer.active, np.count_nonzero(codes, axis=(1, 2)))
    np.testing.assert_array_equal(layer.stripe_sparsity, sparsity.stripe_norm(codes, dictionary))
    np.testing.assert_allclose(layer.contrast, sparsity.contrast(codes, 1))
    held = guarantees.ladder(dcsc.Cascade([dictionary]), [codes]).holds
    for rung in RUNGS:
        np.testing.assert_array_equal(layer.covered[rung], held[rung])
    made = dictionary.synthesize(codes)
    for trial in range(5):
        if made[trial].any():
            scale = (made[trial] * signals[trial]).sum() / (made[trial] ** 2).sum()
            rest = np.linalg.norm(signals[trial] - scale * made[trial]) / np.linalg.norm(signals[trial])
            np.testing.assert_allclose(layer.misfit[trial], rest, atol=1e-9)


def test_signals_that_the_codes_synthesize_have_no_misfit(tmp_path):
    dictionary = dcsc.families.create("lapped", (64,), n_filters=8)
    np.savez(tmp_path / "net.npz", filters=dictionary.filters, stride=8, bias=np.full(8, -0.5))
    network = dcsc.read_network(tmp_path / "net.npz")
    code = np.zeros((1, *dictionary.code_shape))
    code[0, 3, 2] = 2.0
    (layer,) = dcsc.certify(network, draws=0, signals=dictionary.synthesize(code)).measured
    assert layer.active[0] == 1
    assert layer.misfit[0] == pytest.approx(0, abs=1e-6)
    assert layer.covered["uniform-coherence"].all()


def test_biases_are_thresholds_that_recover_what_they_are_said_to(tmp_path):
    """Half the magnitude of each filter; with the same one for all filters, the weak ones are lost."""
    dictionary = dcsc.families.create("perturbed", (128,), 0, base="lapped", n_filters=8, perturbation=0.1)
    rng, sizes = np.random.default_rng(3), np.geomspace(1, 0.2, 8)
    codes = sizes[:, None] * (rng.random((60, *dictionary.code_shape)) < rng.uniform(0, 0.08, (60, 1, 1)))
    covered = {}
    for name, bias in (("own", -sizes / 2), ("common", np.full(8, -0.5))):
        np.savez(tmp_path / "net.npz", filters=dictionary.filters, stride=8, bias=bias)
        network = dcsc.read_network(tmp_path / "net.npz")
        (layer,) = dcsc.certify(network, draws=0, activations={network.layers[0].name: codes}).measured
        covered[name] = layer.covered_by_biases
        found = dictionary.correlate(dictionary.synthesize(codes)) + bias[:, None] > 0
        right = (found == (codes > 0)).all(axis=(1, 2))
        assert right[layer.covered_by_biases].all()
        assert (layer.failure_by_biases[layer.covered_by_biases] == 0).all()
    assert covered["own"].sum() > covered["common"].sum() + 10


def test_activations_are_placed_where_no_atom_wraps(tmp_path):
    """Stripes of a network that does not wrap, counted one by one."""
    rng = np.random.default_rng(2)
    np.savez(tmp_path / "net.npz", **{"a.weight": rng.standard_normal((3, 1, 5)), "a.stride": 2})
    network = dcsc.read_network(tmp_path / "net.npz")
    for positions in (1, 2, 4, 9):
        codes = np.maximum(rng.standard_normal((6, 3, positions)), 0)
        (layer,) = dcsc.certify(network, draws=0, activations={"a": codes}).measured
        for trial, p in itertools.product(range(6), range(positions)):
            near = [q for q in range(positions) if abs(p - q) < 3]
            assert layer.stripe_sparsity[trial] >= np.count_nonzero(codes[trial][:, near])
        largest = [max(np.count_nonzero(code[:, max(0, p - 2) : p + 3]) for p in range(positions)) for code in codes]
        np.testing.assert_array_equal(layer.stripe_sparsity, largest)
        scaled = codes / network.layers[0].norms[:, None]
        np.testing.assert_allclose(layer.contrast, sparsity.contrast(scaled, 1))


def test_activations_keep_the_axes_of_the_network(tmp_path):
    rng = np.random.default_rng(2)
    weight = rng.standard_normal((3, 1, 5, 1))
    weight[1] = 0
    np.savez(tmp_path / "net.npz", **{"a.weight": weight})
    network = dcsc.read_network(tmp_path / "net.npz")
    codes = np.maximum(rng.standard_normal((2, 3, 7, 1)), 0)
    (layer,) = dcsc.certify(network, draws=0, activations={"a": codes}).measured
    np.testing.assert_array_equal(layer.active, np.count_nonzero(codes[:, [0, 2]], axis=(1, 2, 3)))


def test_a_layer_of_one_tap_takes_its_signals(tmp_path):
    rng = np.random.default_rng(2)
    weight, signals = rng.standard_normal((3, 2, 1, 1)), rng.standard_normal((2, 2, 5, 4))
    np.savez(tmp_path / "net.npz", **{"a.weight": weight})
    (layer,) = dcsc.certify(dcsc.read_network(tmp_path / "net.npz"), draws=0, signals=signals).measured
    found = np.einsum("fcij,ncab->nfab", weight, signals) > 0
    np.testing.assert_array_equal(layer.active, found.sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(layer.stripe_sparsity, found.sum(axis=1).max(axis=(1, 2)))


def test_places_along_an_axis_where_nothing_happens_are_trials(tmp_path):
    rng = np.random.default_rng(2)
    weight, signals = rng.standard_normal((3, 2, 4, 1)), rng.standard_normal((2, 2, 9, 5))
    np.savez(tmp_path / "net.npz", **{"a.weight": weight, "a.padding": 0})
    (layer,) = dcsc.certify(dcsc.read_network(tmp_path / "net.npz"), draws=0, signals=signals).measured
    windows = np.lib.stride_tricks.sliding_window_view(signals, 4, axis=2)
    found = np.einsum("fct,ncpwt->nwfp", weight[..., 0], windows) > 0
    np.testing.assert_array_equal(layer.active, found.sum(axis=(2, 3)).ravel())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrast": 0}, "contrast 0 and delta 0.01 are not allowed"),
        ({"delta": 1}, "delta 1 are not allowed"),
        ({"draws": -1}, "draws -1"),
        ({"signals": np.ones((1, 2, 24))}, r"signals have shape \(1, 2, 24\): give \(trial, 1 channels"),
        ({"signals": np.full((1, 1, 24), np.inf)}, "signals hold values that are not finite"),
        ({"signals": np.array([["a"]])}, "give real numbers"),
        ({"activations": {"layer 2": np.ones((1, 3, 12))}}, "'layer 2' were given, which is no layer: did you mean"),
        ({"signals": np.ones(24), "activations": {}}, "give one of them"),
        ({"largest": 1000}, "leave it out with --layers, or raise --memory"),
        ({"largest": 10_000, "draws": 0, "signals": np.ones((1, 1, 2400))}, "raise --memory"),
    ],
)
def test_a_mistake_is_one_sentence(options, message):
    dictionary = dcsc.families.create("gaussian", grid=(24,), seed=0, n_filters=3, taps=4, stride=2)
    with pytest.raises(UserError, match=message):
        dcsc.certify(dictionary, **options)


@pytest.mark.parametrize(("largest", "words"), [(1_000, "inner products"), (20_000, "64 codes take")])
def test_without_memory_for_supports_the_closed_forms_are_left(largest, words, monkeypatch):
    monkeypatch.setattr(gram, "AT_ONCE", 1)
    dictionary = dcsc.families.create("gaussian", grid=(24,), seed=0, n_filters=3, taps=4, stride=2)
    (layer,) = (found := dcsc.certify(dictionary, draws=1000, largest=largest)).layers
    (whole,) = dcsc.certify(dictionary, draws=0).layers
    assert layer.certified == whole.certified
    assert list(layer.certified) == CLOSED
    assert any(words in note and "raise --memory" in note for note in found.notes)
    assert "instance" not in report.as_text(found).partition("Notes")[0]


def test_a_layer_that_cannot_be_done_is_a_line_and_not_the_end(tmp_path, capsys):
    rng = np.random.default_rng(0)
    sizes = {"a": (2, 1, 3), "large": (64, 2, 9), "b": (3, 64, 3)}
    np.savez(tmp_path / "net.npz", **{f"{name}.weight": rng.standard_normal(size) for name, size in sizes.items()})
    assert main(["certify", str(tmp_path / "net.npz"), "--draws", "0", "--memory", "0.0002"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"Not done: the coherence of\s+layer 'large' takes about", text)
    found = dcsc.certify(dcsc.read_network(tmp_path / "net.npz"), draws=0, largest=200_000)
    assert [layer.name for layer in found.layers] == ["a", "b"]


def test_groups_stay_groups_where_supports_do_not_matter(tmp_path, monkeypatch):
    """All numbers are those of the filters with zeros written out, but the Welch bound, which is that of a group."""
    rng = np.random.default_rng(0)
    weight, signals = rng.standard_normal((6, 1, 3)), rng.standard_normal((2, 3, 20))
    dense = np.zeros((6, 3, 3))
    dense[np.arange(6), np.arange(6) // 2] = weight[:, 0]
    stated = {"a.stride": 1, "a.padding": 1, "a.bias": rng.standard_normal(6)}
    np.savez(tmp_path / "groups.npz", **{"a.weight": weight, "a.groups": 3, **stated})
    np.savez(tmp_path / "dense.npz", **{"a.weight": dense, **stated})
    read = [dcsc.read_network(tmp_path / f"{name}.npz") for name in ("groups", "dense")]
    one, other = (dcsc.certify(network, draws=40, signals=signals) for network in read)
    (mine,), (theirs,) = one.layers, other.layers
    assert isinstance(mine.dictionary, GroupedDictionary)
    assert mine.certified.keys() == theirs.certified.keys()
    for rung, mine_of in mine.certified.items():
        assert mine_of.stripe_sparsity == theirs.certified[rung].stripe_sparsity
    np.testing.assert_allclose(mine.babel, theirs.babel, atol=1e-12)
    assert mine.welch_bound >= theirs.welch_bound
    for name in ("active", "stripe_sparsity", "contrast", "misfit", "n_whole", "smallest_norm", "covered_by_biases"):
        np.testing.assert_allclose(getattr(one.measured[0], name), getattr(other.measured[0], name), atol=1e-12)

    def refuse(*_):
        raise AssertionError("groups were written out")

    monkeypatch.setattr(GroupedDictionary, "written_out", refuse)
    assert dcsc.certify(read[0], draws=0).layers[0].mutual_coherence == mine.mutual_coherence
    monkeypatch.setattr(costs, "written_out_bytes", lambda _: 2**40)
    found = dcsc.certify(read[0], draws=40)
    assert not any(rung.endswith("instance") for rung in found.layers[0].certified)
    assert any("its groups written out take about" in note for note in found.notes)


def test_costs_are_told_before_they_are_paid(capsys):
    small = dcsc.families.create("gaussian", grid=(24,), seed=0, n_filters=3, taps=4, stride=2)
    assert costs.told([small], 400) == ""
    line = costs.told([small] * 3000, 400)
    assert re.fullmatch(r"certifying 3000 layers takes about \d+ min; with --draws 0, .*, about \d+ s", line)
    assert costs.seconds(small, 0) < costs.seconds(small, 400) < costs.seconds(small, 4000)
    grouped = GroupedDictionary(small.filters, 3, 2, (24,))
    assert costs.seconds(grouped, 0) <= costs.seconds(small, 0)
    dcsc.certify(small, draws=0)
    assert capsys.readouterr().err == ""


def test_draws_that_are_kept_are_those_that_are_drawn_again(monkeypatch):
    dictionary = dcsc.families.create("gaussian", grid=(24,), seed=0, n_filters=3, taps=4, stride=2)
    first = dcsc.certify(dictionary, draws=130).layers[0].certified
    monkeypatch.setattr(costs, "_KEPT_NONZEROS", 0)
    monkeypatch.setattr(costs, "_HELD_ATOMS", 0)
    assert dcsc.certify(dictionary, draws=130).layers[0].certified == first


@pytest.fixture
def weights(tmp_path):
    rng = np.random.default_rng(4)
    state = {
        "conv1.weight": rng.standard_normal((4, 1, 8)), "conv1.bias": rng.standard_normal(4), "conv1.stride": 2,
        "conv2.weight": rng.standard_normal((3, 4, 3)), "conv1_BN.running_mean": np.zeros(4),
    }  # fmt: skip
    path = tmp_path / "net.npz"
    np.savez(path, **state)
    np.save(tmp_path / "signals.npy", rng.standard_normal((3, 41)))
    return path


ARGUMENTS = (
    "--chain", "conv1,conv2", "--stride", "conv2=1", "--padding", "conv1=4", "--padding", "1", "--pool", "conv2=2",
    "--draws", "8",
)  # fmt: skip


def test_the_command_prints_a_verdict_and_a_line_a_layer(weights, capsys):
    command = ["certify", str(weights), *ARGUMENTS, "--signals", str(weights.with_name("signals.npy"))]
    assert main(command) == 0
    text = capsys.readouterr().out
    said = (
        "net.npz: a cascade of 2 layers.",
        "Coherence ",
        "Layered thresholding is certified up to",
        "Basis pursuit is certified up to",
        "The codes of 3 signals in 2 layers have",
        "Zero padding of conv1 (4), conv2 (1)",
        "pooling after conv2 (2)",
        "batch normalisation conv1_BN",
        "The certificates speak of whole atoms: conv1 (68 of 84), conv2 (57 of 63)",
    )
    for words in said:
        assert words in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= report.WIDTH
    rows = [line for line in text.splitlines() if line.startswith(("conv1", "> conv2"))]
    assert len(rows) == 2
    assert len({len(row.rstrip()) for row in rows}) == 1
    assert "4x1 of 8 /2" in rows[0]


def test_the_command_tells_all_of_one_layer(weights, capsys):
    assert main(["certify", str(weights), *ARGUMENTS, "--layer", "conv2"]) == 0
    text = capsys.readouterr().out
    for words in ("conv2: 3x4 of 3, activation not known, 2 of 2 in its segment", "Babel function",
                  "Certified stripe-sparsity", "basis pursuit"):  # fmt: skip
        assert words in " ".join(text.split())
    assert "\nconv1 " not in text
    assert main(["certify", str(weights), *ARGUMENTS, "--layer", "conv3"]) == 1
    assert "no layer 'conv3': did you mean 'conv2'?" in capsys.readouterr().err


class OnlyText(HTMLParser):
    """The words of a page, and what it would load."""

    def __init__(self):
        super().__init__()
        self.words, self.loads, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_shows_layers_of_one_tap_and_of_groups(tmp_path):
    rng = np.random.default_rng(0)
    state = {"a.weight": rng.standard_normal((4, 3, 1, 1)), "b.weight": rng.standard_normal((4, 1, 3, 3))}
    np.savez(tmp_path / "net.npz", **state, **{"a.stride": 1, "b.stride": 1, "b.groups": 4})
    certificate = dcsc.certify(dcsc.read_network(tmp_path / "net.npz"), draws=0)
    assert page.as_page(certificate).count("<svg") > 1


def test_the_page_needs_nothing_else_and_is_the_same_every_time(weights, tmp_path, capsys):
    command = ["certify", str(weights), *ARGUMENTS, "--signals", str(weights.with_name("signals.npy")), "--report"]
    assert main([*command, str(tmp_path / "a" / "page.html")]) == 0
    assert main([*command, str(tmp_path / "b.html")]) == 0
    content = (tmp_path / "b.html").read_bytes()
    assert (tmp_path / "a" / "page.html").read_bytes() == content
    seen = OnlyText()
    seen.feed(content.decode())
    assert all(place.startswith(("#", "data:image/png;base64,")) for place in seen.loads)
    assert "script" not in seen.tags
    assert seen.tags.count("svg") == 6
    words = " ".join(" ".join(seen.words).split())
    for said in ("net.npz: a cascade of 2 layers.", "Ladder by depth", "own shift", "Babel functions", "conv2"):
        assert said in words
    capsys.readouterr()
    assert main([*command, "page.pdf"]) == 1
    assert "name a file that ends in .html" in capsys.readouterr().err


def test_the_pictures_of_the_page_can_be_had_alone(weights):
    certificate = dcsc.certify(dcsc.read_network(weights), draws=0)
    drawn = dcsc.certificate_page.pictures(certificate)
    assert list(drawn)[:2] == ["Ladder by depth", "Coherence by depth"]
    content = page.as_page(certificate)
    for picture, caption in drawn.values():
        assert picture.startswith("<svg")
        assert f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>" in content


def test_a_name_is_no_markup(tmp_path):
    name = "<script>alert(1)</script>$x_1$&"
    np.savez(tmp_path / "net.npz", **{f"{name}.weight": np.eye(3)[:, None]})
    text = page.as_page(dcsc.certify(dcsc.read_network(tmp_path / "net.npz"), draws=0))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


@given(dictionaries())
@settings(max_examples=20)
def test_the_most_coherent_atoms_are_found_and_the_coherence_is_split(dictionary):
    (layer,) = dcsc.certify(dictionary, draws=0).layers
    gram = dense_matrix(dictionary).T @ dense_matrix(dictionary)
    np.fill_diagonal(gram, 0)
    index = np.array(list(np.ndindex(*dictionary.code_shape)))
    same = (index[:, None, 1:] == index[None, :, 1:]).all(axis=-1)
    own = index[:, None, 0] == index[None, :, 0]
    expected = [np.abs(gram * kind).max() for kind in (same, own, ~same & ~own)]
    np.testing.assert_allclose(layer.split, expected, atol=1e-12)
    pair, size = layer.pair, dictionary.positions
    assert abs(pair.inner) == pytest.approx(layer.mutual_coherence, abs=1e-12)
    first = np.ravel_multi_index((pair.first, *[0] * len(size)), dictionary.code_shape)
    behind = [lag % count for lag, count in zip(pair.lag, size, strict=True)]
    second = np.ravel_multi_index((pair.second, *behind), dictionary.code_shape)
    if pair.inner:
        assert gram[first, second] == pytest.approx(pair.inner, abs=1e-12)


def test_repeated_blocks_take_one_line_a_layer(tmp_path):
    rng, state = np.random.default_rng(0), {"stem.weight": np.eye(2)[:, :, None]}
    for number in range(6):
        state[f"block{number}.a.weight"] = rng.standard_normal((2, 2, 3))
        state[f"block{number}.b.weight"] = rng.standard_normal((2, 2, 2))
    np.savez(tmp_path / "net.npz", **state)
    text = report.as_text(dcsc.certify(dcsc.read_network(tmp_path / "net.npz"), draws=0))
    rows = [line for line in text.splitlines() if line.startswith(("stem", "block"))]
    assert [row.split()[0] for row in rows] == ["stem", "block*.a", "block*.b"]
    assert all(" x6 " in row for row in rows[1:])


def test_the_command_speaks_json(weights, capsys):
    assert main(["certify", str(weights), *ARGUMENTS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [layer["name"] for layer in found["layers"]] == ["conv1", "conv2"]
    assert found["layers"][0]["certified"]["uniform-coherence"]["stripe_sparsity"] >= 1
    assert found["measured"] == []


def test_the_command_writes_a_dataset_that_is_the_same_every_time_and_traceable(weights, capsys, monkeypatch):
    monkeypatch.chdir(weights.parent)
    arguments = ["certify", "net.npz", *ARGUMENTS, "--signals", "signals.npy", "--output"]
    assert main([*arguments, "first/c.nc"]) == 0
    assert main([*arguments, "second/c.nc"]) == 0
    first, second = weights.parent / "first", weights.parent / "second"
    assert (first / "c.nc").read_bytes() == (second / "c.nc").read_bytes()
    assert (first / "c.nc.sha256").read_bytes() == (second / "c.nc.sha256").read_bytes()
    tree = dcsc.open_results(first / "c.nc")
    stated = {"stride": {"conv2": (1,)}, "padding": {"conv1": (4,), "": (1,)}}
    network = dcsc.read_network("net.npz", chains=[["conv1", "conv2"]], stated=stated)
    found = dcsc.certify(network, draws=8, signals=np.load("signals.npy"))
    np.testing.assert_array_equal(tree["mutual_coherence"], [layer.mutual_coherence for layer in found.layers])
    np.testing.assert_array_equal(tree["layer_2/babel"], found.layers[1].babel)
    np.testing.assert_array_equal(tree["measured_1/stripe_sparsity"], found.measured[0].stripe_sparsity)
    for number, rung in enumerate(RUNGS):
        assert tree["certified_sparsity"][number, 0] == found.layers[0].certified[rung].stripe_sparsity
        np.testing.assert_array_equal(tree["measured_2/covered"][number], found.measured[1].covered[rung])
    assert str(weights.parent) not in tree.attrs["provenance"]
    capsys.readouterr()
    assert main(["trace", "first/c.nc"]) == 0
    assert "all verified" in capsys.readouterr().out


def test_without_draws_the_dataset_says_so(weights, tmp_path):
    assert main(["certify", str(weights), "--draws", "0", "--output", str(tmp_path / "c.nc")]) == 0
    tree = dcsc.open_results(tmp_path / "c.nc")
    assert (tree["certified_sparsity"].sel(rung="uniform-instance") == -1).all()
    assert tree["certified_limit"].sel(rung="uniform-instance").isnull().all()


@pytest.mark.parametrize("rank", [1, 2])
def test_activations_come_by_the_names_of_the_layers(tmp_path, capsys, rank):
    rng = np.random.default_rng(5)
    np.savez(tmp_path / "net.npz", **{"a.weight": rng.standard_normal((3, 1, *[2] * rank)),
                                      "b.weight": rng.standard_normal((2, 3, *[3] * rank))})  # fmt: skip
    np.savez(tmp_path / "act.npz", a=np.maximum(rng.standard_normal((4, 3, *[5] * rank)), 0))
    command = ["certify", str(tmp_path / "net.npz"), "--draws", "0", "--activations", str(tmp_path / "act.npz")]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "The codes of 4 signals in 1 layer have" in " ".join(text.split())
    assert "No activations were given of b." in text
    np.savez(tmp_path / "act.npz", c=np.ones(3))
    assert main(command) == 1
    assert "holds activations 'c' of no layer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--contrast", "2"], "--contrast '2' is not allowed: give a number above 0 and at most 1"),
        (["--delta", "x"], "--delta 'x' is not allowed"),
        (["--delta", "nan"], "--delta 'nan' is not allowed"),
        (["--draws", "-3"], "--draws is '-3'"),
        (["--draws", "1,2"], "give one whole number"),
        (["--grid", "5,5"], "--grid 5,5 is not allowed: give 1 positive numbers"),
        (["--grid", "10"], "layer 'conv1': grid 10 is too short"),
        (["--layers", "conv3"], "no layer 'conv3': did you mean 'conv2'?"),
        (["--stride", "2", "--stride", "3"], "states all other layers twice"),
        (["--stride", "conv1=3"], "states stride 2 of layer 'conv1', not 3"),
        (["--output", "c.csv"], "name a file that ends in .nc"),
        (["--memory", "0"], "--memory '0' is not allowed"),
        (["--memory", "1e-9"], "than the"),
        (["--signals", "nowhere.npy"], "nowhere.npy does not exist"),
    ],
)
def test_a_wrong_option_ends_with_one_sentence(weights, capsys, arguments, message):
    assert main(["certify", str(weights), *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_the_schema_is_known():
    assert schemas.SCHEMAS["certificate"] is schemas.CERTIFICATE
    assert math.isinf(dcsc.certify(dcsc.families.create("lapped", (64,), n_filters=8), draws=0).layers[0].welch_ratio)
