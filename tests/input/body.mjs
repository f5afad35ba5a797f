// Bodies and what of them reaches PostgreSQL: refused with a stable code and nothing half
// done, or kept word for word.
//
// A row has bytes, `to` (method and path; `{thread}` is ann's own), `status` and `code`; `type`
// where it is not JSON, `key`: an Idempotency-Key (raw). Rows with `kept` are texts that must come
// back from the history as they were sent.

import assert from 'node:assert/strict';
import { until } from '../e2e/lib/until.mjs';
import { ask, metricsOf, metricsPort } from './ask.mjs';
import { bytesOf, casesOf } from './cases.mjs';

/** @typedef {import('../e2e/harness.mjs').Stack} Stack */
/** @typedef {import('./steady.mjs').Steady} Steady */

/** @param {string} [type] @returns {[string, string]} */
const json = (type = 'application/json') => ['Content-Type', type];

/** @param {Stack} stack */
const everything = (stack) => stack.pg.query(`select (select count(*) from threads)::int as threads,
    (select count(*) from messages)::int as messages, (select count(*) from runs)::int as runs,
    (select count(*) from idempotency)::int as keys,
    (select count(*) from pg_tables where schemaname = 'threadcast')::int as tables`);

/** Every row whole, and cut at places that `draw` chooses.
 *  @param {Stack} stack @param {Steady} steady @param {() => number} draw */
export async function replayBodies(stack, steady, draw) {
    const thread = await stack.thread();
    const token = stack.token({ sub: 'ann', write: [thread] });
    const [before, keys] = [await everything(stack), await stack.redis.client.dbsize()];
    for (const row of casesOf('body').filter((one) => !one.kept)) {
        const [method, target] = row.to.replace('{thread}', thread).split(' ');
        /** @type {[string, string | Buffer][]} */
        const headers = row.type === '' ? [] : [json(row.type)];
        if (row.key !== undefined) headers.push(['Idempotency-Key', Buffer.from(row.key, 'latin1')]);
        for (const cuts of [[], [draw()], [draw(), draw(), draw()]]) {
            const answer = await ask(stack.bridge.port, method, target, {
                token, headers, cuts, body: bytesOf('body', row) });
            assert.deepEqual([answer.status, answer.code], [row.status, row.code],
                             `${row.name}, cut at ${cuts}: ${answer.text.slice(-300)}`);
            assert.deepEqual(answer.statuses, [row.status], row.name);
        }
        await steady.row(row.name);
    }
    assert.deepEqual(await everything(stack), before, 'nothing half done');
    assert.equal(await stack.redis.client.dbsize(), keys, 'no key in Redis');
}

/** Texts that SQL, JSON, HTML or a shell might take for their own.
 *  @param {Stack} stack @param {Steady} steady */
export async function replayKept(stack, steady) {
    const token = stack.token();
    const [{ tables }] = await everything(stack);
    for (const row of casesOf('body').filter((one) => one.kept)) {
        const thread = await stack.thread();
        const text = bytesOf('body', row).toString('utf8');
        const posted = await ask(stack.bridge.port, 'POST', `/v1/threads/${thread}/messages`, {
            token, headers: [json(), ['Idempotency-Key', "k'||pg_sleep(9)||'"]],
            body: JSON.stringify({ content: text, metadata: { [text]: text, list: [text] } }) });
        assert.equal(posted.status, 202, `${row.name}: ${posted.text}`);
        await stack.ended(posted.json.runId);
        const history = await ask(stack.bridge.port, 'GET', `/v1/threads/${thread}/messages`, { token });
        const [mine] = history.json.messages;
        assert.equal(mine.content, text, row.name);
        assert.deepEqual([mine.metadata[text], mine.metadata.list[0]], [text, text], row.name);
        await steady.row(row.name, { worker: true });
    }
    assert.equal((await everything(stack))[0].tables, tables, 'all tables are there');
}

/** Equal keys at once make one run; the same key with another body is a conflict.
 *  @param {Stack} stack */
