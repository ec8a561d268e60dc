#pragma once

/*
 * How long our programs wait before they take something for given: that nobody needs a helper any
 * more, that somebody will not answer. Tests of whole programs have less time: PPPCTL_TEST_HURRY=N
 * in the environment, 1 to 1000, makes each an Nth; any other value changes nothing.
 */

#include "lib/util.h"

/* @time, in whatever unit, or what a test has made of it. */
uint64_t patience(uint64_t time);
