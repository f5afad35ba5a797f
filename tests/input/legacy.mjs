// The older interface asked badly, at the root and below /api; and every bad token of
// tests/input/token in its address, where its pages put theirs.
//
// A row has `target` (a text, or parts as in `make`), `method` (GET), `status` and `code`; `nobody`: without a
// token. The reader may read the run `granted` and no other.

import assert from 'node:assert/strict';
import { ask } from './ask.mjs';
import { casesOf, made } from './cases.mjs';
import { tokenOf } from './token.mjs';

/** @typedef {import('../e2e/harness.mjs').Stack} Stack */
/** @typedef {import('../e2e/harness.mjs').Bridge} Bridge */
/** @typedef {import('./steady.mjs').Steady} Steady */

/** @param {Stack} stack @param {Steady} steady @param {Bridge} bridge */
export async function replayLegacy(stack, steady, bridge) {
    const token = stack.token({ sub: 'eve', read: ['agent_run:granted'], write: ['agent_run:granted'] });
    for (const row of casesOf('legacy')) {
        for (const base of ['', '/api']) {
            const target = base + (typeof row.target === 'string' ? row.target : made(row.target));
            const answer = await ask(bridge.port, row.method ?? 'GET', target, row.nobody ? {} : { token });
            assert.deepEqual([answer.statuses, answer.code], [[row.status], row.code], `${base} ${row.name}: ${answer.text}`);
        }
        await steady.row(row.name, { bridge });
    }
}

/** @param {Stack} stack @param {Steady} steady @param {Bridge} bridge that takes ?token= */
export async function replayLegacyTokens(stack, steady, bridge) {
    for (const row of casesOf('token').filter((one) => one.bridge !== 'public')) {
        const token = tokenOf(row, stack.signer, stack.signer);
        if (token.split('.')[2]?.length > 8) stack.secret(token.split('.')[2]);
        const answer = await ask(bridge.port, 'GET', `/agent-run/granted/stream?last_id=x&token=${encodeURIComponent(token)}`);
        const what = `${row.name}: ${answer.text.slice(0, 300)}`;
        // a good one names nobody who may read that run, or the position is refused; one of 4 KiB is too
        // long for an address
        const good = row.status !== undefined && row.status < 300;
        const expected = good && token.length < 3900 ? [400, 403] : good ? [414] : [400, 401, 403, 414];
        assert.equal(answer.statuses.length, 1, what);
        assert.ok(expected.includes(answer.statuses[0]) && answer.code, what);
        if (!good) assert.notEqual(answer.code, 'bad_last_id', `${what}: was let in`);
        await steady.row(row.name, { bridge });
    }
}
