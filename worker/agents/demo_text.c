/* demo_text: pure functions of the prompt. */
#include "worker/agents/demo_text.h"

#include "common/utf8.h"

#include <stdint.h>
#include <string.h>

enum { QUOTE_MAX = 160, TABLE_MAX = 10, PIECES = 330, REVERSE_MAX = 16 };

/* --- reading ---------------------------------------------------------------------- */

static uint32_t code_of(const char *s, size_t len)
{
    const unsigned char *u = (const unsigned char *)s;

    if (len == 1)
        return u[0];
    if (len == 2)
        return (u[0] & 0x1fu) << 6 | (u[1] & 0x3fu);
    if (len == 3)
        return (u[0] & 0xfu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu);
    return (u[0] & 7u) << 18 | (u[1] & 0x3fu) << 12 | (u[2] & 0x3fu) << 6 |
           (u[3] & 0x3fu);
}

static size_t step(const char *s, size_t left)
{
    size_t n = utf8_length((const unsigned char *)s, left);

    return n ? n : 1;
}

static void note_script(struct demo_facts *f, uint32_t c)
{
    f->latin |=
        (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= 0xc0 && c < 0x250);
    f->greek |= c >= 0x370 && c < 0x400;
    f->cyrillic |= c >= 0x400 && c < 0x530;
    f->hebrew |= c >= 0x590 && c < 0x600;
    f->arabic |= c >= 0x600 && c < 0x700;
    f->devanagari |= c >= 0x900 && c < 0x980;
    f->cjk |= (c >= 0x3040 && c < 0xa000) || (c >= 0xac00 && c < 0xd7a4);
    f->emoji |= (c >= 0x1f000 && c < 0x20000) || (c >= 0x2600 && c < 0x27c0);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool contains_any(const char *s, size_t len, const char *const *words)
{
    for (; *words; words++)
        if (memmem(s, len, *words, strlen(*words)))
            return true;
    return false;
}

void demo_look(const char *s, size_t len, struct demo_facts *f)
{
    static const char *const german[] = {"ß",     "ä",     "ö",     "ü",     " ist ",
                                         "Was ",  "Wie ",  "Wer ",  " der ", " die ",
                                         " das ", " und ", "Bitte", "Hallo", NULL};
    bool inside = false;

    *f = (struct demo_facts){.bytes = len};
    for (size_t i = 0, n; i < len; i += n) {
        n = step(s + i, len - i);
        f->characters++;
        note_script(f, code_of(s + i, n));
        f->words += !is_space(s[i]) && !inside;
        inside = !is_space(s[i]);
        f->sentences += s[i] == '.' || s[i] == '!' || s[i] == '?';
    }
    if (f->sentences == 0 && f->words > 0)
        f->sentences = 1;
    f->german = contains_any(s, len, german);
}

void demo_scripts(const struct demo_facts *f, struct buf *out)
{
    const struct {
        bool there;
        const char *name;
    } all[] = {{f->latin, "Latin"},       {f->greek, "Greek"},
               {f->cyrillic, "Cyrillic"}, {f->arabic, "Arabic"},
               {f->hebrew, "Hebrew"},     {f->devanagari, "Devanagari"},
               {f->cjk, "CJK"},           {f->emoji, "Emoji 🎈"}};
    size_t before = out->len;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (!all[i].there)
            continue;
        buf_str(out, out->len > before ? ", " : "");
        buf_str(out, all[i].name);
    }
    if (out->len == before)
        buf_str(out, "—");
}

/* --- the one thing it knows ------------------------------------------------------- */

struct country {
    const char *names[4], *capitals[4]; /* de en fr es */
    const char *flag;
};

