// One conversation as one visitor sees it: the history first, then the stream from the
// history's `cursor`, folded into one state. A second view of the same conversation is a
// second Conversation; the two share nothing.
//
//   history ──┐
//             ├──▶ state (what to show) ──▶ onChange ──▶ thread-view
//   stream  ──┘    ledger (what was counted), trace (what the inspector shows), clocks
//
// The stream and the state are the package's (sdk/js). This file decides *when* something is
// asked of the API. It touches no element.

import * as api from './api.js';
import { connect } from './client/index.js';
import {
    afterReset,
    applyEvent,
    emptyThread,
    liveRuns,
    withMessages,
    withRun,
    withRunStatus,
    withStalled,
} from './client/state.js';
import { Clocks } from './clocks.js';
import { Ledger } from './ledger.js';
import { Trace } from './trace.js';

/**
 * @typedef {import('./client/state.js').ThreadEvent} ThreadEvent
 * @typedef {import('./client/state.js').Run} Run
 * @typedef {import('./client/stream.js').Stream} Stream
 * @typedef {import('./client/stream.js').State} StreamState
 * @typedef {import('./client/stream.js').Detail} Detail
 *
 * @typedef {'connecting' | 'live' | 'reconnecting' | 'offline' | 'refused' | 'ended'} LinkState
 */

/**
 * @typedef {object} Draft a prompt that the server has not taken yet
 * @property {string} key the idempotency key: sending it again cannot make two runs of it
 * @property {string} text
 * @property {string[]} agents who is asked; none: whoever answers usually
 * @property {string} error '' while it is on its way
 *
 * @typedef {object} Outage
 * @property {string} after the last event before it
 * @property {number} from `performance.now()`
 * @property {number | null} ms how long it took; null while it lasts
 * @property {string | null} resumed the first event after it
 */

/** the rows behind a prompt or an answer that has just ended */
const RECENT = 20;
/** a page of what was said before */
const EARLIER = 200;
/** so many connections that came to nothing, and it is called offline */
const OFFLINE_AFTER = 3;

export class Conversation {
    /** @type {() => void} */
    #onChange;
    /** @type {Stream | null} */
    #stream = null;
    #closed = false;
    #alone;
    /** @type {Promise<boolean> | null} */
    #refreshing = null;
    /** @type {Promise<boolean> | null} */
    #refreshNext = null;
    /** @type {Set<string>} runs that ended while the record could not be read */
    #unsettled = new Set();
    /** what streams before this one have counted */
    #reconnectsBefore = 0;
    #duplicatesBefore = 0;

    state = emptyThread();
    ledger = new Ledger();
    clocks = new Clocks();
    trace = new Trace();
    /** @type {Draft[]} */
    drafts = [];
    /** @type {LinkState} */
    link = 'connecting';
    /** connections that came to nothing, one after the other */
    attempt = 0;
    /** why the connection is what it is, for programs: a state's `reason` */
    reason = '';
    /** what the server said about the connection, for people */
    notice = '';
    /** @type {Outage | null} the last time the connection was away */
    outage = null;
    /** @type {string | null} pass to `loadEarlier` */
    earlier = null;
    /** @type {Map<string, boolean>} answers compared with the record: equal? */
    verified = new Map();
    /** @type {Set<string>} runs whose end was asked for */
    stopping = new Set();

    /**
     * @param {string} threadId
     * @param {() => void} onChange called after anything changed, often
     * @param {{ alone: boolean }} how on a connection of its own, or on one that tabs share
     */
    constructor(threadId, onChange, { alone }) {
        this.threadId = threadId;
        this.#onChange = onChange;
        this.#alone = alone;
    }

    get reconnects() {
        return this.#reconnectsBefore + (this.#stream?.reconnects ?? 0);
    }

    /** Events that came twice: the stream drops them, so that they are only counted. */
    get duplicated() {
        return this.#duplicatesBefore + (this.#stream?.duplicates ?? 0) + this.ledger.duplicated;
    }

    /** Where the stream stands: what a second reader would begin behind. */
    get position() {
        return this.ledger.position;
    }

