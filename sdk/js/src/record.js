// What is asked of a bridge besides the stream: the record of a thread (who said what, how
// runs ended) and what people do in it. The only file that knows how these routes spell
// things; everybody else gets the types below.

import { Refused, Unavailable } from './errors.js';

/**
 * @typedef {import('./state.js').Message} Message
 * @typedef {import('./state.js').RunStatus} RunStatus
 *
 * @typedef {object} History
 * @property {Message[]} messages oldest first
 * @property {string} cursor a stream from here misses nothing
 * @property {string | null} next `before` of the page before this one
 *
 * @typedef {object} Receipt the answer to a prompt
 * @property {string} messageId
 * @property {string} cursor
 * @property {{ runId: string, agent: string, messageId: string }[]} runs
 *
 * @typedef {object} Prompt
 * @property {string} content
 * @property {string} [agent] who answers; none: the worker's own choice
 * @property {string[]} [agents] several answer, side by side
 * @property {'queue' | 'parallel' | 'interrupt' | 'reject'} [mode] when a run of the thread is going
 * @property {object} [metadata]
 *
 * @typedef {object} Access
 * @property {string} [url]
 * @property {import('./stream.js').Options['getToken']} [getToken]
 * @property {Record<string, string>} [headers]
 */

const TIMEOUT_MS = 15_000;
const TRIES = 4;
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 15_000;

export class ThreadRecord {
    #base;
    #access;

    /** @param {string} threadId @param {() => Access} access read anew for each request */
    constructor(threadId, access) {
        this.#base = `v1/threads/${encodeURIComponent(threadId)}`;
        this.#access = access;
    }

    /** @param {{ limit?: number, before?: string | null }} [page] @returns {Promise<History>} */
    async messages({ limit = 50, before } = {}) {
        const query = new URLSearchParams({ limit: String(limit), ...(before && { before }) });
        const answer = await this.#ask('GET', `${this.#base}/messages?${query}`);
        return {
            messages: (answer.messages ?? []).map(messageOf),
            cursor: String(answer.cursor ?? '0'),
            next: answer.next == null ? null : String(answer.next),
        };
    }

    /**
     * `key` makes it safe to send twice: the same key answers the same.
     * @param {Prompt} prompt
     * @param {string} key
     * @returns {Promise<Receipt>}
     */
    send(prompt, key) {
        return patiently(() =>
            this.#ask('POST', `${this.#base}/messages`, prompt, { 'Idempotency-Key': key }));
    }

    /** Another answer to the same prompt. @param {string} runId @returns {Promise<Receipt>} */
    retry(runId) {
        return this.#ask('POST', `${runPath(runId)}/retry`, {});
    }

    /** Its outcome is an event. @param {string} runId */
    cancel(runId) {
        return patiently(() => this.#ask('POST', `${runPath(runId)}/cancel`, {}));
    }

    /** @param {string} runId @returns {Promise<RunStatus>} */
    async run(runId) {
        const answer = await this.#ask('GET', runPath(runId));
        return {
            runId,
            status: String(answer.status ?? ''),
            messageId: answer.replyId ?? null,
            parentId: answer.messageId ?? null,
            error: String(answer.error?.message ?? ''),
        };
    }

    /** Events without a run; needs a write grant. @param {object | object[]} events @param {string} key */
    publish(events, key) {
        return patiently(() =>
            this.#ask('POST', `${this.#base}/events`, events, { 'Idempotency-Key': key }));
    }

    /**
     * A token that has run out is asked for anew, once.
     * @param {string} method
     * @param {string} path
     * @param {unknown} [body]
     * @param {Record<string, string>} [headers]
     */
    async #ask(method, path, body, headers) {
        try {
            return await this.#request(method, path, body, headers, false);
        } catch (error) {
            const again = error instanceof Refused && error.status === 401 && this.#access().getToken;
            if (!again) throw error;
            return this.#request(method, path, body, headers, true);
        }
    }

    /**
     * @param {string} method
     * @param {string} path
     * @param {unknown} body
     * @param {Record<string, string> | undefined} headers
     * @param {boolean} refused the token of before was
     */
    async #request(method, path, body, headers, refused) {
        const { url, getToken, headers: own } = this.#access();
        const token = (await getToken?.({ refused })) ?? '';
        /** @type {RequestInit} */
        const init = {
            method,
            cache: 'no-store',
            credentials: token ? 'same-origin' : 'include',
            headers: {
                ...own,
                ...headers,
                ...(body !== undefined && { 'Content-Type': 'application/json' }),
                ...(token && { Authorization: `Bearer ${token}` }),
            },
            signal: AbortSignal.timeout(TIMEOUT_MS),
            ...(body !== undefined && { body: JSON.stringify(body) }),
        };
        let response, text;
        try {
            response = await fetch(new URL(path, baseOf(url)), init);
            text = await response.text();
        } catch {
            throw new Unavailable('The server cannot be reached.');
        }
        return answerOf(response, text);
    }
}

/** @param {string} runId */
const runPath = (runId) => `v1/runs/${encodeURIComponent(runId)}`;

/** As `connect` understands it. @param {string} [url] */
function baseOf(url) {
    const here = globalThis.document?.baseURI ?? globalThis.location?.href;
    return new URL(url ? url.replace(/\/*$/, '/') : './', here).href;
}

/** @param {Response} response @param {string} text @returns {any} */
function answerOf({ ok, status }, text) {
    /** @type {any} */
    let answer = {};
    try {
        answer = JSON.parse(text);
    } catch {
        // a proxy's page in HTML, most likely: the status says enough
    }
    if (ok) return answer;
    const { message = `HTTP ${status}`, code = '' } = answer?.error ?? {};
    const transient = status === 408 || status === 429 || (status >= 500 && status !== 501);
    throw transient ? new Unavailable(message) : new Refused(message, status, code);
}

/**
 * Tries again what may pass, later and later, and never in step with everybody else.
 * @template T
 * @param {() => Promise<T>} action
 * @param {number} [tries]
 * @param {(error: Error, attempt: number, retryInMs: number) => boolean | void} [onFailure] false: no more
 * @returns {Promise<T>}
 */
export async function patiently(action, tries = TRIES, onFailure) {
    for (let attempt = 1; ; attempt++) {
        try {
            return await action();
        } catch (error) {
            if (!(error instanceof Unavailable) || attempt >= tries) throw error;
            const ms = Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** attempt) * (0.5 + Math.random() / 2);
            if (onFailure?.(error, attempt, ms) === false) throw error;
            await new Promise((resolve) => setTimeout(resolve, ms));
        }
    }
}

/** A key for `send`. (`crypto.randomUUID` is missing on plain http outside localhost.) */
export function newKey() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @param {any} row @returns {Message} */
function messageOf(row) {
    const { content } = row;
    return {
        id: String(row.id),
        role: String(row.role),
        text: typeof content === 'string' ? content : JSON.stringify(content ?? '', null, 2),
        author: String(row.author ?? ''),
        replyTo: row.replyTo ?? null,
        runId: row.runId ?? null,
        order: Number(row.seq) || 0,
        ended: row.status ?? '',
        error: String(row.error?.message ?? ''),
    };
}
