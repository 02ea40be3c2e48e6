"""
Numbers in the prose of pages that are written by hand: the code holds them, or they are told as measured.

A page that states a number elsewhere than in code, formulas or parts that a command writes has it here, or a test
fails; a page that is added is looked at, too. Other numbers are held elsewhere: docs/reproduction.md and
docs/iterative.md are written by a run, docs/benchmarks.md by `make benchmark`; theorems of docs/theory.md are tests;
the gallery is run by `make site`, which also holds what docs/certify.md shows of a network;
the paper quotes these pages.
"""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import norm

from benchmarks import report
from dcsc import seeds, statistics
from dcsc.arrays import LARGEST
from dcsc.guarantees import tails, top_k
from dcsc.kernels import rademacher, sharpen
from dcsc.pursuit import holistic
from dcsc.stages import sweeps
from dcsc.study import run
from dcsc.study.options.networks import NetworksOptions
from dcsc.study.options.pursuits import BoundOptions
from dcsc.study.options.signals import MOST_JOBS

ROOT = Path(__file__).parents[2]
CLUSTER = yaml.safe_load((ROOT / "config/cluster.yaml").read_text(encoding="utf-8"))
(MILLION,) = CLUSTER["experiments"].values()
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
LOCKED = (ROOT / "docs/site/weights.lock").read_text(encoding="utf-8")
ENUMERATION, ALIGNED = (
    (ROOT / f"tests/theory/test_{name}.py").read_text(encoding="utf-8") for name in ("enumeration", "aligned_cascade")
)
SIGNALS = (ROOT / "docs/network_signals.py").read_text(encoding="utf-8")
CERTIFIED = (ROOT / "docs/certify.md").read_text(encoding="utf-8")
ACTIVE = [float(share) for share in re.findall(r"^conv\d +\d+ +([\d.]+)% ", CERTIFIED, re.MULTILINE)]
LAYERS, DIFFERENCES, F1, WINDOWS = (
    pd.read_csv(ROOT / f"docs/images/networks/networks-{name}.csv")
    for name in ("layers", "differences", "f1", "windows")
)
PACKAGE = (ROOT / "tests/package/build_and_try.py").read_text(encoding="utf-8")


Z = np.linspace(2.3, 30, 1000)
SAMPFORD = 4 / (3 * Z + np.sqrt(Z**2 + 8)) * norm.pdf(Z) / norm.sf(Z)


def compared(name, share=1.0, magnitudes="measured"):
    """A difference of F1, layer by layer, of codes in networks."""
    of = DIFFERENCES[(DIFFERENCES["compared"] == name) & (DIFFERENCES["share"] == share)]
    return of[of["magnitudes"] == magnitudes]


def found(filters, support="measured", signs="as they are"):
    """F1 of whole codes of the measured magnitudes, layer by layer."""
    of = F1[(F1["filters"] == filters) & (F1["support"] == support) & (F1["signs"] == signs)]
    return of.set_index(["network", "depth"])["f1"]


def cost_of_random_signs(filters):
    return found(filters) - found(filters, signs="random")


