// How soon it goes on: the bounds of promise C7, and what a failover may and may not do.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Proxy, Stack, until } from '../e2e/harness.mjs';
import { balances, Reader } from '../e2e/lib/ledger.mjs';
import { ScriptRun } from '../e2e/lib/publisher.mjs';
import { isEnd, runsOf } from '../e2e/lib/runs.mjs';

const FULL = Boolean(process.env.THREADCAST_FULL);

/** @type {Stack} */
let stack;
/** @type {string} the address of Redis that a failover points elsewhere */
let link;
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
    link = path.join(stack.dir, 'redis-now.sock');
    pointAt(stack.redis);
    await stack.startBridge({ 'upstream-timeout-ms': 1000, 'retry-ms': 100, 'keepalive-ms': 500 }, { REDIS_URL: `unix://${link}` });
});

const { workers, ask, begin, events, endsWell } = runsOf(() => stack);

/** @param {import('../e2e/harness.mjs').RedisServer} server */
function pointAt(server) {
    fs.rmSync(link, { force: true });
    fs.symlinkSync(server.socket, link);
    stack.redis = server;
}

const readerOf = (thread) => new Reader(stack.bridge, thread, stack.authorization());

test('Redis is back: it streams again within 2 s', async (t) => {
    await workers(t)({ 'demo-rate': 50, 'redis-url': `unix://${link}` });
    const asked = await begin('Redis is gone for a while');
    const reader = readerOf(asked.thread);
    t.after(() => reader.stop());
    await until(() => reader.events.length > 3);
    await stack.redis.kill();
    await until(async () => !(await stack.bridge.fetch('/readyz')).ok, { what: 'the bridge has noticed' });
    await stack.redis.start();
    const back = performance.now();
    const had = reader.events.length;
    await until(() => reader.events.length > had, { every: 2 });
    const took = performance.now() - back;
    t.diagnostic(`after ${Math.round(took)} ms`);
    assert.ok(took <= 2000, `after ${Math.round(took)} ms`);
    await endsWell(asked);
});

test('a subscription that is dead without a word is noticed within 5 s, and nothing is missing', async (t) => {
    const proxy = await Proxy.start({ port: stack.redis.port });
    const bridge = await stack.startBridge({ 'retry-ms': 100, 'keepalive-ms': 500 },
                                           { REDIS_URL: `redis://127.0.0.1:${proxy.port}` });
    t.after(async () => {
        proxy.release();
        await bridge.stop();
        stack.bridges.splice(stack.bridges.indexOf(bridge), 1);
        await proxy.stop();
    });
    const thread = await stack.thread();
    const run = new ScriptRun(stack.redis.client, thread);
    await run.begin();
    const stream = stack.threadEvents(thread, 'merge=0', { bridge });
    await stream.type('status');
    const list = String(await stack.redis.client.call('CLIENT', 'LIST')).split('\n');
    const ports = list.filter((line) => line.includes(':subscribe') && / addr=127\.0\.0\.1:/.test(line))
        .map((line) => Number(/ addr=127\.0\.0\.1:(\d+)/.exec(line)?.[1]));
    assert.ok(ports.filter((port) => proxy.holdOne(port)).length > 0, 'the subscriber goes through the proxy');
    const held = performance.now();
    await run.tokens('unheard');
    await stream.type('token');
    const took = performance.now() - held;
    t.diagnostic(`after ${Math.round(took)} ms`);
    assert.ok(took <= 5000, `after ${Math.round(took)} ms`);
    await run.tokens('heard');
    await run.done();
    await stream.type('done');
    assert.equal(stream.text(run.id), 'unheardheard');
    assert.equal(stream.events.filter(({ event }) => event === 'reset').length, 0);
    stream.close();
});

