-- Redis may forget an end that was published: it came back from an older dump, or a replica
-- that lagged was promoted. The run is live there again, and nobody would end it. Who sees
-- such a run asks here; its end is published once more, from the record.

-- How many of these runs have ended, and were said to be published long enough ago that
-- whoever still finds them live in Redis cannot have looked before.
CREATE FUNCTION ends_forgotten(p_runs uuid[]) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_run uuid;
    v_n bigint := 0;
BEGIN
    FOR v_run IN UPDATE runs SET end_published_at = NULL
        WHERE id = ANY (p_runs) AND end_published_at < clock_timestamp() - interval '5 seconds'
        RETURNING id
    LOOP
        PERFORM pg_notify('run_control', v_run::text);
        v_n := v_n + 1;
    END LOOP;
    RETURN v_n;
END $$;

-- Which Redis there were: one that takes over may lack the newest ends of the one before.
CREATE TABLE redis_seen (
    run_id text PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- A worker has connected to this Redis. While it is new, the ends that were published
-- shortly before it was first seen are published once more: where it has them nothing
-- happens, and who resumes at a position before them gets what was lost between.
CREATE FUNCTION recall_ends(p_redis text, p_window_s bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_seen timestamptz;
    v_n bigint;
BEGIN
    INSERT INTO redis_seen (run_id) VALUES (p_redis) ON CONFLICT DO NOTHING;
    SELECT seen_at INTO v_seen FROM redis_seen WHERE run_id = p_redis;
    IF v_seen < clock_timestamp() - interval '1 minute'
        OR NOT EXISTS (SELECT FROM redis_seen WHERE run_id <> p_redis) THEN
        RETURN 0;
    END IF;
    DELETE FROM redis_seen WHERE seen_at < v_seen - interval '30 days';
    UPDATE runs SET end_published_at = NULL
        WHERE ended_at > v_seen - p_window_s * interval '1 second'
          AND end_published_at <= v_seen;
    GET DIAGNOSTICS v_n = ROW_COUNT;
    RETURN v_n;
END $$;
