"""Projects the events of journals onto the tables of the database."""

from __future__ import annotations

import errno
import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from store.errors import StoreError
from store.home import TRASH
from store.journal.journal import Line
from store.journal.run_fold import changed_columns, created_columns, utc
from store.journal.seals import check_table
from store.publishing import paid_events, removals
from store.publishing.run_rows import RunRows

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_GATHERED = 20_000
"""Rows of calls and answers that are kept in memory until they are written."""
EDITS = "edits"
"""Source of the changes that people make; every other source is a run."""
_PEOPLES = ("run_tagged", "run_noted", "run_renamed")
"""Events that name the run which they change."""
_COLUMNS = ("text", "tokens_in", "tokens_out", "tokens_cached", "usd", "finish_reason", "fallback")
_BEST = "(FROM incoming QUALIFY row_number() OVER (PARTITION BY key ORDER BY fallback, place) = 1) i"
_SUMMARIES = (
    f"UPDATE summaries s SET {', '.join(f'{name} = i.{name}' for name in _COLUMNS)}, run_id = $1, created_at = written_at "
    f"FROM {_BEST} WHERE s.key = i.key AND s.fallback AND NOT i.fallback",
    f"INSERT INTO summaries SELECT key, {', '.join(_COLUMNS)}, $1, written_at FROM {_BEST} ON CONFLICT DO NOTHING",
)
"""The first answer to a request stays; the fallback for a failed model is replaced by the model's own answer."""
_CALLS = (
    "INSERT INTO api_calls BY NAME SELECT $1 AS run_id, $2 AS provider, $3 AS model, "
    "* EXCLUDE (written_at, place) REPLACE (make_timestamp(CAST(sent_at * 1000000 AS BIGINT)) AS sent_at) FROM incoming",
)
_CALLS_ONCE = (
    f"{_CALLS[0]} i WHERE NOT EXISTS (SELECT 1 FROM api_calls c WHERE c.run_id = $1 AND c.key = i.key "
    "AND c.attempt = i.attempt AND c.sent_at = make_timestamp(CAST(i.sent_at * 1000000 AS BIGINT))) "
    "QUALIFY row_number() OVER (PARTITION BY i.key, i.attempt, i.sent_at) = 1",
)
"""For calls that another journal may have brought: that of a run which was deleted since."""
_VERDICT_COLUMNS = (
    "dataset", "claim", "fingerprint", "verdict", "metric", "subgroup", "difference", "ci_low", "ci_high", "p_value",
    "p_holm", "margin", "users", "runs", "runs_against", "note",
)  # fmt: skip
_FINDING_COLUMNS = (
    "finding_id", "screen", "title", "run_ids", "user_id", "item_id", "command", "note", "content", "place",
)  # fmt: skip


def _owner(source: str, line: Line) -> str:
    """The run that an event belongs to: that of its journal, or the one that it names, as calls and kept events may."""
    named = source == EDITS or line.event == "api_called"
    return (line.fields.get("run_id") if named else None) or source


_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
"""Of errors with a number, those that say of a file that it is gone or is none; the others may be over the next time."""


class Unreadable(Exception):
    """The file of an event cannot be read now: the event waits, with what follows it in its segment."""

    def __init__(self, line: Line, file: Path, error: OSError) -> None:
        super().__init__(f"{file}: cannot be read: {error.strerror or error}; {line.event!r} and what follows it wait")
        self.line = line


def _may_pass(error: OSError) -> bool:
    return error.errno is not None and error.errno not in _NO_FILE


