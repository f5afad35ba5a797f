// How long to wait for the next connection, and when to give up.

export class Patience {
    /** the bridge's word, as soon as there is one */
    retryMs;
    /** connections that came to nothing, one after the other */
    attempt = 0;
    #maxMs;
    #giveUpMs;
    #connectMs;
    #lostAt = 0;
    /** how long it has lasted: with a network, and while the machine was awake */
    #failingMs = 0;

    /** @param {{ retryMs: number, retryMaxMs: number, giveUpMs: number, firstByteMs: number }} limits */
    constructor({ retryMs, retryMaxMs, giveUpMs, firstByteMs }) {
        this.retryMs = retryMs;
        this.#maxMs = retryMaxMs;
        this.#giveUpMs = giveUpMs;
        this.#connectMs = firstByteMs;
    }

    /** A connection is good for something. */
    reset() { this.attempt = this.#failingMs = 0; }

    /**
     * One is gone. All of the time is drawn, so that readers who were cut together do not come
     * back together. null: it has lasted too long.
     * @param {boolean} told the bridge has said that it would end: not before its `retry`
     * @param {boolean} offline that counts for nothing
     */
    next(told, offline) {
        const now = Date.now();
        // more than that between two attempts, and the machine has slept
        if (this.attempt && !offline) this.#failingMs += Math.min(now - this.#lostAt, 2 * this.#maxMs + this.#connectMs);
        this.#lostAt = now;
        if (this.#failingMs > this.#giveUpMs) return null;
        return (told ? this.retryMs : 0) + Math.random() * Math.min(this.#maxMs, this.retryMs * 2 ** Math.min(this.attempt++, 20));
    }
}
