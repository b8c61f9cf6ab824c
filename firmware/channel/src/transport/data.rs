//! SCTP and the data channels on it (RFC 8831, RFC 8832).

use super::{DataKind, SendDataError, dtls::Role};
use bytes::{Bytes, BytesMut};
use rostrum_rtc::sctp_check::SctpCheck;
use rtc::{
    datachannel::message::{
        Message,
        message_channel_ack::DataChannelAck,
        message_channel_open::{CHANNEL_PRIORITY_NORMAL, ChannelType, DataChannelOpen},
    },
    sctp::{
        Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
        Payload, PayloadProtocolIdentifier as Ppi, ServerConfig, StreamEvent, TransportConfig,
    },
    shared::{
        TransportProtocol,
        error::{Error, Result},
        marshal::{Marshal, Unmarshal},
    },
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

const TUNNEL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
/// What `a=max-message-size` says: the longest message that we take.
pub(super) const MAX_MESSAGE_LEN: usize = 65_536;
/// The SCTP port of the SDP.
pub(super) const SCTP_PORT: u16 = 5000;
/// How many channels a remote may open.
const MAX_CHANNELS: usize = 16;
/// How many bytes may wait for a remote on a reliable channel, and on one that may lose.
const MAX_WAITING_RELIABLE: usize = 4 << 20;
const MAX_WAITING_LOSSY: usize = 128 << 10;

/// What came out of the data channels.
pub(super) enum DataOutput {
    Open(String),
    Message(DataKind, Bytes),
    /// A message of so many bytes was thrown away.
    TooLong(usize),
}

struct Channel {
    stream: u16,
    label: String,
    kind: Option<DataKind>,
    open: bool,
}

/// The SCTP association of one connection and its channels.
pub(super) struct DataChannels {
    role: Role,
    endpoint: Endpoint,
    check: SctpCheck,
    association: Option<(AssociationHandle, Association)>,
    established: bool,
    /// Whether we open the channels of [`DataKind`] ourselves.
    opens: bool,
    channels: Vec<Channel>,
    max_message_len: usize,
}

impl DataChannels {
    /// `remote_max_message_len` is the remote's `a=max-message-size`, 0 for no limit.
    pub(super) fn new(role: Role, remote_max_message_len: usize) -> DataChannels {
        let server = (role == Role::Server).then(|| ServerConfig::new(transport_config()).into());
        let endpoint =
            Endpoint::new(TUNNEL, TransportProtocol::UDP, EndpointConfig::default().into(), server);
        let max_message_len = match remote_max_message_len {
            0 => MAX_MESSAGE_LEN,
            limit => limit.min(MAX_MESSAGE_LEN),
        };
        DataChannels {
            role,
            endpoint,
            check: SctpCheck::default(),
            association: None,
            established: false,
            opens: false,
            channels: Vec::new(),
            max_message_len,
        }
    }

    /// Opens the channels of [`DataKind`] from our end, now or when the association is up.
    pub(super) fn open_ours(&mut self, now: Instant) {
        self.opens = true;
        if self.established {
            self.open_missing(now);
        }
    }

    /// DTLS is up: the DTLS client opens the association.
    pub(super) fn start(&mut self, now: Instant) {
        if self.role == Role::Client && self.association.is_none() {
            match self.endpoint.connect(now, ClientConfig::new(transport_config()), TUNNEL) {
                Ok(association) => self.association = Some(association),
                Err(error) => log::warn!(error:% = error; "cannot start SCTP"),
            }
        }
    }

    /// Takes a packet out of DTLS.
    pub(super) fn handle(&mut self, now: Instant, packet: BytesMut, out: &mut Vec<DataOutput>) {
        if !self.check.accepts(&packet) {
            return;
        }
        // A last line: whatever the library does not survive costs the remote its channels and nobody else.
        let survived = catch_unwind(AssertUnwindSafe(|| self.take(now, packet, out)));
        if survived.is_err() {
            log::error!("SCTP failed on a packet of the remote; its data channels are closed");
            self.abandon();
        }
    }

    fn abandon(&mut self) {
        self.association = None;
        self.established = false;
        self.channels.clear();
    }

    fn take(&mut self, now: Instant, packet: BytesMut, out: &mut Vec<DataOutput>) {
        match self.endpoint.handle(now, TUNNEL, None, packet.freeze()) {
            // There is one association in the life of a connection: the library would keep any number.
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.endpoint.reject_new_associations();
                self.association = Some((handle, association));
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                if let Some((ours, association)) = &mut self.association
                    && *ours == handle
                {
                    association.handle_event(event);
                }
            }
            _ => return,
        }
        self.process(now, out);
    }

    fn process(&mut self, now: Instant, out: &mut Vec<DataOutput>) {
        let Some((handle, association)) = &mut self.association else { return };
        let handle = *handle;
        let mut readable = Vec::new();
        let (mut connected, mut lost) = (false, false);
        while let Some(event) = association.poll() {
            match event {
                Event::Connected => connected = true,
                Event::HandshakeFailed { .. } | Event::AssociationLost { .. } => lost = true,
                Event::Stream(StreamEvent::Readable { id }) => readable.push(id),
                _ => {}
            }
        }
        while association.accept_stream().is_some() {}
        if connected {
            self.established = true;
            // What came with the handshake was held back.
            readable = association.stream_ids();
            if self.opens {
                self.open_missing(now);
            }
        }
        if self.established {
            for stream in readable {
                self.read_stream(now, stream, out);
            }
        }
        let mut drained = false;
        if let Some((_, association)) = &mut self.association {
            while let Some(event) = association.poll_endpoint_event() {
                self.endpoint.handle_event(handle, event);
                drained = true;
            }
        }
        if lost || drained {
            self.channels.clear();
            self.established = false;
        }
        if drained {
            self.association = None;
        }
    }

    fn read_stream(&mut self, now: Instant, id: u16, out: &mut Vec<DataOutput>) {
        loop {
            let Some((_, association)) = &mut self.association else { return };
            let message = association.stream(id).and_then(|mut stream| stream.read_sctp());
            let Ok(Some(chunks)) = message else { return };
            let Ok(payload) = chunks.to_payload(MAX_MESSAGE_LEN) else {
                out.push(DataOutput::TooLong(chunks.len()));
                continue;
            };
            match chunks.ppi {
                Ppi::Dcep => self.control(now, id, &payload, out),
                Ppi::String | Ppi::Binary => self.deliver(id, payload.freeze(), out),
                Ppi::StringEmpty | Ppi::BinaryEmpty => self.deliver(id, Bytes::new(), out),
                _ => {}
            }
        }
    }

    fn deliver(&self, id: u16, message: Bytes, out: &mut Vec<DataOutput>) {
        let channel = self.channels.iter().find(|c| c.stream == id);
        if let Some(kind) = channel.and_then(|c| c.kind) {
            out.push(DataOutput::Message(kind, message));
        }
    }

    /// The establishment protocol (RFC 8832 §5).
    fn control(&mut self, now: Instant, id: u16, payload: &[u8], out: &mut Vec<DataOutput>) {
        match Message::unmarshal(&mut &payload[..]) {
            Ok(Message::DataChannelOpen(open)) => {
                let Ok(label) = String::from_utf8(open.label) else { return };
                if label.len() > 64 || self.channels.len() >= MAX_CHANNELS {
                    return;
                }
                self.channels.retain(|c| c.stream != id);
                let kind = DataKind::from_label(&label);
                if self.accept(now, id, open.channel_type, open.reliability_parameter).is_ok() {
                    self.channels.push(Channel { stream: id, label: label.clone(), kind, open: true });
                    out.push(DataOutput::Open(label));
                }
            }
            Ok(Message::DataChannelAck(_)) => {
                if let Some(channel) = self.channels.iter_mut().find(|c| c.stream == id && !c.open) {
                    channel.open = true;
                    out.push(DataOutput::Open(channel.label.clone()));
                }
            }
            _ => {}
        }
    }

    fn accept(&mut self, now: Instant, id: u16, channel_type: ChannelType, parameter: u32) -> Result<()> {
        let Some((_, association)) = &mut self.association else { return Err(Error::ErrStreamClosed) };
        let (unordered, reliability) =
            rtc::datachannel::data_channel::DataChannel::get_reliability_params(channel_type);
        let mut stream = association.stream(id)?;
        stream.set_reliability_params(unordered, reliability, parameter)?;
        let ack = Message::DataChannelAck(DataChannelAck).marshal()?;
        stream.write_chunk_with_ppi(now, &ack.freeze(), Ppi::Dcep)?;
        Ok(())
    }

    fn open_missing(&mut self, now: Instant) {
        for kind in DataKind::ALL {
            if !self.channels.iter().any(|c| c.kind == Some(kind))
                && let Err(error) = self.open(now, kind)
            {
                log::warn!(error:% = error, label = kind.label(); "cannot open the data channel");
            }
        }
    }

    fn open(&mut self, now: Instant, kind: DataKind) -> Result<()> {
        // The DTLS client opens even streams, the server odd ones (RFC 8832 §6).
        let first = if self.role == Role::Client { 0 } else { 1 };
        let id = (first..u16::MAX)
            .step_by(2)
            .find(|id| self.channels.iter().all(|c| c.stream != *id))
            .ok_or(Error::ErrStreamCreateFailed)?;
        let channel_type = match kind {
            DataKind::Reliable => ChannelType::Reliable,
            DataKind::Lossy | DataKind::DataTrack => ChannelType::PartialReliableRexmitUnordered,
        };
        let open = Message::DataChannelOpen(DataChannelOpen {
            channel_type,
            priority: CHANNEL_PRIORITY_NORMAL,
            reliability_parameter: 0,
            label: kind.label().as_bytes().to_vec(),
            protocol: Vec::new(),
        })
        .marshal()?;
        let Some((_, association)) = &mut self.association else { return Err(Error::ErrStreamClosed) };
        let (unordered, reliability) =
            rtc::datachannel::data_channel::DataChannel::get_reliability_params(channel_type);
        let mut stream = association.open_stream(id, Ppi::Binary)?;
        stream.set_reliability_params(unordered, reliability, 0)?;
        stream.write_chunk_with_ppi(now, &open.freeze(), Ppi::Dcep)?;
        self.channels.push(Channel { stream: id, label: kind.label().into(), kind: Some(kind), open: false });
        Ok(())
    }

    /// Sends a message.
    pub(super) fn send(
        &mut self,
        now: Instant,
        kind: DataKind,
        message: &[u8],
    ) -> std::result::Result<(), SendDataError> {
        if message.len() > self.max_message_len {
            return Err(SendDataError::TooLong { len: message.len(), limit: self.max_message_len });
        }
        let id = self.channels.iter().find(|c| c.open && c.kind == Some(kind)).map(|c| c.stream);
        let (Some(id), Some((_, association))) = (id, &mut self.association) else {
            return Err(SendDataError::NotOpen);
        };
        let Ok(mut stream) = association.stream(id) else { return Err(SendDataError::NotOpen) };
        let limit = if kind == DataKind::Reliable { MAX_WAITING_RELIABLE } else { MAX_WAITING_LOSSY };
        if stream.buffered_amount().unwrap_or(0) + message.len() > limit {
            return Err(SendDataError::Full { limit });
        }
        // SCTP has no empty messages: one byte stands for nothing (RFC 8831 §6.6).
        let (payload, ppi) = match message {
            [] => (Bytes::from_static(&[0]), Ppi::BinaryEmpty),
            _ => (Bytes::copy_from_slice(message), Ppi::Binary),
        };
        match stream.write_chunk_with_ppi(now, &payload, ppi) {
            Ok(_) => Ok(()),
            Err(_) => Err(SendDataError::NotOpen),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.association.as_ref().and_then(|(_, association)| association.poll_timeout())
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<DataOutput>) {
        let survived = catch_unwind(AssertUnwindSafe(|| {
            if let Some((_, association)) = &mut self.association {
                association.handle_timeout(now);
                self.process(now, out);
            }
        }));
        if survived.is_err() {
            log::error!("SCTP failed on a timer; the data channels are closed");
            self.abandon();
        }
    }

    /// The packets to put into DTLS.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<Bytes>> {
        let (_, association) = self.association.as_mut()?;
        match catch_unwind(AssertUnwindSafe(|| association.poll_transmit(now))) {
            Ok(transmit) => match transmit?.message {
                Payload::RawEncode(packets) => Some(packets),
                _ => None,
            },
            Err(_) => {
                log::error!("SCTP failed on sending; the data channels are closed");
                self.abandon();
                None
            }
        }
    }
}

fn transport_config() -> TransportConfig {
    TransportConfig::default()
        .with_sctp_port(SCTP_PORT)
        .with_max_message_size(MAX_MESSAGE_LEN as u32)
        .with_max_num_inbound_streams(1024)
        .with_max_num_outbound_streams(1024)
}
