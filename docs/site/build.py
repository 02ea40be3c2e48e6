"""
Build the site into docs/site/_build/html, and check it: `make site`.

Warnings are errors, hence every page is read anew; an example is run again when it changed. Afterwards every link
inside the site must lead to a page and a place in it, and no page may load anything from a network. What a page shows
of a command's output must be what the command prints today.
"""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.metadata import distribution
from itertools import zip_longest
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).resolve().parent
ROOT = SITE.parents[1]
PAGES = SITE / "_build/html"


class Page(HTMLParser):
    """The places of a page, where it leads, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what one element names."""
        given = {name: value for name, value in attributes if value}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in given:
            self.loads.add(given["src"])
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon") and "href" in given:
            self.loads.add(given["href"])


def problems(folder: Path) -> list[str]:
    """
    Check a built site.

    Parameters
    ----------
    folder : Path
        Its pages.

    Returns
    -------
    list of str
        Links that lead nowhere, and what is loaded from elsewhere.
    """
    # The theme leaves a template among its own files.
    pages = {path: Page(path) for path in folder.rglob("*.html") if "_static" not in path.parts}
    found = []
    for path, page in pages.items():
        for link in sorted(page.links | page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    found.append(f"{path.relative_to(folder)} loads {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{path.relative_to(folder)} leads to {link}, where there is no file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                found.append(f"{path.relative_to(folder)} leads to {link}, a page without this place")
    return found


def shown(page: str) -> str:
    """
    Find the output that a page shows below the command `dcsc certify` of the file that it unpacked.

    Parameters
    ----------
    page : str
        The text of docs/certify.md.

    Returns
    -------
    str
        What stands in the block after the words "prints (version ...)".
    """
    found = re.search(r"^prints \(version .*?\)\n\n```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def outdated() -> list[str]:
    """
    Hold what docs/certify.md shows of a real network against what the command prints.

    Returns
    -------
    list of str
        A sentence for each line of the page that is another one today.
    """
    weights = distribution("silero-vad").locate_file("silero_vad/data/silero_vad_16k_op15.onnx")
    command = [sys.executable, "-m", "dcsc", "certify", str(weights)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    said = shown((ROOT / "docs/certify.md").read_text(encoding="utf-8")).splitlines()
    lines = zip_longest(said, printed.splitlines(), fillvalue="")
    return [f"docs/certify.md shows {old!r}, the command prints {new!r}" for old, new in lines if old != new]


def main() -> int:
    """Build and check."""
    from sphinx.cmd.build import build_main

    arguments = ["-b", "html", "-E", "-W", "--keep-going", "-q", "-c", str(SITE), "-d", str(SITE / "_build/doctrees")]
    if build_main([*arguments, str(ROOT), str(PAGES)]):
        return 1
    found = [*problems(PAGES), *outdated()]
    print("\n".join([*found, f"{len(list(PAGES.rglob('*.html')))} pages in {PAGES.relative_to(ROOT)}"]))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
