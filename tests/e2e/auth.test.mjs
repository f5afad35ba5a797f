// Who may do what (contract: tokens, sessions, tickets, origins).

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { base64url, claimsOf, Signer, Stack, until } from './harness.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ demo: true, worker: { 'demo-rate': 0 }, bridge: { 'allowed-origins': 'https://app.example' } });
    await stack.thread('anns', 'ann');
    await stack.thread('bobs', 'bob');
});

/** @param {string | null} token */
const status = async (token, path = '/v1/threads/anns/messages') =>
    (await stack.request('GET', path, { token })).status;

test('no token 401, a good one 200, and the refusal has a code', async () => {
    const nobody = await stack.request('GET', '/v1/threads/anns/messages', { token: null });
    assert.equal(nobody.status, 401);
    assert.match(nobody.json.error.code, /^[a-z_]+$/);
    assert.equal(await status(stack.token()), 200);
    assert.equal((await stack.request('GET', '/v1/threads/anns/events', { token: null })).status, 401);
});

test("somebody else's thread and one that is not there look the same: 403", async () => {
    const answers = await Promise.all(['bobs', 'nobodys'].flatMap((thread) => ['messages', 'events']
        .map((what) => stack.request('GET', `/v1/threads/${thread}/${what}`))));
    for (const [i, { status: code, text }] of answers.entries()) {
        assert.equal(code, 403);
        assert.equal(text, answers[i % 2].text);
    }
    const post = await stack.request('POST', '/v1/threads/bobs/messages', { json: { content: 'x' } });
    assert.equal(post.status, 403);
    assert.equal((await stack.publish('anns', { type: 'token', content: 'x' }, { write: undefined })).status, 403,
                 'an owner does not publish events');
});

test('grants: exact ids and prefixes', async () => {
    const read = async (/** @type {string[]} */ grants, /** @type {string} */ thread) =>
        (await stack.request('GET', `/v1/threads/${thread}/messages`, { sub: 'carl', read: grants })).status;
    assert.equal(await read(['anns'], 'anns'), 200);
    assert.equal(await read(['ann*'], 'anns'), 200);
    assert.equal(await read(['ann'], 'anns'), 403);
    assert.equal(await read(['b*'], 'anns'), 403);
    assert.equal((await stack.publish('anns', { type: 'token', content: 'x' }, { sub: 'carl', read: ['anns'] , write: [] })).status, 403);
    assert.ok((await stack.publish('anns', { type: 'token', content: 'x' }, { sub: 'carl', write: ['an*'] })).status < 300);
});

const now = () => Math.floor(Date.now() / 1000);
const good = () => claimsOf('ann');

