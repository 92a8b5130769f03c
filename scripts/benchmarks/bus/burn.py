"""Uses so much of one core and nothing else: burn.py SHARE. Ends with its input."""

import sys
import threading
import time

WORK_S = 0.001
LEAST = 0.001


def burn(share: float) -> None:
    """Works and rests in turns."""
    while True:
        begun = time.thread_time()
        while time.thread_time() - begun < WORK_S:
            pass
        time.sleep(max(0.0, WORK_S * (1 / share - 1)))


threading.Thread(target=burn, args=(max(LEAST, float(sys.argv[1])),), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
