//! Offer and answer over the sections of one connection (RFC 8829), pure: session descriptions in, session
//! descriptions out.

use super::{
    AudioPreference, Candidate, Certificate, CodecKey, IceCredentials, MediaKind, Mid, Receiving, SdpError,
    Section, SenderSpec, Sending,
    dtls::Role,
    sdp::{Codec, LocalDescription, RemoteDescription, RemoteMedia, Setup},
    section::{Offered, SectionState, offered_codecs},
};

/// How many sections we offer at most.
const MAX_SECTIONS: usize = 256;

/// The sections and who offered what.
pub(super) struct Negotiation {
    pub(super) sections: Vec<Section>,
    session_id: u64,
    version: u64,
    mixed: bool,
    role: Option<Role>,
    fingerprints: Vec<String>,
    /// How many sections our unanswered offer has.
    pending: Option<usize>,
    dirty: bool,
}

impl Negotiation {
    pub(super) fn new(session_id: u64) -> Negotiation {
        Negotiation {
            sections: Vec::new(),
            // RFC 8829 §5.2.1 wants 63 bits.
            session_id: session_id >> 1,
            version: 0,
            mixed: false,
            role: None,
            fingerprints: Vec::new(),
            pending: None,
            dirty: false,
        }
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.role
    }

    pub(super) fn fingerprints(&self) -> &[String] {
        &self.fingerprints
    }

    /// Whether two-byte header extensions may be sent.
    pub(super) fn mixed(&self) -> bool {
        self.mixed
    }

    /// Asks for an offer although no section changed.
    pub(super) fn want_offer(&mut self) {
        self.dirty = true;
    }

    pub(super) fn is_needed(&self) -> bool {
        self.dirty
    }

    /// The section of the data channels, once both ends agreed on it.
    pub(super) fn data_section(&self) -> Option<&Section> {
        self.sections.iter().find(|s| s.kind == MediaKind::Data && s.state.established && !s.state.refused)
    }

    pub(super) fn handle_offer(&mut self, remote: &RemoteDescription) -> Result<(), SdpError> {
        if self.pending.is_some() || self.sections.iter().any(|s| !s.state.established) {
            return Err(SdpError::Glare);
        }
        for (at, section) in self.sections.iter().enumerate() {
            let Some(media) = remote.media.get(at) else { return Err(SdpError::SectionMoved(at)) };
            let same = media.mid == section.mid && media.kind.is_none_or(|kind| kind == section.kind);
            if !same && !section.state.refused {
                return Err(SdpError::SectionMoved(at));
            }
        }
        self.accept_transport(remote)?;
        for (at, media) in remote.media.iter().enumerate() {
            match self.sections.get_mut(at) {
                Some(section) if section.mid == media.mid && media.kind.is_none_or(|k| k == section.kind) => {
                    section.state.apply(media);
                    section.receiving = receiving(media);
                }
                Some(section) => *section = new_section(media),
                None => self.sections.push(new_section(media)),
            }
        }
        self.dirty = false;
        Ok(())
    }

    pub(super) fn assign_sender(&mut self, spec: SenderSpec) -> Option<Mid> {
        let free = self.sections.iter_mut().find(|s| {
            s.kind == spec.kind && s.sending.is_none() && s.receiving.is_none() && s.state.remote_receives
        })?;
        free.sending = Some(Sending { spec: clean(spec), negotiated: false });
        self.dirty = true;
        Some(free.mid)
    }

    pub(super) fn create_answer(&mut self) {
        for section in &mut self.sections {
            if std::mem::take(&mut section.state.removing) || !section.state.remote_receives {
                section.sending = None;
            }
            if let Some(sending) = &mut section.sending {
                sending.negotiated = true;
            }
        }
        self.dirty = false;
    }

    pub(super) fn add_sender(&mut self, spec: SenderSpec) -> Option<Mid> {
        let spec = clean(spec);
        let reusable = self.sections.iter().position(|s| {
            let state = &s.state;
            s.kind == spec.kind && state.ours && state.established && !state.refused && s.sending.is_none()
        });
        let at = match reusable {
            Some(at) => at,
            None => self.push_section(spec.kind)?,
        };
        let section = &mut self.sections[at];
        section.state.codecs = self_codecs(&spec);
        section.state.extensions = super::extension::ExtensionIds::offered(spec.kind);
        section.sending = Some(Sending { spec, negotiated: false });
        self.dirty = true;
        Some(section.mid)
    }

    pub(super) fn remove_sender(&mut self, mid: &Mid) {
        let Some(section) = self.sections.iter_mut().find(|s| s.mid == *mid && s.sending.is_some()) else {
            return;
        };
        section.state.removing = true;
        self.dirty = true;
    }

    pub(super) fn add_data_section(&mut self) {
        if !self.sections.iter().any(|s| s.kind == MediaKind::Data && !s.state.refused)
            && self.push_section(MediaKind::Data).is_some()
        {
            self.dirty = true;
        }
    }

    /// Takes nothing of what the remote offered to send.
    pub(super) fn receive_nothing(&mut self) {
        self.sections.iter_mut().for_each(|section| section.receiving = None);
    }

    pub(super) fn set_audio_preference(&mut self, mid: &Mid, preference: AudioPreference) {
        if let Some(section) = self.sections.iter_mut().find(|s| s.mid == *mid) {
            section.state.preference = Some(preference);
        }
    }

    pub(super) fn prefer_codec(&mut self, mid: &Mid, codec: CodecKey) {
        if let Some(section) = self.sections.iter_mut().find(|s| s.mid == *mid) {
            section.state.first_codec = Some(codec);
            section.state.order_codecs();
        }
    }

