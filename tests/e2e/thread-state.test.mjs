// The parts of the demo page that decide something, without a page: what a conversation
// looks like after these events (thread-state), what was lost or came twice (ledger), how
// answers stand beside each other (rows).

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Ledger, parseId } from '../../app/ledger.js';
import { rowsOf } from '../../app/rows.js';
import {
    afterReset,
    applyEvent,
    emptyThread,
    liveRuns,
    timeline,
    withMessages,
    withRun,
    withRunStatus,
    withStalled,
} from '../../sdk/js/src/state.js';

const run = { runId: 'r1', agentId: 'demo', messageId: 'a1', attempt: 1, ts: 1000 };
const status = (word, more = {}) => ({ type: 'status', ...run, content: { status: word }, ...more });
const token = (content, more = {}) => ({ type: 'token', ...run, content, ...more });
const delta = (content, more = {}) => ({ type: 'delta', ...run, content, ...more });
const done = (more = {}) => ({
    type: 'done',
    ...run,
    ts: 3000,
    content: { messageId: 'a1', finishReason: 'stop' },
    ...more,
});
const row = (id, order, more = {}) => ({
    id,
    role: 'user',
    text: `text of ${id}`,
    author: '',
    replyTo: null,
    runId: null,
    order,
    ended: '',
    error: '',
    ...more,
});
const answer = (id, order, replyTo, text) => row(id, order, { role: 'assistant', author: 'demo', replyTo, text });

/** @param {object[]} events */
const after = (events, state = emptyThread()) => events.reduce(applyEvent, state);
const textsOf = (state) => timeline(state).map((item) => item.text);
const runOf = (state, id = 'r1') => state.runs.get(id);

describe('an answer', () => {
    it('is the concatenation of its tokens', () => {
        const state = after([status('started'), token('Hel'), token('lo '), token('🇦'), token('🇹'), done()]);
        assert.deepEqual(textsOf(state), ['Hello 🇦🇹']);
        assert.equal(runOf(state).tokens, 4);
        assert.deepEqual(runOf(state).outcome, { kind: 'done', reason: 'stop', message: '' });
    });

    it('is the same when neighbouring tokens were merged on the way', () => {
        const pieces = ['Wien', ' ist', '', ' die', ' Haupt', 'stadt', ' 🏳️‍🌈', '\n'];
        const whole = textsOf(after([status('started'), ...pieces.map((piece) => token(piece)), done()]));
        for (let cut = 0; cut <= pieces.length; cut++) {
            const merged = [pieces.slice(0, cut).join(''), pieces.slice(cut).join('')];
            assert.deepEqual(
                textsOf(after([status('started'), ...merged.map((piece) => token(piece)), done()])),
                whole,
            );
        }
    });

    it('starts over with `rewind`, in the same attempt and in the next', () => {
        let state = after([status('started'), delta({ kind: 'reasoning', text: 'x' }), token('wrong')]);
        state = after([status('rewind'), token('right')], state);
        assert.deepEqual(textsOf(state), ['right']);
        assert.deepEqual(runOf(state).steps, []);
        state = after(
            [status('rewind', { attempt: 2 }), token('better', { attempt: 2 }), done({ attempt: 2 })],
            state,
        );
        assert.deepEqual(textsOf(state), ['better']);
        assert.equal(runOf(state).rewinds, 2);
    });

    it('ignores an attempt that was overtaken', () => {
        const state = after([
            status('started'),
            token('a'),
            status('rewind', { attempt: 2 }),
            token('B', { attempt: 2 }),
            token('a'),
            done(),
            token('C', { attempt: 2 }),
        ]);
        assert.deepEqual(textsOf(state), ['BC']);
        assert.equal(runOf(state).outcome, null);
    });

    it('shows no token of an attempt whose beginning was not seen, and then the record', () => {
        let state = after([token('…middle'), token(' end'), done()]);
        assert.deepEqual(textsOf(state), ['']);
        assert.equal(runOf(state).joined, false);
        state = withMessages(state, [answer('a1', 2, null, 'beginning, middle end')]);
        assert.deepEqual(textsOf(state), ['beginning, middle end']);

        state = after([status('started'), token('old'), token('new', { attempt: 2 })]);
        assert.deepEqual(textsOf(state), [''], 'a higher attempt without its beginning');
    });

    it('takes nothing after its end', () => {
        const ended = after([status('started'), token('x'), done()]);
        const more = [
            token('y'),
            status('rewind', { attempt: 2 }),
            token('z', { attempt: 2 }),
            { type: 'error', ...run, content: { code: 'c', message: 'm' } },
        ];
        for (const event of more) assert.equal(applyEvent(ended, event), ended);
    });

    it('that failed or was cancelled keeps its text and says why', () => {
        const failed = after([
            status('started'),
            token('half'),
            { type: 'error', ...run, content: { code: 'timeout', message: 'Too slow.', retryable: true } },
        ]);
        assert.deepEqual(runOf(failed).outcome, { kind: 'error', reason: 'timeout', message: 'Too slow.' });
        assert.deepEqual(textsOf(failed), ['half']);
        const stopped = after([
            status('started'),
            token('half'),
            status('cancelled'),
            done({ content: { messageId: 'a1', finishReason: 'cancelled' } }),
        ]);
        assert.equal(runOf(stopped).outcome.kind, 'cancelled');
        const queued = after([status('cancelled'), done({ content: { finishReason: 'cancelled' } })]);
        assert.deepEqual(textsOf(queued), ['']);
        assert.equal(runOf(queued).outcome.kind, 'cancelled');
    });

    it('is not changed in place', () => {
        const before = after([status('started'), token('x')]);
        const kept = runOf(before);
        applyEvent(before, token('y'));
        assert.equal(runOf(before), kept);
        assert.equal(kept.text, 'x');
    });
});