    /** Reads the history, then opens the stream where the history ends. */
    async open() {
        try {
            const history = await api.patiently(
                Infinity,
                () => api.readMessages(this.threadId),
                () => this.#enter('offline'),
            );
            if (this.#closed) return;
            this.state = withMessages(this.state, history.messages);
            this.earlier = history.next;
            this.#follow(history.cursor);
            this.#onChange();
        } catch (error) {
            this.notice = error instanceof Error ? error.message : String(error);
            this.#enter('refused');
            throw error;
        }
    }

    close() {
        this.#closed = true;
        this.#stream?.close();
    }

    async loadEarlier() {
        if (!this.earlier) return;
        const history = await api.readMessages(this.threadId, {
            limit: EARLIER,
            before: this.earlier,
        });
        this.state = withMessages(this.state, history.messages);
        this.earlier = history.next;
        this.#onChange();
    }

    // ---- what the visitor does ---------------------------------------------------------

    /** @param {string} text @param {string[]} [agents] */
    async send(text, agents = []) {
        /** @type {Draft} */
        const draft = { key: api.newKey(), text, agents, error: '' };
        this.drafts = [...this.drafts, draft];
        await this.#deliver(draft);
    }

    /** Sends a draft that failed once more, under the same key. @param {Draft} draft */
    async resend(draft) {
        draft.error = '';
        await this.#deliver(draft);
    }

    /** @param {Draft} draft */
    async #deliver(draft) {
        this.#onChange();
        const sentAt = performance.now();
        try {
            const receipt = await api.postMessage(
                this.threadId,
                draft.text,
                draft.key,
                draft.agents,
            );
            this.#onReceipt(draft, receipt, sentAt);
        } catch (error) {
            draft.error = error instanceof Error ? error.message : String(error);
        }
        this.#onChange();
    }

