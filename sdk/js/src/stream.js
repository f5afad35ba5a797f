// A stream of one thread, several, or one run: every event once and in order, over as many
// connections as that takes.
//
//   connecting ─▶ live ⇄ stalled        open() ─▶ link ─▶ heard, block … ─▶ lost, answered
//        ▲          │                     ▲                                      │
//        └── reconnecting ─▶ failed       └──── wait: retry, full jitter ◀───────┘
//                   └──────▶ ended
//
// Links (links.js, shared.js) know one connection; a Place knows what was told. Here is when to
// connect, how, and what the application is told. Mirrors sdk/python's _course.py.

import { Consumers } from './consumers.js';
import { Refused, Unavailable } from './errors.js';
import { eventSourceLink, fetchLink, words } from './links.js';
import { Page } from './page.js';
import { Pass } from './pass.js';
import { Patience } from './patience.js';
import { Place } from './place.js';

export { Refused, ThreadcastError, Unavailable } from './errors.js';

/**
 * @typedef {'connecting' | 'live' | 'reconnecting' | 'stalled' | 'ended' | 'failed'} State
 *
 * @typedef {object} Detail of a state
 * @property {string} reason for programs: `offline` `paused` `lost` `silent` `busy` `bye` `token`
 *     `unreachable` `worker` `polling` `closed` `run`, or a refusal's code
 * @property {string} message for people
 * @property {number} [attempt] connections that came to nothing, one after the other
 * @property {number} [retryInMs]
 * @property {number} [status] of a refusal
 *
 * @typedef {object} ThreadEvent as docs/PROTOCOL.md has it
 * @property {string} type `token` `status` `delta` `done` `error`, or what a bare PUBLISH brought
 * @property {any} content
 * @property {string} [id] none: a bare event, which cannot be resumed
 * @property {string} [threadId]
 * @property {number} [ts]
 * @property {string} [runId]
 * @property {string} [agentId]
 * @property {string} [messageId]
 * @property {number} [attempt]
 *
 * @typedef {import('./place.js').Info} Info
 * @typedef {'ready' | 'reset' | 'bye' | 'busy' | 'auth' | 'stalled'} NoticeName
 *
 * @typedef {object} Options
 * @property {string} [url] the bridge's, with its --base-path; '': where the page is
 * @property {string} [since] a position, `0`, `now`, `run` (default)
 * @property {(asked: { refused: boolean }) => string | null | undefined | Promise<string | null | undefined>} [getToken]
 *     a bearer token, asked for before connections and when the one in use ends soon. Without it,
 *     or when it has none: the session's cookie
 * @property {string} [ticket] instead: what `POST /v1/tickets` gave
 * @property {'auto' | 'eventsource' | 'fetch' | 'poll'} [transport]
 * @property {boolean | string} [shared] one connection for all tabs; a string: of those who say the same
 * @property {boolean} [merge] false: neighbouring tokens are never merged
 * @property {Record<string, string>} [headers] of what is fetched
 * @property {AbortSignal} [signal] closes it
 * @property {number} [firstByteMs] so long may the first byte take (10,000)
 * @property {number} [silenceMs] and so long may nothing be heard then (2.5 × the bridge's keepalive)
 * @property {number} [retryMs] the first waiting time, until the bridge has said its own (2,000)
 * @property {number} [retryMaxMs] the longest (30,000)
 * @property {number} [giveUpMs] without a connection for so long, with a network, it fails (600,000)
 * @property {number} [pollMs] `poll`: not more often than this (500)
 * @property {number} [pollWaitMs] `poll`: so long an answer may wait for something to say (20,000)
 * @property {number} [streamAgainMs] `auto`: polling gives streams another chance after this (300,000)
 * @property {number} [queueMax] events that may wait for an iteration before reading pauses (10,000)
 */

