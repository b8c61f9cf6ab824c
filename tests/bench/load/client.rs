//! One participant: LiveKit's signalling in its mode of two connections, and media by `str0m`.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use livekit_protocol::{
    AddTrackRequest, LeaveRequest, ParticipantInfo, Ping, SessionDescription, SignalRequest, SignalResponse,
    SignalTarget, SimulcastCodec, TrackSource, TrackType, UpdateTrackSettings, VideoLayer, VideoQuality,
    signal_request::Message as Request, signal_response::Message as Response,
};
use prost::Message as _;
use str0m::{
    Event,
    change::{SdpAnswer, SdpOffer, SdpPendingOffer},
    media::{Direction, MediaKind, Mid, Simulcast, SimulcastLayer},
};
use tokio::{net::TcpStream, sync::oneshot};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use super::{
    clip::Clip,
    connection::Connection,
    ledger::Ledger,
    publisher::{Publisher, Sent},
};

const PING_INTERVAL: Duration = Duration::from_secs(5);
/// The ids of a publisher's tracks.
const SOUND_ID: &str = "microphone";
const PICTURE_ID: &str = "camera";

/// What a participant does.
pub(crate) struct Spec {
    /// `ws://HOST:PORT` of the server.
    pub(crate) url: String,
    pub(crate) token: String,
    /// Its number when it publishes.
    pub(crate) publishes: Option<u8>,
    pub(crate) subscribes: bool,
    /// The layer that it asks for, by the publisher's number.
    pub(crate) wants: Rc<dyn Fn(u8) -> u8>,
    pub(crate) clip: Rc<Clip>,
    pub(crate) scale: f64,
}

/// The name of a publisher.
pub(crate) fn publisher_name(number: u8) -> String {
    format!("publisher-{number}")
}

fn publisher_number(name: &str) -> Option<u8> {
    name.strip_prefix("publisher-")?.parse().ok()
}

/// A participant that runs as a task of its own.
pub(crate) struct Client {
    /// When it began to connect.
    pub(crate) began: Instant,
    pub(crate) ledger: Rc<RefCell<Ledger>>,
    pub(crate) sent: Sent,
    leave: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Client {
    /// Starts to join.
    pub(crate) fn start(spec: Spec) -> Self {
        let ledger = Rc::new(RefCell::new(Ledger::default()));
        let sent: Sent = Rc::new(std::array::from_fn(|_| Cell::new(0)));
        let (leave, left) = oneshot::channel();
        let running = run(spec, Rc::clone(&ledger), Rc::clone(&sent), left);
        let (began, task) = (Instant::now(), tokio::task::spawn_local(running));
        Self { began, ledger, sent, leave: Some(leave), task }
    }

    /// Why it ended, when it did.
    pub(crate) async fn failure(&mut self) -> Option<anyhow::Error> {
        if !self.task.is_finished() {
            return None;
        }
        match (&mut self.task).await {
            Ok(Ok(())) => Some(anyhow::anyhow!("the server ended it")),
            Ok(Err(error)) => Some(error),
            Err(error) => Some(error.into()),
        }
    }

    /// Leaves as clients do.
    pub(crate) async fn leave(mut self) -> anyhow::Result<()> {
        if let Some(leave) = self.leave.take() {
            let _ = leave.send(());
        }
        (&mut self.task).await?
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    spec: Spec,
    ledger: Rc<RefCell<Ledger>>,
    sent: Sent,
    mut left: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let door = format!(
        "{}/rtc?access_token={}&auto_subscribe={}&sdk=go&version=2.18.1&protocol=17",
        spec.url,
        spec.token,
        u8::from(spec.subscribes)
    );
    let (socket, _) = tokio_tungstenite::connect_async(door).await.context("the server's door")?;
    if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
        stream.set_nodelay(true)?;
    }
    let mut session = Session {
        socket,
        publishing: Connection::new()?,
        subscribing: Connection::new()?,
        pending: None,
        awaited: Vec::new(),
        mids: None,
        publisher: None,
        asked: HashMap::new(),
        ledger,
        sent,
        spec,
    };
    let mut ping_at = Instant::now() + PING_INTERVAL;
    loop {
        let publisher = session.publisher.as_ref().map(Publisher::due);
        let due = [Some(session.publishing.due), Some(session.subscribing.due), publisher, Some(ping_at)];
        let due = due.into_iter().flatten().min().unwrap_or(ping_at);
        tokio::select! {
            message = session.socket.next() => match message.context("the server closed the socket")?? {
                Message::Binary(bytes) => {
                    if let Some(message) = SignalResponse::decode(&bytes[..])?.message {
                        session.handle(message).await?;
                    }
                }
                Message::Close(_) => bail!("the server closed the socket"),
                _ => {}
            },
            readable = session.subscribing.readable() => {
                readable?;
                session.receive_media()?;
            }
            readable = session.publishing.readable() => {
                readable?;
                session.receive_feedback()?;
            }
            () = tokio::time::sleep_until(due.into()) => {}
            _ = &mut left => {
                session.send(Request::Leave(LeaveRequest::default())).await?;
                session.socket.close(None).await?;
                return Ok(());
            }
        }
        let now = Instant::now();
        if now >= ping_at {
            ping_at = now + PING_INTERVAL;
            session.send(Request::PingReq(Ping::default())).await?;
            session.ask_again().await?;
        }
        session.tick(now)?;
    }
}

struct Session {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    publishing: Connection,
    subscribing: Connection,
    /// Our offer that has no answer yet.
    pending: Option<SdpPendingOffer>,
    /// Tracks that we announced and the server did not confirm yet.
    awaited: Vec<&'static str>,
    /// The sections of our sound and picture.
    mids: Option<(Mid, Mid)>,
    publisher: Option<Publisher>,
    /// Cameras that we asked a layer of, by the track's sid: their publishers.
    asked: HashMap<String, u8>,
    ledger: Rc<RefCell<Ledger>>,
    sent: Sent,
    spec: Spec,
}

impl Session {
    async fn send(&mut self, message: Request) -> anyhow::Result<()> {
        let bytes = SignalRequest { message: Some(message) }.encode_to_vec();
        Ok(self.socket.send(Message::Binary(bytes.into())).await?)
    }

