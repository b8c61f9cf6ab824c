//! SRTP with AES-GCM (RFC 7714) for what we send: once a packet and subscriber, so that it is done in place.

use bytes::BytesMut;
use foldhash::fast::RandomState;
use rtc::crypto::{AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CryptoError, RTCCrypto};
use rtc::srtp::protection_profile::ProtectionProfile;
use std::collections::HashMap;

const BLOCK_LEN: usize = 16;
const SALT_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// Labels of the key derivation (RFC 3711 §4.3.1).
const LABEL_ENCRYPTION: u8 = 0;
const LABEL_SALT: u8 = 2;
/// Packets under one key and SSRC (RFC 7714 §12).
const MAX_INDEX: u64 = (1 << 48) - 1;
/// Room for a few packets: as soon as they have left, it is used again.
const ROOM_LEN: usize = 8192;

/// Encrypts all streams of one connection. An SSRC's numbers are remembered for as long as the key is used: no nonce
/// may be used twice.
pub(super) struct Sealer {
    cipher: Box<dyn AeadCipher>,
    salt: [u8; SALT_LEN],
    /// The packet index of each SSRC's latest packet.
    indices: HashMap<u32, u64, RandomState>,
    room: BytesMut,
}

impl Sealer {
    /// For a profile with AES-GCM; `None` for others.
    pub(super) fn new(
        profile: ProtectionProfile,
        master_key: &[u8],
        master_salt: &[u8],
        crypto: &dyn RTCCrypto,
    ) -> Result<Option<Sealer>, CryptoError> {
        let (algorithm, block_cipher) = match profile {
            ProtectionProfile::AeadAes128Gcm => (AeadAlgorithm::Aes128Gcm, BlockCipherAlgorithm::Aes128),
            ProtectionProfile::AeadAes256Gcm => (AeadAlgorithm::Aes256Gcm, BlockCipherAlgorithm::Aes256),
            _ => return Ok(None),
        };
        let derive = |label: u8, out: &mut [u8]| -> Result<(), CryptoError> {
            for (number, piece) in (0u8..).zip(out.chunks_mut(BLOCK_LEN)) {
                let mut block = [0; BLOCK_LEN];
                block[..SALT_LEN].copy_from_slice(&master_salt[..SALT_LEN]);
                block[7] ^= label;
                block[BLOCK_LEN - 1] = number;
                crypto.block_encrypt(block_cipher, master_key, &mut block)?;
                piece.copy_from_slice(&block[..piece.len()]);
            }
            Ok(())
        };
        let mut key = vec![0; master_key.len()];
        derive(LABEL_ENCRYPTION, &mut key)?;
        let mut salt = [0; SALT_LEN];
        derive(LABEL_SALT, &mut salt)?;
        let cipher = crypto.new_aead(algorithm, &key)?;
        let indices = HashMap::default();
        Ok(Some(Sealer { cipher, salt, indices, room: BytesMut::new() }))
    }

    /// Encrypts a packet whose header is `header_len` bytes long; `packet` has no meaning afterwards.
    pub(super) fn seal(
        &mut self,
        ssrc: u32,
        seq: u16,
        header_len: usize,
        packet: &mut [u8],
    ) -> Option<BytesMut> {
        let latest = self.indices.get(&ssrc).copied();
        let index = index_of(latest, seq).filter(|index| *index <= MAX_INDEX)?;
        let mut nonce = [0; SALT_LEN];
        nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        nonce.iter_mut().zip(&self.salt).for_each(|(byte, salt)| *byte ^= salt);
        let (header, payload) = packet.split_at_mut_checked(header_len)?;
        let mut tag = [0; TAG_LEN];
        self.cipher.seal_in_place(&nonce, header, payload, &mut tag).ok()?;
        self.indices.insert(ssrc, latest.unwrap_or(0).max(index));
        let len = packet.len() + TAG_LEN;
        if self.room.capacity() < len {
            self.room.reserve(len.max(ROOM_LEN));
        }
        self.room.extend_from_slice(packet);
        self.room.extend_from_slice(&tag);
        Some(self.room.split())
    }
}

