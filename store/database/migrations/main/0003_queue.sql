CREATE TABLE queue (
    run_id VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    place INTEGER NOT NULL,
    slot VARCHAR,
    attempts INTEGER NOT NULL,
    added_at TIMESTAMP,
    changed_at TIMESTAMP
);
COMMENT ON TABLE queue IS 'The queue as it was at the latest publish; `sracl queue list` shows it as it is now.';
COMMENT ON COLUMN queue.run_id IS 'The run.';
COMMENT ON COLUMN queue.state IS 'working, waiting or done.';
COMMENT ON COLUMN queue.place IS 'Place in the list, from 1: those at work, those that wait in order, those that ended.';
COMMENT ON COLUMN queue.slot IS 'Worker that has it: the device and a number.';
COMMENT ON COLUMN queue.attempts IS 'Workers that took it: more than one where a worker died.';
COMMENT ON COLUMN queue.added_at IS 'When it was put into the queue, UTC.';
COMMENT ON COLUMN queue.changed_at IS 'When it came into this state, UTC.';

ALTER TABLE runs ADD COLUMN exit_code INTEGER;
ALTER TABLE runs ADD COLUMN signal VARCHAR;
ALTER TABLE runs ADD COLUMN process_started DOUBLE;
COMMENT ON COLUMN runs.exit_code IS 'Exit code of the process; NULL while it lives and where nobody saw it end.';
COMMENT ON COLUMN runs.signal IS 'Signal that ended the process, where somebody waited for it.';
COMMENT ON COLUMN runs.process_started IS 'Start of the process, seconds after the start of the machine: tells it from a later one with the same PID.';
