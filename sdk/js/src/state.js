// What a conversation looks like after these events: a pure reducer, without network,
// clock or page. Feed it the history and every event of the stream, in order; show what
// `timeline` returns.
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
//
// States are never changed, always replaced, so `a === b` says "nothing to draw".

import { closeReasoning, closeSteps, withDelta } from './steps.js';

/**
 * @typedef {import('./steps.js').Step} Step
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
 */

/**
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
 * @typedef {object} Usage
 * @property {number} [inputTokens]
 * @property {number} [outputTokens]
 * @property {number} [totalTokens]
 *
 * @typedef {object} Outcome
 * @property {'done' | 'error' | 'cancelled'} kind
 * @property {string} reason `finishReason`, or the error's `code`
 * @property {string} message errors: safe to show
 *
 * @typedef {object} Run
 * @property {string} runId
 * @property {string} messageId the answer's
 * @property {string} parentId the prompt's, when known
 * @property {string} agent
 * @property {number} attempt
 * @property {boolean} joined the beginning of this attempt was seen
 * @property {string} status queued started rewind thinking working typing cancelled …
 * @property {boolean} stalled its worker has been silent for a while
 * @property {string} text
 * @property {number} tokens events that carried text
 * @property {readonly Step[]} steps
 * @property {number} rewinds
 * @property {Usage | null} usage
 * @property {Outcome | null} outcome null while it lives
 * @property {number} startedAt ts of the first event
 * @property {number} endedAt ts of the last
 *
 * @typedef {object} Note an event of no run and no known type
 * @property {number} serial
 * @property {number} after how many items stood before it
 * @property {string} type
 * @property {string} text
 *
 * @typedef {object} ThreadState
 * @property {readonly Message[]} messages the record, in its order
 * @property {ReadonlyMap<string, Run>} runs in order of appearance
 * @property {readonly Note[]} notes
 *
 * @typedef {object} Item one thing to show
 * @property {string} key
 * @property {'user' | 'assistant' | 'note'} role
 * @property {string} text
 * @property {Message | null} message when it is in the record
 * @property {Run | null} run when the stream told of it
 * @property {Outcome | null} outcome of an answer, from whoever told of it
 * @property {string} label
 */

const NOTES_KEPT = 200;

/** @returns {ThreadState} */
export function emptyThread() {
    return { messages: [], runs: new Map(), notes: [] };
}

/**
 * Adds rows of the record, those already known included.
 * @param {ThreadState} state
 * @param {readonly Message[]} rows
 * @returns {ThreadState}
 */
export function withMessages(state, rows) {
    if (!rows.length) return state;
    const byId = new Map(state.messages.map((message) => [message.id, message]));
    for (const row of rows) byId.set(row.id, row);
    const messages = [...byId.values()].sort((a, b) => a.order - b.order);
    return { ...state, messages };
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
    const runs = new Map(state.runs);
    for (const run of runs.values()) {
        if (!run.outcome)
            runs.set(run.runId, { ...run, joined: false, text: '', tokens: 0, steps: [] });
    }
    return { ...state, runs };
}

/**
 * @param {ThreadState} state
 * @param {string} runId '' when the server did not say which: all that live
 * @returns {ThreadState}
 */
export function withStalled(state, runId) {
    const runs = new Map(state.runs);
    for (const run of runs.values()) {
        const meant = runId ? run.runId === runId : !run.outcome;
        if (meant && !run.outcome) runs.set(run.runId, { ...run, stalled: true });
    }
    return { ...state, runs };
}

/**
 * @param {ThreadState} state
 * @param {ThreadEvent} event
 * @returns {ThreadState}
 */
