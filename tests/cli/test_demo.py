"""`sracl demo`: three models, and sentences about these models alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from engine.data import demo as generator
from engine.data.goods import make_goods
from sracl_tui.cli import demo
from sracl_tui.runs.dataset_access import open_dataset
from sracl_tui.services.demo_findings import findings
from store.home import Home
from store.opening import open_store
from tests.support.earlier_demo import add_earlier_demo


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few users and epochs, and no model that encodes."""
    monkeypatch.setattr(generator, "USERS", 60)
    small = {"epochs": 2, "threads": 1, "width": 16, "inner": 16, "encoder": "tfidf", "k": 3}
    monkeypatch.setattr(demo, "RUNS", {t: (n, p, s | small) for t, (n, p, s) in demo.RUNS.items()})


@pytest.mark.usefixtures("quick")
def test_three_models_and_what_they_show(sracl, tmp_path: Path) -> None:
    done = sracl("demo", home=tmp_path)
    text = " ".join(done.stdout.split())
    for title in demo.RUNS:
        assert title in text
    hits = re.search(
        r"SRA-CL has the next item among its first 20 for (\d+) of 60 users, the plain backbone for (\d+):", text
    )
    assert hits is not None
    assert "SRA-CL with the texts swapped between items has it for" in text
    assert "about these three trained models, one seed each" in text
    assert "made for SRA-CL" in text
    assert "study run quick" in text
    again = json.loads(sracl("demo", "--json", home=tmp_path).stdout)
    assert [run["seed"] for run in again["runs"]] == [1, 1, 1], "the same runs, not new ones"
    assert len(again["findings"]) == 4
    assert [round(run["test"]["hr@20"] * 60) for run in again["runs"][:2]] == [int(hits[2]), int(hits[1])]
    with open_store(Home(tmp_path)) as store:
        rows = store.rows("SELECT run_id, name, config FROM runs ORDER BY created_at")
        assert [row["name"] for row in rows] == ["demo-backbone", "demo-sracl", "demo-swapped"]
        backbone, sracl_run, swapped = (row["run_id"] for row in rows)
        turned = findings(store, backbone=sracl_run, sracl=backbone, swapped=swapped)
    assert turned[0].startswith(f"SRA-CL has the next item among its first 20 for {hits[2]} of 60 users")


def test_a_home_of_an_earlier_version_keeps_its_demo_set(sracl, tmp_path: Path) -> None:
    add_earlier_demo(Home(tmp_path))
    refused = sracl("demo", home=tmp_path, code=2).stderr
    assert "demo set of an earlier version" in refused
    assert "sracl demo --home FOLDER" in refused
    with open_store(Home(tmp_path)) as store:
        assert open_dataset(store, "demo").sha256 == make_goods().sha256
        assert open_dataset(store, "goods").dataset_id == make_goods().dataset_id, (
            "the same content is not stored twice"
        )
        assert len(store.rows("FROM datasets")) == 1


def test_data_of_a_run_on_the_earlier_demo_set_are_generated_again(tmp_path: Path) -> None:
    from engine.config_files import load_config
    from sracl_tui.runs.request import RunRequest
    from sracl_tui.services import reproduction
    from store.errors import LookupFailed
    from store.queries import datasets

    config, _ = load_config(settings={"dataset": "demo", "max_users": 60})
    request = RunRequest(run_id="r", config=config)
    earlier = replace(make_goods(), name="demo")
    for number, (sha, fits) in enumerate(((earlier.first_users(60).sha256, True), ("0" * 64, False))):
        here, scratch = Home(tmp_path / f"here-{number}"), Home(tmp_path / f"scratch-{number}")
        here.create()
        scratch.create()
        row = {"run_id": "r", "dataset_id": sha[:16], "dataset_sha256": sha, "dataset_name": "demo[:60]"}
        with open_store(here) as store:
            if not fits:
                with pytest.raises(LookupFailed, match="there is no dataset of that name"):
                    reproduction._copy_dataset(store, row, request, scratch)
                continue
            reproduction._copy_dataset(store, row, request, scratch)
        with open_store(scratch) as copied:
            found = datasets.find(copied, "demo")
            assert found is not None
            assert found["sha256"] == earlier.sha256
