// Threadcast for React (18 or newer):
//
//     const { messages, state, send, stop } = useThread('t1');
//
// Nothing happens while a component is only rendered, on a server or in a browser: the
// connection is opened when it was mounted, and kept over what StrictMode does then.

import { useEffect, useMemo, useSyncExternalStore } from 'react';
import { Thread } from './thread.js';

/**
 * @typedef {import('./thread.js').ThreadOptions} ThreadOptions
 * @typedef {import('./snapshot.js').Snapshot} Snapshot
 * @typedef {import('./state.js').Item} Item
 * @typedef {import('./state.js').Turn} Turn
 *
 * @typedef {Pick<Thread, 'send' | 'stop' | 'retry' | 'reconnect' | 'refresh' | 'loadEarlier' | 'publish'>} Actions
 * @typedef {Snapshot & Actions} UsedThread
 */

/**
 * A thread's messages and everything to do with it. Functions among the options (`getToken`,
 * `onEvent` …) may be others in each rendering; another thread, bridge, ticket or transport is
 * another connection.
 * @param {string | null | undefined} threadId none: there is no connection, and nothing is shown
 * @param {ThreadOptions} [options]
 * @returns {UsedThread}
 */
export function useThread(threadId, options = {}) {
    const { url, ticket, transport, shared, since, history } = options;
    const { thread, use } = useMemo(
        () => held(threadId ?? '', options),
        // the others are handed on below
        [threadId, url, ticket, transport, shared, since, history],
    );
    useEffect(() => use(options));
    const snapshot = useSyncExternalStore(thread.subscribe, thread.getSnapshot, thread.getSnapshot);
    return useMemo(() => {
        const { send, stop, retry, reconnect, refresh, loadEarlier, publish } = thread;
        return { ...snapshot, send, stop, retry, reconnect, refresh, loadEarlier, publish };
    }, [snapshot, thread]);
}

/** A thread, and what gives it newer options. @param {string} threadId @param {ThreadOptions} options */
function held(threadId, options) {
    return {
        thread: new Thread(threadId, () => options),
        use: (/** @type {ThreadOptions} */ newer) => {
            options = newer;
        },
    };
}
