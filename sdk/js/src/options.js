// How a stream is to be, and what it is when nothing is said.

/**
 * @typedef {object} Options
 * @property {string} [url] the bridge's, with its --base-path; '': where the page is
 * @property {string} [since] a position, `0`, `now`, `run` (default)
 * @property {(asked: { refused: boolean }) => string | null | undefined | Promise<string | null | undefined>} [getToken]
 *     a bearer token, asked for before connections and when the one in use ends soon. Without it,
 *     or when it has none: the session's cookie
 * @property {string} [ticket] instead: what `POST /v1/tickets` gave
 * @property {'auto' | 'eventsource' | 'fetch' | 'poll'} [transport]
 * @property {boolean | string} [shared] one connection for all tabs; a string: of those who say the same
 * @property {boolean} [merge] false: neighbouring tokens are never merged
 * @property {Record<string, string>} [headers] of what is fetched
 * @property {AbortSignal} [signal] closes it
 * @property {number} [firstByteMs] so long may the first byte take (10,000)
 * @property {number} [silenceMs] and so long may nothing be heard then (2.5 × the bridge's keepalive)
 * @property {number} [retryMs] the first waiting time, until the bridge has said its own (2,000)
 * @property {number} [retryMaxMs] the longest (30,000)
 * @property {number} [giveUpMs] without a connection for so long, with a network, it fails (600,000)
 * @property {number} [pollMs] `poll`: not more often than this (500)
 * @property {number} [pollWaitMs] `poll`: so long an answer may wait for something to say (20,000)
 * @property {number} [streamAgainMs] `auto`: polling gives streams another chance after this (300,000)
 * @property {number} [queueMax] events that may wait for an iteration before reading pauses (10,000)
 */

/** @type {Required<Omit<Options, 'getToken' | 'ticket' | 'signal'>>} */
export const DEFAULTS = {
    url: '', since: 'run', transport: 'auto', shared: false, merge: true, headers: {}, firstByteMs: 10_000,
    silenceMs: 0, retryMs: 2000, retryMaxMs: 30_000, giveUpMs: 600_000, pollMs: 500, pollWaitMs: 20_000,
    streamAgainMs: 300_000, queueMax: 10_000,
};
