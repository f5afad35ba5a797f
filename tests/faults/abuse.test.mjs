// Clients that hold on to what they get: slow headers, slow bodies, slow reading, ranges
// without end, readers who never read. They are cut by their own limits, which is asserted
// while they attack where these are short, and readers who read notice nothing: rounds
// without and with the abuse take turns, and the medians of their percentiles are printed
// side by side with all of them (figures of a busy machine prove nothing, so none is a
// condition). THREADCAST_FULL=1: 2,000 connections each, the
// bridge's limits as delivered, in rounds enough to quote (THREADCAST_ROUNDS: so many), and
// with a control: what the abuse does to readers of a server that it does not concern (a
// second bridge), or that does nothing (the floor), through the kernel and the cores that
// all of this shares. The attacker would have a machine of its own; here it has a core of
// its own, and all the others, whether there is an attack or not, share the rest.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { BIN, Child, freePort, ROOT, Stack, until } from '../e2e/harness.mjs';

const FULL = Boolean(process.env.THREADCAST_FULL);
const MANY = FULL ? 2000 : 150;
const ROUNDS = Number(process.env.THREADCAST_ROUNDS ?? (FULL ? 7 : 1));
const SECONDS = FULL ? 5 : 2;
const WARM_SECONDS = FULL ? 2 : 0.5;
const READERS = 100;
const BENCH = [path.join(path.dirname(BIN), 'bench'), ...['bench', 'asan', 'dev'].map((preset) =>
    path.join(ROOT, 'build', preset, 'bench'))].find((dir) => fs.existsSync(path.join(dir, 'bench_load'))) ?? '';
const LOAD = path.join(BENCH, 'bench_load');

const THEIRS = os.availableParallelism() - 1; // the attacker's core
const APART = FULL && THEIRS > 0;

/** @type {Stack} */
let stack;
/** @type {string} */
let token;
/** in the short form: how many connections that are no streams may be held, and how many of the attacker's are cut at the least */
const HELD = 100, CUT = 90;
/** Figures to quote are of the limits as delivered: the abuse lasts all the time. Else its being cut is seen, too. */
const limits = { 'max-clients': 20_000, 'max-streams-per-user': 0,
                 ...!FULL && { 'request-timeout-ms': 3000, 'write-stall-ms': 1500, 'idle-timeout-ms': 3000,
                              'max-connections': HELD } };
before(async () => {
    assert.ok(BENCH, 'bench_load is built');
    if (APART) execFileSync('taskset', ['-a', '-p', '-c', `0-${THEIRS - 1}`, String(process.pid)]); // what it starts inherits that
    stack = await Stack.start({ workers: 0, bridge: limits });
    token = stack.token({ read: ['*'], write: ['*'], seconds: 3600 });
});

/** Readers who read, one event in 20 ms each of ten threads: their figures. @param {string} name @param {number} port @param {string[]} more
 *  @param {string} where @returns {Promise<{ p50: number, p99: number }>} */
async function measure(name, port, more = [], where = '/v1/threads/t{}/events?since=now') {
    const child = new Child(name, LOAD, ['rate', '--port', String(port), '--path', where,
        '--header', `Authorization: Bearer ${token}`, '--readers', String(READERS), '--threads', '10', '--rate', '500',
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

/**
 * Rounds without and with it, in turn, and of the control.
 * @typedef {() => Promise<{ p50: number, p99: number }>} Round
 * @param {import('node:test').TestContext} t @param {string} name @param {{ alone: Round, beside: Round } & Record<string, Round>} of
 */
async function compare(t, name, of) {
    /** @type {Record<string, { p50: number, p99: number }[]>} */
    const seen = Object.fromEntries(Object.keys(of).map((kind) => [kind, []]));
    for (let round = 0; round < ROUNDS; round++)
        for (const kind in of) seen[kind].push(await of[kind]());
    for (const which of /** @type {const} */ (['p99', 'p50'])) {
        const all = Object.values(seen).map((rounds) => rounds.map((round) => round[which]));
        t.diagnostic(`${name}: ${which} ` + Object.keys(seen).map((kind, i) => `${kind} ${median(all[i]).toFixed(2)} ms`).join(', ') +
                     ` (medians of ${all.map(list).join('; ')})`);
    }
}

const counter = async (name) => {
    const metrics = await stack.bridge.metrics();
    return Object.entries(metrics).filter(([series]) => series.includes(name)).reduce((sum, [, value]) => sum + value, 0);
};
const fds = (bridge = stack.bridge) => fs.readdirSync(`/proc/${bridge.child.pid}/fd`).length;

/** What it does, and by which limit its connections are cut; '': they are answered at once.
 *  @type {[string, string[], string][]} */
const MODES = [['headers that never end', ['-H', '-i', '1'], 'request_timeout'],
               ['bodies that never end', ['-B', '-i', '1', '-s', '60000'], 'request_timeout'],
               // the kernel takes the whole answer, so it is a connection without a request (e2e/http has one that stalls)
               ['slow reading', ['-X', '-w', '10', '-y', '20', '-n', '1', '-z', '8'], 'idle'],
               ['ranges', ['-R', '-a', '1', '-b', '1000'], '']];
const hasTool = ['/usr/bin', '/usr/local/bin'].some((dir) => fs.existsSync(path.join(dir, 'slowhttptest')));

/** @param {number} before */
const settled = (before, bridge = stack.bridge) => until(() => fds(bridge) <= before + 2, {
    what: () => `descriptors: ${before} before, ${fds(bridge)} after`, timeout: 30_000 });

/** A server that does nothing but send. */
async function startFloor() {
    const port = await freePort();
    const child = new Child('floor', path.join(BENCH, 'bench_floor'), [String(port), String(stack.redis.port)]);
    await until(() => new Promise((resolve) => {
        const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); }).on('error', () => resolve(false));
    }), { what: () => `the floor listens\n${child.tail()}` });
    return { port, child };
}

