"""Registries of parts: ours, installed ones and files, with errors that say what there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine import extension_points
from engine.config import Config
from engine.config_files import build_config
from engine.errors import ConfigError
from engine.extension_points import BACKBONES, SYNTHESIZERS
from engine.registry import Registry, attribute_of, split_file
from engine.setting_paths import registries
from tests.support.commands import ROOT
from tests.support.installed import install

ALL = [value for value in vars(extension_points).values() if isinstance(value, Registry)]
RECENT = """
import torch
from engine.models.synthesizers import Synthesizer

class Recent(Synthesizer):
    learned = True
    def __init__(self, size, width, weight_dropout):
        super().__init__(size, width, weight_dropout)
        self.slope = torch.nn.Parameter(torch.zeros(()))
    def scores(self, anchor, neighbors, similarity):
        return self.slope + (1 + self.slope) * similarity * torch.arange(similarity.shape[1])
"""


@pytest.mark.parametrize("registry", ALL, ids=lambda registry: registry.kind)
def test_every_entry_of_ours_is_a_subclass_of_its_base(registry: Registry) -> None:
    base = attribute_of(registry.base)
    assert registry.ours
    assert all(issubclass(registry.load(name), base) for name in registry.ours)
    assert [other.group for other in ALL].count(registry.group) == 1


def test_asking_for_names_imports_no_entry() -> None:
    code = """
import sys
from engine.config_files import build_config
from engine.setting_paths import choices, registries
build_config({"kind": "mlp", "backbone": "bert4rec"})
[registry.names() for registry in registries().values()]
loaded = {name for name in sys.modules if name.startswith(("torch", "engine.models", "engine.semantics", "engine.retrieval"))}
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_file_is_absolute_hashed_by_content_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(RECENT)
    config = build_config({"kind": "mine.py:Recent"})
    assert config.synthesizer.kind == f"{path}:Recent"
    (tmp_path / "copy.py").write_text(RECENT)
    assert build_config({"kind": "copy.py:Recent"}).config_hash() == config.config_hash() != Config().config_hash()
    folder = tmp_path / "run"
    folder.mkdir()
    SYNTHESIZERS.keep(config.synthesizer.kind, folder)
    before, first = config.config_hash(), SYNTHESIZERS.load(config.synthesizer.kind)
    assert SYNTHESIZERS.load(config.synthesizer.kind) is first, "a file is run once"
    path.write_text(RECENT.replace("learned = True", "learned = False"))
    assert config.config_hash() != before
    assert not SYNTHESIZERS.load(config.synthesizer.kind).learned, "a changed file is read again"
    assert (folder / "own_synthesizer.py").read_text() == RECENT
    kept = SYNTHESIZERS.kept_in(config.synthesizer.kind, folder)
    assert split_file(kept) == (folder / "own_synthesizer.py", "Recent")
    assert SYNTHESIZERS.load(kept).learned
    assert SYNTHESIZERS.kept_in("gat", folder) == "gat"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("class Recent: ...", "is no subclass of engine.models.synthesizers.Synthesizer"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("other = 1", "cannot be imported: AttributeError"),
        (RECENT.replace("super()", "None"), "cannot be built: AttributeError"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(tmp_path: Path, code: str, words: str) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(code)
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            SYNTHESIZERS.build(f"{path}:Recent", 4, 3, 0.0)
        assert words in caught.value.message
        assert caught.value.where == "synthesizer.kind"


def test_unknown_names_are_told_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config({"kind": "gta", "backbone": str(tmp_path / "none.py:Own"), "lr": -1})
    lines = caught.value.message.splitlines()
    assert (
        f"synthesizer.kind: there is no synthesizer 'gta'; there are {', '.join(SYNTHESIZERS.ours)}, and path.py:NAME for your own"
        in lines
    )
    assert f"model.backbone: there is no file {tmp_path / 'none.py'}" in lines
    assert any(line.startswith("train.lr") for line in lines), "every problem at once"
    with pytest.raises(ConfigError, match="there is no backbone 'nothing'"):
        BACKBONES.load("nothing")


def test_a_synthesizer_of_ones_own_trains_from_a_file_and_from_a_package(run, tmp_path, monkeypatch) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RECENT)
    points = {"sracl.synthesizers:recent": "Recent"}
    install(tmp_path / "site", monkeypatch, module="sracl_recent", code=RECENT, points=points)
    assert SYNTHESIZERS.names()[-1] == "recent"
    from_file, installed = (run(kind=kind, epochs=2, lr=0.05) for kind in (f"{path}:Recent", "recent"))
    assert from_file.equals(installed)
    assert from_file.weights("last.safetensors")["synthesizer.slope"] != 0
    assert from_file.trace["losses"] != run(kind="gat", epochs=2, lr=0.05).trace["losses"]


def test_registries_of_the_config_are_those_of_its_settings() -> None:
    assert all(registry.where == path for path, registry in registries().items())
