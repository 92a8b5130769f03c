/* The two ends of the bus benchmark.
 * load callee ENDPOINT                            answers every call with its own body
 * load caller ENDPOINT BYTES IN_FLIGHT SECONDS    prints round trips per second
 * Headers are those of bus/PROTOCOL.md with flow 1 and a request of five bytes. */
#include "zmq_min.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEADER = 11, KIND = 2, REQUEST = 5, CALL = 4, RESULT = 5, WARM_UP_MS = 20 };

static void *join(const char *endpoint, const char *identity) {
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_DEALER);
    int zero = 0;
    zmq_setsockopt(socket, ZMQ_ROUTING_ID, identity, 16);
    zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
    if (zmq_connect(socket, endpoint) != 0) exit(1);
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

static void call(void *socket, uint32_t request, const char *body, size_t bytes) {
    unsigned char header[HEADER] = {0x96, 1, CALL, 1, 0xce, 0, 0, 0, 0, 0, 0xc0};
    for (int i = 0; i < 4; i++) header[REQUEST + i] = (unsigned char)(request >> (24 - 8 * i));
    zmq_send(socket, header, HEADER, ZMQ_SNDMORE);
    zmq_send(socket, body, bytes, 0);
}

static int answered(void *socket) {
    unsigned char header[64];
    zmq_msg_t body;
    if (zmq_recv(socket, header, sizeof header, 0) < 0) return 0;
    zmq_msg_init(&body);
    zmq_msg_recv(&body, socket, 0);
    zmq_msg_close(&body);
    return header[KIND] == RESULT;
}

static void caller(void *socket, size_t bytes, int in_flight, double seconds) {
    char *body = calloc(1, bytes);
    uint32_t request = 1;
    int wait = WARM_UP_MS, forever = -1;
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait, sizeof wait);
    do call(socket, request++, body, bytes);
    while (!answered(socket));
    while (zmq_recv(socket, body, bytes, 0) >= 0) continue; /* late answers of the warm-up */
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &forever, sizeof forever);
    for (int i = 0; i < in_flight; i++) call(socket, request++, body, bytes);
    long done = 0;
    double start = now(), end = start + seconds;
    do {
        for (int i = 0; i < 64; i++) {
            if (!answered(socket)) {
                fprintf(stderr, "a call failed\n");
                exit(1);
            }
            call(socket, request++, body, bytes);
        }
        done += 64;
    } while (now() < end);
    printf("%.1f\n", (double)done / (now() - start));
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
