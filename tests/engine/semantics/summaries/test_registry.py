"""Names of providers: none stands for a rule and an endpoint at once."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.semantics.llm.endpoints import find_endpoint, read_endpoints
from tests.support.installed import install

RULE = """
from engine.semantics.summaries.provider import RuleProvider

class Short(RuleProvider):
    def texts(self, kind, owner_ids):
        return [kind] * len(owner_ids)
"""


def test_no_endpoint_may_have_the_name_of_a_provider_by_rule(tmp_path, monkeypatch) -> None:
    install(tmp_path / "site", monkeypatch, module="sracl_short", code=RULE, points={"sracl.providers:short": "Short"})
    names = ("offline", "titles", "short")
    tables = [f'[{name}]\nbase_url = "http://127.0.0.1"\n' for name in (*names, "fine")]
    (tmp_path / "providers.toml").write_text("".join(tables))
    with pytest.raises(ConfigError) as caught:
        read_endpoints(tmp_path)
    assert caught.value.message.splitlines() == [f"{name}: this name is reserved" for name in names]
    with pytest.raises(ConfigError, match="there is no provider 'none'") as caught:
        find_endpoint("none", None)
    assert str(caught.value.hint).startswith("Without a network: offline, titles, short. Endpoints: deepseek,")
