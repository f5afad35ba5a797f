// Compares what was accepted with what Postgres, Redis and every reader say at the end,
// and finds the smallest thing that is wrong. What belongs to nothing is wrong, too: a run
// in Postgres that no accepted prompt made, one that a reader saw and Postgres has not.

import { createHash } from 'node:crypto';
import { contentText, until } from '../e2e/harness.mjs';

/** @typedef {import('./world.mjs').World} World */
/** @typedef {import('./world.mjs').Accepted} Accepted */

/** Which promise a kind of violation breaks: what the last line counts. */
const COUNTED = {
    lost: 'lost', 'lost text': 'lost', 'changed text': 'lost', begin: 'lost', position: 'lost',
    duplicate: 'duplicated', 'duplicated text': 'duplicated', 'second end': 'duplicated', 'after end': 'duplicated',
    reordered: 'reordered', attempt: 'reordered', 'text of another attempt': 'reordered', foreign: 'foreign',
};

/** How the row must end for what its agent does; a cancelled one may have been faster. @param {Accepted} asked */
function possible(asked) {
    const usual = asked.end === 'done' || asked.end === 'retry' ? ['done'] : ['failed'];
    return asked.cancelled ? [...usual, 'cancelled'] : usual;
}

const OUTCOME = { done: 'done', failed: 'error', cancelled: 'cancelled' };

/**
 * How long after an end was published a reader can still be without it: cut, asleep, behind a bridge that is dead, asleep
 * or half-open towards Redis. A reset that comes later has not swallowed it.
 */
const AWAY_MS = 30_000;

/** an end that is published may wait so long until Postgres, being harmed, has that */
const NOTED_MS = 10_000;
/** ends of the last so many ms are published again in a Redis that is new to all: --recall-s, less what noticing takes */
const RECALL_MS = 90_000;
/** what Redis forgets while readers are away is little */
const EXCUSED_MOST = 0.02;

/** @typedef {{ name: string, forgets?: 'new' | 'same', from: number, to: number }} Forgot after which Redis may have forgotten; Date.now() */

/**
 * @param {World} world
 * @param {Forgot[]} forgot
 */
export async function check(world, forgot) {
    /** @type {{ kind: string, what: string, detail?: unknown }[]} */
    const wrong = world.farm.violations.map(({ violation, ...detail }) =>
        ({ kind: COUNTED[violation] ?? violation, what: `${violation} at reader ${detail.reader}`, detail }));
    const say = (kind, what, detail = undefined) => wrong.push({ kind, what, detail });
    for (const refusal of world.refused) say('refused', refusal);

    const rows = new Map((await world.stack.pg.query('select * from runs')).map((row) => [row.id, row]));
    const messages = new Map((await world.stack.pg.query(
        'select id, role, content, run_id from messages')).map((row) => [row.id, row]));
    const answers = [...messages.values()].filter(({ role }) => role === 'assistant');
    await checkKeys(world, rows, messages, say);
    const logged = await checkLogs(world, rows, say);
    const { told, excuses, owed } = await accounts(world, rows, logged, forgot);

    for (const asked of world.ledger) {
        const row = rows.get(asked.run);
        const about = `run ${asked.run} (${asked.content})`;
        const prompt = messages.get(asked.message);
        if (!prompt || contentText(prompt.content) !== asked.content) say('lost', `${about}: its prompt is not in Postgres`);
        if (!row) {
            say('lost', `${about}: no row in Postgres`);
            continue;
        }
        if (!possible(asked).includes(row.status)) say('outcome', `${about}: ${row.status}`, row);
        if (!row.end_published_at) say('stuck', `${about}: its end is not published`, row);
        const answer = messages.get(asked.reply);
        if (row.status === 'done' && !answer) say('lost', `${about}: no answer in Postgres`);
        const hash = answer && createHash('sha256').update(contentText(answer.content)).digest('hex');
        checkReaders(asked, row, hash, told.get(asked.run) ?? [], say);
    }
    for (const { line, why } of owed) say('lost', `reader ${line.reader}, run ${line.run}: no end, and ${why}`, line);
    for (const [run, [line]] of told) if (!rows.has(run)) say('foreign', `run ${run} was told to a reader, and Postgres has no row of it`, line);
    if (answers.length > new Set(answers.map(({ run_id: run }) => run)).size) say('duplicated', 'a run has two answers in Postgres');
    checkResets(world, forgot.length, say);
    const compared = [...told.values()].reduce((n, lines) => n + lines.length, 0);
    const excused = [...excuses.values()].reduce((n, one) => n + one, 0);
    if (excused > EXCUSED_MOST * compared) say('excused', `${excused} of ${compared} accounts have no end, which Redis forgot: too many`);
    return { wrong, ...count(wrong), rows: rows.size, told: compared, excused,
             excuses: [...excuses].map(([why, n]) => `${n} ${why}`).join(', ') };
}

