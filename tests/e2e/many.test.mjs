// Many agents in one thread: their runs side by side on one channel, each with its own ids,
// end and error; one call that cancels all; what they used; the file that names them.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import pg from 'pg';
import { Stack, until } from './harness.mjs';

/** @type {Stack} */
let stack;
/** @type {string} */
let file;

/** What the workers' file says. @param {object} more @param {string} [standard] */
function writeAgents(more, standard = 'writer') {
    const agents = {
        writer: { kind: 'demo', rate: 500, description: 'Writes.' },
        critic: { kind: 'demo', rate: 800 },
        poet: { kind: 'demo', rate: 650 },
        slow: { kind: 'demo', rate: 5 }, // over a minute: it is cancelled or goes on elsewhere
        slower: { kind: 'demo', rate: 4 },
        fails: { kind: 'exec', command: `echo '{"type":"token","content":"so far"}'; exit 3` },
        history: { kind: 'exec', command: path.join(stack.dir, 'history.py') },
        ...more,
    };
    fs.writeFileSync(`${file}.new`, JSON.stringify({ default: standard, agents }));
    fs.renameSync(`${file}.new`, file);
}

const WORKER = { 'poll-ms': 200, 'metrics-listen': '127.0.0.1:0' };
const MORTAL = { ...WORKER, 'lease-ms': 1000 }; // of those that are killed, and who comes behind

before(async () => {
    stack = await Stack.start({ workers: 0 });
    file = path.join(stack.dir, 'agents.json');
    fs.writeFileSync(path.join(stack.dir, 'history.py'), `#!/usr/bin/python3
import json, sys
said = [[m["role"], m.get("agentId"), m["author"]] for m in json.load(sys.stdin)["messages"]]
print(json.dumps({"type": "token", "content": json.dumps(said)}))
print(json.dumps({"type": "delta", "content": {"kind": "usage", "inputTokens": 7, "outputTokens": 3}}))
`, { mode: 0o755 });
    writeAgents({});
    await stack.startWorker({ ...WORKER, 'agents-file': file });
});

/** @param {string} thread @param {string[]} agents @param {object} [more] */
async function ask(thread, agents, more = {}) {
    const answer = await stack.request('POST', `/v1/threads/${thread}/messages`,
                                       { json: { content: 'What is the capital of Austria?', agents, ...more } });
    assert.equal(answer.status, 202, answer.text);
    assert.deepEqual(answer.json.runs.map((/** @type {any} */ run) => run.agent), agents);
    return answer.json;
}

const isEnd = (/** @type {any} */ event) => ['done', 'error'].includes(event.type);
const ended = (/** @type {any[]} */ runs) => Promise.all(runs.map(({ runId }) => stack.ended(runId)));
/** The statuses of a thread's runs, by agent. @param {string} thread */
const statuses = async (thread) => Object.fromEntries((await stack.pg.query(
    'select agent, status, waits from runs where thread_id = $1 order by seq', [thread]))
    .map(({ agent, status, waits }) => [agent, waits ? 'waits' : status]));
const running = (/** @type {any[]} */ runs) => until(async () => (await stack.pg.query(
    `select 1 from runs where id = any ($1) and status = 'running'`, [runs.map((run) => run.runId)])).length === runs.length,
                                                     { what: 'they run' });

/** @param {import('./harness.mjs').Worker} worker */
async function metricsOf(worker) {
    const [, at] = await worker.child.line(/info metrics address=(\S+)/);
    return (await fetch(`http://${at}/metrics`)).text();
}
/** @param {string} text @param {string} name */
const metric = (text, name) => Number(text.match(new RegExp(`^threadcast_worker_${name.replace(/[{}]/g, '\\$&')} (\\d+)`, 'm'))?.[1]);

/** All that came on one stream until these runs had ended. @param {string} thread @param {any} posted */
async function heard(thread, posted) {
    const stream = stack.threadEvents(thread, `since=${posted.cursor}`);
    for (let i = 0; i < posted.runs.length; i++) await stream.next((/** @type {any} */ event) => event.json && isEnd(event.json));
    stream.close();
    return stream;
}

