"""Settings: presets, files, assignments, errors that come all at once, and the hash of what matters."""

from __future__ import annotations

import tomllib
from collections import Counter
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Config, ModelConfig, TrainConfig, content_hash, flatten
from engine.config_files import (
    build_config,
    load_config,
    merge,
    parse_assignment,
    preset_description,
    preset_names,
    preset_tree,
    read_config_file,
)
from engine.errors import ConfigError
from engine.extension_points import BACKBONES, OWN_LOSS
from engine.method_table import METHODS, PARTS
from engine.sections import Hash
from engine.setting_paths import choices, described_fields, leaf_paths, setting_fields

FIELDS = flatten(Config().model_dump(mode="json"))
UNHASHED = {
    "record.snapshots",
    "record.users",
    "train.seed",
    "train.device",
    "train.threads",
    "train.processes",
    "semantics.budget",
    "evaluate.metrics",
}
PRESETS = {
    "default": {},
    "paper": {
        "retrieval.pool": "reference",
        "model.padding": "random",
        "train.select_digits": 4,
        "train.tie_improves": True,
        "train.patience": 11,
    },
    "backbone": {"loss.alpha": 0.0, "loss.beta": 0.0},
    "wo-inter": {"loss.alpha": 0.0},
    "wo-intra": {"loss.beta": 0.0},
    "wo-learn": {"synthesizer.kind": "random"},
    "wo-semantic": {"semantics.vector": "collaborative"},
    "wo-llm": {"semantics.provider": "titles"},
    "item-synthesis": {"synthesizer.item_kind": "synthesize"},
    "esasrec": {"method.name": "plain", "model.backbone": "ligr", "train.mode": "sequence", "parts.rec.loss": "ss"},
    "protocol-s3": {"data.max_length": 50, "evaluate.mask_seen": True, "train.select": "ndcg@20"},
}
DEFAULTS = {
    "max_length": 20, "k": 10, "pool": "others", "width": 64, "layers": 2, "heads": 2, "inner": 256, "dropout": 0.5,
    "attention_dropout": 0.5, "padding": "zero", "kind": "gat", "weight_dropout": 0.5, "item_kind": "draw",
    "alpha": 0.1, "beta": 0.1, "temperature": 1.0, "direction": "symmetric", "swap": 0.2, "epochs": 100, "batch": 256,
    "lr": 1e-3, "weight_decay": 0.0, "patience": 10, "select": "mrr@10", "ks": [5, 10, 20], "mask_seen": False,
    "ties": "worst",
}  # fmt: skip


def another(path: str):
    """A valid value of a setting that is not its default."""
    special = {
        "model.heads": 4,
        "evaluate.ks": [5, 10],
        "evaluate.metrics": ["hr"],
        "train.select": "hr@5",
        "train.device": "cpu",
    }
    special |= {"semantics.unit": "user", "model.width": 32, "model.backbone": "gru4rec"}
    special |= {"method.name": "plain", "method.parts": ["rec", "inter"]}
    special |= {"parts.aap.fields": ["brand"]}
    special |= {f"parts.augmented.{name}": ["crop", "mask"] for name in ("operators", "short_operators")}
    if path in special:
        return special[path]
    old, closed = FIELDS[path], choices(path)
    if closed:
        return next((choice for choice in closed if choice != old), None)
    if isinstance(old, bool):
        return not old
    if isinstance(old, str):
        return f"{old}-other"
    if isinstance(old, float):
        return old / 2 or 0.25
    return (old or 1) + 1 if path not in {"semantics.llm"} else "model"


def with_value(path: str, value) -> Config:
    also = {"semantics.unit": {"retrieval.pool": "users"}, "model.mask": {"model.backbone": "bert4rec"}}
    also |= {f"model.loss_{name}": {"model.backbone": "alpharec"} for name in ("negatives", "temperature")}
    also |= {f"model.filter_{name}": {"model.backbone": "bsarec"} for name in ("mix", "bands")}
    also |= {"parts.rec.negatives": {"parts.rec.loss": "ss"}, "parts.rec.gbce_t": {"parts.rec.loss": "gbce"}}
    also |= {"train.sparse_adam": {"parts.rec.loss": "ss"}}
    also |= {"parts.intent.representation": {"parts.intent.pair": "augmented"}}
    section, part, *_ = path.split(".")
    active = {"method.parts": ["rec"] if part == "rec" else ["rec", part]} if section == "parts" else {}
    return build_config(also.get(path, {}), active, {path: value})


