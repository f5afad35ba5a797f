// publish.lua: its text, its SHA, its keys and arguments (see docs/PUBLISHING.md), and what
// its errors mean.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { checkWhole } from './event.js';
import { Refused, Unavailable } from './errors.js';

export const TEXT = fs.readFileSync(new URL('../publish.lua', import.meta.url), 'utf8');
export const SHA = createHash('sha1').update(TEXT).digest('hex');

/**
 * How much of a thread Redis keeps. The same for all publishers of a thread.
 * @typedef {{ maxEvents: number, maxBytes: number, ttlS: number }} Limits
 */

/** Where a thread's events go. */
export class Place {
    /** @param {string} thread @param {string} prefix @param {Partial<Limits>} [limits] */
    constructor(thread, prefix, { maxEvents = 20_000, maxBytes = 16 << 20, ttlS = 86_400 } = {}) {
        this.thread = thread;
        this.prefix = prefix;
        /** @type {Limits} */
        this.limits = { maxEvents: checkWhole('maxEvents', maxEvents, 1),
                        maxBytes: checkWhole('maxBytes', maxBytes, 1),
                        ttlS: checkWhole('ttlS', ttlS, 1) };
    }

    /** @param {string} name */
    key(name) {
        return `${this.prefix}{thread:${this.thread}}:${name}`;
    }

    get channel() {
        return `${this.prefix}thread:${this.thread}`;
    }
}

/**
 * One call of the script: never changed, so that it can be sent again.
 * @typedef {object} Call
 * @property {Place} place
 * @property {'begin' | 'publish' | 'end' | 'beginend' | 'outside'} mode
 * @property {string} run
 * @property {number} attempt
 * @property {number} number of its first event
 * @property {string} worker
 * @property {string[]} events
 * @property {string} [once]
 * @property {string} [terminal] the last of `events`, when it ends the run
 * @property {number} tries
 */

/** @param {Call} call */
export const begins = (call) => call.mode.startsWith('begin');

/** @param {Call} call */
export const ends = (call) => call.mode.endsWith('end');

/** @param {Call} call @param {string} redisRunId @returns {(string | number)[]} */
export function command({ place, once, ...call }, redisRunId) {
    const { maxEvents, maxBytes, ttlS } = place.limits;
    const keys = [place.key('log'), place.key('state')];
    if (once) keys.push(place.key(`once:${once}`));
    return ['EVALSHA', SHA, keys.length, ...keys, '1', call.mode, place.channel, maxEvents,
            maxBytes, ttlS, redisRunId, call.run, call.attempt, call.number, call.worker,
            ...call.events];
}

/** The run_id from INFO server; Refused when this Redis is too old. @param {unknown} info */
export function hello(info) {
    const text = String(info);
    const version = /^redis_version:(\S+)/m.exec(text)?.[1] ?? '0';
    const runId = /^run_id:(\S+)/m.exec(text)?.[1];
    if (!runId || Number.parseInt(version, 10) < 7) {
        throw new Refused(`Redis 7.0 or newer is needed, this is ${version}`);
    }
    return runId;
}

// Refusals that pass: a restart, a failover, a full memory or disk.
const PASSING = new RegExp('^(ERR )?(OOM|MISCONF|NOREPLICAS|READONLY|MASTERDOWN|CLUSTERDOWN|' +
    'TRYAGAIN|LOADING|BUSY|max number of clients)|maxmemory');

/** Is it worth sending the same call again later? @param {any} error */
export function passes(error) {
    if (error?.name === 'ReplyError') return PASSING.test(error.message);
    return !(error instanceof TypeError || error instanceof RangeError);
}

/** @param {any} error */
export function lasting(error) {
    return new Refused(String(error?.message ?? error), { cause: error });
}

/** @param {any} error @param {number} ms */
export function gaveUp(error, ms) {
    return new Unavailable(`no answer from Redis for ${ms} ms: ${error?.message ?? error}`,
                           { cause: error });
}
