// Keys and how the bridge starts with them, tickets and ownership while things change,
// the demonstration's door, and what happens when Postgres is silent.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { BIN, claimsOf, run, Signer, Stack, until } from './harness.mjs';
import { raw } from './lib/raw.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ demo: true, workers: 0 });
});

const GUEST = { token: null, json: {} };

/** @param {import('./harness.mjs').SseStream} stream */
const closedWithin = async (stream, ms = 5000) => {
    const began = performance.now();
    await stream.end(2 * ms);
    const took = performance.now() - began;
    assert.ok(took < ms, `closed after ${took} ms`);
};

/** Runs a bridge that must refuse to start; answers what it said. */
async function refused(/** @type {string[]} */ args, /** @type {Record<string, string>} */ env) {
    const { code, stdout, stderr } = await run(path.join(BIN, 'threadcast-bridge'),
        ['--listen', '127.0.0.1:0', ...args], { env: { REDIS_URL: stack.redis.url, ...env }, timeout: 20_000 });
    assert.ok(code, `it started or was killed (${code}): ${stderr}`);
    return stdout + stderr;
}

test('keys it does not start with, and it says why without showing them', async () => {
    const file = (/** @type {string} */ name, /** @type {string} */ text) => {
        const full = path.join(stack.dir, name);
        fs.writeFileSync(full, text);
        return full;
    };
    const secret = 'a-secret-of-more-than-thirty-two-bytes';
    const pem = (/** @type {any} */ pair, which = 'publicKey') =>
        String(pair[which].export({ type: which === 'publicKey' ? 'spki' : 'pkcs8', format: 'pem' }));
    const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const publicKey = file('p256.pem', pem(p256));
    /** @type {[RegExp, string[], Record<string, string>][]} */
    const rows = [
        [/no key for tokens/, [], {}],
        [/32 bytes/, [], { JWT_SECRET: 'too-short-secret' }],
        [/32/, [], { JWT_SECRET_FILE: file('short', 'too-short-secret\n') }],
        [/No such file/, [], { JWT_SECRET_FILE: path.join(stack.dir, 'nothing') }],
        [/one only/, [], { JWT_SECRET: secret, JWT_SECRET_FILE: publicKey }],
        [/must begin with http/, [], { JWT_JWKS_URL: 'file:///etc/passwd' }],
        [/user or password/, [], { JWT_JWKS_URL: 'https://me:pass@issuer.example/keys' }],
        [/without JWT_SECRET/, [], { JWT_PUBLIC_KEY_FILE: publicKey, JWT_SECRET_PREVIOUS: secret }],
        [/JWT_SECRET_PREVIOUS: the secret has 5 bytes/, [], { JWT_SECRET: secret, JWT_SECRET_PREVIOUS: `${secret}\nshort` }],
        [/private key/, [], { JWT_PUBLIC_KEY_FILE: file('private.pem', pem(p256, 'privateKey')) }],
        [/only P-256/, [], { JWT_PUBLIC_KEY_FILE: file('p384.pem', pem(p384)) }],
        [/1024 bits/, [], { JWT_PUBLIC_KEY_FILE: file('small.pem', pem(small)) }],
        [/not a PEM public key/, [], { JWT_PUBLIC_KEY_FILE: file('no.pem', secret) }],
        [/PEM/, [], { JWT_SECRET: pem(p256) }],
        [/--demo/, ['--demo'], { JWT_PUBLIC_KEY_FILE: publicKey }],
        [/JWT_SECRET_FILE/, ['--demo'], {}],
        [/origin/, ['--allowed-origins', '*'], { JWT_SECRET: secret }],
        [/origin/, ['--public-origin', 'https://a.example/path'], { JWT_SECRET: secret }],
    ];
    for (const [why, args, env] of rows) {
        const said = await refused(args, env);
        assert.match(said, why);
        for (const hidden of [secret, 'too-short-secret', 'MFkw', 'me:pass']) {
            assert.ok(!said.includes(hidden), said);
        }
    }
});

test('--demo makes a key of its own, and guests outlive a restart', async () => {
    const file = path.join(stack.dir, 'made.secret');
    const env = { JWT_SECRET: '', JWT_SECRET_FILE: file };
    const bridge = await stack.startBridge({}, env);
    assert.equal(fs.statSync(file).mode & 0o777, 0o600);
    const key = fs.readFileSync(file, 'utf8').trim();
    assert.match(key, /^[A-Za-z0-9_-]{43}$/);
    stack.secret(key);
    const guest = await stack.request('POST', '/v1/demo/session', { ...GUEST, bridge });
    assert.equal(guest.status, 200, guest.text);
    assert.ok(guest.json.expiresAt > Date.now());
    const headers = { Cookie: String(guest.headers.get('set-cookie')).split(';')[0] };
    stack.secret(headers.Cookie);
    await bridge.restart();
    const again = await stack.request('POST', '/v1/demo/session', { ...GUEST, bridge, headers });
    assert.equal(again.json.sub, guest.json.sub);
    assert.equal(again.headers.get('set-cookie'), null, 'a fresh cookie is not made again');
    // the same text is a secret for anybody else's tokens
    const answer = await stack.request('GET', '/v1/threads', {
        token: new Signer('HS256', key).token(claimsOf('ann')), bridge });
    assert.equal(answer.status, 200);
});

