// Chromium, and somebody in front of a page in it: what a page says in its console, throws or
// pops up is a complaint, and there must be none at the end.

import assert from 'node:assert/strict';
import { after } from 'node:test';
import { chromium } from 'playwright-core';
import { PATIENCE_MS } from './until.mjs';

/** what a browser itself says in the console about a connection that was cut on purpose */
const CUT = /ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_|ERR_EMPTY_RESPONSE|ERR_NETWORK_CHANGED|ERR_INTERNET_DISCONNECTED/;

/** One for the file; closed when it ends. @returns {Promise<import('playwright-core').Browser>} */
export async function startBrowser() {
    const browser = await chromium.launch({
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking',
               '--disable-component-update', '--no-first-run', '--no-proxy-server'],
    });
    after(() => browser.close());
    return browser;
}

export class Visit {
    /** @type {string[]} */
    complaints = [];
    /** connections are going to be cut: the browser may say so */
    cuts = false;

    /** @param {import('playwright-core').Page} page */
    constructor(page) {
        this.page = page;
        page.setDefaultTimeout(PATIENCE_MS);
        page.on('pageerror', (error) => this.complaints.push(`exception: ${error.message}`));
        page.on('console', (message) => {
            if (!['error', 'warning'].includes(message.type())) return;
            if (this.cuts && CUT.test(message.text())) return;
            this.complaints.push(`${message.type()}: ${message.text()} ${message.location().url}`);
        });
        page.on('dialog', (dialog) => {
            this.complaints.push(`dialog: ${dialog.message()}`);
            dialog.dismiss();
        });
    }

    /**
     * @param {import('playwright-core').Browser} browser
     * @param {string} url
     * @param {import('playwright-core').BrowserContextOptions} [options]
     */
    static async begin(browser, url, options = { viewport: { width: 900, height: 700 } }) {
        const visit = new Visit(await (await browser.newContext(options)).newPage());
        await visit.page.goto(url);
        return visit;
    }

    async end() {
        await this.page.context().close();
        assert.deepEqual(this.complaints, []);
    }

    /**
     * @param {import('playwright-core').Browser} browser
     * @param {string} url
     * @param {(visit: Visit) => Promise<void>} body
     * @param {import('playwright-core').BrowserContextOptions} [options]
     */
    static async during(browser, url, body, options) {
        const visit = await Visit.begin(browser, url, options);
        try {
            await body(visit);
        } catch (error) {
            const shown = await visit.page.evaluate('document.body?.innerText').catch(String);
            console.error([...visit.complaints, `the page shows: ${shown}`].join('\n'));
            await visit.page.context().close();
            throw error;
        }
        await visit.end();
    }
}
