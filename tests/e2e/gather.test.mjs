// The readers of a thread meet in one reactor while they are few: Redis has one subscriber for
// each thread. Where a reader has come in makes no difference to anybody, and nothing of it
// stays when it has left.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { before, test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { holdReactor } from './lib/hold.mjs';
import { ScriptRun } from './lib/publisher.mjs';
import { raw } from './lib/raw.mjs';
import { instanceOf } from '../input/redis.mjs';
import { RespProxy } from '../input/resp-proxy.mjs';

const REACTORS = 3;
const READER = { read: ['*'] };
const OPTIONS = { reactors: REACTORS, 'drain-ms': 500 };
/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ workers: 0, bridge: OPTIONS });
});

/** @param {string} name */
async function metric(name, bridge = stack.bridge) {
    return (await bridge.metrics())[`threadcast_bridge_${name}`];
}
const moved = (bridge = stack.bridge) => metric('connections_moved_total', bridge);
const met = (bridge = stack.bridge) => metric('gather_full_total', bridge);

/** Streams that are live. @param {number} count @param {(i: number) => string} thread @param {any} [options] */
async function live(count, thread, options = {}) {
    const streams = Array.from({ length: count }, (_, i) => stack.threadEvents(thread(i), '', { ...READER, ...options }));
    await Promise.all(streams.map((stream) => stream.named('ready')));
    return streams;
}

/** @param {import('./harness.mjs').SseStream[]} streams */
async function leave(streams, bridge = stack.bridge) {
    for (const stream of streams) stream.close();
    await until(async () => await metric('clients', bridge) === 0, { what: 'all have left' });
}

/** How many connections of bridges hear each. @param {string[]} threads @returns {Promise<number[]>} */
async function subscribers(threads) {
    const counts = await stack.redis.client.pubsub('NUMSUB', ...threads.map((id) => `thread:${id}`));
    return counts.filter((_, i) => i % 2).map(Number);
}

test('six readers each of twenty threads: one subscriber a thread, and all get everything', async () => {
    const threads = Array.from({ length: 20 }, (_, i) => `few${i}`);
    const asked = await metric('http_requests_total');
    const streams = await live(120, (i) => threads[i % 20]);
    assert.deepEqual(await subscribers(threads), threads.map(() => 1));
    const went = await moved();
    assert.ok(went >= 40 && went <= 110, `of 120 readers two thirds come in elsewhere: ${went} have moved`);
    assert.equal(await metric('http_requests_total') - asked, 120 + 2, 'each request counts once (and two for metrics)');
    for (const thread of threads.slice(0, 3)) {
        const run = new ScriptRun(stack.redis.client, thread);
        await run.begin();
        for (let i = 0; i < 50; i++) await run.tokens(`${i} `);
        await Promise.all(streams.filter((_, i) => threads[i % 20] === thread)
            .map((s) => until(() => s.text() === run.text, { what: 'the whole text' })));
    }
    await leave(streams);
    assert.deepEqual(await subscribers(threads), threads.map(() => 0));
    assert.equal(await met(), 0);
});

test('--gather-readers: those who are too many stay where they are, and a place is free again behind who leaves', async () => {
    const bridge = await stack.startBridge({ ...OPTIONS, 'gather-readers': 5 });
    let streams = await live(60, () => 'crowd', { bridge });
    assert.ok(await met(bridge) > 20, `${await met(bridge)} met the limit`);
    assert.ok(await moved(bridge) <= 5, `${await moved(bridge)} have moved`);
    assert.ok((await subscribers(['crowd']))[0] >= 2);
    await leave(streams, bridge);
    const [before, full] = [await moved(bridge), await met(bridge)];
    for (let i = 0; i < 30; i++) await leave(await live(4, () => 'crowd', { bridge }), bridge);
    assert.ok(await moved(bridge) - before > 30, `${await moved(bridge) - before} of 120 have moved`);
    assert.equal(await met(bridge), full, 'four at a time are not too many');
    streams = await live(60, () => 'crowd', { bridge });
    const run = new ScriptRun(stack.redis.client, 'crowd');
    await run.begin();
    await run.tokens('to all');
    await Promise.all(streams.map((s) => until(() => s.text() === 'to all', { what: 'the text' })));
    for (const stream of streams) stream.close();
    await bridge.stop();
});

test('who is refused, or goes before the answer, leaves no place behind', async () => {
    const bridge = await stack.startBridge({ ...OPTIONS, 'gather-readers': 2, 'max-connections': 20 });
    const request = (/** @type {string} */ token, more = '') => `GET /v1/threads/refused/events HTTP/1.1\r\nHost: localhost\r\n` +
        `Authorization: Bearer ${token}\r\n\r\n${more}`;
    const [stranger, friend] = [stack.token({ read: ['other'] }), stack.token({ read: ['refused'] })];
    let closed = 0;
    for (let i = 0; i < 20; i++) {
        const { text } = await raw(bridge.port, request(stranger), { enough: (all) => all.includes('"forbidden"') });
        assert.match(text, /^HTTP\/1\.1 403 /);
        closed += Number(/\r\nConnection: close\r\n/i.test(text));
        const cut = await raw(bridge.port, request(friend, 'x'), { enough: (all) => all.includes('"pipelined"') });
        assert.match(cut.text, /^HTTP\/1\.1 400 /);
        await raw(bridge.port, request(friend), { enough: () => true }).catch(() => {});
    }
    await until(async () => await metric('clients', bridge) === 0, { what: 'nobody is left' });
    assert.ok(await moved(bridge) > 20, `${await moved(bridge)} of 60 have moved`);
    assert.ok(closed > 5 && closed < 20, `${closed} of 20: who has moved for a stream that it does not get must not stay`);
    const full = await met(bridge);
    for (let i = 0; i < 10; i++) await leave(await live(1, () => 'refused', { bridge }), bridge);
    assert.equal(await met(bridge), full, 'one at a time is not too many');
    const answer = await bridge.fetch('/v1/session', { method: 'DELETE', headers: { Connection: 'close' } });
    assert.equal(answer.status, 204, 'their places among the connections are free, too');
    await until(async () => await metric('connections', bridge) <= 3, { what: 'no connection is left but ours' });
    await bridge.stop();
});

