// A reader never hangs in silence: silent workers are told of, runs of silent publishers
// are ended once, and an event that the feed never showed is found in the log.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const stack = await Stack.start({ postgres: false, bridges: 2, bridge: {
    'worker-lease-ms': 500, 'verify-ms': 1000, 'keepalive-ms': 1000, 'drain-ms': 500 } });
const redis = stack.redis.client;
const reader = { sub: 'ann', read: ['*'] };

test('a live run whose worker is silent: stalled, then the normal flow', async () => {
    const run = new ScriptRun(redis, 'quiet', { worker: 'w1' });
    await redis.set('threadcast:worker:w1', '1');
    await run.begin();
    const stream = stack.threadEvents('quiet', '', reader);
    await stream.type('status');
    const other = new ScriptRun(redis, 'busy', { worker: 'w2' });
    await redis.set('threadcast:worker:w2', '1');
    await other.begin();
    const healthy = stack.threadEvents('busy', '', reader);
    await healthy.type('status');
    await redis.del('threadcast:worker:w1');
    const stalled = await stream.named('stalled');
    assert.deepEqual(stalled.json, { runId: run.id });
    assert.equal(stalled.ownId, stream.messages[0].json.id, 'it repeats the current id');
    await stream.named('stalled'); // again, beside the keepalives
    await redis.set('threadcast:worker:w1', '1');
    await run.tokens('back');
    await stream.type('token');
    await run.done();
    await stream.type('done');
    assert.equal(healthy.events.filter((e) => e.event === 'stalled').length, 0);
    for (const s of [stream, healthy]) s.close();
});

test('one who joins after the death is told too', async () => {
    const run = new ScriptRun(redis, 'dead', { worker: 'w3' });
    await run.begin();
    const stream = stack.threadEvents('dead', '', reader);
    await stream.named('stalled');
    stream.close();
});

test('a run without a database row is ended once when its publisher is silent', async () => {
    const run = new ScriptRun(redis, 'foreign', { worker: 'sdk:py-1' });
    await run.begin();
    await run.tokens('half an ans');
    const streams = stack.bridges.map((bridge) => stack.threadEvents('foreign', '', { ...reader, bridge }));
    for (const stream of streams) {
        const error = await stream.type('error');
        assert.equal(error.json.content.code, 'worker_lost');
        assert.equal(error.json.runId, run.id);
        assert.equal(stream.text(), 'half an ans');
    }
    const reply = await run.call('publish', [run.event('token', 'too late')]);
    assert.equal(reply[0], 'ENDED');
    const entries = await redis.xrange('{thread:foreign}:log', '-', '+');
    assert.equal(entries.filter(([, fields]) => JSON.parse(fields[1]).type === 'error').length, 1);
    for (const stream of streams) stream.close();
});

test('an event that the feed never showed is found although nothing follows it', async () => {
    const run = new ScriptRun(redis, 'silent', { worker: 'w4' });
    await redis.set('threadcast:worker:w4', '1');
    const [, began] = await run.begin();
    const stream = stack.threadEvents('silent', '', reader);
    await stream.type('status');
    const id = `${began.split('-')[0]}-2`;
    await redis.xadd('{thread:silent}:log', id, 'e', JSON.stringify({ id, ...run.event('done', {}) }));
    await until(() => stream.messages.at(-1).json.type === 'done', { what: 'the silent end' });
    stream.close();
});

test('that is so for every one of many threads, however often they are looked at', async () => {
    const bridge = await stack.startBridge({ reactors: 1, 'verify-ms': 1000, 'drain-ms': 500 });
    const streams = Array.from({ length: 16 }, (_, i) => {
        const query = Array.from({ length: 32 }, (_, k) => `thread=many-${i}-${k}`).join('&');
        return stack.events(`/v1/events?${query}`, { ...reader, bridge });
    });
    await Promise.all(streams.map((stream) => stream.named('ready')));
    await Promise.all(streams.map((stream, i) => {
        const threadId = `many-${i}-${i}`;
        const event = { id: '5-1', type: 'status', threadId, content: {}, ts: Date.now() };
        return redis.xadd(`{thread:${threadId}}:log`, '5-1', 'e', JSON.stringify(event));
    }));
    await Promise.all(streams.map((stream) => stream.type('status')));
    for (const stream of streams) stream.close();
    await bridge.stop();
});
