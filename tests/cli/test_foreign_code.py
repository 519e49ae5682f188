"""A bundle names code: it comes in, is told, and runs nothing that nobody trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.store.transfer.test_bundle import RUNS, forged, replaced


@pytest.fixture
def foreign(sracl: Any, home: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A bundle of a real run that names a file as its backbone, and that file, which leaves a trace when it is imported."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Net: pass\n")
    told = sracl("export", "plain", "--bundle", "--out", str(tmp_path / "good.zip"), home=home).stderr
    assert "The bundle contains settings" in told

    def change(tables: dict[str, pa.Table]) -> None:
        config = json.loads(tables[RUNS]["config"][0].as_py())
        config["model"]["backbone"] = f"{tmp_path / 'evil.py'}:Net"
        tables[RUNS] = replaced(tables[RUNS], "config", [json.dumps(config)])

    return forged(tmp_path / "good.zip", tmp_path / "forged.zip", change), tmp_path / "ran"


def test_no_command_imports_it(sracl: Any, foreign: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, trace = foreign
    other = tmp_path / "other"
    told = sracl("import-bundle", str(bundle), home=other).stderr
    assert "name code" in told
    assert "evil.py:Net" in told
    for words in (("runs",), ("show", "plain"), ("compare", "plain", "plain")):
        sracl(*words, home=other)
        assert not trace.exists(), words
    refused = sracl("reproduce", "plain", "--headless", home=other, code=2).stderr
    assert "--allow-code" in refused
    assert not trace.exists()
    sracl("reproduce", "plain", "--headless", "--allow-code", str(tmp_path / "evil.py"), home=other, code=2)
    assert trace.exists()


def test_settings_that_are_none_do_not_come_in(sracl: Any, home: Path, tmp_path: Path) -> None:
    sracl("export", "plain", "--bundle", "--out", str(tmp_path / "good.zip"), home=home)
    text = '{"train": {"epochs": "many"}}'
    bad = forged(
        tmp_path / "good.zip", tmp_path / "bad.zip", lambda t: t.update({RUNS: replaced(t[RUNS], "config", [text])})
    )
    assert "settings are refused" in sracl("import-bundle", str(bad), home=tmp_path / "third", code=2).stderr
    assert not any(path.name.startswith("2") for path in (tmp_path / "third" / "runs").iterdir())
    sracl("import-bundle", str(tmp_path / "good.zip"), home=tmp_path / "third")
