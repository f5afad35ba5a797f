// Course: all of a subscription but sockets and clocks: where the next connection begins,
// what an answer means, which events are new, how long to wait.
//
//     connect() ─▶ answered() ─▶ block() … block() ─▶ lost() ─▶ wait, and from the start
//                      └─ Refused, or the end            └─ the end
//
// Mirrors _course.py of the Python package.

import { Refused } from './errors.js';

const RETRY_MS = 2000; // until the bridge has said another
const BACKOFF_MAX_MS = 30_000;
const EPOCHS_KEPT = 16; // of one thread
const TRANSIENT = new Set([408, 425, 429]);
const LASTING = new Set([501, 505]); // 5xx that will not pass

/** @typedef {import('../client.js').ThreadEvent} ThreadEvent */
/** @typedef {import('../client.js').Notice} Notice */

/** How far each epoch of each thread has been seen. */
class Seen {
    /** @type {Map<string, Map<string, number>>} */
    #threads = new Map();

    /** Was it there already? Notes it. @param {string} thread @param {string} id */
    add(thread, id) {
        const dash = id.lastIndexOf('-'), epoch = id.slice(0, dash), n = Number(id.slice(dash + 1));
        const epochs = this.#threads.get(thread) ?? new Map();
        this.#threads.set(thread, epochs);
        const known = epochs.get(epoch);
        if (known !== undefined && n <= known) return true;
        epochs.set(epoch, n);
        if (epochs.size > EPOCHS_KEPT) epochs.delete(epochs.keys().next().value);
        return false;
    }

    /** @param {string | undefined} thread undefined: all */
    forget(thread) {
        if (thread === undefined) this.#threads.clear();
        else this.#threads.delete(thread);
    }
}

/** @param {{ status: number, type: string }} answer */
export const isStream = ({ status, type }) => status === 200 && /^text\/event-stream\b/i.test(type);

export class Course {
    /** where the next connection begins; '' as long as there is none */
    position = '';
    /** nothing will follow */
    over = false;
    /** events that came twice and were dropped */
    duplicates = 0;
    /** expected to be closed by the bridge, and in how many milliseconds to come back */
    #told = false;
    #failures = 0;
    #retryMs = RETRY_MS;
    /** when the right to read ends, as last said on this connection */
    #expiresAt = 0;
    #since;
    #run;
    #ticket;
    /** what was delivered since the last `reset` */
    #delivered = new Seen();
    /** what was ever delivered */
    #known = new Seen();

    /** @param {{ since?: string, run?: string, ticket?: string }} from */
    constructor({ since = '', run = '', ticket = '' }) {
        this.#since = since;
        this.#run = run;
        this.#ticket = ticket;
    }

    /**
     * Headers and query of the next connection.
     * @returns {{ headers: Record<string, string>, query: Record<string, string> }}
     */
    connect() {
        this.#told = false;
        this.#expiresAt = 0;
        const query = { ...(!this.position && this.#since && { since: this.#since }),
                        ...(this.#ticket && { ticket: this.#ticket }) };
        return { headers: this.position ? { 'Last-Event-ID': this.position } : {}, query };
    }

    /**
     * What to lengthen with a fresh token, when this notice asks for it: the name of the
     * connection. (Once lengthened, `auth` says so, with a later end.)
     * @param {Notice} notice
     */
    extends({ name, data }) {
        if (name !== 'auth' || data.reason || typeof data.connection !== 'string') return '';
        const confirms = this.#expiresAt !== 0 && Number(data.expiresAt) > this.#expiresAt;
        this.#expiresAt = Number(data.expiresAt);
        return confirms ? '' : data.connection;
    }

    /**
     * An answer that is no stream: the end, something that passes, or Refused.
     * @param {{ status: number, body?: string }} answer
     */
    answered({ status, body = '' }) {
        if (status === 204) this.over = true;
        else if (status < 500 ? !TRANSIENT.has(status) : LASTING.has(status)) throw refusal(status, body);
    }

    /**
     * @param {import('./sse.js').Block} block
     * @param {number | null} retryMs what the stream has said
     * @returns {{ event?: ThreadEvent, notice?: Notice } | null}
     */
    block({ event: name, data, id, comment }, retryMs) {
        if (retryMs !== null) this.#retryMs = retryMs;
        if (comment !== null) {
            if (comment === 'keepalive') this.#failures = 0;
            return null;
        }
        if (id) this.position = id;
        const json = parsed(data);
        if (name) return { notice: this.#notice(name, json ?? {}) };
        this.#failures = 0;
        return json ? this.#event(json) : null;
    }

    /** @param {string} name @param {Record<string, any>} data @returns {Notice} */
    #notice(name, data) {
        if (name === 'bye' || name === 'busy') this.#told = true;
        if (name !== 'busy') this.#failures = 0;
        if (name === 'auth' && this.#ticket && typeof data.ticket === 'string') this.#ticket = data.ticket;
        if (name === 'reset') this.#delivered.forget(data.threadId);
        return /** @type {Notice} */ ({ name, data, position: this.position });
    }

    /** @param {any} json */
    #event(json) {
        const id = typeof json.id === 'string' ? json.id : '';
        const thread = String(json.threadId ?? '');
        if (id && this.#delivered.add(thread, id)) {
            this.duplicates++;
            return null;
        }
        const again = id !== '' && this.#known.add(thread, id);
        if (this.#run && json.runId === this.#run && (json.type === 'done' || json.type === 'error')) {
            this.over = true;
        }
        return { event: /** @type {ThreadEvent} */ ({ ...json, id, again }) };
    }

    /** Nothing good has come since the last connection was lost. */
    get failing() {
        return this.#failures > 0;
    }

    /**
     * The connection is gone, or there was none: how many milliseconds to wait. All of it
     * is drawn, so that readers who were cut together do not come back together.
     */
    lost() {
        const grown = Math.min(BACKOFF_MAX_MS, this.#retryMs * 2 ** Math.min(this.#failures, 20));
        this.#failures++;
        return (this.#told ? this.#retryMs : 0) + Math.random() * grown;
    }
}

/** @param {string} data @returns {Record<string, any> | null} */
function parsed(data) {
    try {
        const json = JSON.parse(data);
        return json && typeof json === 'object' ? json : null;
    } catch {
        return null;
    }
}

/** @param {number} status @param {string} body */
function refusal(status, body) {
    const { code = '', message = '' } = parsed(body)?.error ?? {};
    const said = [code, message].filter(Boolean).join(': ');
    return new Refused(`the bridge answers ${status}${said && ` ${said}`}`, { status, code: String(code) });
}
