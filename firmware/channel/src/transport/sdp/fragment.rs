//! Fragments of session descriptions that carry ICE information and nothing else (RFC 8840 §9, media type
//! `application/trickle-ice-sdpfrag`).

use crate::transport::FragmentError;

const MAX_LINES: usize = 1024;
const MAX_CANDIDATES: usize = 128;
/// RFC 8839 §5.4: lengths of user fragment and password.
const UFRAG_LEN: std::ops::RangeInclusive<usize> = 4..=256;
const PASSWORD_LEN: std::ops::RangeInclusive<usize> = 22..=256;
/// A candidate has foundation, component, transport, priority, address, port and type (RFC 8839 §5.1).
const CANDIDATE_WORDS: usize = 8;

/// What a remote says about ICE besides its session description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SdpFragment {
    /// Its user fragment. The password that comes with it is not kept: a lite agent makes no checks.
    pub ufrag: Option<String>,
    /// Its candidates, as `candidate:...`.
    pub candidates: Vec<String>,
    /// No more candidates will come.
    pub end_of_candidates: bool,
}

impl SdpFragment {
    /// Reads a fragment. Lines end with CRLF or LF; attributes that are not about ICE are passed over.
    ///
    /// # Errors
    /// [`FragmentError`] when it is none, says nothing or too much.
    pub fn parse(text: &str) -> Result<SdpFragment, FragmentError> {
        let mut fragment = SdpFragment::default();
        let mut password = false;
        for (at, line) in text.lines().enumerate() {
            if at >= MAX_LINES {
                return Err(FragmentError::TooMany { what: "lines", limit: MAX_LINES });
            }
            let bad = || FragmentError::Line(at + 1);
            let attribute = match line.split_once('=') {
                Some(("a", attribute)) => attribute,
                Some(("m" | "c" | "b", _)) => continue,
                _ if line.trim().is_empty() => continue,
                _ => return Err(bad()),
            };
            match attribute.split_once(':').unwrap_or((attribute, "")) {
                ("ice-ufrag", ufrag) => {
                    if !is_ice_text(ufrag) || !UFRAG_LEN.contains(&ufrag.len()) {
                        return Err(bad());
                    }
                    // The first section is that of the transport that all share.
                    fragment.ufrag.get_or_insert_with(|| ufrag.to_owned());
                }
                ("ice-pwd", text) => {
                    if !is_ice_text(text) || !PASSWORD_LEN.contains(&text.len()) {
                        return Err(bad());
                    }
                    password = true;
                }
                ("candidate", _) => {
                    if fragment.candidates.len() >= MAX_CANDIDATES {
                        return Err(FragmentError::TooMany { what: "candidates", limit: MAX_CANDIDATES });
                    }
                    let words: Vec<&str> = attribute.split_ascii_whitespace().take(CANDIDATE_WORDS).collect();
                    if words.len() < CANDIDATE_WORDS || words[6] != "typ" || words[5].parse::<u16>().is_err()
                    {
                        return Err(bad());
                    }
                    fragment.candidates.push(attribute.to_owned());
                }
                ("end-of-candidates", _) => fragment.end_of_candidates = true,
                _ => {}
            }
        }
        if fragment.ufrag.is_some() != password {
            return Err(FragmentError::HalfCredentials);
        }
        if fragment == SdpFragment::default() {
            return Err(FragmentError::Empty);
        }
        Ok(fragment)
    }

