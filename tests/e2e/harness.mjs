// The stack under test: a Redis, a PostgreSQL, workers and bridges, all real, on ports and
// sockets that nobody else uses.
//
//     const stack = await Stack.start({ demo: true });
//     const posted = await stack.post('t1', 'hello', { sub: 'ann' });
//     const stream = stack.events(`/v1/threads/t1/events?since=${posted.cursor}`, { sub: 'ann' });
//     await stream.type('done');
//     await stack.stop();       // asserts: exit 0 in time, no sanitizer report, no secret
//
// The programs come from THREADCAST_BIN (default: build/asan/bin, else build/release/bin).

import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { claimsOf, Signer } from './lib/jwt.mjs';
import { leaks } from './lib/leaks.mjs';
import { Child, complain, run } from './lib/process.mjs';
import { freePort, Postgres, RedisServer } from './lib/servers.mjs';
import { SseStream } from './lib/sse.mjs';
import { PATIENCE_MS, until } from './lib/until.mjs';

export { claimsOf, Signer, base64url } from './lib/jwt.mjs';
export { Child, run } from './lib/process.mjs';
export { Proxy } from './lib/proxy.mjs';
export { freePort, Postgres, RedisServer } from './lib/servers.mjs';
export { SseParser, SseStream, textOf } from './lib/sse.mjs';
export { PATIENCE_MS, until, within } from './lib/until.mjs';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const BIN = process.env.THREADCAST_BIN ??
    ['asan', 'release', 'dev'].map((preset) => path.join(ROOT, 'build', preset, 'bin'))
        .find((dir) => fs.existsSync(dir)) ?? path.join(ROOT, 'build/release/bin');

/** THREADCAST_VALGRIND=1 runs the daemons in it; what it finds makes them exit with 9 */
const VALGRIND = process.env.THREADCAST_VALGRIND
    ? ['valgrind', '--quiet', '--error-exitcode=9', '--leak-check=full',
       '--errors-for-leak-kinds=definite'] : [];

/** @typedef {Record<string, string | number | boolean>} Options `{'keepalive-ms': 100}` */

/** @param {Options} options */
function flags(options) {
    return Object.entries(options).flatMap(([name, value]) =>
        value === true ? [`--${name}`] : value === false ? [] : [`--${name}`, String(value)]);
}

/**
 * How a daemon is started, when not simply so.
 * @typedef {object} Start
 * @property {string[]} [via] a command that ends by becoming the daemon: `['prlimit', …]`
 * @property {boolean} [mute] its log cannot be read; ready is what its own routes say
 */

/** A bridge or a worker. */
class Daemon {
    /** @type {Child} */
    child;
    /** output of earlier lives */
    #before = '';

    /**
     * @param {Stack} stack
     * @param {'bridge' | 'worker'} kind
     * @param {Options} options
     * @param {Record<string, string>} env
     * @param {Start} [start]
     */
    constructor(stack, kind, options, env, { via = [], mute = false } = {}) {
        this.stack = stack;
        this.via = via;
        this.mute = mute;
        this.kind = kind;
        this.options = options;
        this.env = env;
        /** a test that kills it says so, and `stop` expects nothing of it */
        this.forgiven = false;
        this.child = this.#spawn();
    }

    #spawn() {
        const [command, ...args] = [...VALGRIND, ...this.via, path.join(BIN, `threadcast-${this.kind}`),
                                    ...flags(this.options)];
        return new Child(this.kind, command, args, { env: this.env });
    }

    get output() {
        return this.#before + this.child.output;
    }

    async kill() {
        await this.child.stop('SIGKILL');
    }

    /** Stops it in an orderly way; answers the milliseconds that took. */
    async stop() {
        return this.child.stop('SIGTERM');
    }

    async start() {
        this.#before += this.child.output;
        this.child = this.#spawn();
        await this.ready();
    }

    async restart() {
        await this.stop();
        await this.start();
    }

    async ready() {
        if (!this.mute) await this.child.line(/ info (ready|listening)\b/);
    }
}

export class Bridge extends Daemon {
    port = 0;

    async ready() {
        const [, port] = this.mute ? String(this.options.listen).match(/:(\d+)$/) ?? []
            : await this.child.line(/ info listening address=\S+:(\d+)/);
        this.port = Number(port);
        // the same port after a restart, so that clients find it again
        this.options = { ...this.options, listen: `127.0.0.1:${port}` };
        await until(async () => (await this.fetch('/readyz')).ok, {
            what: () => `the bridge is ready\n${this.child.tail()}` });
    }

