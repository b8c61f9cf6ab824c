//! Which address to open, with what in it. `/rtc/v1` has one media connection and carries the offer in the
//! address; `/rtc` has two and knows nothing of us but the token.

use std::{collections::HashMap, io::Write as _};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use flate2::{Compression, write::GzEncoder};
use livekit_protocol as proto;
use prost::Message as _;
use url::Url;

use crate::RtcError;

/// Version of LiveKit's protocol that we speak.
const PROTOCOL: i32 = 16;

/// A door of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// One media connection, `/rtc/v1`.
    One,
    /// Two media connections, `/rtc`.
    Two,
}

/// What we say when we come in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hello {
    pub(crate) auto_subscribe: bool,
    pub(crate) attributes: HashMap<String, String>,
    /// Offer and tracks, for [`Door::One`].
    pub(crate) offer: Option<proto::SessionDescription>,
    pub(crate) tracks: Vec<proto::AddTrackRequest>,
    /// The stay to go on with, by our own sid.
    pub(crate) resume: Option<String>,
}

/// The WebSocket address of a door.
pub(crate) fn address(service: &Url, door: Door, hello: &Hello) -> Result<Url, RtcError> {
    let mut url = service.clone();
    let scheme = match service.scheme() {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        _ => return Err(RtcError::Address(shown(service))),
    };
    // Only between schemes of the same kind does this succeed, and it does.
    url.set_scheme(scheme).map_err(|()| RtcError::Address(shown(service)))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(RtcError::Address(shown(service)));
    }
    url.set_fragment(None);
    url.set_query(None);
    let base = url.path().trim_end_matches('/').to_owned();
    match door {
        Door::One => {
            url.set_path(&format!("{base}/rtc/v1"));
            url.query_pairs_mut().append_pair("join_request", &join_request(hello));
        }
        Door::Two => {
            url.set_path(&format!("{base}/rtc"));
            let mut query = url.query_pairs_mut();
            query
                .append_pair("protocol", &PROTOCOL.to_string())
                .append_pair("auto_subscribe", if hello.auto_subscribe { "1" } else { "0" })
                .append_pair("version", env!("CARGO_PKG_VERSION"));
            if let Some(sid) = &hello.resume {
                query.append_pair("reconnect", "1").append_pair("sid", sid);
            }
            if !hello.attributes.is_empty() {
                // A map of strings always becomes JSON.
                let json = serde_json::to_vec(&hello.attributes).unwrap_or_default();
                query.append_pair("attributes", &URL_SAFE.encode(json));
            }
        }
    }
    Ok(url)
}

/// The address without what may be secret in it.
fn shown(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
}

fn join_request(hello: &Hello) -> String {
    let request = proto::JoinRequest {
        client_info: Some(proto::ClientInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            ..Default::default()
        }),
        connection_settings: Some(proto::ConnectionSettings {
            auto_subscribe: hello.auto_subscribe,
            ..Default::default()
        }),
        participant_attributes: hello.attributes.clone(),
        add_track_requests: hello.tracks.clone(),
        publisher_offer: hello.offer.clone(),
        reconnect: hello.resume.is_some(),
        participant_sid: hello.resume.clone().unwrap_or_default(),
        ..Default::default()
    };
    let plain = request.encode_to_vec();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing into memory cannot fail; without compression the address is longer and just as right.
    let zipped = encoder.write_all(&plain).and_then(|()| encoder.finish()).ok();
    let wrapped = match zipped {
        Some(join_request) => proto::WrappedJoinRequest {
            compression: proto::wrapped_join_request::Compression::Gzip as i32,
            join_request,
        },
        None => proto::WrappedJoinRequest {
            compression: proto::wrapped_join_request::Compression::None as i32,
            join_request: plain,
        },
    };
    URL_SAFE.encode(wrapped.encode_to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_offer_rides_in_the_address() {
        let hello = Hello {
            auto_subscribe: true,
            attributes: HashMap::from([("udid".to_owned(), "u1".to_owned())]),
            offer: Some(proto::SessionDescription {
                r#type: "offer".to_owned(),
                sdp: "v=0".to_owned(),
                id: 1,
                ..Default::default()
            }),
            tracks: vec![proto::AddTrackRequest { cid: "cam".to_owned(), ..Default::default() }],
            resume: None,
        };
        let url = address(&Url::parse("https://example.org/sub/?x=1#y").unwrap(), Door::One, &hello).unwrap();
        assert!(url.as_str().starts_with("wss://example.org/sub/rtc/v1?join_request="));
        let (_, value) = url.query_pairs().next().unwrap();
        let wrapped = proto::WrappedJoinRequest::decode(&URL_SAFE.decode(&*value).unwrap()[..]).unwrap();
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&wrapped.join_request[..]).read_to_end(&mut plain).unwrap();
        let request = proto::JoinRequest::decode(&plain[..]).unwrap();
        assert_eq!(request.publisher_offer.unwrap().sdp, "v=0");
        assert_eq!(request.participant_attributes["udid"], "u1");
        assert_eq!(request.add_track_requests[0].cid, "cam");
    }

    #[test]
    fn two_connections_say_only_what_they_need() {
        let url = address(&Url::parse("ws://127.0.0.1:7880").unwrap(), Door::Two, &Hello::default()).unwrap();
        assert_eq!(url.path(), "/rtc");
        assert!(url.query().unwrap().starts_with("protocol=16&auto_subscribe=0&version="));
    }

    #[test]
    fn a_stay_to_go_on_with_is_named_at_both_doors() {
        let hello = Hello { resume: Some("PA_1".to_owned()), ..Default::default() };
        let service = Url::parse("ws://127.0.0.1:7880").unwrap();
        let two = address(&service, Door::Two, &hello).unwrap();
        assert!(two.query().unwrap().contains("reconnect=1&sid=PA_1"));
        let one = address(&service, Door::One, &hello).unwrap();
        let (_, value) = one.query_pairs().next().unwrap();
        let wrapped = proto::WrappedJoinRequest::decode(&URL_SAFE.decode(&*value).unwrap()[..]).unwrap();
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&wrapped.join_request[..]).read_to_end(&mut plain).unwrap();
        let request = proto::JoinRequest::decode(&plain[..]).unwrap();
        assert_eq!((request.reconnect, request.participant_sid.as_str()), (true, "PA_1"));
    }

    #[test]
    fn an_address_of_something_else_is_refused_with_a_hint() {
        let error =
            address(&Url::parse("ftp://u:p@host/x").unwrap(), Door::One, &Hello::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ftp://host is no address of a service; use ws://HOST:PORT or wss://HOST"
        );
    }
}
