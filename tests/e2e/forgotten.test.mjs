// A run that has ended, says Postgres, and is live in Redis: whoever reads it is told its end,
// also when the question first came too soon after that end to be sure.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const stack = await Stack.start({ workers: 0, bridge: { 'worker-lease-ms': 500, 'drain-ms': 500 } });

test('an end that was published a moment ago is asked about again', async () => {
    const thread = await stack.thread();
    const { runId } = await stack.post(thread, 'which Redis will forget');
    const published = performance.now();
    await stack.pg.query(`update threadcast.runs set status = 'done', ended_at = clock_timestamp(),
                          end_events = '[]', end_published_at = clock_timestamp() where id = $1`, [runId]);
    const run = new ScriptRun(stack.redis.client, thread, { run: runId, worker: 'w1' });
    await stack.redis.client.set('threadcast:worker:w1', '1');
    await run.begin();
    const stream = stack.threadEvents(thread);
    await stream.type('status');
    await until(async () => !(await stack.run(runId)).end_published_at, { what: 'a worker may publish it again' });
    const took = performance.now() - published;
    assert.ok(took >= 5000, `after ${Math.round(took)} ms: whoever found it live may have looked before it ended`);
    await until(async () => (await stack.bridge.metrics()).threadcast_bridge_ends_forgotten_total === 1);
    assert.equal(stream.ending, '');
    assert.match(stack.bridge.output, / warn redis has forgotten ends that were published thread=/);
    stream.close();
});
