// Replies of Redis that end in their middle. A lane is one connection of a daemon, and no daemon has two,
// for its connections help each other: a reply that a request of ours makes is cut at one byte, then the
// next connection in its first answers, and so on. Each cut is made by the proxy, counted by the daemon,
// and nobody notices more of it than the lane says.

import assert from 'node:assert/strict';
import { ScriptRun } from '../e2e/lib/publisher.mjs';
import { until } from '../e2e/lib/until.mjs';
import { ask, metricsOf } from './ask.mjs';
import { instanceOf, isEvalsha, READER } from './redis.mjs';
import { Steady } from './steady.mjs';

/** @typedef {import('./redis.mjs').Behind} Behind */
/** @typedef {import('./redis.mjs').Crew} Crew */
/** @typedef {import('../e2e/harness.mjs').Bridge} Bridge */

/**
 * One connection.
 * @typedef {object} Lane
 * @property {string} kind
 * @property {string} name
 * @property {import('./resp-proxy.mjs').Kind} of the reply that is cut
 * @property {(cut: boolean) => Promise<unknown>} ask makes it, and sees what comes of it
 * @property {() => Promise<number>} lost connections, as the daemon has counted them
 * @property {Parameters<Steady['row']>[1]} where
 * @property {() => void} end
 */

/** How many places of a reply are tried, Infinity: all; and numbers from 0 to 1 for which.
 *  @typedef {{ each: number, draw: () => number }} How */

/** What a lane is cut at: in replies, and in the first answers of the next connection.
 *  @typedef {{ lane: Lane, replies: number[], firsts: number[] }} Plan */

/** Some of all: the first, the last, and others that are drawn. @param {number[]} all @param {How} how @returns {number[]} */
function some(all, { each, draw }) {
    if (each >= all.length) return all;
    const chosen = new Set([0, all.length - 1]);
    while (chosen.size < each) chosen.add(Math.floor(draw() * all.length));
    return [...chosen].slice(0, each).map((i) => all[i]);
}

/** @param {number} length */
const upTo = (length) => Array.from({ length }, (_, i) => i);

/** Bytes of the first answers on a connection where each means something (the end of a line, a length),
 *  and those of INFO's text. @param {Buffer} first */
function firstPlaces(first) {
    const [from, to] = [first.indexOf('# Server'), first.indexOf('\r\n+PONG')];
    assert.ok(from > 0 && to > from, first.toString('latin1'));
    const isText = (/** @type {number} */ i) => i > from && i < to - 1;
    return { marks: upTo(first.length).filter((i) => !isText(i)), text: upTo(first.length).filter(isText) };
}

/** @param {Bridge} bridge */
const downs = async (bridge) => (await metricsOf(bridge.port)).redis_down_total;

/** A reader notices nothing. @param {Behind} behind @param {Bridge} bridge @param {string} name @returns {Promise<Lane>} */
async function subscribeLane({ stack }, bridge, name) {
    const thread = `cut.s.${bridge.port}`;
    const run = new ScriptRun(stack.redis.client, thread);
    await run.begin();
    const stream = stack.threadEvents(thread, 'since=0', { ...READER, bridge });
    await stream.type('status');
    return {
        kind: 'subscribe', name, where: { bridge, streams: 1 }, lost: () => downs(bridge),
        of: (command, reply) => command === 'message' && reply.includes(`thread:${thread}\r\n`),
        ask: async () => {
            await until(async () => (await stack.redis.client.pubsub('NUMSUB', `thread:${thread}`))[1] === 1, { what: 'it is subscribed' });
            await run.tokens(`${run.next} `);
            await until(() => stream.text() === run.text, { what: () => `${stream.text()} is ${run.text}` });
            const numbers = stream.messages.map((event) => Number(event.json.id.split('-')[1]));
            assert.deepEqual(numbers, numbers.map((_, i) => i + 1), 'each once, in order');
            assert.deepEqual(stream.events.filter(({ event }) => event !== 'message'), [], 'and no word of it');
        },
        end: () => stream.close(),
    };
}

/** A stream that begins with what was there waits, and gets it once. @param {Behind} behind @param {Bridge} bridge
 *  @param {string} name @returns {Promise<Lane>} */
async function readLane({ stack }, bridge, name) {
    const thread = `cut.r.${bridge.port}`;
    const run = new ScriptRun(stack.redis.client, thread);
    let [, since] = await run.begin();
    return {
        kind: 'read', name, where: { bridge }, lost: () => downs(bridge),
        of: (command) => command.includes('\r\nXRANGE\r\n') && command.includes(`{thread:${thread}}:log\r\n`),
        ask: async () => {
            await run.tokens('a');
            const stream = stack.threadEvents(thread, `since=${since}`, { ...READER, bridge });
            await until(() => stream.text() === 'a', { what: () => stream.body });
            [, since] = await run.tokens('b');
            await until(() => stream.text() === 'ab', { what: () => stream.body });
            assert.deepEqual(stream.events.map(({ event }) => event), ['message', 'message'], stream.body);
            stream.close();
        },
        end: () => {},
    };
}

/** Whether it was published is not known: 503, and again with its key it is, once.
 *  @param {Behind} behind @param {Bridge} bridge @param {string} name @returns {Promise<Lane>} */
