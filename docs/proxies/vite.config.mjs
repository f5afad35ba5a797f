// Vite's development server in front of Threadcast; the bridge runs with
// `--public-origin http://localhost:5173`. tests/e2e/devservers.test.mjs runs with this file.

/** Vite 8 keeps a page's stream open when the bridge has ended its side, and the page would
 *  wait for ever: pass the end on.
 *  @param {{ on(name: 'proxyRes', fn: (from: any, request: any, to: any) => void): void }} proxy */
const passEndsOn = (proxy) => proxy.on('proxyRes', (from, _request, to) => {
    from.on('close', () => {
        if (!to.writableEnded) to.destroy();
    });
});

export default {
    server: {
        proxy: {
            '/v1': { target: 'http://127.0.0.1:8080', changeOrigin: true, configure: passEndsOn },
        },
    },
};
