// The routes around the stream: messages, threads, runs, publishing.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Stack, until } from './harness.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ worker: { 'demo-rate': 2000 } });
});

test('POST …/messages: 202 with message, cursor and run', async () => {
    const thread = await stack.thread();
    const answer = await stack.post(thread, 'hello');
    assert.match(answer.messageId, /^[0-9a-f-]{36}$/);
    assert.match(answer.runId, /^[0-9a-f-]{36}$/);
    assert.equal(typeof answer.cursor, 'string');
    assert.equal(answer.runs.length, 1);
    assert.equal(answer.runs[0].runId, answer.runId);
    assert.equal(answer.runs[0].agent, 'default');
    const row = await stack.ended(answer.runId);
    assert.equal(row.status, 'done');
    assert.equal(row.reply_id, answer.runs[0].messageId);
    assert.equal(row.message_id, answer.messageId);
});

test('the same key answers the same; another body is 409; two at once make one run', async () => {
    const thread = await stack.thread();
    const key = stack.newKey();
    const [first, second] = await Promise.all([1, 2].map(() => stack.post(thread, 'once', { key })));
    assert.equal(first.runId, second.runId);
    const third = await stack.post(thread, 'once', { key });
    assert.deepEqual({ ...third, cursor: '' }, { ...first, cursor: '' });
    const other = await stack.request('POST', `/v1/threads/${thread}/messages`, {
        json: { content: 'twice' }, headers: { 'Idempotency-Key': key } });
    assert.equal(other.status, 409);
    const [{ count }] = await stack.pg.query('select count(*)::int as count from runs where thread_id = $1', [thread]);
    assert.equal(count, 1);
});

test('bodies that are refused, with nothing half done', async () => {
    const thread = await stack.thread();
    const path = `/v1/threads/${thread}/messages`;
    for (const json of [{}, { content: 1 }, { content: '' }, { content: null }, { content: 'x', agent: 5 },
                        { content: 'nul \0' }, { content: 'x', metadata: 'y' }, [], 'text']) {
        const answer = await stack.request('POST', path, { json });
        assert.equal(answer.status, 400, `${JSON.stringify(json)}: ${answer.status} ${answer.text}`);
    }
    assert.equal((await stack.request('POST', path, { json: { content: 'x'.repeat(65_600) } })).status, 413);
    const [{ count }] = await stack.pg.query('select count(*)::int as count from messages where thread_id = $1', [thread]);
    assert.equal(count, 0);
    const injection = `'); drop table messages; --`;
    const answer = await stack.post(thread, injection);
    assert.equal(await stack.messageText(answer.messageId), injection);
});

test('GET …/messages: oldest first, in pages, with a cursor', async () => {
    const thread = await stack.thread();
    for (let i = 0; i < 3; i++) await stack.ended((await stack.post(thread, `prompt ${i}`)).runId);
    const all = (await stack.request('GET', `/v1/threads/${thread}/messages`)).json;
    assert.equal(all.messages.length, 6);
    assert.deepEqual(all.messages.map((m) => m.role), ['user', 'assistant', 'user', 'assistant', 'user', 'assistant']);
    assert.equal(all.messages[0].content, 'prompt 0');
    assert.match(all.cursor, /^\d+-\d+$/);
    assert.equal(all.next, null);
    const last = (await stack.request('GET', `/v1/threads/${thread}/messages?limit=4`)).json;
    assert.deepEqual(last.messages.map((m) => m.id), all.messages.slice(2).map((m) => m.id));
    const before = (await stack.request('GET', `/v1/threads/${thread}/messages?limit=4&before=${last.next}`)).json;
    assert.deepEqual(before.messages.map((m) => m.id), all.messages.slice(0, 2).map((m) => m.id));
    assert.equal(before.next, null);
    for (const query of ['limit=0', 'limit=-1', 'limit=x', 'limit=1e3', 'before=x']) {
        const answer = await stack.request('GET', `/v1/threads/${thread}/messages?${query}`);
        assert.equal(answer.status, 400, query);
    }
});

test('threads: made, listed newest first, ids that are taken are refused', async () => {
    const sub = `lister-${stack.newKey()}`;
    const made = [];
    for (let i = 0; i < 3; i++) {
        const answer = await stack.request('POST', '/v1/threads', { sub, json: { metadata: { title: `T${i}` } } });
        assert.equal(answer.status, 201, answer.text);
        made.push(answer.json.id);
    }
    const list = (await stack.request('GET', '/v1/threads', { sub })).json.threads;
    assert.deepEqual(list.map((t) => t.id), made.slice().reverse());
    assert.equal(list[0].metadata.title, 'T2');
    assert.equal((await stack.request('GET', '/v1/threads', { sub: 'nobody' })).json.threads.length, 0);

    const chosen = `chosen-${stack.newKey()}`;
    assert.equal((await stack.request('POST', '/v1/threads', { sub, json: { id: chosen } })).status, 201);
    assert.equal((await stack.request('POST', '/v1/threads', { sub: 'eve', json: { id: chosen } })).status, 403);
    // one whose events are in Redis, but that has no row
    await stack.publish('ghost', { type: 'token', content: 'x' });
    assert.equal((await stack.request('POST', '/v1/threads', { sub: 'eve', json: { id: 'ghost' } })).status, 403);
    assert.equal((await stack.request('POST', '/v1/threads', { sub: 'ann', read: ['ghost'], write: ['ghost'], json: { id: 'ghost' } })).status, 201);
    for (const id of ['', 'a b', '*', '../x', 'x'.repeat(129), 7]) {
        assert.equal((await stack.request('POST', '/v1/threads', { sub, json: { id } })).status, 400, String(id));
    }
});

