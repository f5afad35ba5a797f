// What the application makes of a conversation, in Chromium: Markdown, several agents,
// the inspector, a session that ends, keys, and what axe-core says about all of it. That
// nothing is lost or shown twice is in page.test.mjs, the long runs in page-long.test.mjs.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { ROOT, Stack, until, withLogs } from './harness.mjs';
import { assertAccessible } from './lib/axe.mjs';
import { DESKTOP, launchBrowser, PHONE, Visitor } from './lib/visitor.mjs';

const SHOTS = path.join(ROOT, 'build/test');
fs.mkdirSync(SHOTS, { recursive: true });

/** what does harm where somebody forgets that it is text */
const NASTY = '<img src=x onerror="globalThis.harm=1"><script>globalThis.harm=2</script><b onclick=x>b</b>' +
    '<iframe srcdoc="<script>parent.harm=3</script>"></iframe>';
/** and in Markdown */
const HARMFUL = `${NASTY}

# ${NASTY}

[a](javascript:harm=4) [b](&#106;avascript&colon;harm=5) [c](data:text/html,x) [d](vbscript:x) [e](//evil.example)
[f][r] <javascript:harm=6> ![p](https://evil.example/pixel?q=secret) ![q](javascript:harm=7) [ok](https://example.org/?a=1&amp;b=2)

[r]: jAvAsCrIpT:harm=8

| ${NASTY.replaceAll('|', '')} |
|---|
| ${NASTY} |

\`\`\`"onload=x ${NASTY}
${NASTY}
\`\`\`

- [x] ${NASTY}
<style>*{display:none}</style>
<svg><a xlink:href="javascript:harm=9"><text>x</text></a></svg>
`;
const SAMPLE = `# Resuming\n\nA reader comes *back* with the **last id**.\n\n1. cut\n2. wait\n   - jitter\n\n` +
    '| State | s |\n|---|--:|\n| `live` | 0 |\n\n> kept\n\n```js\nconnect("t1");\n```\n\n[docs](https://example.org)\n\n## End\n';

const stack = await Stack.start({ demo: true, workers: 0 });
/** An agent that says what a file holds, in pieces. @param {string} name @param {object[]} lines */
function says(name, lines) {
    const file = path.join(stack.dir, `${name}.jsonl`);
    fs.writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    return { kind: 'exec', command: `exec cat ${file}`, description: `says ${NASTY}` };
}
const tokens = (/** @type {string} */ text) => (text.match(/[^]{1,7}/g) ?? []).map((content) => ({ type: 'token', content }));
const agents = {
    writer: { kind: 'demo', rate: 400, description: 'Writes.' },
    critic: { kind: 'demo', rate: 300 },
    poet: { kind: 'demo', rate: 300 },
    slow: { kind: 'demo', rate: 4 },
    docs: says('docs', tokens(SAMPLE)),
    nasty: says('nasty', [
        { type: 'delta', content: { kind: 'reasoning', text: NASTY } },
        { type: 'delta', content: { kind: 'tool_call', toolCallId: NASTY, name: NASTY, arguments: { [NASTY]: NASTY } } },
        { type: 'delta', content: { kind: 'tool_result', toolCallId: NASTY, result: NASTY, isError: true } },
        { type: 'delta', content: { kind: 'step', name: NASTY, detail: NASTY, state: 'started' } },
        { type: 'delta', content: { kind: 'progress', completed: 1, total: 2, unit: NASTY, message: NASTY } },
        { type: 'delta', content: { kind: 'milestone', title: NASTY, description: NASTY } },
        { type: 'delta', content: { kind: 'activity', message: NASTY, data: { [NASTY]: 1 } } },
        { type: 'delta', content: { kind: NASTY, x: NASTY } },
        { type: 'status', content: { status: NASTY } },
        ...tokens(HARMFUL),
        { type: 'error', content: { code: 'nasty', message: `the end ${NASTY}`, retryable: false } },
    ]),
};
fs.writeFileSync(path.join(stack.dir, 'agents.json'), JSON.stringify({ default: 'writer', agents }));
await stack.startWorker({ 'agents-file': path.join(stack.dir, 'agents.json'), 'max-attempts': 1 });
const browser = await launchBrowser();
after(() => browser.close());

