/* Independent MuJoCo worlds, each a few steps further, by several threads.
 *
 * Whoever has nothing to do takes the next world, so that it does not matter how long each takes, nor
 * whether a thread wakes late. What a world becomes depends on that world alone, not on the threads.
 *
 * MuJoCo is not linked: its functions come as addresses. Its errors end the process unless the thread
 * says otherwise, which it does while it steps, so that they become a text for the caller.
 */

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define STORY 512
#define MOST_HELPERS 63
#define SPINS 4000 /* some 200 us, as long as acting takes between two steps; to wake takes 50 */
#define LOG_ERROR 3

/* What MuJoCo says, up to the part that is read here (mjLogMessage). */
typedef struct {
    int level, topic;
    char subject[1024];
    const char *body, *function;
} Message;

typedef void (*Handler)(const Message *);
typedef void (*Step)(const void *model, void *data);

/* What envs/physics.py fills in; it declares the same fields. */
typedef struct {
    Step step, settle;                 /* `settle` once after the steps, if it is not NULL */
    Handler (*set_handler)(Handler);   /* of this thread; gives the earlier one */
    Handler (*common_handler)(void);   /* of all threads that have none of their own */
    int64_t num_steps, num_worlds;
    const void *const *models;
    void *const *data;
    const uint8_t *resting;            /* [num_worlds] those that are left alone; NULL: none */
    char (*stories)[STORY];            /* [num_worlds] what went wrong; empty if nothing did */
} Work;

/* One world. */

static _Thread_local jmp_buf way_out;
static _Thread_local const Work *at_work;
static _Thread_local char *story;

static void hear(const Message *message) {
    if (message->level < LOG_ERROR) {
        at_work->common_handler()(message);
        return;
    }
    snprintf(story, STORY, "%.*s", STORY - 1, message->subject);
    longjmp(way_out, 1);
}

static void advance(const Work *work, int64_t index) {
    at_work = work;
    story = work->stories[index];
    Handler earlier = work->set_handler(hear);
    if (setjmp(way_out) == 0) {
        for (int64_t i = 0; i < work->num_steps; i++)
            work->step(work->models[index], work->data[index]);
        if (work->settle) work->settle(work->models[index], work->data[index]);
    }
    work->set_handler(earlier);
}

/* The team: whoever calls, and helpers, who sleep when there has been nothing to do for a moment. */

static struct {
    pthread_mutex_t turn; /* of the caller: one piece of work at a time */
    pthread_mutex_t lock; /* of what follows, but for the two that are atomic */
    pthread_cond_t called, done;
    int helpers, wanted, busy, open;
    const Work *work;
    atomic_llong next, round;
} team = {
    .turn = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .called = PTHREAD_COND_INITIALIZER,
    .done = PTHREAD_COND_INITIALIZER,
};

static void take_worlds(const Work *work) {
    for (;;) {
        const int64_t index = atomic_fetch_add(&team.next, 1);
        if (index >= work->num_worlds) return;
        if (!(work->resting && work->resting[index])) advance(work, index);
    }
}

static inline void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void *help(void *unused) {
    long long seen = 0;
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&team.round) == seen; i++) pause_briefly();
        pthread_mutex_lock(&team.lock);
        while (atomic_load(&team.round) == seen) pthread_cond_wait(&team.called, &team.lock);
        seen = atomic_load(&team.round);
        if (team.open && team.wanted > 0) {
            team.wanted--, team.busy++;
            pthread_mutex_unlock(&team.lock);
            take_worlds(team.work);
            pthread_mutex_lock(&team.lock);
            if (--team.busy == 0) pthread_cond_signal(&team.done);
        }
        pthread_mutex_unlock(&team.lock);
    }
    return unused;
}

/* A helper more; whether there is one. Signals are for the interpreter's threads. */
static int hire(void) {
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&thread, NULL, help, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed) pthread_detach(thread);
    return !failed;
}

/* A process that was forked has no threads but the one that forked. */
static void forget(void) {
    pthread_mutex_init(&team.turn, NULL);
    pthread_mutex_init(&team.lock, NULL);
    pthread_cond_init(&team.called, NULL);
    pthread_cond_init(&team.done, NULL);
    team.helpers = team.wanted = team.busy = team.open = 0;
}

static void call_helpers(const Work *work, int64_t num_helpers) {
    static int is_prepared = 0;
    if (!is_prepared) is_prepared = !pthread_atfork(NULL, NULL, forget);
    pthread_mutex_lock(&team.lock);
    team.work = work, team.wanted = (int)num_helpers, team.open = 1;
    atomic_store(&team.next, 0);
    atomic_fetch_add(&team.round, 1);
    pthread_cond_broadcast(&team.called);
    while (is_prepared && team.helpers < num_helpers && team.helpers < MOST_HELPERS && hire())
        team.helpers++;
    pthread_mutex_unlock(&team.lock);
}

static void await_helpers(void) {
    pthread_mutex_lock(&team.lock);
    team.open = 0;
    while (team.busy) pthread_cond_wait(&team.done, &team.lock);
    pthread_mutex_unlock(&team.lock);
}

/* Take all worlds that do not rest some steps further, by at most so many threads. */
void physics_advance(const Work *work, int64_t num_threads) {
    if (num_threads < 2 || pthread_mutex_trylock(&team.turn)) {
        for (int64_t i = 0; i < work->num_worlds; i++)
            if (!(work->resting && work->resting[i])) advance(work, i);
        return;
    }
    call_helpers(work, num_threads - 1);
    take_worlds(work);
    await_helpers();
    pthread_mutex_unlock(&team.turn);
}

/* Changes with the fields of Work, so that an old library is not used with new ones. */
int64_t physics_version(void) { return 1; }
