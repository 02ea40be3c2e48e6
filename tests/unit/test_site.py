"""The sources of the site, as far as they can be tested without building it: `make site` does the rest."""

import ast
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

import dcsc
from dcsc import __main__ as command
from dcsc.study import catalogue

SITE = Path(__file__).parents[2] / "docs" / "site"
NOT_PYTHON = re.compile(r"```.*?```", re.DOTALL)
GALLERY = sorted(path for path in (SITE / "gallery").glob("*.md") if path.stem != "index")


def module(path):
    specification = importlib.util.spec_from_file_location(f"site_{path.stem}", path)
    loaded = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = loaded  # dataclasses look there
    specification.loader.exec_module(loaded)
    return loaded


sys.path.insert(0, str(SITE / "_ext"))
REGISTRIES = module(SITE / "_ext/from_registries.py")
SECTIONS = module(SITE / "_ext/theory_sections.py")
BUILD = module(SITE / "build.py")


def test_every_public_name_has_one_page():
    names = [entry for _, _, entries in REGISTRIES.public_names() for entry in entries]
    assert len({entry.name for entry in names}) == len(names)
    documented = {id(entry.value) for entry in names}
    for name in dcsc.__all__:
        value = getattr(dcsc, name)
        members = [getattr(value, key) for key in getattr(value, "__all__", [])] or [value]
        for member in members:
            assert not callable(member) or id(member) in documented, f"{name}: {member} has no page"


def test_every_function_with_a_page_tells_what_it_does():
    for _, _, entries in REGISTRIES.public_names():
        assert all(entry.summary for entry in entries)


def test_every_choice_of_a_configuration_has_a_page_and_every_figure_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(REGISTRIES, "PAGES", tmp_path)
    written = {path.stem: path.read_text() for path in REGISTRIES.write_choices() if path.suffix == ".md"}
    for kind, choices in catalogue.catalogue().items():
        for choice in choices:
            assert f"\n## {choice.name}\n" in written[kind]
            assert all(f"`{option.name}`" in written[kind] for option in choice.options)
    kinds = catalogue.catalogue()
    without = {"families": 1, "supports": 1, "magnitudes": 1, "signs": 1, "real-signals": 2}  # files and one's own
    for kind, choices in kinds.items():
        pictures = re.findall(r"!\[.*?\]\((.*?)\)", written[kind])
        assert len(pictures) == len(choices) - without.get(kind, 0)
        assert all((tmp_path / "choices" / path).is_file() for path in pictures)


def test_docstrings_become_text_and_not_markup():
    assert REGISTRIES.as_text("shape (..., filter, *position)") == r"shape (..., filter, \*position)"
    assert REGISTRIES.as_text("max |g_ij| of `|x|`") == r"max \|g_ij\| of `|x|`"
    assert REGISTRIES.as_text("**name** : *args") == "**name** : *args"


def test_the_gallery_lists_its_examples():
    index = (SITE / "gallery/index.md").read_text()
    for path in GALLERY:
        assert f"]({path.name}) |" in index, f"{path.name} has no row"
        assert f"\n{path.stem}\n" in index, f"{path.name} is not in the tree"
    assert re.findall(r"\]\((\w+)\.md\)", index) == re.findall(r"^(\w+)$", index.partition("{toctree}")[2], re.M)


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_an_example_asks_a_question_and_calls_what_is_there(path):
    text = path.read_text()
    assert re.search(r"^# .*\n\n\*.*\?\*$", text, re.MULTILINE), "a title, then the question"
    cells = re.findall(r"^```\{code-cell\} python\n(?::.*\n)*(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert cells
    for node in ast.walk(ast.parse("\n".join(cells))):
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("dcsc."):
            value = dcsc
            for name in ast.unparse(node).split(".")[1:]:
                if name.startswith("__"):
                    break
                assert hasattr(value, name), f"{ast.unparse(node)} is not there"
                value = getattr(value, name)


def test_sources_that_the_theory_cites_are_in_the_bibliography():
    theory = (SITE.parent / "theory.md").read_text()
    keys = set(re.findall(r"^@\w+\{(\w+),", (SITE / "references.bib").read_text(), re.MULTILINE))
    assert set(re.findall(r"^- \[([A-Z]+\d\d)\] ", theory, re.MULTILINE)) <= keys
    cited = set()
    for path in [*SITE.parent.glob("*.md"), *Path(dcsc.__file__).parent.rglob("*.py")]:
        cited |= set(re.findall(r"\[([A-Z]{1,5}\d\d)\]", path.read_text()))
    assert cited <= keys


def test_statements_of_the_theory_are_numbered_in_order_and_shown_beside_its_sections():
    numbers = [number for section in SECTIONS.NUMBERS.values() for number in section]
    assert numbers == list(range(1, len(numbers) + 1))
    assert SECTIONS.numbered("One layer") == " (statements 7 to 8)"
    assert SECTIONS.numbered("Path with random signs") == " (statement 9)"
    assert SECTIONS.numbered("Pitfalls") == ""


def test_sections_of_the_theory_that_functions_name_are_there():
    titles = set(re.findall(r"^#+ (.*)$", (SITE.parent / "theory.md").read_text(), re.MULTILINE))
    named = set()
    for path in Path(dcsc.__file__).parent.rglob("*.py"):
        named |= {" ".join(title.split()) for title in SECTIONS.SECTION.findall(path.read_text())}
    assert len(named) > 20
    assert named <= titles


def test_the_steps_of_the_start_page_work(tmp_path, monkeypatch, capsys):
    """All but the install and the run of the study, which `make package` does in clean environments."""
    page = (SITE / "start.md").read_text()
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "start.md", "exec"), {})
    assert np.load("filters.npy").shape == (8, 1, 64)
    assert Path("phase-diagram.png").stat().st_size > 10_000
    commands = [shlex.split(line) for line in re.findall(r"^    (.*)$", NOT_PYTHON.sub("", page), re.MULTILINE)]
    assert [line[0] for line in commands] == ["pip", "dcsc", "dcsc", "snakemake", "dcsc"]
    for _, *arguments in (line for line in commands if line[0] == "dcsc"):
        assert command.main([*arguments, *(["--draws", "0"] if arguments[0] == "certify" else [])]) == 0
    printed = capsys.readouterr().out
    assert "Welch" in printed
    assert (tmp_path / "my-study/config.yaml").is_file()


def test_the_build_finds_the_output_that_the_page_on_certificates_shows():
    said = BUILD.shown((SITE.parent / "certify.md").read_text())
    assert said.startswith("silero_vad_16k_op15.onnx: 6 layers")
    assert "model.encoder.3.reparam_conv" in said
    assert "`" not in said
    assert BUILD.shown("prints (version 1)\n\n```text\none\ntwo\n```\n") == "one\ntwo\n"


def test_links_of_a_built_site_are_checked(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">1</a><a href="b.html#there">2</a><a href="c.html">3</a><a href="#top">4</a>'
        '<a href="https://example.org">5</a><img src="https://example.org/x.png"><p id="top">'
    )
    (tmp_path / "b.html").write_text('<h1 id="here"><a href="a.html">6</a>')
    assert BUILD.problems(tmp_path) == [
        "a.html leads to b.html#there, a page without this place",
        "a.html leads to c.html, where there is no file",
        "a.html loads https://example.org/x.png",
    ]
