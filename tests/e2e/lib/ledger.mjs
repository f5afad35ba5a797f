// What must be true of every run whatever died, and the readers who watch it: one end in
// the log, at each reader and in Postgres, and the same text in all of them.

import assert from 'node:assert/strict';
import { afterReset, applyEvent, emptyThread, liveRuns, withRun, withRunStatus } from '../../../sdk/js/src/state.js';
import { contentText } from '../harness.mjs';
import { SseStream } from './sse.mjs';
import { PATIENCE_MS, until } from './until.mjs';

const isEnd = (event) => event.type === 'done' || event.type === 'error';

/** A generator of numbers in [0, 1) that a seed decides (mulberry32 of its hash). */
export function random(seed) {
    let state = 0x9e3779b9;
    for (const c of String(seed)) state = Math.imul(state ^ c.charCodeAt(0), 0x01000193) >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let t = Math.imul(state ^ (state >>> 15), 1 | state);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

/**
 * A reader of a thread that shows what a page would show, with the page's own reducer. It
 * reconnects with Last-Event-ID whenever its connection ends, and may be made to lose it
 * at any byte. After a `reset` it asks the API what has ended meanwhile, as the page does.
 */
export class Reader {
    /** what the page would draw */
    state = emptyThread();
    /** @type {any[]} every event, of all connections */
    events = [];
    resets = 0;
    connections = 0;
    /** @type {string[]} what must not have happened */
    complaints = [];
    #stopped = false;
    #ready = false;
    #last = '';
    /** the id of the event before, since the last `reset` */
    #before = '';
    /** @type {Set<string>} runs whose end the stream told */
    #ended = new Set();
    /** @type {Map<string, string>} texts from the API, where the stream could not tell */
    #record = new Map();
    /** @type {SseStream | null} */
    #stream = null;

    /**
     * @param {import('../harness.mjs').Bridge} bridge
     * @param {string} thread
     * @param {Record<string, string>} headers
     * @param {() => number} cutAt after how many bytes the next connection is cut
     * @param {string} since where its first connection begins
     */
    constructor(bridge, thread, headers, cutAt = () => Infinity, since = '') {
        this.bridge = bridge;
        this.thread = thread;
        this.headers = headers;
        this.cutAt = cutAt;
        this.since = since && `?since=${since}`;
        this.#go();
    }

    async #go() {
        while (!this.#stopped) {
            const stream = new SseStream({
                port: this.bridge.port, path: `/v1/threads/${this.thread}/events${this.since}`, cutAt: this.cutAt(),
                headers: { ...this.headers, ...(this.#last && { 'Last-Event-ID': this.#last }) },
            });
            this.#stream = stream;
            this.connections++;
            let taken = 0;
            const take = () => {
                while (taken < stream.events.length) this.#on(stream.events[taken++]);
                this.#last = stream.lastEventId || this.#last;
            };
            await until(() => {
                take();
                return stream.ending;
            }, { timeout: Infinity });
            await stream.closed;
            take();
        }
    }

    /** @param {import('./sse.mjs').SseEvent} sse */
    #on(sse) {
        if (sse.event === 'ready') this.#ready = true;
        if (sse.event === 'reset') {
            this.resets++;
            this.state = afterReset(this.state);
            // what is still kept may come again from there on
            this.#ended.clear();
            this.#before = '';
            this.#reconcile();
        }
        if (sse.event !== 'message' || !sse.json) return;
        const event = sse.json;
        if (event.id && this.#before && !follows(this.#before, event.id)) {
            this.complaints.push(`${event.id} after ${this.#before}`);
        }
        this.#before = event.id ?? this.#before;
        if (this.#ended.has(event.runId)) this.complaints.push(`after the end: ${sse.data}`);
        if (event.runId && isEnd(event)) this.#ended.add(event.runId);
        this.events.push(event);
        this.state = applyEvent(this.state, event);
    }

    async #reconcile() {
        for (const { runId } of liveRuns(this.state)) {
            const answer = await until(() => this.#get(`/v1/runs/${runId}`), { what: `the status of ${runId}` });
            this.state = withRunStatus(this.state, { ...answer, error: answer.error?.message ?? '',
                                                     messageId: answer.replyId, parentId: answer.messageId });
            if (this.state.runs.get(runId)?.joined || !answer.endedAt) continue;
            const { messages } = await until(() => this.#get(`/v1/threads/${this.thread}/messages`));
            this.#record.set(runId, contentText(messages.find(({ id }) => id === answer.replyId)?.content ?? ''));
        }
    }

    async #get(to) {
        const response = await this.bridge.fetch(to, { headers: this.headers });
        return response.ok && response.json();
    }

    /** As the page does with the answer to its POST. */
    knows(receipt) {
        for (const run of receipt.runs) this.state = withRun(this.state, { ...run, parentId: receipt.messageId });
    }

    /** Waits until it has a position. */
    async ready() {
        await until(() => this.#ready, { what: () => `a reader of ${this.thread} is ready` });
        return this;
    }

    /** Its ends, each once, however often the log told it. @param {string} run */
    ends(run) {
        const ends = this.events.filter((event) => event.runId === run && isEnd(event));
        return [...new Map(ends.map((event) => [event.id, event])).values()];
    }

    /** @param {string} run */
    tokens(run) {
        return this.events.filter((event) => event.runId === run && event.type === 'token').length;
    }

    /** How it ended, as the page would say. @param {string} run */
    outcome(run) {
        return this.state.runs.get(run)?.outcome?.kind;
    }

    /** The text it shows of a run. @param {string} run */
    shown(run) {
        const found = this.state.runs.get(run);
        return found?.joined ? found.text : this.#record.get(run);
    }

    /** Loses its connection now. */
    cut() {
        this.#stream?.close();
    }

    stop() {
        this.#stopped = true;
        this.#stream?.close();
    }
}

/** Within an epoch numbers only go up; a new epoch is a later one. */
function follows(before, after) {
    const [e0, n0] = before.split('-').map(Number);
    const [e1, n1] = after.split('-').map(Number);
    return e1 === e0 ? n1 > n0 : e1 > e0;
}

/**
 * Asserts all of it for one run. `query` asks its database; `redis` has its log.
 * @param {{ query: (sql: string, values?: unknown[]) => Promise<any[]>, redis: any,
 *           thread: string, run: string, readers?: Reader[], timeout?: number,
 *           what?: () => string }} run
 * @returns {Promise<any>} its row
 */
export async function balances({ query, redis, thread, run, readers = [], timeout = 3 * PATIENCE_MS,
                                 what = () => '' }) {
    const row = await until(async () => {
        const [found] = await query('select * from runs where id = $1', [run]);
        return found.end_published_at && found;
    }, { timeout, what: () => `the end of run ${run} is committed and published\n${what()}` });
    const answers = await query(`select * from messages where run_id = $1 or id = $2`, [run, row.reply_id]);
    const record = answers.length ? contentText(answers[0].content) : undefined;
    const about = `run ${run} ${row.status} attempt ${row.attempt}`;

    assert.ok(['done', 'failed', 'cancelled'].includes(row.status), about);
    assert.ok(answers.length <= 1, `${about}: ${answers.length} answers in the record`);
    if (row.status === 'done') assert.equal(answers.length, 1, `${about}: an answer in the record`);

    const entries = await redis.xrange(`{thread:${thread}}:log`, '-', '+');
    const log = entries.map(([, fields]) => JSON.parse(fields[1])).filter((event) => event.runId === run);
    checkEvents(log, row, about);
    const logged = log.reduce(applyEvent, emptyThread()).runs.get(run);
    if (record !== undefined) assert.equal(logged?.text, record, `${about}: the log's text is the record's`);

    for (const reader of readers) {
        const where = `${about}, reader ${readers.indexOf(reader) + 1} with ${reader.connections} ` +
                      `connection(s), ${reader.resets} reset(s)`;
        const kind = { done: 'done', failed: 'error', cancelled: 'cancelled' }[row.status];
        await until(() => reader.outcome(run) && (record === undefined || reader.shown(run) !== undefined), {
            what: () => `the end reaches ${where}; it has ${reader.events.length} events, the last: ` +
                        `${JSON.stringify(reader.events.at(-1))}\nthe log's: ${JSON.stringify(log.at(-1))}\n${what()}` });
        assert.deepEqual(reader.complaints, [], where);
        assert.equal(reader.outcome(run), kind, where);
        // a `reset` behind the end tells nothing of it again: the API did
        if (reader.resets === 0 || reader.ends(run).length) {
            assert.equal(reader.ends(run).length, 1, `${where}: one end`);
            assert.deepEqual(reader.ends(run)[0], log.at(-1), `${where}: the end is the log's`);
        }
        if (record !== undefined) assert.equal(reader.shown(run), record, `${where}: the record's text`);
    }
    return row;
}

/** The log: one end, behind everything else, and attempts that begin as they should. */
function checkEvents(log, row, about) {
    const ends = log.filter(isEnd);
    assert.equal(ends.length, 1, `${about}: ends in the log: ${JSON.stringify(ends)}`);
    assert.equal(log.at(-1), ends[0], `${about}: something follows the end`);
    assert.equal(ends[0].type, row.status === 'failed' ? 'error' : 'done', about);
    assert.equal(ends[0].attempt, row.attempt, `${about}: the end's attempt`);
    if (row.status === 'cancelled') assert.equal(ends[0].content.finishReason, 'cancelled', about);
    let attempt = 0;
    for (const event of log) {
        assert.ok(event.attempt >= attempt, `${about}: attempt ${event.attempt} after ${attempt}`);
        if (event.attempt > attempt && attempt > 0) {
            assert.equal(event.content?.status, 'rewind',
                         `${about}: attempt ${event.attempt} begins with ${JSON.stringify(event)}`);
        }
        attempt = event.attempt;
    }
}
