// Numbers and states in words, said the same way everywhere in the page.

/** @typedef {import('./client/state.js').Run} Run */
/** @typedef {import('./client/state.js').Item} Item */

/** @param {number} ms @returns {string} */
export function formatMs(ms) {
    if (ms < 0) return `−${formatMs(-ms)}`;
    return ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** @param {number} bytes */
export function formatBytes(bytes) {
    if (bytes < 1024) return `${bytes} B`;
    return bytes < 1024 * 1024
        ? `${(bytes / 1024).toFixed(1)} KB`
        : `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

/** @type {Record<string, string>} */
const STATUS_WORDS = {
    queued: 'Queued',
    started: 'Started',
    rewind: 'Starting over',
    thinking: 'Thinking',
    working: 'Working',
    typing: 'Writing',
    cancelled: 'Stopping',
    outside: '',
};

/** @param {Run} run @param {boolean} stopping */
export function statusOf(run, stopping) {
    if (stopping) return 'Stopping…';
    if (run.stalled) return 'Its worker is silent; another one takes over soon';
    if (!run.joined && run.attempt > 0) return 'Answering; the text follows at the end';
    return `${STATUS_WORDS[run.status] ?? run.status}…`;
}

/** @param {Item} item */
export function endOf({ run, outcome }) {
    if (run?.status === 'outside') return 'from outside';
    switch (outcome?.kind) {
        case 'cancelled':
            return 'Stopped';
        case 'error':
            return 'Failed';
        default:
            return outcome?.reason === 'length' ? 'Cut at its length limit' : '';
    }
}
