"""Every constant of the wire protocol (`PROTOCOL.md`), in one place."""

from typing import Final

VERSION: Final = 1

# Message kinds (section 3).
HELLO: Final = 1
WELCOME: Final = 2
HEARTBEAT: Final = 3
CALL: Final = 4
RESULT: Final = 5
ERROR: Final = 6
PROGRESS: Final = 7
CANCEL: Final = 8
EVENT: Final = 9
ACTIVATE: Final = 10
UNLOAD: Final = 11
BYE: Final = 12
CHUNK: Final = 13
CREDIT: Final = 14
SUBSCRIBE: Final = 15
LAST_KIND: Final = SUBSCRIBE

# Ranges of the header's fields (section 2).
MAX_FLOW: Final = 2**32 - 1
MAX_REQUEST: Final = 2**53 - 1
MAX_TTL: Final = 2**32 - 1  # milliseconds
MAX_IDEM: Final = 128  # characters of an idempotency key
# As the grammar has them; `\d` would take digits that are not ASCII.
METHOD: Final = r"\A[a-z][a-z0-9_]*\Z"
TOPIC: Final = r"\A[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)*\Z"
NAME: Final = r"\A[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)*(/[1-9][0-9]*)?\Z"

# Sizes in bytes (sections 2 and 4).
MAX_HEADER: Final = 4_096
MAX_BODY: Final = 2 * 1024 * 1024
INLINE_MAX: Final = 256 * 1024

# Liveness (section 3).
HEARTBEAT_MS: Final = 1_000
LIVENESS: Final = 5
GRACE_MS: Final = 2_000  # from cancel to the provider's answer

# Over tcp (section 13).
HANDSHAKE_MS: Final = 2_000  # that whoever connects may take until the two speak CURVE

# Bounds the hub keeps (section 7).
MAX_FRAMES: Final = 64  # of one message; a peer that sends more in one is cut off
MAX_OPEN_CALLS: Final = 1_024  # per caller
MAX_QUEUED: Final = 2_048  # messages per peer
MAX_QUEUED_BYTES: Final = 128 * 1024 * 1024  # per peer
MAX_LENT_BYTES: Final = 8 * 1024 * 1024  # of large bodies per peer that the transport holds besides
LARGE_BODY: Final = 64 * 1024  # bytes from which a body is large
MAX_QUEUED_EVENTS: Final = 256  # messages in a peer's queue beyond which some are dropped
MAX_CREDIT: Final = 1_024  # chunks a provider may be allowed to send at any time
MAX_SMALL_ERROR: Final = 4_096  # bytes of an error's body that is queued although the queue is full
MAX_RETRY_MS: Final = (1 << 32) - 1
RETRY_MS: Final = 50  # after `overloaded`, where no rate says better

# What the hub remembers (sections 9 and 12).
MAX_IDEM_OWNERS: Final = 64  # who have keys that are remembered
MAX_IDEM_KEYS: Final = 1_024  # remembered for one owner
MAX_IDEM_OPEN: Final = 128  # calls of one owner that are not answered
MAX_IDEM_BYTES: Final = 4 * 1024 * 1024  # of one owner's results, and of its open calls' arguments
IDEM_S: Final = 600.0
MAX_KEPT_TOPICS: Final = 1_024
MAX_KEPT_BYTES: Final = 256 * 1024  # of one event

# What a provider remembers (section 11).
MAX_ANSWERS: Final = 256
MAX_ANSWERED: Final = 16_384  # calls that are known to have been answered
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024

# Identities (sections 1 and 8), bytes.
IDENTITY_BYTES: Final = 16
CONSOLE_IDENTITY_BYTES: Final = 32

TICKET_VARIABLE: Final = "SYMPHONY_TICKET"
DEFAULT_METHOD: Final = "call"
CONTEXT_KEY: Final = "$"
IDEM_OPTION: Final = "idem"
TRACE_OPTION: Final = "trace"
CAPABILITY_OPTION: Final = "cap"
STREAM_OPTION: Final = "stream"
AGAIN_OPTION: Final = "again"
KEEP_OPTION: Final = "keep"
SNAPSHOT_OPTION: Final = "snapshot"
GAP_OPTION: Final = "gap"
