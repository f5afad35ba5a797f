// Publish what an agent does, as it happens, to the readers of a Threadcast thread.

export { publish } from './outside.js';
export { Run, run, start } from './run.js';
export { AgentError, Cancelled, Conflict, Ended, EventTooLarge, Fenced, Refused, Taken,
         ThreadcastError, Unavailable, WorkerLost } from './errors.js';
