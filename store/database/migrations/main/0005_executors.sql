ALTER TABLE runs ADD COLUMN executor VARCHAR DEFAULT 'local';
ALTER TABLE runs ADD COLUMN handle VARCHAR;
COMMENT ON COLUMN runs.executor IS 'Who executed the latest start: local, or an executor of one''s own.';
COMMENT ON COLUMN runs.handle IS 'What the executor calls the latest start: PID@HOST of a local process, the number of a job; NULL where it is not known.';
COMMENT ON COLUMN runs.process_started IS 'Start of the process, seconds after the start of the machine, or Unix seconds where there is no /proc: tells it from a later one with the same PID.';
