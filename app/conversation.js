// One conversation as one visitor sees it: the history first, then the stream from the
// history's `cursor`, folded into one state. A second view of the same conversation is a
// second Conversation; the two share nothing.
//
//   history ──┐
//             ├──▶ thread-state (what to show) ──▶ onChange ──▶ thread-view
//   stream  ──┘    ledger (what was counted)
//
// This file decides *when* something is asked of the API. It touches no element.

import * as api from './api.js';
import { Ledger } from './ledger.js';
import { ThreadStream } from './stream.js';
import {
    afterReset,
    applyEvent,
    emptyThread,
    liveRuns,
    withMessages,
    withRun,
    withRunStatus,
    withStalled,
} from './thread-state.js';

/** @typedef {import('./thread-state.js').ThreadEvent} ThreadEvent */

/**
 * @typedef {object} Draft a prompt that the server has not taken yet
 * @property {string} key the idempotency key: sending it again cannot make two runs of it
 * @property {string} text
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

export class Conversation {
    /** @type {() => void} */
    #onChange;
    /** @type {ThreadStream | null} */
    #stream = null;
    #closed = false;
    /** @type {Promise<boolean> | null} */
    #refreshing = null;
    /** @type {Promise<boolean> | null} */
    #refreshNext = null;
    /** @type {Set<string>} runs that ended while the record could not be read */
    #unsettled = new Set();
    /** @type {Map<string, number>} when the prompt of a run was sent, `performance.now()` */
    #sentAt = new Map();
    /** @type {Map<string, number>} when the first event of a run was here */
    #firstEventAt = new Map();
    /** @type {Map<string, number>} when its first token was */
    #firstTokenAt = new Map();

    state = emptyThread();
    ledger = new Ledger();
    /** @type {Draft[]} */
    drafts = [];
    /** @type {import('./stream.js').LinkState} */
    link = 'connecting';
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
     */
    constructor(threadId, onChange) {
        this.threadId = threadId;
        this.#onChange = onChange;
    }

    get reconnects() {
        return this.#stream?.reconnects ?? 0;
    }

    /** Reads the history, then opens the stream where the history ends. */
    async open() {
        try {
            const history = await api.patiently(
                Infinity,
                () => api.readMessages(this.threadId),
                () => this.#onLink('offline'),
            );
            if (this.#closed) return;
            this.state = withMessages(this.state, history.messages);
            this.earlier = history.next;
            this.#follow(history.cursor);
            this.#onChange();
        } catch (error) {
            this.#onLink('refused');
            throw error;
        }
    }

    close() {
        this.#closed = true;
        this.#stream?.close();
    }

    async loadEarlier() {
        if (!this.earlier) return;
        const history = await api.readMessages(this.threadId, { before: this.earlier });
        this.state = withMessages(this.state, history.messages);
        this.earlier = history.next;
        this.#onChange();
    }

    // ---- what the visitor does ---------------------------------------------------------

    /** @param {string} text */
    async send(text) {
        /** @type {Draft} */
        const draft = { key: api.newKey(), text, error: '' };
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
            const receipt = await api.postMessage(this.threadId, draft.text, draft.key);
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
            this.#sentAt.set(run.runId, sentAt);
            this.state = withRun(this.state, { ...run, parentId: receipt.messageId });
        }
        this.#refresh();
    }

    /** Asks for the end of everything that runs; the outcome arrives as an event. */
    async stop() {
        const runs = liveRuns(this.state).filter((run) => !this.stopping.has(run.runId));
        for (const run of runs) this.stopping.add(run.runId);
        this.#onChange();
        await Promise.all(
            runs.map(async ({ runId }) => {
                try {
                    await api.cancelRun(runId);
                } catch (error) {
                    this.stopping.delete(runId);
                    this.notice = error instanceof Error ? error.message : String(error);
                }
            }),
        );
        this.#onChange();
    }

    /**
     * From sending the prompt to its first event and its first token, here.
     * @param {string} runId
     * @returns {{ eventMs: number | null, tokenMs: number | null }} null: not yet, or this
     *     view did not send it
     */
    delays(runId) {
        const from = this.#sentAt.get(runId);
        const event = this.#firstEventAt.get(runId);
        const token = this.#firstTokenAt.get(runId);
        return {
            eventMs: from === undefined || event === undefined ? null : event - from,
            tokenMs: from === undefined || token === undefined ? null : token - from,
        };
    }

    // ---- the stream --------------------------------------------------------------------

    /** @param {string} cursor */
    #follow(cursor) {
        this.ledger.rebase(cursor);
        this.#stream = new ThreadStream({
            since: cursor,
            url: (since) => api.eventsUrl(this.threadId, since),
            onEvent: (event, id) => this.#onEvent(event, id),
            onNotice: (name, data, id) => this.#onNotice(name, data, id),
            onLink: (link) => this.#onLink(link),
            mayRetry: () => this.#mayRetry(),
        });
    }

    /** @param {ThreadEvent} event @param {string} id */
    #onEvent(event, id) {
        const first = this.outage?.ms != null && this.outage.resumed === null;
        if (first && this.outage) this.outage = { ...this.outage, resumed: id };
        if (!this.ledger.see(id)) return this.#onChange();
        const { runId } = event;
        const known = !runId || this.state.runs.has(runId);
        this.state = applyEvent(this.state, event);
        if (runId) this.#clock(runId, event.type);
        if (!known) this.#refresh();
        if (runId && (event.type === 'done' || event.type === 'error')) this.#onEnd(runId);
        this.#onChange();
    }

    /** @param {string} runId @param {string} type */
    #clock(runId, type) {
        const now = performance.now();
        if (!this.#firstEventAt.has(runId)) this.#firstEventAt.set(runId, now);
        if (type === 'token' && !this.#firstTokenAt.has(runId)) this.#firstTokenAt.set(runId, now);
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
     * @param {import('./stream.js').NoticeName} name
     * @param {any} data
     * @param {string} id
     */
    #onNotice(name, data, id) {
        switch (name) {
            case 'ready':
                if (!this.ledger.events) this.ledger.rebase(String(data.at ?? id));
                break;
            case 'reset':
                this.ledger.reset(id);
                this.state = afterReset(this.state);
                this.#reconcile();
                break;
            case 'auth':
                api.openSession().catch(() => {
                    /* the next request says 401 and tries again */
                });
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

    /** @param {import('./stream.js').LinkState} link */
    #onLink(link) {
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
            this.notice = '';
            if (this.outage?.ms === null) {
                this.outage = { ...this.outage, ms: performance.now() - this.outage.from };
            }
            for (const runId of this.#unsettled) this.#onEnd(runId);
        }
        this.link = link;
        this.#onChange();
    }

    /** EventSource has given up: may it pass? A session that ran out is opened again. */
    async #mayRetry() {
        try {
            await api.readMessages(this.threadId, { limit: 1 });
            return true;
        } catch (error) {
            if (!(error instanceof api.ApiError) || error.transient) return true;
            this.notice = error.message;
            return false;
        }
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
