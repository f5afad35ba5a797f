// Keys that an issuer publishes: fetched, kept, changed without a gap, and never a way in
// for tokens that it has not signed.

import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { base64url, BIN, Child, claimsOf, run, Signer, Stack, until } from './harness.mjs';
import { Issuer, jwkOf } from './lib/issuer.mjs';

const FETCHES = (/** @type {string} */ result) => `threadcast_bridge_jwks_fetches_total{result="${result}"}`;

/** @type {Stack} */
let stack;
const issuer = new Issuer();
/** the first key */
const first = issuer.newKey('first');

before(async () => {
    await issuer.start();
    // the refresh is far away: what is fetched is fetched because somebody asked
    stack = await Stack.start({ postgres: false, env: { JWT_JWKS_URL: issuer.url },
                                bridge: { reactors: 2, 'gather-readers': 0, 'jwks-refresh-s': 3600, 'jwks-min-interval-s': 1,
                                          'jwks-timeout-ms': 300, 'jwks-wait-ms': 20_000 } });
});
after(() => issuer.stop());

/** A token of the issuer's. */
const issued = (/** @type {Signer} */ signer, /** @type {string | undefined} */ kid, claims = {}) =>
    signer.token(claimsOf('ann', { read: ['t1'], write: ['t1'], ...claims }), kid === undefined ? {} : { kid });

/** One of ours. */
const own = () => stack.token({ read: ['t1'] });

/** What a route says to it. POST …/tickets asks for nothing but who it is. */
const answer = (/** @type {string | null} */ token, bridge = stack.bridge) =>
    stack.request('POST', '/v1/tickets', { token, bridge, json: { threads: ['t1'] } });

const status = async (/** @type {string | null} */ token, bridge = stack.bridge) =>
    (await answer(token, bridge)).status;

/** Makes the bridge ask the issuer, and waits for what comes of it. */
async function refetch(/** @type {'ok' | 'failed'} */ result, bridge = stack.bridge) {
    const before = (await bridge.metrics())[FETCHES(result)];
    bridge.child.kill('SIGHUP');
    await until(async () => (await bridge.metrics())[FETCHES(result)] > before, {
        what: () => `a fetch ends: ${result}\n${bridge.child.tail()}` });
}

test('a key that is new is fetched while its tokens wait; streams go on', async () => {
    const stream = stack.events('/v1/threads/t1/events', { token: issued(first, 'first') });
    assert.equal(await stream.opened(), 200);
    await stream.named('ready');
    const second = issuer.newKey('second', 'ES256');
    const asked = issuer.asked;
    // over connections of their own, so that both reactors are met
    const answers = await Promise.all(Array.from({ length: 12 }, () => {
        const other = stack.events('/v1/threads/t1/events', { token: issued(second, 'second') });
        return other.named('ready').then(() => other.status);
    }));
    assert.deepEqual(new Set(answers), new Set([200]));
    assert.equal(await status(issued(second, 'second')), 200);
    assert.equal(issuer.asked, asked + 1, 'asked once for all of them');
    assert.equal(await status(own()), 200, 'our own secret goes on besides');
    // the old key goes: its tokens are refused, but not the stream that they have opened
    issuer.keys = issuer.keys.filter((key) => key.kid !== 'first');
    await refetch('ok');
    assert.notEqual(await status(issued(first, 'first')), 200);
    assert.equal(await status(issued(second, 'second')), 200);
    await stack.publish('t1', { type: 'token', content: 'still here' }, { token: issued(second, 'second') });
    assert.equal((await stream.type('token')).json.content, 'still here');
    assert.equal(stream.ending, '');
    issuer.keys = [jwkOf(first, { kid: 'first' })];
    await refetch('ok');
});

/** @type {[why: RegExp, instead: import('./lib/issuer.mjs').Answer][]} */
const TROUBLES = [
    [/no JSON object/, (_, response) => response.writeHead(200, { 'Content-Type': 'text/html' }).end('<html>maintenance</html>')],
    [/no list of/, (_, response) => response.end('{"error":"later"}')],
    [/no key for RS256/, (_, response) => response.end('{"keys":[]}')],
    [/no JSON object/, (_, response) => response.end('{"keys":[],"keys":[]}')],
    [/no JSON object/, (_, response) => response.end(`{"keys":${'['.repeat(100_000)}`)],
    [/302: redirects are not followed/, (_, response) => response.writeHead(302, { Location: issuer.url }).end()],
    [/answered 500/, (_, response) => response.writeHead(500).end('{"keys":[]}')],
    [/larger than it may be|file size/, (_, response) => response.end(' '.repeat(1_100_000))],
    [/./, (_, response) => response.write('{"keys":')], // and no more
    [/./, (request) => request.socket.destroy()],
];

