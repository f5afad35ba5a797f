// Peers that have gone without a word, with the limits as delivered. Two kinds: one whose host is
// gone (nothing is acknowledged), and one whose kernel still acknowledges what nobody reads.
// THREADCAST_FULL=1 for the second kind. Redis, PostgreSQL and readers.

import assert from 'node:assert/strict';
import net from 'node:net';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { Proxy, Stack, until } from './harness.mjs';
import { Deaf } from './lib/deaf.mjs';
import { balances, Reader } from './lib/ledger.mjs';

const FULL = Boolean(process.env.THREADCAST_FULL);
/** what is promised of them (C7) */
const NOTICED_MS = 10_000;

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
});

/** @param {number} port */
const redisUrl = (port) => `redis://127.0.0.1:${port}`;
/** @param {number} port */
const pgUrl = (port) => `postgresql://threadcast:${stack.pg.password}@127.0.0.1:${port}/threadcast`;
const pgSocket = () => path.join(stack.pg.dir, '.s.PGSQL.5432');
const query = (sql, values) => stack.pg.query(sql, values);

/** A bridge and a worker, each with its own way to both servers. @param {any} t @param {() => Promise<any>} wires */
async function through(t, wires) {
    const [bridgeRedis, bridgePg, workerRedis, workerPg] = await Promise.all([0, 1, 2, 3].map(wires));
    const bridge = await stack.startBridge({ 'upstream-timeout-ms': 1000 }, { REDIS_URL: redisUrl(bridgeRedis.port), DATABASE_URL: pgUrl(bridgePg.port) });
    const worker = await stack.startWorker({ 'demo-rate': 40, 'metrics-listen': '127.0.0.1:0' },
                                           { REDIS_URL: redisUrl(workerRedis.port), DATABASE_URL: pgUrl(workerPg.port) });
    t.after(async () => {
        stack.bridges.splice(stack.bridges.indexOf(bridge), 1);
        stack.workers.splice(stack.workers.indexOf(worker), 1);
        await Promise.all([bridge.stop(), worker.stop()]);
        assert.deepEqual([bridge.child.code, worker.child.code], [0, 0], stack.logs(20));
        await Promise.all([bridgeRedis, bridgePg, workerRedis, workerPg].map((wire) => wire.stop()));
    });
    return { bridge, worker, bridgeRedis, bridgePg, workerRedis, workerPg };
}

/** A run that lasts, and a reader of it. */
async function streaming(t, bridge) {
    const thread = await stack.thread();
    const reader = new Reader(bridge, thread, stack.authorization());
    t.after(() => reader.stop());
    await reader.ready();
    const receipt = await stack.post(thread, 'a long answer, '.repeat(20), { bridge });
    reader.knows(receipt);
    await until(() => reader.tokens(receipt.runId) >= 3, { what: () => `it streams\n${stack.logs(20)}` });
    return { thread, run: receipt.runId, reader };
}

const well = ({ thread, run, reader }) =>
    balances({ query, redis: stack.redis.client, thread, run, readers: [reader], what: () => stack.logs(30) });

/** When a daemon says so, from now on. @param {import('./harness.mjs').Bridge | import('./harness.mjs').Worker} daemon @param {RegExp} words */
async function noticed(t, what, daemon, words) {
    const [began, from] = [performance.now(), daemon.output.length];
    await daemon.child.line(words, { from, timeout: 3 * NOTICED_MS });
    const took = Math.round(performance.now() - began);
    t.diagnostic(`${what}: after ${took} ms`);
    return { what, took };
}

/** @param {{ what: string, took: number }[]} all */
function inTime(all) {
    for (const { what, took } of all) assert.ok(took <= NOTICED_MS, `${what}: after ${took} ms`);
}

/** What they say of each connection that is lost, and is not asked anything by itself. */
const QUIET = {
    bridge: { subscriber: / warn subscriber lost /, publisher: / warn publisher lost /,
              LISTEN: / warn not listening for changes of owners / },
    worker: { publisher: / warn redis lost connection=publish /, control: / warn redis lost connection=control /,
              LISTEN: / warn postgres lost connection=listen / },
};

/** What a bridge says of the stream that it closed on this thread. */
const closed = (bridge, thread, reason) => new RegExp(` info client closed .*thread=${thread} reason="${reason}"`).test(bridge.output);

