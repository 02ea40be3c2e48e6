"""Copy what docs/reproduction.md says of the abstract, and of claims that do not hold, into the README."""

from pathlib import Path

FOUND = (
    "recovered-density-per-layer",
    "greater-density-per-layer",
    "certificate-is-tight",
    "instance-certifies-more",
    "basis-pursuit-statistical",
    "worst-case-slope",
    "random-slope",
)
"""Claims whose statements and numbers the README shows."""

BEGIN, END = "<!-- verdicts: written by make docs -->\n", "<!-- end of verdicts -->\n"


def verdicts(page: str) -> str:
    """
    Shorten the page about the run to what the README shows.

    Parameters
    ----------
    page : str
        docs/reproduction.md.

    Returns
    -------
    str
        The sentences of the abstract with their verdicts, a line on what does not hold, and some claims in full.
    """
    lines = page.splitlines()
    start = lines.index("| sentence | how it is tested | verdicts and numbers |")
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        sentence, _, found = line.strip("| ").split(" | ")
        rows.append(f"| {sentence} | {found} |")
    failing = [line.split("**")[1] for line in lines if line.startswith("| **") and "**DOES NOT HOLD**" in line]
    count = next(line for line in lines if "claims hold in this run" in line).split(".")[0]
    missing = f"What does not hold, and is shown so: {', '.join(failing)}." if failing else "None fails."
    head = ["| abstract of [MT18] | verdicts of this run |", "|---|---|"]
    claims = {line.split("**")[1]: line for line in lines if line.startswith("| **")}
    shown = [_found(claims[name]) for name in FOUND if name in claims]
    return "\n".join([*head, *rows, "", f"{count}. {missing}", "", "What was found, in short:", "", *shown, ""])


def _found(row: str) -> str:
    """Write a row of the table of claims as a line of a list: statement, number, verdict."""
    claim, measured, interval, over, _, verdict, _ = row.strip("| ").split(" | ")
    statement = claim.partition(": ")[2]
    number = f"{measured} {interval}".strip()
    return f"- {statement} Measured {number} over {over}: {verdict.strip('*').lower()}."


def updated(readme: str, page: str) -> str:
    """
    Put the verdicts of a run into the README.

    Parameters
    ----------
    readme, page : str
        README.md and docs/reproduction.md.

    Returns
    -------
    str
        The README with its marked part written anew.
    """
    before, rest = readme.split(BEGIN)
    return before + BEGIN + verdicts(page) + END + rest.split(END)[1]


if __name__ == "__main__":
    root = Path(__file__).parents[1]
    page = (root / "docs/reproduction.md").read_text(encoding="utf-8")
    readme = root / "README.md"
    readme.write_text(updated(readme.read_text(encoding="utf-8"), page), encoding="utf-8")
