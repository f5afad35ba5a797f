// Durable runs: leases, liveness, the queue of a thread, retries, what is pruned. Against
// a real Redis and PostgreSQL.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { runsOf } from './lib/runs.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
});

const { workers, begin, streams, endsWell } = runsOf(() => stack);

/** @param {import('./harness.mjs').Worker} worker */
const instanceOf = (worker) => worker.output.match(/ready instance=(\w+)/)[1];

const cancel = async (/** @type {string} */ run) =>
    (await stack.pg.query('select * from cancel_run($1, null)', [run]))[0];

// --- liveness ---------------------------------------------------------------------------

test('a worker says that it lives, by the name that its runs carry, until it leaves', async (t) => {
    const worker = await workers(t)({ 'demo-rate': 40 });
    const key = `threadcast:worker:${instanceOf(worker)}`;
    const asked = await begin('who writes this?');
    await streams(asked);
    const state = await stack.redis.client.hget(`{thread:${asked.thread}}:state`, `r:${asked.run}`);
    assert.equal(`threadcast:worker:${state.split(' ')[3]}`, key);
    const ttl = () => stack.redis.client.pttl(key);
    assert.ok(await ttl() > 0 && await ttl() <= 1500, 'for one lease');
    let last = await ttl();
    await until(async () => {
        const now = await ttl();
        const renewed = now > last;
        last = now;
        assert.ok(now > 0, 'it is never gone');
        return renewed;
    }, { what: 'the key is renewed' });
    await stack.redis.client.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await stack.redis.client.del(key);
    await until(async () => await ttl() > 0, { what: 'it is there again' });
    await cancel(asked.run);
    await endsWell(asked, 'cancelled');
    await worker.child.stop('SIGTERM');
    assert.equal(await ttl(), -2, 'taken away at the end');
});

test('a worker that sleeps does not look alive', async (t) => {
    const worker = await workers(t)();
    const key = `threadcast:worker:${instanceOf(worker)}`;
    await until(() => stack.redis.client.exists(key), { what: 'the key' });
    worker.child.kill('SIGSTOP');
    await until(async () => !await stack.redis.client.exists(key), { what: 'the key is gone after a lease' });
    worker.child.kill('SIGCONT');
    await until(() => stack.redis.client.exists(key), { what: 'the key is back' });
});
