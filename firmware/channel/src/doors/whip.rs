//! The doors for those who speak HTTP only: `/whip/{channel}` to publish (RFC 9725) and `/whep/{channel}` to watch
//! (draft-ietf-wish-whep). One POST with an offer lets in; the address in its answer takes PATCH (trickled
//! candidates, ICE restart) and DELETE.

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{patch, post};
use livekit_protocol::{IceServer, TrackSource};
use rostrum_rtc::names::{ChannelId, UserId};
use rostrum_rtc::token::{Identity, TokenError};
use tokio::sync::oneshot;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;

use super::Doors;
use super::errors::Refusal;
use super::problem::{Problem, ProblemDetails};
use crate::sfu::command::Command;
use crate::sfu::whip::{
    Door, IfMatch, OpenSpec, Opened, Patched, Purpose, Target, View, WhipCommand, WhipRefusal,
};
use crate::transport::SdpFragment;

/// Media type of offers and answers.
const SDP: &str = "application/sdp";
/// Media type of what PATCH takes (RFC 8840 §9).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// What may be asked of a door, and of a stay.
const DOOR_METHODS: &str = "POST, GET, HEAD, OPTIONS";
const STAY_METHODS: &str = "PATCH, DELETE, GET, HEAD, OPTIONS";
/// Entity tags that one If-Match may name.
const MAX_TAGS: usize = 16;

type Body = Result<Bytes, BytesRejection>;
type Answer = Result<Response, Problem>;

#[derive(OpenApi)]
#[openapi(
    paths(publish, watch, change_publisher, end_publisher, change_viewer, end_viewer),
    components(schemas(ProblemDetails))
)]
struct Description;

/// What OpenAPI says of these doors.
pub(super) fn description() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// Routes of both doors. `limit` bounds the bytes of a body.
pub(super) fn routes(limit: usize) -> Router<Doors> {
    // Any page may use its own token; what a browser's script must read of the answer is named.
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_headers(AllowHeaders::mirror_request())
        .allow_methods([Method::POST, Method::PATCH, Method::DELETE, Method::GET])
        .expose_headers([
            header::LOCATION,
            header::ETAG,
            header::LINK,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            ACCEPT_POST,
            ACCEPT_PATCH,
        ]);
    let accept =
        |name, media_type| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(media_type));
    let doors = Router::new()
        .route("/whip/{channel}", post(publish).get(nothing_to_show).fallback(no_such_method_of_a_door))
        .route("/whep/{channel}", post(watch).get(a_player_asks).fallback(no_such_method_of_a_door))
        .layer(cors.clone())
        .layer(accept(ACCEPT_POST, SDP));
    let stays = Router::new()
        .route(
            "/whip/{channel}/{id}",
            patch(change_publisher)
                .delete(end_publisher)
                .get(nothing_to_show)
                .fallback(no_such_method_of_a_stay),
        )
        .route(
            "/whep/{channel}/{id}",
            patch(change_viewer).delete(end_viewer).get(nothing_to_show).fallback(no_such_method_of_a_stay),
        )
        .layer(cors)
        .layer(accept(ACCEPT_PATCH, FRAGMENT));
    doors.merge(stays).layer(DefaultBodyLimit::max(limit))
}

/// There is nothing to represent (RFC 9725 §4.1).
async fn nothing_to_show() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Players find out by HEAD whether an address is a door to watch by.
async fn a_player_asks() -> impl IntoResponse {
    [(header::CONTENT_TYPE, SDP)]
}

async fn no_such_method_of_a_door() -> Problem {
    Problem(Refusal::Method(DOOR_METHODS))
}

async fn no_such_method_of_a_stay() -> Problem {
    Problem(Refusal::Method(STAY_METHODS))
}

