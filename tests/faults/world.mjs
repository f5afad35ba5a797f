// The world under fault: two bridges and two workers over one Redis and one PostgreSQL, a
// farm of readers, prompts that keep coming, and a ledger of all that was accepted.
//
//   ledger ─▶ POST ─▶ bridge 0 ──────────▶ Redis, Postgres ◀────────── worker 0 ─▶ faults-agent
//                     bridge 1 ─▶ wires ─▶                ◀─ wires ─── worker 1 ─▶ host.py ─▶ faults-agent
//   farm of readers ──┘ both bridges; one token an owner, several owners
//
// Half of the daemons reach their servers through proxies, so that the network can be bad
// for them. All of them reach Redis by a link that a failover can point elsewhere.

import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Proxy, RedisServer, ROOT, Stack, until } from '../e2e/harness.mjs';
import { random } from '../e2e/lib/ledger.mjs';
import { Farm, program } from './readers/farm.mjs';

/** @typedef {import('../e2e/harness.mjs').Bridge} Bridge */
/** @typedef {import('../e2e/harness.mjs').Worker} Worker */
/** @typedef {import('../e2e/harness.mjs').Options} Options */

/**
 * @typedef {object} Accepted what got a 2xx and must therefore come true
 * @property {string} thread
 * @property {string} content the prompt
 * @property {string} key its Idempotency-Key
 * @property {'done' | 'error' | 'retry' | 'exit1' | 'signal'} end what its agent does at the end
 * @property {number} pieces
 * @property {string} agent
 * @property {string} [run]
 * @property {string} [reply]
 * @property {string} [message]
 * @property {number} [at] when, performance.now()
 * @property {boolean} [cancelled] somebody asked for it
 * @property {'answer' | 'patience' | ''} loses what its first POST loses, so that it is sent again with the same key
 * @property {number} gap in [0, 1): the pause behind it
 * @property {() => number} draw what else its posting needs
 */

const WORKER = { 'lease-ms': 1500, 'poll-ms': 300, 'max-attempts': 1000, 'drain-ms': 400, 'exec-kill-ms': 200,
                 'retry-ms': 50, 'retry-max-ms': 200, 'run-timeout-ms': 120_000, concurrency: 48 };
const BRIDGE = { 'retry-ms': 100, 'keepalive-ms': 1000, 'worker-lease-ms': 1500, 'drain-ms': 400,
                 'max-clients': 50_000, 'max-streams-per-user': 0, 'verify-ms': 5000 };
/** beside bridges that die there is one that does not: by then its streams, like all, have gone on to the next one */
const STREAM_AGE_MS = 15_000;
/** the share of prompts for the process that serves many */
const HOSTED = 0.3;
/** how many processes a worker keeps for those, and what each of them costs it: three pipes and a pidfd */
export const HOSTS = 2;
export const HOST_DESCRIPTORS = 4;
/** the share of prompts whose receipt never arrives, and of those whose sender gives up in the middle */
const ANSWER_LOST = 0.05, IMPATIENT = 0.05;
const ENDS = /** @type {const} */ (['error', 'retry', 'exit1', 'signal']);

export class World {
    /** @type {Bridge[]} two places; who stands there changes */
    bridges = [];
    /** @type {Worker[]} likewise */
    workers = [];
    /** @type {Accepted[]} */
    ledger = [];
    /** @type {{ bridge: Bridge, worker: Worker } | null} they meet every fault but their own death: what grows grows in them */
    lasting = null;
    /** how many prompts were sent more than once */
    again = 0;
    /** @type {string[]} what was refused and must not have been */
    refused = [];
    /** @type {{ thread: string, owner: string }[]} */
    threads = [];
    /** @type {RedisServer} the one that the link points at */
    redis;
    /** @type {Proxy} */
    redisWire;
    /** @type {Proxy} */
    postgresWire;
    /** @type {Options} */
    bridgeOptions = {};
    /** @type {Options} */
    workerOptions = {};
    #posting = false;
    #asked = 0;
    /** @type {Promise<void>[]} */
    #poster = [];

    /**
     * @param {Stack} stack
     * @param {Farm} farm
     * @param {number} seed
     */
    constructor(stack, farm, seed) {
        this.stack = stack;
        this.farm = farm;
        this.seed = seed;
        this.link = path.join(stack.dir, 'redis-now.sock');
    }

