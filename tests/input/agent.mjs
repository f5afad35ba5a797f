// What a program says that runs as an agent. It is played by play.py from the same table.
//
// A row has bytes, `end` (`done`, or the code of the error), `text` (a string or parts; of
// the answer, for readers and in the record), `bad` lines counted, `after`: something behind
// the end was counted; `reason`: finishReason. `bytewise`: one write a byte. `full`: only
// with THREADCAST_FULL; `stderr`, `logged`: a text there, and how it stands in the log;
// `statuses`, `usage`: what the events must say besides.

import assert from 'node:assert/strict';
import { until } from '../e2e/lib/until.mjs';
import { ask, metricsOf, metricsPort, rises } from './ask.mjs';
import { casesOf, made } from './cases.mjs';

/** @typedef {import('../e2e/harness.mjs').Stack} Stack */
/** @typedef {import('./steady.mjs').Steady} Steady */

/** @param {Stack} stack @param {import('./cases.mjs').Case} row */
async function replay(stack, row) {
    const thread = await stack.thread();
    const port = metricsPort(stack);
    const token = stack.token();
    let end = /** @type {any} */ (null);
    let text = '';
    /** @type {any[]} */
    let events = [];
    let record;
    const rose = await rises(() => metricsOf(port), async () => {
        const posted = await ask(stack.bridge.port, 'POST', `/v1/threads/${thread}/messages`, {
            token, headers: [['Content-Type', 'application/json']],
            body: JSON.stringify({ content: row.name, agent: 'play' }) });
        const { cursor, runId, runs } = posted.json;
        const stream = stack.threadEvents(thread, `since=${cursor}`);
        end = (await stream.next((event) => ['done', 'error'].includes(event.json?.type))).json;
        await stack.ended(runId);
        text = stream.text(runId);
        events = stream.json;
        record = await stack.messageText(runs[0].messageId);
        // whatever a line says of itself, what is published says whose it is
        const whose = { threadId: thread, runId, agentId: 'play', messageId: runs[0].messageId, attempt: 1 };
        for (const event of events) assert.deepEqual(Object.fromEntries(Object.keys(whose).map((name) => [name, event[name]])), whose, row.name);
        const numbers = events.map((event) => Number(event.id.split('-')[1]));
        assert.ok(numbers.every((n, i) => i === 0 || n > numbers[i - 1]), `${row.name}: ${numbers}`);
        stream.close();
    });
    const wanted = made([row.text ?? ''].flat()).toString('utf8');
    assert.equal(end.type === 'done' ? 'done' : end.content.code, row.end, `${row.name}: ${JSON.stringify(end)}`);
    assert.equal(text.length, wanted.length, `${row.name}: ${text.slice(0, 300)}`);
    assert.ok(text === wanted && (record ?? '') === wanted, `${row.name}: ${text.slice(0, 300)} | ${String(record).slice(0, 300)}`);
    assert.equal(rose.agent_bad_lines_total ?? 0, row.bad ?? 0, `${row.name}: ${JSON.stringify(rose)}`);
    assert.equal((rose.agent_after_end_total ?? 0) > 0, row.after ?? false, `${row.name}: ${JSON.stringify(rose)}`);
    if (row.logged) await until(() => stack.worker.output.includes(row.logged), { what: `${row.name} in the log` });
    if (row.reason) assert.equal(end.content.finishReason, row.reason, row.name);
    if ('usage' in row) assert.deepEqual(end.content.usage, row.usage ?? undefined, row.name);
    if (row.statuses) {
        const said = events.filter((event) => event.type === 'status').map((event) => event.content.status);
        assert.deepEqual(said, row.statuses, row.name);
    }
}

/** @param {Stack} stack @param {Steady} steady @param {boolean} full */
export async function replayAgents(stack, steady, full) {
    for (const row of casesOf('agent').filter((one) => full || !one.full)) {
        await replay(stack, row);
        await steady.row(row.name, { worker: true });
    }
}