/** @type {[what: string, token: () => string][]} */
const REFUSED = [
    ['expired', () => stack.signer.token({ ...good(), exp: now() - 60 })],
    ['not yet valid', () => stack.signer.token({ ...good(), nbf: now() + 600 })],
    ['without exp', () => stack.signer.token({ sub: 'ann' })],
    ['exp as a string', () => stack.signer.token({ sub: 'ann', exp: String(now() + 100) })],
    ['exp as a real', () => stack.signer.tokenOf('{"alg":"HS256"}', `{"sub":"ann","exp":${now() + 100}.5}`)],
    ['exp 2^63', () => stack.signer.tokenOf('{"alg":"HS256"}', '{"sub":"ann","exp":9223372036854775808}')],
    ['without sub', () => stack.signer.token({ exp: now() + 100 })],
    ['an empty sub', () => stack.signer.token(claimsOf(''))],
    ['CR LF in sub', () => stack.signer.token(claimsOf('a\r\nb'))],
    ['NUL in sub', () => stack.signer.token(claimsOf('a\0b'))],
    ['another key', () => new Signer('HS256').token(good())],
    ...['none', 'None', 'NONE', 'nOnE', '', 'HS384', 'HS512', 'RS256', 'ES256', 'hs256'].map((alg) =>
        /** @type {[string, () => string]} */ ([`alg ${JSON.stringify(alg)}`, () => stack.signer.token(good(), { alg })])),
    ['alg none, no signature', () => `${base64url('{"alg":"none"}')}.${base64url(JSON.stringify(good()))}.`],
    ['no alg', () => stack.signer.tokenOf('{}', JSON.stringify(good()))],
    ['alg twice', () => stack.signer.tokenOf('{"alg":"HS256","alg":"none"}', JSON.stringify(good()))],
    ['an unknown crit', () => stack.signer.token(good(), { crit: ['x'], x: 1 })],
    ['claims twice', () => stack.signer.tokenOf('{"alg":"HS256"}', `{"sub":"ann","sub":"bob","exp":${now() + 100}}`)],
    ['claims that are no object', () => stack.signer.tokenOf('{"alg":"HS256"}', '["ann"]')],
    ['3,000 levels', () => stack.signer.tokenOf('{"alg":"HS256"}', `{"a":${'['.repeat(1200)}${']'.repeat(1200)},"sub":"ann","exp":${now() + 100}}`)],
    ['4,097 bytes', () => stack.signer.token({ ...good(), pad: 'x'.repeat(3500) })],
    ['grants of the wrong type', () => stack.signer.token({ ...good(), threadcast: { read: 'anns' } })],
    ['grants that are numbers', () => stack.signer.token({ ...good(), threadcast: { read: [1] } })],
    ['a star in the middle', () => stack.signer.token({ ...good(), threadcast: { read: ['a*b'] } })],
    ['two stars', () => stack.signer.token({ ...good(), threadcast: { read: ['a**'] } })],
    ['no dots', () => 'abc'], ['one dot', () => 'a.b'], ['only dots', () => '..'],
    ['four dots', () => `${stack.signer.token(good())}.x.y`],
    ['padding', () => { const [h, c, s] = stack.signer.token(good()).split('.'); return `${h}.${c}.${s}=`; }],
    ['an empty signature', () => `${stack.signer.token(good()).split('.').slice(0, 2).join('.')}.`],
    ['a signature of hex', () => {
        const [h, c] = stack.signer.token(good()).split('.');
        return `${h}.${c}.${createHmac('sha256', stack.signer.secret).update(`${h}.${c}`).digest('hex')}`;
    }],
    ['non-canonical last bits', () => {
        const token = stack.signer.token(good());
        const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
        const last = alphabet.indexOf(token.at(-1) ?? '');
        return token.slice(0, -1) + alphabet[last ^ 1];
    }],
];

describe('tokens that are refused with 401', () => {
    for (const [what, token] of REFUSED) {
        test(what, async () => assert.equal(await status(token()), 401));
    }

    test('each bit of the signature flipped', async () => {
        const [head, claims, signature] = stack.signer.token(good()).split('.');
        const bytes = Buffer.from(signature, 'base64url');
        for (let bit = 0; bit < bytes.length * 8; bit += process.env.THREADCAST_FULL ? 1 : 7) {
            const forged = Buffer.from(bytes);
            forged[bit >> 3] ^= 1 << (bit & 7);
            assert.equal(await status(`${head}.${claims}.${base64url(forged)}`), 401, `bit ${bit}`);
        }
    });
});

test('30 s of leeway', async () => {
    assert.equal(await status(stack.signer.token({ ...good(), exp: now() - 10 })), 200);
    assert.equal(await status(stack.signer.token({ ...good(), nbf: now() + 10 })), 200);
});

test('a token in the query is not taken', async () => {
    assert.equal(await status(null, `/v1/threads/anns/messages?token=${stack.token()}`), 401);
    const bridge = await stack.startBridge({ 'allow-query-token': true });
    const token = stack.token();
    const answer = await stack.request('GET', `/v1/threads/anns/messages?token=${token}`, { token: null, bridge });
    assert.equal(answer.status, 200);
    assert.ok(!bridge.output.includes(token));
});

