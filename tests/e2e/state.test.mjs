// The laws of the state (sdk/js/src/state.js), over random courses of a thread: what is
// shown depends on what was published and on nothing else, not on cuts, merging,
// repetition or the moment at which somebody joined. Examples are in thread-state.test.mjs.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import {
    afterReset, applyEvent, emptyThread, liveRuns, threadState, timeline, turns, withMessages, withRun,
} from '../../sdk/js/src/state.js';
import { run } from './lib/process.mjs';
import { course, interrupted, merged, randomFrom } from './lib/courses.mjs';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const SEED = Number(process.env.THREADCAST_SEED ?? Math.floor(Math.random() * 1e9));
const TIMES = process.env.THREADCAST_FULL ? 5_000 : 120;

/** @typedef {import('../../sdk/js/src/state.js').ThreadState} ThreadState */

/** A state as plain data. @param {ThreadState} state */
const plain = ({ messages, runs, notes, positions }) =>
    structuredClone({ messages, runs: [...runs.values()], notes, positions });
/** …without the number of events that text came in. @param {ThreadState} state */
const untold = (state) => {
    const { messages, runs, notes } = plain(state);
    return { messages, notes, runs: runs.map(({ tokens, ...run }) => run) };
};
const runsOf = (/** @type {ThreadState} */ state) => new Map(plain(state).runs.map((run) => [run.runId, run]));

/** @param {string} name @param {(random: import('./lib/courses.mjs').Random, events: any[]) => void} check */
function law(name, check) {
    it(`${name} (${TIMES} courses from seed ${SEED})`, () => {
        for (let i = 0; i < TIMES; i++) {
            const random = randomFrom(SEED + i);
            const events = course(random);
            try {
                check(random, events);
            } catch (error) {
                throw new Error(`seed ${SEED + i}: ${events.map((event) => JSON.stringify(event)).join('\n')}`,
                                { cause: error });
            }
        }
    });
}

/** The text of a run, worked out in another way: backwards, from its end. @param {any[]} events @param {string} id */
function textOf(events, id) {
    const own = events.filter(({ runId }) => runId === id);
    const ended = own.findIndex(({ type }) => type === 'done' || type === 'error');
    const told = ended < 0 ? own : own.slice(0, ended);
    const highest = Math.max(...told.map(({ attempt }) => attempt));
    const last = told.filter(({ attempt }) => attempt === highest);
    const begins = last.findLastIndex(({ content }) => ['started', 'rewind'].includes(content.status));
    return begins < 0 ? '' : last.slice(begins).filter(({ type }) => type === 'token').map(({ content }) => content).join('');
}

describe('what a thread looks like', () => {
    law('is what was published', (_, events) => {
        const state = threadState(events);
        for (const run of state.runs.values())
            if (run.status !== 'outside') assert.equal(run.text, textOf(events, run.runId));
        const named = new Set(events.flatMap(({ runId }) => runId ?? []));
        assert.deepEqual([...state.runs.keys()].filter((id) => id[0] === 'r').sort(), [...named].sort());
        const outside = events.filter(({ type, runId }) => type === 'token' && !runId).map(({ content }) => content);
        const bubbles = timeline(state).filter(({ run }) => run?.status === 'outside');
        assert.equal(bubbles.map(({ text }) => text).join(''), outside.join(''));
    });

    law('does not depend on where the stream was cut, nor on what came twice', (random, events) => {
        const pieces = interrupted(random, events);
        const state = pieces.reduce((before, piece) => threadState(piece, before), emptyThread());
        assert.deepEqual(plain(state), plain(threadState(events)));
    });

    law('does not depend on what was merged, before a cut or behind it', (random, events) => {
        const whole = untold(threadState(events));
        assert.deepEqual(untold(threadState(merged(random, events))), whole);
        const at = random.below(events.length + 1);
        const pieces = [merged(random, events.slice(0, at)), merged(random, events.slice(at))];
        assert.deepEqual(untold(threadState(pieces.flat())), whole);
    });

    law('is of each run what its own events say', (_, events) => {
        const whole = runsOf(threadState(events));
        for (const [id, run] of whole) {
            if (run.status === 'outside') continue;
            assert.deepEqual(runsOf(threadState(events.filter(({ runId }) => runId === id))).get(id), run);
        }
    });

    law('shows no half of an answer to who joins in its middle', (random, events) => {
        const whole = runsOf(threadState(events));
        const joined = threadState(merged(random, events.slice(random.below(events.length))));
        for (const run of joined.runs.values()) {
            if (run.status === 'outside') continue;
            const { text, outcome } = /** @type {any} */ (whole.get(run.runId));
            assert.equal(run.text, run.joined ? text : '');
            assert.deepEqual(run.outcome, outcome);
        }
    });

    law('is the same behind a reset, once the live runs have been told again', (random, events) => {
        const at = random.below(events.length + 1);
        const before = threadState(events.slice(0, at));
        const live = new Set(liveRuns(before).map(({ runId }) => runId));
        const from = events.findIndex(({ runId }) => live.has(runId));
        const again = events.slice(from < 0 ? at : from).filter(({ runId }, i) => runId || i + from >= at);
        const whole = runsOf(threadState(events));
        for (const run of threadState(merged(random, again), afterReset(before)).runs.values()) {
            if (run.status === 'outside') continue;
            const { text, steps, outcome, usage } = /** @type {any} */ (whole.get(run.runId));
            assert.deepEqual([run.text, run.steps, run.outcome, run.usage], [text, steps, outcome, usage]);
        }
    });

    law('is never changed, only replaced', (_, events) => {
        let state = freeze(emptyThread());
        const path = events.map((event) => [state, plain(state), (state = freeze(applyEvent(state, event)))]);
        for (const [before, then] of path) assert.deepEqual(plain(/** @type {any} */ (before)), then);
        // two futures of one past
        const half = threadState(events.slice(0, events.length >> 1));
        const other = threadState(events.slice(events.length >> 1).map((event) => ({ ...event, runId: event.runId && `z${event.runId}` })), half);
        assert.deepEqual(plain(threadState(events.slice(events.length >> 1), half)), plain(threadState(events)));
        assert.ok([...other.runs.keys()].every((id) => other.runs.get(id)?.runId === id));
    });
});

