// An application as somebody would write it with useThread, for react.test.mjs: what it shows
// is read there. Strict mode mounts everything twice.

import { createElement as h, StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { useThread } from 'threadcast/react';

/** @type {any} */
const page = globalThis;
page.renders = 0;

function getToken() {
    return fetch('/token').then((answer) => answer.text());
}

/** @param {{ item: any, retry: (id?: string) => void }} props */
function Message({ item, retry }) {
    return h('article', { className: `from-${item.role}`, 'data-status': item.status, 'aria-label': item.label || 'You' },
        item.reasoning && h('p', { className: 'reasoning' }, item.reasoning),
        item.tools.map((/** @type {any} */ tool, /** @type {number} */ i) => h('p', { key: i, className: 'tool' }, tool.name)),
        h('p', { className: 'text' }, item.text),
        item.outcome?.kind === 'error' && h('button', { onClick: () => retry(item.run?.runId ?? item.key) }, 'Try again'));
}

/** @param {{ thread: string }} props */
function Conversation({ thread }) {
    const used = useThread(thread, { url: page.bridge, getToken, onEvent: (event) => (page.lastEvent = event) });
    const { turns, state, detail, progress, activeAgents, runs } = used;
    const [text, setText] = useState('');
    page.used = used;
    page.renders++;
    return h('section', { 'aria-label': 'Conversation' },
        h('p', { role: 'status', id: 'state', 'data-state': state }, `${state} ${detail.message}`),
        h('p', { id: 'progress' }, progress ? `${Math.round(progress.percentage ?? 0)} %` : 'none'),
        h('p', { id: 'agents' }, [...activeAgents].join(', ')),
        h('div', { role: 'log', 'aria-label': 'Messages', 'aria-live': 'off' },
            turns.map(({ key, prompt, answers }) => h('div', { key, className: 'turn' },
                prompt && h(Message, { item: prompt, retry: used.retry }),
                answers.map((item) => h(Message, { key: item.key, item, retry: used.retry }))))),
        h('form', {
            onSubmit: (/** @type {Event} */ event) => {
                event.preventDefault();
                used.send(text);
                setText('');
            },
        },
        h('label', null, 'Prompt ', h('input', { value: text, onChange: (/** @type {any} */ event) => setText(event.target.value) })),
        h('button', { type: 'submit' }, 'Send'),
        runs.length > 0 && h('button', { type: 'button', onClick: () => used.stop() }, 'Stop')));
}

function App() {
    const [thread, setThread] = useState(new URLSearchParams(location.search).get('thread') ?? '');
    page.show = setThread;
    return h('main', null, h('h1', null, 'Threads'), thread && h(Conversation, { thread }));
}

createRoot(/** @type {Element} */ (document.getElementById('root'))).render(h(StrictMode, null, h(App)));
