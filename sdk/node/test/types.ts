// The hand-written types say what the code does: each side is given to the other. Checked
// by tsc, never run.

import type { Redis } from 'ioredis';
import * as api from '../index.js';
import * as code from '../src/index.js';

const exported: Record<keyof typeof api, unknown> = code;
const declared: Record<keyof typeof code, unknown> = api;
const start: typeof api.start = code.start as (...args: Parameters<typeof code.start>) => Promise<any>;
const publish: typeof api.publish = code.publish;
type Said = Omit<api.Run, never>;
const run: (made: code.Run) => Said = (made) => made;

export async function examples(redis: Redis) {
    const text = await api.run(redis, 't1', { agentId: 'a' }, async (run) => {
        await run.token('x');
        return run.text;
    });
    const made: string = text;
    // @ts-expect-error a status is one of a few
    await (await api.start(redis, 't1')).status('dancing');
    return [made, exported, declared, start, publish, run];
}
