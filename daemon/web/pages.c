#include "daemon/web/pages.h"

#include "daemon/web/prose.h"
#include "daemon/web/text.h"

#define EM_SPACE "\xe2\x80\x83" /* U+2003 */

#define DECK_MAX             128
#define SECTIONS_LINKED      6 /* every page has at least as many: references lead there */
#define PARAGRAPHS_A_SECTION 3
#define SENTENCE_WORDS_MAX   50 /* with the heading before it and the first words of the footer */

/* Deals the texts of a deck (or two) in a shuffled order, over and over. */
struct dealer {
        const char *texts[DECK_MAX];
        size_t n, next;
};

struct writer {
        const struct theme *theme;
        struct text text;
        uint64_t random;
        unsigned n_sections;
        struct dealer sentences, singulars, plurals, calls, works, quantities, names, places;
};

/* xorshift64: small, and the same on every machine. */
static unsigned draw(struct writer *writer, size_t n)
{
        uint64_t x = writer->random;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        writer->random = x;
        return (unsigned)((x >> 33) % n);
}

static void shuffle(struct writer *writer, struct dealer *dealer)
{
        for (size_t i = dealer->n; i > 1; --i) {
                size_t k = draw(writer, i);
                const char *t = dealer->texts[i - 1];

                dealer->texts[i - 1] = dealer->texts[k];
                dealer->texts[k] = t;
        }
        dealer->next = 0;
}

static void dealer_add(struct writer *writer, struct dealer *dealer, const struct deck *deck)
{
        assert(dealer->n + deck->n <= DECK_MAX);
        for (size_t i = 0; i < deck->n; ++i)
                dealer->texts[dealer->n++] = deck->texts[i];
        shuffle(writer, dealer);
}

static const char *deal(struct writer *writer, struct dealer *dealer)
{
        if (dealer->next == dealer->n)
                shuffle(writer, dealer);
        return dealer->texts[dealer->next++];
}

static void writer_init(struct writer *writer, const struct theme *theme)
{
        *writer = (struct writer){
                .theme = theme,
                .text = TEXT_NULL,
                .random = theme->year * UINT64_C(0x9e3779b97f4a7c15),
        };
        dealer_add(writer, &writer->sentences, &prose_sentences);
        dealer_add(writer, &writer->sentences, &theme->sentences);
        dealer_add(writer, &writer->singulars, &theme->singulars);
        dealer_add(writer, &writer->plurals, &theme->plurals);
        dealer_add(writer, &writer->calls, &theme->calls);
        dealer_add(writer, &writer->works, &prose_works);
        dealer_add(writer, &writer->quantities, &prose_quantities);
        dealer_add(writer, &writer->names, &prose_names);
        dealer_add(writer, &writer->places, &prose_places);
}

static void put_slot(struct writer *writer, char slot)
{
        static const struct {
                size_t dealer;
                const char *before, *after;
        } slots[] = {
                ['c'] = { offsetof(struct writer, calls), "<code>", "</code>" },
                ['m'] = { offsetof(struct writer, places), "", "" },
                ['n'] = { offsetof(struct writer, names), "<b>", "</b>" },
                ['p'] = { offsetof(struct writer, plurals), "<i>", "</i>" },
                ['q'] = { offsetof(struct writer, quantities), "<strong>", "</strong>" },
                ['s'] = { offsetof(struct writer, singulars), "<i>", "</i>" },
                ['w'] = { offsetof(struct writer, works), "<em>", "</em>" },
        };
        size_t i = (unsigned char)slot;

        assert(i < ARRAY_SIZE(slots) && slots[i].before);
        text_put(&writer->text, slots[i].before);
        text_put(&writer->text, deal(writer, (void *)((char *)writer + slots[i].dealer)));
        text_put(&writer->text, slots[i].after);
}

/* "One lock for the whole house" as the name of an anchor: one-lock-for-the-whole-house. */
static void put_anchor(struct text *text, const char *heading)
{
        bool gap = false;

        for (const char *s = heading; *s; ++s) {
                char c = (char)(*s | 0x20);

                if (c < 'a' || c > 'z') {
                        gap = true;
                        continue;
                }
                if (gap)
                        text_put(text, "-");
                gap = false;
                text_put_n(text, &c, 1);
        }
}

/* A reference to a section of another page, "2017:3". */
static void put_reference(struct writer *writer)
{
        struct text *text = &writer->text;
        const struct theme *other = writer->theme;
        unsigned section = draw(writer, SECTIONS_LINKED);

        while (other == writer->theme)
                other = &themes[draw(writer, N_THEMES)];
        text_put(text, "<sup><cite><a href=\"/");
        text_put_number(text, other->year);
        text_put(text, "#");
        put_anchor(text, other->headings.texts[section]);
        text_put(text, "\">");
        text_put_number(text, other->year);
        text_put(text, ":");
        text_put_number(text, section + 1);
        text_put(text, "</a></cite></sup>");
}

static void put_sentence(struct writer *writer)
{
        const char *s = deal(writer, &writer->sentences);

        for (const char *slot; (slot = strchr(s, '{')); s = slot + strlen("{x}")) {
                text_put_n(&writer->text, s, (size_t)(slot - s));
                put_slot(writer, slot[1]);
        }
        text_put(&writer->text, s);
        put_reference(writer);
        text_put(&writer->text, "\n");
}

