/* The two ends of the bus benchmark.
 * load callee ENDPOINT                            answers every call with its own body
 * load caller ENDPOINT BYTES IN_FLIGHT SECONDS    prints: RATE P50 P99 SHED TOTAL
 * Round trips per second, microseconds, how many calls the hub refused as it had too many, and how
 * many it was sent in all. Each refusal takes one off the calls in flight. The clock starts when
 * IN_FLIGHT calls have come back, and does not stop before as many again have. Headers are those of
 * bus/PROTOCOL.md with flow 1 and a request of five bytes. */
#define _GNU_SOURCE /* memmem */
#include "zmq_min.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    HEADER = 11, KIND = 2, REQUEST = 5, CALL = 4, RESULT = 5,
    SLOTS = 1 << 12, /* more than are ever in flight */
    HELD = 256, WARM_UP_MS = 20, PATIENCE_MS = 20000
};

static void give_up(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static void *join(const char *endpoint, const char *identity) {
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_DEALER);
    int zero = 0, held = HELD;
    zmq_setsockopt(socket, ZMQ_ROUTING_ID, identity, 16);
    zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &held, sizeof held);
    if (zmq_connect(socket, endpoint) != 0) give_up("cannot connect");
    return socket;
}

static double now(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void callee(void *socket) {
    for (;;) {
        zmq_msg_t header, body;
        zmq_msg_init(&header);
        zmq_msg_init(&body);
        if (zmq_msg_recv(&header, socket, 0) < 0 || zmq_msg_recv(&body, socket, 0) < 0) exit(1);
        ((unsigned char *)zmq_msg_data(&header))[KIND] = RESULT;
        zmq_msg_send(&header, socket, ZMQ_SNDMORE);
        zmq_msg_send(&body, socket, 0);
    }
}

static double sent[SLOTS]; /* when, by request */

static void keep(void *data, void *hint) {
    (void)data;
    (void)hint;
}

static void call(void *socket, uint32_t request, char *body, size_t bytes) {
    unsigned char header[HEADER] = {0x96, 1, CALL, 1, 0xce, 0, 0, 0, 0, 0, 0xc0};
    zmq_msg_t shared; /* every call sends the same memory: the ends are not to be the bottleneck */
    for (int i = 0; i < 4; i++) header[REQUEST + i] = (unsigned char)(request >> (24 - 8 * i));
    zmq_msg_init_data(&shared, body, bytes, keep, NULL);
    sent[request % SLOTS] = now();
    zmq_send(socket, header, HEADER, ZMQ_SNDMORE);
    zmq_msg_send(&shared, socket, 0);
}

enum { NOTHING = 0, REFUSED = -1, FAILED = -2 };

/* The request that was answered; REFUSED: the hub has too many; NOTHING came in time. */
static int64_t answered(void *socket, int flags) {
    unsigned char header[64];
    int64_t request = 0;
    zmq_msg_t body;
    if (zmq_recv(socket, header, sizeof header, flags) < 0) return NOTHING;
    zmq_msg_init(&body);
    zmq_msg_recv(&body, socket, 0);
    if (header[KIND] == RESULT) {
        for (int i = 0; i < 4; i++) request = request << 8 | header[REQUEST + i];
    } else {
        void *code = memmem(zmq_msg_data(&body), zmq_msg_size(&body), "overloaded", 10);
        request = code ? REFUSED : FAILED;
    }
    zmq_msg_close(&body);
    return request;
}

static int ascending(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static void caller(void *socket, size_t bytes, int in_flight, double seconds) {
    char *body = calloc(1, bytes);
    uint32_t request = 1;
    int wait = WARM_UP_MS, patience = PATIENCE_MS;
    size_t done = 0, room = 1 << 16, shed = 0;
    float *taken = malloc(room * sizeof *taken);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait, sizeof wait);
    do call(socket, request++, body, bytes);
    while (answered(socket, 0) <= NOTHING); /* until the callee is there */
    while (answered(socket, 0) != NOTHING) continue; /* late answers of that */
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
    size_t back = 0, window = (size_t)in_flight, first = 0;
    double start = now(), time = start;
    while (back < 2 * window || time < start + seconds) {
        int filling = first < window; /* and taking what comes back meanwhile, as a client does */
        if (filling) {
            call(socket, request++, body, bytes);
            first++;
        }
        int64_t answer = answered(socket, filling ? ZMQ_DONTWAIT : 0);
        time = now();
        if (answer == NOTHING && filling) continue;
        if (answer == NOTHING) give_up("a call was not answered");
        if (answer == FAILED) give_up("a call was answered with an error");
        if (++back == window) start = time;
        if (answer == REFUSED) {
            if (++shed == window) give_up("every call was refused");
            continue;
        }
        if (back > window) {
            if (done == room) taken = realloc(taken, (room *= 2) * sizeof *taken);
            taken[done++] = (float)(time - sent[answer % SLOTS]);
        }
        call(socket, request++, body, bytes);
    }
    qsort(taken, done, sizeof *taken, ascending);
    printf("%.1f %.2f %.2f %zu %zu\n", (double)done / (time - start), 1e6 * taken[done / 2],
           1e6 * taken[done * 99 / 100], shed, back);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "callee") == 0) {
        callee(join(argv[2], "callee.........."));
    } else if (argc == 6 && strcmp(argv[1], "caller") == 0) {
        void *socket = join(argv[2], "caller..........");
        caller(socket, (size_t)atol(argv[3]), atoi(argv[4]), atof(argv[5]));
        return 0;
    }
    fprintf(stderr, "usage: load callee ENDPOINT | caller ENDPOINT BYTES IN_FLIGHT SECONDS\n");
    return 2;
}
