"""Dictionaries of grouped convolutions: every filter acts on one group of the channels only."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.errors import UserError
from dcsc.model.dictionary import ConvolutionalDictionary

T = TypeVar("T")


class GroupedDictionary:
    """
    Dictionary of a grouped or depthwise convolution: one dictionary for each group of the channels, all of equal size.

    Atoms of different groups share no channel, so they are orthogonal. The zeros at the channels of other groups are
    not stored.

    Parameters
    ----------
    filters : array_like, shape (filter, channel of a group, *tap)
        The filters, sorted by group.
    groups : int
        How many groups there are; as many as channels for a depthwise convolution.
    stride, grid, normalize
        As for `ConvolutionalDictionary`.

    Raises
    ------
    UserError
        When the groups do not divide the filters, and as `ConvolutionalDictionary` does.
    """

    def __init__(
        self,
        filters: ArrayLike,
        groups: int,
        stride: int | Sequence[int] = 1,
        grid: int | Sequence[int] = 0,
        normalize: bool = False,
    ) -> None:
        self.bank = ConvolutionalDictionary(filters, stride, grid, normalize)
        if int(groups) != groups or groups < 1 or self.bank.n_filters % groups:
            raise UserError(
                f"groups {groups} are not allowed: give a number that divides the {self.n_filters} filters."
            )
        self.n_groups = int(groups)

    @property
    def filters(self) -> NDArray:
        """Those of all groups, shape (filter, channel of a group, *tap)."""
        return self.bank.filters

    @property
    def n_filters(self) -> int:
        """Number of filters of all groups."""
        return self.bank.n_filters

    @property
    def n_channels(self) -> int:
        """Number of channels of a signal."""
        return self.bank.n_channels * self.n_groups

    @property
    def taps(self) -> tuple[int, ...]:
        """Size of a filter along each axis, in grid points."""
        return self.bank.taps

    @property
    def stride(self) -> tuple[int, ...]:
        """Distance between neighbouring positions along each axis, in grid points."""
        return self.bank.stride

    @property
    def grid(self) -> tuple[int, ...]:
        """Size of the periodic grid along each axis."""
        return self.bank.grid

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return self.bank.rank

    @property
    def overlap(self) -> tuple[int, ...]:
        """Number of neighbouring positions that one atom spans along each axis."""
        return self.bank.overlap

    @property
    def positions(self) -> tuple[int, ...]:
        """Number of positions along each axis."""
        return self.bank.positions

    @property
    def code_shape(self) -> tuple[int, ...]:
        """Shape (filter, *position) of a code."""
        return self.bank.code_shape

    @property
    def signal_shape(self) -> tuple[int, ...]:
        """Shape (channel, *space) of a signal."""
        return (self.n_channels, *self.grid)

    @property
    def n_atoms(self) -> int:
        """Number of atoms, filters times positions."""
        return self.bank.n_atoms

    @property
    def stripe_size(self) -> int:
        """Number of atoms in a stripe, those of all groups."""
        return self.bank.stripe_size

    def __repr__(self) -> str:
        """Say the sizes, not the values."""
        return f"GroupedDictionary({self.n_groups} groups, {self.n_channels} channels in all, {self.bank!r})"

    def prepared(self, key: Hashable, make: Callable[[], T]) -> T:
        """
        Give what is made of the dictionary once and then kept by it.

        Parameters
        ----------
        key, make
            As for `FilterBank.prepared`.

        Returns
        -------
        object
            What `make` returned at first.
        """
        return self.bank.prepared(("groups", self.n_groups, key), make)

    def group(self, number: int) -> ConvolutionalDictionary:
        """
        Take one group as a dictionary of its own.

        Parameters
        ----------
        number : int
            0..groups - 1.

        Returns
        -------
        ConvolutionalDictionary
            On the channels of the group.
        """
        size = self.n_filters // self.n_groups
        return ConvolutionalDictionary(self.bank.filters[number * size : (number + 1) * size], self.stride, self.grid)

    def synthesize(self, codes: ArrayLike) -> NDArray:
        """
        Apply the dictionary, A x, group by group.

        Parameters
        ----------
        codes : array_like, shape (..., filter, *position)
            Coefficients.

        Returns
        -------
        ndarray, shape (..., channel, *space)
            The signals.

        Raises
        ------
        UserError
            When the codes are not finite real numbers of that shape.
        """
        parts = self._parts(codes, self.code_shape, "codes")
        made = [group.synthesize(part) for group, part in zip(self._groups(), parts, strict=True)]
        return np.concatenate(made, axis=-self.rank - 1)

    def correlate(self, signals: ArrayLike) -> NDArray:
        """
        Correlate signals with every atom, A^T y, group by group.

        Parameters
        ----------
        signals : array_like, shape (..., channel, *space)
            The signals.

        Returns
        -------
        ndarray, shape (..., filter, *position)
            Inner products with the atoms.

        Raises
        ------
        UserError
            When the signals are not finite real numbers of that shape.
        """
        parts = self._parts(signals, self.signal_shape, "signals")
        made = [group.correlate(part) for group, part in zip(self._groups(), parts, strict=True)]
        return np.concatenate(made, axis=-self.rank - 1)

    def _parts(self, values: ArrayLike, shape: tuple[int, ...], what: str) -> list[NDArray]:
        values = np.asarray(values)
        if values.shape[-len(shape) :] != shape:
            raise UserError(f"the {what} have shape {values.shape}: give (..., {', '.join(map(str, shape))}).")
        return np.split(values, self.n_groups, axis=-self.rank - 1)

    def _groups(self) -> list[ConvolutionalDictionary]:
        return self.prepared("as dictionaries", lambda: [self.group(number) for number in range(self.n_groups)])

    def written_out(self) -> ConvolutionalDictionary:
        """
        Convert to one dictionary of all channels, with zeros at the channels of other groups.

        Returns
        -------
        ConvolutionalDictionary
            The same atoms, for functions that do not take groups. Its filters take `groups` times the memory.
        """
        rows, channels = self.n_filters // self.n_groups, self.bank.n_channels
        spread = np.zeros((self.n_groups, rows, self.n_groups, channels, *self.taps), self.bank.dtype)
        own = np.arange(self.n_groups)
        spread[own, :, own] = self.bank.filters.reshape(self.n_groups, rows, channels, *self.taps)
        return ConvolutionalDictionary(
            spread.reshape(self.n_filters, self.n_channels, *self.taps), self.stride, self.grid
        )


def grouped_blocks(dictionary: ConvolutionalDictionary | GroupedDictionary) -> NDArray:
    """
    Cut the filters of a dictionary into stride-sized blocks, group by group.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary or GroupedDictionary
        The dictionary; a plain one is one group.

    Returns
    -------
    ndarray, shape (group, filter, *overlap, point)
        As `dcsc.convolution.gram` takes them.
    """
    if isinstance(dictionary, GroupedDictionary):
        blocks = dictionary.bank.filter_blocks
        return blocks.reshape(dictionary.n_groups, -1, *blocks.shape[1:])
    return dictionary.filter_blocks[None]