@pytest.mark.parametrize("path", FIELDS)
def test_hash_changes_with_every_setting_but_those_that_cannot_change_the_result(path):
    config = with_value(path, another(path))
    base = with_value(path, FIELDS[path])
    assert set(config.differences(base)) == {path}
    assert (config.config_hash() == base.config_hash()) == (path in UNHASHED)


def test_a_setting_of_another_backbone_is_not_in_the_hash():
    read = {"mask": ["bert4rec"], "filter_mix": ["bsarec"], "filter_bands": ["bsarec"]}
    read |= {"loss_negatives": ["alpharec"], "loss_temperature": ["alpharec"]}
    for setting, readers in read.items():
        old, new = FIELDS[f"model.{setting}"], another(f"model.{setting}")
        for name in BACKBONES.ours:
            hashes = {build_config({"backbone": name, setting: value}).config_hash() for value in (old, new)}
            assert (len(hashes) > 1) == (name in readers), (name, setting)


def rule_of(path: str) -> Hash:
    return next((extra for extra in setting_fields()[path].metadata if isinstance(extra, Hash)), Hash())


def test_a_setting_that_is_never_hashed():
    assert {path for path in FIELDS if rule_of(path).never} == UNHASHED
    for path in UNHASHED:
        assert with_value(path, another(path)).config_hash() == Config().config_hash(), path


def test_a_setting_that_is_left_out_at_its_default_is_hashed_at_any_other_value():
    older = ModelConfig.model_fields["mask"].default
    rule = Hash(omit_default=True)
    assert not rule.includes(older, older, scopes=frozenset(["always"]), backbone="sasrec")
    assert rule.includes(older / 2, older, scopes=frozenset(["always"]), backbone="sasrec")
    assert rule_of("train.mode") == rule_of("train.precision") == rule
    assert TrainConfig.model_fields["mode"].default == "prefix"  # as of the runs from before there was a choice
    assert TrainConfig.model_fields["precision"].default == "float32"


def test_settings_of_sampled_losses_are_in_the_hash_where_they_are_read():
    for method in ("plain", "sracl"):
        ce = build_config({"method": method}).config_hash()
        for unread in ({"parts.rec.negatives": 3}, {"parts.rec.gbce_t": 0.1}, {"parts.rec.loss": "ce"}):
            assert build_config({"method": method} | unread).config_hash() == ce, unread
    losses = ("ce", "bce", "ss", "ss-logq", "gbce")
    hashes = {loss: build_config({"method": "plain", "parts.rec.loss": loss}).config_hash() for loss in losses}
    assert len(set(hashes.values())) == 5
    for loss, own in hashes.items():
        base = {"method": "plain", "parts.rec.loss": loss}
        fewer, other = (build_config(base | given).config_hash() for given in ({"negatives": 9}, {"gbce_t": 0.5}))
        assert (fewer != own) == (loss != "ce")
        assert (other != own) == (loss == "gbce")
        assert (build_config(base | {"chunk": 9}).config_hash() != own) == (loss == "ce")


@pytest.mark.parametrize(("loss", "also", "words"), [
    ("ce", {}, r"train\.sparse_adam: ce gives every item a gradient"),
    ("ce", {"backbone": "bert4rec"}, r"train\.sparse_adam: ce gives every item a gradient"),
    ("ss", {"weight_decay": 0.1}, r"train\.sparse_adam: train\.weight_decay moves every item"),
])  # fmt: skip
def test_sparse_adam_is_refused_where_a_step_touches_every_item(loss, also, words):
    with pytest.raises(ConfigError, match=words):
        build_config({"parts.rec.loss": loss, "sparse_adam": True} | also)


def test_a_backbone_with_a_loss_of_its_own_takes_no_other():
    with pytest.raises(ConfigError, match=r"parts\.rec\.loss: bert4rec has a loss of its own.*ss.*use ce"):
        build_config({"backbone": "bert4rec", "parts.rec.loss": "ss"})
    known = {name for name in BACKBONES.ours if BACKBONES.load(name).has_own_loss}
    assert known == set(OWN_LOSS)


