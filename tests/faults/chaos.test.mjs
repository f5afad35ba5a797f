// A short run of random faults in every test run, on daemons with sanitizers; the long ones
// are ./scripts/soak's. THREADCAST_SEEDS=3,4 shows seeds again, THREADCAST_FULL=1 runs more.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chaos, summary } from './chaos.mjs';

const FULL = Boolean(process.env.THREADCAST_FULL);
const SEEDS = (process.env.THREADCAST_SEEDS ?? (FULL ? '1,2,3,4,5' : '1')).split(',').map(Number);

for (const seed of SEEDS) {
    test(`faults at random, seed ${seed}`, { timeout: 600_000 }, async (t) => {
        const result = await chaos({ seed, faults: FULL ? 120 : 25, readers: FULL ? 400 : 100, threads: FULL ? 40 : 10 });
        for (const line of summary(result).split('\n')) t.diagnostic(line);
        assert.equal(result.wrong.length, 0, `${result.example}\n${result.logs}`);
        assert.ok(result.told > result.prompts, 'every run was seen by several readers');
    });
}
