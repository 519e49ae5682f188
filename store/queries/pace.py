"""What runs took: seconds per step and to the best epoch, memory, dollars."""

from __future__ import annotations

from collections.abc import Sequence

from store.database.database import Store


def pace(store: Store, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """What was measured of each run, by run id and name; what a run does not have is left out.

    `seconds_per_step`: median over epochs of the training seconds over the steps. `seconds_to_best`: training seconds up to the epoch
    that was kept, `seconds_train`: of all epochs; both without the validations. `seconds_inference`: median over epochs of a
    validation's seconds. `peak_memory`: MiB of the process. `usd`: dollars that the run spent; `usd_texts`: dollars that the
    summaries it used have cost, whichever run paid for them; both are left out where the price of a call is unknown.
    """
    rows = store.rows(
        """
        WITH epochs AS (
            SELECT m.run_id, m.epoch, max(m.step) AS step,
                max(m.value) FILTER (m.split = 'train') AS seconds, max(m.value) FILTER (m.split = 'valid') AS evaluation
            FROM metrics m WHERE m.name = 'seconds' AND list_contains($1, m.run_id) GROUP BY ALL
        ), steps AS (
            SELECT *, step - coalesce(lag(step) OVER (PARTITION BY run_id ORDER BY epoch), 0) AS steps FROM epochs
        ), wanted AS (
            SELECT run_id, unnest([user_set_id, item_set_id]) AS set_id FROM runs WHERE list_contains($1, run_id)
        ), texts AS (
            SELECT w.run_id, CASE WHEN bool_and(c.usd IS NOT NULL) THEN sum(c.usd) END AS usd, count(*) AS calls
            FROM (SELECT DISTINCT w.run_id, l.key FROM wanted w JOIN summary_links l USING (set_id)) w
            JOIN api_calls c USING (key) GROUP BY w.run_id
        )
        SELECT r.run_id, median(s.seconds / nullif(s.steps, 0)) AS seconds_per_step,
            sum(s.seconds) FILTER (s.epoch <= r.best_epoch) AS seconds_to_best, sum(s.seconds) AS seconds_train,
            median(s.evaluation) AS seconds_inference, any_value(r.peak_memory_bytes) / 1048576.0 AS peak_memory,
            any_value(c.usd) AS usd, CASE WHEN any_value(t.calls) IS NULL THEN 0.0 ELSE any_value(t.usd) END AS usd_texts
        FROM runs r LEFT JOIN steps s USING (run_id) LEFT JOIN run_costs c USING (run_id) LEFT JOIN texts t USING (run_id)
        WHERE list_contains($1, r.run_id) GROUP BY r.run_id
        """,
        [list(run_ids)],
    )
    return {row["run_id"]: {name: v for name, v in row.items() if name != "run_id" and v is not None} for row in rows}
