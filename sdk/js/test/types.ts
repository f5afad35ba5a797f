// How the package is used from TypeScript: compiled by unit.test.mjs against the types that tsc
// makes of the comments, never run.

import { connect, Refused, type Stream } from 'threadcast';
import { ThreadcastThread } from 'threadcast/element';
import { useThread } from 'threadcast/react';
import { threadState, timeline, turns, type ThreadState } from 'threadcast/state';
import { openThread } from 'threadcast/thread';

export async function examples(): Promise<string> {
    const stream: Stream = connect(['a', 'b'], { url: 'http://b', getToken: async () => 'x', shared: true });
    const off: () => void = stream.on('token', (event, { id, thread, replayed }) => console.log(event.content, id, thread, replayed));
    stream.on('state', (state, detail) => {
        if (state === 'failed') console.log(detail.message.length, detail.retryInMs?.toFixed());
        // @ts-expect-error a state is one of a few
        if (state === 'dancing') off();
    });
    stream.on('notice', (name, data) => console.log(name === 'busy' && data.reason));
    connect({ run: 'r' });
    // @ts-expect-error somewhere to read is needed
    connect();
    // @ts-expect-error no such transport
    connect('a', { transport: 'pigeon' });
    for await (const event of stream) {
        const type: string = event.type;
        console.log(type, event.runId?.length);
    }
    return stream.error instanceof Refused ? stream.error.code : stream.lastEventId;
}

export function shown(): string[] {
    const state: ThreadState = threadState([{ type: 'token', content: 'x' }]);
    // @ts-expect-error an event has a type
    threadState([{ content: 'x' }]);
    const names: string[] = turns(state).flatMap(({ answers }) => answers.map(({ label, tools }) => label + tools.length));
    return [...names, ...timeline(state).map(({ role, text }) => (role === 'user' ? text : ''))];
}

export async function used(): Promise<number> {
    const { messages, state, detail, send, stop, progress } = useThread('t1', { url: 'http://b', onEvent: (event) => event.type });
    const receipt = await send('hello', { agents: ['a', 'b'] });
    await stop(receipt?.runs[0]?.runId);
    // @ts-expect-error text is what is sent
    send(7);
    return messages.length + state.length + detail.message.length + (progress?.completed ?? 0);
}

export function placed(element: ThreadcastThread): () => void {
    element.getToken = async () => 'x';
    element.composer = true;
    return openThread('t1', { history: false }).subscribe(() => console.log(element.snapshot?.runs.length));
}
