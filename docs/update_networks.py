"""
Write what runs of config/networks.yaml and config/networks-windows.yaml found into docs/networks.md.

Run it as python docs/update_networks.py results-networks results-windows. The tables are kept beside the pictures,
rounded, and a test holds the page to them.
"""

import re
import shutil
import sys
from pathlib import Path

import pandas as pd

from dcsc.figures.networks import by_network
from dcsc.study import claims, networks

ROOT = Path(__file__).parents[1]
PAGE, FOLDER = ROOT / "docs/networks.md", ROOT / "docs/images/networks"
COMPARED = {
    "cooperation": "positive - random signs",
    "layout": "natural - uniform",
    "training": "trained - random filters",
    "optimisation": "trained - optimised filters",
}


def keep(results: Path, windows: Path) -> None:
    """Copy the pictures and tables of runs, rounded and without the names of layers, some of which are long."""
    for name in ("networks.png", "networks-sparsity.png"):
        shutil.copyfile(results / "figures" / name, FOLDER / name)
    tables = {name: results / f"figures/{name}.csv" for name in ("networks-layers", "networks-differences")}
    tables["networks-windows"] = windows / "figures/networks-differences.csv"
    for name, path in tables.items():
        table = pd.read_csv(path).drop(columns="layer")
        table.to_csv(FOLDER / f"{name}.csv", index=False, float_format="%.4g")
    f1 = pd.read_csv(results / "figures/networks.csv")
    whole = f1[(f1["magnitudes"] == "measured") & (f1["share"] == 1) & (f1["threshold"] == "best by filter")]
    columns = ["network", "depth", "filters", "support", "signs", "f1"]
    whole[whole["filters"].isin(["trained", "random"])][columns].to_csv(
        FOLDER / "networks-f1.csv", index=False, float_format="%.4g"
    )


def updated(page: str) -> str:
    """Put the tables of the kept numbers between the marks of the page."""
    study = networks.load(ROOT / "config/networks.yaml")
    names = ("networks-layers", "networks-differences", "networks-windows")
    layers, differences, windows = (pd.read_csv(FOLDER / f"{name}.csv") for name in names)
    summary = by_network(layers)
    tables = {"networks-layers": layers, "networks-differences": differences, "networks-summary": summary}
    found = [claims.evaluate(name, claim, tables, study.confidence) for name, claim in study.claims.items()]
    parts = {
        "summary": networks.summary_table(summary).partition("\n\n")[2],
        "differences": _differences(differences),
        "windows": _windows(differences[differences["network"] == "silero-vad"], windows),
        "claims": re.sub(r"\[([a-z-]+)\]\([^)]*\)", r"\1", claims.as_table(found)),
    }
    for mark, text in parts.items():
        before, rest = page.split(f"<!-- {mark} -->\n")
        page = f"{before}<!-- {mark} -->\n\n{text}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return page


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |\n"


def _differences(table: pd.DataFrame) -> str:
    """Medians over layers, and in how many the whole interval lies above or below 0."""
    text = _row("magnitudes", "share", *COMPARED.values()) + _row(*["---"] * 6)
    for (magnitudes, share), part in table.groupby(["magnitudes", "share"], sort=False):
        cells = []
        for name in COMPARED:
            of = part[part["compared"] == name]
            counts = f"{of['above'].sum()} above, {of['below'].sum()} below, of {len(of)}"
            cells.append(f"{of['difference'].median():+.3f} ({counts})")
        text += _row(magnitudes, f"{share:g}", *cells)
    return text


def _windows(clips: pd.DataFrame, windows: pd.DataFrame) -> str:
    """Trained against random filters, layer by layer, of whole codes."""
    kinds = ("measured", "equal")
    text = _row("layer", *(f"{of}, {kind}" for of in ("8 clips", "64 windows") for kind in kinds)) + _row(*["---"] * 5)
    whole = [of[(of["compared"] == "training") & (of["share"] == 1)] for of in (clips, windows)]
    for depth in sorted(clips["depth"].unique()):
        cells = []
        for table in whole:
            for kind in kinds:
                (found,) = table[(table["depth"] == depth) & (table["magnitudes"] == kind)].to_dict("records")
                ends = f"[{found['difference_lower']:+.3f}, {found['difference_upper']:+.3f}]"
                cells.append(f"{found['difference']:+.3f} {ends}")
        text += _row(depth, *cells)
    return text


if __name__ == "__main__":
    keep(Path(sys.argv[1]), Path(sys.argv[2]))
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
