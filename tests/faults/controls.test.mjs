// For each protection: the test that proves it, run on a daemon without it, has to fail.
// A test that passes both ways proves nothing. THREADCAST_FULL=1 runs them all, otherwise
// a few; THREADCAST_CONTROLS=<words> those whose name has one of them.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT } from '../e2e/harness.mjs';
import { mutant } from './mutant.mjs';

/**
 * @typedef {import('./mutant.mjs').Mutation & { name: string, file: string, test: string, always?: boolean }} Control
 *   file, test: below tests/, and a pattern of the test's name
 */

/** @type {Control[]} */
const CONTROLS = [
    { name: 'a hole is filled', always: true, daemon: 'bridge', source: 'bridge/hub.c',
      from: 'stats->holes++;\n        fill_start(t);', to: 'publish_json(t, data, len, &view);',
      file: 'e2e/hub.test.mjs', test: 'a hole in the numbers is filled' },
    { name: 'a duplicate is dropped', daemon: 'bridge', source: 'bridge/hub.c',
      from: 'stats->drop_duplicate++;', to: 'publish_json(t, data, len, &view);',
      file: 'e2e/hub.test.mjs', test: 'duplicates and invented ids' },
    { name: 'a position is proved', always: true, daemon: 'bridge', source: 'bridge/sub.c',
      from: 'return !good;', to: 'return false;',
      file: 'e2e/sse.test.mjs', test: 'ready gives a position' },
    { name: 'a page is joined to the feed', daemon: 'bridge', source: 'bridge/sub.c',
      from: 'bool behind = behind_feed(s);', to: 'bool behind = false;',
      file: 'e2e/hub.test.mjs', test: 'joining while events pour in' },
    { name: 'only the thread of the channel', daemon: 'bridge', source: 'bridge/hub.c',
      from: 'if (check != EVENT_OK) {', to: 'if (check != EVENT_OK && check != EVENT_WRONG_THREAD) {',
      file: 'e2e/hub.test.mjs', test: 'what is not an event of this thread' },
    { name: 'owners are asked for', always: true, daemon: 'bridge', source: 'bridge/access.c',
      from: 'owner ? ACCESS_OWNER : ACCESS_DENIED', to: 'owner ? ACCESS_OWNER : ACCESS_OWNER',
      file: 'e2e/auth.test.mjs', test: 'guests: own what they make' },
    { name: 'signatures are verified', daemon: 'bridge', source: 'bridge/jwt.c',
      from: 'if (key_verify(key, token, p->signed_len, signature, len))', to: 'if (len)',
      file: 'e2e/auth.test.mjs', test: 'each bit of the signature flipped' },
    { name: 'a key is for its own algorithm', daemon: 'bridge', source: 'bridge/keyset.c',
      from: 'if (strcmp(key_alg(e->key), alg) != 0)', to: 'if (strcmp(key_alg(e->key), alg) != 0 && strcmp(alg, "ES256") != 0)',
      file: 'e2e/keys.test.mjs', test: 'each of several keys is taken' },
    { name: 'a key says what it is for', daemon: 'bridge', source: 'bridge/jwks.c',
      from: '!agrees(jwk, "use", "sig")', to: '!jwk',
      file: 'e2e/jwks.test.mjs', test: 'what is no key for signatures' },
    { name: 'a failed fetch takes no key away', daemon: 'bridge', source: 'bridge/keyring.c',
      from: 'if (ret->taken)', to: 'if (ret)',
      file: 'e2e/jwks.test.mjs', test: 'whatever goes wrong' },
    { name: 'the issuer is asked now and then', daemon: 'bridge', source: 'bridge/keyring.c',
      from: 'if (k->wanted_ms && now - k->wanted_ms < least)', to: 'if (now < 0)',
      file: 'e2e/jwks.test.mjs', test: 'a flood of unknown keys' },
    { name: 'an owner that changes closes streams', daemon: 'bridge', source: 'bridge/owners.c',
      from: 'hub_recheck(part->bridge->hub, thread_id);', to: '(void)thread_id;',
      file: 'e2e/auth.test.mjs', test: 'closes within 5 s when the owner changes' },
    { name: 'who would not hear of it is not ready', daemon: 'bridge', source: 'bridge/owners.c',
      from: 'pg_state(o->bridge->pg_listen) == PG_READY && pg_hear_proven(o->hear);', to: 'o;',
      file: 'e2e/pgbouncer.test.mjs', test: 'what needs a session is refused' },
    { name: 'what is made of a request is for the right `probe` alone', daemon: 'bridge', source: 'bridge/route_probe.c',
      from: 'if (r->identity->everything || r->identity->may_probe)', to: 'if (r->identity)',
      file: 'e2e/doctor.test.mjs', test: 'tells what it makes of a request' },
    { name: 'a revocation closes streams', daemon: 'bridge', source: 'bridge/revoke.c',
      from: 'renew_end(c, "revoked", CLOSE_REVOKED);', to: '(void)c;',
      file: 'e2e/revoke.test.mjs', test: 'a subject is revoked' },
    { name: 'a stream is lengthened by who reads its threads', daemon: 'bridge', source: 'bridge/extension.c',
      from: 'if (w->denied || ', to: 'if (',
      file: 'e2e/renew.test.mjs', test: 'a fresh token lengthens a stream' },
    { name: 'an authorizer says yes by 200 alone', daemon: 'bridge', source: 'bridge/authorized.c',
      from: 'status == 200 ? claims_object(body, len) : NULL', to: 'claims_object(body, len)',
      file: 'e2e/authorize.test.mjs', test: 'no failure is a yes' },
    { name: 'a revoked token is refused', daemon: 'bridge', source: 'bridge/auth.c',
      from: 'revoked_covers(revoked, id)', to: '!id',
      file: 'e2e/revoke.test.mjs', test: 'one token is revoked by its jti' },
    { name: 'a slow reader is cut', daemon: 'bridge', source: 'bridge/client.c',
      from: 'if (queued && queued + m->len > limit) {', to: 'if (queued > SIZE_MAX / 2) {',
      file: 'e2e/sse.test.mjs', test: 'a slow reader is cut' },
    { name: 'a write without progress is cut', daemon: 'bridge', source: 'bridge/clients.c',
      from: 'client_close(c, CLOSE_STALLED);', to: '(void)c;',
      file: 'e2e/hub.test.mjs', test: 'a write that makes no progress is cut' },
    { name: 'the canary', daemon: 'bridge', source: 'bridge/feed.c',
      from: 'redis_drop(f->redis, "the canary did not come back");', to: '(void)f;',
      file: 'faults/recovery.test.mjs', test: 'a subscription that is dead' },
    { name: 'an end that Redis forgot', daemon: 'bridge', source: 'bridge/watch.c',
      from: 'forgotten_ask(t, runs, count);', to: '',
      file: 'faults/recovery.test.mjs', test: 'an end that Redis has forgotten' },
    { name: 'a new epoch for another Redis', daemon: 'worker', from: ' or\n    got[4] ~= redis_id', to: '',
      file: 'faults/recovery.test.mjs', test: 'a lagging replica is promoted' },
    { name: 'the fence', daemon: 'worker', from: 'if known and known > attempt then', to: 'if nil then',
      file: 'e2e/kill-faults.test.mjs', test: 'a zombie whose lease nobody renewed' },
    { name: 'a page of a stranger drives nothing', daemon: 'bridge', source: 'bridge/origin.c',
      from: 'if (origin.at)\n        return origin_allowed(r, origin);', to: 'if (origin.len > 4096)\n        return false;',
      file: 'e2e/auth.test.mjs', test: 'another page may not drive' },
    { name: 'a token that has ended is refused', daemon: 'bridge', source: 'bridge/claims.c',
      from: 'if (now >= ret->exp + CLAIMS_LEEWAY_MS) {', to: 'if (now < 0) {',
      file: 'e2e/auth.test.mjs', test: 'expired' },
    { name: 'a stream ends with its token', daemon: 'bridge', source: 'bridge/renew.c',
      from: 'renew_end(c, "expired", CLOSE_TOKEN);', to: '(void)c;',
      file: 'e2e/hub.test.mjs', test: 'a token that ends' },
    { name: 'slow headers have an end', daemon: 'bridge', source: 'bridge/conn.c',
      from: 'return in_hurry(c, conf->request_timeout_ms);', to: 'return 0;',
      file: 'e2e/http.test.mjs', test: 'headers that never end' },
    { name: 'no body where there is none', daemon: 'bridge', source: 'bridge/http.c',
      from: 'if (bodyless && r->content_length > 0)', to: 'if (bodyless && r->content_length > HTTP_BODY_MAX)',
      file: 'e2e/http.test.mjs', test: 'GET with a body' },
    { name: 'no transfer encoding', daemon: 'bridge', source: 'bridge/http.c',
      from: 'if (http_header(r, "transfer-encoding").at)', to: 'if (!r)',
      file: 'e2e/http.test.mjs', test: 'Content-Length with Transfer-Encoding' },
    { name: '--max-clients', daemon: 'bridge', source: 'bridge/limits.c',
      from: 'if (l->streams >= (size_t)l->conf->max_clients)', to: 'if (l->streams == SIZE_MAX)',
      file: 'e2e/reactors.test.mjs', test: 'per address and per user count' },
    { name: 'descriptors run out', daemon: 'bridge', source: 'bridge/listener.c',
      from: '    lend_reserve(l);\n    pause_accepting(l);', to: '    pause_accepting(l);',
      file: 'e2e/reactors.test.mjs', test: 'descriptors run out' },
    { name: 'what a reader sends is bounded', daemon: 'bridge', source: 'bridge/client.c',
      from: 'if (c->read_bytes > READ_MAX)', to: 'if (c->read_bytes == UINT32_MAX)',
      file: 'e2e/hub.test.mjs', test: 'bytes on a stream are not welcome' },
    { name: 'a stream of one run has that run alone', daemon: 'bridge', source: 'bridge/client.c',
      from: 'return m->run_len == strlen(c->run_id) &&', to: 'return m->run_len <= UINT8_MAX ||',
      file: 'e2e/pipeline.test.mjs', test: 'that run alone' },
    { name: 'a merge is of these two', daemon: 'bridge', source: 'bridge/merges.c',
      from: 'if (s->kept[i].tail == tail)', to: 'if (s->kept[i].tail)',
      file: 'e2e/slow.test.mjs', test: 'share what is merged' },
    { name: 'a line break stays on its line', daemon: 'bridge', source: 'bridge/msg.c',
      from: "if (at[i] == '\\n' || at[i] == '\\r')", to: "if (at[i] == '\\0')",
      file: 'e2e/bare.test.mjs', test: 'line ends inside' },
    { name: 'the same key, once', daemon: 'bridge', from: 'if hash == worker then', to: 'if hash == 0 then',
      file: 'e2e/api.test.mjs', test: 'publishing over HTTP' },
    { name: 'a run that lives is its own', daemon: 'bridge', from: 'if known[1] or known[2] then', to: 'if nil then',
      file: 'e2e/api.test.mjs', test: 'publishing over HTTP' },
    { name: 'an agent that hurries is slowed', daemon: 'worker', source: 'worker/run_said.c',
      from: 'if (!r->paused && run_unpublished(r)', to: 'if (r->paused && run_unpublished(r)',
      file: 'e2e/worker.test.mjs', test: 'an agent in a hurry' },
    { name: 'an agent sees what is listed', daemon: 'worker', source: 'worker/agents/exec_spawn.c',
      from: 'if (strncmp(*var, "LC_", 3) != 0)', to: "if (**var == '\\0')",
      file: 'e2e/exec-more.test.mjs', test: 'environment, directory' },
    { name: 'grandchildren go with it', daemon: 'worker', source: 'worker/agents/exec_orphans.c',
      from: 'kill(pid, SIGKILL);', to: '(void)pid;',
      file: 'e2e/exec-more.test.mjs', test: 'leaver: who left' },
    { name: 'a program speaks for its own runs', daemon: 'worker', source: 'worker/agents/exec_host.c',
      from: 'if (a->sent && strcmp(a->run_id, run_id) == 0)', to: 'if (a->sent && run_id[0])',
      file: 'e2e/exec-more.test.mjs', test: 'what a line says of another run' },
];