describe('gone without a word', { concurrency: true }, () => {
    test('hosts of Redis and PostgreSQL that are gone: noticed within 10 s, and work goes on over new connections', async (t) => {
        const all = await through(t, (i) => Deaf.start(i % 2 ? pgSocket() : String(stack.redis.port)));
        const asked = await streaming(t, all.bridge);
        for (const wire of [all.bridgeRedis, all.bridgePg, all.workerRedis, all.workerPg]) await wire.goDeaf();
        inTime(await Promise.all(['bridge', 'worker'].flatMap((name) => Object.entries(QUIET[name]).map(
            ([connection, words]) => noticed(t, `the ${name}'s ${connection}`, all[name], words)))));
        await well(asked);
    });

    test('a reader whose host is gone is cut when nothing was acknowledged for --write-stall-ms', async (t) => {
        const [keepalive, stall] = [500, 2000];
        const bridge = await stack.startBridge({ 'keepalive-ms': keepalive, 'write-stall-ms': stall });
        const wire = await Deaf.start(String(bridge.port));
        t.after(() => wire.stop());
        const thread = await stack.thread();
        const [far, near] = [stack.threadEvents(thread, '', { bridge: wire }), stack.threadEvents(thread, '', { bridge })];
        await Promise.all([far.named('ready'), near.named('ready')]);
        const gone = performance.now();
        assert.equal(await wire.goDeaf(), 1);
        await until(() => closed(bridge, thread, 'write stalled'), { what: () => `it is cut\n${bridge.child.tail()}` });
        const took = Math.round(performance.now() - gone);
        t.diagnostic(`after ${took} ms`);
        assert.ok(took >= stall - keepalive && took <= keepalive + stall + 1500, `after ${took} ms`);
        const metrics = await bridge.metrics();
        assert.equal(metrics['threadcast_bridge_streams_closed_total{reason="stalled"}'], 1);
        assert.equal(metrics.threadcast_bridge_clients, 1, 'the other one is there');
        assert.equal(near.ending, '');
        near.close();
        far.close();
    });

    test('a reader that closes its half has left', async () => {
        const bridge = await stack.startBridge();
        const thread = await stack.thread();
        const socket = net.connect({ port: bridge.port, host: '127.0.0.1', allowHalfOpen: true });
        let bytes = '';
        let ended = false;
        socket.setEncoding('latin1').on('data', (piece) => (bytes += piece)).on('end', () => (ended = true));
        const { Authorization } = stack.authorization();
        socket.write(`GET /v1/threads/${thread}/events HTTP/1.1\r\nHost: x\r\nAuthorization: ${Authorization}\r\n\r\n`);
        await until(() => bytes.includes('event: ready'), { what: 'it streams' });
        socket.end();
        const from = performance.now();
        await until(() => ended && closed(bridge, thread, 'client left'), { timeout: 2000, what: () => `it is let go\n${bridge.child.tail()}` });
        assert.ok(performance.now() - from < 2000);
        assert.equal((await bridge.metrics())['threadcast_bridge_streams_closed_total{reason="client"}'], 1);
        assert.doesNotMatch(bytes, /\r\n0\r\n\r\n/, 'no last chunk: the story has not ended');
        socket.destroy();
    });
});

test('who only listens asks, too: an owner who changes behind a swallowed LISTEN is noticed within 10 s', async (t) => {
    const proxy = await Proxy.start({ path: pgSocket() });
    t.after(() => proxy.stop());
    const bridge = await stack.startBridge({}, { DATABASE_LISTEN_URL: pgUrl(proxy.port) });
    const thread = await stack.thread('swallowed', 'ann');
    const mine = stack.threadEvents(thread, '', { sub: 'ann', bridge });
    await mine.named('ready');
    const lost = async () => (await bridge.metrics()).threadcast_bridge_pg_down_total;
    proxy.muteServers(); // what is there now: the one connection that listens
    const from = performance.now();
    await query(`update threads set owner = 'bob' where id = $1`, [thread]);
    await mine.end(NOTICED_MS);
    const took = Math.round(performance.now() - from);
    t.diagnostic(`after ${took} ms`);
    assert.ok(took <= NOTICED_MS, `after ${took} ms`);
    assert.match(bridge.child.output, /warn not listening for changes of owners/);
    assert.ok(await lost() >= 1);
    await bridge.stop();
});

test('somebody in between acknowledges and swallows everything: whoever asks notices within 10 s', { skip: !FULL }, async (t) => {
    const all = await through(t, (i) => Deaf.start(i % 2 ? pgSocket() : String(stack.redis.port)));
    const asked = await streaming(t, all.bridge);
    const told = { subscriber: QUIET.bridge.subscriber, publisher: QUIET.bridge.publisher };
    for (const wire of [all.bridgeRedis, all.workerRedis]) await wire.goMute();
    inTime(await Promise.all([...Object.entries(told).map(([connection, words]) => noticed(t, `the bridge's ${connection}`, all.bridge, words)),
                              noticed(t, "the worker's publisher", all.worker, QUIET.worker.publisher)]));
    await well(asked);
    // the pool of the worker looks for runs and renews; a prompt needs that of the bridge
    for (const wire of [all.bridgePg, all.workerPg]) await wire.goMute();
    const from = performance.now();
    const pool = noticed(t, "the worker's pool", all.worker, / warn postgres lost connection=pool /);
    const thread = await stack.thread();
    const receipt = await until(() => stack.post(thread, 'is anybody there?', { bridge: all.bridge }), { what: 'a prompt is taken', every: 100 });
    const taken = Math.round(performance.now() - from);
    await until(async () => (await stack.run(receipt.runId)).status !== 'queued', { what: () => `it begins\n${stack.logs(20)}` });
    const begun = Math.round(performance.now() - from);
    t.diagnostic(`a prompt is taken after ${taken} ms, begins after ${begun} ms`);
    inTime([await pool, { what: 'a prompt is taken again', took: taken }]);
    assert.ok(begun <= NOTICED_MS + 2500, `it begins after ${begun} ms`);
    assert.equal((await stack.ended(receipt.runId, 30_000)).status, 'done');
});
