// Compares what was accepted with what Postgres, Redis and every reader say at the end,
// and finds the smallest thing that is wrong.

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
 * @param {World} world
 * @param {number} forgetful how many faults made Redis forget
 */
export async function check(world, forgetful) {
    /** @type {{ kind: string, what: string, detail?: unknown }[]} */
    const wrong = world.farm.violations.map(({ violation, ...detail }) =>
        ({ kind: COUNTED[violation] ?? violation, what: `${violation} at reader ${detail.reader}`, detail }));
    const say = (kind, what, detail = undefined) => wrong.push({ kind, what, detail });
    for (const refusal of world.refused) say('refused', refusal);

    const rows = new Map((await world.stack.pg.query('select * from runs')).map((row) => [row.id, row]));
    const messages = new Map((await world.stack.pg.query(
        'select id, role, content, run_id from messages')).map((row) => [row.id, row]));
    const answers = [...messages.values()].filter(({ role }) => role === 'assistant');
    const told = new Map();
    for (const line of await world.farm.report()) {
        if (!told.has(line.run)) told.set(line.run, []);
        told.get(line.run).push(line);
    }

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
    if (answers.length > new Set(answers.map(({ run_id: run }) => run)).size) say('duplicated', 'a run has two answers in Postgres');
    checkResets(world, forgetful, say);
    await checkLogs(world, rows, say);
    return { wrong, ...count(wrong), rows: rows.size, told: [...told.values()].reduce((n, lines) => n + lines.length, 0) };
}

/** Every reader has the end, and who has seen the beginning has the record's text. */
function checkReaders(asked, row, hash, lines, say) {
    for (const line of lines) {
        const about = `reader ${line.reader}, run ${asked.run}`;
        if (!line.outcome) {
            if (!line.excused) say('lost', `${about}: no end, and no reset that would explain it`, line);
            continue;
        }
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

/** No run lives on in a log's state, and no log has an end twice. */
async function checkLogs(world, rows, say) {
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
            if (event.type === 'done' || event.type === 'error') ends.set(event.runId, (ends.get(event.runId) ?? 0) + 1);
        }
        for (const [run, n] of ends) if (n > 1) say('duplicated', `thread ${thread}: run ${run} has ${n} ends in the log`);
    }
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
    return [`${first.kind}: ${first.what}`, JSON.stringify(first.detail, null, 1),
            `faults around it: ${near.slice(-12).map((one) => `${one.name} ${Math.round(one.from)}–${Math.round(one.to)} ms`).join(', ')}`,
           ].join('\n');
}
