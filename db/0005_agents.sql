-- Several agents answer one message, side by side; one call cancels what a thread has
-- going; what runs used, per agent, thread and owner; which agents the workers have.
-- What was there stays: the daemons of the version before go on working over this schema.

-- --- whose turn it is --------------------------------------------------------------------
-- The runs of one message do not wait for each other: a thread's turn is a message's, that
-- of its first run that has not ended.

CREATE FUNCTION thread_turn(p_thread text) RETURNS uuid
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT message_id FROM runs
        WHERE thread_id = p_thread AND status IN ('queued', 'running')
        ORDER BY seq LIMIT 1
$$;

CREATE OR REPLACE FUNCTION release_next(p_thread text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM FROM threads WHERE id = p_thread FOR NO KEY UPDATE;
    IF FOUND THEN
        UPDATE runs SET waits = false, slot = next_slot(owner)
            WHERE waits AND thread_id = p_thread
              AND message_id = (SELECT thread_turn(p_thread));
    END IF;
END $$;

CREATE OR REPLACE FUNCTION release_forgotten(p_n int) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_thread text;
    v_n bigint := 0;
BEGIN
    FOR v_thread IN SELECT DISTINCT w.thread_id
        FROM (SELECT DISTINCT thread_id, message_id FROM runs WHERE waits) AS w
        WHERE w.message_id = thread_turn(w.thread_id)
        ORDER BY w.thread_id LIMIT p_n
    LOOP
        PERFORM release_next(v_thread);
        v_n := v_n + 1;
    END LOOP;
    RETURN v_n;
END $$;

-- --- messages that name several ----------------------------------------------------------

-- metadata.agents: 1 to 8 different names; otherwise metadata.agent, one. 22023 when that
-- cannot be.
CREATE FUNCTION message_agents(p_metadata jsonb) RETURNS text[]
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_given jsonb := p_metadata->'agents';
    v_names text[];
BEGIN
    IF v_given IS NULL THEN
        RETURN ARRAY[coalesce(p_metadata->>'agent', 'default')];
    END IF;
    PERFORM must_be(NOT p_metadata ? 'agent', 'agent and agents cannot both be given');
    PERFORM must_be(jsonb_typeof(v_given) = 'array', 'agents must be an array');
    SELECT array_agg(CASE jsonb_typeof(e) WHEN 'string' THEN e #>> '{}' END ORDER BY n)
        INTO v_names FROM jsonb_array_elements(v_given) WITH ORDINALITY AS a (e, n);
    PERFORM must_be(cardinality(v_names) BETWEEN 1 AND 8
                    AND (SELECT count(DISTINCT name) = cardinality(v_names)
                             AND bool_and(name ~ '^[A-Za-z0-9._:-]{1,64}$')
                         FROM unnest(v_names) AS a (name)),
                    'agents must be 1 to 8 different names of 1 to 64 of A-Z a-z 0-9 . _ : -');
    RETURN v_names;
END $$;

CREATE OR REPLACE FUNCTION message_makes_run() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_mode text := coalesce(NEW.metadata->>'mode', 'queue');
    v_agents text[] := message_agents(NEW.metadata);
    v_agent text;
    v_owner text;
    v_waits boolean;
BEGIN
    UPDATE threads SET updated_at = now() WHERE id = NEW.thread_id
        RETURNING owner INTO v_owner; -- locks it
    IF v_mode = 'interrupt' THEN
        PERFORM cancel_thread_runs(NEW.thread_id);
    ELSIF v_mode = 'reject' AND thread_is_busy(NEW.thread_id) THEN
        RAISE EXCEPTION 'thread % has a run that has not ended', NEW.thread_id
            USING ERRCODE = 'object_in_use';
    END IF;
    v_waits := v_mode <> 'parallel' AND thread_is_busy(NEW.thread_id);
    FOREACH v_agent IN ARRAY v_agents LOOP
        PERFORM make_run(NEW.thread_id, NEW.id, v_owner, v_agent, NEW.metadata->'input',
                         v_waits);
    END LOOP;
    RETURN NULL;
END $$;

-- As it was, but beside the other runs of its message where it is their turn.
CREATE OR REPLACE FUNCTION retry_run(p_run uuid, p_sub text, p_cursor text,
                                     OUT outcome text, OUT answer jsonb)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v runs%ROWTYPE;
    v_owner text;
    v_new uuid;
BEGIN
    UPDATE threads AS t SET updated_at = now()
        WHERE id = (SELECT thread_id FROM runs WHERE id = p_run)
          AND (p_sub IS NULL OR owner = p_sub)
        RETURNING owner INTO v_owner; -- locks it
    IF FOUND THEN
        SELECT * INTO v FROM runs WHERE id = p_run;
    END IF;
    IF v.id IS NULL THEN
        outcome := 'forbidden';
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM runs WHERE message_id = v.message_id AND agent = v.agent
                                  AND status IN ('queued', 'running')) THEN
        outcome := 'live';
        RETURN;
    END IF;
    v_new := make_run(v.thread_id, v.message_id, v_owner, v.agent, v.input,
                      coalesce(thread_turn(v.thread_id) <> v.message_id, false));
    UPDATE runs SET cursor = p_cursor WHERE id = v_new;
    outcome := 'ok';
    answer := run_answer(v.message_id, ARRAY[v_new], p_cursor);
END $$;

-- What was said before, as 0002 has it; an assistant's message says which agent's it is.
-- The answers of others to the same message are not before it.
CREATE OR REPLACE FUNCTION thread_history(p_thread text, p_before uuid, p_n int,
                                          p_bytes bigint)
RETURNS jsonb
LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', id, 'role', role,
                    'content', content, 'author', author, 'createdAt', created_at)
                    || CASE role WHEN 'assistant'
                       THEN jsonb_build_object('agentId', author) ELSE '{}' END
                    ORDER BY place, seq), '[]')
        FROM (SELECT *, sum(octet_length(content)) OVER (ORDER BY place DESC, seq DESC)
                     AS total
                FROM (SELECT m.*, coalesce(q.seq, m.seq) AS place
                        FROM messages AS m LEFT JOIN messages AS q ON q.id = m.reply_to
                        WHERE m.thread_id = p_thread
                          AND coalesce(q.seq, m.seq) < (SELECT seq FROM messages
                                                        WHERE id = p_before)
                        ORDER BY m.seq DESC LIMIT p_n) AS last) AS counted
        WHERE total <= p_bytes
