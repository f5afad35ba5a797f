-- Runs of one thread stand in a queue, are retried and pruned; deleting threads. What was
-- there stays: the daemons of the version before go on working over this schema.
--
-- Who locks both locks the thread first and its runs then, runs in descending order: so
-- nobody waits in a circle. Who cannot know the thread before (claims) skips what is locked.

-- A run waits while an earlier one of its thread lives; nobody claims it then.
ALTER TABLE runs ADD COLUMN waits boolean NOT NULL DEFAULT false;
ALTER TABLE runs ADD COLUMN queued_said boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN runs.waits IS 'behind an earlier run of its thread';
COMMENT ON COLUMN runs.queued_said IS 'readers were told that it is queued';

DROP INDEX runs_queue, runs_slots;
CREATE INDEX runs_queue ON runs (slot, seq) WHERE status = 'queued' AND NOT waits;
CREATE INDEX runs_slots ON runs (owner, slot)
    WHERE status = 'queued' AND NOT waits AND run_at IS NULL;
CREATE INDEX runs_live ON runs (thread_id, seq) WHERE status IN ('queued', 'running');
CREATE INDEX runs_waiting ON runs (thread_id, seq) WHERE waits;
CREATE INDEX runs_delayed ON runs (run_at) WHERE status = 'queued' AND run_at IS NOT NULL;
CREATE INDEX runs_unsaid ON runs (queued_at) WHERE status = 'queued' AND NOT queued_said;
CREATE INDEX runs_by_end ON runs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX messages_by_age ON messages (created_at);

-- --- into the queue ---------------------------------------------------------------------

-- Behind the owner's last one that could be claimed: whoever queues a thousand stands
-- behind another's first, and nobody has to count.
CREATE FUNCTION next_slot(p_owner text) RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT greatest(now(), (SELECT slot + interval '1 second' FROM runs
        WHERE owner = p_owner AND status = 'queued' AND NOT waits AND run_at IS NULL
        ORDER BY slot DESC LIMIT 1))
$$;

CREATE FUNCTION thread_is_busy(p_thread text) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT EXISTS (SELECT FROM runs
        WHERE thread_id = p_thread AND status IN ('queued', 'running'))
$$;

-- The caller has locked the thread.
CREATE FUNCTION make_run(p_thread text, p_message uuid, p_owner text, p_agent text,
                         p_input jsonb, p_waits boolean) RETURNS uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    INSERT INTO runs (thread_id, message_id, owner, agent, input, slot, waits)
        VALUES (p_thread, p_message, p_owner, p_agent, p_input, next_slot(p_owner),
                p_waits)
        RETURNING id
$$;

-- Mode: what becomes of a message whose thread has a live or waiting run. queue (also
-- when nothing or something unknown is said): it waits for them. parallel: it does not.
-- interrupt: they are cancelled. reject: it is refused.
CREATE OR REPLACE FUNCTION message_makes_run() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_mode text := coalesce(NEW.metadata->>'mode', 'queue');
    v_owner text;
BEGIN
    UPDATE threads SET updated_at = now() WHERE id = NEW.thread_id
        RETURNING owner INTO v_owner; -- locks it
    IF v_mode = 'interrupt' THEN
        PERFORM cancel_thread_runs(NEW.thread_id);
    ELSIF v_mode = 'reject' AND thread_is_busy(NEW.thread_id) THEN
        RAISE EXCEPTION 'thread % has a run that has not ended', NEW.thread_id
            USING ERRCODE = 'object_in_use';
    END IF;
    PERFORM make_run(NEW.thread_id, NEW.id, v_owner,
                     coalesce(NEW.metadata->>'agent', 'default'), NEW.metadata->'input',
                     v_mode <> 'parallel' AND thread_is_busy(NEW.thread_id));
    RETURN NULL;
END $$;

-- One hint a transaction, with the ids of the first run: a claim takes many.
CREATE OR REPLACE FUNCTION run_notifies() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF coalesce(current_setting('threadcast.notified', true), '') = '' THEN
        PERFORM set_config('threadcast.notified', 'yes', true);
        PERFORM pg_notify('new_message', json_build_object('threadId', NEW.thread_id,
                          'messageId', NEW.message_id, 'runId', NEW.id)::text);
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER run_inserted_notifies ON runs;
DROP TRIGGER run_requeued_notifies ON runs;
CREATE TRIGGER run_inserted_notifies AFTER INSERT ON runs
    FOR EACH ROW WHEN (NEW.status = 'queued' AND NOT NEW.waits)
    EXECUTE FUNCTION run_notifies();
