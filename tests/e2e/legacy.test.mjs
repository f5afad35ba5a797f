// The older interface: pages and Python workers written for Suna and its forks, unchanged.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, describe, test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { chunk, closes, COMPLETED, dumps, entries, shown, StreamAgent, StreamingClient, SunaWorker } from './lib/suna.mjs';

/** A slow machine is not a silent upstream. */
function patient() {
    return { 'upstream-timeout-ms': 15_000 };
}

const stack = await Stack.start({
    // two reads at once: the others wait for their turn
    bridge: { 'allow-query-token': true, 'keepalive-ms': 300, 'worker-lease-ms': 1000, 'drain-ms': 100,
              'replay-concurrency': 2, ...patient() },
    worker: { 'demo-rate': 400 },
});
const redis = () => stack.redis.client;

/** @type {SunaWorker[]} */
const workers = [];
after(() => workers.forEach((worker) => worker.kill()));

/** @param {'classic' | 'newer' | 'newest'} family @param {string} run */
function worker(family, run) {
    const started = new SunaWorker(stack.redis.url, family, run);
    workers.push(started);
    return started.ready();
}

/** Who may read every run, as a page's token is made. */
const READER = { sub: 'page', read: ['agent_run:*'] };

/** @param {string} run @param {any} [options] */
const follow = (run, { query = '', ...options } = {}) =>
    stack.events(`/agent-run/${run}/stream${query}`, { ...READER, ...options });

/** Pushes as theirs does. @param {string} run @param {...any} events */
async function push(run, ...events) {
    for (const event of events) {
        await redis().rpush(`agent_run:${run}:responses`, typeof event === 'string' ? event : dumps(event));
        await redis().publish(`agent_run:${run}:new_response`, 'new');
        if (event !== events[0]) await redis().publish(`agent_run:${run}:new_response`, 'new'); // once too often
    }
}

/** Waits until the stream has read the list's end. @param {string} run @param {number} [readers] */
const subscribed = (run, readers = 1) => until(async () => {
    const [, n] = /** @type {[string, number]} */ (await redis().pubsub('NUMSUB', `agent_run:${run}:new_response`));
    return Number(n) >= Math.min(readers, 1);
}, { what: 'the bridge has subscribed' });

