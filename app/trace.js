// What the inspector shows of one conversation's stream: every event as it came, every
// notice and every state of the connection, with the moment it was here. Recording goes on
// whether anybody looks or not, so that somebody who opens the inspector because something
// looks stuck sees what came before. Bounded; without elements.

/**
 * @typedef {object} Entry
 * @property {number} serial counts all entries
 * @property {'event' | 'notice' | 'link'} kind
 * @property {string} type the event's, the notice's name, or the state
 * @property {number} at Unix milliseconds, with fractions, by a clock that never goes back
 * @property {string} id the event's id, or where the stream stood; '' for none
 * @property {string} run
 * @property {string} agent
 * @property {number | null} latencyMs from its `ts` (the worker's clock) to being here
 * @property {number | null} gapMs since the event before it was here
 * @property {string} mark '' `replayed` `duplicate` `gap`, or `bad`: a state that is not good
 * @property {any} data what came, as it was parsed
 *
 * @typedef {object} Second what came in one second
 * @property {number} tokens
 * @property {number} events
 * @property {number} latencyMs the longest of its live events
 */

const ENTRIES_MAX = 100_000;
/** so many of the oldest go at once: taking away one at a time would cost more than all else */
const ENTRIES_DROPPED = 10_000;
const SECONDS_MAX = 600;
/** what took longer was waiting in the log: a replay, not a slow line */
const REPLAY_MS = 10_000;

/** Unix milliseconds that only go forward. */
const now = () => performance.timeOrigin + performance.now();

export class Trace {
    /** @type {Entry[]} oldest first */
    entries = [];
    /** entries that are no longer kept */
    dropped = 0;
    /** @type {Map<number, Second>} by Unix second, oldest first */
    seconds = new Map();
    /** counts changes, so that who shows them knows that there are any */
    version = 0;
    #serial = 0;
    #eventAt = 0;

    /**
     * @param {import('./client/state.js').ThreadEvent} event
     * @param {{ replayed: boolean, duplicate: boolean, lost: number }} how
     */
    event(event, { replayed, duplicate, lost }) {
        const at = now();
        const latencyMs = typeof event.ts === 'number' ? at - event.ts : null;
        const old = replayed || (latencyMs !== null && latencyMs > REPLAY_MS);
        this.#add({
            kind: 'event',
            type: String(event.type),
            at,
            id: typeof event.id === 'string' ? event.id : '',
            run: String(event.runId ?? ''),
            agent: String(event.agentId ?? ''),
            latencyMs,
            gapMs: this.#eventAt ? at - this.#eventAt : null,
            mark: duplicate ? 'duplicate' : lost > 0 ? 'gap' : old ? 'replayed' : '',
            data: event,
        });
        this.#eventAt = at;
        this.#count(at, event.type === 'token', old ? 0 : (latencyMs ?? 0));
    }

    /** @param {string} name @param {any} data @param {string} id */
    notice(name, data, id) {
        this.#add({ ...this.#plain('notice', name, data), id });
    }

    /** @param {string} state @param {{ reason: string, message: string }} detail */
    link(state, detail) {
        const mark = ['connecting', 'live'].includes(state) ? '' : 'bad';
        this.#add({ ...this.#plain('link', state, { state, ...detail }), mark });
    }

    clear() {
        this.dropped += this.entries.length;
        this.entries = [];
        this.seconds.clear();
        this.version++;
    }

    /** When something last came, Unix milliseconds; 0: never. */
    get lastAt() {
        return this.entries.at(-1)?.at ?? 0;
    }

    /** @param {'notice' | 'link'} kind @param {string} type @param {any} data */
    #plain(kind, type, data) {
        return {
            kind,
            type,
            at: now(),
            id: '',
            run: '',
            agent: '',
            latencyMs: null,
            gapMs: null,
            mark: '',
            data,
        };
    }

    /** @param {Omit<Entry, 'serial'>} entry */
    #add(entry) {
        if (this.entries.length >= ENTRIES_MAX) {
            this.entries = this.entries.slice(ENTRIES_DROPPED);
            this.dropped += ENTRIES_DROPPED;
        }
        this.entries.push({ serial: ++this.#serial, ...entry });
        this.version++;
    }

    /** @param {number} at @param {boolean} token @param {number} latencyMs */
    #count(at, token, latencyMs) {
        const second = Math.floor(at / 1000);
        let sum = this.seconds.get(second);
        if (!sum) {
            sum = { tokens: 0, events: 0, latencyMs: 0 };
            this.seconds.set(second, sum);
            if (this.seconds.size > SECONDS_MAX) this.seconds.delete([...this.seconds.keys()][0]);
        }
        sum.events++;
        if (token) sum.tokens++;
        sum.latencyMs = Math.max(sum.latencyMs, latencyMs);
    }
}
