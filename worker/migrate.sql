-- Made for the length of a session. One migration in one statement and one transaction.
-- Answers: applied | was there | other (its text is not the one that was applied) | or, when
-- a lock could not be had in time, who holds one.
CREATE OR REPLACE FUNCTION pg_temp.migrate(p_schema text, p_name text, p_sum text,
                                           p_from int, p_sql text, p_lock_ms text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_sum text;
BEGIN
    PERFORM set_config('lock_timeout', p_lock_ms, true);
    PERFORM pg_advisory_xact_lock(x'7468726561646361'::bigint); -- "threadca"
    IF to_regnamespace(quote_ident(p_schema)) IS NULL THEN
        EXECUTE format('CREATE SCHEMA %I', p_schema);
    END IF;
    PERFORM set_config('search_path', quote_ident(p_schema), true);
    IF to_regclass(format('%I.migrations', p_schema)) IS NULL THEN
        CREATE TABLE migrations (name text PRIMARY KEY, checksum text NOT NULL,
                                 applied_at timestamptz NOT NULL DEFAULT now());
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attname = 'compatible_from'
                   AND attrelid = to_regclass(format('%I.migrations', p_schema))) THEN
        ALTER TABLE migrations ADD COLUMN compatible_from int NOT NULL DEFAULT 1;
    END IF;
    EXECUTE 'SELECT checksum FROM migrations WHERE name = $1' INTO v_sum USING p_name;
    IF v_sum IS NOT NULL THEN
        RETURN CASE v_sum WHEN p_sum THEN 'was there' ELSE 'other' END;
    END IF;
    EXECUTE p_sql;
    EXECUTE 'INSERT INTO migrations (name, checksum, compatible_from) VALUES ($1, $2, $3)'
        USING p_name, p_sum, p_from;
    RETURN 'applied';
EXCEPTION WHEN lock_not_available THEN
    -- what this try had done is undone
    RETURN pg_temp.who_holds_it(p_schema);
END $$;

-- The rights, in the same way. Answers: granted | who holds a lock.
CREATE OR REPLACE FUNCTION pg_temp.migrate_grants(p_schema text, p_list text,
                                                  p_lock_ms text)
RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', p_lock_ms, true);
    EXECUTE format('SELECT %I.grant_parts($1)', p_schema) USING p_list;
    RETURN 'granted';
EXCEPTION WHEN lock_not_available THEN
    RETURN pg_temp.who_holds_it(p_schema);
END $$;

-- Who was in the way may have gone by now.
CREATE OR REPLACE FUNCTION pg_temp.who_holds_it(p_schema text)
RETURNS text LANGUAGE sql AS $$
    SELECT coalesce('locked by ' || string_agg(DISTINCT
               format('%s (pid %s, %s)', coalesce(nullif(a.application_name, ''), 'somebody'),
                      a.pid, a.usename), ', '), 'locked')
        FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
        WHERE l.granted AND l.pid <> pg_backend_pid()
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND ((l.locktype = 'advisory' AND l.objsubid = 1
                AND l.classid::bigint = x'74687265'::bigint
                AND l.objid::bigint = x'61646361'::bigint)
               OR l.relation IN (SELECT oid FROM pg_class WHERE relnamespace
                                 = to_regnamespace(quote_ident(p_schema))))
$$
