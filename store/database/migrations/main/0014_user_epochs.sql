CREATE TABLE user_epochs (
    run_id VARCHAR NOT NULL,
    epoch INTEGER NOT NULL,
    step INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    weights FLOAT[],
    x FLOAT,
    y FLOAT
);
COMMENT ON TABLE user_epochs IS 'Some users of a run over its epochs: before training, at growing distances, and the best and last epoch (settings record.*). Runs of versions before have no rows.';
COMMENT ON COLUMN user_epochs.run_id IS 'The run.';
COMMENT ON COLUMN user_epochs.epoch IS 'Epoch of the weights; 0 is before training.';
COMMENT ON COLUMN user_epochs.step IS 'Training steps done when they were read.';
COMMENT ON COLUMN user_epochs.user_id IS 'The user.';
COMMENT ON COLUMN user_epochs.rank IS 'Rank of the validation target among all items; 1 is the best.';
COMMENT ON COLUMN user_epochs.weights IS 'Weights of the neighbors of the longest training prefix, by their rank in the list, 0 where there is none; NULL where the method weighs no neighbors.';
COMMENT ON COLUMN user_epochs.x IS 'Place of the vector h of the longest training prefix along the first principal direction of the recorded users at this epoch; NULL without such a prefix. Each epoch has directions of its own.';
COMMENT ON COLUMN user_epochs.y IS 'The same along the second principal direction.';
COMMENT ON COLUMN removed_rows.table_name IS 'runs, metrics, user_ranks, synthesizer_weights, run_warnings, machine_samples or user_epochs.';
