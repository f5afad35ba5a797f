// The event path's promises: no silent gap, no duplicate, nobody delayed, everything gone
// when the browser goes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { Proxy } from './lib/proxy.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const stack = await Stack.start({ postgres: false,
                                  bridge: { 'keepalive-ms': 1000, 'drain-ms': 500 } });

const reader = { sub: 'ann', read: ['*'] };

/** @param {string} thread @param {string} [query] @param {object} [more] */
async function live(thread, query = '', more = {}) {
    const stream = stack.threadEvents(thread, query, { ...reader, ...more });
    await stream.named('ready');
    return stream;
}

/** @param {string} thread @param {object} event */
function bare(thread, event) {
    return stack.redis.client.publish(`thread:${thread}`, JSON.stringify(event));
}

/** @param {string} thread */
async function subscribers(thread) {
    return Number((await stack.redis.client.pubsub('NUMSUB', `thread:${thread}`))[1]);
}

/** @param {string} name */
async function metric(name) {
    return (await stack.bridge.metrics())[name] ?? 0;
}

/** Appends to the log as publish.lua would, but tells no subscriber.
 *  @param {ScriptRun} run @param {string} epoch @param {number} n @param {string} text */
async function onlyLogged(run, epoch, n, text) {
    const id = `${epoch}-${n}`;
    const event = JSON.stringify({ id, ...run.event('token', text) });
    const log = `{thread:${run.thread}}:log`, state = `{thread:${run.thread}}:state`;
    await stack.redis.client.multi().xadd(log, id, 'e', event).hset(state, 'n', String(n)).exec();
    return { id, event };
}

test('a hole in the numbers is filled from the log before anything later goes out', async () => {
    const stream = await live('hole');
    const run = new ScriptRun(stack.redis.client, 'hole');
    const [, began] = await run.begin();
    await stream.type('status');
    const epoch = began.split('-')[0];
    await onlyLogged(run, epoch, 2, 'lost ');
    await onlyLogged(run, epoch, 3, 'twice ');
    await run.tokens('found');
    await until(() => stream.text() === 'lost twice found', { what: () => `text: ${stream.text()}` });
    assert.deepEqual(stream.messages.map((e) => e.json.id), [1, 2, 3, 4].map((n) => `${epoch}-${n}`));
    assert.equal(stream.events.filter((e) => e.event === 'reset').length, 0);
    stream.close();
});

test('duplicates and invented ids are dropped, counted, and hold nobody up', async () => {
    const stream = await live('fake');
    const run = new ScriptRun(stack.redis.client, 'fake');
    const [, began] = await run.begin();
    await run.tokens('a');
    await until(() => stream.text() === 'a');
    const epoch = began.split('-')[0];
    const before = await metric('threadcast_bridge_drops_total{reason="duplicate"}');
    await bare('fake', { id: began, ...run.event('token', 'again') });
    for (const id of [`${epoch}-99`, '5-1', '9000000000000000000-7', `${Number(epoch) + 1}-1`])
        await bare('fake', { id, ...run.event('token', 'invented') });
    await run.tokens('b');
    await until(() => stream.text() === 'ab', { what: () => `text: ${stream.text()}` });
    const late = stack.threadEvents('fake', 'since=0', reader);
    await until(() => late.text() === 'ab', { what: 'a late reader is not held up' });
    await run.tokens('c');
    await until(() => stream.text() === 'abc' && late.text() === 'abc');
    await until(async () => await metric('threadcast_bridge_drops_total{reason="duplicate"}') > before,
                { what: 'the duplicate is counted' });
    for (const s of [stream, late]) s.close();
});