describe('history and stream', () => {
    it('show a message once, and the record is right', () => {
        const state = withMessages(after([status('started'), token('ans'), token('wer')]), [
            row('u1', 1),
            answer('a1', 2, 'u1', 'answer!'),
        ]);
        assert.deepEqual(textsOf(state), ['text of u1', 'answer!']);
        assert.equal(runOf(state).text, 'answer', 'for comparing');
    });

    it('keep every answer behind its prompt, whoever ends first', () => {
        let state = withMessages(emptyThread(), [row('u1', 1), row('u2', 2)]);
        state = withRun(state, { runId: 'r1', agent: 'a', messageId: 'a1', parentId: 'u1' });
        state = withRun(state, { runId: 'r2', agent: 'b', messageId: 'a2', parentId: 'u1' });
        state = withRun(state, { runId: 'r3', agent: 'a', messageId: 'a3', parentId: 'u2' });
        const of = (n, event) => ({ ...event, runId: `r${n}`, messageId: `a${n}` });
        state = after(
            [
                of(1, status('started')),
                of(2, status('started')),
                of(3, status('started')),
                of(2, token('two')),
                of(1, token('one')),
                of(3, token('three')),
                of(2, token('!')),
            ],
            state,
        );
        assert.deepEqual(textsOf(state), ['text of u1', 'one', 'two!', 'text of u2', 'three']);
        state = withMessages(state, [answer('a3', 3, 'u2', 'three'), answer('a2', 4, 'u1', 'two!')]);
        assert.deepEqual(textsOf(state), ['text of u1', 'two!', 'one', 'text of u2', 'three']);
        assert.deepEqual(
            liveRuns(state).map(({ runId }) => runId),
            ['r1', 'r2', 'r3'],
        );
    });

    it('put a prompt of somebody else before the answer that came first', () => {
        const state = withMessages(after([status('started'), token('answer')]), [row('u1', 1)]);
        assert.deepEqual(textsOf(state), ['text of u1', 'answer']);
    });

    it('tell of an end that only the record knows', () => {
        const state = withMessages(emptyThread(), [
            { ...answer('a1', 1, null, 'half'), ended: 'cancelled' },
            { ...answer('a2', 2, null, 'half'), ended: 'failed', error: 'Too slow.' },
            answer('a3', 3, null, 'whole'),
        ]);
        assert.deepEqual(
            timeline(state).map(({ outcome }) => outcome && [outcome.kind, outcome.message]),
            [['cancelled', ''], ['error', 'Too slow.'], null],
        );
    });

    it('sort earlier pages before later ones and know a row again', () => {
        const state = withMessages(withMessages(emptyThread(), [row('u2', 2), row('u3', 3)]), [
            row('u1', 1),
            row('u2', 2, { text: 'edited' }),
        ]);
        assert.deepEqual(textsOf(state), ['text of u1', 'edited', 'text of u3']);
    });
});

