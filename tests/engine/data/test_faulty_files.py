"""Files that were imported wrongly once, each with the interactions, texts and words that are right.

The right values were worked out from the files by hand. They lie beside the checkout, so without them these tests are skipped.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.data.importing import ImportOptions, import_dataset
from engine.errors import DataError
from tests.support.commands import sracl_inside

FILES = Path(__file__).resolve().parents[4] / "shared" / "faults" / "data"
pytestmark = pytest.mark.skipif(not FILES.is_dir(), reason="the files are not here")

Row = tuple[str, str, str | None]
"""User, item, time in UTC as ISO writes it."""
RATED = "is not read: every row is an interaction"
UNTIMED = "there is no column of times"
REVIEWS = "the column 'title' is not taken as text of the items"


@dataclass(frozen=True)
class Right:
    """What an import gives."""

    rows: list[Row]
    """By user, each oldest first."""
    titles: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    warns: tuple[str, ...] = ()
    """Words that each some warning has."""


def second(number: float) -> str:
    return datetime.fromtimestamp(number, UTC).isoformat(timespec="microseconds")[:26].removesuffix(".000000")


def listed(user: str, *items: str, times: list[str] | None = None) -> list[Row]:
    return [(user, item, None if times is None else times[place]) for place, item in enumerate(items)]


def table(name: str, *, title: str | None = None) -> Right:
    """A plain table with Unix times in seconds, read row by row; nothing where the files are not here."""
    if not FILES.is_dir():
        return Right([], {})
    with (FILES / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    users = dict.fromkeys(row["user_id"] for row in rows)
    in_order = [
        row for user in users for row in sorted(rows, key=lambda row: int(row["timestamp"])) if row["user_id"] == user
    ]
    titles = {row["item_id"]: row[title] for row in reversed(rows)} if title else {}
    return Right([(row["user_id"], row["item_id"], second(int(row["timestamp"]))) for row in in_order], titles)


REVIEW = "2020-05-05T14:08:48"
AMAZON = [f"{REVIEW}.923000", f"{REVIEW}.924000", "2020-09-13T12:26:40"]
DAY = "2020-07-04T21:2"
WATCHED = [f"{DAY}7:48.378000", f"{DAY}8:00.057000", f"{DAY}9:09.479000"]
DATES = [f"2021-05-0{day}T00:00:00" for day in (1, 2, 3, 4)]
VIEWS = [f"2019-10-{at}" for at in ("01T00:00:00", "01T00:00:01", "01T00:05:00", "02T00:00:00")]
SLASHED = [f"2020-01-{day}T00:00:00" for day in ("01", "02", "10")]
THREE = [second(101), second(102), second(103)]
BAD: dict[str, Any] = {"bad_rows": "drop"}
LISTS = {
    "a": {"categories": ["Office", "Pens, Markers"], "genres": ["Action", "Comedy"], "description": ["First sentence.", "Second."], "price": ["$1.99"]},
    "c": {"categories": ["x"]},
    "d": {"description": ["Hello"], "price": ["$1.00 - $2.00"]},
}  # fmt: skip
RIGHT: list[tuple[str, dict[str, Any], Right]] = [
    ("Electronics.jsonl", BAD, Right([row for user in ("AE0", "AE1", "AE2") for row in listed(user, "P0", "P1", "P3", times=AMAZON)],
        dropped={"bad rows": 3}, warns=("milliseconds", "3 bad rows"))),
    ("blanksep.inter", {"delimiter": " "}, Right(listed("1", "2", "3", times=[second(3), second(4)]))),
    ("concat_hdr.csv", BAD, Right([*listed("u1", "i1", "i2"), *listed("u2", "i1", "i2")], dropped={"bad rows": 1}, warns=(UNTIMED,))),
    ("d9999.csv", BAD, Right(listed("a", "x", "z", times=["2020-01-01T00:00:00", "2020-02-01T00:00:00"]), dropped={"bad rows": 1})),
    ("dashids.csv", {}, table("dashids.csv", title="title")),
    ("dec.parquet", {}, Right([*listed("1", "10", "11", times=[second(1.5), second(2.5)]), ("2", "12", second(3.5))])),
    ("exact_dups.csv", {}, Right([*listed("u", *"aaaaa", times=[second(1)] * 5), ("u", "b", second(2))], warns=("4 rows",))),
    ("exact_dups.csv", {"duplicates": "first"}, Right(listed("u", "a", "b", times=[second(1), second(2)]), dropped={"repeated interactions": 4})),
    ("f_inter.csv", {"items": "f_items.csv"}, Right([row for user in ("u1", "u2") for row in listed(user, "101", "102", "103", times=THREE)],
        {"101": "A", "102": "B", "103": "C"})),
    ("gz_no_ext.csv", {}, Right(listed("a", "b", "c"), warns=(UNTIMED,))),
    ("h.inter", {}, Right(listed("1", "a", "b", times=[second(1), second(2)]), {"a": "Pen bold <i> x", "b": "Office"})),
    ("i_inter.csv", {"items": "liststr.csv"}, Right(listed("u", *"abcd", times=[second(n) for n in (1, 2, 3, 4)]),
        {"a": "Pen & Ink set", "b": "", "c": "", "d": "T"}, LISTS, warns=("2 of 4 items have no title",))),
    ("intids.csv", {}, table("intids.csv", title="title")),
    ("items_nested.parquet", {}, Right([*listed("a", "x", "y"), ("b", "x", None)], warns=(UNTIMED, REVIEWS))),
    ("items_nested.parquet", {"title_column": "title"}, Right([*listed("a", "x", "y"), ("b", "x", None)], {"x": "A bold", "y": "N&B"},
        {"x": {"genres": ["g1", "g2"]}}, warns=("the column 'price'",))),
    ("kuairec.csv", BAD | {"time_column": "timestamp"}, Right([row for user in ("14", "19") for row in listed(user, "148", "183", "5262", times=WATCHED)],
        dropped={"bad rows": 2})),
    ("kuairec.csv", BAD | {"time_column": "time"}, Right([row for user in ("14", "19") for row in
        listed(user, "148", "183", "5262", times=[f"2020-07-05T05:2{at}" for at in ("7:48.378000", "8:00.057000", "9:09.479000")])], dropped={"bad rows": 2})),
    ("ml20", {}, Right(listed("1", "29", "2", times=["2005-04-02T23:31:16", "2005-04-02T23:53:47"]), {"2": "Jumanji (1995)", "29": "City"},
        {"2": {"genres": ["Adventure", "Children"]}, "29": {"genres": ["Sci-Fi"]}}, warns=("were sorted",))),
    ("ms_tied.csv", {}, Right([row for user in ("u0", "u1") for row in
        listed(user, *(f"i{n}" for n in range(5)), times=["2020-09-13T12:26:40", *(f"2020-09-13T12:26:40.{n}00000" for n in (1, 2, 3, 4))])])),
    ("nat_ns.csv", BAD, Right([row for user in "ab" for row in listed(user, *"wyz", times=[*AMAZON[:2], "2020-05-05T14:08:49"])], dropped={"bad rows": 2})),
    ("neg_wrap.jsonl", BAD, Right([row for user in ("AE0", "AE1", "AE2") for row in
        listed(user, "P0", "P2", "P3", times=[AMAZON[0], AMAZON[2], f"{AMAZON[2]}.001000"])], dropped={"bad rows": 3})),
    ("noheader.csv", {}, Right(listed("u1", "i1", "i2", times=[second(1400000000), second(1400000001)]), warns=("no column names",))),
    ("notext.csv", {}, replace(table("notext.csv"), warns=("no item has text",))),
    ("oneuser.csv", {}, table("oneuser.csv", title="title")),
    ("onlyratings.csv", {}, Right(listed("u1", "i1", "i2", "i3"), warns=(f"rating (1 to 5) {RATED}", UNTIMED))),
    ("onlyratings.csv", {"min_rating": 2.0}, Right(listed("u1", "i1", "i3"), dropped={"rows below the minimum rating": 1})),
    ("ratings3.txt", {"format": "ratings"}, Right([*listed("1", "1", "2", "3"), *listed("2", "1", "5")], warns=(RATED, UNTIMED))),
    ("ratings3.txt", {"format": "sequences"}, Right([*listed("1", *"122433"), *listed("2", *"1454")])),
    ("ratings_Beauty.csv", {}, Right([("A39HTATAQ9V7YF", "0205616461", "2013-05-28T00:00:00"), ("A3JM6GV9MNOF9X", "0558925278", "2012-12-14T00:00:00")],
        warns=("no column names", RATED))),
    *((f"raw_review.{form}", {}, Right([*listed("AEU1", "P1", "P1", "P2", times=[f"{REVIEW}.92{n}000" for n in (3, 4, 5)])], warns=(REVIEWS, RATED)))
        for form in ("csv", "parquet")),
    ("raw_review.csv", {"items": "meta_2023.jsonl"}, Right([*listed("AEU1", "P1", "P1", "P2", times=[f"{REVIEW}.92{n}000" for n in (3, 4, 5)])],
        {"P1": "Product P1", "P2": "Product P2"}, {item: {"store": ["S"], "categories": ["A"]} for item in ("P1", "P2")})),
    ("rectools.csv", {}, Right([row for user in ("10", "20") for row in listed(user, "400", "300", "200", "100", times=DATES)], warns=("6 of 8 rows",))),
    ("retailrocket.csv", {}, Right([*listed("257597", "355908", "318965", times=["2015-06-02T05:02:12.117000", "2015-06-02T05:13:19.827000"]),
        ("992329", "248676", "2015-06-02T05:50:14.164000")], warns=("event (view, addtocart)",))),
    ("retailrocket.csv", {"only": ("event=addtocart",)}, Right([("257597", "318965", "2015-06-02T05:13:19.827000")],
        dropped={"rows without the values asked for": 2})),
    ("reviewcsv.csv", {}, Right([*listed("1", "x", "y", times=[second(1), second(2)]), ("2", "x", second(3))], warns=(REVIEWS, "'description'"))),
    ("semi.csv", {"delimiter": ";"}, Right(listed("u1", "i1", "i2", times=[second(1), second(2)]))),
    ("slash.csv", {}, Right([row for user in ("u0", "u1") for row in listed(user, "i0", "i1", "i2", times=SLASHED)])),
    ("small.csv", {}, table("small.csv", title="title")),
    ("t_inter.csv", {"items": "t_items.csv"}, Right(listed("u", *"abcdef", times=[second(n) for n in range(6)]), dict.fromkeys("abcdef", ""),
        warns=("6 of 6 items have no title",))),
    ("uirt.txt", {"format": "ratings"}, Right([*listed("196", "377", "242", times=[second(878887116), second(881250949)]), ("186", "302", second(891717742))],
        warns=("were sorted",))),
    ("username.csv", {}, Right([*listed("1", "x", "y", times=[second(1), second(2)]), ("2", "x", second(3))], warns=("'name' is not taken",))),
    ("utc.csv", {}, Right([row for user in ("50", "51") for row in listed(user, "100", "101", "102", "103", times=VIEWS)])),
]  # fmt: skip
REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("Electronics.jsonl", {}, "Electronics.jsonl:3", r"-1 is before 1970 \(3 such rows"),
    ("bench", {}, "bench", "several files .* look like interactions"),
    ("bench/bench.train.inter", {}, "bench.train.inter:1", "'item_id_list' holds ready-made histories"),
    ("bench/bench.test.inter", {}, "bench.test.inter:1", "'item_id_list' holds ready-made histories"),
    ("bench/bench.valid.inter", {}, "bench.valid.inter:1", "'item_id_list' holds ready-made histories"),
    ("blanksep.inter", {}, "blanksep.inter:1", "no column with the user ids[\\s\\S]*--delimiter ' '"),
    ("concat_hdr.csv", {}, "concat_hdr.csv:4", "repeats the names of the columns"),
    ("d9999.csv", {}, "d9999.csv:3", "9999-12-31 is after the year 2199"),
    ("f_items.csv", {}, "f_items.csv:1", "no column with the user ids"),
    ("h.item", {}, "h.item:1", r"not recognized[\s\S]*--items"),
    ("kuairec.csv", {}, "kuairec.csv:1", r"several columns may hold the times: time, date, timestamp[\s\S]*--time-column"),
    ("kuairec.csv", {"time_column": "timestamp"}, "kuairec.csv:4", r"is empty \(2 such rows[\s\S]*--bad-rows drop"),
    ("liststr.csv", {}, "liststr.csv:1", "no column with the user ids"),
    ("meta_2023.jsonl", {}, "meta_2023.jsonl:1", "no column with the user ids"),
    ("nat_ns.csv", {}, "nat_ns.csv:3", r"-9223372036854775808 stands for a missing one \(2 such rows"),
    ("neg_wrap.jsonl", {}, "neg_wrap.jsonl:2", r"-10000000000000 is before 1970 \(3 such rows"),
    ("onlyratings.csv", {"min_rating": 6.0}, "onlyratings.csv:1", r"no rating \(rating\) is 6 or more"),
    ("ratings3.txt", {}, "ratings3.txt:1", r"look like `user item rating`[\s\S]*--format ratings"),
    ("semi.csv", {}, "semi.csv:1", r"no column with the user ids[\s\S]*--delimiter ';'"),
    ("t_items.csv", {}, "t_items.csv:1", "no column with the user ids"),
    ("u64.parquet", {}, "u64.parquet, row 1", r"9223372036854775813 is after the year 2199 \(2 such rows"),
    ("uirt.txt", {}, "uirt.txt:1", r"look like `user item rating time`[\s\S]*--format ratings"),
]  # fmt: skip


def options_of(chosen: dict[str, Any]) -> ImportOptions:
    given = {name: FILES / value if name == "items" else value for name, value in chosen.items()}
    return replace(ImportOptions(), **given)


def name_of(case: tuple[Any, ...]) -> str:
    return " ".join([case[0], *(f"{name}={value}" for name, value in case[1].items())])


@pytest.mark.parametrize("case", RIGHT, ids=name_of)
def test_a_file_gives_the_interactions_and_texts_that_are_in_it(case: tuple[str, dict[str, Any], Right]) -> None:
    name, chosen, right = case
    dataset, report = import_dataset(FILES / name, name="x", options=options_of(chosen))
    micros = [0] * len(dataset.sequence) if dataset.microseconds is None else dataset.microseconds.tolist()
    rows = [
        (
            dataset.user_raw_ids[user],
            dataset.items.raw_ids[dataset.sequence[place] - 1],
            None if dataset.timestamps is None else second(dataset.timestamps[place] + micros[place] / 1e6),
        )
        for user in range(dataset.users)
        for place in range(dataset.offsets[user], dataset.offsets[user + 1])
    ]
    ids = dataset.items.raw_ids
    assert rows == right.rows
    assert dict(zip(ids, dataset.items.titles, strict=True)) == {item: right.titles.get(item, "") for item in ids}
    assert dict(zip(ids, dataset.items.attributes, strict=True)) == {
        item: right.attributes.get(item, {}) for item in ids
    }
    assert report.dropped == right.dropped
    assert report.rows_read == len(rows) + report.rows_dropped
    assert not dataset.tied.any(), "nobody's last two interactions are at the same microsecond"
    for words in right.warns:
        assert any(words in warning for warning in report.warnings), report.warnings
    assert any("no item has text" in warning for warning in report.warnings) == (not right.titles)


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_a_file_that_is_none_is_refused_with_its_line_and_a_way_out(case: tuple[str, dict[str, Any], str, str]) -> None:
    name, chosen, where, words = case
    with pytest.raises(DataError, match=words) as caught:
        import_dataset(FILES / name, name="x", options=options_of(chosen))
    assert str(caught.value.where) == str(FILES / name).removesuffix(Path(name).name) + where
    assert caught.value.hint


def test_a_refusal_of_the_command_is_a_sentence_and_exit_code_2(tmp_path: Path) -> None:
    for name in ("nat_ns.csv", "bench/bench.train.inter", "uirt.txt", "concat_hdr.csv", "u64.parquet"):
        said = sracl_inside(tmp_path, "data", "import", FILES / name, "--name", "x", code=2).stderr
        assert Path(name).name in said


def test_every_file_has_a_test() -> None:
    known = {name for name, *_ in (*RIGHT, *REFUSED)} | {"replay.py", "h.item", "bench"}
    assert {path.name for path in FILES.iterdir()} <= known


@pytest.mark.parametrize("above", ["# made by a program\n", "sep=,\n", "report\n"])
def test_a_first_line_that_names_nothing_is_not_answered_by_dropping_all_rows(tmp_path: Path, above: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text(above + "user,item,time\nu1,i1,1600000000\nu1,i2,1600000001\n")
    with pytest.raises(DataError) as caught:
        import_dataset(path, name="log")
    assert "--bad-rows" not in (caught.value.hint or "")
    assert "first line has to name the columns" in (caught.value.hint or "")
