// What libzmq is built to refuse of one message; included by the build script as well.
// A message is handed on when it is complete, so without these a peer whose frames never end fills the memory: neither
// MAXMSGSIZE (one frame) nor the high-water mark (complete messages) bounds it.

/// Frames of one message. Of one with more, these and one empty frame are received; the connection is dropped if it goes
/// on for too long.
pub const MAX_FRAMES: usize = 64;
/// Bytes of all frames of one message. The connection of a peer that sends more is dropped.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;
