// What the page shows is in its address, so that a reload, a bookmark and the back button
// do what they should:   #/t/<thread>?inspector=events

/**
 * @typedef {object} Place
 * @property {string} threadId '' for a new conversation
 * @property {'' | 'events' | 'wire'} inspector
 */

/** @returns {Place} */
export function readAddress() {
    const [path, query = ''] = location.hash.split('?');
    const match = /^#\/t\/([A-Za-z0-9._-]{1,128})$/.exec(path);
    const inspector = new URLSearchParams(query).get('inspector') ?? '';
    return {
        threadId: match ? match[1] : '',
        inspector: inspector === 'events' || inspector === 'wire' ? inspector : '',
    };
}

/** @param {Place} place */
export function hashOf({ threadId, inspector }) {
    const query = inspector ? `?inspector=${inspector}` : '';
    return `#/${threadId ? `t/${encodeURIComponent(threadId)}` : ''}${query}`;
}
