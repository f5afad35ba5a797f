// kill -9 at every named point of a run's life (worker/killpoint.h), each with seeds: one
// terminal event, one terminal row, and the same text in Postgres, in the log, at a reader
// that was connected all along and at one that was cut and resumed.
//
// The seed decides which pass of the point kills, what is asked and where the second
// reader is cut. One seed; five with THREADCAST_FULL=1. To see one again:
// THREADCAST_SEEDS=3,4 THREADCAST_POINTS=end-sent,mark-sent

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { BIN, ROOT, Stack, until } from './harness.mjs';
import { Lane, stateOf } from './lib/lanes.mjs';
import { random } from './lib/ledger.mjs';

const LANES = 4;
const LEASE_MS = 800;
const FULL = Boolean(process.env.THREADCAST_FULL);
const SEEDS = (process.env.THREADCAST_SEEDS ?? (FULL ? '1,2,3,4,5' : '1')).split(',');
const POINTS = /The names[^]*?\*\//.exec(fs.readFileSync(path.join(ROOT, 'worker/killpoint.h'), 'utf8'))?.[0]
    .match(/(?<=\s)[a-z]+-[a-z-]+(?=\s)/g) ?? [];

// an agent that fails at its first attempt and says that another may help
const FICKLE = `read -r line; case "$line" in
*'"attempt":1,'*) echo '{"type":"token","content":"it will "}'
    echo '{"type":"error","content":{"code":"busy","message":"Later.","retryable":true}}' ;;
*) echo '{"type":"token","content":"it went well"}' ;; esac`;
const COMMON = { 'lease-ms': LEASE_MS, 'poll-ms': 200, 'flush-ms': 5, 'max-attempts': 5,
                 agents: `fickle=exec:${FICKLE}` };

/** @type {Stack} */
let stack;
/** @type {Lane[]} */
let lanes = [];
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
    lanes = await Promise.all(Array.from({ length: LANES }, (_, i) =>
        Lane.open(stack, `lane${i}`, { ...COMMON, 'demo-rate': 1500 })));
});
after(() => Promise.all(lanes.map((lane) => lane.close())));

// --- what the victim lives through ----------------------------------------------------------

/** @typedef {import('./lib/lanes.mjs').Asked} Asked */
/** @typedef {{ lane: Lane, prompts: string[], cutAt: () => number, start: (options?: object) => Promise<any> }} Case */

/** @param {Case} c @param {string} [agent] @returns {Promise<Asked[]>} */
const ask = (c, agent) => Promise.all(c.prompts.map(async (prompt) =>
    c.lane.ask(await c.lane.watched(c.cutAt), prompt, agent)));

/** Until something happens at the readers, or the victim is gone. */
const unless = (victim, condition) => until(() => !victim.child.running || condition(), {
    what: () => `the victim goes on, or dies\n${victim.child.tail()}` });

/** Each answers what was asked; the victim dies in it, or not. */
const scenarios = {
    /** @param {Case} c */
    async answers(c) {
        const asked = await ask(c);
        await c.start({ 'demo-rate': 500 });
        return asked;
    },
    /** @param {Case} c */
    async fails(c) {
        const asked = await ask(c, 'fickle');
        await c.start();
        return asked;
    },
    /** @param {Case} c */
    async forgets(c) {
        const asked = await ask(c);
        const victim = await c.start({ 'demo-rate': 150 });
        for (const { thread, run, readers } of asked) {
            await unless(victim, () => readers[0].tokens(run) > 0);
            await stack.redis.client.del(`{thread:${thread}}:log`, `{thread:${thread}}:state`);
        }
        return asked;
    },
    /** @param {Case} c */
    async cancelled(c) {
        const asked = await ask(c);
        const victim = await c.start({ 'demo-rate': 40 });
        for (const { run, readers } of asked) {
            await unless(victim, () => readers[0].tokens(run) > 0);
            await stack.request('POST', `/v1/runs/${run}/cancel`, { bridge: c.lane.bridge });
        }
        return asked;
    },
    /** @param {Case} c */
    async sweeps(c) {
        const asked = await ask(c);
        for (const { run } of asked) await stack.request('POST', `/v1/runs/${run}/cancel`, { bridge: c.lane.bridge });
        await c.start();
        return asked;
    },
    /** @param {Case} c */
    async leaves(c) {
        const asked = await ask(c);
        const victim = await c.start({ 'demo-rate': 40, 'drain-ms': 200 });
        for (const { run, readers } of asked) await unless(victim, () => readers[0].tokens(run) > 0);
        victim.child.kill('SIGTERM');
        return asked;
    },
};

