// The catalogue of faults: what can happen to the world, and how it is healed. A fault
// holds for a while that its seed decides; those of different parts overlap in pairs.
//
// `forgets` marks those after which Redis may have forgotten events: only they make a
// `reset` legitimate. Behind a Redis that is new to all, workers have the late ends
// published again (--recall-s); one that was emptied stays the same.

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { until } from '../e2e/harness.mjs';
import { pause } from './world.mjs';

/** @typedef {import('./world.mjs').World} World */

/**
 * @typedef {object} Fault
 * @property {string} name
 * @property {'redis' | 'postgres' | 'worker' | 'bridge' | 'readers' | 'network'} part
 *   two faults of one part do not overlap
 * @property {'new' | 'same'} [forgets] is it another Redis then?
 * @property {(world: World, ms: (from: number, to: number) => number) => Promise<unknown>} happen
 *   resolves when it is healed; `ms` draws a time, always in the same order: so a seed repeats it
 */

/** how often a throttled wire lets its share pass */
const THROTTLE_TICK_MS = 20;

const config = (world, ...pairs) => world.redis.client.config('SET', ...pairs);

/** Heals whatever comes of the middle. */
async function during(begin, ms, end) {
    await begin();
    try {
        await pause(ms);
    } finally {
        await until(async () => (await end(), true), { what: 'the fault is healed' });
    }
}

/** @param {import('../e2e/harness.mjs').Child | null} child */
const asleep = (child, ms) => during(async () => child?.kill('SIGSTOP'), ms, async () => child?.kill('SIGCONT'));

/** One statement, tried again while Postgres is being harmed. */
const sql = (world, text, values = []) => until(async () => [await world.stack.pg.query(text, values)]).then(([rows]) => rows);

/** A file of /proc; '' when that process has gone. @param {string} file */
function proc(file) {
    try {
        return fs.readFileSync(`/proc/${file}`, 'utf8');
    } catch {
        return '';
    }
}

/** The processes that serve many runs. @param {World} world @returns {number[]} */
function hosts(world) {
    return world.allWorkers.flatMap(({ child }) => proc(`${child?.pid}/task/${child?.pid}/children`).split(' ').filter(Boolean).map(Number))
        .filter((pid) => proc(`${pid}/cmdline`).includes('host.py'));
}

/** @param {number} pid @param {NodeJS.Signals} [signal] */
function killed(pid, signal = 'SIGKILL') {
    try {
        process.kill(pid, signal);
    } catch {
        // it has gone by itself
    }
}

async function bridgeReplaced(world, place) {
    const old = world.bridges[place];
    await world.fillBridge(place, { listen: `127.0.0.1:${old.port}` }); // both accept for a moment
    await old.stop();
}

async function hostileClients(world, ms, place) {
    const { port } = world.bridges[place];
    const bytes = ['GET / HTT', 'POST /v1/threads/x/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{', '\x16\x03\x01\x02',
                   'GET /v1/threads/%00/events HTTP/1.1\r\nHost: a\r\n\r\n', 'GET /healthz HTTP/1.1\r\nHost: a\r\n'];
    const sockets = Array.from({ length: 100 }, (_, i) => {
        const socket = net.connect(port, '127.0.0.1');
        socket.on('error', () => {});
        socket.write(bytes[i % bytes.length]);
        return socket;
    });
    await during(async () => {}, ms, async () => sockets.forEach((socket) => socket.resetAndDestroy()));
}

