// One run as its events tell it: text, steps, usage, how it ended. Pure, a part of
// state.js, where the rules stand.

import { closeReasoning, closeSteps, withDelta } from './steps.js';

/**
 * @typedef {import('./state.js').ThreadEvent} ThreadEvent
 * @typedef {import('./steps.js').Step} Step
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
 * @property {string} waiting why it is queued: `thread` `workers` `retry`; '' when it is not
 * @property {boolean} stalled its worker has been silent for a while
 * @property {string} text
 * @property {number} tokens events that carried text: fewer when some were merged on the way
 * @property {readonly Step[]} steps
 * @property {number} rewinds
 * @property {Usage | null} usage
 * @property {Outcome | null} outcome null while it lives
 * @property {number} startedAt ts of the first event that is no token
 * @property {number} endedAt ts of the last
 */

/** @param {string} runId @returns {Run} */
export function newRun(runId) {
    return {
        runId,
        messageId: '',
        parentId: '',
        agent: '',
        attempt: 0,
        joined: false,
        status: '',
        waiting: '',
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

/** @param {ThreadEvent} event */
export function isEventOfRun(event) {
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
export function stepRun(run, event) {
    const attempt = event.attempt ?? 1;
    if (run.outcome || attempt < run.attempt) return run;
    run = attempt > run.attempt ? forgetAttempt(run, attempt) : run;
    run = {
        ...run,
        stalled: false,
        messageId: event.messageId ?? run.messageId,
        agent: event.agentId ?? run.agent,
        // not a token's: the moment of merged ones is that of the last
        startedAt: run.startedAt || (event.type === 'token' ? 0 : (event.ts ?? 0)),
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

/**
 * Nothing of an attempt counts until it begins (again).
 * @param {Run} run
 * @param {number} [attempt]
 * @returns {Run}
 */
export function forgetAttempt(run, attempt = run.attempt) {
    return { ...run, attempt, joined: false, text: '', tokens: 0, steps: [], usage: null };
}

/** @param {Run} run @param {ThreadEvent} event @returns {Run} */
function stepStatus(run, event) {
    const status = String(event.content?.status ?? event.content ?? '');
    if (status !== 'started' && status !== 'rewind') {
        const waiting = status === 'queued' ? String(event.content?.reason ?? '') : '';
        return { ...run, status, waiting };
    }
    const rewinds = run.rewinds + (status === 'rewind' ? 1 : 0);
    return { ...forgetAttempt(run), joined: true, status, waiting: '', rewinds };
}

/** @param {Run} run @param {ThreadEvent} event @returns {Run} */
function stepToken(run, event) {
    if (!run.joined) return run;
    return {
        ...run,
        text: run.text + String(event.content ?? ''),
        tokens: run.tokens + 1,
        status: 'typing',
        waiting: '',
        steps: closeReasoning(run.steps),
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

/** @param {Run} run @param {ThreadEvent} event @returns {Run} */
function stepEnd(run, event) {
    const content = event.content ?? {};
    return {
        ...run,
        steps: closeSteps(run.steps),
        waiting: '',
        outcome: event.type === 'error' ? failure(content) : success(content),
        usage: content.usage ?? run.usage,
        endedAt: event.ts ?? 0,
    };
}

/** @param {any} content @returns {Outcome} */
function failure({ code = 'error', message = '' }) {
    return { kind: 'error', reason: String(code), message: String(message) };
}

/** @param {any} content @returns {Outcome} */
function success({ finishReason = 'stop' }) {
    const kind = finishReason === 'cancelled' ? 'cancelled' : 'done';
    return { kind, reason: String(finishReason), message: '' };
}
