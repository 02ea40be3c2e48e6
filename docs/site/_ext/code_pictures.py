"""A picture of what every support, magnitude, sign and pursuit does to one small code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import dcsc
from dcsc.pursuit import protocol
from dcsc.sampling import draw_magnitudes, draw_signs, draw_supports

PARAMETERS: dict[str, dict[str, dict[str, Any]]] = {
    "supports": {
        "bernoulli": {"density": 0.05},
        "clustered": {"size": 24, "clusters": 3, "width": 6},
        "minimum-distance": {"size": 5, "distance": 5},
        "spread": {"size": 24},
        "stripe": {"norm": 6},
        "uniform": {"size": 24},
    },
    "magnitudes": {
        "by-filter": {"contrast": 0.1},
        "constant": {},
        "half-normal": {},
        "log-uniform": {"contrast": 0.1},
        "uniform": {"contrast": 0.5},
    },
    "signs": {"positive": {}, "rademacher": {}, "worst-case": {}, "worst-case-of-atom": {"atom": 100}},
    "pursuits": {
        "holistic-pursuit": {"penalty": 0.3},
        "layered-basis-pursuit": {"penalty": 0.3},
        "layered-matching-pursuit": {},
        "layered-thresholding": {"rule": "hard", "threshold": "statistical"},
        "multilayer-fista": {"penalty": [0.25, 0.25]},
        "multilayer-ista": {"penalty": [0.25, 0.25]},
        "oracle-least-squares": {},
        "projection-pursuit": {"penalty": 0.4},
    },
}
"""Parameters for a small layer; signs of one's own come from the user, and show nothing."""

SIZE, CONTRAST, NOISE = 24, 0.5, 0.12
"""The code of the pictures of signs and pursuits, and the deviation of the noise that pursuits meet."""


def call(kind: str, name: str) -> str:
    """Write the choice as a configuration does."""
    key = {"supports": "support", "magnitudes": "magnitudes", "signs": "signs", "pursuits": "method"}[kind]
    parameters = PARAMETERS[kind][name]
    if kind == "pursuits":
        lines = [f"{key}: {name}", *(f"{option}: {value}" for option, value in parameters.items())]
        return "\n".join(lines)
    if not parameters:
        return f"{key}: {name}"
    return f"{key}: {{name: {name}, " + ", ".join(f"{option}: {value}" for option, value in parameters.items()) + "}"


