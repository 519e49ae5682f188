"""Runs: lists of them, one by id or name, its state at this moment, its metrics; and edits of tags, notes and names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from store.database.database import Store
from store.errors import LookupFailed
from store.publishing.edits import record_edit
from store.publishing.liveness import dead_state
from store.queries.metric_columns import beyond, metric_columns
from store.queries.removed import missing
from store.queue import Queue
from store.run_row import HEADLINE_METRICS, ListedRun, MetricName, RunProcess, StoredRun, decode_json
from store.run_states import OPEN, STATES
from store.untrusted_text import check_name

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_LIST = f"""
SELECT
    r.run_id, r.kind, r.name, r.state, r.reason, r.preset, r.group_name, r.tags, r.note, r.dataset_name, r.seed,
    r.config_hash, r.config, r.epoch, r.best_epoch, r.created_at, r.started_at, r.heartbeat_at, r.ended_at, r.pid, r.host,
    r.boot_id, r.process_started, r.exit_code, r.signal, r.timings, c.usd,
    coalesce(k.usd, 0) AS usd_known, coalesce(w.warnings, 0) AS warnings,
    {", ".join(f"v.{column}" for column in HEADLINE_METRICS)}{{metrics}}
FROM runs r LEFT JOIN run_results v USING (run_id) LEFT JOIN run_costs c USING (run_id)
LEFT JOIN (SELECT run_id, sum(usd) AS usd FROM api_calls GROUP BY run_id) k USING (run_id)
LEFT JOIN (SELECT run_id, count(*) AS warnings FROM run_warnings GROUP BY run_id) w USING (run_id)
{{joined}}
"""


WHOLE_ROW = (
    "SELECT r.*, (SELECT string_agg(DISTINCT s.prompt_version, ', ' ORDER BY s.prompt_version) FROM summary_sets s "
    "WHERE s.set_id IN (r.user_set_id, r.item_set_id)) AS prompts FROM runs r"
)
"""Rows of `runs`, and the versions of the prompts or rules that wrote their texts."""


def list_runs(
    store: Store,
    *,
    group: str | None = None,
    tag: str | None = None,
    limit: int | None = None,
    metrics: Sequence[MetricName] = (),
) -> list[ListedRun]:
    """Runs, newest first, each with its state of this moment. Rows with equal settings share one `config` object.

    Args:
        metrics: those that get a column besides HEADLINE_METRICS, named by `metric_column`.
    """
    return cast(list[ListedRun], with_present_states(store, store.rows(_listed(limit, metrics), [group, tag])))


def list_table(store: Store, *, group: str | None = None, tag: str | None = None, limit: int | None = None) -> pa.Table:
    """The rows of `list_runs` as an Arrow table; `config` and `timings` are JSON text. It has its columns without any row, too."""
    import pyarrow as pa

    schema = store.table(_listed(0), [None, None]).schema
    rows = [
        {**row, "config": json.dumps(row["config"]), "timings": json.dumps(row["timings"])}
        for row in list_runs(store, group=group, tag=tag, limit=limit)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


_LOOKED_AT = f"""(
    state NOT IN {(*sorted(STATES - OPEN),)!r}
    OR NOT regexp_matches(config::VARCHAR, '^{{"data": ?{{') OR NOT regexp_full_match(timings::VARCHAR, $timings)
    OR least(created_at, started_at, heartbeat_at, ended_at) < '0002-01-01'
    OR greatest(created_at, started_at, heartbeat_at, ended_at) >= '9999-01-01'
    OR least(epoch, best_epoch, seed) < 0 OR len(list_filter(tags, lambda tag: tag IS NULL)) > 0
)""".replace("$timings", r"""'null|\{(?:"\w+": ?\d{1,9}(?:\.\d+)?(?:e-\d+)?(?:, ?|\}$))*'""")
"""Listed rows that have not ended, or may be damaged: all others are given as they are."""


def list_runs_json(
    store: Store, *, group: str | None = None, tag: str | None = None, limit: int | None = None
) -> list[str]:
    """The rows of `list_runs` as JSON documents that the database writes, five times as fast as Python does.

    The settings, which are most of a document, are JSON already and are put in as they stand.
    """
    listed = _listed(limit)
    query = (
        f"SELECT run_id, {_LOOKED_AT} AS looked_at, to_json(struct_update(listed, config := '@'))::VARCHAR AS document, "
        f"coalesce(config::VARCHAR, 'null') FROM ({listed}) listed"
    )
    found = store.tuples(query, [group, tag])
    documents = [document.replace('"config":"@"', f'"config":{config}', 1) for _, _, document, config in found]
    places = {run_id: place for place, (run_id, looked_at, *_) in enumerate(found) if looked_at}
    if places:
        query = f"SELECT * FROM ({listed}) listed WHERE list_contains($3, run_id)"
        for row in with_present_states(store, store.rows(query, [group, tag, list(places)])):
            documents[places[row["run_id"]]] = json.dumps(row, ensure_ascii=False, default=str)
    return documents


def _listed(limit: int | None, metrics: Sequence[MetricName] = ()) -> str:
    """The query of the list; its parameters are group and tag, each None for all."""
    columns = metric_columns(beyond(metrics, HEADLINE_METRICS))
    return _LIST.format(metrics=columns.selected, joined=columns.joined) + (
        "WHERE ($1 IS NULL OR r.group_name = $1) AND ($2 IS NULL OR list_contains(r.tags, $2)) "
        f"ORDER BY r.created_at DESC, r.run_id DESC{'' if limit is None else f' LIMIT {int(limit)}'}"
    )


def list_changed(
    store: Store,
    prints: Mapping[str, int],
    rows: Mapping[str, ListedRun],
    *,
    metrics: Sequence[MetricName] = (),
) -> tuple[dict[str, int], dict[str, ListedRun]]:
    """All runs, newest first, where an older state is known: only the rows that changed are read and decoded.

    Args:
        prints: fingerprint of each known row by run id; none where the rows have columns of other metrics.
        rows: known rows by run id; those that have not changed are returned as the same objects.
        metrics: as in `list_runs`.

    Returns:
        Fingerprints and rows by run id.
    """
    listed = _listed(None, metrics)
    table = store.table(f"SELECT run_id, hash(listed) AS print FROM ({listed}) listed", [None, None])
    fresh = dict(zip(table["run_id"].to_pylist(), table["print"].to_pylist(), strict=True))
    changed = [run_id for run_id, print_ in fresh.items() if run_id not in rows or prints.get(run_id) != print_]
    query = f"SELECT * FROM ({listed}) listed" + (
        " WHERE list_contains($3, run_id)" if 2 * len(changed) < len(fresh) else ""
    )
    found: dict[str, ListedRun] = {}
    if changed:
        parameters = [None, None, changed] if "$3" in query else [None, None]
        read = cast(list[ListedRun], with_present_states(store, store.rows(query, parameters)))
        found = {row["run_id"]: row for row in read}
    known = {run_id: found.get(run_id) or rows.get(run_id) for run_id in fresh}
    return fresh, {run_id: row for run_id, row in known.items() if row is not None}


def names(store: Store, beginning: str, *, limit: int) -> list[dict[str, Any]]:
    """run_id, name, group_name, state, preset, kind, dataset_name of runs any of whose names begins so, newest first; states as published."""
    return store.rows(
        "SELECT run_id, name, group_name, state, preset, kind, dataset_name FROM runs WHERE starts_with(name, $1) "
        "OR starts_with(run_id, $1) OR starts_with(group_name, $1) ORDER BY created_at DESC, run_id DESC LIMIT $2",
        [beginning, limit],
    )


def find_run(store: Store, text: str) -> StoredRun:
    """A run by id, by the beginning of one, by name, or `last`, with every column of `runs`.

    `last` is the newest run, apart from those in which a semantic search encoded texts.

    Raises:
        LookupFailed: no run or several runs fit.
    """
    if text == "last":
        rows = store.rows(
            "SELECT run_id FROM runs WHERE kind <> 'search' ORDER BY created_at DESC, run_id DESC LIMIT 1"
        )
    else:
        rows = store.rows("SELECT run_id FROM runs WHERE run_id = $1 OR name = $1 ORDER BY run_id", [text])
        if not rows:
            rows = store.rows("SELECT run_id FROM runs WHERE starts_with(run_id, $1) ORDER BY run_id", [text])
    if not rows and text != "last" and (gone := missing(store, text)) is not None:
        raise gone
    if len(rows) != 1:
        ids = ", ".join(row["run_id"] for row in rows[:5])
        raise LookupFailed(
            f"{len(rows)} runs fit {text!r}: {ids}" if rows else f"there is no run {text!r}",
            hint="`sracl runs` lists them; `last` is the newest.",
        )
    row = store.rows(f"{WHOLE_ROW} WHERE run_id = ?", [rows[0]["run_id"]])[0]
    return cast(StoredRun, _now(store, row, _queued(store, [row])))


def _queued(store: Store, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Ids of the runs in the queue; empty, without looking, where no row is queued."""
    return Queue(store.home).active() if any(row["state"] == "queued" for row in rows) else set()