def test_a_setting_that_counts_only_with_a_contrast():
    rule = Hash(scope="contrasts")
    plain = build_config({"alpha": 0.0, "beta": 0.0})
    assert not rule.includes(1, 2, scopes=frozenset(["always", "texts", "lists"]), backbone="sasrec")
    assert rule.includes(1, 2, scopes=frozenset(["always", "contrasts"]), backbone="sasrec")
    assert build_config({"alpha": 0.0, "temperature": 0.5}).config_hash() != build_config({"alpha": 0.0}).config_hash()
    assert build_config({"beta": 0.0, "temperature": 0.5}).config_hash() != build_config({"beta": 0.0}).config_hash()
    for changed in ({"k": 3}, {"temperature": 0.5}, {"drop_titles": 0.5}, {"kind": "dot"}, {"encoder": "tfidf"}):
        assert build_config({"alpha": 0.0, "beta": 0.0} | changed).config_hash() == plain.config_hash(), changed
        assert build_config(changed).config_hash() != Config().config_hash(), changed


def test_a_setting_that_some_backbones_ignore_counts_for_all_others():
    rule = Hash(ignored_by=("gru4rec",))
    assert not rule.includes(1, 2, scopes=frozenset(["always"]), backbone="gru4rec")
    assert rule.includes(1, 2, scopes=frozenset(["always"]), backbone="sasrec")


def test_a_value_may_be_hashed_by_what_it_stands_for():
    rule = rule_of("model.backbone")
    assert rule.identity is not None
    assert rule.identity("sasrec") == "sasrec"
    assert rule.identity("/nowhere/own.py:Own") == "missing:Own"


def test_the_hash_of_the_default_settings_stays():
    assert Config().config_hash() == "66b0a00453250ff4"


def test_a_file_as_backbone_counts_by_its_content(tmp_path, monkeypatch):
    def hash_of(name):
        return build_config({"backbone": f"{tmp_path / name}:Own"}).config_hash()

    for name, text in (("a.py", "x = 1"), ("b.py", "x = 1"), ("c.py", "x = 2")):
        (tmp_path / name).write_text(text)
    assert hash_of("a.py") == hash_of("b.py") != hash_of("c.py")
    monkeypatch.chdir(tmp_path)
    assert build_config({"backbone": "a.py:Own"}).model.backbone == f"{tmp_path / 'a.py'}:Own"


@pytest.mark.parametrize(
    ("name", "words"), [("lstm4rec", "there are sasrec, gru4rec, bert4rec"), ("none.py:Own", "there is no file")]
)
def test_a_backbone_that_is_not_there(name, words):
    with pytest.raises(ConfigError, match=words) as caught:
        build_config({"backbone": name})
    assert "model.backbone" in str(caught.value)


def test_backbones_are_equal_whatever_stands_in_the_semantic_settings():
    plain, _ = load_config(preset="backbone")
    other, _ = load_config(
        preset="backbone", assignments=("encoder=tfidf", "k=5", "kind=uniform", "swap_titles=true", "swap=0.5")
    )
    assert plain.config_hash() == other.config_hash()
    wider, _ = load_config(preset="backbone", assignments=("width=32",))
    assert plain.config_hash() != wider.config_hash()


def test_hash_knows_values_not_how_they_were_written():
    assert build_config({"alpha": 1}).config_hash() == build_config({"loss": {"alpha": 1.0}}).config_hash()
    assert load_config(assignments=("lr=1e-3", "ks=[5, 10, 20]"))[0].config_hash() == Config().config_hash()
    assert len(Config().config_hash()) == 16


def test_a_leaf_alone_names_a_setting_where_only_one_has_it():
    leaves = Counter(path.rpartition(".")[2] for path in FIELDS)
    others = {"method", "parts.inter.weight", "parts.intra.weight", "parts.intra.swap"}
    for name, path in leaf_paths().items():
        assert path in FIELDS
        if name not in FIELDS and name not in others:
            assert leaves[name] == 1 or not path.startswith("parts.")
            assert path.endswith(f".{name}")
            assert name not in Config.model_fields
    settled = {path for path in FIELDS if path.split(".")[0] not in ("method", "parts")}
    for path in settled:  # stored commands and config files use these
        assert leaf_paths()[path.rpartition(".")[2]] == path
    assert "weight" not in leaf_paths()


def test_the_contrasts_are_parts_by_other_names():
    given = build_config({"parts": {"inter": {"weight": 0.3}}, "parts.intra.weight": 0.2, "parts.intra.swap": 0.4})
    assert given == build_config({"alpha": 0.3, "beta": 0.2, "swap": 0.4})
    assert build_config({"method": "plain"}).method.name == "plain"


