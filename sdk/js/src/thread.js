// One thread as somebody sees it, for whoever draws it (react.js, element.js): its history,
// then its stream from where the history ends, folded into one state; and what people do in
// it: send, stop, once more.
//
//   record (history, what happened meanwhile) ──┐
//                                               ├─▶ state.js ─▶ snapshot ─▶ listeners
//   stream (connect)                          ──┘
//
// It opens with its first listener and closes behind its last. A snapshot is never changed,
// and listeners are called once a frame at most, however many tokens came.

import { Refused } from './errors.js';
import { advanced, NO_ADVANCE } from './progress.js';
import { newKey, patiently, ThreadRecord } from './record.js';
import { afterReset, applyEvent, emptyThread, liveRuns, withMessages, withRun, withRunStatus, withStalled } from './state.js';
import { connect } from './stream.js';
import { snapshotOf } from './snapshot.js';

/**
 * @typedef {import('./stream.js').Detail} Detail
 * @typedef {import('./record.js').Prompt} Prompt
 * @typedef {import('./record.js').Receipt} Receipt
 * @typedef {import('./snapshot.js').Snapshot} Snapshot
 *
 * @typedef {object} Own
 * @property {boolean} [history] false: the stream alone, from `since`. Default: true, but with a
 *     `ticket` and no `getToken`, for tickets do not read the record
 * @property {number} [historyLimit] messages of one page (50)
 * @property {string} [agent] who answers what is sent
 * @property {string[]} [agents] several of them, side by side
 * @property {(event: import('./stream.js').ThreadEvent, info: import('./stream.js').Info) => void} [onEvent]
 * @property {(state: import('./stream.js').State, detail: Detail) => void} [onState]
 * @property {(name: string, data: any) => void} [onNotice]
 *
 * @typedef {import('./stream.js').Options & Own} ThreadOptions
 *
 * @typedef {object} Draft a prompt that the server has not taken yet
 * @property {string} key sending it again under this cannot make two runs of it
 * @property {Prompt} prompt
 * @property {string} error '' while it is on its way
 */

const PAGES_MAX = 10;
const HIDDEN_MS = 250; // no frames are drawn then

/** @type {Detail} */
const CONNECTING = Object.freeze({ reason: '', message: 'Connecting.' });

/**
 * @param {string} threadId
 * @param {ThreadOptions | (() => ThreadOptions)} [options] a function: asked when they are needed
 */
export function openThread(threadId, options = {}) {
    return new Thread(threadId, typeof options === 'function' ? options : () => options);
}

export class Thread {
    #options;
    #record;
    /** @type {Set<() => void>} */
    #listeners = new Set();
    /** counts openings: what an older one still learns is not for this one */
    #turn = 0;
    #isOpen = false;
    /** @type {import('./stream.js').Stream | null} */
    #stream = null;
    /** @type {string | null} where the stream goes on; null: never opened */
    #since = null;
    /** @type {Promise<void> | null} */
    #reading = null;
    /** something is in the record that is not here yet */
    #stale = false;
    /** runs whose prompt was asked for; who publishes without the record has none @type {Set<string>} */
    #asked = new Set();
    /** @type {boolean} a drawing was asked for */
    #drawing = false;

