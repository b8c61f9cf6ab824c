//! The management API, and those whom it lets in and sends away.

use livekit_protocol::{DisconnectReason, signal_response};
use rostrum_rtc::token::TokenRequest;
use serde_json::json;

use crate::house::*;

#[tokio::test]
async fn roles_are_changed_and_changes_are_told() {
    let house = House::new().await;
    let mut socket = house.knock("/rtc", &jwt("ann")).await.unwrap();
    receive(&mut socket).await.unwrap();
    let path = "/api/v1/channels/room/participants/ann";
    let permissions = format!("{path}/permissions");
    let auth = basic();
    let put = |body| house.api("PUT", &permissions, Some(&auth), Some(body));
    let (status, view) = put(json!({"role": "listener"})).await;
    assert_eq!((status, &view["permissions"]["can_publish"]), (200, &json!(false)), "{view}");
    assert_eq!(view["permissions"]["can_publish_data"], true);
    let (status, view) = put(json!({"grants": {"can_publish_sources": ["camera"]}})).await;
    assert_eq!((status, &view["permissions"]["can_publish_sources"]), (200, &json!(["camera"])), "{view}");
    for bad in [json!({}), json!({"role": "king"}), json!({"grants": {"can_publish_sources": ["kamera"]}})] {
        let (status, error) = put(bad).await;
        assert_eq!(status, 400, "{error}");
    }
    let body = json!({"name": "Ann_B", "metadata": "m", "attributes": {"hand": "up"}});
    let (status, view) = house.api("PATCH", path, Some(&auth), Some(body)).await;
    assert_eq!((status, &view["name"], &view["attributes"]["hand"]), (200, &json!("Ann_B"), &json!("up")));
    let (status, error) = house.api("PATCH", path, Some(&auth), Some(json!({"name": "a b"}))).await;
    assert_eq!(status, 400, "{error}");
    let body = json!({"metadata": "agenda"});
    assert_eq!(house.api("PATCH", "/api/v1/channels/room", Some(&auth), Some(body)).await.0, 204);
    loop {
        if let signal_response::Message::RoomUpdate(update) = receive(&mut socket).await.unwrap() {
            assert_eq!(update.room.unwrap().metadata, "agenda");
            break;
        }
    }
    let data = "/api/v1/channels/room/data";
    let body = json!({"text": "hello", "topic": "t", "users": ["ann", "nobody"]});
    assert_eq!(house.api("POST", data, Some(&auth), Some(body)).await.1["participants"], 1);
    assert_eq!(house.api("POST", data, Some(&auth), Some(json!({"base64": "?"}))).await.0, 400);
    assert_eq!(house.api("POST", data, Some(&auth), Some(json!({}))).await.0, 400);
}

#[tokio::test]
async fn a_participant_is_forwarded_and_refusals_say_why() {
    let house = House::new().await;
    let mut socket = house.knock("/rtc", &jwt("ann")).await.unwrap();
    receive(&mut socket).await.unwrap();
    let path = "/api/v1/channels/room/participants/ann/forwards";
    let auth = basic();
    let post = |channel| house.api("POST", path, Some(&auth), Some(json!({"channel": channel})));
    assert_eq!(post("other").await.0, 204);
    let (status, error) = post("room").await;
    assert_eq!(status, 409, "{error}");
    let (_, channel) = house.api("GET", "/api/v1/channels/room", Some(&auth), None).await;
    assert_eq!(channel["participants"][0]["forwarded_into"], json!(["other"]));
    let one = format!("{path}/other");
    assert_eq!(house.api("DELETE", &one, Some(&auth), None).await.0, 204);
    assert_eq!(house.api("DELETE", &one, Some(&auth), None).await.0, 404);
}

