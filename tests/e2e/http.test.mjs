// The request reader against bytes that no browser sends: the expected answer, and close.

import assert from 'node:assert/strict';
import net from 'node:net';
import { before, test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { raw } from './lib/raw.mjs';

/** @type {Stack} */
let stack;
let port = 0;
let authorization = '';
before(async () => {
    stack = await Stack.start({ postgres: false, bridge: { 'request-timeout-ms': 1500 } });
    port = stack.bridge.port;
    authorization = `Authorization: Bearer ${stack.token({ sub: 'ann', read: ['*'], write: ['*'] })}\r\n`;
});

const HOST = 'Host: localhost\r\n';
const body = '{"type":"token","content":"x"}';
/** @param {string} head */
const post = (head, text = body) => `POST /v1/threads/h/events HTTP/1.1\r\n${HOST}${authorization}` +
    `Content-Type: application/json\r\n${head}\r\n${text}`;
/** @param {string} line */
const get = (line, head = HOST) => `${line}\r\n${head}\r\n`;

/** @type {[what: string, bytes: () => string | Buffer, status: number][]} */
const REFUSED = [
    ['Content-Length with Transfer-Encoding', () => post(`Content-Length: ${body.length}\r\nTransfer-Encoding: chunked\r\n`), 501],
    ['Transfer-Encoding alone', () => post('Transfer-Encoding: chunked\r\n', '0\r\n\r\n'), 501],
    ['Transfer-Encoding: identity', () => post('Transfer-Encoding: identity\r\n'), 501],
    ['two lengths', () => post(`Content-Length: ${body.length}\r\nContent-Length: ${body.length}\r\n`), 400],
    ['two lengths in one', () => post(`Content-Length: ${body.length}, ${body.length}\r\n`), 400],
    ...['+5', '-0', '-1', '0x5', '', '5 5', '12345678901234567890', '5a', '1e3', '0 ', '٥'].filter((length) => length !== '0 ')
        .map((length) => /** @type {any} */ ([`Content-Length: ${JSON.stringify(length)}`, () => post(`Content-Length: ${length}\r\n`), 400])),
    ['a space before the colon', () => get('GET /healthz HTTP/1.1', `Host : localhost\r\n`), 400],
    ['no colon', () => get('GET /healthz HTTP/1.1', `${HOST}Something\r\n`), 400],
    ['an empty name', () => get('GET /healthz HTTP/1.1', `${HOST}: x\r\n`), 400],
    ['bare LF', () => `GET /healthz HTTP/1.1\nHost: localhost\n\n`, 400],
    ['bare CR', () => get('GET /healthz HTTP/1.1', `${HOST}X: a\rb\r\n`), 400],
    ['NUL in a header', () => get('GET /healthz HTTP/1.1', `${HOST}X: a\0b\r\n`), 400],
    ['a folded header', () => get('GET /healthz HTTP/1.1', `${HOST}X: a\r\n b\r\n`), 400],
    ['8 KiB of headers', () => get('GET /healthz HTTP/1.1', `${HOST}X: ${'a'.repeat(3000)}\r\nY: ${'a'.repeat(3000)}\r\nZ: ${'a'.repeat(3000)}\r\n`), 431],
    ['101 headers', () => get('GET /healthz HTTP/1.1', HOST + Array.from({ length: 101 }, (_, i) => `X${i}: a\r\n`).join('')), 431],
    ['a line of 5 KiB', () => get(`GET /${'a'.repeat(5000)} HTTP/1.1`), 414],
    ['two spaces', () => get('GET  /healthz HTTP/1.1'), 400],
    ['a trailing space', () => get('GET /healthz HTTP/1.1 '), 400],
    ['a leading space', () => get(' GET /healthz HTTP/1.1'), 400],
    ['a lower-case method', () => get('get /healthz HTTP/1.1'), 400],
    ['HTTP/1.-1', () => get('GET /healthz HTTP/1.-1'), 400],
    ['HTTP/2.0', () => get('GET /healthz HTTP/2.0'), 505],
    ['HTTP/0.9', () => 'GET /healthz\r\n\r\n', 400],
    ['the preface of HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
    ['no Host', () => get('GET /healthz HTTP/1.1', ''), 400],
    ['two Hosts', () => get('GET /healthz HTTP/1.1', HOST + HOST), 400],
    ['a Host with a path', () => get('GET /healthz HTTP/1.1', 'Host: a/b\r\n'), 400],
    ['GET with a body', () => get('GET /healthz HTTP/1.1', `${HOST}Content-Length: 38\r\n`) + get('GET /metrics HTTP/1.1'), 400],
    ['HEAD with a body', () => get('HEAD /healthz HTTP/1.1', `${HOST}Content-Length: 4\r\n`) + 'abcd', 400],
    ['OPTIONS with a body', () => get('OPTIONS /healthz HTTP/1.1', `${HOST}Content-Length: 4\r\n`) + 'abcd', 400],
    ['%00 in the path', () => get('GET /v1/threads/a%00b/messages HTTP/1.1'), 400],
    ['%2f in the path', () => get('GET /v1/threads/a%2fb/messages HTTP/1.1'), 400],
    ['%zz in the path', () => get('GET /%zz HTTP/1.1'), 400],
    ['a TLS hello', () => Buffer.from('16030100f8010000f40303', 'hex'), 400],
    ['random bytes', () => Buffer.from(Array.from({ length: 300 }, (_, i) => (i * 7919 + 13) % 251)), 400],
    ['CONNECT', () => get('CONNECT example.org:443 HTTP/1.1'), 400],
];

for (const [what, bytes, status] of REFUSED) {
    test(`${what}: ${status}, one answer, closed`, async () => {
        const answer = await raw(port, bytes());
        assert.equal(answer.status, status, answer.text);
        assert.equal(answer.statuses.length, 1, answer.text);
        assert.ok(answer.closed);
    });
}

test('every refusal has a stable code in JSON', async () => {
    const answer = await raw(port, get('GET /healthz HTTP/1.1', ''));
    const json = JSON.parse(answer.text.split('\r\n\r\n')[1]);
    assert.match(json.error.code, /^[a-z_]+$/);
    assert.equal(typeof json.error.message, 'string');
});

/** @type {[path: string, status: number][]} */
const PATHS = [['//', 400], ['/../', 400], ['/v1/../healthz', 400], ['/nothing', 404], ['/v1/threads', 401],
               ['/.%2e/etc/passwd', 400], ['/v1/threads/../messages', 400]];
test('paths are not walked', async () => {
    for (const [path, status] of PATHS) {
        const answer = await raw(port, get(`GET ${path} HTTP/1.1`, `${HOST}Connection: close\r\n`));
        assert.equal(answer.status, status, path);
    }
});

test('another method: 405 with Allow', async () => {
    const answer = await raw(port, get('DELETE /healthz HTTP/1.1', `${HOST}Connection: close\r\n`));
    assert.equal(answer.status, 405);
    assert.match(answer.text, /\r\nAllow: .*GET/i);
});

test('a valid request split at every byte', async () => {
    const text = post(`Content-Length: ${body.length}\r\nConnection: close\r\n`);
    const answers = await Promise.all(Array.from({ length: text.length - 1 }, (_, i) => raw(port, [text.slice(0, i + 1), text.slice(i + 1)])));
    for (const answer of answers) assert.ok(answer.status >= 200 && answer.status < 300, answer.text);
    const bytewise = await raw(port, [...text]);
    assert.ok(bytewise.status >= 200 && bytewise.status < 300, bytewise.text);
});

test('pipelined requests are answered in order', async () => {
    const answer = await raw(port, get('GET /healthz HTTP/1.1') + get('GET /nothing HTTP/1.1') +
        get('HEAD /healthz HTTP/1.1') + get('GET /healthz HTTP/1.1', `${HOST}Connection: close\r\n`));
    assert.deepEqual(answer.statuses, [200, 404, 200, 200], answer.text);
    assert.ok(answer.closed);
});

test('HEAD has the headers of GET and no body', async () => {
    const answer = await raw(port, get('HEAD /healthz HTTP/1.1', `${HOST}Connection: close\r\n`));
    assert.equal(answer.status, 200);
    assert.equal(answer.text.split('\r\n\r\n')[1], '');
});

test('headers that never end are cut by their own limit', async () => {
    const answer = await raw(port, `GET /healthz HTTP/1.1\r\n${HOST}X-Slow: `);
    assert.ok(answer.closed);
    assert.ok([0, 408].includes(answer.status), answer.text);
});

test('each wait of a connection has its limit, and its counter', async (t) => {
    const bridge = await stack.startBridge({ 'request-timeout-ms': 500, 'idle-timeout-ms': 800, 'write-stall-ms': 700 });
    const closed = async (/** @type {string} */ reason) => { // over a connection that is not kept, and so does not count
        const { text } = await raw(bridge.port, get('GET /metrics HTTP/1.1', `${HOST}Connection: close\r\n`));
        return Number(text.split(`\nthreadcast_bridge_connections_closed_total{reason="${reason}"} `)[1]?.split('\n')[0]);
    };
    /** How long it keeps a connection that has sent this. */
    const kept = async (/** @type {string} */ reason, /** @type {string} */ bytes, reads = true) => {
        let over = false;
        const socket = net.connect(bridge.port, '127.0.0.1').on('error', () => {}).on('end', () => (over = true));
        const from = performance.now();
        if (reads) socket.resume();
        socket.write(bytes);
        await until(async () => over || !reads && await closed(reason) === 1, { what: `a connection is closed: ${reason}` });
        const took = Math.round(performance.now() - from);
        socket.destroy();
        return took;
    };
    const request = get('GET /healthz HTTP/1.1');
    const took = await Promise.all([
        kept('request_timeout', request.slice(0, -2)), kept('request_timeout', post('Content-Length: 500\r\n')),
        kept('idle', ''), kept('idle', request), kept('stalled', get('GET /metrics HTTP/1.1').repeat(2000), false)]);
    t.diagnostic(`after ${took} ms`);
    for (const [i, limit] of [500, 500, 800, 800, 700].entries())
        assert.ok(took[i] >= limit - 20 && took[i] < limit + 2000, `${took} ms`);
    assert.deepEqual([await closed('request_timeout'), await closed('stalled')], [2, 1]);
    assert.ok(await closed('idle') >= 2, 'and one that the harness has kept, perhaps');
    await bridge.stop();
});

test('bodies: type, size, JSON', async () => {
    const send = async (/** @type {string} */ type, /** @type {string | Buffer} */ content) => {
        const response = await stack.bridge.fetch('/v1/threads/h/events', {
            method: 'POST', body: /** @type {string} */ (content),
            headers: { 'Content-Type': type, ...stack.authorization({ write: ['h'] }) } });
        const json = await response.json();
        return [response.status, json.error?.code];
    };
    assert.equal((await send('text/plain', body))[0], 415);
    assert.equal((await send('application/x-www-form-urlencoded', 'a=b'))[0], 415);
    assert.equal((await send('application/json', 'x'.repeat(70_000)))[0], 413);
    for (const bad of ['', '{', 'null', '"x"', '{"type":"a","type":"b"}', `${'['.repeat(5000)}`,
                       '{"type":"token","content":"\\ud800"}', '{"type":"token","content":"x"}{}',
                       '[]', '{"type":"token"}', '{"type":"test","content":"x"}', '{"content":"x"}', '{"type":1,"content":"x"}',
                       '{"type":"token","content":"x","threadId":"other"}']) {
        const [status, code] = await send('application/json', bad);
        assert.equal(status, 400, `${bad.slice(0, 60)}: ${status}`);
        assert.match(String(code), /^[a-z_]+$/);
    }
    assert.equal((await send('application/json', Buffer.from('{"type":"token","content":"\xff"}', 'latin1')))[0], 400);
    assert.ok((await send('application/json; charset=utf-8', body))[0] < 300);
});

test('whatever was sent above, the bridge serves on', async () => {
    assert.equal((await stack.bridge.fetch('/healthz')).status, 200);
    assert.equal((await stack.bridge.fetch('/readyz')).status, 200);
    assert.ok(stack.bridge.child.running);
});