const wanted = process.env.THREADCAST_CONTROLS?.split(',');
const chosen = CONTROLS.filter(({ name, always }) =>
    wanted ? wanted.some((word) => name.includes(word)) : always || process.env.THREADCAST_FULL);

/** Runs one test in a process of its own. @param {Control} control @param {string} bin */
function outcome({ file, test: name }, bin) {
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const done = spawnSync(process.execPath, ['--test', '--test-reporter=tap', '--test-name-pattern', name,
                                              path.join(ROOT, 'tests', file)],
                           { encoding: 'utf8', timeout: 60_000, env: { ...env, THREADCAST_BIN: bin, THREADCAST_PATIENCE_MS: '8000' } });
    // one that waits for ever sees it too
    const ran = done.signal !== null || /^ok \d+ (?!.*# SKIP)/m.test(done.stdout) || /^not ok/m.test(done.stdout);
    return { status: done.status, ran, output: done.stdout + done.stderr };
}

for (const control of chosen) {
    test(`without: ${control.name}`, { timeout: 300_000 }, (t) => {
        const { dir, remove } = mutant(control);
        t.after(remove);
        const { status, ran, output } = outcome(control, dir);
        assert.ok(ran, `nothing is called ${control.test} in ${control.file}\n${output.slice(-2000)}`);
        assert.notEqual(status, 0, `${control.file} "${control.test}" passes without it`);
        const why = /error: (?:'([^']*)'|\|-\n\s*(.*))/.exec(output);
        t.diagnostic(`seen as: ${(why?.[1] ?? why?.[2] ?? 'a failure').slice(0, 120)}`);
    });
}
