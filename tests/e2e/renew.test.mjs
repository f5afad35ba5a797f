// A stream outlives the credential that it was opened with, as long as somebody vouches for
// it: tickets are renewed by the bridge, tokens by who holds them; and neither for longer.

import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { EventSource } from 'eventsource';
import { claimsOf, Proxy, Stack, until } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const TICKET_S = 4;
/** @type {Stack} */
let stack;
before(async () => {
    const options = { reactors: 2, 'drain-ms': 500, 'retry-ms': 100 };
    // the first one's tickets are short, so that the second has something to renew, and time
    stack = await Stack.start({ workers: 0, bridge: { ...options, 'ticket-max-s': TICKET_S } });
    await stack.startBridge(options);
});

const reader = { read: ['*'] };
const CONNECTION = /^[0-9a-f]{12}-[01]\.[0-9a-f]{32}$/;

/** @param {unknown} json @param {any} [who] @returns {Promise<any>} */
async function ticketOf(json, who = reader) {
    const answer = await stack.request('POST', '/v1/tickets', { ...who, json });
    assert.equal(answer.status, 200, answer.text);
    stack.secret(answer.json.ticket);
    return answer.json;
}

/** A token that the harness makes no claims for. @param {Record<string, unknown>} claims */
function token(claims) {
    const made = stack.signer.token({ ...claimsOf('backend'), ...claims });
    stack.secret(made.split('.')[2]);
    return made;
}

const passed = (/** @type {number} */ moment) =>
    until(() => Date.now() > moment, { what: `${moment} has passed`, timeout: 30_000 });

/** The next `auth` that hands over a ticket. @param {import('./lib/sse.mjs').SseStream} stream */
async function handedOver(stream) {
    const { json } = await stream.next((e) => e.event === 'auth' && e.json.ticket);
    stack.secret(json.ticket);
    return json;
}

