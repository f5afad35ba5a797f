/* replay: a fuzz target without the fuzzer. Every file of the corpus, and every beginning
 * of it (of a long one some), goes through the target once; the target aborts when
 * something is wrong. Built with REPLAY_MUST_FIND it is a control, whose target is broken
 * on purpose: it fails when nothing aborts. */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED_MAX = 64 * 1024, CUTS = 400 };

#ifdef REPLAY_MUST_FIND
const char *__asan_default_options(void); // NOLINT(bugprone-reserved-identifier)
const char *__asan_default_options(void)  // NOLINT(bugprone-reserved-identifier)
{
    return "abort_on_error=1:detect_leaks=0";
}

static void on_abort(int signal)
{
    static const char found[] = "found, as it must be\n";

    (void)signal;
    _exit(write(STDOUT_FILENO, found, sizeof(found) - 1) < 0);
}
#endif

static size_t replay_file(const char *dir, const char *name)
{
    static uint8_t data[SEED_MAX];
    char path[4096];
    size_t size;
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    size = fread(data, 1, sizeof(data), f);
    fclose(f);
    fprintf(stderr, "%s\n", path); /* the last one is the one that failed */
    for (size_t cut = 0; cut < size; cut += size / CUTS + 1)
        LLVMFuzzerTestOneInput(data, cut);
    LLVMFuzzerTestOneInput(data, size);
    return 1;
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    struct dirent *entry;
    size_t files = 0;

#ifdef REPLAY_MUST_FIND
    signal(SIGABRT, on_abort);
#endif
    if (!dir) {
        fprintf(stderr, "usage: %s <corpus directory>\n", argv[0]);
        return 2;
    }
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.')
            files += replay_file(argv[1], entry->d_name);
    }
    closedir(dir);
    printf("%zu files\n", files);
#ifdef REPLAY_MUST_FIND
    return 1;
#else
    return files ? 0 : 1;
#endif
}
