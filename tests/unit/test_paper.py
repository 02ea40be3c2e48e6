"""The paper keeps to the journal's format, and each of its numbers stands in the documentation."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAPER = (ROOT / "paper/paper.md").read_text(encoding="utf-8")
_, HEADER, BODY = PAPER.split("---\n", 2)
BIBLIOGRAPHY = (ROOT / "paper/paper.bib").read_text(encoding="utf-8")
SECTIONS = [
    "Summary", "Statement of need", "State of the field", "Software design", "Research impact statement",
    "Acknowledgements and statements of the authors", "References",
]  # fmt: skip
SOURCE = re.compile(r"<!-- (docs/\S+): (.*?) -->")
NUMBER = re.compile(r"(?<![\w/.^{$])-?\d[\d,.]*\d|(?<![\w/.^{$])-?\d")


def entries(text):
    return {re.match(r"@\w+\{(\w+),", entry)[1]: entry for entry in re.findall(r"^@.*?^\}", text, re.M | re.S)}


def cited():
    """Paragraphs of the paper, and what each quotes of the documentation."""
    told = BODY.partition("\n# References")[0]
    for paragraph in re.split(r"\n\n+", told):
        text = ""
        for part in re.split(r"(<!-- .*? -->\n?(?:<!-- .*? -->\n?)*)", paragraph):
            if part.startswith("<!--"):
                yield text, SOURCE.findall(part)
                text = ""
            else:
                text = re.sub(r"\$[^$]*\$|@\w+|!\[[^\]]*\]\([^)]*\)|`[^`]*`", "", part)
        yield text, []


CITED = list(cited())


def test_the_sections_are_those_that_the_journal_asks_for():
    assert re.findall(r"^# (.*)$", BODY, re.MULTILINE) == SECTIONS
    words = re.sub(r"<!--.*?-->", "", BODY, flags=re.DOTALL).split()
    assert 750 <= len(words) <= 1750
    header = yaml.safe_load(HEADER)
    assert {"title", "tags", "authors", "affiliations", "date", "bibliography"} <= set(header)
    assert re.fullmatch(r"\d{1,2} [A-Z][a-z]+ \d{4}", str(header["date"]))
    assert {str(author["affiliation"]) for author in header["authors"]} <= {
        str(place["index"]) for place in header["affiliations"]
    }
    assert header["bibliography"] == "paper.bib"
    assert "left to the owner" in HEADER


def test_every_number_is_quoted_from_the_documentation():
    found = 0
    for text, sources in CITED:
        numbers = NUMBER.findall(text)
        quoted = " ".join(quotation for _, quotation in sources)
        for number in numbers:
            assert number in NUMBER.findall(quoted), f"{number} in {text.strip()[-200:]!r} has no source"
        found += len(numbers)
    assert found > 5


@pytest.mark.parametrize(("page", "words"), [source for _, sources in CITED for source in sources])
def test_what_is_quoted_stands_there(page, words):
    assert words in (ROOT / page).read_text(encoding="utf-8")


def test_what_is_cited_is_listed_and_the_other_way_round():
    named = set(re.findall(r"@(\w+)", re.sub(r"<!--.*?-->", "", BODY, flags=re.DOTALL)))
    assert named == set(entries(BIBLIOGRAPHY))
    shared = entries((ROOT / "docs/site/references.bib").read_text(encoding="utf-8"))
    assert all(shared.get(key, entry) == entry for key, entry in entries(BIBLIOGRAPHY).items())
    assert {"MT18", "PRE17", "SV07"} <= set(shared)


def test_pictures_are_there():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", BODY, re.DOTALL)
    assert pictures
    assert all((ROOT / "paper" / path).is_file() for path in pictures)