#[tokio::test]
async fn the_table_in_the_readme_names_every_call() {
    let house = House::new().await;
    let (_, openapi) = house.api("GET", "/api/openapi.json", None, None).await;
    let mut described: Vec<String> = openapi["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, calls)| {
            calls.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let readme = include_str!("../../README.md");
    let mut table: Vec<String> = readme
        .lines()
        .skip_while(|line| !line.starts_with("| call"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('`').nth(1).unwrap().to_string())
        .collect();
    described.sort();
    table.sort();
    assert_eq!(table, described);
}

#[tokio::test]
async fn the_api_wants_the_key_and_says_what_is_wrong() {
    let house = House::new().await;
    let (status, error) = house.api("GET", "/api/v1/channels", None, None).await;
    assert_eq!(status, 401);
    assert!(error["error"].as_str().is_some() && error["hint"].as_str().is_some(), "{error}");
    let (status, error) = house
        .api("POST", "/api/v1/tokens", Some(&basic()), Some(json!({"channel": "a b", "user": "u"})))
        .await;
    assert_eq!(status, 400, "{error}");
    assert!(error["error"].as_str().unwrap().contains("channel contains ' '"), "{error}");
    let (status, _) = house.api("GET", "/api/v1/channels/none", Some(&basic()), None).await;
    assert_eq!(status, 404);
    let (status, openapi) = house.api("GET", "/api/openapi.json", None, None).await;
    assert_eq!(status, 200);
    assert!(openapi["paths"]["/api/v1/channels/{channel}/participants/{user}/mute"].is_object());
}

#[tokio::test]
async fn a_minted_token_lets_in_and_removal_sends_away() {
    let house = House::new().await;
    let body = json!({"channel": "room", "user": "ann", "name": "Ann", "udid": "board-7", "ttl": 60});
    let (status, minted) = house.api("POST", "/api/v1/tokens", Some(&basic()), Some(body)).await;
    assert_eq!(status, 200, "{minted}");
    let mut socket = house.knock("/rtc", minted["token"].as_str().unwrap()).await.unwrap();
    receive(&mut socket).await.unwrap();
    let (_, channel) = house.api("GET", "/api/v1/channels/room", Some(&basic()), None).await;
    assert_eq!(channel["participants"][0]["udid"], "board-7");
    let path = "/api/v1/channels/room/participants/ann";
    let (status, _) =
        house.api("POST", &format!("{path}/mute"), Some(&basic()), Some(json!({"muted": true}))).await;
    assert_eq!(status, 404, "it publishes nothing");
    let (status, _) =
        house.api("POST", &format!("{path}/mute"), Some(&basic()), Some(json!({"muted": false}))).await;
    assert_eq!(status, 403, "nobody is unmuted from afar");
    let (status, _) = house.api("DELETE", path, Some(&basic()), None).await;
    assert_eq!(status, 204);
    loop {
        if let signal_response::Message::Leave(leave) = receive(&mut socket).await.unwrap() {
            assert_eq!(leave.reason(), DisconnectReason::ParticipantRemoved);
            break;
        }
    }
}

#[tokio::test]
async fn a_guest_comes_in_by_a_terminals_invitation() {
    let house = House::new().await;
    let path = "/api/v1/channels/room/invites";
    let (status, _) = house.api("POST", path, Some(&format!("Bearer {}", jwt("ann"))), None).await;
    assert_eq!(status, 403, "a guest does not invite others");
    let terminal = mint(&TokenRequest { udid: Some("board-7".to_string()), ..request("room") }, KEY, now());
    let (status, _) =
        house.api("POST", "/api/v1/channels/other/invites", Some(&format!("Bearer {terminal}")), None).await;
    assert_eq!(status, 403, "not for another channel");
    let (status, invited) = house.api("POST", path, Some(&format!("Bearer {terminal}")), None).await;
    assert_eq!(status, 200, "{invited}");
    assert!(invited["link"].as_str().unwrap().contains("/guest?channel=room&invite="), "{invited}");
    let body = json!({"invite": invited["invite"], "name": "Ada"});
    let (status, guest) = house.api("POST", "/api/v1/guests", None, Some(body)).await;
    assert_eq!(status, 200, "{guest}");
    let mut socket = house.knock("/rtc", guest["token"].as_str().unwrap()).await.unwrap();
    let Some(signal_response::Message::Join(join)) = receive(&mut socket).await else { panic!() };
    let participant = join.participant.unwrap();
    assert_eq!(
        (participant.identity.as_str(), participant.name.as_str()),
        (guest["user"].as_str().unwrap(), "Ada")
    );
    let body = json!({"invite": "no.such.invite", "name": "Ada"});
    assert_eq!(house.api("POST", "/api/v1/guests", None, Some(body)).await.0, 401);
    let (status, _) = house.knock("/rtc", invited["invite"].as_str().unwrap()).await.err().unwrap();
    assert_eq!(status, 401, "an invitation is no token");
}