/** A prompt has its one run, and a run its one prompt, however often that was sent. */
async function checkKeys(world, rows, messages, say) {
    const kept = new Map();
    for (const { key, answer } of await world.stack.pg.query('select key, answer from idempotency'))
        kept.set(key, [...kept.get(key) ?? [], ...answer?.runs ?? [{ runId: null }]]);
    const runs = new Map(), prompts = new Set(world.ledger.map(({ message }) => message));
    for (const asked of world.ledger) {
        const about = `the prompt ${asked.key} (${asked.content})`;
        if (runs.has(asked.run)) say('duplicated', `${about} and ${runs.get(asked.run).key} were both answered with run ${asked.run}`);
        runs.set(asked.run, asked);
        const made = (kept.get(asked.key) ?? []).map(({ runId }) => runId);
        if (made.length !== 1 || made[0] !== asked.run) say('duplicated', `${about} was answered with run ${asked.run}, its key has ${made}`);
        const row = rows.get(asked.run);
        if (row && (row.thread_id !== asked.thread || row.message_id !== asked.message))
            say('foreign', `${about} of thread ${asked.thread}: run ${asked.run} is of ${row.thread_id}, message ${row.message_id}`);
    }
    for (const [run, row] of rows) if (!runs.has(run)) say('duplicated', `run ${run} belongs to no accepted prompt`, row);
    for (const { id, role, content } of messages.values())
        if (role === 'user' && !prompts.has(id)) say('duplicated', `message ${id} (${contentText(content)}) belongs to no accepted prompt`);
}

/**
 * What each reader saw of each run, which ends it never saw by right, and which it is owed. Ends that a bridge had to
 * have published again may still be on their way.
 */
async function accounts(world, rows, logged, forgot) {
    const resets = new Map();
    for (const { reader, thread, at } of world.farm.resets) {
        const of = `${reader} ${thread}`;
        resets.set(of, [...resets.get(of) ?? [], at]);
    }
    const look = async () => {
        const told = new Map(), excuses = new Map(), owed = [];
        for (const line of await world.farm.report()) {
            if (!told.has(line.run)) told.set(line.run, []);
            told.get(line.run).push(line);
            const row = rows.get(line.run);
            if (line.outcome || !row) continue;
            const { excuse, why } = excuseOf(line, row, logged, resets.get(`${line.reader} ${line.thread}`) ?? [], forgot);
            if (excuse) excuses.set(excuse, (excuses.get(excuse) ?? 0) + 1);
            else owed.push({ line, why });
        }
        return { told, excuses, owed };
    };
    let found = await look();
    await until(async () => !found.owed.length || !(found = await look()).owed.length, { timeout: 15_000, every: 1000 }).catch(() => {});
    return found;
}

/**
 * By PROTOCOL.md a stream goes on behind a reset with everything that Redis still has. So it excuses only an end that no
 * log has now, that had been published when the reset came (later ones came live), and not long before (earlier ones had
 * arrived): one that Redis forgot while this reader was away. And no other Redis came behind it, because there such an end
 * is published again.
 */
function excuseOf(line, row, logged, resets, forgot) {
    if (logged.has(line.run)) return { why: `it stands in the log at ${logged.get(line.run)}` };
    const ended = new Date(row.ended_at).getTime(), published = new Date(row.end_published_at).getTime();
    const reset = resets.find((at) => at >= ended && at >= published - NOTED_MS && at <= published + AWAY_MS);
    if (reset === undefined) return { why: `no reset of that reader explains it (ended ${ended}, published ${published}, resets ${resets})` };
    const missed = forgot.find(({ forgets, from, to }) => forgets === 'new' && from >= published && ended > to - RECALL_MS);
    if (missed) return { why: `was not published again behind ${missed.name} at ${missed.from} (published ${published})` };
    const fault = forgot.findLast(({ from, to }) => to >= ended && from <= reset);
    return fault ? { excuse: fault.name } : { why: 'Redis has forgotten nothing between its end and the reset' };
}

