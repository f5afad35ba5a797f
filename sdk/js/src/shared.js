// One connection per browser. Every stream of every tab that says `shared` is a member; the one
// that holds a Web Lock leads: it has the connection, for all threads that any member wants, and
// tells what it hears on a BroadcastChannel, which it reads like everybody else.
//
//   leader's Stream ─▶ told ─▶ BroadcastChannel ─▶ each member ─▶ Place (once, in order) ─▶ handlers
//
// A member is in step when everything behind its position has been, or will be, told: it asks the
// leader to follow its threads (`want`) and hears where the leader began. If that is not where it
// stands itself, it fetches what is between from the bridge, in one short answer, and keeps what is
// told meanwhile until then. The same happens when the lead moves: a tab closes, crashes, is frozen
// (its lock goes), or hangs (nobody answers `ask`: the lock is stolen).

import { Stream } from './stream.js';

const ASK_AFTER_MS = 10_000; // silence of the leader
const ANSWER_WITHIN_MS = 5000;
const WANT_AGAIN_MS = 1000;
const PRUNE_MS = 10_000;
const KEPT_MAX = 10_000; // told while a member is not in step; more than that it fetches again
const THREADS_MAX = 32; // of one connection

/**
 * @typedef {object} SharedEar
 * @property {(event: any, id: string, thread: string) => void} event
 * @property {(name: string, data: any, id: string, thread: string) => void} notice
 * @property {(position: string) => void} move
 * @property {(state: any, detail: any) => void} state
 * @property {(error: Error, detail: any) => void} failed
 *
 * @typedef {import('./stream.js').Options} Options
 * @typedef {import('./place.js').Place} Place
 */

const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36)).join('');

/**
 * @param {string} base @param {Options} options @param {Place} place @param {SharedEar} ear
 * @returns {() => void} leaves
 */
export function share(base, options, place, ear) {
    const member = new Member(base, options, place, ear);
    return () => member.leave();
}

class Member {
    #id = newId();
    #name;
    #channel;
    #options;
    #place;
    #ear;
    #left = new AbortController();
    /** @type {Leader | null} */
    #leads = null;
    /** whom it is in step with, or tries to be */
    #leader = '';
    #inStep = false;
    /** told while it was not in step @type {any[]} */
    #kept = [];
    /** @type {Stream | null} */
    #fetching = null;
    #heardAt = Date.now();
    #askedAt = 0;
    #timer;
    /** runs that have not ended: whose `stalled` concerns us @type {Set<string>} */
    #runs = new Set();

    /** @param {string} base @param {Options} options @param {Place} place @param {SharedEar} ear */
    constructor(base, options, place, ear) {
        this.#name = `threadcast ${base} ${options.shared}`;
        this.#options = { ...options, url: base, shared: false, signal: undefined };
        this.#place = place;
        this.#ear = ear;
        this.#channel = new BroadcastChannel(this.#name);
        this.#channel.onmessage = ({ data }) => this.#on(data);
        this.#hold(`${this.#name} ${this.#id}`).catch(() => {}); // that we are there
        this.#apply();
        this.#timer = setInterval(() => this.#tick(), WANT_AGAIN_MS);
        this.#fetch();
    }

    leave() {
        this.#left.abort();
        clearInterval(this.#timer);
        this.#fetching?.close();
        this.#say({ drop: true });
        this.#leads?.close();
        this.#channel.close();
    }

    /** A lock until we leave. @param {string} name @param {() => void} [then] @param {boolean} [steal] */
    #hold(name, then, steal) {
        const { signal } = this.#left;
        return navigator.locks.request(name, steal ? { steal } : { signal }, () => {
            if (signal.aborted) return;
            then?.();
            return new Promise((resolve) => signal.addEventListener('abort', resolve));
        });
    }

