//! What a client says when it knocks: the query of `/rtc`, and the join request inside of it.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use livekit_protocol::{
    ClientInfo, ConnectionSettings, JoinRequest, WrappedJoinRequest, client_info::Sdk, wrapped_join_request,
};
use prost::Message as _;

use super::errors::Refusal;

/// The query of `/rtc`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Query {
    pub(super) access_token: Option<String>,
    /// The channel, where a client names it besides its token.
    pub(super) room: Option<String>,
    /// The join request; its presence means one connection.
    pub(super) join: Option<JoinRequest>,
    pub(super) auto_subscribe: bool,
    pub(super) reconnect: bool,
    /// The stay that a client wants to go on with.
    pub(super) sid: Option<String>,
    pub(super) client: ClientInfo,
}

impl Query {
    /// Reads a query; unknown keys are passed over. `limit` bounds the bytes of a join request.
    pub(super) fn parse(query: &str, limit: usize) -> Result<Self, Refusal> {
        let mut parsed = Self { auto_subscribe: true, ..Self::default() };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let flag = matches!(&*value, "1" | "true");
            match &*key {
                "access_token" => parsed.access_token = Some(value.into_owned()),
                "room" => parsed.room = Some(value.into_owned()),
                "join_request" => parsed.join = Some(decode(&value, limit)?),
                "auto_subscribe" => parsed.auto_subscribe = flag,
                "reconnect" => parsed.reconnect = flag,
                "sid" => parsed.sid = Some(value.into_owned()).filter(|sid| !sid.is_empty()),
                "protocol" => parsed.client.protocol = value.parse().unwrap_or_default(),
                "client_protocol" => parsed.client.client_protocol = value.parse().unwrap_or_default(),
                "sdk" => parsed.client.sdk = sdk(&value).into(),
                "version" => parsed.client.version = value.chars().take(64).collect(),
                _ => {}
            }
        }
        if let Some(join) = &mut parsed.join {
            parsed.reconnect |= join.reconnect;
            let settings: ConnectionSettings = join
                .connection_settings
                .unwrap_or(ConnectionSettings { auto_subscribe: true, ..Default::default() });
            parsed.auto_subscribe = settings.auto_subscribe;
            parsed.client = join.client_info.take().unwrap_or_default();
        }
        Ok(parsed)
    }
}

fn sdk(name: &str) -> Sdk {
    Sdk::from_str_name(&name.to_uppercase()).unwrap_or(Sdk::Unknown)
}

/// Decodes base64 (either alphabet) of a `WrappedJoinRequest` that holds a, perhaps gzipped, `JoinRequest`.
fn decode(text: &str, limit: usize) -> Result<JoinRequest, Refusal> {
    let bad = || {
        Refusal::Bad("join_request is not a base64 livekit.WrappedJoinRequest; update the SDK".to_string())
    };
    let too_large = || Refusal::TooLarge { what: "join_request", limit };
    if text.len() > limit * 2 {
        return Err(too_large());
    }
    let standard: String = text
        .trim_end_matches('=')
        .chars()
        .map(|c| match c {
            '-' | ' ' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    let bytes = STANDARD_NO_PAD.decode(standard).map_err(|_| bad())?;
    let wrapped = WrappedJoinRequest::decode(&bytes[..]).map_err(|_| bad())?;
    let plain = match wrapped.compression() {
        wrapped_join_request::Compression::None => wrapped.join_request,
        wrapped_join_request::Compression::Gzip => {
            let mut plain = Vec::new();
            let mut reader = flate2::read::GzDecoder::new(&wrapped.join_request[..]).take(limit as u64 + 1);
            reader.read_to_end(&mut plain).map_err(|_| bad())?;
            plain
        }
    };
    if plain.len() > limit {
        return Err(too_large());
    }
    JoinRequest::decode(&plain[..]).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use base64::engine::general_purpose::URL_SAFE;
    use proptest::prelude::*;
    use std::io::Write as _;

    const LIMIT: usize = 64 * 1024;

    fn wrap(plain: &[u8], gzip: bool) -> String {
        let (compression, join_request) = if gzip {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(plain).unwrap();
            (wrapped_join_request::Compression::Gzip, encoder.finish().unwrap())
        } else {
            (wrapped_join_request::Compression::None, plain.to_vec())
        };
        let wrapped = WrappedJoinRequest { compression: compression.into(), join_request };
        URL_SAFE.encode(wrapped.encode_to_vec())
    }

    #[test]
    fn a_join_request_is_read_plain_and_gzipped() {
        let request = JoinRequest {
            connection_settings: Some(ConnectionSettings { auto_subscribe: false, ..Default::default() }),
            participant_sid: "PA_1".to_string(),
            ..Default::default()
        };
        for gzip in [false, true] {
            let query = format!("access_token=x&join_request={}", wrap(&request.encode_to_vec(), gzip));
            let parsed = Query::parse(&query, LIMIT).unwrap();
            assert_eq!(parsed.join.unwrap().participant_sid, "PA_1");
            assert!(!parsed.auto_subscribe);
        }
    }

    #[test]
    fn the_query_of_older_clients_is_read_with_its_double_ampersand() {
        let query =
            Query::parse("&&auto_subscribe=0&sdk=go&protocol=17&reconnect=1&sid=PA_1&what=ever", LIMIT)
                .unwrap();
        assert_eq!(query.sid.as_deref(), Some("PA_1"));
        assert_eq!((query.auto_subscribe, query.reconnect, query.client.protocol), (false, true, 17));
        assert_eq!(query.client.sdk(), Sdk::Go);
        assert!(Query::parse("", LIMIT).unwrap().auto_subscribe);
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        let bomb = wrap(&vec![0; 50 * LIMIT], true);
        assert!(bomb.len() < LIMIT);
        let refusal = Query::parse(&format!("join_request={bomb}"), LIMIT).unwrap_err();
        assert!(matches!(refusal, Refusal::TooLarge { .. }));
    }

    proptest! {
        #[test]
        fn no_query_panics(query in "\\PC{0,200}") {
            let _ = Query::parse(&query, LIMIT);
            let _ = Query::parse(&format!("join_request={query}"), LIMIT);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), gzip: bool) {
            let _ = decode(&wrap(&bytes, gzip), LIMIT);
            let _ = decode(&URL_SAFE.encode(&bytes), LIMIT);
        }
    }
}
