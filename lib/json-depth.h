#pragma once

/*
 * A guard in front of the JSON parser. Jansson recurses once a level and stops only at its own
 * JSON_PARSER_MAX_DEPTH of 2048, after it has built all of them; a peer's message is refused long
 * before, by a pass over the bytes that needs neither memory nor stack.
 */

#include "lib/util.h"

#define JSON_DEPTH_MAX 64 /* levels of arrays and objects; ours need 6 */

/*
 * Whether @text nests arrays and objects deeper than @max. Text that is no JSON gets an answer too:
 * never "no" where a parser, up to its first error, would have gone deeper than @max.
 */
bool json_depth_exceeds(const char *text, size_t n, unsigned max);

/*
 * Whether @text has more than @max commas outside of strings: about as many values does a parser
 * make of it, and each costs it some 200 ns and 100 bytes, however short. The same holds for text
 * that is no JSON.
 */
bool json_members_exceed(const char *text, size_t n, size_t max);
