// How strict the bridge reads HTTP, seen beside nginx and HAProxy: it accepts nothing that
// one of them refuses, and behind either of them nobody gets an answer to a request that
// nobody sent. The requests are those of tests/input/http.

import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Stack, until } from '../e2e/harness.mjs';
import { raw } from '../e2e/lib/raw.mjs';
import { metricsOf } from '../input/ask.mjs';
import { bytesOf, casesOf } from '../input/cases.mjs';
import { Behind, startPeer } from '../input/peers.mjs';

/** @typedef {import('../input/cases.mjs').Case} Case */

/** @typedef {import('../e2e/lib/fronts.mjs').Front} Peer */

/** @typedef {{ peer: Peer, behind: Behind }} Chain a proxy, and what counts behind it */

/** What we take and one of them refuses outright (it never reads something else there), and
 *  why that stays. @type {Record<string, Record<string, string>>} */
const REFUSED_BY_THEM = {
    nginx: {
        'taken-blanks-around-value': 'RFC 9110, 5.6.3: a tab is white space too; nginx 1.22 skips blanks only',
        'taken-length-with-blanks': 'the same',
    },
    haproxy: {},
};

/** @type {Stack} */
let stack;
/** @type {Chain[]} in front of an origin that takes everything */
let alone = [];
/** @type {Chain[]} in front of the bridge */
let inFront = [];

/** @param {'nginx' | 'haproxy'} name @param {number} [upstream] */
async function chain(name, upstream) {
    const behind = await Behind.start(upstream);
    return { behind, peer: await startPeer(name, stack.dir, behind.port) };
}

before(async () => {
    stack = await Stack.start({ postgres: false });
    alone = [await chain('nginx'), await chain('haproxy')];
    inFront = [await chain('nginx', stack.bridge.port), await chain('haproxy', stack.bridge.port)];
});
after(async () => {
    await Promise.all([...alone, ...inFront].map(({ peer }) => peer.stop()));
    for (const { behind } of [...alone, ...inFront]) behind.stop();
});

/** What the bridge has taken for a request, good or bad. */
async function bridgeCounts() {
    const { http_requests_total: taken, http_refused_total: refused } = await metricsOf(stack.bridge.port);
    return { taken, refused };
}

/** How many requests of a row we take for well-formed. @param {Case} row */
async function ours(row) {
    const first = await bridgeCounts();
    await raw(stack.bridge.port, bytesOf('http', row), { half: true });
    return (await bridgeCounts()).taken - first.taken - 1; // the last question
}

/**
 * Sends a row to a proxy, and reads until `enough` or the proxy closes. Our side stays open: a
 * proxy that sees its end may forget what was pipelined.
 * @param {Peer} peer @param {Case} row @param {() => boolean} enough
 */
async function offer(peer, row, enough) {
    const socket = net.connect({ port: peer.port, host: '127.0.0.1' });
    let closed = false;
    for (const event of ['end', 'error', 'close']) socket.on(event, () => (closed = true));
    socket.resume();
    socket.write(bytesOf('http', row));
    await until(() => closed || enough(), { what: () => `${row.name} to ${peer.name}\n${peer.child.tail()}` });
    socket.destroy();
}

test('what we accept, nginx and HAProxy accept', async (t) => {
    /** @type {Record<string, number>} */
    const checked = { nginx: 0, haproxy: 0 };
    for (const row of casesOf('http')) {
        const mine = await ours(row);
        if (mine === 0) continue; // whatever they do with it
        for (const { peer, behind } of alone) {
            behind.begin();
            await offer(peer, row, () => behind.whole >= mine);
            if (REFUSED_BY_THEM[peer.name][row.name]) {
                assert.equal(behind.heads.length, 0, `${row.name} is no exception any more (${peer.name})`);
                continue;
            }
            assert.ok(behind.whole >= mine, `${row.name}: we take ${mine}, ${peer.name} ${behind.whole}`);
            checked[peer.name] += mine;
        }
    }
    assert.ok(Object.values(checked).every((n) => n >= 50), JSON.stringify(checked));
    t.diagnostic(`requests that all three take: ${JSON.stringify(checked)}`);
});

/** What a good request gets through a proxy: nothing may be left over for it on a connection
 *  that the proxy keeps to the bridge. @param {Peer} peer @param {Case} row */
async function good(peer, row) {
    const answer = await raw(peer.port, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    const what = `behind ${row.name}, through ${peer.name}: ${answer.text}`;
    assert.deepEqual(answer.statuses, [200], what);
    assert.ok(answer.text.endsWith('\r\n\r\nok\n'), what);
}

/**
 * The proxy says by what it writes how many requests a row is: as many must come to the bridge,
 * and no more answers of the bridge may come back.
 * @param {Chain} chain @param {Case} row
 */
async function through({ peer, behind }, row) {
    behind.begin();
    const first = await bridgeCounts();
    const answer = await raw(peer.port, bytesOf('http', row), { half: true });
    let asked = 0;
    const came = async () => {
        const { taken, refused } = await bridgeCounts();
        return taken - first.taken - ++asked + refused - first.refused;
    };
    let count = 0;
    const what = () => `${count} requests came, ${behind.whole} of ${behind.heads.length} whole ones were written: ` +
        `${row.name} through ${peer.name}: ${JSON.stringify(answer.text).slice(0, 600)}\n${behind.heads.join('\n')}`;
    await until(async () => (count = await came()) >= behind.whole, { what });
    assert.ok(count <= behind.heads.length, what());
    const answers = answer.text.match(/^x-content-type-options: nosniff/gim) ?? []; // the bridge's own
    assert.ok(answers.length <= behind.heads.length, what());
    if (!behind.heads.some((head) => head.startsWith('GET /metrics ')))
        assert.ok(!answer.text.includes('threadcast_bridge_'), `a smuggled request was answered: ${what()}`);
    await good(peer, row);
}

for (const name of ['nginx', 'haproxy']) {
    test(`behind ${name}: as many answers as requests, for every row`, async () => {
        const ours = inFront.find(({ peer }) => peer.name === name);
        for (const row of casesOf('http')) await through(/** @type {Chain} */ (ours), row);
    });
}