    /**
     * @param {{ seed: number, threads?: number, readers?: number, owners?: number, bridge?: Options, worker?: Options,
     *           redisArgs?: string[], merge0?: number, lasting?: boolean, idle?: (world: World) => Promise<unknown> }} options
     *   readers: in all; merge0: the share of them that wants each event as it was; lasting: a third bridge and a third
     *   worker that nobody kills; idle: looks at the daemons before anybody has asked them for anything
     */
    static async start({ seed, threads = 20, readers = 200, owners = 7, bridge = {}, worker = {}, redisArgs = [],
                         merge0 = 0.5, lasting = false, idle = async () => {} }) {
        const stack = await Stack.start({ workers: 0, bridges: 0, redisArgs });
        const world = new World(stack, Farm.start({ seed }), seed);
        try {
            world.redis = stack.redis;
            world.pointAt(stack.redis);
            world.redisWire = await Proxy.start({ path: world.link });
            world.postgresWire = await Proxy.start({ path: path.join(stack.pg.dir, '.s.PGSQL.5432') });
            world.workerOptions = { ...WORKER, 'agents-file': world.#agents(), ...worker };
            world.bridgeOptions = { ...BRIDGE, ...lasting && { 'max-stream-age-ms': STREAM_AGE_MS }, ...bridge };
            await Promise.all([0, 1].flatMap((place) => [world.fillBridge(place), world.fillWorker(place)]));
            if (lasting) world.lasting = { bridge: await world.#startBridge(0), worker: await world.#startWorker(0) };
            await idle(world);
            await world.#openThreads(threads, owners);
            await world.#openReaders(readers, merge0);
        } catch (error) {
            console.error(stack.logs(30));
            await world.stop().catch(() => {});
            throw error;
        }
        return world;
    }

    /** A failover for everybody: the link is another server's now. @param {RedisServer} server */
    pointAt(server) {
        fs.rmSync(this.link, { force: true });
        fs.symlinkSync(server.socket, this.link);
        this.stack.redis = server;
        this.redis = server;
    }

    /** A server that follows the present one, and the wire that can make it lag. */
    async replica() {
        return this.redis.replica(path.join(this.stack.dir, `redis-${randomUUID().slice(0, 8)}`));
    }

    /** One process a run, and one that serves many: their answers are the same. */
    #agents() {
        const file = path.join(this.stack.dir, 'agents.json');
        const host = path.join(ROOT, 'tests/faults/host.py');
        fs.writeFileSync(file, JSON.stringify({ default: 'story', agents: {
            story: { kind: 'exec', command: `exec ${program('faults-agent')} --seed ${this.seed}` },
            host: { kind: 'exec', mode: 'persistent', command: `exec ${host} ${program('faults-agent')} ${this.seed}`,
                    processes: HOSTS, runs_at_once: 16 } } }));
        return file;
    }

    /** @param {number} place @returns {Record<string, string>} */
    #env(place) {
        if (place === 0) return { REDIS_URL: `unix://${this.link}` };
        const { password } = this.stack.pg;
        return { REDIS_URL: `redis://127.0.0.1:${this.redisWire.port}`,
                 DATABASE_URL: `postgresql://threadcast:${password}@127.0.0.1:${this.postgresWire.port}/threadcast` };
    }

    /** @param {number} place @param {Options} [more] */
    async fillBridge(place, more = {}) {
        return (this.bridges[place] = await this.#startBridge(place, more));
    }

    /** @param {number} place @param {Options} [more] */
    #startBridge(place, more = {}) {
        // (as it is delivered: of this option the harness has another default)
        return this.stack.startBridge({ 'upstream-timeout-ms': 1000, ...this.bridgeOptions, ...more }, this.#env(place));
    }

    /** @param {number} place */
    #startWorker(place) {
        return this.stack.startWorker(this.workerOptions, this.#env(place));
    }

    get allBridges() {
        return this.lasting ? [...this.bridges, this.lasting.bridge] : this.bridges;
    }

    get allWorkers() {
        return this.lasting ? [...this.workers, this.lasting.worker] : this.workers;
    }

    /** @param {number} place */
    async fillWorker(place) {
        this.workers[place] = await this.#startWorker(place);
    }

    /** The farm spreads over the bridges. */
    showPorts() {
        this.farm.say(`ports ${this.allBridges.map((bridge) => bridge.port).join(',')}`);
    }

    async #openThreads(count, owners) {
        for (let i = 0; i < count; i++) {
            const owner = `owner-${i % owners}`;
            this.threads.push({ thread: await this.stack.thread(`t${i}-${randomUUID().slice(0, 8)}`, owner), owner });
        }
    }

