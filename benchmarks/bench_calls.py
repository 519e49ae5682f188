"""CPU, memory and liveliness of 20,000 calls at concurrency 200 to a server with 200 ms latency, beside the bare client.

    python -m benchmarks.bench_calls [CALLS]

Both ask the same prompts of the same server, in turns of a tenth of the calls, so that what else the machine does meets
both. Ours is all that a job does: prompts and keys written, paced, priced, judged, journaled and synced. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from engine.config import SemanticsConfig
from engine.data.dataset import TRAIN, Dataset, Items
from engine.events import Event, StageProgress, Tabular
from engine.semantics.summaries.llm_provider import EndpointProvider
from engine.semantics.summaries.make import make_summaries
from store.journal.journal import Journal

SERVER = Path(__file__).resolve().parents[1] / "tests" / "support" / "openai_server.py"
CONCURRENCY, LATENCY, TURNS = 200, 0.2, 10
PROVIDERS = """
[fake]
base_url = "{url}"
model = "m"
prices = {{input = 1.0, output = 2.0, cached = 0.1}}
limits = {{concurrency = {concurrency}, timeout = 60}}
"""


def dataset_of(prompts: int) -> Dataset:
    """A made-up set with at least so many distinct prompts."""
    users, items, length = prompts // 9 + 10, 5000, 13
    dice = np.random.default_rng(1)
    return Dataset(
        name="calls",
        user_raw_ids=[str(n) for n in range(users)],
        items=Items([str(n) for n in range(items)], [f"Article number {n}" for n in range(items)], [{}] * items),
        sequence=dice.integers(1, items + 1, users * length).astype(np.int32),
        offsets=np.arange(users + 1) * length,
        timestamps=None,
    )


@contextmanager
def served() -> Iterator[str]:
    """The address of the loopback server, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        port = Path(folder) / "port"
        line = [sys.executable, str(SERVER), str(port), "", json.dumps({"latency": LATENCY})]
        process = subprocess.Popen(line)
        try:
            while not port.exists() or not port.read_text():
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port.read_text()}/v1"
        finally:
            process.kill()
            process.wait()


def bare(url: str, bodies: list[dict[str, Any]]) -> None:
    """The calls by the client alone, through the same connections."""
    import httpx2 as http
    from openai import AsyncOpenAI

    async def main() -> None:
        pool = http.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
        async with (
            http.AsyncClient(limits=pool, timeout=60) as plain,
            AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=plain) as client,
        ):
            left = iter(bodies)

            async def worker() -> None:
                for body in left:
                    made = await client.chat.completions.create(**body)
                    assert made.choices[0].message.content

            await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))

    asyncio.run(main())


class Ours:
    """Jobs one after the other, with a journal."""

    def __init__(self, provider: EndpointProvider, dataset: Dataset, folder: Path) -> None:
        self.provider, self.dataset, self.journal = provider, dataset, Journal(folder)
        self.silence = self.seen = 0.0

    def report(self, event: Event) -> None:
        """Into the journal, as a run does; progress is what a screen shows."""
        columns = event.columns if isinstance(event, Tabular) else None
        self.journal.append(event.name, event.payload(), columns=columns)
        if isinstance(event, StageProgress):
            self.silence, self.seen = max(self.silence, time.monotonic() - self.seen), time.monotonic()

    def run(self, owners: np.ndarray) -> None:
        """Summaries of some owners."""
        self.seen = time.monotonic()
        made = make_summaries(
            self.provider, self.dataset, "user", owners, unit="prefix", known=lambda keys: {}, report=self.report
        )
        assert len(made.texts) == len(owners)


def resident() -> float:
    """Megabytes that the process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def main(calls: int) -> dict[str, Any]:
    """Both, in turns."""
    dataset = dataset_of(calls)
    with served() as url, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "providers.toml").write_text(PROVIDERS.format(url=url, concurrency=CONCURRENCY))
        provider = EndpointProvider.build(SemanticsConfig(provider="fake"), dataset, max_length=20, home=home)
        ids = dataset.anchors.ids(TRAIN)
        _, first = np.unique(provider.request_keys("user", ids), return_index=True)
        owners = ids[np.sort(first)][:calls]
        assert len(owners) == calls
        ours = Ours(provider, dataset, home)
        warm = owners[:CONCURRENCY]
        bare(url, [provider.requests.body("user", m) for m in provider.requests.messages("user", warm)])
        ours.run(warm)
        cpu, wall, memory = {"ours": 0.0, "bare": 0.0}, {"ours": 0.0, "bare": 0.0}, []
        for turn, part in enumerate(np.array_split(owners, TURNS)):
            bodies = [provider.requests.body("user", m) for m in provider.requests.messages("user", part)]
            ways = {"bare": lambda bodies=bodies: bare(url, bodies), "ours": lambda part=part: ours.run(part)}
            for way in sorted(ways, reverse=bool(turn % 2)):
                busy, started = time.process_time(), time.perf_counter()
                ways[way]()
                cpu[way] += time.process_time() - busy
                wall[way] += time.perf_counter() - started
            memory.append(round(resident()))
        return {
            "calls": calls,
            "cpu_ms_per_call": {way: round(1000 * spent / calls, 2) for way, spent in cpu.items()},
            "cpu_ratio": round(cpu["ours"] / cpu["bare"], 2),
            "calls_per_second": {way: round(calls / spent) for way, spent in wall.items()},
            "resident_mb_by_turn": memory,
            "longest_silence_seconds": round(ours.silence, 2),
        }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)) + "\n")
