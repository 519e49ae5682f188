"""`sracl data import` with files as they are published: rows without times, ratings, kinds of events; and what a dry run prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

KUAIREC = """user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio
14,148,4381,6067,2020-07-05 05:27:48.378,20200705.0,1593898068.378,0.7
14,183,4381,6067,2020-07-05 05:28:00.057,20200705.0,1593898080.057,0.7
14,3649,4381,6067,,,,0.7
"""
RETAILROCKET = """timestamp,visitorid,event,itemid,transactionid
1433221332117,257597,view,355908,
1433224214164,992329,view,248676,
1433221999827,257597,addtocart,318965,
"""


@pytest.fixture
def dry(sracl: Any, tmp_path: Path) -> Any:
    """Runs a dry import of a text and returns its document."""

    def run(text: str, *words: str) -> dict[str, Any]:
        (tmp_path / "log.csv").write_text(text)
        words = ("data", "import", str(tmp_path / "log.csv"), "--name", "x", "--dry-run", *words)
        return json.loads(sracl(*words, "--json", home=tmp_path).stdout) | {"text": sracl(*words, home=tmp_path).stdout}

    return run


def test_rows_without_times_are_left_out_where_asked(dry: Any) -> None:
    found = dry(KUAIREC, "--time-column", "timestamp", "--bad-rows", "drop")
    assert found["dropped"] == {"bad rows": 1}
    assert found["rows_read"] == 3
    first = {"user": "14", "item": "148", "time": "2020-07-04 21:27:48.378000", "title": ""}
    assert found["rows"][0] == first
    assert "2020-07-04 21:27:48.378000" in found["text"]


def test_events_are_chosen_or_told(dry: Any) -> None:
    assert any("event (view, addtocart) is not read" in warning for warning in dry(RETAILROCKET)["warnings"])
    found = dry(RETAILROCKET, "--only", "event=addtocart", "--only", "event=transaction")
    assert [(row["user"], row["item"]) for row in found["rows"]] == [("257597", "318965")]


def test_low_ratings_are_left_out_where_asked(dry: Any) -> None:
    text = "user_id;item_id;rating;date\nu1;i1;5;23.07.2014\nu1;i2;1;24.07.2014\nu1;i3;2;25.07.2014\n"
    found = dry(text, "--min-rating", "2", "--delimiter", ";", "--time-format", "%d.%m.%Y")
    assert [(row["item"], row["time"]) for row in found["rows"]] == [
        ("i1", "2014-07-23 00:00:00"),
        ("i3", "2014-07-25 00:00:00"),
    ]
    assert found["dropped"] == {"rows below the minimum rating": 1}
