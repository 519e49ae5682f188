"""Downloads against a loopback server that breaks off, changes its files, and lies."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from engine.data.download import RECORD, File, Known, checksum_of, fetch, known
from engine.errors import ConfigError, FetchError
from tests.support.commands import sracl_process

BODY = bytes(range(256)) * 4000


class Server(ThreadingHTTPServer):
    """Serves `files` by name; `cut` ends an answer after so many bytes, `ranges` and `etag` may be taken away."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"a.bin": BODY}
        self.cut: int | None = None
        self.status = 200
        self.ranges = self.etag = True
        self.asked: list[str | None] = []

    def url(self, name="a.bin"):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        body = server.files.get(self.path[1:])
        if body is None or server.status != 200:
            self.send_error(404 if body is None else server.status)
            return
        tag, begin = f'"{hashlib.md5(body).hexdigest()}"', 0
        if asked and server.ranges and self.headers.get("If-Range") == tag:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(body):
                self.send_error(416)
                return
        self.send_response(206 if begin else 200)
        if server.etag:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        self.wfile.write(body[begin : None if server.cut is None else begin + server.cut])

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def entry(*files):
    return Known("x", "things", "http://page", "none", files)


def sha(body):
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def test_a_first_download_is_recorded_and_a_second_needs_none(server, tmp_path):
    file = File(server.url())
    assert checksum_of(file, tmp_path) is None
    told = []
    assert fetch(entry(file), tmp_path, progress=lambda *step: told.append(step)) == tmp_path
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert told[0] == ("a.bin", 0, len(BODY))
    assert told[-1] == ("a.bin", len(BODY), len(BODY))
    assert checksum_of(file, tmp_path) == sha(BODY)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", RECORD]
    fetch(entry(file), tmp_path)
    assert len(server.asked) == 1