test('deleting a thread deletes its keys', async () => {
    const thread = await stack.thread();
    await stack.ended((await stack.post(thread, 'to be forgotten')).runId);
    const keys = () => stack.redis.client.keys(`*{thread:${thread}}*`);
    assert.ok((await keys()).length >= 2);
    await stack.pg.query('delete from threads where id = $1', [thread]);
    await until(async () => (await keys()).length === 0, { what: 'its keys are gone' });
});

test('GET /v1/runs/<id>: its status; not for others', async () => {
    const thread = await stack.thread();
    const { runId, runs } = await stack.post(thread, 'status');
    await stack.ended(runId);
    const answer = await stack.request('GET', `/v1/runs/${runId}`);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.status, 'done');
    assert.equal(answer.json.replyId, runs[0].messageId);
    assert.equal((await stack.request('GET', `/v1/runs/${runId}`, { sub: 'eve' })).status, 403);
    assert.equal((await stack.request('GET', `/v1/runs/${stack.newKey()}`)).status, 403);
    assert.ok([400, 403].includes((await stack.request('GET', '/v1/runs/junk')).status));
});

test('publishing over HTTP: ids, an idempotency key, and no runs of others', async () => {
    const thread = await stack.thread();
    const stream = stack.threadEvents(thread);
    await stream.named('ready');
    const key = stack.newKey();
    const events = [{ type: 'status', content: { status: 'working' } }, { type: 'token', content: 'Hi' }];
    const first = await stack.publish(thread, events, { headers: { 'Idempotency-Key': key } });
    assert.ok(first.status < 300, first.text);
    const status = await stream.type('status');
    assert.match(status.json.id, /^\d+-1$/);
    assert.equal(status.json.threadId, thread);
    assert.equal(typeof status.json.ts, 'number');
    assert.equal((await stream.type('token')).json.content, 'Hi');
    const again = await stack.publish(thread, events, { headers: { 'Idempotency-Key': key } });
    assert.deepEqual(again.json, first.json);
    assert.equal((await stack.publish(thread, [events[0]], { headers: { 'Idempotency-Key': key } })).status, 409);
    const { runId } = await stack.post(thread, 'a run');
    await stack.ended(runId);
    const forged = await stack.publish(thread, { type: 'token', content: 'x', runId });
    assert.ok(forged.status >= 400 && forged.status < 500);
    assert.equal(forged.json.error.code, 'run_taken');
    await stack.publish(thread, { type: 'token', content: 'last', id: '9-9' });
    const last = await stream.next((event) => event.json?.content === 'last');
    assert.match(last.json.id, /^\d{3,}-\d+$/, 'an id of its own is removed');
    stream.close();
});

test('cancel: queued, running, ended, twice', async () => {
    const thread = await stack.thread();
    const stream = stack.threadEvents(thread);
    await stream.named('ready');
    const { runId, runs } = await stack.post(thread, 'tell me a very long story', { agent: 'demo' });
    await stream.next((event) => event.json?.runId === runId);
    const answers = await Promise.all([1, 2].map(() => stack.request('POST', `/v1/runs/${runId}/cancel`, { json: {} })));
    for (const answer of answers) assert.ok([200, 202].includes(answer.status), answer.text);
    const row = await stack.ended(runId);
    const end = await stream.next((event) => event.json?.runId === runId && ['done', 'error'].includes(event.json.type));
    if (row.status === 'cancelled') {
        assert.equal(end.json.type, 'done');
        assert.equal(end.json.content.finishReason, 'cancelled');
        assert.equal(await stack.messageText(runs[0].messageId) ?? '', stream.text(runId), 'the partial message is kept');
    }
    const late = await stack.request('POST', `/v1/runs/${runId}/cancel`, { json: {} });
    assert.equal(late.status, 200, 'it had already ended');
    assert.equal((await stack.request('POST', `/v1/runs/${runId}/cancel`, { sub: 'eve', json: {} })).status, 403);
    stream.close();
});

test('health and metrics', async () => {
    assert.equal((await stack.bridge.fetch('/healthz')).status, 200);
    assert.equal((await stack.bridge.fetch('/readyz')).status, 200);
    const response = await stack.bridge.fetch('/metrics');
    assert.match(String(response.headers.get('content-type')), /^text\/plain; version=0\.0\.4/);
    const text = await response.text();
    for (const line of text.trim().split('\n')) {
        assert.match(line, /^(# (HELP|TYPE) \S+ .+|[a-z_:][a-z0-9_:]*(\{[^}]*\})? [0-9.e+-]+(Inf)?)$/, line);
    }
});
