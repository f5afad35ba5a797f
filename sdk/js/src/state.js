// What a conversation looks like after these events: a pure reducer, without network,
// clock or page. Feed it the history and every event of the stream, in order; show what
// `timeline` or `turns` returns.
//
// The rules that make it right (docs/PROTOCOL.md, "Events"):
//
//  - The text of an answer is the concatenation of its tokens.
//  - A run may need several attempts. The first event of each is `started` or `rewind`:
//    what the run published before it no longer counts. Events of an attempt that has been
//    overtaken are ignored.
//  - Whoever has not seen the beginning of an attempt shows none of its tokens, and takes
//    the message from the record when the run ends.
//  - One `done` or `error` ends a run, nothing of it follows.
//  - An answer has the same `messageId` on the stream and in the record: it is shown once,
//    and the record is right.
//  - Ids rise within an epoch: an event at or before the last one of its epoch has been
//    here before. Behind a `reset` that is forgotten, for events come again then.
//
// States are never changed, always replaced, so `a === b` says "nothing to draw"; and what
// an event costs does not grow with the conversation.

import { forgetAttempt, isEventOfRun, newRun, stepRun } from './run.js';
import { Runs } from './runs.js';
import { lastKey } from './timeline.js';

export { timeline, turns } from './timeline.js';

/**
 * @typedef {import('./steps.js').Step} Step
 * @typedef {import('./run.js').Run} Run
 * @typedef {import('./run.js').Usage} Usage
 * @typedef {import('./run.js').Outcome} Outcome
 * @typedef {import('./timeline.js').Item} Item
 * @typedef {import('./timeline.js').Turn} Turn
 *
 * @typedef {object} ThreadEvent
 * @property {string} type `token` `status` `delta` `done` `error`, or anything else
 * @property {any} [content]
 * @property {number} [ts] Unix milliseconds
 * @property {string} [id]
 * @property {string} [runId]
 * @property {string} [agentId]
 * @property {string} [messageId]
 * @property {number} [attempt]
 *
 * @typedef {object} Message a row of the record
 * @property {string} id
 * @property {'user' | 'assistant' | string} role
 * @property {string} text
 * @property {string} author
 * @property {string | null} replyTo
 * @property {string | null} runId
 * @property {number} order the record's order; later is larger
 * @property {'' | 'failed' | 'cancelled'} ended an answer that did not end well: how
 * @property {string} error safe to show; '' when there is none
 *
 * @typedef {object} RunStatus what the API says of a run
 * @property {string} runId
 * @property {'queued' | 'running' | 'done' | 'failed' | 'cancelled' | string} status
 * @property {string | null} messageId the answer's
 * @property {string | null} parentId the prompt's
 * @property {string} error safe to show; '' when there is none
 *
 * @typedef {object} Note an event of no run and no known type
 * @property {number} serial
 * @property {string} after the key of the item it stands behind, '' at the top
 * @property {string} type
 * @property {string} text
 *
 * @typedef {object} ThreadState
 * @property {readonly Message[]} messages the record, in its order
 * @property {ReadonlyMap<string, Run>} runs in order of appearance
 * @property {readonly Note[]} notes
 * @property {readonly Position[]} positions the last event of each epoch, the newest first
 * @property {string} outside the run id of the bubble that text of no run goes to, or ''
 * @property {object} shape another object when items may have come, gone or moved
 *
 * @typedef {{ epoch: string, n: number }} Position
 */

const NOTES_KEPT = 200;
const EPOCHS_KEPT = 8;

/** @returns {ThreadState} */
export function emptyThread() {
    return { messages: [], runs: new Runs(), notes: [], positions: [], outside: '', shape: {} };
}

/**
 * What a thread looks like after these events, from nothing or from a state before them.
 * @param {Iterable<ThreadEvent>} events
 * @param {ThreadState} [state]
 * @returns {ThreadState}
 */
export function threadState(events, state = emptyThread()) {
    for (const event of events) state = applyEvent(state, event);
    return state;
}

/**
 * @param {ThreadState} state
 * @param {ThreadEvent} event
 * @returns {ThreadState}
 */
export function applyEvent(state, event) {
    const position = positionOf(event);
    if (position && wasHere(state.positions, position)) return state;
    const next = isEventOfRun(event) ? applyToRun(state, event) : applyOutside(state, event);
    if (next === state || !position) return next;
    return { ...next, positions: advanced(state.positions, position) };
}

/** @param {ThreadState} state @param {ThreadEvent} event @returns {ThreadState} */
function applyToRun(state, event) {
    const before = state.runs.get(String(event.runId)) ?? newRun(String(event.runId));
    const run = stepRun(before, event);
    return run === before ? state : putRun(state, run);
}

/**
 * The runs that have not ended (text published without a run never ends, and is none).
 * @param {ThreadState} state
 */
export function liveRuns(state) {
    return [...state.runs.values()].filter((run) => !run.outcome && run.status !== 'outside');
}

// ---- what is known besides events ----------------------------------------------------

/**
 * Adds rows of the record, those already known included.
 * @param {ThreadState} state
 * @param {readonly Message[]} rows
 * @returns {ThreadState}
 */