test('three agents answer side by side, each with its own ids and its whole text', async () => {
    const thread = await stack.thread();
    const agents = ['writer', 'critic', 'poet'];
    const posted = await ask(thread, agents);
    assert.equal(posted.runId, posted.runs[0].runId);
    const stream = await heard(thread, posted);
    const ids = new Set();
    for (const { runId, agent, messageId } of posted.runs) {
        const own = stream.json.filter((event) => event.runId === runId);
        for (const event of own) assert.deepEqual([event.agentId, event.messageId, event.attempt], [agent, messageId, 1]);
        assert.equal(own[0].content.status, 'started');
        assert.equal(own.filter(isEnd).length, 1);
        assert.ok(isEnd(own.at(-1)));
        assert.equal(stream.text(runId), await stack.messageText(messageId));
        ids.add(messageId);
    }
    assert.equal(ids.size, 3);
    const firstEnd = stream.json.findIndex(isEnd);
    const before = stream.json.slice(0, firstEnd).filter((event) => event.type === 'token');
    assert.equal(new Set(before.map((event) => event.runId)).size, 3, 'all of them had begun when the first had ended');
    const turns = before.filter((event, i) => i > 0 && event.runId !== before[i - 1].runId).length;
    assert.ok(turns > 5, `they take turns: ${turns}`);
});

