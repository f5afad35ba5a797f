// Cut anywhere, resume by Last-Event-ID: every event once, in order.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { EventSource } from 'eventsource';
import { Proxy, Stack, until } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ postgres: false, bridge: { 'retry-ms': 20 } });
});

const reader = { sub: 'ann', read: ['*'] };
const SEED = Number(process.env.THREADCAST_SEED ?? Date.now() % 1_000_000);

/** xorshift: the same cuts for the same seed */
function random(seed) {
    let x = seed | 1;
    return () => {
        x ^= x << 13;
        x ^= x >>> 17;
        x ^= x << 5;
        return (x >>> 0) / 2 ** 32;
    };
}

/** @param {string} thread @param {number} port @param {string} query */
function watch(thread, port, query) {
    const token = stack.token(reader);
    const source = new EventSource(`http://127.0.0.1:${port}/v1/threads/${thread}/events${query}`, {
        fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
    });
    const seen = { events: [], resets: 0, source };
    source.onmessage = (message) => seen.events.push(JSON.parse(message.data));
    source.addEventListener('reset', () => seen.resets++);
    return seen;
}

/** @param {any[]} events */
function everyOnce(events) {
    const numbers = events.map((event) => Number(event.id.split('-')[1]));
    assert.deepEqual(numbers, Array.from({ length: events.length }, (_, i) => i + 1));
}

test(`200 random cuts while it streams (seed ${SEED})`, async () => {
    const rand = random(SEED);
    const proxy = await Proxy.start({ port: stack.bridge.port }, {
        plan: (index) => index < 200 ? Math.floor(rand() * 2600) : Infinity });
    const run = new ScriptRun(stack.redis.client, 'cuts');
    await run.begin();
    const seen = watch('cuts', proxy.port, '?since=0&merge=0');
    const words = ['Wien ', 'ist ', '🇦🇹 ', 'schön\n\n', '日本 ', 'x'.repeat(90), '"\\'];
    let count = 0;
    while (proxy.cuts < 200) {
        await run.tokens(words[count++ % words.length]);
        if (count % 4 === 0) await run.publish('delta', { kind: 'reasoning', text: `step ${count}` });
        // not faster than the reader comes back, or the story grows without being cut
        await until(() => proxy.cuts >= 200 || seen.events.length >= run.next - 12,
                    { every: 1, what: () => `the reader follows: ${seen.events.length} of ${run.next - 1}, ${proxy.cuts} cuts` });
    }
    const [, , end] = await run.done();
    await until(() => seen.events.at(-1)?.id === end, { what: 'the end' });
    everyOnce(seen.events);
    assert.equal(seen.events.length, run.next - 1);
    assert.equal(seen.resets, 0);
    assert.ok(proxy.cuts >= 200);
    seen.source.close();
    await proxy.stop();
});

test('cut at every byte of the first events of a replay', async () => {
    const run = new ScriptRun(stack.redis.client, 'bytes');
    await run.begin();
    await run.tokens('a', 'ä', '🇦🇹');
    await run.done();
    const whole = stack.threadEvents('bytes', 'since=0&merge=0', reader);
    await whole.type('done');
    const length = whole.raw.length;
    whole.close();
    const step = process.env.THREADCAST_FULL ? 1 : 3;
    for (let at = 1; at <= length; at += step) {
        const first = stack.threadEvents('bytes', 'since=0&merge=0', { ...reader, cutAt: at });
        await first.end();
        const last = first.lastEventId;
        const second = stack.threadEvents('bytes', 'since=0&merge=0',
                                          { ...reader, ...(last && { lastEventId: last }) });
        if (last !== run_end(run)) await second.type('done');
        everyOnce([...first.json, ...second.json]);
        second.close();
    }
    /** @param {ScriptRun} r */
    function run_end(r) {
        return `${whole.messages[0].json.id.split('-')[0]}-${r.next - 1}`;
    }
});

test('many readers cut at once all have everything', async () => {
    const proxy = await Proxy.start({ port: stack.bridge.port });
    const run = new ScriptRun(stack.redis.client, 'herd');
    await run.begin();
    const readers = Array.from({ length: 20 }, () => watch('herd', proxy.port, '?since=0&merge=0'));
    for (let round = 0; round < 10; round++) {
        await run.tokens(`round ${round} `, 'a ', 'b ');
        await until(() => readers.every(({ events }) => events.length >= 2 + round * 3),
                    { what: () => `round ${round}: ${readers.map(({ events }) => events.length)}` });
        proxy.cutAll();
    }
    const [, , end] = await run.done();
    for (const seen of readers) {
        await until(() => seen.events.at(-1)?.id === end, { what: 'the end' });
        everyOnce(seen.events);
        assert.equal(seen.resets, 0);
        seen.source.close();
    }
    await proxy.stop();
});
