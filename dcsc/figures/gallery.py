"""One signal of each cell on its way: its codes, the correlations and thresholds of the forward pass, what came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dcsc import statistics
from dcsc.errors import UserError
from dcsc.figures import style as styles
from dcsc.figures.results import Results
from dcsc.model.cascade import Cascade
from dcsc.store.dataset import codes_from_dataset
from dcsc.store.readers import cascade_of, codes_of_replicate, depth_of, layer_signs_of_replicate, noise_of_replicate

OUTCOMES = ("hit", "miss", "false alarm")


def tidy(results: Results, settings: Mapping[str, Any]) -> pd.DataFrame:
    """
    Take one trial of each cell to pieces: the first whose path fares as those of most trials of the cell.

    Parameters
    ----------
    results : Results
        Of an experiment with one cascade of one axis and channel; its first replicate, variant and pursuit are shown.
    settings : mapping
        `confidence`.

    Returns
    -------
    pandas.DataFrame
        A row for each grid point of the signal (layer 0) and each atom of every layer. `place` is the grid point
        of the signal at which an atom begins.

    Raises
    ------
    UserError
        When the cascade has more axes or channels than a line can show.
    """
    ((name, trials),) = results.trials.items()
    first = trials.isel(replicate=0, variant=0, pursuit=0)
    cascade = cascade_of(results.dictionaries[name], 0)
    if cascade.rank > 1 or cascade.dictionaries[0].n_channels > 1:
        raise UserError("figure 'gallery' draws signals as a line: name a cascade of one axis and one channel.")
    tables = []
    for cell, active in enumerate(first["active"].to_numpy()):
        found = first["path_recovered"].sel(active=active).to_numpy().astype(bool)
        # Constraints may leave a draw without atoms, which shows nothing.
        drawn = np.concatenate([_deepest(chunk)["row_size"][0, 0, cell] > 0 for chunk in results.signals[name]])
        recovered = found[drawn]
        typical = 2 * recovered.sum() >= recovered.size
        trial = int(np.argmax(drawn & (found == typical)))
        lower, upper = statistics.proportion_interval(recovered.sum(), recovered.size, settings["confidence"])
        table = _one_trial(results, name, cascade, str(first["pursuit"].item()), cell, trial)
        tables.append(
            table.assign(
                active=int(active),
                trial=trial,
                path_recovered=bool(typical),
                recovered=int(recovered.sum()),
                trials=recovered.size,
                rate_lower=float(lower),
                rate_upper=float(upper),
            )
        )
    return pd.concat(tables, ignore_index=True)


def _deepest(signals: xr.DataTree) -> xr.DataTree:
    return signals[f"layer_{depth_of(signals)}"]


def _one_trial(results: Results, name: str, cascade: Cascade, pursuit: str, cell: int, trial: int) -> pd.DataFrame:
    """Signal, codes, correlations and outcomes of one trial."""
    for signals, found in zip(results.signals[name], results.pursuits[name], strict=True):  # noqa: B007
        if trial < signals.sizes["trial"]:
            break
        trial -= signals.sizes["trial"]
    depth = depth_of(signals)
    layers = range(1, depth + 1)
    row = slice(trial, trial + 1)
    truth = [codes_of_replicate(signals, layer, 0)[0][cell].rows(row).to_dense()[0] for layer in layers]
    groups = [found[f"{pursuit}/layer_{layer}"] for layer in layers]
    recovered = [codes_from_dataset(group)[0][0][cell].rows(row).to_dense()[0] for group in groups]
    thresholds = [float(group["threshold"][0, 0, cell, trial]) for group in groups]
    signs = layer_signs_of_replicate(signals, 0)
    if signs is not None:
        cascade = Cascade(cascade.dictionaries, [layer[0, cell, trial] for layer in signs])
    signal = cascade.synthesize_layer(1, truth[0])
    noise = noise_of_replicate(signals, 0)
    seen = signal if noise is None else signal + noise[0, cell, trial]
    points = np.arange(signal.size)
    tables = [pd.DataFrame({"layer": 0, "place": points, "value": seen[0]})]
    step = 1
    for layer, code, estimate, threshold in zip(layers, truth, recovered, thresholds, strict=True):
        correlation = cascade.correlate_layer(layer, seen)
        step *= cascade.dictionaries[layer - 1].stride[0]
        tables.append(_one_layer(layer, step, code, correlation, threshold, estimate != 0))
        seen = estimate
    return pd.concat(tables, ignore_index=True)


def _one_layer(
    layer: int, step: int, code: NDArray, correlation: NDArray, threshold: float, found: NDArray
) -> pd.DataFrame:
    filters, positions = np.indices(code.shape)
    outcome = np.select(
        [(code != 0) & found, (code != 0) & ~found, (code == 0) & found], OUTCOMES, default="correct rejection"
    )
    return pd.DataFrame(
        {
            "layer": layer,
            "place": (positions * step).ravel(),
            "filter": filters.ravel(),
            "position": positions.ravel(),
            "value": code.ravel(),
            "correlation": correlation.ravel(),
            "threshold": threshold,
            "outcome": outcome.ravel(),
        }
    )


def draw(table: pd.DataFrame, settings: Mapping[str, Any]) -> Figure:
    """
    Draw the signal of each cell above its layers: codes on the left, correlations on the right.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : mapping
        `style` and `confidence`.

    Returns
    -------
    Figure
        All panels of a cell share the signal's axis, so that an atom stands below where it begins.
    """
    style = settings["style"]
    cases, depth = list(table["active"].unique()), int(table["layer"].max())
    width = style["width"] / 2.54
    figure = Figure(figsize=(width, width * (0.3 + 0.22 * depth)))
    grid = figure.add_gridspec(depth + 1, 2 * len(cases), height_ratios=[0.75, *[1] * depth])
    colour = dict(zip(OUTCOMES, (styles.colours(style, 4)[index] for index in (0, 3, 1)), strict=True))
    for column, active in enumerate(cases):
        case = table[table["active"] == active]
        top = figure.add_subplot(grid[0, 2 * column : 2 * column + 2])
        _draw_signal(top, case)
        for layer in range(1, depth + 1):
            of_layer = case[case["layer"] == layer]
            for offset, draw_one in enumerate((_draw_code, _draw_correlations)):
                panel = figure.add_subplot(grid[layer, 2 * column + offset], sharex=top)
                draw_one(panel, of_layer, colour, labelled=column == 0)
                panel.tick_params(labelbottom=layer == depth, labelsize="x-small")
                if layer == depth:
                    panel.set_xlabel("grid point", fontsize="small")
    handles = [
        top.scatter([], [], s=14, linewidth=1, label=outcome, **_look(outcome, colour[outcome])) for outcome in OUTCOMES
    ]
    handles += top.plot([], [], color="0.2", linestyle="--", linewidth=1, label="threshold")
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize="small")
    rates = "; ".join(
        f"{row.recovered} of {row.trials} ({row.rate_lower:.0%} to {row.rate_upper:.0%})"
        for row in table.drop_duplicates("active").itertuples()
    )
    styles.footnote(
        figure,
        style,
        "the first draw of each cell that fares as most of them; paths recovered in each cell, with Clopper-Pearson "
        f"{settings['confidence']:.0%} intervals: {rates}. Grey: correlations of atoms that are rightly left out",
    )
    return figure


def _look(outcome: str, colour: Any) -> dict[str, Any]:
    """Tell outcomes apart in grey too: full, hollow, cross."""
    if outcome == "false alarm":
        return {"marker": "x", "color": colour}
    return {"marker": "o", "edgecolors": colour, "facecolors": "none" if outcome == "miss" else colour}


def _draw_signal(panel: Axes, case: pd.DataFrame) -> None:
    signal = case[case["layer"] == 0]
    active = int((case.loc[case["layer"] == case["layer"].max(), "value"] != 0).sum())
    panel.plot(signal["place"], signal["value"], color="0.2", linewidth=0.7)
    panel.set_xlim(0, len(signal))
    panel.tick_params(labelsize="x-small")
    fate = "path recovered" if case["path_recovered"].iloc[0] else "path lost"
    panel.set_title(f"{active} deepest activation{'' if active == 1 else 's'}: {fate}", fontsize="medium")


def _draw_code(panel: Axes, of_layer: pd.DataFrame, colour: Mapping[str, Any], labelled: bool) -> None:
    layer = int(of_layer["layer"].iloc[0])
    for outcome in OUTCOMES:
        part = of_layer[of_layer["outcome"] == outcome]
        panel.scatter(part["place"], part["filter"], s=9, linewidth=0.9, **_look(outcome, colour[outcome]))
    counts = of_layer["outcome"].value_counts()
    hits, misses, alarms = (int(counts.get(outcome, 0)) for outcome in OUTCOMES)
    panel.set_title(f"$X^{{({layer})}}$: {hits} hits, {misses} missed, {alarms} false", fontsize="x-small")
    panel.set_ylim(-0.8, of_layer["filter"].max() + 0.8)
    if labelled:
        panel.set_ylabel(f"layer {layer}\nfilter", fontsize="small")


def _draw_correlations(panel: Axes, of_layer: pd.DataFrame, colour: Mapping[str, Any], labelled: bool) -> None:
    layer = int(of_layer["layer"].iloc[0])
    # Atoms that begin at one place stand side by side, in the order of their filters.
    stride = of_layer.loc[of_layer["position"] == 1, "place"].max()
    place = of_layer["place"] + np.nan_to_num(stride) * of_layer["filter"] / (of_layer["filter"].max() + 1)
    magnitude = of_layer["correlation"].abs()
    quiet = ~of_layer["outcome"].isin(OUTCOMES)
    panel.scatter(place[quiet], magnitude[quiet], s=1.5, color="0.7", linewidth=0)
    for outcome in OUTCOMES:
        chosen = of_layer["outcome"] == outcome
        panel.scatter(place[chosen], magnitude[chosen], s=9, linewidth=0.9, **_look(outcome, colour[outcome]))
    panel.axhline(of_layer["threshold"].iloc[0], color="0.2", linestyle="--", linewidth=1)
    panel.set_ylim(0, None)
    source = "X^{(0)}" if layer == 1 else f"\\hat X^{{({layer - 1})}}"
    panel.set_title(f"$|A^{{({layer})\\top}} {source}|$", fontsize="x-small")
