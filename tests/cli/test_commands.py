"""Every other command, its errors and its exit codes."""

from __future__ import annotations

import json
import re

import click
import pytest
import typer.main

from sracl_tui.cli.main import app
from tests.support.commands import ROOT


def commands(group: click.Group, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command's words."""
    found: list[tuple[str, ...]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        found += (
            commands(command, (*prefix, name))
            if isinstance(command, click.Group) or hasattr(command, "commands")
            else [(*prefix, name)]
        )
    return found


ALL = commands(typer.main.get_command(app))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_has_examples_and_the_common_options(words, sracl, tmp_path):
    text = sracl(*words, "--help", home=tmp_path).stdout
    assert "Examples:" in text
    for option in ("--home", "--json", "--debug"):
        assert option in text
    assert f"sracl {' '.join(words)}" in text


def test_examples_fit_into_80_columns():
    """Three columns are the margin of the help; a line that wraps can be copied only in part."""
    group = typer.main.get_command(app)
    for words in ALL:
        command = group
        for word in words:
            command = command.get_command(group.make_context("sracl", [], resilient_parsing=True), word)
        for line in command.help.partition("Examples:\n")[2].splitlines():
            assert len(line) <= 77, f"sracl {' '.join(words)}: {line}"


def test_paragraphs_of_a_help_are_wrapped_by_the_terminal_and_examples_are_not():
    from sracl_tui.cli.main import reflowed

    assert (
        reflowed("One\n  sentence.\n\nTwo\nlines.\n\n\b\nExamples:\n  a\n  b")
        == "One sentence.\n\nTwo lines.\n\n\b\nExamples:\n  a\n  b"
    )


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_is_named_in_the_readme_or_the_changelog(words):
    text = (ROOT / "README.md").read_text() + (ROOT / "CHANGELOG.md").read_text()
    assert words[0] in text


def test_an_empty_home_is_told_what_to_do(sracl, tmp_path):
    assert "sracl run" in sracl("runs", home=tmp_path).stderr
    assert "sracl data import" in sracl("data", "list", home=tmp_path).stderr
    assert json.loads(sracl("runs", "--json", home=tmp_path).stdout) == []


def test_runs_lists_metrics_and_state(sracl, home):
    rows = json.loads(sracl("runs", "--json", home=home).stdout)
    full = next(row for row in rows if row["name"] == "full")
    assert full["state"] == "finished"
    assert 0 <= full["test_ndcg_20"] <= full["test_hr_20"] <= 1
    text = sracl("runs", "--tag", "first", home=home).stdout
    assert "full" in text
    assert "plain" not in text
    assert f"{full['test_hr_20']:.4f}" in text


def test_show_has_subgroups_curves_and_settings(sracl, home):
    text = sracl("show", "full", home=home).stdout
    assert "semantics.encoder = tfidf" in text
    assert "tied (" in text
    assert "L_CS" in text
    assert json.loads(sracl("show", "full", "--json", home=home).stdout)["curves"]


def test_inspect_shows_the_summary_beside_the_weights(sracl, home):
    document = json.loads(sracl("inspect", "full", "7", "--json", home=home).stdout)
    assert document["summary"]["provider"] == "offline"
    assert len(document["summary"]["text"].split()) <= 40
    neighbors = document["neighbors"]
    assert [n["cosine_rank"] for n in neighbors] == list(range(1, 11))
    assert sorted(n["weight_rank"] for n in neighbors) == list(range(1, 11))
    assert abs(sum(n["weight"] for n in neighbors) - 1) < 1e-5
    assert all(n["neighbor_user_id"] != 7 for n in neighbors)
    assert neighbors == sorted(neighbors, key=lambda n: -n["similarity"])
    assert set(document["ranks"]) == {"valid", "test"}
    text = sracl("inspect", "full", "7", home=home).stdout
    assert document["summary"]["text"][:60] in text
    assert f"{neighbors[0]['similarity']:.3f}" in text


def test_inspect_opens_another_prefix_of_the_user(sracl, home):
    document = json.loads(sracl("inspect", "full", "7", "--anchor", "2", "--json", home=home).stdout)
    assert document["anchor"]["position"] == 2
    assert abs(sum(n["weight"] for n in document["neighbors"]) - 1) < 1e-5
    assert "1 to" in sracl("inspect", "full", "7", "--anchor", "99", home=home, code=2).stderr


def test_inspect_of_a_backbone_says_that_it_weighs_nothing(sracl, home):
    document = json.loads(sracl("inspect", "plain", "7", "--json", home=home).stdout)
    assert document["neighbors"] == []
    assert "alpha = 0" in document["note"]


def test_tag_note_and_rename_stay(sracl, home):
    sracl("tag", "plain", "paper", "office", home=home)
    sracl("tag", "plain", "--", "-office", home=home)
    sracl("note", "plain", "ties shuffled", home=home)
    row = json.loads(sracl("show", "plain", "--json", home=home).stdout)
    assert (row["tags"], row["note"]) == (["paper"], "ties shuffled")
    sracl("rename", "plain", "baseline", home=home)
    assert json.loads(sracl("show", "baseline", "--json", home=home).stdout)["run_id"] == row["run_id"]
    sracl("rename", "baseline", "plain", home=home)


def test_sql_prints_tables_csv_and_json_and_cannot_write_or_read_files(sracl, home):
    assert sracl("sql", "SELECT 1 AS one", home=home).stderr.strip() == "1 row"
    assert sracl("sql", "SELECT 1 AS one, 'x' AS word", "--format", "csv", home=home).stdout == "one,word\n1,x\n"
    assert json.loads(sracl("sql", "--json", home=home, stdin="SELECT 2 AS two").stdout) == [{"two": 2}]
    assert "--write" in sracl("sql", "DELETE FROM runs", home=home, code=2).stderr
    sracl("sql", "SELECT * FROM read_csv('/etc/hosts')", home=home, code=2)
    assert "docs/schema.md" in sracl("sql", "SELECT nothing FROM nowhere", home=home, code=2).stderr


def test_sql_saves_rows_to_a_file(sracl, home, tmp_path):
    out = tmp_path / "runs.csv"
    done = sracl("sql", "SELECT 1 AS one UNION ALL SELECT 2 ORDER BY one", "--out", str(out), home=home)
    assert "2 rows" in done.stderr
    assert out.read_text().splitlines() == ["one", "1", "2"]
    sracl("sql", "SELECT 1", "--out", str(out), "--write", home=home, code=2)


def test_sql_write_publishes(sracl, home):
    sracl("sql", "--write", "CREATE TABLE mine AS SELECT 42 AS answer", home=home)
    assert json.loads(sracl("sql", "FROM mine", "--json", home=home).stdout) == [{"answer": 42}]
    sracl("sql", "--write", "DROP TABLE mine", home=home)


def test_doctor_checks_everything(sracl, tmp_path):
    document = json.loads(sracl("doctor", "--json", home=tmp_path).stdout)
    assert document["ok"], document
    assert document["database"] == str(tmp_path / "sracl.duckdb")
    assert [check["name"] for check in document["checks"]] == [
        "store",
        "training",
        "encoder",
        "annoy",
        "keys",
        "privacy",
        "own code",
    ]


def test_data_import_show_and_remove(sracl, tmp_path):
    rows = "\n".join(f"u{user},i{item % 7},{100 + item}" for user in range(5) for item in range(user, user + 6))
    (tmp_path / "ratings.csv").write_text(f"user_id,item_id,timestamp\n{rows}\n")
    (tmp_path / "movies.csv").write_text("item_id,title\n" + "\n".join(f"i{i},Title {i}" for i in range(7)))
    sracl(
        "data", "import", tmp_path / "ratings.csv", "--items", tmp_path / "movies.csv", "--name", "small", home=tmp_path
    )
    (row,) = json.loads(sracl("data", "list", "--json", home=tmp_path).stdout)
    assert (row["name"], row["users"], row["items"], row["interactions"]) == ("small", 5, 7, 30)
    assert "Title" not in sracl("data", "show", "small", home=tmp_path).stderr
    sracl("data", "remove", "small", "--yes", home=tmp_path)
    assert json.loads(sracl("data", "list", "--json", home=tmp_path).stdout) == []


def test_a_dataset_that_runs_need_is_not_removed(sracl, home):
    assert "runs were made with" in sracl("data", "remove", "demo[:80]", "--yes", home=home, code=2).stderr


def test_the_demo_set_is_said_to_be_synthetic(sracl, home):
    assert "synthetic" in sracl("data", "list", home=home).stdout
    assert "synthetic" in sracl("data", "show", "demo", home=home).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--set", "alhpa=0.1"), "alpha"),
        (("run", "--set", "alpha=-1", "--set", "epochs=0"), "epochs"),
        (("run", "--dataset", "nowhere"), "data import"),
        (("run", "--preset", "nothing"), "backbone"),
        (("run", "missing.toml"), "missing.toml"),
        (("run", "--seed", "1", "--seeds", "2"), "--seeds"),
        (("run", "--set", "provider=gpt"), "offline"),
        (("run", "--resume", "nothing"), "no run"),
        (("show", "nothing"), "sracl runs"),
        (("data", "import", "nowhere", "--name", "x"), "nowhere"),
        (("data", "show", "nowhere"), "no dataset"),
        (("tag", "nothing", "x"), "no run"),
    ],
)
def test_bad_usage_is_exit_code_2_with_a_way_out(arguments, words, sracl, home):
    text = sracl(*arguments, home=home, code=2).stderr
    assert re.search(re.escape(words), text), text


def test_a_taken_run_id_is_refused(sracl, home):
    run_id = json.loads(sracl("show", "full", "--json", home=home).stdout)["run_id"]
    assert "--resume" in sracl("run", "--run-id", run_id, home=home, code=2).stderr


def test_a_finished_run_is_shown_and_not_resumed(sracl, home):
    before = len(list((home / "runs").iterdir()))
    assert "is finished" in sracl("run", "--resume", "full", home=home).stderr
    assert len(list((home / "runs").iterdir())) == before