test('what they used: in done, on the run, per agent of the thread, per owner, as metrics', async () => {
    const thread = await stack.thread(undefined, 'uma');
    const who = { sub: 'uma' };
    const answer = await stack.request('POST', `/v1/threads/${thread}/messages`,
                                       { ...who, json: { content: 'count me', agents: ['critic', 'history', 'fails'] } });
    const rows = await ended(answer.json.runs);
    const [critic, history, fails] = rows;
    assert.deepEqual(rows.map((row) => [row.status, row.answered_by]),
                     [['done', 'critic'], ['done', 'history'], ['failed', 'fails']]);
    assert.equal(critic.usage.totalTokens, critic.usage.inputTokens + critic.usage.outputTokens);
    const { stats } = critic;
    assert.equal(stats.pieces, critic.usage.outputTokens, 'the demo\'s tokens are its pieces');
    assert.equal(stats.bytes, Buffer.byteLength(String(await stack.messageText(critic.reply_id))));
    assert.ok(stats.firstTokenMs >= 0 && stats.maxGapMs > 0 && stats.writingMs >= stats.maxGapMs
              && stats.durationMs >= stats.writingMs, JSON.stringify(stats));
    assert.ok(Math.abs(stats.tokensPerSecond - critic.usage.outputTokens / stats.writingMs * 1000) < 5, JSON.stringify(stats));
    const [done] = critic.end_events.slice(-1);
    assert.deepEqual([done.content.usage, done.content.stats], [critic.usage, stats]);
    assert.deepEqual(history.usage, { inputTokens: 7, outputTokens: 3, totalTokens: 10 }, 'said in a delta alone');
    assert.deepEqual([fails.usage, fails.stats.bytes], [null, 6]);
    const run = (await stack.request('GET', `/v1/runs/${critic.id}`, who)).json;
    assert.deepEqual([run.usage, run.stats, run.agentId], [critic.usage, stats, 'critic']);

    const usage = await stack.request('GET', `/v1/threads/${thread}/usage`, who);
    assert.equal(usage.status, 200, usage.text);
    const { agents, total } = usage.json;
    assert.deepEqual(agents.map((/** @type {any} */ a) => [a.agent, a.runs, a.done, a.failed, a.live]),
                     [['critic', 1, 1, 0, 0], ['fails', 1, 0, 1, 0], ['history', 1, 1, 0, 0]]);
    assert.equal(agents[0].outputTokens, critic.usage.outputTokens);
    assert.deepEqual([total.runs, total.done, total.failed, total.cancelled], [3, 2, 1, 0]);
    for (const name of ['inputTokens', 'outputTokens', 'totalTokens', 'bytes']) {
        assert.equal(total[name], agents.reduce((/** @type {number} */ sum, /** @type {any} */ a) => sum + a[name], 0), name);
    }
    assert.equal((await stack.request('GET', `/v1/threads/${thread}/usage`, { sub: 'eve' })).status, 403);
    assert.equal((await stack.request('GET', `/v1/threads/${thread}/usage`, { sub: 'eve', read: [thread] })).status, 200);
    assert.equal((await stack.request('GET', `/v1/threads/${thread}/usage`, { token: null })).status, 401);
    const { firstTokenMs } = (await stack.pg.query(`select avg((stats->>'firstTokenMs')::numeric)::float as "firstTokenMs"
                                                    from runs where thread_id = $1`, [thread]))[0];
    assert.equal(total.firstTokenMs, Math.round(firstTokenMs));
    assert.equal(agents[1].tokensPerSecond, null, 'unknown is not 0');
    const empty = (await stack.request('GET', `/v1/threads/${await stack.thread()}/usage`)).json;
    assert.deepEqual([empty.agents, empty.total.runs, empty.total.totalTokens, empty.total.tokensPerSecond], [[], 0, 0, null]);

    const owned = await stack.pg.query(`select agent, runs::int, output_tokens::int, failed::int from usage_by_owner
                                        where owner = 'uma' order by agent`);
    assert.deepEqual(owned.map((row) => Object.values(row)), [['critic', 1, critic.usage.outputTokens, 0],
                                                              ['fails', 1, 0, 1], ['history', 1, 3, 0]]);
    const text = await metricsOf(stack.worker);
    assert.ok(metric(text, 'agent_output_tokens_total{agent="critic"}') >= critic.usage.outputTokens);
    assert.equal(metric(text, 'agent_input_tokens_total{agent="history"}'), 7);
    assert.equal(metric(text, 'agent_runs_total{agent="fails",outcome="failed"}'), 1);
    assert.equal(metric(text, 'agent_errors_total{agent="fails"}'), 1);
    assert.equal(metric(text, 'agent_bytes_total{agent="fails"}'), 6);
    assert.equal(metric(text, 'agent_first_token_seconds_count{agent="history"}'), 1);
    assert.ok(metric(text, 'agent_token_gap_seconds_count{agent="critic"}') >= critic.stats.pieces - 1);
    assert.equal(text.match(/^# TYPE threadcast_worker_agent_runs_total counter$/mg)?.length, 1);
});

test('usage that is no number is not added up', async () => {
    const thread = await stack.thread(undefined, 'odd');
    const { runId } = await stack.post(thread, 'x', { sub: 'odd', agent: 'critic' });
    await stack.ended(runId);
    for (const [usage, want] of [['[]', 0], ['{"outputTokens": "5"}', 0], ['{"outputTokens": -5}', 0], ['{"outputTokens": 1e400}', 1e15],
                                 ['{"outputTokens": 2.9}', 2], ['{"outputTokens": {}, "totalTokens": 4}', 0]]) {
        await stack.pg.query('update runs set usage = $2 where id = $1', [runId, usage]);
        const { json } = await stack.request('GET', `/v1/threads/${thread}/usage`, { sub: 'odd' });
        assert.equal(json.total.outputTokens, want, String(usage));
        assert.equal(Number((await stack.pg.query(`select output_tokens from usage_by_owner where owner = 'odd'`))[0].output_tokens), want);
    }
});

test('one that errors and one that nobody has: the others do not notice', async () => {
    const thread = await stack.thread();
    const posted = await ask(thread, ['critic', 'fails', 'nobody']);
    const stream = await heard(thread, posted);
    const ends = posted.runs.map(({ runId }) => stream.json.find((event) => event.runId === runId && isEnd(event)));
    assert.deepEqual(ends.map((event) => [event.type, event.agentId, event.content.code]),
                     [['done', 'critic', undefined], ['error', 'fails', 'agent_exit'], ['error', 'nobody', 'unknown_agent']]);
    assert.equal(await stack.messageText(posted.runs[1].messageId), 'so far');
    assert.equal(stream.text(posted.runs[0].runId), await stack.messageText(posted.runs[0].messageId));
});

test('the message behind them waits for all, and its own go together', async () => {
    const thread = await stack.thread();
    const first = await ask(thread, ['slow', 'critic']);
    const second = await ask(thread, ['writer', 'history']);
    const rejected = await stack.request('POST', `/v1/threads/${thread}/messages`, { json: { content: 'x', agents: ['poet'], mode: 'reject' } });
    assert.deepEqual([rejected.status, rejected.json.error.code], [409, 'run_in_progress']);
    await stack.ended(first.runs[1].runId);
    assert.deepEqual(await statuses(thread), { slow: 'running', critic: 'done', writer: 'waits', history: 'waits' });
    // another answer of one of them does not wait for the others of its message
    const again = await stack.request('POST', `/v1/runs/${first.runs[1].runId}/retry`);
    assert.equal(again.status, 202, again.text);
    await stack.ended(again.json.runId);
    assert.equal((await statuses(thread)).writer, 'waits');
    const live = await stack.request('POST', `/v1/runs/${first.runs[0].runId}/retry`);
    assert.equal(live.status, 409);
    assert.equal((await stack.request('POST', `/v1/runs/${first.runs[0].runId}/cancel`)).status, 202);
    const [writer, history] = await ended(second.runs);
    const [slow] = await ended([first.runs[0]]);
    for (const run of [writer, history]) assert.ok(run.started_at >= slow.ended_at, 'not before');
    // what was said before: the answers to the first message, by agent; none to its own
    const said = JSON.parse(String(await stack.messageText(history.reply_id)));
    assert.deepEqual(said.map((/** @type {any} */ m) => m.join()).sort(),
                     ['assistant,critic,critic', 'assistant,critic,critic', 'assistant,slow,slow', 'user,,ann']);
    assert.equal(said[0][0], 'user');
});

test('what a switched-off trigger left waiting is let go by housekeeping, all of a message', async () => {
    const thread = await stack.thread();
    await stack.pg.query(`alter table runs disable trigger run_end_releases`);
    try {
        const first = await ask(thread, ['slow']);
        const second = await ask(thread, ['critic', 'history']);
        await running(first.runs);
        await stack.request('POST', `/v1/runs/${first.runId}/cancel`);
        await ended(first.runs);
        assert.deepEqual(await statuses(thread), { slow: 'cancelled', critic: 'waits', history: 'waits' });
        await stack.pg.query('select release_forgotten(10)');
        await ended(second.runs);
    } finally {
        await stack.pg.query(`alter table runs enable trigger run_end_releases`);
    }
});

test('one cancelled goes alone; one call ends all that go and wait, once', async () => {
    const thread = await stack.thread();
    const first = await ask(thread, ['slow', 'slower', 'writer']);
    const second = await ask(thread, ['poet', 'critic']);
    await running(first.runs);
    assert.equal((await stack.request('POST', `/v1/runs/${first.runs[1].runId}/cancel`)).status, 202);
    assert.equal((await stack.ended(first.runs[1].runId)).status, 'cancelled');
    assert.equal((await stack.ended(first.runs[2].runId)).status, 'done');
    assert.equal((await statuses(thread)).slow, 'running');
    for (const who of [{ sub: 'eve' }, { sub: 'eve', read: [thread], write: [thread] }]) {
        assert.equal((await stack.request('POST', `/v1/threads/${thread}/cancel`, who)).status, 403);
    }
    assert.equal((await stack.request('POST', '/v1/threads/nowhere/cancel')).status, 403);
    const stream = stack.threadEvents(thread, `since=${first.cursor}`);
    const all = await stack.request('POST', `/v1/threads/${thread}/cancel`);
    assert.equal(all.status, 202, all.text);
    const running3 = [first.runs[0], ...second.runs];
    assert.deepEqual(all.json.runs, running3.map(({ runId, agent, messageId }, i) =>
        ({ runId, agent, messageId, status: i === 0 ? 'running' : 'cancelled' })));
    assert.deepEqual((await ended(running3)).map((row) => row.status), ['cancelled', 'cancelled', 'cancelled']);
    const again = await stack.request('POST', `/v1/threads/${thread}/cancel`, { json: {} });
    assert.deepEqual([again.status, again.json], [202, { runs: [] }]);
    const isCancelled = (/** @type {any} */ event) => event.json?.type === 'done' && event.json.content.finishReason === 'cancelled';
    for (let i = 0; i < 4; i++) await stream.next(isCancelled);
    for (const { runId } of running3) {
        assert.equal(stream.json.filter((event) => event.runId === runId && isEnd(event)).length, 1, runId);
    }
    stream.close();
});

test('interrupt ends all that go', async () => {
    const thread = await stack.thread();
    const first = await ask(thread, ['slow', 'slower']);
    await running(first.runs);
    const second = await ask(thread, ['critic', 'poet'], { mode: 'interrupt' });
    assert.deepEqual((await ended(first.runs)).map((row) => row.status), ['cancelled', 'cancelled']);
    assert.deepEqual((await ended(second.runs)).map((row) => row.status), ['done', 'done']);
});

test('SQL: agents => …, a plain insert, cancel_thread', async () => {
    await stack.pg.query(`create role many_app login; select grant_part('many_app', 'app')`);
    const app = new pg.Client({ connectionString: stack.pg.urlAs('many_app') });
    app.on('error', () => {});
    await app.connect();
    const refusal = (/** @type {string} */ sql) => app.query(sql).then(() => 'done', (/** @type {any} */ error) => error.code);
    try {
        const send = `select * from threadcast.send_message('sql', 'hello', agents => $1, owner => 'ann', key => 'k')`;
        const { rows } = await app.query(send, [['slow', 'slower']]);
        assert.deepEqual(rows.map((row) => row.agent), ['slow', 'slower']);
        assert.equal(new Set(rows.map((row) => row.message_id)).size, 1);
        assert.deepEqual((await app.query(send, [['slow', 'slower']])).rows, rows, 'asked again with its key');
        assert.equal(await refusal(send.replace('$1', `array['slow']`)), '23505');
        for (const agents of [`array[]::text[]`, `array['a', 'a']`, `array['a', null]`, `array['a b']`, `null::text[]`,
                              `array(select 'a' || n from generate_series(1, 9) as n)`]) {
            assert.equal(await refusal(`select threadcast.send_message('sql', 'x', agents => ${agents})`), '22023', agents);
        }
        assert.equal(await refusal(`select threadcast.send_message('sql', 'x', agent => 'a', metadata => '{"agents": ["b"]}')`), '22023');
        assert.equal(await refusal(`select threadcast.send_message('sql', 'x', null)`), 'done', 'nobody in particular, as before');
        await assert.rejects(stack.pg.query(`insert into messages (thread_id, role, content, metadata)
            values ('sql', 'user', 'x', '{"agents": "writer"}')`), /agents must be an array/);
        await stack.pg.query(`insert into messages (thread_id, role, content, metadata)
            values ('sql', 'user', 'x', '{"agents": ["poet", "critic"]}')`);
        const cancelled = await app.query(`select agent from threadcast.cancel_thread('sql')`);
        assert.deepEqual(cancelled.rows.map((row) => row.agent), ['slow', 'slower', 'default', 'poet', 'critic']);
        await until(async () => (await app.query(`select * from threadcast.cancel_thread('sql')`)).rows.length === 0,
                    { what: 'all of them have ended' });
        assert.equal(await refusal(`select threadcast.cancel_thread('nowhere')`), 'P0002');
        assert.equal(await refusal('select * from threadcast.run_figures'), '42501');
        assert.ok((await app.query(`select * from threadcast.usage_by_owner where owner = 'ann'`)).rows.length > 0);
    } finally {
        await app.end();
    }
});

test('a worker killed in the middle: each run goes on by itself', async () => {
    const thread = await stack.thread();
    const agents = ['writer', 'critic', 'poet'];
    writeAgents(Object.fromEntries(agents.map((name) => [name, { kind: 'demo', rate: 60 }])));
    await stack.worker.stop();
    const doomed = await stack.startWorker({ ...MORTAL, 'agents-file': file });
    const posted = await ask(thread, agents);
    const stream = stack.threadEvents(thread, `since=${posted.cursor}`);
    await until(() => posted.runs.every(({ runId }) => stream.text(runId).length > 20), { what: 'all of them write' });
    const late = stack.threadEvents(thread, 'since=run');
    await until(() => posted.runs.every(({ runId }) => late.text(runId).length > 20), { what: 'all from their beginning' });
    for (const { runId } of posted.runs) {
        assert.equal(late.json.find((event) => event.runId === runId).content.status, 'started');
    }
    writeAgents({}); // the next one is faster
    doomed.forgiven = true;
    await doomed.kill();
    await stack.startWorker({ ...MORTAL, 'agents-file': file });
    for (let i = 0; i < 3; i++) await stream.next((/** @type {any} */ event) => event.json?.type === 'done');
    for (const { runId, agent, messageId } of posted.runs) {
        const row = await stack.ended(runId);
        assert.equal(row.status, 'done', agent);
        assert.ok(row.failures >= 1 && row.attempt >= 2, agent);
        const own = stream.json.filter((event) => event.runId === runId);
        assert.ok(own.some((event) => event.content?.status === 'rewind' && event.attempt === row.attempt));
        assert.equal(own.at(-1).attempt, row.attempt);
        assert.equal(stream.text(runId), await stack.messageText(messageId));
        await until(() => late.json.some((event) => event.runId === runId && isEnd(event)), { what: 'its end, here too' });
        assert.equal(late.text(runId), stream.text(runId));
    }
    for (const opened of [stream, late]) opened.close();
});

// --- the file -----------------------------------------------------------------------------

const listed = async () => (await stack.request('GET', '/v1/agents')).json;
const names = async () => (await listed()).agents.map((/** @type {any} */ agent) => agent.name);

test('SIGHUP: new agents are there, old runs keep theirs; a bad file changes nothing', async () => {
    const worker = stack.workers[stack.workers.length - 1];
    assert.equal((await stack.request('GET', '/v1/agents', { token: null })).status, 401);
    await until(async () => (await listed()).agents.length === 7, { what: 'all of the file are listed' });
    const { default: standard, agents } = await listed();
    assert.equal(standard, 'writer');
    assert.deepEqual(agents.slice(0, 2), [{ name: 'writer', description: 'Writes.' }, { name: 'critic', description: null }]);

    const going = await ask(await stack.thread(), ['slow']);
    await running(going.runs);
    const from = worker.output.length;
    writeAgents({ slow: { kind: 'exec', command: 'exit 0' }, calc: { kind: 'demo', rate: 0, description: 'Counts.' } }, 'calc');
    worker.child.kill('SIGHUP');
    await worker.child.line(/agents read again/, { from });
    await until(async () => (await listed()).default === 'calc', { what: 'it says so' });
    assert.ok((await names()).includes('calc'));
    const done = await stack.ended((await stack.post(await stack.thread(), 'x')).runId);
    assert.deepEqual([done.status, done.agent, done.answered_by], ['done', 'default', 'calc']);
    assert.equal((await stack.run(going.runId)).status, 'running', 'it was started as something else');
    await stack.request('POST', `/v1/runs/${going.runId}/cancel`);
    assert.equal((await stack.ended(going.runId)).status, 'cancelled');
    const counted = metric(await metricsOf(worker), 'agent_runs_total{agent="slow",outcome="cancelled"}');
    assert.ok(counted >= 1, 'numbers go on with the name');

    fs.writeFileSync(file, '{"agents": {"calc": {"kind": "exec", "command": "true", "sk-secret-in-a-file": 1}}}');
    worker.child.kill('SIGHUP');
    await worker.child.line(/error agents stay as they were why=.*agents\.calc\.sk-secret-in-a-file: there is no such member/, { from });
    fs.writeFileSync(file, '{"agents": sk-other-secret');
    worker.child.kill('SIGHUP');
    await worker.child.line(/error agents stay as they were why=.*line 1, column \d+: not JSON/, { from });
    assert.doesNotMatch(worker.output, /other-secret/);
    const text = await metricsOf(worker);
    assert.deepEqual(['ok', 'refused'].map((result) => metric(text, `reloads_total{result="${result}"}`)), [1, 2]);
    assert.equal((await stack.ended((await stack.post(await stack.thread(), 'x', { agent: 'calc' })).runId)).status, 'done');
    writeAgents({});
});

test('what the workers have is what is listed, and a run goes to one that has its agent', async () => {
    const other = await stack.startWorker({ ...WORKER, 'demo-rate': 0, agents: 'helper=demo' });
    await until(async () => (await names()).includes('helper'), { what: 'both are listed' });
    assert.ok((await names()).includes('writer'));
    const threads = await Promise.all(Array.from({ length: 8 }, () => stack.thread()));
    const posted = await Promise.all(threads.map((thread) => ask(thread, ['helper', 'history'])));
    for (const { runs } of posted) {
        assert.deepEqual((await ended(runs)).map((row) => [row.status, row.answered_by]), [['done', 'helper'], ['done', 'history']]);
    }
    await other.stop();
    await until(async () => !(await names()).includes('helper'), { what: 'it has left' });
    const [late] = await ended((await ask(threads[0], ['helper'])).runs);
    assert.deepEqual([late.status, late.error.code], ['failed', 'unknown_agent'], 'nobody is waited for');
    const dead = await stack.startWorker({ ...MORTAL, agents: 'helper=demo' });
    await until(async () => (await names()).includes('helper'), { what: 'it is back' });
    dead.forgiven = true;
    await dead.kill();
    await until(async () => !(await names()).includes('helper'), { what: 'nobody hears of it any more' });
});
