// A web server for a page of somebody else, on an origin of its own: files and what is made up
// for them. React comes as npm has it, CommonJS: each file is wrapped into a module, so that an
// import map is all that a page needs.

import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after } from 'node:test';

const require = createRequire(import.meta.url);

const TYPES = /** @type {Record<string, string>} */ ({
    '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8',
    '.mjs': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.json': 'application/json',
});

/** @typedef {(request: http.IncomingMessage, url: URL) => string | object | Promise<string | object>} Answer */

export class Web {
    /** @type {Map<string, Answer>} */
    #routes = new Map();
    port = 0;

    /** @param {string} root its files */
    constructor(root) {
        this.root = root;
        this.server = http.createServer((request, response) => {
            this.#answer(request, response).catch((error) => response.writeHead(500).end(String(error.stack)));
        });
    }

    /** @param {string} root */
    static async start(root) {
        const web = new Web(root);
        await new Promise((resolve) => web.server.listen(0, '127.0.0.1', () => resolve(undefined)));
        web.port = /** @type {import('node:net').AddressInfo} */ (web.server.address()).port;
        after(() => {
            web.server.close();
            web.server.closeAllConnections();
        });
        return web;
    }

    get origin() {
        return `http://127.0.0.1:${this.port}`;
    }

    /** @param {string} to @param {Answer} answer a string is served by the name's kind, the rest as JSON */
    on(to, answer) {
        this.#routes.set(to, answer);
        return this;
    }

    /** @param {http.IncomingMessage} request @param {http.ServerResponse} response */
    async #answer(request, response) {
        const url = new URL(request.url ?? '/', this.origin);
        const route = this.#routes.get(url.pathname);
        const file = path.join(this.root, path.normalize(url.pathname));
        if (!route && !fs.existsSync(file)) return response.writeHead(url.pathname === '/favicon.ico' ? 204 : 404).end();
        const body = route ? await route(request, url) : fs.readFileSync(file, 'utf8');
        const type = typeof body === 'string' ? TYPES[path.extname(url.pathname) || '.html'] : TYPES['.json'];
        return response.writeHead(200, { 'Content-Type': type }).end(typeof body === 'string' ? body : JSON.stringify(body));
    }
}

/** what React is made of: name → file, and what that asks for */
const REACT = /** @type {Record<string, [string, string[]]>} */ ({
    react: ['react/cjs/react.development.js', []],
    scheduler: ['scheduler/cjs/scheduler.development.js', []],
    'react-dom': ['react-dom/cjs/react-dom.development.js', ['react']],
    'react-dom/client': ['react-dom/cjs/react-dom-client.development.js', ['react', 'react-dom', 'scheduler']],
});

/** React's development build as modules; answers an import map's entries. @param {Web} web */
export function serveReact(web) {
    const imports = /** @type {Record<string, string>} */ ({});
    for (const [name, [file, needs]] of Object.entries(REACT)) {
        imports[name] = `/npm/${name}.js`;
        web.on(imports[name], () => asModule(name, file, needs));
    }
    return imports;
}

/** @param {string} name @param {string} file @param {string[]} needs */
function asModule(name, file, needs) {
    const source = fs.readFileSync(path.join(path.dirname(require.resolve(`${file.split('/')[0]}/package.json`)),
                                             file.split('/').slice(1).join('/')), 'utf8');
    const names = Object.keys(require(name)).filter((key) => key !== 'default');
    return [
        ...needs.map((need, i) => `import need${i} from '${need}';`),
        `const process = { env: { NODE_ENV: 'development' } }, module = { exports: {} }, { exports } = module;`,
        `const require = (name) => ({ ${needs.map((need, i) => `'${need}': need${i}`).join(', ')} })[name];`,
        source,
        `export default module.exports;`,
        `export const { ${names.join(', ')} } = module.exports;`,
    ].join('\n');
}
