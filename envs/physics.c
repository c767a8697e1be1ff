/* Independent MuJoCo worlds, each a few steps further, by several threads.
 *
 * What a world becomes depends on that world alone, not on the threads.
 *
 * MuJoCo is not linked: its functions come as addresses. Its errors end the process unless the thread
 * says otherwise, which it does while it steps, so that they become a text for the caller.
 */

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "team.h"

#define STORY 512
#define LOG_ERROR 3

/* What MuJoCo says, up to the part that is read here (mjLogMessage). */
typedef struct {
    int level, topic;
    char subject[1024];
    const char *body, *function;
} Message;

typedef void (*Handler)(const Message *);
typedef void (*Step)(const void *model, void *data);

/* Bytes that are put elsewhere. */
typedef struct {
    void *to;
    const void *from;
    int64_t size;
} Copy;

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
    int64_t num_before, num_after;
    const Copy *before, *after;        /* [num_worlds, num_...] what each reads and shows, resting too */
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

static void step(const Work *work, int64_t index) {
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

static void copy(const Copy *copies, int64_t number) {
    for (const Copy *each = copies; each < copies + number; each++)
        memcpy(each->to, each->from, each->size);
}

static void advance(const void *all, int64_t index) {
    const Work *work = all;
    copy(work->before + index * work->num_before, work->num_before);
    if (!(work->resting && work->resting[index])) step(work, index);
    copy(work->after + index * work->num_after, work->num_after);
}

/* Take all worlds that do not rest some steps further, by at most so many threads. */
void physics_advance(const Work *work, int64_t num_threads) {
    team_do(advance, work, work->num_worlds, num_threads);
}

/* Changes with the fields of Work, so that an old library is not used with new ones. */
int64_t physics_version(void) { return 3; }
