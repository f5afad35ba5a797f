// Next.js in front of Threadcast (tried with `next dev`); the bridge runs with
// `--public-origin http://localhost:3000`. tests/e2e/devservers.test.mjs runs with this file.

export default {
    rewrites: async () => [{ source: '/v1/:path*', destination: 'http://127.0.0.1:8080/v1/:path*' }],
};