/// Publishes into a channel (WHIP, RFC 9725): the body is an SDP offer, the answer's body ours, its Location where
/// to send PATCH and DELETE. `?source=screen_share` publishes a screen instead of a camera.
#[utoipa::path(post, path = "/whip/{channel}", security(("terminal" = [])),
    params(("channel", description = "ChannelId"), ("source" = Option<String>, Query, description = "`camera` (default) or `screen_share`")),
    request_body(content = String, content_type = "application/sdp"), responses(
    (status = 201, body = String, content_type = "application/sdp", headers(("Location" = String), ("ETag" = String), ("Link" = String))),
    (status = 400, body = ProblemDetails), (status = 401, body = ProblemDetails), (status = 403, body = ProblemDetails),
    (status = 415, body = ProblemDetails), (status = 422, body = ProblemDetails), (status = 429, body = ProblemDetails),
    (status = 503, body = ProblemDetails)))]
async fn publish(
    State(doors): State<Doors>,
    channel: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let identity = in_channel(doors.identify(&headers, None)?, &channel)?;
    let mut screen = false;
    for (name, value) in pairs(query.as_deref()) {
        if name == "source" {
            screen = match source(&value)? {
                TrackSource::ScreenShare => true,
                TrackSource::Camera => false,
                _ => return Err(bad("source is `camera` or `screen_share`; sound goes with either").into()),
            };
        }
    }
    doors.open(Door::Publish, identity, &headers, body, Purpose::Publish { screen }).await
}

/// Watches a channel (WHEP): the body is an SDP offer, the answer's body ours, its Location where to send PATCH and
/// DELETE. Every section that is offered gets what is there, now or later.
#[utoipa::path(post, path = "/whep/{channel}", security(("terminal" = [])),
    params(("channel", description = "ChannelId"),
        ("user" = Option<String>, Query, description = "Whom to watch: a UserId; whoever is there when nothing is said"),
        ("source" = Option<Vec<String>>, Query, description = "What to watch: `camera`, `screen_share`, `microphone`, `screen_share_audio`; may be said more than once")),
    request_body(content = String, content_type = "application/sdp"), responses(
    (status = 201, body = String, content_type = "application/sdp", headers(("Location" = String), ("ETag" = String), ("Link" = String))),
    (status = 400, body = ProblemDetails), (status = 401, body = ProblemDetails), (status = 403, body = ProblemDetails),
    (status = 415, body = ProblemDetails), (status = 422, body = ProblemDetails), (status = 429, body = ProblemDetails),
    (status = 503, body = ProblemDetails)))]
async fn watch(
    State(doors): State<Doors>,
    channel: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let identity = in_channel(doors.identify(&headers, None)?, &channel)?;
    let mut view = View::default();
    for (name, value) in pairs(query.as_deref()) {
        match name.as_str() {
            "user" => view.user = Some(UserId::new(value)?),
            "source" => {
                let source = source(&value)?;
                if !view.sources.contains(&source) {
                    view.sources.push(source);
                }
            }
            _ => {}
        }
    }
    doors.open(Door::Watch, identity, &headers, body, Purpose::Watch(view)).await
}

/// Tells ICE candidates (`If-Match` with the ETag), or restarts ICE (`If-Match: *`).
#[utoipa::path(patch, path = "/whip/{channel}/{id}", security(("terminal" = [])),
    params(("channel", description = "ChannelId"), ("id", description = "from the Location"), ("If-Match", Header, description = "the ETag, or `*`")),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"), responses(
    (status = 204), (status = 200, body = String, content_type = "application/trickle-ice-sdpfrag", headers(("ETag" = String))),
    (status = 400, body = ProblemDetails), (status = 401, body = ProblemDetails), (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails),
    (status = 412, body = ProblemDetails), (status = 415, body = ProblemDetails), (status = 428, body = ProblemDetails)))]
async fn change_publisher(
    State(doors): State<Doors>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    doors.change(Door::Publish, path, &headers, body).await
}

/// Ends publishing; the participant leaves the channel.
#[utoipa::path(delete, path = "/whip/{channel}/{id}", security(("terminal" = [])),
    params(("channel", description = "ChannelId"), ("id", description = "from the Location")), responses(
    (status = 200), (status = 401, body = ProblemDetails), (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails)))]
