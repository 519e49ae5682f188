"""Builds the backbone that a config names, and checks one that is not ours."""

from __future__ import annotations

from torch import nn

from engine.config import ModelConfig
from engine.extension_points import BACKBONES
from engine.models.backbone import Backbone
from engine.registry import split_file


def build_backbone(config: ModelConfig, *, items: int, max_length: int) -> Backbone:
    """The backbone that the config names, freshly initialized from torch's global generator.

    Raises:
        ConfigError: it cannot be imported, is no `Backbone`, or cannot be built.
    """
    made: Backbone = BACKBONES.build(config.backbone, config, items=items, max_length=max_length)
    if split_file(config.backbone) is None:
        return made
    if type(made).input_vectors is not Backbone.input_vectors and type(made).table is not Backbone.table:
        return made
    table = getattr(made, "item_embedding", None)
    if not isinstance(table, nn.Embedding) or table.weight.shape != (items + 1, config.width):
        raise BACKBONES.refused(
            config.backbone, f"its item_embedding is not an nn.Embedding({items} + 1, {config.width})"
        )
    return made
