"""`--shards N`: jobs of the queue that share the prompts of a summary set, or the queries of neighbor lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.runs.request import RunRequest, new_run_id

if TYPE_CHECKING:
    from engine.config import Config
    from store.home import Home


def share(home: Home, config: Config, kinds: Sequence[str], count: int, *, batch: bool, json_: bool) -> None:
    """Put `count` jobs into the queue that ask a part of the prompts each.

    Raises:
        ConfigError: the provider asks no model, or batches are wanted.
    """
    from engine.extension_points import PROVIDERS

    if batch:
        raise ConfigError("a batch is one job", where="--shards", hint="Leave --batch or --shards out.")
    if PROVIDERS.has(config.semantics.provider):
        raise ConfigError(f"{config.semantics.provider} asks no model", where="--shards", hint="Leave --shards out.")
    first = new_run_id()
    requests = [
        RunRequest(
            run_id=new_run_id(), config=config, kind="summarize", name=f"summaries-{number}-of-{count}", group=f"summaries-{first}",
            job={"kinds": list(kinds), "shard": [number, count], "cap": first},
        )
        for number in range(1, count + 1)
    ]  # fmt: skip
    _enqueue(home, requests, "Their calls are in `sracl costs`.", json_=json_)


def share_neighbors(home: Home, config: Config, preset: str, count: int, *, json_: bool) -> None:
    """Put `count` jobs into the queue that search neighbors of a part of the prefixes and items each.

    Raises:
        ConfigError: the search is not exact, or nothing is searched.
    """
    from sracl_tui.runs.stages.needs import check_retrieval

    check_retrieval(config, exact="--shards")
    group = f"neighbors-{new_run_id()}"
    requests = [
        RunRequest(
            run_id=new_run_id(), config=config, kind="neighbors", preset=preset, name=f"neighbors-{number}-of-{count}",
            group=group, job={"shard": [number, count]},
        )
        for number in range(1, count + 1)
    ]  # fmt: skip
    _enqueue(home, requests, "The last of them stores the lists.", json_=json_)


def _enqueue(home: Home, requests: Sequence[RunRequest], after: str, *, json_: bool) -> None:
    from sracl_tui.runs.execution import queue

    added, _ = queue.enqueue(home, requests, force=True)
    ids = [request.run_id for request in added]
    if json_:
        options_and_output.print_json({"added": ids, "group": requests[0].group})
        return
    for run_id in ids:
        options_and_output.out().print(run_id, markup=False, highlight=False)
    count = len(ids)
    text = f"{count} jobs wait in the queue: `sracl queue start --workers {count}` starts them. {after}"
    options_and_output.talk().print(text, markup=False, highlight=False)