test('a connection that has asked for something else before moves, too', async () => {
    const began = await moved();
    for (let i = 0; i < 20; i++) {
        const { text } = await raw(stack.bridge.port, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n' +
            `GET /v1/threads/later${i}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${stack.token(READER)}\r\n\r\n`,
                                   { enough: (all) => all.includes('event: ready') });
        assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok\n?HTTP\/1\.1 200 OK\r\n[^]*event: ready/);
    }
    assert.ok(await moved() - began > 5, `${await moved() - began} of 20 have moved`);
    await leave([]);
});

/** Connections to a port whose other side is done with the handshake. @param {number} port */
const connected = (port) => fs.readFileSync('/proc/net/tcp', 'utf8')
    .split(`:${port.toString(16).toUpperCase().padStart(4, '0')} 01 `).length - 1;

test('a storm: who comes faster than requests are read waits in the kernel, and nobody is turned away', async () => {
    const COUNT = 1000;
    // on one processor, so that the others wait for the one that has it: three times 48 in their lines, and 50 on their way
    const bridge = await stack.startBridge({ ...OPTIONS, 'max-connections': 300, 'max-streams-per-user': 0 }, {},
                                           { via: ['taskset', '-c', '0'] });
    bridge.child.kill('SIGSTOP');
    const streams = Array.from({ length: COUNT }, (_, i) => stack.threadEvents(`storm${i}`, '', { ...READER, bridge }));
    await until(() => connected(bridge.port) === COUNT, { what: () => `${connected(bridge.port)} are there` });
    bridge.child.kill('SIGCONT');
    await Promise.all(streams.map((stream) => stream.named('ready')));
    assert.ok(await moved(bridge) > COUNT / 3);
    assert.equal(await metric('limits_total{limit="max-connections"}', bridge) ?? 0, 0);
    await leave(streams, bridge);
    await bridge.stop();
});

test('a reactor that stands still is brought its part of half of --max-connections, the others stay and are served', async (t) => {
    const [COUNT, MAX] = [300, 128]; // some 75 come in at the other one and have their home there: 32 of them are brought
    const bridge = await stack.startBridge({ reactors: 2, 'max-connections': MAX, 'max-streams-per-user': 0, 'drain-ms': 500 });
    const { held, release } = await holdReactor(bridge, 1);
    const streams = Array.from({ length: COUNT }, (_, i) => stack.threadEvents(`part${i}`, '', { ...READER, bridge }));
    const served = () => streams.filter((s) => s.events.length > 0).length;
    try {
        if (held) await until(() => served() >= COUNT / 6, { what: () => `who stays is served: ${served()}` });
    } finally {
        await release();
    }
    await Promise.all(streams.map((stream) => stream.named('ready')));
    if (held) assert.ok(await met(bridge) > 0, `${await moved(bridge)} have moved, and nobody was one too many`);
    await leave(streams, bridge);
    await bridge.stop();
    if (!held) t.skip('this machine does not let one process hold a thread of another');
});

test('nobody is brought to a reactor that hears nothing of Redis', async (t) => {
    const proxy = await RespProxy.start(stack.redis.port);
    t.after(() => proxy.stop());
    const bridge = await stack.startBridge({ reactors: 2, 'upstream-timeout-ms': 100, 'drain-ms': 0 }, { REDIS_URL: proxy.url });
    const name = `threadcast-bridge:${await instanceOf(bridge)}-1:subscribe`;
    const link = await proxy.ready(name);
    proxy.refused.add(name);
    link.client.destroy();
    await until(async () => (await bridge.fetch('/readyz')).status === 503);
    for (let i = 0; i < 10; i++) {
        let tries = 0;
        await until(async () => { // who comes in there is told `busy`, and comes again
            const stream = stack.threadEvents(`deaf${i}`, '', { ...READER, bridge });
            const { event } = await stream.next((e) => e.event === 'ready' || e.event === 'busy');
            stream.close();
            return event === 'ready' || ++tries === 20;
        });
        assert.ok(tries < 20, 'half of the connections come in elsewhere, and stay there');
    }
    proxy.refused.clear();
    await until(async () => (await bridge.fetch('/readyz')).status === 200);
    const before = await moved(bridge);
    await leave(await live(20, (i) => `heard${i}`, { bridge }), bridge);
    assert.ok(await moved(bridge) > before, 'it is a home again');
    await bridge.stop();
});

test('--gather-readers 0: nobody moves', async () => {
    const bridge = await stack.startBridge({ ...OPTIONS, 'gather-readers': 0 });
    const streams = await live(40, () => 'apart', { bridge });
    assert.deepEqual([await moved(bridge), await met(bridge)], [0, 0]);
    assert.ok((await subscribers(['apart']))[0] >= 2);
    await leave(streams, bridge);
    await bridge.stop();
});
