// Slow readers in company: what is merged for one is shared with the others and is whole at
// each, a crowd that has to be cut goes a few at a time, and who reads notices neither.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const SLOW = 20;
const CROWD = 120;
const stack = await Stack.start({ postgres: false });
const reader = { sub: 'ann', read: ['*'] };

/** @param {string} thread @param {import('./harness.mjs').Bridge} bridge */
async function live(thread, bridge) {
    const stream = stack.threadEvents(thread, '', { ...reader, bridge });
    await stream.named('ready');
    return stream;
}

test('slow readers of one thread share what is merged, and each gets the whole text', async () => {
    const bridge = await stack.startBridge({ reactors: 1, 'client-queue-bytes': 4 << 20, 'client-merge-percent': 1,
                                             'client-socket-bytes': 4096 });
    const quick = await live('shared', bridge);
    const slow = await Promise.all(Array.from({ length: SLOW }, () => live('shared', bridge)));
    const run = new ScriptRun(stack.redis.client, 'shared');
    const merged = async () => (await bridge.metrics())['threadcast_bridge_events_merged_total'] ?? 0;
    await run.begin();
    // they stop reading one after the other, so that no two of them need have the same tail
    for (const stream of slow) {
        stream.pause();
        await run.tokens(...Array.from({ length: 40 }, (_, i) => `${i} wörter 🦜 `.repeat(40)));
    }
    for (let i = 0; i < 100 && await merged() < 100 * SLOW; i++)
        await run.tokens(...Array.from({ length: 100 }, (_, j) => `${i}.${j} "text" `));
    assert.ok(await merged() >= 100 * SLOW, `${await merged()} merged`);
    for (const stream of slow.slice(0, SLOW / 2)) stream.resume(); // while it goes on for the others
    for (let i = 0; i < 20; i++) await run.tokens(...Array.from({ length: 20 }, (_, j) => `,${i}/${j}`));
    await run.done();
    for (const stream of slow) stream.resume();
    for (const stream of [quick, ...slow]) {
        await stream.type('done');
        assert.equal(stream.text(), run.text);
        stream.close();
    }
    assert.equal((await bridge.metrics())['threadcast_bridge_streams_closed_total{reason="slow"}'], 0);
    await bridge.stop();
});

test('a crowd that is cut as slow goes, and who reads gets every event', async () => {
    const bridge = await stack.startBridge({ reactors: 1, 'client-queue-bytes': 65_536, 'client-socket-bytes': 4096 });
    const quick = await live('crowd', bridge);
    const crowd = await Promise.all(Array.from({ length: CROWD }, () => live('crowd', bridge)));
    const cut = async () => (await bridge.metrics())['threadcast_bridge_streams_closed_total{reason="slow"}'] ?? 0;
    const run = new ScriptRun(stack.redis.client, 'crowd');
    await run.begin();
    for (const stream of crowd) stream.pause();
    for (let i = 0; i < 2000 && await cut() < CROWD; i++) await run.tokens('y'.repeat(30_000));
    await run.done();
    await quick.type('done');
    assert.equal(quick.text(), run.text);
    await until(async () => await cut() === CROWD, { what: async () => `${await cut()} of ${CROWD} are cut` });
    await until(async () => (await bridge.metrics())['threadcast_bridge_clients'] === 1, { what: 'they are gone' });
    for (const stream of [quick, ...crowd]) stream.close();
    await bridge.stop();
});

test('many answers that end at once make room at once', async () => {
    const MOST = 60;
    const bridge = await stack.startBridge({ reactors: 1, 'max-clients': MOST });
    const ask = () => stack.threadEvents('polled', 'since=0&poll=20000', { ...reader, bridge });
    const open = async () => (await bridge.metrics())['threadcast_bridge_clients'];
    const first = Array.from({ length: MOST }, ask);
    await until(async () => await open() === MOST, { what: 'all are there' });
    await stack.redis.client.publish('thread:polled', '{"type":"token","content":"x"}');
    const second = await Promise.all(first.map(async (stream) => {
        assert.equal(await stream.end(), 'last-chunk');
        return ask();
    }));
    await until(async () => await open() === MOST || second.some(({ events }) => events.length), { what: 'all are there again' });
    for (const [i, stream] of second.entries()) {
        assert.deepEqual([first[i].json.length, stream.events], [1, []], 'nobody was told `busy`');
        stream.close();
    }
    await bridge.stop();
});
