/* nearest: the edit distance behind "did you mean". Only for messages to people. */
#include "common/nearest.h"

#include <stdbool.h>
#include <string.h>

enum { NEAREST_MAX = 64 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t nearest_distance(const char *a, const char *b)
{
    size_t rows[3][NEAREST_MAX + 1], a_len = strlen(a), b_len = strlen(b);
    size_t *before = rows[0], *last = rows[1], *now = rows[2], *swap;

    if (a_len > NEAREST_MAX || b_len > NEAREST_MAX)
        return NEAREST_FAR;
    for (size_t j = 0; j <= b_len; j++)
        last[j] = before[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            bool same = a[i - 1] == b[j - 1];
            now[j] = least(last[j - 1] + !same, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        swap = before;
        before = last;
        last = now;
        now = swap;
    }
    return last[b_len];
}

void nearest_offer(struct nearest *n, const char *candidate)
{
    size_t distance = nearest_distance(n->name, candidate);

    if (distance > 1 + strlen(n->name) / 4)
        return;
    if (n->best && distance >= n->distance)
        return;
    n->best = candidate;
    n->distance = distance;
}
