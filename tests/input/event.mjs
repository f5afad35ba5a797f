// What anybody who may PUBLISH can put on a thread's channel: dropped and counted, or passed
// on without breaking the framing; ids that are not the next one.
//
// A row has bytes (sent to the channel of `t1`) and `reader`: `nothing`, or `it`, the same JSON
// on one line; `drops`: the reason under which it is counted. `kind: "lost"`: Redis itself
// cuts its subscriber for it, and the bridge comes back. Rows with `id` are events on a thread
// with a live run, whose last event is `{epoch}-{n}`.

import assert from 'node:assert/strict';
import { until } from '../e2e/lib/until.mjs';
import { ScriptRun } from '../e2e/lib/publisher.mjs';
import { metricsOf, rises } from './ask.mjs';
import { bytesOf, casesOf } from './cases.mjs';

/** @typedef {import('../e2e/harness.mjs').Stack} Stack */
/** @typedef {import('../e2e/lib/sse.mjs').SseStream} SseStream */
/** @typedef {import('./steady.mjs').Steady} Steady */

const READER = { sub: 'ann', read: ['*'] };

/** @param {Record<string, number>} rose */
const drops = (rose) => Object.fromEntries(Object.entries(rose)
    .flatMap(([name, by]) => [...name.matchAll(/^drops_total\{reason="(\w+)"\}$/g)].map(([, why]) => [why, by])));

/** Reads up to the next mark; answers what came before it. @param {SseStream} stream @param {string} mark */
async function upTo(stream, mark) {
    /** @type {string[]} */
    const before = [];
    await stream.next((event) => {
        if (event.json?.mark === mark) return true;
        before.push(event.data);
        return false;
    });
    return before;
}

/** @param {Stack} stack @param {SseStream} stream @param {import('./cases.mjs').Case} row */
async function replayRow(stack, stream, row) {
    const bytes = bytesOf('event', row);
    /** @type {string[]} */
    let came = [];
    const rose = await rises(() => metricsOf(stack.bridge.port), async () => {
        await stack.redis.client.publish('thread:t1', bytes);
        await stack.redis.client.publish('thread:t1', JSON.stringify({ mark: row.name }));
        came = await upTo(stream, row.name);
    });
    const line = bytes.toString('utf8').replace(/[\r\n]/g, ' ');
    assert.deepEqual(came, row.reader === 'it' ? [line] : [], row.name);
    assert.deepEqual(drops(rose), row.drops ? { [row.drops]: 1 } : {}, row.name);
    assert.equal(rose.events_in_total, 2, row.name);
}

/** The connection goes, and comes back; bare events meanwhile are nobody's.
 *  @param {Stack} stack @param {SseStream} stream @param {import('./cases.mjs').Case} row */
async function replayLost(stack, stream, row) {
    const rose = await rises(() => metricsOf(stack.bridge.port), async () => {
        await stack.redis.client.publish('thread:t1', bytesOf('event', row));
        await until(async () => {
            await stack.redis.client.publish('thread:t1', JSON.stringify({ mark: row.name }));
            return stream.messages.some((event) => event.json?.mark === row.name);
        }, { what: 'the subscription is back', every: 50 });
    });
    assert.ok(rose.redis_down_total >= 1, JSON.stringify(rose));
}

/** @param {Stack} stack @param {Steady} steady */
export async function replayEvents(stack, steady) {
    const stream = stack.threadEvents('t1', '', READER);
    await stream.named('ready');
    for (const row of casesOf('event').filter((one) => one.id === undefined)) {
        if (row.kind === 'lost') await replayLost(stack, stream, row);
        else await replayRow(stack, stream, row);
        await steady.row(row.name, { streams: 1 });
    }
    stream.close();
}

/** @param {string} text @param {string} epoch @param {number} n */
const filled = (text, epoch, n) => text.replace(/\{epoch([+-]\d+)?\}/g, (_, by) => String(BigInt(epoch) + BigInt(by ?? 0)))
    .replace(/\{n([+-]\d+)?\}/g, (_, by) => String(n + Number(by ?? 0)));

/** @param {Stack} stack @param {import('./cases.mjs').Case} row */
async function replayId(stack, row) {
    const thread = `ids.${row.name}`;
    const stream = stack.threadEvents(thread, '', READER);
    await stream.named('ready');
    const run = new ScriptRun(stack.redis.client, thread);
    const epoch = (await run.begin())[1].split('-')[0];
    await run.tokens('a');
    if (row.ended) await run.done();
    await until(() => stream.messages.length === (row.ended ? 3 : 2), { what: 'what was there before' });
    const event = JSON.stringify({ id: filled(row.id, epoch, run.next - 1), ...run.event('token', 'forged') });
    const rose = await rises(() => metricsOf(stack.bridge.port), async () => {
        await stack.redis.client.publish(`thread:${thread}`, event);
        const later = row.ended ? new ScriptRun(stack.redis.client, thread) : run;
        if (row.ended) await later.begin();
        await later.tokens('b');
        await until(() => stream.text() === 'ab', { what: () => `${row.name}: ${stream.text()}` });
    });
    assert.equal(stream.text().includes('forged'), false, row.name);
    for (const [name, by] of Object.entries(row.rises)) assert.ok(rose[name] >= by, `${row.name}: ${JSON.stringify(rose)}`);
    const numbers = stream.messages.map((message) => Number(message.json.id.split('-')[1]));
    assert.deepEqual(numbers, numbers.map((_, i) => i + 1), `${row.name}: each once, in order`);
    stream.close();
}

/** @param {Stack} stack @param {Steady} steady */
export async function replayIds(stack, steady) {
    for (const row of casesOf('event').filter((one) => one.id !== undefined)) {
        await replayId(stack, row);
        await steady.row(row.name);
    }
}

/** The script is the only way in, and says no behind an end. @param {Stack} stack */
export async function replayAfterEnd(stack) {
    const run = new ScriptRun(stack.redis.client, 'ids.script');
    const stream = stack.threadEvents('ids.script', '', READER);
    await stream.named('ready');
    await run.begin();
    await run.tokens('text');
    await run.done();
    const reply = await run.call('publish', [run.event('token', 'after the end')]);
    assert.equal(reply[0], 'ENDED');
    const again = await run.call('end', [run.event('done', {})]);
    assert.equal(again[0], 'ENDED');
    await stream.type('done');
    await stack.redis.client.publish('thread:ids.script', '{"mark":"end"}');
    assert.deepEqual(await upTo(stream, 'end'), []);
    assert.equal(stream.text(), 'text');
    stream.close();
}
