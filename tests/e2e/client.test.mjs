// sdk/js outside of a browser, over fetch, against real bridges: streams, short answers, and
// what stands between. And what the bridge does for it: its files, `?ping=1`, `?poll=`.
// (In Chromium: client-page.test.mjs; beside the Python readers: sdk-readers.test.mjs.)

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { connect, Refused } from '../../sdk/js/src/index.js';
import { PATIENCE_MS, Proxy, ROOT, run, Stack, until, within } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const SEED = Number(process.env.THREADCAST_SEED ?? Date.now() % 1_000_000);
const FULL = process.env.THREADCAST_FULL;
const stack = await Stack.start({ postgres: false, bridge: {
    'retry-ms': 20, 'keepalive-ms': 400, 'drain-ms': 500, 'worker-lease-ms': 500, 'base-path': '/live',
    'allowed-origins': 'https://page.example' } });
const redis = stack.redis.client;
await redis.set('threadcast:worker:e2e', '1'); // that of a ScriptRun is well
const reader = { sub: 'ann', read: ['*'] };
const getToken = () => stack.token(reader);
const bridgeUrl = (/** @type {number} */ port) => `http://127.0.0.1:${port}/live`;
/** @type {Set<{ close(): void }>} */
const open = new Set();
after(() => { for (const one of open) one.close(); });

/** A stream and all that it told. @param {any} what @param {import('../../sdk/js/src/options.js').Options} [options] */
function follow(what, options = {}) {
    const stream = connect(what, { url: bridgeUrl(stack.bridge.port), getToken, ...options });
    open.add(stream);
    const told = { stream, events: [], states: [], notices: [] };
    stream.on('event', (event, info) => told.events.push({ ...event, ...info }));
    stream.on('state', (state, detail) => told.states.push([state, detail]));
    stream.on('notice', (name, data) => told.notices.push([name, data]));
    return told;
}

/** @param {ReturnType<typeof follow>} told */
const story = ({ stream, events, ...rest }) =>
    JSON.stringify({ state: stream.state, at: stream.lastEventId, transport: stream.transport, last: events.at(-1), ...rest });

/** @param {ReturnType<typeof follow>} told @param {string} id */
const sees = (told, id) => until(() => told.events.at(-1)?.id === id, { what: () => `${id}: ${story(told)}` });

/** @param {ReturnType<typeof follow>} told @param {string} state */
const is = (told, state) => until(() => told.stream.state === state, { what: () => `${state}: ${story(told)}` });

/** All ids of an epoch up to this one. @param {string} end */
const ids = (end) => {
    const [epoch, n] = end.split('-');
    return Array.from({ length: Number(n) }, (_, i) => `${epoch}-${i + 1}`);
};

/** xorshift: the same cuts for the same seed @param {number} seed */
function random(seed) {
    let x = seed | 1;
    return () => {
        x ^= x << 13;
        x ^= x >>> 17;
        x ^= x << 5;
        return (x >>> 0) / 2 ** 32;
    };
}