$$;

-- --- one call cancels all ----------------------------------------------------------------

-- outcome: ok | forbidden. What has ended is not named; asked again it does nothing more.
-- A run's status is what it has now: running (its end comes as an event) or cancelled.
-- All at once, however many wait: none of them is let go by the end of another.
CREATE FUNCTION cancel_thread(p_thread text, p_sub text, OUT outcome text, OUT answer jsonb)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v_run uuid;
BEGIN
    PERFORM FROM threads WHERE id = p_thread AND (p_sub IS NULL OR owner = p_sub)
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'forbidden';
        RETURN;
    END IF;
    PERFORM FROM runs WHERE thread_id = p_thread AND status IN ('queued', 'running')
        ORDER BY seq DESC FOR NO KEY UPDATE;
    WITH cancelled AS (
        UPDATE runs SET
            cancel_at = coalesce(cancel_at, now()),
            status = CASE status WHEN 'queued' THEN 'cancelled' ELSE status END,
            attempt = attempt + (status = 'queued')::int,
            waits = false,
            ended_at = CASE status WHEN 'queued' THEN now() END,
            end_seq = NULL,
            end_events = CASE status WHEN 'queued' THEN cancelled_end(agent, reply_id) END
            WHERE thread_id = p_thread AND status IN ('queued', 'running')
            RETURNING id, seq, agent, reply_id, status)
    SELECT jsonb_build_object('runs', coalesce(jsonb_agg(jsonb_build_object('runId', id,
                   'agent', agent, 'messageId', reply_id, 'status', status) ORDER BY seq),
                   '[]'))
        INTO answer FROM cancelled;
    outcome := 'ok';
    -- each worker of one that runs; and somebody, once, to say the ends of the others
    FOR v_run IN SELECT (r->>'runId')::uuid FROM jsonb_array_elements(answer->'runs') AS a (r)
            WHERE r->>'status' = 'running'
        UNION ALL (SELECT (r->>'runId')::uuid FROM jsonb_array_elements(answer->'runs') AS a (r)
            WHERE r->>'status' = 'cancelled' LIMIT 1)
    LOOP
        PERFORM tell('run_control', v_run::text);
    END LOOP;