/// The index of a packet: the one with this number that is nearest to the latest (RFC 3711 §3.3.1).
fn index_of(latest: Option<u64>, seq: u16) -> Option<u64> {
    let Some(latest) = latest else { return Some(seq.into()) };
    let step = i64::from(seq.wrapping_sub(latest as u16) as i16);
    // Before the very first there was no turn of the numbers.
    Some(latest.checked_add_signed(step).unwrap_or(seq.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use rtc::crypto::default_provider;
    use rtc::rtp::header::Header;
    use rtc::srtp::{context::Context, option::srtp_no_replay_protection};

    const HEADER_LEN: usize = 12;

    fn keys(profile: ProtectionProfile) -> (Vec<u8>, Vec<u8>) {
        let key = (0..profile.key_len()).map(|place| place as u8 * 7 + 1).collect();
        let salt = (0..profile.salt_len()).map(|place| place as u8 * 13 + 5).collect();
        (key, salt)
    }

    fn sealer(profile: ProtectionProfile) -> Option<Sealer> {
        let (key, salt) = keys(profile);
        Sealer::new(profile, &key, &salt, default_provider().unwrap().crypto()).unwrap()
    }

    /// What a receiver has, in somebody else's code.
    fn opener(profile: ProtectionProfile) -> Context {
        let (key, salt) = keys(profile);
        let none = Some(srtp_no_replay_protection());
        Context::new(&key, &salt, profile, none, None, default_provider().unwrap().crypto()).unwrap()
    }

    fn packet(ssrc: u32, seq: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend_from_slice(&seq.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.extend_from_slice(payload);
        packet
    }

    fn header(ssrc: u32, seq: u16) -> Header {
        Header { ssrc, sequence_number: seq, ..Header::default() }
    }

    #[test]
    fn profiles_without_gcm_are_left_to_others() {
        assert!(sealer(ProtectionProfile::Aes128CmHmacSha1_80).is_none());
    }

    #[test]
    fn a_packet_shorter_than_its_header_is_refused() {
        let mut sealer = sealer(ProtectionProfile::AeadAes128Gcm).unwrap();
        assert!(sealer.seal(1, 1, HEADER_LEN, &mut [0; 5]).is_none());
    }

    #[test]
    fn no_packet_follows_the_last_that_a_key_may_seal() {
        let mut sealer = sealer(ProtectionProfile::AeadAes128Gcm).unwrap();
        sealer.indices.insert(1, MAX_INDEX);
        assert!(sealer.seal(1, u16::MAX, HEADER_LEN, &mut packet(1, u16::MAX, b"last")).is_some());
        assert!(sealer.seal(1, 0, HEADER_LEN, &mut packet(1, 0, b"more")).is_none());
    }

    #[test]
    fn numbers_turn_over() {
        assert_eq!(index_of(None, 65_000), Some(65_000));
        assert_eq!(index_of(Some(65_535), 0), Some(65_536));
        assert_eq!(index_of(Some(65_536), 65_535), Some(65_535));
        assert_eq!(index_of(Some(2), 65_535), Some(65_535), "there was nothing before the first");
    }

    proptest! {
        #[test]
        fn a_receiver_reads_whatever_is_sealed(
            wide in any::<bool>(),
            first in any::<u16>(),
            packets in prop::collection::vec((0u32..3, 0u16..3_000, prop::collection::vec(any::<u8>(), 0..1_300)), 1..200),
        ) {
            let profile = if wide { ProtectionProfile::AeadAes256Gcm } else { ProtectionProfile::AeadAes128Gcm };
            let (mut sealer, mut opener) = (sealer(profile).unwrap(), opener(profile));
            let mut numbers = [first; 3];
            // Each is still held when the next is made.
            let mut sealed = Vec::new();
            for (stream, step, payload) in packets {
                let (ssrc, number) = (stream + 7, &mut numbers[stream as usize]);
                *number = number.wrapping_add(step);
                let plain = packet(ssrc, *number, &payload);
                let datagram = sealer.seal(ssrc, *number, HEADER_LEN, &mut plain.clone()).unwrap();
                prop_assert_eq!(datagram.len(), plain.len() + TAG_LEN);
                sealed.push((ssrc, *number, plain, datagram));
            }
            for (ssrc, number, plain, datagram) in sealed {
                let opened = opener.decrypt_rtp_with_header(&datagram, &header(ssrc, number)).unwrap();
                prop_assert_eq!(&opened[..], &plain[..]);
            }
        }
    }
}
