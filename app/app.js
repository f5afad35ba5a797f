// The page: which conversation is open, in which views, and what the buttons do.
//
//   app ─▶ conversation ─▶ api, client/ (stream, state), ledger, trace, clocks  (what is)
//    ├───▶ thread-view ─▶ rows, message-view ─▶ steps-view, markdown            (what is seen)
//    └───▶ inspector ─▶ virtual-list, chart, wire-tap                           (how it came)

import { hashOf, readAddress } from './address.js';
import { AgentPicker } from './agents.js';
import * as api from './api.js';
import { liveRuns, timeline } from './client/state.js';
import { Composer } from './composer.js';
import { Conversation } from './conversation.js';
import { byId, h, icon, setText } from './dom.js';
import { Inspector } from './inspector.js';
import { parseId } from './ledger.js';
import { loadMarkdown } from './markdown.js';
import { Shortcuts } from './shortcuts.js';
import { Sidebar } from './sidebar.js';
import { hasOwnConnection } from './tabs.js';
import { ThreadView } from './thread-view.js';

/** @type {api.Thread[]} */
let threads = [];
/** @type {Conversation | null} */
let first = null;
/** @type {Conversation | null} */
let second = null;
/** does this tab have a connection of its own? */
let alone = true;
/** how many answers were running when we last looked, to say so once when they end */
let running = 0;

const views = byId('views', HTMLElement);
const banner = byId('banner', HTMLElement);
const announcer = byId('announcer', HTMLElement);
const welcome = byId('welcome', HTMLElement);
const cutButton = byId('cut', HTMLButtonElement);
const secondButton = byId('second', HTMLButtonElement);
const inspectButton = byId('inspect', HTMLButtonElement);

const sidebar = new Sidebar({ onDelete: deleteThread });
const agents = new AgentPicker();
const inspector = new Inspector((tab) => {
    location.hash = hashOf({ ...readAddress(), inspector: tab });
});
const composer = new Composer({ onSend: send, onStop: () => first?.stop() });
const firstView = new ThreadView({
    label: 'Conversation',
    heading: h('header', { class: 'view-head' }, h('h2', {}, 'First view')),
    onDraw: drawChrome,
});

const sameness = h('span', { class: 'sameness' });
const joined = h('span', { class: 'joined' });
const secondView = new ThreadView({
    label: 'Second view',
    heading: h(
        'header',
        { class: 'view-head' },
        h('h2', {}, 'Second view'),
        joined,
        sameness,
        h(
            'button',
            {
                class: 'icon-button',
                type: 'button',
                'aria-label': 'Close the second view',
                onclick: toggleSecond,
            },
            icon('close'),
        ),
    ),
    onDraw: drawSameness,
});

// ---- which conversation ----------------------------------------------------------------

async function openFromAddress() {
    const { threadId, inspector: tab } = readAddress();
    const hadInspector = inspector.tab;
    inspector.open(tab);
    if (hadInspector && !tab) inspectButton.focus();
    if (threadId !== (first?.threadId ?? '')) {
        closeAll();
        tell('');
        if (threadId) await openThread(threadId);
        sidebar.close();
        composer.focus();
    }
    drawPage();
}

/** @param {string} threadId */
async function openThread(threadId) {
    const conversation = new Conversation(threadId, () => firstView.invalidate(), { alone });
    first = conversation;
    firstView.show(conversation);
    drawPage();
    await guarded(conversation.open());
    return conversation;
}

function closeAll() {
    first?.close();
    second?.close();
    first = second = null;
    running = 0;
    secondView.element.remove();
    firstView.show(null);
}

async function refreshThreads() {
    const trouble = 'The server cannot be reached yet.';
    const listed = await api.patiently(Infinity, api.listThreads, () => tell(trouble));
    if (banner.textContent === trouble) tell('');
    const known = new Set(listed.map(({ id }) => id));
    // one that was made while the answer was on its way is not in it
    threads = [...threads.filter(({ id }) => !known.has(id)), ...listed];
    drawPage();
}

