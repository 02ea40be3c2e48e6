"""
One signal of each cell: its codes, the correlations and thresholds of the forward pass, and the recovered supports.

When to take it: to look at single signals before trusting any average.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dcsc.errors import UserError
from dcsc.figures import style
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.figures.panels import Panel
from dcsc.figures.tables import select, share
from dcsc.model.cascade import Cascade
from dcsc.store.dataset import codes_from_dataset
from dcsc.store.readers import codes_of_replicate, layer_signs_of_replicate, noise_of_replicate

PANEL = Panel(
    needs=("signals", "pursuits", "errors"),
    reads_trials=True,
    columns="layer place value filter position correlation threshold outcome active trial path_recovered recovered "
    "trials rate_lower rate_upper",
)

OUTCOMES = ("hit", "miss", "false alarm")


def tidy(results: Results, settings: FigureSettings) -> pd.DataFrame:
    """
    List everything about one trial of each cell: the first one with the same outcome as most trials of the cell.

    Parameters
    ----------
    results : Results
        Of an experiment with one cascade of one axis and channel; its first replicate, variant and pursuit are shown.
    settings : FigureSettings
        Its confidence.

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
    cascade = results.cascade(name)
    if cascade.rank > 1 or cascade.dictionaries[0].n_channels > 1:
        raise UserError("figure 'gallery' draws signals as a line: name a cascade of one axis and one channel.")
    deepest = [codes_of_replicate(chunk, cascade.depth, 0).row_size[0] for chunk in results.signals[name]]
    tables = []
    for cell, active in enumerate(first["active"].to_numpy()):
        recovered = first["path_recovered"].sel(active=active).to_numpy().astype(bool)
        drawn = np.concatenate([sizes[cell] for sizes in deepest]) > 0  # constraints may leave a draw without atoms
        successes, trials = int(recovered[drawn].sum()), int(drawn.sum())
        typical = 2 * successes >= trials
        trial = int(np.argmax(drawn & (recovered == typical)))
        rate = share(successes, trials, settings.confidence)
        table = _of_trial(results, name, cascade, str(first["pursuit"].item()), cell, trial)
        tables.append(
            table.assign(
                active=int(active),
                trial=trial,
                path_recovered=typical,
                recovered=successes,
                trials=trials,
                rate_lower=rate["rate_lower"],
                rate_upper=rate["rate_upper"],
            )
        )
    return pd.concat(tables, ignore_index=True)


def _of_trial(results: Results, name: str, cascade: Cascade, pursuit: str, cell: int, trial: int) -> pd.DataFrame:
    """Signal, codes, correlations and outcomes of one trial."""
    for signals, estimates in zip(results.signals[name], results.pursuits[name], strict=True):  # noqa: B007
        if trial < signals.sizes["trial"]:
            break
        trial -= signals.sizes["trial"]
    layers = range(1, cascade.depth + 1)
    row = slice(trial, trial + 1)
    truth = [codes_of_replicate(signals, layer, 0)[0][cell].rows(row).to_dense()[0] for layer in layers]
    groups = [estimates[f"{pursuit}/layer_{layer}"].to_dataset() for layer in layers]
    recovered = [codes_from_dataset(group, 0)[0][cell].rows(row).to_dense()[0] for group in groups]
    thresholds = [float(group["threshold"][0, 0, cell, trial]) for group in groups]
    signs = layer_signs_of_replicate(signals, 0)
    if signs is not None:
        cascade = Cascade(cascade.dictionaries, [layer[0, cell, trial] for layer in signs])
    observed = cascade.synthesize_layer(1, truth[0])
    noise = noise_of_replicate(signals, 0)
    if noise is not None:
        observed = observed + noise[0, cell, trial]
    tables = [pd.DataFrame({"layer": 0, "place": np.arange(observed.size), "value": observed[0]})]
    step = 1
    for layer, code, estimate, threshold in zip(layers, truth, recovered, thresholds, strict=True):
        correlation = cascade.correlate_layer(layer, observed)
        step *= cascade.dictionaries[layer - 1].stride[0]
        tables.append(_of_layer(layer, step, code, correlation, threshold, estimate != 0))
        observed = estimate
    return pd.concat(tables, ignore_index=True)


def _of_layer(
    layer: int, step: int, code: NDArray, correlation: NDArray, threshold: float, support: NDArray
) -> pd.DataFrame:
    filters, positions = np.indices(code.shape)
    active = code != 0
    kinds = [active & support, active & ~support, ~active & support]
    columns: dict[str, Any] = {
        "place": positions * step,
        "filter": filters,
        "position": positions,
        "value": code,
        "correlation": correlation,
        "threshold": np.full(code.shape, threshold),
        "outcome": np.select(kinds, OUTCOMES, default="correct rejection"),
    }
    return pd.DataFrame({"layer": layer, **{name: values.ravel() for name, values in columns.items()}})


