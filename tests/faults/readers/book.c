/* book: see the header. Things are made and kept until the farm ends. */
#include "tests/faults/readers/book.h"

#include "tests/faults/readers/mem.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

static void thread_free(void *thing)
{
    struct thread *t = thing;

    free(t->announced);
    free(t->firm);
    free(t);
}

void book_fini(struct book *b)
{
    names_fini(&b->threads, thread_free);
    names_fini(&b->tags, NULL);
    names_fini(&b->words, free);
    names_fini(&b->runs, free);
}

struct thread *book_thread(struct book *b, const char *id, size_t len, bool make)
{
    struct thread *t = names_get(&b->threads, id, len);

    if (t || !make)
        return t;
    t = mem_zero(sizeof(*t));
    t->id = names_add(&b->threads, id, len, t);
    return t;
}

struct run *book_run(struct book *b, struct thread *thread, const char *id, size_t len)
{
    struct run *r = names_get(&b->runs, id, len);

    if (r)
        return r;
    r = mem_zero(sizeof(*r));
    r->id = names_add(&b->runs, id, len, r);
    r->thread = thread;
    r->pieces = -1;
    r->key = story_key(b->seed, thread->id, r->id);
    story_tag(r->key, r->tag);
    if (!names_get(&b->tags, r->tag, strlen(r->tag)))
        names_add(&b->tags, r->tag, strlen(r->tag), r);
    return r;
}

struct run *book_run_of_tag(const struct book *b, const char *tag)
{
    return names_get(&b->tags, tag, strlen(tag));
}

const char *book_word(struct book *b, const char *text)
{
    char *word = names_get(&b->words, text, strlen(text));

    if (!word) {
        word = mem_some(strdup(text));
        names_add(&b->words, text, strlen(text), word);
    }
    return word;
}

void run_announce(struct run *r, int64_t pieces, int64_t now_ms)
{
    struct thread *t = r->thread;

    if (pieces >= 0)
        r->pieces = pieces;
    if (r->announced)
        return;
    r->announced = true;
    r->announced_ms = now_ms;
    if (t->announced_count == t->announced_size) {
        t->announced_size = t->announced_size ? t->announced_size * 2 : 4;
        t->announced = mem_more(t->announced, t->announced_size, sizeof(*t->announced));
    }
    t->announced[t->announced_count++] = r;
}

/* --- text ------------------------------------------------------------------------- */

static void hash_story(struct run *r, uint32_t attempt, uint64_t bytes, char *hex)
{
    EVP_MD_CTX *ctx = mem_some(EVP_MD_CTX_new());
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    for (uint32_t n = 1; bytes > 0; n++) {
        char text[STORY_PIECE_MAX];
        size_t part = story_piece(r->key, attempt, n, text);
        if (part > bytes)
            part = (size_t)bytes;
        EVP_DigestUpdate(ctx, text, part);
        bytes -= part;
    }
    EVP_DigestFinal_ex(ctx, digest, &len);
    EVP_MD_CTX_free(ctx);
    for (unsigned i = 0; i < len; i++)
        snprintf(hex + (size_t)i * 2, 3, "%02x", digest[i]);
}

const char *run_sha256(struct run *r, uint32_t attempt, uint64_t bytes)
{
    if (!r->memo.sha256[0] || r->memo.attempt != attempt || r->memo.bytes != bytes) {
        hash_story(r, attempt, bytes, r->memo.sha256);
        r->memo.attempt = attempt;
        r->memo.bytes = bytes;
    }
    return r->memo.sha256;
}

/* --- ids that no merging swallows ------------------------------------------------- */

static struct event_id *firm_slot(const struct thread *t, size_t i)
{
    return &t->firm[(t->firm_at + FIRM_MAX - t->firm_count + i) % FIRM_MAX];
}

void thread_saw_firm(struct thread *t, struct event_id id)
{
    if (t->firm_count && id_cmp(*firm_slot(t, t->firm_count - 1), id) >= 0)
        return;
    if (!t->firm)
        t->firm = mem_zero(FIRM_MAX * sizeof(*t->firm));
    t->firm[t->firm_at] = id;
    t->firm_at = (t->firm_at + 1) % FIRM_MAX;
    if (t->firm_count < FIRM_MAX)
        t->firm_count++;
}

bool thread_firm_between(const struct thread *t, struct event_id after,
                         struct event_id before, struct event_id *ret_id)
{
    size_t low = 0, high = t->firm_count;

    while (low < high) { /* the first one behind `after` */
        size_t middle = (low + high) / 2;
        if (id_cmp(*firm_slot(t, middle), after) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == t->firm_count || id_cmp(*firm_slot(t, low), before) >= 0)
        return false;
    *ret_id = *firm_slot(t, low);
    return true;
}
