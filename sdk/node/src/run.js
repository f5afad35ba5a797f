// Run: one answer in the making. The agent adds to the story, a loop of the run sends it.

import { randomUUID } from 'node:crypto';
import { Bell } from './bell.js';
import { subscribe } from './control.js';
import { AgentError, Cancelled, ThreadcastError } from './errors.js';
import { checkName, checkPrefix, checkThread, checkWhole } from './event.js';
import { Life } from './life.js';
import { checkClient, Link } from './link.js';
import { lasting, Place } from './script.js';
import { Story, WAITING_MAX_BYTES } from './story.js';

const STATUSES = ['queued', 'thinking', 'working', 'typing', 'cancelled'];

/** @typedef {import('ioredis').Redis} Redis */
/** @typedef {import('../index.js').RunOptions} RunOptions */

/**
 * Begins a run: answers when Redis knows it, and its cancels are heard.
 * @param {Redis} client @param {string} thread @param {RunOptions} [options]
 */
export async function start(client, thread, options = {}) {
    const { runId = randomUUID(), messageId = randomUUID(), agentId = 'node', attempt = 1,
            prefix = '', limits, flushMs = 25, giveUpMs = 30_000, leaseMs = 15_000,
            onCancel } = options;
    const life = new Life(checkPrefix(prefix), checkWhole('leaseMs', leaseMs, 100, 3_600_000));
    const story = new Story(new Place(checkThread(thread), prefix, limits), {
        runId: checkName('runId', runId), messageId: checkName('messageId', messageId),
        agentId: checkName('agentId', agentId), attempt: checkWhole('attempt', attempt, 1),
        worker: life.worker, flushMs: checkWhole('flushMs', flushMs, 0, 10_000) });
    const run = new Run(checkClient(client), story, life,
                        checkWhole('giveUpMs', giveUpMs, 0), onCancel);
    await run.begin();
    return run;
}

/**
 * Runs `body` inside a run and says how it ended.
 * @template T
 * @param {Redis} client @param {string} thread
 * @param {RunOptions | ((run: Run) => T | Promise<T>)} options
 * @param {(run: Run) => T | Promise<T>} [body]
 * @returns {Promise<T>}
 */
export async function run(client, thread, options, body) {
    if (typeof options === 'function') [options, body] = [{}, options];
    if (typeof body !== 'function') throw new TypeError('run() takes a function');
    const begun = await start(client, thread, options);
    let value;
    try {
        value = await body(begun);
    } catch (error) {
        const cancelled = await begun.failed(error);
        throw cancelled ?? error;
    }
    await begun.done();
    return value;
}

/** What an `error` event says of what was thrown. @param {any} error */
function errorContent(error) {
    const told = error instanceof AgentError || (error && !(error instanceof Error) && error.message)
        ? error : new AgentError('The agent failed.');
    return { code: String(told.code ?? 'agent_error').slice(0, 100),
             message: String(told.message).slice(0, 2000), retryable: Boolean(told.retryable) };
}

export class Run {
    #client;
    #story;
    #life;
    #giveUpMs;
    #onCancel;
    #abort = new AbortController();
    /** for the sender */
    #news = new Bell();
    /** for who waits for the sender */
    #changed = new Bell();
    /** @type {import('./control.js').Control | null} */
    #control = null;
    #hearer;
    /** @type {Promise<void>} */
    #sender = Promise.resolve();

    /**
     * @param {Redis} client @param {Story} story @param {Life} life @param {number} giveUpMs
     * @param {(() => void) | undefined} onCancel
     */
    constructor(client, story, life, giveUpMs, onCancel) {
        this.#client = client;
        this.#story = story;
        this.#life = life;
        this.#giveUpMs = giveUpMs;
        this.#onCancel = onCancel;
        this.#hearer = { runId: story.runId, cancel: () => this.#cancel() };
    }

    async begin() {
        this.#control = await subscribe(this.#client, this.#story.place.prefix, this.#hearer,
                                        this.#giveUpMs);
        this.#sender = this.#sendAll();
        await this.flush();
    }

