// A Redis that answers nonsense: real servers, with a proxy before Redis that adds bytes.
//
// A row has bytes, put between the replies on a connection of a bridge and, in the middle
// of a run, of a worker; `says` is `dropped` (the connection is given up, counted and made anew)
// or `ignored`; `for` is the job of the connection where it is not any.

import assert from 'node:assert/strict';
import { Stack } from '../e2e/harness.mjs';
import { ScriptRun } from '../e2e/lib/publisher.mjs';
import { until } from '../e2e/lib/until.mjs';
import { ask, metricsOf, metricsPort } from './ask.mjs';
import { bytesOf, casesOf } from './cases.mjs';
import { RespProxy } from './resp-proxy.mjs';
import { QUARANTINE, Steady } from './steady.mjs';
import { Mouths, Talk } from './talk.mjs';

/** @typedef {import('../e2e/harness.mjs').Bridge} Bridge */
/** @typedef {import('../e2e/harness.mjs').Worker} Worker */
/** @typedef {import('./cases.mjs').Case} Case */
/** @typedef {import('./resp-proxy.mjs').Link} Link */

export const READER = { sub: 'ann', read: ['*'] };
/** what is dropped comes back after a pause, so several wait at once */
const WORKERS = 6;
const PUBLISHERS = 3;
const JOBS = ['subscribe', 'read', 'publish'];

/** @param {string} command */
export const isEvalsha = (command) => /^\*\d+\r\n\$7\r\nEVALSHA\r\n/.test(command);

/** A worker, the names of its connections, and a run on each of those that publish. */
export class Crew {
    /** by the name of the connection @type {Map<string, Talk>} */
    talks = new Map();
    /** @type {Talk[]} beside another one on their connection */
    spare = [];
    /** descriptors that the runs take */
    held = 0;
    #behind;

    /** @param {Behind} behind @param {Worker} worker @param {string} agent that no other worker has */
    constructor(behind, worker, agent) {
        this.#behind = behind;
        this.worker = worker;
        this.agent = agent;
        const [, instance] = / info ready instance="?(\w+)/.exec(worker.output) ?? [];
        assert.ok(instance, worker.output);
        this.publishing = Array.from({ length: PUBLISHERS }, (_, i) => `threadcast-worker:${instance}:publish-${i}`);
        this.names = [...this.publishing, ...['control', 'alive'].map((job) => `threadcast-worker:${instance}:${job}`)];
    }

    /** Until each connection has one. */
    async begin() {
        const { stack, proxy, mouths } = this.#behind;
        const links = await Promise.all(this.publishing.map((name) => proxy.ready(name)));
        while (this.talks.size < PUBLISHERS && this.spare.length < 2 * PUBLISHERS) {
            const talk = await Talk.start(stack, mouths, this.agent);
            const link = links.find(({ threads }) => threads.has(talk.thread));
            assert.ok(link, `${talk.thread} is published by this worker`);
            if (this.talks.has(link.name)) this.spare.push(talk);
            else this.talks.set(link.name, talk);
        }
        assert.equal(this.talks.size, PUBLISHERS, 'a run on each connection');
    }

