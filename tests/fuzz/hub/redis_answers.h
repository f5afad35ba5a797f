/* redis_answers: a command's reply, by the truth. */
#ifndef THREADCAST_FUZZ_REDIS_ANSWERS_H
#define THREADCAST_FUZZ_REDIS_ANSWERS_H

struct buf;

/* Appends RESP to `out`; with `error` that error. */
void redis_answer(char *const *argv, const char *error, struct buf *out);

#endif
