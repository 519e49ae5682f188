"""A kind of run and its job."""

from __future__ import annotations

import ast
import inspect

import pytest

from engine.errors import ConfigError
from sracl_tui.runs import execute
from sracl_tui.runs.jobs.registry import JOBS, find_job


@pytest.mark.parametrize("kind", JOBS)
def test_every_kind_has_a_job_that_takes_the_context_alone(kind):
    assert list(inspect.signature(find_job(kind)).parameters) == ["context"]


def test_another_kind_is_refused_with_the_kinds_there_are():
    with pytest.raises(ConfigError, match="no kind of run 'bake'") as caught:
        find_job("bake")
    assert all(kind in str(caught.value.hint) for kind in JOBS)


def test_execute_knows_no_job_and_no_stage():
    tree = ast.parse(inspect.getsource(execute))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in modules if name.startswith("sracl_tui.runs.stages")]
    jobs = {name.removeprefix("sracl_tui.runs.jobs.") for name in modules if name.startswith("sracl_tui.runs.jobs")}
    assert jobs == {"base", "registry"}
