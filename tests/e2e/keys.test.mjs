// Several keys at once, keys that are changed while a bridge runs, tokens for development,
// and where the grants stand in a token.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { BIN, claimsOf, ROOT, run, Signer, Stack, until } from './harness.mjs';

/** @type {Stack} */
let stack;
const [pem, secret, previous] = ['keys.pem', 'secret', 'previous'];
const [rsa, ec, ed, late] = /** @type {const} */ (['RS256', 'ES256', 'EdDSA', 'RS256']).map((kind) => new Signer(kind));
const [now, then, next] = Array.from({ length: 3 }, () => new Signer('HS256'));

const file = (/** @type {string} */ name) => path.join(stack.dir, name);
const write = (/** @type {string} */ name, /** @type {string} */ text) => fs.writeFileSync(file(name), text, { mode: 0o600 });
/** Two secrets are read from files, as operators have them. */
const env = () => ({ JWT_SECRET: '', JWT_SECRET_FILE: file(secret), JWT_SECRET_PREVIOUS_FILE: file(previous),
                     JWT_PUBLIC_KEY_FILE: file(pem) });

before(async () => {
    stack = await Stack.start({ postgres: false, bridges: 0 });
    for (const signer of [now, then, next]) stack.secret(signer.secret);
    write(pem, `# the issuer's\n${rsa.publicPem}\n${ec.publicPem}and its new one\n${ed.publicPem}`);
    write(secret, `${now.secret}\n`);
    write(previous, `${then.secret}\n\n${next.secret}\n`);
    await stack.startBridge({ reactors: 2 }, env());
});

const tokenOf = (/** @type {Signer} */ signer) => signer.token(claimsOf('ann', { read: ['t1'] }));
const ask = (/** @type {string} */ token, bridge = stack.bridge) =>
    stack.request('POST', '/v1/tickets', { token, bridge, json: { threads: ['t1'] } });
const status = async (/** @type {Signer} */ signer) => (await ask(tokenOf(signer))).status;
const opens = async (/** @type {string} */ ticket) => {
    const stream = stack.events(`/v1/threads/t1/events?ticket=${ticket}`, { token: null });
    const answer = await stream.opened();
    stream.close();
    return answer;
};

/** SIGHUP, and what it says; then every reactor has heard of it. */
async function reload(/** @type {RegExp} */ says) {
    const from = stack.bridge.child.output.length;
    stack.bridge.child.kill('SIGHUP');
    await stack.bridge.child.line(says, { from });
    await stack.bridge.metrics(); // asks each of them, behind the news
}

test('each of several keys is taken, for its own algorithm', async () => {
    for (const signer of [rsa, ec, ed, now, then, next]) assert.equal(await status(signer), 200, signer.algorithm);
    assert.equal(await status(late), 401);
    for (const alg of ['HS256', 'ES256', 'none']) {
        assert.equal((await ask(rsa.token(claimsOf('ann', { read: ['t1'] }), { alg }))).status, 401, alg);
    }
    const confused = new Signer('HS256', rsa.publicPem);
    assert.equal(await status(confused), 401, 'the text of a public key signs nothing');
});

test('SIGHUP changes keys without a restart; tickets and streams live on', async () => {
    const { ticket } = (await ask(tokenOf(now))).json;
    const stream = stack.events('/v1/threads/t1/events', { token: tokenOf(rsa) });
    await stream.named('ready');
    write(pem, late.publicPem);
    write(secret, next.secret); // the next takes its place, and what was is accepted on
    write(previous, now.secret);
    await reload(/info keys read again keys=3/);
    for (const signer of [late, next, now]) assert.equal(await status(signer), 200);
    for (const signer of [rsa, ec, ed, then]) assert.equal(await status(signer), 401);
    assert.equal(await opens(ticket), 200);
    assert.equal(stream.ending, '');
    write(previous, '');
    await reload(/error keys could not be read again: going on with the old why=\S*previous: is empty/);
    assert.equal(await status(now), 200);
    write(previous, then.secret);
    write(pem, late.publicPem.replace(/\n.{10}/, '\n##########'));
    await reload(/error keys could not be read again/);
    assert.equal(await status(late), 200);
    write(pem, late.publicPem);
    await reload(/info keys read again/);
    assert.equal(await status(now), 401);
    assert.equal(await opens(ticket), 401, 'its secret has gone');
});

/** `threadcast-bridge token …` */
const token = (/** @type {string[]} */ args, /** @type {Record<string, string>} */ more = {}) =>
    run(path.join(BIN, 'threadcast-bridge'), ['token', ...args], { env: { ...env(), ...more } });