export function applyEvent(state, event) {
    if (!isEventOfRun(event)) return applyOutside(state, event);
    const runId = String(event.runId);
    const before = state.runs.get(runId) ?? newRun(runId);
    const run = stepRun(before, event);
    return run === before ? state : putRun(state, run);
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
 * The runs that have not ended (text published without a run never ends, and is none).
 * @param {ThreadState} state
 */
export function liveRuns(state) {
    return [...state.runs.values()].filter((run) => !run.outcome && run.status !== 'outside');
}

/**
 * What to show, top to bottom: the record in its order, every answer behind the prompt it
 * belongs to, and at the end the answers nobody has recorded yet.
 * @param {ThreadState} state
 * @returns {Item[]}
 */
export function timeline(state) {
    const prompts = new Set(state.messages.filter((m) => m.role === 'user').map((m) => m.id));
    const runOf = new Map([...state.runs.values()].map((run) => [run.messageId || run.runId, run]));
    /** @type {Map<string, Item[]>} */
    const answers = new Map();
    /** @type {Item[]} */
    const roots = [];
    /** @param {Item} item @param {string | null | undefined} parent */
    const place = (item, parent) => {
        if (!parent || !prompts.has(parent)) roots.push(item);
        else answers.set(parent, [...(answers.get(parent) ?? []), item]);
    };
    for (const message of state.messages) {
        const run = runOf.get(message.id) ?? null;
        runOf.delete(message.id);
        place(itemOf(message, run), message.replyTo ?? run?.parentId);
    }
    for (const run of runOf.values()) place(itemOf(null, run), run.parentId);
    const items = roots.flatMap((item) => [item, ...(answers.get(item.message?.id ?? '') ?? [])]);
    state.notes.forEach((note, index) => {
        items.splice(Math.min(note.after + index, items.length), 0, {
            key: `note-${note.serial}`,
            role: 'note',
            text: note.text,
            message: null,
            run: null,
            outcome: null,
            label: note.type,
        });
    });
    return items;
}

/** @param {Message | null} message @param {Run | null} run @returns {Item} */
function itemOf(message, run) {
    return {
        key: message?.id || run?.messageId || run?.runId || '',
        role: message?.role === 'user' ? 'user' : 'assistant',
        text: message ? message.text : (run?.text ?? ''),
        message,
        run,
        outcome: run?.outcome ?? outcomeOf(message),
        label: message?.author || run?.agent || '',
    };
}

/** @param {Message | null} message @returns {Outcome | null} null as well when all is well */
function outcomeOf(message) {
    if (!message?.ended) return null;
    return {
        kind: message.ended === 'cancelled' ? 'cancelled' : 'error',
        reason: message.ended,
        message: message.error,
    };
}

// ---- one run -------------------------------------------------------------------------

/** @param {string} runId @returns {Run} */
function newRun(runId) {
    return {
        runId,
        messageId: '',
        parentId: '',
        agent: '',
        attempt: 0,
        joined: false,
        status: '',
        stalled: false,
        text: '',
        tokens: 0,
        steps: [],
        rewinds: 0,
        usage: null,
        outcome: null,
        startedAt: 0,
        endedAt: 0,
    };
}

/** @param {ThreadState} state @param {Run} run @returns {ThreadState} */
function putRun(state, run) {
    return { ...state, runs: new Map(state.runs).set(run.runId, run) };
}

/** @param {ThreadEvent} event */
function isEventOfRun(event) {
    return (
        typeof event.runId === 'string' &&
        event.runId !== '' &&
        ['token', 'status', 'delta', 'done', 'error'].includes(event.type)
    );
}

/**
 * @param {Run} run
 * @param {ThreadEvent} event
 * @returns {Run} the same object when the event does not count
 */
function stepRun(run, event) {
    const attempt = event.attempt ?? 1;
    if (run.outcome || attempt < run.attempt) return run;
    run = attempt > run.attempt ? forgetAttempt(run, attempt) : run;
    run = {
        ...run,
        stalled: false,
        messageId: event.messageId ?? run.messageId,
        agent: event.agentId ?? run.agent,
        startedAt: run.startedAt || (event.ts ?? 0),
    };
    switch (event.type) {
        case 'status':
            return stepStatus(run, event);
        case 'token':
            return stepToken(run, event);
        case 'delta':
            return run.joined ? stepDelta(run, event.content ?? {}) : run;
        default:
            return stepEnd(run, event);
    }
}

/** @param {Run} run @param {number} attempt @returns {Run} */
function forgetAttempt(run, attempt) {
    return { ...run, attempt, joined: false, text: '', tokens: 0, steps: [] };
}

/** @param {Run} run @param {ThreadEvent} event @returns {Run} */
function stepStatus(run, event) {
    const status = String(event.content?.status ?? event.content ?? '');
    if (status !== 'started' && status !== 'rewind') return { ...run, status };
    const rewinds = run.rewinds + (status === 'rewind' ? 1 : 0);
    return { ...forgetAttempt(run, run.attempt), joined: true, status, rewinds };
}

/** @param {Run} run @param {ThreadEvent} event @returns {Run} */
function stepToken(run, event) {
    if (!run.joined) return run;
    const text = run.text + String(event.content ?? '');
    return {
        ...run,
        text,
        tokens: run.tokens + 1,
        status: 'typing',
        steps: closeReasoning(run.steps),
    };
}

/** @param {Run} run @param {ThreadEvent} event @returns {Run} */
function stepEnd(run, event) {
    const content = event.content ?? {};
    const cancelled = content.finishReason === 'cancelled';
    /** @type {Outcome} */
    const outcome =
        event.type === 'error'
            ? {
                  kind: 'error',
                  reason: String(content.code ?? 'error'),
                  message: String(content.message ?? ''),
              }
            : {
                  kind: cancelled ? 'cancelled' : 'done',
                  reason: String(content.finishReason ?? 'stop'),
                  message: '',
              };
    return {
        ...run,
        steps: closeSteps(run.steps),
        outcome,
        usage: content.usage ?? run.usage,
        endedAt: event.ts ?? 0,
    };
}

/** @param {Run} run @param {any} content @returns {Run} */
function stepDelta(run, content) {
    if (content.kind === 'usage') return { ...run, usage: usageOf(content) };
    const status =
        content.kind === 'reasoning'
            ? 'thinking'
            : content.kind === 'tool_call'
              ? 'working'
              : run.status;
    return { ...run, status, steps: withDelta(run.steps, content) };
}

/** @param {any} content @returns {Usage} */
function usageOf({ inputTokens, outputTokens, totalTokens }) {
    return { inputTokens, outputTokens, totalTokens };
}

// ---- events of no run ------------------------------------------------------------------

/**
 * Text that somebody published without a run gets a bubble of its own; anything else is
 * noted as it is.
 * @param {ThreadState} state
 * @param {ThreadEvent} event
 * @returns {ThreadState}
 */
function applyOutside(state, event) {
    if (event.type !== 'token') return addNote(state, event);
    const last = [...state.runs.values()].at(-1);
    const goesOn =
        last && last.status === 'outside' && !last.outcome && timeline(state).at(-1)?.run === last;
    const run = goesOn
        ? last
        : {
              ...newRun(`outside-${state.runs.size}`),
              status: 'outside',
              joined: true,
              agent: event.agentId ?? '',
              startedAt: event.ts ?? 0,
          };
    return putRun(state, {
        ...run,
        text: run.text + String(event.content ?? ''),
        tokens: run.tokens + 1,
    });
}

/** @param {ThreadState} state @param {ThreadEvent} event @returns {ThreadState} */
function addNote(state, event) {
    const { content } = event;
    const text = typeof content === 'string' ? content : JSON.stringify(content ?? event);
    const after = timeline({ ...state, notes: [] }).length;
    const serial = (state.notes.at(-1)?.serial ?? 0) + 1;
    const note = { serial, after, type: String(event.type ?? 'event'), text };
    return { ...state, notes: [...state.notes.slice(1 - NOTES_KEPT), note] };
}
