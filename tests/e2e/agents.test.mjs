// Agents in any language: one JSON object in, one JSON event a line out.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { ROOT, Stack, until } from './harness.mjs';

/** @type {Stack} */
let stack;
/** @type {string} */
let dir;

/** A program in the stack's directory; answers the agent's definition. */
function program(name, text) {
    const file = path.join(dir, name);
    fs.writeFileSync(file, text, { mode: 0o755 });
    return `${name.replace(/\W/g, '')}=exec:${file}`;
}

/** The examples that are shipped, wherever they are. @param {RegExp} pattern */
function example(pattern) {
    const found = ['examples', 'worker/agents', 'docs/examples', 'worker/examples'].flatMap((folder) => {
        const full = path.join(ROOT, folder);
        return fs.existsSync(full) ? fs.readdirSync(full, { recursive: true })
            .map((name) => path.join(full, String(name))) : [];
    }).find((name) => pattern.test(name));
    assert.ok(found, `no example ${pattern}`);
    return String(found);
}

before(async () => {
    stack = await Stack.start({ workers: 0 });
    dir = stack.dir;
    const python = example(/echo\.py$/);
    const shell = example(/echo\.sh$/);
    const agents = [
        `py=exec:${fs.statSync(python).mode & 0o111 ? python : `/usr/bin/python3 ${python}`}`,
        `sh=exec:${fs.statSync(shell).mode & 0o111 ? shell : `/bin/sh ${shell}`}`,
        program('echo', `#!/usr/bin/python3
import json, sys
job = json.load(sys.stdin)
print(json.dumps({"type": "token", "content": json.dumps(job)}), flush=True)
print(json.dumps({"type": "done", "content": {"finishReason": "stop"}}), flush=True)
`),
        program('fail', '#!/bin/sh\necho "this went wrong" >&2\nexit 3\n'),
        program('silent', '#!/bin/sh\nexit 0\n'),
        program('garbage', '#!/bin/sh\necho hello\nprintf "\\377\\376\\n"\necho "[1]"\n' +
            'echo \'{"type":"token","content":"ok"}\'\necho \'{"type":"done","content":{}}\'\n'),
        program('hang', '#!/bin/sh\ntrap "" TERM\necho \'{"type":"token","content":"waiting"}\'\n' +
            '(trap "" TERM; exec tail -f /dev/null) & echo $! > ' + path.join(dir, 'grandchild') + '\n' +
            'while :; do tail -f /dev/null & wait $!; done\n')
            .replace('exec:', 'exec:exec '), // else the shell that starts it dies of SIGTERM in its place
        program('forger', '#!/bin/sh\n' +
            'echo \'{"type":"token","content":"a","runId":"x","threadId":"other","id":"9-9","attempt":7}\'\n' +
            'echo \'{"type":"done","content":{}}\'\necho \'{"type":"token","content":"after the end"}\'\n' +
            'echo \'{"type":"done","content":{}}\'\n'),
        program('env', `#!/usr/bin/python3 -S
import json, os, sys
sys.stdin.read()
fds = sorted(os.listdir("/proc/self/fd"))
print(json.dumps({"type": "token", "content": json.dumps({"env": dict(os.environ), "fds": fds})}))
print(json.dumps({"type": "done", "content": {}}))
`),
        program('flood', `#!/usr/bin/python3
import json, sys
for i in range(3000):
    print(json.dumps({"type": "token", "content": "%04d " % i + "x" * 95}))
print(json.dumps({"type": "done", "content": {}}))
`),
        ...['out', 'err'].map((name) => program(`left${name}`, '#!/bin/sh\n' +
            `setsid yes '{"type":"token","content":"xxxx"}' ${name === 'err' ? '>&2 ' : ''}&\n` +
            `echo $! > ${path.join(dir, `left${name}.pid`)}\nsleep 0.3\nexit 0\n`)),
        program('utf8', `#!/usr/bin/python3
import json, sys, os
line = json.dumps({"type": "token", "content": "日本🇦🇹\\u2028"}, ensure_ascii=False).encode() + b"\\n"
for byte in line:
    os.write(1, bytes([byte]))
print(json.dumps({"type": "done", "content": {}}))
`),
    ];
    await stack.startWorker({ agents: agents.join(','), 'exec-kill-ms': 300, 'demo-rate': 0,
                              'max-attempts': 2 }, {},
                            { via: ['/bin/sh', '-c', 'exec 7</dev/null; exec "$@"', 'sh'] });
});

