// Control: the subscription to threadcast:control, the channel on which everybody asks
// publishers to cancel a run. One connection for all open runs of a client.

import { Bell } from './bell.js';
import { Refused } from './errors.js';
import { connect, delays } from './link.js';
import { gaveUp, lasting, passes } from './script.js';

/** so long may it be quiet before it is asked whether it is still there */
const PING_MS = 5000;
const HINT_MAX_BYTES = 1024;

/** @typedef {import('ioredis').Redis} Redis */
/** @typedef {{ runId: string, cancel: () => void }} Hearer */

/** @type {WeakMap<Redis, Map<string, Control>>} */
const controls = new WeakMap();

/** The id of the run to cancel; undefined for anything else. @param {string} hint */
export function cancels(hint) {
    if (Buffer.byteLength(hint) > HINT_MAX_BYTES) return undefined;
    try {
        const said = JSON.parse(hint);
        return said?.type === 'cancel' && typeof said.runId === 'string' ? said.runId : undefined;
    } catch {
        return undefined;
    }
}

/**
 * Answers when cancels of the run are heard.
 * @param {Redis} client @param {string} prefix @param {Hearer} hearer @param {number} giveUpMs
 */
export async function subscribe(client, prefix, hearer, giveUpMs) {
    const mine = controls.get(client) ?? new Map();
    controls.set(client, mine);
    const control = mine.get(prefix) ?? new Control(client, prefix, () => mine.delete(prefix));
    mine.set(prefix, control);
    control.join(hearer);
    try {
        await control.heard(giveUpMs);
    } catch (error) {
        control.leave(hearer);
        throw error;
    }
    return control;
}

export class Control {
    /** Two attempts of one run may be among them. @type {Set<Hearer>} */
    hearers = new Set();
    #client;
    #channel;
    #forget;
    #news = new Bell();
    #subscribed = false;
    /** @type {Error | null} */
    #refused = null;
    /** @type {unknown} */
    #trouble = null;
    /** @type {Redis | null} */
    #redis = null;

    /** @param {Redis} client @param {string} prefix @param {() => void} forget */
    constructor(client, prefix, forget) {
        this.#client = client;
        this.#channel = `${prefix}threadcast:control`;
        this.#forget = forget;
    }

    /** @param {Hearer} hearer */
    join(hearer) {
        this.hearers.add(hearer);
        if (this.hearers.size === 1) this.#listen();
    }

    /** @param {number} giveUpMs */
    async heard(giveUpMs) {
        const end = performance.now() + giveUpMs;
        while (!this.#subscribed) {
            const left = end - performance.now();
            if (this.#refused) throw this.#refused;
            if (left <= 0 && this.#trouble) throw gaveUp(this.#trouble, giveUpMs); // tried once
            await this.#news.wait(left > 0 ? left : Infinity);
        }
    }

    /** @param {Hearer} hearer */
    leave(hearer) {
        if (!this.hearers.delete(hearer) || this.hearers.size) return;
        this.#forget(); // from now on nobody joins
        this.#redis?.disconnect();
        this.#news.ring();
    }

    async #listen() {
        let pauses = delays();
        while (this.hearers.size) {
            try {
                const redis = await this.#open();
                pauses = delays();
                await this.#hear(redis);
            } catch (error) {
                this.#lost(error);
            }
            if (this.hearers.size) await this.#news.wait(pauses.next().value);
        }
    }

    async #open() {
        const redis = await connect(this.#client, 'control');
        this.#redis = redis;
        redis.on('message', (_, hint) => this.#hint(hint));
        await redis.subscribe(this.#channel);
        this.#subscribed = true;
        this.#refused = null;
        this.#news.ring();
        return redis;
    }

    /** Until the connection is lost, or nobody wants to hear. @param {Redis} redis */
    async #hear(redis) {
        let over = redis.status !== 'ready';
        redis.once('close', () => {
            over = true;
            this.#news.ring();
        });
        while (!over && this.hearers.size) {
            await this.#news.wait(PING_MS);
            if (!over && this.hearers.size) await redis.ping();
        }
        redis.disconnect();
        throw new Error('the connection was closed');
    }

    /** @param {unknown} error */
    #lost(error) {
        this.#redis?.disconnect();
        this.#redis = null;
        this.#subscribed = false;
        this.#trouble = error;
        if (!passes(error)) this.#refused = new Refused(`${this.#channel}: ${lasting(error).message}`);
        this.#news.ring();
    }

    /** @param {string} hint */
    #hint(hint) {
        const runId = cancels(hint);
        for (const hearer of [...this.hearers]) {
            if (hearer.runId === runId) hearer.cancel();
        }
    }
}