/** How many connections a limit has cut. @param {string} reason @param {import('../e2e/harness.mjs').Bridge} bridge */
const cutBy = async (reason, bridge) => (await bridge.metrics())[`threadcast_bridge_connections_closed_total{reason="${reason}"}`];

/** @param {string} reason */
const streamsCut = async (reason) => (await stack.bridge.metrics())[`threadcast_bridge_streams_closed_total{reason="${reason}"}`];

/**
 * Good readers beside an attack, on their server or on `victim`. Where limits are short, the attack's connections are
 * cut by theirs while it goes on.
 * @param {import('node:test').TestContext} t @param {string[]} flags @param {string} reason
 */
async function attacked(t, flags, reason, victim = stack.bridge) {
    const before = fds(victim), from = performance.now();
    const url = flags.includes('-B') ? '/v1/threads/x/messages' : '/healthz';
    const cut = reason && !FULL ? await cutBy(reason, victim) : 0;
    const attack = new Child('slowhttptest', 'chrt', ['--idle', '0', ...APART ? ['taskset', '-c', String(THEIRS)] : [], 'slowhttptest', ...flags, '-c', String(MANY), '-r', String(MANY),
        '-l', '60', '-u', victim.url(url), '-p', '3']);
    await until(() => fds(victim) > before + MANY / 4 || !attack.running, { what: () => `the attack has begun\n${attack.tail()}` })
        .catch(() => {}); // ranges are answered at once, nothing is held
    const figures = await measure('beside', stack.bridge.port);
    if (reason && !FULL) {
        const most = () => `${attack.running ? 'alive' : 'gone'}\n${attack.tail()}`;
        const n = await until(async () => {
            const now = await cutBy(reason, victim) - cut;
            return now >= CUT && now;
        }, { timeout: limits['request-timeout-ms'] + 4000, what: async () => `${CUT} are cut as ${reason}: ${
            await cutBy(reason, victim) - cut}, the attacker is ${most()}` });
        t.diagnostic(`cut by the bridge as ${reason}: ${n} of ${MANY} within ${((performance.now() - from) / 1000).toFixed(1)} s`);
    }
    attack.kill('SIGKILL');
    await attack.exit;
    await settled(before, victim);
    return figures;
}

for (const [name, flags, reason] of MODES) {
    test(`slowhttptest, ${MANY} connections: ${name}`, { skip: !hasTool && 'slowhttptest is not installed' }, async (t) => {
        const from = await counter('threadcast_bridge_accepted_total');
        const other = FULL ? await stack.startBridge(limits) : undefined;
        await compare(t, name, { alone: () => measure('alone', stack.bridge.port), beside: () => attacked(t, flags, reason),
                                 ...other && { 'when another bridge is attacked': () => attacked(t, flags, reason, other) } });
        const accepted = await counter('threadcast_bridge_accepted_total') - from - (other ? 3 : 2) * ROUNDS * READERS;
        assert.ok(accepted >= ROUNDS * MANY / 4, `there was an attack: ${accepted} connections`);
        await other?.stop();
    });
}

/** @type {[string, string[]][]} */
const EVENTS = [['large ones', FULL ? ['--text', '1000'] : ['--text', '2000', '--seconds', '3']], // their sockets are full soon
                ['tokens', ['--script', path.join(ROOT, 'common/publish.lua'), '--rate', '1000', '--text', '40']]]; // merged, many to one
// as they come to be in life: a few who sleep on each of many threads (the figures of docs/BENCHMARKS.md are of these settings)
if (FULL) EVENTS.push(['large ones of 200 threads', ['--text', '12288', '--threads', '200', '--readers', '200', '--rate', '400', '--warm', '5', '--seconds', '3']]);
for (const [name, more] of EVENTS) {
    test(`${MANY} readers who never read, on the threads of the others: ${name}`, async (t) => {
        const before = fds(), cut = await streamsCut('stalled'), stalled = [...more, '--stalled', String(MANY)];
        const floor = FULL ? await startFloor() : undefined;
        await compare(t, `readers who never read ${name}`, {
            alone: () => measure('alone', stack.bridge.port, more), beside: () => measure('beside', stack.bridge.port, stalled),
            ...floor && { 'the floor alone': () => measure('floor', floor.port, more, '/{}'),
                          'the floor beside': () => measure('floor', floor.port, stalled, '/{}') } });
        if (!FULL && name === 'large ones') { // (the kernel takes more than a second of them: it is the time that is up, not the queue)
            const n = await streamsCut('stalled') - cut;
            assert.ok(n >= CUT, `cut by the bridge as stalled, before they left: ${n} of ${MANY}`);
            t.diagnostic(`cut by the bridge as stalled: ${n} of ${MANY}`);
        }
        await settled(before);
        await floor?.child.stop('SIGTERM', 5000).catch(() => {});
    });
}

test('after all that it serves as before', async () => {
    assert.ok((await stack.bridge.fetch('/readyz')).ok);
    assert.equal(stack.bridge.child.running, true);
});
