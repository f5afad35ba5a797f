// What must come back to where it began: memory, descriptors, connections.

import fs from 'node:fs';
import { until } from '../e2e/harness.mjs';

/** @typedef {import('./world.mjs').World} World */

const EVERY_MS = 5000;

/** Kilobytes of a process that are its own. @param {number} pid */
function memory(pid) {
    try {
        return Number(/^RssAnon:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
    } catch {
        return 0;
    }
}

/** @param {number} pid */
function descriptors(pid) {
    try {
        return fs.readdirSync(`/proc/${pid}/fd`).length;
    } catch {
        return 0;
    }
}

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

export class Gauges {
    /** @type {Map<number, { name: string, samples: { at: number, kb: number }[], fds: number }>} by pid: one life */
    #lives = new Map();
    #timer;
    #before = { redis: 0, postgres: 0 };

    /** @param {World} world */
    constructor(world) {
        this.world = world;
    }

    #daemons() {
        return [...this.world.bridges, ...this.world.workers].filter(({ child }) => child.running);
    }

    #sample() {
        for (const daemon of this.#daemons()) {
            const { pid } = daemon.child;
            if (!this.#lives.has(pid)) this.#lives.set(pid, { name: daemon.kind, samples: [], fds: descriptors(pid) });
            this.#lives.get(pid)?.samples.push({ at: performance.now(), kb: memory(pid) });
        }
    }

    async #connections() {
        const clients = String(await this.world.redis.client.call('CLIENT', 'LIST'));
        const [{ n }] = await this.world.stack.pg.query(
            `select count(*)::int as n from pg_stat_activity where application_name like 'threadcast-%'`);
        return { redis: clients.split('\n').filter((line) => / name=threadcast-/.test(line)).length, postgres: n };
    }

    async start() {
        this.#before = await this.#connections();
        this.#sample();
        this.#timer = setInterval(() => this.#sample(), EVERY_MS);
    }

    line() {
        return this.#daemons().map((daemon) => `${daemon.kind} ${Math.round(memory(daemon.child.pid) / 1024)} MB`).join(' ');
    }

    /** Lines for the summary; one that begins with LEAK is a finding. */
    async end() {
        clearInterval(this.#timer);
        this.#sample();
        const lines = [];
        const same = (now) => now.redis === this.#before.redis && now.postgres === this.#before.postgres;
        let now = await this.#connections();
        await until(async () => same(now = await this.#connections()), { timeout: 20_000 }).catch(() => {});
        lines.push(`${same(now) ? '' : 'LEAK '}Redis clients ${this.#before.redis} → ${now.redis}, ` +
                   `Postgres backends ${this.#before.postgres} → ${now.postgres}`);
        for (const daemon of this.#daemons()) {
            const life = this.#lives.get(daemon.child.pid);
            if (!life) continue;
            const later = life.samples.slice(Math.floor(life.samples.length / 3)); // warm by then
            const kb = slope(later);
            lines.push(`${daemon.kind} ${daemon.child.pid}: ${Math.round((life.samples[0]?.kb ?? 0) / 1024)} → ` +
                       `${Math.round((life.samples.at(-1)?.kb ?? 0) / 1024)} MB, ${kb.toFixed(0)} KB/min over ` +
                       `${life.samples.length} samples, descriptors ${life.fds} → ${descriptors(daemon.child.pid)}`);
        }
        return lines;
    }
}
