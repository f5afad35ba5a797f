// Behind somebody's proxy: Debian's nginx with nothing set but `proxy_pass` (and gzip, its
// worst case), and nginx, HAProxy and Caddy with the files of docs/proxies; below a path of
// somebody's site; asked by a load balancer. lib/crossing.mjs says what has to pass.

import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { chromium } from 'playwright-core';
import { claimsOf, freePort, PATIENCE_MS, run as runCommand, Stack, until } from './harness.mjs';
import { crosses, crossesCompressed, empty } from './lib/crossing.mjs';
import { documented, Front, nginxConf } from './lib/fronts.mjs';
import { ScriptRun } from './lib/publisher.mjs';
import { raw } from './lib/raw.mjs';

/** @typedef {import('./harness.mjs').Bridge} Bridge */

const BEHIND = '127.0.0.1:8080'; // in all of them

/**
 * @typedef {object} Kind
 * @property {'nginx' | 'haproxy' | 'caddy'} program
 * @property {(dir: string, port: number, upstream: number) => string} conf
 * @property {boolean} [bare] nothing is set: Host is another, HTTP/1.0 upstream
 */

/** @type {Record<string, Kind>} */
const KINDS = {
    "nginx' defaults": {
        program: 'nginx',
        bare: true,
        conf: (dir, port, upstream) => nginxConf(dir, `
    gzip on;
    gzip_types *;
    server {
        listen 127.0.0.1:${port};
        location / {
            proxy_pass http://127.0.0.1:${upstream};
        }
    }`),
    },
    'nginx as documented': {
        program: 'nginx',
        conf: (dir, port, upstream) => nginxConf(dir, documented('nginx.conf', [
            [BEHIND, `127.0.0.1:${upstream}`], ['listen 80;', `listen 127.0.0.1:${port};`]])),
    },
    'HAProxy as documented': {
        program: 'haproxy',
        conf: (_dir, port, upstream) => documented('haproxy.cfg', [
            // it probes often and believes at once, so that a probe that fails is seen; not one that a busy machine keeps waiting
            [`${BEHIND} check`, `127.0.0.1:${upstream} check inter 200ms fall 1 rise 1`],
            ['bind :80', `bind 127.0.0.1:${port}`], ['timeout connect 5s', 'timeout connect 300ms\n    timeout check 3s']]),
    },
    'Caddy as documented': {
        program: 'caddy',
        conf: (_dir, port, upstream) => '{\n\tadmin off\n\tauto_https off\n}\n' + documented('Caddyfile', [
            [BEHIND, `127.0.0.1:${upstream}`], ['chat.example', `http://127.0.0.1:${port}`]]),
    },
};

/** @type {Stack} */
let stack;
/** @type {Front[]} */
const fronts = [];

before(async () => {
    stack = await Stack.start({ demo: true, bridges: 0, worker: { agent: 'demo', 'demo-rate': 100 } });
});
after(() => Promise.all(fronts.map((front) => front.stop())));

/** A bridge, and a proxy in front of it. @param {Kind} kind */
async function chain(kind, options = {}) {
    const port = await freePort();
    const bridge = await stack.startBridge({
        'keepalive-ms': 300, 'drain-ms': 200, 'retry-ms': 50,
        ...(kind.bare ? { 'public-origin': `http://127.0.0.1:${port}` } : { 'trusted-proxies': '127.0.0.1' }),
        ...options });
    const front = await Front.start(kind.program, stack.dir, (dir) => kind.conf(dir, port, bridge.port), port);
    fronts.push(front);
    return { stack, bridge, front };
}

/** Over HTTP/1.0 or not: counted, and named once. @param {Bridge} bridge @param {boolean} is */
async function http10(bridge, is) {
    const metrics = await bridge.metrics();
    assert.equal(metrics.threadcast_bridge_streams_http10_total > 0, is);
    // one line in each of its two lives, however many streams
    assert.equal(bridge.output.match(/warn a stream over HTTP\/1\.0/g)?.length ?? 0, is ? 2 : 0, bridge.child.tail());
}