/** Whoever changes it in place gets an exception. @param {any} value */
function freeze(value) {
    if (value === null || typeof value !== 'object' || Object.isFrozen(value)) return value;
    if (value[Symbol.iterator] && !Array.isArray(value)) for (const [, run] of value) freeze(run);
    for (const inner of Object.values(value)) freeze(inner);
    return Object.freeze(value);
}

describe('the timeline', () => {
    /** Rows as they may be in the record by then. @param {any[]} events */
    const rowsOf = (events) => {
        const answers = [...new Set(events.flatMap(({ messageId }) => messageId ?? []))];
        return answers.flatMap((id, i) => [
            { id: `u-${id}`, role: 'user', text: 'q', author: '', replyTo: null, runId: null, order: 2 * i, ended: '', error: '' },
            { id, role: 'assistant', text: `answer ${id}`, author: 'writer', replyTo: `u-${id}`, runId: null, order: 2 * i + 1, ended: '', error: '' },
        ]);
    };
    /** Items and turns as plain data. @param {ThreadState} state */
    const seen = (state) => structuredClone({ items: timeline(state), turns: turns(state) });

    law('is the same whether it was looked at on the way or not', (random, events) => {
        const rows = /** @type {any[]} */ (rowsOf(events));
        const steps = [...events.map((event) => (/** @type {ThreadState} */ state) => applyEvent(state, event))];
        for (const row of rows) steps.splice(random.below(steps.length + 1), 0, (state) => withMessages(state, [row]));
        let looked = emptyThread();
        for (const step of steps) {
            const [before, was] = [timeline(looked), new Map(timeline(looked).map((item) => [item.key, item]))];
            looked = step(looked);
            if (random.chance(0.5)) turns(looked);
            if (random.chance(0.7) && timeline(looked) === before) continue;
            const redrawn = timeline(looked).filter((item) => was.has(item.key) && was.get(item.key) !== item);
            assert.ok(redrawn.length <= 1, 'only what changed is another object');
        }
        assert.deepEqual(seen(looked), seen(steps.reduce((state, step) => step(state), emptyThread())));
        const shown = timeline(looked).map(({ key }) => key);
        assert.equal(new Set(shown).size, shown.length, 'nothing is shown twice');
        assert.deepEqual(turns(looked).flatMap(({ prompt, answers }) => [...(prompt ? [prompt] : []), ...answers]),
                         timeline(looked));
    });

    it('puts several agents side by side behind their prompt', () => {
        const prompt = { id: 'u1', role: 'user', text: 'q', author: '', replyTo: null, runId: null, order: 1, ended: /** @type {const} */ (''), error: '' };
        let state = withMessages(emptyThread(), [prompt, { ...prompt, id: 'u2', order: 2 }]);
        for (const agent of ['a', 'b', 'c'])
            state = withRun(state, { runId: `r-${agent}`, agent, messageId: `m-${agent}`, parentId: agent === 'c' ? 'u2' : 'u1' });
        const first = turns(state)[0];
        const of = (/** @type {string} */ agent) => ({ runId: `r-${agent}`, agentId: agent, messageId: `m-${agent}`, attempt: 1 });
        state = threadState([
            { type: 'status', ...of('c'), content: { status: 'started' } },
            { type: 'token', ...of('c'), content: 'C' },
        ], state);
        assert.equal(turns(state)[0], first, 'the other prompt is not drawn again');
        state = threadState([
            { type: 'status', ...of('b'), content: { status: 'started' } },
            { type: 'delta', ...of('b'), content: { kind: 'reasoning', text: 'hm' } },
            { type: 'token', ...of('b'), content: 'B' },
        ], state);
        assert.deepEqual(turns(state).map(({ prompt: asked, answers }) =>
            [asked?.key, answers.map(({ label, text, status, reasoning, live }) => ({ label, text, status, reasoning, live }))]), [
            ['u1', [{ label: 'a', text: '', status: 'queued', reasoning: '', live: true },
                    { label: 'b', text: 'B', status: 'typing', reasoning: 'hm', live: true }]],
            ['u2', [{ label: 'c', text: 'C', status: 'typing', reasoning: '', live: true }]],
        ]);
    });
});

