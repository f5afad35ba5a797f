// Runs of a worker that say what a test tells them, when it does: in between, the connections that
// they publish on are quiet, in the middle of a run.

import assert from 'node:assert/strict';
import net from 'node:net';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { until } from '../e2e/lib/until.mjs';
import { ask } from './ask.mjs';

const TALKER = fileURLToPath(new URL('talk.py', import.meta.url));

/** @typedef {import('../e2e/harness.mjs').Stack} Stack */

/** Where the agents ask what to say. */
export class Mouths {
    #server;
    /** by run @type {Map<string, net.Socket>} */
    sockets = new Map();

    constructor() {
        this.#server = net.createServer((socket) => {
            socket.on('error', () => socket.destroy());
            socket.once('data', (line) => this.sockets.set(line.toString('utf8').trim(), socket));
        });
    }

    static async start() {
        const mouths = new Mouths();
        mouths.#server.listen(0, '127.0.0.1');
        await once(mouths.#server, 'listening');
        return mouths;
    }

    /** for --agents */
    get agent() {
        return `exec:/usr/bin/python3 ${TALKER} ${/** @type {net.AddressInfo} */ (this.#server.address()).port}`;
    }

    stop() {
        this.#server.close();
    }
}

/** One run. */
export class Talk {
    #stack;
    #mouth;
    #text = '';
    #said = 0;

    /** @param {Stack} stack @param {string} thread @param {any} posted @param {net.Socket} mouth @param {any} stream */
    constructor(stack, thread, posted, mouth, stream) {
        this.#stack = stack;
        this.#mouth = mouth;
        this.thread = thread;
        this.runId = posted.runId;
        this.reply = posted.runs[0].messageId;
        /** @type {import('../e2e/lib/sse.mjs').SseStream} */
        this.stream = stream;
    }

    /** @param {Stack} stack @param {Mouths} mouths @param {string} agent */
    static async start(stack, mouths, agent) {
        const thread = await stack.thread();
        const answer = await ask(stack.bridge.port, 'POST', `/v1/threads/${thread}/messages`, {
            token: stack.token(), headers: [['Content-Type', 'application/json']], body: JSON.stringify({ content: 'talk', agent }) });
        assert.equal(answer.status, 202, answer.text);
        const { runId, cursor } = answer.json;
        const mouth = await until(() => mouths.sockets.get(runId), { what: `${agent} listens` });
        const talk = new Talk(stack, thread, answer.json, mouth, stack.threadEvents(thread, `since=${cursor}`));
        await talk.say();
        return talk;
    }

    /** One more word. */
    speak() {
        const word = `${this.#said++} `;
        this.#text += word;
        this.#mouth.write(`${word}\n`);
    }

    /** Readers have all that was said, once. */
    async heard() {
        await until(() => this.stream.text(this.runId) === this.#text, {
            what: () => `${this.stream.text(this.runId)} is ${this.#text}; ${this.stream.body.slice(-300)}` });
    }

    async say() {
        this.speak();
        await this.heard();
    }

    /** It ends as a run that nothing has happened to: one attempt, the same text at its readers and in PostgreSQL. */
    async end() {
        this.#mouth.end();
        await this.stream.type('done');
        const row = await this.#stack.ended(this.runId);
        assert.deepEqual([row.status, row.attempt, row.failures], ['done', 1, 0]);
        await this.heard();
        assert.equal(await this.#stack.messageText(this.reply), this.#text);
        assert.equal(this.stream.events.filter((event) => event.event === 'reset').length, 0);
        this.stream.close();
    }
}
