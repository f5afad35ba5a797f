// The test's side of libfaults-preload.so: a daemon that runs with it, and the page of
// numbers that says what goes wrong (the order stands in control.h).
//
//     const faults = Faults.create(stack, 'bridge');
//     await stack.startBridge({}, faults.env);
//     faults.set({ ioMaxBytes: 1 });        // at once, while it runs
//     faults.get('ioShortened');
//
// Import this before the harness: the library is no use with AddressSanitizer, so it
// chooses the daemons of a build without, and says so when there is none.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const BUILD = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../build');
const LIBRARY = process.env.THREADCAST_PRELOAD ?? path.join(BUILD, 'dev/tests/libfaults-preload.so');
if (!fs.existsSync(LIBRARY)) throw new Error(`not built: ${LIBRARY} (target faults-preload)`);

process.env.THREADCAST_BIN = process.env.THREADCAST_PRELOAD_BIN ?? path.join(BUILD, 'dev/bin');
// what came first has chosen already
const { BIN, SseStream, until } = await import('../../e2e/harness.mjs');
assert.equal(BIN, process.env.THREADCAST_BIN, 'the harness was imported before this');

const SLOTS = /** @type {const} */ ([
    'allocArmed', 'allocFrom', 'allocCount', 'allocEvery', 'ioMaxBytes', 'ioEintrEvery',
    'ioSeed', 'acceptErrno', 'acceptCount', 'clockOffsetMs',
    'allocSeen', 'allocFailed', 'ioShortened', 'ioInterrupted', 'acceptFailed']);
/** @typedef {(typeof SLOTS)[number]} Slot */

export class Faults {
    #fd;

