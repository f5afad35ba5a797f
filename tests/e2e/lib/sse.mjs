// A reader of Server-Sent Events on a raw socket. It records every byte, can cut the
// connection at any of them, and knows how a stream ended; libraries hide all three.

import net from 'node:net';
import { PATIENCE_MS, until, within } from './until.mjs';

/**
 * @typedef {object} SseEvent
 * @property {string} event its name, 'message' when it has none
 * @property {string} data
 * @property {string} id the last id when it was dispatched (what `lastEventId` shows)
 * @property {string} ownId the `id:` field of this very event, '' when it had none
 * @property {any} json `data` parsed, undefined when it is not JSON
 * @property {number} at performance.now() when it was complete
 */

/** Takes decoded bytes at any split, answers whole events (the HTML standard's rules). */
export class SseParser {
    #pending = Buffer.alloc(0);
    #data = '';
    #name = '';
    #ownId = '';
    #idBuffer = '';
    #skipLf = false;

    /** changes when an event is dispatched, not when its `id:` line is read */
    lastEventId = '';
    /** @type {number | null} */
    retry = null;
    /** @type {string[]} */
    comments = [];

    /**
     * @param {Buffer} bytes
     * @returns {SseEvent[]}
     */
    feed(bytes) {
        const events = [];
        let buffer = Buffer.concat([this.#pending, bytes]);
        for (;;) {
            if (this.#skipLf && buffer.length) {
                if (buffer[0] === 10) buffer = buffer.subarray(1);
                this.#skipLf = false;
            }
            const at = buffer.findIndex((byte) => byte === 10 || byte === 13);
            if (at < 0) break;
            this.#skipLf = buffer[at] === 13;
            const event = this.#line(buffer.subarray(0, at).toString('utf8'));
            if (event) events.push(event);
            buffer = buffer.subarray(at + 1);
        }
        this.#pending = buffer;
        return events;
    }

    /**
     * @param {string} line
     * @returns {SseEvent | null}
     */
    #line(line) {
        if (line === '') return this.#dispatch();
        if (line.startsWith(':')) {
            this.comments.push(line.slice(1));
            return null;
        }
        const colon = line.indexOf(':');
        const field = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (field === 'data') this.#data += value + '\n';
        else if (field === 'event') this.#name = value;
        else if (field === 'id' && !value.includes('\0')) this.#ownId = this.#idBuffer = value;
        else if (field === 'retry' && /^\d+$/.test(value)) this.retry = Number(value);
        return null;
    }

    #dispatch() {
        this.lastEventId = this.#idBuffer;
        const data = this.#data.replace(/\n$/, '');
        const event = { event: this.#name || 'message', data, id: this.lastEventId,
                        ownId: this.#ownId, json: undefined, at: performance.now() };
        const empty = this.#data === '';
        this.#data = this.#name = this.#ownId = '';
        if (empty) return null;
        try {
            event.json = JSON.parse(data);
        } catch {
            // not JSON: a test that cares looks at `data`
        }
        return event;
    }
}

/** Chunked transfer coding, taken apart at any split. */
class Dechunker {
    #pending = Buffer.alloc(0);
    #left = 0;
    /** @type {'size' | 'data' | 'crlf' | 'trailer' | 'done'} */
    #state = 'size';

    get done() {
        return this.#state === 'done';
    }