test('--guest-ttl-s: a guest\'s cookie, and what it says, last so long', async () => {
    const bridge = await stack.startBridge({ 'guest-ttl-s': 60 });
    const guest = await stack.request('POST', '/v1/demo/session', { ...GUEST, bridge });
    const cookie = String(guest.headers.get('set-cookie'));
    assert.match(cookie, /; Max-Age=60(;|$)/i);
    const left = guest.json.expiresAt - Date.now();
    assert.ok(left > 30_000 && left <= 60_000, `it lasts ${left} ms`);
    const headers = { Cookie: stack.secret(cookie.split(';')[0]) };
    const thread = (await stack.request('POST', '/v1/threads', { ...GUEST, bridge, headers })).json.id;
    const stream = stack.threadEvents(thread, '', { token: null, bridge, headers });
    await stream.named('ready');
    if (!process.env.THREADCAST_FULL) { // the rest takes its minute
        stream.close();
        await bridge.stop();
        return;
    }
    await stream.end(left + 5000);
    assert.equal(stream.events.at(-1)?.event, 'auth');
    assert.ok(Date.now() >= guest.json.expiresAt, 'not before');
    await until(async () => { // other requests have the leeway of any token
        const { status, json } = await stack.request('GET', `/v1/threads/${thread}/messages`, { token: null, bridge, headers });
        return `${status} ${json.error?.code}` === '401 token_expired';
    }, { timeout: 35_000, every: 500, what: 'it is refused' });
    await bridge.stop();
});

test('audience and issuer, when configured', async () => {
    const bridge = await stack.startBridge({}, { JWT_AUDIENCE: 'chat', JWT_ISSUER: 'https://id.example' });
    const status = async (/** @type {object} */ claims) => (await stack.request('GET', '/v1/threads', {
        bridge, token: stack.signer.token({ ...claimsOf('ann'), ...claims }) })).status;
    assert.equal(await status({}), 401);
    assert.equal(await status({ aud: 'chat' }), 401);
    assert.equal(await status({ aud: 'other', iss: 'https://id.example' }), 401);
    assert.equal(await status({ aud: 'chat', iss: 'https://id.example/' }), 401);
    assert.equal(await status({ aud: 'chat', iss: 'https://id.example' }), 200);
    assert.equal(await status({ aud: ['x', 'chat'], iss: 'https://id.example' }), 200);
    assert.equal((await stack.request('POST', '/v1/demo/session', { ...GUEST, bridge })).status, 200);
});

test('the 401 tells a program what to do', async () => {
    const none = await stack.request('GET', '/v1/threads', { token: null });
    assert.equal(none.headers.get('www-authenticate'), 'Bearer realm="threadcast"');
    assert.equal(none.json.error.code, 'unauthorized');
    const old = await stack.request('GET', '/v1/threads', { seconds: -60 });
    assert.equal(old.json.error.code, 'token_expired');
    assert.match(String(old.headers.get('www-authenticate')), /error="invalid_token"/);
    const metrics = await stack.bridge.metrics();
    const refusals = Object.entries(metrics).filter(([name, value]) => /auth/.test(name) && value > 0);
    assert.ok(refusals.length >= 2, JSON.stringify(metrics));
});

test('Authorization beats the cookie, also when it is no good', async () => {
    const opened = await stack.request('POST', '/v1/session', { sub: 'cara' });
    assert.equal(opened.json.sub, 'cara');
    assert.ok(Math.abs(opened.json.expiresAt - Date.now() - 3_600_000) < 5000);
    const headers = { Cookie: stack.secret(String(opened.headers.get('set-cookie')).split(';')[0]) };
    await stack.thread('caras', 'cara');
    const read = async (/** @type {object} */ who) =>
        (await stack.request('GET', '/v1/threads/caras/messages', { headers, ...who })).status;
    assert.equal(await read({ token: null }), 200);
    assert.equal(await read({ sub: 'dora' }), 403);
    assert.equal(await read({ token: 'x' }), 401);
    assert.equal(await read({ token: null, headers: { ...headers, Authorization: 'Basic eDp5' } }), 401);
});

