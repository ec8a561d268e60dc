#include "daemon/web/prose.h"

/* Written as bytes, since in an editor they look like any other space. */
#define NBSP "\xc2\xa0" /* U+00A0, no-break space */

#define DECK(...)                                                                         \
        {                                                                                 \
                .texts = (const char *const[]){ __VA_ARGS__ },                            \
                .n = sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *), \
        }

const char prose_style[] =
        "body{margin:0 auto;max-width:44rem;padding:2rem;font:1.05rem/1.6 Georgia,serif;"
        "color:#222;background:#fdfdfb}h1{font-size:2.2rem;line-height:1.15;margin-bottom:.3em}h2{"
        "font-size:1.4rem;margin-top:2.2em;border-bottom:1px solid "
        "#ddd;scroll-margin-top:1rem}nav{font-family:sans-serif;font-size:.9rem;letter-spacing:."
        "03em}code{font-size:.92em;"
        "background:#f0f0ea;border-radius:3px;padding:.1em "
        ".25em}sup{font-size:.7em}cite,i{font-style:normal}b,strong{font-weight:600}a{color:#"
        "125ea3;text-decoration:none}a:hover{text-decoration:underline}footer{margin-top:4rem;"
        "color:#666;font-size:.85rem}@media(prefers-color-scheme:dark){body{color:#ddd;background:#"
        "181a1b}a{color:#7db8ee}code{background:#2a2d2e}h2{border-color:#333}footer{color:#999}}";

const struct deck prose_sentences = DECK(
        "The first question is never how fast {s} can be, but what it is waiting for.",
        "While {w}, a program spends most of its {q} doing nothing at all, and somebody pays for "
        "that nothing.",
        "{n} used to draw the same picture on every blackboard: a long grey bar for waiting and a "
        "thin black one for work.",
        "Ask {n} about {p} and the answer will begin with a measurement and end with an anecdote.",
        "Adding {p} helps until the thing they share runs out, and then each further one makes the "
        "others slower.",
        "It is a naïve hope that {p} can be added without limit, yet the first few nearly always "
        "earn their keep.",
        "A call to {c} looks harmless in the source and turns out to be the whole of the profile.",
        "Nobody in {m} believed the figures until they had watched {w} for {q} with their own "
        "eyes.",
        "When {w} takes {q}, the cost of starting {s} is noise; when it takes a microsecond, that "
        "cost is everything.",
        "There is a façade of simplicity over {s}, and behind it lies {c} with all its flags.",
        "The kernel keeps honest accounts, so whoever doubts the claim may read them after {w}.",
        "Some prefer one queue for all of the {p}, as at a post office; others give a queue to "
        "each, as at a supermarket.",
        "Whoever has debugged {p} at night knows that the fault is usually in what they share.",
        "The café in {m} works the same way: one cook, one waiter, and a slip of paper for every "
        "order.",
        "If {s} fails in the middle, its result must be a failure that can be read, and not a "
        "silence.",
        "Between {w} and waiting for it to finish there is room for a great deal of other work.",
        "{n} once measured {c} at {q}, wrote the number on a card, and kept the card for years.",
        "What looks like parallel work is often {s} after another, dressed up with a progress bar.",
        "A limit on {p} is not an insult to the machine but a courtesy to everything else that "
        "runs there.",
        "The table shows wall time, processor time and memory side by side, because any one of the "
        "three alone will flatter somebody.",
        "In {m} they say that a benchmark without a baseline is a poem.",
        "Batching turns many small calls of {c} into a few large ones, at the price of making the "
        "first answer later.",
        "It costs {q} to find out, which is less than it costs to argue.",
        "Every design for {p} must decide who waits, where, and who does the waking.",
        "The slowest one in a hundred decides how the whole feels, and so the table has a column "
        "for it.",
        "Before choosing {p}, write down what happens when one of them dies while {w}.",
        "Even a résumé of the argument must mention {c}, since everything else follows from it.",
        "An idle processor and a full queue can live in the same machine for {q} without ever "
        "meeting.",
        "The code for {w} should not know at which level it runs; that is the level's business.",
        "{n} and {n} disagreed about {p} for a decade and agreed about measuring all along.",
        "Fairness between {p} is cheap to promise and hard to show, unless the records carry time "
        "stamps.",
        "One lock around {w} is enough to turn {q} of parallel work back into a single file.",
        "Copying costs memory bandwidth, sharing costs coherence, and neither appears in the "
        "source text.",
        "A counter that everyone increments is the smallest scheduler there is, and often the "
        "best.",
        "In the end {s} is only a way of remembering where we were.",
        "The vis-à-vis of throughput is latency, and improving the one has a habit of spoiling the "
        "other.",
        "Nothing in {m} was faster than the work that somebody noticed need not be done.",
        "To count the words of a page one must first have the page, and having it takes {q}.",
        "Cancelling {s} is harder than starting it, since a start needs no agreement.",
        "A good error message tells what was tried, on what, and why it could not be done.",
        "The naïve version came first, {n} says, and it is still there for comparison.",
        "Where memory is short, {p} compete for the page cache, and the loser reads from disk.",
        "Measure {w} with one worker, then two, then four; the curve says more than any of its "
        "points.",
        "What the scheduler does within {q} cannot be seen from outside, but it can be counted.",
        "Most of what is written about {p} in {m} was true of a machine that has since been thrown "
        "away.",
        "A program that uses {c} well tends to be short, and one that uses it badly tends to be "
        "called a framework.",
        "Queues hide trouble: they are empty on the good days and infinite on the others.",
        "The same four inputs, run at every level, make the differences plain without any theory.");

