"""What a run builds from its settings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.config_files import load_config
from engine.errors import ConfigError
from sracl_tui.runs.stages import factories
from store.home import Home


def needs(*assignments: str) -> Any:
    config, _ = load_config(assignments=assignments)
    return SimpleNamespace(config=config)


def test_the_encoder_has_the_pooling_of_the_settings(tmp_path) -> None:
    home = Home(tmp_path)
    names = [factories.encoder(needs("encoder=some/model", *more), home, []).name for more in ((), ("pooling=pooler",))]
    assert names == ["some/model", "some/model+pooler"]


def test_a_pooling_without_effect_is_found_before_anything_is_prepared(tmp_path) -> None:
    with pytest.raises(ConfigError, match="would do nothing"):
        factories.check_encoder(needs("pooling=cls"), Home(tmp_path))
    factories.check_encoder(needs("encoder=some/model", "pooling=cls"), Home(tmp_path))