/** @param {(visitor: Visitor) => Promise<void>} body @param {import('playwright-core').BrowserContextOptions} [options] */
const visit = (body, options = DESKTOP) => withLogs(() => stack, async () => {
    const visitor = await Visitor.come(browser, stack, options);
    await visitor.page.locator('#agents label').first().waitFor();
    await body(visitor);
    await visitor.leave();
});

/** Asks exactly these. @param {Visitor} visitor @param {string[]} names @param {string} text */
async function ask(visitor, names, text) {
    const boxes = visitor.page.locator('#agents input');
    const all = await boxes.evaluateAll((nodes) => nodes.map((node) => /** @type {any} */ (node).value));
    const ordered = [...all.filter((name) => names.includes(name)), ...all.filter((name) => !names.includes(name))];
    for (const name of ordered)
        await visitor.page.locator(`#agents input[value=${name}]`).setChecked(names.includes(name), { force: true });
    await visitor.ask(text);
}
/** All that live have ended and were compared with the record. @param {Visitor} visitor @param {number} count */
async function settled(visitor, count) {
    const facts = visitor.view().locator('.from-assistant .message-facts', { hasText: '✓ equals the record' });
    await until(async () => (await facts.count()) >= count, { what: `${count} answers equal the record` });
}
/** The answers of a thread as Postgres has them, by author. @param {string} threadId */
const recorded = async (threadId) => Object.fromEntries((await stack.pg.query(
    `select author, content from messages where thread_id = $1 and role = 'assistant' order by seq`, [threadId],
)).map(({ author, content }) => [author, content]));
/** What a part of the page shows, by agent. @param {Visitor} visitor */
const shownBy = (visitor) => visitor.view().locator('.from-assistant').evaluateAll(async (nodes) => {
    const place = './message-view.js';
    const { textOf } = await import(place);
    return Object.fromEntries(nodes.map((node) => [node.querySelector('h2')?.textContent, textOf(node)]));
});
const shot = (/** @type {Visitor} */ visitor, /** @type {string} */ name) =>
    visitor.page.screenshot({ path: path.join(SHOTS, `page-${name}.png`) });

/** Nothing in the page came from a text: no element, no address, no script. @param {Visitor} visitor */
async function assertHarmless(visitor) {
    const found = await visitor.page.evaluate(() => ({
        harm: /** @type {any} */ (globalThis).harm ?? null,
        elements: document.querySelectorAll('main :is(script, iframe, b, style, object, embed, form:not(#composer), [onerror], [onclick], [onload]), main img').length,
        links: [...document.querySelectorAll('main a')].map((link) => link.getAttribute('href')),
    }));
    assert.deepEqual({ ...found, links: [] }, { harm: null, elements: 0, links: [] });
    for (const link of found.links) assert.match(String(link), /^(https?|mailto):/);
    return found.links;
}

