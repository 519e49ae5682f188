"""Which parts, backbones and modes of training go together: told before anything expensive is prepared."""

from __future__ import annotations

from typing import Any

from engine.config import Config
from engine.errors import ConfigError, TrainingError
from engine.extension_points import BACKBONES, SYNTHESIZERS
from engine.method_table import PARTS, name_of
from engine.methods.base import Part, PartSettings
from engine.models.backbone import Backbone
from engine.registry import attribute_of

UNKNOWN = "it does not say that several processes can share a batch (docs/extending.md)"


def part_class(given: Any) -> type[Part]:
    """The class of a part that is given by name or as that class."""
    name = name_of(given)
    return attribute_of(PARTS[name].code) if name in PARTS else given


def settings_of(given: Any, config: Config) -> PartSettings | None:
    """The checked section `parts.<name>`; none for a part of ours that has its settings elsewhere."""
    name = name_of(given)
    if name in PARTS:
        return getattr(config.parts, name, None)
    return part_class(given).settings.model_validate(config.parts.given(name))


def check_combination(config: Config) -> None:
    """Refuse a backbone, mode or part that another one rules out.

    Raises:
        ConfigError: a part cannot be trained with this backbone, mode or settings, or either cannot be imported.
        TrainingError: the backbone cannot be trained in this mode.
    """
    name, sequence = config.model.backbone, config.train.mode == "sequence"
    backbone: type[Backbone] = BACKBONES.load(name)
    if sequence and not backbone.causal:
        raise TrainingError(
            f"backbone {name} is read at a sequence's last item only",
            where="train.mode",
            hint="Use train.mode = prefix with it.",
        )
    for given in config.definition.all_parts:
        if config.weight(given) == 0:
            continue
        kind = part_class(given)
        _check_read_parts(kind.name, config)
        if kind.every and not backbone.causal:
            raise ConfigError(
                f"part {kind.name} reads states at every item, which backbone {name} does not give",
                where="model.backbone",
            )
        if sequence and kind.sequence_mode:
            raise ConfigError(
                f"part {kind.name}: {kind.sequence_mode}", where="train.mode", hint="Use train.mode = prefix."
            )
        if problem := kind.problem_with(backbone, settings_of(given, config)):
            raise ConfigError(f"part {kind.name}: backbone {name} {problem}", where=f"parts.{kind.name}")
    if config.train.processes > 1:
        _check_processes(config, backbone)


def _check_processes(config: Config, backbone: type[Backbone]) -> None:
    """Refuse what several processes cannot train, or what does not say that they can.

    Raises:
        ConfigError: with the first reason.
    """
    train, kind = config.train, config.synthesizer.kind
    problem = ""
    if train.sparse_adam:
        problem = "train.sparse_adam updates the rows that one process has touched"
    elif train.batch < train.processes:
        problem = f"a batch of {train.batch} prefixes cannot be shared by {train.processes} processes"
    elif reason := _unsharded(backbone, ours=config.model.backbone in BACKBONES.ours):
        problem = f"backbone {config.model.backbone}: {reason}"
    elif config.contrasts and (reason := _unsharded(SYNTHESIZERS.load(kind), ours=kind in SYNTHESIZERS.ours)):
        problem = f"synthesizer {kind}: {reason}"
    for given in config.definition.all_parts:
        part = part_class(given)
        said = part.sharded if part.name in PARTS else vars(part).get("sharded", "")
        if config.weight(given) != 0 and said not in ("rows", "batch"):
            problem = problem or f"part {part.name}: {UNKNOWN}"
    if problem:
        raise ConfigError(problem, where="train.processes", hint="Use train.processes = 1 with it.")


def _unsharded(kind: Any, *, ours: bool) -> str:
    return kind.unsharded if ours else vars(kind).get("unsharded", UNKNOWN)


def _check_read_parts(part: str, config: Config) -> None:
    """Refuse a setting by which a part reads what another one sets that the method does not have.

    Raises:
        ConfigError: the other part is not in the method; with a weight of 0 it may be.
    """
    info = PARTS.get(part)
    if info is None or info.reads_where is None:
        return
    setting, value = info.reads_where
    names = [name_of(other) for other in config.definition.all_parts]
    if missing := [other for other in config.read_by(part) if other not in names]:
        raise ConfigError(
            f"part {part}: {setting} = {value} reads the views of part {missing[0]}, which the method does not have",
            where=f"parts.{part}.{setting}",
            hint=f"Add {missing[0]} to method.parts; with parts.{missing[0]}.weight = 0 it has no loss of its own.",
        )
