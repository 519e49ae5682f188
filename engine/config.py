"""What a run is made of: a frozen tree of settings, its presets, its hash.

Leaf names are unique over the whole tree, so `alpha` and `loss.alpha` name the same setting.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from engine.errors import ConfigError
from engine.models import naming


class Section(BaseModel):
    """A frozen part of the tree; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class DataConfig(Section):
    dataset: str = "demo"
    """Name of an imported dataset; `demo` is synthetic and made when it is not there."""
    max_length: int = Field(default=20, ge=1, le=1000)
    """Window: the last items of a prefix that the backbone sees (the paper's n), in items."""
    max_users: int | None = Field(default=None, ge=2)
    """Use only the first so many users, by user id; none means all of them."""
    drop_titles: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of items, drawn at random with a fixed seed, whose text is taken away."""
    swap_titles: bool = False
    """Shuffle the texts among the items with a fixed seed: a placebo for the semantic stages."""


class SemanticsConfig(Section):
    provider: str = "offline"
    """Who writes the summaries: `offline` (rules), `titles` (raw text: the paper's w/o LLM) or a named endpoint."""
    llm: str | None = None
    """Model of a named endpoint; none means that the endpoint's own default is taken."""
    unit: str = Field(default="prefix", pattern=r"^(prefix|user|every-([2-9]|[1-9]\d+))$")
    """One summary per training prefix (`prefix`, released code), per user (`user`, paper), or per m-th prefix of a user
    (`every-m`, such as `every-4`: the prefixes up to the next one share it)."""
    prompt: str = "auto"
    """Version of the prompt; `auto` takes the newest one for the dataset's domain."""
    encoder: str = "minilm"
    """Text encoder: `minilm`, `tfidf`, the name or folder of a sentence-transformers model, or `ENDPOINT:MODEL`."""
    vector: Literal["text", "item-mean", "collaborative"] = "text"
    """An anchor's vector: of its summary, the mean of its items' vectors, or the backbone's own (w/o semantic)."""
    budget: float | None = Field(default=None, ge=0)
    """Hard cap on what a run may spend on calls, in US dollars; none means no cap."""


class RetrievalConfig(Section):
    k: int = Field(default=10, ge=1, le=1000)
    """Neighbors retrieved per anchor (the paper's k)."""
    item_k: int = Field(default=10, ge=1, le=1000)
    """Substitutes retrieved per item."""
    pool: Literal["others", "train", "users", "reference"] = "others"
    """Candidates: other users' training prefixes, all training prefixes, one per other user, or all prefixes."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """How near two vectors are."""
    backend: Literal["exact", "annoy"] = "exact"
    """Exact search, or Annoy's approximate trees."""
    trees: int = Field(default=50, ge=1, le=1000)
    """Annoy: number of trees."""
    search_k: int = Field(default=20_000, ge=1)
    """Annoy: nodes that a query inspects."""


class ModelConfig(Section):
    backbone: str = "sasrec"
    """Sequence encoder f: sasrec, gru4rec, bert4rec, an installed entry point, or your own as `path.py:Class`."""
    width: int = Field(default=64, ge=2, le=4096)
    """Size of the item embeddings and hidden states (the paper's d)."""
    layers: int = Field(default=2, ge=1, le=32)
    """Layers of the Transformer or of the GRU."""
    heads: int = Field(default=2, ge=1, le=64)
    """Attention heads (not of gru4rec); must divide the width."""
    inner: int = Field(default=256, ge=1, le=16384)
    """Width of the feed-forward layer; hidden size of gru4rec."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Dropout rate of embeddings and hidden states."""
    attention_dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Dropout rate of attention probabilities (not of gru4rec)."""
    padding: Literal["zero", "random"] = "zero"
    """Initial value of the padding row of the item embedding (released code: random). The mask hides it either way."""
    mask: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Probability that an item of a training sequence is masked (bert4rec only)."""

    @field_validator("backbone")
    @classmethod
    def _absolute(cls, name: str) -> str:
        return naming.absolute(name)


class SynthesizerConfig(Section):
    kind: Literal["gat", "gatv2", "dot", "mlp", "uniform", "softmax-cosine", "random", "top1", "frozen"] = "gat"
    """How the retrieved neighbors are weighed: `gat` is the paper's, the others are its controls."""
    weight_dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Dropout rate of the weights in training (released code only); not applied to `random` and `top1`."""
    item_kind: Literal["draw", "synthesize"] = "draw"
    """A swapped item becomes one drawn substitute (paper) or the weighted sum of all of them."""


class LossConfig(Section):
    alpha: float = Field(default=0.1, ge=0.0)
    """Weight of the inter-user contrast L_CS; 0 switches it off."""
    beta: float = Field(default=0.1, ge=0.0)
    """Weight of the intra-user contrast L_IS; 0 switches it off."""
    temperature: float = Field(default=1.0, gt=0.0)
    """InfoNCE temperature (tau)."""
    direction: Literal["symmetric", "one-way"] = "symmetric"
    """InfoNCE over all 2B - 2 other rows (released code) or over the B - 1 other samples (paper)."""
    swap: float = Field(default=0.2, ge=0.0, le=1.0)
    """Probability that an item of a view is replaced by a substitute."""


class TrainConfig(Section):
    epochs: int = Field(default=100, ge=1)
    """Epochs at most."""
    batch: int = Field(default=256, ge=2)
    """Prefixes per step."""
    mode: Literal["prefix", "sequence"] = "prefix"
    """Encode every prefix on its own (paper), or each user once, read at all positions: faster, other mathematics."""
    lr: float = Field(default=1e-3, gt=0.0)
    """Adam's learning rate."""
    weight_decay: float = Field(default=0.0, ge=0.0)
    """Adam's L2 penalty."""
    patience: int = Field(default=10, ge=1)
    """Stop after so many epochs in a row without a better validation score."""
    select: str = Field(default="mrr@10", pattern=r"^(hr|ndcg|mrr)@[1-9]\d*$")
    """Validation metric that picks the best epoch."""
    select_digits: int | None = Field(default=None, ge=1, le=15)
    """Round the score to so many digits before it is compared; none compares in full precision."""
    tie_improves: bool = False
    """Whether an equal score counts as better."""
    seed: int = Field(default=1, ge=0)
    """Seed of initial weights, batches, dropout and draws."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto` takes CUDA where there is one, else the CPU."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; none leaves torch's own choice. The same seed gives the same run for the same threads."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products in the encoder while it trains (autocast); weights, losses, evaluation and bert4rec's own pass stay float32."""


class EvaluateConfig(Section):
    ks: tuple[int, ...] = Field(default=(5, 10, 20), min_length=1)
    """Cutoffs of HR, NDCG and MRR."""
    mask_seen: bool = False
    """Whether items that the user already has are left out of the ranking."""
    ties: Literal["worst", "best"] = "worst"
    """Rank of a target whose score others share: after them (the paper's count) or before them."""


class Config(Section):
    """All settings of a run."""

    data: DataConfig = DataConfig()
    semantics: SemanticsConfig = SemanticsConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    model: ModelConfig = ModelConfig()
    synthesizer: SynthesizerConfig = SynthesizerConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @property
    def contrasts(self) -> bool:
        """Whether any contrast is on; without one every semantic stage is skipped."""
        return self.loss.alpha > 0 or self.loss.beta > 0

    def config_hash(self) -> str:
        """Hash of all that may change the result: without seed, device, threads and budget.

        Without a contrast nothing semantic has a say: every such backbone is the same.
        """
        tree = self.model_dump(mode="json")
        for path in _UNHASHED:
            section, leaf = path.split(".")
            del tree[section][leaf]
        tree["model"]["backbone"] = naming.identity_of(self.model.backbone)
        if self.model.backbone in ("sasrec", "gru4rec"):
            del tree["model"]["mask"]
        if not self.contrasts:
            for section in ("semantics", "retrieval", "synthesizer", "loss"):
                del tree[section]
            del tree["data"]["drop_titles"], tree["data"]["swap_titles"]
        if self.train.mode == "prefix":
            del tree["train"]["mode"]  # so that it is the hash of runs from before there was a choice
        if self.train.precision == "float32":
            del tree["train"]["precision"]
        return content_hash(tree)

    def differences(self, base: Config) -> dict[str, tuple[Any, Any]]:
        """`{"loss.alpha": (base's value, ours)}` for every setting in which the two differ."""
        ours, theirs = flatten(self.model_dump(mode="json")), flatten(base.model_dump(mode="json"))
        return {path: (theirs[path], value) for path, value in ours.items() if theirs[path] != value}


_UNHASHED = ("train.seed", "train.device", "train.threads", "semantics.budget")


def content_hash(value: Any, *, length: int = 16) -> str:
    """The first `length` hex digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"loss": {"alpha": 1}}` as `{"loss.alpha": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat


@cache
def leaf_paths() -> dict[str, str]:
    """Every setting's full path by its leaf name and by the path itself."""
    paths: dict[str, str] = {}
    for section, field in Config.model_fields.items():
        annotation = field.annotation
        if not (isinstance(annotation, type) and issubclass(annotation, Section)):
            raise TypeError(f"{section} is not a Section")
        for leaf in annotation.model_fields:
            paths[leaf] = paths[f"{section}.{leaf}"] = f"{section}.{leaf}"
    return paths


def preset_names() -> list[str]:
    """Names of the presets, `default` first."""
    names = [
        f.name.removesuffix(".toml") for f in resources.files("engine.presets").iterdir() if f.name.endswith(".toml")
    ]
    return sorted(names, key=lambda name: (name != "default", name))


def preset_tree(name: str) -> dict[str, Any]:
    """A preset's own settings, and those of the preset that it extends.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in preset_names():
        raise ConfigError(
            f"there is no preset {name!r}", where="--preset", hint=f"Presets: {', '.join(preset_names())}."
        )
    tree = tomllib.loads(resources.files("engine.presets").joinpath(f"{name}.toml").read_text("utf-8"))
    tree.pop("description", None)
    parent = tree.pop("extends", None)
    return merge(preset_tree(parent), tree) if parent else tree


def preset_description(name: str) -> str:
    """One line that says what a preset is for."""
    tree = tomllib.loads(resources.files("engine.presets").joinpath(f"{name}.toml").read_text("utf-8"))
    return tree["description"]


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """A new tree in which `over` wins."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def read_config_file(path: Path) -> dict[str, Any]:
    """A TOML file as a tree; leaves may stand at the top level by their own name.

    Raises:
        ConfigError: the file is missing or not TOML.
    """
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError("no such file", where=str(path), hint="Name a TOML file; examples/ has some.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"not readable as TOML: {error}", where=str(path)) from None
    return tree


def parse_assignment(text: str) -> dict[str, Any]:
    """`alpha=0.05` as `{"alpha": 0.05}`; the value is TOML where it parses as TOML, else the text itself.

    Raises:
        ConfigError: there is no `=`.
    """
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{text!r} is not KEY=VALUE", where="--set", hint="Example: --set alpha=0.05")
    try:
        value = tomllib.loads(f"value = {raw.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = None if raw.strip() in {"none", "null"} else raw.strip()
    return {key.strip(): value}


def build_config(*trees: dict[str, Any]) -> Config:
    """The config that the trees give together; a later tree wins.

    Raises:
        ConfigError: with every problem at once, each named by its path.
    """
    problems: list[str] = []
    tree: dict[str, Any] = {}
    for part in trees:
        tree = merge(tree, _nest(part, problems))
    return _validated(tree, problems)


def _validated(tree: dict[str, Any], problems: list[str]) -> Config:
    """The config of a nested tree; raises with its problems and those found before."""
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise _config_error([*problems, *(_explain(e) for e in error.errors())]) from None
    problems = [*problems, *_contradictions(config)]
    if problems:
        raise _config_error(problems)
    return config


def _config_error(problems: list[str]) -> ConfigError:
    return ConfigError(
        "\n".join(problems),
        hint="`sracl run --help` names the settings; `sracl run --presets` lists the presets.",
    )


def _nest(tree: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """Put leaves that stand alone, or by a dotted path, into their section."""
    nested: dict[str, Any] = {}
    for key, value in tree.items():
        if key in Config.model_fields and isinstance(value, dict):
            nested = merge(nested, {key: value})
        elif key in leaf_paths():
            section, leaf = leaf_paths()[key].split(".")
            nested = merge(nested, {section: {leaf: value}})
        else:
            problems.append(f"{key}: there is no such setting{_nearest(key)}")
    return nested


def _nearest(key: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key, leaf_paths(), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _explain(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{path}: there is no such setting{_nearest(str(error['loc'][-1]))}"
    return f"{path}: {error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r}"


def _contradictions(config: Config) -> list[str]:
    """What pydantic cannot see: settings that are fine alone and not together."""
    model, evaluate, train, retrieval = config.model, config.evaluate, config.train, config.retrieval
    problems: list[str] = []
    if (problem := naming.problem_of(model.backbone)) is not None:
        problems.append(f"model.backbone: {problem}")
    if model.width % model.heads:
        problems.append(f"model.heads: {model.heads} does not divide model.width = {model.width}")
    if any(k < 1 for k in evaluate.ks) or len(set(evaluate.ks)) != len(evaluate.ks):
        problems.append(f"evaluate.ks: cutoffs must be positive and different, not {list(evaluate.ks)}")
    if int(train.select.split("@")[1]) not in evaluate.ks:
        problems.append(f"train.select: {train.select} is not measured; evaluate.ks is {list(evaluate.ks)}")
    if retrieval.backend == "annoy" and retrieval.similarity == "dot":
        problems.append("retrieval.backend: annoy searches by cosine here; use exact with dot")
    if config.semantics.unit == "user" and config.semantics.vector == "text" and retrieval.pool != "users":
        problems.append("retrieval.pool: with semantics.unit = user the pool is `users`: one text per user")
    return problems


def load_config(
    *,
    preset: str | None = None,
    files: tuple[Path, ...] = (),
    assignments: tuple[str, ...] = (),
    settings: dict[str, Any] | None = None,
) -> tuple[Config, str]:
    """A config and the name of its preset: the preset, then config files, `KEY=VALUE` assignments, and settings.

    The later wins. A file may name its `preset`; the argument goes over it. `unit = user` sets pool `users` unless a
    pool is named.

    Raises:
        ConfigError: with every problem at once.
    """
    given: dict[str, Any] = {}
    problems: list[str] = []
    named = "default"
    for part in [
        *(read_config_file(path) for path in files),
        *(parse_assignment(a) for a in assignments),
        settings or {},
    ]:
        named = part.get("preset", named)
        given = merge(given, _nest({key: value for key, value in part.items() if key != "preset"}, problems))
    tree = merge(preset_tree(preset or named), given)
    if tree.get("semantics", {}).get("unit") == "user" and "pool" not in tree.get("retrieval", {}):
        tree = merge(tree, {"retrieval": {"pool": "users"}})
    return _validated(tree, problems), preset or named


def choices(path: str) -> tuple[Any, ...]:
    """The values that a setting may take, where it is a closed list; else ()."""
    section, leaf = leaf_paths()[path].split(".")
    annotation: Any = getattr(Config(), section).__class__.model_fields[leaf].annotation
    return get_args(annotation) if getattr(annotation, "__origin__", None) is Literal else ()
