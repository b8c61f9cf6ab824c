//! What clients say on their sockets. The table in `README.md` says the same for people.

use std::time::Instant;

use livekit_protocol::{
    DisconnectReason, Pong, RequestResponse, SignalRequest, leave_request, request_response, signal_request,
    signal_response::Message, simulate_scenario,
};

use super::{SessionKey, Sfu};

impl Sfu {
    pub(super) fn handle_signal(&mut self, now: Instant, key: SessionKey, request: SignalRequest) {
        use signal_request::Message as Request;
        self.heard(now, key);
        let Some(message) = request.message else { return };
        match message {
            Request::Offer(offer) => self.client_offer(now, key, offer),
            Request::Answer(answer) => self.client_answer(now, key, answer),
            Request::Trickle(trickle) => self.trickle(key, trickle.target(), &trickle.candidate_init),
            Request::AddTrack(request) => self.add_track(now, key, request),
            Request::Mute(request) => self.mute_own(now, key, &request),
            Request::Subscription(update) => self.update_subscription(now, key, &update),
            Request::TrackSetting(settings) => self.update_track_settings(now, key, &settings),
            Request::Leave(leave) => {
                let reason = match leave.reason() {
                    DisconnectReason::UnknownReason => DisconnectReason::ClientInitiated,
                    reason => reason,
                };
                self.remove_session(now, key, reason);
            }
            Request::SubscriptionPermission(permission) => {
                self.update_subscription_permission(now, key, permission);
            }
            Request::Ping(_) => {
                let pong = self.unix_ms(now) as i64;
                self.send(key, Message::Pong(pong));
            }
            Request::PingReq(ping) => {
                let pong = Pong { last_ping_timestamp: ping.timestamp, timestamp: self.unix_ms(now) as i64 };
                self.send(key, Message::PongResp(pong));
            }
            Request::UpdateMetadata(update) => self.update_metadata(key, update),
            Request::UpdateAudioTrack(update) => {
                if let Some(track) =
                    self.own_track(key, &update.track_sid).and_then(|t| self.tracks.get_mut(t))
                {
                    track.info.audio_features = update.features;
                    self.tell_changed(key);
                }
            }
            Request::UpdateVideoTrack(update) => {
                if let Some(track) =
                    self.own_track(key, &update.track_sid).and_then(|t| self.tracks.get_mut(t))
                {
                    (track.info.width, track.info.height) = (update.width, update.height);
                    self.tell_changed(key);
                }
            }
            Request::Simulate(scenario) => self.simulate(now, key, scenario.scenario),
            Request::PublishDataTrackRequest(request) => {
                self.unsupported(key, 0, Some(request_response::Request::PublishDataTrack(request)));
            }
            Request::UnpublishDataTrackRequest(request) => {
                self.unsupported(key, 0, Some(request_response::Request::UnpublishDataTrack(request)));
            }
            Request::SyncState(state) => self.sync_state(now, key, &state),
            Request::StoreDataBlobRequest(request) => self.unsupported(key, request.request_id, None),
            Request::GetDataBlobRequest(request) => self.unsupported(key, request.request_id, None),
            // Nothing to do: see the table in README.md.
            #[allow(deprecated)]
            Request::UpdateLayers(_) | Request::UpdateDataSubscription(_) => {}
        }
    }

    fn unsupported(&mut self, key: SessionKey, request_id: u32, request: Option<request_response::Request>) {
        self.respond(
            key,
            request_id,
            request_response::Reason::UnsupportedType,
            "not supported here",
            request,
        );
    }

    pub(super) fn respond(
        &mut self,
        key: SessionKey,
        request_id: u32,
        reason: request_response::Reason,
        message: &str,
        request: Option<request_response::Request>,
    ) {
        let response =
            RequestResponse { request_id, reason: reason.into(), message: message.to_string(), request };
        self.send(key, Message::RequestResponse(response));
    }

    /// Scenarios with which clients test themselves.
    fn simulate(&mut self, now: Instant, key: SessionKey, scenario: Option<simulate_scenario::Scenario>) {
        use simulate_scenario::Scenario;
        match scenario {
            Some(Scenario::ServerLeave(_)) => {
                self.send_leave(key, DisconnectReason::ServerShutdown, leave_request::Action::Disconnect);
                self.remove_session(now, key, DisconnectReason::ServerShutdown);
            }
            Some(
                Scenario::LeaveRequestFullReconnect(_) | Scenario::NodeFailure(_) | Scenario::Migration(_),
            ) => {
                self.send_leave(key, DisconnectReason::ServerShutdown, leave_request::Action::Reconnect);
                self.remove_session(now, key, DisconnectReason::ServerShutdown);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    /// The names of all requests in LiveKit's protocol, from the derived `Debug` of one of each would need a
    /// value of each: they are read from the protocol's own description instead.
    fn requests_of_the_protocol() -> BTreeSet<String> {
        // Tags of `livekit.SignalRequest` in livekit-protocol 0.8: encode an empty value for each tag and see
        // which the decoder knows.
        use prost::Message as _;
        let mut names = BTreeSet::new();
        for tag in 1u32..64 {
            for (wire_type, body) in [(2u32, vec![0u8]), (0, vec![1])] {
                let mut bytes = Vec::new();
                prost::encoding::encode_varint(u64::from(tag << 3 | wire_type), &mut bytes);
                bytes.extend(body);
                if let Ok(livekit_protocol::SignalRequest { message: Some(message) }) =
                    livekit_protocol::SignalRequest::decode(&bytes[..])
                {
                    let debug = format!("{message:?}");
                    names.insert(debug.split(['(', ' ']).next().unwrap().to_string());
                }
            }
        }
        names
    }

    #[test]
    fn the_table_in_the_readme_names_every_request() {
        let readme = include_str!("../../README.md");
        let table: BTreeSet<String> = readme
            .lines()
            .skip_while(|line| !line.starts_with("| `SignalRequest`"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.split('`').nth(1).unwrap().to_string())
            .map(|snake| {
                snake.split('_').map(|part| part[..1].to_uppercase() + &part[1..]).collect::<String>()
            })
            .collect();
        assert_eq!(table, requests_of_the_protocol());
    }
}
