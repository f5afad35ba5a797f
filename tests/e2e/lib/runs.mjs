// What tests of the worker alone share: workers that end with their test, runs begun with
// plain SQL, and what the log and the tables say of them.

import assert from 'node:assert/strict';
import { PATIENCE_MS, until } from './until.mjs';

const isBeginning = (event) => event.type === 'status' && ['started', 'rewind'].includes(event.content.status);
export const isEnd = (event) => ['done', 'error'].includes(event.type);
export { isBeginning };

/** What counts: the events from the last beginning on. */
export function counting(all) {
    const last = all.findLastIndex(isBeginning);
    assert.ok(last >= 0, 'an attempt begins with started or rewind');
    return all.slice(last);
}

/** @param {() => import('../harness.mjs').Stack} stackOf */
export function runsOf(stackOf) {
    /** Workers of one test: stopped when it ends, whatever came of it. */
    function workers(t) {
        const started = [];
        t.after(async () => {
            await Promise.all(started.filter(({ child }) => child.running).map(({ child }) => {
                child.kill('SIGCONT');
                return child.stop('SIGTERM');
            }));
            for (const { child, forgiven } of started) if (!forgiven) assert.equal(child.code, 0, child.tail(80));
        });
        return async (options = {}, env = {}) => {
            const worker = await stackOf().startWorker({ 'poll-ms': 200, 'lease-ms': 1500, 'demo-rate': 0, ...options }, env);
            started.push(worker);
            return worker;
        };
    }

    /** Inserts a prompt with plain SQL, as an application may; answers its run. */
    async function ask(thread, content, agent) {
        const metadata = agent ? { agent } : {};
        const [message] = await stackOf().pg.query(
            `insert into messages (thread_id, role, content, metadata) values ($1, 'user', $2, $3) returning id`,
            [thread, content, metadata]);
        const [row] = await stackOf().pg.query('select id, reply_id from runs where message_id = $1', [message.id]);
        return { thread, run: row.id, reply: row.reply_id };
    }

    /** A run on a thread of its own. */
    async function begin(content, agent) {
        return ask(await stackOf().thread(), content, agent);
    }

    /** What a thread's log holds of a run. */
    async function events({ thread, run }) {
        const entries = await stackOf().redis.client.xrange(`{thread:${thread}}:log`, '-', '+');
        return entries.map(([id, fields]) => {
            const event = JSON.parse(fields[1]);
            assert.equal(event.id, id, 'the id inside is the entry\'s');
            return event;
        }).filter((event) => event.runId === run);
    }

    const textOf = (all) => counting(all).filter((event) => event.type === 'token').map((event) => event.content).join('');

    /** Waits until a run has reached at least `count` pieces of text in the log. */
    const streams = (asked, count = 3) => until(
        async () => (await events(asked).catch(() => [])).filter((event) => event.type === 'token').length >= count,
        { what: () => `run ${asked.run} streams\n${stackOf().logs(20)}` });

    /** The run has ended in both places, alike, once. */
    async function endsWell(asked, status = 'done') {
        const row = await until(async () => {
            const found = await stackOf().run(asked.run);
            return found?.end_published_at ? found : null;
        }, { timeout: 3 * PATIENCE_MS, what: () => `the end of ${asked.run} is published\n${stackOf().logs(40)}` });
        assert.equal(row.status, status, JSON.stringify(row));
        const all = await events(asked);
        const ends = all.filter(isEnd);
        assert.equal(ends.length, 1, 'one end');
        assert.equal(all.at(-1), ends[0], 'nothing follows the end');
        assert.equal(ends[0].type, status === 'failed' ? 'error' : 'done');
        assert.equal(ends[0].attempt, row.attempt);
        const record = await stackOf().messageText(asked.reply);
        if (status === 'done' || record !== undefined) assert.equal(textOf(all), record);
        for (const event of all) assert.equal(event.messageId, asked.reply);
        return { row, all, text: record };
    }

    return { workers, ask, begin, events, textOf, streams, endsWell };
}
