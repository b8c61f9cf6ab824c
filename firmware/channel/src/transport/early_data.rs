//! Reliable messages for a remote whose channel is not open yet: nothing that was sent to a participant is lost
//! because its connection is younger than itself.

use std::collections::VecDeque;

use super::SendDataError;

/// How many bytes may wait: far more than a chat has in the second that a connection takes.
const MAX_BYTES: usize = 256 << 10;
/// What a message costs beside its bytes, so that empty ones have an end too.
const MESSAGE_OVERHEAD: usize = 64;

#[derive(Default)]
pub(super) struct EarlyData {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl EarlyData {
    pub(super) fn hold(&mut self, message: &[u8]) -> Result<(), SendDataError> {
        let bytes = self.bytes + message.len() + MESSAGE_OVERHEAD;
        if bytes > MAX_BYTES {
            return Err(SendDataError::Full { limit: MAX_BYTES });
        }
        self.bytes = bytes;
        self.messages.push_back(message.to_vec());
        Ok(())
    }

    pub(super) fn into_messages(self) -> impl Iterator<Item = Vec<u8>> {
        self.messages.into_iter()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_waits_has_an_end_and_keeps_its_order() {
        let mut early = EarlyData::default();
        let held = (0..u32::MAX).take_while(|number| early.hold(&number.to_be_bytes()).is_ok()).count();
        assert_eq!(held, MAX_BYTES / (4 + MESSAGE_OVERHEAD));
        let messages = early.into_messages().map(|message| message.try_into().unwrap());
        assert!(messages.map(u32::from_be_bytes).eq(0..held as u32));
    }
}
