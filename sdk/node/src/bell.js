// Bell: somebody waits, for news or for a time, whichever comes first.

const TIMER_MAX_MS = 2 ** 31 - 1;

export class Bell {
    /** @type {Set<() => void>} */
    #waiting = new Set();

    /** Wakes all who wait now; later ones wait for the next. */
    ring() {
        const woken = [...this.#waiting];
        this.#waiting.clear();
        for (const wake of woken) wake();
    }

    /** @param {number} [ms] Infinity: only news */
    wait(ms = Infinity) {
        return /** @type {Promise<void>} */ (new Promise((resolve) => {
            /** @type {ReturnType<typeof setTimeout> | undefined} */
            let timer;
            const wake = () => {
                clearTimeout(timer);
                this.#waiting.delete(wake);
                resolve();
            };
            this.#waiting.add(wake);
            if (ms < Infinity) timer = setTimeout(wake, Math.min(Math.max(ms, 0), TIMER_MAX_MS));
        }));
    }
}
