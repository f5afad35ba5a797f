// What must be as it was when bad input has passed: descriptors, connections to Redis and
// PostgreSQL, memory within a budget, and a daemon that serves.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { until } from '../e2e/lib/until.mjs';
import { ask, metricsOf } from './ask.mjs';

/** how far the resident memory of a daemon may stand above where it began; the builds with
 *  ASan keep freed memory aside, so their quarantine is made small (see QUARANTINE) */
export const BUDGET_BYTES = 48 << 20;

/** for the environment of the daemons */
export const QUARANTINE = {
    ASAN_OPTIONS: 'detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:' +
        'quarantine_size_mb=4:thread_local_quarantine_size_kb=64:allocator_release_to_os_interval_ms=100',
};

/** @param {number} pid */
const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;

/** @param {number} pid */
function residentBytes(pid) {
    const line = /VmRSS:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
    return Number(line?.[1]) * 1024;
}

/** A line that does not begin as ours do, or holds a control character. @param {string} log */
const forgedLine = (log) => log.split('\n').slice(0, -1)
    .find((line) => !/^\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info|warn|error) /.test(line) || /[\0-\x1f\x7f]/.test(line));

/** @typedef {import('../e2e/harness.mjs').Stack} Stack */

export class Steady {
    /** @type {Map<number, { name: string, descriptors: number, resident: number }>} */
    #before = new Map();
    /** @type {Record<string, number>} */
    #redis = {};
    #postgres = 0;

    /** @param {Stack} stack */
    constructor(stack) {
        this.stack = stack;
    }

    /** @param {Stack} stack */
    static async of(stack) {
        const steady = new Steady(stack);
        await steady.begin();
        return steady;
    }

    get #daemons() {
        return [...this.stack.bridges, ...this.stack.workers].filter((daemon) => daemon.child.running);
    }

    /** Named connections of the daemons, by what they are for: `bridge subscribe` → 1. */
    async #redisConnections() {
        const list = String(await this.stack.redis.client.client('LIST'));
        /** @type {Record<string, number>} */
        const found = {};
        for (const [, kind, job] of list.matchAll(/ name=threadcast-(\w+):\w+:(\S+)/g)) {
            const name = `${kind} ${job}`;
            found[name] = (found[name] ?? 0) + 1;
        }
        return found;
    }

    async #postgresConnections() {
        if (!this.stack.postgres) return 0;
        const [row] = await this.stack.pg.query(
            `select count(*)::int as n from pg_stat_activity where application_name like 'threadcast%'`);
        return row.n;
    }

    /** Takes what is now for how it has to be, when nobody is connected any more (the last to
     *  go are we, who asked). */
    async begin() {
        for (const { port } of this.stack.bridges)
            await until(async () => (await metricsOf(port)).connections === 1, { what: 'only we are connected' });
        let same = 0;
        let last = '';
        await until(() => {
            const now = this.#daemons.map(({ child }) => descriptors(child.pid)).join();
            same = now === last ? same + 1 : 0;
            last = now;
            return same > 10;
        });
        for (const { child } of this.#daemons) {
            this.#before.set(child.pid, { name: child.name, descriptors: descriptors(child.pid),
                                          resident: residentBytes(child.pid) });
        }
        this.#redis = await this.#redisConnections();
        this.#postgres = await this.#postgresConnections();
    }

    /** What differs now, in words; '' when nothing does. */
    async #differs() {
        const words = [];
        for (const { child } of this.#daemons) {
            const before = this.#before.get(child.pid);
            if (!before) {
                words.push(`${child.name} is another process`);
                continue;
            }
            const [open, resident] = [descriptors(child.pid), residentBytes(child.pid)];
            if (open !== before.descriptors)
                words.push(`${child.name}: ${open} descriptors, not ${before.descriptors}`);
            if (resident > before.resident + BUDGET_BYTES)
                words.push(`${child.name}: ${resident >> 20} MB, began with ${before.resident >> 20}`);
        }
        const redis = await this.#redisConnections();
        if (JSON.stringify(Object.entries(redis).sort()) !== JSON.stringify(Object.entries(this.#redis).sort()))
            words.push(`Redis: ${JSON.stringify(redis)}, not ${JSON.stringify(this.#redis)}`);
        const postgres = await this.#postgresConnections();
        if (postgres !== this.#postgres) words.push(`PostgreSQL: ${postgres} connections, not ${this.#postgres}`);
        return words.join('; ');
    }

    /** A good request works, and everything is as it was (connections end a little later). */
    async check() {
        for (const { child } of this.#daemons) {
            assert.equal(child.sanitizerReport(), '');
            assert.equal(forgedLine(child.output), undefined, `${child.name}: a line in its log that it did not write so`);
        }
        assert.ok(this.#daemons.length >= this.#before.size, `a daemon has gone\n${this.stack.logs()}`);
        for (const bridge of this.stack.bridges) assert.equal((await ask(bridge.port, 'GET', '/readyz')).status, 200);
        let differs = '';
        await until(async () => (differs = await this.#differs()) === '', { every: 50, what: () => differs });
    }

    /** megabytes above the beginning, of each daemon: for the report */
    get growth() {
        return this.#daemons.map(({ child }) => {
            const before = this.#before.get(child.pid)?.resident ?? 0;
            return `${child.name} ${((residentBytes(child.pid) - before) / (1 << 20)).toFixed(1)} MB`;
        }).join(', ');
    }
}