def with_present_states(store: Store, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of runs with their JSON columns decoded, equal settings only once, and each with its state of this moment."""
    decoded: dict[str, tuple[Any, list[str]]] = {}
    for row in rows:
        text = row["config"]
        if text not in decoded:
            alone = {"config": text}
            damaged = decode_json(alone)
            decoded[text] = alone["config"], damaged
        row["config"], damaged = decoded[text]
        if damaged:
            row["reason"] = "; ".join(filter(None, ["damaged: config", row["reason"]]))
    queued = _queued(store, rows)
    return [_now(store, row, queued) for row in rows]


def _now(store: Store, row: dict[str, Any], queued: set[str]) -> dict[str, Any]:
    """Decode the JSON columns, and correct the state of a run whose process is dead."""
    decode_json(row)
    waits = row["state"] == "queued" and row["run_id"] in queued
    if row["state"] in OPEN and not waits and (dead := dead_state(store.home, cast(RunProcess, row))) is not None:
        row["state"], row["reason"] = dead
    return row


def final_metrics(store: Store, run_id: str) -> list[dict[str, Any]]:
    """Metrics of the best epoch's weights: split, subgroup, name, value."""
    return store.rows(
        "SELECT m.split, m.subgroup, m.name, m.value FROM metrics m JOIN runs r USING (run_id) WHERE m.run_id = ? AND "
        "(m.split = 'test' OR (m.split = 'valid' AND m.epoch = r.best_epoch AND m.name <> 'seconds')) ORDER BY ALL",
        [run_id],
    )


def warnings_of(store: Store, run_ids: Sequence[str]) -> dict[str, list[str]]:
    """Warnings by run id, oldest first; empty lists for runs without any."""
    rows = store.rows(
        "SELECT run_id, message FROM run_warnings WHERE list_contains($1, run_id) ORDER BY warned_at, message",
        [list(run_ids)],
    )
    found: dict[str, list[str]] = {run_id: [] for run_id in run_ids}
    for row in rows:
        found[row["run_id"]].append(row["message"])
    return found


def analysis_metrics(store: Store, run_id: str) -> dict[str, dict[str, float]]:
    """Geometry of the users' vectors (`h`, `h_plus`) and of the synthesizer (`weights`): value by name, by subgroup."""
    rows = store.rows(
        "SELECT subgroup, name, value FROM metrics WHERE run_id = ? AND split = 'analysis' ORDER BY subgroup, name",
        [run_id],
    )
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["subgroup"], {})[row["name"]] = row["value"]
    return found