// ---- what the visitor does -------------------------------------------------------------

/** @param {string} text */
async function send(text) {
    tell('');
    const conversation = first ?? (await startThread(text));
    firstView.toEnd();
    await conversation?.send(text, agents.chosen);
}

/** A conversation is made when there is something to say in it. @param {string} text */
async function startThread(text) {
    const title = Array.from(text.split('\n')[0]).slice(0, 60).join('');
    const thread = await guarded(api.createThread(title));
    if (!thread) return null;
    threads = [thread, ...threads];
    const opening = openThread(thread.id);
    location.hash = hashOf({ ...readAddress(), threadId: thread.id });
    return opening;
}

/** @param {api.Thread} thread */
async function deleteThread(thread) {
    const open = first?.threadId === thread.id;
    if (open) closeAll(); // the server would close its streams
    const gone = await guarded(api.deleteThread(thread.id).then(() => true));
    if (gone) threads = threads.filter(({ id }) => id !== thread.id);
    if (gone && open) newConversation();
    else if (open) await openThread(thread.id);
    drawPage();
}

function newConversation() {
    location.hash = hashOf({ ...readAddress(), threadId: '' });
    sidebar.close();
    composer.focus();
}

function toggleInspector() {
    const place = readAddress();
    if (place.threadId || place.inspector) {
        location.hash = hashOf({ ...place, inspector: place.inspector ? '' : 'events' });
    }
}

/** The server closes this visitor's streams; the page has to come back by itself. */
async function cut() {
    if (first) await guarded(api.cutConnection(first.threadId));
}

async function toggleSecond() {
    if (second) {
        second.close();
        second = null;
        secondView.element.remove();
        secondButton.focus();
    } else if (first) {
        second = new Conversation(first.threadId, () => secondView.invalidate(), { alone: true });
        const position = parseId(first.ledger.position);
        setText(sameness, 'catching up…');
        sameness.dataset.state = 'waiting';
        setText(joined, position ? `joined at #${position.n}` : '');
        secondView.show(second);
        views.append(secondView.element);
        await guarded(second.open());
    }
    drawPage();
}

/**
 * Says what went wrong instead of throwing it.
 * @template T
 * @param {Promise<T>} promise
 * @returns {Promise<T | undefined>}
 */
async function guarded(promise) {
    try {
        return await promise;
    } catch (error) {
        tell(error instanceof Error ? error.message : String(error));
        return undefined;
    }
}

/** @param {string} trouble '' when it is over */
function tell(trouble) {
    setText(banner, trouble);
    banner.hidden = !trouble;
}

// ---- drawing ---------------------------------------------------------------------------

function drawPage() {
    sidebar.update(threads, first?.threadId ?? '');
    welcome.hidden = Boolean(first);
    firstView.element.hidden = !first;
    views.classList.toggle('has-two', Boolean(second));
    secondButton.setAttribute('aria-pressed', String(Boolean(second)));
    const thread = threads.find(({ id }) => id === first?.threadId);
    setText(
        byId('title', HTMLElement),
        thread?.title || (first ? 'Conversation' : 'New conversation'),
    );
    document.title = thread?.title ? `${thread.title} · Threadcast` : 'Threadcast';
    inspector.show(first);
    inspectButton.disabled = !first;
    inspectButton.setAttribute('aria-pressed', String(Boolean(inspector.tab)));
    document.body.classList.toggle('has-inspector', Boolean(inspector.tab));
    firstView.invalidate();
}

/** What depends on the conversation but stands outside its panel. */
function drawChrome() {
    const live = first ? liveRuns(first.state) : [];
    composer.update({
        running: live.length,
        stopping: live.length > 0 && live.every(({ runId }) => first?.stopping.has(runId)),
    });
    cutButton.disabled = first?.link !== 'live';
    secondButton.disabled = !first || first.link === 'refused';
    announce(live.length);
    drawSameness();
}

