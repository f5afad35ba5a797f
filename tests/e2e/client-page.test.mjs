// sdk/js in a real browser, imported from the bridge's /client.js, on the real stack: what it
// tells is compared with Redis and Postgres.

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { PATIENCE_MS, Proxy, Stack, until, withLogs } from './harness.mjs';
import { setLifecycle } from './lib/lifecycle.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const CUTS = process.env.THREADCAST_FULL ? 100 : 20;
const bridge = { 'retry-ms': 50, 'keepalive-ms': 1000, reactors: 1 };
const stack = await Stack.start({ bridge, worker: { 'demo-rate': 2000 } });
await stack.redis.client.set('threadcast:worker:e2e', '1'); // that of a ScriptRun is well
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
        options.getToken = typeof options.tokens === 'string' ? here[options.tokens]
            : async () => (left.length > 1 ? left.shift() : left[0]);
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
const session = (read = ['*']) => ({ token: stack.token({ sub: 'ann', read }) });

/** Does it hold the lock of those who lead? @param {Tab} tab */
const leads = (tab) => tab.page.evaluate(async () => {
    const here = /** @type {any} */ (globalThis);
    const held = async () => (await navigator.locks.query()).held ?? [];
    here.clientId = await navigator.locks.request('who am I', async () => (await held()).find(({ name }) => name === 'who am I')?.clientId);
    return (await held()).some(({ name, clientId }) => clientId === here.clientId && /^threadcast \S+ (true|group)$/.test(String(name)));
});