test('a token too long for a cookie is refused', async () => {
    const answer = await stack.request('POST', '/v1/session', {
        token: stack.signer.token({ ...claimsOf('ann'), pad: 'x'.repeat(2750) }) });
    assert.equal(answer.status, 400, answer.text);
    assert.equal(answer.json.error.code, 'token_too_long');
    assert.equal(answer.headers.get('set-cookie'), null);
});

test('the cookie is Secure but on plain loopback', async () => {
    const bridge = await stack.startBridge({ 'trusted-proxies': '127.0.0.1', 'public-origin': 'https://chat.example' });
    const enter = async (/** @type {string} */ host, /** @type {string} */ more) => {
        const answer = await raw(bridge.port, `POST /v1/demo/session HTTP/1.1\r\nHost: ${host}\r\n${more}` +
            'Content-Length: 0\r\nConnection: close\r\n\r\n');
        assert.equal(answer.status, 200, answer.text);
        return /^Set-Cookie: .*; Secure\r$/m.test(answer.text);
    };
    assert.equal(await enter('localhost', 'Origin: http://localhost\r\n'), false);
    assert.equal(await enter('localhost', ''), true, 'nobody says what the browser sees but --public-origin');
    assert.equal(await enter('127.0.0.1:8080', 'Origin: https://chat.example\r\n'), true, 'a proxy rewrites Host');
    assert.equal(await enter('chat.example', ''), true);
    assert.equal(await enter('localhost', 'X-Forwarded-Proto: https\r\n'), true);
    assert.equal(await enter('localhost', 'X-Forwarded-Host: chat.example\r\nX-Forwarded-Proto: https\r\n' +
                                          'Origin: https://chat.example\r\n'), true);
});

test("a page of a stranger's name that points here gets no guest", async () => {
    const enter = (/** @type {string} */ host, more = '') => raw(stack.bridge.port,
        `POST /v1/demo/session HTTP/1.1\r\nHost: ${host}\r\n${more}Content-Length: 0\r\nConnection: close\r\n\r\n`);
    const rebound = await enter('evil.example', 'Origin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n');
    assert.equal(rebound.status, 403);
    assert.match(rebound.text, /host_not_allowed/);
    const foreign = await enter(`localhost:${stack.bridge.port}`, 'Sec-Fetch-Site: cross-site\r\n');
    assert.equal(foreign.status, 403);
    assert.match(foreign.text, /origin_not_allowed/);
    assert.equal((await enter('192.0.2.7:8080')).status, 200);
});

test('new guests are limited by address, and counted', async () => {
    const bridge = await stack.startBridge({ 'demo-sessions-per-min': 2, 'trusted-proxies': '127.0.0.1' });
    const enter = (/** @type {string} */ address, at = bridge) => stack.request('POST', '/v1/demo/session', {
        ...GUEST, bridge: at, headers: { 'X-Forwarded-For': address } });
    assert.equal((await enter('198.51.100.1')).status, 200);
    assert.equal((await enter('198.51.100.1')).status, 200);
    const third = await enter('198.51.100.1');
    assert.equal(third.status, 429);
    assert.ok(Number(third.headers.get('retry-after')) > 0);
    assert.equal((await enter('198.51.100.2')).status, 200);
    const counted = Object.entries(await bridge.metrics()).filter(([name]) => name.includes('demo-sessions'));
    assert.deepEqual(counted.map(([, value]) => value), [1]);
    /** @param {string[]} addresses @param {import('./harness.mjs').Bridge} [at] */
    const statuses = async (addresses, at) => {
        const seen = [];
        for (const address of addresses) seen.push((await enter(address, at)).status);
        return seen;
    };
    assert.deepEqual(await statuses(['2001:db8:1:2::1', '2001:db8:1:2::2', '2001:db8:1:2:3::', '2001:db8:1:3::1']), [200, 200, 429, 200],
                     'whoever has one IPv6 address has a network of them');
    const plain = await stack.startBridge({ 'demo-sessions-per-min': 2 });
    assert.deepEqual(await statuses(['198.51.100.1', '198.51.100.2', '198.51.100.3'], plain), [200, 200, 429],
                     'who is no proxy of ours speaks for nobody');
});

test('a ticket lasts as long as what it stands on', async () => {
    const granted = await stack.thread();
    const owned = await stack.thread();
    const made = await stack.request('POST', '/v1/tickets', { read: [granted], json: { threads: [granted, owned] } });
    assert.equal(made.status, 200, made.text);
    assert.ok(made.json.expiresAt <= Date.now() + 3_600_000);
    const ticket = stack.secret(made.json.ticket);
    const query = `thread=${granted}&thread=${owned}&ticket=${ticket}`;
    const both = stack.events(`/v1/events?${query}`, { token: null });
    const one = stack.threadEvents(granted, `ticket=${ticket}`, { token: null });
    await Promise.all([both.named('ready'), one.named('ready')]);
    await stack.pg.query("update threads set owner = 'bob'");
    await closedWithin(both);
    assert.equal((await stack.request('GET', `/v1/events?${query}`, { token: null })).status, 403);
    assert.equal(one.ending, '', 'what was granted by the token stays');
    one.close();
    const short = await stack.request('POST', '/v1/tickets', { read: ['t'], seconds: 30, json: { threads: ['t'] } });
    assert.ok(short.json.expiresAt <= Date.now() + 30_000, 'not longer than the token');
});