// side by side: what they do most is wait for an end
describe('renewal', { concurrency: true }, () => {
    test('a ticket is renewed while its stream lives, and no longer than what it is made from', async () => {
        const seconds = 7;
        const token_end = Date.now() + seconds * 1000;
        const made = await ticketOf({ threads: ['news', 'other'] }, { ...reader, seconds });
        assert.ok(made.expiresAt <= Date.now() + TICKET_S * 1000);
        assert.ok(made.renewableUntil > made.expiresAt && made.renewableUntil <= token_end);
        const to = `/v1/threads/news/events?ticket=`;
        const bridge = stack.bridges[1];
        const stream = stack.events(to + made.ticket, { token: null, bridge });
        const limited = await ticketOf({ threads: ['news'], ttl: TICKET_S });
        assert.equal(limited.renewableUntil, limited.expiresAt);
        const short = stack.events(to + limited.ticket, { token: null, bridge });
        const first = await handedOver(stream);
        assert.match(first.connection, CONNECTION);
        assert.notEqual(first.ticket, made.ticket);
        assert.ok(first.expiresAt > made.expiresAt && first.expiresAt <= made.renewableUntil);
        const again = stack.events(to + first.ticket, { token: null });
        await again.named('ready');
        again.close();
        for (const thread of ['other', 'news']) { // it reads what the first one did, and nothing else
            const stranger = stack.events(`/v1/threads/${thread}2/events?ticket=${first.ticket}`, { token: null });
            assert.equal(await stranger.opened(), 403);
        }
        await passed(made.expiresAt);
        assert.equal(stream.ending, '', 'it lives on');
        const late = await stack.request('GET', to + made.ticket, { token: null });
        assert.equal(`${late.status} ${late.json.error.code}`, '401 token_expired');
        await stream.end();
        const last = stream.events.filter((e) => e.event === 'auth').map((e) => e.json);
        assert.equal(last.at(-1).reason, 'expired');
        assert.ok(Date.now() >= made.renewableUntil);
        for (const said of last) assert.ok(!said.expiresAt || said.expiresAt <= made.renewableUntil, 'never longer');
        await short.end();
        assert.ok(!short.events.some((e) => e.json?.ticket), 'its maker said for how long');
        const metrics = await Promise.all(stack.bridges.map((bridge) => bridge.metrics()));
        assert.ok(metrics.some((m) => m.threadcast_bridge_tickets_renewed_total >= 1));
    });

    test('a native EventSource keeps the new ticket, and comes back with it when the old one is refused', async (t) => {
        const proxy = await Proxy.start({ port: stack.bridges[1].port });
        /** @type {any[]} */
        const seen = [];
        let position = '', opened = 0, gaveUp = 0;
        let ticket = (await ticketOf({ threads: ['page'] })).ticket;
        /** @type {EventSource | null} */
        let source = null;
        t.after(() => {
            source?.close();
            return proxy.stop();
        });
        const open = () => { // what PROTOCOL.md tells a page to do
            const since = position ? `&since=${position}` : '';
            const own = new EventSource(`http://127.0.0.1:${proxy.port}/v1/threads/page/events?ticket=${ticket}${since}`);
            source = own;
            own.onopen = () => opened++;
            own.onmessage = (message) => {
                position = message.lastEventId;
                seen.push(JSON.parse(message.data));
            };
            own.addEventListener('auth', (message) => {
                position = message.lastEventId || position;
                const said = JSON.parse(message.data);
                if (said.ticket) ticket = stack.secret(said.ticket);
            });
            own.onerror = () => {
                if (own.readyState !== EventSource.CLOSED) return;
                gaveUp++;
                open();
            };
        };
        const [first, made] = [ticket, Date.now()];
        open();
        const run = new ScriptRun(stack.redis.client, 'page');
        await until(() => opened === 1);
        await run.begin();
        await run.tokens('one ');
        await until(() => ticket !== first, { what: 'a new ticket' });
        await passed(made + TICKET_S * 1000 + 200);
        proxy.cutAll();
        await run.tokens('two ');
        await until(() => gaveUp === 1, { what: 'EventSource gives up on 401' });
        await run.tokens('three');
        await run.done();
        await until(() => seen.at(-1)?.type === 'done', { what: 'the rest of the story' });
        assert.equal(seen.filter((event) => event.type === 'token').map((event) => event.content).join(''), run.text);
    });

    test('a fresh token lengthens a stream, wherever it lives', async () => {
        const thread = await stack.thread();
        const extend = (/** @type {unknown} */ connection, /** @type {any} */ who = {}) =>
            stack.request('POST', '/v1/session/extend', { json: { connection }, ...who });
        const code = async (/** @type {Promise<any>} */ answer) => {
            const { status, json } = await answer;
            return `${status} ${json.error?.code}`;
        };
        // far in its second half, so that the stream is told at once; the rest is ours
        const exp = Math.floor(Date.now() / 1000) + 7, end = exp * 1000;
        const open = (/** @type {any} */ bridge, query = `thread=${thread}&thread=room`) =>
            stack.events(`/v1/events?${query}`, { bridge, token: token({
                sub: 'ann', iat: exp - 200, exp, threadcast: { read: ['room'] } }) });
        const [near, far, mine, left] = [open(stack.bridges[0]), open(stack.bridges[1]), open(stack.bridges[0]),
                                         open(stack.bridges[0])];
        const names = await Promise.all([near, far, mine, left].map(async (stream) => (await stream.named('auth')).json.connection));
        for (const name of names) assert.match(name, CONNECTION);
        assert.equal(new Set(names).size, 4);
        // asked often enough that every reactor was the one asked
        const who = { read: ['room'], seconds: 600 };
        const answers = await Promise.all(Array.from({ length: 6 }, () =>
            extend(names[0], { ...who, headers: { Connection: 'close' } })));
        for (const { status, json } of answers) {
            assert.equal(status, 200);
            assert.ok(json.expiresAt > Date.now() + 500_000);
        }
        const elsewhere = await extend(names[1], who);
        assert.deepEqual([elsewhere.status, elsewhere.json], [202, { elsewhere: true }]);
        const cookie = stack.secret(String((await stack.request('POST', '/v1/session', who)).headers.get('set-cookie')).split(';')[0]);
        assert.equal((await extend(names[2], { token: null, headers: { Cookie: cookie } })).status, 200);
        for (const stream of [near, far, mine]) {
            const said = await stream.named('auth');
            assert.ok(said.json.expiresAt > end, 'the stream itself says so');
        }
        // nobody else's, and nothing that it may not read
        assert.equal(await code(extend('x')), '400 bad_connection');
        assert.equal(await code(extend(7)), '400 bad_connection');
        assert.equal(await code(extend(names[0].replace(/.$/, (/** @type {string} */ c) => c === '0' ? '1' : '0'))), '404 no_connection');
        assert.equal(await code(extend(names[0], { sub: 'bob', ...reader })), '404 no_connection');
        assert.equal(await code(extend(names[0])), '403 forbidden', 'room is not granted');
        assert.equal(await code(extend(names[0], { token: null })), '401 unauthorized');
        const ticket = (await ticketOf({ threads: ['room'] })).ticket;
        assert.equal(await code(stack.request('POST', `/v1/session/extend?ticket=${ticket}`, {
            token: null, json: { connection: names[0] } })), '401 token_invalid');
        await left.end();
        await passed(end + 1000);
        const run = new ScriptRun(stack.redis.client, 'room');
        await run.begin();
        for (const stream of [near, far, mine]) await stream.type('status');
        // it stands on the new token now: the owner is asked about as before
        await stack.pg.query("update threads set owner = 'bob' where id = $1", [thread]);
        for (const stream of [near, far, mine]) assert.equal(await stream.end(5000), 'fin');
    });

    test('the stream of an older run goes on with a fresh token that is granted the run, and no other', async () => {
        await stack.redis.client.rpush('agent_run:older-1:responses', '{"type": "status", "status": "running"}');
        const exp = Math.floor(Date.now() / 1000) + 60; // in its second half: it is told at once
        const stream = stack.events('/agent-run/older-1/stream', { token: token({
            sub: 'ann', iat: exp - 200, exp, threadcast: { read: ['agent_run:*'] } }) });
        const { connection } = (await stream.named('auth')).json;
        const extend = async (/** @type {string[]} */ read) => (await stack.request('POST', '/v1/session/extend', {
            read, seconds: 600, json: { connection } })).status;
        assert.equal(await extend([]), 403);
        assert.equal(await extend(['agent_run:other', 'older-1']), 403);
        assert.equal(await extend(['agent_run:older-1']), 200);
        stream.close();
    });

    test('a service makes tickets for its users: what its own grants read, and for as long as it says', async () => {
        const service = token({ threadcast: { read: ['room', 'team-*'], tickets: true } });
        const make = (/** @type {unknown} */ json, /** @type {any} */ who = { token: service }) =>
            stack.request('POST', '/v1/tickets', { json, ...who });
        const code = async (/** @type {unknown} */ json, /** @type {any} */ who) => {
            const answer = await make(json, who);
            return `${answer.status} ${answer.json.error?.code}`;
        };
        await stack.thread('users-own', 'user-7');
        await stack.thread('services-own', 'backend');
        assert.equal(await code({ threads: ['room'], sub: 'user-7' }, { read: ['*'] }), '403 forbidden');
        assert.equal(await code({ threads: ['room', 'users-own'], sub: 'user-7' }), '403 forbidden');
        assert.equal(await code({ threads: ['services-own'], sub: 'user-7' }), '403 forbidden');
        for (const sub of ['', 7, null, 'a\n', 'x'.repeat(300)]) assert.equal(await code({ threads: ['room'], sub }), '400 bad_sub');
        for (const ttl of [0, -1, '5', 1.5, 1e12]) assert.equal(await code({ threads: ['room'], ttl }), '400 bad_ttl');
        const before = Date.now();
        const { json } = await make({ threads: ['room', 'team-1'], sub: 'user-7', ttl: 60 });
        stack.secret(json.ticket);
        assert.ok(json.renewableUntil >= before + 60_000 && json.renewableUntil <= Date.now() + 60_000);
        assert.ok(json.expiresAt <= Date.now() + TICKET_S * 1000);
        const short = (await make({ threads: ['room'], sub: 'user-7' })).json;
        assert.equal(short.renewableUntil, short.expiresAt, 'not renewed unless the service says so');
        stack.secret(short.ticket);
        const stream = stack.events(`/v1/events?thread=room&thread=team-1&ticket=${json.ticket}`, { token: null });
        const said = await handedOver(stream);
        // it is the user's: the user's own token lengthens it
        const answer = await stack.request('POST', '/v1/session/extend', {
            json: { connection: said.connection }, sub: 'user-7', read: ['room', 'team-1'] });
        assert.equal(answer.status, 200, answer.text);
        stream.close();
    });
});
