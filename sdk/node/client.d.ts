// Reading: `threadcast/client`. Needs only `fetch`: Node 18, a browser.

/** One event, as docs/PROTOCOL.md has it. */
export interface ThreadEvent {
    /** `token` `status` `delta` `done` `error`, or what a bare PUBLISH brought. */
    type: string;
    content: any;
    threadId?: string;
    ts?: number;
    runId?: string;
    agentId?: string;
    messageId?: string;
    attempt?: number;
    /** '' for a bare event, which cannot be resumed. */
    id: string;
    /** It was told before a `reset`, and is told again. */
    again: boolean;
    [more: string]: unknown;
}

/** What the bridge itself has to say; and `open` and `lost`, of a connection. */
export interface Notice {
    name: 'ready' | 'reset' | 'bye' | 'busy' | 'auth' | 'stalled' | 'open' | 'lost';
    data: Record<string, any>;
    position: string;
}

export interface SubscribeOptions {
    /** One thread, or up to 32 on one connection. Either this or `run`. */
    thread?: string | readonly string[];
    /** One run, from its beginning; the iteration ends with it. */
    run?: string;
    /** Where to begin: a position, `0`, `now`, `run` (the default). */
    since?: string;
    /**
     * A bearer token, or a function that gives one: asked before every connection, and when
     * the bridge says that it ends soon, to lengthen the open stream.
     */
    token?: string | (() => string | undefined | Promise<string | undefined>);
    /** Instead: what `POST /v1/tickets` gave. The bridge renews it while the stream lives. */
    ticket?: string;
    headers?: Record<string, string>;
    /** In a browser: `include` sends a session's cookie to another origin. */
    credentials?: 'include' | 'omit' | 'same-origin';
    /** false: neighbouring tokens are never merged. */
    merge?: boolean;
    /** Called in the order of the stream, between the events. */
    onNotice?: (notice: Notice) => void;
    /** Ends the iteration. */
    signal?: AbortSignal;
    /** So long may the bridge say nothing (45,000: three of its keepalives). */
    silenceMs?: number;
    /** Without a stream for so long the iteration throws Unavailable. Default: never. */
    giveUpMs?: number;
    fetch?: typeof globalThis.fetch;
}

/**
 * Every event once and in order, over as many connections as that takes:
 *
 *     for await (const event of subscribe('https://…', { thread: 't1', token })) …
 *
 * Throws Refused for what will not pass (400, 401, 403, 404, 501), with `status` and `code`.
 */
export class Subscription implements AsyncIterable<ThreadEvent> {
    constructor(base: string, options: SubscribeOptions);
    /** Behind the event given last: `since` of another subscription. */
    readonly position: string;
    /** Events that came twice and were dropped. */
    readonly duplicates: number;
    /** Ends the iteration. */
    close(): void;
    [Symbol.asyncIterator](): AsyncGenerator<ThreadEvent, void, unknown>;
}

export function subscribe(base: string, options: SubscribeOptions): Subscription;

/** Everything that can go wrong is one of these; nonsense arguments are TypeErrors. */
export class ThreadcastError extends Error {}

/** Redis, or a bridge, refuses and will go on refusing. */
export class Refused extends ThreadcastError {
    constructor(message: string, options?: ErrorOptions & { status?: number; code?: string });
    /** Of a bridge's answer; 0: Redis. */
    readonly status: number;
    /** A bridge's stable code; '': none. */
    readonly code: string;
}

/** No answer for `giveUpMs`. Whether Redis has the events is unknown. */
export class Unavailable extends ThreadcastError {}