/** Those that a name suggests first, then all others: a name that nobody reaches fails. */
function scenariosFor(point) {
    /** @type {[RegExp, keyof typeof scenarios][]} */
    const hints = [[/^sweep/, 'sweeps'], [/^hand/, 'leaves'], [/^cancel/, 'cancelled'], [/^anew/, 'forgets'],
                   [/^(requeue|history|agent-failed)/, 'fails'], [/./, 'answers']];
    const first = hints.filter(([pattern]) => pattern.test(point)).map(([, name]) => name);
    return [...new Set([...first, ...Object.keys(scenarios)])];
}

// --- one death ------------------------------------------------------------------------------

function promptOf(next) {
    const words = ['Wien', 'how', 'many', '字', 'Grüße', '🎈', 'lease', '"quoted"', '\\', 'Ж', '\n', 'end?'];
    const count = 1 + Math.floor(next() * 30);
    return Array.from({ length: count }, () => words[Math.floor(next() * words.length)]).join(' ');
}

/**
 * @param {Lane} lane @param {string} point @param {string} seed
 * @param {string} name of the scenario @param {number} nth
 * @param {'kill' | 'stop'} fate
 * @returns {Promise<boolean>} whether it was reached
 */
async function dies(lane, point, seed, name, nth, fate) {
    const next = random(`${seed} ${point} ${name} ${nth}`);
    const cutAt = () => 200 + Math.floor(next() * 12_000);
    const prompts = Array.from({ length: nth }, () => promptOf(next));
    /** @type {any} a Worker */
    let victim = null;
    const start = async (options = {}) => {
        const given = { ...COMMON, 'metrics-listen': '127.0.0.1:0', ...options };
        const env = { ...lane.env, THREADCAST_KILL_POINT: `${point}:${nth}${fate === 'stop' ? ',stop' : ''}` };
        stack.startWorker(given, env).catch(() => {}); // it may die before it is ready
        victim = stack.workers.at(-1);
        await victim.child.line(/ info ready | kill point /).catch((error) => {
            if (victim.child.signal !== 'SIGKILL') throw error;
        });
        return victim;
    };
    const gone = () => !victim.child.running || stateOf(victim.child.pid) === 'T';
    await lane.pause();
    let asked = [];
    const tails = () => `${victim?.child.tail(30)}\n${lane.survivor.child.tail(30)}`;
    try {
        asked = await scenarios[name]({ lane, prompts, cutAt, start });
        const ids = asked.map(({ run }) => run);
        const over = async () => (await lane.rows(ids)).every((row) => row.end_published_at);
        await until(async () => gone() || over(), {
            what: () => `the victim dies or brings it to an end\n${tails()}` });
        const told = !gone() || name === 'leaves';
        if (!gone()) victim.child.kill('SIGTERM'); // it may still die of that
        await until(gone, { what: tails });
        const reached = victim.child.signal === 'SIGKILL' || victim.child.running;
        if (reached && fate === 'kill') await lane.settled();
        const then = await lane.rows(ids);
        lane.goOn();
        for (const [i, one] of asked.entries()) {
            const row = await lane.balances(one, tails);
            if (fate === 'kill') expectAttempt(then[i], row, name);
        }
        if (reached && fate === 'stop') await wakes(lane, victim, asked, told);
        await lane.nothingLeft();
        return reached;
    } finally {
        lane.goOn();
        if (victim?.child.running) await victim.child.stop('SIGKILL');
        asked.forEach(({ readers }) => readers.forEach((reader) => reader.stop()));
    }
}

/** What the dead worker held is attempted once more; nothing else is. */
function expectAttempt(then, row, name) {
    const about = `${row.id} was ${then.status} (attempt ${then.attempt}) when the worker died`;
    if (then.ended_at) {
        assert.equal(row.attempt, then.attempt, about);
        assert.equal(row.status, then.status, about);
    } else if (name !== 'fails') {
        assert.equal(row.attempt, then.attempt + 1, about);
        assert.equal(row.failures, then.failures + (then.status === 'running' ? 1 : 0), about);
    } else {
        // the next attempt may be the one that fails by itself
        assert.ok(row.attempt > then.attempt && row.attempt <= then.attempt + 2, about);
    }
}