const struct deck prose_works =
        DECK("fetching a page", "counting the words of a page",
             "adding up two hundred million numbers", "reading twenty thousand small files",
             "resolving a host name", "waiting for a distant server", "compressing a log",
             "parsing a long document", "answering a request", "walking a directory tree",
             "talking to a database", "waiting for a timer");

const struct deck prose_quantities =
        DECK("200" NBSP "ms", "five" NBSP "milliseconds", "half a" NBSP "second", "40" NBSP "µs",
             "a" NBSP "microsecond or two", "1.6" NBSP "seconds", "300" NBSP "ns",
             "the better part of a" NBSP "minute", "12" NBSP "ms");

const struct deck prose_names =
        DECK("Zoë", "André", "Björn", "Inés", "Françoise", "Jürgen", "Mrs." NBSP "Åkesson",
             "Dr." NBSP "Ngô", "Renée", "Søren", "Prof." NBSP "Muñoz", "Maëlle");

const struct deck prose_places =
        DECK("Zürich", "Kraków", "Málaga", "Tromsø", "Besançon", ("São" NBSP "Paulo"), "London",
             "Malmö", "Gdańsk", "Reykjavík");

const struct deck prose_keywords =
        DECK("acceptance,", "admission,", "affinity,", "backlog,", "backpressure,", "bandwidth,",
             "barrier,", "batching,", "blocking,", "buffering,", "caching,", "cancellation,",
             "coalescing,", "coherence,", "completion,", "concurrency,", "contention,", "counters,",
             "deadlines,", "delegation,", "dispatch,", "fairness,", "fibers,", "groups,",
             "handover,", "idling,", "imbalance,", "isolation,", "latency,", "limits,", "locality,",
             "multiplexing,", "oversubscription,", "parallelism,", "pipelining,", "preemption,",
             "pressure,", "prioritisation,", "queueing,", "readiness,", "records,", "recovery,",
             "retries,", "scheduling,", "serialisation,", "sharing,", "stalls,", "starvation,",
             "suspension,", "throttling,", "throughput,", "timeouts,", "utilisation,", "wake-ups,",
             "workers,");