    pub(super) fn create_offer(&mut self) {
        for section in &mut self.sections {
            section.state.offered = match &section.sending {
                Some(_) if section.state.removing => Offered::Removal,
                Some(_) => Offered::Sending,
                None => Offered::Nothing,
            };
        }
        self.pending = Some(self.sections.len());
        self.dirty = false;
    }

    pub(super) fn handle_answer(&mut self, remote: &RemoteDescription) -> Result<(), SdpError> {
        let pending = self.pending.ok_or(SdpError::UnexpectedAnswer)?;
        if remote.media.len() != pending {
            return Err(SdpError::SectionMoved(remote.media.len().min(pending)));
        }
        for (at, (section, media)) in self.sections.iter().zip(&remote.media).enumerate() {
            if section.mid != media.mid || media.kind.is_some_and(|kind| kind != section.kind) {
                return Err(SdpError::SectionMoved(at));
            }
        }
        self.accept_transport(remote)?;
        for (section, media) in self.sections.iter_mut().zip(&remote.media) {
            let offered = std::mem::take(&mut section.state.offered);
            // A track that was put on a reused section after the offer is not in the answer.
            let later = offered == Offered::Nothing && section.sending.is_some();
            if later && media.kind.is_some() {
                continue;
            }
            section.state.apply(media);
            match (offered, &mut section.sending) {
                (Offered::Removal, sending) => {
                    *sending = None;
                    section.state.removing = false;
                }
                (Offered::Sending, Some(sending)) => sending.negotiated = section.state.remote_receives,
                _ => {}
            }
            if section.state.refused {
                section.sending = None;
            }
            if !section.state.ours {
                section.receiving = receiving(media);
            }
        }
        self.pending = None;
        Ok(())
    }

    /// What is said now: an answer when `setup` comes from our role, else an offer.
    pub(super) fn describe(
        &mut self,
        offer: bool,
        certificate: &Certificate,
        credentials: &IceCredentials,
        candidates: &[Candidate],
        max_message_len: usize,
    ) -> String {
        self.version += 1;
        let setup = match (offer, self.role) {
            (true, _) => "actpass",
            (false, Some(Role::Client)) => "active",
            (false, _) => "passive",
        };
        LocalDescription {
            session_id: self.session_id,
            version: self.version,
            ufrag: credentials.ufrag(),
            password: credentials.password(),
            fingerprint: certificate.fingerprint_sha256(),
            setup,
            candidates,
            max_message_len,
            mixed: offer || self.mixed,
            media: self.sections.iter().map(Section::local_media).collect(),
        }
        .to_string()
    }

    fn accept_transport(&mut self, remote: &RemoteDescription) -> Result<(), SdpError> {
        if remote.media.iter().all(|m| m.kind.is_none()) {
            return Ok(());
        }
        if self.fingerprints.is_empty() {
            self.fingerprints.clone_from(&remote.fingerprints);
        } else if !self.fingerprints.iter().any(|f| remote.fingerprints.contains(f)) {
            return Err(SdpError::FingerprintChanged);
        }
        // We wait for the ClientHello unless the remote insists on waiting itself.
        self.role.get_or_insert(match remote.setup {
            Setup::Passive => Role::Client,
            Setup::Active | Setup::ActPass => Role::Server,
        });
        self.mixed = remote.mixed;
        Ok(())
    }

    fn push_section(&mut self, kind: MediaKind) -> Option<usize> {
        if self.sections.len() >= MAX_SECTIONS {
            return None;
        }
        let mut numbers = (self.sections.len()..).filter_map(|n| n.to_string().parse::<Mid>().ok());
        let mid = numbers.find(|mid| self.sections.iter().all(|s| s.mid != *mid))?;
        let state = SectionState::ours(kind);
        self.sections.push(Section { mid, kind, receiving: None, sending: None, state });
        Some(self.sections.len() - 1)
    }
}

fn new_section(media: &RemoteMedia) -> Section {
    let kind = media.kind.unwrap_or(MediaKind::Data);
    let mut state = SectionState::ours(kind);
    state.ours = false;
    state.apply(media);
    Section { mid: media.mid, kind, receiving: receiving(media), sending: None, state }
}

fn receiving(media: &RemoteMedia) -> Option<Receiving> {
    if media.kind.is_none_or(|kind| kind == MediaKind::Data) || !media.direction.send {
        return None;
    }
    let opus = |name: &str| media.codecs.iter().any(|c: &Codec| c.parameter(name) == Some("1"));
    let mut codecs = Vec::new();
    for codec in &media.codecs {
        if !codecs.contains(&codec.key) {
            codecs.push(codec.key);
        }
    }
    Some(Receiving {
        stream_id: media.stream_id.clone(),
        track_id: media.track_id.clone(),
        rids: media.rids.clone(),
        codecs,
        stereo: opus("stereo") || opus("sprop-stereo"),
        dtx: opus("usedtx"),
    })
}

fn self_codecs(spec: &SenderSpec) -> Vec<Codec> {
    offered_codecs(spec.kind, &spec.codecs)
}

/// Names go into lines of text: nothing may end the line or the word.
fn clean(mut spec: SenderSpec) -> SenderSpec {
    for text in [&mut spec.stream_id, &mut spec.track_id, &mut spec.cname] {
        *text = text.chars().take(200).map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
        if text.is_empty() {
            text.push('-');
        }
    }
    spec
}
