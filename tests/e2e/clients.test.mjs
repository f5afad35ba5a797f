// Clients that nobody here wrote: eventsource, fetch-event-source, curl.

import { fetchEventSource } from '@microsoft/fetch-event-source';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { before, test } from 'node:test';
import { EventSource } from 'eventsource';
import { Stack, textOf, until } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ postgres: false });
    // fetch-event-source is made for browsers
    const world = /** @type {any} */ (globalThis);
    world.window ??= globalThis;
    world.document ??= { hidden: false, addEventListener() {}, removeEventListener() {} };
});

const reader = { sub: 'ann', read: ['*'] };

/** @param {string} thread */
async function subscribed(thread) {
    await until(async () => Number((await stack.redis.client.pubsub('NUMSUB', `thread:${thread}`))[1]) === 1,
                { what: `the bridge subscribes thread:${thread}` });
}

/** A run with something of everything. @param {string} thread */
async function story(thread) {
    const run = new ScriptRun(stack.redis.client, thread);
    await run.begin();
    await run.publish('delta', { kind: 'reasoning', text: 'hm\nhm' });
    for (const word of ['Wien ', 'ist ', 'schön. ', '🇦🇹 ', '日本\r\n']) await run.tokens(word);
    await run.publish('delta', { kind: 'usage', inputTokens: 1, outputTokens: 5, totalTokens: 6 });
    await run.done();
    return run;
}

test('eventsource: onmessage sees every event, named ones only by their listeners', async () => {
    const token = stack.token(reader);
    const source = new EventSource(stack.url('/v1/threads/es/events?merge=0'), {
        fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
    });
    /** @type {any[]} */
    const seen = [];
    /** @type {string[]} */
    const named = [];
    source.onmessage = (message) => seen.push(JSON.parse(message.data));
    source.addEventListener('ready', (message) => named.push(message.data));
    await until(() => named.length === 1, { what: 'ready' });
    const run = await story('es');
    await until(() => seen.at(-1)?.type === 'done', { what: 'done' });
    assert.deepEqual(seen.map((event) => event.type),
                     ['status', 'delta', 'token', 'token', 'token', 'token', 'token', 'delta', 'done']);
    assert.equal(textOf(seen), run.text);
    source.close();
});

test('fetch-event-source: the same, with the token in a header', async () => {
    const seen = [];
    const ids = [];
    const abort = new AbortController();
    const ended = fetchEventSource(stack.url('/v1/threads/fes/events?merge=0'), {
        headers: stack.authorization(reader),
        signal: abort.signal,
        openWhenHidden: true,
        onmessage(message) {
            if (message.event) return; // ready
            ids.push(message.id);
            seen.push(JSON.parse(message.data));
        },
        onerror(error) { throw error; },
    });
    await subscribed('fes');
    const run = await story('fes');
    await until(() => seen.at(-1)?.type === 'done', { what: () => JSON.stringify(seen) });
    assert.equal(textOf(seen), run.text);
    assert.deepEqual(ids, seen.map((event) => event.id));
    abort.abort();
    await ended;
});

test('curl -N shows it as it comes', async () => {
    const curl = spawn('curl', ['-sSN', '-H', `Authorization: Bearer ${stack.token(reader)}`,
                                stack.url('/v1/threads/curl/events')]);
    let output = '';
    curl.stdout.setEncoding('utf8').on('data', (text) => (output += text));
    await until(() => output.includes('event: ready'), { what: 'ready' });
    const run = new ScriptRun(stack.redis.client, 'curl');
    await run.begin();
    await until(() => output.includes('"started"'), { what: 'the first event, at once' });
    await run.tokens('now');
    await until(() => output.includes('"now"'), { what: 'the second' });
    curl.kill();
});

test('100 readers of ten threads are one subscription a thread and reactor, dropped with the last', async () => {
    const named = async () => (await stack.redis.cli('client', 'list')).split('\n')
        .map((line) => /name=(threadcast\S*)/.exec(line)?.[1]).filter(Boolean).sort();
    const before = await named();
    const { threadcast_bridge_reactors: reactors } = await stack.bridge.metrics();
    assert.ok(before.length >= 3, before.join());
    for (const name of before) {
        assert.match(String(name), /^threadcast-bridge:[^:]+:(subscribe|read|publish)$/);
    }
    assert.equal(new Set(before).size, before.length, 'one connection a job');
    for (let round = 0; round < 2; round++) {
        const streams = Array.from({ length: 100 }, (_, i) => stack.threadEvents(`crowd${i % 10}`, '', reader));
        await Promise.all(streams.map((stream) => stream.named('ready')));
        const counts = await stack.redis.client.pubsub('NUMSUB', ...Array.from({ length: 10 }, (_, i) => `thread:crowd${i}`));
        const subscribed = counts.filter((_, i) => i % 2).map(Number);
        assert.ok(subscribed.every((n) => n >= 1 && n <= reactors), subscribed.join());
        assert.deepEqual(await named(), before, 'no connection more');
        for (const stream of streams) stream.close();
        await until(async () => (await stack.redis.client.pubsub('CHANNELS', 'thread:crowd*')).length === 0,
                    { what: 'every thread is unsubscribed' });
    }
    assert.deepEqual(await named(), before);
    const metrics = await stack.bridge.metrics();
    const clients = Object.entries(metrics).filter(([name]) => /clients$/.test(name));
    assert.ok(clients.length && clients.every(([, value]) => value === 0), JSON.stringify(clients));
});