test('a token for development is made by the bridge itself', async () => {
    const made = await token(['--sub', 'ann', '--read', 't*', '--read=x', '--write', 't1', '--ttl', '60', '--jti', 'one']);
    assert.equal(made.code, 0, made.stderr);
    const text = made.stdout.trim();
    const { iat, exp, ...claims } = JSON.parse(Buffer.from(text.split('.')[1], 'base64url').toString());
    assert.deepEqual(claims, { sub: 'ann', jti: 'one', threadcast: { read: ['t*', 'x'], write: ['t1'] } });
    assert.equal(exp - iat, 60);
    assert.equal((await ask(text)).status, 200);
    /** @type {[string[], RegExp][]} */
    const bad = [[[], /--sub/], [['--sub', 'a\nb'], /--sub/], [['--sub', 'a', '--read', 'a*b'], /--read/], [['--sub', 'a', '--ttl', '0'], /--ttl/],
                 [['--sub', 'a', '--ttl', '1h'], /--ttl/], [['--sub', 'a', '--wriet', 'x'], /wriet/], [['--sub', 'a', 'b'], /unexpected argument/],
                 [['--sub', 'a', '--read', 'x', '--jwt-grants-claim', '/sub/x'], /must be two places/],
                 [['--sub', 'a', '--jwt-sub-claim', 'exp'], /must be two places/]];
    for (const [args, why] of bad) {
        const { code, stdout, stderr } = await token(args);
        assert.ok(code, args.join(' '));
        assert.match(stderr, why);
        assert.equal(stdout, '');
        for (const signer of [now, then, next]) assert.ok(!stderr.includes(signer.secret));
    }
    const keyless = await token(['--sub', 'a'], { JWT_SECRET_FILE: '', JWT_SECRET_PREVIOUS_FILE: '' });
    assert.match(keyless.stderr, /only JWT_SECRET/);
    const nowhere = await token(['--sub', 'a', '--demo'], { JWT_SECRET_FILE: file('nowhere') });
    assert.equal(nowhere.code, 1);
    assert.ok(!fs.existsSync(file('nowhere')), 'it makes no key');
    const script = await run(path.join(ROOT, 'scripts/token'), ['--sub', 'ann', '--read', 't1', '--key-file', file(secret)]);
    assert.equal((await ask(script.stdout.trim())).status, 200);
});

test('grants stand where the options say', async () => {
    const options = { 'jwt-grants-claim': '/app_metadata/threadcast', 'jwt-audience': 'us' };
    const bridge = await stack.startBridge(options, env());
    const of = (/** @type {object} */ more) => next.token({ ...claimsOf('ann', { aud: 'us' }), ...more });
    const grants = { read: ['t1'] };
    await until(async () => (await ask(of({ app_metadata: { threadcast: grants } }), bridge)).status === 200);
    for (const more of [{}, { threadcast: grants }, { app_metadata: {} }, { app_metadata: null },
                        { '/app_metadata/threadcast': grants }]) {
        assert.equal((await ask(of(more), bridge)).status, 403, JSON.stringify(more));
    }
    for (const app_metadata of ['x', [grants], { threadcast: null }, { threadcast: { read: 't1' } }]) {
        assert.equal((await ask(of({ app_metadata }), bridge)).status, 401, JSON.stringify(app_metadata));
    }
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
    const made = await token(['--sub', 'ann', '--read', 't1', ...flags]);
    assert.equal((await ask(made.stdout.trim(), bridge)).status, 200);
});

test('the subject stands where the options say', async () => {
    const options = { 'jwt-sub-claim': '/app_metadata/uid', demo: true };
    const bridge = await stack.startBridge(options, env());
    const of = (/** @type {object} */ more) => next.token({ ...claimsOf('eve', { read: ['t1'] }), ...more });
    const subject = async (/** @type {string} */ bearer) => {
        const answer = await bridge.fetch('/v1/session', { method: 'POST', headers: { Authorization: `Bearer ${bearer}` } });
        return answer.ok ? (await answer.json()).sub : answer.status;
    };
    await until(async () => await subject(of({ app_metadata: { uid: 'ann' } })) === 'ann');
    for (const more of [{}, { app_metadata: {} }, { app_metadata: null }, { app_metadata: { uid: '' } }, { app_metadata: { uid: 7 } },
                        { app_metadata: 'x' }, { app_metadata: ['ann'] }, { '/app_metadata/uid': 'ann' }]) {
        assert.equal(await subject(of(more)), 401, `never the claim of another name: ${JSON.stringify(more)}`);
    }
    const made = await token(['--sub', 'bob', '--jwt-sub-claim', '/app_metadata/uid']);
    assert.equal(await subject(made.stdout.trim()), 'bob');
    const guest = await bridge.fetch('/v1/demo/session', { method: 'POST' });
    const cookie = (guest.headers.get('set-cookie') ?? '').split(';')[0];
    assert.equal((await bridge.fetch('/v1/demo/session', { method: 'POST', headers: { Cookie: cookie } })).status, 200);
    assert.equal(await subject(stack.secret(cookie.slice(cookie.indexOf('=') + 1))), (await guest.json()).sub);
});
