CREATE TABLE vectors (
    sha256 VARCHAR NOT NULL,
    encoder VARCHAR NOT NULL,
    dimension INTEGER NOT NULL,
    vector FLOAT[] NOT NULL
);
COMMENT ON TABLE vectors IS 'The vector of a text, in a file of its own (vectors.duckdb).';
COMMENT ON COLUMN vectors.sha256 IS 'Hash of the text, in UTF-8.';
COMMENT ON COLUMN vectors.encoder IS 'Text encoder.';
COMMENT ON COLUMN vectors.dimension IS 'Length of the vector.';
COMMENT ON COLUMN vectors.vector IS 'As the encoder gave it, not normalized.';