    async fn handle(&mut self, message: Response) -> anyhow::Result<()> {
        match message {
            Response::Join(join) => {
                if self.spec.publishes.is_some() {
                    self.announce().await?;
                }
                self.ask_for_layers(&join.other_participants).await?;
            }
            Response::Update(update) => self.ask_for_layers(&update.participants).await?,
            Response::TrackPublished(published) => {
                self.awaited.retain(|id| *id != published.cid);
                if self.awaited.is_empty() && self.mids.is_none() {
                    self.offer().await?;
                }
            }
            Response::Answer(answer) => {
                let pending = self.pending.take().context("an answer to no offer")?;
                let answer = SdpAnswer::from_sdp_string(&answer.sdp)?;
                self.publishing.rtc.sdp_api().accept_answer(pending, answer)?;
                self.publishing.described();
            }
            Response::Offer(offer) => {
                // Browsers open the DTLS association when they may choose; `str0m` leaves it to the other side.
                let offered = offer.sdp.replace("a=setup:actpass", "a=setup:passive");
                let description = SdpOffer::from_sdp_string(&offered)?;
                let answer = self.subscribing.rtc.sdp_api().accept_offer(description)?;
                self.subscribing.described();
                let answer = SessionDescription {
                    r#type: "answer".into(),
                    sdp: answer.to_sdp_string(),
                    id: offer.id,
                    ..Default::default()
                };
                self.send(Request::Answer(answer)).await?;
            }
            Response::Trickle(trickle) => match trickle.target() {
                SignalTarget::Publisher => self.publishing.add_candidate(&trickle.candidate_init)?,
                SignalTarget::Subscriber => self.subscribing.add_candidate(&trickle.candidate_init)?,
            },
            Response::RequestResponse(refused) if refused.reason != 0 => bail!("refused: {refused:?}"),
            Response::Leave(leave) => bail!("the server wants us to leave: {:?}", leave.reason()),
            // Layers are sent whether watched or not: in every load each is watched by somebody, or is below one.
            _ => {}
        }
        Ok(())
    }

    async fn announce(&mut self) -> anyhow::Result<()> {
        self.awaited = vec![SOUND_ID, PICTURE_ID];
        self.send(Request::AddTrack(AddTrackRequest {
            cid: SOUND_ID.into(),
            r#type: TrackType::Audio.into(),
            source: TrackSource::Microphone.into(),
            disable_red: true,
            ..Default::default()
        }))
        .await?;
        let layers: Vec<_> = [VideoQuality::Low, VideoQuality::Medium, VideoQuality::High]
            .into_iter()
            .zip(&self.spec.clip.layers)
            .map(|(quality, layer)| VideoLayer {
                quality: quality.into(),
                width: layer.width,
                height: layer.height,
                bitrate: layer.bitrate,
                rid: layer.rid.into(),
                ..Default::default()
            })
            .collect();
        let high = &self.spec.clip.layers[2];
        let request = AddTrackRequest {
            cid: PICTURE_ID.into(),
            r#type: TrackType::Video.into(),
            source: TrackSource::Camera.into(),
            width: high.width,
            height: high.height,
            layers: layers.clone(),
            simulcast_codecs: vec![SimulcastCodec {
                codec: "h264".into(),
                cid: PICTURE_ID.into(),
                layers,
                ..Default::default()
            }],
            ..Default::default()
        };
        self.send(Request::AddTrack(request)).await
    }

