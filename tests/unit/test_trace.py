"""From an output back to seeds, settings, code and inputs; what was tampered with is named."""

import json
import shutil

import matplotlib as mpl
import netCDF4
import pandas as pd
import pytest

from dcsc import __main__ as command_line
from dcsc.errors import UserError
from dcsc.figures import style
from dcsc.figures.inputs import Style
from dcsc.stages.dictionaries import draw_dictionaries
from dcsc.store import dataset, provenance, seals
from dcsc.study import trace

STYLE = {"context": "paper", "palette": "colorblind", "width": 8.0, "dpi": 50}
MEMBER = {
    "grid": [8],
    "replicates": 1,
    "layers": [{"family": "gaussian", "parameters": {"n_filters": 1, "taps": 2, "stride": 1}}],
}
NASTY = 'backslash \\ bracket ( ) quote " tag <b>&amp; newline \n umlaut ü 漢'


def recorded(schema, settings, results, inputs, path=""):
    library = provenance.library(provenance.modules(provenance.SCRIPTS / "draw_dictionaries.py"))
    digests = {path: provenance.file_digest(results / path) for path in inputs}
    return provenance.record(schema, 1, settings, library, digests, path)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A figure in all formats and its table, of two datasets, of which one was made from the other and a plugin."""
    run = tmp_path_factory.mktemp("run")
    (run / "plugin.py").write_text("pass\n")
    results = run / "results"
    content = draw_dictionaries(MEMBER, 1)
    first, second = "dictionaries/first.nc", "dictionaries/second.nc"
    dataset.write(content, results / first, recorded("dictionaries", {"seed": 11}, results, [], first))
    record = recorded("dictionaries", {"seed": 12, "title": NASTY}, results, [first, "../plugin.py"], second)
    dataset.write(content, results / second, record)
    record = recorded("figure", {"title": NASTY}, results, [first, second])
    figure = mpl.figure.Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    files = [results / "figures" / f"e-recovery.{suffix}" for suffix in style.FORMATS]
    style.save(figure, files, Style(**STYLE), record)
    style.save_table(pd.DataFrame({"a": [1.5]}), results / "figures/e-recovery.csv", record)
    return results


@pytest.fixture
def results(original, tmp_path):
    shutil.copytree(original.parent, tmp_path / "run")
    return tmp_path / "run" / "results"


SUFFIXES = [*style.FORMATS, "csv"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_leads_back_to_seeds_settings_and_inputs(results, suffix):
    found = trace.trace(results / f"figures/e-recovery.{suffix}")
    assert found.problems == []
    assert found.changed == []
    assert found.seeds == [11, 12]
    assert set(found.nodes) == {found.root, "dictionaries/first.nc", "dictionaries/second.nc", "../plugin.py"}
    assert found.nodes[found.root].record["settings"] == {"title": NASTY}
    assert all(node.state == trace.OK for name, node in found.nodes.items() if name != found.root)
    assert found.nodes[found.root].state == trace.OK


def test_a_figure_that_was_copied_away_is_traced_with_the_results_folder(results, tmp_path):
    copy = shutil.copy(results / "figures/e-recovery.pdf", tmp_path)
    assert trace.trace(copy, results).problems == []
    lost = trace.trace(copy, tmp_path).problems
    assert [problem.partition(": ")[0] for problem in lost] == ["dictionaries/first.nc", "dictionaries/second.nc"]


def test_the_tree_shows_shared_inputs_once(results):
    text = trace.as_text(trace.trace(results / "figures/e-recovery.svg"))
    assert text.count("seed: 11") == 1
    assert text.count("dictionaries/first.nc") == 2
    assert text.endswith("digests  all verified")


def test_the_json_is_whole(results):
    content = json.loads(trace.as_json(trace.trace(results / "figures/e-recovery.csv")))
    assert content["verified"]
    assert content["seeds"] == [11, 12]
    assert content["nodes"]["dictionaries/second.nc"]["inputs"] == ["../plugin.py", "dictionaries/first.nc"]


def append(file):
    with file.open("ab") as opened:
        opened.write(b"x")


def unlink(file):
    file.unlink()


def resign(file):
    """Alter the content and its sidecar too: what was made from it still knows the digest."""
    append(file)
    dataset.sidecar(file).write_text(f"{provenance.file_digest(file)}  {file.name}\n")


DATASETS = ("dictionaries/first.nc", "dictionaries/second.nc")
DAMAGES = [(damage, path) for damage in (append, unlink, resign) for path in DATASETS]


@pytest.mark.parametrize(("damage", "path"), [*DAMAGES, (append, "../plugin.py"), (unlink, "../plugin.py")])
def test_what_was_tampered_with_or_lost_is_named(results, capsys, damage, path):
    damage(results / path)
    code = command_line.main(["trace", str(results / "figures/e-recovery.png")])
    problems = [line for line in capsys.readouterr().out.splitlines() if line.startswith("PROBLEM")]
    what = (
        "it is missing, make it again by running its rule"
        if damage is unlink
        else "its content is not what was recorded"
    )
    assert code == 1
    assert problems == [f"PROBLEM  {path}: {what}"]


def test_an_edited_table_is_named(results):
    append(results / "figures/e-recovery.csv")
    assert trace.trace(results / "figures/e-recovery.csv").problems == [
        "figures/e-recovery.csv: its content is not what was recorded"
    ]


def test_edited_settings_are_named(results):
    file = results / "figures/e-recovery.csv-metadata.json"
    file.write_text(file.read_text().replace("umlaut", "Umlaut"))
    assert trace.trace(results / "figures/e-recovery.csv").problems[0].endswith("its content is not what was recorded")
    seals.seal_file(file)  # as if it had been written so
    problems = trace.trace(results / "figures/e-recovery.csv").problems
    assert problems == ["figures/e-recovery.csv: its recorded settings do not have their recorded digest"]


def test_a_changed_module_is_named_and_is_no_problem(results):
    file = results / "figures/e-recovery.csv-metadata.json"
    metadata = json.loads(file.read_text())
    metadata["provenance"]["library"]["modules"]["dcsc/seeds.py"] = "0" * provenance.DIGITS
    file.write_text(json.dumps(metadata))
    seals.seal_file(file)
    found = trace.trace(results / "figures/e-recovery.csv")
    assert found.problems == []
    assert found.changed == ["dcsc/seeds.py"]
    assert "differs from the present source: dcsc/seeds.py" in trace.as_text(found)


FOREIGN = {
    "x.pdf": b"%PDF-1.4\n1 0 obj\n<< /Title (a) >>\nendobj\ntrailer\n<< /Info 1 0 R >>\n",
    "y.pdf": b"\0" * 100,
    "x.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "y.svg": b"<svg",
    "x.png": b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
    "x.nc": b"CDF",
    "x.csv": b"a,b\n",
    "x.txt": b"",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_in_one_line(tmp_path, capsys, name):
    file = tmp_path / name
    file.write_bytes(FOREIGN[name])
    assert command_line.main(["trace", str(file)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {file} ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("text", ["3", "[]", "{}", '{"schema": 1}', "[" * 100_000, "nonsense"])
def test_a_record_that_is_none_is_refused(tmp_path, text):
    file = tmp_path / "x.nc"
    with netCDF4.Dataset(file, "w") as opened:
        opened.provenance = text
    dataset.sidecar(file).write_text(provenance.file_digest(file))
    with pytest.raises(UserError, match="has no provenance of dcsc"):
        trace.read_record(file)


def test_a_table_that_names_itself_as_input_ends(results):
    file = results / "figures/e-recovery.csv-metadata.json"
    metadata = json.loads(file.read_text())
    metadata["provenance"]["inputs"] = [{"path": "figures/e-recovery.csv", "sha256": metadata["sha256"]}]
    file.write_text(json.dumps(metadata))
    seals.seal_file(file)
    assert trace.trace(results / "figures/e-recovery.csv", results).problems == []


def test_a_missing_file_is_named(tmp_path, capsys):
    assert command_line.main(["trace", str(tmp_path / "none.pdf")]) == 1
    assert "none.pdf does not exist: name a file that the workflow wrote" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["trac"], ["trace"]])
def test_usage_errors_end_with_two(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        command_line.main(arguments)
    assert ended.value.code == 2
    assert "usage: dcsc" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "start"), [("schema", "$schema:"), ("keys", "| key |")])
def test_the_configuration_documents_itself(capsys, command, start):
    assert command_line.main([command]) == 0
    assert capsys.readouterr().out.startswith(start)


def test_datasets_in_the_places_of_each_other_are_named(results):
    first, second = (results / name for name in DATASETS)
    for suffix in ("", ".sha256"):
        one, other = first.with_name(f"first.nc{suffix}"), first.with_name(f"second.nc{suffix}")
        content = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(content)
    problems = trace.trace(second).problems
    assert problems[0] == (
        "dictionaries/second.nc: it is another file, which was written as dictionaries/first.nc, "
        "of the schema dictionaries"
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_altered_figure_is_named(results, suffix):
    file = results / f"figures/e-recovery.{suffix}"
    append(file)
    found = trace.trace(file)
    assert found.problems == [f"{found.root}: its content is not what was recorded"]


def test_a_changed_version_is_shown_and_is_no_problem(results, capsys, monkeypatch):
    present = {**provenance.versions(), "numpy": "0.0"}
    recorded = provenance.versions()["numpy"]
    monkeypatch.setattr(provenance, "versions", lambda *_: present)
    assert command_line.main(["trace", str(results / "figures/e-recovery.svg")]) == 0
    assert f"versions numpy {recorded}, now 0.0\n" in capsys.readouterr().out
    assert trace.trace(results / "figures/e-recovery.svg").versions == [f"numpy {recorded}, now 0.0"]
