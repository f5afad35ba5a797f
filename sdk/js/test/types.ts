// How the package is used from TypeScript: compiled by unit.test.mjs against the types that tsc
// makes of the comments, never run.

import { connect, Refused, type Stream } from 'threadcast';

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
