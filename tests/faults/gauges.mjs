// What must come back to where it began: descriptors, memory, connections.
//
// It began with daemons that had just been started and had nothing to do. When the faults
// are over, the readers have left and no agent runs, each daemon that lives then, however
// old it is, may have no descriptor more than those had (a worker: and its agents' hosts),
// and memory near theirs. Some daemons are never killed (`World.lasting`): a leak that
// takes minutes shows in them.

import fs from 'node:fs';
import { until } from '../e2e/harness.mjs';
import { HOST_DESCRIPTORS, HOSTS } from './world.mjs';

/** @typedef {import('./world.mjs').World} World */

const EVERY_MS = 2000;
/** how long what was given back may take to be gone */
const GONE_MS = 30_000;
/**
 * What a daemon may have more than a fresh one when all have left. malloc gives back only the top of its heap, so what
 * stays is about the most that was ever held at once: 5 to 8 MB with 2,000 readers. A connection that is not freed costs
 * some KB, a soak makes 15,000 of them a minute: a leak is beyond this within two minutes.
 */
const MORE_MB = 16;
/**
 * Who lived through so much of the load without its first third (a soak of five minutes) may not grow faster than this.
 * In less, one moment with more readers than before is all of the slope: then it is told, and the memory above decides.
 */
const SLOPE_MS = 180_000;
const SLOPE_KB_MIN = 2048;
/** AddressSanitizer reserves terabytes, and keeps freed memory in quarantine: that build's says nothing */
const SANITIZED_KB = 1e9;