def test_the_same_objective_has_the_same_hash_under_any_name():
    plain = build_config({"method": "plain"})
    assert plain.config_hash() == load_config(preset="backbone")[0].config_hash()
    assert build_config({"method.parts": ["rec"]}).config_hash() == plain.config_hash()
    assert build_config({"method.parts": ["rec", "inter", "intra"]}).config_hash() == Config().config_hash()
    assert build_config({"method.parts": ["rec", "inter"]}).config_hash() == build_config({"beta": 0.0}).config_hash()
    assert (
        build_config({"method.parts": ["rec", "intra", "inter"]}).config_hash() != Config().config_hash()
    )  # other draws


def test_settings_of_a_part_that_another_one_reads_are_in_the_hash_where_it_is_off():
    alone = {"method.parts": ["rec", "meta"]}
    off = {"method": "mclrec", "parts.augmented.weight": 0}
    for base in (alone, off):
        hashes = {build_config(base | {"parts.augmented.crop": crop}).config_hash() for crop in (0.2, 0.7)}
        assert len(hashes) == 2
    assert (
        build_config(alone).config_hash() != build_config({"method.parts": ["rec", "meta", "augmented"]}).config_hash()
    )
    assert (
        build_config({"method.parts": ["rec", "intent"], "parts.augmented.crop": 0.2}).config_hash()
        == build_config({"method.parts": ["rec", "intent"]}).config_hash()
    )


def test_a_pretraining_that_is_off_is_not_in_the_hash():
    off = {f"parts.{task}.weight": 0 for task in ("mip", "sp", "aap", "map")}
    plain = build_config({"method": "plain"})
    assert build_config({"method": "s3rec"} | off).config_hash() == plain.config_hash()
    assert build_config({"method": "s3rec"} | off).is_plain
    assert not build_config({"method": "s3rec"} | off | {"parts.map.weight": 1}).is_plain
    hashes = {  # settings of mip that other tasks read
        build_config({"method": "s3rec"} | off | {"parts.map.weight": 1} | more).config_hash()
        for more in (
            {},
            {"parts.mip.epochs": 3},
            {"parts.mip.mask": 0.3},
            {"parts.aap.floor": 3},
            {"parts.sp.weight": 1},
        )
    }
    assert len(hashes) == 5


def test_the_stages_of_a_config():
    assert build_config({"method": "plain"}).stages == ()
    ((stage, epochs),) = build_config({"method": "s3rec", "parts.mip.epochs": 7}).stages
    assert (stage.name, epochs) == ("pretrain", 7)


def test_no_two_methods_share_a_hash():
    hashes = {name: build_config({"method": name}).config_hash() for name in METHODS.ours}
    assert len(set(hashes.values())) == len(hashes), hashes


@given(st.lists(st.permutations(list(PARTS)).map(lambda parts: tuple(parts[:3])), min_size=2, max_size=2, unique=True))
def test_no_two_combinations_share_a_hash(combined):
    one, other = (build_config({"method.parts": list(parts)}) for parts in combined)
    assert one.config_hash() != other.config_hash()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"method.parts": ["rec", "iner"]}, r"method\.parts: there is no part 'iner'; there are rec, inter, intra"),
        ({"method.parts": ["rec", "rec"]}, r"method\.parts: each part can stand there once"),
        ({"method.parts": []}, r"method\.parts: name at least one part"),
        ({"method": "srakl"}, r"method\.name: there is no method 'srakl'; there are sracl, plain"),
        ({"parts": {"nowhere": {"weight": 1}}}, r"parts\.nowhere: there is no part 'nowhere'"),
        ({"parts.rec.weight": 0, "method": "plain"}, "every part has the weight 0"),
        ({"parts.rec.weight": -1}, r"parts\.rec\.weight: "),
        ({"method.parts": ["rec", "iner"], "batch": 0}, r"train\.batch: "),
    ],
)
def test_objectives_that_do_not_exist(given, words):
    with pytest.raises(ConfigError, match=words):
        build_config(given)


@pytest.mark.parametrize("path", FIELDS)
def test_every_setting_is_explained(path):
    field = described_fields()[path]
    assert field.description
    assert field.description.strip().endswith("."), path


def test_defaults_are_those_of_the_paper():
    for leaf, value in DEFAULTS.items():
        assert FIELDS[leaf_paths()[leaf]] == value, leaf


def test_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Config().loss.alpha = 1.0


# Presets


