// The packages for Python and Node and the bridge, together: a publisher that dies is
// noticed, and a run is cancelled over threadcast:control. No worker and no PostgreSQL take
// part. The bridge looks at a run after 5 s of silence: so these tests go side by side.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { Child, ROOT, Stack } from './harness.mjs';

const stack = await Stack.start({ postgres: false, bridges: 2, bridge: {
    'worker-lease-ms': 500, 'keepalive-ms': 1000, 'drain-ms': 500 } });
const redis = stack.redis.client;
const reader = { sub: 'ann', read: ['*'] };
/** @type {Child[]} */
const publishers = [];
after(() => Promise.all(publishers.map((child) => child.stop('SIGKILL'))));

const PROLOGUE = `
import asyncio, os, sys, threading, redis, redis.asyncio, threadcast
client = redis.from_url(os.environ["REDIS_URL"])
aclient = redis.asyncio.from_url(os.environ["REDIS_URL"])
`;

/** A process with the package. It says `begun <run id>`. @param {string} text */
async function publisher(text) {
    const child = new Child('python', '/usr/bin/python3', ['-u', '-c', PROLOGUE + text], {
        env: { ...stack.env(), PYTHONPATH: path.join(ROOT, 'sdk/python') } });
    publishers.push(child);
    const [, run] = await child.line(/begun (\S+)/);
    return { child, run };
}

/** @param {string} thread */
async function logged(thread) {
    const entries = await redis.xrange(`{thread:${thread}}:log`, '-', '+');
    return entries.map(([, fields]) => JSON.parse(fields[1]));
}

/** @param {any} event */
const shape = ({ type, content }) => `${type}:${
    typeof content === 'string' ? content : content.status ?? content.finishReason ?? content.code}`;

/** @param {string} thread */
const readers = (thread) => stack.bridges.map(
    (bridge) => stack.threadEvents(thread, 'since=0', { ...reader, bridge }));

const AGENT = `
import { Redis } from 'ioredis';
import * as threadcast from ${JSON.stringify(path.join(ROOT, 'sdk/node/src/index.js'))};
const client = new Redis(process.env.REDIS_URL);
const run = await threadcast.start(client, process.env.THREAD, { leaseMs: 500 });
try {
    for (;;) {
        await run.token('x');
        await run.flush();
        console.log('begun', run.runId);
    }
} catch (error) {
    console.log('told', error.name, error.id);
    client.disconnect();
}
`;

/** A process with the package for Node, that speaks for ever. @param {string} thread */
async function agent(thread) {
    const child = new Child('node', process.execPath, ['--input-type=module', '-e', AGENT], {
        env: { ...stack.env(), THREAD: thread }, cwd: path.join(ROOT, 'tests/e2e') });
    publishers.push(child);
    await child.line(/begun (\S+)/);
    return child;
}

describe('publishers that fall silent', { concurrency: true }, () => {
    test('a publisher killed in mid-run: error worker_lost, once, at every reader', async () => {
        const { child, run } = await publisher(`
with threadcast.run(client, "killed", lease_ms=500) as run:
    run.token("half an ans")
    run.flush()
    print("begun", run.run_id)
    threading.Event().wait()
`);
        const streams = readers('killed');
        for (const stream of streams) await stream.type('token');
        await child.stop('SIGKILL');
        for (const stream of streams) {
            const error = await stream.type('error');
            assert.equal(error.json.runId, run);
            assert.equal(error.json.content.code, 'worker_lost');
            assert.equal(error.json.content.retryable, true);
            assert.equal(stream.text(), 'half an ans');
            stream.close();
        }
        assert.deepEqual((await logged('killed')).map(shape),
                         ['status:started', 'token:half an ans', 'error:worker_lost']);
    });

    test('a publisher that says nothing for many leases is not taken for dead', async () => {
        const { child } = await publisher(`
with threadcast.run(client, "silent", lease_ms=1500) as run:
    print("begun", run.run_id)
    threading.Event().wait(8)  # the bridge looks after 5 s of silence
    run.token("still here")
`);
        const [stream, other] = readers('silent');
        const token = await stream.type('token');
        assert.equal(token.json.content, 'still here');
        await stream.type('done');
        await child.exit;
        assert.equal(child.code, 0, child.tail());
        assert.equal(stream.events.filter((e) => e.event === 'stalled').length, 0);
        for (const s of [stream, other]) s.close();
    });

    test('a publisher that stood still is told that its run was ended', async () => {
        const { child } = await publisher(`
try:
    with threadcast.run(client, "stopped", lease_ms=500) as run:
        print("begun", run.run_id)
        while True:
            run.token("x")
            run.flush()
            threading.Event().wait(0.01)
except threadcast.WorkerLost as e:
    print("told", e.id)
`);
        const [stream, other] = readers('stopped');
        await stream.type('token');
        child.kill('SIGSTOP');
        const error = await stream.type('error');
        child.kill('SIGCONT');
        const [, id] = await child.line(/told (\S+)/);
        assert.equal(id, error.json.id);
        await child.exit;
        assert.equal((await logged('stopped')).at(-1).id, id, 'nothing follows the end');
        for (const s of [stream, other]) s.close();
    });

    test('Node: a publisher that was killed, and one that stood still', async () => {
        const [killed, stopped] = await Promise.all([agent('node-killed'), agent('node-stopped')]);
        const streams = ['node-killed', 'node-stopped'].map((thread) => stack.threadEvents(thread, 'since=0', reader));
        for (const stream of streams) await stream.type('token');
        await killed.stop('SIGKILL');
        stopped.kill('SIGSTOP');
        const errors = await Promise.all(streams.map((stream) => stream.type('error')));
        stopped.kill('SIGCONT');
        for (const error of errors) assert.equal(error.json.content.code, 'worker_lost');
        const [, name, id] = await stopped.line(/told (\S+) (\S+)/);
        assert.deepEqual([name, id], ['WorkerLost', errors[1].json.id]);
        await stopped.exit;
        assert.equal(stopped.code, 0, stopped.tail());
        assert.equal((await logged('node-stopped')).at(-1).id, id, 'nothing follows the end');
        for (const stream of streams) stream.close();
    });
});

for (const [kind, body] of [['asyncio', `
async def main():
    async with threadcast.run(aclient, "asyncio") as run:
        await run.token("Hel")
        await run.flush()
        print("begun", run.run_id)
        await asyncio.Event().wait()
try:
    asyncio.run(main())
except threadcast.Cancelled:
    print("told")
`], ['sync', `
try:
    with threadcast.run(client, "sync") as run:
        run.token("Hel")
        run.flush()
        print("begun", run.run_id)
        while not run.cancelled:
            threading.Event().wait(0.01)
        run.token("lo")
except threadcast.Cancelled:
    print("told")
`]]) {
    test(`cancelled over threadcast:control: ${kind}`, async () => {
        const { child, run } = await publisher(body);
        const [stream, other] = readers(kind);
        await stream.type('token');
        const began = performance.now();
        const hint = JSON.stringify({ type: 'cancel', runId: run });
        assert.ok(await redis.publish('threadcast:control', hint), 'somebody hears it');
        const done = await stream.type('done');
        const took = performance.now() - began;
        assert.ok(took < 1000, `the end came after ${took} ms`);
        assert.equal(done.json.content.finishReason, 'cancelled');
        await child.line(/told/);
        await child.exit;
        assert.equal(child.code, 0, child.tail());
        assert.deepEqual((await logged(kind)).map(shape),
                         ['status:started', 'token:Hel', 'status:cancelled', 'done:cancelled']);
        for (const s of [stream, other]) s.close();
    });
}