/**
 * The visitor's address in the bridge's log is the proxy's word, whatever the visitor says.
 * @param {{ bridge: Bridge, front: Front }} at
 */
async function addresses({ bridge, front }) {
    const from = '127.0.0.2'; // not among the trusted proxies
    await new Promise((resolve, reject) => http.request({
        port: front.port, host: '127.0.0.1', path: '/v1/demo/session', method: 'POST', localAddress: from, agent: false,
        headers: { Origin: front.origin, 'X-Forwarded-For': '203.0.113.9', 'Content-Length': 0 },
    }, (answer) => answer.resume().on('end', resolve)).on('error', reject).end());
    await bridge.child.line(/guest signed in .*address=127\.0\.0\.2\b/);
}

/** nginx gives one path of its site to us. @type {Kind} */
const BELOW = {
    program: 'nginx',
    bare: true,
    conf: (dir, port, upstream) => nginxConf(dir, `
    server {
        listen 127.0.0.1:${port};
        location /live/ {
            proxy_pass http://127.0.0.1:${upstream};
        }
    }`),
};

/** nginx as documented, with the TLS that its comment asks for. @returns {Promise<Kind>} */
async function overTls() {
    const [key, certificate] = ['key.pem', 'certificate.pem'].map((name) => path.join(stack.dir, name));
    const made = await runCommand('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
                                              '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1', '-keyout', key, '-out', certificate]);
    assert.equal(made.code, 0, made.stderr);
    return {
        program: 'nginx',
        conf: (dir, port, upstream) => nginxConf(dir, documented('nginx.conf', [
            [BEHIND, `127.0.0.1:${upstream}`],
            ['listen 80;', `listen 127.0.0.1:${port} ssl http2; ssl_certificate ${certificate}; ssl_certificate_key ${key};`]])),
    };
}

/** @param {http2.ClientHttp2Session} session @param {http2.OutgoingHttpHeaders} headers
 *  @returns {Promise<{ status?: number, headers: http2.IncomingHttpHeaders }>} */
const ask = (session, headers) => new Promise((resolve, reject) => {
    const request = session.request(headers).on('error', reject);
    request.on('response', (answer) => {
        request.resume().on('end', () => resolve({ status: answer[':status'], headers: answer }));
    }).end();
});

/** @param {http2.ClientHttp2Session} session @param {string} thread @param {string} cookie */
function reader(session, thread, cookie) {
    const got = { text: '' };
    session.request({ ':path': `/v1/threads/${thread}/events?since=0&merge=0`, cookie }).setEncoding('utf8')
        .on('data', (text) => (got.text += text)).on('error', () => {}); // it is cut in the end
    return got;
}

