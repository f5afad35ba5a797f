// What was given can be taken back: a subject, a token, a thread's owner, the thread; on
// every bridge, in every reactor, within 5 s, and with its reason.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, test } from 'node:test';
import { claimsOf, Stack, until } from './harness.mjs';

const WITHIN_MS = 5000;
const BRIDGE = { reactors: 2, 'gather-readers': 0, 'drain-ms': 500, 'max-revocations': 8, 'redis-prefix': 'acme:' };
/** @type {Stack} */
let stack;
/** @type {import('./harness.mjs').Bridge[]} those that are there from the beginning */
let bridges;
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 2, bridge: BRIDGE });
    bridges = [...stack.bridges];
});

const now = () => Math.floor(Date.now() / 1000);

/** A token with claims of its own. @param {string} sub @param {Record<string, unknown>} [claims] */
function token(sub, claims = {}) {
    const made = stack.signer.token({ ...claimsOf(sub), iat: now() - 10, ...claims });
    stack.secret(made.split('.')[2]);
    return made;
}
const admin = () => token('backend', { threadcast: { revoke: true } });

/** @param {unknown} json @param {any} [options] */
const revoke = (json, options = {}) =>
    stack.request('POST', '/v1/revoke', { token: admin(), json, ...options });

/** So many live streams at each bridge. @param {number} count @param {string} to @param {any} options */
async function live(count, to, options) {
    const streams = bridges.flatMap((bridge) =>
        Array.from({ length: count }, () => stack.events(to, { ...options, bridge })));
    await Promise.all(streams.map((s) => s.named('ready')));
    return streams;
}

/** They all end in time, having said why. @param {import('./lib/sse.mjs').SseStream[]} streams @param {RegExp} reason */
async function ended(streams, reason) {
    await Promise.all(streams.map((s) => s.end(WITHIN_MS)));
    for (const s of streams) {
        assert.equal(s.ending, 'fin');
        const last = s.events.at(-1);
        assert.equal(last?.event, 'auth', s.body);
        assert.match(last.json.reason, reason);
    }
}

/** What every bridge says to this request. @param {string} to @param {any} options */
async function said(to, options) {
    const answers = await Promise.all(bridges.map((bridge) => stack.request('GET', to, { ...options, bridge })));
    return answers.map(({ status, json }) => `${status} ${json?.error?.code}`);
}
const REVOKED = ['401 revoked', '401 revoked'];
const WELCOME = ['200 undefined', '200 undefined'];

/** Every bridge has heard of it. @param {string} token */
async function refusedEverywhere(token) {
    await until(async () => String(await said('/v1/threads', { token })) === String(REVOKED),
                { timeout: WITHIN_MS, what: 'both bridges refuse it' });
}

test('a subject is revoked: its streams, its token, its cookie and its tickets, everywhere', async () => {
    const thread = await stack.thread(undefined, 'eve');
    const old = token('eve');
    const cookie = stack.secret(String((await stack.request('POST', '/v1/session', { token: old }))
        .headers.get('set-cookie')).split(';')[0]);
    const made = await stack.request('POST', '/v1/tickets', { token: old, json: { threads: [thread] } });
    const ticket = stack.secret(made.json.ticket);
    const to = `/v1/threads/${thread}/events`;
    const streams = [
        ...await live(6, to, { token: old }),
        ...await live(3, to, { token: null, headers: { Cookie: cookie } }),
        ...await live(3, `${to}?ticket=${ticket}`, { token: null }),
    ];
    const others = await live(3, to, { sub: 'bob', read: ['*'] });
    for (const bridge of bridges) {
        const spread = Object.entries(await bridge.metrics())
            .filter(([name, value]) => name.includes('reactor_streams{') && value > 0);
        assert.equal(spread.length, 2, 'streams in both reactors');
    }
    const answer = await revoke({ sub: 'eve' });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.sub, 'eve');
    assert.ok(answer.json.until > Date.now());
    await ended(streams, /^revoked$/);
    for (const s of others) assert.equal(s.ending, '', 'others stay');
    for (const s of others) s.close();
    const messages = `/v1/threads/${thread}/messages`;
    assert.deepEqual(await said(messages, { token: old }), REVOKED);
    assert.deepEqual(await said(messages, { token: null, headers: { Cookie: cookie } }), REVOKED);
    assert.deepEqual(await said(`${to}?ticket=${ticket}`, { token: null }), REVOKED);
    assert.deepEqual(await said(messages, { token: token('eve', { iat: undefined }) }), REVOKED, 'without iat');
    // who signs in again is somebody new
    const fresh = token('eve', { iat: now() + 2 });
    assert.deepEqual(await said(messages, { token: fresh }), WELCOME);
    const metrics = await stack.bridge.metrics();
    assert.ok(metrics['threadcast_bridge_refused_total{reason="revoked"}'] >= 4);
    assert.equal(metrics['threadcast_bridge_streams_closed_total{reason="revoked"}'], 12);
});

