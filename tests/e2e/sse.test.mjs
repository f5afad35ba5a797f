// The stream's bytes: what a browser gets, to the letter (contract: SSE).

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ postgres: false, bridge: { 'keepalive-ms': 200, 'drain-ms': 2000 } });
});

const reader = { sub: 'ann', read: ['*'] };

test('headers and first bytes are exact', async () => {
    const stream = stack.threadEvents('head', '', reader);
    await stream.opened();
    await stream.named('ready');
    assert.equal(stream.statusLine, 'HTTP/1.1 200 OK');
    assert.equal(stream.headers['content-type'], 'text/event-stream');
    assert.equal(stream.headers['cache-control'], 'no-cache, no-transform');
    assert.equal(stream.headers.connection, 'keep-alive');
    assert.equal(stream.headers['x-accel-buffering'], 'no');
    assert.equal(stream.headers['transfer-encoding'], 'chunked');
    assert.equal(stream.headers['content-encoding'], undefined);
    assert.match(stream.body, /^retry: \d+\n:[^\n]*\n(?!\n)/, 'retry and a comment, no blank line');
    stream.close();
});

test('an event is data, then id, then a blank line, and unnamed', async () => {
    const run = new ScriptRun(stack.redis.client, 'frame');
    await run.begin();
    const stream = stack.threadEvents('frame', 'since=0', reader);
    await stream.type('status');
    const from = stream.body.length;
    await run.tokens('Grüß \u2028 Gott\r\n"\\ 🇦🇹 \u0000');
    const event = await stream.type('token');
    assert.equal(event.json.content, 'Grüß \u2028 Gott\r\n"\\ 🇦🇹 \u0000');
    assert.equal(stream.body.slice(from), `data: ${event.data}\nid: ${event.json.id}\n\n`);
    assert.equal(Object.keys(event.json)[0], 'id', 'the id is the first key');
    assert.match(event.json.id, /^\d+-2$/);
    stream.close();
});

test('the bytes replayed are those that were live', async () => {
    const live = stack.threadEvents('same', 'since=0&merge=0', reader);
    await live.opened();
    await until(async () => (await stack.redis.client.pubsub('NUMSUB', 'thread:same'))[1] === 1,
                { what: 'the bridge has subscribed' });
    const run = new ScriptRun(stack.redis.client, 'same');
    await run.begin();
    for (let i = 0; i < 20; i++) await run.tokens(`word${i} `, 'ä ');
    await run.done();
    await live.type('done');
    const replayed = stack.threadEvents('same', 'since=0&merge=0', reader);
    await replayed.type('done');
    assert.deepEqual(replayed.messages.map((event) => event.data), live.messages.map((event) => event.data));
    assert.equal(live.messages.length, 42);
    const merged = stack.threadEvents('same', 'since=0', reader);
    await merged.type('done');
    assert.ok(merged.messages.length < 10, 'neighbouring tokens are merged in a replay');
    assert.equal(merged.text(), run.text);
    assert.equal(merged.messages.at(-2)?.json.id, live.messages[40].json.id, 'the last id is kept');
    for (const stream of [live, replayed, merged]) stream.close();
});

test('keepalive is one line without a blank one', async () => {
    const stream = stack.threadEvents('quiet', 'since=now', reader);
    await until(() => (stream.body.match(/^:keepalive$/gm) ?? []).length >= 3, { what: 'three keepalives' });
    assert.match(stream.body, /:keepalive\n:keepalive\n/);
    assert.doesNotMatch(stream.body, /:keepalive\n\n/);
    stream.close();
});

test('ready gives a position; a position that is gone gives reset with a reason', async () => {
    const run = new ScriptRun(stack.redis.client, 'pos');
    const [, began] = await run.begin();
    await run.tokens('a', 'b');
    const [, , end] = await run.done();
    const stream = stack.threadEvents('pos', '', reader);
    const ready = await stream.named('ready');
    assert.deepEqual(ready.json, { at: end });
    assert.equal(ready.ownId, end);
    stream.close();

    const good = stack.threadEvents('pos', '', { ...reader, lastEventId: began });
    assert.equal((await good.type('token')).json.content, 'ab');
    good.close();

    for (const id of ['1-1', `${end.split('-')[0]}-99`, 'junk', '-1', '18446744073709551616-1', '0-0', '01-1']) {
        const lost = stack.threadEvents('pos', '', { ...reader, lastEventId: id });
        const reset = await lost.named('reset');
        assert.equal(typeof reset.json.reason, 'string', `Last-Event-ID: ${id}`);
        assert.match(reset.ownId, /^[0-9-]+$/);
        lost.close();
    }
});

