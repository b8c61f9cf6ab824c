//! What goes in and out of a peer besides datagrams and SDP.

use super::{CodecKey, MediaKind, Mid, RemoteAddress, Rid};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// What happened on a peer's connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeerEvent {
    /// ICE and DTLS are up (again, after [`PeerEvent::Disconnected`]): media flows.
    Connected,
    /// The remote has not been heard for [`Timeouts::consent`](super::Timeouts::consent) (RFC 7675). It may
    /// come back, from any address.
    Disconnected,
    /// The connection is over.
    Closed {
        /// Why.
        reason: CloseReason,
    },
    /// The remote proved by its password that it sends from this address: route datagrams from there to
    /// this peer ([`Demux::bind`](super::Demux::bind)).
    AddressValidated(RemoteAddress),
    /// The address is no longer used by this peer ([`Demux::release`](super::Demux::release)).
    AddressReleased(RemoteAddress),
    /// A packet of media.
    Rtp(IncomingRtp),
    /// Feedback that needs a decision of the caller.
    Rtcp(Rtcp),
    /// A data channel that messages can be sent on is open.
    DataChannelOpen {
        /// Its label.
        label: String,
    },
    /// A message came on a data channel.
    Data {
        /// Which channel.
        kind: DataKind,
        /// The message.
        bytes: Bytes,
    },
    /// A message was longer than [`PeerConfig::max_data_message_len`](super::PeerConfig::max_data_message_len), and
    /// was thrown away.
    DataTooLong {
        /// Its length in bytes.
        len: usize,
    },
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The remote closed it (DTLS `close_notify`).
    Remote,
    /// [`Peer::close`](super::Peer::close) was called.
    Local,
    /// It was not up within [`Timeouts::connect`](super::Timeouts::connect).
    ConnectTimeout,
    /// The DTLS handshake failed; the certificate did not match the fingerprint in the SDP, for example.
    Dtls,
}

/// The data channels of LiveKit's protocol, by label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataKind {
    /// `_reliable`: ordered, nothing lost.
    Reliable,
    /// `_lossy`: newest first, losses stay lost.
    Lossy,
    /// `_data_track`: frames of data tracks, losses stay lost.
    DataTrack,
}

impl DataKind {
    /// All kinds.
    pub const ALL: [DataKind; 3] = [DataKind::Reliable, DataKind::Lossy, DataKind::DataTrack];

    /// The channel's label.
    pub fn label(self) -> &'static str {
        match self {
            DataKind::Reliable => "_reliable",
            DataKind::Lossy => "_lossy",
            DataKind::DataTrack => "_data_track",
        }
    }

    /// The kind of a label.
    pub fn from_label(label: &str) -> Option<DataKind> {
        DataKind::ALL.into_iter().find(|kind| kind.label() == label)
    }
}

/// Loudness of a packet as its sender measured it (RFC 6464), in the byte that travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel(pub u8);

impl AudioLevel {
    /// Loudness below the loudest possible, in dB: 0 is loudest, 127 is silence (-dBov).
    pub fn below_full_scale_db(self) -> u8 {
        self.0 & 0x7f
    }

    /// Whether the sender thinks that somebody speaks.
    pub fn voice(self) -> bool {
        self.0 & 0x80 != 0
    }
}

/// A packet of media from the remote, decrypted; retransmissions are already unwrapped.
#[derive(Clone, Debug)]
pub struct IncomingRtp {
    /// The media section that it belongs to.
    pub mid: Mid,
    /// The simulcast layer, where there are layers.
    pub rid: Option<Rid>,
    /// The codec of the payload.
    pub codec: CodecKey,
    /// SSRC of the original stream, also for a repair.
    pub ssrc: u32,
    /// Sequence number in the original stream.
    pub seq: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// Loudness, where the sender says it.
    pub audio_level: Option<AudioLevel>,
    /// Rotation and mirroring of the picture (3GPP TS 26.114 §7.4.5), the byte as it travels.
    pub video_orientation: Option<u8>,
    /// Limits of the playout delay, the three bytes as they travel.
    pub playout_delay: Option<[u8; 3]>,
    /// AV1 dependency descriptor, as it travels.
    pub dependency_descriptor: Option<Bytes>,
    /// The transport-wide sequence number of the packet that carried it.
    pub transport_seq: Option<u16>,
    /// It is a retransmission (RFC 4588).
    pub is_repair: bool,
    /// When the datagram arrived.
    pub arrival: Instant,
    /// Payload without padding; may be empty.
    pub payload: Bytes,
}

/// Header extensions that the caller decides for an outgoing packet. Only those that the section
/// negotiated are written; MID, transport-wide number and send time are added by the peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutgoingExtensions<'a> {
    /// Loudness (RFC 6464).
    pub audio_level: Option<AudioLevel>,
    /// Rotation and mirroring.
    pub video_orientation: Option<u8>,
    /// Limits of the playout delay.
    pub playout_delay: Option<[u8; 3]>,
    /// AV1 dependency descriptor.
    pub dependency_descriptor: Option<&'a [u8]>,
}

/// A packet of media to the remote. SSRC and payload type are those of the section's sender.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingRtp<'a> {
    /// The media section.
    pub mid: Mid,
    /// SSRC: the sender's, or its RTX SSRC.
    pub ssrc: u32,
    /// Payload type, from [`Peer::payload_type`](super::Peer::payload_type).
    pub pt: u8,
    /// Sequence number of that SSRC.
    pub seq: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// Extensions that the caller decides.
    pub extensions: OutgoingExtensions<'a>,
    /// For a retransmission: the sequence number of the original packet, written before the payload
    /// (RFC 4588 §4).
    pub original_seq: Option<u16>,
    /// Bytes of padding after the payload (RFC 3550 §5.1).
    pub padding: u8,
    /// The payload.
    pub payload: &'a [u8],
}