static void put_heading(struct writer *writer)
{
        const struct deck *headings = &writer->theme->headings;
        struct text *text = &writer->text;
        const char *heading;

        assert(writer->n_sections < headings->n);
        heading = headings->texts[writer->n_sections++];
        text_put(text, "<h2 id=\"");
        put_anchor(text, heading);
        text_put(text, "\">");
        text_put_number(text, writer->n_sections);
        text_put(text, "." EM_SPACE);
        text_put(text, heading);
        text_put(text, "</h2>\n");
}

static void put_head(struct text *text, const char *title)
{
        text_put(text, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<title>");
        text_put(text, title);
        text_put(text, "</title>\n<style>");
        text_put(text, prose_style);
        text_put(text, "</style>\n</head>\n<body>\n<h1>");
        text_put(text, title);
        text_put(text, "</h1>\n");
}

static void put_links(struct text *text)
{
        text_put(text, "<nav>\n");
        for (size_t i = 0; i < N_THEMES; ++i) {
                text_put(text, "<a href=\"/");
                text_put_number(text, themes[i].year);
                text_put(text, "\">");
                text_put_number(text, themes[i].year);
                text_put(text, "." EM_SPACE);
                text_put(text, themes[i].title);
                text_put(text, "</a><br>\n");
        }
        text_put(text, "</nav>\n");
}

static const char closing[] = "and much else besides.</p>\n</footer>\n</body>\n</html>\n";

#define CLOSING_WORDS 7 /* "and" to "</html>" */

static bool has_room(const struct writer *writer)
{
        return writer->text.n_words + SENTENCE_WORDS_MAX + CLOSING_WORDS <= writer->theme->n_words;
}

static void put_sections(struct writer *writer)
{
        for (unsigned paragraph = 0; has_room(writer) && !writer->text.failed; ++paragraph) {
                if (paragraph % PARAGRAPHS_A_SECTION == 0)
                        put_heading(writer);
                text_put(&writer->text, "<p>\n");
                put_sentence(writer);
                for (unsigned n = 3 + draw(writer, 3); n > 0 && has_room(writer); --n)
                        put_sentence(writer);
                text_put(&writer->text, "</p>\n");
        }
}

/* Makes the count exact: as many keywords as words are still missing. */
static void put_footer(struct writer *writer)
{
        struct text *text = &writer->text;

        text_put(text, "<footer>\n<p>Also here: ");
        for (size_t i = 0; text->n_words + CLOSING_WORDS < writer->theme->n_words; ++i) {
                assert(i < prose_keywords.n || text->failed);
                if (text->failed)
                        return;
                text_put(text, prose_keywords.texts[i]);
                text_put(text, i % 8 == 7 ? "\n" : " ");
        }
        text_put(text, closing);
        assert(text->failed || text->n_words == writer->theme->n_words);
}

static int page_from_text(struct text *text, const char *path, struct page *ret)
{
        if (text->failed) {
                text_deinit(text);
                return -ENOMEM;
        }
        *ret = (struct page){ .path = path, .html = text->data, .n_html = text->n };
        return 0;
}

static int make_page(const struct theme *theme, const char *path, struct page *ret)
{
        struct writer writer;

        writer_init(&writer, theme);
        put_head(&writer.text, theme->title);
        put_links(&writer.text);
        text_put(&writer.text, "<p>");
        text_put(&writer.text, theme->lead);
        text_put(&writer.text, "</p>\n");
        put_sections(&writer);
        put_footer(&writer);
        return page_from_text(&writer.text, path, ret);
}

static int make_list(const char *path, struct page *ret)
{
        struct text text = TEXT_NULL;

        put_head(&text, "pppd: the demo pages");
        put_links(&text);
        text_put(&text, "</body>\n</html>\n");
        return page_from_text(&text, path, ret);
}

int pages_new(struct pages **ret)
{
        static const char *const paths[] = { "/2016", "/2017", "/2018", "/2019" };
        _cleanup_(pages_freep) struct pages *pages = calloc(1, sizeof(*pages));
        int r;

        _Static_assert(ARRAY_SIZE(paths) == N_THEMES && N_PAGES == N_THEMES + 1, "a page a theme");
        if (!pages)
                return -ENOMEM;
        r = make_list("/", &pages->pages[0]);
        for (size_t i = 0; i < N_THEMES && r == 0; ++i)
                r = make_page(&themes[i], paths[i], &pages->pages[1 + i]);
        if (r < 0)
                return r;
        *ret = steal_ptr(pages);
        return 0;
}

struct pages *pages_free(struct pages *pages)
{
        if (!pages)
                return NULL;
        for (size_t i = 0; i < N_PAGES; ++i)
                free(pages->pages[i].html);
        free(pages);
        return NULL;
}

const struct page *pages_find(const struct pages *pages, const char *path)
{
        for (size_t i = 0; i < N_PAGES; ++i)
                if (streq(pages->pages[i].path, path))
                        return &pages->pages[i];
        return NULL;
}