async fn end_publisher(
    State(doors): State<Doors>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Answer {
    doors.end(Door::Publish, path, &headers).await
}

/// Tells ICE candidates (`If-Match` with the ETag), or restarts ICE (`If-Match: *`).
#[utoipa::path(patch, path = "/whep/{channel}/{id}", security(("terminal" = [])),
    params(("channel", description = "ChannelId"), ("id", description = "from the Location"), ("If-Match", Header, description = "the ETag, or `*`")),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"), responses(
    (status = 204), (status = 200, body = String, content_type = "application/trickle-ice-sdpfrag", headers(("ETag" = String))),
    (status = 400, body = ProblemDetails), (status = 401, body = ProblemDetails), (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails),
    (status = 412, body = ProblemDetails), (status = 415, body = ProblemDetails), (status = 428, body = ProblemDetails)))]
async fn change_viewer(
    State(doors): State<Doors>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    doors.change(Door::Watch, path, &headers, body).await
}

/// Ends watching; the participant leaves the channel.
#[utoipa::path(delete, path = "/whep/{channel}/{id}", security(("terminal" = [])),
    params(("channel", description = "ChannelId"), ("id", description = "from the Location")), responses(
    (status = 200), (status = 401, body = ProblemDetails), (status = 403, body = ProblemDetails), (status = 404, body = ProblemDetails)))]
async fn end_viewer(
    State(doors): State<Doors>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Answer {
    doors.end(Door::Watch, path, &headers).await
}

impl Doors {
    async fn open(
        &self,
        door: Door,
        identity: Identity,
        headers: &HeaderMap,
        body: Body,
        purpose: Purpose,
    ) -> Answer {
        let offer = self.text(headers, body, SDP)?;
        let channel = identity.channel.clone();
        let spec = Box::new(OpenSpec { identity, offer, purpose });
        let (reply, answer) = oneshot::channel();
        let Opened { id, answer, etag, ice_servers } =
            self.ask(Command::Whip(WhipCommand::Open { spec, reply }), answer).await??;
        let path = match door {
            Door::Publish => "whip",
            Door::Watch => "whep",
        };
        // By path, so that it holds for whichever name the client knows this machine by.
        let location = format!("{}/{path}/{channel}/{id}", self.public_url.path().trim_end_matches('/'));
        let headers = [
            (header::CONTENT_TYPE, SDP.to_owned()),
            (header::LOCATION, location),
            (header::ETAG, format!("\"{etag}\"")),
            (ACCEPT_PATCH, FRAGMENT.to_owned()),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ];
        let mut response = (StatusCode::CREATED, headers, answer).into_response();
        for link in ice_servers.iter().flat_map(links) {
            response.headers_mut().append(header::LINK, link);
        }
        Ok(response)
    }

    fn target(
        &self,
        door: Door,
        path: Result<Path<(String, String)>, PathRejection>,
        headers: &HeaderMap,
    ) -> Result<Box<Target>, Refusal> {
        let identity = self.identify_whenever(headers)?;
        let (channel, id) = match path {
            Ok(Path((channel, id))) => (Ok(Path(channel)), id),
            Err(rejection) => (Err(rejection), String::new()),
        };
        Ok(Box::new(Target { door, id, identity: in_channel(identity, &channel)? }))
    }

    async fn change(
        &self,
        door: Door,
        path: Result<Path<(String, String)>, PathRejection>,
        headers: &HeaderMap,
        body: Body,
    ) -> Answer {
        let target = self.target(door, path, headers)?;
        let fragment = SdpFragment::parse(&self.text(headers, body, FRAGMENT)?)?;
        let if_match = if_match(headers)?;
        let (reply, answer) = oneshot::channel();
        let command = WhipCommand::Patch { target, if_match, fragment, reply };
        Ok(match self.ask(Command::Whip(command), answer).await?? {
            Patched::Trickled => StatusCode::NO_CONTENT.into_response(),
            Patched::Restarted { etag, fragment } => {
                let headers = [
                    (header::CONTENT_TYPE, FRAGMENT.to_owned()),
                    (header::ETAG, format!("\"{etag}\"")),
                    (header::CACHE_CONTROL, "no-store".to_owned()),
                ];
                (StatusCode::OK, headers, fragment).into_response()
            }
        })
    }

    async fn end(
        &self,
        door: Door,
        path: Result<Path<(String, String)>, PathRejection>,
        headers: &HeaderMap,
    ) -> Answer {
        let target = self.target(door, path, headers)?;
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Whip(WhipCommand::Close { target, reply }), answer).await??;
        Ok(StatusCode::OK.into_response())
    }

    /// A body of the media type that is wanted, as text.
    fn text(&self, headers: &HeaderMap, body: Body, wanted: &'static str) -> Result<String, Refusal> {
        let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let given = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !given.eq_ignore_ascii_case(wanted) {
            return Err(Refusal::MediaType(wanted));
        }
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Refusal::TooLarge { what: "the body", limit: self.config.limits.message_bytes }
            }
            _ => bad("the body did not come whole; send it again"),
        })?;
        String::from_utf8(body.into()).map_err(|_| bad("the body is not UTF-8; send SDP as text"))
    }
}

