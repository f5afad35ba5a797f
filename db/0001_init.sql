-- Threads, messages and runs. Run by `threadcast-worker migrate` in one transaction with
-- search_path set to the schema; nothing here names it, so it may have any name.
--
-- An application may insert a `user` message with plain SQL: a trigger makes its run.
-- All times are the database's. Every write of a run carries its attempt: the lease only
-- says when others may try, the attempt says who is right.

CREATE TABLE threads (
    id         text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9._-]{1,128}$'),
    owner      text NOT NULL CHECK (owner <> ''),
    metadata   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX threads_by_owner ON threads (owner, updated_at DESC, id);

CREATE TABLE messages (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    seq        bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    thread_id  text NOT NULL REFERENCES threads ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    content    text NOT NULL,
    author     text,
    reply_to   uuid,
    run_id     uuid,
    metadata   jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX messages_by_thread ON messages (thread_id, seq);

CREATE TABLE runs (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    seq          bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    thread_id    text NOT NULL REFERENCES threads ON DELETE CASCADE,
    message_id   uuid NOT NULL REFERENCES messages ON DELETE CASCADE,
    reply_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    owner        text NOT NULL,
    agent        text NOT NULL DEFAULT 'default'
                 CHECK (agent ~ '^[A-Za-z0-9._:-]{1,64}$'),
    input        jsonb,
    status       text NOT NULL DEFAULT 'queued'
                 CHECK (status IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    attempt      int NOT NULL DEFAULT 0,
    failures     int NOT NULL DEFAULT 0,
    lease_until  timestamptz,
    worker       text,
    cursor       text,
    run_at       timestamptz,
    slot         timestamptz NOT NULL DEFAULT now(),
    cancel_at    timestamptz,
    error        jsonb,
    usage        jsonb,
    end_events   jsonb,
    end_seq      bigint,
    end_published_at timestamptz,
    queued_at    timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    ended_at     timestamptz,
    CHECK (status <> 'running' OR (lease_until IS NOT NULL AND worker IS NOT NULL)),
    CHECK ((status IN ('done', 'failed', 'cancelled'))
           = (ended_at IS NOT NULL AND end_events IS NOT NULL))
);
COMMENT ON COLUMN runs.agent IS '''default'' is what the worker was started with';
COMMENT ON COLUMN runs.reply_id IS 'the id of the answer, the same for every attempt';
COMMENT ON COLUMN runs.end_events IS
    'what ends the run: [{"type","content","ts","agentId"}, …], the last is done or error';
COMMENT ON COLUMN runs.end_seq IS
    'the number of the first of end_events within the attempt; null: this attempt has '
    'published nothing, so the end is published with a beginning';
-- the queue, what others may take over, what is still to be published, an owner's last
CREATE INDEX runs_queue ON runs (slot, seq) WHERE status = 'queued';
CREATE INDEX runs_leases ON runs (lease_until) WHERE status = 'running';
CREATE INDEX runs_unpublished ON runs (ended_at)
    WHERE end_published_at IS NULL AND end_events IS NOT NULL;
CREATE INDEX runs_slots ON runs (owner, slot) WHERE status = 'queued';
CREATE INDEX runs_by_thread ON runs (thread_id, seq);
CREATE INDEX runs_by_message ON runs (message_id);

CREATE TABLE idempotency (
    sub        text NOT NULL,
    thread_id  text NOT NULL REFERENCES threads ON DELETE CASCADE,
    key        text NOT NULL,
    body_hash  text NOT NULL,
    answer     jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sub, thread_id, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);
CREATE INDEX idempotency_by_thread ON idempotency (thread_id);

-- --- triggers ---------------------------------------------------------------------------

-- A slot is the owner's last waiting one plus a second: whoever queues a thousand stands
-- behind another's first, and nobody has to count.
CREATE FUNCTION message_makes_run() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_owner text;
    v_last timestamptz;
BEGIN
    UPDATE threads SET updated_at = now() WHERE id = NEW.thread_id
        RETURNING owner INTO v_owner;
    SELECT slot INTO v_last FROM runs WHERE owner = v_owner AND status = 'queued'
        ORDER BY slot DESC LIMIT 1;
    INSERT INTO runs (thread_id, message_id, owner, agent, input, slot)
        VALUES (NEW.thread_id, NEW.id, v_owner,
                coalesce(NEW.metadata->>'agent', 'default'), NEW.metadata->'input',
                greatest(now(), v_last + interval '1 second'));
    RETURN NULL;
END $$;
CREATE TRIGGER message_makes_run AFTER INSERT ON messages
    FOR EACH ROW WHEN (NEW.role = 'user') EXECUTE FUNCTION message_makes_run();

-- Ids only: a payload is limited to 7,999 bytes.
CREATE FUNCTION run_notifies() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_notify('new_message', json_build_object('threadId', NEW.thread_id,
                      'messageId', NEW.message_id, 'runId', NEW.id)::text);
    RETURN NULL;
END $$;
CREATE TRIGGER run_inserted_notifies AFTER INSERT ON runs
    FOR EACH ROW WHEN (NEW.status = 'queued') EXECUTE FUNCTION run_notifies();
CREATE TRIGGER run_requeued_notifies AFTER UPDATE OF status ON runs
    FOR EACH ROW WHEN (NEW.status = 'queued' AND OLD.status <> 'queued')
    EXECUTE FUNCTION run_notifies();

CREATE FUNCTION thread_notifies() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_notify('thread_changed', OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER thread_owner_notifies AFTER UPDATE OF owner ON threads
    FOR EACH ROW WHEN (OLD.owner IS DISTINCT FROM NEW.owner)
    EXECUTE FUNCTION thread_notifies();
CREATE TRIGGER thread_gone_notifies AFTER DELETE ON threads
    FOR EACH ROW EXECUTE FUNCTION thread_notifies();

-- --- for the bridge ---------------------------------------------------------------------

-- outcome: ok | forbidden | conflict (same key, other body). Two equal keys at once make
-- one run: the second insert waits for the first transaction's end.
CREATE FUNCTION post_message(p_thread text, p_sub text, p_content text, p_agent text,
                             p_metadata jsonb, p_cursor text, p_key text, p_hash text,
                             OUT outcome text, OUT answer jsonb)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v_message uuid;
    v_runs jsonb;
    v_run uuid;
    v_kept idempotency%ROWTYPE;
BEGIN
    PERFORM FROM threads WHERE id = p_thread AND owner = p_sub;
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
    INSERT INTO messages (thread_id, role, content, author, metadata)
        VALUES (p_thread, 'user', p_content, p_sub, coalesce(p_metadata, '{}')
                || CASE WHEN p_agent IS NULL THEN '{}'
                        ELSE jsonb_build_object('agent', p_agent) END)
        RETURNING id INTO v_message;
    WITH made AS (
        UPDATE runs SET cursor = p_cursor WHERE message_id = v_message
            RETURNING id, agent, reply_id, seq)
    SELECT jsonb_agg(jsonb_build_object('runId', id, 'agent', agent,
                                        'messageId', reply_id) ORDER BY seq),
           (array_agg(id ORDER BY seq))[1]
        INTO v_runs, v_run FROM made;
    outcome := 'ok';
    answer := jsonb_build_object('messageId', v_message, 'cursor', p_cursor,
                                 'runId', v_run, 'runs', coalesce(v_runs, '[]'));
    IF p_key IS NOT NULL THEN
        UPDATE idempotency SET answer = post_message.answer
            WHERE sub = p_sub AND thread_id = p_thread AND key = p_key;
    END IF;
END $$;

-- outcome: ok | exists (whoever owns it; nothing is told about it).
CREATE FUNCTION create_thread(p_id text, p_owner text, p_metadata jsonb,
                              OUT outcome text, OUT id text, OUT created_at timestamptz)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v_row threads%ROWTYPE;
BEGIN
    INSERT INTO threads (id, owner, metadata)
        VALUES (coalesce(p_id, gen_random_uuid()::text), p_owner,
                coalesce(p_metadata, '{}'))
        ON CONFLICT DO NOTHING RETURNING * INTO v_row;
    outcome := CASE WHEN v_row.id IS NULL THEN 'exists' ELSE 'ok' END;
    id := v_row.id;
    created_at := v_row.created_at;
END $$;

-- Milliseconds since 1970, as events have them.
CREATE FUNCTION unix_ms() RETURNS bigint LANGUAGE sql VOLATILE
    RETURN (extract(epoch FROM clock_timestamp()) * 1000)::bigint;

-- outcome: accepted (the end is an event) | ended (status says how) | forbidden (not
-- there, or not theirs). A waiting run ends here; a running one is told.
CREATE FUNCTION cancel_run(p_run uuid, p_sub text,
                           OUT outcome text, OUT status text, OUT thread_id text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v runs%ROWTYPE;
BEGIN
    UPDATE runs AS r SET
        cancel_at = coalesce(cancel_at, now()),
        status = CASE status WHEN 'queued' THEN 'cancelled' ELSE status END,
        attempt = attempt + (status = 'queued')::int,
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

-- --- for the worker ---------------------------------------------------------------------

-- Takes up to p_n runs: expired ones first (with p_expired), then waiting ones. An
-- expired run counts a failure; at p_max failures it ends instead. Nothing counts as expired until one lease
-- after Postgres itself started, so that workers can renew what is theirs first.
CREATE FUNCTION claim_runs(p_worker text, p_n int, p_lease_ms int, p_max int,
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
BEGIN
    IF p_expired AND v_now > pg_postmaster_start_time() + v_lease THEN
        WITH lost AS (
            SELECT id FROM runs WHERE status = 'running' AND lease_until < v_now
                AND failures + 1 >= p_max
                ORDER BY lease_until LIMIT 100 FOR UPDATE SKIP LOCKED)
        UPDATE runs AS r SET status = 'failed', attempt = attempt + 1,
            failures = failures + 1, ended_at = v_now, end_seq = NULL,
            error = jsonb_build_object('code', 'worker_lost', 'retryable', true,
                'message', 'The worker of this run was lost too often.'),
            end_events = jsonb_build_array(jsonb_build_object('type', 'error',
                'ts', unix_ms(), 'agentId', agent, 'content',
                jsonb_build_object('code', 'worker_lost', 'retryable', true,
                    'message', 'The worker of this run was lost too often.')))
            FROM lost WHERE r.id = lost.id;
        WITH expired AS (
            SELECT id FROM runs WHERE status = 'running' AND lease_until < v_now
                ORDER BY lease_until LIMIT p_n FOR UPDATE SKIP LOCKED),
        took AS (
            UPDATE runs AS r SET attempt = attempt + 1, failures = failures + 1,
                worker = p_worker, lease_until = v_now + v_lease
                FROM expired WHERE r.id = expired.id RETURNING r.id)
        SELECT coalesce(array_agg(id), '{}') INTO v_old FROM took;
    END IF;
    WITH waiting AS (
        SELECT id FROM runs WHERE status = 'queued' AND (run_at IS NULL OR run_at <= v_now)
            ORDER BY slot, seq LIMIT p_n - cardinality(v_old) FOR UPDATE SKIP LOCKED),
    took AS (
        UPDATE runs AS r SET status = 'running', attempt = attempt + 1,
            worker = p_worker, lease_until = v_now + v_lease,
            started_at = coalesce(started_at, v_now)
            FROM waiting WHERE r.id = waiting.id RETURNING r.id)
    SELECT coalesce(array_agg(id), '{}') INTO v_new FROM took;
    RETURN QUERY
        SELECT r.id, r.thread_id, r.message_id, r.reply_id, r.agent, r.input, r.attempt,
               r.cancel_at IS NOT NULL, m.content, m.metadata, r.id = ANY (v_old)
        FROM runs AS r JOIN messages AS m ON m.id = r.message_id
        WHERE r.id = ANY (v_old || v_new) ORDER BY r.slot, r.seq;
END $$;

-- Milliseconds until there may be something to claim that no NOTIFY tells of: another
-- worker's lease, a delayed run. NULL: nothing known.
CREATE FUNCTION next_claim_ms(p_worker text) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT CASE WHEN at < clock_timestamp() THEN 0
                ELSE ceil(extract(epoch FROM at - clock_timestamp()) * 1000) END::bigint
        FROM (SELECT least(
            (SELECT lease_until FROM runs WHERE status = 'running' AND worker <> p_worker
                ORDER BY lease_until LIMIT 1),
            (SELECT min(run_at) FROM (SELECT run_at FROM runs WHERE status = 'queued'
                ORDER BY slot, seq LIMIT 100) AS first)) AS at) AS soonest
        WHERE at IS NOT NULL
$$;

-- Those of the given runs that are still this worker's, with a new lease.
CREATE FUNCTION renew_runs(p_worker text, p_runs uuid[], p_attempts int[], p_lease_ms int)
RETURNS TABLE (run_id uuid, cancelled boolean)
LANGUAGE sql SET search_path FROM CURRENT AS $$
    UPDATE runs AS r
        SET lease_until = clock_timestamp() + p_lease_ms * interval '1 millisecond'
        FROM unnest(p_runs, p_attempts) AS mine (id, attempt)
        WHERE r.id = mine.id AND r.attempt = mine.attempt AND r.status = 'running'
          AND r.worker = p_worker
        RETURNING r.id, r.cancel_at IS NOT NULL
$$;

-- The end, in one transaction: the answer, the status, the events to be published.
-- outcome: ok | kept (this very attempt had ended it before; status says how) | lost.
-- Without text only a finished run gets a message.
CREATE FUNCTION finish_run(p_run uuid, p_attempt int, p_status text, p_content text,
                           p_metadata jsonb, p_author text, p_events jsonb, p_seq bigint,
                           p_error jsonb, p_usage jsonb,
                           OUT outcome text, OUT status text)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
    v runs%ROWTYPE;
BEGIN
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
        UPDATE threads SET updated_at = now() WHERE id = v.thread_id;
        RETURN;
    END IF;
    SELECT * INTO v FROM runs WHERE id = p_run AND attempt = p_attempt
        AND status IN ('done', 'failed', 'cancelled');
    outcome := CASE WHEN FOUND THEN 'kept' ELSE 'lost' END;
    status := v.status;
END $$;

-- Ends that nobody has published a second after they were committed.
CREATE FUNCTION unpublished_ends(p_n int)
RETURNS TABLE (run_id uuid, thread_id text, reply_id uuid, attempt int, end_seq bigint,
               end_events jsonb, content text)
LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT r.id, r.thread_id, r.reply_id, r.attempt, r.end_seq, r.end_events, m.content
        FROM (SELECT * FROM runs WHERE end_published_at IS NULL AND end_events IS NOT NULL
                AND ended_at < clock_timestamp()
                    - CASE WHEN end_seq IS NULL THEN 0 ELSE 1 END * interval '1 second'
                ORDER BY ended_at LIMIT p_n) AS r
        LEFT JOIN messages AS m ON m.id = r.reply_id
$$;

CREATE FUNCTION mark_end_published(p_runs uuid[]) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT AS $$
    WITH marked AS (
        UPDATE runs SET end_published_at = clock_timestamp()
            WHERE id = ANY (p_runs) AND end_published_at IS NULL
              AND end_events IS NOT NULL RETURNING 1)
    SELECT count(*) FROM marked
$$;

-- Back into the queue, where it stood; no failure is counted.
CREATE FUNCTION hand_back(p_worker text, p_runs uuid[], p_attempts int[])
RETURNS SETOF uuid
LANGUAGE sql SET search_path FROM CURRENT AS $$
    UPDATE runs AS r SET status = 'queued', worker = NULL, lease_until = NULL
        FROM unnest(p_runs, p_attempts) AS mine (id, attempt)
        WHERE r.id = mine.id AND r.attempt = mine.attempt AND r.status = 'running'
          AND r.worker = p_worker
        RETURNING r.id
$$;

-- Runs that this worker holds and does not know of: the answer to their claim was lost.
CREATE FUNCTION hand_back_others(p_worker text, p_known uuid[]) RETURNS bigint
LANGUAGE sql SET search_path FROM CURRENT AS $$
    WITH others AS (
        UPDATE runs SET status = 'queued', worker = NULL, lease_until = NULL
            WHERE status = 'running' AND worker = p_worker AND id <> ALL (p_known)
            RETURNING 1)
    SELECT count(*) FROM others
$$;

-- What was said in a thread before a message: the last p_n messages, oldest first, as a
-- JSON array, at most p_bytes of text.
CREATE FUNCTION thread_history(p_thread text, p_before uuid, p_n int, p_bytes bigint)
RETURNS jsonb
LANGUAGE sql SET search_path FROM CURRENT AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', id, 'role', role,
                    'content', content, 'author', author, 'createdAt', created_at)
                    ORDER BY seq), '[]')
        FROM (SELECT *, sum(octet_length(content)) OVER (ORDER BY seq DESC) AS total
                FROM (SELECT * FROM messages WHERE thread_id = p_thread
                        AND seq < (SELECT seq FROM messages WHERE id = p_before)
                        ORDER BY seq DESC LIMIT p_n) AS last) AS counted
        WHERE total <= p_bytes
$$;
