// The routes' edges: what api.test.mjs does not reach. Headers, pages, keys, refusals, and
// what is said while Redis or PostgreSQL is silent.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { ROOT, Stack, until } from './harness.mjs';
import { raw } from './lib/raw.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({
        demo: true, worker: { 'demo-rate': 2000 },
        bridge: { 'allowed-origins': 'https://chat.example', 'upstream-timeout-ms': 500,
                  'trusted-proxies': '127.0.0.1' } });
});

const token = { type: 'token', content: 'x' };

test('the page: types, policy, tags, nothing outside', async () => {
    const index = await stack.bridge.fetch('/');
    assert.equal(index.status, 200);
    assert.equal(index.headers.get('content-type'), 'text/html; charset=utf-8');
    assert.equal(await index.text(), fs.readFileSync(path.join(ROOT, 'app/index.html'), 'utf8'));
    assert.equal(index.headers.get('content-security-policy'),
                 "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'");
    assert.equal(index.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(index.headers.get('cache-control'), 'no-cache');
    const etag = String(index.headers.get('etag'));
    assert.match(etag, /^"[0-9a-f]{32}"$/);
    for (const tag of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
        const again = await stack.bridge.fetch('/', { headers: { 'If-None-Match': tag } });
        assert.equal(again.status, 304, tag);
        assert.equal(await again.text(), '');
    }
    assert.equal((await stack.bridge.fetch('/', { headers: { 'If-None-Match': '"x"' } })).status, 200);
    assert.equal((await stack.bridge.fetch('/app.js')).headers.get('content-type'), 'text/javascript; charset=utf-8');
    for (const name of ['/none.js', '/CMakeLists.txt', '/index.html/', '/.hidden', '/app']) {
        assert.equal((await stack.bridge.fetch(name)).status, 404, name);
    }
    assert.equal((await stack.bridge.fetch('/app.js', { method: 'HEAD' })).headers.get('content-length'),
                 String(fs.statSync(path.join(ROOT, 'app/app.js')).size));
});

test('methods: 405 with Allow, HEAD where GET is, not on streams', async () => {
    const thread = '/v1/threads/t1/events';
    const head = await stack.bridge.fetch(thread, { method: 'HEAD' });
    assert.equal(head.status, 405);
    assert.match(String(head.headers.get('allow')), /GET, POST/);
    assert.equal((await stack.bridge.fetch('/v1/session')).status, 405);
    assert.match(String((await stack.bridge.fetch('/v1/session')).headers.get('allow')), /POST.*DELETE/);
    assert.equal((await stack.bridge.fetch('/v1/nothing', { method: 'POST' })).status, 404);
    assert.equal((await stack.bridge.fetch('/v1/threads/')).status, 404);
});

test('CORS: exact origins, on answers and refusals alike', async () => {
    const origin = 'https://chat.example';
    const preflight = await stack.bridge.fetch('/v1/threads', { method: 'OPTIONS', headers: {
        Origin: origin, 'Access-Control-Request-Method': 'POST' } });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers.get('access-control-allow-origin'), origin);
    for (const to of ['/healthz', '/v1/threads', '/nothing/here']) {
        const answer = await stack.bridge.fetch(to, { headers: { Origin: origin } });
        assert.equal(answer.headers.get('access-control-allow-origin'), origin, to);
        assert.equal(answer.headers.get('access-control-allow-credentials'), 'true');
        assert.match(String(answer.headers.get('vary')), /Origin/);
    }
    const foreign = await stack.bridge.fetch('/healthz', { headers: { Origin: 'https://evil.example' } });
    assert.equal(foreign.headers.get('access-control-allow-origin'), null);
    const posted = await stack.request('POST', '/v1/threads', { json: {}, headers: { Origin: 'https://evil.example' } });
    assert.equal(posted.status, 403);
});

