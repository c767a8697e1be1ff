/* The team: whoever calls, and helpers, who sleep when there has been nothing to do for a moment. */

#include "team.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

#define MOST_HELPERS 63
#define SPINS 4000 /* some 200 us, as long as acting takes between two steps; to wake takes 50 */

static struct {
    pthread_mutex_t turn; /* of the caller: one piece of work at a time */
    pthread_mutex_t lock; /* to change what follows, but for `next` */
    pthread_cond_t called, done;
    int helpers, wanted, open;
    atomic_int busy;
    Piece piece;
    const void *work;
    int64_t num_pieces;
    atomic_llong next, round;
} team = {
    .turn = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .called = PTHREAD_COND_INITIALIZER,
    .done = PTHREAD_COND_INITIALIZER,
};

static void take_pieces(void) {
    for (;;) {
        const int64_t index = atomic_fetch_add(&team.next, 1);
        if (index >= team.num_pieces) return;
        team.piece(team.work, index);
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
            take_pieces();
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
    team.helpers = team.wanted = team.open = 0;
    atomic_store(&team.busy, 0);
}

static void call_helpers(Piece piece, const void *work, int64_t num_pieces, int64_t num_helpers) {
    static int is_prepared = 0;
    if (!is_prepared) is_prepared = !pthread_atfork(NULL, NULL, forget);
    pthread_mutex_lock(&team.lock);
    team.piece = piece, team.work = work, team.num_pieces = num_pieces;
    team.wanted = (int)num_helpers, team.open = 1;
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
    pthread_mutex_unlock(&team.lock);
    /* They are at their last pieces: sooner done than a sleeper is woken. */
    for (int i = 0; i < SPINS && atomic_load(&team.busy); i++) pause_briefly();
    pthread_mutex_lock(&team.lock);
    while (team.busy) pthread_cond_wait(&team.done, &team.lock);
    pthread_mutex_unlock(&team.lock);
}

void team_do(Piece piece, const void *work, int64_t num_pieces, int64_t num_threads) {
    if (num_threads > num_pieces) num_threads = num_pieces;
    if (num_threads < 2 || pthread_mutex_trylock(&team.turn)) {
        for (int64_t i = 0; i < num_pieces; i++) piece(work, i);
        return;
    }
    call_helpers(piece, work, num_pieces, num_threads - 1);
    take_pieces();
    await_helpers();
    pthread_mutex_unlock(&team.turn);
}
