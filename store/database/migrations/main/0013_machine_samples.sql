CREATE TABLE machine_samples (
    run_id VARCHAR NOT NULL,
    segment INTEGER NOT NULL,
    seconds DOUBLE NOT NULL,
    sampled_at TIMESTAMP NOT NULL,
    cores DOUBLE,
    machine_cores DOUBLE,
    memory_bytes BIGINT,
    machine_memory_bytes BIGINT,
    gpu_memory_bytes BIGINT,
    machine_gpu_memory_bytes BIGINT,
    machine_gpu_percent DOUBLE
);
COMMENT ON TABLE machine_samples IS 'What a run used of its machine, from the sample before to each sample. NULL where the system does not tell; runs of versions before have no rows.';
COMMENT ON COLUMN machine_samples.run_id IS 'The run.';
COMMENT ON COLUMN machine_samples.segment IS 'Which start of the run, from 1.';
COMMENT ON COLUMN machine_samples.seconds IS 'Seconds since that start.';
COMMENT ON COLUMN machine_samples.sampled_at IS 'When, UTC.';
COMMENT ON COLUMN machine_samples.cores IS 'Processor cores that the run and its child processes kept busy, on average: 1.5 is one and a half.';
COMMENT ON COLUMN machine_samples.machine_cores IS 'Cores of the machine that anything kept busy, on average.';
COMMENT ON COLUMN machine_samples.memory_bytes IS 'Most resident memory of the run and its child processes, bytes; without /proc (macOS) the peak so far.';
COMMENT ON COLUMN machine_samples.machine_memory_bytes IS 'Most memory of the machine that was not available for other programs, bytes.';
COMMENT ON COLUMN machine_samples.gpu_memory_bytes IS 'Most memory of the GPU that torch held for the run, bytes.';
COMMENT ON COLUMN machine_samples.machine_gpu_memory_bytes IS 'Most memory of that GPU in use by anything, bytes.';
COMMENT ON COLUMN machine_samples.machine_gpu_percent IS 'Part of the time in which that GPU computed, percent, 0 to 100.';
COMMENT ON COLUMN removed_rows.table_name IS 'runs, metrics, user_ranks, synthesizer_weights, run_warnings or machine_samples.';