/// What became of an outgoing packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of the datagram.
    pub bytes: usize,
    /// Its transport-wide sequence number, where negotiated.
    pub transport_seq: Option<u16>,
}

/// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportFeedback {
    /// The transport-wide number that the first delta is about; the others follow.
    pub first_seq: u16,
    /// Counts feedback packets.
    pub feedback_count: u8,
    /// What the first received delta counts from, in 64 ms, 24 bits.
    pub reference_time_64ms: u32,
    /// Arrival after the previous received packet in 250 us; `None` for packets that did not arrive. At most
    /// 65,535.
    pub deltas_250us: Vec<Option<i16>>,
}

/// Feedback from the remote.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Rtcp {
    /// A key frame is wanted (RFC 4585 §6.3.1).
    Pli {
        /// SSRC of our sender.
        ssrc: u32,
    },
    /// A key frame is wanted (RFC 5104 §4.3.1).
    Fir {
        /// SSRC of our sender.
        ssrc: u32,
    },
    /// Packets are missing (RFC 4585 §6.2.1).
    Nack {
        /// SSRC of our sender.
        ssrc: u32,
        /// The missing sequence numbers, at most 1024.
        seqs: Vec<u16>,
    },
    /// How much the remote thinks that it can receive.
    Remb {
        /// Bits per second.
        bitrate_bps: u64,
        /// SSRCs that it speaks of.
        ssrcs: Vec<u32>,
    },
    /// When which transport-wide number arrived.
    TransportFeedback(Box<TransportFeedback>),
    /// How one of our streams is received (RFC 3550 §6.4.2).
    ReceiverReport {
        /// SSRC of our sender.
        ssrc: u32,
        /// Loss since the last report, in 1/256.
        fraction_lost: u8,
        /// Interarrival jitter in RTP clock units.
        jitter: u32,
        /// Round trip, where a sender report was answered.
        round_trip: Option<Duration>,
    },
    /// The remote's wall clock at an RTP timestamp (RFC 3550 §6.4.1).
    SenderReport {
        /// SSRC of the remote's stream.
        ssrc: u32,
        /// NTP timestamp, 32.32 fixed point.
        ntp_time: u64,
        /// RTP timestamp at that moment.
        rtp_time: u32,
    },
    /// A stream of the remote ended.
    Bye {
        /// SSRC of the remote's stream.
        ssrc: u32,
    },
}

/// Feedback to the remote. Receiver reports, NACK and transport-wide feedback are sent by the peer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutgoingRtcp {
    /// Ask for a key frame.
    Pli {
        /// SSRC of the remote's stream.
        ssrc: u32,
    },
    /// Report what was sent; packet and byte counts are filled in by the peer.
    SenderReport {
        /// SSRC of our sender.
        ssrc: u32,
        /// NTP timestamp, 32.32 fixed point.
        ntp_time: u64,
        /// RTP timestamp at that moment, in our numbering.
        rtp_time: u32,
    },
    /// One of our streams ended.
    Bye {
        /// SSRC of our sender.
        ssrc: u32,
    },
}

/// One track that we send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderSpec {
    /// Sound or picture; [`MediaKind::Data`] is never sent this way.
    pub kind: MediaKind,
    /// Media stream id, the first word of `a=msid`.
    pub stream_id: String,
    /// Track id, the second word of `a=msid`.
    pub track_id: String,
    /// CNAME, the same for all that is played in sync.
    pub cname: String,
    /// SSRC of the media.
    pub ssrc: u32,
    /// SSRC of retransmissions; `None` for sound.
    pub rtx_ssrc: Option<u32>,
    /// Codecs that the track may come in, preferred first; empty means all of the kind.
    pub codecs: Vec<CodecKey>,
    /// Whether the sound is stereo.
    pub stereo: bool,
}

/// What the remote sends on a section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receiving {
    /// Media stream id of `a=msid`.
    pub stream_id: Option<String>,
    /// Track id of `a=msid`: LiveKit's `cid`.
    pub track_id: Option<String>,
    /// Simulcast layers in the order offered; empty without simulcast.
    pub rids: Vec<Rid>,
    /// Negotiated codecs, preferred first.
    pub codecs: Vec<CodecKey>,
    /// The remote says that it sends stereo.
    pub stereo: bool,
    /// The remote says that it may stop in silence (`usedtx`).
    pub dtx: bool,
}

/// What we send on a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sending {
    /// The track.
    pub spec: SenderSpec,
    /// Whether the remote has agreed: an answer was applied or made since the track was put there.
    pub negotiated: bool,
}

/// One `m=` line.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name.
    pub mid: Mid,
    /// What it carries.
    pub kind: MediaKind,
    /// What the remote sends there; `None` when nothing.
    pub receiving: Option<Receiving>,
    /// What we send there; `None` when nothing.
    pub sending: Option<Sending>,
    pub(super) state: super::section::SectionState,
}

/// What a publisher's Opus encoder is asked for in our answer (RFC 7587 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudioPreference {
    /// Stereo instead of mono.
    pub stereo: bool,
    /// Stop sending in silence.
    pub dtx: bool,
}