export async function replayEqualKeys(stack) {
    const thread = await stack.thread();
    const post = (/** @type {string} */ content) => ask(stack.bridge.port, 'POST', `/v1/threads/${thread}/messages`, {
        token: stack.token(), headers: [json(), ['Idempotency-Key', 'the-same']], body: JSON.stringify({ content }) });
    const answers = await Promise.all(Array.from({ length: 16 }, () => post('once')));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([202]));
    assert.equal(new Set(answers.map((answer) => answer.json.runId)).size, 1);
    const [{ n }] = await stack.pg.query('select count(*)::int as n from runs where thread_id = $1', [thread]);
    assert.equal(n, 1);
    const other = await post('twice');
    assert.deepEqual([other.status, other.code], [409, 'idempotency_conflict']);
    await stack.ended(answers[0].json.runId);
}

/** The channels that the daemons listen on, by the connections themselves: LISTEN is the last that
 *  they said. @param {Stack} stack */
async function channelsOf(stack) {
    const rows = await stack.pg.query(
        `select query from pg_stat_activity where application_name like 'threadcast-%:listen'`);
    const names = rows.flatMap(({ query }) => [...query.matchAll(/LISTEN "((?:[^"]|"")+)"/g)]
        .map(([, name]) => name.replaceAll('""', '"')));
    const found = [...new Set(names)].sort();
    assert.deepEqual(found.map((name) => name.split('.').pop()), ['canary', 'new_message', 'run_control', 'thread_changed']);
    return found;
}

/** What no program of ours would say. @param {string} thread @param {string} run one that has ended */
const strangers = (thread, run) => [
    '', ' ', 'x', '*', '../', thread, `${thread} `, run, run.toUpperCase(), `{${run}}`, `${run}0`, '\n', '\r\n\r\n', '\t\x01\x7f\x1b[2J',
    'ä'.repeat(3000), '\u2028\u0085\ufeff', '{"threadId":1}', `{"runId":"${run}"}`, '{"type":"cancel"}', "'; drop table runs;--",
    '%s%n%s%n%999999d', '[[[[', 'null', '-1', '18446744073709551616', '00000000-0000-0000-0000-000000000000',
    'a'.repeat(128), 'a'.repeat(129), 'a'.repeat(7999)];

/** As the bridge takes them for a thread's name. @param {string} word */
const isName = (word) => /^[A-Za-z0-9._-]{1,128}$/.test(word);

/** That a bridge has met a word: it has said so of what is no name, and has looked for, and not
 *  found, the thread of another. @param {string} said @param {string} word @param {string} thread that is there */
function metBy(said, word, thread) {
    const odd = said.split(' debug odd notification ').length - 1;
    return odd === (isName(word) ? 0 : 1) && (!isName(word) || word === thread || said.includes(` info thread forgotten thread=${word}\n`));
}

/** On every channel: the worker hears two of them, a bridge one.
 *  @param {Stack} stack @param {string[]} channels @param {string} word @param {string} thread that is there */
async function replayWord(stack, channels, word, thread) {
    const heard = async () => (await metricsOf(metricsPort(stack))).notifies_total;
    const [before, lines] = [await heard(), stack.bridges.map((bridge) => bridge.output.length)];
    for (const channel of channels) await stack.pg.query('select pg_notify($1, $2)', [channel, word]);
    await until(async () => await heard() === before + 2, {
        what: async () => `the worker has met ${await heard() - before} of 2: ${word.slice(0, 60)}` });
    for (const [i, bridge] of stack.bridges.entries()) {
        await until(() => metBy(bridge.output.slice(lines[i]), word, thread), {
            what: () => `bridge ${i} has met ${word.slice(0, 60)}: ${bridge.output.slice(lines[i])}` });
    }
}

/** Notifications that nobody of ours sent, on every channel: each is met, work goes on, and nothing
 *  is forgotten for them. @param {Stack} stack whose worker has the agent `wait` @param {Steady} steady */
