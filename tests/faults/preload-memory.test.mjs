// Allocations that fail while a prompt is posted, answered and read: the bridge may refuse,
// close a connection or (a control structure) end with a line that says so and be started
// again; it never dies of a signal, accepts what it has to refuse, or corrupts a stream.
//
// Which allocation fails is drawn from THREADCAST_SEED; THREADCAST_FULL=1 goes through all.

import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { ask, Faults, random, Reader } from './preload/control.mjs';
import { PATIENCE_MS, Stack, until, withLogs } from '../e2e/harness.mjs';

const SEED = Number(process.env.THREADCAST_SEED ?? Date.now() % 1_000_000);
const FULL = Boolean(process.env.THREADCAST_FULL);
const SAMPLES = Number(process.env.THREADCAST_SAMPLES ?? 25);
/** how many fail in a row */
const LENGTHS = [1, 1, 1, 7, 200];

/** All numbers up to `last`, or some of them. @param {number} last @param {() => number} draw */
function* places(last, draw) {
    if (FULL) {
        for (let from = 1; from <= last; from++) yield { from, count: 1 };
    }
    for (let i = 0; i < SAMPLES; i++) {
        yield { from: 1 + Math.floor(draw() * last), count: LENGTHS[i % LENGTHS.length] };
    }
}

/** @param {any} daemon starts it again when it is gone; a signal is never the reason */
async function revive(daemon) {
    if (daemon.child.running) return false;
    const { code, signal } = daemon.child;
    assert.equal(signal, null, `killed by ${signal}\n${daemon.child.tail()}`);
    assert.match(daemon.child.output, /memory|allocate/i, `it said why it ended with ${code}`);
    await daemon.start();
    return true;
}

/** What nobody may get, asked while memory is short. */
async function refusals(stack, { port, own, foreign }) {
    const good = stack.token();
    const forged = good.slice(0, -6) + (good.endsWith('AAAAAA') ? 'BBBBBB' : 'AAAAAA');
    const reads = [[own, {}], [own, { Authorization: `Bearer ${forged}` }],
                   [foreign, { Authorization: `Bearer ${good}` }],
                   [own, stack.authorization({ sub: 'mallory' })],
                   [own, stack.authorization({ seconds: -600 })]];
    const answers = await Promise.all(reads.flatMap(([thread, headers]) => [
        ask(port, 'GET', `/v1/threads/${thread}/messages`, { headers }),
        ask(port, 'POST', `/v1/threads/${thread}/messages`, { headers, json: { content: 'x' } }),
        ask(port, 'GET', `/v1/threads/${thread}/events`, { headers }),
    ]));
    for (const [index, { status, text }] of answers.entries()) {
        const what = `request ${index}: ${status} ${text.slice(0, 300)}`;
        // a stream that is refused for now is 200, `busy`, and its end
        if (status === 200 && index % 3 === 2) {
            assert.match(text, /event: busy/, what);
            assert.doesNotMatch(text, /event: ready|^:threadcast|"type"/m, what);
        } else {
            assert.ok([0, 401, 403, 404, 500, 503].includes(status), what);
        }
        assert.doesNotMatch(text, /"messages"|"runId"/, what);
    }
}

/** One prompt with a reader; while memory is short it may be refused. */
async function prompt(stack, thread) {
    const answer = await ask(stack.bridge.port, 'POST', `/v1/threads/${thread}/messages`,
                             { headers: stack.authorization(), json: { content: 'hello' } });
    assert.ok([0, 202, 500, 503].includes(answer.status), `POST: ${answer.status} ${answer.text}`);
    return answer.status === 202 ? JSON.parse(answer.text) : null;
}

/** What a reader saw is what the record says. */
async function compare(stack, reader, { runId, runs }) {
    await until(() => reader.ends(runId).length, { what: () => `the end of ${runId}: ${
        JSON.stringify(reader.events.slice(-2))} ${reader.trouble} ${reader.refusals}` });
    const row = await stack.ended(runId);
    assert.deepEqual(reader.trouble, []);
    assert.equal(reader.ends(runId).length, 1, 'one end');
    assert.equal(reader.text(runId), await stack.messageText(runs[0].messageId) ?? '', 'the same text');
    return row;
}

