"""
Run the benchmarks and write what they found.

``python -m benchmarks`` times everything (some ten minutes) into benchmarks/results.json and renders
docs/benchmarks.md; ``--quick`` times one case of each kind; ``--render`` only renders. On a machine that
other processes use, ``--one-core`` leaves out the times of all cores, which would mean nothing.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")  # our own threads; the peers' are set case by case

import argparse  # noqa: E402
import importlib.metadata  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
from pathlib import Path  # noqa: E402

from benchmarks import report  # noqa: E402

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "benchmarks.md"


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one case of each kind")
    parser.add_argument("--one-core", action="store_true", help="leave out the times of all cores")
    parser.add_argument("--render", action="store_true", help="only write the page from the results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the numbers go")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the page goes")
    options = parser.parse_args()
    if not options.render:
        options.results.write_text(json.dumps(measure(options.quick, options.one_core), indent=1) + "\n")
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(report.page(json.loads(options.results.read_text())))


def measure(quick: bool, one_core: bool) -> dict:
    """Time everything, or one case of each kind, or on one core."""
    from benchmarks import cases, harness, pursuits, scaling, startup

    if one_core:
        del cases.CLOCKS["all cores"]
    machine = harness.machine({name: (clock, cores or cases.CORES) for name, (clock, cores) in cases.CLOCKS.items()})
    machine["versions"] |= {name: importlib.metadata.version(name) for name in ("torch", "sporco", "scikit-learn")}
    found = []
    for row in itertools.chain(cases.everything(quick), () if one_core else pursuits.everything(quick)):
        low, high = row["ratio"]["low"], row["ratio"]["high"]
        told = f"{row['case']} | {row['clock']} | {row['ours']}: {row['ratio']['median']:.2f} [{low:.2f}, {high:.2f}]"
        print(told, flush=True)
        found.append(row)
    return {
        "machine": machine,
        "comparisons": found,
        "agreement": pursuits.agreement(),
        "scaling": [*([] if quick else scaling.curves()), *([] if one_core else [scaling.cores()])],
        "startup": startup.startup(),
        "stream": scaling.million(20_000 if quick else 1_000_000),
        "load_at_the_end": [round(value, 2) for value in os.getloadavg()],
    }


if __name__ == "__main__":
    main()
