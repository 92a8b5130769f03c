//! Credit of a stream (`PROTOCOL.md` section 10): how many chunks a provider may still send.

use symphony_wire::constants::MAX_CREDIT;

use crate::msgpack::{Reader, Token};

/// What `credit` becomes by a message's body; None if the body is not a number of chunks that the bound leaves room
/// for.
pub(crate) fn more_credit(body: &[u8], credit: u32) -> Option<u32> {
    let mut reader = Reader(body);
    let Ok(Token::Uint(more)) = reader.token() else { return None };
    reader.end().ok()?;
    let sum = credit.checked_add(u32::try_from(more).ok()?)?;
    (more > 0 && sum <= MAX_CREDIT).then_some(sum)
}