static const struct country countries[] = {
    {{"Österreich", "Austria", "Autriche", "Austria"},
     {"Wien", "Vienna", "Vienne", "Viena"},
     "🇦🇹"},
    {{"Deutschland", "Germany", "Allemagne", "Alemania"},
     {"Berlin", "Berlin", "Berlin", "Berlín"},
     "🇩🇪"},
    {{"Schweiz", "Switzerland", "Suisse", "Suiza"},
     {"Bern", "Bern", "Berne", "Berna"},
     "🇨🇭"},
    {{"Frankreich", "France", "France", "Francia"},
     {"Paris", "Paris", "Paris", "París"},
     "🇫🇷"},
    {{"Italien", "Italy", "Italie", "Italia"}, {"Rom", "Rome", "Rome", "Roma"}, "🇮🇹"},
    {{"Spanien", "Spain", "Espagne", "España"},
     {"Madrid", "Madrid", "Madrid", "Madrid"},
     "🇪🇸"},
    {{"Portugal", "Portugal", "Portugal", "Portugal"},
     {"Lissabon", "Lisbon", "Lisbonne", "Lisboa"},
     "🇵🇹"},
    {{"Polen", "Poland", "Pologne", "Polonia"},
     {"Warschau", "Warsaw", "Varsovie", "Varsovia"},
     "🇵🇱"},
    {{"Japan", "Japan", "Japon", "Japón"}, {"Tokio", "Tokyo", "Tokyo", "Tokio"}, "🇯🇵"},
    {{"Australien", "Australia", "Australie", "Australia"},
     {"Canberra", "Canberra", "Canberra", "Canberra"},
     "🇦🇺"},
};

enum language { GERMAN, ENGLISH, FRENCH, SPANISH, LANGUAGES };

static const char *const capital_words[LANGUAGES][4] = {
    {"Hauptstadt", "hauptstadt", NULL},
    {"capital of", "capital city", "Capital of", NULL},
    {"capitale", "Capitale", NULL},
    {"capital de", "Capital de", NULL},
};

/* Appends the answer when the prompt asks for a capital that it knows. */
static void add_capital(const char *s, size_t len, struct buf *out)
{
    static const char *const head[LANGUAGES] = {"Die Hauptstadt von ", "The capital of ",
                                                "La capitale du pays « ",
                                                "La capital de "};
    static const char *const middle[LANGUAGES] = {" ist **", " is **", " » est **",
                                                  " es **"};
    for (int l = 0; l < LANGUAGES; l++) {
        if (!contains_any(s, len, capital_words[l]))
            continue;
        for (size_t i = 0; i < sizeof(countries) / sizeof(countries[0]); i++) {
            const struct country *c = &countries[i];
            if (!memmem(s, len, c->names[l], strlen(c->names[l])))
                continue;
            buf_str(out, l == GERMAN && strcmp(c->names[l], "Schweiz") == 0
                             ? "Die Hauptstadt der "
                             : head[l]);
            buf_printf(out, "%s%s%s** %s.\n\n", c->names[l], middle[l], c->capitals[l],
                       c->flag);
            return;
        }
    }
}

/* --- writing ---------------------------------------------------------------------- */

static size_t characters(const char *s, size_t len)
{
    size_t count = 0;

    for (size_t i = 0; i < len; i += step(s + i, len - i))
        count++;
    return count;
}

static size_t prefix(const char *s, size_t len, size_t max_characters)
{
    size_t i = 0;

    for (size_t n = 0; i < len && n < max_characters; n++)
        i += step(s + i, len - i);
    return i;
}

static void add_quote(struct buf *out, const char *s, size_t len)
{
    size_t n = prefix(s, len, QUOTE_MAX);

    buf_str(out, "> ");
    for (size_t i = 0; i < n; i++)
        buf_char(out, is_space(s[i]) ? ' ' : s[i]);
    buf_str(out, n < len ? "…\n\n" : "\n\n");
}

static void add_reversed(struct buf *out, const char *s, size_t len)
{
    size_t starts[REVERSE_MAX], count = 0;

    for (size_t i = 0; i < len && count < REVERSE_MAX; i += step(s + i, len - i))
        starts[count++] = i;
    for (size_t k = count; k-- > 0;)
        buf_add(out, s + starts[k], step(s + starts[k], len - starts[k]));
}

/* One line a word, until there are enough. */
static void add_words(struct buf *out, const char *s, size_t len, bool german)
{
    size_t shown = 0;

    for (size_t i = 0; i < len && shown < TABLE_MAX;) {
        size_t from;
        while (i < len && is_space(s[i]))
            i++;
        from = i;
        while (i < len && !is_space(s[i]))
            i++;
        if (i == from)
            break;
        buf_printf(out, "%zu. `", ++shown);
        buf_add(out, s + from, prefix(s + from, i - from, REVERSE_MAX));
        buf_printf(out,
                   german ? "`, %zu Zeichen, rückwärts `"
                          : "`, %zu characters, backwards `",
                   characters(s + from, i - from));
        add_reversed(out, s + from, i - from);
        buf_str(out, "`\n");
    }
    buf_char(out, '\n');
}