test('thread and run ids', async () => {
    for (const id of ['*', 'a%20b', 'a%0D%0AFLUSHALL', '%C3%A4', 'x'.repeat(129), 'a:b', '%2e%2e%2e/']) {
        const answer = await stack.request('GET', `/v1/threads/${id}/messages`);
        assert.ok([400, 404].includes(answer.status), `${id}: ${answer.status}`);
    }
    assert.equal((await stack.request('GET', '/v1/threads/a:b/messages')).json.error.code, 'bad_thread_id');
    assert.equal((await stack.request('GET', '/v1/threads/%61%2Eb/messages')).status, 403, 'escapes are decoded');
    assert.equal((await stack.request('GET', '/v1/runs/1')).json.error.code, 'bad_run_id');
});

test('an Idempotency-Key is 1 to 255 visible ASCII characters', async () => {
    const thread = await stack.thread();
    for (const key of ['a b', 'x'.repeat(256), 'ä']) {
        for (const to of ['messages', 'events']) {
            const answer = await stack.request('POST', `/v1/threads/${thread}/${to}`, {
                write: [thread], json: to === 'events' ? token : { content: 'x' }, headers: { 'Idempotency-Key': key } });
            assert.equal(answer.status, 400, `${to} ${key.slice(0, 9)}`);
            assert.equal(answer.json.error.code, 'bad_idempotency_key');
        }
    }
    await stack.post(thread, 'x', { key: 'x'.repeat(255) });
    const [{ count }] = await stack.pg.query('select count(*)::int as count from runs where thread_id = $1', [thread]);
    assert.equal(count, 1);
});

test('the same key of somebody else, or in another thread, is another key', async () => {
    const [one, two] = [await stack.thread(), await stack.thread()];
    const headers = { 'Idempotency-Key': 'same' };
    const first = await stack.publish(one, token, { headers });
    const second = await stack.publish(two, token, { headers });
    const third = await stack.publish(one, { ...token, content: 'y' }, { headers, sub: 'bob' });
    for (const answer of [first, second, third]) assert.equal(answer.status, 202, answer.text);
    assert.notDeepEqual(third.json.ids, first.json.ids);
});

test('publishing: arrays, their limits, all or nothing', async () => {
    const thread = `p-${stack.newKey()}`;
    const many = Array.from({ length: 100 }, (_, i) => ({ type: 'token', content: String(i) }));
    const answer = await stack.publish(thread, many);
    assert.equal(answer.status, 202, answer.text);
    assert.equal(answer.json.ids.length, 100);
    assert.deepEqual(answer.json.ids.map((/** @type {string} */ id) => id.split('-')[1]), many.map((_, i) => String(i + 1)));
    assert.equal((await stack.publish(thread, [...many, token])).json.error.code, 'too_many_events');
    assert.equal((await stack.publish(thread, [])).json.error.code, 'no_events');
    const bad = await stack.publish(thread, [token, { type: 'token', content: 1 }, token]);
    assert.equal(bad.status, 400);
    assert.match(bad.json.error.message, /Event 2/);
    assert.equal(Number(await stack.redis.client.xlen(`{thread:${thread}}:log`)), 100, 'nothing half done');
});

test('publishing: the bytes of content go on as they were sent', async () => {
    const thread = `b-${stack.newKey()}`;
    const content = '{"n":1.10,"big":12345678901234567,"text":"a\\u00e4\\/\\"]}{[,","list":[1,[2,{}]]}';
    const text = ` [ {"type":"delta","content":${content}} , {"content":"ü","type":"token"} ] `;
    const response = await stack.bridge.fetch(`/v1/threads/${thread}/events`, {
        method: 'POST', body: text,
        headers: { ...stack.authorization({ write: [thread] }), 'Content-Type': 'application/json' } });
    assert.equal(response.status, 202, await response.text());
    const log = await stack.redis.client.xrange(`{thread:${thread}}:log`, '-', '+');
    assert.equal(log.length, 2);
    assert.ok(log[0][1][1].includes(content), log[0][1][1]);
    assert.equal(JSON.parse(log[1][1][1]).content, 'ü');
});