test('one token is revoked by its jti, with what was made from it', async () => {
    const jti = randomUUID();
    const claims = { threadcast: { read: ['room'] } };
    const [lost, kept] = [token('dan', { ...claims, jti }), token('dan', { ...claims, jti: randomUUID() })];
    const ticket = stack.secret((await stack.request('POST', '/v1/tickets', {
        token: lost, json: { threads: ['room'] } })).json.ticket);
    const gone = [...await live(2, '/v1/threads/room/events', { token: lost }),
                  ...await live(2, `/v1/threads/room/events?ticket=${ticket}`, { token: null })];
    const stays = await live(2, '/v1/threads/room/events', { token: kept });
    assert.equal((await revoke({ jti }, { bridge: bridges[1] })).status, 200);
    await ended(gone, /^revoked$/);
    assert.deepEqual(await said('/v1/threads', { token: lost }), REVOKED);
    assert.deepEqual(await said('/v1/threads', { token: kept }), WELCOME);
    for (const s of stays) assert.equal(s.ending, '');
    for (const s of stays) s.close();
});

test('a ticket made by a service falls with the service, and with its user', async () => {
    const service = token('tickets', { threadcast: { read: ['room'], tickets: true } });
    const make = async (/** @type {string} */ sub) => stack.secret((await stack.request('POST', '/v1/tickets', {
        token: service, json: { threads: ['room'], sub } })).json.ticket);
    const ofUser = await live(2, `/v1/threads/room/events?ticket=${await make('user-1')}`, { token: null });
    const ofOther = await live(2, `/v1/threads/room/events?ticket=${await make('user-2')}`, { token: null });
    await revoke({ sub: 'user-1' });
    await ended(ofUser, /^revoked$/);
    for (const s of ofOther) assert.equal(s.ending, '');
    await revoke({ sub: 'tickets' });
    await ended(ofOther, /^revoked$/);
});

test('only up to a moment, and what cannot be revoked', async () => {
    const early = token('fay', { iat: now() - 500 });
    const late = token('fay', { iat: now() - 100 });
    assert.equal((await revoke({ sub: 'fay', before: now() - 300 })).status, 200);
    await refusedEverywhere(early);
    assert.deepEqual(await said('/v1/threads', { token: late }), WELCOME);
    const code = async (/** @type {unknown} */ json, /** @type {any} */ options) => {
        const answer = await revoke(json, options);
        return `${answer.status} ${answer.json.error.code}`;
    };
    for (const json of [{}, { sub: 'a', jti: 'b' }, { sub: 1 }, { sub: '' }, { jti: 'x'.repeat(300) }, { sub: 'a\n' },
                        { sub: 'a', before: '1' }, { sub: 'a', before: now() + 1000 }, { sub: 'a', before: -1 },
                        { jti: 'a', before: 1 }]) {
        assert.equal(await code(json), '400 bad_revocation', JSON.stringify(json));
    }
    assert.equal(await code({ sub: 'a' }, { token: null }), '401 unauthorized');
    for (const rights of [{}, { read: ['*'], write: ['*'] }, { revoke: false }, { tickets: true }]) {
        assert.equal(await code({ sub: 'a' }, { token: token('x', { threadcast: rights }) }), '403 forbidden');
    }
    assert.equal(await code({ sub: 'a' }, { token: token('x', { threadcast: { revoke: 'yes' } }) }), '401 token_invalid');
});

test('a bridge that starts later, one that was away, and a Redis that forgot', async () => {
    const old = token('gus');
    assert.equal((await revoke({ sub: 'gus' })).status, 200);
    await refusedEverywhere(old);
    const later = await stack.startBridge(BRIDGE);
    assert.equal((await stack.request('GET', '/v1/threads', { token: old, bridge: later })).status, 401);
    await later.stop();
    await stack.redis.cli('del', 'acme:threadcast:revoked');
    // and one was written without a hint that anybody could hear
    const missed = token('hal', { threadcast: { read: ['room'] } });
    const streams = await live(1, '/v1/threads/room/events', { token: missed });
    await stack.redis.cli('hset', 'acme:threadcast:revoked', 's:hal', String(Date.now()));
    await stack.redis.cli('hincrby', 'acme:threadcast:revoked', 'n', '1');
    await ended(streams, /^revoked$/);
    assert.deepEqual(await said('/v1/threads', { token: missed }), REVOKED);
    await until(async () => await stack.redis.cli('hexists', 'acme:threadcast:revoked', 's:gus') === '1',
                { what: 'bridges store again what Redis has lost' });
    assert.deepEqual(await said('/v1/threads', { token: old }), REVOKED);
    // it forgets when nothing can be stored: once that is over, they do it then
    const noticed = () => bridges.map(({ output }) => output.split('missing in Redis').length);
    const before = noticed();
    await stack.redis.cli('acl', 'setuser', 'default', '-eval');
    await stack.redis.cli('del', 'acme:threadcast:revoked');
    await until(() => noticed().every((count, i) => count > before[i]), { what: 'all have tried' });
    await stack.redis.cli('acl', 'setuser', 'default', '+eval');
    await until(async () => await stack.redis.cli('hexists', 'acme:threadcast:revoked', 's:gus') === '1',
                { what: 'and have tried again' });
});

