// What a model costs behind the worker: the time to its first token, compared with curl straight
// to the provider, and the worker's processor and memory with many streams at once. The provider
// is the tests' stand-in, so the model itself takes no time.
//
//     THREADCAST_BIN=build/release/bin node tests/bench/provider.mjs [--streams 200] [--rate 50]
//                                                                    [--seconds 20] [--firsts 60]
//
// Exit status 1: some text was not whole.

import fs from 'node:fs';
import { parseArgs } from 'node:util';
import { run, Stack, until } from '../e2e/harness.mjs';
import { certify, chunk, END, Provider } from '../e2e/lib/provider.mjs';

const { values } = parseArgs({ options: { streams: { type: 'string', default: '200' }, rate: { type: 'string', default: '50' },
                                          seconds: { type: 'string', default: '20' }, firsts: { type: 'string', default: '60' } } });
const [streams, rate, seconds, firsts] = [values.streams, values.rate, values.seconds, values.firsts].map(Number);
const tokens = rate * seconds;
const word = (/** @type {number} */ i) => `word${i} `;
const whole = Array.from({ length: tokens }, (_, i) => word(i)).join('');

/** @param {number[]} list @param {number} part */
const quantile = (list, part) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * part))];
const ms = (/** @type {number} */ n) => `${n.toFixed(1)} ms`;

/** @param {number} pid */
function usage(pid) {
    const [, , ...stat] = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '_ _ ').split(' ');
    const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
    const kib = (/** @type {string} */ name) => Number(status.match(new RegExp(`${name}:\\s+(\\d+)`))?.[1]);
    return { seconds: (Number(stat[11]) + Number(stat[12])) / 100, rss: kib('VmRSS'), peak: kib('VmHWM') };
}

const stack = await Stack.start({ workers: 0 });
const tls = await certify(stack.dir);
const provider = await new Provider(tls).start();

/** Every stream that is being written; one clock for all of them, which catches up when it was late.
 *  @type {Set<{ response: any, at: number, began: number }>} */
const writing = new Set();
let written = 0;
const clock = setInterval(() => {
    for (const stream of writing) {
        const due = Math.min(tokens, Math.floor((performance.now() - stream.began) * rate / 1000));
        for (; stream.at < due; written++) stream.response.write(chunk({ content: word(stream.at++) }));
        if (stream.at < tokens) continue;
        stream.response.end(END);
        writing.delete(stream);
    }
}, 1000 / rate);
provider.answers.set('go on', (response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    writing.add({ response, at: 0, began: performance.now() });
});

const worker = await stack.startWorker({ agent: 'openai', concurrency: streams },
                                       { OPENAI_BASE_URL: provider.url, OPENAI_CA_FILE: tls.ca });
const { pid } = worker.child;

/** The time to the first token: curl alone, then POST to browser. */
async function measureFirst() {
    const question = JSON.stringify({ stream: true, messages: [{ role: 'user', content: 'first' }] });
    // one curl, which keeps its connection, as the worker does: the first time has the handshake. All
    // of the short answer: what curl says of a POST's first byte is when it began to send
    const each = ['-sN', '--cacert', tls.ca, '-d', question, '-H', 'Content-Type: application/json', '-o', '/dev/null',
                  '-w', '%{time_total}\\n', `${provider.url}/chat/completions`];
    const asked = await run('curl', Array.from({ length: firsts + 1 }, () => ['--next', ...each]).flat().slice(1));
    const direct = asked.stdout.trim().split('\n').map((line) => Number(line) * 1000).slice(1);
    const through = [];
    for (let i = 0; i < firsts; i++) {
        const thread = await stack.thread();
        const stream = stack.threadEvents(thread, 'since=0');
        await stream.opened();
        const began = performance.now();
        await stack.post(thread, 'first');
        const token = await stream.type('token');
        through.push(token.at - began);
        stream.close();
    }
    const added = (/** @type {number} */ part) => ms(quantile(through, part) - quantile(direct, part));
    console.log(`first token, ${firsts} times: curl to the provider ${ms(quantile(direct, 0.5))} (p90 ${ms(quantile(direct, 0.9))}), ` +
        `POST to browser ${ms(quantile(through, 0.5))} (p90 ${ms(quantile(through, 0.9))}): ${added(0.5)} more (p90 ${added(0.9)})`);
}

/** Many streams at once; answers how many texts were whole. */
async function measureMany() {
    const idle = usage(pid);
    const runs = await Promise.all(Array.from({ length: streams }, async () =>
        (await stack.post(await stack.thread(), 'go on')).runId));
    await until(() => writing.size === streams, { what: 'all of them are being written' });
    const [before, began, from] = [usage(pid), performance.now(), written];
    await until(() => writing.size < streams, { timeout: (seconds + 60) * 1000, what: 'the first has ended', every: 50 });
    const [later, took] = [usage(pid), (performance.now() - began) / 1000];
    const held = (written - from) / took / streams;
    for (const id of runs) await stack.ended(id, (seconds + 60) * 1000);
    const texts = await stack.pg.query('select content, status from messages m join runs r on r.reply_id = m.id where r.id = any($1)', [runs]);
    const good = texts.filter(({ content, status }) => status === 'done' && content === whole).length;
    console.log(`${streams} streams at ${held.toFixed(1)} tokens/s for ${took.toFixed(1)} s: the worker takes ` +
        `${(100 * (later.seconds - before.seconds) / took).toFixed(1)} % of a core, ${(later.rss / 1024).toFixed(1)} MB ` +
        `(idle ${(idle.rss / 1024).toFixed(1)} MB, at most ${(later.peak / 1024).toFixed(1)} MB), ${provider.connections} connections; ` +
        `${good} of ${streams} texts whole`);
    return good;
}

let good = 0;
try {
    await measureFirst();
    good = await measureMany();
} finally {
    clearInterval(clock);
    await provider.stop();
    await stack.stop();
}
process.exit(good === streams ? 0 : 1);
