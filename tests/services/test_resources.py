"""What runs take, in a comparison: seconds, memory and dollars with their spread, against known values and SQL."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sracl_tui.services.comparison import RESOURCES, compare_runs
from sracl_tui.services.comparison_table import RESOURCES as TITLES
from sracl_tui.services.comparison_table import resource_rows
from store.home import Home
from store.opening import open_store
from store.publishing.publish import write_sql
from store.queries.pace import pace
from tests.support.commands import sracl_inside
from tests.support.figure_home import SEEDS, WHOLE, write_figure_home
from tests.support.shared_homes import written_once

PLAIN, SHARP = "20260101-090000-0001", "20260101-093000-0004"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    written = written_once(tmp_path_factory, "figures", write_figure_home)
    return Home(Path(shutil.copytree(written, tmp_path_factory.mktemp("resources") / "home")))


def test_each_set_has_its_runs_values_mean_and_deviation(home):
    document = json.loads(sracl_inside(home.path, "compare", "ks", "elsewhere", "--json").stdout)
    sets = {one["label"]: one["resources"] for one in document["sets"]}
    expected = {
        "seconds_per_step": [0.2 * seed for seed in SEEDS],
        "seconds_to_best": [2.0 * seed * seed for seed in SEEDS],
        "peak_memory": [100.0 + seed for seed in SEEDS],
        "usd_texts": [0.0] * 3,
    }
    for name, values in expected.items():
        found = sets["k5"][name]
        assert found["values"] == pytest.approx(values)
        assert found["mean"] == pytest.approx(np.mean(values))
        assert found["sd"] == pytest.approx(np.std(values, ddof=1))
    assert sets["bare"]["peak_memory"] == {"values": [102.0], "mean": 102.0, "sd": None}
    assert sets["elsewhere"] == {}, "what an imported model took is not known"


def test_the_table_shows_them(home):
    text = sracl_inside(home.path, "compare", "ks", "elsewhere").stdout
    assert "Time, memory and dollars, mean ± standard deviation over seeds" in text
    for part in ("0.4000 ± 0.2000", "9.3 ± 8.1", "102 ± 1", *(head for head, _ in TITLES.values())):
        assert part in text
    with open_store(home) as store:
        _, rows = resource_rows(compare_runs(store, ["ks", "elsewhere"]))
        heads, none = resource_rows(compare_runs(store, ["elsewhere"]))
    assert rows[-1] == ["elsewhere", "1", "-", "-", "-", "-"]
    assert (heads, none) == (["", "n"], [["elsewhere", "1"]])
    assert "Time, memory" not in sracl_inside(home.path, "compare", "elsewhere").stdout
    assert tuple(TITLES) == RESOURCES


def test_dollars_are_those_of_the_texts_whichever_run_paid(home):
    """Runs that share summaries cost the same, and what is not priced is not known."""
    keys = "(SELECT l.key FROM summary_links l JOIN runs r ON r.user_set_id = l.set_id WHERE r.name = 'whole' ORDER BY 1 LIMIT 2)"
    columns = "run_id, key, attempt, sent_at, provider, model, usd"
    call = (
        f"INSERT INTO api_calls ({columns}) SELECT 'another', key, 1, now()::TIMESTAMP, 'p', 'm', {{usd}} FROM {keys}"
    )
    write_sql(home, call.format(usd="0.25"))
    with open_store(home) as store:
        found = pace(store, [WHOLE, SHARP, PLAIN])
        assert {run_id: one["usd_texts"] for run_id, one in found.items()} == {WHOLE: 0.5, SHARP: 0.5, PLAIN: 0.0}
        assert found[WHOLE]["usd"] == 0.0, "another run paid"
    write_sql(home, call.format(usd="NULL").replace(", 1,", ", 2,"))
    with open_store(home) as store:
        assert "usd_texts" not in pace(store, [WHOLE])[WHOLE]
