//! SRTP and SRTCP of one connection (RFC 3711, RFC 7714).
//!
//! The library makes state for every SSRC it sees before it knows whether the packet is genuine. Unknown SSRCs
//! therefore go through a context of their own first, which is thrown away from time to time; only those that
//! authenticate there reach the real one, and only so many.

use super::{rtp::RtpView, seal::Sealer};
use bytes::BytesMut;
use rtc::{
    crypto::RTCCryptoProvider,
    dtls::extension::extension_use_srtp::SrtpProtectionProfile,
    rtp::header::{EXTENSION_PROFILE_ONE_BYTE, Header},
    shared::error::{Error, Result},
    srtp::{
        config::Config,
        context::Context,
        option::{srtcp_replay_protection, srtp_replay_protection},
    },
};
use std::sync::Arc;

/// How many SSRCs a remote may use over the life of a connection.
const MAX_SSRCS: usize = 4096;
/// How many unknown SSRCs are tried before their state is thrown away.
const MAX_PROBED: usize = 64;
/// How far a packet may be late and still be told from a replay (RFC 3711 §3.3.2 asks for at least 64).
const REPLAY_WINDOW: usize = 1024;

/// The SRTP profiles that we accept, best first.
pub(super) const PROFILES: [SrtpProtectionProfile; 3] = [
    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
    SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
];

/// Encrypts what we send and decrypts what comes.
pub(super) struct Srtp {
    provider: Arc<dyn RTCCryptoProvider>,
    config: Config,
    local: Context,
    /// Encrypts media where the profile allows it to be done in place.
    sealer: Option<Sealer>,
    remote: Context,
    probe: Context,
    probed: usize,
    /// Sorted.
    rtp_ssrcs: Vec<u32>,
    /// Sorted.
    rtcp_ssrcs: Vec<u32>,
}

impl Srtp {
    /// From a configuration that holds the session keys.
    pub(super) fn new(config: Config, provider: Arc<dyn RTCCryptoProvider>) -> Result<Srtp> {
        let local = Context::new(
            &config.keys.local_master_key,
            &config.keys.local_master_salt,
            config.profile,
            None,
            None,
            provider.crypto(),
        )?;
        let (key, salt) = (&config.keys.local_master_key, &config.keys.local_master_salt);
        let sealer = Sealer::new(config.profile, key, salt, provider.crypto())
            .map_err(|error| Error::Crypto(error.to_string()))?;
        let remote = remote_context(&config, provider.as_ref())?;
        let probe = remote_context(&config, provider.as_ref())?;
        let (rtp_ssrcs, rtcp_ssrcs) = (Vec::new(), Vec::new());
        Ok(Srtp { provider, config, local, sealer, remote, probe, probed: 0, rtp_ssrcs, rtcp_ssrcs })
    }

    /// Decrypts a packet of media; `None` when it is not genuine or came before.
    pub(super) fn decrypt_rtp(&mut self, view: &RtpView, packet: &[u8]) -> Option<BytesMut> {
        let header = header_of(view.ssrc, view.seq, view.header_len);
        if let Err(at) = self.rtp_ssrcs.binary_search(&view.ssrc) {
            if self.rtp_ssrcs.len() >= MAX_SSRCS {
                return None;
            }
            self.renew_probe()?;
            self.probe.decrypt_rtp_with_header(packet, &header).ok()?;
            self.rtp_ssrcs.insert(at, view.ssrc);
        }
        self.remote.decrypt_rtp_with_header(packet, &header).ok()
    }

    /// Decrypts a compound of feedback; `None` when it is not genuine or came before.
    pub(super) fn decrypt_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        let ssrc = u32::from_be_bytes(*packet.get(4..)?.first_chunk()?);
        if let Err(at) = self.rtcp_ssrcs.binary_search(&ssrc) {
            if self.rtcp_ssrcs.len() >= MAX_SSRCS {
                return None;
            }
            self.renew_probe()?;
            self.probe.decrypt_rtcp(packet).ok()?;
            self.rtcp_ssrcs.insert(at, ssrc);
        }
        self.remote.decrypt_rtcp(packet).ok()
    }

    /// Encrypts a packet of media whose header is `header_len` bytes long; `packet` has no meaning afterwards.
    pub(super) fn encrypt_rtp(
        &mut self,
        ssrc: u32,
        seq: u16,
        header_len: usize,
        packet: &mut [u8],
    ) -> Option<BytesMut> {
        if let Some(sealer) = &mut self.sealer {
            return sealer.seal(ssrc, seq, header_len, packet);
        }
        self.local.encrypt_rtp_with_header(packet, &header_of(ssrc, seq, header_len)).ok()
    }

    /// Encrypts a compound of feedback.
    pub(super) fn encrypt_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.local.encrypt_rtcp(packet).ok()
    }

    /// How many SSRCs have state that stays.
    #[cfg(test)]
    pub(super) fn known_ssrcs(&self) -> usize {
        self.rtp_ssrcs.len() + self.rtcp_ssrcs.len()
    }

    fn renew_probe(&mut self) -> Option<()> {
        if self.probed >= MAX_PROBED {
            self.probe = remote_context(&self.config, self.provider.as_ref()).ok()?;
            self.probed = 0;
        }
        self.probed += 1;
        Some(())
    }
}

fn remote_context(config: &Config, provider: &dyn RTCCryptoProvider) -> Result<Context> {
    Context::new(
        &config.keys.remote_master_key,
        &config.keys.remote_master_salt,
        config.profile,
        Some(srtp_replay_protection(REPLAY_WINDOW)),
        Some(srtcp_replay_protection(REPLAY_WINDOW)),
        provider.crypto(),
    )
}

/// The library wants a parsed header only for SSRC, sequence number and length. This one has them and costs
/// no allocation: the length beyond the fixed 12 bytes and the 4 of an extension block is "padding".
fn header_of(ssrc: u32, seq: u16, header_len: usize) -> Header {
    Header {
        ssrc,
        sequence_number: seq,
        extension: header_len > 12,
        extension_profile: EXTENSION_PROFILE_ONE_BYTE,
        extensions_padding: header_len.saturating_sub(16),
        ..Header::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc::shared::marshal::MarshalSize;

    #[test]
    fn the_header_without_allocation_has_the_right_length() {
        for words in 0..40 {
            let len = 12 + 4 * words;
            assert_eq!(header_of(1, 2, len).marshal_size(), len);
        }
    }
}
