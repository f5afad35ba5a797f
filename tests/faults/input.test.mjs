// Bad input against the running daemons: every row of tests/input/*/cases.json gets the
// answer that stands beside it, and leaves nothing behind. After each area a good request
// works, and memory, descriptors and connections are as before (Steady); at the end of the
// file the harness looks for secrets and sanitizer reports in every log.
//
//   THREADCAST_SEED   the cuts of longer inputs; printed with the first test
//   THREADCAST_FULL=1 more cuts, a line of 1 GB, each bit of more signatures

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import path from 'node:path';
import fs from 'node:fs';
import { ROOT, Signer, Stack } from '../e2e/harness.mjs';
import { replayAgents } from '../input/agent.mjs';
import { ask } from '../input/ask.mjs';
import { bytesOf, casesOf, random } from '../input/cases.mjs';
import { replayBodies, replayEditedRows, replayEqualKeys, replayKept, replayNotifications } from '../input/body.mjs';
import { replayNames, replayPositions } from '../input/cursor.mjs';
import { replayAfterEnd, replayEvents, replayIds } from '../input/event.mjs';
import { replaySplit, replayWhole } from '../input/http.mjs';
import { Behind, replayCuts, replayReplies, replayWorker } from '../input/redis.mjs';
import { replayRoutes } from '../input/route.mjs';
import { QUARANTINE, Steady } from '../input/steady.mjs';
import { replayFlips, replayTokens } from '../input/token.mjs';

const PLAYER = path.join(ROOT, 'tests/input/play.py');
const FULL = Boolean(process.env.THREADCAST_FULL);
const SEED = Number(process.env.THREADCAST_SEED ?? Date.now() % 1_000_000);
const draw = random(SEED);

/** @type {Stack} */
let stack;
/** @type {Steady} */
let steady;
/** a bridge that checks RS256, an audience and an issuer, and the key's owner
 *  @type {{ bridge: import('../e2e/harness.mjs').Bridge, pem: Signer }} */
let other;

async function publicBridge() {
    const pem = new Signer('RS256');
    const file = path.join(stack.dir, 'rs256.pem');
    fs.writeFileSync(file, pem.publicPem);
    const bridge = await stack.startBridge({ 'jwt-audience': 'threadcast', 'jwt-issuer': 'https://id.example' },
                                           { JWT_SECRET: '', JWT_PUBLIC_KEY_FILE: file });
    return { bridge, pem };
}

before(async () => {
    stack = await Stack.start({ env: { ...QUARANTINE, LOG_LEVEL: 'debug' }, worker: {
        // late: what a notification says is not found without it
        'poll-ms': 20_000, 'lease-ms': 60_000,
        'demo-rate': 0, 'max-attempts': 1, 'metrics-listen': '127.0.0.1:0', agents: `play=exec:/usr/bin/python3 ${PLAYER},wait=exec:tail -f /dev/null` } });
    other = await publicBridge();
    await stack.thread('anns', 'ann');
    await stack.thread('bobs', 'bob');
    // once around, so that pools and caches are as they are in service
    const made = await ask(stack.bridge.port, 'POST', '/v1/threads/anns/messages', {
        token: stack.token(), headers: [['Content-Type', 'application/json']], body: '{"content":"warm"}' });
    await stack.ended(made.json.runId);
    steady = await Steady.of(stack);
});

/** A test whose traces must be gone behind it. @param {string} name @param {() => Promise<unknown>} body */
function clean(name, body) {
    test(name, async (t) => {
        await body();
        await steady.check();
        t.diagnostic(`above the beginning: ${steady.growth}`);
    });
}

clean('HTTP: every row, whole', () => replayWhole(stack.bridge));

clean(`HTTP: every row, cut (THREADCAST_SEED=${SEED})`, async () => {
    const count = await replaySplit(stack.bridge, { short: FULL ? 400 : 72, cuts: FULL ? 60 : 6, draw });
    assert.ok(count > 1000, `${count} ways`);
});

clean('tokens: every row, as a bearer and as a cookie', () => replayTokens(stack, other));

clean('tokens and tickets: bits turned', async () => {
    const count = await replayFlips(stack, FULL ? 1 : 5);
    assert.ok(count > 512, `${count} bits`);
});

clean('events: what is no event of this thread, or breaks lines', () => replayEvents(stack));
clean('events: ids that are not the next one', () => replayIds(stack));
clean('events: nothing behind the end of a run', () => replayAfterEnd(stack));

clean('cursors: what is no position of the thread is reset', () => replayPositions(stack));
clean('thread ids: what is no name is 400, and never a key', () => replayNames(stack));

clean('routes: paths, queries and headers', () => replayRoutes(stack));

clean('agents: whatever they say', () => replayAgents(stack, FULL));

clean('bodies: refused with a stable code, and nothing half done', () => replayBodies(stack, draw));
clean('bodies: what is kept is kept word for word', () => replayKept(stack));
clean('bodies: equal keys at once', () => replayEqualKeys(stack));
clean('PostgreSQL: notifications of strangers', () => replayNotifications(stack));
clean('PostgreSQL: rows edited by hand', () => replayEditedRows(stack));

test('Redis: replies that are none, cut ones, and single bytes', async (t) => {
    const behind = await Behind.start();
    await t.test('nonsense between the replies', () => replayReplies(behind, FULL));
    await t.test('replies cut at every byte', () =>
        replayCuts(behind, FULL ? Array.from({ length: 40 }, (_, i) => i) : [0, 1, 2, 5, 9, 14]));
    const bad = casesOf('redis').filter((row) => row.says === 'dropped' && !row.for);
    await t.test('a run whose worker is told nonsense', () => replayWorker(behind, (link, i) =>
        behind.proxy.inject(link, bytesOf('redis', bad[i % bad.length])), FULL ? 60 : 12));
    await t.test('a run whose worker is cut', () => replayWorker(behind, (link, i) =>
        behind.proxy.cutNext(link, i), FULL ? 40 : 8));
    behind.proxy.bytewise = true;
    await t.test('a run in single bytes', () => replayWorker(behind, () => {}, 1));
    await behind.whole();
    await behind.stack.stop();
    await behind.proxy.stop();
});
