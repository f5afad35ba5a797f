// Without DATABASE_URL: Redis alone, grants authorise, the rest says 501.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Stack } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ postgres: false });
});

test('grants open streams and publish; without them 403', async () => {
    const stream = stack.threadEvents('solo', '', { read: ['solo'] });
    await stream.named('ready');
    const published = await stack.publish('solo', { type: 'token', content: 'x' });
    assert.ok(published.status < 300, published.text);
    assert.equal((await stream.type('token')).json.content, 'x');
    assert.equal((await stack.request('GET', '/v1/threads/solo/events')).status, 403);
    assert.equal((await stack.publish('solo', { type: 'token', content: 'x' }, { write: undefined, read: ['solo'] })).status, 403);
    stream.close();
});

test('a run of any publisher streams', async () => {
    const run = new ScriptRun(stack.redis.client, 'any');
    await run.begin();
    await run.tokens('a', 'b');
    const stream = stack.threadEvents('any', '', { read: ['any'] });
    await stream.type('token');
    await run.done();
    await stream.type('done');
    assert.equal(stream.text(run.id), 'ab');
    stream.close();
});

test('what needs PostgreSQL answers 501', async () => {
    const who = { read: ['*'], write: ['*'] };
    for (const [method, path, json] of /** @type {[string, string, unknown][]} */ ([
        ['POST', '/v1/threads/x/messages', { content: 'x' }], ['GET', '/v1/threads/x/messages', undefined],
        ['GET', '/v1/threads', undefined], ['POST', '/v1/threads', {}],
        ['GET', '/v1/runs/3b241101-e2bb-4255-8caf-4136c566a962', undefined],
        ['POST', '/v1/runs/3b241101-e2bb-4255-8caf-4136c566a962/cancel', {}],
    ])) {
        const answer = await stack.request(method, path, { ...who, json });
        assert.equal(answer.status, 501, `${method} ${path}: ${answer.status} ${answer.text}`);
        assert.match(answer.json.error.code, /^[a-z_]+$/);
    }
    assert.equal((await stack.request('GET', '/readyz', { token: null })).status, 200);
});
