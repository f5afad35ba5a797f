// Link: one connection of our own to Redis and the run_id read over it, and the sign of
// life of the run whose connection it is.
//
// A run has one connection to itself, made from the settings of the client it was given:
// so the run_id in a call is always the one that was read over the connection that carries
// the call, and a Redis that was restarted is never published to under the old one. Nothing
// reconnects or queues by itself here: a connection that failed is dropped.

import os from 'node:os';
import { ThreadcastError } from './errors.js';
import { begins, command, gaveUp, hello, lasting, passes, TEXT } from './script.js';

const CONNECT_MS = 3000;
const ANSWER_MS = 5000;
const BACKOFF_FIRST_MS = 20;
const BACKOFF_MAX_MS = 1000;

/** @typedef {import('ioredis').Redis} Redis */
/** @typedef {import('./script.js').Call} Call */
/** @typedef {import('./life.js').Life} Life */

/** The name of this process: for Redis, and in the state of its runs. */
export function instance() {
    const host = os.hostname().replace(/[^A-Za-z0-9.-]/g, '-').slice(0, 40) || 'host';
    return `${host}-${process.pid}`;
}

/** How long to wait before trying again, and again. @returns {Generator<number, never>} */
export function* delays() {
    for (let most = BACKOFF_FIRST_MS; ; most = Math.min(most * 2, BACKOFF_MAX_MS)) {
        yield most * (0.5 + Math.random() / 2);
    }
}

/** @param {number} ms */
export const pause = (ms) => new Promise((resolve) => {
    setTimeout(resolve, ms);
});

/** @param {any} client @returns {Redis} */
export function checkClient(client) {
    if (!client || client.isCluster || typeof client.duplicate !== 'function' ||
        typeof client.call !== 'function') {
        throw new TypeError('the client is a Redis of ioredis (and no Cluster)');
    }
    return client;
}

/**
 * A connection like the client's, but our own.
 * @param {Redis} client @param {string} job @returns {Promise<Redis>}
 */
export async function connect(client, job) {
    const { options } = client;
    const redis = client.duplicate({
        connectionName: `threadcast-node:${instance()}:${job}`,
        keyPrefix: '', // ours stands in the calls
        lazyConnect: true,
        enableReadyCheck: false, // hello() asks
        enableOfflineQueue: false,
        enableAutoPipelining: false,
        autoResubscribe: false,
        autoResendUnfulfilledCommands: false,
        disableClientInfo: true,
        reconnectOnError: null,
        retryStrategy: () => null,
        sentinelRetryStrategy: () => null,
        maxRetriesPerRequest: null,
        connectTimeout: Math.min(options.connectTimeout ?? CONNECT_MS, CONNECT_MS),
        commandTimeout: options.commandTimeout ?? ANSWER_MS,
    });
    /** what was wrong, where the rejection only says that it is closed @type {unknown} */
    let trouble;
    redis.on('error', (error) => {
        trouble = error;
    });
    try {
        await redis.connect();
    } catch (error) {
        redis.disconnect();
        throw trouble ?? error;
    }
    if (/** @type {any} */ (trouble)?.name === 'ReplyError') { // a password
        redis.disconnect();
        throw trouble;
    }
    return redis;
}

export class Link {
    #client;
    #job;
    #life;
    /** @type {Redis | null} */
    #redis = null;
    #redisRunId = '';

    /** @param {Redis} client @param {string} job @param {Life | null} [life] */
    constructor(client, job, life = null) {
        this.#client = client;
        this.#job = job;
        this.#life = life;
    }

    /** @param {string} name @param {...(string | number)} args @returns {Promise<any>} */
    #ask(name, ...args) {
        return /** @type {Redis} */ (this.#redis).call(name, ...args);
    }

    async #connected() {
        if (this.#redis?.status === 'ready') return;
        this.close();
        this.#redis = await connect(this.#client, this.#job);
        this.#redisRunId = hello(await this.#ask('INFO', 'server'));
        if (this.#life) this.#life.due = 0; // this Redis may not know of it
    }

    /** @param {Life} life */
    async #beat(life) {
        const at = performance.now();
        const [name, ...args] = life.beat();
        await this.#ask(String(name), ...args);
        life.beaten(at);
    }

    /** One try. After any failure the connection is gone. @param {Call} call @returns {Promise<string[]>} */
    async send(call) {
        try {
            await this.#connected();
            const life = this.#life;
            if (life && (begins(call) || performance.now() >= life.due)) await this.#beat(life);
            call.tries++;
            const [name, ...args] = command(call, this.#redisRunId);
            try {
                return (await this.#ask(String(name), ...args)).map(String);
            } catch (error) {
                if (!String(/** @type {any} */ (error)?.message).startsWith('NOSCRIPT')) throw error;
            }
            await this.#ask('SCRIPT', 'LOAD', TEXT);
            return (await this.#ask(String(name), ...args)).map(String);
        } catch (error) {
            this.close();
            throw error;
        }
    }

    /**
     * Sends the same call until it is answered. `again`: it may be sent again though it may
     * have arrived.
     * @param {Call} call @param {number} giveUpMs @param {boolean} again
     * @returns {Promise<string[]>}
     */
    async deliver(call, giveUpMs, again) {
        const end = performance.now() + giveUpMs;
        for (const delay of delays()) {
            try {
                return await this.send(call);
            } catch (error) {
                if (error instanceof ThreadcastError) throw error;
                if (!passes(error)) throw lasting(error);
                if (performance.now() + delay > end || (!again && call.tries)) {
                    throw gaveUp(error, giveUpMs);
                }
            }
            await pause(delay);
        }
        throw new Error('delays() never ends');
    }

    /** Gives the sign of life, when nothing else is said. Redis away: later. */
    async beat() {
        const life = /** @type {Life} */ (this.#life);
        try {
            await this.#connected();
            await this.#beat(life);
        } catch (error) {
            this.close();
            if (error instanceof ThreadcastError) throw error;
            if (!passes(error)) throw lasting(error);
            life.missed(performance.now());
        }
    }

    /**
     * An event that is in the log; undefined when it cannot be had.
     * @param {string} log @param {string} id @returns {Promise<string | undefined>}
     */
    async event(log, id) {
        try {
            const found = await this.#ask('XRANGE', log, id, id);
            return String(found[0][1][1]);
        } catch {
            return undefined;
        }
    }

    /** The run is over, or given up: no more signs of life. */
    async leave() {
        try {
            const [name, ...args] = this.#life?.end() ?? [];
            if (name && this.#redis?.status === 'ready') await this.#ask(String(name), ...args);
        } catch {
            // it expires
        }
        this.close();
    }

    close() {
        this.#redis?.disconnect();
        this.#redis = null;
    }
}
