// What happens to the page around a stream: it goes into the back/forward cache and comes back,
// its tab is frozen, somebody looks at it again, the network goes and comes. Outside of a page
// (Node, Deno, a worker) nothing of this ever happens.

/**
 * @typedef {object} Ears
 * @property {() => void} pause connections would be cut, or keep the page out of the cache
 * @property {() => void} resume
 * @property {(changed: boolean) => void} wake timers may have slept; `changed`: another network
 * @property {() => void} offline
 */

export class Page {
    #ears;
    /** @type {AbortController | null} */
    #listening = null;

    /** @param {Ears} ears */
    constructor(ears) {
        this.#ears = ears;
        this.listen();
    }

    listen() {
        if (this.#listening) return;
        const { signal } = this.#listening = new AbortController(), { pause, resume, wake, offline } = this.#ears;
        const page = globalThis.document;
        /** @type {(target: any, handlers: Record<string, (event: any) => void>) => void} */
        const hear = (target, handlers) => {
            for (const type in handlers) target?.addEventListener?.(type, handlers[type], { signal });
        };
        hear(globalThis, { online: () => wake(true), offline, pagehide: pause, pageshow: resume });
        hear(page, { freeze: pause, resume, visibilitychange: () => page.visibilityState === 'visible' && wake(false) });
    }

    ignore() {
        this.#listening?.abort();
        this.#listening = null;
    }
}
