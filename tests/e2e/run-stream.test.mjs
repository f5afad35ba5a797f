// The stream of one run: it always ends, and never with less than the whole answer.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stack, until } from './harness.mjs';

const stack = await Stack.start({ worker: { 'demo-rate': 100 } });

/** @param {string} run @param {object} [options] */
const follow = (run, options = {}) => stack.events(`/v1/runs/${run}/events`, options);

test('it says that the connection ends with it: nobody sends another request behind its end', async () => {
    const thread = await stack.thread();
    const { runId } = await stack.post(thread, 'hello');
    const live = follow(runId);
    await live.end();
    assert.equal(live.headers.connection, 'close');
    const replayed = follow(runId);
    await replayed.end();
    assert.equal(replayed.headers.connection, 'close');
});

test('a position that is gone: reset, then that run from its beginning to its end', async () => {
    const thread = await stack.thread();
    const { runId, runs } = await stack.post(thread, 'hello');
    await stack.ended(runId);
    for (const lastEventId of ['1-1', 'junk']) {
        const stream = follow(runId, { lastEventId });
        await stream.named('reset');
        await stream.end();
        assert.equal(stream.ending, 'last-chunk', lastEventId);
        assert.equal(stream.text(), await stack.messageText(runs[0].messageId));
    }
});

test('Redis forgets everything while the reader is away: it gets the whole answer and its end', async () => {
    const thread = await stack.thread();
    const { runId, runs } = await stack.post(thread, 'word '.repeat(60));
    const first = follow(runId);
    await first.type('token');
    const lastEventId = first.lastEventId;
    first.close();
    await stack.redis.client.flushall();
    await stack.ended(runId);
    let stream = follow(runId, { lastEventId });
    await stream.end();
    if (stream.ending === 'fin') { // not in the log any more: the next request knows
        stream = follow(runId);
        await stream.end();
    }
    assert.equal(stream.ending, 'last-chunk');
    assert.equal(stream.text(), await stack.messageText(runs[0].messageId));
    assert.equal(stream.messages.at(-1)?.json.type, 'done');
});

test('a long answer out of Postgres is whole', async () => {
    const thread = await stack.thread();
    const { runId, runs } = await stack.post(thread, 'long');
    await stack.ended(runId);
    await until(async () => (await stack.run(runId)).end_published_at, { what: 'the end is published' });
    const text = 'é🎉'.repeat(100_000);
    await stack.pg.query('update messages set content = $2 where id = $1', [runs[0].messageId, text]);
    await stack.redis.client.del(`{thread:${thread}}:log`, `{thread:${thread}}:state`);
    const stream = follow(runId);
    await stream.end();
    assert.equal(stream.ending, 'last-chunk');
    assert.equal(stream.text(), text);
    assert.equal(stream.messages.at(-1)?.json.type, 'done');
    const again = follow(runId, { lastEventId: '5-5' });
    assert.equal(await again.opened(), 204);
    again.close();
});

test('an end in Postgres that nobody can read is not taken for one', async () => {
    const thread = await stack.thread();
    const { runId } = await stack.post(thread, 'odd');
    await stack.ended(runId);
    await until(async () => (await stack.run(runId)).end_published_at, { what: 'the end is published' });
    await stack.pg.query(`update runs set end_events = '[{"type": "nonsense"}]' where id = $1`, [runId]);
    await stack.redis.client.del(`{thread:${thread}}:log`, `{thread:${thread}}:state`);
    const stream = follow(runId);
    await stream.end();
    assert.equal(stream.ending, 'fin');
});