/// The identity, when it is for the channel in the address.
fn in_channel(
    identity: Identity,
    channel: &Result<Path<String>, PathRejection>,
) -> Result<Identity, Refusal> {
    let Path(channel) = channel.as_ref().map_err(|rejection| bad(&rejection.body_text()))?;
    match ChannelId::new(channel.as_str())? == identity.channel {
        true => Ok(identity),
        false => Err(TokenError::OtherChannel.into()),
    }
}

/// TURN servers as links (RFC 9725 §4.6), one for each address.
fn links(server: &IceServer) -> impl Iterator<Item = HeaderValue> {
    // What is in quotes must not end them; user names and addresses of servers have no such characters.
    let quoted = |text: &str| text.replace(['"', '\\', '\r', '\n'], "");
    let credentials = format!(
        "username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
        quoted(&server.username),
        quoted(&server.credential)
    );
    server.urls.iter().filter_map(move |url| {
        HeaderValue::from_str(&format!("<{}>; rel=\"ice-server\"; {credentials}", quoted(url))).ok()
    })
}

fn bad(message: &str) -> Refusal {
    Refusal::Bad(message.to_owned())
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (String, String)> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.map(|(name, value)| (name.into_owned(), value.into_owned()))
}

fn source(name: &str) -> Result<TrackSource, Refusal> {
    let known = TrackSource::from_str_name(&name.to_uppercase());
    known.filter(|source| *source != TrackSource::Unknown).ok_or_else(|| {
        bad("source is unknown; it is `camera`, `screen_share`, `microphone` or `screen_share_audio`")
    })
}

/// Reads If-Match (RFC 9110 §13.1.1). `"*"` in quotes is taken as `*`: RFC 9725 writes it so.
fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, WhipRefusal> {
    let mut tags = Vec::new();
    for value in headers.get_all(header::IF_MATCH) {
        let text = value.to_str().map_err(|_| WhipRefusal::ConditionFailed)?;
        for tag in text.split(',').map(str::trim) {
            match tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) {
                _ if tag == "*" => return Ok(Some(IfMatch::Any)),
                Some("*") => return Ok(Some(IfMatch::Any)),
                // Weak tags never match here.
                Some(tag) if tags.len() < MAX_TAGS => tags.push(tag.to_owned()),
                _ => {}
            }
        }
    }
    let given = headers.contains_key(header::IF_MATCH);
    Ok(given.then_some(IfMatch::Tags(tags)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn condition(values: &[&str]) -> Option<IfMatch> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::IF_MATCH, HeaderValue::from_str(value).unwrap());
        }
        if_match(&headers).unwrap()
    }

    #[test]
    fn conditions_are_read_as_http_and_the_rfc_write_them() {
        let tags = |tags: &[&str]| Some(IfMatch::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect()));
        assert_eq!(condition(&[]), None);
        assert_eq!(condition(&["*"]), Some(IfMatch::Any));
        assert_eq!(condition(&["\"*\""]), Some(IfMatch::Any));
        assert_eq!(condition(&["\"a\" , \"b\"", "\"c\""]), tags(&["a", "b", "c"]));
        assert_eq!(condition(&["W/\"a\", b"]), tags(&[]), "weak tags and words match nothing");
    }

    proptest! {
        #[test]
        fn no_condition_panics(values in prop::collection::vec("[ -~]{0,60}", 0..5)) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let _ = condition(&values);
        }
    }
}
