CREATE TABLE datasets (
    dataset_id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL UNIQUE,
    source VARCHAR,
    format VARCHAR,
    sha256 VARCHAR NOT NULL,
    users INTEGER NOT NULL,
    items INTEGER NOT NULL,
    interactions INTEGER NOT NULL,
    train_prefixes INTEGER NOT NULL,
    tied_users INTEGER NOT NULL,
    items_with_text INTEGER NOT NULL,
    first_ts TIMESTAMP,
    last_ts TIMESTAMP,
    synthetic BOOLEAN NOT NULL,
    options JSON NOT NULL,
    rows_read BIGINT,
    dropped JSON NOT NULL,
    warnings JSON NOT NULL,
    imported_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE datasets IS 'An imported dataset: what it is, where it came from, what was dropped and why.';
COMMENT ON COLUMN datasets.dataset_id IS 'First 16 hex digits of sha256; names this very content in every table.';
COMMENT ON COLUMN datasets.name IS 'The name that a person gave it.';
COMMENT ON COLUMN datasets.source IS 'File or folder that was read.';
COMMENT ON COLUMN datasets.format IS 'Reader that read it.';
COMMENT ON COLUMN datasets.sha256 IS 'Hash of ids, texts, sequences and times.';
COMMENT ON COLUMN datasets.users IS 'Number of users.';
COMMENT ON COLUMN datasets.items IS 'Number of items.';
COMMENT ON COLUMN datasets.interactions IS 'Number of interactions.';
COMMENT ON COLUMN datasets.train_prefixes IS 'Number of training prefixes (samples of an epoch).';
COMMENT ON COLUMN datasets.tied_users IS 'Users whose validation and test interaction share a timestamp.';
COMMENT ON COLUMN datasets.items_with_text IS 'Items that have any text.';
COMMENT ON COLUMN datasets.first_ts IS 'Earliest interaction, UTC.';
COMMENT ON COLUMN datasets.last_ts IS 'Latest interaction, UTC.';
COMMENT ON COLUMN datasets.synthetic IS 'True for data that no person made, such as the demo set.';
COMMENT ON COLUMN datasets.options IS 'Filters, duplicate handling and tie order of the import.';
COMMENT ON COLUMN datasets.rows_read IS 'Interactions in the source, before anything was dropped.';
COMMENT ON COLUMN datasets.dropped IS 'Number of rows dropped, by reason.';
COMMENT ON COLUMN datasets.warnings IS 'What the import warned of.';
COMMENT ON COLUMN datasets.imported_at IS 'Time of the import, UTC.';

CREATE TABLE users (
    dataset_id VARCHAR NOT NULL,
    user_id INTEGER NOT NULL,
    raw_id VARCHAR NOT NULL,
    tied BOOLEAN NOT NULL
);
COMMENT ON TABLE users IS 'A user of a dataset.';
COMMENT ON COLUMN users.dataset_id IS 'The dataset.';
COMMENT ON COLUMN users.user_id IS 'Number of the user, from 1.';
COMMENT ON COLUMN users.raw_id IS 'The source''s own id.';
COMMENT ON COLUMN users.tied IS 'Validation and test interaction share a timestamp.';

CREATE TABLE items (
    dataset_id VARCHAR NOT NULL,
    item_id INTEGER NOT NULL,
    raw_id VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    attributes JSON NOT NULL
);
COMMENT ON TABLE items IS 'An item of a dataset.';
COMMENT ON COLUMN items.dataset_id IS 'The dataset.';
COMMENT ON COLUMN items.item_id IS 'Number of the item, from 1; 0 is padding everywhere.';
COMMENT ON COLUMN items.raw_id IS 'The source''s own id.';
COMMENT ON COLUMN items.title IS 'One readable line; empty where the source has none.';
COMMENT ON COLUMN items.text IS 'All that is known of the item as one text.';
COMMENT ON COLUMN items.attributes IS 'Further text by field name, each a list of values.';

CREATE TABLE interactions (
    dataset_id VARCHAR NOT NULL,
    user_id INTEGER NOT NULL,
    item_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    ts TIMESTAMP
);
COMMENT ON TABLE interactions IS 'One user with one item, in the order of time.';
COMMENT ON COLUMN interactions.dataset_id IS 'The dataset.';
COMMENT ON COLUMN interactions.user_id IS 'The user.';
COMMENT ON COLUMN interactions.item_id IS 'The item.';
COMMENT ON COLUMN interactions.position IS 'Place in the user''s sequence, from 1.';
COMMENT ON COLUMN interactions.ts IS 'When, UTC; NULL where the source has no times.';

CREATE TABLE anchors (
    dataset_id VARCHAR NOT NULL,
    anchor_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    length INTEGER NOT NULL,
    item_id INTEGER NOT NULL,
    role VARCHAR NOT NULL,
    represents BOOLEAN NOT NULL
);
COMMENT ON TABLE anchors IS 'A prefix of a user''s sequence and the target that follows it.';
COMMENT ON COLUMN anchors.dataset_id IS 'The dataset.';
COMMENT ON COLUMN anchors.anchor_id IS 'Number of the anchor, from 1, by user and position.';
COMMENT ON COLUMN anchors.user_id IS 'The user.';
COMMENT ON COLUMN anchors.position IS 'Position of the prefix''s last item.';
COMMENT ON COLUMN anchors.length IS 'Items in the prefix, before the window cuts it.';
COMMENT ON COLUMN anchors.item_id IS 'The target: the item that follows.';
COMMENT ON COLUMN anchors.role IS 'train, valid (input of the validation target) or test.';
COMMENT ON COLUMN anchors.represents IS 'The longest training prefix of its user: it stands for the user.';

CREATE TABLE prompts (
    version VARCHAR PRIMARY KEY,
    template VARCHAR NOT NULL
);
COMMENT ON TABLE prompts IS 'A version of a prompt; a filled-in prompt is rendered again on demand.';
COMMENT ON COLUMN prompts.version IS 'Name of the version.';
COMMENT ON COLUMN prompts.template IS 'The text with its placeholders.';

CREATE TABLE summary_sets (
    set_id VARCHAR PRIMARY KEY,
    dataset_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    provider VARCHAR NOT NULL,
    model VARCHAR,
    prompt_version VARCHAR NOT NULL,
    unit VARCHAR NOT NULL,
    parameters JSON NOT NULL,
    run_id VARCHAR,
    created_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE summary_sets IS 'Summaries that belong together: one dataset, kind, provider and prompt.';
COMMENT ON COLUMN summary_sets.set_id IS 'Hash of all that the set depends on.';
COMMENT ON COLUMN summary_sets.dataset_id IS 'The dataset.';
COMMENT ON COLUMN summary_sets.kind IS 'user or item.';
COMMENT ON COLUMN summary_sets.provider IS 'Who wrote them: offline (rules), titles (raw text) or a named endpoint.';
COMMENT ON COLUMN summary_sets.model IS 'Model of the endpoint; NULL for the offline providers.';
COMMENT ON COLUMN summary_sets.prompt_version IS 'Version of the prompt or of the rules.';
COMMENT ON COLUMN summary_sets.unit IS 'What a summary is of: prefix, user or item. A user''s summary contains later training targets of that user.';
COMMENT ON COLUMN summary_sets.parameters IS 'Parameters of the provider.';
COMMENT ON COLUMN summary_sets.run_id IS 'Run that made the set first.';
COMMENT ON COLUMN summary_sets.created_at IS 'When, UTC.';

CREATE TABLE summaries (
    key VARCHAR PRIMARY KEY,
    text VARCHAR NOT NULL,
    tokens_in INTEGER,
    tokens_out INTEGER,
    tokens_cached INTEGER,
    usd DOUBLE,
    finish_reason VARCHAR,
    fallback BOOLEAN NOT NULL,
    run_id VARCHAR,
    created_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE summaries IS 'A summary, keyed by all that the answer depends on.';
COMMENT ON COLUMN summaries.key IS 'Hash of the canonical request.';
COMMENT ON COLUMN summaries.text IS 'The answer.';
COMMENT ON COLUMN summaries.tokens_in IS 'Tokens of the prompt; 0 without a model.';
COMMENT ON COLUMN summaries.tokens_out IS 'Tokens of the answer; 0 without a model.';
COMMENT ON COLUMN summaries.tokens_cached IS 'Tokens of the prompt that the endpoint had cached.';
COMMENT ON COLUMN summaries.usd IS 'US dollars paid; NULL where the price is unknown.';
COMMENT ON COLUMN summaries.finish_reason IS 'Why the answer ended, in the endpoint''s words.';
COMMENT ON COLUMN summaries.fallback IS 'True when the offline provider stands in for a model that failed.';
COMMENT ON COLUMN summaries.run_id IS 'Run that asked first.';
COMMENT ON COLUMN summaries.created_at IS 'When, UTC.';

CREATE TABLE summary_links (
    set_id VARCHAR NOT NULL,
    owner_id INTEGER NOT NULL,
    key VARCHAR NOT NULL
);
COMMENT ON TABLE summary_links IS 'Which summary an anchor or item has in a set; identical requests share one.';
COMMENT ON COLUMN summary_links.set_id IS 'The summary set.';
COMMENT ON COLUMN summary_links.owner_id IS 'anchor_id (kind user) or item_id (kind item).';
COMMENT ON COLUMN summary_links.key IS 'The summary.';

CREATE TABLE api_calls (
    run_id VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    sent_at TIMESTAMP NOT NULL,
    provider VARCHAR NOT NULL,
    model VARCHAR,
    status INTEGER,
    error VARCHAR,
    latency_seconds DOUBLE,
    tokens_in INTEGER,
    tokens_out INTEGER,
    tokens_cached INTEGER,
    usd_per_million_in DOUBLE,
    usd_per_million_out DOUBLE,
    usd_per_million_cached DOUBLE,
    usd DOUBLE
);
COMMENT ON TABLE api_calls IS 'One HTTP attempt, failed ones too.';
COMMENT ON COLUMN api_calls.run_id IS 'Run that made it.';
COMMENT ON COLUMN api_calls.key IS 'The summary that was asked for.';
COMMENT ON COLUMN api_calls.attempt IS 'Number of the attempt, from 1.';
COMMENT ON COLUMN api_calls.sent_at IS 'When it was sent, UTC.';
COMMENT ON COLUMN api_calls.provider IS 'Named endpoint.';
COMMENT ON COLUMN api_calls.model IS 'Model that was asked.';
COMMENT ON COLUMN api_calls.status IS 'HTTP status; NULL when no answer came.';
COMMENT ON COLUMN api_calls.error IS 'What went wrong; NULL for a good answer.';
COMMENT ON COLUMN api_calls.latency_seconds IS 'Seconds from sending to the whole answer.';
COMMENT ON COLUMN api_calls.tokens_in IS 'Tokens of the prompt, as reported.';
COMMENT ON COLUMN api_calls.tokens_out IS 'Tokens of the answer, as reported.';
COMMENT ON COLUMN api_calls.tokens_cached IS 'Cached tokens of the prompt, as reported.';
COMMENT ON COLUMN api_calls.usd_per_million_in IS 'Price used, US dollars per million tokens.';
COMMENT ON COLUMN api_calls.usd_per_million_out IS 'Price used, US dollars per million tokens.';
COMMENT ON COLUMN api_calls.usd_per_million_cached IS 'Price used, US dollars per million tokens.';
COMMENT ON COLUMN api_calls.usd IS 'US dollars; NULL where the price is unknown.';

CREATE TABLE neighbor_lists (
    list_id VARCHAR PRIMARY KEY,
    dataset_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    parameters JSON NOT NULL,
    recall DOUBLE,
    run_id VARCHAR,
    created_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE neighbor_lists IS 'The result of one retrieval.';
COMMENT ON COLUMN neighbor_lists.list_id IS 'Hash of all that the list depends on.';
COMMENT ON COLUMN neighbor_lists.dataset_id IS 'The dataset.';
COMMENT ON COLUMN neighbor_lists.kind IS 'user or item.';
COMMENT ON COLUMN neighbor_lists.parameters IS 'Pool, k, similarity, backend, encoder, summary set.';
COMMENT ON COLUMN neighbor_lists.recall IS 'Measured share of the true neighbors found; NULL for exact search.';
COMMENT ON COLUMN neighbor_lists.run_id IS 'Run that made the list first.';
COMMENT ON COLUMN neighbor_lists.created_at IS 'When, UTC.';

CREATE TABLE neighbors (
    list_id VARCHAR NOT NULL,
    anchor_id INTEGER NOT NULL,
    rank SMALLINT NOT NULL,
    neighbor_id INTEGER NOT NULL,
    similarity FLOAT NOT NULL
);
COMMENT ON TABLE neighbors IS 'A retrieved neighbor of an anchor, or a substitute of an item.';
COMMENT ON COLUMN neighbors.list_id IS 'The list.';
COMMENT ON COLUMN neighbors.anchor_id IS 'The anchor (kind user) or item (kind item) that was asked for.';
COMMENT ON COLUMN neighbors.rank IS 'Place by similarity, from 1.';
COMMENT ON COLUMN neighbors.neighbor_id IS 'The anchor or item that was found.';
COMMENT ON COLUMN neighbors.similarity IS 'Cosine or dot product of the two semantic vectors.';

CREATE TABLE runs (
    run_id VARCHAR PRIMARY KEY,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    preset VARCHAR,
    group_name VARCHAR,
    tags VARCHAR[] NOT NULL,
    note VARCHAR NOT NULL,
    config JSON NOT NULL,
    config_hash VARCHAR NOT NULL,
    seed INTEGER NOT NULL,
    dataset_id VARCHAR,
    dataset_name VARCHAR,
    dataset_sha256 VARCHAR,
    user_set_id VARCHAR,
    item_set_id VARCHAR,
    user_list_id VARCHAR,
    item_list_id VARCHAR,
    state VARCHAR NOT NULL,
    reason VARCHAR,
    created_at TIMESTAMP NOT NULL,
    started_at TIMESTAMP,
    heartbeat_at TIMESTAMP,
    ended_at TIMESTAMP,
    segments INTEGER NOT NULL,
    pid INTEGER,
    host VARCHAR,
    boot_id VARCHAR,
    machine VARCHAR,
    device VARCHAR,
    threads INTEGER,
    code_version VARCHAR,
    git_sha VARCHAR,
    git_patch VARCHAR,
    packages JSON,
    epoch INTEGER NOT NULL,
    best_epoch INTEGER,
    timings JSON,
    peak_memory_bytes BIGINT
);
COMMENT ON TABLE runs IS 'A job: its settings, its process, how it went.';
COMMENT ON COLUMN runs.run_id IS 'Id of the run and name of its folder.';
COMMENT ON COLUMN runs.kind IS 'train, summarize, ...';
COMMENT ON COLUMN runs.name IS 'A name for people; the id where none was given.';
COMMENT ON COLUMN runs.preset IS 'Preset that the settings started from.';
COMMENT ON COLUMN runs.group_name IS 'Group that the run belongs to.';
COMMENT ON COLUMN runs.tags IS 'Tags, in order of the alphabet.';
COMMENT ON COLUMN runs.note IS 'A person''s note.';
COMMENT ON COLUMN runs.config IS 'All settings as a tree.';
COMMENT ON COLUMN runs.config_hash IS 'Hash of the settings without seed, device, threads and budget.';
COMMENT ON COLUMN runs.seed IS 'Seed of the training.';
COMMENT ON COLUMN runs.dataset_id IS 'Dataset that was used.';
COMMENT ON COLUMN runs.dataset_name IS 'Its name at that time.';
COMMENT ON COLUMN runs.dataset_sha256 IS 'Its hash at that time.';
COMMENT ON COLUMN runs.user_set_id IS 'Summary set of the users; NULL without the inter-user contrast.';
COMMENT ON COLUMN runs.item_set_id IS 'Summary set of the items.';
COMMENT ON COLUMN runs.user_list_id IS 'Neighbor list of the users.';
COMMENT ON COLUMN runs.item_list_id IS 'Neighbor list of the items.';
COMMENT ON COLUMN runs.state IS 'queued, running, stopping, finished, failed, stopped, killed or lost.';
COMMENT ON COLUMN runs.reason IS 'Why it is in that state, in a sentence; NULL when finished.';
COMMENT ON COLUMN runs.created_at IS 'When it was asked for, UTC.';
COMMENT ON COLUMN runs.started_at IS 'Latest start, UTC.';
COMMENT ON COLUMN runs.heartbeat_at IS 'Latest sign of life, UTC: every 10 seconds while its process lives.';
COMMENT ON COLUMN runs.ended_at IS 'End, UTC; NULL while it lives.';
COMMENT ON COLUMN runs.segments IS 'Number of starts.';
COMMENT ON COLUMN runs.pid IS 'Process of the latest start.';
COMMENT ON COLUMN runs.host IS 'Machine of the latest start.';
COMMENT ON COLUMN runs.boot_id IS 'Which start of that machine.';
COMMENT ON COLUMN runs.machine IS 'System, processor, cores and memory.';
COMMENT ON COLUMN runs.device IS 'cpu or cuda.';
COMMENT ON COLUMN runs.threads IS 'CPU threads of the training.';
COMMENT ON COLUMN runs.code_version IS 'Version of this program.';
COMMENT ON COLUMN runs.git_sha IS 'Commit, when run from a checkout.';
COMMENT ON COLUMN runs.git_patch IS 'Uncommitted changes of that checkout.';
COMMENT ON COLUMN runs.packages IS 'Versions of the packages that can change a result.';
COMMENT ON COLUMN runs.epoch IS 'Epochs finished.';
COMMENT ON COLUMN runs.best_epoch IS 'Epoch with the best validation score.';
COMMENT ON COLUMN runs.timings IS 'Seconds per stage: import, summaries, vectors, neighbors, train, evaluate, total.';
COMMENT ON COLUMN runs.peak_memory_bytes IS 'Most memory that the process held, bytes.';

CREATE TABLE metrics (
    run_id VARCHAR NOT NULL,
    epoch INTEGER NOT NULL,
    step INTEGER NOT NULL,
    split VARCHAR NOT NULL,
    subgroup VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    value DOUBLE,
    wall_time TIMESTAMP NOT NULL
);
COMMENT ON TABLE metrics IS 'One measured number.';
COMMENT ON COLUMN metrics.run_id IS 'The run.';
COMMENT ON COLUMN metrics.epoch IS 'Epoch, from 1; for final results the epoch whose weights were used.';
COMMENT ON COLUMN metrics.step IS 'Training steps done over all epochs.';
COMMENT ON COLUMN metrics.split IS 'train (mean losses of an epoch), valid (after each epoch; subgroups at the best one), test (best weights, once), leaks (of a run of kind leaks), analysis (vectors and weights at the best epoch).';
COMMENT ON COLUMN metrics.subgroup IS 'all; tied, untied users; short (up to 5), medium, long (over 10) histories; head, tail targets; on leaks the pool; on analysis h, h_plus (vectors of the anchors that represent users, and their synthesized samples) and weights.';
COMMENT ON COLUMN metrics.name IS 'loss, loss_rec, loss_cs, loss_is, seconds (of training; of evaluation on valid), hr@10, ndcg@10, mrr@10, n (users), ...; on analysis uniformity, effective_rank, mean_cosine of vectors; spearman (of similarity and weight), entropy (of weights, 1 for equal ones), movement (total variation distance from initial to best weights).';
COMMENT ON COLUMN metrics.value IS 'In full precision.';
COMMENT ON COLUMN metrics.wall_time IS 'When it was measured, UTC.';

CREATE TABLE user_ranks (
    run_id VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    user_id INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    step INTEGER NOT NULL
);
COMMENT ON TABLE user_ranks IS 'Rank of a user''s target among all items, with the best weights.';
COMMENT ON COLUMN user_ranks.run_id IS 'The run.';
COMMENT ON COLUMN user_ranks.split IS 'valid or test.';
COMMENT ON COLUMN user_ranks.user_id IS 'The user.';
COMMENT ON COLUMN user_ranks.rank IS 'From 1; ties count as the run''s evaluate.ties says.';
COMMENT ON COLUMN user_ranks.step IS 'Training steps done when it was measured.';

CREATE TABLE synthesizer_weights (
    run_id VARCHAR NOT NULL,
    phase VARCHAR NOT NULL,
    epoch INTEGER NOT NULL,
    step INTEGER NOT NULL,
    anchor_id INTEGER NOT NULL,
    neighbor_id INTEGER NOT NULL,
    weight FLOAT NOT NULL
);
COMMENT ON TABLE synthesizer_weights IS 'Learned weight of a neighbor, for the anchors that represent users.';
COMMENT ON COLUMN synthesizer_weights.run_id IS 'The run.';
COMMENT ON COLUMN synthesizer_weights.phase IS 'initial, best or last.';
COMMENT ON COLUMN synthesizer_weights.epoch IS 'Epoch of the weights; 0 is before training.';
COMMENT ON COLUMN synthesizer_weights.step IS 'Training steps done when they were read.';
COMMENT ON COLUMN synthesizer_weights.anchor_id IS 'The anchor.';
COMMENT ON COLUMN synthesizer_weights.neighbor_id IS 'The neighbor''s anchor.';
COMMENT ON COLUMN synthesizer_weights.weight IS 'p_j of the synthesizer, without dropout; sums to 1 per anchor.';

CREATE TABLE journal_offsets (
    source VARCHAR NOT NULL,
    segment INTEGER NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (source, segment)
);
COMMENT ON TABLE journal_offsets IS 'How far each journal has been taken in.';
COMMENT ON COLUMN journal_offsets.source IS 'A run_id, or `edits` for what people change.';
COMMENT ON COLUMN journal_offsets.segment IS 'Number of the journal''s segment.';
COMMENT ON COLUMN journal_offsets.position IS 'Bytes taken in.';
