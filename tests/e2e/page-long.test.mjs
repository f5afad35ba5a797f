// The application's long runs: an answer of 2,000 tokens while everything between it and the
// page breaks, and a conversation of 5,000 messages. Figures are printed. Only with
// THREADCAST_FULL=1: the first writes for a minute, the second makes thousands of rows.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe as suite, it } from 'node:test';
import { Proxy, ROOT, Stack, until, withLogs } from './harness.mjs';
import { describe, Frames } from './lib/frames.mjs';
import { DESKTOP, launchBrowser, Visitor } from './lib/visitor.mjs';

const FULL = Boolean(process.env.THREADCAST_FULL);
const SHOTS = path.join(ROOT, 'build/test');
const TOKENS = 2000;
const CUTS = 20;
const MESSAGES = 5000;
const RATE = 200;

/** @type {Stack} */
let stack;
/** @type {import('playwright-core').Browser} */
let browser;
if (FULL) {
    stack = await Stack.start({ demo: true, workers: 0, bridge: { 'retry-ms': 100, 'drain-ms': 300 } });
    const program = path.join(stack.dir, 'long.py');
    fs.writeFileSync(program, `#!/usr/bin/python3
import json, sys, time
sys.stdin.read()
rate = float(sys.argv[2])
for n in range(int(sys.argv[1])):
    word = "\\n\\n## Part %d\\n\\n" % (n // 100) if n % 100 == 0 else "\`w%d\` " % n if n % 7 == 0 else "**wörd%d** 🎏 " % n if n % 11 == 0 else "w%d " % n
    print(json.dumps({"type": "token", "content": word}), flush=True)
    time.sleep(1 / rate)
`, { mode: 0o755 });
    const agents = {
        long: { kind: 'exec', command: `exec ${program} ${TOKENS} 45` },
        quick: { kind: 'exec', command: `exec ${program} ${RATE * 15} ${RATE}` },
    };
    fs.writeFileSync(path.join(stack.dir, 'agents.json'), JSON.stringify({ default: 'long', agents }));
    // every token by itself
    await stack.startWorker({ 'agents-file': path.join(stack.dir, 'agents.json'), 'flush-ms': 1 });
    browser = await launchBrowser();
    after(() => browser.close());
    fs.mkdirSync(SHOTS, { recursive: true });
}

/**
 * What the page's thread computed meanwhile, by its own clock: a machine that has other things to
 * do makes frames late, but does not change this.
 * @param {import('playwright-core').Page} page
 */
async function computing(page) {
    const session = await page.context().newCDPSession(page);
    await session.send('Performance.enable', { timeDomain: 'threadTicks' });
    const now = async () => Object.fromEntries((await session.send('Performance.getMetrics')).metrics.map(({ name, value }) => [name, value]));
    const before = await now();
    const from = performance.now();
    return async () => {
        const end = await now();
        await session.detach();
        const ms = (/** @type {string} */ name) => (end[name] - before[name]) * 1000;
        const seconds = (performance.now() - from) / 1000;
        return `computing ${(ms('TaskDuration') / seconds).toFixed(0)} ms a second (script ${(ms('ScriptDuration') / seconds).toFixed(0)}, layout ${((ms('LayoutDuration') + ms('RecalcStyleDuration')) / seconds).toFixed(0)})`;
    };
}

/** What Postgres has as the last answer. @param {string} threadId */
const answerOf = async (threadId) => (await stack.pg.query(
    `select content from messages where thread_id = $1 and role = 'assistant' order by seq desc limit 1`, [threadId]))[0]?.content;

