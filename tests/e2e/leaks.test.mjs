// What looks for secrets when a stack ends sees them: one is put wherever none belongs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stack } from './harness.mjs';
import { leaks } from './lib/leaks.mjs';

const WORD = 'planted-4711';

test('a secret is seen in metrics, arguments, agents, keys, channels, names and tables', async (t) => {
    const stack = await Stack.start({
        bridge: { 'public-origin': `https://${WORD}.example` },
        worker: { agents: `${WORD}=exec:env PLANTED=${WORD} /bin/sh -c 'echo "{\\"type\\":\\"token\\",\\"content\\":\\"x\\"}"; exec tail -f /dev/null' ${WORD}`,
                  'exec-kill-ms': 100 } });
    const thread = await stack.thread();
    const { runId, cursor } = await stack.post(thread, 'hello', { agent: WORD });
    await stack.threadEvents(thread, `since=${cursor}`).type('token');
    const subscriber = stack.redis.connect();
    t.after(() => subscriber.disconnect());
    await subscriber.client('SETNAME', `test:${WORD}`);
    await subscriber.subscribe(`test:${WORD}`);
    await stack.redis.client.set(`key:${WORD}`, '1');
    await stack.pg.query('update runs set error = $2 where id = $1', [runId, { message: WORD }]);
    await stack.pg.query(`update messages set metadata = $1 where role = 'user'`, [{ note: WORD }]);
    const found = await leaks(stack, [WORD]);
    const places = [...new Set(found.map((line) => line.replace(/ \(\d+\)/, '')))].sort();
    assert.deepEqual(places, ["Redis' channels", "Redis' keys", "Redis' list of clients", 'the arguments of an agent',
        'the arguments of bridge', 'the arguments of worker', 'the environment of an agent', 'the metrics of worker',
        'the tables runs and messages'].map((where) => `a secret in ${where}: ${WORD}`).sort());
    assert.equal(found.filter((line) => line.includes('tables')).length, 2, 'in both');
    assert.deepEqual(await leaks(stack, ['never-said']), []);
    await stack.request('POST', `/v1/runs/${runId}/cancel`, { json: {} });
    await stack.ended(runId);
});

test('what is registered fails its stack when it is seen', async () => {
    const stack = await Stack.start({ postgres: false });
    await stack.redis.client.set(`key:${stack.secret(WORD)}`, '1');
    await assert.rejects(stack.stop(), new RegExp(`a secret in Redis' keys: ${WORD}`));
});
