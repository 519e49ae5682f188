ALTER TABLE api_calls ADD COLUMN usd_reserved DOUBLE;
ALTER TABLE api_calls ADD COLUMN batch VARCHAR;
COMMENT ON COLUMN api_calls.usd_reserved IS 'What an attempt of unknown cost may have cost at most, US dollars: it counts against the cap; NULL where usd is known.';
COMMENT ON COLUMN api_calls.batch IS 'The batch that the request was part of; NULL for a call of its own.';
COMMENT ON COLUMN api_calls.run_id IS 'Run that sent it; `llm test` and `search` (the query of one) are no runs.';
COMMENT ON COLUMN api_calls.latency_seconds IS 'Seconds from sending to the whole answer; NULL for a request of a batch.';
