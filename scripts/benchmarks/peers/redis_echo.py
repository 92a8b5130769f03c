"""Request and reply over Redis lists, the far end: redis_echo.py SOCKET. Prints a line first."""

import sys

import redis

connection = redis.Redis(unix_socket_path=sys.argv[1])
connection.ping()
print("ready", flush=True)
while True:  # until it is ended
    _, body = connection.blpop(["requests"])
    connection.rpush("replies", body)
