// --authorize-url: who carries no token of ours is asked about elsewhere, as proxies do it.
// A small authorizer of the test's own plays their side.

import assert from 'node:assert/strict';
import http from 'node:http';
import { once } from 'node:events';
import path from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { Stack, run, until, BIN } from './harness.mjs';

/** Somebody's sessions behind HTTP. */
class Authorizer {
    /** @type {http.IncomingHttpHeaders[]} what it was asked */
    asked = [];
    /** @type {(headers: http.IncomingHttpHeaders) => { status?: number, body?: unknown, headers?: any } | null} null: no answer */
    answer = () => ({ status: 401 });
    /** @type {http.ServerResponse[]} */
    held = [];
    #server = http.createServer((request, response) => {
        this.asked.push(request.headers);
        const said = this.answer(request.headers);
        if (said) this.#say(response, said);
        else this.held.push(response);
    });

    /** @param {http.ServerResponse} response @param {{ status?: number, body?: unknown, headers?: any }} said */
    #say(response, { status = 200, body = '', headers = {} }) {
        response.writeHead(status, headers);
        response.end(typeof body === 'string' ? body : JSON.stringify(body));
    }

    async start() {
        this.#server.listen(0, '127.0.0.1');
        await once(this.#server, 'listening');
        const { port } = /** @type {import('node:net').AddressInfo} */ (this.#server.address());
        return `http://127.0.0.1:${port}/internal/who`;
    }

    /** Answers who still waits. @param {{ status?: number, body?: unknown }} said */
    release(said) {
        for (const response of this.held.splice(0)) this.#say(response, said);
    }

    stop() {
        this.#server.close();
        this.#server.closeAllConnections();
    }
}

const authorizer = new Authorizer();
/** @type {Stack} */
let stack;
let url = '';
const OPTIONS = { reactors: 1, 'drain-ms': 500, 'authorize-timeout-ms': 1000, 'authorize-refusal-ms': 60_000 };
before(async () => {
    url = await authorizer.start();
    stack = await Stack.start({ workers: 0, bridge: { ...OPTIONS, 'authorize-url': url } });
    await stack.thread('anns', 'ann');
});
after(() => authorizer.stop());
beforeEach(() => {
    authorizer.asked = [];
    authorizer.release({ status: 503 });
    authorizer.answer = ({ cookie }) => sessions[String(cookie)] ?? { status: 401 };
});

const soon = (seconds = 600) => Math.floor(Date.now() / 1000) + seconds;
/** @type {Record<string, { status?: number, body?: unknown }>} */
const sessions = {
    'sid=ann': { body: { sub: 'ann', exp: soon() } },
    'sid=bob': { body: { sub: 'bob', read: ['room', 'team-*'], write: ['room'], exp: soon() } },
    'sid=banned': { status: 403 },
};
let next = 0;
/** A session that nobody has asked about before. @param {{ status?: number, body?: unknown }} said */
function session(said) {
    const cookie = stack.secret(`sid=secret-${next++}-${Math.random().toString(36).slice(2)}`);
    sessions[cookie] = said;
    return { token: null, headers: { Cookie: cookie } };
}
const as = (/** @type {string} */ cookie) => ({ token: null, headers: { Cookie: cookie } });

/** @param {string} to @param {any} who @param {any} [options] */
async function get(to, who, options = {}) {
    const { status, json } = await stack.request('GET', to, { ...who, ...options });
    return `${status} ${json?.error?.code}`;
}
/** @param {string} name @param {any} [bridge] */
const metric = async (name, bridge = stack.bridge) => (await bridge.metrics())[`threadcast_bridge_${name}`];

test('who the authorizer vouches for reads and writes what it grants, and owns what is theirs', async () => {
    const stream = stack.threadEvents('anns', '', as('sid=ann'));
    await stream.named('ready');
    assert.equal(await get('/v1/threads/anns/messages', as('sid=ann')), '200 undefined');
    assert.equal(await get('/v1/threads/anns/messages', as('sid=bob')), '403 forbidden');
    const room = stack.threadEvents('room', '', as('sid=bob'));
    await room.named('ready');
    const event = { type: 'token', content: 'hi' };
    assert.equal((await stack.publish('room', event, as('sid=bob'))).status, 202);
    await room.type('token');
    assert.equal((await stack.publish('team-1', event, as('sid=bob'))).status, 403);
    assert.equal(await get('/v1/threads/room/messages', as('sid=banned')), '403 forbidden');
    assert.equal(await get('/v1/threads/room/messages', as('sid=unknown')), '401 unauthorized');
    assert.equal((await stack.request('GET', '/v1/threads/room/events', as('sid=unknown'))).status, 401);
    const ticket = await stack.request('POST', '/v1/tickets', { ...as('sid=bob'), json: { threads: ['room'] } });
    assert.equal(ticket.status, 200);
    assert.match(String(ticket.headers.get('x-request-id')), /^[0-9a-f-]{36}$/, 'one, though it has waited');
    stack.secret(ticket.json.ticket);
    assert.ok(ticket.json.renewableUntil <= soon() * 1000, 'not longer than the session');
    for (const right of ['/v1/revoke', '/v1/session']) {
        assert.notEqual((await stack.request('POST', right, { ...as('sid=bob'), json: { sub: 'x' } })).status, 200);
    }
    stream.close();
    room.close();
});

test('what is passed on: credentials, method, path, host, threads; and no query', async () => {
    const headers = { Cookie: 'a=b; sid=bob', Authorization: 'Session opaque-7' };
    authorizer.answer = () => sessions['sid=bob'];
    stack.secret('opaque-7');
    const stream = stack.events('/v1/events?thread=room&thread=team-1&since=0&x=secret', { token: null, headers });
    assert.equal(await stream.opened(), 200);
    stream.close();
    const [asked] = authorizer.asked;
    assert.equal(asked.cookie, 'a=b; sid=bob');
    assert.equal(asked.authorization, 'Session opaque-7');
    assert.equal(asked['x-forwarded-method'], 'GET');
    assert.equal(asked['x-forwarded-uri'], '/v1/events');
    assert.equal(asked['x-forwarded-host'], `127.0.0.1:${stack.bridge.port}`);
    assert.equal(asked['x-threadcast-threads'], 'room,team-1');
    assert.ok(!JSON.stringify(asked).includes('x=secret'));
});

test('our own tokens are ours: nobody is asked, and what is refused stays refused', async () => {
    authorizer.answer = () => ({ body: { sub: 'ann', read: ['*'] } });
    assert.equal(await get('/v1/threads/anns/messages', {}), '200 undefined');
    const ended = stack.signer.token({ sub: 'ann', exp: soon(-100) });
    assert.equal(await get('/v1/threads/anns/messages', { token: ended, headers: { Cookie: 'sid=ann' } }), '401 token_expired');
    assert.equal(await get('/v1/threads/anns/events?ticket=t1.x.y', as('sid=ann')), '401 token_invalid');
    assert.equal(await get('/v1/threads/anns/messages', { token: null }), '401 unauthorized', 'nothing to ask about');
    assert.equal(authorizer.asked.length, 0);
    const foreign = stack.secret('some-opaque-token');
    assert.equal(await get('/v1/threads/anns/messages', { token: foreign }), '200 undefined');
    assert.equal(authorizer.asked[0].authorization, `Bearer ${foreign}`);
});

test('answers are kept as long as they may be, for the same question alone', async () => {
    const who = session({ body: { sub: 'ann', exp: soon() } });
    const no = session({ status: 403 });
    for (let i = 0; i < 3; i++) {
        assert.equal(await get('/v1/threads/anns/messages', who), '200 undefined');
        assert.equal(await get('/v1/threads/anns/messages', no), '403 forbidden');
    }
    assert.equal(authorizer.asked.length, 2);
    await get('/v1/threads/anns/runs', who);
    await stack.request('POST', '/v1/threads/anns/messages', { ...who, json: { content: 'x' } });
    assert.equal(authorizer.asked.length, 4, 'another path, another method');
    const stream = stack.threadEvents('anns', '', session({ body: { sub: 'ann', exp: soon(2) } }));
    const brief = session({ body: { sub: 'ann', exp: soon(2) } });
    assert.equal(await get('/v1/threads/anns/messages', brief), '200 undefined');
    sessions[brief.headers.Cookie] = { status: 401 };
    await until(async () => await get('/v1/threads/anns/messages', brief) === '401 unauthorized', { what: 'its exp' });
    await stream.end();
    assert.equal(stream.events.at(-1)?.json.reason, 'expired', 'a stream ends with it, too');
    // one that says no end of its own: for --authorize-ttl-s
    const short = await stack.startBridge({ ...OPTIONS, 'authorize-url': url, 'authorize-ttl-s': 1, 'authorize-refusal-ms': 300 });
    for (const [said, code, limit] of /** @type {[any, string, number][]} */ ([
        [{ body: { sub: 'ann' } }, '200 undefined', 1000], [{ status: 403 }, '403 forbidden', 300]])) {
        const endless = session(said);
        const from = performance.now(), first = authorizer.asked.length;
        await until(async () => {
            assert.equal(await get('/v1/threads/anns/messages', endless, { bridge: short }), code);
            return authorizer.asked.length === first + 2;
        }, { timeout: limit + 2000, what: `${code} is asked about again` });
        assert.ok(performance.now() - from >= limit - 20, `${code} was kept`);
    }
    await short.stop();
    // revoked: asked about anew
    await stack.request('POST', '/v1/revoke', { json: { sub: 'ann' }, token: adminToken() });
    const asked = authorizer.asked.length;
    await until(async () => await get('/v1/threads/anns/messages', who) === '200 undefined', { what: 'a later second' });
    assert.ok(authorizer.asked.length > asked);
});

function adminToken() {
    const made = stack.signer.token({ sub: 'admin', exp: soon(), iat: soon(0), threadcast: { revoke: true } });
    stack.secret(made.split('.')[2]);
    return made;
}

test('no failure is a yes: each is told to try again, and none is kept', async () => {
    const big = 'x'.repeat(20_000);
    const bad = [
        { status: 500 }, { status: 302, headers: { Location: url } }, { status: 204 }, { status: 404 }, { status: 201, body: { sub: 'ann' } },
        { body: '' }, { body: 'sub=ann' }, { body: [] }, { body: '{"sub":"ann"' }, { body: '{"sub":"ann","sub":"bob"}' },
        { body: {} }, { body: { sub: '' } }, { body: { sub: 7 } }, { body: { sub: 'ann\n' } },
        { body: { sub: 'ann', exp: 'never' } }, { body: { sub: 'ann', exp: soon(-1) } }, { body: { sub: 'ann', exp: soon() + 0.5 } },
        { body: { sub: 'ann', read: '*' } }, { body: { sub: 'ann', read: ['a b'] } }, { body: { sub: 'ann', write: [7] } },
        { body: { sub: 'ann', big } },
    ];
    for (const said of bad) {
        const who = session(said);
        assert.equal(await get('/v1/threads/anns/messages', who), '503 busy', JSON.stringify(said).slice(0, 200));
    }
    const who = session({ status: 500 });
    const stream = stack.threadEvents('anns', '', who);
    await stream.named('busy');
    assert.equal(stream.status, 200);
    sessions[who.headers.Cookie] = { body: { sub: 'ann' } };
    assert.equal(await get('/v1/threads/anns/messages', who), '200 undefined', 'a failure is not kept');
    assert.ok(await metric('authorize_total{result="failed"}') > bad.length);
    const silent = session({});
    authorizer.answer = () => null;
    const from = performance.now();
    assert.equal(await get('/v1/threads/anns/messages', silent), '503 busy', 'no answer in time');
    const took = performance.now() - from;
    assert.ok(took >= 900 && took < 5000, `--authorize-timeout-ms 1000: after ${took} ms`);
    assert.ok(!stack.bridge.output.includes(silent.headers.Cookie));
});

test('equal questions share one, others wait in line, and more than that are told so', async () => {
    const bridge = await stack.startBridge({ ...OPTIONS, 'authorize-url': url, 'authorize-concurrency': 1, 'authorize-queue': 2,
                                             'authorize-cache-max': 2, 'authorize-timeout-ms': 15_000 });
    authorizer.answer = () => null;
    const yes = { body: { sub: 'ann' } };
    const [first, second, third, fourth] = [1, 2, 3, 4].map(() => session(yes));
    const same = Array.from({ length: 20 }, () => get('/v1/threads/anns/messages', first, { bridge }));
    await until(() => authorizer.held.length === 1);
    await until(async () => await metric('authorize_saved_total{by="sharing"}', bridge) === 19, { what: 'nineteen share it' });
    const waiting = [get('/v1/threads/anns/messages', second, { bridge }), get('/v1/threads/anns/messages', third, { bridge })];
    await until(async () => await metric('authorize_waiting', bridge) === 3, { what: 'one asks, two are in line' });
    assert.equal(await get('/v1/threads/anns/messages', fourth, { bridge }), '503 busy', 'the line is full');
    assert.equal(authorizer.asked.length, 1);
    assert.equal(await metric('limits_total{limit="authorize-queue"}', bridge), 1);
    const gone = stack.threadEvents('anns', '', { ...first, bridge });
    gone.close(); // who leaves meanwhile is nobody's business
    authorizer.answer = ({ cookie }) => sessions[String(cookie)];
    authorizer.release(yes);
    for (const answer of await Promise.all([...same, ...waiting])) assert.equal(answer, '200 undefined');
    assert.equal(authorizer.asked.length, 3);
    await get('/v1/threads/anns/messages', fourth, { bridge });
    assert.ok(await metric('limits_total{limit="authorize-cache-max"}', bridge) >= 1, 'at least one answer was thrown away');
    authorizer.answer = () => null;
    const held = stack.threadEvents('anns', '', { ...session({}), bridge });
    await until(() => authorizer.held.length === 1);
    await bridge.stop(); // with a question under way
    held.close();
});

test('an authorizer that hangs: nobody waits in its line for longer than for an answer', async () => {
    const bridge = await stack.startBridge({ ...OPTIONS, 'authorize-url': url, 'authorize-concurrency': 1 });
    authorizer.answer = () => null;
    const answers = await Promise.all(Array.from({ length: 8 }, () => get('/v1/threads/anns/messages', session({}), { bridge })));
    for (const answer of answers) assert.equal(answer, '503 busy');
    assert.ok(authorizer.asked.length <= 4, `one behind the other, ${authorizer.asked.length} were asked about`);
    await bridge.stop();
});

test('it needs no key of ours, and says what is wrong with its address', async () => {
    for (const bad of ['ftp://x/', 'https://user:secret@x/', 'x']) {
        const { code, stderr } = await run(path.join(BIN, 'threadcast-bridge'), ['--check-config', '--authorize-url', bad]);
        assert.equal(code, 2, bad);
        assert.match(stderr, /authorize-url/);
        assert.ok(!stderr.includes('secret'), stderr);
    }
    const bridge = await stack.startBridge({ ...OPTIONS, 'authorize-url': url }, { JWT_SECRET: '' });
    assert.equal(await get('/v1/threads/anns/messages', as('sid=ann'), { bridge }), '200 undefined');
    await bridge.stop();
});