def positions(samples):
    """Positions of the four layers of silero-vad, whose spectra are of 256 samples every 128, with 64 before them."""
    made = [(samples + 64 - 256) // 128 + 1]
    for stride in LAYERS.loc[LAYERS["network"] == "silero-vad", "stride"]:
        made.append(-(-made[-1] // int(stride)))
    return "{}, {}, {} and {}".format(*made[1:])


TRAINING = compared("training")
ALL_ACTIVE = 2 * LAYERS["density"] / (1 + LAYERS["density"])  # F1 if every atom is called active
WORSE = LAYERS[LAYERS["training_below"] == 1].set_index(["network", "depth"])["training"]
SPARSEST = LAYERS.loc[LAYERS["density"].idxmin()]
FIVE = {share: compared("training", share).query("network != 'ocr-detector'") for share in (0.1, 0.01)}
OPTIMISED = compared("optimisation", 0.1)
EQUAL = compared("training", magnitudes="equal")
WINDOWS_EQUAL = WINDOWS.query("compared == 'training' and magnitudes == 'equal' and share == 1").set_index("depth")
CLIPS_EQUAL = EQUAL[EQUAL["network"] == "silero-vad"].set_index("depth")
CLIPS = TRAINING.query("network == 'silero-vad'")
NETWORKS = {
    f"surely more (the whole interval is above 0) in {TRAINING['above'].sum()} of {len(LAYERS)} layers": True,
    f"{TRAINING['difference'].median():.2f} in F1 in the median": True,
    f"more coherent than random ones in {LAYERS['trained_above_random'].sum()} of {len(LAYERS)} layers": True,
    f"(median {(found('trained', signs='random') - found('random', signs='random')).median():.3f})": True,
    "On uniform supports the sign turns ({:.3f})".format(
        (found("trained", "uniform") - found("random", "uniform")).median()
    ): True,
    f"Random signs cost {cost_of_random_signs('trained').median():.2f} in the median for trained filters and "
    f"{cost_of_random_signs('random').median():.2f} for random ones": True,
    "cost trained ones more in all 44 layers": (cost_of_random_signs("trained") > cost_of_random_signs("random")).sum()
    == len(LAYERS)
    == 44,
    "In all layers but one the codes are dense, with {:.0f} to {:.0f} % of all atoms active".format(
        *(100 * LAYERS["density"].nsmallest(2).iloc[1:]), 100 * LAYERS["density"].max()
    ): True,
    f"would already give an F1 of {ALL_ACTIVE.nsmallest(2).iloc[1]:.2f} to {ALL_ACTIVE.max():.2f}": True,
    "Of whole codes, random filters surely find more in two layers:": len(WORSE) == 2,
    f"the second one of CREPE ({-WORSE['crepe-tiny', 2]:.2f}), and": True,
    f"the fourteenth of the detector, with {100 * SPARSEST['density']:.1f} % of all atoms active "
    f"({-WORSE['ocr-detector', 14]:.2f})": (SPARSEST["network"], SPARSEST["depth"]) == ("ocr-detector", 14),
    f"Of codes thinned to a tenth they surely find more in {compared('training', 0.1)['below'].sum()} of "
    f"{len(LAYERS)} layers, and of codes thinned to a hundredth in {compared('training', 0.01)['below'].sum()},": True,
    f"it was {(FIVE[0.1]['difference'] < 0).sum()} and {(FIVE[0.01]['difference'] < 0).sum()} of the {len(FIVE[0.1])} "
    "layers of the first five networks": True,
    f"Optimised filters surely find more than trained ones in {OPTIMISED['below'].sum()} of the {len(OPTIMISED)}": True,
    f"trained filters surely find more in {EQUAL['above'].sum()} of {len(EQUAL)} layers, random ones in "
    f"{EQUAL['below'].sum()}": True,
    "does not reverse in any layer": not DIFFERENCES.loc[DIFFERENCES["compared"] == "cooperation", "below"].any(),
    f"leaves {100 * LAYERS['unexplained'].min():.0f} to {100 * LAYERS['unexplained'].max():.0f} % of a layer's": True,
    "above in three layers and below in none": (CLIPS["above"].sum(), CLIPS["below"].sum()) == (3, 0),
    f"its layers have {positions(576)} positions": True,
    f"they have {positions(4096)}.": True,
    "surely below in every layer of the windows, though by 0.001 in the third, and in the second of the clips": (
        WINDOWS_EQUAL["below"].all()
        and f"{WINDOWS_EQUAL.loc[3, 'difference']:.3f}" == "-0.001"
        and CLIPS_EQUAL.index[CLIPS_EQUAL["below"] == 1].tolist() == [2]
    ),
    "windows of 576 samples": "start : start + 576" in SIGNALS,
    "clips of 4096 samples": "vowel(rng, 4096, 16000)" in SIGNALS,
    "over 8 signals (4 of basic-pitch)": "TRIALS = 8\n" in SIGNALS and "range(TRIALS // 2)" in SIGNALS,
    "(up to 64 filters)": NetworksOptions.model_fields["most_optimised"].default == 64,
    "with 95 % intervals": NetworksOptions.model_fields["confidence"].default == 0.95,
}
"""What docs/networks.md says of the tables of its run that are kept, and of how it was made."""

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
    "docs/networks.md": NETWORKS,
    "docs/theory.md": {
        "the mean of the sums is 1.46 and that of the capped sums 0.93": "== (1.46, 0.93)" in ENUMERATION,
        "256 of the 4096 sign patterns fail, 6.25 %": 256 / 2**12 == 0.0625 and "256_of_the_4096" in ALIGNED,
        "$C = 1/(4 Q(\\sqrt 2)) = 3.178\\ldots$": f"{tails.GAUSSIAN:.4f}" == "3.1787",
        "\\Delta = 0.56\\,": rademacher.BERRY_ESSEEN == 0.56,
        "makes it 0.2 % of Chernoff's bound": rademacher.REMAINDER == 0.002,
        "about 0.5 % of the margin": rademacher.COARSENESS == 0.005,
        "loses about 1 %": math.isclose(1 - (1 - rademacher.COARSENESS) ** 2, 0.01, abs_tol=5e-4),
        "up to 52 terms": rademacher.WHOLE == 52,
        "until the rest is at most 7 % of the sum": 2 * sharpen.SHARE < 0.07,  # Chernoff's, then the lattice's
        "sums of more than 200 terms": sharpen.MOST_COUNTED == 200,
        "Where the closed tails add up to 100, or Chernoff's to 50": sharpen.HOPELESS == (100, 50),
        "A third of the atoms only choose": math.isclose(sharpen.CHOOSING, 1 / 3),
        "among five thresholds": sharpen.FINE == 5,
        "so that 64 pairs are enough": top_k.PAIRS == 64,
        "at most 0.2 % larger where $z \\ge 2.3$": (SAMPFORD <= 1.002).all(),
        "it takes 299 covered draws out of 299 to certify 99 %": statistics.proportion_lower_limit(298, 298) < 0.99,
    },
    "config/README.md": {
        "97 % to 3 %": sweeps.LEVELS == (0.97, 0.03),
        "32 trials": seeds.BLOCK == 32,
        "32 draws": seeds.BLOCK == 32,
        "(5,000)": MOST_JOBS == 5_000,
        "299 draws are the fewest that can certify 99 %": math.isclose(
            statistics.proportion_lower_limit(299, 299), 0.99, abs_tol=5e-5
        )
        and statistics.proportion_lower_limit(298, 298) < 0.99,
    },
}
"""What a page says, and whether it is so."""

MEASURED = {
    "README.md": (
        "On 2 cores",
        "took 10 minutes, compiling included, and 2.0 GB",
        "8 to 19 minutes",
        "took 2 minutes more",
    ),
    # The first in the run whose tables are kept; the others by the computation that the page tells of.
    "docs/networks.md": (
        "about five minutes of one core and 1.3 GB",
        "0.04 and 0.02 below random ones in the second and fourth",
        "+0.036, +0.011, +0.032 and +0.048 (intervals within 0.02)",
        "-0.020, -0.025, -0.003 and -0.016 on the windows",
        "to -0.06, -0.09, +0.02 and -0.07 on 64 windows, with measured ones to +0.07, +0.05, +0.15 and +0.20",
        "find 0.99 in the last layers",
    ),
    "config/README.md": ("in about 20 s",),
    "docs/theory.md": (
        "of 130 terms 2.8 times, of 600 terms 1.9 times",
        "which costs about 4 % of the certified sparsity there",
        "with 24 atoms the standard deviation of $\\hat b(S)$ is a tenth of its mean",
        "A draw of 240 non-zeros takes 0.6 ms instead of 6.8 (1024 entries, 128 filters of 256 taps)",
        "up to 3 % of a bound",
        "Theorem 12 covers 72 % of those with 8 non-zeros (mean stripe-sparsity 4.2) and 3 % with 12",
        "covers all of those with 16 (7.1) and 92 % with 24 (9.9)",
        "random signs leave a mean failure bound of 0.3 % with 32 (12.2)",
        "(.03 to .2 on average, with a standard deviation of .02 to .04)",
    ),
    "docs/cluster.md": (
        "On a 2-core machine",
        "a study of 994 jobs",
        "7.0 s, median of three between 6.4 and 7.1",
        "10 s if",
        "2.7 s of processor",
        "3 to 4 s a start",
        "20 s at first, growing by 10 s to 180 s",
    ),
}
"""
What was measured once, on a machine that the page tells of; that the times of the reproduction are near what
`make estimate` says today is held by tests/workflow/test_estimate.py.
"""

NO_CLAIM = re.compile(
    r"arXiv:\d+\.\d+|JMLR 18, 2017|Letters 14\(11\), 2007|section 8|order of 1/mu|Theorem 1[12]|layer [12]\b|in 2-D|"
    r"cell 10 has the first 100 codes of the file with 6 to 10 non-zeros, and the cell 5 those with 1 to 5|"
    r"exit status is 0|factor of 2\b|above 1 runs|^\d\.$|shape of \(8, 8, 32\)|scaled to 1|one tap and stride 1|"
    r"\(512, 1\)|Welch bound is 0 if|shapes \(1, 3, 64, 96\)|95 %|Replicate 3|1 next to the signal|0 for none|"
    r"list of 2 entries|above or below 0\b|is above 0\b|clear of 0\b|between 1 and 2\b"
)
"""Citations, examples, definitions, and levels that the code of the same page asks for."""

WRITTEN = re.compile(
    r"```.*?```|<!-- verdicts.*?end of verdicts -->|<!-- \w+ -->\n.*?<!-- end -->|<!--.*?-->|\A---\n.*?\n---\n|"
    r"^    [^\n]*$|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|\]\([^)]*\)|\[[A-Z]+\d\d\]",
    re.DOTALL | re.MULTILINE,
)
NUMBER = re.compile(r"(?<![\w/.^{$\[(#-])-?\d[\d,.]*\d|(?<![\w/.^{$\[(#-])-?\d(?!\w)|\(\d")
ELSEWHERE = {
    "docs/reproduction.md": "a run writes it",
    "docs/iterative.md": "a run writes it",
    "docs/benchmarks.md": "written from benchmarks/results.json, see below",
    "docs/theory.md": "theorems are tests in tests/theory; numbers of the prose are in HELD and MEASURED",
    "CHANGELOG.md": "what was so when it was written",
}
"""Pages whose numbers are held by something else."""
FOLDERS = ("*.md", "config/*.md", "docs/*.md", "docs/site/*.md", "docs/site/gallery/*.md")
PAGES = sorted({str(path.relative_to(ROOT)) for folder in FOLDERS for path in ROOT.glob(folder)} - {*ELSEWHERE})


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


@pytest.mark.parametrize("page", sorted(MEASURED))
def test_what_was_measured_is_still_said(page):
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    assert [words for words in MEASURED[page] if words not in text] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_number_is_stated_that_nothing_holds(page):
    for sentence in sentences(page):
        rest = sentence
        for words in (*HELD.get(page, ()), *MEASURED.get(page, ())):
            rest = rest.replace(words, "")
        number = NUMBER.search(NO_CLAIM.sub("", rest))
        assert not number, f"{page} states a number, {number[0]}, that nothing holds: {sentence!r}"


def test_the_page_of_benchmarks_is_written_from_their_results():
    results = json.loads((ROOT / "benchmarks/results.json").read_text(encoding="utf-8"))
    assert report.page(results) == (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")


def test_a_number_is_seen_as_one():
    assert all(NUMBER.search(words) for words in ("took 35 minutes", "a mean of 0.5", "of shape (8, 2)", "1 s"))
    assert not NUMBER.search("layer_2 of X^2, [PRE17] and float64")
