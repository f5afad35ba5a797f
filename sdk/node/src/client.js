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

/** @param {string} root @param {SubscribeOptions} options */
function pathOf(root, { thread, run, merge }) {
    if ((thread === undefined) === (run === undefined)) throw new TypeError('one of `thread` and `run` is needed');
    const one = (/** @type {string} */ id) => encodeURIComponent(id);
    const url = new URL(run !== undefined ? `${root}/v1/runs/${one(run)}/events`
        : Array.isArray(thread) ? `${root}/v1/events`
            : `${root}/v1/threads/${one(/** @type {string} */ (thread))}/events`);
    if (Array.isArray(thread)) for (const id of thread) url.searchParams.append('thread', id);
    if (merge === false) url.searchParams.set('merge', '0');
    return url;
}

export class Subscription {
    #root;
    #url;
    #options;
    #course;
    #closing = new AbortController();
    /** of the connection that is being read */
    #abort = new AbortController();
    #started = false;
    /** the token of this connection */
    #sent = '';
    /** why the last connection was lost */
    #why = '';
    /** when the first of a row of connections was lost */
    #lostAt = 0;

    /** @param {string} base @param {SubscribeOptions} options */
    constructor(base, options) {
        const { silenceMs = 45_000, giveUpMs = Infinity, since = '', run, ticket, signal } = options;
        this.#root = String(base).replace(/\/+$/, '');
        this.#url = pathOf(this.#root, options);
        this.#options = { ...options, silenceMs, giveUpMs };
        this.#course = new Course({ since, run, ticket });
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
                    if (notice) {
                        this.#extend(this.#course.extends(notice));
                        this.#options.onNotice?.(notice);
                    }
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
        const { headers, query } = this.#course.connect();
        const url = new URL(this.#url);
        for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
        this.#sent = token;
        const send = this.#options.fetch ?? globalThis.fetch;
        return this.#heard(send(url, {
            signal: this.#abort.signal, redirect: 'manual', cache: 'no-store',
            credentials: this.#options.credentials,
            headers: { Accept: 'text/event-stream', ...this.#options.headers, ...headers,
                       ...(token && { Authorization: `Bearer ${token}` }) },
        }));
    }

    /**
     * The token ends soon: lengthens the open stream with the next one. When that does not
     * work, the stream ends with its token, and the next connection asks again.
     * @param {string} connection
     */
    async #extend(connection) {
        if (!connection || typeof this.#options.token !== 'function') return;
        try {
            const token = await this.#token();
            if (!token || token === this.#sent) return;
            this.#sent = token;
            const send = this.#options.fetch ?? globalThis.fetch;
            const answer = await send(`${this.#root}/v1/session/extend`, {
                method: 'POST', signal: this.#abort.signal, redirect: 'manual',
                body: JSON.stringify({ connection }), credentials: this.#options.credentials,
                headers: { ...this.#options.headers, 'Content-Type': 'application/json',
                           Authorization: `Bearer ${token}` },
            });
            await answer.body?.cancel();
        } catch {
            // later
        }
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
