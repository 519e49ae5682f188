"""Studies: what was declared when, verdicts, and the runs that have the configs of a study's variants.

Declarations and verdicts are events in the home's journal of edits, so a database that is rebuilt has them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from store.database.database import Store
from store.home import Home
from store.publishing.edits import record_edit
from store.queries.runs import WHOLE_ROW, with_present_states
from store.run_row import StoredRun

if TYPE_CHECKING:
    import pyarrow as pa


class DeclaredClaim(TypedDict):
    """A claim when it was declared first on a data set."""

    claim: str
    dataset: str
    fingerprint: str
    sha256: str
    seeds: int
    declared_at: Any


def declare(home: Home, *, study: str, sha256: str, text: str, claims: Sequence[dict[str, Any]]) -> None:
    """Record a study's file and claims (claim, dataset, sentence, fingerprint, seeds); it is on the disk when this returns."""
    record_edit(home, "study_declared", study=study, sha256=sha256, text=text, claims=list(claims))


def record_verdicts(home: Home, *, study: str, sha256: str, verdicts: Sequence[dict[str, Any]]) -> None:
    """Record verdicts, each a row of `study_verdicts` without study, file and time."""
    record_edit(home, "study_judged", study=study, sha256=sha256, verdicts=list(verdicts))


def first_declarations(store: Store, study: str) -> dict[tuple[str, str], DeclaredClaim]:
    """The first declaration of each claim, by claim and data set."""
    rows = store.rows(
        "SELECT claim, dataset, fingerprint, sha256, seeds, declared_at FROM study_claims WHERE study = ? "
        "QUALIFY row_number() OVER (PARTITION BY claim, dataset ORDER BY declared_at) = 1",
        [study],
    )
    return {(row["claim"], row["dataset"]): cast(DeclaredClaim, row) for row in rows}


def declared_fingerprints(store: Store, study: str) -> set[tuple[str, str, str]]:
    """Claim, data set and fingerprint of every declaration of a study."""
    rows = store.tuples("SELECT DISTINCT claim, dataset, fingerprint FROM study_claims WHERE study = ?", [study])
    return {(claim, dataset, fingerprint) for claim, dataset, fingerprint in rows}


def declared_datasets(store: Store, study: str) -> list[str]:
    """Data sets on which claims of a study were declared, by when that was first."""
    query = "SELECT dataset FROM study_claims WHERE study = ? GROUP BY dataset ORDER BY min(declared_at), dataset"
    return [dataset for (dataset,) in store.tuples(query, [study])]


def last_verdicts(store: Store, study: str) -> pa.Table:
    """The newest verdict on each claim and data set, a row of `study_verdicts` each."""
    return store.table(
        "SELECT * FROM study_verdicts WHERE study = ? "
        "QUALIFY row_number() OVER (PARTITION BY claim, dataset ORDER BY judged_at DESC) = 1 ORDER BY dataset, claim",
        [study],
    )


def verdict_counts(store: Store) -> dict[str, dict[str, int]]:
    """How many claims of each study have each verdict, by study."""
    rows = store.rows(
        "SELECT study, verdict, count(*) AS claims FROM (SELECT * FROM study_verdicts QUALIFY row_number() OVER "
        "(PARTITION BY study, claim, dataset ORDER BY judged_at DESC) = 1) GROUP BY ALL ORDER BY ALL"
    )
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row["study"], {})[row["verdict"]] = row["claims"]
    return found


def runs_of_configs(store: Store, hashes: Sequence[str]) -> list[StoredRun]:
    """Training runs with any of these config hashes, oldest first, each with its state of this moment."""
    rows = store.rows(
        f"{WHOLE_ROW} WHERE kind = 'train' AND list_contains($1, config_hash) ORDER BY created_at, run_id",
        [sorted(set(hashes))],
    )
    return cast(list[StoredRun], with_present_states(store, rows))


def running(store: Store, run_ids: Sequence[str]) -> dict[str, int]:
    """Epochs done by id, of those runs that are running as of the newest publish."""
    rows = store.tuples(
        "SELECT run_id, epoch FROM runs WHERE list_contains($1, run_id) AND state = 'running' ORDER BY run_id",
        [list(run_ids)],
    )
    return dict(rows)


def leaks(store: Store, dataset: str) -> tuple[str, dict[str, dict[str, float]]] | None:
    """Id of the newest finished run of `sracl leaks` on a data set, and its shares by pool; None without one."""
    rows = store.rows(
        "SELECT m.run_id, m.subgroup AS pool, m.name, m.value FROM metrics m JOIN runs r USING (run_id) WHERE m.split = 'leaks' "
        "AND r.state = 'finished' AND json_extract_string(r.config, '$.data.dataset') = $1 "
        "QUALIFY m.run_id = first_value(m.run_id) OVER (ORDER BY r.created_at DESC, m.run_id DESC)",
        [dataset],
    )
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["pool"], {})[row["name"]] = row["value"]
    return (rows[0]["run_id"], found) if rows else None
