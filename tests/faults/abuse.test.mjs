// Clients that hold on to what they get: slow headers, slow bodies, slow reading, ranges
// without end, readers who never read. They are cut by their own limits, and readers who
// read notice nothing: rounds without and with the abuse take turns, and the medians of
// their percentiles are printed side by side with all of them (figures of a busy machine
// prove nothing, so none is a condition). THREADCAST_FULL=1: 2,000 connections each, in
// rounds enough to quote.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { BIN, Child, ROOT, Stack, until } from '../e2e/harness.mjs';

const FULL = Boolean(process.env.THREADCAST_FULL);
const MANY = FULL ? 2000 : 150;
const ROUNDS = FULL ? 7 : 1;
const SECONDS = FULL ? 5 : 3;
const WARM_SECONDS = 1;
const LOAD = [path.join(path.dirname(BIN), 'bench'), ...['bench', 'asan', 'dev'].map((preset) =>
    path.join(ROOT, 'build', preset, 'bench'))].map((dir) => path.join(dir, 'bench_load')).find((file) => fs.existsSync(file)) ?? '';

/** @type {Stack} */
let stack;
/** @type {string} */
let token;
const limits = { 'request-timeout-ms': 3000, 'write-stall-ms': 3000, 'idle-timeout-ms': 3000, 'max-clients': 20_000,
                 'max-streams-per-user': 0, 'max-connections': FULL ? 1024 : 100 };
before(async () => {
    assert.ok(LOAD, 'bench_load is built');
    stack = await Stack.start({ workers: 0, bridge: limits });
    token = stack.token({ read: ['*'], write: ['*'], seconds: 3600 });
});

/** 100 readers who read, one event in 20 ms each of ten threads: their figures. @param {{ port: number }} bridge @param {string[]} more
 *  @returns {Promise<{ p50: number, p99: number }>} */
async function measure(name, bridge, more = []) {
    const child = new Child(name, LOAD, ['rate', '--port', String(bridge.port), '--path', '/v1/threads/t{}/events?since=now',
        '--header', `Authorization: Bearer ${token}`, '--readers', '100', '--threads', '10', '--rate', '500',
        '--warm', String(WARM_SECONDS), '--seconds', String(SECONDS), '--patience', '5', '--redis-port', String(stack.redis.port),
        '--channel', 'thread:t{}', ...more]);
    await child.exit;
    const result = JSON.parse(child.output.trim().split('\n').at(-1) ?? '');
    assert.equal(child.code, 0, child.output);
    assert.deepEqual([result.lost, result.repeated, result.refused], [0, 0, 0], child.output);
    return result.latency_ms ?? result.latency;
}

const median = (/** @type {number[]} */ all) => [...all].sort((a, b) => a - b)[all.length >> 1];
const list = (/** @type {number[]} */ all) => all.map((ms) => ms.toFixed(2)).join(' ');

/** Rounds without and with it, in turn. @param {import('node:test').TestContext} t @param {() => Promise<{ p50: number, p99: number }>} alone
 *  @param {() => Promise<{ p50: number, p99: number }>} beside */
async function compare(t, name, alone, beside) {
    const without = [], besides = [];
    for (let round = 0; round < ROUNDS; round++) {
        without.push(await alone());
        besides.push(await beside());
    }
    for (const of of /** @type {const} */ (['p99', 'p50'])) {
        const [a, b] = [without, besides].map((rounds) => rounds.map((round) => round[of]));
        t.diagnostic(`${name}: ${of} ${median(b).toFixed(2)} ms beside it, ${median(a).toFixed(2)} ms alone ` +
                     `(${(median(b) / median(a)).toFixed(2)} ×; medians of ${list(b)} and ${list(a)})`);
    }
}

const counter = async (name) => {
    const metrics = await stack.bridge.metrics();
    return Object.entries(metrics).filter(([series]) => series.includes(name)).reduce((sum, [, value]) => sum + value, 0);
};
const fds = (bridge = stack.bridge) => fs.readdirSync(`/proc/${bridge.child.pid}/fd`).length;

const MODES = [['headers that never end', ['-H', '-i', '1']], ['bodies that never end', ['-B', '-i', '1', '-s', '60000']],
               ['slow reading', ['-X', '-w', '10', '-y', '20', '-n', '1', '-z', '8']], ['ranges', ['-R', '-a', '1', '-b', '1000']]];
const hasTool = ['/usr/bin', '/usr/local/bin'].some((dir) => fs.existsSync(path.join(dir, 'slowhttptest')));

/** @param {number} before */
const settled = (before, bridge = stack.bridge) => until(() => fds(bridge) <= before + 2, {
    what: () => `descriptors: ${before} before, ${fds(bridge)} after`, timeout: 30_000 });

/** Good readers beside an attack. @param {string[]} flags */
async function attacked(flags) {
    const before = fds();
    const url = flags.includes('-B') ? '/v1/threads/x/messages' : '/healthz';
    const attack = new Child('slowhttptest', 'slowhttptest', [...flags, '-c', String(MANY), '-r', String(MANY), '-l', '60',
        '-u', stack.bridge.url(url), '-p', '3']);
    await until(() => fds() > before + MANY / 4 || !attack.running, { what: () => `the attack has begun\n${attack.tail()}` })
        .catch(() => {}); // ranges are answered at once, nothing is held
    const figures = await measure('beside', stack.bridge);
    attack.kill('SIGKILL');
    await attack.exit;
    await settled(before);
    return figures;
}

for (const [name, flags] of MODES) {
    test(`slowhttptest, ${MANY} connections: ${name}`, { skip: !hasTool && 'slowhttptest is not installed' }, async (t) => {
        const from = await counter('threadcast_bridge_connections');
        await compare(t, name, () => measure('alone', stack.bridge), () => attacked(flags));
        assert.ok(await counter('threadcast_bridge_connections') >= from);
    });
}

test(`${MANY} readers who never read, on threads of their own and on those of the others`, async (t) => {
    // in figures to quote they are there all the time, else their being cut is seen, too
    const bridge = FULL ? await stack.startBridge({ ...limits, 'write-stall-ms': 20_000 }) : stack.bridge;
    const before = fds(bridge);
    await compare(t, 'readers who never read', () => measure('alone', bridge),
                  () => measure('beside', bridge, ['--stalled', String(MANY)]));
    await settled(before, bridge);
    if (FULL) await bridge.stop();
});

test('after all that it serves as before', async () => {
    assert.ok((await stack.bridge.fetch('/readyz')).ok);
    assert.equal(stack.bridge.child.running, true);
});