describe('behind a proxy', { concurrency: true }, () => {
    describe('through a proxy', { concurrency: true }, () => {
        for (const [name, kind] of Object.entries(KINDS)) {
            it(name, async () => {
                const at = await chain(kind);
                await crosses(at);
                await http10(at.bridge, Boolean(kind.bare));
                if (kind.bare) return;
                await addresses(at);
                const sized = (/** @type {number} */ n) => stack.signer.token({ ...claimsOf('ann'), pad: 'x'.repeat(n) });
                const large = sized(2600 + Math.floor((3790 - sized(2600).length) * 3 / 4));
                const session = await at.front.fetch('/v1/session', {
                    method: 'POST', headers: { Authorization: `Bearer ${stack.secret(large)}` } });
                assert.equal(session.status, 200, `a token of ${large.length} bytes fits into the proxy's buffers`);
                assert.equal((await at.front.fetch('/metrics')).status, 404, 'not for the public');
            });
        }
    });

    it('over TLS and HTTP/2, as a browser comes', async () => {
        const { bridge, front } = await chain(await overTls());
        const origin = `https://127.0.0.1:${front.port}`;
        const session = http2.connect(origin, { rejectUnauthorized: false });
        const signIn = (/** @type {string} */ from) => ask(session, {
            ':method': 'POST', ':path': '/v1/session', origin: from, ...stack.authorization() });
        assert.equal((await signIn(`http://127.0.0.1:${front.port}`)).status, 403, 'another scheme is another origin');
        const { status, headers } = await signIn(origin);
        assert.equal(status, 200);
        const [cookie] = headers['set-cookie'] ?? [];
        assert.match(cookie, /; HttpOnly; SameSite=Strict; Secure$/);
        const thread = await stack.thread();
        // more than the six connections of HTTP/1.1
        const readers = Array.from({ length: 10 }, () => reader(session, thread, cookie.split(';')[0]));
        const run = new ScriptRun(stack.redis.client, thread);
        await run.begin();
        for (const word of ['one ', 'two ']) {
            await run.tokens(word);
            await until(() => readers.every(({ text }) => text.includes(`"content":"${word}"`)), { what: word });
        }
        await run.done();
        session.destroy();
        await empty({ stack, bridge, front }, 'all readers have gone');
    });

    describe('a proxy that compresses', { concurrency: true }, () => {
        const kinds = { nginx: KINDS["nginx' defaults"], caddy: KINDS['Caddy as documented'] };
        for (const [name, kind] of Object.entries(kinds)) {
            it(`${name} holds nothing back`, async () => {
                const conf = (/** @type {Parameters<Kind['conf']>} */ ...args) => kind.conf(...args)
                    .replace('\trespond', '\tencode gzip\n\trespond');
                const encoding = await crossesCompressed(await chain({ ...kind, conf }));
                assert.equal(encoding, name === 'nginx' ? 'gzip' : undefined, 'Caddy reads `no-transform`');
            });
        }
    });

    describe('below a path of somebody\'s site', () => {
        /** @type {Bridge} */
        let bridge;
        before(async () => (bridge = await stack.startBridge({ 'base-path': '/live' })));
        const status = async (/** @type {string} */ to, method = 'GET') =>
            (await bridge.fetch(to, { method, redirect: 'manual' })).status;

        it('everything is there and nowhere else', async () => {
            for (const to of ['/live/', '/live/index.html', '/live/app.js']) assert.equal(await status(to), 200, to);
            assert.equal(await status('/live/v1/threads'), 401);
            for (const to of ['/', '/index.html', '/app.js', '/v1/threads', '/livev1/threads', '/live2/', '/live/live/',
                              '/LIVE/', '/l%69ve/', '/v1/demo/session']) assert.equal(await status(to), 404, to);
            assert.equal(await status('/v1/demo/session', 'POST'), 404);
            assert.equal(await status('/live', 'POST'), 404);
            const answer = await bridge.fetch('/live?a=b', { redirect: 'manual' });
            assert.deepEqual([answer.status, answer.headers.get('location')], [308, 'live/?a=b']);
        });

        it('the probes answer at both places', async () => {
            for (const to of ['/healthz', '/readyz', '/metrics'])
                for (const at of [to, `/live${to}`])
                    for (const method of ['GET', 'HEAD']) assert.equal(await status(at, method), 200, `${method} ${at}`);
        });

        it('the cookie belongs to it', async () => {
            const answer = await bridge.fetch('/live/v1/demo/session', { method: 'POST' });
            const cookie = answer.headers.get('set-cookie') ?? '';
            assert.match(cookie, /; Path=\/live; /);
            const listed = await bridge.fetch('/live/v1/threads', { headers: { Cookie: cookie.split(';')[0] } });
            assert.equal(listed.status, 200, await listed.text());
        });
    });

    it('a changed Host that nobody has told us about is named once', async () => {
        const { bridge, front } = await chain(KINDS["nginx' defaults"], { 'public-origin': 'https://chat.example' });
        for (let n = 0; n < 3; n++) {
            const answer = await front.fetch('/v1/session', {
                method: 'POST', headers: { ...stack.authorization(), Origin: front.origin } });
            assert.equal(answer.status, 403);
            assert.equal((await answer.json()).error.code, 'origin_not_allowed');
        }
        assert.equal((await bridge.metrics())['threadcast_bridge_refused_total{reason="origin"}'], 3);
        const [line, ...more] = bridge.child.lines.filter((text) => text.includes("a page's request was refused"));
        assert.deepEqual(more, []);
        for (const word of [`origin=${front.origin}`, `host=127.0.0.1:${bridge.port}`, '--public-origin'])
            assert.ok(line.includes(word), line);
    });

    describe('a load balancer\'s probe', () => {
        const probe = (/** @type {number} */ port, /** @type {string} */ line) => raw(port, `${line}\r\n\r\n`);

        it('comes by HEAD, over HTTP/1.0, without a Host', async () => {
            for (const options of [{}, { 'base-path': '/live' }, { auth: 'none' }]) {
                const bridge = await stack.startBridge({ ...options, demo: !('auth' in options) });
                for (const to of ['/healthz', '/readyz']) {
                    const head = await probe(bridge.port, `HEAD ${to} HTTP/1.0`);
                    assert.equal(head.status, 200, head.text);
                    assert.match(head.text, /\r\nConnection: close\r\n/);
                    assert.ok(head.text.endsWith('\r\n\r\n'), 'no body');
                    const get = await probe(bridge.port, `GET ${to} HTTP/1.0`);
                    assert.equal(get.status, 200, get.text);
                    assert.ok(get.text.length > head.text.length);
                    assert.equal((await probe(bridge.port, `GET ${to} HTTP/1.1`)).status, 400, 'HTTP/1.1 has a Host');
                }
                if (!('auth' in options)) continue;
                for (const line of ['GET /v1/threads HTTP/1.0', 'GET /healthz HTTP/1.0\r\nHost: evil.example'])
                    assert.match((await probe(bridge.port, line)).text, / 403 [^]*host_not_allowed/, line);
            }
        });
    });

    describe("the page, below a path, behind nginx' defaults", () => {
        it('works, and comes back after a restart of the bridge', async () => {
            const { bridge, front } = await chain(BELOW, { 'base-path': '/live' });
            const browser = await chromium.launch({
                executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
                args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run',
                       '--no-proxy-server'] });
            try {
                const page = await browser.newPage();
                page.setDefaultTimeout(PATIENCE_MS);
                /** @type {string[]} */
                const outside = [];
                page.on('request', (request) => {
                    if (!new URL(request.url()).pathname.startsWith('/live/')) outside.push(request.url());
                });
                await page.goto(`${front.origin}/live`);
                assert.equal(new URL(page.url()).pathname, '/live/');
                await page.getByLabel('Your prompt').fill('Wie heißt die Hauptstadt von Österreich? 🇦🇹');
                await page.keyboard.press('Enter');
                const answer = page.locator('.from-assistant .message-text').last();
                const length = async () => (await answer.count()) ? ((await answer.textContent()) ?? '').length : 0;
                await until(async () => (await length()) > 20);
                assert.equal(await page.locator('.from-assistant.is-live').count(), 1, 'it is still being written');
                const [cookie] = await page.context().cookies();
                assert.deepEqual([cookie.path, cookie.httpOnly, cookie.secure], ['/live', true, false]);
                await bridge.restart();
                await page.locator('.from-assistant .message-facts', { hasText: '✓ equals the record' }).waitFor();
                const counts = await page.locator('.counts').first().textContent();
                assert.match(counts ?? '', /^\d+ events · lost 0 · duplicated 0 · reconnects [1-9]/);
                assert.deepEqual(outside.filter((url) => !url.endsWith('/live')), []);
            } finally {
                await browser.close();
            }
        });
    });
});
