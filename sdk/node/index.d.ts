// Publishing, on a client of ioredis. Reading is the package `threadcast`.

import type { Redis } from 'ioredis';

/** How much of a thread Redis keeps. The same for all publishers of a thread. */
export interface Limits {
    /** 20,000 */
    maxEvents: number;
    /** 16 MiB */
    maxBytes: number;
    /** 86,400 */
    ttlS: number;
}

export interface RunOptions {
    /** Made when not given. */
    runId?: string;
    /** The answer's id. Made when not given. */
    messageId?: string;
    /** `node` */
    agentId?: string;
    /** 1; a higher one takes the run over, and its older publisher is Fenced. */
    attempt?: number;
    /** What the bridge has as `--redis-prefix`. */
    prefix?: string;
    limits?: Partial<Limits>;
    /** The first token leaves at once; others that come within this leave as one. 25 */
    flushMs?: number;
    /** Without an answer from Redis for so long the run fails with Unavailable. 30,000 */
    giveUpMs?: number;
    /** Without a sign of life for so long a bridge ends the run. 15,000 */
    leaseMs?: number;
    /** Called when somebody cancels; then the run goes on until `done()`. */
    onCancel?: () => void;
}

/**
 * One answer in the making. What the agent says is published in this order. Methods throw
 * at once what keeps the agent from going on; the promises of those that say something
 * need not be awaited: they only hold back an agent that is faster than Redis.
 */
export class Run {
    private constructor();
    readonly thread: string;
    readonly runId: string;
    /** The answer's id, on every event and in `done`. */
    readonly messageId: string;
    readonly attempt: number;
    /** The answer so far. */
    readonly text: string;
    /** Has somebody cancelled this run? */
    readonly cancelled: boolean;
    /** Aborted when the run is cancelled, or fails: for `fetch`, and most model clients. */
    readonly signal: AbortSignal;
    /** Said in `done` when nothing else is: `stop`. */
    finishReason: string;

    /** The next piece of the answer. */
    token(text: string): Promise<void>;
    /** The next piece of what the agent thinks. */
    reasoning(text: string): Promise<void>;
    status(status: 'queued' | 'thinking' | 'working' | 'typing' | 'cancelled', details?: object): Promise<void>;
    /** Anything besides text: step, activity, milestone, or a kind of your own. */
    delta(kind: string, fields?: object): Promise<void>;
    toolCall(name: string, args: object | string, toolCallId: string): Promise<void>;
    toolResult(toolCallId: string, result: unknown, how?: { isError?: boolean }): Promise<void>;
    progress(completed: number, of?: { total?: number; unit?: string; message?: string }): Promise<void>;
    /** Told at once, and again in `done`. */
    usage(of: { inputTokens: number; outputTokens: number; totalTokens?: number }): Promise<void>;
    /** Answers when Redis has everything that was said so far. */
    flush(): Promise<void>;
    /** Ends the run: stop, length, tool … */
    done(reason?: string): Promise<void>;
    /** Ends the run with an `error`: an AgentError's, or that "The agent failed." */
    error(error: unknown): Promise<void>;
}

/** Begins a run; end it with `done()` or `error()`. */
export function start(client: Redis, thread: string, options?: RunOptions): Promise<Run>;

/**
 * Begins a run, and ends it when `body` does: with `done`; with `error` when it throws; and
 * with `cancelled` when somebody cancelled, or it throws an AbortError. What `body` throws
 * goes on; a cancelled run throws Cancelled.
 */
export function run<T>(client: Redis, thread: string, body: (run: Run) => T | Promise<T>): Promise<T>;
export function run<T>(client: Redis, thread: string, options: RunOptions,
                       body: (run: Run) => T | Promise<T>): Promise<T>;

export interface OutsideEvent {
    type: 'token' | 'status' | 'delta' | 'done' | 'error';
    content: string | object;
    runId?: string;
    agentId?: string;
    messageId?: string;
    attempt?: number;
    ts?: number;
    [more: string]: unknown;
}

export interface PublishOptions {
    /** Repeated with it within a day it happens once. */
    idempotencyKey?: string;
    prefix?: string;
    limits?: Partial<Limits>;
    /** 10,000 */
    giveUpMs?: number;
}

export interface Published {
    first: string;
    last: string;
    /** The key was known: these are the ids its events got then. */
    repeated: boolean;
}

/**
 * Publishes an event, or several in one call, outside of any run. Without an
 * `idempotencyKey` it is not sent again when the answer is lost: then Unavailable leaves
 * open what happened.
 */
export function publish(client: Redis, thread: string, event: OutsideEvent | readonly OutsideEvent[],
                        options?: PublishOptions): Promise<Published>;

/** Everything that can go wrong is one of these; nonsense arguments are TypeErrors. */
export class ThreadcastError extends Error {}

/** Redis refuses and will go on refusing: rights, password, version, key types. */
export class Refused extends ThreadcastError {}

/** No answer for `giveUpMs`. Whether Redis has the events is unknown. */
export class Unavailable extends ThreadcastError {}

/** A higher attempt of this run has begun elsewhere: this one must stop. */
export class Fenced extends ThreadcastError {
    constructor(attempt: number);
    readonly attempt: number;
}

/** The run has ended already (somebody else ended it, or its id was used before). */
export class Ended extends ThreadcastError {
    constructor(id: string, message?: string);
    readonly id: string;
}

/** The run was ended under its publisher: it gave no sign of life for a lease. */
export class WorkerLost extends Ended {
    constructor(id: string);
}

/** Somebody cancelled this run. What is said from now on is not published. */
export class Cancelled extends ThreadcastError {
    constructor(runId: string, options?: ErrorOptions);
    readonly runId: string;
}

/** An outside event claims a run that has a publisher of its own. */
export class Taken extends ThreadcastError {
    constructor(runId: string);
    readonly runId: string;
}

/** The idempotency key was used before, for other events. */
export class Conflict extends ThreadcastError {}

/** An event would be larger than 256 KiB. Nothing was published of it. */
export class EventTooLarge extends ThreadcastError {}

/** Throw it inside a run to end that run with this `error` event. Its message is shown. */
export class AgentError extends Error {
    constructor(message: string, options?: ErrorOptions & { code?: string; retryable?: boolean });
    readonly code: string;
    readonly retryable: boolean;
}