async function publishLane({ stack }, bridge, name) {
    const thread = `cut.p.${bridge.port}`;
    const token = stack.token({ write: [thread] });
    let posted = 0;
    const post = () => ask(bridge.port, 'POST', `/v1/threads/${thread}/events`, {
        token, body: '{"type":"token","content":"x"}',
        headers: [['Content-Type', 'application/json'], ['Idempotency-Key', `cut-${posted}`]] });
    return {
        kind: 'publish', name, where: { bridge }, lost: () => downs(bridge),
        of: (command) => isEvalsha(command) && command.includes(`\r\nthread:${thread}\r\n`),
        ask: async (cut) => {
            posted++;
            const first = await post();
            assert.deepEqual([first.status, first.code], cut ? [503, 'unavailable'] : [202, undefined], first.text);
            const again = await until(async () => {
                const answer = await post();
                return answer.status === 503 ? null : answer;
            });
            assert.deepEqual([again.status, again.json?.ids.length], [202, 1], again.text);
            assert.equal(await stack.redis.client.xlen(`{thread:${thread}}:log`), posted);
        },
        end: () => {},
    };
}

/** A run goes on, and says each word once. @param {Crew} crew @param {number} streams @returns {Lane} */
function workerLane(crew, streams) {
    const [name, talk] = [...crew.talks][0];
    return {
        kind: 'worker', name, where: { streams, worker: crew.worker, held: crew.held }, lost: async () => (await crew.lost()).counted,
        of: (command) => isEvalsha(command) && command.includes(`\r\nthread:${talk.thread}\r\n`),
        ask: () => talk.say(),
        end: () => {},
    };
}

/** The first bridge has none: it is there for those who look at workers. @param {Behind} behind @param {Crew[]} crews */
async function lanesOf(behind, crews) {
    const { stack, proxy } = behind;
    const open = crews.reduce((sum, { talks, spare }) => sum + talks.size + spare.length, 0);
    const kinds = Object.entries({ read: readLane, subscribe: subscribeLane, publish: publishLane });
    const lanes = await Promise.all(stack.bridges.slice(1).map(async (bridge, i) => {
        const [job, make] = kinds[i % kinds.length];
        return make(behind, bridge, `threadcast-bridge:${await instanceOf(bridge)}-0:${job}`);
    }));
    for (const crew of crews) lanes.push(workerLane(crew, open));
    await Promise.all(lanes.map(({ name }) => proxy.ready(name)));
    return lanes;
}

/** What goes wrong says where. @param {Lane} lane @param {string} what @param {boolean} cut */
const asked = (lane, what, cut) => lane.ask(cut).catch((error) => {
    throw new Error(`${lane.kind}: ${what}: ${error.message}`, { cause: error });
});

/** Which lane is cut where: the lanes of a kind share the places of its reply and of its first answers, all
 *  of them share the text of INFO, which is the same for all.
 *  @param {Behind} behind @param {Lane[]} lanes @param {How} how @returns {Promise<Plan[]>} */
async function planOf({ proxy }, lanes, how) {
    const plans = lanes.map((lane) => ({ lane, replies: /** @type {number[]} */ ([]), firsts: /** @type {number[]} */ ([]) }));
    for (const kind of new Set(lanes.map((lane) => lane.kind))) {
        const mine = plans.filter(({ lane }) => lane.kind === kind);
        const link = await proxy.ready(mine[0].lane.name);
        link.trick = { of: mine[0].lane.of };
        await asked(mine[0].lane, 'nothing is cut', false);
        const { reply } = link.trick;
        assert.ok(reply, `a reply for ${kind}`);
        for (const [i, at] of some(upTo(reply.length), how).entries()) mine[i % mine.length].replies.push(at);
        for (const [i, at] of some(firstPlaces(link.first).marks, how).entries()) mine[i % mine.length].firsts.push(at);
    }
    const { text } = firstPlaces((await proxy.ready(lanes[0].name)).first);
    for (const [i, at] of some(text, { ...how, each: Math.max(how.each, lanes.length) }).entries()) plans[i % plans.length].firsts.push(at);
    return plans;
}

/** @param {Behind} behind @param {Steady} steady @param {Plan} plan */
async function replayLane({ proxy }, steady, { lane, replies, firsts }) {
    const before = await lane.lost();
    for (let i = 0; i < Math.max(replies.length, firsts.length); i++) {
        const what = `a reply cut at ${replies[i]}, first answers at ${firsts[i]}`;
        const link = await proxy.ready(lane.name);
        if (i < firsts.length) proxy.cutNext(lane.name, firsts[i]);
        if (i < replies.length) {
            link.trick = { of: lane.of, cutAt: replies[i] };
        } else { // only first answers are left
            link.client.destroy();
            await until(() => !proxy.links.has(link));
            await proxy.ready(lane.name);
        }
        await asked(lane, what, i < replies.length);
        assert.ok(i >= replies.length || link.trick?.reply, `${lane.kind}: ${what}: was made`);
        await proxy.ready(lane.name);
        const lost = await lane.lost() - before;
        assert.equal(lost, i + 1 + Math.min(i + 1, firsts.length), `${lane.kind}: ${what}: counted`);
        await steady.row(`${lane.kind}: ${what}`, lane.where);
    }
}

/** Answers how many replies and how many first answers were cut. @param {Behind} behind @param {How} how */
export async function replayCuts(behind, how) {
    const steady = await Steady.of(behind.stack);
    const crews = await behind.crews();
    for (const crew of crews) crew.held = steady.held(crew.worker);
    const lanes = await lanesOf(behind, crews);
    const plans = await planOf(behind, lanes, how);
    const began = behind.proxy.cuts.length;
    await Promise.all(plans.map((plan) => replayLane(behind, steady, plan)));
    const [replies, firsts] = [plans.flatMap((plan) => plan.replies).length, plans.flatMap((plan) => plan.firsts).length];
    assert.equal(behind.proxy.cuts.length - began, replies + firsts, 'every cut was made');
    for (const lane of lanes) lane.end();
    for (const crew of crews) await crew.end();
    await steady.check();
    return { replies, firsts };
}
