"""The page that gathers all figures, as a browser shows it."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from tests.workflow.support import ROOT, TINY

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

CLICKS = """
<script>
const steps = STEPS, seen = [];
function target(step) {
  if (step.startsWith("css:")) return document.querySelector(step.slice(4));
  return [...document.querySelectorAll("a, td, label")].find(element => element.textContent.trim() === step);
}
function look() {
  const pictures = [...document.querySelectorAll("img")].filter(image => image.naturalWidth > 100).length;
  seen.push({text: document.body.innerText, pictures: pictures});
}
function go(index) {
  look();
  if (index === steps.length) {
    const told = document.createElement("pre");
    told.id = "seen";
    told.textContent = JSON.stringify(seen);
    document.body.append(told);
    return;
  }
  const element = target(steps[index]);
  if (element) element.dispatchEvent(new MouseEvent("click", {bubbles: true}));
  setTimeout(() => go(index + 1), 1000);
}
setTimeout(() => go(0), 1500);
</script>
"""


def browse(report, *steps):
    """Open the report, click through it, and tell what is seen at the start and after every click."""
    before, _, after = report.read_text(encoding="utf-8").rpartition("</body>")
    page = report.with_name("clicked.html")
    page.write_text(f"{before}{CLICKS.replace('STEPS', json.dumps(steps))}</body>{after}", encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", "--window-size=1400,1000"]
    shown = subprocess.run(
        [BROWSER, *options, f"--user-data-dir={report.parent / 'browser'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return json.loads(unescape(re.search(r'<pre id="seen">(.*)</pre>', shown.stdout, re.DOTALL).group(1)))


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory):
    study = finished.copied(tmp_path_factory.mktemp("report") / "study")
    code, output = study.snakemake("--report", "results-tiny/report.html")
    assert code == 0, output
    return study.results / "report.html"


def first_words(caption):
    text = (ROOT / "workflow/report" / caption).read_text(encoding="utf-8")
    return " ".join(text.split()[:6])


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here to show the report")
@pytest.mark.parametrize(
    ("experiment", "panels"), [("transition", ["recovery", "thresholds"]), ("accuracy", ["local-snr"])]
)
def test_a_browser_shows_sections_figures_and_captions(report, experiment, panels):
    title = TINY["experiments"][experiment]["title"]
    home, section, figure, caption = browse(report, title, "css:table a", "css:table a + a")
    assert all(options["title"] in " ".join(home["text"].split()) for options in TINY["experiments"].values())
    assert first_words("workflow.rst") in home["text"]
    assert all(panel in section["text"] for panel in panels)
    assert (section["pictures"], figure["pictures"]) == (0, 1)
    assert first_words(f"{panels[0]}.rst") in " ".join(caption["text"].split())
    assert f"results-tiny/figures/{experiment}-{panels[0]}.png" in caption["text"]


def test_the_report_holds_every_figure_and_its_numbers_and_no_error(report):
    content = report.read_text(encoding="utf-8")
    listed = json.loads(re.search(r"var categories = (\{.*?\});\n", content).group(1))
    files = [file for subcategories in listed.values() for group in subcategories.values() for file in group]
    panels = [(name, panel) for name, options in TINY["experiments"].items() for panel in options["figures"]]
    expected = [f"results-tiny/figures/{name}-{panel}.{kind}" for name, panel in panels for kind in ("csv", "png")]
    assert sorted(files) == sorted(expected)
    assert "system-message" not in content  # docutils' mark of an error in a caption