test('publishing: refused runs and grants', async () => {
    const thread = `g-${stack.newKey()}`;
    for (const runId of ['a b', '', 'x'.repeat(129), 7]) {
        const answer = await stack.publish(thread, { ...token, runId });
        assert.equal(answer.status, 400, String(runId));
    }
    assert.equal((await stack.publish(thread, { ...token, runId: 'mine' })).status, 202);
    assert.equal((await stack.publish(thread, token, { write: ['other', 'g'] })).status, 403);
    assert.equal((await stack.publish(thread, token, { write: ['g-*'] })).status, 202);
});

test('history of a run that failed or was cancelled says so', async () => {
    const thread = await stack.thread();
    const { runId, runs } = await stack.post(thread, 'x');
    await stack.ended(runId);
    await stack.pg.query(`update runs set status = 'failed', error = '{"code":"agent_failed","message":"no"}' where id = $1`, [runId]);
    const { messages } = (await stack.request('GET', `/v1/threads/${thread}/messages`)).json;
    assert.deepEqual(messages.map((/** @type {any} */ m) => [m.role, m.status]), [['user', undefined], ['assistant', 'failed']]);
    assert.equal(messages[1].id, runs[0].messageId);
    assert.equal(messages[1].error.code, 'agent_failed');
    assert.equal(messages[1].runId, runId);
    assert.equal(messages[1].replyTo, messages[0].id);
    assert.ok(Date.parse(messages[0].createdAt) > 0);
    const run = (await stack.request('GET', `/v1/runs/${runId}`)).json;
    assert.equal(run.status, 'failed');
    assert.equal(run.error.code, 'agent_failed');
    assert.equal(run.messageId, messages[0].id);
});

test('history: a page is bounded in bytes too, and one message always fits', async () => {
    const thread = await stack.thread();
    for (let i = 0; i < 5; i++) {
        await stack.pg.query(`insert into messages (thread_id, role, content) values ($1, 'system', repeat('x', 2500000))`, [thread]);
    }
    await stack.pg.query(`insert into messages (thread_id, role, content) values ($1, 'system', repeat('y', 5000000))`, [thread]);
    const lengths = [];
    let before = '';
    for (;;) {
        const page = await until(async () => {
            const answer = await stack.request('GET', `/v1/threads/${thread}/messages?limit=200${before && `&before=${before}`}`);
            return answer.status === 200 && answer.json; // 503: a slow machine's Postgres took more than a second
        });
        lengths.unshift(page.messages.length);
        if (page.next === null) break;
        before = page.next;
    }
    assert.deepEqual(lengths, [1, 1, 1, 1, 1, 1]);
    const other = await stack.thread();
    const unknown = await stack.request('GET', `/v1/threads/${other}/messages?before=${before}`);
    assert.equal(unknown.json.error.code, 'bad_before', 'a message of another thread');
});

test('threads in pages', async () => {
    const sub = `pager-${stack.newKey()}`;
    const made = [];
    for (let i = 0; i < 5; i++) made.unshift((await stack.request('POST', '/v1/threads', { sub, json: {} })).json.id);
    const first = (await stack.request('GET', '/v1/threads?limit=2', { sub })).json;
    const second = (await stack.request('GET', `/v1/threads?limit=2&before=${first.next}`, { sub })).json;
    const third = (await stack.request('GET', `/v1/threads?limit=2&before=${second.next}`, { sub })).json;
    assert.deepEqual([first, second, third].flatMap((page) => page.threads.map((/** @type {any} */ t) => t.id)), made);
    assert.equal(third.next, null);
    assert.equal((await stack.request('GET', `/v1/threads?before=${made[0]}`, { sub: 'other' })).status, 400);
});

