// A publisher in JavaScript over publish.lua, called as PROTOCOL.md says: the shortest
// one there is. Tests use it where the course of a run has to be exact.

import { createHash, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const SCRIPT = fs.readFileSync(path.resolve(path.dirname(fileURLToPath(import.meta.url)),
                                            '../../../common/publish.lua'));
const SHA = createHash('sha1').update(SCRIPT).digest('hex');

export class ScriptRun {
    /** the run's number of its next event */
    next = 1;
    #redisId = '';

    /**
     * @param {import('ioredis').Redis} redis
     * @param {string} thread
     * @param {{ run?: string, attempt?: number, message?: string, agent?: string, worker?: string,
     *           maxEvents?: number, maxBytes?: number }} [options]
     */
    constructor(redis, thread, { run = randomUUID(), attempt = 1, message = randomUUID(),
                                 agent = 'e2e', worker = 'e2e', maxEvents = 20_000,
                                 maxBytes = 16 << 20 } = {}) {
        this.redis = redis;
        this.thread = thread;
        this.id = run;
        this.attempt = attempt;
        this.message = message;
        this.agent = agent;
        this.worker = worker;
        this.limits = [maxEvents, maxBytes];
        /** the text of all tokens */
        this.text = '';
    }

    /**
     * @param {string} type
     * @param {unknown} content
     */
    event(type, content) {
        return { type, threadId: this.thread, content, ts: Date.now(), runId: this.id,
                 agentId: this.agent, messageId: this.message, attempt: this.attempt };
    }

    /**
     * One call of the script. Answers its reply, e.g. `['OK', '17…-1', '17…-3', '4']`.
     * @param {'begin' | 'publish' | 'end' | 'beginend'} mode
     * @param {object[]} events
     * @returns {Promise<string[]>}
     */
    async call(mode, events, number = this.next) {
        const { thread } = this;
        this.#redisId ||= /run_id:(\w+)/.exec(await this.redis.info('server'))?.[1] ?? '';
        const args = [2, `{thread:${thread}}:log`, `{thread:${thread}}:state`, '1', mode,
                      `thread:${thread}`, ...this.limits, 86_400, this.#redisId, this.id,
                      this.attempt, number, this.worker, ...events.map((event) => JSON.stringify(event))];
        let reply;
        try {
            reply = /** @type {string[]} */ (await this.redis.call('EVALSHA', SHA, ...args.map(String)));
        } catch (error) {
            if (!String(error).includes('NOSCRIPT')) throw error;
            reply = /** @type {string[]} */ (await this.redis.call('EVAL', SCRIPT, ...args.map(String)));
        }
        if (reply[0] === 'OK') this.next = Number(reply[3]);
        return reply;
    }

    async begin() {
        return this.#ok(await this.call('begin', [this.event('status', { status: 'started' })]));
    }

    /** @param {string[]} texts one token each, all in one call */
    async tokens(...texts) {
        const reply = await this.call('publish', texts.map((text) => this.event('token', text)));
        this.text += texts.join('');
        return this.#ok(reply);
    }

    /** @param {string} type @param {unknown} content */
    async publish(type, content) {
        return this.#ok(await this.call('publish', [this.event(type, content)]));
    }

    async done() {
        return this.#ok(await this.call('end', [this.event('done', {
            messageId: this.message, finishReason: 'stop', usage: { outputTokens: 1 } })]));
    }

    /** @param {string[]} reply */
    #ok(reply) {
        if (reply[0] !== 'OK') throw new Error(`publish.lua answered ${reply.join(' ')}`);
        return reply;
    }
}