    /**
     * @param {Draft} draft
     * @param {import('./api.js').Receipt} receipt
     * @param {number} sentAt
     */
    #onReceipt(draft, receipt, sentAt) {
        const order = Math.max(0, ...this.state.messages.map((message) => message.order)) + 0.5;
        this.drafts = this.drafts.filter((other) => other !== draft);
        this.state = withMessages(this.state, [
            {
                id: receipt.messageId,
                role: 'user',
                text: draft.text,
                author: '',
                replyTo: null,
                runId: null,
                order,
                ended: '',
                error: '',
            },
        ]);
        for (const run of receipt.runs) {
            this.clocks.sent(run.runId, sentAt);
            this.state = withRun(this.state, { ...run, parentId: receipt.messageId });
        }
        this.#refresh();
    }

    /**
     * Asks for the end of these runs, or of all; the outcome arrives as an event.
     * @param {string[]} [runIds]
     */
    async stop(runIds) {
        const runs = liveRuns(this.state).filter(
            ({ runId }) => !this.stopping.has(runId) && (!runIds || runIds.includes(runId)),
        );
        for (const run of runs) this.stopping.add(run.runId);
        this.#onChange();
        const results = await Promise.allSettled(
            runIds
                ? runs.map(({ runId }) => api.cancelRun(runId))
                : [api.cancelThread(this.threadId)],
        );
        results.forEach((result, index) => {
            if (result.status === 'fulfilled') return;
            for (const { runId } of runIds ? [runs[index]] : runs) this.stopping.delete(runId);
            this.notice = String(result.reason?.message ?? result.reason);
        });
        this.#onChange();
    }

    /** Another answer to the same prompt. @param {string} runId of one that has ended */
    async retry(runId) {
        const sentAt = performance.now();
        try {
            const { messageId, runs } = await api.retryRun(runId, api.newKey());
            for (const run of runs) {
                this.clocks.sent(run.runId, sentAt);
                this.state = withRun(this.state, { ...run, parentId: messageId });
            }
            this.notice = '';
        } catch (error) {
            this.notice = error instanceof Error ? error.message : String(error);
        }
        this.#onChange();
    }

    /** @param {string} runId */
    delays(runId) {
        return this.clocks.delays(runId);
    }

    /** What an answer's line says. @param {Run} run */
    factsOf({ runId }) {
        return {
            firstTokenMs: this.clocks.delays(runId).tokenMs,
            tokensPerS: this.clocks.rate(runId),
            verified: this.verified.get(runId),
            stopping: this.stopping.has(runId),
        };
    }

    // ---- the stream --------------------------------------------------------------------

    /** @param {string} since */
    #follow(since) {
        const stream = connect(this.threadId, {
            since,
            merge: false,
            getToken: (asked) => this.#session(asked),
            shared: !this.#alone && api.visitor(),
        });
        this.#stream = stream;
        this.trace.link('connecting', { reason: '', message: `since ${since}` });
        stream.on('event', (event, info) => this.#onEvent(event, info.id, info.replayed));
        stream.on('notice', (name, data) => this.#onNotice(name, data, stream.lastEventId));
        stream.on(
            'state',
            (state, detail) => stream === this.#stream && this.#onState(state, detail),
        );
    }

    /**
     * The stream's right to read is the session's cookie: what is asked for here is that there
     * is a good one. (It is HttpOnly; there is no token in this page.) While the stream lives it
     * is asked because the cookie ends soon.
     * @param {{ refused: boolean }} asked
     */
    async #session({ refused }) {
        await api.renewSession(refused || this.link === 'live');
        return null;
    }

    /** Somebody does not want to wait for the next attempt. */
    retryNow() {
        const stream = this.#stream;
        if (!stream || this.link === 'live') return;
        this.#reconnectsBefore += stream.reconnects + 1;
        this.#duplicatesBefore += stream.duplicates;
        this.#stream = null;
        stream.close();
        this.#follow(stream.lastEventId || this.ledger.position);
        this.#onChange();
    }

    /** @param {ThreadEvent} event @param {string} id '' for one without @param {boolean} replayed */
    #onEvent(event, id, replayed) {
        const first = this.outage?.ms != null && this.outage.resumed === null;
        if (first && this.outage) this.outage = { ...this.outage, resumed: id };
        const lost = this.ledger.lost;
        const news = this.ledger.see(id);
        this.trace.event(event, { replayed, duplicate: !news, lost: this.ledger.lost - lost });
        if (!news) return this.#onChange();
        const { runId } = event;
        const known = !runId || this.state.runs.has(runId);
        this.state = applyEvent(this.state, event);
        if (runId) this.clocks.see(event);
        if (!known) this.#refresh();
        if (runId && (event.type === 'done' || event.type === 'error')) this.#onEnd(runId);
        this.#onChange();
    }

    /**
     * A run has ended: its answer is in the record by now. Is it what the tokens added up to?
     * @param {string} runId
     */
    async #onEnd(runId) {
        this.stopping.delete(runId);
        this.#unsettled.add(runId);
        if (!(await this.#refresh())) return;
        this.#unsettled.delete(runId);
        const run = this.state.runs.get(runId);
        const message = this.state.messages.find(({ id }) => id === run?.messageId);
        // No row: somebody published without the record (an outside agent), nothing to compare.
        if (this.#closed || !run?.joined || !message || this.verified.has(runId)) return;
        const equal = message.text === run.text;
        this.verified.set(runId, equal);
        if (!equal) this.ledger.mismatch();
        this.#onChange();
    }

    /**
     * @param {import('./client/stream.js').NoticeName} name
     * @param {any} data
     * @param {string} id where the stream stands now
     */
    #onNotice(name, data, id) {
        this.trace.notice(name, data, id);
        switch (name) {
            case 'ready':
                if (!this.ledger.events) this.ledger.rebase(String(data.at ?? id));
                break;
            case 'reset':
                this.ledger.reset(id);
                this.state = afterReset(this.state);
                this.#reconcile();
                break;
            case 'busy':
                this.notice = 'The server is busy.';
                break;
            case 'bye':
                this.notice = 'The server is restarting.';
                break;
            case 'stalled':
                this.state = withStalled(this.state, String(data.runId ?? ''));
                break;
        }
        this.#onChange();
    }

    /** @param {StreamState} state @param {Detail} detail */
    #onState(state, detail) {
        this.trace.link(state, detail);
        this.attempt = detail.attempt ?? 0;
        this.reason = detail.reason;
        switch (state) {
            case 'connecting':
                return this.#enter('connecting');
            case 'live':
            case 'stalled': // the connection is good: what is silent is a worker
                this.notice = '';
                return this.#enter('live');
            case 'reconnecting': {
                const offline = detail.reason === 'offline' || this.attempt > OFFLINE_AFTER;
                return this.#enter(offline ? 'offline' : 'reconnecting');
            }
            case 'failed':
                this.notice = detail.message;
                return this.#enter(detail.status ? 'refused' : 'offline');
            case 'ended':
                return this.#enter('ended');
        }
    }

    /** @param {LinkState} link */
    #enter(link) {
        const away = link === 'reconnecting' || link === 'offline';
        if (away && this.outage?.ms !== null) {
            this.outage = {
                after: this.ledger.position,
                from: performance.now(),
                ms: null,
                resumed: null,
            };
        }
        if (link === 'live') {
            if (this.outage?.ms === null) {
                this.outage = { ...this.outage, ms: performance.now() - this.outage.from };
            }
            for (const runId of this.#unsettled) this.#onEnd(runId);
        }
        this.link = link;
        this.#onChange();
    }

    // ---- the record --------------------------------------------------------------------

    /**
     * The newest rows again: there is a prompt we have not seen, or an answer was kept.
     * Asked for while one is under way, it reads once more behind it.
     * @returns {Promise<boolean>} true when what was in the record at the call is here
     */
    #refresh() {
        if (this.#refreshing) {
            this.#refreshNext ??= this.#refreshing.then(() => this.#startRefresh());
            return this.#refreshNext;
        }
        return this.#startRefresh();
    }

    #startRefresh() {
        this.#refreshNext = null;
        this.#refreshing = this.#readRecent().finally(() => {
            this.#refreshing = null;
        });
        return this.#refreshing;
    }

    async #readRecent() {
        try {
            const { messages } = await api.readMessages(this.threadId, { limit: RECENT });
            this.state = withMessages(this.state, messages);
            this.#onChange();
            return true;
        } catch {
            return false;
        }
    }

    /** Behind a `reset`: what ended while nobody told us? */
    async #reconcile() {
        await this.#refresh();
        for (const { runId } of liveRuns(this.state)) {
            try {
                // not in one line: `this.state` must be read when the answer is there, or
                // what the stream told meanwhile would be forgotten
                const status = await api.readRun(runId);
                this.state = withRunStatus(this.state, status);
            } catch {
                // not a run of the record; its own events will tell
            }
        }
        this.#onChange();
    }
}
