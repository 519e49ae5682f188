"""Code by path from elsewhere runs in no command until a person allows it; one's own goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import QUICK
from tests.store.transfer.test_bundle import RUNS, forged, replaced
from tests.support.commands import ROOT

SETTINGS = {
    # which of them are looked up first differs by command
    "method": ("method.name",),
    "others": ("model.backbone", "synthesizer.kind", "retrieval.backend", "semantics.encoder", "semantics.provider"),
}
READING = (
    ("runs",), ("runs", "--json"), ("show", "plain"), ("show", "plain", "--json"), ("compare", "plain", "plain"),
    ("export", "plain", "--out", "x.csv"), ("costs",), ("db", "check"), ("study", "list"), ("methods",),
)  # fmt: skip
ACTING = (
    ("reproduce", "plain", "--headless"), ("run", "--resume", "plain", "--force", "--headless"),
    ("run", "--resume", "plain", "--force", "--dry-run"),
)  # fmt: skip


@pytest.fixture(params=SETTINGS)
def foreign(request: Any, sracl: Any, home: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A bundle of a real run that names a file as its parts, and that file, which leaves a trace when it is imported."""
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Net: pass\n")
    told = sracl("export", "plain", "--bundle", "--out", str(tmp_path / "good.zip"), home=home).stderr
    assert "The bundle contains settings" in told

    def change(tables: dict[str, Any]) -> None:
        config, asked = json.loads(tables[RUNS]["config"][0].as_py()), json.loads(tables["request.json"])
        for path in SETTINGS[request.param]:
            section, leaf = path.split(".")
            config[section][leaf] = f"{tmp_path / 'evil.py'}:Net"
        tables[RUNS] = replaced(tables[RUNS], "config", [json.dumps(config)])
        tables["request.json"] = json.dumps(asked | {"config": config}).encode()

    return forged(tmp_path / "good.zip", tmp_path / "forged.zip", change), tmp_path / "ran"


def test_no_command_imports_what_a_bundle_names(sracl: Any, foreign: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, trace = foreign
    other = tmp_path / "other"
    told = sracl("import-bundle", str(bundle), home=other).stderr
    assert f"name code: {tmp_path}/evil.py:Net (nobody has allowed this file in this home)" in told.replace("\n", "")
    for words in READING:
        sracl(*words, home=other)
        assert not trace.exists(), words
    assert "nobody has allowed" in sracl("show", "plain", home=other).stdout
    for words in ACTING:
        refused = sracl(*words, home=other, code=2).stderr
        assert f"--allow-code {tmp_path}/evil.py" in refused.replace("\n", ""), words
        assert not trace.exists(), words
    sracl("reproduce", "plain", "--headless", "--allow-code", str(tmp_path / "evil.py"), home=other, code=2)
    assert trace.exists()


def test_ones_own_code_goes_on_until_it_changes(sracl: Any, tmp_path: Path) -> None:
    home, mine = tmp_path / "home", tmp_path / "mine.py"
    shutil.copy(ROOT / "examples" / "own_backbone.py", mine)
    small = (*QUICK, "--preset", "backbone", "--set", "epochs=1")
    night = tmp_path / "night.toml"
    night.write_text(f'backbone = "{mine}:Decay"\n')
    told = sracl("run", str(night), *small, "--headless", home=home, code=2).stderr
    assert "nobody has allowed this file in this home" in told
    sracl("run", *small, "--set", f"backbone={mine}:Decay", "--run-id", "own", "--headless", home=home)
    for words in (("reproduce", "own", "--headless"), ("run", "--resume", "own", "--force", "--dry-run"),
                  ("run", str(night), *small, "--dry-run"), ("recommend", "own", "#1")):  # fmt: skip
        sracl(*words, home=home)
    queued = sracl("queue", "add", str(night), *small, home=home).stdout.split(":")[0]
    assert "mine.py:Decay: allowed in this home" in sracl("show", "own", home=home).stdout
    mine.write_text(mine.read_text() + "\n# another version\n")
    for words in (("run", "--resume", "own", "--force", "--dry-run"), ("run", "--resume", queued, "--headless")):
        told = sracl(*words, home=home, code=2).stderr
        assert "has changed since it was allowed" in told, words
        assert f"--allow-code {mine}" in told.replace("\n", ""), words
    sracl("reproduce", "own", "--headless", home=home)  # from the copy in its folder
    strange = tmp_path / "strange.toml"
    strange.write_text(night.read_text())
    assert "has changed" in sracl("run", str(strange), *small, "--dry-run", home=home, code=2).stderr
    sracl("run", str(night), *small, "--dry-run", home=home)  # one's own settings name what it is now
    sracl("run", str(strange), *small, "--dry-run", home=home)
    assert sracl("run", "--allow-code", "none.py", home=home, code=2).stderr


def test_settings_that_are_none_do_not_come_in(sracl: Any, home: Path, tmp_path: Path) -> None:
    sracl("export", "plain", "--bundle", "--out", str(tmp_path / "good.zip"), home=home)
    text = '{"train": {"epochs": "many"}}'
    bad = forged(
        tmp_path / "good.zip", tmp_path / "bad.zip", lambda t: t.update({RUNS: replaced(t[RUNS], "config", [text])})
    )
    assert "settings are refused" in sracl("import-bundle", str(bad), home=tmp_path / "third", code=2).stderr
    assert not any(path.name.startswith("2") for path in (tmp_path / "third" / "runs").iterdir())
    sracl("import-bundle", str(tmp_path / "good.zip"), home=tmp_path / "third")