    /** @param {string} file */
    constructor(file) {
        this.#fd = fs.openSync(file, 'w+');
        fs.ftruncateSync(this.#fd, SLOTS.length * 8);
        this.env = { LD_PRELOAD: LIBRARY, FAULTS_CONTROL: file };
    }

    /** @param {{ dir: string }} stack @param {string} name */
    static create(stack, name) {
        return new Faults(path.join(stack.dir, `faults-${name}`));
    }

    /** @param {Partial<Record<Slot, number>>} values */
    set(values) {
        for (const [slot, value] of Object.entries(values)) {
            const bytes = Buffer.alloc(8);
            bytes.writeBigInt64LE(BigInt(value));
            fs.writeSync(this.#fd, bytes, 0, 8, SLOTS.indexOf(/** @type {Slot} */ (slot)) * 8);
        }
    }

    /** @param {Slot} slot */
    get(slot) {
        const bytes = Buffer.alloc(8);
        fs.readSync(this.#fd, bytes, 0, 8, SLOTS.indexOf(slot) * 8);
        return Number(bytes.readBigInt64LE());
    }

    /** From the `from`th allocation from now on, `count` fail. */
    failAllocations(from, count = 1) {
        this.set({ allocArmed: 0 });
        this.set({ allocFrom: from, allocCount: count, allocSeen: 0 });
        this.set({ allocArmed: 1 });
    }

    allocationsWork() {
        this.set({ allocArmed: 0 });
    }
}

/** Numbers from a seed, so that a failure can be had again. @param {number} seed */
export function random(seed) {
    let x = seed >>> 0;
    return () => {
        x = (x + 0x6D2B79F5) >>> 0;
        let y = Math.imul(x ^ (x >>> 15), x | 1);
        y ^= y + Math.imul(y ^ (y >>> 7), y | 61);
        return ((y ^ (y >>> 14)) >>> 0) / 2 ** 32;
    };
}

/**
 * One request on a connection of its own. A connection that is refused or closed before
 * a whole answer is status 0.
 * @param {number} port @param {string} method @param {string} to
 * @param {{ headers?: Record<string, string>, json?: unknown, timeout?: number }} [options]
 * @returns {Promise<{ status: number, text: string }>}
 */
export function ask(port, method, to, { headers = {}, json, timeout = 5000 } = {}) {
    const body = json === undefined ? '' : JSON.stringify(json);
    return new Promise((resolve) => {
        const request = http.request({
            host: '127.0.0.1', port, method, path: to, agent: false, timeout,
            headers: { ...headers, Connection: 'close',
                       ...(body && { 'Content-Type': 'application/json',
                                     'Content-Length': Buffer.byteLength(body) }) },
        }, (response) => {
            let text = '';
            response.setEncoding('utf8').on('data', (piece) => (text += piece));
            response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
            response.on('error', () => resolve({ status: 0, text }));
        });
        request.on('timeout', () => request.destroy(new Error('no answer')));
        request.on('error', () => resolve({ status: 0, text: '' }));
        request.end(body);
    });
}

/**
 * A reader that does what EventSource does: reconnects with the last id, until `isOver`.
 * It keeps what any client may see: every event once, in order, or a `reset`.
 */
export class Reader {
    /** @type {any[]} events, each id once */
    events = [];
    resets = 0;
    connections = 0;
    /** @type {string[]} what no client may ever see */
    trouble = [];
    /** @type {number[]} answers that were no stream */
    refusals = [];
    #lastId;
    #seen = new Set();
    #stopped = false;
    /** @type {InstanceType<typeof SseStream> | null} */
    #stream = null;

    /**
     * @param {() => number} portOf the bridge's, which may be restarted
     * @param {string} thread @param {string} cursor @param {Record<string, string>} headers
     */
    constructor(portOf, thread, cursor, headers) {
        this.portOf = portOf;
        this.thread = thread;
        this.headers = headers;
        this.#lastId = cursor;
        /** resolves when it was closed */
        this.finished = this.#read().catch((error) => this.trouble.push(String(error)));
    }

    async #read() {
        while (!this.#stopped) {
            const stream = new SseStream({
                port: this.portOf(), path: `/v1/threads/${this.thread}/events`,
                headers: { ...this.headers, 'Last-Event-ID': this.#lastId },
            });
            this.#stream = stream;
            this.connections++;
            let taken = 0;
            const take = () => {
                for (; taken < stream.events.length; taken++) this.#take(stream.events[taken]);
                if (stream.status && stream.status !== 200) stream.close(); // kept alive otherwise
            };
            const timer = setInterval(take, 5);
            await stream.closed;
            clearInterval(timer);
            take();
            // errors of sockets have a code; what has none was wrong with the bytes
            if (stream.trouble && !('code' in stream.trouble)) this.trouble.push(String(stream.trouble));
            if (stream.status && stream.status !== 200) this.refusals.push(stream.status);
            if (!this.#stopped && !taken) await this.#reachable();
        }
    }

    async #reachable() {
        await until(async () => this.#stopped ||
                                (await ask(this.portOf(), 'GET', '/healthz')).status === 200,
                    { what: 'a bridge to read from' });
    }

    /** @param {{ event: string, json: any, data: string, id: string }} event */
    #take(event) {
        if (event.id) this.#lastId = event.id;
        if (event.event === 'reset') this.resets++;
        if (event.event !== 'message') return;
        const { json } = event;
        if (json?.threadId !== this.thread) this.trouble.push(`not of this thread: ${event.data}`);
        else if (this.#seen.has(json.id)) {
            if (!this.resets) this.trouble.push(`twice: ${event.data}`);
        } else {
            this.#seen.add(json.id);
            this.events.push(json);
        }
    }

    /** what it has of a run: the tokens since the last `rewind` @param {string} runId */
    text(runId) {
        const mine = this.events.filter((event) => event.runId === runId);
        const from = mine.findLastIndex((event) => event.content?.status === 'rewind');
        return mine.slice(from + 1).filter((event) => event.type === 'token')
            .map((event) => event.content).join('');
    }

    /** the events that end a run @param {string} runId */
    ends(runId) {
        return this.events.filter((event) => event.runId === runId &&
                                             ['done', 'error'].includes(event.type));
    }

    async close() {
        this.#stopped = true;
        this.#stream?.close();
        await this.finished;
    }
}
