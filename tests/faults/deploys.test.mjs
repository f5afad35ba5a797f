// Deployments under load: bridges replaced one after the other, on the same port and with
// readers and prompts all the time. THREADCAST_FULL=1: 2,000 readers, 20 restarts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check, counterexample } from './checker.mjs';
import { World } from './world.mjs';

const FULL = Boolean(process.env.THREADCAST_FULL);
const READERS = FULL ? 2000 : 200;
const RESTARTS = FULL ? 20 : 4;

test(`${RESTARTS} rolling restarts under ${READERS} readers: nothing is lost, nobody is turned away`, { timeout: 600_000 }, async (t) => {
    const world = await World.start({ seed: 1, threads: READERS / 10, readers: READERS,
                                      bridge: { 'drain-ms': 1000, 'retry-ms': 300 } });
    t.after(() => world.stop());
    world.beginPosting(6);
    for (let i = 0; i < RESTARTS; i++) {
        const place = i % 2;
        const old = world.bridges[place];
        const before = await world.farm.status();
        await world.fillBridge(place, { listen: `127.0.0.1:${old.port}` });
        await old.stop();
        assert.equal(old.child.code, 0, old.child.tail());
        await world.farm.reached(({ live, events }) => live >= READERS && events > before.events, 60_000);
    }
    await world.endPosting();
    await world.settle();
    const status = await world.farm.status();
    const verdict = await check(world, []);
    assert.deepEqual(verdict.wrong, [], counterexample(verdict, []));
    assert.equal(status.resets, 0, 'no position was lost');
    assert.equal(status.failed, 0, 'no connection was refused');
    assert.ok(status.byes >= READERS / 2, `said good-bye: ${status.byes}`);
    t.diagnostic(`${RESTARTS} restarts, ${READERS} readers, ${world.ledger.length} prompts, ${status.events} events, ` +
                 `${status.reconnects} reconnects, ${status.byes} byes, 0 lost`);
});
