/* The HTTP fuzz corpus, replayed: a file's name begins with the status that its bytes get
 * (200: a good head, 000: more is needed). */
#include "bridge/http.h"

#include "unit.h"

#include <dirent.h>

#define CORPUS THREADCAST_SOURCE_DIR "/tests/fuzz/corpus/http"

static int status_of(const char *data, size_t len)
{
    static struct http_request r;
    struct http_refusal why = {0};
    size_t scan = 0, head;

    switch (http_read(data, len, &scan, &r, &head, &why)) {
    case HTTP_MORE:
        return 0;
    case HTTP_DONE:
        return 200;
    case HTTP_REFUSED:
        return why.status;
    }
    return -1;
}

static size_t load(const char *name, char *out, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", CORPUS, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t len = fread(out, 1, size, f);
    fclose(f);
    return len;
}

static void test_corpus(void **state)
{
    DIR *d = opendir(CORPUS);
    struct dirent *entry;
    char bytes[16384];
    int seen = 0;

    (void)state;
    assert_non_null(d);
    while ((entry = readdir(d))) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
            strlen(entry->d_name) < 5 || entry->d_name[3] != '-')
            continue;
        size_t len = load(entry->d_name, bytes, sizeof bytes);
        int status = status_of(bytes, len);
        if (status != atoi(entry->d_name))
            fail_msg("%s: %d", entry->d_name, status);
        seen++;
    }
    closedir(d);
    assert_true(seen >= 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
