// One prompt, all the way: POST, Postgres, worker, Redis, bridge, stream, record.

import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { ROOT, run, Stack, until } from './harness.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    // a machine that stands still for a second is not what is tested here
    stack = await Stack.start({ bridge: { 'upstream-timeout-ms': 10_000 }, worker: { 'demo-rate': 1000 } });
});

test('a prompt becomes tokens, then done; the record is their concatenation', async () => {
    const thread = await stack.thread();
    const { cursor, runId, runs } = await stack.post(thread, 'Wie heißt die Hauptstadt von Österreich? 🇦🇹');
    const stream = stack.threadEvents(thread, `since=${cursor}&merge=0`);
    const done = await stream.type('done');
    const row = await stack.ended(runId);
    assert.equal(row.status, 'done');
    assert.equal(await stack.messageText(runs[0].messageId), stream.text(runId));
    assert.match(stream.text(runId), /Österreich/, 'it answers about the prompt');
    assert.match(stream.text(runId), /[^\x00-\u{ffff}]/u, 'emoji');
    const [{ content }] = await stack.pg.query(
        'select content from messages where thread_id = $1 and role = $2', [thread, 'user']);
    assert.match(String(content), /🇦🇹/);
    assert.equal(done.json.content.messageId, runs[0].messageId);
    assert.equal(done.json.content.finishReason, 'stop');
    assert.equal(done.json.content.usage.totalTokens,
                 done.json.content.usage.inputTokens + done.json.content.usage.outputTokens);
    stream.close();
});

test('every event type, every field, numbers without a hole', async () => {
    const thread = await stack.thread();
    const { cursor, runId, runs } = await stack.post(thread, 'show me everything');
    const stream = stack.threadEvents(thread, `since=${cursor}&merge=0`);
    await stream.type('done');
    const events = stream.json;
    for (const [index, event] of events.entries()) {
        assert.equal(Number(event.id.split('-')[1]), index + 1, 'no hole');
        assert.equal(Object.keys(event)[0], 'id');
        assert.equal(event.threadId, thread);
        assert.equal(event.runId, runId);
        assert.equal(event.messageId, runs[0].messageId);
        assert.equal(event.agentId, 'demo');
        assert.equal(event.attempt, 1);
        assert.ok(Number.isSafeInteger(event.ts) && Math.abs(Date.now() - event.ts) < 120_000);
        assert.ok(['token', 'status', 'delta', 'done'].includes(event.type));
        if (event.type === 'token') assert.equal(typeof event.content, 'string');
        if (event.type === 'delta') assert.equal(typeof event.content.kind, 'string');
        if (event.type === 'status') assert.equal(typeof event.content.status, 'string');
    }
    assert.equal(events[0].content.status, 'started', 'the first event of an attempt');
    const kinds = new Set(events.filter((event) => event.type === 'delta').map((event) => event.content.kind));
    for (const kind of ['reasoning', 'tool_call', 'tool_result', 'usage']) assert.ok(kinds.has(kind), kind);
    assert.ok(events.filter((event) => event.type === 'token').length > 0);
    assert.equal(events.filter((event) => ['done', 'error'].includes(event.type)).length, 1);
    stream.close();
});

test('the demo agent is deterministic', async () => {
    const answers = [];
    for (let i = 0; i < 2; i++) {
        const thread = await stack.thread();
        const { runId, runs } = await stack.post(thread, 'the same question');
        await stack.ended(runId);
        answers.push(await stack.messageText(runs[0].messageId));
    }
    assert.equal(answers[0], answers[1]);
});

test('a prompt inserted with plain SQL is answered too', async () => {
    const thread = await stack.thread();
    const stream = stack.threadEvents(thread);
    await stream.named('ready');
    await stack.pg.query(
        `insert into messages (thread_id, role, content) values ($1, 'user', to_jsonb($2::text))`, [thread, 'from SQL'])
        .catch(() => stack.pg.query(
            `insert into messages (thread_id, role, content) values ($1, 'user', $2)`, [thread, 'from SQL']));
    await stream.type('done');
    stream.close();
});