    /** @type {import('./snapshot.js').Parts} */
    #parts = {
        threadId: '', thread: emptyThread(), drafts: [], state: 'connecting', detail: CONNECTING,
        reconnects: 0, loading: true, earlier: null, stopping: new Set(), advance: NO_ADVANCE,
        error: '', readOnly: false,
    };
    /** @type {Snapshot} */
    #snapshot;

    /** @param {string} threadId @param {() => ThreadOptions} options */
    constructor(threadId, options) {
        this.#options = options;
        this.#record = new ThreadRecord(threadId, options);
        this.#parts = { ...this.#parts, threadId, readOnly: !this.#mayAsk, loading: this.#history };
        this.#snapshot = snapshotOf(this.#parts);
    }

    get threadId() { return this.#parts.threadId; }

    getSnapshot = () => this.#snapshot;

    /** @param {() => void} listener called when there is another snapshot @returns {() => void} */
    subscribe = (listener) => {
        this.#listeners.add(listener);
        if (!this.#isOpen) this.#open();
        return () => {
            this.#listeners.delete(listener);
            // not at once: who unsubscribes may be about to subscribe again
            setTimeout(() => this.#listeners.size || this.close());
        };
    };

    close = () => {
        const stream = this.#stream;
        this.#turn++;
        this.#isOpen = false;
        this.#stream = null;
        if (!stream) return;
        this.#since = stream.lastEventId || this.#since;
        stream.close();
    };

    // ---- what people do --------------------------------------------------------------------

    /**
     * The answer arrives as events. What could not be sent stays, with the reason, and waits for
     * `retry`.
     * @param {string} content
     * @param {Omit<Prompt, 'content'>} [more]
     * @returns {Promise<Receipt | null>} null: it could not be sent
     */
    send = (content, more = {}) => {
        const { agent, agents } = this.#options();
        const whom = more.agent || more.agents ? {} : { ...(agent && { agent }), ...(agents?.length && { agents }) };
        const draft = { key: newKey(), prompt: { content, ...whom, ...more }, error: '' };
        this.#set({ drafts: [...this.#parts.drafts, draft] });
        return this.#deliver(draft);
    };

    /** Asks a run to end, or all that live. @param {string} [runId] */
    stop = async (runId) => {
        const live = liveRuns(this.#parts.thread).map((run) => run.runId);
        const asked = live.filter((id) => !runId || id === runId);
        this.#set({ stopping: new Set([...this.#parts.stopping, ...asked]) });
        await Promise.all(asked.map((id) => this.#try(() => this.#record.cancel(id), () => this.#stopped(id))));
    };

    /**
     * What failed, once more: a prompt that was not sent (its key), or another answer to a prompt
     * (the run's id). Without either: the last prompt that was not sent, else the last answer.
     * @param {string} [id]
     * @returns {Promise<Receipt | null>}
     */
    retry = async (id) => {
        const { drafts, thread } = this.#parts;
        const draft = drafts.findLast(({ key, error }) => error && (!id || key === id));
        if (draft) return this.#deliver(draft);
        const ended = [...thread.runs.values()].filter(({ outcome }) => outcome);
        const runId = id ?? ended.at(-1)?.runId;
        if (!runId) return null;
        return this.#try(async () => this.#took(await this.#record.retry(runId)));
    };

    /** After `failed`: connects again, from where it was. */
    reconnect = () => {
        if (this.#parts.state !== 'failed') return;
        this.close();
        this.#open();
    };

    /** Reads what the record has that is not here. */
    refresh = async () => {
        this.#stale = true;
        await this.#catchUp();
    };

    /** The page of the history before what is there. */
    loadEarlier = async () => {
        const { earlier } = this.#parts;
        if (!earlier) return;
        await this.#try(async () => this.#keep(await this.#record.messages({ limit: this.#limit, before: earlier })));
    };

    /** Events without a run (progress, activities); needs a write grant. @param {object | object[]} events */
    publish = (events) => this.#record.publish(events, newKey());

    /** @param {Draft} draft @returns {Promise<Receipt | null>} */
    async #deliver(draft) {
        this.#redraft(draft, { ...draft, error: '' });
        try {
            if (!this.#mayAsk) throw new Refused('This thread can only be read here.');
            const receipt = await this.#record.send(draft.prompt, draft.key);
            this.#redraft(draft, null);
            return this.#took(receipt, draft.prompt.content);
        } catch (error) {
            this.#redraft(draft, { ...draft, error: wordsOf(error) });
            return null;
        }
    }

    /** @param {Draft} draft @param {Draft | null} next */
    #redraft({ key }, next) {
        const drafts = this.#parts.drafts.flatMap((other) => (other.key === key ? (next ?? []) : other));
        this.#set({ drafts });
    }

    /** A prompt was taken: it is shown before the record says so. @param {Receipt} receipt @param {string} [text] */
    #took(receipt, text) {
        const { messageId: id, runs } = receipt;
        let { thread } = this.#parts;
        const order = (thread.messages.at(-1)?.order ?? 0) + 0.5;
        if (text !== undefined && !thread.messages.some((message) => message.id === id)) {
            thread = withMessages(thread, [{
                id, role: 'user', text, author: '', replyTo: null, runId: null, order, ended: '', error: '' }]);
        }
        for (const run of runs) thread = withRun(thread, { ...run, parentId: id });
        this.#set({ thread });
        this.refresh();
        return receipt;
    }

    /** @template T @param {() => Promise<T>} action @param {() => void} [otherwise] @returns {Promise<T | null>} */
    async #try(action, otherwise) {
        try {
            const answer = await action();
            this.#set({ error: '' });
            return answer;
        } catch (error) {
            otherwise?.();
            this.#set({ error: wordsOf(error) });
            return null;
        }
    }

    /** @param {string} runId its end is no longer waited for */
    #stopped(runId) {
        const stopping = new Set(this.#parts.stopping);
        if (stopping.delete(runId)) this.#set({ stopping });
    }

    // ---- the record ------------------------------------------------------------------------

    get #limit() { return this.#options().historyLimit ?? 50; }
    get #mayAsk() { return !this.#options().ticket || Boolean(this.#options().getToken); }
    get #history() { return this.#options().history ?? this.#mayAsk; }

    async #open() {
        if (!this.threadId) return;
        this.#isOpen = true;
        const turn = ++this.#turn;
        this.#enter('connecting', CONNECTING);
        if (this.#since !== null) {
            this.#follow(this.#since);
            if (this.#history) this.refresh();
            return;
        }
        const cursor = this.#history ? await this.#readHistory(turn) : '';
        if (turn === this.#turn && cursor !== null) this.#follow(cursor || this.#firstSince);
    }

    get #firstSince() { return this.#options().since ?? (this.#history ? 'run' : '0'); }

    /** @param {number} turn @returns {Promise<string | null>} null: there is none to be had */
    async #readHistory(turn) {
        try {
            const read = () => this.#record.messages({ limit: this.#limit });
            const page = await patiently(read, Infinity, (error, attempt, retryInMs) => {
                if (turn !== this.#turn) return false;
                this.#enter('reconnecting', { reason: 'unreachable', message: error.message, attempt, retryInMs });
            });
            if (turn === this.#turn) this.#keep(page);
            return page.cursor;
        } catch (error) {
            if (turn !== this.#turn) return null;
            this.#set({ loading: false });
            const { status, code } = error instanceof Refused ? error : { status: 0, code: '' };
            if (status === 501) return ''; // there is no record here, the stream is all
            this.#enter('failed', { reason: code || 'refused', message: wordsOf(error), ...(status && { status }) });
            return null;
        }
    }

    /** @param {import('./record.js').History} page the oldest one so far, or the newest */
    #keep({ messages, next }) {
        const { thread, earlier } = this.#parts;
        const oldest = thread.messages[0];
        const older = !oldest || (messages.length > 0 && messages[0].order < oldest.order);
        this.#set({ thread: withMessages(thread, messages), loading: false, earlier: older ? next : earlier });
    }

    async #catchUp() {
        if (!this.#history) return;
        while (this.#stale) {
            if (this.#reading) {
                await this.#reading;
                continue;
            }
            this.#stale = false;
            this.#reading = this.#readRecent().catch(() => { this.#stale = true; }).finally(() => { this.#reading = null; });
            await this.#reading;
            if (this.#stale) return; // when there is a connection again
        }
    }

    /** The newest rows, back to one that is known. */
    async #readRecent() {
        /** @type {string | null} */
        let before = null;
        for (let page = 0; page < PAGES_MAX; page++) {
            const { messages, next } = await this.#record.messages({ limit: 20, before });
            const known = new Set(this.#parts.thread.messages.map(({ id, order }) => (Number.isInteger(order) ? id : '')));
            const met = !known.size || messages.some(({ id }) => known.has(id));
            this.#set({ thread: withMessages(this.#parts.thread, messages) });
            if (met || !next) break;
            before = next;
        }
        await this.#findPrompts();
    }

    /** Which prompts do the answers belong to that are being made, and that others asked for? */
    async #findPrompts() {
        const unknown = liveRuns(this.#parts.thread).filter(({ runId, parentId }) => !parentId && !this.#asked.has(runId));
        await Promise.all(unknown.map(async ({ runId }) => {
            this.#asked.add(runId);
            const { messageId, parentId } = await this.#record.run(runId).catch((error) => {
                if (!(error instanceof Refused)) this.#asked.delete(runId);
                return { messageId: '', parentId: '' };
            });
            if (parentId) this.#set({ thread: withRun(this.#parts.thread, { runId, messageId: messageId ?? '', parentId }) });
        }));
    }

    /** Behind a `reset`: what ended while nobody told us? */
    async #reconcile() {
        if (!this.#history) return;
        await this.refresh();
        for (const { runId } of liveRuns(this.#parts.thread)) {
            const status = await this.#record.run(runId).catch(() => null);
            if (status) this.#set({ thread: withRunStatus(this.#parts.thread, status) });
        }
    }

    // ---- the stream ------------------------------------------------------------------------

    /** @param {string} since */
    #follow(since) {
        this.#since = since;
        const stream = this.#stream = connect(this.threadId, { ...this.#options(), since, ...(this.#options().getToken && { getToken: this.#getToken }) });
        stream.on('event', (event, info) => this.#onEvent(event, info));
        stream.on('notice', (name, data) => this.#onNotice(name, data));
        stream.on('state', (state, detail) => stream === this.#stream && this.#enter(state, detail));
        this.#enter(stream.state, stream.detail);
    }

    /** The newest one: who draws may hand us another each time. @param {{ refused: boolean }} asked */
    #getToken = (asked) => this.#options().getToken?.(asked);

    /** @param {import('./stream.js').ThreadEvent} event @param {import('./stream.js').Info} info */
    #onEvent(event, info) {
        const { thread, advance } = this.#parts;
        const unknown = Boolean(event.runId && !thread.runs.has(event.runId));
        this.#set({ thread: applyEvent(thread, event), advance: advanced(advance, event) });
        const ended = event.runId && (event.type === 'done' || event.type === 'error');
        if (ended) this.#stopped(String(event.runId));
        if (ended || unknown) this.refresh();
        this.#options().onEvent?.(event, info);
    }

    /** @param {string} name @param {any} data */
    #onNotice(name, data) {
        const { thread } = this.#parts;
        if (name === 'stalled') this.#set({ thread: withStalled(thread, String(data.runId ?? '')) });
        if (name === 'reset') {
            this.#set({ thread: afterReset(thread) });
            this.#reconcile();
        }
        this.#options().onNotice?.(name, data);
    }

    /** @param {import('./stream.js').State} state @param {Detail} detail */
    #enter(state, detail) {
        this.#set({ state, detail, reconnects: this.#stream?.reconnects ?? 0 });
        if (state === 'live' && this.#stale) this.#catchUp();
        this.#options().onState?.(state, detail);
    }

    // ---- telling ---------------------------------------------------------------------------

    /** @param {Partial<import('./snapshot.js').Parts>} parts */
    #set(parts) {
        this.#parts = { ...this.#parts, ...parts };
        if (this.#drawing) return;
        this.#drawing = true;
        soon(() => {
            this.#drawing = false;
            this.#snapshot = snapshotOf(this.#parts, this.#snapshot);
            for (const listener of [...this.#listeners]) listener();
        });
    }
}

/** In the next frame, or in a moment when none is drawn. @param {() => void} draw */
function soon(draw) {
    const frames = 'requestAnimationFrame' in globalThis;
    const once = () => {
        if (frames) cancelAnimationFrame(frame);
        clearTimeout(timer);
        draw();
    };
    const frame = frames ? requestAnimationFrame(once) : 0;
    const timer = setTimeout(once, frames ? HIDDEN_MS : 0);
}

/** @param {unknown} error */
const wordsOf = (error) => (error instanceof Error ? error.message : String(error));
