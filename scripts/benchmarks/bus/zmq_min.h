/* The part of libzmq's C interface that the benchmark uses, declared by hand: neither the library
 * that pyzmq bundles nor the one that our Rust crate builds comes with headers here. */
#include <stddef.h>

typedef struct zmq_msg_t { _Alignas(8) unsigned char opaque[64]; } zmq_msg_t;

void *zmq_ctx_new(void);
void *zmq_socket(void *context, int type);
int zmq_setsockopt(void *socket, int option, const void *value, size_t size);
int zmq_bind(void *socket, const char *endpoint);
int zmq_connect(void *socket, const char *endpoint);
int zmq_send(void *socket, const void *data, size_t size, int flags);
int zmq_recv(void *socket, void *data, size_t size, int flags);
int zmq_msg_init(zmq_msg_t *message);
int zmq_msg_init_data(zmq_msg_t *message, void *data, size_t size, void (*done)(void *, void *),
                      void *hint);
int zmq_msg_close(zmq_msg_t *message);
int zmq_msg_recv(zmq_msg_t *message, void *socket, int flags);
int zmq_msg_send(zmq_msg_t *message, void *socket, int flags);
int zmq_msg_more(const zmq_msg_t *message);
void *zmq_msg_data(zmq_msg_t *message);
size_t zmq_msg_size(const zmq_msg_t *message);

enum {
    ZMQ_DEALER = 5, ZMQ_ROUTER = 6,
    ZMQ_ROUTING_ID = 5, ZMQ_LINGER = 17, ZMQ_SNDHWM = 23, ZMQ_RCVHWM = 24,
    ZMQ_RCVTIMEO = 27, ZMQ_ROUTER_MANDATORY = 33,
    ZMQ_DONTWAIT = 1, ZMQ_SNDMORE = 2
};
