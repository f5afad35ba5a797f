// How long does it take? Two figures, printed and never asserted:
//
//   first token   from the POST's 202 to the first token at an SSE client (demo agent at
//                 full rate), through Postgres, worker, Redis and bridge
//   publish       from calling the publish script to the event at an open stream
//
//   node tests/bench/latency.mjs [rounds]      (./scripts/bench builds first)

import http from 'node:http';
import net from 'node:net';
import { Stack, until } from '../e2e/harness.mjs';
import { ScriptRun } from '../e2e/lib/publisher.mjs';

const ROUNDS = Number(process.argv[2] ?? 300);

/** @param {string} what @param {number[]} times milliseconds */
function print(what, times) {
    const sorted = [...times].sort((a, b) => a - b);
    const at = (/** @type {number} */ q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))].toFixed(2);
    console.log(`${what}: median ${at(0.5)} ms, p99 ${at(0.99)} ms, min ${at(0)} ms, max ${at(1)} ms (${times.length} samples)`);
}

/** A stream as light as it can be: the time of the bytes, no parsing before it is taken. */
class Stream {
    /** @param {number} port @param {string} path @param {string} token */
    constructor(port, path, token) {
        this.text = '';
        /** @type {(() => boolean) | null} */
        this.want = null;
        /** @type {((at: number) => void) | null} */
        this.found = null;
        this.socket = net.connect({ port, host: '127.0.0.1' });
        this.socket.setNoDelay(true);
        this.socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`);
        this.socket.on('data', (bytes) => {
            const at = performance.now();
            this.text += bytes.toString('utf8');
            if (this.want?.() && this.found) {
                this.want = null;
                this.found(at);
            }
        });
    }

    /** When did the text hold this? @param {string} needle @returns {Promise<number>} */
    seen(needle, from = 0) {
        return new Promise((resolve) => {
            this.found = resolve;
            this.want = () => this.text.indexOf(needle, from) >= 0;
            if (this.want()) resolve(performance.now());
        });
    }
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

/** POSTs over a connection that is open; answers when the 202 was read.
 *  @param {Stack} stack @param {string} thread @param {string} token */
function post(stack, thread, token) {
    return new Promise((resolve, reject) => {
        const body = JSON.stringify({ content: 'How fast is this?' });
        const request = http.request({
            agent, port: stack.bridge.port, host: '127.0.0.1', method: 'POST',
            path: `/v1/threads/${thread}/messages`,
            headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json',
                       'Content-Length': Buffer.byteLength(body) },
        }, (response) => {
            const at = performance.now();
            let text = '';
            response.setEncoding('utf8').on('data', (part) => (text += part));
            response.on('end', () => response.statusCode === 202
                ? resolve({ at, receipt: JSON.parse(text) }) : reject(new Error(`${response.statusCode} ${text}`)));
        });
        request.on('error', reject);
        request.end(body);
    });
}

/** @param {Stack} stack */
async function firstToken(stack) {
    const token = stack.token({ sub: 'ann' });
    const times = [];
    for (let i = 0; i < ROUNDS; i++) {
        const thread = await stack.thread();
        const stream = new Stream(stack.bridge.port, `/v1/threads/${thread}/events`, token);
        await stream.seen('event: ready');
        const from = stream.text.length;
        const [posted, at] = await Promise.all([post(stack, thread, token), stream.seen('"type":"token"', from)]);
        // the token may be there before the 202 was read
        times.push(Math.max(0, at - posted.at));
        await until(() => stream.text.includes('"type":"done"'));
        stream.socket.destroy();
    }
    return times;
}

/** @param {Stack} stack */
async function publish(stack) {
    const stream = new Stream(stack.bridge.port, '/v1/threads/bench/events', stack.token({ read: ['bench'] }));
    await stream.seen('event: ready');
    const run = new ScriptRun(stack.redis.client, 'bench');
    await run.begin();
    const times = [];
    for (let i = 0; i < ROUNDS * 10; i++) {
        const mark = `mark-${i};`;
        stream.text = '';
        const seen = stream.seen(mark);
        const began = performance.now();
        const sent = run.tokens(mark);
        times.push(await seen - began);
        await sent;
    }
    stream.socket.destroy();
    return times;
}

const stack = await Stack.start({ worker: { 'demo-rate': 0 } });
try {
    print('POST 202 → first token', await firstToken(stack));
    print('publish → open stream ', await publish(stack));
    const metrics = await stack.bridge.metrics();
    const sum = Object.entries(metrics).filter(([name]) => /latency.*_(sum|count)|turn.*_(sum|count)/.test(name));
    for (const [name, value] of sum) console.log(`${name} ${value}`);
} finally {
    await stack.stop();
}
