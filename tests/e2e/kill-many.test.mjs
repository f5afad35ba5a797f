// Two workers under 500 short runs while they are killed, stopped, put to sleep and
// started again at random: 500 ends, each exactly once, each with its text.
//
// THREADCAST_SEEDS=3 shows a seed again; THREADCAST_FULL=1 runs five.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { balances, random, Reader } from './lib/ledger.mjs';

const THREADS = 50;
const PROMPTS = 10;
const HARM_EVERY = 30; // ended runs
const OPTIONS = { 'demo-rate': 1000, concurrency: 16, 'lease-ms': 600, 'poll-ms': 200, 'flush-ms': 10,
                  'max-attempts': 1000, 'drain-ms': 300 };
const SEEDS = (process.env.THREADCAST_SEEDS ?? (process.env.THREADCAST_FULL ? '1,2,3,4,5' : '1')).split(',');

/** A place that always has a worker again, whatever happens to it. */
class Place {
    /** @param {Stack} stack */
    constructor(stack) {
        this.stack = stack;
        this.harmed = { killed: 0, stopped: 0, slept: 0 };
    }

    async fill() {
        this.worker = await this.stack.startWorker(OPTIONS);
    }

    /** @param {number} dice @param {() => Promise<unknown>} meanwhile while it sleeps */
    async harm(dice, meanwhile) {
        const { worker } = this;
        if (dice < 0.6) {
            this.harmed.killed++;
            worker.forgiven = true;
            await worker.kill();
            await this.fill();
        } else if (dice < 0.8) {
            this.harmed.stopped++;
            await worker.stop();
            assert.equal(worker.child.code, 0, worker.child.tail());
            await this.fill();
        } else {
            this.harmed.slept++;
            worker.child.kill('SIGSTOP');
            await meanwhile();
            worker.child.kill('SIGCONT');
        }
    }
}

/** 500 prompts in one statement a thread; half of the threads let them run side by side. */
async function askAll(stack, next) {
    const asked = await Promise.all(Array.from({ length: THREADS }, async (_, i) => {
        const owner = `owner-${i % 7}`;
        const thread = await stack.thread(undefined, owner);
        const headers = stack.authorization({ sub: owner });
        const readers = [new Reader(stack.bridge, thread, headers)];
        if (i % 5 === 0) readers.push(new Reader(stack.bridge, thread, headers, () => 500 + Math.floor(next() * 60_000)));
        await Promise.all(readers.map((reader) => reader.ready()));
        return { thread, readers, mode: i % 2 ? 'parallel' : 'queue', runs: [] };
    }));
    await Promise.all(asked.map(async (one) => {
        const prompts = Array.from({ length: PROMPTS }, (_, n) => `${n} ${'short '.repeat(1 + Math.floor(next() * 4))}`);
        await stack.pg.query(`insert into messages (thread_id, role, content, metadata)
            select $1, 'user', unnest($2::text[]), jsonb_build_object('mode', $3::text)`, [one.thread, prompts, one.mode]);
        const rows = await stack.pg.query('select id, reply_id, agent, message_id from runs where thread_id = $1', [one.thread]);
        one.runs = rows.map((row) => row.id);
        assert.equal(rows.length, PROMPTS);
        for (const reader of one.readers) {
            for (const row of rows) {
                reader.knows({ messageId: row.message_id, runs: [{ runId: row.id, agent: row.agent, messageId: row.reply_id }] });
            }
        }
    }));
    return asked;
}

for (const seed of SEEDS) {
    test(`500 runs, workers die at random, seed ${seed}`, { timeout: 280_000 }, async (t) => {
        const next = random(`many ${seed}`);
        const stack = await Stack.start({ workers: 0 });
        t.after(() => stack.stop());
        const places = [new Place(stack), new Place(stack)];
        const asked = await askAll(stack, next);
        await Promise.all(places.map((place) => place.fill()));
        const began = performance.now();
        const ended = async () => Number((await stack.pg.query(
            `select count(*) as n from runs where end_published_at is not null`))[0].n);
        const reaches = (count) => until(async () => await ended() >= count, {
            timeout: 60_000, every: 20, what: () => `${count} runs have ended\n${stack.logs(15)}` });
        const all = THREADS * PROMPTS;
        for (let mark = HARM_EVERY; mark < all; mark += HARM_EVERY) {
            await reaches(mark);
            await places[Math.floor(next() * 2)].harm(next(), async () => reaches(Math.min(all, await ended() + 30)));
        }
        await reaches(all);
        const took = performance.now() - began;
        const what = () => stack.logs(15);
        let attempts = 0;
        const query = (sql, values) => stack.pg.query(sql, values);
        await Promise.all(asked.map(async ({ thread, readers, runs }) => {
            for (const run of runs) {
                const row = await balances({ query, redis: stack.redis.client, thread, run, readers, what });
                assert.equal(row.status, 'done', JSON.stringify(row));
                attempts += row.attempt;
            }
            readers.forEach((reader) => reader.stop());
        }));
        assert.equal(await ended(), all);
        const answers = await stack.pg.query(`select count(*)::int as n from messages where role = 'assistant'`);
        assert.equal(answers[0].n, all);
        t.diagnostic(`${all} runs, ${attempts} attempts, ${Math.round(took)} ms; ` +
                     places.map(({ harmed }) => JSON.stringify(harmed)).join(' '));
    });
}