def draw(kind: str, name: str, folder: Path) -> tuple[Path, str]:
    """
    Draw what a choice does.

    Parameters
    ----------
    kind, name : str
        A choice of `PARAMETERS`.
    folder : Path
        Where the picture goes.

    Returns
    -------
    path : Path
        The picture.
    caption : str
        What is on it.
    """
    figure, caption = {"supports": _support, "magnitudes": _magnitudes, "signs": _signs, "pursuits": _pursuit}[kind](
        name, PARAMETERS[kind][name]
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{name}.png"
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path, caption


def _layer() -> dcsc.ConvolutionalDictionary:
    return dcsc.families.create(
        "perturbed", grid=256, seed=0, base="lapped", n_filters=8, n_channels=1, perturbation=0.4
    )


def _rng() -> np.random.Generator:
    return dcsc.seeds.stream(0)


def _panel(height: float = 1.6) -> tuple[Figure, Any]:
    figure = Figure(figsize=(8, height), layout="constrained")
    return figure, figure.subplots()


def _support(name: str, parameters: dict[str, Any]) -> tuple[Figure, str]:
    layer = _layer()
    support = draw_supports(name, _rng(), layer, 1, **parameters).to_dense()[0]
    figure, panel = _panel()
    filters, positions = np.nonzero(support)
    panel.scatter(positions, filters, s=24, color="tab:blue")
    panel.set(xlabel="position", ylabel="filter", xlim=(-1, layer.code_shape[1]), ylim=(-0.7, layer.n_filters - 0.3))
    stripe = int(dcsc.stripe_norm(support[None], layer)[0])
    return figure, f"One draw on {layer.n_filters} filters: {len(filters)} active atoms, stripe-sparsity {stripe}."


def _magnitudes(name: str, parameters: dict[str, Any]) -> tuple[Figure, str]:
    layer = _layer()
    supports = draw_supports("uniform", _rng(), layer, 1, size=80)
    drawn = np.sort(draw_magnitudes(name, _rng(), 80, supports, **parameters))[::-1]
    figure, panel = _panel()
    panel.vlines(np.arange(len(drawn)), 0, drawn, color="tab:blue", linewidth=2)
    panel.set(xlabel="non-zeros, the largest first", ylabel="magnitude", ylim=(0, None))
    return figure, f"{len(drawn)} magnitudes in order, from {drawn[0]:.2f} down to {drawn[-1]:.2g}."


def _code(layer: dcsc.ConvolutionalDictionary, signs: str, **parameters: Any) -> Any:
    supports = draw_supports("uniform", _rng(), layer, 1, size=SIZE)
    magnitudes = draw_magnitudes("uniform", _rng(), SIZE, supports, contrast=CONTRAST)
    code = supports.with_values(magnitudes)
    return code.with_values(magnitudes * draw_signs(signs, _rng(), layer, code, **parameters))


def _signs(name: str, parameters: dict[str, Any]) -> tuple[Figure, str]:
    layer = _layer()
    code = _code(layer, name, **parameters).to_dense()
    correlations = layer.correlate(layer.synthesize(code)).ravel()
    code = code.ravel()
    figure, panel = _panel(2.2)
    atoms = np.flatnonzero(code)
    panel.plot(correlations, color="grey", linewidth=0.7, label="correlations")
    panel.plot(atoms, code[atoms], "o", color="tab:blue", label="code")
    panel.axhline(0, color="black", linewidth=0.5)
    panel.set(xlabel="atom", ylabel="value")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize="small")
    off = np.abs(correlations[code == 0]).max()
    least = (np.sign(code[atoms]) * correlations[atoms]).min()
    return figure, (
        f"The same {SIZE} atoms and magnitudes for every kind of signs. Of the active atoms the smallest correlation, "
        f"in the direction of its entry, is {least:.2f}; of the others the largest is {off:.2f}. A threshold between "
        "them recovers the support; where the second is larger there is none."
    )


def _cascade() -> dcsc.Cascade:
    upper = dcsc.families.create("sparse-random", grid=64, seed=1, n_filters=4, n_channels=8, taps=4, n_nonzeros=3)
    lower = dcsc.families.create("perturbed", grid=512, seed=0, base="lapped", n_filters=8, perturbation=0.1)
    return dcsc.Cascade([lower, upper])


def _pursuit(name: str, parameters: dict[str, Any]) -> tuple[Figure, str]:
    model = _cascade()
    supports = draw_supports("uniform", _rng(), model.dictionaries[-1], 1, size=6)
    deepest = supports.with_values(draw_signs("rademacher", _rng(), model.dictionaries[-1], supports).astype(float))
    signal, *codes = model.synthesize(deepest.to_dense())
    noise = NOISE * _rng().standard_normal(signal.shape)
    found = protocol.run(name, model, signal + noise, reference=codes, noise=noise, **parameters)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    told = []
    for layer, (panel, true, got) in enumerate(zip(figure.subplots(2), codes, found.codes, strict=True), start=1):
        true, got = true.ravel(), got.ravel()
        panel.plot(np.flatnonzero(true), true[true != 0], "o", color="tab:blue", mfc="none", label="true")
        panel.vlines(np.flatnonzero(got), 0, got[got != 0], color="tab:orange", linewidth=1.5, label="found")
        panel.axhline(0, color="black", linewidth=0.5)
        panel.set(ylabel=f"layer {layer}", xlim=(-2, len(true) + 1))
        both = int(np.sum((true != 0) & (got != 0)))
        told.append(f"{both} of {np.sum(true != 0)} in layer {layer}, with {np.sum(got != 0) - both} others")
    panel.set(xlabel="atom")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize="small")
    return figure, f"One path of two layers under noise, the same for every pursuit. Found: {'; '.join(told)}."