def test_all_presets_are_tested():
    assert set(preset_names()) == set(PRESETS)
    assert preset_names()[0] == "default"


@pytest.mark.parametrize("name", PRESETS)
def test_preset_differs_from_the_default_in_what_it_says_alone(name):
    config, preset = load_config(preset=name)
    assert preset == name
    changed = config.differences(load_config(preset="default")[0])
    assert {path: ours for path, (_, ours) in changed.items()} == PRESETS[name]
    assert {path: theirs for path, (theirs, _) in changed.items()} == {path: FIELDS[path] for path in changed}


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_described_in_one_line(name):
    assert "\n" not in preset_description(name)
    assert len(preset_description(name)) > 20


@pytest.mark.parametrize("name", PRESETS)
def test_preset_file_stays_in_sections(name):
    tree = tomllib.loads(resources.files("engine.presets").joinpath(f"{name}.toml").read_text("utf-8"))
    assert set(tree) <= set(Config.model_fields) | {"description", "extends"}


def test_unknown_preset():
    with pytest.raises(ConfigError, match="there is no preset 'papre'") as caught:
        load_config(preset="papre")
    assert caught.value.hint is not None
    assert "paper" in caught.value.hint
    with pytest.raises(ConfigError):
        preset_tree("../default")


def test_only_contrasts_need_semantics():
    on = {name: load_config(preset=name)[0].contrasts for name in PRESETS}
    assert [name for name, value in on.items() if not value] == ["backbone", "esasrec"]


# What goes wrong


@pytest.mark.parametrize(
    ("key", "near"),
    [("alpah", "alpha"), ("loss.alpah", "loss.alpha"), ("max_lenght", "max_length"), ("mask-seen", "mask_seen")],
)
def test_unknown_key_says_what_may_be_meant(key, near):
    with pytest.raises(ConfigError) as caught:
        build_config({key: 1})
    assert caught.value.message == f"{key}: there is no such setting (did you mean {near}?)"


def test_unknown_key_in_a_section_and_one_without_a_neighbor():
    with pytest.raises(ConfigError, match=r"loss\.alfa: there is no such setting \(did you mean loss\.alpha\?\)"):
        build_config({"loss": {"alfa": 1}})
    with pytest.raises(ConfigError) as caught:
        build_config({"zzzz": 1})
    assert caught.value.message == "zzzz: there is no such setting"


def problems(caught) -> set[str]:
    return {line.split(":")[0] for line in caught.value.message.splitlines()}


@pytest.mark.parametrize("way", ["build", "load"])
def test_all_problems_at_once(way):
    wrong = {"alpah": 1, "k": -3, "train": {"lr": 0, "epochs": "many"}, "kind": "gta", "swap": 1.5, "x.y": 1}
    with pytest.raises(ConfigError) as caught:
        build_config(wrong) if way == "build" else load_config(settings=wrong)
    expected = {"alpah", "x.y", "retrieval.k", "train.lr", "train.epochs", "synthesizer.kind", "loss.swap"}
    assert problems(caught) == expected
    assert "not -3" in caught.value.message
    assert "'gta'" in caught.value.message


def test_all_contradictions_at_once():
    wrong = {"heads": 3, "ks": [5, 5], "backend": "annoy", "similarity": "dot", "unit": "user", "pool": "train"}
    with pytest.raises(ConfigError) as caught:
        build_config(wrong, {"select": "hr@7", "alpha2": 1})
    expected = {"alpha2", "model.heads", "evaluate.ks", "train.select", "retrieval.backend", "retrieval.pool"}
    assert problems(caught) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_length": 0},
        {"max_users": 1},
        {"dropout": 1.0},
        {"weight_dropout": -0.1},
        {"temperature": 0},
        {"alpha": -1},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"batch": 1},
        {"select": "auc"},
        {"select": "mrr@0"},
        {"select_digits": 0},
        {"device": "tpu"},
        {"ks": []},
        {"ks": [0, 10]},
        {"epochs": 1.5},
        {"width": None},
    ],
    ids=str,
)
def test_out_of_range(wrong):
    (leaf,) = wrong
    with pytest.raises(ConfigError) as caught:
        build_config(wrong)
    assert leaf_paths()[leaf] in problems(caught)


