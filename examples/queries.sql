-- Queries to start from: sracl sql -f examples/queries.sql, or paste one into `sracl sql`.
-- Tables and columns: docs/schema.md.

-- Which runs, which settings, test NDCG@20, seconds
SELECT run_id, preset, dataset_name, seed, provider, vector, pool, alpha, beta, epochs, best_epoch, test_ndcg_20, seconds
FROM run_results
WHERE state = 'finished'
ORDER BY test_ndcg_20 DESC NULLS LAST;

-- The ten neighbors of a user with similarity and learned weight, in the newest run that weighs neighbors
SELECT cosine_rank, neighbor_user_id, round(similarity, 3) AS similarity, round(weight, 4) AS weight, weight_rank, neighbor_last_title
FROM neighbor_weights
WHERE phase = 'best' AND user_id = 7
  AND run_id = (SELECT run_id FROM runs WHERE state = 'finished' AND user_list_id IS NOT NULL ORDER BY created_at DESC LIMIT 1)
ORDER BY cosine_rank;

-- Mean and spread over seeds, by config
SELECT dataset_name, preset, config_hash, count(*) AS seeds, avg(test_ndcg_20) AS ndcg_20, stddev_samp(test_ndcg_20) AS sd
FROM run_results
WHERE state = 'finished'
GROUP BY ALL
ORDER BY ndcg_20 DESC NULLS LAST;

-- Do similarity and learned weight agree? Spearman per run, mean over users
SELECT run_id, avg(spearman) AS mean_spearman, count(*) AS users
FROM (
    SELECT run_id, anchor_id, corr(cosine_rank, weight_rank) AS spearman
    FROM neighbor_weights
    WHERE phase = 'best'
    GROUP BY ALL
)
WHERE NOT isnan(spearman)
GROUP BY run_id;

-- Test HR@20 by subgroup
SELECT r.run_id, r.preset, m.subgroup, m.value AS hr_20
FROM metrics m JOIN runs r USING (run_id)
WHERE m.split = 'test' AND m.name = 'hr@20'
ORDER BY ALL;

-- Losses and validation score by epoch of the newest finished run
SELECT epoch, name, value
FROM metrics
WHERE run_id = (SELECT run_id FROM runs WHERE state = 'finished' AND kind = 'train' ORDER BY created_at DESC LIMIT 1)
  AND subgroup = 'all' AND name IN ('loss_rec', 'loss_cs', 'loss_is', 'mrr@10')
ORDER BY epoch, name;

-- Users whose rank differs most between the two newest finished runs on the same data
WITH newest AS (
    SELECT run_id, row_number() OVER (ORDER BY created_at DESC) AS place
    FROM runs
    WHERE state = 'finished' AND kind = 'train'
      AND dataset_id = (SELECT dataset_id FROM runs WHERE state = 'finished' AND kind = 'train' ORDER BY created_at DESC LIMIT 1)
)
SELECT a.user_id, b.rank AS rank_before, a.rank AS rank_now
FROM user_ranks a
JOIN user_ranks b ON a.user_id = b.user_id AND a.split = b.split
WHERE a.split = 'test'
  AND a.run_id = (SELECT run_id FROM newest WHERE place = 1)
  AND b.run_id = (SELECT run_id FROM newest WHERE place = 2)
ORDER BY abs(ln(a.rank) - ln(b.rank)) DESC
LIMIT 20;