END $$;

-- As it was, at once.
CREATE OR REPLACE FUNCTION cancel_thread_runs(p_thread text) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT jsonb_array_length(answer->'runs')::bigint FROM cancel_thread(p_thread, NULL::text)
$$;

-- Who waited has held nobody up: its end lets nobody go.
DROP TRIGGER run_end_releases ON runs;
CREATE TRIGGER run_end_releases AFTER UPDATE OF status ON runs
    FOR EACH ROW WHEN (OLD.status IN ('queued', 'running') AND NOT OLD.waits
                       AND NEW.status IN ('done', 'failed', 'cancelled'))
    EXECUTE FUNCTION run_end_releases();

-- --- what a run used ---------------------------------------------------------------------

ALTER TABLE runs ADD COLUMN stats jsonb, ADD COLUMN answered_by text;
COMMENT ON COLUMN runs.usage IS
    'what its last attempt used: {"inputTokens", "outputTokens", "totalTokens", …}';
COMMENT ON COLUMN runs.stats IS
    'how its last attempt went: {"firstTokenMs", "writingMs", "durationMs", "maxGapMs", '
    '"tokensPerSecond", "pieces", "bytes"}';
COMMENT ON COLUMN runs.answered_by IS 'the agent that `agent` stood for when it ended';

-- As it was, with stats and answered_by.
DROP FUNCTION finish_run(uuid, int, text, text, jsonb, text, jsonb, bigint, jsonb, jsonb);
CREATE FUNCTION finish_run(p_run uuid, p_attempt int, p_status text, p_content text,
                           p_metadata jsonb, p_author text, p_events jsonb, p_seq bigint,
                           p_error jsonb, p_usage jsonb, p_stats jsonb DEFAULT NULL,
                           OUT outcome text, OUT status text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v runs%ROWTYPE;
BEGIN
    UPDATE threads SET updated_at = now()
        WHERE id = (SELECT thread_id FROM runs
                    WHERE id = p_run AND attempt = p_attempt AND status = 'running');
    WITH ended AS (
        UPDATE runs SET status = p_status, ended_at = clock_timestamp(),
            end_events = p_events, end_seq = p_seq, error = p_error, usage = p_usage,
            stats = p_stats, answered_by = p_author,
            cancel_at = CASE p_status WHEN 'cancelled' THEN coalesce(cancel_at, now())
                                      ELSE cancel_at END
            WHERE id = p_run AND attempt = p_attempt AND status = 'running'
            RETURNING *),
    said AS (
        INSERT INTO messages (id, thread_id, role, content, author, reply_to, run_id,
                              metadata)
            SELECT reply_id, thread_id, 'assistant', p_content, p_author, message_id, id,
                   coalesce(p_metadata, '{}')
            FROM ended WHERE p_status = 'done' OR p_content <> ''
            RETURNING thread_id)
    SELECT * INTO v FROM ended;
    IF FOUND THEN
        outcome := 'ok';
        status := v.status;
        RETURN;
    END IF;
    SELECT * INTO v FROM runs WHERE id = p_run AND attempt = p_attempt
        AND status IN ('done', 'failed', 'cancelled');
    outcome := CASE WHEN FOUND THEN 'kept' ELSE 'lost' END;
    status := v.status;
END $$;

-- (No function of ours in views: whoever reads them would have to be allowed to call it.)
CREATE VIEW run_figures AS
    WITH said AS (
        SELECT id, thread_id, owner, agent, answered_by, status, failures, error, ended_at,
               jsonb_path_query_first(usage, '$.inputTokens ? (@.type() == "number")')::numeric AS input_tokens,
               jsonb_path_query_first(usage, '$.outputTokens ? (@.type() == "number")')::numeric AS output_tokens,
               jsonb_path_query_first(usage, '$.totalTokens ? (@.type() == "number")')::numeric AS all_tokens,
               jsonb_path_query_first(stats, '$.bytes ? (@.type() == "number")')::numeric AS bytes,
               jsonb_path_query_first(stats, '$.firstTokenMs ? (@.type() == "number")')::numeric AS first_token_ms,
               jsonb_path_query_first(stats, '$.writingMs ? (@.type() == "number")')::numeric AS writing_ms
            FROM runs),
    figures AS (
        SELECT id, thread_id, owner, coalesce(answered_by, agent) AS agent, status,
               failures - coalesce(status = 'failed' AND error->>'code' = 'worker_lost',
                                   false)::int AS retries,
               ended_at,
               CASE WHEN input_tokens < 0 THEN 0 WHEN input_tokens > 1e15 THEN 1e15
                    ELSE trunc(input_tokens) END::bigint AS input_tokens,
               CASE WHEN output_tokens < 0 THEN 0 WHEN output_tokens > 1e15 THEN 1e15
                    ELSE trunc(output_tokens) END::bigint AS output_tokens,
               CASE WHEN all_tokens < 0 THEN 0 WHEN all_tokens > 1e15 THEN 1e15
                    ELSE trunc(all_tokens) END::bigint AS all_tokens,
               CASE WHEN bytes < 0 THEN 0 WHEN bytes > 1e15 THEN 1e15
                    ELSE trunc(bytes) END::bigint AS bytes,
               CASE WHEN first_token_ms < 0 THEN 0 WHEN first_token_ms > 1e15 THEN 1e15
                    ELSE trunc(first_token_ms) END::bigint AS first_token_ms,
               CASE WHEN writing_ms < 0 THEN 0 WHEN writing_ms > 1e15 THEN 1e15
                    ELSE trunc(writing_ms) END::bigint AS writing_ms
            FROM said)
    SELECT id AS run_id, thread_id, owner, agent, status, retries, ended_at, input_tokens,
           output_tokens, coalesce(all_tokens, input_tokens + output_tokens) AS total_tokens,
           bytes, first_token_ms, writing_ms
        FROM figures;
COMMENT ON VIEW run_figures IS 'one line a run: numbers or null';

-- Per agent, and the total in the line whose agent is null.
CREATE FUNCTION thread_usage(p_thread text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    WITH sums AS (
        SELECT agent, jsonb_build_object(
            'runs', count(*),
            'done', count(*) FILTER (WHERE status = 'done'),
            'failed', count(*) FILTER (WHERE status = 'failed'),
            'cancelled', count(*) FILTER (WHERE status = 'cancelled'),
            'live', count(*) FILTER (WHERE status IN ('queued', 'running')),
            'retries', coalesce(sum(retries), 0),
            'inputTokens', coalesce(sum(input_tokens), 0),
            'outputTokens', coalesce(sum(output_tokens), 0),
            'totalTokens', coalesce(sum(total_tokens), 0),
            'bytes', coalesce(sum(bytes), 0),
            'firstTokenMs', round(avg(first_token_ms)),
            'tokensPerSecond', round(sum(output_tokens) FILTER (WHERE writing_ms > 0)
                                     * 1000.0 / sum(writing_ms)
                                         FILTER (WHERE output_tokens > 0 AND writing_ms > 0),
                                     1)) AS figures
            FROM run_figures WHERE thread_id = p_thread
            GROUP BY GROUPING SETS ((agent), ()))
    SELECT jsonb_build_object('threadId', p_thread,
               'agents', coalesce(jsonb_agg(jsonb_build_object('agent', agent) || figures
                                            ORDER BY agent)
                                  FILTER (WHERE agent IS NOT NULL), '[]'),
               'total', (SELECT figures FROM sums WHERE agent IS NULL))
        FROM sums
$$;

-- For bills and budgets: what each owner's runs used, by agent and day (UTC) of their end.
CREATE VIEW usage_by_owner AS
    SELECT owner, agent, (ended_at AT TIME ZONE 'UTC')::date AS day, count(*) AS runs,
           count(*) FILTER (WHERE status = 'done') AS done,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
           coalesce(sum(input_tokens), 0) AS input_tokens,
           coalesce(sum(output_tokens), 0) AS output_tokens,
           coalesce(sum(total_tokens), 0) AS total_tokens,
           coalesce(sum(bytes), 0) AS bytes
        FROM run_figures WHERE ended_at IS NOT NULL
        GROUP BY owner, agent, day;
COMMENT ON VIEW usage_by_owner IS
    'of runs that have ended and whose rows are kept (--runs-retention-days)';

-- --- which agents there are --------------------------------------------------------------

CREATE TABLE workers (
    id         text PRIMARY KEY,
    standard   text NOT NULL,
    agents     jsonb NOT NULL CHECK (jsonb_typeof(agents) = 'array'),
    names      text[] NOT NULL, -- of the agents, in order: each claim compares them
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    until      timestamptz NOT NULL
);
COMMENT ON TABLE workers IS
    'the agents that workers have: of those that said so within a moment (until)';

-- Said at the start, after a reload, and every now and then within p_ms.
CREATE FUNCTION register_worker(p_worker text, p_standard text, p_agents jsonb, p_ms bigint)
RETURNS void
LANGUAGE sql SET search_path FROM CURRENT AS $$
    WITH old AS (SELECT id FROM workers WHERE until < clock_timestamp() - interval '1 hour'
                 LIMIT 100 FOR UPDATE SKIP LOCKED)
    DELETE FROM workers AS w USING old WHERE w.id = old.id AND w.id <> p_worker;
    INSERT INTO workers AS w (id, standard, agents, names, until)
        VALUES (p_worker, p_standard, p_agents,
                ARRAY(SELECT a->>'name' FROM jsonb_array_elements(p_agents) AS e (a)
                          ORDER BY a->>'name'),
                clock_timestamp() + p_ms * interval '1 millisecond')
        ON CONFLICT (id) DO UPDATE
            SET standard = excluded.standard, agents = excluded.agents,
                names = excluded.names,
                until = excluded.until,
                changed_at = CASE WHEN w.standard = excluded.standard
                                   AND w.agents = excluded.agents
                             THEN w.changed_at ELSE clock_timestamp() END
$$;

CREATE FUNCTION forget_worker(p_worker text) RETURNS void
LANGUAGE sql SET search_path FROM CURRENT AS $$
    DELETE FROM workers WHERE id = p_worker
$$;

-- What this worker has not got and another one that is there has: a run of those is left to
-- the other. Usually nothing: they have the same. Who has not said what it has takes all.
CREATE FUNCTION agents_elsewhere(p_worker text) RETURNS text[]
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT coalesce(array_agg(DISTINCT name), '{}')
        FROM workers AS mine
            JOIN workers AS other ON other.names <> mine.names AND other.id <> mine.id
                                 AND other.until > clock_timestamp(),
            unnest(other.names) AS n (name)
        WHERE mine.id = p_worker AND name <> ALL (mine.names)
$$;

-- As 0002 has it, but for what is left to others.
CREATE OR REPLACE FUNCTION claim_runs(p_worker text, p_n int, p_lease_ms int, p_max int,
                                      p_expired boolean)
RETURNS TABLE (run_id uuid, thread_id text, message_id uuid, reply_id uuid, agent text,
               input jsonb, attempt int, cancelled boolean, content text, metadata jsonb,
               taken_over boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_lease interval := p_lease_ms * interval '1 millisecond';
    v_elsewhere text[] := agents_elsewhere(p_worker);
    v_old uuid[] := '{}';
    v_new uuid[];
    v_lost jsonb := '{"code": "worker_lost", "retryable": true,
                      "message": "The worker of this run was lost too often."}';
BEGIN
    IF p_expired AND v_now > pg_postmaster_start_time() + v_lease THEN
        WITH lost AS (
            SELECT r.id FROM runs AS r JOIN threads AS t ON t.id = r.thread_id
                WHERE r.status = 'running' AND r.lease_until < v_now
                  AND r.failures + 1 >= p_max
                ORDER BY r.lease_until LIMIT 100 FOR NO KEY UPDATE OF t, r SKIP LOCKED)
        UPDATE runs AS r SET attempt = attempt + 1, failures = failures + 1,
            ended_at = v_now, end_seq = NULL,
            status = CASE WHEN cancel_at IS NULL THEN 'failed' ELSE 'cancelled' END,
            error = CASE WHEN cancel_at IS NULL THEN v_lost END,
            end_events = CASE WHEN cancel_at IS NULL
                THEN jsonb_build_array(jsonb_build_object('type', 'error',
                        'ts', unix_ms(), 'agentId', agent, 'content', v_lost))
                ELSE cancelled_end(agent, reply_id) END
            FROM lost WHERE r.id = lost.id;
        WITH expired AS (
            SELECT id FROM runs WHERE status = 'running' AND lease_until < v_now
                  AND failures + 1 < p_max AND agent <> ALL (v_elsewhere)
                ORDER BY lease_until LIMIT p_n FOR UPDATE SKIP LOCKED),
        took AS (
            UPDATE runs AS r SET attempt = attempt + 1, failures = failures + 1,
                worker = p_worker, lease_until = v_now + v_lease
                FROM expired WHERE r.id = expired.id RETURNING r.id)
        SELECT coalesce(array_agg(id), '{}') INTO v_old FROM took;
    END IF;
    WITH waiting AS (
        SELECT id FROM runs WHERE status = 'queued' AND NOT waits
              AND (run_at IS NULL OR run_at <= v_now) AND agent <> ALL (v_elsewhere)
            ORDER BY slot, seq LIMIT p_n - cardinality(v_old) FOR UPDATE SKIP LOCKED),
    took AS (
        UPDATE runs AS r SET status = 'running', attempt = attempt + 1,
            worker = p_worker, lease_until = v_now + v_lease, run_at = NULL,
            started_at = coalesce(started_at, v_now)
            FROM waiting WHERE r.id = waiting.id RETURNING r.id)
    SELECT coalesce(array_agg(id), '{}') INTO v_new FROM took;
    RETURN QUERY
        SELECT r.id, r.thread_id, r.message_id, r.reply_id, r.agent, r.input, r.attempt,
               r.cancel_at IS NOT NULL, m.content, m.metadata, r.id = ANY (v_old)
        FROM runs AS r JOIN messages AS m ON m.id = r.message_id
        WHERE r.id = ANY (v_old || v_new) ORDER BY r.slot, r.seq;
END $$;

-- {"default", "agents": [{"name", "description"}]} of the live workers together. Where two
-- differ, as in a deploy: the newer description, the default of most.
CREATE FUNCTION list_agents() RETURNS jsonb
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    WITH live AS (SELECT * FROM workers WHERE until > clock_timestamp()),
    named AS (
        SELECT DISTINCT ON (a->>'name') a, n
            FROM live, jsonb_array_elements(agents) WITH ORDINALITY AS e (a, n)
            ORDER BY a->>'name', changed_at DESC, id)
    SELECT jsonb_build_object(
        'default', (SELECT standard FROM live GROUP BY standard
                        ORDER BY count(*) DESC, max(changed_at) DESC, standard LIMIT 1),
        'agents', (SELECT coalesce(jsonb_agg(a ORDER BY n, a->>'name'), '[]') FROM named))
$$;

-- --- for applications --------------------------------------------------------------------

-- What both functions below do.
CREATE FUNCTION send_as(p_thread text, p_content text, p_agent text, p_agents text[],
                        p_metadata jsonb, p_owner text, p_mode text, p_key text)
RETURNS jsonb
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_owner text;
    v_said jsonb := jsonb_build_array('sql', p_content, p_agent, p_metadata, p_mode);
    v_metadata jsonb := p_metadata;
    v record;
BEGIN
    PERFORM message_check(p_thread, p_content, p_agent, p_metadata, p_owner, p_mode, p_key);
    IF p_agents IS NOT NULL THEN
        v_said := v_said || to_jsonb(p_agents);
        v_metadata := coalesce(p_metadata, '{}') || jsonb_build_object('agents', p_agents);
    END IF;
    PERFORM message_agents(coalesce(v_metadata, '{}')
                           || jsonb_strip_nulls(jsonb_build_object('agent', p_agent)));
    IF p_owner IS NOT NULL THEN
        PERFORM create_thread(p_thread, p_owner, NULL);
    END IF;
    SELECT owner INTO v_owner FROM threads WHERE id = p_thread;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no thread %', p_thread
            USING ERRCODE = 'no_data_found', HINT = 'With owner => … it is made.';
    END IF;
    SELECT * INTO v FROM post_message(p_thread, coalesce(p_owner, v_owner), p_content,
        p_agent, v_metadata, NULL, p_key, CASE WHEN p_key IS NOT NULL THEN
            encode(sha256(convert_to(v_said::text, 'UTF8')), 'hex') END, p_mode);
    CASE v.outcome
        WHEN 'ok' THEN
            RETURN v.answer;
        WHEN 'conflict' THEN
            RAISE EXCEPTION 'this key was used with another message'
                USING ERRCODE = 'unique_violation';
        WHEN 'rejected' THEN
            RAISE EXCEPTION 'thread % has a run that has not ended', p_thread
                USING ERRCODE = 'object_in_use';
        ELSE
            RAISE EXCEPTION 'thread % is not %''s', p_thread, p_owner
                USING ERRCODE = 'insufficient_privilege';
    END CASE;
END $$;

CREATE OR REPLACE FUNCTION send_message(thread_id text, content text,
                             agent text DEFAULT NULL, metadata jsonb DEFAULT NULL,
                             owner text DEFAULT NULL, mode text DEFAULT NULL,
                             key text DEFAULT NULL,
                             OUT message_id uuid, OUT run_id uuid, OUT reply_id uuid)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
    v jsonb := send_as(thread_id, content, agent, NULL, metadata, owner, mode, key);
BEGIN
    message_id := v->>'messageId';
    run_id := v->>'runId';
    reply_id := v->'runs'->0->>'messageId';
END $$;

-- The same to several agents: a line for each, in their order.
CREATE FUNCTION send_message(thread_id text, content text, agents text[],
                             metadata jsonb DEFAULT NULL, owner text DEFAULT NULL,
                             mode text DEFAULT NULL, key text DEFAULT NULL)
RETURNS TABLE (message_id uuid, run_id uuid, reply_id uuid, agent text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
    v jsonb;
    v_run jsonb;
BEGIN
    PERFORM must_be(agents IS NOT NULL, 'agents must be an array');
    v := send_as(thread_id, content, NULL, agents, metadata, owner, mode, key);
    FOR v_run IN SELECT * FROM jsonb_array_elements(v->'runs') LOOP
        message_id := v->>'messageId';
        run_id := v_run->>'runId';
        reply_id := v_run->>'messageId';
        agent := v_run->>'agent';
        RETURN NEXT;
    END LOOP;
END $$;

-- Everything that goes or waits in a thread. P0002: no such thread.
CREATE FUNCTION cancel_thread(thread_id text)
RETURNS TABLE (run_id uuid, agent text, status text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_variable
DECLARE
    v record;
    v_run jsonb;
BEGIN
    SELECT * INTO v FROM cancel_thread(thread_id, NULL::text);
    IF v.outcome = 'forbidden' THEN
        RAISE EXCEPTION 'there is no thread %', thread_id USING ERRCODE = 'no_data_found';
    END IF;
    FOR v_run IN SELECT * FROM jsonb_array_elements(v.answer->'runs') LOOP
        run_id := v_run->>'runId';
        agent := v_run->>'agent';
        status := v_run->>'status';
        RETURN NEXT;
    END LOOP;
END $$;

-- --- roles ------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION part_functions(p_part text) RETURNS SETOF regprocedure
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT p.oid::regprocedure FROM pg_proc AS p
        WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
          AND CASE p_part
              WHEN 'bridge' THEN p.proname IN ('post_message', 'retry_run', 'create_thread',
                  'delete_thread', 'ends_forgotten', 'list_agents', 'thread_usage')
                  OR (p.proname IN ('cancel_run', 'cancel_thread') AND p.pronargs = 2)
              WHEN 'worker' THEN p.proname IN ('claim_runs', 'next_claim_ms', 'renew_runs',
                  'hand_back', 'hand_back_others', 'finish_run', 'requeue_run',
                  'say_queued', 'thread_history', 'unpublished_ends',
                  'mark_end_published', 'recall_ends', 'release_forgotten',
                  'prune_idempotency', 'prune_runs', 'prune_messages',
                  'register_worker', 'forget_worker')
              WHEN 'app' THEN p.proname = 'send_message'
                  OR (p.proname IN ('cancel_run', 'cancel_thread') AND p.pronargs = 1)
              END
$$;

CREATE OR REPLACE FUNCTION part_tables(p_part text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT AS $$
    SELECT unnest(CASE p_part WHEN 'bridge' THEN '{migrations,threads,messages,runs}'::text[]
                              WHEN 'worker' THEN '{migrations}'
                              WHEN 'app' THEN '{usage_by_owner}' END)
$$;

SELECT settle_rights();
