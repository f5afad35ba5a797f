// A short run of random faults in every test run, on daemons with sanitizers; the long ones
// are ./scripts/soak's. THREADCAST_SEEDS=3,4 shows seeds again, THREADCAST_FULL=1 runs more.

import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import { Proxy, until } from '../e2e/harness.mjs';
import { chaos, summary } from './chaos.mjs';
import { LANES, planned, planText } from './chaos-plan.mjs';
import { FAULTS } from './faults.mjs';

const FULL = Boolean(process.env.THREADCAST_FULL);
const SEEDS = (process.env.THREADCAST_SEEDS ?? (FULL ? '1,2,3,4,5' : '1')).split(',').map(Number);

test('a seed plans its faults, another seed plans others', () => {
    assert.deepEqual(planText(7, 400, FAULTS), planText(7, 400, FAULTS));
    const [seven, eight] = [7, 8].map((seed) => Array.from({ length: 200 }, (_, i) => planned(seed, 0, i, FAULTS).fault.name));
    const equal = seven.filter((name, i) => name === eight[i]).length;
    assert.ok(equal < 30, `${equal} of 200 faults are the same with another seed`);
    const other = Array.from({ length: 200 }, (_, i) => planned(7, 1, i, FAULTS).fault.name);
    assert.notDeepEqual(seven, other, 'the lanes differ');
    const kinds = new Set([...seven, ...other]);
    assert.ok(kinds.size >= FAULTS.length - 2, `400 faults are of ${kinds.size} kinds, there are ${FAULTS.length}`);
});

test('a throttled wire passes no more than its share', async (t) => {
    const bytes = 20_000, perTick = 1000, tickMs = 20;
    const server = net.createServer((socket) => socket.write(Buffer.alloc(bytes))).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await new Promise((resolve) => server.once('listening', resolve));
    const proxy = await Proxy.start({ port: /** @type {net.AddressInfo} */ (server.address()).port });
    t.after(() => proxy.stop());
    proxy.dribble(perTick, tickMs);
    const began = performance.now();
    let got = 0;
    const socket = net.connect(proxy.port, '127.0.0.1').on('data', (data) => (got += data.length));
    t.after(() => socket.destroy());
    await until(() => got === bytes, { what: () => `${bytes} bytes arrive, not ${got}` });
    const ms = performance.now() - began, least = (bytes / perTick - 2) * tickMs;
    t.diagnostic(`${bytes} bytes in ${ms.toFixed(0)} ms`);
    assert.ok(ms >= least, `${bytes} bytes took ${ms} ms, and should have taken ${least}`);
});

for (const seed of SEEDS) {
    test(`faults at random, seed ${seed}`, { timeout: 600_000 }, async (t) => {
        const result = await chaos({ seed, faults: FULL ? 120 : 25, readers: FULL ? 400 : 100, threads: FULL ? 40 : 10 });
        for (const line of summary(result).split('\n')) t.diagnostic(line);
        assert.equal(result.wrong.length, 0, `${result.example}\n${result.logs}`);
        assert.deepEqual(result.growth.filter((line) => line.startsWith('LEAK')), []);
        assert.ok(result.told > result.prompts, 'every run was seen by several readers');
        for (let lane = 0; lane < LANES; lane++) {
            const happened = result.history.filter((one) => one.lane === lane).map(({ name, raw }) => ({ name, raw }));
            const plan = happened.map(({ raw }, index) => {
                const { fault, draw } = planned(seed, lane, index, FAULTS);
                return { name: fault.name, raw: raw.map(() => draw()) };
            });
            assert.deepEqual(happened, plan, 'what happened is what the seed had planned');
        }
    });
}
