// Does the tool that measures work? It must find nothing lost where nothing is, and it must
// see a loss where there is one.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { run } from '../e2e/lib/process.mjs';
import { until } from '../e2e/lib/until.mjs';
import { LOAD, PEERS, ROOT, Server } from './lib/peers.mjs';
import { SCENARIOS } from './lib/scenarios.mjs';

const OURS = ['floor', 'floor-script', 'threadcast', 'threadcast-bare', 'threadcast-slow-2'];
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'threadcast-bench-test-'));

before(async () => {
    const { code, stderr } = await run('bash', ['-c', '. scripts/lib.sh; set -euo pipefail; build bench'],
                                       { cwd: ROOT, timeout: 600_000 });
    assert.equal(code, 0, stderr);
});
after(() => fs.rmSync(dir, { recursive: true, force: true }));

/** @param {string} name */
const start = (name) => Server.start(PEERS.find((peer) => peer.name === name) ?? PEERS[0], path.join(dir, name));

test('a quick run loses nothing, repeats nothing, and answers for every scenario', async () => {
    const { code, stdout, stderr } = await run(process.execPath, [
        'tests/bench/bench.mjs', '--quick', '--only', OURS.join(), '--out', dir], { cwd: ROOT, timeout: 300_000 });
    assert.equal(code, 0, stdout + stderr);
    const { rows } = JSON.parse(fs.readFileSync(path.join(dir, 'results.json'), 'utf8'));
    for (const { peer, scenario, error, result } of rows) {
        assert.equal(error, undefined, `${peer} ${scenario}`);
        assert.deepEqual([result.lost, result.repeated, result.reordered, result.refused, result.ended], [0, 0, 0, 0, 0],
                         `${peer} ${scenario} ${JSON.stringify(result)}`);
        assert.equal(result.received, result.expected, `${peer} ${scenario}`);
        if (result.mode !== 'idle') assert.ok(result.received > 0 && result.server.cpu_s > 0, `${peer} ${scenario}`);
    }
    const seen = new Set(rows.filter((row) => row.peer === 'threadcast').map((row) => row.scenario));
    for (const { name } of SCENARIOS) assert.ok(seen.has(name), name);
    assert.match(fs.readFileSync(path.join(dir, 'results.md'), 'utf8'), /\| Threadcast \|/);
    for (const name of ['cpu', 'throughput', 'memory', 'latency', 'resume', 'growth']) {
        assert.ok(fs.statSync(path.join(dir, `bench-${name}.png`)).size > 1000, name);
    }
});

test('a server that dies in the middle is seen as a loss', async () => {
    const server = await start('floor');
    try {
        const child = spawn(LOAD, ['rate', '--readers', '20', '--rate', '100', '--seconds', '3', '--patience', '1',
                                   '--port', String(server.port), '--redis-port', String(server.redis?.port),
                                   ...server.served.publish, ...server.served.live], { stdio: ['ignore', 'pipe', 'inherit'] });
        let text = '';
        child.stdout.setEncoding('utf8').on('data', (part) => (text += part));
        const ended = new Promise((resolve) => child.once('close', resolve));
        const cpu = () => fs.readFileSync(`/proc/${server.served.children[0].pid}/schedstat`, 'utf8').split(' ')[2];
        const turns = Number(cpu());
        await until(() => Number(cpu()) > turns + 60); // it has been busy: events are flowing
        server.served.children[0].kill('SIGKILL');
        assert.equal(await ended, 1);
        const result = JSON.parse(text);
        assert.equal(result.ended, 20);
        assert.ok(result.lost > 0 && result.lost === result.expected - result.received, text);
    } finally {
        await server.stop();
    }
});

test('who has no resume is seen to have none', async () => {
    const server = await start('threadcast-bare');
    try {
        const result = await server.load(['resume', '--readers', '20', '--missed', '10', '--patience', '1']);
        assert.deepEqual([result.expected, result.received, result.lost], [200, 0, 200]);
    } finally {
        await server.stop();
    }
});

test('a stream that is refused stops the measurement and says why', async () => {
    const server = await start('threadcast');
    try {
        server.served.live = ['--path', '/v1/threads/t{}/events'];
        await assert.rejects(server.load(['rate', '--readers', '2']), /401 Unauthorized/);
    } finally {
        await server.stop();
    }
});