export async function replayNotifications(stack, steady) {
    const thread = await stack.thread();
    const token = stack.token();
    const post = (body = '{"content":"hello"}') => ask(stack.bridge.port, 'POST', `/v1/threads/${thread}/messages`,
                                                       { token, headers: [json()], body });
    const first = (await post()).json;
    await stack.ended(first.runId);
    const log = `{thread:${thread}}:log`;
    const length = await stack.redis.client.xlen(log);
    const stream = stack.threadEvents(thread, 'since=now');
    await stream.named('ready');
    const channels = await channelsOf(stack);
    for (const word of strangers(thread, first.runId)) {
        await replayWord(stack, channels, word, thread);
        for (const bridge of stack.bridges) {
            const streams = bridge === stack.bridge ? 1 : 0;
            await steady.row(`the notification ${JSON.stringify(word.slice(0, 60))}`, { bridge, streams, worker: streams === 1 });
        }
    }
    assert.ok(await stack.redis.client.xlen(log) >= length, 'the log was not forgotten');
    await replayGoodHints(stack, thread, post, stream);
}

/** A prompt, a cancel and a change of owner, each told by a notification: the worker's poll (20 s) and
 *  the renewal of its leases (20 s) would be later, and nothing else tells of an owner.
 *  @param {Stack} stack @param {string} thread @param {(body?: string) => Promise<any>} post
 *  @param {import('../e2e/lib/sse.mjs').SseStream} stream */
async function replayGoodHints(stack, thread, post, stream) {
    const next = (await post()).json;
    assert.equal((await stack.ended(next.runId, 2500)).status, 'done');
    await stream.type('done');
    const waits = (await post('{"content":"hello","agent":"wait"}')).json;
    await until(async () => (await stack.run(waits.runId)).status === 'running', { timeout: 2500 });
    await stack.pg.query('select cancel_run($1::uuid)', [waits.runId]);
    assert.equal((await stack.ended(waits.runId, 2500)).status, 'cancelled');
    await stack.pg.query(`update threads set owner = 'bob' where id = $1`, [thread]);
    await stream.end(5000);
}

/** Rows that somebody has edited by hand end with an error, and hold nobody up.
 *  @param {Stack} stack @param {Steady} steady */
export async function replayEditedRows(stack, steady) {
    const token = stack.token();
    const edits = [
        [`update messages set content = $2 where id = $1`, ''],
        [`update messages set content = $2 where id = $1`, 'x'.repeat(3 << 20)],
        [`update messages set metadata = $2 where id = $1`, JSON.stringify({ agent: 'nobody', input: [[[[{}]]]] })],
        [`update messages set author = $2 where id = $1`, 'a\r\nb'],
        [`update runs set input = $2 where message_id = $1`, JSON.stringify('['.repeat(5000))],
        [`update runs set input = $2 where message_id = $1`, `${'['.repeat(3000)}${']'.repeat(3000)}`],
        [`update runs set agent = $2 where message_id = $1`, 'no:such.agent'],
        [`update runs set attempt = $2::int where message_id = $1`, '2147483000'],
        [`update runs set failures = $2::int where message_id = $1`, '1000'],
        [`update runs set owner = $2 where message_id = $1`, "'; select 1; --"],
        [`update runs set run_at = now() - $2::interval where message_id = $1`, '100 years'],
    ];
    for (const [sql, value] of edits) {
        const thread = await stack.thread();
        const id = await insertEdited(stack, thread, sql, value);
        const row = await stack.ended(id);
        assert.ok(['done', 'failed'].includes(row.status), `${sql} ${value.slice(0, 40)}: ${row.status}`);
        await steady.row(`${sql} ${value.slice(0, 40)}`, { worker: true });
    }
    const thread = await stack.thread();
    const posted = await ask(stack.bridge.port, 'POST', `/v1/threads/${thread}/messages`,
                             { token, headers: [json()], body: '{"content":"hello"}' });
    assert.equal((await stack.ended(posted.json.runId)).status, 'done');
    await until(async () => (await metricsOf(stack.bridge.port)).clients === 0);
}

/** Message and edit in one transaction, so that no worker sees the row before.
 *  @param {Stack} stack @param {string} thread @param {string} sql @param {string} value */
async function insertEdited(stack, thread, sql, value) {
    const parts = sql.replace('$1', `(select id from messages where thread_id = '${thread}' and role = 'user')`)
        .replace('$2', () => `$value$${value}$value$`);
    await stack.pg.query(`begin; insert into messages (thread_id, role, content, author)
        values ('${thread}', 'user', 'hello', 'ann'); ${parts}; commit`);
    return (await stack.pg.query('select id from runs where thread_id = $1', [thread]))[0].id;
}
