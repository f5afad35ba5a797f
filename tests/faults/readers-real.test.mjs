// The farm and its agent against the real daemons: a thousand readers, fifty runs of every
// kind, connections cut, stalled and half closed all the while, and a bridge that restarts.
// What the readers saw is compared with Postgres.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Stack, until, withLogs } from '../e2e/harness.mjs';
import { Farm, program } from './readers/farm.mjs';

const SEED = Number(process.env.THREADCAST_SEED ?? 20_261);
const READERS = Number(process.env.THREADCAST_READERS ?? 1000);
const THREADS = 10;
const RUNS = 50;
const PATIENCE = 90_000;
/** every one of them, again and again */
const ENDS = ['done', 'error', 'done', 'retry', 'exit1', 'done', 'signal', 'done', 'close', 'done'];

/** @type {Stack} */
let stack;

before(async () => {
    stack = await Stack.start({ bridges: 2, worker: {
        agent: `exec:exec ${program('faults-agent')} --seed ${SEED}`, concurrency: 64, 'exec-kill-ms': 500 } });
});

after(() => Farm.killAll());

/** @param {string} text */
const sha256 = (text) => createHash('sha256').update(text).digest('hex');

/** Readers of one thread, of two, merged and not, fast and slow. @param {Farm} farm @param {string[]} threads */
function openReaders(farm, threads) {
    for (let i = 0; i < READERS; i++) {
        const own = [threads[i % THREADS], ...(i % 7 === 0 ? [threads[(i + 1) % THREADS]] : [])];
        farm.say(`open ${i} ${own.join(',')} ${stack.token()}${i % 3 === 0 ? ' merge=0' : ''}` +
                 `${i % 50 === 1 ? ' slow=20000' : ''}`);
    }
}

/** @typedef {{ runId: string, messageId: string, thread: string }} Posted */

/** @param {Farm} farm @param {string[]} threads @returns {Promise<Posted[]>} */
async function postRuns(farm, threads) {
    return Promise.all(Array.from({ length: RUNS }, async (_, i) => {
        const thread = threads[i % THREADS];
        const answer = await stack.request('POST', `/v1/threads/${thread}/messages`, { json: {
            content: `pieces=100 rate=40 end=${ENDS[i % ENDS.length]}`, mode: 'parallel' } });
        assert.equal(answer.status, 202, answer.text);
        farm.say(`run ${thread} ${answer.json.runId} 100`);
        return { ...answer.json, thread };
    }));
}

/** @param {Posted[]} runs */
const open = async (runs) => stack.pg.query(
    `select id, thread_id, status, attempt, worker, lease_until, error from runs
     where id = any($1) and end_published_at is null`, [runs.map((run) => run.runId)]);

/** What every reader saw against the record. @param {Posted[]} runs @param {any[]} rows */
async function compare(runs, rows) {
    for (const { runId } of runs) {
        const row = await stack.run(runId);
        const content = await stack.messageText(row.reply_id);
        const seen = rows.filter((one) => one.run === runId);
        assert.ok(seen.length >= READERS / THREADS, `run ${runId} has ${seen.length} readers`);
        for (const one of seen) {
            assert.equal(one.outcome, row.status === 'failed' ? 'error' : row.status, JSON.stringify(one));
            assert.equal(one.attempt, row.attempt, JSON.stringify(one));
            assert.equal(one.joined, true, JSON.stringify(one));
            assert.equal(one.sha256, sha256(content ?? ''), JSON.stringify(one));
        }
    }
}

test(`${READERS} readers see ${RUNS} runs as they are (seed ${SEED})`, async () => withLogs(() => stack, async () => {
    const threads = await Promise.all(Array.from({ length: THREADS }, () => stack.thread()));
    const farm = Farm.start({ seed: SEED });
    farm.say(`ports ${stack.bridges.map((bridge) => bridge.port)}`);
    openReaders(farm, threads);
    await farm.reached((now) => now.live === READERS, PATIENCE);
    const runs = await postRuns(farm, threads);
    let round = 0;
    await until(async () => {
        farm.say(['cut 0.1', 'stall 0.05 300', 'half 0.02', 'cut 0.02'][round++ % 4]);
        if (round === 6) await stack.bridges[1].restart();
        const { violations } = await farm.status(PATIENCE);
        return violations || (await open(runs)).length === 0;
    }, { timeout: PATIENCE, every: 200,
         what: async () => `all runs have ended; open: ${JSON.stringify(await open(runs))}` });
    const end = await farm.reached((now) => now.violations || (now.open === 0 && now.live === READERS), PATIENCE);
    const rows = await farm.report(PATIENCE);
    assert.deepEqual(farm.violations, []);
    assert.deepEqual(farm.resets, []);
    assert.deepEqual(farm.refusals, []);
    assert.ok(end.cut > 0 && end.reconnects >= end.cut, JSON.stringify(end));
    await compare(runs, rows);
    assert.equal(await farm.quit(), 0, farm.complaints);
    console.log(`# ${JSON.stringify(end)}`);
}));

test('an agent that floods is stopped, and its text is right as far as it goes', async () => withLogs(() => stack, async () => {
    const thread = await stack.thread();
    const worker = await stack.startWorker({ agent: `exec:exec ${program('faults-agent')} --seed ${SEED}`,
                                             'run-max-bytes': 300_000, 'exec-kill-ms': 500 });
    stack.worker.forgiven = true;
    await stack.worker.stop();
    const farm = Farm.start({ seed: SEED });
    farm.say(`ports ${stack.bridge.port}`).say(`open-many 0 20 ${thread} ${stack.token()} merge=0`);
    await farm.reached((now) => now.live === 20);
    const flood = await stack.post(thread, 'pieces=10 rate=0 end=flood');
    farm.say(`run ${thread} ${flood.runId} 10`);
    await farm.settled(PATIENCE);
    const hang = await stack.post(thread, 'pieces=10 rate=0 end=hang');
    farm.say(`run ${thread} ${hang.runId} 10`);
    await farm.reached((now) => now.events > 0);
    await stack.request('POST', `/v1/runs/${hang.runId}/cancel`);
    await farm.settled(PATIENCE);
    const rows = await farm.report();
    assert.deepEqual(farm.violations, []);
    assert.deepEqual([...new Set(rows.map((row) => `${row.run === flood.runId} ${row.outcome} ${row.code}`))],
                     ['true error too_large', 'false cancelled cancelled']);
    assert.ok(rows.every((row) => row.joined));
    assert.equal(await farm.quit(), 0);
    assert.ok(worker.child.running);
}));
