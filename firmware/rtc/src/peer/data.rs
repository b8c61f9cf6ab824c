//! Data channels: SCTP over DTLS (RFC 8831) and their establishment (RFC 8832).

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use rtc::{
    datachannel::{
        data_channel::DataChannel,
        message::{
            Message,
            message_channel_ack::DataChannelAck,
            message_channel_open::{CHANNEL_PRIORITY_NORMAL, ChannelType, DataChannelOpen},
        },
    },
    sctp::{
        Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
        Payload, PayloadProtocolIdentifier, ServerConfig, StreamEvent, TransportConfig,
    },
    shared::{
        TransportProtocol,
        marshal::{Marshal, Unmarshal},
    },
};

use crate::sctp_check::SctpCheck;

/// Largest message, both ways. LiveKit's clients keep theirs below 15 kB, and ours below 64 kB.
pub(crate) const MAX_MESSAGE_SIZE: u32 = 65_536;
/// Channels that the service may open.
const MAX_CHANNELS: usize = 32;
/// Bytes that may wait to be sent on one channel.
const MAX_BUFFERED: usize = 1 << 20;
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 65_535);

pub(super) struct Data {
    endpoint: Option<Endpoint>,
    check: SctpCheck,
    association: Option<(AssociationHandle, Association)>,
    client: bool,
    up: bool,
    /// Label and reliability of channels to open.
    wanted: Vec<(String, bool)>,
    /// Stream and label of open channels; ours come first.
    channels: Vec<(u16, String)>,
    ours: HashMap<String, u16>,
    messages: VecDeque<Bytes>,
    packets: VecDeque<Bytes>,
}

impl Data {
    pub(super) fn new() -> Self {
        Self {
            endpoint: None,
            check: SctpCheck::default(),
            association: None,
            client: true,
            up: false,
            wanted: Vec::new(),
            channels: Vec::new(),
            ours: HashMap::new(),
            messages: VecDeque::new(),
            packets: VecDeque::new(),
        }
    }

    fn config() -> TransportConfig {
        TransportConfig::default().with_max_message_size(MAX_MESSAGE_SIZE).with_sctp_port(5000)
    }

    /// The DTLS client begins and has the even streams (RFC 8832 §6).
    pub(super) fn set_client(&mut self, client: bool) {
        self.client = client;
    }

    pub(super) fn open(&mut self, label: &str, reliable: bool) {
        self.wanted.push((label.to_owned(), reliable));
    }

    /// DTLS is up.
    pub(super) fn connect(&mut self, now: Instant) {
        let server = (!self.client).then(|| ServerConfig::new(Self::config()).into());
        let endpoint_config = EndpointConfig::default().into();
        let mut endpoint = Endpoint::new(ANYWHERE, TransportProtocol::UDP, endpoint_config, server);
        if self.client {
            match endpoint.connect(now, ClientConfig::new(Self::config()), ANYWHERE) {
                Ok(association) => self.association = Some(association),
                Err(error) => log::warn!(error:% = error; "no data channels"),
            }
        }
        self.endpoint = Some(endpoint);
    }

