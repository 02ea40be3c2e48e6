"""The page of the benchmarks, from their numbers."""

from __future__ import annotations

from typing import Any

HEAD = """# Benchmarks

<!-- Written by `make benchmark` from benchmarks/results.json: change benchmarks/report.py, not this page. -->

Times of the numerical library beside its peers, in one process, call by call in turn. A ratio is the peer's
time over ours, round by round: its median, with the quartiles in brackets. Above 1 we are faster.

- **One core** is the processor time of one thread, every library on one core: other processes hardly touch it.
- **All cores** is the time on the clock, which another process on the same machine distorts, most of all
  for libraries whose threads wait for one another. Read it only when the load was near 0. Only cases with an aim are
  shown.
- **Pursuits** are timed on all cores, on the clock, to an equal objective.

An aim is met where the median, rounded as it is shown, reaches it; "in the spread" where the upper quartile does. The
noiseless trial takes the dense path where that costs less, and then the two are the same but for the choice.

The share is what our call reaches of the machine, on as many cores: of its operations a second in products of
matrices, for the multiplications and additions that the work takes at least (by the direct method, or by rows of the
Gram kernel), or of its bytes a second in copies, for reading codes that are given as arrays. What is missing to 100 %
is what could be gained at most; the Fourier transform takes fewer operations than the direct method, hence more than
100 %. Work on lists takes most of its time to find where each number belongs, which counts as nothing here.

Calls of synthesis and cascades take so many trials that they last some milliseconds: a thread that sleeps may wake on
the core of its caller, and the system needs about as long to move it. PyTorch is called in chunks of trials, and its
fastest chunk counts. Signals have 1024 points, dictionaries 32 filters at stride 1, unless a line says otherwise. Our
outputs are allocated beforehand, as are PyTorch's.
"""


NOTES = {
    "one core": [
        "The aim of measures is the cost of 3 passes at most, hence a ratio of 0.33. Arrays of codes cannot be",
        "synthesized faster than they are read: the lines that compare with reading them once show what is left.",
        "",
    ],
    "pursuits": [
        "SPORCO is credited with the fastest of five settings (ADMM with fixed and automatic rho, in both precisions;",
        "PGM) and the fewest iterations that reach the excess of the objective, we with the largest duality gap. Our",
        "time includes the proof of that gap; SPORCO gives none, and its constructors are not timed.",
        "",
    ],
}
"""What is to be known of the lines of a clock."""


def page(results: dict[str, Any]) -> str:
    """
    Render the page.

    Parameters
    ----------
    results : dict
        As `python -m benchmarks` writes it.

    Returns
    -------
    str
        Markdown.
    """
    compared = _comparisons(results["comparisons"], results["machine"])
    parts = [HEAD, _machine(results), compared, _agreement(results["agreement"])]
    if results["scaling"]:
        parts.append(_scaling(results["scaling"]))
    parts.append(_stream(results))
    return "\n".join(parts)


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine"]
    lines = [_peak(clock, peaks) for clock, peaks in machine["peaks"].items()]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    load = ", ".join(f"{value:g}" for value in machine["load"])
    end = ", ".join(f"{value:g}" for value in results["load_at_the_end"])
    return f"""## Machine

{machine["processor"]}, {machine["cores"]} cores; Python {machine["python"]}, {versions}.
{"".join(lines)}Load before: {load}; after: {end}.
"""


def _peak(clock: str, peaks: dict[str, float]) -> str:
    speeds = f"{peaks['float64']:.0f} (float64) and {peaks['float32']:.0f} (float32) billion operations a second"
    copies = f"{peaks['copy']:.0f} GB/s in copies, read and written"
    return f"{clock.capitalize()}: {speeds} in products of\nmatrices, {copies}.\n"


def _share(row: dict[str, Any], machine: dict[str, Any]) -> str:
    """Of the machine's peak, in percent; nothing where what a call takes at least is not counted."""
    work = row.get("work")
    if not work:
        return ""
    peak = machine["peaks"][row["clock"]][work["dtype"] if work["kind"] == "operations" else "copy"]
    return f"{work['amount'] / (row['microseconds'] * 1e3 * peak):.0%}"