test('an id holds no character that forces a preflight', async () => {
    const run = new ScriptRun(stack.redis.client, 'two.b');
    await run.begin();
    const stream = stack.events('/v1/events?thread=two.a&thread=two.b&since=0', reader);
    const event = await stream.type('status');
    assert.equal(event.ownId, `0,${event.json.id}`);
    const other = new ScriptRun(stack.redis.client, 'two.a');
    await other.begin();
    const next = await stream.type('status');
    assert.equal(next.json.threadId, 'two.a');
    assert.equal(next.ownId, `${next.json.id},${event.json.id}`);
    for (const { ownId } of stream.events) assert.doesNotMatch(ownId, /[^\x20-\x7e]|["():<>?@[\\\]{}]/);

    const again = stack.events('/v1/events?thread=two.a&thread=two.b', { ...reader, lastEventId: event.ownId });
    assert.equal((await again.type('status')).json.threadId, 'two.a');
    again.close();
    stream.close();
});

test('where a stream begins: 0, now, an id, run', async () => {
    const first = new ScriptRun(stack.redis.client, 'where');
    await first.begin();
    await first.tokens('old');
    await first.done();
    const second = new ScriptRun(stack.redis.client, 'where');
    const [, began] = await second.begin();
    await second.tokens('new');

    const all = stack.threadEvents('where', 'since=0', reader);
    assert.equal((await all.type('token')).json.content, 'old');
    const live = stack.threadEvents('where', '', reader);
    const event = await live.next((e) => e.event === 'message');
    assert.equal(event.json.id, began, 'the beginning of the live run');
    const now = stack.threadEvents('where', 'since=now', reader);
    await now.opened();
    const byId = stack.threadEvents('where', `since=${began}`, reader);
    assert.equal((await byId.type('token')).json.content, 'new');
    await until(() => now.body.includes('\n'), { what: 'the stream has begun' });
    await now.named('ready');
    await second.tokens('newer');
    assert.equal((await now.type('token')).json.content, 'newer');
    assert.equal(now.messages.length, 1);
    const bad = await stack.request('GET', '/v1/threads/where/events?since=%00', reader);
    assert.notEqual(bad.status, 500);
    for (const stream of [all, live, now, byId]) stream.close();
});

test('HTTP/1.0 is delimited by the close, not chunked', async () => {
    const run = new ScriptRun(stack.redis.client, 'old');
    await run.begin();
    const stream = stack.threadEvents('old', 'since=0', { ...reader, version: '1.0' });
    await stream.type('status');
    assert.equal(stream.headers['transfer-encoding'], undefined);
    stream.close();
});

test('too many streams of one user: busy, then a FIN without the last chunk', async () => {
    const bridge = await stack.startBridge({ 'max-streams-per-user': 2 });
    const open = [1, 2].map(() => stack.threadEvents('limit', '', { ...reader, bridge }));
    await Promise.all(open.map((stream) => stream.named('ready')));
    const third = stack.threadEvents('limit', '', { ...reader, bridge });
    assert.equal(await third.opened(), 200);
    await third.named('busy');
    await third.end();
    assert.equal(third.ending, 'fin');
    assert.ok(Number(third.retry) > 0);
    const somebodyElse = stack.threadEvents('limit', '', { ...reader, sub: 'bob', bridge });
    await somebodyElse.named('ready');
    for (const stream of [...open, somebodyElse]) stream.close();
});

test('SIGTERM: bye, a FIN without the last chunk, exit 0 within the drain time', async () => {
    const bridge = await stack.startBridge({ 'drain-ms': 2000 });
    const streams = Array.from({ length: 20 }, () => stack.threadEvents('drain', '', { ...reader, bridge }));
    await Promise.all(streams.map((stream) => stream.named('ready')));
    const took = bridge.stop();
    await Promise.all(streams.map(async (stream) => {
        await stream.named('bye');
        await stream.end();
        assert.equal(stream.ending, 'fin');
    }));
    assert.ok(await took < 5000);
    assert.equal(bridge.child.code, 0);
});

test('SIGTERM: bye is spread over the drain time, and so are the moments to come back', async (t) => {
    const [MANY, DRAIN, RETRY] = [200, 2000, 1000]; // what is said is half of --retry-ms to one and a half
    const bridge = await stack.startBridge({ 'drain-ms': DRAIN, 'retry-ms': RETRY });
    const streams = Array.from({ length: MANY }, (_, i) => stack.threadEvents(`spread-${i % 20}`, '', { ...reader, bridge }));
    await Promise.all(streams.map((stream) => stream.named('ready')));
    const told = performance.now();
    const took = bridge.stop();
    const byes = await Promise.all(streams.map((stream) => stream.named('bye')));
    await took;
    assert.equal(bridge.child.code, 0);
    const quarters = [0, 0, 0, 0];
    for (const { at } of byes) quarters[Math.min(3, Math.floor((at - told) * 4 / DRAIN))]++;
    const times = byes.map(({ at }) => Math.round(at - told)).sort((a, b) => a - b);
    const retries = streams.map((stream) => Number(stream.retry)).sort((a, b) => a - b);
    t.diagnostic(`byes from ${times[0]} to ${times.at(-1)} ms, in the quarters ${quarters}; retry from ${retries[0]} to ${retries.at(-1)}`);
    assert.ok(times.at(-1) - times[0] >= DRAIN / 2 && times.at(-1) <= DRAIN + 500, `from ${times[0]} to ${times.at(-1)} ms`);
    for (const n of quarters) assert.ok(n >= MANY / 20 && n <= MANY / 2, `${n} of ${MANY} in one quarter of ${DRAIN} ms: ${quarters}`);
    assert.ok(retries[0] >= RETRY / 2 && retries.at(-1) < RETRY * 3 / 2, `${retries[0]} to ${retries.at(-1)}`);
    // who is told the same would come back at the same moment
    assert.ok(new Set(retries).size >= MANY / 2, `${new Set(retries).size} of them differ`);
    const middle = retries.filter((ms) => ms >= RETRY * 3 / 4 && ms < RETRY * 5 / 4).length;
    assert.ok(middle >= MANY / 4 && middle <= MANY * 3 / 4, `${middle} of ${MANY} in the middle half`);
});

test('a slow reader is cut with its reason and the others are not delayed', async () => {
    const bridge = await stack.startBridge({ 'client-queue-bytes': 65536 });
    const slow = stack.threadEvents('slow', 'since=0&merge=0', { ...reader, bridge, paused: true });
    const quick = stack.threadEvents('slow', 'since=0&merge=0', { ...reader, bridge });
    await quick.opened();
    await until(async () => Number((await stack.redis.client.pubsub('NUMSUB', 'thread:slow'))[1]) >= 1);
    await until(async () => Object.entries(await bridge.metrics())
        .some(([name, value]) => /clients$|clients\{/.test(name) && value >= 2), { what: 'two clients in /metrics' });
    const run = new ScriptRun(stack.redis.client, 'slow');
    await run.begin();
    const block = 'x'.repeat(16_000);
    const closed = () => / info client closed .*reason=slow/.test(bridge.output);
    let sent = 0;
    await until(async () => {
        await run.tokens(block);
        sent++;
        // only the one that never reads may fall behind
        await until(() => quick.messages.length >= sent + 1, { what: 'the quick one keeps up', every: 1 });
        return closed();
    }, { what: 'the slow client is closed', every: 1 });
    await until(() => quick.messages.length >= sent + 1, { what: 'the quick one has everything' });
    assert.equal(quick.text(), run.text);
    const metrics = await bridge.metrics();
    assert.ok(Object.entries(metrics).some(([name, value]) => /reason="slow"/.test(name) && value === 1),
              'counted by reason');
    slow.close();
    quick.close();
});
