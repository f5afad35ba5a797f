// Behind somebody's proxy: Debian's nginx with nothing set but `proxy_pass` (and gzip, its
// worst case), and nginx, HAProxy and Caddy with the files of docs/proxies. Tokens pass one
// by one (none is published before the one in front of it was read), a reader resumes, a
// run is cancelled, and nobody stays behind in the bridge.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import zlib from 'node:zlib';
import { chromium } from 'playwright-core';
import { freePort, PATIENCE_MS, ROOT, SseParser, Stack, until } from './harness.mjs';
import { Front, nginxConf } from './lib/fronts.mjs';
import { ScriptRun } from './lib/publisher.mjs';
import { raw } from './lib/raw.mjs';

/** @typedef {import('./harness.mjs').Bridge} Bridge */

/** A file of docs/proxies with a test's addresses. @param {string} name @param {[string, string][]} changes */
function documented(name, changes) {
    let text = fs.readFileSync(path.join(ROOT, 'docs/proxies', name), 'utf8');
    for (const [from, to] of changes) {
        assert.ok(text.includes(from), `docs/proxies/${name} has no ${from} any more`);
        text = text.replaceAll(from, to);
    }
    return text;
}

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
            [BEHIND, `127.0.0.1:${upstream}`], ['bind :80', `bind 127.0.0.1:${port}`],
            ['timeout connect 5s', 'timeout connect 300ms']]), // its pause between attempts, too
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
    return { bridge, front };
}

/**
 * What a page does: a session for its token, and from then on the cookie alone.
 * @param {Front} front
 */
async function signIn(front) {
    const answer = await front.fetch('/v1/session', {
        method: 'POST', headers: { ...stack.authorization(), Origin: front.origin } });
    assert.equal(answer.status, 200, await answer.text());
    const cookie = answer.headers.get('set-cookie') ?? '';
    assert.match(cookie, /; HttpOnly; SameSite=Strict$/, 'not Secure: the page is on plain HTTP on this machine');
    return { Cookie: cookie.split(';')[0], Origin: front.origin };
}

/**
 * What EventSource does: comes back with its last id, until `enough`. Answers the events.
 * @param {(last: string) => import('./lib/sse.mjs').SseStream} open
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

/** @param {any[]} events */
const words = (events) => events.filter(({ type }) => type === 'token').map(({ content }) => content);

/** Nobody reads there any more. @param {Bridge} bridge @param {string} what */
const empty = (bridge, what) => until(async () => (await bridge.metrics()).threadcast_bridge_clients === 0, { what });

/** @param {string} name @param {Kind} kind */
async function tokensPass(name, kind) {
    const { bridge, front } = await chain(kind);
    const headers = await signIn(front);
    const thread = await stack.thread();
    const open = (query = '', lastEventId = undefined) => stack.threadEvents(thread, query, {
        bridge: front, token: null, headers, lastEventId });
    const stream = open('since=0');
    assert.equal(await stream.opened(), 200);
    assert.equal(stream.headers['content-type'], 'text/event-stream');
    assert.ok(!stream.headers['content-encoding'], 'nobody asked for gzip');
    const run = new ScriptRun(stack.redis.client, thread);
    await run.begin();
    await stream.type('status');
    for (const word of ['one ', 'two ', 'three ']) {
        await run.tokens(word);
        assert.equal((await stream.type('token')).json.content, word);
    }
    await until(() => stream.comments.filter((text) => text === 'keepalive').length >= 2, { what: 'keepalives pass' });
    assert.equal(stream.ending, '');
    stream.close();
    await empty(bridge, `${name}: the bridge knows that the reader has gone`);

    await run.tokens('four ', 'five ');
    const resumed = open('merge=0', stream.lastEventId);
    assert.equal((await resumed.type('token')).json.content, 'four ');
    assert.equal((await resumed.type('token')).json.content, 'five ');
    resumed.close();

    /** @type {any[]} */
    const seen = [];
    const whole = follow((last) => open('since=0&merge=0', last || undefined),
        (all) => all.at(-1)?.type === 'done', seen);
    await until(() => words(seen).length === 5, { what: 'the reader is there' });
    const restarted = bridge.restart();
    await run.tokens('six ');
    await restarted;
    await run.tokens('seven');
    await run.done();
    assert.equal(words(await whole).join(''), run.text, 'nothing is missing and nothing comes twice');
    return { bridge, front, headers };
}

