// For each protection: the test that proves it, run on a daemon without it, has to fail.
// A test that passes both ways proves nothing, nor does one that fails both ways or for another
// reason: so it has to pass first, under the same settings, and then to fail by its own words.
// THREADCAST_FULL=1 runs them all, otherwise a few; THREADCAST_CONTROLS=<words> those whose name
// has one of them.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { BIN, ROOT } from '../e2e/harness.mjs';
import { mutant } from './mutant.mjs';

/**
 * @typedef {import('./mutant.mjs').Mutation & { name: string, file?: string, test: string, fails: RegExp, always?: boolean }} Control
 *   file, test: below tests/, and a pattern of the test's name (of a unit test: its name);
 *   fails: what that test has to say when it sees it, for a crash or a wrong port is no proof
 */

/** @type {Control[]} */
const CONTROLS = [
    { name: 'a hole is filled', always: true, daemon: 'bridge', source: 'bridge/hub.c',
      from: 'stats->holes++;\n        fill_start(t);', to: 'publish_json(t, data, len, &view);',
      file: 'e2e/hub.test.mjs', test: 'a hole in the numbers is filled',
      fails: /not within \d+ ms: text: found/ },
    { name: 'a duplicate is dropped', daemon: 'bridge', source: 'bridge/hub.c',
      from: 'stats->drop_duplicate++;', to: 'publish_json(t, data, len, &view);',
      file: 'e2e/hub.test.mjs', test: 'duplicates and invented ids',
      fails: /not within \d+ ms: text: \w*again/ },
    { name: 'a position is proved', always: true, daemon: 'bridge', source: 'bridge/sub.c',
      from: 'return !good;', to: 'return false;',
      file: 'e2e/sse.test.mjs', test: 'ready gives a position',
      fails: /not within \d+ ms: the event .*=== name/ },
    { name: 'who comes back gets what is behind its id', daemon: 'bridge', source: 'bridge/stream.c',
      from: 't->since = SINCE_ID;', to: 't->since = SINCE_NOW;',
      file: 'faults/deploys.test.mjs', test: 'kills of a bridge',
      fails: /^kill 1\n[^]*violation: '(lost|position)/ },
    { name: 'a page is joined to the feed', daemon: 'bridge', source: 'bridge/sub.c',
      from: 'bool behind = behind_feed(s);', to: 'bool behind = false;',
      file: 'e2e/hub.test.mjs', test: 'joining while events pour in',
      fails: /^stream \d+\n/ },
    { name: 'only the thread of the channel', daemon: 'bridge', source: 'bridge/hub.c',
      from: 'if (check != EVENT_OK) {', to: 'if (check != EVENT_OK && check != EVENT_WRONG_THREAD) {',
      file: 'e2e/hub.test.mjs', test: 'what is not an event of this thread',
      fails: /\+ 'x'\n- 'hello/ },
    { name: 'owners are asked for', always: true, daemon: 'bridge', source: 'bridge/access.c',
      from: 'owner ? ACCESS_OWNER : ACCESS_DENIED', to: 'owner ? ACCESS_OWNER : ACCESS_OWNER',
      file: 'e2e/auth.test.mjs', test: 'guests: own what they make',
      fails: /200 !== 403/ },
    { name: 'signatures are verified', daemon: 'bridge', source: 'bridge/jwt.c',
      from: 'if (key_verify(key, token, p->signed_len, signature, len))', to: 'if (len)',
      file: 'e2e/auth.test.mjs', test: 'each bit of the signature flipped',
      fails: /^bit 0\s+200 !== 401/ },
    { name: 'a key is for its own algorithm', daemon: 'bridge', source: 'bridge/keyset.c',
      from: 'if (strcmp(key_alg(e->key), alg) != 0)', to: 'if (strcmp(key_alg(e->key), alg) != 0 && strcmp(alg, "ES256") != 0)',
      file: 'e2e/keys.test.mjs', test: 'each of several keys is taken',
      fails: /^ES256\s+200 !== 401/ },
    { name: 'a key says what it is for', daemon: 'bridge', source: 'bridge/jwks.c',
      from: '!agrees(jwk, "use", "sig")', to: '!jwk',
      file: 'e2e/jwks.test.mjs', test: 'what is no key for signatures',
      fails: /4 !== 3/ },
    { name: 'a failed fetch takes no key away', daemon: 'bridge', source: 'bridge/keyring.c',
      from: 'if (ret->taken)', to: 'if (ret)',
      file: 'e2e/jwks.test.mjs', test: 'whatever goes wrong',
      fails: /not within \d+ ms: a fetch ends: failed/ },
    { name: 'the issuer is asked now and then', daemon: 'bridge', source: 'bridge/keyring.c',
      from: 'if (k->wanted_ms && now - k->wanted_ms < least)', to: 'if (now < 0)',
      file: 'e2e/jwks.test.mjs', test: 'a flood of unknown keys',
      fails: /\d !== 3|=== name\nlast bytes: .*token_invalid/ },
    { name: 'an owner that changes closes streams', daemon: 'bridge', source: 'bridge/owners.c',
      from: 'hub_recheck(part->bridge->hub, thread_id);', to: '(void)thread_id;',
      file: 'e2e/auth.test.mjs', test: 'closes within 5 s when the owner changes',
      fails: /not within \d+ ms: the end of the stream/ },
    { name: 'who would not hear of it is not ready', daemon: 'bridge', source: 'bridge/owners.c',
      from: 'pg_state(o->bridge->pg_listen) == PG_READY && pg_hear_proven(o->hear);', to: 'o;',
      file: 'e2e/pgbouncer.test.mjs', test: 'what needs a session is refused',
      fails: /\+   200,\n\+   true,\n-   503,\n-   false,/ },
    { name: 'what is made of a request is for the right `probe` alone', daemon: 'bridge', source: 'bridge/route_probe.c',
      from: 'if (r->identity->everything || r->identity->may_probe)', to: 'if (r->identity)',
      file: 'e2e/doctor.test.mjs', test: 'tells what it makes of a request',
      fails: /200 !== 403/ },
    { name: 'a revocation closes streams', daemon: 'bridge', source: 'bridge/revoke.c',
      from: 'renew_end(c, "revoked", CLOSE_REVOKED);', to: '(void)c;',
      file: 'e2e/revoke.test.mjs', test: 'a subject is revoked',
      fails: /not within \d+ ms: the end of the stream/ },
    { name: 'a stream is lengthened by who reads its threads', daemon: 'bridge', source: 'bridge/extension.c',
      from: 'if (w->denied || ', to: 'if (',
      file: 'e2e/renew.test.mjs', test: 'a fresh token lengthens a stream',
      fails: /^room is not granted\n[^]*\+ '200 undefined'\n- '403 forbidden'/ },
    { name: 'an authorizer says yes by 200 alone', daemon: 'bridge', source: 'bridge/authorized.c',
      from: 'status == 200 ? claims_object(body, len) : NULL', to: 'claims_object(body, len)',
      file: 'e2e/authorize.test.mjs', test: 'no failure is a yes',
      fails: /\"status\":201[^]*\+ '200 undefined'\n- '503 busy'/ },
    { name: 'a revoked token is refused', daemon: 'bridge', source: 'bridge/auth.c',
      from: 'revoked_covers(revoked, id)', to: '!id',
      file: 'e2e/revoke.test.mjs', test: 'one token is revoked by its jti',
      fails: /\+   '200 undefined'\n-   '401 revoked'/ },
    { name: 'a slow reader is cut', daemon: 'bridge', source: 'bridge/client.c',
      from: 'if (queued && queued + m->len > limit) {', to: 'if (queued > SIZE_MAX / 2) {',
      file: 'e2e/sse.test.mjs', test: 'a slow reader is cut',
      fails: /not within \d+ ms: the slow client is closed/ },
    // (a write without progress has two, its own timer and the kernel's; each is enough for the test of the other)
    { name: 'who acknowledges nothing is cut', daemon: 'bridge', source: 'bridge/client.c',
      from: '    expect_acks(c);', to: '    (void)expect_acks;',
      file: 'e2e/half-open.test.mjs', test: 'a reader whose host is gone',
      fails: /not within \d+ ms/ },
    { name: 'moments to come back are spread', daemon: 'bridge', source: 'bridge/clients.c',
      from: 'return clock_jitter(set->bridge->conf->retry_ms);', to: 'return set->bridge->conf->retry_ms;',
      file: 'e2e/sse.test.mjs', test: 'bye is spread',
      fails: /^1 of them differ/ },
    { name: 'the canary', daemon: 'bridge', source: 'bridge/feed.c',
      from: 'redis_drop(f->redis, "the canary did not come back");', to: '(void)f;',
      file: 'faults/recovery.test.mjs', test: 'a subscription that is dead',
      fails: /not within \d+ ms: the event .*=== 'message'/ },
    { name: 'an end that Redis forgot', daemon: 'bridge', source: 'bridge/watch.c',
      from: 'forgotten_ask(t, runs, count);', to: '',
      file: 'faults/recovery.test.mjs', test: 'an end that Redis has forgotten',
      fails: /not within \d+ ms: it is in the log again/ },
    { name: 'a new epoch for another Redis', daemon: 'worker', from: ' or\n    got[4] ~= redis_id', to: '',
      file: 'faults/recovery.test.mjs', test: 'a lagging replica is promoted',
      fails: / was given out again: / },
    { name: 'the fence', daemon: 'worker', from: 'if known and known > attempt then', to: 'if nil then',
      file: 'e2e/kill-faults.test.mjs', test: 'a zombie whose lease nobody renewed',
      fails: /not within \d+ ms: worker says .*a later attempt is known in redis/ },
    { name: 'a page of a stranger drives nothing', daemon: 'bridge', source: 'bridge/origin.c',
      from: 'if (origin.at)\n        return origin_allowed(r, origin);', to: 'if (origin.len > 4096)\n        return false;',
      file: 'e2e/auth.test.mjs', test: 'another page may not drive',
      fails: /201 !== 403/ },
    { name: 'a token that has ended is refused', daemon: 'bridge', source: 'bridge/claims.c',
      from: 'if (now >= ret->exp + CLAIMS_LEEWAY_MS) {', to: 'if (now < 0) {',
      file: 'e2e/auth.test.mjs', test: 'expired',
      fails: /200 !== 401/ },
    { name: 'a stream ends with its token', daemon: 'bridge', source: 'bridge/renew.c',
      from: 'renew_end(c, "expired", CLOSE_TOKEN);', to: '(void)c;',
      file: 'e2e/hub.test.mjs', test: 'a token that ends',
      fails: /not within \d+ ms: the end of the stream/ },
    { name: 'slow headers have an end', daemon: 'bridge', source: 'bridge/conn.c',
      from: 'return in_hurry(c, conf->request_timeout_ms);', to: 'return 0;',
      file: 'e2e/http.test.mjs', test: 'headers that never end',
      fails: /not within \d+ ms: an answer to "GET \/healthz/ },
    { name: 'no body where there is none', daemon: 'bridge', source: 'bridge/http.c',
      from: 'if (bodyless && r->content_length > 0)', to: 'if (bodyless && r->content_length > HTTP_BODY_MAX)',
      file: 'e2e/http.test.mjs', test: 'GET with a body',
      fails: /^HTTP\/1\.1 200 OK[^]*\nHTTP\/1\.1 400/ },
    { name: 'no transfer encoding', daemon: 'bridge', source: 'bridge/http.c',
      from: 'if (http_header(r, "transfer-encoding").at)', to: 'if (!r)',
      file: 'e2e/http.test.mjs', test: 'Content-Length with Transfer-Encoding',
      fails: /not within \d+ ms: an answer to "POST / },
    { name: '--max-clients', daemon: 'bridge', source: 'bridge/limits.c',
      from: 'if (l->streams >= (size_t)l->conf->max_clients)', to: 'if (l->streams == SIZE_MAX)',
      file: 'e2e/reactors.test.mjs', test: 'per address and per user count',
      fails: /40 !== 10/ },
    { name: 'descriptors run out', daemon: 'bridge', source: 'bridge/listener.c',
      from: '    lend_reserve(l);\n    pause_accepting(l);', to: '    pause_accepting(l);',
      file: 'e2e/reactors.test.mjs', test: 'descriptors run out',
      fails: /not within \d+ ms: the event .*=== 'busy'/ },
    { name: 'what a reader sends is bounded', daemon: 'bridge', source: 'bridge/client.c',
      from: 'if (c->read_bytes > READ_MAX)', to: 'if (c->read_bytes == UINT32_MAX)',
      file: 'e2e/hub.test.mjs', test: 'bytes on a stream are not welcome',
      fails: /not within \d+ ms: the end of the stream/ },
    { name: 'a stream of one run has that run alone', daemon: 'bridge', source: 'bridge/client.c',
      from: 'return m->run_len == strlen(c->run_id) &&', to: 'return m->run_len <= UINT8_MAX ||',
      file: 'e2e/pipeline.test.mjs', test: 'that run alone',
      fails: /event\.runId === second\.runId/ },
    { name: 'a merge is of these two', daemon: 'bridge', source: 'bridge/merges.c',
      from: 'if (s->kept[i].tail == tail)', to: 'if (s->kept[i].tail)',
      file: 'e2e/slow.test.mjs', test: 'share what is merged',
      fails: /\+ '0 wörter/ },
    { name: 'a line break stays on its line', daemon: 'bridge', source: 'bridge/msg.c',
      from: "if (at[i] == '\\n' || at[i] == '\\r')", to: "if (at[i] == '\\0')",
      file: 'e2e/bare.test.mjs', test: 'line ends inside',
      fails: /\+ undefined\n- \{\n-   content: 'a'/ },
    { name: 'the same key, once', daemon: 'bridge', from: 'if hash == worker then', to: 'if hash == 0 then',
      file: 'e2e/api.test.mjs', test: 'publishing over HTTP',
      fails: /\+     code: 'idempotency_conflict'/ },
    { name: 'a run that lives is its own', daemon: 'bridge', from: 'if known[1] or known[2] then', to: 'if nil then',
      file: 'e2e/api.test.mjs', test: 'publishing over HTTP',
      fails: /forged\.status >= 400/ },
    { name: 'an agent that hurries is slowed', daemon: 'worker', source: 'worker/run_said.c',
      from: 'if (!r->paused && run_unpublished(r)', to: 'if (r->paused && run_unpublished(r)',
      file: 'e2e/worker.test.mjs', test: 'an agent in a hurry',
      fails: /it was paused/ },
    { name: 'an agent sees what is listed', daemon: 'worker', source: 'worker/agents/exec_spawn.c',
      from: 'if (strncmp(*var, "LC_", 3) != 0)', to: "if (**var == '\\0')",
      file: 'e2e/exec-more.test.mjs', test: 'environment, directory',
      fails: /\+   'DATABASE_URL',/ },
    { name: 'grandchildren go with it', daemon: 'worker', source: 'worker/agents/exec_orphans.c',
      from: 'kill(pid, SIGKILL);', to: '(void)pid;',
      file: 'e2e/exec-more.test.mjs', test: 'leaver: who left',
      fails: /not within \d+ ms: \d+ has gone/ },
    { name: 'a program speaks for its own runs', daemon: 'worker', source: 'worker/agents/exec_host.c',
      from: 'if (a->sent && strcmp(a->run_id, run_id) == 0)', to: 'if (a->sent && run_id[0])',
      file: 'e2e/exec-more.test.mjs', test: 'what a line says of another run',
      fails: /\+ 'forged'\n- 'mine'/ },
    { name: 'no descriptor is inherited', daemon: 'worker', source: 'worker/agents/exec_spawn.c',
      from: 'syscall(SYS_close_range, 3U, ~0U, 0U) == 0', to: 'b != NULL',
      file: 'e2e/exec-more.test.mjs', test: 'environment, directory',
      fails: /descriptors of others\n[^]*\+   7/ },
    { name: 'a line of 252 KiB is the longest', daemon: 'worker', source: 'worker/agents/exec_child.c',
      from: 'exec_lines_init(&c->lines, EXEC_LINE_MAX);', to: 'exec_lines_init(&c->lines, SIZE_MAX / 2);',
      file: 'e2e/worker.test.mjs', test: 'agents that end in every wrong way',
      fails: /did not match the regular expression \/agent said no event \.\*too long/ },
    { name: 'twenty lines that are no event end a run', daemon: 'worker', source: 'worker/agents/exec_agent.c',
      from: 'if (a->bad_lines == BAD_LINES_MAX)', to: 'if (a->bad_lines == 0)',
      file: 'e2e/worker.test.mjs', test: 'agents that end in every wrong way',
      fails: /not within \d+ ms: the end of \S+ is published/ },
    { name: '--max-attempts', daemon: 'worker', source: 'worker/store.c',
      from: 'decimal(&d[2], w->conf->max_attempts), expired', to: 'decimal(&d[2], 1000), expired',
      file: 'e2e/worker-faults.test.mjs', test: 'workers die again and again',
      fails: /^\{"id":.*"status":"done"/ },
    { name: 'an end is for the attempt that has the run', daemon: 'worker',
      from: 'answered_by = p_author,\n            cancel_at = CASE p_status WHEN \'cancelled\' THEN coalesce(cancel_at, now())\n' +
            '                                      ELSE cancel_at END\n            WHERE id = p_run AND attempt = p_attempt AND',
      to: 'answered_by = p_author,\n            cancel_at = CASE p_status WHEN \'cancelled\' THEN coalesce(cancel_at, now())\n' +
          '                                      ELSE cancel_at END\n            WHERE id = p_run AND',
      file: 'e2e/kill-faults.test.mjs', test: 'a worker sleeps past its lease',
      fails: /'ok' !== 'lost'/ },
    { name: 'a lease is renewed for the attempt that has it', daemon: 'worker',
      from: 'SELECT r.id, r.cancel_at\n            FROM runs AS r JOIN unnest(p_runs, p_attempts) AS m (id, attempt)\n' +
            '                ON m.id = r.id AND m.attempt = r.attempt',
      to: 'SELECT r.id, r.cancel_at\n            FROM runs AS r JOIN unnest(p_runs, p_attempts) AS m (id, attempt)\n' +
          '                ON m.id = r.id',
      file: 'e2e/kill-faults.test.mjs', test: 'a worker sleeps past its lease',
      fails: /an attempt of before is not renewed\n/ },
    { name: 'a call that is sent again does nothing twice', daemon: 'worker', from: 'if alive and number < expected then', to: 'if nil then',
      file: 'e2e/worker-faults.test.mjs', test: 'the answers of Redis are lost',
      fails: /each piece once, in order/ },
    { name: 'after an absence of Postgres others may renew first', daemon: 'worker', source: 'worker/intake.c',
      from: 'return now >= in->expired_from_ms;', to: 'return now > 0;',
      file: 'e2e/worker-faults.test.mjs', test: 'Postgres is out of reach for longer than a lease',
      fails: /it is still the first attempt\s+2 !== 1/ },
    { name: 'a lease behind a start of Postgres', daemon: 'worker',
      from: 'agents_elsewhere(p_worker);\n    v_old uuid[] := \'{}\';\n    v_new uuid[];\n    v_lost jsonb := ' +
            '\'{"code": "worker_lost", "retryable": true,\n                      "message": "The worker of this run was lost too often."}\';\n' +
            'BEGIN\n    IF p_expired AND v_now > pg_postmaster_start_time() + v_lease THEN',
      to: 'agents_elsewhere(p_worker);\n    v_old uuid[] := \'{}\';\n    v_new uuid[];\n    v_lost jsonb := ' +
          '\'{"code": "worker_lost", "retryable": true,\n                      "message": "The worker of this run was lost too often."}\';\n' +
          'BEGIN\n    IF p_expired THEN',
      file: 'e2e/durable.test.mjs', test: 'Postgres has just started',
      fails: /nobody has taken it over\s+2 !== 1/ },
    { name: 'a worker that slept renews first', daemon: 'worker', source: 'worker/intake.c',
      from: 'now - in->renewed_ms > in->w->conf->lease_ms * 2 / 3) {', to: 'now < 0) {',
      file: 'e2e/durable.test.mjs', test: 'a worker that slept renews',
      fails: /\+   2,\n\+   1\n/ },
    { name: 'tickets are signed', daemon: 'bridge', source: 'bridge/ticket.c',
      from: 'if (!key_verify(key, text, (size_t)(dot - text), mac, mac_len)) {', to: 'if (!key) {',
      file: 'e2e/auth.test.mjs', test: 'ticket: reads these threads',
      fails: /a forged ticket\s+200 !== 401/ },
    { name: 'tickets end', daemon: 'bridge', source: 'bridge/ticket.c',
      from: 'if (now_ms >= id->expires_ms) {', to: 'if (now_ms < 0) {',
      file: 'e2e/auth.test.mjs', test: 'ticket: no longer than it says',
      fails: /a ticket of before\s+200 !== 401/ },
    { name: 'without authentication only this machine by its own names', daemon: 'bridge', source: 'bridge/origin.c',
      from: 'r->bridge->conf->auth == AUTH_MODE_NONE &&', to: '!r->bridge &&',
      file: 'e2e/auth.test.mjs', test: 'loopback names only',
      fails: /^HTTP\/1\.1 200 / },
    { name: "a stranger's name for this machine makes no guests", daemon: 'bridge', source: 'bridge/origin.c',
      from: '(site_local(&own) || ', to: '(own.host[0] || ',
      file: 'e2e/auth-more.test.mjs', test: "a stranger's name that points here",
      fails: /200 !== 403/ },
    { name: 'a line break in a value stays in its log line', unit: 'test_log', source: 'common/log.c',
      from: `return put(l, "\\\\n", 2);`, to: `return put(l, "\\n", 1);`, test: 'writes_text_lines',
      fails: /q=\\?"a[^]* != / },
    { name: 'the bytes of a reply are limited, piece by piece', unit: 'test_redis_reader', source: 'common/redis_reply.c',
      from: 'rd->bytes += len;', to: '', test: 'test_large',
      fails: /\] --- 0 != 0x2/ },
    { name: 'the bytes of a reply are limited, all at once', unit: 'test_redis_reader', source: 'common/redis_reply.c',
      from: 'if (len > rd->bytes_max || rd->bytes > rd->bytes_max - len) {', to: 'if (len > SIZE_MAX / 2) {', test: 'test_large_at_once',
      fails: /\] --- 0 != 0x2/ },
    { name: 'the elements of a reply are limited', unit: 'test_redis_reader', source: 'common/redis_reply.c',
      from: '(size_t)count > rd->items_max - rd->items', to: '(size_t)count > SIZE_MAX / 64', test: 'test_garbage',
      fails: /\] --- 0x1 != 0x2/ },
    { name: 'a line of a reply is limited', unit: 'test_redis_reader', source: 'common/redis_reply.c',
      from: 'return waiting > REDIS_REPLY_LINE_MAX ? "a line is too long" : NULL;', to: 'return NULL;', test: 'test_line',
      fails: /!= "a line is too long"/ },
];

const REPORTER = path.join(ROOT, 'tests/faults/outcomes.mjs');
/** what one test may take; the tests' own deadlines are shorter */
const RUN_MS = 120_000;

const wanted = process.env.THREADCAST_CONTROLS?.split(',');
const chosen = CONTROLS.filter(({ name, always }) =>
    wanted ? wanted.some((word) => name.includes(word)) : always || process.env.THREADCAST_FULL);

/** @typedef {{ name: string, passed: boolean, kind?: string, message: string }} Ran */

/**
 * Runs a program to its end; null: it was not to be waited for.
 * @param {string} command @param {string[]} args @param {Record<string, string | undefined>} env
 */
function ended(command, args, env) {
    // (a shell, so that both outputs are one, in their order)
    const { status, stdout } = spawnSync('/bin/sh', ['-c', 'exec "$0" "$@" 2>&1', command, ...args],
                                         { encoding: 'utf8', timeout: RUN_MS, env, maxBuffer: 1 << 28 });
    return { status, output: `${status === null ? `not within ${RUN_MS} ms\n` : ''}${stdout}` };
}

/** A unit test: what cmocka prints between the name and the verdict. @param {Control} control @param {string} bin */
function outcomeOfUnit({ unit = '', test: name }, bin) {
    const done = ended(path.join(bin === BIN ? path.join(BIN, '../tests') : bin, unit), [], process.env);
    /** @type {Ran[]} */
    const ran = done.output.split('[ RUN      ] ').slice(1).map((text) => {
        const failed = /^\[  FAILED  \]/m.test(text);
        return { name: text.split('\n')[0], passed: !failed && /^\[       OK \]/m.test(text), message: text,
                 kind: failed ? 'testCodeFailure' : 'neither' };
    });
    return { ...done, ran: ran.filter((one) => one.name === name) };
}

/**
 * Runs the test of a control in a process of its own. What it asks of the daemons is the same
 * with and without the protection.
 * @param {Control} control @param {string} bin
 */
function outcome(control, bin) {
    if (control.unit) return outcomeOfUnit(control, bin);
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const done = ended(process.execPath, ['--test', `--test-reporter=${REPORTER}`, '--test-reporter-destination=stdout',
                                          '--test-name-pattern', control.test, path.join(ROOT, 'tests', control.file ?? '')],
                       { ...env, THREADCAST_BIN: bin, THREADCAST_PATIENCE_MS: '8000' });
    /** @type {Ran[]} */
    const ran = done.output.split('\n').filter((line) => line.startsWith('{"name":')).map((line) => JSON.parse(line));
    return { ...done, ran };
}

/** @param {Control} control */
const placeOf = ({ unit, file, test: name }) => `${unit ? `unit/${unit}` : file} "${name}"`;

/** @type {Map<string, string>} what is wrong with a test on the programs as they are, '' if it passes */
const baselines = new Map();

/** The test passes with the protection, under the settings of the control. @param {Control} control */
function passesUnchanged(control) {
    const key = placeOf(control);
    if (!baselines.has(key)) {
        const { status, ran, output } = outcome(control, BIN);
        baselines.set(key, ran.length === 0 ? `nothing is called ${key}` : status === 0 ? ''
            : `${key} fails on the unchanged programs\n${output.slice(-3000)}`);
    }
    assert.equal(baselines.get(key), '');
}

for (const control of chosen) {
    test(`without: ${control.name}`, { timeout: 3 * RUN_MS }, (t) => {
        passesUnchanged(control);
        const { dir, remove } = mutant(control);
        t.after(remove);
        const { status, ran, output } = outcome(control, dir);
        const key = placeOf(control);
        assert.notEqual(status, 0, `${key} passes without it`);
        assert.notEqual(status, null, `${key} does not come to an end without it\n${output.slice(-3000)}`);
        const failed = ran.filter(({ passed, kind }) => !passed && kind === 'testCodeFailure').map(({ message }) => message);
        const seen = failed.find((message) => control.fails.test(message));
        assert.ok(seen, `${key} does not fail by ${control.fails}, but by\n${failed.join('\n----\n') || output.slice(-3000)}`);
        t.diagnostic(`seen as: ${control.fails.exec(seen)?.[0].replace(/\s+/g, ' ').slice(0, 120)}`);
    });
}
