//! Data messages between participants: passed on as they came, stamped with who sent them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use livekit_protocol::{
    DataChannelReceiveState, DataPacket, RequestResponse, UserPacket, data_packet, data_packet::Kind,
    request_response, signal_response::Message,
};
use prost::Message as _;

use crate::transport::DataKind;

use super::{PeerKey, SessionKey, Sfu};

/// Who a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Destination {
    Everybody,
    Some { users: Vec<String>, sids: Vec<String> },
}

/// How long, and how many bytes, of what a participant sent reliably can be sent again to those who resume.
const KEPT_FOR: Duration = Duration::from_secs(15);
const MAX_KEPT_BYTES: usize = 1 << 20;

struct Kept {
    at: Instant,
    sequence: u32,
    destination: Destination,
    bytes: Bytes,
}

/// What a participant sent on its reliable channel lately, by the sequence numbers that newer clients give.
#[derive(Default)]
pub(super) struct ReliableLog {
    last_sequence: u32,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
}

impl ReliableLog {
    /// The last sequence number that came; 0 when none did.
    pub(super) fn last_sequence(&self) -> u32 {
        self.last_sequence
    }

    /// Whether a message is new. Clients that resume send again what they do not know to have arrived; those
    /// that do not number their messages (0) never do.
    fn is_new(&mut self, sequence: u32) -> bool {
        let new = sequence == 0 || sequence > self.last_sequence;
        self.last_sequence = self.last_sequence.max(sequence);
        new
    }

    fn keep(&mut self, kept: Kept) {
        if kept.sequence == 0 || kept.bytes.len() > MAX_KEPT_BYTES {
            return;
        }
        self.kept_bytes += kept.bytes.len();
        let now = kept.at;
        self.kept.push_back(kept);
        while let Some(first) = self.kept.front() {
            if self.kept_bytes <= MAX_KEPT_BYTES && now.saturating_duration_since(first.at) <= KEPT_FOR {
                break;
            }
            self.kept_bytes -= first.bytes.len();
            self.kept.pop_front();
        }
    }

    /// What was sent after a sequence number and not too long ago.
    fn after(&self, now: Instant, sequence: u32) -> impl Iterator<Item = &Kept> {
        self.kept.iter().filter(move |kept| {
            kept.sequence > sequence && now.saturating_duration_since(kept.at) <= KEPT_FOR
        })
    }
}

impl Sfu {
    pub(super) fn handle_data(&mut self, now: Instant, peer: PeerKey, kind: DataKind, bytes: &[u8]) {
        let Some(key) = self.peers.get(peer).map(|slot| slot.session) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        if kind == DataKind::DataTrack {
            return;
        }
        if !session.identity.grants.may_publish_data() {
            return self.refuse_data(key);
        }
        let Ok(packet) = DataPacket::decode(bytes) else {
            log::debug!("a data message that is no DataPacket");
            return;
        };
        if kind == DataKind::Reliable && !session.reliable.is_new(packet.sequence) {
            return;
        }
        let destination = destination(&packet);
        let stamped = Bytes::from(stamp(bytes, kind, session.user().as_str(), &session.sid));
        if kind == DataKind::Reliable {
            session.reliable.keep(Kept {
                at: now,
                sequence: packet.sequence,
                destination: destination.clone(),
                bytes: stamped.clone(),
            });
        }
        for other in self.others(key).into_iter().chain(self.members_abroad(key, true)) {
            if self.is_for(other, &destination) {
                self.send_data(now, other, kind, &stamped);
            }
        }
    }

    /// Says once that data is not allowed: it may come many times a second.
    fn refuse_data(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !std::mem::replace(&mut session.told_no_data, true) {
            session.send(Message::RequestResponse(RequestResponse {
                reason: request_response::Reason::NotAllowed.into(),
                message: "the token does not allow sending data".to_string(),
                ..Default::default()
            }));
        }
    }

