//! Who is let in by which token.

use livekit_protocol::signal_response;

use crate::house::*;

#[tokio::test]
async fn both_kinds_of_token_open_both_doors() {
    let house = House::new().await;
    for door in DOORS {
        for token in [jwt("ann"), hashed("ann", now() + 60)] {
            let mut socket = house.knock(door, &token).await.unwrap();
            let Some(signal_response::Message::Join(join)) = receive(&mut socket).await else { panic!() };
            assert_eq!(join.participant.unwrap().identity, "ann");
        }
    }
}

#[tokio::test]
async fn bad_tokens_are_refused_with_the_reason_and_without_the_token() {
    let house = House::new().await;
    let foreign = mint(&request("ann"), "another-key", now());
    let cases = [
        (String::new(), 401, "no token"),
        ("rubbish".to_string(), 401, "not a JWT"),
        (foreign, 401, "signature"),
        (mint(&request("ann"), KEY, now() - 3600), 401, "expired"),
        (mint(&request("ann"), KEY, now() + 3600), 401, "not valid yet"),
        (hashed("ann", now() - 60), 401, "expired"),
        (hashed("ann", now() + 60).replace(".room.", ".other."), 401, "signature"),
        (hashed("ann", now() + 60).replace(".ann.", ".a%20b."), 401, "bad user"),
        (jwt("ann").replace("ey", "ex"), 401, ""),
        (format!("{}&room=elsewhere", jwt("ann")), 403, "another channel"),
    ];
    for door in DOORS {
        for (token, status, words) in &cases {
            let (got, text) = house.knock(door, token).await.err().unwrap();
            assert_eq!(got, *status, "{text}");
            assert!(text.contains(words), "{text}");
            assert!(token.is_empty() || !text.contains(token.as_str()), "the token is repeated");
            let (got, text) = house.text(&format!("{door}/validate?access_token={token}")).await;
            assert_eq!(got, *status, "{text}");
        }
    }
    assert_eq!(
        house.text(&format!("/rtc/validate?access_token={}", jwt("ann"))).await,
        (200, "success".to_string())
    );
}
