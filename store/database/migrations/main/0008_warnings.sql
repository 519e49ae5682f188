CREATE TABLE run_warnings (
    run_id VARCHAR NOT NULL,
    warned_at TIMESTAMP NOT NULL,
    message VARCHAR NOT NULL
);
COMMENT ON TABLE run_warnings IS 'What a run warned of, each message once: also where a resumed run repeats it. Runs that were published by a version before have no rows.';
COMMENT ON COLUMN run_warnings.run_id IS 'Run.';
COMMENT ON COLUMN run_warnings.warned_at IS 'When first, UTC.';
COMMENT ON COLUMN run_warnings.message IS 'The warning.';
