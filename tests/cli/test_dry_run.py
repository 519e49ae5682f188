"""`sracl run --dry-run` changes nothing: no run, no entry of the queue, no folder, with every other option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config import Config
from sracl_tui.runs.request import RunRequest
from store.home import Home
from tests.cli.conftest import QUICK

MEANINGS = ((), ("--vary", "k=3,4"), ("--grid", "k=3,4", "--grid", "alpha=0.1,0.2", "--trials", "2"), ("--ablations",))
RESUMED = ("waited", "plain", "launched")


def _files(home: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of every file and folder; logs and locks may be touched by readers."""
    return {
        str(path.relative_to(home)): (stat.st_ino, stat.st_size, stat.st_mtime_ns if path.is_file() else 0)
        for path in home.rglob("*")
        if path.suffix not in {".log", ".lock"} and (stat := path.lstat())
    }


@pytest.fixture(scope="module")
def prepared(sracl: Any, home: Path) -> Path:
    """The home with a run that never began and one that left the queue before it did."""
    sracl("run", *QUICK, "--queue", "--name", "waited", home=home)
    sracl("queue", "remove", "waited", home=home)
    folder = Home(home).run_folder("launched")
    folder.mkdir()
    RunRequest(run_id="launched", config=Config()).write(folder)
    sracl("runs", home=home)
    return home


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    words=st.one_of(
        st.tuples(
            st.sampled_from(MEANINGS),
            st.sampled_from(((), ("--queue",))),
            st.sampled_from(((), ("--seeds", "2"))),
            st.sampled_from(((), ("--group", "office"))),
        ).map(lambda parts: (*QUICK, *sum(parts, ()))),
        st.sampled_from(RESUMED).map(lambda name: ("--resume", name)),
        st.sampled_from(RESUMED).map(lambda name: ("--resume", name, "--force", "--budget", "1")),
    ),
    json_=st.booleans(),
)
def test_no_dry_run_changes_a_file(sracl: Any, prepared: Path, words: tuple[str, ...], json_: bool) -> None:
    before = _files(prepared)
    done = sracl("run", *words, "--dry-run", *(["--json"] if json_ else []), home=prepared)
    assert _files(prepared) == before
    assert json.loads(done.stdout) if json_ else done.stdout


def test_a_dry_run_says_what_would_happen(sracl: Any, prepared: Path) -> None:
    def document(*words: str) -> dict[str, Any]:
        return json.loads(sracl("run", *words, "--dry-run", "--json", home=prepared).stdout)

    assert document(*QUICK, "--queue", "--vary", "k=3,4")["would_add"] == 2
    assert document("--resume", "launched") | {"would": "begin", "run_id": "launched"} == document(
        "--resume", "launched"
    )
    assert document("--resume", "plain")["would"] == "show its result"
    assert document("--resume", "plain", "--force")["would"] == "run anew"
    one, seeds = document(*QUICK, "--seeds", "1"), document(*QUICK, "--seeds", "3")
    assert (len(seeds["runs"]), seeds["prompts"]) == (3, one["prompts"])
    assert seeds["minutes"] == pytest.approx(3 * one["minutes"], abs=0.03)
    assert "nothing was" in sracl("run", "--resume", "waited", "--dry-run", home=prepared).stdout


@pytest.mark.parametrize("run_id", ["../x", "", "con", "a/b", ".hidden", "x.", "a" * 101])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_an_id_that_no_run_can_have_is_refused_by_both(
    sracl: Any, home: Path, run_id: str, more: tuple[str, ...]
) -> None:
    before = sorted(path.name for path in (home / "runs").iterdir())
    assert "cannot be a run id" in sracl("run", *QUICK, "--run-id", run_id, *more, home=home, code=2).stderr
    assert sorted(path.name for path in (home / "runs").iterdir()) == before


def test_an_id_that_is_taken_or_means_several_runs_is_refused(sracl: Any, prepared: Path) -> None:
    for words in (("--run-id", "launched"), ("--run-id", "x", "--vary", "k=3,4"), ("--run-id", "x", "--seeds", "2")):
        sracl("run", *QUICK, *words, "--dry-run", home=prepared, code=2)


def test_a_resumed_run_takes_no_other_options(sracl: Any, prepared: Path) -> None:
    for words in (("--queue",), ("--vary", "k=3,4"), ("--run-id", "x"), ("--tag", "t")):
        assert "with its own settings" in sracl("run", "--resume", "waited", *words, home=prepared, code=2).stderr


def test_several_runs_show_the_time_and_dollars_of_all(sracl: Any, tmp_path: Path) -> None:
    (tmp_path / "providers.toml").write_text(
        '[cheap]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\nprices = {input = 1.0, output = 2.0}\n'
    )
    words = ("--dataset", "goods", "--set", "max_users=40", "--set", "provider=cheap", "--set", "encoder=some/model")
    several = (*words, "--vary", "llm=small,large", "--dry-run")
    document = json.loads(sracl("run", *several, "--json", home=tmp_path).stdout)
    assert document["usd"]["high"] == pytest.approx(sum(one["usd"]["high"] for one in document["runs"]))
    assert document["usd"]["high"] > 0
    text = " ".join(sracl("run", *several, home=tmp_path).stdout.split())
    assert f"2 runs, at most about {document['minutes']:.0f} minutes and $" in text
    assert "some/model, a model that has to be downloaded" in text
    free = " ".join(
        sracl("run", *QUICK, "--dataset", "goods", "--seeds", "2", "--dry-run", home=tmp_path).stdout.split()
    )
    assert "2 runs, at most about" in free
    assert "$" not in free
    assert "downloaded" not in free


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("method=rlmrec-gen", "mode=sequence"), "part reconstruct: it masks items of a prefix", 2),
        (("method=llm-esr", "mode=sequence"), "backbone dual is read at a sequence's last item only", 1),
        (("backbone=bsarec", "mode=sequence"), "backbone bsarec is read at a sequence's last item only", 1),
        (("method=s3rec", "backbone=gru4rec"), "cannot see a sequence both ways", 2),
    ],
)
@pytest.mark.parametrize("queue", [(), ("--queue",)])
def test_what_the_run_would_refuse_is_refused(
    sracl: Any, home: Path, words: Any, said: str, code: int, queue: Any
) -> None:
    chosen = [part for word in words for part in ("--set", word)]
    done = sracl("run", "--dry-run", *QUICK, *queue, *chosen, home=home, code=code)
    assert said in done.stderr
