// How soon it goes on: the bounds of promise C7, and what a failover may and may not do.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Proxy, Stack, until } from '../e2e/harness.mjs';
import { balances, Reader } from '../e2e/lib/ledger.mjs';
import { ScriptRun } from '../e2e/lib/publisher.mjs';
import { isEnd, runsOf } from '../e2e/lib/runs.mjs';

/** @type {Stack} */
let stack;
/** @type {string} the address of Redis that a failover points elsewhere */
let link;
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
    link = path.join(stack.dir, 'redis-now.sock');
    pointAt(stack.redis);
    await stack.startBridge({ 'retry-ms': 100, 'keepalive-ms': 500 }, { REDIS_URL: `unix://${link}` });
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
    reader.stop();
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
    assert.ok(took <= 5500, `after ${Math.round(took)} ms`);
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
    await until(async () => (await events(asked)).some(isEnd), { what: () => `it is in the log again\n${stack.logs(20)}` });
    await balances({ query: (sql, values) => stack.pg.query(sql, values), redis: stack.redis.client,
                     thread: asked.thread, run: asked.run, readers: [late] });
    await until(() => first.ends(asked.run).length === 2, { what: 'the first reader is told again, behind a reset' });
    assert.deepEqual([first.resets, first.complaints, first.shown(asked.run)], [1, [], late.shown(asked.run)]);
    first.stop();
    late.stop();
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
    reader.stop();
});
