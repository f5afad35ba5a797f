// One connection, by EventSource or by fetch. A link is opened once, tells its ear what it
// hears, and ends once, with the last word (`lost`, `answered`); it never comes back by itself.
// When and where the next one begins is not its business (stream.js).

import { sseParser } from './sse.js';

/**
 * @typedef {object} Ear
 * @property {() => void} heard a sign of life
 * @property {(name: string, data: string, id: string) => void} block
 * @property {(ms: number) => void} retry
 * @property {(why: string, whole?: boolean) => void} lost it is gone, or there was none; `whole`:
 *     the answer came to its own end
 * @property {(status: number, body: string) => void} answered with something else than a stream
 */

/** What the bridge itself says on a stream, under names that `onmessage` does not see. */
const NAMES = ['ping', 'ready', 'reset', 'bye', 'busy', 'auth', 'stalled'];
const BODY_MAX_CHARS = 64 * 1024; // of a refusal

/** @param {import('./stream.js').Options} options @returns {RequestInit & { headers: Record<string, string> }} */
export const cookieInit = ({ headers }) => ({
    cache: 'no-store', credentials: 'include',
    headers: { Accept: 'text/event-stream', ...(globalThis.document ? {} : { 'Accept-Encoding': 'identity' }), ...headers },
});

/** @param {unknown} error */
export const words = (error) =>
    [/** @type {any} */ (error)?.message ?? error, /** @type {any} */ (error)?.cause?.message].filter(Boolean).join(': ');

/**
 * EventSource would connect again by itself: it is closed instead, so that how long to wait, with
 * which ticket and from where is decided in one place. What it was answered it does not tell: that
 * is asked by fetch, which reads it, too, should it be a stream.
 * @param {string} url @param {RequestInit} init @param {Ear} ear @returns {() => void} closes it
 */
export function eventSourceLink(url, init, ear) {
    const source = new EventSource(url, { withCredentials: init.credentials === 'include' });
    let close = () => source.close();
    source.onmessage = (message) => ear.block('', message.data, message.lastEventId);
    for (const name of NAMES) {
        source.addEventListener(name, (message) => ear.block(name, message.data, message.lastEventId));
    }
    source.onerror = () => {
        const refused = source.readyState === 2;
        source.close();
        if (refused) close = fetchLink(`${url}&poll=0`, init, ear);
        else ear.lost('it was closed');
    };
    return () => close();
}

/** @param {string} url @param {RequestInit} init @param {Ear} ear @returns {() => void} closes it */
export function fetchLink(url, init, ear) {
    const abort = new AbortController();
    read(url, { ...init, signal: abort.signal }, ear).catch((error) => ear.lost(words(error)));
    return () => abort.abort();
}

/** @param {string} url @param {RequestInit} init @param {Ear} ear */
async function read(url, init, ear) {
    const answer = await fetch(url, init);
    if (!isStream(answer) || !answer.body) return refuse(answer, ear);
    const reader = answer.body.getReader(), decoder = new TextDecoder();
    const push = sseParser(ear.block, ear.retry);
    for (;;) {
        const { done, value } = await reader.read();
        if (done) return ear.lost('the stream ended', true);
        ear.heard();
        push(decoder.decode(value, { stream: true }));
    }
}

/** @param {Response} answer */
const isStream = (answer) => answer.status === 200 && /^text\/event-stream\b/i.test(answer.headers.get('content-type') ?? '');

/** @param {Response} answer @param {Ear} ear */
const refuse = async (answer, ear) => ear.answered(answer.status, (await answer.text()).slice(0, BODY_MAX_CHARS));
