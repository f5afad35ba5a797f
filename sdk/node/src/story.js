// Story: all of a run but sockets and clocks: what waits, what is in flight, which number
// comes next, what to say again when Redis has lost the run.
//
//     add() ─▶ waiting ─▶ take() ─▶ in flight ─▶ answered()
//                                       ▲            │ LOST, GAP: begin anew, with `rewind`
//                                       └────────────┘ and all that was made so far, folded
//
// The sender sends what take() gives, unchanged, until it is answered, one at a time.
// Mirrors _story.py of the Python package.

import { Cancelled, Ended, Fenced, Refused, WorkerLost } from './errors.js';
import { checkSize, clean, pieces, TEXT_MAX_BYTES, toJson } from './event.js';
import { begins, ends } from './script.js';

export const CALL_MAX_EVENTS = 128;
export const CALL_MAX_BYTES = 1 << 20;
/** then the agent has to wait */
export const WAITING_MAX_BYTES = 1 << 20;
const FLUSH_MAX_MS = 200;
const FLUSH_DOUBLES_AFTER = 1000; // events of a run
const LOST_MAX = 10; // in a row: this Redis keeps nothing

/** @typedef {import('./script.js').Call} Call */
/** @typedef {import('./script.js').Place} Place */

/**
 * One event that waits. Text may still grow; anything else is finished JSON.
 * @typedef {{ kind: string, text: string, size: number, ts: number }} Item
 */

/** What merges while it waits. @param {Item} item */
const isText = (item) => item.kind === 'token' || item.kind === 'reasoning';

/** @param {readonly string[]} texts */
const bytesOf = (texts) => texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);

export class Story {
    finishReason = 'stop';
    /** @type {Record<string, number> | null} */
    usage = null;
    /** @type {Error | null} */
    failure = null;
    over = false;
    /** Redis knows it */
    begun = false;
    /** by somebody outside */
    cancelled = false;
    waitingBytes = 0;
    /** @type {Item[]} */
    #waiting = [];
    /** @type {Call | null} */
    #flight = null;
    #ending = false;
    /** the first half of a character whose other half comes with the next piece */
    #half = { kind: '', unit: '' };
    #number = 1; // of the next event that is taken
    #lost = 0;
    #textAt = -Infinity; // when text was last taken
    #taken = 0;
    // What a reader has to be told again: kept when an event is taken.
    #text = '';
    #reasoning = '';
    /** @type {Item[]} */
    #steps = [];
    /** @type {Item | null} */
    #status = null;
    // How much of the log has passed since the run began there.
    #began = { epoch: '', n: 0 };
    #sinceEvents = 0;
    #sinceBytes = 0;
    #foldEvents = 0;
    #foldBytes = 0;
    #flushMs;
    #tail;

    /**
     * @param {Place} place
     * @param {{ runId: string, messageId: string, agentId: string, attempt: number,
     *           worker: string, flushMs: number }} of
     */
    constructor(place, { runId, messageId, agentId, attempt, worker, flushMs }) {
        this.place = place;
        this.runId = runId;
        this.messageId = messageId;
        this.agentId = agentId;
        this.attempt = attempt;
        this.worker = worker;
        this.#flushMs = flushMs;
        this.#tail = `,"runId":"${runId}","agentId":"${agentId}","messageId":"${messageId}",` +
            `"attempt":${attempt}}`;
        this.add('status', { status: attempt > 1 ? 'rewind' : 'started' });
    }

    /** The answer so far, with what still waits. */
    get text() {
        return this.#text + this.#waiting.map((i) => (i.kind === 'token' ? i.text : '')).join('');
    }

    // What the agent says.

