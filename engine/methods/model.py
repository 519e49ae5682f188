"""The trained model: the backbone and the parts of its method.

Legend: B anchors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from engine.config import Config, flatten
from engine.data.batching.windows import Runs, Windows
from engine.data.dataset import Dataset
from engine.errors import ConfigError
from engine.method_table import METHODS, PARTS, Method, Needs, Stage, Step, name_of
from engine.methods.base import Anchors, Context, Encode, Part, PartSettings, View
from engine.methods.combination import check_combination, part_class, settings_of
from engine.methods.encoding import encode_views
from engine.methods.semantics import Semantics
from engine.models.backbone import weight_of
from engine.models.registry import build_backbone
from engine.processes import ALONE, Processes


@dataclass(frozen=True)
class Losses:
    """The loss of one update and its terms, as scalars on the device."""

    total: Tensor
    """The sum of the terms, each times the weight of its part."""
    terms: Mapping[str, Tensor]
    """By name of the metric (`loss_rec`); 0 for a part that is switched off. Of several processes each has its share."""
    by_all: tuple[str, ...] = ()
    """Names of the terms of which several processes all compute the same."""

    def over(self, before: Losses) -> Losses:
        """These, with the terms of an update before that this one did not compute."""
        return replace(self, terms={**before.terms, **self.terms})


WHOLE = Step()
"""The update of a method that makes one of each batch."""


class Model(nn.Module):
    """All trained parameters; recommending needs those of `backbone` alone."""

    def __init__(self, config: Config, *, dataset: Dataset, windows: Windows, semantics: Semantics | None) -> None:
        """Built from torch's global generator: the backbone first, then the parts that are on, in order.

        Args:
            windows: by which prefixes are encoded in training.
            semantics: what `config.needs` names, on the device of the windows.

        Raises:
            ValueError: the method needs semantics and there are none.
            ConfigError: the backbone or a part cannot be built, or a part cannot be trained with this backbone or mode.
            TrainingError: the backbone cannot be trained in this mode.
        """
        super().__init__()
        check_combination(config)
        self.config, self.semantics = config, semantics
        self.definition: Method = config.definition
        if config.needs and semantics is None:
            raise ValueError(f"the method or its backbone needs {config.needs}, but there are no semantics")
        self.backbone = build_backbone(config.model, items=len(dataset.items), max_length=config.data.max_length)
        embedding = getattr(self.backbone, "item_embedding", None)
        self.sparse_rows: tuple[nn.Parameter, ...] = ()
        """Tables of which an update touches few rows: the item embeddings, with `train.sparse_adam`."""
        if config.train.sparse_adam and embedding is not None:
            embedding.sparse = True
            self.sparse_rows = (embedding.weight,)
        given = semantics is not None and Needs.ITEM_VECTORS in self.backbone.needs
        self.backbone.before_training(dataset, semantics.item_vectors if semantics is not None and given else None)
        context = Context(config, dataset, windows, self.backbone, semantics)
        self.parts = nn.ModuleDict()
        self._weights: dict[str, float] = {}
        self._active: dict[str, Part] = {}
        self._asked: dict[str, frozenset[str]] = {}  # by part, what it shares with others
        self.absent: dict[str, str] = {}
        """What the data set has not, by the name of the part that is switched off for it."""
        for given in self.definition.all_parts:
            if (weight := config.weight(given)) == 0:
                continue
            if reason := part_class(given).absent(config, dataset):
                self.absent[name_of(given)] = reason
            else:
                name, before = name_of(given), len(context.asked)
                self._weights[name] = weight
                self.parts[name] = self._active[name] = _built(given, config, context)
                self._asked[name] = frozenset(context.asked[before:])
        for name, shared in context.shared.items():
            if isinstance(shared, nn.Module):
                self.add_module(name, shared)
        self._shared = context.shared

    def terms(self, stage: Stage | None = None) -> tuple[str, ...]:
        """Names of the losses as metrics: those of all parts of a stage, or of the main training, also of parts that are off."""
        return tuple(term_of(part) for part in self._parts_of(stage))

    def metrics(self, stage: Stage | None = None) -> dict[str, float]:
        """What the parts have measured in an epoch, by name.

        Raises:
            ConfigError: a name is taken, by a loss or by another part.
        """
        found: dict[str, float] = {}
        taken = {"loss", *self.terms(stage)}
        for part in self.active(stage):
            for name, value in part.metrics().items():
                if name in taken:
                    raise self._refused(part, f"it measures {name!r}, a name that is taken: choose another")
                taken.add(name)
                found[name] = float(value)
        return found

    def scales(self, term: str) -> dict[str, Any]:
        """Settings by path that keep a loss small, with their values; none for a part that names none, and for the total."""
        flat = flatten(self.config.model_dump())
        parts = [part for part in self._active.values() if term_of(part.name) == term]
        for part in parts:
            if isinstance(part.config, PartSettings):  # defaults of a part that is not ours do not stand in the tree
                flat |= flatten(part.config.model_dump(), f"parts.{part.name}.")
        return {path: flat[path] for part in parts for path in part.scales if path in flat}

    def items_without_vector(self) -> str:
        """Where the backbone itself reads vectors of items, how many have none, in a sentence; empty where all have one."""
        if self.semantics is None or not self.backbone.needs:
            return ""
        vectors = self.semantics.item_vectors[1:]
        if (missing := int((~vectors.any(1)).sum())) == 0:
            return ""
        return (
            f"backbone {self.config.model.backbone} reads zeros for {missing:,} of {len(vectors):,} items, which have no text vector: "
            "they have no text, or no training interaction"
        )

    @property
    def stages(self) -> tuple[tuple[Stage, int], ...]:
        """The trainings before the main one that have a part to train, with their epochs."""
        return tuple((stage, epochs) for stage, epochs in self.config.stages if self.active(stage))

    def shared(self, name: str) -> Any:
        """What parts share under a name; none where no part has made it."""
        return self._shared.get(name)

    def active(self, stage: Stage | None = None, step: Step | None = None) -> list[Part]:
        """The parts that are on and count in an update of a stage, or of the main training; in all updates where none is given."""
        named = {name_of(part) for part in self._parts_of(stage)}
        if step is not None and step.parts is not None:
            named &= set(step.parts)
        return [part for name, part in self._active.items() if name in named]

    def _parts_of(self, stage: Stage | None) -> tuple[Any, ...]:
        return self.definition.parts if stage is None else stage.parts

    def losses(
        self,
        anchor_ids: Tensor,
        windows: Windows,
        *,
        stage: Stage | None = None,
        step: Step = Step(),
        notes: dict[str, Any] | None = None,
        processes: Processes = ALONE,
    ) -> Losses:
        """The loss of a batch of training anchors (B,) and its terms.

        Args:
            notes: what parts have kept in the updates by this batch before; views that they find there are not drawn anew.
            processes: they have the same batch, and each computes its share of the losses: their sums are those of the batch.
        """
        device = weight_of(self.backbone).device
        group_ids = windows.group_ids(anchor_ids)
        batch = Anchors(
            ids=anchor_ids,
            targets=windows.targets[anchor_ids].to(device),
            windows=windows,
            group_ids=None if group_ids is None else group_ids.to(device),
            step=step,
            notes={} if notes is None else notes,
        )
        parts = self.active(stage, step)
        asked = [self._checked_views(part, part.views(batch)) for part in parts]
        views = [view for own in asked for view in own]
        by_rows = [part.sharded == "rows" for part, own in zip(parts, asked, strict=True) for _ in own]
        with processes.own_random():
            options = {"grad": step.updates != "own", "bfloat16": self.config.train.precision == "bfloat16"}
            hidden = iter(encode_views(self.backbone, views, windows, processes=processes, by_rows=by_rows, **options))
        found = {
            part.name: self._share_of(part, batch, own, [next(hidden) for _ in own], processes)
            for part, own in zip(parts, asked, strict=True)
        }
        total: Tensor | None = None
        for name, value in found.items():
            weighted = value if self._weights[name] == 1.0 else self._weights[name] * value
            total = weighted if total is None else total + weighted
        assert total is not None, f"no part counts in {step}"
        if torch.is_grad_enabled() and not total.requires_grad:
            raise self._refused(
                parts[-1], f"the loss of {', '.join(found)} depends on no parameter that {step.updates} trains"
            )
        terms = {term_of(name): value for name, value in found.items()}
        zero = torch.zeros((), device=device, dtype=total.dtype)
        off = [part for part in self._parts_of(stage) if name_of(part) not in self._active]
        terms |= {term_of(part): zero for part in off}
        by_all = tuple(term_of(part) for part in parts if part.sharded != "rows")
        return Losses(total, {name: terms[name] for name in self.terms(stage) if name in terms}, by_all)

    def _share_of(
        self, part: Part, batch: Anchors, views: Sequence[View], hidden: Sequence[Any], processes: Processes
    ) -> Tensor:
        """This process's share of the loss of a part, which is all of it where it trains alone.

        Raises:
            ConfigError: a part whose loss is a mean over rows asks for another number of sequences.
        """
        if processes.count == 1:
            return self._checked_loss(part, part.loss(batch, hidden))
        if part.sharded != "rows":
            return self._checked_loss(part, part.loss(batch, hidden)) / processes.count
        if other := next((len(view) for view in views if len(view) != len(batch)), None):
            raise self._refused(part, f"sharded = 'rows', but a view has {other} sequences for {len(batch)} prefixes")
        own = batch.at(processes.span(len(batch)))
        if len(own) == 0:
            return weight_of(self.backbone).sum() * 0.0
        with processes.own_random():
            return self._checked_loss(part, part.loss(own, hidden)) * (len(own) / len(batch))

    def _checked_views(self, part: Part, views: Sequence[View]) -> Sequence[View]:
        """What a part asks for.

        Raises:
            ConfigError: it is no sequence of views.
        """
        if not isinstance(views, tuple | list) or not all(isinstance(view, View) for view in views):
            raise self._refused(part, f"views gives {_shown(views)}: it gives a list or tuple of View")
        for view in views:
            if not isinstance(view.sequences, Tensor | Runs) or (
                isinstance(view.sequences, Tensor) and (view.sequences.ndim != 1 or view.sequences.is_floating_point())
            ):
                raise self._refused(
                    part, f"a view has the sequences {_shown(view.sequences)}: they are Runs, or anchor ids (C,)"
                )
        return views

    def _checked_loss(self, part: Part, loss: Tensor) -> Tensor:
        """A part's loss.

        Raises:
            ConfigError: it is no scalar.
        """
        if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
            raise self._refused(part, f"its loss is {_shown(loss)}: it is one number, a tensor without dimensions")
        return loss

    def _refused(self, part: Part, problem: str) -> ConfigError:
        return METHODS.refused(self.config.method.name, f"part {part.name}: {problem}")

    def start(self) -> None:
        """Let the parts change the initial weights of the backbone."""
        for part in self._active.values():
            part.start(self.backbone)

    def before_epoch(self, epoch: int, encode: Encode, stage: Stage | None) -> None:
        """Let the parts compute what they need once for an epoch."""
        for part in self.active(stage):
            part.before_epoch(epoch, encode)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Trained parameters by who updates them: all of them together, or those of the encoder and the parts' own apart.

        A part of the main training that counts in no update of the parts' own parameters has its own updated with the encoder.

        Raises:
            ConfigError: no update would reach some of them.
        """
        trained = {name: value for name, value in self.named_parameters() if value.requires_grad}
        steps = [step for step in self.definition.steps if self.active(step=step)]
        if all(step.updates == "all" for step in steps):
            return {"all": list(trained.values())}
        counted = {
            kind: {part.name for step in steps if step.updates in ("all", kind) for part in self.active(step=step)}
            for kind in ("encoder", "own")
        }
        main = {part.name for part in self.active()}
        groups: dict[str, list[nn.Parameter]] = {"encoder": [], "own": []}
        for name, value in trained.items():
            users, is_input = self._users_of(name)
            alone = users & main and not users & counted["own"]
            kind = "encoder" if is_input or alone else "own"
            if users & main and not users & counted[kind]:
                parts = ", ".join(sorted(users & main))
                problem = f"no update by a batch trains {name}: let {parts} count in a step that updates the encoder"
                raise METHODS.refused(self.config.method.name, problem)
            groups[kind].append(value)
        return {kind: values for kind, values in groups.items() if values}

    def _users_of(self, parameter: str) -> tuple[set[str], bool]:
        """Names of the parts that a parameter is trained by, and whether it is one of the encoder or its input."""
        first, _, rest = parameter.partition(".")
        if first == "backbone":
            return set(self._active), True
        if first == "parts":
            return {rest.partition(".")[0]}, False
        users = {name for name, asked in self._asked.items() if first in asked}
        return users, getattr(self._shared[first], "updated_with_encoder", False)


def term_of(part: Any) -> str:
    """Name of a part's loss among the metrics of an epoch."""
    name = name_of(part)
    return (PARTS[name].term if name in PARTS else "") or f"loss_{name}"


def _built(given: Any, config: Config, context: Context) -> Part:
    name = name_of(given)
    ours = name in PARTS
    try:
        part = part_class(given)(settings_of(given, config), context=context)
    except ConfigError:
        raise
    except Exception as error:
        if ours:
            raise
        raise METHODS.refused(
            config.method.name, f"part {name} cannot be built: {type(error).__name__}: {error}"
        ) from error
    if any(module is context.backbone for module in part.modules()):  # its weights would be saved twice
        raise METHODS.refused(
            config.method.name, f"part {name} holds the backbone as a module of its own: keep it in a tuple"
        )
    return part


def _shown(value: Any) -> str:
    """A value of the wrong type, for an error."""
    shape = f" of shape {tuple(value.shape)} and type {value.dtype}" if isinstance(value, Tensor) else ""
    return f"{type(value).__name__}{shape}" if shape or value is not None else "None"
