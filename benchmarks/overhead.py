"""
Share of a run that was not spent computing: Snakemake, starting Python, imports and files.

    /usr/bin/time -f %e make reproduce
    python -m benchmarks.overhead results --wall SECONDS --cores 2

Every job logs how long the library computed; the rest of wall time x cores is overhead, waiting included.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

TIMES = re.compile(r"computing took ([\d.]+) s of ([\d.]+) s")


def computing(logs: Path) -> dict[str, tuple[int, float, float]]:
    """
    Add up what the jobs of every rule logged.

    Parameters
    ----------
    logs : Path
        The folder of the logs of one results folder.

    Returns
    -------
    dict of str to tuple
        Jobs, seconds of computing, and seconds in the script, by rule.
    """
    rules: dict[str, tuple[int, float, float]] = {}
    for path in sorted(logs.rglob("*.log")):
        found = TIMES.search(path.read_text(encoding="utf-8"))
        if found:
            rule = path.relative_to(logs).parts[0].removesuffix(".log")
            jobs, spent, whole = rules.get(rule, (0, 0.0, 0.0))
            rules[rule] = (jobs + 1, spent + float(found[1]), whole + float(found[2]))
    return rules


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("results", help="the results folder, as the configuration names it")
    parser.add_argument("--wall", type=float, required=True, help="wall time of the run in seconds")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    rules = computing(Path("logs") / options.results)
    print(f"{'rule':<24}{'jobs':>6}{'computing s':>14}{'in scripts s':>14}")
    for rule, (jobs, spent, whole) in rules.items():
        print(f"{rule:<24}{jobs:>6}{spent:>14.1f}{whole:>14.1f}")
    total = sum(spent for _, spent, _ in rules.values())
    share = 1 - total / (options.wall * options.cores)
    print(f"computing {total:.0f} s of {options.wall:.0f} s x {options.cores} cores: overhead {share:.0%}")


if __name__ == "__main__":
    main()
