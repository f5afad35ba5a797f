// The demo page in a real browser, on the real stack. Everything it claims ("412 events ·
// lost 0 · duplicated 0") is compared with what Redis and Postgres hold.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { ROOT, run, Stack, until, withLogs } from './harness.mjs';
import { launchBrowser, PHONE, Visitor } from './lib/visitor.mjs';

const PROMPT = 'Wie heißt die Hauptstadt von Österreich? 🇦🇹';
const stack = await Stack.start({ demo: true, worker: { agent: 'demo', 'demo-rate': 160 } });
const browser = await launchBrowser();
after(() => browser.close());

/** @param {import('playwright-core').BrowserContextOptions} [options] @param {(v: Visitor) => Promise<void>} body */
const visit = (body, options) =>
    withLogs(
        () => stack,
        async () => {
            const visitor = await Visitor.come(browser, stack, options);
            await body(visitor);
            await visitor.leave();
        },
    );

/** What Postgres keeps of a thread. @param {string} threadId */
const record = (threadId) =>
    stack.pg.query('select role, content from messages where thread_id = $1 order by seq', [threadId]);
/** @param {string} threadId */
const answerInRecord = async (threadId) =>
    (await record(threadId)).filter(({ role }) => role === 'assistant').at(-1)?.content;
/** How many events the log holds. @param {string} threadId */
const logged = (threadId) => stack.redis.client.xlen(`{thread:${threadId}}:log`);

/** Everything counted, nothing lost: the line agrees with Redis, the text with Postgres. */
async function assertWhole(visitor, { index = 0, reconnects = 0 } = {}) {
    assert.equal(await visitor.finished(index), await answerInRecord(visitor.threadId));
    const counts = await visitor.counts(index);
    assert.deepEqual(counts, { ...counts, lost: 0, duplicated: 0, events: await logged(visitor.threadId) });
    assert.ok(counts.reconnects >= reconnects, `reconnects ${counts.reconnects}`);
    if (!reconnects) assert.equal(counts.reconnects, 0);
}