    /** @param {Buffer} bytes */
    feed(bytes) {
        let buffer = Buffer.concat([this.#pending, bytes]);
        const out = [];
        while (buffer.length && this.#state !== 'done') {
            if (this.#state === 'data') {
                const part = buffer.subarray(0, this.#left);
                out.push(part);
                this.#left -= part.length;
                buffer = buffer.subarray(part.length);
                if (this.#left === 0) this.#state = 'crlf';
                continue;
            }
            const at = buffer.indexOf('\r\n');
            if (at < 0) break;
            this.#onLine(buffer.subarray(0, at).toString('latin1'));
            buffer = buffer.subarray(at + 2);
        }
        this.#pending = Buffer.from(buffer);
        return Buffer.concat(out);
    }

    /** @param {string} line */
    #onLine(line) {
        if (this.#state === 'crlf') {
            if (line !== '') throw new Error(`chunk is not followed by CRLF but ${line}`);
            this.#state = 'size';
        } else if (this.#state === 'size') {
            if (!/^[0-9a-fA-F]+$/.test(line)) throw new Error(`not a chunk size: ${line}`);
            this.#left = parseInt(line, 16);
            this.#state = this.#left ? 'data' : 'trailer';
        } else if (line === '') {
            this.#state = 'done';
        }
    }
}

/**
 * How a connection ended: `last-chunk` (the response is complete), `last-chunk-unannounced` (and it
 * had not said `Connection: close`: a proxy may have taken the connection for another request),
 * `fin` (closed without it), `reset` (RST or another error), `cut` (by ourselves), '' (it is open).
 * @typedef {'' | 'last-chunk' | 'last-chunk-unannounced' | 'fin' | 'reset' | 'cut'} Ending
 */

export class SseStream {
    #socket;
    #cutAt;
    /** @type {Buffer[]} */
    #chunks = [];
    #total = 0;
    /** @type {Dechunker | null} */
    #dechunker = null;
    #cursor = 0;
    #parser = new SseParser();
    #head = Buffer.alloc(0);

    /** the status line's number, 0 before it is here */
    status = 0;
    statusLine = '';
    /** @type {Record<string, string>} lower-case names */
    headers = {};
    /** names as they were sent, in order
     *  @type {[string, string][]} */
    rawHeaders = [];
    /** @type {SseEvent[]} all of them, named ones too */
    events = [];
    /** the body's bytes, chunking taken off */
    body = '';
    /** @type {Ending} */
    ending = '';
    /** the last chunk was seen (the socket may be kept open behind it) */
    complete = false;
    /** @type {Error | null} */
    trouble = null;

    /**
     * @param {{ port: number, host?: string, path: string, headers?: Record<string, string>,
     *           cutAt?: number, version?: string, method?: string, paused?: boolean }} options
     *   `cutAt`: cut after this many bytes of the response, headers included;
     *   `paused`: never read (a slow client)
     */
    constructor({ port, host = '127.0.0.1', path, headers = {}, cutAt = Infinity, version = '1.1',
                  method = 'GET', paused = false }) {
        this.#cutAt = cutAt;
        this.request = `${method} ${path} HTTP/${version}\r\nHost: ${host}:${port}\r\n` +
            Object.entries({ Accept: 'text/event-stream', ...headers })
                .map(([name, value]) => `${name}: ${value}\r\n`).join('') + '\r\n';
        this.#socket = net.connect({ port, host });
        this.#socket.setNoDelay(true);
        if (paused) this.#socket.pause();
        this.#socket.write(this.request);
        if (!paused) this.#socket.on('data', (bytes) => this.#onBytes(bytes));
        this.#socket.on('error', (error) => {
            this.trouble ??= error;
            this.ending ||= 'reset';
        });
        this.#socket.on('end', () => (this.ending ||= !this.complete ? 'fin'
            : this.headers.connection === 'close' ? 'last-chunk' : 'last-chunk-unannounced'));
        this.closed = new Promise((resolve) => this.#socket.once('close', () => {
            this.ending ||= 'fin';
            resolve(this.ending);
        }));
    }

    /** every byte of the response, as it came */
    get raw() {
        return Buffer.concat(this.#chunks);
    }

    get lastEventId() {
        return this.#parser.lastEventId;
    }

    get retry() {
        return this.#parser.retry;
    }

    get comments() {
        return this.#parser.comments;
    }

    /** the unnamed events: what `onmessage` would see */
    get messages() {
        return this.events.filter((event) => event.event === 'message');
    }

    /** their JSON */
    get json() {
        return this.messages.map((event) => event.json);
    }

    /** The concatenation of the tokens, beginning anew at every `rewind`. */
    text(runId = '') {
        return textOf(this.json, runId);
    }

    /** @param {Buffer} bytes */
    #onBytes(bytes) {
        const room = this.#cutAt - this.#total;
        const taken = bytes.length > room ? bytes.subarray(0, room) : bytes;
        this.#chunks.push(taken);
        this.#total += taken.length;
        try {
            this.#decode(taken);
        } catch (error) {
            this.trouble ??= /** @type {Error} */ (error);
            this.close();
        }
        if (this.#total >= this.#cutAt) this.close();
    }

    /** @param {Buffer} bytes */
    #decode(bytes) {
        let rest = bytes;
        if (!this.status) {
            this.#head = Buffer.concat([this.#head, bytes]);
            const end = this.#head.indexOf('\r\n\r\n');
            if (end < 0) return;
            this.#onHead(this.#head.subarray(0, end).toString('latin1'));
            rest = this.#head.subarray(end + 4);
        }
        const body = this.#dechunker ? this.#dechunker.feed(rest) : rest;
        this.body += body.toString('utf8');
        this.events.push(...this.#parser.feed(body));
        if (this.#dechunker?.done) this.complete = true;
    }

    /** @param {string} head */
    #onHead(head) {
        const [statusLine, ...lines] = head.split('\r\n');
        this.statusLine = statusLine;
        this.status = Number(statusLine.split(' ')[1]);
        for (const line of lines) {
            const colon = line.indexOf(':');
            const [name, value] = [line.slice(0, colon), line.slice(colon + 1).trim()];
            this.rawHeaders.push([name, value]);
            this.headers[name.toLowerCase()] = value;
        }
        if (/chunked/i.test(this.headers['transfer-encoding'] ?? '')) this.#dechunker = new Dechunker();
    }

    /** Waits for the response's head. Answers the status. */
    async opened(timeout = PATIENCE_MS) {
        await until(() => this.status || this.ending, {
            timeout, what: () => `the answer to ${this.request.split('\r\n')[0]}` });
        if (!this.status) throw new Error(`no answer (${this.ending}) to ${this.request}`,
                                          { cause: this.trouble });
        return this.status;
    }

    /**
     * The next event (each is handed out once) that `wanted` likes.
     * @param {(event: SseEvent) => boolean} [wanted]
     * @param {number} [timeout]
     * @returns {Promise<SseEvent>}
     */
    async next(wanted = () => true, timeout = PATIENCE_MS) {
        return until(() => {
            while (this.#cursor < this.events.length) {
                const event = this.events[this.#cursor++];
                if (wanted(event)) return event;
            }
            if (this.ending) throw new Error(`the stream ended (${this.ending})`, { cause: this.trouble });
            return null;
        }, { timeout, what: () => `the event ${wanted}\nlast bytes: ${this.body.slice(-800)}` });
    }

    /**
     * The next unnamed event of this type.
     * @param {string} type
     * @param {number} [timeout]
     */
    async type(type, timeout = PATIENCE_MS) {
        return this.next((event) => event.event === 'message' && event.json?.type === type, timeout);
    }

    /**
     * The next event of this name (`ready`, `reset`, …).
     * @param {string} name
     * @param {number} [timeout]
     */
    async named(name, timeout = PATIENCE_MS) {
        return this.next((event) => event.event === name, timeout);
    }

    /** Waits until the connection is gone. @param {number} [timeout] */
    async end(timeout = PATIENCE_MS) {
        return within(this.closed, timeout,
                      `the end of the stream; last bytes: ${this.body.slice(-400)}`);
    }

    /** Reads again, of a stream made with `paused`. */
    resume() {
        if (!this.#socket.listenerCount('data')) this.#socket.on('data', (bytes) => this.#onBytes(bytes));
        this.#socket.resume();
    }

    pause() {
        this.#socket.pause();
    }

    /** @param {string | Buffer} bytes */
    write(bytes) {
        this.#socket.write(bytes);
    }

    close() {
        this.ending ||= 'cut';
        this.#socket.destroy();
    }
}

/**
 * What a reader of these events shows: the tokens (of one run), anew after a `rewind`.
 * @param {any[]} events
 * @param {string} [runId]
 */
export function textOf(events, runId = '') {
    let text = '';
    for (const event of events) {
        if (!event || (runId && event.runId !== runId)) continue;
        if (event.type === 'status' && event.content?.status === 'rewind') text = '';
        if (event.type === 'token') text += event.content;
    }
    return text;
}
