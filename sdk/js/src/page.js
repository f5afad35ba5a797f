// What happens to the page around a stream: it goes into the back/forward cache and comes back,
// its tab is frozen, somebody looks at it again, the network goes and comes. Outside of a page
// (Node, Deno, a worker) nothing of this ever happens.

/**
 * @param {() => void} pause connections would be cut, or keep the page out of the cache
 * @param {() => void} resume
 * @param {(changed: boolean) => void} wake timers may have slept; `changed`: another network
 * @param {() => void} offline
 * @returns {() => void} stops listening
 */
export function watchPage(pause, resume, wake, offline) {
    const abort = new AbortController(), page = globalThis.document;
    /** @type {(target: any, handlers: Record<string, (event: any) => void>) => void} */
    const hear = (target, handlers) => {
        for (const type in handlers) target?.addEventListener?.(type, handlers[type], abort);
    };
    hear(globalThis, { online: () => wake(true), offline, pagehide: pause, pageshow: resume });
    hear(page, { freeze: pause, resume, visibilitychange: () => page.hidden || wake(false) });
    return () => abort.abort();
}