    /**
     * Grows into the piece that waits, when there is one.
     * @param {'token' | 'reasoning'} kind @param {string} text
     */
    addText(kind, text) {
        if (typeof text !== 'string') throw new TypeError(`${kind} takes a string, not ${typeof text}`);
        this.#stillOpen();
        if (this.#half.kind !== kind) this.#flushHalf();
        text = this.#half.unit + text;
        // whoever cuts strings by index cuts characters in two
        const cut = /[\ud800-\udbff]$/.test(text) ? text.length - 1 : text.length;
        this.#half = { kind, unit: text.slice(cut) };
        this.#grow(kind, text.slice(0, cut));
    }

    /** @param {string} type @param {unknown} content */
    add(type, content) {
        this.#stillOpen();
        this.#flushHalf();
        const text = toJson(content), ts = Date.now();
        const size = checkSize(this.#event(type, text, ts));
        this.#waiting.push({ kind: type, text, size, ts });
        this.waitingBytes += size;
    }

    /** The last event. With it the run is over. @param {'done' | 'error'} type @param {object} content */
    end(type, content) {
        this.add(type, content);
        this.#ending = true;
    }

    /** @param {string} finishReason */
    done(finishReason) {
        this.end('done', { messageId: this.messageId, finishReason,
                           ...(this.usage && { usage: this.usage }) });
    }

    /** `cancelled`, and the end. */
    stopped() {
        this.add('status', { status: 'cancelled' });
        this.done('cancelled');
    }

    /** Somebody cancels the run. False: too late, or a second time. */
    cancel() {
        if (this.failure || this.cancelled || this.ending) return false;
        this.cancelled = true;
        return true;
    }

    /** Its end has been said, published or not. */
    get ending() {
        return this.#ending || this.over;
    }

    /** Throws what keeps the agent from going on. */
    check() {
        if (this.failure) throw this.failure;
        if (this.cancelled && this.ending) throw new Cancelled(this.runId);
    }

    #stillOpen() {
        this.check();
        if (this.ending) throw new Error('this run is over');
    }

    #flushHalf() {
        const { kind, unit } = this.#half;
        this.#half = { kind: '', unit: '' };
        if (unit) this.#grow(kind, unit);
    }