def _comparisons(rows: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    lines = ["## Comparisons", ""]
    for clock in dict.fromkeys(row["clock"] for row in rows):
        lines += [
            f"### {clock.capitalize()}",
            "",
            *NOTES.get(clock, ()),
            "| case | ours | us a trial | share | peer | us a trial | ratio | aim | met |",
            "|---|---|---:|---:|---|---:|---:|---:|---|",
        ]
        for row in rows:
            if row["clock"] == clock and not (clock == "all cores" and row["target"] is None):
                spread = row["ratio"]
                ratio = f"{spread['median']:.2f} [{spread['low']:.2f}, {spread['high']:.2f}]"
                aim = "" if row["target"] is None else f"{row['target']:.2g}"
                ours = f"{row['ours']} | {row['microseconds']:.1f} | {_share(row, machine)}"
                peer = f"{row['peer']} | {row['peer_microseconds']:.1f}"
                met = verdict(spread, row["target"])
                lines.append(f"| {row['case']} | {ours} | {peer} | {ratio} | {aim} | {met} |")
        lines.append("")
    return "\n".join(lines)


def verdict(spread: dict[str, float], aim: float | None) -> str:
    """
    Say whether a ratio reaches its aim.

    Parameters
    ----------
    spread : dict
        Median and quartiles of the peer's time over ours.
    aim : float or None
        What it should be at least.

    Returns
    -------
    str
        Of the numbers as they are shown.
    """
    if aim is None:
        return ""
    if round(spread["median"], 2) >= round(aim, 2):
        return "yes"
    return "in the spread" if round(spread["high"], 2) >= round(aim, 2) else "no"


def _agreement(rows: list[dict[str, Any]]) -> str:
    lines = [
        "## Agreement of objectives",
        "",
        "Converged objectives of the Lagrangian basis pursuit, xi = 0.05 lambda_max, 4 signals: the peer's over ours,",
        "less 1. SPORCO has no strides. The aim is 1e-6 at most.",
        "",
        "| problem | peer | relative difference | met |",
        "|---|---|---:|---|",
    ]
    for row in rows:
        met = "yes" if abs(row["difference"]) <= 1e-6 else "no"
        lines.append(f"| {row['problem']} | {row['peer']} | {row['difference']:.0e} | {met} |")
    return "\n".join([*lines, ""])


def _scaling(curves: list[dict[str, Any]]) -> str:
    lines = [
        "## Scaling",
        "",
        "One core, but for the last curve. The exponent is the slope of a straight line through the logarithms, with",
        "quartiles over rounds; memory is what a call on a chunk of trials allocates at its peak, beside its inputs",
        "and outputs. Taps have an exponent below 1 because other work comes with each signal, and the cheaper method",
        "is the Fourier transform from some length on.",
        "",
        "| curve | sizes | microseconds a trial | exponent | aim | met | MiB |",
        "|---|---|---|---:|---:|---|---|",
    ]
    for curve in curves:
        spread, expected = curve["exponent"], curve["expected"]
        sizes = " ".join(str(size) for size in curve["sizes"])
        times = " ".join(f"{seconds * 1e6:.3g}" for seconds in curve["seconds"])
        memory = " ".join(f"{size / 2**20:.2g}" for size in curve["bytes"])
        exponent = "" if spread is None else f"{spread['median']:.2f} [{spread['low']:.2f}, {spread['high']:.2f}]"
        aim = "" if expected is None else f"{expected + 0.1:.1f} at most"
        met = "" if expected is None else "yes" if round(spread["median"], 2) <= expected + 0.1 else "no"
        lines.append(f"| {curve['curve']} | {sizes} | {times} | {exponent} | {aim} | {met} | {memory} |")
    return "\n".join([*lines, ""])


def _stream(results: dict[str, Any]) -> str:
    stream, startup = results["stream"], results["startup"]
    return f"""## Many trials

{stream["trials"]:,} noiseless trials with 64 non-zeros, drawn and checked 4096 at a time on all cores:
{stream["seconds"]:.0f} s, peak memory of the process {stream["bytes"] / 2**20:.0f} MiB (aim: 2048).

## Starting

`import dcsc` takes {startup["import"]:.2f} s (aim: 0.7). The first process that needs every kernel compiles for
{startup["compile"]:.0f} s and keeps the machine code on disk; a later one imports and loads all of it in
{startup["load"]:.2f} s, and added {startup["compiled_again"]} files to it.
"""