test('tickets: what cannot be one', async () => {
    const ask = async (/** @type {unknown} */ threads) => {
        const { status, json } = await stack.request('POST', '/v1/tickets', { read: ['*'], json: { threads } });
        return `${status} ${json.error?.code}`;
    };
    assert.equal(await ask([]), '400 bad_threads');
    assert.equal(await ask('t'), '400 bad_threads');
    assert.equal(await ask(Array(33).fill('t')), '400 bad_threads');
    assert.equal(await ask(['*']), '400 bad_thread_id');
    assert.equal(await ask(['t', 1]), '400 bad_thread_id');
    assert.equal(await ask(Array.from({ length: 32 }, (_, i) => String(i).padStart(128, 't'))), '400 ticket_too_long');
    assert.equal(await ask(['t']), '200 undefined');
});

test('owners that change while nobody listens are noticed when somebody does again', async () => {
    const thread = await stack.thread();
    const stream = stack.threadEvents(thread);
    await stream.named('ready');
    await until(async () => (await stack.pg.query(
        `select 1 from pg_stat_activity where application_name like 'threadcast-bridge:%:listen'`)).length > 0, { what: 'somebody listens' });
    // in one go: the listener has gone before there is anything to hear
    const [{ gone }] = await stack.pg.query(`
        select count(pg_terminate_backend(pid, 5000))::int as gone from pg_stat_activity
         where application_name like 'threadcast-bridge:%:listen'`);
    assert.ok(gone >= 1);
    await stack.pg.query("update threads set owner = 'bob' where id = $1", [thread]);
    await closedWithin(stream);
});

test('a storm of readers of one thread asks Postgres a few times', async () => {
    const READERS = 300;
    const thread = await stack.thread();
    const token = stack.token();
    const statements = async () => {
        const out = stack.pg.child?.output ?? '';
        return out.split('SELECT owner = $2').length - 1;
    };
    await stack.pg.query("alter system set log_statement = 'all'");
    await stack.pg.query('select pg_reload_conf()');
    await until(async () => {
        await stack.request('GET', `/v1/threads/${thread}/messages`, { token });
        return await statements() > 0;
    }, { what: 'statements are logged' });
    const before = await statements();
    const streams = Array.from({ length: READERS }, () => stack.threadEvents(thread, '', { token }));
    await Promise.all(streams.map((stream) => stream.named('ready')));
    const asked = await statements() - before;
    assert.ok(asked >= 1 && asked < READERS / 3, `${asked} statements for ${READERS} readers`);
    // and all of them lose it together
    const middle = await statements();
    await stack.pg.query("update threads set owner = 'bob' where id = $1", [thread]);
    await Promise.all(streams.map((stream) => closedWithin(stream)));
    assert.ok(await statements() - middle < READERS / 3);
    await stack.pg.query('alter system reset log_statement');
    await stack.pg.query('select pg_reload_conf()');
});

test('Postgres silent is not a no: try again', async () => {
    const thread = await stack.thread();
    const pool = stack.pg;
    // a lock that every question about owners waits for, held until it is taken away
    const holder = pool.query(`do $$ begin
        lock table threads in access exclusive mode; perform pg_sleep(60); end $$`).catch(() => {});
    await until(async () => (await pool.query(`select 1 from pg_locks where mode = 'AccessExclusiveLock'
        and relation = 'threadcast.threads'::regclass and granted`)).length);
    try {
        const stream = stack.threadEvents(thread);
        await stream.named('busy');
        await stream.end();
        assert.equal(stream.status, 200);
        const ticket = await stack.request('POST', '/v1/tickets', { json: { threads: [thread] } });
        assert.equal(ticket.status, 503);
        // what the token says needs nobody's answer
        const granted = stack.threadEvents(thread, '', { sub: 'carl', read: [thread] });
        await granted.named('ready');
        granted.close();
    } finally {
        await pool.query(`select pg_terminate_backend(l.pid) from pg_locks l
            where l.mode = 'AccessExclusiveLock' and l.granted and l.relation = 'threadcast.threads'::regclass`);
        await holder;
    }
    await until(async () => (await stack.request('GET', `/v1/threads/${thread}/messages`)).status === 200);
});