    /// The ICE information of a session description as a fragment's text: that of the transport that all its
    /// sections share, so of the first section that has one.
    pub fn text_of(description: &str) -> String {
        let mut text = String::new();
        let mut add = |line: &str| {
            text.push_str(line);
            text.push_str("\r\n");
        };
        let mut sections = description.split("\r\nm=");
        for line in sections.next().unwrap_or_default().lines() {
            if ["a=ice-lite", "a=ice-options:", "a=group:BUNDLE"].iter().any(|start| line.starts_with(start))
            {
                add(line);
            }
        }
        for section in sections.filter(|section| section.contains("\r\na=ice-ufrag:")).take(1) {
            let mut lines = section.lines();
            add(&format!("m={}", lines.next().unwrap_or_default()));
            let lines: Vec<&str> = lines.collect();
            for start in ["a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-candidates"] {
                lines.iter().filter(|line| line.starts_with(start)).for_each(|line| add(line));
            }
        }
        text
    }
}

/// `ice-char` of RFC 8839 §5.4.
fn is_ice_text(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const TRICKLE: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\n\
        a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\n\
        a=candidate:2 1 tcp 1518280447 laptop.local 9 typ host tcptype active\r\na=end-of-candidates\r\n";

    #[test]
    fn a_fragment_is_read_with_either_end_of_line() {
        for text in [TRICKLE.to_owned(), TRICKLE.replace("\r\n", "\n")] {
            let fragment = SdpFragment::parse(&text).unwrap();
            assert_eq!(fragment.ufrag.as_deref(), Some("abcd"));
            assert_eq!((fragment.candidates.len(), fragment.end_of_candidates), (2, true));
            assert!(fragment.candidates[0].starts_with("candidate:1 1 udp"));
        }
    }

    #[test]
    fn what_is_no_fragment_is_refused_with_the_line() {
        let cases = [
            ("{\"candidate\": \"\"}", FragmentError::Line(1)),
            ("a=mid:0\r\nnothing", FragmentError::Line(2)),
            ("a=candidate:1 1 udp", FragmentError::Line(1)),
            ("a=candidate:1 1 udp 1 192.0.2.1 99999 typ host", FragmentError::Line(1)),
            ("a=ice-ufrag:a b c d", FragmentError::Line(1)),
            ("a=ice-ufrag:abcd\r\na=ice-pwd:short", FragmentError::Line(2)),
            ("a=ice-ufrag:abcd", FragmentError::HalfCredentials),
            ("a=mid:0", FragmentError::Empty),
            ("", FragmentError::Empty),
        ];
        for (text, error) in cases {
            assert_eq!(SdpFragment::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_fragment_of_a_description_holds_its_ice_and_nothing_else() {
        let description = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\na=group:BUNDLE 1 2\r\na=ice-lite\r\n\
            m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=inactive\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=candidate:1 1 udp 2 192.0.2.1 7882 typ host\r\n\
            a=end-of-candidates\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\na=mid:1\r\na=recvonly\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\na=mid:2\r\n";
        let text = SdpFragment::text_of(description);
        let expected = "a=group:BUNDLE 1 2\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\n\
            a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdefghijkl\r\n\
            a=candidate:1 1 udp 2 192.0.2.1 7882 typ host\r\na=end-of-candidates\r\n";
        assert_eq!(text, expected);
        assert_eq!(SdpFragment::parse(&text).unwrap().ufrag.as_deref(), Some("abcd"));
    }

    fn any_line() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z]=[ -~]{0,40}",
            "a=(ice-ufrag|ice-pwd|candidate|end-of-candidates|mid):[ -~]{0,40}",
            "a=ice-ufrag:[A-Za-z0-9+/]{0,12}",
            "a=ice-pwd:[A-Za-z0-9+/]{20,30}",
            Just("a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host".to_owned()),
            "\\PC{0,30}",
        ]
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_taken_is_bounded(lines in prop::collection::vec(any_line(), 0..300)) {
            if let Ok(fragment) = SdpFragment::parse(&lines.join("\r\n")) {
                prop_assert!(fragment.candidates.len() <= MAX_CANDIDATES);
                prop_assert!(fragment.ufrag.iter().all(|ufrag| UFRAG_LEN.contains(&ufrag.len())));
            }
            let _ = SdpFragment::text_of(&lines.join("\r\n"));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = SdpFragment::parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
