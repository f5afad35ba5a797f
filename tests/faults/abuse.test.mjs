// Clients that hold on to what they get: slow headers, slow bodies, slow reading, ranges
// without end, readers who never read. They are cut by their own limits, and readers who
// read notice nothing: the percentiles of their latency with and without the abuse are
// printed side by side, from the same run (figures of a busy machine prove nothing, so none
// is a condition). THREADCAST_FULL=1: 2,000 connections each.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { BIN, Child, ROOT, Stack, until } from '../e2e/harness.mjs';

const FULL = Boolean(process.env.THREADCAST_FULL);
const MANY = FULL ? 2000 : 150;
const SECONDS = FULL ? 12 : 3;
const LOAD = [path.join(path.dirname(BIN), 'bench'), ...['bench', 'asan', 'dev'].map((preset) =>
    path.join(ROOT, 'build', preset, 'bench'))].map((dir) => path.join(dir, 'bench_load')).find((file) => fs.existsSync(file)) ?? '';

/** @type {Stack} */
let stack;
/** @type {string} */
let token;
before(async () => {
    assert.ok(LOAD, 'bench_load is built');
    stack = await Stack.start({ workers: 0, bridge: {
        'request-timeout-ms': 3000, 'write-stall-ms': 3000, 'idle-timeout-ms': 3000, 'max-clients': 20_000,
        'max-streams-per-user': 0, 'max-connections': FULL ? 1024 : 100 } });
    token = stack.token({ read: ['*'], write: ['*'], seconds: 3600 });
});

/** 100 readers who read, one event in 20 ms each of ten threads: their figures. @param {string[]} more */
async function measure(name, more = []) {
    const child = new Child(name, LOAD, ['rate', '--port', String(stack.bridge.port), '--path', '/v1/threads/t{}/events?since=now',
        '--header', `Authorization: Bearer ${token}`, '--readers', '100', '--threads', '10', '--rate', '500',
        '--seconds', String(SECONDS), '--patience', '5', '--redis-port', String(stack.redis.port),
        '--channel', 'thread:t{}', ...more]);
    await child.exit;
    const result = JSON.parse(child.output.trim().split('\n').at(-1) ?? '');
    assert.equal(child.code, 0, child.output);
    assert.deepEqual([result.lost, result.repeated, result.refused], [0, 0, 0], child.output);
    return result.latency_ms ?? result.latency;
}

/** @param {import('node:test').TestContext} t */
function print(t, name, alone, beside) {
    t.diagnostic(`${name}: p99 ${beside.p99.toFixed(2)} ms beside it, ${alone.p99.toFixed(2)} ms alone ` +
                 `(${(beside.p99 / alone.p99).toFixed(2)} ×); p50 ${beside.p50.toFixed(2)} and ${alone.p50.toFixed(2)} ms`);
}

const counter = async (name) => {
    const metrics = await stack.bridge.metrics();
    return Object.entries(metrics).filter(([series]) => series.includes(name)).reduce((sum, [, value]) => sum + value, 0);
};
const fds = () => fs.readdirSync(`/proc/${stack.bridge.child.pid}/fd`).length;

const MODES = [['headers that never end', ['-H', '-i', '1']], ['bodies that never end', ['-B', '-i', '1', '-s', '60000']],
               ['slow reading', ['-X', '-w', '10', '-y', '20', '-n', '1', '-z', '8']], ['ranges', ['-R', '-a', '1', '-b', '1000']]];
const hasTool = ['/usr/bin', '/usr/local/bin'].some((dir) => fs.existsSync(path.join(dir, 'slowhttptest')));

for (const [name, flags] of MODES) {
    test(`slowhttptest, ${MANY} connections: ${name}`, { skip: !hasTool && 'slowhttptest is not installed' }, async (t) => {
        const before = fds();
        const alone = await measure('alone');
        const url = flags.includes('-B') ? '/v1/threads/x/messages' : '/healthz';
        const attack = new Child('slowhttptest', 'slowhttptest', [...flags, '-c', String(MANY), '-r', String(MANY), '-l', '60',
            '-u', stack.bridge.url(url), '-p', '3']);
        const from = await counter('threadcast_bridge_connections');
        await until(() => fds() > before + MANY / 4 || !attack.running, { what: () => `the attack has begun\n${attack.tail()}` })
            .catch(() => {}); // ranges are answered at once, nothing is held
        const beside = await measure('beside');
        print(t, name, alone, beside);
        attack.kill('SIGKILL');
        await attack.exit;
        await until(() => fds() <= before + 2, { what: () => `descriptors: ${before} before, ${fds()} after`, timeout: 30_000 });
        assert.ok(await counter('threadcast_bridge_connections') >= from);
    });
}

test(`${MANY} readers who never read, on threads of their own and on those of the others`, async (t) => {
    const alone = await measure('alone');
    const before = fds();
    const beside = await measure('beside', ['--stalled', String(MANY)]);
    print(t, 'readers who never read', alone, beside);
    await until(() => fds() <= before + 2, { what: () => `descriptors: ${before} before, ${fds()} after`, timeout: 30_000 });
});

test('after all that it serves as before', async () => {
    assert.ok((await stack.bridge.fetch('/readyz')).ok);
    assert.equal(stack.bridge.child.running, true);
});