def draw(table: pd.DataFrame, settings: FigureSettings) -> Figure:
    """
    Draw the signal of each cell above its layers: codes on the left, correlations on the right.

    Parameters
    ----------
    table : pandas.DataFrame
        From `tidy`.
    settings : FigureSettings
        Its style and confidence.

    Returns
    -------
    Figure
        All panels of a cell share the signal's axis, so that an atom stands below where it begins.
    """
    cases, depth = list(table["active"].unique()), int(table["layer"].max())
    width = settings.style.width / 2.54
    figure = Figure(figsize=(width, width * (0.3 + 0.22 * depth)))
    grid = figure.add_gridspec(depth + 1, 2 * len(cases), height_ratios=[0.75, *[1] * depth])
    colours = style.colours(settings.style, 4)
    colour = dict(zip(OUTCOMES, (colours[0], colours[3], colours[1]), strict=True))
    for column, active in enumerate(cases):
        case = select(table, active=active)
        top = figure.add_subplot(grid[0, 2 * column : 2 * column + 2])
        _draw_signal(top, case)
        for layer in range(1, depth + 1):
            for offset, draw_half in enumerate((_draw_code, _draw_correlations)):
                panel = figure.add_subplot(grid[layer, 2 * column + offset], sharex=top)
                draw_half(panel, select(case, layer=layer), layer, colour)
                panel.tick_params(labelbottom=layer == depth, labelsize="x-small")
                if layer == depth:
                    panel.set_xlabel("grid point", fontsize="small")
                if column == offset == 0:
                    panel.set_ylabel(f"layer {layer}\nfilter", fontsize="small")
    for outcome in OUTCOMES:
        top.scatter([], [], s=14, linewidth=1, label=outcome, **_look(outcome, colour[outcome]))
    top.plot([], [], color="0.2", linestyle="--", linewidth=1, label="threshold")
    style.common_legend(figure, [top], 4)
    rates = "; ".join(
        f"{row.recovered} of {row.trials} ({row.rate_lower:.0%} to {row.rate_upper:.0%})"
        for row in table.drop_duplicates("active").itertuples()
    )
    style.footnote(
        figure,
        "the first draw of each cell that fares as most of them; paths recovered in each cell, with Clopper-Pearson "
        f"{settings.confidence:.0%} intervals: {rates}. Grey: correlations of atoms that are rightly left out",
    )
    return figure


def _look(outcome: str, colour: Any) -> dict[str, Any]:
    """Tell outcomes apart in grey too: full, hollow, cross."""
    if outcome == "false alarm":
        return {"marker": "x", "color": colour}
    return {"marker": "o", "edgecolors": colour, "facecolors": "none" if outcome == "miss" else colour}


def _draw_outcomes(panel: Axes, of_layer: pd.DataFrame, x: pd.Series, y: pd.Series, colour: Mapping[str, Any]) -> None:
    for outcome in OUTCOMES:
        chosen = of_layer["outcome"] == outcome
        panel.scatter(x[chosen], y[chosen], s=9, linewidth=0.9, **_look(outcome, colour[outcome]))


def _draw_signal(panel: Axes, case: pd.DataFrame) -> None:
    signal = select(case, layer=0)
    active = int((select(case, layer=case["layer"].max())["value"] != 0).sum())
    panel.plot(signal["place"], signal["value"], color="0.2", linewidth=0.7)
    panel.set_xlim(0, len(signal))
    panel.tick_params(labelsize="x-small")
    fate = "path recovered" if case["path_recovered"].iloc[0] else "path lost"
    panel.set_title(f"{style.plural(active, 'deepest activation')}: {fate}")


def _draw_code(panel: Axes, of_layer: pd.DataFrame, layer: int, colour: Mapping[str, Any]) -> None:
    _draw_outcomes(panel, of_layer, of_layer["place"], of_layer["filter"], colour)
    hits, misses, alarms = ((of_layer["outcome"] == outcome).sum() for outcome in OUTCOMES)
    panel.set_title(f"$X^{{({layer})}}$: {hits} hits, {misses} missed, {alarms} false", fontsize="x-small")
    panel.set_ylim(-0.8, of_layer["filter"].max() + 0.8)


def _draw_correlations(panel: Axes, of_layer: pd.DataFrame, layer: int, colour: Mapping[str, Any]) -> None:
    # Atoms that begin at one place stand side by side, in the order of their filters.
    stride = np.nan_to_num(select(of_layer, position=1)["place"].max())
    place = of_layer["place"] + stride * of_layer["filter"] / (of_layer["filter"].max() + 1)
    magnitude = of_layer["correlation"].abs()
    quiet = ~of_layer["outcome"].isin(OUTCOMES)
    panel.scatter(place[quiet], magnitude[quiet], s=1.5, color="0.7", linewidth=0)
    _draw_outcomes(panel, of_layer, place, magnitude, colour)
    panel.axhline(of_layer["threshold"].iloc[0], color="0.2", linestyle="--", linewidth=1)
    panel.set_ylim(0, None)
    source = "X^{(0)}" if layer == 1 else f"\\hat X^{{({layer - 1})}}"
    panel.set_title(f"$|A^{{({layer})\\top}} {source}|$", fontsize="x-small")