    pub(super) fn handle_packet(&mut self, now: Instant, packet: Bytes) {
        let Some(endpoint) = &mut self.endpoint else { return };
        if !self.check.accepts(&packet) {
            return;
        }
        let Some((handle, event)) = endpoint.handle(now, ANYWHERE, None, packet) else { return };
        match event {
            // One for the life of the connection: others would only pile up.
            DatagramEvent::NewAssociation(association) if self.association.is_none() => {
                self.association = Some((handle, association));
            }
            DatagramEvent::AssociationEvent(event) => {
                if let Some((ours, association)) = &mut self.association
                    && *ours == handle
                {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
        self.collect(now);
    }

    fn collect(&mut self, now: Instant) {
        let mut readable = Vec::new();
        let Some((handle, association)) = &mut self.association else { return };
        while let Some(event) = association.poll() {
            match event {
                Event::Connected => self.up = true,
                Event::AssociationLost { .. } => self.up = false,
                Event::Stream(StreamEvent::Readable { id }) => readable.push(id),
                _ => {}
            }
        }
        let handle = *handle;
        while let Some(event) = association.poll_endpoint_event() {
            if let Some(endpoint) = &mut self.endpoint {
                endpoint.handle_event(handle, event);
            }
        }
        if self.up {
            self.open_wanted(now);
        }
        for id in readable {
            self.read(now, id);
        }
    }

    fn open_wanted(&mut self, now: Instant) {
        let Some((_, association)) = &mut self.association else { return };
        for (label, reliable) in self.wanted.drain(..) {
            let parity = u16::from(!self.client);
            let used = |id: u16| self.channels.iter().any(|(c, _)| *c == id);
            let Some(id) = (0..MAX_CHANNELS as u16).map(|n| n * 2 + parity).find(|id| !used(*id)) else {
                return;
            };
            let (channel_type, reliability_parameter) = if reliable {
                (ChannelType::Reliable, 0)
            } else {
                (ChannelType::PartialReliableRexmitUnordered, 0)
            };
            let open = Message::DataChannelOpen(DataChannelOpen {
                channel_type,
                priority: CHANNEL_PRIORITY_NORMAL,
                reliability_parameter,
                label: label.clone().into_bytes(),
                protocol: Vec::new(),
            });
            let Ok(message) = open.marshal().map(BytesMut::freeze) else { continue };
            let Ok(mut stream) = association.open_stream(id, PayloadProtocolIdentifier::Binary) else {
                continue;
            };
            // The OPEN itself goes reliably and in order (RFC 8832 §6); the channel's own terms come after it.
            let _ = stream.write_chunk_with_ppi(now, &message, PayloadProtocolIdentifier::Dcep);
            let (unordered, kind) = DataChannel::get_reliability_params(channel_type);
            let _ = stream.set_reliability_params(unordered, kind, reliability_parameter);
            self.ours.insert(label.clone(), id);
            self.channels.push((id, label));
        }
    }

    fn read(&mut self, now: Instant, id: u16) {
        let Some((_, association)) = &mut self.association else { return };
        let Ok(mut stream) = association.stream(id) else { return };
        while let Ok(Some(chunks)) = stream.read_sctp() {
            let Ok(payload) = chunks.to_payload(MAX_MESSAGE_SIZE as usize) else { continue };
            let payload = payload.freeze();
            if chunks.ppi != PayloadProtocolIdentifier::Dcep {
                self.messages.push_back(payload);
                continue;
            }
            let Ok(Message::DataChannelOpen(open)) = Message::unmarshal(&mut payload.clone()) else {
                continue;
            };
            if let Ok(ack) = Message::DataChannelAck(DataChannelAck {}).marshal() {
                let _ = stream.write_chunk_with_ppi(now, &ack.freeze(), PayloadProtocolIdentifier::Dcep);
            }
            let (unordered, kind) = DataChannel::get_reliability_params(open.channel_type);
            let _ = stream.set_reliability_params(unordered, kind, open.reliability_parameter);
            let known = self.channels.iter().any(|(c, _)| *c == id);
            if !known && self.channels.len() < MAX_CHANNELS {
                self.channels.push((id, String::from_utf8_lossy(&open.label).into_owned()));
            }
        }
    }

    /// Sends on the channel that we opened with this label, or else on one that the service opened.
    pub(super) fn send(&mut self, now: Instant, label: &str, bytes: &Bytes) -> bool {
        let theirs = || self.channels.iter().find(|(_, l)| l == label).map(|(id, _)| *id);
        let Some(id) = self.ours.get(label).copied().or_else(theirs) else { return false };
        let Some((_, association)) = &mut self.association else { return false };
        let Ok(mut stream) = association.stream(id) else { return false };
        if stream.buffered_amount().is_ok_and(|n| n > MAX_BUFFERED) {
            return false;
        }
        stream.write_chunk_with_ppi(now, bytes, PayloadProtocolIdentifier::Binary).is_ok()
    }

    pub(super) fn poll_message(&mut self) -> Option<Bytes> {
        self.messages.pop_front()
    }

    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        while self.packets.is_empty() {
            let (_, association) = self.association.as_mut()?;
            // One datagram each: DTLS keeps the boundaries.
            if let Payload::RawEncode(packets) = association.poll_transmit(now)?.message {
                self.packets.extend(packets);
            }
        }
        self.packets.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.association.as_ref()?.1.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association
            && association.poll_timeout().is_some_and(|at| now >= at)
        {
            association.handle_timeout(now);
            self.collect(now);
        }
    }
}
