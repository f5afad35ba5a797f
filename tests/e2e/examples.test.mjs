// The applications in examples/ that publish: started as their heads say, asked over HTTP,
// read through a bridge.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { Child, ROOT, Stack } from './harness.mjs';

const stack = await Stack.start({ postgres: false, bridge: { 'drain-ms': 500 } });
const reader = { sub: 'ann', read: ['*'] };
/** @type {Child[]} */
const apps = [];
after(() => Promise.all(apps.map((app) => app.stop('SIGKILL'))));

async function fastapi() {
    const child = new Child('fastapi', '/usr/bin/python3', ['-m', 'uvicorn', '--app-dir',
        path.join(ROOT, 'examples/fastapi'), 'app:app', '--port', '0'], {
        env: { ...stack.env(), PYTHONPATH: path.join(ROOT, 'sdk/python'), PYTHONDONTWRITEBYTECODE: '1' } });
    apps.push(child);
    const [, url] = await child.line(/running on (http:\S+)/);
    return { child, url };
}

async function node() {
    // as npm install would lay it out
    const dir = path.join(stack.dir, 'node-example');
    fs.mkdirSync(path.join(dir, 'node_modules'), { recursive: true });
    fs.copyFileSync(path.join(ROOT, 'examples/node/app.mjs'), path.join(dir, 'app.mjs'));
    fs.symlinkSync(path.join(ROOT, 'sdk/node'), path.join(dir, 'node_modules/threadcast-node'));
    fs.symlinkSync(path.join(ROOT, 'tests/e2e/node_modules/ioredis'), path.join(dir, 'node_modules/ioredis'));
    const child = new Child('node', process.execPath, [path.join(dir, 'app.mjs')], {
        env: { ...stack.env(), PORT: '0' } });
    apps.push(child);
    const [, url] = await child.line(/listening on (http:\S+)/);
    return { child, url };
}

/** @param {string} url @param {object} [body] */
async function post(url, body = {}) {
    const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body),
                                      headers: { 'Content-Type': 'application/json' } });
    assert.equal(answer.status, 202, `${url}: ${answer.status}`);
    return answer.json();
}

for (const [name, start] of Object.entries({ fastapi, node })) {
    test(`${name}: asked, cancelled, and stopped while it speaks; old code beside it`, async () => {
        const { child, url } = await start();
        const stream = stack.threadEvents(name, 'since=0', reader);
        const asked = await post(`${url}/threads/${name}/ask`, { question: 'Why?' });
        const done = await stream.type('done');
        assert.equal(done.json.content.messageId, asked.messageId);
        assert.equal(done.json.agentId, name);
        assert.equal(stream.text(asked.runId), 'You asked: Why? ');
        await stack.redis.cli('publish', `thread:${name}`, '{"type":"token","content":"old code"}');
        assert.equal((await stream.next((e) => e.json?.type === 'token' && !e.json.runId)).json.content, 'old code');

        const long = { question: 'word '.repeat(5000) };
        const { runId } = await post(`${url}/threads/${name}/ask`, long);
        await stream.next((e) => e.json?.runId === runId && e.json.type === 'token');
        assert.deepEqual(await post(`${url}/runs/${runId}/cancel`), { heard: 1 });
        const cancelled = await stream.type('done');
        assert.deepEqual([cancelled.json.runId, cancelled.json.content.finishReason], [runId, 'cancelled']);

        const last = await post(`${url}/threads/${name}/ask`, long);
        await stream.next((e) => e.json?.runId === last.runId && e.json.type === 'token');
        child.kill('SIGTERM');
        const stopped = await stream.type('done');
        assert.deepEqual([stopped.json.runId, stopped.json.content.finishReason], [last.runId, 'cancelled']);
        await child.exit;
        stream.close();
    });
}
