// Threadcast in a browser, in Node 20, Deno or a worker:
//
//     import { connect } from 'threadcast';
//     const stream = connect('t1');
//     stream.on('token', (event) => …);
//     for await (const event of stream) …

export { connect, Refused, Stream, ThreadcastError, Unavailable } from './stream.js';