    /** @param {string} to */
    url(to = '/') {
        return `http://127.0.0.1:${this.port}${to}`;
    }

    /** @param {string} to @param {RequestInit} [init] */
    fetch(to, init) {
        return fetch(this.url(to), init);
    }

    /** The numbers of /metrics: `{'threadcast_bridge_clients': 3, 'x{reason="slow"}': 0}`. */
    async metrics() {
        const text = await (await this.fetch('/metrics')).text();
        /** @type {Record<string, number>} */
        const found = {};
        for (const line of text.split('\n')) {
            const at = line.lastIndexOf(' ');
            if (at > 0 && !line.startsWith('#')) found[line.slice(0, at)] = Number(line.slice(at + 1));
        }
        return found;
    }
}

export class Worker extends Daemon {}

/**
 * @typedef {object} StackOptions
 * @property {boolean} [postgres] false: Redis alone, no worker
 * @property {boolean} [demo] the bridge's --demo
 * @property {Options} [bridge] options of the (first) bridge
 * @property {Options} [worker] options of the (first) worker
 * @property {number} [workers] how many; 0: none
 * @property {number} [bridges]
 * @property {Record<string, string>} [env] for both
 * @property {string[]} [redisArgs]
 * @property {import('./lib/jwt.mjs').Algorithm} [algorithm] of the tokens
 */

/** @typedef {{ sub?: string, read?: string[], write?: string[], seconds?: number,
 *              token?: string | null }} Who `token` null: nobody */

/** @type {Set<Stack>} */
const running = new Set();
// here, where the hook belongs to the file and not to the test that starts a stack
after(async () => {
    const results = await Promise.allSettled([...running].map((stack) => stack.stop()));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw /** @type {PromiseRejectedResult} */ (failed).reason;
});

export class Stack {
    /** @type {Bridge[]} */
    bridges = [];
    /** @type {Worker[]} */
    workers = [];
    /** @type {Set<string>} what must never be seen: in a log, a metric, an argument, a key */
    #secrets = new Set();
    /** @type {Set<SseStream>} */
    #streams = new Set();
    #stopped = false;

    /**
     * @param {string} dir
     * @param {RedisServer} redis
     * @param {Postgres | null} pg
     * @param {StackOptions} options
     */
    constructor(dir, redis, pg, options) {
        this.dir = dir;
        this.redis = redis;
        this.postgres = pg;
        this.options = options;
        this.signer = new Signer(options.algorithm ?? 'HS256');
        if (this.signer.secret) this.#secrets.add(this.signer.secret);
        if (pg) this.#secrets.add(pg.password);
    }