// not all at once: two cores have to be enough
describe('in Chromium', { concurrency: 3 }, () => {
    test('a token that ends, by ticket from another origin: lengthened, and nobody notices', () => logged(async () => {
        const other = await stack.startBridge({ 'allowed-origins': stack.url('').replace(/\/$/, ''), 'retry-ms': 50, 'ticket-max-s': 4, reactors: 1 });
        const visitor = await Profile.come();
        const lives = [8, 3600], asked = [];
        await visitor.context.exposeFunction('newToken', () => {
            asked.push(Date.now());
            return stack.token({ sub: 'ann', read: ['*'], seconds: lives.length > 1 ? lives.shift() : lives[0] });
        });
        const run = new ScriptRun(stack.redis.client, 'renewed');
        await run.begin();
        const tab = await visitor.tab('renewed', { merge: false, url: other.url(''), from: other.url('/client.js'), tokens: 'newToken' });
        await tab.is('live');
        await until(() => Date.now() > asked[0] + 9000, { what: 'the first one has ended' });
        const [, , end] = await run.done();
        assert.deepEqual(await tab.sees(end), ids(end));
        const { states, transport, reconnects, notices } = await tab.told();
        assert.deepEqual([transport, reconnects, states.length], ['eventsource', 0, 1], JSON.stringify({ states, notices }));
        assert.ok(notices.some(([name, { connection }]) => name === 'auth' && connection), JSON.stringify(notices));
        assert.ok(asked.length >= 2);
        await visitor.leave();
        await other.stop();
    }));

    test('a page: EventSource with the cookie, every event once, whatever is cut', () => logged(async () => {
        const proxy = await Proxy.start({ port: stack.bridge.port });
        const visitor = await Profile.come({ ...session(), base: `http://127.0.0.1:${proxy.port}` });
        const run = new ScriptRun(stack.redis.client, 'cut');
        await run.begin();
        const tab = await visitor.tab('cut', { merge: false });
        await tab.is('live');
        for (let cut = 0; cut < CUTS; cut++) {
            await run.tokens(`${cut} `, 'ä ', '🇦🇹 ');
            proxy.resetAll();
            const before = cut;
            await until(async () => (await tab.told()).reconnects > before, { every: 20, what: async () => JSON.stringify((await tab.told()).states.at(-1)) });
        }
        await visitor.context.setOffline(true);
        await until(async () => (await tab.told()).states.at(-1)[1].reason === 'offline', { every: 20, what: 'it has noticed' });
        const [, , end] = await run.done();
        await visitor.context.setOffline(false);
        assert.deepEqual(await tab.sees(end), ids(end));
        const { transport, states } = await tab.told();
        assert.equal(transport, 'eventsource');
        assert.ok(states.every(([state]) => ['live', 'reconnecting'].includes(state)));
        await visitor.leave();
        await proxy.stop();
    }));

    test('seven tabs, one connection; it moves when its tab closes in mid-answer', () => logged(async () => {
        const own = await stack.startBridge(bridge);
        const clients = async () => (await own.metrics()).threadcast_bridge_clients;
        const visitor = await Profile.come({ ...session(), base: own.url('') });
        const run = new ScriptRun(stack.redis.client, 'tabs');
        await run.begin();
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
                for (const tab of tabs) if (await leads(tab)) return tab;
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

    test('the tab that leads: frozen, crashed; the others go on, and it comes back', () => logged(async () => {
        const visitor = await Profile.come(session());
        const run = new ScriptRun(stack.redis.client, 'lead');
        await run.begin();
        /** @type {Tab[]} */
        const tabs = [];
        for (let i = 0; i < 3; i++) {
            // one that follows another thread, too: the connection is made anew for it, and nobody loses anything
            tabs.push(await visitor.tab(i ? 'lead' : ['lead', 'aside'], { shared: 'group', merge: false }));
            await tabs[i].is('live');
        }
        await setLifecycle(tabs[0].page, 'frozen');
        await until(async () => await leads(tabs[1]) || await leads(tabs[2]), { what: 'somebody else leads' });
        await run.tokens('a ', 'b ');
        let [epoch, n] = (await run.tokens('c '))[2].split('-');
        for (const tab of tabs.slice(1)) await tab.sees(`${epoch}-${n}`);
        await setLifecycle(tabs[0].page, 'active');
        assert.deepEqual(await tabs[0].sees(`${epoch}-${n}`), ids(`${epoch}-${n}`));
        const [crashing] = tabs.splice(await leads(tabs[1]) ? 1 : 2, 1);
        const gone = new Promise((resolve) => crashing.page.on('crash', resolve));
        crashing.page.goto('chrome://crash').catch(() => {});
        await gone;
        [epoch, n] = (await run.tokens('d ', 'e '))[2].split('-');
        for (const tab of tabs) await tab.sees(`${epoch}-${n}`);
        const [, , end] = await run.done();
        for (const tab of tabs) assert.deepEqual(await tab.sees(end), ids(end));
        await visitor.leave();
    }));

    test('a tab that was hidden and frozen, or in the back/forward cache, goes on where it was', () => logged(async () => {
        const visitor = await Profile.come(session());
        const run = new ScriptRun(stack.redis.client, 'frozen');
        await run.begin();
        const tab = await visitor.tab('frozen', { merge: false });
        await tab.is('live');
        await setLifecycle(tab.page, 'frozen');
        await run.tokens('a ', 'b ');
        await setLifecycle(tab.page, 'active');
        const [epoch, n] = (await run.tokens('c '))[2].split('-');
        assert.deepEqual(await tab.sees(`${epoch}-${n}`), ids(`${epoch}-${n}`));
        // Playwright turns the cache off: this is what a page hears of it
        const hears = (/** @type {string} */ name) => tab.page.evaluate((type) => {
            dispatchEvent(new PageTransitionEvent(type, { persisted: true }));
        }, name);
        await hears('pagehide');
        await tab.is('reconnecting');
        const [, , end] = await run.done();
        await hears('pageshow');
        assert.deepEqual(await tab.sees(end), ids(end));
        assert.ok((await tab.told()).states.some(([, { reason }]) => reason === 'paused'));
        assert.equal(await tab.page.evaluate(() => document.visibilityState), 'hidden');
        await visitor.leave();
    }));

    test('what EventSource does not tell: a refusal, a run that has ended, a token that is refused once', () => logged(async () => {
        const visitor = await Profile.come(session(['mine']));
        const denied = await visitor.tab('theirs');
        await denied.is('failed');
        const [, detail] = (await denied.told()).states.at(-1);
        assert.deepEqual([detail.reason, detail.status], ['forbidden', 403]);
        assert.match(detail.message, /not yours/);
        const thread = await stack.thread();
        const { runId } = await stack.post(thread, 'hello');
        const whole = await visitor.tab({ run: runId });
        await whole.is('ended');
        const { id, type } = (await whole.told()).events.at(-1);
        assert.equal(type, 'done');
        const nothing = await visitor.tab({ run: runId }, { since: id });
        await nothing.is('ended');
        const { states, events } = await nothing.told();
        assert.deepEqual([states.at(-1)[1].reason, events], ['run', []]);
        const run = new ScriptRun(stack.redis.client, 'mine');
        await run.begin();
        const [, , end] = await run.done();
        const expired = stack.token({ sub: 'ann', read: ['mine'], seconds: -100 });
        const good = stack.token({ sub: 'ann', read: ['mine'] });
        const twice = await visitor.tab('mine', { tokens: [expired, good], since: '0' });
        await twice.sees(end);
        const never = await visitor.tab('mine', { tokens: [expired] });
        await never.is('failed');
        assert.equal((await never.told()).states.at(-1)[1].reason, 'token_expired');
        await visitor.leave();
    }));

    test('one who may not read a thread does not take the others\' connection away', () => logged(async () => {
        const visitor = await Profile.come(session(['ours', 'also']));
        const run = new ScriptRun(stack.redis.client, 'ours');
        await run.begin();
        const first = await visitor.tab('ours', { shared: true, merge: false });
        await first.is('live');
        const denied = await visitor.tab('theirs', { shared: true });
        await denied.is('failed');
        assert.equal((await denied.told()).states.at(-1)[1].reason, 'forbidden');
        const second = await visitor.tab(['also', 'ours'], { shared: true, merge: false });
        await second.is('live');
        const [, , end] = await run.done();
        for (const tab of [first, second]) assert.deepEqual(await tab.sees(end), ids(end));
        await visitor.leave();
    }));

    test('a worker: fetch, with the cookie', () => logged(async () => {
        const visitor = await Profile.come(session());
        const run = new ScriptRun(stack.redis.client, 'worker');
        await run.begin();
        const [, , end] = await run.done();
        const page = await visitor.context.newPage();
        await page.goto(`${visitor.base}/readyz`);
        const told = await page.evaluate((base) => new Promise((resolve) => {
            const code = `import { connect } from '${base}/client.js';
                const stream = connect('worker', { url: '${base}', since: '0', merge: false }), ids = [];
                for await (const event of stream) if (ids.push(event.id) && event.type === 'done') break;
                postMessage({ ids, transport: stream.transport, state: stream.state });`;
            const worker = new Worker(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })), { type: 'module' });
            worker.onmessage = ({ data }) => resolve(data);
            worker.onerror = ({ message }) => resolve(message);
        }), visitor.base);
        assert.deepEqual(told, { ids: ids(end), transport: 'fetch', state: 'ended' });
        await visitor.leave();
    }));

    const full = process.env.THREADCAST_FULL ? false : 'takes 20 s: THREADCAST_FULL=1';
    test('the tab that leads hangs: its lock is taken away', { skip: full }, () => logged(async () => {
        const visitor = await Profile.come(session());
        const run = new ScriptRun(stack.redis.client, 'hangs');
        await run.begin();
        const [hanging, other] = [await visitor.tab('hangs', { shared: true, merge: false }), await visitor.tab('hangs', { shared: true, merge: false })];
        for (const tab of [hanging, other]) await tab.is('live');
        assert.ok(await leads(hanging));
        await hanging.page.evaluate(() => { setTimeout(() => { for (const end = Date.now() + 25_000; Date.now() < end;); }); });
        await until(() => leads(other), { timeout: 40_000, what: 'the other one leads' });
        const [, , end] = await run.done();
        assert.deepEqual(await other.sees(end), ids(end));
        await until(async () => (await hanging.told()).events.length > 1, { timeout: 40_000, what: 'it is back' });
        assert.deepEqual(await hanging.sees(end), ids(end));
        assert.ok(!await leads(hanging));
        await visitor.leave();
    }));
});
