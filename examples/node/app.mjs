// A plain Node process that answers in the background, and publishes while it does.
//
//     cd examples/node && npm install
//     REDIS_URL=redis://127.0.0.1:6379 PORT=8000 node app.mjs
//
//     curl -N -H "Authorization: Bearer …" http://127.0.0.1:8080/v1/threads/t1/events &
//     curl http://127.0.0.1:8000/threads/t1/ask -d '{"question": "What is the capital of Austria?"}'
//
// Who may ask is this application's to check; who may read is the bridge's.

import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { Cancelled, run } from 'threadcast-node';

const redis = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379');
const prefix = process.env.REDIS_PREFIX ?? ''; // the bridge's --redis-prefix
/** @type {Set<AbortController>} */
const answers = new Set();

/** Stands for a language model that streams. @param {string} question @param {AbortSignal} signal */
async function* model(question, signal) {
    for (const word of `You asked: ${question}`.split(' ')) {
        await pause(20, undefined, { signal });
        yield `${word} `;
    }
}

/** @param {string} thread @param {{ runId: string, messageId: string }} ids @param {string} question */
async function answer(thread, ids, question) {
    const stopping = new AbortController();
    answers.add(stopping);
    try {
        await run(redis, thread, { ...ids, agentId: 'node', prefix }, async (run) => {
            run.signal.addEventListener('abort', () => stopping.abort());
            run.status('thinking');
            for await (const piece of model(question, stopping.signal)) await run.token(piece);
        });
    } catch (error) {
        if (!(error instanceof Cancelled) && !stopping.signal.aborted) console.error(error);
    } finally {
        answers.delete(stopping);
    }
}

/** @param {http.IncomingMessage} request */
async function bodyOf(request) {
    let text = '';
    for await (const chunk of request) {
        text += chunk;
        if (text.length > 65_536) throw new RangeError('too long');
    }
    return JSON.parse(text || '{}');
}

/** @param {http.IncomingMessage} request @returns {Promise<[number, object]>} */
async function handle(request) {
    const [, kind, id, verb] = (request.url ?? '').split('/');
    if (request.method === 'POST' && kind === 'threads' && verb === 'ask') {
        const { question } = await bodyOf(request);
        if (typeof question !== 'string') return [422, { error: 'a question is needed' }];
        const ids = { runId: randomUUID(), messageId: randomUUID() };
        answer(id, ids, question); // goes on behind the answer to this request
        return [202, ids];
    }
    if (request.method === 'POST' && kind === 'runs' && verb === 'cancel') {
        // in whatever process it runs; 0 heard it: it has ended, or try again
        const hint = JSON.stringify({ type: 'cancel', runId: id });
        return [202, { heard: await redis.publish(`${prefix}threadcast:control`, hint) }];
    }
    return [404, { error: 'no such thing' }];
}

const server = http.createServer(async (request, response) => {
    let answer;
    try {
        answer = await handle(request);
    } catch (/** @type {any} */ error) {
        answer = /** @type {const} */ ([400, { error: error.message }]);
    }
    const [status, body] = answer;
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
});
server.listen(Number(process.env.PORT ?? 8000), '127.0.0.1', () => {
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    console.log(`listening on http://127.0.0.1:${port}`);
});

// What is being said ends as cancelled, and not as worker_lost a lease later.
process.once('SIGTERM', async () => {
    server.close();
    for (const stopping of answers) stopping.abort();
    while (answers.size) await pause(10);
    redis.disconnect();
});
