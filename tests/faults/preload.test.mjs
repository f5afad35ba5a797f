// A bad machine: one byte at a time, calls that are interrupted, no descriptors for new
// connections, a wall clock that jumps, a stderr that is closed, full or read by nobody.
// Streams go on, and nothing that was refused is accepted.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { ask, Faults, Reader } from './preload/control.mjs';
import { freePort, Stack, until, withLogs } from '../e2e/harness.mjs';

const HOUR_MS = 3_600_000;

/**
 * A prompt, read to its end; answers what the reader saw, after comparing it with the record.
 * @param {Stack} stack @param {{ during?: () => Promise<void> }} [options]
 */
async function whole(stack, { during } = {}) {
    const thread = await stack.thread();
    // good an hour ago, and in an hour
    const who = /** @type {any} */ ({ iat: Math.floor((Date.now() - 2 * HOUR_MS) / 1000),
                                      seconds: 2 * HOUR_MS / 1000 });
    const headers = stack.authorization(who);
    const { cursor, runId, runs } = await stack.post(thread, 'Grüße an alle 🇦🇹', who);
    const reader = new Reader(() => stack.bridge.port, thread, cursor, headers);
    await during?.();
    await until(() => reader.ends(runId).length, { what: () => `the end of ${runId}: ${
        JSON.stringify(reader.events.slice(-3))} ${reader.trouble} ${reader.refusals}` });
    await reader.close();
    const row = await stack.ended(runId);
    assert.deepEqual(reader.trouble, []);
    assert.equal(reader.ends(runId).length, 1);
    assert.equal(row.status, 'done', row.error);
    assert.equal(reader.text(runId), await stack.messageText(runs[0].messageId));
    assert.ok(reader.text(runId).length > 50);
    return { reader, row, thread };
}

describe('reads and writes', () => {
    /** @type {Stack} */
    let stack;
    /** @type {Faults[]} */
    let faults;
    before(async () => {
        stack = await Stack.start({ bridges: 0, workers: 0 });
        faults = ['bridge', 'worker'].map((name) => Faults.create(stack, name));
        // from the first byte that they exchange with their servers
        for (const one of faults) one.set({ ioMaxBytes: 1, ioEintrEvery: 5 });
        await Promise.all([stack.startWorker({ 'demo-rate': 2000 }, faults[1].env),
                           stack.startBridge({}, faults[0].env)]);
    });

    test('of one byte, every fifth interrupted: the same text arrives', () => withLogs(() => stack, async () => {
        await whole(stack);
        for (const one of faults) {
            assert.ok(one.get('ioShortened') > 500, `shortened: ${one.get('ioShortened')}`);
            assert.ok(one.get('ioInterrupted') > 100, `interrupted: ${one.get('ioInterrupted')}`);
        }
        assert.equal(stack.worker.output.match(/ taken over /)?.length ?? 0, 0);
    }));

    test('of one byte: what has to be refused is refused', async () => {
        const thread = await stack.thread();
        const [, foreign] = [await stack.thread(undefined, 'bob'), await stack.thread(undefined, 'bob')];
        const { port } = stack.bridge;
        assert.equal((await ask(port, 'GET', `/v1/threads/${thread}/messages`)).status, 401);
        assert.equal((await ask(port, 'GET', `/v1/threads/${foreign}/messages`,
                                { headers: stack.authorization() })).status, 403);
        assert.equal((await ask(port, 'GET', `/v1/threads/${thread}/messages`,
                                { headers: stack.authorization() })).status, 200);
    });

    test('of one to seven bytes: three prompts at once', () => withLogs(() => stack, async () => {
        for (const one of faults) one.set({ ioMaxBytes: 7, ioSeed: 12345 });
        await Promise.all([whole(stack), whole(stack), whole(stack)]);
    }));
});