test('a run stream: that run alone, from its beginning, closed with the last chunk; then 204', async () => {
    const thread = await stack.thread();
    const first = await stack.post(thread, 'one');
    const second = await stack.post(thread, 'two');
    const stream = stack.events(`/v1/runs/${second.runId}/events?merge=0`);
    const done = await stream.type('done');
    await stream.end();
    assert.equal(stream.ending, 'last-chunk');
    assert.ok(stream.json.every((event) => event.runId === second.runId));
    // `queued` stands before it when the first run took a while
    assert.equal(stream.json.find((event) => event.content.status !== 'queued').content.status, 'started');
    assert.equal(stream.text(), await stack.messageText(second.runs[0].messageId));
    await stack.ended(first.runId);

    const again = stack.events(`/v1/runs/${second.runId}/events`);
    await again.end();
    assert.equal(again.text(), stream.text(), 'after its end it is replayed and closed');
    assert.equal(again.ending, 'last-chunk');

    const behind = stack.events(`/v1/runs/${second.runId}/events`, { lastEventId: done.json.id });
    assert.equal(await behind.opened(), 204);

    await stack.redis.client.del(`{thread:${thread}}:log`, `{thread:${thread}}:state`);
    const lost = stack.events(`/v1/runs/${second.runId}/events`, { lastEventId: done.json.id });
    assert.equal(await lost.opened(), 204, 'ended, and the log no longer holds it');
    const record = stack.events(`/v1/runs/${second.runId}/events`);
    await record.type('done');
    await record.end();
    assert.equal(record.text(), stream.text(), 'without a position it is answered from Postgres');
    behind.close();
    lost.close();
});

test('MONITOR shows the publishing on thread:<id>', async () => {
    const thread = await stack.thread();
    const monitor = await stack.redis.connect().monitor();
    /** @type {string[][]} */
    const calls = [];
    monitor.on('monitor', (_time, args) => calls.push(args));
    const { runId } = await stack.post(thread, 'watch me');
    await stack.ended(runId);
    await until(() => calls.some((args) => args[0]?.toUpperCase() === 'PUBLISH' && args[1] === `thread:${thread}`),
                { what: 'a PUBLISH' });
    monitor.disconnect();
});

test('runs of one worker beside each other, more than it takes at once', async () => {
    const thread = await stack.thread();
    const posted = await Promise.all(Array.from({ length: 80 }, async (_, i) => {
        const answer = await stack.request('POST', `/v1/threads/${thread}/messages`, { json: { content: `prompt ${i}`, mode: 'parallel' } });
        assert.equal(answer.status, 202, `prompt ${i}: ${answer.text}`);
        return answer.json;
    }));
    const rows = await Promise.all(posted.map(({ runId }) => stack.ended(runId, 60_000)));
    assert.ok(rows.every((row) => row.status === 'done' && row.attempt === 1));
    const stream = stack.threadEvents(thread, 'since=0');
    await until(() => stream.json.filter((event) => event.type === 'done').length === 80, { what: '80 ends' });
    for (const { runId, runs } of posted) {
        assert.equal(stream.text(runId), await stack.messageText(runs[0].messageId));
    }
    stream.close();
});

test('scripts/run --once prints the stream and true figures', async () => {
    const once = await run('python3', [path.join(ROOT, 'scripts/once.py'), stack.url('').replace(/\/$/, ''),
                                       stack.token({ sub: 'once' }), 'Wie heißt die Hauptstadt von Österreich? 🇦🇹']);
    assert.equal(once.code, 0, once.stdout + once.stderr);
    const lines = once.stdout.trimEnd().split('\n');
    const figures = /^first token ([0-9.]+) ms · (\d+) events · 0 lost$/.exec(lines.at(-1) ?? '');
    assert.ok(figures, lines.at(-1));
    assert.equal(Number(figures?.[2]), lines.filter((line) => /^data: \{"id":/.test(line)).length);
    assert.ok(lines.some((line) => line.startsWith('data: ') && line.includes('"type":"done"')));
});