/** Who has seen the end has the record's, and who has seen the beginning has the record's text. */
function checkReaders(asked, row, hash, lines, say) {
    for (const line of lines) {
        const about = `reader ${line.reader}, run ${asked.run}`;
        if (line.thread !== row.thread_id) say('foreign', `${about}: told in thread ${line.thread}, the row is of ${row.thread_id}`, line);
        if (!line.outcome) continue; // `accounts` has it
        if (line.outcome !== OUTCOME[row.status]) say('outcome', `${about}: saw ${line.outcome}, the row is ${row.status}`, line);
        if (line.joined && line.attempt !== row.attempt) say('attempt', `${about}: saw attempt ${line.attempt}, the row has ${row.attempt}`, line);
        if (line.joined && line.sha256 && hash && line.sha256 !== hash) say('lost', `${about}: another text than Postgres has`, line);
    }
}

/** A reset needs a reason: a reader has at most one for each time that Redis forgot. */
function checkResets(world, forgetful, say) {
    const each = new Map();
    for (const { reader } of world.farm.resets) each.set(reader, (each.get(reader) ?? 0) + 1);
    for (const [reader, n] of each) {
        if (n > forgetful) say('reset', `reader ${reader} was reset ${n} times, Redis forgot ${forgetful} times`,
                               world.farm.resets.filter((reset) => reset.reader === reader));
    }
}

/** No run lives on in a log's state, and no log has an end twice. Answers which ends there are: their run and id. */
async function checkLogs(world, rows, say) {
    const logged = new Map();
    for (const { thread } of world.threads) {
        const live = async () => (await world.redis.client.hkeys(`{thread:${thread}}:state`)).filter((field) => field.startsWith('r:'));
        // an end that Redis has forgotten is published again when a bridge has noticed
        await until(async () => !(await live()).length, { timeout: 30_000 }).catch(async () => {
            for (const field of await live()) say('stuck', `thread ${thread}: ${field} lives on in Redis`, rows.get(field.slice(2)));
        });
        const entries = await world.redis.client.xrange(`{thread:${thread}}:log`, '-', '+');
        const ends = new Map();
        for (const [id, [, text]] of entries) {
            const event = JSON.parse(text);
            if (event.id !== id) say('framing', `thread ${thread}: entry ${id} holds the id ${event.id}`);
            if (event.type !== 'done' && event.type !== 'error') continue;
            ends.set(event.runId, (ends.get(event.runId) ?? 0) + 1);
            logged.set(event.runId, id);
        }
        for (const [run, n] of ends) if (n > 1) say('duplicated', `thread ${thread}: run ${run} has ${n} ends in the log`);
    }
    return logged;
}

function count(wrong) {
    const counts = { lost: 0, duplicated: 0, reordered: 0, foreign: 0, stuck: 0, other: 0 };
    for (const { kind } of wrong) counts[kind in counts ? kind : 'other']++;
    return { counts };
}

/** The smallest counterexample: the first violation, with what happened around it. */
export function counterexample({ wrong }, history) {
    const [first] = [...wrong].sort((a, b) => JSON.stringify(a.detail ?? '').length - JSON.stringify(b.detail ?? '').length);
    if (!first) return '';
    const at = /** @type {any} */ (first.detail)?.at;
    const near = history.filter((one) => at === undefined || (one.from < at + 500 && one.to > at - 5000));
    const began = history[0]?.from ?? 0;
    const told = (one) => `${one.lane}.${one.index} ${one.name}(${one.drew.map((ms) => +ms.toFixed(2)).join(' ')}) ${one.from - began}–${one.to - began} ms`;
    return [`${first.kind}: ${first.what}`, JSON.stringify(first.detail, null, 1),
            `faults around it: ${near.slice(-12).map(told).join(', ')}`,
           ].join('\n');
}