/** @type {Fault[]} */
export const FAULTS = [
    // --- Redis
    { name: 'redis-killed', part: 'redis', async happen(world, ms) {
        await world.redis.kill();
        await pause(ms(0, 800));
        await world.redis.start();
    } },
    { name: 'redis-killed-empty', part: 'redis', forgets: 'new', async happen(world, ms) {
        await world.redis.kill();
        world.redis.wipe();
        await pause(ms(0, 500));
        await world.redis.start();
    } },
    { name: 'redis-older-dump', part: 'redis', forgets: 'new', async happen(world, ms) {
        await world.redis.stop();
        const copy = world.redis.copy();
        await world.redis.start();
        await pause(ms(300, 2500));
        await world.redis.kill();
        world.redis.restore(copy);
        await world.redis.start();
    } },
    { name: 'lagging-replica-promoted', part: 'redis', forgets: 'new', async happen(world, ms) {
        const old = world.redis;
        const { server, wire } = await world.replica();
        wire.hold();
        await pause(ms(100, 1500));
        await old.kill(); // what the replica has not got is lost with it
        await wire.stop();
        await server.promote();
        world.pointAt(server);
    } },
    { name: 'redis-stopped', part: 'redis', happen: (world, ms) => asleep(world.redis.child, ms(200, 4000)) },
    { name: 'redis-restarted', part: 'redis', async happen(world) {
        await world.redis.stop();
        await world.redis.start();
    } },
    { name: 'flushall', part: 'redis', forgets: 'same', happen: (world) => world.redis.client.flushall() },
    { name: 'script-flush', part: 'redis', happen: (world) => world.redis.client.call('SCRIPT', 'FLUSH') },
    { name: 'kill-pubsub', part: 'redis', happen: (world) => world.redis.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub') },
    { name: 'kill-normal', part: 'redis',
      happen: (world) => world.redis.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes') },
    { name: 'kill-all-loop', part: 'redis', async happen(world, ms) {
        const times = 3 + Math.floor(ms(0, 8));
        for (let i = 0; i < times; i++) {
            await world.redis.client.call('CLIENT', 'KILL', 'TYPE', i % 2 ? 'pubsub' : 'normal', 'SKIPME', 'yes');
            await pause(ms(5, 120));
        }
    } },
    { name: 'oom', part: 'redis', happen: (world, ms) => during(
        () => config(world, 'maxmemory', '1'), ms(100, 1500), () => config(world, 'maxmemory', '0')) },
    { name: 'noreplicas', part: 'redis', happen: (world, ms) => during(
        () => config(world, 'min-replicas-to-write', '1'), ms(100, 1500), () => config(world, 'min-replicas-to-write', '0')) },
    { name: 'readonly', part: 'redis', happen: (world, ms) => during(
        // a master that nobody can reach: it keeps what it has and refuses writes
        () => world.redis.client.call('REPLICAOF', '127.0.0.1', '1'), ms(100, 1500),
        () => world.redis.client.call('REPLICAOF', 'NO', 'ONE')) },
    { name: 'noperm', part: 'redis', happen: (world, ms) => during(
        () => world.redis.client.call('ACL', 'SETUSER', 'default', '-evalsha', '-subscribe'), ms(100, 1200),
        () => world.redis.client.call('ACL', 'SETUSER', 'default', '+@all')) },
    { name: 'maxclients', part: 'redis', happen: (world, ms) => during(async () => {
        await config(world, 'maxclients', '1');
        await world.redis.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    }, ms(100, 1200), () => config(world, 'maxclients', '10000')) },
    { name: 'output-buffer-kill', part: 'redis', happen: (world, ms) => during(
        () => config(world, 'client-output-buffer-limit', 'pubsub 1 1 1'), ms(50, 600),
        () => config(world, 'client-output-buffer-limit', 'pubsub 33554432 8388608 60')) },

    // --- Postgres
    { name: 'postgres-restarted', part: 'postgres', happen: (world) => world.stack.pg.restart() },
    { name: 'postgres-crashed', part: 'postgres', happen: (world) => world.stack.pg.restart('SIGQUIT') },
    { name: 'postgres-stopped', part: 'postgres', happen: (world, ms) => asleep(world.stack.pg.child, ms(200, 2500)) },
    { name: 'backends-terminated', part: 'postgres', happen: (world) => sql(world,
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'threadcast-%'`) },
    { name: 'listen-terminated', part: 'postgres', happen: (world) => sql(world,
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'threadcast-%:listen'`) },
    { name: 'notify-switched-off', part: 'postgres', happen: (world, ms) => during(
        () => sql(world, 'alter table runs disable trigger run_inserted_notifies'), ms(200, 2000),
        () => sql(world, 'alter table runs enable trigger run_inserted_notifies')) },
    { name: 'rows-locked', part: 'postgres', happen: (world, ms) => sql(world,
        `do $$ begin perform from threads for update; perform pg_sleep(${ms(50, 800) / 1000}); end $$`) },

    // --- workers
    { name: 'worker-killed', part: 'worker', async happen(world, ms) {
        const place = ms(0, 1) < 0.5 ? 0 : 1;
        world.workers[place].forgiven = true;
        await world.workers[place].kill();
        await pause(ms(0, 300));
        await world.fillWorker(place);
    } },
    { name: 'workers-killed', part: 'worker', async happen(world, ms) {
        const nobody = asleep(world.lasting?.worker.child ?? null, ms(0, 2000)); // nor is the one that is never killed there
        for (const worker of world.workers) worker.forgiven = true;
        await Promise.all(world.workers.map((worker) => worker.kill()));
        await Promise.all([nobody, ...[0, 1].map((place) => world.fillWorker(place))]);
    } },
    { name: 'worker-asleep', part: 'worker', happen: (world, ms) => asleep(world.workers[ms(0, 1) < 0.5 ? 0 : 1].child, ms(1600, 3500)) },
    { name: 'worker-napping', part: 'worker', happen: (world, ms) => asleep(world.workers[ms(0, 1) < 0.5 ? 0 : 1].child, ms(50, 1200)) },
    { name: 'worker-deployed', part: 'worker', async happen(world, ms) {
        const place = ms(0, 1) < 0.5 ? 0 : 1;
        const old = world.workers[place];
        await Promise.all([world.fillWorker(place), old.stop()]);
    } },
    { name: 'hosts-killed', part: 'worker', happen: async (world) => hosts(world).forEach((pid) => killed(pid)) },
    { name: 'hosts-asleep', part: 'worker', happen: (world, ms) => { // their runs end when they wake
        const found = hosts(world);
        return during(async () => found.forEach((pid) => killed(pid, 'SIGSTOP')), ms(50, 3000),
                      async () => found.forEach((pid) => killed(pid, 'SIGCONT')));
    } },
    { name: 'cancelled', part: 'worker', happen: (world, ms) => world.cancelOne(ms(0, 1)) },

    // --- bridges
    { name: 'bridge-killed', part: 'bridge', async happen(world, ms) {
        const bridge = world.bridges[ms(0, 1) < 0.5 ? 0 : 1];
        bridge.forgiven = true;
        await bridge.kill();
        await pause(ms(0, 300));
        await bridge.start();
    } },
    { name: 'bridge-restarted', part: 'bridge', happen: (world, ms) => world.bridges[ms(0, 1) < 0.5 ? 0 : 1].restart() },
    { name: 'bridge-deployed', part: 'bridge', happen: (world, ms) => bridgeReplaced(world, ms(0, 1) < 0.5 ? 0 : 1) },
    { name: 'bridge-asleep', part: 'bridge', happen: (world, ms) => asleep(world.bridges[ms(0, 1) < 0.5 ? 0 : 1].child, ms(100, 3000)) },
    { name: 'bridge-without-descriptors', part: 'bridge', async happen(world, ms) {
        const { pid } = world.bridges[ms(0, 1) < 0.5 ? 0 : 1].child;
        const limit = (n) => execFileSync('prlimit', ['--pid', String(pid), `--nofile=${n}:`]);
        const [soft] = execFileSync('prlimit', ['--pid', String(pid), '--nofile', '-o', 'SOFT', '--noheadings']).toString().trim().split(/\s+/);
        await during(async () => limit(8), ms(100, 1200), async () => limit(soft));
    } },
    { name: 'hostile-clients', part: 'bridge', happen: (world, ms) => hostileClients(world, ms(50, 600), ms(0, 1) < 0.5 ? 0 : 1) },

    // --- readers
    { name: 'readers-cut', part: 'readers', async happen(world, ms) {
        world.farm.say(`cut ${ms(0.02, 1).toFixed(3)}`);
    } },
    { name: 'readers-stalled', part: 'readers', async happen(world, ms) {
        const time = ms(100, 2500);
        world.farm.say(`stall ${ms(0.02, 0.5).toFixed(3)} ${Math.round(time)}`);
        await pause(time);
    } },
    { name: 'readers-throttled', part: 'readers', async happen(world, ms) {
        const time = ms(500, 4000);
        world.farm.say(`slow ${ms(0.02, 0.5).toFixed(3)} ${Math.round(time)} ${Math.round(ms(100, 5000))}`);
        await pause(time);
    } },
    { name: 'readers-half-closed', part: 'readers', async happen(world, ms) {
        world.farm.say(`half ${ms(0.02, 0.3).toFixed(3)}`);
    } },

    // --- the network of the second bridge and the second worker
    { name: 'network-cut', part: 'network', async happen(world) {
        world.redisWire.cutAll();
        world.postgresWire.cutAll();
    } },
    { name: 'network-reset', part: 'network', async happen(world) {
        world.redisWire.resetAll();
        world.postgresWire.resetAll();
    } },
    { name: 'redis-half-open', part: 'network', happen: (world, ms) => during(
        async () => world.redisWire.hold(), ms(200, 6000), async () => world.redisWire.release()) },
    { name: 'postgres-half-open', part: 'network', happen: (world, ms) => during(
        async () => world.postgresWire.hold(), ms(200, 4000), async () => world.postgresWire.release()) },
    { name: 'network-slow', part: 'network', happen: (world, ms) => during(
        async () => [world.redisWire, world.postgresWire].forEach((wire) => wire.delay(ms(5, 60))), ms(200, 2000),
        async () => [world.redisWire, world.postgresWire].forEach((wire) => wire.delay(0))) },
    { name: 'network-dribbles', part: 'network', happen: (world, ms) => during( // some KB/s, in shreds
        async () => world.redisWire.dribble(1 + Math.floor(ms(0, 40)), 2 + Math.floor(ms(0, 8))), ms(200, 1500),
        async () => world.redisWire.dribble(Infinity)) },
    { name: 'network-throttled', part: 'network', happen: (world, ms) => { // each connection, each way
        const perTick = Math.round(ms(20_000, 100_000) * THROTTLE_TICK_MS / 1000);
        return during(
            async () => [world.redisWire, world.postgresWire].forEach((wire) => wire.dribble(perTick, THROTTLE_TICK_MS)), ms(1000, 5000),
            async () => [world.redisWire, world.postgresWire].forEach((wire) => wire.dribble(Infinity)));
    } },
    { name: 'redis-refuses', part: 'network', happen: (world, ms) => during(async () => {
        world.redisWire.refuse(true);
        world.redisWire.cutAll();
    }, ms(100, 1500), async () => world.redisWire.refuse(false)) },
    { name: 'postgres-refuses', part: 'network', happen: (world, ms) => during(async () => {
        world.postgresWire.refuse(true);
        world.postgresWire.cutAll();
    }, ms(100, 1500), async () => world.postgresWire.refuse(false)) },
];
