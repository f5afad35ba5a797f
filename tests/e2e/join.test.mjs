// Joining as the page does: history, then the stream from its cursor. The whole answer,
// once, whenever one comes.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { contentText, Stack, until } from './harness.mjs';

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ worker: { 'demo-rate': 2000 } });
});

/** A page that shows history and what comes after it. @param {string} thread */
async function join(thread) {
    const { json } = await stack.request('GET', `/v1/threads/${thread}/messages`);
    const stream = stack.threadEvents(thread, `since=${json.cursor}`);
    return {
        json, stream,
        /** What it shows for an answer: the record's text if it is there, else the stream's. */
        answer(/** @type {string} */ messageId) {
            const kept = json.messages.find((message) => message.id === messageId);
            const ended = kept && kept.status !== 'running';
            return ended ? contentText(kept.content) : stream.text(stream.json.find((e) => e.messageId === messageId)?.runId ?? 'none');
        },
    };
}

/** @param {Awaited<ReturnType<typeof join>>} page @param {any} receipt */
async function showsAll(page, receipt) {
    const { messageId } = receipt.runs[0];
    await stack.ended(receipt.runId);
    const text = await stack.messageText(messageId);
    assert.ok(text);
    await until(() => page.answer(messageId) === text, {
        what: () => `the page shows\n${text}\nbut shows\n${page.answer(messageId)}` });
    const ids = page.stream.messages.map((event) => event.json.id);
    assert.equal(new Set(ids).size, ids.length, 'nothing twice');
    page.stream.close();
}

test('before the run exists', async () => {
    const thread = await stack.thread();
    const page = await join(thread);
    await page.stream.opened();
    await showsAll(page, await stack.post(thread, 'come after me'));
});

test('in the middle, at many moments', async () => {
    const rounds = process.env.THREADCAST_FULL ? 60 : 20;
    for (let i = 0; i < rounds; i++) {
        const thread = await stack.thread();
        const receipt = await stack.post(thread, `middle ${i}`);
        const guide = stack.threadEvents(thread, `since=${receipt.cursor}&merge=0`);
        await until(() => guide.messages.length >= 1 + i * 10 || guide.json.at(-1)?.type === 'done',
                    { what: `${1 + i * 10} events`, every: 1 });
        await showsAll(await join(thread), receipt);
        guide.close();
    }
});

test('in the very moment of the end', async () => {
    const rounds = process.env.THREADCAST_FULL ? 100 : 20;
    for (let i = 0; i < rounds; i++) {
        const thread = await stack.thread();
        const receipt = await stack.post(thread, `end ${i}`);
        const guide = stack.threadEvents(thread, `since=${receipt.cursor}&merge=0`);
        // the record is written just before `done` is published: join around that
        if (i % 2) await guide.next((event) => event.json?.content?.kind === 'usage' || event.json?.type === 'done');
        else await guide.type('done');
        await showsAll(await join(thread), receipt);
        guide.close();
    }
});

test('from the cursor of the POST, however fast the run is', async () => {
    for (let i = 0; i < 10; i++) {
        const thread = await stack.thread();
        const receipt = await stack.post(thread, `fast ${i}`);
        if (i % 2) await stack.ended(receipt.runId);
        const stream = stack.threadEvents(thread, `since=${receipt.cursor}&merge=0`);
        await stream.type('done');
        assert.equal(stream.text(receipt.runId), await stack.messageText(receipt.runs[0].messageId));
        assert.equal(stream.json[0].content.status, 'started');
        stream.close();
    }
});

test('two runs at once, one of them old: no ended run is cut', async () => {
    const thread = await stack.thread();
    const receipts = [];
    for (let i = 0; i < 4; i++) receipts.push(await stack.post(thread, `together ${i}`));
    const page = await join(thread);
    const texts = await Promise.all(receipts.map(async ({ runId, runs }) => {
        await stack.ended(runId);
        return /** @type {const} */ ([runs[0].messageId, await stack.messageText(runs[0].messageId)]);
    }));
    for (const [id, text] of texts) {
        await until(() => page.answer(id) === text, { what: () => `${text}\n≠\n${page.answer(id)}` });
    }
    page.stream.close();
});
