// Redis refuses in mid-run, at both daemons: it cannot save (MISCONF), it loads (LOADING), it wants
// a password (NOAUTH). A pause that is counted by its name, then the rest, each event once.
// THREADCAST_FULL=1 for the first two.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { balances, Reader } from './lib/ledger.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({
        redisArgs: ['--enable-debug-command', 'yes', '--loading-process-events-interval-bytes', '1024'],
        worker: { 'demo-rate': 150, 'metrics-listen': '127.0.0.1:0' }, bridge: { 'retry-ms': 100, 'keepalive-ms': 300 },
    });
});

const skip = !process.env.THREADCAST_FULL;
const redis = () => stack.redis.client;

/** How often the worker was refused so. @param {string} name */
async function refusals(name) {
    const [, address] = await stack.worker.child.line(/metrics address=(\S+)/);
    const text = await (await fetch(`http://${address}/metrics`)).text();
    return Number(text.match(new RegExp(`redis_errors_total\\{name="${name}"\\} (\\d+)`))?.[1]);
}

/**
 * A run with a reader, refused in its middle. `during` is what is to be seen meanwhile.
 * @param {import('node:test').TestContext} t
 * @param {{ name: string, refuse: () => Promise<unknown>, lift: () => Promise<unknown>,
 *           during?: (fresh: import('./lib/sse.mjs').SseStream) => Promise<unknown> }} course
 */
async function refused(t, { name, refuse, lift, during }) {
    const thread = await stack.thread();
    const reader = new Reader(stack.bridge, thread, stack.authorization());
    t.after(() => reader.stop());
    await reader.ready();
    const { runId } = await stack.post(thread, `${name} in the middle of it`);
    const tokens = () => reader.tokens(runId);
    await until(() => tokens() >= 5, { what: () => `it streams\n${stack.logs(20)}` });
    const before = await refusals(name);
    await refuse();
    await until(async () => await refusals(name) > before, { what: () => `${name} is counted\n${stack.logs(20)}` });
    const had = tokens();
    const fresh = stack.threadEvents(await stack.thread());
    await during?.(fresh);
    fresh.close();
    assert.ok(reader.outcome(runId) === undefined, 'in mid-run, or this shows nothing');
    await lift();
    const from = performance.now();
    await until(() => tokens() > had, { every: 2, what: () => `it streams again\n${stack.logs(20)}` });
    t.diagnostic(`refused ${await refusals(name) - before} times; streams ${Math.round(performance.now() - from)} ms later`);
    assert.ok(performance.now() - from <= 2000, 'within 2 s of its being lifted');
    const row = await balances({ query: (sql, values) => stack.pg.query(sql, values), redis: redis(), thread, run: runId,
                                 readers: [reader], what: () => stack.logs(30) });
    assert.equal(row.attempt, 1, 'no run is failed by it');
    assert.deepEqual([reader.resets, reader.connections], [0, 1], 'the stream stayed, and lost nothing');
    const ids = reader.events.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length, 'each event once');
}

test('MISCONF: it cannot save, and takes no write until it can', { skip }, async (t) => {
    const blocked = path.join(stack.redis.dir, 'dump.rdb'); // a directory cannot be replaced by the file
    const saved = async (how) => {
        await redis().call('BGSAVE');
        await until(async () => new RegExp(`rdb_bgsave_in_progress:0\\r\\n[^]*rdb_last_bgsave_status:${how}`).test(await redis().info('persistence')),
                    { what: `BGSAVE is ${how}` });
    };
    await refused(t, {
        name: 'MISCONF',
        async refuse() {
            fs.mkdirSync(blocked);
            await redis().config('SET', 'save', '3600 1000000', 'stop-writes-on-bgsave-error', 'yes');
            await saved('err');
        },
        during: (fresh) => fresh.named('ready'), // it can be read
        async lift() {
            fs.rmdirSync(blocked);
            await saved('ok');
            await redis().config('SET', 'save', '');
        },
    });
});

test('LOADING: it answers, and not with its data', { skip }, async (t) => {
    await redis().call('DEBUG', 'POPULATE', '3000', 'k', '100');
    await redis().config('SET', 'key-load-delay', '1000');
    /** @type {Promise<unknown>} */
    let loaded;
    await refused(t, {
        name: 'LOADING',
        async refuse() { loaded = stack.redis.connect().call('DEBUG', 'RELOAD'); },
        async during(fresh) {
            await fresh.named('busy');
            await fresh.end();
        },
        lift: () => loaded,
    });
    await redis().config('SET', 'key-load-delay', '0');
});

test('NOAUTH: it wants a password that nobody has', async (t) => {
    await refused(t, {
        name: 'NOAUTH',
        async refuse() {
            await redis().config('SET', 'requirepass', stack.secret('the-password-of-somebody-else'));
            for (const kind of ['normal', 'pubsub']) await redis().call('CLIENT', 'KILL', 'TYPE', kind, 'SKIPME', 'yes');
        },
        async during(fresh) {
            await fresh.named('busy');
            await fresh.end();
            for (const { child } of [stack.bridge, stack.worker]) await child.line(/NOAUTH/);
        },
        lift: () => redis().config('SET', 'requirepass', ''),
    });
});