/** @type {Required<Omit<Options, 'getToken' | 'ticket' | 'signal'>>} */
const DEFAULTS = {
    url: '', since: 'run', transport: 'auto', shared: false, merge: true, headers: {}, firstByteMs: 10_000,
    silenceMs: 0, retryMs: 2000, retryMaxMs: 30_000, giveUpMs: 600_000, pollMs: 500, pollWaitMs: 20_000,
    streamAgainMs: 300_000, queueMax: 10_000,
};
const SILENCE_MIN_MS = 2000;
const TRANSIENT = [408, 425, 429];
const LASTING = [501, 505]; // 5xx that will not pass

/**
 * @param {string | string[] | { run: string }} what a thread, up to 32 on one connection, or a run
 * @param {Options} [options]
 */
export function connect(what, options) {
    return new Stream(what, options);
}

/** @implements {AsyncIterable<ThreadEvent>} */
export class Stream {
    /** @type {State} */
    state = 'connecting';
    /** @type {Detail} */
    detail = { reason: '', message: 'Connecting.' };
    /** @type {'eventsource' | 'fetch' | 'poll' | 'shared'} how it is connected, or tries to be */
    transport;
    /** connections that were made after the first one */
    reconnects = 0;

    #options;
    #base;
    #run;
    /** @type {Place} */
    #place;
    #pass;
    #page;
    #consumers;
    /** what closes the connection there is @type {(() => void) | null} */
    #close = null;
    /** counts connections: what older ones still say is not heard */
    #turn = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #timer;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #watchdog;
    /** why: `page`, `slow`; none: it is not @type {Set<string>} */
    #paused = new Set();
    #opened = 0;
    /** @type {Patience} */
    #patience;
    #heardAt = 0;
    #wasHeard = false;
    #openedAt = 0;
    #keepaliveMs = 15_000;
    /** the bridge has said that it ends this connection, and how */
    #told = '';
    #toldWords = '';
    /** one 401 may be answered by a newer token */
    #refused = false;
    /** how likely it is that streams do not pass here: at 2 it polls */
    #suspicion = 0;
    #pollUntil = 0;
    /** runs whose workers are silent @type {Set<string>} */
    #stalled = new Set();

    /** @param {string | string[] | { run: string }} what @param {Options} [options] */
    constructor(what, options = {}) {
        const o = this.#options = { ...DEFAULTS, ...options };
        this.#run = typeof what === 'object' && 'run' in what ? what.run : '';
        this.#place = new Place(this.#run ? [''] : [/** @type {any} */ (what)].flat(), o.since);
        const here = globalThis.document?.baseURI ?? globalThis.location?.href;
        this.#base = new URL(o.url ? o.url.replace(/\/*$/, '/') : './', here).href;
        this.#patience = new Patience(o);
        this.#pass = new Pass(this.#base, o);
        this.#consumers = new Consumers(this, o.queueMax, (full) => (full ? this.#pause('slow') : this.#resume('slow')));
        this.transport = this.#choose();
        this.#page = new Page({
            pause: () => this.#pause('page'), resume: () => this.#resume('page'),
            wake: (changed) => this.#wake(changed), offline: () => this.#lost('offline', 'There is no network.') });
        o.signal?.addEventListener('abort', () => this.close());
        if (o.signal?.aborted) this.close();
        else this.#wait(0);
    }