/** The zombie: what has ended without it stays as it is. */
async function wakes(lane, victim, asked, told) {
    const ids = asked.map(({ run }) => run);
    const state = async () => JSON.stringify([
        await lane.rows(ids), await lane.query('select id, content from messages where run_id = any($1)', [ids]),
        await Promise.all(asked.map(({ thread }) => stack.redis.client.xrange(`{thread:${thread}}:log`, '-', '+')))]);
    const before = await state();
    victim.child.kill('SIGCONT');
    if (!told) victim.child.kill('SIGTERM'); // a second one would end it at once
    await victim.child.exit;
    assert.equal(victim.child.code, 0, victim.child.tail());
    assert.equal(await state(), before, `the zombie changed something\n${victim.child.tail()}`);
}

/** @param {Lane} lane @param {string} point @param {string} seed @param {'kill' | 'stop'} [fate] */
async function killedAt(lane, point, seed, fate = 'kill') {
    const nth = 1 + Math.floor(random(`${seed} ${point}`)() * 3);
    for (const name of scenariosFor(point)) {
        for (const pass of new Set([nth, 1])) {
            if (await dies(lane, point, seed, name, pass, fate)) return `${name}, pass ${pass}`;
        }
    }
    throw new Error(`no worker ever came to the point ${point}`);
}

const picked = (points) => points.filter((point) =>
    process.env.THREADCAST_POINTS?.split(',').includes(point) ?? true);

// --- all of them ----------------------------------------------------------------------------

test('the points are there', () => {
    assert.ok(POINTS.length >= 20, `${POINTS.length} points: ${POINTS}`);
    const program = fs.readFileSync(path.join(BIN, 'threadcast-worker'));
    assert.ok(program.includes('THREADCAST_KILL_POINT'),
              'this worker was built without -DTHREADCAST_KILL_POINTS=ON (the presets asan and dev have it)');
});

/** Each job by whichever lane is free; every failure is told. */
async function spread(t, jobs) {
    const waiting = [...jobs];
    await Promise.all(lanes.map(async (lane) => {
        for (let job = waiting.shift(); job; job = waiting.shift()) {
            const { name, body } = job;
            const began = performance.now();
            await t.test(name, async (one) => {
                const how = await body(lane);
                one.diagnostic(`${how}, ${Math.round(performance.now() - began)} ms`);
            });
        }
    }));
}

for (const seed of SEEDS) {
    test(`kill -9 at each point, seed ${seed}`, { concurrency: LANES }, (t) => spread(t, picked(POINTS).map((point) => ({
        name: `${point}, seed ${seed}`, body: (lane) => killedAt(lane, point, seed) }))));
}

// the same points, but asleep past the lease: what wakes up there may change nothing
const ASLEEP = FULL ? POINTS : ['token-queued', 'publish-sent', 'agent-done', 'finish-answered', 'end-sent'];
test('a zombie wakes at these points', { concurrency: LANES }, (t) => spread(t, picked(ASLEEP).map((point) => ({
    name: `${point}, asleep`, body: (lane) => killedAt(lane, point, SEEDS[0], 'stop') }))));

// and that all this would be seen: each of these takes one protection away
test('without the sweep, an end that was committed is not published', () => lanes[0].sabotaged(
    'unpublished_ends', /SELECT \* FROM runs WHERE/, 'SELECT * FROM runs WHERE false AND',
    () => assert.rejects(dies(lanes[0], 'finish-answered', '1', 'answers', 1, 'kill'), /committed and published/)));

test('without another attempt, what two workers say is one run', () => lanes[0].sabotaged(
    'claim_runs', /SET attempt = attempt \+ 1(?=, failures = failures \+ 1,\s+worker)/, 'SET attempt = attempt',
    () => assert.rejects(dies(lanes[0], 'publish-answered', '1', 'answers', 1, 'kill'), /text|attempt/)));

test('without taking over, what a dead worker held stays as it is', () => lanes[0].sabotaged(
    'claim_runs', /failures \+ 1 < p_max/, 'failures + 1 < p_max AND false',
    () => assert.rejects(dies(lanes[0], 'agent-done', '1', 'answers', 1, 'kill'), /committed and published/)));