/** Tokens are not read aloud while they arrive; beginning and end are. @param {number} live */
function announce(live) {
    if (live > running) setText(announcer, 'The answer begins.');
    if (live < running) setText(announcer, 'The answer has ended.');
    if (first?.link === 'offline') setText(announcer, 'The connection is lost.');
    running = live;
}

/** Do both views show the same? Asked whenever both have read up to the same event. */
function drawSameness() {
    if (!first || !second || first.ledger.position !== second.ledger.position) return;
    const same = sameText(first, second);
    const position = parseId(first.ledger.position);
    setText(
        sameness,
        `${same ? '✓ same text' : '≠ other text'}${position ? ` at #${position.n}` : ''}`,
    );
    sameness.dataset.state = same ? 'same' : 'different';
}

/**
 * What both show has to be the same, and what is being written has to be in both. (The rest
 * may differ: one of them may have loaded more of the history, or may have been there when
 * somebody published what nobody keeps.)
 * @param {Conversation} one
 * @param {Conversation} other
 */
function sameText(one, other) {
    const [ours, theirs] = [one, other].map(({ state }) => {
        const items = timeline(state).filter(
            ({ role, run }) => role !== 'note' && run?.status !== 'outside',
        );
        return new Map(items.map(({ key, text }) => [key, text]));
    });
    const written = [...liveRuns(one.state), ...liveRuns(other.state)].map(
        ({ messageId, runId }) => messageId || runId,
    );
    return (
        written.every((key) => ours.has(key) && theirs.has(key)) &&
        [...ours].every(([key, text]) => !theirs.has(key) || theirs.get(key) === text)
    );
}

// ---- start -----------------------------------------------------------------------------

const shortcuts = new Shortcuts([
    { key: 'Enter', words: 'Send' },
    { key: 'Shift+Enter', words: 'A new line' },
    { key: '/', words: 'To the prompt', action: () => composer.focus(true) },
    { key: 'n', words: 'New conversation', action: newConversation },
    { key: 'j', words: 'The next message', action: () => firstView.step(1) },
    { key: 'k', words: 'The message before', action: () => firstView.step(-1) },
    { key: 'e', words: 'To the end', action: () => firstView.toEnd() },
    { key: 'c', words: 'Copy the last answer', action: () => firstView.pressLast('copy') },
    { key: 'r', words: 'Ask for another answer', action: () => firstView.pressLast('retry') },
    { key: 's', words: 'Stop everything that runs', action: () => first?.stop() },
    { key: 'i', words: 'Inspector', action: toggleInspector },
    { key: '?', words: 'This list', action: () => shortcuts.open() },
]);

views.prepend(firstView.element);
firstView.element.hidden = true;
cutButton.addEventListener('click', cut);
secondButton.addEventListener('click', toggleSecond);
inspectButton.addEventListener('click', toggleInspector);
byId('keys', HTMLElement).addEventListener('click', () => shortcuts.open());
byId('new', HTMLElement).addEventListener('click', newConversation);
for (const button of welcome.querySelectorAll('button')) {
    button.addEventListener('click', () => send(button.textContent ?? ''));
}
globalThis.addEventListener('hashchange', openFromAddress);

// Everything else signs in by itself when it has to; doing it first saves a round trip.
const [markdown, own] = await Promise.all([
    loadMarkdown(),
    hasOwnConnection(),
    api.openSession().catch(() => {
        /* the next request says what is wrong */
    }),
]);
alone = own;
byId('setup', HTMLElement).hidden = markdown;
// without a list of agents there is nothing to choose: whoever answers usually is asked
api.listAgents().then(
    (offer) => agents.offer(offer),
    () => {},
);
await Promise.all([guarded(refreshThreads()), openFromAddress()]);
drawPage();
composer.focus();