const struct theme themes[N_THEMES] = {
        {
                .year = 2016,
                .n_words = 3794,
                .title = "Machines: concurrency across a network",
                .lead = "One computer is never enough for long. This page is about spreading work "
                        "over several of them, and about what the wire between them takes in "
                        "return.",
                .headings = DECK("Why one machine is not enough", "The queue in the middle",
                                 "Delivered at least once", "What the network adds",
                                 "Nodes that come and go", "Sharing out the work",
                                 "When a node falls silent", "Clocks that disagree",
                                 "Chunks, not single tasks", "The price of a round trip",
                                 "Keeping the results together", "Growing and shrinking",
                                 "Who is allowed to join", "Measuring from afar",
                                 "A failure in Århus", "What stays on one machine"),
                .sentences = DECK(
                        "A message that was sent twice must do no more harm than a message that "
                        "was sent once.",
                        "Between machines there is no shared memory, only letters, and letters get "
                        "lost.",
                        "Every node believes its own clock, so only differences taken on one node "
                        "may be trusted.",
                        "A consumer group remembers who took what with {c}, and that memory is "
                        "what makes a crash survivable.",
                        "The round trip to the queue costs {q}, and so nodes take work in chunks.",
                        "When {s} leaves without a word, its unfinished chunk goes back to the "
                        "others after a while.",
                        "Two data centres, one in {m} and one in {m}, will disagree about what "
                        "happened first.",
                        "Nothing scales like {p} that never have to speak to each other.",
                        "The network is the slowest bus in the machine, and the only one that "
                        "others may cut.",
                        "A node that is merely slow does more damage than a node that is dead.",
                        "{n} kept the whole list on one server and let the {p} ask for more when "
                        "they were hungry.",
                        "Idempotence is a long word for being allowed to try again."),
                .singulars = DECK("a node", "another machine", "a remote worker", "a cluster",
                                  "the broker", "a consumer group"),
                .plurals = DECK("nodes", "machines", "remote workers", "replicas",
                                "consumer groups", "rented servers"),
                .calls = DECK("XREADGROUP", "XACK", "XAUTOCLAIM", "XADD", "connect", "sendmsg"),
        },
        {
                .year = 2017,
                .n_words = 4123,
                .title = "Processes: concurrency behind walls",
                .lead = "A process owns its memory, and nobody else may touch it. This page is "
                        "about working side by side with a wall in between, and about the doors in "
                        "that wall.",
                .headings = DECK("A wall around every worker", "The cost of being born",
                                 "Crashes that stay at home", "Limits the kernel enforces",
                                 "Talking through a pipe", "Memory, shared on purpose",
                                 "One group for each worker", "Who reaps the dead",
                                 "Descriptors as gifts", "More workers than processors",
                                 "Copy on write, read at leisure", "Signals and their manners",
                                 "A pool that repairs itself", "The peak that counts",
                                 "Freezing and thawing", "Threads in a fork: a tragedy",
                                 "Déjà vu after every fork"),
                .sentences = DECK(
                        "A worker that crashes takes one task with it, and the pool has a "
                        "replacement within {q}.",
                        "With {c} the child is born inside its group, so not one page is charged "
                        "to the wrong account.",
                        "The wall between {p} is made of page tables, and climbing it takes a "
                        "system call.",
                        "Four interpreters in four {p} add up numbers four times as fast, since "
                        "each has a lock of its own.",
                        "A descriptor passed over a socket is the one gift {s} can give that stays "
                        "valid after its death.",
                        "Forking a small program takes {q}; forking a large one takes as long as "
                        "copying its page tables.",
                        "The out-of-memory killer chooses {s}, and the group's counters tell "
                        "afterwards whom it chose.",
                        "A zombie is a result that nobody has come to collect.",
                        "Shared memory between {p} brings back all the dangers of threads and "
                        "keeps the price of processes.",
                        "{n} gave each of the {p} a group, a quota and a name, and slept well from "
                        "then on.",
                        "Killing a tree of {p} one by one is a race; killing their group is not.",
                        "The environment, the open files and the working directory all pass to the "
                        "child unless somebody objects."),
                .singulars = DECK("a worker process", "a child", "the parent", "a forked copy",
                                  "an isolated worker", "a pool of children"),
                .plurals = DECK("processes", "children", "worker processes", "forked copies",
                                "isolated workers", "short-lived commands"),
                .calls = DECK("clone3", "waitid", "execve", "pidfd_open", "posix_spawn", "mmap",
                              "cgroup.kill"),
        },
        {
                .year = 2018,
                .n_words = 4334,
                .title = "Threads: concurrency in one house",
                .lead = "Threads share everything, which is their charm and their curse. This page "
                        "is about many workers at one table, and about asking politely for the "
                        "salt.",
                .headings = DECK("Everything in common", "The lock and its queue",
                                 "One lock for the whole house", "Waiting without working",
                                 "How many is too many", "The stack nobody looks at",
                                 "False sharing, true cost", "Handing over every five milliseconds",
                                 "A counter instead of a queue", "Races that hide for years",
                                 "Priorities turned upside down", "Signals find the wrong one",
                                 "Thread-local comfort", "Blocking calls made bearable",
                                 "Joining at the end", "What the sanitizer saw",
                                 "Cœur à cœur: two cores, one line", "Pools that fit the work"),
                .sentences = DECK(
                        "An interpreter with one global lock lets its threads wait together but "
                        "compute only in turn.",
                        "Two counters in one cache line make {p} quarrel over memory that neither "
                        "of them shares in the source.",
                        "A futex costs nothing until somebody has to wait, and then it costs {q}.",
                        "Starting {s} takes less time than reading this sentence, but its stack "
                        "stays for as long as it lives.",
                        "A data race is a promise to the compiler that was never kept.",
                        "The lock was held for {q}, and that was enough for {p} to form a line "
                        "behind it.",
                        "Threads that mostly wait may be many; threads that mostly compute should "
                        "be as many as the processors.",
                        "With {c} alone one can build everything else, given a week and a good "
                        "proof.",
                        "{n} removed the mutex, and the program became faster, shorter and wrong.",
                        "Numbers added up in a native loop need not hold the lock, and then even "
                        "{p} scale.",
                        "Guided chunks begin large and end small, so that no thread finishes long "
                        "after its colleagues.",
                        "Whatever {s} writes, the others may read half of, unless an order was "
                        "agreed."),
                .singulars = DECK("a thread", "a lock holder", "the main thread", "a waiter",
                                  "a thread pool", "a spinning reader"),
                .plurals = DECK("threads", "waiters", "pool threads", "readers and writers",
                                "lightweight workers", "lock holders"),
                .calls = DECK("futex", "pthread_create", "pthread_join", "sched_yield",
                              "atomic_fetch_add", "membarrier"),
        },
        {
                .year = 2019,
                .n_words = 1953,
                .title = "Async: concurrency on one chair",
                .lead = "One thread, thousands of tasks, and a list of what each is waiting for. "
                        "This page is about doing one thing at a time so quickly that it looks "
                        "like everything at once.",
                .headings = DECK("One loop to wait for all", "Suspended, not blocked",
                                 "Rings instead of calls", "A window on the work",
                                 "The task that would not yield", "Timers by the thousand",
                                 "Cancelling what is in flight", "Small stacks, many fibers",
                                 "Completion, not readiness", "À la carte: mixing in threads"),
                .sentences = DECK(
                        "A thousand requests in flight need a thousand small stacks, and not one "
                        "more thread.",
                        "The loop turns once for every batch of completions, so a busy loop makes "
                        "fewer calls than a lazy one.",
                        "A task that computes for {q} holds up everybody, since there is only the "
                        "one chair.",
                        "With {c} the kernel is told what to do and later tells what came of it.",
                        "Suspending {s} takes a few instructions; suspending a thread takes the "
                        "scheduler.",
                        "Four pages, each {q} away, arrive together when nobody insists on asking "
                        "for them in turn.",
                        "An operation in flight belongs to the kernel until its completion has "
                        "been read.",
                        "Closing a descriptor does not end what waits on it, as {n} found out one "
                        "Friday evening.",
                        "The code reads from top to bottom, and only the {p} know how often it "
                        "stopped on the way.",
                        "What {p} save in memory they ask back in discipline."),
                .singulars = DECK("a fiber", "the event loop", "a coroutine", "a completion",
                                  "a suspended task", "a submission"),
                .plurals = DECK("fibers", "coroutines", "completions", "tasks in flight",
                                "callbacks", "suspended tasks"),
                .calls = DECK("io_uring_enter", "epoll_wait", "swapcontext", "accept4",
                              "timerfd_settime"),
        },
};
