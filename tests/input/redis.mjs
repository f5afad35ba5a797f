// A Redis that answers nonsense: real servers, with a proxy before Redis that adds bytes.
//
// A row has bytes, put between the replies on a connection of a bridge and, in the middle
// of a run, of a worker; `says` is `dropped` (the connection is given up, counted and made anew)
// or `ignored`; `for` is the job of the connection where it is not any.

import assert from 'node:assert/strict';
import { Stack } from '../e2e/harness.mjs';
import { ScriptRun } from '../e2e/lib/publisher.mjs';
import { until } from '../e2e/lib/until.mjs';
import { ask, metricsOf } from './ask.mjs';
import { bytesOf, casesOf } from './cases.mjs';
import { RespProxy } from './resp-proxy.mjs';
import { QUARANTINE, Steady } from './steady.mjs';

/** @typedef {import('../e2e/harness.mjs').Bridge} Bridge */

const READER = { sub: 'ann', read: ['*'] };
/** what is dropped comes back after a pause, so several wait at once */
const BRIDGES = 3;
const JOBS = ['subscribe', 'read', 'publish'];

/** Bridges and a worker that reach Redis through a proxy only. */
export class Behind {
    /** @param {Stack} stack @param {RespProxy} proxy */
    constructor(stack, proxy) {
        this.stack = stack;
        this.proxy = proxy;
    }

    static async start() {
        const stack = await Stack.start({ workers: 0, bridges: 0, env: { ...QUARANTINE, LOG_LEVEL: 'debug' } });
        const proxy = await RespProxy.start(stack.redis.port);
        const env = { REDIS_URL: proxy.url };
        for (let i = 0; i < BRIDGES; i++) await stack.startBridge({ reactors: 1 }, env); // each connection once
        await stack.startWorker({ 'demo-rate': 400, publishers: 1, 'metrics-listen': '127.0.0.1:0' }, env);
        const behind = new Behind(stack, proxy);
        await behind.whole();
        return behind;
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
        await until(() => this.proxy.of(/worker:.*:publish/).length === 1);
    }

    /** @param {string} instance @param {string} job */
    link(instance, job) {
        return this.proxy.of(new RegExp(`bridge:${instance}-0:${job}$`))[0];
    }
}

/** @param {Bridge} bridge */
async function instanceOf(bridge) {
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

/** Replies that end in their middle, on every connection. @param {Behind} behind @param {number[]} places */
export async function replayCuts(behind, places) {
    const run = new ScriptRun(behind.stack.redis.client, 'cuts');
    await run.begin();
    const stream = behind.stack.threadEvents('cuts', 'since=0', READER);
    await stream.type('status');
    for (const at of places) {
        for (const link of behind.proxy.of(/bridge:.*:(subscribe|read|publish)$/)) behind.proxy.cutNext(link, at);
        await run.tokens(`${at} `); // the subscriber's; the others' are asked for
        const [posted] = await Promise.all([
            ask(behind.stack.bridge.port, 'GET', '/v1/threads/cuts/messages', { token: behind.stack.token(READER) }),
            ask(behind.stack.bridge.port, 'POST', '/v1/threads/cuts.posted/events', {
                token: behind.stack.token({ write: ['cuts.posted'] }), headers: [['Content-Type', 'application/json']],
                body: '{"type":"token","content":"x"}' })]);
        assert.ok([200, 503].includes(posted.status), posted.text);
        await behind.whole();
        await until(() => stream.text() === run.text, { what: () => `cut at ${at}: ${stream.text()}` });
    }
    stream.close();
}

/** A run of the worker, while its connections are given nonsense or single bytes.
 *  @param {Behind} behind @param {(link: import('./resp-proxy.mjs').Link, i: number) => void} harm @param {number} times */
export async function replayWorker({ stack, proxy }, harm, times) {
    const thread = await stack.thread();
    const { cursor, runId, runs } = await stack.post(thread, 'a prompt that is answered at some length');
    const stream = stack.threadEvents(thread, `since=${cursor}`);
    await stream.type('token');
    for (let i = 0; i < times && stream.json.every((event) => event.type !== 'done'); i++) {
        const seen = stream.messages.length;
        for (const link of proxy.of(/worker:/)) harm(link, i);
        await until(() => stream.messages.length > seen, { what: 'it goes on' });
    }
    await stream.type('done');
    const row = await stack.ended(runId);
    assert.deepEqual([row.status, row.attempt], ['done', 1]);
    assert.equal(stream.text(runId), await stack.messageText(runs[0].messageId));
    stream.close();
}
