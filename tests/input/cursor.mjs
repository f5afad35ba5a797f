// Positions and names: what is no position is `reset`, whatever it is, and says nothing of
// other threads; what is no thread's name is 400.
//
// A row has `since` (as it stands in the address) or `header` (Last-Event-ID, raw) and `says`,
// the first named event, or `answers`; `{own}` is the last id of the thread, `{theirs}` of another
// thread, `{gone}` one that the log has dropped; `id`: it is written as an id is. Or it has `thread`, as it stands in the path and
// in `?thread=`, and `status` and `code` (`query` where the latter differ).

import assert from 'node:assert/strict';
import { ScriptRun } from '../e2e/lib/publisher.mjs';
import { ask } from './ask.mjs';
import { casesOf, made } from './cases.mjs';

/** @typedef {import('../e2e/harness.mjs').Stack} Stack */
/** @typedef {import('./steady.mjs').Steady} Steady */
/** @typedef {{ own: string, theirs: string, gone: string }} Known */

const READER = { sub: 'ann', read: ['cur*'] };

/** @type {Set<string>} what was said of ids that are not in the log, and of what is no id */
const unknown = new Set();
/** @type {Set<string>} */
const malformed = new Set();

/** A thread with six events, of which the last three are in its log.
 *  @param {Stack} stack @returns {Promise<Known>} */
async function prepare(stack) {
    const runs = ['cur.own', 'cur.theirs'].map((thread) => new ScriptRun(stack.redis.client, thread));
    const [own, theirs] = await Promise.all(runs.map(async (run) => {
        await run.begin();
        await run.tokens('a', 'b', 'c', 'd');
        return (await run.done())[2];
    }));
    const log = '{thread:cur.own}:log';
    const gone = (await stack.redis.client.xrange(log, '-', '+'))[0][0];
    await stack.redis.client.xtrim(log, 'MINID', own.replace(/-\d+$/, '-4'));
    return { own, theirs, gone };
}

/** @param {any} given a text or parts @param {Known} known */
function filled(given, known) {
    const text = typeof given === 'string' ? given : made(given).toString('latin1');
    return text.replace(/\{(own|theirs|gone)\}/g, (_, name) => known[/** @type {keyof Known} */ (name)])
        .replace(/\{epoch\}/g, known.own.split('-')[0]);
}

/** @param {Stack} stack @param {import('./cases.mjs').Case} row @param {Known} known */
async function replayPosition(stack, row, known) {
    const lastEventId = row.header === undefined ? undefined : filled(row.header, known);
    const query = row.since === undefined ? '' : `since=${filled(row.since, known)}`;
    const stream = stack.threadEvents('cur.own', query, { ...READER,
        headers: lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId } });
    assert.equal(await stream.opened(), row.status ?? 200, `${row.name}: ${stream.raw}`);
    if (!row.status) {
        const first = await stream.next();
        assert.equal(first.event, row.says, `${row.name}: ${stream.body}`);
        if (row.says === 'reset') {
            const { reason, threadId } = first.json;
            assert.equal(threadId, 'cur.own', row.name);
            (row.id ? unknown : malformed).add(reason);
        }
        const named = /[\r\n](event|id): ([^\r\n]*)/g;
        for (const [, field, value] of stream.body.matchAll(named))
            assert.match(value, field === 'id' ? /^\d+-\d+$/ : /^(reset|ready)$/, row.name);
    }
    stream.close();
}

/** @param {Stack} stack @param {Steady} steady */
export async function replayPositions(stack, steady) {
    const known = await prepare(stack);
    for (const row of casesOf('cursor').filter((one) => one.thread === undefined)) {
        await replayPosition(stack, row, known);
        await steady.row(row.name);
    }
    // whether an id was here, is another thread's or of the future: the same words
    assert.equal(unknown.size, 1, [...unknown].join(' | '));
    assert.equal(malformed.size, 1, [...malformed].join(' | '));
}

/** @param {Stack} stack @param {Steady} steady */
export async function replayNames(stack, steady) {
    const token = stack.token({ sub: 'ann', read: ['*'], write: ['*'] });
    const before = await stack.redis.client.dbsize();
    for (const row of casesOf('cursor').filter((one) => one.thread !== undefined)) {
        const name = filled(row.thread, { own: '', theirs: '', gone: '' });
        for (const [method, target, wanted] of [
            ['GET', `/v1/threads/${name}/events`, [row.status, row.code]],
            ['GET', `/v1/threads/${name}/messages`, [row.status, row.code]],
            ['POST', `/v1/threads/${name}/events`, [row.status, row.code]],
            ['DELETE', `/v1/threads/${name}`, [row.status, row.code]],
            ['GET', `/v1/events?thread=cur.own&thread=${name}`, row.query ?? [row.status, row.code]],
        ]) {
            const answer = await ask(stack.bridge.port, /** @type {string} */ (method), /** @type {string} */ (target), {
                token, ...(method === 'POST' && { body: '{"type":"token","content":"x"}',
                                                  headers: [['Content-Type', 'application/json']] }) });
            assert.deepEqual([answer.status, answer.code], wanted, `${row.name}: ${method} ${target}`.slice(0, 300));
            assert.equal(answer.statuses.length, 1, row.name);
        }
        await steady.row(row.name);
    }
    assert.equal(await stack.redis.client.dbsize(), before, 'no name became a key');
}
