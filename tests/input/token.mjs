// Tokens that must not be taken, made here because they need a key and a clock.
//
// A row has the texts `header` and `claims` (or `token`, the whole of it), in which
// `{now+60}` is a time and `{x*99}` repeats; `key`: whose signature (`ours`, `other`, `pem`:
// an HMAC with the public key's PEM, `none`, `hex`, `bits`: ours, but for
// bits of the last character that mean nothing); `shape`: how the three parts h, c, s are
// put together; `pad`: how long the whole token is made by a claim; `bridge`: `public` for
// the one that checks RS256. It is 401 token_invalid unless the row says something else.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { base64url, Signer } from '../e2e/lib/jwt.mjs';
import { ask, metricsOf, rises } from './ask.mjs';
import { casesOf } from './cases.mjs';
import { each } from './http.mjs';

const WHERE = '/v1/threads/anns/messages';

/** @typedef {import('./steady.mjs').Steady} Steady */

/** @param {string} text */
function filled(text) {
    const now = Math.floor(Date.now() / 1000);
    return text.replace(/\{now([+-]\d+)\}/g, (_, plus) => String(now + Number(plus)))
        .replace(/\{(.)\*(\d+)\}/g, (_, what, times) => what.repeat(Number(times)));
}

/** The same bytes to a decoder that is not strict. @param {string} signature */
function looser(signature) {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    return signature.slice(0, -1) + alphabet[alphabet.indexOf(signature.slice(-1)) ^ 1];
}

/** @param {import('./cases.mjs').Case} row @param {Signer} signer @param {Signer} pem */
export function tokenOf(row, signer, pem) {
    if (row.token !== undefined) return filled(row.token);
    const ours = row.bridge === 'public' ? pem : signer;
    /** @type {Record<string, (input: string) => string>} */
    const keys = {
        ours: (input) => ours.signature(input),
        other: (input) => new Signer('HS256').signature(input),
        pem: (input) => createHmac('sha256', pem.publicPem).update(input).digest('base64url'),
        hex: (input) => createHmac('sha256', signer.secret).update(input).digest('hex'),
        none: () => '',
        bits: (input) => looser(ours.signature(input)),
        empty: (input) => createHmac('sha256', '').update(input).digest('base64url'),
    };
    const make = (/** @type {string} */ claims) => {
        const h = base64url(filled(row.header ?? `{"alg":"${ours.algorithm}","typ":"JWT"}`));
        const c = base64url(filled(claims));
        const s = keys[row.key ?? 'ours'](`${h}.${c}`);
        return (row.shape ?? '{h}.{c}.{s}').replace('{h}', h).replace('{c}', c).replace('{s}', s);
    };
    const claims = row.claims ?? '{"sub":"ann","exp":{now+600}}';
    if (!row.pad) return make(claims);
    let room = row.pad - make(claims.replace('PAD', '')).length;
    while (make(claims.replace('PAD', 'x'.repeat(room))).length > row.pad) room--;
    return make(claims.replace('PAD', 'x'.repeat(room)));
}

/** The ways a token comes in. @type {Record<string, (token: string) => [string, [string, Buffer][]]>} */
const WAYS = {
    bearer: (token) => [WHERE, [['Authorization', Buffer.from(`Bearer ${token}`)]]],
    cookie: (token) => [WHERE, [['Cookie', Buffer.from(`a=b; threadcast_session=${token}; c=d`)]]],
    ticket: (token) => [`/v1/threads/anns/events?ticket=${encodeURIComponent(token)}`, []],
};

/**
 * @param {import('../e2e/harness.mjs').Stack} stack
 * @param {Steady} steady
 * @param {{ bridge: import('../e2e/harness.mjs').Bridge, pem: Signer }} other checks RS256
 */
export async function replayTokens(stack, steady, other) {
    for (const row of casesOf('token')) {
        const token = tokenOf(row, stack.signer, other.pem);
        const bridge = row.bridge === 'public' ? other.bridge : stack.bridge;
        const { port } = bridge;
        if (token.split('.')[2]?.length > 8) stack.secret(token.split('.')[2]);
        for (const way of row.ways ?? ['bearer', 'cookie']) {
            const [target, headers] = WAYS[way](token);
            let answer = /** @type {any} */ (null);
            const rose = await rises(() => metricsOf(port), async () =>
                (answer = await ask(port, 'GET', target.replace('anns', row.thread ?? 'anns'), { headers })));
            const what = `${row.name} as ${way}: ${answer.text.slice(0, 400)}`;
            assert.deepEqual(answer.statuses, [row.status ?? 401], what);
            assert.equal(answer.code, row.status === 200 ? undefined : row.code ?? 'token_invalid', what);
            const counter = row.counts ?? 'refused_total{reason="auth_refused"}';
            if (row.status !== 200) assert.equal(rose[counter], 1, `${what}: ${JSON.stringify(rose)}`);
        }
        await steady.row(row.name, { bridge });
    }
}

/** turned bits between two looks at the bridge */
const TOGETHER = 24;

/** Bits of a text's base64url parts: all of the last part, of the others every `step`-th.
 *  @param {string[]} parts @param {number} step @returns {string[]} */
function turned(parts, step) {
    return parts.flatMap((part, index) => {
        const bytes = Buffer.from(part, 'base64url');
        return Array.from({ length: bytes.length * 8 }, (_, bit) => bit)
            .filter((bit) => index === parts.length - 1 || bit % step === 0)
            .map((bit) => {
                const other = Buffer.from(bytes);
                other[bit >> 3] ^= 1 << (bit & 7);
                return parts.map((one, i) => (i === index ? base64url(other) : one)).join('.');
            });
    });
}

/**
 * Each bit of a good token's signature, and of its other parts every `step`-th, turned; and so
 * with a ticket.
 * @param {import('../e2e/harness.mjs').Stack} stack
 * @param {Steady} steady
 * @param {number} step
 */
export async function replayFlips(stack, steady, step) {
    const { port } = stack.bridge;
    const token = stack.token();
    const made = await ask(port, 'POST', '/v1/tickets', {
        token, headers: [['Content-Type', 'application/json']], body: '{"threads":["anns"]}' });
    const [mark, ...ticket] = String(made.json.ticket).split('.');
    stack.secret(ticket[1]);
    /** @type {[string, { token?: string }][]} */
    const requests = [
        ...turned(token.split('.'), step).map((text) => /** @type {any} */ ([WHERE, { token: text }])),
        ...turned(ticket, step).map((text) => /** @type {any} */ ([`/v1/threads/anns/events?ticket=${mark}.${text}`, {}])),
    ];
    for (let at = 0; at < requests.length; at += TOGETHER) {
        const some = requests.slice(at, at + TOGETHER);
        await each(some, async ([target, options]) => {
            const answer = await ask(port, 'GET', target, options);
            assert.deepEqual([answer.status, answer.code], [401, 'token_invalid'], `${target} ${options.token}`);
        });
        await steady.row(`turned bits ${at} to ${at + some.length - 1}`);
    }
    return requests.length;
}