test('a bridge ends while it reads a revocation', async () => {
    const bridge = await stack.startBridge({ ...BRIDGE, 'shutdown-delay-ms': 300 });
    try {
        assert.equal((await revoke({ sub: 'gus' }, { bridge })).status, 200);
        stack.redis.child?.kill('SIGSTOP');
        await bridge.stop();
    } finally {
        stack.redis.child?.kill('SIGCONT');
    }
});

test('--max-revocations: one more is refused, and counted', async () => {
    let answer = await revoke({ sub: 'eve' });
    for (let i = 0; i < 8 && answer.status === 200; i++) answer = await revoke({ sub: `many-${i}` });
    assert.equal(`${answer.status} ${answer.json.error?.code}`, '503 too_many_revocations');
    assert.equal((await revoke({ sub: 'eve' })).status, 200, 'one that is there is only moved');
    const name = 'threadcast_bridge_limits_total{limit="max-revocations"}';
    assert.equal((await stack.bridge.metrics())[name], 1);
    await until(async () => (await stack.bridge.metrics()).threadcast_bridge_revocations >= 8);
});

test('--revocation-ttl-s: one counts so long, and then makes room', async () => {
    const key = 'brief:threadcast:revoked';
    await stack.redis.client.hset(key, 's:old', Date.now() - 90_000, 's:recent', Date.now() - 20_000, 'n', 2);
    const bridge = await stack.startBridge({ 'redis-prefix': 'brief:', 'drain-ms': 500, 'max-revocations': 2,
                                             'revocation-ttl-s': 60, 'ticket-max-s': 60 });
    const status = async (/** @type {string} */ sub) =>
        (await stack.request('GET', '/v1/threads', { token: token(sub, { iat: now() - 300 }), bridge })).status;
    assert.equal(await status('recent'), 401, 'it counts');
    assert.equal(await status('old'), 200, 'its time is over');
    const answer = await revoke({ sub: 'next' }, { bridge });
    assert.equal(answer.status, 200, answer.text);
    const left = answer.json.until - Date.now(); // from the end of this second
    assert.ok(left > 40_000 && left <= 61_000, `it counts for ${left} ms`);
    assert.deepEqual((await stack.redis.client.hkeys(key)).sort(), ['n', 's:next', 's:recent'], 'the old one has made room');
    const all = await stack.redis.client.pttl(key);
    assert.ok(all > 40_000 && all <= 60_000, `all of them go in ${all} ms`);
    assert.equal((await revoke({ sub: 'one more' }, { bridge })).status, 503, 'who counts makes no room');
    await bridge.stop();
});

test('a changed owner and a deleted thread: every reader who is lost hears why', async () => {
    for (const [change, mine, granted] of /** @type {[string, RegExp, RegExp | null][]} */ ([
        ["update threads set owner = 'bob' where id = $1", /^forbidden$/, null],
        ['delete from threads where id = $1', /^(forbidden|deleted)$/, /^deleted$/],
    ])) {
        const thread = await stack.thread();
        const to = `/v1/threads/${thread}/events`;
        const made = await stack.request('POST', '/v1/tickets', { json: { threads: [thread] } });
        const ticket = stack.secret(made.json.ticket);
        const owners = [...await live(4, to, {}), ...await live(3, `${to}?ticket=${ticket}`, { token: null }),
                        ...await live(1, `/v1/events?thread=${thread}&thread=room`, { read: ['room'] })];
        const readers = await live(3, to, { sub: 'carl', read: [thread] });
        await stack.pg.query(change, [thread]);
        await ended(owners, mine);
        assert.deepEqual(await said(`${to}?ticket=${ticket}`, { token: null }), ['403 forbidden', '403 forbidden']);
        if (granted) await ended(readers, granted);
        for (const s of readers) assert.equal(s.ending, granted ? 'fin' : '');
        for (const s of readers) s.close();
    }
});

test('Redis away: what is known counts, what is new is not promised', async () => {
    const old = token('gus');
    await stack.redis.kill();
    await until(async () => !(await stack.bridge.fetch('/readyz')).ok, { what: 'not ready' });
    assert.deepEqual(await said('/v1/threads', { token: old }), REVOKED);
    assert.equal((await revoke({ sub: 'ivy' })).status, 503);
    assert.deepEqual(await said('/v1/threads', { token: token('ivy') }), WELCOME);
    // one that has never read them lets nobody in, and does not send EventSource away
    const starting = stack.startBridge(BRIDGE);
    const blind = /** @type {import('./harness.mjs').Bridge} */ (stack.bridges.at(-1));
    await until(() => blind.port);
    const answer = await stack.request('GET', '/v1/threads', { bridge: blind });
    assert.equal(`${answer.status} ${answer.json.error.code}`, '503 busy');
    const stream = stack.events('/v1/threads/room/events', { read: ['room'], bridge: blind });
    await stream.named('busy');
    assert.equal((await blind.fetch('/readyz')).status, 503);
    await stack.redis.start();
    await starting;
    assert.equal((await stack.request('GET', '/v1/threads', { bridge: blind })).status, 200);
});