def best_epoch_metrics(store: Store, run_ids: Sequence[str], split: str) -> dict[str, dict[str, float]]:
    """Metrics of all users at the best epoch by run id and full name; on `train` the losses and what the method measured."""
    rows = store.rows(
        "SELECT run_id, name, value FROM run_metrics WHERE list_contains($1, run_id) AND split = $2 AND value IS NOT NULL",
        [list(run_ids), split],
    )
    found: dict[str, dict[str, float]] = {run_id: {} for run_id in run_ids}
    for row in rows:
        found[row["run_id"]][row["name"]] = row["value"]
    return found


def curves(store: Store, run_id: str) -> list[dict[str, Any]]:
    """Metrics of every epoch: epoch, split, name, value."""
    return store.rows(
        "SELECT epoch, split, name, value FROM metrics WHERE run_id = ? AND subgroup = 'all' AND split IN ('train', 'valid') "
        "AND name <> 'n' ORDER BY epoch, split, name",
        [run_id],
    )


def curve_columns(store: Store, run_id: str) -> list[tuple[str, str, NDArray[np.float64]]]:
    """Split, name, and points (epoch, value) of every curve of a run, epochs ascending; gaps are left out."""
    import numpy as np

    table = store.table(
        "SELECT split, name, list(epoch ORDER BY epoch) AS epochs, list(value ORDER BY epoch) AS points FROM metrics "
        "WHERE run_id = ? AND subgroup = 'all' AND split IN ('train', 'valid') AND name NOT IN ('n', 'seconds') "
        "AND value IS NOT NULL GROUP BY split, name ORDER BY split, name",
        [run_id],
    )
    return [
        (split, name, np.array([epochs, points], dtype=np.float64).T)
        for split, name, epochs, points in zip(*(column.to_pylist() for column in table.columns), strict=True)
    ]


def finished_equal(store: Store, *, config_hash: str, seed: int, group: str) -> str | None:
    """Id of the newest finished run of a group with this config and seed; None without one.

    The config names its dataset, and a name keeps its content while runs were made with it.
    """
    rows = store.rows(
        "SELECT run_id FROM runs WHERE state = 'finished' AND config_hash = ? AND seed = ? AND group_name = ? "
        "ORDER BY created_at DESC LIMIT 1",
        [config_hash, seed, group],
    )
    return rows[0]["run_id"] if rows else None


def finished_with(store: Store, *, config_hash: str, seed: int, split: str) -> str | None:
    """Id of the newest finished run with this config and seed that has ranks of a split; None without one."""
    rows = store.rows(
        "SELECT run_id FROM runs r WHERE state = 'finished' AND config_hash = ? AND seed = ? AND EXISTS "
        "(FROM user_ranks u WHERE u.run_id = r.run_id AND u.split = ?) ORDER BY created_at DESC LIMIT 1",
        [config_hash, seed, split],
    )
    return rows[0]["run_id"] if rows else None


