// Paths, queries and headers of single routes: what is no answer of theirs is a 4xx with a
// stable code, and what is one tells nothing that it should not.
//
// A row has `to` (method and target; `query`: parts that go behind it), `status`, `code`;
// `token`: `ann`'s, one with the right `probe`, a `broken` one, or none; `headers` (name, parts);
// a body by `make`. `has` and `hasnot` are texts of the answer's body.

import assert from 'node:assert/strict';
import { ask } from './ask.mjs';
import { casesOf, made } from './cases.mjs';

/** @typedef {import('../e2e/harness.mjs').Stack} Stack */
/** @typedef {import('./steady.mjs').Steady} Steady */

/** @param {Stack} stack @returns {Record<string, string | undefined>} */
function tokens(stack) {
    const probe = stack.secret(stack.signer.token({
        sub: 'ops', exp: Math.floor(Date.now() / 1000) + 3600, threadcast: { probe: true } }));
    const ann = stack.token({ sub: 'ann' });
    return { ann, probe, broken: `${ann.slice(0, -3)}AAA` };
}

/** Every row, one after the other. @param {Stack} stack @param {Steady} steady */
export async function replayRoutes(stack, steady) {
    const known = tokens(stack);
    for (const row of casesOf('route')) {
        const [method, target] = row.to.split(' ');
        const answer = await ask(stack.bridge.port, method, target + (row.query ? made(row.query) : ''), {
            token: known[row.token], body: row.make && made(row.make),
            headers: [...(row.make ? [/** @type {[string, string]} */ (['Content-Type', 'application/json'])] : []),
                      ...(row.headers ?? []).map((/** @type {[string, any]} */ [name, parts]) => [name, made(parts)])] });
        const what = `${row.name}: ${answer.text.slice(0, 600)}`;
        assert.deepEqual(answer.statuses, [row.status], what);
        if (row.code) assert.equal(answer.code, row.code, what);
        if (row.has) assert.ok(answer.body.includes(row.has), what);
        if (row.hasnot) assert.ok(!answer.body.includes(row.hasnot), what);
        await steady.row(row.name);
    }
}
