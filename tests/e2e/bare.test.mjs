// What anybody may publish with redis-cli, and what must not get through.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ postgres: false });
});

const reader = { sub: 'ann', read: ['*'] };

/** @param {string} thread */
async function open(thread) {
    const stream = stack.threadEvents(thread, '', reader);
    await stream.named('ready');
    return stream;
}

test('redis-cli publish arrives as it is, without an id', async () => {
    const stream = await open('t1');
    assert.equal(await stack.redis.cli('publish', 'thread:t1', '{"type":"test","content":"hello"}'), '1');
    const event = await stream.next((e) => e.event === 'message');
    assert.equal(event.data, '{"type":"test","content":"hello"}');
    assert.equal(event.ownId, '');
    stream.close();
});

test('the log names its channel once, and says where to read on', async () => {
    const streams = await Promise.all(['old1', 'old2'].map(open));
    for (let i = 0; i < 20; i++) {
        for (const thread of ['old1', 'old2']) {
            await stack.redis.client.publish(`thread:${thread}`, `{"type":"token","content":"${i} "}`);
        }
    }
    for (const stream of streams) {
        await stream.next((e) => e.json?.content === '19 ');
        assert.equal(stream.messages.length, 20);
        stream.close();
    }
    const lines = stack.bridge.child.lines.filter((line) => /warn bare PUBLISH/.test(line));
    for (const thread of ['old1', 'old2']) {
        const mine = lines.filter((line) => new RegExp(`channel="?thread:${thread}\\b`).test(line));
        assert.equal(mine.length, 1, stack.bridge.child.tail());
        assert.match(mine[0], /PUBLISHING\.md/);
        assert.doesNotMatch(mine[0], /token/, 'what was said is nobody\'s business');
    }
    assert.ok((await stack.bridge.metrics()).threadcast_bridge_events_bare_total >= 40);
});

test('line ends inside a published object do not break the framing', async () => {
    const stream = await open('t2');
    await stack.redis.client.publish('thread:t2', '{\r\n "type": "test",\n\n "content": "a"\r}');
    const event = await stream.next((e) => e.event === 'message');
    assert.deepEqual(event.json, { type: 'test', content: 'a' });
    stream.close();
});

test('what is not an object of this thread is dropped and counted', async () => {
    const stream = await open('t3');
    const dropped = ['hello', '', '[1]', '"text"', '12', 'null', '{"type":"test"', '{"a":1}{"b":2}',
                     '{"type":"test","threadId":"other"}', Buffer.from('{"a":"\xff\xfe"}', 'latin1'),
                     '{"a":1}\0', `${'{"a":'.repeat(200)}1${'}'.repeat(200)}`];
    for (const payload of dropped) await stack.redis.client.publish('thread:t3', payload);
    await stack.redis.client.publish('thread:t3', '{"type":"test","content":"last"}');
    const event = await stream.next((e) => e.event === 'message');
    assert.equal(event.json.content, 'last', stream.body);
    const metrics = await stack.bridge.metrics();
    const counted = Object.entries(metrics).filter(([name]) => /drop/.test(name))
        .reduce((sum, [, value]) => sum + value, 0);
    assert.ok(counted >= dropped.length, `${counted} of ${dropped.length} counted`);
    stream.close();
});

test('a forged id does not move the position of a reader', async () => {
    const run = new ScriptRun(stack.redis.client, 't4');
    await run.begin();
    const stream = stack.threadEvents('t4', 'since=0', reader);
    const { json } = await stream.type('status');
    const [epoch] = json.id.split('-');
    await stack.redis.client.publish('thread:t4', `{"id":"${epoch}-3","type":"token","threadId":"t4","content":"forged","ts":1}`);
    await run.tokens('true');
    const token = await stream.type('token');
    assert.equal(token.json.content, 'true');
    assert.equal(token.json.id, `${epoch}-2`);
    await run.tokens('next');
    assert.equal((await stream.type('token')).json.content, 'next');
    assert.equal(stream.json.filter((event) => event.content === 'forged').length, 0);
    stream.close();
});

test('an event that was lost on the way is filled from the log, before the next one', async () => {
    const run = new ScriptRun(stack.redis.client, 't5');
    await run.begin();
    const stream = stack.threadEvents('t5', 'since=0', reader);
    await stream.type('status');
    // a publisher whose PUBLISH went nowhere: only the log knows
    const key = '{thread:t5}:log';
    const [epoch] = stream.messages[0].json.id.split('-');
    const hidden = JSON.stringify({ id: `${epoch}-2`, ...run.event('token', 'hidden') });
    await stack.redis.client.xadd(key, `${epoch}-2`, 'e', hidden);
    const shown = JSON.stringify({ id: `${epoch}-3`, ...run.event('token', 'shown') });
    await stack.redis.client.xadd(key, `${epoch}-3`, 'e', shown);
    await stack.redis.client.publish('thread:t5', shown);
    await until(() => stream.text() === 'hiddenshown', { what: () => stream.body });
    stream.close();
});

test('a thread id is never a pattern', async () => {
    for (const id of ['*', '%2A', '../x', 'a b', 'ä', '%00', 'x'.repeat(129), 'a%0D%0AFLUSHALL', '', 'a%2Fb']) {
        const answer = await stack.request('GET', `/v1/threads/${id}/events`, { ...reader,
            headers: { Accept: 'text/event-stream' } });
        assert.ok([400, 404].includes(answer.status), `${id}: ${answer.status}`);
    }
});
