// Raw HTTP against the bridge: as many answers as expected, these, and then the end.
//
// A row has `status` and `code` (one refusal, and the bridge closes by itself), or
// `answers`, the statuses in their order (we close our side behind the last byte).

import assert from 'node:assert/strict';
import { raw } from '../e2e/lib/raw.mjs';
import { metricsOf } from './ask.mjs';
import { bytesOf, casesOf, splits } from './cases.mjs';

const AT_ONCE = 24;

/** @typedef {import('./cases.mjs').Case} Case */
/** @typedef {import('./steady.mjs').Steady} Steady */

/** @param {string} text the body of the first answer */
function codeOf(text) {
    const body = text.slice(text.indexOf('\r\n\r\n') + 4);
    return JSON.parse(body).error.code;
}

/**
 * @param {number} port
 * @param {Case} row
 * @param {Buffer[]} parts
 */
async function replay(port, row, parts) {
    const answer = await raw(port, parts, { half: row.answers !== undefined });
    const what = `${row.name} in ${parts.length} (first ${parts[0]?.length}): ${answer.text.slice(0, 600)}`;
    // whether somebody who expects 100 is told so depends on what has come by then
    const final = (/** @type {number[]} */ statuses) => statuses.filter((status) => parts.length === 1 || status !== 100);
    assert.deepEqual(final(answer.statuses), final(row.answers ?? [row.status]), what);
    assert.ok(answer.closed, what);
    if (row.code) assert.equal(codeOf(answer.text), row.code, what);
}

/**
 * Work for many, a few at a time.
 * @template T
 * @param {T[]} items
 * @param {(item: T) => Promise<void>} work
 */
export async function each(items, work, atOnce = AT_ONCE) {
    const left = [...items];
    await Promise.all(Array.from({ length: atOnce }, async () => {
        for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item);
    }));
}

/**
 * Every row whole, one after the other: each refusal is counted, once.
 * @param {import('../e2e/harness.mjs').Bridge} bridge
 * @param {Steady} steady
 */
export async function replayWhole(bridge, steady) {
    const refused = async () => (await metricsOf(bridge.port)).http_refused_total;
    for (const row of casesOf('http')) {
        const before = await refused();
        await replay(bridge.port, row, [bytesOf('http', row)]);
        const rise = row.code || row.answers.includes(400) ? 1 : 0;
        assert.equal(await refused() - before, rise, `${row.name}: how often it was counted`);
        await steady.row(row.name, { bridge });
    }
}

/**
 * Every row, the ways to cut it at once.
 * @param {import('../e2e/harness.mjs').Bridge} bridge
 * @param {Steady} steady
 * @param {{ short: number, cuts: number, draw: () => number }} how
 */
export async function replaySplit(bridge, steady, how) {
    let count = 0;
    for (const row of casesOf('http')) {
        const ways = splits(bytesOf('http', row), how);
        await each(ways, (parts) => replay(bridge.port, row, parts));
        await steady.row(`${row.name}, cut`, { bridge });
        count += ways.length;
    }
    return count;
}