/** What a process has of its own; zeros when it has gone. @param {number} pid */
function usage(pid) {
    try {
        const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
        const kb = (/** @type {string} */ name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
        return { kb: kb('RssAnon'), sanitized: kb('VmSize') > SANITIZED_KB, fds: fs.readdirSync(`/proc/${pid}/fd`).length };
    } catch {
        return { kb: 0, sanitized: false, fds: 0 };
    }
}

const mb = (/** @type {number} */ kb) => (kb / 1024).toFixed(1);

/** Kilobytes a minute, by least squares. @param {{ at: number, kb: number }[]} samples */
export function slope(samples) {
    const n = samples.length;
    if (n < 3) return 0;
    const x = samples.reduce((sum, { at }) => sum + at, 0) / n;
    const y = samples.reduce((sum, { kb }) => sum + kb, 0) / n;
    const up = samples.reduce((sum, { at, kb }) => sum + (at - x) * (kb - y), 0);
    const down = samples.reduce((sum, { at }) => sum + (at - x) ** 2, 0);
    return down ? up / down * 60_000 : 0;
}

/** @typedef {{ began: number, samples: { at: number, kb: number, fds: number }[] }} Life */

export class Gauges {
    /** @type {Map<number, Life>} by pid */
    #lives = new Map();
    #timer;
    #before = { redis: 0, postgres: 0 };
    /** @type {Record<string, { kb: number, fds: number, sanitized: boolean }>} of each kind: a fresh, idle one */
    #fresh = {};

    /** @param {World} world */
    constructor(world) {
        this.world = world;
    }

    /** Looks at daemons that have just been started, and from then on at all of them. @param {World} world */
    static async start(world) {
        const gauges = new Gauges(world);
        let seen = '';
        await until(async () => { // pools fill up behind `ready`
            const before = seen;
            gauges.#before = await gauges.#connections();
            gauges.#fresh = Object.fromEntries(gauges.#daemons().map(({ kind, child }) => [kind, usage(child.pid)]));
            seen = JSON.stringify([gauges.#before, Object.values(gauges.#fresh).map(({ fds }) => fds)]);
            return seen === before;
        }, { every: 300, what: () => `the fresh daemons are at rest: ${seen}` });
        gauges.#sample();
        gauges.#timer = setInterval(() => gauges.#sample(), EVERY_MS).unref();
        return gauges;
    }

    stop() {
        clearInterval(this.#timer);
    }

    #daemons() {
        return [...this.world.allBridges, ...this.world.allWorkers].filter(({ child }) => child.running);
    }

    #sample() {
        for (const { child: { pid } } of this.#daemons()) {
            const at = performance.now();
            if (!this.#lives.has(pid)) this.#lives.set(pid, { began: at, samples: [] });
            const { kb, fds } = usage(pid);
            if (fds) this.#lives.get(pid)?.samples.push({ at, kb, fds });
        }
    }

    async #connections() {
        const clients = String(await this.world.redis.client.call('CLIENT', 'LIST'));
        const [{ n }] = await this.world.stack.pg.query(
            `select count(*)::int as n from pg_stat_activity where application_name like 'threadcast-%'`);
        return { redis: clients.split('\n').filter((line) => / name=threadcast-/.test(line)).length, postgres: n };
    }

    line() {
        return this.#daemons().map(({ kind, child }) => `${kind} ${mb(usage(child.pid).kb)} MB`).join(' ');
    }

    /** The most descriptors that an idle one may have. @param {string} kind */
    #allowed(kind) {
        return this.#fresh[kind].fds + (kind === 'worker' ? HOSTS * HOST_DESCRIPTORS : 0);
    }

    /** Sends the readers away, waits, and answers lines for the summary; one that begins with LEAK is a finding. */
    async end() {
        this.#sample();
        this.stop(); // what comes now is no load
        this.world.farm.say('close all');
        const same = (now) => now.redis === this.#before.redis && now.postgres === this.#before.postgres;
        const much = () => this.#daemons().filter(({ kind, child }) => usage(child.pid).fds > this.#allowed(kind));
        let now = await this.#connections();
        await until(async () => same(now = await this.#connections()) && !much().length, { timeout: GONE_MS }).catch(() => {});
        return [`${same(now) ? '' : 'LEAK '}Redis clients ${this.#before.redis} → ${now.redis}, ` +
                `Postgres backends ${this.#before.postgres} → ${now.postgres}`,
                ...this.#daemons().map((daemon) => this.#judge(daemon))];
    }

    /** @param {import('./world.mjs').Bridge | import('./world.mjs').Worker} daemon */
    #judge({ kind, child: { pid } }) {
        const { began, samples } = this.#lives.get(pid) ?? { began: performance.now(), samples: [] };
        const fresh = this.#fresh[kind], now = usage(pid), allowed = this.#allowed(kind);
        const later = samples.slice(Math.floor(samples.length / 3)); // warm by then
        const judged = later.length > 2 && later[later.length - 1].at - later[0].at >= SLOPE_MS && !fresh.sanitized;
        const rise = slope(later);
        const leaks = [now.fds > allowed && 'descriptors', !fresh.sanitized && now.kb > fresh.kb + MORE_MB * 1024 && 'memory',
                       judged && rise > SLOPE_KB_MIN && 'slope'].filter(Boolean);
        const peak = (/** @type {'kb' | 'fds'} */ what) => samples.reduce((most, one) => Math.max(most, one[what]), 0);
        return `${leaks.length ? `LEAK (${leaks.join(', ')}) ` : ''}${kind} ${pid}, ${Math.round((performance.now() - began) / 1000)} s old: ` +
               `descriptors fresh ${fresh.fds}, most ${peak('fds')}, now ${now.fds} (allowed ${allowed}); ` +
               `memory fresh ${mb(fresh.kb)}, most ${mb(peak('kb'))}, now ${mb(now.kb)} MB ` +
               (fresh.sanitized ? '(with a sanitizer: not judged)' : `(allowed ${mb(fresh.kb + MORE_MB * 1024)})`) +
               `, ${rise.toFixed(0)} KB/min (${judged ? `allowed ${SLOPE_KB_MIN}` : 'too young to judge'})`;
    }
}
