// What to show of a state, top to bottom: the record in its order, every answer behind the
// prompt it belongs to, and at the end the answers nobody has recorded yet.
//
// Pure, and made to be asked once a frame: an item that has not changed is the same object
// as before, and so is the list. What was worked out is remembered beside the state, by its
// `shape`, which is another object whenever the order of the items may be another.

import { Runs } from './runs.js';

/**
 * @typedef {import('./state.js').ThreadState} ThreadState
 * @typedef {import('./state.js').Message} Message
 * @typedef {import('./state.js').Note} Note
 * @typedef {import('./run.js').Run} Run
 * @typedef {import('./run.js').Outcome} Outcome
 * @typedef {import('./run.js').Usage} Usage
 * @typedef {import('./steps.js').Step} Step
 *
 * @typedef {object} Item one thing to show
 * @property {string} key
 * @property {'user' | 'assistant' | 'note'} role
 * @property {string} text
 * @property {string} label who answers; notes: the event's type
 * @property {string} parentId answers: the prompt's id, '' when it is not known
 * @property {boolean} live an answer that is being made
 * @property {string} status answers: of the run while it lives, then `done` `error` `cancelled`
 * @property {string} reasoning
 * @property {readonly Step[]} tools the calls, with their results
 * @property {readonly Step[]} steps everything besides the text, those included
 * @property {Usage | null} usage
 * @property {Message | null} message when it is in the record
 * @property {Run | null} run when the stream told of it
 * @property {Outcome | null} outcome of an answer, from whoever told of it
 *
 * @typedef {object} Turn a prompt and what was answered, by one agent or several
 * @property {string} key
 * @property {Item | null} prompt null: the answers belong to none that is known
 * @property {readonly Item[]} answers
 *
 * @typedef {object} Layout
 * @property {Item[]} items without the notes
 * @property {Map<string, number>} places run id → place in `items`
 * @property {Runs} runs those that `items` shows
 * @property {Shown | null} shown
 *
 * @typedef {object} Shown what was answered last
 * @property {readonly Item[]} base
 * @property {readonly Note[]} notes
 * @property {readonly Item[]} items
 * @property {readonly Turn[] | null} turns
 */

/** @type {readonly Step[]} */
const NONE = [];

/** @type {WeakMap<object, Layout>} by the state's shape */
const layouts = new WeakMap();
/** @type {WeakMap<Message | Run, Item>} by the row, else by the run */
const made = new WeakMap();
/** @type {WeakMap<readonly Step[], { reasoning: string, tools: readonly Step[] }>} */
const told = new WeakMap();
/** @type {WeakMap<Item, Turn>} by the prompt, else by the answer */
const gathered = new WeakMap();

/**
 * @param {ThreadState} state
 * @returns {readonly Item[]}
 */
export function timeline(state) {
    return shownOf(state).items;
}

/**
 * The timeline, each prompt with its answers.
 * @param {ThreadState} state
 * @returns {readonly Turn[]}
 */
export function turns(state) {
    const shown = shownOf(state);
    shown.turns ??= turnsOf(shown.items);
    return shown.turns;
}

/** The key of what stands last, without notes; '' when nothing does. @param {ThreadState} state */
export function lastKey(state) {
    return layoutOf(state).items.at(-1)?.key ?? '';
}

/** @param {ThreadState} state @returns {Shown} */
function shownOf(state) {
    const layout = layoutOf(state);
    const { shown, items: base } = layout;
    if (shown?.base === base && shown.notes === state.notes) return shown;
    const items = state.notes.length ? withNotes(base, state.notes) : base;
    layout.shown = { base, notes: state.notes, items, turns: null };
    return layout.shown;
}

/** @param {ThreadState} state @returns {Layout} */
function layoutOf(state) {
    const runs = /** @type {Runs} */ (state.runs);
    let layout = layouts.get(state.shape);
    if (!layout) layouts.set(state.shape, (layout = newLayout(state, runs)));
    if (layout.runs === runs) return layout;
    const items = [...layout.items];
    for (const run of runs.differing(layout.runs)) {
        const place = layout.places.get(run.runId) ?? -1;
        items[place] = itemOf(items[place].message, run);
    }
    layout.items = items;
    layout.runs = runs;
    return layout;
}

