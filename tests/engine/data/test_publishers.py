"""Small files in the form of each publisher that docs/data.md names give the interactions that stand in them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.data.importing import ImportOptions, import_dataset
from engine.data.readers.base import USUAL_ITEM, USUAL_TIME, USUAL_TITLE, USUAL_USER
from engine.errors import DataError
from tests.support.commands import ROOT

PAGE = (ROOT / "docs" / "data.md").read_text("utf-8").split("## Recognized columns")[1].split("## ")[0]
T = int(datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp())
DAY = int(datetime(2020, 1, 2, tzinfo=UTC).timestamp())
FORMS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "RecTools": ("interactions.csv", "user_id,item_id,datetime,weight\nu,i,2020-01-02,3\n", {}, DAY),
    "RePlay": ("log.csv", f"query_id,item_id,timestamp,rating\nu,i,{T},1\n", {}, T),
    "RecBole": ("x.inter", f"user_id:token\titem_id:token\ttimestamp:float\nu\ti\t{T}\n", {}, T),
    "MovieLens 20M on Kaggle": (
        "rating.csv",
        '"userId","movieId","rating","timestamp"\nu,i,3.5,"2020-01-02 03:04:05"\n',
        {},
        T,
    ),
    "Amazon 2014": (
        "reviews_X_5.json",
        f'{{"reviewerID": "u", "asin": "i", "overall": 5.0, "unixReviewTime": {T}, "reviewTime": "01 2, 2020"}}\n',
        {},
        T,
    ),
    "Amazon 2023": (
        "X.jsonl",
        f'{{"rating": 5.0, "title": "Good", "asin": "v", "parent_asin": "i", "user_id": "u", "timestamp": {T}000}}\n',
        {},
        T,
    ),
    "Amazon 2023, ratings only": ("X.csv", f"user_id,parent_asin,rating,timestamp\nu,i,5.0,{T}000\n", {}, T),
    "Yelp": (
        "yelp_academic_dataset_review.json",
        '{"review_id": "r", "user_id": "u", "business_id": "i", "stars": 5.0, "date": "2020-01-02 03:04:05"}\n',
        {},
        T,
    ),
    "Steam reviews": (
        "steam_reviews.json",
        "{u'username': u'u', u'hours': 3.4, u'product_id': u'i', u'date': u'2020-01-02', u'text': u'fun'}\n",
        {},
        DAY,
    ),
    "KuaiRec": (
        "big_matrix.csv",
        f"user_id,video_id,play_duration,time,date,timestamp\nu,i,9,2020-01-02 11:04:05.5,20200102.0,{T}.5\nu,i,9,,,\n",
        {"time_column": "timestamp", "bad_rows": "drop"},
        T,
    ),
    "KuaiRand": (
        "log_standard.csv",
        f"user_id,video_id,date,hourmin,time_ms,is_click\nu,i,20200102,1100,{T}000,1\n",
        {"time_column": "time_ms"},
        T,
    ),
    "RetailRocket": (
        "events.csv",
        f"timestamp,visitorid,event,itemid,transactionid\n{T}000,w,view,j,\n{T}000,u,transaction,i,7\n",
        {"only": ("event=transaction",)},
        T,
    ),
    "eCommerce on Kaggle": (
        "2019-Oct.csv",
        "event_time,event_type,product_id,brand,price,user_id\n2020-01-02 03:04:05 UTC,view,i,apple,1.0,u\n",
        {},
        T,
    ),
    "Goodreads": (
        "goodreads_interactions.json",
        '{"user_id": "u", "book_id": "i", "rating": 5, "date_added": "Wed Jan 01 19:04:05 -0800 2020", "read_at": ""}\n',
        {},
        T,
    ),
    "H&M": ("transactions.csv", "t_dat,customer_id,article_id,price\n2020-01-02,u,i,0.05\n", {}, DAY),
}
MIND = "1\tU1\t11/11/2019 9:05:58 AM\tN1 N2 N3\tN4-1 N5-0\n2\tU2\t11/12/2019 6:11:30 PM\tN2\tN1-0 N3-1\n"


@pytest.mark.parametrize("publisher", FORMS)
def test_a_file_in_a_published_form_is_read(tmp_path: Path, publisher: str) -> None:
    name, text, options, time = FORMS[publisher]
    (tmp_path / name).write_text(text)
    dataset, _ = import_dataset(tmp_path / name, name="x", options=ImportOptions(**options))
    assert (dataset.user_raw_ids, dataset.items.raw_ids) == (["u"], ["i"])
    assert dataset.timestamps is not None
    assert dataset.timestamps.tolist() == [time]


@pytest.mark.parametrize("publisher", ["KuaiRec", "KuaiRand"])
def test_several_columns_of_times_are_a_question(tmp_path: Path, publisher: str) -> None:
    name, text, _, _ = FORMS[publisher]
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match="several columns may hold the times"):
        import_dataset(tmp_path / name, name="x")


def test_lines_of_histories_are_refused(tmp_path: Path) -> None:
    (tmp_path / "behaviors.tsv").write_text(MIND)
    with pytest.raises(DataError):
        import_dataset(tmp_path / "behaviors.tsv", name="x")


def test_the_page_names_what_is_tried_and_every_usual_name() -> None:
    rows = re.findall(r"^\| ([^|]+?) \|", PAGE, re.MULTILINE)[1:]
    assert [row for row in rows if set(row) != {"-"}] == [*FORMS, "MIND"]
    named = set(re.findall(r"`([^`]+)`", PAGE.split("The usual names")[1]))
    assert {*USUAL_USER, *USUAL_ITEM, *USUAL_TIME, *USUAL_TITLE} <= named