    /** How many connections it has lost, by their jobs: the metric knows of those that publish, the
     *  log of all. @param {Record<string, number>} [before] @returns {Promise<Record<string, number>>} */
    async lost(before = {}) {
        const said = (/** @type {string} */ job) => this.worker.output.split(` warn redis lost connection=${job} `).length - 1;
        const { redis_lost_total: counted } = await metricsOf(metricsPort(this.#behind.stack, this.worker));
        const now = { counted, publish: said('publish'), control: said('control'), alive: said('alive') };
        return Object.fromEntries(Object.entries(now).map(([name, value]) => [name, value - (before[name] ?? 0)]));
    }

    /** What `lost` has to say of these. @param {Link[]} links */
    lostOf(links) {
        const of = (/** @type {string} */ job) => links.filter(({ name }) => name.includes(`:${job}`)).length;
        return { counted: of('publish'), publish: of('publish'), control: of('control'), alive: of('alive') };
    }

    /** A run is cancelled by a hint on the control connection: it is heard. */
    async cancelled() {
        const { stack, mouths } = this.#behind;
        const talk = await Talk.start(stack, mouths, this.agent);
        await stack.redis.client.publish('threadcast:control', JSON.stringify({ type: 'cancel', runId: talk.runId }));
        assert.equal((await stack.ended(talk.runId, 2500)).status, 'cancelled');
        talk.stream.close();
    }

    async end() {
        for (const talk of [...this.talks.values(), ...this.spare]) await talk.end();
    }
}

/** Bridges and workers that reach Redis through a proxy only. */
export class Behind {
    /** @param {Stack} stack @param {RespProxy} proxy @param {Mouths} mouths */
    constructor(stack, proxy, mouths) {
        this.stack = stack;
        this.proxy = proxy;
        this.mouths = mouths;
    }

    /** @param {number} bridges */
    static async start(bridges) {
        const stack = await Stack.start({ workers: 0, bridges: 0, env: { ...QUARANTINE, LOG_LEVEL: 'debug' } });
        const proxy = await RespProxy.start(stack.redis.port);
        const env = { REDIS_URL: proxy.url };
        await Promise.all(Array.from({ length: bridges }, () => stack.startBridge({
            reactors: 1, // each connection once
            // a cut one is back before anybody is told `busy`, also where a machine stands still for seconds
            'upstream-timeout-ms': 15_000,
        }, env)));
        const mouths = await Mouths.start();
        // its lease is renewed late: what `alive` is told then is not mixed up with an answer
        await Promise.all(Array.from({ length: WORKERS }, (_, i) => stack.startWorker({
            'demo-rate': 0, publishers: PUBLISHERS, 'lease-ms': 60_000, agents: `talk${i}=${mouths.agent}` }, env)));
        const behind = new Behind(stack, proxy, mouths);
        await behind.whole();
        return behind;
    }

    /** Every worker in the middle of runs. */
    async crews() {
        const crews = this.stack.workers.map((worker) => new Crew(this, worker, String(worker.options.agents).split('=')[0]));
        await Promise.all(crews.map((crew) => crew.begin()));
        return crews;
    }

    async stop() {
        try {
            await this.stack.stop();
        } finally { // or the file does not end
            await this.proxy.stop();
            this.mouths.stop();
        }
    }

    /** Every connection of a bridge is there, and named. @param {Bridge} bridge */
    async bridgeWhole(bridge) {
        const instance = await instanceOf(bridge);
        await until(() => JOBS.every((job) => this.link(instance, job)), {
            what: () => [...this.proxy.links].map(({ name }) => name).join() });
        await until(async () => (await ask(bridge.port, 'GET', '/readyz')).status === 200);
    }

    async whole() {
        for (const bridge of this.stack.bridges) await this.bridgeWhole(bridge);
        for (const worker of this.stack.workers)
            for (const name of new Crew(this, worker, '').names) await this.proxy.ready(name);
    }

    /** @param {string} instance @param {string} job */
    link(instance, job) {
        return this.proxy.of(new RegExp(`bridge:${instance}-0:${job}$`))[0];
    }
}

/** @param {Bridge} bridge */
export async function instanceOf(bridge) {
    const [name] = Object.keys(await metricsOf(bridge.port)).filter((key) => key.startsWith('info{'));
    return /instance="(\w+)"/.exec(name)?.[1] ?? '';
}

/** @typedef {{ job: string, row: import('./cases.mjs').Case }} Wrong */

/** Which connection is told what, in rounds: every row once (or to each job, when `full`), in
 *  each round another row to each job. @param {boolean} full @returns {Wrong[][]} */
function rounds(full) {
    /** @type {Wrong[][]} */
    const made = [];
    for (const [i, row] of casesOf('redis').entries()) {
        const jobs = row.for ? [row.for] : full ? JOBS : [JOBS[i % JOBS.length]];
        for (const job of jobs) {
            const free = made.find((round) => round.every((wrong) => wrong.job !== job));
            if (free) free.push({ job, row });
            else made.push([{ job, row }]);
        }
    }
    return made;
}

/**
 * @param {Behind} behind
 * @param {Bridge} bridge
 * @param {Wrong[]} round
 */
async function replayRound(behind, bridge, round) {
    const lost = async () => (await metricsOf(bridge.port)).redis_down_total;
    const what = round.map(({ job, row }) => `${row.name} for ${job}`).join(', ');
    const instance = await instanceOf(bridge);
    const links = round.map(({ job, row }) => ({ row, link: behind.link(instance, job) }));
    const dropped = links.filter(({ row }) => row.says === 'dropped');
    const before = await lost();
    for (const { row, link } of links) behind.proxy.inject(link, bytesOf('redis', row));
    await until(() => dropped.every(({ link }) => !behind.proxy.links.has(link)), { what: `given up: ${what}` });
    await until(async () => await lost() >= before + dropped.length, { what: `counted: ${what}` });
    return async () => {
        assert.equal(await lost(), before + dropped.length, `more is lost than was wrong: ${what}`);
        for (const { row, link } of links)
            if (row.says === 'ignored') assert.ok(behind.proxy.links.has(link), what);
    };
}

/** All rounds for one bridge, with a stream that misses nothing. @param {Behind} behind
 *  @param {Steady} steady @param {Bridge} bridge @param {Wrong[][]} list */
async function replayRounds(behind, steady, bridge, list) {
    const thread = `resp.${bridge.port}`;
    const run = new ScriptRun(behind.stack.redis.client, thread);
    await run.begin();
    const stream = behind.stack.threadEvents(thread, '', { ...READER, bridge });
    await stream.type('status');
    for (const round of list) {
        const settled = await replayRound(behind, bridge, round);
        await behind.bridgeWhole(bridge);
        await run.tokens(`${round[0].row.name} `);
        await until(() => stream.text() === run.text, { what: () => stream.text().slice(-200) });
        await settled();
        await steady.row(round.map(({ job, row }) => `${row.name} for ${job}`).join(', '), { bridge, streams: 1 });
    }
    assert.equal(stream.events.filter((event) => event.event === 'reset').length, 0);
    return stream;
}

/** @param {Behind} behind @param {boolean} full */
export async function replayReplies(behind, full) {
    const steady = await Steady.of(behind.stack);
    const { bridges } = behind.stack;
    const all = rounds(full);
    const streams = await Promise.all(bridges.map((bridge, i) =>
        replayRounds(behind, steady, bridge, all.filter((_, at) => at % bridges.length === i))));
    for (const stream of streams) stream.close();
    await steady.check();
}

/** What is told to each connection of each worker, in rounds: every row to every job that it is for
 *  (a worker's only subscriber is `control`), shared among the workers.
 *  @param {Crew[]} crews @returns {{ name: string, row: Case }[][][]} by worker, by round */
function workerRounds(crews) {
    const lists = crews.map(({ names }) => new Map(names.map((name) => [name, /** @type {Case[]} */ ([])])));
    for (const job of ['publish', 'control', 'alive']) {
        const rows = casesOf('redis').filter((row) => !row.for || (row.for === 'subscribe') === (job === 'control'));
        const lanes = lists.flatMap((list) => [...list].filter(([name]) => name.includes(`:${job}`)).map(([, lane]) => lane));
        assert.ok(lanes.length > 0, job);
        for (const [i, row] of rows.entries()) lanes[i % lanes.length].push(row);
    }
    return lists.map((list) => Array.from({ length: Math.max(...[...list.values()].map((rows) => rows.length)) }, (_, i) =>
        [...list].filter(([, rows]) => rows.length > i).map(([name, rows]) => ({ name, row: rows[i] }))));
}

/** To a publisher in the middle of a call, in front of its answer. @param {Behind} behind @param {Crew} crew @param {Link} link @param {Case} row */
async function tell({ proxy }, crew, link, row) {
    const bytes = bytesOf('redis', row);
    const talk = crew.talks.get(link.name);
    if (!talk) {
        await until(() => !link.asked.length, { what: `${link.name} is quiet` });
        proxy.inject(link, bytes);
        return;
    }
    link.trick = { of: isEvalsha, before: bytes };
    talk.speak();
    await until(() => link.trick?.reply, { what: `${row.name} was told to ${link.name}` });
}

/** @param {Behind} behind @param {Steady} steady @param {Crew} crew @param {{ name: string, row: Case }[]} round @param {number} streams */
async function replayWorkerRound(behind, steady, crew, round, streams) {
    const { proxy } = behind;
    const what = round.map(({ name, row }) => `${row.name} for ${name.replace(/.*worker:/, '')}`).join(', ');
    const before = await crew.lost();
    const told = await Promise.all(round.map(async ({ name, row }) => ({ row, link: await proxy.ready(name) })));
    await Promise.all(told.map(({ row, link }) => tell(behind, crew, link, row)));
    const dropped = told.filter(({ row }) => row.says === 'dropped').map(({ link }) => link);
    const ignored = told.filter(({ row }) => row.says === 'ignored').map(({ link }) => link);
    await until(() => dropped.every((link) => !proxy.links.has(link)), { what: `given up: ${what}` });
    await Promise.all(crew.names.map((name) => proxy.ready(name)));
    for (const talk of crew.talks.values()) await talk.say();
    const wanted = crew.lostOf(dropped);
    await until(async () => assert.deepEqual(await crew.lost(before), wanted) ?? true, {
        timeout: 5000, what: async () => `${what}: lost are ${JSON.stringify(await crew.lost(before))}, not ${JSON.stringify(wanted)}` });
    if (ignored.length) await crew.cancelled();
    assert.ok(ignored.every((link) => proxy.links.has(link)), `kept: ${what}`);
    await steady.row(what, { streams, worker: crew.worker, held: crew.held });
}

/** Every row on every kind of connection of a worker, in the middle of runs. @param {Behind} behind */
export async function replayWorkers(behind) {
    const steady = await Steady.of(behind.stack);
    const crews = await behind.crews();
    for (const crew of crews) crew.held = steady.held(crew.worker);
    const streams = crews.reduce((sum, { talks, spare }) => sum + talks.size + spare.length, 0);
    const rounds = workerRounds(crews);
    await Promise.all(crews.map(async (crew, i) => {
        for (const round of rounds[i]) await replayWorkerRound(behind, steady, crew, round, streams);
    }));
    for (const crew of crews) await crew.end();
    await steady.check();
    return rounds.flat(2).length;
}

/** Runs in single bytes. @param {Behind} behind */
export async function replayBytewise(behind) {
    behind.proxy.bytewise = true;
    const crews = await behind.crews();
    for (const { talks } of crews)
        for (const talk of talks.values()) await talk.say();
    for (const crew of crews) await crew.end();
    behind.proxy.bytewise = false;
}