describe('the application', { concurrency: 3 }, () => {
    it('answers of three agents stand side by side, and stacked on a phone', () =>
        visit(async (visitor) => {
            await ask(visitor, ['writer', 'critic', 'poet'], 'What is the capital of Austria?');
            await settled(visitor, 3);
            assert.deepEqual(await shownBy(visitor), await recorded(visitor.threadId));
            const places = () => visitor.view().locator('.is-many > .message').evaluateAll((nodes) =>
                nodes.map((node) => node.getBoundingClientRect()).map(({ left, top }) => ({ left, top })));
            const wide = await places();
            assert.equal(new Set(wide.map(({ top }) => top)).size, 1, 'one row');
            assert.equal(new Set(wide.map(({ left }) => left)).size, 3, 'three columns');
            await shot(visitor, 'three');
            await visitor.page.setViewportSize(PHONE.viewport);
            await until(async () => new Set((await places()).map(({ left }) => left)).size === 1, { what: 'one column' });
            await visitor.page.reload(); // the record shows them in the same way
            await until(async () => (await visitor.view().locator('.is-many > .message').count()) === 3);
            assert.deepEqual(await shownBy(visitor), await recorded(visitor.threadId));
        }));

    it('one answer is stopped, then all; another one is asked for, and both versions are kept', () =>
        visit(async (visitor) => {
            const { page } = visitor;
            await ask(visitor, ['slow', 'writer'], 'A long one');
            const slow = visitor.view().locator('.from-assistant', { hasText: 'slow' });
            await slow.locator('.action-stop').click();
            await slow.getByText('Stopped', { exact: true }).waitFor();
            await settled(visitor, 2);
            await slow.getByRole('button', { name: 'Retry' }).click();
            await slow.getByText('2 / 2').waitFor();
            await slow.locator('.action-stop:not([hidden])').waitFor();
            await page.locator('#prompt').blur();
            await page.keyboard.press('s');
            await slow.getByText('Stopped', { exact: true }).waitFor();
            await slow.getByRole('button', { name: 'The answer before' }).click();
            await slow.getByText('1 / 2').waitFor();
            await page.reload();
            await visitor.view().getByText('2 / 2').waitFor();
        }));

    it('everything that comes from somewhere is text', () =>
        visit(async (visitor) => {
            const { page } = visitor;
            await ask(visitor, ['nasty'], NASTY);
            await page.locator('.message-error', { hasText: 'the end' }).waitFor();
            await settled(visitor, 1);
            await page.locator('.steps:not([hidden]) summary').click();
            const channel = `thread:${visitor.threadId}`;
            const name = NASTY.replaceAll('"', ''); // names with escapes are not let through at all
            for (const event of [{ type: name, content: { [NASTY]: NASTY } }, { type: 'token', content: HARMFUL, agentId: name }])
                await stack.redis.client.publish(channel, JSON.stringify(event));
            await visitor.view().locator('.from-assistant').nth(1).waitFor();
            const links = await assertHarmless(visitor);
            const fine = 'https://example.org/?a=1&b=2';
            assert.deepEqual([...new Set(links)].sort(), ['https://evil.example/pixel?q=secret', fine].sort());
            await page.getByRole('button', { name: 'Inspector' }).click();
            await page.locator('.list-row').last().click();
            await page.locator('.inspector-detail:not([hidden])').waitFor();
            assert.equal(await page.locator('#inspector :is(img, script, iframe, style)').count(), 0);
            await page.reload();
            await page.locator('.message-error', { hasText: 'the end' }).waitFor();
            await assertHarmless(visitor);
            assert.equal(await page.title(), `${NASTY.slice(0, 60)} · Threadcast`);
            assert.equal(await page.locator('#threads .thread-title').first().textContent(), NASTY.slice(0, 60));
            await page.locator('#agents label', { hasText: 'nasty' }).waitFor();
            assert.equal(await page.locator('#agents :is(img, script)').count(), 0);
        }));

    it('Markdown that grows looks at every moment as it does when it is read as a whole', () =>
        visit(async ({ page }) => {
            const texts = [SAMPLE, HARMFUL, '1. a\n\n2. b\n\n\n3. c\n   d\n\ne\n===\nf\n---\n', '[x][y] and [z]\n\ntext\n\n[y]: https://a.example\n\n[z]: mailto:a@b.example\n',
                '- a\n\n  ```\n  code\n\n  more\n  ```\n- b\n\n    indented\n\npara\n| a | b |\n|---|---|\n| 1\n\n<div>\n\n*x*\n\n</div>\n<!-- a\n\nb -->\n> q\nlazy\n', 'a\r\nb\r\n\r\n# c\r\n', '&lt;b&gt; &amp;amp; &#x41; &nbsp; &unknown; `&lt;`'];
            const wrong = await page.evaluate(async (all) => {
                const place = './markdown.js';
                const { MarkdownView, loadMarkdown } = await import(place);
                if (!(await loadMarkdown())) return ['there is no lexer'];
                const shownOf = (/** @type {string[]} */ steps) => {
                    const element = document.createElement('div');
                    const view = new MarkdownView(element);
                    steps.forEach((text, i) => view.set(text, i === steps.length - 1));
                    return element;
                };
                const found = [];
                let seed = 7;
                const random = (/** @type {number} */ below) => (seed = (seed * 48271) % 2147483647) % below;
                for (const text of all) {
                    const whole = shownOf([text]);
                    for (let round = 0; round < 12; round++) {
                        const steps = [];
                        for (let end = 0; end < text.length; end += 1 + random(1 + 4 * round)) steps.push(text.slice(0, end));
                        if (!shownOf([...steps, text]).isEqualNode(whole)) found.push(text);
                    }
                }
                // and what would take for ever is shown all the same
                const from = performance.now();
                for (const odd of ['>'.repeat(5000), '_a'.repeat(20_000), '['.repeat(50_000), '- '.repeat(3000), '*a '.repeat(20_000), '![['.repeat(9000)])
                    if (!shownOf([odd]).firstChild) found.push(odd.slice(0, 9));
                if (performance.now() - from > 15_000) found.push(`slow: ${performance.now() - from} ms`);
                return found;
            }, texts);
            assert.deepEqual(wrong, []);
        }));

    it('serves what it has from others, and nothing beside it', async () => {
        const answer = await stack.bridge.fetch('/vendor/marked.esm.js');
        assert.deepEqual([answer.status, answer.headers.get('content-type')], [200, 'text/javascript; charset=utf-8']);
        assert.match(String(answer.headers.get('content-security-policy')), /^default-src 'self';/);
        assert.match(await (await stack.bridge.fetch('/vendor/marked.LICENSE.txt')).text(), /MIT|Permission is hereby granted/);
        for (const name of ['.stamp', '', 'nothing.js', 'a/b.js'])
            assert.equal((await stack.bridge.fetch(`/vendor/${name}`)).status, 404, name);
        for (const name of ['..%2Fapp.js', '%2e%2e%2fapp.js'])
            assert.equal((await stack.bridge.fetch(`/vendor/${name}`)).status, 400, name);
    });

    it('without what reads Markdown it shows plain text and says why', () =>
        withLogs(() => stack, async () => {
            const context = await browser.newContext(DESKTOP);
            const visitor = new Visitor(await context.newPage(), stack);
            await visitor.page.route('**/vendor/**', (route) => route.fulfill({ status: 404, body: '' }));
            await visitor.page.goto(stack.url('/'));
            await visitor.page.locator('#setup', { hasText: './scripts/vendor' }).waitFor();
            await visitor.page.locator('#agents label').first().waitFor();
            await ask(visitor, ['docs'], 'Plain, please');
            await settled(visitor, 1);
            assert.equal(await visitor.view().locator('.from-assistant .message-text').textContent(), SAMPLE);
            visitor.complaints = visitor.complaints.filter((text) => !/404/.test(text));
            await visitor.leave();
        }));

    it('the inspector shows what came, the lines of the wire, and what a filter leaves', () =>
        visit(async (visitor) => {
            const { page } = visitor;
            await ask(visitor, ['docs'], 'Look at this');
            await settled(visitor, 1);
            await page.locator('#prompt').blur();
            await page.keyboard.press('i');
            await page.locator('.list-row').first().waitFor();
            const fromEnd = () => page.locator('.thread-scroll').evaluate((node) => node.scrollHeight - node.clientHeight - node.scrollTop);
            await until(async () => (await fromEnd()) < 2, { what: 'a panel that gets narrow stays at its end' });
            assert.match(page.url(), /\?inspector=events$/);
            const { events } = await visitor.counts();
            const size = async () => Number(await page.locator('.list-row').first().getAttribute('aria-setsize'));
            await until(async () => (await size()) >= events, { what: 'every event has a row' });
            await page.getByLabel('Filter the list').fill('"type":"done"');
            await until(async () => (await size()) === 1);
            await page.getByLabel('Filter the list').fill('');
            await page.locator('.list').focus();
            await page.keyboard.press('End');
            await page.locator('.inspector-detail', { hasText: '"finishReason"' }).waitFor();
            await page.getByRole('button', { name: 'Pause' }).click();
            await ask(visitor, ['docs'], 'And this');
            await settled(visitor, 2);
            const before = await size();
            await page.getByRole('button', { name: 'Go on' }).click();
            await until(async () => (await size()) > before, { what: 'what came meanwhile is there' });
            const download = page.waitForEvent('download');
            await page.getByRole('button', { name: 'Export' }).click();
            const saved = JSON.parse(fs.readFileSync(await (await download).path(), 'utf8'));
            assert.ok(saved.filter((/** @type {any} */ entry) => entry.kind === 'event').length >= events);
            await shot(visitor, 'inspector');
            await page.getByRole('tab', { name: 'Wire' }).click();
            await page.locator('.list-row', { hasText: 'HTTP 200' }).waitFor();
            await ask(visitor, ['docs'], 'Once more');
            await page.locator('.list-row', { hasText: /^.*data: \{.*"type":"done"/ }).waitFor();
            await page.reload(); // it is in the address
            await page.locator('.list-row', { hasText: ':threadcast' }).waitFor();
            await page.getByRole('button', { name: 'Clear' }).click();
            await page.getByRole('button', { name: 'Close the inspector' }).click();
            await page.locator('#inspector').waitFor({ state: 'hidden' });
        }));

    it('the inspector keeps 100,000 entries and draws what is in sight', () =>
        visit(async ({ page }) => {
            const seen = await page.evaluate(async () => {
                const [{ Trace }, { VirtualList }, { drawEntry }] = await Promise.all(
                    ['./trace.js', './virtual-list.js', './inspector-rows.js'].map((place) => import(place)));
                const trace = new Trace();
                const how = { replayed: false, duplicate: false, lost: 0 };
                for (let n = 1; n <= 105_000; n++) trace.event({ type: 'token', id: `1-${n}`, ts: Date.now(), content: 'x' }, how);
                const list = new VirtualList({ label: 'all', draw: drawEntry, keyOf: (/** @type {any} */ entry) => `e${entry.serial}` });
                list.element.style.height = '400px';
                document.body.append(list.element);
                const frame = () => new Promise(requestAnimationFrame);
                list.set(trace.entries);
                await frame();
                await frame();
                const last = list.element.querySelector('.list-row:last-child')?.textContent;
                const tops = [];
                for (const top of [0, 1_000_000, 2_000_000]) {
                    list.element.scrollTop = top;
                    await frame();
                    await frame();
                    const first = Math.min(...[...list.element.querySelectorAll('.list-row')].map((row) => Number(row.getAttribute('aria-posinset'))));
                    tops.push(Math.abs(first - top / 26) < 10);
                }
                return { kept: trace.entries.length, dropped: trace.dropped, rows: list.element.querySelectorAll('.list-row').length, last, tops };
            });
            assert.deepEqual([seen.kept + seen.dropped, seen.kept <= 100_000, seen.rows < 60], [105_000, true, true]);
            assert.match(String(seen.last), /#1\d{5}/);
            assert.deepEqual(seen.tops, [true, true, true]);
        }));

    it('a session that ends is renewed, and nobody sees it', () =>
        visit(async (visitor) => {
            const { page } = visitor;
            const SECONDS = 10;
            const token = stack.token({ sub: 'guest:renewed', seconds: SECONDS });
            const status = await page.evaluate(async (bearer) => (await fetch('v1/session', {
                method: 'POST', body: '{}', headers: { Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/json' },
            })).status, token);
            assert.equal(status, 200);
            const over = Date.now() + SECONDS * 1000;
            const extended = page.waitForResponse((answer) => answer.url().endsWith('/v1/session/extend') && answer.ok());
            await ask(visitor, ['slow'], 'Before and after'); // writes for longer than the token lives
            await extended;
            await until(() => Date.now() > over + 500, { what: 'the first session is over' });
            await visitor.page.getByRole('button', { name: 'Stop the answer' }).click();
            await settled(visitor, 1);
            const { lost, duplicated, reconnects } = await visitor.counts();
            assert.deepEqual([lost, duplicated, reconnects], [0, 0, 0]);
            assert.deepEqual(await shownBy(visitor), await recorded(visitor.threadId));
        }));

    it('says so when the connection is away, and when it is back', () =>
        visit(async (visitor) => {
            const { page } = visitor;
            visitor.cuts = true;
            await ask(visitor, ['docs'], 'Hello');
            await settled(visitor, 1);
            await page.context().setOffline(true);
            await page.evaluate(() => dispatchEvent(new Event('offline')));
            await page.getByRole('status').getByText('There is no network.').waitFor();
            await shot(visitor, 'offline');
            await page.getByRole('button', { name: 'Try now' }).click(); // and there is still none
            await page.context().setOffline(false);
            await visitor.link('live');
            await page.locator('.link-banner-panel').waitFor({ state: 'hidden' });
            assert.equal((await visitor.counts()).lost, 0);
            visitor.complaints = visitor.complaints.filter((text) => !/ERR_INTERNET_DISCONNECTED/.test(text));
        }));

    for (const [name, options] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
        it(`has no violations that axe-core finds, ${name}`, () =>
            visit(async (visitor) => {
                const { page } = visitor;
                // both colours where everything is to be seen, one where that adds nothing
                const once = { dark: name === 'phone' };
                if (name === 'desktop') await assertAccessible(page, once);
                await ask(visitor, ['docs'], 'Show me everything');
                await settled(visitor, 1);
                await ask(visitor, ['writer', 'poet'], 'And two of them');
                await settled(visitor, 3);
                await page.locator('.steps:not([hidden]) summary').first().click();
                await assertAccessible(page, name === 'phone' ? once : {});
                await shot(visitor, name);
                await page.getByRole('button', { name: 'Inspector' }).click();
                await page.locator('.list-row').last().click();
                await assertAccessible(page, name === 'phone' ? once : {});
                await page.getByRole('button', { name: 'Close the inspector' }).click();
                assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth && innerWidth <= screen.width), 'it fits');
                if (name === 'phone') await page.getByRole('button', { name: 'Conversations' }).click();
                else await page.getByRole('button', { name: 'Keyboard shortcuts' }).click();
                await assertAccessible(page, once);
            }, options));
    }

    it('copies code and answers; a conversation is deleted after a second word', () =>
        visit(async (visitor) => {
            const { page } = visitor;
            await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
            await ask(visitor, ['docs'], 'Something to copy');
            await settled(visitor, 1);
            await page.getByRole('button', { name: 'Copy the code' }).click();
            await page.getByText('Copied').waitFor();
            assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'connect("t1");');
            await page.locator('#prompt').blur();
            await page.keyboard.press('c');
            await until(async () => (await page.evaluate(() => navigator.clipboard.readText())) === SAMPLE);
            const id = visitor.threadId;
            await page.getByRole('button', { name: 'Delete Something to copy' }).click();
            await page.getByRole('button', { name: 'Really delete Something to copy' }).click();
            await page.getByRole('heading', { name: 'Watch an answer arrive' }).waitFor();
            assert.equal(await page.locator('#threads li').count(), 0);
            assert.deepEqual(await stack.pg.query('select 1 from threads where id = $1', [id]), []);
        }));
});