    async #openReaders(count, merge0) {
        this.showPorts();
        const draw = random(`readers ${this.seed}`);
        const tokens = new Map();
        for (let i = 0; i < count; i++) {
            const { thread, owner } = this.threads[i % this.threads.length];
            if (!tokens.has(owner)) tokens.set(owner, this.stack.token({ sub: owner, seconds: 86_400 }));
            const merge = draw() < merge0 ? ' merge=0' : '';
            this.farm.say(`open ${i} ${thread} ${tokens.get(owner)}${merge}`);
        }
        await this.farm.reached(({ live }) => live >= count, 60_000);
    }

    // --- what keeps coming ------------------------------------------------------------------

    /** A prompt that its seed decides, wherever and whenever it is asked. @param {() => number} draw @returns {Accepted} */
    #prompt(draw) {
        const { thread } = this.threads[Math.floor(draw() * this.threads.length)];
        const end = draw() < 0.85 ? 'done' : ENDS[Math.floor(draw() * ENDS.length)];
        const pieces = 5 + Math.floor(draw() * 120);
        const rate = 20 + Math.floor(draw() * 80);
        const hosted = !['exit1', 'signal'].includes(end) && draw() < HOSTED;
        const luck = draw();
        return { thread, end, pieces, agent: hosted ? 'host' : 'story', key: randomUUID(), gap: draw(), draw,
                 loses: luck < ANSWER_LOST ? 'answer' : luck < ANSWER_LOST + IMPATIENT ? 'patience' : '',
                 content: `pieces=${pieces} rate=${rate} end=${end}` };
    }

    /**
     * One POST of it; null when there is no answer.
     * @param {Accepted} asked @param {string} owner @param {object} json @param {AbortSignal} [signal]
     */
    async #ask(asked, owner, json, signal) {
        const bridge = this.allBridges[Math.floor(asked.draw() * this.allBridges.length)];
        const response = await bridge.fetch(`/v1/threads/${asked.thread}/messages`, {
            method: 'POST', body: JSON.stringify(json), signal,
            headers: { ...this.stack.authorization({ sub: owner, seconds: 86_400 }), 'Content-Type': 'application/json',
                       'Idempotency-Key': asked.key } }).catch(() => null);
        const text = await response?.text().catch(() => null);
        return response && typeof text === 'string' ? { status: response.status, text } : null;
    }

    /** Posts one prompt until it is accepted. @param {Accepted} [asked] */
    async post(asked = this.#prompt(random(`prompt ${this.seed} ${this.#asked++}`))) {
        const owner = this.threads.find(({ thread }) => thread === asked.thread)?.owner ?? '';
        const json = { content: asked.content, agent: asked.agent, mode: asked.draw() < 0.5 ? 'parallel' : 'queue' };
        const patience = Math.floor(asked.draw() * 20);
        for (let tries = 0; ; tries++) {
            const signal = tries === 0 && asked.loses === 'patience' ? AbortSignal.timeout(patience) : undefined;
            const answer = await this.#ask(asked, owner, json, signal);
            if (tries === 1) this.again++;
            if (answer?.status === 202 && !(tries === 0 && asked.loses === 'answer')) {
                const receipt = JSON.parse(answer.text);
                const [run] = receipt.runs;
                Object.assign(asked, { run: run.runId, reply: run.messageId, message: receipt.messageId,
                                       at: performance.now() });
                this.ledger.push(asked);
                this.farm.say(`run ${asked.thread} ${asked.run} ${asked.pieces}`);
                return asked;
            }
            if (answer && ![202, 429, 503].includes(answer.status)) {
                this.refused.push(`${answer.status} ${answer.text} to ${asked.content}`);
                return asked;
            }
            await pause(20 + asked.draw() * 80);
            if (tries > 2000) throw new Error(`a prompt is not taken: ${answer?.status} ${answer?.text}`);
        }
    }

    /** Prompts come at this rate until `endPosting`. @param {number} perSecond */
    beginPosting(perSecond) {
        this.#posting = true;
        const lanes = 4;
        for (let i = 0; i < lanes; i++) {
            this.#poster.push((async () => {
                while (this.#posting) {
                    const { gap } = await this.post();
                    await pause(-Math.log(1 - gap) * 1000 * lanes / perSecond);
                }
            })());
        }
    }

    async endPosting() {
        this.#posting = false;
        await Promise.all(this.#poster.splice(0));
    }

    /** Somebody changes their mind about a run that may be anywhere in its life. @param {number} which in [0, 1) */
    async cancelOne(which) {
        const recent = this.ledger.slice(-30).filter((asked) => !asked.cancelled);
        const asked = recent[Math.floor(which * recent.length)];
        if (!asked) return;
        asked.cancelled = true;
        const owner = this.threads.find(({ thread }) => thread === asked.thread)?.owner;
        for (let twice = 0; twice < 2; twice++) {
            await this.stack.request('POST', `/v1/runs/${asked.run}/cancel`, {
                sub: owner, seconds: 86_400, bridge: this.bridges[twice] }).catch(() => null);
        }
    }

    // --- the end ----------------------------------------------------------------------------

    /** All is healed: waits until every run has ended and every reader has what it will get. */
    async settle(timeout = 120_000) {
        const left = () => this.stack.pg.query(`select id, thread_id, status, attempt, worker, lease_until, cancel_at,
            end_published_at from runs where status in ('queued', 'running') or end_published_at is null limit 5`);
        await until(async () => !(await left()).length, {
            timeout, every: 100, what: async () => `no run is stuck: ${JSON.stringify(await left())}\n${this.stack.logs(40)}` });
        let before = -1;
        await until(async () => {
            const { events, live, readers, open } = await this.farm.status();
            const quiet = events === before && live >= readers;
            before = events;
            return quiet && open === 0;
        }, { timeout: 60_000, every: 1000, what: async () => `the readers have it all: ${
            JSON.stringify(await this.farm.status())}\n${this.stack.logs(20)}` });
    }

    async stop() {
        await this.endPosting();
        await this.farm.quit();
        await this.redisWire?.stop();
        await this.postgresWire?.stop();
        await this.stack.stop();
    }
}

/** Time that passes in the world itself: the pause between two prompts, the length of a fault.
 *  @param {number} ms */
export function pause(ms) {
    const end = performance.now() + ms;
    return until(() => performance.now() >= end, { timeout: ms + 60_000, every: Math.min(10, Math.max(1, ms)) });
}