describe(`memory fails (seed ${SEED})`, () => {
    /** @type {Stack} */
    let stack;
    /** @type {Record<'bridge' | 'worker', Faults>} */
    let faults;
    let foreign = '';
    before(async () => {
        stack = await Stack.start({ bridges: 0, workers: 0 });
        faults = { bridge: Faults.create(stack, 'bridge'), worker: Faults.create(stack, 'worker') };
        await Promise.all([
            stack.startWorker({ 'demo-rate': 5000, 'lease-ms': 1000, 'retry-ms': 50 }, faults.worker.env),
            stack.startBridge({ 'retry-ms': 50 }, faults.bridge.env)]);
        foreign = await stack.thread(undefined, 'bob');
        await stack.post(foreign, 'a secret of bob', { sub: 'bob' });
    });

    /** @param {'bridge' | 'worker'} which @param {{ from: number, count: number }} at */
    async function round(which, at) {
        const thread = await stack.thread();
        const before = await stack.post(thread, 'first');
        const reader = new Reader(() => stack.bridge.port, thread, before.cursor, stack.authorization());
        await until(() => reader.connections && reader.events.length);
        if (at.from) faults[which].failAllocations(at.from, at.count);
        else faults[which].failAllocations(0, 0);
        const [posted] = await Promise.all([
            prompt(stack, thread),
            which === 'bridge' && refusals(stack, { port: stack.bridge.port, own: thread, foreign })]);
        // long enough for what was started to meet the failure; where much fails, little asks
        if (posted) await until(() => reader.ends(posted.runId).length || !stack[which].child.running ||
                                      (at.from && faults[which].get('allocSeen') >= at.from + at.count),
                                { timeout: at.from ? 500 : PATIENCE_MS }).catch((error) => {
                                    if (!at.from) throw error;
                                });
        faults[which].allocationsWork();
        const seen = faults[which].get('allocSeen');
        const died = await revive(stack[which]);
        const rows = [];
        for (const one of [before, ...(posted ? [posted] : [])]) rows.push(await compare(stack, reader, one));
        await reader.close();
        await until(async () => (await stack.bridge.fetch('/readyz')).ok, { what: 'the bridge is ready again' });
        return { seen, died, rows, resets: reader.resets, posted: Boolean(posted) };
    }

    // Not one place, but all the time: what runs on goes on failing here and there.
    test('one in so many, for as long as ten prompts take', () => withLogs(() => stack, async () => {
        const sums = { died: 0, posted: 0, refused: 0 };
        for (const every of FULL ? [1009, 503, 251, 127, 61, 31] : [503, 61]) {
            const failedBefore = faults.bridge.get('allocFailed');
            const thread = await stack.thread();
            const before = await stack.post(thread, 'first');
            const reader = new Reader(() => stack.bridge.port, thread, before.cursor, stack.authorization());
            const runs = [before];
            faults.bridge.set({ allocEvery: every });
            faults.bridge.failAllocations(0, 0);
            for (let i = 0; i < 10; i++) {
                const [posted] = await Promise.all([
                    prompt(stack, thread), refusals(stack, { port: stack.bridge.port, own: thread, foreign })]);
                sums[posted ? 'posted' : 'refused']++;
                if (posted) runs.push(posted);
                sums.died += Number(await revive(stack.bridge));
            }
            faults.bridge.allocationsWork();
            faults.bridge.set({ allocEvery: 0 });
            sums.died += Number(await revive(stack.bridge));
            assert.ok(faults.bridge.get('allocFailed') - failedBefore >= 3, `every ${every}th: some failed`);
            await until(async () => (await stack.bridge.fetch('/readyz')).ok, { what: 'the bridge is ready again' });
            runs.push(await stack.post(thread, 'all is well again'));
            for (const one of runs) await compare(stack, reader, one);
            await reader.close();
        }
        console.log(`one in so many: ${JSON.stringify(sums)}`);
        assert.ok(sums.posted >= 5, `it served on: ${JSON.stringify(sums)}`);
    }));

    for (const which of /** @type {const} */ (['bridge', 'worker'])) {
        test(`in the ${which}, at one place after the other`, () => withLogs(() => stack, async () => {
            const draw = random(SEED);
            const { seen } = await round(which, { from: 0, count: 0 });
            assert.ok(seen > 20, `allocations of one round: ${seen}`);
            const failedBefore = faults[which].get('allocFailed');
            const sums = { rounds: 0, died: 0, resets: 0, refused: 0, failed: 0 };
            for (const at of places(seen, draw)) {
                const result = await round(which, at).catch((error) => {
                    error.message = `at ${JSON.stringify(at)}: ${error.message}`;
                    throw error;
                });
                sums.rounds++;
                sums.died += Number(result.died);
                sums.resets += result.resets;
                sums.refused += Number(!result.posted);
                sums.failed += result.rows.filter((row) => row.status !== 'done').length;
            }
            const failures = faults[which].get('allocFailed') - failedBefore;
            console.log(`${which}: ${seen} allocations a round, ${failures} failed, ${JSON.stringify(sums)}`);
            assert.ok(failures >= SAMPLES / 2, `failures: ${failures}`);
            await round(which, { from: 0, count: 0 });
        }));
    }
});