describe('accept and the wall clock', () => {
    /** @type {Stack} */
    let stack;
    /** @type {Faults} */
    let bridge;
    /** @type {Faults} */
    let worker;
    before(async () => {
        stack = await Stack.start({ bridges: 0, workers: 0 });
        bridge = Faults.create(stack, 'bridge');
        worker = Faults.create(stack, 'worker');
        await Promise.all([stack.startWorker({ 'demo-rate': 400 }, worker.env),
                           stack.startBridge({}, bridge.env)]);
    });

    for (const name of ['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'ECONNABORTED', 'EPROTO', 'EINTR']) {
        test(`accept answers ${name}: open streams go on, later connections are served`, () => withLogs(() => stack, async () => {
            const errors = (await stack.bridge.metrics()).threadcast_bridge_accept_errors_total;
            const failedBefore = bridge.get('acceptFailed');
            await whole(stack, { during: async () => {
                bridge.set({ acceptErrno: os.constants.errno[name], acceptCount: 3 });
                // waits in the backlog, is not refused
                assert.equal((await ask(stack.bridge.port, 'GET', '/healthz', { timeout: 15_000 })).status, 200);
            } });
            assert.equal(bridge.get('acceptFailed') - failedBefore, 3);
            const now = (await stack.bridge.metrics()).threadcast_bridge_accept_errors_total;
            assert.equal(now - errors, name === 'EINTR' ? 0 : 3, 'they are counted');
        }));
    }

    for (const name of ['EMFILE', 'ENOMEM']) {
        test(`accept answers ${name} for a while: it is tried now and then, and said once`, () => withLogs(() => stack, async () => {
            const before = bridge.get('acceptFailed');
            bridge.set({ acceptErrno: os.constants.errno[name], acceptCount: 100_000 });
            const answer = ask(stack.bridge.port, 'GET', '/healthz', { timeout: 15_000 });
            await until(() => bridge.get('acceptFailed') - before >= 6, { what: 'some tries' });
            bridge.set({ acceptCount: 0 });
            assert.ok(bridge.get('acceptFailed') - before < 100, `${bridge.get('acceptFailed') - before} tries`);
            assert.equal((await answer).status, 200);
            const said = stack.bridge.output.match(/ warn a connection could not be accepted error=/g)?.length ?? 0;
            const reactors = (await stack.bridge.metrics()).threadcast_bridge_reactors;
            assert.ok(said >= 1 && said <= reactors, `said ${said} times`);
        }));
    }

    for (const hours of [1, -1]) {
        test(`the wall clock jumps by ${hours} h and back: runs and streams go on`, () => withLogs(() => stack, async () => {
            const { row } = await whole(stack, { during: async () => {
                for (const one of [bridge, worker]) one.set({ clockOffsetMs: hours * HOUR_MS });
            } });
            assert.equal(row.attempt, 1, 'no lease is measured by the wall clock');
            await whole(stack);
            const { row: back } = await whole(stack, { during: async () => {
                for (const one of [bridge, worker]) one.set({ clockOffsetMs: 0 });
            } });
            assert.equal(back.attempt, 1);
            await whole(stack);
        }));
    }

    test('the wall clock jumps past the end of a token: its stream is closed, it is refused', async () => {
        const thread = await stack.thread();
        const token = stack.token({ seconds: 1800 });
        const stream = stack.threadEvents(thread, '', { token });
        assert.equal(await stream.opened(), 200);
        await stream.named('ready');
        bridge.set({ clockOffsetMs: HOUR_MS });
        await stream.end();
        assert.ok(stream.events.some((event) => event.event === 'auth'), 'it says why');
        const headers = { Authorization: `Bearer ${token}` };
        const asked = `/v1/threads/${thread}/messages`;
        assert.equal((await ask(stack.bridge.port, 'GET', asked, { headers })).status, 401);
        bridge.set({ clockOffsetMs: 0 });
        assert.equal((await ask(stack.bridge.port, 'GET', asked, { headers })).status, 200);
    });
});

describe('stderr', () => {
    /** @type {Stack} */
    let stack;
    before(async () => {
        stack = await Stack.start({ bridges: 0, workers: 0 });
    });

    /** @param {string[]} via */
    async function daemons(via) {
        const ports = [await freePort(), await freePort()];
        const noisy = { 'log-level': 'debug' };
        stack.bridges.length = stack.workers.length = 0;
        await Promise.all([
            stack.startBridge({ listen: `127.0.0.1:${ports[0]}`, ...noisy }, {}, { via, mute: true }),
            stack.startWorker({ 'metrics-listen': `127.0.0.1:${ports[1]}`, 'demo-rate': 2000, ...noisy },
                              {}, { via, mute: true })]);
        await until(async () => (await ask(ports[1], 'GET', '/healthz')).status === 200);
        return ports;
    }

    async function stop() {
        for (const daemon of [...stack.bridges, ...stack.workers]) {
            await daemon.stop();
            assert.equal(daemon.child.code, 0, `${daemon.kind}: ${daemon.child.signal}`);
        }
    }

    const shell = (/** @type {string} */ to) => ['/bin/sh', '-c', `exec "$0" "$@" ${to}`];

    test('is closed: prompts are answered, no log line runs into a connection', async () => {
        await daemons(shell('2>&-'));
        await whole(stack);
        await whole(stack);
        await stop();
    });

    test('is a full disk: the same, and the lost lines are counted', async () => {
        const [port, workerPort] = await daemons(shell('2>/dev/full'));
        await whole(stack);
        for (const at of [port, workerPort]) {
            const { text } = await ask(at, 'GET', '/metrics');
            assert.match(text.match(/^threadcast_(bridge_log_lines_dropped|worker_log_dropped_total) .*$/m)?.[0] ?? '', / [1-9]/);
        }
        await stop();
    });

    test('is a full pipe that nobody reads: nobody waits for it', async () => {
        const fifo = path.join(stack.dir, 'stderr');
        execFileSync('mkfifo', [fifo]);
        const keep = fs.openSync(fifo, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
        let filled = 0;
        try {
            for (;;) filled += fs.writeSync(keep, Buffer.alloc(65536, '\n'));
        } catch {
            assert.ok(filled > 0, 'it is full now');
        }
        await daemons(shell(`2>${fifo}`));
        await whole(stack);
        await stop();
        fs.closeSync(keep);
    });
});
