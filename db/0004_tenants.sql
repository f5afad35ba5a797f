-- Several schemas in one database, roles with the least rights, and SQL for applications.
-- What was there stays: every function keeps its arguments, and the channels of before are
-- still notified, for the daemons of the version before (they go with a later migration).

-- --- channels of this schema's own ------------------------------------------------------
-- A channel belongs to the database. So its name begins with the schema's, or with a digest
-- of it where both would be longer than the 63 bytes that Postgres takes.

CREATE FUNCTION channel(p_name text) RETURNS text
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT CASE WHEN octet_length(current_schema()) <= 48 THEN current_schema()
                ELSE left(encode(sha256(convert_to(current_schema(), 'UTF8')), 'hex'), 40)
           END || '.' || p_name
$$;

CREATE FUNCTION tell(p_name text, p_payload text) RETURNS void
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT pg_notify(channel(p_name), p_payload), pg_notify(p_name, p_payload)
$$;

-- One hint a transaction and schema, with the ids of the first run: a claim takes many.
CREATE OR REPLACE FUNCTION run_notifies() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF coalesce(current_setting('threadcast.notified', true), '') <> current_schema() THEN
        PERFORM set_config('threadcast.notified', current_schema(), true);
        PERFORM tell('new_message', json_build_object('threadId', NEW.thread_id,
                     'messageId', NEW.message_id, 'runId', NEW.id)::text);
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION thread_notifies() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM tell('thread_changed', OLD.id);
    RETURN NULL;
END $$;

