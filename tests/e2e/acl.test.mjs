// The rights that docs/OPERATIONS.md asks for are enough; with fewer nothing is half done.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Stack, until } from './harness.mjs';

const RIGHTS = ['~{thread:*}*', '~threadcast:*', '&thread:*', '&threadcast:*',
                '+@read', '+@write', '+@scripting', '+@pubsub', '+@connection', '+info', '+time'];
const PASSWORD = 'redis-password-of-the-test';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ workers: 0, bridges: 0 });
    stack.secret(PASSWORD);
    await stack.redis.client.call('ACL', 'SETUSER', 'threadcast', 'on', `>${PASSWORD}`, ...RIGHTS);
    const env = { REDIS_URL: `redis://threadcast:${PASSWORD}@127.0.0.1:${stack.redis.port}` };
    await Promise.all([stack.startBridge({}, env), stack.startWorker({ 'demo-rate': 500 }, env)]);
});

test('these rights are enough for the whole pipeline', async () => {
    const thread = await stack.thread();
    const { runId, cursor } = await stack.post(thread, 'with few rights');
    const stream = stack.threadEvents(thread, `since=${cursor}`);
    await stream.type('done');
    assert.equal((await stack.ended(runId)).status, 'done');
    assert.ok((await stack.publish(thread, { type: 'token', content: 'x' })).status < 300);
    await stack.pg.query('delete from threads where id = $1', [thread]);
    await until(async () => (await stack.redis.client.keys(`*{thread:${thread}}*`)).length === 0, { what: 'its keys are gone' });
    const denied = await stack.redis.client.call('ACL', 'LOG');
    assert.deepEqual(denied, [], JSON.stringify(denied));
    stream.close();
});

test('a channel right that is taken away: nothing half done, and it goes on when it is back', async () => {
    const thread = await stack.thread();
    const { runId, cursor, runs } = await stack.post(thread, 'rights come and go');
    const stream = stack.threadEvents(thread, `since=${cursor}&merge=0`);
    await stream.type('token');
    await stack.redis.client.call('ACL', 'SETUSER', 'threadcast', 'resetchannels', '&threadcast:*');
    await until(async () => /** @type {any[]} */ (await stack.redis.client.call('ACL', 'LOG')).length > 0, { what: 'a refusal' });
    await stack.redis.client.call('ACL', 'SETUSER', 'threadcast', '&thread:*');
    assert.equal((await stack.ended(runId, 60_000)).status, 'done');
    const again = stack.threadEvents(thread, `since=${cursor}&merge=0`);
    await again.type('done');
    assert.equal(again.text(runId), await stack.messageText(runs[0].messageId));
    again.close();
    stream.close();
});
