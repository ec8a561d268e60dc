#include "cli/timeline-glyph.h"

#define COLOR_FAILED 31
#define COLOR_BRIGHT 60 /* above the color */
#define COLOR_BACK   10

static const char *const lefts[] = { " ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█" };

static uint8_t color_of(const struct timeline_walk *walk, bool odd, bool failing)
{
        return (uint8_t)((failing ? COLOR_FAILED : walk->color) + (odd ? COLOR_BRIGHT : 0));
}

static struct timeline_glyph shade(const struct timeline_walk *walk, double busy)
{
        static const char *const utf8[] = { "░", "▒", "▓", "█" };
        static const char *const ascii[] = { ".", "-", "=", "#" };
        size_t i = busy <= 0.25 ? 0 : busy <= 0.5 ? 1 : busy <= 0.75 ? 2 : 3;

        return (struct timeline_glyph){
                .text = walk->style->utf8 ? utf8[i] : ascii[i],
                .front = walk->color,
        };
}

static struct timeline_glyph failure(const struct timeline_walk *walk)
{
        return (struct timeline_glyph){
                .text = walk->style->utf8 ? "×" : "x",
                .front = 97,
                .back = COLOR_FAILED + COLOR_BACK,
        };
}

static struct timeline_glyph empty(const struct timeline_walk *walk, bool marked)
{
        return (struct timeline_glyph){
                .text = !marked             ? " "
                        : walk->style->utf8 ? "┊"
                                            : ":",
                .dim = marked,
        };
}

/* Filled from @from on. There are characters for what is filled from the left only. */
static struct timeline_glyph right_block(const struct timeline_walk *walk, unsigned from,
                                         uint8_t color)
{
        if (from == 0)
                return (struct timeline_glyph){ .text = "█", .front = color };
        if (walk->style->color)
                return (struct timeline_glyph){
                        .text = lefts[from],
                        .front = color,
                        .reverse = true,
                };
        return (struct timeline_glyph){ .text = from == 1 ? "█" : from <= 5 ? "▐" : "▕" };
}

/* A part of one bar, in a cell where nothing else is. */
static struct timeline_glyph block(const struct timeline_walk *walk, unsigned from, unsigned to,
                                   uint8_t color)
{
        unsigned width = to > from ? to - from : 1;

        if (from == 0 || (to < TIMELINE_EIGHTHS && from + to < TIMELINE_EIGHTHS))
                return (struct timeline_glyph){ .text = lefts[width], .front = color };
        return right_block(walk, TIMELINE_EIGHTHS - width, color);
}

/*
 * A bar ends and the next one begins. Where colors tell them apart they touch each other; otherwise
 * the larger part is drawn, and the gap beside it shows the boundary.
 */
static struct timeline_glyph boundary(const struct timeline_walk *walk,
                                      const struct timeline_cell *cell)
{
        unsigned end = MIN(cell->end_at, TIMELINE_EIGHTHS - 1U), begin = MAX(cell->begin_at, end);
        uint8_t left = color_of(walk, walk->odd, walk->failing);
        uint8_t right = color_of(walk, cell->odd, cell->failing);

        if (walk->style->color && left != right && begin - end <= 1)
                return (struct timeline_glyph){
                        .text = lefts[end],
                        .front = left,
                        .back = (uint8_t)(right + COLOR_BACK),
                };
        if (end >= TIMELINE_EIGHTHS - begin)
                return (struct timeline_glyph){ .text = lefts[end], .front = left };
        return right_block(walk, MAX(begin, 2U), right);
}

/* Whether the next bar begins right there, and nothing else would tell the two apart. */
static bool runs_into(const struct timeline_walk *walk, const struct timeline_cell *cell,
                      const struct timeline_cell *next)
{
        return cell->n_ended > 0 && cell->end_at == TIMELINE_EIGHTHS && next && next->n_begun > 0 &&
               next->begin_at == 0 && !walk->style->color;
}

static struct timeline_glyph bar_utf8(const struct timeline_walk *walk,
                                      const struct timeline_cell *cell,
                                      const struct timeline_cell *next)
{
        unsigned from = walk->active ? 0 : cell->begin_at;
        unsigned to = cell->n_ended ? cell->end_at : TIMELINE_EIGHTHS;

        if (walk->active && cell->n_begun)
                return boundary(walk, cell);
        if (runs_into(walk, cell, next) && from + 1 < to)
                --to;
        return block(walk, from, to,
                     walk->active ? color_of(walk, walk->odd, walk->failing)
                                  : color_of(walk, cell->odd, cell->failing));
}

static struct timeline_glyph bar_ascii(const struct timeline_walk *walk,
                                       const struct timeline_cell *cell)
{
        struct timeline_glyph glyph = shade(walk, cell->busy);

        if (cell->n_begun && (walk->active || (walk->touched && cell->begin_at == 0)))
                glyph.text = "|";
        glyph.front = cell->n_begun ? color_of(walk, cell->odd, cell->failing)
                                    : color_of(walk, walk->odd, walk->failing);
        return glyph;
}

/* One bar, or two with their boundary; with more, a cell cannot show each. */
static bool shows_bars(const struct timeline_walk *walk, const struct timeline_cell *cell)
{
        if (!walk->bars)
                return false;
        if (walk->active + cell->n_begun == 1)
                return true;
        return walk->active == 1 && cell->n_begun == 1 && cell->n_ended == 1 && cell->n_within == 0;
}

static struct timeline_glyph choose(const struct timeline_walk *walk,
                                    const struct timeline_cell *cell,
                                    const struct timeline_cell *next, bool marked)
{
        if (walk->active + cell->n_begun == 0)
                return empty(walk, marked);
        if (cell->failed) {
                walk->seen->failure = true;
                return failure(walk);
        }
        if (!shows_bars(walk, cell)) {
                walk->seen->shade = true;
                return shade(walk, cell->busy / walk->capacity);
        }
        walk->seen->bar = true;
        return walk->style->utf8 ? bar_utf8(walk, cell, next) : bar_ascii(walk, cell);
}

struct timeline_glyph timeline_glyph_of(struct timeline_walk *walk,
                                        const struct timeline_cell *cell,
                                        const struct timeline_cell *next, bool marked)
{
        struct timeline_glyph glyph = choose(walk, cell, next, marked);

        if (cell->n_begun) {
                walk->odd = cell->odd;
                walk->failing = cell->failing;
        }
        walk->active += cell->n_begun;
        walk->active -= MIN(walk->active, (uint64_t)cell->n_ended);
        walk->touched = cell->n_ended > 0 && cell->end_at == TIMELINE_EIGHTHS;
        return glyph;
}

static bool same_colors(const struct timeline_glyph *a, const struct timeline_glyph *b)
{
        return a->front == b->front && a->back == b->back && a->reverse == b->reverse &&
               a->dim == b->dim;
}

static void put_colors(FILE *file, const struct timeline_glyph *glyph)
{
        fputs("\033[0", file);
        if (glyph->dim)
                fputs(";2", file);
        if (glyph->reverse)
                fputs(";7", file);
        if (glyph->front)
                fprintf(file, ";%d", glyph->front);
        if (glyph->back)
                fprintf(file, ";%d", glyph->back);
        putc('m', file);
}

void timeline_glyph_put(FILE *file, bool color, const struct timeline_glyph *glyph,
                        struct timeline_glyph *last)
{
        static const struct timeline_glyph plain = { .text = "" };
        const struct timeline_glyph *next = glyph ?: &plain;

        if (color && !same_colors(next, last))
                put_colors(file, next);
        fputs(next->text, file);
        *last = *next;
}