export function withMessages(state, rows) {
    const fresh = new Map(rows.map((row) => [row.id, row]));
    let changed = false;
    const messages = state.messages.map((message) => {
        const row = fresh.get(message.id);
        fresh.delete(message.id);
        if (!row || sameRow(row, message)) return message;
        changed = true;
        return row;
    });
    if (!changed && !fresh.size) return state;
    messages.push(...fresh.values());
    messages.sort((a, b) => a.order - b.order);
    return { ...state, messages, shape: {} };
}

/** @param {Message} a @param {Message} b */
function sameRow(a, b) {
    const fields = /** @type {(keyof Message)[]} */ (Object.keys({ ...a, ...b }));
    return fields.every((field) => a[field] === b[field]);
}

/**
 * Runs that a prompt has just made (the answer to the POST), or that the API told of.
 * @param {ThreadState} state
 * @param {{ runId: string, agent?: string, messageId: string, parentId: string }} known
 * @returns {ThreadState}
 */
export function withRun(state, { runId, agent = '', messageId, parentId }) {
    const run = state.runs.get(runId) ?? { ...newRun(runId), status: 'queued' };
    return putRun(state, {
        ...run,
        messageId: run.messageId || messageId,
        agent: run.agent || agent,
        parentId,
    });
}

/**
 * What the API says of a run whose end we may have missed. (When the stream is telling its
 * story from the beginning, the stream will also tell the end.)
 * @param {ThreadState} state
 * @param {RunStatus} status
 * @returns {ThreadState}
 */
export function withRunStatus(state, status) {
    const run = state.runs.get(status.runId);
    if (!run || run.outcome || run.joined) return state;
    /** @type {Record<string, Outcome['kind']>} */
    const kinds = { done: 'done', failed: 'error', cancelled: 'cancelled' };
    const kind = kinds[status.status];
    const parentId = run.parentId || status.parentId || '';
    if (!kind) return putRun(state, { ...run, parentId });
    const outcome = { kind, reason: status.status, message: status.error };
    return putRun(state, { ...run, parentId, outcome });
}

/**
 * The stream said `reset`: events were skipped. What we have of the runs that are still
 * going may have holes, so none of it counts until they begin again or end.
 * @param {ThreadState} state
 * @returns {ThreadState}
 */
export function afterReset(state) {
    const forgotten = liveRuns(state).map((run) => ({ ...forgetAttempt(run), rewinds: 0 }));
    return { ...forgotten.reduce(putRun, state), positions: [] };
}

/**
 * @param {ThreadState} state
 * @param {string} runId '' when the server did not say which: all that live
 * @returns {ThreadState}
 */
export function withStalled(state, runId) {
    const meant = liveRuns(state).filter((run) => !runId || run.runId === runId);
    return meant.reduce((next, run) => putRun(next, { ...run, stalled: true }), state);
}

// ---- events of no run ----------------------------------------------------------------

/**
 * Text that somebody published without a run gets a bubble of its own; anything else is
 * noted as it is.
 * @param {ThreadState} state
 * @param {ThreadEvent} event
 * @returns {ThreadState}
 */
function applyOutside(state, event) {
    if (event.type !== 'token') return addNote(state, event);
    const run = state.runs.get(state.outside) ?? {
        ...newRun(`outside-${state.runs.size}`),
        status: 'outside',
        joined: true,
        agent: event.agentId ?? '',
    };
    const text = run.text + String(event.content ?? '');
    const next = putRun(state, { ...run, text, tokens: run.tokens + 1 });
    return { ...next, outside: run.runId };
}

/** @param {ThreadState} state @param {ThreadEvent} event @returns {ThreadState} */
function addNote(state, event) {
    const { content } = event;
    const text = typeof content === 'string' ? content : JSON.stringify(content ?? event);
    const serial = (state.notes.at(-1)?.serial ?? 0) + 1;
    const note = { serial, after: lastKey(state), type: String(event.type ?? 'event'), text };
    return { ...state, notes: [...state.notes.slice(1 - NOTES_KEPT), note], outside: '' };
}

// ---- the parts of a state ------------------------------------------------------------

/** @param {ThreadState} state @param {Run} run @returns {ThreadState} */
function putRun(state, run) {
    const runs = /** @type {Runs} */ (state.runs);
    const before = runs.get(run.runId);
    const moved = before?.messageId !== run.messageId || before.parentId !== run.parentId;
    return {
        ...state,
        runs: runs.with(run),
        // what appears now stands behind the bubble, and text goes on behind that
        outside: before ? state.outside : '',
        shape: moved ? {} : state.shape,
    };
}

/** @param {ThreadEvent} event @returns {Position | null} null: it cannot have been here */
function positionOf({ id }) {
    const at = typeof id === 'string' ? id.lastIndexOf('-') : -1;
    const n = at > 0 ? Number(id?.slice(at + 1)) : NaN;
    return Number.isSafeInteger(n) ? { epoch: String(id?.slice(0, at)), n } : null;
}

/** @param {readonly Position[]} positions @param {Position} position */
function wasHere(positions, { epoch, n }) {
    return positions.some((known) => known.epoch === epoch && n <= known.n);
}

/** @param {readonly Position[]} positions @param {Position} position */
function advanced(positions, position) {
    const others = positions.filter(({ epoch }) => epoch !== position.epoch);
    return [position, ...others.slice(0, EPOCHS_KEPT - 1)];
}
