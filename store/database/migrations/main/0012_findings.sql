CREATE TABLE findings (
    finding_id VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    edited_at TIMESTAMP,
    removed_at TIMESTAMP,
    screen VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    run_ids VARCHAR[] NOT NULL,
    user_id INTEGER,
    item_id INTEGER,
    command VARCHAR NOT NULL,
    note VARCHAR NOT NULL,
    content VARCHAR NOT NULL,
    place JSON
);
COMMENT ON TABLE findings IS 'Findings: what was on a screen when a person pinned it, with a note.';
COMMENT ON COLUMN findings.finding_id IS 'Id of the finding.';
COMMENT ON COLUMN findings.created_at IS 'When it was pinned, UTC.';
COMMENT ON COLUMN findings.edited_at IS 'When its note was changed last, UTC; NULL for the first note.';
COMMENT ON COLUMN findings.removed_at IS 'When it was removed, UTC; NULL while it is listed.';
COMMENT ON COLUMN findings.screen IS 'Name of the screen, such as inspector; empty for a finding without one.';
COMMENT ON COLUMN findings.title IS 'Title of the screen.';
COMMENT ON COLUMN findings.run_ids IS 'Runs that were shown; empty for a screen without runs.';
COMMENT ON COLUMN findings.user_id IS 'User that was shown, of the data set of the first run; NULL without one.';
COMMENT ON COLUMN findings.item_id IS 'Item that was shown, of the data set of the first run; NULL without one.';
COMMENT ON COLUMN findings.command IS 'Command that shows the same in a shell; empty where there is none.';
COMMENT ON COLUMN findings.note IS 'The note.';
COMMENT ON COLUMN findings.content IS 'What was shown, as text: at most 40,000 letters.';
COMMENT ON COLUMN findings.place IS 'What else it takes to open the screen at the same place, such as a split or a query.';