    /// Says once that messages have a limit: clients that heed the session description never come here.
    pub(super) fn refuse_long_data(&mut self, peer: PeerKey, len: usize) {
        let limit = self.config.peer.max_data_message_len;
        let Some(slot) = self.peers.get(peer) else { return };
        let Some(session) = self.sessions.get_mut(slot.session) else { return };
        if !std::mem::replace(&mut session.told_long_data, true) {
            session.send(Message::RequestResponse(RequestResponse {
                reason: request_response::Reason::LimitExceeded.into(),
                message: format!(
                    "a data message of {len} bytes is longer than {limit} (limits.data_message_bytes); split it"
                ),
                ..Default::default()
            }));
        }
    }

    /// Sends a message of the service itself to those of a channel that it is for; says how many those are.
    pub(super) fn send_from_service(
        &mut self,
        now: Instant,
        sessions: &[SessionKey],
        kind: DataKind,
        message: UserPacket,
        users: &[String],
    ) -> usize {
        let kind_value = if kind == DataKind::Lossy { Kind::Lossy } else { Kind::Reliable };
        #[allow(deprecated)] // Clients read it all the same.
        let packet = DataPacket {
            kind: kind_value.into(),
            destination_identities: users.to_vec(),
            value: Some(data_packet::Value::User(message)),
            ..Default::default()
        };
        let (destination, bytes) = (destination(&packet), packet.encode_to_vec());
        let chosen: Vec<SessionKey> =
            sessions.iter().copied().filter(|key| self.is_for(*key, &destination)).collect();
        for key in &chosen {
            self.send_data(now, *key, kind, &bytes);
        }
        chosen.len()
    }

    /// Sends again what others sent reliably after what a participant that resumes has got. What is still on
    /// its way comes twice; clients that say what they have pass over the second.
    pub(super) fn resend_data(&mut self, now: Instant, key: SessionKey, states: &[DataChannelReceiveState]) {
        let mut missed = Vec::new();
        for state in states {
            let sender = self.seen_by(key).into_iter().filter_map(|other| self.sessions.get(other));
            let Some(sender) = sender.into_iter().find(|sender| sender.sid == state.publisher_sid) else {
                continue;
            };
            let Some(session) = self.sessions.get(key) else { return };
            let here = sender.channel() == session.channel();
            if !here && !sender.forwards.iter().any(|f| f.into == *session.channel() && f.data) {
                continue;
            }
            for kept in sender.reliable.after(now, state.last_seq) {
                if self.is_for(key, &kept.destination) {
                    missed.push(kept.bytes.clone());
                }
            }
        }
        for bytes in missed {
            self.send_data(now, key, DataKind::Reliable, &bytes);
        }
    }

    fn is_for(&self, key: SessionKey, destination: &Destination) -> bool {
        let Some(session) = self.sessions.get(key) else { return false };
        match destination {
            Destination::Everybody => true,
            Destination::Some { users, sids } => {
                users.iter().any(|user| user == session.user().as_str()) || sids.contains(&session.sid)
            }
        }
    }

    fn send_data(&mut self, now: Instant, key: SessionKey, kind: DataKind, bytes: &[u8]) {
        let Some(session) = self.sessions.get(key) else { return };
        let peer = session.peers.subscriber();
        let Some(slot) = self.peers.get_mut(peer) else { return };
        if let Err(error) = slot.peer.send_data(now, kind, bytes) {
            log::debug!(error:%; "a data message was not passed on");
        }
        self.touch(peer);
    }
}

#[allow(deprecated)] // Older clients address inside of the user packet.
fn destination(packet: &DataPacket) -> Destination {
    let mut users = packet.destination_identities.clone();
    let mut sids = Vec::new();
    if let Some(data_packet::Value::User(user)) = &packet.value {
        users.extend(user.destination_identities.iter().cloned());
        sids.extend(user.destination_sids.iter().cloned());
    }
    if users.is_empty() && sids.is_empty() {
        Destination::Everybody
    } else {
        Destination::Some { users, sids }
    }
}

