"""Finds a backbone by name: one of ours, an entry point, or `path.py:Class`."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from typing import Any

from torch import nn

from engine import backbone_names
from engine.config import ModelConfig
from engine.errors import ConfigError
from engine.models.backbone import Backbone


def build_backbone(config: ModelConfig, *, items: int, max_length: int) -> Backbone:
    """The backbone that the config names, freshly initialized from torch's global generator.

    Raises:
        ConfigError: it cannot be imported, is no `Backbone`, or cannot be built.
    """
    kind = backbone_class(config.backbone)
    if backbone_names.split_file(config.backbone) is None:
        return kind(config, items=items, max_length=max_length)
    try:
        made = kind(config, items=items, max_length=max_length)
    except Exception as error:
        raise _refused(config.backbone, f"cannot be built: {type(error).__name__}: {error}") from error
    table = getattr(made, "item_embedding", None)
    if not isinstance(table, nn.Embedding) or table.weight.shape != (items + 1, config.width):
        raise _refused(config.backbone, f"its item_embedding is not an nn.Embedding({items} + 1, {config.width})")
    return made


def backbone_class(name: str) -> type[Backbone]:
    """The class of a name; `(config, *, items, max_length)` builds it.

    Raises:
        ConfigError: it cannot be imported, or is no `Backbone`.
    """
    if name in backbone_names.OURS:
        from engine.models.bert4rec import BERT4Rec
        from engine.models.gru4rec import GRU4Rec
        from engine.models.sasrec import SASRec

        return {"sasrec": SASRec, "gru4rec": GRU4Rec, "bert4rec": BERT4Rec}[name]
    try:
        found = _imported(name)
    except Exception as error:  # a user's file may raise anything
        raise _refused(name, f"cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Backbone)):
        raise _refused(name, "is no subclass of engine.models.backbone.Backbone")
    return found


def _imported(name: str) -> Any:
    parts = backbone_names.split_file(name)
    if parts is None:
        point = backbone_names.entry_point(name)
        if point is None:
            raise LookupError(backbone_names.problem_of(name))
        return point.load()
    path, attribute = parts
    module = "sracl_backbone_" + hashlib.sha256(str(path).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise ImportError(str(path))
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded
    spec.loader.exec_module(loaded)
    return getattr(loaded, attribute)


def _refused(name: str, problem: str) -> ConfigError:
    hint = "examples/own_backbone.py is one that works."
    return ConfigError(f"{name} {problem}", where="model.backbone", hint=hint)
