// What somebody who draws a thread gets: everything there is to show at one moment, made
// anew when something changed, with the parts that did not change as they were.

import { liveRuns, timeline, turns } from './state.js';

/**
 * @typedef {import('./state.js').Item} Item
 * @typedef {import('./state.js').Turn} Turn
 * @typedef {import('./state.js').Run} Run
 *
 * @typedef {object} Parts what it is made of
 * @property {string} threadId
 * @property {import('./state.js').ThreadState} thread
 * @property {readonly import('./thread.js').Draft[]} drafts
 * @property {import('./stream.js').State} state
 * @property {import('./stream.js').Detail} detail
 * @property {number} reconnects
 * @property {boolean} loading
 * @property {string | null} earlier
 * @property {ReadonlySet<string>} stopping
 * @property {import('./progress.js').Advance} advance
 * @property {string} error
 * @property {boolean} readOnly
 *
 * @typedef {object} Snapshot
 * @property {string} threadId
 * @property {readonly Item[]} messages the timeline, and behind it what is being sent (`status`
 *     `sending` or `failed`)
 * @property {readonly Turn[]} turns the same, each prompt with its answers
 * @property {import('./stream.js').State} state of the connection
 * @property {import('./stream.js').Detail} detail why, for programs and for people
 * @property {boolean} isConnected
 * @property {number} reconnects
 * @property {boolean} loading the history has not been read yet
 * @property {boolean} hasEarlier `loadEarlier` would find something
 * @property {readonly Run[]} runs those that are going
 * @property {ReadonlySet<string>} activeAgents who answers right now
 * @property {ReadonlySet<string>} stopping runs whose end was asked for
 * @property {import('./progress.js').Progress | null} progress the last that was said
 * @property {readonly import('./progress.js').Activity[]} activities the last 50
 * @property {string} error what was asked for last and did not work; '' when it did
 * @property {boolean} readOnly nothing can be sent with what we were given
 */

/** @param {Parts} parts @param {Snapshot} [before] @returns {Snapshot} */
export function snapshotOf(parts, before) {
    const { thread, drafts, state, advance } = parts;
    const runs = same(liveRuns(thread), before?.runs);
    const agents = new Set(runs.map(({ agent }) => agent).filter(Boolean));
    const known = before?.activeAgents;
    const unchanged = known?.size === agents.size && [...agents].every((agent) => known.has(agent));
    const waiting = drafts.map(draftItem);
    return {
        threadId: parts.threadId,
        messages: waiting.length ? [...timeline(thread), ...waiting] : timeline(thread),
        turns: waiting.length ? [...turns(thread), ...waiting.map(draftTurn)] : turns(thread),
        state,
        detail: parts.detail,
        isConnected: state === 'live' || state === 'stalled',
        reconnects: parts.reconnects,
        loading: parts.loading,
        hasEarlier: parts.earlier !== null,
        runs,
        activeAgents: unchanged ? known : agents,
        stopping: parts.stopping,
        progress: advance.progress,
        activities: advance.activities,
        error: parts.error,
        readOnly: parts.readOnly,
    };
}

/** @template T @param {readonly T[]} list @param {readonly T[]} [before] @returns {readonly T[]} */
function same(list, before) {
    return before?.length === list.length && list.every((one, i) => one === before[i]) ? before : list;
}

/** @type {WeakMap<import('./thread.js').Draft, Item>} */
const items = new WeakMap();

/** @param {import('./thread.js').Draft} draft @returns {Item} */
function draftItem(draft) {
    let item = items.get(draft);
    if (!item) {
        const { key, prompt, error } = draft;
        item = {
            key, role: 'user', text: prompt.content, label: '', parentId: '', live: false,
            status: error ? 'failed' : 'sending', reasoning: '', tools: [], steps: [], usage: null,
            message: null, run: null,
            outcome: error ? { kind: 'error', reason: 'unsent', message: error } : null,
        };
        items.set(draft, item);
    }
    return item;
}

/** @param {Item} item @returns {Turn} */
const draftTurn = (item) => ({ key: item.key, prompt: item, answers: [] });
