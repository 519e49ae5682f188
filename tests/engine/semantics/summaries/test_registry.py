"""Names of providers: none stands for a rule and an endpoint at once."""

from __future__ import annotations

from engine.semantics.llm.endpoints import RESERVED
from engine.semantics.summaries.registry import BUILDERS


def test_no_endpoint_may_have_the_name_of_a_provider_by_rule() -> None:
    assert BUILDERS.keys() == RESERVED
