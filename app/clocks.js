// When things happened in each run: what its first token took, and how fast it writes. The
// delays are measured here, from sending the prompt on; the rate is by the worker's clock
// (`ts`), so a replay does not look faster than the run was. Without elements, without
// network.

/** a rate over less than this says nothing */
const RATE_MIN_MS = 250;

/**
 * @typedef {object} Times of one run; `performance.now()`, but for `firstTs` and `lastTs`
 * @property {number | null} sentAt null: this view did not send it
 * @property {number | null} eventAt
 * @property {number | null} tokenAt
 * @property {number} tokens
 * @property {number} firstTs
 * @property {number} lastTs
 */

export class Clocks {
    /** @type {Map<string, Times>} */
    #runs = new Map();

    /** @param {string} runId @param {number} at */
    sent(runId, at) {
        this.#of(runId).sentAt = at;
    }

    /** @param {import('./client/state.js').ThreadEvent} event of a run */
    see({ runId = '', type, ts = 0, content }) {
        const times = this.#of(runId);
        const now = performance.now();
        times.eventAt ??= now;
        const status = type === 'status' ? content?.status : '';
        if (status === 'started' || status === 'rewind') times.tokens = 0; // it begins anew
        if (type !== 'token') return;
        times.tokenAt ??= now;
        if (!times.tokens++) times.firstTs = ts;
        times.lastTs = ts;
    }

    /**
     * From sending the prompt to its first event and its first token, here.
     * @param {string} runId
     * @returns {{ eventMs: number | null, tokenMs: number | null }} null: not yet, or this
     *     view did not send it
     */
    delays(runId) {
        const times = this.#runs.get(runId);
        if (!times || times.sentAt === null) return { eventMs: null, tokenMs: null };
        return {
            eventMs: times.eventAt === null ? null : times.eventAt - times.sentAt,
            tokenMs: times.tokenAt === null ? null : times.tokenAt - times.sentAt,
        };
    }

    /** Tokens a second. @param {string} runId @returns {number | null} null: too early to say */
    rate(runId) {
        const times = this.#runs.get(runId);
        if (!times) return null;
        const ms = times.lastTs - times.firstTs;
        return ms < RATE_MIN_MS ? null : Math.round(((times.tokens - 1) * 1000) / ms);
    }

    /** @param {string} runId @returns {Times} */
    #of(runId) {
        let times = this.#runs.get(runId);
        if (!times) {
            times = {
                sentAt: null,
                eventAt: null,
                tokenAt: null,
                tokens: 0,
                firstTs: 0,
                lastTs: 0,
            };
            this.#runs.set(runId, times);
        }
        return times;
    }
}
