"""Coherence of large and of grouped banks, whose inner products pass by in rows, against the kernel held whole."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc.convolution import gram
from dcsc.convolution.gram import GramRows
from dcsc.errors import UserError
from dcsc.model import coherence
from dcsc.model.grouped import GroupedDictionary, grouped_blocks
from tests.strategies import dictionaries

WAYS = ("sums", "transforms")


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Make rows by one way, whatever it costs, and few at a time."""
    monkeypatch.setattr(gram, "_transformed_cost", lambda _: math.inf if request.param == "sums" else 0.0)
    return request.param


def rebuilt(rows):
    """The whole kernel of a plain bank, (filter, filter, *lag), from parts of its rows."""
    return np.concatenate([np.moveaxis(rows(span)[0], -1, 1) for span in rows.spans()])


@pytest.mark.parametrize("at_once", [1, 40, 10**6])
def test_rows_are_those_of_the_kernel(way, at_once, monkeypatch):
    monkeypatch.setattr(gram, "AT_ONCE", at_once)

    @given(dictionaries(max_filters=4))
    @settings(max_examples=25)
    def check(dictionary):
        rows = GramRows.of(dictionary.filter_blocks[None])
        assert (rows.spectrum is None) == (way == "sums")
        np.testing.assert_allclose(rebuilt(rows), dictionary.gram(), atol=1e-14)

    check()


def measures(dictionary):
    counts = np.arange(dictionary.stripe_size + 2)
    return [
        coherence.mutual_coherence(dictionary),
        coherence.babel(dictionary, counts),
        coherence.babel2(dictionary, counts),
        coherence.welch_bound(dictionary),
    ]


def test_streamed_measures_are_those_of_the_kernel(way, monkeypatch):
    @given(dictionaries(max_filters=4), st.sampled_from([1, 60]))
    @settings(max_examples=40)
    def check(dictionary, at_once):
        monkeypatch.setattr(gram, "AT_ONCE", at_once)
        whole = [*measures(dictionary), coherence.filter_coherence(dictionary)]
        again = dcsc.ConvolutionalDictionary(dictionary.filters, dictionary.stride, dictionary.grid)
        with monkeypatch.context() as patched:
            patched.setattr(gram, "KEPT", 0)
            streamed = [*measures(again), coherence.filter_coherence(again)]
        for expected, found in zip(whole, streamed, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-12)

    check()


@st.composite
def grouped(draw):
    """A bank in groups: any dictionary whose filters a number divides."""
    dictionary = draw(dictionaries(max_filters=6))
    n_groups = draw(st.sampled_from([n for n in range(1, 7) if dictionary.n_filters % n == 0]))
    return GroupedDictionary(dictionary.filters, n_groups, dictionary.stride, dictionary.grid)


def test_groups_are_what_they_are_when_written_out(way, monkeypatch):
    @given(grouped(), st.sampled_from([1, 60]))
    @settings(max_examples=40)
    def check(dictionary, at_once):
        monkeypatch.setattr(gram, "AT_ONCE", at_once)
        dense = dictionary.written_out()
        for name in ("n_filters", "n_channels", "n_atoms", "stripe_size", "code_shape", "signal_shape"):
            assert getattr(dictionary, name) == getattr(dense, name)
        *measured, welch = measures(dictionary)
        *expected, bound = measures(dense)
        for one, other in zip(measured, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-12)
        rng = np.random.default_rng(0)
        codes, signals = (rng.standard_normal((2, *of)) for of in (dense.code_shape, dense.signal_shape))
        np.testing.assert_allclose(dictionary.synthesize(codes), dense.synthesize(codes), atol=1e-12)
        np.testing.assert_allclose(dictionary.correlate(signals), dense.correlate(signals), atol=1e-12)
        assert bound <= welch <= measured[0] + 1e-12  # a group has fewer atoms that meet, hence the sharper bound

    check()


def test_the_most_coherent_atoms_are_found_among_all(way, monkeypatch):
    @given(grouped(), st.sampled_from([1, 60]))
    @settings(max_examples=40)
    def check(dictionary, at_once):
        monkeypatch.setattr(gram, "AT_ONCE", at_once)
        found, kernel = coherence.most_coherent(dictionary), np.array(dictionary.written_out().gram())
        middle = tuple(n - 1 for n in dictionary.overlap)
        same = np.abs(kernel[(slice(None), slice(None), *middle)])
        np.fill_diagonal(same, 0)
        kernel[(slice(None), slice(None), *middle)] = 0
        own = np.abs(kernel[np.arange(dictionary.n_filters), np.arange(dictionary.n_filters)]).max()
        apart = np.abs(kernel) * ~np.eye(dictionary.n_filters, dtype=bool).reshape(
            dictionary.n_filters, -1, *[1] * dictionary.rank
        )
        np.testing.assert_allclose(found[4:], [same.max(), own, apart.max()], atol=1e-14)
        assert abs(found.inner) == pytest.approx(coherence.mutual_coherence(dictionary), abs=1e-14)
        place = tuple(n - 1 + d for n, d in zip(dictionary.overlap, found.lag, strict=True))
        whole = dictionary.written_out().gram()[(found.first, found.second, *place)]
        assert found.inner == pytest.approx(0 if not found.inner else whole, abs=1e-14)

    check()


def test_a_group_is_a_dictionary_of_its_own():
    filters = np.random.default_rng(0).standard_normal((6, 2, 3))
    dictionary = GroupedDictionary(filters, 3, 1, (7,), normalize=True)
    assert dictionary.n_channels == 6
    assert grouped_blocks(dictionary).shape == (3, 2, 3, 2)
    mu = max(coherence.mutual_coherence(dictionary.group(number)) for number in range(3))
    assert coherence.mutual_coherence(dictionary) == pytest.approx(mu, abs=1e-15)
    with pytest.raises(UserError, match=r"signals have shape \(6, 8\): give \(..., 6, 7\)"):
        dictionary.correlate(np.zeros((6, 8)))
    with pytest.raises(UserError, match="divides the 6 filters"):
        GroupedDictionary(filters, 4, 1, (7,), normalize=True)


def test_long_filters_have_their_kernel_by_transforms(monkeypatch):
    monkeypatch.setattr(gram, "LOOPED", 10**5)
    rng = np.random.default_rng(1)
    filters = rng.standard_normal((2, 1, 3000))
    dictionary = dcsc.ConvolutionalDictionary(filters, 1, (6000,), normalize=True)
    assert gram.is_long(dictionary.filter_blocks[None])
    kernel, (first, second) = dictionary.gram(), dictionary.filters[:, 0]
    np.testing.assert_allclose(kernel[0, 1], np.correlate(first, second, "full"), atol=1e-12)
    np.testing.assert_allclose(kernel[1, 0], kernel[0, 1][::-1], atol=1e-12)


def test_costs_are_known_before_memory_is_taken():
    crepe = (1, 1024, 128, 4)
    assert gram.gram_size(crepe[2:3], crepe[1]) * 8 > 2 * 10**9
    assert gram.needed_bytes(crepe) < 2**29
    assert gram.needed_bytes((1, 512, 3, 3, 512)) < 2**29
    assert gram.needed_bytes((1152, 1, 5, 5, 1)) < 2**28
    assert gram.needed_bytes((1, 2, 200_000, 1)) < 2**28
