// How far the agents of a thread are and what they did lately, from its events, with or
// without a run: for a card beside the conversation. A pure reducer, like state.js.

/**
 * @typedef {object} Progress the last that was said
 * @property {number} completed
 * @property {number | null} total
 * @property {number | null} percentage
 * @property {string} unit
 * @property {string} message
 * @property {string} agent
 *
 * @typedef {object} Activity
 * @property {'activity' | 'milestone'} kind
 * @property {string} message a milestone's title
 * @property {string} description
 * @property {any} data
 * @property {string} agent
 * @property {number} ts
 *
 * @typedef {object} Advance
 * @property {Progress | null} progress
 * @property {readonly Activity[]} activities the last 50, oldest first
 */

const ACTIVITIES_KEPT = 50;

/** @type {Advance} */
export const NO_ADVANCE = Object.freeze({ progress: null, activities: Object.freeze([]) });

/**
 * @param {Advance} advance
 * @param {import('./state.js').ThreadEvent} event
 * @returns {Advance}
 */
export function advanced(advance, event) {
    if (event.type !== 'delta') return advance;
    const { kind } = event.content ?? {};
    if (kind === 'progress') return { ...advance, progress: progressOf(event) };
    if (kind !== 'activity' && kind !== 'milestone') return advance;
    const kept = advance.activities.slice(1 - ACTIVITIES_KEPT);
    return { ...advance, activities: [...kept, activityOf(event)] };
}

/** @param {import('./state.js').ThreadEvent} event @returns {Progress} */
function progressOf({ content, agentId = '' }) {
    const completed = Number(content.completed) || 0;
    const total = Number(content.total) || null;
    return {
        completed,
        total,
        percentage: total && Math.min(100, Math.max(0, (completed / total) * 100)),
        unit: words(content.unit),
        message: words(content.message),
        agent: agentId,
    };
}

/** @param {import('./state.js').ThreadEvent} event @returns {Activity} */
function activityOf({ content, agentId = '', ts = 0 }) {
    const { kind, data } = content;
    const message = words(kind === 'milestone' ? content.title : content.message);
    return { kind, message, description: words(content.description), data, agent: agentId, ts };
}

/** What should be a string, from whoever wrote it. @param {any} value */
const words = (value) => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