/** A prompt, and the end of its answer before it was there. @param {Awaited<ReturnType<typeof tokensPass>>} at */
async function cancels({ bridge, front, headers }) {
    const thread = await stack.thread();
    const send = async (/** @type {string} */ to, /** @type {object} */ body) => {
        const answer = await front.fetch(to, {
            method: 'POST', headers: { ...headers, 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
        assert.equal(answer.status, 202, await answer.clone().text());
        return answer.json();
    };
    const { cursor, runId } = await send(`/v1/threads/${thread}/messages`, { content: 'Tell me a long story.' });
    const stream = stack.threadEvents(thread, `since=${cursor}`, { bridge: front, token: null, headers });
    await stream.type('token');
    await send(`/v1/runs/${runId}/cancel`, {});
    assert.equal((await stream.type('done')).json.content.finishReason, 'cancelled');
    stream.close();
    await empty(bridge, 'the last reader has gone');
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

/** A proxy that compresses: what it sent so far can be read so far.
 *  @param {Front} front @param {string} to */
function zipped(front, to) {
    const parser = new SseParser();
    const got = { encoding: /** @type {string | undefined} */ (''), words: /** @type {string[]} */ ([]) };
    const request = http.get({
        port: front.port, host: '127.0.0.1', path: to, agent: false,
        headers: { ...stack.authorization(), 'Accept-Encoding': 'gzip' },
    }, (answer) => {
        got.encoding = answer.headers['content-encoding'];
        const plain = got.encoding === 'gzip'
            ? answer.pipe(zlib.createGunzip({ flush: zlib.constants.Z_SYNC_FLUSH })) : answer;
        plain.on('data', (bytes) => got.words.push(...words(parser.feed(bytes).map(({ json }) => json))));
        plain.on('error', () => {}); // it is cut in the end
    });
    request.on('error', () => {});
    return { got, close: () => request.destroy() };
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

describe('behind a proxy', { concurrency: true }, () => {
    describe('through a proxy', { concurrency: true }, () => {
        for (const [name, kind] of Object.entries(KINDS)) {
            it(name, async () => {
                const at = await tokensPass(name, kind);
                await cancels(at);
                await http10(at.bridge, Boolean(kind.bare));
                if (kind.bare) return;
                await addresses(at);
                assert.equal((await at.front.fetch('/metrics')).status, 404, 'not for the public');
            });
        }
    });

    describe('a proxy that compresses', { concurrency: true }, () => {
        const kinds = { nginx: KINDS["nginx' defaults"], caddy: KINDS['Caddy as documented'] };
        for (const [name, kind] of Object.entries(kinds)) {
            it(`${name} holds nothing back`, async () => {
                const conf = (/** @type {Parameters<Kind['conf']>} */ ...args) => kind.conf(...args)
                    .replace('\trespond', '\tencode gzip\n\trespond');
                const { front } = await chain({ ...kind, conf });
                const thread = await stack.thread();
                const { got, close } = zipped(front, `/v1/threads/${thread}/events?since=0`);
                const run = new ScriptRun(stack.redis.client, thread);
                await run.begin();
                for (let n = 1; n <= 3; n++) {
                    await run.tokens(`${n} `);
                    await until(() => got.words.length === n, { what: () => `${n} words: ${JSON.stringify(got)}` });
                }
                await run.done();
                close();
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

    describe('a load balancer\'s probe', () => {
        const probe = (/** @type {number} */ port, /** @type {string} */ line) => raw(port, `${line}\r\n\r\n`);

        it('comes by HEAD, over HTTP/1.0, without a Host', async () => {
            for (const options of [{}, { 'base-path': '/live' }, { auth: 'none' }]) {
                const bridge = await stack.startBridge({ ...options, demo: !('auth' in options) });
                for (const to of ['/healthz', '/readyz']) {
                    const head = await probe(bridge.port, `HEAD ${to} HTTP/1.0`);
                    assert.equal(head.status, 200, head.text);
                    assert.match(head.text, /\r\nConnection: close\r\n\r\n$/, 'no body');
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