static void add_code(struct buf *out, const char *s, size_t len,
                     const struct demo_facts *f)
{
    buf_str(out, "```json\n{\n  \"prompt\": ");
    buf_json(out, s, prefix(s, len, QUOTE_MAX));
    buf_printf(out,
               ",\n  \"words\": %zu,\n  \"characters\": %zu,\n  \"bytes\": %zu\n}\n"
               "```\n\n",
               f->words, f->characters, f->bytes);
}

static void add_german(struct buf *out, const char *s, size_t len,
                       const struct demo_facts *f)
{
    buf_str(out, "Ich bin der eingebaute **Demo-Agent** von Threadcast, kein "
                 "Sprachmodell: ich denke nicht, ich zähle nur. Gefragt wurde:\n\n");
    add_quote(out, s, len);
    buf_printf(out,
               "Das sind **%zu %s** in %zu %s, %zu Zeichen und %zu Bytes in UTF-8. "
               "Schriften: ",
               f->words, f->words == 1 ? "Wort" : "Wörter", f->sentences,
               f->sentences == 1 ? "Satz" : "Sätzen", f->characters, f->bytes);
    demo_scripts(f, out);
    buf_str(out, ".\n\nWort für Wort:\n\n");
    add_words(out, s, len, true);
    buf_str(out, "Dasselbe für Programme:\n\n");
    add_code(out, s, len, f);
    buf_str(out,
            "Jedes Stück dieses Textes kam einzeln an: vom Worker über Redis und die "
            "Bridge bis in diese Seite, und am Ende steht genau dieser Text in Postgres. "
            "Zur Probe etwas, das leicht kaputtgeht: Grüße auf Griechisch (Γειά σου), "
            "Russisch (Привет), Arabisch (مرحبا), Hindi (नमस्ते), Japanisch (こんにちは) "
            "und als Emoji 👩‍🚀🎉. Wer die Verbindung jetzt trennt, bekommt den "
            "Rest "
            "trotzdem, und nichts davon doppelt.\n");
}

static void add_english(struct buf *out, const char *s, size_t len,
                        const struct demo_facts *f)
{
    buf_str(out, "I am the **demo agent** that comes with Threadcast, not a model: I "
                 "don't think, I only count. You asked:\n\n");
    add_quote(out, s, len);
    buf_printf(out,
               "That is **%zu %s** in %zu %s, %zu characters and %zu bytes of UTF-8. "
               "Scripts: ",
               f->words, f->words == 1 ? "word" : "words", f->sentences,
               f->sentences == 1 ? "sentence" : "sentences", f->characters, f->bytes);
    demo_scripts(f, out);
    buf_str(out, ".\n\nWord by word:\n\n");
    add_words(out, s, len, false);
    buf_str(out, "The same for programs:\n\n");
    add_code(out, s, len, f);
    buf_str(
        out,
        "Each piece of this text came by itself: from the worker through Redis and "
        "the bridge into this page, and in the end Postgres holds exactly this text. "
        "Here is something that breaks easily: greetings in Greek (Γειά σου), "
        "Russian (Привет), Arabic (مرحبا), Hindi (नमस्ते), Japanese (こんにちは) and "
        "as emoji 👩‍🚀🎉. Cut the connection now and the rest arrives all the "
        "same, "
        "none of it twice.\n");
}

void demo_answer(const char *s, size_t len, const struct demo_facts *f, struct buf *out)
{
    add_capital(s, len, out);
    if (f->german)
        add_german(out, s, len, f);
    else
        add_english(out, s, len, f);
}

const char *demo_thought(const struct demo_facts *f, int which)
{
    static const char *const german[] = {
        "Zuerst lese ich die Frage ",
        "und sehe nach, in welcher Sprache sie gestellt ist. ",
        "Die Zahlen stimmen; jetzt noch Wort für Wort. ",
    };
    static const char *const english[] = {
        "First I read the question ",
        "and see in which language it was put. ",
        "The numbers agree; now word by word. ",
    };

    return f->german ? german[which] : english[which];
}

size_t demo_piece(const char *at, size_t left, size_t total, size_t index)
{
    /* two sizes in turn, so that the number of pieces comes near, whatever the total */
    size_t whole = total / PIECES, rest = total % PIECES;
    size_t wanted = whole + ((index * rest) % PIECES + rest >= PIECES);

    return prefix(at, left, wanted > 0 ? wanted : 1);
}
