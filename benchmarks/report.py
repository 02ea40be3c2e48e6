"""The page of the benchmarks, from their numbers."""

from __future__ import annotations

from typing import Any

HEAD = """# Benchmarks

<!-- Written by `make benchmark` from benchmarks/results.json: change benchmarks/report.py, not this page. -->

Times of the numerical library beside its peers, in one process, call by call in turn. A ratio is the peer's
time over ours, round by round: its median, with the quartiles in brackets. Above 1 we are faster.

- **One core** is the processor time of one thread, every library on one core: other processes hardly touch it.
- **All cores** is the time on the clock, which another process on the same machine distorts, most of all
  for libraries whose threads wait for one another. Read it only when the load was near 0.

PyTorch is called in chunks of trials, and its fastest chunk counts. Signals have 1024 points, dictionaries 32
filters at stride 1, unless a line says otherwise. Our outputs are allocated beforehand, as are PyTorch's.
"""


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
    parts = [HEAD, _machine(results), _comparisons(results["comparisons"])]
    if results["scaling"]:
        parts.append(_scaling(results["scaling"]))
    parts.append(_stream(results))
    return "\n".join(parts)


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine"]
    speed = machine["matrix_product_gflops"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    load = ", ".join(f"{value:g}" for value in machine["load"])
    end = ", ".join(f"{value:g}" for value in results["load_at_the_end"])
    return f"""## Machine

{machine["processor"]}, {machine["cores"]} cores; Python {machine["python"]}, {versions}.
One core multiplies matrices at {speed["float64"]:.0f} (float64) and {speed["float32"]:.0f} (float32) billion operations
a second and copies memory at {machine["copy_gbytes"]:.0f} GB/s. Load before: {load}; after: {end}.
"""


def _comparisons(rows: list[dict[str, Any]]) -> str:
    lines = ["## Comparisons", ""]
    for clock in dict.fromkeys(row["clock"] for row in rows):
        lines += [
            f"### {clock.capitalize()}",
            "",
            "| case | ours | us a trial | peer | us a trial | ratio | aim |",
            "|---|---|---:|---|---:|---:|---:|",
        ]
        for row in rows:
            if row["clock"] == clock:
                spread = row["ratio"]
                ratio = f"{spread['median']:.2f} [{spread['low']:.2f}, {spread['high']:.2f}]"
                aim = "" if row["target"] is None else f"{row['target']:.2g}"
                lines.append(
                    f"| {row['case']} | {row['ours']} | {row['microseconds']:.1f} | {row['peer']} "
                    f"| {row['peer_microseconds']:.1f} | {ratio} | {aim} |"
                )
        lines.append("")
    return "\n".join(lines)


def _scaling(curves: list[dict[str, Any]]) -> str:
    lines = [
        "## Scaling",
        "",
        "One core. The exponent is the slope of a straight line through the logarithms, with quartiles over rounds;",
        "memory is what a call allocates at its peak, beside its inputs and outputs, at the largest size.",
        "",
        "| curve | sizes | milliseconds a trial | exponent | memory, MiB |",
        "|---|---|---|---:|---:|",
    ]
    for curve in curves:
        spread = curve["exponent"]
        sizes = " ".join(str(size) for size in curve["sizes"])
        times = " ".join(f"{seconds * 1e3:.3g}" for seconds in curve["seconds"])
        exponent = f"{spread['median']:.2f} [{spread['low']:.2f}, {spread['high']:.2f}]"
        lines.append(f"| {curve['curve']} | {sizes} | {times} | {exponent} | {curve['bytes'][-1] / 2**20:.1f} |")
    return "\n".join([*lines, ""])


def _stream(results: dict[str, Any]) -> str:
    stream, cores = results["stream"], results["cores"]
    times = ", ".join(
        f"{seconds * 1e3:.1f} ms on {n}" for n, seconds in zip(cores["threads"], cores["seconds"], strict=True)
    )
    return f"""## Many trials

512 noiseless trials with 64 non-zeros, on threads: {times}.
{stream["trials"]:,} such trials, drawn and checked 4096 at a time on all cores: {stream["seconds"]:.0f} s,
peak memory of the process {stream["bytes"] / 2**20:.0f} MiB.
"""