describe('a reset', () => {
    it('forgets what runs had, until they begin again', () => {
        let state = afterReset(after([status('started'), token('with a ')]));
        assert.deepEqual(textsOf(after([token('hole')], state)), ['']);
        state = after([status('rewind'), token('all of it')], state);
        assert.deepEqual(textsOf(state), ['all of it']);
    });

    it('leaves runs alone that had ended', () => {
        const ended = after([status('started'), token('x'), done()]);
        const state = after([status('started'), token('x'), done()], afterReset(ended));
        assert.deepEqual(textsOf(state), ['x']);
    });

    it('asks how runs ended meanwhile, but believes the stream first', () => {
        const answered = { runId: 'r1', status: 'failed', messageId: 'a1', parentId: 'u1', error: 'Lost.' };
        const lost = withRunStatus(afterReset(after([status('started'), token('x')])), answered);
        assert.deepEqual(runOf(lost).outcome, { kind: 'error', reason: 'failed', message: 'Lost.' });
        const joined = after([status('started'), token('x')]);
        assert.equal(withRunStatus(joined, { ...answered, status: 'done' }), joined);
    });
});

describe('deltas', () => {
    it('join reasoning and pair results with their calls', () => {
        const state = after([
            status('started'),
            delta({ kind: 'reasoning', text: 'Let me ' }),
            delta({ kind: 'reasoning', text: 'see.' }),
            delta({ kind: 'tool_call', toolCallId: 'c1', name: 'search', arguments: { q: 1 } }),
            delta({ kind: 'tool_call', toolCallId: 'c2', name: 'search', arguments: { q: 2 } }),
            delta({ kind: 'tool_result', toolCallId: 'c1', result: 'one' }),
            delta({ kind: 'tool_result', toolCallId: 'c2', result: 'no', isError: true }),
            delta({ kind: 'usage', inputTokens: 1, outputTokens: 2, totalTokens: 3 }),
        ]);
        const { steps, usage } = runOf(state);
        assert.deepEqual(
            steps.map(({ kind, name, state }) => [kind, name, state]),
            [
                ['reasoning', 'Reasoning', 'done'],
                ['tool', 'search', 'done'],
                ['tool', 'search', 'failed'],
            ],
        );
        assert.equal(steps[0].text, 'Let me see.');
        assert.deepEqual([steps[1].output, steps[2].output], ['one', 'no']);
        assert.deepEqual(usage, { inputTokens: 1, outputTokens: 2, totalTokens: 3 });
    });

    it('let a later word on the same thing take the place of the earlier one', () => {
        const state = after([
            status('started'),
            delta({ kind: 'progress', completed: 1, total: 4, unit: 'pages' }),
            delta({ kind: 'step', name: 'read', state: 'started' }),
            delta({ kind: 'progress', completed: 4, total: 4, unit: 'pages' }),
            delta({ kind: 'step', name: 'read', state: 'finished', detail: 'all of it' }),
            delta({ kind: 'milestone', title: 'Half way' }),
            delta({ kind: 'activity', message: 'Looking' }),
        ]);
        assert.deepEqual(
            runOf(state).steps.map(({ kind, name, text, state }) => [kind, name, text, state]),
            [
                ['progress', 'Progress', '4 of 4 pages', 'done'],
                ['step', 'read', 'all of it', 'done'],
                ['step', 'Half way', '', 'done'],
                ['other', 'Looking', '', 'done'],
            ],
        );
        assert.equal(runOf(state).steps[0].fraction, 1);
    });

    it("are shown as they are when their kind is an application's own", () => {
        const [step] = runOf(after([status('started'), delta({ kind: 'confetti', colour: 'red' })])).steps;
        assert.deepEqual([step.kind, step.name, step.input], ['other', 'confetti', { colour: 'red' }]);
    });

    it('survive contents of any kind', () => {
        for (const content of [
            null,
            undefined,
            7,
            'text',
            [],
            {},
            { kind: null },
            { kind: 'tool_result' },
            { kind: 'progress', total: 0 },
        ]) {
            after([status('started'), delta(content), done({ content })]);
        }
    });
});

