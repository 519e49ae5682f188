"""A run whose summaries were paid for is repeated without a server, a key or a dollar."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from engine.config_files import load_config
from sracl_tui.cli.main import app
from sracl_tui.runs.execute import execute
from sracl_tui.runs.request import RunRequest
from store.home import Home

from .conftest import KEY, entry

SMALL = ("max_users=30", "epochs=1", "threads=1", "k=4", "item_k=4", "provider=fake")


def test_paid_summaries_and_vectors_are_reused(serve, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FAKE_KEY", KEY)
    home, server = Home(tmp_path / "home"), serve(key=KEY)
    home.create()
    (home.path / "providers.toml").write_text(entry(server, key_env="FAKE_KEY"))
    config, preset = load_config(assignments=(*SMALL, "encoder=fake:vectors"), settings={"dataset": "demo"})
    assert execute(home, RunRequest(run_id="paid", config=config, preset=preset)).state == "finished"
    asked = server.requests
    assert asked > 0
    server.stop()
    monkeypatch.delenv("FAKE_KEY")
    (home.path / "providers.toml").unlink()
    words = ["paid", "--encode", "--home", str(home.path), "--headless", "--json"]  # not even then are they made again
    done = CliRunner().invoke(app, ["reproduce", *words])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["pass"]
    assert server.requests == asked