def test_a_download_that_broke_off_goes_on(server, tmp_path):
    file, server.cut = File(server.url()), 300_000
    with pytest.raises(FetchError, match="broke off") as caught:
        fetch(entry(file), tmp_path)
    assert caught.value.where == file.url
    assert (tmp_path / "a.bin.part").stat().st_size == 300_000
    assert not (tmp_path / "a.bin").exists()
    with pytest.raises(FetchError):
        fetch(entry(file), tmp_path)
    server.cut = None
    fetch(entry(file), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.asked == [None, "bytes=300000-", "bytes=600000-"]


@pytest.mark.parametrize("how", ["changed", "no ranges", "no tag", "shorter"])
def test_what_cannot_be_gone_on_with_begins_anew(server, tmp_path, how):
    file, server.cut = File(server.url()), 300_000
    server.etag = how != "no tag"
    with pytest.raises(FetchError):
        fetch(entry(file), tmp_path)
    server.cut = None
    if how == "changed":
        server.files["a.bin"] = BODY[::-1]
    server.ranges = how != "no ranges"
    if how == "shorter":
        (tmp_path / "a.bin.part").write_bytes(BODY + b"more")
    fetch(entry(file), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == server.files["a.bin"]


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_checksum_that_is_published_is_checked(server, tmp_path, algorithm):
    right = f"{algorithm}:{hashlib.new(algorithm, BODY).hexdigest()}"
    fetch(entry(File(server.url(), checksum=right)), tmp_path)
    server.files["a.bin"] = b"something else"
    (tmp_path / "a.bin").write_bytes(b"damaged")
    with pytest.raises(FetchError, match=f"checksum is not {right}"):
        fetch(entry(File(server.url(), checksum=right)), tmp_path)
    assert not (tmp_path / "a.bin").exists()


def test_a_file_that_changed_since_the_first_download_is_refused(server, tmp_path):
    file = File(server.url())
    fetch(entry(file), tmp_path)
    (tmp_path / "a.bin").unlink()
    server.files["a.bin"] = b"another"
    with pytest.raises(FetchError, match="checksum is not sha256"):
        fetch(entry(file), tmp_path)


@pytest.mark.parametrize(("status", "name"), [(200, "none.bin"), (403, "a.bin"), (500, "a.bin")])
def test_a_server_that_refuses(server, tmp_path, status, name):
    server.status = status
    with pytest.raises(FetchError, match=f"answers {404 if status == 200 else status}") as caught:
        fetch(entry(File(server.url(name))), tmp_path)
    assert "sracl data import PATH --name x" in str(caught.value.hint)


def test_a_network_that_is_closed(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/a.bin"
        with pytest.raises(FetchError, match="cannot be reached") as caught:
            fetch(entry(File(url)), tmp_path)
    assert f"Or download {url} elsewhere" in str(caught.value.hint)


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)
    return buffer.getvalue()


def test_an_archive_is_unpacked(server, tmp_path):
    server.files["ml.zip"] = zipped(**{"ml-small__ratings.csv": "x", "ml-small__movies.csv": "y"})
    place = fetch(entry(File(server.url("ml.zip"))), tmp_path)
    assert place == tmp_path / "ml" / "ml-small"
    assert (place / "ratings.csv").read_text() == "x"
    assert fetch(entry(File(server.url("ml.zip"))), tmp_path) == place


def test_an_archive_cannot_climb_out_and_a_damaged_one_is_told(server, tmp_path):
    home = tmp_path / "deep" / "home"
    server.files["bad.zip"] = zipped(**{"..__..__escaped.csv": "x", "fine.csv": "y"})
    fetch(entry(File(server.url("bad.zip"))), home)
    assert not list(tmp_path.glob("escaped.csv"))
    assert not list((tmp_path / "deep").glob("escaped.csv"))
    server.files["cut.zip"] = zipped(**{"a.csv": "x"})[:-30]
    with pytest.raises(FetchError, match="not readable as zip"):
        fetch(entry(File(server.url("cut.zip"))), home)


def test_the_known_ones():
    entries = known()
    assert {
        "amazon-beauty-2014",
        "amazon-office-2014",
        "amazon-sports-2014",
        "ml-latest-small",
        "ml-1m",
        "yelp",
    } <= set(entries)
    for one in entries.values():
        assert one.licence
        assert one.page.startswith("https://")
        assert all(file.url.startswith("https://") and file.name for file in one.files)
    assert entries["yelp"].files == ()


@pytest.mark.parametrize("text", ["[x]\nwhat = 1\n", "x = 3\n", "[x\n", "[x]\nfiles = [{ address = 'y' }]\n"])
def test_own_ones_that_are_wrong(tmp_path, text):
    own = tmp_path / "datasets.toml"
    own.write_text(text)
    with pytest.raises(ConfigError, match="not readable as data sets"):
        known(own)


# The command


def test_the_command_shows_asks_downloads_and_imports(server, tmp_path):
    def sracl(*words, code=0, stdin=""):
        return sracl_process(tmp_path, "data", "fetch", *words, code=code, stdin=stdin)

    ratings = "userId,movieId,rating,timestamp\n" + "".join(
        f"{u},{m},4.0,{1260759144 + m}\n" for u in (1, 2) for m in (5, 6, 7)
    )
    server.files["small.zip"] = zipped(
        **{"small__ratings.csv": ratings, "small__movies.csv": "movieId,title,genres\n5,Heat (1995),Action\n"}
    )
    (tmp_path / "datasets.toml").write_text(
        f"[mine]\nlicence = 'mine [alone]'\nfiles = [{{ url = '{server.url('small.zip')}' }}]\n"
    )
    assert "amazon-beauty-2014" in sracl().stdout
    asked = sracl("mine", code=1, stdin="n\n")
    assert "mine [alone]" in asked.stderr
    assert "size unknown, checksum unknown" in asked.stderr
    assert not server.asked
    done = json.loads(sracl("mine", "--yes", "--json").stdout)
    assert done["dataset"]["format"] == "movielens"
    assert done["files"][0]["checksum"] == sha(server.files["small.zip"])
    again = sracl("mine", "--yes", "--download-only")
    assert "bytes, checksum sha256:" in again.stderr
    assert len(server.asked) == 1
    assert "there is no known data set 'other'" in sracl("other", code=2).stderr
    assert "cannot be downloaded directly" in sracl("yelp", "--yes", code=2).stderr
    server.status = 503
    (tmp_path / "datasets.toml").write_text(f"[off]\nfiles = [{{ url = '{server.url()}' }}]\n")
    assert "answers 503" in sracl("off", "--yes", code=1).stderr