/** @param {string} agent */
async function ask(agent, content = 'hello') {
    const thread = await stack.thread();
    const receipt = await stack.post(thread, content, { agent });
    const stream = stack.threadEvents(thread, `since=${receipt.cursor}&merge=0`);
    return { thread, receipt, stream, ...receipt };
}

/** @param {string} agent */
async function answer(agent, content = 'hello') {
    const asked = await ask(agent, content);
    const end = await asked.stream.next((event) => ['done', 'error'].includes(event.json?.type), 60_000);
    const row = await stack.ended(asked.runId);
    asked.stream.close();
    return { ...asked, end: end.json, row, text: asked.stream.text(asked.runId),
             record: await stack.messageText(asked.runs[0].messageId) };
}

for (const agent of ['py', 'sh']) {
    test(`the example in ${agent} answers`, async () => {
        const { end, text, record, row } = await answer(agent, 'Hallo Welt 🌍');
        assert.equal(end.type, 'done', JSON.stringify(end));
        assert.equal(row.status, 'done');
        assert.ok(text.length > 0);
        assert.equal(record, text);
    });
}

test('stdin is one JSON object with the conversation', async () => {
    const { text, thread, runId } = await answer('echo', 'what do you get?');
    const job = JSON.parse(text);
    const flat = JSON.stringify(job);
    assert.ok(flat.includes('what do you get?'));
    assert.ok(flat.includes(thread));
    assert.ok(flat.includes(runId));
});

test('exit 1: an error with a code that is safe to show; stderr goes to the log', async () => {
    const { end, row } = await answer('fail');
    assert.equal(end.type, 'error');
    assert.match(end.content.code, /^[a-z_]+$/);
    assert.equal(typeof end.content.message, 'string');
    assert.equal(typeof end.content.retryable, 'boolean');
    assert.ok(!JSON.stringify(end).includes('went wrong'));
    assert.equal(row.status, 'failed');
    await until(() => stack.worker.output.includes('this went wrong'), { what: 'stderr in the log' });
});

test('stdout closed without an end: one end all the same', async () => {
    const { end, row } = await answer('silent');
    assert.ok(['done', 'error'].includes(end.type));
    assert.ok(['done', 'failed'].includes(row.status));
});

test('garbage between the lines does not stop a run', async () => {
    const { end, text } = await answer('garbage');
    assert.ok(end.type === 'error' || text === 'ok', JSON.stringify(end));
});

test('forged fields are not taken; after the end nothing follows', async () => {
    const { stream, runId, thread, text, end } = await answer('forger');
    assert.equal(text, 'a');
    assert.equal(end.type, 'done');
    for (const event of stream.json) {
        assert.equal(event.runId, runId);
        assert.equal(event.threadId, thread);
        assert.equal(event.attempt, 1);
    }
    assert.equal(stream.json.at(-1).type, 'done');
});

