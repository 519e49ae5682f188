CREATE VIEW run_results AS
SELECT
    r.run_id, r.name, r.state, r.preset, r.group_name, r.dataset_name, r.seed, r.config_hash,
    r.config ->> '$.semantics.provider' AS provider,
    r.config ->> '$.semantics.vector' AS vector,
    r.config ->> '$.retrieval.pool' AS pool,
    CAST(r.config ->> '$.retrieval.k' AS INTEGER) AS k,
    r.config ->> '$.synthesizer.kind' AS synthesizer,
    CAST(r.config ->> '$.loss.alpha' AS DOUBLE) AS alpha,
    CAST(r.config ->> '$.loss.beta' AS DOUBLE) AS beta,
    r.epoch AS epochs, r.best_epoch,
    CAST(r.timings ->> '$.total' AS DOUBLE) AS seconds,
    CAST(r.timings ->> '$.train' AS DOUBLE) AS train_seconds,
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
COMMENT ON VIEW run_results IS 'A run, its main settings, its time in seconds, and its metrics with the best weights (all users) in one row; other cutoffs are in metrics.';

CREATE VIEW run_costs AS
SELECT
    r.run_id, r.name, r.kind, r.state,
    count(c.key) AS calls,
    count(c.key) FILTER (c.error IS NOT NULL) AS failed_calls,
    CAST(coalesce(sum(c.tokens_in), 0) AS BIGINT) AS tokens_in,
    CAST(coalesce(sum(c.tokens_out), 0) AS BIGINT) AS tokens_out,
    CAST(coalesce(sum(c.tokens_cached), 0) AS BIGINT) AS tokens_cached,
    CASE WHEN count(*) FILTER (c.key IS NOT NULL AND c.usd IS NULL) = 0 THEN coalesce(sum(c.usd), 0) END AS usd
FROM runs r LEFT JOIN api_calls c USING (run_id)
GROUP BY ALL;
COMMENT ON VIEW run_costs IS 'What a run spent on calls; usd is NULL when the price of any call is unknown.';

CREATE VIEW spend_by_day AS
SELECT
    CAST(sent_at AS DATE) AS day, provider, model, count(*) AS calls,
    CAST(sum(tokens_in) AS BIGINT) AS tokens_in, CAST(sum(tokens_out) AS BIGINT) AS tokens_out, sum(usd) AS usd,
    count(*) FILTER (usd IS NULL) AS calls_of_unknown_price
FROM api_calls
GROUP BY ALL;
COMMENT ON VIEW spend_by_day IS 'US dollars by day (UTC), endpoint and model.';

CREATE VIEW neighbor_weights AS
WITH weighted AS (
    SELECT *, rank() OVER (PARTITION BY run_id, phase, anchor_id ORDER BY weight DESC) AS weight_rank
    FROM synthesizer_weights
)
SELECT
    w.run_id, w.phase, r.dataset_id, a.user_id, w.anchor_id, w.neighbor_id, b.user_id AS neighbor_user_id,
    last_item.title AS neighbor_last_title, next_item.title AS neighbor_next_title,
    n.similarity, n.rank AS cosine_rank, w.weight, w.weight_rank
FROM weighted w
JOIN runs r USING (run_id)
JOIN anchors a ON a.dataset_id = r.dataset_id AND a.anchor_id = w.anchor_id
JOIN anchors b ON b.dataset_id = r.dataset_id AND b.anchor_id = w.neighbor_id
LEFT JOIN neighbors n
    ON n.list_id = r.user_list_id AND n.anchor_id = w.anchor_id AND n.neighbor_id = w.neighbor_id
LEFT JOIN interactions i
    ON i.dataset_id = r.dataset_id AND i.user_id = b.user_id AND i.position = b.position
LEFT JOIN items last_item ON last_item.dataset_id = r.dataset_id AND last_item.item_id = i.item_id
LEFT JOIN items next_item ON next_item.dataset_id = r.dataset_id AND next_item.item_id = b.item_id;
COMMENT ON VIEW neighbor_weights IS 'A neighbor of the anchor that represents a user: similarity and learned weight, each with its rank, and the titles of the last item of the neighbor''s prefix and of its target.';

CREATE VIEW user_view AS
WITH sequences AS (
    SELECT
        i.dataset_id, i.user_id, count(*) AS interactions, min(i.ts) AS first_ts, max(i.ts) AS last_ts,
        list(t.title ORDER BY i.position) AS titles
    FROM interactions i JOIN items t USING (dataset_id, item_id)
    GROUP BY ALL
)
SELECT
    d.name AS dataset_name, u.dataset_id, u.user_id, u.raw_id, u.tied, q.interactions, q.first_ts, q.last_ts, q.titles,
    a.anchor_id, s.set_id, s.provider, s.model, s.unit, t.text AS summary, t.fallback
FROM users u
JOIN datasets d USING (dataset_id)
JOIN sequences q USING (dataset_id, user_id)
LEFT JOIN anchors a ON a.dataset_id = u.dataset_id AND a.user_id = u.user_id AND a.represents
LEFT JOIN summary_sets s ON s.dataset_id = u.dataset_id AND s.kind = 'user'
LEFT JOIN summary_links l ON l.set_id = s.set_id AND l.owner_id = a.anchor_id
LEFT JOIN summaries t ON t.key = l.key;
COMMENT ON VIEW user_view IS 'A user with the titles in order of time and, in one row per summary set, the summary of the longest training prefix.';
