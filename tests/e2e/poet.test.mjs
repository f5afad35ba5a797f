// examples/agents/poet.py, as the package for Python serves it: one process for all runs,
// one process a message, and (poet_worker.py) a worker of its own without ours.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Child, ROOT, Stack, until } from './harness.mjs';

const EXAMPLES = path.join(ROOT, 'examples/agents');
const PYTHON = { PYTHONPATH: path.join(ROOT, 'sdk/python'), PYTHONDONTWRITEBYTECODE: '1' };
/** @type {Stack} */
let stack;
/** @type {Child | undefined} */
let own;

before(async () => {
    stack = await Stack.start({ workers: 0 });
    const file = path.join(stack.dir, 'agents.json');
    const poet = { kind: 'exec', command: `exec /usr/bin/python3 ${EXAMPLES}/poet.py`, env: PYTHON };
    fs.writeFileSync(file, JSON.stringify({ default: 'poet', agents: {
        poet: { ...poet, mode: 'persistent' }, anew: poet } }));
    await stack.startWorker({ 'agents-file': file, 'retry-ms': 10, 'exec-kill-ms': 1000 });
});
after(() => own?.stop('SIGKILL'));

/** @param {string} agent */
async function ask(agent, content = 'What rhymes with moon') {
    const thread = await stack.thread();
    const receipt = await stack.post(thread, content, { agent });
    return { thread, stream: stack.threadEvents(thread, `since=${receipt.cursor}&merge=0`), ...receipt };
}

/** @param {Awaited<ReturnType<typeof ask>>} asked */
async function ended({ stream, runId }) {
    const end = await stream.next((event) => ['done', 'error'].includes(event.json?.type), 60_000);
    const row = await stack.ended(runId);
    stream.close();
    return { end: end.json, row, text: stream.text(runId),
             kinds: stream.json.filter(({ type }) => type === 'delta').map(({ content }) => content.kind) };
}

/** The processes that run poet.py for this stack's worker. */
function processes() {
    const { pid } = stack.worker.child;
    return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter((child) => {
        try {
            return fs.readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('poet.py');
        } catch {
            return false;
        }
    });
}

const ANSWER = 'You said What rhymes with moon and it rhymes with noom. ';

for (const agent of ['poet', 'anew']) {
    test(`${agent}: answers, with steps and usage`, async () => {
        const { end, text, kinds } = await ended(await ask(agent));
        assert.equal(end.type, 'done', JSON.stringify(end));
        assert.equal(text, ANSWER);
        assert.deepEqual(kinds, ['tool_call', 'tool_result', 'usage']);
        assert.deepEqual(end.content.usage, { inputTokens: 4, outputTokens: 11, totalTokens: 15 });
    });
}

test('one process serves many; cancelled while it speaks; killed, and each run is tried anew', async () => {
    const long = 'word '.repeat(500);
    const runs = await Promise.all([long, long, long].map((content) => ask('poet', content)));
    for (const { stream } of runs) await stream.type('token');
    await until(() => processes().length === 1, { what: () => `one process, not ${processes()}` });
    const [pid] = processes();
    const cancelled = await stack.request('POST', `/v1/runs/${runs[0].runId}/cancel`, { json: {} });
    assert.equal(cancelled.status, 202);
    assert.equal((await ended(runs[0])).end.content.finishReason, 'cancelled');
    process.kill(Number(pid), 'SIGKILL');
    for (const run of runs.slice(1)) {
        await run.stream.next((event) => event.json?.content?.status === 'rewind');
        const [again] = await until(() => processes(), { what: 'another process' });
        assert.notEqual(again, pid);
        assert.equal((await stack.request('POST', `/v1/runs/${run.runId}/cancel`, { json: {} })).status, 202);
        const { end, row } = await ended(run);
        assert.deepEqual([end.content.finishReason, row.attempt], ['cancelled', 2]);
    }
});

test('the time to the first token, one process for all and one a message', async () => {
    /** @type {Record<string, number>} */
    const best = {};
    for (const agent of ['poet', 'anew']) {
        const times = [];
        for (let i = 0; i < 2; i++) {
            const began = performance.now();
            const asked = await ask(agent, 'hi');
            await asked.stream.type('token');
            times.push(performance.now() - began);
            await ended(asked);
        }
        best[agent] = Math.min(...times);
    }
    console.log(`first token, from the POST: ${best.poet.toFixed(1)} ms persistent, ${best.anew.toFixed(1)} ms one process a message`);
    if (process.env.THREADCAST_FULL) assert.ok(best.poet < best.anew, JSON.stringify(best));
});

test('the same function in a worker of its own', async () => {
    own = new Child('poet_worker', '/usr/bin/python3', ['-u', path.join(EXAMPLES, 'poet_worker.py')],
        { env: { ...stack.env(), ...PYTHON } });
    await own.line(/waiting for poet:questions/);
    const stream = stack.threadEvents('rhymes', 'since=0', { sub: 'ann', read: ['*'] });
    await stack.redis.cli('rpush', 'poet:questions', '{"thread":"rhymes","question":"What rhymes with moon"}');
    const done = await stream.type('done');
    assert.equal(done.json.agentId, 'poet');
    assert.equal(stream.text(done.json.runId), ANSWER);
    await stack.redis.cli('rpush', 'poet:questions', JSON.stringify({ thread: 'rhymes', question: 'word '.repeat(500) }));
    await stream.next((event) => event.json?.type === 'token' && event.json.runId !== done.json.runId);
    own.kill('SIGTERM');
    assert.equal((await stream.type('done')).json.content.finishReason, 'cancelled');
    await own.exit;
    stream.close();
});