test('what is not an event of this thread is dropped and counted; bare objects pass', async () => {
    const stream = await live('bare');
    const channel = 'thread:bare';
    for (const text of ['no json', '[1]', '"x"', '{"a":', '{"type":"token","threadId":"other","content":"x"}',
                        '{"type":"token","content":"\u0000"}', `{"x":${'['.repeat(40)}${']'.repeat(40)}}`])
        await stack.redis.client.publish(channel, text);
    await stack.redis.client.publish(channel, Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]));
    await stack.redis.client.publish(channel, '{ "type":\r\n"test",\n"content":"hello\\n\\u2028" }');
    await until(() => stream.messages.length === 1, { what: 'the bare event' });
    assert.equal(stream.messages[0].json.content, 'hello\n\u2028');
    assert.equal(stream.messages[0].ownId, '');
    const metrics = await stack.bridge.metrics();
    assert.ok(metrics['threadcast_bridge_drops_total{reason="not_json"}'] >= 6);
    assert.ok(metrics['threadcast_bridge_drops_total{reason="wrong_thread"}'] >= 1);
    stream.close();
});

test('one subscription per thread and reactor however many readers, gone with the last one', async () => {
    const streams = [];
    for (let i = 0; i < 20; i++) streams.push(await live('shared'));
    // one in each reactor that some of them have come to
    const reactors = Object.entries(await stack.bridge.metrics())
        .filter(([name, value]) => name.includes('reactor_streams') && value > 0).length;
    assert.equal(await subscribers('shared'), reactors);
    const run = new ScriptRun(stack.redis.client, 'shared');
    await run.begin();
    await run.tokens('to all');
    await Promise.all(streams.map((s) => until(() => s.text() === 'to all')));
    for (const s of streams.slice(1)) s.close();
    await until(async () => await metric('threadcast_bridge_clients') === 1, { what: 'one client is left' });
    assert.equal(await subscribers('shared'), 1);
    streams[0].close();
    await until(async () => await subscribers('shared') === 0, { what: 'nobody is subscribed' });
    await until(async () => await metric('threadcast_bridge_topics') === 0, { what: 'no topic is left' });
});

test('a reader who comes and goes at once leaves the next one a whole subscription', async () => {
    for (let i = 0; i < 30; i++) {
        const thread = `flap${i}`;
        const gone = stack.threadEvents(thread, '', reader);
        await gone.opened();
        gone.close();
        const stays = await live(thread);
        await bare(thread, { type: 'test', content: i });
        await until(() => stays.messages.length === 1, { what: `reader ${i} is subscribed` });
        stays.close();
    }
});

test('joining while events pour in loses and repeats nothing', async () => {
    const run = new ScriptRun(stack.redis.client, 'pour');
    await run.begin();
    let going = true;
    const pouring = (async () => {
        while (going) await run.tokens('x', 'y', 'z');
        await run.done();
    })();
    const streams = [];
    for (let i = 0; i < 40; i++) {
        const stream = stack.threadEvents('pour', i % 2 ? 'merge=0' : '', reader);
        await stream.opened();
        streams.push(stream);
    }
    going = false;
    await pouring;
    for (const [i, stream] of streams.entries()) {
        await stream.type('done');
        assert.equal(stream.text(), run.text, `stream ${i}`);
        const numbers = stream.messages.map((e) => Number(e.json.id.split('-')[1]));
        assert.ok(numbers.every((n, at) => at === 0 || n > numbers[at - 1]), `stream ${i} is in order`);
        if (i % 2) assert.ok(numbers.every((n, at) => n === at + 1), `stream ${i} has every number`);
        stream.close();
    }
});

