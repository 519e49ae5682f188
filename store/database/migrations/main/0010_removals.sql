CREATE TABLE removed_runs (
    run_id VARCHAR NOT NULL,
    removed_at TIMESTAMP NOT NULL,
    emptied_at TIMESTAMP,
    kind VARCHAR,
    name VARCHAR,
    state VARCHAR,
    group_name VARCHAR,
    dataset_id VARCHAR,
    dataset_name VARCHAR,
    config_hash VARCHAR,
    seed INTEGER,
    budget DOUBLE
);
COMMENT ON TABLE removed_runs IS 'Runs that were removed: those in the trash, and those that were deleted for good. What they have spent stays in api_calls.';
COMMENT ON COLUMN removed_runs.run_id IS 'Id of the run.';
COMMENT ON COLUMN removed_runs.removed_at IS 'When it was removed, UTC.';
COMMENT ON COLUMN removed_runs.emptied_at IS 'When it was deleted for good, UTC; NULL while it can be restored.';
COMMENT ON COLUMN removed_runs.kind IS 'train, summarize, ...';
COMMENT ON COLUMN removed_runs.name IS 'Its name.';
COMMENT ON COLUMN removed_runs.state IS 'The state in which it was removed.';
COMMENT ON COLUMN removed_runs.group_name IS 'Group that it belonged to.';
COMMENT ON COLUMN removed_runs.dataset_id IS 'Dataset that was used.';
COMMENT ON COLUMN removed_runs.dataset_name IS 'Its name at that time.';
COMMENT ON COLUMN removed_runs.config_hash IS 'Hash of the settings without seed, device, threads and budget.';
COMMENT ON COLUMN removed_runs.seed IS 'Seed of the training.';
COMMENT ON COLUMN removed_runs.budget IS 'Cap on what its calls might cost, US dollars; NULL without one.';

CREATE TABLE removed_rows (
    run_id VARCHAR NOT NULL,
    table_name VARCHAR NOT NULL,
    row_count BIGINT NOT NULL,
    content BLOB NOT NULL
);
COMMENT ON TABLE removed_rows IS 'The rows of runs in the trash, by the table that they return to when the run is restored.';
COMMENT ON COLUMN removed_rows.run_id IS 'The run.';
COMMENT ON COLUMN removed_rows.table_name IS 'runs, metrics, user_ranks, synthesizer_weights or run_warnings.';
COMMENT ON COLUMN removed_rows.row_count IS 'Number of rows.';
COMMENT ON COLUMN removed_rows.content IS 'The rows as an Arrow stream (zstd).';
