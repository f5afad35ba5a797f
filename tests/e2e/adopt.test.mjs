// A team's own page, in a browser, behind nginx with nothing set, signed in by the team's own
// issuer: while one answer is being written the issuer's keys change, the token runs out,
// somebody else is revoked, and the bridge is restarted. Nothing is lost, nothing comes twice.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { claimsOf, freePort, PATIENCE_MS, Stack, until, withLogs } from './harness.mjs';
import { Front, nginxConf } from './lib/fronts.mjs';
import { Issuer } from './lib/issuer.mjs';

const TOKEN_S = 6;

/** What a team writes: sign in, read, and do what `auth` says. `newToken` is their own sign-in. */
const PAGE = `<!doctype html><meta charset="utf-8"><title>theirs</title><p id="answer"></p><script type="module">
const page = window.page = { ids: [], text: '', done: false, opened: 0, renewed: 0, auth: [] };
const signed = async (token, to, body) => {
    const answer = await fetch(to, { method: 'POST', headers: { Authorization: 'Bearer ' + token,
        'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(to + ' ' + answer.status + ' ' + await answer.text());
};
const renew = async (connection) => {
    const token = await newToken();
    await signed(token, '/v1/session', {}); // for the next connection
    await signed(token, '/v1/session/extend', { connection }); // for this one
    page.renewed++;
};
window.read = (thread, cursor) => {
    let at = cursor;
    // 502 while no bridge is there: EventSource gives up for ever, a page does not
    const again = () => setTimeout(() => open().catch(again), 100);
    const open = async () => {
        await signed(await newToken(), '/v1/session', {});
        const source = new EventSource('/v1/threads/' + thread + '/events?merge=0&since=' + at);
        page.opened++;
        source.onmessage = (e) => {
            const event = JSON.parse(e.data);
            page.ids.push(at = e.lastEventId);
            if (event.type === 'token') answer.textContent = page.text += event.content;
            if (event.type === 'done') { page.done = true; source.close(); }
        };
        source.addEventListener('auth', (e) => {
            const said = JSON.parse(e.data);
            page.auth.push(said.reason ?? 'renewed');
            // no bridge is there, or a new one: this stream is over, and the next one hears \`auth\` of its own
            if (said.connection) renew(said.connection).catch((error) => { if (!/ (404|502|503) /.test(error.message)) throw error; });
        });
        source.onerror = () => { if (source.readyState === 2 && !page.done) again(); };
    };
    return open().catch(again);
};
</script>`;

const issuer = new Issuer();
/** @type {Stack} */
let stack;
/** @type {Front} */
let front;
/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
    await issuer.start();
    issuer.newKey('first');
    const port = await freePort();
    stack = await Stack.start({
        env: { JWT_JWKS_URL: issuer.url }, worker: { agent: 'demo', 'demo-rate': 30 },
        bridge: { 'public-origin': `http://127.0.0.1:${port}`, 'jwks-refresh-s': 3600, 'jwks-min-interval-s': 1,
                  'jwks-wait-ms': 20_000, 'retry-ms': 50, 'drain-ms': 300 } });
    fs.chmodSync(stack.dir, 0o755);
    front = await Front.start('nginx', stack.dir, (dir, at) => {
        fs.writeFileSync(path.join(dir, 'chat.html'), PAGE);
        return nginxConf(dir, `
    server {
        listen 127.0.0.1:${at};
        location = /chat.html { default_type text/html; root ${dir}; }
        location / { proxy_pass http://127.0.0.1:${stack.bridge.port}; }
    }`);
    }, port);
    browser = await chromium.launch({
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run', '--no-proxy-server'] });
});
after(async () => {
    await browser?.close();
    await front?.stop();
    await issuer.stop();
});

test('rotation, expiry, somebody revoked, a restart: one answer, whole', () => withLogs(() => stack, async () => {
    let signer = issuer.newKey('second', 'ES256'), kid = 'second';
    const issued = (/** @type {string} */ sub, seconds = TOKEN_S, claims = {}) => {
        const token = signer.token({ ...claimsOf(sub, { seconds }), iat: Math.floor(Date.now() / 1000), ...claims }, { kid });
        stack.secret(token.split('.')[2]);
        return token;
    };
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    /** @type {string[]} */
    const exceptions = [];
    page.on('pageerror', (error) => exceptions.push(error.message));
    let signIns = 0;
    await page.exposeFunction('newToken', () => (signIns++, issued('ann')));
    await page.goto(`${front.origin}/chat.html`);
    const thread = await stack.thread();
    const { cursor, runId, runs } = await stack.post(thread, 'Wie heißt die Hauptstadt von Österreich? 🇦🇹');
    await page.evaluate(({ thread, cursor }) => /** @type {any} */ (window).read(thread, cursor), { thread, cursor });
    /** @returns {Promise<{ ids: string[], text: string, done: boolean, opened: number, renewed: number, auth: string[] }>} */
    const state = () => page.evaluate(() => /** @type {any} */ (window).page);
    const length = async () => (await state()).ids.length;
    await until(async () => (await length()) > 5, { what: 'the answer begins' });

    // the issuer changes its key, and withdraws those before
    signer = issuer.newKey('third', 'EdDSA');
    kid = 'third';
    issuer.keys.splice(0, 2);

    // somebody else, signed in by the new key, is revoked; that stream alone ends
    const eve = issued('eve', 60, { threadcast: { read: ['room'] } });
    const other = await until(async () => {
        const stream = stack.events('/v1/threads/room/events', { token: eve });
        // `busy` while the issuer was asked less than a second ago; a browser comes again, too
        return (await stream.next(({ event }) => ['ready', 'busy'].includes(event))).event === 'ready' && stream;
    });
    const service = issued('backend', 60, { threadcast: { revoke: true } });
    const revoked = await stack.request('POST', '/v1/revoke', { token: service, json: { sub: 'eve' } });
    assert.equal(revoked.status, 200, revoked.text);
    await other.end(5000);
    assert.equal(other.events.at(-1)?.json.reason, 'revoked');

    // the first token ends, and the stream does not
    await until(async () => (await state()).auth.includes('renewed'), { what: async () => `the stream was lengthened\n${JSON.stringify(await state())}` });
    assert.equal((await state()).opened, 1, 'without a new connection');
    assert.ok(signIns >= 2);

    // the bridge is replaced
    const before = await length();
    await stack.bridge.restart();
    await until(async () => (await length()) > before || (await state()).done, { what: 'it goes on after the restart' });

    await until(async () => (await state()).done, { what: async () => `the end\n${JSON.stringify(await state())}`, timeout: 3 * PATIENCE_MS });
    const { ids, text } = await state();
    assert.equal(text, await stack.messageText(runs[0].messageId));
    assert.equal((await stack.ended(runId)).status, 'done');
    const log = await stack.redis.client.xrange(`{thread:${thread}}:log`, '-', '+');
    assert.deepEqual(ids, log.map(([id]) => id), 'every event once, in its order');
    assert.deepEqual(exceptions, []);
}));