test('whatever goes wrong, the keys that were there go on', async () => {
    const token = issued(first, 'first');
    for (const [why, instead] of TROUBLES) {
        const from = stack.bridge.child.output.length;
        issuer.instead = instead;
        await refetch('failed');
        const [line] = await stack.bridge.child.line(/warn the issuer's keys.*/, { from });
        assert.match(line, why);
        assert.equal(await status(token), 200, `after: ${line}`);
        issuer.instead = null;
        await refetch('ok');
    }
    assert.equal((await stack.bridge.fetch('/readyz')).status, 200);
});

test('a failure that lasts is said once, counted, and its age is there', async () => {
    const from = stack.bridge.child.output.length;
    issuer.instead = (_, response) => response.writeHead(503).end();
    await refetch('failed');
    await refetch('failed');
    const unknown = await answer(issued(first, 'never heard of'));
    assert.deepEqual([unknown.status, unknown.json.error.code], [503, 'keys_unavailable'],
                     'nobody can say that it is no key');
    issuer.instead = null;
    await refetch('ok');
    await stack.bridge.child.line(/info the issuer's keys are here/, { from });
    assert.equal(stack.bridge.child.output.slice(from).match(/warn the issuer's keys/g)?.length, 1);
    const metrics = await stack.bridge.metrics();
    assert.equal(metrics.threadcast_bridge_jwks_keys, 1);
    assert.ok(metrics.threadcast_bridge_jwks_age_seconds < 60);
});

test('who leaves while waiting is not waited for', async () => {
    const [asked, from] = [issuer.asked, stack.bridge.child.output.length];
    issuer.instead = () => {}; // until it takes too long
    /** @type {import('./harness.mjs').SseStream[]} */
    const streams = [];
    await until(() => {
        streams.push(stack.events('/v1/threads/t1/events', { token: issued(first, `unknown ${streams.length}`) }));
        return issuer.asked > asked;
    }, { every: 100, what: 'the issuer may be asked again, and is' });
    for (const stream of streams) stream.close();
    await stack.bridge.child.line(/warn the issuer's keys could not be fetched/, { from });
    issuer.instead = null;
    await refetch('ok');
    assert.equal(await status(issued(first, 'first')), 200);
});

test('what is no key for signatures is left out, and opens nothing', async () => {
    const [secret, other, ec] = [randomBytes(32), new Signer('RS256'), new Signer('ES256')];
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const whole = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({ format: 'jwk' });
    issuer.keys = [
        jwkOf(first, { kid: 'first', alg: 'RS256' }),
        jwkOf(other, { kid: 'first' }), // a second of that name
        jwkOf(ec, { kid: 'ec' }),
        jwkOf(new Signer('EdDSA'), { kid: 'ed', use: 'sig', key_ops: ['verify'] }),
        { kty: 'oct', kid: 'oct', k: base64url(secret), alg: 'HS256' },
        jwkOf(other, { kid: 'encryption', use: 'enc' }),
        jwkOf(other, { kid: 'ops', key_ops: ['encrypt'] }),
        jwkOf(other, { kid: 'alg', alg: 'RS512' }),
        jwkOf(other, { kid: 'ps', alg: 'PS256' }),
        jwkOf(other, { kid: 7 }),
        { ...p384, kid: 'p384' },
        { ...small.publicKey.export({ format: 'jwk' }), kid: 'small' },
        { ...whole.privateKey.export({ format: 'jwk' }), kid: 'private' },
        { ...jwkOf(ec), kid: 'off', y: base64url(randomBytes(32)) },
        { ...jwkOf(other), kid: 'one', e: 'AQ' },
        { ...jwkOf(other), kid: 'padded', n: `${jwkOf(other).n}=` },
        /** @type {any} */ (null), /** @type {any} */ ('key'), /** @type {any} */ ([]), {},
    ];
    await refetch('ok');
    const metrics = await stack.bridge.metrics();
    assert.equal(metrics.threadcast_bridge_jwks_keys, 3);
    assert.equal(metrics.threadcast_bridge_jwks_keys_skipped, 17);
    assert.equal(await status(issued(first, 'first')), 200);
    assert.equal(await status(issued(ec, 'ec')), 200);
    assert.equal(await status(issued(first, undefined)), 200, 'without a name the few are tried');
    const hmac = (/** @type {string | Buffer} */ key, /** @type {object} */ header) => {
        const input = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(claimsOf('ann', { read: ['t1'] })))}`;
        return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`;
    };
    const good = issued(first, 'first').split('.');
    /** @type {[string, string][]} */
    const forged = [
        ['the public key is no secret', hmac(first.publicPem, { alg: 'HS256', kid: 'first' })],
        ['nor is its modulus', hmac(Buffer.from(String(jwkOf(first).n), 'base64url'), { alg: 'HS256', kid: 'first' })],
        ['nor a symmetric key that the issuer shows', hmac(secret, { alg: 'HS256', kid: 'oct' })],
        ['our secret does not sign for the issuer', hmac(stack.signer.secret, { alg: 'RS256', kid: 'first' })],
        ['another key of that name', issued(other, 'first')],
        ['a key of another algorithm', issued(ec, 'first')],
        ['its own name, another algorithm', first.token(claimsOf('ann'), { kid: 'first', alg: 'ES256' })],
        ['no algorithm', `${base64url('{"alg":"none","kid":"first"}')}.${good[1]}.${good[2]}`],
        ['a key that the token brings along', other.token(claimsOf('ann'), { kid: 'first', jwk: jwkOf(other), jku: issuer.url })],
        ['a name that is no text', first.token(claimsOf('ann'), { kid: { $ne: '' } })],
    ];
    for (const [what, token] of forged) assert.equal(await status(token), 401, what);
    for (const kid of ['encryption', 'ops', 'alg', 'ps', 'small', 'private', 'one', 'off', 'padded', 'p384']) {
        assert.notEqual(await status(issued(other, kid)), 200, kid); // not known: asked about, or not now
    }
    issuer.keys = [jwkOf(first, { kid: 'first' })];
    await refetch('ok');
});

test('a flood of unknown keys is one question, and opens nothing', async () => {
    const bridge = await stack.startBridge({ reactors: 2, 'jwks-min-interval-s': 3600, 'jwks-refresh-s': 3600 });
    const asked = issuer.asked;
    const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => answer(issued(first, `k${i}`), bridge)));
    assert.equal(issuer.asked, asked + 1);
    for (const { status: code } of answers) assert.ok([401, 503].includes(code), String(code));
    assert.ok(answers.some(({ status: code }) => code === 401), 'those who waited know');
    const stranger = stack.events('/v1/threads/t1/events', { token: issued(first, 'late'), bridge });
    assert.equal((await stranger.named('busy')).json.reason, "the issuer's keys are not here yet");
    assert.equal(issuer.asked, asked + 1);
    assert.equal(await status(issued(first, 'first'), bridge), 200, 'who has a key does not notice');
    const metrics = await bridge.metrics();
    assert.ok(metrics['threadcast_bridge_limits_total{limit="jwks-min-interval-s"}'] >= 1);
});

test('while no key has come it is not ready, and says "later", not "no"', async () => {
    const late = new Issuer();
    const signer = late.newKey('k');
    late.instead = () => {}; // takes the question, and is silent
    await late.start();
    const starting = stack.startBridge({ 'jwks-wait-ms': 100, 'jwks-timeout-ms': 200, 'jwks-min-interval-s': 1, demo: true }, { JWT_JWKS_URL: late.url });
    starting.catch(() => {}); // awaited below
    const bridge = stack.bridges[stack.bridges.length - 1];
    await until(() => bridge.port);
    const ready = await bridge.fetch('/readyz');
    assert.equal(ready.status, 503);
    assert.equal((await ready.json()).keys, 'down');
    const refused = await answer(issued(signer, 'k'), bridge);
    assert.deepEqual([refused.status, refused.json.error.code], [503, 'keys_unavailable']);
    const visitor = await stack.request('POST', '/v1/demo/session', {
        bridge, token: null, headers: { Cookie: `threadcast_session=${issued(signer, 'k')}` } });
    assert.deepEqual([visitor.status, visitor.json.error?.code], [503, 'keys_unavailable'], 'no guest in their place');
    const stream = stack.events('/v1/threads/t1/events', { token: issued(signer, 'k'), bridge });
    await stream.named('busy');
    await until(async () => { // or the fetch had failed before
        await answer(issued(signer, 'k'), bridge);
        return (await bridge.metrics())['threadcast_bridge_limits_total{limit="jwks-wait-ms"}'] >= 1;
    }, { what: 'somebody waits for longer than --jwks-wait-ms' });
    assert.equal(await status(issued(signer, 'k').replace(/^[^.]+/, base64url('{"alg":"RS512"}')), bridge), 401);
    assert.equal(await status(own(), bridge), 200, 'our own secret needs no issuer');
    await bridge.child.line(/warn the issuer's keys could not be fetched: its tokens cannot be checked/);
    await late.stop(); // down altogether
    await until(async () => (await bridge.metrics())[FETCHES('failed')] >= 3);
    late.instead = null;
    late.headers = { 'Cache-Control': 'public, max-age=1' };
    await late.start();
    await starting;
    assert.equal(await status(issued(signer, 'k'), bridge), 200);
    const asked = late.asked;
    await until(() => late.asked > asked, { what: 'max-age is shorter than the refresh' });
    late.instead = () => {};
    bridge.child.kill('SIGHUP'); // a fetch is under way, and somebody waits for it
    const waiting = stack.events('/v1/threads/t1/events', { token: issued(signer, 'unknown'), bridge });
    await bridge.stop();
    await waiting.end();
    assert.equal(bridge.child.code, 0);
    await late.stop();
});

test('the issuer is known by its certificate', async () => {
    const [key, cert] = [path.join(stack.dir, 'tls.key'), path.join(stack.dir, 'tls.crt')];
    const made = await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                                       '-keyout', key, '-out', cert, '-days', '2', '-subj', '/CN=issuer',
                                       '-addext', 'subjectAltName=IP:127.0.0.1']);
    assert.equal(made.code, 0, made.stderr);
    const safe = new Issuer({ key: fs.readFileSync(key, 'utf8'), cert: fs.readFileSync(cert, 'utf8') });
    const signer = safe.newKey('k', 'EdDSA');
    await safe.start();
    const env = { JWT_SECRET: '', JWT_JWKS_URL: safe.url };
    const bridge = await stack.startBridge({ 'https-ca-file': cert }, env);
    assert.equal(await status(issued(signer, 'k'), bridge), 200);
    assert.equal(await status(own(), bridge), 401, 'without a secret HS256 is nothing');
    const wary = new Child('bridge', path.join(BIN, 'threadcast-bridge'), ['--listen', '127.0.0.1:0'],
                           { env: stack.env(env) }); // trusts the system's alone
    await wary.line(/warn the issuer's keys could not be fetched.*certificate/);
    assert.equal(safe.asked, 1);
    await wary.stop();
    assert.equal(wary.sanitizerReport(), '');
    await safe.stop();
});

test('an issuer with more keys than are taken, or more text', async () => {
    const large = await new Issuer().start();
    const keys = ['one', 'two', 'three'].map((kid) => large.newKey(kid, 'ES256'));
    const bridge = await stack.startBridge({ 'jwks-max-keys': 2, 'jwks-max-bytes': 1024, 'jwks-refresh-s': 3600,
                                             'jwks-min-interval-s': 3600 }, { JWT_JWKS_URL: large.url });
    const counts = async () => {
        const metrics = await bridge.metrics();
        return ['keys', 'keys_skipped'].map((name) => metrics[`threadcast_bridge_jwks_${name}`]);
    };
    assert.equal(await status(issued(keys[1], 'two'), bridge), 200);
    assert.deepEqual(await counts(), [2, 1]);
    large.keys = large.keys.slice(1);
    await refetch('ok', bridge);
    assert.equal(await status(issued(keys[2], 'three'), bridge), 200, 'there is room for it now');
    for (let n = 0; n < 5; n++) large.newKey(`more-${n}`, 'ES256');
    await refetch('failed', bridge);
    assert.equal(await status(issued(keys[2], 'three'), bridge), 200, 'the last ones go on');
    assert.deepEqual(await counts(), [2, 0]);
    await bridge.stop();
    await large.stop();
});
