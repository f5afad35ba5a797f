// Bad input against the running daemons: every row of tests/input/*/cases.json gets the
// answer that stands beside it, and leaves nothing behind. After each row a good request is
// answered by the same process, with the descriptors and the memory that it had; after each area
// its connections are as before, too, and its log (Steady); at the end of the file the harness
// looks for secrets and sanitizer reports in every log.
//
//   THREADCAST_SEED   the cuts of longer inputs; printed with the first test
//   THREADCAST_FULL=1 more cuts, a line of 1 GB, each bit of more signatures

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import path from 'node:path';
import fs from 'node:fs';
import net from 'node:net';
import { ROOT, Signer, Stack, until } from '../e2e/harness.mjs';
import { replayAgents } from '../input/agent.mjs';
import { metricsOf } from '../input/ask.mjs';
import { random } from '../input/cases.mjs';
import { replayBodies, replayEditedRows, replayEqualKeys, replayKept, replayNotifications } from '../input/body.mjs';
import { replayCuts } from '../input/cuts.mjs';
import { replayNames, replayPositions } from '../input/cursor.mjs';
import { replayAfterEnd, replayEvents, replayIds } from '../input/event.mjs';
import { replaySplit, replayWhole } from '../input/http.mjs';
import { replayLegacy, replayLegacyTokens } from '../input/legacy.mjs';
import { Behind, replayBytewise, replayReplies, replayWorkers } from '../input/redis.mjs';
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
/** one that takes ?token= @type {import('../e2e/harness.mjs').Bridge} */
let older;

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
    older = await stack.startBridge({ 'allow-query-token': true });
    await stack.thread('anns', 'ann');
    await stack.thread('bobs', 'bob');
    const theirs = other.pem.token({ sub: 'ann', aud: 'threadcast', iss: 'https://id.example', exp: Math.floor(Date.now() / 1000) + 3600 });
    steady = await Steady.of(stack, new Map([[other.bridge, stack.secret(theirs)]]));
});

test('what looks behind a row: says whose row left something', async () => {
    const left = net.connect({ port: older.port, host: '127.0.0.1' });
    await until(async () => (await metricsOf(older.port)).connections === 2);
    const where = { bridge: older, timeout: 200 };
    await assert.rejects(steady.row('left', where), /^Error: behind left: not within 200 ms: bridge: \d+ descriptors, not \d+$/);
    await steady.row('left and known', { ...where, streams: 1 });
    left.destroy();
    await steady.row('gone', { bridge: older });
    steady.tokens.set(older, 'none');
    await assert.rejects(steady.row('refused', where), /^Error: behind refused: a good request/);
    steady.tokens.delete(older);
});

/** A test whose traces must be gone behind it. @param {string} name @param {() => Promise<unknown>} body */
function clean(name, body) {
    test(name, async (t) => {
        await body();
        await steady.check();
        t.diagnostic(`above the beginning: ${steady.growth}`);
    });
}

clean('HTTP: every row, whole', () => replayWhole(stack.bridge, steady));

clean(`HTTP: every row, cut (THREADCAST_SEED=${SEED})`, async () => {
    const count = await replaySplit(stack.bridge, steady, { short: FULL ? 400 : 72, cuts: FULL ? 60 : 6, draw });
    assert.ok(count > 1000, `${count} ways`);
});

clean('tokens: every row, as a bearer and as a cookie', () => replayTokens(stack, steady, other));

clean('tokens and tickets: bits turned', async () => {
    const count = await replayFlips(stack, steady, FULL ? 1 : 5);
    assert.ok(count > 512, `${count} bits`);
});

clean('events: what is no event of this thread, or breaks lines', () => replayEvents(stack, steady));
clean('events: ids that are not the next one', () => replayIds(stack, steady));
clean('events: nothing behind the end of a run', () => replayAfterEnd(stack));

clean('cursors: what is no position of the thread is reset', () => replayPositions(stack, steady));
clean('thread ids: what is no name is 400, and never a key', () => replayNames(stack, steady));

clean('routes: paths, queries and headers', () => replayRoutes(stack, steady));

clean('the older interface: asked badly, at the root and below /api', () => replayLegacy(stack, steady, older));
clean('the older interface: bad tokens in the address', () => replayLegacyTokens(stack, steady, older));

clean('agents: whatever they say', () => replayAgents(stack, steady, FULL));

clean('bodies: refused with a stable code, and nothing half done', () => replayBodies(stack, steady, draw));
clean('bodies: what is kept is kept word for word', () => replayKept(stack, steady));
clean('bodies: equal keys at once', () => replayEqualKeys(stack));
clean('PostgreSQL: notifications of strangers', () => replayNotifications(stack, steady));
clean('PostgreSQL: rows edited by hand', () => replayEditedRows(stack, steady));

test('Redis: replies that are none, cut ones, and single bytes', async (t) => {
    const behind = await Behind.start(FULL ? 10 : 4);
    await t.test('nonsense between the replies', () => replayReplies(behind, FULL));
    await t.test('nonsense for workers, in the middle of runs', async (t) => {
        t.diagnostic(`${await replayWorkers(behind)} times`);
    });
    await t.test('replies cut at every byte', async (t) => {
        const { replies, firsts } = await replayCuts(behind, { each: FULL ? Infinity : 6, draw });
        t.diagnostic(`${replies} replies and ${firsts} first answers`);
    });
    await t.test('runs in single bytes', () => replayBytewise(behind));
    try {
        await behind.whole();
    } finally {
        await behind.stop();
    }
});