test('session: a cookie that a plain EventSource sends by itself', async () => {
    const opened = await stack.request('POST', '/v1/session');
    assert.ok(opened.status >= 200 && opened.status < 300, opened.text);
    const cookie = String(opened.headers.get('set-cookie'));
    for (const part of [/; *HttpOnly/i, /; *SameSite=Strict/i, /; *Path=\//i]) assert.match(cookie, part);
    const pair = stack.secret(cookie.split(';')[0]);
    const answer = await stack.request('GET', '/v1/threads/anns/messages', { token: null, headers: { Cookie: pair } });
    assert.equal(answer.status, 200);
    const stream = stack.threadEvents('anns', '', { token: null, headers: { Cookie: `a=b; ${pair}; c=d` } });
    await stream.named('ready');
    stream.close();
    const cleared = await stack.request('DELETE', '/v1/session', { token: null, headers: { Cookie: pair } });
    assert.ok(cleared.status < 300);
    assert.match(String(cleared.headers.get('set-cookie')), /Max-Age=0|Expires=Thu, 01 Jan 1970/i);
    assert.equal((await stack.request('POST', '/v1/session', { token: null })).status, 401);
});

test('ticket: reads these threads and nothing else', async () => {
    const made = await stack.request('POST', '/v1/tickets', { json: { threads: ['anns'] } });
    assert.ok(made.status >= 200 && made.status < 300, made.text);
    const ticket = stack.secret(made.json.ticket);
    const stream = stack.threadEvents('anns', `ticket=${encodeURIComponent(ticket)}`, { token: null });
    await stream.named('ready');
    stream.close();
    const query = `?ticket=${encodeURIComponent(ticket)}`;
    assert.notEqual((await stack.request('GET', `/v1/threads/bobs/events${query}`, { token: null })).status, 200);
    assert.notEqual((await stack.request('GET', `/v1/threads${query}`, { token: null })).status, 200);
    assert.notEqual((await stack.request('POST', `/v1/threads/anns/messages${query}`, { token: null, json: { content: 'x' } })).status, 202);
    assert.equal((await stack.request('GET', '/v1/threads/anns/messages', { token: ticket })).status, 401);
    assert.equal((await stack.request('POST', '/v1/tickets', { json: { threads: ['bobs'] } })).status, 403);
    const forged = ticket.slice(0, -2) + (ticket.endsWith('AA') ? 'BB' : 'AA');
    const refused = stack.threadEvents('anns', `ticket=${forged}`, { token: null });
    assert.equal(await refused.opened(), 401, 'a forged ticket');
    refused.close();
});

test('ticket: no longer than it says', async () => {
    const made = await stack.request('POST', '/v1/tickets', { read: ['anns'], seconds: 2, json: { threads: ['anns'] } });
    assert.equal(made.status, 200, made.text);
    const query = `ticket=${encodeURIComponent(stack.secret(made.json.ticket))}`;
    const open = async () => {
        const stream = stack.threadEvents('anns', query, { token: null });
        const status = await stream.opened();
        stream.close();
        return status;
    };
    assert.equal(await open(), 200);
    await until(() => Date.now() >= made.json.expiresAt, { what: 'its time is over' });
    assert.equal(await open(), 401, 'a ticket of before');
});

test('origins: another page may not drive this one', async () => {
    const attempt = async (/** @type {string} */ origin, method = 'POST') => (await stack.request(method, '/v1/threads', {
        json: method === 'POST' ? { metadata: {} } : undefined, headers: { Origin: origin } }));
    assert.equal((await attempt('https://evil.example')).status, 403);
    assert.equal((await attempt('null')).status, 403);
    assert.equal((await attempt('https://app.example.evil.example')).status, 403);
    const allowed = await attempt('https://app.example');
    assert.ok(allowed.status < 300, allowed.text);
    assert.equal(allowed.headers.get('access-control-allow-origin'), 'https://app.example');
    assert.match(String(allowed.headers.get('vary')), /Origin/i);
    assert.ok((await attempt(stack.url('').replace(/\/$/, ''))).status < 300, 'the same origin');
    assert.equal((await attempt('https://evil.example', 'GET')).headers.get('access-control-allow-origin'), null);
    const preflight = await stack.request('OPTIONS', '/v1/threads', { token: null, headers: {
        Origin: 'https://app.example', 'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization,content-type,idempotency-key,last-event-id' } });
    assert.ok(preflight.status < 300);
    assert.equal(preflight.headers.get('access-control-allow-origin'), 'https://app.example');
    assert.notEqual(preflight.headers.get('access-control-allow-origin'), '*');
    for (const name of ['Authorization', 'Content-Type', 'Idempotency-Key', 'Last-Event-ID']) {
        assert.match(String(preflight.headers.get('access-control-allow-headers')), new RegExp(name, 'i'));
    }
});

test('a stream ends within 5 s of its token: auth first, then a FIN', async (t) => {
    // 30 s of leeway are for clocks that differ, not for streams
    const exp = now() + 4;
    const token = stack.signer.token({ sub: 'ann', exp, iat: now() });
    const stream = stack.threadEvents('anns', '', { token });
    await stream.named('ready');
    await stream.named('auth');
    await stream.end();
    const late = Date.now() - exp * 1000;
    t.diagnostic(`${late} ms after its token`);
    assert.ok(late >= 0 && late <= 5000, `${late} ms after its token`);
    assert.equal(stream.ending, 'fin');
});

test('a stream closes within 5 s when the owner changes or the row goes', async () => {
    for (const change of ['update threads set owner = \'bob\' where id = $1', 'delete from threads where id = $1']) {
        const thread = await stack.thread();
        const mine = stack.threadEvents(thread);
        const granted = stack.threadEvents(thread, '', { sub: 'carl', read: [thread] });
        await Promise.all([mine.named('ready'), granted.named('ready')]);
        const began = performance.now();
        await stack.pg.query(change, [thread]);
        await mine.end();
        assert.ok(performance.now() - began < 5000);
        assert.equal((await stack.request('GET', `/v1/threads/${thread}/events`)).status, 403);
        granted.close();
    }
});

test('guests: own what they make, stay who they are, choose no ids', async () => {
    const enter = async (/** @type {Record<string, string>} */ headers) => {
        const answer = await stack.request('POST', '/v1/demo/session', { token: null, json: {}, headers });
        assert.ok(answer.status < 300, answer.text);
        return { answer, cookie: answer.headers.get('set-cookie')?.split(';')[0] ?? headers.Cookie };
    };
    const guest = await enter({});
    const other = await enter({});
    assert.notEqual(guest.cookie, other.cookie);
    const made = await stack.request('POST', '/v1/threads', { token: null, json: { metadata: { title: 'x' } },
                                                              headers: { Cookie: guest.cookie } });
    assert.ok(made.status < 300, made.text);
    const path = `/v1/threads/${made.json.id}/messages`;
    const again = await enter({ Cookie: guest.cookie });
    assert.equal((await stack.request('GET', path, { token: null, headers: { Cookie: again.cookie } })).status, 200);
    assert.equal((await stack.request('GET', path, { token: null, headers: { Cookie: other.cookie } })).status, 403);
    assert.equal((await stack.request('POST', '/v1/threads', { token: null, json: { id: 'chosen' },
                                                               headers: { Cookie: guest.cookie } })).status, 403);
});

for (const algorithm of /** @type {const} */ (['RS256', 'ES256', 'EdDSA'])) {
    test(`${algorithm} with a public key`, async () => {
        const other = await Stack.start({ postgres: false, algorithm });
        try {
            const open = async (/** @type {string} */ token) =>
                (await other.bridge.fetch('/v1/threads/x/events', { headers: { Authorization: `Bearer ${token}` } })).status;
            const claims = claimsOf('ann', { read: ['x'] });
            assert.equal(await open(other.signer.token(claims)), 200);
            assert.equal(await open(new Signer(algorithm).token(claims)), 401);
            // the public key as a secret: the classic confusion
            assert.equal(await open(new Signer('HS256', other.signer.publicPem).token(claims)), 401);
            assert.equal(await open(new Signer('HS256', other.signer.publicPem).token(claims, { alg: algorithm })), 401);
        } finally {
            await other.stop();
        }
    });
}

test('--auth none: loopback names only, and it says so', async () => {
    const bridge = await stack.startBridge({ auth: 'none', demo: false });
    assert.equal((await stack.request('GET', '/healthz', { token: null, bridge })).status, 200);
    const { raw } = await import('./lib/raw.mjs');
    const evil = await raw(bridge.port, 'GET /v1/threads/x/events HTTP/1.1\r\nHost: evil.example\r\n\r\n',
                           { enough: (text) => text.includes('\r\n\r\n') });
    assert.ok([400, 403, 421].includes(evil.status), evil.text);
    const post = await stack.request('POST', '/v1/threads', { token: null, json: {}, bridge,
                                                              headers: { Origin: 'https://evil.example' } });
    assert.equal(post.status, 403);
    assert.match(bridge.output, / warn .*auth/i);
    await until(() => bridge.child.running);
});
