// Read a thread, several, or one run, over the bridge's event stream: every event once and
// in order, over as many connections as that takes. Needs only `fetch`: Node 18, a browser.

import { Course, isStream } from './course.js';
import { Refused, ThreadcastError, Unavailable } from './errors.js';
import { SseParser } from './sse.js';

export { Refused, ThreadcastError, Unavailable };

const BODY_MAX_CHARS = 64 * 1024; // of a refusal

/** @typedef {import('../client.js').SubscribeOptions} SubscribeOptions */
/** @typedef {import('../client.js').ThreadEvent} ThreadEvent */

/** @param {string} base @param {SubscribeOptions} options */
export function subscribe(base, options) {
    return new Subscription(base, options);
}

/** @param {string} base @param {SubscribeOptions} options */
function pathOf(base, { thread, run, merge }) {
    if ((thread === undefined) === (run === undefined)) throw new TypeError('one of `thread` and `run` is needed');
    const root = String(base).replace(/\/+$/, '');
    const one = (/** @type {string} */ id) => encodeURIComponent(id);
    const url = new URL(run !== undefined ? `${root}/v1/runs/${one(run)}/events`
        : Array.isArray(thread) ? `${root}/v1/events`
            : `${root}/v1/threads/${one(/** @type {string} */ (thread))}/events`);
    if (Array.isArray(thread)) for (const id of thread) url.searchParams.append('thread', id);
    if (merge === false) url.searchParams.set('merge', '0');
    return url;
}

export class Subscription {
    #url;
    #options;
    #course;
    #closing = new AbortController();
    /** of the connection that is being read */
    #abort = new AbortController();
    #started = false;
    /** why the last connection was lost */
    #why = '';
    /** when the first of a row of connections was lost */
    #lostAt = 0;

    /** @param {string} base @param {SubscribeOptions} options */
    constructor(base, options) {
        const { silenceMs = 45_000, giveUpMs = Infinity, since = '', run, signal } = options;
        this.#url = pathOf(base, options);
        this.#options = { ...options, silenceMs, giveUpMs };
        this.#course = new Course({ since, run });
        if (signal?.aborted) this.close();
        signal?.addEventListener('abort', () => this.close(), { once: true, signal: this.#closing.signal });
    }

    get position() { return this.#course.position; }
    get duplicates() { return this.#course.duplicates; }
    get #over() { return this.#course.over || this.#closing.signal.aborted; }

    close() {
        this.#closing.abort();
        this.#abort.abort();
    }

    async* [Symbol.asyncIterator]() {
        if (this.#started) throw new Error('a subscription is read once');
        this.#started = true;
        try {
            while (!this.#over) {
                yield* this.#connection();
                if (this.#over) break;
                this.#tell('lost', { reason: this.#why });
                await this.#wait();
            }
        } finally {
            this.close();
        }
    }

    async* #connection() {
        this.#abort = new AbortController();
        const reader = (await this.#open())?.getReader();
        const parser = new SseParser(), decoder = new TextDecoder();
        try {
            while (reader && !this.#over) {
                const read = await this.#heard(reader.read());
                if (!read?.value) break;
                for (const block of parser.push(decoder.decode(read.value, { stream: true }))) {
                    const { event, notice } = this.#course.block(block, parser.retryMs) ?? {};
                    if (notice) this.#options.onNotice?.(notice);
                    if (event) yield event;
                    if (this.#over) break;
                }
            }
        } finally {
            this.#abort.abort(); // whatever is left of it
        }
    }

    /** The stream, when the answer is one. */
    async #open() {
        let token = await this.#token();
        let response = await this.#fetch(token);
        if (response?.status === 401) {
            const newer = await this.#token();
            if (newer !== token) response = await this.#fetch(newer);
        }
        if (!response) return null;
        const answer = { status: response.status, type: response.headers.get('content-type') ?? '' };
        if (!isStream(answer)) {
            const body = (await this.#heard(response.text()))?.slice(0, BODY_MAX_CHARS);
            this.#course.answered({ ...answer, body });
            this.#why = `the bridge answers ${answer.status}`;
            return null;
        }
        this.#why = 'the stream ended';
        this.#tell('open', {});
        return response.body;
    }

    /** @param {string} token */
    #fetch(token) {
        const { headers, since } = this.#course.connect();
        const url = new URL(this.#url);
        if (since) url.searchParams.set('since', since);
        const send = this.#options.fetch ?? globalThis.fetch;
        return this.#heard(send(url, {
            signal: this.#abort.signal, redirect: 'manual', cache: 'no-store',
            credentials: this.#options.credentials,
            headers: { Accept: 'text/event-stream', ...this.#options.headers, ...headers,
                       ...(token && { Authorization: `Bearer ${token}` }) },
        }));
    }

    async #token() {
        const { token } = this.#options;
        return (typeof token === 'function' ? await token() : token) ?? '';
    }

    /**
     * What the bridge says next; null when it says nothing for too long, or the connection
     * is lost. Only waiting counts: a reader may take its time with an event.
     * @template T @param {Promise<T>} saying @returns {Promise<T | null>}
     */
    async #heard(saying) {
        const abort = this.#abort, ms = this.#options.silenceMs;
        const watchdog = setTimeout(() => abort.abort(new Error(`nothing heard for ${ms} ms`)), ms);
        try {
            return await saying;
        } catch (/** @type {any} */ error) {
            this.#why = [error?.message ?? error, error?.cause?.message].filter(Boolean).join(': ');
            return null;
        } finally {
            clearTimeout(watchdog);
        }
    }

    async #wait() {
        const now = performance.now(), { giveUpMs } = this.#options;
        if (!this.#course.failing) this.#lostAt = now;
        const ms = this.#course.lost();
        if (now + ms - this.#lostAt > giveUpMs) {
            throw new Unavailable(`no stream from the bridge for ${giveUpMs} ms: ${this.#why}`);
        }
        const { signal } = this.#closing;
        await new Promise((resolve) => {
            const wake = () => {
                clearTimeout(timer);
                signal.removeEventListener('abort', wake);
                resolve(undefined);
            };
            const timer = setTimeout(wake, ms);
            signal.addEventListener('abort', wake);
        });
    }

    /** @param {'open' | 'lost'} name @param {Record<string, any>} data */
    #tell(name, data) {
        this.#options.onNotice?.({ name, data, position: this.#course.position });
    }
}
