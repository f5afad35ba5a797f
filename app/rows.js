// What is shown beside and behind what: items become rows. A prompt and a note have one
// each; the answers to one prompt share one, side by side, a place for each agent. Several
// answers of the same agent (somebody asked it again) are versions in its place. Pure.

/**
 * @typedef {import('./client/state.js').Item} Item
 *
 * @typedef {object} Place one agent's answers to one prompt
 * @property {string} key
 * @property {Item[]} versions oldest first, never empty
 *
 * @typedef {object} Row
 * @property {string} key
 * @property {Item | null} item a prompt or a note
 * @property {Place[]} places the answers; [] for a prompt or a note
 */

/**
 * @param {readonly Item[]} items of `timeline`
 * @returns {Row[]}
 */
export function rowsOf(items) {
    /** @type {Row[]} */
    const rows = [];
    let parentBefore = '';
    for (const item of items) {
        const parent = item.role === 'assistant' ? parentOf(item) : '';
        if (item.role !== 'assistant') rows.push({ key: item.key, item, places: [] });
        else if (parent && parent === parentBefore) addAnswer(rows[rows.length - 1], item, parent);
        else
            rows.push({
                key: `answers-${parent || item.key}`,
                item: null,
                places: [placeOf(item, parent)],
            });
        parentBefore = parent;
    }
    return rows;
}

/** @param {Item} item */
function parentOf({ message, run }) {
    return message?.replyTo ?? run?.parentId ?? '';
}

/** @param {Item} item @param {string} parent @returns {Place} */
function placeOf(item, parent) {
    return { key: parent ? `${parent} ${item.label}` : item.key, versions: [item] };
}

/**
 * Agents stand in the order of their names: an answer that ends before the others must not
 * change places with them.
 * @param {Row} row
 * @param {Item} item
 * @param {string} parent
 */
function addAnswer(row, item, parent) {
    const place = placeOf(item, parent);
    const there = row.places.find(({ key }) => key === place.key);
    if (there) there.versions.push(item);
    else row.places.push(place);
    row.places.sort((a, b) => (a.key < b.key ? -1 : 1));
}
