// Somebody in front of the page, in Chromium: what they do, what they see, and that the browser
// has nothing to complain about.

import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import { PATIENCE_MS, until } from './until.mjs';

export const DESKTOP = { viewport: { width: 1280, height: 800 } };
export const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
/** what a browser itself says in the console about a connection that was cut on purpose */
export const CUT = /ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_|ERR_EMPTY_RESPONSE|ERR_NETWORK_CHANGED/;


export const launchBrowser = () => chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--disable-background-networking',
        '--disable-component-update',
        '--no-first-run',
        '--no-proxy-server',
    ],
});

/** Somebody in front of the page: a browser profile of their own. */
export class Visitor {
    /** @type {string[]} errors in the console, exceptions, dialogs: there must be none */
    complaints = [];
    /** connections are going to be cut: the browser may say so */
    cuts = false;

    /** @param {import('playwright-core').Page} page @param {import('../harness.mjs').Stack} stack */
    constructor(page, stack) {
        this.page = page;
        this.stack = stack;
        page.setDefaultTimeout(PATIENCE_MS);
        page.on('pageerror', (error) => this.complaints.push(`exception: ${error.message}`));
        page.on('console', (message) => {
            if (!['error', 'warning'].includes(message.type())) return;
            if (this.cuts && CUT.test(message.text())) return;
            this.complaints.push(`${message.type()}: ${message.text()}`);
        });
        page.on('dialog', (dialog) => {
            this.complaints.push(`dialog: ${dialog.message()}`);
            dialog.dismiss();
        });
    }

    /**
     * @param {import('playwright-core').Browser} browser
     * @param {import('../harness.mjs').Stack} stack
     * @param {import('playwright-core').BrowserContextOptions} [options]
     * @param {string} [address] another way to the bridge
     */
    static async come(browser, stack, options = DESKTOP, address = stack.url('/')) {
        const context = await browser.newContext(options);
        const visitor = new Visitor(await context.newPage(), stack);
        await visitor.page.goto(address);
        return visitor;
    }

    async leave() {
        await this.page.context().close();
        assert.deepEqual(this.complaints, []);
    }

    /** Sends a prompt and waits until its answer has a place. @param {string} text */
    async ask(text) {
        const answers = this.view().locator('.from-assistant');
        const before = await answers.count();
        await this.page.getByLabel('Your prompt').fill(text);
        await this.page.keyboard.press('Enter');
        await until(async () => (await answers.count()) > before, { what: 'the prompt was taken' });
    }

    get threadId() {
        return this.page.url().split('#/t/')[1]?.split('?')[0];
    }

    /** A panel: 0 the first, 1 the second view. */
    view(index = 0) {
        return this.page.locator('.thread').nth(index);
    }

    /** The text, as it was written, that the page shows as its last answer. */
    async shown(index = 0) {
        return (await this.texts('.from-assistant', index)).at(-1) ?? '';
    }

    /** The same of all messages like that. @param {string} which */
    async texts(which, index = 0) {
        return this.view(index)
            .locator(which)
            .evaluateAll(async (nodes) => {
                const place = './message-view.js';
                const { textOf } = await import(place);
                return nodes.map((node) => String(textOf(node)));
            });
    }

    /** Waits until that many answers have a place; before, the last one is still an older one. */
    async answers(count, index = 0) {
        await until(async () => (await this.view(index).locator('.from-assistant').count()) === count, {
            what: `${count} answers are there`,
        });
    }

    /** Waits until the last answer is longer than that, while it is still being written. */
    async reads(length, index = 0) {
        await until(async () => (await this.shown(index)).length > length, {
            what: `${length} characters are shown`,
        });
        return this.view(index).locator('.is-live').count();
    }

    /** Waits for the end of the last answer and for its comparison with the record. */
    async finished(index = 0) {
        const facts = this.view(index).locator('.from-assistant .message-facts').last();
        await until(async () => /the record/.test((await facts.textContent()) ?? ''), {
            what: () => 'the answer has ended and was compared',
        });
        assert.match((await facts.textContent()) ?? '', /✓ equals the record/);
        return this.shown(index);
    }

    /** The line at the bottom, as numbers. */
    async counts(index = 0) {
        const line = (await this.view(index).locator('.counts').textContent()) ?? '';
        const match = /^(\d+) events · lost (\d+) · duplicated (\d+) · reconnects (\d+)/.exec(line);
        assert.ok(match, `the line reads: ${line}`);
        const [events, lost, duplicated, reconnects] = match.slice(1).map(Number);
        return { events, lost, duplicated, reconnects };
    }

    /** @param {'live' | 'reconnecting' | 'offline' | 'refused'} state */
    async link(state, index = 0) {
        await this.view(index).locator(`.link[data-state="${state}"]`).waitFor();
    }
}
