"""What the documents promise: examples load and run, queries are answered, links lead somewhere."""

from __future__ import annotations

import re

import pytest

from engine.config_files import load_config
from engine.extension_points import BACKBONES
from engine.method_table import METHODS, PARTS
from engine.part_settings import SAMPLED
from engine.setting_paths import leaf_paths
from sracl_tui.runs.sweeps.variants import read_variants, seeds_of
from tests.support.commands import ROOT

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
OF_VARIANTS = ("variants.toml", "methods.toml")


@pytest.mark.parametrize(
    "path", [path for path in EXAMPLES if path.name not in OF_VARIANTS], ids=lambda path: path.name
)
def test_every_example_is_a_valid_config(path):
    config, preset = load_config(files=(path,))
    assert config.data.dataset
    assert preset in ("default", "backbone")


def test_the_example_of_variants_is_valid():
    variants, common = read_variants(ROOT / "examples" / "variants.toml")
    seeds, shared = seeds_of(common)
    assert seeds == [1, 2, 3]
    for variant in variants:
        load_config(preset=variant.preset, settings={**shared, **variant.settings})


def test_the_example_of_methods_has_every_method_backbone_and_loss():
    variants, common = read_variants(ROOT / "examples" / "methods.toml")
    configs = {}
    for variant in variants:
        config, _ = load_config(preset=variant.preset, settings={**common, **variant.settings})
        assert config.data.dataset == "demo"
        assert config.train.epochs < 10, "it is said to take minutes"
        for stage in config.definition.stages:
            _, part, leaf = stage.epochs.split(".")
            assert getattr(getattr(config.parts, part), leaf) < 10, f"{variant.name}: its {stage.name}, too"
        configs[variant.name] = config
    assert {config.method.name for config in configs.values()} == set(METHODS.ours)
    assert {config.model.backbone for config in configs.values()} == set(BACKBONES.ours)
    assert {config.parts.rec.loss for config in configs.values()} == {"ce", *SAMPLED}
    hashes = {config.config_hash() for config in configs.values()}
    assert len(hashes) == len(variants), "no two of them are the same run"


def test_the_page_of_methods_has_every_method_backbone_part_and_loss():
    text = (ROOT / "docs" / "methods.md").read_text()
    rows = re.findall(r"^\| (?:backbone )?`([^`]+)` \|", text, re.MULTILINE)
    assert {*METHODS.ours, *BACKBONES.ours} - {*rows} <= {"sasrec", "dual"}, (
        "these are described as `plain` and `llm-esr`"
    )
    missing = {*PARTS, *SAMPLED, *BACKBONES.ours} - {*re.findall(r"`(?:parts\.)?([\w-]+)(?:\.\w+)?`", text)}
    assert not missing
    settings = re.findall(r"`((?:parts|model|train|retrieval|semantics|loss|method)\.[\w.]+)(?: =[^`]*)?`", text)
    assert set(settings) - {"parts.NAME.weight"} <= set(leaf_paths().values())


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_readme_begins_with_the_two_commands():
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("make")]
    assert lines[0].startswith("make demo")
    assert lines[1].startswith("make test")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_paths_of_the_project_exist(page):
    """A path in backquotes that begins with one of the project's folders; `a.py:1` and `a.py::test` name a place in it."""
    for path in re.findall(
        r"`((?:engine|store|sracl_tui|tests|benchmarks|examples|docs)/[\w./-]+)[^`]*`", page.read_text()
    ):
        assert (ROOT / path).exists(), path