describe('events of no run', () => {
    it('make one bubble of neighbouring text', () => {
        const outside = (content) => ({ type: 'token', content });
        let state = after([outside('Hel'), outside('lo')]);
        assert.deepEqual(textsOf(state), ['Hello']);
        assert.deepEqual(liveRuns(state), []);
        state = after([outside('again')], withMessages(state, [row('u1', 1)]));
        assert.equal(textsOf(state).length, 2);
    });

    it('are noted as they are when they are no text', () => {
        const state = after([{ type: 'test', content: 'hello' }, { hi: 1 }]);
        assert.deepEqual(
            timeline(state).map(({ role, label, text }) => [role, label, text]),
            [
                ['note', 'test', 'hello'],
                ['note', 'event', '{"hi":1}'],
            ],
        );
    });

    it('do not pile up', () => {
        let state = emptyThread();
        for (let i = 0; i < 500; i++) state = applyEvent(state, { type: 'test', content: String(i) });
        const texts = textsOf(state);
        assert.equal(texts.length, 200);
        assert.equal(texts.at(-1), '499');
    });
});

it('a stalled worker is told of until its run goes on', () => {
    const stalled = withStalled(after([status('started')]), '');
    assert.equal(runOf(stalled).stalled, true);
    assert.equal(runOf(after([token('x')], stalled)).stalled, false);
});