suite('the application, long', { skip: FULL ? false : 'only with THREADCAST_FULL=1' }, () => {
    it(`${TOKENS} tokens, ${CUTS} cuts, two restarts, the tab hidden and frozen`, (t) =>
        withLogs(() => stack, async () => {
            const proxy = await Proxy.start({ port: stack.bridge.port });
            const visitor = await Visitor.come(browser, stack, DESKTOP, `http://127.0.0.1:${proxy.port}/`);
            const { page } = visitor;
            visitor.cuts = true;
            await page.locator('#agents label').first().waitFor();
            await page.locator('#agents input[value=long]').check({ force: true });
            await visitor.ask('Write for a long time');
            const shown = async () => (await visitor.shown()).length;
            const session = await page.context().newCDPSession(page);
            const lifecycle = (/** @type {'frozen' | 'active'} */ state) => session.send('Page.setWebLifecycleState', { state });
            for (let cut = 1; cut <= CUTS; cut++) {
                const before = await shown();
                await until(async () => (await shown()) > before + 300, { what: `it goes on before cut ${cut}` });
                if (cut % 2) proxy.cutAll();
                else proxy.resetAll();
                if (cut === 7 || cut === 14) await stack.bridge.restart();
                if (cut === 10) {
                    await page.evaluate(() => {
                        Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
                        Object.defineProperty(document, 'hidden', { value: true, configurable: true });
                        document.dispatchEvent(new Event('visibilitychange'));
                    });
                    await lifecycle('frozen');
                    const { cursor } = (await stack.request('GET', `/v1/threads/${visitor.threadId}/messages`, { read: ['*'] })).json;
                    assert.ok(cursor);
                    const length = () => stack.redis.client.xlen(`{thread:${visitor.threadId}}:log`);
                    const there = await length();
                    await until(async () => (await length()) > there + 100, { what: 'it is written while nobody looks' });
                    await lifecycle('active');
                    await page.evaluate(() => {
                        delete (/** @type {any} */ (document)).visibilityState;
                        delete (/** @type {any} */ (document)).hidden;
                        document.dispatchEvent(new Event('visibilitychange'));
                    });
                }
                assert.ok(await visitor.view().locator('.is-live').count(), `it still writes at cut ${cut}`);
            }
            const facts = visitor.view().locator('.from-assistant .message-facts');
            await until(async () => /the record/.test((await facts.textContent()) ?? ''), { timeout: 120_000 });
            assert.match((await facts.textContent()) ?? '', /✓ equals the record/);
            const text = await visitor.shown();
            assert.equal(text, await answerOf(visitor.threadId));
            assert.equal((text.match(/w(ö|)r?d?\d+/g) ?? []).length, TOKENS - TOKENS / 100);
            const counts = await visitor.counts();
            const events = await stack.redis.client.xlen(`{thread:${visitor.threadId}}:log`);
            assert.deepEqual(counts, { ...counts, lost: 0, duplicated: 0, events });
            assert.ok(counts.reconnects >= CUTS, `reconnects ${counts.reconnects}`);
            // what is shown is what the whole text looks like
            assert.ok(await page.locator('.from-assistant .message-text').evaluate(async (node, all) => {
                const place = './markdown.js';
                const { MarkdownView } = await import(place);
                const whole = document.createElement('div');
                new MarkdownView(whole).set(all, true);
                return whole.childNodes.length === node.childNodes.length && [...whole.childNodes].every((child, i) => child.isEqualNode(node.childNodes[i]));
            }, text));
            t.diagnostic(`${counts.events} events, ${counts.reconnects} reconnects, ${text.length} characters`);
            await page.screenshot({ path: path.join(SHOTS, 'page-storm.png') });
            await visitor.leave();
            await proxy.stop();
        }));

    it(`${MESSAGES} messages stay smooth while ${RATE} tokens/s arrive`, (t) =>
        withLogs(() => stack, async () => {
            const visitor = await Visitor.come(browser, stack);
            const { page } = visitor;
            await page.locator('#agents label').first().waitFor();
            await page.locator('#agents input[value=quick]').check({ force: true });
            await page.locator('#agents input[value=long]').uncheck({ force: true });
            // a conversation of the visitor's own, with a past
            const thread = await page.evaluate(async () => (await (await fetch('v1/threads', {
                method: 'POST', body: '{"metadata":{"title":"Long"}}', headers: { 'Content-Type': 'application/json' },
            })).json()).id);
            const text = 'It says **something** about `row` and a [link](https://example.org).\n\n- one\n- two\n\n```js\nlet a = 1;\n```\n';
            // (as the user they would all be asked)
            await stack.pg.query(`insert into messages (id, thread_id, role, content, author, created_at)
                select gen_random_uuid(), $1, case n % 2 when 0 then 'system' else 'assistant' end,
                       case n % 2 when 0 then 'Question ' || n else 'Answer ' || n || '. ' || $2 end, 'long', now()
                  from generate_series(1, $3::int) n`, [thread, text, MESSAGES]);
            await page.goto(`${stack.url('/')}#/t/${thread}`);
            await visitor.link('live');
            await page.reload();
            await visitor.link('live');
            const count = () => page.locator('.row').count();
            let frames = await Frames.start(page);
            for (let before = 0; (await count()) < MESSAGES; before = await count()) {
                await page.locator('.thread-scroll').evaluate((node) => (node.scrollTop = 0));
                await until(async () => (await count()) > before, { what: () => `more than ${before} messages` });
            }
            t.diagnostic(`loading ${MESSAGES} messages: ${describe(await frames.stop())}`);
            await page.getByLabel('Your prompt').fill('Now write');
            await page.keyboard.press('Enter');
            await visitor.view().locator('.is-live').waitFor();
            await visitor.reads(200);
            frames = await Frames.start(page);
            let computed = await computing(page);
            const from = await visitor.shown();
            await until(async () => (await visitor.shown()).length > from.length + 4000, { timeout: 60_000 });
            const writing = await computed();
            t.diagnostic(`writing, at its end: ${describe(await frames.stop())}; ${writing}`);
            frames = await Frames.start(page);
            computed = await computing(page);
            await page.locator('.thread-scroll').evaluate(async (node) => {
                for (let i = 0; i < 240; i++) {
                    node.scrollTop = Math.max(0, node.scrollTop - 400);
                    await new Promise(requestAnimationFrame);
                }
            });
            t.diagnostic(`writing, scrolled through: ${describe(await frames.stop())}; ${await computed()}`);
            await page.keyboard.press('Escape');
            await page.getByRole('button', { name: 'To the end' }).click();
            await visitor.finished();
            assert.equal(await visitor.shown(), await answerOf(visitor.threadId));
            const { lost, duplicated } = await visitor.counts();
            assert.deepEqual([lost, duplicated], [0, 0]);
            await page.screenshot({ path: path.join(SHOTS, 'page-5000.png') });
            await visitor.leave();
        }));

    it('seven tabs have three connections, and each its own conversation', () =>
        withLogs(() => stack, async () => {
            const first = await Visitor.come(browser, stack);
            const tabs = [first];
            const context = first.page.context();
            while (tabs.length < 7) {
                const tab = new Visitor(await context.newPage(), stack);
                await tab.page.goto(stack.url('/'));
                tabs.push(tab);
            }
            for (const tab of tabs) {
                await tab.page.locator('#agents input[value=quick]').check({ force: true });
                await tab.page.locator('#agents input[value=long]').uncheck({ force: true });
                await tab.ask('Write');
            }
            for (const tab of tabs) {
                const facts = tab.view().locator('.from-assistant .message-facts');
                await until(async () => /✓ equals the record/.test((await facts.textContent()) ?? ''), { timeout: 90_000 });
                assert.equal(await tab.shown(), await answerOf(tab.threadId));
                const { lost, duplicated } = await tab.counts();
                assert.deepEqual([lost, duplicated], [0, 0]);
            }
            // one that carries another conversation now is made anew: two, for a moment
            const clients = async () => (await stack.bridge.metrics()).threadcast_bridge_clients;
            await until(async () => await clients() === 3, { what: async () => `3 connections of seven tabs, not ${await clients()}` });
            assert.deepEqual(tabs.flatMap(({ complaints }) => complaints), []);
            await first.leave();
        }));
});
