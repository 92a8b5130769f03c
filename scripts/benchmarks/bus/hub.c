/* The floor of the bus benchmark: the same matching and forwarding, in C.
 * hub ENDPOINT...   a ROUTER that says when it listens; routing ids are "caller" and "callee",
 * padded with '.' to 16 bytes.
 * A call (kind 4) of the caller goes to the callee, a result (kind 5) of the callee to the caller,
 * as the very frames that came; everything else is dropped. */
#include "zmq_min.h"
#include <stdio.h>
#include <string.h>

static const char CALLER[17] = "caller..........";
static const char CALLEE[17] = "callee..........";

static int is(zmq_msg_t *frame, const char *identity) {
    return zmq_msg_size(frame) == 16 && memcmp(zmq_msg_data(frame), identity, 16) == 0;
}

int main(int argc, char **argv) {
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_ROUTER);
    /* Ours keeps 256 messages in libzmq and 2,048 in a queue of its own before it refuses a call. */
    int one = 1, mark = 256, queue = 256 + 2048, zero = 0;
    zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &one, sizeof one);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &queue, sizeof queue);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &mark, sizeof mark);
    zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero);
    for (int i = 1; i < argc; i++)
        if (zmq_bind(socket, argv[i]) != 0) return 1;
    puts("ready");
    fflush(stdout);
    for (;;) {
        zmq_msg_t frames[3];
        int count = 0, more = 1;
        while (more) {
            zmq_msg_t frame;
            zmq_msg_init(&frame);
            if (zmq_msg_recv(&frame, socket, 0) < 0) return 1;
            more = zmq_msg_more(&frame);
            if (count < 3) frames[count] = frame;
            else zmq_msg_close(&frame);
            count++;
        }
        const unsigned char *header = count == 3 ? zmq_msg_data(&frames[1]) : NULL;
        const char *target = NULL;
        if (header != NULL && zmq_msg_size(&frames[1]) >= 3) {
            if (header[2] == 4 && is(&frames[0], CALLER)) target = CALLEE;
            if (header[2] == 5 && is(&frames[0], CALLEE)) target = CALLER;
        }
        if (target != NULL && zmq_send(socket, target, 16, ZMQ_SNDMORE | ZMQ_DONTWAIT) == 16) {
            zmq_msg_close(&frames[0]);
            zmq_msg_send(&frames[1], socket, ZMQ_SNDMORE | ZMQ_DONTWAIT);
            zmq_msg_send(&frames[2], socket, ZMQ_DONTWAIT);
        } else {
            for (int i = 0; i < count && i < 3; i++) zmq_msg_close(&frames[i]);
        }
    }
}
