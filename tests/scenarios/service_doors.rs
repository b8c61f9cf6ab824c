//! Tokens at every door: wrong, expired, foreign and badly named ones are refused with a reason
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::{SystemTime, UNIX_EPOCH};

use livekit_protocol::signal_response;
use rostrum_rtc::{
    names::{AppId, ChannelId, UserId},
    token::{AppKey, mint_hashed, sign},
};
use rostrum_tests::{
    Lab,
    lab::CHANNEL,
    signalling::{Refusal, Signalling},
};
use serde_json::{Value, json};

const ANOTHER_KEY: &str = "another-key-of-some-length-0123456789";
/// The older door with two connections, and the newer one with one.
const DOORS: [&str; 2] = ["/rtc", "/rtc/v1"];

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn refused(lab: &Lab, door: &str, token: &str) -> Refusal {
    match Signalling::knock(&lab.service.url, door, token).unwrap() {
        Ok(_) => panic!("{door} let it in"),
        Err(refusal) => {
            assert!(refusal.reason.len() > 10, "no reason: {refusal:?}");
            assert!(token.is_empty() || !refusal.reason.contains(token), "the refusal repeats the token");
            refusal
        }
    }
}

fn hashed(lab: &Lab, app_key: &str, expires: u64) -> String {
    mint_hashed(
        &AppId::new(lab.service.app_id.clone()).unwrap(),
        &AppKey::new(app_key),
        &ChannelId::new(CHANNEL).unwrap(),
        &UserId::new("Ada").unwrap(),
        "",
        expires,
    )
    .unwrap()
}

/// A JWT of the application with one claim changed.
fn jwt_with(lab: &Lab, key: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = json!({
        "iss": lab.service.app_id, "sub": "Ada", "nbf": now() - 60, "exp": now() + 60,
        "video": {"roomJoin": true, "room": CHANNEL},
    });
    change(&mut claims);
    sign(&AppKey::new(key), &claims).unwrap()
}

#[test]
fn good_tokens_of_both_kinds_are_let_in_at_both_doors() {
    let lab = Lab::new().unwrap();
    let jwt = lab.service.token(CHANNEL, "Ada", None).unwrap();
    let hash = hashed(&lab, &lab.service.app_key, now() + 60);
    for door in DOORS {
        for token in [&jwt, &hash] {
            let mut socket = Signalling::knock(&lab.service.url, door, token).unwrap().unwrap();
            let first = socket.receive().unwrap();
            let signal_response::Message::Join(join) = first else { panic!("not a join: {first:?}") };
            assert_eq!(join.room.unwrap().name, CHANNEL);
            assert_eq!(join.participant.unwrap().identity, "Ada");
        }
    }
}

#[test]
fn bad_tokens_are_refused_with_a_reason_at_both_doors() {
    let lab = Lab::new().unwrap();
    let good = lab.service.token(CHANNEL, "Ada", None).unwrap();
    let key = &lab.service.app_key;
    assert!(
        Signalling::knock(&lab.service.url, "/rtc", &jwt_with(&lab, key, |_| {})).unwrap().is_ok(),
        "the cases below differ in one thing from a token that is let in"
    );
    let bad_hash = |place: usize, with: &str| {
        let text = hashed(&lab, &lab.service.app_key, now() + 60);
        let mut parts: Vec<_> = text.split('.').map(str::to_owned).collect();
        parts[place] = with.into();
        parts.join(".")
    };
    let cases = [
        ("no token", String::new()),
        ("no token at all in it", "rubbish".into()),
        ("cut short", good[..good.len() - 4].into()),
        ("another key", jwt_with(&lab, ANOTHER_KEY, |_| {})),
        ("an unknown app", jwt_with(&lab, key, |claims| claims["iss"] = json!("nobody"))),
        ("expired", jwt_with(&lab, key, |claims| claims["exp"] = json!(now() - 3600))),
        ("a bad user", jwt_with(&lab, key, |claims| claims["sub"] = json!("Ada Lovelace!"))),
        ("a bad channel", jwt_with(&lab, key, |claims| claims["video"]["room"] = json!("board room"))),
        ("a hash of another key", hashed(&lab, ANOTHER_KEY, now() + 60)),
        ("a hash that expired", hashed(&lab, &lab.service.app_key, now() - 60)),
        ("a hash for another channel", bad_hash(2, "elsewhere")),
        ("a hash for a bad user", bad_hash(3, "Ada!")),
        ("a hash for another app", bad_hash(1, "nobody")),
    ];
    for door in DOORS {
        for (name, token) in &cases {
            let refusal = refused(&lab, door, token);
            assert!(refusal.status.is_client_error(), "{name} at {door}: {refusal:?}");
            println!("{door}: {name}: {} {}", refusal.status, refusal.reason.trim());
        }
    }
}

#[test]
fn the_management_api_wants_the_applications_key() {
    let lab = Lab::new().unwrap();
    let url = format!("{}/api/v1/channels", lab.service.url);
    let error = xtask::room::http("GET", &url, None, None).unwrap_err().to_string();
    assert!(error.contains("401"), "{error}");
    let wrong = Some(("Authorization", "Basic ZGVtbzp3cm9uZw=="));
    let error = xtask::room::http("GET", &url, wrong, None).unwrap_err().to_string();
    assert!(error.contains("401"), "{error}");
    lab.service.api("GET", "/api/v1/channels", None).unwrap();
}

#[test]
fn rubbish_on_a_socket_ends_that_socket_and_nothing_else() {
    let lab = Lab::new().unwrap();
    let token = lab.service.token(CHANNEL, "Ada", None).unwrap();
    let mut ada = Signalling::knock(&lab.service.url, "/rtc", &token).unwrap().unwrap();
    ada.receive().unwrap();
    for seed in 0_u32..64 {
        let token = lab.service.token(CHANNEL, "Mallory", None).unwrap();
        let mut mallory = Signalling::knock(&lab.service.url, "/rtc", &token).unwrap().unwrap();
        mallory.receive().unwrap();
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let bytes = (0..seed * 37).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        // The service may close before all is sent.
        let _ = mallory.send_bytes(bytes.collect());
    }
    let users = lab.users().unwrap();
    assert!(users.contains(&"Ada".to_owned()), "{users:?}");
}
