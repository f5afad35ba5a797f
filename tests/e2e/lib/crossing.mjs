// What has to get across somebody's proxy: a session, tokens one by one, keepalives, a
// reader that comes back, a restart of the bridge, a cancelled run; and that nobody stays
// behind in the bridge. No token is published before the one in front of it was read.

import assert from 'node:assert/strict';
import http from 'node:http';
import zlib from 'node:zlib';
import { ScriptRun } from './publisher.mjs';
import { SseParser } from './sse.mjs';
import { until } from './until.mjs';

/** @typedef {import('../harness.mjs').Stack} Stack */
/** @typedef {import('../harness.mjs').Bridge} Bridge */
/** @typedef {import('./fronts.mjs').Front} Front */
/** @typedef {{ stack: Stack, bridge: Bridge, front: Front }} Crossing a bridge and who stands in front */
/** @typedef {Record<string, string>} Headers */

/** @param {any[]} events */
const words = (events) => events.filter(({ type }) => type === 'token').map(({ content }) => content);

/**
 * What a page does: a session for its token, and from then on the cookie alone.
 * @param {Crossing} at
 * @returns {Promise<Headers>}
 */
async function signIn({ stack, front }) {
    const answer = await front.fetch('/v1/session', {
        method: 'POST', headers: { ...stack.authorization(), Origin: front.origin } });
    assert.equal(answer.status, 200, await answer.text());
    const cookie = answer.headers.get('set-cookie') ?? '';
    assert.match(cookie, /; HttpOnly; SameSite=Strict$/, 'not Secure: the page is on plain HTTP on this machine');
    return { Cookie: cookie.split(';')[0], Origin: front.origin };
}

/**
 * What EventSource does: comes back with its last id, until `enough`. Answers the events.
 * @param {(last: string) => import('./sse.mjs').SseStream} open
 * @param {(seen: any[]) => boolean} enough
 */
async function follow(open, enough, seen = []) {
    let last = '';
    await until(async () => {
        const stream = open(last);
        let at = 0;
        await until(() => {
            for (; at < stream.messages.length; at++) {
                seen.push(stream.messages[at].json);
                last = stream.messages[at].id;
            }
            // nginx over HTTP/1.0, and Caddy, make a clean end of one that was none
            return stream.ending || stream.complete || (stream.status && stream.status !== 200) || enough(seen);
        });
        stream.close();
        return enough(seen);
    }, { every: 50, what: () => `enough of ${JSON.stringify(seen)}` });
    return seen;
}

/** Nobody reads there any more. @param {Crossing} at @param {string} what */
export const empty = ({ bridge }, what) =>
    until(async () => (await bridge.metrics()).threadcast_bridge_clients === 0, { what });

/** A stream with the cookie. @param {Crossing} at @param {string} thread @param {Headers} headers */
const opener = ({ stack, front }, thread, headers) => (query = '', lastEventId = '') =>
    stack.threadEvents(thread, query, { bridge: front, token: null, headers, ...(lastEventId && { lastEventId }) });

/** @param {Crossing} at @param {Headers} headers */
async function tokensPass(at, headers) {
    const thread = await at.stack.thread();
    const open = opener(at, thread, headers);
    const stream = open('since=0');
    assert.equal(await stream.opened(), 200);
    assert.equal(stream.headers['content-type'], 'text/event-stream');
    assert.ok(!stream.headers['content-encoding'], 'nobody asked for gzip');
    const run = new ScriptRun(at.stack.redis.client, thread);
    await run.begin();
    await stream.type('status');
    for (const word of ['one ', 'two ', 'three ']) {
        await run.tokens(word);
        assert.equal((await stream.type('token')).json.content, word);
    }
    await until(() => stream.comments.filter((text) => text === 'keepalive').length >= 2, { what: 'keepalives pass' });
    assert.equal(stream.ending, '');
    stream.close();
    await empty(at, 'the bridge knows that the reader has gone');
    await run.tokens('four ', 'five ');
    const resumed = open('merge=0', stream.lastEventId);
    assert.equal((await resumed.type('token')).json.content, 'four ');
    assert.equal((await resumed.type('token')).json.content, 'five ');
    resumed.close();
    return run;
}

