// A site of its own that shows a thread of a bridge elsewhere: nothing to install, and no token
// in the page. The site holds a token, makes a thread and a ticket that reads it for whoever
// opens the page, and sends what is asked there.
//
//     BRIDGE_URL=http://127.0.0.1:8080/ BRIDGE_TOKEN=… PORT=8000 node examples/page/server.mjs
//
// (a token: `./scripts/token --sub site`; the bridge: `--allowed-origins http://127.0.0.1:8000`)
// Who may open this page is the site's to check, before `open` and `ask`.

import fs from 'node:fs';
import http from 'node:http';

const bridge = new URL(process.env.BRIDGE_URL ?? 'http://127.0.0.1:8080/').href;
const token = process.env.BRIDGE_TOKEN ?? '';
const page = fs.readFileSync(new URL('index.html', import.meta.url));

/** @param {string} path @param {object} body */
async function ask(path, body) {
    const answer = await fetch(new URL(path, bridge), {
        method: 'POST', body: JSON.stringify(body),
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
}

/** @param {http.IncomingMessage} request */
async function bodyOf(request) {
    let text = '';
    for await (const chunk of request) {
        text += chunk;
        if (text.length > 65_536) throw new RangeError('too long');
    }
    return JSON.parse(text || '{}');
}

/** @param {http.IncomingMessage} request @returns {Promise<object>} */
async function handle(request) {
    const body = await bodyOf(request);
    if (request.url === '/ask') {
        const { runs } = await ask(`v1/threads/${encodeURIComponent(body.thread)}/messages`, { content: String(body.content) });
        return { runs };
    }
    const { id: thread } = await ask('v1/threads', {});
    const { ticket } = await ask('v1/tickets', { threads: [thread] });
    return { bridge, thread, ticket };
}

const server = http.createServer(async (request, response) => {
    if (request.method === 'GET' && request.url === '/')
        return response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(page);
    if (request.method !== 'POST' || !['/open', '/ask'].includes(request.url ?? '')) return response.writeHead(404).end();
    try {
        const answer = JSON.stringify(await handle(request));
        response.writeHead(200, { 'Content-Type': 'application/json' }).end(answer);
    } catch (error) {
        console.error(error);
        response.writeHead(502).end();
    }
});
server.listen(Number(process.env.PORT ?? 8000), '127.0.0.1', () => {
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    console.log(`listening on http://127.0.0.1:${port}/`);
});
