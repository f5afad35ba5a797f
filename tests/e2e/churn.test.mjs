// Everything at once against several loops: streams that come and go, numbers asked for,
// owners that change, rows that go, cuts, and in the middle of it SIGTERM. What was lent is
// given back and the process ends well. Most of what it can find, a sanitizer says.

import assert from 'node:assert/strict';
import net from 'node:net';
import { before, test } from 'node:test';
import { Stack, until } from './harness.mjs';
import { ScriptRun } from './lib/publisher.mjs';

const VISITORS = 25;

/** @type {Stack} */
let stack;
before(async () => {
    stack = await Stack.start({ demo: true, bridges: 0, workers: 0 });
});

/** One visit of a stream: left, half closed or reset at some moment. @param {number} port @param {string} thread */
function visit(port, thread) {
    const mood = Math.random();
    return new Promise((resolve) => {
        const socket = net.connect(port, '127.0.0.1');
        let bytes = 0;
        socket.on('error', () => {});
        socket.on('close', () => resolve(bytes));
        socket.on('connect', () => {
            const { Authorization } = /** @type {Record<string, string>} */ (stack.authorization());
            socket.write(`GET /v1/threads/${thread}/events?since=${mood < 0.5 ? 0 : 'run'} HTTP/1.1\r\n`
                         + `Host: localhost\r\nAuthorization: ${Authorization}\r\n\r\n`);
            if (mood < 0.1) socket.resetAndDestroy();
            else if (mood < 0.2) socket.end();
        });
        socket.on('data', (data) => {
            bytes += data.length;
            if (mood < 0.7) socket.destroy();
        });
        socket.setTimeout(200, () => socket.destroy());
    });
}

class Churn {
    over = false;
    visits = 0;
    cuts = 0;
    deleted = 0;

    /** @param {import('./harness.mjs').Bridge} bridge @param {string[]} threads */
    constructor(bridge, threads) {
        this.bridge = bridge;
        this.threads = threads;
    }

    /** Does it again and again; what goes wrong after the end is the end's. @param {() => Promise<unknown>} fn */
    async again(fn) {
        while (!this.over) {
            await fn().catch((error) => {
                if (!this.over) throw error;
            });
        }
    }

    /** @param {string} to */
    ask(to, method = 'GET') {
        return this.again(async () => {
            const answer = await this.bridge.fetch(to, { method, headers: { Connection: 'close' },
                                                         signal: AbortSignal.timeout(10_000) });
            await answer.text();
        });
    }

    async leaveAndStay() {
        const thread = this.threads[Math.floor(Math.random() * this.threads.length)];
        if (await visit(this.bridge.port, thread)) this.visits++;
    }

    async cut() {
        await stack.request('POST', '/v1/demo/cut', { bridge: this.bridge, json: { threadId: this.threads[1] } });
        this.cuts++;
    }

    async change() {
        const [owner] = await stack.pg.query('select owner from threads where id = $1', [this.threads[2]]);
        await stack.pg.query('update threads set owner = $2 where id = $1',
                             [this.threads[2], owner.owner === 'ann' ? 'bob' : 'ann']);
    }

    async remove() {
        const thread = await stack.thread();
        const stream = stack.threadEvents(thread, '', { bridge: this.bridge });
        await until(() => stream.events.length > 0 || stream.ending || this.over, { what: 'anything' });
        await stack.pg.query('delete from threads where id = $1', [thread]);
        if (!this.over && stream.events[0]?.event === 'ready') await stream.end(5000);
        this.deleted++;
    }

    /** @param {ScriptRun} run */
    begin(run) {
        return Promise.all([
            ...Array.from({ length: VISITORS }, () => this.again(() => this.leaveAndStay())),
            ...['/metrics', '/metrics', '/readyz', '/healthz'].map((to) => this.ask(to)),
            this.ask('/v1/demo/session', 'POST'),
            this.again(() => run.tokens('x ')),
            this.again(() => this.cut()),
            this.again(() => this.change()),
            this.again(() => this.remove()),
        ]);
    }
}

for (const quietFirst of [true, false]) {
    test(`everything at once, then SIGTERM${quietFirst ? '' : ' in the middle of it'}`, async () => {
        const bridge = await stack.startBridge({ reactors: 3, 'drain-ms': 300, 'shutdown-delay-ms': 200,
                                                 'max-clients': 14, 'max-streams-per-user': 12 });
        const threads = await Promise.all([0, 1, 2, 3].map(() => stack.thread()));
        const run = new ScriptRun(stack.redis.client, threads[0]);
        await run.begin();
        const churn = new Churn(bridge, threads);
        const all = churn.begin(run);
        await until(() => churn.visits > 300 && churn.cuts > 20 && churn.deleted > 5, { what: 'a while' });
        if (quietFirst) {
            churn.over = true;
            await all;
            await until(async () => (await bridge.metrics()).threadcast_bridge_clients === 0, { what: 'all have left' });
        }
        bridge.child.kill('SIGTERM');
        await bridge.child.line(/ info draining/);
        churn.over = true;
        await bridge.child.exit;
        await all;
        assert.equal(bridge.child.code, 0);
        assert.match(bridge.output, / info stopped streams=0/);
    });
}