    /** Waits for the lead. @param {boolean} [steal] */
    #apply(steal) {
        this.#hold(this.#name, () => {
            this.#leads?.close();
            this.#leads = new Leader(this.#name, this.#options);
        }, steal).catch(() => {
            if (this.#left.signal.aborted) return;
            this.#leads?.close(); // somebody took it from us
            this.#leads = null;
            this.#apply();
        });
    }

    /** @param {object} message */
    #say(message) { this.#channel.postMessage({ from: this.#id, ...message }); }

    #want() {
        this.#say({ want: Object.fromEntries(this.#place.threads.map((thread) => [thread, this.#place.at(thread) || '0'])) });
    }

    /** Timers of a hidden tab come late; messages do not: so an answer is here when we look. */
    #tick() {
        if (!this.#inStep && !this.#fetching) this.#want();
        const silent = Date.now() - this.#heardAt;
        if (!this.#askedAt && silent > ASK_AFTER_MS) {
            this.#askedAt = Date.now();
            this.#say({ ask: true });
        } else if (this.#askedAt && Date.now() - this.#askedAt > ANSWER_WITHIN_MS) {
            this.#askedAt = 0;
            this.#heardAt = Date.now();
            if (!this.#leads) this.#apply(true);
        }
    }

    /** @param {any} message */
    #on(message) {
        if (!message.leader) return; // of another member
        if (message.lead || !this.#leader) {
            this.#leader = message.leader;
            this.#inStep = false;
            if (message.verify) this.#fetch();
            else if (!this.#fetching) this.#want();
        }
        if (message.leader !== this.#leader) return; // of one who does not know yet that it was replaced
        this.#heardAt = Date.now();
        this.#askedAt = 0;
        if (message.follows) {
            if (message.to === this.#id) this.#followed(message);
        } else if (message.thread !== undefined || message.state) this.#hear(message);
    }

    /** @param {any} message where the leader began, and how it is now */
    #followed({ follows, state, detail }) {
        if (this.#inStep || this.#fetching) return;
        const even = this.#place.threads.every((thread) => follows[thread] === (this.#place.at(thread) || '0'));
        if (!even) {
            this.#fetch(() => this.#step(state, detail));
            return;
        }
        this.#step(state, detail);
    }

    /** @param {any} state @param {any} detail of the leader */
    #step(state, detail) {
        this.#inStep = true;
        this.#now(state, detail);
        for (const message of this.#kept.splice(0)) this.#tell(message);
    }

    /** That somebody's worker is silent is told by its own notice. @param {any} state @param {any} detail */
    #now(state, detail) {
        if (state === 'live' || state === 'stalled') this.#ear.state('live', detail);
        else if (state === 'reconnecting') this.#ear.state(state, detail);
    }

    /** @param {any} message */
    #hear(message) {
        if (this.#inStep) this.#tell(message);
        else if (this.#kept.push(message) > KEPT_MAX) {
            this.#kept = [];
            this.#fetch();
        }
    }

    /** @param {any} message */
    #tell({ thread, id, event, notice, data, state, detail, threads }) {
        const ours = this.#place.threads;
        if (state) {
            if (ours.some((one) => threads.includes(one))) this.#now(state, detail);
        } else if (notice === 'stalled') {
            if (this.#runs.has(data.runId)) this.#ear.notice(notice, data, '', '');
        } else if (ours.includes(thread)) {
            if (notice) this.#ear.notice(notice, data, id, thread);
            else this.#event(event, id, thread);
        }
    }

    /** @param {any} event @param {string} id @param {string} thread */
    #event(event, id, thread) {
        if (event.type === 'done' || event.type === 'error') this.#runs.delete(event.runId);
        else if (event.runId) this.#runs.add(event.runId);
        this.#ear.event(event, id, thread);
    }

    /**
     * What is behind our position, in one short answer. It also shows whether we may read at all,
     * before others have to share a connection with us.
     * @param {() => void} [then]
     */
    #fetch(then) {
        this.#fetching?.close();
        this.#inStep = false;
        const stream = this.#fetching = new Stream(this.#place.threads, {
            ...this.#options, transport: 'poll', pollWaitMs: 0, since: this.#place.since });
        stream.on('event', (event, { id, thread }) => this.#event(event, id, thread));
        stream.on('notice', (name, data) => {
            if (name === 'reset') this.#ear.notice(name, data, '', data.threadId);
        });
        stream.on('state', (state, detail) => {
            if (state === 'reconnecting') this.#ear.state(state, detail);
            if (state === 'failed') this.#ear.failed(/** @type {Error} */ (stream.error), detail);
        });
        stream.on('polled', () => {
            this.#fetching = null;
            this.#ear.move(stream.lastEventId);
            stream.close();
            if (then) then();
            else this.#want();
        });
    }
}