test('an end that Redis has forgotten is told again', async (t) => {
    await workers(t)({ 'demo-rate': 100, 'lease-ms': 1500, 'recall-s': 0, 'redis-url': `unix://${link}` });
    const bridge = await stack.startBridge({ 'retry-ms': 100, 'worker-lease-ms': 500 }, { REDIS_URL: `unix://${link}` });
    t.after(() => bridge.stop());
    const asked = await begin('and then Redis forgot how it ended');
    const first = new Reader(bridge, asked.thread, stack.authorization());
    t.after(() => first.stop());
    await until(() => first.events.length > 10);
    await stack.redis.stop();
    const copy = stack.redis.copy();
    await stack.redis.start();
    await endsWell(asked);
    const marked = async () => (await stack.run(asked.run)).end_published_at;
    await until(async () => Date.now() - (await marked()).getTime() > 5000, { what: 'the end is an old story' });
    await stack.redis.kill();
    stack.redis.restore(copy);
    await stack.redis.start();
    // from 0: it may be told before this one is there
    const late = new Reader(bridge, asked.thread, stack.authorization(), undefined, '0');
    t.after(() => late.stop());
    await until(async () => (await events(asked)).some(isEnd), { what: () => `it is in the log again\n${stack.logs(20)}` });
    await balances({ query: (sql, values) => stack.pg.query(sql, values), redis: stack.redis.client,
                     thread: asked.thread, run: asked.run, readers: [late] });
    await until(() => first.ends(asked.run).length === 2, { what: 'the first reader is told again, behind a reset' });
    assert.deepEqual([first.resets, first.complaints, first.shown(asked.run)], [1, [], late.shown(asked.run)]);
});

test('a run that Redis has forgotten wholly is told to who resumes before it', async (t) => {
    await workers(t)({ 'demo-rate': 0, 'redis-url': `unix://${link}` });
    const before = await begin('this one is known everywhere');
    await endsWell(before);
    const { thread } = before;
    const reader = stack.threadEvents(thread, 'since=0');
    await reader.type('done');
    const position = reader.lastEventId;
    reader.close(); // away while it happens
    const { server: next, wire } = await stack.redis.replica(path.join(stack.dir, 'replica-behind'));
    wire.hold();
    const asked = await ask(thread, 'and this one only by the one who died');
    await endsWell(asked);
    await stack.redis.kill();
    await wire.stop();
    await next.promote();
    pointAt(next);
    const back = stack.threadEvents(thread, '', { lastEventId: position });
    await back.next((event) => event.json?.runId === asked.run && event.json.type === 'done');
    assert.equal(back.events.filter(({ event }) => event === 'reset').length, 0, 'its position was good');
    assert.equal(back.text(asked.run), await stack.messageText(asked.reply), 'and nothing is missing');
    back.close();
});

test('a lagging replica is promoted: no id for two contents, a reset, the whole text', async (t) => {
    await workers(t)({ 'demo-rate': 40, 'flush-ms': 5, 'redis-url': `unix://${link}` });
    const asked = await begin('the replica was behind');
    const reader = readerOf(asked.thread);
    t.after(() => reader.stop());
    await until(() => reader.events.length > 10);
    const old = stack.redis;
    const { server: next, wire } = await old.replica(path.join(stack.dir, 'replica'));
    wire.hold();
    const had = reader.events.length;
    await until(() => reader.events.length > had + 30, { what: 'readers are ahead of the replica' });
    await old.kill();
    await wire.stop();
    await next.promote();
    pointAt(next);
    const query = (sql, values) => stack.pg.query(sql, values);
    await balances({ query, redis: stack.redis.client, thread: asked.thread, run: asked.run, readers: [reader] });
    const contents = new Map();
    for (const { id, type, content } of reader.events) {
        const text = type === 'token' ? content : JSON.stringify(content);
        const before = contents.get(id) ?? text;
        // replayed, a token may have its neighbours before it in front
        assert.ok(before.endsWith(text) || text.endsWith(before), `${id} was given out again: ${before}, ${text}`);
        contents.set(id, text);
    }
    assert.ok(reader.resets >= 1, 'what the replica had not was said to be lost');
});

