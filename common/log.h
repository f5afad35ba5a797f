/* log: one line on stderr per thing that happened to a connection, a run or a daemon,
 * never one per token. Text or JSON. The level and the format are the only globals.
 *
 *     log_info("client closed", LOG_S("thread", id), LOG_I("bytes", n));
 *
 * Lines are written with one write(2); a blocked or closed stderr drops the line and
 * counts it, and never blocks or kills the daemon. */
#ifndef THREADCAST_LOG_H
#define THREADCAST_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
    const char *key;
    const char *str; /* NULL: the field is `num` */
    int64_t num;
};

/* A function, so that an array may be given without a warning. */
static inline const char *log_text(const char *s)
{
    return s ? s : "";
}

#define LOG_S(key_, str_)                                                                \
    (struct log_field)                                                                   \
    {                                                                                    \
        .key = (key_), .str = log_text(str_)                                             \
    }
#define LOG_I(key_, num_)                                                                \
    (struct log_field)                                                                   \
    {                                                                                    \
        .key = (key_), .num = (int64_t)(num_)                                            \
    }

void log_setup(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);
uint64_t log_dropped(void); /* lines lost because stderr would not take them */

/* Borrows everything; `fields` ends with a row whose key is NULL. Control characters
 * in values are escaped, invalid UTF-8 replaced, a value is cut at 1,024 bytes. */
void log_write(enum log_level level, const char *msg, const struct log_field *fields);

#define log_at(level_, msg_, ...)                                                        \
    do {                                                                                 \
        if (log_enabled(level_))                                                         \
            log_write((level_), (msg_),                                                  \
                      (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}});        \
    } while (0)
#define log_debug(msg_, ...) log_at(LOG_LEVEL_DEBUG, msg_ __VA_OPT__(, ) __VA_ARGS__)
#define log_info(msg_, ...) log_at(LOG_LEVEL_INFO, msg_ __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(msg_, ...) log_at(LOG_LEVEL_WARN, msg_ __VA_OPT__(, ) __VA_ARGS__)
#define log_error(msg_, ...) log_at(LOG_LEVEL_ERROR, msg_ __VA_OPT__(, ) __VA_ARGS__)

#endif
