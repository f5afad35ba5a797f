// Suna's side, for the tests of the older interface: its Python workers, and what its two
// browser clients do with a stream, rule for rule, the odd ones included.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './until.mjs';

const WORKER = path.join(path.dirname(fileURLToPath(import.meta.url)), 'suna_worker.py');

/** One run of a worker of theirs (suna_worker.py). */
export class SunaWorker {
    #child;
    #out = '';
    #trouble = '';

    /**
     * @param {string} url of Redis
     * @param {'classic' | 'newer' | 'newest'} family
     * @param {string} run
     */
    constructor(url, family, run) {
        this.#child = spawn('/usr/bin/python3', [WORKER, url, family, run]);
        this.#child.stdout.on('data', (text) => (this.#out += text));
        this.#child.stderr.on('data', (text) => (this.#trouble += text));
        this.#child.stdin.on('error', () => {});
        this.closed = new Promise((resolve) => this.#child.once('close', resolve));
    }

    /** @param {string} word */
    async #printed(word) {
        await until(() => this.#out.includes(word), { what: () => `their worker says ${word}: ${this.#trouble}` });
    }

    async ready() {
        await this.#printed('ready');
        return this;
    }

    /** What the agent yields next. @param {object} event */
    yields(event) {
        this.#child.stdin.write(`${JSON.stringify(event)}\n`);
    }

    /** The agent has said everything. */
    ends() {
        this.#child.stdin.end();
    }

    /** The agent raises. */
    raises() {
        this.#child.stdin.end('this is no JSON\n');
    }

    /** @param {'completed' | 'failed' | 'stopped'} outcome */
    async over(outcome) {
        await this.#printed(outcome);
        await this.closed;
    }

    kill() {
        this.#child.kill('SIGKILL');
    }
}

/** Python's json.dumps, for what these tests say. @param {any} value @returns {string} */
export function dumps(value) {
    if (Array.isArray(value)) return `[${value.map(dumps).join(', ')}]`;
    if (value && typeof value === 'object')
        return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${dumps(one)}`).join(', ')}}`;
    return JSON.stringify(value).replace(/[\u0080-\uffff]/g,
        (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** What their worker says at the end; one of the pages knows this line as a whole. */
export const COMPLETED = '{"type": "status", "status": "completed", "message": "Agent run completed successfully"}';

/** What a page reads of entries, without pings. @param {import('./sse.mjs').SseStream} stream */
export const entries = (stream) => stream.messages.map((event) => event.data)
    .filter((data) => !data.includes('"type": "ping"'));

/** The end as its readers see it. @param {import('./sse.mjs').SseStream} stream */
export async function closes(stream) {
    assert.equal(await stream.opened(), 200, stream.raw.toString());
    await stream.end();
    assert.equal(stream.ending, 'last-chunk', stream.body.slice(-300));
    const last = stream.events.at(-1);
    assert.deepEqual([last?.event, last?.data], ['close', 'stream-ended']);
}

/** A chunk of an assistant's message as the classic worker yields it.
 *  @param {string} thread @param {number} sequence @param {string} text */
export const chunk = (thread, sequence, text) => ({
    sequence, message_id: null, thread_id: thread, type: 'assistant', is_llm_message: true,
    content: dumps({ role: 'assistant', content: text }),
    metadata: dumps({ stream_status: 'chunk', thread_run_id: 'r' }),
    created_at: '2026-01-01T00:00:00+00:00', updated_at: '2026-01-01T00:00:00+00:00',
});

/** The text that a page shows of these messages: chunks in the order of `sequence`, emptied by a
 *  whole message (which is shown instead, when it has an id). @param {any[]} messages */
export function shown(messages) {
    let parts = /** @type {{ sequence: number, content: string }[]} */ ([]);
    const whole = [];
    for (const message of messages) {
        if (message.type !== 'assistant') continue;
        const { stream_status: status } = JSON.parse(message.metadata);
        const { content } = JSON.parse(message.content);
        if (status === 'chunk') {
            parts.push({ sequence: message.sequence, content });
        } else if (status === 'complete') {
            parts = [];
            if (message.message_id) whole.push(content);
        }
    }
    return [...whole, parts.sort((a, b) => a.sequence - b.sequence).map((part) => part.content).join('')].join('');
}

/**
 * `streamAgent` (frontend/src/lib/api.ts): asks how the run stands, opens an EventSource only
 * when it is running, and searches the raw text of each message.
 */
export class StreamAgent {
    /** @type {string[]} raw, as onMessage gets them */
    messages = [];
    /** @type {string[]} */
    errors = [];
    closed = false;
    /** how many connections there were */
    opened = 0;

    /** @param {import('../harness.mjs').Stack} stack @param {string} run @param {any} who */
    constructor(stack, run, who) {
        this.stack = stack;
        this.run = run;
        this.who = who;
    }

    async #status() {
        try {
            const { status, json } = await this.stack.request('GET', `/api/agent-run/${this.run}`, this.who);
            return status === 200 ? json.status : `HTTP ${status}`;
        } catch {
            return 'nobody answers'; // the browser goes on trying
        }
    }

    /** Until it is closed, as a browser would. */
    async follow() {
        const status = await this.#status();
        if (status !== 'running') {
            this.errors.push(`Agent run ${this.run} is not running (status: ${status})`);
            this.closed = true;
            return;
        }
        for (;;) {
            const token = this.stack.token(this.who);
            const stream = this.stack.events(`/api/agent-run/${this.run}/stream?token=${token}`, { token: null });
            let read = 0;
            await until(() => {
                for (; read < stream.events.length && !this.closed; read++) {
                    const event = stream.events[read];
                    if (event.event === 'message') this.#onMessage(event.data);
                }
                return this.closed || stream.ending;
            }, { what: () => `the page is done with ${this.run}: ${this.messages.slice(-3)}` });
            if (stream.status === 200) this.opened++;
            if (this.closed) {
                stream.close();
                return;
            }
            // EventSource's `error`: over, or the browser reconnects by itself
            const now = await this.#status();
            if (now !== 'running' && now !== 'nobody answers') {
                this.closed = true;
                return;
            }
        }
    }

    /** @param {string} raw */
    #onMessage(raw) {
        if (raw.includes('"type": "ping"') || !raw || raw.trim() === '') return;
        if (raw.includes('"status": "error"')) this.errors.push(JSON.parse(raw).message);
        this.messages.push(raw);
        if (raw === COMPLETED || (raw.includes('"type": "status"') && raw.includes('"status": "completed"')))
            this.closed = true;
    }
}

/**
 * `StreamingClient` (Iris, frontend/src/lib/streaming-client.ts): each message is JSON, the end
 * is `event: close`; any other end opens two connections in place of one.
 */
export class StreamingClient {
    /** @type {any[]} */
    messages = [];
    /** sources that would be open if nobody stopped it */
    sources = 1;
    closed = false;

    /** @param {import('./sse.mjs').SseStream} stream */
    constructor(stream) {
        this.stream = stream;
    }

    /** @param {import('./sse.mjs').Ending} [ending] */
    async follow(ending) {
        await this.stream.end();
        for (const event of this.stream.events) {
            if (event.event === 'message') this.messages.push(JSON.parse(event.data));
            if (event.event === 'close' && event.data) this.closed = true;
        }
        if (!this.closed) this.sources = 2;
        if (ending && this.stream.ending !== ending) throw new Error(`ended by ${this.stream.ending}`);
        return this;
    }
}
