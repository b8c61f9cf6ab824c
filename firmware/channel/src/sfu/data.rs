//! Data messages between participants: passed on as they came, stamped with who sent them.

use std::time::Instant;

use livekit_protocol::{DataPacket, data_packet};
use prost::Message as _;

use crate::transport::DataKind;

use super::{PeerKey, SessionKey, Sfu};

/// Who a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Destination {
    Everybody,
    Some { users: Vec<String>, sids: Vec<String> },
}

impl Sfu {
    pub(super) fn handle_data(&mut self, now: Instant, peer: PeerKey, kind: DataKind, bytes: &[u8]) {
        let Some(key) = self.peers.get(peer).map(|slot| slot.session) else { return };
        let Some(session) = self.sessions.get(key) else { return };
        if !session.identity.grants.may_publish_data() || kind == DataKind::DataTrack {
            return;
        }
        let Ok(packet) = DataPacket::decode(bytes) else {
            log::debug!("a data message that is no DataPacket");
            return;
        };
        let destination = destination(&packet);
        let stamped = stamp(bytes, session.user().as_str(), &session.sid);
        for other in self.others(key) {
            if self.is_for(other, &destination) {
                self.send_data(now, other, kind, &stamped);
            }
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

/// Writes the sender behind a message: of two values for a field the last counts (protobuf encoding, "Last
/// One Wins"), so that nobody speaks for another, and fields unknown here pass untouched.
fn stamp(bytes: &[u8], user: &str, sid: &str) -> Vec<u8> {
    let sender = DataPacket {
        participant_identity: user.to_string(),
        participant_sid: sid.to_string(),
        ..Default::default()
    };
    let mut stamped = bytes.to_vec();
    stamped.extend_from_slice(&sender.encode_to_vec());
    stamped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, deprecated)]
    use super::*;
    use livekit_protocol::UserPacket;
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
            ..Default::default()
        };
        let passed_on = DataPacket::decode(&stamp(&message.encode_to_vec(), "ann", "PA_1")[..]).unwrap();
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

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = DataPacket::decode(&bytes[..]) {
                destination(&packet);
            }
        }
    }
}