test('a storm of reconnects shares its reads, and everybody gets everything', async (t) => {
    const proxy = await Proxy.start({ port: stack.redis.port });
    t.after(() => proxy.stop());
    const bridge = await stack.startBridge({ 'upstream-timeout-ms': 20_000 }, { REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
    const run = new ScriptRun(stack.redis.client, 'storm');
    const [, began] = await run.begin();
    for (let i = 0; i < 40; i++) await run.tokens('a ', 'b ', 'c ');
    const before = (await bridge.metrics()).threadcast_bridge_replays_total ?? 0;
    proxy.hold(); // or it is up to the machine how many of them come while it is read
    const streams = Array.from({ length: 300 }, (_, i) => stack.threadEvents('storm', i % 3 ? '' : 'merge=0',
                                                                          { ...reader, lastEventId: began, bridge }));
    await until(async () => (await bridge.metrics()).threadcast_bridge_clients === 300, { what: 'all are there' });
    proxy.release();
    await Promise.all(streams.map((s) => until(() => s.text() === run.text, { what: 'all of it' })));
    const reads = (await bridge.metrics()).threadcast_bridge_replays_total - before;
    console.log(`# 300 readers, ${reads} reads`);
    assert.ok(reads < 20, `${reads} reads`);
    await run.tokens('and on');
    await Promise.all(streams.map((s) => until(() => s.text() === run.text)));
    for (const s of streams) s.close();
    await bridge.stop();
});

test('a log that was lost under a live stream says reset and goes on', async () => {
    const stream = await live('gone');
    const first = new ScriptRun(stack.redis.client, 'gone');
    await first.begin();
    await first.tokens('before');
    await until(() => stream.text() === 'before');
    await stack.redis.client.del('{thread:gone}:log', '{thread:gone}:state');
    const second = new ScriptRun(stack.redis.client, 'gone');
    await second.begin();
    await second.tokens(' after');
    await stream.named('reset');
    await until(() => stream.text() === 'before after', { what: () => stream.text() });
    stream.close();
});

test('a run that began and ended while the log was lost is told behind the reset', async () => {
    const first = new ScriptRun(stack.redis.client, 'quick');
    const [, began] = await first.begin();
    await first.done();
    await stack.redis.client.del('{thread:quick}:log', '{thread:quick}:state');
    const second = new ScriptRun(stack.redis.client, 'quick');
    await second.begin();
    await second.tokens('nobody was there');
    await second.done();
    const stream = stack.threadEvents('quick', '', { ...reader, lastEventId: began });
    await stream.named('reset');
    await stream.type('done');
    assert.equal(stream.text(), 'nobody was there');
    stream.close();
});

test('a stream of many threads: every thread, positions, and a resume of all', async () => {
    const threads = Array.from({ length: 32 }, (_, i) => `many.${i}`);
    const query = threads.map((t) => `thread=${t}`).join('&');
    const runs = threads.map((t) => new ScriptRun(stack.redis.client, t));
    const stream = stack.events(`/v1/events?${query}`, reader);
    await stream.named('ready');
    for (const run of runs.slice(0, 16)) await run.begin();
    await until(() => stream.messages.length === 16);
    const position = stream.messages[15].ownId;
    assert.equal(position.split(',').length, 32);
    stream.close();
    for (const run of runs.slice(8)) await (run.next === 1 ? run.begin() : run.tokens('t'));
    const again = stack.events(`/v1/events?${query}`, { ...reader, lastEventId: position });
    await until(() => again.messages.length === 24, { what: () => `24, not ${again.messages.length}` });
    assert.deepEqual(new Set(again.messages.map((e) => e.json.threadId)).size, 24);
    again.close();
    const tooMany = await stack.request('GET', `/v1/events?${query}&thread=many.32`, reader);
    assert.equal(tooMany.status, 400);
    const few = await stack.startBridge({ 'max-threads-per-stream': 2 });
    const three = await few.fetch('/v1/events?thread=a&thread=b&thread=c', {
        headers: stack.authorization(reader), signal: AbortSignal.timeout(5000) }); // it would be a stream
    assert.equal(three.status, 400, '--max-threads-per-stream 2');
    assert.deepEqual((await three.json()).error, { code: 'too_many_threads', message: 'A stream can follow at most 2 threads.' });
    const ticket = await stack.request('POST', '/v1/tickets', { ...reader, bridge: few, json: { threads: ['a', 'b', 'c'] } });
    assert.equal(`${ticket.status} ${ticket.json.error?.code}`, '400 bad_threads');
    await few.stop();
    assert.equal((await stack.request('GET', '/v1/events', reader)).status, 400);
    assert.equal((await stack.request('GET', '/v1/events?thread=a&thread=a', reader)).status, 400);
});

test('the queue of a slow reader merges tokens before it is cut', async () => {
    const bridge = await stack.startBridge({ 'client-queue-bytes': 400_000, 'client-merge-percent': 1 });
    const slow = await live('merge', '', { bridge });
    const run = new ScriptRun(stack.redis.client, 'merge');
    await run.begin();
    slow.pause();
    const merged = async () => (await bridge.metrics())['threadcast_bridge_events_merged_total'] ?? 0;
    // the kernel's buffers take the first megabytes, the queue comes behind them
    for (let i = 0; i < 60 && await merged() < 500; i++)
        for (let j = 0; j < 20; j++) await run.tokens(...Array(100).fill('some text that is not so short '));
    assert.ok(await merged() >= 500, `${await merged()} merged`);
    await run.done();
    slow.resume();
    await slow.type('done');
    assert.equal(slow.text(), run.text);
    slow.close();
});

test('a write that makes no progress is cut; bytes on a stream are not welcome', async () => {
    const bridge = await stack.startBridge({ 'write-stall-ms': 1000, 'client-queue-bytes': 64 << 20,
                                             'history-max-bytes': 64 << 20 });
    const stuck = await live('stuck', '', { bridge });
    const run = new ScriptRun(stack.redis.client, 'stuck');
    await run.begin();
    stuck.pause();
    for (let i = 0; i < 200; i++) await run.tokens('x'.repeat(60_000)); // more than the kernel takes
    await until(() => /client closed .*reason="?write stalled/.test(bridge.output),
                { what: 'the stalled one is cut' });
    stuck.close();
    const talker = await live('talker', '', { bridge });
    talker.write('x'.repeat(8192));
    await talker.end();
    assert.match(bridge.output, /client closed .*reason="?client wrote/);
});

test('a token that ends is announced, then the stream ends, within 5 s of it', async (t) => {
    const stream = stack.threadEvents('token', '', { ...reader, seconds: 4 });
    const { json: { expiresAt } } = await stream.named('auth');
    assert.ok(expiresAt > Date.now());
    await stream.end(15_000);
    const late = Date.now() - expiresAt;
    t.diagnostic(`${late} ms after its token`);
    assert.ok(late >= 0 && late <= 5000, `${late} ms after its token`);
    assert.deepEqual(stream.events.at(-1)?.json, { reason: 'expired' });
    assert.equal(stream.ending, 'fin');
});

test('a channel that Redis does not let us read is busy; the other threads go on', async () => {
    await stack.redis.client.call('ACL', 'SETUSER', 'narrow', 'on', '>narrow-secret', '+@all', '~*',
                                  'resetchannels', '&thread:allowed*', '&threadcast:*');
    const url = stack.redis.url.replace('redis://', 'redis://narrow:narrow-secret@');
    const bridge = await stack.startBridge({}, { REDIS_URL: url });
    const allowed = await live('allowed.1', '', { bridge });
    const refused = stack.threadEvents('other.1', '', { ...reader, bridge });
    await refused.named('busy');
    await refused.end();
    assert.equal(refused.ending, 'fin');
    await bare('allowed.1', { type: 'test', content: 'still here' });
    await until(() => allowed.messages.length === 1);
    allowed.close();
});

/** @param {ScriptRun} run @param {number} count @param {number} size */
const blocks = (run, count, size) => run.call('publish', Array.from({ length: count }, (_, i) =>
    run.event('delta', { kind: 'block', i, pad: 'x'.repeat(size) })));

test('a reader that reads is not cut for what came in one turn, live or in a fill', async () => {
    const stream = await live('burst');
    const run = new ScriptRun(stack.redis.client, 'burst');
    await run.begin();
    await blocks(run, 150, 4000); // 600 KB in one turn
    await until(() => stream.messages.length === 151, { what: 'the burst' });
    await Promise.all([stack.redis.client.client('KILL', 'TYPE', 'pubsub'),
                       (async () => { for (let i = 0; i < 20; i++) await blocks(run, 10, 3000); })()]);
    await until(() => stream.messages.length === 351, { what: 'the fill' });
    assert.equal(stream.ending, '');
    stream.close();
});

test('a bare event during a long replay cuts nobody', async () => {
    const run = new ScriptRun(stack.redis.client, 'bareplay');
    await run.begin();
    for (let i = 0; i < 20; i++) await blocks(run, 8, 60_000);
    const stream = stack.threadEvents('bareplay', 'since=0', { ...reader, paused: true });
    await until(async () => await metric('threadcast_bridge_clients') >= 1, { what: 'it is there' });
    for (let i = 0; i < 5; i++) await bare('bareplay', { type: 'test', content: i });
    stream.resume();
    for (let i = 5; i < 10; i++) await bare('bareplay', { type: 'test', content: i });
    await until(() => stream.messages.filter((e) => e.json.type === 'delta').length === 160, {
        what: 'the replay' });
    assert.equal(stream.ending, '');
    stream.close();
});

test('many large replays at once stay within bounds, and others are served', async () => {
    const threads = Array.from({ length: 32 }, (_, i) => `large.${i}`);
    for (const thread of threads) {
        const run = new ScriptRun(stack.redis.client, thread);
        await run.begin();
        await blocks(run, 20, 100_000);
    }
    const memory = async () => (await stack.bridge.metrics()).threadcast_bridge_resident_bytes;
    const before = await memory();
    const stuck = Array.from({ length: 4 }, () => stack.events(
        `/v1/events?${threads.map((t) => `thread=${t}`).join('&')}&since=0`, { ...reader, paused: true }));
    const others = await Promise.all(Array.from({ length: 4 }, () => live('innocent')));
    const replayed = stack.threadEvents('large.0', 'since=0', reader);
    await until(() => replayed.messages.length === 21, { what: 'a replay beside them' });
    const grown = (await memory() - before) / 1e6;
    assert.ok(grown < 100, `${grown} MB for four readers of 64 MB`);
    for (const s of [...stuck, ...others, replayed]) s.close();
});

test('ids on a stream of several threads are positions of all, or none', async () => {
    const a = new ScriptRun(stack.redis.client, 'pair.a'), b = new ScriptRun(stack.redis.client, 'pair.b');
    await a.begin();
    await b.begin();
    const query = '/v1/events?thread=pair.a&thread=pair.b';
    const stream = stack.events(query, reader);
    await until(() => stream.messages.length === 2);
    /** @type {Promise<unknown>[]} */
    const sends = [stack.redis.client.del('{thread:pair.b}:log')];
    const again = new ScriptRun(stack.redis.client, 'pair.b');
    sends.push(again.begin());
    for (let i = 0; i < 100; i++) sends.push(a.publish('delta', { kind: 'n', i }).catch(() => 0));
    await Promise.all(sends);
    const reset = await stream.named('reset');
    assert.equal(reset.json.threadId, 'pair.b');
    await until(() => stream.messages.some((e) => e.json.runId === again.id));
    for (const { ownId } of stream.events) assert.ok(!ownId || ownId.includes(','), ownId);
    stream.close();
});

test('an ending stream does not wait for a reader that drips', async () => {
    const bridge = await stack.startBridge({ 'client-queue-bytes': 8 << 20 });
    const stream = stack.threadEvents('drip', '', { ...reader, bridge, seconds: 6 });
    await stream.named('ready');
    stream.pause();
    const run = new ScriptRun(stack.redis.client, 'drip');
    await run.begin();
    for (let i = 0; i < 60; i++) await blocks(run, 1, 100_000);
    await until(() => /client closed .*thread=drip reason="?token ended/.test(bridge.output), {
        timeout: 20_000, what: 'it is closed although it does not read' }); // its token has 6 s
    stream.close();
});

test('every series of /metrics is there once', async () => {
    const text = await (await stack.bridge.fetch('/metrics')).text();
    const names = text.split('\n').filter((line) => line && !line.startsWith('#'))
        .map((line) => line.slice(0, line.lastIndexOf(' ')));
    assert.deepEqual(names.filter((name, at) => names.indexOf(name) !== at), []);
    const types = text.split('\n').filter((line) => line.startsWith('# TYPE'));
    assert.equal(new Set(types).size, types.length);
});

test('a slow Redis is no silent one: who waits long in the line still joins', async (t) => {
    const MANY = 35;
    const proxy = await Proxy.start({ port: stack.redis.port });
    t.after(() => proxy.stop());
    const bridge = await stack.startBridge({ 'upstream-timeout-ms': 1500, reactors: 1, 'replay-concurrency': 1 },
                                           { REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
    proxy.dribble(32, 15); // what Redis says to all of them takes much longer than the limit
    const began = performance.now();
    const streams = Array.from({ length: MANY }, (_, i) => stack.threadEvents(`line-${i}`, '', { ...reader, bridge }));
    const said = await Promise.all(streams.map((s) => s.next((e) => e.event === 'ready' || e.event === 'busy')));
    assert.deepEqual(said.map((e) => e.event), Array(MANY).fill('ready'));
    assert.ok(performance.now() - began > 2 * 1500, 'the line was longer than the limit, or this shows nothing');
    proxy.hold();
    const late = stack.threadEvents('line-late', '', { ...reader, bridge });
    await late.named('busy');
    proxy.dribble(Infinity);
    proxy.release();
    for (const stream of [...streams, late]) stream.close();
    await bridge.stop();
});

test('questions about live runs are asked a few at once, the others wait and get their answer', async (t) => {
    const proxy = await Proxy.start({ port: stack.redis.port });
    t.after(() => proxy.stop());
    const bridge = await stack.startBridge({ 'upstream-timeout-ms': 20_000, reactors: 1, 'cursor-concurrency': 1 },
                                           { REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
    const open = () => ['asked-1', 'asked-2', 'asked-3'].map((thread) => stack.threadEvents(thread, '', { ...reader, bridge }));
    const waiting = async () => (await bridge.metrics()).threadcast_bridge_cursors_waiting;
    const first = open();
    for (const stream of first) await stream.named('ready');
    proxy.hold();
    const second = open(); // of threads that are subscribed: only the question is left
    await until(async () => await waiting() === 2, { what: 'one is asked, two wait' });
    proxy.release();
    for (const stream of second) await stream.named('ready');
    assert.equal(await waiting(), 0);
    for (const stream of [...first, ...second]) stream.close();
    await bridge.stop();
});

test('logs are read a few at once, the others wait and get their replay', async (t) => {
    const proxy = await Proxy.start({ port: stack.redis.port });
    t.after(() => proxy.stop());
    const bridge = await stack.startBridge({ 'upstream-timeout-ms': 20_000, reactors: 1, 'replay-concurrency': 1 },
                                           { REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
    const threads = ['read-1', 'read-2', 'read-3'];
    const first = threads.map((thread) => stack.threadEvents(thread, '', { ...reader, bridge }));
    for (const stream of first) await stream.named('ready');
    for (const thread of threads) await new ScriptRun(stack.redis.client, thread).begin();
    for (const stream of first) await stream.type('status'); // all that is left is the log
    const waiting = async () => (await bridge.metrics()).threadcast_bridge_replays_waiting;
    proxy.hold();
    const second = threads.map((thread) => stack.threadEvents(thread, 'since=0', { ...reader, bridge }));
    await until(async () => await waiting() === 2, { what: 'one is read, two wait' });
    proxy.release();
    for (const stream of second) await stream.type('status');
    assert.equal(await waiting(), 0);
    for (const stream of [...first, ...second]) stream.close();
    await bridge.stop();
});

test('the kernel holds only a little for a reader who does not read', async () => {
    const BYTES = 600_000;
    /** Does a stream block that is sent so much and reads none of it? @param {string} thread @param {Record<string, number>} options */
    const isBlocked = async (thread, options) => {
        const bridge = await stack.startBridge({ reactors: 1, 'client-queue-bytes': 8 << 20, ...options });
        const stream = stack.threadEvents(thread, '', { ...reader, bridge });
        await stream.named('ready');
        stream.pause();
        const run = new ScriptRun(stack.redis.client, thread);
        await run.begin();
        await blocks(run, BYTES / 10_000, 10_000);
        await until(async () => (await bridge.metrics()).threadcast_bridge_events_in_total > BYTES / 10_000, { what: 'all is there' });
        const blocked = (await bridge.metrics()).threadcast_bridge_clients_blocked;
        stream.close();
        await until(async () => (await bridge.metrics()).threadcast_bridge_clients_blocked === 0, { what: 'it is gone' });
        await bridge.stop();
        return blocked;
    };
    assert.equal(await isBlocked('unread-1', {}), 1);
    assert.equal(await isBlocked('unread-2', { 'client-socket-bytes': 64 << 20 }), 0, 'the kernel takes it all, or this shows nothing');
});
