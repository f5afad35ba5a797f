// What must be as it was when bad input has passed. Behind each row (`row`): the process, its
// descriptors, memory within a budget, and a real request that is answered as before; behind each
// area (`check`) also what costs more: connections to Redis and PostgreSQL, logs, sanitizers.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { until } from '../e2e/lib/until.mjs';
import { ask, metricsOf } from './ask.mjs';

/** how far the resident memory of a daemon may stand above where it began; the builds with
 *  ASan keep freed memory aside, so their quarantine is made small (see QUARANTINE) */
export const BUDGET_BYTES = 48 << 20;

/** how soon a daemon has closed what a row left */
const ROW_MS = 5000;

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

/** a good prompt */
const GOOD = 'is all well?';

/** @typedef {import('../e2e/harness.mjs').Stack} Stack */
/** @typedef {import('../e2e/harness.mjs').Bridge} Bridge */
/** @typedef {import('../e2e/harness.mjs').Worker} Worker */

export class Steady {
    /** @type {Map<number, { name: string, descriptors: number, resident: number }>} */
    #before = new Map();
    /** @type {Record<string, number>} */
    #redis = {};
    #postgres = 0;
    /** a thread that no row means, and what its history has always been */
    #thread = '';
    #history = '';

    /** @param {Stack} stack @param {Map<Bridge, string>} tokens of ann, for bridges that do not take the stack's */
    constructor(stack, tokens) {
        this.stack = stack;
        this.tokens = tokens;
    }

    /** @param {Stack} stack @param {Map<Bridge, string>} [tokens] */
    static async of(stack, tokens = new Map()) {
        const steady = new Steady(stack, tokens);
        steady.#thread = await stack.thread();
        await steady.#work(steady.#thread);
        // the end is in PostgreSQL first: the history's cursor stands behind it when Redis has it, too
        await until(async () => {
            const [[last, [, event]]] = await stack.redis.client.xrevrange(`{thread:${steady.#thread}}:log`, '+', '-', 'COUNT', 1);
            steady.#history = (await steady.#ask(stack.bridge)).body;
            return JSON.parse(event).type === 'done' && JSON.parse(steady.#history).cursor === last;
        }, { what: () => steady.#history });
        const contents = JSON.parse(steady.#history).messages.map((/** @type {any} */ message) => message.content);
        assert.ok(contents.length === 2 && contents[0] === GOOD && contents[1].length > 0, steady.#history);
        await steady.begin();
        return steady;
    }

    /** @param {Bridge} bridge */
    #ask(bridge) {
        const token = this.tokens.get(bridge) ?? this.stack.token();
        return ask(bridge.port, 'GET', `/v1/threads/${this.#thread}/messages`, { token });
    }

    /** A good request, answered as ever. @param {Bridge} bridge */
    async #good(bridge) {
        const answer = await this.#ask(bridge);
        assert.deepEqual([answer.statuses, answer.body], [[200], this.#history], 'a good request');
    }

    /** A prompt that is answered. @param {string} thread */
    async #work(thread) {
        const posted = await ask(this.stack.bridge.port, 'POST', `/v1/threads/${thread}/messages`, {
            token: this.stack.token(), headers: [['Content-Type', 'application/json']], body: JSON.stringify({ content: GOOD }) });
        assert.equal(posted.status, 202, `a good prompt: ${posted.text}`);
        const { status } = await this.stack.ended(posted.json.runId);
        const text = await this.stack.messageText(posted.json.runs[0].messageId);
        assert.ok(status === 'done' && text, `a good prompt is ${status}: ${text}`);
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

    /** What differs of a process now, in words. @param {Bridge | Worker} daemon @param {number} streams */
    #differsOf({ child }, streams) {
        if (!child.running) return [`${child.name} has gone`];
        const before = this.#before.get(child.pid);
        if (!before) return [`${child.name} is another process`];
        const [open, resident] = [descriptors(child.pid) - streams, residentBytes(child.pid)];
        return [
            ...(open !== before.descriptors ? [`${child.name}: ${open} descriptors, not ${before.descriptors}`] : []),
            ...(resident > before.resident + BUDGET_BYTES
                ? [`${child.name}: ${resident >> 20} MB, began with ${before.resident >> 20}`] : []),
        ];
    }

    /** How many descriptors a daemon has beyond those that it began with. @param {Bridge | Worker} daemon */
    held({ child }) {
        return descriptors(child.pid) - (this.#before.get(child.pid)?.descriptors ?? 0);
    }

    /** What differs now, in words; '' when nothing does. */
    async #differs() {
        const words = this.#daemons.flatMap((daemon) => this.#differsOf(daemon, 0));
        const redis = await this.#redisConnections();
        if (JSON.stringify(Object.entries(redis).sort()) !== JSON.stringify(Object.entries(this.#redis).sort()))
            words.push(`Redis: ${JSON.stringify(redis)}, not ${JSON.stringify(this.#redis)}`);
        const postgres = await this.#postgresConnections();
        if (postgres !== this.#postgres) words.push(`PostgreSQL: ${postgres} connections, not ${this.#postgres}`);
        return words.join('; ');
    }

    /**
     * Behind a row: a good request to its bridge is answered, and bridge and worker are the
     * processes that they were, with the descriptors and the memory that they had.
     * @param {string} name
     * @param {{ bridge?: Bridge, streams?: number, worker?: boolean | Worker, held?: number, timeout?: number }} [where]
     *   `streams`: connections to the bridge that the area holds itself; `worker`: the row went
     *   there, too: true, and a prompt is answered as well, or this one, with `held` more descriptors
     */
    async row(name, { bridge = this.stack.bridge, streams = 0, worker = false, held = 0, timeout = ROW_MS } = {}) {
        const workers = worker === true ? this.stack.workers : worker ? [worker] : [];
        const differs = () => [...this.#differsOf(bridge, streams), ...workers.flatMap((one) => this.#differsOf(one, held))].join('; ');
        try {
            assert.ok(bridge.child.running, differs());
            await this.#good(bridge);
            if (worker === true) await this.#work(await this.stack.thread());
            await until(() => differs() === '', { every: 1, timeout, what: differs });
        } catch (error) {
            throw new Error(`behind ${name}: ${/** @type {Error} */ (error).message}`, { cause: error });
        }
    }

    /** Behind an area: a good request works, and everything is as it was (connections end a little later). */
    async check() {
        for (const { child } of this.#daemons) {
            assert.equal(child.sanitizerReport(), '');
            assert.equal(forgedLine(child.output), undefined, `${child.name}: a line in its log that it did not write so`);
        }
        assert.ok(this.#daemons.length >= this.#before.size, `a daemon has gone\n${this.stack.logs()}`);
        for (const bridge of this.stack.bridges) {
            assert.equal((await ask(bridge.port, 'GET', '/readyz')).status, 200);
            await this.#good(bridge);
        }
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