def equal_runs(store: Store, group: str) -> dict[tuple[str, int], str]:
    """Id of the newest run of a group by (config_hash, seed), of the runs that are finished or have not ended."""
    rows = store.rows(
        "SELECT run_id, config_hash, seed, state, host, boot_id, heartbeat_at, pid, process_started FROM runs "
        "WHERE group_name = ? AND state IN ('finished', 'queued', 'running') ORDER BY created_at",
        [group],
    )
    queued = _queued(store, rows)
    rows = [_now(store, row | {"reason": None}, queued) for row in rows]
    return {(row["config_hash"], row["seed"]): row["run_id"] for row in rows if row["state"] in ("finished", *OPEN)}


def select_runs(store: Store, names: Sequence[str]) -> list[StoredRun]:
    """Runs by names of groups or by what `find_run` takes, each once, in the order of the names, then of creation.

    Raises:
        LookupFailed: a name is neither.
    """
    found: dict[str, StoredRun] = {}
    for name in names:
        group = store.rows("SELECT run_id FROM runs WHERE group_name = ? ORDER BY created_at, run_id", [name])
        for run_id in [row["run_id"] for row in group] or [name]:
            row = find_run(store, run_id)
            found.setdefault(row["run_id"], row)
    return list(found.values())


def ranks(store: Store, run_id: str, split: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Users, ascending, and the ranks of their targets, both (U,); empty for a run not evaluated on the split.

    Rows that are no ranks are left out, and of two of a user the first.
    """
    table = store.table(
        "SELECT user_id, first(rank ORDER BY rowid) AS rank FROM user_ranks WHERE run_id = ? AND split = ? AND rank >= 1 "
        "AND user_id >= 1 GROUP BY user_id ORDER BY user_id",
        [run_id, split],
    )
    return table["user_id"].to_numpy(), table["rank"].to_numpy()


def epoch_seconds(
    store: Store, *, dataset_name: str, config_hash: str | None = None, after: int = 0, until: int | None = None
) -> dict[str, float] | None:
    """Median seconds of an epoch and number of epochs in finished runs of a dataset; None without such runs.

    Args:
        after: epochs at the beginning that do not count, those of a pretraining; `until` is the last one that does.
    """
    rows = store.rows(
        "SELECT median(s.seconds) AS seconds, median(s.epochs) AS epochs, count(*) AS runs FROM (SELECT m.run_id, "
        "median(m.value) AS seconds, max(m.epoch) - $3 AS epochs FROM metrics m JOIN runs r USING (run_id) WHERE m.name = 'seconds' "
        "AND m.split = 'train' AND r.state = 'finished' AND r.dataset_name = $1 AND ($2 IS NULL OR r.config_hash = $2) "
        "AND m.epoch > $3 AND ($4 IS NULL OR m.epoch <= $4) GROUP BY m.run_id) s",
        [dataset_name, config_hash, after, until],
    )
    return rows[0] if rows and rows[0]["runs"] else None


def config_speeds(store: Store, dataset_name: str, *, limit: int) -> list[dict[str, Any]]:
    """The newest distinct configs with a finished run on a dataset: settings, and median seconds of the last epoch of its runs."""
    rows = store.rows(
        "SELECT last(r.config ORDER BY r.created_at) AS config, median(m.value) AS seconds FROM runs r JOIN metrics m ON m.run_id = r.run_id "
        "AND m.epoch = r.epoch AND m.split = 'train' AND m.name = 'seconds' WHERE r.state = 'finished' AND r.dataset_name = $1 "
        "GROUP BY r.config_hash ORDER BY max(r.created_at) DESC LIMIT $2",
        [dataset_name, limit],
    )
    return [row for row in rows if not decode_json(row)]


def tag(store: Store, text: str, *, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> list[str]:
    """Add and remove tags of the run that `find_run` finds; returns its tags after that."""
    for word in add:
        check_name("the tag", word)
    run = find_run(store, text)
    record_edit(store.home, "run_tagged", run_id=run["run_id"], add=list(add), remove=list(remove))
    return sorted((set(run["tags"]) | set(add)) - set(remove))


def note(store: Store, text: str, note: str) -> None:
    """Set the note of the run that `find_run` finds."""
    check_name("the note", note, lines=True)
    record_edit(store.home, "run_noted", run_id=find_run(store, text)["run_id"], note=note)


def rename(store: Store, text: str, name: str) -> None:
    """Set the name of the run that `find_run` finds."""
    check_name("the name", name)
    record_edit(store.home, "run_renamed", run_id=find_run(store, text)["run_id"], name=name)