CREATE TRIGGER run_requeued_notifies AFTER UPDATE OF status, waits ON runs
    FOR EACH ROW WHEN (NEW.status = 'queued' AND NOT NEW.waits AND NEW.run_at IS NULL
                       AND (OLD.status <> 'queued' OR OLD.waits))
    EXECUTE FUNCTION run_notifies();

-- The thread's first run that has not ended may be claimed.
CREATE FUNCTION release_next(p_thread text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM FROM threads WHERE id = p_thread FOR NO KEY UPDATE;
    IF FOUND THEN
        UPDATE runs SET waits = false, slot = next_slot(owner)
            WHERE waits AND id = (SELECT id FROM runs
                WHERE thread_id = p_thread AND status IN ('queued', 'running')
                ORDER BY seq LIMIT 1);
    END IF;
END $$;

CREATE FUNCTION run_end_releases() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM release_next(OLD.thread_id);
    RETURN NULL;
END $$;
CREATE TRIGGER run_end_releases AFTER UPDATE OF status ON runs
    FOR EACH ROW WHEN (OLD.status IN ('queued', 'running')
                       AND NEW.status IN ('done', 'failed', 'cancelled'))
    EXECUTE FUNCTION run_end_releases();
CREATE TRIGGER run_gone_releases AFTER DELETE ON runs
    FOR EACH ROW WHEN (OLD.status IN ('queued', 'running'))
    EXECUTE FUNCTION run_end_releases();

-- What nobody has let go, because a trigger was switched off.
CREATE FUNCTION release_forgotten(p_n int) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_thread text;
    v_n bigint := 0;
BEGIN
    FOR v_thread IN SELECT w.thread_id
        FROM (SELECT DISTINCT thread_id FROM runs WHERE waits) AS w
        WHERE (SELECT r.waits FROM runs AS r WHERE r.thread_id = w.thread_id
                  AND r.status IN ('queued', 'running') ORDER BY r.seq LIMIT 1)
        ORDER BY w.thread_id LIMIT p_n
    LOOP
        PERFORM release_next(v_thread);
        v_n := v_n + 1;
    END LOOP;
    RETURN v_n;
END $$;

-- --- for the bridge ---------------------------------------------------------------------

-- outcome: ok | forbidden | conflict (same key, other body) | rejected (mode reject, and
-- the thread has a run that has not ended).
DROP FUNCTION post_message(text, text, text, text, jsonb, text, text, text);
CREATE FUNCTION post_message(p_thread text, p_sub text, p_content text, p_agent text,
                             p_metadata jsonb, p_cursor text, p_key text, p_hash text,
                             p_mode text DEFAULT NULL,
                             OUT outcome text, OUT answer jsonb)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v_metadata jsonb := coalesce(p_metadata, '{}')
        || jsonb_strip_nulls(jsonb_build_object('agent', p_agent, 'mode', p_mode));
    v_message uuid;
    v_kept idempotency%ROWTYPE;
BEGIN
    PERFORM FROM threads WHERE id = p_thread AND owner = p_sub FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'forbidden';
        RETURN;
    END IF;
    IF p_key IS NOT NULL THEN
        INSERT INTO idempotency AS i (sub, thread_id, key, body_hash)
            VALUES (p_sub, p_thread, p_key, p_hash)
            ON CONFLICT (sub, thread_id, key) DO UPDATE
                SET body_hash = excluded.body_hash, answer = NULL, created_at = now()
                WHERE i.created_at < now() - interval '24 hours';
        IF NOT FOUND THEN
            SELECT * INTO STRICT v_kept FROM idempotency
                WHERE sub = p_sub AND thread_id = p_thread AND key = p_key;
            IF v_kept.body_hash = p_hash THEN
                outcome := 'ok';
                answer := v_kept.answer;
            ELSE
                outcome := 'conflict';
            END IF;
            RETURN;
        END IF;
    END IF;
    IF v_metadata->>'mode' = 'reject' AND thread_is_busy(p_thread) THEN
        DELETE FROM idempotency
            WHERE sub = p_sub AND thread_id = p_thread AND key = p_key;
        outcome := 'rejected';
        RETURN;
    END IF;
    INSERT INTO messages (thread_id, role, content, author, metadata)
        VALUES (p_thread, 'user', p_content, p_sub, v_metadata)
        RETURNING id INTO v_message;
    outcome := 'ok';
    UPDATE runs SET cursor = p_cursor WHERE message_id = v_message;
    answer := run_answer(v_message, (SELECT array_agg(id) FROM runs
                                     WHERE message_id = v_message), p_cursor);
    IF p_key IS NOT NULL THEN
        UPDATE idempotency SET answer = post_message.answer
            WHERE sub = p_sub AND thread_id = p_thread AND key = p_key;
    END IF;
END $$;

-- What whoever asked is told of the runs that were made.
CREATE FUNCTION run_answer(p_message uuid, p_runs uuid[], p_cursor text) RETURNS jsonb
LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT jsonb_build_object('messageId', p_message, 'cursor', p_cursor,
               'runId', (array_agg(id ORDER BY seq))[1],
               'runs', coalesce(jsonb_agg(jsonb_build_object('runId', id, 'agent', agent,
                                'messageId', reply_id) ORDER BY seq), '[]'))
        FROM runs WHERE id = ANY (p_runs)
$$;

-- A new run, with an answer of its own, for the message of one that has ended.
-- outcome: ok | live (that message is being answered) | forbidden.
CREATE FUNCTION retry_run(p_run uuid, p_sub text, p_cursor text,
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
                      thread_is_busy(v.thread_id));
    UPDATE runs SET cursor = p_cursor WHERE id = v_new;
    outcome := 'ok';
    answer := run_answer(v.message_id, ARRAY[v_new], p_cursor);
END $$;

-- Its messages and runs go with it. Workers that still have one hear of it now; otherwise
-- their next renewal changes nothing. outcome: ok | forbidden.
CREATE FUNCTION delete_thread(p_thread text, p_sub text, OUT outcome text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM threads WHERE id = p_thread AND (p_sub IS NULL OR owner = p_sub)
        FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'forbidden';
        RETURN;
    END IF;
    PERFORM pg_notify('run_control', id::text) FROM runs
        WHERE thread_id = p_thread AND status = 'running';
    -- the cascade would take them in any order
    PERFORM FROM runs WHERE thread_id = p_thread ORDER BY seq DESC FOR UPDATE;
    DELETE FROM threads WHERE id = p_thread;
    outcome := 'ok';
END $$;

-- As it was, behind the thread's lock.
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
        end_events = CASE status WHEN 'queued' THEN jsonb_build_array(
            jsonb_build_object('type', 'status', 'ts', unix_ms(), 'agentId', agent,
                'content', jsonb_build_object('status', 'cancelled')),
            jsonb_build_object('type', 'done', 'ts', unix_ms(), 'agentId', agent,
                'content', jsonb_build_object('messageId', reply_id,
                                              'finishReason', 'cancelled'))) END
        WHERE id = p_run AND status IN ('queued', 'running')
          AND (p_sub IS NULL OR EXISTS (SELECT FROM threads AS t
                                        WHERE t.id = r.thread_id AND t.owner = p_sub))
        RETURNING * INTO v;
    IF FOUND THEN
        outcome := 'accepted';
        PERFORM pg_notify('run_control', p_run::text);
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

-- Last ones first: none is let go by the end of the one before.
CREATE FUNCTION cancel_thread_runs(p_thread text) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_run uuid;
    v_n bigint := 0;
BEGIN
    FOR v_run IN SELECT id FROM runs
        WHERE thread_id = p_thread AND status IN ('queued', 'running') ORDER BY seq DESC
    LOOP
        PERFORM cancel_run(v_run, NULL);
        v_n := v_n + 1;
    END LOOP;
    RETURN v_n;
END $$;

-- --- for the worker ---------------------------------------------------------------------

-- What ends a run that was cancelled and has no worker to say so.
CREATE FUNCTION cancelled_end(p_agent text, p_reply uuid) RETURNS jsonb
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT jsonb_build_array(
        jsonb_build_object('type', 'status', 'ts', unix_ms(), 'agentId', p_agent,
            'content', jsonb_build_object('status', 'cancelled')),
        jsonb_build_object('type', 'done', 'ts', unix_ms(), 'agentId', p_agent,
            'content', jsonb_build_object('messageId', p_reply,
                                          'finishReason', 'cancelled')))
$$;

-- Takes up to p_n runs: expired ones first (with p_expired), then waiting ones. An
-- expired run counts a failure; at p_max failures it ends instead. Nothing counts as
-- expired until one lease after Postgres itself started, so that workers can renew what
-- is theirs first.
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
                  AND failures + 1 < p_max
                ORDER BY lease_until LIMIT p_n FOR UPDATE SKIP LOCKED),
        took AS (
            UPDATE runs AS r SET attempt = attempt + 1, failures = failures + 1,
                worker = p_worker, lease_until = v_now + v_lease
                FROM expired WHERE r.id = expired.id RETURNING r.id)
        SELECT coalesce(array_agg(id), '{}') INTO v_old FROM took;
    END IF;
    WITH waiting AS (
        SELECT id FROM runs WHERE status = 'queued' AND NOT waits
              AND (run_at IS NULL OR run_at <= v_now)
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

CREATE OR REPLACE FUNCTION next_claim_ms(p_worker text) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT CASE WHEN at < clock_timestamp() THEN 0
                ELSE ceil(extract(epoch FROM at - clock_timestamp()) * 1000) END::bigint
        FROM (SELECT least(
            (SELECT lease_until FROM runs WHERE status = 'running' AND worker <> p_worker
                ORDER BY lease_until LIMIT 1),
            (SELECT run_at FROM runs WHERE status = 'queued' AND run_at IS NOT NULL
                AND run_at > clock_timestamp() ORDER BY run_at LIMIT 1)) AS at) AS soonest
        WHERE at IS NOT NULL
$$;

-- A row that somebody else holds is not waited for: the others' leases would pass
-- meanwhile. It is still ours as far as can be seen, and renewed the next time.
CREATE OR REPLACE FUNCTION renew_runs(p_worker text, p_runs uuid[], p_attempts int[],
                                      p_lease_ms int)
RETURNS TABLE (run_id uuid, cancelled boolean)
LANGUAGE sql SET search_path FROM CURRENT AS $$
    WITH mine AS MATERIALIZED (
        SELECT r.id, r.cancel_at
            FROM runs AS r JOIN unnest(p_runs, p_attempts) AS m (id, attempt)
                ON m.id = r.id AND m.attempt = r.attempt
            WHERE r.status = 'running' AND r.worker = p_worker),
    free AS MATERIALIZED (
        SELECT r.id FROM runs AS r JOIN unnest(p_runs, p_attempts) AS m (id, attempt)
                ON m.id = r.id AND m.attempt = r.attempt
            WHERE r.status = 'running' AND r.worker = p_worker
            ORDER BY r.seq DESC FOR NO KEY UPDATE OF r SKIP LOCKED),
    renewed AS (
        UPDATE runs AS r
            SET lease_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
            FROM free WHERE r.id = free.id RETURNING r.id)
    SELECT mine.id, mine.cancel_at IS NOT NULL
        FROM mine LEFT JOIN renewed ON renewed.id = mine.id
$$;

CREATE OR REPLACE FUNCTION hand_back(p_worker text, p_runs uuid[], p_attempts int[])
RETURNS SETOF uuid
LANGUAGE sql SET search_path FROM CURRENT AS $$
    WITH mine AS MATERIALIZED (
        SELECT r.id FROM runs AS r JOIN unnest(p_runs, p_attempts) AS m (id, attempt)
                ON m.id = r.id AND m.attempt = r.attempt
            WHERE r.status = 'running' AND r.worker = p_worker
            ORDER BY r.seq DESC FOR NO KEY UPDATE OF r)
    UPDATE runs AS r SET status = 'queued', worker = NULL, lease_until = NULL
        FROM mine WHERE r.id = mine.id
        RETURNING r.id
$$;

-- As it was, behind the thread's lock.
CREATE OR REPLACE FUNCTION finish_run(p_run uuid, p_attempt int, p_status text,
                                      p_content text, p_metadata jsonb, p_author text,
                                      p_events jsonb, p_seq bigint, p_error jsonb,
                                      p_usage jsonb,
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

-- An agent failed and says that trying again may help: back into the queue after a pause
-- that doubles with each failure, jittered. outcome: ok (delay_ms says when) | spent
-- (that was the last try: finish it) | cancelled (was asked for meanwhile: finish it as
-- that) | lost. Asked again after a lost answer it says ok again.
CREATE FUNCTION requeue_run(p_run uuid, p_attempt int, p_base_ms int, p_cap_ms int,
                            p_max int, OUT outcome text, OUT delay_ms bigint)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v runs%ROWTYPE;
BEGIN
    SELECT * INTO v FROM runs WHERE id = p_run AND attempt = p_attempt FOR NO KEY UPDATE;
    IF v.status = 'queued' THEN
        outcome := 'ok';
        delay_ms := greatest(0, extract(epoch FROM coalesce(v.run_at, now())
                                        - clock_timestamp()) * 1000)::bigint;
    ELSIF v.status IS DISTINCT FROM 'running' THEN
        outcome := 'lost';
    ELSIF v.cancel_at IS NOT NULL THEN
        outcome := 'cancelled';
    ELSIF v.failures + 1 >= p_max THEN
        outcome := 'spent';
    ELSE
        outcome := 'ok';
        delay_ms := least(p_cap_ms, p_base_ms * 2 ^ least(v.failures, 20))
                    * (0.5 + random() / 2);
        UPDATE runs SET status = 'queued', failures = failures + 1, worker = NULL,
            lease_until = NULL,
            run_at = clock_timestamp() + delay_ms * interval '1 millisecond',
            slot = clock_timestamp() + delay_ms * interval '1 millisecond'
            WHERE id = p_run;
    END IF;
END $$;

-- Runs that wait longer than p_after_ms and of which readers have not been told: once.
-- (EXECUTE, so that the limit is known to the planner: it reads no more than that.)
CREATE FUNCTION say_queued(p_n int, p_after_ms int)
RETURNS TABLE (run_id uuid, thread_id text, reply_id uuid, agent text, waits boolean)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RETURN QUERY EXECUTE format('
        WITH unsaid AS (
            SELECT id FROM runs WHERE status = ''queued'' AND NOT queued_said
                  AND queued_at < clock_timestamp() - %s * interval ''1 millisecond''
                ORDER BY queued_at LIMIT %s FOR UPDATE SKIP LOCKED)
        UPDATE runs AS r SET queued_said = true FROM unsaid WHERE r.id = unsaid.id
            RETURNING r.id, r.thread_id, r.reply_id, r.agent, r.waits',
        p_after_ms, p_n);
END $$;

-- What was said in a thread before a message, as 0001 has it, but an answer stands where
-- its question stands: it may have come after the message that waited for it.
CREATE OR REPLACE FUNCTION thread_history(p_thread text, p_before uuid, p_n int,
                                          p_bytes bigint)
RETURNS jsonb
LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', id, 'role', role,
                    'content', content, 'author', author, 'createdAt', created_at)
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

-- --- housekeeping -----------------------------------------------------------------------
-- Each deletes at most p_n rows and says how many, so that nobody has to wait for it.

CREATE FUNCTION prune_idempotency(p_n int) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT AS $$
    WITH old AS (
        SELECT sub, thread_id, key FROM idempotency
            WHERE created_at < now() - interval '24 hours'
            ORDER BY created_at LIMIT p_n FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM idempotency AS i USING old
            WHERE i.sub = old.sub AND i.thread_id = old.thread_id AND i.key = old.key
            RETURNING 1)
    SELECT count(*) FROM gone
$$;

-- Runs that ended that long ago and whose end is published. Their messages stay.
CREATE FUNCTION prune_runs(p_days int, p_n int) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT AS $$
    WITH old AS (
        SELECT id FROM runs WHERE ended_at < now() - p_days * interval '1 day'
              AND end_published_at IS NOT NULL
            ORDER BY ended_at LIMIT p_n FOR UPDATE SKIP LOCKED),
    gone AS (DELETE FROM runs AS r USING old WHERE r.id = old.id RETURNING 1)
    SELECT count(*) FROM gone
$$;

-- Messages of that age, with their runs; not while a run of theirs lives or has an end
-- that is still to be published.
CREATE FUNCTION prune_messages(p_days int, p_n int) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT AS $$
    WITH old AS (
        SELECT id FROM messages AS m WHERE created_at < now() - p_days * interval '1 day'
              AND NOT EXISTS (SELECT FROM runs AS r WHERE r.message_id = m.id
                                AND r.end_published_at IS NULL)
              AND NOT EXISTS (SELECT FROM runs AS r WHERE r.id = m.run_id
                                AND r.end_published_at IS NULL)
            ORDER BY created_at LIMIT p_n FOR UPDATE SKIP LOCKED),
    gone AS (DELETE FROM messages AS m USING old WHERE m.id = old.id RETURNING 1)
    SELECT count(*) FROM gone
$$;
