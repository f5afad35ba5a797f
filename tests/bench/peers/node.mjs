// A peer: Node's http and ioredis, as the many tutorials have it, one subscriber connection
// for all. No authentication, no resume, no check of the events.
//
//   node node.mjs <port> <Redis' port>

import http from 'node:http';
import { createRequire } from 'node:module';

// where the end-to-end tests keep the modules
const require = createRequire(new URL('../../e2e/package.json', import.meta.url));
const { Redis } = require('ioredis');

const [port, redisPort] = process.argv.slice(2).map(Number);
const redis = new Redis({ port: redisPort, host: '127.0.0.1' });
/** @type {Map<string, Set<http.ServerResponse>>} */
const readers = new Map();

redis.on('message', (channel, event) => {
    const frame = `data: ${event}\n\n`;
    for (const reader of readers.get(channel) ?? []) reader.write(frame);
});

http.createServer((request, response) => {
    const channel = `thread:${(request.url ?? '').slice(1)}`;
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.flushHeaders();
    let set = readers.get(channel);
    if (!set) {
        readers.set(channel, (set = new Set()));
        redis.subscribe(channel);
    }
    set.add(response);
    response.on('close', () => {
        set.delete(response);
        if (set.size > 0 || readers.get(channel) !== set) return;
        readers.delete(channel);
        redis.unsubscribe(channel);
    });
}).listen({ port, host: '127.0.0.1', backlog: 4096 }, () => console.log('listening'));
