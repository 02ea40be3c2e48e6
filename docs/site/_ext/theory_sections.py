"""The sections of docs/theory.md that docstrings name, and the numbers of the statements in them."""

from __future__ import annotations

import re
from pathlib import Path

SECTION = re.compile(r"docs/theory\.md,\s+[\"“]([^\"”]+)[\"”]")
"""How a docstring names a section."""


def statements(page: str) -> dict[str, list[int]]:
    """
    Find the numbered statements of each section.

    Parameters
    ----------
    page : str
        The text of docs/theory.md.

    Returns
    -------
    dict of str to list of int
        By the title of the nearest heading above them.
    """
    found: dict[str, list[int]] = {}
    title = ""
    for line in page.splitlines():
        if heading := re.match(r"#+ (.*)", line):
            title = heading[1]
        elif statement := re.match(r"\*\*Statement (\d+)", line):
            found.setdefault(title, []).append(int(statement[1]))
    return found


NUMBERS = statements((Path(__file__).resolve().parents[2] / "theory.md").read_text(encoding="utf-8"))


def numbered(section: str) -> str:
    """Write the numbers of the statements of a section."""
    numbers = NUMBERS.get(section, [])
    if len(numbers) < 2:
        return f" (statement {numbers[0]})" if numbers else ""
    return f" (statements {numbers[0]} to {numbers[-1]})"


def slug(title: str) -> str:
    """Give the place of a section as MyST names it."""
    return re.sub(r"[^\w\- ]", "", " ".join(title.lower().split())).replace(" ", "-")