    async fn offer(&mut self) -> anyhow::Result<()> {
        let mut simulcast = Simulcast::new();
        for layer in &self.spec.clip.layers {
            simulcast.add_send_layer(SimulcastLayer::new(layer.rid));
        }
        let stream = Some("stream".to_owned());
        let mut api = self.publishing.rtc.sdp_api();
        let audio =
            api.add_media(MediaKind::Audio, Direction::SendOnly, stream.clone(), Some(SOUND_ID.into()), None);
        let video = api.add_media(
            MediaKind::Video,
            Direction::SendOnly,
            stream,
            Some(PICTURE_ID.into()),
            Some(simulcast),
        );
        let (offer, pending) = api.apply().context("nothing to offer")?;
        self.mids = Some((audio, video));
        self.pending = Some(pending);
        let offer =
            SessionDescription { r#type: "offer".into(), sdp: offer.to_sdp_string(), ..Default::default() };
        self.send(Request::Offer(offer)).await
    }

    /// Asks for a layer of each camera that is new to us.
    async fn ask_for_layers(&mut self, participants: &[ParticipantInfo]) -> anyhow::Result<()> {
        if !self.spec.subscribes {
            return Ok(());
        }
        for participant in participants {
            let Some(number) = publisher_number(&participant.identity) else { continue };
            if self.spec.publishes == Some(number) {
                continue;
            }
            for track in participant.tracks.iter().filter(|track| track.r#type() == TrackType::Video) {
                if self.asked.insert(track.sid.clone(), number).is_none() {
                    self.ask_for_layer(track.sid.clone(), number).await?;
                }
            }
        }
        Ok(())
    }

    /// Asks again where another layer comes than was asked for: a server may forget what is asked of a track that
    /// it is about to subscribe to.
    async fn ask_again(&mut self) -> anyhow::Result<()> {
        let wrong: Vec<_> = {
            let ledger = self.ledger.borrow();
            let other = |publisher: u8| {
                ledger.layer_of(publisher).is_some_and(|layer| layer != (self.spec.wants)(publisher))
            };
            let asked = self.asked.iter().filter(|(_, publisher)| other(**publisher));
            asked.map(|(sid, publisher)| (sid.clone(), *publisher)).collect()
        };
        for (sid, publisher) in wrong {
            self.ask_for_layer(sid, publisher).await?;
        }
        Ok(())
    }

    async fn ask_for_layer(&mut self, sid: String, publisher: u8) -> anyhow::Result<()> {
        let wanted = (self.spec.wants)(publisher);
        let layer = &self.spec.clip.layers[usize::from(wanted)];
        let settings = UpdateTrackSettings {
            track_sids: vec![sid],
            quality: i32::from(wanted),
            width: layer.width,
            height: layer.height,
            ..Default::default()
        };
        self.send(Request::TrackSetting(settings)).await
    }

    fn receive_media(&mut self) -> anyhow::Result<()> {
        let ledger = &self.ledger;
        self.subscribing.receive(&mut |now, event| note(ledger, now, &event))
    }

    fn receive_feedback(&mut self) -> anyhow::Result<()> {
        let publisher = &mut self.publisher;
        self.publishing.receive(&mut |_, event| answer(publisher, &event))
    }

    /// Sends what is due, once the connection is up.
    fn tick(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.publisher.is_none()
            && self.publishing.rtc.is_connected()
            && let (Some((audio, video)), Some(index)) = (self.mids, self.spec.publishes)
        {
            let of = |mid| self.publishing.payload_type(mid).map(|pt| (mid, pt));
            let (audio, video) = (of(audio).context("no Opus")?, of(video).context("no H.264")?);
            let clip = Rc::clone(&self.spec.clip);
            self.publisher =
                Some(Publisher::new(index, clip, self.spec.scale, (audio, video), Rc::clone(&self.sent)));
        }
        let sends = self.publisher.as_mut().filter(|publisher| publisher.due() <= now);
        let wrote = sends.map(|publisher| publisher.send(now, &mut self.publishing.rtc)).is_some();
        if wrote || self.publishing.due <= now {
            let publisher = &mut self.publisher;
            self.publishing.timeout(now, &mut |_, event| answer(publisher, &event))?;
        }
        if self.subscribing.due <= now {
            let ledger = &self.ledger;
            self.subscribing.timeout(now, &mut |now, event| note(ledger, now, &event))?;
        }
        Ok(())
    }
}

fn note(ledger: &RefCell<Ledger>, now: Instant, event: &Event) {
    if let Event::RtpPacket(packet) = event {
        ledger.borrow_mut().received(now, &packet.payload);
    }
}

fn answer(publisher: &mut Option<Publisher>, event: &Event) {
    if let (Event::KeyframeRequest(request), Some(publisher)) = (event, publisher) {
        publisher.key_frame(request);
    }
}