test('guests own what they make and choose no id', async () => {
    const answer = await stack.bridge.fetch('/v1/demo/session', { method: 'POST' });
    assert.equal(answer.status, 200, await answer.clone().text());
    const cookie = String(answer.headers.get('set-cookie')).split(';')[0];
    stack.secret(cookie.split('.')[2]);
    const request = (/** @type {unknown} */ json) => stack.request('POST', '/v1/threads', {
        token: null, json, headers: { Cookie: cookie } });
    assert.equal((await request({ id: 'chosen-by-a-guest' })).status, 403);
    assert.equal((await request({ metadata: { title: 'mine' } })).status, 201);
});

test('unknown fields of a body are refused', async () => {
    const thread = await stack.thread();
    assert.equal((await stack.request('POST', '/v1/threads', { json: { name: 'x' } })).status, 400);
    assert.equal((await stack.request('POST', '/v1/threads', { json: { metadata: [] } })).status, 400);
    const path = `/v1/threads/${thread}/messages`;
    assert.equal((await stack.request('POST', path, { json: { content: 'x', contents: 'y' } })).status, 400);
    assert.equal((await stack.request('POST', path, { json: { content: 'x', metadata: { agent: 'a b' } } })).status, 400);
    assert.equal((await stack.request('POST', '/v1/runs/3b241101-e2bb-4255-8caf-4136c566a962/cancel', { json: [] })).status, 400);
});

test('a trusted proxy speaks for the visitor', async () => {
    // the demo's limit counts addresses: the forwarded one, the last that no proxy of ours wrote
    const statuses = new Set();
    for (let i = 0; i < 130; i++) {
        const answer = await raw(stack.bridge.port, 'POST /v1/demo/session HTTP/1.1\r\nHost: localhost\r\n' +
            'Connection: close\r\nContent-Length: 0\r\n' +
            `X-Forwarded-For: 10.9.9.${i % 2}, 203.0.113.${i}\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n`);
        statuses.add(answer.status);
    }
    assert.deepEqual([...statuses], [200]);
});

test('Redis silent: history is still there, readiness and publishing are not', async () => {
    const thread = await stack.thread();
    const { runId } = await stack.post(thread, 'before');
    await stack.ended(runId);
    stack.redis.child?.kill('SIGSTOP');
    try {
        assert.equal((await stack.bridge.fetch('/healthz')).status, 200);
        const ready = await stack.bridge.fetch('/readyz');
        assert.equal(ready.status, 503);
        assert.deepEqual((({ redis, postgres }) => ({ redis, postgres }))(await ready.json()), { redis: 'down', postgres: 'ok' });
        const published = await stack.publish(thread, token);
        assert.equal(published.status, 503);
        assert.equal(published.headers.get('retry-after'), '1');
        const history = await stack.request('GET', `/v1/threads/${thread}/messages`);
        assert.equal(history.status, 200);
        assert.equal(history.json.cursor, '0');
        const posted = await stack.post(thread, 'meanwhile');
        assert.equal(posted.cursor, '0');
    } finally {
        stack.redis.child?.kill('SIGCONT');
    }
    await until(async () => (await stack.bridge.fetch('/readyz')).ok, { what: 'it is ready again' });
    await until(async () => (await stack.publish(thread, token)).status === 202, { what: 'it publishes again' });
});

test('the script is loaded again when Redis has forgotten it', async () => {
    const thread = `s-${stack.newKey()}`;
    await stack.redis.client.script('FLUSH');
    assert.equal((await stack.publish(thread, token)).status, 202);
    assert.equal((await stack.publish(thread, token)).status, 202);
});

test('PostgreSQL gone: 503, and back', async () => {
    const thread = await stack.thread();
    await stack.pg.stop('SIGINT');
    const answer = await stack.request('POST', `/v1/threads/${thread}/messages`, { json: { content: 'x' } });
    assert.equal(answer.status, 503, answer.text);
    const ready = await stack.bridge.fetch('/readyz');
    assert.equal((await ready.json()).postgres, 'down');
    assert.equal((await stack.publish(`x-${thread}`, token)).status, 202, 'grants need no database');
    await stack.pg.start();
    await until(async () => (await stack.bridge.fetch('/readyz')).ok, { what: 'it is ready again' });
    await stack.post(thread, 'x');
});
