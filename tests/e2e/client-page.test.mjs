// sdk/js in a real browser, imported from the bridge's /client.js, on the real stack: what it
// tells is compared with Redis and Postgres.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';
import { PATIENCE_MS, Proxy, Stack, until, withLogs } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const FULL = process.env.THREADCAST_FULL;
const stack = await Stack.start({ demo: true, bridge: { 'retry-ms': 50, 'keepalive-ms': 1000, reactors: 1 } });
const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update',
           '--no-first-run', '--no-proxy-server'],
});
after(() => browser.close());

/** One browser profile: tabs that share cookies, sockets and locks. */
class Profile {
    /** @type {string[]} exceptions: there must be none */
    complaints = [];

    /** @param {import('playwright-core').BrowserContext} context @param {string} base */
    constructor(context, base) {
        this.context = context;
        this.base = base;
    }

    /** @param {{ token?: string, base?: string }} [options] who it is, by the session's cookie */
    static async come({ token, base = stack.url('') } = {}) {
        const profile = new Profile(await browser.newContext(), base);
        if (token) {
            const answer = await profile.context.request.post(`${base}/v1/session`, {
                headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }, data: {} });
            assert.equal(answer.status(), 200);
        }
        return profile;
    }

    /** A tab with `window.stream` of these threads, and all that it told. @param {any} what @param {object} [options] */
    async tab(what, options = {}) {
        const page = await this.context.newPage();
        page.setDefaultTimeout(PATIENCE_MS);
        page.on('pageerror', (error) => this.complaints.push(error.message));
        await page.goto(`${this.base}/readyz`);
        await page.evaluate(OPEN, { what, options });
        return new Tab(page);
    }

    async leave() {
        await this.context.close();
        assert.deepEqual(this.complaints, []);
    }
}

/** In the page. @param {{ what: any, options: any }} given */
async function OPEN({ what, options }) {
    const here = /** @type {any} */ (globalThis);
    const { connect } = await import(/** @type {any} */ (options.from ?? '/client.js'));
    if (options.tokens) {
        const left = [...options.tokens];
        options.getToken = async () => (left.length > 1 ? left.shift() : left[0]);
    }
    const stream = here.stream = connect(what, { firstByteMs: 5000, ...options });
    here.told = { events: [], states: [], notices: [] };
    stream.on('event', (event, { id, thread }) => here.told.events.push({ ...event, id, thread }));
    stream.on('state', (state, detail) => here.told.states.push([state, detail]));
    stream.on('notice', (name, data) => here.told.notices.push([name, data]));
}

class Tab {
    /** @param {import('playwright-core').Page} page */
    constructor(page) {
        this.page = page;
    }

    /** @returns {Promise<{ state: string, transport: string, events: any[], states: any[], notices: any[], reconnects: number, duplicates: number }>} */
    told() {
        return this.page.evaluate(() => {
            const { stream, told } = /** @type {any} */ (globalThis);
            return { state: stream.state, transport: stream.transport, reconnects: stream.reconnects, duplicates: stream.duplicates, ...told };
        });
    }

    /** @param {string} state */
    async is(state) {
        await until(async () => (await this.told()).state === state, {
            every: 50, what: async () => `${state}: ${JSON.stringify({ ...await this.told(), events: [] })}` });
    }

    /** Waits for that event, and answers all ids. @param {string} id */
    async sees(id) {
        const last = () => this.page.evaluate(() => /** @type {any} */ (globalThis).told.events.at(-1)?.id);
        await until(async () => await last() === id, {
            every: 50, what: async () => `${id}, but ${await last()}: ${JSON.stringify({ ...await this.told(), events: [] })}` });
        return (await this.told()).events.map((event) => event.id);
    }
}

/** All ids of a run that began an epoch. @param {string} end */
const ids = (end) => {
    const [epoch, n] = end.split('-');
    return Array.from({ length: Number(n) }, (_, i) => `${epoch}-${i + 1}`);
};

/** @param {() => Promise<void>} body */
const logged = (body) => withLogs(() => stack, body);
const clients = async () => (await stack.bridge.metrics()).threadcast_bridge_clients;
const session = (read = ['*']) => ({ token: stack.token({ sub: 'ann', read }) });

test('a page: EventSource with the cookie, every event once, whatever is cut', () => logged(async () => {
    const proxy = await Proxy.start({ port: stack.bridge.port });
    const visitor = await Profile.come({ ...session(), base: `http://127.0.0.1:${proxy.port}` });
    const run = new ScriptRun(stack.redis.client, 'cut');
    await run.begin();
    const tab = await visitor.tab('cut', { merge: false });
    await tab.is('live');
    for (let cut = 0; cut < 20; cut++) {
        await run.tokens(`${cut} `, 'ä ', '🇦🇹 ');
        proxy.resetAll();
        const before = cut;
        await until(async () => (await tab.told()).reconnects > before, { every: 20, what: async () => JSON.stringify((await tab.told()).states.at(-1)) });
    }
    const [, , end] = await run.done();
    assert.deepEqual(await tab.sees(end), ids(end));
    const { transport, states } = await tab.told();
    assert.equal(transport, 'eventsource');
    assert.ok(states.every(([state]) => ['live', 'reconnecting'].includes(state)));
    await visitor.leave();
    await proxy.stop();
}));

test('seven tabs, one connection; it moves when its tab closes in mid-answer', () => logged(async () => {
    const visitor = await Profile.come(session());
    const run = new ScriptRun(stack.redis.client, 'tabs');
    await run.begin();
    await until(async () => await clients() === 0, { what: 'nobody else is there' });
    /** @type {Tab[]} */
    const tabs = [];
    for (let i = 0; i < 7; i++) {
        tabs.push(await visitor.tab('tabs', { shared: true, since: '0', merge: false }));
        await tabs[i].is('live');
    }
    await run.tokens('a ', 'b ');
    await until(async () => await clients() === 1, { what: async () => `one connection, not ${await clients()}` });
    for (let round = 0; round < 4; round++) {
        const leader = await until(async () => {
            for (const tab of tabs) if ((await held(tab)).length) return tab;
        }, { what: 'somebody leads' });
        await Promise.all([leader.page.close({ runBeforeUnload: false }), run.tokens('c ', 'd ', 'e ')]);
        tabs.splice(tabs.indexOf(leader), 1);
        await run.tokens('f ');
    }
    const [, , end] = await run.done();
    for (const tab of tabs) assert.deepEqual(await tab.sees(end), ids(end));
    await until(async () => await clients() === 1, { what: async () => `one connection, not ${await clients()}` });
    await visitor.leave();
}));

/** The locks of leading that this tab holds. @param {Tab} tab */
const held = (tab) => tab.page.evaluate(async () => {
    const mine = /** @type {any} */ (globalThis);
    mine.client ??= (await navigator.locks.request('who am I', async () =>
        (await navigator.locks.query()).held?.find(({ name }) => name === 'who am I')))?.clientId;
    return ((await navigator.locks.query()).held ?? []).filter(
        ({ name, clientId }) => clientId === mine.client && /^threadcast \S+ true$/.test(String(name)));
});
