// Without DATABASE_URL: Redis alone, grants authorise, the rest says 501.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Stack } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ postgres: false });
});

test('grants open streams and publish; without them 403', async () => {
    const stream = stack.threadEvents('solo', '', { read: ['solo'] });
    await stream.named('ready');
    const published = await stack.publish('solo', { type: 'token', content: 'x' });
    assert.ok(published.status < 300, published.text);
    assert.equal((await stream.type('token')).json.content, 'x');
    assert.equal((await stack.request('GET', '/v1/threads/solo/events')).status, 403);
    assert.equal((await stack.publish('solo', { type: 'token', content: 'x' }, { write: undefined, read: ['solo'] })).status, 403);
    stream.close();
});

test('--history-ttl-s: what is published over HTTP goes so long after the last event', async () => {
    const bridge = await stack.startBridge({ 'history-ttl-s': 100 });
    const published = await stack.publish('kept', { type: 'token', content: 'x' }, { bridge });
    assert.ok(published.status < 300, published.text);
    const left = await stack.redis.client.pttl('{thread:kept}:log');
    assert.ok(left > 70_000 && left <= 100_000, `it goes in ${left} ms`);
    await bridge.stop();
});

test('--history-max-events and --history-max-bytes of the bridge: the oldest go', async () => {
    const bridge = await stack.startBridge({ 'history-max-events': 20, 'history-max-bytes': 65536, 'client-queue-bytes': 65536 });
    const kept = async (/** @type {string} */ thread, /** @type {number} */ count, /** @type {number} */ size) => {
        for (let i = 0; i < count; i++) {
            const published = await stack.publish(thread, { type: 'token', content: 'x'.repeat(size) }, { bridge });
            assert.ok(published.status < 300, published.text);
        }
        const entries = await stack.redis.client.xrange(`{thread:${thread}}:log`, '-', '+');
        return entries.map(([, fields]) => fields[1].length);
    };
    const many = await kept('many', 50, 1);
    assert.ok(many.length >= 10 && many.length <= 20, `${many.length} events`);
    const bytes = (await kept('large', 15, 10_000)).reduce((sum, length) => sum + length, 0);
    assert.ok(bytes >= 40_000 && bytes <= 65536, `${bytes} bytes`);
    await bridge.stop();
});

test('a run of any publisher streams', async () => {
    const run = new ScriptRun(stack.redis.client, 'any');
    await run.begin();
    await run.tokens('a', 'b');
    const stream = stack.threadEvents('any', '', { read: ['any'] });
    await stream.type('token');
    await run.done();
    await stream.type('done');
    assert.equal(stream.text(run.id), 'ab');
    stream.close();
});

test('what needs PostgreSQL answers 501', async () => {
    const who = { read: ['*'], write: ['*'] };
    for (const [method, path, json] of /** @type {[string, string, unknown][]} */ ([
        ['POST', '/v1/threads/x/messages', { content: 'x' }], ['GET', '/v1/threads/x/messages', undefined],
        ['GET', '/v1/threads', undefined], ['POST', '/v1/threads', {}],
        ['GET', '/v1/runs/3b241101-e2bb-4255-8caf-4136c566a962', undefined],
        ['POST', '/v1/runs/3b241101-e2bb-4255-8caf-4136c566a962/cancel', {}],
    ])) {
        const answer = await stack.request(method, path, { ...who, json });
        assert.equal(answer.status, 501, `${method} ${path}: ${answer.status} ${answer.text}`);
        assert.match(answer.json.error.code, /^[a-z_]+$/);
    }
    assert.equal((await stack.request('GET', '/readyz', { token: null })).status, 200);
});