# Assignments and files


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alpha=0.05", {"alpha": 0.05}),
        ("loss.alpha = 0.05", {"loss.alpha": 0.05}),
        ("ks=[5, 10]", {"ks": [5, 10]}),
        ("mask_seen=true", {"mask_seen": True}),
        ("select=ndcg@10", {"select": "ndcg@10"}),
        ('dataset="2014"', {"dataset": "2014"}),
        ("llm=none", {"llm": None}),
        ("llm=null", {"llm": None}),
        ("llm=", {"llm": ""}),
        ("encoder=a=b", {"encoder": "a=b"}),
        ("search_k=20_000", {"search_k": 20_000}),
        ("lr=1e-3", {"lr": 0.001}),
    ],
)
def test_parse_assignment(text, expected):
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["alpha", "=3", " = 3", ""])
def test_no_assignment(text):
    with pytest.raises(ConfigError, match="is not KEY=VALUE"):
        parse_assignment(text)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=30))
def test_any_value_parses(raw):
    assert list(parse_assignment(f"dataset={raw}")) == ["dataset"]


def test_the_later_wins(tmp_path):
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text('preset = "wo-intra"\nalpha = 0.3\nepochs = 7\n[loss]\ntemperature = 0.5\n')
    second.write_text("[train]\nepochs = 8\nseed = 3\n")
    config, preset = load_config(files=(first, second), assignments=("seed=4", "k=5"), settings={"k": 6})
    assert preset == "wo-intra"
    assert (config.loss.alpha, config.loss.beta, config.loss.temperature) == (0.3, 0.0, 0.5)
    assert (config.train.epochs, config.train.seed, config.retrieval.k) == (8, 4, 6)
    over, preset = load_config(preset="wo-inter", files=(first,))
    assert preset == "wo-inter"
    assert (over.loss.alpha, over.loss.beta) == (0.3, 0.1)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_config_file(tmp_path / "none.toml")
    for content in (b"alpha = ", b"\xff\xfe"):
        broken = tmp_path / "broken.toml"
        broken.write_bytes(content)
        with pytest.raises(ConfigError, match="not readable as TOML") as caught:
            read_config_file(broken)
        assert caught.value.where == str(broken)
    with pytest.raises(ConfigError, match="not readable as TOML"):
        read_config_file(tmp_path)


@pytest.mark.parametrize("unit", ["every-1", "every-0", "every-", "every-x", "prefixes", "every-4 "])
def test_a_unit_is_a_prefix_a_user_or_every_mth_prefix(unit):
    assert load_config(assignments=("unit=every-12",))[0].retrieval.pool == "others"
    with pytest.raises(ConfigError, match=r"semantics\.unit"):
        build_config({"unit": unit})


def test_unit_user_brings_its_pool():
    assert load_config(assignments=("unit=user",))[0].retrieval.pool == "users"
    with pytest.raises(ConfigError, match=r"retrieval\.pool"):
        load_config(assignments=("unit=user", "pool=others"))
    config, _ = load_config(assignments=("unit=user", "pool=others", "vector=item-mean"))
    assert config.retrieval.pool == "others"


# Parts


def test_merge_and_flatten_leave_their_arguments_alone():
    base, over = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "e": {"f": 5}}
    merged = merge(base, over)
    assert merged == {"a": {"b": 1, "c": 4}, "d": 3, "e": {"f": 5}}
    assert flatten(merged) == {"a.b": 1, "a.c": 4, "d": 3, "e.f": 5}
    assert base == {"a": {"b": 1, "c": 2}, "d": 3}
    assert over == {"a": {"c": 4}, "e": {"f": 5}}


def test_content_hash_is_of_the_canonical_form():
    assert content_hash({"a": 1, "b": "ä"}) == content_hash({"b": "ä", "a": 1})
    assert content_hash([1, 2]) != content_hash([2, 1])
    assert content_hash({}, length=8) == content_hash({})[:8]
    assert content_hash({"a": 1}) == "015abd7f5cc57a2d"  # SHA-256 of {"a":1}


def test_choices():
    assert choices("loss.direction") == ("symmetric", "one-way")
    assert choices("loss.alpha") == ()
    assert choices("kind") == ("gat", "gatv2", "dot", "mlp", "uniform", "softmax-cosine", "random", "top1", "frozen")
    assert choices("model.backbone") == ("sasrec", "gru4rec", "bert4rec", "bsarec", "ligr", "dual", "alpharec")


def test_config_survives_json():
    config, _ = load_config(preset="paper", assignments=("ks=[10, 50]", "max_users=9"))
    assert Config.model_validate_json(config.model_dump_json()) == config