-- As they were, but for the channel.
CREATE OR REPLACE FUNCTION delete_thread(p_thread text, p_sub text, OUT outcome text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM threads WHERE id = p_thread AND (p_sub IS NULL OR owner = p_sub)
        FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'forbidden';
        RETURN;
    END IF;
    PERFORM tell('run_control', id::text) FROM runs
        WHERE thread_id = p_thread AND status = 'running';
    -- the cascade would take them in any order
    PERFORM FROM runs WHERE thread_id = p_thread ORDER BY seq DESC FOR UPDATE;
    DELETE FROM threads WHERE id = p_thread;
    outcome := 'ok';
END $$;

CREATE OR REPLACE FUNCTION cancel_run(p_run uuid, p_sub text,
                                      OUT outcome text, OUT status text,
                                      OUT thread_id text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v runs%ROWTYPE;
BEGIN
    PERFORM FROM threads AS t WHERE t.id = (SELECT r.thread_id FROM runs AS r
                                            WHERE r.id = p_run)
        FOR NO KEY UPDATE;
    UPDATE runs AS r SET
        cancel_at = coalesce(cancel_at, now()),
        status = CASE status WHEN 'queued' THEN 'cancelled' ELSE status END,
        attempt = attempt + (status = 'queued')::int,
        waits = false,
        ended_at = CASE status WHEN 'queued' THEN now() END,
        end_seq = NULL,
        end_events = CASE status WHEN 'queued' THEN cancelled_end(agent, reply_id) END
        WHERE id = p_run AND status IN ('queued', 'running')
          AND (p_sub IS NULL OR EXISTS (SELECT FROM threads AS t
                                        WHERE t.id = r.thread_id AND t.owner = p_sub))
        RETURNING * INTO v;
    IF FOUND THEN
        outcome := 'accepted';
        PERFORM tell('run_control', p_run::text);
    ELSE
        SELECT * INTO v FROM runs AS r
            WHERE id = p_run
              AND (p_sub IS NULL OR EXISTS (SELECT FROM threads AS t
                                            WHERE t.id = r.thread_id AND t.owner = p_sub));
        outcome := CASE WHEN FOUND THEN 'ended' ELSE 'forbidden' END;
    END IF;
    status := v.status;
    thread_id := v.thread_id;
END $$;

CREATE OR REPLACE FUNCTION ends_forgotten(p_runs uuid[]) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_run uuid;
    v_n bigint := 0;
BEGIN
    FOR v_run IN UPDATE runs SET end_published_at = NULL
        WHERE id = ANY (p_runs) AND end_published_at < clock_timestamp() - interval '5 seconds'
        RETURNING id
    LOOP
        PERFORM tell('run_control', v_run::text);
        v_n := v_n + 1;
    END LOOP;
    RETURN v_n;
END $$;

-- --- for applications -------------------------------------------------------------------
-- Both belong to the caller's transaction: what they do is there when it commits.

CREATE FUNCTION must_be(p_good boolean, p_what text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF p_good IS NOT TRUE THEN
        RAISE EXCEPTION '%', p_what USING ERRCODE = 'invalid_parameter_value';
    END IF;
END $$;

-- What POST …/messages refuses: 22023 a bad value, 54000 more than 64 KiB.
CREATE FUNCTION message_check(p_thread text, p_content text, p_agent text,
                              p_metadata jsonb, p_owner text, p_mode text, p_key text)
RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    c_word CONSTANT text := '^[A-Za-z0-9._:-]{1,64}$';
BEGIN
    PERFORM must_be(p_thread ~ '^[A-Za-z0-9._-]{1,128}$',
                    'thread_id must be 1 to 128 of A-Z a-z 0-9 . _ -');
    PERFORM must_be(p_content <> '', 'content must be a text that is not empty');
    PERFORM must_be(p_agent IS NULL OR p_agent ~ c_word,
                    'agent must be 1 to 64 of A-Z a-z 0-9 . _ : -');
    PERFORM must_be(p_metadata IS NULL OR jsonb_typeof(p_metadata) = 'object',
                    'metadata must be an object');
    PERFORM must_be(NOT coalesce(p_metadata ? 'agent', false)
                    OR (jsonb_typeof(p_metadata->'agent') = 'string'
                        AND p_metadata->>'agent' ~ c_word),
                    'metadata.agent must be 1 to 64 of A-Z a-z 0-9 . _ : -');
    PERFORM must_be(p_mode IS NULL
                    OR p_mode IN ('queue', 'parallel', 'interrupt', 'reject'),
                    'mode must be queue, parallel, interrupt or reject');
    PERFORM must_be(p_owner IS NULL OR (octet_length(p_owner) BETWEEN 1 AND 256
                                        AND p_owner !~ '[\x01-\x1f\x7f]'),
                    'owner must be 1 to 256 bytes without control characters');
    PERFORM must_be(p_key IS NULL OR p_key ~ '^[\x21-\x7e]{1,255}$',
                    'key must be 1 to 255 visible ASCII characters');
    -- as JSON with the object around it: 32 deep
    PERFORM must_be(p_metadata IS NULL OR NOT jsonb_path_exists(p_metadata,
        'strict $.**{31 to last} ? (@.type() == "object" || @.type() == "array")'),
                    'metadata must not be nested more than 31 deep');
    IF octet_length(p_content) + coalesce(octet_length(p_metadata::text), 0) > 65536 THEN
        RAISE EXCEPTION 'content and metadata together must not be longer than 65536 bytes'
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
END $$;

-- A user's message, and the run that answers it. With `owner` a thread that is not there is
-- made, and one that is there must be theirs; without, it must be there. `key`: asked again
-- with it within 24 hours nothing is done twice, and the ids are those of the first time.
--
-- 22023 a bad value · 54000 too long · P0002 no such thread · 42501 not the owner's ·
-- 55006 mode reject, and a run of the thread is going · 23505 that key had another message
CREATE FUNCTION send_message(thread_id text, content text, agent text DEFAULT NULL,
                             metadata jsonb DEFAULT NULL, owner text DEFAULT NULL,
                             mode text DEFAULT NULL, key text DEFAULT NULL,
                             OUT message_id uuid, OUT run_id uuid, OUT reply_id uuid)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
    v_owner text;
    v record;
BEGIN
    PERFORM message_check(thread_id, content, agent, metadata, owner, mode, key);
    IF owner IS NOT NULL THEN
        PERFORM create_thread(thread_id, owner, NULL);
    END IF;
    SELECT t.owner INTO v_owner FROM threads AS t WHERE t.id = thread_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no thread %', thread_id
            USING ERRCODE = 'no_data_found', HINT = 'With owner => … it is made.';
    END IF;
    SELECT * INTO v FROM post_message(thread_id, coalesce(owner, v_owner), content, agent,
        metadata, NULL, key, CASE WHEN key IS NOT NULL THEN
            encode(sha256(convert_to(jsonb_build_array('sql', content, agent, metadata,
                                                       mode)::text, 'UTF8')), 'hex') END,
        mode);
    CASE v.outcome
        WHEN 'ok' THEN
            message_id := v.answer->>'messageId';
            run_id := v.answer->>'runId';
            reply_id := v.answer->'runs'->0->>'messageId';
        WHEN 'conflict' THEN
            RAISE EXCEPTION 'this key was used with another message'
                USING ERRCODE = 'unique_violation';
        WHEN 'rejected' THEN
            RAISE EXCEPTION 'thread % has a run that has not ended', thread_id
                USING ERRCODE = 'object_in_use';
        ELSE
            RAISE EXCEPTION 'thread % is not %''s', thread_id, owner
                USING ERRCODE = 'insufficient_privilege';
    END CASE;
END $$;

-- Its worker is told at the commit; a run that waits has ended then. status is what it has
-- now: running (its end comes as an event), or how it ended. P0002: no such run.
CREATE FUNCTION cancel_run(run_id uuid, OUT status text, OUT thread_id text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
    v record;
BEGIN
    SELECT * INTO v FROM cancel_run(run_id, NULL::text);
    IF v.outcome = 'forbidden' THEN
        RAISE EXCEPTION 'there is no run %', run_id USING ERRCODE = 'no_data_found';
    END IF;
    status := v.status;
    thread_id := v.thread_id;
END $$;

-- --- roles ------------------------------------------------------------------------------
-- Functions do their work with the rights of who migrated (SECURITY DEFINER), so a role
-- needs to be let in and to call what its part calls, and no right to any table but to read
-- what the bridge shows. Nobody else may call anything.

CREATE TABLE grants (
    role text NOT NULL,
    part text NOT NULL CHECK (part IN ('bridge', 'worker', 'app')),
    PRIMARY KEY (role, part)
);
COMMENT ON TABLE grants IS 'who is given, at the end of every migration, what a part needs';

CREATE FUNCTION part_functions(p_part text) RETURNS SETOF regprocedure
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT p.oid::regprocedure FROM pg_proc AS p
        WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
          AND CASE p_part
              WHEN 'bridge' THEN p.proname IN ('post_message', 'retry_run', 'create_thread',
                  'delete_thread', 'ends_forgotten')
                  OR (p.proname = 'cancel_run' AND p.pronargs = 2)
              WHEN 'worker' THEN p.proname IN ('claim_runs', 'next_claim_ms', 'renew_runs',
                  'hand_back', 'hand_back_others', 'finish_run', 'requeue_run',
                  'say_queued', 'thread_history', 'unpublished_ends',
                  'mark_end_published', 'recall_ends', 'release_forgotten',
                  'prune_idempotency', 'prune_runs', 'prune_messages')
              WHEN 'app' THEN p.proname = 'send_message'
                  OR (p.proname = 'cancel_run' AND p.pronargs = 1)
              END
$$;

CREATE FUNCTION part_tables(p_part text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT AS $$
    SELECT unnest(CASE p_part WHEN 'bridge' THEN '{migrations,threads,messages,runs}'::text[]
                              WHEN 'worker' THEN '{migrations}' END)
$$;

-- Every migration that makes a function ends with this: whoever calls a function with other
-- people's rights must not be able to put a table of their own (pg_temp) before ours.
CREATE FUNCTION settle_rights() RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v record;
    v_name text;
BEGIN
    -- the lock of migrations: catalog rows that two change at once are an error
    PERFORM pg_advisory_xact_lock(x'7468726561646361'::bigint);
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM PUBLIC', current_schema());
    FOR v IN SELECT p.oid::regprocedure AS f, p.proname IN ('settle_rights', 'grant_part',
                  'revoke_part', 'grant_parts', 'part_functions', 'part_tables') AS own
        FROM pg_proc AS p
        WHERE p.pronamespace = quote_ident(current_schema())::regnamespace AND p.prokind = 'f'
    LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY %s SET search_path = %I, pg_temp', v.f,
                       CASE WHEN v.own THEN 'INVOKER' ELSE 'DEFINER' END, current_schema());
    END LOOP;
    FOR v IN SELECT role, part FROM grants AS g
        WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = g.role)
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), v.role);
        FOR v_name IN SELECT part_functions(v.part)::text LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', v_name, v.role);
        END LOOP;
        FOR v_name IN SELECT part_tables(v.part) LOOP
            EXECUTE format('GRANT SELECT ON %I TO %I', v_name, v.role);
        END LOOP;
    END LOOP;
END $$;

CREATE FUNCTION grant_part(p_role text, p_part text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = p_role) THEN
        RAISE EXCEPTION 'there is no role %', p_role USING ERRCODE = 'undefined_object';
    END IF;
    PERFORM pg_advisory_xact_lock(x'7468726561646361'::bigint); -- before the row's
    INSERT INTO grants (role, part) VALUES (p_role, p_part) ON CONFLICT DO NOTHING;
    PERFORM settle_rights();
END $$;

-- Takes all parts' rights, then gives what is left of them.
CREATE FUNCTION revoke_part(p_role text, p_part text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(x'7468726561646361'::bigint);
    DELETE FROM grants WHERE role = p_role AND part = p_part;
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM %I', current_schema(),
                   p_role);
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', current_schema(), p_role);
    EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %I', current_schema(), p_role);
    PERFORM settle_rights();
END $$;

-- `bridge=<role>,worker=<role>,app=<role>`, as threadcast-worker migrate --grant has it.
CREATE FUNCTION grant_parts(p_list text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_item text;
BEGIN
    FOREACH v_item IN ARRAY string_to_array(p_list, ',') LOOP
        PERFORM grant_part(substr(v_item, strpos(v_item, '=') + 1),
                           split_part(v_item, '=', 1));
    END LOOP;
END $$;

-- Roles that daemons ran with until now could call everything, as everybody could. Those
-- that may change all tables anyway keep what they need; nobody else is given anything.
INSERT INTO grants (role, part)
    SELECT rolname, part
        FROM pg_roles AS r
            CROSS JOIN (VALUES ('bridge'), ('worker')) AS parts (part)
            JOIN pg_namespace AS n ON n.nspname = current_schema()
        WHERE NOT rolsuper AND rolname !~ '^pg_'
          AND NOT pg_has_role(r.oid, n.nspowner, 'USAGE')
          AND has_schema_privilege(r.oid, n.oid, 'USAGE')
          AND NOT EXISTS (
              SELECT FROM unnest('{threads,messages,runs,idempotency}'::text[]) AS t (name)
                  CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS p (name)
                  WHERE NOT has_table_privilege(r.oid, t.name::regclass, p.name));

SELECT settle_rights();
