CREATE OR REPLACE VIEW run_results AS
SELECT
    r.run_id, r.name, r.state, r.preset, r.group_name, r.dataset_name, r.seed, r.config_hash,
    r.config ->> '$.semantics.provider' AS provider,
    r.config ->> '$.semantics.vector' AS vector,
    r.config ->> '$.retrieval.pool' AS pool,
    TRY_CAST(r.config ->> '$.retrieval.k' AS INTEGER) AS k,
    r.config ->> '$.synthesizer.kind' AS synthesizer,
    TRY_CAST(r.config ->> '$.loss.alpha' AS DOUBLE) AS alpha,
    TRY_CAST(r.config ->> '$.loss.beta' AS DOUBLE) AS beta,
    r.epoch AS epochs, r.best_epoch,
    TRY_CAST(r.timings ->> '$.total' AS DOUBLE) AS seconds,
    TRY_CAST(r.timings ->> '$.train' AS DOUBLE) AS train_seconds,
    m.* EXCLUDE (run_id)
FROM runs r LEFT JOIN (
    SELECT
        m.run_id,
        max(m.value) FILTER (m.split = 'test' AND m.name = 'hr@5') AS test_hr_5,
        max(m.value) FILTER (m.split = 'test' AND m.name = 'hr@10') AS test_hr_10,
        max(m.value) FILTER (m.split = 'test' AND m.name = 'hr@20') AS test_hr_20,
        max(m.value) FILTER (m.split = 'test' AND m.name = 'ndcg@5') AS test_ndcg_5,
        max(m.value) FILTER (m.split = 'test' AND m.name = 'ndcg@10') AS test_ndcg_10,
        max(m.value) FILTER (m.split = 'test' AND m.name = 'ndcg@20') AS test_ndcg_20,
        max(m.value) FILTER (m.split = 'test' AND m.name = 'mrr@5') AS test_mrr_5,
        max(m.value) FILTER (m.split = 'test' AND m.name = 'mrr@10') AS test_mrr_10,
        max(m.value) FILTER (m.split = 'test' AND m.name = 'mrr@20') AS test_mrr_20,
        max(m.value) FILTER (m.split = 'valid' AND m.name = 'hr@20') AS valid_hr_20,
        max(m.value) FILTER (m.split = 'valid' AND m.name = 'ndcg@20') AS valid_ndcg_20,
        max(m.value) FILTER (m.split = 'valid' AND m.name = 'mrr@10') AS valid_mrr_10
    FROM metrics m JOIN runs q USING (run_id)
    WHERE m.subgroup = 'all' AND (m.split = 'test' OR (m.split = 'valid' AND m.epoch = q.best_epoch))
    GROUP BY m.run_id
) m USING (run_id);
COMMENT ON VIEW run_results IS 'A run, its main settings, its time in seconds, and its metrics with the best weights (all users) in one row; other cutoffs are in metrics. A damaged number is NULL.';

CREATE OR REPLACE VIEW run_costs AS
SELECT
    r.run_id, r.name, r.kind, r.state,
    count(c.key) AS calls,
    count(c.key) FILTER (c.error IS NOT NULL) AS failed_calls,
    TRY_CAST(coalesce(sum(c.tokens_in), 0) AS BIGINT) AS tokens_in,
    TRY_CAST(coalesce(sum(c.tokens_out), 0) AS BIGINT) AS tokens_out,
    TRY_CAST(coalesce(sum(c.tokens_cached), 0) AS BIGINT) AS tokens_cached,
    CASE WHEN count(c.key) FILTER (c.usd IS NULL OR NOT isfinite(c.usd)) = 0 THEN coalesce(sum(c.usd), 0) END AS usd
FROM runs r LEFT JOIN api_calls c USING (run_id)
GROUP BY ALL;
COMMENT ON VIEW run_costs IS 'What a run spent on calls; usd is NULL when the price of any call is unknown or no number.';

CREATE OR REPLACE VIEW spend_by_day AS
SELECT
    CAST(sent_at AS DATE) AS day, provider, model, count(*) AS calls,
    TRY_CAST(sum(tokens_in) AS BIGINT) AS tokens_in, TRY_CAST(sum(tokens_out) AS BIGINT) AS tokens_out,
    sum(usd) FILTER (isfinite(usd)) AS usd,
    count(*) FILTER (usd IS NULL OR NOT isfinite(usd)) AS calls_of_unknown_price
FROM api_calls
GROUP BY ALL;
COMMENT ON VIEW spend_by_day IS 'US dollars by day (UTC), endpoint and model; without calls whose price is unknown or no number.';