def read_table(line: Line, warnings: list[str]) -> pa.Table | None:
    """The table of an event; none where it has none, or, with a warning, where its file is not what was written.

    Raises:
        Unreadable: the system cannot read the file, which may be as it was written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if "columns" in line.fields:
        return pa.table(line.fields["columns"])
    if line.table is None:
        return None
    try:
        check_table(line.table, line.table_bytes, line.table_sha256)
        return pq.read_table(line.table)
    except (StoreError, OSError, pa.ArrowInvalid) as error:
        if isinstance(error, OSError) and _may_pass(error):
            raise Unreadable(line, line.table, error) from None
        warnings.append(f"{line.table}: the table of {line.event!r} cannot be read and was skipped: {error}")
        return None


class Projector:
    """Writes one event after the other into the tables of an open transaction.

    The run's own row follows `store.journal.run_fold`; `_on_NAME` adds the rows that the event NAME brings to other tables.
    Events that neither knows change nothing but the run's heartbeat.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        rows: RunRows,
        warnings: list[str],
        *,
        fitted: Collection[int] = (),
    ) -> None:
        """Args:
        fitted: `id` of paid events that the database has refused: of those, what fits is kept.
        """
        self._connection, self._rows, self._warnings, self._fitted = connection, rows, warnings, fitted
        self._gathered: dict[tuple[tuple[str, ...], tuple[Any, ...]], list[pa.Table]] = {}
        self._rows_gathered = 0

    def flush(self) -> None:
        """Write everything that was gathered: answers and calls come by the hundred, a few in each event."""
        import pyarrow as pa

        self._rows.flush()
        gathered, self._gathered, self._rows_gathered = self._gathered, {}, 0
        for (statements, values), tables in gathered.items():
            self._connection.register("incoming", pa.concat_tables(tables, promote_options="permissive"))
            for statement in statements:
                self._connection.execute(statement, list(values))
            self._connection.unregister("incoming")

    def _gather(self, statements: tuple[str, ...], values: tuple[Any, ...], line: Line) -> None:
        """Keep a table, with the time of its event, until `flush` runs the statements once on all tables kept for them."""
        import pyarrow as pa

        if id(line) in self._fitted:
            own = read_table(line, self._warnings) if line.table is not None else None
            table, lost = paid_events.fitted(self._connection, line, own)
            self._warnings += [
                f"{line.folder.name}: of an event {line.event!r}, which was paid for, {words}" for words in lost
            ]
        else:
            table = read_table(line, self._warnings)
        if table is not None:
            tables = self._gathered.setdefault((statements, values), [])
            for name, value in (("written_at", pa.scalar(utc(line.at), pa.timestamp("us"))), ("place", len(tables))):
                table = table.append_column(name, pa.repeat(value, len(table)))
            tables.append(table)
            self._rows_gathered += len(table)
            if self._rows_gathered > _MOST_GATHERED:
                self.flush()

    def take(self, source: str, line: Line) -> None:
        """Project an event; small changes are gathered until `flush`.

        Raises:
            KeyError: a field is missing, as it may be in a journal that another version wrote.
            ValueError: it changes another run than the one in whose folder it stands.
            duckdb.Error: the database refuses a value.
        """
        if source != EDITS:
            if line.event == "run_created":
                self._rows.create(source, created_columns(line.fields, line.at))
            self._rows.update(source, changed_columns(line))
            if line.event in _PEOPLES and line.fields["run_id"] != source:
                raise ValueError(f"it is of run {line.fields['run_id']!r}")
        project = getattr(self, f"_on_{line.event}", None)
        if project is not None:
            project(source, line)

    def _on_warned(self, source: str, line: Line) -> None:
        """A message once: a resumed run may say it again."""
        self._connection.execute(
            "INSERT INTO run_warnings SELECT $1, $2, $3 WHERE NOT EXISTS "
            "(SELECT 1 FROM run_warnings WHERE run_id = $1 AND message = $3)",
            [source, utc(line.at), line.fields["message"]],
        )

    def _on_machine_sampled(self, source: str, line: Line) -> None:
        self._rows.sample(source, line.segment, utc(line.at), line.fields)

    def _on_run_resumed(self, source: str, line: Line) -> None:
        """Numbers of steps beyond the checkpoint are measured again; answers and calls stay."""
        self.flush()
        step = line.fields["step"]
        for table in ("metrics", "user_ranks", "synthesizer_weights", "user_epochs"):
            if self._rows.new.may_have(source, (table,), step):
                self._connection.execute(f"DELETE FROM {table} WHERE run_id = ? AND step > ?", [source, step])

    def _on_epoch_finished(self, source: str, line: Line) -> None:
        fields = line.fields
        seconds = [
            {"split": "train", "name": "seconds", "value": fields["seconds"], "subgroup": "all"},
            {"split": "valid", "name": "seconds", "value": fields["evaluate_seconds"], "subgroup": "all"},
        ]
        self._rows.metrics(source, fields["epoch"], fields["step"], [*fields["metrics"], *seconds], utc(line.at))

    def _on_measured(self, source: str, line: Line) -> None:
        """Numbers that a run measures once; a resumed run may measure them again, which replaces them."""
        fields, new = line.fields, self._rows.new
        for split, subgroup in {(m["split"], m["subgroup"]) for m in fields["metrics"]}:
            if not new.may_have(source, ("metrics", split, subgroup), fields["step"]):
                continue
            self._rows.flush()
            self._connection.execute(
                "DELETE FROM metrics WHERE run_id = ? AND epoch = ? AND step = ? AND split = ? AND subgroup = ?",
                [source, fields["epoch"], fields["step"], split, subgroup],
            )
        self._rows.metrics(source, fields["epoch"], fields["step"], fields["metrics"], utc(line.at))

    def _on_evaluated(self, source: str, line: Line) -> None:
        """Final metrics; those of all users on validation are stored since the best epoch."""
        fields, split = line.fields, line.fields["split"]
        fresh = [m for m in fields["metrics"] if split != "valid" or m["subgroup"] != "all" or m["name"] == "n"]
        if self._rows.new.may_have(source, ("evaluated", split)):
            self._rows.flush()
            self._connection.execute(
                "DELETE FROM metrics WHERE run_id = ? AND split = ? AND (split = 'test' OR subgroup <> 'all' OR name = 'n')",
                [source, split],
            )
        self._rows.metrics(source, fields["epoch"], fields["step"], fresh, utc(line.at))
        if self._rows.new.may_have(source, ("user_ranks", split)):
            self._connection.execute("DELETE FROM user_ranks WHERE run_id = ? AND split = ?", [source, split])
        for what in (("user_ranks",), ("user_ranks", split)):
            self._rows.new.note(source, what, fields["step"])
        self._insert(
            line,
            "INSERT INTO user_ranks SELECT ?, ?, user_id, rank, ? FROM incoming",
            [source, split, fields["step"]],
        )

    def _on_weights_sampled(self, source: str, line: Line) -> None:
        fields = line.fields
        values = [source, fields["phase"], fields["epoch"], fields["step"]]
        if self._rows.new.may_have(source, ("synthesizer_weights", fields["phase"])):
            self._connection.execute("DELETE FROM synthesizer_weights WHERE run_id = ? AND phase = ?", values[:2])
        for what in (("synthesizer_weights",), ("synthesizer_weights", fields["phase"])):
            self._rows.new.note(source, what, fields["step"])
        self._insert(
            line,
            "INSERT INTO synthesizer_weights SELECT ?, ?, ?, ?, anchor_id, neighbor_id, weight FROM incoming",
            values,
        )

    def _on_epoch_recorded(self, source: str, line: Line) -> None:
        """Best and last epoch may have been recorded as they passed, with the same numbers."""
        epoch, step = line.fields["epoch"], line.fields["step"]
        recorded = "SELECT 1 FROM user_epochs WHERE run_id = ? AND epoch = ? LIMIT 1"
        if (
            self._rows.new.may_have(source, ("user_epochs", epoch))
            and self._connection.execute(recorded, [source, epoch]).fetchall()
        ):
            return
        for what in (("user_epochs",), ("user_epochs", epoch)):
            self._rows.new.note(source, what, step)
        self._insert(
            line,
            "INSERT INTO user_epochs BY NAME SELECT ? AS run_id, ? AS epoch, ? AS step, * FROM incoming",
            [source, epoch, step],
        )

    def _on_summary_set_made(self, source: str, line: Line) -> None:
        f = line.fields
        if f.get("template"):
            self._connection.execute(
                "INSERT INTO prompts VALUES (?, ?) ON CONFLICT DO NOTHING",
                [f["prompt_version"], f["template"]],
            )
        self._connection.execute(
            "INSERT INTO summary_sets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [
                f["set_id"], f["dataset_id"], f["kind"], f["provider"], f["model"], f["prompt_version"], f["unit"],
                json.dumps(f["parameters"]), _owner(source, line), utc(line.at),
            ],
        )  # fmt: skip

    def _on_summaries_made(self, source: str, line: Line) -> None:
        self._gather(_SUMMARIES, (_owner(source, line),), line)

    def _on_api_called(self, source: str, line: Line) -> None:
        """Calls belong to the run that sent them; another run may have collected the answers of a batch."""
        f = line.fields
        again = f.get("kept") or line.folder.parent.name == TRASH
        self._gather(_CALLS_ONCE if again else _CALLS, (_owner(source, line), f["provider"], f["model"]), line)

    def _on_summaries_linked(self, source: str, line: Line) -> None:
        set_id = line.fields["set_id"]
        self._insert(
            line,
            "INSERT INTO summary_links SELECT ?, owner_id, key FROM incoming i WHERE NOT EXISTS "
            "(SELECT 1 FROM summary_links l WHERE l.set_id = ? AND l.owner_id = i.owner_id)",
            [set_id, set_id],
        )

    def _on_neighbors_found(self, source: str, line: Line) -> None:
        f = line.fields
        known = self._connection.execute("SELECT 1 FROM neighbor_lists WHERE list_id = ?", [f["list_id"]]).fetchall()
        if known:
            return
        if self._insert(
            line,
            "INSERT INTO neighbors SELECT ?, anchor_id, rank, neighbor_id, similarity FROM incoming",
            [f["list_id"]],
        ):
            self._connection.execute(
                "INSERT INTO neighbor_lists VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    f["list_id"],
                    f["dataset_id"],
                    f["kind"],
                    json.dumps(f["parameters"]),
                    f["recall"],
                    _owner(source, line),
                    utc(line.at),
                ],
            )

    def _on_bundle_imported(self, source: str, line: Line) -> None:
        from store.publishing import bundle_reader

        self.flush()
        try:
            bundle_reader.insert_bundle(self._connection, line.folder, line.fields["file"], kept=source == EDITS)
        except StoreError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and _may_pass(cause):
                raise Unreadable(line, line.folder / line.fields["file"], cause) from None
            self._warnings.append(str(error))

    def _on_run_tagged(self, source: str, line: Line) -> None:
        """Tags are added and removed rather than set, since two people may change them at once."""
        f = line.fields
        self._connection.execute(
            "UPDATE runs SET tags = list_sort(list_distinct(list_filter(list_concat(tags, $1::VARCHAR[]), "
            "lambda tag: NOT list_contains($2::VARCHAR[], tag)))) WHERE run_id = $3",
            [f["add"], f["remove"], f["run_id"]],
        )

    def _on_run_noted(self, source: str, line: Line) -> None:
        self._rows.update(line.fields["run_id"], {"note": line.fields["note"]})

    def _on_run_renamed(self, source: str, line: Line) -> None:
        self._rows.update(line.fields["run_id"], {"name": line.fields["name"]})

    def _on_runs_removed(self, source: str, line: Line) -> None:
        if source != EDITS:
            raise ValueError("only people remove runs")
        removals.take_event(self._connection, line, utc(line.at))

    _on_runs_restored = _on_trash_emptied = _on_runs_removed

    def _on_study_declared(self, source: str, line: Line) -> None:
        f = line.fields
        self._connection.execute(
            "INSERT INTO study_files SELECT $1, $2, $3, $4 WHERE NOT EXISTS "
            "(SELECT 1 FROM study_files WHERE sha256 = $1 AND study = $2)",
            [f["sha256"], f["study"], f["text"], utc(line.at)],
        )
        for claim in f["claims"]:
            values = [claim[name] for name in ("dataset", "claim", "sentence", "fingerprint")]
            self._connection.execute(
                "INSERT INTO study_claims VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [f["study"], *values, f["sha256"], claim["seeds"], utc(line.at)],
            )

    def _on_study_judged(self, source: str, line: Line) -> None:
        f = line.fields
        for verdict in f["verdicts"]:
            values = {name: verdict.get(name) for name in _VERDICT_COLUMNS}
            columns = {"study": f["study"], "sha256": f["sha256"], "judged_at": utc(line.at)} | values
            places = ", ".join("?" * len(columns))
            self._connection.execute(
                f"INSERT INTO study_verdicts ({', '.join(columns)}) VALUES ({places})", list(columns.values())
            )

    def _on_finding_added(self, source: str, line: Line) -> None:
        values = {"created_at": utc(line.at)} | {name: line.fields[name] for name in _FINDING_COLUMNS}
        values["place"] = json.dumps(values["place"])
        self._connection.execute(
            f"INSERT INTO findings ({', '.join(values)}) SELECT {', '.join(['?'] * len(values))} "
            "WHERE NOT EXISTS (FROM findings WHERE finding_id = ?)",
            [*values.values(), values["finding_id"]],
        )

    def _on_finding_noted(self, source: str, line: Line) -> None:
        self._connection.execute(
            "UPDATE findings SET note = ?, edited_at = ? WHERE finding_id = ?",
            [line.fields["note"], utc(line.at), line.fields["finding_id"]],
        )

    def _on_findings_removed(self, source: str, line: Line) -> None:
        self._connection.execute(
            "UPDATE findings SET removed_at = ? WHERE list_contains(?, finding_id)",
            [utc(line.at) if line.event == "findings_removed" else None, line.fields["finding_ids"]],
        )

    _on_findings_restored = _on_findings_removed

    def _insert(self, line: Line, query: str, values: list[Any]) -> bool:
        table = read_table(line, self._warnings)
        if table is None:
            return False
        self._connection.register("incoming", table)
        self._connection.execute(query, values)
        self._connection.unregister("incoming")
        return True