    /**
     * Starts everything; stops it when the test file ends, and fails the file when
     * something is wrong then.
     * @param {StackOptions} [options]
     */
    static async start(options = {}) {
        const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'threadcast-e2e-'));
        fs.chmodSync(dir, 0o755);
        const redis = new RedisServer(path.join(dir, 'redis'), await freePort(), options.redisArgs);
        const pg = options.postgres === false ? null : new Postgres(path.join(dir, 'postgres'));
        const stack = new Stack(dir, redis, pg, options);
        running.add(stack);
        try {
            await Promise.all([redis.start(), pg?.create().then(() => pg.start())]);
            if (pg) await stack.migrate();
            const workers = pg ? options.workers ?? 1 : 0;
            const starts = [];
            for (let i = 0; i < workers; i++) starts.push(stack.startWorker(options.worker));
            for (let i = 0; i < (options.bridges ?? 1); i++) starts.push(stack.startBridge(options.bridge));
            await Promise.all(starts);
        } catch (error) {
            console.error(stack.logs());
            await stack.#tearDown();
            throw error;
        }
        return stack;
    }

    get bridge() {
        return this.bridges[0];
    }

    get worker() {
        return this.workers[0];
    }

    get pg() {
        if (!this.postgres) throw new Error('this stack has no PostgreSQL');
        return this.postgres;
    }

    /** @param {Record<string, string>} [more] */
    env(more = {}) {
        return {
            REDIS_URL: this.redis.url,
            ...(this.postgres && { DATABASE_URL: this.postgres.url }),
            ...this.options.env, ...more,
        };
    }

    /** `threadcast-worker migrate` */
    async migrate() {
        const result = await run(path.join(BIN, 'threadcast-worker'), ['migrate'], { env: this.env() });
        assert.equal(result.code, 0, `migrate: ${result.stdout}${result.stderr}`);
        return result;
    }

    /**
     * @param {Options} [options]
     * @param {Record<string, string>} [env]
     * @param {Start} [start]
     */
    async startBridge(options = {}, env = {}, start = {}) {
        /** @type {Record<string, string>} */
        const keys = {};
        if (options.auth === 'none') {
            // a key and no authentication exclude each other
        } else if (this.signer.secret) {
            keys.JWT_SECRET = this.signer.secret;
        } else {
            keys.JWT_PUBLIC_KEY_FILE = path.join(this.dir, 'public.pem');
            fs.writeFileSync(keys.JWT_PUBLIC_KEY_FILE, this.signer.publicPem);
        }
        const given = { listen: '127.0.0.1:0', 'app-dir': path.join(ROOT, 'app'), 'client-dir': path.join(ROOT, 'sdk/js/src'),
                        'upstream-timeout-ms': 5000, // a machine may stand still: who tests the wait sets it
                        ...(this.options.demo && { demo: true }), ...options };
        const bridge = new Bridge(this, 'bridge', given, this.env({ ...keys, ...env }), start);
        this.bridges.push(bridge);
        await bridge.ready();
        return bridge;
    }

    /**
     * @param {Options} [options]
     * @param {Record<string, string>} [env]
     * @param {Start} [start]
     */
    async startWorker(options = {}, env = {}, start = {}) {
        const given = { 'metrics-listen': '127.0.0.1:0', ...options }; // `leaks` looks at them, too
        const worker = new Worker(this, 'worker', given, this.env(env), start);
        this.workers.push(worker);
        await worker.ready();
        return worker;
    }

    /** A token. @param {Who} [who] */
    token({ sub = 'ann', ...claims } = {}) {
        const { token, ...others } = /** @type {any} */ (claims);
        if (token !== undefined) return token;
        const made = this.signer.token(claimsOf(sub, others));
        this.secret(made.split('.')[2]);
        return made;
    }

    /** Registers what must not be seen in any log, nor where `leaks` looks. @param {string} text */
    secret(text) {
        this.#secrets.add(text);
        return text;
    }

    /** @param {Who} [who] @returns {Record<string, string>} */
    authorization(who = {}) {
        const token = this.token(who);
        return token === null ? {} : { Authorization: `Bearer ${token}` };
    }

    /** @param {string} to */
    url(to = '/') {
        return this.bridge.url(to);
    }

    /**
     * A request with a token; `json` is the body.
     * @param {string} method
     * @param {string} to
     * @param {Who & { json?: unknown, headers?: Record<string, string>, bridge?: Bridge }} [options]
     * @returns {Promise<{ status: number, headers: Headers, text: string, json: any }>}
     */
    async request(method, to, { json, headers = {}, bridge = this.bridge, ...who } = {}) {
        const response = await bridge.fetch(to, {
            method,
            headers: { ...this.authorization(who), ...headers,
                       ...(json !== undefined && { 'Content-Type': 'application/json' }) },
            ...(json !== undefined && { body: JSON.stringify(json) }),
        });
        const text = await response.text();
        let parsed;
        try {
            parsed = JSON.parse(text);
        } catch {
            // not every answer is JSON
        }
        return { status: response.status, headers: response.headers, text, json: parsed };
    }

    /**
     * Makes a thread owned by `sub`, straight in Postgres, so that its id can be chosen.
     * @param {string} [id]
     * @param {string} [sub]
     */
    async thread(id = `t-${randomBytes(6).toString('hex')}`, sub = 'ann') {
        await this.pg.query('insert into threads (id, owner) values ($1, $2)', [id, sub]);
        return id;
    }

    /**
     * Posts a prompt; answers the receipt.
     * @param {string} thread
     * @param {string} content
     * @param {Who & { agent?: string, key?: string, bridge?: Bridge }} [options]
     */
    async post(thread, content, { agent, key, ...options } = {}) {
        const answer = await this.request('POST', `/v1/threads/${thread}/messages`, {
            json: { content, ...(agent && { agent }) },
            ...(key && { headers: { 'Idempotency-Key': key } }), ...options,
        });
        assert.equal(answer.status, 202, `POST …/messages: ${answer.status} ${answer.text}`);
        return answer.json;
    }

    /**
     * Publishes events from outside (contract: POST …/events, a write grant).
     * @param {string} thread
     * @param {object | object[]} events
     * @param {Who & { headers?: Record<string, string>, bridge?: Bridge }} [options]
     */
    async publish(thread, events, options = {}) {
        return this.request('POST', `/v1/threads/${thread}/events`, {
            write: [thread], json: events, ...options });
    }

    /**
     * Opens a stream on a raw socket.
     * @param {string} to path and query
     * @param {Who & { headers?: Record<string, string>, lastEventId?: string, cutAt?: number,
     *                 version?: string, bridge?: { port: number }, paused?: boolean }} [options]
     */
    events(to, { headers = {}, lastEventId, cutAt, version, bridge = this.bridge, paused, ...who } = {}) {
        const stream = new SseStream({
            port: bridge.port, path: to, cutAt, version, paused,
            headers: { ...this.authorization(who), ...headers,
                       ...(lastEventId !== undefined && { 'Last-Event-ID': lastEventId }) },
        });
        this.#streams.add(stream);
        stream.closed.then(() => this.#streams.delete(stream));
        return stream;
    }

    /** A thread's stream. @param {string} thread @param {string} [query] @param {any} [options] */
    threadEvents(thread, query = '', options = {}) {
        return this.events(`/v1/threads/${thread}/events${query && `?${query}`}`, options);
    }

    /** A run's row. @param {string} id */
    async run(id) {
        return (await this.pg.query('select * from runs where id = $1', [id]))[0];
    }

    /** Waits for a run to end in Postgres; answers its row. @param {string} id @param {number} [timeout] */
    async ended(id, timeout = PATIENCE_MS) {
        return until(async () => {
            const row = await this.run(id);
            return ['done', 'failed', 'cancelled'].includes(row?.status) ? row : null;
        }, { timeout, what: `run ${id} has ended` });
    }

    /** A message's content as text. @param {string} id */
    async messageText(id) {
        const row = (await this.pg.query('select content from messages where id = $1', [id]))[0];
        return row === undefined ? undefined : contentText(row.content);
    }

    newKey() {
        return randomUUID();
    }

    /** What all processes said. */
    logs(count = 60) {
        return [this.redis.child, this.postgres?.child, ...this.workers.map((w) => w.child),
                ...this.bridges.map((b) => b.child)]
            .filter((child) => child).map((child) => `$ ${child?.command}\n${child?.tail(count)}`)
            .join('\n');
    }

    async #tearDown() {
        for (const stream of this.#streams) stream.close();
        const children = [...this.bridges, ...this.workers].map((daemon) => daemon.child);
        await Promise.allSettled(children.filter((child) => child.running).map((child) => child.stop('SIGKILL')));
        await Promise.allSettled([this.redis.kill(), this.postgres?.stop('SIGQUIT')]);
        if (!process.env.THREADCAST_KEEP) fs.rmSync(this.dir, { recursive: true, force: true });
        this.#stopped = true;
        running.delete(this);
    }

    /** Drains the daemons and asserts that they left in good order. */
    async stop() {
        if (this.#stopped) return;
        for (const stream of this.#streams) stream.close();
        const complaints = await leaks(this, this.#secrets);
        const daemons = [...this.bridges, ...this.workers];
        await Promise.all(daemons.map(async (daemon) => {
            const { child } = daemon;
            if (child.running) {
                const limit = Number(daemon.options['drain-ms'] ?? 10_000) + 5_000;
                await child.stop('SIGTERM', limit).catch((error) => complaints.push(error.message));
                if (child.code !== 0) complaints.push(`${child.name} ended with ${child.code ?? child.signal}`);
            } else if (!daemon.forgiven && child.signal !== 'SIGKILL' && child.code !== 0) {
                complaints.push(`${child.name} had ended by itself with ${child.code ?? child.signal}`);
            }
        }));
        for (const { child, output } of daemons) { // behind all of them: a soak's logs take seconds, in which nobody ends in time
            const report = child.sanitizerReport();
            if (report) complaints.push(`a sanitizer's report of ${child.name}:\n${report}`);
            for (const secret of this.#secrets) {
                if (output.includes(secret)) complaints.push(`a secret in the log of ${child.name}: ${secret}`);
            }
        }
        const logs = complaints.length ? this.logs(200) : '';
        for (const what of complaints) complain(what);
        await this.#tearDown();
        assert.equal(complaints.length, 0, `${complaints.join('\n')}\n${logs}`);
    }
}

/** A message's `content` (jsonb: a string, or an object or list of parts) as text. */
export function contentText(content) {
    return typeof content === 'string' ? content : JSON.stringify(content);
}

/**
 * A test that prints what the stack's processes said when it fails.
 * @param {() => Stack} stackOf
 * @param {() => Promise<void>} body
 */
export async function withLogs(stackOf, body) {
    try {
        await body();
    } catch (error) {
        console.error(stackOf()?.logs());
        throw error;
    }
}