test('Redis stands still for longer than anybody waits: a pause, `busy` and 202 meanwhile, then each event once', { skip: !FULL }, async (t) => {
    const STILL_MS = 15_000;
    const worker = await workers(t)({ 'demo-rate': 40, 'metrics-listen': '127.0.0.1:0', 'lease-ms': 4000 });
    const bridge = await stack.startBridge({ 'upstream-timeout-ms': 1000, 'retry-ms': 100, 'keepalive-ms': 500 });
    t.after(async () => {
        stack.redis.child?.kill('SIGCONT');
        stack.bridges.splice(stack.bridges.indexOf(bridge), 1);
        await bridge.stop();
    });
    const asked = await begin('it does not die, it only stands still');
    const [stream, quiet] = [stack.threadEvents(asked.thread, 'since=0&merge=0', { bridge }), stack.threadEvents(await stack.thread(), '', { bridge })];
    await until(() => stream.messages.length > 5, { what: 'it streams' });
    await quiet.named('ready');
    const from = [bridge.output.length, worker.output.length];
    const stopped = performance.now();
    stack.redis.child?.kill('SIGSTOP');
    const since = () => performance.now() - stopped;
    const noticed = await Promise.all([bridge.child.line(/ warn subscriber lost /, { from: from[0] }).then(since),
                                       worker.child.line(/ warn redis lost connection=publish /, { from: from[1] }).then(since)]);
    for (const took of noticed) assert.ok(took <= 10_000, `noticed after ${noticed.map(Math.round)} ms`);
    const fresh = stack.threadEvents(await stack.thread(), '', { bridge });
    await fresh.named('busy');
    await fresh.end();
    const other = await stack.thread();
    const posted = await stack.request('POST', `/v1/threads/${other}/messages`, { json: { content: 'into the dark' }, bridge });
    assert.deepEqual([posted.status, posted.json?.cursor], [202, '0'], posted.text);
    assert.equal((await bridge.fetch('/healthz')).status, 200);
    const keepalives = () => (quiet.body.match(/^:keepalive$/gm) ?? []).length;
    const had = [stream.messages.length, keepalives()];
    await until(() => since() >= STILL_MS, { timeout: STILL_MS + 1000, what: 'it has stood still' });
    assert.deepEqual([stream.messages.length, stream.ending, quiet.ending], [had[0], '', ''], 'a pause, and no end');
    assert.ok(keepalives() >= had[1] + 2, `keepalives go on: ${keepalives() - had[1]}`);
    assert.equal((await stack.run(asked.run)).attempt, 1);
    stack.redis.child?.kill('SIGCONT');
    const back = performance.now();
    await until(() => stream.messages.length > had[0], { every: 2, what: () => `it streams again\n${stack.logs(20)}` });
    const took = Math.round(performance.now() - back);
    t.diagnostic(`noticed after ${noticed.map(Math.round)} ms; streams ${took} ms after SIGCONT`);
    assert.ok(took <= 2000, `streams ${took} ms after SIGCONT`);
    await stream.type('done', 60_000);
    const { row } = await endsWell(asked);
    assert.equal(row.attempt, 1, 'no run is failed by it');
    assert.equal(stream.text(asked.run), await stack.messageText(asked.reply));
    assert.equal(stream.events.filter(({ event }) => event === 'reset').length, 0);
    assert.equal(new Set(stream.messages.map(({ json }) => json.id)).size, stream.messages.length, 'each event once');
    assert.equal((await stack.ended(posted.json.runId)).status, 'done');
    for (const one of [stream, quiet]) one.close();
});

test('Redis comes back from a dump that is a minute old: a reset, and the whole text', { skip: !FULL, timeout: 300_000 }, async (t) => {
    const OLD_MS = 60_000;
    // 90 s of it, a piece every 50 ms
    const saying = `exec:i=0; while [ $i -lt 1800 ]; do i=$((i+1)); echo "{\\"type\\":\\"token\\",\\"content\\":\\"word $i \\"}"; sleep 0.05; done`;
    await workers(t)({ agents: `long=${saying}`, 'redis-url': `unix://${link}` });
    const asked = await begin('a long story', 'long');
    const reader = readerOf(asked.thread);
    await until(() => reader.events.length > 10);
    await stack.redis.stop();
    const copy = stack.redis.copy();
    await stack.redis.start();
    const copied = performance.now();
    await until(() => performance.now() - copied >= OLD_MS, { timeout: OLD_MS + 5000, every: 200, what: 'it is a minute old' });
    const had = reader.events.length;
    assert.ok(had > 500 && !reader.outcome(asked.run), `in mid-run, ${had} events later, or this shows nothing`);
    await stack.redis.kill();
    stack.redis.restore(copy);
    await stack.redis.start();
    const row = await balances({ query: (sql, values) => stack.pg.query(sql, values), redis: stack.redis.client, thread: asked.thread,
                                 run: asked.run, readers: [reader], timeout: 120_000, what: () => stack.logs(20) });
    t.diagnostic(`${had} events before, ${reader.events.length} in all, ${reader.resets} reset(s), ${(await stack.messageText(asked.reply))?.length} bytes`);
    assert.equal(reader.resets, 1);
    assert.equal(row.attempt, 1, 'its worker tells it anew');
    reader.stop();
});