/** The bridge is started anew under a reader. @param {Crossing} at @param {Headers} headers @param {ScriptRun} run */
async function restartPasses(at, headers, run) {
    const open = opener(at, run.thread, headers);
    /** @type {any[]} */
    const seen = [];
    const whole = follow((last) => open('since=0&merge=0', last), (all) => all.at(-1)?.type === 'done', seen);
    await until(() => words(seen).length === 5, { what: 'the reader is there' });
    const restarted = at.bridge.restart();
    await run.tokens('six ');
    await restarted;
    await run.tokens('seven');
    await run.done();
    assert.equal(words(await whole).join(''), run.text, 'nothing is missing and nothing comes twice');
}

/** A prompt, and the end of its answer before it was there. @param {Crossing} at @param {Headers} headers */
async function cancels(at, headers) {
    const thread = await at.stack.thread();
    const send = async (/** @type {string} */ to, /** @type {object} */ body) => {
        const post = () => at.front.fetch(to, {
            method: 'POST', headers: { ...headers, 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
        // a proxy whose checks met the restart takes some seconds to believe that it is over
        let answer = await post();
        await until(async () => answer.status !== 503 || (answer = await post()).status !== 503, { every: 200, what: () => to });
        assert.equal(answer.status, 202, await answer.clone().text());
        return answer.json();
    };
    const { cursor, runId } = await send(`/v1/threads/${thread}/messages`, { content: 'Tell me a long story.' });
    const stream = opener(at, thread, headers)(`since=${cursor}`);
    await stream.type('token');
    await send(`/v1/runs/${runId}/cancel`, {});
    assert.equal((await stream.type('done')).json.content.finishReason, 'cancelled');
    stream.close();
    await empty(at, 'the last reader has gone');
}

/** All of it. @param {Crossing} at */
export async function crosses(at) {
    const headers = await signIn(at);
    const run = await tokensPass(at, headers);
    await restartPasses(at, headers, run);
    await cancels(at, headers);
}

/** A reader that takes compressed answers: what was sent so far can be read so far.
 *  @param {Crossing} at */
export async function crossesCompressed({ stack, front }) {
    const thread = await stack.thread();
    const parser = new SseParser();
    /** @type {string[]} */
    const got = [];
    /** @type {string | undefined} */
    let encoding;
    /** @type {http.ClientRequest | undefined} */
    let request;
    // comes again after `busy`, as browsers do: on a slow machine Redis may be silent for a second
    const open = () => {
        request = http.get({
            port: front.port, host: '127.0.0.1', path: `/v1/threads/${thread}/events?since=0`, agent: false,
            headers: { ...stack.authorization(), 'Accept-Encoding': 'gzip, deflate' },
        }, (answer) => {
            encoding = answer.headers['content-encoding'];
            const plain = encoding ? answer.pipe(zlib.createUnzip({ flush: zlib.constants.Z_SYNC_FLUSH })) : answer;
            plain.on('data', (bytes) => {
                const events = parser.feed(bytes);
                got.push(...words(events.map(({ json }) => json)));
                if (events.some(({ event }) => event === 'busy')) open();
            });
            plain.on('error', () => {}); // it is cut in the end
        });
        request.on('error', () => {});
    };
    open();
    const run = new ScriptRun(stack.redis.client, thread);
    await run.begin();
    for (let n = 1; n <= 3; n++) {
        await run.tokens(`${n} `);
        await until(() => got.length === n, { what: () => `${n} words, ${encoding}: ${JSON.stringify(got)}` });
    }
    await run.done();
    request?.destroy();
    return encoding;
}