/// Writes the sender, and on which channel it came, behind a message: of two values for a field the last counts
/// (protobuf encoding, "Last One Wins"), so that nobody speaks for another, and fields unknown here pass
/// untouched.
fn stamp(bytes: &[u8], kind: DataKind, user: &str, sid: &str) -> Vec<u8> {
    let sender = DataPacket {
        participant_identity: user.to_string(),
        participant_sid: sid.to_string(),
        ..Default::default()
    };
    let mut stamped = bytes.to_vec();
    // `DataPacket.kind`, field 1: written even where it is the default, which an encoder leaves out.
    let kind = if kind == DataKind::Lossy { Kind::Lossy } else { Kind::Reliable };
    stamped.extend_from_slice(&[0x08, kind as u8]);
    stamped.extend_from_slice(&sender.encode_to_vec());
    stamped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, deprecated)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nobody_speaks_for_another_and_the_rest_is_untouched() {
        let message = DataPacket {
            participant_identity: "somebody-else".to_string(),
            participant_sid: "PA_x".to_string(),
            value: Some(data_packet::Value::User(UserPacket {
                payload: vec![1, 2, 3],
                ..Default::default()
            })),
            sequence: 7,
            kind: data_packet::Kind::Lossy.into(),
            ..Default::default()
        };
        let stamped = stamp(&message.encode_to_vec(), DataKind::Reliable, "ann", "PA_1");
        let passed_on = DataPacket::decode(&stamped[..]).unwrap();
        assert_eq!(passed_on.kind(), data_packet::Kind::Reliable, "by the channel that it came on");
        assert_eq!(
            (passed_on.participant_identity.as_str(), passed_on.participant_sid.as_str()),
            ("ann", "PA_1")
        );
        assert_eq!((passed_on.value, passed_on.sequence), (message.value, 7));
    }

    #[test]
    fn destinations_are_read_at_old_and_new_places() {
        let mut message =
            DataPacket { destination_identities: vec!["ann".to_string()], ..Default::default() };
        assert_eq!(destination(&message), Destination::Some { users: vec!["ann".to_string()], sids: vec![] });
        message.destination_identities.clear();
        assert_eq!(destination(&message), Destination::Everybody);
        let user = UserPacket { destination_sids: vec!["PA_1".to_string()], ..Default::default() };
        message.value = Some(data_packet::Value::User(user));
        assert_eq!(
            destination(&message),
            Destination::Some { users: vec![], sids: vec!["PA_1".to_string()] }
        );
    }

    fn kept(at: Instant, sequence: u32, length: usize) -> Kept {
        Kept { at, sequence, destination: Destination::Everybody, bytes: vec![0; length].into() }
    }

    #[test]
    fn what_a_client_sends_again_is_not_passed_on_twice() {
        let mut log = ReliableLog::default();
        let passed: Vec<bool> = [1, 2, 2, 1, 3, 0, 0].map(|sequence| log.is_new(sequence)).into();
        assert_eq!(passed, [true, true, false, false, true, true, true]);
        assert_eq!(log.last_sequence(), 3);
    }

    #[test]
    fn what_was_sent_is_kept_for_a_while_and_within_bounds() {
        let (start, mut log) = (Instant::now(), ReliableLog::default());
        for sequence in 1..=100 {
            log.keep(kept(start, sequence, MAX_KEPT_BYTES / 10));
        }
        assert!(log.kept_bytes <= MAX_KEPT_BYTES && log.kept.len() == 10);
        let sequences: Vec<u32> = log.after(start, 97).map(|kept| kept.sequence).collect();
        assert_eq!(sequences, [98, 99, 100]);
        let late = start + KEPT_FOR + Duration::from_millis(1);
        assert_eq!(log.after(late, 0).count(), 0);
        log.keep(kept(late, 101, 10));
        assert_eq!((log.kept.len(), log.kept_bytes), (1, 10));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = DataPacket::decode(&bytes[..]) {
                destination(&packet);
            }
        }
    }
}