describe('one Redis, one bridge, many runs', { concurrency: 4 }, () => {
    test('classic: what is there, what comes, and the end, as both of their clients read it', async () => {
        const run = randomUUID();
        const told = await worker('classic', run);
        const said = Array.from({ length: 40 }, (_, i) => chunk('t', i, i === 7 ? 'é"\n🎉' : `word ${i} `));
        said.slice(0, 20).forEach((event) => told.yields(event));
        await until(async () => await redis().llen(`agent_run:${run}:responses`) === 20);
        const page = new StreamAgent(stack, run, READER);
        const following = page.follow();
        const stream = follow(run);
        const client = new StreamingClient(stream);
        await until(() => entries(stream).length === 20 && page.messages.length === 20);
        said.slice(20).forEach((event) => told.yields(event));
        told.ends();
        await Promise.all([told.over('completed'), following, client.follow('last-chunk')]);
        assert.deepEqual(entries(stream), await redis().lrange(`agent_run:${run}:responses`, 0, -1));
        assert.deepEqual(entries(stream).slice(0, 20), said.slice(0, 20).map(dumps));
        assert.equal(entries(stream).at(-1), COMPLETED);
        assert.deepEqual(page.messages, entries(stream));
        assert.deepEqual([page.closed, page.opened, page.errors], [true, 1, []]);
        assert.deepEqual([client.closed, client.sources], [true, 1]);
        assert.equal(shown(client.messages), said.map((event) => JSON.parse(event.content).content).join(''));
        const again = new StreamAgent(stack, run, READER);
        await again.follow();
        assert.deepEqual([again.opened, again.errors], [0, [`Agent run ${run} is not running (status: completed)`]]);
    });

    test('a run that ends by a control word, by an exception, by a wish to stop', async () => {
        const runs = [randomUUID(), randomUUID(), randomUUID()];
        const [failing, stopping, foreign] = await Promise.all(
            [worker('classic', runs[0]), worker('classic', runs[1]), worker('newer', runs[2])]);
        const streams = runs.map((run) => follow(run));
        for (const told of [failing, stopping, foreign]) told.yields(chunk('t', 0, 'a'));
        await until(() => streams.every((stream) => entries(stream).length));
        failing.raises();
        for (const run of runs.slice(1)) {
            const answer = await stack.request('POST', `/api/agent-run/${run}/stop`, { sub: 'page', write: [`agent_run:${run}`] });
            assert.deepEqual([answer.status, answer.json], [200, { status: 'stopped' }], answer.text);
        }
        await Promise.all([failing.over('failed'), stopping.over('stopped'), foreign.over('stopped'),
                           ...streams.map(closes)]);
        assert.match(entries(streams[0])[1], /^\{"type": "status", "status": "error", "message": "/);
        assert.deepEqual(entries(streams[0]).slice(2), ['{"type": "status", "status": "ERROR"}',
                                                        '{"type": "status", "status": "failed", "message": "Agent run failed"}']);
        for (const stream of streams.slice(1))
            assert.deepEqual(entries(stream).slice(1), [
                '{"type": "status", "status": "STOP"}',
                '{"type": "status", "status": "stopped", "message": "Agent run was stopped"}']);
        const states = await Promise.all(runs.map((run) => stack.request('GET', `/agent-run/${run}`, READER)));
        assert.deepEqual(states.map((state) => state.json.status), ['failed', 'stopped', 'stopped']);
    });

    test('a run that finishes while its stream opens: every entry once, and the end', async () => {
        const rounds = Array.from({ length: 24 }, (_, i) => ({ run: randomUUID(), after: i }));
        await Promise.all(rounds.map(async ({ run, after: wait }) => {
            const said = Array.from({ length: 24 }, (_, i) => dumps(chunk('t', i, `${i}`)));
            const opened = [];
            for (const [i, one] of said.entries()) {
                if (i === wait) opened.push(follow(run));
                await push(run, one);
            }
            await push(run, COMPLETED);
            await closes(opened[0]);
            assert.deepEqual(entries(opened[0]), [...said, COMPLETED]);
        }));
    });

    test('a run that finished before: its whole list and the end, though nobody says `new` any more', async () => {
        const run = randomUUID();
        await redis().rpush(`agent_run:${run}:responses`, dumps(chunk('t', 0, 'a')), COMPLETED);
        const stream = follow(run);
        await closes(stream);
        assert.equal(entries(stream).length, 2);
        const older = follow(run, { version: '1.0' }); // as nginx asks when nobody tells it better
        await older.end();
        assert.deepEqual([entries(older), older.events.at(-1)?.event], [entries(stream), 'close']);
    });

    test('`new` overtakes its RPUSH, or is never said', async () => {
        const run = randomUUID();
        const stream = follow(run);
        await subscribed(run);
        await redis().publish(`agent_run:${run}:new_response`, 'new');
        await redis().rpush(`agent_run:${run}:responses`, dumps(chunk('t', 0, 'a')));
        await until(() => entries(stream).length === 1);
        await redis().rpush(`agent_run:${run}:responses`, COMPLETED);
        await closes(stream);
        assert.equal(entries(stream).length, 2);
    });

    test('the last word comes before the last entries', async () => {
        for (const tail of [['b', 'c'], ['b', COMPLETED]]) {
            const run = randomUUID();
            const stream = follow(run);
            await push(run, chunk('t', 0, 'a'));
            await until(() => entries(stream).length === 1);
            // as long as the worker holds its lock, its pushes may trail
            await redis().set(`agent_run_lock:${run}`, 'e2e');
            await redis().publish(`agent_run:${run}:control`, 'END_STREAM');
            const last = tail.map((text, i) => (text === COMPLETED ? text : dumps(chunk('t', i + 1, text))));
            for (const one of last) await redis().rpush(`agent_run:${run}:responses`, one);
            await redis().del(`agent_run_lock:${run}`);
            await closes(stream);
            assert.deepEqual(entries(stream).slice(1, 3), last);
            assert.deepEqual(entries(stream).slice(3), tail[1] === COMPLETED ? []
                : ['{"type": "status", "status": "END_STREAM"}', COMPLETED]);
        }
    });

    test('a run whose worker has left it, a list without a last word: the end, after a lease', async () => {
        const run = randomUUID();
        await push(run, chunk('t', 0, 'a'));
        await redis().set(`agent_run_lock:${run}`, 'e2e');
        await redis().expire(`agent_run:${run}:responses`, 86400);
        const stream = follow(run);
        await until(() => stream.messages.some((event) => event.data === '{"type": "ping"}'), { what: 'a ping' });
        assert.deepEqual(entries(stream), [dumps(chunk('t', 0, 'a'))]);
        await redis().del(`agent_run_lock:${run}`);
        await closes(stream);
        assert.equal(entries(stream).at(-1), COMPLETED);
    });

    test('newer: list and channel of one name, its completion', async () => {
        const run = randomUUID();
        const told = await worker('newer', run);
        const stream = follow(run);
        const client = new StreamingClient(stream);
        for (let i = 0; i < 10; i++) told.yields(chunk('t', i, `${i}`));
        await until(() => entries(stream).length === 10);
        told.ends();
        await Promise.all([told.over('completed'), client.follow('last-chunk')]);
        assert.deepEqual(entries(stream).slice(0, 11), await redis().lrange(`agent_responses:${run}`, 0, -1));
        assert.equal(JSON.parse(entries(stream)[10]).type, 'completion');
        assert.equal(entries(stream).at(-1), COMPLETED); // what the other client searches for
        assert.ok(client.closed);
    });

    test('newest: a stream, the cursor inside the entries, and `last_id`', async () => {
        const run = randomUUID();
        const told = await worker('newest', run);
        const stream = follow(run);
        for (let i = 0; i < 10; i++) told.yields(chunk('t', i, `${i}`));
        await until(() => entries(stream).length === 10);
        const cursor = JSON.parse(entries(stream)[6])._event_id;
        told.ends();
        await Promise.all([told.over('completed'), closes(stream)]);
        const kept = await redis().xrange(`agent_run:${run}:stream`, '-', '+');
        assert.deepEqual(entries(stream), kept.map(([id, [, data]]) => `${data.slice(0, -1)}, "_event_id": "${id}"}`));
        const rest = follow(run, { query: `?last_id=${cursor}` });
        await closes(rest);
        assert.deepEqual(entries(rest), entries(stream).slice(7));
        for (const bad of ['x', '-1', '1-', '1-x', '1'.repeat(60), '%0d%0a', '1-1-1'])
            assert.equal((await stack.request('GET', `/agent-run/${run}/stream?last_id=${bad}`, READER)).json.error.code,
                         'bad_last_id', bad);
        const gone = follow(run, { query: '?last_id=1-1' });
        await closes(gone);
        assert.match(entries(gone)[0], /"status": "error", "message": "A part of this run's output was lost\."/);
        assert.deepEqual(entries(gone).slice(1), entries(stream));
    });

    test('a worker that writes two families is read once', async () => {
        const run = randomUUID();
        const stream = follow(run);
        for (let i = 0; i < 6; i++) {
            await push(run, chunk('t', i, `${i}`));
            await redis().rpush(`agent_responses:${run}`, dumps(chunk('t', i, `${i}`)));
            await redis().publish(`agent_responses:${run}`, 'new');
            await redis().xadd(`agent_run:${run}:stream`, '*', 'data', dumps(chunk('t', i, `${i}`)));
        }
        await push(run, COMPLETED);
        await closes(stream);
        assert.equal(entries(stream).length, 7);
    });

    test('who may read: a grant for the run, else the thread that the run belongs to', async () => {
        const [run, nobodys] = [randomUUID(), randomUUID()];
        const thread = await stack.thread();
        await push(run, { type: 'status', status: 'running' }, chunk(thread, 0, 'a'), chunk('another', 1, 'b'));
        await push(nobodys, { type: 'status', status: 'running' });
        /** @type {[any, string, number][]} */
        const cases = [
            [{ token: null }, run, 401],
            [{ sub: 'ann' }, run, 200], [{ sub: 'eve' }, run, 403], [{ sub: 'ann' }, nobodys, 403],
            [{ sub: 'ann' }, randomUUID(), 403], [{ sub: 'eve', read: [thread] }, run, 200],
            [{ sub: 'eve', read: [thread] }, nobodys, 403],
            [{ sub: 'eve', read: [`agent_run:${run}`] }, run, 200],
            [{ sub: 'eve', read: [`agent_run:${run}`] }, nobodys, 403],
            [{ sub: 'eve', read: [`agent_run:${run.slice(0, 8)}*`] }, run, 200],
            [{ sub: 'eve', read: ['*'] }, nobodys, 200],
            // prefixes of threads, however they begin
            [{ sub: 'eve', read: ['a*', 'agent_run*', `${nobodys[0]}*`, nobodys] }, nobodys, 403],
            [{ sub: 'eve', write: ['agent_run:*'] }, run, 403],
            [{ sub: 'eve', read: ['agent_run:'] }, run, 401], [{ sub: 'eve', read: ['agent_run:a:b'] }, run, 401],
        ];
        const refusals = new Set();
        for (const [who, id, status] of cases) {
            const stream = stack.events(`/agent-run/${id}/stream`, who);
            assert.equal(await stream.opened(), status, JSON.stringify([who, id]));
            const answer = await until(() => stream.status === 200 ? { json: null } : stream.body && { json: JSON.parse(stream.body) });
            if (status === 403) refusals.add(JSON.stringify(answer.json));
            stream.close();
            const state = await stack.request('GET', `/agent-run/${id}`, who);
            assert.equal(state.status, status, state.text);
            if (status === 403) refusals.add(JSON.stringify(state.json));
        }
        assert.equal(refusals.size, 1, 'foreign and missing look the same');
        const { json: { ticket } } = await stack.request('POST', '/v1/tickets', { json: { threads: [thread] } });
        for (const [id, status] of /** @type {[string, number][]} */ ([[run, 200], [nobodys, 403]])) {
            const opened = stack.events(`/agent-run/${id}/stream?ticket=${ticket}`, { token: null });
            assert.equal(await opened.opened(), status, 'a ticket opens the runs of its threads');
            opened.close();
        }
        const stream = stack.events(`/agent-run/${run}/stream`, { sub: 'ann' });
        await until(() => entries(stream).length === 2);
        await push(run, COMPLETED);
        await closes(stream);
        assert.equal(entries(stream).length, 3, 'an entry of another thread reaches nobody');
        for (const who of [{ sub: 'ann', read: ['*'] }, { sub: 'eve', read: [`agent_run:${nobodys}`], write: ['agent_run'] }])
            assert.equal((await stack.request('POST', `/agent-run/${nobodys}/stop`, who)).status, 403);
    });

    test('their own table of runs, as a view `older_runs`: owner and state before the first entry', async () => {
        await stack.pg.query('create table suna_runs (id uuid primary key, thread_id text, account uuid, status text)');
        await stack.pg.query('create view older_runs as select id, thread_id, account as owner, status from suna_runs');
        const [run, ended, owner] = [randomUUID(), randomUUID(), randomUUID()];
        for (const [id, status] of [[run, 'running'], [ended, 'stopped']])
            await stack.pg.query('insert into suna_runs values ($1, $2, $3, $4)', [id, 'theirs', owner, status]);
        /** @type {[string, string, number, string?][]} */
        const asked = [[owner, run, 200, 'running'], [owner, ended, 200, 'stopped'], ['eve', run, 403],
                       [owner, randomUUID(), 403], [owner, 'no-uuid', 403]];
        for (const [sub, id, status, state] of asked) {
            const answer = await stack.request('GET', `/agent-run/${id}`, { sub });
            assert.deepEqual([answer.status, answer.json.status], [status, state], answer.text);
        }
        assert.equal((await stack.request('POST', `/agent-run/${run}/stop`, { sub: 'eve', read: ['*'] })).status, 403);
        const page = new StreamAgent(stack, run, { sub: owner });
        const following = page.follow(); // nothing of it is in Redis yet
        await subscribed(run);
        await push(run, chunk('theirs', 0, 'a'), COMPLETED);
        await following;
        assert.deepEqual([page.messages.length, page.errors], [2, []]);
        await push(ended, chunk('theirs', 0, 'a'), chunk('theirs', 1, 'b'));
        const stream = stack.events(`/agent-run/${ended}/stream`, { sub: owner });
        await closes(stream);
        assert.deepEqual(entries(stream).slice(2),
                         ['{"type": "status", "status": "stopped", "message": "Agent run was stopped"}']);
        assert.equal((await stack.request('POST', `/agent-run/${run}/stop`, { sub: owner })).status, 200);
    });

    test('?token= only with --allow-query-token; nothing at all with --no-legacy-api; --redis-prefix', async () => {
        const [strict, off, prefixed] = await Promise.all([{}, { 'no-legacy-api': true }, { 'redis-prefix': 'p:' }]
            .map((options) => stack.startBridge({ ...patient(), ...options })));
        const run = randomUUID();
        await push(run, COMPLETED);
        const asked = `/api/agent-run/${run}/stream?token=${stack.token(READER)}`;
        await closes(stack.events(asked, { token: null }));
        assert.equal((await strict.fetch(asked)).status, 401);
        for (const to of [asked, `/agent-run/${run}`, `/agent-runs/${run}/status`])
            assert.equal((await stack.request('GET', to, { ...READER, bridge: off })).status, 404);
        // another tenant of the same Redis has keys of its own
        await redis().rpush(`p:agent_run:${run}:responses`, dumps(chunk('t', 0, 'a')), COMPLETED);
        const theirs = follow(run, { bridge: prefixed });
        await closes(theirs);
        assert.equal(entries(theirs).length, 2);
        await Promise.all([strict, off, prefixed].map((bridge) => bridge.stop()));
    });

    test('limits: a transient refusal is a plain 503, which opens no second stream', async () => {
        const bridge = await stack.startBridge({ 'max-streams-per-user': 1, ...patient() });
        const [first, second] = [randomUUID(), randomUUID()];
        const stream = follow(first, { bridge });
        assert.equal(await stream.opened(), 200);
        const refused = await stack.request('GET', `/agent-run/${second}/stream`, { ...READER, bridge });
        assert.deepEqual([refused.status, refused.json.error.code], [503, 'unavailable']);
        stream.close();
        await bridge.stop();
    });

    test('what others say on the thread: as it is, strings in status and error too', async () => {
        const run = randomUUID();
        const thread = await stack.thread();
        await push(run, chunk(thread, 0, 'a'));
        const stream = stack.events(`/agent-run/${run}/stream`, { sub: 'ann' });
        const alone = follow(run); // may have the run, and not its thread
        await until(() => entries(stream).length === 1 && entries(alone).length === 1);
        await until(async () => Number((await redis().pubsub('NUMSUB', `thread:${thread}`))[1]) > 0);
        const said = [{ type: 'token', threadId: thread, content: dumps({ role: 'assistant', content: 'a' }), ts: 1 },
                      { type: 'status', threadId: thread, content: 'thinking', ts: 2 },
                      { type: 'error', threadId: thread, content: 'it broke', ts: 3 }];
        // the hub lets bare events through once it has read the thread's log
        await until(async () => {
            if (entries(stream).length < 4)
                for (const event of said) await redis().publish(`thread:${thread}`, dumps(event));
            return until(() => entries(stream).length >= 4, { timeout: 200 }).catch(() => false);
        });
        assert.deepEqual(entries(stream).slice(1, 4), said.map(dumps));
        await push(run, COMPLETED);
        await Promise.all([closes(stream), closes(alone)]);
        assert.equal(entries(alone).length, 2);
    });

    test('a run of our own worker, in their words: live, from the log, out of Postgres', async () => {
        const thread = await stack.thread();
        const { runId, runs } = await stack.post(thread, 'tell me '.repeat(8));
        const page = new StreamAgent(stack, runId, { sub: 'ann' });
        const live = stack.events(`/agent-run/${runId}/stream`, { sub: 'ann' });
        await Promise.all([page.follow(), closes(live)]);
        const text = await stack.messageText(runs[0].messageId);
        /** @param {import('./harness.mjs').SseStream} stream */
        const whole = (stream) => {
            const said = entries(stream).map((data) => JSON.parse(data));
            assert.equal(shown(said), text);
            const [complete] = said.filter((one) => one.message_id);
            assert.deepEqual([complete.message_id, JSON.parse(complete.content)],
                             [runs[0].messageId, { role: 'assistant', content: text }]);
            assert.ok(said.every((one) => !one.metadata || JSON.parse(one.metadata).thread_run_id === runId));
            assert.equal(entries(stream).at(-1), COMPLETED);
            for (const data of entries(stream)) assert.equal(dumps(JSON.parse(data)), dumps(JSON.parse(data.replace(/\\u/g, '\\u'))));
        };
        whole(live);
        assert.ok(page.opened <= 1 && page.closed);
        const later = stack.events(`/agent-run/${runId.toUpperCase()}/stream`, { sub: 'ann' });
        await closes(later);
        assert.deepEqual(entries(later), entries(live), 'told in the same words every time');
        await redis().del(`{thread:${thread}}:log`, `{thread:${thread}}:state`);
        const stored = stack.events(`/agent-run/${runId}/stream`, { sub: 'ann' });
        await closes(stored);
        whole(stored);
        const state = await stack.request('GET', `/agent-runs/${runId}/status`, { sub: 'ann' });
        assert.deepEqual([state.json.status, state.json.threadId, state.json.error], ['completed', thread, null]);
        assert.equal((await stack.request('GET', `/agent-run/${runId}`, { sub: 'eve' })).status, 403);
    });

    test('the thread gets another owner: its runs are closed to the old one', async () => {
        const thread = await stack.thread();
        const { runId } = await stack.post(thread, 'word '.repeat(4000));
        const run = randomUUID();
        await push(run, chunk(thread, 0, 'a'));
        const streams = [runId, run].map((id) => stack.events(`/agent-run/${id}/stream`, { sub: 'ann' }));
        await until(() => streams.every((stream) => entries(stream).length));
        await stack.pg.query(`update threads set owner = 'bob' where id = $1`, [thread]);
        await Promise.all(streams.map((stream) => stream.end()));
        assert.ok(streams.every((stream) => stream.ending === 'fin' && !stream.events.some((event) => event.event === 'close')));
        assert.equal((await stack.request('POST', `/agent-run/${runId}/stop`, { sub: 'bob' })).status, 200);
    });

    test('a run of our own worker is stopped', async () => {
        const thread = await stack.thread();
        const { runId } = await stack.post(thread, 'word '.repeat(2000));
        const stream = stack.events(`/agent-run/${runId}/stream`, { sub: 'ann' });
        const alone = follow(runId); // may have the run, and not its thread
        await until(() => [stream, alone].every((one) => entries(one).some((data) => data.includes('chunk'))));
        await redis().publish(`thread:${thread}`, '{"type": "note", "content": "hello"}');
        await until(() => entries(stream).some((data) => data.includes('hello')));
        assert.equal((await stack.request('POST', `/agent-run/${runId}/stop`, { sub: 'eve', read: [thread] })).status, 403);
        const answer = await stack.request('POST', `/agent-run/${runId}/stop`, { sub: 'ann' });
        assert.deepEqual([answer.status, answer.json], [200, { status: 'stopped' }]);
        await Promise.all([closes(stream), closes(alone)]);
        assert.ok(!entries(alone).some((data) => data.includes('hello')));
        assert.equal(entries(stream).at(-1), '{"type": "status", "status": "stopped", "message": "Agent run was stopped"}');
    });
});

test('what is no entry is dropped and counted; a large list is paced by its reader', async () => {
    const run = randomUUID();
    const list = `agent_run:${run}:responses`;
    const before = await stack.bridge.metrics();
    await redis().rpush(list, 'no JSON', '[1]', '{"a": 1} x', '{"t\\u0079pe": "status"}',
                        `{"big": "${'x'.repeat(256 << 10)}"}`, '{"a": NaN}', '{\n"in": "lines"\r\n}');
    const large = Array.from({ length: 3000 }, (_, i) => dumps(chunk('t', i, `${i}${'.'.repeat(2000)}`)));
    await redis().rpush(list, ...large);
    const stream = follow(run, { paused: true });
    await until(async () => (await stack.bridge.metrics()).threadcast_bridge_clients >= 1);
    await push(run, COMPLETED);
    const held = await stack.bridge.metrics();
    const sent = (/** @type {Record<string, number>} */ m) => m.threadcast_bridge_older_entries_total;
    assert.ok(sent(held) - sent(before) < 2900, 'it was read before its reader took it');
    stream.resume();
    await closes(stream);
    assert.deepEqual(entries(stream), ['{ "in": "lines"  }', ...large, COMPLETED]);
    const metrics = await stack.bridge.metrics();
    const rose = (/** @type {string} */ name) => metrics[`threadcast_bridge_${name}`] - before[`threadcast_bridge_${name}`];
    assert.equal(rose('drops_total{reason="too_large"}'), 1);
    assert.equal(rose('drops_total{reason="not_json"}'), 5);
});

test('Redis forgets everything in the midst of a run of our own: the page still has the whole answer', async () => {
    const thread = await stack.thread();
    const { runId, runs } = await stack.post(thread, 'tell me much '.repeat(60));
    const stream = stack.events(`/agent-run/${runId}/stream`, { sub: 'ann' });
    await until(() => entries(stream).filter((data) => data.includes('chunk')).length > 5);
    await redis().flushall();
    await closes(stream);
    assert.equal(shown(entries(stream).map((data) => JSON.parse(data))), await stack.messageText(runs[0].messageId));
    assert.equal(entries(stream).at(-1), COMPLETED);
});

test('the bridge restarts: the page reconnects and has everything, from the beginning', async () => {
    const run = randomUUID();
    const page = new StreamAgent(stack, run, READER);
    const following = page.follow();
    await push(run, chunk('t', 0, 'a'), chunk('t', 1, 'b'));
    await until(() => page.messages.length === 2);
    const stream = follow(run);
    await until(() => entries(stream).length === 2);
    await stack.bridge.restart();
    await stream.end();
    assert.deepEqual([stream.events.at(-1)?.event, stream.ending], ['bye', 'fin']);
    await until(() => page.messages.length >= 4, { what: 'the page is back' }); // had it ended, it would not come
    await push(run, chunk('t', 2, 'c'), COMPLETED);
    await following;
    assert.ok(page.opened >= 2);
    assert.deepEqual(page.messages.slice(-4).map((data) => JSON.parse(data).sequence ?? 'end'), [0, 1, 2, 'end']);
    assert.equal(page.messages.at(-1), COMPLETED);
});

test('Redis restarts in mid-stream: it goes on behind the last entry; emptied: an honest word', async () => {
    const [kept, lost, begunAnew] = [randomUUID(), randomUUID(), randomUUID()];
    const streams = [kept, lost, begunAnew].map((run) => follow(run));
    for (const run of [kept, lost, begunAnew]) await push(run, chunk('t', 0, 'a'), chunk('t', 1, 'b'), chunk('t', 2, 'c'));
    await until(() => streams.every((stream) => entries(stream).length === 3));
    await stack.redis.kill();
    await stack.redis.start();
    await push(kept, chunk('t', 3, 'd'), COMPLETED);
    await closes(streams[0]);
    assert.deepEqual(entries(streams[0]).map((data) => JSON.parse(data).sequence ?? 'end'), [0, 1, 2, 3, 'end']);
    await redis().del(`agent_run:${lost}:responses`);
    // as a worker does that goes on: as many entries as there were, and more
    await redis().multi().del(`agent_run:${begunAnew}:responses`)
        .rpush(`agent_run:${begunAnew}:responses`, ...[3, 4, 5, 6].map((i) => dumps(chunk('t', i, `${i}`)))).exec();
    await until(() => entries(streams[2]).length === 8);
    const word = '{"type": "status", "status": "error", "message": "A part of this run\'s output was lost."}';
    assert.deepEqual(entries(streams[2]).slice(3).map((data) => JSON.parse(data).sequence ?? data), [word, 3, 4, 5, 6]);
    await push(begunAnew, COMPLETED);
    await closes(streams[2]);
    await closes(streams[1]); // nobody is at it: over, after a lease
    assert.deepEqual(entries(streams[1]).slice(3), [word]);
});
