"""Phase diagrams: the measured recovery rate over a grid of two parameters, beside what is certified."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dcsc import guarantees, pursuit, statistics
from dcsc.errors import UserError, renamed, shown
from dcsc.model.cascade import Cascade
from dcsc.model.coherence import mutual_coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.sparsity import stripe_norm
from dcsc.ragged import RaggedCodes
from dcsc.sampling import deep, noise, values
from dcsc.sampling.blocks import draw_blocks
from dcsc.sampling.registry import named
from dcsc.seeds import BLOCK, stream

Cell = dict[str, Any]

HARD: Mapping[str, Any] = {"name": "layered-thresholding", "rule": "hard", "threshold": "statistical"}
"""The forward pass with thresholds at half the smallest magnitude."""


@dataclass(frozen=True)
class _Settings:
    """What all cells share, as `phase_diagram` takes it."""

    trials: int
    seed: int
    confidence: float
    delta: float
    tail: str


@renamed(magnitude="magnitudes")
def phase_diagram(
    axes: Mapping[str, Sequence[Any]],
    model: Cascade | ConvolutionalDictionary | Callable[..., Cascade | ConvolutionalDictionary],
    *,
    support: Any,
    magnitudes: Any = "constant",
    signs: Any = "rademacher",
    pursuit: Any = HARD,
    noise_db: Any = None,
    trials: int = 128,
    seed: int = 0,
    confidence: float = 0.95,
    delta: float = 0.01,
    tail: str = "gaussian",
) -> xr.Dataset:
    """
    Compute a phase diagram: the recovery rate over a grid of two parameters, its interval, and what is certified.

    Everything but the axes may be a function of the parameters that its arguments name, such as
    ``support=lambda density: {"name": "bernoulli", "density": density}``.

    Parameters
    ----------
    axes : mapping of str to sequence
        Two names and their values: numbers or texts.
    model : Cascade or ConvolutionalDictionary, or a function that gives one
        What signals are made with; a function is called once for each choice of its parameters.
    support, magnitudes, signs : str or mapping
        How the deepest codes are drawn: a registered name, or a mapping of `name` and parameters.
    pursuit : str or mapping
        What recovers them: a registered name, or a mapping of `name` and parameters; by default hard thresholding at
        X_min/2.
    noise_db : float, optional
        Signal-to-noise ratio of white Gaussian noise in decibels; none by default.
    trials : int
        Codes drawn in each cell.
    seed : int
        Seed of the draws, together with the values of the cell: adding a cell or a pursuit changes no draw.
    confidence : float
        Level of intervals and limits.
    delta : float
        Admitted failure of a path of several layers behind `certified`.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        Bound on the tails of the interference behind `certified`.

    Returns
    -------
    Dataset
        Along both axes: `recovered` out of `trials` whole paths, `rate` with its Clopper-Pearson ends `lower` and
        `upper`; `covered`, the share of draws that are recovered for all signs; `certified`, a lower confidence limit
        of the rate over random signs, by theory alone. Along `layer` too: `mutual_coherence`, `mean_density`
        and `mean_stripe_sparsity`. NaN stands where the theory says nothing: under noise, of other pursuits than
        thresholding and basis pursuit without penalty, and for `certified` where signs are not random or thresholds
        look at them.

    Raises
    ------
    UserError
        When there are not two axes, a function asks for another parameter, or a choice is not allowed.

    Examples
    --------
    >>> import dcsc
    >>> diagram = dcsc.phase_diagram(
    ...     {"perturbation": [0.05, 0.4], "density": [0.01, 0.1]},
    ...     lambda perturbation: dcsc.families.create(
    ...         "perturbed", grid=64, seed=0, base="lapped", n_filters=8, perturbation=perturbation
    ...     ),
    ...     support=lambda density: {"name": "bernoulli", "density": density},
    ...     trials=32,
    ... )
    >>> dict(diagram.rate.sizes)
    {'perturbation': 2, 'density': 2}
    >>> bool((diagram.covered <= diagram.rate).all())
    True
    """
    _check_axes(axes)
    given = {"model": model, "support": support, "magnitudes": magnitudes, "signs": signs, "pursuit": pursuit}
    choices = {what: _Choice(what, choice, axes) for what, choice in {**given, "noise_db": noise_db}.items()}
    if int(trials) != trials or trials < 1:
        raise UserError(f"trials = {shown(trials)} is not allowed: draw at least one.")
    settings = _Settings(int(trials), seed, confidence, delta, tail)
    rows = []
    for cell in _cells(axes):
        chosen = {what: choice.of(cell) for what, choice in choices.items()}
        cascade = chosen["model"] if isinstance(chosen["model"], Cascade) else Cascade([chosen["model"]])
        rows.append(_measured(cascade, cell, chosen, settings))
    return _dataset(axes, rows, settings)


class _Choice:
    """A choice that may depend on the cell: a function of some of the axes is called once for each of their values."""

    def __init__(self, what: str, choice: Any, axes: Mapping[str, Sequence[Any]]) -> None:
        self._choice = choice
        self._names: list[str] | None = None
        self._known: dict[tuple[Any, ...], Any] = {}
        if callable(choice):
            arguments = inspect.signature(choice).parameters.values()
            needed = [entry.name for entry in arguments if entry.default is entry.empty]
            unknown = [name for name in needed if name not in axes]
            if unknown:
                raise UserError(f"{what} asks for {unknown[0]!r}, which is no axis: name {' or '.join(axes)}.")
            self._names = [entry.name for entry in arguments if entry.name in axes]

    def of(self, cell: Cell) -> Any:
        """Give the choice of a cell."""
        if self._names is None:
            return self._choice
        key = tuple(cell[name] for name in self._names)
        if key not in self._known:
            self._known[key] = self._choice(**{name: cell[name] for name in self._names})
        return self._known[key]


def _check_axes(axes: Mapping[str, Sequence[Any]]) -> None:
    if len(axes) != 2 or not all(str(name).isidentifier() and len(values) for name, values in axes.items()):
        raise UserError(f"axes {shown(list(axes))} are not allowed: give two names, each with its values.")
    taken = {"layer", "trial", *_VARIABLES} & set(axes)
    if taken:
        raise UserError(f"the axis {min(taken)!r} has a name of the result: choose another.")


def _cells(axes: Mapping[str, Sequence[Any]]) -> Iterator[Cell]:
    (first, rows), (second, columns) = axes.items()
    for row in np.asarray(rows).tolist():
        for column in np.asarray(columns).tolist():
            yield {first: row, second: column}


def _measured(model: Cascade, cell: Cell, chosen: Mapping[str, Any], settings: _Settings) -> dict[str, Any]:
    """Everything that is told of one cell."""
    method, parameters = named(chosen["pursuit"])
    key: dict[str, Any] = {"what": "phase diagram", "cell": cell}

    def draw(rng: np.random.Generator, count: int) -> RaggedCodes:
        laws = {law: chosen[law] for law in ("support", "magnitudes", "signs")}
        return values.sample_codes(rng, model.dictionaries[-1], count, **laws)

    codes = deep.given_codes(model.dictionaries, draw_blocks(settings.seed, settings.trials, draw, **key)).codes
    recovered, thresholds = [], []
    for start in range(0, settings.trials, BLOCK):
        truth = [code.rows(slice(start, start + BLOCK)).to_dense() for code in codes]
        signals = model.synthesize_layer(1, truth[0])
        if chosen["noise_db"] is not None:
            rng = stream(settings.seed, noise=True, block=start // BLOCK, **key)
            white = noise.gaussian_noise(rng, model.dictionaries[0], BLOCK)[: len(signals)]
            signals = signals + noise.scale_to_snr(signals, white, chosen["noise_db"], model.rank)
        found = pursuit.get(method)(model, signals, reference=truth, **parameters)
        right = [(one != 0) == (other != 0) for one, other in zip(found.codes, truth, strict=True)]
        recovered.append(np.logical_and.reduce([each.reshape(len(each), -1).all(axis=1) for each in right]))
        thresholds.append(found.thresholds)
    told = {"covered": np.nan, "certified": np.nan}
    run = [np.concatenate([np.asarray(block[layer]) for block in thresholds]) for layer in range(model.depth)]
    certificate = None if chosen["noise_db"] is not None else _certificate(model, codes, method, parameters, run)
    if certificate is not None:
        covered, bounds = certificate(named(chosen["signs"])[0] == "rademacher", settings)
        told["covered"] = float(covered.mean())
        if bounds is not None:
            told["certified"] = max(0.0, 1 - guarantees.failure_limit(bounds, settings.confidence))
    layers = list(zip(codes, model.dictionaries, strict=True))
    return {
        "recovered": int(np.concatenate(recovered).sum()),
        "mutual_coherence": [mutual_coherence(dictionary) for dictionary in model.dictionaries],
        "mean_density": [float(code.row_size.mean()) / dictionary.n_atoms for code, dictionary in layers],
        "mean_stripe_sparsity": [float(np.mean(stripe_norm(code, dictionary))) for code, dictionary in layers],
        **told,
    }


Certificate = Callable[[bool, _Settings], tuple[NDArray, NDArray | None]]
"""Which draws are covered, and bounds on the failure of each, at most 1, where signs are random."""


def _certificate(
    model: Cascade, codes: Sequence[RaggedCodes], method: str, parameters: Mapping[str, Any], thresholds: list[NDArray]
) -> Certificate | None:
    """What the theory says of a pursuit as it was run, or nothing."""
    if model.signs is not None:
        return None
    # In the plain model the signs of inner codes come from the deepest ones; then every bound is at most 1.
    signs = "rademacher" if model.depth == 1 else "deepest"
    if method == "layered-basis-pursuit" and parameters.get("penalty") == 0:

        def of_supports(random: bool, settings: _Settings) -> tuple[NDArray, NDArray | None]:
            if not random:
                return guarantees.recovers_all_signs(model, codes), None
            found = guarantees.basis_pursuit_on_supports(
                model, codes, tail=settings.tail, signs=signs, wanted="not below 1"
            )
            return found.holds, found.failure_bound

        return of_supports
    if method != "layered-thresholding":
        return None
    rule, threshold = parameters.get("rule", "hard"), parameters.get("threshold")
    named_rule = threshold if isinstance(threshold, str) else ""
    given = None if rule == "top-k" else thresholds
    by_filter = given is not None and (parameters.get("by_filter", False) or named_rule.endswith("-by-filter"))
    options = {"debias": parameters.get("debias", False), "by_filter": by_filter}

    def as_run(random: bool, settings: _Settings) -> tuple[NDArray, NDArray | None]:
        paths = guarantees.path_interference(model, codes, signs)
        shape = {"rule": "hard" if rule == "top-k" else rule, **options}
        if not random or rule == "relu" or named_rule.startswith("oracle"):
            return guarantees.covered_as_run(paths, given, **shape), None
        found = guarantees.as_run(paths, given, delta=settings.delta, tail=settings.tail, **shape)
        return found.covered, found.failure_bound

    return as_run


_VARIABLES = {
    "recovered": "draws whose whole path was recovered",
    "covered": "share of draws recovered for all signs",
    "certified": "lower confidence limit of the rate over random signs, by theory",
    "mutual_coherence": "mutual coherence",
    "mean_density": "mean share of active atoms",
    "mean_stripe_sparsity": "mean stripe-sparsity",
    "rate": "share of draws whose whole path was recovered",
    "lower": "lower end of the interval of the rate",
    "upper": "upper end of the interval of the rate",
    "trials": "draws of each cell",
}


def _dataset(axes: Mapping[str, Sequence[Any]], rows: Sequence[Mapping[str, Any]], settings: _Settings) -> xr.Dataset:
    names, sizes = list(axes), [len(entries) for entries in axes.values()]
    data: dict[str, Any] = {}
    for name in rows[0]:
        entries = np.array([row[name] for row in rows])
        data[name] = ([*names, "layer"][: entries.ndim + 1], entries.reshape(*sizes, *entries.shape[1:]))
    recovered = data["recovered"][1]
    lower, upper = statistics.proportion_interval(recovered, settings.trials, settings.confidence)
    data |= {"rate": (names, recovered / settings.trials), "lower": (names, lower), "upper": (names, upper)}
    data["trials"] = settings.trials
    coordinates = {name: np.asarray(entries) for name, entries in axes.items()}
    coordinates["layer"] = np.arange(1, len(rows[0]["mutual_coherence"]) + 1)
    made = xr.Dataset(data, coordinates, {"confidence": settings.confidence})
    for name, meaning in _VARIABLES.items():
        made[name].attrs["long_name"] = meaning
    return made