describe('the ledger', () => {
    const ledger = (base, ...ids) => {
        const made = new Ledger();
        made.rebase(base);
        const fresh = ids.map((id) => made.see(id));
        return { made, fresh };
    };

    it('reads ids and nothing else', () => {
        assert.deepEqual(parseId('1763633222118045-17'), { epoch: '1763633222118045', n: 17 });
        for (const id of ['', '0', 'now', 'run', '1-', '-1', '1-2-3', '1-2,1-3', ' 1-2', null, undefined]) {
            assert.equal(parseId(id), null);
        }
    });

    it('counts holes, and no longer when they are filled', () => {
        const { made } = ledger('5-10', '5-11', '5-12', '5-16', '5-17');
        assert.deepEqual([made.events, made.lost, made.duplicated], [4, 3, 0]);
        assert.equal(made.see('5-14'), true);
        assert.equal(made.lost, 2);
        assert.equal(made.see('5-14'), false);
        assert.deepEqual([made.lost, made.duplicated], [2, 1]);
    });

    it('counts a hole right behind the cursor', () => {
        assert.equal(ledger('5-10', '5-12').made.lost, 1);
        assert.equal(ledger('5-0', '5-1', '5-2').made.lost, 0);
    });

    it('does not know what was before it came in', () => {
        for (const base of ['0', 'now', 'run', '']) assert.equal(ledger(base, '5-40', '5-41').made.lost, 0);
    });

    it('sees duplicates', () => {
        const { made, fresh } = ledger('5-10', '5-11', '5-11', '5-10', '5-12');
        assert.deepEqual(fresh, [true, false, false, true]);
        assert.deepEqual([made.lost, made.duplicated, made.position], [0, 2, '5-12']);
    });

    it('expects a new epoch to begin at 1, and never compares epochs', () => {
        assert.equal(ledger('9-3', '9-4', '8-1', '8-2').made.lost, 0);
        assert.equal(ledger('9-3', '9-4', '12-3').made.lost, 2);
    });

    it('starts afresh behind a reset, and forgives nothing that was lost', () => {
        const { made } = ledger('5-10', '5-12');
        made.reset('5-4');
        assert.deepEqual(
            ['5-5', '5-6', '5-11', '5-12'].map((id) => made.see(id)),
            [true, true, true, true],
        );
        assert.deepEqual([made.lost, made.duplicated, made.resets], [5, 0, 1]);
    });

    it('counts events without an id, which cannot be lost', () => {
        const { made } = ledger('5-10', '', '5-11', '');
        assert.deepEqual([made.events, made.bare, made.lost, made.duplicated], [3, 2, 0, 0]);
    });

    it('counts an answer that differs from the record', () => {
        const { made } = ledger('5-10');
        made.mismatch();
        assert.equal(made.lost, 1);
    });

    it('agrees with a plain set, whatever the order', () => {
        let seed = 7;
        const random = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n;
        for (let round = 0; round < 200; round++) {
            const { made } = ledger('1-0');
            const seen = new Set();
            let twice = 0;
            for (let i = 0; i < 40; i++) {
                const n = 1 + random(30);
                if (seen.has(n)) twice++;
                seen.add(n);
                made.see(`1-${n}`);
            }
            assert.equal(made.duplicated, twice);
            assert.equal(made.lost, Math.max(...seen) - seen.size);
        }
    });
});

describe('rows', () => {
    const asked = after([], withMessages(emptyThread(), [row('p', 1), row('q', 2)]));
    const living = (/** @type {any[]} */ runs) => runs.reduce(
        (state, [runId, agent, parentId]) => withRun(state, { runId, agent, messageId: `m-${runId}`, parentId }), asked);
    const shape = (state) => rowsOf(timeline(state)).map(({ key, item, places }) =>
        item ? key : places.map(({ versions }) => versions.map(({ key: id }) => id)));

    it('put several agents beside each other, by name, whoever began or ended first', () => {
        const state = living([['1', 'writer', 'p'], ['2', 'critic', 'p'], ['3', 'poet', 'p'], ['4', 'writer', 'q']]);
        assert.deepEqual(shape(state), ['p', [['m-2'], ['m-3'], ['m-1']], 'q', [['m-4']]]);
        const ended = withMessages(state, [answer('m-1', 3, 'p', 'x')].map((message) => ({ ...message, author: 'writer' })));
        assert.deepEqual(shape(ended), shape(state));
    });

    it('keep the answers of one agent to one prompt as versions', () => {
        const state = living([['1', 'writer', 'p'], ['2', 'poet', 'p'], ['3', 'writer', 'p']]);
        assert.deepEqual(shape(state), ['p', [['m-2'], ['m-1', 'm-3']], 'q']);
    });

    it('leave alone what belongs to no prompt, and what stands between', () => {
        const state = after([{ type: 'token', content: 'a' }, { type: 'odd', content: 'b' }, { type: 'token', content: 'c' }]);
        const rows = rowsOf(timeline(state));
        assert.deepEqual(rows.map(({ item, places }) => item?.role ?? places.length), [1, 'note', 1]);
        assert.equal(new Set(rows.map(({ key }) => key)).size, 3);
    });
});
