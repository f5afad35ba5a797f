// What one may do with runs over HTTP: what a second message does, another try, the list,
// and a thread that is deleted.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stack, until } from './harness.mjs';

const stack = await Stack.start({ worker: { 'demo-rate': 40 }, bridge: { 'drain-ms': 500 } });

/** @param {string} thread @param {string} content @param {string} [mode] */
const send = (thread, content, mode) => stack.request('POST', `/v1/threads/${thread}/messages`, {
    json: { content, ...(mode && { mode }) } });

/** @param {string} id */
const status = async (id) => (await stack.request('GET', `/v1/runs/${id}`)).json.status;

/** @param {string} id */
const cancel = (id) => stack.request('POST', `/v1/runs/${id}/cancel`);

test('queue: the second message waits for the first', async () => {
    const thread = await stack.thread();
    const first = await stack.post(thread, 'first');
    const second = await stack.post(thread, 'second');
    await until(async () => await status(first.runId) === 'running');
    assert.equal(await status(second.runId), 'queued');
    await cancel(first.runId);
    await until(async () => await status(second.runId) === 'running', { what: 'the second begins' });
    assert.equal(await status(first.runId), 'cancelled');
    await cancel(second.runId);
    await stack.ended(second.runId);
});

test('parallel, reject and interrupt', async () => {
    const thread = await stack.thread();
    const first = await stack.post(thread, 'first');
    const beside = await send(thread, 'beside', 'parallel');
    assert.equal(beside.status, 202);
    await until(async () => await status(first.runId) === 'running' &&
        await status(beside.json.runId) === 'running', { what: 'both run' });
    const rejected = await send(thread, 'no', 'reject');
    assert.equal(rejected.status, 409);
    assert.equal(rejected.json.error.code, 'run_in_progress');
    assert.equal((await send(thread, 'what', 'now')).status, 400);
    const interrupting = await send(thread, 'me first', 'interrupt');
    assert.equal(interrupting.status, 202);
    assert.equal((await stack.ended(first.runId)).status, 'cancelled');
    assert.equal((await stack.ended(beside.json.runId)).status, 'cancelled');
    await until(async () => await status(interrupting.json.runId) === 'running');
    await cancel(interrupting.json.runId);
    await stack.ended(interrupting.json.runId);
    const free = await send(thread, 'yes', 'reject');
    assert.equal(free.status, 202);
    await cancel(free.json.runId);
});

test('retry: another answer to the same message; the list shows both', async () => {
    const thread = await stack.thread();
    const first = await stack.post(thread, 'again');
    const early = await stack.request('POST', `/v1/runs/${first.runId}/retry`);
    assert.equal(early.status, 409);
    await cancel(first.runId);
    await stack.ended(first.runId);
    const retried = await stack.request('POST', `/v1/runs/${first.runId}/retry`);
    assert.equal(retried.status, 202, retried.text);
    assert.notEqual(retried.json.runId, first.runId);
    const stream = stack.threadEvents(thread, `since=${retried.json.cursor}`);
    // the first one's events may stand before: its end is published after it is written
    await stream.next(({ json }) => json?.type === 'token' && json.runId === retried.json.runId);
    stream.close();
    await cancel(retried.json.runId);
    await stack.ended(retried.json.runId);
    const list = await stack.request('GET', `/v1/threads/${thread}/runs`);
    assert.deepEqual(list.json.runs.map((/** @type {any} */ run) => run.runId),
                     [retried.json.runId, first.runId]);
    const page = await stack.request('GET', `/v1/threads/${thread}/runs?limit=1`);
    assert.equal(page.json.next, retried.json.runId);
    const rest = await stack.request('GET', `/v1/threads/${thread}/runs?limit=1&before=${page.json.next}`);
    assert.deepEqual([rest.json.runs[0].runId, rest.json.next], [first.runId, null]);
    const others = await stack.request('POST', `/v1/runs/${first.runId}/retry`, { sub: 'bob' });
    assert.equal(others.status, 403);
    assert.equal((await stack.request('GET', `/v1/threads/${thread}/runs`, { sub: 'bob' })).status, 403);
});

test('a deleted thread: rows, keys and streams are gone, its run stops', async () => {
    const thread = await stack.thread();
    const posted = await stack.post(thread, 'delete me');
    const stream = stack.threadEvents(thread, 'since=0');
    await stream.type('token');
    assert.equal((await stack.request('DELETE', `/v1/threads/${thread}`, { sub: 'bob' })).status, 403);
    assert.equal((await stack.request('DELETE', `/v1/threads/${thread}`)).status, 204);
    await stream.end();
    assert.equal((await stack.request('GET', `/v1/runs/${posted.runId}`)).status, 403);
    await until(async () => (await stack.redis.client.keys(`{thread:${thread}}:*`)).length === 0,
                { what: 'its keys are gone' });
    const rows = await stack.pg.query('select count(*) from messages where thread_id = $1', [thread]);
    assert.equal(Number(rows[0].count), 0);
});

test('a thread deleted while Redis is away and nobody listens is forgotten later', async () => {
    const thread = await stack.thread();
    const posted = await stack.post(thread, 'forget me');
    await cancel(posted.runId);
    await stack.ended(posted.runId);
    await until(async () => (await stack.run(posted.runId)).end_published_at, { what: 'the end is published' });
    await stack.pg.query(`select pg_terminate_backend(pid) from pg_stat_activity
                           where application_name like 'threadcast-bridge:%:listen'`);
    await stack.redis.kill();
    assert.equal((await stack.request('DELETE', `/v1/threads/${thread}`)).status, 204);
    await stack.redis.start();
    await until(async () => (await stack.redis.client.keys(`{thread:${thread}}:*`)).length === 0,
                { what: 'its keys are gone' });
});