/** A proxy that passes nothing on before it is whole, as long as it is told to. */
class Buffering {
    buffers = true;
    /** then in how many pieces, one after the other */
    pieces = 1;
    #server = http.createServer((request, response) => {
        const up = http.request({ port: stack.bridge.port, path: request.url, method: request.method, headers: request.headers }, (answer) => {
            if (!this.buffers) {
                response.writeHead(Number(answer.statusCode), answer.headers);
                answer.pipe(response);
                return;
            }
            /** @type {Buffer[]} */
            const chunks = [];
            answer.on('data', (chunk) => chunks.push(chunk));
            answer.on('end', () => {
                const body = Buffer.concat(chunks);
                response.writeHead(Number(answer.statusCode), { 'Content-Type': String(answer.headers['content-type']), 'Content-Length': body.length });
                const step = Math.ceil(body.length / this.pieces);
                const next = (/** @type {number} */ at) => {
                    response.write(body.subarray(at, at + step));
                    if (at + step < body.length) setTimeout(next, 20, at + step);
                    else response.end();
                };
                next(0);
            });
        });
        up.on('error', () => response.destroy());
        response.on('close', () => up.destroy());
        request.pipe(up);
    });

    static async start() {
        const proxy = new Buffering();
        await new Promise((resolve) => proxy.#server.listen(0, '127.0.0.1', () => resolve(undefined)));
        open.add(proxy);
        return proxy;
    }

    get url() { return bridgeUrl(/** @type {import('node:net').AddressInfo} */ (this.#server.address()).port); }

    close() {
        this.#server.closeAllConnections();
        this.#server.close();
    }
}

describe('what the bridge does for it', () => {
    test('/client.js and its files: for any origin, with a tag, without --demo', async () => {
        const headers = { Origin: 'https://anybody.example' };
        const entry = await stack.bridge.fetch('/live/client.js', { headers });
        assert.equal(await entry.text(), "export * from './client/index.js';\n");
        for (const [to, file] of [['/live/client.js', ''], ['/live/client/stream.js', 'stream.js']]) {
            for (const origin of ['https://anybody.example', 'https://page.example']) {
                const answer = await stack.bridge.fetch(to, { headers: { Origin: origin } });
                assert.equal(answer.status, 200, to);
                assert.equal(answer.headers.get('content-type'), 'text/javascript; charset=utf-8');
                assert.equal(answer.headers.get('access-control-allow-origin'), '*', 'once, whoever asks');
                assert.equal(answer.headers.get('access-control-allow-credentials'), null);
                assert.equal(answer.headers.get('cross-origin-resource-policy'), 'cross-origin');
                assert.equal(answer.headers.get('cache-control'), 'no-cache');
                const text = await answer.text();
                if (file) assert.equal(text, fs.readFileSync(path.join(ROOT, 'sdk/js/src', file), 'utf8'));
                const again = await stack.bridge.fetch(to, { headers: { 'If-None-Match': String(answer.headers.get('etag')) } });
                assert.equal(again.status, 304);
            }
        }
        for (const to of ['/client.js', '/live/client/', '/live/client/none.js', '/live/client/tsconfig.json']) {
            assert.equal((await stack.bridge.fetch(to)).status, 404, to);
        }
        assert.equal((await stack.bridge.fetch('/live/client.js', { method: 'HEAD' })).headers.get('content-length'), '35');
        assert.equal((await stack.bridge.fetch('/live/client.js', { method: 'POST', headers })).status, 403);
        assert.equal((await stack.bridge.fetch('/live/client.js', { method: 'DELETE' })).status, 405);
    });

    test('a directory that somebody names must hold it', async () => {
        const program = path.join(process.env.THREADCAST_BIN ?? path.join(ROOT, 'build/asan/bin'), 'threadcast-bridge');
        const wrong = await run(program, ['--client-dir', ROOT, '--listen', '127.0.0.1:0', '--auth', 'none'], { env: stack.env() });
        assert.equal(wrong.code, 1);
        assert.match(wrong.stderr, /there is no index\.js in /);
    });

    test('?ping=1: the first one at once, then in place of the comments', async () => {
        const stream = stack.events('/live/v1/threads/pings/events?ping=1', reader);
        const first = await stream.named('ping');
        assert.deepEqual(Object.keys(first.json), ['keepaliveMs', 'retryMs']);
        assert.equal(first.json.keepaliveMs, 400);
        assert.equal(first.json.retryMs, Number(/^retry: (\d+)/.exec(stream.body)?.[1]));
        await stream.named('ready');
        await stream.named('ping');
        await stream.named('ping');
        assert.doesNotMatch(stream.body, /:keepalive/);
        assert.equal(stream.messages.length, 0);
        stream.close();
    });

    test('?poll=: what there is, or the first that comes, and its own end', async () => {
        const get = async (/** @type {string} */ query) => {
            const answer = await stack.bridge.fetch(`/live/v1/threads/polled/events?${query}`, { headers: stack.authorization(reader) });
            if (answer.ok) assert.equal(answer.headers.get('connection'), 'close', 'nobody sends another request behind it');
            return { status: answer.status, text: await within(answer.text(), PATIENCE_MS, query) };
        };
        const empty = await get('poll=0');
        assert.match(empty.text, /^retry: \d+\n:threadcast\nevent: ready\ndata: {"at":"0"}\nid: 0\n\n$/);
        assert.match((await get('poll=0&since=0')).text, /^retry: \d+\n:threadcast\n$/, 'nothing');
        const waiting = get('poll=60000&since=0');
        const script = new ScriptRun(redis, 'polled');
        await until(async () => (await redis.pubsub('NUMSUB', 'thread:polled'))[1] === 1, { what: 'it is subscribed' });
        await script.begin();
        assert.match((await waiting).text, /"status":"started"/, 'long before its time is over');
        await script.tokens('a', 'b', 'c');
        const [, , end] = await script.done();
        const whole = await get('poll=0&since=0&merge=0');
        assert.deepEqual([...whole.text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id), ids(end));
        assert.match((await get('poll=0&since=1-1')).text, /event: reset\n[^]*"type":"done"/, 'all of the reset\'s replay');
        for (const bad of ['-1', '60001', 'x', '', '1e3', ' 1', '99999999999']) {
            assert.equal((await get(`poll=${encodeURIComponent(bad)}`)).status, 400, bad);
        }
        assert.ok((await stack.bridge.metrics())['threadcast_bridge_streams_closed_total{reason="polled"}'] >= 4);
    });
});

describe('streams', { concurrency: true }, () => {
    /** @type {['fetch' | 'poll', number, number][]} short answers are short: they are cut earlier */
    const cut = [['fetch', FULL ? 300 : 30, 2600], ['poll', FULL ? 100 : 10, 1000]];
    for (const [transport, CUTS, most] of cut) {
        test(`${transport}: cut ${CUTS} times at any byte, every event once and in order (seed ${SEED})`, async () => {
            const rand = random(SEED + transport.length);
            const proxy = await Proxy.start({ port: stack.bridge.port }, {
                plan: () => (proxy.cuts < CUTS ? Math.floor(rand() * most) : Infinity) });
            const thread = `cuts-${transport}`;
            const script = new ScriptRun(redis, thread);
            await script.begin();
            const told = follow(thread, { url: bridgeUrl(proxy.port), since: '0', merge: false, transport, pollMs: 1, retryMs: 20 });
            for (let count = 0; proxy.cuts < CUTS; count++) {
                await script.tokens(['Wien ', '🇦🇹 ', 'x'.repeat(90), '"\\\n\n'][count % 4]);
                await until(() => proxy.cuts >= CUTS || told.events.length >= script.next - 12, { every: 1, what: () => story(told) });
            }
            const [, , end] = await script.done();
            await sees(told, end);
            assert.deepEqual(told.events.map(({ id }) => id), ids(end));
            assert.ok(!told.events.some(({ replayed }) => replayed));
            assert.equal(told.stream.lastEventId, end);
            told.stream.close();
            await proxy.stop();
        });
    }

    test('a short answer that comes in pieces is no silence', async () => {
        const proxy = await Buffering.start();
        proxy.pieces = 8;
        const script = new ScriptRun(redis, 'pieces');
        await script.begin();
        const [, , end] = await script.done();
        const told = follow('pieces', { url: proxy.url, since: '0', transport: 'poll', pollWaitMs: 0 });
        await sees(told, end);
        assert.deepEqual(told.states.map(([state]) => state), ['live']);
        told.stream.close();
    });

    test('several threads on one connection; more, and fewer, while it goes', async () => {
        const proxy = await Proxy.start({ port: stack.bridge.port });
        const runs = ['m1', 'm2', 'm3'].map((thread) => new ScriptRun(redis, thread));
        for (const script of runs) await script.begin();
        const told = follow(['m1', 'm2'], { url: bridgeUrl(proxy.port), merge: false });
        await until(() => told.events.length === 2, { what: () => story(told) });
        proxy.cutAll();
        await runs[0].tokens('a');
        await until(() => told.events.length === 3, { what: () => story(told) });
        assert.equal(told.stream.lastEventId.split(',').length, 2);
        told.stream.addThread('m3');
        await until(() => told.events.length === 4, { what: () => story(told) });
        told.stream.removeThread('m1');
        await runs[0].tokens('nobody hears this');
        await Promise.all(runs.slice(1).map((script) => script.done()));
        await until(() => told.events.length === 6, { what: () => story(told) });
        assert.deepEqual(told.events.map(({ thread }) => thread).sort(), ['m1', 'm1', 'm2', 'm2', 'm3', 'm3']);
        assert.equal(told.stream.lastEventId.split(',').length, 2);
        assert.ok(told.stream.lastEventId.split(',').every((id) => id.includes('-')));
        told.stream.close();
        const later = follow(['m2', 'm3'], { since: told.stream.lastEventId });
        await is(later, 'live');
        assert.deepEqual(later.events, []);
        later.stream.close();
        await proxy.stop();
    });

    test('a proxy that buffers: auto polls, says so, and streams again when that works', async () => {
        const proxy = await Buffering.start();
        const script = new ScriptRun(redis, 'buffered');
        await script.begin();
        const told = follow('buffered', { url: proxy.url, since: '0', merge: false, firstByteMs: 1000, pollMs: 20, pollWaitMs: 1000, streamAgainMs: 5000 });
        await until(() => told.events.length === 1, { what: () => story(told) });
        assert.equal(told.stream.transport, 'poll');
        // on a busy machine a short answer, too, may be waited for in vain
        const states = told.states.map(([state, { reason }]) => `${state} ${reason}`);
        assert.deepEqual([...new Set(states)], ['reconnecting silent', 'live polling']);
        assert.match(told.stream.detail.message, /do not pass/);
        await script.tokens('a', 'b');
        await until(() => told.events.length === 3, { what: () => story(told) });
        proxy.buffers = false;
        await until(() => told.stream.transport === 'fetch' && told.stream.state === 'live', { what: () => story(told) });
        const [, , end] = await script.done();
        await sees(told, end);
        assert.deepEqual(told.events.map(({ id }) => id), ids(end));
        told.stream.close();
    });

    test('silence: a dead connection is noticed after 2.5 keepalives, a quiet one lives', async () => {
        const proxy = await Proxy.start({ port: stack.bridge.port });
        const told = follow('quiet', { url: bridgeUrl(proxy.port) });
        await is(told, 'live');
        proxy.hold();
        await is(told, 'reconnecting');
        assert.equal(told.stream.detail.reason, 'silent');
        proxy.release();
        await is(told, 'live');
        const clients = await stack.bridge.metrics();
        await until(async () => (await stack.bridge.metrics()).threadcast_bridge_keepalives_total > clients.threadcast_bridge_keepalives_total + 8,
                    { what: 'keepalives went out' });
        assert.equal(told.stream.state, 'live');
        told.stream.close();
        await proxy.stop();
    });

    test('stalled, and live again; not for a run that is well', async () => {
        const script = new ScriptRun(redis, 'stalls', { worker: 'slow' });
        await script.begin();
        const told = follow('stalls');
        await is(told, 'stalled');
        assert.deepEqual([told.stream.detail.reason, told.notices.at(-1)], ['worker', ['stalled', { runId: script.id }]]);
        await redis.set('threadcast:worker:slow', '1');
        await script.tokens('back');
        await is(told, 'live');
        await script.done();
        told.stream.close();
    });

    test('a bridge that restarts: bye, and on with the next', async () => {
        const bridge = await stack.startBridge({ 'retry-ms': 20, 'drain-ms': 500 });
        const script = new ScriptRun(redis, 'restarts');
        await script.begin();
        const told = follow('restarts', { url: bridge.url(''), merge: false });
        await is(told, 'live');
        await Promise.all([bridge.restart(), script.tokens('a', 'b')]);
        const [, , end] = await script.done();
        await sees(told, end);
        assert.deepEqual(told.events.map(({ id }) => id), ids(end));
        assert.ok(told.notices.some(([name]) => name === 'bye'), story(told));
        assert.ok(told.states.some(([, { reason, message }]) => reason === 'bye' && /going away/.test(message)), story(told));
        told.stream.close();
        await bridge.stop();
    });

    test('a slow loop: reading pauses, and nothing is lost', async () => {
        const script = new ScriptRun(redis, 'slow');
        await script.begin();
        for (let i = 0; i < 20; i++) await script.tokens('a', 'b', 'c', 'd', 'e');
        const [, , end] = await script.done();
        const { stream, states } = follow('slow', { since: '0', merge: false, queueMax: 10 });
        const seen = [];
        for await (const event of stream) {
            if (seen.length === 0) await until(() => states.some(([, { reason }]) => reason === 'paused'), { what: 'it pauses' });
            seen.push(event.id);
            if (seen.length % 30 === 0) assert.equal(stream.lastEventId, event.id, 'behind the event that was taken');
            if (event.id === end) break;
        }
        assert.deepEqual(seen, ids(end));
        assert.equal(stream.state, 'ended');
    });

    test('refused for good: a state with a code, thrown where it is iterated', async () => {
        for (const [what, options, code, status] of /** @type {[any, any, string, number][]} */ ([
            ['secret', { getToken: () => stack.token({ sub: 'bob', read: [] }) }, 'forbidden', 403],
            ['x y', {}, 'bad_thread_id', 400],
            ['t1', { getToken: undefined }, 'unauthorized', 401],
            ['t1', { getToken: undefined, ticket: 'no.ticket' }, 'token_invalid', 401],
            ['t1', { url: `http://127.0.0.1:${stack.bridge.port}` }, 'not_found', 404],
        ])) {
            const told = follow(what, options);
            const thrown = await (async () => { for await (const event of told.stream) assert.fail(JSON.stringify(event)); })().catch((error) => error);
            assert.deepEqual([told.stream.state, told.stream.detail.reason, told.stream.detail.status], ['failed', code, status]);
            assert.ok(thrown instanceof Refused && thrown.code === code && thrown.status === status, String(thrown));
            assert.ok(thrown.message.length > 10, thrown.message);
        }
    });

    test('getToken throws: that is said, and tried again', async () => {
        let tries = 0;
        const told = follow('tokens', { retryMs: 20, getToken: async () => {
            if (tries++ < 2) throw new Error('the issuer sleeps');
            return stack.token(reader);
        } });
        await is(told, 'live');
        assert.deepEqual(told.states.map(([state]) => state), ['reconnecting', 'reconnecting', 'live']);
        assert.match(told.states[0][1].message, /the issuer sleeps/);
        assert.deepEqual([told.states[0][1].reason, told.states[1][1].attempt], ['token', 2]);
        told.stream.close();
    });

    test('the examples of the README', async () => {
        const dir = path.join(stack.dir, 'readme');
        fs.mkdirSync(path.join(dir, 'node_modules'), { recursive: true });
        fs.symlinkSync(path.join(ROOT, 'sdk/js'), path.join(dir, 'node_modules/threadcast'));
        const script = new ScriptRun(redis, 't1');
        await script.begin();
        await script.tokens('Hello');
        await script.done();
        const text = fs.readFileSync(path.join(ROOT, 'sdk/js/README.md'), 'utf8');
        const examples = [...text.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code).filter((code) => code.includes("'threadcast'"));
        assert.ok(examples.length >= 2);
        await Promise.all(examples.map(async (code, i) => {
            fs.writeFileSync(path.join(dir, `${i}.mjs`), code.replace('http://127.0.0.1:8080', stack.url('/live')));
            const done = await run(process.execPath, [path.join(dir, `${i}.mjs`)], { env: { TOKEN: getToken() } });
            assert.equal(done.code, 0, `${code}\n${done.stdout}${done.stderr}`);
            if (i === 0) assert.match(done.stdout, /^live $[^]*^Hello$/m);
        }));
    });
});
