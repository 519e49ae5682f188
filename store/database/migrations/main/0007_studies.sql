CREATE TABLE study_claims (
    study VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    claim VARCHAR NOT NULL,
    sentence VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    seeds INTEGER NOT NULL,
    declared_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE study_claims IS 'Claims of studies as they were declared, a row for each declaration of a claim on a data set; the first one counts.';
COMMENT ON COLUMN study_claims.study IS 'Name of the study.';
COMMENT ON COLUMN study_claims.dataset IS 'Name of the data set.';
COMMENT ON COLUMN study_claims.claim IS 'Name of the claim in the study''s file.';
COMMENT ON COLUMN study_claims.sentence IS 'What is claimed.';
COMMENT ON COLUMN study_claims.fingerprint IS 'Hash of all that decides the claim: its fields, the settings of its variants, the rule of seeds. Another one means that the claim was changed.';
COMMENT ON COLUMN study_claims.sha256 IS 'SHA-256 of the study''s file.';
COMMENT ON COLUMN study_claims.seeds IS 'Finished runs of the claim''s variants that existed then: 0 where it was declared before its first run.';
COMMENT ON COLUMN study_claims.declared_at IS 'When, UTC.';

CREATE TABLE study_files (
    sha256 VARCHAR NOT NULL,
    study VARCHAR NOT NULL,
    text VARCHAR NOT NULL,
    declared_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE study_files IS 'Files of studies as they were declared.';
COMMENT ON COLUMN study_files.sha256 IS 'SHA-256 of the file.';
COMMENT ON COLUMN study_files.study IS 'Name of the study.';
COMMENT ON COLUMN study_files.text IS 'The file.';
COMMENT ON COLUMN study_files.declared_at IS 'When it was declared first, UTC.';

CREATE TABLE study_verdicts (
    study VARCHAR NOT NULL,
    dataset VARCHAR NOT NULL,
    claim VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    judged_at TIMESTAMP NOT NULL,
    verdict VARCHAR NOT NULL,
    metric VARCHAR,
    subgroup VARCHAR,
    difference DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    p_value DOUBLE,
    p_holm DOUBLE,
    margin DOUBLE,
    users INTEGER,
    runs VARCHAR[],
    runs_against VARCHAR[],
    note VARCHAR
);
COMMENT ON TABLE study_verdicts IS 'Verdicts on the claims of studies, a row each time that a claim was judged.';
COMMENT ON COLUMN study_verdicts.study IS 'Name of the study.';
COMMENT ON COLUMN study_verdicts.dataset IS 'Name of the data set.';
COMMENT ON COLUMN study_verdicts.claim IS 'Name of the claim in the study''s file.';
COMMENT ON COLUMN study_verdicts.fingerprint IS 'Hash of all that decides the claim, when it was judged.';
COMMENT ON COLUMN study_verdicts.sha256 IS 'SHA-256 of the study''s file, when it was judged.';
COMMENT ON COLUMN study_verdicts.judged_at IS 'When, UTC.';
COMMENT ON COLUMN study_verdicts.verdict IS 'supported, contradicted (both maybe with , but negligible), equivalent, undecided, not run.';
COMMENT ON COLUMN study_verdicts.metric IS 'What was compared.';
COMMENT ON COLUMN study_verdicts.subgroup IS 'Users that were compared; NULL where the metric has no value for each user.';
COMMENT ON COLUMN study_verdicts.difference IS 'Mean of the variant minus that of the one that it is compared with, or minus a value.';
COMMENT ON COLUMN study_verdicts.ci_low IS 'Lower end of the interval that the verdict rests on.';
COMMENT ON COLUMN study_verdicts.ci_high IS 'Upper end of the interval that the verdict rests on.';
COMMENT ON COLUMN study_verdicts.p_value IS 'Two-sided p-value of no difference, not corrected.';
COMMENT ON COLUMN study_verdicts.p_holm IS 'The same, corrected over the claims of the study on its primary metric; NULL for other metrics.';
COMMENT ON COLUMN study_verdicts.margin IS 'Differences up to this count as negligible, in units of the metric.';
COMMENT ON COLUMN study_verdicts.users IS 'Number of users; NULL where the metric has no value for each user.';
COMMENT ON COLUMN study_verdicts.runs IS 'Runs of the variant that the claim is about, one per seed.';
COMMENT ON COLUMN study_verdicts.runs_against IS 'Runs of the variant that it is compared with, one per seed.';
COMMENT ON COLUMN study_verdicts.note IS 'What else is to be known of the verdict.';