    /** Behind the last event that was told; `since` of another stream. */
    get lastEventId() { return this.#consumers.position ?? this.#place.position; }
    get threads() { return this.#run ? [] : this.#place.threads; }
    get duplicates() { return this.#place.duplicates; }
    get #over() { return this.state === 'ended' || this.state === 'failed'; }

    /**
     * `token` `status` `delta` `done` `error` or another type: `(event, info)`; `event`: all of them.
     * `state`: `(state, detail)`. `notice`: `(name, data)`. Answers what takes it back.
     * @param {string} name
     * @param {(...args: any[]) => void} handler
     * @returns {() => void}
     */
    on(name, handler) { return this.#consumers.on(name, handler); }

    /** Each event from here on; leaving the loop closes the stream. */
    [Symbol.asyncIterator]() { return this.#consumers.iterate(() => this.#place.position); }

    /** @param {string} [reason] */
    close(reason = 'closed') {
        if (!this.#over) this.#finish('ended', { reason, message: 'The stream was closed.' });
    }

    /** After `failed`: once more. */
    retry() {
        if (this.state !== 'failed') return;
        this.#patience.reset();
        this.#refused = false;
        this.#page.listen();
        this.#enter('connecting', { reason: '', message: 'Connecting.' });
        this.#wait(0);
    }

    /** One more on the same connection. @param {string} thread @param {string} [since] a position; 0: all that is kept */
    addThread(thread, since = '0') {
        if (this.threads.includes(thread)) return;
        this.#place.add(thread, since === '0' ? '' : since);
        this.#again();
    }

    /** @param {string} thread */
    removeThread(thread) {
        if (!this.threads.includes(thread)) return;
        this.#place.remove(thread);
        this.#again();
    }

    // --- connecting ---------------------------------------------------------------------------

    #choose() {
        const { transport, getToken } = this.#options;
        if (this.#options.shared && globalThis.navigator?.locks && globalThis.BroadcastChannel && !this.#run) return 'shared';
        if (transport !== 'auto') return /** @type {'eventsource' | 'fetch' | 'poll'} */ (transport);
        if (this.#pollUntil > Date.now()) return 'poll';
        // a ticket is for threads
        const native = globalThis.EventSource && globalThis.document && !(this.#run && getToken) && !this.#pass.ticketless;
        return native ? 'eventsource' : 'fetch';
    }

    /** Soon and without a word: another address. */
    #again() {
        if (this.#over || this.#paused.size) return;
        this.#drop();
        if (this.threads.length || this.#run) this.#wait(0);
    }

    #drop() {
        this.#turn++;
        clearTimeout(this.#timer);
        clearTimeout(this.#watchdog);
        this.#close?.();
        this.#close = null;
        this.#pass.drop();
    }

    /** @param {number} ms */
    #wait(ms) {
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#open(), ms);
    }

    async #open() {
        this.#drop();
        const turn = this.#turn;
        this.transport = this.#choose();
        this.#told = '';
        this.#wasHeard = false;
        this.#stalled.clear();
        this.#openedAt = Date.now();
        const firstByteMs = this.#options.firstByteMs + (this.transport === 'poll' ? this.#options.pollWaitMs : 0);
        this.#watch(firstByteMs);
        /** @type {import('./links.js').Ear} */
        const ear = {
            heard: () => turn === this.#turn && this.#heard(),
            block: (name, data, id) => turn === this.#turn && this.#block(name, data, id),
            retry: (ms) => turn === this.#turn && (this.#patience.retryMs = ms),
            lost: (why, whole) => turn === this.#turn && this.#ended(why, whole),
            answered: (status, body) => turn === this.#turn && this.#answered(status, body),
        };
        let pass;
        try {
            pass = await this.#pass.get(this.transport === 'eventsource', this.threads, this.#refused);
        } catch (/** @type {any} */ error) {
            if (turn !== this.#turn) return;
            if (error.status) this.#answered(error.status, error.body);
            else this.#lost('token', `There is no token: ${words(error)}.`);
            return;
        }
        if (turn !== this.#turn) return;
        if (!pass) { // no tickets here
            this.#wait(0);
            return;
        }
        const url = this.#url(pass.ticket);
        this.#close = (this.transport === 'eventsource' ? eventSourceLink : fetchLink)(url, pass.init, ear);
    }

    /** @param {string} ticket */
    #url(ticket) {
        const one = encodeURIComponent, { threads } = this;
        const url = new URL(this.#run ? `v1/runs/${one(this.#run)}/events`
            : threads.length > 1 ? 'v1/events' : `v1/threads/${one(threads[0])}/events`, this.#base);
        if (threads.length > 1) for (const thread of threads) url.searchParams.append('thread', thread);
        if (this.#place.since) url.searchParams.set('since', this.#place.since);
        if (!this.#options.merge) url.searchParams.set('merge', '0');
        if (ticket) url.searchParams.set('ticket', ticket);
        if (this.transport === 'poll') url.searchParams.set('poll', String(this.#options.pollWaitMs));
        url.searchParams.set('ping', '1');
        return url.href;
    }

    // --- what a connection says -----------------------------------------------------------------

    #heard() {
        this.#heardAt = Date.now();
        if (this.#wasHeard) return;
        this.#wasHeard = true;
        this.#watch(this.#silence, true);
    }

    get #silence() {
        const { silenceMs, pollWaitMs } = this.#options;
        return this.transport === 'poll' ? pollWaitMs * 2
            : silenceMs || Math.max(SILENCE_MIN_MS, 2.5 * this.#keepaliveMs);
    }

    /**
     * By the clock on the wall: it goes on while a laptop sleeps.
     * @param {number} ms @param {boolean} [lazily] only from what was heard last
     */
    #watch(ms, lazily) {
        clearTimeout(this.#watchdog);
        this.#watchdog = setTimeout(() => {
            const left = lazily ? this.#heardAt + this.#silence - Date.now() : 0;
            if (left > 0) this.#watch(left, true);
            else this.#silent();
        }, ms);
    }

    #silent() {
        this.#suspicion += this.#wasHeard ? 1 : 2;
        this.#lost('silent', 'Nothing is heard of the server.');
    }

    /** @param {string} name @param {string} text @param {string} id */
    #block(name, text, id) {
        this.#heard();
        /** @type {any} */
        let data;
        try {
            data = JSON.parse(text);
        } catch {
            return;
        }
        if (!data || typeof data !== 'object') return;
        this.#place.move(id);
        if (name !== 'busy' && name !== 'bye') this.#alive(name === 'ping');
        if (name) this.#notice(name, data);
        else this.#event(data);
    }

    /** It passes, and is good for something. @param {boolean} ping */
    #alive(ping) {
        this.#patience.reset();
        if (ping && Date.now() - this.#openedAt > this.#keepaliveMs / 2) this.#suspicion = 0;
        this.#refused = false;
        if (this.state === 'live' || this.state === 'stalled' || this.#over) return;
        if (this.#opened++) this.reconnects++;
        this.#enter('live', this.transport === 'poll' && this.#options.transport === 'auto'
            ? { reason: 'polling', message: 'Streams do not pass here: asking again and again.' }
            : { reason: '', message: '' });
    }

    /** @param {any} data */
    #event(data) {
        const info = this.#place.take(data);
        if (!info) return;
        if (this.#stalled.delete(data.runId) && !this.#stalled.size) this.#enter('live', { reason: '', message: '' });
        this.#consumers.event(data, info, this.#place.position);
        if (this.#run && data.runId === this.#run && (data.type === 'done' || data.type === 'error')) this.#runEnded();
    }

    #runEnded() {
        this.#finish('ended', { reason: 'run', message: 'The run has ended.' });
    }

    /** @param {string} name @param {any} data */
    #notice(name, data) {
        if (name === 'ping') {
            this.#keepaliveMs = data.keepaliveMs || this.#keepaliveMs;
            this.#patience.retryMs = data.retryMs || this.#patience.retryMs;
            return;
        }
        if (name === 'reset') this.#place.reset(data.threadId);
        if (name === 'bye' || name === 'busy') {
            this.#told = name;
            this.#toldWords = name === 'busy' ? `The server is busy: ${data.reason}.` : `${data.reason}.`;
        }
        if (name === 'stalled') {
            this.#stalled.add(data.runId);
            this.#enter('stalled', { reason: 'worker', message: 'The agent has not been heard of for a while.' });
        }
        if (name === 'auth') this.#pass.told(data);
        this.#consumers.emit('notice', name, data);
        if (name === 'auth' && (data.reason === 'forbidden' || data.reason === 'deleted')) {
            this.#fail(data.reason, `This stream was closed: ${data.reason}.`, 403);
        }
    }

    /** @param {string} why @param {boolean} [whole] */
    #ended(why, whole) {
        if (this.transport === 'poll' && whole && this.#wasHeard && !this.#told) {
            if (this.#options.transport === 'auto' && !this.#pollUntil) this.#pollUntil = Date.now() + this.#options.streamAgainMs;
            this.#alive(false);
            this.#drop();
            this.#wait(Math.max(0, this.#openedAt + this.#options.pollMs - Date.now()));
            return;
        }
        if (this.#told) this.#lost(this.#told, this.#toldWords);
        else this.#lost('lost', `The connection was lost: ${why}.`);
    }

    /** Something else than a stream. @param {number} status @param {string} body */
    #answered(status, body) {
        if (status === 204) {
            this.#runEnded();
            return;
        }
        const lasting = status < 500 ? !TRANSIENT.includes(status) : LASTING.includes(status);
        if (!lasting) {
            this.#lost('lost', `The server answers ${status}.`);
            return;
        }
        if (status === 401 && this.#pass.renewable && !this.#refused) {
            this.#refused = true;
            this.#pass.forget();
            this.#wait(0);
            return;
        }
        let error;
        try {
            error = JSON.parse(body).error;
        } catch {
            // a proxy's page: the status says enough
        }
        this.#fail(error?.code || 'refused', error?.message || `The server answers ${status}.`, status);
    }

    // --- losing it, and what follows ---------------------------------------------------------------

    /** @param {string} reason @param {string} message */
    #lost(reason, message) {
        if (this.#over || this.#paused.size) return;
        this.#drop();
        const offline = globalThis.navigator?.onLine === false;
        if (offline) [reason, message] = ['offline', 'There is no network.'];
        if (this.#options.transport === 'auto') this.#suspect();
        const retryInMs = this.#patience.next(Boolean(this.#told), offline), { attempt } = this.#patience;
        if (retryInMs === null) {
            this.#fail('unreachable', `The server cannot be reached. ${message}`, 0);
            return;
        }
        this.#wait(retryInMs);
        this.#enter('reconnecting', { reason, message, attempt, retryInMs: Math.round(retryInMs) });
    }

    /** Streams do not seem to pass: is it any better with answers that end? */
    #suspect() {
        if (this.transport === 'poll') {
            if (this.#patience.attempt) this.#pollUntil = 0;
        } else if (this.#suspicion >= 2) {
            this.#suspicion = 0;
            this.#pollUntil = Date.now() + this.#options.streamAgainMs;
        }
    }

    /** @param {string} reason @param {string} message @param {number} status */
    #fail(reason, message, status) {
        if (this.#over) return;
        const error = status ? new Refused(message, status, reason) : new Unavailable(message);
        this.#finish('failed', { reason, message, ...(status && { status }) }, error);
    }

    /** @param {State} state @param {Detail} detail @param {Error} [error] */
    #finish(state, detail, error) {
        this.#drop();
        this.#page.ignore();
        this.#enter(state, detail);
        this.#consumers.end(error);
    }

    /** @param {State} state @param {Detail} detail */
    #enter(state, detail) {
        if (this.state === state && this.detail.message === detail.message && !detail.attempt) return;
        this.state = state;
        this.detail = detail;
        this.#consumers.emit('state', state, detail);
    }

    /** The page is put aside (bfcache, a frozen tab), or a loop is too slow. @param {string} why */
    #pause(why) {
        if (this.#over || this.#paused.add(why).size > 1) return;
        this.#drop();
        this.#enter('reconnecting', { reason: 'paused', message: 'Paused.' });
    }

    /** @param {string} why */
    #resume(why) {
        if (this.#paused.delete(why) && !this.#paused.size && !this.#over) this.#wait(0);
    }

    /** Somebody looks, or there is a network again. @param {boolean} changed another network */
    #wake(changed) {
        if (this.#over || this.#paused.size) return;
        const waiting = this.state === 'reconnecting' && !this.#close;
        if (waiting || changed) this.#again();
        else if (this.#wasHeard && Date.now() - this.#heardAt > this.#silence) this.#silent();
    }
}
