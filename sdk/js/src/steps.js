// What an agent did besides writing: deltas become steps. Pure, like state.js, which this
// belongs to: steps are never changed, always replaced.

/**
 * @typedef {object} Step something the agent did besides writing
 * @property {'reasoning' | 'tool' | 'step' | 'progress' | 'other'} kind
 * @property {string} name
 * @property {string} text
 * @property {string} callId tools: pairs a result with its call
 * @property {string} delta the kind of the delta that it is from: `tool_call` `milestone` …
 * @property {any} data that delta, as it came (reasoning: null)
 * @property {any} input tools: the arguments
 * @property {any} output tools: the result
 * @property {'open' | 'done' | 'failed'} state
 * @property {number | null} fraction progress, 0 to 1
 */

/**
 * @param {readonly Step[]} steps
 * @param {any} content a delta's: `kind` and its fields
 * @returns {readonly Step[]}
 */
export function withDelta(steps, content) {
    switch (content.kind) {
        case 'reasoning':
            return addReasoning(steps, words(content.text));
        case 'tool_call':
            return addCall(steps, content);
        case 'tool_result':
            return addResult(steps, content);
        default:
            return addPlain(steps, content);
    }
}

/**
 * The run has ended, and with it whatever still went on.
 * @param {readonly Step[]} steps
 * @returns {readonly Step[]}
 */
export function closeSteps(steps) {
    if (!steps.some(({ state }) => state === 'open')) return steps;
    return steps.map((step) => (step.state === 'open' ? { ...step, state: 'done' } : step));
}

/** @param {Partial<Step> & Pick<Step, 'kind'>} step @returns {Step} */
function newStep(step) {
    return {
        name: '',
        text: '',
        callId: '',
        delta: step.kind,
        data: null,
        input: undefined,
        output: undefined,
        state: 'open',
        fraction: null,
        ...step,
    };
}

/** @param {readonly Step[]} steps @param {number} at -1: the last @param {Step} step @returns {readonly Step[]} */
function replaced(steps, at, step) {
    const copy = [...steps];
    copy[at < 0 ? steps.length + at : at] = step;
    return copy;
}

/** What should be a string, from whoever wrote it. @param {any} value @returns {string} */
function words(value) {
    return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}

/** @param {readonly Step[]} steps @returns {readonly Step[]} */
export function closeReasoning(steps) {
    const last = steps.at(-1);
    if (last?.kind !== 'reasoning' || last.state !== 'open') return steps;
    return replaced(steps, -1, { ...last, state: 'done' });
}

/** @param {readonly Step[]} steps @param {string} text @returns {readonly Step[]} */
function addReasoning(steps, text) {
    const last = steps.at(-1);
    if (last?.kind === 'reasoning')
        return replaced(steps, -1, { ...last, text: last.text + text, state: 'open' });
    return [...steps, newStep({ kind: 'reasoning', name: 'Reasoning', text })];
}

/** @param {readonly Step[]} steps @param {any} content @returns {readonly Step[]} */
function addCall(steps, content) {
    return [
        ...closeReasoning(steps),
        newStep({
            kind: 'tool',
            name: words(content.name),
            callId: words(content.toolCallId),
            delta: 'tool_call',
            data: content,
            input: content.arguments,
        }),
    ];
}

/** @param {readonly Step[]} steps @param {any} content @returns {readonly Step[]} */
function addResult(steps, content) {
    const callId = words(content.toolCallId);
    const at = steps.findLastIndex(
        (step) => step.kind === 'tool' && step.callId === callId && step.state === 'open',
    );
    /** @type {Partial<Step>} */
    const end = { output: content.result, state: content.isError ? 'failed' : 'done' };
    if (at >= 0) return replaced(steps, at, { ...steps[at], ...end });
    return [...steps, newStep({ kind: 'tool', name: 'tool', callId, delta: 'tool_result', data: content, ...end })];
}

/**
 * A later word on the same thing takes the place of the earlier one.
 * @param {readonly Step[]} steps
 * @param {any} content
 * @returns {readonly Step[]}
 */
function addPlain(steps, content) {
    const step = { ...plainStep(content), delta: words(content.kind ?? 'delta'), data: content };
    const at = steps.findLastIndex(
        ({ kind, state, name }) =>
            kind === step.kind && state === 'open' && (name === step.name || kind === 'progress'),
    );
    return at >= 0 ? replaced(steps, at, step) : [...closeReasoning(steps), step];
}

/** @param {any} content @returns {Step} */
function plainStep(content) {
    switch (content.kind) {
        case 'step':
            return newStep({
                kind: 'step',
                name: words(content.name),
                text: words(content.detail),
                state:
                    content.state === 'started'
                        ? 'open'
                        : content.state === 'failed'
                          ? 'failed'
                          : 'done',
            });
        case 'milestone':
            return newStep({
                kind: 'step',
                name: words(content.title),
                text: words(content.description),
                state: 'done',
            });
        case 'progress':
            return progressStep(content);
        case 'activity':
            return newStep({
                kind: 'other',
                name: words(content.message),
                input: content.data,
                state: 'done',
            });
        default: {
            const { kind, ...rest } = content;
            return newStep({
                kind: 'other',
                name: words(kind ?? 'delta'),
                input: rest,
                state: 'done',
            });
        }
    }
}

/** @param {any} content @returns {Step} */
function progressStep({ completed, total, unit = '', message }) {
    const part = Number(completed) / Number(total);
    const fraction = Number.isFinite(part) ? Math.min(1, Math.max(0, part)) : null;
    const text =
        `${words(completed)}${total === undefined ? '' : ` of ${words(total)}`} ${words(unit)}`.trim();
    return newStep({
        kind: 'progress',
        name: message ? words(message) : 'Progress',
        text,
        fraction,
        state: fraction === 1 ? 'done' : 'open',
    });
}