test('what a request is called follows it: answer, run, agent, event, logs', async () => {
    const id = 'req-7/aB+c=@d:1';
    const parent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const thread = await stack.thread();
    /** @param {string} agent @param {Record<string, string>} headers @param {object} [metadata] */
    const say = async (agent, headers, metadata) => {
        const posted = await stack.request('POST', `/v1/threads/${thread}/messages`, {
            headers, json: { content: 'hello', agent, mode: 'parallel', metadata } });
        assert.equal(posted.status, 202, posted.text);
        const stream = stack.events(`/v1/runs/${posted.json.runId}/events`, { headers: { 'X-Request-Id': 'a-stream' } });
        await stream.type('done');
        assert.equal(stream.headers['x-request-id'], 'a-stream');
        stream.close();
        const [message] = await stack.pg.query('select metadata from messages where id = $1', [posted.json.messageId]);
        const told = stream.text(posted.json.runId);
        return { answered: posted.headers.get('x-request-id'), first: stream.json[0].content,
                 told: told && JSON.parse(told), trace: message.metadata.trace };
    };
    const env = await say('env', { 'X-Request-Id': id, traceparent: parent });
    assert.equal(env.answered, id);
    assert.deepEqual(env.first, { status: 'started', requestId: id, traceparent: parent });
    assert.equal(env.told.env.THREADCAST_REQUEST_ID, id);
    assert.equal(env.told.env.TRACEPARENT, parent);
    assert.deepEqual(env.trace, { requestId: id, traceparent: parent });
    await stack.bridge.child.line(/client closed .*request=a-stream/);
    await stack.worker.child.line(/run started .*request="req-7\/aB\+c=@d:1/);

    const made = await say('echo', { 'X-Request-Id': 'a b"<c>', traceparent: `${parent}x` });
    assert.match(String(made.answered), /^[0-9a-f]{8}-[0-9a-f-]{27}$/, 'what is no id is replaced');
    assert.deepEqual(made.first, { status: 'started', requestId: made.answered });
    assert.equal(made.told.requestId, made.answered);
    assert.equal('traceparent' in made.told, false);

    const own = await say('env', { 'X-Request-Id': id }, { trace: { requestId: 'a "quote"', more: 1 }, other: true });
    assert.deepEqual(own.trace, { requestId: 'a "quote"', more: 1 }, "the application's own is left");
    assert.deepEqual(own.first, { status: 'started' }, 'and looked at before it is believed');
    assert.equal('THREADCAST_REQUEST_ID' in own.told.env, false);
});

test('no secret in its environment, no descriptor inherited', async () => {
    const { text } = await answer('env');
    const { env, fds } = JSON.parse(text);
    const all = JSON.stringify(env);
    assert.ok(!all.includes(stack.pg.password), all);
    for (const name of ['DATABASE_URL', 'REDIS_URL', 'JWT_SECRET']) assert.equal(env[name], undefined);
    // 3 is the directory that it reads this from
    const others = fds.filter((fd) => Number(fd) > 3);
    assert.deepEqual(others, [], 'descriptors of others');
});

test('a flood is slowed, not lost', async () => {
    const { end, text, record } = await answer('flood');
    assert.equal(end.type, 'done', JSON.stringify(end));
    assert.equal(text.length, 3000 * 100);
    assert.equal(record, text);
});

for (const name of ['out', 'err']) {
    test(`what an agent left behind floods std${name}: its run ends, the others go on`, { timeout: 60_000 }, async () => {
        const asked = await ask(`left${name}`);
        const row = await stack.ended(asked.runId, 10_000);
        assert.ok(['done', 'failed'].includes(row.status), JSON.stringify(row));
        asked.stream.close();
        const other = await answer('py');
        assert.equal(other.end.type, 'done', JSON.stringify(other.end));
        const pid = Number(fs.readFileSync(path.join(dir, `left${name}.pid`), 'utf8'));
        await until(() => {
            try {
                return fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1][0] === 'Z';
            } catch {
                return true;
            }
        }, { what: `${pid} has gone with its pipe` });
    });
}

test('characters split at every byte', async () => {
    const { text } = await answer('utf8');
    assert.equal(text, '日本🇦🇹\u2028');
});

test('cancel: SIGTERM, then SIGKILL to the whole group', async () => {
    const { runId, stream, runs } = await ask('hang');
    await stream.type('token');
    const file = path.join(dir, 'grandchild');
    const pid = await until(() => fs.existsSync(file) && Number(fs.readFileSync(file, 'utf8')), { what: 'the grandchild' });
    const cancelled = await stack.request('POST', `/v1/runs/${runId}/cancel`, { json: {} });
    assert.equal(cancelled.status, 202, cancelled.text);
    const end = await stream.type('done');
    assert.equal(end.json.content.finishReason, 'cancelled');
    assert.equal((await stack.ended(runId)).status, 'cancelled');
    assert.equal(await stack.messageText(runs[0].messageId), 'waiting', 'the partial message is kept');
    await until(() => {
        try {
            return fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1][0] === 'Z';
        } catch {
            return true;
        }
    }, { what: `the grandchild ${pid} has gone` });
    assert.match(stack.worker.output, / warn agent killed /, 'it had not obeyed');
    stream.close();
});

test('an agent that is not there is refused or fails clearly', async () => {
    const thread = await stack.thread();
    const answer = await stack.request('POST', `/v1/threads/${thread}/messages`, { json: { content: 'x', agent: 'nobody' } });
    if (answer.status === 202) {
        const row = await stack.ended(answer.json.runId);
        assert.equal(row.status, 'failed');
    } else {
        assert.equal(answer.status, 400, answer.text);
    }
});
