CREATE VIEW run_metrics AS
SELECT m.run_id, m.split, m.name, m.value
FROM metrics m JOIN runs r USING (run_id)
WHERE m.subgroup = 'all' AND m.name NOT IN ('n', 'seconds')
    AND (m.split = 'test' OR (m.split IN ('train', 'valid') AND m.epoch = r.best_epoch));
COMMENT ON VIEW run_metrics IS 'Every metric of a run for all users at its best epoch, one a row: of any name, so also those that run_results has no column for, and what a method measures of itself (train).';