class Leader {
    #id = newId();
    #name;
    #options;
    #channel;
    /** connections; more than one only when there are more threads than one can have @type {Stream[]} */
    #streams = [];
    /** thread → where following it began @type {Record<string, string>} */
    #began = {};
    /** member → its threads @type {Map<string, string[]>} */
    #members = new Map();
    #timer;

    /** @param {string} name @param {Options} options */
    constructor(name, options) {
        this.#name = name;
        this.#options = options;
        this.#channel = new BroadcastChannel(name);
        this.#channel.onmessage = ({ data }) => this.#on(data);
        this.#timer = setInterval(() => this.#prune(), PRUNE_MS);
        this.#say({ lead: true });
    }

    close() {
        clearInterval(this.#timer);
        for (const stream of this.#streams) stream.close();
        this.#channel.close();
    }

    /** @param {object} message */
    #say(message) { this.#channel.postMessage({ leader: this.#id, ...message }); }

    /** @param {any} message */
    #on({ from, want, drop, ask }) {
        if (ask) this.#say({ answer: true });
        if (drop) this.#forget(from);
        if (!want) return;
        this.#members.set(from, Object.keys(want));
        for (const thread in want) if (this.#began[thread] === undefined) this.#follow(thread, want[thread]);
        const first = this.#of(Object.keys(want)[0]);
        const follows = Object.fromEntries(Object.keys(want).map((thread) => [thread, this.#began[thread]]));
        this.#say({ to: from, follows, state: first?.state, detail: first?.detail });
    }

    /** @param {string} thread */
    #of(thread) { return this.#streams.find(({ threads }) => threads.includes(thread)); }

    /** @param {string} thread @param {string} since */
    #follow(thread, since) {
        this.#began[thread] = since;
        const stream = this.#streams.find(({ threads }) => threads.length < THREADS_MAX);
        if (stream) stream.addThread(thread, since);
        else this.#streams.push(this.#open(thread, since));
    }

    /** @param {string} first @param {string} since */
    #open(first, since) {
        const stream = new Stream(first, { ...this.#options, since });
        stream.on('event', (event, { id, thread }) => this.#say({ event, id, thread }));
        stream.on('notice', (notice, data) => {
            if (notice === 'stalled') this.#say({ notice, data, thread: '' });
            if (notice === 'reset') this.#say({ notice, data, thread: data.threadId, id: stream.positionOf(data.threadId) });
        });
        stream.on('state', (state, detail) => {
            if (state === 'failed') this.#verify();
            else if (state !== 'ended') this.#say({ state, detail, threads: stream.threads });
        });
        return stream;
    }

    /** One of all these threads may not be read any more: everybody shows again that they may. */
    #verify() {
        for (const stream of this.#streams) stream.close();
        this.#streams = [];
        this.#began = {};
        this.#members.clear();
        this.#say({ lead: true, verify: true });
    }

    /** @param {string} member */
    #forget(member) {
        this.#members.delete(member);
        const wanted = new Set([...this.#members.values()].flat());
        for (const thread in this.#began) {
            if (wanted.has(thread)) continue;
            delete this.#began[thread];
            this.#of(thread)?.removeThread(thread);
        }
        for (const stream of this.#streams) if (!stream.threads.length) stream.close();
        this.#streams = this.#streams.filter(({ threads }) => threads.length);
    }

    /** Tabs that crashed have said nothing; their locks are gone. */
    async #prune() {
        const { held = [] } = await navigator.locks.query();
        const there = new Set(held.map(({ name }) => name));
        for (const member of [...this.#members.keys()]) if (!there.has(`${this.#name} ${member}`)) this.#forget(member);
    }
}
