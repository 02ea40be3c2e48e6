"""Third stage: run every pursuit of an experiment on the same signals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from dcsc import pursuit, ragged, seeds
from dcsc.convolution.arguments import thresholds_by_filter
from dcsc.model import sparsity
from dcsc.model.cascade import Cascade
from dcsc.pursuit import protocol, thresholding
from dcsc.pursuit.arguments import check_layers, of_layer
from dcsc.pursuit.sparse_thresholding import SHARED, exceeding_correlations
from dcsc.ragged import RaggedCodes
from dcsc.stages.settings import PursuitRun
from dcsc.store.dataset import codes_to_dataset
from dcsc.store.readers import (
    batch_coordinates,
    cascades_of,
    codes_of_replicate,
    depth_of,
    layer_signs_of_replicate,
    noise_of_replicate,
)
from dcsc.store.schemas import BATCH


@dataclass(frozen=True, eq=False)
class RecoveredLayer:
    """
    What a pursuit recovered of one layer, trial by trial.

    Parameters
    ----------
    codes : RaggedCodes
        The recovered code.
    threshold : ndarray, shape (...) or (..., filter)
        One per trial, or one per trial and filter; NaN where it has none.
    iterations : ndarray of int, shape (...)
        Of the pursuit.
    """

    codes: RaggedCodes
    threshold: NDArray
    iterations: NDArray

    @property
    def is_by_filter(self) -> bool:
        """Whether every filter has a threshold of its own."""
        return self.threshold.ndim > self.iterations.ndim

    @property
    def common_threshold(self) -> NDArray:
        """The threshold of all filters, NaN where each has its own, shape (...)."""
        return np.full(self.iterations.shape, np.nan) if self.is_by_filter else self.threshold

    def thresholds_of(self, rows: NDArray) -> NDArray:
        """
        Take the thresholds of some trials.

        Parameters
        ----------
        rows : ndarray of int, shape (row,)
            Trials, counted over the flattened batch.

        Returns
        -------
        ndarray, shape (row,) or (row, filter)
            The thresholds; 1 stands for those that are not there, of trials on which the pursuit did not run.
        """
        of_filters = self.threshold.shape[self.iterations.ndim :]
        return np.nan_to_num(self.threshold.reshape(-1, *of_filters)[rows], nan=1.0, posinf=np.inf)


def run_pursuits(settings: Mapping[str, Any], signals: xr.DataTree, dictionaries: xr.DataTree) -> dict[str, xr.Dataset]:
    """
    Recover the codes of every layer with each pursuit.

    Parameters
    ----------
    settings : mapping
        `pursuits` (parameters by name) and `errors` (whether values are kept, not only signs).
    signals : DataTree
        Of the signals stage.
    dictionaries : DataTree
        Of the dictionaries stage.

    Returns
    -------
    dict of str to Dataset
        One group a pursuit and layer, after the schema of the pursuits stage.

    Raises
    ------
    UserError
        When a pursuit or one of its parameters is not allowed.
    """
    pursuits = PursuitRun.by_name(settings["pursuits"])
    return pursue_signals(pursuits, signals, cascades_of(dictionaries), settings["errors"])


def pursue_signals(
    pursuits: Mapping[str, PursuitRun], signals: xr.DataTree, cascades: Sequence[Cascade], keep_values: bool
) -> dict[str, xr.Dataset]:
    """
    Recover the codes of every layer with each pursuit.

    Parameters
    ----------
    pursuits : mapping of str to PursuitRun
        By name.
    signals : DataTree
        Of the signals stage.
    cascades : sequence of Cascade
        Every replicate.
    keep_values : bool
        Whether values are kept, not only signs.

    Returns
    -------
    dict of str to Dataset
        As from `run_pursuits`.
    """
    groups: dict[str, xr.Dataset] = {}
    for _, together in itertools.groupby(pursuits.items(), lambda item: _rows(signals, item[1]).tobytes()):
        groups |= _pursue_together(dict(together), signals, cascades, keep_values)
    return groups


def _pursue_together(
    pursuits: Mapping[str, PursuitRun], signals: xr.DataTree, cascades: Sequence[Cascade], keep_values: bool
) -> dict[str, xr.Dataset]:
    """Run pursuits on the same trials, whose codes are read and measured once for all of them."""
    depth, rows = depth_of(signals), _rows(signals, next(iter(pursuits.values())))
    found: dict[str, list[list[RecoveredLayer]]] = {name: [[] for _ in range(depth)] for name in pursuits}
    for replicate, cascade in enumerate(cascades):
        codes = [codes_of_replicate(signals, layer, replicate) for layer in range(1, depth + 1)]
        observed = Observation(
            cascade, codes, layer_signs_of_replicate(signals, replicate), noise_of_replicate(signals, replicate)
        )
        chosen = observed.take(rows)
        for name, options in pursuits.items():
            for layer, recovered in enumerate(pursue(chosen, options) if len(rows) else _nothing(chosen, options)):
                found[name][layer].append(_spread(_kept(recovered, keep_values), rows, codes[layer].batch_shape))
    groups = {}
    for name in pursuits:
        for layer, parts in enumerate(found.pop(name), start=1):
            whole = ragged.concatenate([part.codes for part in parts])
            whole = whole.reshape((len(parts), *parts[0].codes.batch_shape))
            dataset = codes_to_dataset(whole)
            dataset["threshold"] = (BATCH, np.stack([part.common_threshold for part in parts]))
            if parts[0].is_by_filter:
                dataset["filter_threshold"] = ((*BATCH, "filter"), np.stack([part.threshold for part in parts]))
            dataset["iterations"] = (BATCH, np.stack([part.iterations for part in parts]))
            groups[f"/{name}/layer_{layer}"] = dataset.assign_coords(batch_coordinates(signals))
    return groups


def cells_of(signals: xr.DataTree, options: PursuitRun) -> NDArray:
    """
    Tell on which cells a pursuit runs.

    Parameters
    ----------
    signals : DataTree
        Of the signals stage.
    options : PursuitRun
        The pursuit.

    Returns
    -------
    ndarray of bool, shape (variant, active)
        True where the cell was drawn and the variant is one of them.
    """
    wanted = [options.runs_on(str(variant)) for variant in signals["drawn"]["variant"].to_numpy()]
    return signals["drawn"].to_numpy().astype(bool) & np.array(wanted)[:, None]


def _rows(signals: xr.DataTree, options: PursuitRun) -> NDArray:
    """The trials of one replicate that a pursuit runs on, counted over (variant, active, trial)."""
    return np.flatnonzero(np.repeat(cells_of(signals, options).ravel(), signals["layer_1"].sizes["trial"]))


def _nothing(observed: Observation, options: PursuitRun) -> list[RecoveredLayer]:
    """What is found where a pursuit does not run at all."""
    by_filter = thresholding.is_by_filter(options.threshold)
    shapes = [(0, code.code_shape[0]) if by_filter else (0,) for code in observed.codes]
    nothing = np.empty(0, np.int64)
    return [RecoveredLayer(*found, nothing) for found in zip(observed.codes, map(np.empty, shapes), strict=True)]


def _kept(found: RecoveredLayer, keep_values: bool) -> RecoveredLayer:
    """Drop what is not kept of a replicate at once, so that no more than one is held in full."""
    if keep_values:
        return found
    signs = np.sign(found.codes.value).astype(np.int8)
    return RecoveredLayer(found.codes.with_values(signs), found.threshold, found.iterations)


def _spread(found: RecoveredLayer, rows: NDArray, batch: tuple[int, ...]) -> RecoveredLayer:
    """Put trials back in their places; the others are empty, without threshold and iterations."""
    sizes, iterations = np.zeros(batch, np.int64), np.zeros(batch, np.int64)
    of_filters = found.threshold.shape[1:]
    threshold = np.full((*batch, *of_filters), np.nan)
    codes = found.codes
    for whole, part in ((sizes, codes.row_size), (iterations, found.iterations)):
        whole.reshape(-1)[rows] = part
    threshold.reshape(-1, *of_filters)[rows] = found.threshold
    return RecoveredLayer(RaggedCodes(sizes, codes.atom, codes.value, codes.code_shape), threshold, iterations)


@dataclass(frozen=True, eq=False)
class Observation:
    """
    The signals of one replicate: true codes, signs T and noise, with common batch axes.

    Parameters
    ----------
    cascade : Cascade
        Of the replicate.
    codes : list of RaggedCodes
        [X^(1), ..., X^(L)], batch shape (...).
    layer_signs : list of ndarray of int8, each of shape (..., filter, *position), or None
        T^(1), ..., T^(L) of D-CSC-R.
    noise : ndarray, shape (..., channel, *space), or None
        None without noise.
    """

    cascade: Cascade
    codes: list[RaggedCodes]
    layer_signs: list[NDArray] | None
    noise: NDArray | None
    _exceeding: dict[tuple[bytes, bool], RaggedCodes] = field(default_factory=dict, init=False, repr=False)

    def exceeding(self, signed: Cascade, threshold: NDArray, by_filter: bool) -> RaggedCodes:
        """
        Find the correlations of the first layer that exceed a threshold, once for all pursuits that ask for it.

        Parameters
        ----------
        signed : Cascade
            The cascade, with the signs T of these trials if there are any.
        threshold : ndarray, shape (...), by filter (..., filter)
            One per trial.
        by_filter : bool
            Whether its last axis is that of the filters.

        Returns
        -------
        RaggedCodes
            As from `dcsc.pursuit.sparse_thresholding.exceeding_correlations`.
        """
        key = threshold.tobytes(), by_filter
        if key not in self._exceeding:
            self._exceeding[key] = exceeding_correlations(
                signed, self.codes[0], self.noise, threshold=threshold, by_filter=by_filter, threads=1
            )
        return self._exceeding[key]

    def take(self, rows: NDArray) -> Observation:
        """
        Choose trials; nothing is copied where all are chosen.

        Parameters
        ----------
        rows : ndarray of int, shape (row,)
            Ascending, counted over the flattened batch.

        Returns
        -------
        Observation
            With one batch axis.
        """
        batch = self.codes[0].batch_shape
        chosen = slice(None) if len(rows) == math.prod(batch) else rows

        def of_trials(values: NDArray) -> NDArray:
            return values.reshape(-1, *values.shape[len(batch) :])[chosen]

        return Observation(
            self.cascade,
            [ragged.take(code, rows) for code in self.codes],
            None if self.layer_signs is None else [of_trials(signs) for signs in self.layer_signs],
            None if self.noise is None else of_trials(self.noise),
        )


def pursue(observed: Observation, options: PursuitRun) -> list[RecoveredLayer]:
    """
    Run one pursuit: threshold lists where no signal need be formed, else run the pursuit itself, block by block.

    Parameters
    ----------
    observed : Observation
        The signals.
    options : PursuitRun
        The pursuit.

    Returns
    -------
    list of RecoveredLayer
        One per layer.
    """
    # ReLU of what T turns is one-sided in another sense than the lists'; deeper than one layer the pursuit refuses it.
    if options.is_on_lists and (observed.layer_signs is None or options.rule != "relu"):
        return _on_lists(observed, options)
    parameters = options.parameters
    if options.is_thresholding:
        by_filter = thresholding.is_by_filter(options.threshold)
        parameters = {"rule": options.rule, "threshold": options.threshold, "by_filter": by_filter}
        parameters |= {"debias": options.debias}
    return _dense(observed, options.method, parameters)


def _on_lists(observed: Observation, options: PursuitRun) -> list[RecoveredLayer]:
    """Threshold layer after layer, what one has found being what the next is given."""
    cascade, codes, rule, batch = observed.cascade, observed.codes, options.rule, observed.codes[0].batch_shape
    assert rule is not None  # a configuration gives one for this method
    if cascade.depth > 1:
        thresholding.check_signs(cascade, rule, codes)
    if rule == "top-k":
        thresholds = [np.full(batch, np.nan)] * cascade.depth
        choice: dict[str, Any] = {"k": [code.row_size for code in codes]}
    else:
        noise = 0.0 if observed.noise is None else sparsity.patch_l2(observed.noise, cascade.dictionaries[0])
        thresholds = given_thresholds(options.threshold, cascade, codes, rule, noise)
        choice = {"threshold": thresholds, "by_filter": thresholding.is_by_filter(options.threshold)}
    if observed.layer_signs is not None:
        cascade = Cascade(cascade.dictionaries, observed.layer_signs)
    # One thread: jobs run side by side.
    choice |= {"rule": rule, "debias": options.debias, "threads": 1}
    if rule in SHARED:
        choice["exceeding"] = observed.exceeding(cascade, thresholds[0], choice["by_filter"])
    found = pursuit.threshold_codes(cascade, codes[0], observed.noise, **choice)
    once = np.ones(batch, np.int64)
    return [RecoveredLayer(code, beta, once) for code, beta in zip(found, thresholds, strict=True)]


def given_thresholds(
    threshold: Any, cascade: Cascade, codes: Sequence[RaggedCodes], rule: str, noise: ArrayLike = 0.0
) -> list[NDArray]:
    """
    Find the thresholds that a pursuit uses.

    Parameters
    ----------
    threshold : str, float, or sequence
        As for `PursuitRun`, but not the oracle.
    cascade : Cascade
        The cascade.
    codes : sequence of RaggedCodes
        [X^(1), ..., X^(L)], batch shape (...).
    rule : {"hard", "soft", "relu"}
        The non-linearity.
    noise : array_like, shape () or (...)
        Bound on the patch norm of the noise, for thresholds that derive from it.

    Returns
    -------
    list of ndarray, each of shape (...) or (..., filter)
        One per layer.

    Raises
    ------
    UserError
        When a list does not have one entry per layer, or one number per filter.
    """
    if isinstance(threshold, str):
        return thresholding.derived_thresholds(threshold, cascade, codes, rule, noise)
    check_layers(cascade.depth, threshold=threshold)
    each = [np.asarray(of_layer(threshold, layer), np.float64) for layer in range(1, cascade.depth + 1)]
    if thresholding.is_by_filter(threshold):
        return [
            thresholds_by_filter(beta, code.batch_shape, code.code_shape[0])
            for beta, code in zip(each, codes, strict=True)
        ]
    return [np.broadcast_to(beta, code.batch_shape) for beta, code in zip(each, codes, strict=True)]


def _dense(observed: Observation, method: str, parameters: Mapping[str, Any]) -> list[RecoveredLayer]:
    total = observed.codes[0].row_size.size
    parts: list[list[RecoveredLayer]] = [[] for _ in observed.codes]
    for start in range(0, total, seeds.BLOCK):
        rows = slice(start, min(start + seeds.BLOCK, total))
        reference = [code.rows(rows).to_dense() for code in observed.codes]
        cascade, signals = _signals(observed, rows, reference[0])
        noise = 0.0 if observed.noise is None else sparsity.patch_l2(observed.noise[rows], cascade.dictionaries[0])
        result = protocol.run(method, cascade, signals, reference=reference, noise=noise, **parameters)
        for layer, (code, threshold) in enumerate(zip(result.codes, result.thresholds, strict=True)):
            codes = RaggedCodes.from_dense(code, observed.codes[layer].code_shape)
            parts[layer].append(RecoveredLayer(codes, threshold, result.iterations[..., layer]))
    return [
        RecoveredLayer(
            ragged.concatenate([part.codes for part in layer]),
            np.concatenate([part.threshold for part in layer]),
            np.concatenate([part.iterations for part in layer]),
        )
        for layer in parts
    ]


def _signals(observed: Observation, rows: slice, first: NDArray) -> tuple[Cascade, NDArray]:
    """The model of some trials, and their signals with noise."""
    cascade = observed.cascade
    batch_axes = len(observed.codes[0].batch_shape)
    if observed.layer_signs is not None:
        flat = [signs.reshape(-1, *signs.shape[batch_axes:])[rows] for signs in observed.layer_signs]
        cascade = Cascade(cascade.dictionaries, flat)
    signals = cascade.synthesize_layer(1, first)
    if observed.noise is not None:
        signals = signals + observed.noise.reshape(-1, *observed.noise.shape[batch_axes:])[rows]
    return cascade, signals