describe('the price of a token', () => {
    /** A conversation with that many messages, and three agents that answer. @param {number} count */
    const conversation = (count) => {
        const rows = Array.from({ length: count }, (_, i) => ({
            id: `m${i}`, role: i % 2 ? 'assistant' : 'user', text: 'text', author: '', runId: null,
            replyTo: i % 2 ? `m${i - 1}` : null, order: i, ended: /** @type {const} */ (''), error: '' }));
        const ended = rows.filter(({ role }) => role === 'assistant').flatMap(({ id }) => [
            { type: 'status', runId: `r-${id}`, messageId: id, content: { status: 'started' } },
            { type: 'token', runId: `r-${id}`, messageId: id, content: 'text' },
            { type: 'done', runId: `r-${id}`, messageId: id, content: {} }]);
        const begun = ['a', 'b', 'c'].map((id) => ({ type: 'status', runId: id, messageId: id, content: { status: 'started' } }));
        return threadState([...ended, ...begun], withMessages(emptyThread(), rows));
    };
    const TOKENS = 8_001;
    const PER_FRAME = 4; // 200 a second, 60 frames a second

    /** Microseconds for a token, the timeline drawn once a frame. @param {ThreadState} state */
    const measure = (state) => {
        const began = performance.now();
        for (let i = 0; i < TOKENS; i++) {
            state = applyEvent(state, { type: 'token', runId: 'abc'[i % 3], messageId: 'abc'[i % 3], content: 'word ', id: `1-${i + 1}` });
            if (i % PER_FRAME === 0) timeline(state);
        }
        const us = ((performance.now() - began) * 1000) / TOKENS;
        assert.equal(timeline(state).filter(({ live }) => live).reduce((sum, { text }) => sum + text.length, 0), 5 * TOKENS);
        return us;
    };

    it('does not grow with the conversation', (t) => {
        const [small, large] = [conversation(10), conversation(5_000)];
        const best = [Infinity, Infinity];
        // the best of a few: others may be at work on this machine
        for (let i = 0; i < 3; i++) {
            best[0] = Math.min(best[0], measure(small));
            best[1] = Math.min(best[1], measure(large));
        }
        t.diagnostic(`a token costs ${best[0].toFixed(2)} µs in a conversation of 10 messages, ` +
            `${best[1].toFixed(2)} µs in one of 5,000`);
        assert.ok(best[1] < 15 * best[0] + 20, `${best}`);
    });
});

it('the example of the README', async () => {
    const readme = fs.readFileSync(path.join(ROOT, 'sdk/js/README.md'), 'utf8');
    const example = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code).find((code) => code.includes("'threadcast/state'"));
    const code = String(example).replace("'threadcast/state'", `'${pathToFileURL(path.join(ROOT, 'sdk/js/src/state.js'))}'`);
    const done = await run(process.execPath, ['--input-type=module', '-e', code]);
    assert.equal(done.stdout, 'writer Hello done\n', done.stderr);
});
