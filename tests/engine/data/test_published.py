"""Amazon, MovieLens and Yelp in their published forms, and what is said of files that are broken."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.data.importing import ImportOptions, import_dataset
from engine.data.preview import preview
from engine.data.readers import read_items, read_source
from engine.data.readers.base import Wanted
from engine.errors import DataError

AMAZON_2014 = [
    '{"reviewerID": "A1", "asin": "B01", "reviewerName": "J. M\\u00fcller", "helpful": [2, 3], "reviewText": "Good", "overall": 5.0, "summary": "ok", "unixReviewTime": 1374192000, "reviewTime": "07 19, 2013"}',
    '{"reviewerID": "A1", "asin": "B02", "helpful": [0, 0], "reviewText": "line\\u2028line", "overall": 4.0, "summary": "", "unixReviewTime": 1374278400, "reviewTime": "07 20, 2013"}',
    '{"reviewerID": "A2", "asin": "B01", "helpful": [0, 0], "reviewText": "", "overall": 1.0, "summary": "no", "unixReviewTime": 1374364800, "reviewTime": "07 21, 2013"}',
]
META_2014 = [
    "{'asin': 'B01', 'title': 'Red &amp; blue pens, 5\\' long', 'price': 3.17, 'imUrl': 'http://x/y.jpg', 'related': {'also_bought': ['B09']}, 'salesRank': {'Office Products': 211}, 'brand': 'Pilot', 'categories': [['Office Products', 'Pens']]}",
    "{'asin': 'B02', 'description': \"It's a pad\", 'title': \"Writer's pad\", 'categories': [['Office Products', 'Paper'], ['Office Products']]}",
    "{'asin': 'B03', 'categories': [['Office Products']]}",
]
AMAZON_2018 = [
    '{"overall": 5.0, "verified": true, "reviewTime": "09 1, 2016", "reviewerID": "A1", "asin": "B01", "style": {"Color:": " Red"}, "reviewerName": "X", "reviewText": "Good", "summary": "ok", "unixReviewTime": 1472688000}',
    '{"overall": 5.0, "verified": true, "reviewTime": "09 2, 2016", "reviewerID": "A1", "asin": "B02", "unixReviewTime": 1472774400}',
    '{"overall": 2.0, "vote": "3", "verified": false, "reviewTime": "09 3, 2016", "reviewerID": "A2", "asin": "B01", "unixReviewTime": 1472860800}',
]
META_2018 = [
    '{"category": ["Office Products", "Pens"], "tech1": "", "description": ["<b>Writes</b> well", ""], "fit": "", "title": "Red &amp;amp; blue pens, 5\' long", "also_buy": ["B09"], "image": ["https://x/y.jpg"], "feature": ["Gel"], "rank": ["#1"], "main_cat": "Office Products", "brand": "Pilot", "price": "$3.17", "asin": "B01"}',
    '{"category": ["Office Products"], "title": "Writer\'s pad", "brand": "", "price": ".a-box-inner{background-color:#fff}", "asin": "B02"}',
    '{"category": [], "title": "var aPageStart = (new Date()).getTime();' + " x" * 200 + '", "asin": "B03"}',
]
AMAZON_2023 = [
    '{"rating": 5.0, "title": "Title of the review", "text": "Good", "images": [], "asin": "B01-red", "parent_asin": "B01", "user_id": "A1", "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": true}',
    '{"rating": 4.0, "title": "", "text": "", "images": [], "asin": "B02", "parent_asin": "B02", "user_id": "A1", "timestamp": 1588687729923, "helpful_vote": 0, "verified_purchase": true}',
    '{"rating": 1.0, "title": "No", "text": "", "images": [], "asin": "B01-blue", "parent_asin": "B01", "user_id": "A2", "timestamp": 1588687730923, "helpful_vote": 0, "verified_purchase": false}',
]
META_2023 = [
    '{"main_category": "Office Products", "title": "Red &#38; blue pens, 5\' long", "average_rating": 4.5, "rating_number": 12, "features": ["Gel"], "description": ["Writes well"], "price": 3.17, "images": [{"large": "https://x"}], "videos": [], "store": "Pilot", "categories": ["Office Products", "Pens"], "details": {"Brand": "Pilot"}, "parent_asin": "B01", "bought_together": null}',
    '{"main_category": null, "title": "Writer\'s pad", "features": [], "description": [], "price": null, "store": null, "categories": ["Office Products"], "details": {}, "parent_asin": "B02", "bought_together": null}',
    '{"main_category": null, "title": "", "features": [], "categories": [], "parent_asin": "B03"}',
]
YELP = [
    '{"review_id": "r1", "user_id": "A1", "business_id": "B01", "stars": 5.0, "useful": 0, "funny": 0, "cool": 0, "text": "Nice", "date": "2016-03-09 20:56:20"}',
    '{"review_id": "r2", "user_id": "A1", "business_id": "B02", "stars": 3.0, "useful": 0, "funny": 0, "cool": 0, "text": "", "date": "2016-03-10 20:56:20"}',
    '{"review_id": "r3", "user_id": "A2", "business_id": "B01", "stars": 1.0, "useful": 0, "funny": 0, "cool": 0, "text": "", "date": "2016-03-11 20:56:20"}',
]
BUSINESS = [
    '{"business_id": "B01", "name": "Red &amp; blue pens, 5\' long", "address": "1 Main St", "city": "Tucson", "state": "AZ", "postal_code": "85711", "latitude": 32.2, "longitude": -110.8, "stars": 3.5, "review_count": 22, "is_open": 0, "attributes": {"WiFi": "free"}, "categories": "Shopping, Office Supplies", "hours": null}',
    '{"business_id": "B02", "name": "Writer\'s pad", "city": "", "state": "", "categories": null, "hours": null}',
    '{"business_id": "B03", "name": "", "categories": null}',
]
TIP = '{"user_id": "A1", "business_id": "B01", "text": "x", "date": "2016-03-09 20:56:20", "compliment_count": 0}'
RATINGS_CSV = ["userId,movieId,rating,timestamp", "1,31,2.5,1260759144", "1,1029,3.0,1260759179", "2,31,4.0,1260759185"]
MOVIES_CSV = [
    "movieId,title,genres",
    '31,"Red &amp; blue pens, 5\' long (1995)",Adventure|Children',
    "1029,Writer's pad (1996),(no genres listed)",
    "7,(none),Drama",
]
U_DATA = ["1\t31\t3\t881250949", "1\t1029\t3\t881250950", "2\t31\t4\t881250951"]
U_ITEM = [
    "31|Red & blue pens, 5' long (1995)|01-Jan-1995||http://us.imdb.com/M/title-exact?x|0|0|1|0|1" + "|0" * 14,
    "1029|Writer's pad (1996)|01-Jan-1996||http://us.imdb.com/M/title-exact?y|1" + "|0" * 18,
    "7|Caf\xe9 (1994)|01-Jan-1994||http://us.imdb.com/M/title-exact?z" + "|0" * 18 + "|1",
]
RATINGS_DAT = ["1::31::5::978300760", "1::1029::3::978302109", "2::31::4::978301968"]
MOVIES_DAT = [
    "31::Red & blue pens, 5' long (1995)::Adventure|Children's",
    "1029::Writer's pad (1996)::Drama",
    "7::Caf\xe9 (1994)::Drama",
]


@dataclass
class Form:
    """A published form: names of its two files, their lines, and what comes of them."""

    format: str
    file: str
    lines: list[str]
    meta: str
    items: list[str]
    first: dict[str, list[str]]
    """Attributes of the first item."""
    second: dict[str, list[str]]
    ids: tuple[str, str] = ("B01", "B02")
    year: str = ""
    encoding: str = "utf-8"
    kind: str = "json"

    def write(self, folder: Path) -> Path:
        place(folder / self.file, text_of(self.lines))
        place(folder / self.meta, text_of(self.items).encode(self.encoding))
        return folder


FORMS = {
    "amazon 2014": Form(
        "amazon", "reviews_Office_Products_5.json.gz", AMAZON_2014, "meta_Office_Products.json.gz", META_2014,
        {"brand": ["Pilot"], "categories": ["Office Products", "Pens"], "price": ["3.17"]},
        {"categories": ["Office Products", "Paper"], "description": ["It's a pad"]},
    ),
    "amazon 2018": Form(
        "amazon", "Office_Products_5.json.gz", AMAZON_2018, "meta_Office_Products.json.gz", META_2018,
        {
            "brand": ["Pilot"], "main_cat": ["Office Products"], "category": ["Office Products", "Pens"],
            "price": ["$3.17"], "feature": ["Gel"], "description": ["Writes well"],
        },
        {"category": ["Office Products"]},
    ),
    "amazon 2023": Form(
        "amazon", "Office_Products.jsonl", AMAZON_2023, "meta_Office_Products.jsonl.gz", META_2023,
        {
            "store": ["Pilot"], "main_category": ["Office Products"], "categories": ["Office Products", "Pens"],
            "price": ["3.17"], "features": ["Gel"], "description": ["Writes well"],
        },
        {"categories": ["Office Products"]},
    ),
    "yelp": Form(
        "yelp", "yelp_academic_dataset_review.json", YELP, "yelp_academic_dataset_business.json", BUSINESS,
        {"categories": ["Shopping", "Office Supplies"], "city": ["Tucson"], "state": ["AZ"]}, {},
    ),
    "movielens csv": Form(
        "movielens", "ratings.csv", RATINGS_CSV, "movies.csv", MOVIES_CSV,
        {"genres": ["Adventure", "Children"]}, {}, ("31", "1029"), "19", kind="table",
    ),
    "movielens 100k": Form(
        "movielens", "u.data", U_DATA, "u.item", U_ITEM,
        {"genres": ["Adventure", "Children's"]}, {}, ("31", "1029"), "19", "latin-1", "table",
    ),
    "movielens 1m": Form(
        "movielens", "ratings.dat", RATINGS_DAT, "movies.dat", MOVIES_DAT,
        {"genres": ["Adventure", "Children's"]}, {"genres": ["Drama"]}, ("31", "1029"), "19", "latin-1", "table",
    ),
}  # fmt: skip


def text_of(lines):
    return "".join(f"{line}\n" for line in lines)


def place(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def rows_of(raw):
    users, items = ([ids.values[code] for code in ids.codes] for ids in (raw.users, raw.items))
    return list(zip(users, items, strict=True))


# Good files


@pytest.mark.parametrize("of", ["folder", "file", "named"])
def test_a_published_form(form, tmp_path, of):
    form.write(tmp_path)
    path = tmp_path if of == "folder" else tmp_path / form.file
    raw, format = read_source(path, format=form.format if of == "named" else None, wanted=Wanted())
    one, two = form.ids
    users = [user for user, _ in rows_of(raw)]
    assert format == form.format
    assert [item for _, item in rows_of(raw)] == [one, two, one]
    assert users[0] == users[1] != users[2]
    assert raw.times is not None
    assert all(788e12 < time < 2e15 for time in raw.times.tolist())
    assert raw.times.tolist() == sorted(raw.times.tolist()) or form.file == "ratings.dat"
    catalog = raw.catalog
    assert catalog is not None
    assert catalog.ids[:2] == [one, two]
    assert len(catalog.ids) == 3, "an item without interactions is counted"
    titles = [re.sub(r" \(19..\)", "", title) for title in catalog.titles]
    assert titles[:2] == ["Red & blue pens, 5' long", "Writer's pad"]
    assert catalog.attributes[:2] == [form.first, form.second]


def test_the_import_of_a_form(form, tmp_path):
    dataset, report = import_dataset(form.write(tmp_path), name="x")
    assert (dataset.users, len(dataset.items), len(dataset.sequence)) == (2, 2, 3)
    assert report.dropped == {"items without interactions": 1}
    assert report.rows_read == 3
    assert all(dataset.items.titles)


def test_the_preview_of_a_form(form, tmp_path):
    seen = preview(form.write(tmp_path))
    assert seen.format == form.format
    assert seen.file.name == form.file
    assert seen.items == tmp_path / form.meta
    assert len(seen.head.rows) == 3
    assert seen.items_head is not None
    assert len(seen.items_head.rows) == 3
    assert seen.head.roles is not None
    assert {seen.head.roles.user, seen.head.roles.item, seen.head.roles.time} <= set(seen.head.names)


def test_a_whole_folder_of_yelp_and_of_movielens(tmp_path):
    FORMS["yelp"].write(tmp_path)
    for name, line in (
        ("tip", TIP),
        ("user", '{"user_id": "A1", "name": "x"}'),
        ("checkin", '{"business_id": "B01", "date": "x"}'),
    ):
        place(tmp_path / f"yelp_academic_dataset_{name}.json", line + "\n")
    assert read_source(tmp_path, format=None, wanted=Wanted())[0].source.endswith("review.json")
    folder = tmp_path / "ml"
    folder.mkdir()
    FORMS["movielens csv"].write(folder)
    place(folder / "tags.csv", "userId,movieId,tag,timestamp\n1,31,red,1260759144\n")
    place(folder / "links.csv", "movieId,imdbId,tmdbId\n31,1,2\n")
    assert read_source(folder, format=None, wanted=Wanted())[0].source.endswith("ratings.csv")


def test_the_whole_file_of_2014_has_the_same_items(tmp_path):
    place(tmp_path / "reviews_Office.json.gz", text_of(AMAZON_2014))
    place(tmp_path / "meta_Office.json.gz", text_of(META_2014))
    assert read_source(tmp_path, format=None, wanted=Wanted())[0].catalog is not None


def test_ratings_alone_with_items_of_another_form(tmp_path):
    ratings = place(tmp_path / "Office.csv", "user_id,parent_asin,rating,timestamp\nA1,B01,5.0,1588687728923\n")
    items = place(tmp_path / "meta_Office.jsonl.gz", text_of(META_2023))
    raw, format = read_source(ratings, format=None, wanted=Wanted(items=items))
    assert format == "csv"
    assert raw.catalog is not None
    assert raw.catalog.titles[0] == "Red & blue pens, 5' long"


def test_other_json_lines(tmp_path):
    place(
        tmp_path / "log.jsonl",
        '{"customer": 7, "sku": "a", "at": "2024-01-02", "n": 1}\n{"customer": 7, "sku": "b", "at": "2024-01-03"}\n',
    )
    items = place(
        tmp_path / "skus.jsonl",
        '{"sku": "a", "name": "Pen", "maker": "Pilot", "size": 3}\n{"sku": "b", "name": "Pad"}\n',
    )
    wanted = Wanted(user="customer", item="sku", time="at", items=items)
    raw, format = read_source(tmp_path / "log.jsonl", format=None, wanted=wanted)
    assert format == "jsonl"
    assert rows_of(raw) == [("7", "a"), ("7", "b")]
    assert raw.catalog is not None
    assert raw.catalog.titles == ["Pen", "Pad"]
    assert raw.catalog.attributes == [{"maker": ["Pilot"]}, {}]


def test_numbers_as_ids_read_alike_in_json_and_in_tables(tmp_path):
    path = place(tmp_path / "x.jsonl", '{"user": 7, "item": 3.0, "time": 1}\n{"user": "7", "item": "3", "time": 2.5}\n')
    raw, _ = read_source(path, format=None, wanted=Wanted())
    assert rows_of(raw) == [("7", "3")] * 2


def test_literals_of_items_that_nobody_has_are_not_parsed(tmp_path, monkeypatch):
    from engine.data.readers import json_rows

    place(tmp_path / "reviews_X_5.json.gz", text_of(AMAZON_2014))
    more = [f"{{'asin': 'C{n}', 'title': 'No {n}'}}" for n in range(50)]
    place(tmp_path / "meta_X.json.gz", text_of([*META_2014, *more]))
    parsed = []
    eval_literal = json_rows.ast.literal_eval
    monkeypatch.setattr(json_rows.ast, "literal_eval", lambda text: parsed.append(text) or eval_literal(text))
    raw, _ = read_source(tmp_path, format=None, wanted=Wanted())
    assert raw.catalog is not None
    assert len(raw.catalog.ids) == 53
    assert len(parsed) <= 5


# Broken ones: an error with the place, or a count


def middle(lines, line):
    return [lines[0], line, *lines[1:]]


def with_field(lines, old, new):
    return [*lines[:1], lines[1].replace(old, new), *lines[2:]]


def gz(data: bytes) -> bytes:
    return gzip.compress(data)


BOTH = {
    # name: (bytes of the good file -> bytes, what is said)
    "empty": (lambda good: b"", "the file is empty"),
    "blank": (lambda good: b" \n\n \n", "the file is empty|not recognized|no first object|holds no"),
    "cut off": (lambda good: gz(good * 50)[:-20], "not readable as gzip"),
    "not packed": (lambda good: good, "not readable as gzip"),
    "a flipped byte": (lambda good: flipped(gz(good * 50)), "not readable as gzip"),
    "UTF-16": (lambda good: good.decode("latin-1").encode("utf-16"), "UTF-16"),
    "NUL": (lambda good: good + b"\0\n", "NUL byte"),
    "other content": (
        lambda good: b"<html>404</html>\n" * 3,
        "not readable as JSON|fields? where|not ratings|column|a web page",
    ),
    "half a line": (
        lambda good: good[: -len(good.splitlines()[-1]) // 2],
        "not readable as JSON|fields? where|not a time|before MovieLens|before 1973|time .* is empty",
    ),
}
PACKED = {"cut off", "not packed", "a flipped byte"}


def flipped(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0xFF]) + data[len(data) // 2 + 1 :]


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("which", ["interactions", "items"])
def test_a_broken_file(form, tmp_path, name, which):
    breaks, words = BOTH[name]
    form.write(tmp_path)
    file = tmp_path / (form.file if which == "interactions" else form.meta)
    good = file.read_bytes()
    good = gzip.decompress(good) if file.suffix == ".gz" else good
    packed = name in PACKED
    stem = file.name.removesuffix(".gz")
    if name == "half a line" and which == "items":
        return  # half a line of a movie can be a movie with a shorter title
    file.unlink()
    broken = tmp_path / (f"{stem}.gz" if packed or file.suffix == ".gz" else stem)
    data = breaks(good)
    broken.write_bytes(gz(data) if broken.suffix == ".gz" and not packed else data)
    source = tmp_path / (broken.name if which == "interactions" else form.file)
    if which == "items" and name in ("blank", "empty", "other content", "UTF-16", "NUL"):
        words += "|no column|not movies|no item"
    with pytest.raises(DataError, match=words) as caught:
        read_source(source, format=form.format, wanted=Wanted())
    assert str(broken) in str(caught.value.where)


JSON_FORMS = [name for name, form in FORMS.items() if form.kind == "json"]
TABLE_FORMS = [name for name, form in FORMS.items() if form.kind == "table"]


def dropped_field(line: str, name: str) -> str:
    row = json.loads(line)
    row.pop(name)
    return json.dumps(row)


def set_field(line: str, name: str, value) -> str:
    return json.dumps(json.loads(line) | {name: value})


FIELDS = {
    "amazon 2014": ("reviewerID", "asin", "unixReviewTime"),
    "amazon 2018": ("reviewerID", "asin", "unixReviewTime"),
    "amazon 2023": ("user_id", "parent_asin", "timestamp"),
    "yelp": ("user_id", "business_id", "date"),
}
LINES = {
    # name: (a line, its fields -> another line, what is said)
    "no user": (lambda line, f: dropped_field(line, f[0]), "the user id .* is empty"),
    "no item": (lambda line, f: dropped_field(line, f[1]), "the item id .* is empty"),
    "no time": (lambda line, f: dropped_field(line, f[2]), "the time .* is empty"),
    "null user": (lambda line, f: set_field(line, f[0], None), "the user id .* is empty"),
    "user 'nan'": (lambda line, f: set_field(line, f[0], "nan"), "stands for none"),
    "a list as item": (lambda line, f: set_field(line, f[1], ["B01"]), "the item id .* neither text nor a number"),
    "true as user": (lambda line, f: set_field(line, f[0], True), "the user id .* neither text nor a number"),
    "control characters": (lambda line, f: set_field(line, f[0], "a\x1b[2J"), "control characters"),
    "a word as time": (lambda line, f: set_field(line, f[2], "soon"), "'soon' is not a time"),
    "an object as time": (lambda line, f: set_field(line, f[2], {"a": 1}), "is not a time"),
    "before 1970": (lambda line, f: set_field(line, f[2], "-5"), "before 1970|not a time"),
    "no JSON": (lambda line, f: "{user: 1}", "not readable as JSON"),
    "an array": (lambda line, f: "[1, 2]", "not a JSON object"),
    "a number": (lambda line, f: "17", "not a JSON object"),
    "half a line": (lambda line, f: line[: len(line) // 2], "not readable as JSON"),
    "two in a line": (lambda line, f: line + line, r"not readable as JSON \(Extra data"),
    "code": (lambda line, f: "{'asin': __import__('os').abort()}", "not readable as JSON"),
    "deep nesting": (lambda line, f: "[" * 100_000, "not readable as JSON"),
    "deep literals": (lambda line, f: "{'a': " + "(" * 5000, "not readable as JSON"),
    "an endless number": (lambda line, f: '{"a": ' + "9" * 5000 + "}", "not readable as JSON"),
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("name", JSON_FORMS)
def test_a_bad_line_is_named(tmp_path, name, line):
    form = FORMS[name]
    change, words = LINES[line]
    bad = change(form.lines[1], FIELDS[name])
    path = place(tmp_path / form.file, text_of([form.lines[0], bad, *form.lines[1:], bad]))
    with pytest.raises(DataError, match=words) as caught:
        read_source(path, format=None, wanted=Wanted())
    assert caught.value.where == f"{path}:2"
    assert "(2 such rows in all)" in caught.value.message


@pytest.mark.parametrize(
    "line", ["{'asin': open('x')}", "{'asin': 'B02', 'title': ", "nothing", "[]", "{'asin': None}", "{'x': 1}"]
)
def test_a_bad_line_of_literals_is_named_and_never_run(tmp_path, line):
    form = FORMS["amazon 2014"]
    place(tmp_path / form.file, text_of(form.lines))
    meta = place(tmp_path / form.meta, text_of(middle(form.items, line)))
    with pytest.raises(DataError) as caught:
        read_source(tmp_path, format=None, wanted=Wanted())
    assert caught.value.where == f"{meta}:2"


ROWS = {
    "no user": (("", 1, 2, 3), "the user id .* is empty"),
    "no item": ((1, "", 2, 3), "the item id .* is empty"),
    "no time": ((1, 2, 3, ""), "the time .* is empty"),
    "user 'null'": (("null", 1, 2, 3), "stands for none"),
    "a word as time": ((1, 2, 3, "soon"), "'soon' is not a time"),
    "infinite time": ((1, 2, 3, "inf"), "is not a time"),
    "before 1970": ((1, 2, 3, -7), "before 1970"),
    "one field": ((1,), "1 field where"),
    "three fields": ((1, 2, 3), "3 fields where"),
    "five fields": ((1, 2, 3, 4, 5), "5 fields where"),
    "control characters": (("a\x1b[2J", 2, 3, 4), "control characters"),
}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", TABLE_FORMS)
def test_a_bad_row_is_named(tmp_path, name, row):
    form = FORMS[name]
    cells, words = ROWS[row]
    bad = {"ratings.csv": ",", "u.data": "\t", "ratings.dat": "::"}[form.file].join(map(str, cells))
    path = place(tmp_path / form.file, text_of([*form.lines[:2], bad, *form.lines[2:]]))
    with pytest.raises(DataError, match=words) as caught:
        read_source(path, format=None, wanted=Wanted())
    assert caught.value.where == f"{path}:3"


@pytest.mark.parametrize("name", TABLE_FORMS)
@pytest.mark.parametrize("row", ["8", "8{0}x{0}y{0}z", "{0}no id{0}Drama"])
def test_a_bad_movie_is_named(tmp_path, name, row):
    form = FORMS[name]
    delimiter = {"movies.csv": ",", "u.item": "|", "movies.dat": "::"}[form.meta]
    place(tmp_path / form.file, text_of(form.lines))
    bad = row.format(delimiter)
    if form.meta == "u.item" and row.startswith("{"):
        bad += "|" * 21
    meta = place(tmp_path / form.meta, text_of([*form.items[:2], bad, form.items[2]]).encode(form.encoding))
    with pytest.raises(DataError, match=r"fields? where|the item id .* is empty") as caught:
        read_source(tmp_path / form.file, format=None, wanted=Wanted())
    assert caught.value.where == f"{meta}:3"


def test_line_ends_blank_lines_and_byte_order_mark(form, tmp_path):
    form.write(tmp_path)
    good, _ = read_source(tmp_path, format=None, wanted=Wanted())
    text = "\ufeff" + "\r\n\r\n".join(form.lines)
    place(tmp_path / form.file, text)
    again, format = read_source(tmp_path / form.file, format=None, wanted=Wanted())
    assert format == form.format
    assert rows_of(again) == rows_of(good)


def test_mixed_encodings_are_mended_and_counted(form, tmp_path):
    form.write(tmp_path)
    items = [item.replace("Writer", "Café").encode() for item in form.items]
    wrong = next(n for n, item in enumerate(form.items) if "blue" in item)
    items[wrong] = form.items[wrong].replace("blue", "blüe “").encode("cp1252")
    place(tmp_path / form.meta, b"\n".join(items) + b"\n")
    if form.meta == "movies.csv":  # published in UTF-8, and read as any table is
        with pytest.raises(DataError, match="is not UTF-8 text"):
            read_source(tmp_path, format=None, wanted=Wanted())
        return
    raw, _ = read_source(tmp_path, format=None, wanted=Wanted())
    assert raw.catalog is not None
    assert "blüe “" in raw.catalog.titles[0]
    assert raw.catalog.titles[1].startswith("Caf\xe9's pad")
    assert any("1 lines of" in w and "Windows-1252" in w for w in raw.catalog.warnings)


def test_repeated_rows_and_items_are_counted(form, tmp_path):
    form.write(tmp_path)
    place(tmp_path / form.file, text_of([*form.lines, form.lines[-1]]))
    place(tmp_path / form.meta, text_of([*form.items, form.items[1]]).encode(form.encoding))
    dataset, report = import_dataset(tmp_path, name="x")
    assert len(dataset.sequence) == 4
    assert any("1 rows" in w and "repeat user, item and time" in w for w in report.warnings)
    assert any("repeat an item" in w for w in report.warnings)
    dataset, report = import_dataset(tmp_path, name="x", options=ImportOptions(duplicates="first"))
    assert len(dataset.sequence) == 3
    assert report.dropped["repeated interactions"] == 1


def test_items_that_are_not_described_are_counted(form, tmp_path):
    form.write(tmp_path)
    kept = [line for line in form.items if form.ids[1] not in line]
    place(tmp_path / form.meta, text_of(kept).encode(form.encoding))
    dataset, report = import_dataset(tmp_path, name="x")
    assert "" in dataset.items.titles
    assert any("1 of 2 items are not in" in w for w in report.warnings)
    (tmp_path / form.meta).unlink()
    _, report = import_dataset(tmp_path / form.file, name="x")
    assert any("no item has text" in w for w in report.warnings)


def test_a_title_that_is_page_source_is_left_out_and_counted(tmp_path):
    path = place(tmp_path / "meta_X.json.gz", text_of(META_2018))
    catalog = read_items(path, Wanted())
    assert catalog.titles[2] == ""
    assert any("1 titles" in w for w in catalog.warnings)


def test_one_large_array_is_no_lines(tmp_path):
    path = place(tmp_path / "reviews.json", "[" + ",\n".join(AMAZON_2014) + "]\n")
    with pytest.raises(DataError) as caught:
        read_source(path, format="amazon", wanted=Wanted())
    assert "one JSON object" in str(caught.value.hint)


def test_a_named_column_that_is_not_there(tmp_path):
    path = place(tmp_path / "x.json", text_of(AMAZON_2014))
    with pytest.raises(DataError, match="there is no column 'shopper'"):
        read_source(path, format="amazon", wanted=Wanted(user="shopper"))
