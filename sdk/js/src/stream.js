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
import { cookieInit, eventSourceLink, fetchLink, words } from './links.js';
import { DEFAULTS } from './options.js';
import { watchPage } from './page.js';
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
 * @property {number} [status] of a refusal; 0: there was no answer
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
 * @typedef {import('./options.js').Options} Options
 */

const CONNECTING = { reason: '', message: 'Connecting.' };
const LIVE = { reason: '', message: '' };
const SILENCE_MIN_MS = 2000;
const TRANSIENT = /^(408|425|429|5(?!0[15]))/; // 501 and 505 will not pass

/** @param {string} text @returns {any} an object, or null */
function parsed(text) {
    try {
        const json = JSON.parse(text);
        return json && typeof json === 'object' ? json : null;
    } catch {
        return null;
    }
}

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
    detail = CONNECTING;
    /** @type {'eventsource' | 'fetch' | 'poll' | 'shared'} how it is connected, or tries to be */
    transport;
    /** why it has failed @type {Error | null} */
    error = null;
    /** connections that were made after the first one */
    reconnects = 0;

    #options;
    #base;
    #run;
    /** @type {Place} */
    #place;
    /** none: the session's cookie lets us in @type {import('./pass.js').Pass | null} */
    #pass = null;
    #ignorePage;
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
        this.#consumers = new Consumers(this, o.queueMax, (full) => (full ? this.#pause('slow') : this.#resume('slow')));
        this.transport = this.#choose();
        this.#ignorePage = watchPage(() => this.#pause('page'), () => this.#resume('page'), (changed) => this.#wake(changed),
            () => this.transport !== 'shared' && this.#lost('offline', ''));
        o.signal?.addEventListener('abort', () => this.close());
        if (o.signal?.aborted) this.close();
        else this.#wait(0);
    }

    /** Behind the last event that was told; `since` of another stream. */
    get lastEventId() { return this.#consumers.position ?? this.#place.position; }
    /** @param {string} thread */
    positionOf(thread) { return this.#place.at(thread); }
    get threads() { return this.#run ? [] : this.#place.threads; }
    get duplicates() { return this.#place.duplicates; }
    get #polls() { return this.transport === 'poll'; }
    get #over() { return this.state === 'ended' || this.state === 'failed'; }

    /**
     * `state`, `notice`, `event` for all events, or one of their types. Answers what takes it back.
     * @overload @param {'state'} name @param {(state: State, detail: Detail) => void} handler @returns {() => void}
     */
    /**
     * @overload @param {'notice'} name @param {(name: NoticeName, data: any) => void} handler @returns {() => void}
     */
    /**
     * @overload @param {'event' | 'token' | 'status' | 'delta' | 'done' | 'error' | (string & {})} name
     * @param {(event: ThreadEvent, info: Info) => void} handler @returns {() => void}
     */
    /** @param {string} name @param {(...args: any[]) => void} handler */
    on(name, handler) { return this.#consumers.on(name, handler); }

    /** Each event from here on; leaving the loop closes the stream. */
    [Symbol.asyncIterator]() { return this.#consumers.iterate(() => this.#place.position); }

    close() {
        if (!this.#over) this.#finish('ended', { reason: 'closed', message: 'The stream was closed.' });
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
        const native = globalThis.EventSource && globalThis.document && !(this.#run && getToken) && !this.#pass?.ticketless;
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
        this.#pass?.drop();
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
        this.#openedAt = Date.now();
        if (this.transport === 'shared') {
            this.#share(turn);
            return;
        }
        this.#watch(this.#polls ? this.#silence : this.#options.firstByteMs);
        /** What an older connection still says is not heard. @type {(say: (...words: any[]) => void) => (...words: any[]) => void} */
        const hear = (say) => (...words) => turn === this.#turn && say.apply(this, words);
        const ear = { heard: hear(this.#heard), block: hear(this.#block), retry: hear(this.#retry),
                      lost: hear(this.#ended), answered: hear(this.#answered) };
        const pass = await this.#getPass().catch(hear((error) => (error.status ? this.#answered(error.status, error.body)
            : this.#lost('token', `There is no token: ${words(error)}.`))));
        if (!pass || turn !== this.#turn) return;
        const link = this.transport === 'eventsource' ? eventSourceLink : fetchLink;
        this.#close = link(this.#url(pass.ticket), pass.init, ear);
    }

    /** Tokens and tickets are loaded by those who have some. */
    async #getPass() {
        const o = this.#options;
        if (!o.getToken && !o.ticket) return { ticket: '', init: cookieInit(o) };
        this.#pass ??= new (await import('./pass.js')).Pass(this.#base, o);
        const pass = await this.#pass.get(this.transport === 'eventsource', this.threads, this.#refused);
        if (!pass) this.#wait(0); // no tickets here
        return pass;
    }

    /** @param {number} turn */
    async #share(turn) {
        const { share } = await import('./shared.js');
        if (turn !== this.#turn) return;
        this.#close = share(this.#base, this.#options, this.#place, {
            event: (event, id, thread) => {
                this.#place.move(id, thread);
                this.#event(event);
            },
            notice: (name, data, id, thread) => {
                this.#place.move(id, thread);
                this.#notice(name, data);
            },
            move: (position) => this.#place.move(position),
            state: (state, detail) => (state === 'live' ? this.#alive(false) : this.#enter(state, detail)),
            failed: (error, detail) => this.#finish('failed', detail, error),
        });
    }

    /** @param {string} ticket */
    #url(ticket) {
        const { since } = this.#place, { merge, pollWaitMs } = this.#options;
        const query = new URLSearchParams([['ping', '1'], ...this.threads.map((thread) => ['thread', thread])]);
        if (since) query.set('since', since);
        if (!merge) query.set('merge', '0');
        if (ticket) query.set('ticket', ticket);
        if (this.#polls) query.set('poll', `${pollWaitMs}`);
        return `${this.#base}v1/${this.#run && `runs/${encodeURIComponent(this.#run)}/`}events?${query}`;
    }

    // --- what a connection says -----------------------------------------------------------------

    /** @param {number} ms */
    #retry(ms) { this.#patience.retryMs = ms; }

    #heard() {
        this.#heardAt = Date.now();
        if (this.#wasHeard) return;
        this.#wasHeard = true;
        this.#watch(this.#silence, true);
    }

    get #silence() {
        const { silenceMs, pollWaitMs, firstByteMs } = this.#options;
        return this.#polls ? pollWaitMs + firstByteMs
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
        const data = parsed(text);
        if (!data) return;
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
        this.#enter('live', this.#polls && this.#options.transport === 'auto'
            ? { reason: 'polling', message: 'Streams do not pass here: asking again and again.' }
            : LIVE);
    }

    /** @param {any} data */
    #event(data) {
        const info = this.#place.take(data);
        if (!info) return;
        if (this.#stalled.delete(data.runId) && !this.#stalled.size) this.#enter('live', LIVE);
        this.#consumers.event(data, info, this.#place.position);
        if (this.#run && data.runId === this.#run && (data.type === 'done' || data.type === 'error')) this.#runEnded();
    }

    #runEnded() {
        this.#finish('ended', { reason: 'run', message: 'The run has ended.' });
    }

    /** @param {string} name @param {any} data */
    #notice(name, data) {
        if (name === 'ping') {
            this.#keepaliveMs = data.keepaliveMs;
            this.#retry(data.retryMs);
            this.#watch(this.#silence, true);
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
        if (name === 'auth') this.#pass?.told(data);
        this.#consumers.emit('notice', name, data);
        if (name === 'auth' && (data.reason === 'forbidden' || data.reason === 'deleted')) {
            this.#fail(data.reason, `This stream was closed: ${data.reason}.`, 403);
        }
    }

    /** @param {string} why @param {boolean} [whole] */
    #ended(why, whole) {
        if (this.#polls && whole && this.#wasHeard && !this.#told) {
            this.#alive(false);
            this.#consumers.emit('polled');
            if (this.#over) return;
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
        if (TRANSIENT.test(`${status}`)) {
            this.#lost('lost', `The server answers ${status}.`);
            return;
        }
        if (status === 401 && this.#pass?.renewable && !this.#refused) {
            this.#refused = true;
            this.#pass.forget();
            this.#wait(0);
            return;
        }
        const error = parsed(body)?.error; // of a proxy's page the status says enough
        this.#fail(error?.code || 'refused', error?.message || `The server answers ${status}.`, status);
    }

    // --- losing it, and what follows ---------------------------------------------------------------

    /** @param {string} reason @param {string} message */
    #lost(reason, message) {
        if (this.#over || this.#paused.size) return;
        this.#drop();
        const offline = globalThis.navigator?.onLine === false;
        if (offline) [reason, message] = ['offline', 'There is no network.'];
        // streams do not seem to pass: is it any better with answers that end?
        if (this.#polls && this.#patience.attempt) this.#pollUntil = 0;
        if (this.#suspicion > 1) {
            this.#suspicion = 0;
            this.#pollUntil = Date.now() + this.#options.streamAgainMs;
        }
        const retryInMs = this.#patience.next(Boolean(this.#told), offline), { attempt } = this.#patience;
        if (retryInMs === null) {
            this.#fail('unreachable', `The server cannot be reached. ${message}`, 0);
            return;
        }
        this.#stalled.clear();
        this.#wait(retryInMs);
        this.#enter('reconnecting', { reason, message, attempt, retryInMs: Math.round(retryInMs) });
    }

    /** @param {string} reason @param {string} message @param {number} status */
    #fail(reason, message, status) {
        if (this.#over) return;
        const error = status ? new Refused(message, status, reason) : new Unavailable(message);
        this.#finish('failed', { reason, message, status }, error);
    }

    /** @param {State} state @param {Detail} detail @param {Error} [error] */
    #finish(state, detail, error) {
        this.#drop();
        this.#ignorePage();
        this.error = error ?? null;
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
        if (this.transport === 'shared' && this.#close) return; // who leads does
        const waiting = this.state === 'reconnecting' && !this.#close;
        if (waiting || changed) this.#again();
        else if (this.#wasHeard && Date.now() - this.#heardAt > this.#silence) this.#silent();
    }
}
