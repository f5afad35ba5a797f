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
