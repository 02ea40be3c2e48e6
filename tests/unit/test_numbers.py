"""
Numbers in the prose of pages that are written by hand: the code holds them, or they are told as measured.

A page that states a number elsewhere than in code, formulas or parts that a command writes has it here, or a test
fails. Other numbers are held elsewhere: docs/reproduction.md and docs/iterative.md are written by a run, and
docs/benchmarks.md by `make benchmark`; theorems of docs/theory.md are tests; the gallery is run by `make site`, which
also holds what docs/certify.md shows of a network; the paper quotes these pages.
"""

import math
import re
from pathlib import Path

import pytest
import yaml

from dcsc import seeds, statistics
from dcsc.arrays import LARGEST
from dcsc.pursuit import holistic
from dcsc.stages import sweeps
from dcsc.study import run
from dcsc.study.options.pursuits import BoundOptions
from dcsc.study.options.signals import MOST_JOBS

ROOT = Path(__file__).parents[2]
CLUSTER = yaml.safe_load((ROOT / "config/cluster.yaml").read_text(encoding="utf-8"))
(MILLION,) = CLUSTER["experiments"].values()
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
LOCKED = (ROOT / "docs/site/weights.lock").read_text(encoding="utf-8")
CERTIFIED = (ROOT / "docs/certify.md").read_text(encoding="utf-8")
ACTIVE = [float(share) for share in re.findall(r"^conv\d +\d+ +([\d.]+)% ", CERTIFIED, re.MULTILINE)]
PACKAGE = (ROOT / "tests/package/build_and_try.py").read_text(encoding="utf-8")

HELD = {
    "README.md": {
        "Python 3.11 or newer": 'requires-python = ">=3.11"' in PROJECT,
        "certified at 99 %": BoundOptions().delta == 0.01,
        "10^6 trials a cell": MILLION["signals"]["trials"] * 8 == 10**6,
    },
    "CONTRIBUTING.md": {"Python 3.11 to 3.14": 'VERSIONS = ("3.11", "3.12", "3.13", "3.14")' in PACKAGE},
    "docs/site/start.md": {"Python 3.11 or newer": 'requires-python = ">=3.11"' in PROJECT},
    "docs/cluster.md": {
        "draws 10^6 trials a cell": MILLION["signals"]["trials"] * 8 == 10**6,
        "125,000 for each of 8 dictionaries": MILLION["signals"]["trials"] == 125_000
        and {cascade["replicates"] for cascade in CLUSTER["cascades"].values()} == {8},
        "blocks of 32 trials": seeds.BLOCK == 32,
    },
    "docs/howto.md": {
        "up to 3000 deepest atoms": holistic.MAX_ATOMS == 3000,
        "30 seconds of silence": run.QUIET_FOR == 30,
    },
    "docs/certify.md": {
        "version 6.2.3 of the package": "silero-vad==6.2.3 " in LOCKED,  # make site holds what it prints
        "2 GiB by default": LARGEST == 2 * 2**30,
        "27 to 55 % of all atoms are active": (round(min(ACTIVE)), round(max(ACTIVE))) == (27, 55),
    },
    "config/README.md": {
        "97 % to 3 %": sweeps.LEVELS == (0.97, 0.03),
        "32 trials": seeds.BLOCK == 32,
        "32 draws": seeds.BLOCK == 32,
        "5,000": MOST_JOBS == 5_000,
        "299 draws": math.isclose(statistics.proportion_lower_limit(299, 299), 0.99, abs_tol=5e-5)
        and statistics.proportion_lower_limit(298, 298) < 0.99,
    },
}
"""What a page says, and whether it is so."""

MEASURED = {
    "README.md": ("took 14 to 18 minutes and 2.0 GB", "10 to 19 minutes", "took 2 minutes more"),
    "docs/cluster.md": (
        "On a 2-core machine",
        "7.0 s, median of three",
        "10 s if",
        "2.7 s of processor",
        "3 to 4 s a start",
        "20 s at first",
    ),
}
"""
What was measured once, on a machine that the page tells of; that the times of the reproduction are near what
`make estimate` says today is held by tests/workflow/test_estimate.py.
"""

NO_CLAIM = re.compile(
    r"arXiv:|JMLR 18|Letters 14|section 8|order of 1/mu|Theorem 1[12]|layer [12]\b|in 2-D|cell 10 has|exit status is 0|"
    r"factor of 2\b|above 1 runs|^\d\.$|shape of \(8, 8, 32\)|scaled to 1|one tap and stride 1|\(512, 1\)|"
    r"Welch bound is 0 if|shapes \(1, 3, 64, 96\)|95 %|Replicate 3|1 next to the signal|0 for none|list of 2 entries"
)
"""Citations, examples, definitions, and levels that the code of the same page asks for."""

WRITTEN = re.compile(
    r"```.*?```|<!-- verdicts.*?end of verdicts -->|<!--.*?-->|\A---\n.*?\n---\n|"
    r"^    [^\n]*$|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\]\([^)]*\)|\[[A-Z]+\d\d\]",
    re.DOTALL | re.MULTILINE,
)
NUMBER = re.compile(r"(?<![\w/.^{$\[(#-])-?\d[\d,.]*\d|(?<![\w/.^{$\[(#-])-?\d(?!\w)|\(\d")
PAGES = sorted({*HELD, *MEASURED, *(f"docs/site/gallery/{path.name}" for path in ROOT.glob("docs/site/gallery/*.md"))})


def sentences(page):
    """What stands in the prose of a page, cut where sentences end."""
    prose = WRITTEN.sub("", (ROOT / page).read_text(encoding="utf-8"))
    parts = re.split(r"\n\s*\n|\n(?=[-|*] |\|)|(?<=[.;:!?]) +|(?<=[.;:!?])\n", prose)
    return [" ".join(part.split()) for part in parts]


@pytest.mark.parametrize("page", sorted(HELD))
def test_what_a_page_says_is_so(page):
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    for words, is_so in HELD[page].items():
        assert words in text, f"{page} does not say {words!r} any more: take it out of HELD"
        assert is_so, f"{page} says {words!r}, which is not so"


@pytest.mark.parametrize("page", PAGES)
def test_no_number_is_stated_that_nothing_holds(page):
    known = (*HELD.get(page, ()), *MEASURED.get(page, ()))
    for sentence in sentences(page):
        held = any(words in sentence for words in known) or NO_CLAIM.search(sentence)
        assert held or not NUMBER.search(sentence), f"{page} states a number that nothing holds: {sentence!r}"


def test_a_number_is_seen_as_one():
    assert all(NUMBER.search(words) for words in ("took 35 minutes", "a mean of 0.5", "of shape (8, 2)", "1 s"))
    assert not NUMBER.search("layer_2 of X^2, [PRE17] and float64")
