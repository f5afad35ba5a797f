// Bridges replaced and killed under load, one after the other, on the same port and with
// readers and prompts all the time. THREADCAST_FULL=1: 2,000 readers, 20 restarts, 20 kills.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check, counterexample } from './checker.mjs';
import { World } from './world.mjs';

const FULL = Boolean(process.env.THREADCAST_FULL);
const READERS = FULL ? 2000 : 200;
const RESTARTS = FULL ? 20 : 4;

/** Everything has ended, and nobody has missed anything; answers what the readers counted. @param {World} world */
async function unharmed(world) {
    await world.endPosting();
    await world.settle();
    const status = await world.farm.status();
    const verdict = await check(world, []);
    assert.deepEqual(verdict.wrong, [], counterexample(verdict, []));
    assert.equal(status.resets, 0, 'no position was lost');
    return status;
}

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
    const status = await unharmed(world);
    assert.equal(status.failed, 0, 'no connection was refused');
    assert.ok(status.byes >= READERS / 2, `said good-bye: ${status.byes}`);
    t.diagnostic(`${RESTARTS} restarts, ${READERS} readers, ${world.ledger.length} prompts, ${status.events} events, ` +
                 `${status.reconnects} reconnects, ${status.byes} byes, 0 lost`);
});

const KILLED_READERS = FULL ? 2000 : 1000;
const KILLS = FULL ? 20 : 2;
/** the least that must be streaming to its readers when a bridge is killed: pairs of a reader and a run without its end */
const MID_RUN = KILLED_READERS / 5;

test(`${KILLS} kills of a bridge under ${KILLED_READERS} readers in mid-run: each event once and in order, no reset`, { timeout: 600_000 }, async (t) => {
    const world = await World.start({ seed: 2, threads: KILLED_READERS / 50, readers: KILLED_READERS, bridge: { 'retry-ms': 300 } });
    t.after(() => world.stop());
    world.beginPosting(8);
    let moved = 0, midRun = Infinity;
    for (let i = 0; i < KILLS; i++) {
        const victim = world.bridges[i % 2];
        const { events } = await world.farm.status();
        const before = await world.farm.reached((now) => now.live >= KILLED_READERS && now.events > events && now.open >= MID_RUN);
        const clients = (await victim.metrics()).threadcast_bridge_clients;
        assert.ok(clients >= KILLED_READERS / 10, `it has readers: ${clients}`);
        victim.forgiven = true;
        await victim.kill(); // those readers go to the other one, or to the next in its place
        await victim.start();
        await world.farm.reached((now) => now.live >= KILLED_READERS && now.reconnects - before.reconnects >= clients &&
                                          now.events > before.events, 60_000);
        moved += clients;
        midRun = Math.min(midRun, before.open);
        assert.deepEqual(world.farm.violations.slice(0, 1), [], `kill ${i + 1}`);
    }
    const status = await unharmed(world);
    assert.equal(status.byes, 0, 'nobody was told before');
    t.diagnostic(`${KILLS} kills, ${KILLED_READERS} readers, ${moved} of them cut off, ${midRun} in mid-run at the least, ` +
                 `${world.ledger.length} prompts, ${status.events} events, ${status.reconnects} reconnects, 0 lost`);
});