/** @param {ThreadState} state @param {Runs} runs @returns {Layout} */
function newLayout(state, runs) {
    const prompts = new Set(state.messages.filter((m) => m.role === 'user').map((m) => m.id));
    const runOf = new Map([...runs.values()].map((run) => [run.messageId || run.runId, run]));
    /** @type {Map<string, Item[]>} */
    const answers = new Map();
    /** @type {Item[]} */
    const roots = [];
    /** @param {Item} item */
    const place = (item) => {
        const list = prompts.has(item.parentId) ? answers.get(item.parentId) : roots;
        if (list) list.push(item);
        else answers.set(item.parentId, [item]);
    };
    for (const message of state.messages) {
        place(itemOf(message, runOf.get(message.id) ?? null));
        runOf.delete(message.id);
    }
    for (const run of runOf.values()) place(itemOf(null, run));
    const items = roots.flatMap((item) => [item, ...(answers.get(item.message?.id ?? '') ?? [])]);
    /** @type {Map<string, number>} */
    const places = new Map();
    items.forEach(({ run }, at) => run && places.set(run.runId, at));
    return { items, places, runs, shown: null };
}

/** @param {readonly Item[]} items @param {readonly Note[]} notes */
function withNotes(items, notes) {
    /** @type {Map<string, Item[]>} */
    const behind = new Map();
    for (const note of notes) {
        const list = behind.get(note.after);
        if (list) list.push(noteItem(note));
        else behind.set(note.after, [noteItem(note)]);
    }
    const all = [...(behind.get('') ?? [])];
    behind.delete('');
    for (const item of items) {
        all.push(item);
        const list = behind.get(item.key);
        if (!list) continue;
        all.push(...list);
        behind.delete(item.key);
    }
    return [...all, ...[...behind.values()].flat()];
}

/** @param {readonly Item[]} items @returns {Turn[]} */
function turnsOf(items) {
    /** @type {{ key: string, prompt: Item | null, answers: Item[] }[]} */
    const list = [];
    for (const item of items) {
        const last = list.at(-1);
        const asked = last?.prompt?.message?.id;
        if (item.role === 'user') list.push({ key: item.key, prompt: item, answers: [] });
        else if (last && asked && item.parentId === asked) last.answers.push(item);
        else list.push({ key: item.key, prompt: null, answers: [item] });
    }
    return list.map(knownTurn);
}

/** @param {Turn} turn @returns {Turn} */
function knownTurn(turn) {
    const first = turn.prompt ?? turn.answers[0];
    const known = gathered.get(first);
    const same =
        known?.prompt === turn.prompt &&
        known.answers.length === turn.answers.length &&
        turn.answers.every((answer, i) => answer === known.answers[i]);
    if (same) return known;
    gathered.set(first, turn);
    return turn;
}

// ---- one item ------------------------------------------------------------------------

/** @param {Message | null} message @param {Run | null} run @returns {Item} */
function itemOf(message, run) {
    const source = message ?? run;
    const known = source && made.get(source);
    if (known && known.message === message && known.run === run) return known;
    const outcome = run?.outcome ?? outcomeOf(message);
    const role = message?.role === 'user' ? 'user' : 'assistant';
    const live = Boolean(run && !run.outcome && run.status !== 'outside');
    const steps = run?.steps ?? NONE;
    /** @type {Item} */
    const item = {
        key: message?.id || run?.messageId || run?.runId || '',
        role,
        text: message ? message.text : (run?.text ?? ''),
        label: message?.author || run?.agent || '',
        parentId: message?.replyTo ?? run?.parentId ?? '',
        live,
        status: live ? (run?.status ?? '') : role === 'user' ? '' : (outcome?.kind ?? 'done'),
        steps,
        ...toldBy(steps),
        usage: run?.usage ?? null,
        message,
        run,
        outcome,
    };
    if (source) made.set(source, item);
    return item;
}

/** @param {readonly Step[]} steps */
function toldBy(steps) {
    let known = told.get(steps);
    if (!known) {
        const reasoning = steps.filter(({ kind }) => kind === 'reasoning');
        known = {
            reasoning: reasoning.map(({ text }) => text).join('\n\n'),
            tools: steps.filter(({ kind }) => kind === 'tool'),
        };
        told.set(steps, known);
    }
    return known;
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

/** @type {WeakMap<Note, Item>} */
const noted = new WeakMap();

/** @param {Note} note @returns {Item} */
function noteItem(note) {
    let item = noted.get(note);
    if (!item) {
        /** @type {Item} */
        item = {
            key: `note-${note.serial}`,
            role: 'note',
            text: note.text,
            label: note.type,
            parentId: '',
            live: false,
            status: '',
            reasoning: '',
            tools: NONE,
            steps: NONE,
            usage: null,
            message: null,
            run: null,
            outcome: null,
        };
        noted.set(note, item);
    }
    return item;
}
