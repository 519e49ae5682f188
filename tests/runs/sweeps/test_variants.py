"""Several configs as one group."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config_files import load_config
from engine.errors import ConfigError
from sracl_tui.runs.sweeps.variants import ABLATIONS, expand, read_variants, seeds_of, vary


def requests(variants, **changes):
    options = {
        "files": (), "assignments": ("encoder=tfidf",), "settings": {"dataset": "demo"}, "preset": None, "common": {},
        "seeds": None, "group": None, "tags": (),
    }  # fmt: skip
    return expand(variants, **options | changes)


def test_the_built_in_ablations_are_the_papers_and_every_synthesizer():
    variants, common = read_variants(ABLATIONS)
    assert common == {}
    made = {request.name.removesuffix("-1"): request.config for request in requests(variants)}
    assert {"sracl", "backbone", "wo-inter", "wo-intra", "wo-learn", "wo-semantic", "wo-llm", "item-synthesis"} < set(
        made
    )
    kinds = {config.synthesizer.kind for config in made.values()}
    assert kinds == {"gat", "gatv2", "dot", "mlp", "uniform", "softmax-cosine", "random", "top1", "frozen"}
    assert len({config.config_hash() for config in made.values()}) == len(made)
    assert all(config.semantics.encoder == "tfidf" for config in made.values())


def test_seeds_come_row_by_row_and_the_group_is_found_again():
    variants = vary("k=1,5")
    made = requests(variants, seeds=(1, 2))
    assert [request.name for request in made] == ["k=1-1", "k=5-1", "k=1-2", "k=5-2"]
    assert [request.config.retrieval.k for request in made] == [1, 5, 1, 5]
    assert len({request.group for request in made}) == 1
    assert requests(variants, seeds=(1,))[0].group == made[0].group
    assert requests(vary("k=1,6"))[0].group != made[0].group


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("alpha=0.05,0.1", [0.05, 0.1]),
        ("pool=others,train", ["others", "train"]),
        ("drop_titles=0.0,0.5", [0.0, 0.5]),
        ("swap_titles=true,false", [True, False]),
        ("kind=gat,softmax-cosine", ["gat", "softmax-cosine"]),
    ],
)
def test_one_setting_over_several_values(text, values):
    variants = vary(text)
    assert [next(iter(variant.settings.values())) for variant in variants] == values
    assert len(requests(variants)) == len(values)


@pytest.mark.parametrize("text", ["k", "k=", "=1,2", "k=5"])
def test_what_is_not_several_values_is_refused(text):
    with pytest.raises(ConfigError, match="KEY=VALUE,VALUE"):
        vary(text)


def test_a_file_of_variants_with_common_settings(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('epochs = 3\n[variants.plain]\npreset = "backbone"\n[variants.far]\nk = 20\nalpha = 0.05\n')
    variants, common = read_variants(path)
    plain, far = requests(variants, common=common)
    assert (plain.preset, far.preset) == ("backbone", "default")
    assert plain.config.train.epochs == far.config.train.epochs == 3
    assert (far.config.retrieval.k, far.config.loss.alpha) == (20, 0.05)


@pytest.mark.parametrize(("value", "seeds"), [(3, [1, 2, 3]), ([4, 9], [4, 9])])
def test_a_file_may_name_its_seeds(value, seeds):
    assert seeds_of({"seeds": value, "epochs": 3}) == (seeds, {"epochs": 3})


@pytest.mark.parametrize("value", [0, "five", [], [-1], True])
def test_seeds_that_are_none_are_refused(value):
    with pytest.raises(ConfigError, match="seeds"):
        seeds_of({"seeds": value})


def test_a_file_without_variants_is_refused(tmp_path: Path):
    (tmp_path / "empty.toml").write_text("epochs = 3\n")
    with pytest.raises(ConfigError, match="no variants"):
        read_variants(tmp_path / "empty.toml")


def test_a_variant_with_a_wrong_setting_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="there is no such setting"):
        requests(vary("nothing=1,2"))


def test_with_seed_changes_the_seed_alone():
    config, _ = load_config()
    (request,) = requests(vary("k=1,5")[:1], seeds=(7,))
    assert request.config.train.seed == 7
    assert request.config.config_hash() != config.config_hash()