describe('the page', () => {
    it('shows an answer as it is written, and counts what arrived', () =>
        visit(async (visitor) => {
            await visitor.ask(PROMPT);
            const lengths = new Set();
            await until(async () => {
                lengths.add((await visitor.shown()).length);
                return await visitor.view().locator('.from-assistant:not(.is-live)').count();
            });
            assert.ok(lengths.size > 3, `it grew in ${lengths.size} steps`);
            await assertWhole(visitor);
            const user = await visitor.view().locator('.from-user .message-text').textContent();
            assert.equal(user, PROMPT);
            assert.match(
                (await visitor.view().locator('.detail').textContent()) ?? '',
                /first event [\d.]+ m?s .*first token [\d.]+ m?s/,
            );
            await visitor.view().locator('.steps:not([hidden]) summary').click();
            assert.ok((await visitor.view().locator('.step-reasoning').count()) > 0, 'there was reasoning');
            assert.ok((await visitor.view().locator('.step-tool').count()) > 0, 'a tool was called');
            assert.equal(
                await visitor.page.getByRole('link', { name: /Hauptstadt/ }).getAttribute('aria-current'),
                'page',
            );
        }));

    it('goes on after a reload in the middle of an answer', () =>
        visit(async (visitor) => {
            await visitor.ask(PROMPT);
            assert.ok(await visitor.reads(100), 'the answer is still being written');
            visitor.cuts = true;
            await visitor.page.reload();
            await assertWhole(visitor);
        }));

    it('shows the history after a reload', () =>
        visit(async (visitor) => {
            await visitor.ask('First');
            await visitor.finished();
            await visitor.ask('Second');
            const text = await visitor.finished();
            await visitor.page.reload();
            await visitor.link('live');
            assert.equal(await visitor.shown(), text);
            assert.deepEqual(
                await visitor.texts('.message'),
                (await record(visitor.threadId)).map(({ content }) => content),
            );
        }));

    it('comes back by itself when its connection is cut, and misses nothing', () =>
        visit(async (visitor) => {
            visitor.cuts = true;
            await visitor.ask(PROMPT);
            assert.ok(await visitor.reads(100), 'the answer is still being written');
            await visitor.page.getByRole('button', { name: 'Cut my connection' }).click();
            await until(async () => (await visitor.counts()).reconnects > 0);
            await assertWhole(visitor, { reconnects: 1 });
            assert.match(
                (await visitor.view().locator('.detail').textContent()) ?? '',
                /cut at #\d+, back at #\d+ in/,
            );
        }));

    it('shows the same in a second view that comes in later', () =>
        visit(async (visitor) => {
            visitor.cuts = true;
            await visitor.ask(PROMPT);
            assert.ok(await visitor.reads(100), 'the answer is still being written');
            await visitor.page.getByRole('button', { name: 'Second view' }).click();
            await visitor.reads(100, 1);
            await assertWhole(visitor);
            await assertWhole(visitor, { index: 1 });
            assert.equal(await visitor.shown(1), await visitor.shown(0));
            await visitor.page.getByText(/^✓ same text at #\d+$/).waitFor();
            await visitor.ask('And another one');
            await visitor.answers(2, 1);
            await visitor.finished(1);
            await until(async () => (await visitor.view(1).locator('.from-user').count()) === 2, {
                what: 'the prompt came over, too',
            });
            await visitor.page.getByRole('button', { name: 'Close the second view' }).click();
            assert.equal(await visitor.page.locator('.thread').count(), 1);
        }));

    it('a prompt that is typed before the session is open waits for it', () =>
        withLogs(
            () => stack,
            async () => {
                const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
                const visitor = new Visitor(await context.newPage(), stack);
                let release = (/** @type {unknown} */ _) => {};
                const held = new Promise((resolve) => (release = resolve));
                let asked = 0;
                await visitor.page.route('**/v1/demo/session', async (route) => {
                    asked++;
                    await held;
                    await route.continue();
                });
                /** @type {string[]} */
                const early = [];
                visitor.page.on('request', (request) => {
                    if (/\/v1\/threads/.test(request.url())) early.push(request.url());
                });
                await visitor.page.goto(stack.url('/'));
                await until(() => asked > 0);
                await visitor.page.getByLabel('Your prompt').fill(PROMPT);
                await visitor.page.keyboard.press('Enter');
                // what it would have asked for without waiting has been asked for by now
                await visitor.page.evaluate(() => fetch('healthz'));
                assert.deepEqual(early, []);
                release(null);
                await until(() => visitor.reads(20));
                await assertWhole(visitor);
                await visitor.leave();
            },
        ));

    it('stops an answer and keeps what there was', () =>
        visit(async (visitor) => {
            await visitor.ask(PROMPT);
            assert.ok(await visitor.reads(50), 'the answer is still being written');
            await visitor.page.getByRole('button', { name: 'Stop the answer' }).click();
            await visitor.page.getByText('Stopped', { exact: true }).waitFor();
            await assertWhole(visitor);
            assert.ok(await visitor.page.getByRole('button', { name: 'Stop the answer' }).isHidden());
            await visitor.page.reload();
            await visitor.page.getByText('Stopped', { exact: true }).waitFor();
            assert.equal(await visitor.shown(), await answerInRecord(visitor.threadId));
        }));

    it('takes text of every origin as text', () =>
        visit(async (visitor) => {
            const nasty = '<img src=x onerror=alert(1)><script>alert(2)</script> **<b>x</b>** `<i>` &lt; </textarea>';
            await visitor.ask(nasty);
            await visitor.finished();
            const channel = `thread:${visitor.threadId}`;
            const events = [
                { type: 'test', content: nasty },
                { type: nasty, content: { a: nasty } },
                { type: 'token', content: nasty },
                {
                    type: 'status',
                    runId: 'x1',
                    agentId: nasty,
                    messageId: 'x1',
                    attempt: 1,
                    content: { status: 'started' },
                },
                { type: 'delta', runId: 'x1', attempt: 1, content: { kind: 'reasoning', text: nasty } },
                {
                    type: 'delta',
                    runId: 'x1',
                    attempt: 1,
                    content: { kind: 'tool_call', toolCallId: nasty, name: nasty, arguments: { nasty } },
                },
                { type: 'delta', runId: 'x1', attempt: 1, content: { kind: nasty, nasty } },
                { type: 'status', runId: 'x1', attempt: 1, content: { status: nasty } },
                {
                    type: 'token',
                    runId: 'x1',
                    attempt: 1,
                    content: `${nasty}\n\`\`\`${nasty}\n${nasty}\n\`\`\`\n# ${nasty}`,
                },
                { type: 'error', runId: 'x1', attempt: 1, content: { code: nasty, message: `the end ${nasty}` } },
            ];
            for (const event of events) await stack.redis.client.publish(channel, JSON.stringify(event));
            await visitor.view().locator('.message-error', { hasText: 'the end' }).waitFor();
            for (const steps of await visitor.view().locator('.steps:not([hidden]) summary').all())
                await steps.click();
            assert.equal(await visitor.view().locator('img, script, i, b, textarea').count(), 0);
            assert.equal(await visitor.page.locator('img[src=x], script:not([src])').count(), 0);
            assert.equal(await visitor.page.title(), `${nasty.slice(0, 60)} · Threadcast`);
        }));

    it('shows what redis-cli publishes', () =>
        visit(async (visitor) => {
            await visitor.ask('Hello');
            await visitor.finished();
            await stack.redis.client.publish(
                `thread:${visitor.threadId}`,
                '{"type":"test","content":"hello from outside"}',
            );
            await visitor.page.locator('.from-note', { hasText: 'hello from outside' }).waitFor();
            assert.equal((await visitor.counts()).lost, 0);
        }));

    it('shows what a Python program writes into the open conversation', () =>
        visit(async (visitor) => {
            await visitor.ask('Hello');
            await visitor.finished();
            const program = `import asyncio, sys; sys.path.insert(0, ${JSON.stringify(path.join(ROOT, 'sdk/python'))})
import redis.asyncio, threadcast
async def main(redis):
    for channel in await redis.pubsub_channels("thread:*"):
        async with threadcast.run(redis, channel.decode()[7:]) as run:
            for word in "Hello from Python, one word at a time. 👋".split():
                await run.token(word + " ")
asyncio.run(main(redis.asyncio.from_url("${stack.redis.url}")))`;
            const { code, stderr } = await run('/usr/bin/python3', ['-c', program]);
            assert.equal(code, 0, stderr);
            await until(async () => (await visitor.shown()).startsWith('Hello from Python, one word at a time. 👋'));
            await until(() =>
                visitor
                    .view()
                    .locator('.is-live')
                    .count()
                    .then((n) => n === 0),
            );
            const { events, lost, duplicated } = await visitor.counts();
            assert.deepEqual([events, lost, duplicated], [await logged(visitor.threadId), 0, 0]);
        }));

    it('survives a bridge that is restarted, and one that is killed', () =>
        visit(async (visitor) => {
            visitor.cuts = true;
            await visitor.ask(PROMPT);
            assert.ok(await visitor.reads(100), 'the answer is still being written');
            await stack.bridge.restart();
            await until(async () => (await visitor.counts()).reconnects > 0);
            await assertWhole(visitor, { reconnects: 1 });
            await visitor.ask(PROMPT);
            await visitor.reads(100);
            await stack.bridge.kill();
            await until(() =>
                visitor
                    .view()
                    .locator('.link[data-state="live"]')
                    .count()
                    .then((n) => n === 0),
            );
            await stack.bridge.start();
            await until(async () => (await visitor.counts()).reconnects > 1);
            await assertWhole(visitor, { reconnects: 2 });
        }));

    it('shows the whole answer when Redis forgets everything in the middle of it', () =>
        visit(async (visitor) => {
            await visitor.ask(PROMPT);
            assert.ok(await visitor.reads(100), 'the answer is still being written');
            await stack.redis.client.flushall();
            assert.equal(await visitor.finished(), await answerInRecord(visitor.threadId));
            const counts = await visitor.counts();
            assert.deepEqual([counts.lost, counts.duplicated], [0, 0]);
        }));

    it('says so when something is lost or comes twice', () =>
        withLogs(
            () => stack,
            async () => {
                const visitor = await Visitor.come(browser, stack);
                await visitor.page.addInitScript(() => {
                    const Real = window.EventSource;
                    window.EventSource = class extends Real {
                        set onmessage(listener) {
                            let n = 0;
                            super.onmessage = (message) => {
                                if (++n !== 10) listener?.call(this, message);
                                if (n === 20) listener?.call(this, message);
                            };
                        }
                    };
                });
                await visitor.page.reload();
                await visitor.ask(PROMPT);
                await until(() => visitor.view().locator('.from-assistant:not(.is-live)').count());
                await until(async () => (await visitor.shown()) === (await answerInRecord(visitor.threadId)), {
                    what: 'the record is shown',
                });
                const { lost, duplicated } = await visitor.counts();
                assert.ok(lost >= 1, `lost ${lost}`);
                assert.equal(duplicated, 1);
                await visitor.leave();
            },
        ));

    it('does not open what belongs to somebody else', () =>
        visit(async (visitor) => {
            await visitor.ask('Mine');
            await visitor.finished();
            const stranger = await Visitor.come(browser, stack);
            await stranger.page.goto(`${stack.url('/')}#/t/${visitor.threadId}`);
            await stranger.link('refused');
            assert.ok(await stranger.page.getByRole('alert').isVisible());
            assert.equal(await stranger.page.getByRole('link', { name: 'Mine' }).count(), 0);
            assert.equal(await stranger.view().locator('.message').count(), 0);
            stranger.complaints = stranger.complaints.filter((text) => !/ 403 /.test(text));
            await stranger.leave();
        }));

    it('can be used with the keyboard', () =>
        visit(async (visitor) => {
            const { page } = visitor;
            await page.locator('#prompt:focus').waitFor();
            await page.keyboard.type('one');
            await page.keyboard.press('Shift+Enter');
            await page.keyboard.type('two');
            await page.keyboard.press('Enter');
            assert.equal(await visitor.view().locator('.from-user .message-text').first().textContent(), 'one\ntwo');
            assert.equal(await page.getByLabel('Your prompt').inputValue(), '');
            await visitor.finished();
            assert.equal(await page.evaluate(() => document.activeElement?.id), 'prompt');
        }));
});

describe('the page on a phone', () => {
    it('fits, and has its conversations in a drawer', () =>
        visit(async (visitor) => {
            const { page } = visitor;
            const fits = () =>
                page.evaluate(
                    () =>
                        [document.documentElement, ...document.querySelectorAll('.thread-scroll, #sidebar')].every(
                            (node) => node.scrollWidth <= node.clientWidth + 1,
                        ) && document.documentElement.scrollWidth <= innerWidth,
                );
            const long = `${'x'.repeat(300)} ${randomBytes(4).toString('hex')}`;
            await visitor.ask(long);
            await visitor.finished();
            assert.ok(await fits());
            await page.getByRole('button', { name: 'Second view' }).click();
            await visitor.link('live', 1);
            assert.ok(await fits(), 'with two views');
            await page.getByRole('button', { name: 'Conversations' }).click();
            await page.getByRole('button', { name: 'New conversation' }).click();
            await page.getByRole('heading', { name: 'Watch an answer arrive' }).waitFor();
            assert.ok(await fits(), 'with nothing in it');
            await visitor.ask('Another one');
            await visitor.finished();
            await page.getByRole('button', { name: 'Conversations' }).click();
            assert.ok(await fits(), 'with its drawer open');
            await page.getByRole('link', { name: /^xxx/ }).click();
            await page.locator('.from-user', { hasText: long }).waitFor();
            await page.getByRole('button', { name: 'Conversations' }).click();
            await page.keyboard.press('Escape');
            assert.equal(await page.evaluate(() => document.activeElement?.id), 'menu');
        }, PHONE));
});
