"""Records the runs that the pictures of the screens show: `python -m tests.support.record_runs`.

Five small real runs are made and their journals kept under `recorded/`, with times, names of machines and process numbers
replaced, so that the pictures are the same wherever and whenever they are drawn.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.support.commands import start

RECORDED = Path(__file__).with_name("recorded")
SMALL = ["--set", "max_users=60", "--set", "encoder=tfidf", "--set", "epochs=6", "--set", "threads=1", "--headless"]
RUNS = (
    ("plain-1", ["--preset", "backbone", "--group", "plain", "--seed", "1"]),
    ("plain-2", ["--preset", "backbone", "--group", "plain", "--seed", "2"]),
    ("whole", ["--tag", "paper"]),
    ("sharp", ["--set", "temperature=0.5"]),
    ("too-cold", ["--set", "temperature=1e-42"]),
)
START = 1_767_258_000.0
"""2026-01-01 09:00 UTC."""
FIXED: dict[str, Any] = {
    "pid": 4242,
    "host": "workstation",
    "boot_id": "00000000-0000-4000-8000-000000000000",
    "process_started": 100.0,
    "machine": "Linux, 2 cores, 24 GiB",
    "git_sha": "0123456789abcdef0123456789abcdef01234567",
    "git_patch": None,
    "packages": {"python": "3.11", "torch": "2.13.0"},
}


def main() -> None:
    """Make the runs, keep what the store and the screens read."""
    shutil.rmtree(RECORDED, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for number, (name, words) in enumerate(RUNS):
            before = set((home / "runs").glob("*"))
            start(home, "run", "--name", name, *words, *SMALL).wait()  # one of them fails, as it should
            (made,) = set((home / "runs").glob("*")) - before
            _keep(made, f"20260101-{900 + 10 * number:04d}00-{number + 1:04x}", START + 600.0 * number)


def _keep(folder: Path, run_id: str, start: float) -> None:
    place = RECORDED / run_id
    place.mkdir(parents=True)
    for path in folder.glob("*.parquet"):
        shutil.copy(path, place)
    first = None
    with (place / "events-0001.jsonl").open("w", encoding="utf-8") as file:
        for raw in (folder / "events-0001.jsonl").read_text("utf-8").splitlines():
            line = json.loads(raw.replace(folder.name, run_id))
            line.pop("crc", None)  # the line is another one now
            first = line["at"] if first is None else first
            line["at"] = round(start + line["at"] - first, 3)
            line |= {key: value for key, value in FIXED.items() if key in line}
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