    get thread() { return this.#story.place.thread; }
    get runId() { return this.#story.runId; }
    get messageId() { return this.#story.messageId; }
    get attempt() { return this.#story.attempt; }
    get text() { return this.#story.text; }
    get cancelled() { return this.#story.cancelled; }
    get signal() { return this.#abort.signal; }
    get finishReason() { return this.#story.finishReason; }
    set finishReason(reason) { this.#story.finishReason = String(reason); }

    // What the agent says. Throws at once what keeps it from going on; what is answered
    // is only there to wait for when the agent is faster than Redis, and never rejects.

    /** @param {string} text */
    token(text) {
        return this.#say(() => this.#story.addText('token', text));
    }

    /** @param {string} text */
    reasoning(text) {
        return this.#say(() => this.#story.addText('reasoning', text));
    }

    /** @param {string} status @param {object} [details] */
    status(status, details = {}) {
        if (!STATUSES.includes(status)) throw new TypeError(`a status is one of ${STATUSES.join(' ')}`);
        return this.#say(() => this.#story.add('status', { status, ...details }));
    }

    /** @param {string} kind @param {object} [fields] */
    delta(kind, fields = {}) {
        if (typeof kind !== 'string' || !kind) throw new TypeError('a delta has a kind');
        return this.#say(() => this.#story.add('delta', { kind, ...fields }));
    }

    /** @param {string} name @param {object | string} args @param {string} toolCallId */
    toolCall(name, args, toolCallId) {
        return this.delta('tool_call', { toolCallId, name, arguments: args });
    }

    /** @param {string} toolCallId @param {unknown} result @param {{ isError?: boolean }} [how] */
    toolResult(toolCallId, result, { isError = false } = {}) {
        return this.delta('tool_result', { toolCallId, result, ...(isError && { isError }) });
    }

    /** @param {number} completed @param {{ total?: number, unit?: string, message?: string }} [of] */
    progress(completed, { total, unit, message } = {}) {
        return this.delta('progress', { completed, total, unit, message });
    }

    /** Told at once, and again in `done`. @param {{ inputTokens: number, outputTokens: number, totalTokens?: number }} of */
    usage({ inputTokens, outputTokens, totalTokens = inputTokens + outputTokens }) {
        const usage = { inputTokens, outputTokens, totalTokens };
        return this.#say(() => {
            this.#story.add('delta', { kind: 'usage', ...usage });
            this.#story.usage = usage;
        });
    }

    /** Answers when Redis has everything that was said so far. */
    async flush() {
        await this.#until(() => this.#story.idle);
        this.#story.check();
    }

    /** Ends the run. @param {string} [reason] stop, length, tool … */
    async done(reason = this.#story.finishReason) {
        await this.#end(() => this.#story.done(reason));
        if (this.#story.failure) throw this.#story.failure;
        if (this.cancelled && !this.#onCancel) throw new Cancelled(this.runId);
    }

    /** Ends the run with an `error`. @param {unknown} error */
    async error(error) {
        await this.#end(() => this.#story.end('error', errorContent(error)));
        if (this.#story.failure) throw this.#story.failure;
    }

    /**
     * The body of run() has thrown this: says so to the readers. Answers what the caller
     * gets instead, when the run was cancelled.
     * @param {any} error
     */
    async failed(error) {
        const aborted = error?.name === 'AbortError';
        await this.#end(() => (aborted ? this.#story.stopped()
            : this.#story.end('error', errorContent(error))));
        if (this.cancelled && !this.#onCancel && !(error instanceof Cancelled)) {
            return new Cancelled(this.runId, { cause: error });
        }
        return null;
    }

    /** @param {() => void} say */
    async #end(say) {
        if (!this.#story.failure && !this.#story.ending) {
            if (this.cancelled) this.#story.stopped(); // whatever else came of it
            else say();
        }
        this.#news.ring();
        await this.#sender;
    }

    /** @param {() => void} add @returns {Promise<void>} */
    #say(add) {
        add(); // throws here, and not in a promise that nobody waits for
        this.#news.ring();
        return this.#until(() => this.#story.waitingBytes <= WAITING_MAX_BYTES);
    }

    /** @param {() => boolean} condition */
    async #until(condition) {
        while (!this.#story.failure && !condition()) await this.#changed.wait();
    }

    /** The control hears that somebody cancels this run. */
    #cancel() {
        if (!this.#story.cancel()) return;
        let told = false;
        try {
            this.#onCancel?.();
            told = this.#onCancel !== undefined;
        } catch (error) {
            process.emitWarning(`onCancel threw: the run is ended instead: ${error}`);
            this.#onCancel = undefined;
        }
        if (!told && !this.#story.failure && !this.#story.ending) {
            this.#story.stopped();
            this.#news.ring();
        }
        this.#abort.abort(new Cancelled(this.runId));
    }

    // The sender.

    async #sendAll() {
        const story = this.#story;
        const link = new Link(this.#client, 'publish', this.#life);
        try {
            while (await this.#wait()) {
                const call = story.take(performance.now());
                if (!call) {
                    await link.beat();
                    continue;
                }
                const reply = await link.deliver(call, this.#giveUpMs, true);
                const end = reply[0] === 'ENDED'
                    ? await link.event(story.place.key('log'), reply[1]) : undefined;
                story.answered(reply, end);
                this.#changed.ring();
            }
        } catch (error) {
            story.failure ??= error instanceof ThreadcastError ? error : lasting(error);
        }
        await link.leave();
        this.#control?.leave(this.#hearer); // nothing of it keeps the process alive
        this.#changed.ring();
        if (story.failure) this.#abort.abort(story.failure);
    }

    /** For the time to send something, a sign of life if nothing else. False: over. */
    async #wait() {
        const story = this.#story;
        while (!story.over && !story.failure) {
            const now = performance.now();
            const ms = Math.min(story.waitMs(now), story.begun ? this.#life.due - now : Infinity);
            if (ms <= 0) return true;
            await this.#news.wait(ms);
        }
        return false;
    }
}
