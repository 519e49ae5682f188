"""No thread may set an environment variable while others run: glibc's `getenv` reads what is being moved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import environment

RUN = """
import os, sys, threading

def hear(event, arguments):
    adds = event == "os.putenv" and arguments[0] not in os.environb  # another value of one that is there moves nothing
    if (adds or event == "os.unsetenv") and threading.active_count() > 1:
        print("SET", arguments[0].decode(), "beside", threading.active_count() - 1, "threads", flush=True)

sys.addaudithook(hear)
from sracl_tui.cli import main
"""
TRAINS = """
sys.argv = ["sracl", "run", "--headless", *(word for setting in ("max_users=30", "encoder=tfidf", "epochs=1", "threads=1")
                                            for word in ("--set", setting))]
main()
"""
IMPORTS = """
with_others = threading.Event()
threading.Thread(target=with_others.wait, daemon=True).start()
import numpy, pyarrow.parquet, duckdb, torch, torch._dynamo, sklearn, scipy.sparse, sentence_transformers, openai, annoy
with_others.set()
"""


@pytest.mark.parametrize("code", [TRAINS, IMPORTS], ids=["a run", "imports"])
def test_no_variable_is_set_beside_other_threads(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN + code],
        capture_output=True, text=True, timeout=240, env=environment(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "SET" not in done.stdout, done.stdout