    /** @param {string} kind @param {string} text */
    #grow(kind, text) {
        for (const piece of pieces(clean(text))) {
            const size = Buffer.byteLength(piece), ts = Date.now();
            const last = this.#waiting.at(-1);
            if (last?.kind === kind && last.size + size <= TEXT_MAX_BYTES) {
                last.text += piece;
                last.size += size;
                last.ts = ts;
            } else {
                this.#waiting.push({ kind, text: piece, size, ts });
            }
            this.waitingBytes += size;
        }
    }

    /** @param {string} type @param {string} content JSON @param {number} ts */
    #event(type, content, ts) {
        return `{"type":"${type}","threadId":"${this.place.thread}","content":${content},` +
            `"ts":${ts}${this.#tail}`;
    }

    /** @param {string} kind @param {string} text @param {number} ts */
    #textEvent(kind, text, ts) {
        return kind === 'token' ? this.#event('token', toJson(text), ts)
            : this.#event('delta', toJson({ kind: 'reasoning', text }), ts);
    }

    // What the sender sends.

    /** Until take() has something; Infinity: until something is added. @param {number} now */
    waitMs(now) {
        if (this.#flight) return 0; // to be sent, again or anew
        if (!this.#waiting.length) return Infinity;
        if (!this.#waiting.every(isText)) return 0;
        return Math.max(0, this.#textAt + this.intervalMs - now);
    }

    get idle() {
        return !this.#waiting.length && !this.#flight;
    }

    get intervalMs() {
        const doubled = this.#flushMs * 2 ** Math.min(Math.floor(this.#taken / FLUSH_DOUBLES_AFTER), 20);
        return Math.max(this.#flushMs, Math.min(doubled, FLUSH_MAX_MS));
    }

    /**
     * The call in flight, a new one when it is time for one, or null.
     * @param {number} now @returns {Call | null}
     */
    take(now) {
        if (this.#flight) return this.#flight;
        if (this.over || this.waitMs(now) > 0) return null;
        const anew = this.begun && !this.#ending && this.#halfPassed();
        const events = anew ? this.#fold() : [];
        let used = 0, size = 0;
        for (const item of this.#waiting) {
            if (isText(item)) this.#textAt = now;
            if (used === CALL_MAX_EVENTS || (used && size + item.size > CALL_MAX_BYTES)) break;
            events.push(this.#takeItem(item));
            used++;
            size += item.size;
        }
        const last = used === this.#waiting.length && this.#ending;
        this.#waiting.splice(0, used);
        this.waitingBytes -= size;
        this.#taken += used;
        const first = anew || !this.begun;
        return this.#fly(last ? (first ? 'beginend' : 'end') : (first ? 'begin' : 'publish'),
                         this.#number, events, last);
    }

    /** @param {Item} item */
    #takeItem(item) {
        const { kind, text, ts } = item;
        if (kind === 'token') {
            this.#text += text;
            return this.#textEvent(kind, text, ts);
        }
        if (kind === 'reasoning') {
            this.#reasoning += text;
            return this.#textEvent(kind, text, ts);
        }
        if (kind === 'status') {
            // `started` and `rewind` say where the run begins, not what it is doing.
            if (!/^\{"status":"(started|rewind)"/.test(text)) this.#status = item;
        } else if (kind === 'delta' && !/^\{"kind":"(progress|activity)"/.test(text)) {
            this.#steps.push(item);
        }
        return this.#event(kind, text, ts);
    }

    /** @param {Call['mode']} mode @param {number} number @param {string[]} events @param {boolean} last */
    #fly(mode, number, events, last) {
        this.#number = number + events.length;
        this.#flight = { place: this.place, mode, run: this.runId, attempt: this.attempt, number,
                         worker: this.worker, events, tries: 0,
                         ...(last && { terminal: events.at(-1) }) };
        return this.#flight;
    }

    /**
     * All that was made so far: reasoning, steps, what it is doing, text. Progress and
     * activity are of the moment and not told again.
     */
    #fold() {
        const ts = Date.now();
        const events = [
            this.#event('status', '{"status":"rewind"}', ts),
            ...pieces(this.#reasoning).map((text) => this.#textEvent('reasoning', text, ts)),
            ...this.#steps.map((step) => this.#event('delta', step.text, step.ts)),
            ...(this.#status ? [this.#event('status', this.#status.text, this.#status.ts)] : []),
            ...pieces(this.#text).map((text) => this.#textEvent('token', text, ts)),
        ];
        this.#foldEvents = events.length;
        this.#foldBytes = bytesOf(events);
        return events;
    }

    /**
     * A reader who joins needs the run's beginning in the log; before it is trimmed away
     * the run begins anew. (Not when the fold itself fills the log.)
     */
    #halfPassed() {
        const { maxEvents, maxBytes } = this.place.limits;
        return this.#sinceEvents > Math.max(Math.floor(maxEvents / 2), 2 * this.#foldEvents) ||
            this.#sinceBytes > Math.max(Math.floor(maxBytes / 2), 2 * this.#foldBytes);
    }

    // What Redis says.

    /**
     * @param {string[]} reply
     * @param {string} [end] after ENDED, the event that ended the run, if it is still in the log
     */
    answered(reply, end) {
        const call = /** @type {Call} */ (this.#flight);
        const word = reply[0];
        this.#flight = null;
        if (word === 'OK') {
            this.#lost = 0;
            this.begun = true;
            this.over = ends(call);
            this.#count(call, reply[1], reply[2]);
        } else if ((word === 'LOST' || word === 'GAP') && this.#lost < LOST_MAX) {
            this.#lost++;
            const { terminal } = call;
            this.#fly(terminal ? 'beginend' : 'begin', call.number,
                      [...this.#fold(), ...(terminal ? [terminal] : [])], terminal !== undefined);
        } else if (word === 'ENDED' && endedBy(call, end)) {
            this.over = true;
        } else if (word === 'ENDED') {
            this.failure = saysLost(end) ? new WorkerLost(reply[1]) : new Ended(reply[1]);
        } else if (word === 'FENCED') {
            this.failure = new Fenced(Number(reply[1]));
        } else {
            this.failure = new Refused(`publish.lua answers ${reply.join(' ')} again and again`);
        }
    }

    /**
     * Others write to the log too: within one epoch the ids tell how much.
     * @param {Call} call @param {string} first @param {string} last
     */
    #count(call, first, last) {
        if (begins(call)) {
            this.#sinceEvents = this.#sinceBytes = 0;
            const [epoch, n] = first.split('-');
            if (first) this.#began = { epoch, n: Number(n) };
        }
        this.#sinceBytes += bytesOf(call.events);
        this.#sinceEvents += call.events.length;
        const [epoch, n] = last.split('-');
        if (last && epoch === this.#began.epoch) {
            this.#sinceEvents = Math.max(this.#sinceEvents, Number(n) - this.#began.n + 1);
        }
    }
}

/** Was it this very call, whose first answer was lost? @param {Call} call @param {string} [end] */
function endedBy(call, end) {
    if (!call.terminal || call.tries < 2) return false;
    return end === undefined || end.endsWith(call.terminal.slice(1)); // the id is put in front
}

/** @param {string} [end] */
function saysLost(end) {
    try {
        const said = JSON.parse(end ?? '{}');
        return said.type === 'error' && said.content.code === 'worker_lost';
    } catch {
        return false;
    }
}
